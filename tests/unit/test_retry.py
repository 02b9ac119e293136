from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_relay.queue.retry import RetryPolicy

policies = st.builds(
    RetryPolicy,
    first=st.floats(0.001, 100),
    factor=st.floats(1, 10),
    longest=st.floats(0.001, 100_000),
    jitter=st.floats(0, 1),
    window=st.timedeltas(timedelta(0), timedelta(days=30)),
)
randoms = st.floats(0, 1, exclude_max=True)


@given(policies, st.integers(1, 10_000), randoms, st.none() | st.floats(allow_nan=False))
def test_delay_is_never_shorter_than_its_base_and_never_unbounded(
    policy: RetryPolicy, attempt: int, chance: float, wish: float | None
) -> None:
    delay = policy.delay(attempt, chance, wish)
    if delay is None:
        assert attempt >= policy.attempts
    else:
        assert policy.base(attempt) <= delay <= policy.longest * (1 + policy.jitter)


@given(policies)
def test_the_delays_before_chance_fit_into_the_window(policy: RetryPolicy) -> None:
    attempts = min(policy.attempts, 2_000)
    total = sum(policy.base(attempt) for attempt in range(1, attempts))
    assert total <= policy.window.total_seconds() * 1.0001


@given(policies)
def test_one_more_attempt_would_not_fit(policy: RetryPolicy) -> None:
    if policy.attempts < 2_000:
        total = sum(policy.base(attempt) for attempt in range(1, policy.attempts + 1))
        assert total >= policy.window.total_seconds() * 0.9999


def test_the_default_policy_lasts_three_days() -> None:
    assert RetryPolicy().describe() == "83 attempts over 3 days, delays from 1 s to 3600 s"


@pytest.mark.parametrize(
    ("window", "said"),
    [
        (timedelta(days=1), "over 1 day,"),
        (timedelta(hours=36), "over 1 day 12 hours,"),
        (timedelta(minutes=61, seconds=1), "over 1 hour 1 minute 1 second,"),
        (timedelta(seconds=1.5), "over 1.5 seconds,"),
        (timedelta(0), "over 0 seconds,"),
    ],
)
def test_the_window_is_said_as_people_say_it(window: timedelta, said: str) -> None:
    assert said in RetryPolicy(window=window).describe()


def test_a_policy_that_hardly_grows_is_counted_without_going_through_its_attempts() -> None:
    policy = RetryPolicy(first=0.001, factor=1 + 1e-12, longest=100_000, window=timedelta(days=30))
    n = policy.attempts
    assert abs(0.001 * (n + n * n * 1e-12 / 2) / (30 * 86_400) - 1) < 1e-5  # the series' first two terms


def test_retry_after_lengthens_but_never_shortens() -> None:
    policy = RetryPolicy(first=10, longest=60)
    assert policy.delay(1, 0.0, 2) == 10
    assert policy.delay(1, 0.0, 30) == 30
    assert policy.delay(1, 0.0, 1e9) == 60
    assert policy.delay(1, 0.0, -5) == 10
