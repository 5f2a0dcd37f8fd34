"""A gatherer that was taken over (it loads name service modules) says what it likes; root writes accounts.cdb from it, and becomes those users."""
import os
import shutil
import subprocess

import ipc

GATHER = """#!/usr/bin/python3 -I
import os, pathlib, socket, sys
sys.path.insert(0, %(lib)r)
import ipc
ipc.DEFS = pathlib.Path(%(lib)r)
ch = ipc.Channel(socket.socket(fileno=3), "helper", timeout=None)
ch.recv()
ch.send("READY", id=1)
ch.recv()
for row in %(rows)r:
    ch.send("ACCOUNT", id=1, **row)
ch.send("GATHERED", id=1, count=len(%(rows)r))
"""


def row(name, uid, gid, home=None, virtual=0):
    return dict(name=name, uid=uid, gid=gid, virtual=virtual, disabled=0, **({"home": home} if home else {}))


def test_only_what_passwd_allows_is_installed(make_authd):
    a = make_authd(virtual_uid_base="200000")
    for name in ("ann", "ben"):
        subprocess.run(["useradd", "-m", "-d", str(a.base / name), "-U", name], check=False, stderr=subprocess.DEVNULL)
    ann = [int(subprocess.check_output(["id", o, "ann"])) for o in ("-u", "-g")]
    ben = [int(subprocess.check_output(["id", o, "ben"])) for o in ("-u", "-g")]
    rows = [row("ann", ann[0], ann[1], str(a.base / "ann")),	# the only true one
            row("ben", ben[0], 6, str(a.base / "ben")), row("Ben", ben[0], 42, str(a.base / "ben")), row("ben", ben[0] + 5000, 5000, "/"),
            row("eve", ben[0], ben[1], str(a.base / "ben")), row("eve", 5001, 6, "/home/eve"), row("eve@example.com", 200001, 6, virtual=1)]
    lib = a.base / "lib"
    shutil.copy(ipc.DEFS / "helper.def", lib)
    (a.bin / "authd-gather").unlink()
    (a.bin / "authd-gather").write_text(GATHER % {"lib": str(lib), "rows": rows})
    os.chmod(a.bin / "authd-gather", 0o755)
    a.start()
    a.wait_log("accounts: 1 installed, 6 left out")
    cdb = (a.state / "accounts.cdb").read_bytes()
    assert str(a.base / "ann").encode() in cdb and b"eve" not in cdb and b"ben" not in cdb


def test_a_home_with_a_final_slash_is_a_home(make_authd):
    a = make_authd()
    subprocess.run(["useradd", "-m", "-d", str(a.base / "cay") + "/", "-U", "cay"], check=False, stderr=subprocess.DEVNULL)
    a.start()
    a.wait_log("installed")
    assert (str(a.base / "cay") + "/Maildir").encode() in (a.state / "accounts.cdb").read_bytes(), a.log()
