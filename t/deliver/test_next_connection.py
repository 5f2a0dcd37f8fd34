"""A front that serves its client's next connection keeps its channel to queued: of the connection before nothing is left, and neither parent nor front alone begins one.
This file plays both."""
import os
import socket

import pytest

import ipc
from test_queue import ALICE, BOB, answer, front, make, sink  # noqa: F401
from test_restrict import Policy

ELSEWHERE = "joe@there.example"
HERE, STRANGER = "127.0.0.1", "192.0.2.1"


def again(c, client=STRANGER, conn=None, was=None, **more):
    """The parent's word: the next connection's name."""
    conn = int.from_bytes(os.urandom(8), "little") if conn is None else conn
    c.parent.reg.send("AGAIN", conn=conn, was=c.conn if was is None else was, client=client, client_port=40001, server="127.0.0.1", server_port=25, **more)
    c.conn = conn
    return conn


def mail(c, to=BOB, sender="x@elsewhere.example"):
    code = answer(c, "MAIL", sender=sender)[0]
    return code if code != 250 else answer(c, "RCPT", recipient=to)[0]


def silent(c, seconds=0.3):
    c.sock.settimeout(seconds)
    try:
        with pytest.raises((TimeoutError, BlockingIOError)):
            c.sock.recv(1, 2)   # MSG_PEEK
    finally:
        c.sock.settimeout(30)


def closed(c):
    with pytest.raises(ipc.Closed):
        c.recv()


def test_the_open_transaction_is_dropped(front):  # noqa: F811
    c = front()
    assert mail(c) == 250
    c.send("NEXT", conn=again(c))
    assert mail(c, BOB.replace("bob", "alice")) == 250, "no nested MAIL"
    name, _, _, fd = c.ask("DATA", 3)
    assert name == "OPEN"
    text = b"Subject: next\nFrom: x@elsewhere.example\n\nof the second\n"
    os.write(fd, text)
    os.close(fd)
    assert answer(c, "DATA_END", 4, size=len(text), lines=4, received=0)[0] == 250
    suite = front.suite
    assert [len(list((suite.maildir(u + "@example.com") / "new").glob("*"))) for u in ("alice", "bob")] == [1, 0]


def test_it_is_who_the_parent_says_and_not_who_it_was(front):  # noqa: F811
    c = front(client=HERE)
    assert mail(c, ELSEWHERE) == 250, "mynetworks"
    c.send("RESET", 2)
    c.send("NEXT", conn=again(c, STRANGER))
    assert mail(c, ELSEWHERE) == 554
    c.send("RESET", 2)
    c.send("NEXT", conn=again(c, HERE))
    assert mail(c, ELSEWHERE) == 250


def test_a_login_belongs_to_its_connection(front):  # noqa: F811
    c = front(profile="submissions")
    auth = ipc.Channel.connect(front.suite.run_dir / "queue" / "auth", "queue")
    auth.send("USER", id=1, conn=c.conn, user=ALICE, rights="submit")
    assert auth.recv()[0] == "USER_OK"
    assert answer(c, "MAIL", sender=ALICE)[0] == 250
    c.send("RESET", 2)
    c.send("NEXT", conn=again(c))
    assert answer(c, "MAIL", sender=ALICE)[0] == 530
    auth.send("USER", id=2, conn=c.conn, user=ALICE, rights="submit")
    assert auth.recv()[:2] == ("USER_OK", 2)
    assert answer(c, "MAIL", sender=ALICE)[0] == 250


def test_a_login_told_before_the_next_connection_counts(front):  # noqa: F811
    c = front(profile="submissions")
    auth = ipc.Channel.connect(front.suite.run_dir / "queue" / "auth", "queue")
    auth.send("USER", id=1, conn=0x77777, user=ALICE, rights="submit")
    assert answer(c, "MAIL", sender=ALICE)[0] == 530
    c.send("NEXT", conn=again(c, conn=0x77777))
    assert auth.recv()[:2] == ("USER_OK", 1)
    assert answer(c, "MAIL", sender=ALICE)[0] == 250


def say_next(c, word, conn, to=ELSEWHERE):
    """The front's word, in a message of its own or in MAIL."""
    if word == "NEXT":
        c.send("NEXT", conn=conn)
    c.send("MAIL", 1, sender="x@elsewhere.example", recipient=to, **({} if word == "NEXT" else {"next": conn}))


@pytest.mark.parametrize("word", ["NEXT", "MAIL"])
def test_what_the_front_says_first_waits_for_the_parent(front, word):  # noqa: F811
    c = front(client=HERE)
    say_next(c, word, 0x5151)
    silent(c)
    again(c, STRANGER, conn=0x5050)         # another: one that ended without a word
    silent(c)
    again(c, STRANGER, conn=0x5151)
    name, _, f, _ = c.recv()
    assert (name, f["code"]) == ("REPLY", 554), "it is not taken for the words of the first"


@pytest.mark.parametrize("word", ["NEXT", "MAIL"])
def test_it_is_answered_at_once_when_the_parent_was_first(front, word):  # noqa: F811
    c = front(client=HERE)
    assert mail(c, ELSEWHERE) == 250
    c.send("RESET", 2)
    say_next(c, word, again(c, STRANGER))
    assert c.recv()[2]["code"] == 554
    say_next(c, word, again(c, HERE))
    assert c.recv()[2]["code"] == 250
    c.send("RESET", 2)
    assert mail(c) == 250, "and more may follow"


def test_mail_in_the_name_of_a_connection_that_is_not_next_ends_the_channel(front):  # noqa: F811
    for begun in (False, True):
        c = front()
        if begun:
            assert mail(c) == 250
            c.send("RESET", 2)
        c.send("MAIL", 1, sender="x@elsewhere.example", next=c.conn)
        closed(c)


def test_mail_that_waits_is_forgotten_with_its_parent(front):  # noqa: F811
    c, other = front(), front()
    say_next(c, "MAIL", 0x5252)
    silent(c)
    c.parent.reg.close()
    closed(c)
    d = front()
    say_next(d, "MAIL", 0x5353)
    say_next(d, "MAIL", 0x5454)
    d.sock.close()      # now what it said last is read
    assert mail(other) == 250


def test_without_the_front_s_word_the_next_has_not_begun(front):  # noqa: F811
    c, other = front(), front()
    again(c)
    assert mail(other) == 250
    c.send("RESET", 1)      # the last word of the one before may come late
    c.send("MAIL", 2, sender="x@elsewhere.example")
    closed(c)


def test_a_parent_that_knows_no_next_connection_is_of_another_release(front):  # noqa: F811
    path = front.suite.run_dir / "queue" / "register"
    c = ipc.Channel.connect(path, "reg")
    c.send("HELLO", service="smtp", version=1)
    closed(c)
    front.suite.logged("registration refused: the parent of smtp is of another release than this process: restart")
    c = ipc.Channel.connect(path, "reg")
    c.send("HELLO", service="smtp", version=ipc.reg_version("queue"))
    assert c.recv()[0] == "WELCOME"


@pytest.mark.parametrize("conn", ["own", "twice"])
def test_a_front_begins_none_of_its_own(front, conn):  # noqa: F811
    c, other = front(), front()
    if conn == "twice":
        c.send("NEXT", conn=again(c))
        assert mail(c) == 250
        c.send("RESET", 2)
    c.send("NEXT", conn=c.conn)
    closed(c)
    assert mail(other) == 250


def test_inside_of_a_transaction_there_is_no_next(front):  # noqa: F811
    c = front()
    assert mail(c) == 250
    c.send("NEXT", conn=1)
    closed(c)


def test_what_is_reset_while_it_is_judged_ends_nothing_that_comes_after(make):  # noqa: F811
    """ETRN's answer comes when a transaction is open: there is no next then, and nobody hears that answer."""
    policy = socket.create_server(("127.0.0.1", 0))
    suite = make(smtpd_etrn_restrictions="check_policy_service inet:127.0.0.1:%d" % policy.getsockname()[1])
    parent = ipc.Parent(suite.run_dir / "queue" / "register", "smtp")
    c = parent.conn("queue")
    c.parent = parent
    c.send("ETRN", 7, domain="example.com")
    asked, _ = policy.accept()
    assert b"protocol_state=ETRN" in asked.recv(4096)
    c.send("RESET", 8)
    assert mail(c) == 250
    asked.sendall(b"action=DUNNO\n\n")
    silent(c)
    c.send("NEXT", conn=0x7171)
    closed(c)


def test_a_name_in_use_is_not_given_twice(front):  # noqa: F811
    c, other = front(), front()
    assert answer(other, "MAIL", sender="x@elsewhere.example")[0] == 250
    again(c, conn=other.conn)
    closed(c)
    assert answer(other, "RCPT", recipient=BOB)[0] == 250


def test_of_a_channel_that_is_closed_there_is_no_next(front):  # noqa: F811
    c, other = front(), front()
    c.send("NEXT", conn=c.conn)
    closed(c)
    again(c)
    assert mail(other) == 250


def test_a_message_kept_open_ends_the_channel_here_too(front):  # noqa: F811
    c, other = front(), front()
    assert mail(c) == 250
    name, _, _, fd = c.ask("DATA", 3)
    assert name == "OPEN"
    again(c)
    closed(c)
    os.close(fd)
    assert mail(other) == 250


@pytest.mark.parametrize("first", ["the front", "the parent"])
def test_a_parent_that_has_gone_tells_of_none(front, first):  # noqa: F811
    """Its word may have been lost with it: the client hears so now, and not when its patience ends."""
    c, idle, other = front(), front(), front()
    assert mail(c) == 250
    c.send("RESET", 2)
    if first == "the front":
        c.send("NEXT", conn=0x6161)
        silent(c)
    c.parent.reg.close()
    if first == "the parent":
        assert mail(other) == 250
        c.send("NEXT", conn=0x6161)
    closed(c)
    assert mail(idle) == 250, "what is served is served to the end"


def test_the_next_of_a_parent_that_has_gone_since(front):  # noqa: F811
    c, other = front(client=HERE), front()
    conn = again(c, STRANGER)
    c.parent.reg.close()
    assert mail(other) == 250
    c.send("NEXT", conn=conn)
    assert mail(c, ELSEWHERE) == 554
    c.send("RESET", 2)
    c.send("NEXT", conn=0x6262)
    closed(c)


def test_each_connection_has_stress_of_its_own(make):  # noqa: F811
    policy = Policy()
    suite = make(smtpd_recipient_restrictions="reject_unauth_destination, check_policy_service inet:127.0.0.1:%d" % policy.server_address[1])
    c = ipc.Parent(suite.run_dir / "queue" / "register", "smtp")
    c, parent = c.conn("queue"), c
    c.parent = parent
    assert mail(c) == 250
    for stress in (1, 0, 1):
        c.send("RESET", 2)
        c.send("NEXT", conn=again(c, stress=stress))
        assert mail(c) == 250
    assert [r["stress"] for r in policy.requests] == ["", "yes", "", "yes"]
