"""What single parameters of authd do, each shown by an effect that the default does not have."""
import os
import pathlib
import pwd
import signal
import subprocess

import pytest

import ipc
from test_login import AUTH, DENIED, TEMP, login
from test_saslauthd import request


def fails(authd, user, password, client, parent):
    name, f, _ = login(authd, user, password, client=client, parent=parent)
    assert name == "FAIL"
    return f["code"]


@pytest.fixture
def limited(make_authd):
    a = make_authd(auth_throttle_exempt="", auth_fail_network_max="4", auth_fail_account_network_max="2", auth_fail_account_max="3")
    for u in ("alice", "bob"):
        a.add(u + "@example.com", "secret")
    a.start()
    return a


def test_auth_fail_network_max(limited):
    p = limited.parent()
    for i in range(4):
        assert fails(limited, "ghost%d" % i, "x", "198.51.100.%d" % (10 + i), p) == AUTH
    assert fails(limited, "alice@example.com", "secret", "198.51.100.77", p) == DENIED, "the whole network"
    assert login(limited, "alice@example.com", "secret", client="203.0.113.1", parent=p)[0] == "OK"


def test_auth_fail_account_network_max(limited):
    p = limited.parent()
    for i in range(2):
        assert fails(limited, "alice@example.com", "guess%d" % i, "198.51.100.%d" % (10 + i), p) == AUTH
    assert fails(limited, "alice@example.com", "secret", "198.51.100.77", p) == DENIED, "this account from this network"
    assert login(limited, "bob@example.com", "secret", client="198.51.100.77", parent=p)[0] == "OK"


def test_auth_fail_account_max(limited):
    p = limited.parent()
    for i in range(3):
        assert fails(limited, "alice@example.com", "guess%d" % i, "10.%d.0.1" % i, p) == AUTH
    assert fails(limited, "alice@example.com", "secret", "203.0.113.1", p) == TEMP, "only networks that are known"
    assert login(limited, "bob@example.com", "secret", client="203.0.113.1", parent=p)[0] == "OK"


def test_auth_system_accounts(make_authd):
    a = make_authd(auth_system_accounts="no")
    subprocess.run(["useradd", "-m", "-d", str(a.base / "jim"), "-s", "/bin/false", "jim"], check=True)
    subprocess.run(["chpasswd"], input=b"jim:secret\n", check=True)
    assert pwd.getpwnam("jim").pw_uid >= 1000
    a.add("alice@example.com", "secret")
    a.start()
    assert login(a, "jim", "secret")[0] == "FAIL"
    assert login(a, "alice@example.com", "secret")[0] == "OK"


def test_virtual_uid_count(make_authd):
    a = make_authd(virtual_uid_base="300000", virtual_uid_count="2")
    a.add("alice@example.com", "secret")
    a.add("bob@example.com", "secret")
    p = a.user("add", "carol@example.com", "--password-stdin", input=b"secret\n", check=False)
    assert p.returncode != 0 and b"all 2 uids of the reserved range have been given (virtual_uid_count)" in p.stderr
    shown = [a.user("show", u + "@example.com").stdout.decode() for u in ("alice", "bob")]
    assert "uid: 300000" in shown[0] and "uid: 300001" in shown[1]


def ask(path, user=None):
    """testsaslauthd's question over that socket, as root or as another user: its answer, or why there is none."""
    code = ("import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.settimeout(20)\ntry:\n s.connect(%r)\n s.sendall(%r)\n print(s.recv(1000)[2:].decode() or 'closed')\n"
            "except OSError as e:\n print(e.strerror)" % (str(path), request("alice@example.com", "secret", "imap", "")))
    as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--groups=%d" % user] if user else []
    return subprocess.run([*as_user, "/usr/bin/python3", "-c", code], stdout=subprocess.PIPE).stdout.decode().strip()


def test_saslauthd_socket_and_group(make_authd):
    subprocess.run(["groupadd", "-f", "-g", "4321", "muxers"], check=True)
    subprocess.run(["groupadd", "-f", "sasl"], check=True)
    a = make_authd(saslauthd_group="muxers")
    place = a.base / "place"
    a.configure(saslauthd_socket=place / "mux")
    a.add("alice@example.com", "secret")
    a.start()
    assert not (a.run_dir / "saslauthd" / "mux").exists()
    assert ask(place / "mux") == "OK Success."
    assert ask(place / "mux", 4321) == "OK Success."
    assert ask(place / "mux", 65534) in ("Permission denied", "closed")


def key_worker(authd):
    (found,) = [int(p.name) for p in pathlib.Path("/proc").iterdir() if p.name.isdigit() and is_key_worker(p, authd)]
    return found


def is_key_worker(p, authd):
    try:
        return (p / "cmdline").read_bytes().startswith(b"authd: key") and below(p, authd.proc.pid)
    except OSError:
        return False


def below(p, ancestor):
    pid = int(p.name)
    while pid > 1:
        pid = int(pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[1])
        if pid == ancestor:
            return True
    return False


def test_tls_signatures_per_second(make_authd):
    """All ask while the worker is stopped, so that it finds them in one second, which the first may have been in."""
    a = make_authd(tls_signatures_per_second="10")
    a.start()
    p = ipc.Parent(a.run_dir / "key" / "register", "imap")
    good = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + os.urandom(32)
    assert p.conn("key").ask("SIGN", id=1, scheme="ecdsa_secp256r1_sha256", tbs=good)[0] == "SIGNED"
    conns = [p.conn("key") for _ in range(40)]
    worker = key_worker(a)
    os.kill(worker, signal.SIGSTOP)
    try:
        for c in conns:
            c.send("SIGN", id=1, scheme="ecdsa_secp256r1_sha256", tbs=good)
    finally:
        os.kill(worker, signal.SIGCONT)
    answers = [c.recv()[0] for c in conns]
    assert answers.count("SIGNED") >= 9 and "REFUSED" in answers
    a.wait_log("signature refused: more than tls_signatures_per_second")
