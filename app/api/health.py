"""Health checks and metrics, for load balancers and monitoring. They need no API key, and expose no secrets.

`/healthz` reports that the process is alive, `/readyz` that it can work: with 503, a load balancer stops sending requests. A
blocked destination does not cause a 503, because events are still accepted; the status is then `degraded`.
"""

import asyncio
from typing import Final, Literal, cast

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from platform_relay.api.dependencies import Services, ServicesDep
from platform_relay.api.documentation import problem_responses, success
from platform_relay.checks.database import database_problem
from platform_relay.checks.work_watch import failing_reason, stale_reason
from platform_relay.core.database import map_database_errors
from platform_relay.core.errors import DatabaseAway, InternalError
from platform_relay.core.metrics import QueueGauges, QueueSnapshot
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.messages import STORE, STORE_LOYALTY
from platform_relay.jobs.queries import list_destinations, read_backlog
from platform_relay.queue.oldest_waiting import OldestWaiting
from platform_relay.stores.loyalty_sync import SyncsLoyalty
from platform_relay.stores.native import ListsEntities, ReceivesWebhooks
from platform_relay.sync.background_reads import POLL, failing_reads

SECONDS: Final = 3.0
"""The time limit for the database queries of a health check."""


class CheckView(BaseModel):
    name: str
    ok: bool
    text: str
    code: str | None = Field(None, description="The reason code of a failed check of the database or of its use.")
    next_step: str | None = Field(None, description="What to do about such a check.")


class ReadinessView(BaseModel):
    """`degraded`: the process works, but a destination, or the polls of the store, need attention."""

    status: Literal["ready", "degraded", "not ready"]
    checks: list[CheckView] = Field(description="The single checks.")


_DEGRADED: Final = {
    "status": "degraded",
    "checks": [
        {"name": "database", "ok": True, "text": "reachable, migrated, and accepts writes"},
        {"name": "worker", "ok": True, "text": "its loop is alive"},
        {
            "name": "destination platform",
            "ok": False,
            "text": "paused: Calls to the Platform were paused by anna.",
        },
    ],
}
_READ_ONLY: Final = because(ReasonCode.DATABASE_READ_ONLY)
_NOT_READY: Final = {
    "status": "not ready",
    "checks": [
        {
            "name": "database",
            "ok": False,
            "text": _READ_ONLY.text,
            "code": _READ_ONLY.code.value,
            "next_step": _READ_ONLY.next_step,
        }
    ],
}
router: Final = APIRouter(tags=["Health"])


def queue_gauges(services: Services) -> QueueGauges:
    """The gauges of /metrics that are read from the database."""
    oldest = OldestWaiting()

    async def backlog() -> QueueSnapshot:
        if services.waiting_for is not None:  # the database may have no tables yet
            raise DatabaseAway
        async with map_database_errors(), asyncio.timeout(SECONDS), services.engine.connect() as connection:
            snapshot = await read_backlog(connection, oldest)
            failing = {read.name: read.failing_for.total_seconds() for read in await failing_reads(connection)}
            return snapshot._replace(failing_reads=failing, trial=(await services.mode.read()).runs)

    return QueueGauges(services.metrics.registry, backlog)


@router.get(
    "/healthz",
    operation_id="health",
    summary="Check that the process is alive",
    response_class=Response,
    responses={200: success("The process is alive.", {"status": "ok"}), **problem_responses(InternalError)},
)
async def health() -> Response:
    """This calls no other system, so it stays 200 while the database is unavailable."""
    return Response('{"status":"ok"}', media_type="application/json")


@router.get(
    "/readyz",
    operation_id="readiness",
    summary="Check that the process can work",
    response_model=ReadinessView,
    responses={
        200: success("`ready` or `degraded`.", _DEGRADED),
        503: success("`not ready`.", _NOT_READY),
        **problem_responses(InternalError),
    },
)
async def readiness(services: ServicesDep) -> Response:
    """The status is 503 when the database is not reachable, not migrated or accepts no writes, while the process waits for
    the database after its start, and when the worker in this process has stopped. It is also 503 while this process cannot
    commit its work: accept events, claim jobs, or store their results. The check then names the statement that fails and
    its SQLSTATE. The status is 200 and `degraded` when a destination is paused, blocked or tripped, when no worker claims jobs
    that are due, or when the polls of a store without webhooks have failed for longer than STORE__POLL_DEGRADED_AFTER. While
    the trial (MODE=shadow) runs, the check `mode` shows it."""
    required = [await _database(services), *_worker(services), *_work(services)]
    ready = all(check.ok for check in required)
    others = (
        [*await _mode(services), *await _destinations(services), *await _polls(services), *_workers(services)]
        if ready
        else []
    )
    degraded = not all(check.ok for check in others)
    view = ReadinessView(
        status="not ready" if not ready else "degraded" if degraded else "ready", checks=[*required, *others]
    )
    return JSONResponse(view.model_dump(exclude_none=True), 200 if ready else 503)


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Read metrics in the Prometheus format",
    response_class=Response,
    responses={
        200: success("Text format 0.0.4.", "relay_database_up 1.0\n", "text/plain"),
        **problem_responses(InternalError),
    },
)
async def metrics(request: Request) -> Response:
    """The counters are those of this process. The gauges of the queue are the same in every process, and at most five seconds
    old."""
    gauges: QueueGauges = request.app.state.gauges
    return Response(await gauges.exposition(), media_type="text/plain; version=0.0.4")


async def _database(services: Services) -> CheckView:
    reason = services.waiting_for
    if reason is None:
        try:
            async with asyncio.timeout(SECONDS):
                reason = await database_problem(services.engine)
        except TimeoutError:
            reason = because(ReasonCode.DATABASE_UNREACHABLE)
    if reason is None:
        return CheckView(name="database", ok=True, text="reachable, migrated, and accepts writes")
    public = reason.without("error")  # the database's own words name its users
    return CheckView(name="database", ok=False, text=public.text, code=public.code.value, next_step=public.next_step)


def _worker(services: Services) -> list[CheckView]:
    if services.worker_alive is None:
        return []
    alive = services.worker_alive()
    text = "its loop is alive" if alive else "its loop has stopped; restart the process"
    return [CheckView(name="worker", ok=alive, text=text)]


def _work(services: Services) -> list[CheckView]:
    """What this process cannot commit. A process without work is not failing."""
    return [
        CheckView(
            name=f"{failing.operation} {failing.destination}".strip(),
            ok=False,
            text=(reason := failing_reason(failing)).text,
            code=reason.code.value,
            next_step=reason.next_step,
        )
        for failing in services.work.failing()
    ]


def _workers(services: Services) -> list[CheckView]:
    """What no worker of any process does. Events are still accepted."""
    return [
        CheckView(
            name=f"workers {stale.destination}",
            ok=False,
            text=(reason := stale_reason(stale)).text,
            code=reason.code.value,
            next_step=reason.next_step,
        )
        for stale in services.work.stale
    ]


async def _mode(services: Services) -> list[CheckView]:
    """The trial, while it runs. It is no failure."""
    try:
        async with map_database_errors(), asyncio.timeout(SECONDS):
            trial = await services.mode.read()
    except (DatabaseAway, TimeoutError):
        return [CheckView(name="mode", ok=False, text="the mode could not be read, so nothing is changed")]
    text = "trial (MODE=shadow): nothing is changed at the Platform and the store"
    return [CheckView(name="mode", ok=True, text=text)] if trial.runs else []


async def _destinations(services: Services) -> list[CheckView]:
    """Each destination that this relay is set up to call, and any other that is not open."""
    store = cast("object", services.store)
    unused = {name for name, used in ((STORE, store), (STORE_LOYALTY, isinstance(store, SyncsLoyalty))) if not used}
    try:
        async with map_database_errors(), asyncio.timeout(SECONDS), services.engine.connect() as connection:
            destinations = (await list_destinations(connection, limit=1000)).items
    except DatabaseAway:
        return [CheckView(name="destinations", ok=False, text="the states of the destinations could not be read")]
    return [
        CheckView(
            name=f"destination {destination.name}",
            ok=destination.state == "open",
            text="open"
            if destination.state == "open"
            else f"{destination.state}: {destination.text or 'no reason was stored'}",
        )
        for destination in destinations
        if destination.name not in unused or destination.state != "open"
    ]


async def _polls(services: Services) -> list[CheckView]:
    """The polls, if nothing else brings the store's changes to the relay."""
    settings, store = services.settings.store, cast("object", services.store)
    if settings.poll_interval is None or not isinstance(store, ListsEntities) or isinstance(store, ReceivesWebhooks):
        return []
    try:
        async with map_database_errors(), asyncio.timeout(SECONDS), services.engine.connect() as connection:
            failing = await failing_reads(connection)
    except DatabaseAway:
        return [CheckView(name="polls", ok=False, text="the states of the polls could not be read")]
    late = [
        f"{read.name.removeprefix(POLL)} ({read.reason.text if read.reason else 'no reason was stored'})"
        for read in failing
        if read.name.startswith(POLL) and read.failing_for >= settings.poll_degraded_after
    ]
    if not late:
        return [CheckView(name="polls", ok=True, text="the store's lists are read")]
    return [CheckView(name="polls", ok=False, text=f"the store's lists cannot be read: {'; '.join(late)}")]
