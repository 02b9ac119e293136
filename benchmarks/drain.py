"""How fast a contender works a backlog off, judged from the wire: PUTs that the Platform received, by its own clock."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Final

from benchmarks.contenders.task import Task
from benchmarks.stage import Process, Stage, StageError, until

PATIENCE: Final = 240.0
OPEN: Final = (
    "SELECT 1 FROM lane WHERE destination = 'platform' AND open_jobs > 0 AND run_at < now() + interval '10 min' LIMIT 1"
)
"""What the relay still has to deliver, apart from lanes that are blocked for long."""
STILL_OPEN: Final = (
    "SELECT lane.key, lane.open_jobs, lane.leased, lane.fencing_token, lane.run_at - now() AS due_in, lane.waits_for, job.state,"
    " job.attempts, job.disposition, job.reason_code, job.facts"
    " FROM lane LEFT JOIN job ON job.lane = lane.key AND job.destination = lane.destination"
    " AND job.open WHERE lane.destination = 'platform' AND lane.open_jobs > 0 AND lane.run_at < now() + interval '10 min'"
    " LIMIT 5"
)
"""The same, listed."""


@dataclass(frozen=True, slots=True)
class Contender:
    """`module` in benchmarks.contenders. `needs`: the package without which it is left out; `stores`: a backlog."""

    name: str
    module: str
    needs: str = ""
    redis: bool = False
    stores: bool = True
    client: str = "relay"
    """What it calls with (`contenders.task.PlatformCalls`)."""

    def missing(self, stage: Stage) -> str | None:
        """Why it cannot take part."""
        if self.needs and find_spec(self.needs) is None:
            return f"{self.name} left out: the package {self.needs} is not installed (extra `bench`)"
        if self.redis and stage.redis_url is None:
            return f"{self.name} left out: redis-server is not installed"
        return None

    def drain(self, stage: Stage, jobs: int, size: int, delay: float = 0.0) -> float:
        """Events per second from the first PUT to the last, on a new database; `delay`: seconds the Platform takes."""
        database_url = stage.database(empty=True) if self.stores else ""
        task = Task(
            database_url, stage.platform.url, stage.redis_url or "", jobs, size, next(stage.series), self.client
        )
        try:
            if self.stores:
                prepare(stage, self.module, task)
            _forget(stage, delay)
            command = [f"benchmarks.contenders.{self.module}", "work"]
            with stage.python(self.module, command, task.environment()) as worker:
                first, last = _on_the_wire(stage, jobs, [worker])
            return jobs / (last - first)
        finally:
            if self.stores:
                stage.drop(database_url)


@dataclass(frozen=True, slots=True)
class Relay:
    """`relay worker`, as many processes as `workers`, on a database that is kept between the rounds. `settings`: theirs."""

    database_url: str
    workers: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)

    def drain(self, stage: Stage, jobs: int, size: int, delay: float = 0.0) -> float:
        """Events per second from the first PUT until everything is delivered and settled."""
        task = Task(self.database_url, stage.platform.url, "", jobs, size, next(stage.series))
        prepare(stage, "relay", task, self.settings)
        _forget(stage, delay)
        with ExitStack() as stack:
            workers = [
                stack.enter_context(stage.relay("worker", self.database_url, **self.settings))
                for _ in range(self.workers)
            ]
            first, last = _on_the_wire(stage, jobs, workers)
            try:
                until(lambda: not stage.sql(self.database_url, OPEN), 60, "the last attempts are not settled", 0.005)
            except StageError as error:
                pending = [dict(row) for row in stage.sql(self.database_url, STILL_OPEN)]
                raise StageError(f"{error}: {pending}\n{workers[0].said()}") from None
            return jobs / (max(last, time.monotonic()) - first)


def prepare(stage: Stage, module: str, task: Task, settings: Mapping[str, str] | None = None) -> None:
    """Store the backlog."""
    environment = {**task.environment(), **(settings or {})}
    with stage.python(module, [f"benchmarks.contenders.{module}", "prepare"], environment) as process:
        process.finish(PATIENCE)


def _forget(stage: Stage, delay: float) -> None:
    """Let the Platform forget what it has seen, and take so long from now on."""
    stage.platform.reset()
    stage.delay(delay)


def _on_the_wire(stage: Stage, jobs: int, workers: Sequence[Process]) -> tuple[float, float]:
    """When the first and the last of so many PUTs came, in monotonic seconds.

    Raises StageError when they do not come, or a worker ends without having sent them.
    """

    def received() -> int:
        return int(stage.platform.summary()["kinds"].get("customer.put", {}).get("received", 0))

    def all_there() -> bool:
        done = received() >= jobs
        if not done:
            for worker in workers:
                if worker.ended() and received() < jobs:
                    raise StageError(f"it ended after {received()} of {jobs} events:\n{worker.said()}")
        return done

    until(all_there, PATIENCE, f"not all of {jobs} events are delivered", 0.05)
    first = stage.platform.ledger(limit=1, body=0)
    last = stage.platform.ledger(since=jobs - 1, limit=1, body=0)
    return float(first[0]["at"]), float(last[0]["at"])
