"""Disks that lose power: a loop-mounted file system of a test's own that is shut down without flushing its journal, then mounted again. (ext4 and XFS have an
ioctl for it; the loop device below keeps what reached it, so this tests the order of our syncs and renames, not a disk's cache.)"""
import fcntl
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import time

import pytest

SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2


class Disk:
    def __init__(self, where, kind, features=(), options=()):
        """features: of mkfs; options: of mount."""
        self.image, self.at, self.kind, self.options = where / "image", where / "at", kind, ["loop", *options]
        where.mkdir()
        self.at.mkdir()
        with open(self.image, "wb") as f:
            f.truncate(600 << 20)
        subprocess.run(["mkfs." + kind, "-q"] + (["-F"] if kind == "ext4" else []) + [*features, str(self.image)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.mount()

    def mount(self):
        subprocess.run(["mount", "-o", ",".join(self.options), "-t", self.kind, str(self.image), str(self.at)], check=True)

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


def disks(name, kind, n=1, **how):
    """n of them below the scratch directory; the test is skipped where that cannot be had."""
    if shutil.which("mkfs." + kind) is None:
        pytest.skip("no mkfs." + kind)
    base = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / name
    base.mkdir()
    try:
        return [Disk(base / str(k), kind, **how) for k in range(n)]
    except (OSError, subprocess.CalledProcessError) as why:
        pytest.skip("no loop device or file system: %s" % why)


def ended(pid):
    """Gone, or a zombie: its mounts and descriptors are given back."""
    try:
        return pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def left_over():
    """Agents and sessions whose parent died first."""
    for p in pathlib.Path("/proc").iterdir():
        try:
            if p.name.isdigit() and (p / "exe").resolve().name in ("deliver", "imap-session"):
                yield int(p.name)
        except OSError:
            pass


def cut_power(suite, cut):
    pids = [p[0] for p in suite.processes()]
    for d in cut:
        d.cut()
    kill(pids)
    pids += [p[0] for p in suite.processes()]
    kill(pids)
    suite.supervisor.wait()
    pids += left_over()
    kill(pids)
    # One that still ends, in a mount namespace of its own (queued), holds the file system that was shut down, and a mount would get that again.
    end = time.monotonic() + 30
    while not all(ended(pid) for pid in pids):
        assert time.monotonic() < end, "killed processes do not end"
        time.sleep(0.02)
