"""make install, make uninstall: what goes where, whose it is, that links and templates are true, that nothing stays behind but the administrator's work."""
import grp
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile

import pytest

import suite as suite_module

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = os.environ.get("POSTERN_BUILD", "dev")
# The places of the build under test: other ones would compile it anew.
PREFIX, SYSCONFDIR, LIBEXECDIR = (ROOT / "build" / BUILD / "places").read_text().split()


def make(target, dest):
    return subprocess.run(["make", "-s", "-C", str(ROOT), "BUILD=" + BUILD, "PREFIX=" + PREFIX, "SYSCONFDIR=" + SYSCONFDIR,
                           "LIBEXECDIR=" + LIBEXECDIR, "DESTDIR=" + str(dest), target], check=True, stdout=subprocess.PIPE).stdout.decode()


def below(dest):
    return {p for p in dest.rglob("*") if p.is_symlink() or p.is_file()}


@pytest.fixture
def dest(tmp_path):
    suite_module.ensure_users()
    make("install", tmp_path)
    return tmp_path


def test_programs_find_each_other(dest):
    libexec = pathlib.Path(str(dest) + LIBEXECDIR)
    for name in ("sbin/smtpd", "sbin/postern-run", "sbin/postern-user", "sbin/sendmail", "bin/mailq", "bin/newaliases", "bin/postmap"):
        p = pathlib.Path(str(dest) + PREFIX) / name
        assert p.is_symlink() and p.resolve().parent == libexec.resolve(), name
    out = subprocess.run([str(dest) + PREFIX + "/sbin/postern", "--help"], stdout=subprocess.PIPE, check=True).stdout.decode()
    assert "user" in out and "queue" in out


def test_only_deliver_is_setuid(dest):
    for p in below(dest):
        if p.is_symlink():
            continue
        s = p.stat()
        assert not s.st_mode & 0o022, p
        if p.name == "deliver" and p.parent.name == "postern":
            assert stat.S_IMODE(s.st_mode) == 0o4710 and s.st_uid == 0 and grp.getgrgid(s.st_gid).gr_name == "_postern_mda"
        else:
            assert not s.st_mode & 0o7000, p


def test_each_program_has_its_manual(dest):
    man = pathlib.Path(str(dest) + PREFIX) / "share" / "man"
    for p in sorted((pathlib.Path(str(dest) + PREFIX) / "sbin").iterdir()):
        assert any((man / ("man%d" % n) / ("%s.%d" % (p.name, n))).exists() for n in (1, 8)), p.name


def test_links_and_templates_are_true(dest):
    for p in below(dest):
        if p.is_symlink():
            assert p.exists(), "%s leads nowhere" % p
        elif p.suffix in (".service", ".socket", ".target", ".conf") or p.parent.name == "init.d":
            text = p.read_text(errors="replace")
            assert not re.search(r"@[A-Z]+@", text), p
            for program in re.findall(r"^(?:ExecStart|RUN)=(\S+)", text, re.M):
                assert os.access(str(dest) + program, os.X_OK), "%s: %s" % (p, program)
            for page, section in re.findall(r"^Documentation=man:(\S+)\((\d)\)", text, re.M):
                assert pathlib.Path("%s%s/share/man/man%s/%s.%s" % (dest, PREFIX, section, page, section)).exists(), p


def test_the_administrators_files_stay(dest):
    conf = pathlib.Path(str(dest) + SYSCONFDIR) / "postern/postern.conf"
    conf.write_text("myhostname = mail.example.com\n")
    make("install", dest)
    assert conf.read_text() == "myhostname = mail.example.com\n"
    assert str(conf.parent)[len(str(dest)):] in make("uninstall", dest)
    assert below(dest) == {conf}


@pytest.mark.parametrize("target, name", [("install", "submission"), ("uninstall", "submission"), ("install", "spamd")])
def test_sockets_of_earlier_versions_go(dest, target, name):
    old = pathlib.Path(str(dest) + PREFIX) / ("lib/systemd/system/postern-%s.socket" % name)
    old.write_text("[Socket]\nListenStream=587\n")
    said = make(target, dest)
    assert not old.exists()
    assert ("systemctl disable postern-%s.socket" % name in said) == (name == "spamd")
    assert "systemctl disable" not in make(target, dest)


def test_nothing_is_installed_before_every_user_is_there(tmp_path):
    """An upgrade brings roles with users that are new; the daemons would not start."""
    suite_module.ensure_users()
    getent = tmp_path / "bin/getent"
    getent.parent.mkdir()
    getent.write_text('#!/bin/sh\n[ "$2" != _postern_spamd ] || exit 2\nPATH=${PATH#*:} exec getent "$@"\n')
    getent.chmod(0o755)
    env = {**os.environ, "PATH": "%s:%s" % (getent.parent, os.environ["PATH"]), "B": "build/" + BUILD, "DESTDIR": "", "PREFIX": str(tmp_path / "usr"),
           "LIBEXECDIR": str(tmp_path / "libexec"), "SYSCONFDIR": str(tmp_path / "etc"), "PROGRAMS": "deliver sendmail"}
    p = subprocess.run(["etc/install", "install"], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert p.returncode == 1 and "there is no user _postern_spamd" in p.stdout.decode() and "make users" in p.stdout.decode()
    assert set(tmp_path.iterdir()) == {getent.parent}


def test_uninstall_leaves_nothing(dest):
    make("uninstall", dest)
    assert below(dest) == set()


def test_not_root_installs_without_owners():
    """A user may install to a folder of his own; deliver is then no setuid program, and the words say what is left to do."""
    home = tempfile.mkdtemp()		# pytest's own is below a folder that only root may search
    os.chown(home, 65534, 65534)
    env = {**os.environ, "B": "build/" + BUILD, "DESTDIR": home, "PREFIX": PREFIX, "LIBEXECDIR": LIBEXECDIR, "SYSCONFDIR": SYSCONFDIR,
           "PROGRAMS": "deliver sendmail"}
    try:
        out = subprocess.run(["etc/install", "install"], cwd=ROOT, user=65534, group=65534, extra_groups=[], stdout=subprocess.PIPE, env=env, check=True)
        s = os.stat(home + LIBEXECDIR + "/deliver")
        assert stat.S_IMODE(s.st_mode) == 0o755 and s.st_uid == 65534
        assert "chmod 4710" in out.stdout.decode()
    finally:
        shutil.rmtree(home)
