"""Alembic's entry point. `platform_relay.core.migrate` passes a connection that holds the lock and has its time limits.

To draft a new migration from the models, with a database at the latest revision:

    .venv/bin/alembic -x url=postgresql://... revision --autogenerate --rev-id 0002 -m "what it does"
"""

import asyncio

from alembic import context
from sqlalchemy import Connection

from platform_relay.core.database import create_engine
from platform_relay.core.models import Base


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_at(url: str) -> None:
    engine = create_engine(url, application_name="relay revision", pool_size=1)
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


if context.is_offline_mode():
    raise SystemExit("the migrations need a database connection; SQL scripts (--sql) are not supported")
passed: Connection | None = context.config.attributes.get("connection")
if passed is not None:
    run(passed)
elif url := context.get_x_argument(as_dictionary=True).get("url"):
    asyncio.run(run_at(str(url)))
else:
    raise SystemExit(
        "to migrate, run relay migrate; to draft a migration, run alembic -x url=postgresql://... revision --autogenerate …"
    )
