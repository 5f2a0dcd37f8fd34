"""postern-mailbox: look, repair, flush, rebuild; as root it becomes the user first."""
import imaplib
import os
import shutil
import subprocess

ONE = b"From: a@b\nSubject: one\n\nbody\n"


def tool(suite, *args):
    p = suite.tool("postern-mailbox", *args, check=False)
    return p.returncode, p.stdout.decode()


def imap(d):
    c = imaplib.IMAP4_SSL("localhost" if d.suite.hosts[0] == "127.0.0.1" else d.suite.hosts[0], d.suite.port("IMAPS"),
                          ssl_context=unchecked(d.suite))
    c.login(d.name, d.password)
    return c


def unchecked(suite):
    ctx = suite.tls_context()
    ctx.check_hostname = False
    return ctx


def test_check_and_stat_of_a_sound_mailbox(drop, suite):
    d = drop(ONE, ONE)
    d.login().ok("QUIT")
    code, out = tool(suite, "check", d.name)
    assert code == 0, out
    assert "INBOX: ok" in out
    code, out = tool(suite, "-f", "INBOX", "stat", d.name)
    assert code == 0 and " 2 messages" in out and out.count("\n") == 1


def test_check_of_a_folder_that_nobody_has_opened(drop, suite):
    d = drop(ONE, ONE)      # as deliver leaves it
    assert tool(suite, "-f", "INBOX", "check", d.name) == (0, "INBOX: ok\n")
    d.login().ok("QUIT")
    (d.root / "postern.journal").unlink()
    code, out = tool(suite, "-f", "INBOX", "check", d.name)
    assert code == 1 and "postern.journal" in out, out


def test_repair_makes_directories_that_a_copy_has_left_out(drop, suite):
    d = drop(ONE)
    c = imap(d)
    c.create("Work")
    c.append("Work", None, None, ONE.replace(b"\n", b"\r\n"))
    c.logout()
    d.login().ok("QUIT")
    where = [x for folder in (d.root, d.root / ".Work") for x in (folder / "new", folder / "tmp")]
    for x in where:         # rsync --prune-empty-dirs
        shutil.rmtree(x)
    code, out = tool(suite, "check", d.name)
    assert code == 75 and "tmp is missing" in out, out
    code, out = tool(suite, "repair", d.name)
    assert code == 0 and "INBOX: repaired, 1 messages" in out and "Work: repaired, 1 messages" in out, out
    assert tool(suite, "-q", "check", d.name) == (0, "") and all(x.stat().st_uid == d.root.stat().st_uid for x in where)


def test_repair_finds_what_was_changed_in_place(drop, suite):
    d = drop(ONE, ONE)
    p = d.login()
    uidl = p.listing("UIDL")
    p.ok("QUIT")
    f = d.root / "cur" / d.files()[0]
    f.write_bytes(ONE + b"more\n")
    code, out = tool(suite, "-q", "check", d.name)
    assert code == 1 and "message 1 has" in out, out
    assert tool(suite, "repair", d.name)[0] == 0
    assert tool(suite, "-q", "check", d.name) == (0, "")
    p = d.login()
    assert p.listing("UIDL") == uidl
    assert p.ok("LIST 1") == "+OK 1 %d" % len((ONE + b"more\n").replace(b"\n", b"\r\n"))
    for f in d.root.rglob("postern.*"):
        assert f.stat().st_uid == d.root.stat().st_uid, f


def test_flush_writes_flags_into_names(drop, suite):
    d = drop(ONE)
    c = imap(d)
    c.select("INBOX")
    c.store("1", "+FLAGS", "(\\Flagged \\Answered)")
    code, out = tool(suite, "flush", d.name)
    assert code == 0, out
    assert [f.split(":2,")[1] for f in d.files()] == ["FR"]
    c.logout()


def test_rebuild_changes_nothing_that_shows(drop, suite):
    d = drop(ONE, ONE)
    p = d.login()
    uidl = p.listing("UIDL")
    p.ok("QUIT")
    code, out = tool(suite, "rebuild", d.name)
    assert code == 0, out
    assert d.login().listing("UIDL") == uidl


def test_only_root_and_the_user(drop, suite):
    d = drop(ONE)
    d.login().ok("QUIT")
    p = subprocess.run([str(suite.bin / "postern-mailbox"), "-c", str(suite.conf), "stat", d.name], user="nobody", group="nogroup",
                       extra_groups=[], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert p.returncode == 75 and b"only root" in p.stdout
    assert tool(suite, "stat", "nobody-here@example.com")[0] == 67
    assert tool(suite, "stat", "root")[0] in (67, 75)
    assert tool(suite, "frobnicate", d.name)[0] == 64


def test_links_in_the_tree_are_not_followed(drop, suite):
    d = drop(ONE)
    d.login().ok("QUIT")
    secret = suite.base / "secret"
    secret.write_text("1 4000000000 00000000000000000000000000000000 5\n")
    os.chmod(secret, 0o600)
    for name in ("postern.index", "postern.sync", "postern.cache", "postern.lock", "postern.poplock", "postern.uidvalidity"):
        f = d.root / name
        if f.exists():
            f.unlink()
        f.symlink_to(secret)
    before = secret.read_bytes()
    tool(suite, "repair", d.name)
    p = d.connect()
    p.ok("USER " + d.name)
    p.say("PASS " + d.password)
    assert secret.read_bytes() == before
