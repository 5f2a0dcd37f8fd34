"""smtp_generic_maps, smtp_header_checks, smtp_body_checks and their like: what leaves is changed at each attempt; what is kept and what users read here is not."""
import email
import pathlib
import re
import sys
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mailtools  # noqa: E402
from remotescene import Scene, mx  # noqa: E402

CHECKS = r"""/^X-Secret:/ IGNORE
/^X-Strip:/ STRIP for others
/^X-Old: (.*)/ REPLACE X-Old: new $1
/^X-Rename: (.*)/ REPLACE X-Renamed: $1
/^X-Mark:/ PREPEND X-Marked: yes
/^X-Warn:/ WARN leaves
/^X-Impossible:/ REJECT no
/^Received: .*by mail\.example\.com/ REPLACE Received: hidden
"""
MIME_CHECKS = r"""/^MIME-Version:/ WARN a mime one
/^Content-Type: application\/x-secret/ REPLACE Content-Type: application/octet-stream
/^Content-Description:/ IGNORE
/^Content-Location:/ PREPEND Content-Language: en
/^Content-ID: (.*)/ STRIP told $1
/^Content-Impossible:/ REPLACE no field
"""
NESTED_CHECKS = r"""/^X-Inner: (.*)/ REPLACE X-Inner-Was: $1
/^Received:/ IGNORE
"""
BODY_CHECKS = r"""/^secret (.*)/ REPLACE shown $1
/^drop/ IGNORE
/^strip/ STRIP of the body
/^mark/ PREPEND marked:
/^warn/ WARN seen
/^Content-/ REPLACE a field passed for a line
/^impossible/ REJECT no
/^empty/ REPLACE
"""
GENERIC = "alice@example.com sales@shop.example\n@internal.example.com @example.org\nbob@far.example robert@far.example\nbroken@example.com a b\n"


@pytest.fixture(scope="module")
def scene():
    s = Scene(smtp_mta_sts="no", smtp_tls_security_level="none")
    s.suite.settings.update(smtp_generic_maps="texthash:%s" % s.map("generic", GENERIC), smtp_header_checks="pcre:%s" % s.map("checks", CHECKS),
                            smtp_mime_header_checks="pcre:%s" % s.map("mime", MIME_CHECKS), smtp_nested_header_checks="pcre:%s" % s.map("nested", NESTED_CHECKS),
                            smtp_body_checks="pcre:%s" % s.map("body", BODY_CHECKS),
                            always_bcc="alice@example.com", propagate_unmatched_extensions="canonical, virtual, generic")
    s.suite.user_add("alice@example.com", "alice-secret")
    s.suite.configure()
    for i, name in enumerate(("far", "near", "later")):
        mx(s, name + ".example", (10, 150 + i))
    yield s.start()
    s.close()


def send(scene, n, header, to=("bob@far.example",), sender="alice@example.com", body="hello\r\n"):
    sink = scene.sink(150 + n)
    before = len(sink.messages)
    qid = scene.send(*to, sender=sender, body=(header + "\r\n" + body).encode())
    env, data, _ = sink.wait(before + 1, timeout=30)
    return qid, env, data.decode()


def test_addresses_of_envelope_and_header(scene):
    header = ("From: Alice <alice@example.com>\r\nTo: bob@far.example, carol@far.example,\r\n alice+news@example.com\r\nCc: x@host.internal.example.com, y@internal.example.com\r\n"
              "Reply-To: other@example.com\r\nSubject: alice@example.com stays here\r\n")
    qid, env, data = send(scene, 0, header, to=("bob@far.example", "carol@far.example"), sender="alice+tag@example.com")
    assert env[0].startswith("MAIL FROM:<sales+tag@shop.example>")
    assert [e.split()[1] for e in env[1:]] == ["TO:<robert@far.example>", "TO:<carol@far.example>"]
    m = email.message_from_string(data)
    assert m["From"] == "Alice <sales@shop.example>" and m["Reply-To"] == "other@example.com" and m["Subject"] == "alice@example.com stays here"
    assert re.sub(r"\s+", " ", m["To"]) == "robert@far.example, carol@far.example, sales+news@shop.example"
    assert re.sub(r"\s+", " ", m["Cc"]) == "x@host.internal.example.com, y@example.org"
    assert m.get_payload().strip() == "hello"
    scene.log(qid, r"to=<bob@far\.example>, .*status=sent", timeout=30)


def test_header_checks_at_delivery(scene):
    header = ("X-Secret: 1\r\nX-Secret: 2\r\nX-Strip: 3\r\nX-Old: value\r\nX-Rename: kept\r\nX-Mark: 1\r\nX-Mark: 2\r\nX-Warn: 4\r\nX-Last: alice@example.com\r\n")
    qid, _env, data = send(scene, 1, header, to=("joe@near.example",), sender="me@example.com")
    names = [line.split(":")[0] + ":" + line.split(":", 1)[1] for line in data.replace("\r\n", "\n").split("\n\n")[0].split("\n") if not line.startswith((" ", "\t"))]
    assert names[0] == "Received: hidden"
    got = [n for n in names if n.startswith("X-")]
    assert got == ["X-Old: new value", "X-Renamed: kept", "X-Marked: yes", "X-Mark: 1", "X-Marked: yes", "X-Mark: 2", "X-Warn: 4", "X-Last: alice@example.com"]
    scene.log(qid, r"warning: header X-Warn: 4: leaves", timeout=30)
    scene.log(qid, r"strip: header X-Strip: 3: for others", timeout=30)


def test_what_is_kept_here_stays(scene):
    header = "Message-ID: <kept@t>\r\nFrom: alice@example.com\r\nX-Secret: 1\r\n"
    send(scene, 1, header, to=("joe@near.example",))
    text = mailtools.Mail(scene.suite).wait_for("<kept@t>", "alice@example.com", timeout=30).read_text()
    assert "X-Secret: 1" in text and "From: alice@example.com" in text and "by mail.example.com" in text and "Return-Path: <alice@example.com>" in text


def test_each_attempt_looks_anew(scene):
    sink = scene.sink(152)
    sink.refuse["<joe@later.example>"] = "450 4.2.0 later"
    qid = scene.send("joe@later.example", sender="alice@example.com", body=b"From: alice@example.com\r\nX-Secret: 1\r\n\r\nx\r\n")
    scene.log(qid, r"status=deferred", timeout=30)
    del sink.refuse["<joe@later.example>"]
    scene.suite.tool("postern-queue", "flush")
    env, data, _ = sink.wait(timeout=60)
    assert env[0].startswith("MAIL FROM:<sales@shop.example>") and b"X-Secret" not in data and b"From: sales@shop.example" in data


@pytest.mark.parametrize("header,sender,why", [("X-Impossible: 1\r\n", "me@example.com", "a mistake in smtp_header_checks"),
                                               ("", "broken@example.com", "temporary lookup failure in smtp_generic_maps")])
def test_a_mistake_in_a_table_lets_mail_wait(scene, header, sender, why):
    sink = scene.sink(151)
    before = len(sink.messages)
    qid = scene.send("wait@near.example", sender=sender, body=(header + "Subject: x\r\n\r\nx\r\n").encode())
    scene.log(qid, r"to=<wait@near\.example>, .*dsn=4\.3\.0, status=deferred \(%s\)" % why, timeout=30)
    assert len(sink.messages) == before


def test_many_recipients(scene):
    to = ["r%d@near.example" % i for i in range(60)] + ["r%d@far.example" % i for i in range(60)]
    near, far = scene.sink(151), scene.sink(150)
    near.messages.clear()
    far.messages.clear()
    qid = scene.send(*to, sender="alice@example.com", body=b"From: alice@example.com\r\n\r\nx\r\n")
    for sink, name in ((near, "near"), (far, "far")):
        seen = set()
        n = 0
        while len(seen) < 60:
            n += 1
            env, data, _ = sink.wait(n, timeout=60)
            assert env[0].startswith("MAIL FROM:<sales@shop.example>") and b"From: sales@shop.example" in data
            seen |= {e.split()[1] for e in env[1:]}
        assert seen == {"TO:<r%d@%s.example>" % (i, name) for i in range(60)}
    assert qid


# --- the body ---

def body_of(data):
    return data.replace("\r\n", "\n").split("\n\n", 1)[1]


@pytest.mark.parametrize("body, want, told", [
    ("secret plan\r\nother\r\n", "shown plan\nother\n", "replace: body secret plan: shown plan"),
    ("a\r\ndrop 1\r\ndrop 2\r\n\r\nb\r\nstrip\r\n", "a\n\nb\n", "strip: body strip: of the body"),
    ("mark this\r\nwarn of this\r\n.\r\n..secret\r\n", "marked:\nmark this\nwarn of this\n.\n..secret\n", "warning: body warn of this: seen"),
    ("drop all\r\n", "", None), ("x" * 90000 + "\r\nsecret 1\r\n", "x" * 90000 + "\nshown 1\n", "replace: body secret 1: shown 1"),
    ("nothing of it\r\n", "nothing of it\n", None), ("", "", None),
], ids=["replaced", "removed", "prepended", "nothing left", "behind a long line", "unchanged", "empty"])
def test_lines_of_the_body(scene, body, want, told):
    header = "Message-ID: <%s@t>\r\nSubject: secret in the header\r\n" % uuid.uuid4().hex
    qid, _env, data = send(scene, 1, header, to=("joe@near.example",), sender="me@example.com", body=body)
    assert body_of(data) == want and "Subject: secret in the header" in data
    kept = mailtools.Mail(scene.suite).wait_for(header.split("<")[1].split(">")[0], "alice@example.com", timeout=30).read_text()
    assert kept.split("\n\n", 1)[1] == body.replace("\r\n", "\n")
    if told:
        scene.log(qid, re.escape(told), timeout=30)


PARTS = """Content-Type: multipart/mixed; boundary=o\r
MIME-Version: 1.0\r
Content-Description: of the whole\r
\r
before\r
--o\r
Content-Type: application/x-secret;\r
 name=a\r
Content-Description: two\r
 lines\r
X-Inner: not nested\r
\r
secret 1\r
--o\r
Content-Type: message/rfc822\r
Content-Location: here\r
\r
Received: inside\r
X-Inner: kept\r
Content-ID: <1>\r
Subject: nested\r
\r
drop\r
Content-Type: application/x-secret in the text\r
--o--\r
after\r
"""


def test_fields_of_parts_and_lines_between(scene):
    head, body = PARTS.split("\r\n\r\n", 1)
    qid, _env, data = send(scene, 1, head + "\r\n", to=("joe@near.example",), sender="me@example.com", body=body)
    assert "Content-Description: of the whole" not in data and "MIME-Version: 1.0" in data
    assert body_of(data).split("\n") == [
        "before", "--o", "Content-Type: application/octet-stream", "X-Inner: not nested", "", "shown 1", "--o", "a field passed for a line", "Content-Language: en",
        "Content-Location: here", "", "X-Inner-Was: kept", "Subject: nested", "", "a field passed for a line", "--o--", "after", ""]
    scene.log(qid, r"strip: header Content-ID: <1>: told <1>", timeout=30)
    scene.log(qid, r"warning: header MIME-Version: 1\.0: a mime one", timeout=30)


def test_a_body_of_many_pieces_and_changes(scene):
    """Of more lines, and more fields of parts, than one question holds."""
    text = "".join("secret %d\r\nkept %d\r\ndrop\r\n" % (i, i) for i in range(20000))
    part = "--o\r\nContent-Description: %s\r\nX-Number: %d\r\n\r\nx\r\n"
    body = text + "".join(part % ("y" * 300, i) for i in range(3000)) + "--o--\r\n"
    _qid, _env, data = send(scene, 1, "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n", to=("joe@near.example",), sender="me@example.com", body=body)
    want = "".join("shown %d\nkept %d\n" % (i, i) for i in range(20000)) + "".join("--o\nX-Number: %d\n\nx\n" % i for i in range(3000)) + "--o--\n"
    assert body_of(data) == want


@pytest.mark.parametrize("body, why", [("impossible\r\n", "a mistake in smtp_body_checks"), ("empty\r\n", "a mistake in smtp_body_checks"),
                                       ("--o\r\nContent-Impossible: 1\r\n\r\nx\r\n", "a mistake in smtp_mime_header_checks or smtp_nested_header_checks")])
def test_a_mistake_in_a_table_for_the_body_lets_mail_wait(scene, body, why):
    sink = scene.sink(151)
    before = len(sink.messages)
    qid = scene.send("wait@near.example", sender="me@example.com", body=("Content-Type: multipart/mixed; boundary=o\r\n\r\n" + body).encode())
    scene.log(qid, r"to=<wait@near\.example>, .*dsn=4\.3\.0, status=deferred \(%s\)" % why, timeout=30)
    assert len(sink.messages) == before


def test_more_fields_of_parts_than_are_looked_at(scene):
    """Never sent unchecked; it would not be otherwise at the next attempt."""
    body = "--o\r\n" + "X: y\r\n" * 20001 + "\r\nx\r\n--o--\r\n"
    qid = scene.send("many@near.example", sender="me@example.com", body=("Content-Type: multipart/mixed; boundary=o\r\n\r\n" + body).encode())
    scene.log(qid, r"to=<many@near\.example>, .*dsn=5\.6\.0, status=bounced \(too many parts", timeout=30)


def test_one_changed_body_for_many_next_hops(scene):
    near, far = scene.sink(151), scene.sink(150)
    n, f = len(near.messages), len(far.messages)
    scene.send(*["r%d@near.example" % i for i in range(60)], "joe@far.example", sender="me@example.com", body=b"Subject: t\r\n\r\nsecret\r\nsecret 2\r\n")
    for data in (near.wait(n + 1, timeout=60)[1], far.wait(f + 1, timeout=60)[1]):
        assert data.endswith(b"secret\r\nshown 2\r\n")
