"""IMAP4rev2 (RFC 9051): nothing changes before ENABLE; then no \\Recent, ESEARCH answers, names in UTF-8, LIST in SELECT, CLOSED."""
import re

import pytest

from imapmessages import numbered


def test_nothing_before_enable(imap, folder):
    c = imap()
    c.append(folder, numbered(1))
    assert b"IMAP4rev1 IMAP4rev2" in c.ok("CAPABILITY")[0]
    lines = c.ok("SELECT " + folder)
    assert b"* 1 RECENT" in lines and any(b"[UNSEEN 1]" in l for l in lines) and not any(l.startswith(b"* LIST") for l in lines)
    assert c.ok("SEARCH ALL") == [b"* SEARCH 1"]


def test_after_enable(imap, folder):
    c, other = imap(), imap()
    c.append(folder, numbered(1))
    c.append(folder, numbered(2))
    assert c.ok("ENABLE IMAP4rev2") == [b"* ENABLED IMAP4rev2"]
    lines = c.ok("SELECT " + folder)
    assert not any(b"RECENT" in l or b"[UNSEEN" in l for l in lines) and b'* LIST () "/" ' + folder.encode() in lines
    for want in (b"FLAGS (", b"[PERMANENTFLAGS (", b"[UIDVALIDITY ", b"[UIDNEXT 3]", b"* 2 EXISTS"):
        assert any(want in l for l in lines), want
    assert not any(b"Recent" in l for l in c.ok("FETCH 1:* FLAGS"))
    status, _, lines = c.cmd("SEARCH ALL", tag="s1")
    assert lines == [b'* ESEARCH (TAG "s1") ALL 1:2']
    assert c.cmd("UID SEARCH KEYWORD none", tag="s2")[2] == [b'* ESEARCH (TAG "s2") UID']
    other.append(folder, numbered(3))
    assert c.ok("NOOP") == [b"* 3 EXISTS"]
    assert any(b"[CLOSED]" in l for l in c.ok("SELECT INBOX"))
    assert re.search(rb"MESSAGES 3 .*SIZE \d+ DELETED 0|MESSAGES 3", c.ok("STATUS %s (MESSAGES UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE)" % folder)[0])
    name = ("%s/\u00fc" % folder).encode()
    c.ok(b'CREATE "%s"' % name)
    assert any(name in l for l in c.ok(b'LIST "" "%s/*"' % folder.encode()))
    assert any(b"&APw-" in l for l in other.ok('LIST "" "%s/*"' % folder))
    c.ok(b'DELETE "%s"' % name)
    # what rev2 has in its base works without being asked for
    assert c.ok("NAMESPACE") == [b'* NAMESPACE (("" "/")) (("Other/" "/")) (("Shared/" "/"))']
    c.ok("SELECT " + folder)
    c.ok("SEARCH RETURN (SAVE) 1")
    assert len(c.ok("FETCH $ BINARY.SIZE[1]")) == 1
    c.ok("MOVE $ " + folder)
    c.ok("UNSELECT")


def test_quirk_every_answer_stays_rev1_for_others(imap, folder):
    # a client that enables rev2 must not change what the user's other connections are told, although one process serves them all
    a, b = imap(), imap()
    a.ok("ENABLE IMAP4rev2")
    b.append(folder, numbered(1))
    a.ok("EXAMINE " + folder)
    assert any(b"RECENT" in l for l in b.ok("SELECT " + folder))
    assert b.ok("SEARCH ALL") == [b"* SEARCH 1"]
