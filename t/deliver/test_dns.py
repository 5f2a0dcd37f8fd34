"""The dns process, asked over its socket, with a name server of this test behind it."""
import os
import pathlib
import socket
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import dnsserver  # noqa: E402
import ipc  # noqa: E402

T = dnsserver.TYPES


class Asker:
    def __init__(self, suite):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.connect(str(suite.run_dir / "dns" / "sock"))
        self.chan = ipc.Channel(self.sock, "dns", timeout=30)
        self.next = 0

    def send(self, name, kind):
        self.next += 1
        self.chan.send("QUERY", id=self.next, name=name, type=T.get(kind, kind))
        return self.next

    def recv(self):
        _, id, f, _ = self.chan.recv()
        return id, f

    def ask(self, name, kind):
        id = self.send(name, kind)
        got, f = self.recv()
        assert got == id
        return f


@pytest.fixture(scope="module")
def scene(request):
    import suite as suite_module
    dns = dnsserver.Server()
    s = suite_module.Suite(pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "dns", build=os.environ.get("POSTERN_BUILD", "dev"), hosts=("127.0.3.1",), real_ports=True,
                           settings={"dns_servers": dns.address, "dns_timeout": "2s"})
    s.make()
    s.start()
    yield s, dns
    s.stop()
    dns.close()


@pytest.mark.parametrize("name, kind, records, want", [
    ("a.test", "A", ["192.0.2.1", "192.0.2.2"], ["192.0.2.1", "192.0.2.2"]),
    ("a.test", "AAAA", ["2001:db8::1"], ["2001:db8::1"]),
    ("m.test", "MX", ["10 mx1.test", "0 ."], ["10 mx1.test", "0 ."]),
    ("t.test", "TXT", ["v=spf1 " + "x" * 600], ["v=spf1 " + "x" * 600]),
    ("1.2.0.192.in-addr.arpa", "PTR", ["host.test"], ["host.test"]),
    ("_25._tcp.m.test", "TLSA", ["3 1 1 abcdef"], ["3 1 1 abcdef"]),
])
def test_records_of_each_type(scene, name, kind, records, want):
    suite, dns = scene
    dns.add(name, kind, *records)
    f = Asker(suite).ask(name, kind)
    assert f["rcode"] == 0 and sorted(f["records"]) == sorted(w.encode() for w in want), f


def test_no_name_no_data_alias_and_ad(scene):
    suite, dns = scene
    dns.add("only-a.test", "A", "192.0.2.9").add("alias.test", "CNAME", "only-a.test")
    a = Asker(suite)
    assert a.ask("missing.example", "A")["rcode"] == 3
    f = a.ask("only-a.test", "MX")
    assert f["rcode"] == 0 and not f.get("records") and f.get("ad", 0) == 0
    dns.ad = True
    f = a.ask("alias.test", "A")
    dns.ad = False
    assert f["records"] == [b"192.0.2.9"] and f["canonical"] == b"only-a.test" and f["ad"] == 1


def test_answers_are_kept_for_their_time(scene):
    suite, dns = scene
    dns.add("kept.test", "A", "192.0.2.3", ttl=300).add("fleeting.test", "A", "192.0.2.4", ttl=0)
    a = Asker(suite)
    for _ in range(3):
        assert a.ask("KEPT.test", "A")["records"] == [b"192.0.2.3"]
        assert a.ask("fleeting.test", "A")["records"] == [b"192.0.2.4"]
    assert dns.asked.count(("kept.test", "A")) == 1
    assert dns.asked.count(("fleeting.test", "A")) == 3


def test_truncated_over_udp_is_asked_over_tcp(scene):
    suite, dns = scene
    dns.add("big.test", "*", "TRUNCATE").add("big.test", "TXT", *["%d " % i + "y" * 200 for i in range(30)])
    assert len(Asker(suite).ask("big.test", "TXT")["records"]) == 30


@pytest.mark.parametrize("special", ["SERVFAIL", "REFUSED", b"", b"\x81\x80", b"\x81\x80\0\1\xff\xff\0\0\0\0" + b"\xc0\x0c" * 200],
                         ids=["servfail", "refused", "empty", "flags only", "pointers"])
def test_a_failing_or_lying_server_is_temporary_trouble(scene, special):
    suite, dns = scene
    name = "bad%d.test" % abs(hash(special))
    dns.add(name, "*", special)
    f = Asker(suite).ask(name, "A")
    assert f["rcode"] == 2 and f["trouble"] and not f.get("records")


def test_a_silent_server_holds_up_nobody_else(scene):
    suite, dns = scene
    dns.add("silent.test", "*", "DROP").add("quick.test", "A", "192.0.2.7", ttl=0)
    a = Asker(suite)
    slow = [a.send("silent.test", "A") for _ in range(20)]
    quick = [a.send("quick.test", "A") for _ in range(20)]
    answers = dict(a.recv() for _ in range(40))
    assert list(answers)[:20] == quick, "the quick ones come first"
    assert all(answers[i]["trouble"] for i in slow)
    assert dns.asked.count(("silent.test", "A")) <= 2, "asked once for all, and once more at most"


def test_this_host_and_what_is_no_name(scene):
    suite, dns = scene
    a = Asker(suite)
    assert a.ask("localhost", "A")["records"] == [b"127.0.0.1"]
    assert a.ask("1.0.0.127.in-addr.arpa", "PTR")["records"] == [b"localhost"]
    assert a.ask("a..b", "A")["rcode"] == 3 and a.ask("x" * 64 + ".test", "A")["rcode"] == 3
    assert a.ask("a.test", 255)["trouble"]
    assert not any(n in ("localhost", "a..b") for n, _ in dns.asked)


def test_strangers_may_not_ask_and_garbage_closes_one_channel_only(scene):
    suite, dns = scene
    dns.add("alive.test", "A", "192.0.2.8")
    path = str(suite.run_dir / "dns" / "sock")
    code = "import socket,sys; s=socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(%r); s.settimeout(30); print(len(s.recv(9)))" % path
    p = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert p.stdout.strip() == b"0"
    a, b = Asker(suite), Asker(suite)
    b.sock.send(b"\xff" * 300)
    with pytest.raises(ipc.Closed):
        b.recv()
    assert a.ask("alive.test", "A")["records"] == [b"192.0.2.8"]


def test_the_process_is_found_again_after_it_died(scene):
    suite, dns = scene
    dns.add("again.test", "A", "192.0.2.5", ttl=0)
    pid = [p[0] for p in suite.processes() if p[3] == "dns"][0]
    os.kill(pid, 9)
    end = time.monotonic() + 30
    while True:
        try:
            assert Asker(suite).ask("again.test", "A")["records"] == [b"192.0.2.5"]
            return
        except (ipc.Closed, OSError, socket.timeout):
            assert time.monotonic() < end
            time.sleep(0.05)
