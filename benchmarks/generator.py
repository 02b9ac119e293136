"""The HTTP load generator: `python -m benchmarks.generator '{"url": …}'` prints one JSON object (see load.py).

With `wrong`, every event is one that the relay refuses with 422, and any other answer counts as an error.

Each connection sends its next request when its last answer is complete (or at `rate` requests per second over all).
Requests are put together and answers are read in protocol callbacks, without tasks, header objects or a client
library, so that it takes little of the machine that it shares with what it measures.
"""

import asyncio
import json
import sys
import time
from typing import cast
from urllib.parse import urlsplit

import uvloop
from typing_extensions import override

from benchmarks import bodies
from benchmarks.figures import percentile


class Connection(asyncio.Protocol):
    def __init__(self, generator: "Generator") -> None:
        self._generator = generator
        self._buffer = b""
        self._sent = 0.0

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is none
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
    def __init__(
        self,
        url: str,
        path: str,
        key: str,
        series: int,
        connections: int,
        seconds: float,
        size: int,
        lines: int,
        rate: float,
        wrong: bool,
    ) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port or 80
        self._series, self._connections, self._seconds, self._lines = series, connections, seconds, lines
        self._template = bodies.wrong_template(size) if wrong else bodies.template(size)
        self._expected = b"422" if wrong else b"2"
        self._number = 0
        self._open = connections
        self._all_closed = asyncio.Event()
        self._head = (
            f"POST {path} HTTP/1.1\r\nhost: {address.netloc}\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/{'x-ndjson' if lines else 'json'}\r\ncontent-length: "
        ).encode()
        self.pause = connections / rate if rate else 0.0
        self.over = False
        self._latencies: list[float] = []
        self._refused = 0

    def _body(self) -> bytes:
        self._number += 1
        return self._template % {b"id": bodies.entity_id(self._series, self._number).encode()}

    def request(self) -> bytes:
        if self._lines:
            body = b"".join(b'{"type":"customers","event":%b}\n' % self._body() for _ in range(self._lines))
        else:
            body = self._body()
        return b"%b%d\r\n\r\n%b" % (self._head, len(body), body)

    def answered(self, status: bytes, sent: float) -> None:
        if status.startswith(self._expected):
            self._latencies.append(time.perf_counter() - sent)
        else:
            self._refused += 1

    def closed(self, *, too_early: bool) -> None:
        self._refused += too_early
        self._open -= 1
        if not self._open:
            self._all_closed.set()

    async def run(self) -> dict[str, float]:
        """The members of `load.Answers`."""
        loop = asyncio.get_running_loop()
        for _ in range(self._connections):
            await loop.create_connection(lambda: Connection(self), self._host, self._port)
        await asyncio.sleep(self._seconds / 4)
        self._latencies.clear()
        started, cpu = time.perf_counter(), time.process_time()
        await asyncio.sleep(self._seconds)
        answered, seconds, cpu = len(self._latencies), time.perf_counter() - started, time.process_time() - cpu
        self.over = True
        async with asyncio.timeout(30):
            await self._all_closed.wait()
        seen = [1000 * latency for latency in self._latencies] or [0.0]
        return {
            "events": answered * (self._lines or 1),
            "seconds": seconds,
            "refused": self._refused,
            "p50": percentile(seen, 0.5),
            "p99": percentile(seen, 0.99),
            "cpu": cpu / seconds,
        }


async def main(text: str) -> None:
    print(json.dumps(await Generator(**json.loads(text)).run()))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
