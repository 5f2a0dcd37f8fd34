"""What must be refused, with the code a client relies on: wrong password, unknown recipient, relaying, virus, program, size, spam."""
import base64
import email.message
import io
import smtplib
import zipfile

import mailtools
import pytest

EICAR = (r"X5O!P%@AP[4\PZX54(P^)7CC)7}" + "$EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*").encode()
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-" + "TEST-EMAIL*C.34X"


def zipped(name, data):
    b = io.BytesIO()
    with zipfile.ZipFile(b, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr(name, data)
    return b.getvalue()


def with_attachment(name, data, maintype="application", subtype="octet-stream"):
    m = email.message.EmailMessage()
    m["From"], m["To"], m["Subject"] = "s@elsewhere.example", "bob@example.com", "attachment"
    m.set_content("see attachment\n")
    m.add_attachment(data, maintype=maintype, subtype=subtype, filename=name)
    return m.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def nested(inner):
    return (b"From: s@elsewhere.example\r\nTo: bob@example.com\r\nSubject: fwd\r\nMIME-Version: 1.0\r\n"
            b"Content-Type: message/rfc822\r\n\r\n" + inner)


def refusal(mail, raw, to="bob@example.com"):
    before = len(mail.files(to))
    with pytest.raises(smtplib.SMTPResponseException) as why:
        mail.send(to=to, raw=raw)
    assert len(mail.files(to)) == before
    return why.value.smtp_code, why.value.smtp_error.decode()


@pytest.mark.parametrize("what, raw", [
    ("plain", b"From: s@elsewhere.example\r\nSubject: x\r\n\r\n" + EICAR + b"\r\n"),
    ("base64", with_attachment("letter.txt", EICAR, "text", "plain")),
    ("zip", with_attachment("a.zip", zipped("a.txt", EICAR))),
    ("zip in zip", with_attachment("a.zip", zipped("b.zip", zipped("c.txt", EICAR)))),
    ("renamed", with_attachment("picture.jpg", zipped("c.txt", EICAR), "image", "jpeg")),
    ("nested message", nested(with_attachment("a.zip", zipped("a.txt", EICAR)))),
], ids=lambda v: v if isinstance(v, str) else "")
def test_a_virus_is_refused_in_the_session(mail, what, raw):
    code, text = refusal(mail, raw)
    assert code == 550 and "5.7.1" in text and "Eicar" in text


@pytest.mark.parametrize("name", ["setup.exe", "letter.doc.pif", "A.SCR", "run.js", "a.exe."])
def test_a_program_is_refused_with_file_and_rule(mail, name):
    code, text = refusal(mail, with_attachment(name, b"MZ, or so"))
    assert code == 550 and "5.7.1" in text and name.rstrip(".") in text and "line" in text


def test_a_program_inside_a_zip_is_refused_with_both_names(mail):
    code, text = refusal(mail, with_attachment("tools.zip", zipped("setup.exe", b"not really")))
    assert code == 550 and '"setup.exe" inside "tools.zip"' in text and "line" in text


def test_gtube_is_refused(mail):
    code, text = refusal(mail, b"From: s@elsewhere.example\r\nSubject: x\r\n\r\n" + GTUBE.encode() + b"\r\n")
    assert code == 550 and "spam" in text.lower()


def test_loopback_is_not_exempt_from_the_filter(mail):
    """mynetworks is empty and nothing exempts 127.0.0.1; not even an authenticated user."""
    with pytest.raises(smtplib.SMTPResponseException) as why:
        mail.send(user="alice@example.com", sender="alice@example.com",
                  raw=b"From: alice@example.com\r\nSubject: x\r\n\r\n" + EICAR + b"\r\n")
    assert why.value.smtp_code == 550


def test_an_unknown_recipient_is_refused_at_rcpt(mail):
    with pytest.raises(smtplib.SMTPRecipientsRefused) as why:
        mail.send(to="nobody-there@example.com")
    code, text = why.value.recipients["nobody-there@example.com"]
    assert code == 550 and b"5.1.1" in text


def test_relaying_is_refused(mail):
    with pytest.raises(smtplib.SMTPRecipientsRefused) as why:
        mail.send(to="someone@elsewhere.example")
    code, text = why.value.recipients["someone@elsewhere.example"]
    assert code == 554 and b"5.7.1" in text and b"Relay access denied" in text


@pytest.mark.parametrize("address", [
    "victim%elsewhere.example@example.com", "elsewhere.example!victim@example.com", "\"victim@elsewhere.example\"@example.com",
    "@example.com:victim@elsewhere.example", "victim@elsewhere.example@example.com", "victim@[192.0.2.1]",
    "victim%elsewhere.example@localhost", "\"victim@elsewhere.example\"@localhost", "elsewhere.example!victim@localhost",
])
def test_no_address_trick_relays(mail, address):
    with mail.wire("SMTP") as w:
        assert w.smtp()[0] == 220
        assert w.smtp("EHLO relay.test")[0] == 250
        assert w.smtp("MAIL FROM:<>")[0] == 250
        code, text = w.smtp("RCPT TO:<%s>" % address)
        assert 500 <= code < 600, (code, text)


def test_a_wrong_password_is_refused(mail, suite):
    with smtplib.SMTP_SSL("localhost", suite.port("SUBMISSIONS"), context=suite.tls_context(), timeout=30) as s:
        with pytest.raises(smtplib.SMTPAuthenticationError) as why:
            s.login("alice@example.com", "not-her-password")
        assert why.value.smtp_code == 535


def test_an_oversized_mail_is_refused_before_and_after_data(mail, suite):
    limit = 20971520
    with mail.wire("SMTP") as w:
        w.smtp()
        code, text = w.smtp("EHLO big.test")
        assert "SIZE %d" % limit in text
        code, text = w.smtp("MAIL FROM:<s@elsewhere.example> SIZE=%d" % (limit + 1))
        assert code == 552 and text[0].startswith("5.3.4")
    raw = b"Subject: big\r\n\r\n" + (b"x" * 998 + b"\r\n") * (limit // 1000 + 10)
    with mail.wire("SMTP", timeout=60) as w:
        w.smtp()
        w.smtp("EHLO big.test")
        assert w.smtp("MAIL FROM:<s@elsewhere.example>")[0] == 250
        assert w.smtp("RCPT TO:<bob@example.com>")[0] == 250
        assert w.smtp("DATA")[0] == 354
        w.send(raw + b".\r\n")
        code, text = w.smtp()
        assert code == 552 and text[0].startswith("5.3.4"), (code, text)


def test_auth_is_neither_offered_nor_taken_before_tls(mail):
    for port in ("SMTP", "SUBMISSION"):
        with mail.wire(port) as w:
            w.smtp()
            _code, text = w.smtp("EHLO plain.test")
            assert not [t for t in text if t.startswith("AUTH")]
            assert "STARTTLS" in text
            secret = base64.b64encode(b"\0alice@example.com\0alice-secret").decode()
            assert w.smtp("AUTH PLAIN " + secret)[0] in (503, 504, 530, 538)


def test_no_password_is_taken_without_tls_by_default(fresh_suite):
    suite = fresh_suite("tls", settings={"plaintext_login_networks": ""})
    with mailtools.Wire(suite.host, suite.port("IMAP")) as w:
        assert b"LOGINDISABLED" in w.line()
        assert b"[PRIVACYREQUIRED]" in w.imap("a", "LOGIN bob@example.com bob-secret")[-1]
    with mailtools.Wire(suite.host, suite.port("POP3")) as w:
        w.line()
        w.send("USER bob@example.com\r\nPASS bob-secret\r\n")
        assert w.line().startswith(b"-ERR") and w.line().startswith(b"-ERR")
    assert "bob-secret" not in suite.log.read_text()
