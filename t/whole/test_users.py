"""user_*: the suite's daemons may run as other users than the shipped ones, and then each does."""
import grp
import os
import pwd
import subprocess

import pytest

import mailtools
from test_walls import EXPECTED, find, settled

ROLES = {"user_smtp": "smtp", "user_imap": "imap", "user_pop3": "pop3", "user_sasl": "sasl", "user_pam": "pam", "user_key": "key", "user_queue": "queue", "user_map": "map",
         "user_mda": "mda", "user_remote": "remote", "user_filter": "filter", "user_dns": "dns", "user_policy": "policy", "user_sts": "sts", "user_milter": "milter", "user_spamd": "spamd", "user_log": "log"}


@pytest.fixture(scope="module")
def other():
    """Users of another name for each; /etc is this test's own."""
    for role in ROLES.values():
        subprocess.run(["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "--user-group", "_other_" + role], check=True)
    subprocess.run(["usermod", "-a", "-G", "shadow", "_other_pam"], check=True)


def test_every_daemon_runs_as_the_user_that_is_set(other, fresh_suite):
    s = fresh_suite("users", start=False, settings={
        "filter_milter_listeners": "127.0.0.1:8897", "filter_spamd_listeners": "127.0.0.1:7837", **{k: "_other_" + v for k, v in ROLES.items()}})
    os.chown(s.bin / "deliver", 0, grp.getgrnam("_other_mda").gr_gid)
    os.chmod(s.bin / "deliver", 0o4710)
    log = pwd.getpwnam("_other_log")
    os.chown(s.log.parent, log.pw_uid, log.pw_gid)
    s.start()
    mail = mailtools.Mail(s)
    mail.wait_for(mail.send(), timeout=30)
    context = s.tls_context()
    context.check_hostname = False
    with mailtools.Wire(s.host, s.port("IMAPS"), context=context, timeout=30) as w:
        w.line()
        assert w.imap("a", "LOGIN bob@example.com bob-secret")[-1].startswith(b"a OK")
        assert b"* 1 EXISTS\r\n" in w.imap("b", "SELECT INBOX")

    def check():
        for title, user in {**EXPECTED, "filterd: milter": "_postern_milter", "filterd: spamd": "_postern_spamd"}.items():
            found = find(s.processes(), title)
            assert found and {p[1] for p in found} == {user.replace("_postern_", "_other_")}, title
    settled(check)
    assert not [p for p in s.processes() if p[1].startswith("_postern_")]


@pytest.mark.parametrize("name", ROLES)
def test_a_user_that_does_not_exist_is_told(name, suite, tmp_path):
    conf = tmp_path / "postern.conf"
    conf.write_text(suite.conf.read_text() + "%s = _no_such_user\n" % name)
    p = subprocess.run([str(suite.bin / "postern"), "-c", str(conf), "check"], stdout=subprocess.PIPE)
    assert p.returncode != 0 and ("%s: " % name) in p.stdout.decode() and "_no_such_user" in p.stdout.decode(), p.stdout.decode()
