"""System accounts through PAM, the saslauthd socket, and what changes when an account changes. The namespace has an /etc of its own."""
import os
import pathlib
import smtplib
import subprocess
import time

import imaplib
import pytest


def sh(*argv, **kw):
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, **kw)
    assert p.returncode == 0, p.stdout.decode()
    return p.stdout.decode()


def login(suite, user, password):
    m = imaplib.IMAP4_SSL("localhost", suite.port("IMAPS"), ssl_context=suite.tls_context())
    try:
        m.login(user, password)
        return m
    except imaplib.IMAP4.error as e:
        m.shutdown()
        raise AssertionError(str(e))


def eventually(check, seconds=30):
    end = time.monotonic() + seconds
    while True:
        try:
            return check()
        except (AssertionError, smtplib.SMTPException):
            if time.monotonic() > end:
                raise
            time.sleep(0.3)


@pytest.fixture(scope="module")
def jill(suite, tmp_path_factory):
    """A Unix account with a home of its own, as the article sets users up: no shell, password in shadow."""
    home = pathlib.Path("/mnt/home-jill")
    sh("useradd", "--create-home", "--home-dir", str(home), "--shell", "/usr/sbin/nologin", "--user-group", "jill")
    os.chmod(home, 0o700)
    sh("chpasswd", input=b"jill:jill's pass\n")
    sh("useradd", "--create-home", "--home-dir", "/mnt/home-anna", "--shell", "/usr/sbin/nologin", "anna")
    sh("chpasswd", input=b"anna:anna-secret\n")
    suite.reload()
    yield home
    sh("userdel", "-r", "-f", "jill")
    sh("userdel", "-r", "-f", "anna")
    suite.reload()


def test_a_system_account_logs_in_through_pam(suite, jill):
    m = eventually(lambda: login(suite, "jill", "jill's pass"))
    m.select("INBOX")
    m.logout()
    with pytest.raises(AssertionError, match="AUTHENTICATIONFAILED"):
        login(suite, "jill", "wrong")


def test_mail_to_a_system_account_is_stored_as_its_uid(suite, mail, jill):
    eventually(lambda: login(suite, "jill", "jill's pass").logout())
    mid = mail.send(to="jill@localhost")

    def stored():
        """The file, wherever a session that still runs may have moved it meanwhile: name, owner, text."""
        for d in ("new", "cur"):
            for f in (jill / "Maildir" / d).iterdir() if (jill / "Maildir" / d).is_dir() else []:
                try:
                    if mid in f.read_text():
                        return f.name, f.stat(), f.read_text()
                except FileNotFoundError:
                    pass
        raise AssertionError("not there\n" + suite.trouble())
    name, st, text = eventually(stored)
    assert st.st_uid == jill.stat().st_uid
    assert ",S=%d" % st.st_size in name and ",W=" in name
    head = text.split("\n\n")[0]
    assert head.startswith("Return-Path: <stranger@elsewhere.example>\n")
    assert "Delivered-To: jill@localhost" in head


def test_an_account_without_a_home_is_told_so(suite, jill):
    sh("useradd", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", "homeless")
    sh("chpasswd", input=b"homeless:secret\n")
    suite.reload()

    def tried():
        with pytest.raises(AssertionError, match="UNAVAILABLE"):
            login(suite, "homeless", "secret")
    eventually(tried)
    sh("userdel", "-f", "homeless")
    suite.reload()


def test_root_and_low_uids_cannot_log_in(suite, jill):
    for user in ("root", "daemon", "_postern_queue"):
        with pytest.raises(AssertionError, match="AUTHENTICATIONFAILED"):
            login(suite, user, "whatever")


def test_a_changed_password_counts_at_once(suite, jill):
    eventually(lambda: login(suite, "anna", "anna-secret").logout())
    sh("chpasswd", input=b"anna:other-secret\n")
    with pytest.raises(AssertionError, match="AUTHENTICATIONFAILED"):
        login(suite, "anna", "anna-secret")
    eventually(lambda: login(suite, "anna", "other-secret").logout())


def test_testsaslauthd_succeeds_and_fails_rightly(suite, jill):
    eventually(lambda: login(suite, "jill", "jill's pass").logout())
    mux = str(suite.run_dir / "saslauthd" / "mux")

    def ask(*more):
        p = subprocess.run(["testsaslauthd", "-f", mux, *more], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
        return p.returncode, p.stdout.decode().strip()
    for service in ("smtp", "imap", "pop"):
        code, text = ask("-u", "jill", "-p", "jill's pass", "-s", service)
        assert code == 0 and text.startswith("0: OK"), text
        code, text = ask("-u", "jill", "-p", "wrong", "-s", service)
        assert code != 0 and text.startswith("0: NO"), text
    code, text = ask("-u", "alice", "-r", "example.com", "-p", "alice-secret", "-s", "imap")
    assert code == 0 and text.startswith("0: OK"), text
    assert ask("-u", "nobody-there", "-p", "x")[1].startswith("0: NO")


@pytest.mark.parametrize("fields", [4, 5])
def test_the_mux_takes_four_and_five_fields(suite, jill, fields):
    import socket
    import struct
    eventually(lambda: login(suite, "jill", "jill's pass").logout())
    data = b"".join(struct.pack(">H", len(f)) + f for f in
                    [b"jill", b"jill's pass", b"imap", b"", b"192.0.2.1;4711"][:fields])
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(30)
        s.connect(str(suite.run_dir / "saslauthd" / "mux"))
        s.sendall(data)
        answer = s.recv(1024)
    n, = struct.unpack(">H", answer[:2])
    assert answer[2:2 + n].startswith(b"OK")


def test_a_deleted_user_is_gone(suite, mail):
    suite.user_add("temp@example.com", "temp-secret")
    eventually(lambda: login(suite, "temp@example.com", "temp-secret").logout())
    suite.tool("postern-user", "del", "temp@example.com")
    with pytest.raises(AssertionError, match="AUTHENTICATIONFAILED"):
        login(suite, "temp@example.com", "temp-secret")
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        mail.send(to="temp@example.com")


def test_a_changed_password_ends_the_sessions(suite):
    suite.user_add("temp2@example.com", "temp-secret")
    m = eventually(lambda: login(suite, "temp2@example.com", "temp-secret"))
    m.select("INBOX")
    suite.user_passwd("temp2@example.com", "new-secret")
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        for _ in range(120):
            m.noop()
            time.sleep(0.25)
    login(suite, "temp2@example.com", "new-secret").logout()
    suite.tool("postern-user", "del", "temp2@example.com")
