"""PGQueuer, by its "Performance Tuning" page: asyncpg, a large `batch_size` for short jobs, `pgq autovac` applied.

`max_concurrent_tasks` must be twice `batch_size`, so 64 in flight means batches of 32. Its tables are durable (the
default; the faster levels lose jobs in a crash of Postgres). Its log table is its record of attempts.
"""

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

from benchmarks.contenders.task import PlatformCalls, Task, main
from benchmarks.scale import CONCURRENCY

PART = 500


async def prepare(task: Task) -> None:
    connection = await asyncpg.connect(task.libpq_url)
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    await queries.optimize_autovacuum()
    payloads: list[bytes | None] = [identifier.encode() + b" " + body for identifier, body in task.events()]
    for at in range(0, len(payloads), PART):
        part = payloads[at : at + PART]
        await queries.enqueue(["put"] * len(part), part, [0] * len(part))
    await connection.close()


async def work(task: Task) -> None:
    platform = PlatformCalls(task)
    connection = await asyncpg.connect(task.libpq_url)
    queue = PgQueuer(AsyncpgDriver(connection))

    @queue.entrypoint("put")
    async def put(job: Job) -> None:
        identifier, _, body = (job.payload or b"").partition(b" ")
        await platform.put(identifier.decode(), body)

    await queue.run(batch_size=CONCURRENCY // 2, max_concurrent_tasks=CONCURRENCY, mode=QueueExecutionMode.drain)
    await platform.aclose()


if __name__ == "__main__":
    main(prepare=prepare, work=work)
