"""Forbidden files inside of archives, by the tool: each format, nested, encrypted, damaged, bombs; the session's answer names file, archive and rule."""
import base64
import gzip
import io
import json
import struct
import subprocess
import tarfile
import zipfile
import zlib

import pytest

ELF = b"\x7fELF\x02\x01\x01" + bytes(60)


def zipped(*files, **kw):
    b = io.BytesIO()
    with zipfile.ZipFile(b, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in files:
            z.writestr(name, data)
    return b.getvalue()


def tarred(*files, mode="w:gz"):
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode=mode) as t:
        for name, data in files:
            i = tarfile.TarInfo(name)
            i.size = len(data)
            t.addfile(i, io.BytesIO(data))
    return b.getvalue()


def by_7z(tmp_path, archive, name, data, *options):
    (tmp_path / name).write_bytes(data)
    subprocess.run(["7z", "a", "-bd", *options, archive, name], cwd=tmp_path, stdout=subprocess.DEVNULL, check=True)
    return (tmp_path / archive).read_bytes()


def iso(tmp_path, name, data):
    d = tmp_path / "disk"
    d.mkdir()
    (d / name).write_bytes(data)
    subprocess.run(["genisoimage", "-quiet", "-J", "-r", "-o", tmp_path / "disk.img", d], check=True, stderr=subprocess.DEVNULL)
    return (tmp_path / "disk.img").read_bytes()


def cab(name, data):
    """One stored file (MS-CAB)."""
    entry = struct.pack("<IIHHHH", len(data), 0, 0, 0x5a21, 0, 0x20) + name.encode() + b"\0"
    at = 36 + 8 + len(entry)
    head = struct.pack("<4sIIIIIBBHHHHH", b"MSCF", 0, at + 8 + len(data), 0, 44, 0, 3, 1, 1, 1, 0, 1, 0)
    return head + struct.pack("<IHH", at, 1, 0) + entry + struct.pack("<IHH", 0, len(data), len(data)) + data


def rar(name, data, flags=0):
    """One stored file (RAR 4)."""
    def block(kind, fl, rest, extra=0):
        body = struct.pack("<BHH", kind, fl, 7 + len(rest)) + rest
        return struct.pack("<H", zlib.crc32(body) & 0xffff) + body
    head = struct.pack("<IIBIIBBHI", len(data), len(data), 2, zlib.crc32(data), 0x5a215a21, 20, 0x30, len(name), 0x20) + name.encode()
    return b"Rar!\x1a\x07\0" + block(0x73, 0, bytes(6)) + block(0x74, 0x8000 | flags, head) + data + block(0x7b, 0x4000, b"")


def rar5(name, data):
    def vint(n):
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + vint(n >> 7)
    def block(body, data=b""):
        body = vint(len(body)) + body
        return struct.pack("<I", zlib.crc32(body)) + body + data
    main = block(vint(1) + vint(0) + vint(0))
    f = vint(2) + vint(2) + vint(len(data)) + vint(4) + vint(len(data)) + vint(0o644) + struct.pack("<I", zlib.crc32(data)) + vint(0) + vint(1) + vint(len(name)) + name.encode()
    return b"Rar!\x1a\x07\x01\0" + main + block(f, data) + block(vint(5) + vint(0) + vint(0))


def hidden_from_the_directory():
    """A zip whose directory lists another file than the one that comes first."""
    a, b = zipped(("setup.exe", b"MZ")), zipped(("letter.txt", b"hello"))
    local = a[:a.index(b"PK\1\2")]
    directory = bytearray(b)
    at = directory.index(b"PK\1\2")
    directory[at + 42:at + 46] = struct.pack("<I", len(local))
    end = directory.index(b"PK\5\6")
    directory[end + 16:end + 20] = struct.pack("<I", len(local) + at)
    return local + bytes(directory)


def letter(name, data, more="Content-Type: application/octet-stream"):
    return ("From: s@elsewhere.example\nDate: Sat, 28 Nov 2026 10:00:00 +0000\nSubject: x\nMIME-Version: 1.0\n%s\n"
            "Content-Disposition: attachment; filename=\"%s\"\nContent-Transfer-Encoding: base64\n\n" % (more, name)).encode() + base64.encodebytes(data)


def judge(suite, tmp_path, raw):
    f = tmp_path / "letter"
    f.write_bytes(raw)
    p = suite.tool("postern-filter", "test", "--json", f)
    return json.loads(p.stdout)


FORMATS = {
    "zip": lambda t: ("tools.zip", zipped(("readme.txt", b"hi"), ("bin/setup.exe", b"MZ"))),
    "tar": lambda t: ("tools.tar", tarred(("bin/setup.exe", b"MZ"), mode="w")),
    "tar.gz": lambda t: ("tools.tgz", tarred(("bin/setup.exe", b"MZ"))),
    "tar.xz": lambda t: ("tools.txz", tarred(("bin/setup.exe", b"MZ"), mode="w:xz")),
    "gz": lambda t: ("setup.exe.gz", gzip.compress(b"MZ")),
    "7z": lambda t: ("tools.7z", by_7z(t, "a.7z", "setup.exe", b"MZ" * 50)),
    "rar": lambda t: ("tools.rar", rar("setup.exe", b"MZ")),
    "rar5": lambda t: ("tools.rar", rar5("setup.exe", b"MZ")),
    "cab": lambda t: ("tools.cab", cab("setup.exe", b"MZ")),
    "iso": lambda t: ("tools.bin", iso(t, "setup.exe", b"MZ")),
    "renamed": lambda t: ("picture.jpg", zipped(("setup.exe", b"MZ"))),
    "zip in zip": lambda t: ("a.zip", zipped(("b.zip", zipped(("setup.exe", b"MZ"))))),
    "zip in tar.gz in 7z": lambda t: ("a.7z", by_7z(t, "a.7z", "b.tgz", tarred(("c.zip", zipped(("setup.exe", b"MZ")))))),
    "not in the directory": lambda t: ("a.zip", hidden_from_the_directory()),
    "double extension": lambda t: ("a.zip", zipped(("invoice.pdf.scr", b"x"))),
    "with a stream's name": lambda t: ("a.zip", zipped(("setup.exe.", b"x"))),
}


@pytest.mark.parametrize("what", FORMATS)
def test_a_forbidden_name_is_found_inside(suite, tmp_path, what):
    name, data = FORMATS[what](tmp_path)
    answer = judge(suite, tmp_path, letter(name, data))
    assert (answer["action"], answer["category"], answer["code"]) == ("reject", "BANNED", 550), answer
    assert ("setup.exe" in answer["text"] or "invoice.pdf.scr" in answer["text"]) and name in answer["text"] and "rule in line" in answer["text"]


@pytest.mark.parametrize("name, data", [("a.zip", zipped(("notes", ELF))), ("a.rar", rar("notes", ELF)), ("a.gz", gzip.compress(ELF)), ("winmail.dat", None)])
def test_a_program_is_found_inside_whatever_it_is_called(suite, tmp_path, name, data):
    if data is None:
        attr = lambda i, d: struct.pack("<BII", 2, i, len(d)) + d + b"\0\0"
        data = struct.pack("<IH", 0x223e9f78, 1) + attr(0x69002, b"x") + attr(0x18010, b"notes\0") + attr(0x6800f, ELF)
    answer = judge(suite, tmp_path, letter(name, data))
    assert answer["category"] == "BANNED" and ".exe-unix" in answer["text"], answer


@pytest.mark.parametrize("name, data", [
    ("a.zip", zipped(("letter.txt", b"hello"), ("picture.png", b"\x89PNG....."))), ("a.tar.gz", tarred(("letter.txt", b"hello"))),
    ("a.rar", rar("letter.txt", b"hello")), ("a.cab", cab("letter.txt", b"hello")), ("a.zip", b"PK\3\4 and no more"), ("log.gz", gzip.compress(b"x" * 100000))])
def test_what_is_harmless_inside_passes(suite, tmp_path, name, data):
    answer = judge(suite, tmp_path, letter(name, data))
    assert answer["action"] == "accept", answer


def test_encrypted_archives_are_named_and_pass_by_default(suite, tmp_path):
    for i, (name, data) in enumerate([("a.zip", by_7z(tmp_path, "a.zip", "x.txt", b"hello", "-psecret", "-tzip")), ("a.7z", by_7z(tmp_path, "b.7z", "x.txt", b"hello", "-psecret", "-mhe=on"))]):
        answer = judge(suite, tmp_path, letter(name, data))
        assert (answer["action"], answer["category"]) == ("accept", "UNCHECKED"), (i, answer)
    answer = judge(suite, tmp_path, letter("a.zip", by_7z(tmp_path, "c.zip", "setup.exe", b"MZ", "-psecret", "-tzip")))
    assert answer["category"] == "BANNED", answer


@pytest.mark.parametrize("what", ["ratio", "depth", "members"])
def test_bombs_are_refused(suite, tmp_path, what):
    if what == "ratio":
        data = zipped(("a.tar", tarred(("x", bytes(3 << 20)), mode="w") + bytes(30 << 20)))
    elif what == "depth":
        data = zipped(("x", b"x"))
        for _ in range(20):
            data = zipped(("x.zip", data))
    else:
        data = zipped(*[("f%d" % i, b"") for i in range(2000)])
    answer = judge(suite, tmp_path, letter("a.zip", data))
    assert answer["action"] == "reject" and answer["category"] == "UNCHECKED", answer


# --- messages that are made to cost ---

def nested(depth, inner):
    out = inner
    for i in range(depth):
        out = b"Content-Type: multipart/mixed; boundary=b%d; name=\"%s\"\n\n--b%d\n%s\n--b%d--\n" % (i, b"n" * 40, i, out, i)
    return out


def sections(n):
    return b"".join(b"; name*%d*=%%41%%42" % i for i in range(n))


COSTLY = {
    "parts": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\nContent-Type: text/plain; name=a.txt\n\nsome twenty letters\n" * 1000 + b"--b--\n",
    "parts, deep": nested(90, b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\nContent-Disposition: attachment; filename=a.txt\n\nx\n" * 9000 + b"--b--\n"),
    "nested messages": b"Content-Type: message/rfc822\n\n" * 3000 + b"x\n",
    "fields": b"".join(b"X-%d: y\n" % i for i in range(60000)) + b"\nx\n",
    "one long field": b"Subject: " + b"a " * 400000 + b"\n\nx\n",
    "continuations": b"Content-Type: application/octet-stream" + sections(5000) + b"\n\nx\n",
    "encoded words": b"Content-Disposition: attachment; filename=\"" + b"=?utf-8?Q?a?= " * 50000 + b"\"\n\nx\n",
    "comments": b"From: " + b"(" * 200000 + b"\nContent-Type: " + b"(" * 200000 + b"\n\nx\n",
    "quoted-printable": b"Content-Transfer-Encoding: quoted-printable\n\n" + b"=\n" * 300000 + b"=41" * 300000 + b"\n",
    "begin": b"\n" + b"begin 644 a.txt\n" * 30000,
    "zips": b"Content-Type: application/zip\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(zipped(*[("%d.zip" % i, zipped(("x", b"x"))) for i in range(700)])),
    "names in zip": b"Content-Type: application/zip\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(zipped(*[("a" * 30000 + "%d" % i, b"") for i in range(20)])),
}


@pytest.mark.parametrize("what", COSTLY)
def test_a_costly_message_gets_a_verdict_for_little(suite, tmp_path, what):
    """The kernel ends a tool that takes more than 20 seconds of CPU time."""
    import resource
    f = tmp_path / "letter"
    f.write_bytes(b"From: a@b.example\nDate: Sat, 28 Nov 2026 10:00:00 +0000\n" + COSTLY[what])
    p = subprocess.run([str(suite.bin / "postern-filter"), "-c", str(suite.conf), "test", "--json", str(f)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (20, 20)))
    assert p.returncode == 0, (p.returncode, p.stderr)
    assert json.loads(p.stdout)["action"] in ("accept", "reject")
