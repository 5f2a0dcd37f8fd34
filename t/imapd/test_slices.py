"""What the store promises about work: no change of ours lists a directory, and a long command leaves room for the user's other connections. Seen from outside, by the
session's system calls; nothing here depends on how fast the machine is."""
import os
import re
import signal
import subprocess

import pytest

import imapmessages
from imapraw import Imap

ALICE = "alice@example.com"
COUNT = 1000


class Trace:
    """strace of alice's session process, from start() to stop()."""

    def __init__(self, path, calls):
        self.path, self.calls = path, calls

    def __enter__(self):
        pid = subprocess.run(["pgrep", "-f", "^imapd: session " + ALICE], stdout=subprocess.PIPE).stdout.decode().split()
        assert len(pid) == 1, pid
        self.p = subprocess.Popen(["strace", "-f", "-s", "80", "-o", str(self.path), "-e", "trace=" + self.calls, "-p", pid[0]], stderr=subprocess.PIPE)
        assert b"attached" in self.p.stderr.readline()
        return self

    def __exit__(self, *unused):
        self.p.send_signal(signal.SIGINT)
        self.p.wait()

    def lines(self):
        return self.path.read_text(errors="replace").splitlines()


@pytest.fixture
def filled(imap, folder):
    """A folder of many messages, selected."""
    c = imap()
    for first in range(0, COUNT, 500):
        parts = b""
        for n in range(first, first + 500):
            m = imapmessages.numbered(n)
            parts += b" {%d+}\r\n" % len(m) + m
        c.n += 1
        c.send(b"f%d APPEND %s" % (c.n, folder.encode()) + parts + b"\r\n")
        while not c.line().startswith(b"f%d OK" % c.n):
            pass
    c.ok("SELECT " + folder)
    return c


def test_no_change_of_ours_lists_a_directory(imap, folder, filled, tmp_path):
    c = filled
    one = imapmessages.numbered(1)
    other = imap()
    c.ok("FETCH 1 (FLAGS)")
    with Trace(tmp_path / "trace", "getdents64,getdents,unlinkat,pwrite64") as t:
        c.ok("STORE 17 +FLAGS (\\Flagged)")
        c.n += 1
        c.send(b"x%d APPEND %s {%d+}\r\n%s\r\n" % (c.n, folder.encode(), len(one), one))
        while not c.line().startswith(b"x%d OK" % c.n):
            pass
        c.ok("NOOP")
        c.ok("STORE 25 +FLAGS.SILENT (\\Deleted)")
        c.ok("EXPUNGE")
        c.ok("COPY 3 " + folder)
        c.ok("NOOP")
        other.ok("SELECT " + folder)
    text = "\n".join(t.lines())
    assert "unlinkat" in text and "pwrite64" in text, "the trace saw nothing"
    assert "getdents" not in text, text


def test_a_long_search_leaves_room_for_others(imap, filled, tmp_path):
    """All bodies are read: between two looks at its connections the session reads a few messages, and each NOOP is answered at the next look."""
    a, b = filled, imap()
    b.ok("SELECT INBOX")
    with Trace(tmp_path / "trace", "epoll_wait,epoll_pwait,openat,read,recvfrom,recvmsg,sendto,sendmsg,write,writev") as t:
        a.send("s1 SEARCH BODY nowhere-to-be-found\r\n")
        rounds = 0
        a.sock.setblocking(False)
        while True:
            b.ok("NOOP")
            rounds += 1
            try:
                a.data += a.sock.recv(65536)
            except BlockingIOError:
                continue
            if b"s1 OK" in a.data:
                break
        a.sock.setblocking(True)
    longest, now, looks, read = 0, 0, 0, 0
    for line in t.lines():
        if "epoll_" in line:
            longest, now, looks = max(longest, now), 0, looks + 1
        elif "openat(" in line and ",S=" in line:
            now, read = now + 1, read + 1
    assert read >= COUNT, "bodies were read: %d" % read
    assert longest <= COUNT // 4, "%d messages between two looks" % longest
    assert rounds >= 3, "%d NOOPs were answered meanwhile" % rounds
