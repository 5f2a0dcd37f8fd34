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
    """As shipped, without any drop-in."""
    scores = {u.name: exposure(u) for u in units.glob("*.service")}
    assert len(scores) >= 13
    assert max(scores.values()) <= 2.5, scores
    daemons = {n: scores["postern-%s.service" % n] for n in DAEMONS}
    for some in (scores, daemons):
        assert statistics.median(some.values()) <= 2.0, some
    assert max(daemons[n] for n in ("smtpd", "imapd", "pop3d")) <= 1.6, daemons


def sockets(conf, where, *more):
    where.mkdir()
    p = subprocess.run([str(ROOT / "build" / BUILD / "postern-sockets"), "-c", str(conf), str(where), *map(str, more)], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT)
    return p.returncode, p.stdout.decode(), {f.name: f for f in where.iterdir()}


def listens(unit):
    return re.findall(r"^ListenStream=(.*)$", unit.read_text(), re.M)


def test_units_are_well_formed(units, tmp_path):
    """Unknown settings, units that are named and missing; the programs are below DESTDIR, which the verifier cannot know."""
    conf = tmp_path / "postern.conf"
    conf.write_text("myhostname = mail.example.com\nmetrics_listeners = 127.0.0.1:9154\nfilter_milter_listeners = 127.0.0.1:8891\n"
                    "filter_spamd_listeners = 127.0.0.1:783 [::1]:783\nfilter_spamd_tell_listeners = [::1]:783\n")
    made = sockets(conf, tmp_path / "made")[2]
    every = [*sorted(units.iterdir()), *(f for f in made.values() if f.suffix == ".socket")]
    p = subprocess.run(["systemd-analyze", "verify", "--man=no", *map(str, every)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
                       env={**os.environ, "SYSTEMD_UNIT_PATH": "%s:%s:/lib/systemd/system" % (units, tmp_path / "made")})
    lines = [x for x in p.stderr.decode().splitlines() if "postern" in x and "is not executable: No such file" not in x]
    assert not lines, "\n".join(lines)


def test_sockets_are_those_of_the_configuration(tmp_path):
    conf = tmp_path / "postern.conf"
    assert sockets(conf, tmp_path / "unset") == (0, "", {})
    conf.write_text("myhostname = mail.example.com\n")
    code, out, made = sockets(conf, tmp_path / "plain")
    assert (code, out) == (0, "") and set(made) == {"postern-smtpd.socket", "postern-imapd.socket", "postern-pop3d.socket", "postern.target.wants"}
    assert listens(made["postern-smtpd.socket"]) == ["25", "587", "465", "/run/postern/smtpd/submit"]
    assert listens(made["postern-imapd.socket"]) == ["143", "993"] and listens(made["postern-pop3d.socket"]) == ["110", "995"]
    for link in made["postern.target.wants"].iterdir():
        assert link.is_symlink() and link.resolve() == made[link.name].resolve()
    conf.write_text("myhostname = mail.example.com\ninet_interfaces = 192.0.2.1 [2001:db8::1]\nsmtp_listeners = 25/smtp *:2525/smtp 127.0.0.1:2525/smtp\n"
                    "listener.inside = 10.0.0.5:26/smtp\nlistener.more = 743/imap\nimap_listeners =\npop3_listeners =\n"
                    "run_directory = /run/a%b\nmetrics_listeners = [::1]:9154\n"
                    "filter_milter_listeners = inet:127.0.0.1:8891 unix:/run/milter\nfilter_spamd_listeners = 127.0.0.1:783 [::1]:783\nfilter_spamd_tell_listeners = [::1]:783\n")
    early = tmp_path / "early"
    early.mkdir()
    code, out, made = sockets(conf, tmp_path / "other", early, tmp_path)
    assert code == 0 and "smtpd: port 2525 is listened on already" in out
    assert listens(made["postern-smtpd.socket"]) == ["192.0.2.1:25", "[2001:db8::1]:25", "2525", "10.0.0.5:26", "/run/a%%b/smtpd/submit"]
    assert listens(made["postern-imapd.socket"]) == ["192.0.2.1:743", "[2001:db8::1]:743"] and listens(made["postern-metrics.socket"]) == ["[::1]:9154"]
    assert listens(made["postern-milter.socket"]) == ["127.0.0.1:8891", "/run/milter"] and listens(made["postern-spamd.socket"]) == ["127.0.0.1:783"]
    assert listens(made["postern-spamd-tell.socket"]) == ["[::1]:783"]
    for name in ("milter", "spamd", "spamd-tell"):
        text = made["postern-%s.socket" % name].read_text()
        assert "\nFileDescriptorName=%s\n" % name in text and "\nService=postern-filterd.service\n" in text
        assert text.endswith("\nSocketMode=0660\nSocketGroup=_postern_%s\n" % name.removesuffix("-tell"))
    assert "BindIPv6Only=ipv6-only" in made["postern-imapd.socket"].read_text()
    assert "postern-pop3d.socket" not in made and os.readlink(early / "postern-pop3d.service") == "/dev/null"
    conf.write_text("smtp_listeners = 25/nonsense\nmyhostname = mail.example.com\n")
    code, out, made = sockets(conf, tmp_path / "wrong")
    assert code == 1 and "nonsense" in out and "postern-smtpd.socket" not in made


def test_under_process_1():
    """Installed by its own words, started by postern.target: mail to users of both kinds, a session over reload and restart, a daemon that hangs."""
    script = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "boot.sh"
    lines = ["export %s='%s'" % kv for kv in environment().items()]
    script.write_text("\n".join(lines) + "\n" + (HERE / "boot_script.sh").read_text())
    p = subprocess.run([str(HERE / "boot"), str(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = p.stdout.decode("utf-8", "replace")
    if p.returncode == CANNOT:
        pytest.skip("no cgroup2, no overlay file system or no systemd here")
    assert p.returncode == 0 and "all is well" in out, "\n".join(re.findall(r"(?m)^FAILED.*", out)) + "\n" + out[:600] + "\n[…]\n" + out[-5000:]
