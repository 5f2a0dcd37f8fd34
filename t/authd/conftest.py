"""authd alone in a scratch directory: see authdbox.py."""
import os
import pathlib
import pwd
import subprocess

import pytest

from authdbox import Authd


@pytest.fixture
def make_authd(tmp_path_factory):
    made = []

    def make(**settings):
        base = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / ("authd-%s" % os.urandom(3).hex())
        a = Authd(base, **settings)
        a.make()
        made.append(a)
        return a
    yield make
    for a in made:
        a.stop()


@pytest.fixture(scope="module")
def authd():
    """One authd for all tests of a file, with a few users; 127.0.0.0/8 is exempt from limits."""
    a = Authd(pathlib.Path(os.environ["POSTERN_SCRATCH"]) / ("authd-%s" % os.urandom(3).hex()))
    a.make()
    a.add("alice@example.com", "secret")
    a.add("bob@example.com", "bob secret", "yescrypt")
    a.add("odd@example.com", "it's a \\ \"tr\u00efck\" w\u00f6rd ", "sha512")
    subprocess.run(["useradd", "-m", "-d", str(a.base / "joe"), "-s", "/bin/false", "joe"], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["chpasswd"], input=b"joe:joe's \"secret\"\n", check=True)
    assert pwd.getpwnam("joe").pw_uid >= 1000
    a.start()
    yield a
    a.stop()
