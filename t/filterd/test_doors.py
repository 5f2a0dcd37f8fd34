"""The other ways to filterd: Debian's spamc, Debian's Postfix with filterd as its milter, and those who send garbage. All get the same verdict."""
import email
import json
import os
import pathlib
import re
import signal
import smtplib
import socket
import struct
import subprocess
import threading
import time

import pytest

import mailtools
import smtpsink
from test_archives import letter, zipped
from waiting import until

EICAR = (r"X5O!P%@AP[4\PZX54(P^)7CC)7}" + "$EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*").encode()
GTUBE = ("XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-" + "TEST-EMAIL*C.34X").encode()
BOB = "bob@example.com"
HEAD = b"From: s@elsewhere.example\nTo: bob@example.com\nDate: Sat, 28 Nov 2026 10:00:00 +0000\nSubject: hello\nMessage-ID: <%s@test.example>\n"
MESSAGES = {
    "good": (HEAD % b"d1" + b"\nhello\n", "CLEAN"),
    "gtube": (HEAD % b"d2" + b"\n" + GTUBE + b"\n", "SPAM"),
    "eicar": (HEAD % b"d3" + b"\n" + EICAR + b"\n", "INFECTED"),
    "program": (letter("tools.zip", zipped(("setup.exe", b"MZ"))), "BANNED"),
    "8 bit": (HEAD % b"d5" + b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\ngr\xc3\xbc\xc3\x9fe\n.\n..dots\n", "CLEAN"),
}
MILTER, SPAMD, POSTFIX = 8891, 7830, 2599


@pytest.fixture(scope="module")
def doors(fresh_suite_module):
    return fresh_suite_module("doors", settings={"filter_milter_listeners": "127.0.0.1:%d" % MILTER, "filter_spamd_listeners": "127.0.0.1:%d [::1]:%d" % (SPAMD, SPAMD)})


def spamc(message, *options, check=True):
    p = subprocess.run(["spamc", "-d", "127.0.0.1", "-p", str(SPAMD), "-t", "30", *options], input=message, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert not check or p.returncode in (0, 1), p
    return p.returncode, p.stdout


def by_smtp(suite, message):
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=30) as s:
        try:
            s.sendmail("x@elsewhere.example", [BOB], message.replace(b"\n", b"\r\n"))
            return 250, ""
        except smtplib.SMTPDataError as e:
            return e.smtp_code, e.smtp_error.decode()


# --- a milter's client ---

class Mta:
    def __init__(self, protocol=0x1fffff, version=6):
        self.s = socket.create_connection(("127.0.0.1", MILTER), timeout=30)
        self.protocol = protocol
        self.send(b"O", struct.pack("!III", version, 0x1ff, protocol))
        c, d = self.packet()
        assert c == b"O"
        self.version, self.actions, self.steps = struct.unpack("!III", d)

    def send(self, c, d=b""):
        self.s.sendall(struct.pack("!I", len(d) + 1) + c + d)

    def packet(self):
        n, = struct.unpack("!I", self.exact(4))
        d = self.exact(n)
        return d[:1], d[1:]

    def exact(self, n):
        d = b""
        while len(d) < n:
            more = self.s.recv(n - len(d))
            if not more:
                raise EOFError
            d += more
        return d

    def step(self, c, d, silent):
        self.send(c, d)
        if not self.steps & silent:
            assert self.packet() == (b"c", b"")

    def message(self, message, rcpts=(BOB,), qid=b"MTA1"):
        """All answers at the end of the message."""
        head, body = message.split(b"\n\n", 1)
        self.step(b"C", b"mx.test\x00" + b"4" + struct.pack("!H", 25) + b"127.0.0.1\x00", 0x1000)
        self.step(b"H", b"mx.test\x00", 0x2000)
        self.send(b"D", b"Mi\x00" + qid + b"\x00")
        self.step(b"M", b"<x@elsewhere.example>\x00", 0x4000)
        for r in rcpts:
            self.step(b"R", b"<%s>\x00" % r.encode(), 0x8000)
        for f in re.split(rb"\n(?![ \t])", head):
            n, v = f.split(b":", 1)
            self.step(b"L", n + b"\0" + (v if self.steps & 0x100000 else v.lstrip(b" ")) + b"\0", 0x80)
        self.step(b"N", b"", 0x40000)
        body = body.replace(b"\n", b"\r\n")
        for i in range(0, len(body), 7) if len(body) < 1000 else range(0, len(body), 65535):
            self.step(b"B", body[i:i + (7 if len(body) < 1000 else 65535)], 0x80000)
        self.send(b"E")
        answers = [self.packet()]
        while answers[-1][0] not in b"cardty":
            answers.append(self.packet())
        return answers


def verdicts(suite):
    return [re.search(r"(?:Passed|Blocked) ([A-Z]+)", x).group(1) for x in suite.log.read_text().splitlines() if " amavis[" in x]


@pytest.mark.parametrize("what", MESSAGES)
def test_all_interfaces_agree(doors, what):
    message, category = MESSAGES[what]
    before = len(verdicts(doors))
    code, text = by_smtp(doors, message)
    answers = Mta().message(message)
    last = answers[-1]
    exit_code, out = spamc(message, "-c")
    _, names = spamc(message, "-y")
    if code == 250:
        assert last == (b"c", b"") and exit_code == 0 and not {"GTUBE", "INFECTED", "BANNED"} & set(names.decode().strip().split(","))
        assert [c for c, _ in answers[:-1]].count(b"i") >= 1 and b"X-Virus-Scanned" in b"".join(d for _, d in answers)
    else:
        assert last[0] == b"y" and last[1].rstrip(b"\0").decode().replace("%%", "%") == "%d %s" % (code, text)
        assert exit_code == 1 and ({"SPAM": "GTUBE"}.get(category, category) in names.decode().strip().split(","))
    end = time.monotonic() + 30
    while len(verdicts(doors)) < before + 4 and time.monotonic() < end:
        time.sleep(0.02)
    assert verdicts(doors)[before:] == [category] * 4


def test_an_old_mta_gets_an_answer_to_each_step(doors):
    """Version 2, nothing may be silent, header values without their blank."""
    m = Mta(protocol=0x7f, version=2)
    assert m.version == 2 and m.steps & ~0x7f == 0
    assert m.message(MESSAGES["gtube"][0])[-1][0] == b"y"
    assert m.message(MESSAGES["good"][0])[-1][0] == b"c"     # the connection serves the next message
    m.send(b"A")
    assert m.message(MESSAGES["eicar"][0])[-1][0] == b"y"
    m.send(b"Q")
    with pytest.raises(EOFError):
        m.packet()


def test_spamc_in_every_way(doors):
    good, spam = MESSAGES["good"][0], MESSAGES["gtube"][0]
    assert subprocess.run(["spamc", "-6", "-d", "::1", "-p", str(SPAMD), "-K"], stdout=subprocess.PIPE).stdout.startswith(b"SPAMD/")
    assert spamc(good, "-c")[1].strip() == b"0.0/6.3" and spamc(spam, "-c")[1].strip().startswith(b"1000")
    assert b"GTUBE" in spamc(spam, "-y")[1]
    report = spamc(spam, "-R")[1].decode()
    assert "has identified this incoming email as possible spam" in report and "GTUBE: " in report and "Verdict: SPAM (score 100" in report and "), reject" in report
    assert "has NOT identified" in spamc(good, "-R")[1].decode() and "identified" not in spamc(good, "-r")[1].decode()
    whole = email.message_from_bytes(spamc(good)[1])
    assert whole["X-Virus-Scanned"] == "Postern at example.com" and whole.get_payload() == "hello\n" and whole["Subject"] == "hello"
    crlf = spamc(good.replace(b"\n", b"\r\n"))[1]
    assert b"X-Virus-Scanned: Postern at example.com\r\n" in crlf and b"\n" not in crlf.replace(b"\r\n", b"")
    only = spamc(good, "--headers")[1]
    assert b"X-Virus-Scanned" in only and b"hello" in only
    code, out = spamc(good, "-x", "-L", "spam", check=False)
    assert (code, out) == (74, b""), "as spamd without --allow-tell"
    big = HEAD % b"big" + b"\n" + b"x" * 70 + b"\n" + (b"y" * 76 + b"\n") * 6000
    assert len(spamc(big, "-s", "2000000")[1]) > len(big)


def raw(port, data, half=True, timeout=30):
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as s:
        try:
            s.sendall(data)
            if half:
                s.shutdown(socket.SHUT_WR)
            out = b""
            while True:
                more = s.recv(65536)
                if not more:
                    return out
                out += more
        except ConnectionError:
            return b"reset"


GARBAGE = [b"", b"\0", b"GET / HTTP/1.0\r\n\r\n", b"CHECK SPAMC/1.5\r\nContent-length: 100\r\n\r\nshort", b"CHECK SPAMC/1.5\r\nContent-length: 1\r\n\r\nlonger",
           b"CHECK SPAMC/1.5\r\nContent-length: 4294967295\r\n\r\nx", b"CHECK SPAMC/1.5\r\n\r\n", b"PROCESS SPAMC/1.5\r\nCompress: zlib\r\nContent-length: 5\r\n\r\nhello",
           b"X" * 20000, b"CHECK SPAMC/1.5\r\n" + b"A: b\r\n" * 5000, os.urandom(3000), b"TELL SPAMC/1.5\r\nContent-length: 1\r\n\r\nx",
           struct.pack("!I", 0), struct.pack("!I", 0xffffffff) + b"O", struct.pack("!I", 5) + b"Oxxx", struct.pack("!I", 2) + b"Mx",
           struct.pack("!I", 13) + b"O" + struct.pack("!III", 6, 0x1ff, 0x1fffff) + struct.pack("!I", 2) + b"Mx",
           struct.pack("!I", 13) + b"O" + struct.pack("!III", 1, 0, 0), struct.pack("!I", 13) + b"O" + struct.pack("!III", 6, 0, 0) + struct.pack("!I", 1) + b"E"]


def test_garbage_hurts_nobody(doors):
    before = {p[0] for p in doors.processes() if p[3] in ("filterd: milter", "filterd: spamd")}
    assert len(before) == 2
    for data in GARBAGE:
        raw(SPAMD, data)
        raw(MILTER, data)
    assert b"76 Bad header line" in raw(SPAMD, b"GET / HTTP/1.0\r\n\r\n") and b"mismatch" in raw(SPAMD, GARBAGE[3]) and b"mismatch" in raw(SPAMD, GARBAGE[4])
    assert b"69 Service Unavailable" in raw(SPAMD, GARBAGE[11]) and b"too large" in raw(SPAMD, b"CHECK SPAMC/1.5\r\nContent-length: 40000000\r\n\r\n")
    raw(SPAMD, b"CHECK SPAMC/1.5\r\nContent-length: 40000000\r\n\r\n" + b"x" * 30000000)
    assert before == {p[0] for p in doors.processes() if p[3] in ("filterd: milter", "filterd: spamd")}
    assert spamc(MESSAGES["good"][0], "-c")[0] == 0 and Mta().message(MESSAGES["good"][0])[-1][0] == b"c"


def test_a_killed_door_opens_again_and_smtpd_notices_nothing(doors):
    for p in doors.processes():
        if p[3] in ("filterd: milter", "filterd: spamd"):
            os.kill(p[0], signal.SIGKILL)
    assert by_smtp(doors, MESSAGES["good"][0])[0] == 250
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if len([p for p in doors.processes() if p[3] in ("filterd: milter", "filterd: spamd")]) == 2:
            break
        time.sleep(0.05)
    assert spamc(MESSAGES["gtube"][0], "-c")[0] == 1


def test_doors_have_their_walls(doors):
    for p in doors.processes():
        if p[3] in ("filterd: milter", "filterd: spamd"):
            status = dict(x.split(":\t", 1) for x in pathlib.Path("/proc/%d/status" % p[0]).read_text().splitlines() if ":\t" in x)
            assert status["CapEff"].strip("0") == "" and status["Seccomp"] == "2" and status["NoNewPrivs"] == "1" and status["Uid"].split()[0] != "0"


def test_a_socket_that_systemd_passes(doors, tmp_path):
    """As postern-spamd.socket does: filterd itself has no network then."""
    run = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "passed"
    (run / "state").mkdir(parents=True)
    (run / "log").symlink_to(doors.run_dir / "log")
    conf = run / "postern.conf"
    conf.write_text(re.sub(r"(?m)^(run_directory|state_directory|filter_\w+_listeners) = .*\n", "", doors.conf.read_text()) +
                    "run_directory = %s\nstate_directory = %s\n" % (run, run / "state"))
    p = subprocess.Popen(["systemd-socket-activate", "-l", "127.0.0.1:7831", "--fdname=spamd", str(doors.bin / "filterd"), "-f", "-v", "-c", str(conf)],
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 30
        out = b""
        while b"SPAMD/" not in out and time.monotonic() < end:
            try:
                out = raw(7831, b"SYMBOLS SPAMC/1.5\r\nContent-length: %d\r\n\r\n%s" % (len(MESSAGES["gtube"][0]), MESSAGES["gtube"][0]))
            except OSError:
                time.sleep(0.05)
    finally:
        p.terminate()
        said = p.communicate()[1].decode()
    assert b"Spam: True" in out and b"GTUBE" in out, said


# --- Debian's Postfix ---

@pytest.fixture(scope="module")
def postfix(doors):
    base = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "postfix"
    conf, spool, data = base / "etc", base / "spool", base / "data"
    for d in (conf, spool, data):
        d.mkdir(parents=True)
    subprocess.run(["chown", "postfix", data], check=True)
    sink = smtpsink.Sink()
    (conf / "main.cf").write_text(
        "compatibility_level = 3.6\nqueue_directory = %s\ndata_directory = %s\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmyhostname = postfix.example\n"
        "mydestination =\nlocal_recipient_maps =\nrelay_domains = example.com\nmynetworks = 127.0.0.0/8\ndefault_transport = smtp:[127.0.0.1]:%d\n"
        "relay_transport = smtp:[127.0.0.1]:%d\nsmtpd_milters = inet:127.0.0.1:%d\nmilter_default_action = tempfail\nmaillog_file = %s\nmaillog_file_prefixes = %s\n"
        "smtp_tls_security_level = none\nsmtputf8_enable = no\n"
        % (spool, data, sink.port, sink.port, MILTER, base / "log", base))
    (conf / "master.cf").write_text(
        "127.0.0.1:%d inet n - n - - smtpd\n" % POSTFIX +
        "cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\nrewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\n"
        "trace unix - - n - 0 bounce\nverify unix - - n - 1 verify\nflush unix n - n 1000? 0 flush\nproxymap unix - - n - - proxymap\nsmtp unix - - n - - smtp\n"
        "relay unix - - n - - smtp\nerror unix - - n - - error\nretry unix - - n - - error\nanvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\npostlog unix-dgram n - n - 1 postlogd\n"
        "local unix - n n - - local\ntlsmgr unix - - n 1000? 1 tlsmgr\n")
    p = subprocess.run(["postfix", "-c", conf, "start"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert p.returncode == 0, p.stdout
    yield sink
    subprocess.run(["postfix", "-c", conf, "stop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def by_postfix(message):
    with smtplib.SMTP("127.0.0.1", POSTFIX, timeout=40) as s:
        try:
            s.sendmail("x@elsewhere.example", [BOB], message.replace(b"\n", b"\r\n"))
            return 250, ""
        except smtplib.SMTPDataError as e:
            return e.smtp_code, e.smtp_error.decode()


def test_postfix_with_filterd_as_its_milter(doors, postfix):
    for what, (message, _category) in MESSAGES.items():
        code, text = by_postfix(message)
        ours, our_text = by_smtp(doors, message)
        assert code == ours, (what, text)
        if code != 250:
            assert text == our_text, what
    postfix.wait(2)
    got = email.message_from_bytes(postfix.messages[0][1])
    assert got["X-Virus-Scanned"] == "Postern at example.com" and got["Subject"] == "hello"
    assert got.get_payload().replace("\r\n", "\n") == "hello\n"


def test_forged_results_go_by_a_milter_too(doors):
    """RFC 8601 5: the field that filterd adds is believed behind it, so no other one of that name may stay."""
    forged = [b"mail.example.com; spf=pass", b"other.test; spf=pass", b'"MAIL.example.com" 1; dkim=pass', b"(x)\n mail.example.com; dmarc=pass"]
    message = b"".join(b"Authentication-Results: %s\n" % f for f in forged) + MESSAGES["good"][0]
    answers = Mta().message(message)
    assert answers[-1] == (b"c", b"")
    changed = [struct.unpack("!I", d[:4]) + tuple(d[4:].split(b"\0")[:2]) for c, d in answers if c == b"m"]
    assert changed == [(n, b"Authentication-Results", b"") for n in (4, 3, 1)]
    # before the field of ours comes
    kinds = [c + d[4:].split(b"\0")[0] for c, d in answers if c in (b"m", b"i")]
    assert kinds.index(b"mAuthentication-Results") < (kinds + [b"iAuthentication-Results"]).index(b"iAuthentication-Results")


def doors_of(suite, *names):
    return {p[0] for p in suite.processes() if p[3] in (names or ("filterd: milter", "filterd: spamd"))}


def turned_away():
    try:
        return not raw(SPAMD + 1, b"PING SPAMC/1.5\r\n\r\n").startswith(b"SPAMD/")
    except OSError:
        return True


def test_a_reload_replaces_the_doors_and_cuts_nobody_off(fresh_suite):
    suite = fresh_suite("doors-reload", settings={"filter_spamd_listeners": "127.0.0.1:%d" % (SPAMD + 1), "filter_milter_listeners": "127.0.0.1:%d" % (MILTER + 1)})
    good = MESSAGES["good"][0]
    until(lambda: len(doors_of(suite)) == 2)
    old = doors_of(suite)
    held = pathlib.Path("/proc/%d/fd" % doors_of(suite, "filterd: spamd").pop())
    links = lambda: [os.readlink(f) for f in held.iterdir() if f.is_symlink()]
    idle = len(links())
    with socket.create_connection(("127.0.0.1", SPAMD + 1), timeout=30) as begun:
        begun.sendall(b"CHECK SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(good) + good[:10])
        until(lambda: len(links()) > idle)	# the old process has accepted it
        suite.settings["filter_clients"] = "192.0.2.0/24"
        suite.configure()
        os.kill([p[0] for p in suite.processes() if p[3] == "filterd: monitor"][0], signal.SIGHUP)
        suite.logged("the new configuration is in force")
        until(turned_away)
        assert len(doors_of(suite) - old) == 2 and old & doors_of(suite)
        begun.sendall(good[10:])
        begun.shutdown(socket.SHUT_WR)
        answer = b""
        while more := begun.recv(65536):
            answer += more
    assert answer.startswith(b"SPAMD/1.1 0 EX_OK")
    until(lambda: not old & doors_of(suite))
    assert len(doors_of(suite)) == 2
    suite.settings["filter_spamd_tell_listeners"] = "127.0.0.1:1"
    suite.configure()
    os.kill([p[0] for p in suite.processes() if p[3] == "filterd: monitor"][0], signal.SIGHUP)
    suite.logged("reload: filter_spamd_tell_listeners: 127.0.0.1:1 is none of filter_spamd_listeners; the old configuration stays")


def test_listeners_have_users_of_their_own(doors):
    """A client that takes one over could signal, and look into, what runs as the same user: the monitor and its workers do not. No root is left."""
    users = {p[3]: p[1] for p in doors.processes() if p[3].startswith("filterd: ")}
    assert users["filterd: milter"] == users["filterd: milter template"] == "_postern_milter"
    assert users["filterd: spamd"] == users["filterd: spamd template"] == "_postern_spamd"
    assert {u for t, u in users.items() if "milter" not in t and "spamd" not in t} == {"_postern_filter"}
    for p in doors.processes():
        if p[3] in ("filterd: milter template", "filterd: spamd template"):
            status = dict(line.split(":", 1) for line in pathlib.Path("/proc/%d/status" % p[0]).read_text().splitlines())
            assert status["Seccomp"].strip() == "2" and status["NoNewPrivs"].strip() == "1" and int(status["CapBnd"], 16) == 0


def test_status_tells_them_from_their_templates(doors):
    rows = {(r["role"], r["user"]): r["count"] for r in json.loads(doors.tool("postern", "status", "--json").stdout)["processes"]}
    for name in ("milter", "spamd"):
        assert rows["filterd: %s" % name, "_postern_%s" % name] == rows["filterd: %s template" % name, "_postern_%s" % name] == 1
    assert rows["filterd: scoring template", "_postern_filter"] == 1


def test_the_users_of_listeners_are_asked_for_before_a_start(doors, tmp_path):
    conf = tmp_path / "postern.conf"
    for user, code in (("_postern_spamd", 0), ("nobody-at-all", 1)):
        conf.write_text(doors.conf.read_text() + "user_spamd = %s\n" % user)
        p = subprocess.run([doors.bin / "filterd", "-t", "-c", conf], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert p.returncode == code and ("nobody-at-all" in p.stdout.decode()) == (code == 1), p.stdout


def test_a_listener_whose_template_is_gone_comes_back(doors):
    """filterd ends when it could not start one as its user any more, and all of it is started again."""
    old = [p[0] for p in doors.processes() if p[3] == "filterd: monitor"]
    for p in doors.processes():
        if p[3] == "filterd: spamd template":
            os.kill(p[0], signal.SIGKILL)
    end = time.monotonic() + 60
    while True:
        titles = [(p[3], p[0]) for p in doors.processes()]
        if not any(pid in old for _t, pid in titles) and {"filterd: monitor", "filterd: spamd", "filterd: milter"} <= {t for t, _pid in titles}:
            break
        assert time.monotonic() < end, titles
        time.sleep(0.05)
    while spamc(MESSAGES["gtube"][0], "-c", check=False)[0] != 1:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_listener_started_anew_after_a_mistake_goes_on_by_what_was(doors):
    """Its template reads the file itself when it was read anew before; with a mistake in it the last good one stays in force."""
    good = doors.conf.read_text()
    before = {p[0] for p in doors.processes() if p[3] == "filterd: spamd"}
    assert before
    os.kill([p[0] for p in doors.processes() if p[3] == "filterd: monitor"][0], signal.SIGHUP)
    end = time.monotonic() + 60
    while {p[0] for p in doors.processes() if p[3] == "filterd: spamd"} & before:
        assert time.monotonic() < end
        time.sleep(0.05)
    doors.conf.write_text(good + "filter_workers = many\n")
    try:
        for p in doors.processes():
            if p[3] == "filterd: spamd":
                os.kill(p[0], signal.SIGKILL)
        doors.logged("a listener goes on by the old configuration")
        while spamc(MESSAGES["good"][0], "-c", check=False)[0] != 0:
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        doors.conf.write_text(good)
