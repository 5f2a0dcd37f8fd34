"""CREATE, DELETE, RENAME, SUBSCRIBE, LIST, LSUB, STATUS, SELECT (RFC 3501 6.3)."""
import re

import pytest

from imapmessages import SIMPLE


def names(c, cmd, word=b"LIST"):
    out = {}
    for l in c.ok(cmd):
        m = re.match(rb'\* ' + word + rb' \(([^)]*)\) "/" (?:"([^"]*)"|(\S+))', l)
        if m:
            out[(m.group(2) if m.group(2) is not None else m.group(3)).decode()] = m.group(1).decode().split()
    return out


def test_new_users_have_special_folders(imap):
    got = names(imap(), 'LIST "" *')
    for n in ("Drafts", "Sent", "Junk", "Trash", "Archive"):
        assert "\\" + n in got[n]
    assert set(names(imap(), 'LSUB "" *', b"LSUB")) >= {"Drafts", "Sent", "Junk", "Trash", "Archive"}
    # iOS: RETURN decorates, selection filters
    assert "INBOX" in names(imap(), 'LIST "" "*" RETURN (SPECIAL-USE)')
    assert "INBOX" not in names(imap(), 'LIST (SPECIAL-USE) "" "*"')
    got = imap().ok('LIST "" "*" RETURN (SPECIAL-USE STATUS (UNSEEN))')
    assert any(l.startswith(b"* STATUS INBOX (UNSEEN ") for l in got)




def test_list(imap, folder):
    c = imap()
    c.ok("CREATE %s/a/b" % folder)
    assert names(c, 'LIST "" ""') == {"": ["\\Noselect"]}
    got = names(c, 'LIST "" %s*' % folder)
    assert set(got) == {folder, folder + "/a", folder + "/a/b"}
    assert "\\HasChildren" in got[folder] and "\\HasNoChildren" in got[folder + "/a/b"]
    assert set(names(c, 'LIST "" %s/%%' % folder)) == {folder + "/a"}
    assert set(names(c, 'LIST "%s/" %%' % folder)) == {folder + "/a"}
    assert set(names(c, 'LIST "" (%s/a/* inbox)' % folder)) == {folder + "/a/b", "INBOX"}
    assert set(names(c, 'LIST "" inbox')) == {"INBOX"}
    c.ok('LIST "" ' + "*%" * 10000 + "x")
    c.bad('LIST "" "*" RETURN (NONSENSE)')
    c.ok("DELETE %s/a/b" % folder)
    c.ok("DELETE %s/a" % folder)


def test_subscriptions(imap, folder):
    c = imap()
    c.ok("CREATE %s/sub/deep" % folder)
    c.ok("SUBSCRIBE %s/sub/deep" % folder)
    assert set(names(c, 'LSUB "" %s/*' % folder, b"LSUB")) == {folder + "/sub/deep"}
    assert names(c, 'LSUB "" %s/%%' % folder, b"LSUB") == {folder + "/sub": ["\\Noselect"]}
    got = names(c, 'LIST (SUBSCRIBED) "" %s/*' % folder)
    assert "\\Subscribed" in got[folder + "/sub/deep"] and len(got) == 1
    got = c.ok('LIST (SUBSCRIBED RECURSIVEMATCH) "" %s' % folder)
    assert len(got) == 1 and b'("CHILDINFO" ("SUBSCRIBED"))' in got[0]
    c.ok("UNSUBSCRIBE %s/sub/deep" % folder)
    assert names(c, 'LSUB "" %s/*' % folder, b"LSUB") == {}
    c.ok("DELETE %s/sub/deep" % folder)
    c.cmd("DELETE %s/sub" % folder)


def test_names_in_modified_utf7(imap, folder):
    c = imap()
    name = folder + "/R&AOk-union & co".replace("& ", "&- ")
    c.ok('CREATE "%s"' % name)
    assert name in names(c, 'LIST "" %s/*' % folder)
    c.ok('SELECT "%s"' % name)
    assert b'"%s"' % name.encode() in c.ok('STATUS "%s" (MESSAGES)' % name)[0]
    c.ok('DELETE "%s"' % name)


@pytest.mark.parametrize("name", ["..", "../../etc", "/etc/passwd", "INBOX/../x", "a//b", "a/../b", "x" * 5000, "/".join("a" * 3 for _ in range(10000)),
                                  "&", "&AGE-", "&AC8-", "&AC8-etc", "&AAA-", "a&AOk-&AOk-", "./x", "."])
def test_names_that_are_refused(imap, name):
    # security case 107
    c = imap()
    for cmd in ("CREATE", "SELECT", "DELETE", "SUBSCRIBE"):
        status, line, _ = c.cmd('%s "%s"' % (cmd, name))
        assert status in ("NO", "BAD"), (cmd, name, line)
    assert c.ok("NOOP") == []


@pytest.mark.parametrize("name", ["~root", "new", "cur", "tmp", ".dot", "a.b", "InBoX/sub", "sp ace", "quo\\\"te", "50%", "~"])
def test_odd_names_are_safe(imap, suite, name):
    c = imap()
    status, line, _ = c.cmd('CREATE "%s"' % name)
    assert status in ("OK", "NO"), line
    if status == "OK":
        c.ok('STATUS "%s" (MESSAGES)' % name)
        c.append('"%s"' % name, SIMPLE)
        c.ok('DELETE "%s"' % name)
    c.no('STATUS "%s" (MESSAGES)' % name)


def test_create_and_delete(imap, folder):
    c = imap()
    c.no("CREATE " + folder, "ALREADYEXISTS")
    c.no("CREATE INBOX")
    c.no("DELETE INBOX")
    c.no("DELETE no-such-folder", "NONEXISTENT")
    c.ok("CREATE %s/child/" % folder)
    c.no("CREATE %s/child" % folder)
    c.ok("DELETE %s" % folder)		# children stay
    assert folder + "/child" in names(c, 'LIST "" *')
    c.ok("DELETE %s/child" % folder)
    c.no("SELECT %s/child" % folder, "NONEXISTENT")
    c.ok("CREATE " + folder)


def test_rename(imap, folder):
    c = imap()
    c.ok("CREATE %s/a/b" % folder)
    c.append(folder + "/a/b", SIMPLE)
    c.ok("RENAME %s/a %s/z" % (folder, folder))
    assert set(names(c, 'LIST "" %s/*' % folder)) == {folder + "/z", folder + "/z/b"}
    assert c.ok("STATUS %s/z/b (MESSAGES)" % folder) == [b"* STATUS %s/z/b (MESSAGES 1)" % folder.encode()]
    c.no("RENAME %s/z %s/z/b/c" % (folder, folder))
    c.no("RENAME %s/z %s" % (folder, folder))
    c.no("RENAME %s/nothing %s/x" % (folder, folder))
    c.ok("DELETE %s/z/b" % folder)
    c.cmd("DELETE %s/z" % folder)


def test_rename_inbox_moves_its_mail(imap, folder):
    c = imap()
    c.append("INBOX", SIMPLE)
    c.ok("RENAME INBOX %s/old" % folder)
    assert int(re.search(rb"MESSAGES (\d+)", c.ok("STATUS %s/old (MESSAGES)" % folder)[0]).group(1)) >= 1
    assert c.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]
    c.ok("DELETE %s/old" % folder)


def test_status(imap, folder):
    c = imap()
    c.append(folder, SIMPLE)
    c.append(folder, SIMPLE, "(\\Seen) ")
    got = c.ok("STATUS %s (MESSAGES UIDNEXT UIDVALIDITY UNSEEN RECENT)" % folder)[0]
    assert re.match(rb"\* STATUS %s \(MESSAGES 2 RECENT \d UIDNEXT 3 UIDVALIDITY \d+ UNSEEN 1\)$" % folder.encode(), got), got
    c.bad("STATUS %s (NONSENSE)" % folder)
    c.bad("STATUS %s ()" % folder)
    c.no("STATUS nothing (MESSAGES)", "NONEXISTENT")


def test_examine_takes_nothing(imap, folder):
    # RFC 3501 6.3.2
    c, other = imap(), imap()
    c.append(folder, SIMPLE)
    assert b"* 1 RECENT" in c.ok("EXAMINE " + folder) and b"\\Recent" in c.ok("FETCH 1 FLAGS")[0]
    other.append(folder, SIMPLE)
    assert b"* 2 RECENT" in c.ok("NOOP") and b"RECENT 2" in other.ok("STATUS %s (RECENT)" % folder)[0]
    assert b"* 2 RECENT" in other.ok("SELECT " + folder) and b"* 0 RECENT" in imap().ok("EXAMINE " + folder)
    assert b"\\Recent" in c.ok("FETCH 2 FLAGS")[0], "as this connection has seen it"


def test_select_examine_close(imap, folder):
    c = imap()
    c.append(folder, SIMPLE)
    status, line, got = c.cmd("SELECT " + folder)
    assert "[READ-WRITE]" in line
    text = b"\r\n".join(got)
    for want in (b"* 1 EXISTS", b"FLAGS (\\Answered", b"[UIDVALIDITY ", b"[UIDNEXT 2]", b"[UNSEEN 1]", b"[PERMANENTFLAGS (", b" RECENT"):
        assert want in text
    c.no("SELECT nothing", "NONEXISTENT")
    c.bad("FETCH 1 FLAGS")		# a failed SELECT leaves nothing selected
    status, line, got = c.cmd("EXAMINE " + folder)
    assert "[READ-ONLY]" in line and b"[PERMANENTFLAGS ()]" in b"".join(got)
    c.no("STORE 1 +FLAGS (\\Deleted)", "READ-ONLY")
    c.no("EXPUNGE", "READ-ONLY")
    c.ok("CLOSE")
    c.bad("CLOSE")
    c.ok("SELECT " + folder)
    c.ok("STORE 1 +FLAGS (\\Deleted)")
    c.ok("UNSELECT")
    c.ok("SELECT " + folder)
    assert b"* 1 EXISTS" in c.ok("SELECT " + folder)
    assert c.ok("CLOSE") == []
    assert b"* 0 EXISTS" in c.ok("SELECT " + folder)


def test_namespace(imap):
    assert imap().ok("NAMESPACE") == [b'* NAMESPACE (("" "/")) (("Other/" "/")) (("Shared/" "/"))']


def test_xlist_works_unannounced(imap):
    c = imap()
    assert b"XLIST" not in c.ok("CAPABILITY")[0]
    got = names(c, 'XLIST "" *', b"XLIST")
    assert "\\Inbox" in got["INBOX"] and "\\Spam" in got["Junk"]


def test_create_special_use(imap, folder):
    # RFC 6154 section 3
    c = imap()
    c.ok("CREATE %s/old (USE (\\Archive))" % folder)
    assert "\\Archive" in names(c, 'LIST "" %s/*' % folder)[folder + "/old"]
    c.ok("DELETE %s/old" % folder)
    c.no("CREATE %s/all (USE (\\All))" % folder, "USEATTR")
    c.no("CREATE %s/two (USE (\\Sent \\Trash))" % folder, "USEATTR")
    c.bad("CREATE %s/x (USE \\Sent)" % folder)
    c.ok("CREATE %s/none (USE ())" % folder)
    c.ok("DELETE %s/none" % folder)


def test_status_size(imap, folder):
    # RFC 8438
    c = imap()
    c.append(folder, SIMPLE)
    assert c.ok("STATUS %s (SIZE)" % folder) == [b"* STATUS %s (SIZE %d)" % (folder.encode(), len(SIMPLE))]


def test_list_status_and_children(imap, folder):
    # RFC 5819, 5258
    c = imap()
    c.append(folder, SIMPLE)
    got = c.ok('LIST "" (%s) RETURN (SUBSCRIBED CHILDREN STATUS (MESSAGES UNSEEN))' % folder)
    assert got == [b'* LIST (\\HasNoChildren) "/" %s' % folder.encode(), b"* STATUS %s (MESSAGES 1 UNSEEN 1)" % folder.encode()]
    c.ok("SUBSCRIBE %s/gone" % folder)
    got = names(c, 'LIST (SUBSCRIBED) "" %s/*' % folder)
    assert set(got[folder + "/gone"]) >= {"\\NonExistent", "\\Subscribed"}
    assert names(c, 'LIST "" %s/*' % folder) == {}
    c.ok("UNSUBSCRIBE %s/gone" % folder)
    c.bad('LIST (RECURSIVEMATCH) "" *')
    c.ok('LIST (REMOTE) "" *')


def test_a_selected_mailbox_that_is_renamed_goes_by_its_new_name(imap, folder):
    """RFC 3501 6.3.5: it stays selected, with those below it; one that is made under the old name is another."""
    c, other = imap(), imap()
    for name in ("x", "x/y"):
        c.ok("CREATE %s/%s" % (folder, name))
    c.append(folder + "/x/y", b"Subject: here\r\n\r\nx\r\n")
    c.ok("SELECT %s/x/y" % folder)
    other.ok("RENAME %s/x %s/z" % (folder, folder))
    assert [line for line in c.ok("ESEARCH IN (selected) RETURN (COUNT) ALL") if b"MAILBOX %s/z/y " % folder.encode() in line]
    other.ok("CREATE %s/x/y" % folder)
    c.ok("DELETE %s/x/y" % folder)
    assert c.ok("SEARCH ALL")[-1] == b"* SEARCH 1"        # still selected
    c.ok("DELETE %s/z/y" % folder)                          # left first, without a word
    c.bad("SEARCH ALL")
    c.ok("DELETE %s/z" % folder)
    c.ok("DELETE %s/x" % folder)
