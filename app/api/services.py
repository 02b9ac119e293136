"""What the doors need of the rest of the program; `app.wiring.Services` fulfils it."""

from collections.abc import Callable
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from app.engine.operator import Operator
from app.inbox import Inbox
from app.settings import Settings
from app.stores.base import StoreAdapter
from app.telemetry import Metrics


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
    def store(self) -> StoreAdapter | None:
        """The configured shop; None while none is configured."""

    @property
    def worker_alive(self) -> Callable[[], bool] | None:
        """Whether the embedded worker's loop is alive; None when the worker is another process."""
