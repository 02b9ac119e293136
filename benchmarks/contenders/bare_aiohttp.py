"""A bare aiohttp loop, the practical limit of Python here: nothing stored, the bodies in memory."""

import asyncio

import aiohttp

from benchmarks.contenders.task import Task, main
from benchmarks.scale import CONCURRENCY


async def work(task: Task) -> None:
    events = task.events()
    headers = {"x-api-key": "sim-platform-key", "content-type": "application/json"}
    connector = aiohttp.TCPConnector(limit=2 * CONCURRENCY)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def run() -> None:
            for identifier, body in events:
                async with session.put(f"{task.platform_url}/v1/customers/{identifier}", data=body) as answer:
                    answer.raise_for_status()
                    await answer.read()

        await asyncio.gather(*(run() for _ in range(CONCURRENCY)))


if __name__ == "__main__":
    main(work=work)
