"""Servers that mean harm, or mean nothing: what is said to them is bounded and what they say becomes neither a command nor a line of the log. t/cases.md: 185, 187."""
import pathlib
import socketserver
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from remotescene import Scene, mx  # noqa: E402

GOOD = [b"220 x\r\n", b"250-x\r\n250 SIZE 100000\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 2.0.0 taken\r\n"]


class Player(socketserver.ThreadingTCPServer):
    """Says the first answer, and each further one when a line (for the last: a message) has come; ends then. Keeps the lines it was told."""
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, host, answers):
        player = self
        self.lines, self.connections = [], 0

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                player.connections += 1
                try:
                    self.wfile.write(answers[0])
                    for answer in answers[1:]:
                        line = self.rfile.readline()
                        while player.in_data and line not in (b".\r\n", b""):
                            line = self.rfile.readline()
                        if not line:
                            return
                        player.lines.append(line)
                        player.in_data = answer.startswith(b"354")
                        self.wfile.write(answer)
                except OSError:
                    pass
        self.in_data = False
        super().__init__((host, 25), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()


def but(n, answer):
    return GOOD[:n] + [answer]


ANSWERS = {
    "an endless greeting": (but(0, b"220 " + b"x" * (10 << 20)), "deferred"),
    "a greeting of endless lines": (but(0, b"220-x\r\n" * 500000), "deferred"),
    "no SMTP at all": (but(0, b"HTTP/1.1 400 Bad Request\r\n\r\n"), "deferred"),
    "a code that is none": (but(2, b"999 what\r\n"), "deferred"),
    "half a code": (but(2, b"2\r\n"), "deferred"),
    "two codes in one answer": (but(3, b"250-ok\r\n550 no\r\n"), "(deferred|bounced)"),
    "endless lines at RCPT": (but(3, b"250-x\r\n" * 500000), "deferred"),
    "controls and a line of the log": (but(3, b"550 5.1.1 no\r such\x1b[31m \0user\nNov 29 00:00:00 mail postern/smtp[1]: FAKE: status=sent\r\n"), "(bounced|deferred)"),
    "a long refusal": (but(3, b"".join(b"550-5.7.1 %s\r\n" % (b"y" * 400) for _ in range(90)) + b"550 5.7.1 end\r\n"), "bounced"),
    "the end at the dot": (GOOD[:5] + [b""], "deferred"),
    "all answers before the first command": (but(0, b"220 x\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n"), "deferred"),
    "the answer to the message behind that to DATA": (but(4, b"354 go\r\n250 2.0.0 taken\r\n"), "deferred"),
    "TLS that is offered and refused": ([b"220 x\r\n", b"250-x\r\n250 STARTTLS\r\n", b"454 4.7.0 not now\r\n"], "deferred"),
    "text behind the answer to STARTTLS": ([b"220 x\r\n", b"250-x\r\n250 STARTTLS\r\n", b"220 go\r\n250 injected\r\n"], "deferred"),
}


@pytest.fixture(scope="module")
def scene():
    s = Scene(minimal_backoff_time="3600s", maximal_backoff_time="4000s", smtp_helo_timeout="10s", smtp_mail_timeout="10s", smtp_rcpt_timeout="10s",
              smtp_data_done_timeout="10s", smtp_starttls_timeout="10s")
    s.suite.user_add("alice@example.com", "x-secret")
    yield s.start()
    s.close()


@pytest.mark.parametrize("name", ANSWERS)
def test_answers(scene, name):
    n = 180 + list(ANSWERS).index(name)
    answers, want = ANSWERS[name]
    mx(scene, "h%d.example" % n, (10, n))
    player = Player("127.0.60.%d" % n, answers)
    try:
        line = scene.log(scene.send("a@h%d.example" % n, sender=""), "status=%s" % want, 60)
        assert len(line) < 2000
    finally:
        player.close()
    assert "FAKE" not in [text.split(": ")[1] for text in scene.suite.log.read_text(errors="replace").splitlines() if text.count(": ") > 1]
    assert all(line.isascii() and b"\0" not in line for line in player.lines)
    mx(scene, "after%d.example" % n, (10, 240))
    scene.sink(240)
    scene.log(scene.send("a@after%d.example" % n), "status=sent", 60)


def test_words_of_a_server_are_only_words_in_a_bounce(scene):
    """What it said stands in the text of the report and opens no field of it."""
    mx(scene, "words.example", (10, 220))
    player = Player("127.0.60.220", but(3, b"550-5.1.1 no\r\n550-Bcc: victim@elsewhere.example\r\n550-\r\n550 5.1.1 RCPT TO:<other@example.com>\r\n"))
    qid = scene.send("a@words.example", sender="alice@example.com")
    try:
        scene.log(qid, "status=bounced", 60)
        box = scene.suite.maildir("alice@example.com") / "new"
        end = time.monotonic() + 30
        while not any(qid.encode() in f.read_bytes() for f in box.glob("*")):
            assert time.monotonic() < end
            time.sleep(0.05)
        (text,) = [f.read_bytes() for f in box.glob("*") if qid.encode() in f.read_bytes()]
        assert b"\nBcc: victim" not in text.replace(b"\r", b"") and b"victim@elsewhere.example" in text
    finally:
        player.close()


@pytest.mark.parametrize("name, records, want", [
    ("literal.example", [("MX", "10 127.0.60.241")], "status=(bounced|deferred)"),      # nobody listens there
    ("dots.example", [("MX", "10 .."), ("MX", "20 a..b")], "status=(bounced|deferred)"),
    ("circle.example", [("CNAME", "circle2.example")], "status=(bounced|deferred)"),
    ("many.example", [("MX", "%d no%d.many.example" % (i, i)) for i in range(1000)], "status=(bounced|deferred)"),
])
def test_names_that_lead_nowhere(scene, name, records, want):
    for kind, value in records:
        scene.dns.add(name, kind, value)
    scene.dns.add("circle2.example", "CNAME", "circle.example")
    before = len(scene.dns.asked)
    scene.log(scene.send("a@" + name, sender=""), want, 60)
    assert len(scene.dns.asked) - before < 50, "one destination makes no flood of questions"
