"""The parts of a process, which its web server, its worker and its commands work with."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.access.refused_requests import RefusedRequests
from platform_relay.core.compute import ComputeProcess
from platform_relay.core.metrics import Metrics
from platform_relay.core.reasons import Reason
from platform_relay.core.work import Work
from platform_relay.inbox.inbox import Inbox
from platform_relay.jobs.actions import OperatorActions
from platform_relay.jobs.failover import Failovers
from platform_relay.platform.client import PlatformClient
from platform_relay.queue.destination_guard import DestinationGuard
from platform_relay.settings import Settings
from platform_relay.stores.base import StoreAdapter
from platform_relay.trial.mode import OperatingMode


@dataclass(slots=True)
class Services:
    """The parts of one process; `platform_relay.wiring` makes them.

    `mode`: whether the relay is in its trial. `failovers`: whether commits of an old database server may be missing. `store` is
    None while no store is configured. `platform` opens a client of the Platform. `worker_alive` returns whether the worker's
    loops are alive; it is None where the worker is another process. `listen_url` is a direct address of the database. Each
    function in `on_work` is called with a destination that has received work in this process. `compute` processes large bodies
    of requests, and `worker_compute` those of jobs, so that no job waits for requests, and `import_compute` imported files.
    `refused_requests` is None with REFUSED_REQUESTS=false. `waiting_for` is the reason why the process, after its start, cannot
    use the database yet; until then only health checks and metrics are answered. `work` has the results of the process's commits.
    """

    settings: Settings
    mode: OperatingMode
    failovers: Failovers
    engine: AsyncEngine
    guards: Mapping[str, DestinationGuard]
    inbox: Inbox
    actions: OperatorActions
    metrics: Metrics
    compute: ComputeProcess
    worker_compute: ComputeProcess
    import_compute: ComputeProcess
    work: Work
    listen_url: str
    on_work: list[Callable[[str], None]]
    store: StoreAdapter | None = None
    refused_requests: RefusedRequests | None = None
    platform: Callable[[], AbstractAsyncContextManager[PlatformClient]] | None = None
    worker_alive: Callable[[], bool] | None = None
    waiting_for: Reason | None = None
