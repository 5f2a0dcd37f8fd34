"""Security case 114: several connections change one folder at random; each one's numbering must follow the responses that it was sent, and in the end
all agree with the folder."""
import random
import re

import pytest

from imapmessages import numbered

STEPS = 600


class View:
    """What a client knows of the folder from the responses alone."""

    def __init__(self, conn, folder):
        self.c, self.folder = conn, folder
        self.uids = []			# by position; None: not known yet
        self.idling = False
        self.apply(conn.ok("SELECT " + folder))
        self.learn()

    def apply(self, lines):
        for l in lines:
            m = re.match(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH)\b(.*)", l, re.S)
            if not m:
                continue
            n = int(m.group(1))
            if m.group(2) == b"EXISTS":
                assert n >= len(self.uids), "EXISTS must not shrink a folder"
                self.uids += [None] * (n - len(self.uids))
            elif m.group(2) == b"EXPUNGE":
                assert 1 <= n <= len(self.uids)
                del self.uids[n - 1]
            else:
                assert 1 <= n <= len(self.uids)
                u = re.search(rb"UID (\d+)", m.group(3))
                if u:
                    assert self.uids[n - 1] in (None, int(u.group(1))), "a number changed its message"
                    self.uids[n - 1] = int(u.group(1))

    def run(self, cmd, ok=("OK",)):
        status, line, lines = self.c.cmd(cmd)
        in_use = cmd.split()[0] in ("FETCH", "STORE", "SEARCH")
        assert not in_use or not [l for l in lines if b" EXPUNGE" in l], cmd
        self.apply(lines)
        assert status in ok, (cmd, line)
        return lines

    def learn(self):
        self.run("NOOP")
        self.run("FETCH 1:* (UID)")
        assert None not in self.uids and self.uids == sorted(set(self.uids)), self.uids


def step(r, v, n):
    count = len(v.uids)
    some = lambda: "%d:%d" % tuple(sorted((r.randint(1, count), r.randint(1, count))))
    if v.idling:
        v.c.send("DONE\r\n")
        status, _, lines = v.c.finish(v.idling)
        assert status == "OK"
        v.apply(lines)
        v.idling = False
        return
    what = r.choice(["append", "store", "flags", "expunge", "uidexpunge", "fetch", "uidfetch", "search", "copy", "move", "idle", "noop", "learn"])
    if what == "append":
        lines = []
        v.c.send("ap APPEND %s {%d+}\r\n" % (v.folder, len(numbered(n))))
        v.c.send(numbered(n) + b"\r\n")
        status, _, lines = v.c.finish("ap")
        assert status == "OK"
        v.apply(lines)
    elif what == "noop":
        v.run("NOOP")
    elif what == "learn":
        v.learn()
    elif what == "idle":
        v.idling = "idle%d" % n
        v.c.send("%s IDLE\r\n" % v.idling)
        while True:
            l = v.c.line()
            if l.startswith(b"+"):
                break
            v.apply([l])
    elif what == "expunge":
        v.run("EXPUNGE")
    elif what == "uidexpunge":
        v.run("UID EXPUNGE 1:*")
    elif count == 0:
        v.run("NOOP")
    elif what == "store":
        v.run("STORE %s +FLAGS (\\Deleted)" % some() if r.random() < 0.2 else "STORE %s +FLAGS.SILENT (\\Flagged k%d)" % (some(), n % 7), ok=("OK", "NO"))
    elif what == "flags":
        v.run("UID STORE %d:* -FLAGS (\\Flagged)" % r.randint(1, 50))
    elif what == "fetch":
        v.run("FETCH %s (UID FLAGS)" % some(), ok=("OK", "NO"))
    elif what == "uidfetch":
        v.run("UID FETCH 1:* (FLAGS)", ok=("OK", "NO"))
    elif what == "search":
        v.run("SEARCH FLAGGED")
    elif what == "copy":
        v.run("COPY %d %s" % (r.randint(1, count), v.folder), ok=("OK", "NO"))
    elif what == "move":
        v.run("MOVE %d %s/other" % (r.randint(1, count), v.folder), ok=("OK", "NO"))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_clients_agree(imap, folder, seed):
    r = random.Random(seed)
    c = imap()
    c.ok("CREATE %s/other" % folder)
    for i in range(20):
        c.append(folder, numbered(i))
    views = [View(imap(), folder) for _ in range(4)]
    for n in range(STEPS):
        step(r, r.choice(views), n)
    for v in views:
        if v.idling:
            step(r, v, 0)
        v.learn()
    c.ok("SELECT " + folder)
    fresh = View(c, folder)
    for v in views:
        assert v.uids == fresh.uids
    flags = sorted(c.ok("UID FETCH 1:* FLAGS"))
    strip = lambda ls: [l.replace(b" \\Recent", b"").replace(b"\\Recent", b"") for l in ls if b" FETCH " in l]
    keys = lambda ls: [(re.search(rb"UID (\d+)", l).group(1), frozenset(re.search(rb"FLAGS \(([^)]*)\)", l).group(1).split())) for l in strip(ls)]
    for v in views:
        assert sorted(keys(v.run("UID FETCH 1:* FLAGS"))) == sorted(keys(flags))
    c.ok("DELETE %s/other" % folder)
