"""NOTIFY (RFC 5465)."""
import os
import re

import pytest

from imapmessages import SIMPLE, numbered


def wait_for(c, want, tries=30):
    got = []
    for _ in range(tries):
        got.append(c.line())
        if re.search(want, got[-1], re.S):
            return got
    raise AssertionError(got)


def settle(c):
    """All that is due has come: NOOP's answer is behind it."""
    return c.ok("NOOP")


@pytest.fixture
def tree(imap, folder):
    c = imap()
    for sub in ("a", "a/b", "c"):
        c.ok("CREATE %s/%s" % (folder, sub))
    yield folder
    c = imap()
    for sub in ("a/b", "a", "c", "new", "renamed"):
        c.cmd("DELETE %s/%s" % (folder, sub))


def test_other_mailboxes(imap, tree):
    c, other = imap(), imap()
    lines = c.ok("NOTIFY SET STATUS (subtree %s/a (MessageNew MessageExpunge))" % tree)
    assert [re.match(rb"\* STATUS (\S+) \(MESSAGES 0 UIDNEXT 1 UIDVALIDITY \d+ UNSEEN 0\)", l).group(1) for l in lines] == [(tree + s).encode() for s in ("/a", "/a/b")]
    other.append(tree + "/c", numbered(1))		# not asked for
    other.append(tree + "/a/b", numbered(1))
    got = wait_for(c, rb"STATUS %s/a/b \(MESSAGES 1 UIDNEXT 2 " % tree.encode())	# nobody idles
    assert len(got) == 1
    other.ok("SELECT %s/a/b" % tree)
    other.ok("STORE 1 +FLAGS (\\Flagged)")		# flags were not asked for
    other.ok("STORE 1 +FLAGS (\\Deleted)")
    other.ok("EXPUNGE")
    wait_for(c, rb"STATUS %s/a/b \(MESSAGES 0 UIDNEXT 2 " % tree.encode())
    c.ok("NOTIFY NONE")
    other.append(tree + "/a", numbered(2))
    assert settle(c) == []


def test_a_mailbox_that_is_made_later_is_watched_at_once(imap, tree, suite):
    """RFC 5465 section 6: filters mean what they match when it happens. The first message there is told of, whoever brings it, and what comes after the
    mailbox was renamed by its new name."""
    c, other = imap(), imap()
    c.ok("NOTIFY SET (subtree %s (MessageNew MessageExpunge MailboxName))" % tree)
    other.ok("CREATE %s/new" % tree)
    wait_for(c, rb'LIST \(\\HasNoChildren\) "/" %s/new$' % tree.encode())
    new = suite.maildir("alice@example.com") / (".%s.new" % tree) / "new"
    one = new.parent / "tmp" / "1600000000.M1P1.elsewhere"
    one.write_bytes(numbered(1).replace(b"\r\n", b"\n"))
    os.chown(one, new.stat().st_uid, new.stat().st_gid)
    one.rename(new / one.name)
    wait_for(c, rb"STATUS %s/new \(MESSAGES 1 UIDNEXT 2 " % tree.encode())
    other.ok("RENAME %s/new %s/renamed" % (tree, tree))
    wait_for(c, rb'LIST \(\\HasNoChildren\) "/" %s/renamed \("OLDNAME" \(%s/new\)\)' % (tree.encode(), tree.encode()))
    other.append(tree + "/renamed", numbered(2))
    assert len(wait_for(c, rb"STATUS %s/renamed \(MESSAGES 2 UIDNEXT 3 " % tree.encode())) == 1


def test_one_event_of_other_mailboxes(imap, tree):
    # RFC 5465 3.1: (subtree Lists (MessageNew))
    c, other = imap(), imap()
    assert len(c.ok("NOTIFY SET STATUS (mailboxes %s/a (MessageNew)) (mailboxes %s/c (MessageExpunge))" % (tree, tree))) == 2
    other.append(tree + "/c", numbered(1))
    other.append(tree + "/a", numbered(1))
    assert len(wait_for(c, rb"STATUS %s/a \(MESSAGES 1 " % tree.encode())) == 1
    for sub in "ac":
        other.ok("SELECT %s/%s" % (tree, sub))
        other.ok("STORE 1 +FLAGS (\\Deleted)")
        other.ok("EXPUNGE")
    assert len(wait_for(c, rb"STATUS %s/c \(MESSAGES 0 UIDNEXT 2 " % tree.encode())) == 1
    c.bad("NOTIFY SET (mailboxes %s/a (MessageNew FlagChange))" % tree)


def test_flags_of_other_mailboxes_and_first_filter(imap, tree):
    c, other = imap(), imap()
    c.ok("ENABLE CONDSTORE")
    c.ok("NOTIFY SET (mailboxes %s/a NONE) (subtree (%s/a %s/c) (MessageNew MessageExpunge FlagChange))" % (tree, tree, tree))
    other.append(tree + "/a", numbered(1))
    other.append(tree + "/c", numbered(1))
    assert len(wait_for(c, rb"STATUS %s/c \(MESSAGES 1 .*HIGHESTMODSEQ \d+\)" % tree.encode())) == 1
    other.ok("SELECT %s/c" % tree)
    other.ok("STORE 1 +FLAGS (\\Flagged)")
    wait_for(c, rb"STATUS %s/c " % tree.encode())


def test_selected(imap, tree):
    c, other = imap(), imap()
    c.append(tree, numbered(1))
    c.append(tree, numbered(2))
    c.ok("SELECT " + tree)
    c.ok("NOTIFY SET (selected (MessageNew (UID BODY.PEEK[HEADER.FIELDS (Subject)]) MessageExpunge FlagChange))")
    other.append(tree, SIMPLE)
    got = wait_for(c, rb"FETCH \(")
    assert b"* 3 EXISTS" in got and b"UID 3 BODY[HEADER.FIELDS (Subject)] {" in got[-1] and b"Subject: simple" in got[-1]
    other.ok("SELECT " + tree)
    other.ok("STORE 1 +FLAGS (\\Deleted)")
    wait_for(c, rb"\* 1 FETCH \(UID 1 FLAGS \(.*\\Deleted")
    other.ok("EXPUNGE")
    wait_for(c, rb"\* 1 EXPUNGE")
    c.ok("NOTIFY SET (selected-delayed (MessageNew MessageExpunge))")
    other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    other.ok("EXPUNGE")
    other.append(tree, SIMPLE)
    got = wait_for(c, rb"EXISTS")			# the expunge waits for a command that allows it
    assert not any(b"EXPUNGE" in l for l in got)
    assert any(l == b"* 1 EXPUNGE" for l in settle(c))


def test_a_mailbox_that_moves_changes_both_parents(imap, tree):
    c, other = imap(), imap()
    for name in ("from", "from/kid", "to"):
        other.ok("CREATE %s/%s" % (tree, name))
    c.ok("NOTIFY SET (subtree %s (MailboxName))" % tree)
    t = tree.encode()
    other.ok("RENAME %s/from/kid %s/to/kid" % (tree, tree))
    assert wait_for(c, rb'LIST \(.*\) "/" %s/from$' % t) == [
        b'* LIST (\\HasNoChildren) "/" %s/to/kid ("OLDNAME" (%s/from/kid))' % (t, t), b'* LIST (\\HasChildren) "/" %s/to' % t, b'* LIST (\\HasNoChildren) "/" %s/from' % t]
    other.ok("RENAME %s/to %s/then" % (tree, tree))     # its parent has as many as before
    assert wait_for(c, rb'LIST .* "/" %s/then' % t) == [b'* LIST (\\HasChildren) "/" %s/then ("OLDNAME" (%s/to))' % (t, t)]
    assert settle(c) == []


def test_names_and_subscriptions(imap, tree):
    c, other = imap(), imap()
    c.ok("NOTIFY SET (subtree %s (MailboxName SubscriptionChange MessageNew MessageExpunge))" % tree)
    other.ok("CREATE %s/new" % tree)
    assert wait_for(c, rb'LIST \(.*\) "/" %s$' % tree.encode()) == [b'* LIST (\\HasNoChildren) "/" %s/new' % tree.encode(), b'* LIST (\\HasChildren) "/" %s' % tree.encode()]
    other.append(tree + "/new", numbered(1))		# it is watched from now on
    settle(c)
    other.append(tree + "/new", numbered(2))
    wait_for(c, rb"STATUS %s/new \(MESSAGES 2 " % tree.encode())
    other.ok("RENAME %s/new %s/renamed" % (tree, tree))
    wait_for(c, rb'LIST \(\\HasNoChildren\) "/" %s/renamed \("OLDNAME" \(%s/new\)\)' % (tree.encode(), tree.encode()))
    other.ok("SUBSCRIBE %s/renamed" % tree)
    wait_for(c, rb'LIST \(\\HasNoChildren \\Subscribed\) "/" %s/renamed' % tree.encode())
    other.ok("UNSUBSCRIBE %s/renamed" % tree)
    wait_for(c, rb'LIST \(\\HasNoChildren\) "/" %s/renamed' % tree.encode())
    other.ok("DELETE %s/renamed" % tree)
    wait_for(c, rb'LIST \(\\NonExistent \\HasNoChildren\) "/" %s/renamed' % tree.encode())


def test_all_filters_count_until_one_says_none(imap, tree):
    # RFC 5465 6: messages by the first filter, annotations by the second; nothing of "a"
    c, other = imap(), imap()
    c.ok("NOTIFY SET (mailboxes %s/a NONE) (mailboxes %s/c (MessageNew MessageExpunge)) (subtree %s (MailboxMetadataChange MessageNew MessageExpunge))" % (tree, tree, tree))
    other.append(tree + "/a", numbered(1))
    other.ok('SETMETADATA %s/a (/private/comment "x")' % tree)
    other.append(tree + "/c", numbered(1))
    other.ok('SETMETADATA %s/c (/private/comment "x" /shared/comment NIL)' % tree)
    assert wait_for(c, rb"METADATA %s/c /private/comment /shared/comment$" % tree.encode())[0].startswith(b"* STATUS %s/c " % tree.encode())


def test_annotations_of_the_account(imap):
    c, other = imap(), imap()
    other.ok('SETMETADATA "" (/private/vendor/x "y")')
    c.ok("NOTIFY SET (personal (ServerMetadataChange))")
    other.ok('SETMETADATA "" (/private/vendor/x NIL)')
    assert wait_for(c, b"METADATA") == [b'* METADATA "" /private/vendor/x']
    c.ok('SETMETADATA "" (/private/vendor/x "z")')       # what it does itself it need not be told
    assert settle(c) == []
    c.ok('SETMETADATA "" (/private/vendor/x NIL)')


@pytest.mark.parametrize("quiet", ["NOTIFY NONE", "NOTIFY SET (selected NONE)", "NOTIFY SET (personal (MailboxName))"])
def test_the_selected_mailbox_is_told_of_only_where_it_is_asked_for(imap, tree, quiet):
    # RFC 5465 3.1; what messages are called by number is still told
    c, other = imap(), imap()
    for n in (1, 2):
        c.append(tree, numbered(n))
    c.ok("SELECT " + tree)
    other.ok("SELECT " + tree)
    other.append(tree, numbered(3))
    assert any(b"3 EXISTS" in l for l in c.ok(quiet)), "what came before counts as before"
    other.ok("STORE 1 +FLAGS.SILENT (\\Flagged)")
    other.append(tree, numbered(4))
    assert settle(c) == []
    other.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    other.ok("EXPUNGE")
    assert settle(c) == [b"* 2 EXPUNGE"]
    got = c.ok("NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))") + settle(c)
    assert any(l == b"* 3 EXISTS" for l in got), got
    other.ok("STORE 3 +FLAGS.SILENT (\\Answered)")
    wait_for(c, rb"\* 3 FETCH \(UID 4 FLAGS \(.*\\Answered")


def test_appends_that_share_a_sync_are_told_of_with_items(imap, folder):
    """They become visible between two commands of who has sent them. What is told of them comes behind their answers, and the connection goes on."""
    c = imap()
    c.ok("SELECT " + folder)
    c.ok("NOTIFY SET (selected (MessageNew (UID) MessageExpunge FlagChange))")
    c.send(b"".join(b"p%d APPEND %s {%d+}\r\n%s\r\n" % (i, folder.encode(), len(SIMPLE), SIMPLE) for i in range(3)))
    got = wait_for(c, rb"\* 3 FETCH \(UID 3\)$")
    assert [l[:5] for l in got if l.startswith(b"p")] == [b"p0 OK", b"p1 OK", b"p2 OK"]
    assert [l for l in got if b"FETCH" in l] == [b"* %d FETCH (UID %d)" % (n, n) for n in (1, 2, 3)]
    assert settle(c) == []


def test_a_search_kept_up_to_date_brings_items_of_new_messages(imap, tree):
    # RFC 5465 7
    c, other = imap(), imap()
    c.append(tree, numbered(1))
    c.ok("SELECT " + tree)
    c.cmd("SEARCH RETURN (COUNT UPDATE (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])) SUBJECT message", tag="a00")
    other.append(tree, SIMPLE)
    other.append(tree, numbered(2))
    got = [l for l in c.ok("NOOP") if b"RECENT" not in l]
    assert got[0] == b"* 3 EXISTS" and got[1].startswith(b"* 3 FETCH (UID 3 BODY[HEADER.FIELDS (SUBJECT)] {") and got[2:] == [b'* ESEARCH (TAG "a00") ADDTO (0 3)'], got
    other.ok("SELECT " + tree)
    c.cmd("SEARCH RETURN (COUNT UPDATE (UID)) FLAGGED", tag="a01")
    other.ok("STORE 1 +FLAGS.SILENT (\\Flagged)")        # no new message
    got = c.ok("NOOP")
    assert b'* ESEARCH (TAG "a01") ADDTO (0 1)' in got and not any(b"(UID 1)" in l for l in got)
    c.bad("SEARCH RETURN (UPDATE ()) ALL")
    c.bad("SEARCH RETURN (UPDATE (FOO)) ALL")
    c.bad("SEARCH RETURN (UPDATE (UID) ALL")


def test_errors(imap, tree):
    c = imap()
    for bad in ("NOTIFY", "NOTIFY FOO", "NOTIFY SET", "NOTIFY SET ()", "NOTIFY SET (selected)", "NOTIFY SET (foo (MessageNew MessageExpunge))", "NOTIFY SET (selected (MessageNew))",
                "NOTIFY SET (selected (FlagChange))", "NOTIFY SET (selected (MailboxName))", "NOTIFY SET (personal (MessageNew (UID) MessageExpunge))",
                "NOTIFY SET (selected NONE) (selected NONE)", "NOTIFY SET (subtree (MessageNew MessageExpunge))", "NOTIFY NONE x", "NOTIFY SET (personal (MessageNew MessageExpunge)"):
        c.bad(bad)
        if bad.endswith("FOO"):
            c.ok("NOOP")
        c.ok("NOOP")
    c.no("NOTIFY SET (personal (MessageNew MessageExpunge AnnotationChange))", "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange)")
    c.no("NOTIFY SET (mailboxes %s/.. (MessageNew MessageExpunge))" % tree)
