"""A certificate of our own for servers that ask for one: the chain is remote's, its key is the key worker's, which signs what a TLS client signs and nothing else."""
import os
import pathlib
import signal
import smtplib
import ssl
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import ipc  # noqa: E402
import suite as suite_module  # noqa: E402
from remotescene import Scene, mx  # noqa: E402

KINDS = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["-newkey", "rsa:2048"], "ed25519": ["-newkey", "ed25519"]}


def make_pair(where, kind):
    cert, key = where / (kind + ".pem"), where / (kind + ".key")
    suite_module.run(["openssl", "req", "-x509", *KINDS[kind], "-nodes", "-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN=mail.example.com"])
    os.chmod(key, 0o600)
    return cert, key


def asking(scene, name, cert, version=None, demands=True):
    """A receiver's context that wants this certificate."""
    c = scene.tls(name)
    c.load_verify_locations(cert)
    c.verify_mode = ssl.CERT_REQUIRED if demands else ssl.CERT_OPTIONAL
    if version:
        c.maximum_version = version
    return c


def der(cert):
    return ssl.PEM_cert_to_DER_cert(cert.read_text())


@pytest.fixture(scope="module", params=sorted(KINDS))
def shown(request):
    s = Scene(smtp_tls_security_level="encrypt", smtp_mta_sts="no")
    s.kind = request.param
    s.cert, key = make_pair(s.maps, s.kind)
    s.suite.settings.update(smtp_tls_cert_file=s.cert, smtp_tls_key_file=key)
    s.suite.configure()
    yield s.start()
    s.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_it_is_shown_and_proved(shown, version):
    n = 130 + int(version) % 10
    name = "asks%d.example" % n
    mx(shown, name, (10, n))
    sink = shown.sink(n, tls=asking(shown, "mx%d.%s" % (n, name), shown.cert, version))
    qid = shown.send("joe@" + name)
    assert sink.wait(timeout=60)[2]
    assert sink.certs == [der(shown.cert)]
    shown.log(qid, "status=sent", timeout=60)


def test_who_does_not_ask_sees_none(shown):
    mx(shown, "plain.example", (10, 140))
    sink = shown.sink(140, tls=shown.tls("mx140.plain.example"))
    shown.send("joe@plain.example")
    assert sink.wait(timeout=60)[2] and sink.certs == [None]


def test_several_at_once_share_the_worker(shown):
    mx(shown, "busy.example", (10, 141))
    sink = shown.sink(141, tls=asking(shown, "mx141.busy.example", shown.cert))
    for _ in range(5):
        shown.send("joe@busy.example")
    sink.wait(5, timeout=60)
    assert set(sink.certs) == {der(shown.cert)}


def test_the_key_is_in_the_key_worker_alone(shown):
    mx(shown, "memory.example", (10, 142))
    sink = shown.sink(142, tls=asking(shown, "mx142.memory.example", shown.cert))
    shown.send("joe@memory.example")
    sink.wait(timeout=60)
    der_key = ssl.PEM_cert_to_DER_cert(next(shown.maps.glob(shown.kind + ".key")).read_text().replace("PRIVATE KEY", "CERTIFICATE"))
    secret = der_key[36:68] if shown.kind == "ec" else der_key[-32:]
    forms = (secret, secret[::-1])      # as text, as a number
    has = {title: any(f in memory(pid) for f in forms) for pid, _, _, title in shown.suite.processes() if title.startswith(("remote", "queued", "authd: key"))}
    assert {"remote", "authd: key worker"} <= set(has)
    assert [title for title, yes in has.items() if yes] == ["authd: key worker"]


def memory(pid):
    out = b""
    try:
        with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb") as mem:
            for line in maps:
                span, perms = line.split()[:2]
                if not perms.startswith("rw"):
                    continue
                a, b = (int(x, 16) for x in span.split("-"))
                mem.seek(a)
                out += mem.read(b - a)
    except (OSError, ValueError):       # it ended meanwhile
        pass
    return out


def test_a_new_key_worker_is_asked_by_new_workers(shown):
    mx(shown, "later.example", (10, 143))
    sink = shown.sink(143, tls=asking(shown, "mx143.later.example", shown.cert))
    (pid,) = [p for p, _, _, title in shown.suite.processes() if title.startswith("authd: key")]
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 60
    while True:     # connections are refused until the new one is there
        try:
            shown.send("joe@later.example")
            break
        except (smtplib.SMTPException, OSError):
            assert time.monotonic() < end
            time.sleep(0.1)
    assert sink.wait(timeout=90)[2] and der(shown.cert) in sink.certs


def test_a_renewed_one_is_taken_up_at_a_reload(shown):
    old = der(shown.cert)
    make_pair(shown.maps, shown.kind)
    new = der(shown.cert)
    assert old != new
    shown.suite.reload()
    mx(shown, "renewed.example", (10, 144))
    sink = shown.sink(144, tls=asking(shown, "mx144.renewed.example", shown.cert))
    end = time.monotonic() + 60
    while new not in sink.certs:
        assert time.monotonic() < end
        try:
            shown.send("joe@renewed.example")
        except (smtplib.SMTPException, OSError, AssertionError):    # the queue restarts at this moment
            pass
        time.sleep(0.2)
    sink.wait(timeout=60)


@pytest.fixture(scope="module")
def scarce():
    s = Scene(smtp_tls_security_level="may", smtp_mta_sts="no", tls_signatures_per_second="50")
    s.cert, key = make_pair(s.maps, "ec")
    s.suite.settings.update(smtp_tls_cert_file=s.cert, smtp_tls_key_file=key)
    s.suite.configure()
    yield s.start()
    s.close()


def key_worker(scene):
    (pid,) = [p for p, _, _, title in scene.suite.processes() if title.startswith("authd: key")]
    return pid


def test_remotes_signatures_do_not_use_up_the_servers(scarce):
    """What waits for a stopped worker it finds in one second, or in two. The daemons have signed at their start, perhaps in the same one."""
    parent = ipc.Parent(scarce.suite.run_dir / "key" / "register", "imap")
    fronts = [parent.conn("key") for _ in range(5)]
    server = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + os.urandom(32)
    os.kill(key_worker(scarce), signal.SIGSTOP)
    try:
        remote = ask_as_remote(scarce.suite.run_dir / "sign" / "client", server.replace(b"server", b"client"), der(scarce.cert), times=30)
        for c in fronts:
            c.send("SIGN", id=1, scheme="ecdsa_secp256r1_sha256", tbs=server)
    finally:
        os.kill(key_worker(scarce), signal.SIGCONT)
    got = answers(remote)
    assert got.count("SIGNED") >= 1 and "REFUSED" in got, got
    assert [c.recv()[0] for c in fronts] == ["SIGNED"] * 5


def test_one_worker_leaves_signatures_for_the_others(scarce):
    """What one asks for beyond its part counts for nobody else."""
    path, tbs = scarce.suite.run_dir / "sign" / "client", b" " * 64 + b"TLS 1.3, client CertificateVerify\0" + os.urandom(32)
    os.kill(key_worker(scarce), signal.SIGSTOP)
    try:
        greedy = ask_as_remote(path, tbs, der(scarce.cert), times=30)
        other = ask_as_remote(path, tbs, der(scarce.cert))
    finally:
        os.kill(key_worker(scarce), signal.SIGCONT)
    got = answers(greedy)
    assert 1 <= got.count("SIGNED") <= 4 and got.count("REFUSED") == 30 - got.count("SIGNED")      # of 50 / 5 / 4, in one second or in two
    assert answers(other) == ["SIGNED"]


def test_mail_waits_when_the_certificate_cannot_be_proved(scarce):
    """Level may: a handshake that fails lets mail go in the clear, but not when it fails here."""
    mx(scarce, "unsigned.example", (10, 145))
    sink = scarce.sink(145, tls=asking(scarce, "mx145.unsigned.example", scarce.cert))
    os.kill(key_worker(scarce), signal.SIGSTOP)
    try:
        qid = scarce.send("joe@unsigned.example")
        line = scarce.log(qid, "status=deferred", timeout=60)
    finally:
        os.kill(key_worker(scarce), signal.SIGCONT)
    assert "no signature for smtp_tls_cert_file" in line and "dsn=4.3.0" in line
    assert sink.wait(timeout=90)[2] and sink.certs[-1] == der(scarce.cert)


def test_the_socket_is_remotes_and_signs_no_server(shown):
    path = shown.suite.run_dir / "sign" / "client"
    with ipc.Channel.connect(str(path), "key") as c:      # root is not remote's user
        with pytest.raises((ipc.Closed, OSError)):
            c.send("CLIENT", 1, scheme="ed25519", tbs=b"x", cert_sha256=b"0" * 32)
            c.recv()
    for tbs in (b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + b"h" * 32, b"anything"):
        assert as_remote(path, tbs).startswith("REFUSED")


def as_remote(path, tbs):
    """The answer to a request of remote's user."""
    return answers(ask_as_remote(path, tbs))[0]


def ask_as_remote(path, tbs, cert=b"", times=1):
    """Requests of remote's user; returns when they are sent. For answers()."""
    import pwd
    import hashlib
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            who = pwd.getpwnam("_postern_remote")
            os.setgroups([])
            os.setgid(who.pw_gid)
            os.setuid(who.pw_uid)
            with ipc.Channel.connect(str(path), "key") as c:
                for i in range(times):
                    c.send("CLIENT", i + 1, scheme="ecdsa_secp256r1_sha256", tbs=tbs, cert_sha256=hashlib.sha256(cert).digest())
                os.write(w, b"sent\n")
                for _ in range(times):
                    os.write(w, c.recv()[0].encode() + b"\n")
        except BaseException as why:    # noqa: BLE001
            os.write(w, repr(why).encode())
        os._exit(0)
    os.close(w)
    said = os.fdopen(r)
    assert said.readline() == "sent\n"
    return pid, said


def answers(asked):
    pid, said = asked
    with said:
        got = said.read().split()
    os.waitpid(pid, 0)
    return got


def test_one_without_the_other_is_a_mistake(shown):
    wrong = shown.suite.conf.with_name("wrong.conf")
    wrong.write_text("".join(line for line in shown.suite.conf.open() if not line.startswith("smtp_tls_key_file")))
    p = suite_module.run([shown.suite.bin / "queued", "-t", "-c", wrong], check=False)
    assert p.returncode != 0 and b"smtp_tls_cert_file, smtp_tls_key_file: one is set without the other" in p.stdout
