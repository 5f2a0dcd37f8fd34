"""Real clients send through us: Debian's Postfix (SMTP, submission with login, LMTP), msmtp, swaks, Python's smtplib. What they send must arrive as it was."""
import os
import pathlib
import re
import shutil
import smtplib
import subprocess
import time

import pytest
from test_esmtp import copies, found
from test_smtp import log_has, new_id

ALICE, BOB = "alice@example.com", "bob@example.com"
TRICKY = "..dot\n.\n..\nFrom here\n\u00fcmlaut\n" + "x" * 900 + "\nend\n"


@pytest.fixture(scope="module")
def server(module_suite):
    return module_suite("clients", settings={"filter_enable": "no", "inet_interfaces": "127.0.0.1", "listener.store": "2400/lmtp"})


@pytest.fixture(scope="module")
def postfix(server):
    """A whole Postfix whose mail goes through us: example.com on port 25, authenticated mail on 587, store.example by LMTP."""
    scratch = pathlib.Path(os.environ["POSTERN_SCRATCH"])
    spool = scratch / "postfix-spool"
    subprocess.run(["cp", "-a", "/var/spool/postfix", spool], check=True)
    subprocess.run(["mount", "--bind", spool, "/var/spool/postfix"], check=True)
    data = scratch / "postfix-data"     # not where other Postfixes have theirs
    data.mkdir()
    shutil.chown(data, "postfix")
    etc = pathlib.Path("/etc/postfix")
    (etc / "sasl_passwd").write_text("[%s]:587 alice@example.com:alice-secret\n" % server.host)
    (etc / "transport").write_text("example.com smtp:[%s]:25\nstore.example lmtp:inet:127.0.0.1:2400\n" % server.host)
    (etc / "generic").write_text("@store.example @example.com\n")
    (etc / "main.cf").write_text(
        "compatibility_level = 3.6\ndata_directory = %s\nmyhostname = sender.test\nmydestination =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nalias_maps =\n"
        "smtp_address_preference = ipv4\nmynetworks = 127.0.0.0/8\ntransport_maps = texthash:%s/transport\nlmtp_generic_maps = texthash:%s/generic\n"
        "relayhost = [%s]:587\nsmtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = texthash:%s/sasl_passwd\nsmtp_sasl_security_options = noanonymous\n"
        "smtp_tls_security_level = may\nsmtp_tls_CAfile = %s\nmaillog_file = /var/spool/postfix/maillog\nmaillog_file_prefixes = /var\n"
        "minimal_backoff_time = 300s\n" % (data, etc, etc, server.host, etc, server.ca))
    subprocess.run(["postconf", "-MX", "smtp/inet"], check=True)     # it only sends, and its address may be another suite's
    process = subprocess.Popen(["postfix", "start-fg"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = spool / "maillog"

    def send(text, to, sender=ALICE, *options):
        subprocess.run(["/usr/sbin/sendmail", "-i", "-f", sender, *options, "--", *to], input=text.encode(), check=True)

    def wait(pattern, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            text = log.read_text(errors="replace") if log.exists() else ""
            m = re.search(pattern, text)
            if m:
                return m
            time.sleep(0.05)
        raise AssertionError("no line like %s\n%s%s" % (pattern, text[-3000:], server.trouble()))
    wait("daemon started")
    yield type("P", (), {"send": staticmethod(send), "wait": staticmethod(wait)})
    subprocess.run(["postfix", "stop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process.wait(30)
    subprocess.run(["umount", "/var/spool/postfix"])


def same_body(data, text=TRICKY):
    assert data.split(b"\n\n", 1)[1] == text.encode(), data[-1200:]


def mail(mid, text=TRICKY):
    return "From: alice@example.com\nSubject: t\nMessage-ID: %s\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n%s" % (mid, text)


def test_postfix_sends_by_smtp(server, postfix):
    mid = new_id()
    postfix.send(mail(mid), [ALICE, BOB, "nobody-here@example.com"], "s@elsewhere.example", "-N", "success,failure", "-V", "env1")
    for user in (ALICE, BOB):
        same_body(found(server, user, mid, wait=30))
    postfix.wait(r"to=<nobody-here@example\.com>.*dsn=5\.1\.1, status=bounced")
    postfix.wait(r"to=<bob@example\.com>.*dsn=2\.0\.0, status=sent \(250 2\.0\.0 Ok: queued as")


def test_postfix_logs_in_to_submit(server, postfix):
    mid = new_id()
    postfix.send(mail(mid), ["ann@far.example"])
    postfix.wait(r"to=<ann@far\.example>, relay=%s\[[0-9.]+\]:587.*status=sent" % server.host.replace(".", r"\."))
    log_has(server, r": client=\S+\[[0-9.]+\], sasl_method=\S+, sasl_username=alice@example\.com$")


def test_postfix_delivers_by_lmtp(server, postfix):
    mid = new_id()
    postfix.send(mail(mid), ["alice@store.example", "bob@store.example", "nobody-here@store.example"], "s@elsewhere.example")
    for user in (ALICE, BOB):
        same_body(found(server, user, mid, wait=30))
    postfix.wait(r"postfix/lmtp.*to=<nobody-here@store\.example>.*status=bounced")
    assert copies(server, ALICE, mid) == 1


def test_msmtp(server, tmp_path):
    mid = new_id()
    conf = tmp_path / "msmtprc"
    conf.write_text("account default\nhost localhost\nport 587\nfrom alice@example.com\nauth plain\nuser alice@example.com\npassword alice-secret\ntls on\n"
                    "tls_trust_file %s\n" % server.ca)
    conf.chmod(0o600)
    text = conf.read_text().replace("host localhost", "host %s\ntls_host_override localhost" % server.host)
    conf.write_text(text)
    p = subprocess.run(["msmtp", "-C", conf, "--dsn-notify=failure", "bob@example.com"], input=mail(mid).encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert p.returncode == 0, p.stdout.decode()
    same_body(found(server, BOB, mid))


def test_swaks_by_smtp_and_lmtp(server):
    assert shutil.which("swaks")
    for protocol, port, host in (("ESMTP", 25, server.host), ("LMTP", 2400, "127.0.0.1")):
        mid = new_id()
        p = subprocess.run(["swaks", "--protocol", protocol, "--server", host, "--port", str(port), "--from", "s@elsewhere.example", "--to", "alice@example.com,bob@example.com",
                            "--header", "Message-ID: " + mid], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert p.returncode == 0, p.stdout.decode()
        assert copies(server, ALICE, mid) == copies(server, BOB, mid) == 1


def test_smtplib_with_extensions(server):
    mid = new_id()
    with smtplib.SMTP(server.host, 25, timeout=30) as s:
        s._host = "localhost"       # the name in the certificate
        s.starttls(context=server.tls_context())
        s.ehlo("smtplib.test")
        assert s.has_extn("dsn") and s.has_extn("chunking") and s.has_extn("smtputf8") and s.has_extn("limits")
        s.sendmail("j\u00f6@elsewhere.example", [BOB], mail(mid).replace("\n", "\r\n").encode(), mail_options=["SMTPUTF8", "BODY=8BITMIME", "RET=HDRS", "ENVID=x"],
                   rcpt_options=["NOTIFY=FAILURE", "ORCPT=rfc822;bob@example.com"])
    same_body(found(server, BOB, mid))
