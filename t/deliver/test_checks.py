"""header_checks and body_checks: what each result does to a message, and what a mistake in the table does."""
import os
import pathlib
import re
import sys
import threading
import time
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mailtools  # noqa: E402
import smtpsink  # noqa: E402
import suite as suite_module  # noqa: E402
from trace import Trace  # noqa: E402

HEADER = r"""/^Subject: .*casino/ REJECT no gambling
/^Subject: .*later/ 450 4.7.9 come back
/^X-Secret:/ IGNORE
/^X-Old: (.*)$/ REPLACE X-Old: new $1
/^X-Rename: (.*)$/ REPLACE X-Renamed: $1
/^X-Mark:/ PREPEND X-Marked: yes
/^X-Hold:/ HOLD for a look
/^X-Away:/ REDIRECT alice@example.com
/^X-Copy:/ BCC alice@example.com
/^X-Drop:/ DISCARD
/^X-Filter:/ FILTER smtp:[127.0.7.2]:10024
/^X-Warn:/ WARN odd field
/^X-Broken:/ REPLACE nothing
/^X-Strange:/ EXPLODE
/^X-Long:.*end$/ REJECT a long one
/^X-Temporary:/ REJECT 4.7.8 not today
/^X-Known:/ PASS one of ours
/^X-Strip:/ STRIP for good
"""


MIME = r"""/name="?evil\.exe/ REJECT no programs
/^X-Mime-Top:/ REJECT not a MIME field of the message: never asked
/^Content-Description: held/ HOLD for its part
/^Content-Description: hidden/ IGNORE
/^Content-Language:/ REPLACE Content-Language: tlh
"""
NESTED = "/^Subject: .*inner/ REJECT not even inside\n/^X-Nested:/ WARN seen inside\n/^Content-Type:/ REJECT no MIME field is asked for here\n"


@pytest.fixture(scope="module")
def scene():
    base = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "checks"
    etc = base / "etc"
    etc.mkdir(parents=True)
    (etc / "header").write_text(HEADER)
    (etc / "mime").write_text(MIME)
    (etc / "nested").write_text(NESTED)
    (etc / "body").write_text("/^buy now/ REJECT 5.7.8 no trade\n/^change me/ REPLACE it\n/deep inside/ WARN found\n/no end of it$/ REJECT too far\n")
    s = suite_module.Suite(base, build=os.environ.get("POSTERN_BUILD", "dev"), hosts=("127.0.7.1",), real_ports=True,
                           settings={"filter_enable": "no", "hopcount_limit": "5", "listener.store": "24/lmtp", "relay_domains": "relay.test",
                                     "smtpd_end_of_data_restrictions": "check_sender_access inline:{late@b.test=REJECT}", "header_checks": "pcre:%s/header" % etc, "body_checks": "pcre:%s/body" % etc, "body_checks_size_limit": "4096", "message_size_limit": "30000000", "mime_header_checks": "pcre:%s/mime" % etc, "nested_header_checks": "pcre:%s/nested" % etc})
    s.make()
    for u in ("alice@example.com", "bob@example.com"):
        s.user_add(u, "x-secret")
    s.start()
    yield s
    s.stop()


def send(suite, header="", body="hello", sender="a@b.test"):
    mid = "<%s@t>" % uuid.uuid4().hex
    with mailtools.Wire(suite.hosts[0], suite.port("SMTP"), timeout=30) as w:
        w.smtp()
        w.smtp("EHLO c.test")
        assert w.smtp("MAIL FROM:<%s>" % sender)[0] == 250
        assert w.smtp("RCPT TO:<bob@example.com>")[0] == 250
        assert w.smtp("DATA")[0] == 354
        w.send("Message-ID: %s\r\nFrom: a@b.test\r\n%s\r\n%s\r\n.\r\n" % (mid, header, body))
        code, text = w.smtp()
        return mid, code, text[0]


def read(suite, mid, user="bob@example.com"):
    return mailtools.Mail(suite).wait_for(mid, user).read_text()


def multipart(*parts, boundary="b"):
    """(header, body) of a message with these parts."""
    text = "".join("--%s\r\n%s\r\n\r\npart\r\n" % (boundary, p) for p in parts)
    return "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=%s\r\n" % boundary, text + "--%s--" % boundary


def message_inside(head):
    return "Content-Type: message/rfc822\r\n\r\n" + head


PARTS = [
    ("an attachment's name", multipart("Content-Type: text/plain", 'Content-Type: application/x; name="evil.exe"'), 550, "5.7.1 no programs"),
    ("a folded field", multipart("Content-Disposition: attachment;\r\n\tfilename=x; name=evil.exe"), 550, "5.7.1 no programs"),
    ("deep inside", multipart("Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: a/b; name=evil.exe\r\n\r\nx\r\n--c--"), 550, "5.7.1 no programs"),
    ("in a message inside", multipart(message_inside("Subject: outer\r\nContent-Type: a/b; name=evil.exe")), 550, "5.7.1 no programs"),
    ("a message's field inside", multipart(message_inside("Subject: the inner one")), 550, "5.7.1 not even inside"),
    ("the same field outside", ("Subject: the inner one\r\n" + multipart("Content-Type: a/b")[0], multipart("Content-Type: a/b")[1]), 250, None),
    ("a message that is one itself", ("MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n", "Subject: the inner one\r\n\r\nx"), 550, "5.7.1 not even inside"),
    ("the words in a part's body", multipart("Content-Type: text/plain\r\n\r\nContent-Type: a/b; name=evil.exe"), 250, None),
    ("the words in a body without parts", ("Content-Type: text/plain\r\n", "Content-Type: a/b; name=evil.exe"), 250, None),
    ("a MIME field of the message itself", ("Content-Type: a/b; name=evil.exe\r\n", "x"), 550, "5.7.1 no programs"),
    ("another field of it is header_checks' business", ("X-Mime-Top: 1\r\n", "x"), 250, None),
    ("behind much else in a field", multipart("Content-Type: a/b; x=%s;\r\n name=evil.exe" % ("x" * 60000)), 550, "5.7.1 no programs"),
    ("a field longer than any that is looked at", multipart("Content-Type: a/b; x=%s;\r\n name=evil.exe" % ("x" * 110000)), 554, "5.6.0 Error: too many parts, or fields in them, to be checked"),
    ("more parts than can be looked at", multipart(*["Content-Type: a/b"] * 10100), 554, "5.6.0 Error: too many parts, or fields in them, to be checked"),
]


@pytest.mark.parametrize("name,message,code,text", PARTS, ids=[p[0] for p in PARTS])
def test_fields_of_parts(scene, name, message, code, text):
    mid, got, said = send(scene, *message)
    assert (got, text is None or said == text) == (code, True), said
    if code == 250:
        read(scene, mid)


LONG = ("a" * 70 + "\r\n") * 300000	# 21.3 MB as it is stored


@pytest.mark.parametrize("before, code", [(True, 550), (False, 250)])
def test_only_the_start_of_a_long_message_is_looked_at(scene, before, code):
    parts = ["Content-Type: a/b; name=evil.exe", "Content-Type: text/plain\r\n\r\n" + LONG]
    assert send(scene, *multipart(*(parts if before else parts[::-1])))[1] == code
    log_has(scene, r"of 21\d{6} bytes, mime_header_checks and nested_header_checks see the first 20971520")


def test_others_are_answered_while_parts_are_looked_at(scene, tmp_path):
    """resolve reads the message, and looks at its fields, in pieces. Somebody asks it for a recipient all the time, and is answered in between.
    Each of its pieces takes a while, in which that question gets to it however busy the machine is. The recipient is elsewhere: queued remembers
    for a moment what resolve said of a mailbox here."""
    fields = "".join("X-%d: %s\r\n" % (i, "a" * 60) for i in range(19000))
    head, body = multipart(fields + "Content-Type: text/plain\r\n\r\n" + "a" * 70 + ("\r\n" + "a" * 70) * 190000)
    (pid,) = [p[0] for p in scene.processes() if p[3] == "resolve"]
    stop, codes = threading.Event(), []

    def ask():
        with mailtools.Wire(scene.hosts[0], scene.port("SMTP"), timeout=60) as w:
            w.smtp()
            w.smtp("EHLO c.test")
            w.smtp("MAIL FROM:<a@b.test>")
            while not stop.is_set():
                codes.append(w.smtp("RCPT TO:<bob@relay.test>")[0])
                if codes[-1] != 250:
                    w.smtp("RSET")
                    w.smtp("MAIL FROM:<a@b.test>")
    asking = threading.Thread(target=ask)
    with Trace(tmp_path, {pid: "resolve"}, "pread64,sendmsg", delayed="pread64", delay_ms=50) as t:
        asking.start()
        try:
            assert send(scene, head, body)[1] == 250
        finally:
            stop.set()
            asking.join()
    assert 250 in codes
    calls = t.ended()
    pieces = [i for i, (call, n) in enumerate(calls) if call == "pread64" and n >= 1 << 19]
    assert len(pieces) >= 14
    between = [sum(c == "sendmsg" for c, _ in calls[a:b]) for a, b in zip(pieces, pieces[1:])]
    assert sum(between) > 0, "answers between its pieces"


def test_what_a_part_makes_of_the_message(scene):
    mid, code, said = send(scene, *multipart("Content-Description: held\r\nContent-Description: held"))
    assert code == 250
    assert said.split()[-1] in scene.tool("postern-queue", "list").stdout.decode()
    log_has(scene, r": hold: header Content-Description: held from ")


def test_the_message_s_own_field_is_changed_and_a_part_s_is_not(scene):
    head, body = multipart("Content-Language: en", message_inside("X-Nested: 1"))
    mid, code, _ = send(scene, "Content-Language: en\r\n" + head, body)
    assert code == 250
    text = read(scene, mid)
    assert text.count("Content-Language: tlh") == 1 and text.count("Content-Language: en") == 1
    assert text.index("Content-Language: tlh") < text.index("Content-Language: en")
    log_has(scene, r"warning: header Content-Language: en from .*: the header of a part is never changed")
    log_has(scene, r"warning: header X-Nested: 1 from .*: seen inside")


def test_header_checks_hold_inside_unless_others_are_set():
    """The defaults of mime_header_checks and nested_header_checks."""
    base = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "checks-default"
    (base / "etc").mkdir(parents=True)
    (base / "etc" / "header").write_text("/evil\\.exe/ REJECT no programs\n/^Subject: .*inner/ REJECT not even inside\n")
    s = suite_module.Suite(base, build=os.environ.get("POSTERN_BUILD", "dev"), hosts=("127.0.7.3",), real_ports=True,
                           settings={"filter_enable": "no", "header_checks": "pcre:%s/etc/header" % base})
    s.make()
    s.user_add("bob@example.com", "x-secret")
    s.start()
    try:
        assert send(s, *multipart("Content-Type: a/b; name=evil.exe"))[1] == 550
        assert send(s, *multipart(message_inside("Subject: inner")))[1] == 550
        assert send(s, *multipart("Content-Type: a/b"))[1] == 250
    finally:
        s.stop()


def test_a_field_sends_the_message_to_a_filter(scene):
    content_filter = smtpsink.Sink("127.0.7.2", 10024)
    try:
        mid, code, _ = send(scene, "X-Filter: yes\r\n")
        assert code == 250
        envelope, data, _secure = content_filter.wait(timeout=30)
        assert mid.encode() in data and "RCPT TO:<bob@example.com>" in envelope[1]
    finally:
        content_filter.close()


def log_has(suite, pattern):
    end = time.monotonic() + 30
    while not re.search(pattern, suite.log.read_text(errors="replace"), re.M):
        assert time.monotonic() < end, pattern + "\n" + suite.trouble()
        time.sleep(0.05)


@pytest.mark.parametrize("header, body, code, text", [
    ("Subject: best CASINO\r\n", "x", 550, "5.7.1 no gambling"),
    ("Subject: later\r\n", "x", 450, "4.7.9 come back"),
    ("X-Long: a\r\n b\r\n end\r\n", "x", 550, "5.7.1 a long one"),
    ("X-Long: %s\r\n %s\r\n end\r\n" % ("a" * 3000, "b" * 60000), "x", 550, "5.7.1 a long one"),
    ("X-Any: %s\r\n" % ("a" * 110000), "x", 554, "5.6.0 Error: a header field is too long to be checked"),
    ("X-Temporary: 1\r\n", "x", 451, "4.7.8 not today"),
    ("X-Known: 1\r\nSubject: casino\r\n", "x\r\nbuy now\r\n", 250, None),
    ("", "y" * 3000 + "no end of it", 550, "5.7.1 too far"),
    ("X-Broken: 1\r\n", "x", 451, "4.3.5 Server configuration error"),
    ("X-Strange: 1\r\n", "x", 451, "4.3.5 Server configuration error"),
    ("", "hello\r\nbuy now\r\n", 550, "5.7.8 no trade"),
    ("", "change me", 451, "4.3.5 Server configuration error"),
    ("Subject: casino".replace("casino", "fine") + "\r\n", "Subject: casino", 250, None),
    ("", "y" * 70 + "\r\n" + ("z" * 70 + "\r\n") * 60 + "buy now", 250, None),
], ids=["reject", "code", "folded", "long", "too long", "temporary", "passed", "a long line", "broken replace", "no action", "body", "body cannot change", "header patterns are for headers", "beyond the size limit"])
def test_refused_or_not(scene, header, body, code, text):
    _mid, got, said = send(scene, header, body)
    assert got == code and (text is None or said == text), said


def test_a_refusal_has_one_line(scene):
    """That of the table, as pflogsumm counts it: no second one for the answer."""
    word = uuid.uuid4().hex
    assert send(scene, "Subject: casino %s\r\n" % word)[1] == 550
    line = r"/cleanup\[\d+\]: (\w+): reject: header Subject: casino %s from \S+; from=<a@b\.test> proto=ESMTP helo=<c\.test>: no gambling$" % word
    log_has(scene, line)
    assert send(scene)[1] == 250        # its lines come after what is looked for
    text = scene.log.read_text()
    qid = re.search(line, text, re.M).group(1)
    assert len(re.findall(r"%s: \S*reject: " % qid, text)) == 1


def test_our_own_refusals_are_no_milters(scene):
    word = uuid.uuid4().hex
    assert send(scene, "X-Word: %s\r\n" % word + "Received: from x by y; Sat, 28 Nov 2026 12:00:00 +0000\r\n" * 6)[1] == 554
    log_has(scene, r"/smtpd\[\d+\]: \w+: reject: END-OF-MESSAGE from \S+: 554 5\.4\.6 .*[Hh]ops.*; from=<a@b\.test> to=<bob@example\.com> proto=ESMTP")
    assert send(scene, sender="late@b.test")[1] == 554
    log_has(scene, r"/smtpd\[\d+\]: \w+: reject: END-OF-MESSAGE from \S+: 554 5\.7\.1 .*; from=<late@b\.test> to=<bob@example\.com> proto=ESMTP")
    assert not re.search(r"milter-reject: END-OF-MESSAGE", scene.log.read_text())


def test_a_refusal_by_lmtp_has_one_line_too(scene):
    word = uuid.uuid4().hex
    with mailtools.Wire(scene.hosts[0], 24, timeout=30) as w:
        w.smtp()
        w.smtp("LHLO c.test")
        assert w.smtp("MAIL FROM:<a@b.test>")[0] == 250 and w.smtp("RCPT TO:<bob@example.com>")[0] == 250 and w.smtp("DATA")[0] == 354
        w.send("From: a@b.test\r\nSubject: casino %s\r\n\r\nx\r\n.\r\n" % word)
        assert w.smtp()[0] == 550
    line = r"/cleanup\[\d+\]: (\w+): reject: header Subject: casino %s from " % word
    log_has(scene, line)
    assert send(scene)[1] == 250        # its lines come after what is looked for
    text = scene.log.read_text()
    assert len(re.findall(r"%s: \S*reject: " % re.search(line, text, re.M).group(1), text)) == 1


def test_what_changes_the_header(scene):
    mid, code, _ = send(scene, "X-Secret: 1\r\nX-Old: a\r\nX-Old: b\r\nX-Rename: me\r\nX-Mark: 1\r\nX-Keep: yes\r\nx-secret: 2\r\n")
    assert code == 250
    head = read(scene, mid).split("\n\n")[0]
    assert "Secret" not in head and "secret" not in head
    assert "X-Old: new a\n" in head and "X-Old: new b\n" in head and "X-Old: a" not in head
    assert "X-Renamed: me" in head and "X-Rename:" not in head
    assert "X-Keep: yes" in head
    # in their own places
    names = [line.split(":")[0] for line in head.split("\n") if not line.startswith((" ", "\t"))]
    assert names[-7:] == ["From", "X-Old", "X-Old", "X-Renamed", "X-Marked", "X-Mark", "X-Keep"]


def test_what_was_done_is_logged_as_log_parsers_know_it(scene):
    word = uuid.uuid4().hex
    mid, code, _ = send(scene, "".join("X-%s: %s\r\n" % (n, word) for n in ("Strip", "Old", "Mark", "Copy", "Warn", "Known")))
    assert code == 250 and "X-Strip" not in read(scene, mid)
    for what, name, text in (("strip", "Strip", "for good"), ("replace", "Old", "X-Old: new " + word), ("prepend", "Mark", "X-Marked: yes"), ("bcc", "Copy", "alice@example.com"),
                             ("warning", "Warn", "odd field"), ("pass", "Known", "one of ours")):
        log_has(scene, r"cleanup\[\d+\]: \w+: %s: header X-%s: %s from \S+; from=<a@b\.test> proto=ESMTP helo=<c\.test>: %s$" % (what, name, word, re.escape(text)))


def test_what_moves_the_message(scene):
    away, code, _ = send(scene, "X-Away: 1\r\n")
    assert code == 250 and read(scene, away, "alice@example.com")
    copy, code, _ = send(scene, "X-Copy: 1\r\n")
    assert code == 250 and read(scene, copy, "alice@example.com") and read(scene, copy)
    dropped, code, _ = send(scene, "X-Drop: 1\r\n")
    held, code2, text = send(scene, "X-Hold: 1\r\n")
    assert code == code2 == 250
    assert text.split()[-1] in scene.tool("postern-queue", "list").stdout.decode()
    log_has(scene, r"discard: END-OF-MESSAGE from ")
    log_has(scene, r"hold: header X-Hold: 1 from \S+; from=<a@b\.test> proto=ESMTP helo=<c\.test>: for a look")
    seen = b"".join(f.read_bytes() for d in ("new", "cur") for f in (scene.maildir("bob@example.com") / d).glob("*"))
    assert dropped.encode() not in seen and held.encode() not in seen and away.encode() not in seen


def test_warnings_are_logged(scene):
    _mid, code, _ = send(scene, "X-Warn: \x07bell\r\n", "what is deep inside here")
    assert code == 250
    log_has(scene, r"warning: header X-Warn: \?bell from .*: odd field")
    log_has(scene, r"warning: body what is deep inside here from .*: found")


def test_a_pattern_file_that_vanishes_is_temporary(scene):
    path = scene.base / "etc" / "body"
    path.rename(str(path) + ".away")
    try:
        _mid, code, text = send(scene)
        assert code == 451 and "content checks not available" in text
    finally:
        pathlib.Path(str(path) + ".away").rename(path)
    assert send(scene)[1] == 250
