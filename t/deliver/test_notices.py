"""What senders and postmaster are told: RFC 3461, 3464, notify_classes, lifetimes."""
import email
import email.policy
import os
import pathlib
import re
import smtplib
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import suite as suite_module  # noqa: E402
from smtpsink import Sink  # noqa: E402
from test_queue import put_forward  # noqa: E402
from waiting import until  # noqa: E402

ALICE, BOB = "alice@example.com", "bob@example.com"


class Scene:
    def __init__(self, host, **settings):
        self.sink = Sink(host.replace("127.0.9.", "127.0.61."), 25)
        self.suite = suite_module.Suite(pathlib.Path(os.environ["POSTERN_SCRATCH"]) / ("notices" + host), build=os.environ.get("POSTERN_BUILD", "dev"), hosts=(host,),
                                        real_ports=True, settings={
            "mynetworks": "127.0.0.0/8", "filter_enable": "no", "minimal_backoff_time": "1s", "maximal_backoff_time": "1s", "relayhost": "[%s]:25" % self.sink.server_address[0],
            **settings})
        self.suite.make()
        for u in (ALICE, BOB):
            self.suite.user_add(u, "secret")
        self.suite.start()
        self.host = host

    def send(self, *to, sender=ALICE, options=(), rcpt_options=(), body="Subject: the subject\r\n\r\nthe body\r\n"):
        with smtplib.SMTP(self.host, 25, timeout=30) as s:
            s.ehlo("t.example")
            assert s.mail(sender, options)[0] == 250
            for r in to:
                assert s.rcpt(r, rcpt_options)[0] == 250
            code, text = s.data(body)
            assert code == 250
            return re.search(rb"queued as (\w+)", text).group(1).decode()

    def files(self, user):
        new = self.suite.maildir(user) / "new"
        return sorted(new.iterdir(), key=lambda f: f.stat().st_mtime) if new.is_dir() else []

    def report(self, user, qid, timeout=30, copy=False):
        """The report about qid (or postmaster's copy) in user's mailbox: (message, text part, status part as a list of header blocks, third part)."""
        end = time.monotonic() + timeout
        while True:
            for f in self.files(user):
                data = f.read_bytes()
                if b"-Queue-ID: " + qid.encode() in data and (b"\nSubject: Postmaster" in data) == copy:
                    m = email.message_from_bytes(data)
                    text, status, original = m.get_payload()
                    return m, text.get_payload(), [dict(b.items()) for b in status.get_payload()], original
            assert time.monotonic() < end, self.suite.log.read_text(errors="replace")[-4000:]
            time.sleep(0.02)

    def log(self, pattern, timeout=30):
        end = time.monotonic() + timeout
        while not re.search(pattern, self.suite.log.read_text(errors="replace"), re.M):
            assert time.monotonic() < end, pattern + "\n" + self.suite.log.read_text(errors="replace")[-4000:]
            time.sleep(0.02)

    def gone(self, qid):
        self.log(r"%s: removed$" % qid)

    def close(self):
        self.suite.stop()
        self.sink.close()


@pytest.fixture(scope="module")
def scene():
    s = Scene("127.0.9.101", notify_classes="2bounce", **{"2bounce_notice_recipient": BOB}, bounce_size_limit="2000", smtp_connection_cache_on_demand="no")
    s.sink.refuse["<bad@x.example>"] = "550 5.1.1 no such user here"
    s.sink.refuse["<full@x.example>"] = "552 5.2.2 over quota"
    yield s
    s.close()


def test_a_failure_says_first_what_a_person_understands(scene):
    qid = scene.send("bad@x.example", "full@x.example", "good@x.example", options=["ENVID=abc"], rcpt_options=["ORCPT=rfc822;old+2Bname@y.example"])
    m, text, status, original = scene.report(ALICE, qid)
    assert m.get_content_type() == "multipart/report" and m.get_param("report-type") == "delivery-status" and m["Auto-Submitted"] == "auto-replied"
    assert text.index("<bad@x.example>: There is no such address there.") < text.index("550 5.1.1 no such user here")
    assert "<full@x.example>: The mailbox is full." in text and "good@x.example" not in text
    assert status[0]["Original-Envelope-Id"] == "abc" and status[0]["Reporting-MTA"] == "dns; mail.example.com" and "Arrival-Date" in status[0]
    assert [b["Final-Recipient"] for b in status[1:]] == ["rfc822; bad@x.example", "rfc822; full@x.example"]
    assert status[1]["Original-Recipient"] == "rfc822;old+name@y.example" and status[1]["Action"] == "failed" and status[1]["Status"] == "5.1.1"
    assert original.get_content_type() == "message/rfc822" and "the body" in original.as_string()
    scene.log(r"bounce\[\d+\]: %s: sender non-delivery notification: [A-Z0-9]+$" % qid)
    assert re.search(r"^Return-Path: <>$", scene.files(ALICE)[-1].read_text(), re.M)


@pytest.mark.parametrize("options, size", [(["RET=HDRS"], 10), (["RET=FULL"], 3000)])
def test_the_header_alone_where_it_was_asked_for_or_the_message_is_long(scene, options, size):
    qid = scene.send("bad@x.example", options=options, body="Subject: h\r\n\r\nthe body\r\n" + ("x" * 70 + "\r\n") * (size // 70))
    original = scene.report(ALICE, qid)[3]
    assert original.get_content_type() == "text/rfc822-headers" and "Subject: h" in original.as_string() and "the body" not in original.as_string()


def test_who_does_not_want_to_hear_of_failures_does_not(scene):
    before = len(scene.files(ALICE))
    for notify in ("NOTIFY=NEVER", "NOTIFY=SUCCESS,DELAY"):
        scene.gone(scene.send("bad@x.example", rcpt_options=[notify]))
    assert len(scene.files(ALICE)) == before


def test_success_is_told_where_it_was_asked_for(scene):
    qid = scene.send(BOB, rcpt_options=["NOTIFY=SUCCESS"])
    _, text, status, original = scene.report(ALICE, qid)
    assert status[1]["Action"] == "delivered" and status[1]["Status"].startswith("2.") and "<bob@example.com>: delivered" in text
    assert original.get_content_type() == "text/rfc822-headers"
    qid = scene.send("good@x.example", rcpt_options=["NOTIFY=SUCCESS,FAILURE"])
    _, text, status, _ = scene.report(ALICE, qid)
    assert status[1]["Action"] == "relayed" and status[1]["Remote-MTA"].startswith("dns; ")
    scene.log(r"bounce\[\d+\]: %s: sender delivery status notification: [A-Z0-9]+$" % qid)
    scene.sink.features.append("DSN")
    before = len(scene.files(ALICE))
    scene.gone(scene.send("good2@x.example", rcpt_options=["NOTIFY=SUCCESS"]))
    scene.sink.features.remove("DSN")
    assert "NOTIFY=SUCCESS" in scene.sink.messages[-1][0][1] and len(scene.files(ALICE)) == before, "that server will tell"


CARL, OWNER, TEAM, PAIR, ROUND = "carl@example.com", "owner-team@example.com", "team@localhost", "pair@localhost", "round@localhost"


@pytest.fixture(scope="module")
def lists(scene):
    """A user who has his mail sent on; a list with an owner, two addresses without one, a list in a file; a server that takes wishes for notifications."""
    suite = scene.suite
    for u in (CARL, OWNER):
        suite.user_add(u, "secret")
    put_forward(suite, CARL, "bad@x.example\n")
    etc = suite.base / "etc"
    members = etc / "members"
    members.write_text("bad@x.example\ngood@x.example\n")
    (etc / "aliases").write_text("team: %s, bad@x.example\nowner-team: %s\npair: %s, good@x.example\nround: :include:%s\n" % (BOB, BOB, BOB, members))
    suite.tool("postalias", "cdb:%s" % (etc / "aliases"))
    scene.sink.features.append("DSN")
    yield scene
    scene.sink.features.remove("DSN")


def forwarded(scene, qid):
    """The copy that qid's mail was sent on as, once that is done with."""
    copy = scene.suite.logged(r"%s: to=.*\(forwarded as (\w+)\)" % qid).group(1)
    scene.gone(copy)
    return copy


@pytest.mark.parametrize("to", [CARL, ROUND])
def test_who_wants_to_hear_nothing_hears_nothing_of_a_forwarded_copy(lists, to):
    before = len(lists.files(ALICE))
    copy = forwarded(lists, lists.send(to, rcpt_options=["NOTIFY=NEVER"]))
    assert re.search(r"%s: to=<bad@x\.example>.*status=bounced" % copy, lists.suite.log.read_text()) and len(lists.files(ALICE)) == before
    if to == ROUND:
        assert "RCPT TO:<good@x.example> NOTIFY=NEVER ORCPT=rfc822;round@localhost" in lists.sink.messages[-1][0]


@pytest.mark.parametrize("to, options, name", [(CARL, ["ORCPT=rfc822;old@y.example"], "rfc822;old@y.example"), (CARL, [], "rfc822;carl@example.com"),
                                               (ROUND, [], "rfc822;round@localhost")])
def test_reports_of_a_forwarded_copy_name_who_the_mail_was_for(lists, to, options, name):
    copy = forwarded(lists, lists.send(to, options=["RET=HDRS", "ENVID=E1"], rcpt_options=options))
    _, _, status, original = lists.report(ALICE, copy)
    assert status[0]["Original-Envelope-Id"] == "E1" and original.get_content_type() == "text/rfc822-headers"
    assert status[1]["Original-Recipient"] == name and status[1]["Final-Recipient"] == "rfc822; bad@x.example" and len(status) == 2


def test_of_several_that_an_address_stands_for_success_is_told_once(lists):
    """RFC 3461 5.2.7: nobody who writes to an address learns so who is behind it."""
    qid = lists.send(PAIR, rcpt_options=["NOTIFY=SUCCESS,FAILURE"])
    _, text, status, _ = lists.report(ALICE, qid)
    assert [(s["Final-Recipient"], s["Action"]) for s in status[1:]] == [("rfc822; pair@localhost", "expanded")] and BOB not in text
    lists.gone(qid)
    assert "RCPT TO:<good@x.example> NOTIFY=FAILURE" in lists.sink.messages[-1][0]


def test_a_list_has_its_mail_and_its_owner_hears_of_members(lists):
    qid = lists.send(TEAM, rcpt_options=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;old@y.example"])
    _, text, status, _ = lists.report(ALICE, qid)
    assert [(s["Final-Recipient"], s["Original-Recipient"], s["Action"]) for s in status[1:]] == [("rfc822; team@localhost", "rfc822;old@y.example", "delivered")]
    _, _, status, _ = lists.report(OWNER, qid)
    assert [(s["Final-Recipient"], s["Original-Recipient"], s["Action"]) for s in status[1:]] == [("rfc822; bad@x.example", "rfc822;team@localhost", "failed")]
    lists.gone(qid)
    assert len(lists.files(OWNER)) == 1


def test_nothing_answers_a_notification(scene):
    scene.sink.refuse["<gone@x.example>"] = "550 5.1.1 gone"
    qid = scene.send("bad@x.example", sender="gone@x.example")
    bounce = scene.suite.logged(r"%s: sender non-delivery notification: ([A-Z0-9]+)$" % qid).group(1)
    m, text, status, _ = scene.report(BOB, bounce, copy=True)       # not postmaster, which is an alias of alice's
    assert m["Subject"] == "Postmaster Copy: Undelivered Mail" and m["Auto-Submitted"] == "auto-generated"
    assert "Return-Path: <double-bounce@example.com>" in scene.files(BOB)[-1].read_text()
    scene.gone(bounce)


@pytest.fixture(scope="module")
def old():
    s = Scene("127.0.9.102", notify_classes="bounce, delay", delay_warning_time="1s", maximal_queue_lifetime="4s", bounce_queue_lifetime="1s")
    s.sink.refuse["RCPT"] = "450 4.2.1 mailbox busy"
    yield s
    s.close()


def test_a_delay_is_told_once_then_the_end(old):
    qid = old.send("slow@x.example")
    quiet = old.send("quiet@x.example", rcpt_options=["NOTIFY=FAILURE"])
    never = old.send("later@x.example", sender="")
    m, text, status, original = old.report(ALICE, qid)
    assert m["Subject"].startswith("Delayed Mail") and status[1]["Action"] == "delayed" and "Will-Retry-Until" in status[1] and status[1]["Status"] == "4.2.1"
    assert "WARNING ONLY" in text and original.get_content_type() == "text/rfc822-headers"
    old.log(r"%s: from=<alice@example\.com>, status=expired, returned to sender$" % qid, 20)
    old.gone(qid)
    old.gone(quiet)
    old.gone(never)
    for kind in ("delay", "non-delivery"):      # nothing waits for the postmaster's copies
        old.log(r"%s: postmaster %s notification" % (qid, kind))
    text = old.suite.log.read_text(errors="replace")
    assert len(re.findall(r"%s: sender delay notification" % qid, text)) == 1 and len(re.findall(r"%s: sender non-delivery notification" % qid, text)) == 1
    assert not re.search(r"%s: sender delay notification" % quiet, text) and re.search(r"%s: sender non-delivery notification" % quiet, text)
    assert not re.search(r"%s: sender" % never, text)


def test_what_the_recipient_was_called_first_is_passed_on_as_far_as_a_server_must_take_it():
    """ORCPT: in UTF-8 with SMTPUTF8 (RFC 6533 3); without it where it would be longer than the 500 bytes of RFC 3461 4.2, for which a server may refuse the recipient."""
    s = Scene("127.0.9.108", smtp_connection_cache_on_demand="no")
    s.sink.features += ["SMTPUTF8", "DSN"]
    long = "ORCPT=utf-8;" + "\u7528" * 150 + "@x.example"
    try:
        for n, (options, orcpt, passed) in enumerate([(["SMTPUTF8"], long, " " + long), ([], "ORCPT=rfc822;" + 160 * "+2B", " ORCPT=rfc822;" + 160 * "+2B"),
                                                      ([], "ORCPT=rfc822;" + 170 * "+2B", "")]):
            s.gone(s.send("good@x.example", options=options, rcpt_options=[orcpt]))
            assert s.sink.wait(n + 1)[0][1] == "RCPT TO:<good@x.example>" + passed
    finally:
        s.close()


def test_mail_beyond_ascii_is_reported_as_such():
    """RFC 6533: to a sender whose address needs SMTPUTF8 by SMTPUTF8, to another one without; what is named and returned in UTF-8 has the types for that."""
    s = Scene("127.0.9.107", smtp_connection_cache_on_demand="no")
    s.sink.features.append("SMTPUTF8")
    s.sink.refuse["<\u00f6@x.example>"] = "550 5.1.1 no such user here"
    body = "From: j\u00f6@b\u00fccher.example\r\nSubject: gr\u00fc\u00dfe\r\n\r\nthe body\r\n".encode()
    try:
        qid = s.send("\u00f6@x.example", sender="j\u00f6@b\u00fccher.example", options=["SMTPUTF8"], rcpt_options=["ORCPT=utf-8;old\\x{F6}@y.example"], body=body)
        envelope, data, _secure = s.sink.wait(1)
        assert envelope[0].startswith("MAIL FROM:<>") and envelope[0].endswith(" SMTPUTF8") and envelope[1] == "RCPT TO:<j\u00f6@b\u00fccher.example>", envelope
        assert ("\r\nTo: j\u00f6@b\u00fccher.example\r\n").encode() in data
        qid2 = s.send("\u00f6@x.example", options=["SMTPUTF8"], body=body)
        data2 = next(f.read_bytes() for f in until(lambda: [f for f in s.files(ALICE) if qid2.encode() in f.read_bytes()]))
        for q, raw in ((qid, data), (qid2, data2)):
            m = email.message_from_bytes(raw, policy=email.policy.default)
            assert m.get_param("report-type") == "global-delivery-status"
            _text, status, original = m.get_payload()
            assert (status.get_content_type(), original.get_content_type()) == ("message/global-delivery-status", "message/global")
            assert "\nFinal-Recipient: utf-8; \u00f6@x.example".encode() in raw.replace(b"\r\n", b"\n"), raw
        assert b"\r\nOriginal-Recipient: utf-8;old\\x{F6}@y.example\r\n" in data and "\nX-Postern-Sender: utf-8; j\u00f6@b".encode() in data.replace(b"\r\n", b"\n")
        assert "Subject: gr\u00fc\u00dfe".encode() in data
    finally:
        s.close()
