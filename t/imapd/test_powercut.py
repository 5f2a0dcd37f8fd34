"""Power cuts under APPEND: one sync makes message, name and UID durable together. Whatever was answered with OK is there, under the UID that was told; nothing
half-written is ever shown; no UID comes twice."""
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


def append_all(suite, n, sent, told):
    """Single and several messages, small and spilled to a file, until the power goes. told: (UID, key) of what was answered with OK."""
    i = 0
    try:
        c = Imap(suite, login=USER)
        while True:
            keys = []
            for size in random.choice([[10], [3000], [100000], [5, 5000, 70000]]):
                i += 1
                keys.append(b"cut-%d-%d" % (n, i))
                sent[keys[-1]] = message(keys[-1], size)
            status, line, _ = c.cmd(b"APPEND INBOX " + b" ".join(b"(\\Seen) {%d+}\r\n%s" % (len(sent[k]), sent[k]) for k in keys))
            if status != "OK":      # the disk has gone
                return
            first, _, last = re.search(r"APPENDUID \d+ ([\d:]+)", line).group(1).partition(":")
            uids = range(int(first), int(last or first) + 1)
            assert len(uids) == len(keys)
            told += zip(uids, keys)
    except (Closed, OSError):
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
        sent, told = {}, []
        for r in range(ROUNDS):
            suite.start()
            threads = [threading.Thread(target=append_all, args=(suite, 2 * r + n, sent, told)) for n in range(2)]
            before = len(told)
            for t in threads:
                t.start()
            while len(told) < before + 20:
                assert all(t.is_alive() for t in threads)
                time.sleep(0.01)
            time.sleep(random.uniform(0, 0.3))
            # What is answered while the shutdown runs does not count: xfs lets an fsync succeed whose log it is just throwing away.
            promised = list(told)
            powercut.cut_power(suite, [disk])
            for t in threads:
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
