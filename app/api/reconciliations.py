"""Reconciliations compare the store with what was received and delivered: start, read, cancel and repair them."""

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from platform_relay.api.authentication import READ, OperateAccess
from platform_relay.api.dependencies import Services, ServicesDep
from platform_relay.api.documentation import BODY_PROBLEMS, KEY_PROBLEMS, problem_responses, success
from platform_relay.api.examples import ID
from platform_relay.api.paging import PageDep
from platform_relay.api.request_body import JsonBody
from platform_relay.core.database import map_database_errors
from platform_relay.core.errors import FieldError, NotFound, QueryInvalid, WrongState
from platform_relay.core.paging import Page
from platform_relay.core.plain_numbers import PLAIN
from platform_relay.inbox.events import EventKind, Instant
from platform_relay.platform.fields import Fields
from platform_relay.reconcile.difference_list import (
    DifferenceGroup,
    DifferenceView,
    Selection,
    group_differences,
    list_differences,
)
from platform_relay.reconcile.differences import REPAIRS, Cause
from platform_relay.reconcile.repair_plan import ADVICE, TEXTS, RepairPreview
from platform_relay.reconcile.repairs import Repairer, RepairResult
from platform_relay.reconcile.runs import Reconciliations, ReconciliationView
from platform_relay.reconcile.values import DifferenceValues, ValueReader
from platform_relay.stores.native import ListsEntities


class ReconciliationRequest(BaseModel):
    """What to compare."""

    model_config = ConfigDict(extra="forbid")

    kind: EventKind | None = Field(
        None, description="Only this kind. It is never complete, and resolves no alert; if left out, all kinds."
    )
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
    "kind": None,
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
DIFFERENCES: Final[dict[str, object]] = {
    "items": [
        {
            "kind": "orders",
            "entity_id": "1001",
            "cause": "lost_by_webhook",
            "detail": "It changed at 2026-05-11 16:20:00 UTC, and the store did not send it.",
            "version": "2026-05-11T16:20:00Z",
            "fields": [],
            "repair": None,
            "outcome": "open",
            "job_id": None,
        }
    ],
    "next_cursor": None,
}
GROUPS: Final = {
    "groups": [
        {"cause": "lost_by_webhook", "kind": "orders", "differences": 2, "outcomes": {"open": 1, "delivered": 1}}
    ]
}
PREVIEW: Final = {
    "differences": 1,
    "repairable": 1,
    "calls": [
        {"call": "GET order from the store", "count": 1},
        {"call": "POST or PATCH order to the Platform", "count": 1},
    ],
    "steps": [
        {
            "cause": "lost_by_webhook",
            "kind": "orders",
            "differences": 1,
            "action": "read_and_send",
            "calls": ["GET order from the store", "POST or PATCH order to the Platform"],
            "text": TEXTS["read_and_send"],
        }
    ],
    "refusal": None,
    "advice": ADVICE,
}
VALUES: Final = {
    "kind": "customers",
    "entity_id": "42",
    "store": {"status": "read", "text": "Read from the store now."},
    "sent": {"status": "read", "text": "The newest event that was received, from woocommerce."},
    "platform": {"status": "read", "text": "Read from the Platform now."},
    "fields": [
        {
            "field": "email",
            "store": "ada@example.com",
            "sent": "ada@example.com",
            "platform": "old@example.com",
            "differs": True,
        }
    ],
}
Id = Annotated[UUID, Path(description="The id of the reconciliation.")]

LONGEST: Final = 1000
_EntityId = Query(max_length=LONGEST, description="The store's id of the entity.")


def selection(
    cause: Annotated[Cause | None, Query(description="Only differences with this cause.")] = None,
    kind: Annotated[EventKind | None, Query(description="Only differences of this kind.")] = None,
    entity_id: Annotated[str | None, _EntityId] = None,
) -> Selection:
    """The differences that a query selects. Raises QueryInvalid."""
    return Selection(cause, kind, None if entity_id is None else _storable(entity_id))


SelectionDep = Annotated[Selection, Depends(selection)]


class DifferenceGroups(BaseModel):
    groups: list[DifferenceGroup] = Field(description="By cause and kind; at most one of each.")


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
        return await _find(reconciliations, await reconciliations.request(caller.name, body.since, grace, body.kind))


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


@router.post(
    "/{reconciliation_id}/cancel",
    operation_id="cancel_reconciliation",
    summary="Cancel a reconciliation",
    responses={
        200: success("The reconciliation is cancelled.", WAITING | {"state": "cancelled"}),
        **problem_responses(*KEY_PROBLEMS, NotFound, QueryInvalid, WrongState),
    },
)
async def cancel_reconciliation(
    caller: OperateAccess, services: ServicesDep, reconciliation_id: Id
) -> ReconciliationView:
    """One that waits does not start, and one that runs ends at the next page that it reads. The differences that it
    found until then are kept and can be repaired."""
    reconciliations = Reconciliations(services.engine)
    async with map_database_errors():
        cancelled = await reconciliations.cancel(reconciliation_id, caller.name)
        reconciliation = await _find(reconciliations, reconciliation_id)
    if not cancelled:
        raise WrongState(f"The reconciliation is {reconciliation.state}; only one that waits or runs can be cancelled.")
    return reconciliation


@router.get(
    "/{reconciliation_id}/groups",
    operation_id="group_differences",
    summary="Count the differences of a reconciliation by cause and kind",
    responses={
        200: success("The counts.", GROUPS),
        **problem_responses(*KEY_PROBLEMS, NotFound, QueryInvalid),
    },
    dependencies=[READ],
)
async def get_groups(services: ServicesDep, reconciliation_id: Id) -> DifferenceGroups:
    """How many differences there are of each cause and kind, and what became of their repairs."""
    async with map_database_errors():
        await _find(Reconciliations(services.engine), reconciliation_id)
        return DifferenceGroups(groups=await group_differences(services.engine, reconciliation_id))


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
async def get_differences(
    services: ServicesDep,
    reconciliation_id: Id,
    page: PageDep,
    selected: SelectionDep,
    repaired: Annotated[bool | None, Query(description="Only differences that are repaired, or that are not.")] = None,
) -> Page[DifferenceView]:
    """Each difference has a cause, and what was done about it. The causes are `never_sent` (older than the relay),
    `lost_by_webhook` (it changed, but the store did not report it), `rejected` (its job is dead), `stale` (the Platform has
    another version), and `extra` (the Platform has it, the store does not)."""
    async with map_database_errors():
        await _find(Reconciliations(services.engine), reconciliation_id)
        return await list_differences(
            services.engine, reconciliation_id, selected, repaired=repaired, cursor=page.cursor, limit=page.limit
        )


@router.get(
    "/{reconciliation_id}/values",
    operation_id="read_difference_values",
    summary="Read both sides' values of a difference",
    responses={
        200: success("The values, read now.", VALUES),
        **problem_responses(*KEY_PROBLEMS, NotFound, QueryInvalid),
    },
)
async def read_difference_values(
    _: OperateAccess,
    services: ServicesDep,
    reconciliation_id: Id,
    kind: Annotated[EventKind, Query(description="The kind of the difference.")],
    entity_id: Annotated[str, _EntityId],
) -> DifferenceValues:
    """What the store has now, what the relay received last, and what the Platform has (customers only), with the fields that
    differ. This reads from the store and the Platform, and changes nothing. The values are not stored; coupon codes are masked."""
    selected = Selection(kind=kind, entity_id=_storable(entity_id))
    async with map_database_errors():
        listed = await list_differences(services.engine, reconciliation_id, selected, limit=1)
        if not listed.items:
            raise NotFound(f"The reconciliation {reconciliation_id} has no difference of {kind} with this id.")
        return await read_values(services, kind, entity_id)


@router.get(
    "/{reconciliation_id}/repair",
    operation_id="preview_repair",
    summary="Preview the repair of differences",
    responses={
        200: success("What the repair would do now.", PREVIEW),
        **problem_responses(*KEY_PROBLEMS, NotFound, QueryInvalid),
    },
    dependencies=[READ],
)
async def preview_repair(services: ServicesDep, reconciliation_id: Id, selected: SelectionDep) -> RepairPreview:
    """The calls that the repair of the selected open differences makes, how many, and what cannot be repaired and why. Without
    parameters, all open differences are selected. This changes nothing."""
    async with map_database_errors():
        preview = await repairer_of(services).preview(reconciliation_id, selected)
    if preview is None:
        raise _not_found(reconciliation_id)
    return preview


@router.post(
    "/{reconciliation_id}/repair",
    operation_id="repair_differences",
    summary="Repair differences of a reconciliation",
    responses={
        200: success(
            "The repairs that were started.",
            {"repaired": {"lost_by_webhook": 2}, "left": 0, "texts": {"lost_by_webhook": REPAIRS["lost_by_webhook"]}},
        ),
        **problem_responses(*KEY_PROBLEMS, NotFound, QueryInvalid, WrongState),
    },
)
async def repair_differences(
    caller: OperateAccess, services: ServicesDep, reconciliation_id: Id, selected: SelectionDep
) -> RepairResult:
    """Jobs fetch from the store what was never sent, lost or is stale, after all live events. Dead jobs are retried. What only
    the Platform has is marked as known. Without parameters, everything is repaired. If you repeat the call, only open differences
    are repaired. It is refused during a trial, and until the reconciliation has ended."""
    async with map_database_errors():
        repaired = await repairer_of(services).repair(reconciliation_id, caller.name, selected)
    if repaired is None:
        raise _not_found(reconciliation_id)
    return repaired


def repairer_of(services: Services) -> Repairer:
    """Repairs the differences that a reconciliation found."""
    source = services.settings.store.adapter or ""
    return Repairer(services.engine, services.inbox, services.actions, services.store, source, services.mode)


async def read_values(services: Services, kind: EventKind, entity_id: str) -> DifferenceValues:
    """Both sides' values of an entity, from the store and the Platform."""
    settings = services.settings
    async with AsyncExitStack() as stack:
        configured = services.platform is not None and settings.platform.api_key is not None
        platform = await stack.enter_async_context(services.platform()) if configured and services.platform else None
        fields = platform.fields if platform else Fields(settings.platform.fields)
        reader = ValueReader(services.engine, services.store, settings.store.adapter or "", platform, fields)
        return await reader.read(kind, entity_id)


def _storable(entity_id: str) -> str:
    """Raises QueryInvalid for a text that PostgreSQL cannot store."""
    if "\x00" in entity_id:
        problem = "contains NUL"
        raise QueryInvalid(f"`entity_id` {problem}.", [FieldError("entity_id", problem)])
    return entity_id


async def _find(reconciliations: Reconciliations, reconciliation_id: UUID) -> ReconciliationView:
    """Raises NotFound."""
    reconciliation = await reconciliations.find(reconciliation_id)
    if reconciliation is None:
        raise _not_found(reconciliation_id)
    return reconciliation


def _not_found(reconciliation_id: UUID) -> NotFound:
    return NotFound(f"No reconciliation has the id {reconciliation_id}.")
