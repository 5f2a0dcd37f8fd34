"""Rewriting of addresses and blind copies, in the whole: canonical maps, masquerading, completion, for whose mail; never in the file, always in what is delivered."""
import email
import re
import smtplib

from test_queue import ALICE, BOB, files, make, queue, send, sink, wait  # noqa: F401

HEAD = "From: Alice <al>\r\nTo: bob@host.example.com, team:carl;\r\nCc: Old Name <old@example.com>\r\nSubject: al@host.example.com\r\nMessage-ID: <a@b>\r\n\r\nal\r\n"


def one(suite, user=BOB):
    (f,) = wait(lambda: files(suite, user))
    text = f.read_bytes()
    f.unlink()
    return email.message_from_bytes(text), text


def test_own_clients_headers_are_completed_and_rewritten(make):  # noqa: F811
    suite = make(masquerade_domains="example.com", masquerade_exceptions="root", canonical_maps="inline:{{old@example.com=New.Name@example.com} {al=Alice.A@example.com}}")
    send(suite, BOB, sender="al@host.example.com", text=HEAD)
    m, text = one(suite)
    # masquerading comes after the canonical maps
    assert m["Return-Path"] == "<al@example.com>" and m["From"] == "Alice <Alice.A@example.com>"
    assert m["To"].replace("\r", "").replace("\n\t", " ") == "bob@example.com, team:carl@example.com;" and m["Cc"] == "Old Name <New.Name@example.com>"
    assert m["Subject"] == "al@host.example.com" and text.endswith(b"\nal\n")
    suite.logged(r"from=<al@example\.com>, size=")


def test_strangers_headers_stay_as_they_are(make):  # noqa: F811
    suite = make(masquerade_domains="example.com", canonical_maps="inline:{old@example.com=New.Name@example.com}", local_header_rewrite_clients="10.0.0.0/8")
    send(suite, BOB, sender="old@example.com", text=HEAD)
    m, _ = one(suite)
    assert m["Return-Path"] == "<New.Name@example.com>"         # the envelope is rewritten for everybody
    assert m["From"] == "Alice <al>" and m["To"] == "bob@host.example.com, team:carl;" and m["Cc"] == "Old Name <old@example.com>"


def test_remote_header_rewrite_domain_and_append_dot_mydomain(make):  # noqa: F811
    suite = make(local_header_rewrite_clients="10.0.0.0/8", remote_header_rewrite_domain="domain.invalid")
    send(suite, BOB, text=HEAD)
    assert one(suite)[0]["From"] == "Alice <al@domain.invalid>"
    suite = make(append_dot_mydomain="yes", append_at_myorigin="no", local_header_rewrite_clients="permit_mynetworks")
    send(suite, BOB, text=HEAD.replace("<al>", "<al@pc>"))
    assert one(suite)[0]["From"] == "Alice <al@pc.example.com>"


def test_recipients_are_rewritten_before_they_are_looked_up(make):  # noqa: F811
    suite = make(recipient_canonical_maps="inline:{old@example.com=bob@example.com}")
    send(suite, "old+x@example.com", text="Subject: t\r\nTo: old+x@example.com\r\n\r\n")
    m, _ = one(suite)
    assert m["X-Original-To"] == "old+x@example.com" and m["Delivered-To"] == "bob+x@example.com" and m["To"] == "bob+x@example.com"


def test_blind_copies(make, sink):  # noqa: F811
    suite = make(always_bcc="alice@example.com", sender_bcc_maps="inline:{@example.com=copy@elsewhere.example}", recipient_bcc_maps="inline:{bob=alice+seen@example.com}")
    send(suite, BOB, sender="carl@example.com")
    _, text = one(suite)
    assert b"copy" not in text and b"alice" not in text, "nobody sees who has one"
    assert wait(lambda: sink.got)[0][0] == ["copy@elsewhere.example"]
    assert wait(lambda: len(files(suite, ALICE)) == 2)
    # a copy that cannot be made stops nothing; it is said
    suite = make(always_bcc="nobody@example.com")
    send(suite, BOB)
    assert one(suite) and suite.logged("blind copy to <nobody@example.com>: no such recipient")


def test_a_map_that_cannot_be_read_is_a_temporary_failure(make):  # noqa: F811
    suite = make(sender_canonical_maps="cdb:/nonexistent/canonical")
    try:
        send(suite, BOB)
        raise AssertionError("was accepted")
    except smtplib.SMTPDataError as e:
        assert e.smtp_code == 451
    assert files(suite, BOB) == [] and queue(suite) == []


def test_blind_copies_of_own_networks_stay_blind(make):  # noqa: F811
    suite = make()
    send(suite, BOB, text="Subject: t\r\nBcc: carl@example.com\r\n dora@example.com\r\nResent-Bcc: emil@example.com\r\nTo: bob@example.com\r\n\r\nx\r\n")
    m, text = one(suite)
    assert m["Subject"] == "t" and m["To"] == BOB and b"carl" not in text and b"dora" not in text and b"emil" not in text
