"""postern alarm: told once when it begins, once when it gets worse, once when it is over."""
import json
import os
import smtplib
import ssl
import subprocess
import time

import pytest

from named import Names


@pytest.fixture
def alarm(fresh_suite, tmp_path):
    import mailtools
    s = fresh_suite("alarm", settings={"virus_database_directory": tmp_path, "alarm_disk_warning": "100", "alarm_disk_urgent": "100"})
    mail = mailtools.Mail(s)
    plain = s.conf.read_text()

    def run(settings="", status=None):
        names = [line.split(" =")[0] for line in settings.splitlines()]
        s.conf.write_text("".join(line for line in plain.splitlines(True) if line.split(" =")[0] not in names) + settings)
        before = len(notices())
        p = s.tool("postern-alarm", "--json", check=False)
        assert status is None or p.returncode == status, p.stdout
        rows = {r["alarm"]: r for r in map(json.loads, p.stdout.decode().splitlines())}
        wanted = before + any(r["level"] != r["before"] for r in rows.values()) * (p.returncode != 75)
        end = time.monotonic() + 30
        while len(notices()) < wanted and time.monotonic() < end:
            time.sleep(0.05)
        assert len(notices()) == wanted
        return {k: r["level"] for k, r in rows.items()}, (notices()[-1] if wanted > before else "")

    def notices():
        files = [f for f in mail.files("alice@example.com") if b"\nAuto-Submitted: auto-generated" in f.read_bytes()]
        return [f.read_text() for f in sorted(files, key=lambda f: f.stat().st_mtime_ns)]
    run.suite, run.signatures = s, tmp_path
    return run


def test_each_change_is_told_once(alarm):
    levels, text = alarm(status=0)
    assert set(levels.values()) == {"ok"} and not text
    levels, text = alarm("alarm_disk_warning = 1\n", status=1)
    assert levels["disk"] == "warning" and "a warning" in text and "disk: warning (was ok)" in text and "% full" in text
    assert alarm("alarm_disk_warning = 1\n", status=1)[1] == ""
    levels, text = alarm("alarm_disk_warning = 1\nalarm_disk_urgent = 1\n", status=1)
    assert levels["disk"] == "urgent" and ": urgent" in text
    levels, text = alarm(status=0)
    assert levels["disk"] == "ok" and "well again" in text and "disk: ok (was urgent)" in text


def test_what_goes_out_of_date(alarm):
    levels, text = alarm("alarm_certificate_days = 400\n", status=None)
    assert levels["certificate"] == "ok"        # made for 825 days
    fresh = alarm.signatures / "daily.cld"
    fresh.write_text("x")
    assert alarm()[0]["signatures"] == "ok"
    os.utime(fresh, (time.time() - 3 * 86400,) * 2)
    assert alarm("alarm_signature_days = 5\n", status=0)[0]["signatures"] == "ok"
    levels, text = alarm(status=1)
    assert levels["signatures"] == "warning" and "3 days old" in text
    (alarm.signatures / "daily.cvd").write_text("y")
    levels, text = alarm(status=0)
    assert levels["signatures"] == "ok" and "well again" in text
    levels, text = alarm("tls_cert_file = /nonexistent/cert.pem\n", status=1)
    assert levels["certificate"] == "urgent" and "cannot be read" in text


def test_a_certificate_that_is_about_to_expire(alarm):
    etc = alarm.suite.base / "etc"
    for days, level in ((13, "warning"), (16, "ok"), (0, "urgent")):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(etc / "short-key.pem"), "-out",
                        str(etc / "short.pem"), "-days", str(days or 1), "-subj", "/CN=mail.example.com"], check=True, stderr=subprocess.DEVNULL)
        if days == 0:       # an hour ago
            subprocess.run(["openssl", "x509", "-in", str(etc / "short.pem"), "-signkey", str(etc / "short-key.pem"), "-days", "-1", "-out", str(etc / "short.pem")],
                           check=True, stderr=subprocess.DEVNULL)
        levels, text = alarm("tls_cert_file = %s\ntls_key_file = %s\n" % (etc / "short.pem", etc / "short-key.pem"))
        assert levels["certificate"] == level
        assert {"warning": "expires in 1", "ok": "well again", "urgent": "has expired"}[level] in text


def test_a_certificate_by_name_that_is_about_to_expire(alarm):
    names = Names(alarm.suite.base / "etc")
    good, soon = names.cert("mail.example.net", days=60), [names.cert("soon%d.example.net" % i, days=3) for i in range(8)]
    settings = "tls_server_sni_maps = texthash:%s\n" % names.table
    names.write({"mail.example.net": [good]})
    assert alarm(settings, status=0)[0]["certificate"] == "ok"
    names.write({"mail.example.net": [good], "soon0.example.net": [soon[0]]})
    levels, text = alarm(settings, status=1)
    assert levels["certificate"] == "warning" and "the certificate %s expires in" % soon[0][0] in text and "mail.example.net.pem" not in text
    names.write({"soon%d.example.net" % i: [pair] for i, pair in enumerate(soon)})
    soon[0][0].unlink()
    levels, text = alarm(settings, status=1)
    assert levels["certificate"] == "urgent" and text.count("expires in") == 4 and "; and 3 more (postern check)" in text and "cannot be read: %s" % soon[0][0] in text
    names.table.write_text("nonsense\n")
    assert alarm(settings, status=1)[0]["certificate"] == "urgent"
    assert alarm(status=0)[0]["certificate"] == "ok"


def test_mail_that_waits(alarm):
    s = alarm.suite
    with smtplib.SMTP(s.host, s.port("SUBMISSION")) as m:
        m.starttls(context=ssl._create_unverified_context())
        m.login("alice@example.com", s.passwords["alice@example.com"])
        m.sendmail("alice@example.com", ["x@127.0.0.1.invalid"], "Subject: waits\r\n\r\nx\r\n")
    assert b"127.0.0.1.invalid" in s.tool("postern-queue", "list").stdout
    assert alarm(status=0)[0]["queue"] == "ok"
    end = time.monotonic() + 30
    while alarm("alarm_queue_age = 1\n")[0]["queue"] != "warning":
        assert time.monotonic() < end
        time.sleep(0.2)
    levels, text = alarm("alarm_queue_age = 86400\n", status=0)
    assert levels["queue"] == "ok" and "queue: ok (was warning)" in text


def test_a_suite_that_does_not_answer_is_told_later(alarm):
    s = alarm.suite
    s.stop()
    p = s.tool("postern-alarm", check=False)
    assert p.returncode == 75 and b"does not answer" in p.stdout        # said, and not remembered as told
    assert not (s.state / "alarms").exists()
    s.start()
    assert alarm(status=0)[0]["queue"] == "ok"


def test_nothing_is_told_when_only_asked(alarm):
    s = alarm.suite
    s.conf.write_text(s.conf.read_text().replace("alarm_disk_warning = 100", "alarm_disk_warning = 1"))
    p = s.tool("postern-alarm", "-n", check=False)
    assert p.returncode == 1 and b"disk         warning" in p.stdout and not (s.state / "alarms").exists()
