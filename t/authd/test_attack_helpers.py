"""Walls around the processes that hold a stranger's bytes and a password."""
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from test_attack_limits import workers, zygote


def status(pid, key):
    return re.search(r"^%s:\s*(\S+)" % key, pathlib.Path("/proc/%d/status" % pid).read_text(), re.M).group(1)


@pytest.mark.skipif(os.environ.get("POSTERN_BUILD") == "asan", reason="runs without the sandbox")
def test_a_sasl_worker_may_do_less_than_its_zygote(make_authd):
    """Worker, zygote and mux have one uid: who can fork and kill ends everybody's logins."""
    a = make_authd()
    a.start()
    sasl = zygote(a, "authd: sasl")
    ch = a.parent().conn("auth", client="192.0.2.1")
    assert ch.ask("START", id=1, mech="LOGIN")[0] == "CHALLENGE"
    assert len(workers(sasl)) == 1
    assert int(status(workers(sasl)[0], "Seccomp_filters")) > int(status(sasl, "Seccomp_filters"))
    ch.close()


def login(parent, user, password, client="192.0.2.1"):
    ch = parent.conn("auth", client=client)
    answer = ch.ask("START", id=1, mech="PLAIN", initial=b"\0%s\0%s" % (user.encode(), password.encode()))
    ch.close()
    return answer[0]


def wait_for(what, text):
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end, text
        time.sleep(0.02)


@pytest.mark.skipif(os.environ.get("POSTERN_BUILD") == "asan", reason="runs without the sandbox")
def test_a_worker_for_the_password_file_serves_again_and_has_no_processes(make_authd):
    """It may be asked again, so it can neither fork nor signal, as one that is to run PAM's modules can."""
    a = make_authd(auth_cache_time="0")
    a.add("alice@example.com", "secret")
    a.add("bob@example.com", "other")
    a.start()
    check, parent = zygote(a, "authd: check"), a.parent()
    assert login(parent, "alice@example.com", "secret") == "OK"
    first = workers(check)
    assert len(first) == 1
    assert int(status(first[0], "Seccomp_filters")) > int(status(check, "Seccomp_filters"))
    assert login(parent, "bob@example.com", "secret") == "FAIL"
    assert login(parent, "nobody@example.com", "secret") == "FAIL"
    assert login(parent, "bob@example.com", "other") == "OK"
    assert workers(check) == first, "one process has served them all"
    for _ in range(70):
        assert login(parent, "alice@example.com", "secret") == "OK"
    assert workers(check) != first, "but not for ever"
    wait_for(lambda: workers(check) == [], "an idle one ends")


def test_a_check_worker_that_dies_idle_costs_no_login(make_authd):
    a = make_authd(auth_cache_time="0")
    a.add("alice@example.com", "secret")
    a.start()
    check, parent = zygote(a, "authd: check"), a.parent()
    assert login(parent, "alice@example.com", "secret") == "OK"
    dead = workers(check)[0]
    os.kill(dead, signal.SIGKILL)
    wait_for(lambda: dead not in workers(check), "it is reaped")
    assert login(parent, "alice@example.com", "secret") == "OK"
    before = workers(check)
    a.mark()
    os.kill(a.monitor_pid(), signal.SIGHUP)
    a.wait_log("authd-check is ready")
    wait_for(lambda: not any(pathlib.Path("/proc/%d" % p).exists() for p in before), "a reload ends those that idle")
    assert login(parent, "alice@example.com", "secret") == "OK"


def test_system_accounts_and_scram_have_a_process_for_each_attempt(make_authd):
    a = make_authd(auth_cache_time="0")
    subprocess.run(["useradd", "-m", "-d", str(a.base / "joe"), "-s", "/bin/false", "joe"], check=False, stderr=subprocess.DEVNULL)
    a.add("alice@example.com", "secret")
    a.start()
    check, parent = zygote(a, "authd: check"), a.parent()
    assert login(parent, "joe", "wrong") == "FAIL"
    wait_for(lambda: workers(check) == [], "what ran PAM has ended")
    assert login(parent, "alice@example.com", "secret") == "OK"
    file = workers(check)
    ch = parent.conn("auth", client="192.0.2.9")
    assert ch.ask("START", id=1, mech="SCRAM-SHA-256", initial="n,,n=alice@example.com,r=fyko")[0] == "CHALLENGE"
    assert len([p for p in workers(check) if p not in file]) == 1, "a client's own bytes go to a new process"
    ch.close()
