"""STORE, EXPUNGE, COPY, MOVE, APPEND, and what other connections see of it (RFC 3501 6.3.11, 6.4, 7.4; RFC 4315, 6851, 2177)."""
import re
import socket
import time

import pytest

from imapmessages import MULTI, SIMPLE, numbered
from imapraw import Imap

ALICE = "alice@example.com"


def fill(c, folder, n):
    for i in range(1, n + 1):
        c.append(folder, numbered(i))
    c.ok("SELECT " + folder)


def subjects(c):
    return [int(m) for l in c.ok("FETCH 1:* BODY.PEEK[HEADER.FIELDS (Subject)]") for m in re.findall(rb"message (\d+)", l)]


# --- STORE ---

def test_store(imap, folder):
    c = imap()
    fill(c, folder, 3)
    told, permanent, *got = c.ok("STORE 1:2 FLAGS (\\Seen Work)")
    # a keyword is made known before an answer names it (RFC 3501 7.2.6), to others, too; once
    assert told.startswith(b"* FLAGS (") and told.endswith(b" Work)") and b"[PERMANENTFLAGS (" in permanent and b" Work \\*)]" in permanent
    other = imap()
    other.ok("SELECT " + folder)
    c.ok("STORE 3 FLAGS.SILENT (Later)")
    assert [l.split(b" (")[0] for l in c.ok("FETCH 3 FLAGS")] == [b"* FLAGS", b"* OK [PERMANENTFLAGS", b"* 3 FETCH"]
    assert [l.split(b" (")[0] for l in other.ok("NOOP")] == [b"* FLAGS", b"* OK [PERMANENTFLAGS", b"* 3 FETCH"]
    c.ok("STORE 3 FLAGS.SILENT ()")
    assert [g.split(b" FETCH")[0] for g in got] == [b"* 1", b"* 2"] and all(b"\\Seen" in g and b"Work" in g for g in got)
    assert b"\\Seen" not in c.ok("STORE 2 -FLAGS (\\Seen)")[0]
    assert c.ok("STORE 1:3 +FLAGS.SILENT \\Flagged \\Draft") == []
    flags = [re.search(rb"FLAGS \(([^)]*)\)", l).group(1).replace(b"\\Recent", b"").split() for l in c.ok("FETCH 1:3 FLAGS")]
    assert [set(f) for f in flags] == [{b"\\Seen", b"\\Flagged", b"\\Draft", b"Work"}, {b"\\Flagged", b"\\Draft", b"Work"}, {b"\\Flagged", b"\\Draft"}]
    got = c.ok("UID STORE 3 FLAGS ($Forwarded)")
    assert b"$Forwarded" in got[0] and b"UID 3" in got[0] and b"\\Flagged" not in got[0]
    assert [l for l in c.ok("UID STORE 99 +FLAGS (\\Seen)")] == []
    for bad in ("STORE 4 FLAGS (\\Seen)", "STORE 1 FLAGS (\\Recent)", "STORE 1 FLAGS (\\Nonsense)", "STORE 1 FOO (\\Seen)", "STORE 1 FLAGS (", "STORE 1 FLAGS",
                "STORE 1 FLAGS (%s)" % ("k" * 10240), "STORE 1 FLAGS (%s)" % " ".join("k%d" % i for i in range(2000)), "STORE x FLAGS ()"):
        c.bad(bad)


def test_flags_survive_a_new_session(imap, folder):
    c = imap()
    fill(c, folder, 2)
    c.ok("STORE 2 FLAGS (\\Answered $Label1)")
    c.ok("SELECT INBOX")
    c.ok("SELECT " + folder)
    got = c.ok("FETCH 2 FLAGS")[0]
    assert b"\\Answered" in got and b"$Label1" in got
    assert b"$Label1" in b"".join(c.ok("SELECT " + folder))


# --- EXPUNGE ---

def test_expunge(imap, folder):
    c = imap()
    fill(c, folder, 5)
    c.ok("STORE 2,4 +FLAGS.SILENT (\\Deleted)")
    got = [l for l in c.ok("EXPUNGE") if b"EXPUNGE" in l]
    # each by the number that it has then
    left = [1, 2, 3, 4, 5]
    for l in got:
        left.pop(int(l.split()[1]) - 1)
    assert left == [1, 3, 5] == subjects(c)
    assert c.ok("EXPUNGE") == []


def test_uid_expunge(imap, folder):
    c = imap()
    fill(c, folder, 4)
    c.ok("STORE 1:3 +FLAGS.SILENT (\\Deleted)")
    assert [l for l in c.ok("UID EXPUNGE 2,4") if b"EXPUNGE" in l] == [b"* 2 EXPUNGE"]
    assert subjects(c) == [1, 3, 4]
    c.bad("UID EXPUNGE")


# --- COPY, MOVE ---

def test_copy(imap, folder):
    c = imap()
    fill(c, folder, 3)
    c.ok("CREATE %s/to" % folder)
    c.ok("STORE 2 FLAGS (\\Flagged Work)")
    status, line, _ = c.cmd("COPY 2:3 %s/to" % folder)
    assert status == "OK" and re.search(r"\[COPYUID \d+ 2:3 1:2\]", line), line
    assert subjects(c) == [1, 2, 3]
    c.no("COPY 1 %s/none" % folder, "TRYCREATE")
    c.bad("COPY 4 %s/to" % folder)
    assert c.cmd("UID COPY 99 %s/to" % folder)[0] == "OK"
    c.ok("SELECT %s/to" % folder)
    assert subjects(c) == [2, 3]
    got = c.ok("FETCH 1 FLAGS")[0]
    assert b"\\Flagged" in got and b"Work" in got
    c.ok("DELETE %s/to" % folder)


def test_move(imap, folder):
    c = imap()
    fill(c, folder, 4)
    c.ok("CREATE %s/to" % folder)
    status, line, got = c.cmd("MOVE 2,4 %s/to" % folder)
    assert status == "OK" and re.match(rb"\* OK \[COPYUID \d+ 2,4 1:2\]", got[0]), got
    assert sorted(l for l in got if b"EXPUNGE" in l) == [b"* 2 EXPUNGE", b"* 4 EXPUNGE"] or sorted(got[1:]) == [b"* 2 EXPUNGE", b"* 3 EXPUNGE"]
    assert subjects(c) == [1, 3]
    status, line, got = c.cmd("UID MOVE 3 %s/to" % folder)
    assert status == "OK" and b"* 2 EXPUNGE" in got
    c.ok("SELECT %s/to" % folder)
    assert subjects(c) == [2, 4, 3]
    c.ok("DELETE %s/to" % folder)


# --- APPEND ---

def test_append_literal_forms(imap, folder):
    c = imap()
    c.send("a APPEND %s {%d}\r\n" % (folder, len(SIMPLE)))
    assert c.line().startswith(b"+ ")
    c.send(SIMPLE + b"\r\n")
    status, line, _ = c.finish("a")
    assert status == "OK" and re.search(r"\[APPENDUID \d+ 1\]", line)
    # the mailbox name as a literal, the message byte by byte
    c.send("b APPEND {%d+}\r\n%s (\\Seen) {%d+}\r\n" % (len(folder), folder, len(MULTI)))
    for i in range(0, len(MULTI), 7):
        c.send(MULTI[i:i + 7])
    c.send("\r\n")
    assert c.finish("b")[0] == "OK"
    c.ok("SELECT " + folder)
    assert c.fetch1("2 BODY.PEEK[]", "BODY[]") == MULTI
    assert b"\\Seen" in c.ok("FETCH 2 FLAGS")[0]


def test_append_is_pipelined(imap, folder):
    c = imap()
    c.send(b"a APPEND %s {%d+}\r\n%s\r\nb STATUS %s (MESSAGES)\r\nc NOOP\r\n" % (folder.encode(), len(SIMPLE), SIMPLE, folder.encode()))
    assert c.finish("a")[0] == "OK"
    assert c.finish("b")[2] == [b"* STATUS %s (MESSAGES 1)" % folder.encode()]
    assert c.finish("c")[0] == "OK"


@pytest.mark.parametrize("args", ["(\\Recent) ", "(\\Nonsense) ", '"32-Jan-2020 00:00:00 +0000" ', '"rubbish" ', "() () ", "(%s) " % ("k" * 300),
                                  "(%s) " % " ".join("k%d" % i for i in range(1001)), "(k\u00e9) ", "nonsense ", "~~"])
def test_append_bad_arguments(imap, folder, args):
    # security case 110
    c = imap()
    c.send("a APPEND %s %s{%d}\r\n" % (folder, args, len(SIMPLE)))
    assert c.line().startswith(b"a BAD")
    c.send(("b APPEND %s %s{%d+}\r\n" % (folder, args, len(SIMPLE))).encode() + SIMPLE + b"\r\n")
    assert c.finish("b")[0] == "BAD"
    assert c.ok("STATUS %s (MESSAGES)" % folder) == [b"* STATUS %s (MESSAGES 0)" % folder.encode()]


def test_append_limits(imap, folder):
    c = imap()
    c.send("a APPEND %s {2147483648}\r\n" % folder)
    assert c.line().startswith(b"a NO [TOOBIG]")
    c.send("a APPEND nothing {10}\r\n")
    assert c.line().startswith(b"a NO [TRYCREATE]")
    c.send("a APPEND nothing {10+}\r\n0123456789\r\n")
    assert c.line().startswith(b"a NO [TRYCREATE]")
    c.send("a APPEND %s {0}\r\n" % folder)
    assert c.line().startswith(b"a NO")
    c.send("a APPEND %s {21000000+}\r\n" % folder)
    for i in range(21):
        c.send(b"x" * 1000000)
    c.send("\r\n")
    assert c.line().startswith(b"a NO [TOOBIG]")
    c.bad("APPEND " + folder)
    c.bad("APPEND")
    c.bad('APPEND %s "quoted"' % folder)
    assert c.ok("STATUS %s (MESSAGES)" % folder) == [b"* STATUS %s (MESSAGES 0)" % folder.encode()]


def test_append_broken_off(imap, folder, suite):
    # security case 111
    c = Imap(suite, login=ALICE)
    c.send("a APPEND %s {100000}\r\n" % folder)
    c.line()
    c.send(b"x" * 5000)
    c.close()
    time.sleep(0.2)
    assert imap().ok("STATUS %s (MESSAGES)" % folder) == [b"* STATUS %s (MESSAGES 0)" % folder.encode()]


def test_multiappend_is_all_or_nothing(imap, folder):
    c = imap()
    c.send(b"a APPEND %s {5+}\r\na: b\n (\\Seen) {5+}\r\nc: d\n\r\n" % folder.encode())
    status, line, _ = c.finish("a")
    assert status == "OK" and re.search(r"APPENDUID \d+ 1:2", line), line
    c.send(b"a APPEND %s {5+}\r\na: b\n (\\Nonsense) {5+}\r\nc: d\n\r\n" % folder.encode())
    assert c.finish("a")[0] == "BAD"
    assert c.ok("STATUS %s (MESSAGES)" % folder) == [b"* STATUS %s (MESSAGES 2)" % folder.encode()]


# --- other connections ---

def test_expunge_waits_for_the_right_moment(imap, folder):
    # security case 114
    a, b = imap(), imap()
    fill(a, folder, 5)
    b.ok("SELECT " + folder)
    a.ok("STORE 2 +FLAGS (\\Deleted)")
    a.ok("EXPUNGE")
    # no EXPUNGE while numbers are in use; the others keep theirs
    for cmd in ("FETCH 3 BODY.PEEK[HEADER.FIELDS (Subject)]", "SEARCH ALL", "STORE 3 +FLAGS (\\Seen)"):
        status, _, got = b.cmd(cmd)
        assert not [l for l in got if b"EXPUNGE" in l], cmd
        assert status == "OK"
    assert b"message 3" in b.ok("FETCH 3 BODY.PEEK[HEADER.FIELDS (Subject)]")[0]
    assert b"* 2 EXPUNGE" in b.ok("NOOP")
    assert subjects(b) == [1, 3, 4, 5]


def test_changes_reach_other_connections(imap, folder):
    a, b = imap(), imap()
    fill(a, folder, 2)
    b.ok("SELECT " + folder)
    a.ok("STORE 1 FLAGS (\\Answered)")
    a.append(folder, SIMPLE)
    got = b.ok("NOOP")
    assert any(b"* 1 FETCH" in l and b"\\Answered" in l for l in got) and b"* 3 EXISTS" in got, got
    assert [l for l in b.ok("NOOP")] == []
    # UID EXPUNGE and MOVE of what is gone touch nothing else (case 113)
    a.ok("STORE 1 +FLAGS (\\Deleted)")
    a.ok("EXPUNGE")
    b.ok("UID EXPUNGE 1")
    b.ok("UID STORE 1 +FLAGS (\\Seen)")
    assert len(subjects(b)) + 1 == 2


def read_until(c, want, seconds=30):
    c.sock.settimeout(seconds)
    lines = []
    while not lines or want not in lines[-1]:
        lines.append(c.line())
    return lines


def test_idle(imap, folder):
    a, b = imap(), imap()
    fill(a, folder, 2)
    b.ok("SELECT " + folder)
    b.send("i IDLE\r\n")
    assert b.line() == b"+ idling"
    a.append(folder, SIMPLE)
    assert read_until(b, b"EXISTS")[-1] == b"* 3 EXISTS"
    a.ok("STORE 1 FLAGS (\\Flagged)")
    assert b"\\Flagged" in read_until(b, b"FETCH")[-1]
    a.ok("STORE 2 +FLAGS (\\Deleted)")
    a.ok("EXPUNGE")
    assert read_until(b, b"EXPUNGE")[-1] == b"* 2 EXPUNGE"
    # iOS: DONE and the next commands in one packet
    b.send("DONE\r\nx NOOP\r\ny STATUS %s (MESSAGES)\r\n" % folder)
    assert b.finish("i")[0] == "OK"
    assert b.finish("x")[0] == "OK"
    assert b.finish("y")[0] == "OK"


def test_idle_is_ended_by_nothing_but_done(imap, folder):
    # security case 99
    c = imap()
    c.ok("SELECT " + folder)
    c.bad("DONE")
    c.send("i IDLE\r\n")
    c.line()
    c.send("x NOOP\r\n")
    assert c.finish("i")[0] == "BAD"
    c.ok("NOOP")
    c.send("i IDLE\r\n")
    c.line()
    c.send("a APPEND INBOX {3+}\r\nabc\r\n")
    assert c.finish("i")[0] == "BAD"
    c.ok("NOOP")
    c.send("i IDLE\r\nDONE\r\nj IDLE\r\ndone\r\nk NOOP\r\n")
    for t in "ijk":
        assert c.finish(t)[0] == "OK"


def test_idle_hears_of_foreign_files(imap, folder, suite):
    import os
    c = imap()
    c.append(folder, SIMPLE)
    c.ok("SELECT " + folder)
    root = suite.maildir(ALICE) / ("." + folder)
    c.send("i IDLE\r\n")
    c.line()
    tmp = root / "tmp" / "1700000000.M1P1.test"
    tmp.write_bytes(b"Subject: foreign\n\nbody\n")
    st = (root / "cur").stat()
    os.chown(tmp, st.st_uid, st.st_gid)
    os.rename(tmp, root / "new" / tmp.name)
    assert read_until(c, b"EXISTS")[-1] == b"* 2 EXISTS"


def test_twenty_pipelined_commands_are_answered_in_order(imap, folder):
    c = imap()
    fill(c, folder, 3)
    c.send("".join("p%d FETCH 1:* (UID FLAGS)\r\np%dn NOOP\r\n" % (i, i) for i in range(300)))
    for i in range(300):
        status, _, got = c.finish("p%d" % i)
        assert status == "OK" and len(got) == 3
        assert c.finish("p%dn" % i)[0] == "OK"


def test_a_client_that_does_not_read_stops_nobody(imap, folder):
    a, b = imap(), imap()
    fill(a, folder, 1)
    a.append(folder, numbered(2, 5000000))
    a.ok("SELECT " + folder)
    a.send("".join("p%d FETCH 1:* BODY.PEEK[]\r\n" % i for i in range(30)))
    b.ok("SELECT " + folder)
    b.ok("FETCH 1:* FLAGS")
    for i in range(30):
        assert a.finish("p%d" % i)[0] == "OK"


def test_reset_during_a_large_fetch(imap, folder, suite):
    # security case 119
    import struct
    a = Imap(suite, login=ALICE)
    a.append(folder, numbered(2, 5000000))
    a.ok("SELECT " + folder)
    a.send("x FETCH 1 BODY.PEEK[]\r\n")
    a.more()
    a.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    a.close()
    assert len(imap().ok("STATUS %s (MESSAGES)" % folder)) == 1


def test_commands_in_wrong_states(imap):
    c = imap()
    for cmd in ("FETCH 1 FLAGS", "STORE 1 FLAGS ()", "SEARCH ALL", "EXPUNGE", "CLOSE", "CHECK", "UNSELECT", "COPY 1 INBOX", "MOVE 1 INBOX", "UID FETCH 1 FLAGS"):
        c.bad(cmd)
    for cmd in ("LOGIN a b", "STARTTLS", "AUTHENTICATE PLAIN", "UID", "UID NOOP", "UID LOGIN a b", "GENURLAUTH x", "LOCALDELETE x", "XAPPLEPUSHSERVICE", "SETACL x y z"):
        c.bad(cmd)


def test_tags(imap):
    # security case 94
    c = imap()
    for line in (b"+ NOOP", b"a{ NOOP", b"\xe9 NOOP", b"a", b" NOOP", b"x" * 10240 + b" NOOP", b"(a) NOOP"):
        c.send(line + b"\r\n")
        assert b" BAD " in c.line()
    assert c.ok("NOOP", tag="A.b-]") == []
    c.send("\r\n\r\nz NOOP\r\n")
    assert c.finish("z")[0] == "OK"


def test_long_command_lines(imap, folder):
    c = imap()
    fill(c, folder, 1)
    assert len(c.ok("UID FETCH %s FLAGS" % ",".join(str(i) for i in range(1, 300000, 2)))) == 1
    c.send("a FETCH " + "1," * 1500000 + "1 FLAGS\r\n")
    assert b"a BAD" in c.line()
    c.ok("NOOP")
    c.ok("ENABLE CONDSTORE X")
    c.bad("ENABLE")
    c.ok("CHECK")


def test_twenty_bad_commands_end_the_connection(imap):
    c = imap()
    c.send("".join("b%d NONSENSE\r\n" % i for i in range(20)))
    lines = []
    try:
        while True:
            lines.append(c.line())
    except Exception:
        pass
    assert any(l.startswith(b"* BYE") for l in lines)


def test_deleted_under_another_connection(imap, folder):
    a, b = imap(), imap()
    fill(a, folder, 1)
    b.ok("SELECT " + folder)
    b.send("i IDLE\r\n")
    b.line()
    a.ok("DELETE " + folder)
    assert read_until(b, b"BYE")
    a.ok("CREATE " + folder)
    a.ok("SELECT " + folder)
