"""The log's worker lets lines gather while many come: none is lost, none overtakes another, and who says little is heard at once."""
import re
import subprocess
import sys
import time

SENDER = """
import os, pwd, socket, sys
user = pwd.getpwnam("_postern_queue")
os.setgroups([])
os.setgid(user.pw_gid)
os.setuid(user.pw_uid)
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(sys.argv[1])
for n in range(int(sys.argv[2]), int(sys.argv[3])):
    s.send(b"2 postern/qmgr gathering: line=%d." % n)
"""


def say(suite, first, end):
    subprocess.run([sys.executable, "-c", SENDER, str(suite.run_dir / "log" / "sock"), str(first), str(end)], check=True, timeout=60)


def wait_lines(suite, n):
    end = time.monotonic() + 30
    while True:
        seen = [int(x) for x in re.findall(r"gathering: line=(\d+)\.", suite.log.read_text(errors="replace"))]
        if len(seen) >= n or time.monotonic() > end:
            return seen
        time.sleep(0.05)


def test_lines_that_come_fast_are_all_written_in_their_order(suite):
    say(suite, 0, 10000)
    assert wait_lines(suite, 10000) == list(range(10000))
    say(suite, 10000, 10001)
    assert wait_lines(suite, 10001) == list(range(10001))
