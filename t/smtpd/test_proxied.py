"""Clients behind others: PROXY protocol, XCLIENT, XFORWARD; and that nobody else can use them. Rights follow the address that queued believes."""
import base64
import pathlib
import socket
import struct

import ipc
import mailtools
import pytest
from test_esmtp import copies, message
from test_smtp import hello, log_has, new_id

BOB = "bob@example.com"
PROXY, STRANGER = "127.0.0.50", "127.0.0.60"      # where the connection comes from
SETTINGS = {
    "mynetworks": "127.0.0.50 10.1.0.0/16", "relayhost": "[127.0.0.9]:1", "filter_enable": "no", "auth_throttle_exempt": "",
    "smtpd_upstream_proxy_protocol": "haproxy", "smtpd_upstream_proxy_hosts": "127.0.0.50", "smtpd_authorized_xclient_hosts": "127.0.0.70",
    "smtpd_discard_ehlo_keyword_address_maps": "texthash:/etc/discard-keywords", "smtpd_discard_ehlo_keywords": "etrn",
    "smtpd_authorized_xforward_hosts": "127.0.0.70", "client_connection_count_limit": "3",
}


@pytest.fixture(scope="module")
def proxied(module_suite):
    pathlib.Path("/etc/discard-keywords").write_text("127.0.0.71 chunking, silent-discard\n203.0.113.71 DSN\n")     # an /etc of this test's own
    return module_suite("proxied", settings=SETTINGS)


def wire(s, source, port="SMTP", **kw):
    return mailtools.Wire(s.host, s.port(port), source=source, **kw)


def v1(client="203.0.113.7", family="TCP4", server="198.51.100.2"):
    return "PROXY %s %s %s 4000 25\r\n" % (family, client, server)


def v2(client="203.0.113.7", tlv=b""):
    body = socket.inet_aton(client) + socket.inet_aton("198.51.100.2") + struct.pack("!HH", 4000, 25) + tlv
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", len(body)) + body


def relay_answer(w, to="ann@elsewhere.example"):
    assert w.smtp("MAIL FROM:<s@example.com>")[0] == 250
    return w.smtp("RCPT TO:<%s>" % to)[0]


# --- PROXY ---

@pytest.mark.parametrize("header", [v1(), v2(), v2(tlv=b"\x04\0\x10" + b"x" * 16)])
def test_the_client_is_the_one_that_the_header_names(proxied, header):
    mid = new_id()
    w = wire(proxied, PROXY)
    w.send(header)
    hello(w)
    assert relay_answer(w) == 554       # not the proxy's rights
    assert w.smtp("RCPT TO:<bob@example.com>")[0] == 250
    assert w.smtp("DATA")[0] == 354
    w.send(message(mid) + b".\r\n")
    assert w.smtp()[0] == 250
    log_has(proxied, r"connect from unknown\[203\.0\.113\.7\]$")
    log_has(proxied, r": client=unknown\[203\.0\.113\.7\]$")
    (text,) = [f.read_bytes() for f in (proxied.maildir(BOB) / "new").iterdir() if mid.encode() in f.read_bytes()]
    assert b"(unknown [203.0.113.7])" in text


def test_a_client_of_mynetworks_behind_the_proxy_may_relay(proxied):
    w = wire(proxied, PROXY)
    w.send(v1("10.1.2.3"))
    hello(w)
    assert relay_answer(w) == 250


def test_ipv6_and_cut_headers(proxied):
    w = wire(proxied, PROXY)
    for piece in v1("2001:db8::7", "TCP6", "2001:db8::1"):
        w.send(piece)
    hello(w)
    log_has(proxied, r"connect from unknown\[2001:db8::7\]$")


def test_a_proxy_that_speaks_for_itself_gets_no_rights(proxied):
    w = wire(proxied, PROXY)
    w.send(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")
    hello(w)
    assert relay_answer(w) == 554


@pytest.mark.parametrize("junk", [b"EHLO x\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\nEHLO x\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
                                  b"\x16\x03\x01" + b"x" * 300])
def test_a_proxy_without_a_header_is_cut_off(proxied, junk):
    w = wire(proxied, PROXY)
    w.send(junk)
    assert w.closed()
    log_has(proxied, r"warning: haproxy read: unknown\[127\.0\.0\.50\]: PROXY header: ")


def test_a_stranger_cannot_pretend(proxied):
    w = wire(proxied, STRANGER)
    w.send(v1("10.1.2.3"))
    assert w.smtp()[0] in (554, 220)        # talking before the greeting, when it was quick enough
    w = wire(proxied, STRANGER)
    hello(w)
    assert w.smtp(v1("10.1.2.3").rstrip())[0] == 500
    assert relay_answer(w) == 554


def test_tls_begins_behind_the_header(proxied):
    raw = socket.create_connection((proxied.host, proxied.port("SUBMISSIONS")), source_address=(PROXY, 0), timeout=30)
    raw.sendall(v2("203.0.113.9"))
    w = mailtools.Wire.__new__(mailtools.Wire)
    w.sock, w.buf = proxied.tls_context().wrap_socket(raw, server_hostname="localhost"), b""
    hello(w)
    assert w.smtp("AUTH PLAIN " + base64.b64encode(b"\0bob@example.com\0wrong").decode())[0] == 535
    log_has(proxied, r"warning: unknown\[203\.0\.113\.9\]: SASL PLAIN authentication failed")
    log_has(proxied, r"authd.*rip=203\.0\.113\.9")       # the throttle counts the client, not the proxy


def test_the_limit_of_connections_is_the_clients_not_the_proxys(proxied):
    held = []
    for i in range(5):
        w = wire(proxied, PROXY)
        w.send(v1("203.0.113.%d" % (20 + i)))
        hello(w)
        held.append(w)


def test_queued_decides_itself_who_may_say_so(proxied):
    """A front that has been taken over says what it likes on its channel: the registered address counts."""
    for client, message_name, fields in ((STRANGER, "PROXIED", {"client": "10.1.2.3"}), (STRANGER, "XCLIENT", {"addr": "10.1.2.3", "login": "bob@example.com"}),
                                         (STRANGER, "XFORWARD", {"addr": "10.1.2.3"}), (PROXY, "XCLIENT", {"login": "bob@example.com"})):
        parent = ipc.Parent(proxied.run_dir / "queue" / "register", "smtp")
        front = parent.conn("queue", client=client)
        front.send(message_name, id=1, **fields)
        with pytest.raises(ipc.Closed):
            front.recv()


def test_a_proxy_is_nobody_until_it_has_spoken(proxied):
    parent = ipc.Parent(proxied.run_dir / "queue" / "register", "smtp")
    front = parent.conn("queue", client=PROXY)
    front.send("MAIL", id=1, sender="s@example.com", helo="x", esmtp=1)
    assert front.recv()[2]["code"] == 250
    front.send("RCPT", id=2, recipient="ann@elsewhere.example")
    assert front.recv()[2]["code"] == 554


# --- XCLIENT, XFORWARD ---

def test_xclient_changes_rights_both_ways(proxied):
    w = wire(proxied, "127.0.0.70")
    words = hello(w)
    assert any(x.startswith("XCLIENT ") for x in words) and any(x.startswith("XFORWARD ") for x in words)
    assert relay_answer(w) == 554
    w.smtp("RSET")
    assert w.smtp("XCLIENT NAME=in.example ADDR=10.1.2.3")[0] == 220
    w.smtp("EHLO again.test")
    assert relay_answer(w) == 250
    log_has(proxied, r": client=in\.example\[10\.1\.2\.3\]$")
    w = wire(proxied, "127.0.0.70")
    hello(w)
    assert w.smtp("XCLIENT LOGIN=alice@example.com")[0] == 220
    w.smtp("EHLO again.test")
    assert relay_answer(w) == 250
    w.smtp("RSET")
    assert w.smtp("XCLIENT ADDR=203.0.113.7 LOGIN=alice@example.com")[0] == 220, "nobody else has spoken yet"
    w.smtp("EHLO again.test")
    assert relay_answer(w) == 250
    log_has(proxied, r": client=unknown\[203\.0\.113\.7\], sasl_method=XCLIENT, sasl_username=alice@example\.com$")
    w = wire(proxied, "127.0.0.70")
    hello(w)
    assert w.smtp("XCLIENT LOGIN=alice@example.com")[0] == 220
    w.smtp("EHLO again.test")
    assert w.smtp("XCLIENT ADDR=203.0.113.7")[0] == 220
    w.smtp("EHLO again.test")
    assert relay_answer(w) == 554


@pytest.mark.parametrize("told", ["ADDR=203.0.113.7", "ADDR=[UNAVAILABLE]"])
def test_who_comes_through_a_proxy_is_nobody_else(proxied, told):
    """A proxy that has said for whom it acts hands on what that one sends."""
    w = wire(proxied, "127.0.0.70")
    hello(w)
    assert w.smtp("XCLIENT " + told)[0] == 220
    code, words = w.smtp("EHLO again.test")
    assert code == 250 and not any(x.startswith(("XCLIENT", "XFORWARD")) for x in words)
    assert w.smtp("XCLIENT ADDR=10.1.2.3 LOGIN=alice@example.com")[0] == 550 and w.smtp("XFORWARD ADDR=10.1.2.3")[0] == 550
    assert relay_answer(w) == 554


@pytest.mark.parametrize("message, values", [("XCLIENT", {"addr": "10.1.2.3"}), ("XFORWARD", {"addr": "10.1.2.3"})])
def test_queued_believes_no_second_client(proxied, message, values):
    """… whatever its front says."""
    parent = ipc.Parent(proxied.run_dir / "queue" / "register", "smtp")
    front = parent.conn("queue", client="127.0.0.70")
    front.send("XCLIENT", id=1, addr="203.0.113.7")
    assert front.recv()[2]["code"] == 220
    front.send(message, id=2, **values)
    with pytest.raises(ipc.Closed):
        front.recv()


def test_xforward_is_for_the_log(proxied):
    w = wire(proxied, "127.0.0.70")
    hello(w)
    assert w.smtp("XFORWARD NAME=far.example ADDR=10.1.2.3 IDENT=1XYZ SOURCE=REMOTE")[0] == 250
    assert relay_answer(w) == 554       # no right comes of it
    assert w.smtp("RCPT TO:<bob@example.com>")[0] == 250
    log_has(proxied, r": client=unknown\[127\.0\.0\.70\], orig_queue_id=1XYZ, orig_client=far\.example\[10\.1\.2\.3\]$")


def test_keywords_by_address(proxied):
    def gone(words):
        return {"CHUNKING", "DSN", "ETRN"} - {w.split()[0] for w in words}
    assert gone(hello(wire(proxied, STRANGER))) == {"ETRN"}
    assert gone(hello(wire(proxied, "127.0.0.71"))) == {"CHUNKING"}
    w = wire(proxied, PROXY)
    w.send(v1("203.0.113.71"))
    assert gone(hello(w)) == {"DSN"}
    w = wire(proxied, "127.0.0.70")
    hello(w)
    assert w.smtp("XCLIENT ADDR=203.0.113.71")[0] == 220
    assert gone(w.smtp("EHLO again.test")[1]) == {"DSN"}


@pytest.mark.parametrize("command", ["XCLIENT ADDR=10.1.2.3", "XCLIENT LOGIN=alice@example.com", "XFORWARD ADDR=10.1.2.3"])
def test_strangers_may_not(proxied, command):
    w = wire(proxied, STRANGER)
    words = hello(w)
    assert not any(x.startswith("X") for x in words)
    assert w.smtp(command)[0] == 550
    assert relay_answer(w) == 554
