"""One large folder, operation by operation, beside Debian's Dovecot: the same messages (mkmail.c), the same client, the same run, in turns.

  BENCH_SIZES   messages in the folder (default 10000); 100000,300000 are the sizes that the goals are stated for
  BENCH_ROWS    groups of rows: select fetch search sort store append download pop3 idle (default all)
  BENCH_REPEAT  how often each row is repeated (default 5; the median counts)

Both servers have hard links to the same files, owned by the same uid, so the page cache is the same for both. Rows named "no index" and "first" begin each time
with a server that was started anew after its files in the folder were removed; the latter after one SELECT, so that there is a list of the messages and nothing
else. What a row takes from the folder is put back, and what it makes has a name that is new. Before a row that waits for the disk, what was written before it is
synced. CPU is the servers' (control group), not the client's; preparing is not in it. A row shows Dovecot's time, ours, the ratio, and the ratio that is to be
reached."""
import math
import os
import statistics

import mailrows
from mailboxes import make_boxes
from mailclient import Missing
from peers import header, row

SIZES = [int(n) for n in os.environ.get("BENCH_SIZES", "10000").split(",")]
ROWS = os.environ.get("BENCH_ROWS", "select fetch search sort store append download pop3 idle").split()
REPEAT = int(os.environ.get("BENCH_REPEAT", "5"))


class Result:
    """What one server's turns at a row gave."""

    def __init__(self):
        self.ms, self.cpu, self.note, self.gone = [], [], "", None

    def take(self, box, work):
        cpu = box.peer.group.cpu()
        try:
            seconds = work(box)
        except Missing as e:
            self.gone = "not there: %s" % e
            return
        except EOFError:
            self.gone = "ended the connection"
            return
        if isinstance(seconds, tuple):
            seconds, self.note = seconds
        self.ms.append(seconds * 1000)
        self.cpu.append((box.peer.group.cpu() - cpu) * 1000)

    def median(self):
        return math.nan if self.gone or not self.ms else statistics.median(self.ms)


def cell(number):
    return "" if math.isnan(number) else number


class Table:
    def __init__(self, boxes, count, repeat):
        self.boxes, self.count, self.repeat = boxes, count, repeat
        names = [box.peer.name for box in boxes]
        header("%d messages" % count, "operation", *["%s ms" % n for n in names], "ratio", "to reach", *["CPU ms " + n for n in names], "more")

    def put(self, name, reach, work, prepare=None, warm=False, disk=False, repeat=None):
        """A row: work(box) -> seconds or (seconds, note), the servers in turn. prepare(box) goes before each and is not counted. warm: the first time is not
        counted either. disk: what is on its way to the disk is there before each, as it is after each prepare: no server waits for what another wrote."""
        results = [Result() for _box in self.boxes]
        for turn in range(-1 if warm else 0, repeat or self.repeat):
            for box, result in zip(self.boxes, results):
                if result.gone:
                    continue
                if prepare:
                    prepare(box)
                if prepare or disk:
                    os.sync()
                (result if turn >= 0 else Result()).take(box, work)
        theirs, ours = results[0].median(), results[-1].median()
        ratio = "" if math.isnan(theirs / ours) else "%.1f%s" % (theirs / ours, "" if theirs / ours >= reach else " <")
        notes = [r.gone or str(r.note) for r in results]
        row(name, *[cell(r.median()) for r in results], ratio, reach, *[statistics.median(r.cpu) if r.cpu else "" for r in results],
            " / ".join(notes) if any(notes) else "")


def main():
    for count in SIZES:
        boxes = make_boxes(count)
        for box in boxes:
            box.start()
        try:
            os.sync()       # what mkmail wrote
            t = Table(boxes, count, REPEAT)
            for name in ROWS:
                getattr(mailrows, "rows_" + name)(t)
        finally:
            for box in boxes:
                box.stop()
