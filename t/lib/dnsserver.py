"""A DNS server for tests: UDP and TCP on one port of 127.0.0.1, answers from a dictionary, misbehaves on request. The standard library only.

    dns = dnsserver.Server()
    dns.add("example.org", "MX", "10 mx.example.org")
    suite settings: {"dns_servers": dns.address}

Names that were not added do not exist (NXDOMAIN); a name with other types has no data. Special values of a name (type "*"): SERVFAIL, REFUSED, DROP (never
answers), TRUNCATE (over UDP), or bytes: sent as they are, but for the id. dns.asked lists (name, type) as they came."""
import errno
import ipaddress
import socketserver
import struct
import threading

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "TLSA": 52}
NAMES = {v: k for k, v in TYPES.items()}
RCODES = {"SERVFAIL": 2, "REFUSED": 5}


def wire_name(text):
    text = text.rstrip(".")
    return b"".join(bytes([len(p)]) + p.encode("latin-1") for p in text.split(".") if p) + b"\0"


def wire_data(kind, value):
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(value).packed
    if kind in ("NS", "CNAME", "PTR"):
        return wire_name(value)
    if kind == "MX":
        pref, host = value.split()
        return struct.pack(">H", int(pref)) + wire_name(host)
    if kind == "TXT":
        raw = value.encode("latin-1")
        return b"".join(bytes([len(raw[i:i + 255])]) + raw[i:i + 255] for i in range(0, max(len(raw), 1), 255))
    if kind == "SRV":
        *numbers, host = value.split()
        return struct.pack(">HHH", *map(int, numbers)) + wire_name(host)
    if kind == "TLSA":
        *numbers, data = value.split()
        return bytes(map(int, numbers)) + bytes.fromhex(data)
    raise ValueError(kind)


def reverse(address):
    return ipaddress.ip_address(address).reverse_pointer


class Server:
    def __init__(self, address="127.0.0.1", port=0, ttl=300):
        self.zone, self.asked, self.ttl, self.ad = {}, [], ttl, False
        outer = self

        class Udp(socketserver.BaseRequestHandler):
            def handle(self):
                answer = outer.answer(self.request[0], False)
                if answer:
                    self.request[1].sendto(answer, self.client_address)

        class Tcp(socketserver.StreamRequestHandler):
            def handle(self):
                while True:
                    n = self.rfile.read(2)
                    if len(n) < 2:
                        return
                    answer = outer.answer(self.rfile.read(struct.unpack(">H", n)[0]), True)
                    if answer:
                        self.wfile.write(struct.pack(">H", len(answer)) + answer)

        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self.servers = self.pair(address, port, Udp, Tcp)
        self.port = self.servers[0].server_address[1]
        self.address = "%s:%d" % (address, self.port)
        for s in self.servers:
            s.daemon_threads = True
            threading.Thread(target=s.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @staticmethod
    def pair(address, port, udp, tcp):
        """The two servers on one port. What the kernel gives for UDP may be a
        connection's on TCP: then another is asked for."""
        while True:
            first = socketserver.ThreadingUDPServer((address, port), udp)
            try:
                return [first, socketserver.ThreadingTCPServer(first.server_address, tcp)]
            except OSError as e:
                first.server_close()
                if port or e.errno != errno.EADDRINUSE:
                    raise

    def add(self, name, kind, *values, ttl=None):
        """Add records (or a special value with kind "*")."""
        self.zone.setdefault(name.lower().rstrip("."), {}).setdefault(kind, []).extend((v, ttl) for v in values)
        return self

    def host(self, name, *addresses):
        """A host as it should be: forward and reverse."""
        for a in addresses:
            self.add(name, "AAAA" if ":" in a else "A", a)
            self.add(reverse(a), "PTR", name)
        return self

    def remove(self, name):
        self.zone.pop(name.lower().rstrip("."), None)

    def close(self):
        for s in self.servers:
            s.shutdown()
            s.server_close()

    def answer(self, packet, tcp):
        if len(packet) < 12:
            return None
        at, labels = 12, []
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]])
            at += 1 + packet[at]
        kind_number = struct.unpack(">H", packet[at + 1:at + 3])[0]
        question, kind = packet[12:at + 5], NAMES.get(kind_number, str(kind_number))
        name = b".".join(labels).decode("latin-1").lower()
        self.asked.append((name, kind))
        special = self.zone.get(name, {}).get("*", [("", None)])[0][0]
        if special == "DROP":
            return None
        if isinstance(special, bytes):
            return packet[:2] + special
        if special in RCODES or (special == "TRUNCATE" and not tcp):
            flags = 0x8180 | RCODES.get(special, 0) | (0x0200 if special == "TRUNCATE" else 0)
            return packet[:2] + struct.pack(">HHHHH", flags, 1, 0, 0, 0) + question
        records = []
        for _ in range(8):
            here = self.zone.get(name, {})
            found = here.get(kind) or here.get("CNAME") or []
            used = kind if here.get(kind) else "CNAME"
            for value, ttl in found:
                data = wire_data(used, value)
                records.append(wire_name(name) + struct.pack(">HHIH", TYPES[used], 1, self.ttl if ttl is None else ttl, len(data)) + data)
            if used != "CNAME" or kind == "CNAME" or not found:
                break
            name = found[0][0].lower().rstrip(".")
        known = name in self.zone or any(z.endswith("." + name) for z in self.zone)
        flags = 0x8180 | (0 if known else 3) | (0x20 if self.ad else 0)
        return packet[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + question + b"".join(records)


if __name__ == "__main__":
    print(Server(port=5353).address)
    threading.Event().wait()
