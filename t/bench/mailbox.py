"""One large folder, operation by operation, beside Debian's Dovecot and Cyrus: the same messages (mkmail.c), the same client, the same run, in turns.

  BENCH_SIZES   messages in the folder (default 10000); 100000,300000 are the sizes that the goals are stated for
  BENCH_ROWS    groups of rows: select fetch search sort store append download pop3 idle (default all)
  BENCH_PEERS   dovecot,cyrus,postern: only these (default all that are installed; one that is missing is said)
  BENCH_REPEAT  how often each row is repeated (default 5; the median counts)

Dovecot and we have hard links to the same files, owned by the same uid, so the page cache is the same for both; Cyrus has copies of its own, with CRLF, since it
knows no maildir. Rows named "no index" and "first" begin each time with a server that was started anew after its files in the folder were removed; the latter
after one SELECT, so that there is a list of the messages and nothing else. What a row takes from the folder is put back, and what it makes has a name that is new.
Before a row that waits for the disk, what was written before it is synced. CPU is the servers' (control group), not the client's; preparing is not in it. A row
shows each server's time, the ratio of Dovecot's to ours, the ratio that is to be reached, and Cyrus's to ours. "-": the server has no such state; "not there": it
refuses, with what it said."""
import os
import statistics

import mailrows
from mailboxes import make_boxes
from mailclient import Meaningless, Missing
from peers import header, row

SIZES = [int(n) for n in os.environ.get("BENCH_SIZES", "10000").split(",")]
ROWS = os.environ.get("BENCH_ROWS", "select fetch search sort store append download pop3 idle").split()
REPEAT = int(os.environ.get("BENCH_REPEAT", "5"))


class Result:
    """What one server's turns at a row gave."""

    def __init__(self):
        self.ms, self.cpu, self.note, self.gone = [], [], "", ""

    def take(self, box, prepare, settle, work):
        """One turn, unless an earlier one failed."""
        if self.gone:
            return
        try:
            if prepare:
                prepare(box)
            if settle:
                os.sync()
            cpu = box.peer.group.cpu()
            seconds = work(box)
        except Meaningless:
            self.gone = "-"
            return
        except Missing as e:
            self.gone, self.note = "not there", str(e)
            return
        except EOFError:
            self.gone, self.note = "ended", "ended the connection"
            return
        if isinstance(seconds, tuple):
            seconds, self.note = seconds
        self.ms.append(seconds * 1000)
        self.cpu.append((box.peer.group.cpu() - cpu) * 1000)

    def cells(self):
        """Its time and its CPU."""
        return (self.gone, self.gone) if self.gone else (statistics.median(self.ms), statistics.median(self.cpu))


class Table:
    """Columns: each server's time; what Dovecot takes of our time and what it is to reach, then the same of others; each server's CPU."""

    def __init__(self, boxes, count, mail_bytes, repeat):
        self.boxes, self.count, self.mail_bytes, self.repeat = boxes, count, mail_bytes, repeat
        self.names = [box.peer.name for box in boxes]
        self.others = [n for n in self.names if n not in ("dovecot", "postern")]
        title = "%d messages" % count
        remarks = [box.remark for box in boxes if box.remark]
        header(title + "".join("\n\n" + r for r in remarks), "operation", *["%s ms" % n for n in self.names], "ratio", "to reach",
               *["ratio to " + n for n in self.others], *["CPU ms " + n for n in self.names], "more")

    def line(self, name, cells, reach, more="", cpu=None):
        """cells, cpu: by a server's name; numbers, or words instead."""
        def ratio(peer):
            a, b = cells.get(peer), cells.get("postern")
            return a / b if isinstance(a, float) and isinstance(b, float) else None
        first = ratio("dovecot")
        row(name, *[cells.get(n, "") for n in self.names], "" if first is None else "%.1f%s" % (first, "" if first >= reach else " <"), reach,
            *["" if ratio(n) is None else "%.1f" % ratio(n) for n in self.others], *[(cpu or {}).get(n, "") for n in self.names], more)

    def put(self, name, reach, work, prepare=None, warm=False, disk=False, repeat=None):
        """A row: work(box) -> seconds or (seconds, note), the servers in turn. prepare(box) goes before each and is not counted. warm: the first time is not
        counted either. disk: what is on its way to the disk is there before each, as it is after each prepare: no server waits for what another wrote."""
        results = {n: Result() for n in self.names}
        settle = disk or prepare is not None
        for turn in range(-1 if warm else 0, repeat or self.repeat):
            for box in self.boxes:
                (results[box.peer.name] if turn >= 0 else Result()).take(box, prepare, settle, work)
        notes = [str(r.note) for r in results.values()]
        self.line(name, {n: r.cells()[0] for n, r in results.items()}, reach, " / ".join(notes) if any(notes) else "",
                  {n: r.cells()[1] for n, r in results.items()})


def main():
    for count in SIZES:
        boxes, mail_bytes = make_boxes(count)
        for box in boxes:
            box.start()
        try:
            os.sync()       # what mkmail wrote
            t = Table(boxes, count, mail_bytes, REPEAT)
            for name in ROWS:
                getattr(mailrows, "rows_" + name)(t)
        finally:
            for box in boxes:
                box.stop()
