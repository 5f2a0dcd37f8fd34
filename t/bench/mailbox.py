"""One large folder, operation by operation, beside Debian's Dovecot: the same messages (mkmail.c), the same client, the same run, in turns.

  BENCH_SIZES   messages in the folder (default 10000); 100000,300000 are the sizes that the goals are stated for
  BENCH_ROWS    groups of rows: select fetch search sort store append download pop3 idle (default all)
  BENCH_REPEAT  how often what can be repeated is repeated (default 5; the median counts)

Both servers have hard links to the same files, owned by the same uid, so the page cache is the same for both. What a row needs "without index" is
taken after the server's files in the folder were removed. CPU is the servers' (control group), not the client's. A row shows Dovecot's time, ours, the ratio,
and the ratio that is to be reached."""
import os
import statistics

import mailrows
from mailboxes import make_boxes
from mailclient import Missing
from peers import header, row

SIZES = [int(n) for n in os.environ.get("BENCH_SIZES", "10000").split(",")]
ROWS = os.environ.get("BENCH_ROWS", "select fetch search sort store append download pop3 idle").split()


class Table:
    def __init__(self, boxes, count):
        self.boxes, self.count = boxes, count
        header("%d messages" % count, "operation", "dovecot ms", "ours ms", "ratio", "to reach", "CPU ms dovecot", "CPU ms ours", "more")

    def put(self, name, reach, work, repeat=1, more=""):
        """work(box) -> seconds or (seconds, note); the servers in turn."""
        got, cpu, notes = ([], []), ([], []), ["", ""]
        try:
            for _round in range(repeat):
                for k, box in enumerate(self.boxes):
                    before, group = box.peer.group.cpu(), box.peer.group
                    t = work(box)
                    if isinstance(t, tuple):
                        t, notes[k] = t
                    got[k].append(t * 1000)
                    cpu[k].append((box.peer.group.cpu() - (before if box.peer.group is group else 0)) * 1000)
        except Missing as e:
            row(name, "", "", "", reach, "", "", "not there: %s" % e)
            return
        except EOFError:
            row(name, "", "", "", reach, "", "", "%s ended the connection" % box.peer.name)
            return
        theirs, ours = statistics.median(got[0]), statistics.median(got[1])
        note = more or (" / ".join(str(n) for n in notes) if any(notes) else "")
        row(name, theirs, ours, "%.1f%s" % (theirs / ours, "" if theirs / ours >= reach else " <"), reach, statistics.median(cpu[0]), statistics.median(cpu[1]), note)


def main():
    for count in SIZES:
        boxes = make_boxes(count)
        for box in boxes:
            box.start()
        try:
            t = Table(boxes, count)
            for name in ROWS:
                getattr(mailrows, "rows_" + name)(t)
        finally:
            for box in boxes:
                box.stop()
