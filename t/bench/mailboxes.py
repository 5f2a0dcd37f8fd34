"""The servers of the mailbox bench, each with its copy of the folder."""
import itertools
import os
import time

from mailclient import USER, Client
from peers import DOMAIN, PASSWORD, SCRATCH, Dovecot, Group, Postern, lib

MKMAIL = lib.ROOT / "build" / "release" / "x" / "mkmail"


class Box:
    """A server with its copy of the folder."""
    numbers = itertools.count(1)

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


def make_boxes(count):
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
    lib.run([MKMAIL, base, count])
    lib.run(["chown", "-R", "%d:%d" % (owner.st_uid, owner.st_gid), base])
    dove = SCRATCH / "homes" / ("dovecot-%d" % count)
    for d in (home, dove):
        d.mkdir(exist_ok=True)
        lib.run(["rm", "-rf", d / "Maildir"])
        lib.run(["cp", "-al", base, d / "Maildir"])
        lib.run(["chown", "%d:%d" % (owner.st_uid, owner.st_gid), d])
        os.chmod(d, 0o700)
    theirs = Dovecot(ours.suite, users=["%s:{PLAIN}%s:%d:%d::%s::\n" % (USER, PASSWORD, owner.st_uid, owner.st_gid, dove)])
    return Box(theirs, dove / "Maildir", "dovecot*"), Box(ours, home / "Maildir", "postern.*")
