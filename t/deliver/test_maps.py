"""Maps: compiling the article's own files, other tools' cdb files, mistakes with their lines, and what a running suite does with a map that is
replaced, broken or gone."""
import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest

ARTICLE = pathlib.Path(__file__).resolve().parent.parent / "article"


def tool(suite, name, *args, **kw):
    p = subprocess.run([str(suite.bin / name), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **kw)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


@pytest.fixture
def scratch(suite, tmp_path_factory):
    d = suite.base / "maps"
    d.mkdir(mode=0o755, exist_ok=True)
    yield d
    shutil.rmtree(d)


def put(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.chmod(path, 0o644)
    return path


# --- the article's files ---

def test_every_line_of_the_articles_virtual_map_that_could_never_match_is_told(suite, scratch):
    f = put(scratch / "virtual", (ARTICLE / "virtual").read_bytes())
    code, _out, err = tool(suite, "postmap", f)
    assert code == 1 and not (scratch / "virtual.cdb").exists()
    for line in (2, 3, 4, 5, 7, 8, 9):
        assert "%s:%d: error: " % (f, line) in err
    assert "%s:6:" % f not in err


def test_with_colon_ok_the_articles_virtual_map_works(suite, scratch):
    f = put(scratch / "virtual", (ARTICLE / "virtual").read_bytes())
    assert tool(suite, "postmap", "--colon-ok", f)[0] == 0
    for key, value in (("sales@example.com", "suzan@example.com"), ("@example.com", "john@example.com"),
                       ("SSMITH", "susan@example.com"), ("smith.suzan", "susan@example.com")):
        assert tool(suite, "postmap", "-q", key, f)[:2] == (0, value + "\n")


def test_the_articles_aliases_compile_with_a_count_of_skipped_lines(suite, scratch):
    f = put(scratch / "aliases", (ARTICLE / "aliases").read_bytes())
    code, _out, err = tool(suite, "postalias", "hash:%s" % f)
    assert code == 0 and "3 lines skipped" in err
    for line in (8, 12, 13):
        assert "%s:%d: warning: " % (f, line) in err
    assert tool(suite, "postalias", "-q", "spam.police", f)[:2] == (0, "administrator\n")
    assert tool(suite, "postalias", "-q", "joe.doe", f)[0] == 1


def test_strict_refuses_them_and_the_old_map_stays(suite, scratch):
    f = put(scratch / "aliases", "postmaster: root\n")
    assert tool(suite, "postalias", "-e", f)[0] == 0
    before = (scratch / "aliases.cdb").read_bytes()
    put(f, (ARTICLE / "aliases").read_bytes())
    code, _out, err = tool(suite, "postalias", "-e", f)
    assert code == 1 and "the old map stays" in err
    assert (scratch / "aliases.cdb").read_bytes() == before and not (scratch / "aliases.cdb.tmp").exists()


@pytest.mark.parametrize("text, line", [
    (b"a b\r\n", 1), (b"a b\nc\0d e\n", 2), (b"\xef\xbb\xbfa b\n", 1), (b"a b\nc \xff\n", 2), (b" a b\n", 1), (b"# c\na\n", 2),
    (b"a " + b"x" * (2 << 20) + b"\n", 1),
], ids=["CR", "NUL", "byte order mark", "no UTF-8", "continues nothing", "no value", "2 MiB line"])
def test_a_broken_source_is_refused_with_its_line(suite, scratch, text, line):
    f = put(scratch / "m", text)
    code, _out, err = tool(suite, "postmap", f)
    assert code == 1 and "%s:%d: error: " % (f, line) in err and not (scratch / "m.cdb").exists()


# --- other tools' files ---

def cdb(*args, **kw):
    return subprocess.run(["cdb", *map(str, args)], stdout=subprocess.PIPE, check=True, **kw).stdout


def test_tinycdb_reads_our_maps_and_we_read_its(suite, scratch):
    f = put(scratch / "m", "Alice one, two\n\"b c\"@x y\nlast z\n")
    assert tool(suite, "postmap", f)[0] == 0
    assert cdb("-q", scratch / "m.cdb", "alice") == b"one, two"
    assert cdb("-d", "-m", scratch / "m.cdb") == b"alice one, two\n\"b c\"@x y\nlast z\n"
    cdb("-c", "-m", scratch / "theirs.cdb", "-", input=b"k1 v 1\nk2 v2\n")
    assert tool(suite, "postmap", "-q", "K1", scratch / "theirs")[:2] == (0, "v 1\n")
    assert tool(suite, "postmap", "-s", scratch / "theirs")[1] == "k1\tv 1\nk2\tv2\n"


def test_keys_from_standard_input(suite, scratch):
    f = put(scratch / "m", "a 1\nb 2\n")
    assert tool(suite, "postmap", f)[0] == 0
    assert tool(suite, "postmap", "-q", "-", f, input=b"b\nnone\nA\n")[:2] == (0, "b\t2\nA\t1\n")
    assert tool(suite, "postmap", "-q", "-", f, input=b"none\n")[0] == 1


def test_equal_keys(suite, scratch):
    f = put(scratch / "m", "a 1\nA 2\n")
    code, _out, err = tool(suite, "postmap", f)
    assert code == 0 and "%s:2: warning: duplicate key" % f in err
    assert tool(suite, "postmap", "-q", "a", f)[1] == "1\n"
    assert tool(suite, "postmap", "-r", f) == (0, "", "") and tool(suite, "postmap", "-q", "a", f)[1] == "2\n"
    assert tool(suite, "postmap", "-w", f) == (0, "", "") and tool(suite, "postmap", "-q", "a", f)[1] == "1\n"
    assert tool(suite, "postmap", "-e", f)[0] == 1


def test_what_a_cdb_cannot_do_is_refused_with_a_reason(suite, scratch):
    for option in (["-i"], ["-d", "key"]):
        code, _out, err = tool(suite, "postmap", *option, scratch / "m")
        assert code == 64 and "cannot be changed in place" in err


def test_root_acts_as_the_owner_of_the_source(suite, scratch):
    d = scratch / "theirs"
    d.mkdir()
    f = put(d / "m", "a b\n")
    os.chown(d, 65534, 65534)
    os.chown(f, 65534, 65534)
    secret = put(scratch / "secret", "untouched")
    os.chmod(secret, 0o600)
    os.symlink(secret, d / "m.cdb.tmp")
    assert tool(suite, "postmap", f)[0] == 1 and secret.read_text() == "untouched"
    os.unlink(d / "m.cdb.tmp")
    assert tool(suite, "postmap", f)[0] == 0 and (d / "m.cdb").stat().st_uid == 65534


def test_a_source_that_others_may_write_is_refused(suite, scratch):
    f = put(scratch / "m", "a b\n")
    os.chmod(f, 0o666)
    assert tool(suite, "postmap", f)[0] == 1 and not (scratch / "m.cdb").exists()


# --- the running suite ---

def rcpt(suite, address):
    """The answer to RCPT from a stranger."""
    from mailtools import Wire
    w = Wire("127.0.0.1", suite.ports["SMTP_PORT"])
    w.smtp()
    w.smtp("EHLO client.example")
    w.smtp("MAIL FROM:<s@elsewhere.example>")
    code, texts = w.smtp("RCPT TO:<%s>" % address)
    w.send("QUIT\r\n")
    return code, texts[0]


@pytest.fixture
def virtual(suite):
    f = suite.base / "etc" / "virtual"
    before = f.read_bytes()
    yield f
    put(f, before)
    assert tool(suite, "postmap", f)[0] == 0


def test_a_compiled_map_is_used_at_once(suite, mail, virtual):
    assert rcpt(suite, "sales@example.com")[0] == 550
    put(virtual, virtual.read_text() + "sales@example.com bob@example.com\n")
    assert rcpt(suite, "sales@example.com")[0] == 550
    assert tool(suite, "postmap", virtual)[0] == 0
    assert rcpt(suite, "sales@example.com")[0] == 250


def test_a_catch_all_yields_to_who_exists(suite, mail, virtual):
    put(virtual, "@example.com bob@example.com\n")
    assert tool(suite, "postmap", virtual)[0] == 0
    assert rcpt(suite, "anybody@example.com")[0] == 250
    got = json.loads(tool(suite, "postern", "-c", suite.conf, "why", "--json", "anybody@example.com", "alice@example.com", "bob@example.com")[1])
    assert [[r["account"] for r in a["recipients"]] for a in got] == [["bob@example.com"], ["alice@example.com"], ["bob@example.com"]]


def test_a_loop_is_deferred_not_followed(suite, mail, virtual):
    put(virtual, "l1@example.com l2@example.com\nl2@example.com l1@example.com\n")
    assert tool(suite, "postmap", virtual)[0] == 0
    code, text = rcpt(suite, "l1@example.com")
    assert code == 451 and text.startswith("4.6.0")


def test_a_map_in_trouble_defers_and_never_says_unknown(suite, mail, virtual):
    compiled = virtual.with_name("virtual.cdb")
    good = compiled.read_bytes()
    try:
        for bad in (b"", good[:1000], good[:2047], b"\xff" * len(good)):
            compiled.with_name("new").write_bytes(bad)
            os.chmod(compiled.with_name("new"), 0o644)
            os.rename(compiled.with_name("new"), compiled)
            for address in ("bob@example.com", "nobody@example.com"):
                assert rcpt(suite, address)[0] == 451, bad[:10]
        os.unlink(compiled)
        assert rcpt(suite, "bob@example.com")[0] == 451
    finally:
        assert tool(suite, "postmap", virtual)[0] == 0
    assert rcpt(suite, "bob@example.com")[0] == 250


@pytest.mark.parametrize("address, code", [
    ("postmaster", 250), ("postmaster@example.com", 250), ("POSTMASTER@localhost", 250), ("bob+box@example.com", 250), ("bOb@Example.COM", 250),
    ("nobody@example.com", 550), ("nobody@localhost", 550), ("x@elsewhere.example", 554), ("x%elsewhere.example@example.com", 550),
    ("\"x@elsewhere.example\"@example.com", 550), ("elsewhere.example!x@example.com", 550), ("x@[192.0.2.77]", 554),
])
def test_what_a_stranger_may_write_to(suite, mail, address, code):
    got = rcpt(suite, address)
    assert got[0] == code or (code == 550 and got[0] == 554), got


# --- postern ---

def test_why_names_map_and_line(suite, mail, virtual):
    put(virtual, "# one\n\nwhere@example.com\n  alice@example.com\n")
    assert tool(suite, "postmap", virtual)[0] == 0
    code, out, _err = tool(suite, "postern", "-c", suite.conf, "why", "where+x@example.com")
    assert code == 0 and "cdb:%s:3: \"where@example.com\" is alice@example.com" % virtual in out
    assert "-> mailbox alice+x@example.com, account alice@example.com, extension x" in out
    assert tool(suite, "postern", "-c", suite.conf, "why", "nobody@example.com")[0] == 1


def test_check_finds_nothing_wrong_with_the_running_suite(suite, mail):
    code, out, err = tool(suite, "postern", "-c", suite.conf, "check", "-q")
    assert code == 0 and " error: " not in out and err == ""


@pytest.mark.parametrize("words, told", [(["quene"], 'no word "quene"; meant is perhaps queue'), (["help", "stauts"], "meant is perhaps status"),
                                         (["postmaps"], "meant is perhaps postmap"), (["frobnicate"], 'no word "frobnicate"; "postern help" lists them')])
def test_a_mistyped_word(suite, words, told):
    code, out, err = tool(suite, "postern", "-c", suite.conf, *words)
    assert code == 64 and out == "" and told in err, err
    assert "spam_kill_level" in tool(suite, "postern", "-c", suite.conf, "config", "spam_kil_level")[2]


def test_check_tells_mistakes_with_their_lines(suite, scratch):
    conf = put(scratch / "postern.conf", suite.conf.read_text() + "hopcount_limit = many\nmyorign = x\nmailbox_size_limit = 0\n"
               "content_filter = smtp-amavis:[127.0.0.0]:10024\n")
    n = len(suite.conf.read_text().splitlines())
    code, out, _err = tool(suite, "postern", "-c", conf, "check")
    assert code == 1
    assert "%s:%d: error: hopcount_limit: \"many\" (allowed: 1 to 1000)" % (conf, n + 1) in out
    assert "%s:%d: error: myorign: no such parameter" % (conf, n + 2) in out and "perhaps myorigin" in out
    assert "%s:%d: warning: mailbox_size_limit: not used by Postern: it is quota_storage" % (conf, n + 3) in out


def test_check_finds_the_articles_mistakes(suite, scratch):
    put(scratch / "aliases", (ARTICLE / "aliases").read_bytes())
    put(scratch / "virtual", (ARTICLE / "virtual").read_bytes())
    tool(suite, "postalias", scratch / "aliases")
    conf = put(scratch / "postern.conf", (ARTICLE / "main.cf").read_text() + "state_directory = %s\nlibexec_directory = %s\nrun_directory = %s\n"
               "queue_directory = %s\nalias_maps = hash:%s\ncontent_filter=smtp-amavis:[127.0.0.0]:10024\n"
               % (suite.state, suite.bin, suite.run_dir, suite.spool, scratch / "aliases"))
    findings = json.loads(tool(suite, "postern", "-c", conf, "check", "--json")[1])
    texts = "\n".join("%s %s %s" % (f["place"], f["parameter"], f["text"]) for f in findings)
    assert "[127.0.0.0] looks like a network's address" in texts
    assert "no parameter names this map: it is never read (virtual_alias_maps = cdb:%s" % (scratch / "virtual") in texts
    assert "%s:8 " % (scratch / "aliases") in texts and "no colon after the name" in texts
    assert "\"ssmith\" leads nowhere" in texts
    assert "relay_domains names domains of mydestination" in texts
    assert "mynetworks_style every host" in texts


def test_check_before_the_first_start_is_no_error(suite, scratch):
    conf = put(scratch / "postern.conf", "state_directory = %s\n" % scratch)
    findings = json.loads(tool(suite, "postern", "-c", conf, "check", "--json")[1])
    about = [f for f in findings if "accounts.cdb" in f["text"]]
    assert len(about) == 1 and about[0]["severity"] == "note" and "authd makes it" in about[0]["text"]


def test_config_prints_what_is_in_force(suite):
    out = tool(suite, "postern", "-c", suite.conf, "config", "myorigin", "message_size_limit")[1]
    assert out == "myorigin = example.com\nmessage_size_limit = 20971520\n"
    assert "mydomain = example.com\n" in tool(suite, "postern", "-c", suite.conf, "config", "-n")[1]
    rows = json.loads(tool(suite, "postern", "-c", suite.conf, "config", "--json")[1])
    assert any(r["name"] == "front_mode" and r["value"] == "isolated" and not r["changed"] for r in rows)


def test_the_tools_are_words_of_postern(suite, scratch):
    f = put(scratch / "m", "a b\n")
    assert tool(suite, "postern", "postmap", f)[0] == 0
    assert tool(suite, "postern", "-c", suite.conf, "user", "list")[1].count("alice@example.com") == 1
    code, _out, err = tool(suite, "postern", "../postmap")
    assert code == 64 and "not a word" in err
    assert "check" in tool(suite, "postern", "help")[1]


# --- the log ---

def log_text(suite, wait_for, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        text = suite.log.read_text(errors="replace") if suite.log.exists() else ""
        if wait_for in text:
            return text
        time.sleep(0.05)
    return text


def test_log_lines_have_the_traditional_form_and_cannot_be_split(suite, mail):
    import re
    rcpt(suite, "seen-in-log@example.com")
    text = log_text(suite, "seen-in-log@example.com")
    assert "seen-in-log@example.com" in text
    for line in text.splitlines():
        assert re.match(r"^(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ 0-3]\d \d\d:\d\d:\d\d [A-Za-z0-9_-]+ [\w./-]+\[\d+\]: ", line), line


def test_a_local_user_cannot_write_lines_that_look_like_ours(suite, mail):
    code = ("import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b'2 dovecot imap-login: Aborted login "
            "(auth failed, 1 attempts): user=<x>, rip=203.0.113.5, lip=1.2.3.4 forged-line', %r)" % str(suite.run_dir / "log" / "sock"))
    subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "/usr/bin/python3", "-c", code], check=True)
    line = [t for t in log_text(suite, "forged-line").splitlines() if "forged-line" in t]
    assert len(line) == 1 and " user-65534[" in line[0] and "dovecot" not in line[0].split("]:")[0]
