"""A suite that sends mail, a name server, and receivers on addresses of this host: for tests of outgoing mail. The standard library only."""
import os
import pathlib
import re
import smtplib
import ssl
import time
import uuid

import dnsserver
import suite as suite_module
from smtpsink import Sink


class Scene:
    """A suite on an address of its own, a name server, receivers by number on port 25 of 127.0.60.N."""
    number = 0

    def __init__(self, **settings):
        Scene.number += 1
        self.host = "127.0.9.%d" % Scene.number
        self.dns, self.sinks = dnsserver.Server(), {}
        base = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / ("routes-%s" % uuid.uuid4().hex[:6])
        self.maps = base / "maps"
        self.maps.mkdir(parents=True)
        os.chmod(self.maps, 0o755)
        self.suite = suite_module.Suite(base, build=os.environ.get("POSTERN_BUILD", "dev"), hosts=(self.host,), real_ports=True, settings={
            "dns_servers": self.dns.address, "mynetworks": "127.0.0.0/8", "filter_enable": "no", "minimal_backoff_time": "1s", "smtp_connect_timeout": "5s",
            "smtp_tls_CAfile": base / "etc" / "ca.pem", **settings})
        self.suite.make()

    def start(self):
        self.suite.start()
        return self

    def map(self, name, text, mode=0o644):
        p = self.maps / name
        p.write_text(text)
        os.chmod(p, mode)
        return p

    def sink(self, n, **kw):
        if n not in self.sinks:
            self.sinks[n] = Sink("127.0.60.%d" % n, 25, **kw)
        return self.sinks[n]

    def tls(self, *names):
        """A server's context whose certificate, of the suite's authority, has these names."""
        d, etc = self.maps, self.suite.base / "etc"
        key, cert, ext = d / "k.pem", d / ("%s.pem" % uuid.uuid4().hex), d / "ext"
        ext.write_text("subjectAltName=%s\n" % ",".join("DNS:" + n for n in names))
        suite_module.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", d / "csr", "-subj", "/CN=x"])
        suite_module.run(["openssl", "x509", "-req", "-in", d / "csr", "-CA", etc / "ca.pem", "-CAkey", etc / "ca-key.pem", "-CAcreateserial", "-extfile", ext, "-out", cert])
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(cert, key)
        c.cert = cert
        return c

    def send(self, *to, sender="me@example.com", body="hello\r\n", options=(), rcpt_options=()):
        """Returns the queue id."""
        with smtplib.SMTP(self.host, 25, timeout=30) as s:
            s.ehlo("t.example")
            assert s.mail(sender, options)[0] == 250
            for r in to:
                assert s.rcpt(r, rcpt_options)[0] == 250, self.suite.log.read_text(errors="replace")[-3000:]
            code, text = s.data(body if isinstance(body, bytes) else "Subject: t\r\n\r\n" + body)
            assert code == 250
            return re.search(rb"queued as (\w+)", text).group(1).decode()

    def log(self, qid, pattern, timeout=30):
        """The log line of this message that matches."""
        end = time.monotonic() + timeout
        while True:
            text = self.suite.log.read_text(errors="replace")
            for line in text.splitlines():
                if " %s: " % qid in line and re.search(pattern, line):
                    return line
            assert time.monotonic() < end, pattern + "\n" + text[-6000:]
            time.sleep(0.02)

    def close(self):
        self.suite.stop()
        self.dns.close()
        for s in self.sinks.values():
            s.close()


def mx(scene, domain, *hosts):
    """hosts: (preference, number of a receiver)."""
    for pref, n in hosts:
        scene.dns.add(domain, "MX", "%d mx%d.%s" % (pref, n, domain))
        scene.dns.host("mx%d.%s" % (n, domain), "127.0.60.%d" % n)
