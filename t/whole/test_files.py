"""What a server that works has on its disks is what the manuals of section 5 and 7 name."""
import fnmatch
import pathlib
import re
import stat

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Names that the manuals give a form, not a word.
FORMS = ("spool/incoming/*", "spool/memory/*", "spool/queue/*", "spool/spare/*", "state/dmarc/2*", "state/mta-sts/*.*", "state/dkim/private/*._domainkey.*.pem",
         "state/mail/*/cur/*", "state/mail/*/new/*", "state/mail/*/tmp/*", "state/mail/*/postern.train/*", "state/filter-tmp/*")


def manuals():
    """The words of lines that name files: elsewhere "client" or "users" would be no file."""
    text = "\n".join(p.read_text() for p in ROOT.rglob("*.[57]") if "build" not in p.relative_to(ROOT).parts and p.read_text().startswith(".Dd"))
    return {w for line in re.findall(r"^\.(?:It |Pq )?Pa .*", text, re.M) for w in re.findall(r"[\w.-]*\w", line)}


def unnamed(tops, words):
    """Files and sockets below the directories, whose names no manual has."""
    for top in tops:
        for p in top.rglob("*"):
            where = "%s/%s" % (top.name, p.relative_to(top))
            if not stat.S_ISDIR(p.lstat().st_mode) and p.name not in words and not any(fnmatch.fnmatch(where, f) for f in FORMS):
                yield where


def test_each_file_is_named_by_a_manual(suite, mail):
    mail.wait_for(mail.send())
    m = mail.imap()
    m.create("Papers")
    m.append("Papers", "\\Flagged", None, b"Subject: one\r\n\r\nwords\r\n")
    m.subscribe("Papers")
    m.select("Papers")
    m.store("1", "+FLAGS", "kept")
    m.search(None, "TEXT", "words")
    m.fetch("1", "ENVELOPE")
    m.logout()
    p = mail.pop3()
    p.stat()
    p.quit()
    words = manuals()
    there = [x.name for top in (suite.state, suite.spool, suite.run_dir) for x in top.rglob("*")]
    assert {"postern.journal", "passwd.cdb", "counters", "spare"} <= set(there), "this looks at the files of a server that works"
    assert sorted(set(unnamed((suite.state, suite.spool, suite.run_dir), words))) == []


def test_a_file_that_no_manual_has_is_seen(tmp_path):
    top = tmp_path / "state"
    (top / "filter").mkdir(parents=True)
    for name in ("users", "filter/tokens.cdb", "filter/unheard-of"):
        (top / name).touch()
    assert list(unnamed([top], manuals())) == ["state/filter/unheard-of"]
