"""Who may log in, how, and what refuses: the auth channel as a front speaks it (auth.def), PLAIN and LOGIN through libsasl2, SCRAM-SHA-256,
the suite's own password file and PAM."""
import base64
import hashlib
import hmac
import os
import pathlib
import signal
import socket
import time

import pytest

import ipc
from trace import Trace

AUTH, TEMP, INPUT, DENIED = 8, 9, 1, 4

ODD = "it's a \\ \"tr\u00efck\" w\u00f6rd "
JOE = "joe's \"secret\""


def plain(user, password, authzid=""):
    return b"\0".join([authzid.encode(), user.encode() if isinstance(user, str) else user,
                       password.encode() if isinstance(password, str) else password])


def login(authd, user, password, client="127.0.0.1", service="imap", parent=None):
    parent = parent or authd.parent(service)
    c = parent.conn("auth", client=client)
    name, _, f, _ = c.ask("START", id=7, mech="PLAIN", initial=plain(user, password))
    return name, f, c


def scram(c, user, password, mutate=None, initial=True):
    """Play a SCRAM-SHA-256 client; returns the last message."""
    nonce = base64.b64encode(os.urandom(12)).decode()
    bare = "n=%s,r=%s" % (user.replace("=", "=3D").replace(",", "=2C"), nonce)
    if initial:
        r = c.ask("START", id=1, mech="SCRAM-SHA-256", initial="n,," + bare)
    else:
        r = c.ask("START", id=1, mech="SCRAM-SHA-256")
        assert r[0] == "CHALLENGE" and r[2]["data"] == b""
        r = c.ask("STEP", id=1, data="n,," + bare)
    if r[0] != "CHALLENGE":
        return r, None
    first = r[2]["data"].decode()
    f = dict(x.split("=", 1) for x in first.split(","))
    assert f["r"].startswith(nonce) and len(f["r"]) > len(nonce) + 10
    assert int(f["i"]) >= 4096
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(f["s"]), int(f["i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    final = "c=biws,r=" + f["r"]
    auth = ",".join([bare, first, final]).encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), auth, "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature))).decode()
    message = final + ",p=" + proof
    r = c.ask("STEP", id=2, data=mutate(message) if mutate else message)
    if r[0] == "CHALLENGE":
        server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), auth, "sha256")
        assert r[2]["data"] == b"v=" + base64.b64encode(server), "the server proves itself"
        r = c.ask("STEP", id=3, data="")
    return r, f["s"]


@pytest.mark.parametrize("user,password", [("alice@example.com", "secret"), ("bob@example.com", "bob secret"), ("odd@example.com", ODD),
                                           ("ALICE@example.COM", "secret"), ("joe", JOE), ("joe@mail.example.com", JOE)])
def test_right_password(authd, user, password):
    name, f, _ = login(authd, user, password)
    assert name == "OK"
    assert f["user"].decode() in ("alice@example.com", "bob@example.com", "odd@example.com", "joe")


@pytest.mark.parametrize("user,password", [
    ("alice@example.com", "Secret"), ("alice@example.com", "secret "), ("alice@example.com", "secre"), ("alice", "secret"),
    ("nobody@example.com", "secret"), ("root", "x"), ("daemon", "x"), ("joe", "wrong"), ("joe@other.example", JOE), ("../joe", JOE),
    ("joe\n", JOE), ("%n", "x"), ("joe'", "x"), ("alice@example.com", ""), ("", "secret"), ("a" * 300, "x"), (b"\xff\xfe", "x"),
    ("alice@example.com", "x" * 1025), ("joe", "x" * 512), ("joe", "x" * 1025), ("=secret", "x"), ("-alice", "x")])
def test_refused_alike(authd, user, password):
    name, f, c = login(authd, user, password)
    assert name == "FAIL"
    if user:
        assert (f["code"], f["text"]) == (AUTH, b"authentication failed")
    assert c.ask("START", id=9, mech="PLAIN", initial=plain("alice@example.com", "secret"))[0] == "OK", "the connection may try again"


@pytest.mark.parametrize("message", [b"", b"x", b"\0", b"\0\0", b"a\0b", b"\0alice@example.com\0secret\0more", b"\0" * 5, os.urandom(16000)])
def test_malformed_plain(authd, message):
    c = authd.parent().conn("auth", client="127.0.0.1")
    assert c.ask("START", id=1, mech="PLAIN", initial=message)[0] in ("FAIL", "CHALLENGE")


def test_another_identity_is_refused(authd):
    c = authd.parent().conn("auth", client="127.0.0.1")
    r = c.ask("START", id=1, mech="PLAIN", initial=plain("alice@example.com", "secret", authzid="bob@example.com"))
    assert r[0] == "FAIL" and r[2]["code"] == AUTH
    r = c.ask("START", id=1, mech="PLAIN", initial=plain("alice@example.com", "secret", authzid="alice@example.com"))
    assert r[0] == "OK"


def test_plain_without_initial_response(authd):
    c = authd.parent().conn("auth", client="127.0.0.1")
    r = c.ask("START", id=1, mech="plain")
    assert r[0] == "CHALLENGE" and r[2]["data"] == b""
    assert c.ask("STEP", id=2, data=plain("alice@example.com", "secret"))[:2] == ("OK", 2)


def test_login_mechanism(authd):
    c = authd.parent().conn("auth", client="127.0.0.1")
    r = c.ask("START", id=1, mech="LOGIN")
    assert r[0] == "CHALLENGE" and r[2]["data"].startswith(b"User")
    r = c.ask("STEP", id=2, data="odd@example.com")
    assert r[0] == "CHALLENGE" and r[2]["data"].startswith(b"Pass")
    assert c.ask("STEP", id=3, data=ODD)[0] == "OK"


def test_cancel_in_each_step(authd):
    c = authd.parent().conn("auth", client="127.0.0.1")
    for steps in (0, 1):
        c.ask("START", id=1, mech="LOGIN")
        if steps:
            c.ask("STEP", id=2, data="alice@example.com")
        c.send("CANCEL", id=3)
    assert scram(c, "alice@example.com", "secret")[0][0] == "OK"


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("user,password", [("alice@example.com", "secret"), ("bob@example.com", "bob secret"), ("odd@example.com", ODD)])
def test_scram(authd, user, password, initial):
    r, _ = scram(authd.parent().conn("auth", client="127.0.0.1"), user, password, initial=initial)
    assert r[0] == "OK" and r[2]["user"].decode() == user


@pytest.mark.parametrize("user,password", [("alice@example.com", "wrong"), ("nobody@example.com", "secret"), ("joe", JOE), ("root", "x")])
def test_scram_refused(authd, user, password):
    r, salt = scram(authd.parent().conn("auth", client="127.0.0.1"), user, password)
    assert r[0] == "FAIL" and r[2]["code"] == AUTH and r[2]["text"] == b"authentication failed"
    assert salt, "an unknown name gets a challenge like any other"


def test_scram_salt_of_an_unknown_name_is_stable(authd):
    p = authd.parent()
    salts = [scram(p.conn("auth", client="127.0.0.1"), n, "x")[1] for n in ("ghost", "ghost", "ghost2")]
    assert salts[0] == salts[1] != salts[2]


@pytest.mark.parametrize("mutate", [lambda m: m.replace("c=biws", "c=eSws"), lambda m: m[:-4] + "AAA=", lambda m: m.split(",p=")[0],
                                    lambda m: m.replace("r=", "r=x"), lambda m: "", lambda m: "x" * 16000, lambda m: m + ",x=1"])
def test_scram_mutations(authd, mutate):
    r, _ = scram(authd.parent().conn("auth", client="127.0.0.1"), "alice@example.com", "secret", mutate)
    assert r[0] == "FAIL"


@pytest.mark.parametrize("mech", ["CRAM-MD5", "DIGEST-MD5", "NTLM", "ANONYMOUS", "EXTERNAL", "SCRAM-SHA-256-PLUS", "X" * 64, "", "OTP", "OAUTHBEARER", "XOAUTH2"])
def test_mechanism_not_offered(authd, mech):
    c = authd.parent().conn("auth", client="127.0.0.1")
    r = c.ask("START", id=1, mech=mech, initial=plain("alice@example.com", "secret"))
    assert r[0] == "FAIL" and r[2]["code"] == INPUT


def test_cache_serves_the_same_login_only(authd):
    p = authd.parent()
    login(authd, "bob@example.com", "bob secret", parent=p)
    authd.mark()
    assert login(authd, "bob@example.com", "bob secret", parent=p)[0] == "OK"
    authd.wait_log("reason=cached")
    assert login(authd, "bob@example.com", "bob secret2", parent=p)[0] == "FAIL"
    assert login(authd, "alice@example.com", "bob secret", parent=p)[0] == "FAIL"


def test_password_change_works_at_once(authd):
    authd.add("carol@example.com", "one", "yescrypt")
    p = authd.parent()
    assert login(authd, "carol@example.com", "one", parent=p)[0] == "OK"
    assert login(authd, "carol@example.com", "one", parent=p)[0] == "OK"
    authd.user("passwd", "carol@example.com", "--password-stdin", input=b"two\n")
    assert login(authd, "carol@example.com", "one", parent=p)[0] == "FAIL"
    assert login(authd, "carol@example.com", "two", parent=p)[0] == "OK"
    assert scram(p.conn("auth", client="127.0.0.1"), "carol@example.com", "two")[0][0] == "OK"


def processes(authd):
    """{pid: title} of the monitor and all below it."""
    out = {authd.proc.pid: "authd: supervisor"}
    for _ in range(4):
        for p in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                parent = int(open("/proc/%d/stat" % p).read().rsplit(")", 1)[1].split()[1])
                title = open("/proc/%d/cmdline" % p).read().strip("\0")
            except OSError:
                continue
            if parent in out and p not in out:
                out[p] = title
    return out


def work_of_failures(authd, tmp_path, users):
    """What a wrong password is answered, and the messages and processes that it takes, for each of users."""
    parent, out = authd.parent(), {}
    for user in users:
        with Trace(tmp_path, processes(authd), "sendmsg,sendto,execve") as t:
            name, f, _ = login(authd, user, "wrong", parent=parent)
        out[user] = (name, f["code"], f["text"], f["delay_ms"]), {k: n for k, n in t.counts().items() if k[0] in ("authd: check", "authd: monitor")}
    return out


def test_unknown_name_is_the_same_work_as_a_wrong_password(make_authd, tmp_path):
    """In messages and processes: a worker hashes for both. In an authd of its own: a worker that has served its share is replaced, which is work."""
    a = make_authd()
    for user in ("alice@example.com", "bob@example.com"):
        a.add(user, "secret", "yescrypt")
    a.start()
    login(a, "bob@example.com", "wrong")      # who starts a first worker does more
    seen = work_of_failures(a, tmp_path, ["bob@example.com", "ghost@example.com", "alice@example.com", "bob@nowhere.example"])
    assert all(x == seen["bob@example.com"] for x in seen.values()), seen
    assert seen["bob@example.com"][1]["authd: check", "sendmsg"] == 1


def test_unknown_name_is_the_same_work_as_a_system_account(authd, make_authd, tmp_path):
    """Root and nobody have no mail: they are unknown too. In an authd of its own, whose helpers no other test replaces meanwhile; joe is the system account of the shared one."""
    a = make_authd()
    a.start()
    login(a, "joe", "wrong")
    seen = work_of_failures(a, tmp_path, ["joe", "ghost", "joe@localhost", "ghost@localhost", "root", "nobody"])
    assert seen["joe"][1]["authd: check", "clone"] == 1, "PAM has a process of its own"
    assert all(x == seen["joe"] for x in seen.values()), seen


def test_a_disabled_system_account_is_the_same_work(authd, make_authd, tmp_path):
    """joe is the system account of the other authd."""
    a = make_authd()
    a.user("disable", "joe")
    a.start()
    assert login(a, "joe", JOE)[0] == "FAIL"
    seen = work_of_failures(a, tmp_path, ["joe", "ghost"])
    assert seen["joe"] == seen["ghost"], seen


def test_unknown_names_are_like_either_kind_where_there_are_both(authd, make_authd, tmp_path):
    """joe is the system account of the other authd."""
    a = make_authd()
    a.add("own", "secret")
    a.start()
    names = ["ghost%d" % i for i in range(24)]
    login(a, "own", "wrong")
    kinds = {n: work_of_failures(a, tmp_path, [n])[n] for n in ("joe", "own")}
    seen = [work_of_failures(a, tmp_path, names) for _ in range(2)]
    assert seen[0] == seen[1], "each keeps to its kind"
    assert {n for n in names if seen[0][n] == kinds["joe"]} | {n for n in names if seen[0][n] == kinds["own"]} == set(names), (kinds, seen)
    assert all(k in seen[0].values() for k in kinds.values()), seen[0]


def test_unknown_names_with_the_accounts_of_an_earlier_run(authd, make_authd, tmp_path):
    """Until accounts have been gathered accounts.cdb is as it was: unknown names are like the accounts that are in it. joe is the system account of the other authd."""
    a = make_authd()
    a.start()
    a.stop()
    a.gathers(None)
    (a.base / "out").unlink()
    a.start(gathers="authd-key is ready")
    login(a, "joe", "wrong")
    seen = work_of_failures(a, tmp_path, ["joe", "ghost", "ghost@localhost", "root"])
    assert seen["joe"][1]["authd: check", "clone"] == 1, "PAM has a process of its own"
    assert all(x == seen["joe"] for x in seen.values()), seen


def test_unknown_names_after_a_reload_with_other_domains(authd, make_authd, tmp_path):
    """Where the domain of the suite's own users becomes one of mydestination, both kinds have names of the same form, from the reload on: also while no accounts can
    be gathered. joe is the system account of the other authd."""
    a = make_authd()
    a.add("own@sub.example.com", "secret")
    a.start()
    a.gathers(None)
    a.configure(mydestination="localhost, sub.example.com")
    a.mark()
    os.kill(a.monitor_pid(), signal.SIGHUP)
    a.wait_log("authd-check is ready")
    names = ["ghost%d@sub.example.com" % i for i in range(24)]
    login(a, "own@sub.example.com", "wrong")
    kinds = {n: work_of_failures(a, tmp_path, [n])[n] for n in ("joe", "own@sub.example.com")}
    seen = work_of_failures(a, tmp_path, names)
    assert all(k in seen.values() for k in kinds.values()), seen
    assert all(x in kinds.values() for x in seen.values()), seen


@pytest.mark.parametrize("password", ["", ":", "x", "nobody"])
def test_nobody_in_pam_never_logs_in(authd, make_authd, password):
    """Not even where PAM says yes to all, as it does for joe."""
    pathlib.Path("/etc/pam.d/postern-anybody").write_text("auth required pam_permit.so\naccount required pam_permit.so\n")
    a = make_authd(auth_pam_service="postern-anybody")
    a.start()
    assert login(a, "joe", password or "x")[0] == "OK", "the service is asked"
    for user in ("ghost", "root", ":nobody", "ghost@localhost"):
        assert login(a, user, password)[0] == "FAIL"


def test_unknown_address_may_not_log_in(authd):
    name, f, _ = login(authd, "alice@example.com", "secret", client="unknown")
    assert name == "FAIL" and f["code"] == DENIED


# --- hostile peers ---

def closed(c):
    with pytest.raises(ipc.Closed):
        c.recv()
    return True


def test_a_malformed_record_closes_that_channel_only(authd):
    p = authd.parent()
    good, tab = p.conn("auth", client="127.0.0.1"), ipc.table("auth")
    start = ipc.encode(tab, "START", id=1, mech="PLAIN", initial=b"x")
    r, w = os.pipe()
    bad = [b"\0", b"Pst1", start[:-1], start + b"x", b"Xst1" + start[4:], start[:4] + b"\2" + start[5:], os.urandom(500), b"A" * 100000,
           ipc.encode(tab, "STEP", id=1, data="early"), ipc.encode(tab, "OK", id=1, user="alice@example.com"),
           ipc.encode(tab, "SESSION_OK"), ipc.encode(tab, "FAIL", code=0, text="", delay_ms=0)]
    for packet in bad:
        c = p.conn("auth", client="127.0.0.1")
        c.send_raw(packet)
        assert closed(c)
    for fds in ([r], [r, w]):
        c = p.conn("auth", client="127.0.0.1")
        c.send_raw(start, fds)
        assert closed(c)
    c = p.conn("auth", client="127.0.0.1")
    c.send_raw(ipc.encode(tab, "SESSION"), [r])
    assert closed(c), "no session before the login"
    assert good.ask("START", id=1, mech="PLAIN", initial=plain("alice@example.com", "secret"))[0] == "OK"
    assert login(authd, "alice@example.com", "secret", parent=p)[0] == "OK"


def test_second_login_on_a_connection_is_no_message(authd):
    _, _, c = login(authd, "alice@example.com", "secret")
    c.send("START", id=2, mech="PLAIN", initial=plain("bob@example.com", "bob secret"))
    assert closed(c)


def test_doubled_connection_name(authd):
    p = authd.parent()
    first = p.conn("auth", client="127.0.0.1", conn=4711)
    assert closed(p.conn("auth", client="127.0.0.1", conn=4711))
    assert first.ask("START", id=1, mech="PLAIN", initial=plain("alice@example.com", "secret"))[0] == "OK"


def test_registration_needs_root_and_hello(authd):
    path = authd.run_dir / "auth" / "register"
    c = ipc.Channel.connect(path, "reg")
    c.send("HELLO", service="nntp", version=ipc.reg_version("auth"))
    assert closed(c)
    pid = os.fork()
    if pid == 0:
        os.setgid(65534)
        os.setuid(65534)
        try:
            ipc.Channel.connect(path, "reg")
        except PermissionError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("channel", ["auth", "key"])
def test_a_parent_of_another_release_is_refused_in_clear_words(authd, channel):
    path = authd.run_dir / channel / "register"
    authd.mark()
    c = ipc.Channel.connect(path, "reg")
    c.send("HELLO", service="imap", version=ipc.reg_version(channel) + 1)
    assert closed(c)
    authd.wait_log("registration refused: the parent of imap is of another release than this process: restart")
    assert ipc.Parent(path, "imap"), "one of this release is not"


def test_many_at_once(authd):
    p = authd.parent()
    conns = [p.conn("auth", client="127.0.0.1") for _ in range(100)]
    for i, c in enumerate(conns):
        c.send("START", id=i + 1, mech="PLAIN", initial=plain("bob@example.com", "bob secret" if i % 2 else "wrong %d" % i))
    for i, c in enumerate(conns):
        name, id, _, _ = c.recv()
        assert (name, id) == ("OK" if i % 2 else "FAIL", i + 1)


def status(authd):
    with ipc.Channel.connect(authd.run_dir / "auth" / "control", "control") as ctl:
        ctl.send("REQUEST", word="status")
        rows = {}
        while True:
            name, _, f, _ = ctl.recv()
            if name == "END":
                return rows
            v = dict(zip(f["keys"], f["values"]))
            if b"what" in v:
                rows[v[b"what"].decode()] = int(v[b"value"])


def test_front_that_goes_away_in_each_step_leaves_nothing(authd):
    p = authd.parent()
    for i in range(40):
        c = p.conn("auth", client="127.0.0.1")
        if i % 4 == 0:
            c.send("START", id=1, mech="PLAIN", initial=plain("bob@example.com", "x"))
        elif i % 4 == 1:
            c.ask("START", id=1, mech="LOGIN")
        elif i % 4 == 2:
            c.ask("START", id=1, mech="SCRAM-SHA-256", initial="n,,n=bob@example.com,r=abc")
        c.close()
    end = time.monotonic() + 30
    while (rows := status(authd))["connections"] != 0:
        assert time.monotonic() < end, rows
        time.sleep(0.05)
    assert rows["accounts"] >= 4


def test_log_line_is_not_forged(authd):
    authd.mark()
    login(authd, "x\" rip=1.2.3.4 user=\"\r\nfake", "x")
    authd.wait_log("login failed: ")
    line = [x for x in authd.log()[authd.at:].splitlines() if "login failed" in x][-1]
    assert line.count("\"") == 2 and line.index("rip=127.0.0.1") < line.index("user=")


def test_a_challenge_is_the_same_work_for_every_name(authd, make_authd, tmp_path):
    """Nothing delays it, so that time would tell who has a verifier: in files that are opened and in look-ups, for each of which a table is read. In an authd of its own, whose helpers no other test replaces meanwhile (joe is an
    account of the system that the shared one has made)."""
    a, seen = make_authd(), {}
    a.add("bob@example.com", "bob secret", "yescrypt")
    a.start()
    login(a, "bob@example.com", "wrong")      # who starts a first worker does more
    for user in ("bob@example.com", "ghost@example.com", "joe", "ghost"):
        c = a.parent().conn("auth", client="127.0.0.1")
        with Trace(tmp_path, processes(a), "openat,pread64") as t:
            assert c.ask("START", id=1, mech="SCRAM-SHA-256", initial="n,,n=%s,r=abcdefghijkl" % user)[0] == "CHALLENGE"
        seen[user] = t.counts()["authd: check", "openat"], t.counts()["authd: check", "pread64"]
    heads, look_ups = 1, 3      # application passwords, the record, the secret
    assert {opened for opened, _ in seen.values()} == {1}, seen
    assert min(reads for _, reads in seen.values()) >= heads + look_ups, seen
