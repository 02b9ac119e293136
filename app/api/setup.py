"""The checklist of the set-up."""

import asyncio
import time
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request

from platform_relay.api.authentication import READ
from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import KEY_PROBLEMS, problem_responses, success
from platform_relay.inbox.messages import PLATFORM
from platform_relay.platform.connection import platform_client
from platform_relay.setup.checklist import ChecklistItem, checklist
from platform_relay.setup.collect import collect
from platform_relay.setup.views import SetupView, setup_view

KEPT: Final = 15.0
"""Seconds for which a checklist is kept. Each one calls the Platform and the store."""
SHARE: Final = 0.1
"""The largest share of time that reading the checklist may take: one that took 5 s is kept for 50 s."""


class SetupReader:
    """The checklist, shared by all visitors and callers of this process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reading = asyncio.Lock()
        self._items: tuple[ChecklistItem, ...] = ()
        self._fresh_until = 0.0

    async def read(self, *, fresh: bool = False) -> tuple[ChecklistItem, ...]:
        """The checklist. `fresh` reads again, for a caller that has just changed something."""
        services = self._services
        async with self._reading:
            if fresh or time.monotonic() >= self._fresh_until:
                started = time.monotonic()
                async with platform_client(services.settings, services.guards.get(PLATFORM), services.mode) as platform:
                    facts = await collect(services.settings, services.engine, platform, services.store)
                self._items = checklist(facts)
                took = time.monotonic() - started
                self._fresh_until = time.monotonic() + max(KEPT, took / SHARE)
            return self._items


router: Final = APIRouter(prefix="/v1/setup", tags=["Set-up"])
_SETUP: Final = {
    "complete": False,
    "checks": [
        {
            "id": "database",
            "title": "Database and migrations",
            "state": "ok",
            "text": "reachable, migrated, and accepts writes",
            "next_step": "",
            "last_seen": None,
        },
        {
            "id": "backup",
            "title": "Backup of the database",
            "state": "attention",
            "text": "No backup was stated.",
            "next_step": "Make a backup, test it, and enter its time in the console, under Set-up (docs/operations.md).",
            "last_seen": None,
        },
    ],
}


@router.get(
    "",
    operation_id="read_setup",
    summary="Read the checklist of the set-up",
    responses={200: success("The checklist.", _SETUP), **problem_responses(*KEY_PROBLEMS)},
    dependencies=[READ],
)
async def read(request: Request) -> SetupView:
    """What works, what is missing and what to do next: the database, the store, the Platform, events, webhooks, rewards and
    operations. The answer is at most a minute old. It calls the Platform and the store, and changes nothing."""
    return setup_view(await reader_of(request).read())


def reader_of(request: Request) -> SetupReader:
    """The reader of this process."""
    reader = request.app.state.setup
    assert isinstance(reader, SetupReader)  # noqa: S101  # as create_app put it there
    return reader
