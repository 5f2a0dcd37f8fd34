"""postern import mbox, tree, maildir: what arrives, that nothing is taken twice, that a kill harms nothing, and hostile sources."""
import os
import signal
import subprocess
import time

FROM = b"From joe@example.net Mon Jan  2 15:04:05 2006\n"


def mbox(*messages):
    return b"\n".join(FROM + m for m in messages)


def msg(n, extra=b"", body=b"body\n"):
    return b"Subject: %d\nMessage-ID: <%d@x>\n%s\n%s" % (n, n, extra, body)


def put(tmp_path, name, content):
    p = tmp_path / name
    p.parent.mkdir(parents=True, exist_ok=True)
    p.write_bytes(content)
    return p


def test_flags_dates_quoting_and_uids(user, tmp_path):
    f = put(tmp_path, "old", mbox(
        b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1000000007 0000000050 Work\n\nThis text is part of the internal format.\n",
        msg(1, b"Status: RO\nX-Status: AF\nX-UID: 17\nX-Keywords: Work $Label1\n", b"a\n>From b\n>>From c\n"),
        msg(2, b"Status: O\nX-UID: 42\n", b"From time to time\n"),
        msg(3, b"X-Mozilla-Status: 0009\n"), msg(4, b"X-Mozilla-Status: 1003\n")))
    row = user.run("mbox", "--folder", "Old/Mail", f)["Old/Mail"]
    assert (row["found"], row["imported"], row["skipped"], row["failed"], row["verified"]) == (4, 3, 1, 0, 3)
    got = user.messages("Old/Mail")
    assert [(u, fl) for u, fl, _ in got] == [(17, {b"\\Seen", b"\\Answered", b"\\Flagged", b"Work", b"$Label1"}), (42, set()),
                                             (43, {b"\\Seen", b"\\Answered", b"$Forwarded"})]
    assert got[0][2] == b"Subject: 1\r\nMessage-ID: <1@x>\r\n\r\na\r\nFrom b\r\n>From c\r\n"
    assert got[1][2].endswith(b"\r\nFrom time to time\r\n")
    c = user.imap("Old/Mail")
    assert c.response("UIDVALIDITY")[1] == [b"1000000007"]
    assert b'" 2-Jan-2006 15:04:05 +0000"' in c.fetch("1", "(INTERNALDATE)")[1][0]
    assert b"Old/Mail" in b" ".join(c.lsub()[1])
    c.logout()


def test_again_takes_nothing_twice_and_brings_nothing_back(user, tmp_path):
    same = msg(1)
    f = put(tmp_path, "box", mbox(same, msg(2), same))
    row = user.run("mbox", "--folder", "Box", f)["Box"]
    assert (row["imported"], row["known"]) == (3, 0)        # twice in the file is twice
    # it is marked as read by its old program, and grows
    put(tmp_path, "box", mbox(same.replace(b"\n\n", b"\nStatus: RO\n\n", 1), msg(2), same, msg(3)))
    c = user.imap("Box")
    c.store("2", "+FLAGS", "\\Deleted")
    c.expunge()
    c.logout()
    (user.root / ".Box" / "postern.index").unlink(missing_ok=True)
    row = user.run("mbox", "--folder", "Box", f)["Box"]
    assert (row["found"], row["imported"], row["known"]) == (4, 1, 3)
    assert len(user.messages("Box")) == 3
    os.unlink(user.root / "postern.imported")               # then the files' names tell
    row = user.run("mbox", "--folder", "Box", f)["Box"]
    assert (row["imported"], row["known"]) == (1, 3)        # only the deleted one comes again


def test_a_dry_run_changes_nothing(user, tmp_path):
    f = put(tmp_path, "x", mbox(msg(1), msg(2)))
    row = user.run("mbox", "-n", "--folder", "X", f)["X"]
    assert row["imported"] == 2 and row["dry_run"] is True
    assert not (user.root / ".X").exists()


def test_killed_anywhere_and_run_again(user, suite, tmp_path):
    f = put(tmp_path, "big", mbox(*(msg(n, body=b"%d\n" % n * 300) for n in range(700))))
    for delay in (0.05, 0.08, 0.12, 0.2):
        p = subprocess.Popen([str(suite.bin / "postern-import"), "-c", str(suite.conf), "-q", "mbox", "--user", user.name, "--folder", "Big", str(f)],
                             start_new_session=True)
        time.sleep(delay)       # any moment will do
        os.killpg(p.pid, signal.SIGKILL)
        p.wait()
    row = user.run("mbox", "--folder", "Big", f)["Big"]
    assert row["imported"] + row["known"] == 700 and row["failed"] == 0
    bodies = [b for _, _, b in user.messages("Big")]
    assert len(bodies) == 700 and len(set(bodies)) == 700


def test_an_old_home_in_one_command(user, suite, tmp_path):
    home = tmp_path / user.name
    put(home, "mail/Projects/2005", mbox(msg(1)))
    put(home, "mail/sent-mail", mbox(msg(2), msg(3)))
    put(home, "mail/notes.txt", b"no mail at all\n")
    put(home, "mail/empty", b"")
    put(home, "mail/k\xf6ln".encode("latin-1").decode("latin-1"), mbox(msg(4)))
    put(home, "Mail/Thunder.sbd/Sub", mbox(msg(5)))
    put(home, "mbox", mbox(msg(6, b"Status: RO\n")))
    put(tmp_path, "spool/" + user.name.split("@")[0], mbox(msg(7)))
    for sub in ("cur", "new", "tmp", ".Deep.er/cur", ".Deep.er/new"):
        (home / "Maildir" / sub).mkdir(parents=True)
    put(home, "Maildir/new/1000000000.M1P1.h", msg(8))
    put(home, "Maildir/.Deep.er/cur/1000000001.M1P1.h:2,S", msg(9))
    os.symlink("/etc/passwd", home / "mail" / "link")
    rows = user.run("tree", "--spool", tmp_path / "spool", str(home) + "/", code=0)
    assert rows["Projects/2005"]["imported"] == 1 and rows["sent-mail"]["imported"] == 2
    assert rows["Deep/er"]["imported"] == 1 and rows["Thunder/Sub"]["imported"] == 1 and rows["k\xf6ln"]["imported"] == 1
    assert "-" in rows
    assert [b.split(b"\r\n")[0] for _, _, b in user.messages("INBOX")] == [b"Subject: 7", b"Subject: 6", b"Subject: 8"]
    assert user.messages("Deep/er")[0][1] == {b"\\Seen"}
    assert user.messages("empty") == []
    again = user.run("tree", "--spool", tmp_path / "spool", home)
    assert sum(r["imported"] for r in again.values()) == 0
    assert not any("root:" in f.read_text(errors="replace") for f in user.root.rglob("cur/*"))


def test_a_maildir_elsewhere_keeps_uids_keywords_and_pop3_ids(user, tmp_path):
    d = tmp_path / "Maildir"
    for sub in ("cur", "new", "tmp"):
        (d / sub).mkdir(parents=True)
    put(d, "cur/1000000005.M1P1.h,S=9:2,Sab", msg(1))
    put(d, "cur/1000000001.M1P1.h:2,F", msg(2))
    put(d, "new/1000000009.M1P1.h", msg(3))
    os.utime(d / "cur/1000000001.M1P1.h:2,F", (1136214245, 1136214245))
    put(d, "dovecot-uidlist", b"3 V1234567890 N30 G0123456789abcdef0123456789abcdef\n7 Pold-7 :1000000005.M1P1.h,S=9\n9 :1000000001.M1P1.h\n")
    put(d, "dovecot-keywords", b"0 $Label1\n1 Work\n")
    row = user.run("maildir", d)["INBOX"]
    assert (row["found"], row["imported"], row["failed"]) == (3, 3, 0)
    got = user.messages()
    assert [(u, f) for u, f, _ in got] == [(7, {b"\\Seen", b"$Label1", b"Work"}), (9, {b"\\Flagged"}), (10, set())]
    c = user.imap()
    assert c.response("UIDVALIDITY")[1] == [b"1234567890"]
    assert b'" 2-Jan-2006 15:04:05' in c.fetch("2", "(INTERNALDATE)")[1][0]
    c.logout()


def test_hostile_files(user, suite, tmp_path):
    f = put(tmp_path, "x", b"\x00\xff" * 5000)
    row = user.run("mbox", "--folder", "X", f, code=1)["X"]
    assert row["failed"] == 1 and "no From_ line" in row["note"]
    os.mkfifo(tmp_path / "fifo")
    user.run("mbox", "--folder", "X", tmp_path / "fifo", code=75)
    user.run("mbox", "--folder", "X", tmp_path / "none", code=75)
    nul = put(tmp_path, "nul", mbox(b"Subject: a\x00b\n\n\x00\xfe\r\r\n" + b"x" * 200000 + b"\n"))
    assert user.run("mbox", "--folder", "Nul", nul)["Nul"]["verified"] == 1
    assert subprocess.run([str(suite.bin / "postern-import"), "mbox"], capture_output=True).returncode == 64
    assert user.run("mbox", "--folder", "..//x", f, code=75) is not None


def test_a_quota_ends_it(user, suite, tmp_path):
    suite.tool("postern-user", "quota", user.name, "10k")
    f = put(tmp_path, "x", mbox(*(msg(n, body=b"x" * 1000 + b"\n") for n in range(100))))
    row = user.run("mbox", "--folder", "X", f, code=75)["X"]
    assert row["failed"] > 0
    suite.tool("postern-user", "quota", user.name, "none")
    row = user.run("mbox", "--folder", "X", f)["X"]
    assert row["imported"] + row["known"] == 100 and len(user.messages("X")) == 100


def test_progress_is_shown_on_a_terminal_only(user, suite, tmp_path):
    f = put(tmp_path, "box", mbox(*(msg(n) for n in range(40))))
    command = [str(suite.bin / "postern-import"), "-c", str(suite.conf), "mbox", "--user", user.name, "--folder"]
    piped = subprocess.run([*command, "Piped", str(f)], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert b"\r" not in piped.stderr + piped.stdout and b"Piped" in piped.stdout
    shown = subprocess.run(["script", "-qec", " ".join([*command, "Shown", str(f)]), "/dev/null"], stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout
    assert b"\r[" + b"#" * 30 + b"] 100%  " in shown
    last = shown.rindex(b"%  ")
    assert b"\r\x1b[K" in shown[last:] and b"Shown" in shown[last:]      # the bar makes room for the table
