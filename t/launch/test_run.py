"""postern-run with daemons played by scripts: order of start by readiness, restart, reload, reverse order of the end, what is left behind."""
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RUN = ROOT / "build" / os.environ.get("POSTERN_BUILD", "dev") / "postern-run"
NAMES = ["log", "authd", "filterd", "queued", "smtpd", "imapd", "pop3d"]

DAEMON = """#!/usr/bin/python3
import os, signal, socket, sys, time
base, me = %(base)r, os.path.basename(sys.argv[0])
def say(word):
    fd = os.open(base + "/events", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, ("%%s %%s\\n" %% (me, word)).encode())
    os.close(fd)
def term(*_):
    time.sleep(0.02)
    say("end")
    sys.exit(0)
signal.signal(signal.SIGTERM, term)
signal.signal(signal.SIGHUP, lambda *_: say("hup"))
say("start")
open(base + "/" + me + ".pid", "w").write(str(os.getpid()))
if me == "imapd" and os.path.exists(base + "/with-orphan") and os.fork() == 0:      # a session that survives its daemon
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open(base + "/orphan.pid", "w").write(str(os.getpid()))
    while True:
        time.sleep(1)
if me == "filterd":
    time.sleep(0.3)
say("ready")
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ["NOTIFY_SOCKET"])
s.send(b"READY=1")
assert sys.argv[1:] == ["-f", "-c", base + "/postern.conf"], sys.argv
assert set(os.environ) <= {"PATH", "NOTIFY_SOCKET", "LC_CTYPE"}, os.environ
while True:
    time.sleep(0.05)
"""


class Run:
    def __init__(self, base):
        self.base = base
        base.mkdir(parents=True)
        shutil.copy(RUN, base / "postern-run")
        for n in NAMES:
            (base / n).write_text(DAEMON % {"base": str(base)})
            (base / n).chmod(0o755)
        (base / "postern.conf").write_text("run_directory = %s/run\nmyhostname = a.example\n" % base)
        self.proc = None

    def command(self, *args):
        return [str(self.base / "postern-run"), *args, "-c", str(self.base / "postern.conf")]

    def start(self):
        self.proc = subprocess.Popen(self.command("-f"), stdin=subprocess.DEVNULL, stdout=open(self.base / "out", "ab"), stderr=subprocess.STDOUT)
        self.until(lambda: "pop3d ready" in self.events())
        return self

    def events(self):
        f = self.base / "events"
        return f.read_text().splitlines() if f.exists() else []

    def pid(self, name):
        return int((self.base / (name + ".pid")).read_text())

    def until(self, what, seconds=30):
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, "\n".join(self.events()) + (self.base / "out").read_text()
            time.sleep(0.01)


@pytest.fixture
def run():
    r = Run(pathlib.Path(os.environ["POSTERN_SCRATCH"]) / ("run-%d" % time.monotonic_ns()))
    yield r
    if r.proc and r.proc.poll() is None:
        r.proc.terminate()
        r.proc.wait(30)


def test_each_starts_when_the_one_before_is_ready(run):
    assert run.start().events() == [n + w for n in NAMES for w in (" start", " ready")]


def test_a_dead_daemon_is_back(run):
    run.start()
    n = run.events().count("smtpd start")
    os.kill(run.pid("smtpd"), signal.SIGKILL)
    run.until(lambda: run.events().count("smtpd start") > n)
    assert [e for e in run.events() if e.endswith("start")].count("log start") == 1


def test_stop_ends_all_in_reverse_order_and_what_they_left(run):
    (run.base / "with-orphan").touch()
    run.start()
    orphan = run.pid("orphan")
    p = subprocess.run(run.command("--stop"), timeout=30)
    assert p.returncode == 0 and run.proc.wait(30) == 0
    assert [e for e in run.events() if e.endswith(" end")] == [n + " end" for n in reversed(NAMES)]
    assert not pathlib.Path("/proc/%d" % orphan).exists()


def test_reload_is_passed_on(run):
    run.start()
    assert subprocess.run(run.command("--reload")).returncode == 0
    run.until(lambda: sorted(e for e in run.events() if e.endswith(" hup")) == sorted(n + " hup" for n in NAMES))


def test_second_start_is_refused(run):
    run.start()
    p = subprocess.run(run.command("-f"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
    assert p.returncode != 0 and b"runs already" in p.stdout


def test_background_start_returns_when_all_are_ready(run):
    assert subprocess.run(run.command(), timeout=30).returncode == 0
    assert run.events()[-1] == "pop3d ready"
    assert subprocess.run(run.command("--stop"), timeout=30).returncode == 0
    assert subprocess.run(run.command("--stop"), stderr=subprocess.PIPE).returncode == 1


def test_killed_supervisor_takes_its_daemons_along(run):
    run.start()
    run.proc.kill()
    run.proc.wait()
    run.until(lambda: sorted(e for e in run.events() if e.endswith(" end")) == sorted(n + " end" for n in NAMES))
