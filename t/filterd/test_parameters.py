"""What single parameters of filterd do, each shown by an effect that the default does not have."""
import json
import os
import pathlib
import subprocess
import time

import mailtools
import pytest

import dnsserver
import smtpsink
import suite as suite_module
from test_actions import GTUBE, listed, quarantine, text_of
from test_archives import letter, zipped
from test_grey import send
from waiting import until

ALICE, BOB, CAROL = "alice@example.com", "bob@example.com", "carol@example.com"
SPAMD = 7831
SCRATCH = pathlib.Path(os.environ.get("POSTERN_SCRATCH", "/tmp"))
HEAD = b"From: s@elsewhere.example\r\nDate: Sat, 28 Nov 2026 10:00:00 +0000\r\nSubject: hello\r\nMessage-ID: <%s@test.example>\r\n\r\n"


@pytest.fixture(scope="module")
def one(fresh_suite_module):
    rules = SCRATCH / "parameter-rules"
    rules.mkdir(exist_ok=True)
    (rules / "site.cf").write_text("header GREY_TEST Subject =~ /suspicious/\nscore GREY_TEST 30\ndescribe GREY_TEST A word of the test\n")
    s = fresh_suite_module("parameters", users=(ALICE, BOB, CAROL), settings={
        "spam_admin": CAROL, "banned_admin": CAROL, "spam_action": "quarantine", "banned_action": "quarantine", "unchecked_action": "tag", "unchecked_subject_tag": "[odd]",
        "spam_size_limit": "4096", "quarantine_lifetime": "1s", "sender_authentication": "no", "filter_spamd_listeners": "127.0.0.1:%d" % SPAMD, "filter_clients": "127.0.0.9/32",
        "greylist_level": "25", "greylist_delay": "1s", "greylist_lifetime": "3s", "spam_site_directory": rules, "spam_kill_level": "100", "spam_tokens_max": "1000",
        "mynetworks": ""})
    return s, mailtools.Mail(s)


def test_spam_size_limit_and_spam_admin(one):
    """What stands beyond the limit is not looked at; of what is found before it, the administrator is told."""
    suite, mail = one
    filler = b"nothing to see here, move on please\r\n" * 200
    mail.send(raw=HEAD % b"far" + filler + GTUBE + b"\r\n")
    mail.wait_for("<far@test.example>")
    mail.send(raw=HEAD % b"near" + GTUBE + b"\r\n" + filler)
    m = text_of(mail.wait_for("Message-ID: <near@test.example>", CAROL))
    assert m["Subject"].startswith("SPAM") and "Action: quarantine" in m.get_payload()


def test_banned_admin(one):
    _suite, mail = one
    mail.send(raw=letter("tools.zip", zipped(("setup.exe", b"MZ"))).replace(b"\n", b"\r\n"))
    until(lambda: any(b"\nSubject: BANNED" in f.read_bytes() for f in mail.files(CAROL)))


def test_quarantine_lifetime(one):
    suite, mail = one
    mail.send(raw=HEAD % b"kept" + GTUBE + b"\r\n")
    until(lambda: quarantine(suite, "expire") and listed(suite) == [])


def test_unchecked_subject_tag(one, tmp_path):
    suite, mail = one
    secret = tmp_path / "secret.txt"
    secret.write_text("nobody can look in here")
    subprocess.run(["7z", "a", "-tzip", "-pword", str(tmp_path / "locked.zip"), str(secret)], check=True, stdout=subprocess.DEVNULL)
    mail.send(raw=letter("locked.zip", (tmp_path / "locked.zip").read_bytes()).replace(b"\n", b"\r\n"))
    until(lambda: [m for m in map(text_of, mail.files(BOB)) if (m["Subject"] or "").startswith("[odd] ")])


def test_sender_authentication(one):
    _suite, mail = one
    mail.send(raw=HEAD % b"bare" + b"hello\r\n")
    assert text_of(mail.wait_for("<bare@test.example>"))["Authentication-Results"] is None


def test_filter_clients(one):
    suite, _mail = one
    with mailtools.Wire("127.0.0.1", SPAMD, source="127.0.0.9", timeout=30) as w:
        w.send("PING SPAMC/1.2\r\n\r\n")
        assert b"PONG" in w.line()
    with mailtools.Wire("127.0.0.1", SPAMD, timeout=30) as w:
        assert w.closed(30)
    assert suite.logged(r"127\.0\.0\.1 was refused: it is not in filter_clients", 30)


def test_greylist_lifetime(one):
    """Who came back is known as long as it says; then he is a stranger again."""
    suite, _mail = one
    until(lambda: send(suite, "x@elsewhere.example", b"suspicious", b"grey")[0] == 250)
    time.sleep(5)
    assert send(suite, "x@elsewhere.example", b"suspicious", b"grey")[0] == 451


def test_spam_tokens_max(one, tmp_path):
    suite, _mail = one
    for i in range(40):
        words = "".join("word%dx%d\n" % (i, j) for j in range(100))
        (tmp_path / ("%d" % i)).write_text("From: a@b\nSubject: %d\n\n%s" % (i, words))
    p = subprocess.run([str(suite.bin / "postern-learn"), "-c", str(suite.conf), "--json", "--ham", str(tmp_path)], stdout=subprocess.PIPE, check=True)
    status = json.loads(subprocess.run([str(suite.bin / "postern-learn"), "-c", str(suite.conf), "--json", "--status"], stdout=subprocess.PIPE, check=True).stdout)
    assert json.loads(p.stdout)["ham"] == 40 and 0 < status["tokens"] <= 1000, status


# --- DMARC ---

@pytest.fixture(scope="module")
def reports():
    dns, sink = dnsserver.Server(), smtpsink.Sink()
    dns.add("_dmarc.shop.co.test", "TXT", "v=DMARC1; p=reject; rua=mailto:r@shop.co.test")
    suffixes = SCRATCH / "suffixes"
    suffixes.write_text("test\nco.test\n")
    s = suite_module.Suite(SCRATCH / "dmarc-parameters", build=os.environ.get("POSTERN_BUILD", "dev"), hosts=("127.0.79.2",), real_ports=True, settings={
        "dns_servers": dns.address, "mynetworks": "203.0.113.0/24", "filter_virus_check": "no", "relayhost": "[127.0.0.1]:%d" % sink.port, "public_suffix_list": suffixes,
        "dmarc_report_sender": "reports@example.com", "dmarc_report_organisation": "The Example Company"})
    s.host = s.hosts[0]
    s.make()
    s.user_add(BOB, "bob-secret")
    s.start()
    yield s, sink
    s.stop()
    dns.close()
    sink.close()


def from_shop(suite):
    """A forged letter of a host of shop.co.test."""
    import smtplib
    with smtplib.SMTP(suite.host, 25, timeout=60) as c:
        try:
            c.sendmail("x@elsewhere.test", [BOB], b"From: a@host.shop.co.test\r\nSubject: t\r\nDate: Sat, 28 Nov 2026 10:00:00 +0000\r\n\r\nhello\r\n")
            return 250
        except smtplib.SMTPDataError as e:
            return e.smtp_code


def day(suite):
    files = [f for f in (suite.state / "dmarc").glob("2*") if f.name.isdigit()] if (suite.state / "dmarc").exists() else []
    return files[0] if files else None


def test_public_suffix_list(reports):
    """co.test is no organisation, says the list: so host.shop.co.test belongs to shop.co.test, whose policy it is."""
    assert from_shop(reports[0]) == 550
    assert "no public suffix list" not in reports[0].log.read_text()


def test_dmarc_report_sender_and_organisation(reports):
    suite, sink = reports
    assert from_shop(suite) == 550
    until(lambda: day(suite))
    suite.tool("postern-dmarc", "report", "--day", day(suite).name)
    env, data, _ = sink.wait(1)
    assert env[0].startswith("MAIL FROM:<reports@example.com>") and b"\r\nFrom: " in b"\r\n" + data and b"reports@example.com" in data.split(b"\r\n\r\n")[0]
    import base64
    import email
    import gzip
    part = [p for p in email.message_from_bytes(data).walk() if p.get_content_type() == "application/gzip"][0]
    assert b"<org_name>The Example Company</org_name>" in gzip.decompress(base64.b64decode(part.get_payload()))


def test_dmarc_reports(reports):
    suite, _sink = reports
    suite.settings["dmarc_reports"] = "no"
    suite.configure()
    suite.stop()
    suite.start()
    before = day(suite).read_text() if day(suite) else ""
    assert from_shop(suite) == 550
    suite.settings["dmarc_reports"] = "yes"
    suite.configure()
    suite.stop()
    suite.start()
    assert from_shop(suite) == 550
    assert until(lambda: day(suite) and day(suite).read_text() != before)
    assert day(suite).read_text().count("\n") == before.count("\n") + 1


def test_no_public_suffix_list(reports):
    """Then co.test is the organisation, which has no policy; the log says so once."""
    suite, _sink = reports
    suite.settings["public_suffix_list"] = SCRATCH / "nowhere"
    suite.configure()
    suite.stop()
    suite.start()
    assert from_shop(suite) == 250
    assert suite.log.read_text().count("no public suffix list at \"%s\"" % (SCRATCH / "nowhere")) == 1
