"""What the commands share: settings read and logging set up, an engine of their own, an event loop."""

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TypeVar

import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay import stores, wiring
from platform_relay.core.telemetry import configure_logging, secrets_of
from platform_relay.settings import Settings

T = TypeVar("T")


def read_settings() -> Settings:
    """The settings, with logging set up by them. Raises ValidationError, and ValueError for an unknown shop."""
    settings = Settings()
    chosen = settings.store.adapter
    configure_logging(settings, secrets_of(stores.adapter_class(chosen).Settings()) if chosen else ())
    return settings


@asynccontextmanager
async def all_parts() -> AsyncIterator[wiring.Services]:
    """The parts of a process, on the migrated database, for one command."""
    settings = read_settings()
    async with wiring.database(settings) as url, wiring.services(settings, url, "cli") as parts:
        await wiring.migrated(settings, url)
        yield parts


@asynccontextmanager
async def own_engine() -> AsyncIterator[AsyncEngine]:
    """An engine on the migrated database, for one command."""
    settings = read_settings()
    async with wiring.database(settings) as url:
        await wiring.migrated(settings, url)
        engine = wiring.engine(settings, url, "relay cli", 2)
        try:
            yield engine
        finally:
            await engine.dispose()


def run(work: Coroutine[object, object, T]) -> T:
    """Run a command's coroutine to its end."""
    return uvloop.run(work)
