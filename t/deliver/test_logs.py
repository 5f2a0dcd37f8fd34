"""The mail log through the eyes of those who read it: Debian's pflogsumm, AWStats' maillogconvert, logwatch. One suite, one day's mail of every kind; what they count is what
happened. (fail2ban's filters have their tests in t/whole.)"""
import imaplib
import os
import pathlib
import poplib
import re
import shutil
import smtplib
import subprocess

import pytest

from suite import private
from test_queue import ALICE, BOB, files, queue, send, sink, wait  # noqa: F401

EICAR = (r"X5O!P%@AP[4\PZX54(P^)7CC)7}" + "$EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*")
LOGWATCH = pathlib.Path("/usr/share/logwatch")
ETC = pathlib.Path(__file__).resolve().parent.parent.parent / "etc"
CONVERT = [p for p in ("/usr/share/awstats/tools/maillogconvert.pl", "/usr/share/doc/awstats/examples/maillogconvert.pl") if os.path.exists(p)]


@pytest.fixture(scope="module")
def day(request):
    """A suite that has had its day, and its log."""
    import suite as suite_module
    from test_queue import Sink
    s = suite_module.Suite(pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "logs", build=os.environ.get("POSTERN_BUILD", "dev"), hosts=("127.0.7.1",), real_ports=True,
                           settings={"syslog_name": "postfix", "mynetworks": "127.0.0.5/32", "relayhost": "[127.0.0.3]:2525", "minimal_backoff_time": "1h",
                                     "alias_maps": "inline:{{team=alice@example.com, bob@example.com}}", "auth_throttle_exempt": "127.0.0.0/8",
                                     "plaintext_login_networks": "127.0.0.0/8"})
    s.host = s.hosts[0]
    s.make()
    s.passwords = {}
    for user in (ALICE, BOB):
        s.passwords[user] = "secret"
        s.user_add(user, "secret")
    away = Sink("127.0.0.3")
    s.start()
    try:
        happen(s, away)
        yield s
    finally:
        s.stop()
        away.close()


def happen(s, away):
    text = "Subject: t\r\n\r\nhello\r\n"

    def post(to, sender="stranger@elsewhere.example", source=None, body=text, user=None):
        with smtplib.SMTP(s.host, s.port("SMTP"), timeout=30, source_address=(source, 0) if source else None) as c:
            return c.sendmail(sender, to, body)
    post([BOB])                                                     # local
    post([ALICE, BOB])                                              # local, two
    post(["team@localhost"])                                        # an alias of two
    for to in ("ann@elsewhere.example", "joe@elsewhere.example"):
        post([to], ALICE, "127.0.0.5")                              # relayed
    post(["later@elsewhere.example"], ALICE, "127.0.0.5")           # deferred
    post(["bad@elsewhere.example"], ALICE, "127.0.0.5")             # bounced, and alice is told
    for to in ("nobody@example.com", "x@elsewhere.example"):        # unknown, relaying
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            post([to])
    with pytest.raises(smtplib.SMTPDataError):
        post([BOB], body=text + EICAR + "\r\n")                     # virus
    i = imaplib.IMAP4(s.host, s.port("IMAP"))
    i.login(ALICE, "secret")
    i.logout()
    p = poplib.POP3(s.host, s.port("POP3"))
    p.user(BOB)
    p.pass_("secret")
    p.quit()
    for wrong in (lambda: imaplib.IMAP4(s.host, s.port("IMAP")).login(ALICE, "wrong"),):
        with pytest.raises(imaplib.IMAP4.error):
            wrong()
    p = poplib.POP3(s.host, s.port("POP3"))
    p.user(BOB)
    with pytest.raises(poplib.error_proto):
        p.pass_("wrong")
    p.close()
    assert wait(lambda: len(away.got) == 2 and len(files(s, ALICE)) == 3)
    assert wait(lambda: len(queue(s)) == 1 and queue(s)[0]["queue_name"] == "deferred")
    assert wait(lambda: "auth failed" in s.log.read_text().split("pop3-login")[-1])


def log(s):
    return s.log.read_text()


def test_pflogsumm(day):
    out = subprocess.run(["pflogsumm", "--smtpd-stats", str(day.log)], stdout=subprocess.PIPE, check=True).stdout.decode()
    total = dict((name, int(n)) for n, name in re.findall(r"(?m)^\s+(\d+)k?\s+(received|delivered|forwarded|deferred|bounced|rejected|held|discarded|senders|recipients)\b", out))
    # accepted: 3 local + 4 relayed, and the notification
    assert total["received"] == 8, out
    # local 1 + 2 + 2, relayed 2, the notification
    assert total["delivered"] == 8 and total["deferred"] == 1 and total["bounced"] == 1 and total["forwarded"] == 0, out
    assert total["rejected"] == 3, out
    assert "User unknown" in out and "Relay access denied" in out and ("later@elsewhere.example" in out or "busy" in out)
    connects = len(re.findall(r"smtpd\[\d+\]: connect from", log(day)))
    assert re.search(r"(?m)^\s+%d\s+connections" % connects, out), out


def test_maillogconvert(day):
    if not CONVERT:
        pytest.skip("this Debian leaves documentation out")
    with open(day.log, "rb") as f:
        out = subprocess.run(["perl", CONVERT[0], "standard"], stdin=f, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True).stdout.decode()
    rows = [line.split() for line in out.splitlines()]
    codes = [r[8] for r in rows]
    assert codes.count("1") == 8, out                               # every delivery once
    assert codes.count("999") == 1 and codes.count("550") == 1 and codes.count("554") == 1, out   # unknown; relaying
    sizes = {r[9] for r in rows if r[8] == "1"}
    assert all(size.isdigit() and int(size) > 0 for size in sizes)
    assert {r[3] for r in rows if r[8] == "1"} == {ALICE, BOB, "ann@elsewhere.example", "joe@elsewhere.example", "team@localhost"}, out


def awstats_cron(log):
    """The command of etc/awstats/cron, on this log."""
    (line,) = [line for line in (ETC / "awstats" / "cron").read_text().splitlines() if line and line[0] != "#"]
    when, command = line.split(" root ", 1)
    assert len(when.split()) == 5
    subprocess.run(["sh", "-c", command.replace("/var/log/postern.log", str(log))], check=True, stdin=subprocess.DEVNULL)


def table(page, caption):
    """The rows of one of AWStats' tables: [[cell, …], …]."""
    part = page[page.index('name="%s"' % caption):]
    part = part[:part.index("</table></td></tr></table>")]
    return [[re.sub(r"<[^>]*>|&nbsp;", "", cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)] for row in re.findall(r"<tr[^>]*>(.*?)</tr>", part, re.S)]


@pytest.mark.parametrize("name", ("postfix", "postern"))
def test_awstats(day, name, tmp_path):
    """As INSTALL says, with Debian's own scripts: what the log holds is shown, once, however often it is read."""
    if not CONVERT:
        pytest.skip("this Debian leaves documentation out")
    os.chmod(tmp_path, 0o755)
    log = tmp_path / "postern.log"
    log.write_text(day.log.read_text(errors="replace").replace(" postfix/", " %s/" % name))
    shutil.copy(ETC / "awstats" / "awstats.mail.conf", "/etc/awstats/")
    data, cache = private("/var/lib/awstats"), private("/var/cache/awstats")
    try:
        awstats_cron(log)
        log.rename(tmp_path / "postern.log.1")
        log.touch()
        awstats_cron(log)
        as_web = ["setpriv", "--reuid=www-data", "--regid=www-data", "--clear-groups"]
        for script in ("update.sh", "buildstatic.sh"):
            out = subprocess.run([*as_web, "/usr/share/awstats/tools/" + script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True).stdout
        (page,) = cache.glob("mail/*/*/awstats.mail.en.html")
        text = page.read_text("latin-1")
        got = {row[0] or row[2]: int(row[3]) for row in table(text, "emailreceivers") if len(row) == 7}
        assert got == {ALICE: 2, BOB: 2, "team@localhost": 2, "ann@elsewhere.example": 1, "joe@elsewhere.example": 1}, (out, text)
        assert "stranger@elsewhere.example" in {cell for row in table(text, "emailsenders") for cell in row}
    finally:
        for d in (data, cache):
            subprocess.run(["umount", d], check=True)


def logwatch(service, day, detail="10"):
    text = b"".join(line for line in day.log.read_bytes().splitlines(True))
    conf = LOGWATCH / "default.conf" / "services" / (service + ".conf")
    env = dict(os.environ, LOGWATCH_DETAIL_LEVEL=detail, PERL5LIB=str(LOGWATCH / "lib"), LOGWATCH_DATE_RANGE="all", LOGWATCH_OUTPUT_TYPE="unformatted")
    args = ["--detail", detail, "-f", str(conf)] if service in ("postfix", "amavis") else []
    return subprocess.run(["perl", "-I", str(LOGWATCH / "lib"), str(LOGWATCH / "scripts" / "services" / service), *args], input=text, env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT).stdout.decode()


def test_logwatch_postfix(day):
    out = logwatch("postfix", day)

    def number(what):
        m = re.search(r"(?m)^\s*(\d+)\s+%s(?!\w)" % what, out)
        return int(m.group(1)) if m else 0
    assert number("Accepted") == 8 and number("Delivered") == 6 and number("Sent via SMTP") == 2, out
    assert number("Deferred") == 1 and number(r"Bounced \(remote\)") == 1 and number("Notifications sent") == 1, out
    assert number("5xx Reject relay denied") == 1 and number("5xx Reject unknown user") == 1, out
    assert out.partition("**Unmatched Entries**")[2].strip() == "", out


def test_logwatch_dovecot(day):
    env = dict(os.environ, LOGWATCH_DETAIL_LEVEL="10", PERL5LIB=str(LOGWATCH / "lib"))
    # what logwatch's own configuration does before: *OnlyService and *RemoveHeaders
    lines = [re.sub(r"^\w{3} .\d \d\d:\d\d:\d\d (?:[^\s:]* )?", "", line) for line in log(day).splitlines() if re.search(r" dovecot(\[\d+\])?: ", line)]
    out = subprocess.run(["perl", "-I", str(LOGWATCH / "lib"), str(LOGWATCH / "scripts" / "services" / "dovecot")], input="".join(line + "\n" for line in lines).encode(),
                         env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode()
    assert "Unmatched" not in out, out
    assert re.search(r"alice@example\.com", out) and re.search(r"bob@example\.com", out), out
