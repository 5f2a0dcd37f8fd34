"""A whole Postern in one directory: layout, users, certificates, configuration, start, stop. Used by `make demo`
(t/demo) and by the tests (t/conftest.py). Python's standard library only; needs root."""
import os
import pathlib
import pwd
import re
import secrets
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

USERS = ["smtp", "imap", "pop3", "sasl", "pam", "key", "queue", "map", "mda", "remote", "filter", "milter", "spamd", "dns", "policy", "sts", "log"]
PORTS = {"SMTP_PORT": 25, "SUBMISSION_PORT": 587, "SUBMISSIONS_PORT": 465, "IMAP_PORT": 143, "IMAPS_PORT": 993,
         "POP3_PORT": 110, "POP3S_PORT": 995}


def run(argv, check=True, **kw):
    """Run a command; its output is in the exception when it fails."""
    p = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       stdin=kw.pop("stdin", subprocess.DEVNULL) if "input" not in kw else None, **kw)
    if check and p.returncode != 0:
        raise RuntimeError("%s: exit %d\n%s" % (" ".join(map(str, argv)), p.returncode,
                                                p.stdout.decode("utf-8", "replace")))
    return p


def ensure_users():
    """The suite's system users, each with a group of its own; _postern_pam may read shadow."""
    made = []
    for u in USERS:
        name = "_postern_" + u
        try:
            pwd.getpwnam(name)
        except KeyError:
            run(["useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell",
                 "/usr/sbin/nologin", "--user-group", name])
            made.append(name)
    run(["usermod", "-a", "-G", "shadow", "_postern_pam"])
    return made


def suitable(path):
    """Can a setuid program be run, and a root-owned database be trusted, below path? None, or the reason why not."""
    p = pathlib.Path(path).absolute()
    while not p.exists():
        p = p.parent
    p = p.resolve()
    if os.statvfs(p).f_flag & os.ST_NOSUID:
        return "%s is mounted nosuid" % p
    if os.statvfs(p).f_flag & os.ST_NOEXEC:
        return "%s is mounted noexec" % p
    for d in [p, *p.parents]:
        s = d.stat()
        if not s.st_mode & stat.S_IXOTH:
            return "%s is not searchable by all" % d
        if s.st_uid != 0:
            return "%s does not belong to root" % d
        if s.st_mode & 0o022 and not s.st_mode & stat.S_ISVTX:
            return "%s is writable by others" % d
    return None


def private(path, copy=False):
    """An empty folder, or a copy, in place of one of the machine, with its owner, for this test's namespace only."""
    mine = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "private" / secrets.token_hex(4)
    mine.mkdir(parents=True)
    there = os.stat(path)
    if copy:
        run(["cp", "-a", str(path) + "/.", mine])
    os.chown(mine, there.st_uid, there.st_gid)
    mine.chmod(0o755)
    run(["mount", "--bind", mine, path])
    return pathlib.Path(path)


SANITIZER_LOG = pathlib.Path("/mnt/sanitizer.log")      # where daemons of BUILD=asan report (lib/os/proc.c)


class Suite:
    extra_settings = {}     # the tests' own: beside the defaults, below a suite's settings

    def __init__(self, base, build="release", domain="example.com", hosts=("127.0.0.1", "[::1]"), port_base=10000,
                 real_ports=False, settings=None):
        self.base = pathlib.Path(base).absolute()
        self.build = ROOT / "build" / build
        self.domain = domain
        self.hosts = hosts
        self.ports = {k: v if real_ports else port_base + v for k, v in PORTS.items()}
        self.settings = dict(settings or {})
        self.bin = self.base / "libexec"
        self.conf = self.base / "etc" / "postern.conf"
        self.ca = self.base / "etc" / "ca.pem"
        self.run_dir = self.base / "run"
        self.state = self.base / "state"
        self.spool = self.base / "spool"
        self.log = self.base / "log" / "maillog"
        self.host = "localhost"
        self.supervisor = None

    # --- making it ---

    def make(self):
        ensure_users()
        self.layout()
        self.install()
        self.certificates()
        self.configure()

    def layout(self):
        def d(p, mode=0o755, user="root"):
            p.mkdir(parents=True, exist_ok=True)
            pw = pwd.getpwnam(user)
            os.chown(p, pw.pw_uid, pw.pw_gid)
            os.chmod(p, mode)
        for p in [self.base, self.base / "etc", self.run_dir, self.state, self.bin, self.state / "mail"]:
            d(p)
        d(self.run_dir / "empty", 0o555)
        d(self.spool, 0o750)
        d(self.log.parent, 0o755, "_postern_log")

    def install(self):
        mda = pwd.getpwnam("_postern_mda").pw_gid
        for f in sorted(self.build.iterdir()):
            if not f.is_file() or not os.access(f, os.X_OK) or f.suffix:
                continue
            to, new = self.bin / f.name, self.bin / (f.name + ".new")
            shutil.copyfile(f, new)
            os.chown(new, 0, mda if f.name == "deliver" else 0)
            os.chmod(new, 0o4710 if f.name == "deliver" else 0o755)
            os.rename(new, to)
        share = self.base / "share"
        if (ROOT / "etc" / "share").is_dir():
            shutil.copytree(ROOT / "etc" / "share", share, dirs_exist_ok=True)

    def certificates(self):
        etc = self.base / "etc"
        cert, key, cakey = etc / "cert.pem", etc / "key.pem", etc / "ca-key.pem"
        if cert.exists() and key.exists() and self.ca.exists():
            if run(["openssl", "x509", "-checkend", "604800", "-noout", "-in", cert], check=False).returncode == 0:
                return
        old = os.umask(0o077)
        try:
            ext = etc / "ext.cnf"
            ext.write_text("subjectAltName=DNS:localhost,DNS:mail.%s,IP:127.0.0.1,IP:::1\n"
                           "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n"
                           % self.domain)
            ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            run(["openssl", "req", "-x509", *ec, "-keyout", cakey, "-out", self.ca, "-days", "3650",
                 "-subj", "/CN=Postern demo CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign"])
            run(["openssl", "req", *ec, "-keyout", key, "-out", etc / "cert.csr", "-subj", "/CN=mail." + self.domain])
            run(["openssl", "x509", "-req", "-in", etc / "cert.csr", "-CA", self.ca, "-CAkey", cakey,
                 "-CAcreateserial", "-days", "825", "-extfile", ext, "-out", cert])
            for f in (self.ca, cert):
                os.chmod(f, 0o644)
            for f in (ext, etc / "cert.csr"):
                f.unlink()
        finally:
            os.umask(old)

    def default_settings(self):
        p, listen = self.ports, lambda *l: " ".join("%s:%d/%s" % (h, self.ports[n], prof)
                                                    for n, prof in l for h in self.hosts)
        del p
        return {
            "myhostname": "mail." + self.domain, "mydomain": self.domain, "myorigin": "$mydomain",
            "shared_seen": "private",	# what more can go wrong with
            "mydestination": "$myhostname localhost.$mydomain localhost",
            "virtual_mailbox_domains": self.domain,
            "run_directory": self.run_dir, "state_directory": self.state, "queue_directory": self.spool,
            "libexec_directory": self.bin, "share_directory": self.base / "share", "maillog_file": self.log,
            "spam_rules_directory": "", "spam_site_directory": "", "spam_tag_level": "never",	# the same rules and headers on every machine
            "tls_cert_file": self.base / "etc" / "cert.pem", "tls_key_file": self.base / "etc" / "key.pem",
            "alias_maps": "cdb:%s" % (self.base / "etc" / "aliases"),
            "virtual_alias_maps": "cdb:%s" % (self.base / "etc" / "virtual"),
            "smtp_listeners": listen(("SMTP_PORT", "smtp"), ("SUBMISSION_PORT", "submission"),
                                     ("SUBMISSIONS_PORT", "submissions")),
            "imap_listeners": listen(("IMAP_PORT", "imap"), ("IMAPS_PORT", "imaps")),
            "pop3_listeners": listen(("POP3_PORT", "pop3"), ("POP3S_PORT", "pop3s")),
        }

    def configure(self):
        """Write postern.conf and the maps. Kept when they exist and no settings are given (the administrator's edits live)."""
        etc = self.base / "etc"
        if not (etc / "aliases").exists():
            (etc / "aliases").write_text("# Local aliases, aliases(5). Compile with: postalias %s\n"
                                         "postmaster: root\nmailer-daemon: postmaster\nroot: alice@%s\n"
                                         % (etc / "aliases", self.domain))
        if not (etc / "virtual").exists():
            (etc / "virtual").write_text("# Envelope rewriting. Compile with: postmap %s\n"
                                         "postmaster@%s alice@%s\n" % (etc / "virtual", self.domain, self.domain))
        all_settings = {**self.default_settings(), **self.extra_settings, **self.settings}
        text = "# Postern's configuration; postern.conf(5) describes every parameter.\n"
        text += "".join("%s = %s\n" % kv for kv in all_settings.items())
        self.conf.write_text(text)
        os.chmod(self.conf, 0o644)
        run([self.bin / "postalias", "-c", self.conf, "cdb:%s" % (etc / "aliases")])
        run([self.bin / "postmap", "-c", self.conf, "cdb:%s" % (etc / "virtual")])

    # --- users ---

    def user_exists(self, name):
        p = self.tool("postern-user", "list")
        return any(line.split() and line.split()[0] == name for line in p.stdout.decode().splitlines())

    def user_add(self, name, password, *options):
        self.tool("postern-user", "add", name, "--password-stdin", *options, input=password.encode() + b"\n")

    def user_passwd(self, name, password):
        self.tool("postern-user", "passwd", name, "--password-stdin", input=password.encode() + b"\n")

    def maildir(self, name):
        p = self.tool("postern-user", "show", name)
        for line in p.stdout.decode().splitlines():
            k, _, v = line.partition(":") if ":" in line.split("=")[0] else line.partition("=")
            if k.strip() == "maildir":
                return pathlib.Path(v.strip())
        raise RuntimeError("postern-user show %s names no maildir:\n%s" % (name, p.stdout.decode()))

    # --- running ---

    def tool(self, name, *args, check=True, **kw):
        """Run one of the suite's tools with this configuration."""
        return run([self.bin / name, "-c", self.conf, *args], check=check, **kw)

    def start(self, wait=60, preexec=None):
        """Start the supervisor and wait until every port answers. preexec: called in the child before it is executed."""
        if self.pid() is not None:
            raise RuntimeError("it runs already")
        if self.build.name.startswith("asan") and "POSTERN_SCRATCH" in os.environ:
            SANITIZER_LOG.touch()
            os.chmod(SANITIZER_LOG, 0o666)
            os.environ["ASAN_OPTIONS"] = "detect_leaks=0"
        out = open(self.base / "log" / "stderr", "ab")
        flags = "-fn" if os.environ.get("POSTERN_UNCONFINED") == "1" else "-f"
        self.supervisor = subprocess.Popen([str(self.bin / "postern-run"), flags, "-c", str(self.conf)],
                                           stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                           preexec_fn=preexec)
        out.close()
        end = time.monotonic() + wait
        for port in self.ports.values():
            while True:
                if self.supervisor.poll() is not None:
                    raise RuntimeError("postern-run ended with %d\n%s" % (self.supervisor.returncode, self.trouble()))
                try:
                    with socket.create_connection((self.hosts[0].strip("[]"), port), timeout=30) as s:
                        s.settimeout(30)
                        if port in (self.ports["SMTP_PORT"], self.ports["POP3_PORT"], self.ports["IMAP_PORT"]):
                            greeting = s.recv(200)
                            if greeting[:3] not in (b"220", b"+OK", b"* O"):
                                raise OSError("busy: %r" % greeting)
                        break
                except OSError as why:
                    if time.monotonic() > end:
                        raise RuntimeError("port %d does not answer after %d s: %s\n%s"
                                           % (port, wait, why, self.trouble()))
                    time.sleep(0.05)

    def logged(self, pattern, seconds=30):
        """Wait until the log holds what the pattern says (lines are written a moment after what they tell of): the match."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.log.read_text(errors="replace"), re.M)
            if found:
                return found
            if time.monotonic() > end:
                raise AssertionError("not logged: %s\n%s" % (pattern, self.trouble()))
            time.sleep(0.02)

    def trouble(self):
        text = ""
        for f in (self.base / "log" / "stderr", self.log):
            if f.exists():
                text += "--- %s\n%s" % (f, f.read_bytes()[-4000:].decode("utf-8", "replace"))
        return text

    def pid(self):
        try:
            pid = int((self.run_dir / "postern.pid").read_text().split()[0])
            cmd = pathlib.Path("/proc/%d/cmdline" % pid).read_bytes()
        except (OSError, ValueError, IndexError):
            return None
        return pid if b"postern" in cmd else None

    def stop(self, wait=30):
        pid = self.pid()
        if pid is None and self.supervisor is not None and self.supervisor.poll() is None:
            pid = self.supervisor.pid
        if pid is None:
            return False
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + wait
        while time.monotonic() < end:
            if self.supervisor is not None:
                self.supervisor.poll()
            if not pathlib.Path("/proc/%d" % pid).exists() or \
                    pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
            time.sleep(0.05)
        raise RuntimeError("postern-run (pid %d) does not end" % pid)

    def reload(self):
        os.kill(self.pid(), signal.SIGHUP)

    def processes(self):
        """[(pid, user, comm, command line)] of the supervisor and all below it."""
        kids = {}
        info = {}
        for p in pathlib.Path("/proc").iterdir():
            if not p.name.isdigit():
                continue
            try:
                st = (p / "stat").read_text()
                comm, rest = st[st.index("(") + 1:st.rindex(")")], st.rsplit(")", 1)[1].split()
                uid = int([l for l in (p / "status").read_text().splitlines() if l.startswith("Uid:")][0].split()[1])
                cmd = (p / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
            except (OSError, ValueError, IndexError):
                continue
            try:
                user = pwd.getpwuid(uid).pw_name
            except KeyError:
                user = str(uid)
            info[int(p.name)] = (user, comm, cmd)
            kids.setdefault(int(rest[1]), []).append(int(p.name))
        out, todo = [], [self.pid()]
        while todo:
            pid = todo.pop()
            if pid in info:
                out.append((pid, *info[pid]))
                todo += kids.get(pid, [])
        return sorted(out)

    # --- talking to it ---

    def tls_context(self):
        return ssl.create_default_context(cafile=str(self.ca))

    def port(self, name):
        return self.ports[name + "_PORT"]


def random_password():
    return secrets.token_urlsafe(12)


def shell_quote(value):
    return "'" + str(value).replace("'", "'\\''") + "'"
