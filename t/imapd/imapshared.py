"""One user's folder and another one who is let into it: for the tests of what a guest may do and hears."""
import itertools

import pytest

from imapraw import Imap

ALICE, BOB = "alice@example.com", "bob@example.com"
MESSAGE = "Subject: one\r\n\r\ntext\r\n"
numbers = itertools.count(1)


class Shared:
    """A folder of alice's by the name of kind, and as bob sees it; its subfolders go with it."""
    def __init__(self, suite, kind):
        self.suite, self.name = suite, "%s-%d" % (kind, next(numbers))
        self.other = "Other/%s/%s" % (ALICE, self.name)
        self.owner, self.guest = Imap(suite, login=ALICE), Imap(suite, login=BOB)

    def close(self):
        self.guest.close()
        for l in self.owner.ok('LIST "" "%s*"' % self.name)[::-1]:
            self.owner.cmd("DELETE " + l.decode().split(" ")[-1])
        self.owner.close()


def fixture(scene):
    """The fixture "scene" of a test file: a scene(suite), closed at the end."""
    @pytest.fixture(name="scene")
    def made(suite):
        s = scene(suite)
        yield s
        s.close()
    return made
