"""Compares the store with what the relay received and with what the Platform has.

    the store's lists, page by page ─▶ the relay's snapshot of each entity (one statement per page) ─▶ differences.compare
    the Platform's customers ─▶ customers that are missing there, or have another address: with `since` each customer is
                                looked up, without it they are listed and suspects are looked up
    everything that was delivered ─▶ what the store no longer has, looked up one by one (only without `since`)

The Platform's API cannot list orders and products: what it acknowledged counts as delivered.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Final, TypeVar

import structlog
from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core import exact_json
from platform_relay.core.outcomes import reason_of
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.forwarding.fetch import native_key
from platform_relay.inbox.events import CustomerEvent, EventKind
from platform_relay.inbox.versions import is_too_far_ahead
from platform_relay.platform.client import PlatformClient
from platform_relay.reconcile.content import changed_fields, content_of, is_part_of
from platform_relay.reconcile.coverage import Coverage, StoreCount, list_problem
from platform_relay.reconcile.differences import LANE, Difference, RelaySnapshot, StoreSnapshot, compare
from platform_relay.reconcile.platform_customers import PlatformCustomers, email_digest, list_all
from platform_relay.reconcile.runs import Reconciliations, ReconciliationView
from platform_relay.reconcile.snapshots import RelaySnapshots
from platform_relay.stores.native import (
    CountsEntities,
    FetchesEntities,
    Ignored,
    ListsEntities,
    NativeEvent,
    SetsUpWebhooks,
    Unreadable,
    listed_kinds,
)
from platform_relay.sync.backfill import HeldBack, ListFailed, list_pages, never, with_retries
from platform_relay.sync.background_reads import BackgroundReads
from platform_relay.sync.polling import KINDS_IN_ORDER
from platform_relay.sync.webhooks import plan

log: Final = structlog.get_logger(__name__)

T = TypeVar("T")
RECONCILIATION: Final = "reconciliation"
"""The name of the background read."""
CONCURRENCY: Final = 8
"""Single entities that are looked up at the same time."""
MAX_NOTES: Final = 20
NIGHT: Final = timedelta(hours=1)
"""A worker that was not running at the configured time of day starts the nightly reconciliation up to this much later."""
GRACE: Final = timedelta(minutes=10)
"""Entities that changed in the store within this time may still be on their way."""


@dataclass(frozen=True, slots=True)
class ComparedSystems:
    """What a reconciliation compares. `source` is the name of the store's adapter.

    `webhook_address` is where the store's webhooks are sent; None if they are not checked.
    """

    store: ListsEntities
    source: str
    platform: PlatformClient | None = None
    webhook_address: str | None = None


async def reconcile(
    engine: AsyncEngine,
    systems: ComparedSystems,
    claimed: ReconciliationView,
    *,
    kinds: Sequence[EventKind] | None = None,
    progress: Callable[[EventKind, int], None] = lambda _kind, _compared: None,
    held_back: HeldBack = never,
) -> ReconciliationView:
    """Run a reconciliation that `Reconciliations.claim` returned: compare what changed in the store since its `since`, of its
    kind or of all kinds, or of `kinds`.

    Without `since` it compares everything, and also finds what only the Platform has. If the store or the Platform fails,
    that part ends early, `notes` describe it, and the reconciliation is not complete. `held_back`: why the store may not be
    called now; it is asked before each page. It stores the differences and changes nothing else. If the process ends in
    between, the reconciliation waits for a worker again. If an operator cancels it, it ends at the next page.
    """
    if kinds is None:
        kinds = KINDS_IN_ORDER if claimed.kind is None else (claimed.kind,)
    run = _Run(engine, systems, claimed, every_kind=set(kinds) >= set(KINDS_IN_ORDER), held_back=held_back)
    try:
        for kind in (kind for kind in kinds if kind in listed_kinds(systems.store)):
            await run.compare_kind(kind, progress)
        await run.check_webhooks()
    except _CancelledByOperatorError:
        pass  # `finish` leaves it as it is
    except asyncio.CancelledError:
        await Reconciliations(engine).release(claimed.id)
        raise
    except BaseException as error:
        await run.finish(because(ReasonCode.RECONCILIATION_FAILED, problem=type(error).__name__))
        raise
    return await run.finish(None)


async def run_requested(
    engine: AsyncEngine, systems: ComparedSystems, nightly: str | None, reads: BackgroundReads
) -> bool:
    """Run one requested reconciliation; False if there is none, or if the store may not be called now: then it waits.

    At the time of day `nightly` (UTC, such as `03:00`), the nightly one is requested first.
    """
    runs = Reconciliations(engine)
    now = datetime.now(UTC)
    if nightly is not None:
        tonight = datetime.combine(now, time.fromisoformat(nightly), UTC)
        if tonight <= now < tonight + NIGHT:
            await runs.request_nightly(tonight)
    claimed = await runs.claim() if await reads.held_back() is None else None
    if claimed is None:
        return False
    try:
        finished = await reconcile(engine, systems, claimed, held_back=reads.held_back)
    except Exception as error:  # noqa: BLE001  # stored with the reconciliation; an adapter's error must not end the worker
        await reads.record(RECONCILIATION, because(ReasonCode.RECONCILIATION_FAILED, problem=type(error).__name__))
        log.error("reconciliation_failed", reconciliation_id=str(claimed.id), error=type(error).__name__)  # noqa: TRY400  # as above
    else:
        incomplete = None if finished.complete else because(ReasonCode.RECONCILIATION_INCOMPLETE)
        await reads.record(RECONCILIATION, incomplete)
        log.info(
            "reconciled",
            reconciliation_id=str(claimed.id),
            compared=finished.compared,
            complete=finished.complete,
            differences=finished.difference_counts,
        )
    return True


class _CancelledByOperatorError(Exception):
    """An operator has cancelled the reconciliation."""


class _Run:
    def __init__(
        self,
        engine: AsyncEngine,
        systems: ComparedSystems,
        claimed: ReconciliationView,
        *,
        every_kind: bool,
        held_back: HeldBack,
    ) -> None:
        self._systems = systems
        self._held_back = held_back
        self._since = claimed.since
        self._id, self._started = claimed.id, claimed.started_at
        self._newest = claimed.started_at - (GRACE if claimed.grace is None else claimed.grace)
        self._runs = Reconciliations(engine)
        self._snapshots = RelaySnapshots(engine, systems.source)
        self._compared: Counter[str] = Counter()
        self._notes: list[str] = []
        self._coverage = Coverage(every_kind)

    async def compare_kind(self, kind: EventKind, progress: Callable[[EventKind, int], None]) -> None:
        complete = self._since is None
        customers = await self._platform_customers() if kind is EventKind.CUSTOMER and complete else None
        receiving_since = await self._snapshots.receiving_since(kind)
        before = await self._count(kind)
        ids: set[str] = set()
        listed: set[str | None] = set()
        unreadable: set[str | None] = set()
        async for page in list_pages(self._systems.store, kind, self._since, held_back=self._held_back):
            if isinstance(page, ListFailed):
                self._failed(str(kind), f"The list of {kind} in the store could not be read to its end", page.reason)
                complete = False
                break
            unreadable.update(entity.id for entity in page.unreadable)
            ids.update(entity.id for entity in page.unreadable if entity.id is not None)
            snapshots = [self._store_snapshot(event) for event in page.events]
            entities = [entity for entity in snapshots if self._is_requested(entity) and entity.id not in ids]
            listed.update(entity.id for entity in snapshots)
            ids.update(entity.id for entity in entities)
            self._compared[kind] += len(entities)
            await self._runs.add_differences(
                self._id, await self._compare_page(kind, entities, receiving_since, customers)
            )
            await self._heartbeat()
            progress(kind, self._compared[kind])
        if str(kind) not in self._coverage.failures:
            await self._check_coverage(kind, before, len(listed | unreadable), len(unreadable))
        if complete:
            async for extras in self._extras(kind, ids, customers):
                await self._runs.add_differences(self._id, extras)

    async def _heartbeat(self) -> None:
        if not await self._runs.heartbeat(self._id, self._compared):
            raise _CancelledByOperatorError

    async def _check_coverage(self, kind: EventKind, before: int | None, listed: int, unreadable: int) -> None:
        counted = StoreCount(before, await self._count(kind))
        self._coverage.store_counts[kind] = counted
        if unreadable:
            self._coverage.unreadable[kind] = unreadable
        problem = list_problem(kind, counted, listed, unreadable)
        if problem is not None and str(kind) not in self._coverage.failures:
            self._failed(str(kind), f"Not all {kind} could be compared", problem)

    async def _count(self, kind: EventKind) -> int | None:
        """How many entities the list has by the store's own count; None if it cannot count them, or if that failed."""
        store: object = self._systems.store
        if not isinstance(store, CountsEntities):
            return None
        counted = await with_retries(lambda: store.count(kind, self._since))
        if counted is None or isinstance(counted, int):
            return counted
        self._failed(str(kind), f"The {kind} in the store could not be counted", reason_of(counted))
        return None

    def _failed(self, name: str, what: str, reason: Reason) -> None:
        """Something could not be read, so the reconciliation is not complete."""
        self._coverage.failures.setdefault(name, reason)
        self._note(f"{what}: {reason.text}")

    def _is_requested(self, entity: StoreSnapshot) -> bool:
        """Some stores list more than what changed since `since`."""
        return self._since is None or entity.version is None or entity.version >= self._since

    def _store_snapshot(self, event: NativeEvent) -> StoreSnapshot:
        """A version in the future does not count, as in the inbox."""
        fields = self._systems.platform.fields if self._systems.platform else None
        email = None
        if isinstance(event.event, CustomerEvent):
            removals = fields is not None and bool(fields.body("customer", {"email": None}))
            removed = removals and event.event.email is None and "email" in event.event.model_fields_set
            email = "" if removed else event.event.email
        version = None if is_too_far_ahead(event.event.updatedAt, self._started) else event.event.updatedAt
        raw = event.event.model_dump_json(exclude_unset=True, by_alias=True).encode()
        content = content_of(event.kind, raw, fields) if fields else None
        return StoreSnapshot(event.event.id, version, native_key(event)[0], email, content)

    async def _compare_page(
        self,
        kind: EventKind,
        entities: Sequence[StoreSnapshot],
        receiving_since: datetime | None,
        customers: PlatformCustomers | None,
    ) -> list[Difference]:
        settled = [entity for entity in entities if entity.version is None or entity.version <= self._newest]
        relay = await self._snapshots.read(kind, settled)
        differences: list[Difference] = []
        suspects: list[StoreSnapshot] = []
        contents: list[tuple[StoreSnapshot, Difference]] = []
        for entity in settled:
            difference = compare(kind, entity, relay[entity.id], receiving_since, self._newest)
            if difference is not None and difference.by_content:
                contents.append((entity, difference))
            elif difference is not None:
                differences.append(difference)
            elif kind is EventKind.CUSTOMER and relay[entity.id].state in ("done", "skipped", "superseded"):
                suspects += [entity] if customers is None or not customers.has(entity) else []
        differences += await self._compare_contents(kind, contents, relay)
        return differences + await _check_concurrently(self._check_at_platform, suspects)

    async def _compare_contents(
        self, kind: EventKind, suspects: Sequence[tuple[StoreSnapshot, Difference]], relay: Mapping[str, RelaySnapshot]
    ) -> list[Difference]:
        """The suspects whose listed content was not delivered. A list may contain fewer fields than the store's webhook did,
        and other fields than an event that the merchant's own integration sent."""
        if not suspects or self._systems.platform is None:
            return []
        events = await self._snapshots.newest_events(kind, [entity.id for entity, _ in suspects])
        differences: list[Difference] = []
        for entity, difference in suspects:
            event = events.get(entity.id)
            if event is not None and event.source != self._systems.source:
                continue
            body = event.body if event else None
            delivered = None if body is None else content_of(kind, body, self._systems.platform.fields)
            known = delivered is not None and delivered.digest == relay[entity.id].digest
            if not (known and delivered and entity.content and is_part_of(entity.content, delivered)):
                fields = changed_fields(entity.content, delivered) if entity.content and delivered else ()
                differences.append(replace(difference, fields=fields))
        return differences

    # ------------------------------------------------------------------------------------------- the Platform

    async def _platform_customers(self) -> PlatformCustomers | None:
        if self._systems.platform is None:
            return None
        customers = await list_all(self._systems.platform)
        if isinstance(customers, PlatformCustomers):
            return customers
        self._failed("customers of the Platform", "The Platform's customers could not be listed", customers)
        return None

    async def _check_at_platform(self, entity: StoreSnapshot) -> Difference | None:
        """The order of the Platform's list is undefined, so each suspect is looked up before it counts as a difference."""
        if self._systems.platform is None:
            return None
        customer = await self._systems.platform.get_customer(entity.id)
        if customer is None:
            return Difference(EventKind.CUSTOMER, entity.id, "stale", "The Platform does not have it.", entity.version)
        if not isinstance(customer, Mapping):
            self._failed(
                "customers of the Platform", "Some customers could not be looked up at the Platform", customer.reason
            )
        elif entity.email is not None and email_digest(exact_json.text(customer.get("email"))) != email_digest(
            entity.email
        ):
            detail = "The Platform has another e-mail address."
            email = (self._systems.platform.fields["customer.email"],)
            return Difference(EventKind.CUSTOMER, entity.id, "stale", detail, entity.version, fields=email)
        return None

    async def _extras(
        self, kind: EventKind, ids: set[str], customers: PlatformCustomers | None
    ) -> AsyncIterator[list[Difference]]:
        """What was delivered, or is listed by the Platform, but is not in the store. Guests, whose key is an address, are
        left out."""

        async def check(entity_id: str) -> Difference | None:
            return await self._check_in_store(kind, entity_id)

        seen: set[str] = set()
        after = ""
        while keys := await self._snapshots.delivered(kind, after, self._started):
            after = keys[-1]
            delivered = [key.removeprefix(LANE[kind]) for key in keys]
            seen.update(delivered)
            missing = [entity_id for entity_id in delivered if entity_id not in ids and "@" not in entity_id]
            yield await _check_concurrently(check, missing)
            await self._heartbeat()
        listed = customers.digests.keys() - seen - ids if customers is not None else ()
        yield await _check_concurrently(check, sorted(entity_id for entity_id in listed if "@" not in entity_id))

    async def _check_in_store(self, kind: EventKind, entity_id: str) -> Difference | None:
        """A list may leave out an entity that exists (another role, a page that moved), so the store is asked for it."""
        store: object = self._systems.store
        if isinstance(store, FetchesEntities):
            fetched = await store.fetch(kind, entity_id)
            if isinstance(fetched, NativeEvent | Unreadable | Ignored):
                return None
            if fetched is not None:
                self._failed(str(kind), f"Some {kind} could not be looked up in the store", reason_of(fetched))
                return None
        return Difference(kind, entity_id, "extra", "The Platform has it, the store does not.")

    # ------------------------------------------------------------------------------------------- the rest

    async def check_webhooks(self) -> None:
        store: object = self._systems.store
        if self._systems.webhook_address is None or not isinstance(store, SetsUpWebhooks):
            return
        present = await store.list_webhooks(self._systems.webhook_address)
        if not isinstance(present, tuple):
            self._notes.append(f"The store's webhooks could not be listed: {reason_of(present).text}")
            return
        changes = plan(store.webhook_topics(), present)
        topics = [change.topic for change in changes if change.action in ("create", "enable")]
        await self._runs.alert_about_webhooks(topics)
        self._notes += [
            f"The store's webhook {topic} is switched off or missing. Run relay webhooks install." for topic in topics
        ]

    async def finish(self, error: Reason | None) -> ReconciliationView:
        compared: dict[str, JsonValue] = dict(self._compared)
        return await self._runs.finish(self._id, compared, self._notes, error, self._coverage)

    def _note(self, note: str) -> None:
        if note not in self._notes and len(self._notes) < MAX_NOTES:
            self._notes.append(note)


async def _check_concurrently(
    check: Callable[[T], Awaitable[Difference | None]], items: Sequence[T]
) -> list[Difference]:
    """Check each item, at most `CONCURRENCY` at the same time."""
    limit = asyncio.Semaphore(CONCURRENCY)

    async def check_one(item: T) -> Difference | None:
        async with limit:
            return await check(item)

    return [difference for difference in await asyncio.gather(*map(check_one, items)) if difference is not None]
