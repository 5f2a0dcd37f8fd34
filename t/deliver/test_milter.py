"""Milters behind smtpd: one that does everything, right and wrong; then Debian's rspamd and opendkim."""
import json
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mailtools  # noqa: E402
import milter as milter_module  # noqa: E402
import suite as suite_module  # noqa: E402
from milter import HANGUP, NR_ALL, SILENCE, packet, z  # noqa: E402

HOST, CLIENT = "127.0.8.1", "127.0.0.1"
LISTENERS = {"accept": 2561, "reject": 2562, "quarantine": 2563, "two": 2564, "dead": 2565, "unix": 2566, "old": 2567}


@pytest.fixture(scope="module")
def scene():
    base = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "milter"
    base.mkdir(parents=True)
    os.chmod(base, 0o755)
    one, two = milter_module.Milter(), milter_module.Milter()
    local = milter_module.Milter(path=str(base / "sock"))
    os.chmod(base / "sock", 0o777)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        dead = "inet:127.0.0.1:%d" % s.getsockname()[1]
    special = {
        "accept": "{%s,default_action=accept}" % one.name, "reject": "{%s,default_action=reject}" % one.name, "quarantine": "{%s,default_action=quarantine}" % one.name,
        "two": "%s,%s" % (one.name, two.name), "dead": dead, "unix": local.name, "old": "{%s,protocol=2}" % one.name,
    }
    settings = {
        "filter_enable": "no", "smtpd_milters": one.name, "non_smtpd_milters": one.name, "milter_connect_timeout": "3s", "milter_command_timeout": "2s",
        "milter_content_timeout": "2s", "milter_macro_daemon_name": "the-daemon", "milter_max_idle": "0", "smtpd_hard_error_limit": "1000", "smtpd_soft_error_limit": "999",
        "smtpd_error_sleep_time": "0", "smtpd_peername_lookup": "no", "smtpd_milter_maps": "proxy:cidr:%s/milters, texthash:%s/more-milters" % (base, base),
    }
    (base / "milters").write_text("127.0.8.66 DISABLE\n127.0.8.67 %s, %s\n" % (two.name, one.name))
    (base / "more-milters").write_text("127.0.8.66 inet:127.0.0.1:1\n127.0.8.68 %s\n127.0.8.69 nonsense\n" % two.name)
    settings.update({"listener." + n: "%s:%d/smtp -o smtpd_milters=%s" % (HOST, p, special[n]) for n, p in LISTENERS.items()})
    s = suite_module.Suite(base, build=os.environ.get("POSTERN_BUILD", "dev"), hosts=(HOST,), real_ports=True, settings=settings)
    s.make()
    for u in ("alice@example.com", "bob@example.com"):
        s.user_add(u, u.split("@")[0] + "-secret")
    s.start()
    s.one, s.two, s.local_milter = one, two, local
    yield s
    s.stop()
    for m in (one, two, local):
        m.close()


@pytest.fixture
def milter(scene):
    scene.two.reset()
    scene.local_milter.reset()
    return scene.one.reset()


class Sent:
    """One message: answers to MAIL, each RCPT, DATA."""

    def __init__(self, suite, listener=None, sender="a@b.test", to=("bob@example.com",), header="Subject: hello\r\n", body="hello\r\n", helo="c.test", author="a@b.test", source=None):
        self.suite, self.mid = suite, "<%s@t>" % uuid.uuid4().hex
        self.rcpt, self.data = [], (None, [""])
        port = LISTENERS[listener] if listener else suite.port("SMTP")
        with mailtools.Wire(suite.hosts[0], port, source=source, timeout=30) as w:
            w.smtp()
            w.smtp("EHLO " + helo)
            self.mail = w.smtp("MAIL FROM:<%s> BODY=8BITMIME" % sender)
            if self.mail[0] != 250:
                return
            self.rcpt = [w.smtp("RCPT TO:<%s>" % r) for r in to]
            if all(r[0] != 250 for r in self.rcpt):
                return
            assert w.smtp("DATA")[0] == 354
            w.send("Message-ID: %s\r\nFrom: %s\r\n%s\r\n%s.\r\n" % (self.mid, author, header, body))
            self.data = w.smtp()

    @property
    def code(self):
        return self.data[0]

    @property
    def text(self):
        return self.data[1][0]

    def read(self, user="bob@example.com"):
        return mailtools.Mail(self.suite).wait_for(self.mid, user).read_bytes().decode()

    def head(self, user="bob@example.com"):
        return self.read(user).split("\n\n", 1)[0] + "\n"

    def delivered(self, user):
        return any(self.mid.encode() in f.read_bytes() for f in mailtools.Mail(self.suite).files(user))

    def held(self):
        return self.text.split()[-1] in self.suite.tool("postern-queue", "list").stdout.decode()


def log_has(suite, pattern):
    end = time.monotonic() + 30
    while not re.search(pattern, suite.log.read_text(errors="replace"), re.M):
        assert time.monotonic() < end, pattern + "\n" + suite.trouble()
        time.sleep(0.02)


# --- what a milter hears ---

def test_a_milter_hears_everything(scene, milter):
    big = "".join("line %06d with some text\r\n" % i for i in range(6000))
    sent = Sent(scene, to=("bob@example.com", "alice@example.com"), header="Subject: one\r\n two\r\nX-Tight:value\r\nX-Empty:\r\n", body=big)
    assert sent.code == 250, sent.data
    assert milter.quit.wait(30)
    assert re.fullmatch(r"OCHMRRTL+NB{2,}EA?Q", milter.commands()), milter.commands()
    assert milter.offered == (6, 0x1ff, 0x1ff7ff)
    assert re.fullmatch(rb"\[127\.0\.0\.1\]\x004..127\.0\.0\.1\0", milter.data(b"C")[0], re.S)
    assert milter.data(b"H") == [b"c.test\0"]
    assert milter.data(b"M") == [b"<a@b.test>\0BODY=8BITMIME\0"]
    assert milter.data(b"R") == [b"<bob@example.com>\0", b"<alice@example.com>\0"]
    fields = [d.rstrip(b"\0").split(b"\0") for d in milter.data(b"L")]
    assert [b"Subject", b"one\n two"] in fields and [b"X-Tight", b"value"] in fields and [b"X-Empty"] in fields
    assert b"Received" not in [f[0] for f in fields]
    assert milter.body() == big.encode() and max(len(d) for d in milter.data(b"B")) <= 65535
    assert milter.macros[b"C"][b"{daemon_name}"] == b"the-daemon" and milter.macros[b"C"][b"j"] == b"mail.example.com" and milter.macros[b"C"][b"v"] == b"Postern"
    assert milter.macros[b"M"][b"{mail_addr}"] == b"a@b.test" and milter.macros[b"M"][b"i"].decode() == sent.text.split()[-1]
    assert milter.macros[b"R"][b"{rcpt_addr}"] == b"alice@example.com" and milter.macros[b"R"][b"{rcpt_mailer}"] == b"local"
    assert milter.macros[b"E"] == milter.macros[b"T"] == milter.macros[b"N"] == {b"i": milter.macros[b"M"][b"i"]}
    assert not milter.macros.get(b"H")


def test_a_milter_that_does_not_want_to_hear_or_to_answer(scene, milter):
    milter.reset(protocol=NR_ALL | 0x100000)
    assert Sent(scene, header="Subject: kept\r\n").code == 250
    assert milter.quit.wait(30) and re.fullmatch(r"OCHMRTL+NBEA?Q", milter.commands())
    assert b"Subject\0 kept\0" in milter.data(b"L")
    milter.reset(protocol=0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x200)
    assert Sent(scene).code == 250
    assert milter.quit.wait(30) and re.fullmatch(r"OEA?Q", milter.commands())


def test_macros_that_a_milter_asks_for(scene, milter):
    milter.reset(lists=struct.pack("!I", 0) + z("{client_addr} {client_name} _ {nonsense}") + struct.pack("!I", 5) + z("{mail_addr}, {client_port}"))
    assert Sent(scene).code == 250
    assert milter.macros[b"C"] == {b"{client_addr}": CLIENT.encode(), b"{client_name}": b"[%s]" % CLIENT.encode(), b"_": b"[%s] [%s]" % (CLIENT.encode(), CLIENT.encode())}
    assert set(milter.macros[b"E"]) == {b"{mail_addr}", b"{client_port}"}


def test_skip_ends_the_body(scene, milter):
    milter.reset({b"B": packet(b"s")}, protocol=0x400)
    assert Sent(scene, body="x" * 70 + "\r\n" + ("y" * 70 + "\r\n") * 3000).code == 250
    assert milter.quit.wait(30) and milter.commands().count("B") == 1
    milter.reset({b"B": packet(b"s")})
    assert Sent(scene).code == 451


def test_version_2_over_the_same_port(scene, milter):
    milter.reset(version=2, actions=0x3d)
    assert Sent(scene, "old").code == 250
    assert milter.offered == (2, 0x3f, 0x7f) and "T" not in milter.commands()


def test_a_unix_socket_and_mail_of_sendmail(scene, milter):
    assert Sent(scene, "unix").code == 250
    assert scene.local_milter.commands().startswith("OCHM") and milter.connections == 0
    mid = "<%s@t>" % uuid.uuid4().hex
    subprocess.run([scene.bin / "sendmail", "-C", scene.conf, "-f", "alice@example.com", "bob@example.com"], check=True, input=("Message-ID: %s\nSubject: x\n\nlocal\n" % mid).encode())
    mailtools.Mail(scene).wait_for(mid)
    assert milter.data(b"C")[0].startswith(b"localhost\x004") and b"127.0.0.1\0" in milter.data(b"C")[0]


# --- refusals ---

STAGES = {"connect": b"C", "helo": b"H", "mail": b"M", "rcpt": b"R", "data": b"T", "header": b"L", "eoh": b"N", "body": b"B", "eom": b"E"}
REFUSALS = {"reject": (packet(b"r"), 550, "5.7.1 Command rejected"), "tempfail": (packet(b"t"), 451, "4.7.1 Service unavailable - try again later"),
            "own text": (packet(b"y", z("550-5.7.9 first 100%%\r\n550 5.7.9 second")), 550, "5.7.9 first 100%"), "shutdown": (packet(b"4"), 421, "4.7.0 Server closing connection")}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("how", REFUSALS)
def test_refused_at_each_stage(scene, milter, stage, how):
    answer, code, text = REFUSALS[how]
    milter.reset({STAGES[stage]: answer})
    sent = Sent(scene)
    got = sent.mail if stage in ("connect", "helo", "mail") else sent.rcpt[0] if stage == "rcpt" else sent.data
    assert got[0] == code and got[1][0] == text, got
    word = "MAIL" if got is sent.mail else "RCPT" if stage == "rcpt" else "END-OF-MESSAGE"
    code_said = "" if word == "END-OF-MESSAGE" else "%d " % code
    log_has(scene, r"milter-reject: %s from \S+\[%s\]: %s%s.*; from=<a@b\.test>%s proto=ESMTP"
            % (word, re.escape(CLIENT), code_said, re.escape(text), "" if word == "MAIL" else r" to=<bob@example\.com>"))
    assert not sent.delivered("bob@example.com")


def refusals(suite):
    """What the statistics count as refused by a milter, in the dialogue and at its end; and what the report says of the same time."""
    report = json.loads(suite.tool("postern", "report", "--json", "--no-mailboxes").stdout)
    return {e: report["events"][e] for e in ("smtp_milter_rejected", "smtp_rejected", "mail_refused")}, sum(h["refused"] for h in report["hours"])


@pytest.mark.parametrize("stage,event", [("connect", "smtp_milter_rejected"), ("mail", "smtp_milter_rejected"), ("rcpt", "smtp_milter_rejected"), ("eom", "mail_refused")])
def test_a_refusal_is_counted_as_one_wherever_it_comes(scene, milter, stage, event):
    before, total = refusals(scene)
    milter.reset({STAGES[stage]: packet(b"y", z("550 5.7.9 counted at %s" % stage))})
    Sent(scene)
    log_has(scene, r"milter-reject: .*counted at %s" % stage)
    now, now_total = refusals(scene)
    assert {e: now[e] - before[e] for e in now} == {e: int(e == event) for e in now} and now_total == total + 1


def test_one_recipient_is_refused_alone(scene, milter):
    milter.reset({b"R": [packet(b"y", z("550 5.1.1 not him")), packet(b"c")]})
    sent = Sent(scene, to=("bob@example.com", "alice@example.com"))
    assert [r[0] for r in sent.rcpt] == [550, 250] and sent.code == 250
    assert sent.read("alice@example.com") and not sent.delivered("bob@example.com")


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "header", "body", "eom"])
def test_discarded_without_a_word(scene, milter, stage):
    milter.reset({STAGES[stage]: packet(b"d")})
    sent = Sent(scene)
    assert sent.code == 250 and not sent.delivered("bob@example.com") and not sent.held()
    log_has(scene, r"%s: (milter-)?discard: END-OF-MESSAGE" % sent.text.split()[-1])


@pytest.mark.parametrize("stage", STAGES)
def test_accepted_early_means_not_asked_again(scene, milter, stage):
    milter.reset({STAGES[stage]: packet(b"a")})
    sent = Sent(scene, to=("bob@example.com", "alice@example.com"))
    assert sent.code == 250 and sent.read()
    assert milter.quit.wait(30)
    assert milter.commands().replace("A", "").endswith(STAGES[stage].decode() + "Q")


# --- changes ---

def at_end(*packets, final=b"c"):
    return {b"E": b"".join(packets) + packet(final)}


def test_header_changes(scene, milter):
    milter.reset(at_end(
        packet(b"h", z("X-Added", "last\n\tfolded")), packet(b"i", struct.pack("!I", 0) + z("X-Top", "first")), packet(b"i", struct.pack("!I", 1) + z("X-Second", "below the first")),
        packet(b"m", struct.pack("!I", 1) + z("Subject", "changed")), packet(b"m", struct.pack("!I", 2) + z("X-Many", "")), packet(b"m", struct.pack("!I", 0) + z("x-many", "ONE")),
        packet(b"m", struct.pack("!I", 9) + z("X-Many", "a new one")), packet(b"m", struct.pack("!I", 7) + z("X-None", "")), packet(b"p")))
    sent = Sent(scene, header="Subject: old\r\nX-Many: 1\r\nX-Many: 2\r\nX-Many: 3\r\n")
    assert sent.code == 250
    names = re.findall(r"^([\w-]+): ?(.*)$", sent.head(), re.M)
    text = [n for n in names if n[0] not in ("Return-Path", "Delivered-To", "Received")]
    assert text == [("X-Top", "first"), ("X-Second", "below the first"), ("Message-ID", sent.mid), ("From", "a@b.test"), ("Subject", "changed"), ("X-Many", "ONE"), ("X-Many", "3"),
                    ("X-Added", "last"), ("X-Many", "a new one")]
    assert "X-Added: last\n\tfolded\n" in sent.head() and sent.head().index("X-Top") < sent.head().index("Received")


def test_envelope_changes(scene, milter):
    milter.reset(at_end(packet(b"+", z("<alice@example.com>")), packet(b"-", z("<bob@example.com>")), packet(b"e", z("<changed@sender.test>"))))
    sent = Sent(scene)
    assert sent.code == 250 and "Return-Path: <changed@sender.test>" in sent.read("alice@example.com")
    assert not sent.delivered("bob@example.com")
    milter.reset(at_end(packet(b"-", z("BOB@example.com"))))
    sent = Sent(scene)
    assert sent.code == 250 and not sent.held() and not sent.delivered("bob@example.com")
    milter.reset(at_end(packet(b"e", z("<>")), packet(b"2", z("alice@example.com", "NOTIFY=NEVER"))))
    sent = Sent(scene)
    assert sent.code == 250 and "Return-Path: <>" in sent.read() and sent.read("alice@example.com")


def test_quarantine_holds(scene, milter):
    milter.reset(at_end(packet(b"q", z("looks odd"))))
    sent = Sent(scene)
    assert sent.code == 250 and sent.held() and not sent.delivered("bob@example.com")
    log_has(scene, r"milter-hold: END-OF-MESSAGE from .*: looks odd;")


def test_the_second_sees_what_the_first_has_done(scene, milter):
    milter.reset(at_end(packet(b"i", struct.pack("!I", 1) + z("X-First", "1")), packet(b"m", struct.pack("!I", 1) + z("Subject", "")), packet(b"+", z("<alice@example.com>"))))
    scene.two.reset(at_end(packet(b"m", struct.pack("!I", 1) + z("X-First", "2")), packet(b"h", z("X-Two", "t")), packet(b"-", z("<alice@example.com>"))))
    sent = Sent(scene, "two")
    assert sent.code == 250
    assert b"X-First\x001\0" in scene.two.data(b"L") and not any(d.startswith(b"Subject") for d in scene.two.data(b"L"))
    assert "X-First: 2\n" in sent.head() and "X-Two: t\n" in sent.head() and "Subject" not in sent.head() and not sent.delivered("alice@example.com")
    milter.reset({b"M": packet(b"r")})
    scene.two.reset()
    assert Sent(scene, "two").mail[0] == 550 and "M" not in scene.two.commands()


INJECTIONS = {
    "a header in a value": packet(b"h", z("X-Bad", "x\r\nX-Evil: y")), "a header in a name": packet(b"h", z("X-Evil: y\r\nX-Bad", "x")), "the end of the header": packet(b"h", z("X-Bad", "x\n\nX-Evil")),
    "a bare CR": packet(b"h", z("X-Bad", "X-Evil\ry")), "a command as sender": packet(b"e", z("|rm X-Evil")), "no address": packet(b"+", z("<>")), "two addresses": packet(b"+", z("<a@b.test> <X-Evil@b.test>")),
    "a line in an address": packet(b"+", z("<a@b.test\r\nX-Evil@b>")), "far away": packet(b"m", struct.pack("!I", 0xffffffff) + z("Subject", "")),
}


@pytest.mark.parametrize("name", INJECTIONS)
def test_changes_that_cannot_be_are_ignored(scene, milter, name):
    milter.reset(at_end(INJECTIONS[name], packet(b"h", z("X-Good", "yes"))))
    sent = Sent(scene)
    assert sent.code == 250
    text = sent.read()
    assert "X-Good: yes\n" in text and "X-Evil" not in text and "X-Bad" not in text and "Return-Path: <a@b.test>" in text and "Subject: hello\n" in text


# --- milters that fail ---

def hurt(data):
    return {"script": {}, "greeting": data}


FAILURES = {
    "hang up": HANGUP, "silence": SILENCE, "length 0": b"\0\0\0\0", "endless length": b"\xff\xff\xff\xffc", "too long": struct.pack("!I", (1 << 17) + 1) + b"c",
    "unknown reply": packet(b"Z"), "a cut packet": b"\0\0\0\x09qx", "a text without a code": packet(b"y", z("go away")), "code 250": packet(b"y", z("250 2.0.0 fine")),
    "code 999": packet(b"y", z("999 what")), "a text without end": packet(b"y", b"550 x"), "64 KiB of text": packet(b"y", b"550-" + b"x" * 65536), "failure": packet(b"f"),
}
SLOW = ("silence", "a cut packet")


@pytest.mark.parametrize("stage", ["options"] + list(STAGES))
@pytest.mark.parametrize("how", ["hang up", "length 0", "unknown reply"])
def test_a_failure_at_each_stage_is_temporary(scene, milter, stage, how):
    milter.reset({STAGES.get(stage, b"O"): FAILURES[how]})
    sent = Sent(scene)
    got = sent.mail if stage in ("options", "connect", "helo", "mail") else sent.rcpt[0] if stage == "rcpt" else sent.data
    assert (got[0], got[1][0]) == (451, "4.7.1 Service unavailable - try again later")
    log_has(scene, r"warning: milter inet:")
    assert not sent.delivered("bob@example.com")


@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize("stage", ["eom"])
def test_every_failure_at_the_end_is_temporary(scene, milter, how, stage):
    milter.reset({STAGES[stage]: FAILURES[how]})
    sent = Sent(scene)
    assert (sent.code, sent.text) == (451, "4.7.1 Service unavailable - try again later")


@pytest.mark.parametrize("stage", [b"O", b"C", b"M", b"R", b"L", b"E"])
def test_a_silent_milter_holds_up_nobody_else(scene, milter, stage):
    """While one transaction waits for its milter, others come through: another client of the same milter, a listener with another one, and local posting."""
    milter.reset({stage: [SILENCE, None]})
    slow = {}
    waits = threading.Thread(target=lambda: slow.update(sent=Sent(scene)), daemon=True)
    waits.start()
    end = time.monotonic() + 30
    while not milter.data(stage):
        assert time.monotonic() < end
        time.sleep(0.005)
    done = [Sent(scene, listener) for listener in ("unix", None, "unix", None)]
    still = waits.is_alive()
    assert [sent.code for sent in done] == [250] * 4
    assert all(sent.read() for sent in done)
    waits.join(60)
    assert not waits.is_alive()
    got = slow["sent"]
    assert 451 in (got.mail[0], got.rcpt[0][0] if got.rcpt else None, got.code)
    assert still or time.monotonic() > end - 28     # unless the machine was so slow that its time had passed meanwhile
    log_has(scene, r"milter inet:\S+: timed out")


@pytest.mark.parametrize("answer", [
    packet(b"O", struct.pack("!III", 7, 0, 0)), packet(b"O", struct.pack("!III", 6, 0, 0x800)), packet(b"O", struct.pack("!III", 6, 0x100, 0) + struct.pack("!I", 99) + z("i")),
    packet(b"O", b"\0\0\0\6"), packet(b"c"), packet(b"O", struct.pack("!III", 6, 0, 0)) + packet(b"c") + packet(b"c") + packet(b"c"),
], ids=["version 7", "steps that were not offered", "macros of no stage", "cut options", "no negotiation", "answers before the questions"])
def test_bad_negotiation(scene, milter, answer):
    milter.reset({b"O": answer})
    assert Sent(scene).mail[0] == 451


def test_who_speaks_first_is_dropped(scene, milter):
    milter.reset(greeting=packet(b"r"))
    assert Sent(scene).mail[0] == 451


def test_changes_that_were_not_agreed_upon(scene, milter):
    milter.reset(at_end(packet(b"h", z("X-A", "b"))), actions=0)
    assert Sent(scene).code == 451
    milter.reset({b"N": packet(b"h", z("X-A", "b"))})
    assert Sent(scene).code == 451
    milter.reset(at_end(packet(b"+", z("<alice@example.com>")) * 1001))
    assert Sent(scene).code == 451
    milter.reset(at_end(*(packet(b"h", z("X-%d" % i, "v")) for i in range(300))))
    assert Sent(scene).code == 451


def test_what_a_milter_wanted_before_it_failed_is_not_done(scene, milter):
    milter.reset({b"E": packet(b"h", z("X-Half", "done")) + packet(b"-", z("<bob@example.com>")) + packet(b"Z")})
    sent = Sent(scene, "accept")
    assert sent.code == 250 and "X-Half" not in sent.read()


LONG = b"".join(b"line %d of a long body\r\n" % i for i in range(30000))
BODIES = [
    ("a line", [b"new body\r\n"], "new body\n"), ("pieces, cut between CR and LF", [b"one\r", b"\ntwo", b"\r", b"\n"], "one\ntwo\n"),
    ("lines with LF alone", [b"one\ntwo\n"], "one\ntwo\n"), ("empty", [b""], ""), ("a lone dot", [b".\r\n..\r\n"], ".\n..\n"),
    ("8 bits", ["gr\u00fc\u00df\r\n".encode()], "gr\u00fc\u00df\n"), ("long", [LONG[i:i + 60000] for i in range(0, len(LONG), 60000)], LONG.decode().replace("\r\n", "\n")),
]


@pytest.mark.parametrize("name,pieces,want", BODIES, ids=[b[0] for b in BODIES])
def test_a_body_is_replaced(scene, milter, name, pieces, want):
    milter.reset({b"E": b"".join(packet(b"b", p) for p in pieces) + packet(b"h", z("X-New", "body")) + packet(b"c")})
    sent = Sent(scene, header="Subject: kept\r\n", body="the old body\r\n")
    assert sent.code == 250
    text = sent.read()
    head, _, body = text.partition("\n\n")
    assert body == want and "X-New: body" in head and "Subject: kept" in head and "the old body" not in text


def test_the_next_milter_sees_the_new_body(scene, milter):
    milter.reset({b"E": packet(b"b", b"from the first\r\n") + packet(b"c")})
    sent = Sent(scene, "two")
    assert sent.code == 250 and sent.read().endswith("\n\nfrom the first\n")
    assert scene.two.body() == b"from the first\r\n"
    scene.two.reset({b"E": packet(b"b", b"from the second\r\n") + packet(b"c")})
    milter.reset({b"E": packet(b"b", b"from the first\r\n") + packet(b"c")})
    sent = Sent(scene, "two")
    assert sent.code == 250 and sent.read().endswith("\n\nfrom the second\n")


@pytest.mark.parametrize("answer", [
    [packet(b"b", b"bare\rCR\r\n"), packet(b"c")], [packet(b"b", b"ends in\r"), packet(b"c")], [packet(b"b", b"ends in\r"), packet(b"a")], [packet(b"b", b"NUL\0\r\n"), packet(b"c")],
    [packet(b"b", b"x" * 100000)] * 220 + [packet(b"c")], [packet(b"b", b"half\r\n"), packet(b"Z")],
], ids=["a bare CR", "a CR at the end", "a CR at the end, accepted", "a NUL", "longer than a message", "a failure behind it"])
def test_a_body_that_cannot_be_is_never_delivered_as_it_was(scene, milter, answer):
    for listener in (None, "accept"):
        milter.reset({b"E": b"".join(answer)})
        sent = Sent(scene, listener)
        assert sent.code == 451 and not sent.delivered("bob@example.com")


def test_a_body_that_was_not_agreed_upon(scene, milter):
    milter.reset({b"E": packet(b"b", b"new body\r\n") + packet(b"c")}, actions=milter_module.ALL_ACTIONS & ~2)
    for listener in (None, "accept"):
        sent = Sent(scene, listener)
        assert sent.code == 451 and not sent.delivered("bob@example.com")


def test_a_body_of_a_milter_that_refuses_then_is_nobodys(scene, milter):
    milter.reset({b"E": packet(b"b", b"new body\r\n") + packet(b"r")})
    assert Sent(scene).code == 550
    milter.reset()
    sent = Sent(scene)
    assert sent.code == 250 and sent.read().endswith("hello\n")


@pytest.mark.parametrize("stage", ["options", "mail", "rcpt", "header", "eom"])
def test_default_actions(scene, milter, stage):
    bad = {STAGES.get(stage, b"O"): HANGUP}
    milter.reset(dict(bad))
    sent = Sent(scene, "accept", to=("bob@example.com", "alice@example.com"))
    assert sent.code == 250 and sent.read() and sent.read("alice@example.com")
    milter.reset(dict(bad))
    sent = Sent(scene, "reject")
    got = sent.mail if stage in ("options", "mail") else sent.rcpt[0] if stage == "rcpt" else sent.data
    assert (got[0], got[1][0]) == (550, "5.5.0 Service unavailable")
    milter.reset(dict(bad))
    sent = Sent(scene, "quarantine")
    assert sent.code == 250 and sent.held() and not sent.delivered("bob@example.com")


def test_nobody_listens(scene, milter):
    assert Sent(scene, "dead").mail[0] == 451
    log_has(scene, r"milter inet:\S+: connect: Connection refused")


def test_a_client_that_goes_away_meanwhile(scene, milter):
    for stage in (b"C", b"R", b"E"):
        milter.reset({stage: SILENCE})
        with mailtools.Wire(scene.hosts[0], scene.port("SMTP"), timeout=30) as w:
            w.smtp()
            w.smtp("EHLO c.test")
            w.send("MAIL FROM:<a@b.test>\r\n")
            if stage != b"C":
                assert w.smtp()[0] == 250
                w.send("RCPT TO:<bob@example.com>\r\n")
            if stage == b"E":
                assert w.smtp()[0] == 250
                assert w.smtp("DATA")[0] == 354
                w.send("Subject: x\r\n\r\nx\r\n.\r\n")
            end = time.monotonic() + 30
            while not milter.data(stage):
                assert time.monotonic() < end
                time.sleep(0.01)
        assert milter.gone.wait(30)
    milter.reset()
    assert Sent(scene).code == 250


def test_check_tells_mistakes(scene):
    conf = scene.base / "etc" / "bad.conf"
    conf.write_text(scene.conf.read_text() + "\nsmtpd_milters = inet:nowhere\nnon_smtpd_milters = {unix:/x, default_action=maybe}\n")
    r = scene.tool("postern", "-c", conf, "check", check=False)
    text = r.stdout.decode()
    assert re.search(r"smtpd_milters.*inet:nowhere", text) and re.search(r"non_smtpd_milters.*default_action=maybe", text), text


# --- Debian's ---

def wait_for_port(port, process):
    end = time.monotonic() + 180     # rspamd compiles patterns first
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.05)


def suite_with(name, milters, host, **more):
    base = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / name
    settings = {"filter_enable": "no", "smtpd_milters": milters, "non_smtpd_milters": milters, "smtpd_peername_lookup": "no", **more}
    s = suite_module.Suite(base, build=os.environ.get("POSTERN_BUILD", "dev"), hosts=(host,), real_ports=True, settings=settings)
    s.make()
    s.user_add("bob@example.com", "bob-secret")
    s.start()
    return s


@pytest.fixture
def opendkim(tmp_path):
    where = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "opendkim"
    where.mkdir()
    subprocess.run(["opendkim-genkey", "-b", "1024", "-d", "example.com", "-s", "sel", "-D", str(where)], check=True)
    (where / "key").write_text((where / "sel.txt").read_text())
    record = "".join(re.findall(r'"([^"]*)"', (where / "sel.txt").read_text()))
    (where / "keys").write_text("sel._domainkey.example.com %s\n" % record)
    (where / "conf").write_text("Domain example.com\nSelector sel\nKeyFile %s/sel.private\nSocket inet:8891@127.0.0.1\nMode sv\nCanonicalization simple/simple\n"
                                "InternalHosts 127.0.9.1\nExternalIgnoreList 0.0.0.0/0\nTestPublicKeys %s/keys\nRequireSafeKeys no\nSyslog no\nAuthservID mail.example.com\n" % (where, where))
    p = subprocess.Popen(["opendkim", "-f", "-x", str(where / "conf")])
    wait_for_port(8891, p)
    yield p
    p.terminate()
    p.wait(30)


def test_opendkim_signs_and_verifies(opendkim):
    """What is signed on the way in is what is delivered: sent through again from outside, the same program finds it good."""
    s = suite_with("with-opendkim", "inet:127.0.0.1:8891", "127.0.9.1", mynetworks="127.0.9.1/32")
    try:
        sent = Sent(s, sender="joe@example.com", author="joe@example.com", source="127.0.9.1", header="Subject:  two  blanks\r\nTo: x@example.com,\r\n\ty@example.com\r\nX-Tight:value\r\n", body="text \r\n\r\n.. dots\r\n\r\n\r\n")
        assert sent.code == 250, sent.data
        text = sent.read()
        assert "DKIM-Signature: v=1;" in text, text
        signed = text[text.index("DKIM-Signature:"):]
        signed = signed if signed.index("DKIM-Signature") < signed.index("From:") else text
        s2_from = "127.0.0.77"
        for change, want in ((lambda x: x, "dkim=pass"), (lambda x: x.replace("two  blanks", "two blanks"), "dkim=fail")):
            mark = "<%s@t>" % uuid.uuid4().hex
            with mailtools.Wire("127.0.9.1", s.port("SMTP"), source=s2_from, timeout=30) as w:
                w.smtp()
                w.smtp("EHLO out.test")
                assert w.smtp("MAIL FROM:<joe@example.com>")[0] == 250
                assert w.smtp("RCPT TO:<bob@example.com>")[0] == 250
                assert w.smtp("DATA")[0] == 354
                w.send("X-Mark: %s\r\n" % mark + re.sub(r"(?m)^\.", "..", change(signed)).replace("\n", "\r\n") + ".\r\n")
                assert w.smtp()[0] == 250
            head = mailtools.Mail(s).wait_for(mark).read_text().split("\n\n")[0]
            assert want in head, head
    finally:
        s.stop()


@pytest.fixture
def rspamd():
    where = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "rspamd"
    for d in ("db", "run", "log"):
        (where / d).mkdir(parents=True)
    (where / "conf").write_text("""
options { enable_test_patterns = true; gtube_patterns = "all"; filters = ""; pidfile = "%(w)s/run/pid"; tempdir = "%(w)s/run"; hs_cache_dir = "%(w)s/db"; dns { nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; } control_socket = "%(w)s/run/control"; }
logging { type = "console"; level = "warning"; }
worker "rspamd_proxy" { bind_socket = "127.0.0.1:11332"; milter = yes; count = 1; upstream "local" { self_scan = yes; default = yes; } }
actions { reject = 15; add_header = 6; }
""" % {"w": where})
    shutil.chown(where, "_rspamd", "_rspamd")
    subprocess.run(["chown", "-R", "_rspamd:_rspamd", str(where)], check=True)
    log = open(where / "out", "wb")
    p = subprocess.Popen(["rspamd", "-f", "-u", "_rspamd", "-g", "_rspamd", "-c", str(where / "conf")], stdout=log, stderr=log)
    wait_for_port(11332, p)
    yield p
    p.terminate()
    p.wait(30)
    log.close()


def test_rspamd_rejects_spam_and_lets_mail_pass(rspamd):
    gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
    s = suite_with("with-rspamd", "inet:127.0.0.1:11332", "127.0.10.1")
    try:
        sent = Sent(s, header="Subject: fine\r\nDate: Sat, 28 Nov 2026 12:00:00 +0000\r\nTo: bob@example.com\r\n")
        assert sent.code == 250 and sent.read()
        sent = Sent(s, header="Subject: spam\r\nDate: Sat, 28 Nov 2026 12:00:00 +0000\r\nTo: bob@example.com\r\n", body=gtube + "\r\n")
        assert sent.code in (550, 554) and "Gtube" in sent.text, sent.data
        log_has(s, r"milter-reject: END-OF-MESSAGE from .*Gtube")
        sent = Sent(s, header="Subject: maybe\r\nDate: Sat, 28 Nov 2026 12:00:00 +0000\r\nTo: bob@example.com\r\n", body="YJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n")
        assert sent.code == 250 and re.search(r"^X-Spam: Yes$", sent.head(), re.M), sent.head()
    finally:
        s.stop()


@pytest.mark.parametrize("source, first, second", [("127.0.8.65", True, False), ("127.0.8.66", False, False), ("127.0.8.67", True, True), ("127.0.8.68", False, True)])
def test_milters_by_the_clients_address(scene, milter, source, first, second):
    sent = Sent(scene, source=source)
    assert sent.code == 250, sent.text
    assert [any(c == b"M" for c, _ in m.heard) for m in (scene.one, scene.two)] == [first, second]     # not QUIT: it may belong to the message before


def test_milters_of_a_table_that_are_none(scene, milter):
    """They are no reason to let mail through unseen."""
    sent = Sent(scene, source="127.0.8.69")
    assert sent.mail[0] == 451, sent.mail
