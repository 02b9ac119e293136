"""The far sides: whether they are called now, and stopping and resuming that."""

from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request

from app.api.authentication import Keys
from app.api.body import read_model
from app.api.documentation import answer, body_of, needs_key, refusals
from app.api.events import KEY_REFUSALS
from app.api.operator import BODY_REFUSALS, Why
from app.api.services import Services
from app.errors import NotFound
from app.operations.books import list_channels, reading, when_away
from app.operations.views import ChannelView

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
    router = APIRouter(prefix="/v1/channels", tags=["Channels"])
    engine, operator, limit = services.engine, services.operator, services.settings.body_limit

    @router.get(
        "",
        operation_id="list_channels",
        summary="List the far sides",
        responses={200: answer("All channels.", [CHANNEL]), **refusals(*KEY_REFUSALS)},
        openapi_extra=needs_key("read"),
    )
    async def channels(request: Request) -> list[ChannelView]:
        """Whether each far side is called now, and if not, why and since when."""
        await keys.require(request, "read")
        async with reading(engine) as connection:
            return await list_channels(connection)

    @router.post(
        "/{name}/pause",
        operation_id="pause_channel",
        summary="Stop calling a far side",
        responses={200: answer("All channels.", [CHANNEL]), **refusals(*BODY_REFUSALS, NotFound)},
        openapi_extra=needs_key("operate") | body_of(Why, {"why": "The shop is moved to another server."}),
    )
    async def pause(request: Request, name: ChannelName) -> list[ChannelView]:
        """No new call is made there until the channel is resumed; events are accepted all the same, and wait."""
        caller = await keys.require(request, "operate")
        why = (await read_model(request, Why, limit)).why
        async with when_away():
            if not await operator.pause(name, why, caller.name):
                raise NotFound("There is no such channel; the channels are listed at /v1/channels.")
        async with reading(engine) as connection:
            return await list_channels(connection)

    @router.post(
        "/{name}/resume",
        operation_id="resume_channel",
        summary="Call a far side again",
        responses={
            200: answer("All channels.", [OPEN]),
            **refusals(*KEY_REFUSALS, NotFound),
        },
        openapi_extra=needs_key("operate"),
    )
    async def resume(request: Request, name: ChannelName) -> list[ChannelView]:
        """Ends a pause, and tries a blocked or tripped channel at once. An open channel stays as it is."""
        caller = await keys.require(request, "operate")
        async with when_away():
            resumed = await operator.resume(name, caller.name)
        async with reading(engine) as connection:
            found = await list_channels(connection)
        if not resumed and name not in {channel.name for channel in found}:
            raise NotFound("There is no such channel; the channels are listed at /v1/channels.")
        return found

    return router
