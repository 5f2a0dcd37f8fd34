"""BINARY (RFC 3516), CATENATE (4469), REPLACE (8508), PREVIEW (8970), APPENDLIMIT (7889), COMPRESS (4978), QUOTA (9208), METADATA (5464), UTF8=ACCEPT (6855)."""
import base64
import re
import socket
import zlib

import pytest

from imapmessages import MULTI, SIMPLE, crlf, numbered
from imapraw import Imap

ALICE = "alice@example.com"


def select(imap, folder, *messages):
    c = imap()
    for m in messages:
        c.append(folder, m)
    c.ok("SELECT " + folder)
    return c


# --- BINARY ---

BLOB = bytes(range(256)) * 3
PARTS = crlf("""Subject: parts
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

caf=C3=A9
second=
 line
--b
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

%s
--b
Content-Type: application/x-odd
Content-Transfer-Encoding: x-uuencode

begin
--b
Content-Type: text/plain

as it is
--b--
""" % base64.encodebytes(BLOB).decode().strip())


def test_binary(imap, folder):
    c = select(imap, folder, PARTS)
    assert c.fetch1("1 BINARY.PEEK[1]", "BINARY[1]") == "café\r\nsecond line".encode()
    got = c.ok("FETCH 1 BINARY.PEEK[2]")[0]
    assert b"BINARY[2] ~{768}\r\n" + BLOB in got		# NUL is in it: literal8
    assert c.ok("FETCH 1 (BINARY.SIZE[1] BINARY.SIZE[2] BINARY.SIZE[4])") == [b"* 1 FETCH (BINARY.SIZE[1] 18 BINARY.SIZE[2] 768 BINARY.SIZE[4] 8)"]
    assert b"BINARY[2]<1> {3}\r\n\x01\x02\x03)" in c.ok("FETCH 1 BINARY.PEEK[2]<1.3>")[0]
    assert b'BINARY[4]<5> "is")' in c.ok("FETCH 1 BINARY.PEEK[4]<6.100>")[0].replace(b"<6> {2}\r\nis", b'<5> "is"')
    assert c.ok("FETCH 1 BINARY.PEEK[4]<100.5>") == [b'* 1 FETCH (BINARY[4]<100> "")']
    assert c.ok("FETCH 1 BINARY.PEEK[9]") == [b"* 1 FETCH (BINARY[9] NIL)"]
    assert c.fetch1("1 BINARY.PEEK[]", "BINARY[]") == PARTS
    assert b"\\Seen" not in b"".join(c.ok("FETCH 1 FLAGS"))
    assert b"\\Seen" in b"".join(c.ok("FETCH 1 BINARY[4]"))
    lines = c.no("FETCH 1 BINARY[3]", "UNKNOWN-CTE")
    for bad in ("FETCH 1 BINARY", "FETCH 1 BINARY[HEADER]", "FETCH 1 BINARY[1.TEXT]", "FETCH 1 BINARY.SIZE[1]<0.5>", "FETCH 1 BINARY[1", "FETCH 1 BINARY[0]"):
        c.bad(bad)


def test_blanks_at_the_end_of_a_line_are_no_text(imap, folder):
    # RFC 2045 6.7 rule 3
    c = select(imap, folder, crlf("MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\none  \ntwo \t\nthree=20 \nfo ur= \t\n five \t"))
    assert c.fetch1("1 BINARY.PEEK[1]", "BINARY[1]") == b"one\r\ntwo\r\nthree \r\nfo ur five"


def test_binary_append(imap, folder):
    c = imap()
    c.send(b"b APPEND %s ~{%d+}\r\n" % (folder.encode(), len(SIMPLE)) + SIMPLE + b"\r\n")
    assert c.finish("b")[0] == "OK"
    with_nul = SIMPLE + b"\0\r\n"
    c.send(b"b APPEND %s ~{%d+}\r\n" % (folder.encode(), len(with_nul)) + with_nul + b"\r\n")
    status, line, _ = c.finish("b")
    assert status == "NO" and "[UNKNOWN-CTE]" in line
    assert b"MESSAGES 1" in c.ok("STATUS %s (MESSAGES)" % folder)[0]


def test_binary_parts_are_stored_encoded(imap, folder):
    # RFC 3516 4.4: every byte comes back, whatever stands between them
    blob = bytes(range(256)) + b"\n\r\n\r\r\n" + BLOB * 300
    head = b"Subject: raw\r\nMIME-Version: 1.0\r\nContent-Type: application/x-raw\r\n"
    whole = head + b"Content-Transfer-Encoding: binary\r\n\r\n" + blob
    mixed = (b"Subject: mixed\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: binary\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n"
             b"Content-Transfer-Encoding: binary\r\nContent-Type: image/x\r\n\r\n" + blob + b"\r\n--b--\r\n")
    c = imap()
    c.send(b"b APPEND %s ~{%d+}\r\n" % (folder.encode(), len(whole)) + whole)
    c.send(b" (\\Flagged) ~{%d+}\r\n" % len(mixed) + mixed + b"\r\n")
    status, line, _ = c.finish("b")
    assert status == "OK", line
    c.ok("SELECT " + folder)
    for what, size in (("1 BINARY.PEEK[1]", "1 BINARY.SIZE[1]"), ("2 BINARY.PEEK[2]", "2 BINARY.SIZE[2]")):
        assert b"%s ~{%d}\r\n%s)" % (what[2:].replace(".PEEK", "").encode(), len(blob), blob) in c.ok("FETCH " + what)[0]
        assert c.ok("FETCH " + size)[0].endswith(b" %d)" % len(blob))
    assert c.fetch1("1 BODY.PEEK[HEADER]", "BODY[HEADER]") == head + b"Content-Transfer-Encoding: base64\r\n\r\n"
    body = c.fetch1("2 BODY.PEEK[2]", "BODY[2]")
    assert base64.b64decode(body) == blob and max(map(len, body.split(b"\r\n"))) <= 76
    assert c.fetch1("2 BODY.PEEK[1]", "BODY[1]") == b"text" and b"\\Flagged" in c.ok("FETCH 2 FLAGS")[0]
    # a part put in by CATENATE is no message that could be looked at; the limit counts what is stored
    c.send(b"c APPEND %s CATENATE (TEXT ~{%d+}\r\n%s)\r\n" % (folder.encode(), len(whole), whole))
    assert "[UNKNOWN-CTE]" in c.finish("c")[1]
    assert b"MESSAGES 2" in c.ok("STATUS %s (MESSAGES)" % folder)[0]


# --- CATENATE ---

def test_catenate(imap, folder):
    # RFC 4469 section 4, example 1 in our words: a new text with an old attachment
    c = select(imap, folder, MULTI)
    validity = re.search(rb"UIDVALIDITY (\d+)", b"".join(c.ok("STATUS %s (UIDVALIDITY)" % folder))).group(1).decode()
    head = b"Subject: new\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n"
    end = b"\r\n--x--\r\n"
    c.send(b'A003 APPEND %s (\\Seen \\Draft) CATENATE (TEXT {%d}\r\n' % (folder.encode(), len(head)))
    assert c.line().startswith(b"+")
    c.send(head + b' URL "/%s;UIDVALIDITY=%s/;UID=1/;SECTION=3.MIME" URL ";UID=1;section=3" TEXT {%d+}\r\n' % (folder.encode(), validity.encode(), len(end)))
    c.send(end + b")\r\n")
    status, line, _ = c.finish("A003")
    assert status == "OK" and "APPENDUID %s 2" % validity in line, line
    got = c.fetch1("2 BODY.PEEK[]", "BODY[]")
    assert got.startswith(head + b'Content-Type: application/octet-stream; name="a.bin"') and got.endswith(b"c2VjcmV0IHdvcmQ=" + end)
    assert b"\\Draft" in c.ok("FETCH 2 FLAGS")[0]


def test_catenate_without_literals(imap, folder):
    c = select(imap, folder, SIMPLE)
    other = imap()
    assert "APPENDUID" in other.cmd('APPEND %s CATENATE (URL "/%s/;UID=1/;SECTION=HEADER" URL "/%s/;UID=1/;SECTION=TEXT/;PARTIAL=6.4")' % ((folder,) * 3))[1]
    assert c.ok("NOOP")
    head, body = SIMPLE.split(b"\r\n\r\n", 1)
    assert c.fetch1("2 BODY.PEEK[]", "BODY[]") == head + b"\r\n\r\n" + body[6:10]


def test_catenate_with_multiappend(imap, folder):
    c = select(imap, folder, SIMPLE)
    c.send('m APPEND %s {3+}\r\nx\r\n CATENATE (TEXT {3+}\r\ny\r\n URL ";UID=1") (\\Seen) {3+}\r\nz\r\n\r\n' % folder)
    status, line, _ = c.finish("m")
    assert status == "OK" and re.search(r"APPENDUID \d+ 2:4\]", line)
    assert c.fetch1("3 BODY.PEEK[]", "BODY[]") == b"y\r\n" + SIMPLE


def test_catenate_errors(imap, folder):
    c = select(imap, folder, SIMPLE)
    for url in (";UID=9", ";UID=1/;SECTION=5", "/none/;UID=1", "/%s;UIDVALIDITY=1/;UID=1" % folder, "imap://host/INBOX/;UID=1", "x", ";UID=0", ";UID=1/;SECTION=FOO",
                "/%00/;UID=1", "/%zz/;UID=1", ";UID=1/;PARTIAL=x", ";UID=1;SECTION=", "/../;UID=1"):
        status, line, _ = c.cmd('APPEND %s CATENATE (TEXT {2+}\r\nab URL "%s")' % (folder, url))
        assert status == "NO" and "[BADURL \"%s\"]" % url in line, (url, line)
    for bad in ("CATENATE", "CATENATE ()", "CATENATE (FOO x)", "CATENATE (URL)", "CATENATE (TEXT x)", 'CATENATE (URL ";UID=1"', 'CATENATE (URL ";UID=1")x', "CATENATE URL x"):
        status, line, _ = c.cmd("APPEND %s %s" % (folder, bad))
        assert status in ("BAD", "NO") and (bad == "CATENATE ()" or status == "BAD"), (bad, line)
    assert c.cmd("APPEND %s CATENATE (TEXT {0+}\r\n)" % folder)[0] == "NO"
    assert b"MESSAGES 1" in c.ok("STATUS %s (MESSAGES)" % folder)[0]
    assert imap().cmd('APPEND %s CATENATE (URL ";UID=1")' % folder)[1].startswith("NO [BADURL")	# nothing selected


# --- REPLACE ---

def test_replace(imap, folder):
    # RFC 8508 section 3.4
    c = select(imap, folder, numbered(1), numbered(2), numbered(3))
    c.send("r REPLACE 2 %s (\\Seen) {%d+}\r\n" % (folder, len(SIMPLE)))
    c.send(SIMPLE + b"\r\n")
    status, line, lines = c.finish("r")
    assert status == "OK"
    told = [l for l in lines if b"APPENDUID" in l or b"EXPUNGE" in l or b"EXISTS" in l]
    assert re.match(rb"\* OK \[APPENDUID \d+ 4\]", told[0]) and told[1:] == [b"* 2 EXPUNGE", b"* 3 EXISTS"]
    assert c.fetch1("3 BODY.PEEK[]", "BODY[]") == SIMPLE
    c.ok("CREATE %s/drafts" % folder)
    c.send("r UID REPLACE 4 %s/drafts {%d+}\r\n" % (folder, len(SIMPLE)))
    c.send(SIMPLE + b"\r\n")
    status, line, lines = c.finish("r")
    assert status == "OK" and b"* 3 EXPUNGE" in lines
    assert b"MESSAGES 1" in c.ok("STATUS %s/drafts (MESSAGES)" % folder)[0]
    c.ok("DELETE %s/drafts" % folder)


def test_replace_errors(imap, folder):
    c = select(imap, folder, numbered(1), numbered(2))
    def replace(what, code=None, status="NO"):
        got, line, lines = c.cmd("%s {3+}\r\nx\r\n" % what + "")
        assert got == status and (code is None or code in line), (what, line)
    replace("REPLACE 3 " + folder, status="BAD")
    replace("REPLACE 1:2 " + folder, status="BAD")
    replace("UID REPLACE 77 " + folder, "NONEXISTENT")
    replace("REPLACE 1 %s/none" % folder, "TRYCREATE")
    replace("REPLACE 1 %s/.." % folder, "CANNOT")
    replace("REPLACE x " + folder, status="BAD")
    c.bad("REPLACE 1")
    assert c.cmd("REPLACE 1 %s {3+}\r\nx\r\n {3+}\r\ny\r\n" % folder)[0] == "BAD"
    c.ok("EXAMINE " + folder)
    replace("REPLACE 1 " + folder, "READ-ONLY")
    c.ok("UNSELECT")
    replace("REPLACE 1 " + folder, status="BAD")
    assert b"MESSAGES 2" in c.ok("STATUS %s (MESSAGES)" % folder)[0]


# --- PREVIEW ---

HTML = crlf("""Subject: html
Content-Type: text/html; charset=utf-8

<html><head><title>no</title><style>p { color: red }</style></head><body><!-- no --><p>Hello&nbsp;&amp; <b>good</b>
 bye &#233;</p><script>no()</script></body>
""")
ALTERNATIVE = crlf("""Subject: alt
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/html

<p>not this</p>
--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

> quoted
caf=E9   and
	more
--
signature
--b--
""")


def test_preview(imap, folder):
    c = select(imap, folder, SIMPLE, HTML, ALTERNATIVE, crlf("Subject: x\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAAA\n"), crlf("Subject: l\n\n" + "word " * 100))
    assert c.ok("FETCH 1 (PREVIEW (LAZY))") == [b"* 1 FETCH (PREVIEW NIL)"]
    assert c.ok("FETCH 1 (PREVIEW)") == [b'* 1 FETCH (PREVIEW "Hello Bob. Second line.")']
    assert c.ok("FETCH 1 (PREVIEW (LAZY) UID)") == [b'* 1 FETCH (UID 1 PREVIEW "Hello Bob. Second line.")']
    assert c.fetch1("2 PREVIEW", "PREVIEW").decode() == "Hello & good bye \u00e9"
    assert c.fetch1("3 PREVIEW", "PREVIEW").decode() == "caf\u00e9 and more"
    assert c.ok("FETCH 4 PREVIEW") == [b'* 4 FETCH (PREVIEW "")']
    assert len(c.fetch1("5 PREVIEW", "PREVIEW")) in (199, 200)
    assert b"\\Seen" not in b"".join(c.ok("FETCH 1:5 FLAGS"))
    c.bad("FETCH 1 (PREVIEW (FOO))")


# --- APPENDLIMIT ---

def test_appendlimit(imap, folder):
    c = imap()
    limit = int(re.search(rb"APPENDLIMIT=(\d+)", c.ok("CAPABILITY")[0]).group(1))
    assert b"(APPENDLIMIT %d)" % limit in c.ok("STATUS %s (APPENDLIMIT)" % folder)[0]
    c.send("a APPEND %s {%d}\r\n" % (folder, limit + 1))
    status, line, _ = c.finish("a")
    assert status == "NO" and "[TOOBIG]" in line


# --- COMPRESS ---

class Deflated(Imap):
    """Compressed both ways from now on."""
    @classmethod
    def of(cls, c):
        c.__class__ = cls
        c.out, c.in_ = zlib.compressobj(6, zlib.DEFLATED, -15), zlib.decompressobj(-15)
        return c

    def send(self, data):
        data = data.encode() if isinstance(data, str) else data
        self.sock.sendall(self.out.compress(data) + self.out.flush(zlib.Z_SYNC_FLUSH))

    def more(self):
        d = self.sock.recv(1 << 16)
        assert d
        self.data += self.in_.decompress(d)


@pytest.mark.parametrize("tls", [False, True])
def test_compress(imap, folder, tls):
    c = imap(tls=tls)
    c.bad("COMPRESS")
    c.bad("COMPRESS LZ4")
    assert b"COMPRESS=DEFLATE" in c.ok("CAPABILITY")[0]
    assert c.cmd("COMPRESS DEFLATE")[0] == "OK"
    c = Deflated.of(c)
    assert b"COMPRESS=DEFLATE" not in c.ok("CAPABILITY")[0]
    c.no("COMPRESS DEFLATE", "COMPRESSIONACTIVE")
    big = SIMPLE + b"0123456789 some text that repeats\r\n" * 20000
    c.append(folder, big)
    c.ok("SELECT " + folder)
    assert c.fetch1("1 BODY.PEEK[]", "BODY[]") == big
    c.send("i IDLE\r\n")
    assert c.line().startswith(b"+")
    c.send("DONE\r\nn NOOP\r\n")
    assert c.finish("i")[0] == "OK" and c.finish("n")[0] == "OK"
    if not tls:
        c.sock.sendall(b"\xff\xff\xff\xff")		# no deflate: the connection ends, the session does not
        with pytest.raises((AssertionError, OSError, zlib.error)):
            while True:
                c.more()
        assert imap().ok("NOOP") == []


# --- QUOTA ---

def test_quota(imap, suite):
    c = imap(login="bob@example.com")
    assert c.ok('GETQUOTAROOT INBOX')[:1] == [b'* QUOTAROOT INBOX ""']
    suite.tool("postern", "user", "quota", "bob@example.com", "1M,5")
    try:
        c = imap(login="bob@example.com")
        n = int(re.search(rb"MESSAGES (\d+)", c.ok("STATUS INBOX (MESSAGES)")[0]).group(1))
        got = [l for l in c.ok('GETQUOTA ""') if b"QUOTA" in l]
        assert re.match(rb'\* QUOTA "" \(STORAGE \d+ 1024 MESSAGE \d+ 5\)$', got[0]), got
        big = SIMPLE + b"x" * 70 * 1024 * 16
        c.send(b"a APPEND INBOX {%d}\r\n" % len(big))
        status, line, _ = c.finish("a")			# refused before a byte of it was sent
        assert status == "NO" and "[OVERQUOTA]" in line
        while True:
            c.send(b"a APPEND INBOX {%d+}\r\n" % len(SIMPLE) + SIMPLE + b"\r\n")
            status, line, _ = c.finish("a")
            if status != "OK":
                break
        assert "[OVERQUOTA]" in line
        c.ok("SELECT INBOX")
        for text, want in ((SIMPLE, "OK"), (SIMPLE + b"x" * 1000, "OK"), (big, "NO")):      # what goes does not count beside what comes in its place
            c.send(b"b REPLACE 1 INBOX {%d+}\r\n" % len(text) + text + b"\r\n")
            status, line, _ = c.finish("b")
            assert status == want and (status == "OK" or "[OVERQUOTA]" in line), line
        c.no('SETQUOTA "" (STORAGE 512)', "NOPERM")
        c.no("GETQUOTA nothing", "NONEXISTENT")
        c.no("GETQUOTAROOT nothing", "NONEXISTENT")
        c.bad("GETQUOTA")
        c.bad('SETQUOTA "" (STORAGE)')
        c.ok("SELECT INBOX")
        c.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
        assert re.search(rb"DELETED [1-9]\d* DELETED-STORAGE [1-9]", c.ok("STATUS INBOX (DELETED DELETED-STORAGE)")[0])
        c.ok("EXPUNGE")
    finally:
        suite.tool("postern", "user", "quota", "bob@example.com", "none")


def test_quota_replace(imap, suite):
    """A mailbox that is full to the last byte takes a draft once more: lines are a byte longer on the wire than in its file."""
    draft = b"Subject: draft\r\n\r\n" + b"line\r\n" * 3000
    suite.tool("postern", "user", "quota", "bob@example.com", "1M,1000")
    try:
        c = imap(login="bob@example.com")

        def answer(command, text):
            c.send(b"a %s INBOX {%d+}\r\n" % (command, len(text)) + text + b"\r\n")
            return c.finish("a")[:2]

        assert answer(b"APPEND", draft)[0] == "OK"
        c.ok("SELECT INBOX")
        last = int(re.search(rb"MESSAGES (\d+)", c.ok("STATUS INBOX (MESSAGES)")[0]).group(1))
        for bits in range(19, -1, -1):
            while answer(b"APPEND", b"x" * (1 << bits))[0] == "OK":
                pass
        status, line = answer(b"REPLACE %d" % last, draft)
        assert status == "OK", line
        status, line = answer(b"REPLACE *", draft + b"x")
        assert status == "NO" and "[OVERQUOTA]" in line, line
        c.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
        c.ok("EXPUNGE")
    finally:
        suite.tool("postern", "user", "quota", "bob@example.com", "none")


# --- METADATA ---

def metadata(lines):
    return [l for l in lines if l.startswith(b"* METADATA")]


def test_metadata(imap, folder):
    c = imap()
    c.ok('SETMETADATA %s (/private/comment "My comment" /shared/vendor/x/a {3+}\r\na\r\n)' % folder)
    assert metadata(c.ok("GETMETADATA %s /private/comment" % folder)) == [b'* METADATA %s (/private/comment "My comment")' % folder.encode()]
    assert metadata(c.ok("GETMETADATA %s (/PRIVATE/Comment /shared/comment)" % folder)) == [b'* METADATA %s (/private/comment "My comment" /shared/comment NIL)' % folder.encode()]
    for asked in ("/shared/vendor", "(/shared)"):
        got = metadata(c.ok("GETMETADATA (DEPTH infinity) %s %s" % (folder, asked)))
        assert got == [b"* METADATA %s (/shared/vendor/x/a {3}\r\na\r\n)" % folder.encode()]
    assert metadata(c.ok("GETMETADATA (DEPTH 1) %s /private" % folder)) == [b'* METADATA %s (/private/comment "My comment")' % folder.encode()]
    for asked in ("/private /private/comment /PRIVATE", "/private/comment /private/comment"):    # each once
        got = metadata(c.ok("GETMETADATA (DEPTH infinity) %s (%s)" % (folder, asked)))
        assert got == [b'* METADATA %s (/private/comment "My comment")' % folder.encode()]
    c.bad("GETMETADATA %s /private" % folder)
    assert metadata(c.ok("GETMETADATA (DEPTH 1) %s /shared/vendor" % folder)) == []
    status, line, lines = c.cmd("GETMETADATA (MAXSIZE 5) %s (/private/comment /shared/vendor/x/a)" % folder)
    assert "[METADATA LONGENTRIES 10]" in line and b"My comment" not in b"".join(lines) and b"/shared/vendor/x/a" in lines[0]
    # it goes where the folder goes, and survives the session
    c.ok("RENAME %s %s-2" % (folder, folder))
    assert b"My comment" in metadata(imap().ok("GETMETADATA %s-2 /private/comment" % folder))[0]
    c.ok("RENAME %s-2 %s" % (folder, folder))
    c.ok("SETMETADATA %s (/private/comment NIL)" % folder)
    assert b"NIL" in metadata(c.ok("GETMETADATA %s /private/comment" % folder))[0]
    # the account's own
    c.ok('SETMETADATA "" (/private/vendor/y "z")')
    assert metadata(c.ok('GETMETADATA "" /private/vendor/y')) == [b'* METADATA "" (/private/vendor/y "z")']
    assert b"NIL" in metadata(c.ok("GETMETADATA INBOX /private/vendor/y"))[0]
    c.ok('SETMETADATA "" (/private/vendor/y NIL)')


def test_special_use_is_an_annotation(imap, folder):
    # RFC 6154 section 4: what LIST and CREATE say of a mailbox's use and /private/specialuse are one
    c, other = imap(), imap()
    before, name = c.ok('LIST (SPECIAL-USE) "" *'), folder.encode()
    backslash = "\\\\"      # in a quoted string

    def use(mailbox, client=c):
        got = metadata(client.ok("GETMETADATA %s /private/specialuse" % mailbox))
        return re.fullmatch(rb"\* METADATA \S+ \(/private/specialuse (.*)\)", got[0]).group(1).decode()

    assert use("Junk") == '"%sJunk"' % backslash and use(folder) == "NIL"
    assert metadata(c.ok("GETMETADATA (DEPTH infinity) Junk /private")) == [b'* METADATA Junk (/private/specialuse "\\\\Junk")']
    for wrong in (backslash + "Foo", backslash + "All", "Sent", backslash + "Sent " + backslash + "Trash", ""):
        c.no('SETMETADATA %s (/private/comment "x" /private/specialuse "%s")' % (folder, wrong), "USEATTR")
    c.no('SETMETADATA INBOX (/private/specialuse "%sArchive")' % backslash, "USEATTR")
    assert c.ok('LIST (SPECIAL-USE) "" *') == before
    assert b"comment NIL" in metadata(c.ok("GETMETADATA %s /private/comment" % folder))[0]    # all or none
    c.ok('SETMETADATA %s (/PRIVATE/SpecialUse "%sarchive" /private/comment "x")' % (folder, backslash))
    assert b'* LIST (\\HasNoChildren \\Archive) "/" ' + name in other.ok('LIST (SPECIAL-USE) "" *')
    assert use(folder, other) == '"%sArchive"' % backslash and use("Archive") == "NIL"
    assert metadata(c.ok("GETMETADATA %s /private/comment" % folder)) == [b'* METADATA %s (/private/comment "x")' % name]
    c.ok("SETMETADATA %s (/private/specialuse NIL)" % folder)
    assert use(folder) == "NIL" and not any(b"\\Archive" in l for l in c.ok('LIST (SPECIAL-USE) "" *'))
    c.ok('SETMETADATA Archive (/private/specialuse "%sArchive")' % backslash)
    assert c.ok('LIST (SPECIAL-USE) "" *') == before


def test_metadata_errors(imap, folder):
    c = imap()
    for bad in ("GETMETADATA", "GETMETADATA x", "GETMETADATA %s /foo" % folder, "GETMETADATA %s /private/a*" % folder, "GETMETADATA %s /private//a" % folder,
                "GETMETADATA %s /private/a/" % folder, "GETMETADATA (DEPTH 2) %s /private/a" % folder, "GETMETADATA (FOO) %s /private/a" % folder,
                "SETMETADATA %s (/private/a)" % folder, "SETMETADATA %s /private/a x" % folder, "SETMETADATA %s (/private/a x)" % folder, "SETMETADATA %s ()" % folder,
                'SETMETADATA %s (/comment "x")' % folder):
        c.bad(bad)
    c.no('SETMETADATA %s-none (/private/a "x")' % folder, "NONEXISTENT")
    c.no("GETMETADATA %s-none /private/a" % folder, "NONEXISTENT")
    status, line, _ = c.cmd(b"SETMETADATA %s (/private/a {70000+}\r\n%s)" % (folder.encode(), b"x" * 70000))
    assert status == "NO" and "[METADATA MAXSIZE 65536]" in line
    names = " ".join('/private/n%d "x"' % i for i in range(999))
    c.ok("SETMETADATA %s (%s)" % (folder, names))
    status, line, _ = c.cmd('SETMETADATA %s (/private/m1 "x" /private/m2 "y")' % folder)
    assert status == "NO" and "[METADATA TOOMANY]" in line
    assert b"m1 NIL" in metadata(c.ok("GETMETADATA %s /private/m1" % folder))[0]


# --- UTF8=ACCEPT ---

def test_utf8(imap, folder):
    c, plain = imap(), imap()
    assert c.ok("ENABLE UTF8=ACCEPT") == [b"* ENABLED UTF8=ACCEPT"]
    name = ("%s/Gr\u00fc\u00dfe & mehr" % folder).encode()
    c.ok(b'CREATE "%s"' % name)
    assert any(l.endswith(b'"/" "%s"' % name) for l in c.ok(b'LIST "" "%s/Gr\xc3\xbc*"' % folder.encode()))
    assert any(b"Gr&APwA3w-e &- mehr" in l for l in plain.ok('LIST "" "%s/*"' % folder))
    assert b'STATUS "%s" (MESSAGES 0)' % name in c.ok(b'STATUS "%s" (MESSAGES)' % name)[0]
    message = "From: J\u00f6rg <j\u00f6rg@ex\u00e4mple.com>\r\nSubject: \u00e4\r\n\r\nx\r\n".encode()
    c.send(b'u APPEND "%s" UTF8 (~{%d+}\r\n%s)\r\n' % (name, len(message), message))
    status, line, _ = c.finish("u")
    assert status == "OK", line
    c.ok(b'SELECT "%s"' % name)
    assert c.fetch1("1 BODY.PEEK[]", "BODY[]") == message
    assert c.ok("SEARCH SUBJECT \"\u00c4\"".encode()) == [b"* SEARCH 1"]
    assert c.cmd(b'APPEND "%s" UTF8 ({%d+}\r\n%s)' % (name, len(message), message))[0] == "BAD"
    assert plain.cmd(b"APPEND %s UTF8 (~{%d+}\r\n%s)" % (folder.encode(), len(message), message))[0] == "BAD"	# not enabled
    plain.no(b'CREATE "%s/b\xc3\xa4d"' % folder.encode(), "CANNOT")
    c.ok("CLOSE")
    c.ok(b'DELETE "%s"' % name)
