"""The limits on failed logins, attacked by clients that do not play by the protocol."""
import base64
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest

from test_login import TEMP
from test_saslauthd import request
from waiting import until


def zygote(authd, title):
    """The helper of this authd with that title."""
    for p in pathlib.Path("/proc").iterdir():
        if not p.name.isdigit():
            continue
        try:
            parent = int((p / "stat").read_text().rsplit(")", 1)[1].split()[1])
            name = (p / "cmdline").read_bytes().split(b"\0")[0].decode()
        except OSError:
            continue
        if parent == authd.monitor_pid() and name == title:
            return int(p.name)
    raise AssertionError("no %s" % title)


def workers(pid):
    return [int(c) for c in pathlib.Path("/proc/%d/task/%d/children" % (pid, pid)).read_text().split()]


def signal_all(pid, signo):
    """The zygote, and its workers as well: one of them may serve the next attempt."""
    for p in [pid, *workers(pid)]:
        os.kill(p, signo)


@pytest.mark.parametrize("how", ["closes", "cancels"])
def test_who_goes_before_the_answer_is_counted(make_authd, how):
    a = make_authd(auth_fail_address_max="3")
    a.add("alice@example.com", "secret")
    a.start()
    check, parent = zygote(a, "authd: check"), a.parent()
    for i in range(3):
        ch = parent.conn("auth", client="192.0.2.7")
        signal_all(check, signal.SIGSTOP)
        try:
            ch.send("START", id=1, mech="PLAIN", initial=b"\0alice@example.com\0wrong %d" % i)
            time.sleep(0.4)	# the password is on its way to the check worker now
            if how == "cancels":
                ch.send("CANCEL", id=2)
                time.sleep(0.1)
            ch.close()
            time.sleep(0.1)
        finally:
            signal_all(check, signal.SIGCONT)
    end = time.monotonic() + 30
    while a.log().count("reason=password") < 3 and time.monotonic() < end:
        time.sleep(0.05)
    name, _, f, _ = parent.conn("auth", client="192.0.2.7").ask("START", id=1, mech="PLAIN", initial=b"\0alice@example.com\0secret")
    assert name == "FAIL" and f["text"].startswith(b"too many failed logins"), (name, f, a.log()[-3000:])


def scram(parent, client, user):
    """One SCRAM exchange with a proof that is junk: what FAIL says."""
    ch = parent.conn("auth", client=client)
    name, _, f, _ = ch.ask("START", id=1, mech="SCRAM-SHA-256", initial="n,,n=%s,r=fyko" % user)
    if name == "CHALLENGE":
        nonce = f["data"].split(b",")[0][2:].decode()
        name, _, f, _ = ch.ask("STEP", id=2, data="c=biws,r=%s,p=%s" % (nonce, base64.b64encode(bytes(32)).decode()))
    ch.close()
    assert name == "FAIL", (name, f)
    return f


def test_scram_does_not_tell_system_accounts_from_nobody(make_authd):
    """A system account has no SCRAM verifier; its failures must look, and count, like those of a name that does not exist."""
    a = make_authd()
    subprocess.run(["useradd", "-m", "-d", str(a.base / "joe"), "-s", "/bin/false", "joe"], check=False, stderr=subprocess.DEVNULL)
    a.start()
    parent = a.parent()
    seen = [[(f["code"], f["text"], (f["delay_ms"] + 500) // 1000) for f in (scram(parent, client, user) for _ in range(12))]
            for user, client in (("joe", "192.0.2.1"), ("nobody-of-that-name", "198.51.100.1"))]
    assert seen[0] == seen[1]


WAITING_MAX = int(re.search(r"CHECKS_WAITING_MAX = (\d+)", (pathlib.Path(__file__).resolve().parent.parent.parent / "authd" / "monitor.h").read_text()).group(1))
BY_MUX, TOO_MANY = 500, 4


def test_password_checks_that_wait_have_a_limit(make_authd):
    """One is being checked, CHECKS_WAITING_MAX wait: who comes then is to try again, and of all others each gets its answer."""
    a = make_authd(auth_check_workers_max="1", auth_check_timeout="120s", auth_cache_time="0")
    a.add("alice@example.com", "secret")
    a.start()
    check, parent = zygote(a, "authd: check"), a.parent()
    signal_all(check, signal.SIGSTOP)
    try:
        conns = [parent.conn("auth", client="127.0.0.1") for _ in range(1 + WAITING_MAX + TOO_MANY - BY_MUX)]
        for c in conns:
            c.send("START", id=1, mech="PLAIN", initial=b"\0alice@example.com\0secret")
        muxed = []
        for _ in range(BY_MUX):
            muxed.append(socket.socket(socket.AF_UNIX))
            muxed[-1].settimeout(120)
            muxed[-1].connect(str(a.run_dir / "saslauthd" / "mux"))
            muxed[-1].sendall(request("alice@example.com", "secret", "imap", ""))
        until(lambda: a.log().count("reason=queue-full") >= TOO_MANY, 120)
    finally:
        signal_all(check, signal.SIGCONT)
    codes = [(name, f.get("code")) for name, _id, f, _fd in (c.recv() for c in conns)]
    answers = [s.recv(1000)[2:4] for s in muxed]
    served = codes.count(("OK", None)) + answers.count(b"OK")
    assert served == 1 + WAITING_MAX and a.log().count("reason=queue-full") == TOO_MANY, (len(codes), len(answers), served)
    assert codes.count(("FAIL", TEMP)) + answers.count(b"NO") == TOO_MANY, (set(codes), set(answers))
