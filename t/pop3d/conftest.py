"""A mailbox of a test's own, and a POP3 client that says and shows raw lines."""
import base64
import itertools
import os
import pathlib
import subprocess
import time

import pytest

import suite as suite_module
from popraw import Pop

SCRATCH = os.environ.get("POSTERN_SCRATCH")

numbers = itertools.count(1)


@pytest.fixture(scope="session")
def suite():
    """A suite of this folder's own: wrong passwords are not throttled here."""
    s = suite_module.Suite(pathlib.Path(SCRATCH) / "pop3", build=os.environ.get("POSTERN_BUILD", "dev"), hosts=("127.0.3.1",), real_ports=True,
                           settings={"auth_throttle_exempt": "127.0.0.0/8"})
    s.host = s.hosts[0]
    s.make()
    s.passwords = {}
    s.start()
    yield s
    s.stop()


class Drop:
    """A user with a maildir; files are put there as deliver would."""

    def __init__(self, suite, name, password):
        self.suite, self.name, self.password = suite, name, password
        suite.user_add(name, password)
        suite.passwords[name] = password
        self.root = suite.maildir(name)
        self.clients = []

    def put(self, text, name=None, where="new"):
        for d in (self.root, self.root / "cur", self.root / "new", self.root / "tmp"):
            d.mkdir(mode=0o700, exist_ok=True)
        n = next(numbers)
        f = self.root / where / (name or "%d.M%06dP1.test" % (1700000000 + n, n))
        f.write_bytes(text)
        self.own()
        return f

    def own(self):
        home = self.root
        while not home.exists():
            home = home.parent
        owner = self.suite.tool("postern-user", "show", self.name).stdout.decode()
        uid = int([l.split(":")[1] for l in owner.splitlines() if l.startswith("uid:")][0])
        gid = int([l.split(":")[1] for l in owner.splitlines() if l.startswith("gid:")][0])
        for d, _, files in os.walk(self.root):
            os.chown(d, uid, gid)
            for f in files:
                os.chown(os.path.join(d, f), uid, gid, follow_symlinks=False)
        if self.root.parent.exists() and self.root.parent.stat().st_uid == 0 and self.root.parent != self.suite.state / "mail":
            os.chown(self.root.parent, uid, gid)

    def connect(self, tls=False, greeting=True):
        p = Pop(self.suite.hosts[0].strip("[]"), self.suite.port("POP3S" if tls else "POP3"), server_name="localhost",
                context=self.suite.tls_context() if tls else None)
        self.clients.append(p)
        if greeting:
            assert p.reply().startswith("+OK ")
        return p

    def login(self, tls=False):
        p = self.connect(tls)
        p.ok("USER " + self.name)
        answer = p.say("PASS " + self.password)
        assert answer.startswith("+OK Logged in"), answer
        return p

    def files(self):
        return sorted(f.name for d in ("cur", "new") for f in (self.root / d).iterdir())

    def close(self):
        for c in self.clients:
            c.close()

    def session_pids(self):
        return [pid for pid, user, comm, cmd in self.suite.processes() if comm == "pop3d" and "session " + self.name in cmd]


@pytest.fixture
def drop(suite):
    made = []

    def make(*messages, password="pop-secret"):
        n = next(numbers)
        d = Drop(suite, "pop%d@example.com" % n, password)
        for m in messages:
            d.put(m)
        made.append(d)
        return d
    yield make
    for d in made:
        d.close()
