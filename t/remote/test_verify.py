"""reject_unverified_recipient, reject_unverified_sender: the next server is asked, the answer kept."""
import pathlib
import smtplib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from remotescene import Scene, mx  # noqa: E402


@pytest.fixture(scope="module")
def scene():
    s = Scene(relay_domains="inner.example", mynetworks="127.0.9.200/32", unverified_recipient_reject_code="550", address_verify_poll_count="3",
              address_verify_poll_delay="1s", smtp_connect_timeout="2s",
              smtpd_recipient_restrictions="reject_unverified_recipient, reject_unverified_sender")
    s.suite.user_add("alice@example.com", "alice-secret")
    mx(s, "inner.example", (10, 40))
    mx(s, "strangers.example", (10, 41))
    mx(s, "silent.example", (10, 42))
    s.inner, s.strangers = s.sink(40), s.sink(41)
    s.inner.refuse["<nobody@inner.example>"] = "550 5.1.1 no such user here"
    s.inner.refuse["<busy@inner.example>"] = "450 4.2.0 later"
    s.strangers.refuse["<forged@strangers.example>"] = "550 5.1.1 never heard of"
    yield s.start()
    s.close()


def rcpt(scene, to, sender="joe@strangers.example"):
    with smtplib.SMTP(scene.host, 25, timeout=30) as s:
        s.ehlo("t.example")
        assert s.mail(sender)[0] == 250
        return s.rcpt(to)


def test_a_good_recipient_is_asked_for_once(scene):
    assert rcpt(scene, "bob@inner.example")[0] == 250
    asked = [c for c in scene.inner.commands if c == "RCPT TO:<bob@inner.example>"]
    assert len(asked) == 1 and "MAIL FROM:<double-bounce@example.com>" in scene.inner.commands[scene.inner.commands.index(asked[0]) - 1]
    assert "DATA" not in scene.inner.commands and not scene.inner.messages
    assert rcpt(scene, "bob@inner.example")[0] == 250
    assert scene.inner.commands.count("RCPT TO:<bob@inner.example>") == 1


def test_a_bad_recipient_is_refused_with_the_servers_words(scene):
    code, text = rcpt(scene, "nobody@inner.example")
    assert code == 550 and b"undeliverable address" in text and b"no such user here" in text


@pytest.mark.parametrize("to", ["busy@inner.example"])
def test_what_is_not_known_is_to_be_tried_again(scene, to):
    code, text = rcpt(scene, to)
    assert code == 450 and b"unverified address" in text


def test_a_forged_sender_is_refused(scene):
    code, text = rcpt(scene, "alice@example.com", sender="forged@strangers.example")
    assert code == 450 and b"Sender address rejected: undeliverable address" in text and b"never heard of" in text
    assert rcpt(scene, "alice@example.com", sender="")[0] == 250, "the null sender is nobody to ask for"


def test_a_sender_whose_server_is_down_may_try_again(scene):
    code, text = rcpt(scene, "alice@example.com", sender="joe@silent.example")
    assert code == 450 and b"unverified address" in text


def test_our_own_are_known_without_a_question(scene):
    before = len(scene.strangers.commands)
    assert rcpt(scene, "alice@example.com")[0] == 250
    assert rcpt(scene, "nobody@example.com")[0] == 550
    assert len(scene.strangers.commands) == before


def test_answers_are_kept_over_a_restart(scene):
    scene.suite.stop()
    scene.suite.start()
    before = len(scene.inner.commands)
    assert rcpt(scene, "bob@inner.example")[0] == 250
    assert rcpt(scene, "nobody@inner.example")[0] == 550
    assert len(scene.inner.commands) == before
