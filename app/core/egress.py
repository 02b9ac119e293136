"""Whom we may call: the configured hosts only, and in no private network that nobody allowed.

A name is judged by the address that the connection is made to, at that very moment, so a name that leads elsewhere from
one look-up to the next (DNS rebinding) gains nothing. An address that stands in the settings as such, such as
`http://127.0.0.1:9000`, is its own permission, as is `localhost`; a name needs PRIVATE_NETWORKS.
"""

import errno
import socket
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import httpx

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
Found = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]
"""What getaddrinfo tells: family, type, protocol, canonical name, socket address."""
TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""NAT64 (RFC 6052): the last 32 bits are an IPv4 address."""
_DENIED: Final[ContextVar[list[str]]] = ContextVar("denied_addresses")
_PORTS: Final = {"http": 80, "https": 443}


class AddressRefusedError(OSError):
    """The connection was not made: its address is private, and not allowed."""

    def __init__(self, address: str) -> None:
        super().__init__(errno.EACCES, f"the address {address} is in a private network")


def denied_addresses() -> list[str]:
    """A new list, which gets the addresses that are refused during the call that starts now in this context.

    aiohttp combines the errors of several addresses into one and drops their types, so a call looks here instead.
    """
    denied: list[str] = []
    _DENIED.set(denied)
    return denied


class EgressPolicy:
    """`bases` are the configured addresses of one destination, `private` the private networks that may be called."""

    def __init__(self, bases: Iterable[object], private: Sequence[Network] = ()) -> None:
        urls = [httpx.URL(str(base)) for base in bases]
        self._origins = frozenset(_origin(url) for url in urls)
        hosts = {url.host for url in urls}
        literals = {found for host in hosts if (found := _address(host))}
        loopback = [ip_network("127.0.0.0/8"), ip_network("::1/128")] if "localhost" in hosts else []
        self._allowed = (*private, *loopback, *(ip_network(literal) for literal in literals))

    def covers(self, url: httpx.URL) -> bool:
        """Whether this is a configured host, by scheme, name and port."""
        return _origin(url) in self._origins

    def open_socket(self, found: Found) -> socket.socket:
        """A socket for an address that a name led to (aiohttp's `socket_factory`). Raises AddressRefusedError."""
        family, kind, protocol, _, where = found
        address = str(where[0])
        if not self._may(address):
            _DENIED.get([]).append(address)
            raise AddressRefusedError(address)
        return socket.socket(family, kind, protocol)

    def _may(self, host: str) -> bool:
        address = _address(host.partition("%")[0])
        if address is None:
            return False
        return (address.is_global and not address.is_multicast) or any(
            address in network for network in self._allowed if network.version == address.version
        )


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or _PORTS.get(url.scheme)


def _address(host: str) -> Address | None:
    """The address that `host` is, the IPv4 one where an IPv6 one only wraps it; None for a name."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    if address in TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None) or address
