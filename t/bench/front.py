"""The front of smtpd beside Postfix's: memory of an idle connection, what a fork has to copy, and normal mail while thousands of connections are idle."""
import os
import pathlib
import re
import smtplib
import socket
import time

from peers import DOMAIN, USERS, Postern, Postfix, header, row

IDLE = int(os.environ.get("BENCH_IDLE", "2000"))
MEASURED = int(os.environ.get("BENCH_IDLE_MEASURED", "80"))
SECONDS = 5


class Held:
    """Connections that have said EHLO and then nothing, from many addresses."""

    def __init__(self, host, port, n):
        self.refused = 0
        self.socks = []
        for i in range(n):
            s = socket.create_connection((host, port), timeout=60, source_address=("127.1.%d.%d" % (i // 200, 1 + i % 200), 0))
            if s.recv(1000)[:3] != b"220":
                self.refused += 1
                s.close()
                continue
            s.sendall(b"EHLO idle.test\r\n")
            data = b""
            while b"250 " not in data:
                data += s.recv(4000)
            self.socks.append(s)

    def close(self):
        for s in self.socks:
            s.close()


def private_dirty(pid):
    return int(re.search(r"^Private_Dirty:\s+(\d+)", pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text(), re.M).group(1))


def servers():
    shared = Postern(front_mode="shared")
    shared.name = "postern, shared"
    return [Postfix(), Postern(), shared]


def idle_memory():
    header("Idle SMTP connections: %d" % MEASURED, "server", "PSS KB a connection", "ratio", "dirty KB of the process that forks or serves, before")
    base = None
    for p in servers():
        p.start()
        try:
            Held(p.host, p.smtp, 20).close()
            time.sleep(2)
            warm = [private_dirty(q[0]) for q in p.suite.processes() if q[3].strip() in ("smtpd: template", "smtpd: shared front")] \
                if p.name != "postfix" else ["-"]
            before = p.pss()
            held = Held(p.host, p.smtp, MEASURED)
            time.sleep(3)
            each = (p.pss() - before) / len(held.socks)
            held.close()
        finally:
            p.stop()
        base = base or each
        row(p.name, each, each / base, *warm)


def traffic(p):
    """Mail, one a connection, for some seconds: sent, refused."""
    end, sent, refused = time.monotonic() + SECONDS, 0, 0
    while time.monotonic() < end:
        try:
            with smtplib.SMTP(p.host, p.smtp, timeout=60) as s:
                s.sendmail("s@load.example", ["user%d@%s" % (sent % USERS, DOMAIN)], "Subject: t\r\n\r\nx\r\n")
            sent += 1
        except (smtplib.SMTPException, OSError):
            refused += 1
    return sent, refused


def crowd():
    header("%d idle connections and normal mail" % IDLE, "server", "idle refused", "messages/s without", "messages/s with", "mail refused")
    for p in servers()[1:]:
        p.start()
        try:
            traffic(p)      # warm
            alone, _ = traffic(p)
            held = Held(p.host, p.smtp, IDLE)
            among, refused = traffic(p)
            row(p.name, held.refused, alone / SECONDS, among / SECONDS, refused)
            held.close()
        finally:
            p.stop()


def main():
    idle_memory()
    crowd()
