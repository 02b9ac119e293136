"""The relay's own client without the relay: nothing stored, the bodies in memory."""

import asyncio

from benchmarks.contenders.task import PlatformCalls, Task, main
from benchmarks.scale import CONCURRENCY


async def work(task: Task) -> None:
    events, platform = task.events(), PlatformCalls(task)

    async def run() -> None:
        for identifier, body in events:
            await platform.put(identifier, body)

    await asyncio.gather(*(run() for _ in range(CONCURRENCY)))
    await platform.aclose()


if __name__ == "__main__":
    main(work=work)
