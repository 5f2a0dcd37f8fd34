"""What the suite gives to the system beside units: init scripts, inetd's lines, the firewall, log rotation, rsyslog's snippet, completion."""
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile

import pytest

import dnsserver
import mailtools
import suite as suite_module
from test_actions import GOOD, GTUBE
from waiting import until

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = os.environ.get("POSTERN_BUILD", "dev")
PREFIX, SYSCONFDIR, LIBEXECDIR = (ROOT / "build" / BUILD / "places").read_text().split()
DAEMONS = ["log", "authd", "filterd", "queued", "smtpd", "imapd", "pop3d"]
OPEN = [25, 110, 143, 465, 993, 995, 725, 710, 743, 825, 810, 843, 80, 443]
CLOSED = [21, 22, 23, 24, 111, 587, 783, 1025, 3306, 10024, 10143]


def run(*argv, check=True, **kw):
    # Not a pipe: what a daemon inherits of it would keep it open.
    with tempfile.TemporaryFile() as out:
        p = subprocess.run([str(a) for a in argv], stdout=out, stderr=subprocess.STDOUT, timeout=60, **kw)
        out.seek(0)
        text = out.read().decode()
    assert not check or p.returncode == 0, text
    return p.returncode, text


@pytest.fixture(scope="module")
def share():
    """share/postern as make install fills it, with this build's places."""
    suite_module.ensure_users()
    dest = pathlib.Path(tempfile.mkdtemp(dir=os.environ["POSTERN_SCRATCH"]))
    run(ROOT / "etc/install", "install", cwd=ROOT,
        env={**os.environ, "B": "build/" + BUILD, "DESTDIR": str(dest), "PREFIX": PREFIX, "LIBEXECDIR": LIBEXECDIR, "SYSCONFDIR": SYSCONFDIR, "PROGRAMS": "deliver"})
    yield pathlib.Path(str(dest) + PREFIX + "/share/postern")
    shutil.rmtree(dest)


def placed(path, s, to):
    """A copy of an installed file that speaks of this suite's places."""
    text = path.read_text().replace(LIBEXECDIR, str(s.bin)).replace(SYSCONFDIR + "/postern/postern.conf", str(s.conf)).replace("/run/postern", str(s.run_dir))
    to.write_text(text)
    to.chmod(0o755)
    return to


# --- init scripts ---

def test_init_scripts(share, fresh_suite, tmp_path):
    s = fresh_suite("init", start=False)
    scripts = {n: placed(share / "init.d" / ("postern-" + n), s, tmp_path / n) for n in DAEMONS}
    for n, script in scripts.items():
        text = script.read_text()
        assert "@" not in re.sub(r"\$@", "", text) and re.search(r"^# chkconfig: 2345 \d+ \d+$", text, re.M)
        assert run(script, "status", check=False)[0] == 3
        assert run(script, "reload", check=False)[0] == 7
    try:
        for n in DAEMONS:
            assert "Starting postern-" + n in run(scripts[n], "start")[1]
        for n in DAEMONS:
            assert "runs, process" in run(scripts[n], "status")[1]
            assert "runs already" in run(scripts[n], "start")[1]
            run(scripts[n], "reload")
        old = (s.run_dir / "imapd.pid").read_text()
        run(scripts["imapd"], "restart")
        assert (s.run_dir / "imapd.pid").read_text() != old
        run("curl", "-sS", "--crlf", "--max-time", "20", "smtp://%s:25" % s.host, "--mail-from", "x@example.org", "--mail-rcpt", "alice@example.com", "-T", "-",
            input=b"From: x@example.org\nSubject: init\n\nwords\n")
        assert "words" in run("curl", "-sS", "--max-time", "20", "imap://%s/INBOX;MAILINDEX=1;SECTION=TEXT" % s.host, "-u", "alice@example.com:alice-secret")[1]
        rotated(share, s, tmp_path)
    finally:
        for n in reversed(DAEMONS):
            run(scripts[n], "stop")
    for n in DAEMONS:
        assert run(scripts[n], "status", check=False)[0] == 3
        run(scripts[n], "stop")		# stopped is stopped


def rotated(share, s, tmp_path):
    """logrotate with our file: the old log is kept, and lines go on in the new one."""
    rule = tmp_path / "rotate"
    rule.write_text((share / "logrotate.d/postern").read_text().replace("/var/log/postern.log", str(s.log)).replace("/run/postern", str(s.run_dir)))
    rule.chmod(0o644)
    run("logrotate", "-f", "-s", tmp_path / "state", rule)
    old = pathlib.Path(str(s.log) + ".1")
    assert b"client=" in old.read_bytes()

    def a_line_comes():
        """log is only told that the file was moved: a line may still go to the old one."""
        with socket.create_connection((s.host, 25), timeout=30) as c:
            c.recv(200)
            c.sendall(b"QUIT\r\n")
            c.recv(200)
        return s.log.exists() and b"disconnect from" in s.log.read_bytes()
    until(a_line_comes)


# --- inetd ---

def test_inetd_lines_serve(share, fresh_suite):
    """Each line of the file, by the suite's little inetd, as inetd would read it."""
    s = fresh_suite("inetd", start=False, settings={"smtp_listeners": "25/smtp 465/submissions 587/submission"})
    rows = [x.split(None, 6) for x in (share / "inetd/postern").read_text().splitlines() if x and not x.startswith("#")]
    assert sorted(int(r[0]) for r in rows) == sorted(suite_module.PORTS.values())
    daemons, started = ["log", "authd", "filterd", "queued"], []
    for n in daemons:
        run(s.bin / n, "-c", s.conf)
    try:
        for port, kind, proto, wait, user, program, args in rows:
            assert (kind, proto, wait, user) == ("stream", "tcp", "nowait", "root") and pathlib.Path(program).parent == pathlib.Path(LIBEXECDIR)
            argv = [s.bin / pathlib.Path(program).name, *args.split()[1:], "-c", s.conf]
            started.append(subprocess.Popen([str(ROOT / "t/launch/inetd"), "%s:%s" % (s.host, port), *map(str, argv)]))
        for port, word in ((25, b"220"), (587, b"220"), (143, b"* OK"), (110, b"+OK")):
            assert greeting(s.host, port).startswith(word)
        for scheme in ("imaps", "pop3s"):
            run("curl", "-sS", "-k", "--max-time", "20", "%s://%s/" % (scheme, s.host), "-u", "alice@example.com:alice-secret")
    finally:
        for p in started:
            p.terminate()
            p.wait()
        for n in reversed(daemons):
            os.kill(int((s.run_dir / (n + ".pid")).read_text()), 15)


def greeting(host, port):
    got = []

    def ask():
        try:
            with socket.create_connection((host, port), timeout=30) as c:
                got.append(c.recv(200))
        except ConnectionRefusedError:
            return False
        return True
    until(ask)
    return got[-1]


# --- firewall ---

def test_firewall(share):
    """Two network namespaces with a wire between them: what answers through the rules is exactly the list, over IPv4 and IPv6."""
    rules = share / "nftables/postern.nft"
    run("nft", "-c", "-f", rules)
    script = """
set -e
mount --make-rprivate /; mount -t tmpfs tmpfs /run; mkdir -p /run/netns
ip netns add server; ip link add out type veth peer name in netns server
ip addr add 192.0.2.2/24 dev out; ip -6 addr add fd00::2/64 dev out nodad; ip link set out up
ip -n server addr add 192.0.2.1/24 dev in; ip -n server -6 addr add fd00::1/64 dev in nodad; ip -n server link set in up; ip -n server link set lo up
ip netns exec server nft -f %s
ip netns exec server nft -f %s   # twice: it replaces itself
ip netns exec server python3 %s serve %s >/dev/null 2>&1 & pid=$!
trap 'kill $pid' EXIT
python3 %s probe %s
""" % (rules, rules, ROOT / "t/launch/ports", " ".join(map(str, OPEN + CLOSED)), ROOT / "t/launch/ports", " ".join(map(str, OPEN + CLOSED)))
    out = run("unshare", "--net", "--mount", "sh", "-c", script)[1]
    for address in ("192.0.2.1", "fd00::1"):
        found = sorted(int(x) for x in re.search(r"^%s open:(.*)$" % address, out, re.M).group(1).split())
        assert found == sorted(OPEN), out


# --- rsyslog, completion ---

def test_rsyslog_understands_the_snippet(share, tmp_path):
    conf = tmp_path / "rsyslog.conf"
    conf.write_text('module(load="imuxsock" SysSock.Use="off")\ninput(type="imuxsock" Socket="%s/log")\n' % tmp_path
                    + (share / "rsyslog.d/postern.conf").read_text().replace("/var/log/mail.log", str(tmp_path / "mail.log")))
    p = subprocess.Popen(["rsyslogd", "-n", "-f", str(conf), "-i", str(tmp_path / "pid")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: (tmp_path / "log").exists())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(b"<22>Nov 28 12:00:00 postern/smtpd[7]: connect from unknown[192.0.2.1]", str(tmp_path / "log"))
        log = tmp_path / "mail.log"
        until(lambda: log.exists() and b"connect from" in log.read_bytes())
        assert re.match(r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ postern/smtpd\[7\]: connect from unknown\[192.0.2.1\]\n", log.read_text())
    finally:
        p.terminate()
        p.wait()


@pytest.mark.parametrize("line,want", [
    (["qu"], ["quarantine", "queue"]), (["user", "d"], ["del", "disable"]), (["queue", "re"], ["release", "requeue"]), (["user", "passwd", "al"], ["alice@example.com"]),
    (["user", "app-password", "l"], ["list"]), (["user", "app-password", "del", "al"], ["alice@example.com"]), (["user", "app-password", "add", "bob", "--serv"], ["--service"]),
    (["-c", "CONF", "che"], ["check"]), (["alias", "a"], ["add"]), (["alias", "d"], ["del"]), (["alias", "l"], ["list"]), (["learn", "--fol"], ["--folders"]),
])
def test_completion(suite, line, want):
    words = [str(suite.conf) if w == "CONF" else w for w in line]
    fake = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "postern-for-completion"
    fake.write_text('#!/bin/sh\nexec %s -c %s "$@"\n' % (suite.bin / "postern", suite.conf))
    fake.chmod(0o755)
    script = '. %s; COMP_WORDS=(%s %s); COMP_CWORD=%d; _postern %s; printf "%%s\\n" "${COMPREPLY[@]}"' % (
        ROOT / "etc/completion/postern", fake, " ".join(words), len(words), fake)
    assert sorted(run("bash", "-c", script)[1].split()) == want


# --- every command: what its sources take is in its help, its help is completed, its lists are JSON too ---

TOOLS = sorted((re.sub(r"^postern-", "", m.group(1)), m.group(2)) for f in (ROOT / "admin", ROOT / "authd", ROOT / "filterd", ROOT / "lib/store")
               for mk in f.rglob("module.mk") for m in re.finditer(r"program,(postern-[a-z]+),(.*)", mk.read_text()) if m.group(1) not in ("postern-sockets",))


def completed(suite, words, cur):
    """What bash offers for "postern WORDS… CUR"."""
    fake = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "postern-for-completion"
    fake.write_text('#!/bin/sh\nexec %s -c %s "$@"\n' % (suite.bin / "postern", suite.conf))
    fake.chmod(0o755)
    script = '. %s; COMP_WORDS=(%s %s "%s"); COMP_CWORD=%d; _postern %s; printf "%%s\\n" "${COMPREPLY[@]}"' % (
        ROOT / "etc/completion/postern", fake, " ".join(words), cur, len(words) + 1, fake)
    return set(run("bash", "-c", script)[1].split())


def sources():
    """{program: the files of its own folder that it is made of}"""
    made = {}
    for mk in ROOT.rglob("module.mk"):
        text = re.sub(r"\s*\\\n\s*", " ", mk.read_text())
        lists = dict(re.findall(r"(?m)^([A-Z_]+) :?= (.*)$", text))
        for m in re.finditer(r"\$\(call program,([\w-]+),([^,]*),", text):
            names = re.sub(r"\$\(([A-Z_]+)\)", lambda k: lists.get(k.group(1), ""), m.group(2)).split()
            made[m.group(1)] = [mk.parent / n for n in names if (mk.parent / n).is_file()]
    return made


def manuals():
    """{program: its manual}; a manual may be of several."""
    found = {}
    for page in ROOT.rglob("*.[18]"):
        text = page.read_text() if "build" not in page.relative_to(ROOT).parts else ""
        head = re.search(r"(?ms)^\.Sh NAME\n(.*?)^\.Nd", text)
        found.update({name: page for name in re.findall(r"(?m)^\.Nm (\S+)", head.group(1))} if head else {})
    return found


SOURCES, MANUALS, EVERYWHERE = sources(), manuals(), {"--help", "--version", "-h", "-V"}
# sendmail's help is short, its options are those of others; authd's helpers are started by authd alone.
DOCUMENTED = sorted(n for n in SOURCES if n in MANUALS and n != "sendmail" and not n.startswith("authd-"))


def options_in_source(name):
    """What a program's own sources take: {"--json", "-n"}."""
    out = set()
    for f in SOURCES[name]:
        text = f.read_text()
        out |= {"--" + n for n in re.findall(r'\{ "([a-z][a-z-]+)", (?:no_argument|required_argument|optional_argument)', text)}
        for letters in re.findall(r'getopt(?:_long)?\([^"]*?"([^"]*)"', text):
            out |= {"-" + c for c in letters if c.isalpha()}
    return out - EVERYWHERE


def options_in_help(text):
    out = {"--" + n for n in re.findall(r"(?<![\w-])--([a-z][a-z-]+)", text)} | {"-" + c for c in re.findall(r"(?<![\w-])-([A-Za-z])(?![\w-])", text)}
    return (out | {"-" + c for group in re.findall(r"\[-([A-Za-z]{2,})\]", text) for c in group}) - EVERYWHERE


def options_in_manual(page):
    """Those of the synopsis and of the lists, ".Op Fl nq", ".It Fl q , -quiet"; and all that it names in between."""
    text, named, listed = page.read_text(), set(), set()
    for line in text.splitlines():
        found = set()
        for group in re.findall(r"\bFl ((?:-?[\w-]+)(?: , -[\w-]+)*)", line):
            for word in group.split(" , "):
                found |= {"-" + word} if word.startswith("-") else {"-" + c for c in word}
        named |= found
        listed |= found if line.startswith((".It ", ".Op ")) else set()
    return named - EVERYWHERE, listed - EVERYWHERE


def help_of(suite, name):
    program = next(p for p in (suite.bin / name, ROOT / "build" / BUILD / name) if p.exists())
    words = ("check", "config", "why", "trace", "status") if name == "postern" else ()
    return "".join(run(program, *more, "--help", check=False)[1] for more in ([], *([w] for w in words)))


@pytest.mark.parametrize("name", DOCUMENTED)
def test_sources_help_and_manual_have_the_same_options(suite, name):
    text = help_of(suite, name)
    named, listed = options_in_manual(MANUALS[name])
    others = set().union(*(options_in_help(help_of(suite, n)) for n in DOCUMENTED if MANUALS[n] == MANUALS[name]))
    assert options_in_source(name) <= options_in_help(text), "taken and not in the help"
    assert options_in_help(text) <= named, "in the help and not in the manual"
    assert listed <= others, "in the manual and not in the help"


@pytest.mark.parametrize("name", [n for n, _files in TOOLS])
def test_every_option_is_completed(suite, name):
    named = {o for o in options_in_help(run(suite.bin / ("postern-" + name), "--help")[1]) if o.startswith("--")}
    offered = completed(suite, [name], "--")
    assert named <= offered, (sorted(named), sorted(offered))


def test_every_word_is_completed(suite):
    text = run(str(suite.bin / "postern"), "help")[1]
    words = set(re.findall(r"(?m)^  ([a-z][a-z-]*)(?: |$)", text))
    assert {n for n, _files in TOOLS} | {"sockets"} <= words
    assert {w for w in words if re.search(r"(?m)^  %s +\S" % w, text)} == words, "a word that is not explained"
    assert words <= completed(suite, [], "")


@pytest.fixture(scope="module")
def holding(fresh_suite_module):
    """One message waits, one is in quarantine, one counts for a report of DMARC; and there is a key."""
    dns = dnsserver.Server()
    dns.add("good.test", "TXT", "v=spf1 ip4:127.0.0.0/8 -all").add("_dmarc.good.test", "TXT", "v=DMARC1; p=none; rua=mailto:r@good.test")
    s = fresh_suite_module("holding", settings={"spam_action": "quarantine", "relayhost": "[127.0.0.1]:1", "dns_servers": dns.address})
    suite_module.run([s.bin / "sendmail", "-C", s.conf, "later@elsewhere.example"], input=b"Subject: later\n\nwords\n")
    mailtools.Mail(s).send(raw=GOOD % (b"held", GTUBE))
    mailtools.Mail(s).send(sender="x@good.test", raw=b"From: x@good.test\r\n" + (GOOD % (b"reported", b"words")).split(b"\r\n", 1)[1])
    s.tool("postern-dkim", "genkey", "example.com", "-s", "s1", "-t", "ed25519")
    until(lambda: [f for f in (s.state / "dmarc").glob("2*") if f.stat().st_size])
    yield s
    dns.close()


@pytest.mark.parametrize("words", [
    ["check"], ["config"], ["status"], ["why", "alice@example.com"], ["user", "list"], ["user", "show", "alice@example.com"], ["alias", "list"], ["queue", "list"],
    ["quarantine", "list"], ["dkim", "list"], ["dmarc", "list"], ["mailbox", "stat", "alice@example.com"], ["mailbox", "check", "alice@example.com"], ["learn", "--status"],
    ["report", "--since", "today", "--no-mailboxes", "LOG"], ["alarm", "-n"], ["backup", "--list", "PLACE"], ["trace", "--file", "LOG", "alice@example.com"]])
def test_every_list_is_json_too(suite, mail, words, tmp_path, request):
    if words[0] in ("queue", "quarantine", "dkim", "dmarc"):
        suite = request.getfixturevalue("holding")
    if words[0] in ("mailbox", "backup"):
        mail.wait_for(mail.send(to="alice@example.com"), user="alice@example.com")
    (tmp_path / "mail.log").write_text("Nov 28 12:00:00 h postfix/smtpd[7]: 4abc: client=unknown[192.0.2.1]\nNov 28 12:00:00 h postfix/qmgr[7]: 4abc: from=<alice@example.com>, size=1, "
                                       "nrcpt=1 (queue active)\n")
    if "PLACE" in words:
        suite.tool("postern-backup", "--user", "alice@example.com", tmp_path)
    words = [{"LOG": str(tmp_path / "mail.log"), "PLACE": str(tmp_path)}.get(w, w) for w in words]
    p = subprocess.run([str(suite.bin / "postern"), "-c", str(suite.conf), *words[:1], "--json", *words[1:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.returncode in (0, 1), p.stderr
    text = p.stdout.decode().strip()
    try:
        values = json.loads(text)
    except ValueError:
        values = [json.loads(line) for line in text.splitlines()]      # or a value a line
    assert values, text
    if words[0] in ("queue", "quarantine"):
        (line,), address = text.splitlines(), "later@elsewhere.example" if words[0] == "queue" else "bob@example.com"
        assert '"%s"' % address in line, line
