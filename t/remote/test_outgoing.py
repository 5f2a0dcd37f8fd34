"""smtp_generic_maps and smtp_header_checks: what leaves is changed at each attempt; what is kept and what users read here is not."""
import email
import pathlib
import re
import sys

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
GENERIC = "alice@example.com sales@shop.example\n@internal.example.com @example.org\nbob@far.example robert@far.example\nbroken@example.com a b\n"


@pytest.fixture(scope="module")
def scene():
    s = Scene(smtp_mta_sts="no", smtp_tls_security_level="none")
    s.suite.settings.update(smtp_generic_maps="texthash:%s" % s.map("generic", GENERIC), smtp_header_checks="pcre:%s" % s.map("checks", CHECKS),
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
