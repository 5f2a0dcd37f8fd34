"""What a server that works has on its disks is what the manuals of section 5 name, each file in its place."""
import pathlib
import re
import smtplib
import stat

import pytest

import dnsserver
import mailtools
import suite as suite_module
from imapraw import Imap
from popraw import Pop
from test_actions import GTUBE
from waiting import until

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ALICE, BOB = "alice@example.com", "bob@example.com"
LETTER = b"From: s@good.test\r\nDate: Sat, 28 Nov 2026 10:00:00 +0000\r\nSubject: hello\r\nMessage-ID: <%s@test.example>\r\n\r\n%s\r\n"


# --- what the manuals say ---

def words(line):
    """The path names of a line of mdoc, "*" where an argument stands: .It Pa dmarc/ Ns Ar YYYYMMDD , users"""
    macro, joined, out = "", True, [""]
    for token in line.lstrip(".").replace("\\&", "").split():
        if token in ("It", "Pq", "Pa", "Ar", "Li", "No", "Va", "Xr"):
            macro, joined = token, joined or token in ("No", "Va", "Xr")
        elif token == "Ns":
            joined = True
        elif token == ",":
            out.append("")
            joined = True
        elif macro in ("Pa", "Ar", "Li"):
            out[-1] = out[-1] + ("*" if macro == "Ar" else token) if joined else out[-1]
            joined = False
    return [w for w in out if w]


def section(name, title):
    """The lines of a manual's subsection whose title begins so; continued ones joined."""
    (page,) = [p for p in ROOT.rglob(name) if "build" not in p.relative_to(ROOT).parts]
    text = page.read_text().replace("\\\n", "")
    return re.search(r"(?ms)^\.S[sh] %s[^\n]*\n(.*?)(?=^\.S[sh] |\Z)" % re.escape(title), text).group(1).splitlines()


def named(name, title, below=""):
    """Patterns of the paths that stand in such a subsection's list, or of all that it names."""
    return {below + w for line in section(name, title) if re.match(r"\.It Pa|\.Pa", line) for w in words(line)}


FOLDER = named("postern-maildir.5", "Files of a folder") | {"cur/*", "new/*", "tmp/*"}
TREE = FOLDER | {".*/" + p for p in FOLDER} | named("postern-maildir.5", "Files of the root alone") | {"postern.train/*.spam", "postern.train/*.ham"}
# Of directories with a manual of their own, or that are private to a process.
OTHERS = {"filter-tmp/**", "webmail/**"}
PLACES = {
    "state": named("postern-files.5", "/var/lib/postern: state") | OTHERS | {"mail/*/Maildir/" + p for p in TREE} | {"mail/*/.forward"},
    "run": named("postern-files.5", "/run/postern: while it runs"),
    "spool": named("postern-spool.5", "DESCRIPTION"),
}


def matches(path, pattern):
    return re.fullmatch(re.escape(pattern).replace(r"\*\*", ".+").replace(r"\*", "[^/]+"), path) is not None


def files(top):
    return sorted(str(p.relative_to(top)) for p in top.rglob("*") if not stat.S_ISDIR(p.lstat().st_mode))


def unnamed(top, patterns):
    """Files and sockets below the directory that no pattern has in their place."""
    return [f for f in files(top) if not any(matches(f, p) for p in patterns)]


# --- a server that has done much ---

@pytest.fixture(scope="module")
def busy(fresh_suite_module):
    dns = dnsserver.Server()
    dns.add("good.test", "TXT", "v=spf1 ip4:127.0.0.0/8 -all").add("_dmarc.good.test", "TXT", "v=DMARC1; p=none; rua=mailto:r@good.test").add("good.test", "MX", "10 mx.good.test")
    s = fresh_suite_module("busy", settings={
        "dns_servers": dns.address, "relayhost": "[127.0.0.1]:1", "spam_action": "quarantine", "srs_domain": "example.com", "quota_storage": "10000000",
        "greylist_level": "0", "greylist_delay": "1s", "pop3_login_delay": "1s", "metrics_listeners": "127.0.0.1:9155"})
    yield s
    dns.close()


def read_and_write(s):
    """What mail programs do in an hour."""
    c = Imap(s, login=BOB)
    for command in ("CREATE Papers", "CREATE Gone", "CREATE Old (USE (\\Archive))", "SELECT INBOX", "SUBSCRIBE Papers", "DELETE Gone", "SETACL Papers %s lrs" % ALICE,
                    'SETMETADATA Papers (/private/comment "of a folder")', 'SETMETADATA "" (/private/comment "of all")'):
        c.ok(command)
    for flags in ("(\\Flagged) ", "(Own) "):
        c.append("Papers", LETTER % (flags[1:3].encode(), b"words"), flags)
    for command in ("SELECT Papers", "STORE 1 +FLAGS (kept)", "SEARCH TEXT words", "FETCH 1 (ENVELOPE BODYSTRUCTURE)", "SORT (SUBJECT) UTF-8 ALL", "COPY 1 Junk",
                    "STORE 2 +FLAGS (\\Deleted)", "EXPUNGE", "LOGOUT"):
        c.ok(command)
    c.close()
    with Pop(s.hosts[0], s.port("POP3")) as p:
        p.reply()
        for command in ("USER " + BOB, "PASS " + s.passwords[BOB], "STAT", "QUIT"):
            p.ok(command)


def administer(s, tmp_path):
    (tmp_path / "old.mbox").write_bytes(b"From x@y Sat Nov 28 12:00:00 2026\nSubject: old\n\nwords\n")
    s.tool("postern-import", "--user", BOB, "mbox", tmp_path / "old.mbox")
    password = s.tool("postern-user", "app-password", "add", BOB, "--name", "phone").stdout.decode().strip()
    c = Imap(s)
    c.ok('LOGIN "%s" "%s"' % (BOB, password))
    c.close()
    s.tool("postern-dkim", "genkey", "example.com", "-s", "s1", "-t", "ed25519")
    s.tool("postern-alarm", check=False)
    s.tool("postern-learn", "--queued")


# Of what such a day leaves: else this looks at too little.
SEEN = {
    "state": ("app-uses", "auth-limits", "dkim/private/*._domainkey.*.pem", "dkim/table/keys", "dmarc/*", "filter/known/senders", "filter/tokens.cdb", "learn.shares", "shares", "srs.key", "users.lock",
              *("mail/*/Maildir/" + f for f in (
                  ".*/cur/*", ".*/postern.acl", ".*/postern.cachemap", ".*/postern.metadata", ".*/postern.search", "maildirsize", "postern.imported", "postern.poplogin", "postern.quota",
                  "postern.servermeta", "postern.shares", "postern.special", "postern.subscriptions", "postern.train/*.spam"))),
    "spool": ("queue/*.*", "state/empty"),
    "run": ("authd.conf", "deliver.policy", "log/counters", "log/metrics", "queue/control", "saslauthd/mux", "smtpd/submit"),
}


def test_each_file_is_named_in_its_place(busy, tmp_path):
    mail, there = mailtools.Mail(busy), {top: set() for top in PLACES}

    def look():
        for top, at in (("state", busy.state), ("spool", busy.spool), ("run", busy.run_dir)):
            assert unnamed(at, PLACES[top]) == [], top
            there[top] |= set(files(at))
    suite_module.run([busy.bin / "sendmail", "-C", busy.conf, "later@elsewhere.example"], input=b"Subject: later\n\nwords\n")
    mail.send(to=ALICE, raw=LETTER % (b"held", GTUBE))
    with pytest.raises(smtplib.SMTPDataError):      # greylisted
        mail.send(to=BOB, raw=LETTER % (b"one", b"words"), sender="x@good.test")
    until(lambda: (busy.state / "filter/known/senders").exists())
    read_and_write(busy)
    look()
    administer(busy, tmp_path)
    busy.stop()
    look()
    assert [(top, p) for top, patterns in SEEN.items() for p in patterns if not any(matches(f, p) for f in there[top])] == []


@pytest.mark.parametrize("wrong", ["filter/unheard-of", "tokens.cdb", "filter/filter/tokens.cdb", "mail/a@b/Maildir/cur/deeper/x", "mail/a@b/Maildir/.Work/postern.root", "dmarc/2026/1127"])
def test_a_file_that_no_manual_has_there_is_seen(tmp_path, wrong):
    top = tmp_path / "state"
    for name in ("users", "filter/tokens.cdb", "mail/a@b/Maildir/postern.root", "mail/a@b/Maildir/.Work/postern.journal", "mail/a@b/Maildir/.Work/cur/1.x:2,S", "dmarc/20261127",
                 "dmarc/20261127.done", "mta-sts/x.example", wrong):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).touch()
    assert unnamed(top, PLACES["state"]) == [wrong]
