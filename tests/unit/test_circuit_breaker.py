from dataclasses import replace
from itertools import count

import pytest

from platform_relay.core.outcomes import Blocked, Done, Evidence, Outcome, Reject, Retry, Skip, Unknown, Wait
from platform_relay.queue.circuit_breaker import FailureWindow
from platform_relay.queue.jobs import Job
from tests.reasons import CONNECTION_LOST, HTTP_400, HTTP_401, HTTP_503, NO_VALUE, UNCHANGED
from tests.unit.test_decide import JOB


class Window:
    """A failure window whose calls start one after another."""

    def __init__(self) -> None:
        self.window, self.clock = FailureWindow(), count(1.0)

    def record(self, job: Job, outcome: Outcome, started: float | None = None) -> bool:
        return self.window.record(job, outcome, next(self.clock) if started is None else started)

    def clear(self) -> None:
        self.window.clear()


FAILED, DELIVERED = Retry(HTTP_503, evidence=Evidence(503)), Done()


def lane(number: int, attempt: int = 1):  # type: ignore[no-untyped-def]  # a Job; named by its use
    return replace(JOB, lane=f"order:{number}", attempt=attempt)


def test_it_trips_when_many_lanes_fail() -> None:
    window = Window()
    assert [window.record(lane(number), FAILED) for number in range(8)] == [False] * 7 + [True]


def test_unknown_outcomes_count_too() -> None:
    window = Window()
    assert any(window.record(lane(number), Unknown(CONNECTION_LOST)) for number in range(10))


def test_one_failing_order_trips_nothing() -> None:
    window = Window()
    assert not any(window.record(lane(7, attempt), FAILED) for attempt in range(1, 100))


def test_failing_ones_among_healthy_ones_trips_nothing() -> None:
    window = Window()
    tripped = [window.record(lane(number), FAILED if number % 4 == 0 else DELIVERED) for number in range(400)]
    assert not any(tripped)


@pytest.mark.parametrize("outcome", [Reject(HTTP_400), Skip(UNCHANGED), Wait(NO_VALUE, "rule:1"), Blocked(HTTP_401)])
def test_rejected_data_trips_nothing(outcome: Outcome) -> None:
    window = Window()
    assert not any(window.record(lane(number), outcome) for number in range(100))


def test_it_trips_again_after_it_was_cleared() -> None:
    window = Window()
    for _ in range(3):
        assert [window.record(lane(number), FAILED) for number in range(8)] == [False] * 7 + [True]
        window.clear()


def test_the_second_attempt_counts_and_the_third_does_not() -> None:
    second, third = Window(), Window()
    assert any(second.record(lane(number, 2), FAILED) for number in range(8))
    assert not any(third.record(lane(number, 3), FAILED) for number in range(50))


def test_four_in_five_of_the_last_twenty_must_fail() -> None:
    """What was long ago does not count, and one success in four is enough to continue."""
    window = Window()
    assert not any(window.record(lane(number), DELIVERED) for number in range(100))
    tripped = [window.record(lane(number), FAILED) for number in range(20)]
    assert tripped.index(True) == 15


def test_the_last_twenty_are_twenty() -> None:
    window = Window()
    before = [window.record(lane(0), FAILED), *(window.record(lane(number), DELIVERED) for number in range(1, 5))]
    assert not any(before)
    assert [window.record(lane(number), FAILED) for number in range(5, 20)] == [False] * 14 + [True]


def test_jobs_that_fail_again_and_again_trip_nothing() -> None:
    window = Window()
    assert not any(window.record(lane(number, attempt), FAILED) for attempt in range(3, 9) for number in range(50))


def test_calls_that_time_out_together_trip_nothing_when_later_ones_succeeded() -> None:
    """Thirty entities hang for ten seconds; everything that started meanwhile was delivered."""
    window = Window()
    assert not any(window.record(lane(number), DELIVERED, started=5.0) for number in range(100))
    assert not any(window.record(lane(number), Unknown(CONNECTION_LOST), started=1.0) for number in range(30))
    assert any(window.record(lane(number), Unknown(CONNECTION_LOST), started=6.0) for number in range(30))
