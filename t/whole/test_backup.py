"""Backups that are made while everything runs, and what comes back from them: messages, UIDs, flags, UIDVALIDITY, folders, files of the server."""
import hashlib
import imaplib
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time

import pytest

from named import Names

numbers = itertools.count(1)


def rows(output):
    return [json.loads(line) for line in output.decode().splitlines() if line.startswith("{")]      # warnings come between


def backup(s, where, *args, check=True):
    p = s.tool("postern-backup", "--json", *args, where, check=check)
    return {r["owner"]: r for r in rows(p.stdout)} if check else p


def restore(s, where, *args, check=True):
    p = s.tool("postern-restore", "--json", *args, where, check=check)
    return rows(p.stdout) if check else p


def imap(s, user):
    m = imaplib.IMAP4(s.host, s.port("IMAP"))
    m.login(user, s.passwords[user])
    m.select("INBOX")
    return m


def view(m, folder):
    """{uid: (flags, date, text)}, uidvalidity, uidnext"""
    ok, _ = m.select('"%s"' % folder)
    assert ok == "OK"
    validity = int(m.response("UIDVALIDITY")[1][0])
    m.select('"%s"' % folder)
    uidnext = int(m.response("UIDNEXT")[1][0])
    ok, data = m.uid("FETCH", "1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")
    out = {}
    for head, text in [d for d in data if isinstance(d, tuple)]:
        words = head.decode()
        flags = set(words[words.index("FLAGS (") + 7:].split(")")[0].split()) - {"\\Recent"}
        out[int(words.split("UID ")[1].split()[0].rstrip(")"))] = (flags, words.split('INTERNALDATE "')[1].split('"')[0], text)
    return out, validity, uidnext


@pytest.fixture
def filled(suite, mail, tmp_path):
    """A user with mail in three folders, with gaps in the UIDs, flags and keywords."""
    s, user = suite, "saved%d@example.com" % next(numbers)
    s.passwords[user] = "saved-secret"
    s.user_add(user, s.passwords[user])
    m = imap(s, user)
    m.create('"Arbeit/K&APY-ln"')
    m.subscribe('"Arbeit/K&APY-ln"')
    for folder, n in (("INBOX", 12), ("Arbeit/K&APY-ln", 3), ("Sent", 2)):
        for i in range(n):
            m.append('"%s"' % folder, "(\\Seen $Label1 Plan,B)" if i % 3 == 0 else "(\\Flagged)" if i % 3 == 1 else "()", '"17-Jul-1996 02:44:%02d -0700"' % i,
                     b"Subject: %s %d\r\n\r\n" % (folder.encode(), i) + b"body\r\n" * i)
    m.select("INBOX")
    m.uid("STORE", "3:5,12", "+FLAGS", "\\Deleted")
    m.expunge()
    m.logout()
    yield s, user, mail, tmp_path / "backup"
    s.tool("postern-user", "del", user)


def gone(s, user):
    """The mailbox is lost; sessions that held it end."""
    s.tool("postern-user", "passwd", user, "--password-stdin", input=s.passwords[user].encode() + b"\n")
    end = time.monotonic() + 30
    while s.maildir(user).exists() and time.monotonic() < end:      # a session that ends writes its last
        shutil.rmtree(s.maildir(user), ignore_errors=True)


def test_a_lost_mailbox_comes_back_as_it_was(filled):
    s, user, mail, where = filled
    m = imap(s, user)
    before = {f: view(m, f) for f in ("INBOX", "Arbeit/K&APY-ln", "Sent")}
    m.logout()
    made = backup(s, where)
    assert made["users/" + user]["items"] == 8 + 3 + 2 and made["users/" + user]["added"] == 13 and made["server"]["items"] > 3
    gone(s, user)
    done = restore(s, where, "--user", user)
    assert sum(r["imported"] for r in done) == sum(r["verified"] for r in done) == 13 and sum(r["failed"] for r in done) == 0
    m = imap(s, user)
    for folder, (messages, validity, uidnext) in before.items():
        now, validity_now, uidnext_now = view(m, folder)
        assert now == messages and validity_now == validity, folder
        assert uidnext_now >= uidnext + 1000     # what was given out after the backup is not given to another message
    assert b"Arbeit/K&APY-ln" in b"".join(m.lsub()[1])
    assert b"\\Sent" in [line for line in m.list()[1] if line.endswith(b"Sent")][0]
    assert sum(r["imported"] for r in restore(s, where, "--user", user)) == 0       # twice does no harm


def test_what_each_reader_of_a_shared_folder_has_read_comes_back(filled):
    s, user, mail, where = filled
    reader, name = "bob@example.com", "Other/%s/Sent" % user
    m, b = imap(s, user), imap(s, reader)
    assert m.setacl("Sent", reader, "lrs")[0] == "OK"
    b.select(name)
    b.uid("STORE", "2", "+FLAGS", "\\Seen")
    before = view(b, name)
    assert [uid for uid, (flags, *_) in before[0].items() if "\\Seen" in flags] == [2]
    m.logout()
    b.logout()
    backup(s, where)
    gone(s, user)
    restore(s, where, "--user", user)
    m, b = imap(s, user), imap(s, reader)
    assert m.setacl("Sent", reader, "lrs")[0] == "OK"
    assert view(b, name)[:2] == before[:2]
    m.logout()
    b.logout()


def test_what_was_deleted_by_mistake_comes_back_into_the_living_folder(filled):
    s, user, mail, where = filled
    backup(s, where)
    m = imap(s, user)
    before, validity, uidnext = view(m, "INBOX")
    m.uid("STORE", "9:11", "+FLAGS", "\\Deleted")
    m.expunge()
    assert [r["imported"] for r in restore(s, where, "-n", "--user", user, "--folder", "INBOX")] == [3]
    assert len(view(m, "INBOX")[0]) == 5
    done = restore(s, where, "--user", user, "--folder", "INBOX")
    assert [(r["folder"], r["imported"], r["known"]) for r in done] == [("INBOX", 3, 5)]
    m.noop()
    after, validity_now, _ = view(m, "INBOX")
    assert validity_now == validity and len(after) == 8
    back = {u: v for u, v in after.items() if u not in before}
    assert sorted(back) == [uidnext, uidnext + 1, uidnext + 2]       # UIDs are never given twice
    assert sorted(v[2] for v in back.values()) == sorted(before[u][2] for u in (9, 10, 11))
    assert all(after[u] == before[u] for u in after if u in before)


def test_a_second_backup_stores_only_what_is_new(filled):
    s, user, mail, where = filled
    first = backup(s, where)["users/" + user]
    mail.wait_for(mail.send(to=user), user=user)
    m = imap(s, user)
    m.uid("STORE", "1", "+FLAGS", "\\Answered")
    m.uid("COPY", "1:10", "Sent")
    second = backup(s, where)["users/" + user]
    assert second["items"] == first["items"] + 8
    assert second["added"] == 8 and second["added_bytes"] < second["bytes"] / 2       # copies are known by their content
    # What was true at the time of the first one is still there.
    gone(s, user)
    restore(s, where, "--snapshot", first["snapshot"], "--user", user)
    m = imap(s, user)
    now = view(m, "INBOX")[0]
    assert len(now) == 8 and "\\Answered" not in now[1][0]


def test_old_snapshots_go_and_take_only_what_nobody_needs(filled):
    s, user, mail, where = filled
    backup(s, where)
    m = imap(s, user)
    m.uid("STORE", "1:20", "+FLAGS", "\\Deleted")
    m.expunge()
    last = backup(s, where, "--keep", "1")["users/" + user]
    listed = rows(s.tool("postern-backup", "--list", "--json", where).stdout)
    assert [r["snapshot"] for r in listed if r["owner"] == "users/" + user] == [last["snapshot"]]
    objects = [f for f in (where / "users" / user / "objects").rglob("*") if f.is_file()]
    assert len(objects) == last["items"]
    assert all(hashlib.sha256(f.read_bytes()).hexdigest() == f.parent.name + f.name for f in objects)
    assert s.tool("postern-backup", "--verify", where).returncode == 0


def test_damage_is_found_and_not_restored(filled):
    s, user, mail, where = filled
    backup(s, where)
    victim = max((f for f in (where / "users" / user / "objects").rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-1] + b"X")
    p = backup(s, where, "--verify", check=False)
    assert p.returncode == 1
    assert [("error" in r) for r in rows(p.stdout) if r["owner"] == "users/" + user] == [True]
    gone(s, user)
    p = restore(s, where, "--user", user, check=False)
    assert p.returncode != 0 and b"damaged" in p.stdout
    # half a list is none
    lists = list((where / "users" / user).glob("*.list"))
    lists[0].write_bytes(lists[0].read_bytes()[:-3])
    assert s.tool("postern-restore", "--user", user, where, check=False).returncode != 0


def test_a_backup_while_mail_comes_and_goes(filled):
    s, user, mail, where = filled
    stop = threading.Event()
    trouble = []

    def work():
        try:
            m = imap(s, user)
            i = 0
            while not stop.is_set():
                mail.send(to=user)
                m.noop()
                i += 1
                m.store("1", "+FLAGS" if i % 2 else "-FLAGS", "\\Flagged")
                if i % 5 == 0:
                    m.store("2", "+FLAGS", "\\Deleted")
                    m.expunge()
        except Exception as e:      # noqa: BLE001
            trouble.append(e)
    t = threading.Thread(target=work)
    t.start()
    try:
        for _ in range(3):
            made = backup(s, where)["users/" + user]
            assert "error" not in made and made["items"] + made["vanished"] >= 8
    finally:
        stop.set()
        t.join()
    assert not trouble
    assert s.tool("postern-backup", "--verify", where).returncode == 0
    assert s.tool("postern-mailbox", "check", user).returncode == 0


def test_the_servers_files_come_back(fresh_suite, tmp_path):
    s = fresh_suite("saved")
    where = tmp_path / "backup"
    backup(s, where)
    conf, key = s.conf.read_bytes(), (s.base / "etc" / "key.pem").read_bytes()
    aliases = (s.base / "etc" / "aliases").read_bytes()
    os.unlink(s.base / "etc" / "key.pem")
    (s.base / "etc" / "aliases").write_text("# emptied by mistake\n")
    os.unlink(s.conf)
    p = restore(s, where, "--server", check=False)
    state = {r["file"]: r["state"] for r in rows(p.stdout)}
    assert p.returncode == 1 and "differs" in state[str(s.base / "etc" / "aliases")] and state[str(s.conf)] == "restored"
    assert s.conf.read_bytes() == conf and (s.base / "etc" / "key.pem").read_bytes() == key
    assert os.stat(s.base / "etc" / "key.pem").st_mode & 0o777 == 0o600
    restore(s, where, "--server", "--force")
    assert (s.base / "etc" / "aliases").read_bytes() == aliases
    assert any(f.startswith(str(s.state)) for f in state) and not any("/mail/" in f for f in state)


def test_certificates_by_name_are_saved(fresh_suite, tmp_path):
    """They may lie elsewhere than the configuration, as certbot's do, behind its links."""
    s = fresh_suite("saved-names", start=False)
    live = s.base / "letsencrypt" / "live"
    live.mkdir(parents=True)
    s.names = Names(s.base / "letsencrypt")
    cert, key = s.names.cert("mail.example.net")
    (live / "fullchain.pem").symlink_to("../mail.example.net.pem")
    (live / "privkey.pem").symlink_to("../mail.example.net.key")
    s.names.table = s.base / "certificates"
    s.names.write({"mail.example.net": [(live / "fullchain.pem", live / "privkey.pem")], ".example.org": [(live / "fullchain.pem", "/run/credentials/postern-authd.service/org")]})
    s.settings.update(tls_server_sni_maps="texthash:%s" % s.names.table)
    s.configure()
    where = tmp_path / "backup"
    s.tool("postern-backup", where, check=False)
    names = [line.split("\t")[-1] for line in max((where / "server").glob("*.list")).read_text().splitlines()]
    assert {str(s.names.table), str(live / "fullchain.pem"), str(live / "privkey.pem")} <= set(names) and not [n for n in names if "credentials" in n]


def test_what_service_users_plant_leads_root_nowhere(fresh_suite, tmp_path):
    s = fresh_suite("planted")
    where, victim, theirs = tmp_path / "backup", s.base / "victim", s.state / "mta-sts"
    victim.mkdir()
    (theirs / "d").mkdir(parents=True)
    (theirs / "d" / "passwd").write_text("planted\n")
    os.chown(theirs, 12345, 12345)
    os.chown(theirs / "d", 12345, 12345)
    os.symlink("/etc/passwd", theirs / "link")
    with open(theirs / "huge", "wb") as f:
        f.truncate(8 << 30)
    p = backup(s, where, check=False)
    assert p.returncode == 1 and [r["failed"] for r in rows(p.stdout) if r["owner"] == "server"] == [2]      # said, and the rest is saved
    names = [line.split("\t")[-1] for line in max((where / "server").glob("*.list")).read_text().splitlines()]
    assert str(theirs / "d" / "passwd") in names and str(s.conf) in names and str(theirs / "link") not in names and str(theirs / "huge") not in names
    shutil.rmtree(theirs / "d")
    os.symlink(victim, theirs / "d")
    for args in (["-n"], ["--force"]):
        p = restore(s, where, "--server", *args, check=False)
        state = {r["file"]: r["state"] for r in rows(p.stdout)}
        assert p.returncode == 1 and "symbolic link" in state[str(theirs / "d" / "passwd")]
        assert not list(victim.iterdir()) and state[str(s.conf)] == "is the same"
    os.unlink(theirs / "d")
    restore(s, where, "--server")
    assert (theirs / "d" / "passwd").read_text() == "planted\n"


def test_a_users_links_lead_nowhere(filled):
    """The reader is the user, confined to the mailbox: what the user plants there is not read with root's eyes."""
    s, user, mail, where = filled
    cur = s.maildir(user) / "cur"
    mail.wait_for(mail.send(to=user), user=user)
    secret = s.base / "etc" / "key.pem"
    os.symlink(secret, cur / "1700000000.M1P1.host,S=100:2,S")
    os.symlink("/etc/shadow", cur / "1700000001.M1P1.host,S=100:2,S")
    made = backup(s, where)
    for f in (where / "users" / user / "objects").rglob("*"):
        assert not f.is_file() or (secret.read_bytes() not in f.read_bytes() and b"root:" not in f.read_bytes())
    st = os.stat(where)
    assert st.st_uid == 0 and st.st_mode & 0o777 == 0o700


def test_a_message_without_end_is_left_out(filled):
    s, user, mail, where = filled
    name, owner = "1700000000.M1P1.host,S=8589934592,W=8589934592", s.maildir(user).stat()
    with open(s.maildir(user) / "tmp" / name, "wb") as f:
        f.truncate(8 << 30)
    os.chown(f.name, owner.st_uid, owner.st_gid)
    os.rename(f.name, s.maildir(user) / "new" / name)
    p = backup(s, where, "--user", user, check=False)
    made = {r["owner"]: r for r in rows(p.stdout)}["users/" + user]
    assert p.returncode == 1 and "error" not in made and (made["items"], made["failed"], made["vanished"]) == (13, 1, 0)
    assert b"too many: not saved" in p.stdout and not (where / "users" / user / "objects" / "new").exists()
    assert s.tool("postern-backup", "--verify", where).returncode == 0


@pytest.mark.parametrize("args", [[], ["--folder", "INBOX", "x"], ["--list", "--verify", "x"], ["--keep", "0", "x"], ["a", "b"], ["--keep", "x", "y"]])
def test_wrong_use_is_told(suite, args):
    assert suite.tool("postern-backup", *args, check=False).returncode == 64


def test_not_without_a_backup_and_not_for_strangers(suite, tmp_path):
    assert suite.tool("postern-backup", "--verify", tmp_path / "none", check=False).returncode == 75
    assert suite.tool("postern-restore", "--user", "alice@example.com", tmp_path / "none", check=False).returncode == 75
    assert b"no such directory" in suite.tool("postern-restore", "--all", tmp_path / "none", check=False).stdout
    assert suite.tool("postern-backup", "--user", "nobody@example.com", tmp_path / "b", check=False).returncode == 1
    (tmp_path / "open").mkdir()
    os.chmod(tmp_path / "open", 0o777)
    assert suite.tool("postern-backup", tmp_path / "open", check=False).returncode == 75
    with tempfile.TemporaryDirectory(dir="/var/tmp") as where:       # nobody could write a backup there
        shutil.chown(where, "nobody")
        p = subprocess.run(["setpriv", "--reuid", "nobody", "--clear-groups", str(suite.bin / "postern-backup"), "-c", str(suite.conf), "--user", "alice@example.com",
                            where], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert p.returncode != 0 and not list(pathlib.Path(where).rglob("*.list")), p.stdout


def test_the_place_of_the_configuration(filled, tmp_path):
    """What the timer does: no directory on the command line, so many snapshots stay."""
    s, user, _mail, _where = filled
    conf = tmp_path / "postern.conf"
    assert s.tool("postern-backup", "--user", user, check=False).returncode == 64
    conf.write_text(s.conf.read_text() + "backup_keep = 2\n" + "backup_directory = %s\n" % (tmp_path / "nightly"))
    names = []
    for _ in range(3):
        p = subprocess.run([s.bin / "postern-backup", "-c", conf, "--json", "--user", user], stdout=subprocess.PIPE, check=True)
        names.append(rows(p.stdout)[0]["snapshot"])
    listed = subprocess.run([s.bin / "postern-backup", "-c", conf, "--list", "--json", "--user", user], stdout=subprocess.PIPE, check=True)
    assert [r["snapshot"] for r in rows(listed.stdout)] == names[1:]


def test_a_mailbox_without_end_does_not_fill_the_disk(filled, tmp_path):
    s, user, mail, where = filled
    conf = tmp_path / "postern.conf"
    conf.write_text(s.conf.read_text() + "backup_user_size_max = 1M\n")
    m = imap(s, user)
    m.append("INBOX", "()", None, b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 10000)
    save = lambda: subprocess.run([s.bin / "postern-backup", "-c", conf, "--json", "--user", user, where], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert save().returncode == 0
    m.append("INBOX", "()", None, b"Subject: another\r\n\r\n" + (b"y" * 70 + b"\r\n") * 10000)
    m.logout()
    p = save()
    assert p.returncode == 1 and "backup_user_size_max" in rows(p.stdout)[0]["error"]
    assert sum(f.stat().st_size for f in where.rglob("*") if f.is_file()) < 1 << 20
    assert len(rows(s.tool("postern-backup", "--list", "--json", "--user", user, where).stdout)) == 1, "the snapshot of before stays"
