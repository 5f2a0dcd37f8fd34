"""Parameters that say who exists, and who takes mail in a mailbox's place, at RCPT and in delivery."""
import os
import smtplib
import socketserver
import threading

import pytest

from test_queue import ALICE, BOB, files, make, queue, send, sink, wait  # noqa: F401


def rcpt(suite, to):
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=30) as s:
        s.ehlo()
        s.mail("x@elsewhere.example")
        code, text = s.rcpt(to)
        return code, text.decode()


class Lmtp:
    """A store that takes mail over LMTP."""

    def __init__(self, host, port):
        lmtp = self
        self.got = []

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                say, rcpts = self.wfile.write, []
                say(b"220 store\r\n")
                for line in self.rfile:
                    word = line[:4].upper()
                    if word == b"LHLO":
                        say(b"250-store\r\n250 PIPELINING\r\n")
                    elif word == b"RCPT":
                        rcpts.append(line.split(b"<")[1].split(b">")[0].decode())
                        say(b"250 ok\r\n")
                    elif word == b"DATA":
                        say(b"354 go\r\n")
                        data = b""
                        for piece in self.rfile:
                            if piece == b".\r\n":
                                break
                            data += piece
                        lmtp.got.append((rcpts, data))
                        say(b"250 2.0.0 taken\r\n" * len(rcpts))
                        rcpts = []
                    elif word == b"QUIT":
                        say(b"221 bye\r\n")
                        return
                    else:
                        say(b"250 ok\r\n")
        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self.server = socketserver.ThreadingTCPServer((host, port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def store():
    s = Lmtp("127.0.0.9", 2424)
    yield s
    s.server.shutdown()
    s.server.server_close()


def test_who_exists(make):  # noqa: F811
    suite = make(relay_domains="backup.example", relay_recipient_maps="inline:{known@backup.example=x}", relocated_maps="inline:{gone@example.com=new@elsewhere.example}",
                 virtual_mailbox_maps="inline:{{alice@example.com=x} {ally@example.com=alice@example.com}}", recipient_delimiter="+-")
    assert rcpt(suite, "known@backup.example")[0] == 250
    assert rcpt(suite, "other@backup.example") == (550, "5.1.1 <other@backup.example>: Recipient address rejected: User unknown in relay recipient table")
    assert rcpt(suite, "gone@example.com") == (550, "5.1.6 <gone@example.com>: Recipient address rejected: User has moved to new@elsewhere.example")
    assert rcpt(suite, ALICE)[0] == 250 and rcpt(suite, "ally-x@example.com")[0] == 250
    assert rcpt(suite, BOB) == (550, "5.1.1 <bob@example.com>: Recipient address rejected: User unknown in virtual mailbox table")
    assert rcpt(suite, "nobody@localhost") == (550, "5.1.1 <nobody@localhost>: Recipient address rejected: User unknown in local recipient table")


def test_luser_relay_and_empty_local_recipient_maps(make):  # noqa: F811
    suite = make(local_recipient_maps="", luser_relay="alice+$local@example.com")
    send(suite, "nobody@localhost", sender=BOB)
    (f,) = wait(lambda: files(suite, ALICE))
    assert "X-Original-To: nobody@localhost\nDelivered-To: alice+nobody@example.com\n" in f.read_text()
    suite = make(local_recipient_maps="")
    send(suite, "nobody@localhost", sender=BOB)
    assert 'unknown user: "nobody"' in wait(lambda: files(suite, BOB))[0].read_text()
    assert wait(lambda: not queue(suite))


@pytest.mark.parametrize("parameter, to", [("fallback_transport", "nobody@localhost"), ("mailbox_transport", ALICE), ("fallback_transport_maps", "nobody@localhost"),
                                           ("mailbox_transport_maps", ALICE)])
def test_transports_in_the_mailboxs_place(make, store, parameter, to):  # noqa: F811
    transport = "lmtp:inet:127.0.0.9:2424"
    suite = make(local_recipient_maps="", virtual_mailbox_domains="", mydestination="localhost example.com",
                 **{parameter: "inline:{%s=%s}" % (to.split("@")[0], transport) if parameter.endswith("_maps") else transport})
    send(suite, to, sender="x@elsewhere.example")
    wait(lambda: store.got) or pytest.fail(suite.trouble())
    assert store.got[0][0] == [to] and b"hello" in store.got[0][1]
    assert wait(lambda: "lmtp[" in suite.log.read_text() and "status=sent" in suite.log.read_text())
    why = suite.tool("postern", "why", store.got[0][0][0]).stdout.decode()
    assert "-> remote %s, by lmtp to inet:127.0.0.9:2424" % store.got[0][0][0] in why, why


def test_extensions_and_folders(make):  # noqa: F811
    suite = make(recipient_delimiter="+-")
    send(suite, ALICE, sender=BOB)
    assert wait(lambda: files(suite, ALICE))
    root = suite.maildir(ALICE)
    st = root.stat()
    for d in (root / ".Lists", root / ".Lists" / "new", root / ".Lists" / "cur", root / ".Lists" / "tmp"):
        d.mkdir(mode=0o700)
        os.chown(d, st.st_uid, st.st_gid)
    send(suite, ["alice+lists@example.com"], sender=BOB)
    send(suite, ["alice-Lists@example.com"], sender=BOB)
    send(suite, ["alice+nowhere@example.com"], sender=BOB)
    wait(lambda: len(files(suite, ALICE, ".Lists")) == 2) or pytest.fail(str([list(root.rglob("*")), suite.trouble()]))
    assert len(files(suite, ALICE)) == 2
