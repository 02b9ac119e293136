"""HTTP load from a process of its own: `python -m benchmarks.load '{"url": …}'` prints one JSON object.

Each connection sends its next request when its last answer is complete (or at `rate` requests per second over all).
Requests are put together and answers are read in protocol callbacks, without tasks, headers objects or a client
library: it costs a fifth of what the emptiest route costs (`cpu`, its share of one core, is part of its answer).
"""

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Final, Self
from urllib.parse import urlsplit

import uvloop
from typing_extensions import override

from benchmarks import bodies
from benchmarks.figures import percentile
from benchmarks.stage import ROOT, STORE_KEY, StageError

EVENT: Final = "/v1/events/customers"
BATCH: Final = "/v1/events/batch"


@dataclass(frozen=True, slots=True)
class Load:
    """`lines` > 0: batches of that many events each. `rate` 0: as fast as it goes."""

    url: str
    series: int
    connections: int
    seconds: float
    size: int
    lines: int = 0
    rate: float = 0.0

    def run(self) -> "Answers":
        """Raises StageError when the generator fails or anything but 2xx came back."""
        command = [sys.executable, "-m", "benchmarks.load", json.dumps(asdict(self))]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StageError(f"the load generator failed: {done.stderr[-2000:]}")
        answers = Answers(**json.loads(done.stdout))
        if answers.refused or not answers.events:
            raise StageError(f"{answers.refused} requests were refused, {answers.events} events taken ({self.url})")
        return answers


@dataclass(frozen=True, slots=True)
class Answers:
    """`events` acknowledged in `seconds`; latencies in milliseconds; `cpu`: the generator's own share of a core."""

    events: int
    seconds: float
    refused: int
    p50: float
    p99: float
    cpu: float

    @property
    def per_second(self) -> float:
        return self.events / self.seconds


class Connection(asyncio.Protocol):
    def __init__(self, generator: "Generator") -> None:
        self._generator = generator
        self._buffer = b""
        self._sent = 0.0

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # TCP gives nothing else
        self._transport = transport
        self._send()

    def _send(self) -> None:
        if self._generator.over:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(self._generator.request())

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        fields = self._buffer[:head].lower()
        at = fields.index(b"content-length:") + 15
        end = fields.find(b"\r", at)
        if len(self._buffer) < head + 4 + int(fields[at : end if end > 0 else None]):
            return
        self._generator.answered(self._buffer[9:12], self._sent)
        self._buffer = b""
        if self._generator.pause:
            asyncio.get_running_loop().call_later(self._generator.pause, self._send)
        else:
            self._send()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._generator.closed(too_early=not self._generator.over)


class Generator:
    def __init__(self, load: Load) -> None:
        self._load = load
        self._template = bodies.template(load.size)
        self._number = 0
        self._open = load.connections
        self._all_closed = asyncio.Event()
        self._head = (
            f"POST {BATCH if load.lines else EVENT} HTTP/1.1\r\nhost: {urlsplit(load.url).netloc}\r\n"
            f"authorization: Bearer {STORE_KEY}\r\n"
            f"content-type: application/{'x-ndjson' if load.lines else 'json'}\r\ncontent-length: "
        ).encode()
        self.pause = load.connections / load.rate if load.rate else 0.0
        self.over = False
        self._latencies: list[float] = []
        self._refused = 0

    def _body(self) -> bytes:
        self._number += 1
        return self._template % {b"id": bodies.entity_id(self._load.series, self._number).encode()}

    def request(self) -> bytes:
        lines = self._load.lines
        body = (
            b"".join(b'{"type":"customers","event":%b}\n' % self._body() for _ in range(lines)) if lines else self._body()
        )
        return b"%b%d\r\n\r\n%b" % (self._head, len(body), body)

    def answered(self, status: bytes, sent: float) -> None:
        if status.startswith(b"2"):
            self._latencies.append(time.perf_counter() - sent)
        else:
            self._refused += 1

    def closed(self, *, too_early: bool) -> None:
        self._refused += too_early
        self._open -= 1
        if not self._open:
            self._all_closed.set()

    async def run(self) -> Answers:
        load, loop = self._load, asyncio.get_running_loop()
        address = urlsplit(load.url)
        for _ in range(load.connections):
            await loop.create_connection(lambda: Connection(self), address.hostname, address.port)
        await asyncio.sleep(load.seconds / 4)
        self._latencies.clear()
        started, cpu = time.perf_counter(), time.process_time()
        await asyncio.sleep(load.seconds)
        answered, seconds, cpu = len(self._latencies), time.perf_counter() - started, time.process_time() - cpu
        self.over = True
        async with asyncio.timeout(30):
            await self._all_closed.wait()
        seen = [1000 * latency for latency in self._latencies] or [0.0]
        return Answers(
            events=answered * (load.lines or 1),
            seconds=seconds,
            refused=self._refused,
            p50=percentile(seen, 0.5),
            p99=percentile(seen, 0.99),
            cpu=cpu / seconds,
        )

    @classmethod
    def of(cls, text: str) -> Self:
        return cls(Load(**json.loads(text)))


async def main(text: str) -> None:
    print(json.dumps(asdict(await Generator.of(text).run())))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
