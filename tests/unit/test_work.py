"""When an operation fails: not at once, not without attempts, and no longer after one success."""

import pytest

from platform_relay.core.work import PATIENCE, STALLED, Failure, Operation, Work, WorkRecord


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def record(clock: Clock, operation: Operation = Operation.ACCEPT) -> WorkRecord:
    return WorkRecord(operation, clock=clock)


def fail(each: WorkRecord) -> None:
    with pytest.raises(OSError, match="broken"), each.attempt():
        raise OSError("broken")


def test_a_process_without_work_does_not_fail(clock: Clock) -> None:
    each = record(clock)
    clock.now += 86_400
    assert each.failing() is None
    with each.attempt():
        pass
    clock.now += 86_400
    assert each.failing() is None


def test_it_fails_after_some_seconds_of_failures_and_one_success_ends_that(clock: Clock) -> None:
    each = record(clock)
    with each.attempt():
        pass
    fail(each)
    clock.now += PATIENCE - 0.1
    fail(each)
    assert each.failing() is None
    clock.now += 0.2
    assert each.failing() is None, "time alone proves nothing"
    fail(each)
    failing = each.failing()
    assert failing is not None
    assert failing.failure == Failure("connection", None, "OSError")
    assert failing.seconds == pytest.approx(PATIENCE + 0.1)
    with each.attempt():
        pass
    assert each.failing() is None


def test_a_single_failure_is_nothing_however_long_it_took(clock: Clock) -> None:
    each = record(clock)
    each.failed(clock.now - 5, Failure("accept", None, "TimeoutError"))
    assert each.failing() is None
    each.probed()
    assert each.failure is None


def test_an_attempt_that_hangs_fails_unless_others_succeed(clock: Clock) -> None:
    each = record(clock)
    with each.attempt():
        clock.now += STALLED
        failing = each.failing()
        assert failing is not None
        assert failing.failure.statement == "accept"
        with each.attempt():
            pass
        assert each.failing() is None
    assert each.failing() is None


def test_a_cancelled_attempt_is_no_failure(clock: Clock) -> None:
    each = record(clock)
    with pytest.raises(KeyboardInterrupt), each.attempt():
        raise KeyboardInterrupt
    assert each.failure is None


def test_a_probe_does_not_hide_results_that_cannot_be_stored(clock: Clock) -> None:
    each = record(clock, Operation.SETTLE)
    fail(each)
    each.probed()
    assert each.failure is not None
    clock.now += PATIENCE
    each.probed()
    assert each.failure is None


def test_a_worker_that_cannot_settle_tries_again_after_a_pause(clock: Clock) -> None:
    each = record(clock, Operation.SETTLE)
    assert each.retry_in(5) == 0
    for _ in range(2):
        fail(each)
        clock.now += PATIENCE
    fail(each)
    clock.now += 2
    assert each.retry_in(5) == pytest.approx(3)
    clock.now += 4
    assert each.retry_in(5) == 0


def test_each_failure_is_counted() -> None:
    counted: list[tuple[str, Failure]] = []
    work = Work(lambda record, failure: counted.append((record.subject, failure)))
    fail(work.record(Operation.CLAIM, "store"))
    assert counted == [("claim store", Failure("connection", None, "OSError"))]
    assert work.record(Operation.CLAIM, "store") is work.record(Operation.CLAIM, "store")
    assert work.failing() == []
