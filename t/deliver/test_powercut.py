"""Power cuts: the file systems of mail and spool are shut down without flushing their journals, then mounted again. Whatever was answered
with 250 is there, also with spool and mail on two file systems."""
import collections
import os
import random
import smtplib
import threading
import time

import pytest

import powercut
import smtpsink

ROUNDS = int(os.environ.get("POSTERN_CUTS", "1"))


def send_all(suite, n, stop, accepted, serial):
    i = 0
    while not stop.is_set():
        i += 1
        mid = "<cut-%s-%d-%d@test.example>" % (serial, n, i)
        rcpt = ["alice@example.com", "bob@example.com"] if i % 5 == 0 else [["alice@example.com", "bob@example.com"][n % 2]]
        if i % 7 == 0:
            rcpt.append("later@elsewhere.example")     # a queue record beside the copies
        if i % 3 == 0:
            rcpt.append("gone@elsewhere.example")      # it leaves the queue, and its file is another message's
        try:
            with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=30) as s:
                refused = s.sendmail("alice@example.com", rcpt, "Subject: c\r\nMessage-ID: %s\r\n\r\n%s\r\n" % (mid, "x" * random.choice([1, 4000, 90000])))
            accepted += [(mid, r) for r in rcpt if r not in refused]
        except (smtplib.SMTPException, OSError):
            time.sleep(0.02)


def found(suite):
    seen = collections.Counter()
    for user in ("alice@example.com", "bob@example.com"):
        for d in ("new", "cur"):
            for f in (suite.maildir(user) / d).iterdir():
                for line in f.read_text().splitlines():
                    if line.startswith("Message-ID: <cut-"):
                        seen[line.split(" ", 1)[1], user] += 1
    return seen


def ids_in(text):
    return [line.split(b" ", 1)[1].strip().decode() for line in text.split(b"\n") if line.startswith(b"Message-ID: <cut-")]


def queued_for_later(suite):
    """Message ids in the queue with a remote recipient."""
    ids = set()
    for f in (suite.spool / "queue").iterdir():
        try:
            found = ids_in(f.read_bytes())
        except FileNotFoundError:
            continue    # relayed meanwhile: it is looked for there
        assert len(found) <= 1, "a queue file is one message's"
        ids.update(found)
    return ids


@pytest.mark.parametrize("kind,two", [("ext4", True), ("ext4", False), ("xfs", True)])
def test_what_was_acknowledged_survives(fresh_suite, tmp_path_factory, kind, two):
    disks = powercut.disks("disks-%s-%d" % (kind, two), kind, 1 + two)
    suite = fresh_suite("cut", start=False, users=(), settings={
        "virtual_mail_directory": disks[0].at / "mail", "queue_directory": disks[-1].at / "spool", "filter_enable": "no",
        "mynetworks": "127.0.0.0/8", "relayhost": "[127.0.0.9]:2525"})
    sink = smtpsink.Sink("127.0.0.9", 2525)
    sink.refuse["<later@elsewhere.example>"] = "450 4.2.1 busy"
    suite.spool = disks[-1].at / "spool"
    try:
        for user in ("alice@example.com", "bob@example.com"):
            suite.passwords[user] = "secret"
            suite.user_add(user, "secret")
        in_tmp = 0
        for r in range(ROUNDS):
            suite.start()
            stop, accepted = threading.Event(), []
            threads = [threading.Thread(target=send_all, args=(suite, n, stop, accepted, r)) for n in range(4)]
            for t in threads:
                t.start()
            time.sleep(random.uniform(1.0, 2.5))
            # What is answered while the shutdown runs does not count: with power gone nobody answers.
            promised = list(accepted)
            powercut.cut_power(suite, disks)
            stop.set()
            for t in threads:
                t.join()
            for d in disks:
                d.unmount()
                d.mount()
            in_tmp += sum(f.name.endswith(",T") for u in suite.passwords for f in (suite.maildir(u) / "tmp").iterdir())
            suite.start()
            for user in suite.passwords:       # opening the mailbox finds what a cut left in tmp
                with smtplib.SMTP(suite.host, suite.port("SMTP")) as s:
                    s.sendmail("x@example.org", [user], "Subject: after\r\n\r\nx\r\n")
            seen, queued = found(suite), queued_for_later(suite)
            relayed = {i for _env, data, _secure in sink.messages for i in ids_in(data)}
            lost = [a for a in promised if a not in seen and not (a[1].endswith("elsewhere.example") and a[0] in queued) and
                    not (a[1].startswith("gone") and a[0] in relayed)]
            assert len(promised) > 20 and relayed
            assert not lost, "%d of %d lost: %s\n%s" % (len(lost), len(promised), lost[:5], suite.trouble())
            assert max(seen.values()) <= 2
            suite.stop()
        print("copies found complete in tmp after the cuts:", in_tmp)
    finally:
        sink.close()
        if suite.pid() is not None:
            suite.stop()
        for d in disks:
            d.unmount()
