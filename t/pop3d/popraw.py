"""A POP3 client that says and shows raw lines."""
from mailtools import Wire


class Pop(Wire):
    """C: and S: lines. reply() is one line; listing() a multi-line answer, undotted."""

    def say(self, command):
        self.send(command + b"\r\n" if isinstance(command, bytes) else command + "\r\n")
        return self.reply()

    def reply(self):
        line = self.line()
        assert line == b"" or line.endswith(b"\r\n"), line
        return line[:-2].decode("utf-8", "replace")

    def ok(self, command):
        answer = self.say(command)
        assert answer.startswith("+OK"), "%s: %s" % (command, answer)
        return answer

    def err(self, command):
        answer = self.say(command)
        assert answer.startswith("-ERR "), "%s: %s" % (command, answer)
        return answer

    def raw_listing(self):
        """The bytes between the status line and the lone dot, as they came."""
        lines = []
        while True:
            line = self.line()
            assert line.endswith(b"\r\n"), line
            if line == b".\r\n":
                return b"".join(lines)
            lines.append(line)

    def listing(self, command):
        self.ok(command)
        return [(l[1:] if l.startswith(b".") else l) for l in self.raw_listing().split(b"\r\n")[:-1]]

    def message(self, command):
        self.ok(command)
        return b"".join((l[1:] if l.startswith(b".") else l) + b"\r\n" for l in self.raw_listing().split(b"\r\n")[:-1])
