"""A receiving SMTP or LMTP server for tests that keeps what it gets and misbehaves on request. The standard library only.

    sink = smtpsink.Sink("127.0.0.5", 25)
    sink.refuse["RCPT"] = "450 4.2.0 later"     a command's first word (or "." for the end of data) to an answer
    sink.refuse["<bad@a.example>"] = "550 …"    or the path of a RCPT; None: no answer at all
    env, data, secure = sink.wait()
"""
import base64
import hmac
import socket
import socketserver
import threading
import time


class Sink(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host="127.0.0.1", port=0, tls=None, lmtp=False, features=("PIPELINING", "8BITMIME", "SIZE 1000000"), login=None, delay=0,
                 plain_features=None):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)
        self.tls, self.lmtp, self.features, self.login, self.delay = tls, lmtp, list(features), login, delay
        self.plain_features = plain_features    # what it announces before TLS instead
        self.refuse, self.messages, self.commands, self.connections, self.peers, self.certs = {}, [], [], 0, [], []
        self.now, self.most, self.lock = 0, 0, threading.Lock()     # messages on their way at once
        self.greeting = "220 sink.test ESMTP"
        self.gate = None    # an Event: no end of data is answered before it is set
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]

    def wait(self, n=1, timeout=30):
        end = time.monotonic() + timeout
        while len(self.messages) < n:
            assert time.monotonic() < end, self.commands
            time.sleep(0.01)
        return self.messages[n - 1]

    def close(self):
        self.shutdown()
        self.server_close()


class Handler(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")
        self.wfile.flush()

    def handle(self):
        s = self.server
        self.secure = False
        with s.lock:
            s.connections += 1
            s.peers.append(self.client_address[0])
        try:
            self.serve()
        except (OSError, ValueError):
            pass

    def serve(self):
        self.say(self.server.greeting)
        self.env, self.rcpts = [], 0
        while True:
            line = self.rfile.readline()
            if not line:
                return
            assert line.endswith(b"\r\n") and b"\r" not in line[:-2] and b"\n" not in line[:-2]
            verb = line.split()[0].upper().decode()
            self.server.commands.append(line.decode("utf-8", "replace").rstrip())
            if verb in self.server.refuse:
                if self.server.refuse[verb] is not None:    # None: silence
                    self.say(self.server.refuse[verb])
            elif verb in ("EHLO", "LHLO"):
                self.hello()
            elif verb == "STARTTLS":
                self.say("220 go ahead")
                self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
                self.server.certs.append(self.connection.getpeercert(True))     # of the client; None: it showed none
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
                self.secure = True
            elif verb == "AUTH":
                self.auth(line)
            elif verb == "DATA" and self.rcpts == 0:
                self.say("554 5.5.1 no recipients")
            elif verb == "DATA":
                self.say("354 go ahead")
                self.count(1)
                self.data()
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.other(verb, line)

    def hello(self):
        plain = self.server.plain_features
        words = ["sink.test", *(self.server.features if self.secure or plain is None else plain)]
        words += ["STARTTLS"] if self.server.tls and not self.secure else []
        words += ["AUTH " + " ".join(self.server.login[0])] if self.server.login else []
        for w in words[:-1]:
            self.say("250-" + w)
        self.say("250 " + words[-1])

    def other(self, verb, line):
        if verb == "MAIL":
            self.env, self.rcpts = [line.decode("utf-8", "replace").strip()], 0
        elif verb == "RCPT":
            path = line.decode("utf-8", "replace").split(":", 1)[1].split()[0]
            if path in self.server.refuse:
                self.say(self.server.refuse[path])
                return
            self.env.append(line.decode("utf-8", "replace").strip())
            self.rcpts += 1
        self.say("250 2.1.0 Ok")

    def ask(self, text):
        self.say("334 " + base64.b64encode(text).decode())
        return base64.b64decode(self.rfile.readline())

    def auth(self, line):
        _, user, password = self.server.login
        words = line.decode().split()
        if words[1] == "PLAIN":
            good = base64.b64decode(words[2]) == b"\0" + user.encode() + b"\0" + password.encode()
        elif words[1] == "LOGIN":
            good = (self.ask(b"Username:"), self.ask(b"Password:")) == (user.encode(), password.encode())
        else:
            challenge = b"<1896.697170952@sink.test>"
            good = self.ask(challenge).decode() == "%s %s" % (user, hmac.new(password.encode(), challenge, "md5").hexdigest())
        self.say("235 2.7.0 Ok" if good else "535 5.7.8 no")

    def count(self, n):
        with self.server.lock:
            self.server.now += n
            self.server.most = max(self.server.most, self.server.now)

    def data(self):
        lines = []
        while True:
            line = self.rfile.readline()
            assert line.endswith(b"\r\n") and b"\r" not in line[:-2]
            if line == b".\r\n":
                break
            lines.append(line[1:] if line.startswith(b".") else line)
        if self.server.delay:
            time.sleep(self.server.delay)
        if self.server.gate:
            self.server.gate.wait()
        self.count(-1)
        if "." in self.server.refuse:
            self.say(self.server.refuse["."])
            return
        self.server.messages.append((self.env, b"".join(lines), self.secure))
        for _ in range(self.rcpts if self.server.lmtp else 1):
            self.say("250 2.0.0 Ok: sunk")
        self.rcpts = 0
