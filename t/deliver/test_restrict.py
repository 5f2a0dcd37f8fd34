"""Restriction lists in the whole: names from a name server of this test, compiled and plain tables, a policy service; what is logged, and what reaches the mailbox."""
import os
import pathlib
import re
import smtplib
import socketserver
import sys
import threading
import time
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import dnsserver  # noqa: E402
import mailtools  # noqa: E402
import smtpsink  # noqa: E402
import suite as suite_module  # noqa: E402

CLIENT, LISTED, NAMELESS, SILENT, TOLD = "127.0.4.10", "127.0.4.11", "127.0.4.12", "127.0.4.13", "127.0.4.14"


class Policy(socketserver.ThreadingTCPServer):
    """A policy service: keeps the requests, answers as told by the recipient's local part."""
    allow_reuse_address = True
    daemon_threads = True
    ANSWERS = {"greylisted": b"action=DEFER_IF_PERMIT 4.2.0 Greylisted\n\n", "refused": b"action=REJECT not this one\n\n", "headers": b"action=PREPEND X-Policy: seen\n\n",
               "hangup": b"", "garbage": b"\x00\xff\n\n", "endless": b"x=" + b"y" * 20000, "twice": b"action=OK\n\naction=OK\n\n"}

    def __init__(self):
        policy = self
        self.requests, self.connections = [], 0

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                policy.connections += 1
                while True:
                    request = {}
                    for line in self.rfile:
                        line = line.decode().rstrip("\n")
                        if not line:
                            break
                        k, _, v = line.partition("=")
                        request[k] = v
                    if not request:
                        return
                    policy.requests.append(request)
                    answer = policy.ANSWERS.get(request["recipient"].split("@")[0].split("+")[-1], b"action=DUNNO\n\n")
                    if not answer:
                        return
                    try:
                        self.wfile.write(answer)
                    except OSError:
                        return
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


@pytest.fixture(scope="module")
def scene():
    dns, policy = dnsserver.Server(), Policy()
    base = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "restrict"
    etc = base / "etc"
    s = suite_module.Suite(base, build=os.environ.get("POSTERN_BUILD", "dev"), hosts=("127.0.4.1",), real_ports=True, settings={
        "dns_servers": dns.address, "dns_timeout": "2s", "mynetworks": "127.0.4.1/32", "filter_enable": "no",
        "smtpd_restriction_classes": "strict", "strict": "reject_unknown_client_hostname",
        "smtpd_client_restrictions": "reject_rbl_client bl.test=127.0.0.[2..9], reject_rbl_client bl2.test",
        "rbl_reply_maps": "texthash:%s/replies" % etc, "smtpd_reject_footer_maps": "pcre:%s/footers" % etc,
        "smtpd_helo_restrictions": "check_helo_access pcre:%s/helo" % etc,
        "smtpd_sender_restrictions": "check_sender_access cdb:%s/senders, reject_unknown_sender_domain, reject_sender_login_mismatch" % etc,
        "smtpd_recipient_restrictions": "check_recipient_access texthash:%s/recipients, check_client_access cidr:%s/networks, "
                                        "check_policy_service { inet:127.0.0.1:%d, timeout=5s, try_limit=1, default_action=DUNNO, policy_context=recipients }"
                                        % (etc, etc, policy.server_address[1]),
        "smtpd_policy_service_policy_context": "elsewhere", "smtpd_policy_service_request_limit": "10",
        "smtpd_data_restrictions": "reject_multi_recipient_bounce",
        "smtpd_end_of_data_restrictions": "check_sender_access inline:{big@good.test=HOLD}",
        "listener.back": "127.0.4.1:10025/smtp -o { smtpd_recipient_restrictions = permit_mynetworks, reject } -o smtpd_sender_restrictions= -o smtpd_client_restrictions=",
        "smtpd_reject_footer": "Ask postmaster@example.com, you are $client_address",
        "postscreen_dnsbl_sites": "w1.test*2, w2.test=127.0.0.[10;11]*2", "postscreen_dnsbl_threshold": "3",
    })
    dns.host("client.good.test", CLIENT).host("listed.test", LISTED)
    dns.add("good.test", "MX", "10 mx.good.test").add("nullmx.test", "MX", "0 .").add("slow.test", "*", "SERVFAIL").add("a-only.test", "A", "192.0.2.1")
    dns.add("11.4.0.127.bl.test", "A", "127.0.0.4").add("11.4.0.127.bl.test", "TXT", "see http://bl.test/?127.0.4.11")
    dns.add("14.4.0.127.bl2.test", "A", "127.0.0.4")
    dns.add("13.4.0.127.w1.test", "A", "127.0.0.2").add("13.4.0.127.w2.test", "A", "127.0.0.11")
    dns.add(dnsserver.reverse(CLIENT), "PTR")
    etc.mkdir(parents=True, exist_ok=True)
    (etc / "helo").write_text("/^(evil)\\./ REJECT no $1 here\n")
    (etc / "senders").write_text("bad@good.test 554 5.7.9 We know you\nsub.good.test REJECT not this domain\n<> DUNNO\nprepended@good.test PREPEND X-Tag: from table\n")
    (etc / "recipients").write_text("bob+strict@example.com strict\nbob+moved@ REDIRECT alice@example.com\nbob+copied@example.com BCC alice@example.com\n"
                                    "bob+gone@example.com DISCARD\nbob+filter@example.com FILTER smtp-amavis:[127.0.0.1]:1\n"
                                    "postmaster@example.com FILTER smtp:[127.0.4.2]:10024\n")
    (etc / "replies").write_text("bl2.test 550 5.7.9 $rbl_class $client_address is on $rbl_domain${rbl_reason?, and why}, $sender\n")
    (etc / "footers").write_text("/^550 5\\.7\\.9 Client host \\S+ is on (\\S+),/ \\c; ask $1\\nor $$server_name\n/^500 / you said $$what\n")
    (etc / "networks").write_text("127.0.4.12/32 450 4.7.9 not from here\n")
    s.make()
    s.tool("postmap", "cdb:%s/senders" % etc)
    s.passwords = {}
    for u in ("alice@example.com", "bob@example.com"):
        s.passwords[u] = u.split("@")[0] + "-secret"
        s.user_add(u, s.passwords[u])
    s.start()
    yield s, dns, policy
    s.stop()
    dns.close()
    policy.shutdown()


def talk(suite, source, sender="joe@good.test", to="bob@example.com", helo="client.good.test"):
    w = mailtools.Wire(suite.hosts[0], suite.port("SMTP"), source=source, timeout=30)
    assert w.smtp()[0] == 220
    assert w.smtp("EHLO " + helo)[0] == 250
    code, text = w.smtp("MAIL FROM:<%s>" % sender)
    assert code == 250, (text, suite.trouble())
    return w, *w.smtp("RCPT TO:<%s>" % to)


def log_has(suite, pattern, timeout=30):
    end = time.monotonic() + timeout
    while not re.search(pattern, suite.log.read_text(errors="replace"), re.M):
        assert time.monotonic() < end, pattern + "\n" + suite.trouble()
        time.sleep(0.05)


REFUSALS = [
    ("listed", LISTED, {}, 554, r"5.7.1 Service unavailable; Client host \[127.0.4.11\] blocked using bl.test; see http://bl.test/\?127.0.4.11"),
    ("weighted", SILENT, {}, 550, r"5.7.1 Service unavailable; client \[127.0.4.13\] blocked using w[12].test"),
    ("helo by pattern", CLIENT, {"helo": "evil.example"}, 554, r"5.7.1 <evil.example>: Helo command rejected: no evil here"),
    ("sender in a table", CLIENT, {"sender": "bad@good.test"}, 554, r"5.7.9 <bad@good.test>: Sender address rejected: We know you"),
    ("sender's domain in a table", CLIENT, {"sender": "x@host.sub.good.test"}, 554, r"5.7.1 <x@host.sub.good.test>: Sender address rejected: not this domain"),
    ("sender domain unknown", CLIENT, {"sender": "x@nowhere.test"}, 450, r"4.1.8 <x@nowhere.test>: Sender address rejected: Domain not found"),
    ("sender domain with a null MX", CLIENT, {"sender": "x@nullmx.test"}, 550, r"5.7.27 <x@nullmx.test>: .*nullMX"),
    ("sender domain in trouble", CLIENT, {"sender": "x@slow.test"}, 450, r"4.4.3 <x@slow.test>: "),
    ("a stranger as one of us", CLIENT, {"sender": "alice@example.com"}, 553, r"5.7.1 <alice@example.com>: Sender address rejected: not logged in"),
    ("a network", NAMELESS, {}, 450, r"4.7.9 <unknown\[127.0.4.12\]>: Client host rejected: not from here"),
    ("a class from a table", NAMELESS, {"to": "bob+strict@example.com"}, 450, r"4.7.25 <unknown\[127.0.4.12\]>: Client host rejected: cannot find your hostname, \[127.0.4.12\]"),
    ("relaying", CLIENT, {"to": "x@elsewhere.test"}, 554, r"5.7.1 <x@elsewhere.test>: Relay access denied"),
    ("policy: later", CLIENT, {"to": "bob+greylisted@example.com"}, 450, r"4.2.0 <bob\+greylisted@example.com>: Recipient address rejected: Greylisted"),
    ("policy: never", CLIENT, {"to": "bob+refused@example.com"}, 554, r"5.7.1 <bob\+refused@example.com>: Recipient address rejected: not this one"),
    ("a filter transport that there is not", CLIENT, {"to": "bob+filter@example.com"}, 451, r"4.3.5 Server configuration error"),
]


@pytest.mark.parametrize("source, how, code, text", [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS])
def test_refused_with_reason_and_footer(scene, source, how, code, text):
    suite, _dns, _policy = scene
    w, got, lines = talk(suite, source, **how)
    with w:
        assert got == code and re.search(text, lines[0]), lines
        assert lines[1].endswith("Ask postmaster@example.com, you are %s" % source)
    log_has(suite, r"NOQUEUE: reject: RCPT from \S+\[%s\]: %d " % (source, code))


def test_a_list_with_words_and_a_footer_of_its_own(scene):
    suite, _dns, _policy = scene
    w, code, lines = talk(suite, TOLD)
    with w:
        assert code == 550 and lines == ["5.7.9 Client host 127.0.4.14 is on bl2.test, joe@good.test; ask bl2.test", "5.7.9 or mail.example.com"]
        assert w.smtp("WHAT") == (500, ["5.5.2 Error: command not recognized"]), "a footer with a name that there is not is none"
    log_has(suite, r"NOQUEUE: reject: RCPT from \S+\[%s\]: 550 5\.7\.9 Client host 127\.0\.4\.14 is on bl2\.test, joe@good\.test;" % TOLD)
    log_has(suite, r"smtpd_reject_footer: \$what is not known here")


def test_names_are_verified_logged_and_in_received(scene):
    suite, _dns, _policy = scene
    mid = "<%s@t>" % uuid.uuid4().hex
    w, code, _ = talk(suite, CLIENT, sender="prepended@good.test", to="bob+headers@example.com")
    with w:
        assert code == 250 and w.smtp("DATA")[0] == 354
        w.send("Message-ID: %s\r\nFrom: x@good.test\r\n\r\nhello\r\n.\r\n" % mid)
        code, text = w.smtp()
        assert code == 250
        qid = text[0].split()[-1]
    log_has(suite, r"smtpd\[\d+\]: %s: client=client\.good\.test\[%s\]" % (qid, CLIENT))
    log_has(suite, r"disconnect from client\.good\.test\[%s\]" % CLIENT)
    raw = mailtools.Mail(suite).wait_for(mid, "bob@example.com").read_bytes()
    assert b"Received: from client.good.test (client.good.test [%s])" % CLIENT.encode() in raw.replace(b"\n\t", b" ").replace(b"\r", b"")
    assert b"X-Tag: from table" in raw and b"X-Policy: seen" in raw


def deliver(suite, to, **how):
    mid = "<%s@t>" % uuid.uuid4().hex
    w, code, text = talk(suite, CLIENT, to=to, **how)
    with w:
        assert code == 250, text
        assert w.smtp("DATA")[0] == 354
        w.send("Message-ID: %s\r\nFrom: x@good.test\r\n\r\nhello\r\n.\r\n" % mid)
        code, text = w.smtp()
        assert code == 250, text
        return mid, text[0].split()[-1]


def stored(suite, user, mid):
    return any(mid.encode() in p.read_bytes() for d in ("new", "cur") for p in (suite.maildir(user) / d).glob("*"))


def test_redirected_copied_discarded_held(scene):
    suite, _dns, _policy = scene
    mail = mailtools.Mail(suite)
    moved, _ = deliver(suite, "bob+moved@example.com")
    mail.wait_for(moved, "alice@example.com")
    assert not stored(suite, "bob@example.com", moved)
    copied, _ = deliver(suite, "bob+copied@example.com")
    mail.wait_for(copied, "alice@example.com")
    mail.wait_for(copied, "bob@example.com")
    gone, qid = deliver(suite, "bob+gone@example.com")
    log_has(suite, r"%s: discard: END-OF-MESSAGE from client\.good\.test" % qid)
    held, qid = deliver(suite, "bob@example.com", sender="big@good.test")
    listing = suite.tool("postern-queue", "list").stdout.decode()
    assert qid in listing, listing
    assert not stored(suite, "bob@example.com", gone) and not stored(suite, "bob@example.com", held)
    suite.tool("postern-queue", "release", qid)
    mail.wait_for(held, "bob@example.com")


def test_a_filter_gets_the_message_and_gives_it_back(scene):
    """For the recipient as it was named: the alias leads to alice when the message comes back."""
    suite, _dns, _policy = scene
    content_filter = smtpsink.Sink("127.0.4.2", 10024)
    try:
        mid, qid = deliver(suite, "postmaster@example.com")
        envelope, data, _secure = content_filter.wait(timeout=30)
        assert envelope[0].startswith("MAIL FROM:<joe@good.test>") and [e.split()[1] for e in envelope[1:]] == ["TO:<postmaster@example.com>"]
        log_has(suite, r"%s: filter: END-OF-MESSAGE from client\.good\.test\[127.0.4.10\]: goes to smtp:\[127.0.4.2\]:10024" % qid)
        assert not stored(suite, "alice@example.com", mid)
        with smtplib.SMTP("127.0.4.1", 10025, source_address=("127.0.4.1", 0), timeout=30) as back:
            back.sendmail("joe@good.test", ["postmaster@example.com"], data)
        mailtools.Mail(suite).wait_for(mid, "alice@example.com", timeout=30)
        assert len(content_filter.messages) == 1
    finally:
        content_filter.close()


def test_a_bounce_to_several_is_refused_at_data(scene):
    suite, _dns, _policy = scene
    w, code, _ = talk(suite, CLIENT, sender="")
    with w:
        assert code == 250 and w.smtp("RCPT TO:<alice@example.com>")[0] == 250
        code, text = w.smtp("DATA")
        assert code == 550 and text[0] == "5.5.3 <DATA>: Data command rejected: Multi-recipient bounce"
        assert w.smtp("RSET")[0] == 250 and w.smtp("MAIL FROM:<joe@good.test>")[0] == 250


def test_users_send_as_themselves_only(scene):
    suite, _dns, _policy = scene
    context = suite.tls_context()
    context.check_hostname = False
    with smtplib.SMTP_SSL(suite.hosts[0], suite.port("SUBMISSIONS"), context=context, timeout=30) as s:
        s.login("alice@example.com", suite.passwords["alice@example.com"])
        assert s.docmd("MAIL", "FROM:<alice@example.com>")[0] == 250
        assert s.docmd("RCPT", "TO:<bob@example.com>")[0] == 250
        s.rset()
        assert s.docmd("MAIL", "FROM:<postmaster@example.com>")[0] == 250, "an alias that is delivered to her is hers"
        assert s.docmd("RCPT", "TO:<bob@example.com>")[0] == 250
        s.rset()
        s.docmd("MAIL", "FROM:<bob@example.com>")
        code, text = s.docmd("RCPT", "TO:<bob@example.com>")
        assert code == 553 and b"not owned by user alice@example.com" in text


def test_a_policy_service_gets_the_facts_over_few_connections(scene):
    suite, _dns, policy = scene
    before = policy.connections
    for _ in range(5):
        w, code, _ = talk(suite, CLIENT)
        w.close()
        assert code == 250
    request = policy.requests[-1]
    assert request["request"] == "smtpd_access_policy" and request["protocol_state"] == "RCPT" and request["protocol_name"] == "ESMTP"
    assert request["client_address"] == CLIENT and request["client_name"] == request["reverse_client_name"] == "client.good.test"
    assert request["sender"] == "joe@good.test" and request["recipient"] == "bob@example.com" and request["helo_name"] == "client.good.test"
    assert request["instance"] and request["instance"] != policy.requests[-2]["instance"]
    assert request["server_address"] == suite.hosts[0] and request["server_port"] == str(suite.port("SMTP")) and request["stress"] == ""
    assert request["policy_context"] == "recipients" and request["compatibility_level"] == "3.6" and re.fullmatch(r"\d[\w.-]*", request["mail_version"])
    assert policy.connections - before <= 1


def test_a_connection_to_a_policy_service_is_for_so_many_questions(scene):
    suite, _dns, policy = scene
    before = policy.connections, len(policy.requests)
    for _ in range(30):
        w, code, _ = talk(suite, CLIENT)
        w.close()
        assert code == 250
    assert len(policy.requests) - before[1] == 30 and 2 <= policy.connections - before[0] <= 4


@pytest.mark.parametrize("setting,told", [("policy_contxt=x", "policy_contxt: no such setting"), ("request_limit=x", "request_limit (allowed: 0 to 1000000)")])
def test_check_tells_of_a_setting_that_is_none(scene, tmp_path, setting, told):
    suite, _dns, _policy = scene
    conf = tmp_path / "postern.conf"
    conf.write_text(suite.conf.read_text().replace("policy_context=recipients", setting))
    p = suite_module.run([suite.bin / "postern", "-c", conf, "check"], check=False)
    assert p.returncode != 0 and told in p.stdout.decode()


@pytest.mark.parametrize("word", ["hangup", "garbage", "endless", "twice"])
def test_a_hostile_policy_service_means_its_default_action(scene, word):
    suite, _dns, _policy = scene
    w, code, text = talk(suite, CLIENT, to="bob+%s@example.com" % word)
    w.close()
    assert code == 250, (text, suite.trouble())
    log_has(suite, r"warning: policy service")


def test_a_table_that_vanishes_is_temporary(scene):
    suite, _dns, _policy = scene
    path = suite.base / "etc" / "recipients"
    path.rename(str(path) + ".away")
    try:
        w, code, text = talk(suite, CLIENT)
        w.close()
        assert code == 451 and "Temporary lookup failure" in text[0]
    finally:
        pathlib.Path(str(path) + ".away").rename(path)
    w, code, _ = talk(suite, CLIENT)
    w.close()
    assert code == 250
