"""The server's certificate with several kinds of key (tls_alt_cert_files): each daemon, what the client can do decides; renewal, mistakes, where the keys are."""
import os
import re
import signal
import ssl
import subprocess

import pytest

import mailtools
from named import Names
from test_walls import find, memory_holds
from waiting import until

PORTS = (("SUBMISSIONS", ()), ("IMAPS", ()), ("POP3S", ()), ("SMTP", ("-starttls", "smtp")), ("SUBMISSION", ("-starttls", "smtp")), ("IMAP", ("-starttls", "imap")),
         ("POP3", ("-starttls", "pop3")))


def make(fresh, name, **settings):
    s = fresh(name, start=False, users=("alice@example.com",))
    s.names = Names(s.base / "etc")
    s.alt = s.names.cert("alt-rsa", "mail.example.com", kind="RSA")
    s.settings.update(tls_alt_cert_files=s.alt[0], tls_alt_key_files=s.alt[1], tls_signatures_per_second=100000, **settings)
    s.configure()
    return s


@pytest.fixture(scope="module", params=["isolated", "shared"])
def served(request, fresh_suite_module):
    s = make(fresh_suite_module, "alt-" + request.param, front_mode=request.param)
    net = s.names.cert("mail.example.net")
    s.names.write({"mail.example.net": [net]})
    s.settings.update(tls_server_sni_maps="texthash:%s" % s.names.table)
    s.configure()
    s.start()
    return s


def kind(s, *options, port="IMAPS"):
    """Of which kind the server's signature is; None: there is no handshake."""
    p = subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % (s.host, s.port(port)), *options], input=b"", capture_output=True, timeout=60)
    found = re.search(rb"Peer signature type: (\S+)", p.stdout)
    return found and found.group(1)


RSA, RSA12 = ("-sigalgs", "RSA-PSS+SHA256"), ("-tls1_2", "-sigalgs", "RSA+SHA256")


def shown(s, name=None, *options):
    """The certificate for a client that asks for name: DER, or None."""
    p = subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % (s.host, s.port("IMAPS")), *(("-servername", name) if name else ("-noservername",)), *options], input=b"",
                       capture_output=True, timeout=60).stdout.decode()
    return ssl.PEM_cert_to_DER_cert(p[p.index("-----BEGIN"):p.index("-----END") + 25]) if "-----BEGIN" in p else None


def default(s):
    return ssl.PEM_cert_to_DER_cert((s.base / "etc" / "cert.pem").read_text())


def scalar(key):
    """An EC key's number, as it would be in the memory of whoever has read it."""
    text = subprocess.run(["openssl", "ec", "-in", key, "-text", "-noout"], capture_output=True, check=True).stdout.decode()
    number = bytes.fromhex("".join(text[text.index("priv:") + 5:text.index("pub:")].split()).replace(":", ""))[-32:]
    return [number, number[::-1]]


@pytest.mark.parametrize("port, how", PORTS, ids=[p for p, _ in PORTS])
def test_what_the_client_can_do_decides(served, port, how):
    assert kind(served, *how, port=port) == b"ECDSA"
    assert kind(served, *how, *RSA, port=port) == b"RSA-PSS"
    assert kind(served, *how, *RSA12, port=port) == b"RSA"
    assert kind(served, *how, "-servername", "other.example", *RSA, port=port) == b"RSA-PSS", "a name that has no certificate"


def test_the_first_one_is_the_first_still(served):
    assert shown(served) == default(served)


def test_a_name_s_certificate_is_alone(served):
    """The kinds of the first certificate are none of another name's."""
    assert shown(served, "mail.example.net") == served.names.der("mail.example.net")
    assert kind(served, "-servername", "mail.example.net", *RSA) is None


def test_the_keys_are_in_the_key_worker_alone(fresh_suite):
    """Here the first certificate is the RSA one, the second EC, whose number can be searched for."""
    s = make(fresh_suite, "alt-keys")
    ec = s.names.cert("alt-ec", "mail.example.com")
    s.settings.update(tls_cert_file=s.alt[0], tls_key_file=s.alt[1], tls_alt_cert_files=ec[0], tls_alt_key_files=ec[1])
    s.configure()
    s.start()
    wanted = scalar(ec[1])
    assert kind(s) == b"ECDSA" and kind(s, *RSA) == b"RSA-PSS"
    with mailtools.Wire(s.host, s.port("IMAPS"), context=ssl.create_default_context(cafile=str(s.names.ca)), server_name="mail.example.com") as w:
        assert w.line().startswith(b"* OK")
        for pid, _user, _comm, cmd in find(s.processes(), "imapd:") + find(s.processes(), "smtpd:"):
            assert not memory_holds(pid, wanted), cmd
        assert memory_holds(find(s.processes(), "authd: key")[0][0], wanted)


def test_it_is_renewed_and_taken_away(fresh_suite):
    s = make(fresh_suite, "alt-renew")
    s.start()

    def reload():
        for name in ("authd: monitor", "imapd: parent"):
            os.kill(find(s.processes(), name)[0][0], signal.SIGHUP)

    assert shown(s, None, *RSA) == s.names.der("alt-rsa")
    s.names.cert("alt-rsa", "mail.example.com", kind="RSA")
    reload()
    until(lambda: shown(s, None, *RSA) == s.names.der("alt-rsa"))
    s.settings.update(tls_alt_cert_files="", tls_alt_key_files="")
    s.configure()
    reload()
    until(lambda: shown(s, None, *RSA) is None)
    assert shown(s) == default(s)


def test_one_that_is_broken_stops_nobody(fresh_suite):
    s = make(fresh_suite, "alt-broken")
    s.alt[0].write_text("no certificate\n")
    s.start()
    assert shown(s) == default(s) and kind(s, *RSA) is None
    s.logged(r"tls_alt_cert_files: \S+alt-rsa\.key, \S+alt-rsa\.pem: no certificate in the chain")
    s.logged(r"tls_alt_cert_files: .*; clients get the certificate of tls_cert_file instead")
    found = s.tool("postern", "check", check=False).stdout.decode()
    assert re.search(r"alt-rsa\.pem.*tls_alt_cert_files", found), found


def test_of_the_same_kind(fresh_suite):
    """The second would never be shown."""
    s = make(fresh_suite, "alt-same")
    s.names.cert("alt-rsa", "mail.example.com")
    s.start()
    assert shown(s) == default(s)
    s.logged(r"tls_alt_cert_files: two certificates have the same kind of key")
    assert "two certificates have the same kind of key" in s.tool("postern", "check", check=False).stdout.decode()
