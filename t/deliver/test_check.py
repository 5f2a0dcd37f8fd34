"""postern check on what is legal and not meant: aliases, local delivery, rewriting; and postern why with what it says of them."""
import json
import os
import subprocess

import pytest


@pytest.fixture
def check(fresh_suite):
    suite = fresh_suite("check", start=False)
    etc = suite.base / "etc"
    plain = suite.conf.read_text()

    def run(settings="", aliases=None):
        text = plain
        for name in (line.split(" =")[0] for line in settings.splitlines()):
            text = "".join(line for line in text.splitlines(True) if not line.startswith(name + " ="))
        suite.conf.write_text(text + settings)
        if aliases is not None:
            (etc / "aliases").write_text("postmaster: alice@example.com\n" + aliases)
            suite.tool("postalias", "cdb:%s/aliases" % etc)
        p = subprocess.run([str(suite.bin / "postern"), "-c", str(suite.conf), "check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return p.stdout.decode()
    run.suite = suite
    return run


@pytest.mark.parametrize("settings, wanted", [
    ("luser_relay = boss\n", "luser_relay: unknown recipients are refused before"),
    ("luser_relay = boss\nlocal_recipient_maps =\nfallback_transport = lmtp:unix:/x\n", "not used: fallback_transport takes what is unknown"),
    ("mailbox_transport = cyrus\n", 'mailbox_transport: "cyrus": which transport?'),
    ("fallback_transport = lmtp:unix:store\n", "by its whole path"),
    ("fallback_transport = smtp:unix:/run/store\n", "a UNIX socket is lmtp's alone"),
    ("relayhost = smtp.example.net:587:3\n", 'relayhost: "smtp.example.net:587:3" (allowed: [host]'),
    ("relayhost = [smtp.example.net\n", 'relayhost: "[smtp.example.net" (allowed'),
    ("backup_directory = srv/backup\n", 'backup_directory: "srv/backup" is no absolute path'),
    ("smtpd_client_restrictions = check_client_access cidr:/nonexistent/list\n", "smtpd_client_restrictions: cidr:/nonexistent/list: "),
    ("smtpd_sender_restrictions = hash:/nonexistent/list\n", "smtpd_sender_restrictions: hash:/nonexistent/list: /nonexistent/list.cdb is missing"),
    ("smtpd_restriction_classes = strict\nstrict = pcre:/nonexistent/list\n", "smtpd_restriction_classes: pcre:/nonexistent/list: "),
    ("smtpd_helo_restrictions = check_helo_access mysql:/x\n", 'smtpd_helo_restrictions: "mysql:/x": no such table type'),
    ("smtpd_helo_restrictions = permit_mynetwork\n", "unknown restriction permit_mynetwork; meant is perhaps permit_mynetworks"),
    ("transport_maps = mysql:/x\n", 'transport_maps: "mysql:/x": no such table type'),
    ("default_privs = nosuchuser\n", "default_privs: user nosuchuser does not exist"),
    ("default_privs = root\n", "default_privs: root is root"),
    ("allow_mail_to_commands = aliases\n", '"aliases" is none of its words'),
    ("canonical_classes = header_senders\n", '"header_senders" is none of its words'),
    ("notify_classes = bounces\n", 'notify_classes: "bounces" is none of its words'),
    ("local_header_rewrite_clients = permit_everybody\n", '"permit_everybody" is neither a network nor'),
    ("masquerade_domains = example.com !keep.example.com\n", "!keep.example.com is never reached: example.com stands before it"),
    ("relay_domains = backup.example\n", "relay_recipient_maps: empty: every address of relay_domains is accepted"),
    ("canonical_maps = cdb:/nonexistent/canonical\n", "canonical_maps: cdb:/nonexistent/canonical: /nonexistent/canonical.cdb is missing"),
    ("relay_clientcerts = cdb:/nonexistent/certs\n", "relay_clientcerts: cdb:/nonexistent/certs: /nonexistent/certs.cdb is missing"),
    ("smtpd_sender_login_maps = cdb:/nonexistent/logins\n", "smtpd_sender_login_maps: cdb:/nonexistent/logins: /nonexistent/logins.cdb is missing"),
    ("local_recipient_maps = cdb:/nonexistent/local\n", "local_recipient_maps: cdb:/nonexistent/local: /nonexistent/local.cdb is missing"),
    ("virtual_alias_domains = cdb:/nonexistent/domains\n", "virtual_alias_domains: cdb:/nonexistent/domains: /nonexistent/domains.cdb is missing"),
    ("smtpd_tls_CAfile = /nonexistent/ca.pem\n", "smtpd_tls_CAfile: /nonexistent/ca.pem"),
    ("smtpd_tls_CAfile = /etc/passwd\n", "smtpd_tls_CAfile: "),
    ("smtp_tls_CAfile = /nonexistent/ca.pem\n", "smtp_tls_CAfile: /nonexistent/ca.pem"),
    ("smtpd_tls_CApath = /nonexistent\n", "smtpd_tls_CApath: /nonexistent cannot be read"),
    ("smtpd_tls_CApath = /etc/ssl\n", "smtpd_tls_CApath: /etc/ssl has no certificate under the hash of its name"),
    ("greylist_level = much\n", 'greylist_level: "much" is no score'),
    ("greylist_lifetime = 1s\n", "greylist_lifetime: not above greylist_delay"),
    ("filter_spamd_tell_listeners = 127.0.0.1:783\n", "filter_spamd_tell_listeners: 127.0.0.1:783 is none of filter_spamd_listeners"),
    ("smtpd_reject_unlisted_recipient = no\n", "smtpd_reject_unlisted_recipient: changes nothing"),
    ("imap_discard_capabilities = IMAP4rev2 appendlimit= REV3\n", "imap_discard_capabilities: there is no capability REV3"),
    ("recipient_delimiter = +a\n", "recipient_delimiter: 'a' (allowed: characters of"),
])
def test_values(check, settings, wanted):
    out = check(settings)
    assert wanted in out, out
    assert wanted not in check(), "it is said of everybody"


@pytest.mark.parametrize("settings", ["smtpd_helo_restrictions = permit_mynetwork\n", "smtpd_client_restrictions = check_client_access cidr:/nonexistent/list\n",
                                      "transport_maps = mysql:/x\n", "relayhost = a:b:c\n"])
def test_a_mistake_of_a_list_has_its_line(check, settings):
    plain = check.suite.conf.read_text()
    assert "%s:%d: error: %s: " % (check.suite.conf, plain.count("\n") + 1, settings.split()[0]) in check(settings)


@pytest.mark.parametrize("hop", ["[smtp.example.net]", "[smtp.example.net]:587", "smtp.example.net", "smtp.example.net:65535", "[2001:db8::1]:25", "[IPv6:2001:db8::1]"])
def test_forms_of_a_relay(check, hop):
    assert "error: relayhost" not in check("relayhost = %s\n" % hop)


@pytest.mark.parametrize("hop", ["smtp.example.net:submission", "[smtp.example.net]:0", "[smtp.example.net]:65536", "smtp.example.net:", "[smtp.example.net", "[]:25"])
def test_a_relay_that_remote_cannot_use(check, hop):
    assert "error: relayhost: \"%s\"" % hop in check("relayhost = %s\n" % hop)


def test_what_daemons_would_log_is_a_finding(check):
    """Once, and counted: not lines of a process beside the findings. An alias that loses part of its mail is one."""
    if not (check.suite.state / "accounts.cdb").exists():
        check.suite.start()
        check.suite.stop()
    out = check(aliases="both: alice@example.com, nosuch@localhost\n")
    assert out.count('warning: alias "both": "nosuch@localhost" does not exist\n') == 1 and "postern/postern[" not in out, out
    assert out.count('"both" also leads to nosuch@localhost, who does not exist') == 1, out
    out = check(aliases="both: alice@example.com, nosuch\n")
    assert out.count('"both" also leads to nosuch@example.com, who does not exist') == 1, out
    assert "who does not exist" not in check(aliases="both: alice@example.com, alice@example.com\n")
    missing = check("virtual_alias_maps = hash:/nonexistent/map\n")
    assert missing.count("/nonexistent/map.cdb") == 1 and "reaches nobody" not in missing, missing


def test_aliases(check):
    etc = check.suite.base / "etc"
    (etc / "open").write_text("alice@example.com\n")
    os.chmod(etc / "open", 0o666)
    if not (check.suite.state / "accounts.cdb").exists():
        check.suite.start()
        check.suite.stop()
    out = check(aliases='cmd: "|/bin/true"\nbox: /var/mail/x\nmissing: :include:/nonexistent/list\nopen: :include:%s/open\n' % etc)
    assert '"cmd" is a command, and allow_mail_to_commands does not have "alias"' in out, out
    assert '"box" is a file, and allow_mail_to_files does not have "alias"' in out
    assert '"missing": the list /nonexistent/list is missing' in out and '"open": the list %s/open can be written by others' % etc in out
    out = check("allow_mail_to_commands = alias\nallow_mail_to_files = alias\n")
    assert "is a command" not in out and "is a file" not in out
    assert "always_bcc: nobody@example.com reaches nobody" in check("always_bcc = nobody@example.com\n")
    out = check(aliases="".join("a%d: alice@example.com\n" % i for i in range(20000)))
    assert "note: alias_maps: cdb:%s/aliases: where its keys lead was looked at for the first 20000; it has more" % etc in out, out


def test_why(check):
    if not (check.suite.state / "accounts.cdb").exists():
        check.suite.start()
        check.suite.stop()
    check("canonical_maps = inline:{old@example.com=alice@example.com}\nrelocated_maps = inline:{gone@example.com=new@elsewhere.example}\n",
          "list: alice@example.com\nowner-list: bob@example.com\n")

    def why(*args):
        return subprocess.run([str(check.suite.bin / "postern"), "-c", str(check.suite.conf), "why", *args], stdout=subprocess.PIPE).stdout.decode()
    assert 'canonical_maps: inline:{old@example.com=alice@example.com}:1: "old@example.com" is alice@example.com' in why("old@example.com")
    assert "-> mailbox alice@example.com, account alice@example.com, errors go to owner-list@example.com" in why("list@localhost")
    assert "550 5.1.6 User has moved to new@elsewhere.example" in why("gone@example.com")


def test_why_says_what_the_restrictions_do(check):
    if not (check.suite.state / "accounts.cdb").exists():
        check.suite.start()
        check.suite.stop()
    check("mynetworks = 192.0.2.0/24\nsmtpd_sender_restrictions = check_sender_access inline:{bad.example=REJECT}\n")

    def why(*args):
        p = subprocess.run([str(check.suite.bin / "postern"), "-c", str(check.suite.conf), "why", *args], stdout=subprocess.PIPE)
        return p.returncode, p.stdout.decode()
    code, out = why("--client", "198.51.100.7", "--sender", "x@ok.example", "y@elsewhere.example")
    assert code == 1 and "refused: 554 5.7.1 <y@elsewhere.example>: Relay access denied" in out and "the client is not in mynetworks" in out, out
    code, out = why("--client", "192.0.2.9", "--sender", "x@ok.example", "y@elsewhere.example")
    assert code == 0 and "the client is in mynetworks" in out and "the restrictions let it in" in out, out
    assert why("--client", "198.51.100.7", "--login", "alice@example.com", "--sender", "alice@example.com", "y@elsewhere.example")[0] == 0
    code, out = why("--client", "198.51.100.7", "--sender", "x@bad.example", "alice@example.com")
    assert code == 1 and "refused: 554 5.7.1 <x@bad.example>: Sender address rejected: Access denied" in out and '"bad.example" is REJECT' in out, out
    assert why("--client", "nonsense", "alice@example.com")[0] == 64
    code, out = why("--json", "--client", "198.51.100.7", "y@elsewhere.example")
    assert json.loads(out)[0]["restrictions"]["code"] == 554


def test_signing_keys(check):
    state = check.suite.state / "dkim"
    check.suite.tool("postern-dkim", "genkey", "example.com", "-s", "s1", "-t", "ed25519")
    check.suite.tool("postern-dkim", "activate", "example.com", "s1", "--force")
    assert "dkim" not in check().replace("postern-dkim", "")
    assert "filter_enable: there are active DKIM keys, but filterd is off" in check("filter_enable = no\n")
    key = state / "private" / "s1._domainkey.example.com.pem"
    key.chmod(0o644)
    assert "s1._domainkey.example.com.pem: error: must be root's alone" in check()
    key.unlink()
    assert "s1._domainkey.example.com.pem: error: No such file" in check()
    (state / "table" / "keys").write_text("example.com s1 ed25519 lost 1\n")
    assert "line 1: unknown state" in check()
