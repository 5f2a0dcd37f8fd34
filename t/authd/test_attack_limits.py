"""The limits on failed logins, attacked by clients that do not play by the protocol."""
import base64
import os
import pathlib
import signal
import subprocess
import time

import pytest


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
