"""A mail user with a shell against the queue: the delivery agents run with his uid, so he may stop them. Nobody else's mail may wait for that."""
import os
import pathlib
import signal
import threading
import time

from test_queue import ALICE, BOB, files, make, send, sink, wait  # noqa: F401


class Stopper(threading.Thread):
    """Does what the user's own process could do: sends SIGSTOP to every process of his uid."""

    def __init__(self, uid):
        super().__init__(daemon=True)
        self.uid, self.stopped, self.over = uid, set(), False
        self.start()

    def run(self):
        while not self.over:
            for p in pathlib.Path("/proc").iterdir():
                try:
                    if p.name.isdigit() and p.stat().st_uid in (self.uid, 0) and (p / "comm").read_text() == "deliver\n" and \
                            ("Uid:\t%d\t" % self.uid) in (p / "status").read_text() and p.name not in self.stopped:
                        os.kill(int(p.name), signal.SIGSTOP)
                        self.stopped.add(p.name)
                except OSError:
                    pass
            time.sleep(0.001)

    def end(self):
        self.over = True
        self.join()
        for pid in self.stopped:
            try:
                os.kill(int(pid), signal.SIGCONT)
            except ProcessLookupError:
                pass


def test_stopped_agents_hold_up_nobody_else(make, sink):  # noqa: F811
    suite = make(local_time_limit="5", local_in_session_time="1")
    send(suite, ALICE)
    stopper = Stopper(suite.maildir(ALICE).stat().st_uid)
    try:
        def flood():
            for _ in range(20):
                send(suite, ALICE)
        threads = [threading.Thread(target=flood) for _ in range(15)]	# 300: more than the queue tries at once
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert stopper.stopped
        send(suite, ["ann@elsewhere.example", BOB])
        assert files(suite, BOB), "another user's copy in the session"
        assert wait(lambda: sink.got, 25), "the queue stands still"
    finally:
        stopper.end()


def test_an_agent_stopped_after_its_copy_was_ready(make, sink):  # noqa: F811
    """No answer to COMMIT: the client hears 250 all the same, and nobody gets two."""
    suite = make(local_time_limit="5", minimal_backoff_time="1", maximal_backoff_time="2")
    uid = suite.maildir(ALICE).parent.stat().st_uid
    send(suite, [ALICE, BOB])
    deadline = time.monotonic() + 3
    stopper = Stopper(uid)
    try:
        while not stopper.stopped and time.monotonic() < deadline:
            time.sleep(0.01)
        for i in range(3):
            send(suite, [ALICE, BOB], text="Subject: %d\r\n\r\nhello\r\n" % i)
    finally:
        stopper.end()
    assert wait(lambda: len(files(suite, ALICE)) >= 4, 30)
    time.sleep(2)
    assert len(files(suite, BOB)) == 4
    assert len(files(suite, ALICE)) == 4
