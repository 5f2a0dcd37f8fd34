"""authd alone in a scratch directory; the tests play fronts, queued, sessions and saslauthd's clients."""
import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import time

import ipc
import suite as suite_module

ROOT = suite_module.ROOT

SESSION = """#!/usr/bin/python3 -I
# Plays a session process: takes connections, greets them, ends when told.
import os, socket, sys
sys.path.insert(0, %(lib)r)
import ipc, pathlib
ipc.DEFS = pathlib.Path(%(defs)r)
s = ipc.Channel(socket.socket(fileno=3), "sess", timeout=None)
mode = open(%(mode)r).read().strip()
if mode == "stuck":
    import time
    time.sleep(60)
while True:
    try:
        name, id, f, fd = s.recv()
    except ipc.Closed:
        open(os.path.join(os.getcwd(), "orphan"), "w").close()
        sys.exit(0)
    if name == "END":
        open(os.path.join(os.getcwd(), "ended"), "w").write(f["reason"].decode())
        sys.exit(0)
    if mode == "refuse":
        s.send("REFUSED", conn=f["conn"], code=2, text="mailbox is locked")
        continue
    s.send("ATTACHED", conn=f["conn"])
    facts = "%%s %%d %%d %%d %%s %%s %%s %%s" %% (sys.argv[1], os.getpid(), os.getuid(), os.getgid(), os.getgroups(), os.getcwd(),
                                         f.get("tag", b"").decode(), sorted(os.environ))
    conn = socket.socket(fileno=fd)
    conn.sendall(facts.encode() + b"\\n")
    conn.close()
"""

GATHER = """#!/usr/bin/python3 -I
# Plays the gatherer: says what the file says, or nothing at all.
import json, pathlib, socket, sys
sys.path.insert(0, %(lib)r)
import ipc
ipc.DEFS = pathlib.Path(%(lib)r)
ch = ipc.Channel(socket.socket(fileno=3), "helper", timeout=None)
ch.recv()
ch.send("READY", id=1)
ch.recv()
said = json.load(open(%(said)r))
if said is None:
    try:
        ch.recv()
    except ipc.Closed:
        pass
    sys.exit(0)
for row in said["rows"]:
    ch.send("ACCOUNT", id=1, **row)
ch.send("GATHERED", id=1, count=len(said["rows"]), **said["more"])
"""


class Authd:
    def __init__(self, base, **settings):
        self.base = pathlib.Path(base)
        self.settings = settings
        self.proc = None
        self.run_dir, self.state, self.bin = self.base / "run", self.base / "state", self.base / "libexec"
        self.conf, self.out = self.base / "postern.conf", self.base / "out"
        self.mode = self.base / "session-mode"

    def make(self):
        suite_module.ensure_users()
        for d in (self.base, self.run_dir, self.state, self.bin):
            d.mkdir(parents=True, exist_ok=True)
            os.chmod(d, 0o755)
        build = ROOT / "build" / os.environ.get("POSTERN_BUILD", "dev")
        for f in build.iterdir():
            if f.name.startswith("authd") or f.name == "postern-user":
                shutil.copy(f, self.bin / f.name)
        lib = self.base / "lib"
        lib.mkdir(exist_ok=True)
        shutil.copy(ROOT / "t" / "lib" / "ipc.py", lib)
        shutil.copy(ROOT / "lib" / "ipc" / "sess.def", lib)
        os.chmod(lib, 0o755)
        for n in ("imap-session", "pop3-session"):
            (self.bin / n).write_text(SESSION % {"lib": str(lib), "defs": str(lib), "mode": str(self.mode)})
            os.chmod(self.bin / n, 0o755)
        self.mode.write_text("serve\n")
        cert, key = self.base / "cert.pem", self.base / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out",
                        cert, "-days", "30", "-subj", "/CN=localhost"], check=True, stderr=subprocess.DEVNULL)
        self.configure()

    def configure(self, **more):
        self.settings.update(more)
        s = {"myhostname": "mail.example.com", "mydomain": "example.com", "mydestination": "mail.example.com localhost",
             "run_directory": self.run_dir, "state_directory": self.state, "libexec_directory": self.bin,
             "queue_directory": self.base / "spool", "tls_cert_file": self.base / "cert.pem", "tls_key_file": self.base / "key.pem",
             "auth_throttle_exempt": "127.0.0.0/8", **self.settings}
        self.conf.write_text("".join("%s = %s\n" % kv for kv in s.items()))

    def gathers(self, rows, **more):
        """What the gatherer says from now on; rows None: nothing, until it is given up."""
        said, lib = self.base / "gathered", self.base / "lib"
        shutil.copy(ROOT / "lib" / "ipc" / "helper.def", lib)
        new = said.with_suffix(".new")
        new.write_text(json.dumps(None if rows is None else {"rows": rows, "more": more}))
        os.replace(new, said)
        program = self.bin / "authd-gather"
        program.unlink()
        program.write_text(GATHER % {"lib": str(lib), "said": str(said)})
        os.chmod(program, 0o755)

    def user(self, *args, input=None, check=True):
        p = subprocess.run([self.bin / "postern-user", "-c", self.conf, *args], input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if check:
            assert p.returncode == 0, p.stderr.decode()
        return p

    def add(self, name, password, scheme="plain"):
        self.user("add", name, "--password-stdin", "--scheme", scheme, input=password.encode() + b"\n")

    def start(self, gathers="accounts: ", within=()):
        """gathers: what the log says when the accounts have been gathered. within: a command that executes what follows."""
        out = open(self.out, "ab")
        # The sanitizers' run time does what no sandbox allows.
        sandbox = ["-n"] if os.environ.get("POSTERN_BUILD") == "asan" else []
        self.proc = subprocess.Popen([*within, self.bin / "authd", "-c", self.conf, "-f", "-v", *sandbox], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        out.close()
        self.wait_log(gathers)
        self.wait_log("authd-check is ready")
        self.wait_log("authd-mux is ready")

    def log(self):
        return self.out.read_text(errors="replace") if self.out.exists() else ""

    def mark(self):
        self.at = len(self.log())

    def wait_log(self, text, wait=30.0):
        end = time.monotonic() + wait
        while text not in self.log()[getattr(self, "at", 0):]:
            assert self.proc is None or self.proc.poll() is None, "authd ended\n" + self.log()
            assert time.monotonic() < end, "no %r in the log:\n%s" % (text, self.log()[-4000:])
            time.sleep(0.02)

    def monitor_pid(self):
        """authd's processes: the supervisor's only child."""
        for p in pathlib.Path("/proc").iterdir():
            if p.name.isdigit():
                try:
                    ppid = int((p / "stat").read_text().rsplit(")", 1)[1].split()[1])
                except OSError:
                    continue
                if ppid == self.proc.pid:
                    return int(p.name)
        return None

    def stop(self):
        if self.proc and self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
            self.proc.wait(30)

    def parent(self, service="imap"):
        return ipc.Parent(self.run_dir / "auth" / "register", service)
