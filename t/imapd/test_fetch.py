"""FETCH (RFC 3501 6.4.5) and what clients expect of it."""
import re

from imapmessages import MULTI, SIMPLE, crlf, numbered


def select(imap, folder, *messages):
    c = imap()
    for m in messages:
        c.append(folder, m)
    c.ok("SELECT " + folder)
    return c


def test_whole_message_is_what_was_appended(imap, folder):
    c = select(imap, folder, SIMPLE, MULTI)
    for n, m in ((1, SIMPLE), (2, MULTI)):
        assert c.fetch1("%d BODY.PEEK[]" % n, "BODY[]") == m
        assert c.fetch1("%d RFC822.PEEK" % n, "RFC822") == m
        size = c.ok("FETCH %d RFC822.SIZE" % n)
        assert size == [b"* %d FETCH (RFC822.SIZE %d)" % (n, len(m))]


def test_header_and_text_make_the_message(imap, folder):
    c = select(imap, folder, MULTI)
    head, text = MULTI.split(b"\r\n\r\n", 1)
    assert c.fetch1("1 BODY.PEEK[HEADER]", "BODY[HEADER]") == head + b"\r\n\r\n"
    assert c.fetch1("1 BODY.PEEK[TEXT]", "BODY[TEXT]") == text
    assert c.fetch1("1 RFC822.HEADER", "RFC822.HEADER") == head + b"\r\n\r\n"


def test_parts(imap, folder):
    c = select(imap, folder, MULTI)
    get = lambda s: c.fetch1("1 BODY.PEEK[%s]" % s, "BODY[%s]" % s)
    assert get("1") == b"First part with =C3=84pfel."
    assert get("1.MIME") == b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    assert get("2.HEADER").startswith(b"From: inner@example.com\r\nSubject: inner subject\r\n")
    assert get("2.1") == b"inner plain"
    assert get("2.2") == b"<p>inner html</p>"
    assert get("2.2.MIME") == b"Content-Type: text/html\r\n\r\n"
    assert get("2.TEXT").startswith(b"--inner\r\n")
    assert get("3") == b"c2VjcmV0IHdvcmQ="
    for nothing in ("4", "1.1", "2.3", "3.1", "1.HEADER", "2.1.1", "4294967295"):
        assert get(nothing) is None, nothing


def test_simple_message_is_part_one(imap, folder):
    c = select(imap, folder, SIMPLE)
    assert c.fetch1("1 BODY.PEEK[1]", "BODY[1]") == b"Hello Bob.\r\nSecond line.\r\n"
    assert c.fetch1("1 BODY.PEEK[2]", "BODY[2]") is None
    assert c.fetch1("1 BODY.PEEK[1.1]", "BODY[1.1]") is None


def test_partial(imap, folder):
    c = select(imap, folder, SIMPLE, numbered(1, 500000))
    assert c.fetch1("1 BODY.PEEK[]<0.10>", "BODY[]<0>") == SIMPLE[:10]
    assert c.fetch1("1 BODY.PEEK[]<5.100000>", "BODY[]<5>") == SIMPLE[5:]
    big = c.fetch1("2 BODY.PEEK[]", "BODY[]")
    assert len(big) > 490000
    for at in (0, 1, 99, 100, 101, 32767, 32768, 250001, len(big) - 1):
        assert c.fetch1("2 BODY.PEEK[]<%d.4097>" % at, "BODY[]<%d>" % at) == big[at:at + 4097], at


def test_partial_beyond_the_end_is_a_quoted_string(imap, folder):
    # iOS stalls on {0}
    c = select(imap, folder, SIMPLE)
    for spec in ("%d.100" % len(SIMPLE), "100000.393216", "4294967295.4294967295"):
        got = c.ok("FETCH 1 BODY.PEEK[]<%s>" % spec)
        assert got == [b'* 1 FETCH (BODY[]<%s> "")' % spec.split(".")[0].encode()]
    assert c.ok("FETCH 1 BODY.PEEK[1]<100.5>") == [b'* 1 FETCH (BODY[1]<100> "")']


def test_header_fields_label_is_echoed(imap, folder):
    # Apple Mail compares it
    c = select(imap, folder, SIMPLE)
    spec = 'HEADER.FIELDS (subject "FROM" date)'
    got = c.ok("FETCH 1 (BODY.PEEK[%s])" % spec)
    assert len(got) == 1 and b"BODY[%s] {" % spec.encode() in got[0], got
    text = c.fetch1("1 BODY.PEEK[%s]" % spec, "BODY[%s]" % spec)
    assert text == b"From: Ann <ann@example.com>\r\nSubject: simple\r\nDate: Mon, 7 Feb 1994 21:52:25 -0800\r\n\r\n"
    text = c.fetch1("1 BODY.PEEK[HEADER.FIELDS.NOT (subject from date to)]", "BODY[HEADER.FIELDS.NOT (subject from date to)]")
    assert text == b"Message-ID: <simple@example.com>\r\n\r\n"
    assert c.fetch1("1 BODY.PEEK[HEADER.FIELDS (X-None)]", "BODY[HEADER.FIELDS (X-None)]") == b"\r\n"


def test_header_fields_in_literals_stay_harmless(imap, folder):
    c = select(imap, folder, SIMPLE)
    got = c.ok(b"FETCH 1 BODY.PEEK[HEADER.FIELDS ({11+}\r\nFrom\r\nX: To)]")
    assert len(got) == 1 and got[0].startswith(b"* 1 FETCH (BODY[HEADER.FIELDS ({11}\r\nFrom\r\nX: To)] "), got
    assert b"\r\n" not in got[0].split(b"{11}")[0]


def test_envelope(imap, folder):
    c = select(imap, folder, SIMPLE, MULTI)
    want = (b'* 1 FETCH (ENVELOPE ("Mon, 7 Feb 1994 21:52:25 -0800" "simple" (("Ann" NIL "ann" "example.com")) '
            b'(("Ann" NIL "ann" "example.com")) (("Ann" NIL "ann" "example.com")) '
            b'((NIL NIL "bob" "example.org")("Carl C" NIL "carl" "example.net")) NIL NIL NIL "<simple@example.com>"))')
    for _ in range(2):	# computed, cached
        assert c.ok("FETCH 1 ENVELOPE") == [want]
    got = c.ok("FETCH 2 ENVELOPE")[0]
    assert b'"=?utf-8?q?Gr=C3=BC=C3=9Fe?= from Ann"' in got
    assert b'((NIL NIL "group" NIL)(NIL NIL "a" "x.example")(NIL NIL "b" "y.example")(NIL NIL NIL NIL)(NIL NIL "c" "z.example"))' in got
    assert got.endswith(b'NIL NIL "<simple@example.com>" NIL))')


def test_bodystructure(imap, folder):
    c = select(imap, folder, SIMPLE, MULTI)
    for _ in range(2):
        assert c.ok("FETCH 1 BODYSTRUCTURE") == [
            b'* 1 FETCH (BODYSTRUCTURE ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 26 2 NIL NIL NIL NIL))'] or \
            c.ok("FETCH 1 BODYSTRUCTURE") == [
            b'* 1 FETCH (BODYSTRUCTURE ("text" "plain" NIL NIL NIL "7bit" 26 2 NIL NIL NIL NIL))']
        got = c.ok("FETCH 2 BODYSTRUCTURE")[0].lower()
        assert got.startswith(b'* 2 fetch (bodystructure (("text" "plain" ("charset" "utf-8") nil nil "quoted-printable" 27 1 '), got
        assert b'("message" "rfc822" nil nil "inner" "7bit" ' in got
        assert b'(nil "inner subject" ((nil nil "inner" "example.com"))' in got
        assert b'("application" "octet-stream" ("name" "a.bin") nil nil "base64" 16 nil ("attachment" ("filename" "a.bin")) nil nil)' in got
        assert got.endswith(b'"mixed" ("boundary" "outer") nil nil nil))'), got
        got = c.ok("FETCH 2 BODY")[0].lower()
        assert got.endswith(b'("application" "octet-stream" ("name" "a.bin") nil nil "base64" 16) "mixed"))'), got


def test_macros_and_order(imap, folder):
    c = select(imap, folder, SIMPLE)
    got = c.ok("FETCH 1 FAST")[0]
    assert re.match(rb'\* 1 FETCH \(FLAGS \([^)]*\) INTERNALDATE "[ \d]\d-\w{3}-\d{4} \d\d:\d\d:\d\d [-+]\d{4}" RFC822.SIZE %d\)$' % len(SIMPLE), got), got
    assert b" ENVELOPE (" in c.ok("FETCH 1 ALL")[0]
    assert b" BODY (" in c.ok("FETCH 1 FULL")[0]


def test_seen_is_set_and_told(imap, folder):
    c = select(imap, folder, SIMPLE, SIMPLE)
    assert b"\\Seen" not in c.ok("FETCH 1 FLAGS")[0]
    c.ok("FETCH 1 BODY.PEEK[]")
    assert b"\\Seen" not in c.ok("FETCH 1 FLAGS")[0]
    got = c.ok("FETCH 1 BODY[TEXT]")
    assert len(got) == 1 and b"\\Seen" in got[0].split(b"BODY[TEXT]")[0], got
    assert b"\\Seen" in c.ok("FETCH 1 FLAGS")[0]
    c.ok("EXAMINE " + folder)
    c.ok("FETCH 2 BODY[]")
    assert b"\\Seen" not in c.ok("FETCH 2 FLAGS")[0]


def test_internaldate_round_trip(imap, folder):
    c = imap()
    c.append(folder, SIMPLE, '(\\Flagged) "17-Jul-1996 02:44:25 -0700" ')
    c.ok("SELECT " + folder)
    got = c.ok("FETCH 1 (FLAGS INTERNALDATE)")[0]
    assert b'INTERNALDATE "17-Jul-1996 09:44:25 +0000"' in got and b"\\Flagged" in got


def test_sequence_numbers_out_of_range(imap, folder):
    c = imap()
    c.ok("SELECT " + folder)
    assert c.ok("FETCH 1:* FLAGS") == []
    assert c.ok("UID FETCH 1:* FLAGS") == []
    c.bad("FETCH 1 FLAGS")
    c.append(folder, SIMPLE)
    c.ok("NOOP")
    assert len(c.ok("FETCH *:1 FLAGS")) == 1
    c.bad("FETCH 0 FLAGS")
    c.bad("FETCH 2 FLAGS")
    c.bad("FETCH 4294967296 FLAGS")
    assert len(c.ok("UID FETCH 4294967295:* FLAGS")) == 1	# * is below, the range turns round
    assert c.ok("UID FETCH 4294967294 FLAGS") == []
    assert len(c.ok("FETCH " + "1," * 500000 + "1 FLAGS")) == 1


def test_uid_fetch_has_uid(imap, folder):
    c = select(imap, folder, SIMPLE, SIMPLE)
    got = c.ok("UID FETCH 1:* FLAGS")
    assert [re.search(rb"UID (\d+)", g).group(1) for g in got] == [b"1", b"2"]


def test_hostile_fetch_arguments(imap, folder):
    # security case 101-103
    c = select(imap, folder, SIMPLE)
    c.bad("FETCH 1 BODY[" + "1." * 10000 + "1]")
    c.bad("FETCH 1 BODY[]<0.0>")
    c.bad("FETCH 1 BODY[]<4294967296.1>")
    c.bad("FETCH $x FLAGS")
    c.bad("FETCH 1 (" + "(" * 100000)
    got = c.ok('FETCH 1 BODY.PEEK[HEADER.FIELDS (%s)]' % " ".join("x%d" % i for i in range(50000)))
    assert len(got) == 1
    c.ok('FETCH 1 BODY.PEEK[HEADER.FIELDS ("a\\"b" "c d")]')
    c.bad(b'FETCH 1 BODY.PEEK[HEADER.FIELDS ("a\rb")]')


def test_response_injection(imap, folder):
    # security case 120: nothing of a message passes for protocol
    evil = crlf("From: \"x\\\" OK\" <a@b>\nSubject: x\n\tt1 OK done\nTo: \xe9\"{3}\" <c@d>\n\nbody\n").replace(b"\xc3\xa9", b"\xe9\x00")
    c = select(imap, folder, evil)
    got = c.ok("FETCH 1 (ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER])")
    assert len(got) == 1 and b"\x00" not in got[0]
    assert c.ok("NOOP") == []


def test_message_without_header_or_body(imap, folder):
    c = select(imap, folder, b"\r\n", b"\r\nbody only\r\n", b"Subject: only a header\r\n", b"no header at all", b"Subject: x\r\n\r\n")
    assert c.fetch1("1 BODY.PEEK[]", "BODY[]") == b"\r\n"
    assert c.fetch1("2 BODY.PEEK[TEXT]", "BODY[TEXT]") == b"body only\r\n"
    assert c.fetch1("3 BODY.PEEK[HEADER]", "BODY[HEADER]") == b"Subject: only a header\r\n"
    assert c.fetch1("3 BODY.PEEK[TEXT]", "BODY[TEXT]") == b""
    assert c.fetch1("4 BODY.PEEK[]", "BODY[]") == b"no header at all"
    assert c.fetch1("5 BODY.PEEK[HEADER]", "BODY[HEADER]") == b"Subject: x\r\n\r\n"
    assert len(c.ok("FETCH 1:5 (ENVELOPE BODY BODYSTRUCTURE)")) == 5


def test_many_messages_stream(imap, folder):
    c = select(imap, folder)
    n = 300
    msgs = [numbered(i, 20000) for i in range(n)]
    tag = "m"
    c.send("%s APPEND %s" % (tag, folder))
    for m in msgs:
        c.send(b" {%d+}\r\n" % len(m) + m)
    c.send("\r\n")
    status, line, _ = c.finish(tag)
    assert status == "OK" and "APPENDUID" in line
    c.ok("NOOP")
    got = c.ok("FETCH 1:* (UID BODY.PEEK[])")
    assert len(got) == n
    for i, g in enumerate(got):
        assert msgs[i] in g


def test_sizes_in_file_names_may_lie(imap, folder, suite):
    import os
    c = imap()
    c.append(folder, SIMPLE)
    root = suite.maildir("alice@example.com") / ("." + folder)
    tmp = root / "tmp" / "1700000000.M1P1.lie,S=5,W=7"
    tmp.write_bytes(SIMPLE.replace(b"\r\n", b"\n"))
    st = (root / "cur").stat()
    os.chown(tmp, st.st_uid, st.st_gid)
    os.rename(tmp, root / "new" / tmp.name)
    c.ok("SELECT " + folder)
    assert c.fetch1("2 BODY.PEEK[]", "BODY[]") == SIMPLE
    assert c.ok("FETCH 2 RFC822.SIZE") == [b"* 2 FETCH (RFC822.SIZE %d)" % len(SIMPLE)]
