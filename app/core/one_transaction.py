"""An engine whose statements all belong to one open transaction, so that code that commits can be tried and rolled back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Never

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


class OneTransaction(AsyncEngine):
    """`core.database.single_statement` and `begin` yield `connection`, and do not end its transaction. Its pool cannot be
    used: what went through it would be committed."""

    __slots__ = ("connection",)

    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__(connection.engine.sync_engine)
        self.connection = connection

    def connect(self) -> Never:
        raise NotImplementedError("code that runs in OneTransaction must use single_statement or begin")

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        yield self.connection
