"""Transcripts: what a client says and what it must be answered, as text. A file holds many, each below a line "== RFC 5321 4.1.1.4: what it shows".

    @ SMTP          a connection to this port (a name of the suite's, or a number; "tls": with TLS at once), in place of the one before
    & name          from here on the connection of this name; at first a new one, which begins as the first one did
    C: text         is sent, with CRLF; $NAME is filled in
    L: text         behind a "C:" that ends in "{+}" or "{}": a line of this IMAP literal, whose size is put into the braces; "{}" waits for the server's "+".
                    What stands behind the literal is in the next "C:"
    C< text         is sent without
    S: pattern      the next line; * stands for anything
    S~ pattern      a line to come: those before it are passed over
    TLS             the handshake
    END             the server closes
"""
import pathlib
import re
import string

import mailtools


def read(path):
    """[(headline, [(number, line)])] of a file."""
    out = []
    for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
        if line.startswith("== "):
            out.append((line[3:], []))
        elif line and not line.startswith("#"):
            out[-1][1].append((number, line))
    return out


def like(pattern, line):
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), line) is not None


class Player:
    def __init__(self, suite, name, **values):
        self.suite, self.name, self.values, self.wire = suite, name, values, None
        self.others, self.current, self.before = {}, "", ()

    def connect(self, port, *how):
        if self.wire:
            self.wire.close()
        number = int(port) if port.isdigit() else self.suite.port(port)
        self.wire = mailtools.Wire(self.suite.hosts[0].strip("[]"), number, timeout=30, context=self.suite.tls_context() if "tls" in how else None)

    def line(self, where, pattern):
        line = self.wire.line()
        assert line.endswith(b"\r\n"), "%s: wanted %s, got %r" % (where, pattern, line)
        return line[:-2].decode("utf-8", "replace")

    def switch(self, name):
        self.others[self.current] = self.wire
        self.current, self.wire = name, self.others.pop(name, None)
        if not self.wire:
            for number, line in enumerate(self.before):
                self.step("%s:%d" % (name, number), line)

    def literal(self, where, head, lines):
        text = "".join(self.filled(line) + "\r\n" for line in lines).encode()
        self.wire.send(re.sub(r"\{(\+?)\}$", r"{%d\1}" % len(text), self.filled(head)) + "\r\n")
        if head.endswith("{}"):
            assert self.line(where, "+ *").startswith("+ "), where
        self.wire.send(text)

    def filled(self, line):
        return string.Template(line[3:]).safe_substitute(self.values)

    def step(self, where, line):
        word, text = line[:2], self.filled(line)
        if word == "@ ":
            self.connect(*line[2:].split())
        elif word == "& ":
            self.switch(line[2:])
        elif word in ("C:", "C<"):
            self.wire.send(text + ("\r\n" if word == "C:" else ""))
        elif word == "S:":
            got = self.line(where, text)
            assert like(text, got), "%s: wanted %s, got %s" % (where, text, got)
        elif word == "S~":
            seen = []
            while not seen or not like(text, seen[-1]):
                seen.append(self.line(where, "%s after %s" % (text, seen)))
        elif line == "TLS":
            self.wire.starttls(self.suite.tls_context())
        elif line == "END":
            assert self.wire.line() == b"", "%s: not closed" % where
        else:
            raise ValueError("%s: %s" % (where, line))

    def play(self, lines, before=()):
        """before: steps of those that do not connect by themselves."""
        self.before = before
        lines = [*([] if lines[0][1].startswith("@ ") else enumerate(before)), *lines]
        try:
            while lines:
                number, line = lines.pop(0)
                literal = []
                while lines and lines[0][1].startswith("L:"):
                    literal.append(lines.pop(0)[1])
                if literal:
                    self.literal("%s:%d" % (self.name, number), line, literal)
                else:
                    self.step("%s:%d" % (self.name, number), line)
        finally:
            for wire in (self.wire, *self.others.values()):
                if wire:
                    wire.close()
