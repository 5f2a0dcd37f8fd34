"""Debian's OpenSMTPD as a peer. Its package conflicts with Postfix's, so t/deps only unpacks it. Needs a mount namespace (t/run-system): it insists on some
directories of the machine. opensmtpd.MISSING says why it cannot run, or is None."""
import os
import pathlib
import pwd
import signal
import subprocess

import suite as suite_module

PLACE = pathlib.Path("/usr/local/lib/postern-tests/opensmtpd")
SMTPD = PLACE / "usr" / "sbin" / "smtpd"


def missing():
    if not SMTPD.exists():
        return "OpenSMTPD is not there (t/deps check)"
    lost = [line.split()[0] for line in suite_module.run(["ldd", SMTPD]).stdout.decode().splitlines() if "not found" in line]
    return "OpenSMTPD lacks " + " ".join(lost) if lost else None


MISSING = missing()


def over(path, scratch):
    """The directory, with changes that only this namespace sees."""
    name = path.strip("/").replace("/", "-")
    upper, work = scratch / (name + "-upper"), scratch / (name + "-work")
    upper.mkdir()
    work.mkdir()
    suite_module.run(["mount", "-t", "overlay", "overlay", "-o", "lowerdir=%s,upperdir=%s,workdir=%s" % (path, upper, work), path])


def make_users():
    """In this namespace's /etc."""
    for user in ("opensmtpd", "opensmtpq"):
        suite_module.run(["useradd", "--system", "--no-create-home", "--home-dir", "/var/lib/opensmtpd/empty", "--shell", "/usr/sbin/nologin", "--user-group", user])


def make_spool(spool):
    for name, mode, user in (("", 0o711, "root"), ("offline", 0o770, "root"), ("purge", 0o700, "opensmtpq")):
        d = spool / name
        d.mkdir(parents=True)
        os.chown(d, pwd.getpwnam(user).pw_uid, pwd.getpwnam("opensmtpq").pw_gid if name == "offline" else 0)
        os.chmod(d, mode)


class Server:
    """It hands all mail for domain to the server at next_hop (an address, port 25). certificate: PEM files of chain and key, or None: no TLS."""

    def __init__(self, scratch, address, domain, next_hop, certificate=None):
        scratch = pathlib.Path(scratch)
        scratch.mkdir()
        for d in ("/var/spool", "/var/lib"):
            over(d, scratch)
        suite_module.run(["mount", "-t", "tmpfs", "tmpfs", "/run"])
        pathlib.Path("/var/lib/opensmtpd/empty").mkdir(parents=True)
        make_users()
        make_spool(pathlib.Path("/var/spool/smtpd"))
        pki = ""
        if certificate:
            pki = 'pki "%s" cert "%s"\npki "%s" key "%s"\n' % (domain, certificate[0], domain, certificate[1])
        conf = scratch / "smtpd.conf"
        conf.write_text('%slisten on %s %shostname "mx.%s"\naction "on" relay host "smtp://%s"\nmatch from any for domain "%s" action "on"\n'
                        % (pki, address, 'tls pki "%s" ' % domain if certificate else "", domain, next_hop, domain))
        os.chmod(conf, 0o644)
        self.log = scratch / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([str(SMTPD), "-d", "-v", "-f", str(conf)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()
