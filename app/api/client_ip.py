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
    address = parse_address(peer)
    while address is not None and hops and is_within(address, proxies):
        address = parse_address(hops.pop())
    return address


def client_ip(request: Request, proxies: Sequence[Network]) -> str:
    """The client address of a request as text, for counting (`counted_as`)."""
    peer = request.client.host if request.client else None
    return counted_as(client_address(peer, request.headers.getlist("x-forwarded-for"), proxies))


def counted_as(address: Address | None) -> str:
    """The address as text, for counting per client. An IPv6 client has a /64 network, whose addresses count together."""
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return str(address)


def is_within(address: Address | None, networks: Sequence[Network]) -> bool:
    return address is not None and any(address in network for network in networks if network.version == address.version)


def parse_address(text: str | None) -> Address | None:
    """The address in `text`, an IPv4 address for a mapped IPv6 address; None when there is none."""
    try:
        address = ip_address((text or "").strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
