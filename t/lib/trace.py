"""System calls of running processes by strace: for tests of how much is done, which do not depend on how fast the machine is."""
import collections
import re
import signal
import subprocess
import uuid

LINE = re.compile(r"^(\d+) +(\w+)\(")
# Of a call that another process cut in two the second half.
ENDED = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed>).* = (-?\d+)\b")
CHILD = re.compile(r"^(\d+) +(?:<\.\.\. )?(?:clone3?|v?fork)\b.* = (\d+)$")


class Trace:
    """with Trace(directory, {pid: role}, "sendmsg,recvmsg") as t: …; then t.counts(): {(role, call): how often}. What they fork meanwhile has the role of its parent.
    delayed, delay_ms: of each such call, so that others have time for what they are to do meanwhile."""

    def __init__(self, directory, roles, calls, delayed=None, delay_ms=0):
        self.path, self.roles, self.calls = directory / ("trace-%s" % uuid.uuid4().hex), roles, calls
        self.delay = ["-e", "inject=%s:delay_exit=%d" % (delayed, delay_ms * 1000)] if delayed else []

    def __enter__(self):
        self.process = subprocess.Popen(["strace", "-f", "-s", "0", "-o", str(self.path), "-e", "trace=clone,clone3,fork,vfork," + self.calls,
                                         *self.delay, *("-p%d" % pid for pid in self.roles)], stderr=subprocess.PIPE)
        left = set(self.roles)
        while left:
            line = self.process.stderr.readline().decode()
            assert line, "strace has ended"
            found = re.search(r"Process (\d+) attached|PTRACE_SEIZE, (\d+)", line)      # or gone meanwhile
            if found:
                left.discard(int(found.group(1) or found.group(2)))
        return self

    def __exit__(self, *unused):
        self.process.send_signal(signal.SIGINT)
        self.process.communicate()

    def counts(self):
        lines, parents, out = self.path.read_text(errors="replace").splitlines(), {}, collections.Counter()
        for line in lines:
            child = CHILD.match(line)
            if child:
                parents[int(child.group(2))] = int(child.group(1))
        for line in lines:
            found = LINE.match(line)
            if found:
                out[self.role(int(found.group(1)), parents), found.group(2)] += 1
        return out

    def ended(self):
        """[(call, result)] in the order in which they ended."""
        found = (ENDED.match(line) for line in self.path.read_text(errors="replace").splitlines())
        return [(m.group(1), int(m.group(2))) for m in found if m]

    def role(self, pid, parents):
        while pid not in self.roles and pid in parents:
            pid = parents[pid]
        return self.roles.get(pid, "?")
