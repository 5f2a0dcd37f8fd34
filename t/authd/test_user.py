"""postern-user: users, passwords, uids, what is refused, and that authd follows."""
import json
import os
import stat
import subprocess
import threading
import time

import pytest

from test_login import login


@pytest.fixture
def authd(make_authd):
    a = make_authd()
    return a


@pytest.mark.parametrize("scheme", ["yescrypt", "sha512", "plain"])
@pytest.mark.parametrize("password", ["simple", "it's", "\\ \" ' ` $HOME %s", " lead and trail ", "p\u00e4ssw\u00f6rt \u00df \u20ac",
                                      "\u65e5\u672c\u8a9e", pytest.param("x" * 1024, id="1024"), "{PLAIN}x", "-", "a:b"])
def test_passwords_of_all_kinds(module_authd, scheme, password):
    name = "pw-%s@example.com" % os.urandom(4).hex()
    module_authd.add(name, password, scheme)
    assert login(module_authd, name, password)[0] == "OK"
    assert login(module_authd, name, password + "x")[0] == "FAIL"
    module_authd.user("del", name)


@pytest.fixture(scope="module")
def module_authd(tmp_path_factory):
    import pathlib
    from authdbox import Authd
    a = Authd(pathlib.Path(os.environ["POSTERN_SCRATCH"]) / ("authd-%s" % os.urandom(3).hex()))
    a.make()
    a.add("first@example.com", "x")
    a.start()
    yield a
    a.stop()


@pytest.mark.parametrize("args,input", [(["add", "", "--password-stdin"], b"x"), (["add", "../x", "--password-stdin"], b"x"), (["add", "-x"], b"x"),
                                        (["add", "a@b@c", "--password-stdin"], b"x"), (["add", "e@example.com", "--password-stdin"], b""),
                                        (["add", "e@example.com", "--password-stdin"], b"x" * 1025), (["add", "e@example.com", "--password-stdin"], b"a\0b"),
                                        (["add", "e@example.com", "--password-stdin", "--scheme", "md5"], b"x"), (["add", "root", "--password-stdin"], b"x"),
                                        (["passwd", "nobody@example.com", "--password-stdin"], b"x"), (["del", "nobody@example.com"], b""),
                                        (["quota", "e@example.com", "1x"], b""), (["add", "a b@example.com", "--password-stdin"], b"x"), ([], b""),
                                        (["frob"], b""), (["add", "x" * 256, "--password-stdin"], b"x"), (["add", "a%n\n@example.com", "--password-stdin"], b"x")])
def test_refusals_leave_nothing(authd, args, input):
    p = authd.user(*args, input=input, check=False)
    assert p.returncode != 0 and p.stderr
    assert not (authd.state / "users").exists() and not (authd.state / "passwd.cdb").exists()


def test_files_and_listing(authd):
    authd.add("alice@example.com", "x")
    authd.add("Bob@Example.com", "y")
    assert authd.user("add", "bob@example.com", "--password-stdin", input=b"z", check=False).returncode != 0, "doubled"
    authd.user("quota", "alice@example.com", "2g")
    rows = {r["name"]: r for r in json.loads(authd.user("list", "--json").stdout)}
    assert rows["alice@example.com"]["quota"] == 2 << 30 and rows["bob@example.com"]["uid"] == rows["alice@example.com"]["uid"] + 1
    assert [l.split()[0] for l in authd.user("list").stdout.decode().splitlines()] == ["alice@example.com", "bob@example.com"]
    shown = dict(l.split(": ", 1) for l in authd.user("show", "bob@example.com").stdout.decode().splitlines())
    assert shown["maildir"] == str(authd.state / "mail" / "bob@example.com" / "Maildir")
    users, passwd = (authd.state / "users").stat(), (authd.state / "passwd.cdb").stat()
    assert stat.S_IMODE(users.st_mode) == 0o600 and stat.S_IMODE(passwd.st_mode) == 0o640 and passwd.st_uid == 0
    home = (authd.state / "mail" / "bob@example.com").stat()
    assert stat.S_IMODE(home.st_mode) == 0o700 and home.st_uid == rows["bob@example.com"]["uid"]


def test_what_is_wrong_is_said_first(authd):
    for args, told in ((["raname", "a@example.com"], 'no command "raname"'), (["disabel", "a@example.com"], "meant is perhaps disable"),
                       (["quota", "a@example.com"], "something is missing\nusage: postern user quota NAME SIZE"),
                       (["quota", "a@example.com", "5", "G"], "more than it takes"), (["app-password", "add"], "app-password add NAME")):
        p = authd.user(*args, check=False)
        assert p.returncode == 64 and told in p.stderr.decode(), p.stderr


def test_a_domain_that_is_none_of_ours_is_told_of(make_authd):
    authd = make_authd(virtual_mailbox_domains="example.org Example.com")
    assert b"no mail comes for a@exmaple.com" in authd.user("add", "a@exmaple.com", "--password-stdin", input=b"x").stderr
    for args in (["add", "b@example.com"], ["-q", "add", "b@exmaple.com"], ["add", "local"]):
        assert b"note:" not in authd.user(*args, "--password-stdin", input=b"x").stderr


def test_a_user_that_was_refused_leaves_no_home(authd):
    """It would belong to the uid of whoever is made next, and the second attempt be refused for it."""
    assert authd.user("add", "eve@example.com", "--password-stdin", input=b"", check=False).returncode == 1
    p = authd.user("import", input=b"eve@example.com:x\nno colon\n", check=False)
    assert p.returncode == 1 and b"line 2: " in p.stderr, p.stderr
    assert not (authd.state / "mail" / "eve@example.com").exists()
    authd.add("fay@example.com", "x")
    authd.add("eve@example.com", "x")
    for name in ("fay@example.com", "eve@example.com"):
        home = (authd.state / "mail" / name).stat()
        assert home.st_uid == json.loads(authd.user("show", name, "--json").stdout)["uid"] and stat.S_IMODE(home.st_mode) == 0o700


def test_quota_as_it_was_given(authd):
    authd.add("a@example.com", "x")
    for quota in ("2G", "1536K,100000", "1000", "none", "default", "5T"):
        authd.user("quota", "a@example.com", quota)
        assert authd.user("list").stdout.decode().split()[-1] == quota


def test_kept_mail_is_told_of(authd):
    authd.add("a@example.com", "x")
    maildir = authd.state / "mail" / "a@example.com" / "Maildir"
    assert authd.user("del", "a@example.com", "--keep-mail").stdout.decode() == "the mail stays in %s\n" % maildir
    assert maildir.parent.is_dir()


def test_uid_is_never_given_twice(authd):
    authd.add("a@example.com", "x")
    uid = json.loads(authd.user("show", "a@example.com", "--json").stdout)["uid"]
    deep = authd.state / "mail" / "a@example.com" / "deep"
    deep.mkdir()
    os.symlink("/etc/passwd", deep / "link")
    os.chown(deep, uid, uid)
    authd.user("del", "a@example.com")
    assert not (authd.state / "mail" / "a@example.com").exists() and os.path.exists("/etc/passwd")
    authd.add("a@example.com", "x")
    assert json.loads(authd.user("show", "a@example.com", "--json").stdout)["uid"] == uid + 1
    authd.user("del", "a@example.com", "--keep-mail")
    assert authd.user("add", "a@example.com", "--password-stdin", input=b"x", check=False).returncode != 0, "the home is someone else's"


def test_deleting_follows_nothing(authd):
    """What a user left in the home cannot make the tool remove anything elsewhere."""
    authd.add("m@example.com", "x")
    victim = authd.base / "victim"
    victim.mkdir()
    (victim / "f").write_text("x")
    os.chmod(victim, 0o755)
    home = authd.state / "mail" / "m@example.com"
    os.symlink(victim, home / "dir")
    os.link(victim / "f", home / "hard")
    authd.user("del", "m@example.com")
    assert (victim / "f").read_text() == "x" and not home.exists()


def test_import_and_many_writers(authd):
    lines = "".join("u%d@example.com:pass %d:with colon\n" % (i, i) for i in range(300))
    assert b"300 users" in authd.user("import", "--scheme", "plain", input=lines.encode()).stdout
    ts = [threading.Thread(target=authd.add, args=("w%d@example.com" % i, "x")) for i in range(10)]
    for t in ts:
        t.start()
    for t in ts:
        t.join()
    rows = json.loads(authd.user("list", "--json").stdout)
    assert len(rows) == 310 and len({r["uid"] for r in rows}) == 310
    authd.start()
    assert login(authd, "u299@example.com", "pass 299:with colon")[0] == "OK"
    assert login(authd, "w9@example.com", "x")[0] == "OK"


def test_broken_users_file_keeps_the_accounts(authd):
    authd.add("a@example.com", "x")
    authd.start()
    good = (authd.state / "users").read_text()
    for bad in ("rubbish\n", good + "evil:0:active:0\n", good + "evil:1000:active:0\n", good[:-5], good + "b:200000:active:0\n", "x" * 100000):
        authd.mark()
        (authd.state / "users").write_text(bad)
        authd.wait_log("the accounts stay as they were")
        assert login(authd, "a@example.com", "x")[0] == "OK"
    authd.mark()
    (authd.state / "users").write_text(good)
    authd.wait_log("accounts: ")


def test_system_accounts_follow_passwd(authd):
    authd.start()
    authd.mark()
    subprocess.run(["useradd", "-m", "-d", str(authd.base / "new1"), "-s", "/bin/false", "new1"], check=True)
    subprocess.run(["chpasswd"], input=b"new1:pw\n", check=True)
    authd.wait_log("accounts: ")
    end = time.monotonic() + 30
    while login(authd, "new1", "pw")[0] != "OK":
        assert time.monotonic() < end
        time.sleep(0.3)
    authd.user("disable", "new1")
    assert login(authd, "new1", "pw")[0] == "FAIL"
    authd.user("enable", "new1")
    assert login(authd, "new1", "pw")[0] == "OK"
    subprocess.run(["usermod", "-L", "new1"], check=True)
    assert login(authd, "new1", "pw")[0] == "FAIL", "a lock works at once, cache or not"
    subprocess.run(["usermod", "-U", "new1"], check=True)
    subprocess.run(["usermod", "-e", "1", "new1"], check=True)
    assert login(authd, "new1", "pw")[0] == "FAIL", "expired"


def test_unprivileged_user_changes_nothing(authd):
    authd.add("a@example.com", "x")
    p = subprocess.run([authd.bin / "postern-user", "-c", authd.conf, "add", "b@example.com", "--password-stdin"], input=b"x",
                       stderr=subprocess.PIPE, preexec_fn=lambda: (os.setgid(65534), os.setuid(65534)))
    assert p.returncode != 0
    assert b"b@example.com" not in (authd.state / "users").read_bytes()
