"""Whoever guesses keys at the console's door is shut out for a while, and nobody else with him."""

from platform_relay.api.auth_throttle import ADDRESSES, WITHIN, AuthThrottle
from platform_relay.console.login import TRIES, TRIES_OF_ALL


def test_one_address_is_shut_out_alone_and_for_a_while() -> None:
    wrong = AuthThrottle(TRIES, TRIES_OF_ALL)
    for second in range(TRIES):
        assert not wrong.locked("203.0.113.7", second)
        wrong.note("203.0.113.7", second)
    assert wrong.locked("203.0.113.7", TRIES)
    assert not wrong.locked("203.0.113.8", TRIES)
    assert not wrong.locked("203.0.113.7", WITHIN)


def test_many_addresses_together_shut_the_door() -> None:
    wrong = AuthThrottle(TRIES, TRIES_OF_ALL)
    for number in range(TRIES_OF_ALL):
        wrong.note(f"203.0.113.{number}", 0)
    assert wrong.locked("198.51.100.1", 1)


def test_only_the_last_addresses_are_remembered() -> None:
    wrong = AuthThrottle(TRIES, TRIES_OF_ALL)
    for _ in range(TRIES):
        wrong.note("203.0.113.7", 0)
    for number in range(ADDRESSES):
        assert wrong.locked("203.0.113.7", 1)
        wrong.note(f"address {number}", -WITHIN)
    assert not wrong.locked("203.0.113.7", 1)
