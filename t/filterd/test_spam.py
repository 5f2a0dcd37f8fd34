"""Spam rules over the whole suite: levels, header fields, the subject's tag; rules that change; the tool's words."""
import json
import os
import pathlib
import re
import signal
import smtplib
import time

import mailtools

SCRATCH = pathlib.Path(os.environ.get("POSTERN_SCRATCH", "."))
BOB = "bob@example.com"
RULES = """body TEST_LOW /lowword/
describe TEST_LOW A low word
score TEST_LOW 2.5
body TEST_HIGH /highword/
describe TEST_HIGH A high word
score TEST_HIGH 7.125
header TEST_CLIENT X-Spam-Relays-Trusted =~ /helo=odd\\.example /
score TEST_CLIENT 8
"""


def rules(where, text=RULES):
    where.mkdir(exist_ok=True)
    (where / "10.cf").write_text(text)
    return where


def send(suite, body, head="Subject: t\r\nFrom: <x@elsewhere.example>\r\n", helo="plain.example"):
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=60, local_hostname=helo) as s:
        try:
            s.sendmail("x@elsewhere.example", [BOB], "%sDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\n%s\r\n" % (head, body))
            return 250, ""
        except smtplib.SMTPDataError as e:
            return e.smtp_code, e.smtp_error.decode()


def delivered(suite, n):
    mail = mailtools.Mail(suite)
    end = time.monotonic() + 30
    while len(mail.files(BOB)) < n and time.monotonic() < end:
        time.sleep(0.05)
    files = sorted(mail.files(BOB), key=lambda f: f.stat().st_mtime_ns)
    assert len(files) == n
    return files[-1].read_text()


def fields(text, prefix):
    head = text.replace("\r\n", "\n").split("\n\n")[0]
    return [f for f in head.replace("\n\t", " ").split("\n") if f.startswith(prefix)]


def test_levels_fields_and_tag(fresh_suite):
    suite = fresh_suite("spam", settings={"spam_rules_directory": rules(SCRATCH / "spam-rules"), "spam_action": "tag", "spam_tag_level": "2", "virus_scanned_header": "no",
                                          "spam_tag2_level": "6.31"})
    assert send(suite, "nothing", "Subject: t\r\nX-Spam-Flag: YES\r\nX-Spam-Status: forged\r\n") == (250, "")
    assert fields(delivered(suite, 1), "X-Spam") == []
    assert send(suite, "lowword") == (250, "")
    text = delivered(suite, 2)
    assert fields(text, "X-Spam") == ["X-Spam-Flag: NO", "X-Spam-Score: 2.5", "X-Spam-Level: **",
                                      "X-Spam-Status: No, score=2.5 tagged_above=2 required=6.31 tests=[TEST_LOW=2.5] autolearn=no"]
    assert fields(text, "Subject") == ["Subject: t"]
    assert send(suite, "lowword highword", "Subject: re [SPAM] t\r\n") == (250, "")
    text = delivered(suite, 3)
    assert fields(text, "X-Spam") == ["X-Spam-Flag: YES", "X-Spam-Score: 9.625", "X-Spam-Level: *********",
                                      "X-Spam-Status: Yes, score=9.625 tagged_above=2 required=6.31 "
                                      "tests=[TEST_HIGH=7.125, TEST_LOW=2.5] autolearn=no"]
    assert fields(text, "Subject") == ["Subject: [SPAM] re t"]
    assert all(len(line) <= 78 for line in text.split("\n\n")[0].split("\n") if line.startswith("X-Spam-Status") or "tests=" in line)
    suite.logged(r"Passed SPAM .*Hits: 9\.625,")


def test_the_kill_level_refuses_and_new_rules_take_over(fresh_suite):
    where = rules(SCRATCH / "spam-rules")
    suite = fresh_suite("spam", settings={"spam_rules_directory": where})
    assert send(suite, "lowword")[0] == 250
    code, text = send(suite, "highword")
    assert code == 550 and "spam" in text
    assert send(suite, "nothing", helo="odd.example")[0] == 550
    rules(where, RULES + "score TEST_LOW 8\nthis is no rule\n")
    monitor = [p[0] for p in suite.processes() if p[3] == "filterd: monitor"][0]
    os.kill(monitor, signal.SIGHUP)
    end = time.monotonic() + 30
    while send(suite, "lowword")[0] == 250 and time.monotonic() < end:
        time.sleep(0.2)
    assert send(suite, "lowword")[0] == 550
    assert send(suite, "nothing")[0] == 250
    suite.logged(r"10\.cf:10: ")


def test_scoring_workers_hold_no_virus_engine_and_no_writable_code(fresh_suite):
    suite = fresh_suite("spam", settings={"spam_rules_directory": rules(SCRATCH / "spam-rules")})
    assert send(suite, "lowword")[0] == 250
    maps = [open("/proc/%d/maps" % p[0]).read() for p in suite.processes() if p[3] == "filterd: scoring worker"]
    assert maps
    for m in maps:
        rights = [line.split()[1] for line in m.splitlines()]
        assert not [r for r in rights if "w" in r and "x" in r]
        assert [line for line in m.splitlines() if line.split()[1] == "r-xp" and len(line.split()) == 5], "no machine code of patterns"


def test_workers_look_up_what_was_loaded_before_they_were_forked(fresh_suite):
    """Lists and names by hash: top-level domains, free mail, wanted senders."""
    where = rules(SCRATCH / "spam-lists", "util_rb_tld example\nuri BARE m,^http://badhost\\.example,\nscore BARE 2\nfreemail_domains free.example\n"
                  "header FREE eval:check_freemail_from()\nscore FREE 3\nwelcomelist_from good@elsewhere.example\n"
                  "header WANTED eval:check_from_in_welcomelist()\nscore WANTED -1\n")
    suite = fresh_suite("spam", settings={"spam_rules_directory": where, "spam_tag_level": ""})
    assert send(suite, "see badhost.example today", "Subject: t\r\nFrom: <x@free.example>\r\n") == (250, "")
    assert "tests=[BARE=2, FREE=3]" in fields(delivered(suite, 1), "X-Spam-Status")[0]
    assert send(suite, "nothing", "Subject: t\r\nFrom: <good@elsewhere.example>\r\n") == (250, "")
    assert "tests=[WANTED=-1]" in fields(delivered(suite, 2), "X-Spam-Status")[0]


def own_memory(suite, kind):
    """KiB that each such process has for itself."""
    texts = [open("/proc/%d/smaps_rollup" % p[0]).read() for p in suite.processes() if p[3] == kind]
    return {re.search("^Private_Dirty: +([0-9]+)", text, re.M).group(1) for text in texts}


def test_an_idle_worker_gives_the_memory_of_messages_back(fresh_suite):
    """Also while the machine is busy: then the second of idleness is over before we look, and we ask again."""
    suite = fresh_suite("spam", settings={"spam_rules_directory": rules(SCRATCH / "spam-rules"), "filter_workers": "1"})
    end, less = time.monotonic() + 60, 0
    while less < 200 and time.monotonic() < end:
        assert send(suite, "some words of a long text, <b>and</b> tags\r\n" * 6000, "Subject: t\r\nFrom: <x@elsewhere.example>\r\nContent-Type: text/html\r\n")[0] == 250
        before = max(int(kib) for kib in own_memory(suite, "filterd: scoring worker"))
        time.sleep(2)
        less = before - max(int(kib) for kib in own_memory(suite, "filterd: scoring worker"))
    assert less >= 200
    assert send(suite, "highword")[0] == 550


def test_a_killed_scoring_worker_costs_a_retry(fresh_suite):
    suite = fresh_suite("spam", settings={"spam_rules_directory": rules(SCRATCH / "spam-rules")})
    for _round in range(5):
        assert send(suite, "highword")[0] == 550
        for p in suite.processes():
            if p[3] == "filterd: scoring worker":
                os.kill(p[0], signal.SIGKILL)
    assert send(suite, "nothing")[0] == 250


def test_the_tool_tells_every_hit_with_its_text(fresh_suite, tmp_path):
    suite = fresh_suite("spam", settings={"spam_rules_directory": rules(SCRATCH / "spam-rules")})
    letter = tmp_path / "letter"
    letter.write_text("Subject: x\nFrom: a@b.example\n\na lowword and a highword\n")
    answer = json.loads(suite.tool("postern-filter", "test", "--json", letter).stdout.decode())
    assert answer["category"] == "SPAM" and answer["action"] == "reject"
    told = [f["text"].strip() for f in answer["findings"] if f["stage"] == "spam"]
    assert told[0].startswith("score 9.625, tag2 level 6.31, kill level 6.31")
    assert '7.125 TEST_HIGH: A high word "highword"' in told and '2.5 TEST_LOW: A low word "lowword"' in told


def test_the_tool_tells_which_rules_take_the_time(fresh_suite, tmp_path):
    suite = fresh_suite("spam", settings={"spam_rules_directory": rules(SCRATCH / "spam-rules")})
    letter = tmp_path / "letter"
    letter.write_text("Subject: x\nFrom: a@b.example\n\na lowword and a highword\n")
    told = [json.loads(line) for line in suite.tool("postern-filter", "test", "--profile", "--json", letter, letter).stdout.decode().splitlines()]
    assert [t["ns"] for t in told] == sorted((t["ns"] for t in told), reverse=True)
    names = {t["name"] for t in told}
    assert {"TEST_HIGH", "TEST_LOW", "(rendered text)", "(prefilters)"} <= names
    text = suite.tool("postern-filter", "test", "--profile", letter, letter).stdout.decode()
    assert text.startswith("2 messages, ") and "  TEST_HIGH\n" in text


# --- learning ---

def letters(where, count, spam):
    (where / "cur").mkdir(parents=True)
    words = ["lottery", "mortgage", "unsecured", "pharmacy"] if spam else ["minutes", "kernel", "compile", "meeting"]
    for n in range(count):
        some = " ".join(words[(n + k) % 4] for k in range(3))
        (where / "cur" / ("%d.x:2,S" % n)).write_text("Message-ID: <%d@%s>\nFrom: p%d@a.example\nSubject: %s\n\n%s and %s\n" % (n, spam, n, words[n % 4], some, n))


def learn(suite, *args, ok=0):
    p = suite.tool("postern-learn", "--json", *args, check=False)
    assert p.returncode == ok, p.stdout
    told = [line for line in p.stdout.splitlines() if line.startswith(b"{")]
    return json.loads(told[0]) if told else {}


def test_learned_words_decide(fresh_suite):
    suite = fresh_suite("spam", settings={"spam_rules_directory": "", "spam_tag_level": "", "spam_action": "reject"})
    base = suite.base / "mail"
    base.mkdir()
    base.chmod(0o755)
    letters(base / "spam", 210, True)
    letters(base / "ham", 210, False)
    body = "an unsecured lottery mortgage"
    assert send(suite, body)[0] == 250
    told = learn(suite, "--spam", base / "spam", "--ham", base / "ham")
    assert (told["spam"], told["ham"], told["known"], told["passed"]) == (210, 210, 0, 0)
    code, text = send(suite, body)
    assert code == 550 and "spam" in text
    assert send(suite, "minutes of the kernel meeting")[0] == 250
    assert "BAYES_00=-4.5" in delivered(suite, 2)
    assert learn(suite, "--spam", base / "spam")["known"] == 210
    assert learn(suite, "--status")["all_spam"] == 210
    assert learn(suite, "--forget", base / "spam")["forgotten"] == 210
    assert send(suite, body)[0] == 250
    (suite.state / "filter" / "tokens.cdb").write_bytes(b"no tokens" * 500)
    assert send(suite, body)[0] == 250
    suite.logged(r"tokens\.cdb is damaged")
    learn(suite, "--ham", base / "ham", ok=75)


def test_a_users_directory_is_read_as_that_user(fresh_suite):
    suite = fresh_suite("spam")
    base = suite.base / "mail"
    mine, theirs = base / "mine", base / "theirs"
    letters(mine, 3, True)
    letters(theirs, 2, False)
    for d, uid in ((mine, 4711), (theirs, 4712)):
        for p in [d, d / "cur", *(d / "cur").iterdir()]:
            os.chown(p, uid, uid)
            p.chmod(0o700 if p.is_dir() else 0o600)
    base.chmod(0o755)
    (mine / "cur" / "link").symlink_to(theirs / "cur" / "0.x:2,S")
    os.link(theirs / "cur" / "1.x:2,S", mine / "cur" / "hard")
    (mine / "new").symlink_to(theirs / "cur")
    told = learn(suite, "--spam", mine)
    assert told["spam"] == 3 and told["all_spam"] == 3
    (base / "other").symlink_to(theirs)
    learn(suite, "--spam", base / "other", ok=75)
    assert learn(suite, "--status")["all_spam"] == 3
    assert learn(suite, "--limit", "1", "--spam", theirs)["spam"] == 1


def reload(suite, text):
    """The configuration replaced as editors do, by a new file, and the monitor told."""
    fresh = suite.conf.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(0o644)
    fresh.rename(suite.conf)
    monitor = [p[0] for p in suite.processes() if p[3] == "filterd: monitor"][0]
    os.kill(monitor, signal.SIGHUP)
    return monitor


def told(suite, words, times=1, seconds=30):
    end = time.monotonic() + seconds
    while suite.log.read_text().count(words) < times and time.monotonic() < end:
        time.sleep(0.05)
    assert suite.log.read_text().count(words) == times, suite.trouble()


def test_a_reload_changes_actions_and_levels_and_refuses_no_mail(fresh_suite):
    """While the new values are loaded the old ones serve."""
    suite = fresh_suite("spam-reload", settings={"spam_rules_directory": rules(SCRATCH / "spam-rules")})
    assert send(suite, "nothing")[0] == 250 and send(suite, "lowword")[0] == 250 and send(suite, "highword")[0] == 550
    before = {p[0] for p in suite.processes() if p[3].startswith("filterd: ") and p[3] != "filterd: monitor"}
    text = suite.conf.read_text()
    monitor = reload(suite, text + "spam_action = tag\nspam_tag_level = 2\nspam_tag2_level = 2.25\ngreylist_level = 5\ngreylist_delay = 1h\n")
    end = time.monotonic() + 30
    sent = 2
    while "the new configuration is in force" not in suite.log.read_text() and time.monotonic() < end:
        assert send(suite, "nothing") == (250, "")
        sent += 1
    told(suite, "reload: the new configuration is in force")
    assert send(suite, "lowword")[0] == 250
    assert fields(delivered(suite, sent + 1), "X-Spam-Flag") == ["X-Spam-Flag: YES"]
    assert send(suite, "highword")[0] == 451, "the monitor's own: greylisting"
    assert [p[0] for p in suite.processes() if p[3] == "filterd: monitor"] == [monitor]
    end = time.monotonic() + 30
    while (left := before & {p[0] for p in suite.processes()}) and time.monotonic() < end:
        time.sleep(0.05)
    assert not left, "processes of the old generation stay"
    reload(suite, text + "spam_check = no\n")
    told(suite, "reload: the new configuration is in force", 2)
    assert send(suite, "highword") == (250, "")
    reload(suite, text + "spam_kill_level = 99\n")
    reload(suite, text)	# while the one before is loaded: the last one counts
    end = time.monotonic() + 30
    while send(suite, "highword")[0] != 550 and time.monotonic() < end:
        time.sleep(0.05)
    assert send(suite, "highword")[0] == 550


def test_a_broken_configuration_keeps_the_old_and_says_so(fresh_suite):
    suite = fresh_suite("spam-reload", settings={"spam_rules_directory": rules(SCRATCH / "spam-rules")})
    assert send(suite, "highword")[0] == 550
    text = suite.conf.read_text()
    out = SCRATCH / "out-of-reach"
    out.mkdir(exist_ok=True)
    for n, (lines, words) in enumerate((("spam_action = shout\n", "spam_action"), ("greylist_level = much\n", 'greylist_level: "much" is no score'),
                                        ("virus_database_directory = %s\n" % out, "is out of reach before a restart"),
                                        ("spam_kill_level = much\n", "the new configuration cannot be used")), 1):
        reload(suite, text + "spam_tag2_level = never\nspam_kill_level = never\n" + lines)
        told(suite, "the old configuration stays", n)
        suite.logged(re.escape(words))
        assert send(suite, "highword")[0] == 550 and send(suite, "nothing") == (250, "")
    reload(suite, text + "spam_kill_level = 9\nspam_tag2_level = 9\n")
    told(suite, "reload: the new configuration is in force")
    assert send(suite, "highword") == (250, "")
