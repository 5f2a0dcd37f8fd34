"""Tests that were skipped: which, why, and whether this machine could have run them.

    for count, place, reason in skips.found(pytest_output): …
    skips.needless(reason)  -> True: it could; the run is not whole

A reason has a row below, with a shell command that succeeds where the test can run; without a row there is no excuse."""
import functools
import re
import subprocess

IN_A_NAMESPACE = "unshare --mount sh -ec 'd=$(mktemp -d); trap \"rmdir $d\" EXIT; %s'"
CGROUPS = IN_A_NAMESPACE % "mount -t cgroup2 cgroup2 $d; g=$d/postern-probe-$$; mkdir $g; rmdir $g; umount $d"
OVERLAY = IN_A_NAMESPACE % "mount -t tmpfs tmpfs $d; cd $d; mkdir up work root; mount -t overlay -o lowerdir=/,upperdir=up,workdir=work overlay root; umount root; cd /; umount $d"
LOOP = IN_A_NAMESPACE % "mount -t tmpfs tmpfs $d; truncate -s 64M $d/disk; mkfs.ext4 -q $d/disk; mkdir $d/at; mount -o loop $d/disk $d/at; umount $d/at $d"
SANITIZED = 'case "${POSTERN_BUILD:-dev}" in asan*) false;; esac'

ROWS = [
    (r"^no cgroup2, no overlay file system or no systemd here$", "%s && %s && [ -e /lib/systemd/systemd ]" % (CGROUPS, OVERLAY)),
    (r"^no control groups$|^no control group can be made: ", CGROUPS),
    (r"^no loop device or file system: ", LOOP),
    (r"^one processor$", "[ $(nproc) -gt 1 ]"),
    (r"^mail is on ", "stat -f -c %T /var/tmp | grep -qxE 'ext2/ext3|xfs|tmpfs'"),
    (r"^this Debian leaves documentation out$", "! grep -qs '^path-exclude.*/usr/share/doc' /etc/dpkg/dpkg.cfg /etc/dpkg/dpkg.cfg.d/*"),
    (r"sanitizer|^runs without the sandbox$|^without the sandbox$|^keeps what was freed$|^its allocator keeps what is freed$", SANITIZED),
    (r"^without confinement$|^a memory file system belongs to the confinement$", '[ "${POSTERN_UNCONFINED:-}" != 1 ]'),
]


def found(text):
    """What pytest -rs says: [(how many, where, why)]."""
    return [(int(n), where, why.strip()) for n, where, why in re.findall(r"(?m)^SKIPPED \[(\d+)\] ([^:\n]+(?::\d+)?): (.*)$", text)]


@functools.lru_cache(None)
def succeeds(command):
    return subprocess.run(["sh", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def needless(reason):
    return all(succeeds(probe) for pattern, probe in ROWS if re.search(pattern, reason))
