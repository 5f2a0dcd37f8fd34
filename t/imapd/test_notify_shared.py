"""NOTIFY (RFC 5465) over folders of others: their owners' processes tell, a guest hears of what it may read."""
import os
import re
import signal
import socket

import pytest

from imapraw import Imap
from imapshared import ALICE, BOB, MESSAGE, Shared, fixture


class Scene(Shared):
    def __init__(self, suite):
        super().__init__(suite, "watched")
        self.guest.ok("ID NIL")
        for sub in ("", "/open", "/closed"):
            self.owner.ok("CREATE %s%s" % (self.name, sub))
        self.rights("lr")
        self.rights("lr", "/open")

    def rights(self, rights, sub=""):
        self.owner.ok('SETACL %s%s %s "%s"' % (self.name, sub, BOB, rights))

    def fill(self, sub=""):
        self.owner.append(self.name + sub, MESSAGE)

    def hear(self, want, what=None):
        """The next response that the guest is sent, without asking: what it says of the folder and below."""
        line = (what or self.guest).line().decode()
        assert re.match(want.replace("@", re.escape(self.other)), line), (want, line)
        return line


scene = fixture(Scene)


def settled(scene):
    """What is told until the owner's process has answered, which comes behind what it told before. Its answer to NOOP tells more than its events do."""
    return [l for l in scene.guest.ok("STATUS %s (MESSAGES)" % scene.other) if b"MESSAGES " in l and b"UIDNEXT" in l]


def test_messages_that_come_and_go(scene):
    c = scene.owner
    got = scene.guest.ok("NOTIFY SET STATUS (mailboxes %s (MessageNew MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge))" % scene.other)
    assert any(l.startswith(("* STATUS %s (MESSAGES 0 UIDNEXT 1 " % scene.other).encode()) for l in got) and any(l.startswith(b"* STATUS INBOX ") for l in got)
    scene.fill()
    scene.hear(r"\* STATUS @ \(MESSAGES 1 UIDNEXT 2 ")
    c.ok("SELECT " + scene.name)
    c.ok("STORE 1 +FLAGS.SILENT (\\Flagged)")
    scene.hear(r"\* STATUS @ \(MESSAGES 1 ")
    c.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    scene.hear(r"\* STATUS @ \(MESSAGES 1 ")
    c.ok("EXPUNGE")
    scene.hear(r"\* STATUS @ \(MESSAGES 0 UIDNEXT 2 ")
    other = Imap(scene.suite, login=BOB)
    other.append("Sent", MESSAGE)        # one's own folders go on being watched
    scene.hear(r"\* STATUS Sent \(MESSAGES ")
    other.ok("SELECT Sent")
    other.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
    other.ok("CLOSE")
    scene.hear(r"\* STATUS Sent \(MESSAGES 0")
    other.close()


def test_while_idling_and_with_another_folder_selected(scene):
    g = scene.guest
    g.ok("NOTIFY SET (subtree %s (MessageNew MessageExpunge))" % scene.other)
    g.ok("SELECT %s/open" % scene.other)
    g.send("i IDLE\r\n")
    assert g.line() == b"+ idling"
    scene.fill()
    scene.hear(r"\* STATUS @ \(MESSAGES 1 ")
    g.send("DONE\r\n")
    assert g.finish("i")[0] == "OK"
    assert any(b"Other/" in l for l in g.ok('LIST "" "Other/*"')) and g.ok("ESEARCH IN (mailboxes %s) RETURN (COUNT) ALL" % scene.other)
    scene.fill()
    scene.hear(r"\* STATUS @ \(MESSAGES 2 ")


def test_nothing_of_what_may_not_be_read(scene):
    g = scene.guest
    assert not any(b"closed" in l for l in g.ok("NOTIFY SET STATUS (subtree %s (MessageNew MessageExpunge MailboxName MailboxMetadataChange))" % scene.other))
    scene.fill("/closed")
    scene.owner.ok('SETMETADATA %s/closed (/shared/comment "x")' % scene.name)
    scene.owner.ok("CREATE %s/closed/below" % scene.name)
    scene.fill("/open")
    scene.hear(r"\* STATUS @/open \(MESSAGES 1 ")
    scene.rights("", "/open")
    scene.fill("/open")
    scene.fill()
    scene.hear(r"\* STATUS @ \(MESSAGES 1 ")
    scene.rights("lr", "/closed")
    scene.fill()        # what may be read is looked at with the next news
    scene.hear(r"\* STATUS @ \(MESSAGES 2 ")
    scene.fill("/closed")
    scene.hear(r"\* STATUS @/closed \(MESSAGES 2 ")


def test_names_and_annotations(scene):
    g, c = scene.guest, scene.owner
    g.ok("NOTIFY SET (subtree %s (MailboxName SubscriptionChange MailboxMetadataChange))" % scene.other)
    c.ok('SETMETADATA %s (/private/comment "secret" /shared/comment "open")' % scene.name)
    assert scene.hear(r"\* METADATA @ ").endswith(" /shared/comment")
    c.ok("SUBSCRIBE %s/open" % scene.name)      # the owner's own affair
    c.ok("UNSUBSCRIBE %s/open" % scene.name)
    c.ok("CREATE %s/open/new" % scene.name)
    scene.hear(r'\* LIST \(\\HasNoChildren\) "/" @/open/new$')
    scene.hear(r'\* LIST \(\\HasChildren\) "/" @/open$')
    c.ok("RENAME %s/open/new %s/open/newer" % (scene.name, scene.name))
    scene.hear(r'\* LIST \(\\HasNoChildren\) "/" @/open/newer \("OLDNAME" \(@/open/new\)\)')


def test_what_the_owner_has_read_is_not_told(scene):
    scene.guest.ok("NOTIFY SET (mailboxes %s (MessageNew MessageExpunge))" % scene.other)
    scene.fill()
    scene.hear(r"\* STATUS @ \(MESSAGES 1 .* UNSEEN 1\)")
    scene.owner.ok("SELECT " + scene.name)
    scene.owner.ok("STORE 1 +FLAGS (\\Seen)")
    scene.fill()
    scene.hear(r"\* STATUS @ \(MESSAGES 2 .* UNSEEN 2\)")


def test_folders_that_may_not_be_seen_are_told_of_by_no_parent(scene):
    g, c = scene.guest, scene.owner
    g.ok("NOTIFY SET (subtree %s (MailboxName MessageNew MessageExpunge))" % scene.other)
    for sub in ("secret", "shown"):
        c.ok("CREATE %s/open/%s" % (scene.name, sub))       # with the rights of the folder above it
        scene.hear(r'\* LIST \(\\HasNoChildren\) "/" @/open/%s$' % sub)
        scene.hear(r'\* LIST \(\\HasChildren\) "/" @/open$')
        if sub == "secret":
            c.ok("DELETEACL %s/open/secret %s" % (scene.name, BOB))
    c.ok("CREATE %s/open/secret/below" % scene.name)
    scene.fill("/open")
    scene.hear(r"\* STATUS @/open \(MESSAGES 1 ")
    c.ok("DELETE %s/open/shown" % scene.name)       # it was watched since
    scene.hear(r'\* LIST \(\\NonExistent \\HasNoChildren\) "/" @/open/shown$')
    scene.hear(r'\* LIST \(\\HasNoChildren\) "/" @/open$')
    c.ok("DELETE %s/open/secret/below" % scene.name)
    c.ok("DELETE %s/open/secret" % scene.name)
    scene.fill("/open")
    scene.hear(r"\* STATUS @/open \(MESSAGES 2 ")


def test_annotations_are_told_of_to_who_may_read_them(scene):
    scene.guest.ok("NOTIFY SET (subtree %s (MailboxMetadataChange))" % scene.other)
    scene.rights("l", "/open")
    for sub in ("/open", ""):
        scene.owner.ok('SETMETADATA %s%s (/shared/comment "x")' % (scene.name, sub))
    scene.hear(r"\* METADATA @ /shared/comment$")


def test_none_ends_it(scene):
    g = scene.guest
    g.ok("NOTIFY SET (mailboxes %s (MessageNew MessageExpunge))" % scene.other)
    scene.fill()
    scene.hear(r"\* STATUS @ ")
    g.ok("NOTIFY NONE")
    scene.fill()
    assert settled(scene) == []
    assert g.ok("NOTIFY SET STATUS (mailboxes %s (MessageNew MessageExpunge))" % scene.other)[0].startswith(("* STATUS %s (MESSAGES 2 " % scene.other).encode())


def test_a_literal_on_its_way_is_not_interrupted(scene):
    g = scene.guest
    big = "Subject: big\r\n\r\n" + "0123456789abcdef\r\n" * 300000
    g.ok("CREATE big-" + scene.name)
    g.append("big-" + scene.name, big)
    g.ok("NOTIFY SET (mailboxes %s (MessageNew MessageExpunge))" % scene.other)
    g.ok("SELECT big-" + scene.name)
    g.send("f FETCH 1 BODY.PEEK[]\r\n")     # 5 MB, of which nothing is read yet
    for _ in range(5):
        scene.fill()
    status, _, got = g.finish("f")
    assert status == "OK" and got[0] == b"* 1 FETCH (BODY[] {%d}\r\n%s)" % (len(big), big.encode())
    told = got[1:]
    while not any(b"(MESSAGES 5 " in l for l in told):
        told.append(g.line())
    assert all(l.startswith(b"* STATUS " + scene.other.encode()) for l in told), told
    g.ok("CLOSE")
    g.ok("DELETE big-" + scene.name)


@pytest.mark.parametrize("whose", ["own", "another's"])
@pytest.mark.parametrize("change", ["CREATE %s/open/new", 'SETMETADATA %s/open (/shared/comment "x")'])
def test_names_and_annotations_are_not_told_within_a_literal(scene, whose, change):
    """Else the end of the message that is being read would be taken for what the server says."""
    big = "Subject: big\r\n\r\n" + "0123456789abcdef\r\n" * 300000
    scene.fill()
    scene.owner.append(scene.name, big)
    other = Imap(scene.suite, login=ALICE if whose == "own" else BOB)
    reader = Imap(scene.suite, login=ALICE if whose == "own" else BOB)
    if whose != "own":
        for sub in ("", "/open", "/closed"):
            reader.ok("CREATE %s%s" % (scene.name, sub))
    reader.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    reader.ok("NOTIFY SET (subtree %s (MailboxName SubscriptionChange MailboxMetadataChange))" % scene.name)
    reader.ok("SELECT " + (scene.name if whose == "own" else scene.other))
    reader.send("f FETCH 2 BODY.PEEK[]\r\n")
    while b"{%d}" % len(big) not in reader.data:        # it is on its way, and not yet in any buffer to its end
        reader.more()
    other.ok(change.replace("%s", scene.name))
    status, _, got = reader.finish("f")
    assert status == "OK" and got[0] == b"* 2 FETCH (BODY[] {%d}\r\n%s)" % (len(big), big.encode())
    told = [l for l in got[1:] if re.match(rb"\* (LIST|METADATA) ", l)] or [reader.line()]
    assert re.match((r"\* (LIST \(.*\) \"/\"|METADATA) %s/" % scene.name).encode(), told[0]), told
    reader.ok("UNSELECT")
    if whose != "own":
        for l in other.ok('LIST "" "%s*"' % scene.name)[::-1]:
            other.ok("DELETE " + l.decode().split(" ")[-1])
        other.ok("UNSUBSCRIBE %s/open" % scene.name)
    reader.close()
    other.close()


def test_the_owners_process_ends(scene):
    g = scene.guest
    g.ok("NOTIFY SET (mailboxes %s (MessageNew MessageExpunge)) (mailboxes INBOX (MessageNew MessageExpunge))" % scene.other)
    scene.fill()
    scene.hear(r"\* STATUS @ ")
    os.kill([p[0] for p in scene.suite.processes() if p[3] == "imapd: session %s" % ALICE][0], signal.SIGKILL)
    other = Imap(scene.suite, login=BOB)
    other.append("INBOX", MESSAGE)
    scene.hear(r"\* STATUS INBOX ")
    other.close()
    scene.owner = Imap(scene.suite, login=ALICE)


@pytest.mark.parametrize("names", ["Other/nobody@example.com/x", "Other/%s/nothing" % ALICE, "(Other/nobody@example.com/x Other/%s/nothing INBOX)" % ALICE])
def test_what_is_not_there_is_passed_over(scene, names):
    scene.guest.ok("NOTIFY SET STATUS (mailboxes %s (MessageNew MessageExpunge))" % names)
    assert scene.guest.ok("NOOP") == []


def test_too_many_owners(scene):
    names = " ".join("Other/nobody%d@example.com/x" % n for n in range(9))
    scene.guest.no("NOTIFY SET (mailboxes (%s) (MessageNew MessageExpunge))" % names, "NOTIFICATIONOVERFLOW")
    assert scene.guest.ok("NOOP") == []


def test_too_much_of_one_owner_is_no_end_of_the_others(scene):
    c, g = scene.owner, scene.guest
    for n in range(57):     # with the two that there are: all but one that a connection may watch
        c.ok("CREATE %s/open/%d" % (scene.name, n))
    g.ok("NOTIFY SET (subtree %s (MessageNew MessageExpunge)) (mailboxes INBOX (MessageNew MessageExpunge))" % scene.other)
    scene.fill()
    scene.hear(r"\* STATUS @ \(MESSAGES 1 ")
    for n in (57, 58):
        c.ok("CREATE %s/open/%d" % (scene.name, n))
    scene.fill()
    scene.hear(r"\* NO .*: too much to watch")
    other = Imap(scene.suite, login=BOB)
    other.append("INBOX", MESSAGE)
    scene.hear(r"\* STATUS INBOX ")
    other.close()


def test_another_users_answers_are_waited_for_by_nobody_else(scene):
    """A process that stands still keeps the NOTIFY, and no other connection."""
    pid = [p[0] for p in scene.suite.processes() if p[3] == "imapd: session %s" % ALICE][0]
    other = Imap(scene.suite, login=BOB)
    os.kill(pid, signal.SIGSTOP)
    try:
        scene.guest.send("n NOTIFY SET (mailboxes %s (MessageNew MessageExpunge))\r\nm NOOP\r\n" % scene.other)
        other.ok("STATUS INBOX (MESSAGES)")
        assert scene.guest.data == b""
    finally:
        os.kill(pid, signal.SIGCONT)
    assert scene.guest.finish("n")[0] == "OK" and scene.guest.finish("m")[0] == "OK"
    other.close()


# --- the selected mailbox is another user's ---

EVENTS = "(MessageNew (UID BODY.PEEK[TEXT]) MessageExpunge FlagChange)"


def told(g):
    """The next response but RECENT: who of all sees a message first is open."""
    line = g.line()
    return told(g) if line.endswith(b" RECENT") else line


def selected_tells(scene):
    g, c = scene.guest, scene.owner
    scene.fill()
    assert [told(g) for _ in range(2)] == [b"* 1 EXISTS", b"* 1 FETCH (UID 1 BODY[TEXT] {6}\r\ntext\r\n)"]
    c.ok("SELECT " + scene.name)
    c.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    line = g.line()
    while not line.startswith(b"* 1 FETCH (UID 1 FLAGS ("):
        line = g.line()
    c.ok("EXPUNGE")
    while line != b"* 1 EXPUNGE":
        line = g.line()


@pytest.mark.parametrize("first", ["NOTIFY", "SELECT"])
def test_selected(scene, first):
    commands = ["NOTIFY SET (selected %s)" % EVENTS, "SELECT " + scene.other]
    for command in commands if first == "NOTIFY" else commands[::-1]:
        scene.guest.ok(command)
    selected_tells(scene)
    # another folder of the same owner, and one's own
    scene.guest.ok("SELECT %s/open" % scene.other)
    scene.fill()
    scene.fill("/open")
    assert [told(scene.guest) for _ in range(2)] == [b"* 1 EXISTS", b"* 1 FETCH (UID 1 BODY[TEXT] {6}\r\ntext\r\n)"]
    scene.guest.ok("NOTIFY NONE")
    scene.fill("/open")
    assert not any(b"EXISTS" in l for l in scene.guest.ok("NOOP"))
    scene.guest.ok("SELECT Archive")
    assert scene.guest.ok("NOOP") == []


def test_selected_delayed_keeps_numbers(scene):
    g, c = scene.guest, scene.owner
    scene.fill()
    scene.fill()
    g.ok("SELECT " + scene.other)
    g.ok("NOTIFY SET (selected-delayed (MessageNew MessageExpunge))")
    c.ok("SELECT " + scene.name)
    c.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    scene.fill()
    assert told(g) == b"* 3 EXISTS"
    assert any(l.startswith(b"* 2 FETCH (UID 2") for l in g.ok("FETCH 2 (UID)"))
    assert b"* 1 EXPUNGE" in g.ok("NOOP")


def test_what_is_told_unasked_is_not_told_into_other_answers(scene):
    """Messages come with their text, while the client asks for what is answered in steps, here and by that process."""
    g = scene.guest
    for n in range(3):
        g.ok("CREATE %s-%d" % (scene.name, n))
        for _ in range(20):
            g.append("%s-%d" % (scene.name, n), MESSAGE)
    g.ok("SELECT " + scene.other)
    g.ok("NOTIFY SET (selected %s) (mailboxes %s/open (MessageNew MessageExpunge))" % (EVENTS, scene.other))
    heard, told = 0, []
    commands = ["ESEARCH IN (subtree %s-1 personal) RETURN (ALL) ALL" % scene.name, 'LIST "" "*" RETURN (STATUS (MESSAGES))', "FETCH 1:* (UID BODY.PEEK[])",
                "ESEARCH IN (mailboxes (%s %s/open)) RETURN (ALL) ALL" % (scene.other, scene.other), "STATUS %s (MESSAGES)" % scene.other]
    for turn in range(40):
        scene.owner.send("".join("a%d.%d APPEND %s {%d+}\r\n%s\r\n" % (turn, n, scene.name + sub, len(MESSAGE), MESSAGE) for n, sub in enumerate(("", "/open", ""))))
        status, line, got = g.cmd(commands[turn % len(commands)])
        assert status == "OK", line
        told += got
        scene.owner.finish("a%d.2" % turn)
    told += g.ok("NOOP")
    while heard < 80:
        heard = max([heard] + [int(l.split()[1]) for l in told if l.endswith(b" EXISTS")])
        if heard < 80:
            told = [g.line()]
    form = re.compile(rb"\* (\d+ (EXISTS|RECENT|FETCH \(.*\))|ESEARCH \(TAG .*\) UID.*|LIST \(.*\) \"/\" \S+|STATUS \S+ \(.*\)|FLAGS \(.*\)|OK \[.*)$", re.S)
    assert not [l for l in told if not form.match(l)]
    g.ok("UNSELECT")
    for n in range(3):
        g.ok("DELETE %s-%d" % (scene.name, n))
