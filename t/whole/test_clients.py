"""Debian's own clients against the running suite: curl, swaks, mutt, fetchmail, mbsync, Python's libraries."""
import imaplib
import os
import shutil
import subprocess

import mailtools
import pytest


def run(argv, check=True, **kw):
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, **kw)
    if check:
        assert p.returncode == 0, p.stdout.decode("utf-8", "replace")
    return p.stdout.decode("utf-8", "replace")


def need(program):
    assert shutil.which(program), "%s is missing: t/deps check installs it" % program


def test_curl_submits_and_reads_back(suite, mail, tmp_path):
    need("curl")
    mid = "<curl-%s@test.example>" % os.urandom(6).hex()
    letter = tmp_path / "letter"
    letter.write_text("From: alice@example.com\r\nTo: bob@example.com\r\nMessage-ID: %s\r\nSubject: curl\r\n\r\nhello\r\n" % mid)
    common = ["curl", "-sS", "--cacert", str(suite.ca)]
    run(common + ["--url", "smtps://localhost:%d" % suite.port("SUBMISSIONS"), "--user", "alice@example.com:alice-secret",
                  "--mail-from", "alice@example.com", "--mail-rcpt", "bob@example.com", "--upload-file", str(letter)])
    run(common + ["--ssl-reqd", "--url", "smtp://localhost:%d" % suite.port("SUBMISSION"), "--user",
                  "alice@example.com:alice-secret", "--mail-from", "alice@example.com", "--mail-rcpt", "bob@example.com",
                  "--upload-file", str(letter)])
    mail.wait_for(mid)
    got = run(common + ["--url", "imaps://localhost:%d/INBOX?HEADER%%20MESSAGE-ID%%20%s" % (suite.port("IMAPS"), mid.strip("<>")),
                        "--user", "bob@example.com:bob-secret"])
    assert got.startswith("* SEARCH ") and len(got.split()) >= 3
    got = run(common + ["--url", "pop3s://localhost:%d/" % suite.port("POP3S"), "--user", "bob@example.com:bob-secret"])
    assert got.strip()
    got = run(common + ["--ssl-reqd", "--url", "imap://localhost:%d/" % suite.port("IMAP"), "--user",
                        "bob@example.com:bob-secret"])
    for folder in ("INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"):
        assert folder in got


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_submits_with_starttls(suite, mail, mechanism):
    need("swaks")
    mid = "<swaks-%s@test.example>" % os.urandom(6).hex()
    out = run(["swaks", "--server", "localhost", "--port", str(suite.port("SUBMISSION")), "--tls", "--tls-ca-path", str(suite.ca),
               "--auth", mechanism, "--auth-user", "alice@example.com", "--auth-password", "alice-secret", "--from",
               "alice@example.com", "--to", "bob@example.com", "--header", "Message-Id: " + mid])
    assert "250 2.0.0" in out
    mail.wait_for(mid)


def test_swaks_says_what_is_refused(suite):
    need("swaks")
    out = run(["swaks", "--server", "localhost", "--port", str(suite.port("SMTP")), "--from", "a@elsewhere.example", "--to",
               "b@elsewhere.example"], check=False)
    assert "554 5.7.1" in out


def test_the_odd_password_works_everywhere(suite):
    """A quote, a backslash, blanks and a non-ASCII letter."""
    user, password = "odd@example.com", suite.passwords["odd@example.com"]
    common = ["curl", "-sS", "--cacert", str(suite.ca), "--user", "%s:%s" % (user, password)]
    run(common + ["--url", "imaps://localhost:%d/" % suite.port("IMAPS")])
    run(common + ["--url", "pop3s://localhost:%d/" % suite.port("POP3S")])
    for mechanism in ("PLAIN", "LOGIN"):
        run(common + ["--url", "imaps://localhost:%d/" % suite.port("IMAPS"), "--login-options", "AUTH=" + mechanism])
        run(common + ["--url", "pop3s://localhost:%d/" % suite.port("POP3S"), "--login-options", "AUTH=" + mechanism])


@pytest.mark.parametrize("user", ["odd@example.com", "alice@example.com"])
def test_scram_proves_both_sides(suite, user):
    password = suite.passwords[user]
    m = imaplib.IMAP4_SSL("localhost", suite.port("IMAPS"), ssl_context=suite.tls_context())
    client = mailtools.scram_sha256(user, password)
    first = []
    ok, _data = m.authenticate("SCRAM-SHA-256", lambda c: client.send(c) if first else first.append(1) or client.send(None))
    assert ok == "OK"
    m.logout()
    client = mailtools.scram_sha256(user, password + "x")
    first.clear()
    m = imaplib.IMAP4_SSL("localhost", suite.port("IMAPS"), ssl_context=suite.tls_context())
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        m.authenticate("SCRAM-SHA-256", lambda c: client.send(c) if first else first.append(1) or client.send(None))
    m.shutdown()


def test_mutt_reads_imap(suite, mail, tmp_path):
    need("mutt")
    mid = mail.send(subject="for mutt")
    mail.wait_for(mid)
    rc, out = tmp_path / "muttrc", tmp_path / "out"
    rc.write_text("set imap_user=bob@example.com\nset imap_pass=bob-secret\nset ssl_ca_certificates_file=%s\nset certificate_file=%s\n"
                  "set folder=%s\nset header_cache=\nset record=\nset confirmcreate=no\nset confirmappend=no\nset quit=yes\nset wait_key=no\nset sort=mailbox-order\n"
                  "push \"<tag-pattern>~A<enter><tag-prefix><copy-message>%s<enter><quit>\"\n" % (suite.ca, suite.ca, tmp_path, out))
    # mutt wants a terminal: script(1) gives one.
    p = subprocess.run(["script", "-qec", "mutt -n -F %s -f imaps://localhost:%d/INBOX" % (rc, suite.port("IMAPS")), "/dev/null"],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, stdin=subprocess.DEVNULL,
                       env={**os.environ, "TERM": "vt100", "HOME": str(tmp_path)})
    assert p.returncode == 0 and out.exists() and mid in out.read_text(), p.stdout.decode("utf-8", "replace")


@pytest.mark.parametrize("protocol", ["IMAP", "POP3"])
def test_fetchmail_fetches(suite, mail, tmp_path, protocol):
    need("fetchmail")
    mid = mail.send(to="alice@example.com", subject="for fetchmail")
    mail.wait_for(mid, user="alice@example.com")
    rc = tmp_path / "fetchmailrc"
    rc.write_text("poll localhost service %d proto %s user \"alice@example.com\" pass \"alice-secret\" ssl sslcertck sslcertfile \"%s\" "
                  "keep fetchall mda \"cat >> %s\"\n" % (suite.port(protocol + "S"), protocol, suite.ca, tmp_path / "out"))
    os.chmod(rc, 0o600)
    out = run(["fetchmail", "-f", str(rc), "--nodetach", "--pidfile", str(tmp_path / "pid"), "-v"],
              env={**os.environ, "HOME": str(tmp_path), "FETCHMAILHOME": str(tmp_path)})
    assert mid in (tmp_path / "out").read_text(), out


def test_mbsync_copies_a_mailbox(suite, mail, tmp_path):
    need("mbsync")
    mid = mail.send(subject="for mbsync")
    mail.wait_for(mid)
    (tmp_path / "box").mkdir()
    rc = tmp_path / "mbsyncrc"
    rc.write_text("IMAPAccount a\nHost localhost\nPort %d\nUser bob@example.com\nPass bob-secret\nSSLType IMAPS\nCertificateFile %s\n\n"
                  "IMAPStore far\nAccount a\n\nMaildirStore near\nPath %s/box/\nInbox %s/box/INBOX\nSubFolders Verbatim\n\n"
                  "Channel c\nFar :far:\nNear :near:\nPatterns *\nCreate Near\nSyncState *\n"
                  % (suite.port("IMAPS"), suite.ca, tmp_path, tmp_path))
    for _round in range(2):
        run(["mbsync", "-c", str(rc), "-a"], env={**os.environ, "HOME": str(tmp_path)})
    texts = [f.read_text() for d in ("new", "cur") for f in (tmp_path / "box" / "INBOX" / d).iterdir()]
    assert any(mid in t for t in texts)
    assert len([t for t in texts if mid in t]) == 1
