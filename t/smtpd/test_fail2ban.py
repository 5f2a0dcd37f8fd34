"""Debian's fail2ban reads our log: each mode of its postfix filter finds those whom it should ban, and nobody else. Every client has an address of its own."""
import base64
import os
import shutil
import signal
import subprocess
import time

import mailtools
import pytest
from test_smtp import hello, log_has

ROOT = mailtools.__file__.rsplit("/t/lib/", 1)[0]


@pytest.fixture(scope="module")
def banned(module_suite):
    """mode -> addresses that fail2ban would ban, after one run of every client below."""
    s = module_suite("fail2ban", settings={"syslog_name": "postfix", "inet_interfaces": "127.0.0.1", "filter_enable": "no", "auth_throttle_exempt": "127.0.0.0/8",
                                           "listener.open": "2550/smtp -o smtpd_tls_auth_only=no", "listener.slow": "2551/smtp -o postscreen_greet_wait=1",
                                           "smtpd_hard_error_limit": "3"})

    def wire(n, port=2550):
        return mailtools.Wire("127.0.0.1", port, source="127.0.0.%d" % n)

    def login(n, mech, text):
        w = wire(n)
        hello(w)
        code, answer = w.smtp("AUTH " + mech)
        if code == 334:
            code, answer = w.smtp(base64.b64encode(text).decode())
            while code == 334:
                code, answer = w.smtp(base64.b64encode(b"wrong").decode())
        w.smtp("QUIT")
        return code

    def recipient(n, to):
        w = wire(n)
        hello(w)
        w.smtp("MAIL FROM:<s@elsewhere.example>")
        w.smtp("RCPT TO:<%s>" % to)
        w.smtp("QUIT")
    recipient(31, "nobody-here@example.com")
    recipient(32, "ann@elsewhere.example")
    w = wire(33)
    hello(w)
    for _ in range(3):
        w.smtp("X")
    w = wire(34)
    w.smtp()
    w.send("EHLO x\r\nMAIL FROM:<a@b>\r\n")
    w.closed()
    login(35, "PLAIN", b"\0bob@example.com\0wrong")
    login(36, "LOGIN", b"bob@example.com")
    login(37, "SCRAM-SHA-256", b"n,,n=bob@example.com,r=abcdef")
    w = wire(38)
    hello(w)
    w.sock.close()
    w = wire(39, 2551)
    w.send("EHLO worm.test\r\n")
    w.smtp()
    w.sock.close()
    # one of us: logs in, sends, leaves; and one who meets a back end that is down
    w = wire(40)
    hello(w)
    assert w.smtp("AUTH PLAIN " + base64.b64encode(b"\0bob@example.com\0bob-secret").decode())[0] == 235
    assert w.smtp("MAIL FROM:<bob@example.com>")[0] == 250 and w.smtp("RCPT TO:<alice@example.com>")[0] == 250
    assert w.smtp("DATA")[0] == 354
    w.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
    assert w.smtp()[0] == 250
    w.smtp("QUIT")
    w = wire(41)
    hello(w)
    assert w.smtp("AUTH PLAIN")[0] == 334
    monitor = [p[0] for p in s.processes() if p[3].strip() == "authd: monitor"][0]
    os.kill(monitor, signal.SIGKILL)        # in the middle of the exchange: no other one takes it over
    assert w.smtp(base64.b64encode(b"\0bob@example.com\0bob-secret").decode())[0] in (454, 421)
    log_has(s, r"Connection lost to authentication server")
    w.sock.close()
    log_has(s, r"disconnect from unknown\[127\.0\.0\.41\]")
    time.sleep(0.1)

    def ask(filter_):
        p = subprocess.run(["fail2ban-regex", "-o", "ip", str(s.log), filter_], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert p.returncode == 0, p.stdout.decode()
        return {int(l.rsplit(".", 1)[1]) for l in p.stdout.decode().split() if l.startswith("127.0.0.")}
    return ask


@pytest.mark.parametrize("mode,who", [("normal", {31, 32, 33, 34}), ("auth", {35, 36}), ("ddos", {35, 36, 37, 38, 39}), ("errors", {33})])
def test_debians_filter(banned, mode, who):
    got = banned("postfix[mode=%s]" % mode)
    assert who <= got and not got & {40}, got
    if mode == "auth":
        assert got == who       # 41's back end was down


def test_our_filter_sees_scram_too(banned):
    shutil.copy(ROOT + "/etc/fail2ban/filter.d/postern.conf", "/etc/fail2ban/filter.d/")      # an /etc of this test's own
    assert banned("postern") == {31, 32, 33, 34, 35, 36, 37, 39}
