"""DANE with names that are really signed: Debian's knot serves them, Debian's unbound validates. RFC 7672, RFC 6698, RFC 7505."""
import hashlib
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import dnssec  # noqa: E402
from remotescene import Scene  # noqa: E402

pytestmark = pytest.mark.skipif(dnssec.MISSING is not None, reason=str(dnssec.MISSING))
ZEROS = "3 1 1 " + "00" * 32


def key_hash(context):
    public = subprocess.run(["openssl", "x509", "-in", context.cert, "-noout", "-pubkey"], stdout=subprocess.PIPE, check=True).stdout
    return hashlib.sha256(subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=public, stdout=subprocess.PIPE, check=True).stdout).hexdigest()


def destination(name, n, tlsa=None):
    """name (a label, or "@") with an exchanger at 127.0.60.n."""
    host = "mx%d" % n
    return "%s MX 10 %s\n%s A 127.0.60.%d\n" % (name, host, host, n) + ("_25._tcp.%s TLSA %s\n" % (host, tlsa) if tlsa else "")


@pytest.fixture(scope="module")
def scene():
    s = Scene(smtp_tls_security_level="dane", dns_servers=dnssec.RESOLVER + ":53", smtp_mta_sts="no", smtp_tls_policy_maps="inline:{only.unsigned.example=dane-only}")
    s.context = s.tls("whatever.example")
    right = "3 1 1 " + key_hash(s.context)
    signed = (destination("@", 161, right) + destination("wrong", 162, ZEROS) + destination("none", 163) + destination("plain", 164, right)
              + "null MX 0 .\nempty TXT \"no address\"\nalias CNAME none\n")
    unsigned = destination("@", 165, ZEROS) + destination("only", 166, right)
    s.names = dnssec.Service(pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "names", signed={"signed.example": signed}, unsigned={"unsigned.example": unsigned},
                             broken={"broken.example": destination("@", 167, right)})
    for n in range(161, 168):
        s.sink(n, tls=None if n in (164, 163) else s.context)
    yield s.start()
    s.close()
    s.names.close()


def test_a_key_that_a_signed_record_names_is_believed(scene):
    assert "127.0.60.161" in scene.log(scene.send("a@signed.example"), "status=sent", 30)
    assert scene.suite.logged(r"Verified TLS connection established to mx161\.signed\.example\[127\.0\.60\.161\]:25")


@pytest.mark.parametrize("domain, n", [("wrong.signed.example", 162), ("plain.signed.example", 164), ("only.unsigned.example", 166)],
                         ids=["another key", "no TLS where a record demands it", "dane-only without signatures"])
def test_what_is_demanded_and_not_there_waits(scene, domain, n):
    scene.log(scene.send("a@" + domain), r"dsn=4\.7\.\d+, status=deferred", 30)
    assert not scene.sink(n).messages


@pytest.mark.parametrize("domain, n", [("none.signed.example", 163), ("alias.signed.example", 163), ("unsigned.example", 165)],
                         ids=["signed that there is none", "by an alias", "a record that nobody signed"])
def test_where_nothing_is_demanded_mail_goes(scene, domain, n):
    assert "127.0.60.%d" % n in scene.log(scene.send("a@" + domain), "status=sent", 30)


def test_names_whose_signatures_are_wrong_are_no_names(scene):
    scene.log(scene.send("a@broken.example"), r"dsn=4\.4\.3, status=deferred \(Host or domain name not found\. Name service error", 60)
    assert not scene.sink(167).messages


@pytest.mark.parametrize("domain, want", [("null.signed.example", r"dsn=5\.1\.10, status=bounced \(Domain null\.signed\.example does not accept mail \(nullMX\)\)"),
                                          ("nowhere.signed.example", r"dsn=5\.4\.4, status=bounced"), ("empty.signed.example", r"dsn=5\.4\.4, status=bounced")])
def test_signed_that_nobody_takes_mail(scene, domain, want):
    scene.log(scene.send("a@" + domain, sender=""), want, 30)
