"""The worker: one loop per destination, a listener for hints, and the ticks that tidy up.

Exit codes: 0 stopped as asked, 1 a part of it died (the log says why; start it again), 2 misconfigured.
"""

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from platform_relay import wiring
from platform_relay.core.database import parse_url
from platform_relay.periodic_tasks import ticks
from platform_relay.queue import maintenance
from platform_relay.queue.loop import Loop
from platform_relay.queue.notifications import listen
from platform_relay.wiring import Destinations, Services

log: Final = structlog.get_logger(__name__)

STOP_SECONDS: Final = 9.5
"""SIGTERM to exit, at the most."""


class Worker:
    """Runs until `stop` is called."""

    def __init__(self, parts: Services, far: Destinations) -> None:
        self._parts = parts
        self._loops: list[Loop] = wiring.loops(parts, far)
        self._ticks = ticks(parts, far)
        parts.on_work.append(self.wake)

    def wake(self, destination: str) -> None:
        """A hint of new work on `destination` ("": anywhere)."""
        for loop in self._loops:
            if destination in ("", loop.destination):
                loop.wake()

    def alive(self) -> bool:
        return all(loop.alive() for loop in self._loops)

    def stop(self) -> None:
        for loop in self._loops:
            loop.stop()

    async def run(self) -> None:
        """Returns when stopped and everything in hand is finished or given back. Raises when a part of it died."""
        settings = self._parts.settings
        log.info("worker_started", destinations=[loop.destination for loop in self._loops], slots=settings.slots)
        log.info("retry_policy", worst_case=wiring.retry_policy(settings).describe())
        dsn = parse_url(self._parts.listen_url).set(drivername="postgresql").render_as_string(hide_password=False)
        side = [
            asyncio.create_task(listen(dsn, settings.database_schema, self.wake)),
            *(asyncio.create_task(maintenance.tick(tick.name, tick.every, tick.step)) for tick in self._ticks),
        ]
        loops = [asyncio.create_task(loop.run()) for loop in self._loops]
        try:
            done, _ = await asyncio.wait([*side, *loops], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (error := task.exception()) is not None:
                    log.error("worker_part_died", exc_info=error)
                    raise error
            self.stop()
            await asyncio.wait_for(asyncio.gather(*loops), STOP_SECONDS)
        finally:
            for task in [*side, *loops]:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*side, *loops, return_exceptions=True)
            log.info("worker_stopped")
