"""postern alias: mail takes the new way at once; the file keeps what an administrator wrote; mistakes change nothing; many at once lose nothing."""
import concurrent.futures
import json
import os
import shutil
import time

import pytest


@pytest.fixture
def files(suite):
    """Both sources, put back afterwards."""
    kept = {f: f.read_text() for f in (suite.base / "etc" / "aliases", suite.base / "etc" / "virtual")}
    yield list(kept)
    for f, text in kept.items():
        f.write_text(text)
        suite.tool("postalias" if f.name == "aliases" else "postmap", "cdb:%s" % f)


def alias(suite, *args, code=0):
    p = suite.tool("postern-alias", *args, check=False)
    assert p.returncode == code, p.stdout
    return p.stdout.decode()


def goes_to(mail, to, user):
    """Mail to that address arrives there, once daemons have seen the new map."""
    end = time.monotonic() + 30
    while True:
        try:
            return mail.wait_for(mail.send(to=to), user=user)
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def test_mail_takes_the_new_way(suite, mail, files):
    alias(suite, "add", "help@example.com", "bob@example.com")
    goes_to(mail, "help@example.com", "bob@example.com")
    alias(suite, "add", "help@example.com", "alice@example.com")
    goes_to(mail, "help@example.com", "alice@example.com")
    assert "help@example.com" in alias(suite, "list") and "bob@example.com, alice@example.com" in alias(suite, "list", "help@example.com")
    alias(suite, "del", "HELP@example.com", "bob@example.com")
    assert alias(suite, "list", "help@example.com").split() == ["help@example.com", "alice@example.com"]
    alias(suite, "del", "help@example.com")
    assert alias(suite, "list", "help@example.com", code=1) == "postern alias: help@example.com: no such alias\n"
    alias(suite, "del", "help@example.com", code=1)


@pytest.mark.parametrize("name, targets, told", [
    ("help@example.com", ["bob@example.com", "bbo@example.com"], "note: bbo@example.com does not exist: that part"),
    ("help@example.com", ["bbo@example.com"], "note: mail for help@example.com is refused: bbo@example.com: unknown"),
    ("help@exmaple.com", ["bob@example.com"], "note: exmaple.com is none of our domains"),
    ("staff", ["bob@example.com", "bbo@example.com"], "note: bbo@example.com does not exist"),
    ("bob@example.com", ["out@example.org"], "note: the user bob@example.com gets no mail any more; bob@example.com as a target keeps it"),
    ("bob@example.com", ["bob@example.com", "out@example.org"], None),
    ("help@example.com", ["bob@example.com", "out@example.org"], None), ("staff", ["bob@example.com"], None), ("@example.com", ["bob@example.com"], None)])
def test_what_will_not_arrive_is_told(suite, files, name, targets, told):
    out = alias(suite, "add", name, *targets)
    assert out.startswith("changed ") and (told in out if told else "note:" not in out), out


def test_a_wrong_call_says_what_is_wrong(suite):
    assert 'no word "rm"' in alias(suite, "rm", "x@example.com", code=64)
    assert "where to?" in alias(suite, "add", "x@example.com", code=64)


def test_a_local_name(suite, mail, files):
    alias(suite, "add", "sales", "bob@example.com", "\\root")
    goes_to(mail, "sales@localhost", "bob@example.com")
    assert "sales: bob@example.com, \\root\n" in files[0].read_text()


def test_what_was_written_by_hand_stays(suite, files):
    f = files[0]
    text = "# ours\npostmaster:   root   \n\nlist: a@example.org,\n   b@example.org\n# the end\n"
    f.write_text(text)
    os.chmod(f, 0o640)
    alias(suite, "add", "list", "c@example.org")
    assert f.read_text() == text.replace("b@example.org\n", "b@example.org, c@example.org\n") and f.stat().st_mode & 0o777 == 0o640
    before = f.stat().st_mtime_ns
    assert "kept" in alias(suite, "add", "list", "A@example.org")
    assert f.stat().st_mtime_ns == before
    alias(suite, "del", "list", "c@example.org")
    alias(suite, "del", "list")
    assert f.read_text() == "# ours\npostmaster:   root   \n\n# the end\n"
    f.chmod(0o644)


def test_json(suite, files):
    alias(suite, "add", "j@example.com", '"odd name"@example.com', "bob@example.com")
    rows = json.loads(alias(suite, "list", "--json"))
    assert {"name": "j@example.com", "targets": ['"odd name"@example.com', "bob@example.com"], "file": str(files[1]),
            "line": files[1].read_text().count("\n")} in rows
    assert any(r["name"] == "postmaster" and r["file"] == str(files[0]) for r in rows)
    assert json.loads(alias(suite, "list", "--json", "nobody", code=1)) == []


def test_mistakes_change_nothing(suite, files):
    was = [f.read_bytes() for f in files]
    for args in (("add", "a@example.com", "b\nroot@example.com evil@example.org"), ("add", "a\nroot", "b"), ("add", "a", "b, c"), ("add", "a", '"b'),
                 ("add", "a", ""), ("add", "", "b")):
        assert "cannot stand" in alias(suite, *args, code=1), args
    for args in ((), ("add",), ("add", "a"), ("explode", "a", "b"), ("list", "a", "b"), ("del",)):
        alias(suite, *args, code=64)
    assert [f.read_bytes() for f in files] == was
    files[1].write_text("# a mistake of before\nsomething: that is no map\n")
    broken = files[1].read_text()
    out = alias(suite, "add", "a@example.com", "bob@example.com", code=1)
    assert ":2: error: " in out and "nothing was changed" in out and files[1].read_text() == broken
    assert not [f for f in os.listdir(files[1].parent) if f.endswith(".new")]


def test_a_file_that_others_may_write_is_left_alone(suite, files):
    for uid, mode in ((65534, 0o644), (0, 0o666)):
        os.chown(files[1], uid, 0)
        files[1].chmod(mode)
        was = files[1].read_text()
        alias(suite, "add", "a@example.com", "bob@example.com", code=1)
        assert files[1].read_text() == was
    os.chown(files[1], 0, 0)
    files[1].chmod(0o644)


def test_a_new_file_is_not_made_where_others_may_write(suite, files):
    files[1].unlink()
    place = files[1].parent
    was = place.stat().st_mode & 0o7777
    for mode, code in ((0o777, 1), (was, 0)):
        place.chmod(mode)
        alias(suite, "add", "new@example.com", "bob@example.com", code=code)
        assert files[1].exists() == (code == 0)


def test_a_link_is_followed_and_kept(suite, files):
    real = files[1].with_name("virtual-real")
    shutil.move(files[1], real)
    os.symlink(real.name, files[1])
    alias(suite, "add", "l@example.com", "bob@example.com")
    assert files[1].is_symlink() and "l@example.com bob@example.com\n" in real.read_text()
    os.rename(real, files[1])


def test_many_at_once(suite, files):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: alias(suite, "add", "n%d@example.com" % i, "bob@example.com"), range(24)))
        list(pool.map(lambda i: alias(suite, "add", "all@example.com", "t%d@example.org" % i), range(24)))
    rows = {r["name"]: r["targets"] for r in json.loads(alias(suite, "list", "--json"))}
    assert all(rows["n%d@example.com" % i] == ["bob@example.com"] for i in range(24))
    assert sorted(rows["all@example.com"]) == sorted("t%d@example.org" % i for i in range(24))
