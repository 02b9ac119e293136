"""The client's address behind proxies: every way to write it, and nothing else grants trust."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_relay.api.client_ip import Address, client_address, is_within, parse_address, parse_hop

PROXY = "10.0.0.9"
PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
CLIENT, CLIENT_6 = "203.0.113.77", "2001:db8::1"
ALLOWED = (ip_network("203.0.113.0/24"), ip_network("2001:db8::/32"))


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        (CLIENT, CLIENT),
        ("203.0.113.77:50617", CLIENT),
        (" 203.0.113.77:1 ", CLIENT),
        ('"203.0.113.77:50617"', CLIENT),
        ("203.0.113.77:_port", CLIENT),
        (CLIENT_6, CLIENT_6),
        ("[2001:db8::1]", CLIENT_6),
        ("[2001:DB8::1]:443", CLIENT_6),
        ('"[2001:db8::1]:443"', CLIENT_6),
        ("::ffff:203.0.113.77", CLIENT),
        ("[::ffff:203.0.113.77]:50617", CLIENT),
        ("::ffff:cb00:714d", CLIENT),
        *((hop, None) for hop in ("", "unknown", "_hidden", "_SEVKISEK", "unknown:80", "[unknown]", "localhost")),
        *((hop, None) for hop in ("203.0.113.77:", "203.0.113.77:123456", "203.0.113.77:x", "203.0.113.77:1:2")),
        *(
            (hop, None)
            for hop in ("[203.0.113.77", "203.0.113.77]", "[]:1", "[2001:db8::1]443", '"203.0.113.77', "'1.1.1.1'")
        ),
        *(
            (hop, None)
            for hop in ("203.0.113", "0313.0.113.77", "203.0.113.0/24", "２03.0.113.77", "fe80::1%eth0", "1.1.1.1\n")
        ),
    ],
)
def test_an_address_as_proxies_write_it(hop: str, address: str | None) -> None:
    assert parse_hop(hop) == (ip_address(address) if address else None)


@pytest.mark.parametrize(
    ("forwarded_for", "forwarded", "address"),
    [
        ([], [], PROXY),
        ([f"{CLIENT}:50617"], [], CLIENT),
        ([f"198.51.100.1, {CLIENT}:1", "10.1.1.1:2"], [], CLIENT),
        ([f"198.51.100.1, {CLIENT}:1,10.1.1.1", "[fd00::7]:443"], [], CLIENT),
        ([f"{CLIENT}, unknown"], [], None),
        ([f"{CLIENT}, _hidden, 10.1.1.1"], [], None),
        ([f"{CLIENT},"], [], CLIENT),
        (["8.23.191.142:52987, [fd00::d63d:e0b8:bc35:12be]:64909"], [], "8.23.191.142"),  # Azure Static Web Apps
        ([], [f"for={CLIENT}"], CLIENT),
        ([], ['For="[2001:db8::1]:4711"'], CLIENT_6),
        ([], ["for=2001:db8::1"], CLIENT_6),
        ([], [f"for=198.51.100.1, for={CLIENT};proto=https;by=10.0.0.9 , FOR = 10.2.2.2"], CLIENT),
        ([], [f'for={CLIENT};host="a,b;c"', 'for="10.1.1.1:9"'], CLIENT),
        ([], ['for="203.0.113.\\77"'], CLIENT),  # a quoted pair
        ([], [f"for={CLIENT}", "for=unknown"], None),
        ([], [f"for={CLIENT}, for=_hidden"], None),
        ([], [f"for={CLIENT}, proto=https"], None),
        ([], [f"for={CLIENT};for={CLIENT}"], None),
        ([], [f'for=", for={CLIENT}'], None),
        ([], [f'for={CLIENT}, for="'], None),
        ([], [f"for={CLIENT},"], CLIENT),
        ([], [f" , for={CLIENT}, ,for=10.2.2.2 ,, "], CLIENT),
        ([], [f"for={CLIENT};"], None),
        ([], [","], None),
        ([], [""], None),
        ([f"{CLIENT}, "], [], CLIENT),
        ([f",{CLIENT}, ,10.1.1.1,\t"], [], CLIENT),
        ([CLIENT, ""], [], CLIENT),
        ([f"{CLIENT}, unknown, "], [], None),
        ([" , "], [], None),
        ([""], [], None),
        ([], [CLIENT], None),
        ([CLIENT], [f'for="{CLIENT}:1"'], CLIENT),
        ([CLIENT], ["for=198.51.100.1"], None),  # one of the two came from the client
        (["198.51.100.1"], [f"for={CLIENT}"], None),
        ([CLIENT], ["junk"], None),
    ],
)
def test_hops(forwarded_for: list[str], forwarded: list[str], address: str | None) -> None:
    expected = ip_address(address) if address else None
    assert client_address(PROXY, forwarded_for, PROXIES, forwarded) == expected
    assert client_address(f"::ffff:{PROXY}", forwarded_for, PROXIES, forwarded) == expected


addresses = st.one_of(
    st.ip_addresses(v=4), st.ip_addresses(v=6).filter(lambda address: parse_address(str(address)) == address)
)
junk = st.one_of(
    st.text(), st.text(alphabet='0123456789abcdef:.[]",;= \\_for', max_size=60), st.just(f"{CLIENT}, unknown")
)


def written(address: Address, data: st.DataObject) -> str:
    port = data.draw(st.one_of(st.just(""), st.integers(0, 65535).map(lambda number: f":{number}")))
    bare = isinstance(address, IPv4Address) or (not port and data.draw(st.booleans()))
    text = f"{address}{port}" if bare else f"[{address}]{port}"
    if isinstance(address, IPv4Address) and not port and data.draw(st.booleans()):
        text = f"::ffff:{address}"
    return f'"{text}"' if data.draw(st.booleans()) else text


@given(data=st.data(), client=addresses, forged=junk, proxies=st.lists(st.sampled_from((PROXY, "fd00::7")), max_size=3))
def test_what_the_client_claims_never_counts(
    data: st.DataObject, client: Address, forged: str, proxies: list[str]
) -> None:
    """The rightmost address that is no proxy is the client's, however it is written and whatever precedes it."""
    if is_within(client, PROXIES):
        return
    hops = [written(client, data), *(written(ip_address(proxy), data) for proxy in proxies)]
    split = data.draw(st.integers(0, len(hops)))
    header = [",".join([forged, *hops[:split]]), *([", ".join(hops[split:])] if hops[split:] else [])]
    assert client_address(PROXY, header, PROXIES) == client
    elements = [f"for={hop}" for hop in hops]
    assert client_address(PROXY, [], PROXIES, [forged, ", ".join(elements)]) == client
    in_one_line = client_address(PROXY, [], PROXIES, [", ".join([forged, *elements])])
    assert in_one_line in (client, None)


@given(peer=st.one_of(st.none(), junk, addresses.map(str)), headers=st.lists(junk), forwarded=st.lists(junk))
def test_garbage_never_raises_and_is_never_trusted(peer: str | None, headers: list[str], forwarded: list[str]) -> None:
    client = client_address(peer, headers, PROXIES, forwarded)
    if not is_within(parse_address(peer), PROXIES):
        assert client == parse_address(peer)
    elif client is not None and not is_within(client, PROXIES):  # then a header does contain it
        assert (
            any(parse_hop(hop) == client for header in headers for hop in header.split(","))
            or "for" in str(forwarded).lower()
        )


def test_networks_of_mapped_addresses() -> None:
    assert is_within(parse_address("10.1.2.3"), [ip_network("::ffff:10.0.0.0/104")])
    assert not is_within(parse_address("11.1.2.3"), [ip_network("::ffff:10.0.0.0/104")])
    assert not is_within(None, [ip_network("0.0.0.0/0"), ip_network("::/0")])
    assert parse_address("fe80::1%eth0") == IPv6Address("fe80::1")
