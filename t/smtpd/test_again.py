"""A process of smtpd serves its client's next connection too, but not after a login, nor for a proxy's or another server's clients."""
import base64
import os
import signal
import threading
import time

import pytest

import mailtools
import waiting

PLAIN = base64.b64encode(b"\0alice@example.com\0alice-secret").decode()


@pytest.fixture(scope="module")
def again(module_suite):
    return module_suite("smtpd-again", settings={"smtpd_authorized_xclient_hosts": "127.0.0.0/8"})


def one(s, name, *commands):
    """A connection with these commands; the number of the process that served it, as the log has it."""
    w = mailtools.Mail(s).wire("SMTP")
    assert w.smtp()[0] == 220 and w.smtp("EHLO " + name)[0] == 250
    for c in commands:
        w.smtp(c)
    assert w.smtp("MAIL FROM:<%s@remote.test>" % name)[0] == 250, "nothing is left of the connection before"
    assert w.smtp("RCPT TO:<nobody@example.com>")[0] == 550
    w.close()       # in the middle of a transaction
    return int(s.logged(r"smtpd\[(\d+)\]: NOQUEUE: reject: RCPT from .* from=<%s@remote\.test>" % name).group(1))


def test_connections_of_one_client_meet_one_process(again):
    seen = [one(again, "same%d" % n) for n in range(12)]
    assert len(set(seen)) < len(seen)


@pytest.mark.parametrize("command", ["AUTH PLAIN " + PLAIN, "XCLIENT ADDR=192.0.2.7"])
def test_such_a_process_serves_nobody_else(again, command):
    word = command.split()[0].lower()
    after = ["EHLO again"] if word == "xclient" else []
    seen = [one(again, "%s%d" % (word, n), command, *after) for n in range(6)]
    assert len(set(seen)) == 6
    later = [one(again, "after-%s%d" % (word, n)) for n in range(6)]
    assert not set(seen) & set(later)


def secured(s, name):
    w = mailtools.Mail(s).wire("SMTP")
    assert w.smtp()[0] == 220 and w.smtp("EHLO " + name)[0] == 250 and w.smtp("STARTTLS")[0] == 220
    w.starttls(s.tls_context())
    assert w.smtp("EHLO " + name)[0] == 250 and w.smtp("MAIL FROM:<%s@remote.test>" % name)[0] == 250
    assert w.smtp("RCPT TO:<nobody@example.com>")[0] == 550
    w.close()
    return int(s.logged(r"smtpd\[(\d+)\]: NOQUEUE: reject: RCPT from .* from=<%s@remote\.test>" % name).group(1))


def test_each_connection_has_a_handshake_of_its_own(again):
    """One signature is all that a channel to the key worker is for: the next connection brings another."""
    seen = [secured(again, "tls%d" % n) for n in range(8)]
    assert len(set(seen)) < len(seen)


def test_recipients_of_a_connection_that_was_lost_get_nothing_of_the_next(again):
    for n in range(6):
        lost, w = (mailtools.Mail(again).wire("SMTP") for _ in range(2))
        for c in (lost, w):
            assert c.smtp()[0] == 220 and c.smtp("EHLO c.test")[0] == 250 and c.smtp("MAIL FROM:<lost%d@remote.test>" % n)[0] == 250
        assert lost.smtp("RCPT TO:<alice@example.com>")[0] == 250
        lost.close()
        assert w.smtp("RCPT TO:<nobody@example.com>")[0] == 550
        w.close()
        c = mailtools.Mail(again).wire("SMTP")
        assert c.smtp()[0] == 220 and c.smtp("EHLO c.test")[0] == 250 and c.smtp("MAIL FROM:<after%d@remote.test>" % n)[0] == 250
        assert c.smtp("RCPT TO:<bob@example.com>")[0] == 250 and c.smtp("DATA")[0] == 354
        c.send("Subject: after%d\r\n\r\nx\r\n.\r\n" % n)
        assert c.smtp()[0] == 250 and c.smtp("QUIT")[0] == 221
        c.close()
    boxes = {u: [p.read_text() for p in (again.maildir(u + "@example.com") / "new").glob("*")] for u in ("alice", "bob")}
    assert not [t for t in boxes["alice"] if "Subject: after" in t]
    assert len([t for t in boxes["bob"] if "Subject: after" in t]) == 6


def test_queued_is_started_again_beneath_a_process_that_waits(again):
    before = one(again, "beneath")
    (queue,) = [p[0] for p in again.processes() if p[3].startswith("queued: queue")]
    os.kill(queue, signal.SIGKILL)
    waiting.until(lambda: [p for p in again.processes() if p[3].startswith("queued: queue") and p[0] != queue])
    seen = [one(again, "beneath%d" % n) for n in range(4)]
    assert before > 0 and len(seen) == 4


def test_clients_that_leave_at_once_do_not_overrun_queued(again):
    """Each costs us next to nothing, and queued a word: while it does not read, clients wait where connections do."""
    (queue,) = [p[0] for p in again.processes() if p[3].startswith("queued: queue")]
    told = again.log.read_text().count("queued has gone")
    left, codes = [3000], set()

    def leave():
        while left[0] > 0:
            left[0] -= 1
            with mailtools.Mail(again).wire("SMTP") as w:
                codes.add((w.smtp()[0], w.smtp("QUIT")[0]))
    threads = [threading.Thread(target=leave) for _ in range(4)]
    os.kill(queue, signal.SIGSTOP)
    try:
        for t in threads:
            t.start()
        before = None
        while left[0] > 0 and left[0] != before:
            before = left[0]
            time.sleep(0.5)
    finally:
        os.kill(queue, signal.SIGCONT)
    for t in threads:
        t.join()
    w = mailtools.Mail(again).wire("SMTP")
    assert w.smtp()[0] == 220 and w.smtp("EHLO c.test")[0] == 250 and w.smtp("MAIL FROM:<afterwards@remote.test>")[0] == 250
    assert w.smtp("RCPT TO:<alice@example.com>")[0] == 250
    w.close()
    assert codes == {(220, 221)} and again.log.read_text().count("queued has gone") == told
