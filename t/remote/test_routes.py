"""Where mail goes and how: mail exchangers, transports, relays, logins, TLS; name server and receivers of this test."""
import json
import os
import pathlib
import re
import smtplib
import ssl
import subprocess
import sys
import time
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import suite as suite_module  # noqa: E402
from remotescene import Scene, mx  # noqa: E402

MAP_GROUP = "_postern_map"


@pytest.fixture(scope="module")
def plain():
    s = Scene(smtp_connection_cache_on_demand="no", proxy_interfaces="203.0.113.9")
    yield s.start()
    s.close()


def test_exchangers_in_the_order_of_their_preference(plain):
    mx(plain, "order.example", (20, 2), (10, 1))
    first, second = plain.sink(1), plain.sink(2)
    plain.log(plain.send("a@order.example"), r"relay=mx1\.order\.example\[127\.0\.60\.1\]:25, .*status=sent")
    first.greeting = "421 4.3.2 busy"
    plain.log(plain.send("a@order.example"), r"relay=mx2\.order\.example\[127\.0\.60\.2\]:25, .*status=sent")
    first.greeting = "220 back"
    assert len(second.messages) == 1 and len(first.messages) == 1


def test_equal_preferences_share_the_load(plain):
    mx(plain, "equal.example", (10, 3), (10, 4))
    plain.sink(3), plain.sink(4)
    for i in range(24):
        plain.log(plain.send("a@equal.example"), "status=sent")
    assert len(plain.sink(3).messages) > 2 and len(plain.sink(4).messages) > 2


@pytest.mark.parametrize("name, records, want", [
    ("null.example", [("MX", "0 .")], r"dsn=5\.1\.10, status=bounced \(Domain null\.example does not accept mail \(nullMX\)\)"),
    ("nowhere.example", [], r"dsn=5\.4\.4, status=bounced \(Host or domain name not found\. Name service error for name=nowhere\.example type=MX: Host not found\)"),
    ("sick.example", [("*", "SERVFAIL")], r"dsn=4\.4\.3, status=deferred \(Host or domain name not found\. Name service error for name=sick\.example type=MX: Host not found, try again\)"),
    ("self.example", [("MX", "10 mail.example.com")], r"dsn=5\.4\.6, status=bounced \(mail for self\.example loops back to myself\)"),
    ("loop.example", [("MX", "10 other.loop.example")], r"dsn=5\.4\.6, status=bounced \(mail for loop\.example loops back to myself\)"),
    ("nat.example", [("MX", "10 outside.nat.example")], r"dsn=5\.4\.6, status=bounced \(mail for nat\.example loops back to myself\)"),
    ("gone.example", [("MX", "10 nohost.gone.example")], r"dsn=5\.4\.4, status=bounced"),
])
def test_domains_that_cannot_be_reached(plain, name, records, want):
    for kind, value in records:
        plain.dns.add(name, kind, value)
    plain.dns.add("mail.example.com", "A", plain.host)
    plain.dns.zone["other.loop.example"] = {"A": [("127.0.0.1", None)]}     # an address of this machine, by another name
    plain.dns.zone["outside.nat.example"] = {"A": [("203.0.113.9", None)]}      # proxy_interfaces
    plain.dns.zone["gone.example"] = plain.dns.zone.get("gone.example", {})
    plain.log(plain.send("a@" + name), want)


def test_a_backup_exchanger_sends_only_to_better_ones(plain):
    mx(plain, "backup.example", (10, 5))
    plain.dns.add("backup.example", "MX", "20 mail.example.com", "30 mx6.backup.example")
    plain.dns.add("mail.example.com", "A", "127.0.0.1")
    plain.dns.add("mx6.backup.example", "A", "127.0.60.6")
    plain.sink(6)
    plain.log(plain.send("a@backup.example"), r"status=deferred \(connect to mx5\.backup\.example\[127\.0\.60\.5\]:25: Connection refused\)")
    assert plain.sink(6).connections == 0, "what is worse than we are is not tried"


def test_a_host_without_mx(plain):
    plain.dns.add("bare.example", "A", "127.0.60.7")
    plain.sink(7)
    plain.log(plain.send("a@bare.example"), r"relay=bare\.example\[127\.0\.60\.7\]:25, .*status=sent")


@pytest.mark.parametrize("records, want", [
    (["10 127.0.60.14"], r"relay=127\.0\.60\.14\[127\.0\.60\.14\]:25, .*status=sent"),
    (["10 2001:db8::1", "20 127.0.60.14"], r"relay=127\.0\.60\.14\[127\.0\.60\.14\]:25, .*status=sent"),     # no host can be named so
    (["10 [127.0.60.14]"], r"dsn=4\.4\.3, status=deferred"),
    (["10 127.0.0.1"], r"dsn=5\.4\.6, status=bounced \(mail for number\.example loops back to myself\)"),
    (["10 127.0.60.14", "20 127.0.0.1"], r"relay=127\.0\.60\.14\[127\.0\.60\.14\]:25, .*status=sent"),
])
def test_an_exchanger_that_is_an_address(plain, records, want):
    """Against RFC 5321 5.1, but it happens, and other servers take it."""
    plain.sink(14)
    name = "%s.number.example" % uuid.uuid4().hex[:8]
    plain.dns.add(name, "MX", *records)
    plain.log(plain.send("a@" + name), want.replace("number", r"\w+\.number"))


@pytest.mark.parametrize("domain, want", [("[127.0.60.14]", r"relay=127\.0\.60\.14\[127\.0\.60\.14\]:25, .*status=sent"),
                                          ("[IPv6:::ffff:127.0.60.14]", r"relay=::ffff:127\.0\.60\.14\[::ffff:127\.0\.60\.14\]:25, .*status=sent")])
def test_an_address_in_place_of_a_domain(plain, domain, want):
    sink = plain.sink(14)
    plain.log(plain.send("a@" + domain), want)
    assert sink.messages[-1][0][1].lower() == ("RCPT TO:<a@%s>" % domain).lower()


def test_a_number_is_no_domain(plain):
    with smtplib.SMTP(plain.host, 25, timeout=30) as s:
        s.ehlo("t.example")
        s.mail("me@example.com")
        assert s.rcpt("a@127.0.60.14") == (501, b"5.1.3 <a@127.0.60.14>: Recipient address rejected: Bad recipient address syntax")


def test_eight_bits_become_seven_for_an_old_server(plain):
    mx(plain, "old.example", (10, 8))
    sink = plain.sink(8, features=["PIPELINING"])
    text = ("Subject: t\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" "Gr\u00fc\u00dfe\r\n").encode()
    plain.log(plain.send("a@old.example", body=text, options=["BODY=8BITMIME"]), "status=sent")
    env, data, _ = sink.wait()
    assert "8BITMIME" not in env[0] and b"quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n" in data and max(data) < 128
    plain.sink(1).features.append("SMTPUTF8")
    mx(plain, "new.example", (10, 1))
    plain.log(plain.send("a@new.example", body=text, options=["BODY=8BITMIME"]), "status=sent")
    env, data, _ = plain.sink(1).messages[-1]
    assert "BODY=8BITMIME" in env[0] and text in data


def test_what_was_said_before_tls_is_forgotten(plain):
    """Somebody in between may have said it."""
    mx(plain, "between.example", (10, 13))
    sink = plain.sink(13, tls=plain.tls("mx13.between.example"), features=("SIZE",), plain_features=("SIZE 5",))
    plain.log(plain.send("a@between.example"), "status=sent")
    assert sink.messages[-1][2]


def test_wishes_for_notifications_are_passed_on(plain):
    mx(plain, "dsn.example", (10, 9))
    sink = plain.sink(9, features=["PIPELINING", "DSN"])
    plain.log(plain.send("a@dsn.example", options=["RET=HDRS", "ENVID=a+2Bb"], rcpt_options=["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;x+2By@z.example"]), "status=sent")
    env = sink.wait()[0]
    assert env[0].endswith(" RET=HDRS ENVID=a+2Bb"), env
    assert env[1] == "RCPT TO:<a@dsn.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+2By@z.example"


def test_one_worker_per_destination(plain):
    mx(plain, "left.example", (10, 10))
    mx(plain, "right.example", (10, 11))
    plain.sink(10, delay=1), plain.sink(11, delay=1)
    qids = [plain.send("a@left.example"), plain.send("a@right.example"), plain.send("b@left.example")]
    end = time.monotonic() + 30
    while True:
        ps = subprocess.run(["ps", "-eo", "user:20,args"], stdout=subprocess.PIPE, text=True).stdout
        found = [line for line in ps.splitlines() if "remote: worker smtp:" in line and ("left.example" in line or "right.example" in line)]
        if len(found) == 2:
            break
        assert time.monotonic() < end, ps
    assert all(line.startswith("_postern_remote") for line in found)
    for q in qids:
        plain.log(q, "status=sent")


# --- transports ---

@pytest.fixture(scope="module")
def maps():
    s = Scene(relayhost="[127.0.60.20]:25", smtp_sasl_auth_enable="yes", smtp_fallback_relay="", relay_domains="relay.example",
              sender_dependent_relayhost_maps="texthash:%s", smtp_sasl_tls_security_options="noanonymous", smtp_bind_address="127.0.9.77",
              virtual_mailbox_domains="example.com")
    table = s.map("transport", """smtp.example       smtp:[127.0.60.21]:25
.below.example     smtp:[127.0.60.22]:25
closed.example     error:5.7.1 we do not speak to them
silent.example     error:nobody is there
sick.example       retry:4.4.1 cable cut
black.example      discard:gone
lm.example         lmtp:inet:127.0.60.23:25
odd.example        uucp:there
bob@example.com    smtp:[127.0.60.24]:25
plain.example      :
deep.example       :[127.0.60.25]:25
mine.example       local:
""")
    senders = s.map("senders", "@second.example [127.0.60.26]:25\nnull [127.0.60.34]:25\n")
    transports = s.map("senders-transports", "@third.example smtp:[127.0.60.33]:25\njoe@third.example DUNNO\n@fourth.example smtp:\nclosed@third.example error:5.7.1 not from you\n"
                                             "nobody smtp:[127.0.60.35]:25\n")
    keywords = s.map("keywords", "127.0.60.22 size\n127.0.60.25 8bitmime, Pipelining\n")
    passwords = s.map("passwords", "[127.0.60.20]:25 joe:s3cret:word\n[127.0.60.21]:25 joe:wrong\n", 0o640)
    policy = s.map("policy", "[127.0.60.27]:25 verify match=right.example\n[127.0.60.28]:25 verify match=right.example\n[127.0.60.29]:25 encrypt\n"
                             "[127.0.60.30]:25 fingerprint match=%s\n[127.0.60.31]:25 fingerprint match=00\n")
    aliases = s.map("aliases", "both@example.com alice@example.com, a@closed.example, a@anywhere.example\nled@example.com a@closed.example\n")
    s.suite.settings.update(transport_maps="texthash:%s" % table, virtual_alias_maps="texthash:%s" % aliases, sender_dependent_relayhost_maps="texthash:%s" % senders,
                            smtp_discard_ehlo_keyword_address_maps="texthash:%s" % keywords,
                            sender_dependent_default_transport_maps="texthash:%s" % transports, empty_address_default_transport_maps_lookup_key="nobody", empty_address_relayhost_maps_lookup_key="null",
                            smtp_sasl_password_maps="texthash:%s" % passwords, smtp_tls_policy_maps="texthash:%s" % policy)
    for n in range(27, 33):
        table.write_text(table.read_text() + "tls%d.example smtp:[127.0.60.%d]:25\n" % (n, n))
    import grp
    os.chown(passwords, 0, grp.getgrnam(MAP_GROUP).gr_gid)
    s.context = s.tls("right.example")
    der = ssl.PEM_cert_to_DER_cert(s.context.cert.read_text())
    import hashlib
    policy.write_text(policy.read_text() % hashlib.sha256(der).hexdigest())
    s.suite.configure()
    s.suite.user_add("alice@example.com", "alice-secret")
    s.suite.user_add("bob@example.com", "bob-secret")
    yield s.start()
    s.close()


def test_the_relay_with_a_login(maps):
    sink = maps.sink(20, login=(["PLAIN", "CRAM-MD5"], "joe", "s3cret:word"))
    maps.log(maps.send("a@anywhere.example"), r"relay=127\.0\.60\.20\[127\.0\.60\.20\]:25, .*status=sent")
    assert "AUTH CRAM-MD5" in sink.commands and sink.peers[0] == "127.0.9.77", "and from the address that was asked for"
    text = maps.suite.log.read_text(errors="replace")
    assert "s3cret" not in text
    ps = subprocess.run(["ps", "-eo", "args"], stdout=subprocess.PIPE, text=True).stdout
    assert "remote: worker smtp:[127.0.60.20]:25 as joe" in ps and "s3cret" not in ps


def test_a_password_is_not_sent_in_the_clear(maps):
    maps.sink(21, login=(["PLAIN"], "joe", "right"))
    maps.log(maps.send("a@smtp.example"), r"dsn=4\.7\.0, status=deferred \(SASL authentication failed; cannot authenticate to server .*: no mechanism available\)")
    assert not [c for c in maps.sink(21).commands if c.startswith(("AUTH", "MAIL"))]


def test_a_wrong_password(maps):
    maps.sink(21).login = (["CRAM-MD5"], "joe", "right")
    maps.log(maps.send("a@smtp.example"), r"dsn=4\.7\.8, status=deferred \(SASL authentication failed; server .* said: 535 5\.7\.8 no\)")


@pytest.mark.parametrize("to, want", [
    ("a@x.below.example", r"relay=127\.0\.60\.22\[127\.0\.60\.22\]:25, .*status=sent"),
    ("both@example.com", r"error\[\d+\]: .*to=<a@closed\.example>, .*relay=none, .*dsn=5\.7\.1, status=bounced \(we do not speak to them\)"),
    ("a@sick.example", r"retry\[\d+\]: .*relay=none, .*dsn=4\.4\.1, status=deferred \(cable cut\)"),
    ("a@black.example", r"discard\[\d+\]: .*relay=none, .*dsn=2\.0\.0, status=sent \(gone\)"),
    ("a@odd.example", r"dsn=4\.3\.5, status=deferred \(unknown mail transport: uucp\)"),
    ("bob@example.com", r"relay=127\.0\.60\.24\[127\.0\.60\.24\]:25, .*status=sent"),
    ("a@plain.example", r"relay=127\.0\.60\.20\[127\.0\.60\.20\]:25, .*status=sent"),
    ("a@deep.example", r"relay=127\.0\.60\.25\[127\.0\.60\.25\]:25, .*status=sent"),
])
def test_transport_maps(maps, to, want):
    maps.sink(20, login=(["PLAIN", "CRAM-MD5"], "joe", "s3cret:word"))
    for n in (22, 24, 25):
        maps.sink(n)
    maps.log(maps.send(to), want)


@pytest.mark.parametrize("sender, to, want", [
    ("me@example.com", "a@closed.example", (550, b"5.7.1 <a@closed.example>: Recipient address rejected: we do not speak to them")),
    ("me@example.com", "led@example.com", (550, b"5.7.1 <led@example.com>: Recipient address rejected: we do not speak to them")),
    ("closed@third.example", "a@anywhere.example", (550, b"5.7.1 <a@anywhere.example>: Recipient address rejected: not from you")),
    ("me@example.com", "a@silent.example", (550, b"5.1.1 <a@silent.example>: Recipient address rejected: nobody is there")),
    ("me@example.com", "a@sick.example", (250, b"2.1.5 Ok")),
    ("me@example.com", "both@example.com", (250, b"2.1.5 Ok")),
], ids=["an address", "an alias", "by the sender", "no code", "retry", "an alias for others too"])
def test_transport_error_is_told_at_rcpt(maps, sender, to, want):
    with smtplib.SMTP(maps.host, 25, timeout=30) as s:
        s.ehlo("t.example")
        s.mail(sender)
        assert s.rcpt(to) == want
        assert s.rcpt("bob@example.com")[0] == 250, "the others are not concerned"
    why = maps.suite.tool("postern", "why", "--sender", sender, to, check=False)
    told = re.search(r"class \w+: 550 (\S+) (.*)", why.stdout.decode())
    assert why.returncode == (want[0] != 250), why
    assert want[0] == 250 or "%s <%s>: %s" % (told[1], to, told[2]) == want[1].decode(), why


def test_keywords_that_one_server_should_not_have_said(maps):
    sinks = maps.sink(22), maps.sink(24)
    for s, to in zip(sinks, ("a@x.below.example", "bob@example.com")):
        maps.log(maps.send(to), "status=sent")
        mail = [c for c in s.commands if c.startswith("MAIL")][-1]
        assert ("SIZE=" in mail) == (s is sinks[1]), mail


def test_lmtp_answers_for_each_recipient(maps):
    sink = maps.sink(23, lmtp=True)
    sink.refuse["<b@lm.example>"] = "550 5.1.1 nobody"
    qid = maps.send("a@lm.example", "b@lm.example", "c@lm.example")
    for r, want in (("a", "sent"), ("b", "bounced"), ("c", "sent")):
        maps.log(qid, r"lmtp\[\d+\]: .*to=<%s@lm\.example>, relay=127\.0\.60\.23\[127\.0\.60\.23\]:25, .*status=%s" % (r, want))
    assert sink.commands[0].startswith("LHLO ") and len(sink.wait()[0]) == 3


def test_the_relay_of_a_sender(maps):
    maps.sink(26)
    maps.log(maps.send("a@anywhere.example", sender="x@second.example"), r"relay=127\.0\.60\.26\[127\.0\.60\.26\]:25, .*status=sent")


@pytest.mark.parametrize("sender, to, want", [
    ("x@third.example", "a@anywhere.example", r"relay=127\.0\.60\.33\[127\.0\.60\.33\]:25, .*status=sent"),
    ("closed+tag@third.example", "both@example.com", r"to=<a@anywhere\.example>, .*relay=none, .*dsn=5\.7\.1, status=bounced \(not from you\)"),
    ("joe@third.example", "a@anywhere.example", r"relay=127\.0\.60\.20\[127\.0\.60\.20\]:25, .*status=sent"),
    ("x@fourth.example", "a@anywhere.example", r"relay=127\.0\.60\.20\[127\.0\.60\.20\]:25, .*status=sent"),
    ("x@third.example", "a@x.below.example", r"relay=127\.0\.60\.22\[127\.0\.60\.22\]:25, .*status=sent"),
    ("x@third.example", "a@relay.example", r"relay=127\.0\.60\.20\[127\.0\.60\.20\]:25, .*status=sent"),
    ("", "a@relay.example", r"relay=127\.0\.60\.34\[127\.0\.60\.34\]:25, .*status=sent"),
    ("", "a@anywhere.example", r"relay=127\.0\.60\.35\[127\.0\.60\.35\]:25, .*status=sent"),
], ids=["a domain", "an address", "DUNNO", "no next hop: the relay", "transport_maps first", "not relay_domains", "the null sender's relay", "the null sender"])
def test_the_transport_of_a_sender(maps, sender, to, want):
    for n in (20, 22, 33, 34, 35):
        maps.sink(n, **({"login": (["PLAIN", "CRAM-MD5"], "joe", "s3cret:word")} if n == 20 else {}))
    maps.log(maps.send(to, sender=sender), want)


@pytest.mark.parametrize("n, names, want, secure", [
    (27, ["right.example"], "status=sent", True),
    (28, ["wrong.example"], r"dsn=4\.7\.5, status=deferred \(Cannot start TLS with .*certificate verify failed", None),
    (29, None, r"dsn=4\.7\.4, status=deferred \(TLS is required, but was not offered by host", None),
    (30, "the one of the policy", "status=sent", True),
    (31, ["right.example"], r"dsn=4\.7\.5, status=deferred \(Server certificate not verified", None),
    (32, ["wrong.example"], "status=sent", True),
])
def test_tls_policies(maps, n, names, want, secure):
    sink = maps.sink(n, tls=maps.context if isinstance(names, str) else maps.tls(*names) if names else None)
    maps.log(maps.send("a@tls%d.example" % n), want)
    assert (sink.messages[-1][2] if sink.messages else None) == secure


# --- DANE (RFC 7672), fallback relay ---

@pytest.fixture(scope="module")
def dane():
    s = Scene(smtp_tls_security_level="dane", smtp_fallback_relay="[127.0.60.59]:25")
    s.dns.ad = True
    yield s.start()
    s.close()


def key_hash(context):
    import hashlib
    key = suite_module.run(["openssl", "x509", "-in", context.cert, "-noout", "-pubkey"]).stdout
    der = suite_module.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key).stdout
    return hashlib.sha256(der).hexdigest()


def test_dane_believes_the_key_and_nothing_else(dane):
    good, bad = dane.tls("whatever.example"), dane.tls("mx42.bad.example")
    for n, domain, context, record in ((41, "good.example", good, "3 1 1 " + key_hash(good)), (42, "bad.example", bad, "3 1 1 " + "00" * 32),
                                       (43, "plain.example", None, "3 1 1 " + "00" * 32), (44, "none.example", None, None)):
        mx(dane, domain, (10, n))
        if record:
            dane.dns.add("_25._tcp.mx%d.%s" % (n, domain), "TLSA", record)
        dane.sink(n, tls=context)
    fallback = dane.sink(59)
    line = dane.log(dane.send("a@good.example"), "status=sent")
    assert "127.0.60.41" in line and dane.sink(41).wait()[2] is True
    assert dane.suite.logged("Verified TLS connection established to mx41.good.example")
    for domain in ("bad.example", "plain.example"):
        assert "127.0.60.59" in dane.log(dane.send("a@" + domain), "status=sent"), "the fallback relay"
    assert not dane.sink(42).messages and not dane.sink(43).messages and len(fallback.messages) == 2
    assert "127.0.60.44" in dane.log(dane.send("a@none.example"), "status=sent")
    rows = dane.suite.tool("postern-queue", "tls").stdout.decode().split("\n\n")
    rows = [r.split("\n", 1)[1] for r in rows if r.startswith("day: 2")]
    assert "domain: good.example\npolicy_type: tlsa\nresult_type: success\nexchanger: mx41.good.example\nsessions: 1" in rows
    assert "domain: bad.example\npolicy_type: tlsa\nresult_type: validation-failure\nexchanger: mx42.bad.example\nsessions: 1" in rows
    objects = [json.loads(line) for line in dane.suite.tool("postern-queue", "tls", "--json").stdout.splitlines()]
    assert len(objects) == len(rows) and all(o.pop("day").startswith("2") for o in objects)
    assert {"domain": "good.example", "policy_type": "tlsa", "result_type": "success", "exchanger": "mx41.good.example", "sessions": 1} in objects
    assert set(json.loads(dane.suite.tool("postern-queue", "status", "--json").stdout)) == {"messages", "transactions", "connections", "agents"}


def test_records_that_nobody_vouches_for_are_no_demand(dane):
    dane.dns.ad = False
    mx(dane, "unsigned.example", (10, 45))
    dane.dns.add("_25._tcp.mx45.unsigned.example", "TLSA", "3 1 1 " + "00" * 32)
    dane.sink(45)
    assert "127.0.60.45" in dane.log(dane.send("a@unsigned.example"), "status=sent")
    dane.dns.ad = True


def test_a_destination_that_is_down_goes_to_the_fallback_relay(dane):
    mx(dane, "down.example", (10, 46))
    dane.sink(59)
    assert "127.0.60.59" in dane.log(dane.send("a@down.example"), "status=sent")
    assert "127.0.60.59" in dane.log(dane.send("a@nosuchdomain.example"), "status=sent")
