"""The schedule: windows of destinations, shares between them, a long queue's memory. Receivers and name server of this test."""
import pathlib
import re
import struct
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import suite as suite_module  # noqa: E402
from test_routes import Scene, mx  # noqa: E402

LOAD = suite_module.ROOT / "build" / "dev" / "x" / "load"
SINK = LOAD.parent / "sink"
LONG = 5000


def wait(what, timeout=30):
    end = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def scene():
    s = Scene(initial_destination_concurrency="2", default_destination_concurrency_limit="3", smtp_connection_cache_on_demand="no")
    yield s.start()
    s.close()


def test_a_backlog_for_one_domain_holds_up_no_other(scene):
    mx(scene, "slow.example", (10, 101))
    mx(scene, "fast.example", (10, 102))
    slow, fast = scene.sink(101, delay=0.3), scene.sink(102)
    for _ in range(20):
        scene.send("a@slow.example")
    scene.log(scene.send("a@fast.example"), "status=sent")
    assert fast.messages and len(slow.messages) < 20, "the others still wait"
    slow.delay = 0
    slow.wait(20)
    assert slow.most <= 3, "no more at once than the limit"


def test_a_pile_of_old_mail_holds_up_no_new(scene):
    """Of one domain: fresh mail goes before what was tried already, which still has its share."""
    mx(scene, "pile.example", (10, 106))
    sink = scene.sink(106)
    sink.refuse["RCPT"] = "450 4.2.0 not now"
    old = [scene.send("old@pile.example") for _ in range(30)]
    for qid in old:
        scene.log(qid, "status=deferred")
    scene.suite.tool("postern-queue", "hold", *old)
    sink.refuse.clear()
    sink.gate = threading.Event()
    scene.suite.tool("postern-queue", "release", *old)      # all are due at once
    wait(lambda: sink.now > 0)
    for _ in range(3):
        scene.send("fresh@pile.example")
    sink.gate.set()
    sink.wait(33)
    order = ["fresh@" in m[0][1] for m in sink.messages]
    assert sum(order[:25]) == 3, order


def test_domains_with_one_exchanger_share_its_limit(scene):
    for d in ("one.example", "two.example", "three.example"):
        scene.dns.add(d, "MX", "10 mx.shared.example")
    scene.dns.add("mx.shared.example", "A", "127.0.60.103")
    sink = scene.sink(103)
    for d in ("one.example", "two.example", "three.example"):       # what they share is learnt from the first answers
        scene.log(scene.send("a@" + d), "status=sent")
    sink.most, sink.delay = 0, 0.2
    for i in range(18):
        scene.send("a@%s.example" % ("one", "two", "three")[i % 3])
    sink.delay = 0.05
    sink.wait(21)
    assert sink.most <= 3


def test_flush_by_domain_and_requeue(scene):
    mx(scene, "later.example", (10, 104))
    mx(scene, "other.example", (10, 105))
    later, other = scene.sink(104), scene.sink(105)
    later.refuse["RCPT"] = other.refuse["RCPT"] = "450 4.2.0 not now"
    scene.suite.settings.update(minimal_backoff_time="3600s", maximal_backoff_time="4000s")
    scene.suite.configure()
    scene.suite.stop()
    scene.suite.start()
    first, second = scene.send("a@later.example"), scene.send("a@other.example", "b@later.example")
    scene.log(first, "status=deferred")
    scene.log(second, "to=<a@other.*status=deferred")
    later.refuse.clear()
    scene.suite.tool("postern-queue", "flush-domain", "later.example")
    scene.log(first, "status=sent")
    scene.log(second, "to=<b@later.*status=sent")
    other.refuse.clear()
    scene.suite.tool("postern-queue", "requeue", second)
    scene.log(second, "to=<a@other.*status=sent")
    scene.log(second, "removed$")
    assert len(later.messages) == 2 and len(other.messages) == 1


def test_a_stop_lets_end_what_is_under_way(scene):
    """What a receiver is about to take is waited for, and the parts that serve the queue end after it: what they did is noted, not done again."""
    mx(scene, "held.example", (10, 107))
    held = scene.sink(107)
    held.gate = threading.Event()
    qid = scene.send("a@held.example")
    wait(lambda: held.now == 1)
    seen = len(scene.suite.log.read_text(errors="replace"))
    threading.Timer(1, held.gate.set).start()
    scene.suite.stop()
    said = scene.suite.log.read_text(errors="replace")[seen:]
    assert re.search(" %s: to=<a@held.*status=sent" % qid, said) and " %s: removed" % qid in said, said
    assert "the peer has closed" not in said
    scene.suite.start()
    scene.suite.tool("postern-queue", "flush")
    scene.log(scene.send("b@held.example"), "status=sent")
    assert len(held.messages) == 2


def private_kb(suite):
    """Of the process that holds the queue."""
    parent = int((suite.run_dir / "queued.pid").read_text())
    for p in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (p / "cmdline").read_bytes().startswith(b"queued: queue") and re.search(r"^PPid:\s+%d$" % parent, (p / "status").read_text(), re.M):
                text = (p / "smaps_rollup").read_text()
                return sum(int(n) for n in re.findall(r"^Private_\w+:\s+(\d+)", text, re.M))
        except OSError:
            pass
    raise AssertionError("queued is not there")


@pytest.mark.skipif(not LOAD.exists(), reason="make tools")
def test_a_long_queue_is_small_in_memory_and_leaves_whole(fresh_suite):
    """100,000 messages may use 60 MB: 5,000 a twentieth, beside what an empty queue uses."""
    from smtpsink import Sink
    suite = fresh_suite("long", settings={"mynetworks": "127.0.0.0/8", "filter_enable": "no", "relayhost": "[127.0.62.1]:25", "minimal_backoff_time": "3600s",
                                          "maximal_backoff_time": "4000s", "client_connection_count_limit": "1000"})
    empty = private_kb(suite)
    p = subprocess.run([str(LOAD), "smtp", suite.host, "25", "20", str(LONG), "500", "10", "d#.example", "250"], stdout=subprocess.PIPE, timeout=120)
    assert b"done %d " % LONG in p.stdout and b"errors 0" in p.stdout
    suite.stop()
    suite.start()
    wait(lambda: "%d messages in the queue" % LONG in suite.log.read_text(errors="replace"))
    grown = private_kb(suite) - empty
    assert grown > 100, "it is looked at the right process"
    assert grown < 60 * 1024 * LONG // 100000 + 1024, "%d KB more for %d messages" % (grown, LONG)
    sink = Sink("127.0.62.1", 25)
    suite.tool("postern-queue", "flush")
    sink.wait(LONG, 90)
    wait(lambda: suite.log.read_text(errors="replace").count(": removed") >= LONG)
    assert len(sink.messages) == LONG and not list((suite.spool / "queue").iterdir()), "each once, and nothing is left"
    sink.close()


@pytest.mark.skipif(not SINK.exists(), reason="make tools")
def test_many_destinations_at_once(fresh_suite, tmp_path):
    """More tries start at once than a channel lets wait by itself: the parts of the group take what the others' limits allow."""
    n, destinations, count = 1500, 150, tmp_path / "count"
    suite = fresh_suite("many", start=False, settings={"mynetworks": "127.0.0.0/8", "filter_enable": "no", "minimal_backoff_time": "3600s",
                                                       "maximal_backoff_time": "4000s", "client_connection_count_limit": "1000"})
    maps = suite.base / "etc" / "transport"
    maps.write_text("".join("d%d.example smtp:[127.0.66.%d]\n" % (i, i + 1) for i in range(destinations)))
    with open(suite.conf, "a") as f:
        f.write("transport_maps = texthash:%s\n" % maps)
    suite.start()
    p = subprocess.run([str(LOAD), "smtp", suite.host, "25", "20", str(n), "500", str(destinations), "d#.example", "100"], stdout=subprocess.PIPE, timeout=120)
    assert b"done %d " % n in p.stdout and b"errors 0" in p.stdout
    wait(lambda: not re.search(r"^[0-9A-Z]{10,}\*", suite.tool("postern-queue", "list").stdout.decode(), re.M), 60)
    sink = subprocess.Popen([str(SINK), str(count), "0", "25", "127.0.66.1", str(destinations)], stdout=subprocess.PIPE)
    try:
        assert sink.stdout.readline() == b"ready\n"
        suite.tool("postern-queue", "flush")
        wait(lambda: struct.unpack("=Q", count.read_bytes())[0] >= n, 60)
        wait(lambda: not list((suite.spool / "queue").iterdir()))
        assert "has gone" not in suite.log.read_text(errors="replace"), "no part of the group ended"
    finally:
        sink.terminate()
        sink.wait()
