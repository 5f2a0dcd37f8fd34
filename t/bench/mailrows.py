"""What the mailbox bench measures, in groups: rows_select and so on."""
import os
import re
import socket
import statistics
import threading
import time

from mailclient import USER, Client, Meaningless, Missing, quick, timed
from peers import PASSWORD

ARRIVALS = 10
ENVELOPE = "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)"
HEADERS = "(UID FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM TO CC SUBJECT MESSAGE-ID REFERENCES CONTENT-TYPE)])"


def longest_noop(a, b, command):
    """How long NOOPs of another connection of the user take while a's command runs."""
    worst, over = [0.0], threading.Event()

    def noops():
        while not over.is_set():
            s, _ = timed(lambda: b.cmd("NOOP"))
            worst[0] = max(worst[0], s)
    thread = threading.Thread(target=noops)
    thread.start()
    a.cmd(command)
    over.set()
    thread.join()
    a.close()
    b.close()
    return worst[0]


def wiped(box):
    box.restart(wipe=True)


def forgotten(box):
    box.forget()


def unsearched(box):
    box.unsearched()


def restarted(box):
    box.restart()


def rows_select(t):
    def select(box):
        c = Client(box.peer)
        s, _ = timed(lambda: c.cmd("SELECT INBOX"))
        c.close()
        return s
    t.put("SELECT, no index yet", 4, select, wiped)

    def neighbour(box):
        return longest_noop(Client(box.peer), Client(box.peer), "SELECT INBOX")
    t.put("longest NOOP beside it", 0, neighbour, wiped)
    t.put("SELECT, index there, the user's first connection", 20, select, restarted)
    t.put("SELECT on a new connection, index there", 20, select)

    def page(box):
        def work():
            c = Client(box.peer)
            c.cmd("SELECT INBOX")
            c.cmd("FETCH %d:* %s" % (max(1, t.count - 49), HEADERS))
            return c
        s, c = timed(work)
        c.close()
        return s
    t.put("connect + LOGIN + SELECT + 50 newest headers", 40, page)
    t.put("the same, the user's first connection", 40, page, restarted)


def rows_fetch(t):
    def fetch(what, tls=False):
        def work(box):
            c = box.selected(tls=tls)
            s, got = timed(lambda: c.cmd("FETCH 1:* " + what))
            c.close()
            return s, "%.1f MB" % (got[0] / 1e6)
        return work
    t.put("FETCH 1:* (FLAGS)", 6, fetch("(FLAGS)"))
    t.put("FETCH 1:* ENVELOPE …, first", 5, fetch(ENVELOPE), forgotten)
    t.put("FETCH 1:* ENVELOPE …, later", 12, fetch(ENVELOPE))
    t.put("FETCH 1:* header fields, later", 1, fetch("(UID FLAGS BODY.PEEK[HEADER.FIELDS (DATE FROM TO SUBJECT)])"), warm=True)
    t.put("FETCH 1:* (BODYSTRUCTURE), first", 5, fetch("(BODYSTRUCTURE)"), forgotten)


def hits(answer):
    line = re.search(rb"\* SEARCH[^\r]*", answer)
    return len(re.findall(rb" \d+", line.group())) if line else 0


def search(text):
    def work(box):
        c = box.selected()
        s, got = timed(lambda: c.cmd("SEARCH " + text))
        c.close()
        return s, "%d hits" % hits(got[1])
    return work


def rows_search(t):
    t.put("SEARCH SUBJECT, no index", 5, search("SUBJECT quartalsabschluss"), forgotten)
    t.put("SEARCH SUBJECT, indexed", 30, search("SUBJECT quartalsabschluss"))
    t.put("SEARCH BODY, no index (building it included)", 2, search("BODY zwetschgenkuchen"), unsearched)
    made = " / ".join(s for s in [box.searchable() for box in t.boxes] if s)
    t.put("SEARCH BODY, indexed", 200, search("BODY zwetschgenkuchen"))
    t.put("SEARCH TEXT, indexed", 200, search("TEXT zwetschgenkuchen"))
    t.put("SEARCH TEXT, a word of five letters", 50, search("TEXT tosen"))
    t.put("SEARCH FROM, a common name, indexed", 10, search("FROM partner12.example"), warm=True)
    t.put("SEARCH UNSEEN", 1, search("UNSEEN"))
    sizes = {box.peer.name: "%.1f MB" % (size / 1e6) for box in t.boxes for size in [box.search_bytes()] if size is not None}
    t.line("size of the search index", sizes, "15 %", "of %.1f MB; %s" % (t.mail_bytes / 1e6, made))

    def neighbour(box):
        return longest_noop(box.selected(), box.selected(), "SEARCH BODY nowhere-to-be-found")
    t.put("longest NOOP beside a SEARCH BODY that builds the index", 0, neighbour, wiped)


def rows_sort(t):
    def simple(text):
        def work(box):
            c = box.selected()
            s, got = timed(lambda: c.cmd(text))
            c.close()
            return s, "%.1f MB" % (got[0] / 1e6)
        return work
    def flagged(text):
        """After a flag changed: an answer to the same bytes holds only for who knows that flags do not matter to it."""
        def work(box):
            c = box.selected()
            c.cmd("STORE 1 FLAGS.SILENT ($Bench%d)" % (time.time_ns() % 2))
            c.cmd("STORE 1 FLAGS.SILENT (\\Answered)")
            s, _ = timed(lambda: c.cmd(text))
            c.close()
            return s
        return work
    def grown(text):
        """After a new message came, by another connection: nothing that was answered before is the answer now."""
        def work(box):
            c, other = box.selected(), Client(box.peer)
            mail = b"From: new@bench.example\r\nSubject: new %d\r\nDate: Tue, 8 Feb 2022 10:00:00 +0000\r\n\r\nx\r\n" % time.time_ns()
            other.cmd(b"APPEND INBOX {%d+}\r\n%s" % (len(mail), mail))
            c.cmd("NOOP")
            s, _ = timed(lambda: c.cmd(text))
            c.close()
            other.close()
            return s
        return work
    def process(text):
        """The same in a process that has just begun, all connections of the user having been closed."""
        def work(box):
            c = box.selected()
            mail = b"From: new@bench.example\r\nSubject: new %d\r\nDate: Tue, 8 Feb 2022 10:00:00 +0000\r\n\r\nx\r\n" % time.time_ns()
            c.cmd(b"APPEND INBOX {%d+}\r\n%s" % (len(mail), mail))
            c.close()
            box.quiet()
            c = box.selected()
            s, _ = timed(lambda: c.cmd(text))
            c.close()
            return s
        return work
    for name, reach, text in (("SORT (REVERSE DATE)", 6, "SORT (REVERSE DATE) UTF-8 ALL"), ("SORT (SUBJECT)", 6, "SORT (SUBJECT) UTF-8 ALL"),
                              ("THREAD REFERENCES", 10, "THREAD REFERENCES UTF-8 ALL")):
        t.put(name + ", first", 1, simple(text), forgotten)
        t.put(name + ", later", reach, simple(text))
        t.put(name + ", after a flag changed", reach, flagged(text))
        t.put(name + ", after a new message", reach, grown(text))
        t.put(name + ", after a new message, from a new process", reach, process(text))


def rows_store(t):
    def store(what, undo):
        def work(box):
            c = box.selected()
            s, _ = timed(lambda: c.cmd("STORE " + what))
            c.cmd("STORE " + undo)
            c.close()
            return s
        return work
    t.put("STORE \\Flagged on 1,000", 40, store("1:1000 +FLAGS (\\Flagged)", "1:1000 -FLAGS.SILENT (\\Flagged)"), disk=True)
    t.put("STORE \\Flagged on all", 25, store("1:* +FLAGS (\\Flagged)", "1:* -FLAGS.SILENT (\\Flagged)"), disk=True)

    some = min(1000, t.count)
    step = t.count // some
    scattered = ",".join(str(1 + k * step) for k in range(some))

    def spare(box):
        """Copies of what is to be expunged, which come back afterwards."""
        box.make_folder("Spare")
        c = box.selected()
        c.cmd("COPY %s %s" % (scattered, box.folder))
        c.close()

    def back(box, verb):
        c = box.selected(box.folder)
        c.cmd(verb + " 1:* INBOX")
        c.close()

    def expunge(box):
        c = box.selected()

        def both():
            c.cmd("STORE %s +FLAGS.SILENT (\\Deleted)" % scattered)
            c.cmd("EXPUNGE")
        s, _ = timed(both)
        c.close()
        back(box, "COPY")
        return s
    t.put("1,000 scattered deletes + EXPUNGE", 25, expunge, spare)

    def transfer(verb):
        def work(box):
            c = box.selected()
            s, _ = timed(lambda: c.cmd("%s 1:%d %s" % (verb, some, box.folder)))
            c.close()
            if verb == "MOVE":
                back(box, verb)
            return s
        return work
    t.put("COPY 1,000", 1.5, transfer("COPY"), lambda box: box.make_folder("Copied"))
    t.put("MOVE 1,000", 20, transfer("MOVE"), lambda box: box.make_folder("Moved"))


def rows_append(t):
    text = b"From: a@b.example\r\nSubject: append\r\n\r\n" + b"line of text that fills a message of four kilobytes\r\n" * 76

    def appends(at_once=1, total=1000):
        def work(box):
            c = Client(box.peer)
            one = b"(\\Seen) {%d+}\r\n%s" % (len(text), text)

            def run():
                for _k in range(total // at_once):
                    c.cmd(b"APPEND %s " % box.folder.encode() + b" ".join([one] * at_once))
            s, _ = timed(run)
            c.close()
            return s
        return work

    def row_of(total=1000):
        """Without waiting for answers, as mbsync does."""
        def work(box):
            c = Client(box.peer)
            data = b"".join(b"r%d APPEND %s (\\Seen) {%d+}\r\n%s\r\n" % (k, box.folder.encode(), len(text), text) for k in range(total))

            def run():
                sender = threading.Thread(target=c.sock.sendall, args=(data,))
                sender.start()
                last = c.read_until(b"r%d " % (total - 1))[2]
                sender.join()
                if b" OK" not in last:
                    raise Missing(last[:120].decode("latin-1"))
            s, _ = timed(run)
            c.close()
            return s
        return work

    def empty(box):
        box.make_folder("Empty")

    t.put("APPEND 1,000 x 4 KB, one by one, empty folder", 4, appends(), empty)
    t.put("APPEND 1,000 x 4 KB into a folder of 10,000", 12, appends(), lambda box: box.make_folder("Ten", 10000, t.count))
    t.put("APPEND 1,000 x 4 KB in a row, answers not waited for", 4, row_of(), empty)
    t.put("APPEND 1,000 x 4 KB, MULTIAPPEND by 100", 3, appends(100), empty)


def rows_download(t):
    some = min(10000, t.count)

    def work_of(tls):
        def work(box):
            c = box.selected(tls=tls)
            s, got = timed(lambda: c.cmd("FETCH 1:%d (BODY.PEEK[])" % some))
            c.close()
            return s, "%.0f MB/s" % (got[0] / s / 1e6)
        return work
    t.put("download of {:,} messages, plain".format(some), 1.5, work_of(False))
    t.put("download of {:,} messages, TLS".format(some), 1.3, work_of(True))


def rows_pop3(t):
    def work(box):
        def all_of_it():
            s = socket.create_connection((box.peer.host, 110), timeout=600)

            def hear(end):
                """Not by lines: what the client takes for them would be most of the time."""
                first = last = b""
                while not last.endswith(end):
                    quick(s)
                    got = s.recv(1 << 20)
                    if not got:
                        raise EOFError
                    first, last = first or got, (last + got)[-16:]
                if not first.startswith(b"+OK"):
                    raise Missing(first[:120].decode("latin-1"))

            def say(line, multi=False):
                s.sendall(line + b"\r\n")
                hear(b"\r\n.\r\n" if multi else b"\r\n")
            hear(b"\r\n")
            say(b"USER " + USER.encode())
            say(b"PASS " + PASSWORD.encode())
            say(b"STAT")
            say(b"UIDL", True)
            return s, say
        s, (sock, say) = timed(all_of_it)
        say(b"QUIT")
        sock.close()
        return s

    t.put("POP3 login + STAT + UIDL, no index", 4, work, wiped)
    t.put("POP3 login + STAT + UIDL, later", 20, work)


def rows_idle(t):
    def arrival(box):
        if box.maildir is None:
            raise Meaningless
        c = box.selected()
        times = []
        c.sock.sendall(b"i IDLE\r\n")
        c.read_until(b"+ ")
        owner = (box.maildir / "cur").stat()
        for k in range(ARRIVALS):
            # Dovecot waits for 500 ms from the first change on, its own move to cur included: an arrival within that time is told early.
            time.sleep(1.2 + k % 3 / 10)
            name = "%d.M%06dP9.bench%d" % (time.time(), k, os.getpid())
            tmp = box.maildir / "tmp" / name
            tmp.write_bytes(b"From: a@b.example\nSubject: new\n\nx\n")
            os.chown(tmp, owner.st_uid, owner.st_gid)
            t0 = time.perf_counter()
            os.rename(tmp, box.maildir / "new" / name)
            data = b""
            while b"EXISTS" not in data:
                data = c.sock.recv(65536)
            times.append(time.perf_counter() - t0)
        c.sock.sendall(b"DONE\r\n")
        c.close()
        return statistics.median(times)
    t.put("a file in new/ to EXISTS on an idling client, median of %d" % ARRIVALS, 100, arrival, repeat=1)

    def memory(box):
        c = box.selected(tls=True)      # what a first connection costs is not counted
        time.sleep(1)
        before = box.peer.pss()
        more = [box.selected(tls=True) for _n in range(10)]
        for m in more:
            m.sock.sendall(b"i IDLE\r\n")
            m.read_until(b"+ ")
        time.sleep(2)
        each = (box.peer.pss() - before) / 10
        for m in more:
            m.sock.sendall(b"DONE\r\n")
        for m in more + [c]:
            m.close()
        return each / 1000
    t.put("PSS KB per idle TLS connection, a user with 10 (isolated fronts)", 5, memory, lambda box: box.quiet())
