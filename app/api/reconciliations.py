"""Reconciliations compare the store with what was received and delivered: start, read and repair them."""

from datetime import timedelta
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from platform_relay.api.authentication import READ, OperateAccess
from platform_relay.api.dependencies import ServicesDep
from platform_relay.api.documentation import BODY_PROBLEMS, KEY_PROBLEMS, problem_responses, success
from platform_relay.api.examples import ID
from platform_relay.api.paging import PageDep
from platform_relay.api.request_body import JsonBody
from platform_relay.core.database import map_database_errors
from platform_relay.core.errors import NotFound, QueryInvalid, WrongState
from platform_relay.core.paging import Page
from platform_relay.core.plain_numbers import PLAIN
from platform_relay.inbox.events import Instant
from platform_relay.reconcile.differences import REPAIRS, Cause
from platform_relay.reconcile.repairs import Repairer, RepairResult
from platform_relay.reconcile.runs import DifferenceView, Reconciliations, ReconciliationView
from platform_relay.stores.native import ListsEntities


class ReconciliationRequest(BaseModel):
    """What to compare."""

    model_config = ConfigDict(extra="forbid")

    since: Instant | None = Field(
        None,
        description="Only what has changed in the store since this time; if left out, everything, including what only the"
        " Platform has.",
    )
    grace_seconds: Annotated[float, Field(ge=0, le=86_400), PLAIN] | None = Field(
        None,
        description="Changes of the last seconds are left out, because their delivery may still be in progress; 600 if not"
        " given. Use 0 after a backup was restored: then no delivery is in progress.",
    )


EXAMPLE: Final = {
    "id": ID,
    "actor": "operator",
    "state": "done",
    "since": "2026-05-10T00:00:00Z",
    "grace": None,
    "compared": {"customers": 812, "products": 40, "orders": 1204},
    "store_counts": {
        "customers": {"before": 812, "after": 812},
        "products": {"before": 40, "after": 40},
        "orders": {"before": 1204, "after": 1205},
    },
    "unreadable": {},
    "complete": True,
    "difference_counts": {"lost_by_webhook": 2, "rejected": 1},
    "notes": ["The store's webhook order.updated is switched off or missing. Run relay webhooks install."],
    "error": None,
    "started_at": "2026-05-11T03:00:04Z",
    "finished_at": "2026-05-11T03:00:19Z",
    "repaired_at": None,
}
WAITING: Final = EXAMPLE | {
    "state": "waiting",
    "compared": {},
    "store_counts": {},
    "complete": False,
    "difference_counts": {},
    "notes": [],
    "finished_at": None,
}
DIFFERENCES: Final = {
    "items": [
        {
            "kind": "orders",
            "entity_id": "1001",
            "cause": "lost_by_webhook",
            "detail": "It changed at 2026-05-11 16:20:00 UTC, and the store did not send it.",
            "version": "2026-05-11T16:20:00Z",
            "repair": None,
        }
    ],
    "next_cursor": None,
}
Id = Annotated[UUID, Path(description="The id of the reconciliation.")]

router: Final = APIRouter(prefix="/v1/reconciliations", tags=["Reconciliation"])


@router.post(
    "",
    operation_id="start_reconciliation",
    summary="Compare the store, the relay and the Platform",
    status_code=202,
    responses={
        202: success("A worker will compare them.", WAITING),
        **problem_responses(*BODY_PROBLEMS, WrongState),
    },
)
async def start_reconciliation(
    caller: OperateAccess,
    body: Annotated[ReconciliationRequest, Depends(JsonBody(ReconciliationRequest, {"since": "2026-05-10T00:00:00Z"}))],
    services: ServicesDep,
) -> ReconciliationView:
    """A worker reads the store's lists and compares each entity with what was received and delivered. This changes nothing.
    `GET /v1/reconciliations/{reconciliation_id}` returns the progress, and `…/differences` what was found. The relay does the
    same every night (`STORE__RECONCILE_AT`)."""
    store: object = services.store
    if not isinstance(store, ListsEntities):
        raise WrongState("The configured store has no lists to compare with; see docs/stores.md.")
    grace = None if body.grace_seconds is None else timedelta(seconds=body.grace_seconds)
    reconciliations = Reconciliations(services.engine)
    async with map_database_errors():
        return await _find(reconciliations, await reconciliations.request(caller.name, body.since, grace))


@router.get(
    "",
    operation_id="list_reconciliations",
    summary="List reconciliations, newest first",
    responses={
        200: success("One page of reconciliations.", {"items": [EXAMPLE], "next_cursor": None}),
        **problem_responses(*KEY_PROBLEMS, QueryInvalid),
    },
    dependencies=[READ],
)
async def list_reconciliations(services: ServicesDep, page: PageDep) -> Page[ReconciliationView]:
    """The reconciliations that an operator started and those of every night, each with its counts."""
    async with map_database_errors():
        return await Reconciliations(services.engine).list_newest(cursor=page.cursor, limit=page.limit)


@router.get(
    "/{reconciliation_id}",
    operation_id="read_reconciliation",
    summary="Read a reconciliation",
    responses={
        200: success("The reconciliation, with its counts.", EXAMPLE),
        **problem_responses(*KEY_PROBLEMS, NotFound, QueryInvalid),
    },
    dependencies=[READ],
)
async def read_reconciliation(services: ServicesDep, reconciliation_id: Id) -> ReconciliationView:
    """The progress, and how many differences of each cause were found. `notes` contain what could not be compared, and the
    webhooks that the store has disabled."""
    async with map_database_errors():
        return await _find(Reconciliations(services.engine), reconciliation_id)


@router.get(
    "/{reconciliation_id}/differences",
    operation_id="list_differences",
    summary="List the differences of a reconciliation",
    responses={
        200: success("One page of differences.", DIFFERENCES),
        **problem_responses(*KEY_PROBLEMS, NotFound, QueryInvalid),
    },
    dependencies=[READ],
)
async def list_differences(
    services: ServicesDep,
    reconciliation_id: Id,
    page: PageDep,
    cause: Annotated[Cause | None, Query(description="Only differences with this cause.")] = None,
) -> Page[DifferenceView]:
    """Each difference has a cause, and what was done about it. The causes are `never_sent` (older than the relay),
    `lost_by_webhook` (it changed, but the store did not report it), `rejected` (its job is dead), `stale` (the Platform has
    another version), and `extra` (the Platform has it, the store does not)."""
    reconciliations = Reconciliations(services.engine)
    async with map_database_errors():
        await _find(reconciliations, reconciliation_id)
        return await reconciliations.list_differences(reconciliation_id, cause, cursor=page.cursor, limit=page.limit)


@router.post(
    "/{reconciliation_id}/repair",
    operation_id="repair_differences",
    summary="Repair the differences of a reconciliation",
    responses={
        200: success(
            "The repairs that were started.",
            {"repaired": {"lost_by_webhook": 2}, "texts": {"lost_by_webhook": REPAIRS["lost_by_webhook"]}},
        ),
        **problem_responses(*KEY_PROBLEMS, NotFound, QueryInvalid),
    },
)
async def repair_differences(caller: OperateAccess, services: ServicesDep, reconciliation_id: Id) -> RepairResult:
    """Jobs fetch from the store what was never sent, lost or is stale, after all live events. Dead jobs are retried. What only
    the Platform has is noted. If you repeat the call, only open differences are repaired."""
    source = services.settings.store.adapter or ""
    repairer = Repairer(services.engine, services.inbox, services.actions, services.store, source)
    async with map_database_errors():
        repaired = await repairer.repair(reconciliation_id, caller.name)
    if repaired is None:
        raise _not_found(reconciliation_id)
    return repaired


async def _find(reconciliations: Reconciliations, reconciliation_id: UUID) -> ReconciliationView:
    """Raises NotFound."""
    reconciliation = await reconciliations.find(reconciliation_id)
    if reconciliation is None:
        raise _not_found(reconciliation_id)
    return reconciliation


def _not_found(reconciliation_id: UUID) -> NotFound:
    return NotFound(f"No reconciliation has the id {reconciliation_id}.")
