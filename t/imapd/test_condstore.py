"""CONDSTORE and QRESYNC (RFC 7162): mod-sequences of messages and folders, conditional STORE, quick resynchronisation, VANISHED."""
import os
import re
import signal

import pytest

from imapmessages import numbered


def fill(c, folder, n, select="SELECT "):
    for i in range(1, n + 1):
        c.append(folder, numbered(i))
    return c.ok(select + folder)


def code(lines, name):
    got = re.findall(rb"\[" + name.encode() + rb" (\d+)\]", b"\n".join(lines))
    return int(got[0]) if got else None


def modseqs(lines):
    """{number: mod-sequence} of FETCH responses."""
    return {int(m.group(1)): int(m.group(2)) for l in lines for m in [re.match(rb"\* (\d+) FETCH \(.*MODSEQ \((\d+)\)", l)] if m}


@pytest.fixture
def c(imap, folder):
    c = imap()
    fill(c, folder, 5)
    return c


# --- CONDSTORE ---

def test_select_says_the_highest(c, folder):
    highest = code(c.ok("SELECT %s (CONDSTORE)" % folder), "HIGHESTMODSEQ")
    assert max(modseqs(c.ok("FETCH 1:* (MODSEQ)")).values()) <= highest < 1 << 63
    assert code(c.ok("EXAMINE " + folder), "HIGHESTMODSEQ") == highest
    assert [l for l in c.ok("STATUS %s (HIGHESTMODSEQ)" % folder) if b"HIGHESTMODSEQ %d)" % highest in l]


def test_enabling_commands(imap, folder):
    # RFC 7162 3.1: each of these tells the highest at its first use, and from then on flags come with mod-sequences
    other = imap()
    fill(other, folder, 2)
    for first in ("FETCH 1 (MODSEQ)", "FETCH 1 (FLAGS) (CHANGEDSINCE 1)", "STORE 1 (UNCHANGEDSINCE 1) +FLAGS (x)", "SEARCH MODSEQ 1", "STATUS %s (HIGHESTMODSEQ)" % folder,
                  "ENABLE CONDSTORE"):
        c = imap()
        c.ok("SELECT " + folder)
        lines = c.cmd(first)[2]
        assert code(lines, "HIGHESTMODSEQ"), first
        assert code(c.cmd(first)[2], "HIGHESTMODSEQ") is None
        other.ok("STORE 2 FLAGS (k%d)" % len(first))
        assert 2 in modseqs(c.ok("NOOP")), first


def test_changedsince(c):
    start = modseqs(c.ok("FETCH 1:* (MODSEQ)"))
    c.ok("STORE 2,4 +FLAGS (\\Flagged)")
    since = max(start.values())
    now = modseqs(c.ok("FETCH 1:* (FLAGS) (CHANGEDSINCE %d)" % since))
    assert sorted(now) == [2, 4] and min(now.values()) > since
    got = c.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 0)")	# iOS sends 0
    assert len(modseqs(got)) == 5 and all(b"UID " in l for l in got)
    assert modseqs(c.ok("FETCH 1:* (FLAGS) (CHANGEDSINCE %d)" % max(now.values()))) == {}
    for bad in ("FETCH 1 FLAGS (CHANGEDSINCE)", "FETCH 1 FLAGS (CHANGEDSINCE x)", "FETCH 1 FLAGS (FOO 1)", "FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775808)",
                "FETCH 1 FLAGS ()", "FETCH 1 FLAGS (CHANGEDSINCE 1", "FETCH 1 FLAGS (VANISHED)"):
        c.bad(bad)


def test_unchangedsince(c, imap, folder):
    c.ok("ENABLE CONDSTORE")
    since = max(modseqs(c.ok("FETCH 1:* (MODSEQ)")).values())
    other = imap()
    other.ok("SELECT " + folder)
    other.ok("STORE 3 +FLAGS (\\Seen)")
    # example 5 of section 3.1.3: what was changed is left alone and named
    status, line, got = c.cmd("STORE 1:4 (UNCHANGEDSINCE %d) +FLAGS.SILENT (\\Deleted)" % since)
    assert status == "OK" and "[MODIFIED 3]" in line
    told = modseqs(got)
    assert sorted(told) == [1, 2, 3, 4] and not any(b"FLAGS" in l for l in got if l.startswith((b"* 1 ", b"* 2 ", b"* 4 ")))
    flags = b"".join(c.ok("FETCH 3 FLAGS"))
    assert b"\\Deleted" not in flags and b"\\Seen" in flags
    status, line, got = c.cmd("UID STORE 1:2 (UNCHANGEDSINCE 0) +FLAGS (\\Draft)")
    assert status == "OK" and "[MODIFIED 1:2]" in line and not [l for l in got if b"Draft" in l]
    status, line, got = c.cmd("UID STORE 5 (UNCHANGEDSINCE %d) FLAGS ($Work)" % since)
    assert status == "OK" and "MODIFIED" not in line and modseqs(got)[5] > since and b"UID 5" in got[-1]
    for bad in ("STORE 1 (UNCHANGEDSINCE) +FLAGS (x)", "STORE 1 (UNCHANGEDSINCE -1) +FLAGS (x)", "STORE 1 (OTHER 1) +FLAGS (x)", "STORE 1 (UNCHANGEDSINCE 1 +FLAGS (x)"):
        c.bad(bad)


def test_silent_without_condstore_says_nothing(c):
    assert c.ok("STORE 1 +FLAGS.SILENT (\\Seen)") == []


def test_seen_by_fetch_has_a_modseq(c):
    c.ok("ENABLE CONDSTORE")
    got = c.ok("FETCH 1 BODY[]")
    assert modseqs(got) and b"\\Seen" in got[0]


def test_no_change_no_modseq(c):
    c.ok("STORE 1 +FLAGS (\\Seen)")
    before = modseqs(c.ok("FETCH 1 (MODSEQ)"))
    c.ok("STORE 1 +FLAGS (\\Seen)")
    assert modseqs(c.ok("FETCH 1 (MODSEQ)")) == before


def test_search_modseq(c):
    c.ok("STORE 2,5 +FLAGS (\\Flagged)")
    m = modseqs(c.ok("FETCH 1:* (MODSEQ)"))
    assert c.ok("SEARCH MODSEQ %d" % m[2])[-1] == b"* SEARCH 2 5 (MODSEQ %d)" % max(m[2], m[5])
    assert c.ok('SEARCH MODSEQ "/flags/\\\\draft" all %d' % m[2])[-1] == b"* SEARCH 2 5 (MODSEQ %d)" % max(m[2], m[5])
    assert c.ok("SEARCH MODSEQ %d" % (max(m.values()) + 1))[-1] == b"* SEARCH"
    for bad in ("SEARCH MODSEQ", "SEARCH MODSEQ x", 'SEARCH MODSEQ "/flags/x" some 1', 'SEARCH MODSEQ "x" all 1'):
        c.bad(bad)


def test_expunge_says_the_highest(c):
    c.ok("ENABLE CONDSTORE")
    c.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    status, line, got = c.cmd("EXPUNGE")
    assert b"* 2 EXPUNGE" in got and re.search(r"\[HIGHESTMODSEQ \d+\]", line)
    assert "HIGHESTMODSEQ" not in c.cmd("EXPUNGE")[1]


# --- QRESYNC ---

def vanished(lines, earlier=True):
    got = [l for l in lines if l.startswith(b"* VANISHED")]
    out = set()
    for l in got:
        assert (b"(EARLIER)" in l) == earlier
        for part in l.split()[-1].split(b","):
            lo, _, hi = part.partition(b":")
            out |= set(range(int(lo), int(hi or lo) + 1))
    return out


def state(c, folder):
    lines = c.ok("SELECT " + folder)
    return code(lines, "UIDVALIDITY"), code(lines, "HIGHESTMODSEQ")


def test_resync(c, imap, folder):
    validity, modseq = state(c, folder)
    other = imap()
    other.ok("SELECT " + folder)
    other.ok("STORE 2,4 +FLAGS.SILENT (\\Deleted)")
    other.ok("EXPUNGE")
    other.ok("STORE 1 +FLAGS (\\Seen)")
    other.append(folder, numbered(6))
    q = imap()
    assert q.ok("ENABLE QRESYNC") == [b"* ENABLED QRESYNC"]
    lines = q.ok("SELECT %s (QRESYNC (%d %d))" % (folder, validity, modseq))
    assert vanished(lines) == {2, 4}
    told = [l for l in lines if b" FETCH (" in l]
    assert [re.search(rb"\* (\d+) FETCH \(UID (\d+) FLAGS \(.*\) MODSEQ \(\d+\)\)", l).groups() for l in told] == [(b"1", b"1"), (b"4", b"6")]
    # VANISHED comes before the FETCH responses, and after the folder's description (section 3.2.5)
    order = [i for i, l in enumerate(lines) if b"VANISHED" in l or b" FETCH (" in l or b"EXISTS" in l]
    assert b"EXISTS" in lines[order[0]] and b"VANISHED" in lines[order[1]]
    # known UIDs limit the answer
    lines = q.ok("SELECT %s (QRESYNC (%d %d 1:3))" % (folder, validity, modseq))
    assert any(b"[CLOSED]" in l for l in lines)
    assert vanished(lines) == {2} and [l.split()[1] for l in lines if b" FETCH (" in l] == [b"1"]
    lines = q.ok("SELECT %s (QRESYNC (%d %d 1:5 (1:3 1,3,5)))" % (folder, validity, modseq))
    assert vanished(lines) == {2, 4}
    # another UIDVALIDITY: nothing but the plain answer
    lines = q.ok("SELECT %s (QRESYNC (%d %d))" % (folder, validity + 1, modseq))
    assert vanished(lines) == set() and not [l for l in lines if b" FETCH (" in l]
    # up to date: nothing
    highest = code(lines, "HIGHESTMODSEQ")
    lines = q.ok("SELECT %s (QRESYNC (%d %d))" % (folder, validity, highest))
    assert vanished(lines) == set() and not [l for l in lines if b" FETCH (" in l]


def test_a_modseq_before_the_log(c, imap, folder):
    # a client of another server, whose folder was taken over: everything without a message may have vanished
    c.ok("STORE 2:3 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    validity, _ = state(c, folder)
    q = imap()
    q.ok("ENABLE QRESYNC")
    lines = q.ok("SELECT %s (QRESYNC (%d 17))" % (folder, validity))
    assert vanished(lines) == {2, 3} and len([l for l in lines if b" FETCH (" in l]) == 3
    lines = q.ok("SELECT %s (QRESYNC (%d 17 3:4))" % (folder, validity))
    assert vanished(lines) == {3}


def test_uid_fetch_vanished(c, imap, folder):
    _, modseq = state(c, folder)
    c.ok("STORE 1,5 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    q = imap()
    q.ok("ENABLE QRESYNC CONDSTORE")
    q.ok("SELECT " + folder)
    got = q.ok("UID FETCH 1:10 (FLAGS) (CHANGEDSINCE %d VANISHED)" % modseq)
    assert vanished(got) == {1, 5} and b"VANISHED" in got[0]
    assert vanished(q.ok("UID FETCH 2:10 (FLAGS) (VANISHED CHANGEDSINCE %d)" % modseq)) == {5}
    # "*" is no less than what the client knows: the last message has vanished
    assert vanished(q.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)" % modseq)) == {1, 5}
    assert vanished(q.ok("UID FETCH *:3 (FLAGS) (CHANGEDSINCE %d VANISHED)" % modseq)) == {5}
    assert vanished(q.ok("UID FETCH 2:4 (FLAGS) (CHANGEDSINCE %d VANISHED)" % modseq)) == set()
    q.bad("FETCH 1:3 (FLAGS) (CHANGEDSINCE %d VANISHED)" % modseq)
    q.bad("UID FETCH 1:10 (FLAGS) (VANISHED)")
    c.bad("UID FETCH 1:10 (FLAGS) (CHANGEDSINCE %d VANISHED)" % modseq)	# not enabled


def test_closed_is_said_whatever_was_enabled(imap, folder):
    # section 3.2.11: a server that has QRESYNC says it
    c = imap()
    assert not any(b"[CLOSED]" in l for l in c.ok("SELECT " + folder))
    for command in ("SELECT " + folder, "EXAMINE INBOX"):
        assert c.ok(command)[0] == b"* OK [CLOSED] Previous mailbox is closed."
    c.ok("UNSELECT")
    assert not any(b"[CLOSED]" in l for l in c.ok("SELECT " + folder))


def test_vanished_replaces_expunge(c, imap, folder):
    q = imap()
    q.ok("ENABLE QRESYNC")
    q.ok("SELECT " + folder)
    c.ok("STORE 2,3,5 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    got = q.ok("NOOP")
    assert [l for l in got if b"EXPUNGE" in l] == [] and vanished(got, earlier=False) == {2, 3, 5}
    assert len([l for l in got if b"VANISHED" in l]) == 1
    q.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    status, line, got = q.cmd("EXPUNGE")
    assert vanished(got, earlier=False) == {1} and "[HIGHESTMODSEQ " in line
    # flags come with UID and MODSEQ now (section 3.2.4)
    c.ok("NOOP")
    c.ok("STORE 1 +FLAGS (\\Answered)")
    got = [l for l in q.ok("NOOP") if b" FETCH " in l]
    assert len(got) == 1 and b"UID 4" in got[0] and b"MODSEQ (" in got[0]


def test_wrong_parameters(c, imap, folder):
    c.bad("SELECT %s (QRESYNC (1 1))" % folder)		# not enabled
    c.ok("ENABLE QRESYNC")
    for bad in ("(QRESYNC)", "(QRESYNC (1))", "(QRESYNC (0 1))", "(QRESYNC (1 0))", "(QRESYNC (1 1 $))", "(QRESYNC (1 1 1:2 (1)))", "(QRESYNC (1 1", "(FOO)", "()"):
        c.bad("SELECT %s %s" % (folder, bad))


def test_enable_answers_what_it_knows(c):
    assert c.ok("ENABLE X-UNKNOWN") == [b"* ENABLED"]
    assert b"* ENABLED CONDSTORE" in c.ok("ENABLE CONDSTORE X-UNKNOWN")
    c.bad("ENABLE")


def test_the_log_survives_a_kill(c, suite, imap, folder):
    validity, modseq = state(c, folder)
    c.ok("UID STORE 1:3 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    for pid, _user, _comm, cmd in suite.processes():
        if "imapd: session alice" in cmd:
            os.kill(pid, signal.SIGKILL)
    q = imap()
    q.ok("ENABLE QRESYNC")
    assert vanished(q.ok("SELECT %s (QRESYNC (%d %d))" % (folder, validity, modseq))) == {1, 2, 3}


def test_an_annotation_raises_the_highest(c, folder):
    """RFC 7162 3.2: the mailbox's, also where nothing is selected; no message has changed."""
    def highest():
        return int(re.search(rb"HIGHESTMODSEQ (\d+)", c.ok("STATUS %s (HIGHESTMODSEQ)" % folder)[0]).group(1))
    before = highest()
    c.ok('SETMETADATA %s (/private/comment "x")' % folder)
    after = highest()
    assert after > before
    c.ok('SETMETADATA "" (/private/comment "x")')
    assert highest() == after
    c.ok("SELECT " + folder)
    assert not [line for line in c.ok("FETCH 1:* (FLAGS) (CHANGEDSINCE %d)" % before) if b" FETCH " in line]
