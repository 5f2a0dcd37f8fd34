"""Learning from what users do: moves into and out of Junk, marks of mail clients, folders of missed spam; and what one user cannot do to the others."""
import imaplib
import json
import os
import pathlib
import shutil
import signal
import smtplib
import socket
import subprocess
import time

SCRATCH = pathlib.Path(os.environ.get("POSTERN_SCRATCH", "."))
ALICE, BOB = "alice@example.com", "bob@example.com"
SPAM = ["lottery", "mortgage", "unsecured", "pharmacy", "replica", "casino", "inheritance", "weightloss"]
HAM = ["minutes", "kernel", "compile", "meeting", "agenda", "invoice", "holiday", "colleague"]


def letter(n, spam, extra=""):
    words = SPAM if spam else HAM
    some = " ".join(words[(n * k + k) % 8] for k in range(1, 6))
    return ("Message-ID: <%d.%s%s@x.example>\r\nFrom: p%d@a.example\r\nTo: bob@example.com\r\nSubject: %s\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\n%s and u%d\r\n"
            % (n, spam, extra, n, words[n % 8], some, n)).encode()


class Client:
    """A user's mail client, by Python's own library."""

    def __init__(self, suite, user=BOB):
        self.c = imaplib.IMAP4(suite.host, suite.port("IMAP"))
        self.c.login(user, suite.passwords[user])

    def ok(self, answer):
        assert answer[0] == "OK", answer
        return answer[1]

    def put(self, folder, *texts):
        for t in texts:
            self.ok(self.c.append(folder, None, None, t))

    def select(self, folder):
        self.ok(self.c.select(folder))

    def uids(self):
        return self.ok(self.c.uid("SEARCH", "ALL"))[0].decode().replace(" ", ",")

    def move(self, folder, uids=None):
        self.ok(self.c.uid("MOVE", uids or self.uids(), folder))

    def copy(self, folder, uids=None):
        self.ok(self.c.uid("COPY", uids or self.uids(), folder))

    def store(self, what, flags, uids=None):
        self.ok(self.c.uid("STORE", uids or self.uids(), what, flags))


def learn(suite, *args, ok=0):
    p = suite.tool("postern-learn", "--json", *args, check=False)
    assert p.returncode == ok, (p.stdout, p.stderr)
    told = [line for line in p.stdout.splitlines() if line.startswith(b"{")]
    return json.loads(told[0]) if told else {}


def queued(suite, user=BOB):
    d = suite.maildir(user) / "postern.train"
    return sorted(p.name.rsplit(".", 1)[1] for p in d.iterdir()) if d.is_dir() else []


def score(suite, text):
    path = SCRATCH / "letter"
    path.write_bytes(text.replace(b"\r\n", b"\n"))
    p = suite.tool("postern-filter", "test", "--json", path, check=False)
    told = [f["text"].strip() for f in json.loads(p.stdout)["findings"] if f["stage"] == "spam"]
    return float(told[0].split()[1].rstrip(","))


def trained(suite, **settings):
    """A site that has learned enough to have an opinion, with a client of Bob's."""
    suite = fresh(suite, **settings)
    base = suite.base / "mail"
    for spam in (True, False):
        d = base / str(spam) / "cur"
        d.mkdir(parents=True)
        for n in range(205):
            (d / ("%d.x:2,S" % n)).write_bytes(letter(n, spam, "base").replace(b"\r\n", b"\n"))
    base.chmod(0o755)
    learn(suite, "--spam", base / "True", "--ham", base / "False")
    return suite


def fresh(fresh_suite, **settings):
    return fresh_suite("learn", settings={"spam_rules_directory": "", "spam_tag_level": "", "learn_user_max": "1000", **settings})


NEW = (b"Message-ID: <new%d@x.example>\r\nFrom: q%d@b.example\r\nTo: bob@example.com\r\nSubject: frobnicate\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\n"
       b"zweigelt blaufraenkisch riesling u%d\r\n")


def new(n):
    return NEW % (n, n, n)


# --- moves ---

def test_moved_to_junk_it_scores_higher_and_moved_back_it_does_not(fresh_suite):
    suite = trained(fresh_suite)
    bob = Client(suite)
    before = score(suite, new(99))
    bob.put("INBOX", *[new(n) for n in range(5)])
    bob.select("INBOX")
    bob.move("Junk")
    assert queued(suite) == ["spam"] * 5
    told = learn(suite, "--queued")
    assert (told["spam"], told["ham"], told["all_spam"]) == (5, 0, 210)
    assert queued(suite) == []
    worse = score(suite, new(99))
    assert worse > before + 2, (before, worse)
    bob.select("Junk")
    bob.move("INBOX")
    assert queued(suite) == ["ham"] * 5
    told = learn(suite, "--queued")
    assert (told["spam"], told["ham"], told["forgotten"], told["all_spam"], told["all_ham"]) == (0, 5, 5, 205, 210)
    assert score(suite, new(99)) < before
    assert learn(suite, "--queued")["ham"] == 0


def test_which_moves_teach(fresh_suite):
    suite = fresh(fresh_suite)
    bob = Client(suite)
    bob.ok(bob.c.create("Work"))
    cases = [("INBOX", "Work", []), ("Work", "Junk", ["spam"]), ("Junk", "Trash", []), ("Trash", "Junk", ["spam"]), ("Junk", "Work", ["ham"]), ("Work", "Trash", [])]
    for n, (source, target, said) in enumerate(cases):
        bob.put(source, letter(n, True))
        bob.select(source)
        (bob.move if n % 2 else bob.copy)(target, bob.uids().split(",")[-1])
        assert queued(suite) == said, (source, target)
        learn(suite, "--queued")
    bob.put("Junk", letter(77, True))
    assert queued(suite) == [], "APPEND is no opinion"


def test_the_last_word_counts(fresh_suite):
    suite = fresh(fresh_suite)
    bob = Client(suite)
    bob.put("INBOX", letter(1, True), letter(2, True))
    bob.select("INBOX")
    bob.move("Junk")
    bob.select("Junk")
    bob.move("INBOX", bob.uids().split(",")[0])
    assert queued(suite) == ["ham", "spam"]
    told = learn(suite, "--queued")
    assert (told["spam"], told["ham"], told["forgotten"]) == (1, 1, 0)


def test_a_message_is_learned_that_has_left_the_mailbox(fresh_suite):
    suite = fresh(fresh_suite)
    bob = Client(suite)
    bob.put("INBOX", letter(1, True))
    bob.select("INBOX")
    bob.move("Junk")
    bob.select("Junk")
    bob.store("+FLAGS", "(\\Deleted)")
    bob.ok(bob.c.expunge())
    assert learn(suite, "--queued")["spam"] == 1


# --- marks ---

def test_marks_of_mail_clients(fresh_suite):
    suite = fresh(fresh_suite)
    bob = Client(suite)
    n = 0
    for junk, not_junk in (("Junk", "NonJunk"), ("$Junk", "$NotJunk"), ("$Junk", "NotJunk")):
        n += 1
        bob.put("INBOX", letter(n, True))
        bob.select("INBOX")
        uid = bob.uids().split(",")[-1]
        bob.store("+FLAGS", "(%s)" % not_junk, uid)
        assert queued(suite) == [], "a client's own filter says this of all mail"
        bob.store("+FLAGS", "(%s)" % junk, uid)
        assert queued(suite) == ["spam"], junk
        bob.store("+FLAGS", "(%s)" % junk, uid)
        assert queued(suite) == ["spam"]
        # Thunderbird and Apple Mail mark it, and move it.
        bob.move("Junk", uid)
        assert queued(suite) == ["spam"]
        assert learn(suite, "--queued")["spam"] == 1
        bob.select("Junk")
        uid = bob.uids().split(",")[-1]
        bob.store("+FLAGS", "(%s)" % not_junk, uid)
        assert queued(suite) == ["ham"]
        bob.store("-FLAGS", "(%s)" % junk, uid)
        bob.move("INBOX", uid)
        assert queued(suite) == ["ham"]
        told = learn(suite, "--queued")
        assert (told["ham"], told["forgotten"]) == (1, 1)
    bob.put("INBOX", letter(50, True))
    bob.select("INBOX")
    uid = bob.uids().split(",")[-1]
    bob.store("FLAGS", "(\\Seen Junk)", uid)
    assert queued(suite) == ["spam"]
    learn(suite, "--queued")
    bob.store("-FLAGS", "(Junk)", uid)
    assert queued(suite) == ["ham"], "the mark is taken back"
    bob.store("+FLAGS", "($Junk $NotJunk)", uid)
    assert queued(suite) == ["ham"], "nothing can be made of this"


# --- limits ---

def test_one_users_share_of_a_day_is_limited(fresh_suite):
    suite = fresh(fresh_suite, learn_user_max="3")
    for user, first in ((BOB, 0), (ALICE, 100)):
        c = Client(suite, user)
        c.put("INBOX", *[letter(first + n, True) for n in range(5)])
        c.select("INBOX")
        c.move("Junk")
    assert learn(suite, "--queued")["spam"] == 6
    assert queued(suite) == ["spam"] * 2 == queued(suite, ALICE)
    assert learn(suite, "--queued")["spam"] == 0 and len(queued(suite)) == 2
    shares = suite.state / "learn.shares"
    assert shares.stat().st_uid == 0 and shares.stat().st_mode & 0o077 == 0
    lines = shares.read_text().split("\n")
    assert sorted(lines[1:-1]) == ["%s 3" % ALICE, "%s 3" % BOB]
    shares.write_text("\n".join([str(int(lines[0]) - 1)] + lines[1:]))	# another day
    assert learn(suite, "--queued")["spam"] == 4
    assert queued(suite) == [] == queued(suite, ALICE)


def plant(suite, user, n, first, text=letter):
    """A queue as the user's session makes it, at once."""
    root = suite.maildir(user)
    if not root.is_dir():
        Client(suite, user).put("INBOX", letter(0, False))
    d = root / "postern.train"
    shutil.rmtree(d, ignore_errors=True)
    d.mkdir(mode=0o700)
    for i in range(n):
        (d / ("%016x.%016x.spam" % (i + 1, i + 1))).write_bytes(text(first + i, True))
    for p in (d, *d.iterdir()):
        os.chown(p, root.stat().st_uid, root.stat().st_gid)


def processes():
    """{pid: (parent, real uid)}"""
    found = {}
    for p in pathlib.Path("/proc").iterdir():
        if p.name.isdigit():
            try:
                fields = dict(line.split(":", 1) for line in (p / "status").read_text().splitlines())
            except OSError:
                continue
            found[int(p.name)] = (int(fields["PPid"]), int(fields["Uid"].split()[0]))
    return found


def learn_meddled(suite, signo):
    """A run of which the first user's reader gets a signal while the learner stands still, so that the reader has more to say. (it was hit, what was told)"""
    p = subprocess.Popen([str(suite.bin / "postern-learn"), "-c", str(suite.conf), "--json", "--queued"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    hit = still = False
    end = time.monotonic() + 20
    while not hit and p.poll() is None and time.monotonic() < end:
        all_of = processes()
        feeders = [pid for pid, (parent, _) in all_of.items() if parent == p.pid]
        if feeders and not still:
            p.send_signal(signal.SIGSTOP)
            still = True
        for pid, (parent, uid) in all_of.items():
            if parent in feeders and uid != 0 and not hit:
                os.kill(pid, signo)
                hit = True
    if p.poll() is None:
        p.send_signal(signal.SIGCONT)
    out, err = p.communicate(timeout=300)
    assert p.returncode == 0, (out, err)
    return hit, json.loads(out), err


def test_who_stops_the_reader_of_the_queue_has_had_the_share_of_the_day(fresh_suite):
    """The process that reads a queue is the user's, who can signal it; root counts all the same, and the others' turn comes."""
    suite = fresh(fresh_suite, learn_user_max="30")
    shares = suite.state / "learn.shares"
    for k, signo in enumerate((signal.SIGKILL, signal.SIGSTOP)):
        for attempt in range(10):
            shares.unlink(missing_ok=True)
            first = 1000 * (10 * k + attempt)
            plant(suite, BOB, 40, first)
            plant(suite, ALICE, 40, first + 500)
            hit, told, err = learn_meddled(suite, signo)
            if hit and b"could not be read to its end" in err:
                break
        else:
            raise AssertionError("no reader was found at work")
        assert 30 <= told["spam"] <= 60
        assert sorted(shares.read_text().split("\n")[1:-1]) == ["%s 30" % ALICE, "%s 30" % BOB]
        assert sorted((len(queued(suite)), len(queued(suite, ALICE)))) == [10, 40], "what one has queued stays there, the other has learned"
        assert learn(suite, "--queued")["spam"] == 0


def test_a_queue_that_was_filled_by_hand_is_read_so_far(fresh_suite):
    suite = fresh(fresh_suite)
    plant(suite, BOB, 12, 0, lambda n, spam: letter(n, spam) + (b"x" * 70 + b"\r\n") * 57000)
    told = learn(suite, "--queued")
    assert told["spam"] == 9 and len(queued(suite)) == 3, "32 MB of 4 MB each, and what was begun"


def test_the_queue_is_bounded_and_the_move_works_all_the_same(fresh_suite):
    suite = fresh(fresh_suite)
    bob = Client(suite)
    text = letter(0, True)
    for n in range(231):
        bob.put("INBOX", text.replace(b"u0", b"u%d" % n))
    bob.select("INBOX")
    assert len(bob.uids().split(",")) == 231
    bob.move("Junk")
    bob.select("Junk")
    assert len(bob.uids().split(",")) == 231
    assert len(queued(suite)) == 200


def test_what_a_user_plants_leads_nowhere(fresh_suite):
    """The queue is read as the user: links to others' mail, pipes and devices teach nothing and hold nobody up."""
    suite = fresh(fresh_suite)
    alice, bob = Client(suite, ALICE), Client(suite)
    alice.put("INBOX", letter(1, True))
    bob.put("INBOX", letter(2, True))
    bob.select("INBOX")
    bob.move("Junk")
    d = suite.maildir(BOB) / "postern.train"
    owner = d.stat()
    theirs = next((suite.maildir(ALICE) / "cur").iterdir(), None) or next((suite.maildir(ALICE) / "new").iterdir())
    (d / ("%016x.%016x.spam" % (1, 1))).symlink_to(theirs)
    os.mkfifo(d / ("%016x.%016x.spam" % (2, 2)))
    (d / ("%016x.%016x.spam" % (3, 3))).mkdir()
    (d / ("%016x.%016x.spam" % (4, 4))).write_bytes(b"")
    (d / "stranger").write_bytes(b"x")
    for p in d.iterdir():
        os.chown(p, owner.st_uid, owner.st_gid, follow_symlinks=False)
    told = learn(suite, "--queued")
    assert (told["spam"], told["all_spam"]) == (1, 1)
    assert sorted(p.name for p in d.iterdir()) == ["%016x.%016x.spam" % (3, 3), "stranger"]
    assert theirs.exists()
    d.rename(d.with_name("away"))
    d.symlink_to(suite.maildir(ALICE) / "cur")
    assert learn(suite, "--queued")["spam"] == 0


def test_it_can_be_switched_off(fresh_suite):
    suite = fresh(fresh_suite, learn_from_users="no")
    bob = Client(suite)
    bob.put("INBOX", letter(1, True))
    bob.select("INBOX")
    bob.store("+FLAGS", "(Junk)")
    bob.move("Junk")
    assert queued(suite) == []
    assert suite.tool("postern-learn", "-q", "--queued").stdout == b""
    assert not (suite.state / "filter" / "tokens.cdb").exists(), "a run that finds nothing writes nothing"


def test_a_guest_teaches_nothing(fresh_suite):
    suite = fresh(fresh_suite)
    bob, alice = Client(suite), Client(suite, ALICE)
    for folder in ("INBOX", "Junk"):
        bob.ok(bob.c.setacl(folder, ALICE, "lrswipkxte"))
    bob.put("INBOX", letter(1, True))
    names = [line.decode().split(' "/" ')[-1].strip('"') for line in alice.ok(alice.c.list()) if b"bob" in line]
    inbox = next(n for n in names if not n.endswith("Junk") and alice.c.select('"%s"' % n)[0] == "OK")
    junk = next(n for n in names if n.endswith("Junk"))
    alice.ok(alice.c.select('"%s"' % inbox))
    alice.ok(alice.c.uid("MOVE", alice.uids(), '"%s"' % junk))
    assert queued(suite) == [] == queued(suite, ALICE)


# --- folders ---

def test_folders_of_missed_spam(fresh_suite):
    suite = fresh(fresh_suite, learn_spam_folders="%s:MissedSpam" % BOB, learn_ham_folders="%s:INBOX %s" % (ALICE, suite_dir()))
    bob, alice = Client(suite), Client(suite, ALICE)
    bob.ok(bob.c.create("MissedSpam"))
    bob.put("MissedSpam", letter(1, True), letter(2, True))
    alice.put("INBOX", letter(3, False))
    told = learn(suite, "--folders")
    assert (told["spam"], told["ham"]) == (2, 2)
    told = learn(suite, "--folders")
    assert (told["spam"], told["ham"], told["known"]) == (0, 0, 4)


def suite_dir():
    d = SCRATCH / "flat-ham"
    if not d.is_dir():
        d.mkdir()
        d.chmod(0o755)
        (d / "1").write_bytes(letter(4, False))
        (d / "1").chmod(0o644)
    return d


def test_no_link_leads_root_to_a_directory(fresh_suite):
    """Bob owns a directory above one that is named: it may not become a link to Alice's mail, which Alice's process would read then."""
    suite = fresh(fresh_suite)
    bob, alice = Client(suite), Client(suite, ALICE)
    bob.put("INBOX", letter(1, True))
    alice.put("INBOX", letter(2, True))
    above = SCRATCH / "above"
    above.mkdir()
    above.chmod(0o755)
    (above / "mail").symlink_to(suite.maildir(ALICE).parent)
    (above / "straight").mkdir(mode=0o755)
    (above / "straight" / "1").write_bytes(letter(3, True))
    p = suite.tool("postern-learn", "--json", "--spam", above / "mail" / suite.maildir(ALICE).name, above / "straight", check=False)
    assert p.returncode == 75 and b"a part of the path is a link" in (p.stderr or p.stdout)
    assert learn(suite, "--status")["all_spam"] == 1, "the other directory was learned"


def test_folders_that_are_none(fresh_suite):
    for value, words in (("nobody@example.com:X", "is no directory and no USER:FOLDER"), ("bob@example.com", "is no directory"), ("bob@example.com:../x", "as a directory"),
                         ("bob@example.com:a//b", "as a directory"), ("bob@example.com:a/", "as a directory")):
        suite = fresh(fresh_suite, learn_spam_folders=value)
        p = suite.tool("postern-learn", "--folders", check=False)
        assert p.returncode == 75 and words in (p.stderr or p.stdout).decode(), (value, p)


# --- of itself ---

def send(suite, text):
    with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=60) as s:
        try:
            s.sendmail("x@elsewhere.example", [BOB], text)
            return 250
        except smtplib.SMTPDataError as e:
            return e.smtp_code


AUTO = """body WORD_HAM /hamword/
score WORD_HAM -3
body WORD_SPAM /spamword/
score WORD_SPAM 9
header HEAD_SPAM Subject =~ /spamhead/
score HEAD_SPAM 5
"""


def delivered(suite, n):
    def there():
        return [f for d in ("new", "cur") for f in (suite.maildir(BOB) / d).iterdir()]
    end = time.monotonic() + 30
    while len(there()) < n and time.monotonic() < end:
        time.sleep(0.05)
    files = sorted(there(), key=lambda f: f.stat().st_mtime_ns)
    assert len(files) == n
    return files[-1].read_text()


def site(name, text):
    d = SCRATCH / name
    d.mkdir(exist_ok=True)
    d.chmod(0o755)
    (d / "10.cf").write_text(text)
    return d


def test_mail_is_learned_of_itself_where_that_is_wished(fresh_suite):
    rules = site("auto-rules", AUTO)
    suite = fresh(fresh_suite, spam_rules_directory=rules, spam_action="reject")
    assert send(suite, letter(1, False)) == 250
    assert "autolearn=no" in delivered(suite, 1)
    assert learn(suite, "--queued")["all_ham"] == 0
    suite = fresh(fresh_suite, spam_rules_directory=site("auto-rules-on", AUTO + "bayes_auto_learn 1\n"), spam_action="reject")
    assert send(suite, letter(1, False)) == 250
    assert "autolearn=ham" in delivered(suite, 1).replace("\n", " ")
    middle = letter(2, False).replace(b"Subject: ", b"Subject: spamhead ")
    assert send(suite, middle) == 250, suite.log.read_text()[-3000:]
    assert "autolearn=no" in delivered(suite, 2).replace("\n", " ")
    spam = letter(3, True).replace(b"Subject: ", b"Subject: spamhead ") + b"spamword\r\n"
    assert send(suite, spam) == 550
    queue = suite.state / "filter" / "queue" / "taught"
    assert queue.stat().st_mode & 0o077 == 0
    told = learn(suite, "--queued")
    assert (told["spam"], told["ham"]) == (1, 1)
    assert not queue.exists() and not queue.with_name("taken").exists()
    # Bob knows better, and no mail of itself changes that.
    bob = Client(suite)
    bob.select("INBOX")
    bob.move("Junk", bob.uids().split(",")[0])
    told = learn(suite, "--queued")
    assert (told["spam"], told["forgotten"], told["all_ham"]) == (1, 1, 0)
    assert send(suite, letter(1, False)) == 250
    told = learn(suite, "--queued")
    assert (told["ham"], told["known"], told["all_spam"]) == (0, 1, 2)


# --- TELL ---

SPAMD = 3783


def spamc(text, *options, port=SPAMD):
    p = subprocess.run(["spamc", "-d", "127.0.0.1", "-p", str(port), "-t", "30", *options], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return p.returncode, p.stdout


def test_spamc_teaches(fresh_suite):
    where = "127.0.0.1:%d" % SPAMD
    suite = fresh(fresh_suite, filter_spamd_listeners="%s 127.0.0.1:%d" % (where, SPAMD + 1), filter_spamd_tell_listeners=where)
    text = letter(1, True)
    assert spamc(text, "-L", "spam") == (0, b"Message successfully un/learned\n")
    assert learn(suite, "--queued")["spam"] == 1
    assert spamc(text, "-L", "spam") == (0, b"Message was already un/learned\n")
    assert b"successfully" in spamc(text, "-L", "ham")[1]
    told = learn(suite, "--queued")
    assert (told["ham"], told["forgotten"], told["all_spam"], told["all_ham"]) == (1, 1, 0, 1)
    assert b"was already" in spamc(letter(2, True), "-L", "forget")[1]
    assert spamc(text, "-L", "forget") == (0, b"Message successfully un/learned\n")
    told = learn(suite, "--queued")
    assert (told["forgotten"], told["all_ham"]) == (1, 0)
    assert learn(suite, "--status")["tokens"] == 0
    # a word taken back before it was learned
    for second, left in (("forget", 0), ("spam", 1)):
        assert b"successfully" in spamc(text, "-L", "spam")[1]
        assert b"successfully" in spamc(text, "-L", "ham")[1]
        assert b"successfully" in spamc(text, "-L", second)[1]
        told = learn(suite, "--queued")
        assert (told["all_spam"], told["all_ham"]) == (left, 0)
    assert b"successfully" in spamc(text, "-L", "forget")[1]
    assert learn(suite, "--queued")["all_spam"] == 0
    for kind in ("report", "revoke"):
        assert spamc(text, "-x", "-C", kind) == (0, b"Unable to report/revoke message\n")
    assert spamc(text, "-x", "-L", "spam", port=SPAMD + 1) == (74, b"")
    assert not (suite.state / "filter" / "queue" / "taught").exists()
    assert spamc(text, "-c")[0] == 0
    for head, words in (("Message-class: spam\r\nSet: local", b"DidSet: local"), ("Remove: local", b"DidRemove: local"), ("Remove: local", b"EX_OK\r\nContent-length"), ("Set: remote", b"69 Service Unavailable"),
                        ("Set: local", b"69 Service Unavailable"), ("Message-class: egg\r\nSet: local", b"76 Bad header line"), ("Set: orbit", b"76 Bad header line"),
                        ("Message-class: ham\r\nSet: local\r\nRemove: local", b"69 Service Unavailable"), ("User: bob", b"69 Service Unavailable")):
        with socket.create_connection(("127.0.0.1", SPAMD), timeout=30) as s:
            s.sendall(("TELL SPAMC/1.5\r\nContent-length: %d\r\n%s\r\n\r\n" % (len(text), head)).encode() + text)
            s.shutdown(socket.SHUT_WR)
            answer = b""
            while d := s.recv(4096):
                answer += d
        assert words in answer, (head, answer)


def test_what_is_told_survives_a_crash_of_the_learner(fresh_suite):
    where = "127.0.0.1:%d" % SPAMD
    suite = fresh(fresh_suite, filter_spamd_listeners=where, filter_spamd_tell_listeners=where)
    assert spamc(letter(1, True), "-L", "spam") == (0, b"Message successfully un/learned\n")
    queue = suite.state / "filter" / "queue"
    (queue / "taught").rename(queue / "taken")
    assert spamc(letter(2, True), "-L", "spam") == (0, b"Message successfully un/learned\n")
    with (queue / "taught").open("ab") as f:
        f.write(b"\x20\x00\x00")	# a record that a power cut left half
    assert learn(suite, "--queued")["spam"] == 1
    assert learn(suite, "--queued")["spam"] == 1
    assert sorted(p.name for p in queue.iterdir()) == []


def test_a_listener_that_is_none_cannot_teach(fresh_suite):
    suite = fresh(fresh_suite)
    suite.conf.write_text(suite.conf.read_text() + "filter_spamd_tell_listeners = 127.0.0.1:%d\n" % SPAMD)
    p = suite.tool("filterd", "-t", check=False)
    assert p.returncode == 1 and b"filter_spamd_tell_listeners: 127.0.0.1:%d is none of filter_spamd_listeners" % SPAMD in p.stdout
