"""The saslauthd protocol: what testsaslauthd and any libsasl2 program sees, and hostile requests."""
import os
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest

from test_login import JOE, ODD


def request(*fields):
    return b"".join(struct.pack(">H", len(f)) + f for f in (x.encode() if isinstance(x, str) else x for x in fields))


def ask(authd, data, shut=False, wait=30):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(wait)
    s.connect(str(authd.run_dir / "saslauthd" / "mux"))
    s.sendall(data)
    if shut:
        s.shutdown(socket.SHUT_WR)
    out = b""
    while True:
        chunk = s.recv(1000)
        if not chunk:
            break
        out += chunk
    assert not out or struct.unpack(">H", out[:2])[0] == len(out) - 2
    return out[2:].decode()


def test_testsaslauthd(authd):
    tool = shutil.which("testsaslauthd") or "/usr/sbin/testsaslauthd"
    mux = str(authd.run_dir / "saslauthd" / "mux")
    for user, password, ok in (("joe", JOE, True), ("joe", "wrong", False), ("alice@example.com", "secret", True), ("nobody", "x", False),
                               ("odd@example.com", ODD, True)):
        p = subprocess.run([tool, "-u", user, "-p", password, "-f", mux, "-s", "imap"], stdout=subprocess.PIPE)
        assert (p.returncode == 0) == ok, p.stdout
        assert p.stdout.startswith(b"0: OK \"Success.\"" if ok else b"0: NO \"authentication failed\""), p.stdout
    p = subprocess.run([tool, "-u", "alice", "-r", "example.com", "-p", "secret", "-f", mux], stdout=subprocess.PIPE)
    assert p.returncode == 0, "login and realm are joined for the suite's own users"


def test_failure_is_logged_as_log_readers_know_it(authd):
    authd.mark()
    assert ask(authd, request("joe", "wrong", "smtp", "")).startswith("NO")
    authd.wait_log("saslauthd[")
    authd.wait_log("do_auth         : auth failure: [user=joe] [service=smtp] [realm=] [mech=pam] [reason=PAM auth error]")


@pytest.mark.parametrize("data", [b"\xff\xff" + b"a" * 100, struct.pack(">H", 1025) + b"a" * 10, request("", "x", "imap", ""), request("joe", "", "imap", ""),
                                  request("jo\0e", "x", "imap", ""), request("joe", "x", "../imap", ""), request("joe", "x", "", "")])
def test_malformed(authd, data):
    assert ask(authd, data).startswith("NO")


def test_fifth_field_present_or_absent(authd):
    five = request("alice@example.com", "secret", "imap", "", "192.0.2.1;4000")
    assert ask(authd, five) == "OK Success."
    assert ask(authd, request("alice@example.com", "secret", "imap", "")) == "OK Success."
    for cut in (1, 8, 15, 16):          # complete without its fifth field; a client that ends its side may be taken for gone before the answer
        assert ask(authd, five[:-cut], shut=True) in ("", "OK Success.")
    assert ask(authd, five[:-19], shut=True) == "", "the form of four is not complete"


def test_byte_by_byte(authd):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(30)
    s.connect(str(authd.run_dir / "saslauthd" / "mux"))
    for b in request("alice@example.com", "secret", "imap", ""):
        s.send(bytes([b]))
    assert s.recv(100)[2:] == b"OK Success."


def test_slow_and_many(authd):
    idle = []
    for _ in range(300):
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(authd.run_dir / "saslauthd" / "mux"))
        idle.append(s)
    assert ask(authd, request("alice@example.com", "secret", "imap", "")) == "OK Success."
    idle[0].settimeout(30)
    assert idle[0].recv(100)[2:].startswith(b"NO"), "a client that says nothing is answered in time"


def test_only_the_group_may_ask(authd):
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            socket.socket(socket.AF_UNIX).connect(str(authd.run_dir / "saslauthd" / "mux"))
        except PermissionError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


def test_parallel(authd):
    results = []
    threads = [threading.Thread(target=lambda i=i: results.append(ask(authd, request("alice@example.com", "secret" if i % 2 else "x%d" % i, "imap", "")),
                                                                  )) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(r[:2] for r in results) == ["NO"] * 3 + ["OK"] * 3
