from dataclasses import replace

import pytest

from platform_relay.core.outcomes import Blocked, Done, Evidence, Outcome, Reject, Retry, Skip, Unknown, Wait
from platform_relay.queue.circuit_breaker import FailureWindow
from tests.reasons import CONNECTION_LOST, HTTP_400, HTTP_401, HTTP_503, NO_VALUE, UNCHANGED
from tests.unit.test_decide import JOB

FAILED, DELIVERED = Retry(HTTP_503, evidence=Evidence(503)), Done()


def lane(number: int, attempt: int = 1):  # type: ignore[no-untyped-def]  # a Job; named by its use
    return replace(JOB, lane=f"order:{number}", attempt=attempt)


def test_it_trips_when_many_lanes_fail() -> None:
    window = FailureWindow()
    assert [window.record(lane(number), FAILED) for number in range(8)] == [False] * 7 + [True]


def test_unknown_outcomes_count_too() -> None:
    window = FailureWindow()
    assert any(window.record(lane(number), Unknown(CONNECTION_LOST)) for number in range(10))


def test_one_failing_order_trips_nothing() -> None:
    window = FailureWindow()
    assert not any(window.record(lane(7, attempt), FAILED) for attempt in range(1, 100))


def test_poison_among_healthy_ones_trips_nothing() -> None:
    window = FailureWindow()
    tripped = [window.record(lane(number), FAILED if number % 4 == 0 else DELIVERED) for number in range(400)]
    assert not any(tripped)


@pytest.mark.parametrize("outcome", [Reject(HTTP_400), Skip(UNCHANGED), Wait(NO_VALUE, "rule:1"), Blocked(HTTP_401)])
def test_rejected_data_trips_nothing(outcome: Outcome) -> None:
    window = FailureWindow()
    assert not any(window.record(lane(number), outcome) for number in range(100))


def test_it_trips_again_after_it_was_cleared() -> None:
    window = FailureWindow()
    for _ in range(3):
        assert [window.record(lane(number), FAILED) for number in range(8)] == [False] * 7 + [True]
        window.clear()


def test_the_second_attempt_counts_and_the_third_does_not() -> None:
    second, third = FailureWindow(), FailureWindow()
    assert any(second.record(lane(number, 2), FAILED) for number in range(8))
    assert not any(third.record(lane(number, 3), FAILED) for number in range(50))


def test_four_in_five_of_the_last_twenty_must_fail() -> None:
    """What was long ago does not count, and one success in four is enough to continue."""
    window = FailureWindow()
    assert not any(window.record(lane(number), DELIVERED) for number in range(100))
    tripped = [window.record(lane(number), FAILED) for number in range(20)]
    assert tripped.index(True) == 15


def test_the_last_twenty_are_twenty() -> None:
    window = FailureWindow()
    before = [window.record(lane(0), FAILED), *(window.record(lane(number), DELIVERED) for number in range(1, 5))]
    assert not any(before)
    assert [window.record(lane(number), FAILED) for number in range(5, 20)] == [False] * 14 + [True]


def test_jobs_that_fail_again_and_again_trip_nothing() -> None:
    window = FailureWindow()
    assert not any(window.record(lane(number, attempt), FAILED) for attempt in range(3, 9) for number in range(50))
