"""What a connection costs: the warm process that forks must be small, an idle front must share nearly all with it."""
import os
import pathlib
import re

import pytest
from test_smtp import hello

pytestmark = pytest.mark.skipif(os.environ.get("POSTERN_BUILD", "dev").startswith("asan"), reason="a sanitizer's memory is no measure")


def kb(pid, key):
    return int(re.search(r"^%s:\s+(\d+)" % key, pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text(), re.M).group(1))


def test_the_template_and_idle_fronts_are_small(module_suite):
    import mailtools
    suite = module_suite("memory", settings={"filter_enable": "no"})
    held = [mailtools.Mail(suite).wire("SMTP") for _ in range(40)]
    for w in held:
        hello(w)
    (template,) = [p[0] for p in suite.processes() if p[3].strip() == "smtpd: template"]
    assert kb(template, "Private_Dirty") + kb(template, "Shared_Dirty") < 4096
    fronts = [p[0] for p in suite.processes() if p[3].startswith("smtpd: front")]
    assert len(fronts) == 40
    assert sum(kb(p, "Pss") for p in fronts) / 40 < 350       # a fifth of Postfix's 1750
