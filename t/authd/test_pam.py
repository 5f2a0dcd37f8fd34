"""PAM modules that hang, crash, leave, change the name or ask twice: a temporary failure at worst, never a login, and nobody else notices."""
import json
import os
import pathlib
import pwd
import shutil
import struct
import subprocess
import time

import pytest

from test_attack_limits import workers, zygote
from test_login import AUTH, TEMP, login

SOURCE = r"""
#include <security/pam_modules.h>
#include <security/pam_appl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <fcntl.h>
static int act(pam_handle_t *p)
{
	switch (MODE) {
	case 1: signal(SIGALRM, SIG_IGN); signal(SIGTERM, SIG_IGN); for (;;) sleep(60);
	case 2: abort();
	case 3: _exit(0);
	case 4: return pam_set_item(p, PAM_USER, "alice@example.com") == PAM_SUCCESS ? PAM_SUCCESS : PAM_AUTH_ERR;
	case 5: {
		const struct pam_conv *c; const void *v;
		struct pam_message m[2] = { { PAM_PROMPT_ECHO_OFF, "a" }, { PAM_PROMPT_ECHO_OFF, "b" } };
		const struct pam_message *mp[2] = { &m[0], &m[1] };
		struct pam_response *r = NULL;
		if (pam_get_item(p, PAM_CONV, &v) != PAM_SUCCESS) return PAM_AUTH_ERR;
		c = v;
		return c->conv(2, mp, &r, c->appdata_ptr) == PAM_SUCCESS ? PAM_SUCCESS : PAM_CONV_ERR;
	}
	case 6: for (size_t i = 0;; i++) { char *x = malloc(1 << 20); if (!x) abort(); memset(x, 1, 1 << 20); }
	case 7: /* what no module may do here */
		if (socket(AF_INET, SOCK_STREAM, 0) >= 0) return PAM_SUCCESS;
		if (open("/etc/passwd", O_WRONLY | O_APPEND) >= 0) return PAM_SUCCESS;
		if (open("/tmp/postern-pam-test", O_WRONLY | O_CREAT, 0600) >= 0) return PAM_SUCCESS;
		execl("/bin/true", "true", (char *)0);
		if (setuid(0) == 0) return PAM_SUCCESS;
		return PAM_AUTH_ERR;
	}
	return PAM_SUCCESS;
}
int pam_sm_authenticate(pam_handle_t *p, int f, int c, const char **v) { (void)f; (void)c; (void)v; return act(p); }
int pam_sm_acct_mgmt(pam_handle_t *p, int f, int c, const char **v) { (void)p; (void)f; (void)c; (void)v; return PAM_SUCCESS; }
int pam_sm_setcred(pam_handle_t *p, int f, int c, const char **v) { (void)p; (void)f; (void)c; (void)v; return PAM_SUCCESS; }
"""
MODES = {"fine": 0, "hangs": 1, "aborts": 2, "exits": 3, "renames": 4, "asks-twice": 5, "eats-memory": 6, "breaks-out": 7}


@pytest.fixture(scope="module")
def authd(tmp_path_factory):
    from authdbox import Authd
    if not shutil.which("cc"):
        pytest.skip("no compiler")
    d = pathlib.Path("/etc/postern-pam-test")
    d.mkdir(exist_ok=True)
    (d / "m.c").write_text(SOURCE)
    a = Authd(pathlib.Path(os.environ["POSTERN_SCRATCH"]) / ("authd-%s" % os.urandom(3).hex()), auth_check_timeout="2s",
              auth_pam_service="postern-test")
    a.make()
    a.add("alice@example.com", "secret")
    for name, mode in MODES.items():
        subprocess.run(["cc", "-shared", "-fPIC", "-DMODE=%d" % mode, "-o", str(d / (name + ".so")), str(d / "m.c"), "-lpam"], check=True)
    subprocess.run(["useradd", "-m", "-d", str(a.base / "pat"), "-s", "/bin/false", "pat"], check=True)
    service(d, "fine")
    a.dir = d
    a.start()
    yield a
    a.stop()


def service(d, mode):
    pathlib.Path("/etc/pam.d/postern-test").write_text("auth required %s/%s.so\naccount required %s/fine.so\n" % (d, mode, d))


def test_module_that_agrees(authd):
    service(authd.dir, "fine")
    assert login(authd, "pat", "anything")[0] == "OK"


@pytest.mark.parametrize("mode,code", [("hangs", TEMP), ("aborts", TEMP), ("exits", TEMP), ("renames", TEMP), ("asks-twice", TEMP), ("eats-memory", TEMP),
                                       ("breaks-out", AUTH)])
def test_module_that_misbehaves(authd, mode, code):
    if os.environ.get("POSTERN_BUILD") == "asan" and mode in ("breaks-out", "eats-memory"):
        pytest.skip("without the sandbox")
    service(authd.dir, mode)
    name, f, _ = login(authd, "pat", "pw for " + mode)
    assert (name, f["code"]) == ("FAIL", code)
    assert login(authd, "alice@example.com", "secret")[0] == "OK"
    assert not os.path.exists("/tmp/postern-pam-test")


def test_hanging_checks_do_not_pile_up(authd):
    """More than auth_check_workers_max at once: each ends in its time, others get their turn, no process stays."""
    service(authd.dir, "hangs")
    p = authd.parent()
    conns = [p.conn("auth", client="127.0.0.1") for _ in range(20)]
    for i, c in enumerate(conns):
        c.send("START", id=1, mech="PLAIN", initial=b"\0pat\0x%d" % i)
    for c in conns:
        name, _, f, _ = c.recv()
        assert (name, f["code"]) == ("FAIL", TEMP)
    assert login(authd, "alice@example.com", "secret", parent=p)[0] == "OK"
    end = time.monotonic() + 30
    while time.monotonic() < end:
        left = workers(zygote(authd, "authd: check"))
        if left == []:
            break
        time.sleep(0.2)
    assert left == [], "only the zygote is left"


def test_no_login_by_mail_clears_what_other_services_have_counted(authd):
    """Two wrong passwords of three, at ssh say. A telephone that logs in each minute, by whatever password, must not give who guesses there another two. The
    directory is one that the check worker may look into: the default one it cannot even see."""
    module = pathlib.Path("/lib/x86_64-linux-gnu/security/pam_faillock.so")
    if not module.exists():
        pytest.skip("no pam_faillock")
    counts = pathlib.Path("/etc/postern-faillock")
    counts.mkdir(exist_ok=True)
    tally = b"".join(struct.pack("52sHHQ", b"192.0.2.7", 0, 1, int(time.time())) for _ in range(2))
    (counts / "pat").write_bytes(tally)
    uid = pwd.getpwnam("pat").pw_uid
    for owner, mode in ((0, 0o660), (uid, 0o660), (uid, 0o600)):
        os.chown(counts / "pat", owner, 0)
        os.chmod(counts / "pat", mode)
        pathlib.Path("/etc/pam.d/postern-test").write_text(
            "auth required pam_faillock.so preauth dir=%s deny=3\nauth sufficient %s/fine.so\nauth required pam_faillock.so authsucc dir=%s deny=3\n"
            "account required pam_faillock.so dir=%s\naccount required %s/fine.so\n" % (counts, authd.dir, counts, counts, authd.dir))
        app = json.loads(authd.user("app-password", "add", "pat", "--name", "phone", "--json").stdout)["password"]
        assert login(authd, "pat", app)[0] == "OK"
        assert (counts / "pat").read_bytes() == tally
        assert login(authd, "pat", "main-%d-%o" % (owner, mode))[0] == "OK"
        assert (counts / "pat").read_bytes() == tally
        authd.user("app-password", "del", "pat", "--all")
    (counts / "pat").write_bytes(tally + tally[:64])
    assert login(authd, "pat", "main again")[0] == "OK", "so it shuts nobody out, either: it cannot read its file"
