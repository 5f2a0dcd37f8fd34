"""Outgoing mail meets what others run: Debian's dnsmasq as the name server, Debian's Postfix as the receiver."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from remotescene import Scene  # noqa: E402
from waiting import until  # noqa: E402

NAMES, PEER, DOMAIN = "127.0.9.53", "127.0.60.90", "peer.example"


@pytest.fixture(scope="module")
def scene():
    s = Scene(dns_servers="%s:53" % NAMES)
    dns = subprocess.Popen(["dnsmasq", "-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--listen-address=" + NAMES, "--bind-interfaces", "--user=root", "--pid-file=",
                            "--local=/example/", "--mx-host=%s,mx.%s,10" % (DOMAIN, DOMAIN), "--host-record=mx.%s,%s" % (DOMAIN, PEER),
                            "--mx-host=null.example,.,0", "--cname=alias.example,mx.%s" % DOMAIN], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    s.start()
    s.peer = Postfix(s)
    yield s
    s.peer.stop()
    dns.terminate()
    dns.wait()
    s.close()


class Postfix:
    def __init__(self, scene):
        scratch = pathlib.Path(os.environ["POSTERN_SCRATCH"])
        context = scene.tls("mx." + DOMAIN)
        self.box = scratch / "peer-boxes"
        self.box.mkdir()
        os.chown(self.box, 65534, 65534)
        spool, data, etc = scratch / "peer-spool", scratch / "peer-data", pathlib.Path("/etc/postfix")
        subprocess.run(["cp", "-a", "/var/spool/postfix", spool], check=True)
        subprocess.run(["mount", "--bind", spool, "/var/spool/postfix"], check=True)
        data.mkdir()
        shutil.chown(data, "postfix")
        pem = etc / "peer.pem"
        pem.write_text((scene.maps / "k.pem").read_text() + context.cert.read_text())
        (etc / "boxes").write_text("bob@%s bob/\n\u00fcser@%s eai/\n" % (DOMAIN, DOMAIN))
        (etc / "main.cf").write_text(
            "compatibility_level = 3.6\ndata_directory = %s\nmyhostname = mx.%s\nmydestination =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nalias_maps =\nmynetworks =\n"
            "smtpd_relay_restrictions = reject_unauth_destination\nvirtual_mailbox_domains = %s\nvirtual_mailbox_maps = texthash:%s/boxes\nvirtual_mailbox_base = %s\n"
            "virtual_uid_maps = static:65534\nvirtual_gid_maps = static:65534\nvirtual_mailbox_limit = 0\nmessage_size_limit = 200000\nsmtpd_tls_chain_files = %s\n"
            "smtpd_tls_security_level = may\nsmtputf8_enable = yes\nmaillog_file = /var/spool/postfix/maillog\nmaillog_file_prefixes = /var\n"
            % (data, DOMAIN, DOMAIN, etc, self.box, pem))
        master = etc / "master.cf"
        master.write_text(re.sub(r"(?m)^smtp +inet", "%s:25 inet" % PEER, master.read_text()))
        subprocess.Popen(["postfix", "start-fg"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.log = spool / "maillog"
        until(lambda: self.log.exists() and "daemon started" in self.log.read_text(errors="replace"))

    def copies(self, user, n=1):
        def here():
            files = sorted((self.box / user / "new").glob("*"), key=lambda p: p.stat().st_mtime) if (self.box / user / "new").exists() else []
            return files if len(files) >= n else None
        return [f.read_bytes() for f in until(here)]

    def stop(self):
        subprocess.run(["postfix", "stop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


TRICKY = "Subject: t\r\n\r\n..dot\r\n.\r\n..\r\nFrom here\r\n\u00fcmlaut\r\n%s\r\nend\r\n" % ("x" * 900)


def test_a_message_arrives_as_it_was(scene):
    text = TRICKY.replace("\r\n.\r\n", "\r\n..\r\n").encode()
    scene.log(scene.send("bob@" + DOMAIN, body=text, options=["BODY=8BITMIME"]), r"relay=mx\.peer\.example\[127\.0\.60\.90\]:25, .*status=sent \(250 2\.0\.0 Ok: queued as")
    data = scene.peer.copies("bob")[-1].replace(b"\r\n", b"\n")
    assert data.endswith(text.split(b"\r\n\r\n", 1)[1].replace(b"\r\n", b"\n"))
    assert scene.suite.logged(r"Verified TLS connection established to mx\.peer\.example\[127\.0\.60\.90\]:25: TLSv1\.3")


def test_an_unknown_user_bounces(scene):
    scene.log(scene.send("nobody@" + DOMAIN, sender=""), r"dsn=5\.1\.1, status=bounced \(host mx\.peer\.example\[127\.0\.60\.90\] said: 550 5\.1\.1 <nobody@peer\.example>")


def test_a_message_that_is_too_large_is_not_even_sent(scene):
    scene.log(scene.send("bob@" + DOMAIN, sender="", body="x" * 900 + ("\r\n" + "y" * 900) * 300), r"dsn=5\.3\.4, status=bounced \(message size \d+ exceeds size limit 200000 of server")


def test_an_international_address(scene):
    qid = scene.send("\u00fcser@" + DOMAIN, options=["SMTPUTF8"])
    scene.log(qid, "status=sent")
    assert b"hello" in scene.peer.copies("eai")[-1]


def test_several_messages_share_a_connection(scene):
    before = scene.peer.log.read_text(errors="replace").count(": connect from")
    for _ in range(5):
        scene.log(scene.send("bob@" + DOMAIN), "status=sent")
    assert scene.peer.log.read_text(errors="replace").count(": connect from") - before <= 2


def test_notifications_are_passed_on(scene):
    qid = scene.send("bob@" + DOMAIN, options=["RET=HDRS", "ENVID=abc"], rcpt_options=["NOTIFY=NEVER", "ORCPT=rfc822;bob@peer.example"])
    line = scene.log(qid, "status=sent")
    remote = re.search(r"queued as (\w+)", line).group(1)
    until(lambda: re.search(r"%s: removed" % remote, scene.peer.log.read_text(errors="replace")))
    assert not re.search(r"%s: sender delivery status notification" % remote, scene.peer.log.read_text(errors="replace"))


def test_a_null_mx_of_dnsmasq(scene):
    scene.log(scene.send("a@null.example", sender=""), r"dsn=5\.(1\.10|4\.4), status=bounced")


def test_a_name_that_does_not_exist(scene):
    scene.log(scene.send("a@nowhere.example", sender=""), r"dsn=5\.4\.4, status=bounced \(Host or domain name not found")


def test_an_alias_without_mx(scene):
    """CNAME to a host with an address alone: that host (RFC 5321 5.1)."""
    scene.log(scene.send("a@alias.example", sender=""), r"relay=\S+\[127\.0\.60\.90\]:25, .*dsn=5\.7\.1, status=bounced .*Relay access denied")
