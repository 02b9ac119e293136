"""Contents decide, times only explain; and a reconciliation that could not read everything is never clean."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import HttpUrl, SecretStr

from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Blocked, Reject, Retry, Unknown
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.events import EventKind
from platform_relay.reconcile.compare import ComparedSystems, reconcile
from platform_relay.reconcile.coverage import Coverage, StoreCount, list_problem
from platform_relay.reconcile.differences import Difference
from platform_relay.reconcile.runs import Reconciliations, ReconciliationView
from platform_relay.stores.native import Page, Unreadable
from platform_relay.stores.woocommerce.adapter import WooCommerce, WooCommerceSettings
from simulators.process import Simulator
from tests.database.engine_room import rows, run
from tests.reconcile.proof import SOURCE, Relay, relay
from tests.reconcile.shop import LONG_AGO, Injured, entity
from tests.reconcile.test_reconcile import taken_in

ALERTS = "SELECT code FROM alert WHERE resolved_at IS NULL AND code LIKE 'reconciliation%' ORDER BY code"


async def alerts(here: Relay) -> list[str]:
    return [str(code) for (code,) in await rows(here.parts.engine, ALERTS)]


def has(store: Simulator, when: datetime, mark: str = "", kinds: Sequence[EventKind] = tuple(EventKind)) -> None:
    """The store has one customer, one order and one product, changed at `when`."""
    for kind in kinds:
        store.control("seed", **{kind: [entity(kind, 7, when, mark, 7)]})


async def test_a_time_that_moves_without_a_change_is_no_difference_and_a_change_without_it_is_one(
    shop: Simulator, platform: Simulator, database_url: str, tmp_path: Path
) -> None:
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    has(shop, LONG_AGO)
    async with relay(database_url, tmp_path, platform) as here:
        await taken_in(here)
        await here.drained(30)
        has(shop, hour_ago)
        moved = await here.reconciled()
        assert (moved.difference_count, moved.complete, moved.is_clean) == (0, True, True)
        assert moved.compared == {"customers": 1, "products": 1, "orders": 1}

        await taken_in(here)
        await here.drained(30)
        has(shop, hour_ago, "changed")
        changed = await here.reconciled(hour_ago - timedelta(minutes=1), timedelta(0))
        assert set((await here.found(changed)).values()) == {"stale"}
        assert changed.difference_count == 3
        assert not changed.is_clean
        await here.repaired(changed)
        await here.drained(30)
        assert Injured(shop, platform, 0, 0, 1).unlike() == []
        assert (await here.reconciled()).is_clean


async def test_what_could_not_be_read_resolves_no_alert_and_is_read_the_next_night(
    shop: Simulator, platform: Simulator, database_url: str, tmp_path: Path
) -> None:
    has(shop, LONG_AGO)
    async with relay(database_url, tmp_path, platform) as here:
        assert not (await here.reconciled()).is_clean  # nothing was sent yet
        assert await alerts(here) == [ReasonCode.RECONCILIATION_DIFFERENCES]
        await taken_in(here)
        await here.drained(30)
        shop.script(path="/wp-json/wc/v3", persistent=True, status=401, body={"code": "x", "message": "no"})
        nothing = await here.reconciled()
        assert (nothing.difference_count, nothing.complete, nothing.is_clean) == (0, False, False)
        assert await alerts(here) == [ReasonCode.RECONCILIATION_DIFFERENCES, ReasonCode.RECONCILIATION_INCOMPLETE]
        shop.control("clear")
        assert (await here.reconciled()).is_clean
        assert await alerts(here) == []


async def test_the_nightly_one_begins_before_the_last_that_was_complete(
    shop: Simulator, platform: Simulator, database_url: str, tmp_path: Path
) -> None:
    has(shop, LONG_AGO)
    async with relay(database_url, tmp_path, platform) as here:
        await taken_in(here)
        books, engine = Reconciliations(here.parts.engine), here.parts.engine
        await run(engine, "UPDATE message SET received_at = now() - interval '30 days'")
        started: list[datetime] = []
        for days, coverage in ((9, Coverage()), (5, None), (2, None)):
            failed = Coverage(failures={"orders": because(ReasonCode.SERVER_ERROR)})
            view = await books.claim(await books.request("t", None))
            assert view is not None
            await books.finish(view.id, {}, [], None, coverage or failed)
            moved = "UPDATE reconciliation SET started_at = now() - make_interval(days => :days) WHERE id = :id"
            await run(engine, moved, days=days, id=view.id)
            found = await books.find(view.id)
            assert found is not None
            started.append(found.started_at)
        assert await books.request_nightly(datetime.now(UTC) - timedelta(minutes=5))
        nightly = await books.claim()
        assert nightly is not None
        assert nightly.since == started[0] - timedelta(days=1)


class Counting(WooCommerce):
    """WooCommerce with a count of its entities, and lists that lose some of them, or contain them as unreadable."""

    shop: Simulator
    lost: frozenset[str] = frozenset()
    names_them = False
    failure: Retry | Unknown | Reject | Blocked | None = None

    async def count(
        self,
        kind: EventKind,
        since: datetime | None = None,  # noqa: ARG002
    ) -> int | Retry | Unknown | Reject | Blocked | None:
        return self.failure or len(self.shop.state(kind))

    async def list_entities(self, kind: EventKind, since: datetime | None, cursor: str | None) -> Page:
        page = await super().list_entities(kind, since, cursor)
        assert isinstance(page, Page)
        lost = [event for event in page.events if event.event.id in self.lost]
        unreadable = [Unreadable(because(ReasonCode.ENTITY_UNREADABLE), kind, event.event.id) for event in lost]
        events = tuple(event for event in page.events if event not in lost)
        return Page(events, page.next, tuple(unreadable) if self.names_them else ())


async def counted(here: Relay, shop: Simulator, **fields: object) -> ReconciliationView:
    settings = WooCommerceSettings(
        url=HttpUrl(shop.url), consumer_key=SecretStr("ck_simulator_key"), consumer_secret=SecretStr("cs_simulator_key")
    )
    store = Counting(settings, HttpClients(5.0))
    store.shop = shop
    for name, value in fields.items():
        setattr(store, name, value)
    runs = Reconciliations(here.parts.engine)
    identifier = await runs.request("t", None)
    claimed = await runs.claim(identifier)
    assert claimed is not None
    try:
        return await reconcile(here.parts.engine, ComparedSystems(store, SOURCE, here.systems.platform), claimed)
    finally:
        await store.aclose()


async def test_a_list_that_lacks_entities_which_the_store_counts_is_not_complete(
    shop: Simulator, platform: Simulator, database_url: str, tmp_path: Path
) -> None:
    orders = [entity(EventKind.ORDER, number, LONG_AGO, "", 7) for number in range(8, 13)]
    has(shop, LONG_AGO)
    shop.control("seed", orders=orders)
    async with relay(database_url, tmp_path, platform) as here:
        await taken_in(here)
        await here.drained(30)
        full = await counted(here, shop)
        assert full.is_clean
        assert full.store_counts["orders"].model_dump() == {"before": 6, "after": 6}
        short = await counted(here, shop, lost=frozenset({"9"}))
        assert (short.compared["orders"], short.complete) == (5, False)
        assert any("the store counts 6, and the list contained 5" in note for note in short.notes)
        assert await alerts(here) == [ReasonCode.RECONCILIATION_INCOMPLETE]
        unreadable = await counted(here, shop, lost=frozenset({"9"}), names_them=True)
        assert (unreadable.unreadable, unreadable.complete) == ({"orders": 1}, False)
        unknown = await counted(here, shop, failure=Reject(because(ReasonCode.PERMISSION_MISSING)))
        assert not unknown.complete


@pytest.mark.parametrize("cursor", [{"page": 2}, ["x"], "x" * 5000, True])
async def test_an_unusable_cursor_of_the_platforms_list_is_not_its_end(
    shop: Simulator, platform: Simulator, database_url: str, tmp_path: Path, cursor: object
) -> None:
    has(shop, LONG_AGO)
    async with relay(database_url, tmp_path, platform) as here:
        await taken_in(here)
        await here.drained(30)
        platform.script(
            method="GET", path="^/v1/customers$", persistent=True, status=200, body={"customers": [], "cursor": cursor}
        )
        view = await here.reconciled()
        assert (view.complete, view.is_clean) == (False, False)
        assert any(note.startswith("The Platform's customers could not be listed") for note in view.notes)


@pytest.mark.parametrize(
    ("before", "after", "listed", "unreadable", "is_complete"),
    [
        (3, 3, 3, 0, True),
        (3, 3, 2, 0, False),
        (3, 2, 2, 0, True),
        (2, 3, 2, 0, True),
        (2, 3, 1, 0, False),
        (None, 3, 2, 0, False),
        (None, None, 0, 0, True),
        (3, 3, 3, 1, False),
        (3, 3, 9, 0, True),
    ],
)
def test_a_list_needs_as_many_as_the_smaller_count(
    before: int | None, after: int | None, listed: int, unreadable: int, *, is_complete: bool
) -> None:
    problem = list_problem(EventKind.ORDER, StoreCount(before, after), listed, unreadable)
    assert (problem is None) is is_complete
    assert not Difference(EventKind.ORDER, "1", "stale", "").by_content
