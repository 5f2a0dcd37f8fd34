"""Suspects wait once; whom our users wrote to does not; nobody else is delayed."""
import base64
import os
import pathlib
import signal
import smtplib
import subprocess
import time

import dkim

import dnsserver
import mailtools

BOB = "bob@example.com"
LETTER = b"From: s@elsewhere.example\r\nDate: Sat, 28 Nov 2026 10:00:00 +0000\r\nSubject: %s\r\nMessage-ID: <%s@test.example>\r\n\r\nhello\r\n"


def send(suite, sender, subject, mid=b"x", to=BOB):
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=30) as s:
        try:
            s.sendmail(sender, [to], LETTER % (subject, mid))
            return 250, ""
        except smtplib.SMTPDataError as e:
            return e.smtp_code, e.smtp_error.decode()


def test_a_suspect_waits_once_and_whom_we_wrote_to_does_not(fresh_suite):
    rules = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "grey-rules"
    rules.mkdir()
    bad = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "grey-bad.conf"
    bad.write_text("greylist_level = much\n")
    (rules / "site.cf").write_text("header GREY_TEST Subject =~ /suspicious/\nscore GREY_TEST 30\ndescribe GREY_TEST A word of the test\n")
    dns = dnsserver.Server()
    dns.add("elsewhere.example", "TXT", "v=spf1 ip4:127.0.0.0/8 -all").add("elsewhere.example", "MX", "10 mx.elsewhere.example").add("mx.elsewhere.example", "A", "192.0.2.25")
    dns.add("unsaid.example", "MX", "10 mx.elsewhere.example")
    suite = fresh_suite("grey", settings={"dns_servers": dns.address, "greylist_level": "25", "greylist_delay": "1", "spam_site_directory": rules, "spam_tag2_level": "100", "spam_kill_level": "100"})
    mail = mailtools.Mail(suite)
    p = subprocess.run([str(suite.bin / "filterd"), "-t", "-c", str(bad)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert p.returncode == 1 and b'greylist_level: "much" is no score' in p.stdout
    assert send(suite, "x@elsewhere.example", b"plain")[0] == 250
    code, text = send(suite, "x@elsewhere.example", b"suspicious")
    assert code == 451 and text.startswith("4.7.1") and "try again" in text
    end = time.monotonic() + 30
    while send(suite, "x@elsewhere.example", b"suspicious", b"waited")[0] != 250:
        assert time.monotonic() < end
        time.sleep(0.2)
    mail.wait_for("<waited@test.example>")
    assert send(suite, "x@elsewhere.example", b"suspicious")[0] == 250      # known now
    assert send(suite, "y@elsewhere.example", b"suspicious")[0] == 451
    context = suite.tls_context()
    context.check_hostname = False
    with smtplib.SMTP_SSL(suite.host, suite.port("SUBMISSIONS"), context=context, timeout=30) as s:
        s.login(BOB, suite.passwords[BOB])
        s.sendmail(BOB, ["Friend@elsewhere.example", "friend@unsaid.example"], LETTER % (b"suspicious", b"out"))
    assert send(suite, "friend@elsewhere.example", b"suspicious")[0] == 250
    assert send(suite, "friend@unsaid.example", b"suspicious")[0] == 451     # anybody can say that he is that friend
    assert send(suite, "friend@elsewhere.example", b"suspicious", to="alice@example.com")[0] == 451
    # by a signature, from wherever: a list, a forwarder
    key = suite.base / "friend.pem"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, stderr=subprocess.DEVNULL)
    der = subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-outform", "DER"], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    dns.add("k._domainkey.unsaid.example", "TXT", "v=DKIM1; k=rsa; p=" + base64.b64encode(der).decode())

    def signed(subject, author="friend@unsaid.example"):
        text = (LETTER % (subject, b"signed")).replace(b"s@elsewhere.example", author.encode())
        return dkim.sign(text, b"k", b"unsaid.example", key.read_bytes(), include_headers=[b"from", b"subject"]) + text

    def relayed(text, envelope, to=BOB):
        with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=30) as s:
            try:
                s.sendmail(envelope + "@elsewhere.example", [to], text)
                return 250
            except smtplib.SMTPDataError as e:
                return e.smtp_code
    assert relayed(signed(b"suspicious"), "l1") == 250
    assert relayed(signed(b"suspicious").replace(b"hello", b"hullo"), "l2") == 451        # no signature any more
    assert relayed(signed(b"suspicious", author="other@unsaid.example"), "l3") == 451     # his domain's, not his
    assert relayed(signed(b"suspicious", author="friend@elsewhere.example"), "l4") == 451     # whom he wrote to, signed by others
    # a restart forgets nobody who is known
    before = [p[0] for p in suite.processes() if p[3] == "filterd: monitor"]
    os.kill(before[0], signal.SIGKILL)
    end = time.monotonic() + 60
    while True:
        try:
            code = send(suite, "friend@elsewhere.example", b"suspicious")
        except (OSError, smtplib.SMTPException):
            code = 0, ""
        if code[0] == 250:
            break
        assert "Greylisted" not in code[1] and time.monotonic() < end, code
        time.sleep(0.1)
    assert before != [p[0] for p in suite.processes() if p[3] == "filterd: monitor"]
    assert send(suite, "x@elsewhere.example", b"suspicious")[0] == 250
    assert send(suite, "y2@elsewhere.example", b"suspicious")[0] == 451
    suite.logged(r"Blocked TEMPFAIL \{TempFailedInbound\}")
    dns.close()
