"""A mailbox of Debian's Dovecot: taken over in place with UIDs, flags, keywords, subscriptions and POP3 ids, changed here, handed back, changed there, and
taken over again."""
import imaplib
import json
import os
import poplib
import subprocess
import time

import pytest

pytestmark = pytest.mark.skipif(not os.path.exists("/usr/lib/dovecot/imap"), reason="Dovecot is not installed")

FOLDERS = ("INBOX", "Work", "Work.Clients", "R&AOk-union.Sous", "Odd &- end")


class Dovecot:
    """Its imap and pop3 programs as the user, on a pipe: what it does to the files is the same, and no port is taken."""

    def __init__(self, user, separator=".", **settings):
        self.user = user
        st = user.root.stat()
        self.ids = {"user": st.st_uid, "group": st.st_gid, "extra_groups": []}
        self.conf = user.root.parent / "dovecot.conf"       # where the user may read it
        lines = {"protocols": "imap pop3", "ssl": "no", "mail_location": "maildir:%s" % user.root, "base_dir": str(user.root.parent / "base"), "log_path": str(user.root.parent / "dovecot.log"),
                 "pop3_uidl_format": "%08Xu%08Xv", "mail_uid": st.st_uid, "mail_gid": st.st_gid, **settings}
        self.conf.write_text("\n".join("%s = %s" % x for x in lines.items()) + "\nnamespace inbox {\n inbox = yes\n separator = %s\n}\n" % separator)
        os.chmod(self.conf, 0o644)

    def start(self, program):
        env = {"HOME": str(self.user.root), "USER": self.user.name, "PATH": "/usr/bin:/bin", "CONFIG_FILE": str(self.conf)}
        return subprocess.Popen(["/usr/lib/dovecot/" + program, "-c", str(self.conf)], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, cwd="/", **self.ids)

    def imap(self):
        return Piped(self.start("imap"))

    def uidls(self):
        p = self.start("pop3")
        out, _ = p.communicate(b"UIDL\r\nQUIT\r\n", timeout=30)
        return [line.split()[1].decode() for line in out.splitlines() if line[:1].isdigit()]


class Piped(imaplib.IMAP4):
    def __init__(self, process):
        self.process = process
        super().__init__()

    def open(self, host="", port=0, timeout=None):
        self.host, self.port, self.sock = None, None, None
        self.readfile, self.writefile = self.process.stdout, self.process.stdin

    def read(self, size):
        return self.readfile.read(size)

    def readline(self):
        return self.readfile.readline()

    def send(self, data):
        self.writefile.write(data)
        self.writefile.flush()

    def shutdown(self):
        self.writefile.close()
        self.process.wait(timeout=30)


def snapshot(c, folder):
    """UIDVALIDITY and {uid: (flags, first header line)}"""
    typ, data = c.select('"%s"' % folder, readonly=True)
    assert typ == "OK", (folder, data)
    validity = c.response("UIDVALIDITY")[1][0]
    typ, data = c.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    out = {}
    for d in data or ():
        if isinstance(d, tuple):
            uid = int(d[0].split(b"UID ")[1].split()[0].rstrip(b")"))
            out[uid] = (frozenset(imaplib.ParseFlags(d[0])) - {b"\\Recent"}, d[1].strip())
    c.close()
    return validity, out


def subscriptions(c, separator):
    return {line.decode().split(' "%s" ' % separator)[1].strip('"') for line in c.lsub()[1] if line}


def everything(c, separator):
    return {f: snapshot(c, f.replace(".", separator)) for f in FOLDERS}


def put(c, folder, n, flags="", keywords=""):
    typ, data = c.append('"%s"' % folder, "(%s)" % " ".join(x for x in (flags, keywords) if x), None, b"Subject: %d\r\n\r\nbody\r\n" % n)
    assert typ == "OK", data


def fill(c):
    for f in FOLDERS[1:]:
        assert c.create('"%s"' % f)[0] == "OK"
        c.subscribe('"%s"' % f)
    c.subscribe("INBOX")
    c.subscribe("Gone.away")
    for i in range(12):
        put(c, "INBOX", i, "\\Seen" if i % 2 else "", "$Label%d" % (i % 3))
    for n, f in enumerate(FOLDERS[1:]):
        put(c, f, n, "\\Flagged \\Draft", "Work")
        put(c, f, 100 + n, "\\Answered \\Deleted")
    c.select("INBOX")
    c.store("2,5", "+FLAGS", "\\Deleted")
    c.expunge()
    c.copy("1", "Work")
    c.close()


@pytest.fixture
def moved_in(user):
    user.make_root()
    d = Dovecot(user)
    c = d.imap()
    fill(c)
    (user.root / "new" / "1000000000.M1P1.elsewhere").write_bytes(b"Subject: new\n\nx\n")
    os.chown(user.root / "new" / "1000000000.M1P1.elsewhere", d.ids["user"], d.ids["group"])
    state = everything(c, ".")
    state["subs"] = subscriptions(c, ".")
    c.logout()
    state["uidls"] = d.uidls()
    return d, state


def pop3(user):
    context = user.suite.tls_context()
    context.check_hostname = False
    p = poplib.POP3_SSL(user.suite.host, user.suite.port("POP3S"), context=context)
    p.user(user.name)
    p.pass_(user.password)
    return p


def end_sessions(user):
    """As the manual asks, before another server works on the files."""
    user.suite.tool("postern-user", "passwd", user.name, "--password-stdin", input=user.password.encode())
    end = time.monotonic() + 30
    while "session " + user.name in subprocess.run(["ps", "axww"], capture_output=True).stdout.decode():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_there_and_back(user, moved_in):
    d, before = moved_in
    c = user.imap(None)
    assert everything(c, "/") == {f: before[f] for f in FOLDERS}
    assert subscriptions(c, "/") == {s.replace(".", "/") for s in before["subs"]}
    p = pop3(user)
    assert [x.split()[1].decode() for x in p.uidl()[1]] == before["uidls"] and len(before["uidls"]) == 11
    p.quit()
    # changed here
    c.select("INBOX")
    c.store("1", "FLAGS", "(\\Seen Fresh $Label2)")
    c.store("2", "-FLAGS", "($Label0 $Label1 $Label2)")
    c.store("3", "+FLAGS", "\\Deleted")
    c.expunge()
    put(c, "INBOX", 77, "\\Flagged", "Fresh")
    c.create('"Made here"')
    c.subscribe('"Made here"')
    put(c, "Made here", 5, "\\Seen")
    here = everything(c, "/")
    made = snapshot(c, "Made here")
    c.logout()
    end_sessions(user)
    user.suite.tool("postern-mailbox", "flush", user.name)
    # and there
    c = d.imap()
    assert everything(c, ".") == here
    assert snapshot(c, "Made here") == made
    assert subscriptions(c, ".") == before["subs"] | {"Made here"}
    c.select("INBOX")
    c.store("1", "-FLAGS", "(Fresh)")
    c.store("1", "+FLAGS", "(\\Answered There)")
    put(c, "INBOX", 88, "", "There")
    c.close()
    there = everything(c, ".")
    c.logout()
    uidls = d.uidls()
    # and here again
    c = user.imap(None)
    assert everything(c, "/") == there
    c.logout()
    p = pop3(user)
    assert [x.split()[1].decode() for x in p.uidl()[1]] == uidls
    p.quit()
    assert user.suite.tool("postern-mailbox", "-q", "check", user.name, check=False).returncode == 0


def test_pop3_ids_that_dovecot_saved(user, moved_in):
    """pop3_save_uidl writes them into dovecot-uidlist (P): they win over the format."""
    d, before = moved_in
    text = (user.root / "dovecot-uidlist").read_text().splitlines()
    lines = [text[0]] + [l.replace(" :", " Psaved-%d O%d :" % (i, 100 - i), 1) for i, l in enumerate(text[1:])]
    (user.root / "dovecot-uidlist").write_text("\n".join(lines) + "\n")
    theirs = d.uidls()
    assert theirs[0].startswith("saved-")
    p = pop3(user)
    assert [x.split()[1].decode() for x in p.uidl()[1]] == theirs
    p.quit()
    user.suite.tool("postern-mailbox", "flush", user.name)
    assert d.uidls() == theirs


def test_more_keywords_than_letters_are_said(user, moved_in):
    d, _ = moved_in
    c = user.imap()
    for i in range(30):
        c.store("1", "+FLAGS", "(word%d)" % i)
    c.logout()
    out = user.suite.tool("postern-mailbox", "flush", user.name).stdout.decode()
    assert "1 messages have keywords for which Dovecot has no letter left" in out
    c = d.imap()
    flags = snapshot(c, "INBOX")[1][1][0]
    c.logout()
    assert len(flags) == 24     # $Label0 and 23; two letters are other messages'


# --- LAYOUT=fs: a source, never a mailbox in its place ---

def test_a_tree_of_layout_fs_is_copied(user):
    """Folders in folders, names with dots, a level without mail: with UIDs, flags, keywords and what was subscribed; twice takes nothing twice."""
    user.make_root()
    source = user.root.parent / "fs"
    source.mkdir(mode=0o700)
    st = user.root.stat()
    os.chown(source, st.st_uid, st.st_gid)
    d = Dovecot(user, separator="/", mail_location="maildir:%s:LAYOUT=fs" % source)
    c = d.imap()
    folders = ("INBOX", "Work", "Work/Clients", "Work/Clients/v1.2", "R&AOk-union/Sous", "Only level/below")
    for f in folders[1:]:
        assert c.create('"%s"' % f)[0] == "OK"
        put(c, f, 1, "\\Flagged", "Work")
    for n in range(5):
        put(c, "INBOX", n, "\\Seen" if n % 2 else "", "$Label%d" % (n % 3))
    c.select("INBOX")
    c.store("2", "+FLAGS", "\\Deleted")
    c.expunge()
    for f in ("Work", "Work/Clients/v1.2", "R&AOk-union/Sous"):
        c.subscribe('"%s"' % f)
    before = {f: snapshot(c, f) for f in folders}
    c.logout()
    assert (source / "Work" / "Clients" / "v1.2" / "cur").is_dir() and not (source / "Only level" / "cur").exists(), "this is that layout"
    rows = user.run("maildir", source)
    assert {r["note"] for r in rows.values() if r["folder"] == "-"} == {"a folder of --layout fs"} and "Work" not in rows, rows
    rows = user.run("maildir", "--layout", "fs", source)
    ours = {f: f.replace("R&AOk-union", "R\u00e9union") for f in folders}
    assert set(rows) == set(ours.values()) and sum(r["failed"] for r in rows.values()) == 0, rows
    m = user.imap(None)
    for f in folders:
        assert snapshot(m, f) == (before[f] if f != "INBOX" else (snapshot(m, f)[0], before[f][1])), f
    assert subscriptions(m, "/") >= {"Work", "Work/Clients/v1.2", "R&AOk-union/Sous"} and not subscriptions(m, "/") & {"Work/Clients", "Only level/below"}
    m.logout()
    again = user.run("maildir", "--layout", "fs", source)
    assert sum(r["imported"] for r in again.values()) == 0 and sum(r["known"] for r in again.values()) == sum(r["found"] for r in again.values()) == 9
    user.run("maildir", "--layout", "mbox", source, code=64)
    user.run("tree", "--layout", "fs", source, code=64)


@pytest.mark.parametrize("layout", ("maildir++", "fs"))
def test_what_is_no_maildir_is_said(user, tmp_path, layout):
    """Dovecot's other forms, and an empty or wrong directory: no report of nothing found, with status 0."""
    def refused(what):
        p = user.suite.tool("postern-import", "maildir", "--user", user.name, "--layout", layout, str(tmp_path / what), check=False)
        assert p.returncode == 75, (p.returncode, p.stdout, p.stderr)
        return p.stdout.decode()
    for form in ("sdbox", "mdbox"):
        mails = tmp_path / form / "mailboxes/INBOX/dbox-Mails"
        mails.mkdir(parents=True)
        (mails / "u.1").write_bytes(b"2 M1e C5f0\n\001\002N                0000000e\nSubject: a\n\nb\n\n\001\003\nR5f0\n\n")
        assert "sdbox or mdbox" in refused(form)
    (tmp_path / "wrong" / "letters").mkdir(parents=True)
    assert "no maildir" in refused("wrong")
    # in a home what is of that form is named, its files are not taken one by one
    (tmp_path / "home").mkdir()
    (tmp_path / "sdbox").rename(tmp_path / "home" / "mail")
    p = user.suite.tool("postern-import", "--json", "tree", "--user", user.name, str(tmp_path / "home"))
    rows = [json.loads(line) for line in p.stdout.decode().splitlines() if line.startswith("{")]
    assert ["sdbox or mdbox" in r["source"] + r.get("note", "") for r in rows if r["skipped"]] == [True]


def test_a_tree_of_layout_fs_is_converted_in_its_place(user):
    """The INBOX is taken over as it is, the folders are copied to where they belong; what comes there later comes with the next run, and twice takes nothing twice."""
    user.make_root()
    d = Dovecot(user, separator="/", mail_location="maildir:%s:LAYOUT=fs" % user.root)
    c = d.imap()
    folders = ("INBOX", "Work", "Work/Clients")
    for n, f in enumerate(folders):
        assert f == "INBOX" or c.create(f)[0] == "OK"
        for k in range(3 + n):
            put(c, f, k, "\\Seen" if k % 2 else "", "Work")
        c.subscribe(f)
    before = {f: snapshot(c, f) for f in folders}
    c.logout()
    rows = user.run("maildir", "--layout", "fs", user.root)
    assert set(rows) == set(folders) and rows["INBOX"]["imported"] == rows["INBOX"]["failed"] == 0 and rows["INBOX"]["note"] == "stays in its place", rows
    assert [rows[f]["imported"] for f in folders[1:]] == [4, 5]
    m = user.imap(None)
    assert {f: snapshot(m, f) for f in folders} == before and subscriptions(m, "/") >= set(folders)
    m.logout()
    c = d.imap()
    put(c, "Work", 9, "\\Flagged")
    c.logout()
    again = user.run("maildir", "--layout", "fs", user.root)
    assert set(again) == set(folders) and [again[f]["imported"] for f in folders] == [0, 1, 0], again
    m = user.imap(None)
    assert [len(snapshot(m, f)[1]) for f in folders] == [3, 5, 5]
    m.logout()


def test_a_tree_in_its_place_is_not_copied_into_itself(user, moved_in):
    d, before = moved_in
    rows = user.run("maildir", user.root)
    assert sum(r["imported"] for r in rows.values()) == 0 and {r["note"] for r in rows.values()} == {"stays in its place"}, rows
    m = user.imap(None)
    for f in FOLDERS[1:]:
        assert len(snapshot(m, f.replace(".", "/"))[1]) == len(before[f][1])
    m.logout()
