"""What single parameters of imapd and the store do, each shown by an effect that the default does not have."""
import subprocess

import pytest

from imapraw import Closed, Imap

ALICE, BOB = "alice@example.com", "bob@example.com"


@pytest.fixture(scope="module")
def other(fresh_suite_module):
    return fresh_suite_module("imap", settings={"imap_other_namespace": "Colleagues", "imap_shared_namespace": "", "imap_line_max": "65536", "shared_seen": "shared", "default_folders": "Sent Notes",
                                                "quota_storage": "5k", "filter_enable": "no", "imap_discard_capabilities": "imap4rev2 THREAD=REFS, APPENDLIMIT= SASL-IR REV3"})


@pytest.fixture
def imap(other):
    c = Imap(other, login=ALICE)
    yield c
    c.close()


def test_imap_other_namespace_and_imap_shared_namespace(imap):
    assert imap.ok("NAMESPACE") == [b'* NAMESPACE (("" "/")) (("Colleagues/" "/")) NIL']


def test_imap_discard_capabilities(other, imap):
    c = Imap(other)
    assert b" LITERAL+ " in c.greeting and b"IMAP4rev2" not in c.greeting and b"SASL-IR" not in c.greeting and b"AUTH=PLAIN" in c.greeting
    c.close()
    words = imap.ok("CAPABILITY")[0].split()
    assert b"IMAP4rev1" in words and b"THREAD=REFERENCES" in words and not {b"IMAP4rev2", b"THREAD=REFS"} & set(words) and b"APPENDLIMIT" not in b" ".join(words)
    told = "imap_discard_capabilities: there is no capability REV3"
    assert told in other.log.read_text()
    p = subprocess.run([other.bin / "imapd", "-t", "-c", other.conf], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert p.returncode == 0 and [line for line in p.stdout.decode().splitlines() if "capability" in line and line.endswith(told)], p.stdout
    assert imap.ok("ENABLE IMAP4rev2 CONDSTORE") == [b"* ENABLED CONDSTORE"]
    assert b"* SEARCH" in b"".join(imap.ok("SELECT INBOX") and imap.ok("SEARCH ALL"))     # not as ESEARCH
    imap.ok("UNSELECT")


def test_default_folders(imap):
    names = [line.rsplit(b" ", 1)[1] for line in imap.ok('LIST "" *')]
    assert sorted(n for n in names if not n.startswith(b"Colleagues")) == [b"INBOX", b"Notes", b"Sent"]
    assert sorted(line.rsplit(b" ", 1)[1] for line in imap.ok('LSUB "" *')) == [b"INBOX", b"Notes", b"Sent"]


@pytest.mark.parametrize("size, good", [(65000, True), (66000, False)])
def test_imap_line_max(imap, size, good):
    command = 'SEARCH TEXT "%s"' % " ".join("word" for _ in range(size // 5))
    imap.ok("SELECT INBOX")
    if good:
        assert imap.cmd(command)[0] == "OK"
    else:
        try:
            assert imap.cmd(command)[0] == "BAD"
        except (Closed, ConnectionError):
            pass        # it may also be cut off: the line has no end for it


def test_shared_seen(other, imap):
    """shared: who marks a message as read does so for all."""
    imap.ok("CREATE team")
    imap.ok("SETACL team %s lrs" % BOB)
    imap.append("team", "Subject: x\r\n\r\nx\r\n")
    bob = Imap(other, login=BOB)
    bob.ok("SELECT Colleagues/%s/team" % ALICE)
    bob.ok("STORE 1 +FLAGS (\\Seen)")
    imap.ok("SELECT team")
    assert b"\\Seen" in b"".join(imap.ok("FETCH 1 FLAGS"))
    bob.close()
    imap.ok("UNSELECT")
    imap.ok("DELETE team")


def test_quota_storage(imap):
    assert any(b"(STORAGE 0 5)" in line for line in imap.ok("GETQUOTAROOT INBOX"))
    imap.append("INBOX", "Subject: small\r\n\r\nx\r\n")
    imap.send("q APPEND INBOX {6000+}\r\n" + "Subject: large\r\n\r\n" + "y" * 5982 + "\r\n")
    assert imap.finish("q")[1].startswith("NO [OVERQUOTA]")
