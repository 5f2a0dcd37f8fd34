"""Postern beside Debian's Postfix and Dovecot: the same load, the same machine, the same run, as ratios.

  smtp     4 KB mail to 50 local maildirs, 10 and 50 sessions, one message a connection, all durability on
  login    IMAP logins a second over TLS (P-256, PLAIN password scheme, caches off); then PAM with yescrypt
  idle     memory (PSS) per idle TLS IMAP connection, INBOX selected
  latency  250 after DATA to "* n EXISTS" on an idling connection
  deliver  the local agent: exec to delivered, on a file system where sync costs nothing

Runs inside t/in-namespace. CPU is that of all the server's processes, from a cpuacct control group. Each figure is the median of ROUNDS rounds; peers take
turns, so that noise meets both."""
import os
import pathlib
import random
import re
import smtplib
import socket
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]
import suite as lib  # noqa: E402
import mailtools  # noqa: E402

SCRATCH = pathlib.Path(os.environ["POSTERN_SCRATCH"])
LOAD = lib.ROOT / "build" / "release" / "x" / "load"
USERS, DOMAIN = 50, "bench.example"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
MESSAGES = int(os.environ.get("BENCH_MESSAGES", "1000"))
LOGINS = int(os.environ.get("BENCH_LOGINS", "300"))
CONNECTIONS = int(os.environ.get("BENCH_CONNECTIONS", "200"))
PASSWORD = "benchpass"


class Group:
    """A control group that accounts the CPU of everything started in it."""

    def __init__(self, name):
        self.dir = pathlib.Path("/sys/fs/cgroup/cpuacct/postern-bench-%s-%08x" % (name, random.randrange(1 << 32)))
        try:
            self.dir.mkdir()
        except OSError:
            self.dir = None

    def enter(self):
        if self.dir is not None:
            (self.dir / "cgroup.procs").write_text(str(os.getpid()))

    def cpu(self):
        return int((self.dir / "cpuacct.usage").read_text()) / 1e9 if self.dir is not None else float("nan")

    def pids(self):
        return [int(p) for p in (self.dir / "cgroup.procs").read_text().split()] if self.dir is not None else []

    def remove(self):
        if self.dir is not None:
            try:
                self.dir.rmdir()
            except OSError:
                pass


def system_users():
    """user0..user49, with homes on the scratch disk and a yescrypt password in the private shadow."""
    homes = SCRATCH / "home"
    homes.mkdir(exist_ok=True)
    lines = []
    for n in range(USERS):
        name = "user%d" % n
        home = homes / name
        if not home.exists():
            lib.run(["useradd", "--create-home", "--home-dir", home, "--shell", "/usr/sbin/nologin", "--user-group", name])
            os.chmod(home, 0o700)
        lines.append("%s:%s\n" % (name, PASSWORD))
    lib.run(["chpasswd", "-c", "YESCRYPT"], input="".join(lines).encode())


def clear_mail():
    for n in range(USERS):
        lib.run(["rm", "-rf", SCRATCH / "home" / ("user%d" % n) / "Maildir"])


def count_mail():
    total = 0
    for n in range(USERS):
        d = SCRATCH / "home" / ("user%d" % n) / "Maildir" / "new"
        if d.is_dir():
            total += len(os.listdir(d))
    return total


class Peer:
    """A server under test. host and ports; start in its control group; stop."""
    name = "?"

    def __init__(self):
        self.group = Group(self.name.split()[0])

    def popen(self, argv, **kw):
        return subprocess.Popen([str(a) for a in argv], preexec_fn=self.group.enter, stdin=subprocess.DEVNULL,
                                stdout=open(SCRATCH / (self.name.split()[0] + ".out"), "ab"), stderr=subprocess.STDOUT, **kw)

    def pss(self):
        total = 0
        for pid in self.group.pids():
            try:
                text = pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text()
                total += int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1))
            except (OSError, AttributeError):
                pass
        return total


class Postern(Peer):
    name = "postern"
    host = "127.0.0.2"
    imaps, imap, smtp = 993, 143, 25

    def __init__(self, **settings):
        super().__init__()
        s = {"mydestination": "%s localhost" % DOMAIN, "virtual_mailbox_domains": "", "filter_enable": "no", "auth_cache_time": "0",
             "client_connection_count_limit": "10000", "process_limit": "10000", "mail_connections_per_user": "10000",
             "auth_check_workers_max": "64"}
        s.update(settings)
        self.suite = lib.Suite(SCRATCH / ("postern-%d" % random.randrange(1 << 30)), build="release", domain=DOMAIN, hosts=(self.host,),
                               real_ports=True, settings=s)
        self.suite.make()

    def start(self):
        self.suite.start(preexec=self.group.enter)

    def stop(self):
        self.suite.stop()
        self.group.remove()


class Postfix(Peer):
    name = "postfix"
    host = "127.0.0.1"
    smtp = 25

    def start(self):
        conf = pathlib.Path("/etc/postfix")
        spool = SCRATCH / "postfix-spool"
        if not spool.exists():
            lib.run(["cp", "-a", "/var/spool/postfix", spool])
        lib.run(["mount", "--bind", spool, "/var/spool/postfix"])
        (conf / "main.cf").write_text(
            "compatibility_level = 3.6\nmyhostname = mail.%s\nmydestination = %s localhost\nhome_mailbox = Maildir/\n"
            "inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nalias_maps =\nalias_database =\nbiff = no\nmailbox_size_limit = 0\n"
            "smtpd_client_connection_count_limit = 1000\nmaillog_file = /var/spool/postfix/maillog\nmaillog_file_prefixes = /var\n"
            "smtputf8_enable = no\n" % (DOMAIN, DOMAIN))
        self.process = self.popen(["postfix", "start-fg"])
        wait_port(self.host, self.smtp)

    def stop(self):
        lib.run(["postfix", "stop"], check=False)
        self.process.wait(20)
        lib.run(["umount", "/var/spool/postfix"], check=False)
        self.group.remove()


class Dovecot(Peer):
    name = "dovecot"
    host = "127.0.0.1"
    imaps, imap = 993, 143

    def __init__(self, cert_from, pam=False):
        super().__init__()
        self.pam, self.cert_from = pam, cert_from

    def start(self):
        base = SCRATCH / "dovecot"
        (base / "run").mkdir(parents=True, exist_ok=True)
        import pwd
        with open(base / "passwd", "w") as f:
            for n in range(USERS):
                pw = pwd.getpwnam("user%d" % n)
                f.write("user%d:{PLAIN}%s:%d:%d::%s::\n" % (n, PASSWORD, pw.pw_uid, pw.pw_gid, pw.pw_dir))
        passdb = "passdb {\n driver = pam\n args = imap\n}\nuserdb {\n driver = passwd\n}\n" if self.pam else \
            "passdb {\n driver = passwd-file\n args = %s\n}\nuserdb {\n driver = passwd-file\n args = %s\n}\n" % (base / "passwd", base / "passwd")
        etc = self.cert_from.base / "etc"
        (base / "dovecot.conf").write_text(
            "base_dir = %s\nstate_dir = %s\nprotocols = imap\nlisten = %s\nssl = required\nssl_cert = <%s\nssl_key = <%s\n"
            "mail_location = maildir:~/Maildir\nlog_path = %s\ndisable_plaintext_auth = no\nauth_cache_size = 0\nmail_max_userip_connections = 10000\n"
            "default_process_limit = 4000\ndefault_client_limit = 20000\nfirst_valid_uid = 100\n"
            "service imap-login {\n inet_listener imap {\n port = 143\n }\n inet_listener imaps {\n port = 993\n ssl = yes\n }\n}\n"
            "service anvil {\n client_limit = 10000\n}\nservice auth {\n client_limit = 10000\n}\n%s"
            % (base / "run", base / "run", self.host, etc / "cert.pem", etc / "key.pem", base / "log", passdb))
        self.process = self.popen(["dovecot", "-F", "-c", base / "dovecot.conf"])
        wait_port(self.host, self.imap)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        time.sleep(0.5)
        self.group.remove()


def wait_port(host, port, seconds=20):
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, port), timeout=2).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def load(*args):
    p = subprocess.run([str(LOAD), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600)
    text = p.stdout.decode()
    m = re.search(r"done (\d+) seconds ([\d.]+) errors (\d+)", text)
    if m is None or int(m.group(3)) > 0:
        raise RuntimeError("load %s: %s %s" % (args, text, p.stderr.decode()))
    return int(m.group(1)), float(m.group(2))


def row(*cells):
    print("| " + " | ".join("%.2f" % c if isinstance(c, float) else str(c) for c in cells) + " |", flush=True)


def header(title, *cells):
    print("\n## %s\n" % title)
    row(*cells)
    print("|" + "---|" * len(cells), flush=True)


def medians(peers, work):
    """work(peer) -> tuple of numbers; ROUNDS rounds in turn; medians per peer."""
    got = {p.name: [] for p in peers}
    for _round in range(ROUNDS):
        for p in peers:
            p.start()
            try:
                got[p.name].append(work(p))
            finally:
                p.stop()
                p.group = Group(p.name.split()[0])
    return {n: [statistics.median(x) for x in zip(*v)] for n, v in got.items()}


def bench_smtp():
    header("SMTP: 4 KB to %d local maildirs, %d messages, one a connection" % (USERS, MESSAGES),
           "sessions", "server", "delivered/s", "CPU s per 1000", "ratio /s", "ratio CPU")
    peers = [Postfix(), Postern()]
    filtered = Postern(filter_enable="yes")
    filtered.name = "postern with filter"
    peers.append(filtered)
    for sessions in (10, 50):
        def work(p):
            clear_mail()
            load("smtp", p.host, p.smtp, 2, 50, 4096, USERS, DOMAIN)   # warm: maildirs exist, processes run
            while count_mail() < 50:
                time.sleep(0.02)
            cpu, t0 = p.group.cpu(), time.monotonic()
            load("smtp", p.host, p.smtp, sessions, MESSAGES, 4096, USERS, DOMAIN)
            while count_mail() < MESSAGES + 50:
                time.sleep(0.02)
                if time.monotonic() - t0 > 120:
                    raise RuntimeError("%s: only %d of %d messages arrived" % (p.name, count_mail() - 50, MESSAGES))
            return MESSAGES / (time.monotonic() - t0), (p.group.cpu() - cpu) * 1000 / MESSAGES
        m = medians(peers, work)
        for p in peers:
            rate, cpu = m[p.name]
            row(sessions, p.name, round(rate, 1), cpu, rate / m["postfix"][0], cpu / m["postfix"][1])


def add_plain_users(s):
    for n in range(USERS):
        s.user_add("user%d@%s" % (n, DOMAIN), PASSWORD, "--scheme", "plain")


def bench_login():
    header("IMAP logins over TLS (P-256), %d, 10 at once: connect, handshake, LOGIN, LOGOUT" % LOGINS,
           "passwords", "server", "logins/s", "CPU ms each", "ratio /s", "ratio CPU")
    for kind in ("PLAIN scheme", "PAM, yescrypt"):
        pam = kind.startswith("PAM")
        ours = Postern(virtual_mailbox_domains="" if pam else DOMAIN, mydestination="localhost")
        ours.domain = "-" if pam else DOMAIN
        theirs = Dovecot(ours.suite, pam=pam)
        theirs.domain = "-"
        if not pam:
            add_plain_users(ours.suite)

        def work(p):
            load("login", p.host, p.imaps, 10, 50, USERS, p.domain, PASSWORD, "tls")
            cpu = p.group.cpu()
            n, seconds = load("login", p.host, p.imaps, 10, LOGINS, USERS, p.domain, PASSWORD, "tls")
            return n / seconds, (p.group.cpu() - cpu) * 1000 / n
        m = medians([theirs, ours], work)
        for p in (theirs, ours):
            rate, cpu = m[p.name]
            row(kind, p.name, round(rate, 1), cpu, rate / m["dovecot"][0], cpu / m["dovecot"][1])


def bench_idle():
    header("Idle TLS IMAP connections: %d of %d users, INBOX selected, IDLE" % (CONNECTIONS, USERS),
           "server", "PSS KB per connection", "ratio")
    base = None
    modes = []
    plain = Postern(virtual_mailbox_domains=DOMAIN, mydestination="localhost")
    add_plain_users(plain.suite)
    plain.domain = DOMAIN
    theirs = Dovecot(plain.suite)
    theirs.domain = "-"
    modes = [("dovecot", theirs), ("postern, front_mode = isolated", plain)]
    shared = Postern(virtual_mailbox_domains=DOMAIN, mydestination="localhost", front_mode="shared")
    add_plain_users(shared.suite)
    shared.domain = DOMAIN
    modes.append(("postern, front_mode = shared", shared))
    for label, p in modes:
        p.start()
        try:
            load("login", p.host, p.imaps, 10, 50, USERS, p.domain, PASSWORD, "tls")
            time.sleep(8)
            before = p.pss()
            q = subprocess.Popen([str(LOAD), "idle", p.host, str(p.imaps), str(CONNECTIONS), str(USERS), p.domain, PASSWORD, "tls"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert q.stdout.readline().strip() == b"ready"
            time.sleep(2)
            each = (p.pss() - before) / CONNECTIONS
            q.stdin.close()
            q.wait(30)
        finally:
            p.stop()
        base = base or each
        row(label, round(each, 1), each / base)


def bench_latency():
    header("Latency: 250 after DATA to * EXISTS on an idling TLS connection, 40 messages, random pauses", "server", "median ms", "min", "max")
    p = Postern(virtual_mailbox_domains=DOMAIN, filter_enable="yes", mydestination="localhost")
    p.suite.user_add("user0@" + DOMAIN, PASSWORD)
    p.start()
    try:
        w = mailtools.Wire(p.host, p.imaps, timeout=30, context=p.suite.tls_context())
        w.line()
        assert w.imap("a", "LOGIN user0@%s %s" % (DOMAIN, PASSWORD))[-1].startswith(b"a OK")
        assert w.imap("b", "SELECT INBOX")[-1].startswith(b"b OK")
        w.send("c IDLE\r\n")
        w.line()
        s = smtplib.SMTP(p.host, p.smtp, timeout=30)
        s.ehlo()
        times = []
        for _n in range(40):
            time.sleep(random.uniform(0.2, 0.6))
            s.mail("x@y.example")
            s.rcpt("user0@" + DOMAIN)
            s.docmd("DATA")
            s.send(b"Subject: latency\r\n\r\nx\r\n.\r\n")
            assert s.getreply()[0] == 250
            t0 = time.monotonic()
            while b"EXISTS" not in w.line():
                pass
            times.append((time.monotonic() - t0) * 1000)
        row("postern", statistics.median(times), min(times), max(times))
    finally:
        p.stop()


def bench_deliver():
    """Plays queued's part: start the agent, one message, exit."""
    import agent
    header("deliver: exec, one 4 KB message, commit (maildir in memory: sync costs nothing)", "runs", "median ms", "p90 ms", "max ms")
    times = agent.time_deliver(SCRATCH, runs=200)
    times.sort()
    row(len(times), statistics.median(times), times[len(times) * 9 // 10], times[-1])


def main():
    words = sys.argv[1:] or ["smtp", "login", "idle", "latency", "deliver"]
    print("# Postern beside Debian's Postfix and Dovecot\n")
    print("%d processors, median of %d rounds, peers in turn." % (os.cpu_count(), ROUNDS))
    lib.ensure_users()
    system_users()
    for w in words:
        {"smtp": bench_smtp, "login": bench_login, "idle": bench_idle, "latency": bench_latency, "deliver": bench_deliver}[w]()


main()
