"""postern import imap, pop3: from a real server over TLS, from played ones that are odd or hostile; kills, repeats, and who holds the password."""
import os
import pathlib
import pwd
import signal
import socketserver
import subprocess
import threading

import pytest


@pytest.fixture
def played(suite):
    """played(handler): a server in this process; returns its port."""
    servers = []

    def start(handle):
        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                try:
                    handle(self.rfile, self.wfile)
                except (ConnectionError, ValueError):
                    pass
        socketserver.ThreadingTCPServer.allow_reuse_address = True
        s = socketserver.ThreadingTCPServer((suite.host, 0), Handler)
        s.daemon_threads = True
        threading.Thread(target=s.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        servers.append(s)
        return s.server_address[1]
    yield start
    for s in servers:
        s.shutdown()
        s.server_close()


def pull(user, word, port, *args, other=None, tls=(), code=0, password="secret", **kw):
    return user.run(word, "--host", user.suite.host, "--port", port, "--login", other or user.name, *(tls or ("--no-verify",)), *args, code=code,
                    input=password.encode() + b"\n", **kw)


def test_imap_with_everything(user, old):
    rows = pull(user, "imap", user.suite.port("IMAPS"), other=old.name, password=old.password)
    assert (rows["INBOX"]["found"], rows["INBOX"]["imported"], rows["INBOX"]["verified"]) == (68, 68, 68)
    assert rows["R\xe9union/2005"]["imported"] == 1 and rows["Sent"]["imported"] == 1
    assert user.messages("INBOX") == old.messages("INBOX")          # UIDs, flags, bytes
    assert user.messages('"R&AOk-union/2005"') == old.messages('"R&AOk-union/2005"')
    a, b = user.imap(), old.imap()
    assert a.response("UIDVALIDITY") == b.response("UIDVALIDITY")
    assert a.fetch("1:*", "(INTERNALDATE)") == b.fetch("1:*", "(INTERNALDATE)")
    a.logout()
    b.append("INBOX", None, None, b"Subject: later\r\n\r\n")
    b.logout()
    rows = pull(user, "imap", user.suite.port("IMAPS"), other=old.name, password=old.password)
    assert (rows["INBOX"]["imported"], rows["INBOX"]["known"], rows["Sent"]["known"]) == (1, 68, 1)
    assert b"\\Seen" not in old.messages()[0][1]                    # nothing was marked there


def test_imap_dry_run_and_one_folder(user, old):
    rows = pull(user, "imap", user.suite.port("IMAPS"), "-n", other=old.name, password=old.password)
    assert rows["INBOX"]["imported"] == 68 and not (user.root / "postern.imported").exists()
    rows = pull(user, "imap", user.suite.port("IMAPS"), "--folder", "Sent", other=old.name, password=old.password)
    assert list(rows) == ["Sent"]
    pull(user, "imap", user.suite.port("IMAPS"), "--folder", "Nowhere", other=old.name, password=old.password, code=75)


def test_imap_starttls_and_certificates(user, old):
    port = user.suite.port("IMAP")
    rows = pull(user, "imap", port, "--tls", "starttls", "--folder", "Sent", other=old.name, password=old.password)
    assert rows["Sent"]["imported"] == 1
    pull(user, "imap", user.suite.port("IMAPS"), tls=("--tls", "implicit"), other=old.name, password=old.password, code=75)    # not a known CA
    pull(user, "imap", user.suite.port("IMAPS"), other=old.name, password="wrong", code=75)


def test_imap_killed_and_run_again(user, old, suite):
    for _ in range(3):
        p = subprocess.Popen([str(suite.bin / "postern-import"), "-c", str(suite.conf), "-q", "imap", "--user", user.name, "--host", suite.host, "--port",
                              str(suite.port("IMAPS")), "--no-verify", "--login", old.name], stdin=subprocess.PIPE, start_new_session=True)
        p.stdin.write(old.password.encode() + b"\n")
        p.stdin.close()
        while p.poll() is None and not list(user.root.glob("tmp/*")) and len(list(user.root.glob("cur/*"))) < 64:
            pass
        try:
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        p.wait()
    pull(user, "imap", suite.port("IMAPS"), other=old.name, password=old.password)
    assert sorted(m[2] for m in user.messages()) == sorted(m[2] for m in old.messages())


def test_pop3_keeps_or_deletes(user, old):
    port = user.suite.port("POP3S")
    rows = pull(user, "pop3", port, "--folder", "Fetched", other=old.name, password=old.password)
    assert rows["Fetched"]["imported"] == 68 and len(old.messages()) == 68
    assert sorted(m[2] for m in user.messages("Fetched")) == sorted(m[2] for m in old.messages())
    # what was read and deleted here does not come again; what is new does
    c = user.imap("Fetched")
    c.store("1:10", "+FLAGS", "\\Deleted")
    c.expunge()
    c.logout()
    o = old.imap()
    o.append("INBOX", None, None, b"Subject: new\r\n\r\n")
    o.logout()
    rows = pull(user, "pop3", port, "--folder", "Fetched", "--delete", other=old.name, password=old.password)
    assert (rows["Fetched"]["imported"], rows["Fetched"]["known"]) == (1, 68)
    assert old.messages() == [] and len(user.messages("Fetched")) == 59


def imap_server(folders, capability=b"IMAP4rev1", extra=()):
    """A plain server: {name: [message]}; answers by literal, in an order of its own."""
    def handle(r, w):
        w.write(b"* OK [CAPABILITY IMAP4rev1] old server\r\n")
        current = []
        for line in r:
            tag, _, rest = line.strip().partition(b" ")
            word = rest.split(b" ")[0].upper()
            if word == b"CAPABILITY":
                w.write(b"* CAPABILITY " + capability + b"\r\n")
            elif word == b"LIST":
                for name in folders:
                    w.write(b'* LIST (\\HasNoChildren) "." "' + name + b'"\r\n')
                for x in extra:
                    w.write(x)
            elif word == b"LSUB":
                w.write(b'* LSUB () "." INBOX\r\n')
            elif word == b"EXAMINE":
                name = rest.split(b" ", 1)[1].strip(b'"')
                if name not in folders:
                    w.write(tag + b" NO no such mailbox\r\n")
                    continue
                current = folders[name]
                w.write(b"* %d EXISTS\r\n* OK [UIDVALIDITY 3857529045] ok\r\n" % len(current))
            elif rest.upper().startswith(b"UID SEARCH"):
                w.write(b"* SEARCH " + b" ".join(b"%d" % (10 * (i + 1)) for i in range(len(current))) + b"\r\n")
            elif rest.upper().startswith(b"UID FETCH"):
                for i, m in enumerate(current):
                    w.write(b"* %d FETCH (BODY[] {%d}\r\n%s FLAGS (\\Seen \\Recent NonJunk) X-THING (1 (2 {3}\r\nabc)) INTERNALDATE \" 2-Jan-2006 15:04:05 +0000\" UID %d)\r\n"
                            % (i + 1, len(m), m, 10 * (i + 1)))
                    w.write(b"* 99 EXPUNGE\r\n")
            elif word == b"LOGOUT":
                w.write(b"* BYE\r\n" + tag + b" OK\r\n")
                return
            w.write(tag + b" OK done\r\n")
    return handle


def test_who_is_who(user, suite, played):
    """Once the writer has asked for folders: one process is the mail user, the other has the password and is nobody's; both are confined."""
    seen = {}
    good = imap_server({b"INBOX": []})

    def look():
        for pid in subprocess.run(["pgrep", "-f", "postern-import"], capture_output=True).stdout.split():
            status = pathlib.Path("/proc/%d/status" % int(pid)).read_text()
            fields = {k: v.split() for k, v in (line.split(":", 1) for line in status.splitlines())}
            if fields["State"][0] != "Z":       # one that was killed in another test
                seen[fields["Uid"][0]] = (fields["Seccomp"][0], fields["NoNewPrivs"][0], fields["CapEff"][0])

    def handle(r, w):
        class Writer:
            def write(self, data):
                if data.startswith(b"* LIST"):
                    look()
                w.write(data)
        good(r, Writer())
    pull(user, "imap", played(handle), tls=("--tls", "none"))
    confined = ("2", "1", "0" * 16)
    assert seen == {str(user.root.stat().st_uid): confined, str(pwd.getpwnam("_postern_remote").pw_uid): confined}


def test_a_courier_like_server(user, played):
    port = played(imap_server({b"INBOX": [b"Subject: a\r\n\r\n1\r\n"], b"INBOX.Work": [b"Subject: b\r\n\r\n(\"{3}\r\n"], b"INBOX.Work.2005/6": []}))
    rows = pull(user, "imap", port, tls=("--tls", "none"))
    assert {k: r["imported"] for k, r in rows.items()} == {"INBOX": 1, "Work": 1, "Work/2005_6": 0}
    assert user.messages("Work") == [[10, {b"\\Seen", b"NonJunk"}, b"Subject: b\r\n\r\n(\"{3}\r\n"]]


def test_one_bad_folder_does_not_stop_the_others(user, played):
    port = played(imap_server({b"INBOX": [b"Subject: a\r\n\r\n"]}, extra=(b'* LIST () "." "Broken"\r\n',)))
    rows = pull(user, "imap", port, tls=("--tls", "none"), code=75)
    assert rows["INBOX"]["imported"] == 1 and rows["Broken"]["failed"] == 1


@pytest.mark.parametrize("bad", [
    b"* 1 FETCH (UID 10 BODY[] {99999999999}\r\n",
    b"* 1 FETCH (UID 10 BODY[] {10}\r\nabc",
    b"* 1 FETCH " + b"(" * 5000 + b"\r\n",
    b"* 1 FETCH (UID 99999999999 BODY[] \"\")\r\n",
    b"\x00\xff\r\n" * 10,
    b"* BYE\r\n",
])
def test_hostile_servers(user, played, bad):
    good = imap_server({b"INBOX": [b"x\r\n"]})

    def handle(r, w):
        class Writer:
            def write(self, data):
                w.write(bad if data.startswith(b"* 1 FETCH") else data)
        good(r, Writer())
    pull(user, "imap", played(handle), tls=("--tls", "none"), code=75)
    assert user.messages("INBOX") == []


def test_a_password_in_the_clear_is_a_decision(user, played):
    """Without --tls none, TLS it is: a server that does not speak it gets no password."""
    got = []

    def handle(r, w):
        w.write(b"* OK\r\n")
        got.append(r.read(2000))
    pull(user, "imap", played(handle), code=75)
    assert b"secret" not in b"".join(got)


def test_usage(user, suite):
    for args in (["imap", "--user", user.name], ["pop3", "--host", "x"], ["imap", "--user", user.name, "--host", "x", "--delete"],
                 ["pop3", "--user", user.name, "--host", "x", "--keep", "--delete"], ["mbox", "--user", user.name, "--host", "x", "f"]):
        p = suite.tool("postern-import", *args, check=False)
        assert p.returncode == 64, args
    for args, told in ((["mbox", "f"], "mbox: for which user? (--user USER)"), (["imap", "--user", user.name], "imap: from which server? (--host HOST)"),
                       (["maildir", "--user", user.name], "maildir: from which file or directory?"), (["mail", "--user", user.name], "mail: no such word")):
        p = suite.tool("postern-import", *args, check=False)
        assert p.returncode == 64 and p.stdout.decode().startswith("postern-import: %s\n" % told), p.stdout
    p = suite.tool("postern-import", "maildir", "--user", user.name, suite.conf, check=False)
    assert p.returncode == 75 and b"postern.conf is no directory" in p.stdout, p.stdout
    p = suite.tool("postern-import", "imap", "--user", user.name, "--host", suite.host, "--port", "1", check=False, input=b"x\n")
    assert p.returncode == 75
