"""A process of smtpd serves its client's next connection too, but not after a login, nor for a proxy's or another server's clients."""
import base64

import pytest

import mailtools

PLAIN = base64.b64encode(b"\0alice@example.com\0alice-secret").decode()


@pytest.fixture(scope="module")
def again(module_suite):
    return module_suite("smtpd-again", settings={"smtpd_authorized_xclient_hosts": "127.0.0.0/8"})


def one(s, name, *commands):
    """A connection with these commands; the number of the process that served it, as the log has it."""
    w = mailtools.Mail(s).wire("SMTP")
    assert w.smtp()[0] == 220 and w.smtp("EHLO " + name)[0] == 250
    for c in commands:
        w.smtp(c)
    assert w.smtp("MAIL FROM:<%s@remote.test>" % name)[0] == 250, "nothing is left of the connection before"
    assert w.smtp("RCPT TO:<nobody@example.com>")[0] == 550
    w.close()       # in the middle of a transaction
    return int(s.logged(r"smtpd\[(\d+)\]: NOQUEUE: reject: RCPT from .* from=<%s@remote\.test>" % name).group(1))


def test_connections_of_one_client_meet_one_process(again):
    seen = [one(again, "same%d" % n) for n in range(12)]
    assert len(set(seen)) < len(seen)


@pytest.mark.parametrize("command", ["AUTH PLAIN " + PLAIN, "XCLIENT ADDR=192.0.2.7"])
def test_such_a_process_serves_nobody_else(again, command):
    word = command.split()[0].lower()
    after = ["EHLO again"] if word == "xclient" else []
    seen = [one(again, "%s%d" % (word, n), command, *after) for n in range(6)]
    assert len(set(seen)) == 6
    later = [one(again, "after-%s%d" % (word, n)) for n in range(6)]
    assert not set(seen) & set(later)
