"""What single clients do, and what they must get."""
import re
import zlib

import pytest

from imapmessages import MULTI, SIMPLE, numbered


def select(imap, folder, *messages):
    c = imap()
    for m in messages:
        c.append(folder, m)
    c.ok("SELECT " + folder)
    return c


def test_ios_done_and_commands_in_one_packet(imap, folder):
    c = select(imap, folder, SIMPLE)
    for _ in range(3):
        c.send("i IDLE\r\n")
        while not c.line().startswith(b"+"):
            pass
        c.send("DONE\r\n\r\nj NOOP\r\nk UID SEARCH ALL\r\nl IDLE\r\n")
        for tag in "ijk":
            assert c.finish(tag)[0] == "OK"
        while not c.line().startswith(b"+"):
            pass
        c.send("DONE\r\n")
        assert c.finish("l")[0] == "OK"


def test_ios_slices_beyond_the_end(imap, folder):
    c = select(imap, folder, SIMPLE)
    assert c.ok("FETCH 1 (BODY.PEEK[1]<393216.393216>)") == [b'* 1 FETCH (BODY[1]<393216> "")']
    assert c.ok("UID FETCH 1 (BODY.PEEK[TEXT]<26.10> UID)") == [b'* 1 FETCH (UID 1 BODY[TEXT]<26> "")']


@pytest.mark.parametrize("fields", ["from To SUBJECT date", "Subject", "\"From\" x-ODD", "DATE SUBJECT FROM CONTENT-TYPE TO"])
def test_apple_mail_wants_its_own_label(imap, folder, fields):
    c = select(imap, folder, SIMPLE)
    assert b"BODY[HEADER.FIELDS (%s)] " % fields.encode() in c.ok("FETCH 1 BODY.PEEK[HEADER.FIELDS (%s)]" % fields)[0]


def test_ios_changedsince_0(imap, folder):
    c = select(imap, folder, numbered(1), numbered(2))
    assert len([l for l in c.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 0)") if b"FETCH" in l]) == 2


def test_ios_list_decorates_and_selects(imap):
    c = imap()
    plain = c.ok('LIST "" "*"')
    all_names, there = {l.split(b' "/" ')[1] for l in plain}, [l for l in plain if b"\\Noselect" not in l]
    decorated = [l for l in c.ok('LIST "" "*" RETURN (SPECIAL-USE STATUS (UNSEEN))') if l.startswith(b"* LIST")]
    assert {l.split(b' "/" ')[1] for l in decorated} == all_names and any(b"\\Sent" in l for l in decorated)
    assert len([l for l in c.ok('LIST "" "*" RETURN (SPECIAL-USE STATUS (UNSEEN))') if l.startswith(b"* STATUS")]) == len(there)
    chosen = c.ok('LIST (SPECIAL-USE) "" "*"')
    assert 0 < len(chosen) < len(all_names) and all(re.search(rb"\\(Sent|Drafts|Trash|Junk|Archive)", l) for l in chosen)


def test_ios_search_is_by_substring(imap, folder):
    c = select(imap, folder, SIMPLE)
    for keys in ('SUBJECT "impl"', 'FROM "nn@exam"', 'TEXT "ello Bo"', 'BODY "econd li"'):
        assert c.ok("SEARCH " + keys)[-1] == b"* SEARCH 1", keys


def test_microsoft_365_is_not_led_into_uidonly(imap):
    assert b"UIDONLY" not in imap().ok("CAPABILITY")[0]


def test_outlook(imap, folder):
    c = select(imap, folder, SIMPLE)
    assert any(b"\\Sent" in l for l in c.ok('XLIST "" "*"')) and b"XLIST" not in c.ok("CAPABILITY")[0]
    assert c.fetch1("1 (RFC822.PEEK)", "RFC822") == SIMPLE
    assert b"\\Seen" not in c.ok("FETCH 1 FLAGS")[0]
    assert c.ok("NAMESPACE") == [b'* NAMESPACE (("" "/")) (("Other/" "/")) (("Shared/" "/"))']


def test_thunderbird(imap, folder):
    # five connections; UNDELETED in every search; UTF8=ACCEPT and COMPRESS at once
    for c in [imap() for _ in range(5)]:
        c.ok("ENABLE UTF8=ACCEPT")
        assert c.cmd("COMPRESS DEFLATE")[0] == "OK"
        z, d = zlib.compressobj(6, zlib.DEFLATED, -15), zlib.decompressobj(-15)
        c.sock.sendall(z.compress(b'1 select "%s" (CONDSTORE)\r\n2 UID SEARCH UNDELETED SUBJECT "x"\r\n' % folder.encode()) + z.flush(zlib.Z_SYNC_FLUSH))
        out = b""
        while b"2 OK" not in out:		# each answer is flushed
            got = c.sock.recv(65536)
            assert got
            out += d.decompress(got)
        c.sock.close()				# the stream just ends


def test_k9_and_long_sets(imap, folder):
    c = select(imap, folder, *(numbered(i) for i in range(1, 30)))
    line = "UID FETCH %s (UID)" % ",".join(str(i) for i in range(1, 1900))
    assert 8172 < len(line) and len(c.ok(line)) == 29
    line = "UID STORE %s +FLAGS.SILENT (x)" % ",".join(str(2 * i + 1) for i in range(150000))
    assert len(line) > 900000 and c.cmd(line)[0] == "OK"


def test_pipelining(imap, folder):
    c = select(imap, folder, MULTI)
    c.send("".join("p%d UID FETCH 1 (FLAGS UID)\r\n" % i for i in range(300)))
    for i in range(300):
        assert c.finish("p%d" % i)[0] == "OK"
