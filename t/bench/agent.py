"""Times the delivery agent alone: plays queued's part for one message after another, a fresh process each, in a file system in memory."""
import os
import socket
import time

import ipc
import suite as lib

USER = "alice@example.com"


def time_deliver(scratch, runs):
    """Milliseconds of each run: from before the exec to the answer that the copy is delivered."""
    base = scratch / "agent"
    base.mkdir(exist_ok=True)
    lib.run(["mount", "-t", "tmpfs", "-o", "mode=755", "postern-bench", base])
    s = lib.Suite(base / "suite", build="release", real_ports=True, settings={"filter_enable": "no"})
    s.make()
    s.user_add(USER, "x", "--scheme", "plain")
    s.start()   # authd makes the home and accounts.cdb
    s.stop()
    letter = base / "letter"
    letter.write_bytes(b"Subject: bench\n\n" + b"0123456789abcde\n" * 255)
    size, fd, times = letter.stat().st_size, os.open(letter, os.O_RDONLY), []
    argv = ["deliver", str(s.state / "accounts.cdb"), str(s.run_dir / "deliver.policy"), USER]
    for n in range(runs + 5):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        t0 = time.perf_counter()
        pid = os.posix_spawn(str(s.bin / "deliver"), argv, {}, file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)])
        theirs.close()
        chan = ipc.Channel(ours, "deliver", timeout=30)
        chan.send("COPY", id=1, fd=fd, qid="1BENCH%05d" % n, sender="s@example.org", recipient=USER, attempt=1, size=size)
        answer = chan.recv()
        if answer[0] == "READY":
            chan.send("COMMIT", id=1)
            answer = chan.recv()
        t1 = time.perf_counter()
        assert answer[0] == "DONE", answer
        chan.close()
        os.waitpid(pid, 0)
        if n >= 5:
            times.append((t1 - t0) * 1000)
    os.close(fd)
    lib.run(["umount", "-l", base])
    return times
