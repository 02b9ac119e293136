"""The egress policy: which hosts and addresses the relay may call.

Only the configured hosts may be called, and only global unicast addresses unless the settings allow others. An address
that embeds another one (mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP) counts as the embedded address. The
policy checks the address of each connection, not only the name, so a name that resolves to another address later (DNS
rebinding) does not get around it. PRIVATE_NETWORKS allows private networks. An IP address or `localhost` in a configured
URL, such as `http://127.0.0.1:9000`, is allowed without it.
"""

import errno
import socket
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from platform_relay.core.http_messages import Origin, Url, parse_url

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]
"""A result of getaddrinfo: family, type, protocol, canonical name, socket address."""
_LAST_32_BITS: Final = 0xFFFFFFFF
_IPV4_AT_END: Final = tuple(
    IPv6Network(network)
    for network in (
        "::ffff:0:0/96",  # mapped
        "::/96",  # compatible
        "::ffff:0:0:0/96",  # translated (SIIT)
        "64:ff9b::/96",  # NAT64 (RFC 6052)
    )
)
"""The last 32 bits of these addresses are an IPv4 address."""
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")
_TEREDO: Final = IPv6Network("2001::/32")
_ISATAP: Final = 0x00005EFE
"""The third group of 32 bits of an address that has an IPv4 address at its end (RFC 5214), in any network."""
_ISATAP_FLAGS: Final = 0x03000000
_NOT_GLOBAL_IPV4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)
"""IANA's special-purpose addresses, as of 2025. Not `is_global` of the standard library: its list grows with Python's version."""
_GLOBAL_IPV6: Final = IPv6Network("2000::/3")
_NOT_GLOBAL_IPV6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocols, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
        "3ffe::/16",  # the former 6bone
    )
)
_DENIED: Final[ContextVar[list[str]]] = ContextVar("denied_addresses")


class AddressDeniedError(OSError):
    """The policy denied a connection, because its address is in a private network that is not allowed."""

    def __init__(self, address: str) -> None:
        super().__init__(errno.EACCES, f"the address {address} is in a private network")


def denied_addresses() -> list[str]:
    """A new list to which the addresses are added that are denied from now on in the current context.

    It is needed because aiohappyeyeballs combines the errors of several addresses into one error of another type.
    """
    denied: list[str] = []
    _DENIED.set(denied)
    return denied


class EgressPolicy:
    """`bases` are the configured base URLs of one destination, `private` the private networks that may be called."""

    def __init__(self, bases: Iterable[object], private: Sequence[Network] = ()) -> None:
        self._origins: frozenset[Origin] = frozenset(parse_url(str(base)).origin for base in bases)
        hosts = {origin.host for origin in self._origins}
        literals = {address for host in hosts if (address := _address(host))}
        loopback = [ip_network("127.0.0.0/8"), ip_network("::1/128")] if "localhost" in hosts else []
        self._allowed = (*private, *loopback, *(ip_network(literal) for literal in literals))

    def allows(self, url: Url) -> bool:
        """Whether scheme, host and port of `url` are configured."""
        return url.origin in self._origins

    def open_socket(self, info: AddressInfo) -> socket.socket:
        """Create a socket for a resolved address (`socket_factory` of aiohappyeyeballs). Raises AddressDeniedError."""
        family, kind, protocol, _, socket_address = info
        address = str(socket_address[0])
        if not self._is_allowed(address):
            _DENIED.get([]).append(address)
            raise AddressDeniedError(address)
        return socket.socket(family, kind, protocol)

    def _is_allowed(self, host: str) -> bool:
        address = _address(host.partition("%")[0])
        if address is None:
            return False
        return self._is_configured(address) or all(
            _is_global_unicast(target) or self._is_configured(target) for target in _targets(address)
        )

    def _is_configured(self, address: Address) -> bool:
        return any(address in network for network in self._allowed if network.version == address.version)


def _address(host: str) -> Address | None:
    """The IP address in `host`; None when `host` is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _targets(address: Address) -> tuple[Address, ...]:
    """The addresses to which a connection to `address` can lead: those that it embeds, else itself."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address in _TEREDO:  # server and client; the client's address is stored inverted
        return (IPv4Address(int(address) >> 64 & _LAST_32_BITS), IPv4Address(~int(address) & _LAST_32_BITS))
    if address in _SIX_TO_FOUR:
        return (IPv4Address(int(address) >> 80 & _LAST_32_BITS),)
    embedded = IPv4Address(int(address) & _LAST_32_BITS)
    if any(address in network for network in _IPV4_AT_END):
        return (embedded,)
    if (int(address) >> 32) & ~_ISATAP_FLAGS & _LAST_32_BITS == _ISATAP:
        return (address, embedded)
    return (address,)


def _is_global_unicast(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_GLOBAL_IPV4)
    return address in _GLOBAL_IPV6 and not any(address in network for network in _NOT_GLOBAL_IPV6)
