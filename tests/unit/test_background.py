"""Tasks that nobody awaits."""

import asyncio

import pytest
from structlog.testing import capture_logs

from platform_relay.core import background
from platform_relay.core.background import keep_running
from tests.helpers import eventually


async def test_a_task_that_ends_is_reported_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.01)
    starts: list[int] = []

    async def run() -> None:
        starts.append(len(starts))
        if len(starts) == 1:
            raise LookupError("unexpected")
        if len(starts) > 2:
            await asyncio.Event().wait()

    with capture_logs() as logs:
        task = asyncio.create_task(keep_running("watch", run, server="a:5432"))
        await eventually(lambda: len(starts) == 3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert [(line["event"], line["task"], line["server"]) for line in logs] == [
        ("background_task_failed", "watch", "a:5432"),
        ("background_task_ended", "watch", "a:5432"),
    ]
    assert isinstance(logs[0]["exc_info"], LookupError)
