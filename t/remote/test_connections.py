"""Connections to other servers: which address family, from which address, how long a silent server is waited for, how long a connection is kept."""
import pathlib
import socket
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from remotescene import Scene  # noqa: E402
from smtpsink import Sink  # noqa: E402

HERE, THERE, PORT = "fd00::9", "fd00:60::1", 2525
LIMITS = dict(smtp_connect_timeout="1s", smtp_mail_timeout="1s", smtp_data_xfer_timeout="1s", smtp_rset_timeout="1s", smtp_quit_timeout="1s",
              minimal_backoff_time="300s")


def make(**settings):
    for a in (HERE, THERE):
        subprocess.run(["ip", "-6", "addr", "replace", a + "/128", "dev", "lo", "nodad"], check=True)
    s = Scene(**settings)
    names = ("dual", "full", "auth", "slow", "rset", "quit", "kept", "half")
    table = s.map("transport", "".join("%s.example smtp:[%s.example]:%d\n" % (n, n, PORT) for n in names))
    passwords = s.map("passwords", "[auth.example]:%d joe:word\n" % PORT, 0o640)
    import grp
    import os
    os.chown(passwords, 0, grp.getgrnam("_postern_map").gr_gid)
    s.suite.settings.update(transport_maps="texthash:%s" % table, smtp_sasl_auth_enable="yes", smtp_sasl_password_maps="texthash:%s" % passwords,
                            smtp_sasl_security_options="noanonymous")
    s.suite.configure()
    for i, n in enumerate(names):
        s.dns.add(n + ".example", "A", "127.0.62.%d" % i)
    s.dns.add("dual.example", "AAAA", THERE)
    s.dns.add("half.example", "AAAA", HERE)     # nobody listens there
    return s.start()


@pytest.fixture(scope="module")
def limited():
    s = make(smtp_address_preference="ipv6", smtp_bind_address6=HERE, smtp_connection_reuse_count_limit="2", **LIMITS)
    yield s
    s.close()


def test_ipv6_first_from_the_address_that_was_asked_for(limited):
    six, four = Sink(THERE, PORT), Sink("127.0.62.0", PORT)
    limited.log(limited.send("a@dual.example"), r"relay=dual\.example\[fd00:60::1\]:2525, .*status=sent")
    assert six.peers == [HERE] and four.connections == 0
    six.close()
    four.close()


def test_the_other_family_is_the_way_out(limited):
    sink = Sink("127.0.62.7", PORT)
    limited.log(limited.send("a@half.example"), r"relay=half\.example\[127\.0\.62\.7\]:2525, .*status=sent")
    sink.close()


def test_ipv4_first():
    s = make(smtp_address_preference="ipv4", **LIMITS)
    six, four = Sink(THERE, PORT), Sink("127.0.62.0", PORT)
    try:
        for r in "abc":
            s.log(s.send(r + "@dual.example"), r"relay=dual\.example\[127\.0\.62\.0\]:2525, .*status=sent")
        assert six.connections == 0
    finally:
        six.close(), four.close(), s.close()


@pytest.mark.parametrize("protocol,there,way", [("ipv4", "half.example", r"half\.example\[127\.0\.62\.7\]"), ("ipv6", "dual.example", r"dual\.example\[fd00:60::1\]")])
def test_of_one_protocol_alone_no_other_is_tried_or_asked_for(protocol, there, way):
    s = make(inet_protocols=protocol, smtp_address_preference="ipv6" if protocol == "ipv4" else "ipv4", **LIMITS)
    six, four = Sink(THERE, PORT), Sink("127.0.62.7", PORT)
    try:
        s.log(s.send("a@" + there), r"relay=%s:2525, .*status=sent" % way)
        assert {t for n, t in s.dns.asked if n == there} & {"A", "AAAA"} == {"A" if protocol == "ipv4" else "AAAA"}
    finally:
        six.close(), four.close(), s.close()


def test_a_server_that_takes_no_connection(limited):
    """Its backlog is full: nobody answers the first packet."""
    with socket.socket() as full:
        full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        full.bind(("127.0.62.1", PORT))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for f in fillers:
            f.setblocking(False)
            f.connect_ex(("127.0.62.1", PORT))
        limited.log(limited.send("a@full.example"), r"status=deferred \(connect to full\.example\[127\.0\.62\.1\]:2525: Connection timed out\)")
        for f in fillers:
            f.close()


def test_silence_after_auth(limited):
    sink = Sink("127.0.62.2", PORT, login=(["PLAIN"], "joe", "word"))
    sink.refuse["AUTH"] = None
    limited.log(limited.send("a@auth.example"), r"status=deferred \(conversation with auth\.example\[127\.0\.62\.2\] timed out while authenticating\)")
    sink.close()


def test_a_server_that_stops_reading(limited):
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.62.3", PORT))
        listener.listen(5)
        done = threading.Event()

        def serve():
            c = listener.accept()[0]
            c.sendall(b"220 x\r\n")
            for answer in (b"250 x\r\n", b"250 Ok\r\n", b"250 Ok\r\n", b"354 go\r\n"):
                c.recv(1000)
                c.sendall(answer)
            done.wait(30)
            c.close()
        threading.Thread(target=serve, daemon=True).start()
        qid = limited.send("a@slow.example", body=("x" * 990 + "\r\n") * 9000)
        limited.log(qid, r"status=deferred \(conversation with slow\.example\[127\.0\.62\.3\] timed out while sending message body\)", timeout=30)
        done.set()


@pytest.mark.parametrize("verb, n, name, to", [("RSET", 4, "rset", "refused"), ("QUIT", 5, "quit", "a")])
def test_a_server_that_does_not_answer_at_the_end(limited, verb, n, name, to):
    """The message has its result, and the connection is closed all the same."""
    sink = Sink("127.0.62.%d" % n, PORT)
    sink.refuse[verb] = None
    sink.refuse["<refused@%s.example>" % name] = "450 4.2.0 later"
    limited.log(limited.send("%s@%s.example" % (to, name)), "status=" + ("deferred" if to == "refused" else "sent"))
    end = time.monotonic() + 30
    while "127.0.62.%d:%d" % (n, PORT) in subprocess.run(["ss", "-Htn", "state", "established"], stdout=subprocess.PIPE, text=True).stdout:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert verb in sink.commands
    sink.close()


def test_a_connection_serves_no_more_messages_than_it_may(limited):
    sink = Sink("127.0.62.6", PORT)
    for r in "abcde":
        limited.log(limited.send(r + "@kept.example"), "status=sent")
    assert sink.connections == 3
    sink.close()
