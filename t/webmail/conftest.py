"""A suite of its own with the webmail that `postern webmail setup` makes: nginx and php-fpm run in the test's namespace, on private copies of the places
that they write to. Nothing of the machine's own web server is touched."""
import contextlib
import http.client
import itertools
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

import suite as suite_module

SCRATCH = pathlib.Path(os.environ.get("POSTERN_SCRATCH", "/nonexistent"))
numbers = itertools.count(1)
NAMES = ["mail.example.com", "webmail.example.com", "autoconfig.example.com", "autodiscover.example.com", "mail.example.net", "mailstats.example.com"]


def machine():
    """What the packages' daemons need of a machine, without its own state."""
    suite_module.private("/run")
    for d in ("/run/php", "/run/lock"):
        os.mkdir(d)
    suite_module.private("/var/lib/roundcube", copy=True)
    suite_module.private("/var/log")
    suite_module.private("/var/lib/nginx")
    os.mkdir("/var/log/nginx")
    with open("/etc/hosts", "a") as f:
        f.write("127.0.0.1 %s\n" % " ".join(NAMES))


def runs(pid):
    """A daemon that ended stays a zombie: the first process of the namespace is not its parent's heir by trade."""
    try:
        return pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def nginx_workers():
    """Those of the running master, also those that a reload has told to finish."""
    try:
        master = pathlib.Path("/run/nginx.pid").read_text().strip()
        return [int(pid) for pid in pathlib.Path("/proc/%s/task/%s/children" % (master, master)).read_text().split()]
    except OSError:
        return []


@contextlib.contextmanager
def reloading():
    """with reloading(): what reloads nginx. At its end none is left of the workers from before, which still answer for a while, as they were told then."""
    before = nginx_workers()
    yield
    end = time.monotonic() + 60
    while any(map(runs, before)):
        assert time.monotonic() < end, "nginx: workers of the old configuration do not end"
        time.sleep(0.02)


class Webmail:
    reloading = staticmethod(reloading)

    def __init__(self, suite):
        self.suite = suite

    def command(self, *args, check=True):
        with reloading() if check and args[0] in ("setup", "remove") else contextlib.nullcontext():
            p = suite_module.run([self.suite.bin / "postern", "-c", self.suite.conf, "webmail", *args], check=False)
            assert not check or p.returncode == 0, p.stdout.decode()
        out = p.stdout.decode()
        return out if check else (p.returncode, out)

    def get(self, url, method="GET", body=None, headers=None):
        """(status, headers, body) of one request; certificates are checked with the suite's."""
        scheme, host, path = re.fullmatch(r"(https?)://([^/]+)(/.*)", url).groups()
        context = self.suite.tls_context()
        context.check_hostname = host == "mail.example.com"     # the only name in the certificate
        c = http.client.HTTPSConnection(host, context=context, timeout=30) if scheme == "https" else http.client.HTTPConnection(host, timeout=20)
        try:
            c.request(method, path, body=body, headers=headers or {})
            r = c.getresponse()
            return r.status, dict((k.lower(), v) for k, v in r.getheaders()), r.read()
        finally:
            c.close()

    def trouble(self):
        text = self.suite.trouble()
        for f in sorted(pathlib.Path("/var/log").rglob("*")):
            if f.is_file() and f.stat().st_size:
                text += "--- %s\n%s\n" % (f, f.read_bytes()[-3000:].decode("utf-8", "replace"))
        return text

    def stop(self):
        for pidfile in ("/run/nginx.pid", "/run/php/php8.2-fpm.pid"):
            try:
                pid = int(pathlib.Path(pidfile).read_text())
                os.kill(pid, signal.SIGTERM)
            except (OSError, ValueError):
                continue
            end = time.monotonic() + 30
            while runs(pid) and time.monotonic() < end:
                time.sleep(0.02)


@pytest.fixture(scope="module")
def webmail():
    """The webmail, set up once; users alice and bob."""
    machine()
    s = suite_module.Suite(SCRATCH / ("web%d" % next(numbers)), build=os.environ.get("POSTERN_BUILD", "dev"), real_ports=True, hosts=("127.0.88.1",),
                           settings={"auth_fail_address_max": 3})
    s.extra_settings = {}       # what loopback may do is the setup's to say
    s.host = s.hosts[0]
    s.make()
    s.passwords = {}
    for u in ("alice@example.com", "bob@example.com"):
        s.passwords[u] = u.split("@")[0] + "-secret"
        s.user_add(u, s.passwords[u])
    s.start()
    w = Webmail(s)
    w.first = w.command("setup", "--no-install", "example.net")
    yield w
    w.stop()
    s.stop()
