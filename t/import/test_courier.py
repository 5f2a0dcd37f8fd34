"""A maildir of Courier's: brought in from elsewhere, and taken over where it lies. The files are as Courier-IMAP and courierpop3d 5.0.13 (Debian 12) write them for three
messages appended, one of them expunged, keywords set, two folders made and subscribed, and a POP3 session."""
import os
import shutil

ONE = "1795946968.M521504P32744V000000000000FE00I000000000014A23E_0.vm,S=27"
THREE = "1795946968.M531215P32744V000000000000FE00I000000000014A23F_2.vm,S=27"
DEEP = "1795946968.M540068P32744V000000000000FE00I000000000014A255_3.vm,S=17"
TREE = {
    "cur/%s:2,S" % ONE: b"Subject: courier 0\n\nbody 0\n",
    "cur/%s:2,S" % THREE: b"Subject: courier 2\n\nbody 2\n",
    "courierimapuiddb": ("1 795946968 4\n1 %s\n3 %s\n" % (ONE, THREE)).encode(),
    "courierimapkeywords/:list": ("Wichtig\n$Label1\n\n%s:1 0\n" % ONE).encode(),
    "courierimapkeywords/.5986490." + ONE: b"$Label1\nWichtig\n",
    "courierimapsubscribed": "INBOX.Work.Kunden\nINBOX.R\u00e9union\n".encode(),
    "courierimaphieracl/Work": b"owner aceilrstwx\nadministrators aceilrstwx\n",
    "courierpop3dsizelist": ("/3 3 1795946979\n%s:2,S 30 1:1795946979:0\n%s:2,S 30 2:1795946979:0\n" % (ONE, THREE)).encode(),
    ".Work.Kunden/cur/%s:2,F" % DEEP: b"Subject: deep\n\nx\n",
    ".Work.Kunden/maildirfolder": b"",
    ".Work.Kunden/courierimapacl": b"owner aceilrstwx\nadministrators aceilrstwx\n",
    ".Work.Kunden/courierimapuiddb": ("1 795946968 2\n1 %s\n" % DEEP).encode(),
    ".Work.Kunden/courierimapkeywords/" + DEEP: b"Kunde\n",
    ".R\u00e9union/maildirfolder": b"",
    ".R\u00e9union/courierimapacl": b"owner aceilrstwx\nadministrators aceilrstwx\n",
    ".R\u00e9union/courierimapuiddb": b"1 795946968 1\n",
}


def make(root):
    for folder in ("", ".Work.Kunden/", ".R\u00e9union/"):
        for sub in ("cur", "new", "tmp"):
            (root / (folder + sub)).mkdir(parents=True, exist_ok=True)
    for name, content in TREE.items():
        p = root / name
        p.parent.mkdir(parents=True, exist_ok=True)
        p.write_bytes(content)


def look(user):
    """What clients that knew Courier must find again."""
    assert [(u, f) for u, f, _ in user.messages()] == [(1, {b"\\Seen", b"Wichtig", b"$Label1"}), (3, {b"\\Seen"})]
    assert [b for _, _, b in user.messages()] == [b"Subject: courier 0\r\n\r\nbody 0\r\n", b"Subject: courier 2\r\n\r\nbody 2\r\n"]
    assert user.messages("Work/Kunden") == [[1, {b"\\Flagged", b"Kunde"}, b"Subject: deep\r\n\r\nx\r\n"]]
    c = user.imap()
    assert c.response("UIDVALIDITY")[1] == [b"795946968"] and c.response("UIDNEXT")[1] == [b"4"]
    assert {line.rsplit(b' "/" ')[-1].strip(b'"') for line in c.lsub()[1]} >= {b"Work/Kunden", b"R&AOk-union"}
    assert c.select('"R&AOk-union"')[0] == "OK"
    c.logout()


def test_from_elsewhere(user, tmp_path):
    make(tmp_path / "Maildir")
    rows = user.run("maildir", tmp_path / "Maildir")
    assert {k: (r["found"], r["imported"], r["verified"], r["failed"]) for k, r in rows.items() if r["found"]} == {
        "INBOX": (2, 2, 2, 0), "Work/Kunden": (1, 1, 1, 0)}
    look(user)
    again = user.run("maildir", tmp_path / "Maildir")
    assert (again["INBOX"]["imported"], again["INBOX"]["known"]) == (0, 2)


def test_in_place(user, mail_of, tmp_path):
    user.make_root()
    make(tmp_path / "old")
    shutil.copytree(tmp_path / "old", user.root, dirs_exist_ok=True)
    st = user.root.stat()
    for base, dirs, names in os.walk(user.root):
        for n in [*dirs, *names]:
            os.chown(os.path.join(base, n), st.st_uid, st.st_gid)
    look(user)
    # No client fetches a message again by POP3.
    p = mail_of(user).pop3(user.name)
    assert p.uidl()[1] == [b"1 UID1-1795946979", b"2 UID2-1795946979"]
    p.quit()
    assert (user.root / "courierimapuiddb").read_bytes() == TREE["courierimapuiddb"], "Courier's own files stay as they are"
