"""What the benches share: the servers under test, each in a control group that accounts its CPU, and how results are printed."""
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib")]
import opensmtpd  # noqa: E402
import suite as lib  # noqa: E402

SCRATCH = pathlib.Path(os.environ["POSTERN_SCRATCH"])
USERS, DOMAIN, PASSWORD = 50, "bench.example", "benchpass"


def chosen(name, word):
    """Is this among the words of the environment's list, or the list not given?"""
    words = os.environ.get(name, "").split(",")
    return words == [""] or word in words


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
    extra = ""      # lines of main.cf

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
            "smtputf8_enable = no\n%s" % (DOMAIN, DOMAIN, self.extra))
        self.process = self.popen(["postfix", "start-fg"])
        wait_port(self.host, self.smtp)

    def stop(self):
        lib.run(["postfix", "stop"], check=False)
        self.process.wait(20)
        lib.run(["umount", "/var/spool/postfix"], check=False)
        self.group.remove()


class OpenSmtpd(Peer):
    """Debian's OpenSMTPD, unpacked by t/deps: its package conflicts with Postfix's. In a mount namespace of its own, where it finds the directories that it insists on."""
    name = "opensmtpd"
    host = "127.0.0.3"
    smtp = 25

    def start(self):
        base = SCRATCH / "opensmtpd"
        if not base.exists():
            opensmtpd.make_users()
            opensmtpd.make_spool(base / "spool")
            for d in ("var-spool", "var-lib", "usr-libexec"):
                for kind in ("upper", "work"):
                    (base / (d + "-" + kind)).mkdir(parents=True)
            (base / "smtpd.conf").write_text('listen on %s\naction "on" maildir "~/Maildir"\nmatch from any for domain "%s" action "on"\n' % (self.host, DOMAIN))
            (base / "start").write_text("set -e\n" + "".join(
                "mount -t overlay overlay -o lowerdir=/%s,upperdir=%s,workdir=%s /%s\n" % (d.replace("-", "/"), base / (d + "-upper"), base / (d + "-work"), d.replace("-", "/"))
                for d in ("var-spool", "var-lib", "usr-libexec")) +
                "mount -t tmpfs tmpfs /run\nmkdir -p /var/spool/smtpd /var/lib/opensmtpd/empty /usr/libexec/opensmtpd\nmount --bind %s /var/spool/smtpd\n"
                "mount --bind %s /usr/libexec/opensmtpd\nexec %s -d -f %s\n"
                % (base / "spool", opensmtpd.PLACE / "usr" / "libexec" / "opensmtpd", opensmtpd.SMTPD, base / "smtpd.conf"))
        self.process = self.popen(["unshare", "--mount", "sh", base / "start"], start_new_session=True)
        wait_port(self.host, self.smtp)

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(20)
        for pid in self.group.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.group.remove()


class Dovecot(Peer):
    name = "dovecot"
    host = "127.0.0.1"
    imaps, imap = 993, 143

    def __init__(self, cert_from, pam=False, users=None):
        """users: lines of a passwd-file; else user0 to user49 of the system."""
        super().__init__()
        self.pam, self.cert_from, self.users = pam, cert_from, users

    def start(self):
        base = SCRATCH / "dovecot"
        (base / "run").mkdir(parents=True, exist_ok=True)
        import pwd
        with open(base / "passwd", "w") as f:
            for n in range(USERS) if self.users is None else []:
                pw = pwd.getpwnam("user%d" % n)
                f.write("user%d:{PLAIN}%s:%d:%d::%s::\n" % (n, PASSWORD, pw.pw_uid, pw.pw_gid, pw.pw_dir))
            f.writelines(self.users or [])
        passdb = "passdb {\n driver = pam\n args = imap\n}\nuserdb {\n driver = passwd\n}\n" if self.pam else \
            "passdb {\n driver = passwd-file\n args = %s\n}\nuserdb {\n driver = passwd-file\n args = %s\n}\n" % (base / "passwd", base / "passwd")
        etc = self.cert_from.base / "etc"
        (base / "dovecot.conf").write_text(
            "base_dir = %s\nstate_dir = %s\nprotocols = imap pop3\nlisten = %s\nssl = yes\nssl_cert = <%s\nssl_key = <%s\n"
            "mail_location = maildir:~/Maildir\nmaildir_copy_with_hardlinks = yes\nprotocol !indexer-worker {\n mail_vsize_bg_after_count = 0\n}\nlog_path = %s\ndisable_plaintext_auth = no\nauth_cache_size = 0\nmail_max_userip_connections = 10000\n"
            "default_process_limit = 4000\ndefault_client_limit = 20000\ndefault_vsz_limit = 2G\nfirst_valid_uid = 100\n"
            "service imap-login {\n inet_listener imap {\n port = 143\n }\n inet_listener imaps {\n port = 993\n ssl = yes\n }\n}\n"
            "service pop3-login {\n inet_listener pop3 {\n port = 110\n }\n inet_listener pop3s {\n port = 0\n }\n}\n"
            "service anvil {\n client_limit = 10000\n}\nservice auth {\n client_limit = 10000\n}\n%s"
            % (base / "run", base / "run", self.host, etc / "cert.pem", etc / "key.pem", base / "log", passdb))
        self.process = self.popen(["dovecot", "-F", "-c", base / "dovecot.conf"])
        wait_port(self.host, self.imap)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        time.sleep(0.5)
        self.group.remove()


class Cyrus(Peer):
    """Debian's Cyrus IMAP, unpacked by t/deps: its packages conflict with Dovecot's. As Debian configures it, with these differences: names as other servers
    have them (altnamespace, Cyrus' own default), passwords from a sasldb, POP3 as often as one likes, idled. Nobody hears its syslog."""
    name = "cyrus"
    host = "127.0.0.4"
    imaps, imap = 993, 143
    place = pathlib.Path("/usr/local/lib/postern-tests/cyrus")
    bin = place / "usr" / "lib" / "cyrus" / "bin"
    env = dict(os.environ, LD_LIBRARY_PATH=str(place / "usr" / "lib" / sys.implementation._multiarch))

    @classmethod
    def missing(cls):
        """Why it cannot run, or None."""
        if not (cls.bin / "pop3d").exists():
            return "Cyrus is not there (t/deps bench)"
        lost = [line.split()[0] for line in lib.run(["ldd", cls.bin / "imapd"], env=cls.env).stdout.decode().splitlines() if "not found" in line]
        return "Cyrus lacks " + " ".join(lost) if lost else None

    def __init__(self, cert_from, users):
        """users: local parts of DOMAIN."""
        super().__init__()
        self.base = base = SCRATCH / ("cyrus-%d" % random.randrange(1 << 30))
        if subprocess.run(["getent", "passwd", "cyrus"], stdout=subprocess.DEVNULL).returncode != 0:
            lib.run(["useradd", "--system", "--no-create-home", "--home-dir", "/var/lib/cyrus", "--shell", "/usr/sbin/nologin", "--gid", "mail", "cyrus"])
        for d in ("spool", "run", "sieve", "lib/socket", "lib/db", "lib/msg", "lib/log", "lib/ptclient"):
            (base / d).mkdir(parents=True)
        lib.run(["mount", "-t", "tmpfs", "tmpfs", base / "run"])        # /run in Debian
        for pem in ("cert.pem", "key.pem"):
            lib.run(["cp", cert_from.base / "etc" / pem, base / pem])
        for user in users:
            lib.run(["saslpasswd2", "-p", "-c", "-f", base / "sasldb2", "-u", DOMAIN, user], input=PASSWORD.encode())
        self.conf = (
            "configdirectory: {0}/lib\nproc_path: {0}/run/proc\nmboxname_lockpath: {0}/run/lock\ndefaultpartition: default\npartition-default: {0}/spool\n"
            "altnamespace: yes\nunixhierarchysep: no\nlmtp_downcase_rcpt: yes\nallowanonymouslogin: no\npopminpoll: 0\nautocreate_quota: 0\numask: 077\n"
            "sieveusehomedir: false\nsievedir: {0}/sieve\nhashimapspool: true\nallowplaintext: yes\nsasl_pwcheck_method: auxprop\nsasl_auxprop_plugin: sasldb\n"
            "sasl_sasldb_path: {0}/sasldb2\nsasl_auto_transition: no\nservername: {1}\nvirtdomains: userid\ndefaultdomain: {1}\ntls_server_cert: {0}/cert.pem\n"
            "tls_server_key: {0}/key.pem\ntls_session_timeout: 1440\nidlesocket: {0}/run/idle\nnotifysocket: {0}/run/notify\nlmtpsocket: {0}/run/lmtp\n"
            "syslog_prefix: cyrus\n".format(base, DOMAIN))
        self.search_engine("none")
        (base / "cyrus.conf").write_text(
            'START {{\n recover cmd="{0}/ctl_cyrusdb -r"\n idled cmd="{0}/idled"\n}}\n'
            'SERVICES {{\n imap cmd="{0}/imapd -U 30" listen="{1}:{2}" prefork=0 maxchild=100\n imaps cmd="{0}/imapd -s -U 30" listen="{1}:{3}" prefork=0 maxchild=100\n'
            ' pop3 cmd="{0}/pop3d -U 30" listen="{1}:110" prefork=0 maxchild=50\n}}\n'
            'EVENTS {{\n checkpoint cmd="{0}/ctl_cyrusdb -c" period=30\n}}\n'.format(self.bin, self.host, self.imap, self.imaps))
        lib.run(["chown", "-R", "cyrus:mail", base])
        os.chmod(base, 0o755)

    def search_engine(self, engine):
        """From the next start on; Debian's is none."""
        pathlib.Path("/etc/imapd.conf").write_text("%ssearch_engine: %s\n" % (self.conf, engine))

    def tool(self, name, *args):
        """One of its own programs, as its user; what it printed."""
        return lib.run(["runuser", "-u", "cyrus", "--", self.bin / name, *args], env=self.env).stdout.decode()

    def start(self):
        self.process = self.popen([self.place / "usr" / "sbin" / "cyrmaster", "-D", "-M", self.base / "cyrus.conf",
                                   "-p", self.base / "run" / "master.pid"], env=self.env)
        wait_port(self.host, self.imap)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        end = time.monotonic() + 10
        for pid in self.group.pids():           # idled outlives it
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        while self.group.pids() and time.monotonic() < end:
            time.sleep(0.05)
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


def row(*cells):
    print("| " + " | ".join("%.2f" % c if isinstance(c, float) else str(c) for c in cells) + " |", flush=True)


def header(title, *cells):
    print("\n## %s\n" % title)
    row(*cells)
    print("|" + "---|" * len(cells), flush=True)
