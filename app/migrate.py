"""Bringing the database to the tables of this release: `relay migrate`, and every process at its start.

All migrations that are due run in one transaction under one advisory lock, so of many replicas starting at once one
migrates and the others wait and find nothing left to do; a migration that fails leaves nothing behind. (Alembic's own
state is global to the process, which is why the lock is taken before Alembic is entered.) What must not run in a
transaction, such as CREATE INDEX CONCURRENTLY, cannot be written as such a migration.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from app.database import Timeouts, create_engine

ADVISORY_LOCK = 7_245_910_338_114_205_761  # any number, the same in every release; advisory locks count per database
# A migration may take long, and so may waiting for another replica's.
PATIENT = Timeouts(statement=600.0, lock=600.0, idle_in_transaction=600.0)
LOCK_SECONDS = 5  # a migration that cannot have a busy table gives up, rather than queue all others behind it


class DatabaseAheadError(RuntimeError):
    """The database was migrated by a later release than this one."""


async def upgrade(engine: AsyncEngine, schema: str | None = None) -> None:
    """Migrate the database of `engine` to `head()`; does nothing, and waits for nobody, when it is there already.
    `schema` is the engine's own, made when it is missing.

    Raises DatabaseAheadError, and SQLAlchemy's errors (see `database.is_unavailable`), among them lock timeouts on busy
    tables.
    """
    if await current(engine) == head():
        return
    url = engine.url.render_as_string(hide_password=False)
    patient = create_engine(url, application_name="relay migrate", pool_size=1, timeouts=PATIENT, schema=schema)
    try:
        async with patient.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
            await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
            if schema is not None:
                await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
            await connection.run_sync(_upgrade)
    finally:
        await patient.dispose()


async def current(engine: AsyncEngine) -> str | None:
    """The revision the database is at; None when it was never migrated."""
    async with engine.connect() as connection:
        return await connection.run_sync(_current)


def head() -> str:
    """The revision this release needs. Raises RuntimeError when it carries no migrations, or branching ones."""
    try:
        revision = _scripts().get_current_head()
    except CommandError as error:
        raise RuntimeError("the migrations branch: give the later one the earlier one as its down_revision") from error
    if revision is None:
        raise RuntimeError("there are no migrations in migrations/versions")
    return revision


def configuration() -> Config:
    """Alembic's configuration, for which there is no file."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(configuration())


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: Connection) -> None:
    revision = _current(connection)
    if revision is not None and revision not in {script.revision for script in _scripts().walk_revisions()}:
        raise DatabaseAheadError(
            f"the database is at revision {revision}, which this release does not know: it was migrated by a later one."
            f" Run that release, or restore a backup made before it (this release needs {head()})"
        )
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
