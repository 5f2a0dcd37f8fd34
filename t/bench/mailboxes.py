"""The servers of the mailbox bench, each with its copy of the folder."""
import itertools
import os
import pathlib
import shutil
import signal
import time

from mailclient import USER, Client, Meaningless, timed
from peers import DOMAIN, PASSWORD, SCRATCH, Cyrus, Dovecot, Group, Postern, chosen, lib

MKMAIL = lib.ROOT / "build" / "release" / "x" / "mkmail"


class Box:
    """A server with its copy of the folder."""
    numbers = itertools.count(1)
    remark = ""     # above the table

    def __init__(self, peer, maildir, files):
        self.peer, self.maildir, self.files = peer, maildir, files
        self.folder = None      # made by a row for itself

    def start(self):
        self.peer.start()
        c = Client(self.peer)      # processes that start with the first connection have started
        c.close()

    def restart(self, wipe=False):
        self.stop()
        if wipe:
            self.wipe()
        self.peer.group = Group(self.peer.name.split()[0])
        self.start()

    def stop(self):
        self.peer.stop()

    def wipe(self):
        for f in self.maildir.glob(self.files):
            if f.is_file():
                f.unlink()

    def forget(self):
        """The server knows no more than what the first SELECT tells it."""
        self.restart(wipe=True)
        self.selected().close()
        self.quiet()

    def make_folder(self, name, messages=0, total=0):
        """self.folder, with a name that was not there; with copies of INBOX's first messages until there are so many. total: messages in INBOX."""
        self.folder = "%s%d" % (name, next(Box.numbers))
        c = self.selected()
        c.cmd("CREATE " + self.folder)
        while messages > 0:
            some = min(messages, total)
            c.cmd("COPY 1:%d %s" % (some, self.folder))
            messages -= some
        c.close()

    def unsearched(self):
        """There is no search index."""
        self.forget()

    def searchable(self):
        """An index for searches that the server does not make by itself is there; how it came to be, in words."""
        return ""

    def search_bytes(self):
        """The size of the search index, or None."""
        return None

    def quiet(self):
        """No process is left that served a connection: the next one has only what is in files."""
        end = time.monotonic() + 60
        while any(self.serves(pid) for pid in self.peer.group.pids()):
            if time.monotonic() > end:
                raise TimeoutError("a session of %s does not end" % self.peer.name)
            time.sleep(0.05)

    @staticmethod
    def serves(pid):
        try:
            return os.path.basename(os.readlink("/proc/%d/exe" % pid)) in ("imap", "imap-session")
        except OSError:
            return False

    def selected(self, name="INBOX", tls=False):
        c = Client(self.peer, tls=tls)
        c.cmd("SELECT " + name)
        return c


class PosternBox(Box):
    def search_bytes(self):
        return sum(f.stat().st_size for f in self.maildir.glob("postern.search*"))


class CyrusBox(Box):
    """No maildir: the messages are copies with CRLF in its spool, which "reconstruct" reads. What other servers find out at a first SELECT or FETCH is written when
    mail comes, so there is no state without it."""
    remark = ("cyrus: what it knows of a message is written when mail comes: rows that begin without an index have no meaning for it. Indexed searches have a SQUAT index, "
              "which an administrator has made by squatter (Debian's default: none); searches without one are those of its default.")

    def __init__(self, peer, base):
        super().__init__(peer, None, None)
        self.peer.start()
        Client(peer).close()                    # the first login makes INBOX
        user = USER.split("@")[0]
        spool = pathlib.Path(peer.tool("mbpath", "user." + user).strip())
        names = sorted(os.listdir(base / "cur"), key=lambda name: int(name.split(".")[0]))
        for uid, name in enumerate(names, 1):
            old, new = base / "cur" / name, spool / ("%d." % uid)
            new.write_bytes(old.read_bytes().replace(b"\n", b"\r\n"))
            when = old.stat().st_mtime
            os.utime(new, (when, when))         # the INTERNALDATE that it gets
        lib.run(["chown", "-R", "cyrus:mail", spool])
        peer.tool("reconstruct", "-q", "user." + user)
        c = self.selected()
        c.cmd("STORE 1:* +FLAGS.SILENT (\\Seen)")
        unseen = [str(uid) for uid, name in enumerate(names, 1) if not name.endswith("S")]
        for k in range(0, len(unseen), 1000):
            c.cmd("STORE %s -FLAGS.SILENT (\\Seen)" % ",".join(unseen[k:k + 1000]))
        c.close()
        self.spool, self.user = spool, user
        self.stop()
        peer.group = Group(peer.name)

    def wipe(self):
        raise Meaningless

    def restart(self, wipe=False):
        if wipe:
            self.wipe()
        super().restart()

    def forget(self):
        self.wipe()

    def unsearched(self):
        (self.spool / "cyrus.squat").unlink(missing_ok=True)
        self.peer.search_engine("none")
        self.restart()

    def searchable(self):
        self.peer.search_engine("squat")
        seconds, _ = timed(lambda: self.peer.tool("squatter", "user." + self.user))
        self.restart()
        return "squatter: %.1f s" % seconds

    def search_bytes(self):
        return (self.spool / "cyrus.squat").stat().st_size

    def quiet(self):
        """Its processes wait for more connections: they are told to end."""
        for pid in self.peer.group.pids():
            if self.serves(pid):
                try:
                    os.kill(pid, signal.SIGTERM)
                except ProcessLookupError:
                    pass
        super().quiet()

    @staticmethod
    def serves(pid):
        try:
            return os.readlink("/proc/%d/exe" % pid) == str(Cyrus.bin / "imapd")
        except OSError:
            return False


def make_boxes(count):
    """The servers that are chosen (BENCH_PEERS), ours last, and the bytes of the mail. Those that are not installed are said."""
    base = SCRATCH / ("mail-%d" % count)
    (SCRATCH / "homes").mkdir(exist_ok=True)
    ours = Postern(virtual_mailbox_domains=DOMAIN, mydestination="localhost", message_size_limit="50000000",
                   plaintext_login_networks="127.0.0.0/8")
    ours.suite.user_add(USER, PASSWORD, "--scheme", "plain")
    home = ours.suite.state / "mail" / USER
    owner = home.stat() if home.exists() else None
    ours.start()
    Client(ours).close()
    owner = home.stat()
    ours.stop()
    ours.group = Group("postern")
    mail_bytes = int(lib.run([MKMAIL, base, count]).stdout)
    lib.run(["chown", "-R", "%d:%d" % (owner.st_uid, owner.st_gid), base])
    dove = SCRATCH / "homes" / ("dovecot-%d" % count)
    has_dovecot = wanted("dovecot")
    for d in (home, dove) if has_dovecot else (home,):
        d.mkdir(exist_ok=True)
        lib.run(["rm", "-rf", d / "Maildir"])
        lib.run(["cp", "-al", base, d / "Maildir"])
        lib.run(["chown", "%d:%d" % (owner.st_uid, owner.st_gid), d])
        os.chmod(d, 0o700)
    boxes = []
    if has_dovecot:
        theirs = Dovecot(ours.suite, users=["%s:{PLAIN}%s:%d:%d::%s::\n" % (USER, PASSWORD, owner.st_uid, owner.st_gid, dove)])
        boxes.append(Box(theirs, dove / "Maildir", "dovecot*"))
    if wanted("cyrus"):
        boxes.append(CyrusBox(Cyrus(ours.suite, [USER.split("@")[0]]), base))
    if wanted("postern"):
        boxes.append(PosternBox(ours, home / "Maildir", "postern.*"))
    return boxes, mail_bytes


def wanted(name):
    """Is it chosen, and can it run? If not, why is printed."""
    if not chosen("BENCH_PEERS", name):
        return False
    why = None
    if name == "cyrus":
        why = Cyrus.missing()
    elif name == "dovecot" and not shutil.which("dovecot"):
        why = "Dovecot is not there (t/deps bench)"
    if why:
        print("(%s)" % why)
    return why is None
