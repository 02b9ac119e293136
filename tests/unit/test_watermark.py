from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from platform_relay.queue.watermark import BEGINNING, COMMITS, EVERY, SHARE, Watermark

NOW = datetime(2026, 5, 11, 12, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def begun(mark: Watermark, at: float, *, took: float = 0.0) -> None:
    """A look from the beginning, which found that everything was taken."""
    assert mark.start(at) == BEGINNING
    mark.looked(at + took, NOW, [], 64)


def test_the_first_look_is_from_the_beginning_and_the_next_from_the_mark() -> None:
    mark = Watermark()
    assert mark.start(100.0) == BEGINNING
    mark.looked(100.0, NOW, [ago(900), ago(800)], limit=2)
    assert mark.start(100.1) == ago(800)


def test_where_nothing_is_left_only_commits_under_way_can_come_before_the_mark() -> None:
    mark = Watermark()
    assert mark.start(100.0) == BEGINNING
    mark.looked(100.0, NOW, [ago(900)], limit=2)
    assert mark.start(100.1) == NOW - COMMITS


def test_young_work_is_never_behind_the_mark() -> None:
    mark = Watermark()
    assert mark.start(100.0) == BEGINNING
    mark.looked(100.0, NOW, [ago(0.1)], limit=1)
    assert mark.start(100.1) == NOW - COMMITS


def test_it_looks_from_the_beginning_again_and_the_rarer_the_longer_that_takes() -> None:
    mark = Watermark()
    begun(mark, 100.0)
    assert mark.start(100.0 + EVERY) == BEGINNING
    begun(mark, 101.0, took=0.2)
    assert mark.start(101.2 + SHARE * 0.2 - 0.01) != BEGINNING
    assert mark.start(101.2 + SHARE * 0.2 + 0.01) == BEGINNING


def test_what_is_found_far_behind_takes_the_mark_back() -> None:
    mark = Watermark()
    begun(mark, 100.0)
    assert mark.start(101.0) == BEGINNING
    mark.looked(101.0, NOW, [ago(5000), ago(4000)], limit=2)
    assert mark.start(101.1) == ago(4000)


@given(st.sets(st.integers(0, 100_000), min_size=1, max_size=200), st.integers(1, 20))
def test_everything_that_is_due_is_taken(ages: set[int], limit: int) -> None:
    """Looks of `limit` lanes each, in one go: none is passed over. `ages` in milliseconds."""
    mark, due, taken, clock = Watermark(), sorted(ago(age / 1000) for age in ages), list[datetime](), 0.0
    while len(taken) < len(due):
        since = mark.start(clock)
        found = [at for at in due if at >= since and at not in taken][:limit]
        assert found
        mark.looked(clock, NOW, found, limit)
        taken += found
        clock += 0.01
    assert taken == due
