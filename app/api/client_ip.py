"""The client's IP address, behind trusted proxies.

`client_address` is the only place that decides whose address a request has: for the networks of the Platform's webhooks, the
limits on wrong keys, and the trust in X-Forwarded-Prefix. What it cannot read is None, which is in no network.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from starlette.requests import Request

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

UNREADABLE_HOP: Final = ""
_NODE: Final = re.compile(
    r"\[(?P<v6>[0-9A-Fa-f:.]+)\](?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
    r"|(?P<v4>[0-9.]+)(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?|(?P<bare>[0-9A-Fa-f:.]+)"
)
"""An address as proxies write it (RFC 7239, section 6): IPv6 in brackets if a port follows, and without them otherwise.
`unknown` and hidden names such as `_proxy7` are no addresses."""
_PAIR: Final = re.compile(
    r'(?<![A-Za-z \t])[ \t]*([A-Za-z]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^",;\s]+)[ \t]*(?=[,;]|$)'
)
"""One parameter of the header Forwarded. Some proxies write IPv6 addresses and ports without the quotes."""
_MAPPED: Final = IPv6Network("::ffff:0:0/96")


def client_address(
    peer: str | None, forwarded_for: Sequence[str], proxies: Sequence[Network], forwarded: Sequence[str] = ()
) -> Address | None:
    """The address of the client, or None when it is not known. Never raises.

    `peer` is the address of the connection, `forwarded_for` the X-Forwarded-For headers and `forwarded` the Forwarded headers
    (RFC 7239), each in their order. Each proxy appends the address that it saw, so the addresses are read from the right, as
    long as they belong to trusted `proxies`. A proxy sets one of the two headers and may pass on the other one from the
    client: if both exist and lead to different addresses, the client is not known. Empty elements of a header do not count
    (RFC 9110, section 5.6.1): some proxies write a comma behind the last address.
    """
    of_peer = parse_address(peer)
    clients = [
        _behind(of_peer, hops, proxies)
        for hops in (_forwarded_for_hops(forwarded_for), _forwarded_hops(forwarded))
        if hops
    ]
    return clients[0] if clients and all(client == clients[0] for client in clients) else None if clients else of_peer


def client_ip(request: Request, proxies: Sequence[Network]) -> str:
    """The client address of a request as text, for counting (`counted_as`)."""
    return counted_as(request_address(request, proxies))


def request_address(request: Request, proxies: Sequence[Network]) -> Address | None:
    """The address of a request's client, or None when it is not known."""
    peer, headers = request.client.host if request.client else None, request.headers
    return client_address(peer, headers.getlist("x-forwarded-for"), proxies, headers.getlist("forwarded"))


def forwarded_scheme(header: str) -> str:
    """The scheme with which the client called the first proxy: `proto` of the first element of a Forwarded header, in lower case;
    "" if there is none, or if the header cannot be parsed."""
    elements = _elements_of(header)
    return elements[0].get("proto", "").strip('"').lower() if elements else ""


def counted_as(address: Address | None) -> str:
    """The address as text, for counting per client. An IPv6 client has a /64 network, whose addresses count together."""
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return str(address)


def is_within(address: Address | None, networks: Sequence[Network]) -> bool:
    """Whether the address is in one of the networks. `::ffff:10.0.0.0/104` is the network 10.0.0.0/8."""
    return address is not None and any(
        address in network for network in map(_plain, networks) if network.version == address.version
    )


def parse_address(text: str | None) -> Address | None:
    """The address in `text`, an IPv4 address for a mapped IPv6 address; None when there is none."""
    try:
        address = ip_address((text or "").strip())
    except ValueError:
        return None
    if not isinstance(address, IPv6Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))  # without the zone of a link-local address


def parse_hop(text: str) -> Address | None:
    """The address in one element of X-Forwarded-For, or in `for=` of Forwarded: perhaps with a port, brackets and quotes."""
    text = text.strip(" \t")
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    node = _NODE.fullmatch(text)
    return parse_address(node["v6"] or node["v4"] or node["bare"]) if node else None


def _behind(address: Address | None, hops: list[str], proxies: Sequence[Network]) -> Address | None:
    while address is not None and hops and is_within(address, proxies):
        address = parse_hop(hops.pop())
    return address


def _forwarded_for_hops(headers: Sequence[str]) -> list[str]:
    hops = [hop for header in headers for hop in header.split(",")]
    return [hop for hop in hops if hop.strip(" \t")] or hops[:1]


def _forwarded_hops(headers: Sequence[str]) -> list[str]:
    return [hop for header in headers for hop in _hops_of(header)]


def _hops_of(header: str) -> list[str]:
    """The `for` of each element of one Forwarded header. A header that cannot be parsed is one hop without an address: a
    client could begin it with a quote that hides what the proxies appended."""
    return [element.get("for", UNREADABLE_HOP) for element in _elements_of(header) or [{}]]


def _elements_of(header: str) -> list[dict[str, str]] | None:
    """The parameters of each element of one Forwarded header, with lower-case names; None if it cannot be parsed."""
    elements, parameters, position = list[dict[str, str]](), dict[str, str](), _after_empty_elements(header, 0)
    while pair := _PAIR.match(header, position):
        name, value = pair[1].lower(), pair[2]
        if name in parameters:
            return None
        parameters[name] = re.sub(r"\\(.)", r"\1", value)
        position = pair.end() + 1
        if header[pair.end() : position] != ";":
            elements.append(parameters)
            parameters = {}
            position = _after_empty_elements(header, position)
    is_whole = position > len(header) or (elements and not parameters and not header[position:].strip(" \t"))
    return elements if is_whole else None


def _after_empty_elements(header: str, position: int) -> int:
    """The position behind the commas that end empty elements."""
    for index in range(position, len(header)):
        if header[index] not in " \t,":
            break
        if header[index] == ",":
            position = index + 1
    return position


def _plain(network: Network) -> Network:
    if network.version == 4 or not network.subnet_of(_MAPPED):
        return network
    return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
