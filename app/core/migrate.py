"""Migrates the database to the tables of this release: for `relay migrate`, and when a process starts.

All pending migrations run in one transaction under one advisory lock. When many replicas start at once, one migrates;
the others wait and find nothing to do. A failed migration changes nothing. (The lock is taken before Alembic is called,
because Alembic's state is global to the process.) A statement that cannot run in a transaction, such as CREATE INDEX
CONCURRENTLY, cannot be part of a migration.

During a rolling upgrade, processes of the previous release work on the tables of this release. They do not know the new
revision, so a comment on the table `alembic_version` names the oldest release that works with the tables.
"""

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay import migrations
from platform_relay.core.database import Timeouts, advisory_lock, create_engine, schema_of, servers_of

# A migration, or the wait for another replica's migration, may take long.
LONG = Timeouts(statement=600.0, lock=600.0, idle_in_transaction=600.0)
_LOCK = advisory_lock(
    "'migrate'", schema="CAST(:schema AS text)"
)  # passed by name, because the schema may not exist yet
# CREATE SCHEMA IF NOT EXISTS needs the right to create schemas even when the schema exists.
_EXISTS = text("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = :schema)")
_WORKS_WITH = "works with releases from "
LOCK_SECONDS = 5  # a migration that cannot lock a table fails, so that it does not block all other statements


class DatabaseAheadError(RuntimeError):
    """A later release migrated the database, and its tables do not work with this release."""


async def upgrade(engine: AsyncEngine) -> None:
    """Migrate the schema of `engine` to `head()`, and create the schema if it is missing.

    Returns without a lock when the database is already migrated. Raises DatabaseAheadError and SQLAlchemy's errors (see
    `database.is_unavailable`), e.g. for lock timeouts on busy tables.
    """
    if await current(engine) == head():
        return
    url, schema = engine.url.render_as_string(hide_password=False), schema_of(engine)
    migrator = create_engine(url, application_name="relay migrate", pool_size=1, timeouts=LONG, schema=schema)
    servers_of(migrator).newest = servers_of(engine).newest  # of several clusters, the one that the process uses
    try:
        async with migrator.begin() as connection:
            await connection.execute(_LOCK, {"schema": schema})
            await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
            if not (await connection.execute(_EXISTS, {"schema": schema})).scalar():
                await connection.execute(text(f'CREATE SCHEMA "{schema}"'))
            await connection.run_sync(_upgrade)
    finally:
        await migrator.dispose()


async def incompatibility(engine: AsyncEngine) -> str | None:
    """Why this release cannot work with the database; None when it can. Raises the database's errors."""
    async with engine.connect() as connection:
        return await connection.run_sync(_incompatibility)


async def current(engine: AsyncEngine) -> str | None:
    """The revision of the database; None when it was never migrated."""
    async with engine.connect() as connection:
        return await connection.run_sync(_current)


def head() -> str:
    """The revision that this release needs: its newest migration. Raises RuntimeError when there are no migrations."""
    if not (revisions := _revisions()):
        raise RuntimeError("there are no migrations in migrations/versions")
    return revisions[-1]


@cache
def _revisions() -> tuple[str, ...]:
    """The revisions in ascending order. The name of each migration's file starts with its revision, a number."""
    versions = Path(migrations.__file__).parent / "versions"
    return tuple(sorted(path.name.partition("_")[0] for path in versions.glob("[0-9]*_*.py")))


def _current(connection: Connection) -> str | None:
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _upgrade(connection: Connection) -> None:
    revision = _current(connection)
    if revision is not None and revision not in _revisions():
        if (reason := _incompatibility(connection)) is not None:
            raise DatabaseAheadError(f"{reason}. Run the later release, or restore a backup from before its migration")
        return
    from platform_relay.migrations import run  # noqa: PLC0415  # Alembic needs 5 MiB of memory, and most processes do not migrate

    run.upgrade(connection)
    connection.execute(text(f"COMMENT ON TABLE alembic_version IS '{_WORKS_WITH}{migrations.OLDEST}'"))


def _incompatibility(connection: Connection) -> str | None:
    revision, needed = _current(connection), head()
    if revision == needed:
        return None
    if revision is None or revision in _revisions():
        return f"the database is at revision {revision or 'none'}, but this release needs {needed}; run relay migrate"
    comment = connection.execute(text("SELECT obj_description(to_regclass('alembic_version'))")).scalar()
    oldest = comment.removeprefix(_WORKS_WITH) if isinstance(comment, str) else revision
    if oldest <= needed:
        return None  # a later release only added to the tables: a rolling upgrade
    return (
        f"a later release migrated the database to revision {revision}, which works with releases from {oldest} on; this"
        f" release is at {needed}"
    )
