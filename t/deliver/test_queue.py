"""queued in the whole: what is delivered in the session, what is queued, retried, returned, forwarded, held; and what a hostile front can do (nothing)."""
import email
import json
import os
import re
import signal
import smtplib
import socketserver
import subprocess
import threading
import time

import pytest

import ipc
from trace import Trace

ALICE, BOB = "alice@example.com", "bob@example.com"


class Sink:
    """A remote server: refuses bad@ for good and later@ for now, keeps the rest."""

    def __init__(self, host):
        sink = self
        self.got, self.tried, self.delay = [], 0, 0

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                say, rcpts = self.wfile.write, []
                say(b"220 sink\r\n")
                for line in self.rfile:
                    word = line[:4].upper()
                    if word == b"EHLO":
                        say(b"250-sink\r\n250 PIPELINING\r\n")
                    elif word == b"RCPT":
                        sink.tried += 1
                        if b"<bad" in line:
                            say(b"550 5.1.1 no such user here\r\n")
                        elif b"<later" in line:
                            say(b"450 4.2.1 busy\r\n")
                        else:
                            rcpts.append(line[9:-3].decode())
                            say(b"250 ok\r\n")
                    elif word == b"DATA" and not rcpts:
                        say(b"554 5.5.1 no recipients\r\n")
                    elif word == b"DATA":
                        say(b"354 go\r\n")
                        data = b""
                        for piece in self.rfile:
                            if piece == b".\r\n":
                                break
                            data += piece
                        time.sleep(sink.delay)
                        sink.got.append((rcpts, data))
                        rcpts = []
                        say(b"250 2.0.0 taken\r\n")
                    elif word == b"QUIT":
                        say(b"221 bye\r\n")
                        return
                    else:
                        say(b"250 ok\r\n")
        socketserver.ThreadingTCPServer.allow_reuse_address = True
        socketserver.ThreadingTCPServer.request_queue_size = 128     # of 5, the kernel drops connections that come together
        self.server = socketserver.ThreadingTCPServer((host, 2525), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def sink():
    s = Sink("127.0.0.3")
    yield s
    s.close()


@pytest.fixture
def make(fresh_suite, sink):
    def build(**settings):
        return fresh_suite("queue", settings={"filter_enable": "no", "mynetworks": "127.0.0.0/8", "relayhost": "[127.0.0.3]:2525", **settings})
    return build


def send(suite, to, sender=ALICE, text="Subject: t\r\nMessage-ID: <a@b>\r\n\r\nhello\r\n"):
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=30) as s:
        return s.sendmail(sender, [to] if isinstance(to, str) else to, text)


def wait(what, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = what()
        if value:
            return value
        time.sleep(0.05)
    return what()


def files(suite, user, folder=""):
    root = suite.maildir(user) / folder
    return [f for d in ("new", "cur") if (root / d).is_dir() for f in (root / d).iterdir()]


def queue(suite):
    out = suite.tool("postern-queue", "list", "--json").stdout.decode()
    return [json.loads(line) for line in out.splitlines()]


def daemon(suite, title="queued: queue"):
    return [p[0] for p in suite.processes() if p[3] == title][0]


# --- remote, retry, bounces ---

def test_remote_mail_goes_out_and_failures_come_back(make, sink):
    suite = make()
    send(suite, ["ann@elsewhere.example", "bad@elsewhere.example", BOB])
    assert wait(lambda: sink.got)[0][0] == ["ann@elsewhere.example"]
    assert len(files(suite, BOB)) == 1
    (bounce,) = wait(lambda: files(suite, ALICE))
    m = email.message_from_bytes(bounce.read_bytes())
    assert m["Return-Path"] == "<>" and m["Auto-Submitted"] == "auto-replied" and m.get_content_type() == "multipart/report"
    status = m.get_payload()[1].as_string()
    assert "Final-Recipient: rfc822; bad@elsewhere.example" in status and "Status: 5.1.1" in status and "Action: failed" in status
    assert "ann@" not in status
    assert wait(lambda: not queue(suite)) and not list((suite.spool / "queue").iterdir())


def test_a_bounce_is_never_bounced(make, sink):
    suite = make()
    send(suite, "bad@elsewhere.example", sender="<>")
    send(suite, "bad@elsewhere.example", sender="bad@elsewhere.example")
    assert wait(lambda: sink.tried >= 3) and wait(lambda: not queue(suite))
    time.sleep(0.5)
    assert not sink.got and not queue(suite) and not files(suite, ALICE)


def test_what_fails_for_now_waits_and_survives_kill_and_restart(make, sink):
    suite = make()
    send(suite, ["later@elsewhere.example", BOB])
    assert wait(lambda: queue(suite) and queue(suite)[0]["recipients"][0].get("delay_reason"))
    (q,) = queue(suite)
    assert [r["address"] for r in q["recipients"]] == ["later@elsewhere.example"] and "450 4.2.1 busy" in q["recipients"][0]["delay_reason"]
    # an agent that is killed between the answer and its rename leaves the copy in tmp, for whoever opens the mailbox next
    assert wait(lambda: len(files(suite, BOB)) == 1)
    os.kill(daemon(suite), signal.SIGKILL)
    assert wait(lambda: suite.tool("postern-queue", "list", "--json", check=False).stdout.startswith(b"{"))
    assert queue(suite)[0]["queue_id"] == q["queue_id"]
    suite.stop()
    suite.start()
    assert wait(lambda: suite.tool("postern-queue", "list", "--json", check=False).stdout.startswith(b"{"))
    text = suite.tool("postern-queue", "list").stdout.decode()
    assert text.startswith("-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n")
    assert re.search(r"^%s +\d+ \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d  alice@example.com$" % q["queue_id"], text, re.M)
    assert re.search(r"^ {41}later@elsewhere.example$", text, re.M) and re.search(r"^-- 0 Kbytes in 1 Request\.$", text, re.M)
    before = sink.tried
    suite.tool("postern-queue", "flush")
    assert wait(lambda: sink.tried > before), "flush tries at once"
    assert len(files(suite, BOB)) == 1, "the local copy is not made again"


def test_expired_mail_is_returned(make, sink):
    suite = make(maximal_queue_lifetime="0")
    send(suite, "later@elsewhere.example")
    (bounce,) = wait(lambda: files(suite, ALICE))
    assert b"Status: 4.2.1" in bounce.read_bytes()
    assert suite.logged("status=expired, returned to sender")


def test_soft_bounce_neither_refuses_for_good_nor_returns(make, sink):
    suite = make(soft_bounce="yes", maximal_queue_lifetime="0", quota_full_action="reject")
    assert send(suite, "bad@elsewhere.example") == {}
    [row] = wait(lambda: [r for q in queue(suite) for r in q["recipients"] if r.get("delay_reason")])
    assert "550 5.1.1 no such user here" in row["delay_reason"]
    assert suite.logged(r"to=<bad@elsewhere\.example>, .*dsn=4\.1\.1, status=deferred") and files(suite, ALICE) == []
    suite.tool("postern-user", "quota", BOB, "1k")
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=30) as s:
        s.ehlo()
        s.mail("x@elsewhere.example")
        assert s.rcpt("nobody@example.com")[0] == 450
        code, text = s.docmd("FROB")
        assert (code, text[:5]) == (400, b"4.5.2")
        code, text = s.rcpt(BOB)
        assert code == 250
        code, text = s.data("Subject: long\r\n\r\n" + 3 * ("x" * 900 + "\r\n"))
        assert code == 250, text
    assert suite.logged(r"to=<bob@example\.com>, .*dsn=4\.2\.2, status=deferred")
    context = suite.tls_context()
    context.check_hostname = False
    with smtplib.SMTP_SSL(suite.host, suite.port("SUBMISSIONS"), context=context, timeout=30) as s:
        with pytest.raises(smtplib.SMTPAuthenticationError) as why:
            s.login(ALICE, "wrong")
        assert why.value.smtp_code == 535, "a mail program is to ask for another password"
    p = suite.tool("postern", "check", check=False)
    assert b"soft_bounce: nothing is refused for good" in p.stdout
    suite.tool("postern-queue", "flush")
    assert wait(lambda: len(re.findall(r"dsn=4\.2\.2, status=deferred", suite.log.read_text())) >= 2) and files(suite, ALICE) == [] == files(suite, BOB)
    assert "status=bounced" not in suite.log.read_text() and "notification:" not in suite.log.read_text()


def test_the_sender_is_warned_of_delay_once(make, sink):
    suite = make(delay_warning_time="1s", minimal_backoff_time="1", maximal_backoff_time="1")
    send(suite, "later@elsewhere.example")
    (warning,) = wait(lambda: files(suite, ALICE))
    assert b"Action: delayed" in warning.read_bytes()
    time.sleep(3)
    assert len(files(suite, ALICE)) == 1 and len(queue(suite)) == 1


def test_a_dead_destination_is_left_alone(make, sink):
    suite = make(relayhost="[127.0.0.3]:9")
    for _ in range(4):
        send(suite, "x@elsewhere.example")
    assert wait(lambda: len([r for q in queue(suite) for r in q["recipients"] if r.get("delay_reason")]) == 4)
    assert "delivery temporarily suspended: connect to" in suite.log.read_text() or wait(
        lambda: send(suite, "x@elsewhere.example") == {} and "delivery temporarily suspended" in suite.log.read_text())


def test_hold_release_delete(make, sink):
    suite = make()
    send(suite, "later@elsewhere.example")
    qid = wait(lambda: queue(suite) and queue(suite)[0]["recipients"][0].get("delay_reason") and queue(suite)[0]["queue_id"])
    suite.tool("postern-queue", "hold", qid)
    before = sink.tried
    suite.tool("postern-queue", "flush")
    os.kill(daemon(suite), signal.SIGKILL)
    assert wait(lambda: suite.tool("postern-queue", "list", "--json", check=False).stdout.startswith(b"{"))
    time.sleep(0.5)
    assert sink.tried == before and queue(suite)[0]["queue_name"] == "hold", "held over flush and crash"
    assert b"Subject: t\nMessage-ID: <a@b>\n\nhello\n" in suite.tool("postern-queue", "show", qid).stdout
    suite.tool("postern-queue", "release", qid)
    assert wait(lambda: sink.tried > before)
    assert wait(lambda: queue(suite)[0]["queue_name"] == "deferred")
    suite.tool("postern-queue", "delete", qid)
    assert not queue(suite) and suite.tool("postern-queue", "list").stdout == b"Mail queue is empty\n"
    assert suite.tool("postern-queue", "delete", "1NOSUCHNOSU", check=False).returncode != 0


def test_a_long_answer_comes_in_pages(make, sink):
    suite = make(relayhost="[127.0.0.3]:9")
    everybody = ["r%d@h%d.example" % (i, i % 40) for i in range(700)]
    send(suite, everybody)
    assert wait(lambda: queue(suite) and all(r.get("delay_reason") for r in queue(suite)[0]["recipients"]))
    (q,) = queue(suite)
    assert sorted(r["address"] for r in q["recipients"]) == sorted(everybody)
    shown = suite.tool("postern-queue", "show", q["queue_id"]).stdout
    assert shown.count(b"\nkind: remote\n") == 700 and shown.endswith(b"\n\nhello\n")


def test_no_directory_is_listed(make, sink, tmp_path):
    """Neither for what comes, goes, fails or waits, nor for a try of everything: directories are read at the start, and once an hour for what was left behind."""
    suite = make(minimal_backoff_time="1h")
    send(suite, "ann@elsewhere.example")
    assert wait(lambda: sink.got) and wait(lambda: not queue(suite))
    with Trace(tmp_path, {daemon(suite): "queued"}, "getdents64,unlinkat,linkat,openat") as t:
        send(suite, [BOB, "ann@elsewhere.example", "bad@elsewhere.example", "later@elsewhere.example"])
        assert wait(lambda: len(sink.got) == 2) and wait(lambda: files(suite, ALICE))
        assert wait(lambda: len(queue(suite)) == 1 and queue(suite)[0]["queue_name"] == "deferred")
        before = sink.tried
        suite.tool("postern-queue", "flush")
        assert wait(lambda: sink.tried > before) and wait(lambda: queue(suite)[0]["queue_name"] == "deferred")
        suite.tool("postern-queue", "delete", queue(suite)[0]["queue_id"])
        assert not queue(suite)
    counts = t.counts()
    assert sum(counts.values()) > 0 and counts["queued", "getdents64"] == 0, counts


# --- forwarding, local trouble ---

def no_agents(suite):
    return not any(p[2] == "deliver" for p in suite.processes())


def put_forward(suite, user, text):
    home = suite.maildir(user).parent
    st = home.stat()
    (home / ".forward").write_text(text)
    os.chown(home / ".forward", st.st_uid, st.st_gid)
    os.chmod(home / ".forward", 0o600)
    return home / ".forward"


def test_forward_as_the_user(make, sink):
    suite = make()
    f = put_forward(suite, BOB, "carol@elsewhere.example, \\bob\n")
    send(suite, BOB, sender="s@elsewhere.example")
    rcpts, data = wait(lambda: sink.got)[0]
    assert rcpts == ["carol@elsewhere.example"] and data.startswith(b"Delivered-To: bob@example.com\r\n")
    assert len(wait(lambda: files(suite, BOB))) == 1 and wait(lambda: not queue(suite))
    assert suite.logged(r"status=sent \(forwarded as [0-9A-Z]+\)")
    f.write_text("|/bin/sh -c id\n")
    assert wait(lambda: no_agents(suite))       # one that is kept has read the old one
    send(suite, BOB)
    assert wait(lambda: queue(suite) and queue(suite)[0]["recipients"][0].get("delay_reason"))
    assert "not allowed by configuration" in queue(suite)[0]["recipients"][0]["delay_reason"] and len(files(suite, BOB)) == 1
    os.chmod(f, 0o666)
    f.write_text("carol@elsewhere.example\n")
    assert wait(lambda: no_agents(suite))
    suite.tool("postern-queue", "flush")
    assert wait(lambda: ".forward is not a plain file" in queue(suite)[0]["recipients"][0]["delay_reason"])


def test_a_forward_loop_ends(make, sink):
    suite = make()
    put_forward(suite, ALICE, BOB + "\n")
    put_forward(suite, BOB, ALICE + "\n")
    send(suite, BOB, sender="<>")
    assert wait(lambda: "mail forwarding loop" in suite.log.read_text()) and wait(lambda: not queue(suite))
    assert not files(suite, ALICE) and not files(suite, BOB)


def test_a_mailbox_in_trouble_is_queued_and_the_others_have_theirs(make, sink):
    suite = make()
    send(suite, [ALICE, BOB])
    new = suite.maildir(BOB) / "new"
    new.rename(suite.maildir(BOB) / "aside")
    new.write_text("")
    assert wait(lambda: no_agents(suite))
    assert send(suite, [ALICE, BOB], sender="x@elsewhere.example") == {}
    assert len(files(suite, ALICE)) == 2
    assert wait(lambda: queue(suite) and queue(suite)[0]["recipients"][0].get("delay_reason"))
    new.unlink()
    (suite.maildir(BOB) / "aside").rename(new)
    suite.tool("postern-queue", "flush")
    assert wait(lambda: not queue(suite)) and len(files(suite, BOB)) == 2


def test_many_recipients_are_queued(make, sink):
    suite = make(local_in_session_max="1")
    send(suite, [ALICE, BOB])
    assert wait(lambda: files(suite, ALICE) and files(suite, BOB)) and wait(lambda: not queue(suite))
    assert len(files(suite, ALICE)) == len(files(suite, BOB)) == 1


def test_without_an_agent_mail_waits(make, sink):
    suite = make()
    agent = suite.bin / "deliver"
    os.chmod(agent, 0o700)
    assert send(suite, BOB) == {}
    assert wait(lambda: queue(suite) and queue(suite)[0]["recipients"][0].get("delay_reason"))
    os.chmod(agent, 0o4710)
    suite.tool("postern-queue", "flush")
    assert wait(lambda: len(files(suite, BOB)) == 1) and wait(lambda: not queue(suite))


def test_a_missing_filter_is_a_temporary_failure(make, sink):
    suite = make(filter_enable="yes")
    assert send(suite, BOB) == {}
    for _, pid in sorted((title != "filterd: parent", pid) for pid, _, comm, title in suite.processes() if comm == "filterd"):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    with pytest.raises(smtplib.SMTPDataError) as why:
        send(suite, BOB, text="Subject: spam\r\n\r\nXJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n")
    assert why.value.smtp_code in (451, 550), "not now, or filterd is back already"
    assert wait(lambda: not send_quietly(suite), 20), "works again once filterd is back"
    assert not [f for f in files(suite, BOB) if b"GTUBE" in f.read_bytes()]


def send_quietly(suite):
    try:
        return send(suite, BOB)
    except (smtplib.SMTPException, OSError) as e:
        return e


# --- the queue on disk ---

def test_damaged_and_foreign_files_are_moved_aside_or_left(make, sink):
    suite = make()
    send(suite, "later@elsewhere.example")
    assert wait(lambda: queue(suite) and queue(suite)[0]["recipients"][0].get("delay_reason"))
    qid = queue(suite)[0]["queue_id"]
    suite.stop()
    (good,) = (suite.spool / "queue").iterdir()
    data = bytearray(good.read_bytes())
    bad = good.with_name("1BADBADBADB." + good.name.split(".")[1])
    bad.write_bytes(data)
    torn = good.with_name("1TORNTORNTO." + good.name.split(".")[1])
    torn.write_bytes(data[:int(good.name.split(".")[1])])
    for f in (bad, torn):
        os.chown(f, good.stat().st_uid, good.stat().st_gid)
    good.open("ab").write(b"torn record")
    (suite.spool / "queue" / "README").write_text("not ours")
    suite.start()
    assert wait(lambda: [q["queue_id"] for q in queue(suite)] == [qid])
    assert [f.name.split(".")[0] for f in sorted((suite.spool / "corrupt").iterdir())] == ["1BADBADBADB", qid]
    assert torn.exists(), "unfinished and young"
    suite.tool("postern-queue", "flush")
    assert wait(lambda: "tail" in " ".join(f.name for f in (suite.spool / "corrupt").iterdir()))


# --- hostile fronts ---

@pytest.fixture
def front(make):
    suite = make()

    def connect(**kw):
        parent = ipc.Parent(suite.run_dir / "queue" / "register", "smtp")
        c = parent.conn("queue", **kw)
        c.parent = parent
        return c
    connect.suite = suite
    return connect


def answer(c, name, id=1, **kw):
    got = c.ask(name, id, **kw)
    return got[0] if got[0] != "REPLY" else (got[2]["code"], got[2]["text"].decode())


@pytest.mark.parametrize("name,kw", [("DATA", {}), ("RCPT", {"recipient": BOB}), ("DATA_END", {"size": 0, "lines": 0, "received": 0}),
                                     ("USER", {"conn": 1, "user": ALICE, "rights": "submit"}), ("OPEN", {"size_max": 1})])
def test_a_message_out_of_turn_closes_that_channel_only(front, name, kw):
    other, c = front(), front()
    fd = os.open("/dev/null", os.O_RDONLY) if name == "OPEN" else None
    c.send(name, 1, fd, **kw)
    with pytest.raises(ipc.Closed):
        c.recv()
    assert answer(other, "MAIL", sender="x@elsewhere.example")[0] == 250


def test_a_front_cannot_claim_a_user_or_another_client(front):
    c = front(client="192.0.2.9")
    assert answer(c, "MAIL", sender=ALICE, auth_method="PLAIN")[0] == 250
    assert answer(c, "RCPT", recipient="x@elsewhere.example")[0] == 554
    c = front(client="192.0.2.9", profile="submission")
    assert answer(c, "MAIL", sender=ALICE, auth_method="PLAIN") == (530, "Authentication required")


def open_message(c):
    assert answer(c, "MAIL", sender="x@elsewhere.example")[0] == 250
    assert answer(c, "RCPT", recipient=BOB)[0] == 250
    name, _, _, fd = c.ask("DATA", 2)
    assert name == "OPEN"
    return fd


def test_a_front_that_keeps_the_descriptor_gets_451(front):
    c = front()
    fd = open_message(c)
    os.write(fd, b"Subject: x\n\ngood\n")
    keep = os.dup(fd)
    os.close(fd)
    assert answer(c, "DATA_END", size=17, lines=3, received=0)[0] == 451
    os.pwrite(keep, b"evil", 12)
    os.close(keep)
    with pytest.raises(ipc.Closed):
        c.recv()
    c = front()
    fd = open_message(c)
    with pytest.raises(OSError):
        os.read(fd, 1)
    os.write(fd, b"Subject: x\n\ngood\n")
    os.close(fd)
    assert answer(c, "DATA_END", size=16, lines=3, received=0)[0] == 451, "another size than it says"
    assert not files(front.suite, BOB)


def test_hops_are_counted_here_whatever_the_front_says(front):
    c = front()
    fd = open_message(c)
    text = b"Received: x\n" * 60 + b"\nx\n"
    os.write(fd, text)
    os.close(fd)
    assert answer(c, "DATA_END", size=len(text), lines=62, received=0)[0] == 554


def test_a_front_that_goes_away_leaves_nothing(front):
    for step in range(3):
        c = front()
        fd = open_message(c)
        os.write(fd, b"Subject: x\n\nbody\n")
        if step > 0:
            os.close(fd)
        if step > 1:
            c.send("DATA_END", 3, size=17, lines=3, received=0)
        c.close()
        if step == 0:
            os.close(fd)
    assert wait(lambda: not list((front.suite.spool / "incoming").iterdir()))
    assert len(files(front.suite, BOB)) <= 1 and not list((front.suite.spool / "queue").iterdir())


def test_only_root_may_register_and_control(front):
    suite = front.suite
    for name in ("register", "auth", "control"):
        assert (suite.run_dir / "queue").stat().st_mode & 0o777 == 0o700
        p = subprocess.run(["/usr/bin/python3", "-c", "import socket,sys; s=socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(sys.argv[1])",
                            str(suite.run_dir / "queue" / name)], user=65534, group=65534, extra_groups=[], stderr=subprocess.PIPE)
        assert b"PermissionError" in p.stderr


# --- killed in the commit ---

@pytest.mark.parametrize("k", [int(x) for x in os.environ.get("POSTERN_QUEUED_KILLS", "3 11 17 23 29 36 44 58").split()])
def test_queued_killed_at_a_system_call(make, sink, k):
    """Killed before the k-th call after it was attached to, with a message to two mailboxes and a remote recipient on its way."""
    suite = make()
    send(suite, [ALICE, BOB])       # warm: agents, resolve
    tracer = subprocess.Popen(["strace", "-qq", "-o", "/dev/null", "-p", str(daemon(suite)), "-e", "inject=all:signal=KILL:when=%d" % k],
                              stderr=subprocess.DEVNULL)
    time.sleep(0.3)
    try:
        send(suite, [ALICE, BOB, "ann@elsewhere.example"], text="Subject: k\r\nMessage-ID: <kill@test>\r\n\r\nx\r\n")
        acknowledged = True
    except (smtplib.SMTPException, OSError):
        acknowledged = False
    tracer.terminate()
    tracer.wait()
    assert wait(lambda: suite.tool("postern-queue", "list", "--json", check=False).returncode == 0)
    if not acknowledged:
        assert wait(lambda: not send_all_again(suite)), "service comes back"
    assert wait(lambda: any("ann@elsewhere.example" in r for r, _ in sink.got))
    for user in (ALICE, BOB):
        n = sum(b"<kill@test>" in f.read_bytes() for f in files(suite, user))
        assert n == 1 or (n == 2 and not acknowledged), "%d copies for %s, acknowledged: %s" % (n, user, acknowledged)
    assert len([1 for r, d in sink.got if b"<kill@test>" in d]) <= (1 if acknowledged else 2)


def send_all_again(suite):
    try:
        return send(suite, [ALICE, BOB, "ann@elsewhere.example"], text="Subject: k\r\nMessage-ID: <kill@test>\r\n\r\nx\r\n")
    except (smtplib.SMTPException, OSError) as e:
        return e


# --- reload ---

def reload(suite, **settings):
    suite.settings.update(settings)
    suite.configure()
    suite.reload()


def test_a_new_configuration_is_used_and_a_bad_one_is_not(make, sink):
    suite = make()
    first = daemon(suite)
    with smtplib.SMTP(suite.host, suite.port("SMTP")) as s:
        s.ehlo()
        assert s.mail(ALICE)[0] == 250 and s.rcpt("ann@elsewhere.example")[0] == 250
        reload(suite, mynetworks="192.0.2.0/24")
        time.sleep(1)
        assert s.data("Subject: x\r\n\r\nx\r\n")[0] == 250, "what is under way is finished"
    assert wait(lambda: [p for p in suite.processes() if p[3] == "queued: queue" and p[0] != first])
    assert wait(lambda: sink.got)

    def refused():
        try:
            send(suite, "ann@elsewhere.example")
        except smtplib.SMTPRecipientsRefused as e:
            return list(e.recipients.values())[0][0] == 554
        except (smtplib.SMTPException, OSError):
            return False
    assert wait(refused)
    second = daemon(suite)
    reload(suite, message_size_limit="nonsense")
    time.sleep(1)
    assert daemon(suite) == second and refused()
    reload(suite, message_size_limit="20971520")
    time.sleep(1)
    assert daemon(suite) == second, "nothing has changed: nothing is started again"
