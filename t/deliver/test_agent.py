"""deliver, the setuid agent, alone: whatever it is started with, killed at every system call, with hostile messages; one copy in the mailbox, or none and a
temporary failure."""
import os
import pwd
import random
import resource
import socket
import subprocess

import pytest

import ipc

USER = "alice@example.com"
EX_USAGE, EX_NOUSER, EX_TEMPFAIL, EX_NOPERM = 64, 67, 75, 77
SHARE = 1 if os.environ.get("POSTERN_ALL_KILLS") else 6     # every n-th kill point


@pytest.fixture
def place(fresh_suite):
    return fresh_suite("agent", users=(USER,), settings={"filter_enable": "no"})


def policy(suite, programs=False):
    return str(suite.base / "run" / ("deliver-programs.policy" if programs else "deliver.policy"))


class Agent:
    def __init__(self, suite, user=USER, wrap=(), args=None, drop=True, **kw):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mda = pwd.getpwnam("_postern_mda")
        if drop:
            kw.update(user=mda.pw_uid, group=mda.pw_gid, extra_groups=[])
        argv = [*wrap, str(suite.bin / "deliver"), *(args if args is not None else [str(suite.state / "accounts.cdb"), policy(suite), user])]
        kw.setdefault("stdin", theirs)
        self.p = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **kw)
        theirs.close()
        self.chan = ipc.Channel(ours, "deliver", timeout=30)

    def copy(self, path, size=None, attempt=1, qid="1TESTTESTTE", **more):
        fd = os.open(path, os.O_RDONLY)
        try:
            self.chan.send("COPY", id=1, fd=fd, qid=qid, sender="s@example.org", recipient=USER, attempt=attempt,
                           size=os.path.getsize(path) if size is None else size, **more)
            return self.chan.recv()
        finally:
            os.close(fd)

    def deliver(self, path, **kw):
        """The whole dialogue. None: it died on the way."""
        try:
            answer = self.copy(path, **kw)
            if answer[0] != "READY":
                return answer
            self.chan.send("COMMIT", id=1)
            return self.chan.recv()
        except (ipc.Closed, OSError):
            return None

    def end(self):
        self.chan.close()
        return self.p.wait(timeout=30)


def message(suite, size):
    path = suite.base / ("message-%d" % size)
    path.write_bytes(b"Subject: t\nReturn-Path: <forged@x>\n\n" + b"0123456789abcde\n" * (size // 16))
    os.chmod(path, 0o644)
    return path


def new(suite, folder=""):
    dirs = [suite.maildir(USER) / folder / d for d in ("new", "cur")]
    return [f for d in dirs if d.exists() for f in d.iterdir()]


def clear(suite):
    for d in ("new", "cur", "tmp"):
        d = suite.maildir(USER) / d
        for f in d.iterdir() if d.exists() else ():
            f.unlink()


def test_a_copy_is_whole_and_only_visible_after_commit(place):
    clear(place)
    for size in (0, 1000, 64 * 1024, 300000):
        a = Agent(place)
        assert a.copy(message(place, size), edits=["+X-Edit: 1"])[0] == "READY"
        assert new(place) == []
        a.chan.send("COMMIT", id=1)
        assert a.chan.recv()[2]["text"] == b"delivered to maildir"
        (f,) = new(place)
        text = f.read_bytes()
        assert text.startswith(b"Return-Path: <s@example.org>\nDelivered-To: alice@example.com\nX-Edit: 1\nSubject: t\n\n")
        assert text.endswith(b"0123456789abcde\n" * (size // 16))
        assert ",S=%d,W=%d" % (len(text), len(text) + text.count(b"\n")) in f.name
        # a second message for the same user, aborted, and a third
        assert a.copy(message(place, 1000), qid="1AAAAAAAAAA")[0] == "READY"
        a.chan.send("ABORT", id=1)
        assert a.chan.recv()[0] == "DONE"
        assert a.deliver(message(place, 1000), qid="1BBBBBBBBBB")[0] == "DONE"
        assert len(new(place)) == 2
        assert a.end() == 0
        clear(place)


def test_a_channel_that_closes_leaves_nothing(place):
    clear(place)
    a = Agent(place)
    assert a.copy(message(place, 1000))[0] == "READY"
    assert a.end() == EX_TEMPFAIL
    assert new(place) == [] and list((place.maildir(USER) / "tmp").iterdir()) == []


def test_commit_at_once_unless_the_abort_is_there(place):
    clear(place)
    for i in range(10):
        a = Agent(place)
        assert a.copy(message(place, 1000), commit=1, qid="1ATONCE%04d" % i)[2]["text"] == b"delivered to maildir"
        assert len(new(place)) == 1
        fd = os.open(message(place, 1000), os.O_RDONLY)
        a.chan.send("COPY", id=2, fd=fd, qid="1ABORT%05d" % i, sender="s@example.org", recipient=USER, size=1000, commit=1)
        a.chan.send("ABORT", id=2)
        os.close(fd)
        text = a.chan.recv()[2]["text"]
        assert len(new(place)) == (1 if text == b"removed" else 2), text
        a.end()
        clear(place)


@pytest.mark.parametrize("size,more", [(1000, {}), (1000, {"commit": 1}), (200000, {"commit": 1})])
def test_killed_at_every_system_call(place, size, more):
    """Killed before the k-th call; then queued asks a second agent, as it does: exactly one copy, never a part of one."""
    path = message(place, size)
    tracer = ["strace", "-f", "-qq", "-o", "/dev/null", "-u", "_postern_mda", "-e"]
    k, lived, points = random.randrange(1, SHARE + 1), 0, 0
    while lived < 2 and k < 1000:
        clear(place)
        a = Agent(place, wrap=[*tracer, "inject=all:signal=KILL:when=%d" % k], drop=False)
        first = a.deliver(path, **more)
        a.end()
        for f in new(place):
            assert b",S=%d," % f.stat().st_size in f.name.encode()
        if first is None:
            b = Agent(place)
            second = b.deliver(path, attempt=2, **more)
            b.end()
            assert second and second[0] == "DONE", (k, second)
            points += 1
        else:
            assert first[0] == "DONE", (k, first)
            lived += 1
        assert len(new(place)) == 1, "%d copies after a kill at call %d" % (len(new(place)), k)
        k += SHARE
    assert points >= 36 // SHARE


@pytest.mark.parametrize("user,status", [("root", EX_NOPERM), ("nobody-at-all", EX_NOUSER), ("../x", EX_NOUSER), ("x" * 10000, EX_NOUSER),
                                         ("", EX_NOUSER), ("-f", EX_NOUSER), ("\0".replace("\0", "\x01"), EX_NOUSER), ("_postern_mda", EX_NOUSER)])
def test_only_mail_users(place, user, status):
    a = Agent(place, user=user)
    assert a.end() in (status, EX_NOUSER if user == "root" else status)


@pytest.mark.parametrize("args", [[], ["x"], ["/etc/passwd", "POLICY", USER], ["relative.cdb", "POLICY", USER], ["ACCOUNTS", "/etc/passwd", USER],
                                  ["ACCOUNTS", "min_uid=1", USER], ["ACCOUNTS", "", USER], ["ACCOUNTS", "POLICY", USER, "x"],
                                  ["ACCOUNTS", "POLICY", USER, "alias", "alias"], ["x"] * 10000])
def test_odd_arguments_are_refused(place, args):
    words = {"ACCOUNTS": str(place.state / "accounts.cdb"), "POLICY": policy(place)}
    a = Agent(place, args=[words.get(x, x) for x in args])
    assert a.end() in (EX_USAGE, EX_TEMPFAIL, EX_NOPERM)


def test_an_accounts_file_of_others_is_not_believed(place):
    own = place.base / "own.cdb"
    own.write_bytes((place.state / "accounts.cdb").read_bytes())
    os.chmod(own, 0o666)
    assert Agent(place, args=[str(own), policy(place), USER]).end() == EX_TEMPFAIL
    os.chmod(own, 0o644)
    mda = pwd.getpwnam("_postern_mda")
    os.chown(own, mda.pw_uid, mda.pw_gid)
    assert Agent(place, args=[str(own), policy(place), USER]).end() == EX_TEMPFAIL


@pytest.mark.parametrize("mode,owner", [(0o666, "root"), (0o644, "_postern_mda")])
def test_a_policy_of_others_is_not_believed(place, mode, owner):
    """spawn in strange hands must not be able to say what is run as a user, nor as which user."""
    own, out = place.base / "own.policy", place.base / "out"
    out.mkdir()
    os.chmod(out, 0o1777)
    own.write_text(open(policy(place)).read().replace("mailbox_command", "x") + "commands=forward\nrun=1\nmailbox_command=touch %s/evil\n" % out)
    os.chmod(own, mode)
    os.chown(own, pwd.getpwnam(owner).pw_uid, -1)
    a = Agent(place, args=[str(place.state / "accounts.cdb"), str(own), USER])
    try:
        a.copy(message(place, 100), programs=1)
    except (OSError, ipc.Closed):
        pass
    assert a.end() == EX_TEMPFAIL and not list(out.iterdir())


def test_only_spawns_group_may_execute_it(place):
    nobody = pwd.getpwnam("nobody")
    with pytest.raises(PermissionError):
        subprocess.run([str(place.bin / "deliver")], user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])


def test_descriptor_0_must_be_a_channel(place):
    for what in (subprocess.DEVNULL, open("/etc/hostname")):
        assert Agent(place, stdin=what).end() == EX_TEMPFAIL


def limits():
    resource.setrlimit(resource.RLIMIT_STACK, (262144, 262144))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 64))
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    os.umask(0o777)
    signal_all_ignored()


def signal_all_ignored():
    import signal
    for s in (signal.SIGTERM, signal.SIGPIPE, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(s, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
    for s in (signal.SIGALRM, signal.SIGTERM, signal.SIGUSR1):  # they wait, and would be let through with the mask
        os.kill(os.getpid(), s)
    signal.setitimer(signal.ITIMER_REAL, 0.05)


def test_a_hostile_world_changes_nothing(place):
    clear(place)
    env = {"LD_PRELOAD": "/tmp/evil.so", "LD_LIBRARY_PATH": "/tmp", "GCONV_PATH": "/tmp", "LOCPATH": "/tmp", "TZ": "/etc/shadow", "IFS": "/",
           "MALLOC_TRACE": "/tmp/trace", "HOME": "/root", "TMPDIR": "/tmp"}
    a = Agent(place, env=env, preexec_fn=limits)
    answer = a.deliver(message(place, 1000))
    assert answer and answer[0] == "DONE", answer
    a.end()
    (f,) = new(place)
    assert f.stat().st_mode & 0o777 == 0o600 and f.stat().st_uid == place.maildir(USER).stat().st_uid


def test_a_file_size_limit_is_a_temporary_failure(place):
    clear(place)
    a = Agent(place, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)))
    answer = a.deliver(message(place, 300000))
    assert answer[0] == "FAILED" and answer[2]["permanent"] == 0 and answer[2]["enhanced"] == b"4.2.2"
    a.end()
    assert new(place) == [] and list((place.maildir(USER) / "tmp").iterdir()) == []


def test_what_is_no_message_file_is_refused(place):
    clear(place)
    a = Agent(place)
    for path in ("/proc/self/status", "/dev/null", "/etc"):
        answer = a.copy(path, size=1)
        assert answer[0] == "FAILED" and answer[2]["permanent"] == 0, path
    assert a.copy(message(place, 1000), size=10 ** 9)[0] == "FAILED"
    r, w = os.pipe()
    a.chan.send("COPY", id=1, fd=r, qid="1TESTTESTTE", sender="", recipient=USER, size=1)
    assert a.chan.recv()[0] == "FAILED"
    fd = os.open(message(place, 1000), os.O_RDWR)
    a.chan.send("COPY", id=1, fd=fd, qid="1TESTTESTTE", sender="", recipient=USER, size=1)
    assert a.chan.recv()[0] == "FAILED", "a descriptor that can write"
    a.end()
    assert new(place) == []


@pytest.mark.parametrize("spoil", ["new -> link", "tmp is a file", "cur is missing", "group writes", "another owner"])
def test_a_mail_tree_that_is_not_the_users_alone_is_not_used(place, spoil):
    clear(place)
    root = place.maildir(USER)
    assert Agent(place).deliver(message(place, 1000))[0] == "DONE"
    clear(place)
    before = root.stat()
    if spoil == "new -> link":
        (root / "new").rmdir()
        (root / "new").symlink_to("/tmp")
    elif spoil == "tmp is a file":
        (root / "tmp").rmdir()
        (root / "tmp").write_text("")
    elif spoil == "cur is missing":
        (root / "cur").rmdir()
    elif spoil == "group writes":
        os.chmod(root, 0o770)
    else:
        os.chown(root, 0, 0)
    a = Agent(place)
    answer = a.deliver(message(place, 1000))
    if spoil == "cur is missing":
        assert answer[0] == "DONE"
    else:
        assert answer[0] == "FAILED" and answer[2]["permanent"] == 0, answer
    a.end()
    os.chown(root, before.st_uid, before.st_gid)


@pytest.mark.parametrize("ext,folder", [("work", ".Work"), ("new-one", ""), ("../../x", ""), (".", ""), ("..", ""), ("a/b", ""), ("x" * 200, ""), ("x" * 255, "")])
def test_plus_part_names_a_folder_only_when_there_is_one(place, ext, folder):
    clear(place)
    assert Agent(place).deliver(message(place, 1000))[0] == "DONE"
    clear(place)
    work, st = place.maildir(USER) / ".Work", place.maildir(USER).stat()
    for d in (work, work / "tmp", work / "new", work / "cur"):
        d.mkdir(mode=0o700)
        os.chown(d, st.st_uid, st.st_gid)
    a = Agent(place)
    assert a.deliver(message(place, 1000), extension=ext)[0] == "DONE"
    a.end()
    assert len(new(place, folder)) == 1
    assert sorted(p.name for p in place.maildir(USER).iterdir() if p.is_dir() and p.name.startswith(".")) .count(".Work") == 1


def test_a_loop_is_a_permanent_failure(place):
    path = place.base / "loop"
    path.write_bytes(b"Delivered-To: Alice@Example.com\nSubject: x\n\nx\n")
    os.chmod(path, 0o644)
    answer = Agent(place).deliver(path)
    assert answer[0] == "FAILED" and answer[2]["permanent"] == 1 and answer[2]["enhanced"] == b"5.4.6"


def test_a_repeated_attempt_is_recognised(place):
    clear(place)
    for _ in range(2):
        assert Agent(place).deliver(message(place, 1000), attempt=2)[0] == "DONE"
    assert len(new(place)) == 1
    assert Agent(place).deliver(message(place, 1000), attempt=1, qid="1OTHEROTHER")[0] == "DONE"
    assert len(new(place)) == 2
