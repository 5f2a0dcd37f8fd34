"""Extensions through the whole: what the client asked for must reach queue and mailbox. RFC 3030 (BDAT), RFC 3461 (DSN), RFC 6531 (SMTPUTF8), RFC 1985
(ETRN), RFC 9422 (LIMITS)."""
import json
import socket
import ssl
import time

import pytest

from test_smtp import envelope, hello, log_has, new_id, starttls

ALICE, BOB = "alice@example.com", "bob@example.com"


def files(suite, user):
    root = suite.maildir(user)
    return [f for d in ("new", "cur") if (root / d).is_dir() for f in (root / d).iterdir()]


def found(suite, user, mid, wait=30):
    """The file in the user's mailbox that holds mid."""
    end = time.monotonic() + wait
    while time.monotonic() < end:
        for f in files(suite, user):
            data = f.read_bytes()
            if mid.encode() in data:
                return data
        time.sleep(0.05)
    raise AssertionError("no mail %s for %s\n%s" % (mid, user, suite.trouble()))


def copies(suite, user, mid):
    return sum(mid.encode() in f.read_bytes() for f in files(suite, user))


def bdat(w, data, last=False):
    w.send(b"BDAT %d%s\r\n" % (len(data), b" LAST" if last else b"") + data)


def message(mid, text="x\r\n"):
    return ("From: s@elsewhere.example\r\nSubject: t\r\nMessage-ID: %s\r\n\r\n%s" % (mid, text)).encode()


# --- RFC 3030 ---

def test_bdat_chunks_arrive_as_one_message(mail, suite):
    mid, text = new_id(), "".join("line %d\r\n.\r\n..\r\n" % i for i in range(5000))
    whole = message(mid, text)
    with mail.wire("SMTP") as w:
        assert "CHUNKING" in hello(w)
        w.send("MAIL FROM:<s@elsewhere.example>\r\nRCPT TO:<bob@example.com>\r\n")
        cuts = [0, 1, 2, 1000, 1001, 40000, len(whole)]
        for a, b in zip(cuts, cuts[1:]):
            bdat(w, whole[a:b])
        bdat(w, b"", last=True)
        codes = [w.smtp()[0] for _ in range(2 + len(cuts))]
        assert codes == [250] * len(codes)
        assert w.smtp("QUIT")[0] == 221
    assert found(suite, BOB, mid).split(b"\n\n", 1)[1] == text.replace("\r\n", "\n").encode()
    log_has(suite, r"disconnect from localhost\[127\.0\.0\.1\] ehlo=1 mail=1 rcpt=1 bdat=7 quit=1 commands=11$")


def test_bdat_under_tls_and_a_message_by_data_after_it(mail, suite):
    one, two = new_id(), new_id()
    with mail.wire("SMTP") as w:
        hello(w)
        starttls(w, suite)
        w.smtp("EHLO again.test")
        envelope(w)
        bdat(w, message(one), last=True)
        assert w.smtp()[0] == 250
        envelope(w)
        assert w.smtp("DATA")[0] == 354
        w.send(message(two) + b".\r\n")
        assert w.smtp()[0] == 250
    assert copies(suite, BOB, one) == 1 and copies(suite, BOB, two) == 1


@pytest.mark.parametrize("fake", [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\n\n.\r\n",
                                  b"\r\n.\r\r\n"])
def test_smuggling_in_a_chunk_gives_no_message(mail, suite, fake):
    outer, inner = new_id(), new_id()
    body = message(outer) + fake + b"MAIL FROM:<x@evil.example>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n" + message(inner)
    with mail.wire("SMTP") as w:
        hello(w)
        envelope(w)
        bdat(w, body, last=True)
        assert w.smtp()[0] == 550
        assert w.closed()
    assert copies(suite, BOB, outer) == copies(suite, BOB, inner) == 0


def test_commands_in_a_chunk_stay_text(mail, suite):
    mid = new_id()
    body = message(mid, "\r\n.\r\nMAIL FROM:<x@evil.example>\r\nRCPT TO:<bob@example.com>\r\nBDAT 4 LAST\r\nabcd\r\n")
    with mail.wire("SMTP") as w:
        hello(w)
        envelope(w)
        bdat(w, body, last=True)
        assert w.smtp()[0] == 250
        assert w.smtp("NOOP")[0] == 250
    assert copies(suite, BOB, mid) == 1 and b"BDAT 4 LAST" in found(suite, BOB, mid)


@pytest.mark.parametrize("how", ["reset", "close", "tls-close"])
def test_a_connection_lost_in_a_chunk_leaves_nothing(mail, suite, how):
    mid = new_id()
    with mail.wire("SMTP") as w:
        hello(w)
        if how == "tls-close":
            starttls(w, suite)
            w.smtp("EHLO again.test")
        envelope(w)
        w.send(b"BDAT 100000 LAST\r\n" + message(mid))
        if how == "tls-close":
            w.sock.setblocking(False)
            try:
                w.sock.unwrap()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
        elif how == "reset":
            w.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    log_has(suite, r"lost connection after BDAT( \(\d+ bytes\))? from localhost\[127\.0\.0\.1\]$")
    assert copies(suite, BOB, mid) == 0
    with mail.wire("SMTP") as w:
        hello(w)


def test_chunks_dropped_after_a_refusal(mail, suite):
    with mail.wire("SMTP") as w:
        hello(w)
        w.send("MAIL FROM:<s@elsewhere.example>\r\nRCPT TO:<nobody-here@example.com>\r\n")
        bdat(w, b"QUIT\r\n" * 1000)
        bdat(w, b"QUIT\r\n", last=True)
        assert [w.smtp()[0] for _ in range(4)] == [250, 550, 554, 554]
        assert w.smtp("NOOP")[0] == 250


# --- RFC 3461 ---

def test_dsn_parameters_reach_the_queue(fresh_suite):
    suite = fresh_suite("dsn", settings={"mynetworks": "127.0.0.0/8", "relayhost": "[127.0.0.9]:1", "filter_enable": "no"})
    with suite_wire(suite) as w:
        assert "DSN" in hello(w)
        assert w.smtp("MAIL FROM:<alice@example.com> RET=HDRS ENVID=QQ+2B314+3D")[0] == 250
        assert w.smtp("RCPT TO:<ann@elsewhere.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Ann+2Bx@elsewhere.example")[0] == 250
        assert w.smtp("RCPT TO:<cid@elsewhere.example> NOTIFY=NEVER")[0] == 250
        assert w.smtp("RCPT TO:<eve@elsewhere.example>")[0] == 250
        assert w.smtp("DATA")[0] == 354
        w.send(message(new_id()) + b".\r\n")
        assert w.smtp()[0] == 250
    (m,) = [json.loads(l) for l in suite.tool("postern-queue", "list", "--json").stdout.decode().splitlines()]
    for again in (False, True):
        if again:       # the record on disk says the same
            suite.stop()
            suite.start()
        shown = suite.tool("postern-queue", "show", m["queue_id"]).stdout.decode()
        for text in ("envid: QQ+314=", "ret: HDRS", "notify: SUCCESS,FAILURE", "orcpt: rfc822;Ann+x@elsewhere.example", "notify: NEVER"):
            assert shown.count(text) == 1, shown
        assert shown.count("notify:") == 2


def suite_wire(suite, port="SMTP", **kw):
    import mailtools
    return mailtools.Mail(suite).wire(port, **kw)


# --- RFC 6531 ---

def test_smtputf8_sender_and_its_mark_in_received(mail, suite):
    mid = new_id()
    with mail.wire("SMTP") as w:
        assert "SMTPUTF8" in hello(w)
        assert w.smtp("MAIL FROM:<jö@bücher.example>")[0] == 553
        assert w.smtp("MAIL FROM:<jö@bücher.example> SMTPUTF8")[0] == 250
        assert w.smtp("RCPT TO:<bob@example.com>")[0] == 250
        assert w.smtp("DATA")[0] == 354
        w.send("From: Jö <jö@bücher.example>\r\nSubject: grüße\r\nMessage-ID: %s\r\n\r\nx\r\n.\r\n" % mid)
        assert w.smtp()[0] == 250
    text = found(suite, BOB, mid)
    assert "Return-Path: <jö@bücher.example>".encode() in text and b" with UTF8SMTP id " in text


def test_an_address_beyond_ascii_in_a_map(mail, suite, fresh_suite):
    with mail.wire("SMTP") as w:
        hello(w)
        assert w.smtp("MAIL FROM:<> SMTPUTF8")[0] == 250
        assert w.smtp("RCPT TO:<jürgen@example.com>")[0] == 550
        assert w.smtp(b"RCPT TO:<j\xfcrgen@example.com>\r\n")[0] == 501
        assert w.smtp("RCPT TO:<bob@exämple.org>")[0] == 554


# --- RFC 9422, RFC 1985, VRFY ---

def test_limits_say_what_is_enforced(fresh_suite):
    suite = fresh_suite("limits", settings={"smtpd_recipient_limit": "100", "filter_enable": "no"})
    with suite_wire(suite) as w:
        assert "LIMITS RCPTMAX=100" in hello(w)
        assert w.smtp("MAIL FROM:<s@elsewhere.example>")[0] == 250
        assert [w.smtp("RCPT TO:<%s>" % a)[0] for a in (ALICE, BOB) * 50] == [250] * 100
        assert w.smtp("RCPT TO:<%s>" % BOB) == (452, ["4.5.3 Error: too many recipients"])


def test_etrn_serves_only_domains_that_are_relayed(fresh_suite):
    suite = fresh_suite("etrn", settings={"relay_domains": "backup.example", "filter_enable": "no", "relayhost": "[127.0.0.9]:1", "disable_vrfy_command": "yes",
                                          "smtpd_discard_ehlo_keywords": "chunking, dsn, starttls"})
    with suite_wire(suite) as w:
        words = hello(w)
        assert "ETRN" in words and not {"VRFY", "CHUNKING", "DSN", "STARTTLS"} & set(words)
        assert w.smtp("VRFY bob")[0] == 502 and w.smtp("STARTTLS")[0] == 502
        assert w.smtp("MAIL FROM:<s@elsewhere.example> RET=FULL")[0] == 555
        assert w.smtp("MAIL FROM:<s@elsewhere.example>")[0] == 250
        assert w.smtp("RCPT TO:<joe@backup.example>")[0] == 250
        bdat(w, b"x\r\n", last=True)
        assert w.smtp()[0] == 502
        assert w.smtp("DATA")[0] == 354
        w.send(message(new_id()) + b".\r\n")
        assert w.smtp()[0] == 250
        log_has(suite, r"status=deferred")
        before = suite.log.read_text().count("status=deferred")
        assert w.smtp("ETRN other.example")[0] == 459
        assert w.smtp("ETRN backup.example") == (250, ["2.0.0 Queuing started"])
    log_has(suite, r"flush of backup\.example: 1 messages tried now")
    end = time.monotonic() + 30
    while suite.log.read_text().count("status=deferred") == before and time.monotonic() < end:
        time.sleep(0.05)
    assert suite.log.read_text().count("status=deferred") > before
    log_has(suite, r"smtpd\[\d+\]: discarding EHLO keywords: STARTTLS DSN CHUNKING|discarding EHLO keywords: CHUNKING DSN STARTTLS")
    log_has(suite, r"NOQUEUE: reject: ETRN from (localhost|unknown)\[127\.[0-9.]+\]: 459 4\.7\.1 <other\.example>: service unavailable; proto=ESMTP helo=<client\.test>")
