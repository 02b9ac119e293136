"""The egress policy: which hosts and addresses the relay may call.

Only the configured hosts may be called, and no private network unless the settings allow it. The policy checks the
address of each connection, not only the name, so a name that resolves to another address later (DNS rebinding) does not
get around it. PRIVATE_NETWORKS allows private networks. An IP address or `localhost` in a configured URL, such as
`http://127.0.0.1:9000`, is allowed without it.
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
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]
"""A result of getaddrinfo: family, type, protocol, canonical name, socket address."""
NAT64: Final = IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address."""
_DENIED: Final[ContextVar[list[str]]] = ContextVar("denied_addresses")
_PORTS: Final = {"http": 80, "https": 443}


class AddressDeniedError(OSError):
    """The policy denied a connection, because its address is in a private network that is not allowed."""

    def __init__(self, address: str) -> None:
        super().__init__(errno.EACCES, f"the address {address} is in a private network")


def denied_addresses() -> list[str]:
    """A new list to which the addresses are added that are denied from now on in the current context.

    It is needed because aiohttp combines the errors of several addresses into one error of another type.
    """
    denied: list[str] = []
    _DENIED.set(denied)
    return denied


class EgressPolicy:
    """`bases` are the configured base URLs of one destination, `private` the private networks that may be called."""

    def __init__(self, bases: Iterable[object], private: Sequence[Network] = ()) -> None:
        urls = [httpx.URL(str(base)) for base in bases]
        self._origins = frozenset(_origin(url) for url in urls)
        hosts = {url.host for url in urls}
        literals = {address for host in hosts if (address := _address(host))}
        loopback = [ip_network("127.0.0.0/8"), ip_network("::1/128")] if "localhost" in hosts else []
        self._allowed = (*private, *loopback, *(ip_network(literal) for literal in literals))

    def allows(self, url: httpx.URL) -> bool:
        """Whether scheme, host and port of `url` are configured."""
        return _origin(url) in self._origins

    def open_socket(self, info: AddressInfo) -> socket.socket:
        """Create a socket for a resolved address (aiohttp's `socket_factory`). Raises AddressDeniedError."""
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
        return (address.is_global and not address.is_multicast) or any(
            address in network for network in self._allowed if network.version == address.version
        )


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or _PORTS.get(url.scheme)


def _address(host: str) -> Address | None:
    """The IP address in `host`, as IPv4 when an IPv6 address embeds one; None when `host` is a name."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None) or address
