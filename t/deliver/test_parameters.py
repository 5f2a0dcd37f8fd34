"""What single parameters of the queue and of the tools around it do, each shown by an effect that the default does not have."""
import os
import pathlib
import re
import subprocess
import time

import mailtools
import pytest


def newaliases(suite):
    return subprocess.run([str(suite.bin / "newaliases"), "-c", str(suite.conf)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_alias_database(fresh_suite):
    """newaliases makes what it names, and not what alias_maps names beside it."""
    s = fresh_suite("aliases", start=False, users=())
    etc = s.base / "etc"
    (etc / "more").write_text("root: alice@example.com\npostmaster: root\nteam: bob@example.com\n")
    s.settings.update(alias_maps="cdb:%s/aliases, cdb:%s/foreign" % (etc, etc), alias_database="cdb:%s/more" % etc)
    text = s.conf.read_text()
    s.conf.write_text(re.sub(r"(?m)^alias_maps = .*$", "alias_maps = %(alias_maps)s\nalias_database = %(alias_database)s" % s.settings, text))
    before = (etc / "aliases.cdb").stat().st_mtime_ns
    p = newaliases(s)
    assert p.returncode == 0, p.stdout
    assert (etc / "more.cdb").exists() and (etc / "aliases.cdb").stat().st_mtime_ns == before
    assert subprocess.run([str(s.bin / "postmap"), "-c", str(s.conf), "-q", "team", "cdb:%s/more" % etc], stdout=subprocess.PIPE).stdout == b"bob@example.com\n"
    (etc / "more.cdb").unlink()
    p = subprocess.run([str(s.bin / "sendmail"), "-C", str(s.conf), "-bi"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert p.returncode == 0 and (etc / "more.cdb").exists(), p.stdout
    s.conf.write_text(re.sub(r"(?m)^alias_database = .*$", "", s.conf.read_text()).replace(", cdb:%s/foreign" % etc, ""))
    assert newaliases(s).returncode == 0 and (etc / "aliases.cdb").stat().st_mtime_ns != before, "by default: alias_maps"


def test_always_add_missing_headers(fresh_suite):
    s = fresh_suite("missing", settings={"always_add_missing_headers": "yes", "filter_enable": "no"})
    mail = mailtools.Mail(s)
    mail.send(raw=b"Subject: bare\r\nBcc: x@y.example\r\n\r\nwords\r\n", sender="s@elsewhere.example")
    text = mail.wait_for("Subject: bare", timeout=30).read_text()
    assert re.search(r"^From: <s@elsewhere\.example>$", text, re.M) and re.search(r"^Message-Id: <\d{14}\.\w+@mail\.example\.com>$", text, re.M)
    assert re.search(r"^Date: \w{3}, ", text, re.M) and "\nBcc: x@y.example\n" in text, "what a stranger wrote stays"


@pytest.mark.skipif(os.environ.get("POSTERN_UNCONFINED") == "1", reason="a memory file system belongs to the confinement")
@pytest.mark.parametrize("size, there", [("1m", True), ("0", False)])
def test_queue_memory_size(fresh_suite, size, there):
    s = fresh_suite("memory", settings={"queue_memory_size": size, "filter_enable": "no"})
    mail = mailtools.Mail(s)
    mail.wait_for(mail.send(), timeout=30)
    (pid,) = [p[0] for p in s.processes() if p[3] == "queued: queue"]
    mounts = [line.split() for line in pathlib.Path("/proc/%d/mounts" % pid).read_text().splitlines()]
    found = [m for m in mounts if m[1].endswith("/memory")]
    assert bool(found) == there, mounts
    if there:
        assert "size=1024k" in found[0][3].split(",")


def traced(pid):
    return "TracerPid:\t0\n" not in pathlib.Path("/proc/%d/status" % pid).read_text()


@pytest.mark.parametrize("value", ["auto", "yes"])
def test_sync_directories(fresh_suite, value):
    """The agent syncs the directory in which a copy gets its name, always or where the file system needs it."""
    s = fresh_suite("sync", settings={"sync_directories": value, "filter_enable": "no"})
    mail = mailtools.Mail(s)
    mail.wait_for(mail.send(), timeout=30)      # now the folder is there
    pids = [p[0] for p in s.processes() if p[2] in ("spawn", "deliver")]
    trace = s.base / "trace"
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-y", "-o", str(trace), "-e", "trace=fsync,fdatasync", *("-p%d" % p for p in pids)], stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 30
        while not all(map(traced, pids)):
            assert time.monotonic() < end and tracer.poll() is None
            time.sleep(0.02)
        mail.wait_for(mail.send(), timeout=30)
    finally:
        tracer.terminate()
        tracer.wait()
    synced = re.findall(r"sync\(\d+<([^>]*)>", trace.read_text())
    maildir = str(s.maildir("bob@example.com"))
    assert [p for p in synced if p.startswith(maildir + "/tmp/") or p.startswith(maildir + "/new/")], synced
    kind = subprocess.run(["stat", "-f", "-c", "%T", maildir], stdout=subprocess.PIPE).stdout.decode().strip()
    names_are_durable = value == "auto" and kind in ("ext2/ext3", "xfs", "btrfs", "tmpfs")
    assert (maildir + "/new" in synced) != names_are_durable, (kind, synced)
