"""For load balancers and monitoring. Needs no key, and tells nothing that would be worth one.

`/healthz` says whether the process lives, `/readyz` whether it can do its work: 503 takes it out of the rotation. A
destination that is blocked does not (events are accepted all the same); it shows as `degraded`.
"""

import asyncio
from typing import Final, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.responses import JSONResponse, Response

from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import answer, refusals
from platform_relay.core import migrate
from platform_relay.core.errors import DatabaseAway, InternalError
from platform_relay.core.telemetry import Look, QueueGauges
from platform_relay.jobs.queries import list_destinations, read_backlog, when_away
from platform_relay.queue.oldest_due import OldestWaiting

SECONDS: Final = 3.0
"""How long the database may take to answer a look at readiness."""


class CheckView(BaseModel):
    name: str
    ok: bool
    says: str


class ReadinessView(BaseModel):
    """`degraded`: works, and something needs a look."""

    status: Literal["ready", "degraded", "not ready"]
    checks: list[CheckView] = Field(description="Each in words.")


READY: Final = {
    "status": "degraded",
    "checks": [
        {"name": "database", "ok": True, "says": "reachable and migrated"},
        {"name": "worker", "ok": True, "says": "its loop is alive"},
        {"name": "destination platform", "ok": False, "says": "blocked: HTTP 401: the destination refuses our key"},
    ],
}


def routes(services: Services) -> APIRouter:
    router = APIRouter(tags=["Health"])

    oldest = OldestWaiting()

    async def backlog() -> Look:
        async with when_away(), asyncio.timeout(SECONDS), services.engine.connect() as connection:
            return await read_backlog(connection, oldest)

    gauges = QueueGauges(services.metrics.registry, backlog)

    @router.get(
        "/healthz",
        operation_id="health",
        summary="Is the process alive?",
        response_class=Response,
        responses={200: answer("It is.", {"status": "ok"}), **refusals(InternalError)},
    )
    async def health() -> Response:
        """Asks nobody else, so it stays 200 while the database is away."""
        return Response('{"status":"ok"}', media_type="application/json")

    @router.get(
        "/readyz",
        operation_id="readiness",
        summary="Can it do its work?",
        response_model=ReadinessView,
        responses={
            200: answer("Ready, or `degraded`.", READY),
            503: answer(
                "Not ready.",
                {"status": "not ready", "checks": [{"name": "database", "ok": False, "says": "not reachable"}]},
            ),
            **refusals(InternalError),
        },
    )
    async def readiness() -> Response:
        """503 when the database cannot be reached or is not migrated, or when the worker in this process has stopped.
        A destination that is not called at the moment makes it `degraded`, with 200."""
        needed = [await _database(services.engine), *_worker(services)]
        ready = all(check.ok for check in needed)
        destinations = await _destinations(services) if ready else []
        degraded = not all(check.ok for check in destinations)
        view = ReadinessView(
            status="not ready" if not ready else "degraded" if degraded else "ready", checks=[*needed, *destinations]
        )
        return JSONResponse(view.model_dump(), 200 if ready else 503)

    @router.get(
        "/metrics",
        operation_id="metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={
            200: answer("Text format 0.0.4.", "relay_database_up 1.0\n", "text/plain"),
            **refusals(InternalError),
        },
    )
    async def metrics() -> Response:
        """Counters are this process's own; the queue's gauges are the same from every process, and at most five
        seconds old."""
        return Response(await gauges.exposition(), media_type="text/plain; version=0.0.4")

    return router


async def _database(engine: AsyncEngine) -> CheckView:
    try:
        async with when_away(), asyncio.timeout(SECONDS):
            misfit = await migrate.misfit(engine)
    except DatabaseAway:
        return CheckView(name="database", ok=False, says="not reachable")
    return CheckView(name="database", ok=misfit is None, says=misfit or "reachable and migrated")


def _worker(services: Services) -> list[CheckView]:
    if services.worker_alive is None:
        return []
    alive = services.worker_alive()
    says = "its loop is alive" if alive else "its loop has stopped; restart the process"
    return [CheckView(name="worker", ok=alive, says=says)]


async def _destinations(services: Services) -> list[CheckView]:
    try:
        async with when_away(), asyncio.timeout(SECONDS), services.engine.connect() as connection:
            destinations = await list_destinations(connection)
    except DatabaseAway:
        return [CheckView(name="destinations", ok=False, says="could not be read")]
    return [
        CheckView(
            name=f"destination {destination.name}",
            ok=destination.state == "open",
            says="open"
            if destination.state == "open"
            else f"{destination.state}: {destination.text or 'no reason was stored'}",
        )
        for destination in destinations
    ]
