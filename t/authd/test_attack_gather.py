"""A gatherer that was taken over (it loads name service modules) says what it likes; root writes accounts.cdb from it, and becomes those users."""
import os
import signal
import subprocess
import sysconfig

def row(name, uid, gid, home=None, virtual=0):
    return dict(name=name, uid=uid, gid=gid, virtual=virtual, disabled=0, **({"home": home} if home else {}))


def test_only_what_passwd_allows_is_installed(make_authd):
    a = make_authd(virtual_uid_base="200000")
    for name in ("ann", "ben"):
        subprocess.run(["useradd", "-m", "-d", str(a.base / name), "-U", name], check=False, stderr=subprocess.DEVNULL)
    ann = [int(subprocess.check_output(["id", o, "ann"])) for o in ("-u", "-g")]
    ben = [int(subprocess.check_output(["id", o, "ben"])) for o in ("-u", "-g")]
    rows = [row("ann", ann[0], ann[1], str(a.base / "ann")),	# the only true one
            row("ben", ben[0], 6, str(a.base / "ben")), row("Ben", ben[0], 42, str(a.base / "ben")), row("ben", ben[0] + 5000, 5000, "/"),
            row("eve", ben[0], ben[1], str(a.base / "ben")), row("eve", 5001, 6, "/home/eve"), row("eve@example.com", 200001, 6, virtual=1)]
    a.gathers(rows)
    a.start()
    a.wait_log("accounts: 1 installed, 6 left out")
    cdb = (a.state / "accounts.cdb").read_bytes()
    assert str(a.base / "ann").encode() in cdb and b"eve" not in cdb and b"ben" not in cdb


def test_a_home_with_a_final_slash_is_a_home(make_authd):
    a = make_authd()
    subprocess.run(["useradd", "-m", "-d", str(a.base / "cay") + "/", "-U", "cay"], check=False, stderr=subprocess.DEVNULL)
    a.start()
    a.wait_log("installed")
    assert (str(a.base / "cay") + "/Maildir").encode() in (a.state / "accounts.cdb").read_bytes(), a.log()


# --- name services that are away: an account that is not listed loses its sessions, and its mail is refused ---

def reload(a):
    a.mark()
    os.kill(a.monitor_pid(), signal.SIGHUP)


def installed(a):
    cdb = (a.state / "accounts.cdb").read_bytes()
    return [n for n in ("own@example.com", "eve", "fay", "gus") if n.encode() in cdb]


def test_accounts_do_not_vanish_with_their_name_service(make_authd):
    a = make_authd(virtual_uid_base="200000")
    own = row("own@example.com", 200001, 200001, virtual=1)
    eve, fay, gus = (row(n, uid, uid, "/home/" + n) for n, uid in (("eve", 70001), ("fay", 70002), ("gus", 70003)))
    a.gathers([own, eve, fay])
    a.start()
    a.wait_log("accounts: 3 installed")
    a.gathers([own])
    reload(a)
    a.wait_log("name services list none of the 2 accounts that they had")
    assert installed(a) == ["own@example.com", "eve", "fay"]
    a.gathers([own, eve], trouble="it broke off")
    a.wait_log("it broke off; 1 accounts of name services would be missing")      # without a reload: it is tried again
    assert a.log().count("name services list none of") == 1, "and told once\n" + a.log()
    assert installed(a) == ["own@example.com", "eve", "fay"]
    a.gathers([own, eve, fay, gus], trouble="it broke off")
    reload(a)
    a.wait_log("accounts: 4 installed")      # none is missing
    a.gathers([own, eve])
    reload(a)
    a.wait_log("accounts: 2 installed")      # two were removed there
    a.stop()
    a.gathers([own], trouble="it broke off")
    a.mark()
    a.start(gathers="it broke off; 1 accounts")      # and nothing was lost when authd ended
    a.stop()
    (a.state / "accounts.cdb").unlink()
    a.mark()
    a.start(gathers="it broke off; 0 accounts")      # there may be more: nobody is told that there are not
    a.gathers([own])
    reload(a)
    a.wait_log("accounts: 1 installed")


MODULE = """
#include <errno.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
static struct passwd all[] = { { "eve", "x", 70001, 70001, "", "/home/eve", "/bin/sh" }, { "fay", "x", 70002, 70002, "", "/home/fay", "/bin/sh" } };
static int next;
enum nss_status _nss_hesiod_setpwent(int stay) { next = 0; return NSS_STATUS_SUCCESS; }
enum nss_status _nss_hesiod_endpwent(void) { return NSS_STATUS_SUCCESS; }
static int breaks(void)
{
	char line[200] = "";
	FILE *f = fopen("/etc/nsswitch.conf", "r");
	int r = f && fgets(line, sizeof line, f) && strstr(line, "breaks");
	if (f)
		fclose(f);
	return r;
}
enum nss_status _nss_hesiod_getpwent_r(struct passwd *out, char *buf, size_t n, int *why)
{
	if (next == 1 && breaks()) {
		*why = ETIMEDOUT;
		return NSS_STATUS_UNAVAIL;
	}
	if (next == 2) {
		*why = ENOENT;
		return NSS_STATUS_NOTFOUND;
	}
	*out = all[next++];
	return NSS_STATUS_SUCCESS;
}
"""


def test_a_name_service_that_breaks_off_is_not_at_its_end(make_authd, tmp_path):
    a = make_authd()
    switch, source, module = a.base / "nsswitch.conf", tmp_path / "module.c", a.base / "module.so"
    source.write_text(MODULE)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", module, source], check=True)
    switch.write_text("passwd: files hesiod\n")
    os.chmod(switch, 0o644)
    place = "/lib/%s/libnss_hesiod.so.2" % sysconfig.get_config_var("MULTIARCH")
    a.start(within=["unshare", "--mount", "sh", "-ec", 'mount --bind "$1" /etc/nsswitch.conf; mount --bind "$2" "$3"; shift 3; exec "$@"', "sh", switch, module, place])
    a.wait_log("installed")
    assert installed(a) == ["eve", "fay"], a.log()
    switch.write_text("passwd: files hesiod # breaks\n")
    reload(a)
    a.wait_log("passwd(5) could not be read to its end")
    a.wait_log("1 accounts of name services would be missing")
    assert installed(a) == ["eve", "fay"]
