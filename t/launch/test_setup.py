"""postern setup: a server from nothing, again without a change, with an administrator's own files, its DNS records, and the hook for certbot."""
import os
import pathlib
import pwd
import re
import shutil
import socket
import ssl
import stat
import subprocess
import time

import pytest

import suite as suite_module
from named import Names

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = os.environ.get("POSTERN_BUILD", "dev")


class Place:
    """Programs, and the rest of the world below one directory; only the run-time directories need naming, before setup adds its part."""

    def __init__(self, base):
        self.s = suite_module.Suite(base, build=BUILD, real_ports=True, hosts=("127.0.77.1",))
        for d in (base, base / "etc", base / "log", self.s.bin):
            d.mkdir(parents=True, exist_ok=True)
        suite_module.ensure_users()
        self.s.install()
        self.conf = self.s.conf
        self.etc = base / "etc"

    def setup(self, *args, password=None, check=True):
        p = subprocess.run([self.s.bin / "postern", "-c", self.conf, "setup", *args], input=password, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)
        out = p.stdout.decode()
        assert not check or p.returncode == 0, out
        return p.returncode, out

    def places(self):
        s = self.s
        return ("run_directory = %s\nstate_directory = %s\nqueue_directory = %s\nlibexec_directory = %s\nshare_directory = %s\nmaillog_file = %s\n"
                % (s.run_dir, s.state, s.spool, s.bin, s.base / "share", s.log)
                + "".join("%s = %s\n" % (k, v) for k, v in s.default_settings().items() if k.endswith("_listeners")))

    def snapshot(self):
        return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in self.etc.iterdir()}


@pytest.fixture(scope="module")
def place():
    base = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "setup"
    p = Place(base)
    # An own configuration with what every installation has by default, which setup would take from the build.
    p.conf.write_text(p.places() + "".join("%s = %s\n" % kv for kv in {
        "myhostname": "mail.example.com", "virtual_mailbox_domains": "example.com", "alias_maps": "cdb:%s/aliases" % p.etc,
        "virtual_alias_maps": "cdb:%s/virtual" % p.etc, "tls_cert_file": "%s/cert.pem" % p.etc, "tls_key_file": "%s/key.pem" % p.etc}.items()))
    p.first = p.setup("--yes", "--user", "alice", "--password-stdin", "example.com", password=b"alice-secret\n")[1]
    yield p
    shutil.rmtree(base)


def test_a_new_configuration_is_commented_and_correct(tmp_path):
    os.chmod(tmp_path, 0o755)
    p = Place(tmp_path / "new")
    p.conf.write_text("# only a comment\n\n#myhostname =\n")
    # The default directories are below /var: other ones for this process. A machine on which Postern is installed has them.
    before = {d: os.path.exists(d) and os.listdir(d) for d in ("/var/lib/postern", "/var/spool/postern")}
    hide = 'for d in lib spool; do mount -t tmpfs -o mode=755 tmpfs /var/$d || exit 1; done; exec "$@"'
    out = subprocess.run(["unshare", "--mount", "sh", "-c", hide, "-", p.s.bin / "postern-setup", "-c", p.conf, "--yes", "example.com"],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert before == {d: os.path.exists(d) and os.listdir(d) for d in before}
    text = p.conf.read_text()
    values = dict(re.findall(r"^(\w+) = (.*)$", text, re.M))
    assert values["myhostname"] == "mail.example.com" and values["virtual_mailbox_domains"] == "example.com", out.stdout.decode()
    assert values["tls_key_file"] == "%s/key.pem" % p.etc
    assert text.endswith("# only a comment\n\n#myhostname =\n")
    for i, line in enumerate(text.splitlines()):
        if re.match(r"\w+ =", line):
            assert text.splitlines()[i - 1].startswith("# "), line


def test_all_is_made(place):
    key = place.etc / "key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    text = subprocess.run(["openssl", "x509", "-in", place.etc / "cert.pem", "-noout", "-text"], stdout=subprocess.PIPE, check=True).stdout.decode()
    assert "DNS:mail.example.com" in text and "prime256v1" in text and "TLS Web Server Authentication" in text
    aliases = (place.etc / "aliases").read_text()
    assert "postmaster: root\n" in aliases and "root: alice@example.com\n" in aliases
    assert (place.etc / "aliases.cdb").exists() and (place.etc / "virtual.cdb").exists()
    spool = place.s.spool.stat()
    assert spool.st_uid == 0 and stat.S_IMODE(spool.st_mode) == 0o750 and spool.st_gid == pwd.getpwnam("_postern_queue").pw_gid
    assert "alice@example.com" in place.s.tool("postern-user", "list").stdout.decode()
    assert "the suite does not run" in place.first


def test_again_changes_nothing(place):
    before = place.snapshot()
    out = place.setup("--yes", "--user", "alice", "--password-stdin", "example.com", password=b"another\n")[1]
    assert not re.search(r"^  made ", out, re.M) and "0 made" in out
    maps = {"aliases.cdb", "virtual.cdb"}		# compiled anew: the same content
    after = place.snapshot()
    assert {p: v for p, v in before.items() if p.name not in maps} == {p: v for p, v in after.items() if p.name not in maps}


def test_nobody_to_ask(place):
    status, out = place.setup("example.com", password=b"", check=False)
    assert status == 64 and "--yes" in out


@pytest.mark.parametrize("bad", ["", "example", "exa mple.com", "-x.com", "x..com", "a" * 64 + ".com", "x.com\n", "../etc"])
def test_not_a_domain(place, bad):
    status, out = place.setup("--dns", "--", bad, check=False)
    assert status == 64 and "not a domain" in out


def test_dns(place):
    out = place.setup("--dns", "--hostname", "mx.example.com", "example.com")[1]
    lines = [x for x in out.splitlines() if x and not x.startswith(";")]
    for line in lines:
        assert re.fullmatch(r'[\w.-]+\. IN (A|AAAA|MX|TXT|SRV) \S.*', line), line
    for want in ('example.com. IN MX 10 mx.example.com.', 'example.com. IN TXT "v=spf1 mx -all"', '_imaps._tcp.example.com. IN SRV 0 1 993 mx.example.com.',
                 '_submissions._tcp.example.com. IN SRV 0 1 465 mx.example.com.', '_submission._tcp.example.com. IN SRV 0 0 0 .', '_smtp._tls.example.com. IN TXT "v=TLSRPTv1; rua=mailto:postmaster@example.com"'):
        assert want in lines, want
    assert "DKIM" in out and "_domainkey" not in out


def test_it_serves(place):
    """What setup made is a server that takes mail for postmaster and shows it to the first user."""
    place.s.start()
    try:
        p = subprocess.run(["curl", "-sS", "--crlf", "--max-time", "20", "smtp://127.0.77.1:25", "--mail-from", "x@example.org", "--mail-rcpt",
                            "postmaster@example.com", "-T", "-"], input=b"From: x@example.org\nSubject: first\n\nwords\n", stderr=subprocess.PIPE)
        assert p.returncode == 0, p.stderr.decode()
        p = subprocess.run(["curl", "-sS", "--max-time", "20", "--cacert", place.etc / "cert.pem", "--resolve", "mail.example.com:993:127.0.77.1",
                            "imaps://mail.example.com/INBOX;MAILINDEX=1;SECTION=TEXT", "-u", "alice@example.com:alice-secret"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert b"words" in p.stdout, p.stderr.decode()
        renew(place)
    finally:
        place.s.stop()


def renew(place):
    """certbot's hook: the files are replaced with the right modes; a certificate of another name is left alone."""
    lineage = place.s.base / "lineage"
    lineage.mkdir()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", lineage / "privkey.pem", "-out",
                    lineage / "fullchain.pem", "-days", "90", "-subj", "/CN=mail.example.com", "-addext", "subjectAltName=DNS:mail.example.com"],
                   check=True, stderr=subprocess.DEVNULL)
    env = {**os.environ, "RENEWED_LINEAGE": str(lineage), "POSTERN": str(place.s.bin / "postern"), "CONF": str(place.conf)}
    old = (place.etc / "cert.pem").read_bytes()
    hook = str(ROOT / "etc/certbot/deploy-hook")
    subprocess.run(["sh", hook], env={**env, "RENEWED_DOMAINS": "www.example.com"}, check=True)
    assert (place.etc / "cert.pem").read_bytes() == old
    subprocess.run(["sh", hook], env={**env, "RENEWED_DOMAINS": "example.com mail.example.com"}, check=True)
    assert (place.etc / "cert.pem").read_bytes() == (lineage / "fullchain.pem").read_bytes()
    assert stat.S_IMODE((place.etc / "key.pem").stat().st_mode) == 0o600
    for port in 465, 993, 995:
        wait_for_certificate("127.0.77.1", port, ssl.PEM_cert_to_DER_cert((lineage / "fullchain.pem").read_text()))


    # One that tls_server_sni_maps names lies where certbot has it: it is read again, and nothing is copied.
    names = Names(place.s.base)
    live, elsewhere = place.s.base / "live" / "mail.example.net", place.s.base / "live" / "mail.example.org"
    for directory in live, elsewhere:
        directory.mkdir(parents=True)

    def issue(directory):
        for made, name in zip(names.cert("named"), ("fullchain.pem", "privkey.pem")):
            shutil.copy(made, directory / name)
        return names.der("named")
    before = issue(live)
    names.table.write_text("# comment %s/x %s/y\nmail.example.net %s\n\t%s\n" % (live, live, live / "fullchain.pem", live / "privkey.pem"))
    with place.conf.open("a") as f:
        f.write("tls_server_sni_maps = texthash:%s\n" % names.table)
    place.s.reload()
    wait_for_certificate("127.0.77.1", 993, before, "mail.example.net")
    after, kept = issue(live), (place.etc / "cert.pem").read_bytes()
    issue(elsewhere)
    subprocess.run(["sh", hook], env={**env, "RENEWED_LINEAGE": str(elsewhere), "RENEWED_DOMAINS": "mail.example.org"}, check=True)
    subprocess.run(["sh", hook], env={**env, "RENEWED_LINEAGE": str(live), "RENEWED_DOMAINS": "mail.example.net"}, check=True)
    for port in 465, 993, 995:
        wait_for_certificate("127.0.77.1", port, after, "mail.example.net")
    assert (place.etc / "cert.pem").read_bytes() == kept


def wait_for_certificate(host, port, der, name=None):
    """New connections, that ask for name, get it; those from before go on."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    end = time.monotonic() + 30
    while True:
        with socket.create_connection((host, port), timeout=30) as c, context.wrap_socket(c, server_hostname=name) as t:
            if t.getpeercert(binary_form=True) == der:
                return
        assert time.monotonic() < end, "the old certificate is still served on port %d" % port
        time.sleep(0.1)
