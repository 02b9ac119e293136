"""Bringing the database to the tables of this release: `relay migrate`, and every process at its start.

All migrations that are due run in one transaction under one advisory lock, so of many replicas starting at once one
migrates and the others wait and find nothing left to do; a migration that fails leaves nothing behind. (Alembic's own
state is global to the process, which is why the lock is taken before Alembic is entered.) What must not run in a
transaction, such as CREATE INDEX CONCURRENTLY, cannot be written as such a migration.

During a rolling upgrade the release before runs on the tables of this one. It does not know their revision, so the
tables say themselves, in a comment, which is the oldest release that they work with.
"""

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay import migrations
from platform_relay.core.database import Timeouts, advisory_lock, create_engine, schema_of

# A migration may take long, and so may waiting for another replica's.
PATIENT = Timeouts(statement=600.0, lock=600.0, idle_in_transaction=600.0)
_LOCK = advisory_lock("'migrate'", schema="CAST(:schema AS text)")  # named: it may not exist yet
# Looked up first: CREATE SCHEMA IF NOT EXISTS needs the right to create schemas even where it has nothing to do.
_EXISTS = text("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = :schema)")
_WORKS_WITH = "works with releases from "
LOCK_SECONDS = 5  # a migration that cannot have a busy table gives up, rather than queue all others behind it


class DatabaseAheadError(RuntimeError):
    """The database was migrated by a later release than this one, which needs more than this one has."""


async def upgrade(engine: AsyncEngine) -> None:
    """Migrate the schema of `engine` to `head()`, and create it when it is missing; does nothing, and waits for nobody,
    when it is there already.

    Raises DatabaseAheadError, and SQLAlchemy's errors (see `database.is_unavailable`), among them lock timeouts on busy
    tables.
    """
    if await current(engine) == head():
        return
    url, schema = engine.url.render_as_string(hide_password=False), schema_of(engine)
    patient = create_engine(url, application_name="relay migrate", pool_size=1, timeouts=PATIENT, schema=schema)
    try:
        async with patient.begin() as connection:
            await connection.execute(_LOCK, {"schema": schema})
            await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
            if not (await connection.execute(_EXISTS, {"schema": schema})).scalar():
                await connection.execute(text(f'CREATE SCHEMA "{schema}"'))
            await connection.run_sync(_upgrade)
    finally:
        await patient.dispose()


async def misfit(engine: AsyncEngine) -> str | None:
    """Why this release cannot work on the database, in words; None when it can. Raises the database's errors."""
    async with engine.connect() as connection:
        return await connection.run_sync(_misfit)


async def current(engine: AsyncEngine) -> str | None:
    """The revision the database is at; None when it was never migrated."""
    async with engine.connect() as connection:
        return await connection.run_sync(_current)


def head() -> str:
    """The revision this release needs: the newest of its migrations. Raises RuntimeError when it carries none."""
    if not (revisions := _revisions()):
        raise RuntimeError("there are no migrations in migrations/versions")
    return revisions[-1]


@cache
def _revisions() -> tuple[str, ...]:
    """Each migration's file begins with its revision, a number that the next one's is higher than."""
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
        if (words := _misfit(connection)) is not None:
            raise DatabaseAheadError(f"{words}. Run that release, or restore a backup made before it")
        return
    from platform_relay.migrations import run  # noqa: PLC0415  # Alembic takes 5 MiB of a process; most never migrate

    run.upgrade(connection)
    connection.execute(text(f"COMMENT ON TABLE alembic_version IS '{_WORKS_WITH}{migrations.OLDEST}'"))


def _misfit(connection: Connection) -> str | None:
    revision, needed = _current(connection), head()
    if revision == needed:
        return None
    if revision is None or revision in _revisions():
        return f"the database is at revision {revision or 'none'}, this release needs {needed}: run relay migrate"
    told = connection.execute(text("SELECT obj_description(to_regclass('alembic_version'))")).scalar()
    oldest = told.removeprefix(_WORKS_WITH) if isinstance(told, str) else revision
    if oldest <= needed:
        return None  # a later release only added to the tables, and is taking over
    return (
        f"the database is at revision {revision}, which this release does not know: it was migrated by a later one,"
        f" and works with releases from {oldest} on (this one is {needed})"
    )
