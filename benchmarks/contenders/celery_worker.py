"""Celery with Redis as broker and as result store (its record of attempts).

By its "Optimizing" page: a large prefetch multiplier for short tasks, no rate limits, `acks_late` since the calls are
idempotent and no task may be lost with a worker. Its tasks are synchronous: 64 threads wait for the calls, which one
event loop makes with the same client as everybody's.
"""

import asyncio
import threading

from celery import Celery  # type: ignore[import-untyped]  # it has no types

from benchmarks.contenders.task import PlatformCalls, Task, main
from benchmarks.scale import CONCURRENCY


def _app(task: Task) -> Celery:
    app = Celery("benchmark", broker=task.redis_url, backend=task.redis_url)
    app.conf.update(
        task_acks_late=True,
        worker_prefetch_multiplier=4,
        worker_disable_rate_limits=True,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        task_serializer="json",
        task_default_queue=f"benchmark-{task.series}",
        broker_connection_retry_on_startup=True,
    )
    return app


async def prepare(task: Task) -> None:
    app = _app(task)
    with app.producer_pool.acquire(block=True) as producer:
        for identifier, body in task.events():
            app.send_task("put", (identifier, body.decode()), producer=producer)


async def work(task: Task) -> None:
    app = _app(task)
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    platform = PlatformCalls(task)

    @app.task(name="put")  # type: ignore[untyped-decorator]  # as above
    def put(identifier: str, body: str) -> int:
        return asyncio.run_coroutine_threadsafe(platform.put(identifier, body.encode()), loop).result()

    options = ["worker", "--pool", "threads", "--concurrency", str(CONCURRENCY), "--loglevel", "ERROR"]
    await asyncio.to_thread(app.worker_main, [*options, "--without-gossip", "--without-mingle", "--without-heartbeat"])


if __name__ == "__main__":
    main(prepare=prepare, work=work)
