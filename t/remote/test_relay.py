"""Outgoing mail through the whole suite: a user submits, queued schedules, remote speaks to a server of this test."""
import pathlib
import re
import smtplib
import socketserver
import ssl
import sys
import threading
import time
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mailtools  # noqa: E402


class Sink(socketserver.ThreadingTCPServer):
    """An SMTP server that keeps what it gets; refuse maps a command's first word (or "." for the end of data) to an answer."""
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, tls=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.tls, self.refuse, self.messages, self.commands = tls, {}, [], []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]

    def wait(self, n=1, timeout=15):
        end = time.monotonic() + timeout
        while len(self.messages) < n:
            assert time.monotonic() < end, self.commands
            time.sleep(0.02)
        return self.messages[n - 1]


class Handler(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")
        self.wfile.flush()

    def handle(self):
        self.secure = False
        try:
            self.serve()
        except (OSError, ValueError):
            pass

    def serve(self):
        self.say("220 sink.test ESMTP")
        env = []
        while True:
            line = self.rfile.readline()
            if not line:
                return
            assert line.endswith(b"\r\n") and b"\r" not in line[:-2] and b"\n" not in line[:-2]
            verb = line.split()[0].upper().decode()
            self.server.commands.append(line.decode().rstrip())
            if verb in self.server.refuse:
                self.say(self.server.refuse[verb])
            elif verb == "EHLO":
                words = ["sink.test", "PIPELINING", "8BITMIME", "SIZE 1000000"]
                words += ["STARTTLS"] if self.server.tls and not self.secure else []
                for w in words[:-1]:
                    self.say("250-" + w)
                self.say("250 " + words[-1])
            elif verb == "STARTTLS":
                self.say("220 go ahead")
                self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
                self.secure = True
            elif verb == "DATA":
                self.say("354 go ahead")
                self.data(env)
                env = []
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                env += [line.decode().strip()] if verb in ("MAIL", "RCPT") else []
                self.say("250 2.1.0 Ok")

    def data(self, env):
        lines = []
        while True:
            line = self.rfile.readline()
            assert line.endswith(b"\r\n") and b"\r" not in line[:-2]
            if line == b".\r\n":
                break
            lines.append(line[1:] if line.startswith(b".") else line)
        if "." in self.server.refuse:
            self.say(self.server.refuse["."])
            return
        self.server.messages.append((env, b"".join(lines), self.secure))
        self.say("250 2.0.0 Ok: sunk")


def start(fresh_suite, sink, **settings):
    s = fresh_suite("relay", settings={"relayhost": "[127.0.0.1]:%d" % sink.port, "minimal_backoff_time": "1s", **settings})
    return s, mailtools.Mail(s)


def submit(suite, to, body="Hello\r\n"):
    """As alice, over TLS; returns the Message-ID."""
    mid = "<%s@test.example>" % uuid.uuid4().hex
    context = suite.tls_context()
    context.check_hostname = False      # the suite of this test has an address that its certificate does not name
    with smtplib.SMTP_SSL(suite.hosts[0], suite.port("SUBMISSIONS"), context=context, timeout=30) as s:
        s.login("alice@example.com", "alice-secret")
        s.sendmail("alice@example.com", to, "From: alice@example.com\r\nSubject: t\r\nMessage-ID: %s\r\n\r\n%s" % (mid, body))
    return mid


def log_has(suite, pattern, timeout=10):
    end = time.monotonic() + timeout
    while True:
        text = suite.log.read_text(errors="replace")
        if re.search(pattern, text, re.M):
            return
        assert time.monotonic() < end, pattern + "\n" + text[-3000:]
        time.sleep(0.05)


@pytest.mark.parametrize("with_tls", [False, True])
def test_a_users_mail_reaches_the_relay(fresh_suite, with_tls):
    sink = Sink()
    suite, mail = start(fresh_suite, sink)
    if with_tls:
        sink.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        sink.tls.load_cert_chain(suite.base / "etc" / "cert.pem", suite.base / "etc" / "key.pem")
    mid = submit(suite, ["x@elsewhere.example", "y@elsewhere.example"], "..dots\r\n.\r\nend\r\n")
    env, text, secure = sink.wait()
    assert env[0].startswith("MAIL FROM:<alice@example.com>") and env[1:] == ["RCPT TO:<x@elsewhere.example>", "RCPT TO:<y@elsewhere.example>"]
    assert mid.encode() in text and text.endswith(b"\r\n\r\n..dots\r\n.\r\nend\r\n") and text.startswith(b"Received: ")
    assert secure == with_tls
    log_has(suite, r"smtp\[\d+\]: [A-Z0-9]+: to=<x@elsewhere\.example>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:%d, delay=\S+, delays=\S+, dsn=2\.0\.0, "
                   r"status=sent \(250 2\.0\.0 Ok: sunk\)$" % sink.port)
    log_has(suite, r"qmgr\[\d+\]: [A-Z0-9]+: removed$")


def test_a_temporary_refusal_is_tried_again(fresh_suite):
    sink = Sink()
    sink.refuse = {"RCPT": "450 4.2.0 greylisted"}
    suite, mail = start(fresh_suite, sink)
    submit(suite, ["x@elsewhere.example"])
    log_has(suite, r"status=deferred \(host 127\.0\.0\.1\[127\.0\.0\.1\] said: 450 4\.2\.0 greylisted \(in reply to RCPT TO command\)\)$")
    sink.refuse = {}
    suite.tool("postern-queue", "flush")
    sink.wait()


def test_a_final_refusal_comes_back_to_the_sender(fresh_suite):
    sink = Sink()
    sink.refuse = {"RCPT": "550 5.1.1 nobody of that name"}
    suite, mail = start(fresh_suite, sink)
    mid = submit(suite, ["x@elsewhere.example"])
    f = mail.wait_for(mid, "alice@example.com")
    text = f.read_text()
    assert "550 5.1.1 nobody of that name" in text and "x@elsewhere.example" in text and "Action: failed" in text


def test_a_relay_that_is_down_defers(fresh_suite):
    sink = Sink()
    suite, mail = start(fresh_suite, sink)
    port = sink.port
    sink.shutdown()
    sink.server_close()
    submit(suite, ["x@elsewhere.example"])
    log_has(suite, r"smtp\[\d+\]: connect to 127\.0\.0\.1\[127\.0\.0\.1\]:%d: Connection refused$" % port)
    log_has(suite, r"dsn=4\.4\.1, status=deferred \(connect to 127\.0\.0\.1\[127\.0\.0\.1\]:%d: Connection refused\)$" % port)


def test_without_name_servers_mail_waits(fresh_suite):
    sink = Sink()
    suite, mail = start(fresh_suite, sink, relayhost="", dns_servers="127.0.0.1:1")
    submit(suite, ["x@elsewhere.example"])
    log_has(suite, r"dsn=4\.4\.3, status=deferred \(Host or domain name not found\. Name service error for name=elsewhere\.example type=MX: ", 40)
