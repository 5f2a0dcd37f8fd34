"""What happens with each class of message over the whole suite; the quarantine and its tool; notifications; lists of senders; policies."""
import email
import json
import os
import pathlib
import re
import smtplib
import time

import pytest

import mailtools
from test_archives import letter, zipped, by_7z

EICAR = (r"X5O!P%@AP[4\PZX54(P^)7CC)7}" + "$EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*").encode()
GTUBE = ("XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-" + "TEST-EMAIL*C.34X").encode()
ALICE, BOB, CAROL = "alice@example.com", "bob@example.com", "carol@example.com"
GOOD = b"From: s@elsewhere.example\r\nDate: Sat, 28 Nov 2026 10:00:00 +0000\r\nSubject: hello\r\nMessage-ID: <%s@test.example>\r\n\r\n%s\r\n"

SETTINGS = {
    "virus_action": "quarantine", "banned_action": "redirect", "redirect_recipient": CAROL, "unchecked_action": "tag", "bad_header_action": "junk",
    "spam_action": "discard", "overlimit_action": "reject", "virus_admin": CAROL, "filter_policy_authenticated": "virus_action=reject, bypass=header",
    "whitelist_senders": pathlib.Path(os.environ.get("POSTERN_SCRATCH", "/tmp")) / "white.lst",
    "blacklist_senders": pathlib.Path(os.environ.get("POSTERN_SCRATCH", "/tmp")) / "black.lst",
}


@pytest.fixture(scope="module")
def acting(fresh_suite_module):
    SETTINGS["whitelist_senders"].write_text("# wanted\nfriend@elsewhere.example\n.partner.example 1\n")
    SETTINGS["blacklist_senders"].write_text("spammer.example\n")
    return fresh_suite_module("classes", users=(ALICE, BOB, CAROL), settings=SETTINGS)


@pytest.fixture
def mail(acting):
    return mailtools.Mail(acting)


def text_of(path):
    return email.message_from_bytes(pathlib.Path(path).read_bytes())


def arrived(mail, user, folder="", subject=None, seconds=30):
    """The messages in a folder, as soon as there is one with that subject."""
    end = time.monotonic() + seconds
    while True:
        found = [m for m in map(text_of, mail.files(user, folder)) if subject is None or m["Subject"] == subject]
        if found or time.monotonic() > end:
            return found
        time.sleep(0.02)


def quarantine(suite, *args, **kw):
    return suite.tool("postern-quarantine", *args, **kw).stdout.decode()


def listed(suite, subject_part=""):
    return [json.loads(line) for line in quarantine(suite, "list", "--json").splitlines()]


def empty(suite):
    quarantine(suite, "delete", "ALL", check=False)


def test_quarantined_mail_is_accepted_kept_shown_and_released(acting, mail):
    empty(acting)
    before = len(mail.files(BOB))
    mail.send(raw=GOOD % (b"q1", EICAR))
    [m] = listed(acting)
    assert m["reason"].startswith("INFECTED (") and "Eicar" in m["reason"] and m["recipients"] == [BOB] and m["sender"] == "stranger@elsewhere.example"
    assert len(mail.files(BOB)) == before
    assert "EICAR-STANDARD" in quarantine(acting, "show", m["id"])
    assert m["id"] in quarantine(acting, "list", "--recipient", "BOB@")
    assert "empty" in quarantine(acting, "list", "--recipient", "nobody@")
    acting.tool("postern-queue", "release", "ALL", check=False)
    acting.tool("postern-queue", "delete", "ALL", check=False)
    acting.tool("postern-queue", "delete", m["id"], check=False)
    assert [x["id"] for x in listed(acting)] == [m["id"]] and len(mail.files(BOB)) == before
    assert m["id"] not in acting.tool("postern-queue", "list").stdout.decode()
    assert "1 message" in quarantine(acting, "release", m["id"])
    mail.wait_for("<q1@test.example>")
    assert listed(acting) == []


def mail_fails(mail):
    try:
        with mail.smtp() as s:
            return s.noop()[0] != 250
    except (OSError, smtplib.SMTPException):
        return True


def test_an_id_that_is_not_in_quarantine_is_told(acting, mail):
    empty(acting)
    mail.send(raw=GOOD % (b"q9", EICAR))
    [m] = listed(acting)
    for word, done in (("release", "Released"), ("delete", "Deleted")):
        p = acting.tool("postern-quarantine", word, "nosuch", CAROL, check=False)
        assert p.returncode == 65 and p.stdout.decode() == done + " from quarantine: 0 messages; not there: nosuch\n"
    # as of amavis' tool, which takes other recipients: nobody shall think that they get it
    p = acting.tool("postern-quarantine", "release", m["id"], CAROL, check=False)
    assert p.returncode == 65 and p.stdout.decode() == "Released from quarantine: 1 message; not there: %s\n" % CAROL
    p = acting.tool("postern-quarantine", "release", m["id"], check=False)
    assert p.returncode == 65 and "not there: %s" % m["id"] in p.stdout.decode()


def test_quarantine_survives_a_kill(acting, mail):
    import signal
    empty(acting)
    mail.send(raw=GOOD % (b"q2", EICAR))
    [m] = listed(acting)
    for pid, _user, _comm, cmd in acting.processes():
        if cmd.startswith("queued: queue"):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        p = acting.tool("postern-quarantine", "list", "--json", check=False)
        if p.returncode == 0 and m["id"] in p.stdout.decode():
            break
        time.sleep(0.05)
    assert [x["id"] for x in listed(acting)] == [m["id"]] and listed(acting)[0]["reason"] == m["reason"]
    while time.monotonic() < end and mail_fails(mail):
        time.sleep(0.05)
    assert "Deleted" in quarantine(acting, "delete", m["id"])
    assert listed(acting) == [] and acting.tool("postern-quarantine", "release", m["id"], check=False).returncode == 65


def test_expire_and_the_digest(acting, mail):
    empty(acting)
    mail.send(raw=GOOD % (b"q3", EICAR))
    mail.send(raw=GOOD % (b"q4", EICAR), to=ALICE)
    assert "2 recipients told" in quarantine(acting, "digest")
    [d] = arrived(mail, BOB, subject="Mail in quarantine")
    body = d.get_payload()
    assert "INFECTED" in body and "stranger@elsewhere.example" in body and d["Auto-Submitted"] == "auto-generated"
    assert body.count("\n  from ") == 1
    assert "0 recipients" in quarantine(acting, "digest", "--recipient", "nobody@")
    assert "0 messages" in quarantine(acting, "expire") and len(listed(acting)) == 2
    assert "2 messages" in quarantine(acting, "expire", "0s") and listed(acting) == []


def test_the_administrator_is_told_of_a_virus(acting, mail):
    empty(acting)
    mail.send(raw=GOOD % (b"q5", EICAR))
    m = text_of(mail.wait_for("Message-ID: <q5@test.example>", CAROL))
    assert m["Subject"].startswith("INFECTED (") and m["Subject"].endswith("in mail FROM [127.0.0.1] <stranger@elsewhere.example>")
    assert "Action: quarantine" in m.get_payload() and "BEGIN HEADERS" in m.get_payload()


def test_a_policy_of_authenticated_users_is_another(acting, mail):
    context = acting.tls_context()
    context.check_hostname = False
    with smtplib.SMTP_SSL(acting.host, acting.port("SUBMISSIONS"), context=context, timeout=30) as s:
        s.login(ALICE, acting.passwords[ALICE])
        with pytest.raises(smtplib.SMTPDataError) as why:
            s.sendmail(ALICE, [BOB], GOOD.replace(b"s@elsewhere.example", ALICE.encode()) % (b"q6", EICAR))
    assert why.value.smtp_code == 550 and b"infected" in why.value.smtp_error


def test_redirect_goes_to_another(acting, mail):
    before = len(mail.files(BOB))
    mail.send(raw=letter("tools.zip", zipped(("setup.exe", b"MZ"))).replace(b"Subject: x", b"Subject: banned one").replace(b"\n", b"\r\n"))
    [m] = arrived(mail, CAROL, subject="banned one")
    assert m["X-Original-To"] in (CAROL, None) and len(mail.files(BOB)) == before


def test_tag_says_so_in_the_header(acting, mail, tmp_path):
    raw = letter("a.zip", by_7z(tmp_path, "a.zip", "x.txt", b"hello", "-psecret", "-tzip")).replace(b"\n", b"\r\n")
    mail.send(raw=raw)
    [m] = arrived(mail, BOB, subject="***UNCHECKED*** x")
    assert m["X-Amavis-Alert"] == "UNCHECKED encrypted" and m["X-Virus-Scanned"] == "Postern at example.com"


def test_junk_goes_into_junk(acting, mail):
    mail.send(raw=b"Subject: no date\r\n\r\nx\r\n")
    [m] = arrived(mail, BOB, ".Junk", subject="no date")
    assert m["X-Amavis-Alert"] == 'BAD HEADER SECTION missing required header field: "Date"'
    assert "no date" not in [x["Subject"] for x in map(text_of, mail.files(BOB))]


def test_discard_is_accepted_and_gone(acting, mail):
    before = len(mail.files(BOB)), len(listed(acting))
    with mail.wire("SMTP") as w:
        w.smtp()
        for c in ("EHLO x.test", "MAIL FROM:<s@elsewhere.example>", "RCPT TO:<%s>" % BOB, "DATA"):
            w.smtp(c)
        w.send(GOOD % (b"q7", GTUBE) + b".\r\n")
        code, text = w.smtp()
        assert code == 250 and text[0].startswith("2.7.0 Ok, discarded, id="), text
    assert (len(mail.files(BOB)), len(listed(acting))) == before


def test_who_is_on_a_list(acting, mail):
    mail.send(sender="friend@elsewhere.example", raw=GOOD % (b"w1", GTUBE))
    mail.wait_for("<w1@test.example>")
    mail.send(raw=GOOD.replace(b"s@elsewhere", b"x@sub.partner") % (b"w2", GTUBE))
    mail.wait_for("<w2@test.example>")
    mail.send(sender="x@spammer.example", raw=GOOD % (b"b1", b"hello"))
    mail.send(raw=GOOD.replace(b"s@elsewhere", b"x@spammer") % (b"b2", b"hello"))
    mail.send(raw=GOOD % (b"w3", b"the last"))
    mail.wait_for("<w3@test.example>")
    ids = [m["Message-ID"] for m in map(text_of, mail.files(BOB))]
    assert "<b1@test.example>" not in ids and "<b2@test.example>" not in ids


def test_each_is_logged_as_amavis_does(acting, mail):
    """The forms that logwatch's amavis script knows."""
    mail.send(raw=GOOD % (b"l1", b"hello"))
    mail.wait_for("<l1@test.example>")
    acting.logged(r"\bamavis\[\d+\]: .*<l1@test\.example>")
    lines = [x for x in acting.log.read_text().splitlines() if re.search(r"\bamavis\[\d+\]: \(", x)]
    form = re.compile(r"amavis\[\d+\]: \(\d+-\d+\) (Passed|Blocked) (CLEAN|SPAM|INFECTED \(.*\)|BANNED \(.*\)|BAD-HEADER|UNCHECKED) "
                      r"\{[A-Za-z,]+\}, (?:MYNETS |ORIGINATING )?\[(?:127\.0\.0\.1|local)\] <[^>]*> -> <[^>]+>(,<[^>]+>)*, (quarantine: \S+, )?"
                      r"(Queue-ID: \S+, )(Message-ID: \S.*, )?(mail_id: \S+, )Hits: (-|[\d.]+), size: \d+, \d+ ms$")
    assert lines
    for x in lines:
        assert form.search(x), x
    one = [x for x in lines if "<l1@test.example>" in x]
    assert len(one) == 1 and "Passed CLEAN {RelayedInbound}, [127.0.0.1] <stranger@elsewhere.example> -> <bob@example.com>, Queue-ID: " in one[0]
    assert any("Blocked INFECTED (" in x and "{DiscardedInbound,Quarantined}" in x and "quarantine: " in x for x in lines)


def test_logwatch_understands_every_line(acting, tmp_path):
    import subprocess
    lines = tmp_path / "lines"
    lines.write_text("".join(x[x.index("amavis["):].split(": ", 1)[1] + "\n" for x in acting.log.read_text().splitlines() if " amavis[" in x))
    p = subprocess.run("perl /usr/share/logwatch/scripts/services/amavis --detail 10 < %s" % lines, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       env={**os.environ, "LOGWATCH_DETAIL_LEVEL": "10", "LOGWATCH_DEBUG": "0", "REAL_LANG": "C"})
    out = p.stdout.decode()
    assert p.returncode == 0 and "Unmatched" not in out, out
    for word in ("Malware blocked", "Spam blocked", "Banned name", "Clean passed", "Bad header passed"):
        assert word.lower() in out.lower(), out
