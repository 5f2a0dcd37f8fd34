"""Nobody learns who has a mailbox here from how long an answer takes: where the words of an answer are the same, what is done for it is. Seen in the messages between
the processes, by strace: that does not depend on how fast the machine is."""
import pytest

import mailtools
from trace import Trace

OURS = ("queued", "resolve", "smtpd: front", "authd", "spawn", "policy", "remote", "filterd")
MESSAGES = "sendmsg,sendto,sendmmsg,write,writev"


@pytest.fixture(scope="module")
def suite(module_suite):
    return module_suite("oracles", settings={"filter_enable": "no", "smtpd_peername_lookup": "no", "inet_interfaces": "127.0.2.7",
                                             "smtpd_client_restrictions": "check_client_access inline:{127.0.0.1=REJECT}"})


@pytest.fixture
def wire(suite):
    w = mailtools.Wire(suite.host, suite.port("SMTP"))
    assert w.smtp()[0] == 220 and w.smtp("EHLO x.example")[0] == 250 and w.smtp("MAIL FROM:<a@b.example>")[0] == 250
    assert w.smtp("RCPT TO:<first@example.com>")[0] == 554      # what a connection does once is done
    return w


def work(suite, where, wire, command, answers):
    """What is sent, forked, by whom for this command."""
    roles = {pid: title for pid, _, _, title in suite.processes() if title.startswith(OURS)}
    assert any(r.startswith("smtpd: front") for r in roles.values()) and "resolve" in roles.values()
    with Trace(where, roles, MESSAGES) as t:
        answers.add((lambda code, texts: (code, texts[0]))(*wire.smtp(command)))
    return t.counts()


@pytest.mark.parametrize("command", ["RCPT TO:<%s>", "VRFY %s"])
def test_existing_and_unknown_recipients_are_equal_work(suite, wire, tmp_path, command):
    """Of a client that is refused whatever it says; of one that is not the answer says itself who exists."""
    answers, seen = set(), {}
    for who in ("bob", "ghost", "alice", "ghost.of.alice", "bob+folder", "postmaster"):
        seen[who] = work(suite, tmp_path, wire, command % (who + "@example.com"), answers)
    assert len(answers) == 1, answers
    assert all(counts == seen["bob"] for counts in seen.values()), seen
    assert seen["bob"], "something was seen at all"
    if command.startswith("RCPT"):
        assert seen["bob"]["queued: queue", "sendmsg"] == 2 and seen["bob"]["resolve", "sendmsg"] == 1, "it was looked up, for both"
