"""Fresh databases on the embedded Postgres."""

from __future__ import annotations

import asyncio

import asyncpg

from platform_relay.core.database import parse_url


class Databases:
    """`url`: the server, as SQLAlchemy names it."""

    def __init__(self, url: str) -> None:
        self._url = parse_url(url)

    def fresh(self, name: str) -> str:
        """A new, empty database; its address as SQLAlchemy names it."""
        asyncio.run(self._create(name))
        return self._url.set(database=name).render_as_string(hide_password=False)

    async def _create(self, name: str) -> None:
        connection = await asyncpg.connect(plain(self._url.render_as_string(hide_password=False)))
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()


def plain(url: str) -> str:
    """An address as everybody else but SQLAlchemy names it."""
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)
