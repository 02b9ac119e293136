"""What the doors need of the rest of the program; `app.wiring.Services` fulfils it."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from app.inbox import Inbox
from app.settings import Settings
from app.telemetry import Metrics


class Operator(Protocol):
    """`app.engine.operator.Operator`: what people may do to the queue. Every number returned is of jobs changed."""

    async def retry(self, ids: Sequence[UUID]) -> int: ...

    async def retry_matching(
        self, kind: str | None = None, reason: str | None = None, before: datetime | None = None
    ) -> int: ...

    async def count_matching(
        self, kind: str | None = None, reason: str | None = None, before: datetime | None = None
    ) -> int: ...

    async def drop(self, ids: Sequence[UUID], by: str, why: str) -> int: ...

    async def wake(self, keys: Sequence[str]) -> int: ...

    async def pause(self, channel: str, why: str, by: str) -> object: ...

    async def resume(self, channel: str, by: str) -> object: ...


class Services(Protocol):
    @property
    def settings(self) -> Settings: ...

    @property
    def engine(self) -> AsyncEngine: ...

    @property
    def inbox(self) -> Inbox: ...

    @property
    def operator(self) -> Operator: ...

    @property
    def metrics(self) -> Metrics: ...

    @property
    def worker_alive(self) -> Callable[[], bool] | None:
        """Whether the embedded worker's loop is alive; None when the worker is another process."""
