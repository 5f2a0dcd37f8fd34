"""Port 25: authd and the key worker hear of a connection when it first needs them, and are still there for it when the parent has ended."""
import base64
import os
import signal
import time

import pytest

import mailtools

PLAIN = base64.b64encode(b"\0alice@example.com\0alice-secret").decode()
CONNECTIONS = 5


def pid_of(s, title):
    return next(p[0] for p in s.processes() if p[3] == title)


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def settles(value, wanted, timeout=30):
    end = time.monotonic() + timeout
    while value() != wanted and time.monotonic() < end:
        time.sleep(0.05)
    return value() == wanted


def at_rest(value, seconds=0.5):
    """What it stays at: the connections that saw the suite start are still being closed."""
    last, since = value(), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(0.05)
        now = value()
        if now != last:
            last, since = now, time.monotonic()
    return last


@pytest.fixture
def open_ones(fresh_suite):
    """Greeted on port 25, with nothing said yet."""
    s = fresh_suite("smtpd-first", settings={"max_use": "1"})    # a front that waits for its client keeps its channels
    mail = mailtools.Mail(s)
    authd, key = pid_of(s, "authd: monitor"), pid_of(s, "authd: key worker")
    before = at_rest(lambda: (descriptors(authd), descriptors(key)))
    wires = [mail.wire("SMTP") for _ in range(CONNECTIONS)]
    for w in wires:
        assert w.smtp()[0] == 220 and w.smtp("EHLO client.test")[0] == 250
    assert (descriptors(authd), descriptors(key)) == before
    yield s, wires, lambda: (descriptors(authd) - before[0], descriptors(key) - before[1])
    for w in wires:
        w.close()


def start_tls(s, w):
    assert w.smtp("STARTTLS")[0] == 220
    w.starttls(s.tls_context())
    assert w.smtp("EHLO client.test")[0] == 250


def test_each_daemon_hears_of_a_connection_at_first_use(open_ones):
    s, wires, heard = open_ones
    parent = pid_of(s, "smtpd: parent")
    held = descriptors(parent)
    start_tls(s, wires[0])
    assert settles(lambda: descriptors(parent), held - 1)
    assert settles(heard, (0, 0)), "one signature, and the key worker is done with it"
    assert wires[0].smtp("AUTH PLAIN " + PLAIN)[0] == 235
    assert settles(lambda: descriptors(parent), held - 2)
    wires[1].close()
    assert settles(lambda: descriptors(parent), held - 4)
    assert heard()[1] == 0


def test_the_parent_ends_and_what_is_served_goes_on(open_ones):
    s, wires, heard = open_ones
    os.kill(pid_of(s, "smtpd: parent"), signal.SIGTERM)
    assert settles(heard, (CONNECTIONS, CONNECTIONS))
    for w in wires:
        start_tls(s, w)
        assert w.smtp("AUTH PLAIN " + PLAIN)[0] == 235
        assert w.smtp("QUIT")[0] == 221
