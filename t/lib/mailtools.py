"""Small helpers for tests: raw protocol sessions, sending a mail, waiting for it."""
import imaplib
import poplib
import smtplib
import socket
import time
import uuid


class Wire:
    """A raw line protocol connection: send bytes, read lines or until a pattern; optionally TLS at once or later."""

    def __init__(self, host, port, timeout=30, context=None, server_name="localhost", source=None):
        self.sock = socket.create_connection((host, port), timeout=timeout,
                                             source_address=(source, 0) if source else None)
        if context is not None:
            self.sock = context.wrap_socket(self.sock, server_hostname=server_name)
        self.buf = b""

    def starttls(self, context, server_name="localhost"):
        self.sock = context.wrap_socket(self.sock, server_hostname=server_name)
        self.buf = b""

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def line(self):
        """One line with its line end; b"" at the end of the stream."""
        while b"\n" not in self.buf:
            try:
                piece = self.sock.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                piece = b""
            if not piece:
                rest, self.buf = self.buf, b""
                return rest
            self.buf += piece
        line, self.buf = self.buf.split(b"\n", 1)
        return line + b"\n"

    def exact(self, n):
        while len(self.buf) < n:
            piece = self.sock.recv(65536)
            if not piece:
                raise EOFError
            self.buf += piece
        data, self.buf = self.buf[:n], self.buf[n:]
        return data

    def smtp(self, command=None):
        """Send a command (or nothing), return (code, [texts])."""
        if command is not None:
            self.send(command if isinstance(command, bytes) else command + "\r\n")
        texts = []
        while True:
            line = self.line()
            if not line:
                return 0, texts
            texts.append(line[4:].decode("utf-8", "replace").rstrip("\r\n"))
            if line[3:4] != b"-":
                return int(line[:3]), texts

    def imap(self, tag, command):
        """Send "tag command", return the lines up to and with the tagged one."""
        self.send(("%s %s\r\n" % (tag, command)).encode())
        return self.imap_until(tag)

    def imap_until(self, tag):
        lines = []
        while True:
            line = self.line()
            lines.append(line)
            if not line or line.startswith(tag.encode() + b" "):
                return lines

    def closed(self, timeout=30):
        """True when the peer closes within the time (what it sends before is dropped)."""
        self.sock.settimeout(timeout)
        try:
            while self.sock.recv(65536):
                pass
            return True
        except socket.timeout:
            return False
        except OSError:
            return True

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class Mail:
    def __init__(self, suite):
        self.suite = suite
        self.host = suite.host

    def wire(self, port_name, tls=False, **kw):
        return Wire(self.suite.hosts[0].strip("[]"), self.suite.port(port_name), server_name="localhost",
                    context=self.suite.tls_context() if tls else None, **kw)

    def smtp(self, user=None, timeout=30):
        """smtplib session: on port 25, or logged in on 465."""
        if user is None:
            return smtplib.SMTP(self.host, self.suite.port("SMTP"), timeout=timeout)
        s = smtplib.SMTP_SSL("localhost", self.suite.port("SUBMISSIONS"), context=self.suite.tls_context(),
                             timeout=timeout)
        s.login(user, self.suite.passwords[user])
        return s

    def send(self, to="bob@example.com", sender="stranger@elsewhere.example", subject=None, body="Hello\r\n",
             headers="", user=None, raw=None):
        """Send one mail; returns its unique Message-ID."""
        mid = "<%s@test.example>" % uuid.uuid4().hex
        if raw is None:
            raw = "From: %s\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: %s\r\n%s\r\n%s" % (
                sender, to if isinstance(to, str) else ", ".join(to), subject or mid, mid, headers, body)
        s = self.smtp(user)
        try:
            s.sendmail(sender, [to] if isinstance(to, str) else to, raw)
        finally:
            s.close()
        return mid

    def imap(self, user="bob@example.com", select="INBOX"):
        m = imaplib.IMAP4_SSL("localhost", self.suite.port("IMAPS"), ssl_context=self.suite.tls_context())
        m.login(user, imap_quote(self.suite.passwords[user]))
        if select:
            ok, data = m.select(select)
            assert ok == "OK", data
        return m

    def pop3(self, user="bob@example.com"):
        m = poplib.POP3_SSL("localhost", self.suite.port("POP3S"), context=self.suite.tls_context(), timeout=30)
        m.user(user)
        m.pass_(self.suite.passwords[user])
        return m

    def files(self, user="bob@example.com", folder=""):
        root = self.suite.maildir(user) / folder
        return [f for d in ("new", "cur") if (root / d).is_dir() for f in (root / d).iterdir()]

    def wait_for(self, mid, user="bob@example.com", folder="", timeout=30):
        """The file that holds this Message-ID, once it is in new or cur."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for f in self.files(user, folder):
                try:
                    if mid.encode() in f.read_bytes():
                        return f
                except FileNotFoundError:
                    pass
            time.sleep(0.02)
        raise AssertionError("no mail with %s for %s\n%s" % (mid, user, self.suite.trouble()))


def imap_quote(password):
    """imaplib quotes by itself, but only for ASCII-safe text."""
    return password


def scram_sha256(user, password, nonce=None):
    """A SCRAM-SHA-256 client (RFC 5802, 7677): send(None) gives the first message, send(challenge) the next ones."""
    import base64
    import hashlib
    import hmac
    import os
    nonce = nonce or base64.b64encode(os.urandom(18)).decode()
    bare = "n=%s,r=%s" % (user.replace("=", "=3D").replace(",", "=2C"), nonce)
    server_first = (yield ("n,," + bare).encode()).decode()
    fields = dict(f.split("=", 1) for f in server_first.split(","))
    assert fields["r"].startswith(nonce) and len(fields["r"]) > len(nonce)
    assert int(fields["i"]) >= 4096
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
    without_proof = "c=biws,r=" + fields["r"]
    text = ",".join([bare, server_first, without_proof]).encode()
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(client_key).digest(), text, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature))
    final = (yield (without_proof + ",p=" + base64.b64encode(proof).decode()).encode()).decode()
    want = base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), text, "sha256")).decode()
    assert final == "v=" + want, "the server does not know the password"
    yield b""
