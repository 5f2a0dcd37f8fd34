"""Sender authenticity over the whole suite: SPF, DKIM (signed by Debian's dkimpy) and DMARC, with the records of a test server. The clients come from
loopback, which is made a foreign network here."""
import base64
import concurrent.futures
import itertools
import os
import pathlib
import signal
import smtplib
import subprocess
import time

import dkim
import pytest

import dnsserver
import mailtools
import suite as suite_module

BOB = "bob@example.com"
numbers = itertools.count(1)
DMARC = {"bank.test": "reject", "open.test": "reject", "careful.test": "quarantine"}
SPF = {"bank.test": "v=spf1 ip4:198.51.100.0/24 -all", "open.test": "v=spf1 ip4:127.0.0.0/8 -all", "careful.test": "v=spf1 -all",
       "plain.test": "v=spf1 -all", "slow.test": "v=spf1 ~all"}


def rsa_key(bits):
    pem = subprocess.run(["openssl", "genrsa", "-traditional", str(bits)], check=True, capture_output=True).stdout
    der = subprocess.run(["openssl", "rsa", "-pubout", "-outform", "DER"], input=pem, check=True, capture_output=True).stdout
    return pem, "v=DKIM1; k=rsa; p=" + base64.b64encode(der).decode()


@pytest.fixture(scope="module")
def keys():
    return {"good": rsa_key(2048), "short": rsa_key(1023)}


@pytest.fixture(scope="module")
def scene(keys):
    dns = dnsserver.Server()
    for name, record in SPF.items():
        dns.add(name, "TXT", record).add(name, "MX", "10 mx." + name).add("mx." + name, "A", "192.0.2.25")
    for name, policy in DMARC.items():
        dns.add("_dmarc." + name, "TXT", "v=DMARC1; p=" + policy)
    dns.add("_dmarc.slow.test", "*", "SERVFAIL")
    for i in range(6):
        dns.add("_dmarc.mute%d.test" % i, "*", "DROP")
    for name, (_pem, record) in keys.items():
        dns.add("%s._domainkey.bank.test" % name, "TXT", record)
    s = suite_module.Suite(pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "sender", build=os.environ.get("POSTERN_BUILD", "dev"), hosts=("127.0.77.1",),
                           real_ports=True, settings={"dns_servers": dns.address, "mynetworks": "203.0.113.0/24", "filter_virus_check": "no", "sender_authentication_time": "6s"})
    s.make()
    s.passwords = {BOB: "bob-secret"}
    s.user_add(BOB, "bob-secret")
    s.start()
    yield s, dns
    s.stop()
    dns.close()


@pytest.fixture
def suite(scene):
    return scene[0]


def message(sender, extra="", body="Hello,\r\n\r\nthis  is a message.\r\n"):
    """(its Message-ID, the message)"""
    mid = "<%d.%d@bank.test>" % (os.getpid(), next(numbers))
    return mid, ("From: Somebody <%s>\r\nTo: %s\r\nSubject: about\r\n  money\r\nDate: Sat, 28 Nov 2026 10:00:00 +0000\r\nMessage-ID: %s\r\n%s\r\n%s"
                 % (sender, BOB, mid, extra, body)).encode()


def sign(keys, text, selector="good", canon=(b"relaxed", b"relaxed"), **kw):
    return dkim.sign(text, selector.encode(), b"bank.test", keys[selector][0], canonicalize=canon, **kw) + text


def send(suite, text, envelope="x@open.test"):
    with smtplib.SMTP("127.0.77.1", suite.port("SMTP"), timeout=60) as s:
        try:
            s.sendmail(envelope, [BOB], text)
        except smtplib.SMTPDataError as e:
            return e.smtp_code, e.smtp_error.decode()
    return 250, ""


def arrived(suite, mid):
    """The message, and our Authentication-Results fields unfolded."""
    text = mailtools.Mail(suite).wait_for(mid).read_text()
    head = text.split("\n\n", 1)[0].replace("\n\t", " ").replace("\n ", " ")
    ours = [line for line in head.splitlines() if line.startswith("Authentication-Results: mail.example.com")]
    return text, ours


def test_a_forged_sender_is_refused_with_a_reason(suite):
    _mid, text = message("boss@bank.test")
    code, why = send(suite, text)
    assert code == 550 and why.startswith("5.7.1 ")
    assert "it is from bank.test" in why and "open.test: pass" in why and "DKIM: none" in why and "DMARC" in why


def test_the_domains_own_servers_pass(suite):
    mid, text = message("boss@open.test")
    assert send(suite, text)[0] == 250
    _text, ours = arrived(suite, mid)
    assert len(ours) == 1 and "spf=pass smtp.mailfrom=x@open.test" in ours[0] and "dmarc=pass (p=reject) header.from=open.test" in ours[0]


@pytest.mark.parametrize("canon", [(b"relaxed", b"relaxed"), (b"simple", b"simple"), (b"relaxed", b"simple"), (b"simple", b"relaxed")])
def test_a_signature_makes_it_pass_in_every_form(suite, keys, canon):
    mid, text = message("boss@bank.test", body="a \t b\r\n.dot\r\n\r\nc  \r\n\r\n\r\n")
    assert send(suite, sign(keys, text, canon=canon)) == (250, "")
    _text, ours = arrived(suite, mid)
    assert "dkim=pass header.d=bank.test header.s=good" in ours[0] and "dmarc=pass (p=reject) header.from=bank.test" in ours[0]


@pytest.mark.parametrize("change", [lambda m: m.replace(b"this  is", b"this is not"), lambda m: m.replace(b"Subject: about", b"Subject: other"),
                                    lambda m: b"From: x <x@open.test>\r\n" + m])
def test_a_changed_message_does_not(suite, keys, change):
    _mid, text = message("boss@bank.test")
    code, why = send(suite, change(sign(keys, text)))
    assert code == 550 and "DKIM: fail" in why


def test_short_keys_and_partial_bodies_do_not(suite, keys):
    _mid, text = message("boss@bank.test")
    code, why = send(suite, sign(keys, text, "short"))
    assert code == 550 and "DKIM: permerror" in why
    code, why = send(suite, sign(keys, text, length=True) + b"added by another\r\n")
    assert code == 550 and "DKIM: policy" in why


def test_policy_quarantine_is_a_tag(suite):
    mid, text = message("boss@careful.test")
    assert send(suite, text)[0] == 250
    text, ours = arrived(suite, mid)
    assert "\nX-Spam-Flag: YES\n" in text and "dmarc=fail (p=quarantine)" in ours[0]


def test_failing_spf_alone_refuses_nothing(suite):
    mid, text = message("boss@plain.test")
    assert send(suite, text, "x@plain.test")[0] == 250
    text, ours = arrived(suite, mid)
    assert "spf=fail" in ours[0] and "dmarc=none" in ours[0] and "X-Spam-Flag" not in text


def test_a_silent_name_server_is_a_temperror_not_a_refusal(suite):
    mid, text = message("boss@slow.test")
    assert send(suite, text, "x@slow.test")[0] == 250
    _text, ours = arrived(suite, mid)
    assert "spf=softfail" in ours[0] and "dmarc=temperror" in ours[0]


def test_forged_results_of_ours_go_others_stay(suite):
    mid, text = message("boss@open.test", "Authentication-Results: mail.example.com; dkim=pass header.d=bank.test\r\n"
                        "Authentication-Results: other.test; dkim=pass header.d=bank.test\r\n")
    assert send(suite, text)[0] == 250
    text, ours = arrived(suite, mid)
    assert len(ours) == 1 and "bank.test" not in ours[0] and "Authentication-Results: other.test;" in text


def test_many_signatures_cost_a_bounded_number_of_questions(scene, keys):
    suite, dns = scene
    mid, text = message("boss@open.test")
    one = sign(keys, text)[:-len(text)]
    before = len(dns.asked)
    many = b"".join(one.replace(b"s=good", b"s=k%d" % i) for i in range(300))
    assert send(suite, many + text)[0] == 250
    assert len([q for q in dns.asked[before:] if "_domainkey" in q[0]]) <= 10
    assert arrived(suite, mid)[1][0].count("dkim=permerror") == 10


def test_mute_name_servers_do_not_hold_up_other_mail(scene):
    """More messages wait for them than there are filter_workers (2); each ends when the time for questions is over."""
    suite, dns = scene
    letters = [message("boss@mute%d.test" % i) for i in range(6)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(send, suite, text) for _mid, text in letters]
        end = time.monotonic() + 30
        while len({q[0] for q in dns.asked if q[0].startswith("_dmarc.mute")}) < 6 and time.monotonic() < end:
            time.sleep(0.01)
        assert not any(w.done() for w in waiting)
        assert send(suite, message("boss@open.test")[1])[0] == 250
        assert not any(w.done() for w in waiting)
        assert [w.result() for w in waiting] == [(250, "")] * 6
    assert "dmarc=temperror header.from=mute0.test" in arrived(suite, letters[0][0])[1][0]


def test_senders_are_checked_again_after_the_dns_process_was_killed(scene):
    """It takes queued's group with it; filterd's monitor stays and connects again."""
    suite, _dns = scene
    monitor = [p[0] for p in suite.processes() if p[3] == "filterd: monitor"]
    os.kill([p[0] for p in suite.processes() if p[1] == "_postern_dns"][0], signal.SIGKILL)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        mid, text = message("boss@open.test")
        try:
            if send(suite, text)[0] == 250 and "spf=pass" in arrived(suite, mid)[1][0]:
                break
        except (smtplib.SMTPException, OSError):
            pass  # the fronts wait for queued
        time.sleep(0.05)
    assert send(suite, message("boss@bank.test")[1])[0] == 550
    assert [p[0] for p in suite.processes() if p[3] == "filterd: monitor"] == monitor
