"""Which of several database servers is used."""

import asyncio
import socket
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from platform_relay.core import database_cluster
from platform_relay.core.database_cluster import AWAY_SECONDS, UsedCluster
from platform_relay.core.database_dial import Place, places_of
from platform_relay.core.database_server import History, ServerState, newest, timeline_number
from platform_relay.core.database_servers import Servers
from platform_relay.core.database_url import host_dsn, hosts, needs_writable, parse_url

STARTED = datetime(2026, 5, 11, tzinfo=UTC)


def primary(timeline: int, system: int = 1, *, read_only: bool = False) -> ServerState:
    return ServerState(10, standby=False, read_only=read_only, started_at=STARTED, history=History(system, timeline))


STANDBY = ServerState(10, standby=True, read_only=False, started_at=STARTED, history=None)
UNKNOWN = ServerState(10, standby=False, read_only=False, started_at=STARTED, history=None)
A, B, C = Place("a", 5432), Place("b", 5432), Place("c", 5432)


def test_of_two_primaries_the_one_with_the_later_timeline_is_used() -> None:
    assert newest([primary(1), primary(2)]) == primary(2)
    assert newest([primary(10), primary(9)]) == primary(10)


def test_a_server_that_accepts_no_writes_is_not_used() -> None:
    assert newest([STANDBY, primary(2, read_only=True), primary(1)]) == primary(1)
    assert newest([STANDBY, primary(2, read_only=True)]) is None


def test_a_server_that_is_older_than_the_known_history_is_not_used() -> None:
    assert newest([primary(1)], History(1, 2)) is None
    assert newest([primary(2)], History(1, 2)) == primary(2)


def test_timelines_of_different_clusters_are_not_compared() -> None:
    assert newest([primary(1, system=1), primary(5, system=2)]) == primary(1, system=1)
    assert newest([primary(1, system=2)], History(1, 2)) == primary(1, system=2)


def test_the_known_cluster_is_used_before_others() -> None:
    assert newest([primary(5, system=2), primary(2)], History(1, 2)) == primary(2)
    assert newest([primary(5, system=2), primary(1)], History(1, 2)) == primary(5, system=2)


def servers() -> Servers:
    """Of a process that uses the first timeline of the first cluster."""
    chosen = Servers(parse_url("postgresql://a,b,c/d"), "tests", 1.0)
    chosen.newest = History(1, 1)
    return chosen


def test_the_watch_does_not_choose_the_first_server() -> None:
    """Otherwise each process would use the cluster that was faster."""
    watched = Servers(parse_url("postgresql://a,b,c/d"), "tests", 1.0)
    watched.saw(B, primary(1, system=2))
    assert watched.newest is None


def test_a_server_of_another_cluster_is_not_used_while_the_used_one_accepts_writes() -> None:
    watched = servers()
    with capture_logs() as logs:
        for _ in range(3):
            watched.saw(A, primary(1))
            watched.saw(B, primary(7, system=2))
    assert watched.newest == History(1, 1)
    [warning] = logs
    assert (warning["event"], warning["log_level"]) == ("database_of_another_cluster", "warning")
    assert (warning["server"], warning["used"]) == ("b:5432", "a:5432")


def test_a_server_of_another_cluster_is_used_when_the_used_one_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = servers()
    watched.saw(A, primary(1))
    watched.saw(A, STANDBY)
    watched.saw(B, primary(1, system=2))
    assert watched.newest == History(1, 1)  # it may be a failover
    monkeypatch.setattr(database_cluster, "AWAY_SECONDS", 0.0)
    watched.saw(B, primary(1, system=2))
    assert watched.newest == History(2, 1)
    watched.saw(A, primary(1))  # and that is how it stays
    assert watched.newest == History(2, 1)


def test_an_address_that_leads_to_another_cluster_is_followed() -> None:
    watched = servers()
    watched.saw(A, primary(1))
    watched.saw(A, primary(1, system=2))
    assert watched.newest == History(2, 1)


def test_another_cluster_is_used_after_a_time_without_a_server_that_accepts_writes() -> None:
    used = UsedCluster()
    used.accepts(A)
    used.accepts(B)
    used.fails(A, 100.0)
    assert not used.may_be_left_for(C, 1000.0)
    used.fails(B, 1000.0)
    used.fails(A, 1010.0)  # still
    assert not used.may_be_left_for(C, 1000.0 + AWAY_SECONDS - 1)
    assert used.may_be_left_for(C, 1000.0 + AWAY_SECONDS)
    used.accepts(B)
    assert not used.may_be_left_for(C, 2000.0)
    assert used.place == B


def test_addresses_that_the_url_has_no_more_do_not_count() -> None:
    used = UsedCluster()
    used.accepts(A)
    used.keep([A, B], 100.0)
    assert not used.may_be_left_for(B, 1000.0)
    used.keep([B], 1000.0)
    assert used.may_be_left_for(B, 1000.0)


async def test_a_host_that_cannot_be_resolved_keeps_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"a": "127.0.0.1", "b": "127.0.0.2"}

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        if host not in known:
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known[host], port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    url = parse_url("postgresql://a,b/d")
    before = await places_of(url)
    assert [str(place) for place in before] == ["a:5432 (127.0.0.1)", "b:5432 (127.0.0.2)"]
    known.pop("a")
    assert set(await places_of(url, before)) == set(before)
    known.clear()
    with pytest.raises(socket.gaierror):
        await places_of(url, before)


def test_a_server_that_tells_no_history_can_be_used() -> None:
    assert newest([UNKNOWN], History(1, 2)) == UNKNOWN


def test_a_timeline_is_hexadecimal() -> None:
    assert [timeline_number(text) for text in ("00000001", "0000000A", "00000010")] == [1, 10, 16]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@a:1,b:2/d", [("a", 1), ("b", 2)]),
        ("postgresql://u:p@a,b:2/d?target_session_attrs=primary", [("a", 5432), ("b", 2)]),
        ("postgresql://u:p@/d?host=a,b&port=1,2", [("a", 1), ("b", 2)]),
        ("postgresql://u:p@[::1]:1,b:2/d", [("::1", 1), ("b", 2)]),
    ],
)
def test_each_host_has_a_dsn_of_its_own(url: str, expected: list[tuple[str, int]]) -> None:
    parsed = parse_url(url)
    assert hosts(parsed) == expected
    for host, port in expected:
        [alone] = hosts(parse_url(host_dsn(parsed, host, port)))
        assert alone == (host, port)
        assert "p@" in host_dsn(parsed, host, port)
        assert not needs_writable(parse_url(host_dsn(parsed, host, port)))


def test_several_hosts_need_a_server_that_accepts_writes() -> None:
    assert needs_writable(parse_url("postgresql://a,b/d"))
    assert not needs_writable(parse_url("postgresql://a,b/d?target_session_attrs=any"))
    assert not needs_writable(parse_url("postgresql://a/d"))
    assert needs_writable(parse_url("postgresql://a/d?target_session_attrs=primary"))


@pytest.mark.parametrize("attributes", ["standby", "prefer-standby", "read-only"])
def test_a_standby_is_rejected(attributes: str) -> None:
    with pytest.raises(ValueError, match="accepts writes"):
        parse_url(f"postgresql://a,b/d?target_session_attrs={attributes}")


def test_unknown_attributes_are_rejected() -> None:
    with pytest.raises(ValueError, match="not one of"):
        parse_url("postgresql://a,b/d?target_session_attrs=leader")
