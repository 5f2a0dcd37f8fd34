"""notify_classes resource, software, policy, protocol, data: error_notice_recipient is told, once for many."""
import email
import pathlib
import re
import smtplib
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from remotescene import Scene, mx  # noqa: E402


@pytest.fixture(scope="module")
def scene():
    s = Scene(notify_classes="resource, software, policy, protocol, data", error_notice_recipient="alice@example.com", mynetworks="127.0.9.250/32", relay_domains="odd.example")
    table = s.map("access", "nobody@nowhere OK\n")
    s.suite.settings["smtpd_recipient_restrictions"] = "check_recipient_access texthash:%s" % table
    s.suite.user_add("alice@example.com", "alice-secret")
    s.suite.configure()
    s.table = table
    mx(s, "odd.example", (10, 80))
    yield s.start()
    s.close()


def letters(scene, word, n=1, seconds=30):
    """Those about this class, once there are n."""
    end = time.monotonic() + seconds
    while True:
        box = scene.suite.maildir("alice@example.com") / "new"
        found = [m for m in (email.message_from_bytes(f.read_bytes()) for f in box.glob("*")) if m["Subject"].endswith("errors of class " + word)] if box.exists() else []
        if len(found) >= n:
            return found
        assert time.monotonic() < end, scene.suite.log.read_text(errors="replace")[-3000:]
        time.sleep(0.03)


def rcpt(scene, to):
    with smtplib.SMTP(scene.host, 25, timeout=30) as s:
        s.ehlo("t.example")
        code, text = s.mail("joe@stranger.example")
        return (code, text) if code != 250 else s.rcpt(to)


def test_policy(scene):
    assert rcpt(scene, "x@elsewhere.example")[0] == 554
    m, = letters(scene, "policy")
    assert m["From"].startswith("MAILER-DAEMON@") and m["Auto-Submitted"] == "auto-generated" and m["Return-Path"] == "<double-bounce@example.com>"
    assert "[127.0.0.1] " in m.get_payload() and "554 5.7.1 <x@elsewhere.example>: Relay access denied" in m.get_payload()
    for _ in range(3):
        assert rcpt(scene, "y@elsewhere.example")[0] == 554
    assert rcpt(scene, "nobody@example.com")[0] == 550, "a wrong address is no trouble"
    assert len(letters(scene, "policy")) == 1, "the others are told together, later"


def test_resource():
    s = Scene(queue_minfree="1099511627776", error_notice_recipient="alice@example.com", notify_classes="resource")
    s.suite.user_add("alice@example.com", "alice-secret")
    s.start()
    try:
        assert rcpt(s, "alice@example.com")[0] == 452
        assert "452 4.3.1" in letters(s, "resource")[0].get_payload()
    finally:
        s.close()


def test_protocol(scene):
    sink = scene.sink(80)
    sink.greeting = "hello, who is there"
    scene.send("a@odd.example")
    assert "mx80.odd.example[127.0.60.80] broke the SMTP protocol" in letters(scene, "protocol")[0].get_payload()


def test_data(scene):
    """Content that ends the connection: who sends it tries to smuggle a message past a filter."""
    with smtplib.SMTP(scene.host, 25, timeout=30) as s:
        s.ehlo("t.example")
        assert s.mail("joe@stranger.example")[0] == 250 and s.rcpt("alice@example.com")[0] == 250 and s.docmd("DATA")[0] == 354
        s.send(b"Subject: x\r\n\r\nx\n.\r\nMAIL FROM:<evil@stranger.example>\r\n.\r\n")
        assert s.getreply()[0] == 550
        s.close()
    text = letters(scene, "data")[0].get_payload()
    assert re.search(r"\[127\.0\.0\.1\] [A-Z0-9]+: Error: bare <LF> received", text), text


def test_software(scene):
    scene.table.unlink()
    code, text = rcpt(scene, "alice@example.com")
    assert code == 451
    assert "451 4.3." in letters(scene, "software")[0].get_payload()
