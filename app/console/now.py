"""*Now*: each destination, the last hour, what the store and its customers wait for; pausing and resuming."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

from fastapi import APIRouter
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.console.live import EVERY, Chart, Live, Picture, outlook
from platform_relay.console.pages import HOME, Pages, Refused, SignInFirst, Visitor
from platform_relay.core.errors import DatabaseAway
from platform_relay.jobs.queries import when_away


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    live = Live(pages.services)
    operator = pages.services.operator

    @router.get(HOME)
    async def now(request: Request) -> Response:
        visitor = await pages.visitor(request)
        picture = await live.picture(fresh=bool(visitor.session.said))
        return pages.show(request, "now", picture=picture, live=_parts(pages, picture, visitor))

    @router.get("/console/live")
    async def stream(request: Request) -> Response:
        """The parts of the page that changed, as they change."""
        visitor = await pages.visitor(request)
        # What is told does not depend on what the session had to say.
        looking = replace(visitor, session=replace(visitor.session, said=None))
        return EventSourceResponse(_changes(pages, live, request, looking))

    @router.post("/console/destinations/{name}/pause")
    async def pause(request: Request, name: str) -> Response:
        visitor, form = await pages.form(request)
        async with when_away():
            if not await operator.pause(name, form.why(), visitor.name):
                raise Refused(404, "There is no such destination", "The destinations are on the page Now.")
        return pages.back(request, visitor, HOME, f"Calls to {name} are paused; events are accepted and wait.")

    @router.post("/console/destinations/{name}/resume")
    async def resume(request: Request, name: str) -> Response:
        visitor, _ = await pages.form(request)
        async with when_away():
            resumed = await operator.resume(name, visitor.name)
        said = f"Calls to {name} go on." if resumed else f"{name} was open already."
        return pages.back(request, visitor, HOME, said)

    return router


async def _changes(pages: Pages, live: Live, request: Request, visitor: Visitor) -> AsyncIterator[bytes]:
    told: dict[str, str] = {}
    yield format_sse_event(retry=2000)
    while True:
        try:
            await pages.visitor(request)
            picture = await live.picture()
        except (SignInFirst, Refused):
            return
        except DatabaseAway:
            parts = {"away": pages.render("part_away", away=True)}
        else:
            parts = {"away": pages.render("part_away", away=False), **_parts(pages, picture, visitor)}
        for name, part in parts.items():
            if told.get(name) != part:
                told[name] = part
                yield format_sse_event(event=name, data_str=part)
        await asyncio.sleep(EVERY)


def _parts(pages: Pages, picture: Picture, visitor: Visitor) -> dict[str, str]:
    """What is renewed by itself, each under the name of its event. Buttons stand apart from numbers, so that what a
    person is about to press is not replaced under his hand."""
    parts = {
        "alerts": pages.render("part_alerts", alerts=picture.alerts),
        "shop": pages.render("part_shop", shop=picture.shop, outlook=outlook(picture)),
    }
    for destination, chart in zip(picture.destinations, picture.charts, strict=True):
        parts[f"state-{destination.name}"] = pages.render("part_state", destination=destination)
        parts[f"numbers-{destination.name}"] = pages.render("part_numbers", destination=destination)
        parts[f"actions-{destination.name}"] = pages.render("part_actions", destination=destination, visitor=visitor)
        parts[f"chart-{destination.name}"] = pages.render("part_chart", chart=chart, series=_series(chart))
    return parts


def _series(chart: Chart) -> str:
    return json.dumps({"since": chart.since, "delivered": list(chart.delivered), "failed": list(chart.failed)})
