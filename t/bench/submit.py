"""Submission beside Postfix: TLS, AUTH PLAIN, one message, QUIT; Postfix asks Dovecot's passwd-file for the password, ours its own password file, both with
the PLAIN scheme and without a cache. Both sides get the same handshake: TLS 1.3, X25519, AES-128-GCM, one P-256 certificate; after it Postfix, as it comes, sends a
session ticket, of which the client makes no use. The client's CPU is a part of every message and the same for all: it bounds the ratio of what is delivered."""
import pathlib
import resource
import time

import suite as lib
from peers import DOMAIN, PASSWORD, SCRATCH, USERS, Dovecot, Postern, Postfix, header, row, wait_port

WANT = 3


class PostfixWithAuth(Postfix):
    """Postfix with a TLS submission port; its password server is Dovecot's, in the same control group."""
    submissions = 465

    def __init__(self, cert_from):
        super().__init__()
        self.cert_from = cert_from

    def start(self):
        etc, socket = self.cert_from.base / "etc", SCRATCH / "dovecot-auth"
        users = ["user%d@%s:{PLAIN}%s:65534:65534::/nonexistent::\n" % (n, DOMAIN, PASSWORD) for n in range(USERS)]
        (SCRATCH / "auth.passwd").write_text("".join(users))
        conf = SCRATCH / "auth.conf"
        conf.write_text(
            "base_dir = %s/auth-run\nprotocols =\nlog_path = %s/auth.log\nauth_cache_size = 0\nssl = no\n"
            "passdb {\n driver = passwd-file\n args = %s/auth.passwd\n}\nuserdb {\n driver = static\n args = uid=65534 gid=65534 home=/nonexistent\n}\n"
            "service auth {\n client_limit = 10000\n unix_listener %s {\n mode = 0666\n }\n}\n" % (SCRATCH, SCRATCH, SCRATCH, socket))
        self.auth = self.popen(["dovecot", "-F", "-c", conf])
        end = time.monotonic() + 20
        while not pathlib.Path(socket).exists() and time.monotonic() < end:
            time.sleep(0.05)
        self.extra = (
            "smtpd_tls_cert_file = %s\nsmtpd_tls_key_file = %s\nsmtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = %s\n"
            % (etc / "cert.pem", etc / "key.pem", socket))
        master = pathlib.Path("/etc/postfix/master.cf")
        if "bench-submissions" not in master.read_text():
            master.write_text(master.read_text() + "\n# bench-submissions\n127.0.0.1:465 inet n - n - - smtpd\n  -o smtpd_tls_wrappermode=yes\n")
        super().start()
        wait_port(self.host, self.submissions)

    def stop(self):
        self.auth.terminate()
        self.auth.wait(20)
        super().stop()


def cpu_of_ended():
    """Of processes that were waited for: between two looks, the client."""
    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return r.ru_utime + r.ru_stime


def bench_submit(medians, messages, load, wait_for_mail, clear_mail):
    header("Submission over TLS with AUTH, 4 KB to %d local maildirs, one message a connection" % USERS, "sessions", "server", "delivered/s", "CPU ms each",
           "the client's", "ratio /s (to reach)", "ratio CPU")
    ours, shared = Postern(), Postern(front_mode="shared")
    shared.name = "postern, shared"
    for p in (ours, shared):
        p.submissions = 465
        for n in range(USERS):
            p.suite.user_add("user%d@%s" % (n, DOMAIN), PASSWORD, "--scheme", "plain")
    peers = [PostfixWithAuth(ours.suite), ours, shared]
    for sessions in (10, 50):
        def work(p):
            clear_mail()
            load("submit", p.host, p.submissions, 2, 50, 4096, USERS, DOMAIN, PASSWORD)
            wait_for_mail(p.name, 50)
            cpu, client = p.group.cpu(), cpu_of_ended()
            _n, seconds = load("submit", p.host, p.submissions, sessions, messages, 4096, USERS, DOMAIN, PASSWORD)
            client = cpu_of_ended() - client
            seconds += wait_for_mail(p.name, messages + 50)
            return messages / seconds, (p.group.cpu() - cpu) * 1000 / messages, client * 1000 / messages
        m = medians(peers, work)
        for p in peers:
            rate, cpu, client = m[p.name]
            row(sessions, p.name, round(rate, 1), cpu, client, "%.2f%s" % (rate / m["postfix"][0], "" if p is peers[0] else " (%g)" % WANT), cpu / m["postfix"][1])
