"""The administrator's and the programs' tools: postqueue, postsuper, postcat, mailq, postern queue with filters, postern trace, sendmail's options, and maps that Debian's
postmap and tinycdb read and write as we do."""
import base64
import concurrent.futures
import json
import os
import re
import smtplib
import socket
import subprocess

import pytest

from test_queue import ALICE, BOB, files, make, queue, send, sink, wait  # noqa: F401

LATER = "later@elsewhere.example"


def out(p):
    return p.stdout.decode()


def tool(suite, name, *args, check=True, **kw):
    return suite.tool(name, *args, check=check, **kw)


@pytest.fixture
def waiting(make):  # noqa: F811
    """A suite with two messages that wait: one from alice to two, one from bob."""
    suite = make(minimal_backoff_time="1h")
    send(suite, [LATER, "later2@elsewhere.example"], sender=ALICE, text="Subject: first\r\nMessage-ID: <first@x>\r\n\r\nbody one\r\n")
    send(suite, "later@other.example", sender="")
    assert wait(lambda: len(queue(suite)) == 2 and all(len([r for r in m["recipients"] if "delay_reason" in r]) == len(m["recipients"]) for m in queue(suite)) and
                all(m["queue_name"] == "deferred" for m in queue(suite)))
    return suite


def run_as(suite, name):
    return subprocess.run([str(suite.bin / name), "-C", str(suite.conf)], stdout=subprocess.PIPE, check=True)


def ids(suite):
    return {m["sender"]: m["queue_id"] for m in queue(suite)}


# --- the queue ---

def test_all_means_all(make):  # noqa: F811
    suite = make(minimal_backoff_time="1h")
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=30) as s:
        for i in range(150):
            s.sendmail(ALICE, [LATER], "Subject: %d\r\nMessage-ID: <all-%d@x>\r\n\r\nx\r\n" % (i, i))
    assert wait(lambda: len([m for m in queue(suite) if m["queue_name"] == "deferred"]) == 150)
    p = tool(suite, "postsuper", "-h", "ALL")
    assert "150 messages" in out(p) and out(tool(suite, "postqueue", "-p")).count("!") == 150
    p = tool(suite, "postsuper", "-d", "ALL")
    assert "150 messages" in out(p) and out(tool(suite, "postqueue", "-p")) == "Mail queue is empty\n"


def test_postqueue_p_is_postfixs_text(waiting):
    text = out(tool(waiting, "postqueue", "-p"))
    os.symlink("sendmail", waiting.bin / "mailq")
    assert text == post(waiting, "-bp").stdout.decode() == out(run_as(waiting, "mailq"))
    lines = text.splitlines()
    assert lines[0] == "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------"
    assert lines[-1] == "-- 0 Kbytes in 2 Requests." and lines[-2] == ""
    one = ids(waiting)[ALICE]
    (at,) = [i for i, line in enumerate(lines) if line.startswith(one)]
    assert re.fullmatch(r"%s\s+\d+ \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d  alice@example\.com" % one, lines[at])
    assert lines[at][11:19].strip().isdigit() and lines[at].index("alice") == 41
    assert lines[at + 1].strip().startswith("(") and lines[at + 1].endswith(")") and (len(lines[at + 1]) == 78 or lines[at + 1][0] == "(")
    assert lines[at + 2] == " " * 41 + LATER
    assert any(re.match(r"\S+\s+\d+ .*  MAILER-DAEMON$", line) for line in lines)
    tool(waiting, "postsuper", "-d", "ALL")
    assert wait(lambda: out(tool(waiting, "postqueue", "-p")) == "Mail queue is empty\n")


def test_postqueue_j_is_one_object_a_line(waiting):
    rows = [json.loads(line) for line in out(tool(waiting, "postqueue", "-j")).splitlines()]
    assert [sorted(r) for r in rows] == [sorted(["queue_name", "queue_id", "arrival_time", "message_size", "forced_expire", "sender", "recipients"])] * 2
    first = [r for r in rows if r["sender"] == ALICE][0]
    assert [r["address"] for r in first["recipients"]] == [LATER, "later2@elsewhere.example"] and "450" in first["recipients"][0]["delay_reason"]


def test_filters(waiting):
    def found(*args):
        return [json.loads(line)["queue_id"] for line in out(tool(waiting, "postern-queue", "list", "--json", *args)).splitlines()]
    one, two = ids(waiting)[ALICE], ids(waiting)[""]
    assert found("--sender", "ALICE@") == [one] and found("--sender", "mailer-daemon") == [two]
    assert found("--recipient", "@other.example") == [two] and sorted(found("--reason", "busy")) == sorted([one, two])
    assert found("--sender", "alice", "--recipient", "other") == []
    assert out(tool(waiting, "postern-queue", "hold", "--recipient", "later2@")) == "Placed on hold: 1 message\n"
    assert {m["queue_id"]: m["queue_name"] for m in queue(waiting)} == {one: "hold", two: "deferred"}
    assert out(tool(waiting, "postern-queue", "release", "-", input=("%s!\n" % one).encode())) == "Released from hold: 1 message\n"
    assert tool(waiting, "postern-queue", "delete", "--sender", "nobody", check=False).returncode == 65
    assert tool(waiting, "postern-queue", "delete", check=False).returncode == 64


def test_postsuper(waiting):
    one = ids(waiting)[ALICE]
    p = tool(waiting, "postsuper", "-h", one)
    assert out(p) == "postsuper: Placed on hold: 1 message\n"
    assert "%s!" % one in out(tool(waiting, "postqueue", "-p"))
    assert out(tool(waiting, "postsuper", "-H", "-", input=one.encode() + b"\n")) == "postsuper: Released from hold: 1 message\n"
    assert tool(waiting, "postsuper", "-d", "1NOSUCHMESS").returncode == 0
    assert out(tool(waiting, "postsuper", "-d", one, "deferred")) == "postsuper: Deleted: 1 message\n"
    assert wait(lambda: len(queue(waiting)) == 1)
    assert tool(waiting, "postsuper", check=False).returncode == 64 and tool(waiting, "postsuper", "-x", check=False).returncode == 64


def test_expired_by_hand(waiting):
    one = ids(waiting)[ALICE]
    tool(waiting, "postsuper", "-h", one)
    assert out(tool(waiting, "postsuper", "-e", one)) == "postsuper: Expired: 1 message\n"
    waiting.stop()
    waiting.start()
    rows = [json.loads(line) for line in out(tool(waiting, "postqueue", "-j")).splitlines()]
    assert {r["queue_id"]: (r["queue_name"], r["forced_expire"]) for r in rows if r["queue_id"] == one} == {one: ("hold", True)}
    assert "%s!#" % one in out(tool(waiting, "postqueue", "-p"))
    assert out(tool(waiting, "postsuper", "-f", one)) == "postsuper: Expired and released: 1 message\n"
    assert wait(lambda: waiting.logged("%s: from=<%s>, status=expired, returned to sender" % (one, ALICE)))
    assert wait(lambda: [f for f in files(waiting, ALICE) if b"Undelivered Mail" in f.read_bytes()])
    assert wait(lambda: one not in ids(waiting).values())


def test_postqueue_flushes(waiting, sink):  # noqa: F811
    one = ids(waiting)[ALICE]

    def tries(flush, n):
        assert wait(lambda: all(m["queue_name"] == "deferred" for m in queue(waiting)))
        before = sink.tried
        flush()
        assert wait(lambda: sink.tried >= before + n), (before, sink.tried)
    tries(lambda: tool(waiting, "postqueue", "-i", one), 2)
    tries(lambda: tool(waiting, "postqueue", "-f"), 3)
    tries(lambda: post(waiting, "-qI%s" % one), 2)
    tries(lambda: post(waiting, "-q"), 3)
    tries(lambda: post(waiting, "-q30m"), 0)
    tries(lambda: tool(waiting, "postqueue", "-s", "other.example"), 1)
    tries(lambda: post(waiting, "-qRelsewhere.example"), 2)
    tries(lambda: post(waiting, "-qSalice@"), 2)
    assert out(tool(waiting, "postsuper", "-r", one)).startswith("postsuper: Requeued: 1 message")
    assert tool(waiting, "postqueue", check=False).returncode == 64


def test_postcat(waiting):
    one = ids(waiting)[ALICE]
    text = out(tool(waiting, "postcat", "-q", one))
    assert text.startswith("*** ENVELOPE RECORDS deferred/%s ***\nmessage_size: " % one)
    assert "\nsender: alice@example.com\n" in text and "\noriginal_recipient: %s\nrecipient: %s\n" % (LATER, LATER) in text
    head, rest = text.split("*** MESSAGE CONTENTS deferred/%s ***\n" % one)
    assert rest == ("Subject: first\nMessage-ID: <first@x>\n\nbody one\n*** HEADER EXTRACTED deferred/%s ***\n*** MESSAGE FILE END deferred/%s ***\n" % (one, one))
    assert out(tool(waiting, "postcat", "-bq", one)) == "body one\n"
    assert out(tool(waiting, "postcat", "-hq", one)) == "Subject: first\nMessage-ID: <first@x>\n\n"
    assert "MESSAGE" not in out(tool(waiting, "postcat", "-eq", one))
    assert tool(waiting, "postcat", "-q", "1NOSUCHMESS", check=False).returncode != 0


# --- trace ---

def test_trace(make, sink):  # noqa: F811
    suite = make()
    send(suite, ["bad@elsewhere.example", BOB], sender=ALICE, text="Subject: t\r\nMessage-ID: <traced@x>\r\n\r\n")
    send(suite, BOB, sender="other@example.com", text="Subject: u\r\nMessage-ID: <another@x>\r\n\r\n")
    wait(lambda: files(suite, ALICE))
    wait(lambda: not queue(suite))
    one = suite.logged(r"(\w+): message-id=<traced@x>").group(1)
    bounce = suite.logged(r"%s: sender non-delivery notification: (\w+)" % one).group(1)
    text = out(tool(suite, "postern", "trace", one))
    events = [line.split("]: ", 1)[1] for line in text.splitlines()]
    mine = [e for e in events if e.startswith(one)]
    assert [e.split(": ", 1)[1].split("=")[0].split(" ")[0] for e in mine] == ["client", "message-id", "from", "to", "to", "sender", "removed"]
    assert [e.split(": ")[0] for e in events if not e.startswith(one)] and {e.split(": ")[0] for e in events} == {one, bounce}

    def trace(what, *args):
        return subprocess.run([str(suite.bin / "postern"), "-c", str(suite.conf), "trace", *args, what], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert trace("<traced@x>").stdout.decode() == text
    rows = [json.loads(line) for line in trace("traced@x", "--json").stdout.splitlines()]
    assert len(rows) == len(events) and [r["event"] for r in rows if r["queue_id"] == one] == ["client", "message-id", "from", "to", "to", "notification", "removed"]
    assert {r["fields"]["status"] for r in rows if r["event"] == "to" and r["queue_id"] == one} == {"sent", "bounced"}
    by_address = trace("other@example.com").stdout.decode()
    assert "another@x" in by_address and one not in by_address
    assert trace("1NOSUCHMESS").returncode == 1


def test_an_id_that_is_not_in_the_queue_is_named(make):
    suite = make()
    for word in ("hold", "delete"):
        p = suite.tool("postern-queue", word, "1NOSUCHMESS", check=False)
        assert p.returncode == 65 and b"1NOSUCHMESS is not in the queue" in p.stdout, p.stdout


def test_trace_of_logins(make, tmp_path):
    log = tmp_path / "log"
    line = "Nov 30 22:53:54 vm %s[26]: login %s: service=imap session=cd67 rip=%s rport=4 lip=127.0.0.1 method=PLAIN reason=x count=0 user=\"%s\"\n"
    lines = [line % row for row in [("postern/authd", "ok", "192.0.2.1", "alice@example.com"), ("postern/authd", "failed", "192.0.2.2", "alice@example.com"),
                                    ("postern/authd", "ok", "192.0.2.2", "bob@example.com"), ("postern/smtpd", "ok", "192.0.2.9", "alice@example.com"),
                                    ("postern/authd", "failed", "192.0.2.3", "x\" rip=192.0.2.1 user=\"alice@example.com")]]
    log.write_text("".join(lines))
    suite = make()

    def trace(*args):
        return subprocess.run([str(suite.bin / "postern"), "-c", str(suite.conf), "trace", "--file", str(log), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert trace("--logins", "Alice@example.com").stdout.decode() == lines[0] + lines[1]
    assert trace("--logins", "192.0.2.2").stdout.decode() == lines[1] + lines[2]
    assert trace("--logins", "192.0.2.1").stdout.decode() == lines[0]
    assert [json.loads(row)["event"] for row in trace("--logins", "192.0.2.2", "--json").stdout.splitlines()] == ["login-failed", "login"]
    assert trace("--logins", "nobody@example.com").returncode == 1 and trace("alice@example.com").returncode == 1


# --- sendmail ---

def post(suite, *args, text="Subject: t\n\nhello\n", check=True, user=None):
    argv = [str(suite.bin / "sendmail"), "-C", str(suite.conf), *args]
    return subprocess.run(argv, input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=check, **({"user": user, "cwd": "/"} if user else {}))


def test_sendmails_options(make, sink):  # noqa: F811
    suite = make()
    post(suite, "-oi", "-oem", "-f", "list@example.com", "-F", "The List", BOB, text="Subject: t\n\none\n.\ntwo\n")
    (f,) = wait(lambda: files(suite, BOB))
    text = f.read_text()
    assert text.startswith("Return-Path: <list@example.com>\n") and "\none\n.\ntwo\n" in text and 'From: "The List" <list@example.com>' in text
    f.unlink()
    post(suite, "-t", text="To: bob@example.com\nBcc: alice@example.com\nResent-To: ann@elsewhere.example\nSubject: t\n\n")
    assert wait(lambda: sink.got)[0][0] == ["ann@elsewhere.example"] and not files(suite, BOB) and not files(suite, ALICE)
    assert b"Bcc" not in sink.got[0][1]
    post(suite, "-t", "-i", text="To: bob@example.com\nBcc: alice@example.com\n\n")
    assert wait(lambda: files(suite, BOB) and files(suite, ALICE))
    assert post(suite, "-bv", BOB).stdout.startswith(b"bob@example.com\n") and post(suite, "-bv", "nobody@example.com", check=False).returncode == 1
    for bad in (["-N", "sometimes", BOB], ["-R", "all", BOB], ["-bd"], ["-qX"], ["-Z", BOB], []):
        assert post(suite, *bad, check=False).returncode == 64, bad
    assert post(suite, "nobody@example.com", check=False).returncode == 67
    for mute in (["-v", "-n", "-m", "-odb", "-G", "-U", "-O", "DeliveryMode=b", "-L", "tag", "-h", "3"],):
        post(suite, *mute, BOB)


def test_sendmail_guesses_no_recipient(make, sink):  # noqa: F811
    """Addresses side by side are several; what is none is refused, and not sent to somebody else who looks like it."""
    suite = make()
    post(suite, "-t", "-i", text="To: ann@elsewhere.example bea@other.example,\n\tcat@elsewhere.example\n dora@elsewhere.example\nSubject: t\n\nx\n")
    names = ["ann@elsewhere.example", "bea@other.example", "cat@elsewhere.example", "dora@elsewhere.example"]
    assert wait(lambda: sorted(r for rcpts, _ in sink.got for r in rcpts) == names), sink.got
    for bad in ("bob@@example.com", "b ob@example.com", "<bob@example.com alice@example.com>"):
        assert post(suite, "-t", "-i", text="To: %s\nSubject: t\n\nx\n" % bad, check=False).returncode == 65, bad
    assert post(suite, "-i", "bob@@example.com", check=False).returncode == 65
    assert not files(suite, BOB) and not files(suite, ALICE)


def test_a_cr_begins_no_line(make):  # noqa: F811
    """Who writes a header with what somebody typed looks for line feeds."""
    suite = make()
    post(suite, "-t", "-i", text="To: bob@example.com\r\nSubject: a\rBcc: alice@example.com\rX-B: c\r\n\r\none\r\r\ntwo\r.\rthree\n")
    (f,) = wait(lambda: files(suite, BOB))
    text = f.read_text()
    assert "\nSubject: a Bcc: alice@example.com X-B: c\n" in text and text.endswith("\n\none\ntwo . three\n") and not files(suite, ALICE)


def played_smtpd(suite, argv, text=b"Subject: t\n\nx\n"):
    """What sendmail says to the submit socket."""
    conf = suite.base / "etc" / "played.conf"
    run = suite.base / "played"
    (run / "smtpd").mkdir(parents=True)
    conf.write_text(suite.conf.read_text().replace("run_directory = %s" % suite.run_dir, "run_directory = %s" % run))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(run / "smtpd" / "submit"))
    listener.listen(1)
    p = subprocess.Popen([str(suite.bin / "sendmail"), "-C", str(conf), *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    p.stdin.write(text)
    p.stdin.close()
    said = []
    with listener, listener.accept()[0] as s, s.makefile("rwb", buffering=0) as f:
        f.write(b"220 x\r\n")
        for line in f:
            said.append(line.decode().strip())
            if said[-1] == "QUIT":
                break
            f.write(b"354 go\r\n" if line == b"DATA\r\n" else b"250 ok\r\n" if not said[-1:] == ["."] and "DATA" not in said or line == b".\r\n" else b"")
    return said, p.wait(timeout=30)


def test_sendmail_asks_for_notifications(make):  # noqa: F811
    suite = make()
    said, status = played_smtpd(suite, ["-N", "failure,delay", "-R", "hdrs", "-V", "id+7 x", "-f", ALICE, BOB, "ann@elsewhere.example"])
    assert status == 0
    assert [line for line in said if line.startswith("MAIL")] == ["MAIL FROM:<alice@example.com> SIZE=%d RET=hdrs ENVID=id+2B7+20x" % int(re.search(r"SIZE=(\d+)", "".join(said)).group(1))]
    assert [line for line in said if line.startswith("RCPT")] == ["RCPT TO:<%s> NOTIFY=failure,delay" % a for a in (BOB, "ann@elsewhere.example")]


def test_sendmail_bs(make):  # noqa: F811
    suite = make()
    p = subprocess.Popen([str(suite.bin / "sendmail"), "-C", str(suite.conf), "-bs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert p.stdout.readline().startswith(b"220 ")
    for command, code in ((b"HELO x", b"250"), (b"MAIL FROM:<alice@example.com>", b"250"), (b"RCPT TO:<bob@example.com>", b"250"), (b"DATA", b"354"),
                          (b"Subject: t\r\n\r\nx\r\n.", b"250"), (b"QUIT", b"221")):
        p.stdin.write(command + b"\r\n")
        assert p.stdout.readline().startswith(code), command
    assert p.wait(timeout=30) == 0
    assert wait(lambda: files(suite, BOB))


# --- maps ---

@pytest.fixture
def place(suite, tmp_path):
    os.chmod(tmp_path, 0o755)
    conf = tmp_path / "postfix"
    conf.mkdir()
    (conf / "main.cf").write_text("default_database_type = cdb\n")
    (conf / "dynamicmaps.cf").write_text("cdb\tpostfix-cdb.so\tdict_cdb_open\tmkmap_cdb_open\n")
    theirs = lambda name, *args, **kw: subprocess.run(["/usr/sbin/" + name, "-c", str(conf), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)
    ours = lambda name, *args, **kw: subprocess.run([str(suite.bin / name), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)
    return tmp_path, ours, theirs


PAIRS = "Joe@Example.com  susan, boss\n# comment\nlong one,\n  two\n@catch.example x@y\n"


def test_our_maps_are_read_by_debians_postmap_and_tinycdb(place):
    tmp, ours, theirs = place
    (tmp / "virtual").write_text(PAIRS)
    assert ours("postmap", "cdb:%s/virtual" % tmp).returncode == 0
    for key, value in (("joe@example.com", b"susan, boss\n"), ("JOE@EXAMPLE.COM", b"susan, boss\n"), ("long", b"one, two\n"), ("@catch.example", b"x@y\n")):
        p = theirs("postmap", "-q", key, "cdb:%s/virtual" % tmp)
        assert (p.returncode, p.stdout) == (0, value), p.stderr
        assert ours("postmap", "-q", key, "cdb:%s/virtual" % tmp).stdout == value
    assert theirs("postmap", "-q", "nobody", "cdb:%s/virtual" % tmp).returncode == ours("postmap", "-q", "nobody", "cdb:%s/virtual" % tmp).returncode == 1
    assert subprocess.run(["cdb", "-q", "%s/virtual.cdb" % tmp, "long"], stdout=subprocess.PIPE).stdout == b"one, two"
    listed = subprocess.run(["cdb", "-d", "-m", "%s/virtual.cdb" % tmp], stdout=subprocess.PIPE).stdout
    assert sorted(listed.split(b"\n")) == sorted(ours("postmap", "-s", "cdb:%s/virtual" % tmp).stdout.replace(b"\t", b" ").split(b"\n"))
    keys = b"long\nnobody\n@catch.example\n"
    assert theirs("postmap", "-q", "-", "cdb:%s/virtual" % tmp, input=keys).stdout == ours("postmap", "-q", "-", "cdb:%s/virtual" % tmp, input=keys).stdout == \
        b"long\tone, two\n@catch.example\tx@y\n"
    (tmp / "aliases").write_text("postmaster: root\nList : a, \"b c\"@d\n\"odd name\": x\n")
    assert ours("postalias", "cdb:%s/aliases" % tmp).returncode == 0
    for key in ("list", "odd name", "postmaster"):
        assert theirs("postalias", "-q", key, "cdb:%s/aliases" % tmp).stdout == ours("postalias", "-q", key, "cdb:%s/aliases" % tmp).stdout != b""


def test_maps_of_debians_postmap_and_tinycdb_are_read_by_ours(place):
    tmp, ours, theirs = place
    for options in ([], ["-N"], ["-n"]):
        (tmp / "virtual").write_text(PAIRS)
        assert theirs("postmap", *options, "cdb:%s/virtual" % tmp).returncode == 0
        for key, value in (("joe@example.com", b"susan, boss\n"), ("Long", b"one, two\n")):
            assert b" ".join(ours("postmap", "-q", key, "cdb:%s/virtual" % tmp).stdout.split()) + b"\n" == value, options
    (tmp / "aliases").write_text("postmaster: root\nlist: a, b\n")
    assert theirs("postalias", "cdb:%s/aliases" % tmp).returncode == 0
    assert ours("postalias", "-q", "LIST", "cdb:%s/aliases" % tmp).stdout == b"a, b\n"
    assert b"list:\ta, b\n" in ours("postalias", "-s", "cdb:%s/aliases" % tmp).stdout
    subprocess.run(["cdb", "-c", "-m", "%s/tiny.cdb" % tmp], input=b"one two\nthree four five\n", check=True, stdout=subprocess.DEVNULL)
    assert ours("postmap", "-q", "three", "cdb:%s/tiny" % tmp).stdout == b"four five\n"


def test_postmaps_options(place):
    tmp, ours, theirs = place
    (tmp / "m").write_text("a 1\na 2\n")
    p = ours("postmap", "cdb:%s/m" % tmp)
    assert p.returncode == 0 and b"duplicate key" in p.stderr and ours("postmap", "-q", "a", "cdb:%s/m" % tmp).stdout == b"1\n"
    assert ours("postmap", "-r", "cdb:%s/m" % tmp).stderr == b"" and ours("postmap", "-q", "a", "cdb:%s/m" % tmp).stdout == b"2\n"
    assert ours("postmap", "-w", "cdb:%s/m" % tmp).stderr == b"" and ours("postmap", "-e", "cdb:%s/m" % tmp).returncode == 1
    for option in ("-d", "-i"):
        p = ours("postmap", option, *(["a"] if option == "-d" else []), "cdb:%s/m" % tmp)
        assert p.returncode == 64 and b"cannot be changed in place" in p.stderr
    (tmp / "one").write_text("first\n")
    (tmp / "two").write_text("second\n")
    (tmp / "files").write_text("both %s/one, %s/two\n" % (tmp, tmp))
    assert ours("postmap", "-F", "cdb:%s/files" % tmp).returncode == 0
    assert ours("postmap", "-q", "both", "cdb:%s/files" % tmp).stdout.strip() == base64.b64encode(b"first\nsecond\n")
    assert ours("postmap", "-F", "-q", "both", "cdb:%s/files" % tmp).stdout == b"first\nsecond\n\n"
    assert theirs("postmap", "-F", "-q", "both", "cdb:%s/files" % tmp).stdout == b"first\nsecond\n\n"
    (tmp / "files").write_text("none %s/missing\n" % tmp)
    p = ours("postmap", "-F", "cdb:%s/files" % tmp)
    assert p.returncode == 1 and b"missing" in p.stderr


def test_mail_of_a_removed_user_goes_on(suite, mail):
    suite.user_add("gone@example.com", "gone-secret")
    for wrong in ("nobody", "a@b, c@d", "|/bin/sh@x", "a@b@c", "@x", "x@"):
        p = suite.tool("postern-user", "del", "gone@example.com", "--forward", wrong, check=False)
        assert p.returncode == 1 and b"one whole address" in p.stdout
    assert suite.user_exists("gone@example.com")
    source = suite.base / "etc" / "virtual"
    before = source.read_text()
    try:
        source.write_text(before + "something: that is no map\n")
        p = suite.tool("postern-user", "del", "gone@example.com", "--forward", "bob@example.com", check=False)
        assert p.returncode == 1 and b"nothing was changed" in p.stdout and suite.user_exists("gone@example.com"), p.stdout
        source.write_text(before + "gone@example.com alice@example.com\n")
        suite.tool("postern-user", "del", "gone@example.com", "--forward", "bob@example.com")
        assert source.read_text() == before + "gone@example.com alice@example.com, bob@example.com\n"
        assert not suite.user_exists("gone@example.com")
        mid = mail.send(to="gone@example.com")
        mail.wait_for(mid, user="bob@example.com")
        mail.wait_for(mid, user="alice@example.com")
    finally:
        source.write_text(before)
        suite.tool("postmap", "cdb:%s" % source)


def test_removing_users_and_making_aliases_at_once(suite, mail):
    """Both change one file: no line is lost."""
    source = suite.base / "etc" / "virtual"
    before = source.read_text()
    names = ["gone%d@example.com" % i for i in range(6)]
    for n in names:
        suite.user_add(n, "gone-secret")
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda f: f(), [lambda n=n: suite.tool("postern-user", "del", n, "--forward", "bob@example.com") for n in names] +
                          [lambda n=n: suite.tool("postern-alias", "add", "list-" + n, "bob@example.com") for n in names]))
        rows = source.read_text().splitlines()
        assert {r.split()[0] for r in rows} >= set(names) | {"list-" + n for n in names}
        assert not any(suite.user_exists(n) for n in names)
    finally:
        source.write_text(before)
        suite.tool("postmap", "cdb:%s" % source)
