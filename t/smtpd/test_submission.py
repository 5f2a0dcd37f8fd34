"""What submission puts right in the header of our own users' mail, and what it leaves alone in a stranger's. RFC 6409 8."""
import base64
import email
import email.policy

import pytest
import re
from test_esmtp import found
from test_smtp import envelope, hello, new_id

PLAIN = base64.b64encode(b"\0alice@example.com\0alice-secret").decode()
BOB = "bob@example.com"


@pytest.fixture(scope="module")
def hygiene(module_suite):
    return module_suite("hygiene", settings={"filter_enable": "no", "inet_interfaces": "127.0.0.1", "smtpd_user_recipient_limit": "40",
                                             "smtpd_user_message_limit": "46",
                                             "listener.named": "2560/submissions -o smtpd_sasl_authenticated_header=yes",
                                             "listener.hidden": "2561/submissions -o smtpd_hide_client_address=yes"})


def submit(suite, text, port=None, sender="alice@example.com"):
    import mailtools
    w = mailtools.Wire("127.0.0.1" if port else suite.host, port or suite.port("SUBMISSIONS"), context=suite.tls_context())
    hello(w, "secret-laptop.home.arpa")
    assert w.smtp("AUTH PLAIN " + PLAIN)[0] == 235
    assert w.smtp("MAIL FROM:<%s>" % sender)[0] == 250
    assert w.smtp("RCPT TO:<bob@example.com>")[0] == 250
    assert w.smtp("DATA")[0] == 354
    w.send(text + "\r\n.\r\n")
    return w.smtp()


def read(suite, mark):
    return email.message_from_bytes(found(suite, BOB, mark), policy=email.policy.default)


def test_what_is_missing_is_added(hygiene):
    mark = "mark-" + new_id()[1:9]
    assert submit(hygiene, "Subject: %s\r\n\r\nx" % mark)[0] == 250
    m = read(hygiene, mark)
    assert m["From"] == "alice@example.com" and m["Date"] and m["Message-ID"].endswith("@mail.example.com>")


def test_what_is_there_stays(hygiene):
    mid = new_id()
    assert submit(hygiene, "From: Alice <alice@example.com>\r\nSender: x@example.com\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: %s\r\n\r\nx" % mid)[0] == 250
    m = read(hygiene, mid)
    assert m["From"] == "Alice <alice@example.com>" and m["Sender"] == "x@example.com" and m.get_all("Date") == ["Mon, 01 Jan 2024 00:00:00 +0000"]


def test_bcc_is_removed_however_it_is_written(hygiene):
    mid = new_id()
    assert submit(hygiene, "From: alice@example.com\r\nBCC: a@x.example,\r\n b@x.example\r\nbcc: c@x.example\r\nMessage-ID: %s\r\n\r\nx" % mid)[0] == 250
    text = found(hygiene, BOB, mid)
    assert b"x.example" not in text


@pytest.mark.parametrize("field", ["From: mallory@example.com", "Sender: a@example.com\r\nSender: b@example.com", "Date: x\r\nDate: y\r\nDate: z",
                                   "Message-ID: <1@x>\r\nMessage-ID: <2@x>\r\nMessage-ID: <3@x>"])
def test_fields_that_may_be_there_once(hygiene, field):
    code, text = submit(hygiene, "From: alice@example.com\r\n%s\r\nSubject: x\r\n\r\nx" % field)
    assert code == 550 and "more than one" in text[0]


def test_a_second_message_id_and_date_go(hygiene):
    mid = new_id()
    head = "From: alice@example.com\r\nMessage-ID: %s\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-Id: <2@x>\r\nDate: Tue, 2 Jan 2024 00:00:00 +0000\r\n\r\nx" % mid
    assert submit(hygiene, head)[0] == 250
    m = read(hygiene, mid)
    assert m.get_all("Message-ID") == [mid] and m.get_all("Date") == ["Mon, 01 Jan 2024 00:00:00 +0000"]


def test_received_names_the_user_when_wanted(hygiene):
    mid = new_id()
    assert submit(hygiene, "From: alice@example.com\r\nMessage-ID: %s\r\n\r\nx" % mid, 2560)[0] == 250
    received = read(hygiene, mid)["Received"]
    assert "(Authenticated sender: alice@example.com)" in received and "[127.0.0.1]" in received
    other = new_id()
    assert submit(hygiene, "From: alice@example.com\r\nMessage-ID: %s\r\n\r\nx" % other)[0] == 250
    assert "Authenticated" not in read(hygiene, other)["Received"]


def test_received_hides_where_the_user_is_when_wanted(hygiene):
    mid = new_id()
    assert submit(hygiene, "From: alice@example.com\r\nMessage-ID: %s\r\n\r\nx" % mid, 2561)[0] == 250
    text = found(hygiene, BOB, mid)
    assert b"127.0.0" not in text and b"secret-laptop" not in text and b"by mail.example.com (Postern) with ESMTPSA id " in text


def test_a_strangers_header_is_not_ours(hygiene):
    import mailtools
    mark = "mark-" + new_id()[1:9]
    w = mailtools.Mail(hygiene).wire("SMTP")
    hello(w)
    envelope(w)
    assert w.smtp("DATA")[0] == 354
    w.send("From: a@elsewhere.example\r\nFrom: b@elsewhere.example\r\nBcc: c@elsewhere.example\r\nSubject: %s\r\n\r\nx\r\n.\r\n" % mark)
    assert w.smtp()[0] == 250
    m = email.message_from_bytes(found(hygiene, BOB, mark))
    assert len(m.get_all("From")) == 2 and m["Bcc"] and m["Date"] is None


# --- what one login may send ---

@pytest.mark.parametrize("command, limit, want", [("RCPT TO:<alice@example.com>", 40, "recipients"), ("MAIL FROM:<%s>", 46, "messages")])
def test_a_login_is_limited_and_postmaster_is_told_once(hygiene, command, limit, want):
    import mailtools
    user, password = "%s-%s@example.com" % (want, new_id()[1:7]), "x" + new_id()[1:9]
    hygiene.user_add(user, password)
    secret = base64.b64encode(("\0%s\0%s" % (user, password)).encode()).decode()
    answers = []
    for _ in range(2):      # over connections
        w = mailtools.Wire(hygiene.host, hygiene.port("SUBMISSIONS"), context=hygiene.tls_context())
        hello(w)
        tries = 0
        while w.smtp("AUTH PLAIN " + secret)[0] != 235:     # until the new account is known
            tries += 1
            assert tries < 5
        if want == "recipients":
            assert w.smtp("MAIL FROM:<%s>" % user)[0] == 250
        for _ in range(limit // 2 + 2):
            answers.append(w.smtp(command.replace("%s", user))[0])
            if want == "messages":
                w.smtp("RSET")
        w.smtp("QUIT")
    assert answers == [250] * limit + [450] * 4
    alarm = email.message_from_bytes(found(hygiene, "alice@example.com", "%s sends too much mail" % user), policy=email.policy.default)
    assert "more than %d %s within 60 minutes" % (limit, want) in alarm.get_content() and alarm["Auto-Submitted"] == "auto-generated"
    hygiene.logged(r"limit of %s exceeded: %d from user %s" % (want, limit + 1, re.escape(user)))
    assert hygiene.log.read_text(errors="replace").count("limit of %s exceeded: %d from user %s" % (want, limit + 1, user)) == 1
