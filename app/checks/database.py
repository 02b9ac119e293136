"""Whether the relay can work with its database: for `/readyz` and `relay check`."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core import migrate
from platform_relay.core.database_start import connection_problem
from platform_relay.core.reasons import Reason, ReasonCode, because

_LOCK_NO_ROW: Final = text("SELECT FROM destination WHERE false FOR UPDATE")
"""Fails like a write on a server that accepts no writes (SQLSTATE 25006), and writes nothing. The failure also makes the
pool replace its connections, so a process without other writes finds the new primary after a failover."""


async def database_problem(engine: AsyncEngine) -> Reason | None:
    """Why the relay cannot work with its database; None when it can: reachable, migrated, and accepting writes."""
    try:
        misfit = await migrate.incompatibility(engine)
        if misfit is not None:
            return because(ReasonCode.DATABASE_NOT_MIGRATED, misfit=misfit)
        async with engine.connect() as connection:
            await connection.execute(_LOCK_NO_ROW)
    except Exception as error:
        problem = await connection_problem(error, engine.url)
        if problem is None:
            raise
        return problem.reason
    return None
