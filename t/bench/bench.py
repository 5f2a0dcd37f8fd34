"""Postern beside Debian's Postfix, OpenSMTPD and Dovecot: the same load, the same machine, the same run, as ratios.

  smtp     mail to 50 local maildirs: sessions, messages a connection, sizes (SMTP_ROWS), all durability on. BENCH_SMTP=10x20,1x1 takes only
           these rows (or 10x20x4096), BENCH_PEERS=postfix,postern only these servers; without postfix there are no ratios
  login    IMAP logins a second over TLS (P-256, PLAIN password scheme, caches off); then PAM with yescrypt
  idle     memory (PSS) per idle TLS IMAP connection, INBOX selected
  latency  250 after DATA to "* n EXISTS" on an idling connection
  front    smtpd's fronts: idle memory, what a fork copies, mail among thousands of idle connections (front.py)
  relay    mail to one and to a hundred other servers, which answer at once or after 200 ms (relay.py)
  filter   filterd beside spamd, rspamd, bogofilter and amavisd-new: CPU of a message, mail delivered with filtering on (filter.py); only when asked for
  drain    a queue of 1,000 and of 100,000 messages: start, memory, rate; Postern alone; only when asked for: it takes long
  deliver  the local agent: exec to delivered, on a file system where sync costs nothing
  mailbox  one large folder, each IMAP and POP3 operation, beside Dovecot and Cyrus (mailbox.py); only when asked for: it takes long

Runs inside t/in-namespace. CPU is that of all the server's processes, from a cpuacct control group. Each figure is the median of ROUNDS rounds; peers take
turns, so that noise meets both."""
import math
import os
import pathlib
import random
import re
import smtplib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]
import suite as lib  # noqa: E402
import filter as filters  # noqa: E402
import mailtools  # noqa: E402
import opensmtpd  # noqa: E402
import relay  # noqa: E402
import submit  # noqa: E402
from peers import DOMAIN, PASSWORD, SCRATCH, USERS, Dovecot, Group, OpenSmtpd, Postern, Postfix, chosen, header, row  # noqa: E402

LOAD = lib.ROOT / "build" / "release" / "x" / "load"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
MESSAGES = int(os.environ.get("BENCH_MESSAGES", "1000"))
LOGINS = int(os.environ.get("BENCH_LOGINS", "300"))
CONNECTIONS = int(os.environ.get("BENCH_CONNECTIONS", "200"))


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
    """Moved aside: a removal would be paid for by the server that comes next. An ext4 without a journal looks at every inode that was freed in the last minute before
    it gives one out, which can be half of what a message costs. So each server pays for the files that it removes itself, and for no others."""
    aside = SCRATCH / "home" / ("aside-%d" % time.monotonic_ns())
    aside.mkdir()
    for n in range(USERS):
        maildir = SCRATCH / "home" / ("user%d" % n) / "Maildir"
        if maildir.exists():
            maildir.rename(aside / str(n))


def forget_mail():
    """What was moved aside, once a table is done."""
    lib.run(["sh", "-c", "rm -rf %s/home/aside-*" % SCRATCH])


def count_mail():
    total = 0
    for n in range(USERS):
        d = SCRATCH / "home" / ("user%d" % n) / "Maildir" / "new"
        if d.is_dir():
            total += len(os.listdir(d))
    return total


def wait_for_mail(name, n):
    """Until n messages have arrived in all: an answer of 250 is not yet a delivery with every server. Returns how long that took, without the last look."""
    t0 = time.monotonic()
    while True:
        seconds = time.monotonic() - t0
        got = count_mail()
        if got >= n:
            return seconds
        if seconds > 120:
            raise RuntimeError("%s: only %d of %d messages arrived" % (name, got, n))
        time.sleep(0.005)


def load(*args):
    p = subprocess.run([str(LOAD), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600)
    text = p.stdout.decode()
    m = re.search(r"done (\d+) seconds ([\d.]+) errors (\d+)", text)
    if m is None or int(m.group(3)) > 0:
        raise RuntimeError("load %s: %s %s" % (args, text, p.stderr.decode()))
    return int(m.group(1)), float(m.group(2))


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


SMALL = 4096
# sessions, messages a connection, bytes, messages as a share of MESSAGES; what the ratios to Postfix are to reach: messages/s, CPU.
SMTP_ROWS = [
    (1, 1, SMALL, 0.5, 2, 0.4), (10, 1, SMALL, 2, 4, 0.4), (50, 1, SMALL, 2, 4, 0.4),
    (1, 20, SMALL, 0.5, 2, 0.25), (10, 20, SMALL, 2, 4, 0.25), (50, 20, SMALL, 2, 4, 0.25),
    (10, 20, 100 << 10, 0.5, 2, None), (10, 5, 5 << 20, 0.05, 2, None),
]


def bench_smtp():
    header("SMTP: mail to %d local maildirs, everything durable" % USERS, "sessions", "a connection", "bytes", "server", "delivered/s",
           "CPU ms each", "ratio /s (to reach)", "ratio CPU (to reach)")
    peers = [Postfix(), Postern(), Postern(front_mode="shared"), Postern(filter_enable="yes")]
    peers[2].name, peers[3].name = "postern, shared", "postern, filter"
    if opensmtpd.MISSING is None:
        peers.insert(1, OpenSmtpd())
    else:
        print("(%s)" % opensmtpd.MISSING)
    peers = [p for p in peers if chosen("BENCH_PEERS", p.name)]
    for sessions, each, size, share, want_rate, want_cpu in SMTP_ROWS:
        if not chosen("BENCH_SMTP", "%dx%d" % (sessions, each)) and not chosen("BENCH_SMTP", "%dx%dx%d" % (sessions, each, size)):
            continue
        messages = max(int(MESSAGES * share), 2 * sessions)

        def work(p):
            clear_mail()
            if size > SMALL:
                forget_mail()   # 250 MB each time
            load("smtp", p.host, p.smtp, 2, 50, 4096, USERS, DOMAIN)   # warm: maildirs exist, processes run
            wait_for_mail(p.name, 50)
            cpu = p.group.cpu()
            _n, seconds = load("smtp", p.host, p.smtp, sessions, messages, size, USERS, DOMAIN, each)
            seconds += wait_for_mail(p.name, messages + 50)
            return messages / seconds, (p.group.cpu() - cpu) * 1000 / messages
        m = medians(peers, work)
        for p in peers:
            rate, cpu = m[p.name]
            reach = p.name in ("postern", "postern, shared")
            base = m.get("postfix", (math.nan, math.nan))
            row(sessions, each, size, p.name, round(rate, 1), cpu, "%.2f%s" % (rate / base[0], " (%g)" % want_rate if reach else ""),
                "%.2f%s" % (cpu / base[1], " (%g)" % want_cpu if reach and want_cpu else ""))


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


def bench_mailbox():
    import mailbox
    mailbox.main()


def bench_front():
    import front
    front.main()


def main():
    words = sys.argv[1:] or ["smtp", "front", "submit", "relay", "login", "idle", "latency", "deliver"]
    print("# Postern beside Debian's Postfix and Dovecot\n")
    print("%d processors, median of %d rounds, peers in turn." % (os.cpu_count(), ROUNDS))
    lib.ensure_users()
    system_users()
    for w in words:
        {"smtp": bench_smtp, "login": bench_login, "idle": bench_idle, "latency": bench_latency, "deliver": bench_deliver, "front": bench_front,
         "relay": lambda: relay.bench_relay(medians, MESSAGES), "drain": lambda: relay.bench_drain(medians, MESSAGES),
         "submit": lambda: submit.bench_submit(medians, MESSAGES, load, wait_for_mail, clear_mail), "mailbox": bench_mailbox,
         "filter": lambda: filters.bench_filter(count_mail, clear_mail)}[w]()
        forget_mail()


main()
