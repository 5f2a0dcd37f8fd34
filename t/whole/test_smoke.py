"""Once through the whole, in seconds: mail from outside and from a user, read over IMAP and POP3, a stranger's relaying refused, every role there."""
from test_walls import EXPECTED, find, settled


def test_once_through_the_whole(suite, mail):
    with mail.smtp() as s:
        s.ehlo("client.elsewhere.example")
        assert s.docmd("MAIL", "FROM:<x@elsewhere.example>")[0] == 250
        assert s.docmd("RCPT", "TO:<y@elsewhere.example>")[0] == 554
    from_outside, from_a_user = mail.send(), mail.send(sender="alice@example.com", user="alice@example.com")
    mail.wait_for(from_outside)
    mail.wait_for(from_a_user)
    m = mail.imap()
    for mid in (from_outside, from_a_user):
        assert m.search(None, "HEADER", "Message-ID", mid)[1][0], mid
    m.logout()
    p = mail.pop3()
    letters = [b"\n".join(p.retr(n + 1)[1]) for n in range(p.stat()[0])]
    p.quit()
    for mid in (from_outside, from_a_user):
        assert any(mid.encode() in x for x in letters), mid


def test_every_role_runs(suite):
    def check():
        assert [title for title in EXPECTED if not find(suite.processes(), title)] == []
    settled(check)
