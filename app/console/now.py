"""*Now*: the state of each destination, the last hour, what the store and its customers wait for, *Pause* and *Resume*."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Final

from fastapi import APIRouter
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.api.root_path import root_path_of
from platform_relay.console.formatting import destination
from platform_relay.console.live import EVERY, Chart, Live, Snapshot, summarize
from platform_relay.console.pages import HOME, PageError, Pages, SignInRequiredError, Visitor, build_url
from platform_relay.core.database import map_database_errors
from platform_relay.core.errors import DatabaseAway
from platform_relay.core.plain_numbers import integer, is_count
from platform_relay.reconcile.runs import Reconciliations

PAGE_IS_CURRENT: Final = 10
"""Seconds after which the parts that a page was loaded with are no longer taken as what it shows."""


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    live = Live(pages.services)
    actions = pages.services.actions

    @router.get(HOME)
    async def now(request: Request) -> Response:
        visitor = await pages.visitor(request)
        snapshot = await live.snapshot(fresh=bool(visitor.session.notice))
        parts = _parts(pages, snapshot, visitor, root_path_of(request))
        stream = build_url("/console/live", at=int(time.time()), shown=_digests(parts))
        async with map_database_errors():
            newest = (await Reconciliations(pages.services.engine).list_newest(limit=5)).items
        finished = next((one for one in newest if one.finished_at is not None), None)
        return pages.show(request, "now", snapshot=snapshot, live=parts, stream=stream, reconciliation=finished)

    @router.get("/console/live")
    async def stream(request: Request) -> Response:
        """Server-sent events with the parts of the page that have changed."""
        visitor = await pages.visitor(request)
        return EventSourceResponse(_changes(pages, live, request, visitor))

    @router.post("/console/destinations/{name}/pause")
    async def pause(request: Request, name: str) -> Response:
        visitor, form = await pages.form(request)
        async with map_database_errors():
            if not await actions.pause(name, form.why(), visitor.name):
                raise PageError(404, "No destination has this name", "See the page Now for the destinations.")
        return pages.back(
            request, visitor, HOME, f"Calls to {destination(name)} are paused. Events are still accepted and wait."
        )

    @router.post("/console/destinations/{name}/resume")
    async def resume(request: Request, name: str) -> Response:
        visitor, _ = await pages.form(request)
        async with map_database_errors():
            resumed = await actions.resume(name, visitor.name)
        notice = f"Calls to {destination(name)} are " + ("resumed." if resumed else "not paused.")
        return pages.back(request, visitor, HOME, notice)

    return router


async def _changes(pages: Pages, live: Live, request: Request, visitor: Visitor) -> AsyncIterator[bytes]:
    query, root = request.query_params, root_path_of(request)
    at = query.get("at", "")[:12]
    loaded = integer(at) if is_count(at) else 0
    current = "last-event-id" not in request.headers and time.time() - loaded < PAGE_IS_CURRENT
    shown = query.get("shown", "") if current else ""
    sent = dict(pair.split(":", 1) for pair in shown.split(",") if ":" in pair)
    yield format_sse_event(retry=2000)
    while True:
        try:
            await pages.visitor(request)
            snapshot = await live.snapshot()
        except (SignInRequiredError, PageError):
            return
        except DatabaseAway:
            parts = {"database": pages.render("part_database", root, reachable=False)}
        else:
            parts = {
                "database": pages.render("part_database", root, reachable=True),
                **_parts(pages, snapshot, visitor, root),
            }
        for name, part in parts.items():
            if sent.get(name) != (part_digest := digest(part)):
                sent[name] = part_digest
                yield format_sse_event(event=name, data_str=part, id=part_digest)
        await asyncio.sleep(EVERY)


def _parts(pages: Pages, snapshot: Snapshot, visitor: Visitor, root: str) -> dict[str, str]:
    """The parts that are updated automatically, by the names of their events. Buttons are separate from numbers, so that an
    update of the numbers does not replace a button while it is being pressed."""
    parts = {
        "alerts": pages.render("part_alerts", root, alerts=snapshot.alerts),
        "summary": pages.render("part_summary", root, impact=snapshot.impact, summary=summarize(snapshot)),
    }
    for channel, chart in zip(snapshot.destinations, snapshot.charts, strict=True):
        parts[f"state-{channel.name}"] = pages.render("part_state", root, destination=channel)
        parts[f"numbers-{channel.name}"] = pages.render("part_numbers", root, destination=channel)
        parts[f"actions-{channel.name}"] = pages.render("part_actions", root, destination=channel, visitor=visitor)
        parts[f"chart-{channel.name}"] = pages.render("part_chart", root, chart=chart, series=_series(chart))
    return parts


def _digests(parts: Mapping[str, str]) -> str:
    """What a page shows, for its stream: an update replaces only parts that have changed since, and closes no opened form."""
    return ",".join(f"{name}:{digest(part)}" for name, part in parts.items())


def digest(part: str) -> str:
    """Identifies the content of a part of a page."""
    return hashlib.blake2s(part.encode(), digest_size=8).hexdigest()


def _series(chart: Chart) -> str:
    return json.dumps({"since": chart.since, "delivered": list(chart.delivered), "failed": list(chart.failed)})
