"""Destinations: list them with their state, pause and resume them."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path

from platform_relay.api.authentication import READ, OperateAccess
from platform_relay.api.dependencies import Services, ServicesDep
from platform_relay.api.documentation import BODY_PROBLEMS, KEY_PROBLEMS, problem_responses, success
from platform_relay.api.jobs import OperatorAction
from platform_relay.api.paging import PageDep
from platform_relay.api.request_body import JsonBody
from platform_relay.core.database import map_database_errors, read_connection
from platform_relay.core.errors import NotFound, QueryInvalid
from platform_relay.core.paging import Page
from platform_relay.jobs.queries import find_destination, list_destinations
from platform_relay.jobs.views import DestinationView

Name = Annotated[str, Path(description="`platform`, `store`, or `store_loyalty` (the loyalty sync).")]
_PAUSED: Final = {
    "name": "platform",
    "state": "paused",
    "reason_code": "operator_paused",
    "text": "Calls to the Platform were paused by anna: maintenance.",
    "next_step": "Calls continue when an operator resumes them.",
    "facts": {"destination": "the Platform", "by": "anna", "comment": "maintenance"},
    "since": "2026-05-11T16:25:01Z",
    "retry_at": None,
    "waiting": 12,
}
_OPEN: Final = {**_PAUSED, "state": "open", "reason_code": None, "text": None, "next_step": None, "facts": None}

router: Final = APIRouter(prefix="/v1/destinations", tags=["Destinations"])


@router.get(
    "",
    operation_id="list_destinations",
    summary="List destinations",
    responses={
        200: success("One page of destinations, by name.", {"items": [_PAUSED], "next_cursor": None}),
        **problem_responses(*KEY_PROBLEMS, QueryInvalid),
    },
    dependencies=[READ],
)
async def get_destinations(services: ServicesDep, page: PageDep) -> Page[DestinationView]:
    """Each destination has its state: whether the relay calls it now and, if not, why and since when."""
    async with read_connection(services.engine) as connection:
        return await list_destinations(connection, cursor=page.cursor, limit=page.limit)


@router.post(
    "/{name}/pause",
    operation_id="pause_destination",
    summary="Pause a destination",
    responses={200: success("The destination is paused.", _PAUSED), **problem_responses(*BODY_PROBLEMS, NotFound)},
)
async def pause_destination(
    caller: OperateAccess,
    body: Annotated[OperatorAction, Depends(JsonBody(OperatorAction, {"why": "The store moves to another server."}))],
    services: ServicesDep,
    name: Name,
) -> DestinationView:
    """The relay makes no new calls to the destination until an operator resumes it. Events are still accepted; their jobs
    wait."""
    async with map_database_errors():
        await services.actions.pause(name, body.why, caller.name)
    return await _find(services, name)


@router.post(
    "/{name}/resume",
    operation_id="resume_destination",
    summary="Resume a destination",
    responses={200: success("The destination is open.", _OPEN), **problem_responses(*KEY_PROBLEMS, NotFound)},
)
async def resume_destination(caller: OperateAccess, services: ServicesDep, name: Name) -> DestinationView:
    """Ends a pause. A destination that is blocked or tripped is called again at once. A destination that
    is already open does not change."""
    async with map_database_errors():
        await services.actions.resume(name, caller.name)
    return await _find(services, name)


async def _find(services: Services, name: str) -> DestinationView:
    """Raises NotFound."""
    async with read_connection(services.engine) as connection:
        destination = await find_destination(connection, name)
    if destination is None:
        raise _not_found(name)
    return destination


def _not_found(name: str) -> NotFound:
    return NotFound(f"No destination has the name {name!r}. /v1/destinations lists the destinations.")
