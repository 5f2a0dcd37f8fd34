"""Before login: the front's commands and limits (RFC 3501 6.1, 6.2; RFC 4959; ref security cases 52, 68-78, 93-100, 117, 121)."""
import base64
import socket
import time

import pytest

from imapraw import Closed, Imap

ALICE = "alice@example.com"


@pytest.fixture
def raw(suite):
    made = []

    def new(**kw):
        c = Imap(suite, **kw)
        made.append(c)
        return c
    yield new
    for c in made:
        c.close()


def plain(user, password, authzid=""):
    return base64.b64encode(("%s\0%s\0%s" % (authzid, user, password)).encode()).decode()


def closed(c):
    try:
        while True:
            c.more()
    except (Closed, ConnectionResetError):
        return c.data
    except socket.timeout:
        return None


def test_greeting_and_capability(raw):
    c = raw()
    assert c.greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 ") and b"STARTTLS" in c.greeting
    assert c.ok("CAPABILITY")[0].startswith(b"* CAPABILITY IMAP4rev1 ")
    c.ok("NOOP")
    assert c.ok('ID ("name" "test" "version" NIL)')[0].startswith(b"* ID (")
    c.ok("ID NIL")
    c.ok("ID (%s)" % " ".join('"%030d" "%s"' % (i, "x" * 1024) for i in range(30)))	# RFC 2971 3.3: as much as it may be
    c.bad("ID (%s)" % " ".join('"%030d" "%s"' % (i, "x" * 1024) for i in range(31)))
    assert c.ok("LOGOUT")[0].startswith(b"* BYE")
    assert closed(c) == b""


def test_starttls(raw):
    c = raw()
    c.starttls()
    caps = c.ok("CAPABILITY")[0]
    assert b"STARTTLS" not in caps and b"LOGINDISABLED" not in caps
    c.bad("STARTTLS")
    c.ok("LOGIN %s alice-secret" % ALICE)
    assert b"STARTTLS" not in c.ok("CAPABILITY")[0]
    c.ok("SELECT INBOX")


def test_starttls_drops_what_came_with_it(suite):
    c = Imap(suite)
    c.send("a STARTTLS\r\nb LOGIN %s alice-secret\r\n" % ALICE)
    status, _, _ = c.finish("a")
    assert status == "OK"
    c.sock = suite.tls_context().wrap_socket(c.sock, server_hostname="localhost")
    assert c.ok("NOOP", tag="c") == []
    c.close()


def test_implicit_tls(raw):
    c = raw(tls=True)
    c.ok("LOGIN %s alice-secret" % ALICE)
    c.ok("SELECT INBOX")
    c.ok("LOGOUT")
    assert closed(c) == b""


@pytest.mark.parametrize("form", ["%s %s", '"%s" "%s"', None])
def test_login_forms(raw, form):
    c = raw()
    if form:
        c.ok("LOGIN " + form % (ALICE, "alice-secret"))
    else:
        c.send("a LOGIN {%d}\r\n" % len(ALICE))
        assert c.line().startswith(b"+ ")
        c.send(ALICE + " {12+}\r\nalice-secret\r\n")
        assert c.finish("a")[0] == "OK"


def test_wrong_passwords_look_alike(raw):
    c = raw()
    c.sock.settimeout(60)		# failures are answered late
    answers = {c.cmd("LOGIN %s wrong" % u)[1] for u in (ALICE, "nobody@example.com")}
    answers |= {c.cmd('LOGIN "%s" ""' % ALICE)[1]}
    assert len(answers) == 1 and "AUTHENTICATIONFAILED" in answers.pop()


def test_authenticate_plain(raw):
    c = raw()
    c.ok("AUTHENTICATE PLAIN " + plain(ALICE, "alice-secret"))
    c = raw()
    c.send("a AUTHENTICATE PLAIN\r\n")
    assert c.line().startswith(b"+")
    c.send(plain(ALICE, "alice-secret") + "\r\n")
    assert c.finish("a")[0] == "OK"


def test_authenticate_login(raw):
    c = raw()
    c.send("a AUTHENTICATE LOGIN\r\n")
    assert c.line().startswith(b"+ ")
    c.send(base64.b64encode(ALICE.encode()) + b"\r\n")
    assert c.line().startswith(b"+ ")
    c.send(base64.b64encode(b"alice-secret") + b"\r\n")
    assert c.finish("a")[0] == "OK"


def test_authenticate_cancel_and_rubbish(raw):
    c = raw()
    c.send("a AUTHENTICATE PLAIN\r\n")
    c.line()
    c.send("*\r\n")
    assert c.finish("a")[0] == "BAD"
    c.send("b AUTHENTICATE PLAIN\r\n")
    c.line()
    c.send("b2 NOOP\r\n")			# a command instead of the response
    assert c.finish("b")[0] == "BAD"
    c = raw()
    c.bad("AUTHENTICATE PLAIN !!!")
    c.bad("AUTHENTICATE PLAIN Zg")
    c = raw()
    c.no("AUTHENTICATE NTLM")
    c.no("AUTHENTICATE " + "X" * 1000)
    for n in (0, 1, 3):
        status, line, _ = c.cmd("AUTHENTICATE PLAIN " + base64.b64encode(b"\0".join([b"x"] * (n + 1))).decode())
        assert status in ("NO", "BAD"), line
    c.ok("AUTHENTICATE PLAIN " + plain(ALICE, "alice-secret"))


def test_pipelined_login_reaches_the_session(raw):
    # security case 100
    for tls in (False, True):
        c = raw(tls=tls)
        c.send("a LOGIN %s alice-secret\r\nb SELECT INBOX\r\nc STATUS INBOX (MESSAGES)\r\nd LOGIN x y\r\ne LOGOUT\r\n" % ALICE)
        assert c.finish("a")[0] == "OK"
        assert c.finish("b")[0] == "OK"
        assert c.finish("c")[0] == "OK"
        assert c.finish("d")[0] == "BAD"
        assert c.finish("e")[0] == "OK"
        assert closed(c) == b""


def test_pipelined_after_failure(raw):
    c = raw()
    c.sock.settimeout(60)
    c.send("a LOGIN %s wrong\r\nb LOGIN %s alice-secret\r\nc NOOP\r\n" % (ALICE, ALICE))
    assert c.finish("a")[0] == "NO"
    assert c.finish("b")[0] == "OK"
    assert c.finish("c")[0] == "OK"


def test_login_byte_by_byte(raw):
    c = raw()
    for b in "a LOGIN {17+}\r\nalice@example.com \"alice-secret\"\r\nb NOOP\r\n":
        c.send(b)
    assert c.finish("a")[0] == "OK"
    assert c.finish("b")[0] == "OK"


def test_line_limits(raw):
    # security case 93
    c = raw()
    c.ok("NOOP" + " " * 8000)
    c.bad("NOOP" + " " * 41000)
    c = raw()
    c.send("a NOOP" + " " * 70000)
    assert b"BAD" in closed(c)


@pytest.mark.parametrize("size", ["4294967296", "18446744073709551616", "70000", "99999999999999999999999"])
def test_literal_limits(raw, size):
    # security case 95, 96
    c = raw()
    c.send("a LOGIN {%s}\r\n" % size)
    assert c.line().startswith(b"a BAD")
    c.ok("NOOP")
    c.send("a LOGIN {%s+}\r\n" % size)
    assert b"BAD" in closed(c)


@pytest.mark.parametrize("line", ["a LOGIN {-1}", "a LOGIN {+1}", "a LOGIN {1", "a LOGIN { 1}", "a LOGIN {1+", 'a LOGIN "x', 'a LOGIN "\\x" y', "+ NOOP", "a{ NOOP", "\xe9 NOOP",
                                  "a", "a ", "a  ", "a FROBNICATE", "a SELECT INBOX", "a LOGIN", "a LOGIN x", "a LOGIN x y z", "a LOGIN (x) y", "a ID (", 'a ID ("x")',
                                  "a AUTHENTICATE", "a ID " + "(" * 8000, "x" * 1001 + " NOOP"])
def test_malformed(raw, line):
    c = raw()
    c.send(line.encode("latin-1") + b"\r\n")
    got = c.line()
    assert b" BAD " in got, got
    c.ok("NOOP")


def test_many_small_literals(raw):
    # CVE-2024-34055
    c = raw()
    c.send("a LOGIN")
    for i in range(17):
        c.send(" {4096+}\r\n" + "x" * 4096)
    assert b"BAD" in closed(c)


def test_three_bad_commands(raw):
    c = raw()
    for i in range(3):
        c.send("a FROBNICATE\r\n")
    assert b"* BYE" in closed(c)


def test_empty_lines_are_ignored(raw):
    c = raw()
    c.send("\r\n\r\n\r\n\r\n")
    c.ok("NOOP")


def test_bare_line_ends(raw):
    c = raw()
    c.send("a NOOP\n")
    assert b" BAD " in c.line()
    c.send("a NO\rOP\r\n")
    assert b" BAD " in c.line()
    c = raw()
    c.send("a NO\0OP\r\n")
    assert b" BAD " in c.line()


def test_secure_only_elsewhere(fresh_suite):
    s = fresh_suite("imap-plain", settings={"plaintext_login_networks": "192.0.2.0/24"})
    c = Imap(s)
    assert b"LOGINDISABLED" in c.greeting and b"AUTH=" not in c.greeting
    c.no("LOGIN alice@example.com alice-secret", "PRIVACYREQUIRED")
    c.no("AUTHENTICATE PLAIN " + plain(ALICE, "alice-secret"), "PRIVACYREQUIRED")
    c.starttls()
    assert b"LOGINDISABLED" not in c.ok("CAPABILITY")[0]
    c.ok("LOGIN alice@example.com alice-secret")
    c.close()
    assert "alice-secret" not in s.log.read_text()


def test_log_lines(suite, raw):
    c = raw()
    c.sock.settimeout(60)
    c.no("LOGIN loguser@example.com wrong")
    c.close()

    def lines_with(*words):
        """Lines get to the file a moment after the answer gets to the client."""
        end = time.monotonic() + 30
        while True:
            found = [l for l in suite.log.read_text().splitlines() if all(w in l for w in words)]
            if found or time.monotonic() > end:
                return found
            time.sleep(0.1)
    lines = lines_with("Aborted login (auth failed, 1 attempts in ", "loguser")
    assert lines and "user=<loguser@example.com>, method=PLAIN, rip=127." in lines[-1] and ", lip=127." in lines[-1], lines
    c = raw()
    c.ok('ID ("name" "x\\"\\\\")')
    c.ok("LOGIN %s alice-secret" % ALICE)
    lines = lines_with("imap-login: Login: user=<alice@example.com>, method=PLAIN, rip=")
    assert lines and "session=<" in lines[-1]
