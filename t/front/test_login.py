"""Login over imapd and pop3d when authd is not there: the answer says so in the protocol's words, also for what was greeted before."""
import os
import signal

import mailtools

SAID = [
    ("IMAP", "a LOGIN alice@example.com alice-secret", ["a NO [UNAVAILABLE]", "* BYE "]),
    ("IMAP", "a AUTHENTICATE PLAIN AGFsaWNlQGV4YW1wbGUuY29tAGFsaWNlLXNlY3JldA==", ["a NO [UNAVAILABLE]", "* BYE "]),
    ("IMAP", 'a LOGIN "alice@example.com" "al\\"ice"', ["a NO [UNAVAILABLE]", "* BYE "]),
    ("POP3", "PASS alice-secret", ["-ERR [SYS/TEMP]"]),
    ("POP3", "AUTH PLAIN AGFsaWNlQGV4YW1wbGUuY29tAGFsaWNlLXNlY3JldA==", ["-ERR [SYS/TEMP]"]),
]


def test_authd_dies_between_greeting_and_login(fresh_suite):
    s = fresh_suite("front-login")
    mail = mailtools.Mail(s)
    wires = []
    for port, _command, _answers in SAID:
        w = mail.wire(port)
        w.line()
        if port == "POP3":
            w.send(b"USER alice@example.com\r\n")
            assert w.line().startswith(b"+OK")
        wires.append(w)
    os.kill(next(p[0] for p in s.processes() if p[3] == "authd: monitor"), signal.SIGKILL)
    s.logged(r"authd has gone")
    for w, (_port, command, answers) in zip(wires, SAID):
        w.send(command.encode() + b"\r\n")
        for a in answers:
            got = w.line()
            assert got.startswith(a.encode()), (command, got)
        w.closed()
        w.close()
