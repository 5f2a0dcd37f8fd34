"""Certificates change while the suite runs: a wrong one never replaces a good one, a right one is served after the reload."""
import socket
import ssl
import subprocess
import time
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
