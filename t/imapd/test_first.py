"""A folder that has no journal yet (mail that another program left there) is looked at as a whole when it is opened first: in slices, whatever command needs it. Told by the
order of events and by the session's system calls, not by a clock."""
import os
import re
import time

import pytest

import imapmessages
from imapraw import Imap
from test_slices import Going, Trace

ALICE = "alice@example.com"
MANY, SOME = 50000, 25000


@pytest.fixture(scope="module")
def server(fresh_suite_module):
    s = fresh_suite_module("imap-first", settings={"imap_progress_interval": "0"})
    client(s).close()   # the mail tree is there
    return s


def client(server):
    return Imap(server, login=ALICE)


def leave_mail(server, name, count):
    """Another program makes a folder: as many files, which the session has never seen."""
    root = server.maildir(ALICE)
    owner, folder = root.stat(), root / ("." + name)
    for path in (folder, folder / "cur", folder / "new", folder / "tmp"):
        path.mkdir(mode=0o700)
        os.chown(path, owner.st_uid, owner.st_gid)
    cur = os.open(folder / "cur", os.O_RDONLY | os.O_DIRECTORY)
    for n in range(count):
        fd = os.open("%d.M%06dP1.a-host-with-a-long-name.example.com,S=1000,W=1020:2,%s" % (1600000000 + n, n, "S" if n % 2 else ""), os.O_WRONLY | os.O_CREAT, 0o600,
                     dir_fd=cur)
        os.fchown(fd, owner.st_uid, owner.st_gid)
        os.close(fd)
    os.close(cur)


def drain(c, tag):
    """What is there of the answer, without waiting. True: all of it."""
    c.sock.setblocking(False)
    try:
        c.data += c.sock.recv(1 << 20)
    except BlockingIOError:
        pass
    c.sock.setblocking(True)
    return re.search(rb"^%s (OK|NO|BAD)" % tag.encode(), c.data, re.M) is not None


def test_idle_and_noop_are_served_while_a_large_folder_is_opened_first(server, tmp_path):
    leave_mail(server, "large", MANY)
    a, b, c, d = (client(server) for _ in range(4))
    for other in (b, c):
        other.ok("SELECT INBOX")
    c.send("i1 IDLE\r\n")
    assert c.line().startswith(b"+ ")
    rounds = 0
    with Trace(tmp_path / "trace", "getdents64,epoll_wait,epoll_pwait,write,writev,sendto,sendmsg") as t:
        a.send("s1 SELECT large\r\n")
        d.send("d1 EXAMINE large\r\n")
        while not drain(a, "s1"):
            b.ok("NOOP")
            rounds += 1
            if rounds == 1:
                b.append("INBOX", imapmessages.numbered(1))
        assert c.line().endswith(b" EXISTS")
    lines = t.lines()
    listed = next(n for n, line in enumerate(lines) if "getdents64(" in line)
    told = next(n for n, line in enumerate(lines) if " EXISTS" in line)
    selected = next(n for n, line in enumerate(lines) if '"* FLAGS (' in line)
    assert listed < told < selected, lines[told] + lines[selected]
    looks = sum("epoll_" in line for line in lines[listed:selected])
    assert looks >= 3 and rounds >= 2, "%d looks at the connections, %d NOOPs were answered meanwhile" % (looks, rounds)
    status, _, said = a.finish("s1")
    assert status == "OK" and b"* %d EXISTS" % MANY in said
    progress = [int(m.group(1)) for line in said for m in [re.match(rb'\* OK \[INPROGRESS \("s1" (\d+) %d\)\]' % MANY, line)] if m]
    assert progress and progress == sorted(progress)
    status, _, examined = d.finish("d1")
    assert status == "OK" and b"* %d EXISTS" % MANY in examined

    def of(lines, code):
        return [line for line in lines if b"[%s " % code in line]
    for code in (b"UIDVALIDITY", b"UIDNEXT", b"MAILBOXID"):
        assert of(said, code) == of(examined, code) != []
    assert a.ok("UID SEARCH UID 1,%d" % MANY)[-1] == b"* SEARCH 1 %d" % MANY
    c.send("DONE\r\n")
    assert c.finish("i1")[0] == "OK"


COMMANDS = {
    "SELECT": ("SELECT %s", b"* %d EXISTS" % SOME),
    "STATUS": ("STATUS %s (MESSAGES UNSEEN)", b"* STATUS %%s (MESSAGES %d UNSEEN %d)" % (SOME, SOME // 2)),
    "LIST": ('LIST "" (%s) RETURN (STATUS (MESSAGES))', b"* STATUS %%s (MESSAGES %d)" % SOME),
    "COPY": ("COPY 1 %s", None),
    "ESEARCH": ("ESEARCH IN (mailboxes %s) RETURN (COUNT) UNSEEN", b"COUNT %d" % (SOME // 2)),
    "APPEND": ("APPEND %s {5+}\r\nabc\r\n", None),
    "APPEND-that-waits": ("APPEND %s {5}\r\nabc\r\n", b"+ OK"),
    "APPEND-of-two": ("APPEND %s {5+}\r\nabc\r\n (\\Seen) {5+}\r\nabc\r\n", None),
    "APPEND-of-parts": ('APPEND %s CATENATE (URL "/INBOX/;UID=UIDOFONE")', None),
    "GETMETADATA": ("GETMETADATA %s /private/comment", b"* METADATA %s (/private/comment NIL)"),
    "SETMETADATA": ('SETMETADATA %s (/private/comment "x")', None),
    "NOTIFY": ("NOTIFY SET STATUS (mailboxes %s (MessageNew MessageExpunge))", b"* STATUS %%s (MESSAGES %d " % SOME),
}
ADDED = {"COPY": 1, "APPEND": 1, "APPEND-that-waits": 1, "APPEND-of-two": 2, "APPEND-of-parts": 1}


@pytest.mark.parametrize("verb", COMMANDS)
def test_whatever_command_needs_it_first(server, verb, tmp_path):
    """Between two looks at the connections a part of the directory is listed, or some of its files are numbered, not all."""
    name = "first-" + verb.lower()
    a, b = client(server), client(server)
    b.append("INBOX", imapmessages.numbered(1))
    a.ok("SELECT INBOX")
    leave_mail(server, name, SOME)
    command, want = COMMANDS[verb]
    command = command.replace("UIDOFONE", a.ok("UID SEARCH 1")[-1].split()[-1].decode())
    with Trace(tmp_path / "trace", "getdents64,epoll_wait,epoll_pwait,pwrite64") as t:
        said = a.ok(command % name)
        b.ok("NOOP")
    if want:
        assert any((want % name.encode() if b"%s" in want else want) in line for line in said), said
    lines = t.lines()
    first = next(n for n, line in enumerate(lines) if "getdents64(" in line)
    last = max(n for n, line in enumerate(lines) if "PSTNJRN1" in line)
    assert sum("epoll_" in line for line in lines[first:last]) >= 2, "in one piece"
    assert b.ok("STATUS %s (MESSAGES)" % name) == [b"* STATUS %s (MESSAGES %d)" % (name.encode(), SOME + ADDED.get(verb, 0))]


def test_who_leaves_meanwhile_and_who_deletes_the_folder(server):
    leave_mail(server, "left", SOME)
    a, b = client(server), client(server)
    a.send("s1 SELECT left\r\n")
    b.ok("NOOP")
    a.sock.close()
    assert b.ok("STATUS left (MESSAGES)")[-1] == b"* STATUS left (MESSAGES %d)" % SOME
    leave_mail(server, "away", SOME)
    a = client(server)
    a.send("s1 SELECT away\r\n")
    b.ok("NOOP")
    b.ok("DELETE away")
    assert a.finish("s1")[0] in ("OK", "NO")     # it may have been open by then
    assert b.ok('LIST "" away') == []
    assert b.cmd("SELECT away")[0] == "NO"
    b.ok("SELECT left")


def test_another_programs_change_is_looked_through_in_slices(server, tmp_path):
    """The session is stopped while it lists the changed folder; a file comes into INBOX. Who idles there is told before the look is over, and who idles in the large folder
    then."""
    leave_mail(server, "changed", MANY)
    a, b = client(server), client(server)
    for c, name in ((a, "changed"), (b, "INBOX")):
        c.ok("SELECT " + name)
        c.send("i1 IDLE\r\n")
        assert c.line().startswith(b"+ ")
    root = server.maildir(ALICE)
    one = next(path for path in (root / ".changed" / "cur").iterdir() if path.name.startswith("1600000000."))
    with Trace(tmp_path / "trace", "getdents64,write,writev,sendto,sendmsg", "-e", "inject=getdents64:signal=STOP:when=3") as t:
        os.rename(one, str(one) + "FS")
        end = time.monotonic() + 60
        while "stopped by SIGSTOP" not in t.path.read_text(errors="replace"):
            assert time.monotonic() < end, "it was not stopped"
            time.sleep(0.01)
        new = root / "new" / "1.M1P1.elsewhere"
        new.write_text("Subject: news\n\nx\n")
        os.chown(new, root.stat().st_uid, root.stat().st_gid)
        with Going(t.pid):
            while not b.line().endswith(b" EXISTS"):
                pass
            while not re.match(rb"\* 1 FETCH \(.*\\Flagged.*\\Seen|\* 1 FETCH \(.*\\Seen.*\\Flagged", a.line()):
                pass
    lines = t.lines()
    listed = next(n for n, line in enumerate(lines) if "getdents64(" in line)
    told = next(n for n, line in enumerate(lines) if " EXISTS" in line)
    seen = next(n for n, line in enumerate(lines) if '"* 1 FETCH' in line)
    assert listed < told < seen
    for c in (a, b):
        c.send("DONE\r\n")
        assert c.finish("i1")[0] == "OK"
