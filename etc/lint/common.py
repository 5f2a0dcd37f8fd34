"""What the lint scripts share: the files of the project and how a problem is told."""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DAEMONS = ("smtpd", "imapd", "pop3d", "filterd", "authd", "deliver", "admin")
problems = 0


def files(*suffixes):
    """Files of the tree (those that git knows or would add), relative to its top."""
    names = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], stdout=subprocess.PIPE,
                           check=False).stdout.decode().split("\n")
    if names == [""]:
        names = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file() and "build" not in p.parts]
    return [n for n in sorted(names) if n.endswith(suffixes) and (ROOT / n).is_file()]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")


def problem(place, text):
    global problems
    problems += 1
    print("%s: %s" % (place, text))


def finish(what):
    if problems:
        print("%s: %d problem%s" % (what, problems, "" if problems == 1 else "s"))
    sys.exit(1 if problems else 0)
