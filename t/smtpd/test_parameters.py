"""What single parameters of smtpd and of the restrictions do, each shown by its effect: two suites, the first with values that show one thing, the second another."""
import base64
import smtplib
import socketserver
import threading
import time

import pytest

import dnsserver
import mailtools
from test_esmtp import message
from test_smtp import hello, log_has, new_id
from waiting import until

ALICE, BOB = "alice@example.com", "bob@example.com"
LISTED, NAMELESS = "127.0.0.71", "127.0.0.72"


class Policy(socketserver.ThreadingTCPServer):
    """Says DUNNO, or nothing; knows when each connection came and whether it has ended."""
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self):
        policy = self
        self.silent, self.came, self.ended = False, [], 0

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                policy.came.append(time.monotonic())
                for line in self.rfile:
                    if line == b"\n" and not policy.silent:
                        self.wfile.write(b"action=DUNNO\n\n")
                policy.ended += 1
        super().__init__(("127.0.0.1", 0), Handler)
        self.target = "inet:127.0.0.1:%d" % self.server_address[1]
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


BOTH = {"filter_enable": "no", "auth_throttle_exempt": "127.0.0.0/8", "dns_timeout": "5s", "smtpd_error_sleep_time": "0"}


@pytest.fixture(scope="module")
def names():
    dns = dnsserver.Server()
    dns.add("71.0.0.127.bl.test", "A", "127.0.0.2")
    for d in ("parent.test", "host.parent.test", "host.dotted.test", "dotted.test"):
        dns.add(d, "MX", "10 mx." + d)
    yield dns
    dns.close()


@pytest.fixture(scope="module")
def one(module_suite, names):
    policy, old = Policy(), Policy()
    s = module_suite("parameters", settings={
        **BOTH, "inet_interfaces": "127.0.2.1", "dns_servers": names.address, "smtpd_sender_login_own": "no",
        "smtpd_sender_login_maps": "inline:{boss@example.com=alice@example.com}", "parent_domain_matches_subdomains": "", "unknown_address_reject_code": "551",
        "unknown_client_reject_code": "552", "smtpd_user_limit_time": "2s", "smtpd_user_message_limit": "2", "smtpd_upstream_proxy_hosts": "127.0.0.90",
        "smtpd_upstream_proxy_timeout": "1s", "smtpd_policy_service_timeout": "3s", "smtpd_policy_service_try_limit": "3", "smtpd_policy_service_retry_delay": "3s",
        "smtpd_policy_service_default_action": "450 4.7.8 policy is away", "smtpd_policy_service_max_ttl": "1s",
        "postscreen_dnsbl_sites": "bl.test", "postscreen_dnsbl_action": "ignore",
        "listener.line": "2601/smtp -o line_length_limit=512 -o header_size_limit=4096 -o postscreen_greet_ttl=1s -o smtpd_data_time_max=5",
        "listener.client": "2602/smtp -o smtpd_client_restrictions=reject_unknown_client_hostname",
        "listener.sender": "2603/smtp -o { smtpd_sender_restrictions = check_sender_access inline:{{parent.test=REJECT} {.dotted.test=REJECT}}, reject_unknown_sender_domain }",
        "listener.policy": "2604/smtp -o { smtpd_recipient_restrictions = check_policy_service %s }" % policy.target,
        "listener.old": "2608/smtp -o { smtpd_recipient_restrictions = check_policy_service %s }" % old.target,
        "listener.noauth": "2609/submission -o smtpd_tls_auth_only=no -o { smtpd_sasl_exceptions_networks = !127.0.0.92, 127.0.0.0/8 }",
        "listener.proxy": "2605/smtp -o smtpd_upstream_proxy_protocol=haproxy",
        "listener.greet": "2606/smtp -o postscreen_greet_wait=1 -o postscreen_greet_ttl=1s",
        "listener.own": "2607/submissions -o smtpd_sender_restrictions=reject_sender_login_mismatch",
    })
    s.policy, s.old, s.at = policy, old, s.host
    yield s
    policy.shutdown()
    old.shutdown()


@pytest.fixture(scope="module")
def two(module_suite, names):
    policy = Policy()
    s = module_suite("parameters", settings={
        **BOTH, "inet_interfaces": "127.0.2.2", "dns_servers": names.address, "smtpd_policy_service_max_idle": "1s", "postscreen_dnsbl_sites": "bl.test", "postscreen_dnsbl_action": "drop",
        "listener.policy": "2614/smtp -o { smtpd_recipient_restrictions = check_policy_service %s }" % policy.target,
    })
    s.policy, s.at = policy, s.host
    yield s
    policy.shutdown()


def wire(s, port, source=None, **kw):
    return mailtools.Wire(s.at, port, source=source, timeout=30, **kw)


def rcpt(s, port, sender="joe@parent.test", to=BOB, source="127.0.0.70"):
    with wire(s, port, source) as w:
        hello(w)
        assert w.smtp("MAIL FROM:<%s>" % sender)[0] == 250
        return w.smtp("RCPT TO:<%s>" % to)


# --- limits of a listener ---

def test_line_length_limit(one):
    with wire(one, 2601) as w:
        w.smtp()
        assert w.smtp("NOOP " + "x" * (512 - 7))[0] == 250
        assert w.smtp("NOOP " + "x" * (512 - 6)) == (500, ["5.5.6 Error: command line too long"])
    with wire(one, 2602) as w:
        w.smtp()
        assert w.smtp("NOOP " + "x" * (2048 - 7))[0] == 250 and w.smtp("NOOP " + "x" * (2048 - 6))[0] == 500


@pytest.mark.parametrize("size, code", [(4000, 250), (4200, 552)])
def test_header_size_limit(one, size, code):
    with wire(one, 2601) as w:
        hello(w)
        w.smtp("MAIL FROM:<s@parent.test>")
        w.smtp("RCPT TO:<bob@example.com>")
        assert w.smtp("DATA")[0] == 354
        w.send("X-Filler: %s\r\n" % ("y" * 50) * (size // 62) + "\r\n" + "body\r\n" * 2000 + ".\r\n")
        assert w.smtp()[0] == code
    if code != 250:     # what we refuse ourselves is no milter's refusal
        log_has(one, r"/smtpd\[\d+\]: \w+: reject: END-OF-MESSAGE from \S+: 552 5\.3\.4 Error: message header too big; from=<s@parent\.test> to=<bob@example\.com> proto=ESMTP")


def test_smtpd_data_time_max(one):
    """A client that is never silent, and never ready either."""
    with wire(one, 2601) as w:
        hello(w)
        w.smtp("MAIL FROM:<s@parent.test>")
        w.smtp("RCPT TO:<bob@example.com>")
        assert w.smtp("DATA")[0] == 354
        over = threading.Event()

        def talk():
            try:
                while not over.wait(0.2):
                    w.send("one more line\r\n" * 500)
            except OSError:
                pass
        t = threading.Thread(target=talk)
        t.start()
        try:
            code, text = w.smtp()
        except OSError:     # it was reset, with the answer in what was not read
            code, text = 421, ["4.4.2"]
        over.set()
        t.join()
        assert code in (0, 421)
    log_has(one, r"timeout after DATA \(\d+ bytes\) from \S+\[127\.0\.0\.1\]", 30)


def test_postscreen_greet_ttl(one):
    def lines():
        with wire(one, 2606, "127.0.0.73") as w:
            code, text = w.smtp()
            w.smtp("QUIT")
            return len(text)
    assert lines() == 2
    time.sleep(1.2)
    assert lines() == 2, "who passed has to wait again"


def test_smtpd_upstream_proxy_timeout(one):
    with wire(one, 2605, "127.0.0.90") as w:
        assert w.closed(30)


# --- codes, owners, domains ---

def test_unknown_client_reject_code(one):
    code, text = rcpt(one, 2602, source=NAMELESS)
    assert code == 552 and "cannot find your hostname" in text[0]


def test_unknown_address_reject_code(one):
    code, text = rcpt(one, 2603, "x@nowhere.test")
    assert code == 551 and "Domain not found" in text[0]


@pytest.mark.parametrize("domain, code", [("parent.test", 554), ("host.parent.test", 250), ("dotted.test", 250), ("host.dotted.test", 554)])
def test_parent_domain_matches_subdomains(one, domain, code):
    assert rcpt(one, 2603, "x@" + domain)[0] == code


def submission(s, port=2607):
    context = s.tls_context()
    context.check_hostname = False
    c = smtplib.SMTP_SSL(s.at, port, context=context, timeout=30)
    c.login(ALICE, "alice-secret")
    return c


def test_smtpd_sender_login_own(one):
    """Only the table says who owns an address: not even one's own is, but for the table."""
    def answers(*senders):
        out = []
        for sender in senders:
            time.sleep(2.2)     # smtpd_user_message_limit counts these
            with submission(one) as c:
                c.ehlo("x")
                c.docmd("MAIL", "FROM:<%s>" % sender)
                out.append(c.docmd("RCPT", "TO:<bob@example.com>")[0])
        return out
    assert answers("boss@example.com", ALICE) == [250, 553]


def test_smtpd_user_limit_time(one):
    with submission(one) as c:
        time.sleep(2.2)
        c.ehlo("x")
        codes = []
        while len(codes) < 50 and 450 not in codes:
            codes.append(c.docmd("MAIL", "FROM:<boss@example.com>")[0])
            c.rset()
        assert codes[:2] == [250, 250] and codes[-1] == 450
        time.sleep(2.2)
        assert c.docmd("MAIL", "FROM:<boss@example.com>")[0] == 250, "the window has passed"


# --- policy services ---

def test_a_policy_service_that_does_not_answer(one):
    """smtpd_policy_service_timeout, _try_limit, _retry_delay and _default_action."""
    one.policy.silent = True
    before = len(one.policy.came)
    try:
        code, text = rcpt(one, 2604)
    finally:
        one.policy.silent = False
    assert code == 450 and text[0].startswith("4.7.8 ") and "policy is away" in text[0]
    came = one.policy.came[before:]
    assert len(came) == 3
    assert came[2] - came[0] >= 9, "twice three seconds until it counts as silent, and three more before the next try"     # 12, but this side may be late
    assert rcpt(one, 2604)[0] == 250


def test_smtpd_sasl_exceptions_networks(one):
    for source, offered in (("127.0.0.91", False), ("127.0.0.92", True)):
        with wire(one, 2609, source) as w:
            w.smtp()
            assert any(line.startswith("AUTH ") for line in w.smtp("EHLO x.test")[1]) == offered
            answer = w.smtp("AUTH PLAIN " + base64.b64encode(b"\0%s\0%s" % (BOB.encode(), one.passwords[BOB].encode())).decode())
            assert answer[0] == (235 if offered else 503), answer


def test_smtpd_policy_service_max_ttl(one):
    assert rcpt(one, 2608)[0] == 250
    time.sleep(1.2)
    assert rcpt(one, 2608)[0] == 250        # over the same connection, which is old now
    until(lambda: one.old.ended == 1)
    assert rcpt(one, 2608)[0] == 250 and len(one.old.came) == 2


def test_smtpd_policy_service_max_idle(two):
    assert rcpt(two, 2614)[0] == 250
    until(lambda: two.policy.ended == 1)


# --- DNS lists ---

def test_postscreen_dnsbl_action(one, two):
    assert rcpt(one, one.port("SMTP"), source=LISTED)[0] == 250
    log_has(one, r"DNSBL rank 1 for \[127\.0\.0\.71\]")
    with wire(two, two.port("SMTP"), LISTED) as w:
        hello(w)
        w.smtp("MAIL FROM:<joe@parent.test>")
        code, text = w.smtp("RCPT TO:<bob@example.com>")
        assert code == 521 and "blocked using bl.test" in text[0] and w.closed()
    assert rcpt(two, two.port("SMTP"))[0] == 250
