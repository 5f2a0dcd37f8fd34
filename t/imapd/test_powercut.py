"""Power cuts under APPEND: one sync makes message, name and UID durable together. Whatever was answered with OK is there, under the UID that was told; nothing
half-written is ever shown; no UID comes twice; of several messages in one APPEND all are there or none. And under MOVE, where one sync is for both folders: each message is in one of them at least, and where OK said."""
import os
import random
import re
import threading
import time

import pytest

import powercut
from imapraw import Closed, Imap

ROUNDS = int(os.environ.get("POSTERN_CUTS", "1"))
USER = "alice@example.com"


def message(key, size):
    return b"Subject: %s\r\n\r\n%s\r\nend of %s\r\n" % (key, b"x" * size, key)


def append_all(suite, n, sent, told, together):
    """Single and several messages, small and spilled to a file, until the power goes. told: (UID, key) of what was answered with OK; together: keys of one command each."""
    i = 0
    try:
        c = Imap(suite, login=USER)
        while True:
            keys = []
            for size in random.choice([[10], [3000], [100000], [5, 5000, 70000], [7, 8, 9, 4000]]):
                i += 1
                keys.append(b"cut-%d-%d" % (n, i))
                sent[keys[-1]] = message(keys[-1], size)
            data = [b"(\\Seen) {%d+}\r\n%s" % (len(sent[k]), sent[k]) for k in keys]
            if random.random() < 0.5:
                together.append(keys)
                status, line, _ = c.cmd(b"APPEND INBOX " + b" ".join(data))
                if status != "OK":      # the disk has gone
                    return
                first, _, last = re.search(r"APPENDUID \d+ ([\d:]+)", line).group(1).partition(":")
                uids = range(int(first), int(last or first) + 1)
                assert len(uids) == len(keys)
                told += zip(uids, keys)
                continue
            # A row of commands, which share a sync.
            c.send(b"".join(b"r%d APPEND INBOX %s\r\n" % (k, d) for k, d in enumerate(data)))
            for k, key in enumerate(keys):
                status, line, _ = c.finish("r%d" % k)
                if status != "OK":
                    return
                told.append((int(re.search(r"APPENDUID \d+ (\d+)\]", line).group(1)), key))
    except (Closed, OSError):
        return


def commit_often(disk, stop):
    """Another program's syncs: so what an APPEND does comes into several commits, at any place, and a cut may come between them."""
    try:
        with open(disk.at / "another", "wb") as f:
            while not stop.wait(0.001):
                f.write(b"x")
                f.flush()
                os.fsync(f.fileno())
    except OSError:     # the disk has gone
        return


def shown(c):
    got = {}
    for line in c.ok("UID FETCH 1:* (BODY.PEEK[])"):
        m = re.match(rb"\* \d+ FETCH \(UID (\d+) BODY\[\] \{\d+\}\r\n(.*)\)$", line, re.S)
        if m:
            got[int(m.group(1))] = m.group(2)
    return got


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_what_was_appended_survives(fresh_suite, kind):
    disk, = powercut.disks("append-" + kind, kind)
    suite = fresh_suite("cut", start=False, users=(), settings={"virtual_mail_directory": disk.at / "mail", "filter_enable": "no"})
    try:
        suite.passwords[USER] = "secret"
        suite.user_add(USER, "secret")
        sent, told, together = {}, [], []
        for r in range(ROUNDS):
            suite.start()
            threads = [threading.Thread(target=append_all, args=(suite, 2 * r + n, sent, told, together)) for n in range(2)]
            stop = threading.Event()
            other = threading.Thread(target=commit_often, args=(disk, stop))
            before = len(told)
            for t in threads + [other]:
                t.start()
            while len(told) < before + 20:
                assert all(t.is_alive() for t in threads)
                time.sleep(0.01)
            time.sleep(random.uniform(0, 0.3))
            # What is answered while the shutdown runs does not count: xfs lets an fsync succeed whose log it is just throwing away.
            promised = list(told)
            powercut.cut_power(suite, [disk])
            stop.set()
            for t in threads + [other]:
                t.join()
            told = promised
            disk.unmount()
            disk.mount()
            suite.start()
            c = Imap(suite, login=USER)
            c.ok("SELECT INBOX")
            got = shown(c)
            lost = [(uid, key) for uid, key in told if got.get(uid) != sent[key]]
            assert not lost, "%d of %d are not as told: %s" % (len(lost), len(told), lost[:5])
            assert set(got.values()) <= set(sent.values()), "something half-written is shown"
            there = set(got.values())
            parts = [keys for keys in together if len({sent[k] in there for k in keys}) > 1]
            assert not parts, "%d of %d commands are there in part: %s" % (len(parts), len(together), parts[:3])
            _, line, _ = c.cmd(b"APPEND INBOX {3+}\r\nx\r\n")
            fresh = int(re.search(r"APPENDUID \d+ (\d+)", line).group(1))
            assert fresh > max(uid for uid, _ in told)
            c.ok("UID STORE %d +FLAGS.SILENT (\\Deleted)" % fresh)
            c.ok("UID EXPUNGE %d" % fresh)
            c.close()
            suite.stop()
    finally:
        if suite.pid() is not None:
            suite.stop()
        disk.unmount()


MOVED = 1500


def fill(c, folder, count):
    c.ok("CREATE " + folder)
    for first in range(0, count, 500):
        parts = b"".join(b" {%d+}\r\n%s" % (len(m), m) for m in (message(b"move-%d" % k, 40) for k in range(first, first + 500)))
        assert c.cmd(b"APPEND " + folder.encode() + parts)[0] == "OK"


def move_all(suite, there, back, told):
    """Some messages at a time, there and back, until the power goes. told: folder of a message by its Subject, as of the last OK; those of a command that was not answered: None."""
    where = [there, back]
    try:
        c = Imap(suite, login=USER)
        while True:
            c.ok("SELECT " + where[0])
            keys = subjects(c)
            order = sorted(keys)
            while order:
                batch, order = order[:40], order[40:]
                for uid in batch:
                    told[keys[uid]] = None
                if c.cmd("UID MOVE %s %s" % (",".join(map(str, batch)), where[1]))[0] != "OK":
                    return
                for uid in batch:
                    told[keys[uid]] = where[1]
            where.reverse()
    except (Closed, OSError):
        return


def subjects(c):
    got = {}
    for line in c.ok("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])"):
        m = re.search(rb"UID (\d+) .*Subject: (\S+)", line, re.S)
        if m:
            got[int(m.group(1))] = m.group(2)
    return got


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_what_was_moved_is_in_one_folder_at_least(fresh_suite, kind):
    disk, = powercut.disks("move-" + kind, kind)
    suite = fresh_suite("cutmove", start=False, users=(), settings={"virtual_mail_directory": disk.at / "mail", "filter_enable": "no"})
    try:
        suite.passwords[USER] = "secret"
        suite.user_add(USER, "secret")
        suite.start()
        c = Imap(suite, login=USER)
        fill(c, "from", MOVED)
        c.ok("CREATE to")
        c.close()
        for _round in range(ROUNDS):
            told = {}
            mover = threading.Thread(target=move_all, args=(suite, "from", "to", told))
            mover.start()
            while len(told) < 200:
                assert mover.is_alive()
                time.sleep(0.01)
            time.sleep(random.uniform(0, 0.3))
            promised = dict(told)
            powercut.cut_power(suite, [disk])
            mover.join()
            # What was under way, or was moved on, when the power went may be in either.
            promised = {key: folder for key, folder in promised.items() if folder is not None and told[key] == folder}
            disk.unmount()
            disk.mount()
            suite.start()
            c = Imap(suite, login=USER)
            found = {}
            for folder in ("from", "to"):
                c.ok("SELECT " + folder)
                for key in subjects(c).values():
                    found.setdefault(key, []).append(folder)
            assert promised and len(found) == MOVED, "%d of %d are left" % (len(found), MOVED)
            wrong = [(key, folder, found[key]) for key, folder in promised.items() if found[key] != [folder]]
            assert not wrong, "%d of %d are not as told: %s" % (len(wrong), len(promised), wrong[:5])
            for folder in ("from", "to"):       # what is in both goes from one
                c.ok("SELECT " + folder)
                twice = [uid for uid, key in subjects(c).items() if len(found[key]) > 1]
                if twice and folder == "to":
                    c.ok("UID STORE %s +FLAGS.SILENT (\\Deleted)" % ",".join(map(str, twice)))
                    c.ok("EXPUNGE")
            c.close()
        suite.stop()
    finally:
        if suite.pid() is not None:
            suite.stop()
        disk.unmount()
