"""The memory of right passwords, attacked: a success of one account must open no other (the CVE-2025-30189 class)."""
import time

from test_saslauthd import ask, request


def test_same_login_and_password_in_another_realm(make_authd):
    a = make_authd(auth_cache_time="60")
    a.add("carol@one.example", "first secret")
    a.add("carol@two.example", "second secret")
    a.start()
    assert ask(a, request("carol", "first secret", "imap", "two.example")).startswith("NO")
    time.sleep(1)
    for _ in range(2):
        assert ask(a, request("carol", "first secret", "imap", "one.example")) == "OK Success."
    assert "reason=cached" in a.log(), "the second answer came from memory, or this test tests nothing"
    assert ask(a, request("carol", "first secret", "imap", "two.example")).startswith("NO"), "another account, another password"
