"""Certificates change while the suite runs: a wrong one never replaces a good one, a right one is served after the reload. And no session is resumed."""
import socket
import ssl
import subprocess
import time

import pytest

from waiting import until


def served(s, port):
    """The certificate that a new connection gets (DER)."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((s.hosts[0], port), timeout=30) as c:
        with context.wrap_socket(c) as t:
            return t.getpeercert(binary_form=True)


def make(directory, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "10", "-subj", "/CN=new",
                    "-keyout", directory / (name + ".key"), "-out", directory / (name + ".pem")], check=True, stderr=subprocess.DEVNULL)


def der(path):
    return ssl.PEM_cert_to_DER_cert(path.read_text())


def test_only_a_certificate_that_fits_the_key_is_taken(fresh_suite):
    s = fresh_suite("tls")
    etc, port = s.base / "etc", s.ports["IMAPS_PORT"]
    old = der(etc / "cert.pem")
    assert served(s, port) == old
    make(etc, "new")
    new = der(etc / "new.pem")
    (etc / "cert.pem").write_bytes((etc / "new.pem").read_bytes())      # the key is still the old one
    s.reload()
    until(lambda: "TLS self test" in s.log.read_text() or "tls_cert_file" in s.log.read_text())
    for _ in range(5):
        assert served(s, port) == old
        time.sleep(0.1)
    (etc / "key.pem").write_bytes((etc / "new.key").read_bytes())
    s.reload()
    try:
        until(lambda: served(s, port) == new)
    except AssertionError:
        raise AssertionError(s.log.read_text()[-5000:])


# --- resumption ---

@pytest.fixture(scope="module", params=["isolated", "shared"])
def either(request, fresh_suite_module):
    return fresh_suite_module("tls-" + request.param, settings={"front_mode": request.param})


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("port", ["SUBMISSIONS", "IMAPS", "POP3S"])
def test_no_session_is_resumed(either, port, version):
    """Case 64. No ticket and no session id: no process could do anything with them."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    with socket.create_connection((either.host, either.port(port)), timeout=30) as c, context.wrap_socket(c) as t:
        assert t.recv(1000)             # the greeting: a ticket of 1.3 would have come before it
        first = t.session
        assert not first.has_ticket
        assert version == ssl.TLSVersion.TLSv1_3 or first.id == b"", "1.3's is the client's own"
    with socket.create_connection((either.host, either.port(port)), timeout=30) as c, context.wrap_socket(c, session=first) as t:
        assert t.recv(1000) and not t.session_reused


def messages(s, port, *options):
    """Names of the handshake messages, of a client that sends QUIT and reads to the end."""
    p = subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % (s.host, s.port(port)), "-msg", "-ign_eof", *options], input=b"a LOGOUT\r\n", capture_output=True, timeout=60)
    return [line.split(b", ")[-1].strip() for line in p.stdout.splitlines() if line.startswith(b"<<<") and b"Handshake" in line]


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_no_ticket_is_sent(either, version):
    seen = messages(either, "IMAPS", version)
    assert b"ServerHello" in seen and b"Finished" in seen and not [m for m in seen if b"Ticket" in m], seen
