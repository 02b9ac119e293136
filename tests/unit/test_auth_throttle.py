"""The auth throttle locks an IP address after too many wrong keys."""

from platform_relay.api.auth_throttle import MAX_ADDRESSES, WINDOW_SECONDS, AuthThrottle
from platform_relay.console.login import ATTEMPTS_IN_TOTAL, ATTEMPTS_PER_ADDRESS


def test_an_address_is_locked_for_a_minute() -> None:
    wrong = AuthThrottle(ATTEMPTS_PER_ADDRESS, ATTEMPTS_IN_TOTAL)
    for second in range(ATTEMPTS_PER_ADDRESS):
        assert not wrong.is_locked("203.0.113.7", second)
        wrong.record_failure("203.0.113.7", second)
    assert wrong.is_locked("203.0.113.7", ATTEMPTS_PER_ADDRESS)
    assert not wrong.is_locked("203.0.113.8", ATTEMPTS_PER_ADDRESS)
    assert not wrong.is_locked("203.0.113.7", WINDOW_SECONDS)


def test_many_addresses_lock_all() -> None:
    wrong = AuthThrottle(ATTEMPTS_PER_ADDRESS, ATTEMPTS_IN_TOTAL)
    for number in range(ATTEMPTS_IN_TOTAL):
        wrong.record_failure(f"203.0.113.{number}", 0)
    assert wrong.is_locked("198.51.100.1", 1)


def test_only_the_most_recent_addresses_are_kept() -> None:
    wrong = AuthThrottle(ATTEMPTS_PER_ADDRESS, ATTEMPTS_IN_TOTAL)
    for _ in range(ATTEMPTS_PER_ADDRESS):
        wrong.record_failure("203.0.113.7", 0)
    for number in range(MAX_ADDRESSES):
        assert wrong.is_locked("203.0.113.7", 1)
        wrong.record_failure(f"address {number}", -WINDOW_SECONDS)
    assert not wrong.is_locked("203.0.113.7", 1)
