"""Recipients with policies of their own (postern-recipients(5)): one message, one check, for each what its policy says."""
import email
import os
import pathlib
import re
import signal
import smtplib
import socket
import struct
import subprocess
import time

import pytest

import mailtools
import milter
import smtpsink
from test_actions import arrived, empty, listed, quarantine, text_of
from test_archives import letter, zipped
from test_spam import fields
from waiting import until

SCRATCH = pathlib.Path(os.environ.get("POSTERN_SCRATCH", "/tmp"))
WHO = ["bob", "alice", "carol", "dave", "erin", "frank", "gina", "hank"]
BOB, ALICE, CAROL, DAVE, ERIN, FRANK, GINA, HANK = ["%s@example.com" % w for w in WHO]
GOOD = "From: s@elsewhere.example\r\nDate: Sat, 28 Nov 2026 10:00:00 +0000\r\nSubject: hello\r\nMessage-ID: <%s@test.example>\r\n\r\n%s\r\n"
RULES = "body TEST_HIGH /highword/\nscore TEST_HIGH 7.125\nbody TEST_LOW /lowword/\nscore TEST_LOW 2.5\n"
MILTER = 8893
POLICIES = """# what is different for whom
[takes everything]
recipients = carol@example.com
bypass = lists header banned
bypass = virus, spam
[sales]
recipients = alice@example.com sales@example.com
spam_tag_level = -100
spam_tag2_level = 2
spam_kill_level = never
spam_subject_tag = [sales?]
whitelist_senders = friend@elsewhere.example
banned_rule = [from partner.example]
banned_rule = allow /^setup[.]exe$/i
banned_rule = [all]
banned_rule = reject /[.]odt$/
[folder]
recipients = dave@example.com
spam_action = junk
banned_action = tag
blacklist_senders = @noisy.example
[kept]
recipients = erin@example.com
spam_action = quarantine
[forgotten]
recipients = frank@example.com
spam_action = discard
[elsewhere]
recipients = gina@example.com
spam_action = redirect
redirect_recipient = hank@example.com
[a gateway's]
recipients = .relay.example
spam_action = tag
"""


def make(fresh, name, text=POLICIES, **settings):
    rules = SCRATCH / "recipients-rules"
    rules.mkdir(exist_ok=True)
    (rules / "10.cf").write_text(RULES)
    policies = SCRATCH / (name + ".policies")
    policies.write_text(text)
    return fresh(name, users=(BOB, ALICE, CAROL, DAVE, ERIN, FRANK, GINA, HANK), settings={
        "spam_rules_directory": rules, "filter_recipient_policies": policies, "virus_scanned_header": "no", "filter_virus_check": "no",
        "listener.store": "2424/lmtp", "inet_interfaces": "127.0.0.1", "filter_milter_listeners": "127.0.0.1:%d" % MILTER, **settings})


@pytest.fixture(scope="module")
def suite(fresh_suite_module):
    return make(fresh_suite_module, "recipients")


@pytest.fixture
def mail(suite):
    empty(suite)
    return mailtools.Mail(suite)


def send(suite, mid, body, to, sender="x@elsewhere.example", port="SMTP", lmtp=False):
    with (smtplib.LMTP("127.0.0.1", lmtp, timeout=60) if lmtp else smtplib.SMTP(suite.host, suite.port(port), timeout=60)) as s:
        s.ehlo_or_helo_if_needed()
        s.mail(sender)
        for r in to:
            code, text = s.rcpt(r)
            assert code == 250, text
        s.putcmd("data")
        assert s.getreply()[0] == 354
        s.send((GOOD % (mid, body)).encode() + b".\r\n")
        return [s.getreply() for _r in to] if lmtp else s.getreply()


def reload(suite, policies, text, told, times=1):
    policies.write_text(text)
    os.kill([p[0] for p in suite.processes() if p[3] == "filterd: monitor"][0], signal.SIGHUP)
    end = time.monotonic() + 30
    while suite.log.read_text().count(told) < times:
        assert time.monotonic() < end, suite.trouble()
        time.sleep(0.05)


def has(mail, user, mid, folder=""):
    return any(mid.encode() in f.read_bytes() for f in mail.files(user, folder))


def test_every_outcome_of_one_message(suite, mail):
    """250 once; the copies are there, marked as each wants it; what is kept is kept for each with its own reason; who is left out is in the log."""
    code, text = send(suite, "every", "highword", [BOB, ALICE, CAROL, DAVE, ERIN, FRANK, GINA])
    assert code == 250, text
    qid = text.split()[-1].decode()
    alice = mail.wait_for("<every@test.example>", ALICE).read_text()
    assert fields(alice, "Subject") == ["Subject: [sales?] hello"]
    assert fields(alice, "X-Spam") == ["X-Spam-Flag: YES", "X-Spam-Score: 7.125", "X-Spam-Level: *******",
                                       "X-Spam-Status: Yes, score=7.125 tagged_above=-100 required=2 tests=[TEST_HIGH=7.125] autolearn=no"]
    carol = mail.wait_for("<every@test.example>", CAROL).read_text()
    assert fields(carol, "Subject") == ["Subject: hello"] and fields(carol, "X-Spam") == []
    dave = mail.wait_for("<every@test.example>", DAVE, ".Junk").read_text()
    assert fields(dave, "Subject") == ["Subject: [SPAM] hello"]
    hank = mail.wait_for("<every@test.example>", HANK).read_text()
    assert fields(hank, "Subject") == ["Subject: hello"]
    for user in (BOB, ERIN, FRANK, GINA):
        assert not has(mail, user, "<every@") and not has(mail, user, "<every@", ".Junk")
    kept = {m["recipients"][0]: m for m in listed(suite)}
    assert sorted(kept) == [BOB, ERIN] and all(m["recipients"] == [r] and m["reason"] == "SPAM (score 7.125)" for r, m in kept.items())
    assert len({qid, kept[BOB]["id"], kept[ERIN]["id"]}) == 3
    suite.logged(r"%s: quarantine: END-OF-MESSAGE from .*: SPAM \(score 7\.125\); from=<x@elsewhere\.example> to=<bob@example\.com> as %s" % (qid, kept[BOB]["id"]))
    suite.logged(r"%s: discard: END-OF-MESSAGE from .*: SPAM \(score 7\.125\); from=<x@elsewhere\.example> to=<frank@example\.com>" % qid)
    suite.logged(r"Blocked SPAM {RejectedInbound}, .*-> <bob@example\.com>, Queue-ID: %s" % qid)
    suite.logged(r"Passed SPAMMY {RelayedTaggedInbound}, .*-> <alice@example\.com>, Queue-ID: %s" % qid)
    suite.logged(r"Passed CLEAN {RelayedInbound}, .*-> <carol@example\.com>, Queue-ID: %s" % qid)
    quarantine(suite, "release", kept[BOB]["id"])
    assert fields(mail.wait_for("<every@test.example>", BOB).read_text(), "Subject") == ["Subject: hello"]
    assert [m["recipients"] for m in listed(suite)] == [[ERIN]]


def test_who_refuses_may_be_left_out(fresh_suite):
    suite, _sink = gateway(fresh_suite, "discards", POLICIES, filter_rejected_recipients="discard")
    mail = mailtools.Mail(suite)
    code, text = send(suite, "drop", "highword", [BOB, CAROL])
    assert code == 250, text
    mail.wait_for("<drop@test.example>", CAROL)
    suite.logged(r"%s: discard: END-OF-MESSAGE from .*: SPAM \(score 7\.125\); from=<x@elsewhere\.example> to=<bob@example\.com>" % text.split()[-1].decode())
    assert listed(suite) == [] and not has(mail, BOB, "<drop@")


@pytest.mark.parametrize("more", [0, 40])
def test_a_redirected_copy_does_not_follow_the_policy_of_its_new_recipient(suite, mail, more):
    """hank refuses it for himself; gina's, which goes to him, he gets. Few recipients are compared in another way than many."""
    to = [GINA, HANK] + ["bob+%d@example.com" % i for i in range(more)]
    code, text = send(suite, "sentto%d" % more, "highword", to)
    assert code == 250, text
    mail.wait_for("<sentto%d@test.example>" % more, HANK)
    assert HANK in sum((m["recipients"] for m in listed(suite)), []) and not has(mail, GINA, "<sentto%d@" % more)


def test_refused_by_all_is_refused_in_the_session(suite, mail):
    code, text = send(suite, "all", "highword", [BOB, HANK])
    assert code == 550 and b"looks like spam" in text
    assert listed(suite) == []


def test_the_same_for_all_is_one_message(suite, mail):
    """Policies that differ in what does not matter here: nothing was found."""
    code, text = send(suite, "same", "nothing", [BOB, DAVE, ERIN, FRANK])
    assert code == 250
    qid = text.split()[-1].decode()
    suite.logged(r"Passed CLEAN .*-> <bob@example\.com>,<dave@example\.com>,<erin@example\.com>,<frank@example\.com>, Queue-ID: %s" % qid)


def test_levels_and_lists_of_a_recipient(suite, mail):
    send(suite, "l1", "lowword", [BOB, ALICE])
    assert fields(mail.wait_for("<l1@test.example>", ALICE).read_text(), "Subject") == ["Subject: [sales?] hello"]
    assert fields(mail.wait_for("<l1@test.example>", BOB).read_text(), "Subject") == ["Subject: hello"]
    send(suite, "l2", "highword", [ALICE, DAVE], sender="friend@elsewhere.example")
    alice = mail.wait_for("<l2@test.example>", ALICE).read_text()
    assert fields(alice, "Subject") == ["Subject: hello"] and "WHITELISTED" in fields(alice, "X-Spam-Status")[0]
    mail.wait_for("<l2@test.example>", DAVE, ".Junk")
    send(suite, "l3", "nothing", [BOB, DAVE], sender="someone@noisy.example")
    mail.wait_for("<l3@test.example>", BOB)
    assert fields(mail.wait_for("<l3@test.example>", DAVE, ".Junk").read_text(), "Subject") == ["Subject: [SPAM] hello"]


def test_another_class_than_spam(suite, mail):
    """An attachment: a mark for one, a refusal for the other, which is kept."""
    raw = letter("tools.zip", zipped(("setup.exe", b"MZ"))).replace(b"Subject: x", b"Subject: two minds").replace(b"\n", b"\r\n")
    mail.send(raw=raw, to=[DAVE, BOB, CAROL])
    [m] = arrived(mail, DAVE, subject="two minds")
    assert m["X-Amavis-Alert"].startswith("BANNED, message contains")
    [m] = arrived(mail, CAROL, subject="two minds")
    assert m["X-Amavis-Alert"] is None
    [m] = listed(suite)
    assert m["recipients"] == [BOB] and m["reason"].startswith("BANNED")


def test_an_attachment_for_some_from_some(suite, mail):
    """banned_rule: what the section lets through is there for its recipients and from that sender alone; what it forbids is forbidden to nobody else."""
    program = letter("tools.zip", zipped(("setup.exe", b"MZ"))).replace(b"\n", b"\r\n")
    mail.send(raw=program.replace(b"Subject: x", b"Subject: for one"), to=[BOB, ALICE], sender="x@partner.example")
    arrived(mail, ALICE, subject="for one")
    [m] = listed(suite)
    assert m["recipients"] == [BOB] and m["reason"].startswith("BANNED")
    with pytest.raises(smtplib.SMTPDataError) as refused:
        mail.send(raw=program, to=[BOB, ALICE], sender="x@elsewhere.example")
    assert refused.value.smtp_code == 550 and b"setup.exe" in refused.value.smtp_error
    document = letter("letter.odt", b"odt").replace(b"Subject: x", b"Subject: a document").replace(b"\n", b"\r\n")
    with pytest.raises(smtplib.SMTPDataError) as refused:
        mail.send(raw=document, to=ALICE, sender="x@partner.example")
    assert refused.value.smtp_code == 550 and b"of recipients' policies" in refused.value.smtp_error
    mail.send(raw=document, to=[BOB, ALICE])
    arrived(mail, BOB, subject="a document")
    assert sorted(m["recipients"] for m in listed(suite)) == [[ALICE], [BOB]]


def test_an_alias_is_known_by_both_of_its_names(suite, mail):
    """sales has a section, hank has none: what is sent to sales is treated as sales wants it; alice's own section comes before that of the alias."""
    virtual = suite.base / "etc" / "virtual"
    virtual.write_text("sales@example.com hank@example.com\nteam@example.com hank@example.com, dave@example.com\n")
    suite.tool("postmap", "cdb:%s" % virtual)
    send(suite, "a1", "lowword", ["sales@example.com", BOB])
    assert fields(mail.wait_for("<a1@test.example>", HANK).read_text(), "Subject") == ["Subject: [sales?] hello"]
    assert fields(mail.wait_for("<a1@test.example>", BOB).read_text(), "Subject") == ["Subject: hello"]
    assert send(suite, "a2", "highword", ["team@example.com"])[0] == 250
    mail.wait_for("<a2@test.example>", DAVE, ".Junk")
    [m] = listed(suite)
    assert m["recipients"] == [HANK]


def test_lmtp_hears_of_each(suite, mail):
    bob, carol, erin, frank = send(suite, "lmtp", "highword", [BOB, CAROL, ERIN, FRANK], lmtp=2424)
    assert bob[0] == 550 and b"looks like spam" in bob[1]
    assert [r[0] for r in (carol, erin, frank)] == [250, 250, 250]
    mail.wait_for("<lmtp@test.example>", CAROL)
    assert [m["recipients"] for m in listed(suite)] == [[ERIN]]


def test_lmtp_has_one_answer_for_an_alias(suite, mail):
    """A member who refuses is not told of when another one has the message: the client would send it again. Refused by all of them it is, in the name of the alias."""
    virtual = suite.base / "etc" / "virtual"
    virtual.write_text("some@example.com carol@example.com, bob@example.com\nnone@example.com bob@example.com, hank@example.com\n")
    suite.tool("postmap", "cdb:%s" % virtual)
    some, bob, none = send(suite, "lmtpalias", "highword", ["some@example.com", BOB, "none@example.com"], lmtp=2424)
    assert some[0] == 250, some
    assert bob[0] == 550 and bob[1].startswith(b"5.7.1 <bob@example.com>: ")
    assert none[0] == 550 and none[1].startswith(b"5.7.1 <none@example.com>: ")
    mail.wait_for("<lmtpalias@test.example>", CAROL)
    assert [m["recipients"] for m in listed(suite)] == [[BOB]]


def test_lmtp_keeps_silent_for_who_wants_it_when_all_others_fail(suite, mail):
    """Frank's copy is dropped; that bob refuses, or hank's mailbox is full, is an answer for what leads to them and none for frank, whose sender would hear who they are."""
    virtual = suite.base / "etc" / "virtual"
    virtual.write_text("them@example.com bob@example.com\n")
    suite.tool("postmap", "cdb:%s" % virtual)
    frank, them = send(suite, "silent", "highword", [FRANK, "them@example.com"], lmtp=2424)
    assert frank[0] == 250 and frank[1].startswith(b"2.7.0 Ok, discarded"), frank
    assert them[0] == 550 and them[1].startswith(b"5.7.1 <them@example.com>: "), them


def test_lmtp_keeps_silent_for_who_wants_it_when_a_mailbox_is_full(fresh_suite):
    suite, _sink = gateway(fresh_suite, "full", POLICIES, quota_full_action="reject", virtual_alias_maps="inline:{ { them@example.com = alice@example.com, dave@example.com } }")
    for user in (ALICE, DAVE):
        suite.tool("postern-user", "quota", user, "1k")
    frank, them = send(suite, "nospace", "highword " + "x" * 900, [FRANK, "them@example.com"], lmtp=2425)
    assert frank[0] == 250 and frank[1].startswith(b"2.7.0 Ok, discarded"), frank
    assert them[0] == 552 and them[1].startswith(b"5.2.2 <them@example.com>: "), them


INSTEAD = """[dropped]
recipients = frank@example.com
spam_action = discard
[instead]
recipients = gina@example.com alice@example.com
spam_action = redirect
redirect_recipient = hank@example.com
[rest]
recipients = @example.com
spam_action = junk
[away]
recipients = .relay.example
spam_action = tag
"""


def with_a_full_mailbox(fresh_suite, name, **settings):
    """Of hank, who has the mail of gina and alice; and a message that is too long for it, and spam."""
    suite, suite.sink = gateway(fresh_suite, name, INSTEAD, virtual_alias_maps="inline:{ { both@example.com = gina@example.com, dave@example.com } }",
                                **{"quota_full_action": "reject", **settings})
    suite.tool("postern-user", "quota", HANK, "1k")
    return suite, "highword\r\n" + 3 * ("x" * 900 + "\r\n")


def test_lmtp_hears_of_a_redirected_copy_for_each_whose_place_it_takes(fresh_suite):
    """One copy, which fails: nobody for whom it was has the message, and each hears that in his own name."""
    suite, long = with_a_full_mailbox(fresh_suite, "instead")
    full = [(552, b"5.2.2 <%s>: " % a.encode()) for a in (GINA, ALICE)]

    def answers(mid, to):
        return [(code, text[:len(b"5.2.2 <>: ") + len(a)] if code == 552 else b"") for a, (code, text) in zip(to, send(suite, mid, long, to, lmtp=2425))]
    assert answers("all", [GINA, ALICE]) == full
    assert answers("some", [GINA, DAVE, ALICE]) == [full[0], (250, b""), full[1]]
    assert answers("silent", [FRANK, ALICE]) == [(250, b""), full[1]]
    assert answers("alias", ["both@example.com", ALICE]) == [(250, b""), (250, b"")], "both has a copy: of the other one the sender is told by mail"
    mail = mailtools.Mail(suite)
    mail.wait_for("<alias@test.example>", DAVE, ".Junk")
    suite.tool("postern-user", "quota", HANK, "none")
    until(lambda: answers("room", [GINA, ALICE]) == [(250, b""), (250, b"")])
    mail.wait_for("<room@test.example>", HANK)
    assert len([f for f in mail.files(HANK) if b"<room@test.example>" in f.read_bytes()]) == 1


def submit(suite, mid, body, to, sender):
    context = suite.tls_context()
    context.check_hostname = False
    with smtplib.SMTP_SSL(suite.host, suite.port("SUBMISSIONS"), context=context, timeout=60) as s:
        s.login(sender, suite.passwords[sender])
        assert s.sendmail(sender, to, GOOD.replace("s@elsewhere.example", sender) % (mid, body)) == {}


def test_the_reader_of_redirected_mail_sees_from_whom_to_whom_it_was(fresh_suite):
    """What the sender has written there himself is gone."""
    suite, _sink = gateway(fresh_suite, "envelope", INSTEAD, virtual_alias_maps="inline:{ { both@example.com = gina@example.com, dave@example.com } }")
    mail = mailtools.Mail(suite)
    forged = "highword".join(["X-Envelope-To: <you@example.com>\r\nX-Envelope-From: <he@example.com>\r\n\r\n", ""])
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=60) as s:
        s.sendmail("x@elsewhere.example", [DAVE, "both@example.com", ALICE], (GOOD % ("seen", "")).replace("\r\n\r\n", "\r\n", 1) + forged)
    m = email.message_from_bytes(mail.wait_for("<seen@test.example>", HANK).read_bytes())
    assert m.get_all("X-Envelope-From") == ["<x@elsewhere.example>"] and m.get_all("Return-Path") == ["<postmaster@example.com>"]
    assert [" ".join(v.split()) for v in m.get_all("X-Envelope-To")] == ["<both@example.com>, <alice@example.com>"]
    other = email.message_from_bytes(mail.wait_for("<seen@test.example>", DAVE, ".Junk").read_bytes())
    assert other.get_all("Return-Path") == ["<x@elsewhere.example>"] and "gina" not in str(other)


def test_of_a_redirected_copy_that_fails_the_site_hears_and_not_the_sender(fresh_suite):
    """Neither a stranger nor one of ours learns who has such mail."""
    suite, long = with_a_full_mailbox(fresh_suite, "insteadfails")
    mail = mailtools.Mail(suite)
    code, text = send(suite, "alone", long, [GINA])
    assert code == 552 and text.startswith(b"5.2.2 <gina@example.com>: ") and b"hank" not in text, "nobody has it, and in the session it can be said"
    assert send(suite, "stranger", long, [GINA, CAROL])[0] == 250
    [m] = arrived(mail, ALICE, subject="Undelivered Mail Returned to Sender")
    assert m["To"] == "postmaster@example.com" and HANK in m.as_string() and "<stranger@test.example>" in m.as_string()
    submit(suite, "ours", long, [GINA, CAROL], DAVE)
    until(lambda: len(arrived(mail, ALICE)) == 2)
    mail.wait_for("<ours@test.example>", CAROL, ".Junk")
    assert [m["To"] for m in arrived(mail, ALICE) if "<ours@test.example>" in m.as_string()] == ["postmaster@example.com"]
    until(lambda: b"Mail queue is empty" in suite.tool("postern-queue", "list").stdout)
    assert mail.files(DAVE) == [] and suite.sink.messages == []


def test_of_a_redirected_copy_that_is_late_the_site_hears_and_not_the_sender(fresh_suite):
    suite, long = with_a_full_mailbox(fresh_suite, "insteadlate", quota_full_action="tempfail", delay_warning_time="1s", minimal_backoff_time="1", maximal_backoff_time="1")
    suite.sink.refuse["<later@relay.example>"] = "450 4.2.0 later"
    mail = mailtools.Mail(suite)
    submit(suite, "late", long, [GINA, "later@relay.example"], DAVE)
    [m] = arrived(mail, ALICE, subject="Delayed Mail (still being retried)")
    assert m["To"] == "postmaster@example.com" and HANK in m.as_string() and "later@" not in m.get_payload(0).as_string()
    [m] = arrived(mail, DAVE, subject="Delayed Mail (still being retried)")
    assert "later@relay.example" in m.as_string() and HANK not in m.as_string()


def test_lmtp_keeps_silent_for_who_a_milter_takes_out(fresh_suite):
    """He is no failure when all others have a full mailbox."""
    theirs = milter.Milter().reset({b"E": milter.packet(b"-", milter.z("<dave@example.com>")) + milter.packet(b"c")})
    suite, long = with_a_full_mailbox(fresh_suite, "takenout", smtpd_milters=theirs.name)
    dave, hank = send(suite, "takenout", long, [DAVE, HANK], lmtp=2425)
    assert dave[0] == 250 and dave[1].startswith(b"2.7.0 Ok, discarded"), dave
    assert hank[0] == 552 and hank[1].startswith(b"5.2.2 <hank@example.com>: "), hank
    theirs.close()


def test_a_user_of_ours_gets_a_bounce(suite, mail):
    submit(suite, "ours", "highword", [BOB, CAROL], HANK)
    mail.wait_for("<ours@test.example>", CAROL)
    [m] = [m for m in arrived(mail, HANK, subject="Undelivered Mail Returned to Sender")]
    assert BOB in m.as_string() and "looks like spam" in m.as_string() and CAROL not in m.get_payload(0).get_payload()
    assert listed(suite) == []


def test_nothing_stays_when_one_of_the_records_cannot_be_written(suite, mail):
    """Of two messages for the quarantine the first finds a file that serves again, the second cannot make one: no copy, no record, a temporary refusal."""
    incoming = suite.spool / "incoming"
    assert send(suite, "spare", "highword", [BOB, CAROL])[0] == 250
    [m] = listed(suite)
    quarantine(suite, "delete", m["id"])
    spare = sorted((suite.spool / "spare").iterdir())
    assert spare and spare[0].name == "0"
    for f in spare[1:]:
        f.unlink()
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=60) as s:
        s.ehlo()
        s.mail("x@elsewhere.example")
        for r in (BOB, ERIN, CAROL):
            assert s.rcpt(r)[0] == 250
        s.putcmd("data")
        assert s.getreply()[0] == 354
        incoming.chmod(0o500)
        try:
            s.send((GOOD % ("undone", "highword")).encode() + b".\r\n")
            code, text = s.getreply()
        finally:
            incoming.chmod(0o700)
    assert code == 451, text
    assert listed(suite) == [] and not has(mail, CAROL, "<undone@") and "x@elsewhere.example" not in suite.tool("postern-queue", "list").stdout.decode()
    assert [f for f in (suite.spool / "queue").iterdir() if b"undone@" in f.read_bytes()] == []
    assert send(suite, "again", "highword", [BOB, ERIN, CAROL])[0] == 250
    mail.wait_for("<again@test.example>", CAROL)
    assert sorted(m["recipients"] for m in listed(suite)) == [[BOB], [ERIN]]


def test_copies_of_a_large_message_are_whole(suite, mail):
    """Each outcome's message is a copy of the content, made beside the loop."""
    body = "highword\r\n" + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\r\n" * 150000
    assert send(suite, "large", body, [BOB, ERIN, CAROL])[0] == 250
    kept = listed(suite)
    assert sorted(m["recipients"] for m in kept) == [[BOB], [ERIN]]
    for m in kept:
        quarantine(suite, "release", m["id"])
    for user in (BOB, ERIN, CAROL):
        text = mail.wait_for("<large@test.example>", user).read_bytes()
        assert text.split(b"\n\n", 1)[1].replace(b"\n", b"\r\n") == body.encode() + b"\r\n"


def test_what_is_kept_survives_a_kill(suite, mail):
    """250 means that every copy is durable, the one in quarantine too."""
    assert send(suite, "kill", "highword", [BOB, CAROL])[0] == 250
    for pid, _user, _comm, cmd in suite.processes():
        if cmd.startswith("queued: queue"):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        p = suite.tool("postern-quarantine", "list", "--json", check=False)
        if p.returncode == 0 and "SPAM (score 7.125)" in p.stdout.decode():
            break
        time.sleep(0.05)
    assert [m["recipients"] for m in listed(suite)] == [[BOB]]
    mail.wait_for("<kill@test.example>", CAROL)


def test_the_tool_tells_whose_policy(suite, tmp_path):
    (tmp_path / "m").write_text(GOOD.replace("\r", "") % ("tool", "highword"))
    out = {}
    for to in (BOB, DAVE):
        out[to] = suite.tool("postern-filter", "test", "--recipient", to, tmp_path / "m", check=False).stdout.decode()
    assert ": reject SPAM:" in out[BOB] and "no section" in out[BOB]
    assert ": accept SPAM:" in out[DAVE] and "section [folder]" in out[DAVE]


# --- milters ---

class Mta:
    NR_RCPT = 0x8000

    def __init__(self, actions=0x1ff, protocol=0x1fffff, port=MILTER):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.send(b"O", struct.pack("!III", 6, actions, protocol))
        self.steps = struct.unpack("!III", self.reply()[1])[2]
        self.rcpts = []     # the answers to them

    def send(self, command, data=b""):
        self.s.sendall(struct.pack("!I", len(data) + 1) + command + data)

    def reply(self):
        def exact(n):
            got = b""
            while len(got) < n:
                piece = self.s.recv(n - len(got))
                assert piece
                got += piece
            return got
        n = struct.unpack("!I", exact(4))[0]
        data = exact(n)
        return data[:1], data[1:]

    def message(self, to, body):
        self.send(b"C", b"client.example\x004\x00\x19192.0.2.1\x00")
        self.send(b"H", b"client.example\0")
        self.send(b"M", b"<x@elsewhere.example>\0")
        for r in to:
            self.send(b"R", b"<%s>\0" % r.encode())
            if not self.steps & self.NR_RCPT:
                self.rcpts.append(self.reply())
        for k, v in ((b"From", b"s@elsewhere.example"), (b"Date", b"Sat, 28 Nov 2026 10:00:00 +0000"), (b"Subject", b"hello")):
            self.send(b"L", k + b"\0" + v + b"\0")
        self.send(b"N")
        self.send(b"B", body + b"\r\n")
        self.send(b"E")
        out = []
        while True:
            out.append(self.reply())
            if out[-1][0] in b"ctrady":
                return out


def test_a_milter_takes_out_who_refuses(suite):
    out = Mta().message([BOB, ALICE, CAROL, FRANK], b"highword")
    assert [x for x in out if x[0] == b"-"] == [(b"-", b"<%s>\0" % BOB.encode()), (b"-", b"<%s>\0" % FRANK.encode())]
    assert out[-1][0] == b"c" and not any(b"YES" in x[1] for x in out)


def test_a_milter_holds_for_all_what_some_want_kept(suite):
    out = Mta().message([ERIN, DAVE], b"highword")
    assert [x[0] for x in out].count(b"q") == 1 and not any(x[0] == b"-" for x in out) and out[-1][0] == b"c"


def test_a_milter_refuses_for_all(suite):
    out = Mta().message([BOB, HANK], b"highword")
    assert [x[0] for x in out] == [b"y"] and out[0][1].startswith(b"550 5.7.1")


def test_a_milter_whose_mta_cannot_take_out_recipients(suite):
    out = Mta(actions=0x11).message([BOB, CAROL], b"highword")
    assert [x[0] for x in out] == [b"t"]
    suite.logged(r"the other side can take out no recipient")


def test_a_milter_refuses_the_recipient_who_is_one_too_many(fresh_suite):
    """Not the message for all: the MTA waits for an answer to RCPT."""
    text = "".join("[n%d]\nrecipients = u%d@relay.example w%d@relay.example\nbanned_rule = reject /[.]x%d$/\n" % (i, i, i, i) for i in range(50))
    make(fresh_suite, "milter-lists", text, filter_milter_listeners="127.0.0.1:%d" % (MILTER + 100))
    refusal = (b"y", b"452 4.5.3 Error: too many recipients with policies of their own\0")
    m = Mta(port=MILTER + 100)
    for _ in range(2):      # of the message before nothing is left
        m.rcpts = []
        out = m.message(["u%d@relay.example" % i for i in range(42)] + ["w3@relay.example", BOB], b"hello")
        assert m.rcpts == [(b"c", b"")] * 40 + [refusal] * 2 + [(b"c", b"")] + [refusal]
        assert out[-1][0] == b"c"
    m.rcpts = []
    out = m.message(["u%d@relay.example" % (i % 40) for i in range(1025)], b"hello")
    assert m.rcpts == [(b"c", b"")] * 1024 + [refusal] and out[-1][0] == b"c"


# --- limits, mistakes ---

def gateway(fresh_suite, name, policies, **settings):
    sink = smtpsink.Sink()
    return make(fresh_suite, name, policies, relay_domains="relay.example", relayhost="[127.0.0.1]:%d" % sink.port, filter_milter_listeners="",
                **{"listener.store": "2425/lmtp"}, **settings), sink


def test_a_thousand_recipients_with_a_thousand_policies(fresh_suite):
    """Whoever wants a message with more than FILTER_OUTCOMES_MAX outcomes is told to come again, and nothing of it is kept; up to there each gets his own."""
    to = ["u%d@relay.example" % i for i in range(1000)]
    levels = "".join("[p%d]\nrecipients = %s\nspam_tag2_level = %d.5\nspam_kill_level = never\nspam_tag_level = -1\n" % (i, a, i + 8) for i, a in enumerate(to))
    suite, sink = gateway(fresh_suite, "thousand", levels)
    code, text = send(suite, "many", "highword", to)
    assert code == 452 and text.startswith(b"4.5.3"), text
    assert "x@elsewhere.example" not in suite.tool("postern-queue", "list").stdout.decode()
    code, text = send(suite, "few", "highword", to[:64])
    assert code == 250, text
    sink.wait(64, 60)
    required = sorted(re.search(rb"required=([\d.]+)", text).group(1) for _envelope, text, _secure in sink.messages)
    assert required == sorted(b"%d.5" % (i + 8) for i in range(64))


def test_more_lists_of_attachments_than_a_message_can_have(fresh_suite):
    """Each recipient of the relay's has a list of its own. The one too many is refused at once, not the message; those whose list is there already may come."""
    text = "".join("[n%d]\nrecipients = u%d@relay.example w%d@relay.example\nbanned_rule = reject /[.]x%d$/\n" % (i, i, i, i) for i in range(50))
    suite, _sink = gateway(fresh_suite, "lists", text)
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=60) as s:
        s.ehlo()
        s.mail("x@elsewhere.example")
        assert [s.rcpt("u%d@relay.example" % i)[0] for i in range(32)] == 32 * [250]
        assert s.rcpt("u32@relay.example") == (452, b"4.5.3 Error: too many recipients with policies of their own")
        assert s.rcpt("w31@relay.example")[0] == 250, "the same list as u31's"
        assert s.rcpt("other@relay.example")[0] == 452, "that of the site alone is one more"
        assert s.rcpt(BOB)[0] == 452, "and bob's"
        code, text = s.data((GOOD % ("lists", "body")).encode())
        assert code == 250, text
        s.mail("x@elsewhere.example")
        assert s.rcpt("u32@relay.example")[0] == 250
        assert s.data((GOOD % ("second", "body")).encode())[0] == 250


def test_an_alias_with_more_lists_than_a_message_can_have(fresh_suite):
    """It can get no message; the log tells whose it is."""
    text = "".join("[n%d]\nrecipients = u%d@relay.example\nbanned_rule = reject /[.]x%d$/\n" % (i, i, i) for i in range(40))
    aliases = SCRATCH / "lists.aliases"
    aliases.write_text("all@example.com %s\n" % ", ".join("u%d@relay.example" % i for i in range(33)))
    suite, _sink = gateway(fresh_suite, "lists2", text, virtual_alias_maps="texthash:%s" % aliases)
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=60) as s:
        s.ehlo()
        s.mail("x@elsewhere.example")
        assert s.rcpt("all@example.com")[0] == 452
        assert s.rcpt("u1@relay.example")[0] == 250
    assert "those to whom <all@example.com> leads have more than 32 lists of attachments" in suite.log.read_text()


@pytest.mark.parametrize("before", [420, 1300])
def test_a_crowd_does_not_hide_a_recipient_from_his_own_policy(fresh_suite, before):
    """Long addresses named first leave no room in the question: who comes then is refused for now, and never judged as the alias that leads to him."""
    suite, _sink = gateway(fresh_suite, "crowd%d" % before, POLICIES, virtual_alias_maps="inline:{ { x@example.com = frank@example.com } }", spam_action="tag",
                           smtpd_recipient_limit="2000")
    mail = mailtools.Mail(suite)
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=60) as s:
        s.ehlo()
        s.mail("x@elsewhere.example")
        taken = next((i for i in range(before) if s.rcpt("u%d.%s@relay.example" % (i, "a" * 55))[0] == 452), before)
        assert taken == before or taken >= 1000
        if taken < before:      # nor for a short one
            assert any(s.rcpt("v%d@relay.example" % i)[0] == 452 for i in range(10))
        code, text = s.rcpt("x@example.com")
        assert code == (250 if before == 420 else 452), text
        if code == 452:
            assert text.startswith(b"4.5.3")
            s.rset()
            return
        s.putcmd("data")
        assert s.getreply()[0] == 354
        s.send((GOOD % ("crowd", "highword")).encode() + b".\r\n")
        code, text = s.getreply()
        assert code == 250, text
    suite.logged(r"%s: discard: END-OF-MESSAGE from .* to=<frank@example\.com>" % text.split()[-1].decode())
    assert not has(mail, FRANK, "<crowd@")


def test_blind_copies_have_room_beside_a_full_question(fresh_suite):
    """They come when no RCPT can be refused any more."""
    copy = "alice+%s@example.com" % ("c" * 80)
    suite, _sink = gateway(fresh_suite, "blind", POLICIES, always_bcc=copy, smtpd_recipient_limit="2000")
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=60) as s:
        s.ehlo()
        s.mail("x@elsewhere.example")
        taken = next(i for i in range(2000) if s.rcpt("u%d.%s@relay.example" % (i, "a" * 55))[0] == 452)
        assert taken >= 1000
        s.putcmd("data")
        assert s.getreply()[0] == 354
        s.send((GOOD % ("blind", "nothing")).encode() + b".\r\n")
        code, text = s.getreply()
    assert code == 250, text
    mailtools.Mail(suite).wait_for("<blind@test.example>", ALICE)


def test_who_is_refused_takes_no_room_in_the_question(fresh_suite):
    """A full mailbox is found after the room in the question: named often, under long names, it leaves the room to others."""
    suite, _sink = gateway(fresh_suite, "given-back", POLICIES, quota_full_action="reject", quota_messages="5000", smtpd_hard_error_limit="2000", smtpd_soft_error_limit="2000",
                           smtpd_recipient_limit="2000")
    suite.tool("postern-user", "quota", BOB, "1k")
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=60) as s:
        s.ehlo()
        s.mail("x@elsewhere.example", ["SIZE=50000"])
        for i in range(1300):
            code, text = s.rcpt("bob+%d.%s@example.com" % (i, "a" * 55))
            assert code == 552, text
        assert s.rcpt(CAROL)[0] == 250


def test_how_a_list_is_written_does_not_hide_its_members(fresh_suite):
    """The extension that a client writes goes along into each member's address, and may be long."""
    members = ", ".join(["u%d@relay.example" % i for i in range(600)] + ["frank@example.com"])
    suite, _sink = gateway(fresh_suite, "written", POLICIES, virtual_alias_maps="inline:{ { list@example.com = %s } }" % members, spam_action="tag")
    code, text = send(suite, "written", "highword", ["list+%s@example.com" % ("a" * 50)])
    assert code == 250, text
    suite.logged(r"%s: discard: END-OF-MESSAGE from .* to=<frank(\+a+)?@example\.com>" % text.split()[-1].decode())
    assert not has(mailtools.Mail(suite), FRANK, "<written@")


def test_a_content_filter_gets_for_each_what_he_wants(fresh_suite):
    """An alias with members of different minds: each is named to the content filter once, who discards the message is not; one outcome leaves the alias whole."""
    there = ("127.0.7.12", 10024)
    aliases = {"team": "alice@example.com, carol@example.com", "drop": "carol@example.com, frank@example.com", "like": "bob@example.com, frank@example.com"}
    suite, _sink = gateway(fresh_suite, "content", POLICIES,
                           virtual_alias_maps="inline:{ %s }" % ", ".join("{ %s@example.com = %s }" % a for a in aliases.items()),
                           smtpd_client_restrictions="check_client_access inline:{ { 127.0.0.1 = FILTER smtp:[%s]:%d } }" % there)
    content = smtpsink.Sink(*there)
    try:
        for mid, body, to, named in (("c1", "nothing", "like", ["like"]), ("c2", "highword", "team", ["alice", "carol"]), ("c3", "highword", "drop", ["carol"])):
            del content.messages[:]
            assert send(suite, mid, body, [to + "@example.com"])[0] == 250
            content.wait(len(named), 30)
            end = time.monotonic() + 30
            while b"x@elsewhere.example" in suite.tool("postern-queue", "list").stdout:
                assert time.monotonic() < end
                time.sleep(0.05)
            assert sorted(line for envelope, _text, _secure in content.messages for line in envelope[1:]) == ["RCPT TO:<%s@example.com>" % n for n in named]
    finally:
        content.close()


def test_policies_of_many_that_want_the_same(fresh_suite):
    to = ["u%d@relay.example" % i for i in range(1000)]
    levels = "".join("[p%d]\nrecipients = %s\nspam_kill_level = %d\n" % (i, a, i + 8) for i, a in enumerate(to))
    suite, sink = gateway(fresh_suite, "alike", levels, spam_tag_level="never")
    code, text = send(suite, "alike", "lowword", to)
    assert code == 250, text
    end = time.monotonic() + 60
    while (got := sorted(line for envelope, _text, _secure in list(sink.messages) for line in envelope[1:])) != sorted("RCPT TO:<%s>" % a for a in to):
        assert time.monotonic() < end, got
        time.sleep(0.05)
    assert {re.search(rb"^Received:.*?\sid ([^\s;]+)", text, re.S | re.M).group(1) for _envelope, text, _secure in sink.messages} == {text.split()[-1]}


@pytest.mark.parametrize("text, what", [
    ("recipients = a@b\n", r":1: a setting before the first \[NAME\]"), ("[a]\n[b]\nrecipients = x\n", r":2: the section \[a\] before it has no recipients"),
    ("[a]\nrecipients = x\ncolour = red\n", r':3: no setting is called "colour"'), ("[a]\nrecipients = x\nspam_action = eat\n", r':3: spam_action: no action is called "eat"'),
    ("[a]\nrecipients = x@y\n[b]\nrecipients = X@y\n", r"x@y is a recipient of two sections"), ("[a]\nrecipients = x\nbypass = all\n", r':3: bypass: no check is called "all"'),
    ("[a]\nrecipients = x\nspam_kill_level = much\n", r':3: spam_kill_level: the level: "much"'), ("[a\n", r":1: a section begins with \[NAME\]"),
    ("[a]\nrecipients = x\nspam_kill_level = 1\nspam_kill_level = 2\n", r":4: spam_kill_level: said twice"), ("[a]\n", r"the section \[a\] before it has no recipients")])
def test_a_mistake_is_told_and_the_old_policies_stay(suite, mail, text, what):
    policies = SCRATCH / "recipients.policies"
    policies.write_text(text)
    try:
        p = subprocess.run([suite.bin / "filterd", "-t", "-c", suite.conf], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert p.returncode != 0 and re.search(what, p.stdout.decode()), p.stdout
    finally:
        policies.write_text(POLICIES)


def test_a_reload_reads_the_policies_and_keeps_the_old_ones_at_a_mistake(fresh_suite):
    name = "policies-reload"
    suite = make(fresh_suite, name, "[all]\nrecipients = @example.com\nspam_kill_level = 1\n", filter_milter_listeners="", **{"listener.store": "2426/lmtp"})
    policies = SCRATCH / (name + ".policies")
    assert send(suite, "before", "highword", [BOB])[0] == 550
    reload(suite, policies, "[all]\nrecipients = @example.com\nspam_kill_level = never\n", "reload: the new configuration is in force")
    assert send(suite, "after", "highword", [BOB])[0] == 250
    reload(suite, policies, "[all]\nrecipients = @example.com\nspam_kill_level = 1\nspam_action = eat\n", "the old configuration stays")
    assert re.search(re.escape(str(policies)) + r':4: spam_action: no action is called "eat"', suite.log.read_text()), suite.trouble()
    assert send(suite, "still", "highword", [BOB])[0] == 250
    reload(suite, policies, "[all]\nrecipients = @example.com\nspam_kill_level = 1\n", "reload: the new configuration is in force", 2)
    assert send(suite, "again", "highword", [BOB])[0] == 550
