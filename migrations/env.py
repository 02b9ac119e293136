"""Alembic's entry point. `platform_relay.core.migrate` hands over a connection, with its lock held and its limits set.

A new migration is drafted from the models, against a database at the latest one, with

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
    raise SystemExit("migrations are written for a connection; SQL scripts (--sql) are not supported")
given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
elif url := context.get_x_argument(as_dictionary=True).get("url"):
    asyncio.run(run_at(str(url)))
else:
    raise SystemExit(
        "to migrate: relay migrate; to draft a migration: alembic -x url=postgresql://... revision --autogenerate …"
    )
