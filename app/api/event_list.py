"""The list of everything that was received. Apart from `events`, which is the hot path."""

from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from platform_relay.api.authentication import READ
from platform_relay.api.dependencies import ServicesDep
from platform_relay.api.documentation import KEY_PROBLEMS, problem_responses, success
from platform_relay.api.examples import EVENT, EVENT_CURSOR
from platform_relay.api.paging import PageDep
from platform_relay.core.database import read_connection
from platform_relay.core.errors import FieldError, QueryInvalid
from platform_relay.core.paging import Page
from platform_relay.core.reasons import ReasonCode
from platform_relay.explain.event_list import EventFilter, EventView, list_events
from platform_relay.jobs.views import MessageState

LONGEST: Final = 320
router: Final = APIRouter(prefix="/v1/events", tags=["Events"])


@router.get(
    "",
    operation_id="list_events",
    summary="List what was received, newest first",
    responses={
        200: success("One page of events and webhooks.", {"items": [EVENT], "next_cursor": EVENT_CURSOR}),
        **problem_responses(*KEY_PROBLEMS, QueryInvalid),
    },
    dependencies=[READ],
)
async def get_events(
    services: ServicesDep,
    page: PageDep,
    kind: Annotated[str | None, Query(description="Only this kind of event or topic, such as `orders`.")] = None,
    state: Annotated[MessageState | None, Query(description="Only events in this state.")] = None,
    reason_code: Annotated[
        ReasonCode | None, Query(description="Only events with this reason code, or with a job that has it.")
    ] = None,
    source: Annotated[
        str | None, Query(description="Only from this sender: `store`, `platform`, or the adapter of the store.")
    ] = None,
    since: Annotated[AwareDatetime | None, Query(description="Only events received at this time or later.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Only events received before this time.")] = None,
    about: Annotated[
        str | None,
        Query(
            description="Only events about this: the exact id of an order, a customer, a product, a message or a job, an"
            " e-mail address, or the code of a coupon."
        ),
    ] = None,
) -> Page[EventView]:
    """Events and webhooks, from all senders, each with its state and the last response. A page reads for a short time only:
    with filters it may have fewer items than `limit`, or none, while `next_cursor` is not null. Continue with `next_cursor`
    until it is null."""
    for name, value in (("kind", kind), ("source", source), ("about", about)):
        if value is not None and not 1 <= len(value.strip()) <= LONGEST:
            problem = f"must have 1 to {LONGEST} characters"
            raise QueryInvalid(f"`{name}` {problem}.", [FieldError(name, problem)])
    for name, moment in (("since", since), ("until", until)):
        if moment is not None and not possible(moment):
            problem = "must be a time after 1970"
            raise QueryInvalid(f"`{name}` {problem}.", [FieldError(name, problem)])
    filters = EventFilter(kind, state, reason_code, source, since, until, about)
    async with read_connection(services.engine) as connection:
        return await list_events(connection, filters, cursor=page.cursor, limit=page.limit)


def possible(moment: datetime) -> bool:
    """Whether ids can have been created at that time: they contain the milliseconds since 1970."""
    return moment.timestamp() >= 0
