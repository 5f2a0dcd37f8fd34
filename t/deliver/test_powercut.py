"""Power cuts: the file systems of mail and spool are shut down without flushing their journals, then mounted again. Whatever was answered
with 250 is there, also with spool and mail on two file systems. (ext4 and XFS have an ioctl for it; the loop device below keeps what reached it, so this
tests the order of our syncs and renames, not a disk's cache.)"""
import collections
import fcntl
import os
import pathlib
import random
import shutil
import signal
import smtplib
import struct
import subprocess
import threading
import time

import pytest

SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
ROUNDS = int(os.environ.get("POSTERN_CUTS", "1"))


class Disk:
    def __init__(self, where, kind):
        self.image, self.at, self.kind = where / "image", where / "at", kind
        where.mkdir()
        self.at.mkdir()
        with open(self.image, "wb") as f:
            f.truncate(600 << 20)
        subprocess.run(["mkfs." + kind, "-q"] + (["-F"] if kind == "ext4" else []) + [str(self.image)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.mount()

    def mount(self):
        subprocess.run(["mount", "-o", "loop", "-t", self.kind, str(self.image), str(self.at)], check=True)

    def cut(self):
        fd = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def unmount(self):
        for _ in range(100):
            if subprocess.run(["umount", str(self.at)], stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError("cannot unmount %s" % self.at)


def send_all(suite, n, stop, accepted, serial):
    i = 0
    while not stop.is_set():
        i += 1
        mid = "<cut-%s-%d-%d@test.example>" % (serial, n, i)
        rcpt = ["alice@example.com", "bob@example.com"] if i % 5 == 0 else [["alice@example.com", "bob@example.com"][n % 2]]
        if i % 7 == 0:
            rcpt.append("later@elsewhere.example")     # a queue record beside the copies
        try:
            with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=20) as s:
                refused = s.sendmail("alice@example.com", rcpt, "Subject: c\r\nMessage-ID: %s\r\n\r\n%s\r\n" % (mid, "x" * random.choice([1, 4000, 90000])))
            accepted += [(mid, r) for r in rcpt if r not in refused]
        except (smtplib.SMTPException, OSError):
            time.sleep(0.02)


def cut_power(suite, disks):
    for d in disks:
        d.cut()
    for p in suite.processes():
        try:
            os.kill(p[0], signal.SIGKILL)
        except ProcessLookupError:
            pass
    suite.supervisor.wait()
    for p in pathlib.Path("/proc").iterdir():     # agents whose parent died first
        try:
            if p.name.isdigit() and (p / "exe").resolve().name == "deliver":
                os.kill(int(p.name), signal.SIGKILL)
        except OSError:
            pass


def found(suite):
    seen = collections.Counter()
    for user in ("alice@example.com", "bob@example.com"):
        for d in ("new", "cur"):
            for f in (suite.maildir(user) / d).iterdir():
                for line in f.read_text().splitlines():
                    if line.startswith("Message-ID: <cut-"):
                        seen[line.split(" ", 1)[1], user] += 1
    return seen


def queued_for_later(suite):
    """Message ids in the queue with a remote recipient."""
    ids = set()
    for f in (suite.spool / "queue").iterdir():
        for line in f.read_bytes().split(b"\n"):
            if line.startswith(b"Message-ID: <cut-"):
                ids.add(line.split(b" ", 1)[1].decode())
    return ids


@pytest.mark.parametrize("kind,two", [("ext4", True), ("ext4", False), ("xfs", True)])
def test_what_was_acknowledged_survives(fresh_suite, tmp_path_factory, kind, two):
    if shutil.which("mkfs." + kind) is None:
        pytest.skip("no mkfs." + kind)
    base = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / ("disks-%s-%d" % (kind, two))
    base.mkdir()
    try:
        disks = [Disk(base / "mail", kind)] + ([Disk(base / "spool", kind)] if two else [])
    except (OSError, subprocess.CalledProcessError) as why:
        pytest.skip("no loop device or file system: %s" % why)
    suite = fresh_suite("cut", start=False, users=(), settings={
        "virtual_mail_directory": disks[0].at / "mail", "queue_directory": disks[-1].at / "spool", "filter_enable": "no",
        "mynetworks": "127.0.0.0/8", "relayhost": "[127.0.0.9]:9"})
    suite.spool = disks[-1].at / "spool"
    try:
        for user in ("alice@example.com", "bob@example.com"):
            suite.passwords[user] = "secret"
            suite.user_add(user, "secret")
        in_tmp = 0
        for r in range(ROUNDS):
            suite.start()
            stop, accepted = threading.Event(), []
            threads = [threading.Thread(target=send_all, args=(suite, n, stop, accepted, r)) for n in range(4)]
            for t in threads:
                t.start()
            time.sleep(random.uniform(1.0, 2.5))
            cut_power(suite, disks)
            stop.set()
            for t in threads:
                t.join()
            for d in disks:
                d.unmount()
                d.mount()
            in_tmp += sum(f.name.endswith(",T") for u in suite.passwords for f in (suite.maildir(u) / "tmp").iterdir())
            suite.start()
            for user in suite.passwords:       # opening the mailbox finds what a cut left in tmp
                with smtplib.SMTP(suite.host, suite.port("SMTP")) as s:
                    s.sendmail("x@example.org", [user], "Subject: after\r\n\r\nx\r\n")
            seen, queued = found(suite), queued_for_later(suite)
            lost = [a for a in accepted if a not in seen and not (a[1].startswith("later") and a[0] in queued)]
            assert len(accepted) > 20
            assert not lost, "%d of %d lost: %s\n%s" % (len(lost), len(accepted), lost[:5], suite.trouble())
            assert max(seen.values()) <= 2
            suite.stop()
        print("copies found complete in tmp after the cuts:", in_tmp)
    finally:
        if suite.pid() is not None:
            suite.stop()
        for d in disks:
            d.unmount()
