"""smtpd with its real peers: what only the whole can show (TLS, AUTH, delivery, log lines, the sendmail tool)."""
import base64
import re
import socket
import ssl
import subprocess
import time
import uuid

import pytest

PLAIN = base64.b64encode(b"\0alice@example.com\0alice-secret").decode()


def hello(w, name="client.test"):
    assert w.smtp()[0] == 220
    code, text = w.smtp("EHLO " + name)
    assert code == 250
    return text


def starttls(w, suite):
    assert w.smtp("STARTTLS")[0] == 220
    w.starttls(suite.tls_context())
    return w


def envelope(w, to="bob@example.com"):
    assert w.smtp("MAIL FROM:<s@elsewhere.example>")[0] == 250
    assert w.smtp("RCPT TO:<%s>" % to)[0] == 250


def log_has(suite, pattern, timeout=30):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        found = re.search(pattern, suite.log.read_text(errors="replace"), re.M)
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("no log line like %s\n%s" % (pattern, suite.trouble()))


def body(mid, text="x\r\n"):
    return "From: s@elsewhere.example\r\nSubject: t\r\nMessage-ID: %s\r\n\r\n%s.\r\n" % (mid, text)


def new_id():
    return "<%s@test.example>" % uuid.uuid4().hex


# --- STARTTLS ---

def test_starttls_forgets_what_was_said_before(mail, suite):
    with mail.wire("SMTP") as w:
        assert "STARTTLS" in hello(w)
        starttls(w, suite)
        assert w.smtp("MAIL FROM:<s@elsewhere.example>")[0] == 503
        code, text = w.smtp("EHLO again.test")
        assert code == 250 and "STARTTLS" not in text and any(t.startswith("AUTH ") for t in text)
        assert w.smtp("STARTTLS")[0] == 503
        assert w.smtp("QUIT")[0] == 221
    log_has(suite, r"smtpd\[\d+\]: Anonymous TLS connection established from unknown\[127\.0\.0\.1\]: TLSv1\.3 with cipher \S+ \(\d+/\d+ bits\)$")


def test_text_behind_starttls_is_never_run(mail):
    with mail.wire("SMTP") as w:
        hello(w)
        w.send("STARTTLS\r\nMAIL FROM:<evil@elsewhere.example>\r\n")
        code, _text = w.smtp()
        assert code == 554
        assert w.closed()


def test_starttls_in_a_transaction(mail):
    with mail.wire("SMTP") as w:
        hello(w)
        envelope(w)
        assert w.smtp("STARTTLS")[0] == 503


def test_no_tls_after_the_go_ahead(mail):
    with mail.wire("SMTP") as w:
        hello(w)
        assert w.smtp("STARTTLS")[0] == 220
        w.send("EHLO plain.test\r\n")
        answer = w.line()
        assert not answer.startswith(b"250") and w.closed()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(mail, suite, version):
    context = suite.tls_context()
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, OSError)):
        socket_ = socket.create_connection(("127.0.0.1", suite.port("SUBMISSIONS")), timeout=30)
        context.wrap_socket(socket_, server_hostname="localhost")


# --- AUTH ---

def test_submission_demands_tls_then_login(mail, suite):
    with mail.wire("SUBMISSION") as w:
        hello(w)
        code, text = w.smtp("MAIL FROM:<alice@example.com>")
        assert code == 530 and text[0].startswith("5.7.0") and "STARTTLS" in text[0]
        starttls(w, suite)
        w.smtp("EHLO again.test")
        code, text = w.smtp("MAIL FROM:<alice@example.com>")
        assert code == 530 and text[0].startswith("5.7.0")
        assert w.smtp("AUTH PLAIN " + PLAIN)[0] == 235
        assert w.smtp("MAIL FROM:<alice@example.com>")[0] == 250


def test_login_step_by_step(mail, suite):
    with mail.wire("SUBMISSIONS", tls=True) as w:
        hello(w)
        code, text = w.smtp("AUTH LOGIN")
        assert (code, base64.b64decode(text[0])) == (334, b"Username:")
        code, text = w.smtp(base64.b64encode(b"alice@example.com").decode())
        assert (code, base64.b64decode(text[0])) == (334, b"Password:")
        assert w.smtp(base64.b64encode(b"alice-secret").decode())[0] == 235
        assert w.smtp("AUTH PLAIN " + PLAIN)[0] == 503


@pytest.mark.parametrize("raw", [b"", b"\0", b"a", b"\0alice@example.com", b"\0alice@example.com\0", b"\0\0alice-secret",
                                 b"\0alice@example.com\0alice-secret\0x", b"bob@example.com\0alice@example.com\0alice-secret",
                                 b"\0" + b"a" * 300 + b"\0x", b"\0alice@example.com\n\0alice-secret", b"\0root\0x", b"\0../x\0y"])
def test_broken_plain_messages_fail(mail, raw):
    with mail.wire("SUBMISSIONS", tls=True, timeout=30) as w:
        hello(w)
        code, text = w.smtp("AUTH PLAIN " + (base64.b64encode(raw).decode() or "="))
        assert code in (501, 535), (code, text)


def test_a_failed_login_is_logged_without_the_password(mail, suite):
    with mail.wire("SUBMISSIONS", tls=True, timeout=30) as w:
        hello(w)
        secret = "pw" + uuid.uuid4().hex
        assert w.smtp("AUTH PLAIN " + base64.b64encode(("\0bob@example.com\0" + secret).encode()).decode())[0] == 535
    log_has(suite, r"smtpd\[\d+\]: warning: unknown\[127\.0\.0\.1\]: SASL PLAIN authentication failed: .*sasl_username=bob@example\.com")
    text = suite.log.read_text(errors="replace")
    assert secret not in text and base64.b64encode(secret.encode()).decode() not in text


# --- data ---

def test_a_pipelined_group(mail, suite):
    mid = new_id()
    with mail.wire("SMTP") as w:
        hello(w)
        w.send("MAIL FROM:<s@elsewhere.example>\r\nRCPT TO:<bob@example.com>\r\nRCPT TO:<no-such-user@example.com>\r\nDATA\r\n")
        assert [w.smtp()[0] for _ in range(4)] == [250, 250, 550, 354]
        w.send(body(mid) + "QUIT\r\n")
        code, text = w.smtp()
        assert code == 250 and re.match(r"2\.0\.0 Ok: queued as [A-Z0-9]+$", text[0])
        assert w.smtp()[0] == 221
    mail.wait_for(mid)
    qid = text[0].split()[-1]
    log_has(suite, r"smtpd\[\d+\]: %s: client=localhost\[127\.0\.0\.1\]$" % qid)
    log_has(suite, r"smtpd\[\d+\]: %s: reject: RCPT from localhost\[127\.0\.0\.1\]: 550 5\.1\.1 <no-such-user@example\.com>: .*; "
                   r"from=<s@elsewhere\.example> to=<no-such-user@example\.com> proto=ESMTP helo=<client\.test>$" % qid)
    log_has(suite, r"disconnect from localhost\[127\.0\.0\.1\] ehlo=1 mail=1 rcpt=1/2 data=1 quit=1 commands=5/6$")


SMUGGLES = [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\n\n.\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n"]


@pytest.mark.parametrize("end", SMUGGLES)
@pytest.mark.parametrize("tls", [False, True])
def test_no_second_message_is_smuggled(mail, suite, end, tls):
    first, second = new_id(), new_id()
    evil = b"MAIL FROM:<evil@elsewhere.example>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n" + body(second).encode()
    raw = b"From: s@elsewhere.example\r\nMessage-ID: " + first.encode() + b"\r\n\r\nx" + end + evil
    with mail.wire("SMTP") as w:
        hello(w)
        if tls:
            starttls(w, suite)
            w.smtp("EHLO again.test")
        envelope(w)
        assert w.smtp("DATA")[0] == 354
        at = raw.index(end)
        for piece in (raw[:at + 1], raw[at + 1:at + 2], raw[at + 2:]):
            w.send(piece)
            time.sleep(0.02)
        code, text = w.smtp()
        assert code == 550 and text[0].startswith("5.5.2"), (code, text)
        assert w.closed()
    time.sleep(0.2)
    assert not [f for f in mail.files() if second.encode() in f.read_bytes() or first.encode() in f.read_bytes()]


def test_a_client_that_leaves_in_the_middle_leaves_nothing(mail, suite):
    mid = new_id()
    with mail.wire("SMTP") as w:
        hello(w, "leaver.test")
        envelope(w)
        w.smtp("DATA")
        w.send(body(mid)[:-3])
    log_has(suite, r"lost connection after DATA \(\d+ bytes\) from localhost\[127\.0\.0\.1\]")
    time.sleep(0.2)
    assert not [f for f in mail.files() if mid.encode() in f.read_bytes()]


def test_dots_and_long_lines_arrive_as_they_were(mail):
    mid = new_id()
    long = "y" * 70000
    with mail.wire("SMTP") as w:
        hello(w)
        envelope(w)
        w.smtp("DATA")
        w.send(body(mid, "..\r\n...two\r\n%s\r\n" % long))
        assert w.smtp()[0] == 250
    text = mail.wait_for(mid).read_text()
    assert text.endswith("\n\n.\n..two\n%s\n" % long)


def test_header_limits(mail):
    with mail.wire("SMTP", timeout=30) as w:
        hello(w)
        envelope(w)
        w.smtp("DATA")
        w.send("X: y\r\n" * 60000 + "\r\nx\r\n.\r\n")
        code, text = w.smtp()
        assert code == 552 and text[0].startswith("5.3.4")
        envelope(w)
        w.smtp("DATA")
        w.send("Received: x\r\n" * 200 + "\r\nx\r\n.\r\n")
        code, text = w.smtp()
        assert code == 554 and text[0].startswith("5.4.6")


# --- rude clients ---

@pytest.mark.parametrize("raw", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nEHLO x\r\n",
                                 b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\n", b"OPTIONS sip:x SIP/2.0\r\n",
                                 b"X" * 1500000])
def test_other_protocols_are_shown_out(mail, raw):
    with mail.wire("SMTP") as w:
        assert w.smtp()[0] == 220
        try:
            w.send(raw)
        except OSError:
            pass
        assert w.closed(20)
    mail.send()


def test_who_speaks_first_is_shown_out(mail):
    with mail.wire("SMTP") as w:
        w.send("EHLO early.test\r\nMAIL FROM:<s@elsewhere.example>\r\n")
        code, _text = w.smtp()
        assert code in (220, 554)
        if code == 220:
            assert w.smtp()[0] == 554
        assert w.closed()


def test_a_command_in_single_bytes(mail):
    with mail.wire("SMTP") as w:
        w.smtp()
        for c in b"EHLO bytes.test\r\n":
            w.send(bytes([c]))
        assert w.smtp()[0] == 250


def test_a_client_that_does_not_read(mail, suite):
    with mail.wire("SMTP", timeout=5) as w:
        hello(w)
        w.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            for _ in range(200):
                w.send("HELP\r\n" * 1000)
        except OSError:
            pass
    mail.send()


# --- sendmail ---

def test_sendmail_posts(suite, mail):
    mid = new_id()
    text = "To: bob@example.com\nBcc: alice@example.com\nSubject: cron\nMessage-ID: %s\n\n.\nend\r\n" % mid
    p = subprocess.run([str(suite.bin / "sendmail"), "-C", str(suite.conf), "-t", "-i", "-F", "A \"B\""], input=text.encode(),
                       capture_output=True, timeout=30)
    assert p.returncode == 0, p.stderr
    for user in ("bob@example.com", "alice@example.com"):
        got = mail.wait_for(mid, user).read_text()
        assert got.endswith("\n\n.\nend\n") and "\nBcc" not in got and "\nFrom: \"A \\\"B\\\"\" <root@example.com>\n" in got


def test_sendmail_says_when_a_recipient_is_unknown(suite):
    # As a user without a home: what cannot be posted would be left in dead.letter, outside the scratch directory.
    p = subprocess.run([str(suite.bin / "sendmail"), "-C", str(suite.conf), "no-such-user@example.com"], input=b"Subject: x\n\nx\n",
                       capture_output=True, timeout=30, user=65534, group=65534, extra_groups=[])
    assert p.returncode == 67 and b"550 5.1.1" in p.stderr


def test_sendmail_speaks_smtp(suite):
    p = subprocess.run([str(suite.bin / "sendmail"), "-C", str(suite.conf), "-bs"], input=b"EHLO x\r\nQUIT\r\n", capture_output=True, timeout=30)
    assert p.returncode == 0 and p.stdout.startswith(b"220 ") and b"\r\n221 " in p.stdout
