"""The life of a message over the whole suite: addresses, headers, folders, IDLE, POP3."""
import imaplib
import time

import pytest


def test_plus_addresses_reach_the_user(mail):
    mid = mail.send(to="bob+tag@example.com")
    f = mail.wait_for(mid)
    assert "Delivered-To: bob" in f.read_text()


def test_addresses_are_matched_without_case(mail):
    mid = mail.send(to="BoB@Example.COM")
    mail.wait_for(mid)


def test_postmaster_is_always_accepted(mail):
    for to in ("postmaster", "postmaster@example.com", "postmaster@localhost", "PostMaster@mail.example.com"):
        with mail.wire("SMTP") as w:
            w.smtp()
            w.smtp("EHLO p.test")
            assert w.smtp("MAIL FROM:<>")[0] == 250
            code, text = w.smtp("RCPT TO:<%s>" % to)
            assert code == 250, (to, code, text)


def test_aliases_and_virtual_lead_to_the_user(mail):
    mid = mail.send(to="root@localhost")
    mail.wait_for(mid, user="alice@example.com")
    mid = mail.send(to="postmaster@example.com")
    mail.wait_for(mid, user="alice@example.com")


def test_two_recipients_get_one_copy_each(mail):
    mid = mail.send(to=["bob@example.com", "alice@example.com", "bob@example.com"])
    for user in ("bob@example.com", "alice@example.com"):
        mail.wait_for(mid, user=user)
        assert len([f for f in mail.files(user) if mid in f.read_text()]) == 1


def test_received_shows_the_truth(mail):
    mid = mail.send(user="alice@example.com", sender="alice@example.com")
    text = mail.wait_for(mid).read_text()
    head = text.split("\n\n")[0]
    assert head.startswith("Return-Path: <alice@example.com>\n")
    received = head[head.index("Received:"):]
    assert "by mail.example.com" in received and "ESMTPSA" in received and "for <bob@example.com>" in received


def test_missing_date_and_message_id_are_added_for_own_users_only(mail, suite):
    subject = "no-id-%d" % time.time_ns()
    s = mail.smtp("alice@example.com")
    s.sendmail("alice@example.com", ["bob@example.com"], "From: alice@example.com\r\nSubject: %s\r\n\r\nx\r\n" % subject)
    s.quit()
    text = mail.wait_for(subject).read_text()
    assert "\nMessage-ID: <" in text or "\nMessage-Id: <" in text
    assert "\nDate: " in text
    subject += "-foreign"
    s = mail.smtp()
    s.sendmail("x@elsewhere.example", ["bob@example.com"], "From: x@elsewhere.example\r\nSubject: %s\r\n\r\nx\r\n" % subject)
    s.quit()
    text = mail.wait_for(subject).read_text()
    assert "\nMessage-ID: <" not in text


def test_the_body_arrives_byte_for_byte(mail):
    body = b"line\r\n.\x41 dot\r\n..two dots\r\n" + b"x" * 990 + b"\r\n\xff\xfe 8 bit\r\n\r\nend without blank"
    mid = "<bytes-%d@test.example>" % time.time_ns()
    s = mail.smtp()
    s.sendmail("x@elsewhere.example", ["bob@example.com"], b"Message-ID: " + mid.encode() + b"\r\nSubject: b\r\n\r\n" + body + b"\r\n")
    s.quit()
    stored = mail.wait_for(mid).read_bytes()
    assert stored.split(b"\n\n", 1)[1] == (body + b"\r\n").replace(b"\r\n", b"\n")
    m = mail.imap()
    _ok, data = m.search(None, "HEADER", "MESSAGE-ID", mid)
    _ok, data = m.fetch(data[0].split()[-1], "(RFC822.SIZE BODY.PEEK[TEXT])")
    assert data[0][1] == body + b"\r\n"
    m.logout()
    p = mail.pop3()
    n = p.stat()[0]
    assert p.retr(n)[1][-1] == b"end without blank"
    p.quit()


def test_a_new_user_has_the_usual_folders(suite, mail):
    suite.user_add("newcomer@example.com", "new-secret")
    suite.passwords["newcomer@example.com"] = "new-secret"
    m = mail.imap("newcomer@example.com", select=None)
    _ok, rows = m.list()
    text = b"\n".join(rows).decode()
    for folder, use in (("Drafts", "\\Drafts"), ("Sent", "\\Sent"), ("Junk", "\\Junk"), ("Trash", "\\Trash"), ("Archive", "\\Archive")):
        row = [r for r in text.splitlines() if r.endswith(folder) or r.endswith('"%s"' % folder)]
        assert row and use in row[0], text
    _ok, rows = m.lsub()
    assert all(f.encode() in b"\n".join(rows) for f in ("Drafts", "Sent", "Junk", "Trash", "Archive"))
    m.logout()


def test_idle_sees_new_mail_at_once(mail):
    with mail.wire("IMAPS", tls=True, timeout=30) as w:
        w.line()
        assert w.imap("a", 'LOGIN bob@example.com "bob-secret"')[-1].startswith(b"a OK")
        assert w.imap("b", "SELECT INBOX")[-1].startswith(b"b OK")
        w.send("c IDLE\r\n")
        assert w.line().startswith(b"+")
        mail.send()
        line = w.line()
        while b"EXISTS" not in line:
            assert line, "the connection has ended"
            line = w.line()
        w.send("DONE\r\n")
        assert w.imap_until("c")[-1].startswith(b"c OK")


def test_pop3_deletes_only_at_quit(mail):
    mid = mail.send(to="alice@example.com")
    mail.wait_for(mid, user="alice@example.com")
    p = mail.pop3("alice@example.com")
    n = p.stat()[0]
    p.dele(n)
    p.close()
    time.sleep(0.3)
    p = mail.pop3("alice@example.com")
    assert p.stat()[0] == n
    p.dele(n)
    p.quit()
    p = mail.pop3("alice@example.com")
    assert p.stat()[0] == n - 1
    p.quit()


def test_two_pop3_sessions_exclude_each_other(mail):
    import poplib
    p = mail.pop3("alice@example.com")
    with pytest.raises(poplib.error_proto, match="IN-USE"):
        mail.pop3("alice@example.com")
    p.quit()


def test_imap_append_store_expunge(mail):
    m = mail.imap("alice@example.com")
    ok, data = m.append("INBOX", "\\Seen", imaplib.Time2Internaldate(1e9), b"Subject: appended\r\n\r\nbody\r\n")
    assert ok == "OK" and b"APPENDUID" in data[0]
    m.select("INBOX")
    _ok, data = m.search(None, "SUBJECT", "appended")
    n = data[0].split()[-1]
    _ok, data = m.fetch(n, "(FLAGS INTERNALDATE)")
    assert b"\\Seen" in data[0] and b" 9-Sep-2001" in data[0]
    m.store(n, "+FLAGS", "\\Deleted")
    ok, data = m.expunge()
    assert ok == "OK" and n in data
    m.logout()
