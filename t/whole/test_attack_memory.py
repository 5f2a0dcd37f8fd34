"""After a login no process of the suite holds the password any more (all readable memory of all of them is searched)."""
import base64
import imaplib
import pathlib
import poplib
import re
import secrets
import smtplib
import socket
import time

import pytest


def holders(suite, needles):
    """[(pid, command line, needle, region)] of the suite's processes that hold one of the byte strings."""
    found = []
    for pid, _, _, cmd in suite.processes():
        try:
            maps = pathlib.Path("/proc/%d/maps" % pid).read_text().splitlines()
            mem = open("/proc/%d/mem" % pid, "rb", buffering=0)
        except OSError:
            continue
        with mem:
            for line in maps:
                span, perms, _, _, _, *name = line.split(None, 5)
                if not perms.startswith("rw"):
                    continue
                at, end = (int(x, 16) for x in span.split("-"))
                try:
                    mem.seek(at)
                    data = mem.read(end - at)
                except OSError:
                    continue
                found += [(pid, cmd, n, name) for n in needles if n in data]
    return found


def gone(suite, needles, told=None):
    """None of them is found any more, as soon as what was asked is done everywhere."""
    end = time.monotonic() + 30
    while left := holders(suite, needles):
        assert time.monotonic() < end, (left, told)
        time.sleep(0.2)


@pytest.mark.parametrize("service", ["imap login", "imap plain", "pop3", "smtp plain", "smtp login"])
def test_no_password_stays_in_memory(suite, service):
    user, password = "memory@example.com", secrets.token_hex(20)
    if suite.user_exists(user):
        suite.user_passwd(user, password)
    else:
        suite.user_add(user, password)
    deadline = time.monotonic() + 30
    tls = suite.tls_context()
    while True:	# until the new account is known
        try:
            if service.startswith("imap"):
                c = imaplib.IMAP4_SSL(suite.host, suite.port("IMAPS"), ssl_context=tls)
                if service == "imap login":
                    c.login(user, password)
                else:
                    c.authenticate("PLAIN", lambda _: b"\0" + user.encode() + b"\0" + password.encode())
            elif service == "pop3":
                c = poplib.POP3_SSL(suite.host, suite.port("POP3S"), context=tls)
                c.user(user)
                c.pass_(password)
            else:
                c = smtplib.SMTP(suite.host, suite.port("SUBMISSION"))
                c.starttls(context=tls)
                c.ehlo()
                c.user, c.password = user, password
                c.auth("PLAIN", c.auth_plain) if service == "smtp plain" else c.auth("LOGIN", c.auth_login)
            break
        except (imaplib.IMAP4.error, poplib.error_proto, smtplib.SMTPException):
            assert time.monotonic() < deadline
            time.sleep(0.5)
    plain = password.encode()
    gone(suite, [plain, base64.b64encode(plain), base64.b64encode(b"\0" + user.encode() + b"\0" + plain)])


@pytest.mark.parametrize("service", ["imap login", "imap literal", "imap plain", "pop3", "smtp plain"])
def test_no_refused_password_stays_in_memory(suite, service):
    """The password of another account, typed into the wrong field, is none of our memory's business either."""
    user, password = "alice@example.com", secrets.token_hex(20)
    tls = suite.tls_context()
    plain = base64.b64encode(b"\0" + user.encode() + b"\0" + password.encode())
    port = {"imap": "IMAP", "pop3": "POP3", "smtp": "SUBMISSION"}[service.split()[0]]
    with socket.create_connection((suite.host, suite.port(port)), timeout=30) as raw:
        raw.recv(1000)
        if port == "SUBMISSION":
            raw.sendall(b"EHLO me\r\n")
            said = b""
            while not re.search(rb"(?m)^250 .*\n", said):
                said += raw.recv(4000)
        raw.sendall({"IMAP": b"a STARTTLS\r\n", "POP3": b"STLS\r\n", "SUBMISSION": b"STARTTLS\r\n"}[port])
        raw.recv(1000)
        with tls.wrap_socket(raw, server_hostname="localhost") as s:
            for line in {"imap login": [b"b LOGIN %s %s\r\n" % (user.encode(), password.encode())],
                         "imap literal": [b"b LOGIN %s {%d+}\r\n%s\r\n" % (user.encode(), len(password), password.encode())],
                         "imap plain": [b"b AUTHENTICATE PLAIN %s\r\n" % plain],
                         "pop3": [b"USER %s\r\n" % user.encode(), b"PASS %s\r\n" % password.encode()],
                         "smtp plain": [b"EHLO me\r\n", b"AUTH PLAIN %s\r\n" % plain]}[service]:
                s.sendall(line)
                time.sleep(0.3)
                answer = s.recv(4000)
            gone(suite, [password.encode(), plain], answer)
