"""Suites of one test file each: several tests share one, so that only one is started."""
import itertools
import os
import pathlib
import shutil

import pytest

import suite as suite_module

numbers = itertools.count(1)


@pytest.fixture(scope="module")
def module_suite():
    """make(name, **settings): a running suite with users alice and bob, on an address of its own, until the file's last test."""
    made = []

    def make(name, users=("alice@example.com", "bob@example.com"), start=True, **kw):
        n = next(numbers)
        s = suite_module.Suite(pathlib.Path(os.environ["POSTERN_SCRATCH"]) / ("%s-m%d" % (name, n)), build=os.environ.get("POSTERN_BUILD", "dev"),
                               hosts=("127.0.2.%d" % n,), real_ports=True, **kw)
        s.host = s.hosts[0]
        s.make()
        s.passwords = {u: u.split("@")[0] + "-secret" for u in users}
        for user, password in s.passwords.items():
            s.user_add(user, password)
        made.append(s)
        if start:
            s.start()
        return s
    yield make
    for s in made:
        s.stop()
        shutil.rmtree(s.base, ignore_errors=True)
