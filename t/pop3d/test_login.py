"""POP3 before login: greeting, CAPA, STLS, USER/PASS, AUTH, limits (RFC 1939, 2449, 2595, 5034; ref: security 4.3, 4.4, 4.7)."""
import base64
import hashlib
import hmac
import os
import time

from popraw import Pop


def plain(user, password, authzid=""):
    return base64.b64encode(("%s\0%s\0%s" % (authzid, user, password)).encode()).decode()


def test_greeting_has_no_timestamp(drop):
    p = drop().connect(greeting=False)
    line = p.reply()
    assert line.startswith("+OK ") and "<" not in line
    p.err("APOP a b")


def test_capabilities_before_login(drop):
    d = drop()
    caps = d.connect().listing("CAPA")
    for c in (b"STLS", b"TOP", b"UIDL", b"PIPELINING", b"RESP-CODES", b"AUTH-RESP-CODE", b"USER", b"SASL PLAIN LOGIN SCRAM-SHA-256"):
        assert c in caps, caps
    caps = d.connect(tls=True).listing("CAPA")
    assert b"STLS" not in caps and b"USER" in caps


def test_commands_of_a_mailbox_before_login(drop):
    p = drop().connect()
    for c in ("STAT", "LIST", "RETR 1", "DELE 1", "NOOP", "RSET", "UIDL", "TOP 1 1"):
        p.err(c)
    p.ok("QUIT")
    assert p.closed()


def test_wrong_password_and_unknown_user_look_alike(drop):
    d = drop()
    p = d.connect()
    p.ok("USER " + d.name)
    wrong = p.say("PASS nonsense")
    assert wrong.startswith("-ERR [AUTH] ")
    p.ok("USER nobody-here@example.com")
    assert p.say("PASS nonsense") == wrong
    p.ok("USER " + d.name)
    assert p.say("PASS " + d.password).startswith("+OK Logged in")


def test_password_with_blanks(drop):
    d = drop(password=" two  words and a tail ")
    p = d.connect()
    p.ok("USER " + d.name)
    p.err("PASS two  words and a tail")
    p.ok("USER " + d.name)
    p.ok("PASS  two  words and a tail ")
    p.ok("QUIT")


def test_order_of_user_and_pass(drop):
    d = drop()
    p = d.connect()
    p.err("PASS " + d.password)
    p.err("USER")
    p.ok("USER other@example.com")
    p.ok("USER " + d.name)
    p.err("PASS wrong")
    p.err("PASS " + d.password)		# USER again first
    p.ok("USER " + d.name)
    p.ok("PASS " + d.password)


def test_long_and_odd_names(drop):
    p = drop().connect()
    p.err("USER " + "a" * 65536)
    p.err("USER " + "a" * 300)
    p.err(b"USER a\0b")
    for name in ("../x", "a{b", "%n", "a'b", "*", "\u00e9\u00e8", "root"):
        p.ok("USER " + name)
        assert p.say("PASS x").startswith("-ERR ")


def test_auth_plain(drop):
    d = drop()
    p = d.connect()
    assert p.say("AUTH PLAIN " + plain(d.name, d.password)).startswith("+OK Logged in")
    p.ok("QUIT")
    p = d.connect(tls=True)
    assert p.say("AUTH PLAIN") == "+ "
    assert p.say(plain(d.name, d.password)).startswith("+OK Logged in")


def test_auth_login(drop):
    d = drop()
    p = d.connect()
    assert p.say("AUTH LOGIN") == "+ " + base64.b64encode(b"Username:").decode()
    assert p.say(base64.b64encode(d.name.encode()).decode()) == "+ " + base64.b64encode(b"Password:").decode()
    assert p.say(base64.b64encode(d.password.encode()).decode()).startswith("+OK Logged in")


def test_auth_scram(drop):
    d = drop()
    p = d.connect(tls=True)
    nonce = base64.b64encode(os.urandom(18)).decode()
    first = "n=%s,r=%s" % (d.name.replace("=", "=3D").replace(",", "=2C"), nonce)
    answer = p.say("AUTH SCRAM-SHA-256 " + base64.b64encode(("n,," + first).encode()).decode())
    assert answer.startswith("+ "), answer
    server = base64.b64decode(answer[2:]).decode()
    parts = dict(x.split("=", 1) for x in server.split(","))
    assert parts["r"].startswith(nonce)
    salted = hashlib.pbkdf2_hmac("sha256", d.password.encode(), base64.b64decode(parts["s"]), int(parts["i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    final = "c=biws,r=" + parts["r"]
    message = (first + "," + server + "," + final).encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature))
    answer = p.say(base64.b64encode((final + ",p=" + base64.b64encode(proof).decode()).encode()).decode())
    if answer.startswith("+ "):		# the server's signature, then the client's empty answer
        expect = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        assert base64.b64decode(answer[2:]).decode() == "v=" + base64.b64encode(expect).decode()
        answer = p.say("")
    assert answer.startswith("+OK Logged in"), answer


def test_auth_that_fails(drop):
    d = drop()
    p = d.connect()
    p.err("AUTH CRAM-MD5")
    p.err("AUTH " + "X" * 1000)
    p.err("AUTH PLAIN !!!")
    assert p.say("AUTH PLAIN") == "+ "
    p.err("*")
    assert p.say("AUTH PLAIN") == "+ "
    p.err("no base64")
    assert p.say("AUTH PLAIN " + plain(d.name, "wrong")).startswith("-ERR [AUTH]")
    assert p.say("AUTH PLAIN " + plain(d.name, "")).startswith("-ERR ")
    assert p.listing("AUTH") == [b"PLAIN", b"LOGIN", b"SCRAM-SHA-256"]
    assert p.say("AUTH PLAIN " + plain(d.name, d.password)).startswith("+OK Logged in")


def test_stls(drop, suite):
    d = drop()
    p = d.connect()
    p.ok("USER " + d.name)
    p.ok("STLS")
    p.starttls(suite.tls_context())
    p.err("PASS " + d.password)		# the name given in the clear is forgotten
    p.err("STLS")
    assert b"STLS" not in p.listing("CAPA")
    p.ok("USER " + d.name)
    p.ok("PASS " + d.password)
    p.ok("STAT")
    p.ok("QUIT")


def test_commands_pipelined_behind_stls_are_never_run(drop, suite):
    d = drop()
    p = d.connect()
    p.send("STLS\r\nUSER %s\r\nPASS %s\r\n" % (d.name, d.password))
    assert p.reply().startswith("+OK")
    p.buf = b""
    try:
        p.starttls(suite.tls_context())
    except OSError:
        return
    p.err("STAT")
    p.err("PASS " + d.password)


def test_pipelined_login_and_commands(drop):
    d = drop(b"Subject: x\n\ny\n")
    for tls in (False, True):
        p = d.connect(tls=tls)
        p.send("USER %s\r\nPASS %s\r\nSTAT\r\nRETR 1\r\nQUIT\r\n" % (d.name, d.password))
        assert p.reply() == "+OK"
        assert p.reply().startswith("+OK Logged in")
        assert p.reply() == "+OK 1 17"
        assert p.reply().startswith("+OK")
        assert p.raw_listing() == b"Subject: x\r\n\r\ny\r\n"
        assert p.reply().startswith("+OK Logging out")
        assert p.closed()


def test_bare_line_ends(drop):
    p = drop().connect()
    p.send("CAPA\nQUIT\r\n")
    assert p.reply().startswith("-ERR ")
    p.send("CA\rPA\r\n")
    answer = p.reply()
    while answer and not answer.startswith("-ERR"):
        answer = p.reply()
    assert answer == "" or answer.startswith("-ERR")


def test_wrong_commands_have_a_limit(drop):
    p = drop().connect()
    p.send("NONSENSE\r\n" * 50)
    assert p.closed()
    p = drop().connect()
    p.send("CAPA\r\n" * 1000)
    assert p.closed()


def test_failed_logins_are_logged_for_fail2ban(drop, suite):
    d = drop()
    p = d.connect()
    p.ok("USER " + d.name)
    p.err("PASS wrong")
    p.ok("QUIT")
    want = "pop3-login: Aborted login (auth failed, 1 attempts in "
    end = time.monotonic() + 30
    line = None
    while time.monotonic() < end and line is None:
        lines = [l for l in suite.log.read_text(errors="replace").splitlines() if want in l and d.name in l]
        line = lines[0] if lines else None
        time.sleep(0.05)
    assert line is not None
    assert "user=<%s>, method=PLAIN, rip=" % d.name in line and ", lip=" in line and "session=<" in line
    assert "wrong" not in line


def test_plaintext_login_needs_tls_where_clients_are_not_local(fresh_suite):
    s = fresh_suite("pop3tls", users=("alice@example.com",), settings={"plaintext_login_networks": "192.0.2.1", "smtpd_tls_auth_only": "no"})
    p = Pop(s.host, s.port("POP3"))
    p.reply()
    assert not any(c.startswith((b"USER", b"SASL")) for c in p.listing("CAPA"))
    assert p.say("USER alice@example.com").startswith("-ERR [AUTH]")
    assert p.say("AUTH PLAIN " + plain("alice@example.com", "alice-secret")).startswith("-ERR [AUTH]")
    p.ok("STLS")
    p.starttls(s.tls_context())
    p.ok("USER alice@example.com")
    p.ok("PASS alice-secret")
    p.close()


def test_utf8_and_lang(drop):
    """RFC 6856: before login both; after UTF8 no STLS; a language that is not there changes nothing."""
    d = drop()
    p = d.connect()
    caps = p.listing("CAPA")
    assert b"UTF8 USER" in caps and b"LANG" in caps and not any(c.startswith(b"IMPLEMENTATION") for c in caps)
    assert p.listing("LANG") == [b"en English", b"i-default Default language"]
    assert p.ok("LANG en").startswith("+OK en ") and p.ok("LANG *").startswith("+OK en ") and p.ok("LANG EN-gb").startswith("+OK en ")
    p.err("LANG uga")
    p.ok("UTF8")
    p.err("UTF8 x")
    p.err("STLS")
    p = d.login(tls=True)
    p.err("UTF8")
    assert p.ok("LANG i-default").startswith("+OK i-default ")
    p.err("LANG x-none")
    assert p.listing("LANG")[0].startswith(b"en ")
    assert b"IMPLEMENTATION Postern" in p.listing("CAPA")
