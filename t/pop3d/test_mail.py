"""POP3 after login: RFC 1939's TRANSACTION and UPDATE states, and the hostile cases of a mailbox."""
import os
import poplib
import signal
import time

import pytest

ONE = b"From: a@b\nSubject: one\n\nbody\n"
TWO = b"From: a@b\nSubject: two\n\n.\n..x\n.y\nno end"


def crlf(m):
    return m.replace(b"\n", b"\r\n")


def test_fresh_mailbox(drop):
    d = drop()
    p = d.login()
    assert p.ok("STAT") == "+OK 0 0"
    assert p.listing("LIST") == []
    assert p.listing("UIDL") == []
    p.ok("NOOP")
    p.ok("QUIT")
    assert p.closed()


def test_sizes_and_content_are_exact(drop):
    d = drop(ONE, TWO)
    p = d.login()
    sizes = [len(crlf(ONE)), len(crlf(TWO))]
    assert p.ok("STAT") == "+OK 2 %d" % sum(sizes)
    assert p.listing("LIST") == [b"1 %d" % sizes[0], b"2 %d" % sizes[1]]
    assert p.ok("LIST 2") == "+OK 2 %d" % sizes[1]
    assert p.message("RETR 1") == crlf(ONE)
    p.ok("RETR 2")
    assert p.raw_listing() == b"From: a@b\r\nSubject: two\r\n\r\n..\r\n...x\r\n..y\r\nno end\r\n"
    p.ok("QUIT")


def test_stored_crlf_is_not_doubled(drop):
    d = drop(crlf(ONE))
    p = d.login()
    assert p.ok("LIST 1") == "+OK 1 %d" % len(crlf(ONE))
    assert p.message("RETR 1") == crlf(ONE)


def test_large_message_passes_the_buffers(drop):
    big = b"Subject: big\n\n" + b"".join(b".%06d %s\n" % (i, b"x" * (i % 90)) for i in range(60000))
    d = drop(big, ONE)
    p = d.login(tls=True)
    assert p.message("RETR 1") == crlf(big)
    # Pipelined behind a large answer, commands wait for their turn.
    p.send("RETR 1\r\nRETR 2\r\nNOOP\r\n")
    assert p.reply().startswith("+OK")
    assert len(p.raw_listing()) > len(big)
    assert p.reply().startswith("+OK")
    assert p.raw_listing() == crlf(ONE)
    assert p.reply() == "+OK"


def test_top(drop):
    d = drop(b"A: 1\nB: 2\n\nl1\n.l2\nl3\n")
    p = d.login()
    assert p.message("TOP 1 0") == b"A: 1\r\nB: 2\r\n\r\n"
    assert p.message("TOP 1 2") == b"A: 1\r\nB: 2\r\n\r\nl1\r\n.l2\r\n"
    assert p.message("TOP 1 99999999999") == b"A: 1\r\nB: 2\r\n\r\nl1\r\n.l2\r\nl3\r\n"
    for wrong in ("TOP 1 -1", "TOP 1", "TOP 1 x", "TOP 2 1", "TOP 1 1 1"):
        p.err(wrong)


def test_message_numbers_that_are_none(drop):
    d = drop(ONE, ONE)
    p = d.login()
    p.ok("DELE 2")
    for n in ("0", "-1", "4294967297", "1 2", "+1", "x", "2", "3", "18446744073709551617", "01 ", ""):
        if n == "01 ":
            continue
        p.err("RETR " + n)
    p.ok("STAT")
    assert p.message("RETR 1") == crlf(ONE)


def test_deletion_only_with_quit(drop):
    d = drop(ONE, TWO, ONE)
    p = d.login()
    p.ok("DELE 1")
    p.err("DELE 1")
    assert p.ok("STAT") == "+OK 2 %d" % (len(crlf(TWO)) + len(crlf(ONE)))
    assert [l.split()[0] for l in p.listing("LIST")] == [b"2", b"3"]
    p.close()
    p = d.login()
    assert p.ok("STAT").startswith("+OK 3 ")
    p.ok("DELE 2")
    p.ok("RSET")
    p.ok("QUIT")
    p = d.login()
    assert p.ok("STAT").startswith("+OK 3 ")
    p.ok("DELE 1")
    p.ok("DELE 3")
    p.ok("QUIT")
    p = d.login()
    assert p.ok("STAT") == "+OK 1 %d" % len(crlf(TWO))
    assert len(d.files()) == 1


def test_uidl(drop):
    d = drop(ONE, TWO)
    p = d.login()
    first = [l.split() for l in p.listing("UIDL")]
    assert [n for n, _ in first] == [b"1", b"2"]
    for _, u in first:
        assert 1 <= len(u) <= 70 and all(0x21 <= c <= 0x7e for c in u)
    assert first[0][1] != first[1][1]
    assert p.ok("UIDL 2") == "+OK 2 " + first[1][1].decode()
    # Dovecot's default form: eight hex digits of the UID, eight of UIDVALIDITY, lower case.
    assert first[0][1][:8] == b"00000001" and first[0][1] == first[0][1].lower() and len(first[0][1]) == 16
    p.ok("QUIT")
    # Flags set by another program, and a new process, change nothing.
    for f in (d.root / "cur").iterdir():
        f.rename(f.with_name(f.name.split(":")[0] + ":2,RS"))
    d.put(ONE)
    p = d.login()
    again = [l.split() for l in p.listing("UIDL")]
    assert again[:2] == first and len(again) == 3
    p.ok("DELE 1")
    assert [l.split()[0] for l in p.listing("UIDL")] == [b"2", b"3"]
    p.err("UIDL 1")


def test_saved_uidl_and_order_are_kept(drop):
    d = drop()
    d.put(ONE, "1000000001.M1P1.old,S=%d,W=%d:2,S" % (len(ONE), len(crlf(ONE))), "cur")
    d.put(TWO, "1000000002.M1P1.old:2,", "cur")
    d.put(ONE, "1000000003.M1P1.old:2,", "cur")
    (d.root / "dovecot-uidlist").write_text(
        "3 V1234567 N9 G0123456789abcdef0123456789abcdef\n"
        "4 Pold-uidl-4 O2 :1000000001.M1P1.old,S=%d,W=%d\n7 O1 :1000000002.M1P1.old\n" % (len(ONE), len(crlf(ONE))))
    d.own()
    p = d.login()
    assert p.listing("UIDL") == [b"1 000000070012d687", b"2 old-uidl-4", b"3 000000090012d687"]
    assert p.message("RETR 1") == crlf(TWO) + b"\r\n"


def test_one_session_at_a_time(drop):
    d = drop(ONE)
    p = d.login()
    q = d.connect()
    q.ok("USER " + d.name)
    assert q.say("PASS " + d.password).startswith("-ERR [IN-USE] ")
    assert q.closed()
    p.ok("NOOP")
    # Who comes back while the last session is about to end is let in.
    r = d.connect()
    r.ok("USER " + d.name)
    r.send("PASS %s\r\n" % d.password)
    time.sleep(0.3)
    p.ok("QUIT")
    assert r.reply().startswith("+OK Logged in")


def test_messages_removed_by_others_stay_numbered(drop):
    d = drop(ONE, TWO)
    p = d.login()
    for f in (d.root / "cur").iterdir():
        f.unlink()
    assert p.ok("STAT").startswith("+OK 2 ")
    p.err("RETR 1")
    p.ok("DELE 1")
    p.ok("QUIT")


def test_new_mail_waits_for_the_next_session(drop):
    d = drop(ONE)
    p = d.login()
    d.put(TWO)
    assert p.ok("STAT").startswith("+OK 1 ")
    p.err("RETR 2")
    p.ok("QUIT")
    assert d.login().ok("STAT").startswith("+OK 2 ")


def test_vanished_client_deletes_nothing(drop):
    d = drop(ONE, ONE)
    p = d.login()
    p.ok("DELE 1")
    p.send("DELE 2\r\nQUIT")	# no line end: not a command
    p.close()
    assert d.login().ok("STAT").startswith("+OK 2 ")


def test_killed_session_deletes_nothing_or_all(drop):
    d = drop(*[ONE] * 300)
    p = d.login()
    for i in range(1, 201):
        p.ok("DELE %d" % i)
    for pid in d.session_pids():
        os.kill(pid, signal.SIGKILL)
    assert p.closed()
    p = d.login()
    assert p.ok("STAT").startswith("+OK 300 ")
    p.send("".join("DELE %d\r\n" % i for i in range(1, 201)))
    for i in range(200):
        assert p.reply().startswith("+OK")
    p.send("QUIT\r\n")
    time.sleep(0.001)
    for pid in d.session_pids():
        os.kill(pid, signal.SIGKILL)
    p.close()
    p = d.login()
    assert p.ok("STAT").split()[1] in ("300", "100")
    left = int(p.ok("STAT").split()[1])
    p.ok("QUIT")
    d.login().ok("QUIT")
    assert len(d.files()) == left


def test_wrong_commands(drop):
    d = drop(ONE)
    p = d.login()
    for wrong in ("", "XYZZY", "APOP a b", "LAST", "USER x", "PASS x", "STLS", "AUTH PLAIN", "STAT 1", "RETR", "LIST 1 2", "QUIT now"):
        p.err(wrong)
    p.ok("stat")
    p.err("RETR 1\0")
    p.ok("NOOP")
    p.err("X" * 5000)
    p.ok("NOOP")


def test_too_many_wrong_commands_end_the_session(drop):
    d = drop(ONE)
    p = d.login()
    p.ok("DELE 1")
    p.send("BAD\r\n" * 100)
    assert p.closed()
    assert d.login().ok("STAT").startswith("+OK 1 ")


def test_endless_line_ends_the_session(drop):
    d = drop(ONE)
    p = d.login()
    try:
        for _ in range(64):
            p.send(b"x" * 65536)
    except OSError:
        pass
    assert p.closed()


def test_flood_of_commands_is_served_fairly(drop):
    d, other = drop(ONE), drop(ONE)
    p = d.login()
    n = 20000
    p.sock.settimeout(60)
    import threading
    t = threading.Thread(target=lambda: p.send("NOOP\r\n" * n))
    t.start()
    q = other.login()
    q.ok("NOOP")
    for _ in range(n):
        assert p.reply() == "+OK"
    t.join()
    p.ok("QUIT")


def test_capabilities_after_login(drop):
    p = drop().login()
    caps = p.listing("CAPA")
    for c in (b"TOP", b"UIDL", b"RESP-CODES", b"AUTH-RESP-CODE", b"PIPELINING", b"EXPIRE NEVER"):
        assert c in caps
    for c in (b"STLS", b"USER"):
        assert c not in caps


def test_session_ends_and_comes_back(drop):
    d = drop(ONE)
    p = d.login()
    assert len(d.session_pids()) == 1
    p.ok("QUIT")
    p = d.login()
    first = d.session_pids()
    assert len(first) == 1
    p.ok("QUIT")
    end = time.monotonic() + 30
    while d.session_pids() and time.monotonic() < end:
        time.sleep(0.2)
    assert d.session_pids() == []
    d.login().ok("QUIT")


def test_the_log_says_what_was_done(drop, suite):
    d = drop(ONE)
    p = d.login(tls=True)
    p.message("RETR 1")
    p.ok("DELE 1")
    p.ok("QUIT")
    end = time.monotonic() + 30
    while time.monotonic() < end:
        text = suite.log.read_text(errors="replace")
        mine = [l for l in text.splitlines() if d.name in l and "pop3" in l]
        if any("Logged out" in l for l in mine):
            break
        time.sleep(0.05)
    login = [l for l in mine if "pop3-login: Login: user=<%s>, method=PLAIN, rip=" % d.name in l]
    assert len(login) == 1 and ", TLS, session=<" in login[0] and " dovecot" in login[0], mine
    out = [l for l in mine if "pop3(%s)<" % d.name in l and "Disconnected: Logged out top=0/0, retr=1/" in l]
    assert len(out) == 1 and "del=1/1" in out[0], mine


def test_messages_fetched_whole_are_read_after_quit(drop):
    d = drop(ONE, ONE, ONE)
    p = d.login()
    p.message("RETR 1")
    p.message("TOP 2 0")
    p.message("RETR 3")
    p.ok("DELE 3")
    p.close()
    p = d.login()
    assert all(not f.endswith("S") for f in d.files())
    p.message("RETR 1")
    p.message("TOP 2 0")
    p.message("RETR 3")
    p.ok("DELE 3")
    p.ok("QUIT")
    assert p.closed()
    d.suite.tool("postern-mailbox", "flush", d.name)
    assert sorted(f.split(":2,")[1] for f in d.files()) == ["", "S"]


def test_headers_in_utf8_are_given_as_they_are(drop):
    text = "From: Jörg <jörg@exämple.com>\nSubject: Grüße ☃\n\nbody ü\n".encode()
    d = drop(text)
    p = d.connect(tls=True)
    p.ok("UTF8")
    p.ok("USER " + d.name)
    p.ok("PASS " + d.password)
    assert p.message("RETR 1") == crlf(text)


def test_login_delay_is_kept_and_said(fresh_suite):
    s = fresh_suite("pop3-delay", users=("alice@example.com",), settings={"pop3_login_delay": "1h"})
    context = s.tls_context()
    context.check_hostname = False

    def login():
        c = poplib.POP3_SSL(s.host, s.port("POP3S"), context=context)
        assert "LOGIN-DELAY" in c.capa() and c.capa()["LOGIN-DELAY"] == ["3600"]
        c.user("alice@example.com")
        return c, c.pass_(s.passwords["alice@example.com"])
    c, answer = login()
    assert answer.startswith(b"+OK")
    c.quit()
    with pytest.raises(poplib.error_proto, match="LOGIN-DELAY"):
        login()
    os.utime(s.maildir("alice@example.com") / "postern.poplogin", (1, 1))
    c, answer = login()
    assert answer.startswith(b"+OK")
    c.quit()
