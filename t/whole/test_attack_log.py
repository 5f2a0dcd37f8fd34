"""What clients say wrongly must not put a password into the log, plain or in base64."""
import base64
import secrets
import time

import pytest

from mailtools import Wire


def talk(suite, port, lines):
    """Send each line (all at once when they are one bytes object), reading what comes back in between."""
    with Wire("127.0.0.1", suite.port(port), context=suite.tls_context() if port.endswith("S") else None) as w:
        w.sock.settimeout(0.5)
        for line in [b""] + lines:
            w.send(line)
            time.sleep(0.1)
            try:
                w.sock.recv(4000)
            except OSError:
                pass


@pytest.mark.parametrize("port, before, after", [("IMAPS", b"a AUTHENTICATE PLAIN ", b"\r\n"), ("POP3S", b"AUTH PLAIN ", b"\r\n"),
                                                 ("SUBMISSIONS", b"EHLO me\r\nAUTH PLAIN ", b"\r\n"),
                                                 ("SUBMISSION", b"AUTH PLAIN ", b"\r\n")])
@pytest.mark.parametrize("form", ["%s\0%s", "%s\0%s\0", "\0%s\0%s\0x", "%s %s"])
def test_malformed_plain(suite, port, before, after, form):
    secret = secrets.token_hex(10)
    raw = base64.b64encode((form % ("alice@example.com", secret)).encode())
    talk(suite, port, [b"EHLO me\r\n" if port == "SUBMISSION" else b"", before + raw + after, b"QUIT\r\n" if port != "IMAPS" else b"b LOGOUT\r\n"])
    time.sleep(0.5)
    log = suite.log.read_bytes()
    assert secret.encode() not in log and raw not in log


@pytest.mark.parametrize("mech", ["PLAIN", "LOGIN", "XOAUTH2", "CRAM-MD5", ""])
def test_credentials_that_do_not_wait(suite, mech):
    secret = base64.b64encode(secrets.token_bytes(18))
    for port, head in (("SUBMISSIONS", b"EHLO me\r\nAUTH %s\r\n"), ("POP3S", b"AUTH %s\r\n"), ("IMAPS", b"a AUTHENTICATE %s\r\n")):
        talk(suite, port, [head % mech.encode() + secret + b"\r\n" + secret + b"\r\nQUIT\r\n"])
    time.sleep(0.5)
    assert secret not in suite.log.read_bytes()
