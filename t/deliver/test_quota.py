"""A user's quota from the command line to the wire: postern user quota, delivery over the limit, the letter, IMAP's OVERQUOTA, no folder listed."""
import imaplib
import os
import smtplib
import subprocess
import time

import pytest

import mailtools
from test_agent import Agent, message, new
from test_queue import sink, wait  # noqa: F401

ALICE, BOB = "alice@example.com", "bob@example.com"


@pytest.fixture
def place(fresh_suite):
    return fresh_suite("quota", settings={"filter_enable": "no", "quota_messages": "50"})


def size_file(suite, user=ALICE):
    return (suite.maildir(user) / "maildirsize").read_text().splitlines()


def used(suite, user=ALICE):
    rows = [tuple(map(int, line.split())) for line in size_file(suite, user)[1:]]
    return sum(r[0] for r in rows), sum(r[1] for r in rows)


def set_quota(suite, user, value):
    suite.tool("postern-user", "quota", user, value)


def clean(suite, user=ALICE):
    for d in ("new", "cur"):
        d = suite.maildir(user) / d
        for f in d.iterdir() if d.exists() else ():
            f.unlink()
    for name in ("maildirsize", "postern.quota"):
        (suite.maildir(user) / name).unlink(missing_ok=True)


def test_a_full_mailbox_refuses_for_now_or_for_good(place):
    clean(place)
    set_quota(place, ALICE, "40k")
    a = Agent(place)
    assert a.deliver(message(place, 32000), qid="1QUOTA1")[0] == "DONE"
    assert size_file(place)[0] == "40960S,50C"
    answer = a.deliver(message(place, 16000), qid="1QUOTA2")
    assert answer[0] == "FAILED" and answer[2]["permanent"] == 0 and answer[2]["enhanced"] == b"4.2.2"
    answer = a.deliver(message(place, 16000), qid="1QUOTA3", quota_reject=1)
    assert answer[0] == "FAILED" and answer[2]["permanent"] == 1 and answer[2]["enhanced"] == b"5.2.2"
    # asked beforehand, without a message
    for size, expect in ((1000, "READY"), (16000, "FAILED")):
        a.chan.send("ROOM", id=7, size=size)
        assert a.chan.recv()[0] == expect
    a.end()
    assert len(new(place)) == 1


def test_the_user_is_told_once_at_each_level(place):
    clean(place)
    set_quota(place, ALICE, "100k")
    a = Agent(place)
    told = []
    for i in range(9):
        before = {f.name for f in new(place)}
        assert a.deliver(message(place, 10240), qid="1LEVEL%d" % i, quota_warnings="80 95", hostname="mx.example.com")[0] == "DONE"
        letters = [f for f in new(place) if f.name not in before and b"Auto-Submitted" in f.read_bytes()]
        told += [(i, f.read_bytes()) for f in letters]
    a.end()
    assert [i for i, _ in told] == [7]
    letter = told[0][1]
    assert b"Subject: Your mailbox is 80% full\n" in letter and b"Return-Path: <>\n" in letter and b"To: alice@example.com\n" in letter
    assert b" of 102400\n" in letter
    assert used(place)[1] == 10         # the letter counts, too


def test_delivery_lists_no_folder(place):
    clean(place)
    set_quota(place, ALICE, "10m")
    a = Agent(place)
    assert a.deliver(message(place, 1000), qid="1FIRST")[0] == "DONE"
    a.end()
    trace = place.base / "trace"
    a = Agent(place, wrap=("strace", "-f", "-o", str(trace), "-e", "trace=getdents64,openat"), drop=False)
    assert a.deliver(message(place, 1000), qid="1SECOND")[0] == "DONE"
    a.end()
    text = trace.read_text()
    # tmp is looked at for what a power cut left; cur and new are not
    assert 'maildirsize' in text and '"cur", O_RDONLY|O_DIRECTORY' not in text.split("maildirsize", 1)[1]


def test_imap_says_overquota_and_expunge_makes_room(place):
    clean(place)
    set_quota(place, ALICE, "20k,50")
    context = place.tls_context()
    context.check_hostname = False
    c = imaplib.IMAP4_SSL(place.host, place.port("IMAPS"), ssl_context=context)
    c.login(ALICE, place.passwords[ALICE])
    body = b"Subject: x\r\n\r\n" + b"0123456789012345678901234567890\r\n" * 300
    assert c.append("INBOX", None, None, body)[0] == "OK"
    assert c.append("INBOX", None, None, body)[0] == "OK"
    typ, data = c.append("INBOX", None, None, body)
    assert typ == "NO" and b"[OVERQUOTA]" in data[0]
    c.select("INBOX")
    typ, data = c.copy("1", "Trash")
    assert typ == "NO" and b"[OVERQUOTA]" in data[0]
    c.store("1", "+FLAGS", "\\Deleted")
    assert c.expunge()[0] == "OK"
    assert used(place)[1] == 1
    assert c.append("INBOX", None, None, body)[0] == "OK"
    c.logout()


def test_a_sender_is_told_where_that_is_wanted(fresh_suite):
    place = fresh_suite("quota-reject", settings={"filter_enable": "no", "quota_full_action": "reject"})
    set_quota(place, ALICE, "3k")
    with smtplib.SMTP(place.host, place.port("SMTP"), timeout=30) as s:
        s.ehlo()
        s.mail("x@elsewhere.example")                               # without SIZE only the message shows it
        assert s.rcpt(ALICE)[0] == 250
        code, text = s.data("Subject: t\r\n\r\n" + ("x" * 70 + "\r\n") * 100)
        assert code == 552 and b"5.2.2" in text
    set_quota(place, BOB, "none")
    mailtools.Mail(place).send(BOB, body=("x" * 70 + "\r\n") * 100)
    assert not (place.maildir(BOB) / "maildirsize").exists() and new(place) == []


def test_a_stranger_is_told_when_some_of_the_recipients_are_full(fresh_suite, sink):  # noqa: F811
    place = fresh_suite("quota-some", settings={"filter_enable": "no", "quota_full_action": "reject", "relayhost": "[127.0.0.3]:2525"})
    set_quota(place, ALICE, "3k")
    with smtplib.SMTP(place.host, place.port("SMTP"), timeout=30) as s:
        s.ehlo()
        s.mail("x@elsewhere.example")
        assert s.rcpt(ALICE)[0] == 250 and s.rcpt(BOB)[0] == 250
        assert s.data("Subject: t\r\n\r\n" + ("x" * 70 + "\r\n") * 100)[0] == 250
    assert wait(lambda: sink.got) and len(list((place.maildir(BOB) / "new").iterdir())) == 1
    (rcpts, report), = sink.got
    assert rcpts == ["x@elsewhere.example"] and b"Final-Recipient: rfc822; alice@example.com" in report and b"Status: 5.2.2" in report and b"bob@" not in report


def test_by_lmtp_an_alias_with_one_full_member_is_taken(fresh_suite, sink):  # noqa: F811
    """550 would have the client send again, or tell the sender that nobody has it. Refused is an alias of full ones."""
    place = fresh_suite("quota-lmtp", settings={
        "filter_enable": "no", "quota_full_action": "reject", "relayhost": "[127.0.0.3]:2525", "listener.store": "2424/lmtp", "inet_interfaces": "127.0.0.1",
        "virtual_alias_maps": "inline:{ { some@example.com = alice@example.com, bob@example.com }, { full@example.com = alice@example.com } }"})
    set_quota(place, ALICE, "3k")
    with smtplib.LMTP("127.0.0.1", 2424, timeout=30) as s:
        s.ehlo("here")
        s.mail("x@elsewhere.example")
        assert [s.rcpt(r)[0] for r in ("some@example.com", "full@example.com")] == [250, 250]
        s.putcmd("data")
        assert s.getreply()[0] == 354
        s.send(b"Subject: t\r\n\r\n" + (b"x" * 70 + b"\r\n") * 100 + b".\r\n")
        some, full = s.getreply(), s.getreply()
    assert some[0] == 250, some
    assert full[0] == 552 and full[1].startswith(b"5.2.2 <full@example.com>: ")
    assert wait(lambda: sink.got) and len(list((place.maildir(BOB) / "new").iterdir())) == 1
    (rcpts, report), = sink.got
    assert rcpts == ["x@elsewhere.example"] and report.count(b"Final-Recipient: ") == 1 and b"Status: 5.2.2" in report and b"bob@" not in report


def test_the_default_holds_for_who_has_no_own(place):
    set_quota(place, BOB, "default")
    rows = place.tool("postern-user", "list", "--json").stdout.decode()
    assert '"quota_messages":0' in rows.replace(" ", "")
    assert subprocess.run(["grep", "-a", "-c", "\t0,50\t", str(place.state / "accounts.cdb")], capture_output=True).stdout.strip() != b"0"
    assert os.path.exists(place.maildir(BOB).parent)


@pytest.mark.parametrize("action, answer", [("tempfail", (452, b"4.2.2")), ("reject", (552, b"5.2.2"))])
def test_a_full_mailbox_is_refused_at_rcpt(fresh_suite, action, answer):
    place = fresh_suite("quota-rcpt", settings={"filter_enable": "no", "quota_full_action": action})
    set_quota(place, ALICE, "10k")
    with smtplib.SMTP(place.host, place.port("SMTP"), timeout=30) as s:
        s.ehlo()
        s.mail("x@elsewhere.example", ["size=9000"])
        assert s.rcpt(ALICE)[0] == 250                              # there is room for what was announced
        s.rset()
        s.mail("x@elsewhere.example", ["size=30000"])
        code, text = s.rcpt(ALICE)
        assert (code, text) == (answer[0], answer[1] + b" <alice@example.com>: Recipient address rejected: Mailbox is full")
        assert s.rcpt(BOB)[0] == 250                                # the transaction goes on without her
        s.rset()
        home = place.maildir(ALICE).parent
        (home / ".forward").write_text("bob@example.com\n")
        os.chown(home / ".forward", home.stat().st_uid, home.stat().st_gid)
        s.mail("x@elsewhere.example", ["size=30000"])
        end = time.monotonic() + 30                                 # an agent reads the file when it starts: not the one of a moment ago
        while any(p[2] == "deliver" for p in place.processes()) and time.monotonic() < end:
            time.sleep(0.05)
        assert s.rcpt(ALICE)[0] == 250                              # what is forwarded needs no room
