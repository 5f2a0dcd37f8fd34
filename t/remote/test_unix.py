"""LMTP to a server on this host, over a UNIX socket: lmtp:unix:/path."""
import os
import pathlib
import pwd
import socket
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from remotescene import Scene  # noqa: E402
from smtpsink import Sink  # noqa: E402


class UnixSink:
    """A Sink behind a UNIX socket that only remote's user may open."""

    def __init__(self, path, **kw):
        self.sink = Sink(lmtp=True, **kw)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        os.chown(path, pwd.getpwnam("_postern_remote").pw_uid, -1)
        os.chmod(path, 0o600)
        self.listener.listen(10)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                a = self.listener.accept()[0]
            except OSError:
                return
            b = socket.create_connection(("127.0.0.1", self.sink.port))
            for x, y in ((a, b), (b, a)):
                threading.Thread(target=self.copy, args=(x, y), daemon=True).start()

    @staticmethod
    def copy(x, y):
        try:
            while data := x.recv(65536):
                y.sendall(data)
            y.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.close()
        self.sink.close()


@pytest.fixture(scope="module")
def scene():
    s = Scene(minimal_backoff_time="1s")
    s.path = s.suite.base / "lmtp"
    s.path.mkdir()
    os.chmod(s.path, 0o755)
    table = s.map("transport", "store.example lmtp:unix:%s/store\nnone.example lmtp:unix:%s/none\nodd.example lmtp:unix:relative\n" % (s.path, s.path))
    s.suite.settings["transport_maps"] = "texthash:%s" % table
    s.suite.settings["mailbox_transport"] = "lmtp:unix:%s/store" % s.path
    s.suite.configure()
    s.unix = UnixSink(s.path / "store")
    yield s.start()
    s.unix.close()
    s.close()


def test_each_recipient_has_an_answer(scene):
    scene.unix.sink.refuse["<b@store.example>"] = "550 5.1.1 nobody"
    qid = scene.send("a@store.example", "b@store.example", sender="")
    scene.log(qid, r"lmtp\[\d+\]: .*to=<a@store\.example>, relay=mail\.example\.com\[\S+/lmtp/store\], .*status=sent")
    scene.log(qid, r"to=<b@store\.example>, .*dsn=5\.1\.1, status=bounced")
    env, data, _ = scene.unix.sink.wait()
    assert len(env) == 2 and data.endswith(b"hello\r\n") and scene.unix.sink.commands[0].startswith("LHLO ")


def test_many_at_once(scene):
    qids = [scene.send("u%d@store.example" % i, sender="") for i in range(20)]
    for q in qids:
        scene.log(q, "status=sent")


@pytest.mark.parametrize("domain, want", [("none.example", r"status=deferred \(connect to \S+/lmtp/none: No such file or directory\)"), ("odd.example", r"status=deferred \(bad next hop\)")])
def test_a_socket_that_is_not_there(scene, domain, want):
    scene.log(scene.send("a@" + domain, sender=""), want)


def test_the_server_comes_back(scene):
    qid = scene.send("c@none.example", sender="")
    scene.log(qid, "status=deferred")
    late = UnixSink(scene.path / "none")
    scene.log(qid, "status=sent", timeout=30)
    late.close()


def test_check_knows_it(scene):
    text = scene.suite.tool("postern", "check", check=False).stdout.decode()
    assert "mailbox_transport" not in text
