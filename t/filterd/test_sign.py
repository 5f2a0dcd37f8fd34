"""DKIM signing and ARC over the whole suite, with Debian's dkimpy and opendkim as the other side. The clients come from loopback, which is made a foreign
network here; what leaves goes to a sink."""
import base64
import itertools
import json
import os
import pathlib
import re
import signal
import smtplib
import struct
import subprocess
import time

import dkim
import pytest

import dnsserver
import mailtools
import milter as milter_module
import smtpsink
import suite as suite_module

HOST, FILTER = "127.0.78.1", "127.0.78.2"
ALICE, BOB = "alice@example.com", "bob@example.com"
numbers = itertools.count(1)


class Scene:
    def __init__(self):
        base = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "sign"
        self.dns, self.sink, self.milter = dnsserver.Server(), smtpsink.Sink(), milter_module.Milter()
        self.dns.add("list.test", "TXT", "v=spf1 ip4:127.0.0.0/8 -all").add("_dmarc.list.test", "TXT", "v=DMARC1; p=none")
        self.dns.add("bank.test", "TXT", "v=spf1 -all").add("_dmarc.bank.test", "TXT", "v=DMARC1; p=reject")
        self.dns.add("shop.test", "TXT", "v=spf1 -all").add("_dmarc.shop.test", "TXT", "v=DMARC1; p=quarantine")
        self.suite = s = suite_module.Suite(base, build=os.environ.get("POSTERN_BUILD", "dev"), hosts=(HOST,), real_ports=True, settings={
            "dns_servers": self.dns.address, "mynetworks": "203.0.113.0/24", "filter_virus_check": "no", "relayhost": "[127.0.0.1]:%d" % self.sink.port,
            "minimal_backoff_time": "1s", "arc_trusted_sealers": "trusted.test",
            "filter_recipient_policies": "%s/etc/recipients" % base,
            "header_checks": "pcre:%s/etc/checks" % base,
            "listener.filtered": "%s:10025/smtp -o mynetworks= -o filter_enable=no -o smtpd_recipient_restrictions=\n"
                                 "    -o { smtpd_relay_restrictions = check_client_access cidr:%s/etc/filters, reject_unauth_destination }" % (HOST, base),
            "listener.careless": "%s:10026/smtp -o mynetworks=127.0.0.0/8" % HOST,
            "listener.milted": "%s:2525/smtp -o smtpd_milters=%s" % (HOST, self.milter.name)})
        s.make()
        s.user_add(ALICE, "alice-secret")
        s.user_add(BOB, "bob-secret")
        (base / "etc" / "checks").write_text("/^X-Filter:/ FILTER smtp:[%s]:10024\n" % FILTER)
        (base / "etc" / "recipients").write_text("[marked]\nrecipients = marked@far.test\nspam_action = tag\n[plain]\nrecipients = plain@far.test\nspam_action = accept\n")
        (base / "etc" / "filters").write_text("127.0.0.1 OK\n")
        (base / "etc" / "virtual").write_text("away@example.com away@far.test\n")
        s.tool("postmap", "cdb:%s" % (base / "etc" / "virtual"))
        s.start()
        self.published = 0

    def tool(self, *args, check=True):
        p = self.suite.tool("postern-dkim", *args, check=check)
        return p.returncode, p.stdout.decode()

    def publish(self):
        """Every record that the tool prints, into the zone."""
        for line in self.tool("dns")[1].splitlines():
            name, text = line.split(". IN TXT ", 1)
            self.dns.add(name, "TXT", "".join(re.findall('"([^"]*)"', text)))

    def txt(self, name, timeout=30):
        values = self.dns.zone.get(name.decode().rstrip(".").lower(), {}).get("TXT", [])
        return values[0][0].encode() if values else None

    def submit(self, text, to=("x@far.test",), port="SUBMISSION"):
        context = self.suite.tls_context()
        context.check_hostname = False
        with smtplib.SMTP(HOST, port if isinstance(port, int) else self.suite.port(port), timeout=60) as s:
            s.starttls(context=context)
            s.login(ALICE, "alice-secret")
            s.sendmail(ALICE, list(to), text)

    def outside(self, text, to, envelope="x@list.test"):
        with smtplib.SMTP(HOST, self.suite.port("SMTP"), timeout=60) as s:
            s.sendmail(envelope, [to], text)

    def arrives(self, mid, timeout=30):
        """The message with that id that the sink got."""
        end = time.monotonic() + timeout
        while True:
            for _env, data, _secure in list(self.sink.messages):
                if mid.encode() in data:
                    return data
            assert time.monotonic() < end, self.suite.trouble()
            time.sleep(0.01)

    def close(self):
        self.suite.stop()
        for x in (self.dns, self.sink, self.milter):
            x.close()


@pytest.fixture(scope="module")
def scene():
    s = Scene()
    yield s
    s.close()


@pytest.fixture(scope="module")
def signing(scene):
    """With an active key of each kind, as an administrator gets there."""
    assert "made key rr of example.com" in scene.tool("genkey", "example.com", "-s", "rr")[1]
    scene.tool("genkey", "example.com", "-s", "ee", "-t", "ed25519")
    assert scene.tool("rotate", "example.com", check=False)[0] == 1     # nothing is published
    assert {r["state"] for r in json.loads(scene.tool("list", "--json")[1])} == {"new"}
    scene.publish()
    assert scene.tool("dns", "--check")[0] == 0
    scene.tool("rotate", "example.com")
    assert {r["state"] for r in json.loads(scene.tool("list", "--json")[1])} == {"active"}
    return scene


def letter(sender=ALICE, extra="", body="Hello,\r\n\r\nthis  is a message. \r\n.dot\r\n\r\n"):
    mid = "<%d.%d@t.test>" % (os.getpid(), next(numbers))
    return mid, ("From: Somebody <%s>\r\nTo: x@far.test\r\nSubject: about\r\n  money\r\nDate: Sat, 28 Nov 2026 10:00:00 +0000\r\nMessage-ID: %s\r\n%s\r\n%s"
                 % (sender, mid, extra, body)).encode()


def fields(data, name):
    head = data.split(b"\r\n\r\n", 1)[0].decode()
    return [re.sub(r"\r\n[ \t]+", " ", f) for f in re.findall(r"(?mi)^%s:(?:.*\r\n(?:[ \t].*\r\n)*)" % name, head + "\r\n")]


def valid(scene, data):
    """The selectors whose signatures dkimpy finds good."""
    d = dkim.DKIM(data)
    good = set()
    for i in range(len(fields(data, "DKIM-Signature"))):
        try:
            if d.verify(i, dnsfunc=scene.txt):
                good.add(d.signature_fields[b"s"].decode())
        except dkim.DKIMException:
            pass
    return good


def opendkim_says(scene, data):
    where = scene.suite.base / "opendkim"
    where.mkdir(exist_ok=True)
    (where / "keys").write_text("".join("%s %s\n" % (n, t["TXT"][0][0]) for n, t in scene.dns.zone.items() if "_domainkey" in n and "k=rsa" in t["TXT"][0][0]))
    (where / "conf").write_text("Mode v\nTestPublicKeys %s/keys\nRequireSafeKeys no\nSyslog no\n" % where)
    (where / "mail").write_bytes(data)
    p = subprocess.run(["opendkim", "-x", str(where / "conf"), "-vv", "-t", str(where / "mail")], capture_output=True, check=False)
    return p.stdout.decode() + p.stderr.decode()


def test_without_keys_mail_leaves_unsigned(scene):
    mid, text = letter()
    scene.submit(text)
    assert fields(scene.arrives(mid), "DKIM-Signature") == []


def test_what_a_filter_gives_back_is_not_ours(signing):
    """A stranger with an address of ours in From. The listener is queued(8)'s; one with networks shows what it is good for."""
    content_filter = smtpsink.Sink(FILTER, 10024)
    mid, text = letter(extra="X-Filter: yes\r\n")
    try:
        signing.outside(text, "away@example.com")
        envelope, data, _ = content_filter.wait(timeout=30)
    finally:
        content_filter.close()
    assert mid.encode() in data and "RCPT TO:<away@example.com>" in envelope[1]
    with smtplib.SMTP(HOST, 10025, timeout=60) as s:
        s.sendmail("x@list.test", ["x@far.test"], data.replace(b"X-Filter: yes\r\n", b""))
    assert fields(signing.arrives(mid), "DKIM-Signature") == []
    mid, text = letter()
    with smtplib.SMTP(HOST, 10026, timeout=60) as s:
        s.sendmail("x@list.test", ["x@far.test"], text)
    assert fields(signing.arrives(mid), "DKIM-Signature")


def test_submitted_mail_is_signed_with_each_active_key(signing):
    mid, text = letter()
    signing.submit(text)
    data = signing.arrives(mid)
    signatures = fields(data, "DKIM-Signature")
    assert len(signatures) == 2 and all(" l=" not in s for s in signatures)
    assert valid(signing, data) == {"rr", "ee"}
    assert data.startswith(b"DKIM-Signature:")
    # one more From below, or another body, and they fit no longer
    assert valid(signing, data.replace(b"\r\nSubject:", b"\r\nFrom: eve@e.test\r\nSubject:", 1)) == set()
    assert valid(signing, data.replace(b"this  is", b"this is not")) == set()


def test_opendkim_finds_the_signature_good(signing):
    mid, text = letter()
    signing.submit(text)
    data = signing.arrives(mid)
    assert re.search(r"verification \(s=rr.*\) succeeded", opendkim_says(signing, data)), opendkim_says(signing, data)


def test_subdomains_take_the_keys_above_and_strangers_none(signing):
    mid, text = letter(sender="joe@dept.example.com")
    signing.submit(text)
    assert valid(signing, signing.arrives(mid)) == {"rr", "ee"}
    mid, text = letter(sender="joe@elsewhere.test")
    signing.submit(text)
    assert fields(signing.arrives(mid), "DKIM-Signature") == []


def test_forged_mail_from_outside_is_not_signed(signing):
    mid, text = letter()
    signing.outside(text, "away@example.com")
    assert fields(signing.arrives(mid), "DKIM-Signature") == []


def test_bounces_are_signed(signing):
    signing.sink.refuse["<gone@far.test>"] = "550 5.1.1 no such user"
    mid, text = letter()
    signing.submit(text, ["gone@far.test"])
    bounce = mailtools.Mail(signing.suite).wait_for(mid, ALICE).read_bytes().replace(b"\n", b"\r\n")
    assert b"From: MAILER-DAEMON@mail.example.com" in bounce
    assert valid(signing, bounce) == {"rr", "ee"}


def test_mail_of_others_that_goes_on_is_sealed(signing):
    mid, text = letter(sender="x@list.test")
    signing.outside(text, "away@example.com")
    data = signing.arrives(mid)
    assert fields(data, "DKIM-Signature") == []
    assert [len(fields(data, "ARC-" + n)) for n in ("Seal", "Message-Signature", "Authentication-Results")] == [1, 1, 1]
    assert "i=1; mail.example.com; spf=pass" in fields(data, "ARC-Authentication-Results")[0]
    assert dkim.arc_verify(data, dnsfunc=signing.txt)[0] == dkim.CV_Pass


@pytest.fixture(scope="module")
def sealer(scene):
    """Seals as another server of that domain does."""
    key = subprocess.run(["openssl", "genrsa", "-traditional", "1024"], check=True, capture_output=True).stdout
    public = subprocess.run(["openssl", "rsa", "-pubout", "-outform", "DER"], input=key, check=True, capture_output=True).stdout
    for domain in ("list.test", "trusted.test"):
        scene.dns.add("k._domainkey." + domain, "TXT", "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode())
    return lambda text, domain: b"".join(dkim.arc_sign(text, b"k", domain.encode(), key, b"lists." + domain.encode())) + text


def test_a_trusted_forwarder_vouches_for_what_it_saw_pass(scene, sealer):
    """DMARC asks to refuse it: with the seal of a forwarder of trust it is taken, with another's, or a broken one, it is not."""
    for domain, change, code in (("trusted.test", lambda x: x, 250), ("list.test", lambda x: x, 550), ("trusted.test", lambda x: x.replace(b"this  is", b"this was"), 550),
                                 ("trusted.test", lambda x: x.replace(b"dmarc=pass", b"dmarc=fail"), 550)):
        mid, text = letter(sender="boss@bank.test", extra="Authentication-Results: lists.%s; dmarc=pass header.from=bank.test\r\n" % domain)
        try:
            scene.outside(change(sealer(text, domain)), ALICE)
            got = 250
        except smtplib.SMTPDataError as e:
            got = e.smtp_code
        assert got == code, (domain, got)
        if code == 250:
            head = mailtools.Mail(scene.suite).wait_for(mid, ALICE).read_text()
            assert "arc=pass (i=1) header.d=trusted.test" in head and "dmarc=fail (p=reject, a trusted forwarder vouches)" in head


def test_a_chain_of_another_sealer_is_continued_or_found_broken(signing, sealer):
    mid, text = letter(sender="x@list.test", extra="Authentication-Results: lists.list.test; spf=pass smtp.mailfrom=list.test\r\n")
    sealed = sealer(text, "list.test")
    signing.outside(sealed, "away@example.com")
    data = signing.arrives(mid)
    assert len(fields(data, "ARC-Seal")) == 2 and "cv=pass" in fields(data, "ARC-Seal")[0]
    assert "arc=pass" in fields(data, "Authentication-Results")[0]
    assert dkim.arc_verify(data, dnsfunc=signing.txt)[0] == dkim.CV_Pass
    mid, text2 = letter(sender="x@list.test")
    signing.outside(sealed.replace(text, b"").replace(b"\r\n\r\n", b"\r\n") + text2, "away@example.com")
    broken = signing.arrives(mid)
    assert "arc=fail" in fields(broken, "Authentication-Results")[0] and "cv=fail" in fields(broken, "ARC-Seal")[0]


def instance(data, kind, i):
    """The field of that set, from its name to its last line end."""
    return re.search(rb"(?m)^%s:(?=[^\r]*\bi=%d;|(?:[^\r]*\r\n[ \t])+[^\r]*\bi=%d;)[^\r]*\r\n(?:[ \t][^\r]*\r\n)*" % (kind, i, i), data)[0]


def within(kind, i, old, new):
    def change(data):
        field = instance(data, kind, i)
        assert re.search(old, field), (old, field)
        return data.replace(field, re.sub(old, new, field, count=1))
    return change


def plainly(old, new):
    def change(data):
        assert old in data, old
        return data.replace(old, new, 1)
    return change


SEAL, SIGNATURE, RESULTS = b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results"
CHAINS = {
    "as it is": lambda data: data, "another fold": plainly(b"about\r\n  money", b"about money"), "blanks in the body": plainly(b"this  is", b"this is"),
    "a field that is not signed": lambda data: b"X-New: 1\r\n" + data, "another body": plainly(b"a message", b"no message"), "more body": lambda data: data + b"more\r\n",
    "another Subject": plainly(b"money", b"honey"), "another From": plainly(b"Somebody", b"Nobody"), "other case in the body": plainly(b"Hello", b"hello"),
    **{"%s of %d is missing" % (kind.decode(), i): (lambda data, kind=kind, i=i: data.replace(instance(data, kind, i), b""))
       for kind in (SEAL, SIGNATURE, RESULTS) for i in (1, 2, 3)},
    **{"%s of 2 is there twice" % kind.decode(): (lambda data, kind=kind: instance(data, kind, 2) + data) for kind in (SEAL, SIGNATURE, RESULTS)},
    **{"%s of %d has another i=" % (kind.decode(), i): within(kind, i, rb"i=%d;" % i, b"i=%d;" % (i + 3)) for kind in (SEAL, SIGNATURE, RESULTS) for i in (1, 3)},
    "no set 2": lambda data: data.replace(instance(data, SEAL, 2), b"").replace(instance(data, SIGNATURE, 2), b"").replace(instance(data, RESULTS, 2), b""),
    "no set 3": lambda data: data.replace(instance(data, SEAL, 3), b"").replace(instance(data, SIGNATURE, 3), b"").replace(instance(data, RESULTS, 3), b""),
    "no set at all": lambda data: re.sub(rb"(?m)^ARC-", b"X-", data), "cv=none in 3": within(SEAL, 3, rb"cv=pass", b"cv=none"),
    "cv=fail in 3": within(SEAL, 3, rb"cv=pass", b"cv=fail"), "cv=fail in 2": within(SEAL, 2, rb"cv=pass", b"cv=fail"), "cv=pass in 1": within(SEAL, 1, rb"cv=none", b"cv=pass"),
    "other results in 1": within(RESULTS, 1, rb"spf=pass", b"spf=fail"), "other results in 3": within(RESULTS, 3, rb"arc=pass", b"arc=none"),
    "another digest in 1": within(SIGNATURE, 1, rb"bh=..", b"bh=AA"), "another digest in 3": within(SIGNATURE, 3, rb"bh=..", b"bh=AA"),
    "another signature in 1": within(SIGNATURE, 1, rb"\bb=..", b"b=AA"), "another seal in 1": within(SEAL, 1, rb"\bb=..", b"b=AA"), "another seal in 3": within(SEAL, 3, rb"\bb=..", b"b=AA"),
    "another sealer in 3": within(SEAL, 3, rb"d=list.test", b"d=trusted.test"), "a sealer without a key": within(SEAL, 3, rb"d=list.test", b"d=shop.test"),
    "another time in 2": within(SEAL, 2, rb"\bt=1", b"t=2"), "a seal with h=": within(SEAL, 3, rb"i=3;", b"i=3; h=from;"), "no algorithm": within(SEAL, 3, rb"a=rsa-sha256;", b""),
    "an algorithm of old": within(SIGNATURE, 3, rb"a=rsa-sha256", b"a=rsa-sha1"),
}


def test_chains_are_judged_as_dkimpy_judges_them(scene, sealer):
    """A chain of three sets, and each change to it that its standard forbids or allows (RFC 8617 section 5.2)."""
    differ, judged = [], set()
    for name, change in CHAINS.items():
        mid, text = letter(sender="x@list.test", extra="Authentication-Results: lists.list.test;\r\n")
        for results in (b"spf=pass smtp.mailfrom=list.test", b"arc=pass", b"arc=pass"):
            text = sealer(re.sub(rb"(?m)^(Authentication-Results: [^;]*;).*\r\n", rb"\1 " + results + b"\r\n", text), "list.test")
        data = change(text)
        theirs = (dkim.arc_verify(data, dnsfunc=scene.txt)[0] or b"fail").decode()    # None: a seal says cv=fail
        scene.outside(data, ALICE)
        head = mailtools.Mail(scene.suite).wait_for(mid, ALICE).read_text().split("\n\n", 1)[0]
        results = fields(head.replace("\r\n", "\n").replace("\n", "\r\n").encode() + b"\r\n\r\n", "Authentication-Results")[0]
        ours = (re.findall(r"\barc=(\w+)", results) or ["none"])[0]
        judged.add(ours)
        if ours != theirs:
            differ.append((name, theirs, ours))
    assert not differ and judged == {"pass", "fail", "none"}, "dkimpy and ours: %r" % differ


def test_a_users_forward_is_sealed(signing):
    home = signing.suite.maildir(BOB).parent
    forward = home / ".forward"
    st = home.stat()
    forward.write_text("me@far.test\n")
    forward.chmod(0o600)
    os.chown(forward, st.st_uid, st.st_gid)
    try:
        mid, text = letter(sender="x@list.test")
        signing.outside(text, BOB)
        data = signing.arrives(mid)
    finally:
        forward.unlink()
    assert dkim.arc_verify(data, dnsfunc=signing.txt)[0] == dkim.CV_Pass


def test_milters_see_what_filterd_added_and_our_signature_covers_what_they_change(signing):
    """So that a signature of theirs is not broken by filterd, nor ours by them."""
    change = milter_module.packet(b"m", struct.pack("!I", 1) + milter_module.z("Subject", "changed"))
    signing.milter.reset({b"E": change + milter_module.packet(b"c")})
    mid, text = letter()
    signing.submit(text, port=2525)
    data = signing.arrives(mid)
    assert b"\r\nSubject: changed\r\n" in data and valid(signing, data) == {"rr", "ee"}
    signing.milter.reset()
    mid, text = letter(sender="x@shop.test")
    with smtplib.SMTP(HOST, 2525, timeout=60) as s:
        s.sendmail("x@list.test", [ALICE], text)
    headers = [d for c, d in signing.milter.heard if c == b"L"]
    assert any(h.startswith(b"X-Spam-Flag\0") for h in headers) and any(h.startswith(b"Authentication-Results\0") for h in headers)


@pytest.mark.parametrize("port", ["SUBMISSION", 2525])
def test_copies_that_differ_by_recipient_are_signed_each(signing, port):
    """Two policies, two subjects, two signatures that are good; a milter sees, and changes, what both have in common."""
    change = milter_module.packet(b"i", struct.pack("!I", 0) + milter_module.z("X-Milted", "yes"))
    signing.milter.reset({b"E": change + milter_module.packet(b"c")})
    mid, text = letter(body="XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-" + "TEST-EMAIL*C.34X\r\n")
    signing.submit(text, to=("marked@far.test", "plain@far.test"), port=port)
    end = time.monotonic() + 30
    got = {}
    while len(got) < 2:
        assert time.monotonic() < end, signing.suite.trouble()
        time.sleep(0.01)
        got = {env[1].split("<")[1].split("@")[0]: data for env, data, _secure in list(signing.sink.messages) if mid.encode() in data}
    assert fields(got["marked"], "Subject")[0].startswith("Subject: [SPAM] about") and fields(got["plain"], "Subject")[0].startswith("Subject: about")
    for data in got.values():
        assert valid(signing, data) == {"rr", "ee"} and len(fields(data, "DKIM-Signature")) == 2
        assert (b"X-Milted: yes" in data) == (port == 2525)
    signing.milter.reset()


def test_mail_waits_while_the_key_worker_is_away(signing):
    pid = [p[0] for p in signing.suite.processes() if p[3] == "authd: key worker"][0]
    os.kill(pid, signal.SIGSTOP)
    try:
        os.kill(pid, signal.SIGKILL)
    finally:
        end = time.monotonic() + 30
    while True:
        mid, text = letter()
        try:
            signing.submit(text)
            break
        except (smtplib.SMTPException, OSError):
            assert time.monotonic() < end
            time.sleep(0.05)
    assert valid(signing, signing.arrives(mid)) == {"rr", "ee"}


def test_keys_are_rotated_without_a_gap(signing):
    _status, out = signing.tool("rotate", "example.com")
    new = re.findall(r"made key (\S+) of example.com \((\w+)\)", out)
    assert sorted(k for _s, k in new) == ["ed25519", "rsa"]
    mid, text = letter()
    signing.submit(text)
    assert valid(signing, signing.arrives(mid)) == {"rr", "ee"}     # until they are published
    signing.publish()
    signing.tool("rotate", "example.com")
    mid, text = letter()
    signing.submit(text)
    assert valid(signing, signing.arrives(mid)) == {s for s, _k in new}
    states = {r["selector"]: r["state"] for r in json.loads(signing.tool("list", "--json")[1])}
    assert states["rr"] == states["ee"] == "retired"
    assert signing.tool("remove", "example.com", new[0][0], check=False)[0] == 1       # mail is signed with it
    signing.tool("remove", "example.com", "rr")
    assert not list((signing.suite.state / "dkim" / "private").glob("rr.*"))


@pytest.mark.parametrize("args", [("genkey", "../x"), ("genkey", "example.com", "-s", "a/b"), ("genkey", "example.com", "-t", "dsa"), ("genkey", "example.com", "-b", "512"),
                                  ("activate", "example.com", "nobody"), ("import", "example.com", "z", "/etc/passwd"), ("frobnicate",)])
def test_what_the_tool_refuses(scene, args):
    status, out = scene.tool(*args, check=False)
    assert status != 0 and out


def test_keys_that_are_credentials(signing):
    """dkim_credentials_directory: keys of there come before files, are read again at a reload, and stay when a key is removed."""
    creds, private = signing.suite.base / "credentials", signing.suite.state / "dkim" / "private"
    creds.mkdir(mode=0o700)
    signing.suite.conf.write_text(signing.suite.conf.read_text() + "dkim_credentials_directory = %s\n" % creds)
    reload_authd(signing)
    out = signing.tool("genkey", "cred.example.com", "-s", "c1", "-t", "ed25519")[1]
    assert "private/c1._domainkey.cred.example.com.pem may become a credential of authd" in out
    signing.publish()
    record = signing.tool("dns", "cred.example.com")[1]
    name = "c1._domainkey.cred.example.com.pem"
    (private / name).rename(creds / ("dkim_" + name))
    reload_authd(signing)
    signing.tool("activate", "cred.example.com", "c1")
    assert signing.tool("dns", "cred.example.com", "--check")[1].startswith(record)

    def signed():
        mid, text = letter(sender="alice@cred.example.com")
        signing.submit(text)
        return valid(signing, signing.arrives(mid))
    assert signed() == {"c1"}
    check = signing.suite.tool("postern", "check", check=False).stdout.decode()
    assert "c1._domainkey" not in check, check
    # Another key in its place, as where systemd renews it: a reload is enough.
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", creds / ("dkim_" + name)], check=True)
    (creds / ("dkim_" + name)).chmod(0o600)
    assert signed() == {"c1"}, "nobody was told yet"
    reload_authd(signing)
    assert signed() == set(), "it is another key now than the published one"
    signing.dns.remove("c1._domainkey.cred.example.com")
    signing.publish()
    other = signing.tool("dns", "cred.example.com")[1]
    assert other != record and "c1._domainkey" in other
    (creds / ("dkim_" + name)).chmod(0o644)
    assert "dkim_%s: error: must be root's alone" % name in signing.suite.tool("postern", "check", check=False).stdout.decode()
    (creds / ("dkim_" + name)).chmod(0o600)
    out = signing.tool("remove", "cred.example.com", "c1", "--force")[1]
    assert "remove dkim_%s where that is loaded from" % name in out and (creds / ("dkim_" + name)).exists()


def reload_authd(signing):
    mark = signing.suite.log.stat().st_size
    os.kill(int((signing.suite.run_dir / "authd.pid").read_text()), signal.SIGHUP)
    end = time.monotonic() + 30
    while not re.search(rb"\d+ DKIM keys loaded", signing.suite.log.read_bytes()[mark:]):
        assert time.monotonic() < end, signing.suite.trouble()
        time.sleep(0.02)


def test_private_keys_are_roots_alone(signing):
    private = signing.suite.state / "dkim" / "private"
    assert private.stat().st_mode & 0o777 == 0o700
    assert {f.stat().st_mode & 0o777 for f in private.iterdir()} == {0o600}
