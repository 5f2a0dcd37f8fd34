"""The published article's main.cf, as it is, with only the places of a test appended: what it says must happen, happens."""
import os
import pathlib
import smtplib
import subprocess
import sys
import time
import uuid

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
import dnsserver  # noqa: E402
import mailtools  # noqa: E402
import suite as suite_module  # noqa: E402

NEAR, FAR = "127.0.6.1", "198.51.100.5"


class Article(suite_module.Suite):
    def configure(self):
        etc = self.base / "etc"
        (etc / "aliases").write_text("postmaster: root\nroot: artjoe\n")
        places = {k: v for k, v in self.default_settings().items() if k in (
            "run_directory", "state_directory", "queue_directory", "libexec_directory", "share_directory", "maillog_file", "tls_cert_file", "tls_key_file", "alias_maps",
            "smtp_listeners", "imap_listeners", "pop3_listeners")}
        self.conf.write_text((HERE / "main.cf").read_text() + "".join("%s = %s\n" % kv for kv in {**places, **self.settings}.items()))
        suite_module.run([self.bin / "postalias", "-c", self.conf, "cdb:%s" % (etc / "aliases")])


def sh(*argv, **kw):
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, **kw)
    assert p.returncode == 0, p.stdout.decode()


@pytest.fixture(scope="module")
def scene():
    dns = dnsserver.Server()
    dns.add("good.test", "MX", "10 mx.good.test").add("good.test", "A", "192.0.2.1")
    home = pathlib.Path("/mnt/home-artjoe")
    sh("useradd", "--create-home", "--home-dir", str(home), "--shell", "/usr/sbin/nologin", "artjoe")
    os.chmod(home, 0o700)
    sh("chpasswd", input=b"artjoe:art-secret\n")
    s = Article(pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "article", build=os.environ.get("POSTERN_BUILD", "dev"), hosts=(NEAR,), real_ports=True,
                settings={"dns_servers": dns.address, "filter_enable": "no"})
    s.make()
    s.start()
    # A client from elsewhere: an address that the machine got after mynetworks_style = subnet was looked up.
    sh("ip", "addr", "add", FAR + "/32", "dev", "lo")
    yield s, dns, home
    s.stop()
    dns.close()
    sh("ip", "addr", "del", FAR + "/32", "dev", "lo")
    sh("userdel", "-r", "-f", "artjoe")


def talk(suite, source=FAR, helo="client.good.test", sender="x@good.test", to="artjoe@example.com"):
    w = mailtools.Wire(NEAR, suite.port("SMTP"), source=source, timeout=30)
    assert w.smtp() == (220, ["mail.example.com ESMTP MyOwnPostOffice"])
    assert w.smtp("EHLO " + helo)[0] == 250
    assert w.smtp("MAIL FROM:<%s>" % sender)[0] == 250
    return w, *w.smtp("RCPT TO:<%s>" % to)


@pytest.mark.parametrize("how, code, text", [
    ({}, 250, "2.1.5 Ok"),
    ({"to": "artjoe@mail.example.com"}, 250, "2.1.5 Ok"),
    ({"to": "artjoe@localhost.example.com"}, 250, "2.1.5 Ok"),
    ({"to": "artjoe@[1.2.3.4]"}, 250, "2.1.5 Ok"),
    ({"to": "nobody-here@example.com"}, 550, "5.1.1 <nobody-here@example.com>: Recipient address rejected: User unknown in local recipient table"),
    ({"to": "x@elsewhere.test"}, 554, "5.7.1 <x@elsewhere.test>: Relay access denied"),
    ({"sender": "x@nowhere.test"}, 450, "4.1.8 <x@nowhere.test>: Sender address rejected: Domain not found"),
    ({"sender": ""}, 250, "2.1.5 Ok"),
    ({"source": NEAR, "sender": "x@nowhere.test"}, 250, "2.1.5 Ok"),
    ({"source": NEAR, "to": "x@elsewhere.test"}, 250, "2.1.5 Ok"),
], ids=["to a user", "to the host", "to localhost", "to the proxy's address", "unknown user", "relaying", "unknown sender domain", "null sender", "neighbours are exempt",
        "neighbours may relay"])
def test_the_restrictions_decide_as_they_are_ordered(scene, how, code, text):
    suite, _dns, _home = scene
    w, got, lines = talk(suite, **how)
    w.close()
    assert (got, lines[0]) == (code, text)


def test_a_name_that_is_none_is_refused(scene):
    suite, _dns, _home = scene
    with mailtools.Wire(NEAR, suite.port("SMTP"), source=FAR) as w:
        w.smtp()
        assert w.smtp("EHLO not_a_name!") == (501, ["5.5.2 <not_a_name!>: Helo command rejected: Invalid name"])


def test_a_user_logs_in_and_relays_and_the_mail_is_in_email(scene):
    suite, _dns, home = scene
    context = suite.tls_context()
    context.check_hostname = False
    mid = "<%s@t>" % uuid.uuid4().hex
    with smtplib.SMTP(NEAR, suite.port("SMTP"), timeout=30, source_address=(FAR, 0)) as s:
        s.starttls(context=context)
        s.ehlo("client.good.test")
        assert s.esmtp_features["size"] == "20971520"
        assert s.ehlo_resp.count(b"\nAUTH=") == 1 and s.ehlo_resp.count(b"\nAUTH ") == 1, "broken_sasl_auth_clients"
        s.login("artjoe", "art-secret")
        assert s.docmd("MAIL", "FROM:<x@nowhere.test>")[0] == 250
        assert s.docmd("RCPT", "TO:<x@elsewhere.test>")[0] == 250
        s.rset()
        s.sendmail("artjoe@example.com", ["artjoe@example.com"], "Message-ID: %s\r\nSubject: t\r\n\r\nx\r\n" % mid)
    end = time.monotonic() + 30
    while not any(mid in f.read_text() for f in (home / "email" / "new").glob("*")):
        assert time.monotonic() < end, suite.trouble()
        time.sleep(0.05)


def test_the_size_limit_is_the_articles(scene):
    suite, _dns, _home = scene
    with mailtools.Wire(NEAR, suite.port("SMTP"), source=FAR) as w:
        w.smtp()
        w.smtp("EHLO client.good.test")
        assert w.smtp("MAIL FROM:<x@good.test> SIZE=20971521") == (552, ["5.3.4 Message size exceeds fixed limit"])
        assert w.smtp("MAIL FROM:<x@good.test> SIZE=20971520")[0] == 250


def test_check_accepts_every_line(scene):
    suite, _dns, _home = scene
    out = suite.tool("postern", "check", check=False).stdout.decode()
    lines = len((HERE / "main.cf").read_text().splitlines())
    errors = [l for l in out.splitlines() if ": error:" in l]
    assert not [l for l in errors if int(l.split(":")[1]) <= lines], out
