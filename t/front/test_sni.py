"""Certificates by the name that a client asks for (tls_server_sni_maps): every daemon, every kind of client, renewal, mistakes, attacks."""
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading

import pytest

import mailtools
from named import Names
from test_walls import find, memory_holds
from waiting import until

IMPLICIT = ("SUBMISSIONS", "IMAPS", "POP3S")
LATER = {"SMTP": ("smtp", b""), "SUBMISSION": ("smtp", b""), "IMAP": ("imap", b""), "POP3": ("pop3", b"")}


def make_served(fresh, name="sni", **settings):
    s = fresh(name, start=False, users=("alice@example.com",))
    s.names = Names(s.base / "etc")
    net = s.names.cert("mail.example.net")
    both = [s.names.cert("two-ec", "two.example.net"), s.names.cert("two-rsa", "two.example.net", kind="RSA")]
    below = s.names.cert("below", "*.example.org", kind="P-384")
    rsa = s.names.cert("rsa", "rsa.example.net", kind="RSA")
    s.rows = {"mail.example.net": [net], ".example.org": [below], "two.example.net": both, "rsa.example.net": [rsa]}
    s.names.write(s.rows)
    s.settings.update(tls_server_sni_maps="texthash:%s" % s.names.table, tls_signatures_per_second=100000, **settings)
    s.configure()
    return s


@pytest.fixture(scope="module", params=["isolated", "shared"])
def served(request, fresh_suite_module):
    s = make_served(fresh_suite_module, front_mode=request.param)
    s.start()
    return s


def shown(s, name, port="IMAPS", context=None):
    """The certificate for a client that asks for name (None: for nothing): DER."""
    c = context or ssl.create_default_context()
    if context is None:
        c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    with mailtools.Wire(s.host, s.port(port)) as w:
        if port in LATER:
            w.line()
            w.send({"SMTP": b"STARTTLS\r\n", "SUBMISSION": b"STARTTLS\r\n", "IMAP": b"a STARTTLS\r\n", "POP3": b"STLS\r\n"}[port])
            w.line()
        w.starttls(c, name)
        return w.sock.getpeercert(binary_form=True)


def default(s):
    return ssl.PEM_cert_to_DER_cert((s.base / "etc" / "cert.pem").read_text())


# --- what is shown ---

@pytest.mark.parametrize("port", IMPLICIT + tuple(LATER))
def test_each_port_shows_the_certificate_of_the_name(served, port):
    names = served.names
    assert shown(served, "mail.example.net", port) == names.der("mail.example.net")
    assert shown(served, "MAIL.example.NET", port) == names.der("mail.example.net")
    assert shown(served, "imap.example.org", port) == names.der("below")
    assert shown(served, "rsa.example.net", port) == names.der("rsa")
    for other in (None, "localhost", "example.net", "a.mail.example.net", "example.org", "mail.example.net.evil.example"):
        assert shown(served, other, port) == default(served), other


def test_a_strict_client_of_each_name(served):
    """Chain and host name are verified, as mail programs do it."""
    for name in ("mail.example.net", "imap.example.org", "rsa.example.net", "two.example.net"):
        for port in IMPLICIT + tuple(LATER):
            shown(served, name, port, ssl.create_default_context(cafile=str(served.names.ca)))
    with pytest.raises(ssl.SSLCertVerificationError):
        shown(served, "other.example.net", "IMAPS", ssl.create_default_context(cafile=str(served.names.ca)))


def test_of_two_kinds_of_key_the_client_s_abilities_choose(served):
    def kind(*options):
        p = subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % (served.host, served.port("IMAPS")), "-servername", "two.example.net", "-CAfile", served.names.ca,
                            "-verify_return_error", *options], input=b"", capture_output=True, timeout=60)
        return re.search(rb"Peer signature type: (\S+)", p.stdout).group(1)
    assert kind() == b"ECDSA"
    assert kind("-sigalgs", "RSA-PSS+SHA256") == b"RSA-PSS"
    assert kind("-groups", "P-521:X25519") == b"ECDSA", "a client that is asked for another group says its name twice"
    assert kind("-tls1_2") == b"ECDSA"
    assert kind("-tls1_2", "-sigalgs", "RSA+SHA256") == b"RSA"


def test_openssl_and_curl(served):
    for port, how in (("SMTP", "smtp"), ("IMAP", "imap"), ("POP3", "pop3")):
        p = subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % (served.host, served.port(port)), "-starttls", how, "-servername", "mail.example.net", "-CAfile",
                            served.names.ca, "-verify_hostname", "mail.example.net", "-verify_return_error"], input=b"", capture_output=True, timeout=60)
        assert b"Verify return code: 0 (ok)" in p.stdout, p
    for url in ("imaps://mail.example.net:%d/" % served.port("IMAPS"), "pop3s://mail.example.net:%d/" % served.port("POP3S")):
        p = subprocess.run(["curl", "-sS", "--cacert", served.names.ca, "--resolve", "mail.example.net:%s:%s" % (url.split(":")[2].strip("/"), served.host), "--user",
                            "alice@example.com:alice-secret", url], capture_output=True, timeout=60)
        assert p.returncode == 0, p


def test_alpn_goes_with_a_name(served):
    context = ssl.create_default_context(cafile=str(served.names.ca))
    context.set_alpn_protocols(["imap"])
    with mailtools.Wire(served.host, served.port("IMAPS"), context=context, server_name="mail.example.net") as w:
        assert w.sock.selected_alpn_protocol() == "imap"
    context.set_alpn_protocols(["http/1.1"])
    with pytest.raises((ssl.SSLError, OSError)):
        mailtools.Wire(served.host, served.port("IMAPS"), context=context, server_name="mail.example.net").line()


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_the_log_names_it(served, version):
    """In Postfix's words, and only where a certificate was chosen by it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2 if version == "TLSv1.2" else ssl.TLSVersion.TLSv1_3
    for name, words in (("Mail.example.net", " to Mail.example.net"), ("other.example.net", ""), (None, "")):
        mark = len(served.log.read_text())
        shown(served, name, "SUBMISSIONS", context)
        until(lambda: re.search(r"Anonymous TLS connection established from unknown\[[0-9.]+\]%s: %s with cipher " % (re.escape(words), re.escape(version)), served.log.read_text()[mark:]))


# --- attacks ---

def hello(name):
    """A ClientHello whose server_name is these bytes."""
    entry = struct.pack(">BH", 0, len(name)) + name
    sni = struct.pack(">HHH", 0, len(entry) + 2, len(entry)) + entry
    more = bytes.fromhex("000a00060004001d0017" "000d000a0008040304010804080b" "002b0003020304" "00330026002400 1d0020".replace(" ", "")) + bytes(range(32))
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x04\x13\x01\xc0\x2b" + b"\x01\0" + struct.pack(">H", len(sni + more)) + sni + more
    message = b"\x01" + struct.pack(">I", len(body))[1:] + body
    return b"".join(b"\x16\x03\x01" + struct.pack(">H", len(piece)) + piece for piece in (message[i:i + 16000] for i in range(0, len(message), 16000)))


def answer(s, name):
    """The type of the first record, 22 for a ServerHello, 21 for an alert; None when the connection ends."""
    with socket.create_connection((s.host, s.port("IMAPS")), timeout=60) as c:
        try:
            c.sendall(hello(name))
            got = c.recv(1)
        except (ConnectionResetError, BrokenPipeError):
            return None
        return got[0] if got else None


@pytest.mark.parametrize("name, wanted", [
    (b"mail.example.net", 22), (b"no.such.example", 22), (b"a" * 255, 22), (b"." * 255, 22), (b"a." * 127 + b"b", 22), (b"\xff" * 200, 22), (b"../../etc/passwd", 22),
    (b"\r\nX", 22), (b"%s%n", 22), (b"*", 22), (b"a" * 256, 21), (b"mail.example.net\0.evil.example", 21), (b"\0", 21), (b"", 22), (b"a" * 15000, 21), (b"a" * 60000, 21)],
    ids=lambda v: v[:12].decode("latin-1") + "-%d" % len(v) if isinstance(v, bytes) else "")
def test_names_that_are_none(served, name, wanted):
    """Whatever stands there, it is compared and nothing else: a handshake with the first certificate, or an alert."""
    assert answer(served, name) in (wanted, None if wanted == 21 else wanted)
    assert shown(served, "mail.example.net") == served.names.der("mail.example.net")


def memory(s):
    """Resident KB of the largest of the processes that fronts are made from, or are: there are more of them while one takes over from another."""
    def of(pid):
        try:
            return int(re.search(r"RssAnon:\s+(\d+)", pathlib.Path("/proc/%d/status" % pid).read_text()).group(1))
        except (FileNotFoundError, AttributeError):	# has ended meanwhile
            return 0
    return max(of(pid) for pid, _user, _comm, cmd in s.processes() if re.search("imapd: (template|shared front)", cmd))


def test_a_thousand_names_leave_nothing_behind(served):
    def ask(start):
        """The memory after a thousand further names."""
        for i in range(start, start + 1000):
            assert answer(served, b"n%d.example.edu" % i) == 22
        return memory(served)
    before = ask(0)
    assert ask(1000) - before < 1000, "a kilobyte for each would be kept names"
    assert "signature refused" not in served.log.read_text()


def test_keys_are_in_the_key_worker_alone(served):
    wanted = secrets_of(served.names.where / "mail.example.net.key")
    with mailtools.Wire(served.host, served.port("IMAPS"), context=ssl.create_default_context(cafile=str(served.names.ca)), server_name="mail.example.net") as w:
        assert w.line().startswith(b"* OK")
        for pid, _user, _comm, cmd in find(served.processes(), "imapd:"):
            assert not memory_holds(pid, wanted), cmd
        key = find(served.processes(), "authd: key")
        assert memory_holds(key[0][0], wanted), "the search itself must be able to find the key"


def secrets_of(key):
    """What of a key would be in the memory of whoever has read it: its number, its DER, its text."""
    text = subprocess.run(["openssl", "ec", "-in", key, "-text", "-noout"], capture_output=True, check=True).stdout.decode()
    scalar = bytes.fromhex("".join(text[text.index("priv:") + 5:text.index("pub:")].split()).replace(":", ""))[-32:]
    lines = key.read_bytes().split(b"\n")
    return [scalar, scalar[::-1], lines[1][:40], lines[2][:40]]


@pytest.mark.parametrize("mode", ["isolated", "shared"])
def test_a_key_that_stands_in_a_chain_s_file_is_in_no_front(fresh_suite, mode):
    """As other servers have it, and some administrators therefore: what has been read is wiped, and nothing decodes it."""
    s = make_served(fresh_suite, "in-chain", front_mode=mode)
    (cert, key), own, own_key = s.rows["mail.example.net"][0], s.base / "etc" / "cert.pem", s.base / "etc" / "key.pem"
    der = s.names.der("mail.example.net")
    for chain, secret in ((cert, key), (own, own_key)):
        words = b"words between\n" * 100
        # Many of them, before and after: what is allocated later overwrites some of what was freed, and not all.
        chain.write_bytes(words + secret.read_bytes() * 100 + words + chain.read_bytes() + words + secret.read_bytes() * 100)
    s.start()
    wanted = secrets_of(key) + secrets_of(own_key)
    with mailtools.Wire(s.host, s.port("IMAPS"), context=ssl.create_default_context(cafile=str(s.names.ca)), server_name="mail.example.net") as w:
        assert w.line().startswith(b"* OK") and w.sock.getpeercert(binary_form=True) == der
        assert shown(s, None)
        for pid, _user, _comm, cmd in find(s.processes(), "imapd:") + find(s.processes(), "smtpd:"):
            assert not memory_holds(pid, wanted), cmd
        assert memory_holds(find(s.processes(), "authd: key")[0][0], wanted)
    p = s.tool("postern", "check", check=False)
    assert p.stdout.count(b"holds a private key: it is passed over") == 2


# --- renewal and mistakes ---

@pytest.fixture
def own(fresh_suite):
    s = make_served(fresh_suite)
    s.start()
    return s


def test_a_renewed_certificate(own):
    old = shown(own, "mail.example.net")
    with mailtools.Wire(own.host, own.port("IMAPS"), context=ssl.create_default_context(cafile=str(own.names.ca)), server_name="mail.example.net") as w:
        assert w.line().startswith(b"* OK")
        own.names.cert("mail.example.net")
        own.reload()
        new = own.names.der("mail.example.net")
        assert until(lambda: shown(own, "mail.example.net") != old) and shown(own, "mail.example.net") == new
        w.send("a LOGOUT\r\n")
        assert w.line().startswith(b"* BYE"), "a connection that is there goes on"
    assert shown(own, "imap.example.org") == own.names.der("below") and shown(own, None) == default(own)


def test_names_come_and_go(own):
    own.rows["new.example.edu"] = [own.names.cert("new.example.edu")]
    own.names.write(own.rows)
    assert shown(own, "new.example.edu") == default(own)
    own.reload()
    until(lambda: shown(own, "new.example.edu") == own.names.der("new.example.edu"))
    own.names.write({"new.example.edu": own.rows["new.example.edu"]})
    for _ in range(3):
        own.reload()
        until(lambda: shown(own, "mail.example.net") == default(own))
        assert shown(own, "new.example.edu") == own.names.der("new.example.edu")
    own.settings.update(tls_server_sni_maps="")
    own.configure()
    own.reload()
    until(lambda: shown(own, "new.example.edu") == default(own))


def broken_ways(s):
    cert, key = s.rows["mail.example.net"][0]
    other = s.names.cert("other.example.net")
    return {
        "no chain": (lambda: cert.unlink(), r"mail\.example\.net\.pem.*No such file"),
        "rubbish": (lambda: cert.write_text("rubbish"), r"mail\.example\.net\.pem: no certificate in the chain"),
        "another's key": (lambda: shutil.copy(other[1], key), r"mail\.example\.net\.key, \S*mail\.example\.net\.pem: key and certificate do not belong together"),
        "no key": (lambda: key.unlink(), r"mail\.example\.net\.key: .*No such file"),
        "weak": (lambda: s.names.openssl("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout", key, "-out", cert, "-days", "9", "-subj", "/CN=weak"), "key too small|1024 bits"),
        "a line": (lambda: s.names.table.write_text("mail.example.net /both.pem\n" + s.names.table.read_text()), r"sni:1: /both\.pem: a chain without a key"),
        "a name": (lambda: s.names.table.write_text(s.names.table.read_text() + "m\u00fc.example.net %s %s\n" % other), r"is not a host name"),
        "a name again": (lambda: s.names.table.write_text(s.names.table.read_text() + "Mail.example.net. %s %s\n" % other), r"mail\.example\.net stands there twice"),
        "anybody's": (lambda: s.names.table.chmod(0o666), r"sni must belong to root and be writable by nobody else"),
    }


WAYS = ["no chain", "rubbish", "another's key", "no key", "weak", "a line", "a name", "a name again", "anybody's"]


@pytest.mark.parametrize("way", WAYS)
def test_a_reload_with_a_broken_one_keeps_what_was_there(own, way):
    """The old template stays whole; what is mended is taken without another reload."""
    names, old = own.names, shown(own, "mail.example.net")
    spoil, said = broken_ways(own)[way]
    kept = {f: f.read_bytes() for f in (*own.rows["mail.example.net"][0], names.table)}
    spoil()
    own.reload()
    own.logged(said)
    own.logged("imapd.*template did not get ready" if way not in ("no key", "another's key") else "smtpd.*reloaded")
    for port in IMPLICIT:
        assert shown(own, "mail.example.net", port) == old, port
        assert shown(own, "imap.example.org", port) == names.der("below") and shown(own, None, port) == default(own)
    mark = len(own.log.read_text())
    for f, text in kept.items():
        f.write_bytes(text)
        f.chmod(0o600)
    until(lambda: re.search(r"TLS keys of 5 of 5 certificates", own.log.read_text()[mark:]) or way in ("a name", "a name again"))
    own.names.cert("mail.example.net")
    own.reload()
    until(lambda: shown(own, "mail.example.net") == names.der("mail.example.net"))


@pytest.mark.parametrize("way", WAYS)
def test_a_start_with_a_broken_one_serves_the_rest(fresh_suite, way):
    s = make_served(fresh_suite, "broken")
    spoil, said = broken_ways(s)[way]
    test = [s.bin / "imapd", "-c", s.conf, "-t"]
    assert subprocess.run(test, capture_output=True).returncode == 0
    spoil()
    p = subprocess.run(test, capture_output=True)
    if way in ("no key", "another's key"):
        assert p.returncode == 0, "keys are not for fronts to look at"
    else:
        assert p.returncode != 0 and re.search(said, p.stderr.decode()), p
    s.start()
    s.logged(said)
    assert shown(s, None) == default(s)
    if way in ("a line", "anybody's"):
        assert shown(s, "imap.example.org") == default(s), "a table that cannot be read names nobody"
        s.logged("imapd.*tls_server_sni_maps: .*clients get the certificate of tls_cert_file instead")
    else:
        assert shown(s, "imap.example.org") == s.names.der("below")
        assert shown(s, "mail.example.net") == (s.names.der("mail.example.net") if way.startswith("a name") else default(s))


def test_the_key_worker_is_started_again(own):
    for pid, _user, _comm, cmd in own.processes():
        if "authd: key" in cmd:
            os.kill(pid, signal.SIGKILL)
    until(lambda: [p for p in own.processes() if "authd: key" in p[3]])

    def again():
        try:
            return shown(own, "mail.example.net") == own.names.der("mail.example.net")
        except (ssl.SSLError, OSError):
            return False
    until(again)
    assert shown(own, None) == default(own)


def test_inetd_shows_them_too(own):
    """One process for a connection, which reads the table for itself."""
    listener = socket.create_server((own.host, 2993))

    def serve():
        c, _ = listener.accept()
        with c:
            subprocess.run([own.bin / "imapd", "-i", "-c", own.conf], stdin=c, stdout=c, stderr=subprocess.DEVNULL, timeout=60)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with mailtools.Wire(own.host, 2993) as w:
            assert w.line().startswith(b"* OK")
            w.send("a STARTTLS\r\n")
            assert w.line().startswith(b"a OK")
            w.starttls(ssl.create_default_context(cafile=str(own.names.ca)), "mail.example.net")
            assert w.sock.getpeercert(binary_form=True) == own.names.der("mail.example.net")
            w.send("b LOGOUT\r\n")
            assert w.line().startswith(b"* BYE")
    finally:
        thread.join(60)
        listener.close()
