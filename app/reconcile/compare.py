"""What the store has, against what was received, against what the Platform has.

    the store's lists, page by page ─▶ what the relay holds of each (one statement per page) ─▶ differences.compare
    the Platform's customers ─▶ whom it lacks, or knows by another address; with `since` each is asked for, without it
                                they are listed, and suspects are asked for
    all that was delivered ─▶ what the store has no more, asked for one by one (only without `since`)

Orders and products cannot be listed at the Platform: what was delivered and acknowledged counts.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final, Protocol, TypeVar  # Any: rows

import structlog
from pydantic import JsonValue
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.http import Failure
from platform_relay.core.outcomes import reason_of
from platform_relay.core.reasons import Reason, ReasonCode, because, stored
from platform_relay.inbox.messages import CustomerEvent, Kind
from platform_relay.jobs.queries import reading
from platform_relay.platform import exact
from platform_relay.platform.exact import ExactJson
from platform_relay.reconcile.differences import JOB, LANE, Difference, Held, InShop, compare
from platform_relay.reconcile.runs import Reconciliations, ReconciliationView
from platform_relay.stores.native import FetchesEntities, ListsEntities, NativeEvent, SetsUpWebhooks
from platform_relay.sync.backfill import Failed, listing
from platform_relay.sync.polling import ORDER
from platform_relay.sync.webhooks import plan

log: Final = structlog.get_logger(__name__)

T = TypeVar("T")
TOGETHER: Final = 8
"""Single entities asked for at the same time."""
NOTES: Final = 20
NIGHT: Final = timedelta(hours=1)
"""A worker that was away at the time of day still begins within it."""
GRACE: Final = timedelta(minutes=10)
"""What changed in the store within it may still be on its way."""
_COLUMN: Final = {Kind.CUSTOMER: "customer_ref", Kind.ORDER: "order_ref", Kind.PRODUCT: "product_ref"}
HELD: Final = {  # each look-up LATERAL with a LIMIT: it is made by key, whatever the statistics say
    kind: text(f"""
SELECT asked.ref, newest.version, newest.received_at, newest.state, newest.reason_code, newest.facts, newest.job_id,
       coalesce(entity.known, false) AS known, coalesce(fetching.waiting > 0, false) AS fetching,
       named.job_id AS unfetched, named.reason_code AS unfetched_code, named.facts AS unfetched_facts,
       same.id IS NOT NULL AS same
FROM unnest(CAST(:refs AS text[]), CAST(:dedupe_keys AS text[])) AS asked(ref, dedupe_key)
LEFT JOIN LATERAL (
    SELECT coalesce(job.version, message.received_at) AS version, message.received_at, job.state, job.reason_code,
           job.facts, job.id AS job_id
    FROM message JOIN job ON job.message_id = message.id AND job.kind = '{JOB[kind]}'
    WHERE message.{_COLUMN[kind]} = asked.ref AND message.kind = '{kind}'
    ORDER BY coalesce(job.version, message.received_at) DESC, job.seq DESC LIMIT 1
) AS newest ON true
LEFT JOIN LATERAL (
    SELECT message.received_at, job.state, job.reason_code, job.facts, job.id AS job_id
    FROM message JOIN job ON job.message_id = message.id AND job.kind = 'fetch_entity'
    WHERE message.{_COLUMN[kind]} = asked.ref AND message.kind = '{kind}:id' ORDER BY message.id DESC LIMIT 1
) AS named ON named.state = 'dead' AND named.received_at > coalesce(newest.received_at, '-infinity')
LEFT JOIN LATERAL (
    SELECT known FROM entity WHERE destination = 'platform' AND key = '{LANE[kind]}' || asked.ref LIMIT 1
) AS entity ON true
LEFT JOIN LATERAL (
    SELECT waiting FROM lane WHERE destination = 'store' AND key = 'fetch:{kind}:' || asked.ref LIMIT 1
) AS fetching ON true
LEFT JOIN LATERAL (
    SELECT id FROM message WHERE source = :source AND dedupe_key = asked.dedupe_key LIMIT 1
) AS same ON true
""")  # noqa: S608  # constants only
    for kind in Kind
}
_LISTENING: Final = text("""
SELECT received_at FROM message WHERE kind = :kind AND source = ANY(CAST(:sources AS text[])) ORDER BY id LIMIT 1
""")
_DELIVERED: Final = {
    kind: text(f"""
SELECT key FROM entity
WHERE destination = 'platform' AND key > :after AND starts_with(key, '{LANE[kind]}') AND known
  AND NOT EXISTS (SELECT FROM message WHERE {_COLUMN[kind]} = substr(entity.key, {len(LANE[kind]) + 1})
                  AND received_at > :started)
ORDER BY key LIMIT 1000
""")  # noqa: S608  # constants only
    for kind in Kind
}


class HasCustomers(Protocol):
    async def list_customers(
        self, cursor: str | None
    ) -> tuple[tuple[Mapping[str, ExactJson], ...], str | None] | Failure: ...
    async def get_customer(self, customer_id: str) -> Mapping[str, ExactJson] | Failure | None: ...


@dataclass(frozen=True, slots=True)
class Sides:
    """What is compared. `source` is the adapter's name, `address` where the store's webhooks lead, None: not looked at."""

    store: ListsEntities
    source: str
    platform: HasCustomers | None = None
    address: str | None = None


@dataclass(slots=True)
class _Customers:
    """The Platform's customers: id -> a digest of the e-mail address. Eight bytes for each, so that many fit."""

    known: dict[str, bytes] = field(default_factory=dict)

    def has(self, shop: InShop) -> bool:
        listed = self.known.get(shop.id)
        return listed is not None and (shop.email is None or listed == _digest(shop.email))


async def reconcile(
    engine: AsyncEngine,
    sides: Sides,
    asked: ReconciliationView,
    *,
    kinds: Sequence[Kind] = ORDER,
    progress: Callable[[Kind, int], None] = lambda _kind, _seen: None,
) -> ReconciliationView:
    """Compare what changed in the store since then (None: everything, and what is at the Platform alone too). `asked` was
    taken from the books just now.

    A store or Platform that does not answer ends its part early; `notes` say so. Changes nothing but the books.
    Ended in the middle by the process's own end, it waits again for a worker.
    """
    run = _Run(engine, sides, asked)
    try:
        for kind in kinds:
            await run.kind(kind, progress)
        await run.webhooks()
    except asyncio.CancelledError:
        await Reconciliations(engine).give_back(asked.id)
        raise
    except BaseException as error:
        await run.end(because(ReasonCode.RECONCILIATION_FAILED, problem=type(error).__name__))
        raise
    return await run.end(None)


async def reconcile_asked(engine: AsyncEngine, sides: Sides, nightly: str | None) -> bool:
    """One look: at the time of day `nightly` (UTC, `03:00`) ask for the nightly one, then do one that waits; whether
    there was one."""
    books = Reconciliations(engine)
    now = datetime.now(UTC)
    if nightly is not None:
        tonight = datetime.combine(now, time.fromisoformat(nightly), UTC)
        if tonight <= now < tonight + NIGHT:
            await books.ask_at_night(tonight)
    asked = await books.take()
    if asked is None:
        return False
    try:
        done = await reconcile(engine, sides, asked)
    except Exception as error:  # noqa: BLE001  # an adapter's mistake: kept with it, and must not end the worker
        log.error("reconciliation_failed", reconciliation_id=str(asked.id), error=type(error).__name__)  # noqa: TRY400  # as above
    else:
        log.info("reconciled", reconciliation_id=str(asked.id), compared=done.compared, found=done.found)
    return True


class _Run:
    def __init__(self, engine: AsyncEngine, sides: Sides, asked: ReconciliationView) -> None:
        self._engine = engine
        self._sides = sides
        self._since = asked.since
        self._id, self._started = asked.id, asked.started_at
        self._newest = asked.started_at - (GRACE if asked.grace is None else asked.grace)
        self._books = Reconciliations(engine)
        self._compared: Counter[str] = Counter()
        self._notes: list[str] = []

    async def kind(self, kind: Kind, progress: Callable[[Kind, int], None]) -> None:
        whole = self._since is None
        customers = await self._at_platform() if kind is Kind.CUSTOMER and whole else None
        listening = await self._listening(kind)
        ids: set[str] = set()
        async for page in listing(self._sides.store, kind, self._since):
            if isinstance(page, Failed):
                self._notes.append(f"The list of {kind} in the store could not be read to its end: {page.reason.text}")
                whole = False
                break
            shown = [each for event in page if self._asked_for(each := _shown(event))]
            ids.update(each.id for each in shown)
            self._compared[kind] += len(shown)
            await self._books.add(self._id, await self._page(kind, shown, listening, customers))
            await self._books.beat(self._id, self._compared)
            progress(kind, self._compared[kind])
        if whole:
            async for extra in self._extras(kind, ids, customers):
                await self._books.add(self._id, extra)

    def _asked_for(self, shown: InShop) -> bool:
        """Some stores list more than what changed since then."""
        return self._since is None or shown.version is None or shown.version >= self._since

    async def _page(
        self, kind: Kind, shown: Sequence[InShop], listening: datetime | None, customers: _Customers | None
    ) -> list[Difference]:
        settled = [each for each in shown if each.version is None or each.version <= self._newest]
        held = await self._held(kind, settled)
        found: list[Difference] = []
        suspects: list[InShop] = []
        for each in settled:
            difference = compare(kind, each, held[each.id], listening)
            if difference is not None:
                found.append(difference)
            elif kind is Kind.CUSTOMER and held[each.id].state in ("done", "skipped", "superseded"):
                suspects += [each] if customers is None or not customers.has(each) else []
        return found + await _together(self._missing, suspects)

    async def _held(self, kind: Kind, shown: Sequence[InShop]) -> dict[str, Held]:
        """What the relay holds of each, by its id."""
        asked = {
            "refs": [each.id for each in shown],
            "dedupe_keys": [each.dedupe_key for each in shown],
            "source": self._sides.source,
        }
        async with reading(self._engine) as connection:
            rows = await connection.execute(HELD[kind], asked) if shown else ()
            return {row.ref: _held(row) for row in rows}

    # ------------------------------------------------------------------------------------------- the Platform

    async def _at_platform(self) -> _Customers | None:
        if self._sides.platform is None:
            return None
        customers, cursor = _Customers(), None
        while True:
            page = await self._sides.platform.list_customers(cursor)
            if not isinstance(page, tuple):
                self._notes.append(f"The Platform's customers could not be listed: {page.reason.text}")
                return None
            rows, cursor = page
            for row in rows:
                identifier = exact.text(row.get("externalId"))
                if identifier:
                    customers.known[identifier] = _digest(exact.text(row.get("email")))
            if cursor is None:
                return customers

    async def _missing(self, shop: InShop) -> Difference | None:
        """The Platform's list is in no certain order, so a suspect is asked for by name before it counts."""
        if self._sides.platform is None:
            return None
        found = await self._sides.platform.get_customer(shop.id)
        if found is None:
            return Difference(Kind.CUSTOMER, shop.id, "stale", "The Platform does not have it.", shop.version)
        if not isinstance(found, Mapping):
            self._note(f"Some customers could not be looked up at the Platform: {found.reason.text}")
        elif shop.email and _digest(exact.text(found.get("email"))) != _digest(shop.email):
            return Difference(Kind.CUSTOMER, shop.id, "stale", "The Platform has another e-mail address.", shop.version)
        return None

    async def _extras(self, kind: Kind, ids: set[str], customers: _Customers | None) -> AsyncIterator[list[Difference]]:
        """What was delivered, or the Platform lists, and the store does not have. Guests are known by their address."""

        async def gone(entity_id: str) -> Difference | None:
            return await self._gone(kind, entity_id)

        seen: set[str] = set()
        after = ""
        while keys := await self._delivered(kind, after):
            after = keys[-1]
            delivered = [key.removeprefix(LANE[kind]) for key in keys]
            seen.update(delivered)
            yield await _together(gone, [each for each in delivered if each not in ids and "@" not in each])
            await self._books.beat(self._id, self._compared)
        rest = sorted(customers.known.keys() - seen - ids) if customers is not None else []
        yield await _together(gone, [each for each in rest if "@" not in each])

    async def _delivered(self, kind: Kind, after: str) -> list[str]:
        async with reading(self._engine) as connection:
            rows = await connection.execute(_DELIVERED[kind], {"after": after, "started": self._started})
            return list(rows.scalars())

    async def _gone(self, kind: Kind, entity_id: str) -> Difference | None:
        """A list may leave out what is there all the same (another role, a page that moved): the store is asked."""
        store: object = self._sides.store
        if isinstance(store, FetchesEntities):
            found = await store.fetch(kind, entity_id)
            if isinstance(found, NativeEvent):
                return None
            if found is not None:
                self._note(f"Some {kind} could not be looked up in the store: {reason_of(found).text}")
                return None
        return Difference(kind, entity_id, "extra", "The Platform has it, the store does not.")

    # ------------------------------------------------------------------------------------------- beside it

    async def webhooks(self) -> None:
        store: object = self._sides.store
        if self._sides.address is None or not isinstance(store, SetsUpWebhooks):
            return
        present = await store.list_hooks(self._sides.address)
        if not isinstance(present, tuple):
            self._notes.append(f"The store's webhooks could not be listed: {reason_of(present).text}")
            return
        off = [step.topic for step in plan(store.wanted_topics(), present) if step.act in ("create", "enable")]
        await self._books.webhooks_off(off)
        self._notes += [f"The store's webhook {topic} is switched off or gone. Run relay connect." for topic in off]

    async def _listening(self, kind: Kind) -> datetime | None:
        asked = {"kind": str(kind), "sources": ["store", self._sides.source]}
        async with reading(self._engine) as connection:
            found = (await connection.execute(_LISTENING, asked)).scalar()
        return found if isinstance(found, datetime) else None

    async def end(self, error: Reason | None) -> ReconciliationView:
        compared: dict[str, JsonValue] = dict(self._compared)
        return await self._books.end(self._id, compared, self._notes, error.text if error else None)

    def _note(self, words: str) -> None:
        if words not in self._notes and len(self._notes) < NOTES:
            self._notes.append(words)


async def _together(ask: Callable[[T], Awaitable[Difference | None]], items: Sequence[T]) -> list[Difference]:
    """Ask about each, a few at a time."""
    turn = asyncio.Semaphore(TOGETHER)

    async def one(item: T) -> Difference | None:
        async with turn:
            return await ask(item)

    return [found for found in await asyncio.gather(*map(one, items)) if found is not None]


def _held(row: Row[Any]) -> Held:
    return Held(
        version=row.version,
        received_at=row.received_at,
        state=row.state,
        reason=stored(row.reason_code, row.facts),
        job_id=row.job_id,
        known=row.known,
        fetching=row.fetching,
        unfetched=row.unfetched,
        unfetched_reason=stored(row.unfetched_code, row.unfetched_facts),
        same=row.same,
    )


def _shown(event: NativeEvent) -> InShop:
    email = event.event.email if isinstance(event.event, CustomerEvent) else None
    return InShop(event.event.id, event.event.updatedAt, event.dedupe_key, email)


def _digest(email: str | None) -> bytes:
    return hashlib.blake2b((email or "").casefold().encode(), digest_size=8).digest()
