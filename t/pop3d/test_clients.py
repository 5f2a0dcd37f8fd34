"""Clients that people use: Python's poplib, curl, fetchmail; over TLS, with what they do to a maildrop."""
import os
import poplib
import shutil
import subprocess

import pytest

MAILS = [b"From: a@b\nTo: c@d\nSubject: %d\nMessage-ID: <%d@x>\nDate: Mon, 02 Jan 2006 15:04:05 +0000\n\n.dot\n%s" % (i, i, b"0123456789012345678901234567890123456789\n" * i * 30) for i in range(5)]


def crlf(m):
    return m.replace(b"\n", b"\r\n")


def test_poplib(drop):
    d = drop(*MAILS)
    context = d.suite.tls_context()
    context.check_hostname = False
    p = poplib.POP3(d.suite.host, d.suite.port("POP3"), timeout=30)
    p.stls(context)
    p.utf8() if "UTF8" in p.capa() else None
    p.user(d.name)
    p.pass_(d.password)
    assert p.stat() == (5, sum(len(crlf(m)) for m in MAILS))
    assert [b"\r\n".join(p.retr(i + 1)[1]) + b"\r\n" for i in range(5)] == [crlf(m) for m in MAILS]
    assert b"\r\n".join(p.top(5, 1)[1]).endswith(b"\r\n\r\n.dot")
    assert len({x.split()[1] for x in p.uidl()[1]}) == 5
    p.dele(2)
    p.quit()
    assert len(d.files()) == 4


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl")
def test_curl(drop):
    d = drop(*MAILS)
    base = ["curl", "-sS", "-k", "--max-time", "30", "--user", "%s:%s" % (d.name, d.password)]
    for url, options in (("pop3s://%s:%d/" % (d.suite.host, d.suite.port("POP3S")), []), ("pop3://%s:%d/" % (d.suite.host, d.suite.port("POP3")), ["--ssl-reqd"])):
        listing = subprocess.run(base + options + [url], capture_output=True, timeout=60)
        assert listing.stdout.decode().split()[0::2] == ["1", "2", "3", "4", "5"], listing
        assert subprocess.run(base + options + [url + "3"], capture_output=True, timeout=60).stdout == crlf(MAILS[2])
    uidl = subprocess.run(base + ["--ssl-reqd", "-X", "UIDL", url], capture_output=True, timeout=60).stdout.split()
    assert len(uidl) == 10


@pytest.mark.skipif(not shutil.which("fetchmail"), reason="no fetchmail")
def test_fetchmail_keeps_then_takes(drop, tmp_path):
    """The ids of the first run keep the second from fetching anything again; without keep the maildrop is empty afterwards."""
    d = drop(*MAILS)
    rc, out = tmp_path / "rc", tmp_path / "out"
    script = tmp_path / "mda"
    script.write_text("#!/bin/sh\ncat >>%s\necho END >>%s\n" % (out, out))
    script.chmod(0o755)

    def fetch(options):
        rc.write_text('poll %s protocol POP3 service %d uidl username "%s" password "%s" %s ssl sslproto TLS1.2+ no sslcertck mda "%s"\n'
                      % (d.suite.host, d.suite.port("POP3S"), d.name, d.password, options, script))
        rc.chmod(0o600)
        env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "FETCHMAILHOME": str(tmp_path)}
        return subprocess.run(["fetchmail", "-f", str(rc), "--idfile", str(tmp_path / "ids"), "--pidfile", str(tmp_path / "pid")], env=env,
                              capture_output=True, timeout=60)
    p = fetch("keep")
    assert p.returncode == 0, p
    assert out.read_bytes().count(b"\nEND\n") == 5 and len(d.files()) == 5
    assert fetch("keep").returncode == 1        # nothing new
    d.put(MAILS[0])
    assert fetch("nokeep").returncode == 0
    assert out.read_bytes().count(b"\nEND\n") == 6
    assert fetch("nokeep fetchall").returncode in (0, 1) and len(d.files()) == 0
