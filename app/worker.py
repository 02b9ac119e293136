"""The worker: one loop per destination, a listener for notifications, and the periodic tasks.

Exit codes: 0 stopped by a signal, 1 a part failed (the log shows the error; restart the worker), 2 configuration error.
"""

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from platform_relay import wiring
from platform_relay.core.database import servers_of
from platform_relay.core.database_url import parse_url
from platform_relay.periodic_tasks import periodic_tasks
from platform_relay.queue import maintenance
from platform_relay.queue.due import watch_due
from platform_relay.queue.loop import ALIVE_SECONDS, Loop
from platform_relay.queue.notifications import listen
from platform_relay.wiring import Clients, Services

log: Final = structlog.get_logger(__name__)

STOP_SECONDS: Final = 9.5
"""Maximum time from SIGTERM to exit."""


class Worker:
    """Runs until `stop` is called."""

    def __init__(self, parts: Services, clients: Clients) -> None:
        self._parts = parts
        self._loops: list[Loop] = wiring.loops(parts, clients)
        self._periodic_tasks = periodic_tasks(parts, clients)
        parts.on_work.append(self.wake)

    def wake(self, destination: str) -> None:
        """Look for due jobs of `destination` now; "" means all destinations."""
        for loop in self._loops:
            if destination in ("", loop.destination):
                loop.wake()

    def alive(self) -> bool:
        """The loops run, or may wait for a server that is prepared for its first use. The end of the process would undo that."""
        preparing = servers_of(self._parts.engine).seconds_since_preparation() < ALIVE_SECONDS
        return preparing or all(loop.alive() for loop in self._loops)

    def stop(self) -> None:
        for loop in self._loops:
            loop.stop()

    async def run(self) -> None:
        """Run until `stop`; running jobs are finished or returned to the queue first. Raises when a part fails."""
        settings = self._parts.settings
        log.info(
            "worker_started", destinations=[loop.destination for loop in self._loops], concurrency=settings.concurrency
        )
        log.info("retry_policy", worst_case=wiring.retry_policy(settings).describe())
        listen_url, servers = parse_url(self._parts.listen_url), servers_of(self._parts.engine)
        side = [
            asyncio.create_task(listen(listen_url, settings.database_schema, self.wake, known=lambda: servers.newest)),
            asyncio.create_task(
                watch_due(
                    self._parts.engine,
                    [loop.destination for loop in self._loops],
                    self.wake,
                    every=settings.poll_interval,
                )
            ),
            *(
                asyncio.create_task(maintenance.run_periodically(task.name, task.every, task.run_once))
                for task in self._periodic_tasks
            ),
        ]
        loops = [asyncio.create_task(loop.run()) for loop in self._loops]
        try:
            done, _ = await asyncio.wait([*side, *loops], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (error := task.exception()) is not None:
                    log.error("worker_part_failed", exc_info=error)
                    raise error
            self.stop()
            await asyncio.wait_for(asyncio.gather(*loops), STOP_SECONDS)
        finally:
            for task in [*side, *loops]:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*side, *loops, return_exceptions=True)
            log.info("worker_stopped")
