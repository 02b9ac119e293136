"""Where a request really came from."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.requests import Request

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


def client_address(peer: str | None, forwarded_for: Sequence[str], proxies: Sequence[Network]) -> Address | None:
    """The nearest address that is none of our own proxies, or None when it cannot be read.

    `peer` is who opened the connection, `forwarded_for` the X-Forwarded-For headers in their order. Each proxy adds
    what it saw on the right, so they are believed from the right, and only as far as our own proxies reach.
    """
    seen = [each for header in forwarded_for for each in header.split(",")]
    address = _address(peer)
    while address is not None and seen and is_within(address, proxies):
        address = _address(seen.pop())
    return address


def address_of(request: Request, proxies: Sequence[Network]) -> str:
    """`client_address` of a request, as a text to count by."""
    peer = request.client.host if request.client else None
    return str(client_address(peer, request.headers.getlist("x-forwarded-for"), proxies))


def is_within(address: Address | None, networks: Sequence[Network]) -> bool:
    return address is not None and any(address in network for network in networks if network.version == address.version)


def _address(text: str | None) -> Address | None:
    try:
        address = ip_address((text or "").strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
