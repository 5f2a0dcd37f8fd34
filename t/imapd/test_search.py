"""SEARCH (RFC 3501 6.4.4): keys, decoded text, charsets, limits."""
import os

import pytest

from imapmessages import MULTI, SIMPLE, crlf, numbered

UTF8_HEAD = crlf("From: =?iso-8859-1?q?J=F6rg?= <j@example.com>\nSubject: =?utf-8?b?0J/RgNC40LLQtdGC?= =?utf-8?q?_=CE=A3=CE=AF=CF=83=CF=85=CF=86=CE=BF=CF=82?=\n"
                 "Date: Wed, 1 Mar 2000 23:59:00 -0500\n\nplain\n")
LATIN = crlf("Subject: latin\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n"
             "Sch=F6ne Gr=FC=DFe aus K=D6LN, split wo=\nrd\n")


@pytest.fixture
def c(imap, folder):
    c = imap()
    c.append(folder, SIMPLE, '(\\Seen) "17-Jul-1996 02:44:25 -0700" ')
    c.append(folder, MULTI, '(\\Flagged Work) ')
    c.append(folder, UTF8_HEAD)
    c.append(folder, LATIN, "(\\Answered \\Deleted) ")
    c.append(folder, numbered(5, 3000), "(\\Draft) ")
    c.ok("SELECT " + folder)
    return c


def found(c, what, uid=False):
    got = [l for l in c.ok(("UID " if uid else "") + "SEARCH " + what if isinstance(what, str) else b"SEARCH " + what) if l.startswith(b"* SEARCH")]
    assert len(got) == 1, got
    return [int(x) for x in got[0].split()[2:]]


@pytest.mark.parametrize("what, want", [
    ("ALL", [1, 2, 3, 4, 5]), ("1:*", [1, 2, 3, 4, 5]), ("2,4", [2, 4]), ("NOT 2", [1, 3, 4, 5]), ("*", [5]),
    ("SEEN", [1]), ("UNSEEN", [2, 3, 4, 5]), ("FLAGGED", [2]), ("ANSWERED DELETED", [4]), ("DRAFT", [5]), ("UNDRAFT UNDELETED UNFLAGGED", [1, 3]),
    ("KEYWORD Work", [2]), ("KEYWORD work", [2]), ("UNKEYWORD Work", [1, 3, 4, 5]), ("KEYWORD none", []),
    ("OR SEEN FLAGGED", [1, 2]), ("OR (SEEN) (OR FLAGGED DRAFT)", [1, 2, 5]), ("NOT (OR SEEN FLAGGED)", [3, 4, 5]),
    ("LARGER 2000", [5]), ("SMALLER 2000", [1, 2, 3, 4]),
    ("BEFORE 18-Jul-1996", [1]), ("ON 17-Jul-1996", [1]), ("SINCE 18-Jul-1996", [2, 3, 4, 5]), ("BEFORE 17-Jul-1996", []),
    ("SENTON 7-Feb-1994", [1]), ("SENTBEFORE 8-Feb-1994", [1]), ("SENTSINCE 8-Feb-1994", [2, 3]), ("SENTON 1-Mar-2000", [3]),
    ("FROM ann", [1, 2]), ("TO carl", [1]), ("SUBJECT SIMPLE", [1]), ("HEADER Message-ID simple@", [1]), ("HEADER In-Reply-To \"\"", [2]),
    ("HEADER X-None \"\"", []), ("CC x", []), ("BCC x", []), ("TO c@z", [2]),
    ("BODY \"hello bob\"", [1]), ("TEXT \"hello bob\"", [1]), ("BODY inner@example", [2]), ("TEXT inner", [2]), ("BODY \"inner html\"", [2]),
    ("BODY \"simple\"", []), ("TEXT \"padding\"", [5]), ("BODY secret", []), ("BODY \"split word\"", [4]), ("TEXT nowhere", []),
    ("UID 2:3", [2, 3]), ("UID 100", []), ("UID 100:*", [5]), ("NEW", [2, 3, 4, 5]), ("OLD", []), ("RECENT SEEN", [1]),
])
def test_keys(c, what, want):
    assert found(c, what) == want


def test_uid_search(c):
    assert found(c, "SEEN", uid=True) == [1]


def test_text_is_decoded_and_folded(c):
    for text, want in (("jörg", [3]), ("JÖRG", [3]), ("привет", [3]), ("ПРИВЕТ", [3]), ("σίσυφος", [3]), ("Привет Σίσυφ", [3]), ("grüße", [2, 4]), ("äpfel", [2]),
                       ("schöne grüße", [4]), ("köln", [4]), ("nirgends ö", [])):
        b = text.encode()
        assert found(c, b"CHARSET UTF-8 TEXT {%d+}\r\n%s" % (len(b), b)) == want, text
        assert found(c, b"TEXT {%d+}\r\n%s" % (len(b), b)) == want, text


def test_charsets(c):
    c.no("SEARCH CHARSET KOI8-R ALL", "BADCHARSET")
    assert found(c, "CHARSET us-ascii SUBJECT simple") == [1]
    c.bad(b"SEARCH CHARSET UTF-8 TEXT {2+}\r\n\xff\xfe")


def test_hostile(c):
    # security cases 104, 105
    c.bad("SEARCH " + "NOT " * 100000 + "ALL")
    c.bad("SEARCH " + "OR ALL " * 100000 + "ALL")
    c.bad("SEARCH " + "(" * 100000)
    c.bad("SEARCH " + "ALL " * 100000 + "ALL")
    c.bad('SEARCH KEYWORD ""')
    c.bad("SEARCH SINCE 31-Feb-2020")
    c.bad("SEARCH SINCE 1-Jan-0000")
    c.bad("SEARCH 6")
    c.bad("SEARCH")
    c.bad("SEARCH ALL FOO")
    assert found(c, b"TEXT {500000+}\r\n" + b"y" * 500000) == []
    assert c.cmd(b"SEARCH TEXT {2000000+}\r\n" + b"y" * 2000000)[0] == "BAD"
    assert found(c, "ALL") == [1, 2, 3, 4, 5]


def test_empty_folder(imap, folder):
    c = imap()
    c.ok("SELECT " + folder)
    assert c.ok("SEARCH ALL") == [b"* SEARCH"]
    assert c.ok("SEARCH 1:*") == [b"* SEARCH"]


def test_a_first_search_keeps_no_more_than_it_needs(imap, folder, suite):
    """Of files that nobody has looked at, the index learns which to look at next time; what is kept to show a message is made of those that are found."""
    root = suite.maildir("alice@example.com") / ("." + folder)
    owner, to = (root / "cur").stat(), ",\n ".join("Somebody With A Name %d <somebody%d@example.com>" % (k, k) for k in range(40))
    for n in range(1, 41):
        path = root / "cur" / ("17000000%02d.M1P1.h:2,S" % n)
        path.write_text("From: sender%d@example.com\nTo: %s\nSubject: %s %d\n\nbody\n" % (n, to, "rarity" if n % 15 == 0 else "common", n))
        os.chown(path, owner.st_uid, owner.st_gid)
    c = imap()
    c.ok("SELECT " + folder)
    assert found(c, "SUBJECT rarity") == [15, 30]
    assert 0 < (root / "postern.cache").stat().st_size < 10 * 2500
    for other in (c, imap()):
        other.ok("SELECT " + folder)
        assert found(other, "SUBJECT rarity") == [15, 30]
        assert found(other, "NOT SUBJECT common") == [15, 30]
        assert found(other, "OR SUBJECT rarity FROM sender7@") == [7, 15, 30]
        assert found(other, "FROM sender3") == [3] + list(range(30, 40))
        assert found(other, "HEADER Subject \"\"") == list(range(1, 41))
    assert all(b"common" in line or b"rarity" in line for line in c.ok("FETCH 1:* ENVELOPE"))
