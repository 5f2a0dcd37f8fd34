"""filterd beside Debian's spam filters: CPU of a message that is checked, memory of the workers, and mail accepted and delivered with filtering on.

The corpus is BENCH_CORPUS (folders easy-ham-*, hard-ham-* and spam-* as t/bench/accuracy takes them), else mail that mkmail makes, which has no spam in it: then
nothing is learned. Every server checks the same messages, by its own protocol, BENCH_FILTER_MESSAGES of them (300) after a warm-up; network tests are off
everywhere, viruses are looked for by filterd (one row is without) and amavis alone, with the shipped test signatures.
Three kinds of messages of 100 KB are made of the corpus (longmail.py)."""
import hashlib
import http.client
import os
import pathlib
import re
import shutil
import smtplib
import socket
import subprocess
import threading
import time

import suite as lib
from longmail import long_kinds
from peers import DOMAIN, SCRATCH, USERS, Peer, Postern, Postfix, header, row, wait_port

COUNT = int(os.environ.get("BENCH_FILTER_MESSAGES", "300"))
LEARN = 400     # of each kind: sa-learn takes a third of a second for one
SPAMD, RSPAMD, AMAVIS, RETURN = 783, 11333, 10024, 10025


def corpus():
    """({"spam": [file …], "ham": […]} to learn, [message …] to check)"""
    where = os.environ.get("BENCH_CORPUS", "")
    if not where:
        made = SCRATCH / "made"
        lib.run([lib.ROOT / "build" / "release" / "x" / "mkmail", made, "1000"])
        return {"spam": [], "ham": []}, [f.read_bytes() for f in sorted((made / "cur").iterdir())]
    learn, check = {"spam": [], "ham": []}, []
    for f in sorted(pathlib.Path(where).glob("*/*.txt")):
        raw = f.read_bytes()
        raw = raw.split(b"\n", 1)[1] if raw.startswith(b"From ") else raw
        if hashlib.sha256(raw).digest()[0] & 1:
            learn["spam" if f.parent.name.startswith("spam") else "ham"].append(f)
        else:
            check.append(raw)
    return {k: v[::max(1, len(v) // LEARN)][:LEARN] for k, v in learn.items()}, check


def chosen(messages):
    """Without those that no server takes over SMTP: a CR of its own is refused by some and changed by others."""
    messages = [m for m in (m.replace(b"\r\n", b"\n") for m in messages) if b"\r" not in m and b"\0" not in m]
    step = max(1, len(messages) // COUNT)
    return messages[::step][:COUNT]


def copies(files, where):
    """A directory of these files, which a learner may read."""
    (where / "cur").mkdir(parents=True, exist_ok=True)
    for f in files:
        shutil.copyfile(f, where / "cur" / (f.parent.name + "-" + f.name))
    return where


def ask_spamd(host, port, message):
    s = socket.create_connection((host, port), timeout=60)
    s.sendall(b"CHECK SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(message) + message)
    s.shutdown(socket.SHUT_WR)
    answer = b""
    while data := s.recv(4096):
        answer += data
    s.close()
    if not re.match(rb"SPAMD/[\d.]+ 0 ", answer):
        raise RuntimeError("%s:%d: %r" % (host, port, answer[:100]))


class Filterd(Postern):
    """filterd with everything, asked by spamd's protocol."""
    def __init__(self, name, learn, rules, workers=1, virus_check="yes"):
        super().__init__(filter_enable="yes", filter_spamd_listeners="127.0.0.2:%d" % SPAMD, filter_clients="127.0.0.0/8", filter_workers=str(workers),
                         filter_virus_check=virus_check,
                         spam_rules_directory="auto" if rules else "", spam_site_directory="/etc/spamassassin" if rules else "")
        self.name, self.learn = name, learn

    def start(self):
        if self.learn["spam"]:
            lib_args = []
            for kind in ("spam", "ham"):
                lib_args += ["--" + kind, copies(self.learn[kind], SCRATCH / "learn" / kind)]
            self.suite.tool("postern-learn", *lib_args)
        super().start()
        wait_port(self.host, SPAMD, 120)

    def check(self, message):
        ask_spamd(self.host, SPAMD, message)


class Spamd(Peer):
    host = "127.0.0.1"

    def __init__(self, name, learn):
        self.name, self.learn = name, learn
        super().__init__()

    def start(self):
        site = SCRATCH / "spamd-site"
        shutil.rmtree(site, ignore_errors=True)
        shutil.copytree("/etc/spamassassin", site)
        with open(site / "zz-bench.cf", "w") as f:
            f.write("use_bayes %d\nbayes_auto_learn 0\nbayes_path %s\nbayes_file_mode 0666\n" % (bool(self.learn["spam"]), SCRATCH / "sa-bayes" / "bayes"))
        (SCRATCH / "sa-bayes").mkdir(exist_ok=True)
        for kind in ("spam", "ham") if self.learn["spam"] else ():
            lib.run(["sa-learn", "--siteconfigpath", site, "--local", "--no-sync", "--" + kind, copies(self.learn[kind], SCRATCH / "learn" / kind) / "cur"])
        if self.learn["spam"]:
            lib.run(["sa-learn", "--siteconfigpath", site, "--local", "--sync"])
        self.process = self.popen(["spamd", "--local", "--siteconfigpath", site, "--round-robin", "--max-children", "1", "--nouser-config", "--username", "nobody",
                                   "--listen", "%s:%d" % (self.host, SPAMD), "--syslog", SCRATCH / "spamd.log"])
        wait_port(self.host, SPAMD, 120)

    def check(self, message):
        ask_spamd(self.host, SPAMD, message)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.group.remove()


class Rspamd(Peer):
    name = "rspamd"
    host = "127.0.0.1"

    def start(self):
        local = pathlib.Path("/etc/rspamd/local.d")
        local.mkdir(exist_ok=True)
        (local / "options.inc").write_text("dns { nameserver = [\"127.0.0.1\"]; timeout = 0.01s; retransmits = 1; }\n")
        for module in ("rbl", "dkim", "spf", "dmarc", "arc", "asn", "fuzzy_check", "mx_check", "phishing"):
            (local / (module + ".conf")).write_text("enabled = false;\n")
        (local / "worker-normal.inc").write_text("count = 1;\nbind_socket = \"%s:%d\";\n" % (self.host, RSPAMD))
        for worker in ("controller", "proxy", "fuzzy"):
            (local / ("worker-%s.inc" % worker)).write_text("enabled = false;\n")
        self.process = self.popen(["rspamd", "-f", "-u", "_rspamd", "-g", "_rspamd"])
        wait_port(self.host, RSPAMD, 300)	# it compiles its patterns first

    def check(self, message):
        c = http.client.HTTPConnection(self.host, RSPAMD, timeout=60)
        c.request("POST", "/checkv2", message)
        r = c.getresponse()
        r.read()
        c.close()
        if r.status != 200:
            raise RuntimeError("rspamd: %d" % r.status)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.group.remove()


class Bogofilter(Peer):
    """A process a message, as delivery agents run it."""
    name = "bogofilter"

    def __init__(self, learn):
        super().__init__()
        self.learn = learn

    def start(self):
        self.db = SCRATCH / "bogofilter"
        self.db.mkdir(exist_ok=True)
        for kind, option in (("spam", "-s"), ("ham", "-n")):
            lib.run(["bogofilter", "-d", self.db, option, "-b"], input="".join("%s\n" % f for f in self.learn[kind]).encode())

    def check(self, message):
        p = subprocess.run(["bogofilter", "-d", self.db], input=message, preexec_fn=self.group.enter, check=False)
        if p.returncode not in (0, 1, 2):
            raise RuntimeError("bogofilter: %d" % p.returncode)

    def stop(self):
        self.group.remove()


class Sink(threading.Thread):
    """Takes what amavis gives back."""
    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", RETURN))

    def run(self):
        while True:
            try:
                s, _peer = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def close(self):
        """Its port is free afterwards: a Postfix that cannot have it ends."""
        self.listener.shutdown(socket.SHUT_RDWR)    # wakes accept, which holds the port
        self.join()
        self.listener.close()

    @staticmethod
    def serve(s):
        f = s.makefile("rwb")
        def say(text):
            f.write(text + b"\r\n")
            f.flush()
        say(b"220 sink ESMTP")
        for line in f:
            verb = line[:4].upper()
            if verb == b"DATA":
                say(b"354 go on")
                while f.readline() not in (b".\r\n", b""):
                    pass
            if verb == b"QUIT":
                say(b"221 bye")
                break
            say(b"250 ok")
        s.close()


class Amavis(Peer):
    """amavisd-new with SpamAssassin and clamd, in one control group. A child serves all of a run: it would end after 20 messages, and who connects while the only one
    ends is cut off."""
    name = "amavis"
    host = "127.0.0.1"

    def __init__(self, sink=True, children=1):
        super().__init__()
        self.sink, self.children = Sink() if sink else None, children

    def start(self):
        base = SCRATCH / "amavis"
        for d in ("", "tmp", "var", "db", "quarantine", "clamav"):
            (base / d).mkdir(parents=True, exist_ok=True)
        shutil.copy(lib.ROOT / "etc" / "share" / "clamav" / "postern-test.ndb", base / "clamav")
        (base / "clamd.conf").write_text("LocalSocket %s/clamd.ctl\nDatabaseDirectory %s/clamav\nForeground yes\nUser root\n" % (base, base))
        (SCRATCH / "amavisd.conf").write_text(
            "use strict;\n$max_servers = %d;\n$max_requests = 10000;\n$daemon_user = 'amavis';\n$daemon_group = 'amavis';\n$mydomain = '%s';\n$myhostname = 'mail.%s';\n"
            "$MYHOME = '%s';\n$TEMPBASE = \"$MYHOME/tmp\";\n$db_home = \"$MYHOME/db\";\n$QUARANTINEDIR = undef;\n"
            "$pid_file = \"$MYHOME/amavisd.pid\";\n$lock_file = \"$MYHOME/amavisd.lock\";\n"
            "$enable_db = 0;\n$enable_zmq = 0;\n$inet_socket_port = %d;\n$inet_socket_bind = '127.0.0.1';\n@inet_acl = qw(127.0.0.1);\n"
            "$log_level = 0;\n$do_syslog = 0;\n$LOGFILE = \"$MYHOME/log\";\n"
            "$sa_local_tests_only = 1;\n$sa_tag2_level_deflt = 6.31;\n$sa_kill_level_deflt = 10000;\n$final_virus_destiny = D_DISCARD;\n$final_spam_destiny = D_PASS;\n"
            "$final_banned_destiny = D_PASS;\n$virus_quarantine_method = undef;\n$forward_method = 'smtp:[127.0.0.1]:%d';\n$notify_method = $forward_method;\n"
            "@av_scanners = (['ClamAV', \\&ask_daemon, [\"CONTSCAN {}\\n\", \"$MYHOME/clamd.ctl\"], "
            "qr/\\bOK$/m, qr/\\bFOUND$/m, qr/^.*?: (?!Infected Archive)(.*) FOUND$/m]);\n1;\n"
            % (self.children, DOMAIN, DOMAIN, base, AMAVIS, RETURN))
        lib.run(["chown", "-R", "amavis:amavis", base])
        if self.sink is not None and not self.sink.is_alive():
            self.sink.start()
        self.clamd = self.popen(["clamd", "-c", base / "clamd.conf"])
        self.process = self.popen(["amavisd", "-c", SCRATCH / "amavisd.conf", "foreground"])
        wait_port(self.host, AMAVIS, 300)

    def check(self, message):
        with smtplib.SMTP(self.host, AMAVIS, timeout=120) as s:
            s.sendmail("a@example.org", ["b@" + DOMAIN], message.replace(b"\n", b"\r\n"))

    def stop(self):
        for p in (self.process, self.clamd):
            p.terminate()
            p.wait(30)
        if self.sink is not None:
            self.sink.close()
        self.group.remove()


def cpu_of(p, messages):
    """ms of each message."""
    out = []
    for m in messages:
        before = p.group.cpu()
        p.check(m)
        out.append((p.group.cpu() - before) * 1000)
    return out


def check_all(p, messages, long):
    p.start()
    try:
        for m in messages[:30] + [kind[0] for kind in long.values()]:
            p.check(m)
        each = sorted(cpu_of(p, messages))
        means = [sum(cpu_of(p, kind)) / len(kind) if kind else float("nan") for kind in long.values()]
        return sum(each) / len(each), each[len(each) * 99 // 100], means, p.pss() / 1024
    finally:
        p.stop()


def bench_check(learn, check, long):
    header("Content filters, %d messages one after the other, one worker" % len(check), "filter", "CPU ms mean (to reach)", "p99",
           *("100 KB " + kind for kind in long), "PSS MB", "times filterd")
    nothing = {"spam": [], "ham": []}
    peers = [Filterd("filterd, Debian's rules", nothing, True)]
    if learn["spam"]:
        peers.append(Filterd("filterd, Debian's rules, learned", learn, True))
    peers += [Filterd("filterd, Debian's rules, no virus engine", nothing, True, virus_check="no"), Filterd("filterd, shipped rules", nothing, False)]
    for program, make in (("rspamd", lambda: [Rspamd()]), ("bogofilter", lambda: [Bogofilter(learn)] if learn["spam"] else []),
                          ("spamd", lambda: [Spamd("spamd", nothing)] + ([Spamd("spamd, learned", learn)] if learn["spam"] else [])),
                          ("amavisd", lambda: [Amavis()] if shutil.which("clamd") else [])):
        if shutil.which(program):
            peers += make()
        else:
            print("(%s is not installed)" % program)
    base = None
    for p in peers:
        mean, p99, means, pss = check_all(p, check, long)
        base = base or mean
        goal = " (3)" if p.name.startswith("filterd") else ""
        row(p.name, "%.2f%s" % (mean, goal), "%.1f%s" % (p99, " (30)" if goal else ""),
            *("%.1f%s" % (of_long, " (6)" if goal else "") for of_long in means), round(pss, 1), mean / base)


def private(pid):
    """KiB that no other process has."""
    text = pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text()
    return sum(int(n) for n in re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+)", text, re.M))


def bench_memory(check, workers=5):
    """What each worker of both kinds has of its own beside what it shares with its template, after messages that went to all of them at once."""
    header("Memory of %d workers without the virus engine, %d messages" % (workers, len(check)), "workers", "processes", "private MB of all (to reach)", "of the largest")
    p = Filterd("filterd", {"spam": [], "ham": []}, True, workers, "no")
    p.start()
    try:
        todo, lock = list(check), threading.Lock()

        def client():
            while True:
                with lock:
                    if not todo:
                        break
                    m = todo.pop()
                p.check(m)
        threads = [threading.Thread(target=client) for _ in range(workers)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        each = [private(pid) / 1024 for pid in p.group.pids() if re.match(rb"filterd: (scoring )?worker", pathlib.Path("/proc/%d/cmdline" % pid).read_bytes())]
        row("filterd", len(each), "%.1f (40)" % sum(each), max(each))
    finally:
        p.stop()


class Classic(Postfix):
    """Postfix, amavisd-new, SpamAssassin and clamd as the usual instructions have them."""
    name = "postfix + amavis"
    extra = "content_filter = smtp-amavis:[127.0.0.1]:%d\n" % AMAVIS

    def __init__(self):
        super().__init__()
        self.amavis = Amavis(sink=False, children=4)
        self.amavis.group = self.group

    def start(self):
        master = pathlib.Path("/etc/postfix/master.cf")
        if "bench-amavis" not in master.read_text():
            master.write_text(master.read_text() + "\n# bench-amavis\nsmtp-amavis unix - - n - 4 smtp\n  -o smtp_data_done_timeout=1200\n"
                              "127.0.0.1:%d inet n - n - - smtpd\n  -o content_filter=\n  -o mynetworks=127.0.0.0/8\n" % RETURN)
        self.amavis.group = self.group
        self.amavis.start()
        super().start()

    def stop(self):
        group, self.group = self.group, type("Kept", (), {"remove": lambda _self: None})()
        try:
            super().stop()
        finally:
            self.group = group
            self.amavis.stop()


def delivered(p, messages, count_mail, clear_mail):
    """Messages a second from the first connection to the last file in a maildir; CPU of each."""
    p.start()
    try:
        clear_mail()
        todo, lock = list(enumerate(messages)), threading.Lock()

        def client():
            s = smtplib.SMTP(p.host, p.smtp, timeout=120)
            while True:
                with lock:
                    if not todo:
                        break
                    n, m = todo.pop()
                s.sendmail("a@example.org", ["user%d@%s" % (n % USERS, DOMAIN)], m.replace(b"\n", b"\r\n"))
            s.quit()
        cpu, start = p.group.cpu(), time.monotonic()
        threads = [threading.Thread(target=client) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        while count_mail() < len(messages):
            time.sleep(0.05)
            if time.monotonic() - start > 600:
                raise RuntimeError("%s: %d of %d arrived" % (p.name, count_mail(), len(messages)))
        took = time.monotonic() - start
        return len(messages) / took, (p.group.cpu() - cpu) * 1000 / len(messages)
    finally:
        p.stop()


def bench_delivered(check, count_mail, clear_mail):
    header("Mail accepted, filtered and delivered to %d maildirs, 8 sessions" % USERS, "server", "messages", "messages/s", "CPU ms each", "ratio /s (to reach)", "ratio CPU")
    ours = Postern(filter_enable="yes", spam_rules_directory="auto", spam_site_directory="/etc/spamassassin", spam_kill_level="never", spam_tag2_level="never",
                   bad_header_action="accept", banned_action="tag", overlimit_action="tag", sender_authentication="no")
    peers, base = [(ours, check * max(1, 1000 // len(check)))], None
    if shutil.which("amavisd") and shutil.which("clamd"):
        peers.insert(0, (Classic(), check[:60]))
    else:
        print("(amavisd-new or clamd is not installed)")
    for p, messages in peers:
        rate, cpu = delivered(p, messages, count_mail, clear_mail)
        base = base or (rate, cpu)
        row(p.name, len(messages), rate, cpu, "%.1f%s" % (rate / base[0], " (50)" if p is ours else ""), cpu / base[1])


def bench_filter(count_mail, clear_mail):
    learn, check = corpus()
    long = long_kinds(check) if learn["spam"] else {}
    some = chosen(check)
    bench_check(learn, some, long)
    bench_memory(some + [m for kind in long.values() for m in kind])
    bench_delivered([m for m in some if len(m) < 50000], count_mail, clear_mail)
