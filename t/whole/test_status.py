"""What an administrator looks at: postern status, and the counters for Prometheus."""
import grp
import http.client
import json
import os
import smtplib
import socket
import subprocess
import time

import pytest
from waiting import until


def status(suite):
    return json.loads(suite.tool("postern", "status", "--json").stdout)


def scrape(path_or_port, request=b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"):
    if isinstance(path_or_port, int):
        s = socket.create_connection(("127.0.0.1", path_or_port), timeout=30)
    else:
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30)
        s.connect(str(path_or_port))
    with s:
        s.sendall(request)
        got = b""
        while True:
            piece = s.recv(65536)
            if not piece:
                return got
            got += piece


def numbers(answer):
    head, body = answer.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.0 200 ") and ("Content-Length: %d" % len(body)).encode() in head
    return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#"))}


def test_status_counts_what_happens(suite, mail):
    before = status(suite)
    mid = mail.send(user="alice@example.com", sender="alice@example.com", headers="Date: Sat, 28 Nov 2026 12:00:00 +0000\r\n")
    mail.wait_for(mid)
    with mail.imap() as m:
        m.noop()
        now = status(suite)
        assert {"user": "bob@example.com", "service": "imap"}.items() <= \
            [u for u in now["logins"]["users"] if u["user"] == "bob@example.com" and u["connections"] == 1][0].items()
    more = lambda e: status(suite)["events"][e]["total"] - before["events"][e]["total"]
    for event in ("mail_received", "mail_submitted", "mail_accepted", "mail_finished", "filter_clean", "smtp_connections", "smtp_tls", "delivered_local",
                  "imap_logins"):
        until(lambda: more(event) >= 1)
    assert more("mail_accepted") == more("mail_finished") == more("delivered_local") == 1
    assert more("login_ok") == 2 and more("delivery_bounced") == 0


def test_status_shows_every_process_once(suite):
    now = status(suite)
    running = suite.processes()
    rows = {(r["role"], r["user"]): r for r in now["processes"]}
    assert len(rows) == len(now["processes"])
    for pid, user, _comm, cmd in running:
        if cmd in ("queued: queue", "authd: monitor", "authd: key worker", "log: worker", "log: metrics", "spawn: programs", "resolve"):
            assert (rows[cmd, user]["pid"], rows[cmd, user]["count"]) == (pid, 1) and rows[cmd, user]["memory_bytes"] > 0
    assert now["queue"]["up"] and now["logins"]["up"] and now["up_seconds"] >= 0
    text = suite.tool("postern", "status").stdout.decode()
    assert "queued: queue" in text and "queue        0 messages" in text and "last minute" in text


def test_watch_shows_rates_until_it_is_ended(suite):
    p = subprocess.Popen([suite.bin / "postern", "-c", suite.conf, "status", "--watch=1"], stdout=subprocess.PIPE)
    seen = b""
    try:
        while b"a second" not in seen:
            seen += os.read(p.stdout.fileno(), 65536)
    finally:
        p.kill()
        p.wait()
    assert b"\033[" not in seen       # not a terminal


def test_status_without_a_suite_says_so(fresh_suite):
    s = fresh_suite("status-off", start=False, users=())
    p = s.tool("postern", "status", check=False)
    assert p.returncode == 1 and b"does not answer" in p.stdout and b"nothing is counted" in p.stdout


def test_counters_in_prometheus_text(suite):
    before = numbers(scrape(suite.run_dir / "log" / "metrics"))
    assert before["postern_login_ok_total"] >= 1 and before['postern_build_info{version="0.1.0"}'] == 1
    with pytest.raises(Exception):
        with socket.create_connection(("127.0.0.1", suite.port("SUBMISSION")), timeout=30) as s:
            s.sendall(b"x" * 10)
            s.close()
            raise OSError
    until(lambda: numbers(scrape(suite.run_dir / "log" / "metrics"))["postern_smtp_connections_total"] == before["postern_smtp_connections_total"] + 1)


@pytest.mark.parametrize("request_bytes, status_line", [
    (b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.0 200"), (b"GET /etc/passwd HTTP/1.0\r\n\r\n", b"HTTP/1.0 404"),
    (b"POST /metrics HTTP/1.0\r\n\r\n", b"HTTP/1.0 405"), (b"hello\r\n\r\n", b"HTTP/1.0 400"), (b"GET /" + b"x" * 5000, b"HTTP/1.0 400"),
    (b"GET /metrics HTTP/1.0\r\n" + b"\0\xff" * 100 + b"\r\n\r\n", b"HTTP/1.0 200"), (b"", b"")])
def test_scrapers_that_ask_for_something_else(suite, request_bytes, status_line):
    if request_bytes:
        assert scrape(suite.run_dir / "log" / "metrics", request_bytes).startswith(status_line)
    else:       # many that say nothing keep nobody out for longer than a few seconds, and do not stop the process
        idle = []
        for _ in range(40):
            s = socket.socket(socket.AF_UNIX)
            s.connect(str(suite.run_dir / "log" / "metrics"))
            idle.append(s)
        for s in idle:
            s.close()
        until(lambda: scrape(suite.run_dir / "log" / "metrics").startswith(b"HTTP/1.0 200"))


def test_a_loopback_port_and_a_group(fresh_suite):
    s = fresh_suite("metrics", users=(), settings={"metrics_listeners": "127.0.0.1:9154 [::1]:9154", "metrics_group": "nogroup"})
    assert numbers(scrape(9154))["postern_errors_total"] == 0
    c = http.client.HTTPConnection("::1", 9154, timeout=30)
    c.request("GET", "/metrics")
    assert c.getresponse().getheader("Content-Type").startswith("text/plain; version=0.0.4")
    st = os.stat(s.run_dir / "log" / "metrics")
    assert (st.st_mode & 0o777, st.st_gid) == (0o660, grp.getgrnam("nogroup").gr_gid)
    assert os.stat(s.run_dir / "log" / "counters").st_mode & 0o777 == 0o644


@pytest.mark.parametrize("value", ["0.0.0.0:9154", "192.0.2.1:9154", "9154", "localhost:9154", "127.0.0.1:99999"])
def test_counters_leave_the_machine_by_nobodys_mistake(fresh_suite, value):
    s = fresh_suite("metrics-bad", start=False, users=(), settings={"metrics_listeners": value})
    p = subprocess.run([s.bin / "log", "-f", "-c", s.conf], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
    assert p.returncode == 78 and b"metrics_listeners" in p.stdout


def test_the_queue_is_counted_for_scrapers(fresh_suite):
    """Each state, the oldest; what is held is not waiting. They say when they were counted."""
    s = fresh_suite("gauges", settings={"relayhost": "[127.0.0.3]:9", "minimal_backoff_time": "1h", "mynetworks": "127.0.0.0/8"})
    names = ("queue_active", "queue_deferred", "queue_hold", "queue_quarantine", "queue_oldest_arrival_seconds", "queue_oldest_age_seconds")
    gauges = lambda: [numbers(scrape(s.run_dir / "log" / "metrics")).get("postern_" + n) for n in names]
    until(lambda: gauges() == [0] * 6, 60)
    with smtplib.SMTP(s.host, 25) as m:
        for i in range(3):
            m.sendmail("alice@example.com", ["x%d@elsewhere.example" % i], "Subject: waits\r\n\r\nx\r\n")
    until(lambda: gauges()[:4] == [0, 3, 0, 0], 60)
    queue = [json.loads(line) for line in s.tool("postern-queue", "list", "--json").stdout.decode().splitlines()]
    assert gauges()[4] == min(q["arrival_time"] for q in queue)
    for q in queue:
        s.tool("postern-queue", "hold", q["queue_id"])
    until(lambda: gauges() == [0, 0, 3, 0, 0, 0], 60)
    assert numbers(scrape(s.run_dir / "log" / "metrics"))["postern_queue_counted_seconds"] <= time.time()
