"""A milter that does as it is told, right or wrong, and keeps what it heard."""
import socket
import struct
import threading

ALL_ACTIONS, NR_ALL = 0x1ff, 0x80 | 0xff000
HANGUP, SILENCE = object(), object()


def packet(command, data=b""):
    return struct.pack("!I", len(data) + 1) + command + data


def z(*strings):
    return b"".join(s if isinstance(s, bytes) else s.encode() for s in (x for s in strings for x in (s, b"\0")))


class Milter:
    """script: command byte -> what is sent back: bytes, a list of those for the first, second … time (the last for good), HANGUP, SILENCE. Default: continue."""

    def __init__(self, family=socket.AF_INET, path=None):
        self.socket = socket.socket(socket.AF_UNIX if path else family)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(path or ("127.0.0.1", 0))
        self.socket.listen(64)
        self.name = "unix:" + path if path else "inet:127.0.0.1:%d" % self.socket.getsockname()[1]
        self.reset()
        threading.Thread(target=self.serve, daemon=True).start()

    def reset(self, script=None, actions=ALL_ACTIONS, protocol=0, version=6, lists=b"", greeting=b""):
        self.script, self.actions, self.protocol, self.version, self.lists, self.greeting = script or {}, actions, protocol, version, lists, greeting
        self.heard, self.macros, self.offered, self.connections = [], {}, None, 0
        self.quit, self.gone = threading.Event(), threading.Event()
        return self

    def serve(self):
        while True:
            try:
                s = self.socket.accept()[0]
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.talk, args=(s,), daemon=True).start()

    def talk(self, s):
        with s:
            try:
                if self.greeting:
                    s.sendall(self.greeting)
                while self.command(s):
                    pass
            except (OSError, EOFError):
                pass
        self.gone.set()

    @staticmethod
    def exact(s, n):
        data = b""
        while len(data) < n:
            more = s.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def command(self, s):
        n, = struct.unpack("!I", self.exact(s, 4))
        data = self.exact(s, n)
        c, data = data[:1], data[1:]
        self.heard.append((c, data))
        if c == b"D":
            pairs = data[1:].split(b"\0")[:-1]
            self.macros[data[:1]] = dict(zip(pairs[::2], pairs[1::2]))
            return True
        if c in b"AQK":
            self.quit.set()
            return c != b"Q"
        answer = self.script.get(c)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if answer is None and c == b"O":
            self.offered = struct.unpack("!III", data)
            answer = packet(b"O", struct.pack("!III", self.version, self.actions, self.protocol) + self.lists)
        elif answer is None:
            silent = {b"C": 0x1000, b"H": 0x2000, b"M": 0x4000, b"R": 0x8000, b"T": 0x10000, b"L": 0x80, b"N": 0x40000, b"B": 0x80000}.get(c, 0)
            answer = b"" if self.protocol & silent else packet(b"c")
        if answer is HANGUP:
            return False
        if answer is not SILENCE:
            s.sendall(answer)
        return True

    def commands(self):
        return b"".join(c for c, _ in self.heard if c != b"D").decode()

    def data(self, command):
        return [d for c, d in self.heard if c == command]

    def body(self):
        return b"".join(self.data(b"B"))

    def close(self):
        self.socket.close()
