from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_relay.core.outcomes import Blocked, Done, Evidence, Outcome, Reject, Retry, Skip, Unknown, Wait
from platform_relay.queue.rate_limiter import LEAST_PACE, LONGEST_WISH, Breaker, bounded, lower, raised
from tests.reasons import CONNECTION_LOST, HTTP_400, HTTP_401, HTTP_503, NO_VALUE, UNCHANGED
from tests.unit.test_decide import JOB

FAILED, WELL = Retry(HTTP_503, evidence=Evidence(503)), Done()


def lane(number: int, attempt: int = 1):  # type: ignore[no-untyped-def]  # a Job; named by its use
    return replace(JOB, lane=f"order:{number}", attempt=attempt)


def test_it_trips_when_many_lanes_fail() -> None:
    breaker = Breaker()
    assert [breaker.saw(lane(number), FAILED) for number in range(8)] == [False] * 7 + [True]


def test_unknown_outcomes_count_too() -> None:
    breaker = Breaker()
    assert any(breaker.saw(lane(number), Unknown(CONNECTION_LOST)) for number in range(10))


def test_one_failing_order_trips_nothing() -> None:
    breaker = Breaker()
    assert not any(breaker.saw(lane(7, attempt), FAILED) for attempt in range(1, 100))


def test_poison_among_healthy_ones_trips_nothing() -> None:
    breaker = Breaker()
    verdicts = [breaker.saw(lane(number), FAILED if number % 4 == 0 else WELL) for number in range(400)]
    assert not any(verdicts)


@pytest.mark.parametrize("outcome", [Reject(HTTP_400), Skip(UNCHANGED), Wait(NO_VALUE, "rule:1"), Blocked(HTTP_401)])
def test_refusals_of_data_trip_nothing(outcome: Outcome) -> None:
    breaker = Breaker()
    assert not any(breaker.saw(lane(number), outcome) for number in range(100))


def test_it_trips_again_after_it_was_reset() -> None:
    breaker = Breaker()
    for _ in range(3):
        assert [breaker.saw(lane(number), FAILED) for number in range(8)] == [False] * 7 + [True]
        breaker.reset()


def test_the_second_attempt_speaks_of_the_far_side_and_the_third_does_not() -> None:
    second, third = Breaker(), Breaker()
    assert any(second.saw(lane(number, 2), FAILED) for number in range(8))
    assert not any(third.saw(lane(number, 3), FAILED) for number in range(50))


def test_four_in_five_of_the_last_twenty_must_fail() -> None:
    """What was long ago does not count, and one success in four is enough to go on."""
    breaker = Breaker()
    assert not any(breaker.saw(lane(number), WELL) for number in range(100))
    tripped = [breaker.saw(lane(number), FAILED) for number in range(20)]
    assert tripped.index(True) == 15


def test_the_last_twenty_are_twenty() -> None:
    breaker = Breaker()
    before = [breaker.saw(lane(0), FAILED), *(breaker.saw(lane(number), WELL) for number in range(1, 5))]
    assert not any(before)
    assert [breaker.saw(lane(number), FAILED) for number in range(5, 20)] == [False] * 14 + [True]


def test_a_wish_is_granted_within_bounds() -> None:
    assert [bounded(wish) for wish in (-5.0, 0.0, 0.5, 7.0, 300.0, 1e9)] == [0.0, 0.0, 0.5, 7.0, 300.0, 300.0]


def test_the_figures_of_the_pace() -> None:
    assert lower(None, 40.0) == 20.0
    assert lower(None, 0.0) == 0.5
    assert lower(10.0, 40.0) == 5.0
    assert lower(0.3, 0.0) == LEAST_PACE
    assert raised(10.0, 1.0, 100.0) == pytest.approx(11.0)
    assert raised(10.0, 2.0, 100.0) == pytest.approx(12.1)
    assert raised(95.0, 1.0, 100.0) is None
    assert raised(0.001, 1e9, float("inf")) == pytest.approx(0.001 * 1.1**600)


def test_what_fails_again_and_again_by_itself_trips_nothing() -> None:
    breaker = Breaker()
    assert not any(breaker.saw(lane(number, attempt), FAILED) for attempt in range(3, 9) for number in range(50))


@given(st.none() | st.floats(LEAST_PACE, 10_000), st.floats(0, 10_000))
def test_a_429_at_least_halves_the_pace_and_never_stops_it(pace: float | None, observed: float) -> None:
    lowered = lower(pace, observed)
    assert lowered >= LEAST_PACE
    if pace is not None:
        assert lowered <= max(pace / 2, LEAST_PACE)


@given(st.floats(LEAST_PACE, 1000), st.floats(1, 1000))
def test_the_pace_comes_back_within_minutes(pace: float, ceiling: float) -> None:
    current: float | None = pace
    for _ in range(200):
        if current is None:
            return
        current = raised(current, 1.0, ceiling)
    raise AssertionError("never came back")


@given(st.floats())
def test_a_wished_pause_is_bounded(wish: float) -> None:
    assert 0 <= bounded(wish) <= LONGEST_WISH
