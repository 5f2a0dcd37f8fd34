"""Who runs as whom, and what the kernel forbids each: read from /proc, not from our own word."""
import os
import pathlib
import time

import pytest

ROOT_MAY_BE = ("postern-run", "log: parent", "authd: supervisor", "authd: monitor", "smtpd: parent", "imapd: parent", "pop3d: parent", "queued: parent")

EXPECTED = {
    "log: worker": "_postern_log", "authd: key worker": "_postern_key", "authd: sasl": "_postern_sasl", "authd: check": "_postern_pam",
    "queued: queue": "_postern_queue", "resolve": "_postern_map", "spawn": "_postern_mda", "spawn: programs": "_postern_mda", "remote": "_postern_remote", "dns": "_postern_dns", "policy": "_postern_policy", "sts": "_postern_sts", "remote: connector": "_postern_remote",
    "queued: connector": "_postern_queue", "authd: mux": "_postern_sasl", "filterd: monitor": "_postern_filter", "filterd: template": "_postern_filter", "smtpd: template": "_postern_smtp", "imapd: template": "_postern_imap",
    "pop3d: template": "_postern_pop3",
}


def status(pid):
    return dict(line.split(":", 1) for line in pathlib.Path("/proc/%d/status" % pid).read_text().splitlines() if ":" in line)


def find(processes, words):
    return [p for p in processes if p[3] == words or p[3].startswith(words + " ")]


def settled(check, seconds=30):
    """A process that starts (after a reload by another test) is root for a moment, before it gives that up."""
    end = time.monotonic() + seconds
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


@pytest.mark.parametrize("title, user", EXPECTED.items())
def test_each_role_runs_as_its_own_user(suite, title, user):
    def check():
        found = find(suite.processes(), title)
        assert found, "\n".join(map(str, suite.processes()))
        assert {p[1] for p in found} == {user}
    settled(check)


def test_only_the_named_parents_are_root(suite):
    def check():
        for pid, user, comm, cmd in suite.processes():
            if user == "root":
                assert any(word in cmd for word in ROOT_MAY_BE), (pid, comm, cmd)
    settled(check)


def test_everything_that_is_not_root_is_confined(suite, mail):
    """seccomp filter on, no_new_privs (but for spawn, which starts the setuid agent), no capability, not dumpable."""
    with mail.wire("SMTP") as smtp, mail.wire("IMAP") as imap, mail.wire("POP3") as pop3:
        assert smtp.line().startswith(b"220") and imap.line().startswith(b"* OK") and pop3.line().startswith(b"+OK")
        session = mail.imap()
        checked = set()
        for pid, user, _comm, cmd in suite.processes():
            try:
                st = status(pid)
            except OSError:
                continue
            if user == "root":
                continue
            checked.add(cmd.split(" ")[0] + " " + " ".join(cmd.split(" ")[1:2]))
            assert st["Seccomp"].strip() == "2", (cmd, st["Seccomp"])
            assert int(st["CapEff"], 16) == 0 and int(st["CapPrm"], 16) == 0, cmd
            if "spawn" not in cmd and "deliver" not in cmd:
                assert st["NoNewPrivs"].strip() == "1", cmd
        session.logout()
        words = " | ".join(sorted(checked))
        for front in ("smtpd: front", "imapd: front", "pop3d: front", "imapd: session"):
            assert front in words, words


def test_fronts_see_an_empty_root(suite, mail):
    with mail.wire("SMTP") as smtp:
        smtp.line()
        fronts = find(suite.processes(), "smtpd: front")
        assert fronts
        assert os.readlink("/proc/%d/root" % fronts[0][0]) == str(suite.run_dir / "empty")
        assert os.listdir("/proc/%d/root/" % fronts[0][0]) == []


def test_the_private_key_is_in_no_front(suite, mail):
    """Search the memory of a front that has done a handshake for the key's own bytes."""
    der = key_bytes(suite)
    with mail.wire("IMAPS", tls=True) as w:
        assert w.line().startswith(b"* OK")
        for pid, _user, _comm, cmd in find(suite.processes(), "imapd:"):
            try:
                assert not memory_holds(pid, der), cmd
            except (FileNotFoundError, ProcessLookupError):
                pass    # a front of an earlier test has just ended
        key = find(suite.processes(), "authd: key")
        assert memory_holds(key[0][0], der), "the search itself must be able to find the key"


def key_bytes(suite):
    """The private scalar of the P-256 key, as OpenSSL keeps it in memory (little-endian words)."""
    import subprocess
    text = subprocess.run(["openssl", "ec", "-in", str(suite.base / "etc" / "key.pem"), "-text", "-noout"], capture_output=True,
                          check=True).stdout.decode()
    digits = "".join(text[text.index("priv:") + 5:text.index("pub:")].split()).replace(":", "")
    scalar = bytes.fromhex(digits)[-32:]
    return [scalar, scalar[::-1]]


def memory_holds(pid, needles):
    with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as mem:
        for line in maps:
            span, perms = line.split()[:2]
            if "r" not in perms or "[v" in line:
                continue
            a, b = (int(x, 16) for x in span.split("-"))
            try:
                mem.seek(a)
                data = mem.read(b - a)
            except (OSError, ValueError, OverflowError):
                continue
            if any(n in data for n in needles):
                return True
    return False
