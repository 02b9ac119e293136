"""The size of a chunk of a bulk deletion follows how long chunks take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_relay.core.chunks import CEILING, FIRST, FLOOR, TARGET, next_size

SIZES = st.integers(FLOOR, CEILING)
SECONDS = st.floats(0, 60)


@given(SIZES, SECONDS)
def test_it_stays_within_its_bounds_and_at_most_doubles(size: int, seconds: float) -> None:
    assert FLOOR <= next_size(size, seconds) <= min(CEILING, 2 * size)


@given(SIZES, SECONDS, SECONDS)
def test_a_slower_chunk_is_followed_by_no_larger_one(size: int, one: float, other: float) -> None:
    fast, slow = sorted((one, other))
    assert next_size(size, slow) <= next_size(size, fast)


@pytest.mark.parametrize("cost", [0.000_02, 0.000_1, 0.001, 0.002])
def test_with_a_steady_cost_every_chunk_keeps_to_the_target_and_uses_it(cost: float) -> None:
    size, longest = FIRST, 0.0
    for _ in range(20):
        size = next_size(size, size * cost)
        longest = max(longest, size * cost)
    assert longest <= TARGET + cost
    assert size * cost > TARGET * 0.9 or size == CEILING


def test_a_machine_that_becomes_a_hundred_times_slower_makes_one_long_chunk() -> None:
    size = next_size(500, 500 * 0.01)
    assert size == FLOOR
    assert next_size(size, size * 0.01) * 0.01 <= 0.1


def test_other_bounds_can_be_given() -> None:
    assert next_size(1, 9, floor=1, ceiling=64) == 1
    assert next_size(64, 0, floor=1, ceiling=64) == 64
