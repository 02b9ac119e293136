"""The task of a contender, read from the environment: where the backlog is, how long it is, and where it goes."""

import json
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import asdict, dataclass
from typing import Final, Self

import aiohttp
import httpx
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
    client: str = "relay"
    """Which client `PlatformCalls` uses: the relay's own, `aiohttp`, or `httpx` (its AsyncClient with its own transport)."""

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


HEADERS: Final = {"x-api-key": "sim-platform-key", "content-type": "application/json"}


class PlatformCalls:
    """The PUT that all contenders make, through the task's client. A client is made with the first call: aiohttp needs a loop.

    A call raises when there was no complete answer, or none of 2xx.
    """

    def __init__(self, task: Task) -> None:
        self._url = f"{task.platform_url}/v1/customers/"
        self._put = {"relay": self._with_relay, "aiohttp": self._with_aiohttp, "httpx": self._with_httpx}[task.client]
        self._relay: HttpClient | None = None
        self._aiohttp: aiohttp.ClientSession | None = None
        self._httpx: httpx.AsyncClient | None = None

    async def put(self, identifier: str, body: bytes) -> int:
        """The status."""
        return await self._put(self._url + identifier, body)

    async def _with_relay(self, url: str, body: bytes) -> int:
        client = self._relay = self._relay or HttpClient(connections=2 * CONCURRENCY)
        answer = await client.call("PUT", url, content=body, headers=HEADERS)
        if not isinstance(answer, HttpResponse) or answer.status >= 300:
            raise RuntimeError(str(answer))
        return answer.status

    async def _with_aiohttp(self, url: str, body: bytes) -> int:
        if self._aiohttp is None:
            connector = aiohttp.TCPConnector(limit=2 * CONCURRENCY)
            self._aiohttp = aiohttp.ClientSession(connector=connector, headers=HEADERS)
        async with self._aiohttp.put(url, data=body) as answer:
            answer.raise_for_status()
            await answer.read()
            return answer.status

    async def _with_httpx(self, url: str, body: bytes) -> int:
        if self._httpx is None:
            limits = httpx.Limits(max_connections=2 * CONCURRENCY, max_keepalive_connections=2 * CONCURRENCY)
            self._httpx = httpx.AsyncClient(headers=HEADERS, limits=limits, trust_env=False)
        answer = await self._httpx.put(url, content=body)
        return answer.raise_for_status().status_code

    async def aclose(self) -> None:
        if self._relay:
            await self._relay.aclose()
        if self._aiohttp:
            await self._aiohttp.close()
        if self._httpx:
            await self._httpx.aclose()


Step = Callable[[Task], Coroutine[object, object, None]]


def main(**steps: Step) -> None:
    """The program of a contender: the step that its command line names. Prints the processor time that it used, as JSON."""
    started = time.process_time()
    uvloop.run(steps[sys.argv[1]](Task.given()))
    print(json.dumps({"processor_seconds": time.process_time() - started}), flush=True)
