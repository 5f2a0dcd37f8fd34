"""A bare IMAP client for tests: it sends what it is told and shows every byte of the answer."""
import re
import socket
import ssl


class Closed(Exception):
    pass


class Imap:
    def __init__(self, suite, tls=False, login=None, port=None):
        self.sock = socket.create_connection((suite.hosts[0].strip("[]"), port or suite.port("IMAPS" if tls else "IMAP")), timeout=30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = suite.tls_context().wrap_socket(self.sock, server_hostname="localhost")
        self.suite = suite
        self.data = b""
        self.n = 0
        self.greeting = self.line()
        if login:
            self.ok('LOGIN "%s" "%s"' % (login, suite.passwords[login].replace("\\", "\\\\").replace('"', '\\"')))

    def starttls(self):
        self.ok("STARTTLS")
        self.sock = self.suite.tls_context().wrap_socket(self.sock, server_hostname="localhost")
        assert self.data == b""

    def send(self, data):
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def more(self):
        d = self.sock.recv(1 << 16)
        if not d:
            raise Closed(self.data)
        self.data += d

    def bare_line(self):
        while b"\r\n" not in self.data:
            self.more()
        l, self.data = self.data.split(b"\r\n", 1)
        return l

    def line(self):
        """One response, its literals included."""
        out = self.bare_line()
        while True:
            m = re.search(rb"\{(\d+)\}$", out)
            if not m:
                return out
            n = int(m.group(1))
            while len(self.data) < n:
                self.more()
            out, self.data = out + b"\r\n" + self.data[:n], self.data[n:]
            out += self.bare_line()

    def cmd(self, text, tag=None):
        """Send a command; returns (status, tagged line, [untagged lines])."""
        if tag is None:
            self.n += 1
            tag = "t%d" % self.n
        self.send((tag + " " + text if isinstance(text, str) else tag.encode() + b" " + text) + ("\r\n" if isinstance(text, str) else b"\r\n"))
        return self.finish(tag)

    def finish(self, tag):
        untagged = []
        while True:
            l = self.line()
            if l.startswith(tag.encode() + b" "):
                rest = l[len(tag) + 1:]
                return rest.split(b" ")[0].decode(), rest.decode("utf-8", "replace"), untagged
            untagged.append(l)

    def ok(self, text, tag=None):
        status, line, untagged = self.cmd(text, tag)
        assert status == "OK", (text, line, untagged)
        return untagged

    def no(self, text, code=None):
        status, line, untagged = self.cmd(text)
        assert status == "NO", (text, line, untagged)
        assert code is None or "[%s" % code in line, line
        return untagged

    def bad(self, text):
        status, line, untagged = self.cmd(text)
        assert status == "BAD", (text, line, untagged)
        return line

    def append(self, folder, message, args=""):
        message = message.encode() if isinstance(message, str) else message
        self.n += 1
        tag = "t%d" % self.n
        self.send("%s APPEND %s %s{%d+}\r\n" % (tag, folder, args, len(message)))
        self.send(message + b"\r\n")
        status, line, untagged = self.finish(tag)
        assert status == "OK", (line, untagged)
        return line

    def fetch1(self, what, item):
        """The value of one string item of one message, as bytes; None for NIL."""
        got = [l for l in self.ok("FETCH %s" % what) if b" FETCH (" in l]
        assert len(got) == 1, got
        m = re.search(re.escape(item.encode()) + rb" (?:\{(\d+)\}\r\n|\"((?:[^\"\\]|\\.)*)\"|(NIL))", got[0])
        assert m, got[0]
        if m.group(3):
            return None
        if m.group(1) is None:
            return re.sub(rb"\\(.)", rb"\1", m.group(2))
        return got[0][m.end():m.end() + int(m.group(1))]

    def close(self):
        self.sock.close()
