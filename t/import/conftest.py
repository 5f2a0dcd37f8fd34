"""A suite and fresh users to import for."""
import imaplib
import itertools
import json
import os
import pathlib

import pytest

import suite as suite_module

SCRATCH = os.environ.get("POSTERN_SCRATCH")
numbers = itertools.count(1)


@pytest.fixture(scope="session")
def suite():
    s = suite_module.Suite(pathlib.Path(SCRATCH) / "import", build=os.environ.get("POSTERN_BUILD", "dev"), hosts=("127.0.5.1",), real_ports=True,
                           settings={"auth_throttle_exempt": "127.0.0.0/8", "filter_enable": "no"})
    s.host = s.hosts[0]
    s.make()
    s.passwords = {}
    s.start()
    yield s
    s.stop()


class User:
    def __init__(self, suite, name):
        self.suite, self.name, self.password = suite, name, "secret-%s" % name.split("@")[0]
        suite.user_add(name, self.password)
        suite.passwords[name] = self.password

    def run(self, word, *args, code=0, wrap=(), **kw):
        """postern import …; returns the report: {folder: row}."""
        p = self.suite.tool("postern-import", "--json", word, "--user", self.name, *map(str, args), check=False, **kw)
        assert p.returncode == code, (p.returncode, p.stdout, p.stderr)
        rows = [json.loads(line) for line in p.stdout.decode().splitlines() if line.startswith("{")]
        return {r["folder"]: r for r in rows}

    def imap(self, folder="INBOX"):
        context = self.suite.tls_context()
        context.check_hostname = False
        c = imaplib.IMAP4_SSL(self.suite.host, self.suite.port("IMAPS"), ssl_context=context)
        c.login(self.name, self.password)
        if folder:
            typ, data = c.select(folder)
            assert typ == "OK", data
        return c

    def messages(self, folder="INBOX"):
        """[(uid, flags, body)]"""
        c = self.imap(folder)
        typ, data = c.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[])")
        c.logout()
        out = []
        for d in data or ():
            if isinstance(d, tuple):
                head = d[0].decode()
                out.append([int(head.split("UID ")[1].split()[0]), set(imaplib.ParseFlags(d[0])) - {b"\\Recent"}, d[1]])
        return out

    def make_root(self):
        """The maildir's place, as another server had it: not ours yet."""
        shown = dict(line.split(": ", 1) for line in self.suite.tool("postern-user", "show", self.name).stdout.decode().splitlines() if ": " in line)
        for d in (self.root.parent, self.root):
            d.mkdir(mode=0o700, exist_ok=True, parents=True)
            os.chown(d, int(shown["uid"]), int(shown["gid"]))

    @property
    def root(self):
        return self.suite.maildir(self.name)


@pytest.fixture
def user(suite):
    return User(suite, "u%d@example.com" % next(numbers))


@pytest.fixture
def old(suite, user, tmp_path):
    """An account of a real server, with folders and flags: our own, but reached as any."""
    o = User(suite, "old%d@example.com" % next(numbers))
    box = tmp_path / "old"
    box.write_bytes(b"\n".join(b"From a Mon Jan  2 15:04:%02d 2006\nSubject: %d\nX-Status: %s\n%s\n%s\n" % (
        i % 60, i, b"" if i % 2 else b"F", b"Status: R\nX-Keywords: $Label1\n" if i % 2 else b"", b"x" * i) for i in range(70)))
    o.run("mbox", "--folder", "INBOX", box)
    c = o.imap(None)
    c.create('"R&AOk-union/2005"')
    c.subscribe('"R&AOk-union/2005"')
    c.append('"R&AOk-union/2005"', None, None, b"Subject: deep\r\n\r\n.dot\r\n..\r\n" + b"y" * 300000 + b"\r\n")
    c.append("Sent", "(\\Answered)", None, b"Subject: sent\r\n\r\nnul-free\r\n")
    c.select("INBOX")
    c.store("3,9", "+FLAGS", "\\Deleted")
    c.expunge()
    c.logout()
    return o


@pytest.fixture
def mail_of():
    """mail_of(user): helpers to send and read mail of its suite."""
    import mailtools

    class Mail(mailtools.Mail):
        def pop3(self, user):
            import poplib
            context = self.suite.tls_context()
            context.check_hostname = False
            m = poplib.POP3_SSL(self.suite.host, self.suite.port("POP3S"), context=context, timeout=30)
            m.user(user)
            m.pass_(self.suite.passwords[user])
            return m
    return lambda user: Mail(user.suite)
