"""Which of several database servers is used."""

from datetime import UTC, datetime

import pytest

from platform_relay.core.database_server import History, ServerState, newest, timeline_number
from platform_relay.core.database_url import host_dsn, hosts, needs_writable, parse_url

STARTED = datetime(2026, 5, 11, tzinfo=UTC)


def primary(timeline: int, system: int = 1, *, read_only: bool = False) -> ServerState:
    return ServerState(10, standby=False, read_only=read_only, started_at=STARTED, history=History(system, timeline))


STANDBY = ServerState(10, standby=True, read_only=False, started_at=STARTED, history=None)
UNKNOWN = ServerState(10, standby=False, read_only=False, started_at=STARTED, history=None)


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
