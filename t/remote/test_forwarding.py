"""Mail that is forwarded to other servers: whose name its envelope has (sender rewriting, lib/smtp/srs.h)."""
import pathlib
import re
import smtplib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from remotescene import Scene, mx  # noqa: E402


@pytest.fixture(scope="module")
def scene():
    s = Scene(smtp_connection_cache_on_demand="no", srs_domain="example.com", relay_domains="backup.example", mynetworks="127.0.9.200/32")
    s.suite.user_add("alice@example.com", "alice-secret")
    etc = s.suite.base / "etc"
    (etc / "virtual").write_text("carol@example.com carol@far.example\nlist@example.com alice@example.com, x@far.example, y@far.example\nself@example.com alice@example.com\n")
    s.suite.configure()
    mx(s, "far.example", (10, 40))
    mx(s, "backup.example", (10, 41))
    s.sink(40), s.sink(41)
    yield s.start()
    s.close()


def senders(sink):
    return [m[0][0].split("FROM:")[1].split()[0] for m in sink.messages]


def test_a_strangers_forwarded_mail_leaves_under_our_domain(scene):
    sink = scene.sink(40)
    scene.log(scene.send("carol@example.com", sender="joe@stranger.example"), r"to=<carol@far\.example>, orig_to=<carol@example\.com>, .*status=sent")
    assert re.fullmatch(r"<SRS0=[A-Z2-7]{8}=[A-Z2-7]{2}=stranger\.example=joe@example\.com>", senders(sink)[-1])
    scene.log(scene.send("list@example.com", sender="joe@stranger.example"), r"to=<y@far\.example>.*status=sent")
    assert senders(sink)[-1].startswith("<SRS0=") and len(sink.messages[-1][0]) == 3, "one delivery for both"


@pytest.mark.parametrize("to, sender, n, want", [
    ("carol@example.com", "", 40, "<>"),
    ("carol@example.com", "boss@example.com", 40, "<boss@example.com>"),
    ("u@backup.example", "joe@stranger.example", 41, "<joe@stranger.example>"),
])
def test_what_is_not_rewritten(scene, to, sender, n, want):
    scene.log(scene.send(to, sender=sender), "status=sent")
    assert senders(scene.sink(n))[-1] == want


def test_a_bounce_finds_its_way_back(scene):
    sink = scene.sink(40)
    mx(scene, "stranger.example", (10, 42))
    home = scene.sink(42)
    scene.log(scene.send("carol@example.com", sender="joe@stranger.example"), "status=sent")
    rewritten = senders(sink)[-1][1:-1]
    scene.log(scene.send(rewritten.lower(), sender=""), r"to=<joe@stranger\.example>, .*status=sent")
    assert home.wait()[0][1] == "RCPT TO:<joe@stranger.example>"
    why = scene.suite.tool("postern", "why", rewritten).stdout.decode()
    assert "joe@stranger.example" in why


def test_only_the_null_sender_writes_to_a_rewritten_one(scene):
    scene.log(scene.send("carol@example.com", sender="joe@stranger.example"), "status=sent")
    rewritten = senders(scene.sink(40))[-1][1:-1]
    with smtplib.SMTP(scene.host, 25, timeout=30) as s:
        s.ehlo("t.example")
        for to in (rewritten, f'"{rewritten.split("@")[0]}"@example.com'):
            s.mail("spammer@attacker.example")
            code, text = s.rcpt(to)
            assert code == 550 and text.startswith(b"5.7.1 ") and b"only bounces" in text
            s.rset()
        s.mail("")
        assert s.rcpt(rewritten)[0] == 250


def test_a_second_forwarding_is_no_first_one(scene):
    scene.log(scene.send("carol@example.com", sender="joe@stranger.example"), "status=sent")
    stamp = senders(scene.sink(40))[-1].split("=")[2]
    scene.log(scene.send("carol@example.com", sender=f"SRS1=x={stamp}=victim.example=user@attacker.example"), "status=sent")
    signed = senders(scene.sink(40))[-1][1:-1]
    assert signed.startswith("SRS1=") and signed.endswith(f"={stamp}=victim.example=user@example.com")
    with smtplib.SMTP(scene.host, 25, timeout=30) as s:
        s.ehlo("t.example")
        s.mail("")
        assert s.rcpt(signed.replace("SRS1=", "SRS0=", 1))[0] == 550


def test_nobody_relays_through_a_forged_one(scene):
    with smtplib.SMTP(scene.host, 25, timeout=30) as s:
        s.ehlo("t.example")
        s.mail("")
        for forged in ("SRS0=AAAAAAAA=AA=victim.example=joe@example.com", "SRS1=AAAAAAAA=victim.example==AAAAAAAA=AA=a.example=joe@example.com", "SRS0=@example.com"):
            assert s.rcpt(forged)[0] == 550


def test_the_key_is_roots_and_stays(scene):
    key = scene.suite.state / "srs.key"
    before = key.read_bytes()
    assert len(before) == 32 and key.stat().st_mode & 0o777 == 0o600 and key.stat().st_uid == 0
    scene.suite.stop()
    scene.suite.start()
    assert key.read_bytes() == before
