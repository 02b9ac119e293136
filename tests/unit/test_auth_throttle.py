"""The auth throttle locks an IP address after too many wrong keys."""

import pytest

from platform_relay.api.auth_throttle import MAX_ADDRESSES, WINDOW_SECONDS, AuthThrottle
from platform_relay.api.client_ip import counted_as, parse_address
from platform_relay.console.login import ATTEMPTS_PER_ADDRESS


def test_an_address_is_locked_for_a_minute() -> None:
    wrong = AuthThrottle(ATTEMPTS_PER_ADDRESS)
    for second in range(ATTEMPTS_PER_ADDRESS):
        assert not wrong.is_locked("203.0.113.7", second)
        wrong.record_failure("203.0.113.7", second)
    assert wrong.is_locked("203.0.113.7", ATTEMPTS_PER_ADDRESS)
    assert not wrong.is_locked("203.0.113.8", ATTEMPTS_PER_ADDRESS)
    assert not wrong.is_locked("203.0.113.7", WINDOW_SECONDS)


def test_only_the_most_recent_addresses_are_kept() -> None:
    wrong = AuthThrottle(ATTEMPTS_PER_ADDRESS)
    for _ in range(ATTEMPTS_PER_ADDRESS):
        wrong.record_failure("203.0.113.7", 0)
    for number in range(MAX_ADDRESSES):
        assert wrong.is_locked("203.0.113.7", 1)
        wrong.record_failure(f"address {number}", -WINDOW_SECONDS)
    assert not wrong.is_locked("203.0.113.7", 1)


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("unknown", "None"),
    ],
)
def test_the_addresses_of_an_ipv6_network_count_together(address: str, counted: str) -> None:
    assert counted_as(parse_address(address)) == counted
