"""SORT and THREAD of random mail against a plain model (threadmodel.py): every criterion in both directions, several at once, all algorithms."""
import email.header
import email.utils
import random
import re

import pytest

from imapmessages import crlf
from threadmodel import base_subject, collated, ordered_subject, references, refs

BASES = ["apple", "banana split", "banana splitter", "cherry [x] pie", "\u00e4pfel", "", "[only a list]", "Re", "fwd", "[fwd: x] y"]
FRAMES = ["%s", "%s", "%s", "Re: %s", "RE[2]: %s", "re : %s", "Fwd: %s", "fw: Re: %s", "[list] %s", "[list] Re: %s", "Re: [list] [tag] re: %s", "%s (fwd)", "%s (FWD) (fwd) ",
          "[Fwd: %s]", "[Fwd: Re: %s (fwd)]", "Re: [FWD: [list] %s]", "  %s", "Re:%s", "[a][b] %s", "[a Re: %s"]
# header, the first address' mailbox, what is shown of it
ADDRESSES = [("ann@x.example", "ann", "ann@x.example"), ('"Zed" <bob@x.example>', "bob", "Zed"), ("=?utf-8?q?=C3=84nne?= <carl@x.example>", "carl", "\u00c4nne"),
             ("ANN@y.example, zed@x.example", "ANN", "ANN@y.example"), ('"" <dora@x.example>', "dora", "dora@x.example"), ("Eve E. <eve@x.example>", "eve", "Eve E."),
             ("team: ann@x.example, bob@x.example;", "team", "team"), (None, "", "")]
CRITERIA = ["ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO"]
ZONES = [0, 3600, -8 * 3600, 5 * 3600 + 1800]


def stamp(seconds, zone):
    at = email.utils.formatdate(seconds + zone).rsplit(" ", 1)[0]
    return "%s %s%02d%02d" % (at, "-" if zone < 0 else "+", abs(zone) // 3600, abs(zone) % 3600 // 60)


def internal(seconds):
    day, month, year, clock = stamp(seconds, 0).split(", ")[1].split(" ")[:4]
    return "%s-%s-%s %s +0000" % (day, month, year, clock)


class Mail:
    """One random message and what is to be known of it."""

    def __init__(self, rng):
        day = 86400 * 9000
        self.arrival = day + rng.randrange(20) * 7200
        sent = rng.choice([None, day + rng.randrange(12) * 3600, day + rng.randrange(12) * 3600])
        subject = rng.choice(FRAMES) % rng.choice(BASES)
        head = [] if sent is None else ["Date: " + stamp(sent, rng.choice(ZONES))]
        self.row = {"ARRIVAL": self.arrival, "DATE": self.arrival if sent is None else sent}
        self.row["id"] = "m%d" % rng.randrange(60)
        self.row["refs"] = ["m%d" % rng.randrange(60) for _ in range(rng.choice((0, 0, 1, 2, 4)))]
        if rng.random() < 0.9:
            head.append("Subject: " + self.written(rng, subject))
        else:
            subject = ""
        base, self.row["reply"] = base_subject(subject)
        self.row["SUBJECT"] = collated(base)
        for name in ("From", "To", "Cc"):
            header, mailbox, shown = rng.choice(ADDRESSES)
            if header is not None:
                head.append("%s: %s" % (name, header))
            self.row[name.upper()] = collated(mailbox)
            self.row["DISPLAY" + name.upper()] = collated(shown)
        head.append("Message-ID: <%s@h>" % self.row["id"])
        if self.row["refs"] and (len(self.row["refs"]) > 1 or rng.random() < 0.5):
            head.append("References: " + " ".join("<%s@h>" % r for r in self.row["refs"]))
        elif self.row["refs"]:
            head.append("In-Reply-To: <%s@h>" % self.row["refs"][0])
        rng.shuffle(head)
        self.text = crlf("\n".join(head) + "\n\n" + "x" * rng.choice((1, 1, 50, 300)) + "\n")
        self.row["SIZE"] = len(self.text)

    @staticmethod
    def written(rng, subject):
        if any(ord(ch) > 127 for ch in subject) or rng.random() < 0.1:
            return email.header.Header(subject, "utf-8", maxlinelen=1000).encode()
        return subject.replace(" ", rng.choice([" ", " ", "  ", "\n\t"]), 1).lstrip("\n") if subject.strip() else subject


def answer(c, command, verb):
    got = [l.decode() for l in c.ok(command) if l.startswith(b"* " + verb.encode())]
    assert len(got) == 1, got
    return got[0][len("* " + verb):].strip()


def by_criteria(rows, criteria):
    """Equals stay in the order of their numbers, in a reverse order, too."""
    found = list(enumerate(rows, 1))
    for name in reversed(criteria):
        found.sort(key=lambda r: r[1][name.replace("REVERSE ", "")], reverse=name.startswith("REVERSE "))
    return " ".join(str(seq) for seq, _ in found)


@pytest.mark.parametrize("seed", range(4))
def test_random_mail(imap, folder, seed):
    rng, c = random.Random(1000 + seed), imap()
    mails = [Mail(rng) for _ in range(120)]
    for m in mails:
        c.append(folder, m.text, '"%s" ' % internal(m.arrival))
    c.ok("SELECT " + folder)
    rows = [m.row for m in mails]
    cases = [[way + name] for name in CRITERIA for way in ("", "REVERSE ")]
    cases += [[rng.choice(("", "REVERSE ")) + name for name in rng.sample(CRITERIA, rng.randrange(2, 5))] for _ in range(30)]
    for criteria in cases:
        assert answer(c, "SORT (%s) UTF-8 ALL" % " ".join(criteria), "SORT") == by_criteria(rows, criteria), criteria
    for algorithm, model in (("ORDEREDSUBJECT", ordered_subject), ("REFERENCES", references), ("REFS", refs)):
        assert answer(c, "THREAD %s UTF-8 ALL" % algorithm, "THREAD") == model(rows), algorithm
        part = sorted(rng.sample(range(1, len(rows) + 1), 40))
        renumbered = model([rows[n - 1] for n in part])
        want = re.sub(r"\d+", lambda m: str(part[int(m.group()) - 1]), renumbered)
        assert answer(c, "THREAD %s UTF-8 %s" % (algorithm, ",".join(map(str, part))), "THREAD") == want, (algorithm, part)


@pytest.mark.parametrize("text, base", [
    ("Re: [list] a (fwd)", ("a", True)), ("[Fwd: Re: a]", ("a", True)), ("[list] a", ("a", False)), ("[list]", ("[list]", False)), ("Re[2]: a", ("a", True)), ("Real", ("Real", False)),
    ("Re:", ("", True)), ("a [list]", ("a [list]", False)), ("[fwd: x] y", ("y", False)),
])
def test_the_model_itself(text, base):
    assert base_subject(text) == base
