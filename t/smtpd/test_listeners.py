"""Listeners of lines of their own ("listener.NAME = …"), with values of their own; LMTP (RFC 2033)."""
import smtplib
import subprocess

import pytest

import mailtools
from test_esmtp import bdat, copies, message
from test_smtp import hello, log_has, new_id

ALICE, BOB = "alice@example.com", "bob@example.com"
LINES = {
    # the six alternate ports of the article
    "listener.alt-smtp": "725/smtp", "listener.alt-smtps": "825/submissions", "listener.alt-pop3": "710/pop3", "listener.alt-pop3s": "810/pop3s",
    "listener.alt-imap": "743/imap", "listener.alt-imaps": "843/imaps",
    "listener.scanner": "2526/smtp -o mynetworks=127.0.0.0/8 -o message_size_limit=2000 -o { smtpd_banner = $myhostname for scanners }\n"
                        "  -o smtpd_discard_ehlo_keywords=starttls,chunking -o { smtpd_recipient_restrictions = permit_mynetworks, reject }",
    "listener.tight": "2527/smtp -o smtpd_hard_error_limit=2 -o smtpd_recipient_limit=100 -o smtpd_helo_required=no",
    "listener.store": "24/lmtp",
    "relayhost": "[127.0.0.9]:1", "filter_enable": "no", "quota_full_action": "reject", "inet_interfaces": "127.0.0.1",
}


@pytest.fixture(scope="module")
def lines(module_suite):
    s = module_suite("lines", users=(ALICE, BOB, "full@example.com"), settings=LINES)
    s.tool("postern-user", "quota", "full@example.com", "100")
    return s


def wire(port, context=None):
    return mailtools.Wire("127.0.0.1", port, context=context)


# --- lines ---

@pytest.mark.parametrize("port,tls,first", [(725, False, b"220 "), (825, True, b"220 "), (710, False, b"+OK"), (810, True, b"+OK"), (743, False, b"* OK"),
                                            (843, True, b"* OK")])
def test_the_alternate_ports_are_one_line_each(lines, port, tls, first):
    w = wire(port, lines.tls_context() if tls else None)
    assert w.line().startswith(first)


def test_overrides_hold_in_front_and_queue(lines):
    w = wire(2526)
    assert w.smtp() == (220, ["mail.example.com for scanners"])
    code, words = w.smtp("EHLO scanner.test")
    assert code == 250 and "SIZE 2000" in words and not {"STARTTLS", "CHUNKING"} & set(words)
    assert w.smtp("MAIL FROM:<scan@example.com> SIZE=2001")[0] == 552
    assert w.smtp("MAIL FROM:<scan@example.com>")[0] == 250
    assert w.smtp("RCPT TO:<ann@elsewhere.example>")[0] == 250      # mynetworks of this listener
    other = wire(725)
    hello(other)
    assert other.smtp("MAIL FROM:<scan@example.com>")[0] == 250
    assert other.smtp("RCPT TO:<ann@elsewhere.example>")[0] == 554  # and of no other
    assert other.smtp("RCPT TO:<bob@example.com>")[0] == 250


def test_limits_of_one_listener(lines):
    w = wire(2527)
    w.smtp()
    assert w.smtp("MAIL FROM:<s@elsewhere.example>")[0] == 250      # no HELO
    assert w.smtp("X")[0] == 500
    assert w.smtp("X")[0] == 500 and w.smtp()[0] == 421 and w.closed()


@pytest.mark.parametrize("line,says", [("99999/smtp", "bad port"), ("725", "this port needs a profile"), ("725/smtp -o nonsense=1", "no such parameter"),
                                       ("725/smtp -o run_directory=/x", "cannot be set for one listener"), ("725/smtp -o smtpd_timeout=x", "smtpd_timeout"),
                                       ("725/smtp -o smtpd_relay_restrictions=permit", "open relay"),
                                       ("725/smtp -o smtpd_sender_restrictions=frobnicate", "frobnicate")])
def test_postern_check_reads_the_lines(lines, tmp_path, line, says):
    conf = tmp_path / "postern.conf"
    conf.write_text(lines.conf.read_text() + "listener.bad = %s\n" % line)
    p = subprocess.run([lines.bin / "postern", "-c", conf, "check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert p.returncode != 0 and says in p.stdout.decode(), p.stdout.decode()


# --- RFC 2033 ---

def lhlo(name="client.test"):
    w = wire(24)
    code, text = w.smtp()
    assert code == 220 and "LMTP" in text[0] and "SMTP " not in text[0].replace("LMTP", "")
    code, words = w.smtp("LHLO " + name)
    assert code == 250
    return w, words


def test_lmtp_greeting_and_commands(lines):
    w, words = lhlo()
    assert {"PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "CHUNKING"} <= set(words)
    assert not any(x.startswith("AUTH") for x in words)
    assert w.smtp("EHLO x")[0] == 500 and w.smtp("HELO x")[0] == 500
    smtp = wire(725)
    smtp.smtp()
    assert smtp.smtp("LHLO x")[0] == 500


def test_lmtp_answers_for_each_recipient(lines):
    mid = new_id()
    w, _ = lhlo()
    assert w.smtp("MAIL FROM:<s@elsewhere.example>")[0] == 250
    assert w.smtp("RCPT TO:<alice@example.com>")[0] == 250
    assert w.smtp("RCPT TO:<nobody-here@example.com>")[0] == 550
    assert w.smtp("RCPT TO:<bob@example.com>")[0] == 250
    assert w.smtp("RCPT TO:<bob@example.com>")[0] == 250
    assert w.smtp("DATA")[0] == 354
    w.send(message(mid) + b".\r\n")
    answers = [w.smtp() for _ in range(3)]
    assert [a[0] for a in answers] == [250, 250, 250]
    assert w.smtp("NOOP")[0] == 250 and w.buf == b""
    assert copies(lines, ALICE, mid) == 1 and copies(lines, BOB, mid) == 2
    text = next(f for f in (lines.maildir(ALICE) / "new").iterdir() if mid.encode() in f.read_bytes()).read_bytes()
    assert b" with LMTP id " in text


def test_lmtp_tells_which_mailbox_is_full(lines):
    mid = new_id()
    w, _ = lhlo()
    w.smtp("MAIL FROM:<s@elsewhere.example>")
    for to in ("alice", "full", "bob"):
        assert w.smtp("RCPT TO:<%s@example.com>" % to)[0] == 250
    bdat(w, message(mid, "x" * 200 + "\r\n"), last=True)
    answers = [w.smtp() for _ in range(3)]
    assert [a[0] for a in answers] == [250, 552, 250] and answers[1][1][0].startswith("5.2.2 <full@example.com>"), answers
    assert copies(lines, ALICE, mid) == copies(lines, BOB, mid) == 1
    assert not lines.tool("postern-queue", "list", "--json").stdout      # no bounce: the client was told


def test_lmtp_faults_answer_for_each_recipient(lines):
    w, _ = lhlo()
    w.smtp("MAIL FROM:<s@elsewhere.example>")
    w.smtp("RCPT TO:<alice@example.com>")
    w.smtp("RCPT TO:<bob@example.com>")
    bdat(w, b"Received: x\r\n" * 60 + b"\r\nx\r\n", last=True)
    assert [w.smtp()[0] for _ in range(2)] == [554, 554]
    assert w.smtp("NOOP")[0] == 250
    assert w.smtp("DATA")[0] == 503


def test_lmtp_relays_nothing(lines):
    w, _ = lhlo()
    w.smtp("MAIL FROM:<s@elsewhere.example>")
    assert w.smtp("RCPT TO:<ann@elsewhere.example>")[0] in (550, 554)
    assert w.smtp("DATA")[0] == 554


def test_lmtp_by_pythons_client(lines):
    mid = new_id()
    with smtplib.LMTP("127.0.0.1", 24) as c:     # it reads one answer only, however many recipients there are
        refused = c.sendmail("s@elsewhere.example", [ALICE, "nobody-here@example.com"], message(mid))
    assert list(refused) == ["nobody-here@example.com"]
    assert copies(lines, ALICE, mid) == 1
    log_has(lines, r"disconnect from localhost\[127\.0\.0\.1\] lhlo=1 mail=1 rcpt=1/2 data=1 quit=1 commands=5/6$")
