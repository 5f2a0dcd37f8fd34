"""Outgoing mail through the whole suite: a user submits, queued schedules, remote speaks to a server of this test."""
import pathlib
import re
import smtplib
import ssl
import sys
import time
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mailtools  # noqa: E402
from smtpsink import Sink  # noqa: E402


def start(fresh_suite, sink, **settings):
    s = fresh_suite("relay", settings={"relayhost": "[127.0.0.1]:%d" % sink.port, "minimal_backoff_time": "1s", **settings})
    return s, mailtools.Mail(s)


def submit(suite, to, body="Hello\r\n"):
    """As alice, over TLS; returns the Message-ID."""
    mid = "<%s@test.example>" % uuid.uuid4().hex
    context = suite.tls_context()
    context.check_hostname = False      # the suite of this test has an address that its certificate does not name
    with smtplib.SMTP_SSL(suite.hosts[0], suite.port("SUBMISSIONS"), context=context, timeout=30) as s:
        s.login("alice@example.com", "alice-secret")
        s.sendmail("alice@example.com", to, "From: alice@example.com\r\nSubject: t\r\nMessage-ID: %s\r\n\r\n%s" % (mid, body))
    return mid


def log_has(suite, pattern, timeout=30):
    end = time.monotonic() + timeout
    while True:
        text = suite.log.read_text(errors="replace")
        if re.search(pattern, text, re.M):
            return
        assert time.monotonic() < end, pattern + "\n" + text[-3000:]
        time.sleep(0.05)


@pytest.mark.parametrize("with_tls", [False, True])
def test_a_users_mail_reaches_the_relay(fresh_suite, with_tls):
    sink = Sink()
    suite, mail = start(fresh_suite, sink)
    if with_tls:
        sink.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        sink.tls.load_cert_chain(suite.base / "etc" / "cert.pem", suite.base / "etc" / "key.pem")
    mid = submit(suite, ["x@elsewhere.example", "y@elsewhere.example"], "..dots\r\n.\r\nend\r\n")
    env, text, secure = sink.wait()
    assert env[0].startswith("MAIL FROM:<alice@example.com>") and env[1:] == ["RCPT TO:<x@elsewhere.example>", "RCPT TO:<y@elsewhere.example>"]
    assert mid.encode() in text and text.endswith(b"\r\n\r\n..dots\r\n.\r\nend\r\n") and b"\r\nReceived: " in b"\r\n" + text
    assert secure == with_tls
    log_has(suite, r"smtp\[\d+\]: [A-Z0-9]+: to=<x@elsewhere\.example>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:%d, delay=\S+, delays=\S+, dsn=2\.0\.0, "
                   r"status=sent \(250 2\.0\.0 Ok: sunk\)$" % sink.port)
    log_has(suite, r"qmgr\[\d+\]: [A-Z0-9]+: removed$")


def test_a_temporary_refusal_is_tried_again(fresh_suite):
    sink = Sink()
    sink.refuse = {"RCPT": "450 4.2.0 greylisted"}
    suite, mail = start(fresh_suite, sink)
    submit(suite, ["x@elsewhere.example"])
    log_has(suite, r"status=deferred \(host 127\.0\.0\.1\[127\.0\.0\.1\] said: 450 4\.2\.0 greylisted \(in reply to RCPT TO command\)\)$")
    sink.refuse = {}
    suite.tool("postern-queue", "flush")
    sink.wait()


def test_a_final_refusal_comes_back_to_the_sender(fresh_suite):
    sink = Sink()
    sink.refuse = {"RCPT": "550 5.1.1 nobody of that name"}
    suite, mail = start(fresh_suite, sink)
    mid = submit(suite, ["x@elsewhere.example"])
    f = mail.wait_for(mid, "alice@example.com")
    text = f.read_text()
    assert "550 5.1.1 nobody of that name" in text and "x@elsewhere.example" in text and "Action: failed" in text


def test_a_relay_that_is_down_defers(fresh_suite):
    sink = Sink()
    suite, mail = start(fresh_suite, sink)
    port = sink.port
    sink.shutdown()
    sink.server_close()
    submit(suite, ["x@elsewhere.example"])
    log_has(suite, r"smtp\[\d+\]: connect to 127\.0\.0\.1\[127\.0\.0\.1\]:%d: Connection refused$" % port)
    log_has(suite, r"dsn=4\.4\.1, status=deferred \(connect to 127\.0\.0\.1\[127\.0\.0\.1\]:%d: Connection refused\)$" % port)


def test_without_name_servers_mail_waits(fresh_suite):
    sink = Sink()
    suite, mail = start(fresh_suite, sink, relayhost="", dns_servers="127.0.0.1:1")
    submit(suite, ["x@elsewhere.example"])
    log_has(suite, r"dsn=4\.4\.3, status=deferred \(Host or domain name not found\. Name service error for name=elsewhere\.example type=MX: ", 40)
