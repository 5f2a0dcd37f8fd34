"""A milter's connection serves one transaction after the other (SMFIC_QUIT_NC); what goes wrong with one that waits costs no mail."""
import os
import pathlib
import re
import socket
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import mailtools  # noqa: E402
import milter as milter_module  # noqa: E402
import suite as suite_module  # noqa: E402
from milter import NR_ALL, SILENCE, packet, z  # noqa: E402
from waiting import until  # noqa: E402

HOST = "127.0.8.2"


class Keeper(milter_module.Milter):
    """Keeps its connections' sockets, and the commands of each."""
    mine = threading.local()

    def reset(self, *args, **kw):
        self.socks, self.of = [], []
        return super().reset(*args, **kw)

    def talk(self, s):
        self.socks.append(s)
        self.mine.commands = []
        self.of.append(self.mine.commands)
        super().talk(s)

    def command(self, s):
        before = len(self.heard)
        more = super().command(s)
        self.mine.commands.extend(c for c, _ in self.heard[before:] if c != b"D")
        return more


@pytest.fixture(scope="module")
def scene():
    base = pathlib.Path(os.environ["POSTERN_SCRATCH"]) / "milter-reuse"
    one = Keeper()
    s = suite_module.Suite(base, build=os.environ.get("POSTERN_BUILD", "dev"), hosts=(HOST,), real_ports=True, settings={
        "filter_enable": "no", "smtpd_milters": one.name, "milter_command_timeout": "5s", "milter_content_timeout": "5s", "smtpd_peername_lookup": "no",
        "milter_max_idle": "600s", "smtpd_hard_error_limit": "1000", "smtpd_soft_error_limit": "999",
        "listener.old": "%s:2571/smtp -o { smtpd_milters = {%s,protocol=4} }" % (HOST, one.name)})
    s.make()
    s.user_add("bob@example.com", "bob-secret")
    s.start()
    s.one = one
    yield s
    s.stop()
    one.close()


@pytest.fixture
def milter(scene):
    """Without connections from the test before."""
    for s in scene.one.socks:
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
    return scene.one.reset()


def send(scene, n=1, helo="c.test", port=25, subject="hello", end="\r\n.\r\n"):
    """Messages over one session; the answers to their ends."""
    answers = []
    with mailtools.Wire(HOST, port, timeout=60) as w:
        assert w.smtp()[0] == 220 and w.smtp("EHLO " + helo)[0] == 250
        for _ in range(n):
            code, _ = w.smtp("MAIL FROM:<a@b.test>")
            if code == 250:
                assert w.smtp("RCPT TO:<bob@example.com>")[0] == 250
                assert w.smtp("DATA")[0] == 354
                w.send("Subject: %s\r\n\r\nbody%s" % (subject, end))
                code, _ = w.smtp()
            answers.append(code)
    return answers


def parked(milter, n=1):
    """n transactions are over: their connections wait."""
    until(lambda: milter.commands().count("K") >= n)


def test_one_connection_for_messages_of_several_clients(scene, milter):
    assert send(scene, 3) == [250] * 3
    parked(milter, 3)
    assert send(scene, 2, helo="other.test") == [250] * 2
    parked(milter, 5)
    assert milter.connections == 1
    assert re.fullmatch(r"O(CHMRTL+NBEK){5}", milter.commands())
    assert milter.data(b"H") == [b"c.test\0"] * 3 + [b"other.test\0"] * 2


def test_what_was_agreed_upon_holds(scene, milter):
    milter.reset(protocol=0x2 | 0x10, lists=b"\0\0\0\0" + z("j {client_addr}"))
    assert send(scene, 1) == [250]
    parked(milter)
    milter.macros.clear()
    assert send(scene, 1) == [250]
    parked(milter, 2)
    assert milter.connections == 1
    assert b"H" not in milter.commands().encode() and b"B" not in milter.commands().encode()
    assert set(milter.macros[b"C"]) == {b"j", b"{client_addr}"}


@pytest.mark.parametrize("answer,code", [(b"a", 250), (b"r", 550), (b"t", 451), (b"d", 250)])
def test_only_a_message_that_was_let_go_on_hands_it_on(scene, milter, answer, code):
    """libmilter drops SMFIC_QUIT_NC in every other state, and the next client's connection with it."""
    milter.reset({b"E": packet(answer)})
    assert send(scene, 2) == [code] * 2
    until(lambda: milter.commands().count("Q") == 2)
    assert milter.connections == 2 and "K" not in milter.commands()


def test_an_abandoned_transaction_ends_its_connection(scene, milter):
    with mailtools.Wire(HOST, 25, timeout=60) as w:
        w.smtp()
        w.smtp("EHLO c.test")
        assert w.smtp("MAIL FROM:<a@b.test>")[0] == 250
        assert w.smtp("RCPT TO:<bob@example.com>")[0] == 250
        assert w.smtp("RSET")[0] == 250
    until(lambda: "Q" in milter.commands())
    assert milter.commands() == "OCHMRAQ"
    assert send(scene, 1) == [250] and milter.connections == 2


@pytest.mark.parametrize("how", ["closes", "speaks"])
def test_one_that_ends_while_it_waits_is_replaced(scene, milter, how):
    assert send(scene, 1) == [250]
    parked(milter)
    if how == "closes":
        milter.socks[0].shutdown(socket.SHUT_RDWR)
    else:
        milter.socks[0].sendall(packet(b"c"))
    assert send(scene, 2) == [250] * 2
    assert milter.connections == 2


def test_one_that_ends_when_it_is_asked_again_costs_nothing(scene, milter):
    """It hangs up at the next client, as a milter does that knows nothing of SMFIC_QUIT_NC."""
    milter.reset({b"C": [packet(b"c"), milter_module.HANGUP, packet(b"c")]})
    assert send(scene, 1) == [250]
    parked(milter)
    assert send(scene, 1) == [250]
    assert milter.connections == 2
    assert [b"".join(c).decode() for c in milter.of][0].endswith("KC")


def test_one_that_says_nothing_when_it_is_asked_again_times_out(scene, milter):
    milter.reset({b"C": [packet(b"c"), SILENCE, packet(b"c")]})
    assert send(scene, 1) == [250]
    parked(milter)
    assert send(scene, 1) == [451]
    assert send(scene, 1) == [250]


def test_transactions_at_once_have_connections_of_their_own(scene, milter):
    milter.reset({b"E": [SILENCE, packet(b"c")]})
    got = []
    waits = threading.Thread(target=lambda: got.extend(send(scene, 1)), daemon=True)
    waits.start()
    until(lambda: milter.data(b"E"))
    assert send(scene, 2) == [250] * 2
    waits.join(60)
    assert got == [451] and milter.connections == 2


def test_older_protocols_and_who_answers_nothing_get_a_connection_each(scene, milter):
    milter.reset(version=4)
    assert send(scene, 2, port=2571) == [250] * 2
    until(lambda: milter.commands().count("Q") == 2)
    assert milter.connections == 2 and "K" not in milter.commands()
    milter.reset(protocol=NR_ALL)
    assert send(scene, 2) == [250] * 2
    until(lambda: milter.commands().count("Q") == 2)
    assert milter.connections == 2 and "K" not in milter.commands()
