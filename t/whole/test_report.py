"""postern report: what really happened is what it says, in each of its forms."""
import email
import gzip
import html.parser
import json
import os
import re
import smtplib
import time

import pytest
from waiting import until

DATE = "Date: Sat, 28 Nov 2026 12:00:00 +0000\r\n"


def report(suite, *args):
    return json.loads(suite.tool("postern", "report", "--json", *args).stdout)


def test_what_happened_is_reported(suite, mail):
    before = report(suite)
    mail.wait_for(mail.send(user="alice@example.com", sender="alice@example.com", headers=DATE))
    for to in ("nobody@example.com", "x@remote.example"):
        with pytest.raises(smtplib.SMTPException):
            mail.send(to=to)
    with pytest.raises(smtplib.SMTPException):
        mail.send(body="X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*\r\n", headers=DATE)
    with mail.wire("IMAP") as w:
        w.line()
        w.imap("a", "LOGIN bob@example.com wrong")
    more = lambda e: (lambda r: r["events"][e] - before["events"][e])(report(suite))
    until(lambda: more("login_failed") == 1 and more("delivered_local") == 1 and more("filter_infected") == 1)
    now = report(suite)
    assert more("smtp_rejected") == 2 and more("mail_refused") == 1
    assert sum(h["taken"] for h in now["hours"]) == now["events"]["mail_accepted"]
    top = {k: {r["name"]: r["count"] for r in v} for k, v in now["top"].items()}
    assert top["users"]["alice@example.com"] >= 1 and top["recipients"]["bob@example.com"] >= 1 and top["login_users"]["bob@example.com"] >= 1
    assert top["reasons"]["Relay access denied"] >= 1 and "Recipient address rejected: User unknown in virtual mailbox table" in top["reasons"]
    assert any("Eicar" in name for name in top["harmful"]) and top["clients"]["127.0.0.1"] >= 2
    assert now["queue_known"] and now["queue"] == 0
    assert top["login_clients"]["127.0.0.1"] >= 1
    box = {m["name"]: m for m in now["mailboxes"]}["bob@example.com"]
    assert box["count"] >= 1 and box["bytes"] > 100
    text = suite.tool("postern", "report", "--since", "24h").stdout.decode()
    assert "Why mail was refused" in text and "Relay access denied" in text and "Largest mailboxes" in text


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text, self.links = [], "", []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "action", "data")]

    def handle_data(self, data):
        self.text += data


def test_the_page_stands_alone(suite, tmp_path):
    """No script, nothing fetched, names of strangers are text."""
    log = tmp_path / "log"
    stamp = time.strftime("%b %e %H:%M:%S")
    log.write_text("%s vm postern/qmgr[1]: 1M1CJ73ALZV: from=<<script>alert(1)</script>@x>, size=1000, nrcpt=1 (queue active)\n" % stamp +
                   "%s vm postern/authd[3]: login failed: service=imap rip=192.0.2.1 user=\"<img src=x onerror=alert(1)>\"\n" % stamp)
    out = tmp_path / "report.html"
    suite.tool("postern", "report", "--no-mailboxes", "--html", out, log)
    p = Page()
    p.feed(out.read_text())
    assert p.tags.count("svg") == 6 and not {"script", "img", "link", "iframe"} & set(p.tags) and not p.links
    assert "<img src=x" in p.text and not re.search(r"https?:", out.read_text())
    assert os.stat(out).st_mode & 0o777 == 0o640


def test_rotated_and_packed_logs_are_read(suite, tmp_path):
    line = "%s vm postern/qmgr[1]: 1M1CJ73ALZ%s: from=<a@example.com>, size=1000, nrcpt=1 (queue active)\n"
    plain, packed = tmp_path / "mail.log", tmp_path / "mail.log.2.gz"
    plain.write_text(line % (time.strftime("%b %e %H:%M:%S"), "1"))
    packed.write_bytes(gzip.compress((line % (time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(time.time() - 86400))[:-2] + ":00", "2")).encode()))
    r = report(suite, "--no-mailboxes", packed, plain)
    assert r["events"]["mail_accepted"] == 2 and r["bytes"] == 2000
    assert report(suite, "--no-mailboxes", "--since", "today", packed, plain)["events"]["mail_accepted"] == 1
    packed.write_bytes(packed.read_bytes()[:-12])
    assert suite.tool("postern", "report", "--json", packed, check=False).returncode == 75
    assert suite.tool("postern", "report", tmp_path / "none", check=False).returncode == 75


def test_the_report_comes_by_mail(suite, mail):
    suite.tool("postern", "report", "--mail", "alice@example.com")
    found = []

    def there():
        found[:] = [f for f in mail.files("alice@example.com") if b"Subject: Mail report of mail.example.com" in f.read_bytes()]
        return found
    until(there)
    m = email.message_from_bytes(found[0].read_bytes())
    parts = {p.get_content_type(): p for p in m.walk()}
    assert m["Auto-Submitted"] == "auto-generated" and "Return-Path: <>" in found[0].read_text()
    assert b"messages taken over" in parts["text/html"].get_payload(decode=True) and "in the messages taken over" in parts["text/plain"].get_payload()


@pytest.mark.parametrize("args", [["--since", "x"], ["--since", "500d"], ["--html", "a", "--json"], ["--nonsense"]])
def test_wrong_use_is_told(suite, args):
    assert suite.tool("postern", "report", *args, check=False).returncode == 64
