from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from platform_relay.queue.watermark import (
    BEGINNING,
    COMMIT_TIME,
    FULL_SCAN_COST,
    FULL_SCAN_INTERVAL,
    LONGEST_WITHOUT,
    Watermark,
)

NOW = datetime(2026, 5, 11, 12, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def full_scan(watermark: Watermark, at: float, *, took: float = 0.0) -> None:
    """A full scan that found no lane."""
    assert watermark.start(at) == BEGINNING
    watermark.advance(at + took, NOW, [], 64)


def test_the_first_claim_reads_from_the_beginning_and_the_next_from_the_watermark() -> None:
    watermark = Watermark()
    assert watermark.start(100.0) == BEGINNING
    watermark.advance(100.0, NOW, [ago(900), ago(800)], limit=2)
    assert watermark.start(100.1) == ago(800)


def test_if_nothing_is_left_only_running_commits_are_before_the_watermark() -> None:
    watermark = Watermark()
    assert watermark.start(100.0) == BEGINNING
    watermark.advance(100.0, NOW, [ago(900)], limit=2)
    assert watermark.start(100.1) == NOW - COMMIT_TIME


def test_recent_work_is_never_behind_the_watermark() -> None:
    watermark = Watermark()
    assert watermark.start(100.0) == BEGINNING
    watermark.advance(100.0, NOW, [ago(0.1)], limit=1)
    assert watermark.start(100.1) == NOW - COMMIT_TIME


def test_full_scans_are_rarer_the_longer_they_take() -> None:
    watermark = Watermark()
    full_scan(watermark, 100.0)
    assert watermark.start(100.0 + FULL_SCAN_INTERVAL) == BEGINNING
    full_scan(watermark, 101.0, took=0.2)
    assert watermark.start(101.2 + FULL_SCAN_COST * 0.2 - 0.01) != BEGINNING
    assert watermark.start(101.2 + FULL_SCAN_COST * 0.2 + 0.01) == BEGINNING


def test_a_full_scan_that_waited_for_its_server_is_soon_followed_by_another() -> None:
    watermark = Watermark()
    full_scan(watermark, 100.0, took=8.0)
    assert watermark.start(108.0 + LONGEST_WITHOUT + 0.01) == BEGINNING


def test_a_lane_lanes_far_behind_moves_the_watermark_back() -> None:
    watermark = Watermark()
    full_scan(watermark, 100.0)
    assert watermark.start(101.0) == BEGINNING
    watermark.advance(101.0, NOW, [ago(5000), ago(4000)], limit=2)
    assert watermark.start(101.1) == ago(4000)


@given(st.sets(st.integers(0, 100_000), min_size=1, max_size=200), st.integers(1, 20))
def test_everything_that_is_due_is_claimed(ages: set[int], limit: int) -> None:
    """Claims of `limit` lanes each skip none. `ages` in milliseconds."""
    watermark, due, claimed, clock = Watermark(), sorted(ago(age / 1000) for age in ages), list[datetime](), 0.0
    while len(claimed) < len(due):
        since = watermark.start(clock)
        lanes = [at for at in due if at >= since and at not in claimed][:limit]
        assert lanes
        watermark.advance(clock, NOW, lanes, limit)
        claimed += lanes
        clock += 0.01
    assert claimed == due


def test_a_claim_without_the_lanes_of_a_busy_owner_passes_them_once() -> None:
    watermark = Watermark()
    full_scan(watermark, 100.0)
    watermark.since = ago(900)
    assert watermark.start(100.1, ["anna"]) == ago(900)
    watermark.advance(100.1, NOW, [ago(100), ago(90)], limit=2, busy=["anna"])
    assert watermark.start(100.2, ["anna"]) == ago(90)
    assert watermark.start(100.2, ["anna", "ben"]) == ago(90)
    assert watermark.start(100.2, ["ben"]) == ago(900)
    assert watermark.start(100.2) == ago(900)


def test_lanes_above_an_owners_share_stay_behind_the_watermark() -> None:
    watermark = Watermark()
    full_scan(watermark, 100.0)
    assert watermark.start(101.0) == BEGINNING
    watermark.advance(101.0, NOW, [ago(50), ago(20)], limit=10, cut=True)
    assert watermark.start(101.1) == ago(50)


@given(
    st.lists(st.sampled_from("ABCDEFGHIJ"), min_size=1, max_size=300), st.integers(1, 6), st.integers(1, 3), st.data()
)
def test_claims_without_busy_owners_find_all_lanes(
    owners: list[str], limit: int, share: int, data: st.DataObject
) -> None:
    """Lane n is due n seconds after the first. Claims that leave out any owners, or lanes above a share, lose none."""
    watermark, clock = Watermark(), 0.0
    start = NOW - timedelta(seconds=1000)
    due = {start + timedelta(seconds=number): owner for number, owner in enumerate(owners)}
    while due:
        busy = data.draw(st.sets(st.sampled_from("ABCDEFGHIJ"), max_size=3)) if clock else set[str]()
        since = watermark.start(clock, busy)
        assert not [at for at, owner in due.items() if at < since and owner not in busy]
        front = sorted(at for at, owner in due.items() if at >= since and owner not in busy)[:limit]
        counts = dict.fromkeys("ABCDEFGHIJ", 0)
        claimed = []
        for at in front:
            counts[due[at]] += 1
            if counts[due[at]] <= share:
                claimed.append(at)
        watermark.advance(clock, NOW, claimed, limit, busy=busy, cut=len(claimed) < len(front))
        for at in claimed:
            del due[at]
        clock += 0.01
