"""DNS lists against Debian's SpamAssassin: the same messages, the same lists, every hit compared. Its rules are read unchanged, and some of ours for what they do
not use; SpamAssassin asks a server of the test, ours is told the same zone."""
import os
import pathlib
import re
import subprocess

import pytest

import dnsserver
from test_rules import BUILD, HERE, KNOWN, parse

# Plugins that ask anybody but lists.
OTHERS = ("SPF", "DKIM", "Pyzor", "Razor2", "DCC", "AskDNS", "HashBL", "DMARC", "DecodeShortURLs", "RelayCountry", "ASN")
RULES = r"""
trusted_networks 192.0.2.0/24
internal_networks 192.0.2.1
header T1_ALL eval:check_rbl('t1', 'relays.test.')
header T1_SUB eval:check_rbl_sub('t1', '127.0.0.3')
header T1_SUBRE eval:check_rbl_sub('t1', '^127\.0\.0\.[45]$')
header T2_LAST eval:check_rbl('t2-lastexternal', 'relays.test.')
header T2_NOTFIRST eval:check_rbl('t2b-notfirsthop', 'relays.test.')
header T2_FIRSTTRUSTED eval:check_rbl('t2c-firsttrusted', 'relays.test.')
header T2_UNTRUSTED eval:check_rbl('t2d-untrusted', 'relays.test.')
header T2_NICE eval:check_rbl('t2e-lastexternal', 'relays.test.')
tflags T2_NICE nice net
header T3_MASK eval:check_rbl('t3', 'mask.test.', '8')
header T3_SUBMASK eval:check_rbl_sub('t3', '2')
header T3_RE eval:check_rbl('t3b', 'mask.test.', '^127\.0\.0\.12$')
header T4_TXT eval:check_rbl_txt('t4', 'words.test.', '(?i:LISTED)')
header T4_TXTNO eval:check_rbl_txt('t4', 'words.test.', 'other')
header T5_DOMAIN eval:check_rbl_from_domain('t5', 'senders.test.')
header T5_HOST eval:check_rbl_from_host('t5b', 'senders.test.')
header T5_ENV eval:check_rbl_envfrom('t5c', 'senders.test.')
urirhsbl T6_RHS hosts.test. A
body T6_RHS eval:check_uridnsbl('T6_RHS')
urirhssub T6_BIT hosts.test. A 4
body T6_BIT eval:check_uridnsbl('T6_BIT')
urirhssub T6_ADDR hosts.test. A 127.0.1.4
body T6_ADDR eval:check_uridnsbl('T6_ADDR')
urirhssub T6_RANGE hosts.test. A 127.0.1.2-127.0.1.9
body T6_RANGE eval:check_uridnsbl('T6_RANGE')
urirhsbl T6_TXT txthosts.test. TXT
body T6_TXT eval:check_uridnsbl('T6_TXT')
urirhssub T7_FULL full.test. A 64
body T7_FULL eval:check_uridnsbl('T7_FULL')
tflags T7_FULL net notrim domains_only
urirhsbl T7_IPS hosts.test. A
body T7_IPS eval:check_uridnsbl('T7_IPS')
tflags T7_IPS net ips_only
uridnsbl T8_NS servers.test. A
body T8_NS eval:check_uridnsbl('T8_NS')
tflags T8_NS net ns domains_only
score T8_NS 0.001
uridnssub T8_A servers.test. A 127.0.0.3
body T8_A eval:check_uridnsbl('T8_A')
tflags T8_A net a domains_only
meta T9_META T1_ALL && T6_RHS
"""
TOP = ("Received: from mx.far.example (mx.far.example [203.0.113.9]) by mx.us.example (Postfix) with ESMTP id A; Thu, 22 Aug 2002 18:26:25 +0000\n"
       "Received: from pc (pc.far.example [198.51.100.7]) by mx.far.example (Postfix) with ESMTP id B; Thu, 22 Aug 2002 18:26:20 +0000\n")
# By the addresses of a link's name servers: SpamAssassin 4.0.1 asks the lists of rules with the flag "a" about them, and not these.
KNOWN = KNOWN | {"T8_NS"}
HEAD = TOP + "From: \"A. Sender\" <a@mail.forged-sender.com>\nReturn-Path: <x@forged-sender.com>\nTo: bob@us.test\nDate: Thu, 22 Aug 2002 18:26:00 +0000\nMessage-ID: <1029@far.test>\n"
RELAY, PC, V6 = "9.113.0.203", "7.100.51.198", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
ZONE = [
    # lists of Debian's rules
    (RELAY + ".zen.spamhaus.org", "A", "127.0.0.2"), (RELAY + ".zen.spamhaus.org", "A", "127.0.0.4"), (PC + ".zen.spamhaus.org", "A", "127.0.0.10"),
    (RELAY + ".bl.spamcop.net", "TXT", "Blocked - see https://www.spamcop.net/bl.shtml?203.0.113.9"), (RELAY + ".bl.score.senderscore.com", "A", "127.0.0.2"),
    (RELAY + ".bl.mailspike.net", "A", "127.0.0.11"), (RELAY + ".list.dnswl.org", "A", "127.0.5.2"), (RELAY + ".wl.mailspike.net", "A", "127.0.0.18"),
    ("bad-shop.com.dbl.spamhaus.org", "A", "127.0.1.2"), ("bad-shop.com.multi.surbl.org", "A", "127.0.0.24"), ("bad-shop.com.multi.uribl.com", "A", "127.0.0.2"),
    ("pills.co.uk.dbl.spamhaus.org", "A", "127.0.1.104"), ("pills.co.uk.multi.uribl.com", "A", "127.0.0.4"),
    ("80.100.51.198.zen.spamhaus.org", "A", "127.0.0.2"),
    # and of ours
    (RELAY + ".relays.test", "A", "127.0.0.3"), ("9.2.0.192.relays.test", "A", "127.0.0.3"), ("30.113.0.203.relays.test", "A", "127.0.0.4"), ("20.113.0.203.mask.test", "A", "127.0.0.12"), (PC + ".relays.test", "A", "127.0.0.5"), (V6 + ".relays.test", "A", "127.0.0.4"), (RELAY + ".mask.test", "A", "127.0.0.12"),
    (PC + ".mask.test", "A", "127.0.0.2"), (RELAY + ".words.test", "TXT", "Listed, see there"), ("forged-sender.com.senders.test", "A", "127.0.0.2"),
    ("mail.forged-sender.com.senders.test", "A", "127.0.0.2"), (RELAY + ".senders.test", "A", "127.0.0.2"), ("bad-shop.com.hosts.test", "A", "127.0.1.4"), ("pills.co.uk.hosts.test", "A", "127.0.1.8"),
    ("10.100.51.198.hosts.test", "A", "127.0.0.2"), ("bad-shop.com.txthosts.test", "TXT", "listed"), ("www.bad-shop.com.full.test", "A", "127.0.0.64"),
    ("53.100.51.198.servers.test", "A", "127.0.0.2"), ("80.100.51.198.servers.test", "A", "127.0.0.3"),
    # who serves the links
    ("bad-shop.com", "NS", "ns.dark-net.com"), ("ns.dark-net.com", "A", "198.51.100.53"), ("bad-shop.com", "A", "198.51.100.80"), ("www.bad-shop.com", "A", "198.51.100.80"),
    ("pills.co.uk", "A", "198.51.100.81"),
]
MESSAGES = {
    "no link": HEAD + "Subject: a\n\nnothing to see\n",
    "a listed link": HEAD + "Subject: b\n\nsee http://www.bad-shop.com/x and www.fine-place.com\n",
    "links of all kinds": HEAD + "Subject: c\nMIME-Version: 1.0\nContent-Type: text/html\n\n<a href=\"http://a.b.pills.co.uk/?x\">http://198.51.100.10/y</a> bad-shop.com mail me@bad-shop.com\n",
    "an address": HEAD + "Subject: d\n\nhttp://198.51.100.10/\n",
    "one relay": HEAD.split("\n", 1)[1] + "Subject: e\n\nsee http://pills.co.uk/\n",
    "of IPv6": "Received: from a (b [IPv6:2001:db8::1]) by mx.us.example (Postfix) with ESMTP id A; Thu, 22 Aug 2002 18:26:25 +0000\nFrom: a@elsewhere.test\nSubject: f\n\nx\n",
    "of our own network": "Received: from a (b [10.0.0.7]) by mx.us.example (Postfix) with ESMTP id A; Thu, 22 Aug 2002 18:26:25 +0000\nFrom: a@forged-sender.com\nSubject: g\n\nhttp://bad-shop.com\n",
    "through who is trusted": "Received: from friend (friend.test [192.0.2.9]) by mx.us.example (Postfix) with ESMTP id C; Thu, 22 Aug 2002 18:26:30 +0000\n" + HEAD + "Subject: i\n\nx\n",
    "from who is trusted": "Received: from friend (friend.test [192.0.2.9]) by mx.us.example (Postfix) with ESMTP id C; Thu, 22 Aug 2002 18:26:30 +0000\n"
                           "From: a@forged-sender.com\nSubject: j\n\nx\n",
    "by a list": HEAD.replace("From:", "Sender: list@other.com\nFrom:").replace("a@mail.forged-sender.com", "a@[203.0.113.9]") + "Subject: k\n\nx\n",
    "from an address": "X-Envelope-From: b@mail.forged-sender.com\n" + HEAD.replace("a@mail.forged-sender.com", "a@203.0.113.9") + "Subject: k\n\nx\n",
    "resent": HEAD.replace("From:", "Resent-From: x@fine-place.com\nFrom:") + "Subject: l\n\nx\n",
    "many relays": "".join("Received: from r%d (r%d [203.0.113.%d]) by mx.us.example (Postfix) with ESMTP id A%d; Thu, 22 Aug 2002 18:26:25 +0000\n" % (n, n, n, n) for n in range(30, 5, -1)) + "From: a@fine-place.com\nSubject: m\n\nx\n",
    "a skipped link": HEAD + "Subject: h\n\nhttp://www.example.com/ http://bad-shop.com.example.net/\n",
}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    base = tmp_path_factory.mktemp("net")
    (base / "site").mkdir()
    (base / "mail").mkdir()
    for pre in pathlib.Path("/etc/spamassassin").glob("*.pre"):
        text = re.sub(r"(?m)^(loadplugin Mail::SpamAssassin::Plugin::(?:%s)\b)" % "|".join(OTHERS), r"#\1", pre.read_text())
        (base / "site" / pre.name).write_text(text)
    (base / "site" / "lists.cf").write_text(RULES)
    (base / "zone").write_text("".join("%s %s %s\n" % row for row in ZONE))
    dns = dnsserver.Server()
    for row in ZONE:
        dns.add(*row)
    for name, text in MESSAGES.items():
        (base / "mail" / name).write_text(text)
    files = sorted(map(str, (base / "mail").iterdir()))

    def run(argv, **env):
        return subprocess.run(argv + files, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=300, check=True, env={**os.environ, **env}).stdout.decode("latin-1")
    theirs = parse(run(["perl", str(HERE / "sa_hits.pl")], SA_DNS=dns.address, SA_SITE=str(base / "site")))
    ours = parse(run([str(BUILD / "x/spamdump"), "-s", str(base / "site"), "-z", str(base / "zone")]))
    dns.close()
    return theirs, ours


@pytest.mark.parametrize("name", MESSAGES)
def test_the_same_lists_hit(both, name):
    theirs, ours = both[0][name], both[1][name]
    differ = {r: (theirs[1].get(r), ours[1].get(r)) for r in theirs[1].keys() | ours[1].keys() if theirs[1].get(r) != ours[1].get(r) and r not in KNOWN}
    assert not differ, "SpamAssassin's count and ours: %s" % differ
    assert abs(theirs[0] - ours[0]) < 0.002


def test_every_list_of_the_test_hits_somewhere(both):
    """Else two that are silent would agree."""
    hits = {r for _score, rules in both[0].values() for r in rules}
    assert {r for r in re.findall(r"\b(T\d_\w+)", RULES)} - hits - {"T8_NS"} == {"T4_TXTNO"}
    assert {"RCVD_IN_XBL", "RCVD_IN_BL_SPAMCOP_NET", "RCVD_IN_MSPIKE_L4", "URIBL_DBL_SPAM", "URIBL_MW_SURBL", "URIBL_BLACK", "URIBL_SBL_A"} <= hits
