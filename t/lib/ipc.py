"""The suite's inter-process messages for tests: the tables come from lib/ipc/*.def, so a row added there is known here. Plays any
peer of a channel over a SOCK_SEQPACKET socket.

    auth = ipc.Channel(sock, "auth")
    auth.send("START", id=1, mech="PLAIN", initial=b"\\0joe\\0secret")
    name, id, fields, fd = auth.recv()
"""
import array
import os
import pathlib
import re
import socket
import struct

DEFS = pathlib.Path(__file__).resolve().parent.parent.parent / "lib" / "ipc"
MAGIC, VERSION, PACKET_MAX = b"Pst1", 1, 131072
ROW = re.compile(r"^\s*IPC_(MSG|STR|U64|STRS|END)\((.*?)\)", re.M)


class Closed(Exception):
    """The peer closed the channel."""


def table(channel):
    """{message name: (type, with_fd, {field: (kind, tag, required)})}"""
    out, fields = {}, None
    for kind, args in ROW.findall((DEFS / (channel + ".def")).read_text()):
        a = [x.strip() for x in args.split(",")]
        if kind == "MSG":
            fields = {}
            out[a[1]] = (int(a[2]), a[3] == "IPC_WITH_FD", fields)
        elif kind != "END":
            fields[a[2]] = (kind, int(a[3]), a[-1] == "IPC_REQUIRED")
    return out


def version(channel):
    """What ipc_version() says of the channel: a hash of its rows."""
    text = channel
    for kind, args in ROW.findall((DEFS / (channel + ".def")).read_text()):
        a = [x.strip() for x in args.split(",")]
        if kind == "MSG":
            text += "\n%s %s %d" % (a[1], a[2], ("IPC_NO_FD", "IPC_WITH_FD", "IPC_WITH_FDS").index(a[3]))
        elif kind != "END":
            most = "0" if kind == "U64" else a[4]
            text += "\n\t%s %d %s %d %s" % (a[2], ("STR", "U64", "STRS").index(kind), a[3], a[-1] == "IPC_REQUIRED", most)
    h = 0xcbf29ce484222325
    for b in text.encode():
        h = (h ^ b) * 0x100000001b3 % 2 ** 64
    return h


def reg_version(channel):
    return version("reg") ^ version(channel)


def as_bytes(v):
    return v.encode() if isinstance(v, str) else bytes(v)


def encode(tab, name, /, id=0, **values):
    number, _, fields = tab[name]
    body, count = b"", 0
    for field, (kind, tag, required) in fields.items():
        if field not in values:
            if required:
                raise ValueError("%s needs %s" % (name, field))
            continue
        v = values.pop(field)
        if kind == "U64":
            data = struct.pack("<Q", v)
        elif kind == "STR":
            data = as_bytes(v)
        else:
            data = struct.pack("<I", len(v)) + b"".join(struct.pack("<I", len(as_bytes(s))) + as_bytes(s) for s in v)
        body += struct.pack("<BI", tag, len(data)) + data
        count += 1
    if values:
        raise ValueError("%s has no field %s" % (name, ", ".join(values)))
    return MAGIC + struct.pack("<BBHI", VERSION, count, number, id) + body


def decode(tab, packet):
    if packet[:4] != MAGIC:
        raise ValueError("no packet of ours: %r" % packet[:12])
    version, count, number, id = struct.unpack_from("<BBHI", packet, 4)
    name = next(n for n, m in tab.items() if m[0] == number)
    by_tag = {tag: (field, kind) for field, (kind, tag, _) in tab[name][2].items()}
    at, out = 12, {}
    for _ in range(count):
        tag, n = struct.unpack_from("<BI", packet, at)
        data = packet[at + 5:at + 5 + n]
        at += 5 + n
        field, kind = by_tag[tag]
        if kind == "U64":
            out[field] = struct.unpack("<Q", data)[0]
        elif kind == "STR":
            out[field] = data
        else:
            strings, p = [], 4
            for _ in range(struct.unpack_from("<I", data)[0]):
                k = struct.unpack_from("<I", data, p)[0]
                strings.append(data[p + 4:p + 4 + k])
                p += 4 + k
            out[field] = strings
    if version != VERSION or at != len(packet):
        raise ValueError("malformed packet")
    return name, id, out


class Channel:
    def __init__(self, sock, channel, timeout=30):
        self.sock, self.tab = sock, table(channel)
        sock.settimeout(timeout)

    @classmethod
    def connect(cls, path, channel, timeout=30):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.connect(str(path))
        return cls(s, channel, timeout)

    def send(self, name, /, id=0, fd=None, **values):
        self.send_raw(encode(self.tab, name, id, **values), [] if fd is None else [fd])

    def send_raw(self, packet, fds=()):
        anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", list(fds)))] if fds else []
        self.sock.sendmsg([packet], anc)

    def recv(self):
        """(name, id, fields, fd or None); Closed at the end."""
        try:
            packet, anc, _, _ = self.sock.recvmsg(PACKET_MAX, socket.CMSG_SPACE(16))
        except ConnectionResetError:
            raise Closed()
        fds = array.array("i")
        for level, kind, data in anc:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[:len(data) - len(data) % fds.itemsize])
        if not packet:
            raise Closed()
        return (*decode(self.tab, packet), fds[0] if len(fds) else None)

    def ask(self, name, /, id=0, fd=None, **values):
        self.send(name, id, fd, **values)
        return self.recv()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Parent:
    """Plays the root parent of a front: registers connections with authd, the key worker or queued."""

    def __init__(self, path, service):
        self.service = service
        self.reg = Channel.connect(path, "reg")
        assert self.reg.ask("HELLO", service=service, version=reg_version(path.parent.name))[0] == "WELCOME"

    def conn(self, channel, client="192.0.2.1", profile=None, conn=None, **more):
        """A fresh connection: the front's end of its channel."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        conn = int.from_bytes(os.urandom(8), "little") if conn is None else conn
        self.reg.send("CONN", fd=theirs.fileno(), conn=conn, service=self.service, profile=profile or self.service, client=client,
                      client_port=40000, server="127.0.0.1", server_port=143, **more)
        theirs.close()
        ch = Channel(ours, channel)
        ch.conn = conn
        return ch
