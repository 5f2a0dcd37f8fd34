"""Whole sessions as clients have them: Python's imaplib, and the transcript of RFC 3501 section 8."""
import imaplib
import re
import time

import pytest

from imapmessages import MULTI, SIMPLE
from imapraw import Closed, Imap

ALICE = "alice@example.com"


@pytest.mark.parametrize("tls", ["plain", "starttls", "imaps"])
def test_imaplib(suite, tls):
    host = suite.hosts[0].strip("[]")
    if tls == "imaps":
        m = imaplib.IMAP4_SSL("localhost" if host == "127.0.0.1" else host, suite.port("IMAPS"), ssl_context=suite.tls_context())
    else:
        m = imaplib.IMAP4("localhost" if host == "127.0.0.1" else host, suite.port("IMAP"))
    if tls == "starttls":
        m.starttls(suite.tls_context())
    assert m.login(ALICE, suite.passwords[ALICE])[0] == "OK"
    assert m.create("lib-" + tls)[0] == "OK"
    assert m.append("lib-" + tls, r"(\Seen)", imaplib.Time2Internaldate(1000000000), MULTI)[0] == "OK"
    assert m.select("lib-" + tls) == ("OK", [b"1"])
    typ, data = m.fetch("1", "(FLAGS RFC822)")
    assert typ == "OK" and data[0][1] == MULTI and b"\\Seen" in data[0][0]
    assert m.search(None, "ALL") == ("OK", [b"1"])
    assert m.uid("COPY", "1", "lib-" + tls)[0] == "OK"
    assert m.store("1", "+FLAGS", r"(\Deleted)")[0] == "OK"
    assert m.expunge() == ("OK", [b"1"])
    assert m.status("lib-" + tls, "(MESSAGES)") == ("OK", [b"lib-%s (MESSAGES 1)" % tls.encode()])
    assert m.close()[0] == "OK"
    assert m.delete("lib-" + tls)[0] == "OK"
    assert m.logout()[0] == "BYE"


def test_rfc3501_sample_session(suite, imap, folder):
    c = imap()
    for i in range(12):
        c.append(folder, SIMPLE if i < 11 else MULTI.replace(b"Subject: ", b"Subject: 12 "))
    status, line, got = c.cmd("select " + folder)
    assert status == "OK" and "[READ-WRITE]" in line and b"* 12 EXISTS" in got
    got = c.ok("fetch 12 full")
    assert re.match(rb'\* 12 FETCH \(FLAGS \(.*\) INTERNALDATE ".*" RFC822.SIZE \d+ ENVELOPE \(.*\) BODY \(.*\)\)$', got[0], re.S), got
    assert c.fetch1("12 body[header]", "BODY[header]").endswith(b"\r\n\r\n")
    got = c.ok("store 12 +flags \\deleted")
    assert re.match(rb"\* 12 FETCH \(FLAGS \(.*\\Deleted.*\)\)$", got[0])
    assert c.ok("logout")[0].startswith(b"* BYE")


def pids(name):
    import os
    out = []
    for p in os.listdir("/proc"):
        if p.isdigit():
            try:
                if open("/proc/%s/cmdline" % p).read().startswith("imapd: session " + name):
                    out.append(int(p))
            except OSError:
                pass
    return out


def test_one_process_per_user_which_ends_when_unused(suite):
    bob = "bob@example.com"
    conns = [Imap(suite, login=bob) for _ in range(5)]
    assert len(pids(bob)) == 1
    for c in conns:
        c.close()
    end = time.monotonic() + 30
    while pids(bob) and time.monotonic() < end:
        time.sleep(0.2)
    assert pids(bob) == []
    c = Imap(suite, login=bob)
    c.ok("SELECT INBOX")
    c.close()


def test_keepalive_and_autologout(fresh_suite):
    s = fresh_suite("imap-timeouts", settings={"imap_idle_notify_interval": "10", "imap_timeout": "60"})
    c = Imap(s, login=ALICE)
    c.sock.settimeout(120)
    c.ok("SELECT INBOX")
    c.send("i IDLE\r\n")
    c.line()
    t = time.monotonic()
    assert c.line() == b"* OK Still here"
    assert 9 < time.monotonic() - t
    seen = []
    with pytest.raises(Closed):
        while True:
            seen.append(c.line())
    assert seen[-1].startswith(b"* BYE") and 50 < time.monotonic() - t


def test_login_timeout(fresh_suite):
    s = fresh_suite("imap-login-timeout", settings={"login_timeout": "5"})
    c = Imap(s)
    c.sock.settimeout(30)
    t = time.monotonic()
    c.send("a NOOP\r\n")
    assert c.finish("a")[0] == "OK"
    assert c.line().startswith(b"* BYE") and 4 < time.monotonic() - t


def test_connections_per_user(fresh_suite):
    s = fresh_suite("imap-conns", settings={"mail_connections_per_user": "3", "imap_progress_interval": "0"})
    conns = [Imap(s, login=ALICE) for _ in range(3)]
    c = Imap(s)
    status, line, _ = c.cmd("LOGIN %s alice-secret" % ALICE)
    assert status == "NO" and "[LIMIT]" in line
    conns[0].close()
    end = time.monotonic() + 30
    while True:         # once the closed one is noticed
        c = Imap(s)
        if c.cmd("LOGIN %s alice-secret" % ALICE)[0] == "OK":
            break
        assert time.monotonic() < end
        time.sleep(0.1)
    # RFC 9585: with the interval 0 a long command says how far it is whenever others had their turn
    c.send("m APPEND INBOX" + "".join(" {%d+}\r\nSubject: %d\r\n\r\n%s" % (13 + len(str(i)) + 22 * 3000, i, "line of padding text\r\n" * 3000) for i in range(100)) + "\r\n")
    assert c.finish("m")[0] == "OK"
    c.ok("SELECT INBOX")
    lines = c.cmd("SEARCH " + " ".join("NOT TEXT nowhere%d" % i for i in range(5)), tag="p1")[2]
    told = [int(m.group(1)) for l in lines for m in [re.match(rb'\* OK \[INPROGRESS \("p1" (\d+) 100\)\]', l)] if m]
    assert told and told == sorted(told) and told[-1] <= 100


def test_a_long_search_stops_nobody(imap, folder):
    a, b = imap(), imap()
    a.send("m APPEND %s" % folder)
    for i in range(200):
        m = b"Subject: %d\r\n\r\n" % i + b"some words to be looked through again and again\r\n" * 2000
        a.send(b" {%d+}\r\n" % len(m) + m)
    a.send("\r\n")
    assert a.finish("m")[0] == "OK"
    a.ok("SELECT " + folder)
    a.send("s SEARCH " + " ".join("NOT TEXT nowhere%d" % i for i in range(20)) + "\r\n")
    slow, start = 0, time.monotonic()
    for _ in range(20):
        t = time.monotonic()
        b.ok("STATUS %s (MESSAGES)" % folder)
        slow = max(slow, time.monotonic() - t)
    assert a.finish("s")[2] == [b"* SEARCH " + b" ".join(b"%d" % i for i in range(1, 201))]
    assert slow < max(0.5, (time.monotonic() - start) / 2), "another one waits for a part of the search, never for all of it"
