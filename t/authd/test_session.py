"""After the login: the queue is told, sessions are started as the user and shared, replaced when stuck, ended when rights change; a
restart of authd leaves them alone."""
import contextlib
import os
import pathlib
import pwd
import signal
import socket
import threading
import time

import pytest

import ipc
from test_attack_limits import zygote
from test_login import login, plain, scram

TEMP, DENIED, LIMIT = 9, 4, 2


def session(authd, user="alice@example.com", password="secret", service="imap", tag="a1", client="127.0.0.1"):
    _, _, c = login(authd, user, password, service=service, client=client)
    ours, theirs = socket.socketpair()
    ours.settimeout(30)
    r = c.ask("SESSION", id=5, fd=theirs.fileno(), tag=tag, input=b"x")
    theirs.close()
    return r, ours


def change_password(authd, user, password):
    authd.user("passwd", user, "--password-stdin", input=password.encode() + b"\n")


def facts(sock):
    return sock.makefile().readline().split(" ", 4)


def descriptors(pid):
    """What those above the standard ones are."""
    found = []
    for fd in os.listdir("/proc/%s/fd" % pid):
        with contextlib.suppress(FileNotFoundError):    # it ends meanwhile
            found += [os.readlink("/proc/%s/fd/%s" % (pid, fd)).split(":")[0]] if int(fd) > 2 else []
    return found


def test_session_is_the_user_and_nothing_more(authd):
    r, s = session(authd)
    assert r[0] == "SESSION_OK"
    user, pid, uid, gid, rest = facts(s)
    home = authd.state / "mail" / "alice@example.com"
    assert int(pid) == r[2]["pid"]
    assert user == "alice@example.com" and int(uid) == int(gid) == home.stat().st_uid
    assert rest.startswith("[] %s/Maildir a1 " % home), rest
    assert "'PATH'" in rest and "HOME" not in rest
    end = time.monotonic() + 30
    while (left := descriptors(pid)) != ["socket"]:
        assert time.monotonic() < end, left
        time.sleep(0.02)


def test_one_process_for_a_user_and_service(authd):
    pids = {facts(session(authd)[1])[1] for _ in range(3)}
    assert len(pids) == 1
    assert facts(session(authd, service="pop3")[1])[1] not in pids
    assert facts(session(authd, "bob@example.com", "bob secret")[1])[1] not in pids


def test_system_account_gets_its_own_home(authd):
    user, _, uid, _, rest = facts(session(authd, "joe", "joe's \"secret\"")[1])
    pw = pwd.getpwnam("joe")
    assert (user, int(uid)) == ("joe", pw.pw_uid) and pw.pw_dir in rest


def test_what_is_no_stream_socket_is_refused(authd):
    _, _, c = login(authd, "alice@example.com", "secret")
    r, w = os.pipe()
    assert c.ask("SESSION", id=1, fd=r)[0] == "SESSION_FAIL"


def test_session_that_refuses(authd):
    running = facts(session(authd, "bob@example.com", "bob secret")[1])[1]
    authd.user("passwd", "bob@example.com", "--password-stdin", input=b"bob secret\n")
    end = time.monotonic() + 30
    while os.path.exists("/proc/" + running):
        assert time.monotonic() < end
        time.sleep(0.02)
    authd.mode.write_text("refuse\n")
    try:
        r, _ = session(authd, "bob@example.com", "bob secret")
        assert r[0] == "SESSION_FAIL" and r[2]["text"] == b"mailbox is locked" and r[2]["code"] == LIMIT
    finally:
        authd.mode.write_text("serve\n")


def test_stuck_session_is_replaced(authd):
    authd.add("dora@example.com", "d")
    authd.mode.write_text("stuck\n")
    threading.Timer(1.0, lambda: authd.mode.write_text("serve\n")).start()
    start = time.monotonic()
    r, s = session(authd, "dora@example.com", "d")
    assert r[0] == "SESSION_OK" and facts(s)[0] == "dora@example.com"
    assert 1.5 < time.monotonic() - start


def test_password_change_ends_sessions(authd):
    authd.add("erin@example.com", "e")
    pid = facts(session(authd, "erin@example.com", "e")[1])[1]
    authd.user("passwd", "erin@example.com", "--password-stdin", input=b"e2\n")
    ended = authd.state / "mail" / "erin@example.com" / "Maildir" / "ended"
    end = time.monotonic() + 30
    while os.path.exists("/proc/" + pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert not os.path.exists("/proc/" + pid) and "password" in ended.read_text()


class Meanwhile:
    """A front's channel with something that happens before its question of this number."""

    def __init__(self, channel, number, act):
        self.channel, self.left, self.act = channel, number, act

    def ask(self, *a, **k):
        self.left -= 1
        if self.left == 0:
            self.act()
        return self.channel.ask(*a, **k)


@pytest.mark.parametrize("number", [2, 3], ids=["proof", "last"])
def test_a_login_kept_half_done_does_not_outlive_the_password(authd, number):
    """Whoever has stolen a password could keep SCRAM exchanges waiting, and finish one when the owner has a new password."""
    change = lambda: change_password(authd, "alice@example.com", "new")  # noqa: E731
    try:
        r, _ = scram(Meanwhile(authd.parent().conn("auth", client="127.0.0.1"), number, change), "alice@example.com", "secret")
        assert r[0] == "FAIL" and r[2]["code"] == TEMP
    finally:
        change_password(authd, "alice@example.com", "secret")
    assert session(authd)[0][0] == "SESSION_OK"


def test_a_login_without_a_session_does_not_outlive_the_password(authd):
    _, _, c = login(authd, "alice@example.com", "secret")
    change_password(authd, "alice@example.com", "secret")
    ours, theirs = socket.socketpair()
    assert c.ask("SESSION", id=5, fd=theirs.fileno(), tag="a1", input=b"x")[0] == "SESSION_FAIL"


def test_a_login_whose_session_is_being_started_does_not_outlive_the_password(authd):
    authd.mark()
    change_password(authd, "alice@example.com", "secret")     # ends the session that is there
    authd.mode.write_text("stuck\n")
    try:
        _, _, c = login(authd, "alice@example.com", "secret")
        ours, theirs = socket.socketpair()
        c.send("SESSION", id=5, fd=theirs.fileno(), tag="a1", input=b"x")
        authd.wait_log("session of alice@example.com (imap) started")
        change_password(authd, "alice@example.com", "secret")
        authd.mode.write_text("serve\n")
        assert c.recv()[0] == "SESSION_FAIL"
    finally:
        authd.mode.write_text("serve\n")


@pytest.mark.parametrize("word", ["disable", "del"])
def test_disabled_or_removed_user(authd, word):
    authd.add("frank@example.com", "f")
    _, s = session(authd, "frank@example.com", "f")
    pid = facts(s)[1]
    _, _, waiting = login(authd, "frank@example.com", "f")
    authd.user(word, "frank@example.com")
    a, b = socket.socketpair()
    assert waiting.ask("SESSION", id=1, fd=a.fileno())[0] == "SESSION_FAIL", "between login and session"
    assert login(authd, "frank@example.com", "f")[0] == "FAIL"
    end = time.monotonic() + 30
    while os.path.exists("/proc/" + pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert not os.path.exists("/proc/" + pid)
    home = authd.state / "mail" / "frank@example.com"
    if word == "disable":
        authd.user("enable", "frank@example.com")
        assert login(authd, "frank@example.com", "f")[0] == "OK"
        uid = home.stat().st_uid
        authd.user("del", "frank@example.com")
        assert not home.exists()
        authd.add("frank@example.com", "f")
        assert home.stat().st_uid > uid, "a uid is never given twice"
        authd.user("del", "frank@example.com", "--keep-mail")
        assert home.exists()
        os.rename(home, str(home) + ".kept")


def test_sessions_survive_a_restart_of_the_monitor(authd):
    pid = facts(session(authd)[1])[1]
    orphan = authd.state / "mail" / "alice@example.com" / "Maildir" / "orphan"
    authd.mark()
    os.kill(authd.monitor_pid(), signal.SIGKILL)
    authd.wait_log("authd-check is ready")
    assert orphan.exists(), "the session (%s) saw its channel end, and nothing else" % pid
    assert session(authd)[0][0] == "SESSION_OK"
    assert session(authd, "bob@example.com", "bob secret")[0][0] == "SESSION_OK"


@pytest.mark.parametrize("helper", ["authd-sasl", "authd-check", "authd-mux", "authd-key"])
def test_helpers_are_restarted(authd, helper):
    title = {"authd-sasl": b"authd: sasl", "authd-check": b"authd: check", "authd-mux": b"authd: mux", "authd-key": b"authd: key"}[helper]
    monitor = authd.monitor_pid()
    for p in pathlib.Path("/proc").iterdir():
        if not p.name.isdigit():
            continue
        try:
            mine = int((p / "stat").read_text().rsplit(")", 1)[1].split()[1]) == monitor
            if mine and (p / "cmdline").read_bytes().startswith(title):
                authd.mark()
                os.kill(int(p.name), signal.SIGKILL)
                authd.wait_log(helper + " is ready")
                break
        except OSError:
            continue
    else:
        pytest.fail("no " + helper)
    assert login(authd, "bob@example.com", "bob secret")[0] == "OK"


# --- SMTP: queued is told before the client ---

class Queue:
    def __init__(self, authd, answer=True):
        d = authd.run_dir / "queue"
        d.mkdir(exist_ok=True)
        self.l = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = d / "auth"
        if path.exists():
            path.unlink()
        self.l.bind(str(path))
        self.l.listen(5)
        self.answer, self.told = answer, []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        s, _ = self.l.accept()
        ch = ipc.Channel(s, "queue", timeout=None)
        while True:
            try:
                name, id, f, _ = ch.recv()
            except (ipc.Closed, OSError):
                return
            self.told.append((name, f))
            if self.answer:
                ch.send("USER_OK", id)


def test_smtp_login_needs_queued(authd):
    p = authd.parent("smtp")
    name, f, _ = login(authd, "alice@example.com", "secret", service="smtp", parent=p)
    assert name == "FAIL" and f["code"] == TEMP, "without queued there is no login"
    q = Queue(authd)
    name, _, c = login(authd, "alice@example.com", "secret", service="smtp", parent=p)
    assert name == "OK"
    assert q.told == [("USER", {"conn": c.conn, "user": b"alice@example.com", "rights": b"submit"})]
    with pytest.raises(ipc.Closed):
        c.recv()
    login(authd, "alice@example.com", "wrong", service="smtp", parent=p)
    assert len(q.told) == 1, "nothing is said about a failed login"


# --- keys ---

def test_key_worker_signs_tls_structures_only(authd):
    p = ipc.Parent(authd.run_dir / "key" / "register", "imap")
    good = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + os.urandom(32)
    for of_test, n in ((False, 1), (True, 2)):
        k = p.conn("key", **({"profile": "self test"} if of_test else {}))
        for _ in range(n):
            r = k.ask("SIGN", id=1, scheme="ecdsa_secp256r1_sha256", tbs=good)
            assert r[0] == "SIGNED" and r[2]["signature"]
        with pytest.raises((ipc.Closed, OSError)):
            k.ask("SIGN", id=1, scheme="ecdsa_secp256r1_sha256", tbs=good)
    for tbs in (b"", b"x", good[:-1], good + b"x", good.replace(b"server", b"client"), os.urandom(200)):
        assert p.conn("key").ask("SIGN", id=1, scheme="ecdsa_secp256r1_sha256", tbs=tbs)[0] == "REFUSED"
    assert p.conn("key").ask("SIGN", id=1, scheme="rsa_pkcs1_sha256", tbs=good)[0] == "REFUSED"
    assert p.conn("key").ask("SIGN", id=1, scheme="ecdsa_secp256r1_sha256", tbs=good, cert_sha256=os.urandom(32))[0] == "REFUSED"


def test_key_reload(authd):
    p = ipc.Parent(authd.run_dir / "key" / "register", "imap")
    good = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + os.urandom(32)
    key, old = authd.base / "key.pem", (authd.base / "key.pem").read_bytes()
    for bad in (b"", b"rubbish", old.replace(b"\n", b"\nA", 2)):
        key.write_bytes(bad)
        authd.mark()
        authd.proc.send_signal(signal.SIGHUP)
        authd.wait_log("the old key stays in use")
        assert p.conn("key").ask("SIGN", id=1, scheme="ecdsa_secp256r1_sha256", tbs=good)[0] == "SIGNED"
    key.write_bytes(old)
    authd.mark()
    authd.proc.send_signal(signal.SIGHUP)
    authd.wait_log("TLS key and certificate loaded")


def test_bad_configuration_never_replaces_a_good_one(authd):
    good = authd.conf.read_text()
    authd.conf.write_text(good + "auth_min_uid = soon\n")
    authd.mark()
    authd.proc.send_signal(signal.SIGHUP)
    authd.wait_log("the old configuration stays")
    authd.conf.write_text(good)
    assert login(authd, "alice@example.com", "secret")[0] == "OK"


@pytest.mark.parametrize("helper", ["authd: mux", "authd: key worker"])
def test_when_authd_has_ended_nobody_listens(make_authd, helper):
    """However long a helper takes to notice: the next authd finds its sockets free."""
    a = make_authd()
    a.start()
    os.kill(zygote(a, helper), signal.SIGSTOP)
    a.stop()
    assert a.proc.returncode == 0
    for name in ("saslauthd/mux", "key/register", "sign/client", "auth/register"):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if name == "saslauthd/mux" else socket.SOCK_SEQPACKET)
        with pytest.raises(ConnectionRefusedError):
            s.connect(str(a.run_dir / name))
        s.close()
    a.mark()
    a.start()
    a.stop()
