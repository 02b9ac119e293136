"""The migrations make exactly the tables of the models, once, however many replicas start at the same time."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from migrations import run
from platform_relay import migrations
from platform_relay.core import migrate
from platform_relay.core.database import create_engine
from platform_relay.core.models import Base


@pytest.fixture
async def empty(empty_database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(empty_database_url, application_name="tests")
    yield engine
    await engine.dispose()


# What makes up the tables, in Postgres' own spelling; Alembic's comparison knows no checks, generated columns or
# predicates of indexes.
CATALOGUE = """
    SELECT 'column ' || c.relname || '.' || attname AS thing,
           concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attgenerated, pg_get_expr(adbin, adrelid))
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT 'constraint ' || conrelid::regclass || ' ' || conname, pg_get_constraintdef(oid)
    FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'index ' || indexrelid::regclass, pg_get_indexdef(indexrelid)
    FROM pg_index JOIN pg_class c ON c.oid = indexrelid
    WHERE c.relnamespace = 'public'::regnamespace
"""


async def catalogue(engine: AsyncEngine) -> set[tuple[str, str]]:
    async with engine.connect() as connection:
        rows = await connection.execute(text(CATALOGUE))
        return {(thing, form) for thing, form in rows if "alembic_version" not in thing}


async def test_models_equal_migrations(engine: AsyncEngine, empty: AsyncEngine) -> None:
    async with empty.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    models, migrated = await catalogue(empty), await catalogue(engine)
    assert sorted(models - migrated) == [], "in the models, not in the migrations"
    assert sorted(migrated - models) == [], "in the migrations, not in the models"


# Alembic compares generated columns by the text of their expression, which Postgres rewrites; the catalogue's test
# compares them.
@pytest.mark.filterwarnings("ignore:Computed default on:UserWarning")
async def test_a_new_migration_would_be_empty(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_server_default": True})
    return list(compare_metadata(context, Base.metadata))


async def test_upgrade_makes_the_newest_revision(empty: AsyncEngine) -> None:
    assert await migrate.current(empty) is None
    await migrate.upgrade(empty)
    assert await migrate.current(empty) == migrate.head()
    await migrate.upgrade(empty)  # nothing left to do


async def test_eight_replicas_migrate_at_once(empty: AsyncEngine, empty_database_url: str) -> None:
    replicas = [create_engine(empty_database_url, application_name="tests", pool_size=1) for _ in range(8)]
    await asyncio.gather(*(migrate.upgrade(replica) for replica in replicas))
    for replica in replicas:
        await replica.dispose()
    async with empty.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM alembic_version"))).scalar_one() == 1


async def a_later_release_migrated(engine: AsyncEngine, works_with: str | None) -> None:
    """As a release after ours would have left it."""
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        result = "NULL" if works_with is None else f"'works with releases from {works_with}'"
        await connection.execute(text(f"COMMENT ON TABLE alembic_version IS {result}"))


@pytest.mark.parametrize("works_with", [None, "9999"])
async def test_a_database_that_needs_a_later_release_is_refused(engine: AsyncEngine, works_with: str | None) -> None:
    await a_later_release_migrated(engine, works_with)
    assert "works with releases from 9999 on" in str(await migrate.incompatibility(engine))
    with pytest.raises(migrate.DatabaseAheadError, match="9999"):
        await migrate.upgrade(engine)


async def test_the_release_before_goes_on_and_starts_again_on_tables_that_a_later_one_expanded(
    engine: AsyncEngine,
) -> None:
    await a_later_release_migrated(engine, migrate.head())
    assert await migrate.incompatibility(engine) is None
    await migrate.upgrade(engine)
    assert await migrate.current(engine) == "9999"


async def test_tables_tell_the_oldest_release_that_they_work_with(engine: AsyncEngine) -> None:
    result = "SELECT obj_description('alembic_version'::regclass)"
    async with engine.connect() as connection:
        assert (await connection.execute(text(result))).scalar_one() == f"works with releases from {migrations.OLDEST}"
    assert "0001" <= migrations.OLDEST <= migrate.head()


def test_files_are_numbered_in_the_order_in_which_they_run() -> None:
    """So that a process knows the newest without Alembic."""
    scripts = run.scripts()
    assert [script.revision for script in scripts] == sorted((script.revision for script in scripts), reverse=True)
    assert [Path(script.path).name.partition("_")[0] for script in scripts] == [script.revision for script in scripts]
    assert scripts[0].revision == migrate.head()


def test_a_process_that_does_not_migrate_loads_no_alembic() -> None:
    programs = "platform_relay.cli.program, platform_relay.main, platform_relay.worker"
    loaded = f"import sys, {programs}; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0


CONTRACTS: Final = re.compile(
    r"drop_(column|table|constraint|index)|rename_table|new_column_name|nullable=False(?!.*server_default)|DROP |RENAME "
)


def test_migrations_only_expand() -> None:
    """What a release used is dropped by the next one at the earliest, which raises `migrations.OLDEST`: so a migration
    after that head neither drops nor renames anything, nor makes an old table's column required."""
    for script in run.scripts():
        if script.revision <= max(migrations.OLDEST, "0001"):
            continue
        code = Path(script.path).read_text().partition("def upgrade")[2]
        kept = re.sub(r"op\.create_table\(.*?\n    \)\n", "", code, flags=re.DOTALL)
        assert CONTRACTS.findall(kept) == [], script.path
