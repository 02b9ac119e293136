"""Runs a task of a process that no caller awaits."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

log: Final = structlog.get_logger(__name__)

PAUSE_SECONDS: Final = 5.0
"""Between the unexpected end of a task and its next start."""


async def keep_running(name: str, run: Callable[[], Awaitable[object]], **details: object) -> None:
    """Await `run()` until this is cancelled. When it ends, the error is logged with `name` and `details`, and it is started again
    after PAUSE_SECONDS.

    For tasks that only observe or report: a process whose task fails does its work, and ending it would interrupt its calls.
    """
    while True:
        try:
            await run()
            log.error("background_task_ended", task=name, **details)
        except Exception as error:  # whatever it is, the task continues
            log.exception("background_task_failed", task=name, exc_info=error, **details)
        await asyncio.sleep(PAUSE_SECONDS)
