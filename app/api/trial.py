"""The trial beside an existing connector: its report, and the switch to live operation."""

import asyncio
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from platform_relay.api.authentication import READ, OperateAccess
from platform_relay.api.dependencies import ServicesDep
from platform_relay.api.documentation import BODY_PROBLEMS, KEY_PROBLEMS, problem_responses, success
from platform_relay.api.examples import ID
from platform_relay.api.paging import PageDep
from platform_relay.api.request_body import JsonBody
from platform_relay.core.database import map_database_errors
from platform_relay.core.errors import QueryInvalid, WrongState
from platform_relay.core.paging import Cursor, Page
from platform_relay.core.plain_numbers import PLAIN
from platform_relay.inbox.events import Instant
from platform_relay.jobs.views import View
from platform_relay.trial import go_live
from platform_relay.trial.report import Reporter, TrialCounts, TrialJobView

COMPARE_SECONDS: Final = 20.0
"""After that, no further customer or coupon is read for a page; the rest is `not compared`."""
DAYS: Final = 30
MOST_DAYS: Final = 3650
_CURSOR: Final = Cursor("jobs of the trial", TypeAdapter(UUID))
_COUNTS: Final = {
    "started_at": "2026-05-04T09:00:00Z",
    "live_at": None,
    "since": "2026-05-04T16:20:00Z",
    "counts": [
        {"kind": "forward_customer", "call": "PUT /v1/customers/{id}", "cause": None, "jobs": 812},
        {"kind": "issue_coupon", "call": None, "cause": "no_value", "jobs": 3},
    ],
}
_JOB: Final = {
    "id": ID,
    "message_id": ID,
    "at": "2026-05-11T16:20:00Z",
    "kind": "forward_customer",
    "lane": "customer:42",
    "call": "PUT /v1/customers/{id}",
    "text": "Not sent, because the relay is in its trial. A live relay would have called PUT /v1/customers/{id}.",
    "cause": None,
    "comparison": {"result": "differs", "fields": ["lastName"], "detail": None},
}
_PREVIEW: Final = {"resent": {"forward_customer": 12, "forward_order": 4}, "redemptions": 3, "waiting": 0}

router: Final = APIRouter(prefix="/v1/trial", tags=["Trial"])


class GoLiveRequest(BaseModel):
    """The end of the trial."""

    model_config = ConfigDict(extra="forbid")

    other_connector_stopped: Literal[True] = Field(
        description="Confirm with `true` that the other connector is switched off and has finished its work."
    )
    since: Instant | None = Field(
        None,
        description="Also send the newest event of each customer, order and product that arrived since then. If left out,"
        " only what arrives after the switch is sent.",
    )


class GoLivePreview(View):
    """What the switch would do."""

    resent: dict[str, int] = Field(description="How many entities of the window are sent again, by the kind of job.")
    redemptions: int = Field(description="Redemptions of the trial. The relay never issues their coupons.")
    waiting: int = Field(description="Jobs that are not finished. They end as `skipped`.")


class WentLive(View):
    """The switch."""

    live_at: datetime
    resent: int = Field(description="How many events of the window were put into the queue by this request.")


@router.get(
    "",
    operation_id="read_trial",
    summary="Read the state of the trial, and count what would have been sent",
    responses={200: success("The state and the counts.", _COUNTS), **problem_responses(*KEY_PROBLEMS, QueryInvalid)},
    dependencies=[READ],
)
async def read_trial(
    services: ServicesDep,
    days: Annotated[int, Query(ge=1, le=MOST_DAYS, description="How many days the counts look back."), PLAIN] = DAYS,
) -> TrialCounts:
    """`started_at` null: this relay never was in a trial. `live_at` null while the trial runs. Each count is of jobs of one
    kind: with the call that a live relay would have made, or the reason code for which it would not have sent them."""
    async with map_database_errors():
        return await Reporter(services.engine, None, None).counts(timedelta(days=days))


@router.get(
    "/jobs",
    operation_id="list_trial_jobs",
    summary="List the jobs of the trial, newest first",
    responses={
        200: success("One page of jobs.", {"items": [_JOB], "next_cursor": None}),
        **problem_responses(*KEY_PROBLEMS, QueryInvalid),
    },
    dependencies=[READ],
)
async def list_trial_jobs(
    services: ServicesDep,
    page: PageDep,
    compare: Annotated[
        bool,
        Query(
            description="Read customers at the Platform and coupons in the store, and list only what can be compared."
        ),
    ] = False,
    days: Annotated[int, Query(ge=1, le=MOST_DAYS, description="How many days to look back."), PLAIN] = DAYS,
) -> Page[TrialJobView]:
    """What a live relay would have done with each, and with `compare=true` whether the Platform and the store have it
    (docs/trial.md). This changes nothing. What cannot be read within 20 seconds is `not compared`: ask for fewer
    items."""
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(services.platform()) if compare and services.platform else None
        reporter = Reporter(services.engine, platform, services.store if compare else None)
        deadline = asyncio.get_running_loop().time() + COMPARE_SECONDS
        async with map_database_errors():
            items, more = await reporter.jobs(
                timedelta(days=days),
                page.limit,
                before=_CURSOR.decode(page.cursor),
                comparable=compare,
                deadline=deadline,
            )
    return Page[TrialJobView](items=items, next_cursor=_CURSOR.encode(items[-1].id) if more else None)


@router.get(
    "/go-live",
    operation_id="preview_go_live",
    summary="Preview the switch to live operation",
    responses={
        200: success("What the switch would do.", _PREVIEW),
        **problem_responses(*KEY_PROBLEMS, WrongState, QueryInvalid),
    },
    dependencies=[READ],
)
async def preview_go_live(
    services: ServicesDep,
    since: Annotated[
        Instant | None, Query(description="The window, as in the request that switches. Without it, nothing is resent.")
    ] = None,
) -> GoLivePreview:
    """Changes nothing. 409: the relay is not in a trial, or the window is not possible."""
    async with map_database_errors():
        try:
            plan = await go_live.preview(services.engine, since)
        except go_live.NotPossibleError as error:
            raise _wrong_state(error) from None
    return GoLivePreview(resent=dict(plan.resent), redemptions=plan.redemptions, waiting=plan.waiting)


@router.post(
    "/go-live",
    operation_id="go_live",
    summary="End the trial and switch to live operation",
    responses={
        200: success("The relay is live.", {"live_at": "2026-05-11T16:30:00Z", "resent": 16}),
        **problem_responses(*BODY_PROBLEMS, WrongState),
    },
)
async def switch_to_live(
    caller: OperateAccess,
    body: Annotated[GoLiveRequest, Depends(JsonBody(GoLiveRequest, {"other_connector_stopped": True}))],
    services: ServicesDep,
) -> WentLive:
    """Events that arrive from now on are sent. **There is no way back.** Coupons of redemptions that arrived before are
    never created. First remove `MODE=shadow` from every process and restart them; until then the answer is 409. If you
    get no answer, send the same request again: it puts the rest of the window into the queue, or is answered with 409
    if nothing was left."""
    if services.settings.mode == "shadow":
        raise WrongState("MODE is still shadow. Remove it from every process and restart them; then send this again.")
    async with map_database_errors():
        resent = await go_live.resend(services.engine)
        if resent is None:
            try:
                live_at = await go_live.go_live(services.engine, body.since, caller.name)
            except go_live.NotPossibleError as error:
                raise _wrong_state(error) from None
            resent = await go_live.resend(services.engine)
        else:
            live_at = await go_live.switched_at(services.engine)
    return WentLive(live_at=live_at, resent=resent or 0)


def _wrong_state(error: go_live.NotPossibleError) -> WrongState:
    text = str(error)
    return WrongState(f"{text[:1].upper()}{text[1:]}.")
