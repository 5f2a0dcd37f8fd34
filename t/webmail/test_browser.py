"""Roundcube as `postern webmail setup` makes it, in Debian's Chromium: what a user does in a day. Pictures are kept in build/webmail/."""
import email.message
import email.utils
import json
import os
import pathlib
import shutil
import smtplib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NODE = pathlib.Path("/usr/local/lib/postern-tests/node_modules")
SHOTS = ROOT / "build" / "webmail"
ALICE, BOB = "alice@example.com", "bob@example.com"
BIG, DIFFERENT = 100000, 2000


class Browser:
    """t/webmail/browser.js; browser.login(user=…) is its step login."""

    def __init__(self, home):
        chromium = shutil.which("chromium")
        assert chromium and (NODE / "playwright-core").is_dir(), "chromium or playwright-core is missing: t/deps check installs them"
        SHOTS.mkdir(parents=True, exist_ok=True)
        env = dict(os.environ, PLAYWRIGHT=str(NODE / "playwright-core"), CHROMIUM=chromium, SHOTS=str(SHOTS), HOME=str(home), TMPDIR=str(home))
        self.log = open(home / "log", "wb")
        self.p = subprocess.Popen(["node", str(pathlib.Path(__file__).parent / "browser.js")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=env)

    def __getattr__(self, step):
        def call(**args):
            self.p.stdin.write(json.dumps({"step": step, "args": args}).encode() + b"\n")
            self.p.stdin.flush()
            line = self.p.stdout.readline()
            assert line, "the browser has gone: %s" % pathlib.Path(self.log.name).read_text()
            out = json.loads(line)
            assert "error" not in out, "%s %s: %s" % (step, args, out["error"])
            return out["value"]
        return call

    def close(self):
        self.p.stdin.close()
        self.p.wait(30)
        self.log.close()


@pytest.fixture(scope="module")
def browser(webmail, tmp_path_factory):
    b = Browser(tmp_path_factory.mktemp("browser"))
    yield b
    b.close()


@pytest.fixture(scope="module")
def cookies(webmail, browser):
    """Of a browser in which Alice has logged in."""
    browser.open(width=1280, height=800)
    got = browser.login(user="alice", password=webmail.suite.passwords[ALICE])
    assert got["ok"], (got, webmail.trouble())
    return browser.cookies()


@pytest.fixture
def alice(browser, cookies):
    """Alice, logged in, on a wide screen."""
    browser.open(width=1280, height=800, cookies=cookies)
    return browser


def deliver(to=ALICE, sender="carol@elsewhere.example", subject="Hello", text="Good day.\n", html=None, files=(), headers=()):
    """Mail from outside."""
    m = email.message.EmailMessage()
    m["From"], m["To"], m["Subject"], m["Date"] = sender, to, subject, email.utils.formatdate()
    m["Message-ID"] = email.utils.make_msgid(domain="elsewhere.example")
    for k, v in headers:
        m[k] = v
    m.set_content(text)
    if html:
        m.add_alternative(html, subtype="html")
    for name, data in files:
        m.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    with smtplib.SMTP("127.0.88.1", 25, timeout=30) as s:
        s.send_message(m)
    return m["Message-ID"]


def subjects(rows):
    return [r["subject"] for r in rows]


def received(webmail, user, subject):
    """The messages in the user's maildir, all folders, with this subject: [(folder, message)]."""
    top, found = webmail.suite.maildir(user), []
    for f in top.rglob("*"):
        if f.is_file() and f.parent.name in ("cur", "new"):
            m = email.message_from_bytes(f.read_bytes(), policy=email.policy.default)
            if m["Subject"] == subject:
                found.append((f.parent.parent.name, m))
    return found


def test_a_wrong_password(webmail, browser):
    browser.open(width=1280, height=800)
    got = browser.login(user=ALICE, password="wrong")
    assert not got["ok"] and "Login failed" in got["said"]
    browser.shot(name="login-failed")


def test_plain_text(alice):
    deliver(subject="Plain text 1", text="Dear Alice,\nthe sum is 3 < 4 & 5.\n-- \nCarol\n")
    assert "Plain text 1" in subjects(alice.folder(name="INBOX")["rows"])
    alice.shot(name="list")
    got = alice.read(subject="Plain text 1")
    assert "the sum is 3 < 4 & 5." in got["text"] and "carol@elsewhere.example" in got["header"]
    alice.shot(name="read-plain")
    row = [r for r in alice.folder(name="INBOX")["rows"] if r["subject"] == "Plain text 1"][0]
    assert not row["unread"]


def test_hostile_html(alice):
    """Scripts do not run, nothing is fetched from elsewhere until the user says so."""
    deliver(subject="Offers", text="plain part", html="<html><body><h1>Offers</h1><script>parent.pwned = window.pwned = 1</script>"
            "<img src='http://tracker.example/a.png' onerror='window.pwned=1'><svg onload='window.pwned=1'></svg>"
            "<a href='javascript:window.pwned=1'>click</a><p style='color:#008000;background:url(http://tracker.example/b.png)'>green words</p>"
            "<form action='http://tracker.example/'><input name=x></form></body></html>")
    alice.folder(name="INBOX")
    got = alice.read(subject="Offers")
    assert "green words" in got["text"] and "<h1" in got["html"] and not got["pwned"] and got["remote"]
    assert "<script" not in got["html"] and "javascript:" not in got["html"] and "onerror" not in got["html"]
    assert alice.asked() == []
    alice.shot(name="read-html")
    alice.show_images()
    assert any("//tracker.example/" in u for u in alice.asked())


def test_unicode_and_an_attachment_comes(alice, tmp_path):
    data = bytes(range(256)) * 700
    subject = "Grüße ✓ 東京 – Übersicht"
    deliver(subject=subject, text="Schöne Grüße, 東京\n", files=[("Bericht Mär 2026.bin", data)])
    rows = alice.folder(name="INBOX")["rows"]
    assert [r for r in rows if r["subject"] == subject][0]["attachment"]
    got = alice.read(subject=subject)
    assert got["subject"].endswith(subject) and "Schöne Grüße, 東京" in got["text"]
    assert "Bericht Mär 2026.bin" in got["files"][0]
    alice.shot(name="read-attachment")
    got = alice.download(path=str(tmp_path / "a"), index=0)
    assert got["status"] == 200 and (tmp_path / "a").read_bytes() == data


def test_send_with_an_attachment(webmail, alice, tmp_path):
    data = os.urandom(300000)
    (tmp_path / "Plan für 2027.pdf").write_bytes(data)
    subject = "Plan ✓ für 2027"
    alice.compose(to=[BOB], subject=subject, body="Lieber Bob,\n.\nhier der Plan – schöne Grüße\n", files=[str(tmp_path / "Plan für 2027.pdf")], shot="compose",
                  send=True)
    got = dict(received(webmail, BOB, subject))
    (m,) = got.values()
    assert "\n.\nhier der Plan – schöne Grüße" in m.get_body().get_content() and m["From"].addresses[0].addr_spec == ALICE
    (part,) = m.iter_attachments()
    assert part.get_content() == data and part.get_filename() == "Plan für 2027.pdf"
    assert [folder for folder, _ in received(webmail, ALICE, subject)] == [".Sent"]
    assert subject in subjects(alice.folder(name="Sent")["rows"])


def test_reply(webmail, alice):
    mid = deliver(subject="Question 7", text="How many?\n", sender="dave@elsewhere.example", headers=[("Reply-To", BOB)])
    alice.folder(name="INBOX")
    made = alice.reply(subject="Question 7", body="Seven.", shot="reply")
    assert made["subject"] == "Re: Question 7" and "> How many?" in made["body"]
    ((_, m),) = received(webmail, BOB, "Re: Question 7")
    assert m["In-Reply-To"] == mid and "Seven." in m.get_content() and "> How many?" in m.get_content()


def test_drafts(webmail, alice):
    alice.compose(to=[BOB], subject="Draft 3", body="first words")
    alice.savedraft()
    assert "Draft 3" in subjects(alice.folder(name="Drafts")["rows"])
    assert "first words" in alice.opendraft(subject="Draft 3", body="second words", send=False)
    assert subjects(alice.folder(name="Drafts")["rows"]).count("Draft 3") == 1, "the old one is replaced"
    assert "second words" in alice.opendraft(subject="Draft 3", body="last words", send=True)
    ((_, m),) = received(webmail, BOB, "Draft 3")
    assert m.get_content().strip() == "last words"
    assert "Draft 3" not in subjects(alice.folder(name="Drafts")["rows"])


def test_search(alice):
    deliver(subject="Haystack 1", text="nothing\n")
    deliver(subject="Haystack 2 Grüße", text="the needle is käuflich\n")
    alice.folder(name="INBOX")
    assert subjects(alice.search(text="grüße", where=["subject"])["rows"]).count("Haystack 2 Grüße") == 1
    got = subjects(alice.search(text="KÄUFLICH", where=["text"])["rows"])
    assert got == ["Haystack 2 Grüße"]
    alice.shot(name="search")
    assert alice.search(text="no such words", where=["text"])["rows"] == []
    alice.unsearch()
    assert "Haystack 1" in subjects(alice.folder(name="INBOX")["rows"])


def test_threads(alice):
    first = deliver(subject="Thread A", sender="t1@elsewhere.example")
    second = deliver(subject="Re: Thread A", sender="t2@elsewhere.example", headers=[("References", first), ("In-Reply-To", first)])
    deliver(subject="AW: Thread A", sender="t3@elsewhere.example", headers=[("References", first + " " + second), ("In-Reply-To", second)])
    alice.folder(name="INBOX")
    alice.sort(column="date", order="DESC", threads=True)
    rows = alice.expand()
    alice.shot(name="threads")
    mine = [r for r in rows if r["from"].startswith(("t1@", "t2@", "t3@"))]
    assert [r["child"] for r in mine] == [False, True, True], rows
    rows = alice.sort(column="subject", order="ASC", threads=False)["rows"]
    assert not any(r["child"] for r in rows)


def test_move_flag_delete(webmail, alice):
    for i in (1, 2, 3):
        deliver(subject="Parcel %d" % i)
    alice.folder_new(name="Pakete ü")
    alice.folder(name="INBOX")
    alice.select(subjects=["Parcel 1", "Parcel 2"])
    assert [r["flagged"] for r in alice.mark(flag="flagged") if r["subject"].startswith("Parcel")].count(True) == 2
    alice.select(subjects=["Parcel 1"])
    name = [f["name"] for f in alice.folders() if f["name"] and "Pakete" in f["name"]][0]
    left = subjects(alice.move(to=name))
    alice.shot(name="moved")
    assert "Parcel 1" not in left and "Parcel 2" in left
    assert subjects(alice.folder(name=name)["rows"]) == ["Parcel 1"]
    alice.folder(name="INBOX")
    alice.select(subjects=["Parcel 2"])
    assert "Parcel 2" not in subjects(alice.key(key="Delete", url="_action=move"))
    assert "Parcel 2" in subjects(alice.folder(name="Trash")["rows"])
    alice.select(subjects=["Parcel 2"])
    alice.command(name="delete", url="_action=delete")
    assert "Parcel 2" not in subjects(alice.folder(name="Trash")["rows"])
    assert received(webmail, ALICE, "Parcel 2") == []
    assert len(received(webmail, ALICE, "Parcel 1")) == 1


def test_folders(alice):
    alice.folder_new(name="Clients")
    alice.folder_new(name="Müller & Söhne", parent="Clients")
    alice.shot(name="folders")
    alice.folder(name="INBOX")
    names = [f["name"] for f in alice.folders()]
    assert "Clients" in names and any(n.startswith("Clients/") and "M&APw-ller" in n for n in names), names
    alice.folder_rename(**{"from": "Müller", "to": "Meier"})
    alice.folder(name="INBOX")
    assert "Clients/Meier" in [f["name"] for f in alice.folders()]
    alice.folder_delete(name="Meier")
    alice.folder(name="INBOX")
    assert "Clients/Meier" not in [f["name"] for f in alice.folders()]
    kinds = {f["name"]: f["classes"] for f in alice.folders()}
    for name, kind in (("INBOX", "inbox"), ("Drafts", "drafts"), ("Sent", "sent"), ("Junk", "junk"), ("Trash", "trash"), ("Archive", "archive")):
        assert kind in kinds[name].split(), kinds


def test_new_mail_is_seen(alice):
    alice.folder(name="INBOX")
    deliver(subject="Just in")
    assert "Just in" in subjects(alice.refresh())


def test_a_large_folder(webmail, alice):
    """100,000 messages: opened, paged to its end, sorted, threaded and searched."""
    fill_large(webmail)
    got = alice.folder(name="Large")
    assert got["count"] == BIG and len(got["rows"]) == 50
    alice.shot(name="large")
    pages = [alice.command(name="nextpage", url="_action=list") for _ in range(3)]
    assert [p["page"] for p in pages] == [2, 3, 4] and all(len(p["rows"]) == 50 for p in pages)
    last = alice.command(name="lastpage", url="_action=list")
    assert last["page"] == BIG // 50 and len(last["rows"]) == 50
    by_subject = alice.sort(column="subject", order="DESC", threads=False)
    assert len(by_subject["rows"]) == 50
    threads = alice.sort(column="date", order="DESC", threads=True)
    found = alice.search(text="quartalsabschluss", where=["subject"])
    assert 50 < found["count"] < 1000 and all("quartalsabschluss" in s.lower() for s in subjects(found["rows"]))
    print({k: v["ms"] for k, v in (("open", got), ("next", pages[0]), ("last", last), ("subject", by_subject), ("threads", threads), ("search", found))})


def fill_large(webmail):
    """A folder as another program would leave it: some messages, under many names."""
    top = webmail.suite.maildir(ALICE)
    large = top / ".Large"
    subprocess.run([ROOT / "build" / os.environ.get("POSTERN_BUILD", "dev") / "x" / "mkmail", large, str(DIFFERENT)], check=True, stdout=subprocess.DEVNULL)
    for d in ("new", "tmp"):
        (large / d).mkdir(exist_ok=True)
    (large / "maildirfolder").touch()
    owner = top.stat()
    for f in [large, *large.rglob("*")]:
        os.chown(f, owner.st_uid, owner.st_gid)
        f.chmod(0o700 if f.is_dir() else 0o600)
    for f in list((large / "cur").iterdir()):
        for i in range(1, BIG // DIFFERENT):
            os.link(f, large / "cur" / ("%d%s" % (i, f.name)))


def test_a_narrow_screen(webmail, browser):
    deliver(subject="For the phone", text="Read me on a small screen.\n")
    browser.open(width=390, height=844, mobile=True)
    assert browser.login(user="alice", password=webmail.suite.passwords[ALICE])["ok"]
    browser.folder(name="INBOX")
    browser.shot(name="narrow-list")
    assert browser.overflow() <= 0
    assert "Read me on a small screen." in browser.tap(subject="For the phone")
    browser.shot(name="narrow-read")
    assert browser.overflow() <= 0
    browser.compose(to=[BOB], subject="From the phone", body="On my way.", shot="narrow-compose", send=True)
    assert len(received(webmail, BOB, "From the phone")) == 1


def test_log_out(webmail, browser):
    browser.open(width=1280, height=800)
    assert browser.login(user="alice", password=webmail.suite.passwords[ALICE])["ok"]
    assert browser.logout()["login"], "the old cookies are worth nothing"
    browser.shot(name="login")
