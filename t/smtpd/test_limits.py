"""Limits of one client: connections, rates, the pause before the greeting, delays and stress. Each listener has limits of its own, each test an address."""
import base64
import socketserver
import threading
import time

import mailtools
import pytest
from test_esmtp import copies, message
from test_smtp import hello, log_has, new_id

BOB = "bob@example.com"
OPEN = " -o smtpd_tls_auth_only=no"


class Policy(socketserver.ThreadingTCPServer):
    """A policy service that keeps the stress it hears of, and puts off."""
    daemon_threads = True

    def __init__(self):
        heard = self.heard = []

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    if line.startswith(b"stress="):
                        heard.append(line[7:].strip().decode())
                    if line == b"\n":
                        self.wfile.write(b"action=450 4.7.1 later\n\n")
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


POLICY = Policy()
SETTINGS = {
    "inet_interfaces": "127.0.0.1", "filter_enable": "no", "mynetworks": "127.0.0.200", "auth_throttle_exempt": "127.0.0.0/8",
    "smtpd_client_auth_rate_limit": "2", "anvil_rate_time_unit": "300s", "process_limit": "40",
    "listener.count": "2530/smtp -o smtpd_client_connection_count_limit=2",
    "listener.rate": "2531/smtp -o smtpd_client_connection_rate_limit=3",
    "listener.mail": "2532/smtp -o smtpd_client_message_rate_limit=2",
    "listener.rcpt": "2533/smtp -o smtpd_client_recipient_rate_limit=3",
    "listener.tls": "2534/smtp -o smtpd_client_new_tls_session_rate_limit=1",
    "listener.tls2": "2535/submissions -o smtpd_client_new_tls_session_rate_limit=1",
    "listener.enforce": "2536/smtp -o postscreen_greet_wait=1",
    "listener.drop": "2537/smtp -o postscreen_greet_wait=30s -o postscreen_greet_action=drop -o postscreen_greet_banner=",
    "listener.auth": "2538/smtp" + OPEN,
    "listener.errors": "2539/smtp -o smtpd_soft_error_limit=1 -o smtpd_error_sleep_time=1 -o smtpd_hard_error_limit=3",
    "listener.stress": "2540/smtp -o { smtpd_banner = $myhostname ${stress?{busy}:{calm}} } "
                       "-o { smtpd_recipient_restrictions = check_policy_service { inet:127.0.0.1:%d, timeout=20s } }" % POLICY.server_address[1],
}


@pytest.fixture(scope="module")
def limits(module_suite):
    return module_suite("limits", settings=SETTINGS)


def wire(port, n, context=None):
    return mailtools.Wire("127.0.0.1", port, source="127.0.0.%d" % n, context=context)


# --- connections ---

def test_connections_at_once(limits):
    held = [wire(2530, 11) for _ in range(2)]
    for w in held:
        hello(w)
    w = wire(2530, 11)
    assert w.smtp()[0] == 421 and w.closed()
    other = wire(2530, 12)
    hello(other)
    exempt = [wire(2530, 200) for _ in range(4)]
    for w in exempt:
        hello(w)
    log_has(limits, r"smtpd\[\d+\]: warning: Connection concurrency limit exceeded: 3 from unknown\[127\.0\.0\.11\] for service smtp$")


def test_connection_rate(limits):
    for _ in range(3):
        w = wire(2531, 13)
        hello(w)
        w.smtp("QUIT")
    w = wire(2531, 13)
    assert w.smtp()[0] == 421 and w.closed()
    hello(wire(2531, 14))
    log_has(limits, r"smtpd\[\d+\]: warning: Connection rate limit exceeded: 4 from unknown\[127\.0\.0\.13\] for service smtp$")


# --- what is done over them ---

def test_message_rate_over_connections(limits):
    for _ in range(2):
        w = wire(2532, 15)
        hello(w)
        assert w.smtp("MAIL FROM:<s@elsewhere.example>")[0] == 250
    w = wire(2532, 15)
    hello(w)
    assert w.smtp("MAIL FROM:<s@elsewhere.example>") == (450, ["4.7.1 Error: too much mail from 127.0.0.15"])
    w = wire(2532, 16)
    hello(w)
    assert w.smtp("MAIL FROM:<s@elsewhere.example>")[0] == 250
    log_has(limits, r"smtpd\[\d+\]: warning: Message delivery request rate limit exceeded: 3 from unknown\[127\.0\.0\.15\] for service smtp$")


def test_recipient_rate(limits):
    w = wire(2533, 17)
    hello(w)
    assert w.smtp("MAIL FROM:<s@elsewhere.example>")[0] == 250
    codes = [w.smtp("RCPT TO:<bob@example.com>")[0] for _ in range(4)]
    assert codes == [250, 250, 250, 450]
    log_has(limits, r"warning: Recipient address rate limit exceeded: 4 from unknown\[127\.0\.0\.17\] for service smtp$")


def test_tls_rate(limits):
    w = wire(2534, 18)
    hello(w)
    assert w.smtp("STARTTLS")[0] == 220
    w.starttls(limits.tls_context())
    assert w.smtp("EHLO x")[0] == 250
    w = wire(2534, 18)
    hello(w)
    assert w.smtp("STARTTLS")[0] == 421 and w.closed()
    log_has(limits, r"warning: New TLS session rate limit exceeded: 2 from unknown\[127\.0\.0\.18\] for service smtp$")
    hello(wire(2535, 19, limits.tls_context()))
    with pytest.raises(OSError):
        wire(2535, 19, limits.tls_context())


def test_auth_rate(limits):
    w = wire(2538, 20)
    hello(w)
    wrong = "AUTH PLAIN " + base64.b64encode(b"\0bob@example.com\0wrong").decode()
    assert [w.smtp(wrong)[0] for _ in range(2)] == [535, 535]
    code, text = w.smtp("AUTH PLAIN " + base64.b64encode(b"\0bob@example.com\0bob-secret").decode())
    assert code == 450 and "too many AUTH commands" in text[0]
    log_has(limits, r"warning: AUTH command rate limit exceeded: from unknown\[127\.0\.0\.20\] for service smtp$")


# --- the pause before the greeting ---

def test_a_patient_client_waits_once(limits):
    mid = new_id()
    w = wire(2536, 21)
    code, text = w.smtp()      # 220- at once, 220 after the pause
    assert code == 220 and len(text) == 2 and text[0] == text[1]
    w.smtp("EHLO patient.test")
    assert w.smtp("MAIL FROM:<s@elsewhere.example>")[0] == 250
    assert w.smtp("RCPT TO:<bob@example.com>")[0] == 250
    assert w.smtp("DATA")[0] == 354
    w.send(message(mid) + b".\r\n")
    assert w.smtp()[0] == 250 and copies(limits, BOB, mid) == 1
    log_has(limits, r"postscreen\[\d+\]: CONNECT from \[127\.0\.0\.21\]:\d+ to \[127\.0\.0\.1\]:2536$")
    log_has(limits, r"postscreen\[\d+\]: PASS NEW \[127\.0\.0\.21\]:\d+$")
    again = wire(2536, 21)
    code, text = again.smtp()
    assert code == 220 and len(text) == 1
    log_has(limits, r"postscreen\[\d+\]: PASS OLD \[127\.0\.0\.21\]:\d+$")


def test_an_early_talker_delivers_nothing(limits):
    w = wire(2536, 22)
    w.send("EHLO worm.test\r\n")
    assert w.smtp()[0] == 220 and w.smtp()[0] == 250
    assert w.smtp("MAIL FROM:<s@elsewhere.example>")[0] == 250
    assert w.smtp("RCPT TO:<bob@example.com>")[0] == 550
    log_has(limits, r"postscreen\[\d+\]: PREGREET 16 after 0[.0-9]* from \[127\.0\.0\.22\]:\d+: EHLO worm\.test\?\?$")
    log_has(limits, r"NOQUEUE: reject: RCPT from unknown\[127\.0\.0\.22\]: 550 5\.5\.1 Protocol error; from=<s@elsewhere\.example> to=<bob@example\.com>")
    again = wire(2536, 22)      # it has passed nothing
    assert len(again.smtp()[1]) == 2


def test_an_early_talker_is_cut_off(limits):
    w = wire(2537, 23)
    w.send("GET / HTTP/1.1\r\n")
    assert w.smtp()[0] == 521 and w.closed()
    log_has(limits, r"PREGREET 16 after 0[.0-9]* from \[127\.0\.0\.23\]:\d+: GET / HTTP/1\.1\?\?$")


def test_who_hangs_up_in_the_pause(limits):
    w = wire(2537, 24)
    w.sock.close()
    log_has(limits, r"lost connection after CONNECT from unknown\[127\.0\.0\.24\]$")


def test_our_own_networks_do_not_wait(limits):
    hello(wire(2537, 200))


# --- delays, stress ---

def test_errors_are_answered_later_and_later_not_at_all(limits):
    for _ in range(10):         # one of them finds the machine idle enough to show that the first answer does not wait
        w = wire(2539, 25)
        hello(w)
        begin = time.monotonic()
        assert w.smtp("X")[0] == 500
        quick = time.monotonic() - begin
        if quick < 1:
            break
        w.close()
    assert quick < 1
    assert w.smtp("X")[0] == 500
    assert time.monotonic() - begin >= 1
    assert w.smtp("X")[0] == 500 and w.smtp()[0] == 421 and w.closed()


def told(w):
    """What a policy service hears of the connection's stress."""
    assert w.smtp("EHLO client.example")[0] == 250 and w.smtp("MAIL FROM:<a@client.example>")[0] == 250
    assert w.smtp("RCPT TO:<%s>" % BOB)[0] == 450
    return POLICY.heard[-1]


def test_stress(limits):
    w = wire(2540, 26)
    assert w.smtp()[1] == ["mail.example.com calm"] and told(w) == ""
    w.smtp("QUIT")
    held = [wire(2540, 100 + i) for i in range(34)]
    for w in held:
        assert w.smtp()[0] == 220
    w = wire(2540, 150)
    assert w.smtp()[1] == ["mail.example.com busy"] and told(w) == "yes"
    again = wire(2540, 26)      # a process that has served it in calm
    assert again.smtp()[1] == ["mail.example.com busy"] and told(again) == "yes"
    for x in w, again:
        assert x.smtp()[0] == 421 and x.closed()        # one error is enough now
    for w in held:
        w.sock.close()
