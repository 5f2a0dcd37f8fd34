"""Fixtures of the IMAP tests: logged-in clients, and a folder of one's own."""
import itertools

import pytest

from imapraw import Imap

ALICE, BOB = "alice@example.com", "bob@example.com"
numbers = itertools.count(1)


@pytest.fixture
def imap(suite):
    """imap(): a new connection of alice, logged in; closed at the end."""
    made = []

    def new(login=ALICE, tls=False):
        c = Imap(suite, tls=tls, login=login)
        made.append(c)
        return c
    yield new
    for c in made:
        c.close()


@pytest.fixture
def folder(imap):
    """A fresh folder's name; it is removed afterwards."""
    name = "test-%d" % next(numbers)
    c = imap()
    c.ok("CREATE " + name)
    yield name
    c = imap()
    c.cmd("DELETE " + name)
