"""Where rules come from: sa-update's directory as it makes it, Debian's package, the site's own files, the shipped ones when there are no others; and a pattern
without end. /var/lib/spamassassin, /usr/share/spamassassin and /etc/spamassassin are this test's own."""
import json
import pathlib
import shutil
import subprocess

import pytest

import suite as suite_module

UPDATES, PACKAGE, SITE = "/var/lib/spamassassin", "/usr/share/spamassassin", pathlib.Path("/etc/spamassassin")
DEFAULTS = {"filter_virus_check": "no", "spam_rules_directory": "auto", "spam_site_directory": SITE}
LETTER = "From: joe@elsewhere.example\nTo: bob@example.com\nDate: Sat, 28 Nov 2026 10:00:00 +0000\nMessage-ID: <1@elsewhere.example>\nSubject: %s\n\n%s\n"


@pytest.fixture
def places():
    """The three directories, empty."""
    old = SITE.with_name("spamassassin.before")
    SITE.rename(old)
    SITE.mkdir()
    made = [suite_module.private(UPDATES), suite_module.private(PACKAGE), SITE]
    yield made
    for p in made[:2]:
        subprocess.run(["umount", p], check=True)
    shutil.rmtree(SITE)
    old.rename(SITE)


def judged(suite, tmp_path, subject="hello", body="hello"):
    """{rule: score}, and the score of the whole."""
    (tmp_path / "letter").write_text(LETTER % (subject, body))
    told = [f["text"].strip() for f in json.loads(suite.tool("postern-filter", "test", "--json", tmp_path / "letter").stdout)["findings"] if f["stage"] == "spam"]
    return {words[1].rstrip(":"): float(words[0]) for words in (t.split() for t in told[1:]) if len(words) > 1 and words[0].lstrip("-").replace(".", "").isdigit()}, float(told[0].split()[1].rstrip(","))


def test_rules_of_sa_update_and_of_the_site(places, fresh_suite, tmp_path):
    """The newest version that is there, its channels by their include lines; the site's local.cf changes a score, adds a rule, and wants a sender."""
    updates, package, site = places
    (package / "10.cf").write_text("body OLD_PACKAGE /frobnicate/\nscore OLD_PACKAGE 9\n")
    for version, score in (("3.004006", 7), ("4.000001", 2)):
        for channel in ("updates_spamassassin_org", "rules_example_net"):
            rules = updates / version / channel
            rules.mkdir(parents=True)
            (rules / "20_body.cf").write_text("body %s /frobnicate/\nscore %s %d\n" % (channel.upper(), channel.upper(), score))
            (updates / version / (channel + ".cf")).write_text("# UPDATE version 1\ninclude %s/20_body.cf\n" % channel)
    suite = fresh_suite("places", settings=DEFAULTS)
    hits, score = judged(suite, tmp_path, body="frobnicate")
    assert hits == {"UPDATES_SPAMASSASSIN_ORG": 2, "RULES_EXAMPLE_NET": 2} and score == 4
    suite.stop()
    (site / "init.pre").write_text("loadplugin Mail::SpamAssassin::Plugin::WLBLEval\n")
    (site / "local.cf").write_text("score RULES_EXAMPLE_NET 3.5\nbody SITE_WORD /frobnicate/\nscore SITE_WORD 0.25\nheader WANTED eval:check_from_in_welcomelist()\n"
                                   "score WANTED -1\nwelcomelist_from joe@elsewhere.example\n")
    suite.start()
    hits, score = judged(suite, tmp_path, body="frobnicate")
    assert hits == {"UPDATES_SPAMASSASSIN_ORG": 2, "RULES_EXAMPLE_NET": 3.5, "SITE_WORD": 0.25, "WANTED": -1} and score == 4.75


def test_the_packages_rules_serve_without_updates(places, fresh_suite, tmp_path):
    (places[1] / "10.cf").write_text("body OLD_PACKAGE /frobnicate/\nscore OLD_PACKAGE 2\n")
    (places[0] / "4.000001").mkdir()       # sa-update was there, and got nothing
    suite = fresh_suite("package", settings=DEFAULTS)
    assert judged(suite, tmp_path, body="frobnicate")[0] == {"OLD_PACKAGE": 2}


def test_the_shipped_rules_serve_when_there_are_no_others(places, fresh_suite, tmp_path):
    suite = fresh_suite("shipped", settings=DEFAULTS)
    hits, score = judged(suite, tmp_path, subject="YOU HAVE WON A VERY LARGE PRIZE",
                         body="Forty million dollars wait for you in a bank account of mine. This is strictly confidential.")
    assert {"PN_SUBJECT_CAPS", "PN_ADVANCE_FEE"} <= set(hits) and score > 3
    assert judged(suite, tmp_path)[1] < 1


@pytest.mark.parametrize("pattern", ["(?:a+)+$", "(?:a|aa)+$", "(?:.*a){30}b"])
def test_a_pattern_without_end_is_cut_off(places, fresh_suite, tmp_path, pattern):
    """The message gets its verdict by the other rules, in little time: the kernel ends a tool that takes more than 20 seconds of CPU time."""
    import resource
    (places[1] / "10.cf").write_text("body ENDLESS /%s/\nscore ENDLESS 5\nbody WORD /frobnicate/\nscore WORD 2\n" % pattern)
    suite = fresh_suite("endless", settings=DEFAULTS)
    (tmp_path / "letter").write_text(LETTER % ("hello", "frobnicate\n\n" + ("a" * 1000 + "!\n\n") * 40))
    p = subprocess.run([str(suite.bin / "postern-filter"), "-c", str(suite.conf), "test", "--json", str(tmp_path / "letter")], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (20, 20)))
    assert p.returncode == 0, (p.returncode, p.stderr)
    assert any("WORD" in f["text"] for f in json.loads(p.stdout)["findings"])
