"""Two sessions against a simple model of the folder, with kills of the session process in the middle of commands. What was acknowledged holds; what
was in flight happened whole or not at all; and a client that comes back with QRESYNC ends where a client that asks for everything does.

POSTERN_SOAK=n makes n operations (make soak); a few hundred otherwise."""
import os
import random
import re
import signal
import time

import pytest

from imapmessages import numbered
from imapraw import Closed, Imap

ALICE = "alice@example.com"
OPERATIONS = int(os.environ.get("POSTERN_SOAK", "400"))
FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "$Work", "$Home"]


def numbers(text):
    out = []
    for part in text.split(","):
        lo, _, hi = part.partition(":")
        out += range(int(lo), int(hi or lo) + 1)
    return out


def parse_flags(line):
    return frozenset(f for f in re.search(rb"FLAGS \(([^)]*)\)", line).group(1).decode().split() if f != "\\Recent")


class Client:
    """Keeps what it knows over its connections, as a caching client does."""

    def __init__(self, suite, folder):
        self.suite, self.folder = suite, folder
        self.known, self.modseq, self.validity, self.learned = {}, 0, 0, 0
        self.connect()

    def connect(self):
        end = time.monotonic() + 30
        while True:
            try:
                self.c = Imap(self.suite, login=ALICE)
                break
            except (Closed, AssertionError, OSError):
                assert time.monotonic() < end
                time.sleep(0.05)
        self.c.ok("ENABLE QRESYNC")
        if not self.modseq:
            lines = self.c.ok("SELECT " + self.folder)
            self.note(lines)
            self.validity = int(re.search(rb"UIDVALIDITY (\d+)", b"".join(lines)).group(1))
            self.learn()
            return
        lines = self.c.ok("SELECT %s (QRESYNC (%d %d))" % (self.folder, self.validity, self.modseq))
        assert int(re.search(rb"UIDVALIDITY (\d+)", b"".join(lines)).group(1)) == self.validity
        self.note(lines)
        self.new_messages()

    def learn(self):
        self.note(self.c.ok("UID FETCH 1:* (FLAGS)"))

    def note(self, lines):
        for l in lines:
            m = re.match(rb"\* VANISHED (?:\(EARLIER\) )?(\S+)$", l)
            if m:
                for uid in numbers(m.group(1).decode()):
                    self.known.pop(uid, None)
            m = re.search(rb"\[HIGHESTMODSEQ (\d+)\]", l)
            if m:
                self.modseq = max(self.modseq, int(m.group(1)))
            if b" FETCH (" in l and b"FLAGS (" in l:
                self.known[int(re.search(rb"UID (\d+)", l).group(1))] = parse_flags(l)
                m = re.search(rb"MODSEQ \((\d+)\)", l)
                self.seen = max(getattr(self, "seen", 0), int(m.group(1))) if m else 0

    def run(self, text):
        status, line, lines = self.c.cmd(text)
        self.note(lines)
        return status, line, lines

    def new_messages(self):
        """EXISTS says that there is something: a client asks."""
        self.run("NOOP")
        self.run("UID FETCH %d:* (FLAGS)" % (self.learned + 1))
        self.learned = max(self.known, default=self.learned)


class Model:
    def __init__(self):
        self.messages, self.next = {}, 1	# uid: flags

    def copy(self):
        m = Model()
        m.messages, m.next = dict(self.messages), self.next
        return m


def choose(r, model):
    uids = sorted(model.messages)
    some = sorted(r.sample(uids, min(len(uids), r.randint(1, 6)))) if uids else []
    kinds = ["append"] * (6 if len(uids) < 40 else 1) + (["store"] * 6 + ["expunge"] * 3 + ["copy", "move", "search", "replace"] if uids else [])
    return r.choice(kinds), some


def apply(model, op, r):
    """(command, literal, what the model is afterwards, check of the answer)"""
    kind, some = op
    m = model.copy()
    text = ",".join(map(str, some))
    if kind == "append":
        flags = frozenset(r.sample(FLAGS, r.randint(0, 2)))
        m.messages[m.next] = flags
        m.next += 1
        return "APPEND %%s (%s)" % " ".join(flags), True, m
    if kind == "store":
        how, flags = r.choice(["+", "-", ""]), frozenset(r.sample(FLAGS, r.randint(1, 2)))
        for uid in some:
            old = m.messages[uid]
            m.messages[uid] = old | flags if how == "+" else old - flags if how == "-" else flags
        return "UID STORE %s %sFLAGS (%s)" % (text, how, " ".join(flags)), False, m
    if kind == "expunge":		# in two commands; only the second counts
        for uid in some:
            del m.messages[uid]
        return "UID EXPUNGE " + text, False, m
    if kind == "copy":
        for uid in some:
            m.messages[m.next] = m.messages[uid]
            m.next += 1
        return "UID COPY %s %%s" % text, False, m
    if kind == "move":
        for uid in some:
            del m.messages[uid]
        return "UID MOVE %s %%s/other" % text, False, m
    if kind == "replace":
        del m.messages[some[0]]
        m.messages[m.next] = frozenset()
        m.next += 1
        return "UID REPLACE %d %%s" % some[0], True, m
    return "UID SEARCH RETURN (ALL) KEYWORD $Work", False, m


def full_state(suite, folder):
    c = Imap(suite, login=ALICE)
    c.ok("EXAMINE " + folder)
    state = {int(re.search(rb"UID (\d+)", l).group(1)): parse_flags(l) for l in c.ok("UID FETCH 1:* (FLAGS)") if b" FETCH (" in l}
    c.close()
    return state


def session_pids():
    for p in os.listdir("/proc"):
        if p.isdigit():
            try:
                if open("/proc/%s/cmdline" % p).read().startswith("imapd: session " + ALICE):
                    yield int(p)
            except OSError:
                pass


HISTORY = []


def acceptable(state, before, after):
    """After a kill: the messages that were there are as before the command or as after it. New ones, which nobody was promised, may be some of those that
    were to come, without their flags (a file that was complete before its journal entry is found as new mail); but what REPLACE takes away, its
    replacement is there for."""
    old = lambda m: {u: f for u, f in m.items() if u < before.next}
    new, wanted = [f for u, f in sorted(state.items()) if u >= before.next], [f for u, f in sorted(after.messages.items()) if u >= before.next]
    if old(state) not in (old(before.messages), old(after.messages)) or len(new) > len(wanted):
        return False
    if old(state) != old(before.messages) and len(new) < len(wanted):
        return False
    return all(any(f <= w for w in wanted) for f in new)


def one(r, client, model, folder, kill):
    client.run("NOOP")			# it may use what it has been told of
    op = choose(r, model)
    cmd, literal, after = apply(model, op, r)
    cmd = cmd.replace("%s", folder)
    if op[0] == "expunge":		# durable first: the flag is part of what may be seen
        assert client.run("UID STORE %s +FLAGS (\\Deleted)" % ",".join(map(str, op[1])))[0] == "OK"
        for uid in op[1]:
            model.messages[uid] |= {"\\Deleted"}
    body = numbered(r.randint(1, 1000))
    data = "k %s%s\r\n" % (cmd, " {%d+}\r\n%s" % (len(body), body.decode()) if literal else "")
    HISTORY.append((cmd, kill))
    client.c.send(data)
    if kill:
        time.sleep(r.random() * 0.004)
        for pid in session_pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    try:
        status, line, lines = client.c.finish("k")
    except (Closed, OSError):
        return None, after
    client.note(lines)
    assert status == "OK", (cmd, line)
    if op[0] == "search":
        want = [u for u, f in model.messages.items() if "$Work" in f]
        m = re.search(rb"ALL (\S+)", lines[-1])
        assert sorted(numbers(m.group(1).decode()) if m else []) == sorted(want)
    return True, after


def test_two_sessions_and_a_model(suite, imap, folder):
    r = random.Random(OPERATIONS)
    imap().ok("CREATE %s/other" % folder)
    clients, model = [Client(suite, folder), Client(suite, folder)], Model()
    kills = 0
    for n in range(OPERATIONS):
        client = r.choice(clients)
        kill = r.random() < (0.02 if OPERATIONS > 1000 else 0.015)
        done, after = one(r, client, model, folder, kill)
        if done and not kill:
            model = after
        else:
            kills += 1
            for c in clients:
                c.c.close()
                c.connect()
            state = full_state(suite, folder)
            if not acceptable(state, model, after):
                pytest.fail("operation %d: the folder holds %s\n%s\nbefore: %s\nafter: %s\n%s"
                            % (n, state, model.next, model.messages, after.messages, "\n".join(map(str, HISTORY[-40:]))))
            model.messages, model.next = dict(state), max([model.next, after.next] + [u + 1 for u in state])
            if state == after.messages:
                model.next = after.next
            probe = int(re.search(rb"UIDNEXT (\d+)", imap().ok("STATUS %s (UIDNEXT)" % folder)[0]).group(1))
            assert probe >= model.next or probe >= max(state, default=0) + 1
            model.next = probe
        if kill or n % 25 == 0 or n == OPERATIONS - 1:
            for c in clients:
                c.new_messages()
                assert c.known == model.messages, (n, {u for u in set(c.known) ^ set(model.messages)},
                                                  {u: (c.known[u], model.messages[u]) for u in set(c.known) & set(model.messages) if c.known[u] != model.messages[u]})
    assert full_state(suite, folder) == model.messages
    assert kills > 0
    for c in clients:
        c.c.close()
    imap().ok("DELETE %s/other" % folder)
