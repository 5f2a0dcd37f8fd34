"""Clients' certificates: asked for in the handshake, believed by authority or by fingerprint, for relaying, access tables, policy services and whole listeners."""
import os
import pathlib
import re
import signal
import socketserver
import ssl
import subprocess
import threading

import pytest

import ipc
import mailtools
import milter as milter_module
from test_smtp import log_has as log_has_soon

ELSEWHERE = "joe@there.example"
OF_LISTENERS = "127.0.2.1"      # of the ports below; the suite's own address depends on how many came before


def log_has(suite, pattern):
    return log_has_soon(suite, pattern, timeout=30)


class Authority:
    """Makes certificates with openssl(1), as an administrator would."""

    def __init__(self, where, name):
        self.where, self.name = pathlib.Path(where), name
        self.where.mkdir(parents=True, exist_ok=True)
        self.cert, self.key = self.where / (name + "-ca.pem"), self.where / (name + "-ca.key")
        self.ssl("req", "-x509", *self.ec(), "-keyout", self.key, "-out", self.cert, "-days", "30", "-subj", "/CN=%s authority" % name)

    @staticmethod
    def ec():
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    @staticmethod
    def ssl(*argv):
        return subprocess.run(["openssl", *map(str, argv)], check=True, capture_output=True).stdout

    def make(self, name, subject=None, extensions=""):
        cert, key, csr, ext = (self.where / (name + s) for s in (".pem", ".key", ".csr", ".ext"))
        ext.write_text(extensions)
        self.ssl("req", *self.ec(), "-keyout", key, "-out", csr, "-subj", subject or "/CN=" + name)
        self.ssl("x509", "-req", "-in", csr, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial", "-days", "30", "-extfile", ext, "-out", cert)
        return Certificate(cert, key)


    def make_old(self, name):
        """One of 2020."""
        c = self.make(name)
        (self.where / "index").write_text("")
        (self.where / "ca.cnf").write_text("[ca]\ndefault_ca = d\n[d]\ndatabase = %s\nnew_certs_dir = %s\npolicy = p\ndefault_md = sha256\nrand_serial = yes\n[p]\ncommonName = optional\n"
                                           % (self.where / "index", self.where))
        self.ssl("ca", "-batch", "-notext", "-config", self.where / "ca.cnf", "-in", self.where / (name + ".csr"), "-cert", self.cert, "-keyfile", self.key,
                 "-startdate", "20200101000000Z", "-enddate", "20200201000000Z", "-out", c.cert)
        return c

    def below(self, name):
        """An authority that this one vouches for."""
        other = Authority(self.where, name)
        csr, ext = other.where / "below.csr", other.where / "below.ext"
        ext.write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
        self.ssl("req", "-new", "-key", other.key, "-out", csr, "-subj", "/CN=%s authority" % name)
        self.ssl("x509", "-req", "-in", csr, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial", "-days", "30", "-extfile", ext, "-out", other.cert)
        return other


class Certificate:
    def __init__(self, cert, key):
        self.cert, self.key = cert, key

    def fingerprint(self, digest="sha256"):
        return Authority.ssl("x509", "-in", self.cert, "-noout", "-fingerprint", "-" + digest).decode().strip().split("=")[1]

    def key_fingerprint(self):
        der = Authority.ssl("pkey", "-in", self.key, "-pubout", "-outform", "DER")
        p = subprocess.run(["openssl", "dgst", "-sha256", "-c"], input=der, check=True, capture_output=True)
        return p.stdout.decode().strip().split("= ")[1].upper()


@pytest.fixture(scope="module")
def certs():
    where = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "client-certs"
    ours, theirs = Authority(where, "our"), Authority(where, "their")
    hashed = where / "hashed"
    hashed.mkdir(exist_ok=True)
    (hashed / "their-ca.pem").write_bytes(theirs.cert.read_bytes())
    Authority.ssl("rehash", hashed)
    middle = ours.below("middle")
    through = middle.make("through")
    through.cert.write_bytes(through.cert.read_bytes() + middle.cert.read_bytes())     # the chain that the client shows
    return {
        "ca": ours.cert, "through": through, "hashed": hashed, "vouched": ours.make("vouched"), "listed": ours.make("listed"), "by-key": theirs.make("by-key"),
        "expired": ours.make_old("expired"), "a server's": ours.make("a-servers", extensions="extendedKeyUsage=serverAuth\n"),
        "nameless": ours.make("nameless", subject="/"), "in-directory": theirs.make("in-directory"), "revoked": ours.make("revoked"),
        "foreign": Authority(where, "nobody's").make("foreign"), "hostile": ours.make("hostile", "/CN=a\tb\x01 relay=yes"),
        "self": Certificate(Authority(where, "self").cert, where / "self-ca.key"),
    }


@pytest.fixture(scope="module")
def asked():
    """A policy service: the requests that it has been asked."""
    requests = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            request = {}
            for line in self.rfile:
                k, eq, v = line.decode().rstrip("\n").partition("=")
                if eq:
                    request[k] = v
                else:
                    requests.append(request)
                    request = {}
                    self.wfile.write(b"action=DUNNO\n\n")
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    requests_port[:] = [server.server_address[1]]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield requests
    server.shutdown()
    server.server_close()


requests_port = []


@pytest.fixture(scope="module")
def milter():
    m = milter_module.Milter()
    yield m
    m.close()


@pytest.fixture(scope="module")
def asking(module_suite, certs, asked, milter):
    table = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "client-certs" / "relay"
    table.write_text("%s partner\n%s partner\n%s itself\n" % (certs["listed"].fingerprint(), certs["by-key"].key_fingerprint(), certs["self"].fingerprint()))
    os.chmod(table, 0o644)
    return module_suite("certs", settings={
        "smtpd_tls_ask_ccert": "yes", "smtpd_tls_CAfile": certs["ca"], "smtpd_tls_CApath": certs["hashed"], "relay_clientcerts": "texthash:%s" % table,
        "smtpd_relay_restrictions": "permit_tls_clientcerts, reject_unauth_destination", "inet_interfaces": OF_LISTENERS, "filter_enable": "no", "relayhost": "[127.0.0.9]:1",
        "smtpd_client_restrictions": "check_ccert_access inline:{ { %s = REJECT revoked } }" % certs["revoked"].fingerprint(),
        "listener.vouched": "2601/smtp -o { smtpd_relay_restrictions = permit_tls_all_clientcerts, reject_unauth_destination } -o smtpd_client_restrictions=",
        "listener.members": "2602/submissions -o smtpd_tls_req_ccert=yes -o smtpd_sasl_auth_enable=no",
        "listener.partners": "2603/smtp -o smtpd_tls_req_ccert=yes",
        "listener.watched": "2605/smtp -o { smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:%d }" % requests_port[0],
        "listener.milted": "2606/smtp -o smtpd_milters=%s" % milter.name, "smtpd_authorized_xclient_hosts": "127.0.0.0/8",
        "smtpd_peername_lookup": "no",
        "milter_connect_macros": "j {cert_subject} {cert_issuer} {tls_version} {cipher} {cipher_bits}", "milter_max_idle": "0",
        "listener.silent": "2604/smtp -o smtpd_tls_ask_ccert=no",
    })


def context(suite, certificate=None, version=None):
    c = ssl.create_default_context(cafile=str(suite.ca))
    if certificate:
        c.load_cert_chain(str(certificate.cert), str(certificate.key))
    if version:
        c.maximum_version = version
    return c


def session(suite, certificate=None, port=25, version=None):
    w = mailtools.Wire(suite.host if port == 25 else OF_LISTENERS, port)
    assert w.smtp()[0] == 220
    assert w.smtp("EHLO client.test")[0] == 250
    assert w.smtp("STARTTLS")[0] == 220
    w.starttls(context(suite, certificate, version), server_name="mail.example.com")
    assert w.smtp("EHLO client.test")[0] == 250
    return w


def rcpt(w, to=ELSEWHERE):
    code, texts = w.smtp("MAIL FROM:<someone@there.example>")
    return (code, texts) if code != 250 else w.smtp("RCPT TO:<%s>" % to)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name,code", [("listed", 250), ("by-key", 250), ("self", 250), ("vouched", 554), ("foreign", 554), (None, 554)])
def test_permit_tls_clientcerts_goes_by_fingerprint(asking, certs, version, name, code):
    assert rcpt(session(asking, certs.get(name), version=version))[0] == code


@pytest.mark.parametrize("name,code", [("vouched", 250), ("through", 250), ("in-directory", 250), ("by-key", 250), ("nameless", 250), ("foreign", 554), ("self", 554), ("expired", 554),
                                       ("a server's", 554), (None, 554)])
def test_permit_tls_all_clientcerts_goes_by_authority(asking, certs, name, code):
    assert rcpt(session(asking, certs.get(name), port=2601))[0] == code


def test_a_certificate_of_the_connection_before_that_queued_reads_late(asking, certs):
    """A process that waits for its client keeps no channel on which something lies unread: queued would meet it in the next connection."""
    (queue,) = [p[0] for p in asking.processes() if p[3].startswith("queued: queue")]
    os.kill(queue, signal.SIGSTOP)
    try:
        for _ in range(3):
            w = session(asking, certs["listed"])
            assert w.smtp("QUIT")[0] == 221
            w.close()
        w = session(asking)
    finally:
        os.kill(queue, signal.SIGCONT)
    assert rcpt(w)[0] == 554
    assert rcpt(session(asking, certs["listed"]))[0] == 250


def test_mail_to_us_needs_none(asking):
    w = session(asking)
    assert rcpt(w, "bob@example.com")[0] == 250


def test_check_ccert_access(asking, certs):
    code, texts = rcpt(session(asking, certs["revoked"]), "bob@example.com")
    assert code == 554 and texts[0].endswith("Client host rejected: revoked")


def test_a_listener_that_demands_one(asking, certs):
    w = mailtools.Wire(OF_LISTENERS, 2602, context=context(asking, certs["vouched"]), server_name="mail.example.com")
    assert w.smtp()[0] == 220
    w = session(asking, certs["vouched"], port=2603)
    assert rcpt(w, "bob@example.com")[0] == 250
    for name in ("foreign", "self", None):
        code, texts = rcpt(session(asking, certs.get(name), port=2603), "bob@example.com")
        assert (code, "client certificate" in texts[0]) == (530, True), name
    w = mailtools.Wire(OF_LISTENERS, 2603)
    assert w.smtp()[0] == 220 and w.smtp("EHLO client.test")[0] == 250
    assert rcpt(w, "bob@example.com") == (530, ["5.7.0 Must issue a STARTTLS command first"])


def test_a_listener_that_does_not_ask_sees_none(asking, certs):
    assert rcpt(session(asking, certs["listed"], port=2604))[0] == 554


def test_the_authorities_names_are_sent(asking):
    p = subprocess.run(["openssl", "s_client", "-starttls", "smtp", "-connect", "%s:25" % asking.host], input=b"QUIT\r\n", capture_output=True, timeout=60)
    assert b"Acceptable client certificate CA names\nCN = our authority" in p.stdout


def test_the_log_says_who_it_was(asking, certs):
    c = certs["vouched"]
    session(asking, c)
    assert log_has(asking, r"Trusted TLS connection established from unknown\[")
    assert log_has(asking, re.escape("subject_CN=vouched, issuer_CN=our authority, fingerprint=%s, pkey_fingerprint=%s" % (c.fingerprint(), c.key_fingerprint())))
    session(asking, certs["foreign"])
    assert log_has(asking, r"Untrusted TLS connection established from unknown\[")
    assert log_has(asking, r"fingerprint=%s.*, not trusted: " % re.escape(certs["foreign"].fingerprint()))


def test_a_policy_service_hears_of_it(asking, certs, asked):
    for name, trusted in (("vouched", True), ("self", False), (None, False)):
        assert rcpt(session(asking, certs.get(name), port=2605), "bob@example.com")[0] == 250
        request = asked.pop()
        assert request["ccert_subject"] == ("vouched" if trusted else "") and request["ccert_issuer"] == ("our authority" if trusted else "")
        assert request["ccert_fingerprint"] == (certs[name].fingerprint() if name else "")
        assert request["ccert_pubkey_fingerprint"] == (certs[name].key_fingerprint() if name else "")


TLS_MACROS = (b"{tls_version}", b"{cipher}", b"{cipher_bits}")


@pytest.mark.parametrize("name", ["vouched", "through", "self", "foreign", "expired", "nameless", None])
def test_a_milter_hears_the_names_that_somebody_vouches_for(asking, certs, milter, name):
    milter.reset()
    assert rcpt(session(asking, certs.get(name), port=2606), "bob@example.com")[0] == 250
    heard = milter.macros[b"C"]
    want = {"vouched": (b"vouched", b"our authority"), "through": (b"through", b"middle authority"), "nameless": (None, b"our authority")}.get(name, (None, None))
    assert (heard.get(b"{cert_subject}"), heard.get(b"{cert_issuer}")) == want
    assert all(heard[m] for m in TLS_MACROS) and heard[b"{tls_version}"] == b"TLSv1.3" and int(heard[b"{cipher_bits}"]) >= 128


def test_xclient_drops_the_certificate(asking, certs, milter):
    """It speaks for another client, who has shown none: neither its rights nor its names are left."""
    w = session(asking, certs["listed"], port=2606)
    assert rcpt(w)[0] == 250
    assert w.smtp("RSET")[0] == 250
    milter.reset()
    assert w.smtp("XCLIENT ADDR=203.0.113.9")[0] == 220
    assert w.smtp("EHLO other.test")[0] == 250
    assert rcpt(w)[0] == 554
    assert w.smtp("RCPT TO:<bob@example.com>")[0] == 250
    heard = milter.macros[b"C"]
    assert b"{cert_subject}" not in heard and b"{cert_issuer}" not in heard


@pytest.fixture
def front(asking):
    """A front of smtpd that was taken over, of a listener that asks for certificates."""
    parent = ipc.Parent(asking.run_dir / "queue" / "register", "smtp")
    c = parent.conn("queue", client="198.51.100.9")
    yield c
    parent.reg.sock.close()


def said(channel, name, id, **fields):
    channel.send(name, id=id, **fields)
    return channel.recv()[2]["code"]


def test_a_front_says_a_certificate_once(asking, certs, front):
    c = certs["listed"]
    front.send("CCERT", cert=c.fingerprint(), key=c.key_fingerprint(), trusted=0)
    assert said(front, "MAIL", 1, sender="s@there.example", helo="x", esmtp=1) == 250
    assert said(front, "RCPT", 2, recipient=ELSEWHERE) == 250
    front.send("RESET", id=3)
    front.send("CCERT", cert="AA:01", key="BB:02", trusted=1)
    with pytest.raises(ipc.Closed):
        front.recv()
    assert log_has(asking, r"198\.51\.100\.9: a client certificate that was not asked for: channel closed")


def test_a_front_says_no_certificate_inside_of_a_transaction(certs, front):
    c = certs["listed"]
    assert said(front, "MAIL", 1, sender="s@there.example", helo="x", esmtp=1) == 250
    front.send("CCERT", cert=c.fingerprint(), key=c.key_fingerprint(), trusted=1)
    with pytest.raises(ipc.Closed):
        front.recv()


def test_names_in_a_certificate_are_neutral_in_the_log(asking, certs):
    session(asking, certs["hostile"])
    assert log_has(asking, r"subject_CN=a\?b\? relay=yes, issuer_CN=our authority")


def test_a_certificate_gives_nothing_after_another_handshake(asking, certs):
    """The front serves the same client again: what the last connection showed is gone."""
    w = session(asking, certs["listed"])
    assert rcpt(w)[0] == 250
    assert w.smtp("QUIT")[0] == 221
    w.close()
    assert rcpt(session(asking))[0] == 554


@pytest.fixture(scope="module")
def shallow(module_suite, certs):
    return module_suite("shallow", settings={
        "smtpd_tls_ask_ccert": "yes", "smtpd_tls_CAfile": certs["ca"], "smtpd_tls_ccert_verifydepth": "0", "smtpd_tls_fingerprint_digest": "sha512",
        "smtpd_relay_restrictions": "permit_tls_all_clientcerts, permit_tls_clientcerts, reject_unauth_destination", "filter_enable": "no", "relayhost": "[127.0.0.9]:1",
        "relay_clientcerts": "inline:{ { %s = x } { %s = y } }" % (certs["self"].fingerprint("sha512"), certs["foreign"].fingerprint("sha256")), "inet_interfaces": "127.0.2.2",
    })


@pytest.mark.parametrize("name,code", [("vouched", 250), ("through", 554)])
def test_smtpd_tls_ccert_verifydepth(shallow, certs, name, code):
    assert rcpt(session(shallow, certs[name]))[0] == code


@pytest.mark.parametrize("name,code", [("self", 250), ("foreign", 554)])
def test_smtpd_tls_fingerprint_digest(shallow, certs, name, code):
    assert rcpt(session(shallow, certs[name]))[0] == code


def test_check_names_the_usual_mistakes(asking):
    text = asking.conf.read_text()
    wrong = asking.conf.with_name("wrong.conf")
    wrong.write_text(re.sub(r"(?m)^(smtpd_tls_ask_ccert|smtpd_tls_CA\w+|relay_clientcerts|listener\..*) = .*\n", "", text)
                     + "smtpd_tls_req_ccert = yes\n")
    p = subprocess.run([asking.bin / "postern", "-c", wrong, "check"], capture_output=True)
    out = (p.stdout + p.stderr).decode()
    assert "permit_tls_clientcerts never matches while this is empty" in out
    assert "no client certificate is trusted" in out
    assert "strangers have no certificate" in out
    wrong.write_text(wrong.read_text().replace("smtpd_tls_req_ccert = yes\n", ""))
    p = subprocess.run([asking.bin / "postern", "-c", wrong, "check"], capture_output=True)
    assert "permit_tls_clientcerts never matches: no client is asked for a certificate" in (p.stdout + p.stderr).decode()
