"""INSTALL, chapter by chapter: its very commands, run by a person's hands (a terminal that answers) in a system of its own with a real systemd."""
import os
import pathlib
import re
import subprocess

import pytest

import test_systemd

ROOT = test_systemd.ROOT
SCRIPT = """
cd "$ROOT" || exit 1
rm -rf "$SYSCONFDIR/postern" /var/spool/postern /var/lib/postern /var/log/postern.log /srv/backup /etc/cron.d/postern
for u in $(sed -n 's/^\\(_postern_[a-z]*\\):.*/\\1/p' /etc/passwd); do userdel "$u"; done
echo 'APT::Get::Upgrade "false";' > /etc/apt/apt.conf.d/99-as-it-is     # what is to be installed is, and there is no network
ip link set lo up
printf '127.0.0.1 localhost mail.example.com\\n::1 localhost\\n' > /etc/hosts
python3 "$ROOT/t/launch/run_chapters" "$ROOT/INSTALL" && exit 0
tail -n 50 /var/log/postern.log
systemctl --no-pager -l status 'postern-*.service' 2>&1 | tail -n 60
exit 1
"""


def test_every_command_of_install_works():
    script = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "chapters.sh"
    env = {**test_systemd.environment(), "BUILD": test_systemd.BUILD}
    script.write_text("\n".join("export %s='%s'" % kv for kv in env.items()) + "\n" + SCRIPT)
    p = subprocess.run([str(test_systemd.HERE / "boot"), str(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "BOOT_LIMIT_S": "240"})
    out = p.stdout.decode("utf-8", "replace")
    if p.returncode == test_systemd.CANNOT:
        pytest.skip("no cgroup2, no overlay file system or no systemd here")
    trouble = re.search(r"^(FAILED|Traceback)", out, re.M)
    at = trouble.start() if trouble else 0
    assert p.returncode == 0 and "mail was sent and read" in out and "mail.example.net has a certificate of its own" in out, out[:300] + "\n[…]\n" + out[max(0, at - 3000):at + 6000]
    assert out.count("\n=== ") + 1 > len([line for line in (ROOT / "INSTALL").read_text().splitlines() if line.startswith("    # ")])


def test_chapters_are_numbered_and_commands_are_few():
    text = (ROOT / "INSTALL").read_text()
    heads = re.findall(r"^(\d+)\. .+\n-+$", text, re.M)
    assert heads == [str(i + 1) for i in range(len(heads))] and len(heads) >= 13
    for chapter in re.split(r"^\d+\. .+\n-+$", text, flags=re.M)[1:]:
        assert 1 <= chapter.count("\n    # ") <= 9
