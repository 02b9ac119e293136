"""What the commands share: the settings, the parts of a process, and an event loop."""

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TypeVar

import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay import database_setup, stores, wiring
from platform_relay.core.database import SERVING, Timeouts
from platform_relay.core.logs import configure_logging, secrets_of
from platform_relay.settings import Settings

T = TypeVar("T")


def read_settings(*, calls_store: bool = True) -> Settings:
    """Read the settings and configure logging. `calls_store` False: the command does not need the store's variables.

    Raises pydantic's ValidationError, and ValueError for an unknown store or if variables of the store are missing.
    """
    settings = Settings()
    chosen = settings.store.adapter if calls_store else None
    secrets = [*secrets_of(settings), *(secrets_of(stores.read_settings(chosen)) if chosen else ())]
    configure_logging(level=settings.log_level, log_format=settings.log_format, secrets=secrets)
    return settings


@asynccontextmanager
async def services() -> AsyncIterator[wiring.Services]:
    """The parts of a process for one command; the database is migrated first."""
    settings = read_settings()
    async with (
        database_setup.migrated_database(settings) as url,
        wiring.services(settings, url, "cli") as parts,
    ):
        yield parts


@asynccontextmanager
async def database_engine(timeouts: Timeouts = SERVING) -> AsyncIterator[AsyncEngine]:
    """A small connection pool for one command that does not call the store; the database is migrated first. `timeouts` are those
    of its statements."""
    settings = read_settings(calls_store=False)
    async with database_setup.migrated_database(settings) as url:
        engine = database_setup.engine(settings, url, "relay cli", 2, timeouts=timeouts)
        try:
            yield engine
        finally:
            await engine.dispose()


def run(work: Coroutine[object, object, T]) -> T:
    """Run a command's coroutine on an event loop and return its result."""
    return uvloop.run(work)
