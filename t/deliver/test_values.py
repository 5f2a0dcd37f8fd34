"""What each parameter of the table accepts: its bounds, its words, its default; and that a mistake is told with the file and the line."""
import pathlib
import re
import subprocess

import pytest

TABLE = pathlib.Path(__file__).resolve().parent.parent.parent / "lib" / "conf" / "params.def"
NUMBERS = re.findall(r"^PARAM_(NUM|SECS|SIZE)\((\w+), (\S+), (\d+), (\d+),", TABLE.read_text(), re.M)
WORDS = re.findall(r'^PARAM_ENUM\((\w+), "([^"]*)", "([^"]*)",', TABLE.read_text(), re.M)
SWITCHES = re.findall(r"^PARAM_BOOL\((\w+), (\w+),", TABLE.read_text(), re.M)


@pytest.fixture(scope="module")
def postern(fresh_suite_module):
    suite = fresh_suite_module("values", start=False, users=(), settings={"smtpd_upstream_proxy_hosts": "127.0.0.1"})
    plain = suite.conf.read_text()
    first = len(plain.splitlines()) + 1

    def run(command, values):
        """values: [(name, value)], each on a line of its own from first on."""
        suite.conf.write_text("".join(line for line in plain.splitlines(True)) + "".join("%s = %s\n" % v for v in values))
        p = subprocess.run([str(suite.bin / "postern"), "-c", str(suite.conf), *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return p.returncode, p.stdout.decode()
    run.place = lambda i: "%s:%d: error: " % (suite.conf, first + i)
    return run


def check(postern, values):
    """Each of them is an error, on its line."""
    status, out = postern(["check"], values)
    assert status != 0
    for i, (name, value) in enumerate(values):
        assert re.search(r"^%s%s: \"%s\" \(allowed: " % (re.escape(postern.place(i)), name, re.escape(value)), out, re.M), (name, value, out[-3000:])


def test_times_name_their_unit():
    assert [row[1] for row in NUMBERS if row[0] == "SECS" and not re.fullmatch(r"\d+[smhdw]", row[2])] == []


def test_the_table_was_read():
    assert len(NUMBERS) > 120 and len(WORDS) > 15 and len(SWITCHES) > 30


@pytest.mark.parametrize("bad", ["x", "-1", "1x", "1 2", "99999999999999999999", "0x10", "below", "above"])
def test_numbers(postern, bad):
    if bad in ("below", "above"):
        values = [(name, str(int(low) - 1 if bad == "below" else int(high) + 1) + ("s" if kind == "SECS" else "")) for kind, name, _, low, high in NUMBERS
                  if bad == "above" or int(low) > 0]
    else:
        values = [(name, bad) for _, name, *_ in NUMBERS]
    check(postern, values)


def test_bounds_are_values(postern):
    for place in (3, 4):
        values = [(row[1], row[place] + ("s" if row[0] == "SECS" else "")) for row in NUMBERS]     # a bare number is days or hours where it is in Postfix
        status, out = postern(["config", *(n for n, _ in values)], values)
        assert status == 0, out
        assert out.splitlines() == ["%s = %s" % v for v in values]


@pytest.mark.parametrize("bad", ["maybe", "yess", "2"])
def test_words_and_switches(postern, bad):
    check(postern, [(name, bad) for name, *_ in WORDS + SWITCHES])


def test_each_word_is_a_value(postern):
    for name, _default, words in WORDS:
        for word in words.split(" "):
            assert postern(["config", "-h", name], [(name, word)]) == (0, word + "\n")
    for word, means in (("yes", "yes"), ("no", "no"), ("YES", "yes")):
        status, out = postern(["config", "-h", *(n for n, _ in SWITCHES)], [(n, word) for n, _ in SWITCHES])
        assert status == 0 and out.lower().split() == [means] * len(SWITCHES)


def test_defaults(postern):
    names = [row[0] for row in WORDS + SWITCHES]
    status, out = postern(["config", "-d", "-h", *names], [])
    assert status == 0 and out.splitlines() == [d for _, d, _ in WORDS] + [{"true": "yes", "false": "no"}[d] for _, d in SWITCHES]
    rows = [r for r in NUMBERS if not r[2].startswith("$")]
    status, out = postern(["config", "-d", "-h", *(r[1] for r in rows)], [])
    assert status == 0 and out.splitlines() == [r[2] for r in rows]
