"""The transcripts of sections.t, and of examples.t: those that the standards show."""
import base64
import pathlib
import smtplib

import pytest

import transcript
from smtpsink import Sink

FILES = [pathlib.Path(__file__).resolve().parent / name for name in ("sections.t", "examples.t")]
SECTIONS = [(name, file, lines) for file in FILES for name, lines in transcript.read(file)]
# Of the examples: who is somebody's name.
ALIASES = ("Jones@foo.com", "Brown@foo.com", "Admin.MRC@foo.com", "mrose@dbc.mtview.ca.us", "ned@innosoft.com", "dan@innosoft.com", "kvc@innosoft.com", "Susan@Random.com",
           "gvaudre@cnri.reston.va.us", "jstewart@cnri.reston.va.us", "pat@foo.edu", "green@foo.edu")


def base64_of(*words):
    return base64.b64encode("\0".join(("", *words)).encode()).decode()


@pytest.fixture(scope="module")
def plain(module_suite):
    return module_suite("sections", settings={"filter_enable": "no", "inet_interfaces": "127.0.2.1", "listener.store": "24/lmtp", "auth_throttle_exempt": "127.0.0.0/8",
                                              "smtpd_error_sleep_time": "0", "fast_flush_domains": "innosoft.com sigurd.innosoft.com", "relayhost": "[127.0.0.9]:1",
                                              "virtual_alias_domains": " ".join({a.split("@")[1].lower() for a in ALIASES}),
                                              "virtual_alias_maps": "inline:{ %s }" % ", ".join("%s=bob@example.com" % a.lower() for a in ALIASES)})


@pytest.mark.parametrize("file, lines", [x[1:] for x in SECTIONS], ids=[x[0] for x in SECTIONS])
def test_section(plain, file, lines):
    transcript.Player(plain, file.name, PLAIN=base64_of("alice@example.com", "alice-secret"), WRONG=base64_of("alice@example.com", "wrong")).play(lines)


def test_rfc_5321_d_3_relayed_mail(module_suite):
    """Step 1, source host to relay host, and step 2, relay host to destination host."""
    there = Sink("127.0.0.12", 25)
    relay = module_suite("relayed", settings={"filter_enable": "no", "inet_interfaces": "127.0.2.8", "mynetworks": "127.0.0.0/8",
                                              "transport_maps": "inline:{ xyz.com = smtp:[127.0.0.12]:25 }", "smtp_tls_security_level": "none"})
    try:
        with smtplib.SMTP(relay.host, relay.port("SMTP"), timeout=30) as s:
            assert s.ehlo("bar.com")[0] == 250 and s.mail("JQP@bar.com")[0] == 250 and s.rcpt("Jones@XYZ.COM")[0] == 250
            assert s.data("Date: Thu, 21 May 1998 05:33:29 -0700\r\nFrom: John Q. Public <JQP@bar.com>\r\nSubject: The Next Meeting of the Board\r\n"
                          "To: Jones@xyz.com\r\n\r\nBill:\r\nThe next meeting of the board of directors will be\r\non Tuesday.\r\nJohn.\r\n")[0] == 250
        envelope, data, _ = there.wait(timeout=30)
    finally:
        there.close()
    assert envelope[0].startswith("MAIL FROM:<JQP@bar.com>") and [e.split()[1].lower() for e in envelope[1:]] == ["to:<jones@xyz.com>"]
    received, rest = data.split(b"\r\nDate: ", 1)
    assert received.startswith(b"Received: from bar.com (") and b"by mail.example.com" in received
    assert rest.startswith(b"Thu, 21 May 1998 05:33:29 -0700\r\nFrom: John Q. Public <JQP@bar.com>\r\n") and rest.endswith(b"on Tuesday.\r\nJohn.\r\n")
