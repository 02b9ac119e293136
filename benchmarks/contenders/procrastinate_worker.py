"""Procrastinate: async tasks on psycopg's pool, one worker with `concurrency=64` (its "Run concurrent tasks" page).

Jobs are stored with `batch_defer`, finished ones are kept (`delete_jobs="never"`): with its events they are its record
of attempts.
"""

import logging

from procrastinate import App, PsycopgConnector
from procrastinate.types import JSONDict

from benchmarks.contenders.task import PlatformCalls, Task, main
from benchmarks.scale import CONCURRENCY


def _app(task: Task) -> App:
    return App(connector=PsycopgConnector(conninfo=task.libpq_url, min_size=4, max_size=CONCURRENCY))


async def prepare(task: Task) -> None:
    app = _app(task)
    deferrer = app.configure_task("put")
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        events: list[JSONDict] = [
            {"identifier": identifier, "body": body.decode()} for identifier, body in task.events()
        ]
        for at in range(0, len(events), 500):
            await deferrer.batch_defer_async(*events[at : at + 500])


async def work(task: Task) -> None:
    logging.disable(logging.INFO)
    app, platform = _app(task), PlatformCalls(task)

    @app.task(name="put")
    async def put(identifier: str, body: str) -> int:
        return await platform.put(identifier, body.encode())

    async with app.open_async():
        await app.run_worker_async(concurrency=CONCURRENCY, wait=False, delete_jobs="never")
    await platform.aclose()


if __name__ == "__main__":
    main(prepare=prepare, work=work)
