"""A front of smtpd that was taken over, against the spool: it may have one message to write, no more."""
import os
import pathlib
import re

import pytest

import ipc
import mailtools
from test_queue import BOB, answer, front, make, sink  # noqa: F401


def begin(c):
    assert answer(c, "MAIL", sender="x@elsewhere.example")[0] == 250
    assert answer(c, "RCPT", recipient=BOB)[0] == 250
    name, _, _, fd = c.ask("DATA", 1)
    assert name == "OPEN"
    return fd


@pytest.mark.parametrize("then", ["RESET", "DATA_END"])
def test_keeping_message_files_ends_the_channel(front, then):  # noqa: F811
    other, c = front(), front()
    fd = begin(c)
    if then == "RESET":
        c.send("RESET", 2)
    else:
        assert answer(c, "DATA_END", 2, size=0, lines=0, received=0)[0] == 451
    with pytest.raises(ipc.Closed):
        c.recv()
    os.close(fd)
    fd = begin(other)
    os.close(fd)
    other.send("RESET", 2)
    fd = begin(other)	# who closes it may have the next
    os.close(fd)


def get_ready(c):
    assert answer(c, "MAIL", sender="x@elsewhere.example")[0] == 250
    name, _, f, fd = c.ask("RCPT", 1, recipient=BOB, ready=1)
    assert name == "READY" and f["size_max"] > 0
    return fd


def test_the_descriptor_comes_with_the_first_recipient_alone(front):  # noqa: F811
    c = front()
    fd = get_ready(c)
    assert answer(c, "RCPT", recipient=BOB.replace("bob", "alice"), ready=1)[0] == 250
    assert answer(c, "RCPT", recipient="nobody-of-that-name@localhost", ready=1)[0] == 550
    text = b"Subject: ready\nFrom: x@elsewhere.example\n\nno need to ask at DATA\n"
    os.write(fd, text)
    os.close(fd)
    assert answer(c, "DATA_END", 2, size=len(text), lines=4, received=0)[0] == 250
    assert answer(c, "MAIL", sender="x@elsewhere.example")[0] == 250
    assert answer(c, "RCPT", recipient="nobody-of-that-name@localhost", ready=1)[0] == 550
    name, _, _, fd = c.ask("RCPT", 1, recipient=BOB, ready=1)
    assert name == "READY", "of those that are accepted"
    os.close(fd)
    c.send("RESET", 2)
    assert answer(c, "MAIL", sender="x@elsewhere.example")[0] == 250


@pytest.mark.parametrize("then", ["RESET", "DATA_END", "DATA"])
def test_keeping_what_came_early_ends_the_channel(front, then):  # noqa: F811
    """As what came at DATA. And nobody gets a second one by asking for it again."""
    c = front()
    fd = get_ready(c)
    if then == "DATA_END":
        assert answer(c, "DATA_END", 2, size=0, lines=0, received=0)[0] == 451
    else:
        c.send(then, 2)
    with pytest.raises(ipc.Closed):
        c.recv()
    os.close(fd)


def test_restrictions_at_data_are_asked_before_a_descriptor_is_given(fresh_suite):
    s = fresh_suite("data", settings={"filter_enable": "no", "smtpd_data_restrictions": "reject"})
    w = mailtools.Wire(s.host, s.port("SMTP"))
    assert w.smtp()[0] == 220 and w.smtp("EHLO a.example")[0] == 250
    assert w.smtp("MAIL FROM:<s@elsewhere.example>")[0] == 250
    assert w.smtp("RCPT TO:<bob@example.com>")[0] == 250
    assert w.smtp("DATA")[0] == 554
    assert w.smtp("RSET")[0] == 250
    assert w.smtp("NOOP")[0] == 250


def test_fronts_cannot_write_more_than_a_message(suite):
    limit = int(suite.tool("postern", "config", "message_size_limit").stdout.split()[-1])
    seen = 0
    for pid, user, _, cmd in suite.processes():
        if user in ("_postern_smtp", "_postern_imap", "_postern_pop3"):
            try:
                text = pathlib.Path("/proc/%d/limits" % pid).read_text()
            except FileNotFoundError:       # a front that ended meanwhile
                continue
            assert int(re.search(r"Max file size +(\S+) +(\S+)", text).group(2)) <= limit + (1 << 20), cmd
            seen += 1
    assert seen >= 3


def test_a_certificate_that_nobody_asked_for_ends_the_channel(front):  # noqa: F811
    c = front()
    c.send("CCERT", cert="AA:01", key="BB:02", trusted=1)
    with pytest.raises(ipc.Closed):
        c.recv()


@pytest.mark.skipif(os.environ.get("POSTERN_BUILD") == "asan", reason="its allocator keeps what is freed")
def test_a_large_alias_named_often_costs_its_size_once(fresh_suite):
    suite = fresh_suite("often", settings={"filter_enable": "no"}, start=False)
    with open(suite.base / "etc" / "aliases", "a") as f:
        f.write("crowd: %s\n" % ", ".join("somebody-of-many-%04d@a-rather-long-domain.elsewhere.example" % i for i in range(900)))
    suite.tool("postalias", "cdb:%s" % (suite.base / "etc" / "aliases"))
    suite.start()
    (pid,) = [p[0] for p in suite.processes() if p[3].startswith("queued: queue")]

    def most():
        return int(next(x for x in open("/proc/%d/status" % pid) if x.startswith("VmHWM")).split()[1])

    w = mailtools.Wire(suite.host, suite.port("SMTP"))
    assert w.smtp()[0] == 220 and w.smtp("EHLO a.example")[0] == 250
    assert w.smtp("MAIL FROM:<s@elsewhere.example>")[0] == 250
    assert w.smtp("RCPT TO:<crowd@localhost>")[0] == 250
    before = most()
    for _ in range(10):
        w.send("RCPT TO:<crowd@localhost>\r\n" * 25)
        assert [w.smtp()[0] for _ in range(25)] == [250] * 25
    assert most() - before < 15000


def test_a_login_told_before_its_connection_is_registered_counts(front):  # noqa: F811
    """The parent registers, authd names the user: two channels, whose order nobody can promise."""
    other = front(profile="submissions")
    assert answer(other, "MAIL", sender="alice@example.com")[0] == 530
    auth = ipc.Channel.connect(front.suite.run_dir / "queue" / "auth", "queue")
    conn = 0x1234567890
    auth.send("USER", id=7, conn=conn, user="alice@example.com", rights="submit")
    auth.send("USER", id=8, conn=other.conn, user="alice@example.com", rights="submit")
    assert auth.recv()[:2] == ("USER_OK", 8), "what is not registered yet is not acknowledged"
    c = front(profile="submissions", conn=conn)
    assert auth.recv()[:2] == ("USER_OK", 7)
    assert answer(c, "MAIL", sender="alice@example.com")[0] == 250
    auth.send("USER", id=9, conn=conn + 1, user="alice@example.com", rights="submit")
    auth.sock.close()       # what waits of it is forgotten
    late = front(profile="submissions", conn=conn + 1)
    assert answer(late, "MAIL", sender="alice@example.com")[0] == 530


def both(c, to, **more):
    """MAIL with its first recipient: the answer's name, its fields, its descriptor."""
    name, _, f, fd = c.ask("MAIL", 1, sender="x@elsewhere.example", recipient=to, **more)
    return name, f, fd


def test_mail_that_brings_its_first_recipient_has_one_answer(front):  # noqa: F811
    c = front()
    name, f, _ = both(c, BOB)
    assert (name, f["code"], f["enhanced"]) == ("REPLY", 250, b"2.1.5") and f["qid"], f
    assert answer(c, "RCPT", recipient=BOB.replace("bob", "alice"))[0] == 250
    c.send("RESET", 2)
    name, f, fd = both(c, BOB, ready=1)
    assert name == "READY" and f["qid"], f
    text = b"Subject: both\nFrom: x@elsewhere.example\n\nin one\n"
    os.write(fd, text)
    os.close(fd)
    assert answer(c, "DATA_END", 2, size=len(text), lines=4, received=0)[0] == 250


def test_a_first_recipient_that_is_refused_leaves_its_mail(front):  # noqa: F811
    c = front()
    name, f, _ = both(c, "nobody-of-that-name@localhost")
    assert (name, f["code"]) == ("REPLY", 550) and f["qid"], "the transaction is open"
    assert answer(c, "RCPT", recipient=BOB)[0] == 250
    c.send("MAIL", 3, sender="x@elsewhere.example", recipient=BOB)
    with pytest.raises(ipc.Closed):
        c.recv()
