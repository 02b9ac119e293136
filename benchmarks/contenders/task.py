"""The task of a contender, read from the environment: where the backlog is, how long it is, and where it goes."""

import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import asdict, dataclass
from typing import Self

import uvloop

from benchmarks import bodies
from benchmarks.scale import CONCURRENCY
from platform_relay.core.http import HttpClient, HttpResponse

VARIABLE = "BENCHMARK_TASK"


@dataclass(frozen=True, slots=True)
class Task:
    database_url: str
    platform_url: str
    redis_url: str
    jobs: int
    size: int
    series: int

    @classmethod
    def given(cls) -> Self:
        return cls(**json.loads(os.environ[VARIABLE]))

    def environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}

    @property
    def libpq_url(self) -> str:
        return self.database_url.replace("postgresql+asyncpg://", "postgresql://")

    def events(self) -> Iterator[tuple[str, bytes]]:
        """Id and body of every event."""
        for number in range(self.jobs):
            identifier = bodies.entity_id(self.series, number)
            yield identifier, bodies.customer(self.size, identifier)


class PlatformCalls:
    """The PUT that all contenders make, through the client that the relay uses."""

    def __init__(self, task: Task) -> None:
        self._url = f"{task.platform_url}/v1/customers/"
        self._http = HttpClient(connections=2 * CONCURRENCY)
        self._headers = {"x-api-key": "sim-platform-key", "content-type": "application/json"}

    async def put(self, identifier: str, body: bytes) -> int:
        """The status. Raises RuntimeError when there was no complete answer, or none of 2xx."""
        answer = await self._http.call("PUT", self._url + identifier, content=body, headers=self._headers)
        if not isinstance(answer, HttpResponse) or answer.status >= 300:
            raise RuntimeError(str(answer))
        return answer.status

    async def aclose(self) -> None:
        await self._http.aclose()


Step = Callable[[Task], Coroutine[object, object, None]]


def main(**steps: Step) -> None:
    """The program of a contender: the step that its command line names."""
    uvloop.run(steps[sys.argv[1]](Task.given()))
