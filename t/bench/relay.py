"""Relaying beside Postfix, and the queue itself.

  relay    mail from local clients to one and to a hundred other servers, which answer at once, or each time after 200 ms
  drain    a queue of QUEUE_SMALL and of QUEUE_LARGE messages, made while the receivers are down: time of a start with it, memory, rate at which it leaves

The receivers are one process (t/bench/sink.c) on 127.0.70.N; names come from dnsmasq, without MX records, for both servers alike."""
import os
import pathlib
import re
import struct
import subprocess
import time

import suite as lib
from peers import SCRATCH, Postern, Postfix, header, row

BIN = lib.ROOT / "build" / "release" / "x"
FIRST, DESTINATIONS, DELAY_MS = "127.0.70.1", 100, 200
ZONE = "relay.test"
# destinations, milliseconds that each answer takes, sessions, messages as a share
ROWS = [(1, 0, 20, 2), (100, 0, 20, 2), (1, DELAY_MS, 20, 1), (100, DELAY_MS, 20, 2)]
WANT = 3
QUEUE_SMALL = int(os.environ.get("BENCH_QUEUE_SMALL", "1000"))
QUEUE_LARGE = int(os.environ.get("BENCH_QUEUE_LARGE", "100000"))


class Names:
    """dnsmasq: dN.relay.test is 127.0.70.(N+1)."""

    def __enter__(self):
        hosts = SCRATCH / "hosts.relay"
        hosts.write_text("".join("127.0.70.%d d%d.%s\n" % (n + 1, n, ZONE) for n in range(DESTINATIONS)))
        pathlib.Path("/etc/resolv.conf").write_text("nameserver 127.0.0.9\n")
        self.p = subprocess.Popen(["dnsmasq", "-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--addn-hosts=%s" % hosts, "--listen-address=127.0.0.9",
                                   "--bind-interfaces", "--local=/%s/" % ZONE, "--user=root", "--pid-file=", "--cache-size=1000"])
        return self

    def __exit__(self, *why):
        self.p.terminate()
        self.p.wait()


class Sink:
    def __init__(self, delay, destinations=DESTINATIONS):
        self.file = SCRATCH / "sink.count"
        self.p = subprocess.Popen([str(BIN / "sink"), str(self.file), str(delay), "25", FIRST, str(destinations)], stdout=subprocess.PIPE)
        assert self.p.stdout.readline() == b"ready\n"

    @property
    def count(self):
        return struct.unpack("=Q", self.file.read_bytes())[0]

    def wait(self, n, seconds=60):
        end = time.monotonic() + seconds
        while self.count < n:
            if time.monotonic() > end:
                raise RuntimeError("only %d of %d messages came" % (self.count, n))
            time.sleep(0.005)

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.p.terminate()
        self.p.wait()


class RelayPostfix(Postfix):
    def start(self):
        super().start()
        etc = SCRATCH / "postfix-spool" / "etc"     # Debian's smtp(8) is in a root of its own
        etc.mkdir(exist_ok=True)
        (etc / "resolv.conf").write_text("nameserver 127.0.0.9\n")
        lib.run(["postconf", "-e", "mynetworks=127.0.0.0/8", "maximal_backoff_time=300s", "smtpd_relay_restrictions=permit_mynetworks,reject"])
        lib.run(["postfix", "reload"])
        time.sleep(0.5)


def postern(**settings):
    return Postern(mynetworks="127.0.0.0/8", dns_servers="127.0.0.9", **settings)


def load(host, port, sessions, messages, destinations, each=20):
    p = subprocess.run([str(BIN / "load"), "smtp", host, str(port), str(sessions), str(messages), "4096", str(destinations), "d#." + ZONE, str(each)],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=900)
    m = re.search(rb"done (\d+) seconds ([\d.]+) errors (\d+)", p.stdout)
    if m is None or int(m.group(3)):
        raise RuntimeError((p.stdout + p.stderr).decode())


def bench_relay(medians, messages):
    header("Relay: 4 KB to other servers", "destinations", "answers after ms", "server", "relayed/s", "CPU ms each", "ratio /s (to reach)")
    with Names():
        peers = [RelayPostfix(), postern()]
        for destinations, delay, sessions, share in ROWS:
            n = max(int(messages * share), 200)

            def work(p):
                with Sink(delay) as sink:
                    load(p.host, p.smtp, 2, 2 * destinations, destinations)     # warm: connections, processes, names
                    sink.wait(2 * destinations)
                    cpu, t0, before = p.group.cpu(), time.monotonic(), sink.count
                    load(p.host, p.smtp, sessions, n, destinations)
                    sink.wait(before + n)
                    return n / (time.monotonic() - t0), (p.group.cpu() - cpu) * 1000 / n
            m = medians(peers, work)
            for p in peers:
                rate, cpu = m[p.name]
                row(destinations, delay, p.name, round(rate, 1), cpu, "%.2f%s" % (rate / m["postfix"][0], " (%d)" % WANT if p.name == "postern" else ""))


def queue_process(p):
    for pid in p.group.pids():
        if pathlib.Path("/proc/%d/cmdline" % pid).read_bytes().startswith(b"queued: queue"):
            return pid
    raise RuntimeError("queued is not there")


def log_time(p, pattern, seconds=60):
    end = time.monotonic() + seconds
    while not re.search(pattern, p.suite.log.read_text(errors="replace")):
        if time.monotonic() > end:
            raise RuntimeError("%s: not in the log" % pattern)
        time.sleep(0.01)


def fill(p, n):
    """n messages that wait for receivers that are down."""
    load(p.host, p.smtp, 50, n, DESTINATIONS, 100)


def bench_drain(medians, messages):
    header("A queue that waited", "messages", "start s", "memory MB (PSS of queued)", "leaves /s")
    with Names():
        for n in (QUEUE_SMALL, QUEUE_LARGE):
            p = postern(minimal_backoff_time="3600s", maximal_backoff_time="4000s", queue_minfree="0")
            p.start()
            fill(p, n)
            p.suite.stop()
            t0 = time.monotonic()
            p.suite.start(preexec=p.group.enter)
            pid = queue_process(p)
            log_time(p, r"\b%d messages in the queue" % n)
            started = time.monotonic() - t0
            pss = int(re.search(r"^Pss:\s+(\d+)", pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text(), re.M).group(1)) / 1024
            with Sink(0) as sink:
                t0 = time.monotonic()
                p.suite.tool("postern-queue", "flush")
                sink.wait(n, 900)
                rate = n / (time.monotonic() - t0)
            row(n, started, pss, round(rate, 1))
            p.stop()
