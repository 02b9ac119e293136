"""The client's IP address, behind trusted proxies."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.requests import Request

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


def client_address(peer: str | None, forwarded_for: Sequence[str], proxies: Sequence[Network]) -> Address | None:
    """The address of the client, or None when it cannot be parsed.

    `peer` is the address of the connection, `forwarded_for` the X-Forwarded-For headers in their order. Each proxy appends the
    address that it saw, so the addresses are read from the right, as long as they belong to trusted `proxies`.
    """
    hops = [hop for header in forwarded_for for hop in header.split(",")]
    address = _parse(peer)
    while address is not None and hops and is_within(address, proxies):
        address = _parse(hops.pop())
    return address


def client_ip(request: Request, proxies: Sequence[Network]) -> str:
    """The client address of a request as text, for counting."""
    peer = request.client.host if request.client else None
    return str(client_address(peer, request.headers.getlist("x-forwarded-for"), proxies))


def is_within(address: Address | None, networks: Sequence[Network]) -> bool:
    return address is not None and any(address in network for network in networks if network.version == address.version)


def _parse(text: str | None) -> Address | None:
    try:
        address = ip_address((text or "").strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
