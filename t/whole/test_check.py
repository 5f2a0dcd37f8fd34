"""postern check on the machine around the configuration: ports that others have, certificates, permissions, and what the name servers say."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

import dnsserver
import powercut
import suite as suite_module
from named import Names

HOLDER = """
import socket, sys
held = []
for address in sys.argv[1].split(","):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, int(sys.argv[2])))
    s.listen()
    held.append(s)
print("ready", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def holder(address, port, name=None, **kw):
    """A process, called name, that listens there (at each of "A,B"): its pid."""
    program = sys.executable
    if name:
        program = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / name
        shutil.copy(os.path.realpath(sys.executable), program)
    p = subprocess.Popen([str(program), "-c", HOLDER, address, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **kw)
    try:
        assert p.stdout.readline() == b"ready\n"
        yield p.pid
    finally:
        p.stdin.close()
        p.wait(30)


class Check:
    def __init__(self, suite):
        self.suite, self.plain = suite, suite.conf.read_text()

    def __call__(self, settings="", conf=None, **kw):
        """[(severity, parameter, text)]"""
        text = self.plain
        for name in (line.split(" =")[0] for line in settings.splitlines()):
            text = "".join(line for line in text.splitlines(True) if not line.startswith(name + " ="))
        where = self.suite.base / "etc" / "check.conf"
        where.write_text(text + settings)
        p = subprocess.run([str(self.suite.bin / "postern"), "-c", str(where), "check", "--json"], stdout=subprocess.PIPE, **kw)
        self.found = json.loads(p.stdout)
        return [(f["severity"], f["parameter"], f["text"]) for f in self.found]


def about(findings, parameter, word=""):
    return [(s, t) for s, p, t in findings if p == parameter and word in t]


@pytest.fixture(scope="module")
def check(fresh_suite_module):
    """Of a suite that was made and does not run."""
    return Check(fresh_suite_module("check", start=False, users=()))


# --- ports ---

def ports(findings):
    return [(s, p, t) for s, p, t in findings if "held by" in t or "in use" in t or "inetd" in t]


def test_free_ports_are_no_finding(check):
    assert ports(check()) == []


def test_who_has_a_port_is_named(check):
    host = check.suite.host
    with holder(host, 25, "exim4") as pid:
        found = ports(check())
        assert [(s, p) for s, p, _t in found] == [("error", "smtp_listeners")], found
        text = found[0][2]
        assert text.startswith("%s:25 is held by exim4 (pid %d, %s/exim4): smtpd does not get it" % (host, pid, os.environ["POSTERN_SCRATCH"])), text
        p = subprocess.run([str(check.suite.bin / "postern"), "-c", str(check.suite.conf), "check"], stdout=subprocess.PIPE)
        assert p.returncode == 1 and b"held by exim4" in p.stdout


def test_the_name_of_a_stranger_is_no_command_to_the_terminal(check):
    with holder(check.suite.host, 2587, "a\x1b[2J\n\x07b") as pid:
        found = ports(check("smtp_listeners = %s:2587/smtp\n" % check.suite.host))
        p = subprocess.run([str(check.suite.bin / "postern"), "-c", str(check.suite.base / "etc" / "check.conf"), "check"], stdout=subprocess.PIPE)
    for text in (found[0][2], p.stdout.decode()):
        assert "2587 is held by a?[2J??b (pid %d, %s/a?[2J??b)" % (pid, os.environ["POSTERN_SCRATCH"]) in text, text
    assert b"\x1b" not in p.stdout


@pytest.mark.parametrize("unit, told", [("abc@1.service", "; systemctl disable --now abc ends it"), ("x;touch y.service", ""), ("$(id).service", "")])
def test_only_the_name_of_a_service_is_advised(check, unit, told):
    root, = [line.split()[1] for line in open("/proc/mounts") if line.split()[2] == "cgroup2"][:1] or pytest.skip("no control groups")
    group = pathlib.Path(root) / unit
    try:
        group.mkdir()
    except OSError as e:
        pytest.skip("no control group can be made: %s" % e)
    try:
        with holder(check.suite.host, 2587) as pid:
            (group / "cgroup.procs").write_text(str(pid))
            (_s, _p, text), = ports(check("smtp_listeners = %s:2587/smtp\n" % check.suite.host))
        assert text.endswith("smtpd does not get it" + told), text
    finally:
        end = time.monotonic() + 30
        while (group / "cgroup.procs").read_text() and time.monotonic() < end:
            time.sleep(0.05)
        group.rmdir()


@pytest.mark.parametrize("held, severity", [("0.0.0.0", "error"), ("::", "warning"), ("127.0.0.77", None), ("::1", None)])
def test_addresses_that_include_ours(check, held, severity):
    with holder(held, 2143):
        found = ports(check("imap_listeners = %s:2143/imap\n" % check.suite.host))
    assert [(s, p) for s, p, _t in found] == ([(severity, "imap_listeners")] if severity else []), found


def test_every_kind_of_listener_is_looked_at(check):
    settings = ("listener.more = %s:2525/smtp\nmetrics_listeners = 127.0.0.1:9154\nfilter_milter_listeners = inet:[::1]:8891 unix:/run/x\n"
                "filter_spamd_listeners = 127.0.0.1:783\npop3_listeners = 1110/pop3\ninet_interfaces = all\n" % check.suite.host)
    with contextlib.ExitStack() as stack:
        for address, port in ((check.suite.host, 2525), ("127.0.0.1", 9154), ("::1", 8891), ("127.0.0.1", 783), ("127.0.0.99", 1110)):
            stack.enter_context(holder(address, port))
        found = ports(check(settings))
    assert {(p, t.split(" is held")[0]) for _s, p, t in found} == {
        ("listener.more", "%s:2525" % check.suite.host), ("metrics_listeners", "127.0.0.1:9154"), ("filter_milter_listeners", "[::1]:8891"),
        ("filter_spamd_listeners", "127.0.0.1:783"), ("pop3_listeners", "port 1110")}, found
    assert {t.split("): ")[1].split(" does")[0] for _s, _p, t in found} == {"smtpd", "log", "filterd", "pop3d"}


def test_inetd_may_have_it(check):
    with holder(check.suite.host, 995, "xinetd") as pid:
        assert ports(check()) == [("note", "pop3_listeners", "%s:995 is xinetd's (pid %d): right if that starts pop3d (-i)" % (check.suite.host, pid))]


def test_without_root_the_process_is_not_to_be_seen(check):
    with holder(check.suite.host, 2587, user="mail"):
        found = ports(check("smtp_listeners = %s:2587/smtp\n" % check.suite.host, user="nobody", group="nogroup", extra_groups=[]))
    assert found == [("warning", "smtp_listeners", "%s:2587 is in use, by a socket of the user mail: only root can see of which process" % check.suite.host)]


def test_our_own_listeners_are_no_finding(suite):
    found = json.loads(suite.tool("postern", "check", "--json", check=False).stdout)
    assert [f for f in found if "held by" in f["text"] or "in use" in f["text"]] == []


def test_a_listener_that_cannot_be_read(check):
    assert about(check("metrics_listeners = 9154\n"), "metrics_listeners", "ADDRESS:PORT is wanted")


def test_ports_that_were_not_looked_at_are_told_of(check):
    many = ",".join("127.1.%d.%d" % (i // 100, i % 100 + 1) for i in range(259))
    with holder(many, 2587):
        found = check("inet_interfaces = all\nsmtp_listeners = 2587/smtp\n")
    assert [p for _s, p, _t in ports(found)] == ["smtp_listeners"], found
    assert [s for s, _p, t in found if t == "3 more sockets than the 256 that were looked at listen on ports of ours (ss -ltnp)"] == ["warning"], found
    found = check("metrics_listeners = %s\n" % " ".join("127.0.0.1:%d" % (20000 + i) for i in range(300)))
    assert [s for s, _p, t in found if "of all listeners the ports of 256 were looked at, and not of " in t] == ["warning"], found


# --- certificates ---

def make_pair(d, name, *, key="ec:P-256", days=60, host="mail.example.com"):
    kind, size = key.split(":")
    how = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:" + size] if kind == "ec" else ["-newkey", "rsa:" + size]
    cert, secret = d / (name + ".pem"), d / (name + ".key")
    subprocess.run(["openssl", "req", "-x509", *how, "-nodes", "-keyout", secret, "-out", cert, "-subj", "/CN=x", "-days", str(max(days, 1)),
                    "-addext", "subjectAltName=DNS:" + host], check=True, stderr=subprocess.DEVNULL)
    if days < 0:
        subprocess.run(["openssl", "x509", "-in", cert, "-signkey", secret, "-days", str(days), "-out", cert], check=True, stderr=subprocess.DEVNULL)
    secret.chmod(0o600)
    return cert, secret


def test_certificates(check):
    d = check.suite.base / "etc"

    def about_pair(cert, key, cert_name="tls_cert_file", key_name="tls_key_file", more=""):
        found = check("%s = %s\n%s = %s\n%s" % (cert_name, cert, key_name, key, more))
        return [(s, t) for s, t in about(found, cert_name)], [(s, t) for s, t in about(found, key_name)]
    good = make_pair(d, "good")
    own, key = about_pair(*good, more="myhostname = mail.example.com\n")
    assert ("note", "expires in 59 days") in own or ("note", "expires in 60 days") in own, own
    assert ("warning", "is self-signed: mail programs warn their users") in own and len(own) == 2 and key == []
    assert ("warning", "does not cover myhostname (other.example.com)") in about_pair(*good, more="myhostname = other.example.com\n")[0]
    soon = about_pair(*make_pair(d, "soon", days=10))[0]
    assert [s for s, t in soon if t.startswith("expires in ")] == ["warning"], soon
    assert any(s == "error" and t.startswith("expired") for s, t in about_pair(*make_pair(d, "old", days=-1))[0])
    assert any(s == "error" and "an RSA key of 1024 bits" in t for s, t in about_pair(*make_pair(d, "weak", key="rsa:1024"))[0])
    assert [s for s, _t in about_pair(good[0], make_pair(d, "stranger")[1])[1]] == ["error"], "a key of another certificate"
    assert [s for s, _t in about_pair(good[0], d / "nowhere.key")[1]] == ["error", "error"]
    assert [s for s, _t in about_pair(d / "nowhere.pem", good[1])[0]] == ["error"]
    good[1].chmod(0o644)
    assert [("mode 0644: others than root may read it (chmod 600)" in t, s) for s, t in about_pair(*good)[1]] == [(True, "error")]
    good[1].chmod(0o600)
    # The one that is shown to other servers: its name is nobody's business, its age is.
    own, key = about_pair(*good, "smtp_tls_cert_file", "smtp_tls_key_file")
    assert [s for s, _t in own] == ["note"] and "expires in" in own[0][1] and key == []
    assert [s for s, t in about_pair(*make_pair(d, "soon2", days=2), "smtp_tls_cert_file", "smtp_tls_key_file")[0] if "expires in" in t] == ["warning"]


def test_certificates_by_name(check):
    """Each file, whether its key fits, whether it is for the names that the table gives it; and what the fronts would refuse."""
    d = check.suite.base / "etc"
    names = Names(d)
    net, org = names.cert("mail.example.net"), names.cert("below", "*.example.org")

    def about_names(rows):
        names.write(rows)
        check("tls_server_sni_maps = texthash:%s\n" % names.table)
        return {(f["severity"], short(f["place"]), short(f["text"])) for f in check.found if f["parameter"] == "tls_server_sni_maps" and not f["text"].startswith(usual)}

    def short(text):
        return text.replace(str(d) + "/", "")

    def expiry():
        return {(f["severity"], short(f["place"])) for f in check.found if f["text"].startswith("expires in ")}
    usual = ("expires in ", "holds one certificate")
    good = {"mail.example.net": [net], ".example.org": [org], "mx.example.org": [org]}
    assert about_names(good) == set()
    assert ("note", "mail.example.net.pem") in expiry()
    assert about_names({"mail.example.net": [net], "imap.example.net": [net]}) == {("warning", "sni:2", "mail.example.net.pem does not cover imap.example.net")}
    assert about_names({"example.org": [org]}) == {("warning", "sni:1", "below.pem does not cover example.org")}
    assert about_names({"mail.example.net": [(net[0], org[1])]}) == {("error", "below.key", "key and certificate do not belong together: key values mismatch")}
    assert about_names({"mail.example.net": [(d / "nowhere.pem", net[1])]}) == {("error", "nowhere.pem", "nowhere.pem: No such file or directory")}
    assert {(s, t) for s, _p, t in about_names({"mail.example.net": [(net[0], d / "nowhere.key")]})} == {("error", "nowhere.key: No such file or directory"), ("error", "nowhere.key cannot be read")}
    assert about_names({"mail.example.net": [names.cert("soon", "mail.example.net", days=3)]}) == set() and ("warning", "soon.pem") in expiry()
    assert [(s, p) for s, p, t in about_names({"mail.example.net": [net], "Mail.Example.NET.": [net]}) if "twice" in t] == [("error", "sni:2")]
    assert [(s, p) for s, p, t in about_names({"m\u00fc.example.net": [net]}) if "is not a host name" in t] == [("error", "sni:1")]
    net[1].chmod(0o640)
    assert [(s, "others than root may read it" in t) for s, _p, t in about_names(good)] == [("error", True)]
    net[1].chmod(0o600)
    names.table.write_text("mail.example.net /both.pem\n")
    found = about(check("tls_server_sni_maps = texthash:%s\n" % names.table), "tls_server_sni_maps")
    assert [(s, "sni:1: /both.pem: a chain without a key" in t) for s, t in found] == [("error", True)], found


# --- permissions ---

def test_permissions(check):
    s = check.suite
    for name in ("state_directory", "queue_directory"):
        d = {"state_directory": s.state, "queue_directory": s.spool}[name]
        mode = d.stat().st_mode & 0o7777
        assert [f for f in about(check(), name) if f[0] != "note" and "power cut" not in f[1]] == []
        d.chmod(mode | 0o022)
        assert [x for x, _t in about(check(), name, "group or others may write it")] == ["error"]
        d.chmod(mode)
        assert [x for x, _t in about(check("%s = /nonexistent/dir\n" % name), name, "does not exist yet")] == ["warning"]
    owner = s.spool.stat()
    os.chown(s.spool, 65534, -1)
    assert [x for x, _t in about(check(), "queue_directory", "belongs to uid 65534")] == ["error"]
    os.chown(s.spool, owner.st_uid, -1)
    assert [x for x, _t in about(check("libexec_directory = /nonexistent\n"), "libexec_directory", "no local mail can be delivered")] == ["error"]
    other = s.base / "programs"
    other.mkdir()
    shutil.copy(s.bin / "deliver", other / "deliver")
    (other / "deliver").chmod(0o755)
    assert [t for _s, _p, t in check("libexec_directory = %s\n" % other) if t.startswith("must be 4710 root:")], "the agent's rights"
    small = s.base / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", small], check=True)
    assert [x for x, _t in about(check("queue_directory = %s\n" % small), "queue_directory", "mail is refused")] == ["error"]
    subprocess.run(["umount", small], check=True)


# --- what filterd reads ---

def of_filterd(check, name, text, mode=0o644, more=""):
    """The findings about that file of filterd's, as they are printed, FILE in place of its name."""
    where = check.suite.base / "etc" / name
    where.write_text(text)
    where.chmod(mode)
    check("%s = %s\n%s" % (name, where, more))
    p = subprocess.run([str(check.suite.bin / "postern"), "-c", str(check.suite.base / "etc" / "check.conf"), "check"], stdout=subprocess.PIPE)
    return [line.replace(str(where), "FILE") for line in p.stdout.decode().splitlines() if str(where) in line or "filterd" in line]


LONG = "short@example.org\n%s\n" % ("x" * 2000)
POLICY = "[boss]\nrecipients = boss@example.com\nspam_action = %s\n"


@pytest.mark.parametrize("name, good, bad, told", [
    ("filter_recipient_policies", POLICY % "reject", POLICY % "eat", 'FILE:3: spam_action: no action is called "eat"'),
    ("filter_recipient_policies", "[a]\nrecipients = x@y\n", "[a]\nrecipients = x@y\n[b]\nrecipients = X@y\n", "FILE: x@y is a recipient of two sections"),
    ("filter_banned_names", "reject /[.]exe$/\n", "reject /[.]exe$/\nforbid /[.]com$/\n", "FILE:2: error: a rule begins with reject or allow"),
    ("whitelist_senders", "friend@example.org\n", LONG, "FILE:2: an address has 1 to"),
    ("blacklist_senders", "foe@example.org\n", LONG, "FILE:2: an address has 1 to")], ids=["policy", "twice", "names", "white", "black"])
def test_what_filterd_would_not_start_with(check, name, good, bad, told):
    found = of_filterd(check, name, bad)
    assert len(found) == 1 and "error: " in found[0] and told in found[0], found
    assert of_filterd(check, name, bad, more="filter_enable = no\n") == [], "it is not started"
    assert of_filterd(check, name, good) == []
    found = of_filterd(check, name, good, 0o600)
    assert len(found) == 1 and "error: " in found[0] and found[0].endswith("Permission denied"), found


def test_mistakes_of_spam_rules_and_who_may_look(check):
    rules = check.suite.base / "etc" / "rules"
    rules.mkdir()
    (rules / "site.cf").write_text("header SITE_TEST Subject =~ /(/\nscore SITE_TEST 3\nnonsense here\n")
    settings = "spam_site_directory = %s\n" % rules
    assert {(s, t.split(":")[0]) for s, t in about(check(settings), "") if "nonsense" in t or "SITE_TEST" in t} == {("warning", "unknown directive 'nonsense'"), ("warning", "SITE_TEST")}
    (rules / "site.cf").write_text("header SITE_TEST Subject =~ /x/\nscore SITE_TEST 3\n")
    assert [t for _s, _p, t in check(settings) if "SITE_TEST" in t] == []
    found = about(check(settings, user="nobody", group="nogroup", extra_groups=[]), "filterd")
    assert found == [("note", "the lists and rules that it reads are looked at by root alone")]
    found = about(check("user_filter = nobody-at-all\n"), "filterd")
    assert found == [("error", "user nobody-at-all does not exist (in /etc/passwd)")]


# --- names ---

@pytest.fixture(scope="module")
def named(fresh_suite_module):
    dns = dnsserver.Server()
    check = Check(fresh_suite_module("names", users=(), settings={"dns_servers": dns.address}))
    check.dns = dns
    yield check
    dns.close()


def names(check, host, domain, more=""):
    found = check("myhostname = %s\nmydestination = %s %s\nvirtual_mailbox_domains =\nvirtual_alias_domains =\n%s" % (host, domain, host, more))
    return sorted((s, t) for s, t in about(found, "DNS"))


def test_names_that_are_right(named):
    subprocess.run(["ip", "address", "add", "192.0.2.50/32", "dev", "lo"], check=True)
    named.dns.host("mail.right.example", "192.0.2.50")
    named.dns.add("right.example", "MX", "10 mail.right.example", "20 backup.elsewhere.example").add("right.example", "TXT", "other", "v=spf1 mx -all")
    named.dns.add("_dmarc.right.example", "TXT", "v=DMARC1; p=none")
    assert names(named, "mail.right.example", "right.example") == []


def test_names_that_are_wrong(named):
    named.dns.host("mail.wrong.example", "192.0.2.7").add(dnsserver.reverse("192.0.2.8"), "PTR", "dynamic-8.provider.example")
    named.dns.add("mail.wrong.example", "A", "192.0.2.8", "192.0.2.9")
    named.dns.add("wrong.example", "MX", "10 mx.provider.example").add("bare.example", "A", "192.0.2.7")
    found = names(named, "mail.wrong.example", "wrong.example bare.example gone.example")
    texts = [t for _s, t in found]
    for severity, wanted in (
            ("warning", "no MX of wrong.example is mail.wrong.example: its mail goes to mx.provider.example"),
            ("note", "bare.example has no MX: its mail goes to its own address (RFC 5321 5.1), now 192.0.2.7"),
            ("warning", "gone.example has no MX and no address: nobody can send it mail"),
            ("warning", "the reverse name of 192.0.2.8 is dynamic-8.provider.example, not mail.wrong.example"),
            ("warning", "192.0.2.9 has no reverse name"),
            ("note", "mail.wrong.example is 192.0.2.7, which no interface of this machine has"),
            ("note", "wrong.example has no SPF record"), ("note", "wrong.example has no DMARC record (_dmarc.wrong.example)")):
        assert [s for s, t in found if t.startswith(wanted)] == [severity], (wanted, found)
    assert not [t for t in texts if "reverse name of 192.0.2.7" in t]
    found = names(named, "mail.nowhere.example", "")
    assert [s for s, t in found if "mail.nowhere.example, as this server calls itself, has no address" in t] == ["warning"], found


def test_an_address_of_ipv6_is_an_address(named):
    named.dns.host("mail.six.example", "2001:db8::6")
    named.dns.add("bare6.example", "AAAA", "2001:db8::7")
    found = names(named, "mail.six.example", "bare6.example")
    assert [s for s, t in found if t == "bare6.example has no MX: its mail goes to its own address (RFC 5321 5.1), now 2001:db8::7"] == ["note"], found
    assert not [t for _s, t in found if "no address" in t], found


def test_a_null_mx_takes_no_mail(named):
    """RFC 7505: alone it says so, beside others it means nothing."""
    named.dns.host("mail.null.example", "192.0.2.7").add("null.example", "MX", "0 .").add("odd.example", "MX", "0 .", "10 mx.provider.example")
    found = names(named, "mail.null.example", "null.example odd.example")
    assert [s for s, t in found if t == "null.example has a null MX (RFC 7505): it says that it takes no mail, and none is sent to it"] == ["warning"], found
    assert [t for _s, t in found if t.startswith("no MX of ")] == ["no MX of odd.example is mail.null.example: its mail goes to mx.provider.example"], found


def test_what_was_not_asked_about_is_told_of(named):
    domains = ["d%d.many.example" % i for i in range(53)]
    named.dns.host("mail.many.example", *("192.0.2.%d" % (100 + i) for i in range(18)))
    named.dns.add(domains[0], "MX", *("10 %s%d.elsewhere.example" % ("x" * 50, i) for i in range(20)))
    found = named("myhostname = mail.many.example\nmydestination = %s\nvirtual_mailbox_domains =\nvirtual_alias_domains =\n" % " ".join(domains))
    assert [s for s, t in about(found, "mydestination") if t == "name servers are asked about the first 50 of these domains; 3 were left out"] == ["note"], found
    assert [s for s, t in about(found, "DNS") if t == "mail.many.example has 18 addresses: the first 16 were looked at"] == ["note"], found
    assert [t for _s, t in about(found, "DNS") if t.startswith("no MX of d0.many.example is ") and t.endswith(" and 8 more")], found
    assert [t for _s, t in about(found, "DNS") if "d49.many.example has no MX" in t] and not [t for _s, t in about(found, "DNS") if "d50.many.example has no MX" in t]


def test_a_name_server_that_is_in_trouble_is_no_finding(named):
    for name in ("mail.broken.example", "broken.example", "_dmarc.broken.example"):
        named.dns.add(name, "*", "SERVFAIL")
    found = names(named, "mail.broken.example", "broken.example")
    assert [s for s, _t in found] == ["note"] and "5 questions were not answered" in found[0][1], found


def test_without_the_suite_nobody_is_asked(check):
    found = about(check(), "DNS")
    assert [s for s, _t in found] == ["note"] and "name servers are asked by the running suite" in found[0][1], found


# --- disks ---

@pytest.mark.parametrize("name, how, told", [
    ("plain", {}, None), ("bare", {"features": ["-O", "^has_journal"]}, "is on an ext4 without a journal: mail that was acknowledged may be missing after a power cut"),
    ("back", {"options": ["data=writeback"]}, "is on an ext4 that is mounted data=writeback"), ("quick", {"options": ["nobarrier"]}, "is on an ext4 that is mounted nobarrier")])
def test_a_file_system_that_keeps_less_than_was_synced_is_named(check, name, how, told):
    disk, = powercut.disks("check-" + name, "ext4", **how)
    try:
        for d in ("queue", "mail"):
            (disk.at / d).mkdir()
        here = [(s, p, t) for s, p, t in check("queue_directory = %s/queue\nmail_location = %s/mail/%%n/\n" % (disk.at, disk.at)) if "power cut" in t and str(disk.at) in t]
        assert [(s, p) for s, p, _t in here] == ([("warning", "queue_directory")] if told else []), here
        assert not told or told in here[0][2]
        mail = about(check("mail_location = %s/mail/%%n/\n" % disk.at), "mail_location", "power cut")
        assert [s for s, _t in mail] == (["warning"] if told else []), mail
        subprocess.run(["useradd", "-M", "-d", str(disk.at / "mail" / "zoe"), "zoe"], check=True)
        homes = [t for _s, t in about(check(), "home_mailbox", "power cut") if str(disk.at) in t]
        subprocess.run(["userdel", "zoe"], check=True)
        assert len(homes) == (1 if told else 0), homes
    finally:
        disk.unmount()


# --- all of it ---

def test_exit_status_and_forms(check):
    def run(*args, conf=check.suite.conf):
        p = subprocess.run([str(check.suite.bin / "postern"), "-c", str(conf), "check", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return p.returncode, p.stdout.decode()
    code, out = run()
    assert code == 0 and ": note: " in out and out.splitlines()[-1].startswith("0 errors, "), out
    assert ": note: " not in run("-q")[1]
    bad = check.suite.base / "etc" / "bad.conf"
    bad.write_text("nonsense\n")
    assert run(conf=bad)[0] == 1
    assert run("more")[0] == 64 and run("--what")[0] == 64
