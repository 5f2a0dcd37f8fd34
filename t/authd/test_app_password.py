"""Application passwords: made, scoped, listed with their last use, taken away; for the suite's own users and for accounts of the system; what the main password is
for; that they forgive nothing and that SCRAM does not know them."""
import json
import os
import pathlib
import pwd
import subprocess
import time

import pytest

from authdbox import Authd
from test_login import AUTH, JOE, TEMP, login, plain, scram
from test_saslauthd import ask, request
from waiting import until

WEBMAIL = "127.0.0.9"


@pytest.fixture(scope="module")
def authd():
    a = Authd(pathlib.Path(os.environ["POSTERN_SCRATCH"]) / ("authd-%s" % os.urandom(3).hex()), webmail_hosts=WEBMAIL)
    a.make()
    a.add("alice@example.com", "secret")
    subprocess.run(["useradd", "-m", "-d", str(a.base / "joe"), "-s", "/bin/false", "joe"], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["chpasswd"], input=("joe:%s\n" % JOE).encode(), check=True)
    assert pwd.getpwnam("joe").pw_uid >= 1000
    a.start()
    yield a
    a.stop()


def make(authd, user, name="phone", *more):
    made = json.loads(authd.user("app-password", "add", user, "--name", name, "--json", *more).stdout)
    assert made["user"] == user and made["app"] == name
    return made["password"]


def listed(authd, *who):
    return {(r["user"], r["app"]): r for r in json.loads(authd.user("app-password", "list", *who, "--json").stdout)}


@pytest.fixture(autouse=True)
def clean(authd):
    yield
    for user in ("alice@example.com", "joe"):
        authd.user("app-password", "main", user, "any")
        authd.user("app-password", "del", user, "--all")


@pytest.mark.parametrize("user,main", [("alice@example.com", "secret"), ("joe", JOE)])
def test_beside_the_main_password(authd, user, main):
    password = make(authd, user)
    assert len(password) == 29 and "secret" not in password
    stored = (authd.state / "passwd.cdb").read_bytes()
    assert password.encode() not in stored and password.replace("-", "").encode() not in stored
    for service in ("imap", "pop3"):
        for given in (password, password.upper(), password.replace("-", " "), password.replace("-", "")):
            assert login(authd, user, given, service=service)[0] == "OK", given
        assert login(authd, user, main, service=service)[0] == "OK"
        for wrong in (password[:-1], password + "a", "aaaa-aaaa-aaaa-aaaa-aaaa-aaaa"):
            name, f, _ = login(authd, user, wrong, service=service)
            assert (name, f["code"], f["text"]) == ("FAIL", AUTH, b"authentication failed")
    assert ask(authd, request(user, password, "ldap", "")).startswith("OK"), "one for all services is for those of saslauthd too"


def test_is_no_other_users(authd):
    password = make(authd, "alice@example.com")
    for other in ("joe", "nobody@example.com", "root"):
        assert login(authd, other, password)[0] == "FAIL"


@pytest.mark.parametrize("user", ["alice@example.com", "joe"])
def test_serves_the_services_that_it_is_for(authd, user):
    password = make(authd, user, "reader", "--service", "imap")
    assert login(authd, user, password, service="imap")[0] == "OK"
    assert login(authd, user, password, service="pop3")[0] == "FAIL", "also within the time that a login is remembered"
    assert ask(authd, request(user, password, "ldap", "")).startswith("NO")
    assert listed(authd, user)[user, "reader"]["services"] == "imap"


@pytest.mark.parametrize("user", ["alice@example.com", "joe"])
def test_taken_away_it_is_worth_nothing_and_sessions_end(authd, user):
    first, second = make(authd, user, "first"), make(authd, user, "second")
    assert login(authd, user, first)[0] == "OK"
    authd.mark()
    authd.user("app-password", "del", user, "--name", "first")
    assert login(authd, user, first)[0] == "FAIL", "remembered or not"
    assert login(authd, user, second)[0] == "OK", "the others stay"
    assert [app for _, app in listed(authd, user)] == ["second"]


def test_sessions_end_when_one_is_taken_away(authd):
    import socket
    make(authd, "alice@example.com")
    name, _, c = login(authd, "alice@example.com", "secret")
    assert name == "OK"
    ours, theirs = socket.socketpair()
    c.send("SESSION", id=2, fd=theirs.fileno(), tag="a1")
    assert c.recv()[0] == "SESSION_OK"
    cwd = ours.recv(4096).split(b" ")[5].decode()
    authd.mark()
    authd.user("app-password", "del", "alice@example.com", "--name", "phone")
    authd.wait_log("session of alice@example.com (imap) is ended: password or rights changed")
    end = time.monotonic() + 20
    while not os.path.exists(os.path.join(cwd, "ended")):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_expires(authd):
    year = time.localtime().tm_year + 1
    password = make(authd, "alice@example.com", "holiday", "--expires", "%d-06-30" % year)
    make(authd, "alice@example.com", "month", "--expires", "30d")
    rows = listed(authd, "alice@example.com")
    assert time.localtime(rows["alice@example.com", "holiday"]["expires"])[:5] == (year, 6, 30, 23, 59)
    assert 0 <= time.time() + 30 * 86400 - rows["alice@example.com", "month"]["expires"] < 600
    assert login(authd, "alice@example.com", password)[0] == "OK"


def test_expired_it_is_wrong(make_authd):
    """The clock of a name space of its own cannot be set: the record is made by hand, with a time that has passed."""
    a = make_authd()
    a.add("alice@example.com", "secret")
    password = make(a, "alice@example.com", "phone", "--expires", "1d")
    passwd = a.state / "passwd.cdb"
    pairs = cdb_pairs(passwd)
    key = b"=app alice@example.com"
    fields = pairs[key].split(b" ")
    assert abs(int(fields[3]) - time.time() - 86400) < 600
    for expires, answer in ((int(time.time()) - 1, "FAIL"), (int(time.time()) + 600, "OK")):
        fields[3] = b"%d" % expires
        pairs[key] = b" ".join(fields)
        cdb_write(passwd, pairs)
        a.stop()
        a.mark()
        a.start()
        assert login(a, "alice@example.com", password)[0] == answer
        assert listed(a, "alice@example.com")["alice@example.com", "phone"]["expired"] == (answer == "FAIL")


def test_it_is_not_remembered_beyond_its_end(make_authd):
    a = make_authd(auth_cache_time="600")
    a.add("alice@example.com", "secret")
    password = make(a, "alice@example.com", "phone", "--expires", "1d")
    a.start()
    pairs = cdb_pairs(a.state / "passwd.cdb")
    fields = pairs[b"=app alice@example.com"].split(b" ")
    fields[3] = b"%d" % (time.time() + 5)
    pairs[b"=app alice@example.com"] = b" ".join(fields)
    cdb_write(a.state / "passwd.cdb", pairs)
    assert login(a, "alice@example.com", password)[0] == "OK"
    until(lambda: login(a, "alice@example.com", password)[0] == "FAIL")


def cdb_pairs(path):
    out = subprocess.run(["cdb", "-d", path], stdout=subprocess.PIPE, check=True).stdout
    pairs = {}
    while out.startswith(b"+"):
        sizes, rest = out[1:].split(b":", 1)
        k, v = (int(n) for n in sizes.split(b","))
        pairs[rest[:k]] = rest[k + 2:k + 2 + v]
        out = rest[k + 2 + v + 1:]
    return pairs


def cdb_write(path, pairs):
    text = b"".join(b"+%d,%d:%s->%s\n" % (len(k), len(v), k, v) for k, v in pairs.items()) + b"\n"
    before = path.stat()
    subprocess.run(["cdb", "-c", path], input=text, check=True)
    os.chown(path, before.st_uid, before.st_gid)
    os.chmod(path, 0o640)


@pytest.mark.parametrize("user", ["alice@example.com", "joe"])
def test_last_use(authd, user):
    password = make(authd, user)
    row = listed(authd, user)[user, "phone"]
    assert (row["last_use"], row["last_address"]) == (0, "")
    before = int(time.time())
    parent = authd.parent()
    assert login(authd, user, password, client="127.0.0.2", parent=parent)[0] == "OK"
    row = listed(authd, user)[user, "phone"]
    assert before <= row["last_use"] <= time.time() and row["last_address"] == "127.0.0.2"
    assert b"from 127.0.0.2" in authd.user("app-password", "list", "--all").stdout
    authd.wait_log("reason=app-password:phone")
    assert (authd.state / "app-uses").stat().st_mode & 0o777 == 0o600


def test_last_use_survives_a_restart_and_costs_no_write_a_login(make_authd):
    a = make_authd(auth_cache_time="0")
    a.add("alice@example.com", "secret")
    password = make(a, "alice@example.com")
    a.start()
    for _ in range(5):
        assert login(a, "alice@example.com", password)[0] == "OK"
    assert not (a.state / "app-uses").exists(), "it is not written for each"
    a.stop()
    assert (a.state / "app-uses").exists()
    a.mark()
    a.start()
    assert listed(a, "alice@example.com")["alice@example.com", "phone"]["last_use"] > 0
    (a.state / "app-uses").write_text("rubbish\n")
    assert listed(a, "alice@example.com")["alice@example.com", "phone"]["last_use"] == 0


@pytest.mark.parametrize("user,main", [("alice@example.com", "secret"), ("joe", JOE)])
def test_the_main_password_is_for_the_webmail_only(authd, user, main):
    password = make(authd, user)
    assert login(authd, user, main)[0] == "OK"
    authd.user("app-password", "main", user, "webmail")
    for _ in range(2):
        assert login(authd, user, main, client=WEBMAIL)[0] == "OK", "and that is not remembered for others"
        name, f, _ = login(authd, user, main)
        assert (name, f["code"], f["text"]) == ("FAIL", AUTH, b"authentication failed"), "what a wrong one hears"
    assert login(authd, user, password)[0] == login(authd, user, password, client=WEBMAIL)[0] == "OK"
    assert b"the main password is for the webmail only" in authd.user("app-password", "list", user).stdout
    authd.user("app-password", "main", user, "any")
    assert login(authd, user, main)[0] == "OK"


def test_a_proxy_beside_the_webmail_is_none(make_authd):
    a = make_authd(webmail_hosts=WEBMAIL, smtpd_upstream_proxy_hosts=WEBMAIL)
    a.add("alice@example.com", "secret")
    a.user("app-password", "main", "alice@example.com", "webmail")
    a.start()
    for named, code in ((None, TEMP), ("198.51.100.7", AUTH), (WEBMAIL, TEMP)):
        c = a.parent("smtp").conn("auth", client=WEBMAIL)
        if named:
            c.send("CLIENT", address=named)
        r = c.ask("START", id=1, mech="PLAIN", initial=plain("alice@example.com", "secret"))
        assert r[0] == "FAIL" and r[2]["code"] == code, "right, but no queued is there to be told; or refused"


def test_scram_is_the_main_passwords(authd):
    password = make(authd, "alice@example.com")
    conn = lambda client: authd.parent().conn("auth", client=client)  # noqa: E731
    assert scram(conn("127.0.0.1"), "alice@example.com", password)[0][0] == "FAIL"
    assert scram(conn("127.0.0.1"), "alice@example.com", "secret")[0][0] == "OK"
    authd.user("app-password", "main", "alice@example.com", "webmail")
    r, salt = scram(conn("127.0.0.1"), "alice@example.com", "secret")
    assert r[0] == "FAIL" and r[2]["text"] == b"authentication failed" and salt, "a challenge as any other"
    assert scram(conn(WEBMAIL), "alice@example.com", "secret")[0][0] == "OK"


def test_an_account_of_the_system_that_has_expired_gets_in_by_none(authd):
    password = make(authd, "joe")
    subprocess.run(["usermod", "-e", "1", "joe"], check=True)
    try:
        assert login(authd, "joe", password)[0] == "FAIL"
    finally:
        subprocess.run(["usermod", "-e", "", "joe"], check=True)
    assert login(authd, "joe", password)[0] == "OK"
    authd.user("disable", "joe")
    assert login(authd, "joe", password)[0] == "FAIL"
    authd.user("enable", "joe")


def test_those_of_an_account_that_has_gone_can_be_taken_away(authd):
    subprocess.run(["useradd", "-M", "-s", "/bin/false", "leaver"], check=True)
    make(authd, "leaver")
    subprocess.run(["userdel", "leaver"], check=True)
    assert list(listed(authd, "leaver")) == [("leaver", "phone")]
    authd.user("app-password", "del", "leaver", "--all")
    assert authd.user("app-password", "list", "leaver", check=False).returncode == 1


@pytest.mark.parametrize("uids, seen, earlier", [((4321, 4321), True, 2), ((4321, 4322), True, 2), ((4321, 4322), False, 7)],
                         ids=["the same uid", "another uid", "another uid at once"])
def test_none_of_an_account_before_of_the_same_name(authd, uids, seen, earlier):
    """The name of a system account is given again, to somebody else."""
    def there(uid):
        subprocess.run(["useradd", "-m", "-d", str(authd.base / ("leaver%d" % uid)), "-u", str(uid), "-s", "/bin/false", "leaver"], check=True)
        subprocess.run(["chpasswd"], input=b"leaver:main-%d" % uid, check=True)
        gather()
        until(lambda: login(authd, "leaver", "main-%d" % uid)[0] == "OK")
    def gather():       # now, and not when it is next looked whether /etc/passwd has changed
        authd.user("disable", "joe")
        authd.user("enable", "joe")
    there(uids[0])
    try:
        old = make(authd, "leaver")
        assert login(authd, "leaver", old)[0] == "OK"
        made = listed(authd, "leaver")["leaver", "phone"]["made"]
        until(lambda: time.time() >= made + earlier)      # what was made within the second in which the account went is let pass
        subprocess.run(["userdel", "-r", "leaver"], check=True, stderr=subprocess.DEVNULL)
        if seen:
            gather()
            until(lambda: b"leaver" not in (authd.state / "accounts.cdb").read_bytes())
        there(uids[1])
        gather()
        until(lambda: b"\t%d\t" % uids[1] in (authd.state / "accounts.cdb").read_bytes())
        assert login(authd, "leaver", old)[0] == "FAIL"
        assert listed(authd, "leaver")["leaver", "phone"]["expired"]
        new = make(authd, "leaver")
        assert login(authd, "leaver", new)[0] == "OK" and login(authd, "leaver", old)[0] == "FAIL"
        gather()        # another one changes nothing
        assert login(authd, "leaver", new)[0] == "OK" and login(authd, "leaver", old)[0] == "FAIL"
        assert [r["expired"] for r in listed(authd, "leaver").values()] == [False]
    finally:
        subprocess.run(["userdel", "-r", "leaver"], check=False, stderr=subprocess.DEVNULL)
        authd.user("app-password", "del", "leaver", "--all", check=False)


def test_gone_with_the_user(authd):
    authd.add("eve@example.com", "x")
    password = make(authd, "eve@example.com")
    authd.user("del", "eve@example.com")
    authd.add("eve@example.com", "y")
    assert login(authd, "eve@example.com", password)[0] == "FAIL" and not listed(authd, "eve@example.com")
    authd.user("del", "eve@example.com")


@pytest.mark.parametrize("args", [
    ["add", "alice@example.com"], ["add", "nobody@example.com", "--name", "x"], ["add", "alice@example.com", "--name", "a b"], ["add", "alice@example.com", "--name", ""],
    ["add", "alice@example.com", "--name", "x" * 41], ["add", "alice@example.com", "--name", "x", "--service", "ftp"],
    ["add", "alice@example.com", "--name", "x", "--service", ""], ["add", "alice@example.com", "--name", "x", "--expires", "2001-01-01"],
    ["add", "alice@example.com", "--name", "x", "--expires", "2035-02-30"], ["add", "alice@example.com", "--name", "x", "--expires", "0d"],
    ["add", "alice@example.com", "--name", "x", "--expires", "soon"], ["del", "alice@example.com"], ["del", "alice@example.com", "--name", "none"],
    ["del", "alice@example.com", "--all", "--name", "x"], ["main", "alice@example.com", "nowhere"], ["main", "nobody@example.com", "any"], ["del", "alcie@example.com", "--all"],
    ["list", "alcie@example.com"], ["list"], ["frob", "x"], []])
def test_refused(authd, args):
    before = (authd.state / "passwd.cdb").read_bytes()
    p = authd.user("app-password", *args, check=False)
    assert p.returncode != 0 and p.stderr and not p.stdout
    assert (authd.state / "passwd.cdb").read_bytes() == before


def test_no_webmail_no_main_password_for_it_alone(make_authd):
    a = make_authd()
    a.add("alice@example.com", "secret")
    p = a.user("app-password", "main", "alice@example.com", "webmail", check=False)
    assert p.returncode == 1 and b"webmail_hosts" in p.stderr


def test_twenty_and_no_more(authd):
    made = [make(authd, "alice@example.com", "app-%d" % i) for i in range(20)]
    assert authd.user("app-password", "add", "alice@example.com", "--name", "more", check=False).returncode == 1
    assert authd.user("app-password", "add", "alice@example.com", "--name", "app-3", check=False).returncode == 1, "a name twice"
    assert all(login(authd, "alice@example.com", made[i])[0] == "OK" for i in (0, 7, 19))


def test_broken_record_is_a_temporary_failure(make_authd):
    a = make_authd()
    a.add("alice@example.com", "secret")
    make(a, "alice@example.com")
    pairs = cdb_pairs(a.state / "passwd.cdb")
    pairs[b"=app alice@example.com"] = b"rubbish"
    cdb_write(a.state / "passwd.cdb", pairs)
    a.start()
    name, f, _ = login(a, "alice@example.com", "secret")
    assert (name, f["text"]) == ("FAIL", b"temporary authentication failure")


def test_forgives_no_wrong_main_passwords(make_authd):
    """Whoever has stolen an application password cannot guess on at the main one by logging in between."""
    a = make_authd(auth_throttle_exempt="", auth_fail_account_network_max="3", auth_fail_address_max="1000", auth_fail_network_max="1000", auth_cache_time="0")
    a.add("alice@example.com", "secret")
    password = make(a, "alice@example.com")
    a.start()
    refused = 0
    for i in range(20):		# four times as many as three are allowed where the account has logged in
        assert login(a, "alice@example.com", "guess-%d" % i)[0] == "FAIL"
        refused += login(a, "alice@example.com", password)[0] != "OK"
    assert refused > 0


@pytest.mark.parametrize("user,main", [("alice@example.com", "secret"), ("joe", JOE)])
def test_an_account_under_attack_is_open_to_application_passwords(make_authd, authd, user, main):
    """Guesses from everywhere shut out networks that the account does not know; a telephone that travels comes in, and who guesses on learns nothing."""
    a = make_authd(auth_throttle_exempt="", auth_fail_account_max="3", auth_fail_network_max="1000", auth_fail_address_max="1000")
    a.add("alice@example.com", "secret")
    password = make(a, user, "phone", "--service", "imap")
    a.start()
    p = a.parent()
    for i in range(3):
        assert login(a, user, "guess%d" % i, client="10.%d.0.1" % i, parent=p)[1]["code"] == AUTH
    for i, wrong in enumerate((main, "aaaa-aaaa-aaaa-aaaa-aaaa-aaaa", "x")):
        name, f, _ = login(a, user, wrong, client="203.0.113.%d" % i, parent=p)
        assert (name, f["code"], f["text"]) == ("FAIL", TEMP, b"temporarily unavailable") and f["delay_ms"] >= 1000
    a.mark()
    assert login(a, user, password, client="203.0.113.9", parent=p)[0] == "OK"
    a.wait_log("reason=app-password:phone")
    assert login(a, user, main, client="203.0.113.9", parent=p)[1]["code"] == TEMP, "whoever has stolen it cannot guess on from there"
    assert login(a, user, password, client="203.0.113.9", parent=p)[0] == "OK"
    assert login(a, user, password, client="192.0.2.1", parent=a.parent("pop3"), service="pop3")[0] == "FAIL", "not for this service, there or anywhere"
    assert login(a, "nobody@example.com", password, client="192.0.2.1", parent=p)[0] == "FAIL"
