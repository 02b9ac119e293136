"""For load balancers and monitoring. Needs no key, and tells nothing that would be worth one.

`/healthz` says whether the process lives, `/readyz` whether it can do its work: 503 takes it out of the rotation. A
far side that is blocked does not (events are accepted all the same); it shows as `degraded`.
"""

import asyncio
from typing import Final, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.responses import JSONResponse, Response

from app import migrate
from app.api.documentation import answer, refusals
from app.api.services import Services
from app.errors import DatabaseAway, InternalError
from app.operations.books import list_channels, read_backlog, when_away
from app.operations.oldest import OldestWaiting
from app.telemetry import Look, QueueGauges

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
        {"name": "channel platform", "ok": False, "says": "blocked: HTTP 401: the far side refuses our key"},
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
        A far side that is not called at the moment makes it `degraded`, with 200."""
        needed = [await _database(services.engine), *_worker(services)]
        ready = all(check.ok for check in needed)
        channels = await _channels(services) if ready else []
        degraded = not all(check.ok for check in channels)
        view = ReadinessView(
            status="not ready" if not ready else "degraded" if degraded else "ready", checks=[*needed, *channels]
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


async def _channels(services: Services) -> list[CheckView]:
    try:
        async with when_away(), asyncio.timeout(SECONDS), services.engine.connect() as connection:
            channels = await list_channels(connection)
    except DatabaseAway:
        return [CheckView(name="channels", ok=False, says="could not be read")]
    return [
        CheckView(
            name=f"channel {channel.name}",
            ok=channel.state == "open",
            says="open" if channel.state == "open" else f"{channel.state}: {channel.text or 'no reason was stored'}",
        )
        for channel in channels
    ]
