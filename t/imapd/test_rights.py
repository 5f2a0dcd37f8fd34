"""RFC 4314 section 4, right by right: what each command of a guest needs, that this is enough, and what is answered where it is missing."""
import pytest

from imapshared import ALICE, BOB, MESSAGE, Shared, fixture

ALL = "lrswipkxtea"

# (command, what it needs, what must be selected first). %s is the folder; TEXT a message of three bytes.
TABLE = [
    ("SELECT %s", "r", None), ("EXAMINE %s", "r", None), ("STATUS %s (MESSAGES)", "r", None), ("CREATE %s/new", "k", None), ("DELETE %s", "x", None),
    ("RENAME %s/sub %s/other", "k", None), ("SETACL %s fred lr", "a", None), ("DELETEACL %s fred", "a", None), ("GETACL %s", "a", None), ("LISTRIGHTS %s fred", "a", None),
    ("APPEND %s {3+}\r\nx\r\n", "i", None), ("GETQUOTAROOT %s", "r", None), ("GETMETADATA %s /shared/comment", "r", None),
    ('SETMETADATA %s (/shared/comment "x")', "rw", None), ("COPY 1 %s", "i", "INBOX"), ("MOVE 1 %s", "i", "INBOX"),
    ("FETCH 1 BODY[]", "r", "%s"), ("SEARCH ALL", "r", "%s"), ("SORT (DATE) UTF-8 ALL", "r", "%s"), ("COPY 1 INBOX", "r", "%s"), ("CLOSE", "r", "%s"), ("UNSELECT", "r", "%s"),
    ("STORE 1 +FLAGS (\\Seen)", "rs", "%s"), ("STORE 1 +FLAGS (\\Deleted)", "rt", "%s"), ("STORE 1 +FLAGS (\\Flagged)", "rw", "%s"), ("STORE 1 +FLAGS ($Label1)", "rw", "%s"),
    ("STORE 1 +FLAGS (\\Answered)", "rw", "%s"), ("STORE 1 -FLAGS (\\Draft)", "rw", "%s"), ("EXPUNGE", "re", "%s"), ("UID EXPUNGE 1:2", "re", "%s"),
    ("MOVE 1 INBOX", "rte", "%s"), ("REPLACE 1 %s {3+}\r\nx\r\n", "rite", "%s"),
]


class Scene(Shared):
    def __init__(self, suite):
        super().__init__(suite, "rights")
        for folder in (self.name, self.name + "/sub"):
            self.owner.ok("CREATE " + folder)
        self.owner.append(self.name, MESSAGE)
        self.owner.append(self.name, MESSAGE)
        self.guest.append("INBOX", MESSAGE)
        self.owner.ok("SETACL %s/sub %s %s" % (self.name, BOB, ALL))

    def rights(self, rights):
        self.owner.ok('SETACL %s %s "%s"' % (self.name, BOB, rights))

    def run(self, command, selected):
        """The answer, as a guest gives the command now."""
        if selected:
            status, line, _ = self.guest.cmd("SELECT " + selected.replace("%s", self.other))
            if status != "OK":
                return line
        return self.guest.cmd(command.replace("%s", self.other))[1]


scene = fixture(Scene)


@pytest.mark.parametrize("command, needs, selected", TABLE, ids=[row[0].split("\r")[0].replace("%s", "folder") + (" of " + row[2].replace("%s", "folder") if row[2] else "")
                                                                for row in TABLE])
def test_what_a_command_needs(scene, command, needs, selected):
    for missing in needs:
        scene.rights(ALL.replace(missing, ""))
        assert scene.run(command, selected).startswith("NO [NOPERM]"), (command, missing)
        assert scene.guest.cmd("UNSELECT")[0] in ("OK", "BAD")
    scene.rights("")
    hidden = scene.run(command, selected)
    if command.startswith(("CREATE", "RENAME")):        # what is not there has no parent to be created below, either
        assert hidden.startswith("NO [NOPERM]") and hidden == scene.guest.cmd("CREATE Other/%s/nothing/new" % ALICE)[1]
    else:
        assert hidden.split("]")[0] in ("NO [NONEXISTENT", "NO [TRYCREATE"), command
    assert scene.guest.cmd("UNSELECT")[0] in ("OK", "BAD")
    scene.rights(needs)     # not even "l": it is for LIST
    assert scene.run(command, selected).startswith("OK"), command


def test_list_needs_l(scene):
    listed = lambda: any(l.endswith(b"/" + scene.name.encode()) and b"\\Noselect" not in l for l in scene.guest.ok('LIST "" "Other/*"'))
    scene.rights(ALL.replace("l", ""))
    assert not listed()
    scene.rights("l")
    assert listed()
    # with l it is known to be there, and no more
    assert scene.guest.cmd("SELECT " + scene.other)[1].startswith("NO [NOPERM]")


@pytest.mark.parametrize("right", "lrikxa")
def test_myrights_needs_any_of_these(scene, right):
    scene.rights(right)
    assert scene.guest.ok("MYRIGHTS " + scene.other)[0].decode().split(" ")[3][0] == right


@pytest.mark.parametrize("right", "swtep")
def test_myrights_needs_more_than_these(scene, right):
    scene.rights(right)
    scene.guest.no("MYRIGHTS " + scene.other, "NONEXISTENT")


def test_rename_needs_x_of_the_folder_and_k_of_its_new_parent(scene):
    scene.rights(ALL)
    scene.owner.ok("SETACL %s/sub %s %s" % (scene.name, BOB, ALL.replace("x", "")))
    assert scene.run("RENAME %s/sub %s/other", None).startswith("NO [NOPERM]")
    scene.owner.ok("SETACL %s/sub %s x" % (scene.name, BOB))
    scene.rights("k")
    assert scene.run("RENAME %s/sub %s/other", None).startswith("OK")


def test_c_and_d_stand_for_several(scene):
    """Section 2.1.1: c is k and x here, d is t and e."""
    scene.rights("rd")
    assert scene.guest.ok("MYRIGHTS " + scene.other)[0].endswith(b" rted")
    for command in ("STORE 1 +FLAGS (\\Deleted)", "EXPUNGE", "MOVE 1 INBOX"):
        assert scene.run(command, "%s").startswith("OK"), command
    scene.guest.ok("UNSELECT")
    scene.rights("c")
    assert scene.guest.ok("MYRIGHTS " + scene.other)[0].endswith(b" kxc")
    assert scene.run("CREATE %s/new", None).startswith("OK") and scene.run("DELETE %s", None).startswith("OK")


def test_close_and_fetch_do_without(scene):
    """CLOSE without e expunges nothing, a FETCH without s sets no \\Seen: neither fails."""
    scene.rights("rwt")
    assert scene.run("STORE 1 +FLAGS (\\Deleted)", "%s").startswith("OK")
    scene.guest.ok("FETCH 1:2 BODY[]")
    assert b"\\Seen" not in b"".join(scene.guest.ok("FETCH 1:2 FLAGS"))
    scene.guest.ok("CLOSE")
    assert b"MESSAGES 2" in scene.owner.ok("STATUS %s (MESSAGES)" % scene.name)[0]


@pytest.mark.parametrize("rights, kept", [("rwis", [{"\\Draft"}, {"\\Answered"}, {"$Forwarded", "\\Seen"}]), ("rsti", [{"\\Deleted"}, set(), {"\\Seen"}])])
def test_copies_keep_the_flags_that_may_be_set(scene, rights, kept):
    """The example of section 4, with COPY and with APPEND."""
    given = ["\\Draft \\Deleted", "\\Answered", "$Forwarded \\Seen"]
    guest = scene.guest
    guest.ok("CREATE " + scene.name)
    for flags in given:
        guest.append(scene.name, MESSAGE, "(%s) " % flags)
    guest.ok("SELECT " + scene.name)
    scene.rights(rights)
    guest.ok("COPY 1:3 " + scene.other)
    for flags in given:
        guest.append(scene.other, MESSAGE, "(%s) " % flags)
    guest.ok("SELECT " + scene.other)
    got = [set(l.decode().split("(")[2].split(")")[0].split()) - {"\\Recent"} for l in guest.ok("FETCH 3:8 FLAGS") if b" FETCH " in l]
    assert got == kept + kept
    guest.ok("UNSELECT")
    guest.ok("DELETE " + scene.name)


def test_store_that_may_set_one_of_its_flags_does_not_fail(scene):
    scene.rights("rt")
    assert scene.run("STORE 1 +FLAGS (\\Seen \\Deleted \\Flagged)", "%s").startswith("OK")
    flags = b"".join(scene.guest.ok("FETCH 1 FLAGS"))
    assert b"\\Deleted" in flags and b"\\Flagged" not in flags and b"\\Seen" not in flags
