"""MTA-STS (RFC 8461): policies of domains, fetched from a web server of this test, kept over a restart, and what they make of TLS."""
import base64
import email
import gzip
import http.server
import json
import pathlib
import re
import ssl
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from remotescene import Scene, mx  # noqa: E402


class Web:
    """https://mta-sts.DOMAIN/.well-known/mta-sts.txt for many domains on one address; policies by host."""

    def __init__(self, address, context):
        outer = self
        self.policies, self.asked, self.status = {}, [], 200

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                host = self.headers["Host"]
                outer.asked.append((host, self.path))
                text = outer.policies.get(host, "").encode()
                self.send_response(outer.status if text else 404)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def finish_request(self, request, client):
                try:
                    super().finish_request(context.wrap_socket(request, server_side=True), client)
                except (OSError, ssl.SSLError):
                    pass

        self.server = Server((address, 443), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


ADDRESS = "127.0.61.1"


@pytest.fixture(scope="module")
def scene():
    s = Scene(smtp_connection_cache_on_demand="no")
    s.web = Web(ADDRESS, s.tls(*["mta-sts.%s.example" % n for n in ("good", "wrong", "testing", "stranger", "broken", "gone", "named", "kept", "other")]))
    s.suite.settings["smtp_tls_policy_maps"] = "texthash:%s" % s.map("tls", "named.example may\n")
    s.suite.settings["smtp_tlsrpt_enable"] = "yes"
    s.suite.configure()
    yield s.start()
    s.web.close()
    s.close()


def publish(s, domain, mode, *patterns, ident="1", max_age=86400, text=None):
    s.dns.zone["_mta-sts." + domain] = {"TXT": [("v=STSv1; id=%s;" % ident, 0)]}
    s.dns.zone["mta-sts." + domain] = {"A": [(ADDRESS, None)]}
    s.web.policies["mta-sts." + domain] = text if text is not None else "version: STSv1\r\nmode: %s\r\n%smax_age: %d\r\n" % (
        mode, "".join("mx: %s\r\n" % p for p in patterns), max_age)


def rows(s):
    """domain -> list of (policy, result) of the counters."""
    found = {}
    for block in s.suite.tool("postern-queue", "tls").stdout.decode().split("\n\n"):
        row = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if row:
            found.setdefault(row["domain"], []).append((row["policy_type"], row["result_type"]))
    return found


def test_an_enforced_policy_is_obeyed(scene):
    s = scene
    mx(s, "good.example", (10, 40))
    sink = s.sink(40, tls=s.tls("mx40.good.example"))
    publish(s, "good.example", "enforce", "*.good.example")
    s.log(s.send("a@good.example"), r"relay=mx40\.good\.example\[127\.0\.60\.40\]:25, .*status=sent")
    assert sink.wait()[2], "by TLS"
    assert ("mta-sts.good.example", "/.well-known/mta-sts.txt") in s.web.asked
    s.suite.logged(r"Verified TLS connection established to mx40\.good\.example")
    assert ("sts", "success") in rows(s)["good.example"]


@pytest.mark.parametrize("domain, n, names, patterns, want, result", [
    ("wrong.example", 41, ["else.example"], ["mx41.wrong.example"], r"Cannot start TLS with .*status=deferred|status=deferred \(Cannot start TLS", "certificate-host-mismatch"),
    ("stranger.example", 42, ["mx42.stranger.example"], ["mx.other.example"], r"status=deferred \(mx42\.stranger\.example is not a mail exchanger that the MTA-STS policy of "
     r"stranger\.example names\)", "validation-failure"),
    ("other.example", 43, None, ["mx43.other.example"], r"status=deferred \(TLS is required, but was not offered by host", "starttls-not-supported"),
])
def test_what_an_enforced_policy_forbids(scene, domain, n, names, patterns, want, result):
    s = scene
    mx(s, domain, (10, n))
    sink = s.sink(n, tls=s.tls(*names) if names else None)
    publish(s, domain, "enforce", *patterns)
    s.log(s.send("a@" + domain), want)
    assert not sink.messages and not any(c.startswith("MAIL") for c in sink.commands)
    assert ("sts", result) in rows(s)[domain]


def test_a_policy_under_test_is_told_of_only(scene):
    s = scene
    mx(s, "testing.example", (10, 44))
    sink = s.sink(44, tls=s.tls("else.example"))
    publish(s, "testing.example", "testing", "mx44.testing.example")
    s.log(s.send("a@testing.example"), "status=sent")
    assert sink.wait()[2]
    assert ("sts", "certificate-host-mismatch") in rows(s)["testing.example"]


def test_the_administrators_entry_comes_first(scene):
    s = scene
    mx(s, "named.example", (10, 45))
    s.sink(45)
    publish(s, "named.example", "enforce", "nobody.example")
    s.log(s.send("a@named.example"), "status=sent")


@pytest.mark.parametrize("domain, n, text, result", [
    ("broken.example", 46, "version: STSv1\nmode: enforce\n", "sts-policy-invalid"),
    ("gone.example", 47, "", "sts-policy-fetch-error"),
    ("liar.example", 48, "version: STSv1\nmode: enforce\nmx: nobody.example\nmax_age: 86400\n", "sts-webpki-invalid"),
])
def test_a_policy_that_cannot_be_had_is_none(scene, domain, n, text, result):
    s = scene
    mx(s, domain, (10, n))
    s.sink(n)
    publish(s, domain, "", text=text)
    s.log(s.send("a@" + domain), "status=sent")
    assert ("sts", result) in rows(s)[domain]
    before = len(s.web.asked)
    s.log(s.send("a@" + domain), "status=sent")
    assert len(s.web.asked) == before, "it is left alone for a while"


def test_a_policy_is_kept_over_a_restart(scene):
    """Whoever can hide the record and the web server from us gains nothing."""
    s = scene
    mx(s, "kept.example", (10, 49))
    sink = s.sink(49, tls=s.tls("mx49.kept.example"))
    publish(s, "kept.example", "enforce", "mx49.kept.example")
    s.log(s.send("a@kept.example"), "status=sent")
    (s.suite.state / "mta-sts" / "rotten.example").write_text("no policy")
    s.suite.stop()
    s.dns.remove("_mta-sts.kept.example")
    s.web.policies.clear()
    sink.tls = None
    s.suite.start()
    s.log(s.send("a@kept.example"), r"status=deferred \(TLS is required, but was not offered by host")
    assert not (s.suite.state / "mta-sts" / "rotten.example").exists()
    sink.tls = s.tls("mx49.kept.example")
    # A new id with a policy that can be had takes its place.
    publish(s, "kept.example", "none", ident="2")
    s.log(s.send("b@kept.example"), "status=sent")
    assert any(h == "mta-sts.kept.example" for h, _ in s.web.asked)


def begin_reports(s, seconds=30):
    """While reports are at work, and with nothing to report, none are begun."""
    end = time.monotonic() + seconds
    while s.suite.tool("postern-queue", "tls-report").stdout.decode().split()[-1] == "0":
        assert time.monotonic() < end, "nothing to report"
        time.sleep(0.05)


def test_who_asks_for_reports_gets_them(scene):
    """By mail, gzip in it, also where the way to the receiver of reports is broken for TLS; counts outlast a restart."""
    s = scene
    mx(s, "reported.example", (10, 50))
    sink = s.sink(50, tls=s.tls("mx50.reported.example"))
    publish(s, "reported.example", "enforce", "mx50.reported.example")
    s.web.policies["mta-sts.good.example"] = s.web.policies["mta-sts.reported.example"]
    s.dns.zone["mta-sts.reported.example"] = {"CNAME": [("mta-sts.good.example", None)]}
    s.dns.add("_smtp._tls.reported.example", "*", "SERVFAIL")
    publish(s, "broken-tls.example", "enforce", "nobody.example")
    mx(s, "broken-tls.example", (10, 51))
    reports = s.sink(51)
    s.log(s.send("a@reported.example"), "status=sent")      # its policy's server shows another name: an error, and then none
    s.suite.stop()
    s.suite.start()
    assert ("sts", "sts-webpki-invalid") in rows(s)["reported.example"] and sink.messages
    begin_reports(s)
    begin_reports(s)        # the first ones are over
    assert "reported.example" in rows(s), "what could not be asked for now is kept"
    s.dns.remove("_smtp._tls.reported.example")
    s.dns.add("_smtp._tls.reported.example", "TXT", "v=TLSRPTv1; rua=https://x.example/,mailto:tls%2Dreports@broken-tls.example")
    begin_reports(s)
    env, data, _ = reports.wait()
    assert env[0].startswith("MAIL FROM:<>") and env[1] == "RCPT TO:<tls-reports@broken-tls.example>"
    m = email.message_from_bytes(data)
    assert m.get_content_type() == "multipart/report" and m.get_param("report-type") == "tlsrpt" and m["TLS-Report-Domain"] == "reported.example"
    assert re.match(r"Report Domain: reported\.example Submitter: example\.com Report-ID: <\S+>", " ".join(m["Subject"].split()))
    part = m.get_payload()[1]
    assert part.get_content_type() == "application/tlsrpt+gzip" and part.get_filename().startswith("example.com!reported.example!")
    report = json.loads(gzip.decompress(base64.b64decode(part.get_payload())))
    assert report["organization-name"] == "example.com" and report["date-range"]["start-datetime"].endswith("T00:00:00Z")
    by_type = {p["policy"]["policy-type"]: p for p in report["policies"]}
    assert by_type["sts"]["failure-details"] == [{"result-type": "sts-webpki-invalid", "failed-session-count": 1}]
    assert by_type["no-policy-found"]["summary"] == {"total-successful-session-count": 1, "total-failure-session-count": 0}
    deadline = [r for r in rows(s) if r == "reported.example"]
    assert not deadline, "what was reported is forgotten"
