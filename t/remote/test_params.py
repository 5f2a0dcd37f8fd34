"""What single parameters do, each shown by its effect."""
import os
import pathlib
import smtplib
import sys
import time

import grp
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from remotescene import Scene, mx  # noqa: E402


@pytest.fixture(scope="module")
def strict():
    s = Scene(strict_rfc821_envelopes="yes", unknown_local_recipient_reject_code="450", smtpd_data_restrictions="reject_multi_recipient_bounce",
              multi_recipient_bounce_reject_code="555", fast_flush_domains="flushed.example", virtual_alias_expansion_limit="3", virtual_alias_recursion_limit="3",
              double_bounce_sender="twice", bounce_notice_recipient="alice@example.com", notify_classes="bounce", smtp_mta_sts="no",
              smtp_destination_recipient_limit="2", initial_destination_concurrency="1", default_destination_concurrency_positive_feedback="0",
              smtp_sasl_auth_enable="yes", smtp_sender_dependent_authentication="yes", smtp_sasl_security_options="noanonymous", smtp_connection_cache_time_limit="1s",
              smtp_tls_verify_cert_match="nexthop", smtp_tls_secure_cert_match="hostname")
    (s.suite.base / "etc" / "virtual").write_text("".join("c%d@example.com c%d@example.com\n" % (i, i + 1) for i in range(6)) + "c6@example.com alice@example.com\n"
                                                  "wide@example.com a@far.example, b@far.example, c@far.example, d@far.example\n")
    passwords = s.map("passwords", "boss@example.com boss:secret\n[login.example]:25 joe:word\n", 0o640)
    os.chown(passwords, 0, grp.getgrnam("_postern_map").gr_gid)
    policy = s.map("policy", "verify.example verify\nsecure.example secure\nprint.example fingerprint\n")
    context = s.tls("print.example")
    s.suite.settings.update(smtp_sasl_password_maps="texthash:%s" % passwords, smtp_tls_policy_maps="texthash:%s" % policy,
                            transport_maps="texthash:%s" % s.map("transport", "login.example smtp:[login.example]:25\n"), smtp_tls_fingerprint_cert_match=fingerprint(context))
    s.suite.user_add("alice@example.com", "alice-secret")
    s.suite.configure()
    s.context = context
    for i, n in enumerate(("far", "slow", "idle", "verify", "secure", "print", "plain")):
        mx(s, n + ".example", (10, 100 + i))
    s.dns.add("login.example", "A", "127.0.60.120")
    yield s.start()
    s.close()


def fingerprint(context):
    import hashlib
    import ssl
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(context.cert.read_text())).hexdigest()


def talk(scene, *commands):
    """The answer to the last one."""
    with smtplib.SMTP(scene.host, 25, timeout=30) as s:
        s.ehlo("t.example")
        for c in commands:
            answer = s.docmd(c)
        return answer


@pytest.mark.parametrize("parameter, commands, code, words", [
    ("strict_rfc821_envelopes", ["MAIL FROM:joe@there.example"], 501, b""),
    ("strict_rfc821_envelopes", ["MAIL FROM:<joe@there.example>"], 250, b""),
    ("unknown_local_recipient_reject_code", ["MAIL FROM:<joe@there.example>", "RCPT TO:<nobody@mail.example.com>"], 450, b"4.1.1 <nobody@mail.example.com>: Recipient address rejected: User unknown"),
    ("multi_recipient_bounce_reject_code", ["MAIL FROM:<>", "RCPT TO:<alice@example.com>", "RCPT TO:<postmaster@example.com>", "DATA"], 555, b"Multi-recipient bounce"),
    ("fast_flush_domains", ["ETRN flushed.example"], 250, b""),
    ("fast_flush_domains", ["ETRN other.example"], 459, b""),
    ("virtual_alias_expansion_limit", ["MAIL FROM:<joe@there.example>", "RCPT TO:<wide@example.com>"], 451, b"4.6.0"),
    ("virtual_alias_recursion_limit", ["MAIL FROM:<joe@there.example>", "RCPT TO:<c0@example.com>"], 451, b"4.6.0"),
    ("virtual_alias_recursion_limit", ["MAIL FROM:<joe@there.example>", "RCPT TO:<c5@example.com>"], 250, b""),
])
def test_answers(strict, parameter, commands, code, words):
    got, text = talk(strict, *commands)
    assert got == code and words in text, parameter


def test_smtp_destination_recipient_limit(strict):
    sink = strict.sink(100)
    qid = strict.send(*["r%d@far.example" % i for i in range(5)])
    for i in range(5):
        strict.log(qid, "to=<r%d@far.example>.*status=sent" % i)
    assert sorted(len(m[0]) - 1 for m in sink.messages) == [1, 2, 2]


def test_concurrency_feedback_of_nothing_leaves_the_window_as_it_is(strict):
    sink = strict.sink(101, delay=0.2)
    qids = [strict.send("a@slow.example") for _ in range(4)]
    for q in qids:
        strict.log(q, "status=sent")
    assert sink.most == 1


def test_bounce_notice_recipient_and_double_bounce_sender(strict):
    strict.sink(106).refuse["RCPT"] = "550 5.1.1 nobody"
    strict.log(strict.send("x@plain.example", sender="alice@example.com"), "status=bounced")
    box = strict.suite.maildir("alice@example.com") / "new"
    end = time.monotonic() + 30
    while not any(b"Postmaster Copy" in f.read_bytes() and b"Return-Path: <twice@example.com>" in f.read_bytes() for f in box.glob("*")):
        assert time.monotonic() < end
        time.sleep(0.03)


def test_smtp_mta_sts_off_asks_nothing(strict):
    strict.sink(100)
    strict.log(strict.send("sts@far.example"), "status=sent")
    assert not [n for n, _ in strict.dns.asked if n.startswith("_mta-sts.")]


@pytest.mark.parametrize("sender, user, password", [("boss@example.com", "boss", "secret"), ("me@example.com", "joe", "word")])
def test_smtp_sender_dependent_authentication(strict, sender, user, password):
    sink = strict.sink(120, login=(["PLAIN"], user, password))
    sink.login = (["PLAIN"], user, password)
    strict.log(strict.send("a@login.example", sender=sender), "status=sent")


def test_smtp_connection_cache_time_limit(strict):
    sink = strict.sink(102)
    strict.log(strict.send("a@idle.example"), "status=sent")
    end = time.monotonic() + 30
    while "QUIT" not in sink.commands:
        assert time.monotonic() < end, "it was to be closed after a second"
        time.sleep(0.05)


@pytest.mark.parametrize("n, domain, name, want", [
    (103, "verify.example", "verify.example", "status=sent"),               # nexthop
    (104, "secure.example", "mx104.secure.example", "status=sent"),         # hostname
    (105, "print.example", None, "status=sent"),                            # the fingerprint
])
def test_names_and_fingerprints_that_a_level_asks_for(strict, n, domain, name, want):
    strict.sink(n, tls=strict.tls(name) if name else strict.context)
    strict.log(strict.send("a@" + domain), want)


def test_limits_of_destinations():
    s = Scene(smtp_destination_concurrency_limit="1", lmtp_destination_concurrency_limit="2", default_destination_recipient_limit="3")
    s.suite.settings["transport_maps"] = "texthash:%s" % s.map("transport", "lm.example lmtp:inet:127.0.60.111:25\n")
    s.suite.configure()
    mx(s, "one.example", (10, 110))
    one, two = s.sink(110, delay=0.15), s.sink(111, lmtp=True, delay=0.15)
    s.start()
    try:
        qids = [s.send("a%d@%s" % (i, d)) for i in range(5) for d in ("one.example", "lm.example")]
        for q in qids:
            s.log(q, "status=sent", timeout=30)
        assert one.most == 1 and two.most == 2
        qid = s.send(*["r%d@one.example" % i for i in range(4)])
        for i in range(4):
            s.log(qid, "to=<r%d@one.example>.*status=sent" % i)
        assert sorted(len(m[0]) - 1 for m in one.messages[5:]) == [1, 3]
    finally:
        s.close()
