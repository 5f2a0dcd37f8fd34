"""Debian's OpenSMTPD as the server that mail goes to; it hands on to a receiver of this test, which sees what became of it."""
import os
import pathlib
import socket
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import opensmtpd  # noqa: E402
from remotescene import Scene, mx  # noqa: E402
from test_peers import TRICKY  # noqa: E402

pytestmark = pytest.mark.skipif(opensmtpd.MISSING is not None, reason=str(opensmtpd.MISSING))
DOMAIN, PEER = "open.example", "127.0.60.171"


@pytest.fixture(scope="module")
def scene():
    s = Scene()
    mx(s, DOMAIN, (10, 171))
    certificate = s.tls("mx171." + DOMAIN).cert
    key = s.maps / "k.pem"
    os.chmod(key, 0o600)
    behind = s.sink(172)
    s.peer = opensmtpd.Server(pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "opensmtpd", PEER, DOMAIN, "127.0.60.172", (certificate, key))
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((PEER, 25), timeout=5).close()
            break
        except OSError:
            assert time.monotonic() < end and s.peer.process.poll() is None, s.peer.log.read_text()
            time.sleep(0.05)
    s.start()
    s.behind = behind
    yield s
    s.peer.stop()
    s.close()


def test_a_message_arrives_as_it_was(scene):
    """The version of Debian 12 cannot sign with OpenSSL 3 and ends each handshake with an alert: at level "may" mail goes without TLS then."""
    text = TRICKY.replace("\r\n.\r\n", "\r\n..\r\n").encode()
    scene.log(scene.send("bob@" + DOMAIN, body=text, options=["BODY=8BITMIME"]), r"relay=mx171\.open\.example\[127\.0\.60\.171\]:25, .*status=sent \(250 2\.0\.0")
    _env, data, _ = scene.behind.wait(1, 30)
    assert data.endswith(text.split(b"\r\n\r\n", 1)[1])
    assert scene.suite.logged(r"(Verified TLS connection established|SSL_connect error) to mx171\.open\.example\[127\.0\.60\.171\]:25: ")


def test_several_recipients_and_messages(scene):
    n = len(scene.behind.messages)
    for i in range(3):
        qid = scene.send("a%d@%s" % (i, DOMAIN), "b%d@%s" % (i, DOMAIN))
        for r in "ab":
            scene.log(qid, "to=<%s%d@.*status=sent" % (r, i))
    end = time.monotonic() + 30
    while sum(len(m[0]) - 1 for m in scene.behind.messages[n:]) < 6:
        assert time.monotonic() < end, scene.peer.log.read_text()[-3000:]
        time.sleep(0.05)


def test_what_it_does_not_relay_comes_back(scene):
    scene.dns.add("foreign.example", "MX", "10 mx171." + DOMAIN)
    scene.log(scene.send("x@foreign.example", sender=""), r"status=bounced \(host mx171\.open\.example\[127\.0\.60\.171\] said: 550 ")
