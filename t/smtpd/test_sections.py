"""The transcripts of sections.t."""
import base64
import pathlib

import pytest

import transcript

FILE = pathlib.Path(__file__).resolve().parent / "sections.t"
SECTIONS = transcript.read(FILE)


def base64_of(*words):
    return base64.b64encode("\0".join(("", *words)).encode()).decode()


@pytest.fixture(scope="module")
def plain(module_suite):
    return module_suite("sections", settings={"filter_enable": "no", "inet_interfaces": "127.0.2.1", "listener.store": "24/lmtp", "auth_throttle_exempt": "127.0.0.0/8",
                                              "smtpd_error_sleep_time": "0"})


@pytest.mark.parametrize("lines", [lines for _, lines in SECTIONS], ids=[name for name, _ in SECTIONS])
def test_section(plain, lines):
    transcript.Player(plain, FILE.name, PLAIN=base64_of("alice@example.com", "alice-secret"), WRONG=base64_of("alice@example.com", "wrong")).play(lines)
