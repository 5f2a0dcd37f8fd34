"""SPF against the test suite of RFC 7208, as Debian has it (golang-blitiri-go-spf-dev): each of its cases, by lib/authres/test_spf.c, which reads zones and cases from
a file. ARC's seals, made by lib/authres/test_sign.c in the same way, judged by Debian's dkimpy and Mail::DKIM."""
import base64
import os
import pathlib
import re
import subprocess
import time

import dkim
import yaml

import dnsserver

BUILD = os.environ.get("POSTERN_BUILD", "dev")
SUITE = pathlib.Path("/usr/share/gocode/src/blitiri.com.ar/go/spf/testdata/rfc7208-tests.yml")


def escaped(text):
    return re.sub(rb"[^\x20-\x7e]|\\", lambda m: b"\\x%02x" % m[0][0], text.encode()).decode()


def texts(value):
    """A record's strings are joined; NONE stands where there is no TXT beside an SPF record."""
    return "".join(value) if isinstance(value, list) else value


def records(zone, name, depth=0):
    """The lines of a name; an alias has what it leads to, as from a resolver. A record of type SPF, which RFC 7208 has no more, is meant as TXT where there is none."""
    rows = next((v for k, v in zone.items() if k.lower() == name.lower().rstrip(".")), [])
    out, has_txt = [], any(isinstance(r, dict) and "TXT" in r for r in rows)
    for row in rows:
        (kind, value), = row.items() if isinstance(row, dict) else [(row, True)]
        if kind in ("TIMEOUT", "CNAMELOOP"):
            out.append(("TIMEOUT", ""))
        elif kind == "CNAME":
            out += records(zone, value, depth + 1) if depth < 10 else [("TIMEOUT", "")]
        elif kind == "SPF" and not has_txt:
            out.append(("TXT", escaped(texts(value))))
        elif kind == "TXT" and texts(value) != "NONE":
            out.append(("TXT", escaped(texts(value))))
        elif kind == "MX":
            out.append(("MX", "%d %s" % (value[0], value[1])))
        elif kind in ("A", "AAAA", "PTR"):
            out.append((kind, value.rstrip(".") if kind == "PTR" else value))
    return out


def converted(scenarios):
    """(lines, how many cases)"""
    lines, n = [], 0
    for s in scenarios:
        lines.append("---")
        zone = s["zonedata"]
        for name in zone:
            for kind, value in records(zone, str(name)):
                lines.append("zone\t%s %s %s" % (escaped(str(name)).replace(" ", "\\x20"), kind, value))
        for name, case in s["tests"].items():
            results = case["result"] if isinstance(case["result"], list) else [case["result"]]
            explanation = case.get("explanation", "") if "fail" in results else ""
            lines.append("\t".join(["case", ",".join(results), str(case["host"]), case.get("helo") or "", case.get("mailfrom") or "", explanation, name]))
            n += 1
    return lines, n


def test_every_case_of_the_suite_of_rfc_7208(tmp_path):
    program = pathlib.Path("build") / BUILD / "t" / "test_spf"
    subprocess.run(["make", "-s", "BUILD=" + BUILD, str(program)], check=True)
    lines, n = converted(s for s in yaml.safe_load_all(SUITE.read_text()) if s)
    assert n >= 203
    (tmp_path / "cases").write_text("\n".join(lines) + "\n")
    p = subprocess.run([program, tmp_path / "cases"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = p.stdout.decode(errors="replace")
    assert len(re.findall(r"(?m)^(?:not )?ok ", out)) >= 2 * n
    assert p.returncode == 0 and "not ok" not in out, "\n".join(x for x in out.splitlines() if not x.startswith("ok "))


# --- ARC ---

LETTER = {
    "as it is": b"From: Ann <ann@a.test>\r\nTo: Bob <bob@b.test>,\r\n Carol <carol@b.test>\r\nSubject: about\r\n\tmoney\r\nDate: Sat, 28 Nov 2026 10:00:00 +0000\r\n"
                b"Message-ID: <1@a.test>\r\nMIME-Version: 1.0\r\n\r\nHello,\r\nthis is a message.\r\n",
}
# The same to whom RFC 6376 3.4.2 and 3.4.4 read them.
LETTER.update({
    "blanks at the ends of lines": LETTER["as it is"].replace(b"message.\r\n", b"message. \t\r\n"),
    "blanks within lines": LETTER["as it is"].replace(b"this is", b"this \t  is"),
    "empty lines at the end": LETTER["as it is"] + b"\r\n\r\n\r\n",
    "no line end at the end": LETTER["as it is"][:-2],
    "other case of field names": LETTER["as it is"].replace(b"Subject:", b"sUBJECT:").replace(b"From:", b"FROM:"),
    "a field without its fold": LETTER["as it is"].replace(b"\r\n\tmoney", b" money").replace(b",\r\n Carol", b", Carol"),
    "blanks at the ends of fields": LETTER["as it is"].replace(b"money\r\n", b"money  \r\n"),
    "blanks within fields": LETTER["as it is"].replace(b"Ann <", b"Ann  \t <"),
    "blanks after the colon": LETTER["as it is"].replace(b"Subject: ", b"Subject: \t ").replace(b"To: ", b"To:"),
})
MAIL_DKIM = """use Mail::DKIM::ARC::Verifier; use Mail::DKIM::DNS; use Net::DNS::Resolver;
Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(nameservers => [$ARGV[0]], port => $ARGV[1]));
my $v = Mail::DKIM::ARC::Verifier->new; binmode STDIN; $v->PRINT($_) while <STDIN>; $v->CLOSE; print $v->result;"""


class Sealer:
    """Of sealer.test, with its keys in a zone: through lib/authres, or as another server does it (dkimpy)."""

    def __init__(self, tmp):
        self.tmp, self.dns, self.pem = tmp, dnsserver.Server(), {}
        for selector, made in (("r", ["genrsa", "-traditional", "1024"]), ("e", ["genpkey", "-algorithm", "ed25519"])):
            self.pem[selector] = subprocess.run(["openssl", *made], check=True, capture_output=True).stdout
            der = subprocess.run(["openssl", "pkey", "-pubout", "-outform", "DER"], input=self.pem[selector], check=True, capture_output=True).stdout
            kind, key = ("rsa", der) if selector == "r" else ("ed25519", der[-32:])
            self.dns.add("%s._domainkey.sealer.test" % selector, "TXT", "v=DKIM1; k=%s; p=%s" % (kind, base64.b64encode(key).decode()))
        self.program = pathlib.Path("build") / BUILD / "t" / "test_sign"
        subprocess.run(["make", "-s", "BUILD=" + BUILD, str(self.program)], check=True)

    def txt(self, name, timeout=5):
        values = self.dns.zone.get(name.decode().rstrip(".").lower(), {}).get("TXT", [])
        return values[0][0].encode() if values else None

    def ours(self, cases):
        """{name: (chain so far, message, selector)} -> {name: the three fields, None where nothing is sealed}"""
        lines = ["zone\t%s TXT %s" % (name, escaped(values["TXT"][0][0])) for name, values in self.dns.zone.items()]
        for name, (chain, message, selector) in cases.items():
            lines.append("\t".join(["seal", chain, name, "sealer.test", selector, escaped(self.pem[selector].decode()), str(int(time.time())), escaped("mx.sealer.test;\n\tarc=" + chain),
                                    escaped(message.decode())]))
        (self.tmp / "cases").write_text("\n".join(lines) + "\n")
        p = subprocess.run([self.program, self.tmp / "cases", self.tmp / "sealed"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert p.returncode == 0 and p.stdout.count(b"ok ") == 1 + 2 * len(cases), p.stdout.decode(errors="replace")
        rows = [x.split("\t") for x in (self.tmp / "sealed").read_text().splitlines()]
        assert len(rows) == len(cases)
        return {name: re.sub(rb"\\x(..)", lambda m: bytes([int(m[1], 16)]), rest.encode()).replace(b"\n", b"\r\n") if kind == "sealed" else None for kind, name, rest in rows}

    def theirs(self, message, results=b"spf=pass"):
        found = b"Authentication-Results: lists.sealer.test; %s\r\n" % results
        return b"".join(dkim.arc_sign(found + message, b"r", b"sealer.test", self.pem["r"], b"lists.sealer.test")) + message

    def judged(self, message):
        """By dkimpy (None: cv=fail), by Mail::DKIM."""
        p = subprocess.run(["perl", "-e", MAIL_DKIM, "127.0.0.1", str(self.dns.port)], input=message, stdout=subprocess.PIPE, check=True)
        return (dkim.arc_verify(message, dnsfunc=self.txt)[0] or b"fail").decode(), p.stdout.decode()


def test_our_seals_hold_for_dkimpy_and_mail_dkim(tmp_path):
    """Whatever of RFC 6376's relaxed forms the message has when it is sealed, and has become on its way; what it says is covered."""
    sealer = Sealer(tmp_path)
    sealed = sealer.ours({name: ("none", message, "r") for name, message in LETTER.items()})
    digests = {re.search(rb"bh=([^;]*);", fields)[1] for fields in sealed.values()}
    assert len(digests) == 1
    for name, fields in sealed.items():
        assert b"cv=none" in fields and sealer.judged(fields + LETTER[name]) == ("pass", "pass"), name
        assert sealer.judged(sealed["as it is"] + LETTER[name]) == ("pass", "pass"), "become: " + name
    for old, new in ((b"money", b"honey"), (b"a message", b"no message"), (b"Ann", b"Eve")):
        assert sealer.judged(sealed["as it is"] + LETTER["as it is"].replace(old, new)) == ("fail", "fail"), new


def test_our_seals_say_of_a_chain_what_it_is(tmp_path):
    """None, one and two sets of another sealer; a broken chain is told once, and covers itself alone (RFC 8617 5.1.2); after that nothing is added."""
    sealer = Sealer(tmp_path)
    letter = LETTER["as it is"]
    one = sealer.theirs(letter)
    two = sealer.theirs(one, b"arc=pass")
    broken = two.replace(b"a message", b"no message")
    sealed = sealer.ours({"none": ("none", letter, "r"), "one": ("pass", one, "r"), "two": ("pass", two, "r"), "broken": ("fail", broken, "r"), "ed25519": ("pass", two, "e")})
    for name, before, n, said in (("none", letter, 1, b"none"), ("one", one, 2, b"pass"), ("two", two, 3, b"pass")):
        assert b"i=%d; " % n in sealed[name] and b"cv=%s;" % said in sealed[name]
        assert sealer.judged(sealed[name] + before) == ("pass", "pass"), name
        assert sealer.judged(sealer.theirs(sealed[name] + before, b"arc=pass")) == ("pass", "pass"), name + ", and another set upon it"
    assert b"a=ed25519-sha256" in sealed["ed25519"]
    assert b"i=3; " in sealed["broken"] and b"cv=fail;" in sealed["broken"] and sealer.judged(sealed["broken"] + broken) == ("fail", "fail")
    seal, signature, results = re.findall(rb"(?m)^ARC-[^\r]*\r\n(?:\t[^\r]*\r\n)*", sealed["broken"])
    covered = b"\r\n".join(re.sub(rb"\s*:\s*", b":", re.sub(rb"\s+", b" ", f.replace(f.split(b":")[0], f.split(b":")[0].lower(), 1)).strip(), count=1)
                           for f in (results, signature, re.sub(rb"\bb=[A-Za-z0-9+/=\s]*$", b"b=", seal)))
    for name, what in (("key", sealer.pem["r"]), ("data", covered), ("signature", base64.b64decode(re.sub(rb"\s", b"", re.search(rb"\bb=([A-Za-z0-9+/=\s]*)$", seal)[1])))):
        (tmp_path / name).write_bytes(what)
    subprocess.run(["openssl", "dgst", "-sha256", "-prverify", tmp_path / "key", "-signature", tmp_path / "signature", tmp_path / "data"], check=True)
    assert sealer.ours({"ended": ("fail", sealed["broken"] + broken, "r")})["ended"] is None
