"""Compares the store with what the relay received and with what the Platform has.

    the store's lists, page by page ─▶ the relay's snapshot of each entity (one statement per page) ─▶ differences.compare
    the Platform's customers ─▶ customers that are missing there, or have another address: with `since` each customer is
                                looked up, without it they are listed and suspects are looked up
    everything that was delivered ─▶ what the store no longer has, looked up one by one (only without `since`)

The Platform's API cannot list orders and products: what it acknowledged counts as delivered.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final, TypeVar  # Any: rows

import structlog
from pydantic import JsonValue
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core import exact_json
from platform_relay.core.database import read_connection
from platform_relay.core.outcomes import reason_of
from platform_relay.core.reasons import Reason, ReasonCode, because, stored
from platform_relay.inbox.events import CustomerEvent, EventKind
from platform_relay.inbox.versions import is_too_far_ahead
from platform_relay.platform.client import PlatformClient
from platform_relay.queue.statements import CLOCK_TOLERANCE
from platform_relay.reconcile.differences import JOB, LANE, Difference, RelaySnapshot, StoreSnapshot, compare
from platform_relay.reconcile.runs import Reconciliations, ReconciliationView
from platform_relay.stores.native import FetchesEntities, ListsEntities, NativeEvent, SetsUpWebhooks
from platform_relay.sync.backfill import ListFailed, list_pages
from platform_relay.sync.polling import KINDS_IN_ORDER
from platform_relay.sync.webhooks import plan

log: Final = structlog.get_logger(__name__)

T = TypeVar("T")
CONCURRENCY: Final = 8
"""Single entities that are looked up at the same time."""
MAX_NOTES: Final = 20
NIGHT: Final = timedelta(hours=1)
"""A worker that was not running at the configured time of day starts the nightly reconciliation up to this much later."""
GRACE: Final = timedelta(minutes=10)
"""Entities that changed in the store within this time may still be on their way."""
_COLUMN: Final = {EventKind.CUSTOMER: "customer_ref", EventKind.ORDER: "order_ref", EventKind.PRODUCT: "product_ref"}
_VERSION: Final = (
    f"""CASE WHEN job.version <= now() + {CLOCK_TOLERANCE} THEN job.version ELSE message.received_at END"""
)
"""The version of a job. One without a version, or with a time in the future, is as old as its message."""
RELAY_SNAPSHOTS: Final = {  # each look-up is LATERAL with a LIMIT, so that it uses the key whatever the statistics are
    kind: text(f"""
SELECT requested.ref, newest.version, newest.received_at, newest.state, newest.reason_code, newest.facts, newest.job_id,
       coalesce(entity.exists_remotely, false) AS exists_remotely, coalesce(fetching.open_jobs > 0, false) AS fetching,
       fetch_job.job_id AS failed_fetch, fetch_job.reason_code AS fetch_reason_code, fetch_job.facts AS fetch_facts,
       identical.id IS NOT NULL AS identical
FROM unnest(CAST(:refs AS text[]), CAST(:dedupe_keys AS text[])) AS requested(ref, dedupe_key)
LEFT JOIN LATERAL (
    SELECT {_VERSION} AS version, message.received_at, job.state, job.reason_code, job.facts, job.id AS job_id
    FROM message JOIN job ON job.message_id = message.id AND job.kind = '{JOB[kind]}'
    WHERE message.{_COLUMN[kind]} = requested.ref AND message.kind = '{kind}'
    ORDER BY {_VERSION} DESC, job.seq DESC LIMIT 1
) AS newest ON true
LEFT JOIN LATERAL (
    SELECT message.received_at, job.state, job.reason_code, job.facts, job.id AS job_id
    FROM message JOIN job ON job.message_id = message.id AND job.kind = 'fetch_entity'
    WHERE message.{_COLUMN[kind]} = requested.ref AND message.kind = '{kind}:id' ORDER BY message.id DESC LIMIT 1
) AS fetch_job ON fetch_job.state = 'dead' AND fetch_job.received_at > coalesce(newest.received_at, '-infinity')
LEFT JOIN LATERAL (
    SELECT exists_remotely FROM entity WHERE destination = 'platform' AND key = '{LANE[kind]}' || requested.ref LIMIT 1
) AS entity ON true
LEFT JOIN LATERAL (
    SELECT open_jobs FROM lane WHERE destination = 'store' AND key = 'fetch:{kind}:' || requested.ref LIMIT 1
) AS fetching ON true
LEFT JOIN LATERAL (
    SELECT id FROM message WHERE source = :source AND dedupe_key = requested.dedupe_key LIMIT 1
) AS identical ON true
""")  # noqa: S608  # constants only
    for kind in EventKind
}
_RECEIVING_SINCE: Final = text("""
SELECT received_at FROM message WHERE kind = :kind AND source = ANY(CAST(:sources AS text[])) ORDER BY id LIMIT 1
""")
_DELIVERED: Final = {
    kind: text(f"""
SELECT key FROM entity
WHERE destination = 'platform' AND key > :after AND starts_with(key, '{LANE[kind]}') AND exists_remotely
  AND NOT EXISTS (SELECT FROM message WHERE {_COLUMN[kind]} = substr(entity.key, {len(LANE[kind]) + 1})
                  AND received_at > :started)
ORDER BY key LIMIT 1000
""")  # noqa: S608  # constants only
    for kind in EventKind
}


@dataclass(frozen=True, slots=True)
class ComparedSystems:
    """What a reconciliation compares. `source` is the name of the store's adapter.

    `webhook_address` is where the store's webhooks are sent; None if they are not checked.
    """

    store: ListsEntities
    source: str
    platform: PlatformClient | None = None
    webhook_address: str | None = None


@dataclass(slots=True)
class _PlatformCustomers:
    """The Platform's customers: id -> a digest of the e-mail address, in eight bytes to save memory."""

    digests: dict[str, bytes] = field(default_factory=dict)

    def has(self, customer: StoreSnapshot) -> bool:
        digest = self.digests.get(customer.id)
        return digest is not None and (customer.email is None or digest == _digest(customer.email))


async def reconcile(
    engine: AsyncEngine,
    systems: ComparedSystems,
    claimed: ReconciliationView,
    *,
    kinds: Sequence[EventKind] = KINDS_IN_ORDER,
    progress: Callable[[EventKind, int], None] = lambda _kind, _compared: None,
) -> ReconciliationView:
    """Run a reconciliation that `Reconciliations.claim` returned: compare what changed in the store since its `since`.

    Without `since` it compares everything, and also finds what only the Platform has. If the store or the Platform fails,
    that part ends early and `notes` describe it. It stores the differences and changes nothing else. If the process ends in
    between, the reconciliation waits for a worker again.
    """
    run = _Run(engine, systems, claimed)
    try:
        for kind in kinds:
            await run.compare_kind(kind, progress)
        await run.check_webhooks()
    except asyncio.CancelledError:
        await Reconciliations(engine).release(claimed.id)
        raise
    except BaseException as error:
        await run.finish(because(ReasonCode.RECONCILIATION_FAILED, problem=type(error).__name__))
        raise
    return await run.finish(None)


async def run_requested(engine: AsyncEngine, systems: ComparedSystems, nightly: str | None) -> bool:
    """Run one requested reconciliation; False if there is none.

    At the time of day `nightly` (UTC, such as `03:00`), the nightly one is requested first.
    """
    runs = Reconciliations(engine)
    now = datetime.now(UTC)
    if nightly is not None:
        tonight = datetime.combine(now, time.fromisoformat(nightly), UTC)
        if tonight <= now < tonight + NIGHT:
            await runs.request_nightly(tonight)
    claimed = await runs.claim()
    if claimed is None:
        return False
    try:
        finished = await reconcile(engine, systems, claimed)
    except Exception as error:  # noqa: BLE001  # stored with the reconciliation; an adapter's error must not end the worker
        log.error("reconciliation_failed", reconciliation_id=str(claimed.id), error=type(error).__name__)  # noqa: TRY400  # as above
    else:
        log.info(
            "reconciled",
            reconciliation_id=str(claimed.id),
            compared=finished.compared,
            differences=finished.difference_counts,
        )
    return True


class _Run:
    def __init__(self, engine: AsyncEngine, systems: ComparedSystems, claimed: ReconciliationView) -> None:
        self._engine = engine
        self._systems = systems
        self._since = claimed.since
        self._id, self._started = claimed.id, claimed.started_at
        self._newest = claimed.started_at - (GRACE if claimed.grace is None else claimed.grace)
        self._runs = Reconciliations(engine)
        self._compared: Counter[str] = Counter()
        self._notes: list[str] = []

    async def compare_kind(self, kind: EventKind, progress: Callable[[EventKind, int], None]) -> None:
        complete = self._since is None
        customers = await self._platform_customers() if kind is EventKind.CUSTOMER and complete else None
        receiving_since = await self._receiving_since(kind)
        ids: set[str] = set()
        async for page in list_pages(self._systems.store, kind, self._since):
            if isinstance(page, ListFailed):
                self._notes.append(f"The list of {kind} in the store could not be read to its end: {page.reason.text}")
                complete = False
                break
            snapshots = [_store_snapshot(event, self._started, removals=self._sends_removed_emails()) for event in page]
            entities = [entity for entity in snapshots if self._is_requested(entity)]
            ids.update(entity.id for entity in entities)
            self._compared[kind] += len(entities)
            await self._runs.add_differences(
                self._id, await self._compare_page(kind, entities, receiving_since, customers)
            )
            await self._runs.heartbeat(self._id, self._compared)
            progress(kind, self._compared[kind])
        if complete:
            async for extras in self._extras(kind, ids, customers):
                await self._runs.add_differences(self._id, extras)

    def _is_requested(self, entity: StoreSnapshot) -> bool:
        """Some stores list more than what changed since `since`."""
        return self._since is None or entity.version is None or entity.version >= self._since

    async def _compare_page(
        self,
        kind: EventKind,
        entities: Sequence[StoreSnapshot],
        receiving_since: datetime | None,
        customers: _PlatformCustomers | None,
    ) -> list[Difference]:
        settled = [entity for entity in entities if entity.version is None or entity.version <= self._newest]
        relay = await self._relay_snapshots(kind, settled)
        differences: list[Difference] = []
        suspects: list[StoreSnapshot] = []
        for entity in settled:
            difference = compare(kind, entity, relay[entity.id], receiving_since)
            if difference is not None:
                differences.append(difference)
            elif kind is EventKind.CUSTOMER and relay[entity.id].state in ("done", "skipped", "superseded"):
                suspects += [entity] if customers is None or not customers.has(entity) else []
        return differences + await _check_concurrently(self._check_at_platform, suspects)

    async def _relay_snapshots(self, kind: EventKind, entities: Sequence[StoreSnapshot]) -> dict[str, RelaySnapshot]:
        """By the entities' ids."""
        if not entities:
            return {}
        parameters = {
            "refs": [entity.id for entity in entities],
            "dedupe_keys": [entity.dedupe_key for entity in entities],
            "source": self._systems.source,
        }
        async with read_connection(self._engine) as connection:
            rows = await connection.execute(RELAY_SNAPSHOTS[kind], parameters)
            return {row.ref: _relay_snapshot(row) for row in rows}

    # ------------------------------------------------------------------------------------------- the Platform

    def _sends_removed_emails(self) -> bool:
        platform = self._systems.platform
        return platform is not None and bool(platform.fields.body("customer", {"email": None}))

    async def _platform_customers(self) -> _PlatformCustomers | None:
        if self._systems.platform is None:
            return None
        customers, cursor = _PlatformCustomers(), None
        while True:
            page = await self._systems.platform.list_customers(cursor)
            if not isinstance(page, tuple):
                self._notes.append(f"The Platform's customers could not be listed: {page.reason.text}")
                return None
            rows, cursor = page
            for row in rows:
                identifier = exact_json.text(row.get("externalId"))
                if identifier:
                    customers.digests[identifier] = _digest(exact_json.text(row.get("email")))
            if cursor is None:
                return customers

    async def _check_at_platform(self, entity: StoreSnapshot) -> Difference | None:
        """The order of the Platform's list is undefined, so each suspect is looked up before it counts as a difference."""
        if self._systems.platform is None:
            return None
        customer = await self._systems.platform.get_customer(entity.id)
        if customer is None:
            return Difference(EventKind.CUSTOMER, entity.id, "stale", "The Platform does not have it.", entity.version)
        if not isinstance(customer, Mapping):
            self._note(f"Some customers could not be looked up at the Platform: {customer.reason.text}")
        elif entity.email is not None and _digest(exact_json.text(customer.get("email"))) != _digest(entity.email):
            detail = "The Platform has another e-mail address."
            return Difference(EventKind.CUSTOMER, entity.id, "stale", detail, entity.version)
        return None

    async def _extras(
        self, kind: EventKind, ids: set[str], customers: _PlatformCustomers | None
    ) -> AsyncIterator[list[Difference]]:
        """What was delivered, or is listed by the Platform, but is not in the store. Guests, whose key is an address, are
        left out."""

        async def check(entity_id: str) -> Difference | None:
            return await self._check_in_store(kind, entity_id)

        seen: set[str] = set()
        after = ""
        while keys := await self._delivered(kind, after):
            after = keys[-1]
            delivered = [key.removeprefix(LANE[kind]) for key in keys]
            seen.update(delivered)
            missing = [entity_id for entity_id in delivered if entity_id not in ids and "@" not in entity_id]
            yield await _check_concurrently(check, missing)
            await self._runs.heartbeat(self._id, self._compared)
        listed = customers.digests.keys() - seen - ids if customers is not None else ()
        yield await _check_concurrently(check, sorted(entity_id for entity_id in listed if "@" not in entity_id))

    async def _delivered(self, kind: EventKind, after: str) -> list[str]:
        async with read_connection(self._engine) as connection:
            rows = await connection.execute(_DELIVERED[kind], {"after": after, "started": self._started})
            return list(rows.scalars())

    async def _check_in_store(self, kind: EventKind, entity_id: str) -> Difference | None:
        """A list may leave out an entity that exists (another role, a page that moved), so the store is asked for it."""
        store: object = self._systems.store
        if isinstance(store, FetchesEntities):
            fetched = await store.fetch(kind, entity_id)
            if isinstance(fetched, NativeEvent):
                return None
            if fetched is not None:
                self._note(f"Some {kind} could not be looked up in the store: {reason_of(fetched).text}")
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

    async def _receiving_since(self, kind: EventKind) -> datetime | None:
        parameters = {"kind": str(kind), "sources": ["store", self._systems.source]}
        async with read_connection(self._engine) as connection:
            received_at: datetime | None = (await connection.execute(_RECEIVING_SINCE, parameters)).scalar()
            return received_at

    async def finish(self, error: Reason | None) -> ReconciliationView:
        compared: dict[str, JsonValue] = dict(self._compared)
        return await self._runs.finish(self._id, compared, self._notes, error.text if error else None)

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


def _relay_snapshot(row: Row[Any]) -> RelaySnapshot:
    return RelaySnapshot(
        version=row.version,
        received_at=row.received_at,
        state=row.state,
        reason=stored(row.reason_code, row.facts),
        job_id=row.job_id,
        exists_remotely=row.exists_remotely,
        fetching=row.fetching,
        failed_fetch=row.failed_fetch,
        failed_fetch_reason=stored(row.fetch_reason_code, row.fetch_facts),
        identical=row.identical,
    )


def _store_snapshot(event: NativeEvent, now: datetime, *, removals: bool) -> StoreSnapshot:
    """A version in the future does not count, as in the inbox. `removals`: a removed address is sent to the Platform."""
    email = None
    if isinstance(event.event, CustomerEvent):
        removed = removals and event.event.email is None and "email" in event.event.model_fields_set
        email = "" if removed else event.event.email
    version = None if is_too_far_ahead(event.event.updatedAt, now) else event.event.updatedAt
    return StoreSnapshot(event.event.id, version, event.dedupe_key, email)


def _digest(email: str | None) -> bytes:
    return hashlib.blake2b((email or "").casefold().encode(), digest_size=8).digest()
