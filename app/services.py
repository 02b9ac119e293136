"""The parts of a process, which its web server, its worker and its commands work with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.compute import ComputeProcess
from platform_relay.core.metrics import Metrics
from platform_relay.core.reasons import Reason
from platform_relay.inbox.inbox import Inbox
from platform_relay.jobs.actions import OperatorActions
from platform_relay.queue.destination_guard import DestinationGuard
from platform_relay.settings import Settings
from platform_relay.stores.base import StoreAdapter


@dataclass(slots=True)
class Services:
    """The parts of one process; `platform_relay.wiring` makes them.

    `store` is None while no store is configured. `worker_alive` returns whether the worker's loops are alive; it is None
    where the worker is another process. `listen_url` is a direct address of the database. Each function in `on_work` is
    called with a destination that has received work in this process. `compute` processes large bodies of requests, and
    `worker_compute` those of jobs, so that no job waits for requests, and `import_compute` imported files.
    `waiting_for` is the reason why the process, after its
    start, cannot use the database yet; until then only health checks and metrics are answered.
    """

    settings: Settings
    engine: AsyncEngine
    guards: Mapping[str, DestinationGuard]
    inbox: Inbox
    actions: OperatorActions
    metrics: Metrics
    compute: ComputeProcess
    worker_compute: ComputeProcess
    import_compute: ComputeProcess
    listen_url: str
    on_work: list[Callable[[str], None]]
    store: StoreAdapter | None = None
    worker_alive: Callable[[], bool] | None = None
    waiting_for: Reason | None = None
