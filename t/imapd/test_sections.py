"""The transcripts of sections.t and examples.t."""
import base64
import itertools
import pathlib

import pytest

import transcript
from imapraw import Imap

HERE = pathlib.Path(__file__).resolve().parent
SECTIONS = [(name, *section) for name in ("sections.t", "examples.t") for section in transcript.read(HERE / name)]
LOGIN = ["@ IMAP", "S: * OK *", "C: 0 LOGIN $USER $PASSWORD", "S~ 0 OK *"]
numbers = itertools.count(1)


@pytest.mark.parametrize("file, lines", [(file, lines) for file, _, lines in SECTIONS], ids=[name for _, name, _ in SECTIONS])
def test_section(suite, file, lines):
    user = "section%d@example.com" % next(numbers)
    suite.passwords[user] = "section-secret"
    suite.user_add(user, suite.passwords[user])
    c = Imap(suite, login=user)
    for n in (1, 2):
        c.append("INBOX", "From: a@b.example\r\nDate: Sat, 28 Nov 2026 10:00:0%d +0000\r\nSubject: message %d\r\nMessage-ID: <%d@test.example>\r\n\r\nbody %d\r\n" % (n, n, n, n),
                 '"28-Nov-2026 10:00:0%d +0000" ' % n)
    c.close()
    password = suite.passwords.pop(user)
    plain = base64.b64encode(("\0%s\0%s" % (user, password)).encode()).decode()
    transcript.Player(suite, file, USER=user, PASSWORD=password, PLAIN=plain).play(lines, LOGIN)
