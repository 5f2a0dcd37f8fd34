"""Which macros milters get at each stage, and which version of the protocol they are offered, where the configuration says something else than the default."""
import mailtools
import pytest

import milter as milter_module

STAGES = {"connect": b"C", "helo": b"H", "mail": b"M", "rcpt": b"R", "data": b"T", "end_of_header": b"N", "end_of_data": b"E"}
WANTED = {"milter_connect_macros": "j", "milter_helo_macros": "{daemon_name}", "milter_mail_macros": "{mail_addr}", "milter_rcpt_macros": "{rcpt_addr}",
          "milter_data_macros": "{daemon_name}", "milter_end_of_header_macros": "j, v", "milter_end_of_data_macros": "v"}


def talk(suite):
    with mailtools.Wire(suite.host, suite.port("SMTP"), timeout=30) as w:
        w.smtp()
        for command in ("EHLO c.test", "MAIL FROM:<a@b.test>", "RCPT TO:<bob@example.com>", "DATA"):
            assert w.smtp(command)[0] in (250, 354)
        w.send("Subject: t\r\n\r\nx\r\n.\r\n")
        return w.smtp()[0]


@pytest.fixture
def milter():
    m = milter_module.Milter()
    yield m
    m.close()


def test_macros_of_each_stage(fresh_suite, milter):
    suite = fresh_suite("macros", settings={"filter_enable": "no", "smtpd_milters": milter.name, **WANTED})
    assert talk(suite) == 250 and milter.quit.wait(30)
    got = {stage: milter.macros.get(letter, {}) for stage, letter in STAGES.items()}
    assert {stage: sorted(k.decode() for k in got[stage]) for stage in STAGES} == {
        stage: sorted(w.strip(",") for w in WANTED["milter_%s_macros" % stage].split()) for stage in STAGES}
    assert got["end_of_data"][b"v"] == b"Postern" and got["rcpt"][b"{rcpt_addr}"] == b"bob@example.com"


def test_milter_protocol_and_milter_default_action(fresh_suite, milter):
    milter.reset(version=3, actions=0x3d)
    suite = fresh_suite("protocol", settings={"filter_enable": "no", "smtpd_milters": milter.name, "milter_protocol": "3", "milter_default_action": "accept"})
    assert talk(suite) == 250
    assert milter.offered[0] == 3
    milter.reset({b"E": milter_module.HANGUP})
    assert talk(suite) == 250, "a milter that fails is as if it were not there"
