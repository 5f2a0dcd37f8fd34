"""The real daemons started each way: by systemd's socket activation and by inetd (nowait), beside a suite that runs; by hand in the background."""
import base64
import contextlib
import os
import pathlib
import signal
import smtplib
import subprocess
import time

import pytest

import mailtools

LAUNCH = pathlib.Path(__file__).resolve().parent.parent / "launch"


@contextlib.contextmanager
def running(argv):
    p = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield p
    finally:
        p.send_signal(signal.SIGTERM)
        try:
            p.wait(30)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()


def connect(port, **kw):
    end = time.monotonic() + 30
    while True:
        try:
            return mailtools.Wire("127.0.0.1", port, **kw)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def greeted(port, word, context):
    """A connection with that greeting: daemons that miss others say that they are busy."""
    end = time.monotonic() + 30
    while True:
        w = connect(port, context=context)
        line = w.line()
        if line.startswith(word):
            return w
        w.close()
        assert time.monotonic() < end, line
        time.sleep(0.1)


def mail_over(w, user=None, password=None, to="bob@example.com", context=None):
    """One mail over an SMTP connection; returns its Message-ID."""
    assert w.smtp()[0] == 220
    _code, words = w.smtp("EHLO start.test")
    if context is not None:
        assert "STARTTLS" in words
        assert w.smtp("STARTTLS")[0] == 220
        w.starttls(context)
        w.smtp("EHLO start.test")
    if user:
        assert w.smtp("AUTH PLAIN " + base64.b64encode(("\0%s\0%s" % (user, password)).encode()).decode())[0] == 235
    mid = "<start-%d@test.example>" % time.time_ns()
    assert w.smtp("MAIL FROM:<%s>" % (user or "x@elsewhere.example"))[0] == 250
    assert w.smtp("RCPT TO:<%s>" % to)[0] == 250
    assert w.smtp("DATA")[0] == 354
    w.send("Message-ID: %s\r\nSubject: start\r\n\r\nx\r\n.\r\n" % mid)
    assert w.smtp()[0] == 250
    assert w.smtp("QUIT")[0] == 221
    return mid


@pytest.fixture
def helped(fresh_suite):
    """A suite whose network daemons listen on 127.0.1.x: the daemons under test use 127.0.0.1 and the same authd and queued."""
    return fresh_suite("starts")




def test_inetd_serves_smtp_imap_and_pop3(helped):
    mail = mailtools.Mail(helped)
    context = helped.tls_context()
    inetd = LAUNCH / "inetd"
    with running([inetd, "127.0.0.1:2525", helped.bin / "smtpd", "-i", "-c", helped.conf]), \
            running([inetd, "127.0.0.1:2143", helped.bin / "imapd", "-i", "-c", helped.conf]), \
            running([inetd, "127.0.0.1:2110", helped.bin / "pop3d", "-i", "-c", helped.conf]):
        with connect(2525) as w:
            mid = mail_over(w)
        mail.wait_for(mid)
        with connect(2525) as w:
            mid = mail_over(w, "alice@example.com", "alice-secret", context=context)
        mail.wait_for(mid)
        with connect(2143) as w:
            assert w.line().startswith(b"* OK")
            assert w.imap("a", "STARTTLS")[-1].startswith(b"a OK")
            w.starttls(context)
            assert w.imap("b", "LOGIN bob@example.com bob-secret")[-1].startswith(b"b OK")
            lines = w.imap("c", "SELECT INBOX")
            assert b"* 2 EXISTS\r\n" in lines
            w.imap("d", "LOGOUT")
        with connect(2110) as w:
            assert w.line().startswith(b"+OK")
            w.send("STLS\r\n")
            assert w.line().startswith(b"+OK")
            w.starttls(context)
            w.send("USER bob@example.com\r\n")
            assert w.line().startswith(b"+OK")
            w.send("PASS bob-secret\r\n")
            assert w.line().startswith(b"+OK")
            w.send("STAT\r\n")
            assert w.line().startswith(b"+OK 2 ")
            w.send("QUIT\r\n")
            assert w.line().startswith(b"+OK")


def test_inetd_as_another_user_knows_no_peer(helped):
    """Started without privilege nobody vouches for the peer: no AUTH, and no relaying by address."""
    with running([LAUNCH / "inetd", "-u", "nobody", "127.0.0.1:2525", helped.bin / "smtpd", "-i", "-c", helped.conf]):
        with connect(2525) as w:
            code, _text = w.smtp()
            if code == 220:
                _code, words = w.smtp("EHLO start.test")
                assert not [x for x in words if x.startswith("AUTH")]
                w.smtp("MAIL FROM:<x@elsewhere.example>")
                assert w.smtp("RCPT TO:<y@elsewhere.example>")[0] >= 400
            else:
                assert code == 421


def test_socket_activation_hands_over_listeners_by_name(helped):
    """smtpd, imapd and pop3d on sockets that a service manager has bound: they take these, and only these."""
    mail = mailtools.Mail(helped)
    context = helped.tls_context()
    helped.stop()
    rest = ["log", "authd", "filterd", "queued"]
    with contextlib.ExitStack() as stack:
        for name in rest:
            stack.enter_context(running([helped.bin / name, "-f", "-c", helped.conf]))
            time.sleep(0.7)
        launch = LAUNCH / "listen_fds"
        stack.enter_context(running([launch, "smtp=127.0.0.1:3025", "submissions=127.0.0.1:3465", "--", helped.bin / "smtpd", "-f", "-c", helped.conf]))
        stack.enter_context(running([launch, "imaps=127.0.0.1:3993", "--", helped.bin / "imapd", "-f", "-c", helped.conf]))
        stack.enter_context(running([launch, "pop3s=127.0.0.1:3995", "--", helped.bin / "pop3d", "-f", "-c", helped.conf]))
        end = time.monotonic() + 30
        while True:
            with connect(3025) as w:
                if w.smtp()[0] == 220:
                    break
            assert time.monotonic() < end
            time.sleep(0.1)
        with smtplib.SMTP_SSL("127.0.0.1", 3465, context=context, timeout=30) as s:
            s.login("alice@example.com", "alice-secret")
            s.sendmail("alice@example.com", ["bob@example.com"], "Message-ID: <act@test.example>\r\nSubject: activated\r\n\r\nx\r\n")
        mail.wait_for("<act@test.example>")
        with greeted(3993, b"* OK", context) as w:
            assert w.imap("b", "LOGIN bob@example.com bob-secret")[-1].startswith(b"b OK")
            w.imap("d", "LOGOUT")
        greeted(3995, b"+OK", context).close()
        with pytest.raises(OSError):
            mailtools.Wire(helped.host, helped.port("SMTP"), timeout=2)


def test_each_daemon_tests_its_configuration(suite, tmp_path):
    bad = tmp_path / "bad.conf"
    bad.write_text(suite.conf.read_text() + "message_size_limit = many\nno_such_thing = 1\n")
    lines = bad.read_text().count("\n")
    for name in ("smtpd", "imapd", "pop3d", "authd", "queued", "filterd", "log"):
        good = suite.tool(name, "-t", check=False)
        assert good.returncode == 0, (name, good.stdout)
        p = subprocess.run([str(suite.bin / name), "-t", "-c", str(bad)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
        text = p.stdout.decode()
        assert p.returncode != 0 and "%s:%d: message_size_limit" % (bad, lines - 1) in text and "no_such_thing" in text, (name, text)
        assert "usage" in subprocess.run([str(suite.bin / name), "--help"], stdout=subprocess.PIPE, timeout=30).stdout.decode()


def test_postern_check_names_the_deviations(suite):
    text = suite.tool("postern", "check", check=False).stdout.decode()
    assert "smtpd_tls_auth_only" in text, text


def test_a_daemon_lets_go_of_its_callers_output(fresh_suite):
    """Started without -f: whoever waits for the end of a pipe, as scripts and Ansible do, gets it; what went wrong at the start is still said there."""
    s = fresh_suite("detach", start=False, users=())
    p = subprocess.run([s.bin / "log", "-c", s.conf], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
    assert p.returncode == 0, p.stdout
    pid = int((s.run_dir / "log.pid").read_text())
    try:
        for child in [pid, *map(int, open("/proc/%d/task/%d/children" % (pid, pid)).read().split())]:
            assert all(os.readlink("/proc/%d/fd/%d" % (child, fd)) == "/dev/null" for fd in (0, 1)), child
        again = subprocess.run([s.bin / "log", "-c", s.conf], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
        assert again.returncode != 0 and b"log: " in again.stdout
    finally:
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + 30
        while time.monotonic() < end and open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()[0] != "Z":     # nobody here reaps it
            time.sleep(0.02)
