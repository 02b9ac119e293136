"""A destination's name that resolves to an address inside: every range that is not global unicast, in every spelling."""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from random import Random
from typing import Final

import pytest

from platform_relay.core.egress import AddressDeniedError, AddressInfo, EgressPolicy

INSIDE_IPV4: Final[tuple[str, ...]] = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4", "169.254.169.254/32", "192.0.0.192/32", "100.100.100.200/32", "255.255.255.255/32",
)  # fmt: skip
OUTSIDE_IPV4: Final[tuple[str, ...]] = (
    "1.0.0.0/8", "8.8.8.0/24", "9.0.0.0/8", "11.0.0.0/8", "93.184.216.0/24", "100.63.0.0/16", "100.128.0.0/16", "126.0.0.0/8",
    "128.0.0.0/16", "169.253.0.0/16", "172.15.0.0/16", "172.32.0.0/16", "192.0.1.0/24", "192.167.0.0/16", "192.169.0.0/16",
    "198.17.0.0/16", "198.20.0.0/16", "203.0.112.0/24", "203.0.114.0/24", "223.0.0.0/8",
)  # fmt: skip
INSIDE_IPV6: Final[tuple[str, ...]] = (
    "::/128", "::1/128", "100::/64", "64:ff9b:1::/48", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "2001:db8::/32",
    "2001:1::/32", "2001:2::/48", "2001:10::/28", "2001:20::/28", "3fff::/20", "3ffe::/16", "5f00::/16", "4000::/3", "e000::/4",
    "200::/7", "400::/6", "fd00:ec2::254/128", "fd20:ce::254/128",
)  # fmt: skip
OUTSIDE_IPV6: Final[tuple[str, ...]] = (
    "2001:200::/23", "2001:4860::/32", "2003::/18", "2400::/12", "2600::/12", "2606:2800:220::/48", "2800::/12", "2a00::/12",
    "2c00::/12",
)  # fmt: skip
SPELLINGS: Final[dict[str, Callable[[int], int]]] = {
    "mapped": lambda ipv4: int(IPv6Address("::ffff:0:0")) | ipv4,
    "compatible": lambda ipv4: ipv4,
    "translated": lambda ipv4: int(IPv6Address("::ffff:0:0:0")) | ipv4,
    "NAT64": lambda ipv4: int(IPv6Address("64:ff9b::")) | ipv4,
    "6to4": lambda ipv4: int(IPv6Address("2002::")) | ipv4 << 80 | 1,
    "Teredo client": lambda ipv4: int(IPv6Address("2001:0:808:808::")) | ipv4 ^ 0xFFFFFFFF,
    "Teredo server": lambda ipv4: int(IPv6Address("2001::")) | ipv4 << 64 | 0x08080808 ^ 0xFFFFFFFF,
    "ISATAP": lambda ipv4: int(IPv6Address("2600::5efe:0:0")) | ipv4,
    "ISATAP, unique": lambda ipv4: int(IPv6Address("2600::200:5efe:0:0")) | ipv4,
}


def samples(network: IPv4Network | IPv6Network, count: int = 5) -> Iterator[int]:
    """The first, the last, and some other addresses of a network."""
    first, last = int(network.network_address), int(network.broadcast_address)
    random = Random(str(network))  # the same addresses in every run
    yield from {first, last, *(random.randint(first, last) for _ in range(count))}


def corpus() -> Iterator[tuple[str, bool, str]]:
    """Addresses, whether they may be called, and what they are."""
    for networks, outside in ((INSIDE_IPV4, False), (OUTSIDE_IPV4, True)):
        for name in networks:
            for number in samples(ip_network(name)):
                yield str(IPv4Address(number)), outside, name
                for spelling, spell in SPELLINGS.items():
                    yield str(IPv6Address(spell(number))), outside, f"{name} {spelling}"
    for networks, outside in ((INSIDE_IPV6, False), (OUTSIDE_IPV6, True)):
        for name in networks:
            for number in samples(ip_network(name), 10):
                yield str(IPv6Address(number)), outside, name


def is_allowed(policy: EgressPolicy, address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    info: AddressInfo = (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 443))
    with suppress(AddressDeniedError):
        policy.open_socket(info).close()
        return True
    return False


def test_only_global_unicast_addresses_are_called() -> None:
    policy = EgressPolicy(["https://shop.example"])
    cases = list(corpus())
    assert len({address for address, _, _ in cases}) > 500
    wrong = [f"{address} ({what})" for address, outside, what in cases if is_allowed(policy, address) != outside]
    assert wrong == []


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_allowed_private_network_is_allowed_in_every_spelling_and_no_other_is(spelling: str) -> None:
    policy = EgressPolicy(["https://shop.example"], [ip_network("172.16.0.0/12")])
    inside, other = (
        str(IPv6Address(SPELLINGS[spelling](int(IPv4Address(text))))) for text in ("172.17.0.2", "10.0.0.1")
    )
    assert (is_allowed(policy, inside), is_allowed(policy, other)) == (True, False)


def test_an_address_in_the_settings_allows_no_other_one() -> None:
    policy = EgressPolicy(["http://[::1]:9000", "http://[64:ff9b:1::7]:9000"])
    assert is_allowed(policy, "::1")
    assert is_allowed(policy, "64:ff9b:1::7")
    assert not any(is_allowed(policy, other) for other in ("0.0.0.1", "127.0.0.1", "64:ff9b:1::8", "::2"))
