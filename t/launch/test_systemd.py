"""The systemd units: their exposure as systemd-analyze counts it, their syntax, and the suite started, used, reloaded and watched by a real systemd."""
import os
import pathlib
import re
import shutil
import statistics
import subprocess

import pytest

import suite as suite_module

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = os.environ.get("POSTERN_BUILD", "dev")
HERE = pathlib.Path(__file__).resolve().parent
PREFIX, SYSCONFDIR, LIBEXECDIR = (ROOT / "build" / BUILD / "places").read_text().split()
CANNOT = 77
DAEMONS = ["log", "authd", "filterd", "spawn", "queued", "smtpd", "imapd", "pop3d"]


def environment():
    programs = subprocess.run(["make", "-s", "-C", str(ROOT), "BUILD=" + BUILD, "print-PROGRAMS"], stdout=subprocess.PIPE, check=True).stdout.decode()
    return {"PATH": os.environ["PATH"], "B": "build/" + BUILD, "PREFIX": PREFIX, "SYSCONFDIR": SYSCONFDIR, "LIBEXECDIR": LIBEXECDIR,
            "PROGRAMS": programs.strip(), "ROOT": str(ROOT)}


@pytest.fixture(scope="module")
def units(tmp_path_factory):
    suite_module.ensure_users()
    dest = tmp_path_factory.mktemp("dest")
    subprocess.run([str(ROOT / "etc/install"), "install"], cwd=ROOT, env={**environment(), "DESTDIR": str(dest)}, stdout=subprocess.DEVNULL, check=True)
    yield pathlib.Path(str(dest) + PREFIX + "/lib/systemd/system")
    shutil.rmtree(dest)


def exposure(unit):
    out = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)], stdout=subprocess.PIPE, check=True).stdout.decode()
    return float(re.search(r"Overall exposure level for \S+: ([\d.]+)", out).group(1))


def test_exposure(units):
    scores = {u.name: exposure(u) for u in units.glob("*.service")}
    assert len(scores) >= 13
    assert max(scores.values()) <= 2.5, scores
    assert statistics.median(scores.values()) <= 2.0, scores


def test_exposure_where_systemd_holds_the_ports(units, tmp_path):
    """The daemons with their shipped drop-ins, which are appended: systemd-analyze reads one file."""
    scores = {}
    for name in DAEMONS:
        unit = units / ("postern-%s.service" % name)
        extra = units.parent.parent.parent / "share/postern/systemd" / ("postern-%s-sockets.conf" % name)
        together = tmp_path / unit.name
        together.write_text(unit.read_text() + (extra.read_text() if extra.exists() else ""))
        scores[name] = exposure(together)
    assert max(scores.values()) <= 2.5 and statistics.median(scores.values()) <= 2.0, scores
    assert max(scores[n] for n in ("smtpd", "imapd", "pop3d")) <= 1.6, scores


def test_units_are_well_formed(units):
    """Unknown settings, units that are named and missing; the programs are below DESTDIR, which the verifier cannot know."""
    p = subprocess.run(["systemd-analyze", "verify", "--man=no", *map(str, sorted(units.iterdir()))], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
                       env={**os.environ, "SYSTEMD_UNIT_PATH": "%s:/lib/systemd/system" % units})
    lines = [x for x in p.stderr.decode().splitlines() if "postern" in x and "is not executable: No such file" not in x]
    assert not lines, "\n".join(lines)


def test_under_process_1():
    """Installed by its own words, started by postern.target: mail to users of both kinds, a session over reload and restart, a daemon that hangs."""
    script = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "boot.sh"
    lines = ["export %s='%s'" % kv for kv in environment().items()]
    script.write_text("\n".join(lines) + "\n" + (HERE / "boot_script.sh").read_text())
    p = subprocess.run([str(HERE / "boot"), str(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = p.stdout.decode("utf-8", "replace")
    if p.returncode == CANNOT:
        pytest.skip("no cgroup2, no overlay file system or no systemd here")
    assert p.returncode == 0 and "all is well" in out, out[:600] + "\n[…]\n" + out[-5000:]
