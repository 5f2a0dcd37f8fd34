"""The transcripts of sections.t."""
import base64
import pathlib

import pytest

import transcript

FILE = pathlib.Path(__file__).resolve().parent / "sections.t"
SECTIONS = transcript.read(FILE)


@pytest.mark.parametrize("lines", [lines for _, lines in SECTIONS], ids=[name for name, _ in SECTIONS])
def test_section(suite, drop, lines):
    d = drop(*(b"From: a@b\nSubject: %d\n\n.dot\n" % n for n in (1, 2)))
    plain = base64.b64encode(("\0%s\0%s" % (d.name, d.password)).encode()).decode()
    transcript.Player(suite, FILE.name, USER=d.name, PASSWORD=d.password, PLAIN=plain).play(lines)
