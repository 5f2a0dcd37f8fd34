"""The page of postern report on a wide, a narrow and a dark screen: nothing is wider than the screen. Pictures are kept in build/report/."""
import json
import os
import pathlib
import shutil
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
NODE = pathlib.Path("/usr/local/lib/postern-tests/node_modules")
SHOTS = ROOT / "build" / "report"
LONG = "a-name-without-any-place-to-break-it" * 3


def log_of_a_week(out):
    """Mail of seven days, with names as long as they come."""
    lines, serial = [], 0
    for hour in range(7 * 24):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() - hour * 3600))
        for i in range(1 + hour % 24):
            serial += 1
            qid = "1M1CJ7%05d" % serial
            lines += ["postern/qmgr[1]: %s: from=<s%d@%s.example>, size=%d, nrcpt=1 (queue active)" % (qid, i % 12, LONG[:60], 1000 + 9000 * i),
                      "postern/local[1]: %s: to=<u%d@example.com>, relay=local, delay=%d, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)" % (qid, i % 12, i * 5),
                      "postern/authd[1]: login failed: service=imap session=1 rip=2001:db8::%x rport=1 lip=::1 method=PLAIN reason=password count=0 user=\"%s%d\"" % (i, LONG, i % 5),
                      "amavis[1]: (1-%d) Blocked INFECTED (%s), [127.0.0.1] <a@b> -> <c@d>, Queue-ID: %s, Hits: -" % (serial, LONG, qid)]
            lines[-4:] = ["%s vm %s" % (stamp, x) for x in lines[-4:]]
    out.write_text("\n".join(lines) + "\n")


def test_it_fits_the_screen(suite, tmp_path):
    chromium = shutil.which("chromium")
    assert chromium and (NODE / "playwright-core").is_dir(), "chromium or playwright-core is missing: t/deps check installs them"
    SHOTS.mkdir(parents=True, exist_ok=True)
    log_of_a_week(tmp_path / "log")
    page = SHOTS / "report.html"
    suite.tool("postern", "report", "--no-mailboxes", "--since", "7d", "--html", page, tmp_path / "log")
    env = dict(os.environ, PLAYWRIGHT=str(NODE / "playwright-core"), CHROMIUM=chromium, HOME=str(tmp_path), TMPDIR=str(tmp_path))
    p = subprocess.run(["node", ROOT / "t/whole/page_shots.js", page, SHOTS], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
    assert p.returncode == 0, p.stderr.decode()
    found = json.loads(p.stdout)
    assert found["narrow"]["inside"] == 390
    for name, screen in found.items():
        assert screen["wide"] <= screen["inside"], name
        assert (SHOTS / (name + ".png")).read_bytes().startswith(b"\x89PNG")
    assert found["dark"]["background"] != found["wide"]["background"]
