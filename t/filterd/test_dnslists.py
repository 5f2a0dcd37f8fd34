"""DNS lists as facts of the score, over the whole suite, with the records of a test server."""
import os
import pathlib
import smtplib

import dnsserver
import mailtools

SCRATCH = pathlib.Path(os.environ.get("POSTERN_SCRATCH", "."))
BOB = "bob@example.com"
RULES = """util_rb_tld example
header RELAY_LISTED eval:check_rbl('zen-lastexternal', 'zen.test.', '^127\\.0\\.0\\.2$')
score RELAY_LISTED 0 2.5 0 2.5
urirhssub LINK_LISTED hosts.test. A 2
body LINK_LISTED eval:check_uridnsbl('LINK_LISTED')
score LINK_LISTED 0 3 0 3
body PLAIN /word/
score PLAIN 0.25 0.75 0.25 0.75
"""
RELAY = ("Received: from mx.far.example (mx.far.example [203.0.113.9]) by mx.us.example (Postfix) with ESMTP id A\r\n"
         "\tfor <bob@example.com>; Thu, 22 Aug 2002 18:26:25 +0000\r\n")


def scene(fresh_suite, dns, **settings):
    where = SCRATCH / "list-rules"
    where.mkdir(exist_ok=True)
    (where / "10.cf").write_text(RULES)
    return fresh_suite("lists", settings={"spam_rules_directory": where, "spam_site_directory": "", "spam_action": "tag", "spam_tag_level": "", "dns_servers": dns.address,
                                          "sender_authentication": "no", **settings})


def result(suite, number, link="http://www.bad.example/x"):
    """X-Spam-Status of a message that was accepted."""
    mid = "<%d@lists.example>" % number
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=60) as s:
        s.sendmail("x@elsewhere.example", [BOB], "%sSubject: t\r\nMessage-ID: %s\r\n\r\nword %s\r\n" % (RELAY, mid, link))
    head = mailtools.Mail(suite).wait_for(mid).read_text().replace("\r\n", "\n").split("\n\n")[0].replace("\n\t", " ")
    return next(line for line in head.split("\n") if line.startswith("X-Spam-Status"))


def about_lists(dns):
    return {name for name, _kind in dns.asked if name.endswith((".zen.test", ".hosts.test"))}


def test_lists_decide_with_the_scores_for_network_tests(fresh_suite):
    dns = dnsserver.Server()
    dns.add("9.113.0.203.zen.test", "A", "127.0.0.2").add("bad.example.hosts.test", "A", "127.0.0.2")
    suite = scene(fresh_suite, dns)
    assert "tests=[LINK_LISTED=3, PLAIN=0.75, RELAY_LISTED=2.5]" in result(suite, 1)
    assert about_lists(dns) == {"9.113.0.203.zen.test", "bad.example.hosts.test"}
    assert "tests=[PLAIN=0.75, RELAY_LISTED=2.5]" in result(suite, 2, "http://good.example/")
    dns.close()


def test_no_list_is_asked_when_that_is_not_wished_for(fresh_suite):
    dns = dnsserver.Server()
    dns.add("9.113.0.203.zen.test", "A", "127.0.0.2")
    suite = scene(fresh_suite, dns, spam_dns_lists="no")
    assert "tests=[PLAIN=0.25]" in result(suite, 1)
    assert about_lists(dns) == set()
    dns.close()


def test_a_dead_resolver_costs_no_mail(fresh_suite):
    dns = dnsserver.Server()
    dns.add("9.113.0.203.zen.test", "*", "DROP").add("bad.example.hosts.test", "*", "DROP").add("good.example.hosts.test", "*", "DROP")
    suite = scene(fresh_suite, dns, spam_dns_time="1s", filter_workers="1")
    assert "tests=[PLAIN=0.75]" in result(suite, 1)
    suite.logged("none is asked for 60 s")
    before = about_lists(dns)
    assert "tests=[PLAIN=0.75]" in result(suite, 2, "http://good.example/")
    assert about_lists(dns) == before	# the worker has given it up for a while
    dns.close()


def test_one_silent_list_does_not_keep_another_from_its_word(fresh_suite):
    dns = dnsserver.Server()
    dns.add("9.113.0.203.zen.test", "*", "DROP").add("bad.example.hosts.test", "A", "127.0.0.2")
    suite = scene(fresh_suite, dns, spam_dns_time="10s")
    assert "tests=[LINK_LISTED=3, PLAIN=0.75]" in result(suite, 1)
    assert "none is asked for 60 s" not in suite.log.read_text()
    dns.close()
