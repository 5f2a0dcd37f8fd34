"""Keys of tls_server_sni_maps in the key worker: which a front may use, which are kept for fronts that show an old certificate."""
import hashlib
import os
import pathlib
import re
import resource
import signal
import ssl

import pytest

import ipc
from named import Names
from test_attack_limits import zygote


@pytest.fixture
def authd(make_authd):
    a = make_authd()
    a.names, a.made = Names(a.base), {}
    a.start()
    return a


def named(authd, *names):
    """tls_server_sni_maps with a certificate for each of names, loaded: {name: SHA-256 of its certificate}."""
    n, made = authd.names, authd.made
    made.update({name: n.cert(name) for name in names if name not in made})
    n.write({name: [made[name]] for name in names})
    authd.configure(tls_server_sni_maps="texthash:%s" % n.table)
    authd.mark()
    authd.proc.send_signal(signal.SIGHUP)
    authd.wait_log("TLS keys of %d of %d certificates of tls_server_sni_maps loaded" % (len(names), len(names)))
    return {name: hashlib.sha256(n.der(name)).digest() for name in names}


def test_keys_of_certificates_by_name(authd):
    """Which key a front asks for it says by the certificate; a template asks first which there are, and nobody else may."""
    good = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + os.urandom(32)
    p = ipc.Parent(authd.run_dir / "key" / "register", "imap")

    def signs(cert):
        return p.conn("key").ask("SIGN", id=1, scheme="ecdsa_secp256r1_sha256", tbs=good, cert_sha256=cert)[0] == "SIGNED"
    certs = named(authd, "a.example", "b.example")
    unknown = os.urandom(32)
    assert signs(certs["a.example"]) and signs(certs["b.example"]) and signs(b"") and not signs(unknown) and not signs(certs["a.example"][:31])
    default = hashlib.sha256(ssl.PEM_cert_to_DER_cert((authd.base / "cert.pem").read_text())).digest()
    k = p.conn("key", profile="self test")
    for _ in range(3):
        assert k.ask("KNOWN", id=1, certs=certs["b.example"] + unknown + default + certs["a.example"])[2]["flags"] == b"\1\0\1\1"
    assert k.ask("KNOWN", id=1, certs=certs["b.example"] + b"half")[2]["flags"] == b"\1"
    assert len(k.ask("KNOWN", id=1, certs=unknown * 1000)[2]["flags"]) == 1000
    assert k.ask("SIGN", id=1, scheme="ecdsa_secp256r1_sha256", tbs=good, cert_sha256=certs["a.example"])[0] == "SIGNED", "it has its two signatures yet"
    with pytest.raises((ipc.Closed, OSError)):
        p.conn("key").ask("KNOWN", id=1, certs=unknown)
    for tbs in (good.replace(b"server", b"client"), os.urandom(200)):
        assert p.conn("key").ask("SIGN", id=1, scheme="ecdsa_secp256r1_sha256", tbs=tbs, cert_sha256=certs["a.example"])[0] == "REFUSED"


def test_the_set_before_is_kept_and_no_older_one(authd):
    good = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + os.urandom(32)
    parent = [ipc.Parent(authd.run_dir / "key" / "register", "imap")]

    def signs(cert):
        return parent[0].conn("key").ask("SIGN", id=1, scheme="ecdsa_secp256r1_sha256", tbs=good, cert_sha256=cert)[0] == "SIGNED"
    first = named(authd, "a.example", "b.example")
    for _ in range(4):      # the same again and again is no other set
        second = named(authd, "b.example")
        assert signs(first["a.example"]) and signs(second["b.example"])
    (authd.base / "c.example.pem").write_text("rubbish")
    authd.names.write({"c.example": [(authd.base / "c.example.pem", authd.base / "b.example.key")]})
    authd.mark()
    authd.proc.send_signal(signal.SIGHUP)
    authd.wait_log("tls_server_sni_maps: %s, %s: no certificate in the chain" % (authd.base / "b.example.key", authd.base / "c.example.pem"))
    assert signs(first["a.example"]) and signs(second["b.example"]), "while one is missing all stay"
    (authd.base / "c.example.pem").unlink()
    third = named(authd, "c.example")
    assert signs(second["b.example"]), "what is registered by a parent that has not looked yet is served"
    with pytest.raises(ipc.Closed):     # a front may show what is forgotten now
        parent[0].reg.recv()
    parent[0].reg.close()
    parent[0] = ipc.Parent(authd.run_dir / "key" / "register", "imap")
    assert not signs(first["a.example"]) and signs(second["b.example"]) and signs(third["c.example"])


def test_keys_are_locked_and_memory_is_left(make_authd):
    """Whatever may be locked: the keys are, and the worker goes on to sign. All of its memory was to be locked once: that failed where it was more than the limit,
    and where it was a little less the worker had no memory for a signature."""
    may = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    if 0 <= may < 1 << 20 or os.environ.get("POSTERN_BUILD") == "asan":
        pytest.skip("less than 1 MB may be locked here, or memory is the sanitizer's")
    a, good = make_authd(), b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + os.urandom(32)

    def of_worker(what):
        return 1024 * int(re.search(what + r":\s+(\d+) kB", pathlib.Path("/proc/%d/status" % zygote(a, "authd: key worker")).read_text()).group(1))

    def signs():
        return ipc.Parent(a.run_dir / "key" / "register", "imap").conn("key").ask("SIGN", id=1, scheme="ecdsa_secp256r1_sha256", tbs=good)[0] == "SIGNED"
    a.start()
    size = of_worker("VmSize")
    a.stop()
    for limit in (size - (64 << 10), size + (64 << 10)):
        limit = limit if may < 0 else min(limit, may)
        a.mark()
        a.start(within=["prlimit", "--memlock=%d:%d" % (limit, limit)])
        assert all(signs() for _ in range(20)) and of_worker("VmLck") > 0
        a.stop()
