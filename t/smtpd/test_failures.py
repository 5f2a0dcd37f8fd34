"""smtpd when something is missing: a silent client, a queued or an authd that has gone."""
import os
import signal
import sys
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import mailtools  # noqa: E402
from test_smtp import PLAIN, envelope, hello, log_has, new_id, body  # noqa: E402


@pytest.fixture
def impatient(fresh_suite):
    s = fresh_suite("smtpd-impatient", settings={"smtpd_timeout": "5s"})
    return s, mailtools.Mail(s)


def kill(suite, comm):
    pids = [p for p, _user, name, _cmd in suite.processes() if name == comm]
    assert pids
    for p in pids:
        try:
            os.kill(p, signal.SIGKILL)
        except ProcessLookupError:      # a worker that went with its parent
            pass


def test_silence_ends_the_session(impatient):
    suite, mail = impatient
    with mail.wire("SMTP", timeout=30) as w:
        hello(w)
        start = time.monotonic()
        code, text = w.smtp()
        assert code == 421 and text[0].startswith("4.4.2") and 3 < time.monotonic() - start
        assert w.closed()
    log_has(suite, r"smtpd\[\d+\]: timeout after EHLO from unknown\[127\.0\.0\.1\]")


def test_a_command_in_drops_has_one_deadline(impatient):
    _suite, mail = impatient
    with mail.wire("SMTP", timeout=30) as w:
        w.smtp()
        with pytest.raises(OSError):
            for _ in range(60):
                w.send("N")
                time.sleep(1)


def test_silence_inside_data(impatient):
    suite, mail = impatient
    mid = new_id()
    with mail.wire("SMTP", timeout=30) as w:
        hello(w)
        envelope(w)
        w.smtp("DATA")
        w.send(body(mid)[:-5])
        assert w.smtp()[0] == 421
    log_has(suite, r"timeout after DATA \(\d+ bytes\) from ")
    assert not mail.files()


def test_queued_goes_in_the_middle(fresh_suite):
    suite = fresh_suite("smtpd-queued")
    mail = mailtools.Mail(suite)
    with mail.wire("SMTP", timeout=30) as w:
        hello(w)
        envelope(w)
        kill(suite, "queued")
        code, text = w.smtp("DATA")
        if code == 354:		# it had the file already, and had not seen yet who is gone
            code, text = w.smtp("Subject: x\r\n\r\ntext\r\n.")
        assert code == 421 and text[0].startswith("4.3.0")
        assert w.closed()
        assert not mail.files()
    end = time.monotonic() + 30
    while True:
        try:
            mail.send()
            break
        except Exception:
            assert time.monotonic() < end
            time.sleep(0.2)


def test_authd_goes_before_the_login(fresh_suite):
    suite = fresh_suite("smtpd-authd")
    mail = mailtools.Mail(suite)
    with mail.wire("SUBMISSIONS", tls=True, timeout=30) as w:
        hello(w)
        kill(suite, "authd")
        code, text = w.smtp("AUTH PLAIN " + PLAIN)
        assert code == 454 and text[0].startswith("4.7.0")
    log_has(suite, r"SASL PLAIN authentication failed: Connection lost to authentication server")
