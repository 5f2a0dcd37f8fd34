"""aliases(5) and .forward files in the whole: commands, files, include lists, owners; whose right they run with, what is refused, what a command can reach."""
import os
import pwd
import re
import signal
import smtplib
import stat
import subprocess

import pytest

from test_queue import ALICE, BOB, files, make, put_forward, queue, send, sink, wait  # noqa: F401

LOCAL = "localhost"


def alias(suite, text, owner="root", name="programs"):
    """Write and compile a further aliases file; the suite must name it already."""
    f = suite.base / "etc" / name
    f.write_text(text)
    uid = pwd.getpwnam(owner).pw_uid
    suite.tool("postalias", "cdb:%s" % f)
    os.chown(f, uid, -1)
    os.chown("%s.cdb" % f, uid, -1)
    return f


@pytest.fixture
def place(fresh_suite, sink):  # noqa: F811
    def build(text, owner="root", **settings):
        suite = fresh_suite("programs", start=False, settings={"filter_enable": "no", "mynetworks": "127.0.0.0/8", "relayhost": "[127.0.0.3]:2525",
                                                               "allow_mail_to_commands": "alias,forward", "allow_mail_to_files": "alias,forward",
                                                               "myorigin": "$myhostname", "command_time_limit": "20s", **settings})
        etc = suite.base / "etc"
        conf = suite.conf.read_text().replace("alias_maps = cdb:%s/aliases" % etc, "alias_maps = cdb:%s/aliases cdb:%s/programs" % (etc, etc))
        suite.conf.write_text(conf)
        out = suite.base / "out"
        out.mkdir()
        os.chmod(out, 0o1777)
        suite.out = out
        alias(suite, text.replace("OUT", str(out)), owner)
        suite.start()
        return suite
    return build


def status(suite, to, what, seconds=30):
    """The log line of the delivery to an address, once it has this text."""
    pattern = re.compile(r"to=<%s>.*%s" % (re.escape(to), what))
    return wait(lambda: pattern.search(suite.log.read_text()), seconds) or pytest.fail("no %r for %s\n%s" % (what, to, suite.trouble()))


def content(path, seconds=30):
    return wait(lambda: path.exists() and path.stat().st_size and path.read_text(), seconds) or pytest.fail("%s was not written" % path)


# --- commands ---

def test_a_command_gets_the_message_as_nobody(place):
    suite = place('cmd: "|cat >OUT/got; id -un >OUT/id; env >OUT/env; grep -E \'^(NoNewPrivs|CapEff|CapBnd)\' /proc/self/status >OUT/status"\n')
    send(suite, "cmd@localhost", sender=ALICE)
    assert "(delivered to command: " in status(suite, "cmd@localhost", r"relay=local, .*dsn=2\.0\.0, status=sent").group(0) + suite.log.read_text()
    text = content(suite.out / "got")
    assert re.match(r"From alice@example.com  \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\nReturn-Path: <alice@example.com>\nDelivered-To: cmd@localhost\nReceived: ", text)
    assert text.endswith("\nhello\n")
    assert content(suite.out / "id") == "nobody\n"
    env = dict(line.split("=", 1) for line in content(suite.out / "env").splitlines())
    assert env["SENDER"] == ALICE and env["RECIPIENT"] == "cmd@localhost" and env["LOCAL"] == "cmd" and env["DOMAIN"] == "localhost"
    assert set(env) <= {"PATH", "SHELL", "HOME", "USER", "LOGNAME", "LOCAL", "DOMAIN", "EXTENSION", "RECIPIENT", "ORIGINAL_RECIPIENT", "SENDER", "PWD", "_", "SHLVL", "OLDPWD"}
    state = dict(line.split(":\t") for line in content(suite.out / "status").splitlines())
    assert state["NoNewPrivs"] == "1" and int(state["CapEff"], 16) == 0
    assert queue(suite) == []


def test_exit_statuses(place):
    suite = place('ok: "|exit 0"\nlater: "|echo 4.2.9 come back; exit 75"\nnever: "|echo no such list; exit 67"\nodd: "|exit 3"\nlong: "|sleep 60"\n'
                  'cut: "|kill -9 $$"\n', command_time_limit="1s")
    send(suite, ["%s@localhost" % n for n in ("ok", "later", "never", "odd", "long", "cut")], sender=ALICE)
    status(suite, "ok@localhost", "status=sent")
    status(suite, "later@localhost", r"dsn=4\.2\.9, status=deferred \(temporary failure\. Command output: come back\)")
    status(suite, "never@localhost", r"dsn=5\.1\.1, status=bounced \(user unknown\. Command output: no such list\)")
    status(suite, "odd@localhost", r'dsn=5\.3\.0, status=bounced \(Command died with status 3: ')
    status(suite, "long@localhost", r'dsn=5\.3\.0, status=bounced \(Command time limit exceeded: ')
    status(suite, "cut@localhost", r'dsn=4\.3\.0, status=deferred \(Command died with signal 9: ')
    bounce = wait(lambda: files(suite, ALICE))[0].read_text()
    assert "never@localhost" in bounce and "no such list" in bounce and "later@localhost" not in bounce
    (left,) = queue(suite)
    assert sorted(r["address"] for r in left["recipients"]) == ["cut@localhost", "later@localhost"]


def test_interpreters_and_our_own_sendmail_work_from_a_command(place):
    suite = place('py: "|python3 -c \'import sys,socket; socket.socket().close(); open(\\"OUT/py\\",\\"w\\").write(sys.stdin.read()[-6:])\'"\n'
                  'again: "|SENDMAIL -i -f list@example.com bob@example.com"\n'.replace("SENDMAIL", "BIN/sendmail"))
    f = suite.base / "etc" / "programs"
    alias(suite, f.read_text().replace("BIN/sendmail", "%s -C %s" % (suite.bin / "sendmail", suite.conf)))
    send(suite, ["py@localhost", "again@localhost"], sender=ALICE)
    assert content(suite.out / "py") == "hello\n"
    assert b"Return-Path: <list@example.com>" in wait(lambda: files(suite, BOB))[0].read_bytes()


def test_the_owner_of_the_map_runs_its_commands(place):
    suite = place('who: "|id -un >OUT/who"\n', owner="games", auth_min_uid="1")
    send(suite, "who@localhost", sender=ALICE)
    assert content(suite.out / "who") == "games\n"


def test_a_map_that_others_can_write_runs_nothing(place):
    suite = place('who: "|id -un >OUT/who"\n')
    os.chmod(suite.base / "etc" / "programs.cdb", 0o666)
    send(suite, "who@localhost", sender=ALICE)
    status(suite, "who@localhost", "status=deferred")
    assert not (suite.out / "who").exists()


def test_by_default_nothing_is_run_or_written(place):
    suite = place('cmd: "|touch OUT/x"\nbox: OUT/box\nboth: "|touch OUT/x", alice@example.com\n', allow_mail_to_commands="", allow_mail_to_files="")
    for to in ("cmd@localhost", "box@localhost"):
        with pytest.raises(smtplib.SMTPRecipientsRefused) as why:
            send(suite, to)
        assert why.value.recipients[to] == (550, b"5.7.1 <%s>: Recipient address rejected: delivery to commands and files is not allowed by configuration" % to.encode())
    send(suite, "both@localhost", sender=BOB)
    status(suite, "both@localhost", r"dsn=5\.7\.1, status=bounced")
    assert wait(lambda: files(suite, ALICE))
    assert list(suite.out.iterdir()) == []


# --- files ---

def test_files_of_an_alias(place):
    suite = place("box: OUT/box\nmdir: OUT/mdir/\nnull: /dev/null\nshadow: /etc/shadow\n")
    send(suite, ["box@localhost", "mdir@localhost", "null@localhost", "shadow@localhost"], sender=ALICE, text="Subject: t\n\nFrom me\n")
    send(suite, "box@localhost", sender=ALICE, text="Subject: second\n\n")
    status(suite, "box@localhost", r"status=sent \(delivered to file: .*/box\)")
    status(suite, "null@localhost", r"status=sent \(delivered to file: /dev/null\)")
    status(suite, "shadow@localhost", r"dsn=4\.2\.0, status=deferred \(/etc/shadow: Permission denied\)")
    wait(lambda: "second" in (suite.out / "box").read_text())
    text = (suite.out / "box").read_text()
    assert len(re.findall(r"(?m)^From ", text)) == 2 and "\n>From me\n\nFrom " in text
    assert stat.S_IMODE((suite.out / "box").stat().st_mode) == 0o600 and (suite.out / "box").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    (mail,) = wait(lambda: (suite.out / "mdir" / "new").is_dir() and list((suite.out / "mdir" / "new").iterdir()))
    assert mail.read_bytes().startswith(b"Return-Path: <alice@example.com>\n")


# --- lists ---

def test_an_include_list_and_its_owner(place, sink):  # noqa: F811
    suite = place("list: :include:OUT/list\nowner-list: bob@example.com\nloop: :include:OUT/loop\nmissing: :include:OUT/none\nopen: :include:OUT/open\nrun: :include:OUT/run\n")
    put = lambda name, text, mode=0o644: ((suite.out / name).write_text(text), os.chmod(suite.out / name, mode))
    put("list", "# members\nalice@example.com\n  ann@elsewhere.example, bad@elsewhere.example\n")
    put("loop", "loop@localhost\n")
    put("open", "alice@example.com\n", 0o666)
    put("run", "|touch %s/ran\n" % suite.out)
    send(suite, "list@localhost", sender=ALICE)
    (mail,) = wait(lambda: files(suite, ALICE))
    text = mail.read_bytes()
    assert text.startswith(b"Return-Path: <owner-list@mail.example.com>\n")
    assert b"Delivered-To: list@localhost\n" in text
    assert suite.logged(r"to=<list@localhost>, .*status=sent \(forwarded as [0-9A-Z]+\)")
    assert wait(lambda: sink.got)[0][0] == ["ann@elsewhere.example"]
    bounce = wait(lambda: files(suite, BOB))
    assert bounce and b"bad@elsewhere.example" in bounce[0].read_bytes()
    send(suite, ["loop@localhost", "missing@localhost", "open@localhost", "run@localhost"], sender=BOB)
    status(suite, "loop@localhost", r"dsn=5\.4\.6, status=bounced \(mail forwarding loop for loop@localhost\)")
    status(suite, "missing@localhost", r"status=deferred \(.*/none cannot be opened\)")
    status(suite, "open@localhost", r"status=deferred \(.*/open is not a plain file of the user's alone\)")
    status(suite, "run@localhost", r"status=deferred \(commands are not allowed by configuration \(allow_mail_to_commands = include\)\)")
    assert not (suite.out / "ran").exists()


def test_the_owner_of_a_list_is_told(place, sink):  # noqa: F811
    suite = place("list: bad@elsewhere.example, alice@example.com\nowner-list: bob@example.com\nplain: bad2@elsewhere.example\n")
    send(suite, ["list@localhost", "plain@localhost"], sender=ALICE)
    assert b"list" in wait(lambda: files(suite, BOB))[0].read_bytes()
    got = wait(lambda: len(files(suite, ALICE)) == 2 and [f.read_bytes() for f in files(suite, ALICE)])
    assert sorted(f.split(b"\n")[0] for f in got) == [b"Return-Path: <>", b"Return-Path: <owner-list@mail.example.com>"]


# --- .forward ---

def test_a_forward_file_runs_commands_as_its_user(place):
    suite = place("x: alice@example.com\n")
    me = suite.maildir(BOB).parent.stat().st_uid
    put_forward(suite, BOB, '"|id -u >%s/id; cat >%s/got", \\bob, ~/box\n' % (suite.out, suite.out))
    send(suite, "bob@example.com", sender=ALICE)
    assert content(suite.out / "id") == "%d\n" % me
    assert "\nDelivered-To: bob@example.com\n" in content(suite.out / "got")
    assert wait(lambda: files(suite, BOB))
    assert "hello" in content(suite.maildir(BOB).parent / "box")
    assert wait(lambda: not queue(suite))


def test_forward_files_by_extension(place):
    suite = place("x: alice@example.com\n")
    f = put_forward(suite, BOB, "alice@example.com\n")
    ext = f.with_name(".forward+keep")
    ext.write_text("\\bob\n")
    os.chown(ext, f.stat().st_uid, f.stat().st_gid)
    os.chmod(ext, 0o600)
    send(suite, "bob+keep@example.com", sender=ALICE)
    assert wait(lambda: files(suite, BOB)) and not files(suite, ALICE)
    send(suite, "bob+other@example.com", sender=ALICE)
    assert wait(lambda: files(suite, ALICE)) and len(files(suite, BOB)) == 1


def test_mailbox_command(place):
    suite = place("x: alice@example.com\n", mailbox_command="cat >>%s; exit 0" % "$HOME/taken")
    send(suite, "bob@example.com", sender=ALICE)
    assert "hello" in content(suite.maildir(BOB).parent / "taken")
    assert not files(suite, BOB)


def test_mailbox_command_maps(place):
    """One user's own, before everybody's; read again at a reload, and refused where others could write it."""
    suite = place("x: alice@example.com\n", mailbox_command_maps="inline:{ { bob@example.com = cat >>$$HOME/own; exit 0 } }", mailbox_command="cat >>$HOME/taken; exit 0")
    send(suite, "bob@example.com", sender=ALICE)
    send(suite, "alice@example.com", sender=BOB)
    assert "hello" in content(suite.maildir(BOB).parent / "own") and "hello" in content(suite.maildir(ALICE).parent / "taken")
    assert not files(suite, BOB) and not files(suite, ALICE) and not (suite.maildir(BOB).parent / "taken").exists()
    table = suite.base / "etc" / "commands"
    table.write_text("bob@example.com cat >>$HOME/again; exit 0\n")
    os.chmod(table, 0o666)
    suite.conf.write_text(re.sub(r"(?m)^mailbox_command_maps = .*$", "mailbox_command_maps = texthash:%s" % table, suite.conf.read_text()))
    parent = [p[0] for p in suite.processes() if p[3] == "queued: parent"][0]
    os.kill(parent, signal.SIGHUP)
    assert suite.logged(r"error: mailbox_command_maps: \S+/commands: others than root may write it")
    os.chmod(table, 0o600)
    with open(suite.conf, "a") as f:
        f.write("minimal_backoff_time = 301\n")
    os.kill(parent, signal.SIGHUP)
    wait(lambda: "again; exit 0" in (suite.run_dir / "deliver.policy").read_text())
    send(suite, "bob@example.com", sender=ALICE)
    assert "hello" in content(suite.maildir(BOB).parent / "again")


# --- walls ---

def test_without_commands_no_program_can_be_started(make):  # noqa: F811
    suite = make()
    (pid,) = [p[0] for p in suite.processes() if p[3] == "spawn: programs"]
    state = dict(line.split(":\t") for line in open("/proc/%d/status" % pid).read().splitlines() if ":\t" in line)
    assert state["Seccomp"] == "2" and int(state["CapEff"], 16) == 0


def test_agent_runs_only_what_the_alias_says(place):
    """A queued in strange hands cannot have other commands run."""
    import test_agent
    suite = place('cmd: "|touch OUT/right"\n')
    suite.stop()
    args = [str(suite.state / "accounts.cdb"), test_agent.policy(suite, programs=True), "cmd", "alias"]
    msg = test_agent.message(suite, 64)
    for item, answer in (("touch %s/wrong" % suite.out, b"FAILED"), ("touch %s/right" % suite.out, b"DONE")):
        a = test_agent.Agent(suite, args=args)
        got = a.copy(msg, kind="command", item=item, programs=1)
        a.end()
        assert got[0].encode() == answer
    assert [f.name for f in suite.out.iterdir()] == ["right"]
    # a map made by the caller gives the caller's own right at most, which is too low for any
    mine = suite.base / "mine"
    mine.mkdir()
    mda = pwd.getpwnam("_postern_mda")
    f = mine / "evil"
    f.write_text('cmd: "|id >%s/evil"\n' % suite.out)
    subprocess.run([str(suite.bin / "postalias"), "cdb:%s" % f], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.chown(mine, mda.pw_uid, mda.pw_gid)
    os.chown(str(f) + ".cdb", mda.pw_uid, mda.pw_gid)
    policy = suite.base / "policy"
    policy.write_text("postern-deliver 1\nmin_uid=1000\nprivs=65534:65534\ncommands=alias\nrun=1\nmap=%s.cdb\n" % f)
    a = test_agent.Agent(suite, args=[args[0], str(policy), *args[2:]])
    assert a.end() in (75, 77)
    assert not (suite.out / "evil").exists()
