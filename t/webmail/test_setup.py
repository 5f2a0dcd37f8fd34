"""postern webmail: setup, again, what is served under which name, what is not, whose processes run, for whom the webmail logs in; remove."""
import concurrent.futures
import html
import os
import pathlib
import pwd
import re
import shutil
import stat
import subprocess
import time
import urllib.parse
import xml.etree.ElementTree as ET

from suite import private

ETC = pathlib.Path(__file__).resolve().parent.parent.parent / "etc"
HTTPS = "https://mail.example.com"


def test_the_login_page(webmail):
    status, _, body = webmail.get(HTTPS + "/")
    assert status == 200 and b"rcmloginuser" in body and b"<?php" not in body, webmail.trouble()
    assert "the webmail is at https://mail.example.com/" in webmail.first


def test_names_lead_to_the_one(webmail):
    for url in ("http://mail.example.com/", "http://webmail.example.com/", "https://webmail.example.com/", "http://mail.example.net/", "https://mail.example.net/",
                "http://autoconfig.example.com/"):
        status, headers, _ = webmail.get(url)
        assert (status, headers["location"]) == (301, HTTPS + "/"), url
    assert webmail.get("http://webmail.example.com/?_task=mail&_mbox=INBOX")[1]["location"] == HTTPS + "/?_task=mail&_mbox=INBOX"


def test_nothing_else_is_served(webmail):
    for path in ("/config/config.inc.php", "/config.inc.php", "/logs/errors.log", "/temp/", "/installer/", "/SQL/sqlite.initial.sql", "/program/lib/Roundcube/rcube.php",
                 "/plugins/postern_client/postern_client.php", "/plugins/archive/archive.php", "/.htaccess", "/skins/../config/config.inc.php", "/index.php/x.php",
                 "/bin/updatedb.sh", "/skins/"):
        status, _, body = webmail.get(HTTPS + path)
        assert status in (400, 403, 404) and b"<?php" not in body, path
    assert webmail.get(HTTPS + "/skins/elastic/images/logo.svg")[0] == 200


def test_autoconfig(webmail):
    seen = set()
    for url in ("http://autoconfig.example.com/mail/config-v1.1.xml?emailaddress=alice%40example.com", "https://autoconfig.example.com/mail/config-v1.1.xml",
                "http://mail.example.com/.well-known/autoconfig/mail/config-v1.1.xml", HTTPS + "/.well-known/autoconfig/mail/config-v1.1.xml"):
        status, headers, body = webmail.get(url)
        assert status == 200 and headers["content-type"].startswith("text/xml"), url
        seen.add(body)
    assert len(seen) == 1
    provider = ET.fromstring(seen.pop()).find("emailProvider")
    assert {d.text for d in provider.iter("domain")} == {"example.com", "example.net"}
    servers = [(s.tag, s.get("type"), int(s.find("port").text), s.find("socketType").text) for s in provider if s.tag.endswith("Server")]
    assert servers == [("incomingServer", "imap", 993, "SSL"), ("incomingServer", "imap", 143, "STARTTLS"), ("incomingServer", "pop3", 995, "SSL"),
                       ("incomingServer", "pop3", 110, "STARTTLS"), ("outgoingServer", "smtp", 465, "SSL"), ("outgoingServer", "smtp", 587, "STARTTLS")]
    assert {s.find("username").text for s in provider if s.tag.endswith("Server")} == {"%EMAILADDRESS%"}
    assert {s.find("hostname").text for s in provider if s.tag.endswith("Server")} == {"mail.example.com"}


def discover(webmail, body, path="/autodiscover/autodiscover.xml"):
    return webmail.get("https://autodiscover.example.com" + path, "POST", body, {"Content-Type": "text/xml"})


def test_autodiscover(webmail):
    ask = "<Autodiscover><Request><EMailAddress>o'alice+x&amp;@example.com</EMailAddress></Request></Autodiscover>"
    assert discover(webmail, ask)[0] == 400, "only what may be an address"
    ask = ask.replace("o'alice+x&amp;", "alice")
    for path in ("/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml"):
        status, _, body = discover(webmail, ask, path)
        assert status == 200, webmail.trouble()
        a = "{http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a}"
        got = [(p.find(a + "Type").text, p.find(a + "Port").text, p.find(a + "LoginName").text, p.find(a + "SSL").text) for p in ET.fromstring(body).iter(a + "Protocol")]
        assert got == [("IMAP", "993", "alice@example.com", "on"), ("POP3", "995", "alice@example.com", "on"), ("SMTP", "465", "alice@example.com", "on")]
    entity = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><EMailAddress>&e;@example.com</EMailAddress>'
    assert discover(webmail, entity)[0] == 400
    assert discover(webmail, "x" * 20000)[0] == 413
    assert webmail.get("https://autodiscover.example.com/autodiscover/autodiscover.xml")[0] == 405


def test_again_changes_nothing(webmail):
    places = [pathlib.Path(p) for p in ("/etc/nginx/sites-available", "/etc/php/8.2/fpm/pool.d", webmail.suite.base / "etc" / "webmail")] + [webmail.suite.conf]
    look = lambda: {f: (f.stat().st_mtime_ns, f.read_bytes()) for p in places for f in ([p] if p.is_file() else p.iterdir())}
    before = look()
    out = webmail.command("setup", "--no-install", "example.net")
    assert look() == before and "written" not in out and "linked" not in out, out
    assert webmail.get(HTTPS + "/")[0] == 200
    assert "missing" not in webmail.command("status")


def test_dns_is_told(webmail):
    for line in ("webmail.example.com. IN CNAME mail.example.com.", "autoconfig.example.net. IN CNAME mail.example.com.",
                 "_autodiscover._tcp.example.com. IN SRV 0 1 443 mail.example.com."):
        assert line in webmail.first.splitlines()
    assert "mail.example.com. IN CNAME" not in webmail.first.splitlines()
    srv = webmail.suite.tool("postern", "setup", "--dns", "example.com").stdout.decode()
    assert "_imaps._tcp.example.com. IN SRV 0 1 993 mail.example.com." in srv, "RFC 6186"


def test_php_is_nobody_else(webmail):
    config = webmail.suite.base / "etc" / "webmail" / "config.inc.php"
    assert stat.S_IMODE(config.stat().st_mode) == 0o640, "it holds the key of the sessions' passwords"
    web = pwd.getpwnam("_postern_web").pw_uid
    webmail.get(HTTPS + "/")
    workers = [p for p in pathlib.Path("/proc").iterdir() if p.name.isdigit() and b"pool postern-webmail" in (p / "cmdline").read_bytes()]
    assert workers and all(p.stat().st_uid == web for p in workers)
    assert (webmail.suite.state / "webmail" / "data").stat().st_uid == web


class Browser:
    """Just enough of one to log in, from an address of its own."""

    def __init__(self, webmail, source, number=9):
        self.jar = str(webmail.suite.base / ("jar-%s-%d" % (source, number)))
        self.argv = ["curl", "-sS", "--interface", source, "--cacert", str(webmail.suite.ca), "-b", self.jar, "-c", self.jar]

    def fetch(self, *args):
        return subprocess.run([*self.argv, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=True).stdout.decode("utf-8", "replace")

    def login(self, user, password):
        page = self.fetch(HTTPS + "/?_task=login")
        token = html.unescape(re.search(r'name="_token" value="([^"]+)"', page).group(1))
        form = {"_token": token, "_task": "login", "_action": "login", "_timezone": "UTC", "_url": "", "_user": user, "_pass": password}
        return self.fetch("-D", "-", "-o", "/dev/null", "-d", urllib.parse.urlencode(form), HTTPS + "/?_task=login")


def test_failures_count_for_the_browser(webmail):
    """The webmail's own address is neither throttled nor logged for what its users do."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:      # each failure is answered late
        list(pool.map(lambda i: Browser(webmail, "127.0.0.66", i).login("ghost%d" % i, "wrong"), range(4)))
    webmail.suite.logged(r"login failed: .*rip=127\.0\.0\.66 .*user=\"ghost\d@example\.com\"")
    webmail.suite.logged(r"imap-login: .*auth failed.*user=<ghost\d@example\.com>.*rip=127\.0\.0\.66,")     # what log watchers act on
    assert not re.search(r"auth failed.*rip=127\.0\.0\.1,", webmail.suite.log.read_text(errors="replace"))
    refused = Browser(webmail, "127.0.0.66").login("alice", "alice-secret")
    assert "302" not in refused.split("\n")[0], "the browser's address is shut out for a while: " + refused
    good = Browser(webmail, "127.0.0.67").login("alice", "alice-secret")
    assert "302" in good.split("\n")[0] and "_task=mail" in good, good + webmail.trouble()


def test_statistics_are_for_the_own_network(webmail):
    """etc/awstats/nginx.conf beside the webmail's site."""
    private("/var/cache/awstats")
    page = pathlib.Path("/var/cache/awstats/mail/2026/11/index.en.html")
    page.parent.mkdir(parents=True)
    page.write_text("statistics of November")
    site = pathlib.Path("/etc/nginx/sites-enabled/mailstats")
    shutil.copy(ETC / "awstats" / "nginx.conf", site)
    try:
        with webmail.reloading():
            subprocess.run(["nginx", "-s", "reload"], check=True, stderr=subprocess.DEVNULL)
        assert b"2026/" in webmail.get("http://mailstats.example.com/")[2]
        assert webmail.get("http://mailstats.example.com/2026/11/")[2] == b"statistics of November"
        assert webmail.get("http://mailstats.example.com/awstats-icon/other/vp.png")[0] == 200
        assert Browser(webmail, "127.0.0.66").fetch("-o", "/dev/null", "-w", "%{http_code}", "http://mailstats.example.com/2026/11/") == "403"
    finally:
        site.unlink()


def test_remove(webmail):
    """Last: it is gone, the suite runs, address books are kept, and setup brings it back as it was."""
    conf = webmail.suite.conf.read_text()
    assert "webmail_hosts" in conf
    out = webmail.command("remove")
    assert "removed" in out and "webmail_hosts" not in webmail.suite.conf.read_text()
    assert not os.path.lexists("/etc/nginx/sites-enabled/postern-webmail") and not os.path.lexists("/var/lib/roundcube/plugins/postern_client")
    assert (webmail.suite.state / "webmail" / "data" / "roundcube.sqlite").exists()
    assert webmail.command("status", check=False)[0] == 1
    webmail.command("setup", "--no-install", "example.net")
    assert webmail.suite.conf.read_text() == conf and webmail.get(HTTPS + "/")[0] == 200
    out = webmail.command("remove", "--purge")
    assert not (webmail.suite.state / "webmail").exists(), out


def test_what_it_needs_is_said(webmail):
    """A configuration that it cannot serve is refused before anything is touched."""
    s = webmail.suite
    text = s.conf.read_text()
    for old, new, said in ((r"(?m)^imap_listeners.*$", "imap_listeners = 993/imaps", "imap_listeners"), (r"(?m)^smtp_listeners.*$", "smtp_listeners = 25/smtp", "smtp_listeners"),
                           (r"(?m)^tls_cert_file.*$", "tls_cert_file = /nonexistent", "tls_cert_file")):
        other = s.base / "etc" / "other.conf"
        other.write_text(re.sub(old, new, text))
        p = subprocess.run([s.bin / "postern", "-c", other, "webmail", "setup", "--no-install"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        assert p.returncode == 1 and said in p.stdout.decode(), p.stdout
        assert "written" not in p.stdout.decode() and text == s.conf.read_text()
    for args in (("setup", "-x"), ("setup", "a|b"), (), ("explode",)):
        assert webmail.command(*args, check=False)[0] == 2, args
