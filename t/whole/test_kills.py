"""kill -9 of any daemon during a stream of mail: what was answered with 250 is there, once (or, for a kill in the commit, twice)."""
import collections
import os
import signal
import smtplib
import threading
import time

import pytest

ROLES = ["queued: queue", "resolve", "spawn", "filterd: monitor", "filterd: worker", "authd: monitor", "smtpd: template", "smtpd: parent",
         "deliver", "log: worker", "queued: parent", "authd: supervisor", "log: parent", "filterd: template", "remote", "authd: key"]


def stream(suite, stop, accepted, n):
    i = 0
    while not stop.is_set():
        i += 1
        mid = "<kill-%d-%d@test.example>" % (n, i)
        try:
            with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=30) as s:
                s.sendmail("s@elsewhere.example", ["bob@example.com"], "Subject: k\r\nMessage-ID: %s\r\n\r\nx\r\n" % mid)
            accepted.append(mid)
        except (smtplib.SMTPException, OSError):
            time.sleep(0.02)


def test_nothing_acknowledged_is_lost(fresh_suite):
    suite = fresh_suite("kills")
    stop, accepted = threading.Event(), []
    threads = [threading.Thread(target=stream, args=(suite, stop, accepted, n)) for n in range(4)]
    for t in threads:
        t.start()
    kills = 0
    try:
        for _round in range(2):
            for role in ROLES:
                before = len(accepted)
                end = time.monotonic() + 30
                victims = []
                while not victims and time.monotonic() < end:
                    victims = [p for p in suite.processes() if role in p[3]]
                if role != "deliver":
                    assert victims, "%s does not run\n%s" % (role, suite.trouble())
                if victims:
                    try:
                        os.kill(victims[0][0], signal.SIGKILL)
                        kills += 1
                    except ProcessLookupError:
                        pass
                end = time.monotonic() + 30
                while len(accepted) < before + 5 and time.monotonic() < end:
                    time.sleep(0.05)
                assert len(accepted) >= before + 5, "no mail is accepted after the end of %s\n%s" % (role, suite.trouble())
    finally:
        stop.set()
        for t in threads:
            t.join()
    root = suite.maildir("bob@example.com")
    end = time.monotonic() + 30
    while True:
        seen = collections.Counter()
        for d in ("new", "cur"):
            for f in (root / d).iterdir():
                for line in f.read_text().splitlines():
                    if line.startswith("Message-ID: <kill-"):
                        seen[line.split(" ", 1)[1]] += 1
        lost = [m for m in accepted if m not in seen]
        if not lost or time.monotonic() > end:
            break
        time.sleep(0.2)
    assert not lost, "%d of %d acknowledged messages are lost: %s\n%s" % (len(lost), len(accepted), lost[:5], suite.trouble())
    doubled = sum(n - 1 for n in seen.values())
    assert doubled <= 4 * kills, "%d copies too many after %d kills" % (doubled, kills)
    assert pytest and len(accepted) > 50
