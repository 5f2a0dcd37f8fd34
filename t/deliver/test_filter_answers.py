"""A filter that answers wrongly, and one that would change what it is shown; a content filter that gives mail back by SMTP."""
import fcntl
import mmap
import os
import pwd
import socket
import smtplib
import threading

import pytest

import ipc
import mailtools
from smtpsink import Sink

TEXT = "From: a@b.example\r\nSubject: t\r\n\r\n" + "a line of the message\r\n" * 200


class Filter:
    """In filterd's place: answer(channel, id, fields, descriptor) for each SCAN."""

    def __init__(self, suite, answer):
        self.answer, self.ids, self.trouble = answer, [], []
        path = suite.run_dir / "filter" / "scan"
        os.rename(path, path.with_name("scan.true"))
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.bind(str(path))
        os.chmod(path, 0o666)
        self.sock.listen(8)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                channel = ipc.Channel(self.sock.accept()[0], "filter", timeout=None)
            except OSError:
                return
            try:
                while True:
                    name, id, fields, fd = channel.recv()
                    assert name == "SCAN"
                    self.ids.append(id)
                    self.answer(self, channel, id, fields, fd)
                    os.close(fd)
            except ipc.Closed:
                pass
            except BaseException as e:      # noqa: BLE001: for the test to see
                self.trouble.append(repr(e))


@pytest.fixture
def filtered(fresh_suite):
    def make(answer, **settings):
        suite = fresh_suite("answers", settings={"spam_check": "no", **settings})
        suite.filter = Filter(suite, answer)
        return suite
    return make


def say(channel, id, action="accept", **fields):
    channel.send("VERDICT", id=id, action=action, **fields)


def send(suite, text=TEXT):
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=60) as s:
        s.ehlo("c.example")
        s.mail("a@b.example")
        s.rcpt("bob@example.com")
        return s.data(text)[0]


def test_a_verdict_about_another_message_or_a_second_one_is_nobodys(filtered):
    def answer(f, channel, id, fields, fd):
        for other in [id + 1, 0, *f.ids[:-1]]:      # to come, never there, answered long ago
            say(channel, other, "reject", code=550, enhanced="5.7.1", text="of another one")
        say(channel, id)
        say(channel, id, "reject", code=550, enhanced="5.7.1", text="after all")
    suite = filtered(answer)
    assert [send(suite) for _ in range(5)] == [250] * 5
    assert len(suite.filter.ids) == len(set(suite.filter.ids)) == 5 and not suite.filter.trouble
    assert len(mailtools.Mail(suite).files()) == 5


def test_a_verdict_that_comes_too_late_is_nobodys(filtered):
    late = []

    def answer(f, channel, id, fields, fd):
        if not late:
            late.append(id)
            return
        say(channel, late[0])
        say(channel, id, "reject", code=550, enhanced="5.7.1", text="this one")
    suite = filtered(answer, filter_timeout="1s")
    assert send(suite) == 451
    assert send(suite) == 550
    assert mailtools.Mail(suite).files() == [] and len(suite.filter.ids) == 2


WAYS = {
    "write": lambda fd: os.write(fd, b"x"),
    "write at a place": lambda fd: os.pwrite(fd, b"x", 0),
    "cut": lambda fd: os.ftruncate(fd, 0),
    "fill": lambda fd: os.posix_fallocate(fd, 0, 1 << 20),
    "map": lambda fd: mmap.mmap(fd, 10, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
    "open again": lambda fd: os.open("/proc/self/fd/%d" % fd, os.O_RDWR),
    "open again to cut": lambda fd: os.open("/proc/self/fd/%d" % fd, os.O_WRONLY | os.O_TRUNC),
    "mode": lambda fd: os.fchmod(fd, 0o666),
    "owner": lambda fd: os.fchown(fd, os.getuid(), os.getgid()),
    "give a name": lambda fd: os.link("/proc/self/fd/%d" % fd, "/tmp/of-the-filter", follow_symlinks=True),
}


def as_filter(fd):
    """The ways in which filterd's user can change the message; the descriptor's place is moved besides."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        who = pwd.getpwnam("_postern_filter")
        os.setgroups([])
        os.setgid(who.pw_gid)
        os.setuid(who.pw_uid)
        for name, way in WAYS.items():
            try:
                way(fd)
                os.write(w, name.encode() + b"\n")
            except OSError:
                pass
        os.lseek(fd, 7, os.SEEK_SET)
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND | os.O_NONBLOCK)
        os._exit(0)
    os.close(w)
    with os.fdopen(r) as said:
        done = said.read().split("\n")[:-1]
    os.waitpid(pid, 0)
    return done


def test_a_filter_cannot_change_what_it_is_shown(filtered):
    done = []

    def answer(f, channel, id, fields, fd):
        assert os.pread(fd, 4, 0) == b"From"
        done.append(as_filter(fd))
        say(channel, id)
    suite = filtered(answer)
    assert send(suite) == 250
    assert done == [[]] and not suite.filter.trouble
    (copy,) = mailtools.Mail(suite).files()
    assert copy.read_bytes().endswith(TEXT.replace("\r\n", "\n").encode().split(b"Subject: t\n", 1)[1])


def test_mail_that_a_content_filter_gives_back_passes_once(fresh_suite):
    """As with amavis behind Postfix: in by one port, back by another one of loopback, on which nothing is filtered again."""
    there, back = ("127.0.7.12", 10024), 10025
    suite = fresh_suite("loop", settings={
        "filter_enable": "no", "smtpd_client_restrictions": "check_client_access inline:{ { 127.0.0.1 = FILTER smtp:[%s]:%d } }" % there,
        "listener.back": "127.0.0.1:%d/smtp -o smtpd_client_restrictions=" % back})
    sink = Sink(*there)
    try:
        assert send(suite, "X-Pass: 1\r\n" + TEXT) == 250
        env, data, _ = sink.wait(timeout=30)
        with smtplib.SMTP("127.0.0.1", back, timeout=30) as s:
            s.sendmail("a@b.example", ["bob@example.com"], data)
        (copy,) = mailtools.Mail(suite).files()
        assert copy.read_bytes().count(b"\nReceived: ") + copy.read_bytes().startswith(b"Received: ") == 2
        assert len(sink.messages) == 1
        suite.logged(r"to=<bob@example\.com>, relay=127\.0\.7\.12\[127\.0\.7\.12\]:10024, .*status=sent")
        with open("/proc/net/tcp") as f:
            listening = [line.split()[1] for line in f if line.split()[3] == "0A" and line.split()[1].endswith(":%04X" % back)]
        assert listening == ["0100007F:%04X" % back]
    finally:
        sink.close()
