"""pop3_mark_seen and pop3_timeout."""
import pytest

from popraw import Pop

ONE = b"From: a@b\nSubject: one\n\nbody\n"


@pytest.mark.parametrize("value, flags", [("yes", "S"), ("no", "")])
def test_pop3_mark_seen(fresh_suite, value, flags):
    import mailtools
    s = fresh_suite("pop3", settings={"pop3_mark_seen": value, "filter_enable": "no"})
    mail = mailtools.Mail(s)
    mail.wait_for(mail.send(), timeout=30)
    with Pop(s.host, s.port("POP3"), timeout=30) as p:
        p.reply()
        p.ok("USER bob@example.com")
        p.ok("PASS bob-secret")
        p.message("RETR 1")
        p.ok("QUIT")
        p.closed(30)
    (f,) = mail.files()
    assert f.name.partition(":2,")[2] == flags


def test_pop3_timeout(fresh_suite):
    """A client that is silent for so long is shown out, and nothing is deleted."""
    import mailtools
    s = fresh_suite("pop3", settings={"pop3_timeout": "10s", "filter_enable": "no"})
    mail = mailtools.Mail(s)
    mail.wait_for(mail.send(), timeout=30)
    with Pop(s.host, s.port("POP3"), timeout=30) as p:
        p.reply()
        p.ok("USER bob@example.com")
        p.ok("PASS bob-secret")
        p.ok("DELE 1")
        assert p.closed(60)
    assert len(mail.files()) == 1
