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


def writable_memory(pid):
    """All that a process has in pages of its own."""
    out = []
    with open("/proc/%d/mem" % pid, "rb", buffering=0) as mem:
        for line in pathlib.Path("/proc/%d/maps" % pid).read_text().splitlines():
            span, rights = line.split()[:2]
            if rights.startswith("rw"):
                low, high = (int(x, 16) for x in span.split("-"))
                mem.seek(low)
                out.append(mem.read(high - low))
    return b"".join(out)


def exchange(parent, mech, user, password, client="192.0.2.1"):
    ch = parent.conn("auth", client=client)
    if mech == "PLAIN":
        answer = ch.ask("START", id=1, mech="PLAIN", initial=b"\0%s\0%s" % (user.encode(), password.encode()))
    else:
        assert ch.ask("START", id=1, mech="LOGIN")[0] == "CHALLENGE"
        assert ch.ask("STEP", id=2, data=user)[0] == "CHALLENGE"
        answer = ch.ask("STEP", id=3, data=password)
    ch.close()
    return answer[0]


@pytest.mark.skipif(os.environ.get("POSTERN_BUILD") == "asan", reason="keeps what was freed")
def test_a_sasl_worker_serves_its_user_again_and_has_forgotten_the_password(make_authd):
    a = make_authd(auth_cache_time="0")
    user, password = "alice@example.com", "Uf7-fir-tree-Qn2"
    a.add(user, password)
    a.start()
    sasl, parent = zygote(a, "authd: sasl"), a.parent()
    first = []
    for _ in range(3):
        assert exchange(parent, "PLAIN", user, password) == "OK"
        first = first or workers(sasl)
        assert workers(sasl) == first and len(first) == 1
        kept = writable_memory(first[0])
        assert b"sasl" in kept, "the memory was read"
        assert password[:8].encode() not in kept and password[8:].encode() not in kept, "the password is still there"
        wait_for(lambda: user.encode() not in writable_memory(first[0]), "the name goes after it was said")
    for _ in range(64):
        assert exchange(parent, "PLAIN", user, password) == "OK"
    assert workers(sasl) != first, "but not for ever"
    wait_for(lambda: workers(sasl) == [], "an idle one ends")


def test_a_sasl_worker_meets_the_password_of_one_user_only(make_authd):
    """Colleagues behind one router, and who claims to be another than the one whose password is sent."""
    a = make_authd(auth_cache_time="0", auth_throttle_exempt="192.0.2.0/24")
    a.add("alice@example.com", "secret")
    a.add("bob@example.com", "secret")
    a.start()
    sasl, parent = zygote(a, "authd: sasl"), a.parent()
    assert exchange(parent, "PLAIN", "alice@example.com", "secret") == "OK"
    alices = workers(sasl)
    assert exchange(parent, "PLAIN", "bob@example.com", "secret") == "OK"
    bobs = [p for p in workers(sasl) if p not in alices]
    assert len(alices) == 1 and len(bobs) == 1
    assert exchange(parent, "PLAIN", "alice@example.com", "secret") == "OK"
    assert sorted(workers(sasl)) == sorted(alices + bobs)
    assert exchange(parent, "LOGIN", "alice@example.com", "secret") == "OK"
    wait_for(lambda: sorted(workers(sasl)) == sorted(alices + bobs), "who the first bytes do not name is served once")
    for initial in (b"alice@example.com\0alice@example.com\0secret", b"\0alice@example.com"):
        ch = parent.conn("auth", client="192.0.2.1")
        ch.ask("START", id=1, mech="PLAIN", initial=initial)
        ch.close()
    wait_for(lambda: sorted(workers(sasl)) == sorted(alices + bobs), "nor is who writes anything else there kept")


def test_a_password_is_tried_only_for_whom_the_library_lets_in(make_authd):
    """Who wants to be another one is refused, and learns nothing of the password: no process is asked about it."""
    a = make_authd(auth_cache_time="0")
    a.add("alice@example.com", "secret")
    a.start()
    sasl, check, parent = zygote(a, "authd: sasl"), zygote(a, "authd: check"), a.parent()
    ch = parent.conn("auth", client="192.0.2.1")
    r = ch.ask("START", id=1, mech="PLAIN", initial=b"bob@example.com\0alice@example.com\0secret")
    assert r[0] == "FAIL" and r[2]["user"] == b"alice@example.com"
    assert workers(check) == []
    ch.close()
    wait_for(lambda: workers(sasl) == [], "and its worker ends")
    assert exchange(parent, "PLAIN", "alice@example.com", "secret") == "OK"
    assert len(workers(check)) == 1


def test_a_sasl_worker_serves_nobody_after_a_stranger_and_no_other_client(make_authd):
    """Who has no password meets no process that another's password will pass through; nor does who comes from another address."""
    a = make_authd(auth_cache_time="0", auth_throttle_exempt="192.0.2.0/24")
    a.add("alice@example.com", "secret")
    a.start()
    sasl, parent = zygote(a, "authd: sasl"), a.parent()
    assert exchange(parent, "PLAIN", "alice@example.com", "wrong") == "FAIL"
    wait_for(lambda: workers(sasl) == [], "a wrong password ends it")
    ch = parent.conn("auth", client="192.0.2.1")
    assert ch.ask("START", id=1, mech="PLAIN", initial=b"nonsense")[0] == "FAIL"
    ch.close()
    wait_for(lambda: workers(sasl) == [], "so does what is no SASL")
    assert exchange(parent, "PLAIN", "alice@example.com", "secret") == "OK"
    mine = workers(sasl)
    assert exchange(parent, "PLAIN", "alice@example.com", "secret", client="192.0.2.2") == "OK"
    others = [p for p in workers(sasl) if p not in mine]
    assert len(mine) == 1 and len(others) == 1, "another address, another process"
    assert exchange(parent, "PLAIN", "alice@example.com", "wrong") == "FAIL"
    wait_for(lambda: workers(sasl) == others, "a wrong password ends one that has served before")
    ch = parent.conn("auth", client="192.0.2.2")
    assert ch.ask("START", id=1, mech="LOGIN")[0] == "CHALLENGE"
    assert len(workers(sasl)) == 2
    ch.close()
    wait_for(lambda: workers(sasl) == others, "and so does one whose client leaves half way")


def test_a_sasl_worker_that_dies_idle_costs_no_login(make_authd):
    a = make_authd(auth_cache_time="0")
    a.add("alice@example.com", "secret")
    a.start()
    sasl, parent = zygote(a, "authd: sasl"), a.parent()
    assert exchange(parent, "PLAIN", "alice@example.com", "secret") == "OK"
    dead = workers(sasl)[0]
    os.kill(dead, signal.SIGKILL)
    wait_for(lambda: dead not in workers(sasl), "it is reaped")
    assert exchange(parent, "LOGIN", "alice@example.com", "secret") == "OK"
    before = workers(sasl)
    a.mark()
    os.kill(a.monitor_pid(), signal.SIGHUP)
    a.wait_log("authd-sasl is ready")
    wait_for(lambda: not any(pathlib.Path("/proc/%d" % p).exists() for p in before), "a reload ends those that idle")
    assert exchange(parent, "PLAIN", "alice@example.com", "secret") == "OK"


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
