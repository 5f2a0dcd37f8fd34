"""Walls around the processes that hold a stranger's bytes and a password."""
import os
import pathlib
import re

import pytest

from test_attack_limits import zygote


def status(pid, key):
    return re.search(r"^%s:\s*(\S+)" % key, pathlib.Path("/proc/%d/status" % pid).read_text(), re.M).group(1)


@pytest.mark.skipif(os.environ.get("POSTERN_BUILD") == "asan", reason="runs without the sandbox")
def test_a_sasl_worker_may_do_less_than_its_zygote(make_authd):
    """Worker, zygote and mux have one uid: who can fork and kill ends everybody's logins."""
    a = make_authd()
    a.start()
    sasl = zygote(a, "authd: sasl")
    ch = a.parent().conn("auth", client="192.0.2.1")
    assert ch.ask("START", id=1, mech="LOGIN")[0] == "CHALLENGE"
    workers = [int(c) for c in pathlib.Path("/proc/%d/task/%d/children" % (sasl, sasl)).read_text().split()]
    assert len(workers) == 1
    assert int(status(workers[0], "Seccomp_filters")) > int(status(sasl, "Seccomp_filters"))
    ch.close()
