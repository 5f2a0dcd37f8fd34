"""header_checks and body_checks: what each result does to a message, and what a mistake in the table does."""
import os
import pathlib
import re
import sys
import time
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mailtools  # noqa: E402
import smtpsink  # noqa: E402
import suite as suite_module  # noqa: E402

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
"""


@pytest.fixture(scope="module")
def scene():
    base = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "checks"
    etc = base / "etc"
    etc.mkdir(parents=True)
    (etc / "header").write_text(HEADER)
    (etc / "body").write_text("/^buy now/ REJECT 5.7.8 no trade\n/^change me/ REPLACE it\n/deep inside/ WARN found\n")
    s = suite_module.Suite(base, build=os.environ.get("POSTERN_BUILD", "dev"), hosts=("127.0.7.1",), real_ports=True,
                           settings={"filter_enable": "no", "header_checks": "pcre:%s/header" % etc, "body_checks": "pcre:%s/body" % etc, "body_checks_size_limit": "4096"})
    s.make()
    for u in ("alice@example.com", "bob@example.com"):
        s.user_add(u, "x-secret")
    s.start()
    yield s
    s.stop()


def send(suite, header="", body="hello"):
    mid = "<%s@t>" % uuid.uuid4().hex
    with mailtools.Wire(suite.hosts[0], suite.port("SMTP"), timeout=30) as w:
        w.smtp()
        w.smtp("EHLO c.test")
        assert w.smtp("MAIL FROM:<a@b.test>")[0] == 250
        assert w.smtp("RCPT TO:<bob@example.com>")[0] == 250
        assert w.smtp("DATA")[0] == 354
        w.send("Message-ID: %s\r\nFrom: a@b.test\r\n%s\r\n%s\r\n.\r\n" % (mid, header, body))
        code, text = w.smtp()
        return mid, code, text[0]


def read(suite, mid, user="bob@example.com"):
    return mailtools.Mail(suite).wait_for(mid, user).read_text()


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
    ("X-Broken: 1\r\n", "x", 451, "4.3.5 Server configuration error"),
    ("X-Strange: 1\r\n", "x", 451, "4.3.5 Server configuration error"),
    ("", "hello\r\nbuy now\r\n", 550, "5.7.8 no trade"),
    ("", "change me", 451, "4.3.5 Server configuration error"),
    ("Subject: casino".replace("casino", "fine") + "\r\n", "Subject: casino", 250, None),
    ("", "y" * 70 + "\r\n" + ("z" * 70 + "\r\n") * 60 + "buy now", 250, None),
], ids=["reject", "code", "folded", "broken replace", "no action", "body", "body cannot change", "header patterns are for headers", "beyond the size limit"])
def test_refused_or_not(scene, header, body, code, text):
    _mid, got, said = send(scene, header, body)
    assert got == code and (text is None or said == text), said


def test_what_changes_the_header(scene):
    mid, code, _ = send(scene, "X-Secret: 1\r\nX-Old: a\r\nX-Old: b\r\nX-Rename: me\r\nX-Mark: 1\r\nX-Keep: yes\r\nx-secret: 2\r\n")
    assert code == 250
    head = read(scene, mid).split("\n\n")[0]
    assert "Secret" not in head and "secret" not in head
    assert "X-Old: new a\n" in head and "X-Old: new b\n" in head and "X-Old: a" not in head
    assert "X-Renamed: me" in head and "X-Rename:" not in head
    assert "X-Marked: yes" in head and "X-Mark: 1" in head and "X-Keep: yes" in head


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
