"""Renewed certificates: key and certificate are two files, daemons reload one by one or are started again, and TLS is there all the time."""
import os
import signal
import socket
import ssl
import subprocess
import time

import pytest


@pytest.fixture
def renewal(fresh_suite):
    return Renewal(fresh_suite("renewal", users=("alice@example.com",)))


class Renewal:
    def __init__(self, suite):
        self.suite, self.etc, self.made = suite, suite.base / "etc", 0

    def pair(self):
        """A further key and certificate, not yet in their places: (key, certificate, DER)."""
        self.made += 1
        key, cert = (self.etc / ("renewed-%d.%s" % (self.made, x)) for x in ("key", "cert"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days", "90",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, stderr=subprocess.DEVNULL)
        return key, cert, ssl.PEM_cert_to_DER_cert(cert.read_text())

    def put(self, key=None, cert=None):
        for f, name in ((key, "key.pem"), (cert, "cert.pem")):
            if f:
                os.rename(f, self.etc / name)

    def tell(self, daemon, signo=signal.SIGHUP):
        os.kill(int((self.suite.run_dir / (daemon + ".pid")).read_text()), signo)

    def mark(self):
        return self.suite.log.stat().st_size

    def said(self, mark, text):
        end = time.monotonic() + 30
        while text not in self.suite.log.read_bytes()[mark:].decode(errors="replace"):
            assert time.monotonic() < end, "not logged: %s\n%s" % (text, self.suite.trouble())
            time.sleep(0.02)

    def shown(self, port="IMAPS"):
        """The certificate that a new client gets: DER."""
        c = ssl.create_default_context()
        c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection((self.suite.host, self.suite.port(port)), timeout=30) as s, c.wrap_socket(s) as t:
            t.recv(10)
            return t.getpeercert(binary_form=True)

    def in_file(self):
        return ssl.PEM_cert_to_DER_cert((self.etc / "cert.pem").read_text().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")

    def comes(self, der, port="IMAPS"):
        end = time.monotonic() + 30
        while True:
            try:
                if self.shown(port) == der:
                    return
            except OSError:
                pass
            assert time.monotonic() < end, self.suite.trouble()
            time.sleep(0.05)


def test_reloads_of_authd_alone_leave_no_front_without_its_key(renewal):
    """The key of the certificate that fronts show is kept, however often authd reloads, and however often it was renewed meanwhile."""
    old = renewal.shown()
    key, cert, der = renewal.pair()
    renewal.put(key, cert)
    for _ in range(4):
        mark = renewal.mark()
        renewal.tell("authd")
        renewal.said(mark, "TLS key and certificate loaded")
        assert renewal.shown() == old
    for port in ("SUBMISSIONS", "IMAPS", "POP3S"):
        assert renewal.shown(port) == old
    # The former one is forgotten: whoever shows it makes new fronts.
    key, cert, newest = renewal.pair()
    renewal.put(key, cert)
    renewal.tell("authd")
    for port in ("SUBMISSIONS", "IMAPS", "POP3S"):
        renewal.comes(newest, port)
    assert der != newest


def test_a_pair_that_does_not_fit_is_not_taken_and_the_next_that_does_is(renewal):
    old = renewal.shown()
    key, cert, der = renewal.pair()
    mark = renewal.mark()
    renewal.put(key=key)
    renewal.tell("authd")
    renewal.said(mark, "the old key stays in use")
    renewal.tell("imapd")
    renewal.said(mark, "reloaded %s" % renewal.suite.conf)
    assert renewal.shown() == old
    renewal.put(cert=cert)      # and nobody is told: authd looks again by itself
    renewal.said(mark, "TLS key and certificate loaded")
    renewal.tell("imapd")
    renewal.comes(der)


def test_fronts_follow_an_authd_that_was_started_again(renewal):
    """As with a key that is a credential of systemd's: the new process has the new key only."""
    key, cert, der = renewal.pair()
    renewal.put(key, cert)
    mark = renewal.mark()
    renewal.tell("authd", signal.SIGKILL)
    for port in ("SUBMISSIONS", "IMAPS", "POP3S"):
        renewal.comes(der, port)
    assert "did not get ready" not in renewal.suite.log.read_bytes()[mark:].decode(errors="replace")


def test_what_is_left_of_a_key_worker_is_asked_nothing(renewal):
    """Its socket can be reached as long as another process of an authd that ends has it: no template is begun until a key worker answers."""
    (monitor,) = [p[0] for p in renewal.suite.processes() if p[3].startswith("authd: monitor")]
    (worker,) = [p[0] for p in renewal.suite.processes() if p[3].startswith("authd: key")]
    mark = renewal.mark()
    os.kill(monitor, signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)
    renewal.said(mark, "authd's key worker has gone")
    renewal.tell("authd", signal.SIGKILL)
    time.sleep(0.5)     # the socket is reached again after a few hundredths, and a template would ask now
    os.kill(monitor, signal.SIGKILL)
    for port in ("SUBMISSIONS", "IMAPS", "POP3S"):
        renewal.comes(renewal.in_file(), port)
    said = renewal.suite.log.read_bytes()[mark:].decode(errors="replace")
    assert "TLS self test" not in said and "did not get ready" not in said, said


def test_authd_that_starts_between_the_two_files(renewal):
    key, cert, der = renewal.pair()
    mark = renewal.mark()
    renewal.put(key=key)
    renewal.tell("authd", signal.SIGKILL)
    renewal.said(mark, "cert.pem: ")
    renewal.put(cert=cert)
    renewal.comes(der)


def test_a_key_worker_that_died(renewal):
    """A key worker that is started again takes fronts' questions when it has the keys: none is refused in between."""
    mark = renewal.mark()
    for _ in range(3):
        worker = [p for p in renewal.suite.processes() if p[3].startswith("authd: key")][0][0]
        os.kill(worker, signal.SIGKILL)
        renewal.comes(renewal.in_file())
    assert "signature refused" not in renewal.suite.log.read_bytes()[mark:].decode(errors="replace")
