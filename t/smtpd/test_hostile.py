"""Hostile clients of smtpd that no other file has: t/cases.md says which case is tested where."""
import re
import socket
import ssl
import subprocess

import mailtools
import pytest
from test_esmtp import copies
from test_smtp import envelope, hello, new_id
from waiting import until

BOB = "bob@example.com"


@pytest.fixture(scope="module")
def open_house(module_suite):
    return module_suite("hostile", settings={"filter_enable": "no", "smtpd_error_sleep_time": "0", "smtpd_soft_error_limit": "1000", "smtpd_hard_error_limit": "200",
                                             "mynetworks": "127.0.0.200"})


def wire(s, port="SMTP", source=None, **kw):
    return mailtools.Wire(s.host, s.port(port), source=source, timeout=60, **kw)


def rcpt(s, path):
    with wire(s) as w:
        hello(w)
        assert w.smtp("MAIL FROM:<s@elsewhere.example>")[0] == 250
        return w.smtp("RCPT TO:" + path)


@pytest.mark.parametrize("path, code", [
    ("<%s@example.com>" % ("x" * 255), 550), ("<%s@elsewhere.example>" % ("x" * 255), 554), ("<%s@example.com>" % ("x" * 256), 501), ("<%s@example.com>" % ("x" * 1500), 501),
    ("<bob@%s>" % ".".join(["x" * 50] * 4 + ["y" * 50]), 554), ("<bob@%s>" % ".".join(["x" * 50] * 6), 501), ("<bob@%s.example>" % ("x" * 64), 501),
    ("<bob@EXAMPLE.COM>", 250), ("<BOB@example.com>", 250), ("<bob@example.com >", 501), ("<bob@example..com>", 501), ("<bob@-example.com>", 501),
    ('<"a@b"@c>', 554), ('<"a\\>', 501), ('<"">', 501),
], ids=range(15))
def test_addresses_at_their_limits(open_house, path, code):
    """Cases 10, 11, 14, 16."""
    assert rcpt(open_house, path)[0] == code


@pytest.mark.parametrize("local", ["|/bin/touch", "/etc/passwd", "../../etc/passwd", ":include:/etc/passwd", "-f", "a;b", "$(id)", "`id`", '"a\\\nb"', "~root", "*"])
def test_local_parts_that_mean_something_elsewhere_are_names(open_house, local):
    """Case 15."""
    code = rcpt(open_house, "<%s@example.com>" % local)[0]
    assert code in (550, 501, 500), code
    if "\n" not in local:
        assert rcpt(open_house, '<"%s"@example.com>' % local.strip('"'))[0] == 550


def test_a_dictionary_is_cut_off(open_house):
    """Case 19: nobody tries names without end."""
    with wire(open_house) as w:
        hello(w)
        w.smtp("MAIL FROM:<s@elsewhere.example>")
        codes = []
        while not codes or codes[-1] not in (0, 421):
            codes.append(w.smtp("RCPT TO:<guess%d@example.com>" % len(codes))[0])
        assert 190 <= codes.count(550) <= 210 and w.closed()


def test_chunks_of_one_byte(open_house):
    """Case 39."""
    mid = new_id()
    text = ("Message-ID: %s\r\n\r\n" % mid + "y" * 8000 + "\r\n").encode()
    with wire(open_house) as w:
        hello(w)
        envelope(w)
        w.send(b"".join(b"BDAT 1\r\n" + bytes([c]) for c in text) + b"BDAT 0 LAST\r\n")
        codes = [w.smtp()[0] for _ in range(len(text) + 1)]
    assert set(codes) == {250} and copies(open_house, BOB, mid) == 1


@pytest.mark.parametrize("head", [" folded first\r\nSubject: x\r\n", "Sub\0ject: x\r\n", "Sub ject: x\r\n", "S\xfcbject: x\r\n", "%s: x\r\n" % ("N" * 5000), ": x\r\n"],
                         ids=["folded", "nul", "blank", "8 bit", "long", "empty"])
def test_odd_header_fields(open_house, head):
    """Case 45: accepted with our own fields before them, or refused; never half."""
    mid = new_id()
    with wire(open_house) as w:
        hello(w)
        envelope(w)
        w.smtp("DATA")
        w.send(head.encode("latin-1") + ("Message-ID: %s\r\n\r\nx\r\n.\r\n" % mid).encode())
        code = w.smtp()[0]
    assert code in (250, 550)
    assert copies(open_house, BOB, mid) == (code == 250)
    for f in (open_house.maildir(BOB) / "new").iterdir():
        data = f.read_bytes()
        if mid.encode() in data:
            assert data.startswith(b"Return-Path: <s@elsewhere.example>\n") and data.index(b"\nReceived: ") < data.index(mid.encode())


@pytest.mark.parametrize("field", ["From: " + ", ".join("a%d@b.example" % i for i in range(12000)), "From: " + "(" * 100000 + " a@b.example", "From: a@b.example (\\",
                                   "To: " + "g:" * 20000 + ";", 'Cc: "' + "\\" * 99999],
                         ids=["many", "nested", "cut", "groups", "backslashes"])
def test_address_fields_without_end(open_house, field):
    """Cases 49, 50, for a client whose header addresses are rewritten."""
    mid = new_id()
    with wire(open_house, source="127.0.0.200") as w:
        hello(w)
        envelope(w)
        w.smtp("DATA")
        w.send("Message-ID: %s\r\n%s\r\n\r\nx\r\n.\r\n" % (mid, field))
        assert w.smtp()[0] == 250 and copies(open_house, BOB, mid) == 1


# --- TLS ---

def test_a_handshake_in_small_records(open_house):
    """Case 56: each byte of the first message in a record of its own, and each record in pieces."""
    inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = open_house.tls_context()
    context.check_hostname = False
    tls = context.wrap_bio(inside, outside, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello_record = outside.read()
    with socket.create_connection((open_house.host, open_house.port("SUBMISSIONS")), timeout=60) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for b in hello_record[5:]:
            s.sendall(hello_record[:3] + b"\0\1" + bytes([b]))
        first = s.recv(5)
    assert first == b"" or first[0] in (21, 22), "an alert, an answer or the end"
    with wire(open_house, "SUBMISSIONS", context=context) as w:
        assert w.smtp()[0] == 220


@pytest.mark.parametrize("record", [b"\x15\x03\x03\0\x02\x01\x5a", b"\x16\x03\x03\0\0", b"\x17\x03\x03\0\0", b"\x14\x03\x03\0\x01\x01", b"\x18\x03\x03\0\x03\x01\x40\0"],
                         ids=["warnings", "empty-handshake", "empty-data", "cipher-change", "heartbeat"])
@pytest.mark.parametrize("hello", [False, True], ids=["first", "behind-hello"])
def test_records_that_carry_nothing_end_the_connection(open_house, record, hello):
    """Cases 60, 61: a flood of them is not read until the handshake's time is over; and no heartbeat is answered."""
    inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = open_house.tls_context()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(inside, outside, server_hostname="localhost").do_handshake()
    answer, before, own = b"", len(open_house.log.read_text()), "127.0.0.201"   # what others left behind may be logged late
    with socket.create_connection((open_house.host, open_house.port("SUBMISSIONS")), timeout=60, source_address=(own, 0)) as s:
        try:
            s.sendall((outside.read() if hello else b"") + record * 10000)
            while piece := s.recv(65536):
                answer += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert not answer or answer[0] in (21, 22), "an alert, or the answer to the hello before it"
    why = until(lambda: re.search(r"SSL_accept error from \S*%s\S*: (.*)" % re.escape(own), open_house.log.read_text()[before:])).group(1)
    assert re.fullmatch("TLS handshake: (unexpected (ccs )?message|record too small|too many warn alerts|bad record type|decryption failed or bad record mac)", why), why
    with wire(open_house, "SUBMISSIONS", context=context) as w:
        assert w.smtp()[0] == 220


@pytest.mark.parametrize("name", ["../../etc/passwd", "x" * 250, "127.0.0.1", "*.example.com", "a b", "\u00fc.example", "no.such.host"], ids=range(7))
def test_server_names_are_only_compared(open_house, name):
    """Case 57: the one certificate that there is, or an alert; never a file of that name."""
    p = subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % (open_house.host, open_house.port("SUBMISSIONS")), "-servername", name, "-CAfile", str(open_house.ca),
                        "-quiet", "-verify_quiet"], input=b"QUIT\r\n", stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert p.stdout.startswith(b"220 mail.example.com ") or b"alert" in p.stderr, p


def test_another_protocols_name_in_the_handshake(open_house):
    """Case 58."""
    context = open_house.tls_context()
    context.check_hostname = False
    context.set_alpn_protocols(["http/1.1"])
    with pytest.raises((ssl.SSLError, OSError)):
        wire(open_house, "SUBMISSIONS", context=context)


def test_a_handshake_that_stops(open_house):
    """Many that begin and say no more hold up nobody."""
    held = [socket.create_connection((open_house.host, open_house.port("SUBMISSIONS")), timeout=60) for _ in range(20)]
    for s in held:
        s.sendall(b"\x16\x03\x01\x02\x00")
    context = open_house.tls_context()
    context.check_hostname = False
    with wire(open_house, "SUBMISSIONS", context=context) as w:
        assert w.smtp()[0] == 220
    for s in held:
        s.close()
