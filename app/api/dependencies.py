"""What the endpoints need of the rest of the program; `platform_relay.wiring.Services` fulfils it."""

from collections.abc import Callable
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.telemetry import Metrics
from platform_relay.inbox.inbox import Inbox
from platform_relay.jobs.actions import Operator
from platform_relay.settings import Settings
from platform_relay.stores.base import StoreAdapter


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
        """The configured store; None while none is configured."""

    @property
    def worker_alive(self) -> Callable[[], bool] | None:
        """Whether the embedded worker's loop is alive; None when the worker is another process."""
