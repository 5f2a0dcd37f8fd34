"""Fixtures of the whole-system tests. They run as root in a private mount, network and process namespace (t/run-system), so
real ports and an /etc of their own are free to use."""
import itertools
import os
import pathlib
import re
import shutil
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "lib")] + [str(d) for d in sorted(HERE.iterdir()) if any(d.glob("*.py"))]
import mailtools  # noqa: E402
import suite as suite_module  # noqa: E402

# Most protocol tests speak over plain loopback connections; that this is refused by default has a test (test_refusals).
suite_module.Suite.extra_settings = {"plaintext_login_networks": "127.0.0.0/8 [::1]", "notify_classes": ""}     # no letters that a test did not ask for

BUILD = os.environ.get("POSTERN_BUILD", "dev")
numbers = itertools.count(1)
SCRATCH = os.environ.get("POSTERN_SCRATCH")


def pytest_collection_modifyitems(config, items):
    if SCRATCH is None:
        raise pytest.UsageError("run the whole-system tests through t/run-system (make check, or t/run-system t/imapd)")
    for item in items:
        if os.environ.get("POSTERN_UNCONFINED") == "1" and item.path.name == "test_walls.py":
            item.add_marker(pytest.mark.skip(reason="without confinement"))
        if BUILD.startswith("asan") and (item.path.name == "test_attack_memory.py" or re.search("is_in_no_front|in_the_key_worker_alone", item.name)):
            item.add_marker(pytest.mark.skip(reason="a sanitizer's shadow memory cannot be read through"))


@pytest.fixture(autouse=True)
def no_sanitizer_report(request):
    """BUILD=asan: what a sanitizer said during a test fails it."""
    yield
    log = suite_module.SANITIZER_LOG
    if log.exists() and log.stat().st_size:
        text = log.read_text("utf-8", "replace")
        os.truncate(log, 0)
        pytest.fail("sanitizer:\n" + text)


@pytest.fixture(scope="session")
def suite():
    """The running suite, with users alice, bob and odd; shared by all tests: clean up what you change."""
    # Every test comes from loopback: the limits on failed logins have tests, and suites, of their own (t/authd).
    s = suite_module.Suite(pathlib.Path(SCRATCH) / "main", build=BUILD, real_ports=True,
                           settings={"auth_throttle_exempt": "127.0.0.0/8 [::1]"})
    s.make()
    s.passwords = {"alice@example.com": "alice-secret", "bob@example.com": "bob-secret",
                   "odd@example.com": "it's a \\ \"tr\u00efck\" word"}
    for name, password in s.passwords.items():
        s.user_add(name, password)
    s.start()
    yield s
    s.stop()


def further_suites():
    made = []

    def make(name, start=True, users=("alice@example.com", "bob@example.com"), **kw):
        n = next(numbers)
        s = suite_module.Suite(pathlib.Path(SCRATCH) / ("%s-%d" % (name, n)), build=BUILD,
                               hosts=("127.0.%d.%d" % (1 + n // 250, 1 + n % 250),), real_ports=True, **kw)
        s.host = s.hosts[0]
        s.make()
        s.passwords = {}
        for u in users:
            s.passwords[u] = u.split("@")[0] + "-secret"
            s.user_add(u, s.passwords[u])
        if start:
            s.start()
        made.append(s)
        return s
    yield make
    for s in made:
        s.stop()
        shutil.rmtree(s.base, ignore_errors=True)


@pytest.fixture
def fresh_suite():
    """make(name, **settings): further suites of a test's own (other settings, kills); stopped at the end."""
    yield from further_suites()


@pytest.fixture(scope="module")
def fresh_suite_module():
    """The same for all tests of a file."""
    yield from further_suites()


@pytest.fixture
def mail(suite):
    """Helpers to send and read mail: see t/lib/mailtools.py."""
    return mailtools.Mail(suite)
