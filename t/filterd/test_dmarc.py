"""DMARC aggregate data and reports: what is kept of forged and good mail, what owners of domains get, and who gets nothing."""
import base64
import datetime
import email
import gzip
import json
import os
import pathlib
import smtplib
import time
import xml.etree.ElementTree as ElementTree

import pytest

import dnsserver
import smtpsink
import suite as suite_module

HOST, BOB = "127.0.79.1", "bob@example.com"


class Scene:
    def __init__(self):
        self.dns, self.sink = dnsserver.Server(), smtpsink.Sink()
        self.dns.add("_dmarc.bank.test", "TXT", "v=DMARC1; p=reject; sp=none; adkim=s; rua=mailto:r@bank.test!10m, mailto:x@other.test,mailto:y@stranger.test")
        self.dns.add("bank.test._report._dmarc.other.test", "TXT", "v=DMARC1")
        self.dns.add("_dmarc.quiet.test", "TXT", "v=DMARC1; p=reject")
        self.dns.add("good.test", "TXT", "v=spf1 ip4:127.0.0.0/8 -all").add("_dmarc.good.test", "TXT", "v=DMARC1; p=none; rua=mailto:r@good.test")
        self.suite = s = suite_module.Suite(pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "dmarc", build=os.environ.get("POSTERN_BUILD", "dev"), hosts=(HOST,), real_ports=True,
                                            settings={"dns_servers": self.dns.address, "mynetworks": "203.0.113.0/24", "filter_virus_check": "no",
                                                      "relayhost": "[127.0.0.1]:%d" % self.sink.port})
        s.make()
        s.user_add(BOB, "bob-secret")
        s.start()
        self.dir = s.state / "dmarc"
        self.today = self.dir / datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d")

    def send(self, sender, envelope="x@good.test"):
        with smtplib.SMTP(HOST, self.suite.port("SMTP"), timeout=60) as c:
            try:
                c.sendmail(envelope, [BOB], "From: %s\r\nTo: %s\r\nSubject: t\r\nDate: Sat, 28 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%s@t>\r\n\r\nhello\r\n"
                           % (sender, BOB, os.urandom(8).hex()))
            except smtplib.SMTPDataError as e:
                return e.smtp_code
        return 250

    def tool(self, *args, check=True):
        p = self.suite.tool("postern-dmarc", *args, check=check)
        return p.returncode, p.stdout.decode()

    def lines(self, n):
        """The day's lines, once there are n."""
        end = time.monotonic() + 30
        while True:
            text = self.today.read_text() if self.today.exists() else ""
            if text.count("\n") >= n:
                return text.splitlines()
            assert time.monotonic() < end, text
            time.sleep(0.02)

    def reports(self, n):
        """What the sink got: (recipient, mail, report)."""
        self.sink.wait(n)
        out = []
        for env, data, _secure in self.sink.messages:
            mail = email.message_from_bytes(data)
            part = [p for p in mail.walk() if p.get_content_type() == "application/gzip"][0]
            out.append((str(env), mail, part.get_filename(), ElementTree.fromstring(gzip.decompress(base64.b64decode(part.get_payload())))))
        return out


@pytest.fixture(scope="module")
def scene():
    s = Scene()
    yield s
    s.suite.stop()
    s.dns.close()
    s.sink.close()


def test_what_was_measured_is_kept_for_those_who_ask(scene):
    assert [scene.send("boss@bank.test") for _ in range(3)] == [550] * 3
    assert scene.send("joe@sub.bank.test") == 250       # sp=none
    assert scene.send("joe@good.test") == 250
    assert scene.send("boss@quiet.test") == 550         # without rua=: nothing
    assert scene.send("joe@nobody.test") == 250
    lines = scene.lines(5)
    assert len(lines) == 5 and not any("quiet.test" in line for line in lines)
    assert scene.dir.stat().st_mode & 0o777 == 0o700
    assert json.loads(scene.tool("list", "--json")[1]) == [{"day": scene.today.name, "messages": 5, "reports": 2}]


def test_a_day_that_is_not_over_is_not_reported(scene):
    assert scene.tool("report") == (0, "")
    assert scene.today.exists() and not scene.sink.messages


def test_owners_get_a_report_and_strangers_do_not(scene):
    _status, out = scene.tool("report", "--day", scene.today.name)
    assert "not to y@stranger.test" in out
    got = scene.reports(3)
    assert sorted(to for to, *_rest in got) == sorted(got_to for got_to, *_ in got) and len(got) == 3
    recipients = " ".join(to for to, *_rest in got)
    assert all(a in recipients for a in ("r@bank.test", "x@other.test", "r@good.test")) and "stranger" not in recipients
    _to, mail, name, report = [g for g in got if "r@bank.test" in g[0]][0]
    begin = int(report.findtext("report_metadata/date_range/begin"))
    assert mail["Subject"].replace("\r\n", "").startswith("Report Domain: bank.test Submitter: example.com Report-ID: <%s." % scene.today.name)
    assert name.startswith("example.com!bank.test!%d!%d" % (begin, begin + 86399)) and name.endswith(".xml.gz") and begin % 86400 == 0
    assert {k: report.findtext("policy_published/" + k) for k in ("domain", "p", "sp", "adkim", "aspf", "pct")} == {
        "domain": "bank.test", "p": "reject", "sp": "none", "adkim": "s", "aspf": "r", "pct": "100"}
    rows = {r.findtext("identifiers/header_from"): r for r in report.findall("record")}
    assert set(rows) == {"bank.test", "sub.bank.test"}
    row = rows["bank.test"]
    assert [row.findtext("row/" + k) for k in ("source_ip", "count", "policy_evaluated/disposition", "policy_evaluated/dkim", "policy_evaluated/spf")] == [
        "127.0.0.1", "3", "reject", "fail", "fail"]
    assert [row.findtext("auth_results/spf/" + k) for k in ("domain", "scope", "result")] == ["good.test", "mfrom", "pass"]
    assert rows["sub.bank.test"].findtext("row/policy_evaluated/disposition") == "none"


def test_a_second_run_sends_nothing_twice(scene):
    before = len(scene.sink.messages)
    assert scene.tool("report", "--day", scene.today.name) == (0, "")
    assert scene.send("boss@bank.test") == 550 and len(scene.lines(6)) == 6
    assert len(scene.sink.messages) == before


def test_a_day_that_is_over_is_reported_and_removed_whatever_stands_in_it(scene):
    old = scene.dir / "20261101"
    good = scene.lines(1)[0].replace("bank.test", "good.test")
    old.write_bytes(b"\0\xff garbage\n1\t\n" + b"x" * 100000 + b"\n" + good.encode() + b"\n" + good.encode()[:50])
    os.chown(old, scene.dir.stat().st_uid, scene.dir.stat().st_gid)
    before = len(scene.sink.messages)
    status, out = scene.tool("report")
    assert status == 0 and "4 of 5 lines are left out" in out
    assert not old.exists() and not (scene.dir / "20261101.done").exists() and scene.today.exists()
    assert len(scene.reports(before + 1)) >= before + 1


def test_reports_that_cannot_be_sent_now_wait(scene):
    old = scene.dir / "20261102"
    old.write_text(scene.lines(1)[0].replace("mailto:r@bank.test!10m", "mailto:z@mute.test") + "\n")
    os.chown(old, scene.dir.stat().st_uid, scene.dir.stat().st_gid)
    scene.dns.add("bank.test._report._dmarc.mute.test", "*", "SERVFAIL")
    status, out = scene.tool("report", check=False)
    assert status == 1 and "nobody answers" in out and old.exists()
    old.unlink()


def test_lines_outlive_a_crash_of_the_monitor(scene):
    n = len(scene.lines(1))
    pid = [p[0] for p in scene.suite.processes() if p[3] == "filterd: monitor"][0]
    with open(scene.today, "ab") as f:
        f.write(b"1\tcut sh")
    os.kill(pid, 9)
    end = time.monotonic() + 30
    while True:
        try:
            if scene.send("boss@bank.test") == 550:
                break
        except (smtplib.SMTPException, OSError):
            pass
        assert time.monotonic() < end
        time.sleep(0.05)
    lines = scene.lines(n + 2)
    assert lines[n] == "1\tcut sh" and "policy=bank.test" in lines[n + 1]


@pytest.mark.parametrize("args", [(), ("frobnicate",), ("report", "x"), ("report", "--day", "20260101")])
def test_what_the_tool_refuses(scene, args):
    assert scene.tool(*args, check=False)[0] != 0
