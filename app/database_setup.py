"""The database of a process: its URL or the embedded server, its migration, and its engine."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import SERVING, Timeouts, create_engine
from platform_relay.core.database_start import upgrade_now
from platform_relay.jobs.failover import Failovers
from platform_relay.settings import Settings


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[str]:
    """The database URL: DATABASE_URL, or that of the embedded server, which runs while a process uses it."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    from platform_relay.core.embedded import EmbeddedPostgres  # noqa: PLC0415  # a process with DATABASE_URL needs none

    server = EmbeddedPostgres.start(settings.data_dir / "postgres")
    try:
        yield server.url
    finally:
        server.stop()


@asynccontextmanager
async def migrated_database(settings: Settings) -> AsyncIterator[str]:
    """The database URL, after the tables in DATABASE_SCHEMA were migrated. Many processes may do this at once.

    Raises DatabaseUnreachableError or DatabaseMisconfiguredError when the database cannot be used.
    """
    async with database(settings) as url:
        migrating = engine(settings, url, "relay migrate", 2)
        try:
            await upgrade_now(migrating)
        finally:
            await migrating.dispose()
        yield url


def engine(
    settings: Settings,
    database_url: str,
    name: str,
    pool_size: int,
    on_discard: Callable[[], None] = lambda: None,
    failovers: Failovers | None = None,
    timeouts: Timeouts = SERVING,
) -> AsyncEngine:
    """An engine for the relay's tables. `name` is shown in pg_stat_activity; see `create_engine` for the rest.

    `failovers` is called for each server; by default, one of its own.
    """
    return create_engine(
        database_url,
        application_name=name,
        pool_size=pool_size,
        timeouts=timeouts,
        schema=settings.database_schema,
        body_keys=settings.key_ring,
        on_discard=on_discard,
        on_history=(failovers or failovers_of(settings, database_url)).note,
    )


def failovers_of(settings: Settings, database_url: str) -> Failovers:
    """What a process does when its database continues on another server."""
    return Failovers(database_url, settings.database_schema, synchronous=settings.database_synchronous_replication)
