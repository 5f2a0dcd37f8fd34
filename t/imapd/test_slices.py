"""What the store promises about work: no change of ours lists a directory, and a long command leaves room for the user's other connections. Seen from outside, by the
session's system calls; nothing here depends on how fast the machine is."""
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import pytest

import imapmessages
from imapraw import Closed, Imap

ALICE = "alice@example.com"
COUNT = 1000
SLOW_FILES = ("-e", "inject=openat:delay_exit=300")     # us: so that it is not the machine's speed that tells how many are read in a slice


class Trace:
    """strace of alice's session process, or another user's, from start() to stop()."""

    def __init__(self, path, calls, *options, user=ALICE):
        self.path, self.calls, self.options, self.user = path, calls, options, user

    def __enter__(self):
        pid = subprocess.run(["pgrep", "-f", "^imapd: session " + self.user], stdout=subprocess.PIPE).stdout.decode().split()
        assert len(pid) == 1, pid
        self.pid = int(pid[0])
        self.p = subprocess.Popen(["strace", "-f", "-s", "80", "-o", str(self.path), "-e", "trace=" + self.calls, *self.options, "-p", pid[0]], stderr=subprocess.PIPE)
        assert b"attached" in self.p.stderr.readline()
        return self

    def __exit__(self, *unused):
        self.p.send_signal(signal.SIGINT)
        try:
            self.p.wait(20)
        except subprocess.TimeoutExpired:       # it may wait for ever for threads of a process that was killed
            self.p.kill()
            self.p.wait()

    def lines(self):
        return self.path.read_text(errors="replace").splitlines()


def fill(c, folder, count=COUNT):
    for first in range(0, count, 500):
        parts = b""
        for n in range(first, first + 500):
            m = imapmessages.numbered(n)
            parts += b" {%d+}\r\n" % len(m) + m
        c.n += 1
        c.send(b"f%d APPEND %s" % (c.n, folder.encode()) + parts + b"\r\n")
        while not c.line().startswith(b"f%d OK" % c.n):
            pass


@pytest.fixture
def filled(imap, folder):
    """A folder of many messages, selected."""
    c = imap()
    fill(c, folder)
    c.ok("SELECT " + folder)
    return c


def test_no_change_of_ours_lists_a_directory(imap, folder, filled, tmp_path):
    c = filled
    one = imapmessages.numbered(1)
    other = imap()
    c.ok("FETCH 1 (FLAGS)")
    with Trace(tmp_path / "trace", "getdents64,getdents,unlinkat,pwrite64") as t:
        c.ok("STORE 17 +FLAGS (\\Flagged)")
        c.n += 1
        c.send(b"x%d APPEND %s {%d+}\r\n%s\r\n" % (c.n, folder.encode(), len(one), one))
        while not c.line().startswith(b"x%d OK" % c.n):
            pass
        c.ok("NOOP")
        c.ok("STORE 25 +FLAGS.SILENT (\\Deleted)")
        c.ok("EXPUNGE")
        c.ok("COPY 3 " + folder)
        c.ok("NOOP")
        other.ok("SELECT " + folder)
    text = "\n".join(t.lines())
    assert "unlinkat" in text and "pwrite64" in text, "the trace saw nothing"
    assert "getdents" not in text, text


def test_a_move_is_one_sync(imap, folder, filled, suite, tmp_path):
    """The copies' journal, its reservation of UIDs and the originals' expunge, where the file system commits in order: of each piece, and there are four where
    another connection may wait."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(suite.maildir(ALICE))], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    if kind not in ("ext2/ext3", "xfs", "tmpfs"):
        pytest.skip("mail is on " + kind)
    c = filled
    c.ok("CREATE %s-to" % folder)
    with Trace(tmp_path / "trace", "fsync,fdatasync,linkat") as t:
        c.ok("MOVE 1:* %s-to" % folder)
    c.ok("DELETE %s-to" % folder)
    text = "\n".join(t.lines())
    assert text.count("linkat(") == COUNT
    assert len(re.findall(r"f(?:data)?sync\(", text)) == 4, re.sub(r".*linkat.*\n", "", text)


def journals_open():
    pid = subprocess.run(["pgrep", "-f", "^imapd: session " + ALICE], stdout=subprocess.PIPE).stdout.decode().strip()
    targets = [os.readlink(fd) for fd in pathlib.Path("/proc/%s/fd" % pid).iterdir() if fd.is_symlink()]
    return [t for t in targets if "/postern.journal" in t]


def test_messages_one_by_one_open_their_folder_once(imap, folder, filled, tmp_path):
    """APPEND after APPEND, COPY and MOVE into a folder that nobody has selected: it stays open."""
    c, one = filled, imapmessages.numbered(1)
    c.ok("CREATE %s-to" % folder)
    with Trace(tmp_path / "trace", "openat") as t:
        for _ in range(5):
            c.append(folder + "-to", one)
        c.ok("COPY 1 %s-to" % folder)
        c.ok("MOVE 2 %s-to" % folder)
        c.append(folder + "-to", one)
    opened = sum('"postern.journal"' in line for line in t.lines())
    assert opened == 1, "%d times" % opened
    assert c.ok("STATUS %s-to (MESSAGES)" % folder)[0].endswith(b"(MESSAGES 8)")
    # What is open for that reason is no hindrance to those who delete, rename and select.
    c.ok("RENAME %s-to %s-as" % (folder, folder))
    c.append(folder + "-as", one)
    other = imap()
    other.ok("SELECT %s-as" % folder)
    assert other.ok("STATUS %s-as (MESSAGES)" % folder)[0].endswith(b"(MESSAGES 9)")
    c.append(folder + "-as", one)
    assert b"* 10 EXISTS" in other.ok("NOOP")
    other.ok("UNSELECT")
    c.ok("DELETE %s-as" % folder)
    c.ok("CREATE %s-as" % folder)
    c.append(folder + "-as", one)
    assert c.ok("STATUS %s-as (MESSAGES)" % folder)[0].endswith(b"(MESSAGES 1)")
    c.ok("DELETE %s-as" % folder)


def test_few_folders_stay_open_for_messages_to_come(imap, folder):
    c, one = imap(), imapmessages.numbered(1)
    names = ["%s-%d" % (folder, n) for n in range(12)]
    before = len(journals_open())
    for name in names:
        c.ok("CREATE " + name)
        c.append(name, one)
    assert before < len(journals_open()) <= before + 4
    for name in names:
        assert c.ok("STATUS %s (MESSAGES)" % name)[0].endswith(b"(MESSAGES 1)")
        c.ok("DELETE " + name)
    assert len(journals_open()) <= before


def test_a_long_search_leaves_room_for_others(imap, filled, tmp_path):
    """All bodies are read: between two looks at its connections the session reads a few messages, and each NOOP is answered at the next look."""
    a, b = filled, imap()
    b.ok("SELECT INBOX")
    with Trace(tmp_path / "trace", "epoll_wait,epoll_pwait,openat,read,recvfrom,recvmsg,sendto,sendmsg,write,writev", *SLOW_FILES) as t:
        a.send("s1 SEARCH BODY nowhere-to-be-found\r\n")
        rounds = 0
        a.sock.setblocking(False)
        while True:
            b.ok("NOOP")
            rounds += 1
            try:
                a.data += a.sock.recv(65536)
            except BlockingIOError:
                continue
            if b"s1 OK" in a.data:
                break
        a.sock.setblocking(True)
    longest, now, looks, read = 0, 0, 0, 0
    for line in t.lines():
        if "epoll_" in line:
            longest, now, looks = max(longest, now), 0, looks + 1
        elif "openat(" in line and ",S=" in line:
            now, read = now + 1, read + 1
    assert read >= COUNT, "bodies were read: %d" % read
    assert longest <= COUNT // 8, "%d messages between two looks" % longest
    assert rounds >= 3, "%d NOOPs were answered meanwhile" % rounds


def test_a_message_is_opened_read_and_closed(filled, tmp_path):
    """Headers that nobody has asked for yet: three system calls for each message, however many there are."""
    with Trace(tmp_path / "trace", "openat,pread64,close,newfstatat,fstat,statx") as t:
        filled.ok("FETCH 1:* (UID ENVELOPE)")
    lines = t.lines()
    read = sum("openat(" in line and ",S=" in line for line in lines)
    assert read > COUNT // 2
    for call in ("openat(", "pread64(", "close("):
        assert sum(call in line for line in lines) < read + COUNT // 10, call
    assert sum("stat" in line for line in lines) < COUNT // 10


def test_dates_are_read_once(filled, folder, tmp_path):
    """The Date field is kept with the rest of a header: a second search by it opens no message."""
    filled.append(folder, b"Date: Tue, 2 Jan 1990 23:30:00 -0100\r\nSubject: x\r\n\r\nx\r\n")
    found = [b"* SEARCH %d" % (COUNT + 1)]
    assert filled.ok("SEARCH SENTSINCE 2-Jan-1990") == found
    with Trace(tmp_path / "trace", "openat") as t:
        assert filled.ok("SEARCH SENTON 2-Jan-1990") == found
        assert filled.ok("SEARCH SENTSINCE 3-Jan-1990") == [b"* SEARCH"]
    assert not [line for line in t.lines() if ",S=" in line]


def test_changes_of_thousands_leave_room_for_others(imap, folder, filled, tmp_path):
    """COPY and STORE of thousands go in pieces, between which NOOPs of another connection are answered; of a COPY in smaller ones than where nobody waits."""
    a, b = filled, imap()
    b.ok("SELECT INBOX")

    def beside(tag, command):
        a.send("%s %s\r\n" % (tag, command))
        a.sock.setblocking(False)
        while tag.encode() + b" OK" not in a.data:
            b.ok("NOOP")
            try:
                a.data += a.sock.recv(1 << 20)
            except BlockingIOError:
                continue
        a.sock.setblocking(True)
        while not a.line().startswith(tag.encode() + b" "):
            pass
    with Trace(tmp_path / "trace", "epoll_wait,epoll_pwait,linkat,pwrite64") as t:
        for k in range(4):
            beside("c%d" % k, "COPY 1:* " + folder)
            a.ok("NOOP")
        beside("st", "STORE 1:* +FLAGS.SILENT ($Piece)")
    # A piece ends with its batch in the journal; after each the session may look at its connections, and does when its time is over.
    most = now = total = looks = stored = 0
    for line in t.lines():
        looks += "epoll_" in line
        if "linkat(" in line:
            now, total, stored = now + 1, total + 1, 0
        elif '"BTCH' in line:
            most, now, stored = max(most, now), 0, stored + 1
    assert total == 15 * COUNT
    assert most <= 256, "%d messages in one piece" % most
    assert stored > 2, "%d batches since the last copy's: STORE on %d is one piece" % (stored, 16 * COUNT)
    assert looks >= 10, "%d looks at the connections" % looks
    assert len(a.ok("SEARCH KEYWORD $Piece")[0].split()) - 2 == 16 * COUNT


@pytest.mark.parametrize("call,there", [("sync_file_range", 0), ("renameat2", 1500)])
def test_messages_of_one_append_are_all_there_or_none(imap, suite, tmp_path, call, there):
    """RFC 3502: also where the session is killed while they are written out, or while their files follow into cur. Those go in pieces."""
    parts = b"".join(b" {%d+}\r\n" % len(m) + m for m in map(imapmessages.numbered, range(1500)))
    c = imap()
    c.ok("CREATE together-" + call)
    with Trace(tmp_path / "trace", "epoll_wait,epoll_pwait,renameat2,sync_file_range", "-e", "inject=%s:signal=SIGKILL:when=700" % call) as t:
        c.send(b"k1 APPEND together-" + call.encode() + parts + b"\r\n")
        with pytest.raises((Closed, ConnectionError)):
            c.finish("k1")
    assert longest(t.lines(), "renameat2(")[0] <= 256
    c = imap()
    name = b"together-" + call.encode()
    assert c.ok("STATUS together-%s (MESSAGES)" % call) == [b"* STATUS %s (MESSAGES %d)" % (name, there)]
    c.ok("SELECT together-" + call)
    if there:
        assert len([line for line in c.ok("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])") if b" FETCH " in line]) == there
    c.ok("CLOSE")

    def files(sub, end):
        return len([f for f in (suite.maildir(ALICE) / (".together-" + call) / sub).iterdir() if f.name.endswith(end)])
    deadline = time.monotonic() + 60
    while files("tmp", ",A") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (files("tmp", ",A"), files("cur", ""), files("new", "")) == (0, there, 0)
    c.ok("DELETE together-" + call)


def test_a_search_kept_up_to_date_leaves_room_for_others(imap, folder, filled, tmp_path):
    """RFC 5267: a thousand new messages whose text must be read: some for the command's answer, the others behind it, and all are told once."""
    a, b, kept = filled, imap(), imap()
    kept.ok("SELECT " + folder)
    b.ok("SELECT INBOX")
    assert len(kept.cmd("UID SEARCH RETURN (COUNT UPDATE) NOT BODY nowhere-to-be-found", tag="u1")[2]) == 1
    a.ok("COPY 1:* " + folder)
    with Trace(tmp_path / "trace", "epoll_wait,epoll_pwait,openat", *SLOW_FILES) as t:
        kept.send("n1 NOOP\r\nn2 UID STORE %d:%d +FLAGS.SILENT (\\Seen)\r\nn3 NOOP\r\n" % (COUNT + 1, COUNT + 2))
        b.ok("NOOP")
        lines = []
        while not lines or not lines[-1].startswith(b"n3 "):
            lines.append(kept.line())
    most, read = longest(t.lines(), ",S=")
    assert read >= COUNT and most <= COUNT // 8, "%d of %d messages between two looks" % (most, read)
    told = [line for line in lines if b"ESEARCH" in line]
    assert told == [b'* ESEARCH (TAG "u1") UID ADDTO (0 %d:%d)' % (COUNT + 1, 2 * COUNT)], told
    assert lines.index(told[0]) < next(n for n, line in enumerate(lines) if line.startswith(b"n2 "))


def test_a_copy_from_another_user_leaves_room_for_others(imap, folder, filled, tmp_path):
    """It is written out, and gets into cur, in pieces, and all of it is there or none."""
    bob = "bob@example.com"
    filled.ok("SETACL %s %s lr" % (folder, bob))
    a, b = imap(login=bob), imap(login=bob)
    b.ok("SELECT INBOX")
    a.ok("CREATE from-alice")
    a.ok("SELECT Other/%s/%s" % (ALICE, folder))
    with Trace(tmp_path / "trace", "epoll_wait,epoll_pwait,renameat2,sync_file_range", user=bob) as t:
        a.ok("COPY 1:* from-alice")
    most, total = longest(t.lines(), "renameat2(")
    assert total == COUNT and most <= 256, "%d of %d messages between two looks" % (most, total)
    most, total = longest(t.lines(), "sync_file_range(")
    assert total >= COUNT and most <= 256, "%d of %d syncs between two looks" % (most, total)
    assert b.ok("STATUS from-alice (MESSAGES)") == [b"* STATUS from-alice (MESSAGES %d)" % COUNT]
    a.ok("DELETE from-alice")


def test_a_copy_that_fails_in_a_later_piece_is_taken_back(imap, suite):
    """RFC 3501 6.4.7: the mailbox is as it was, and so is what is counted for the quota. A move needs no room."""
    bob = "bob@example.com"
    suite.tool("postern", "user", "quota", bob, "1G,3500")
    try:
        c = imap(login=bob)
        for name in ("from", "to"):
            c.ok("CREATE " + name)
        fill(c, "from")
        c.ok("SELECT from")
        c.ok("COPY 1:* from")
        c.ok("NOOP")
        c.append("to", imapmessages.numbered(1))
        before = c.ok("STATUS to (MESSAGES SIZE)")
        status, line, _ = c.cmd("COPY 1:* to")
        assert status == "NO" and "[OVERQUOTA]" in line, line
        assert c.ok("STATUS to (MESSAGES SIZE)") == before
        c.ok("COPY 1:1400 to")      # there is room for these again
        c.ok("MOVE 1:* to")
        assert c.ok("STATUS to (MESSAGES)") == [b"* STATUS to (MESSAGES 3401)"] and c.ok("STATUS from (MESSAGES)") == [b"* STATUS from (MESSAGES 0)"]
        c.ok("CLOSE")
        for name in ("from", "to"):
            c.ok("DELETE " + name)
    finally:
        suite.tool("postern", "user", "quota", bob, "none")


def longest(lines, what):
    """The most lines with what between two looks at the connections; and all of them."""
    most = now = total = 0
    for line in lines:
        if "epoll_" in line:
            most, now = max(most, now), 0
        elif what in line:
            now, total = now + 1, total + 1
    return max(most, now), total


def test_expunge_and_close_go_in_pieces_and_their_files_later(imap, folder, filled, tmp_path):
    a, b = filled, imap()
    b.ok("SELECT INBOX")
    for _ in range(2):
        a.ok("COPY 1:* " + folder)
        a.ok("NOOP")
    a.ok("STORE %s +FLAGS.SILENT (\\Deleted)" % ",".join(str(n) for n in range(1, 4 * COUNT, 4)))
    a.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
    a.ok("STORE 1 -FLAGS.SILENT (\\Deleted)")
    with Trace(tmp_path / "trace", "epoll_wait,epoll_pwait,unlinkat,pwrite64") as t:
        told = [line for line in a.ok("EXPUNGE") if line.endswith(b" EXPUNGE")]
        b.ok("NOOP")
    assert len(told) == 4 * COUNT - 1 and a.ok("SEARCH ALL") == [b"* SEARCH 1"]
    assert longest(t.lines(), "unlinkat(")[0] <= 120
    assert sum('"BTCH' in line for line in t.lines()) >= 2, "one piece"
    a.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    assert not any(b"EXPUNGE" in line for line in a.ok("CLOSE"))
    assert a.ok("STATUS %s (MESSAGES)" % folder) == [b"* STATUS %s (MESSAGES 0)" % folder.encode()]


def test_a_client_that_reads_fast_leaves_room_for_others(imap, filled, tmp_path):
    """What it has taken is no reason to go on before others had their turn."""
    a, b = filled, imap()
    b.ok("SELECT INBOX")
    with Trace(tmp_path / "trace", "epoll_wait,epoll_pwait,write,writev,sendto,sendmsg") as t:
        for _ in range(3):
            a.ok("FETCH 1:* (FLAGS INTERNALDATE ENVELOPE BODY.PEEK[])")
    sums = [0]
    for line in t.lines():
        wrote = re.search(r"(?:write|writev|sendto|sendmsg)\(.* = (\d+)$", line)
        if "epoll_" in line:
            sums.append(0)
        elif wrote:
            sums[-1] += int(wrote.group(1))
    # Two slices at most, of which each ends with the output's high-water mark: how many writes they take is the client's pace.
    assert sum(sums) > 6 * 131072 and max(sums) <= 2 * (131072 + 16384), "%d of %d bytes between two looks" % (max(sums), sum(sums))


@pytest.mark.parametrize("idles", [False, True])
@pytest.mark.parametrize("gone", [False, True])
def test_what_is_told_of_others_changes_leaves_room_for_others(imap, folder, filled, tmp_path, gone, idles):
    """Tens of thousands of messages that another connection has flagged, or expunged: told with an answer, or to one that idles, in pieces: here each write takes
    longer than a slice. Numbers are right at each, and each change is told once."""
    a, told = filled, imap()
    for _ in range(5):
        a.ok("COPY 1:* " + folder)
        a.ok("NOOP")
    total = 32 * COUNT
    told.ok("SELECT " + folder)
    told.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
    a.ok("NOOP")
    if gone:        # all but every hundredth
        a.ok("STORE %s -FLAGS.SILENT (\\Deleted)" % ",".join(str(n) for n in range(1, total, 100)))
        told.ok("NOOP")
    uids, left = list(range(1, total + 1)), [n for n in range(1, total + 1) if not gone or n % 100 == 1]
    if idles:
        told.send("i1 IDLE\r\n")
        assert told.line().startswith(b"+ ")
    calls = "write,writev,sendto,sendmsg"
    with Trace(tmp_path / "trace", "epoll_wait,epoll_pwait," + calls, "-e", "inject=%s:delay_exit=10000" % calls) as t:
        a.send("e1 EXPUNGE\r\n" if gone else "e1 STORE 1:* +FLAGS.SILENT (\\Flagged)\r\n")
        if not idles:
            a.finish("e1")
            told.send("n1 NOOP\r\n")
        flagged, done = [], False
        while not done:
            line = told.line()
            m = re.fullmatch(rb"\* (\d+) (EXPUNGE|FETCH \(FLAGS \(\\Flagged \\Deleted\)\))", line)
            assert m or line.startswith(b"n1 OK"), line
            if m and m[2] == b"EXPUNGE":
                del uids[int(m[1]) - 1]
            elif m:
                flagged.append(int(m[1]))
            done = line.startswith(b"n1 OK") or idles and len(uids) == len(left) and len(flagged) == (0 if gone else total)
    if idles:
        a.finish("e1")
        told.send("DONE\r\n")
        assert told.line().startswith(b"i1 OK")
    assert uids == left and flagged == ([] if gone else list(range(1, total + 1)))
    assert told.ok("UID SEARCH ALL") == [b"* SEARCH " + b" ".join(b"%d" % n for n in left)]
    if idles:
        return          # how much is told at once is the other's pace
    wrote = [re.search(r"epoll_|(?:write|writev|sendto|sendmsg)\((\d+), .* = (\d+) \(DELAYED\)$", line) for line in t.lines()]
    to = [re.search(r"\((\d+),", line)[1] for line in t.lines() if re.search(r"\* \d+ (FETCH|EXPUNGE)", line)][-1]     # the first was who expunged
    sums = [0]
    for w in wrote:
        if w and w[0] == "epoll_":
            sums.append(0)
        elif w and w[1] == to:
            sums[-1] += int(w[2])
    assert sum(sums) > 3 * 131072 and max(sums) <= 2 * (131072 + 16384), "%d of %d bytes between two looks" % (max(sums), sum(sums))


@pytest.mark.parametrize("idles", [False, True])
def test_what_is_told_of_thousands_of_new_messages_leaves_room_for_others(imap, folder, filled, tmp_path, idles):
    """NOTIFY with FETCH items (RFC 5465 5.2): they are told in pieces, and nothing else in the midst of one; the client's commands and further news have their turn."""
    a, b, told = filled, imap(), imap()
    b.ok("SELECT INBOX")
    told.ok("SELECT " + folder)
    told.ok("NOTIFY SET (selected (MessageNew (UID BODY.PEEK[]) MessageExpunge))")
    if idles:
        told.send("i1 IDLE\r\n")
        assert told.line().startswith(b"+ ")
    uids, exists, done = [], 0, False
    with Trace(tmp_path / "trace", "epoll_wait,epoll_pwait,openat") as t:
        a.ok("COPY 1:* " + folder)
        told.send("DONE\r\n" if idles else "n1 NOOP\r\n")
        a.append(folder, imapmessages.numbered(7))
        b.ok("NOOP")
        while not done or len(uids) <= COUNT:
            line = told.line()
            m = re.match(rb"\* (\d+) FETCH \(UID (\d+) BODY\[\] \{(\d+)\}\r\n", line)
            if m:
                assert line.endswith(b")") and len(line) == m.end() + int(m[3]) + 1 and int(m[1]) <= exists, line[:200]
                uids.append(int(m[2]))
            elif line.endswith(b" EXISTS"):
                exists = int(line.split()[1])
            elif re.match(b"[in]1 OK", line):
                done = True
            else:
                assert line.endswith(b" RECENT"), line[:200]
    assert uids == list(range(COUNT + 1, 2 * COUNT + 2)) and exists == 2 * COUNT + 1
    assert not [line for line in told.ok("NOOP") if not line.endswith(b" RECENT")]
    most, total = longest([line for line in t.lines() if "epoll_" in line or ",S=" in line], "openat(")
    assert total >= COUNT and most <= COUNT // 4, "%d of %d messages between two looks" % (most, total)


def grow(c, folder, times):
    for _ in range(times):
        c.ok("COPY 1:* " + folder)
        c.ok("NOOP")


def all_at_once(folder):
    m = imapmessages.numbered(1)
    return b"APPEND %s" % folder.encode() + b" {%d+}\r\n%s" % (len(m), m) * 2 * COUNT


class Going:
    """Continues the process for as long as this lasts: each of its threads may be stopped once."""

    def __init__(self, pid):
        self.pid, self.over = pid, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.over.wait(0.02):
            os.kill(self.pid, signal.SIGCONT)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *unused):
        self.over.set()
        self.thread.join()


LONG = {        # the command, messages in the folder, what is done before, what the command does with each message or piece of many, the call in which it is stopped
    "COPY": ("COPY 1:* {0}", 1000, None, "linkat(", "linkat:when=100"),
    "MOVE": ("MOVE 1:* {0}-to", 1000, lambda c, folder: c.ok("CREATE %s-to" % folder), "linkat(", "linkat:when=100"),
    "RENAME": ("RENAME INBOX {0}-to", 1000, lambda c, folder: (c.ok("COPY 1:* INBOX")), "linkat(", "linkat:when=100"),
    "STORE": ("STORE 1:* +FLAGS ($Long)", 500, lambda c, folder: grow(c, folder, 6), '"BTCH', "pwrite64:when=1+"),
    "EXPUNGE": ("EXPUNGE", 500, lambda c, folder: (grow(c, folder, 4), c.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")), '"BTCH', "pwrite64:when=1+"),
    "APPEND": (all_at_once, 0, None, "renameat2(", "renameat2:when=100"),
    "FETCH": ("FETCH 1:* BODY.PEEK[]", 500, None, ",S=", "openat:when=20"),
    "SEARCH": ("SEARCH BODY nowhere-to-be-found", 500, None, ",S=", "openat:when=20"),
    "SORT": ("SORT (SUBJECT) UTF-8 ALL", 500, None, ",S=", "openat:when=20"),
    "THREAD": ("THREAD REFERENCES UTF-8 ALL", 500, None, ",S=", "openat:when=20"),
    "DELETE": ("DELETE {0}", 500, None, "unlinkat(", "unlinkat:when=100"),
    "LIST": ('LIST "" {0}/* RETURN (STATUS (MESSAGES UNSEEN))', 0, lambda c, folder: [c.ok("CREATE %s/%d" % (folder, n)) for n in range(60)],
             '"postern.journal"', "openat:when=50"),
}


@pytest.mark.parametrize("name", LONG)
def test_who_idles_hears_of_news_between_two_pieces(imap, folder, suite, tmp_path, name):
    """The session is stopped in the midst of a long command of one connection; a file comes into the folder in which another one idles. When it goes on that one is
    told before the command is done."""
    command, count, before, work, stop = LONG[name]
    a, b = imap(), imap()
    fill(a, folder, count)
    a.ok("SELECT " + folder)
    b.ok("CREATE %s-beside" % folder)
    b.ok("SELECT %s-beside" % folder)
    b.send("i1 IDLE\r\n")
    assert b.line().startswith(b"+ ")
    if before:
        before(a, folder)
    new = suite.maildir(ALICE) / (".%s-beside" % folder) / "new"
    calls = "%s,write,writev,sendto,sendmsg" % stop.split(":")[0]
    with Trace(tmp_path / "trace", calls, "-e", "inject=%s:signal=STOP:%s" % tuple(stop.split(":"))) as t:
        a.send(b"l1 " + (command(folder) if callable(command) else command.format(folder).encode()) + b"\r\n")
        end, stops = time.monotonic() + 60, 0
        while True:
            text = t.path.read_text(errors="replace")
            if work in text and "stopped by SIGSTOP" in text[text.index(work):]:
                break
            if text.count("stopped by SIGSTOP") > stops:        # in other work: of tidying up
                stops += 1
                os.kill(t.pid, signal.SIGCONT)
            assert time.monotonic() < end, "it was not stopped"
            time.sleep(0.01)
        (new / "1.M1P1.elsewhere").write_text("Subject: news\n\nx\n")
        os.chown(new / "1.M1P1.elsewhere", new.stat().st_uid, new.stat().st_gid)
        with Going(t.pid):
            while not a.line().startswith(b"l1 OK"):
                pass
            while not b.line().endswith(b" EXISTS"):
                pass
            while name == "DELETE" and list(suite.maildir(ALICE).glob("..postern.gone.*")):
                assert time.monotonic() < end
                time.sleep(0.05)
    os.kill(t.pid, signal.SIGCONT)      # once more: it may have been stopped while the trace ended
    lines = t.lines()
    told = [n for n, line in enumerate(lines) if "EXISTS" in line]
    pieces = [n for n, line in enumerate(lines) if work in line]
    b.send("DONE\r\n")
    for more in ("-beside", "-to") + (tuple("/%d" % n for n in range(60)) if name == "LIST" else ()):
        a.cmd("DELETE %s%s" % (folder, more))
    if name == "DELETE":
        a.ok("CREATE " + folder)
    assert told and pieces[0] < told[0] < pieces[-1], "%d of %d pieces before the news, at %r" % (sum(n < told[0] for n in pieces), len(pieces), told)


def test_delete_answers_first(imap, folder, filled, suite, tmp_path):
    """The folder has gone at once; its files follow in pieces."""
    a, b = filled, imap()
    a.ok("UNSELECT")
    b.ok("SELECT INBOX")
    with Trace(tmp_path / "trace", "epoll_wait,epoll_pwait,unlinkat,openat") as t:
        a.ok("DELETE " + folder)
        assert a.ok('LIST "" ' + folder) == []
        end = time.monotonic() + 30
        while list(suite.maildir(ALICE).glob("..postern.gone.*")):
            assert time.monotonic() < end
            b.ok("NOOP")
    most, total = longest(t.lines(), "unlinkat(")
    assert total >= COUNT and most <= 120, "%d of %d files between two looks" % (most, total)
    # Each piece goes on where the last one ended: to look again for the first file left would take longer with each.
    assert sum('"cur"' in line for line in t.lines()) <= 5
    a.ok("CREATE " + folder)


@pytest.mark.parametrize("command", ["RENAME {0} {0}-as", "DELETE {0}"])
def test_a_folder_with_files_to_be_removed_is_renamed_at_once(imap, folder, filled, suite, tmp_path, command):
    """What EXPUNGE has left for later is left by RENAME and DELETE, too, and then goes on in pieces."""
    a, b = filled, imap()
    b.ok("SELECT INBOX")
    cur = suite.maildir(ALICE) / (".%s-as" % folder) / "cur"
    a.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
    with Trace(tmp_path / "trace", "epoll_wait,epoll_pwait,unlinkat") as t:
        a.send("e1 EXPUNGE\r\ne2 UNSELECT\r\ne3 %s\r\n" % command.format(folder))
        while not a.line().startswith(b"e3 OK"):
            pass
        end = time.monotonic() + 60
        while any(cur.iterdir()) if cur.exists() else list(suite.maildir(ALICE).glob("..postern.gone.*")):
            assert time.monotonic() < end
            b.ok("NOOP")
    most, total = longest(t.lines(), "unlinkat(")
    a.cmd("DELETE %s-as" % folder)
    a.ok("CREATE " + folder)
    assert total >= COUNT and most <= 120, "%d of %d files between two looks" % (most, total)


def test_pieces_of_tidying_up_are_smaller_on_a_slow_disk(imap, folder, filled, suite, tmp_path):
    """Each file takes 3 ms to remove: so many that a piece takes a slice, and no fewer than eight."""
    a, b = filled, imap()
    b.ok("SELECT INBOX")
    a.ok("STORE 1:300 +FLAGS.SILENT (\\Deleted)")
    cur = suite.maildir(ALICE) / ("." + folder) / "cur"
    end = time.monotonic() + 60
    while list(suite.maildir(ALICE).glob("..postern.gone.*")):     # of the test before: its pieces would be counted with these
        assert time.monotonic() < end
        time.sleep(0.05)
    with Trace(tmp_path / "trace", "epoll_wait,epoll_pwait,unlinkat", "-e", "inject=unlinkat:delay_exit=3000") as t:
        a.ok("EXPUNGE")
        while len(list(cur.iterdir())) > COUNT - 300:
            assert time.monotonic() < end
            b.ok("NOOP")
    pieces, now = [], 0
    for line in t.lines():
        now += "unlinkat(" in line
        if "epoll_" in line and now:
            pieces, now = pieces + [now], 0
    assert sum(pieces) >= 250 and pieces[-2] <= 8 and max(pieces[5:]) <= 8, pieces


def test_what_a_crash_left_of_a_deleted_folder_goes_at_the_next_login(imap, suite):
    bob, root = "bob@example.com", suite.maildir("bob@example.com")
    imap(login=bob).ok("NOOP")
    pid = subprocess.run(["pgrep", "-f", "^imapd: session " + bob], stdout=subprocess.PIPE).stdout.decode().split()
    assert len(pid) == 1, pid
    os.kill(int(pid[0]), signal.SIGKILL)
    gone, owner = root / "..postern.gone.00000000000000aa", root.stat()
    (gone / "cur").mkdir(parents=True)
    for n in range(200):
        (gone / "cur" / ("%d.M1P1.h:2,S" % n)).write_text("x\n")
    for path in [gone, *gone.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)
    end = time.monotonic() + 30
    c = imap(login=bob)
    while gone.exists():
        assert time.monotonic() < end
        c.ok("NOOP")
