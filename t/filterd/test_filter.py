"""filterd over the whole suite: what happens when workers are new, killed, out of space; the actions; the tool; new signatures."""
import concurrent.futures
import json
import os
import pathlib
import signal
import smtplib
import subprocess
import time

import pytest

import mailtools

EICAR = (r"X5O!P%@AP[4\PZX54(P^)7CC)7}" + "$EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*")
BOB = "bob@example.com"


def send(suite, body="hello", to=BOB):
    """(code, text) of the answer to DATA."""
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=60) as s:
        try:
            s.sendmail("x@elsewhere.example", [to], "Subject: t\r\n\r\n%s\r\n" % body)
            return 250, ""
        except smtplib.SMTPDataError as e:
            return e.smtp_code, e.smtp_error.decode()


def log(suite):
    return suite.log.read_text()


def test_the_first_messages_at_once_are_all_checked(fresh_suite):
    """Forked workers draw the same temporary names: each needs a directory of its own."""
    suite = fresh_suite("filter")
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: send(suite), range(40)))
    assert answers == [(250, "")] * 40, suite.trouble()
    assert "UNCHECKED" not in log(suite)


def test_a_submission_lacks_nothing_that_is_added(fresh_suite):
    suite = fresh_suite("filter")
    context = suite.tls_context()
    context.check_hostname = False
    with smtplib.SMTP_SSL(suite.host, suite.port("SUBMISSIONS"), context=context, timeout=60) as s:
        s.login("alice@example.com", suite.passwords["alice@example.com"])
        s.sendmail("alice@example.com", [BOB], "Subject: t\r\n\r\nhello\r\n")
    suite.logged("Passed CLEAN .*<alice@example.com> -> ")
    assert send(suite)[0] == 250
    suite.logged("Passed BAD-HEADER .*<x@elsewhere.example> -> ")


def test_a_killed_worker_costs_a_retry_not_the_mail(fresh_suite):
    suite = fresh_suite("filter")
    for _round in range(5):
        assert send(suite)[0] == 250
        for pid, _user, _comm, cmd in suite.processes():
            if cmd == "filterd: worker":
                os.kill(pid, signal.SIGKILL)
    assert send(suite)[0] == 250
    tmp = suite.state / "filter-tmp"
    assert send(suite, EICAR)[0] == 550
    assert tmp.is_dir()


def test_a_worker_that_does_not_end_costs_a_retry_then_a_temporary_refusal(fresh_suite):
    """Whatever holds it up; here the two that there are were stopped. Never is the mail let through."""
    suite = fresh_suite("filter", settings={"filter_timeout": "1s", "filter_workers": "2"})

    def workers():
        return [pid for pid, _user, _comm, cmd in suite.processes() if cmd == "filterd: worker"]
    end = time.monotonic() + 30
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        while len(workers()) < 2:
            assert list(pool.map(lambda _: send(suite), range(8))) == [(250, "")] * 8 and time.monotonic() < end
    for pid in workers():
        os.kill(pid, signal.SIGSTOP)
    code, text = send(suite, EICAR)
    assert code == 451, text
    suite.logged(r"a worker was lost \(time limit\), trying another")
    assert send(suite)[0] == 250 and send(suite, EICAR)[0] == 550


def test_no_space_to_unpack_is_a_temporary_refusal(fresh_suite):
    """libclamav answers "clean" when it cannot unpack: that must never pass."""
    import base64
    import io
    import zipfile
    suite = fresh_suite("filter")
    assert send(suite)[0] == 250
    monitor = [p[0] for p in suite.processes() if p[3] == "filterd: monitor"][0]
    inside = pathlib.Path("/proc/%d/root" % monitor) / str(suite.state / "filter-tmp").lstrip("/")
    with open(inside / "ballast", "wb") as f:
        try:
            while True:
                f.write(b"x" * 65536)
        except OSError:
            pass
    z = io.BytesIO()
    with zipfile.ZipFile(z, "w", zipfile.ZIP_DEFLATED) as a:
        a.writestr("a.txt", EICAR)
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=60) as s:
        with pytest.raises(smtplib.SMTPDataError) as why:
            s.sendmail("x@elsewhere.example", [BOB], "Subject: t\r\nMIME-Version: 1.0\r\nContent-Type: application/zip; name=a.zip\r\n"
                       "Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(z.getvalue()).decode().replace("\n", "\r\n"))
    assert why.value.smtp_code in (451, 550)
    os.unlink(inside / "ballast")
    assert send(suite)[0] == 250


def test_redirect_delivers_to_the_keeper_and_not_to_the_recipient(fresh_suite):
    """By default to postmaster, an alias."""
    suite = fresh_suite("filter", settings={"virus_action": "redirect"})
    code, _text = send(suite, EICAR)
    assert code == 250
    end = time.monotonic() + 30
    mail = mailtools.Mail(suite)
    while not mail.files("alice@example.com") and time.monotonic() < end:
        time.sleep(0.05)
    assert len(mail.files("alice@example.com")) == 1 and mail.files(BOB) == []


def test_new_signatures_take_over_without_a_restart(fresh_suite, tmp_path):
    db = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "clamdb"
    db.mkdir(exist_ok=True)
    suite = fresh_suite("filter", settings={"virus_database_directory": db})
    word = "new-worm-%s" % os.urandom(4).hex()
    assert send(suite, word)[0] == 250
    (db / "new.ndb").write_text("Test.New:0:*:%s\n" % word.encode().hex() +
                                "Test.Eicar-Test-Signature:0:*:%s\n" % EICAR.encode().hex())
    filterd = [p[0] for p in suite.processes() if p[3] == "filterd: monitor"][0]
    os.kill(filterd, signal.SIGHUP)
    end = time.monotonic() + 30
    while send(suite, word)[0] == 250 and time.monotonic() < end:
        time.sleep(0.2)
    code, text = send(suite, word)
    assert code == 550 and "Test.New" in text
    assert [p[0] for p in suite.processes() if p[3] == "filterd: monitor"] == [filterd]


def test_new_signatures_and_rules_are_noticed(fresh_suite):
    """As freshclam and sa-update put them there, which tell nobody: filterd looks every half a minute."""
    base = pathlib.Path(os.environ["POSTERN_SCRATCH"])
    db, rules = base / "clamdb-watched", base / "rules-watched"
    for d in (db, rules):
        d.mkdir()
    (rules / "10.cf").write_text("body NOTHING /not in any letter/\n")
    suite = fresh_suite("filter", settings={"virus_database_directory": db, "spam_rules_directory": rules})
    virus, spam = ("%s-%s" % (kind, os.urandom(4).hex()) for kind in ("worm", "offer"))
    assert send(suite, virus)[0] == send(suite, spam)[0] == 250
    (db / "new.ndb").write_text("Test.New:0:*:%s\nTest.Eicar-Test-Signature:0:*:%s\n" % (virus.encode().hex(), EICAR.encode().hex()))
    (rules / "20.cf").write_text("body NEW_RULE /%s/\nscore NEW_RULE 20\n" % spam)
    end = time.monotonic() + 120
    while send(suite, virus)[0] == 250 or send(suite, spam)[0] == 250:
        assert time.monotonic() < end, suite.trouble()
        time.sleep(0.5)
    assert "Test.New" in send(suite, virus)[1] and "spam" in send(suite, spam)[1]


def test_broken_signatures_keep_the_old_ones(fresh_suite):
    db = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "clamdb-broken"
    db.mkdir(exist_ok=True)
    suite = fresh_suite("filter", settings={"virus_database_directory": db})
    assert send(suite, EICAR)[0] == 550
    (db / "bad.ndb").write_text("this is no signature\n")
    filterd = [p[0] for p in suite.processes() if p[3] == "filterd: monitor"][0]
    os.kill(filterd, signal.SIGHUP)
    suite.logged("the old configuration stays")
    assert send(suite, EICAR)[0] == 550
    assert send(suite)[0] == 250


def test_lists_that_cannot_be_loaded_refuse_for_now_at_once(fresh_suite):
    """And mail passes as soon as they can be."""
    rules = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "unreadable.rules"
    rules.write_text("reject /x/\n")
    suite = fresh_suite("filter", settings={"filter_banned_names": rules})
    assert send(suite)[0] == 250
    filterd = [p[0] for p in suite.processes() if p[3] == "filterd: monitor"][0]
    rules.write_text("reject /(/\n")
    template = [p[0] for p in suite.processes() if p[3] == "filterd: template"][0]
    os.kill(template, signal.SIGKILL)
    for p in suite.processes():
        if p[3] == "filterd: worker":
            os.kill(p[0], signal.SIGKILL)
    assert suite.logged("unreadable.rules:1")
    assert send(suite)[0] == 451
    rules.write_text("reject /x/\n")
    end = time.monotonic() + 30
    while send(suite)[0] != 250 and time.monotonic() < end:
        time.sleep(0.1)
    assert send(suite)[0] == 250 and filterd in [p[0] for p in suite.processes()]


def test_the_tool_explains(suite, tmp_path):
    letter = tmp_path / "letter"
    letter.write_text("From: a@b.example\nDate: Sat, 28 Nov 2026 10:00:00 +0000\nSubject: x\nContent-Type: application/octet-stream; name=setup.exe\n\nx\n")
    p = suite.tool("postern-filter", "test", "--json", letter)
    answer = json.loads(p.stdout.decode())
    assert answer["action"] == "reject" and answer["category"] == "BANNED" and "setup.exe" in answer["findings"][0]["text"]
    p = suite.tool("postern-filter", "test", tmp_path / "none", check=False)
    assert p.returncode == 1 and b"No such file" in p.stdout


@pytest.mark.parametrize("raw", [b"\r\n", b"X: y\r\n", b"Subject: n\r\n\r\n" + b"(" * 5000 + b"\r\n"])
def test_odd_messages_pass(mail, raw):
    s = mail.smtp()
    s.sendmail("x@elsewhere.example", [BOB], raw)
    s.quit()


def test_only_queued_may_ask(suite):
    p = subprocess.run(["setpriv", "--reuid", "nobody", "--clear-groups", "/usr/bin/python3", "-c",
                        "import socket,sys\ns=socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\ns.connect(sys.argv[1])",
                        str(suite.run_dir / "filter" / "scan")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert p.returncode != 0 and b"Permission" in p.stdout
