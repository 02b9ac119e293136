"""Webhooks going out: each sent until it is answered 2xx or the bound is reached, and every attempt written down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohttp


@dataclass(slots=True)
class Delivery:
    """One webhook to one URL, with all its attempts."""

    id: int
    topic: str
    url: str
    headers: dict[str, str]
    body: bytes
    attempts: list[dict[str, Any]] = field(default_factory=list)
    delivered: bool = False

    def as_json(self) -> dict[str, Any]:
        """The delivery as a JSON object."""
        text = self.body.decode("utf-8", "backslashreplace")
        return {
            "id": self.id, "topic": self.topic, "url": self.url, "headers": self.headers, "body": text,
            "attempts": self.attempts, "delivered": self.delivered,
        }  # fmt: skip


class Deliveries:
    """The outgoing side of a simulator. `close()` gives up what is still under way."""

    def __init__(self) -> None:
        self.log: list[Delivery] = []
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def send(
        self,
        topic: str,
        url: str,
        body: bytes,
        headers: dict[str, str],
        attempts: int = 1,
        backoff: float = 0.2,
        timeout: float = 10.0,
    ) -> Delivery:
        """Send until a 2xx, at most `attempts` times, waiting `backoff` seconds, then twice that, and so on."""
        delivery = Delivery(len(self.log) + 1, topic, url, headers, body)
        self.log.append(delivery)
        for number in range(max(1, attempts)):
            if number:
                await asyncio.sleep(min(backoff * 2 ** (number - 1), 10.0))
            began = time.monotonic()
            attempt: dict[str, Any] = {"at": began, "status": None}
            delivery.attempts.append(attempt)
            try:
                attempt["status"], attempt["answer"] = await self._post(url, body, headers, timeout)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                attempt["error"] = f"{type(error).__name__}: {error}"
            attempt["seconds"] = time.monotonic() - began
            if attempt["status"] is not None and 200 <= attempt["status"] < 300:
                delivery.delivered = True
                break
        return delivery

    async def _post(self, url: str, body: bytes, headers: dict[str, str], timeout: float) -> tuple[int, str]:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200))
        limit = aiohttp.ClientTimeout(total=timeout)
        async with self._session.post(
            url, data=body, headers=headers, timeout=limit, allow_redirects=False
        ) as response:
            answer = await response.content.read(2_000)
            return response.status, answer.decode("utf-8", "replace")

    def since(self, number: int) -> list[dict[str, Any]]:
        """The deliveries after the first `number`."""
        return [delivery.as_json() for delivery in self.log[number:]]

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let `work` run in the background until it is done or the simulator ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel what runs and close the connections."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None
