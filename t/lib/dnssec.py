"""Real name service for tests: Debian's knot as the server of signed and unsigned zones, Debian's unbound as the resolver that validates them.

    names = dnssec.Service(scratch, signed={"a.example": "records"}, unsigned={…}, broken={…})
    suite settings: {"dns_servers": names.address}

Records are lines of a zone file; "@" is the zone. A broken zone is signed with keys that the resolver was told to be others. "Not on this machine" is
dnssec.MISSING: why these tests cannot run, or None."""
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import time

NEEDED = ("knotd", "keymgr", "unbound")
MISSING = next(("%s is not installed (t/deps check)" % n for n in NEEDED if not shutil.which(n)), None)
SERVER, RESOLVER = "127.0.9.63", "127.0.9.64"
HEAD = "$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A %s\n" % SERVER
OTHER_KEY = "31589 13 2 CDE0D742D6998AA554A92D890F8184C698CFAC8A26FA59875A990C03E576343C"


def answers(address, name, seconds=30):
    """Wait until the server there says something other than SERVFAIL about name."""
    packet = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + struct.pack("!BHH", 0, 6, 1)
    end = time.monotonic() + seconds
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(1)
            s.connect((address, 53))
            try:
                s.send(packet)
                if s.recv(4096)[3] & 15 == 0:
                    return
            except OSError:
                pass
        assert time.monotonic() < end, "%s does not answer for %s" % (address, name)
        time.sleep(0.05)


class Service:
    def __init__(self, scratch, signed=None, unsigned=None, broken=None):
        self.base, self.address = pathlib.Path(scratch), "%s:53" % RESOLVER
        self.signed, self.unsigned, self.broken = signed or {}, unsigned or {}, broken or {}
        for d in ("run", "db"):
            (self.base / d).mkdir(parents=True)
        self.processes = []
        self.serve()
        self.resolve()

    def zones(self):
        return {**self.signed, **self.unsigned, **self.broken}

    def run(self, *argv):
        log = open(self.base / "log", "ab")
        self.processes.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        log.close()

    def serve(self):
        text = ("server:\n  listen: %s@53\n  rundir: %s/run\n  user: root:root\ndatabase:\n  storage: %s/db\nlog:\n  - target: stderr\n    any: info\n"
                "policy:\n  - id: p\n    algorithm: ecdsap256sha256\nzone:\n" % (SERVER, self.base, self.base))
        for zone, records in self.zones().items():
            (self.base / zone).write_text(HEAD + records)
            text += "  - domain: %s\n    file: %s/%s\n    zonefile-sync: -1\n" % (zone, self.base, zone)
            text += "" if zone in self.unsigned else "    dnssec-signing: on\n    dnssec-policy: p\n"
        (self.base / "knot.conf").write_text(text)
        self.run("knotd", "-c", str(self.base / "knot.conf"))
        for zone in self.zones():
            answers(SERVER, zone)

    def anchor(self, zone):
        """The key of a zone as one above it would name it."""
        out = subprocess.run(["keymgr", "-c", str(self.base / "knot.conf"), zone, "ds"], stdout=subprocess.PIPE, check=True).stdout.decode()
        return re.search(r"DS (\d+ 13 2 [0-9a-fA-F]+)", out).group(1)

    def resolve(self):
        text = ("server:\n  interface: %s\n  do-daemonize: no\n  username: \"\"\n  chroot: \"\"\n  directory: %s\n  pidfile: \"\"\n  use-syslog: no\n  verbosity: 1\n"
                "  do-not-query-localhost: no\n  access-control: 127.0.0.0/8 allow\n  module-config: \"validator iterator\"\n" % (RESOLVER, self.base))
        for zone in self.signed:
            text += '  trust-anchor: "%s. DS %s"\n' % (zone, self.anchor(zone))
        for zone in self.broken:
            text += '  trust-anchor: "%s. DS %s"\n' % (zone, OTHER_KEY)
        for zone in self.zones():
            text += "stub-zone:\n  name: %s\n  stub-addr: %s\n" % (zone, SERVER)
        (self.base / "unbound.conf").write_text(text + "remote-control:\n  control-enable: no\n")
        self.run("unbound", "-c", str(self.base / "unbound.conf"))
        for zone in {**self.signed, **self.unsigned}:
            answers(RESOLVER, zone)

    def close(self):
        for p in self.processes:
            p.terminate()
        for p in self.processes:
            p.wait()
