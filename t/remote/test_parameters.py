"""What further parameters of remote delivery do: the first scene with one value, the second with another or the default."""
import os
import pathlib
import smtplib
import sys
import time

import grp
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from remotescene import Scene, mx  # noqa: E402
from waiting import until  # noqa: E402

COMMON = dict(minimal_backoff_time="3600s", maximal_backoff_time="4000s", initial_destination_concurrency="2", default_destination_concurrency_positive_feedback="0",
              smtp_mta_sts="no")


def users(s):
    for u in ("alice@example.com", "bob@example.com"):
        s.suite.user_add(u, "x-secret")


@pytest.fixture(scope="module")
def one():
    s = Scene(default_destination_concurrency_negative_feedback="0", default_destination_concurrency_failed_cohort_limit="0", smtp_sasl_auth_enable="yes",
              smtp_sasl_mechanism_filter="LOGIN", smtp_sasl_security_options="noanonymous", smtp_connection_reuse_time_limit="1s", smtp_connection_cache_time_limit="300s",
              smtpd_sender_restrictions="check_sender_access inline:{forged@strangers.example=reject_unverified_sender}", address_verify_sender="asker@probe.example", unverified_sender_reject_code="551",
              address_verify_poll_count="10", **COMMON)
    passwords = s.map("passwords", "[login.example]:25 joe:word\n", 0o640)
    os.chown(passwords, 0, grp.getgrnam("_postern_map").gr_gid)
    s.suite.settings.update(smtp_sasl_password_maps="texthash:%s" % passwords, transport_maps="texthash:%s" % s.map("transport", "login.example smtp:[login.example]:25\n"))
    s.suite.configure()
    users(s)
    for i, n in enumerate(("narrow", "dead", "kept", "strangers", "later")):
        mx(s, n + ".example", (10, 140 + i))
    s.dns.add("login.example", "A", "127.0.60.149")
    yield s.start()
    s.close()


@pytest.fixture(scope="module")
def two():
    s = Scene(default_destination_concurrency_failed_cohort_limit="2", default_transport="smtp:[127.0.60.150]:25", notify_classes="delay", delay_warning_time="1s",
              delay_notice_recipient="bob@example.com", transport_maps="inline:{{narrow.example=smtp:[127.0.60.151]:25} {dead.example=smtp:[127.0.60.152]:25}}", **COMMON)
    users(s)
    yield s.start()
    s.close()


def answers_no_data(scene, sink):
    """How many messages are on their way at once when none of them gets further than DATA, after one connection failed."""
    sink.greeting = "421 4.3.2 not now"
    scene.log(scene.send("a@narrow.example"), "status=deferred")
    sink.greeting, sink.refuse["DATA"] = "220 sink.test ESMTP", None
    for _ in range(3):
        scene.send("a@narrow.example")
    return sink


def at_data(sink):
    return sink.commands.count("DATA")


def test_default_destination_concurrency_negative_feedback(one, two):
    wide, narrow = answers_no_data(one, one.sink(140)), answers_no_data(two, two.sink(151))     # 0; 1, which is the default
    until(lambda: at_data(wide) == 2)
    until(lambda: at_data(narrow) == 1)
    for scene, n, to in ((one, 144, "a@later.example"), (two, 150, "a@wherever.example")):
        scene.sink(n)
        scene.log(scene.send(to), "status=sent")	# what came before it has had its turn
    assert at_data(wide) == 2 and at_data(narrow) == 1


def test_default_destination_concurrency_failed_cohort_limit(one, two):
    """0: each message makes its own bad experience. 2: a destination that failed for two windows full is left alone."""
    for scene, n, want in ((one, 141, 8), (two, 152, 2)):
        sink = scene.sink(n)
        sink.greeting = "421 4.3.2 not now"
        for _ in range(8):
            scene.log(scene.send("a@dead.example"), "status=deferred")
        assert sink.connections == want if want == 8 else want <= sink.connections < 6, sink.connections


def test_smtp_sasl_mechanism_filter(one):
    sink = one.sink(149, login=(["PLAIN", "LOGIN"], "joe", "word"))
    one.log(one.send("a@login.example"), "status=sent")
    assert [c for c in sink.commands if c.startswith("AUTH")] == ["AUTH LOGIN"]


def test_smtp_connection_reuse_time_limit(one):
    sink = one.sink(142)
    one.log(one.send("a@kept.example"), "status=sent")
    time.sleep(1.2)
    one.log(one.send("a@kept.example"), "status=sent")      # over the same connection, which is old now
    assert sink.connections == 1
    one.log(one.send("a@kept.example"), "status=sent")
    assert sink.connections == 2 and "QUIT" in sink.commands


def test_address_verify_sender_and_unverified_sender_reject_code(one):
    sink = one.sink(143)
    sink.refuse["<forged@strangers.example>"] = "550 5.1.1 never heard of"
    with smtplib.SMTP(one.host, 25, timeout=60) as s:
        s.ehlo("t.example")
        assert s.mail("forged@strangers.example")[0] == 250
        code, text = s.rcpt("alice@example.com")
    assert code == 551 and b"never heard of" in text
    assert any(c.startswith("MAIL FROM:<asker@probe.example>") for c in sink.commands)


def test_default_transport(two):
    sink = two.sink(150)
    two.log(two.send("x@wherever.example"), r"relay=127\.0\.60\.150\[127\.0\.60\.150\]:25, .*status=sent")
    assert sink.messages[-1][0][1] == "RCPT TO:<x@wherever.example>"


def test_delay_notice_recipient(two):
    sink = two.sink(150)
    sink.refuse["<slow@wherever.example>"] = "450 4.2.0 later"
    qid = two.send("slow@wherever.example", sender="alice@example.com")
    two.log(qid, "status=deferred")
    time.sleep(2.2)
    two.suite.tool("postern-queue", "flush")        # the next try is late enough
    try:
        until(lambda: any(b"-Queue-ID: " + qid.encode() in f.read_bytes() for f in (two.suite.maildir("bob@example.com") / "new").glob("*")))
    finally:
        del sink.refuse["<slow@wherever.example>"]
