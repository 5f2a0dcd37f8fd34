"""The IMAP client of the mailbox bench."""
import re
import socket
import ssl
import time

from peers import DOMAIN, PASSWORD

USER = "user0@" + DOMAIN
LINE_MAX = 16384        # of a tagged line: COPYUID lists a thousand UIDs


def quick(sock):
    """What comes next is acknowledged at once. A server that leaves Nagle's algorithm on, as Cyrus does, else waits 40 ms with the end of each long answer: that is
    the client's time."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class Missing(Exception):
    """The server does not have it."""


class Meaningless(Exception):
    """The server has no such state: what the row measures does not exist there."""


class Client:
    """Sends a command, reads to its tagged answer as fast as Python can, keeps the first and last bytes."""

    def __init__(self, peer, tls=False, login=True):
        self.sock = socket.create_connection((peer.host, peer.imaps if tls else peer.imap), timeout=600)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.sock = context.wrap_socket(self.sock)
        self.room = bytearray(1 << 20)
        self.n = 0
        self.read_until(b"* OK")
        if login:
            self.login()

    def login(self):
        self.cmd("LOGIN %s %s" % (USER, PASSWORD))

    def read_until(self, start):
        """Whole lines until one that begins so."""
        tail = b""
        total, first, view = 0, b"", memoryview(self.room)
        while True:
            quick(self.sock)
            got = self.sock.recv_into(self.room)
            if got == 0:
                raise EOFError(bytes(tail[-200:]))
            total += got
            if len(first) < 4096:
                first += bytes(view[:min(got, 4096)])
            tail = (tail + bytes(view[max(0, got - LINE_MAX):got]))[-LINE_MAX:]
            if tail.endswith(b"\r\n"):
                last = tail[:-2].rsplit(b"\n", 1)[-1]
                if last.startswith(start):
                    return total, first, last

    def cmd(self, text, must=True):
        """(bytes, beginning of the answer); the tagged line must be OK."""
        self.n += 1
        tag = b"a%d" % self.n
        self.sock.sendall(tag + b" " + (text if isinstance(text, bytes) else text.encode()) + b"\r\n")
        total, first, last = self.read_until(tag + b" ")
        if must and not last.startswith(tag + b" OK"):
            raise Missing(last[:120].decode("latin-1"))
        return total, first

    def all(self, text):
        """The whole answer, for small ones."""
        self.n += 1
        tag = b"a%d" % self.n
        self.sock.sendall(tag + b" " + text.encode() + b"\r\n")
        data = b""
        while not re.search(rb"(^|\n)%s [A-Z]+[^\n]*\r\n$" % tag, data[-2000:]):
            piece = self.sock.recv(1 << 16)
            if not piece:
                raise EOFError
            data += piece
        return data

    def close(self):
        try:
            self.sock.sendall(b"z LOGOUT\r\n")
            while self.sock.recv(65536):
                pass
        except OSError:
            pass
        self.sock.close()


def timed(fn):
    t0 = time.perf_counter()
    out = fn()
    return time.perf_counter() - t0, out
