"""SPF against the test suite of RFC 7208, as Debian has it (golang-blitiri-go-spf-dev): each of its cases, by lib/authres/test_spf.c, which reads zones and cases from
a file."""
import os
import pathlib
import re
import subprocess

import yaml

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
