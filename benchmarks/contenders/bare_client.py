"""A bare loop of `httpx.AsyncClient` on the aiohttp transport: nothing stored, the bodies in memory."""

import asyncio

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from benchmarks.contenders.task import Task, main
from benchmarks.scale import CONCURRENCY


async def work(task: Task) -> None:
    events = task.events()
    transport = AiohttpTransport(
        client=lambda: aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2 * CONCURRENCY))
    )
    headers = {"x-api-key": "sim-platform-key", "content-type": "application/json"}
    async with httpx.AsyncClient(transport=transport, headers=headers, trust_env=False) as client:

        async def run() -> None:
            for identifier, body in events:
                answer = await client.put(f"{task.platform_url}/v1/customers/{identifier}", content=body)
                answer.raise_for_status()

        await asyncio.gather(*(run() for _ in range(CONCURRENCY)))


if __name__ == "__main__":
    main(work=work)
