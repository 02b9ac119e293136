from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.engine.throttle import LEAST_PACE, LONGEST_WISH, Breaker, lower, raised, wished_pause
from app.outcomes import Done, Evidence, Retry, Unknown
from tests.unit.test_decide import JOB

FAILED, WELL = Retry("HTTP 503", evidence=Evidence(503)), Done()


def lane(number: int, attempt: int = 1):  # type: ignore[no-untyped-def]  # a Job; named by its use
    return replace(JOB, lane=f"order:{number}", attempt=attempt)


def test_it_trips_when_many_lanes_fail() -> None:
    breaker = Breaker()
    assert [breaker.saw(lane(number), FAILED) for number in range(8)] == [False] * 7 + [True]


def test_unknown_outcomes_count_too() -> None:
    breaker = Breaker()
    assert any(breaker.saw(lane(number), Unknown("reset")) for number in range(10))


def test_one_failing_order_trips_nothing() -> None:
    breaker = Breaker()
    assert not any(breaker.saw(lane(7, attempt), FAILED) for attempt in range(1, 100))


def test_poison_among_healthy_ones_trips_nothing() -> None:
    breaker = Breaker()
    verdicts = [breaker.saw(lane(number), FAILED if number % 4 == 0 else WELL) for number in range(400)]
    assert not any(verdicts)


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


@given(st.none() | st.floats(allow_nan=False))
def test_a_wished_pause_is_bounded(after: float | None) -> None:
    pause = wished_pause(Retry("HTTP 429", after, Evidence(429)))
    assert pause is not None
    assert 0 <= pause <= LONGEST_WISH
    assert wished_pause(Retry("HTTP 503", after, Evidence(503))) is None
