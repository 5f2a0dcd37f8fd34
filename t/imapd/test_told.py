"""What others change, as it is told: a client that believes every untagged line ends with the folder that a new client finds. The changes are so many that they are
told in pieces, and commands, IDLE, NOTIFY and searches that are kept up to date come between."""
import random
import re
import threading
import time

import pytest

from imapmessages import SIMPLE, numbered

FIRST, DOUBLINGS, CHANGES = 20, 6, 60
WORDS = ["word%d" % n for n in range(3)]


class Believer:
    """A connection, and what it has been told of its folder: UIDs by sequence number (None: not said yet), flags by UID. With QRESYNC it thinks in UIDs alone, for
    VANISHED may speak of messages whose UID it has not heard."""

    def __init__(self, client, folder, qresync=False):
        self.c, self.qresync, self.uids, self.flags = client, qresync, [], {}
        if qresync:
            client.ok("ENABLE QRESYNC")
        self.do("SELECT " + folder)
        self.do("UID FETCH 1:* (UID FLAGS)")

    def do(self, text, may_expunge=True):
        status, line, untagged = self.c.cmd(text)
        assert status == "OK" or "EXPUNGEISSUED" in line, (text, line)
        for told in untagged:
            self.hear(told, may_expunge)

    def idle(self, seconds):
        self.c.send("i1 IDLE\r\n")
        while not (told := self.c.line()).startswith(b"+"):
            self.hear(told)
        time.sleep(seconds)
        self.c.send("DONE\r\n")
        for told in self.c.finish("i1")[2]:
            self.hear(told)

    def hear(self, told, may_expunge=True):
        m = re.match(rb"\* (?:(\d+) (EXISTS|EXPUNGE|FETCH)|(VANISHED)) ?(?:\((.*)\)|([\d:,]+))?$", told)
        if not m:
            return
        number, what = int(m[1] or 0), (m[2] or m[3]).decode()
        assert what == "EXISTS" or may_expunge or what == "FETCH", told
        assert self.qresync or what == "EXISTS" or 1 <= number <= len(self.uids), (told, len(self.uids))
        getattr(self, "hear_" + what.lower())(told, number, m[4], m[5])

    def hear_exists(self, told, number, _items, _uids):
        if not self.qresync:
            assert number >= len(self.uids), told
            self.uids += [None] * (number - len(self.uids))

    def hear_expunge(self, told, number, _items, _uids):
        assert not self.qresync, told
        self.flags.pop(self.uids.pop(number - 1), None)

    def hear_vanished(self, told, _number, _items, uids):
        assert self.qresync, told
        for part in uids.split(b","):
            low, _, high = part.partition(b":")
            gone = range(int(low), int(high or low) + 1)
            self.flags = {u: f for u, f in self.flags.items() if u not in gone}

    def hear_fetch(self, told, number, items, _uids):
        uid, flags = re.search(rb"UID (\d+)", items), re.search(rb"FLAGS \(([^)]*)\)", items)
        assert uid or not self.qresync, told
        if not self.qresync:
            assert uid is None or self.uids[number - 1] in (None, int(uid[1])), (told, self.uids[number - 1])
            self.uids[number - 1] = known = int(uid[1]) if uid else self.uids[number - 1]
        else:
            known = int(uid[1])
        if flags and known is not None:
            self.flags[known] = frozenset(flags[1].split()) - {b"\\Recent"}


class Changer(threading.Thread):
    """Changes the folder as another connection would."""

    def __init__(self, client, folder, seed):
        super().__init__()
        self.c, self.folder, self.random, self.failure = client, folder, random.Random(seed), None

    def run(self):
        try:
            for _ in range(CHANGES):
                self.random.choice([self.flag, self.expunge, self.copy, self.keyword, self.append, self.wait])()
        except Exception as e:      # told by the test's own thread
            self.failure = e

    def flag(self):
        self.c.ok("STORE 1:* %sFLAGS.SILENT (\\Flagged)" % self.random.choice("+-"))

    def count(self):
        return len(self.c.ok("UID SEARCH ALL")[0].split()) - 2

    def expunge(self):
        count = self.count()
        some = sorted(self.random.sample(range(1, count + 1), count // 3))
        self.c.ok("STORE %s +FLAGS.SILENT (\\Deleted)" % ",".join(map(str, some)))
        self.c.ok("EXPUNGE")

    def copy(self):
        self.c.ok("COPY 1:%d %s" % (min(self.count(), 500), self.folder))
        self.c.ok("NOOP")

    def keyword(self):
        self.c.ok("STORE 1:%d %sFLAGS.SILENT (%s)" % (min(self.count(), 200), self.random.choice("+-"), self.random.choice(WORDS)))

    def append(self):
        self.c.append(self.folder, SIMPLE)

    def wait(self):
        time.sleep(0.03)


@pytest.mark.parametrize("seed,qresync,also", [(1, False, ""), (2, True, ""), (3, False, "context"), (4, True, "context"), (5, False, "notify"), (6, True, "notify")])
def test_what_is_told_is_what_is_there(imap, folder, seed, qresync, also):
    other, r = imap(), random.Random(seed)
    for n in range(FIRST):
        other.append(folder, numbered(n))
    other.ok("SELECT " + folder)
    for _ in range(DOUBLINGS):
        other.ok("COPY 1:* " + folder)
        other.ok("NOOP")
    b = Believer(imap(), folder, qresync)
    if also == "context":
        b.do("UID SEARCH RETURN (UPDATE) FLAGGED")
    elif also == "notify":
        b.do("NOTIFY SET (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange))")
    # NOTIFY's MessageExpunge may be told in any command (RFC 5465 5.3).
    commands = [lambda: b.do("NOOP"), lambda: b.idle(r.random() * 0.05), lambda: b.do("UID FETCH 1:* (UID FLAGS)"), lambda: b.do("UID SEARCH UNSEEN TEXT subject"),
                lambda: b.do("SEARCH FLAGGED", also == "notify"), lambda: b.do("UID STORE 1:* -FLAGS (\\Answered)")]
    if not qresync:
        commands += [lambda: b.do("FETCH 1:%d (UID FLAGS)" % min(len(b.uids), 300), also == "notify"),
                     lambda: b.do("STORE 1:%d +FLAGS (\\Answered)" % min(len(b.uids), 200), also == "notify")]
    changer = Changer(other, folder, seed)
    changer.start()
    while changer.is_alive():
        r.choice(commands)()
    changer.join()
    assert changer.failure is None, changer.failure
    b.do("NOOP")
    there = Believer(imap(), folder)
    assert len(there.uids) > 100 and (qresync or len(b.uids) == len(there.uids))
    assert [(was, now) for was, now in zip(b.uids, there.uids) if was not in (None, now)] == []
    assert [(u, f, there.flags.get(u)) for u, f in b.flags.items() if f != there.flags.get(u)] == []
