"""Differences are seeded, found, repaired, and not found again: judged from the store's and the Platform's own state."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import HttpUrl, SecretStr
from sqlalchemy import text

from platform_relay import wiring
from platform_relay.core.database import Timeouts, create_engine
from platform_relay.imports.importer import import_file
from platform_relay.imports.rows import ImportPlan
from platform_relay.inbox.events import EventKind
from platform_relay.reconcile.compare import ComparedSystems, reconcile
from platform_relay.reconcile.difference_list import list_differences
from platform_relay.reconcile.runs import Reconciliations, ReconciliationView
from platform_relay.setting_groups import PlatformSettings, StoreSettings
from platform_relay.settings import Settings
from platform_relay.stores.native import FetchesEntities, ListsEntities, NativeEvent
from platform_relay.sync.backfill import backfill
from platform_relay.sync.polling import KINDS_IN_ORDER, inbox_item
from platform_relay.wiring import Services
from platform_relay.worker import Worker
from simulators.process import Simulator
from tests.helpers import eventually
from tests.reconcile.shop import Injured

SOURCE = "woocommerce"
A_DAY_PASSES = (
    "UPDATE message SET received_at = received_at - interval '1 day'",
    "UPDATE job SET created_at = created_at - interval '1 day', finished_at = finished_at - interval '1 day'",
)


@dataclass(slots=True)
class Relay:
    """The relay's parts in this process, its worker running."""

    parts: Services
    systems: ComparedSystems
    url: str

    async def drained(self, within: float) -> None:
        async def nothing_waits() -> bool:
            async with self.parts.engine.connect() as connection:
                found = await connection.execute(text("SELECT NOT EXISTS (SELECT FROM lane WHERE open_jobs > 0)"))
                return bool(found.scalar_one())

        await eventually(nothing_waits, within)

    async def reconciled(self, since: datetime | None = None, grace: timedelta | None = None) -> ReconciliationView:
        books = Reconciliations(self.parts.engine)
        identifier = await books.request("proof", since, grace)
        if (asked := await books.claim(identifier)) is not None:
            return await reconcile(self.parts.engine, self.systems, asked)

        async def done_by_the_worker() -> ReconciliationView:
            view = await books.find(identifier)
            assert view is not None
            assert view.state == "done"
            return view

        return await eventually(done_by_the_worker, 120)

    async def found(self, view: ReconciliationView) -> dict[tuple[EventKind, str], str]:
        found = dict[tuple[EventKind, str], str]()
        cursor: str | None = None
        while True:
            page = await list_differences(self.parts.engine, view.id, limit=1000, cursor=cursor)
            found.update({(EventKind(each.kind), each.entity_id): each.cause for each in page.items})
            if page.next_cursor is None:
                return found
            cursor = page.next_cursor

    async def repaired(self, view: ReconciliationView) -> dict[str, int]:
        done = await wiring.repairer(self.parts).repair(view.id, "proof")
        assert done is not None
        return done.repaired


@asynccontextmanager
async def relay(url: str, folder: Path, platform: Simulator, public_url: str | None = None) -> AsyncIterator[Relay]:
    """The store's own variables stand in the environment."""
    settings = Settings(
        _env_file=None,
        data_dir=folder,
        public_url=HttpUrl(public_url) if public_url else None,
        store=StoreSettings(adapter=SOURCE, reconcile_at=None),
        platform=PlatformSettings(
            url=HttpUrl(platform.url), launcher_url=HttpUrl(platform.url), api_key=SecretStr("sim-platform-key")
        ),
    )
    async with wiring.services(settings, url, "proof") as parts, wiring.clients(parts) as clients:
        worker = Worker(parts, clients)
        running = asyncio.create_task(worker.run())
        systems = wiring.compared_systems(parts, clients)
        assert systems is not None
        try:
            yield Relay(parts, systems, url)
        finally:
            worker.stop()
            await running


@dataclass(slots=True)
class ProofResult:
    """What a proof came to; `wrong` is empty when all is well."""

    entities: int
    expected: Counter[str]
    wrong: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


async def prove(injured: Injured, database_url: str, folder: Path, within: float) -> ProofResult:
    """The whole of it, on an empty migrated database. `within`: seconds that the relay may take for a backlog."""
    clock = _Clock()
    injured.platform.config(customers_page_size=250)
    injured.open()
    async with relay(database_url, folder, injured.platform) as here:
        await _take_in_everything(here, injured, within)
        clock.lap("delivered")
        now = datetime.now(UTC)
        injured.injure(now)
        await _well_all_the_same(here, injured, now, within)
        clock.lap("injured")
        first = await here.reconciled()
        clock.lap("compared")
        result = ProofResult(sum(first.compared.values()), Counter(injured.expected.values()), seconds=clock.laps)
        result.wrong += _compared(injured.expected, await here.found(first))
        result.wrong += first.notes
        injured.platform.control("clear")
        repaired = await here.repaired(first)
        if Counter(repaired) != result.expected:
            result.wrong.append(f"repaired {repaired}")
        await here.drained(within)
        clock.lap("repaired")
        result.wrong += injured.misfits()
        second = await here.reconciled()
        clock.lap("compared_again")
        result.wrong += [f"second run: {each}" for each in await here.found(second)]
        if await here.repaired(first) or await here.repaired(second):
            result.wrong.append("a second repair repaired something")
    return result


async def _take_in_everything(here: Relay, injured: Injured, within: float) -> None:
    """The store's lists are read and delivered; then a day passes."""
    store: object = here.parts.store
    assert isinstance(store, ListsEntities)
    for kind in KINDS_IN_ORDER:
        done = await backfill(here.parts.inbox, store, SOURCE, kind, None)
        assert done.failed is None
    for kind in (EventKind.PRODUCT, EventKind.ORDER):
        plan = ImportPlan("old", "ndjson", kind)
        taken = await import_file(
            here.parts.engine, here.parts.inbox, plan, injured.file_without_versions(kind), actor="proof"
        )
        assert taken.rejected == 0, taken.problems
    await here.drained(within)
    patient = Timeouts(statement=300.0)
    engine = create_engine(here.url, application_name="proof", pool_size=1, timeouts=patient)
    try:
        for statement in A_DAY_PASSES:
            async with engine.begin() as connection:
                await connection.execute(text(statement))
    finally:
        await engine.dispose()


async def _well_all_the_same(here: Relay, injured: Injured, now: datetime, within: float) -> None:
    """What was touched is reported, as the store's webhook would."""
    store: object = here.parts.store
    assert isinstance(store, FetchesEntities)
    items = []
    for number in injured.not_to_be_found(now)["touched"]:
        event = await store.fetch(EventKind.PRODUCT, str(number))
        assert isinstance(event, NativeEvent)
        items.append(inbox_item(event, SOURCE, backfill=False))
    await here.parts.inbox.accept_many(items)
    await here.drained(within)


def _compared(expected: object, found: object) -> list[str]:
    assert isinstance(expected, dict)
    assert isinstance(found, dict)
    wrong = [
        f"{key}: {cause} was not found, but {found.get(key)}"
        for key, cause in expected.items()
        if found.get(key) != cause
    ]
    return wrong + [f"{key}: {cause} is none" for key, cause in found.items() if key not in expected]


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._at = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name], self._at = round(now - self._at, 1), now
