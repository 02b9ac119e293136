"""The destinations: whether they are called now, and stopping and resuming that."""

from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request

from platform_relay.api.authentication import Keys
from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import answer, body_of, needs_key, refusals
from platform_relay.api.events import KEY_REFUSALS
from platform_relay.api.operator import BODY_REFUSALS, Why
from platform_relay.api.request_body import read_model
from platform_relay.core.errors import NotFound
from platform_relay.jobs.queries import list_destinations, reading, when_away
from platform_relay.jobs.views import DestinationView

ChannelName = Annotated[str, Path(description="`platform` or `store`.")]
CHANNEL: Final = {
    "name": "platform",
    "state": "paused",
    "reason_code": "operator_paused",
    "text": "An operator, anna, paused calls to the platform: maintenance.",
    "next_step": "Calls continue when an operator resumes them.",
    "facts": {"destination": "the platform", "by": "anna", "comment": "maintenance"},
    "since": "2026-05-11T16:25:01Z",
    "retry_at": None,
    "waiting": 12,
}

OPEN: Final = {**CHANNEL, "state": "open", "reason_code": None, "text": None, "next_step": None, "facts": None}


def routes(services: Services, keys: Keys) -> APIRouter:
    router = APIRouter(prefix="/v1/destinations", tags=["Destinations"])
    engine, operator, limit = services.engine, services.operator, services.settings.body_limit

    @router.get(
        "",
        operation_id="list_destinations",
        summary="List the destinations",
        responses={200: answer("All destinations.", [CHANNEL]), **refusals(*KEY_REFUSALS)},
        openapi_extra=needs_key("read"),
    )
    async def destinations(request: Request) -> list[DestinationView]:
        """Whether each destination is called now, and if not, why and since when."""
        await keys.require(request, "read")
        async with reading(engine) as connection:
            return await list_destinations(connection)

    @router.post(
        "/{name}/pause",
        operation_id="pause_destination",
        summary="Stop calling a destination",
        responses={200: answer("All destinations.", [CHANNEL]), **refusals(*BODY_REFUSALS, NotFound)},
        openapi_extra=needs_key("operate") | body_of(Why, {"why": "The store is moved to another server."}),
    )
    async def pause(request: Request, name: ChannelName) -> list[DestinationView]:
        """No new call is made there until the destination is resumed; events are accepted all the same, and wait."""
        caller = await keys.require(request, "operate")
        why = (await read_model(request, Why, limit)).why
        async with when_away():
            if not await operator.pause(name, why, caller.name):
                raise NotFound("There is no such destination; the destinations are listed at /v1/destinations.")
        async with reading(engine) as connection:
            return await list_destinations(connection)

    @router.post(
        "/{name}/resume",
        operation_id="resume_destination",
        summary="Call a destination again",
        responses={
            200: answer("All destinations.", [OPEN]),
            **refusals(*KEY_REFUSALS, NotFound),
        },
        openapi_extra=needs_key("operate"),
    )
    async def resume(request: Request, name: ChannelName) -> list[DestinationView]:
        """Ends a pause, and tries a blocked or tripped destination at once. An open destination stays as it is."""
        caller = await keys.require(request, "operate")
        async with when_away():
            resumed = await operator.resume(name, caller.name)
        async with reading(engine) as connection:
            found = await list_destinations(connection)
        if not resumed and name not in {destination.name for destination in found}:
            raise NotFound("There is no such destination; the destinations are listed at /v1/destinations.")
        return found

    return router
