"""A run in which tests were skipped that could have run is not whole, and says so."""
import pathlib
import re

import pytest

import skips

ROOT = pathlib.Path(__file__).resolve().parent.parent
REPORT = """..s.ss                                                                   [100%]
=========================== short test summary info ============================
SKIPPED [1] t/whole/test_check.py:100: no control groups
SKIPPED [2] t/remote/test_opensmtpd.py:15: OpenSMTPD lacks libevent-2.1.so.7
SKIPPED [1] t/x/test_y.py: made: without a line
3 passed, 4 skipped in 0.05s
"""


def reasons():
    """Those that stand as text in the tests, "…" for what is filled in."""
    for f in ROOT.rglob("*.py"):
        for text in re.findall(r'(?:pytest\.skip\(|reason=)"([^"]*)"', f.read_text()):
            yield text.replace("%s", "…") + ("…" if text.endswith(" ") else "")


def test_what_was_skipped_is_read():
    assert skips.found(REPORT) == [(1, "t/whole/test_check.py:100", "no control groups"), (2, "t/remote/test_opensmtpd.py:15", "OpenSMTPD lacks libevent-2.1.so.7"),
                                   (1, "t/x/test_y.py", "made: without a line")]


def test_what_lacks_is_no_excuse_and_what_cannot_be_is(monkeypatch):
    assert skips.needless("OpenSMTPD lacks libevent-2.1.so.7") and skips.needless("no curl"), "Debian has it"
    for can in (True, False):
        monkeypatch.setattr(skips, "succeeds", lambda command, can=can: can)
        assert skips.needless("no control groups") is can and skips.needless("mail is on overlayfs") is can
        assert skips.needless("no curl") is True


@pytest.mark.parametrize("pattern", [pattern for pattern, _probe in skips.ROWS])
def test_every_excuse_is_one_that_a_test_gives(pattern):
    for part in pattern.split("|"):
        assert [r for r in reasons() if re.search(part, r)], part


def test_every_reason_is_an_excuse_or_a_lack():
    """A reason that is new says here what it is: a lack of what t/deps or make puts there, or a row of its own."""
    without = {r for r in reasons() if r and not any(re.search(pattern, r) for pattern, _probe in skips.ROWS)}
    assert without == {"no compiler", "no mkfs.", "no curl", "no fetchmail", "no pam_faillock", "Dovecot is not installed", "make tools"}
