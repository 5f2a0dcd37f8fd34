"""Limits on failed logins as a front sees them: exact counts, delays that it has to wait, a snapshot that survives kills."""
import os
import signal
import time

import pytest

from test_login import AUTH, DENIED, TEMP, login


@pytest.fixture
def authd(make_authd):
    a = make_authd(auth_throttle_exempt="")
    a.add("alice@example.com", "secret")
    a.add("bob@example.com", "bob secret")
    a.start()
    return a


def test_address_is_refused_after_ten(authd):
    p = authd.parent()
    for i in range(10):
        name, f, _ = login(authd, "ghost%d" % i, "x", client="198.51.100.7", parent=p)
        assert (name, f["code"]) == ("FAIL", AUTH), i
        assert [1500, 3500, 7500, 14500][min(i, 3)] < f["delay_ms"] <= [2000, 4000, 8000, 15000][min(i, 3)]
    name, f, _ = login(authd, "alice@example.com", "secret", client="198.51.100.7", parent=p)
    assert (name, f["code"]) == ("FAIL", DENIED), "even with the right password"
    assert login(authd, "alice@example.com", "secret", client="198.51.100.8", parent=p)[0] == "OK", "the neighbour may"


def test_an_administrator_forgives(authd):
    p = authd.parent()
    for i in range(12):
        login(authd, "alice@example.com", "wrong%d" % i, client="198.51.100.7", parent=p)
        login(authd, "bob@example.com", "wrong%d" % i, client="198.51.100.9", parent=p)
    assert login(authd, "alice@example.com", "secret", client="198.51.100.7", parent=p)[1]["code"] == DENIED
    assert authd.user("forgive", "Alice@example.com", "198.51.100.7").stdout == b"alice@example.com from 198.51.100.7 was refused\n"
    assert login(authd, "alice@example.com", "secret", client="198.51.100.7", parent=p)[0] == "OK"
    assert login(authd, "bob@example.com", "bob secret", client="198.51.100.9", parent=p)[1]["code"] == DENIED, "who was not named"
    assert authd.user("forgive", "alice@example.com", "198.51.100.7").stdout == b"alice@example.com from 198.51.100.7 was not refused\n"
    for args in (["alice@example.com", "alice"], ["alice@example.com"], ["alice@example.com", "192.0.2.0/24"]):
        assert authd.user("forgive", *args, check=False).returncode != 0
    authd.stop()
    assert authd.user("forgive", "alice@example.com", "198.51.100.7", check=False).returncode == 1


def test_every_mistake_of_a_reload_has_its_line(authd):
    authd.mark()
    plain = authd.conf.read_text()
    authd.conf.write_text(plain + "myhostnam = x\nimap_listeners = 1/none\n")
    os.kill(authd.monitor_pid(), signal.SIGHUP)
    authd.wait_log("the old configuration stays")
    told = authd.log().splitlines()
    assert any("myhostnam: no such parameter" in l and "imap_listeners" not in l for l in told) and any("1/none" in l for l in told), told


def test_owner_is_never_locked_out_at_the_usual_place(authd):
    p = authd.parent()
    assert login(authd, "alice@example.com", "secret", client="192.0.2.10", parent=p)[0] == "OK"
    for i in range(25):
        login(authd, "alice@example.com", "guess%d" % i, client="10.%d.0.1" % i, parent=p)
    name, f, _ = login(authd, "alice@example.com", "secret", client="203.0.113.1", parent=p)
    assert (name, f["code"]) == ("FAIL", TEMP), "strangers wait while the account is attacked"
    assert login(authd, "alice@example.com", "secret", client="192.0.2.11", parent=p)[0] == "OK"
    assert login(authd, "bob@example.com", "bob secret", client="203.0.113.1", parent=p)[0] == "OK"


def test_old_phone_locks_nobody_out(authd):
    p = authd.parent()
    for _ in range(40):
        name, f, _ = login(authd, "alice@example.com", "last year's", client="192.0.2.10", parent=p)
        assert (name, f["code"]) == ("FAIL", AUTH)
    assert login(authd, "alice@example.com", "secret", client="192.0.2.10", parent=p)[0] == "OK"


def test_limits_survive_kill_and_restart(authd):
    p = authd.parent()
    for i in range(10):
        login(authd, "ghost%d" % i, "x", client="198.51.100.7", parent=p)
    end = time.monotonic() + 30
    while not (authd.state / "auth-limits").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert (authd.state / "auth-limits").stat().st_mode & 0o777 == 0o600
    authd.mark()
    os.kill(authd.monitor_pid(), signal.SIGKILL)
    authd.wait_log("authd-check is ready")
    assert login(authd, "alice@example.com", "secret", client="198.51.100.7")[1]["code"] == DENIED
    authd.stop()
    authd.mark()
    authd.start()
    assert login(authd, "alice@example.com", "secret", client="198.51.100.7")[1]["code"] == DENIED


def test_webmail_says_for_whom_it_acts(make_authd):
    a = make_authd(auth_throttle_exempt="", webmail_hosts="192.0.2.80/32")
    a.add("alice@example.com", "secret")
    a.start()
    p = a.parent()
    for i in range(10):
        c = p.conn("auth", client="192.0.2.80")
        c.send("CLIENT", address="198.51.100.7")
        assert c.ask("START", id=1, mech="PLAIN", initial=b"\0ghost%d\0x" % i)[2]["code"] == AUTH
    assert login(a, "alice@example.com", "secret", client="192.0.2.80", parent=p)[0] == "OK", "the webmail itself is not refused"
    assert login(a, "alice@example.com", "secret", client="198.51.100.7", parent=p)[1]["code"] == DENIED
    c = p.conn("auth", client="198.51.100.7")
    c.send("CLIENT", address="203.0.113.5")
    assert c.ask("START", id=1, mech="PLAIN", initial=b"\0alice@example.com\0secret")[2]["code"] == DENIED, "others are not believed"
