import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_relay.queue.rate_limiter import LONGEST_PAUSE, MINIMUM_RATE, bounded_pause, lowered_rate, raised_rate


def test_a_pause_has_bounds() -> None:
    assert [bounded_pause(pause) for pause in (-5.0, 0.0, 0.5, 7.0, 300.0, 1e9)] == [0.0, 0.0, 0.5, 7.0, 300.0, 300.0]


def test_the_figures_of_lowered_and_raised_rates() -> None:
    assert lowered_rate(None, 40.0) == 20.0
    assert lowered_rate(None, 0.0) == 0.5
    assert lowered_rate(10.0, 40.0) == 5.0
    assert lowered_rate(0.3, 0.0) == MINIMUM_RATE
    assert raised_rate(10.0, 1.0, 100.0) == pytest.approx(11.0)
    assert raised_rate(10.0, 2.0, 100.0) == pytest.approx(12.1)
    assert raised_rate(95.0, 1.0, 100.0) is None
    assert raised_rate(0.001, 1e9, float("inf")) == pytest.approx(0.001 * 1.1**600)


@given(st.none() | st.floats(MINIMUM_RATE, 10_000), st.floats(0, 10_000))
def test_a_429_at_least_halves_the_rate_and_never_stops_the_calls(rate: float | None, observed: float) -> None:
    lowered = lowered_rate(rate, observed)
    assert lowered >= MINIMUM_RATE
    if rate is not None:
        assert lowered <= max(rate / 2, MINIMUM_RATE)


@given(st.floats(MINIMUM_RATE, 1000), st.floats(1, 1000))
def test_the_rate_is_restored_within_minutes(rate: float, ceiling: float) -> None:
    current: float | None = rate
    for _ in range(200):
        if current is None:
            return
        current = raised_rate(current, 1.0, ceiling)
    raise AssertionError("was never restored")


@given(st.floats())
def test_any_pause_is_bounded_pause(pause: float) -> None:
    assert 0 <= bounded_pause(pause) <= LONGEST_PAUSE
