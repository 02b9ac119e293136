"""What the store has, against what was received and delivered: asked for here, done by a worker, repaired by one call."""

from datetime import timedelta
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.requests import Request

from platform_relay.api.authentication import Keys
from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import answer, body_of, needs_key, refusals
from platform_relay.api.event_examples import ID
from platform_relay.api.events import KEY_REFUSALS
from platform_relay.api.operator import BODY_REFUSALS
from platform_relay.api.request_body import read_model
from platform_relay.core.errors import NotFound, QueryInvalid, WrongState
from platform_relay.jobs.queries import when_away
from platform_relay.reconcile.differences import REPAIRS, Cause
from platform_relay.reconcile.repairs import Repaired, Tools, repair
from platform_relay.reconcile.runs import SHOWN, ReconciliationDetail, Reconciliations, ReconciliationView
from platform_relay.stores.native import ListsEntities


class Comparison(BaseModel):
    """What is to be compared."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime | None = Field(
        None,
        description="What changed in the store since then; left out: everything, and what only the Platform has.",
    )
    grace_seconds: Annotated[float, Field(ge=0, le=86_400)] | None = Field(
        None,
        description="What changed so shortly before may still be on its way and is left out; 600 when not given. 0 after"
        " a backup was restored: nothing is on its way then.",
    )


BODIES: Final = (Comparison,)
EXAMPLE: Final = {
    "id": ID,
    "actor": "operator",
    "state": "done",
    "since": "2026-05-10T00:00:00Z",
    "grace": None,
    "compared": {"customers": 812, "products": 40, "orders": 1204},
    "found": {"lost_by_webhook": 2, "rejected": 1},
    "notes": ["the store's webhook order.updated is switched off or gone; run: relay connect"],
    "error": None,
    "started_at": "2026-05-11T03:00:04Z",
    "finished_at": "2026-05-11T03:00:19Z",
    "repaired_at": None,
}
ASKED: Final = EXAMPLE | {"state": "waiting", "compared": {}, "found": {}, "notes": [], "finished_at": None}
DETAIL: Final = EXAMPLE | {
    "items": [
        {
            "kind": "orders",
            "entity_id": "1001",
            "cause": "lost_by_webhook",
            "detail": "it changed at 2026-05-11 16:20:00 UTC, and the store did not report it",
            "version": "2026-05-11T16:20:00Z",
            "repair": None,
        }
    ],
    "next_cursor": None,
}
Id = Annotated[UUID, Path(description="The reconciliation's id.")]


def routes(services: Services, keys: Keys) -> APIRouter:
    router = APIRouter(prefix="/v1/reconciliations", tags=["Reconciliation"])
    books, limit = Reconciliations(services.engine), services.settings.body_limit

    @router.post(
        "",
        operation_id="reconcile",
        summary="Compare the store, the relay and the Platform",
        status_code=202,
        responses={
            202: answer("A worker will do it.", ASKED),
            **refusals(*BODY_REFUSALS, WrongState),
        },
        openapi_extra=needs_key("operate") | body_of(Comparison, {"since": "2026-05-10T00:00:00Z"}),
    )
    async def compare(request: Request) -> ReconciliationView:
        """A worker reads the store's lists and compares each entity with what was received and what was delivered. It
        changes nothing; ask `GET /v1/reconciliations/{reconciliation_id}` for how far it is and what it found. The same
        is done every night (`STORE__RECONCILE_AT`)."""
        caller = await keys.require(request, "operate")
        wanted = await read_model(request, Comparison, limit)
        store: object = services.store
        if not isinstance(store, ListsEntities):
            raise WrongState("The configured store has no lists that could be compared; see docs/stores.md.")
        grace = None if wanted.grace_seconds is None else timedelta(seconds=wanted.grace_seconds)
        async with when_away():
            asked = await books.ask(caller.name, wanted.since, grace)
            return await _found(books, asked)

    @router.get(
        "",
        operation_id="list_reconciliations",
        summary="List reconciliations, newest first",
        responses={200: answer("The newest 50.", [EXAMPLE]), **refusals(*KEY_REFUSALS)},
        openapi_extra=needs_key("read"),
    )
    async def reconciliations(request: Request) -> list[ReconciliationView]:
        """Those that were asked for and the nightly ones, each with its counts."""
        await keys.require(request, "read")
        async with when_away():
            return await books.newest()

    @router.get(
        "/{reconciliation_id}",
        operation_id="read_reconciliation",
        summary="What did a reconciliation find?",
        responses={
            200: answer("The reconciliation, with a page of its differences.", DETAIL),
            **refusals(*KEY_REFUSALS, NotFound, QueryInvalid),
        },
        openapi_extra=needs_key("read"),
    )
    async def one(
        request: Request,
        reconciliation_id: Id,
        cause: Annotated[Cause | None, Query(description="Only differences of this class.")] = None,
        cursor: Annotated[
            str, Query(max_length=300, pattern="^[^\x00]*$", description="The last page's `next_cursor`.")
        ] = "",
        limit: Annotated[int, Query(ge=1, le=1000, description="Differences per page.")] = SHOWN,
    ) -> ReconciliationDetail:
        """Each difference with its cause class and what was done about it: `never_sent` (from before the relay),
        `lost_by_webhook` (it changed and nothing came), `rejected` (given up), `stale` (the Platform does not have it as
        it is), `extra` (the Platform has it, the store does not). `notes` tell what could not be compared, and webhooks
        that the store has switched off."""
        await keys.require(request, "read")
        async with when_away():
            return await _found(books, reconciliation_id, cause, limit, cursor)

    @router.post(
        "/{reconciliation_id}/repair",
        operation_id="repair_differences",
        summary="Repair what a reconciliation found",
        responses={
            200: answer(
                "What was set in motion.",
                {"repaired": {"lost_by_webhook": 2}, "does": {"lost_by_webhook": REPAIRS["lost_by_webhook"]}},
            ),
            **refusals(*KEY_REFUSALS, NotFound, QueryInvalid),
        },
        openapi_extra=needs_key("operate"),
    )
    async def mend(request: Request, reconciliation_id: Id) -> Repaired:
        """What never came, was lost or is stale is fetched from the store by jobs, behind everything live; what was given
        up is retried; what is extra is noted. The same again does only what was not done."""
        caller = await keys.require(request, "operate")
        source = services.settings.store.adapter or ""
        tools = Tools(services.engine, services.inbox, services.operator, services.store, source)
        async with when_away():
            done = await repair(tools, reconciliation_id, caller.name)
        if done is None:
            raise NotFound(f"No reconciliation has the id {reconciliation_id}.")
        return done

    return router


async def _found(
    books: Reconciliations, reconciliation_id: UUID, cause: Cause | None = None, limit: int = SHOWN, cursor: str = ""
) -> ReconciliationDetail:
    """Raises NotFound."""
    found = await books.find(reconciliation_id, cause, limit, cursor)
    if found is None:
        raise NotFound(f"No reconciliation has the id {reconciliation_id}.")
    return found
