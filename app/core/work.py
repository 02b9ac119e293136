"""What a process last managed to commit: the results of accept, claim and settle. Pure; times are passed in.

A process that commits nothing because there is nothing to do is not failing. An operation fails when its attempts fail again
and again; one success ends that.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Final

from platform_relay.core.failed_statements import observe_failure

PATIENCE: Final = 3.0
"""Seconds for which an operation must have failed, at least twice: a short failover is no failure."""
STALLED: Final = 10.0
"""Seconds after which an attempt that has not ended counts as failed. The longest wait for a lock or a commit is shorter."""


class Operation(StrEnum):
    """What a process does with its database for each event."""

    ACCEPT = "accept"
    CLAIM = "claim"
    SETTLE = "settle"


@dataclass(frozen=True, slots=True)
class Failure:
    """The last failure of an operation: the failed statement, its SQLSTATE if the server reported one, and the type of the
    error."""

    statement: str
    sqlstate: str | None
    error: str


@dataclass(frozen=True, slots=True)
class Failing:
    """An operation that fails, for `seconds`. `destination` is "" for accept."""

    operation: Operation
    destination: str
    failure: Failure
    seconds: float


@dataclass(frozen=True, slots=True)
class StaleWork:
    """No worker has committed `operation` at `destination` for `seconds`, although there is work."""

    destination: str
    operation: Operation
    seconds: float


@dataclass(slots=True)
class WorkRecord:
    """The results of one operation in this process. Times are monotonic seconds of `clock`."""

    operation: Operation
    destination: str = ""
    on_failure: Callable[["WorkRecord", Failure], None] = lambda _record, _failure: None
    clock: Callable[[], float] = time.monotonic
    succeeded_at: float | None = None
    """The last successful commit."""
    failure: Failure | None = None
    """The last failure since then."""
    _failing_since: float = 0.0
    _failed_at: float = 0.0
    _failures: int = 0
    _running: dict[int, float] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=count)

    @property
    def subject(self) -> str:
        """The name in checks and alerts: "accept", "claim platform"."""
        return f"{self.operation} {self.destination}".strip()

    @contextmanager
    def attempt(self, *, proves: bool = True) -> Iterator[None]:
        """Records the result of the block: success, or the error that it raises. A cancelled block counts as neither. With
        `proves` false, only an error is recorded."""
        started, number = self.clock(), next(self._numbers)
        self._running[number] = started
        with observe_failure() as failed:
            try:
                yield
            except Exception as error:
                self.failed(started, Failure(failed.name, failed.sqlstate, type(error).__name__))
                raise
            else:
                if proves:
                    self.succeeded()
            finally:
                del self._running[number]

    def succeeded(self) -> None:
        self.succeeded_at, self.failure, self._failures = self.clock(), None, 0

    def probed(self) -> None:
        """A probe of the same statements succeeded. It ends the failure, unless attempts to settle still fail: each of them
        is a call that was made and could not be recorded."""
        if self.operation is not Operation.SETTLE or self.clock() - self._failed_at >= PATIENCE:
            self.succeeded()

    def probe_failed(self, started: float, failure: Failure) -> None:
        """A probe of the same statements failed. It counts like an attempt."""
        self.failed(started, failure)

    def failed(self, started: float, failure: Failure) -> None:
        """An attempt that began at `started` failed. If another succeeded since then, the next attempt decides."""
        if self.failure is None:
            self._failing_since = started if self.succeeded_at is None else max(started, self.succeeded_at)
        self.failure, self._failed_at = failure, self.clock()
        self._failures += 1
        self.on_failure(self, failure)

    def failing(self) -> Failing | None:
        """The failure, if the operation fails; None if it works, or if that is not clear yet."""
        now = self.clock()
        if self.failure is not None and self._failures > 1 and self._failed_at - self._failing_since >= PATIENCE:
            return Failing(self.operation, self.destination, self.failure, now - self._failing_since)
        stalled = now - min(self._running.values(), default=now)
        if stalled >= STALLED and (self.succeeded_at is None or now - self.succeeded_at >= STALLED):
            failure = self.failure or Failure(self.operation.value, None, TimeoutError.__name__)
            return Failing(self.operation, self.destination, failure, stalled)
        return None

    def retry_in(self, pause: float) -> float:
        """While the operation fails: seconds until `pause` seconds have passed since its last failure; 0 if it works."""
        return max(0.0, self._failed_at + pause - self.clock()) if self.failing() else 0.0

    def log_fields(self) -> dict[str, str | None]:
        """The last failure for a log line."""
        failure = self.failure
        return (
            {}
            if failure is None
            else {"statement": failure.statement, "sqlstate": failure.sqlstate, "error": failure.error}
        )


class Work:
    """The records of one process. `on_failure` is called with each failed attempt."""

    def __init__(self, on_failure: Callable[[WorkRecord, Failure], None] = lambda _record, _failure: None) -> None:
        self._on_failure = on_failure
        self._records: dict[tuple[Operation, str], WorkRecord] = {}
        self.accept: Final = self.record(Operation.ACCEPT)
        self.stale: list[StaleWork] = []
        """What no worker does, of all processes."""

    def record(self, operation: Operation, destination: str = "") -> WorkRecord:
        """The record of the operation, which is made at its first use."""
        key = (operation, destination)
        if key not in self._records:
            self._records[key] = WorkRecord(operation, destination, self._on_failure)
        return self._records[key]

    def records(self) -> list[WorkRecord]:
        return list(self._records.values())

    def failing(self) -> list[Failing]:
        """The operations that fail."""
        return [failing for record in self._records.values() if (failing := record.failing()) is not None]
