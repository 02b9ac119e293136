"""The lists of a real store as an adapter reads them, with changes between the pages, and polls of an unchanged store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from platform_relay.inbox.events import EventKind, OrderEvent
from platform_relay.stores.native import CountsEntities, ListsEntities, Page

SMALL: Final = 4
"""Entities on a small page."""
SMALL_PAGES: Final = f"[0, {SMALL}, []]"
"""The cursor of a list's beginning, with small pages (`paging.next_rows`)."""
MANY: Final = 3 * SMALL + 1
"""More entities than three small pages hold."""
CENT: Final = Decimal("0.01")


async def listed(
    adapter: ListsEntities,
    kind: EventKind,
    since: datetime | None = None,
    *,
    cursor: str | None = None,
    between: Sequence[Callable[[], object]] = (),
) -> dict[str, Any]:
    """The events of a list by id, the last of each. `between`: what to do after the first page, after the second, ..."""
    events: dict[str, Any] = {}
    changes = iter(between)
    while True:
        page = await adapter.list_entities(kind, since, cursor)
        assert isinstance(page, Page), page
        assert page.unreadable == ()
        events |= {native.event.id: native.event for native in page.events}
        cursor = page.next
        if cursor is None:
            assert next(changes, None) is None, "the list ended before every change was applied"
            return events
        next(changes, lambda: None)()


async def assert_counted(adapter: object, kind: EventKind) -> None:
    """The store counts as many entities as its list has."""
    assert isinstance(adapter, CountsEntities)
    assert isinstance(adapter, ListsEntities)
    assert await adapter.count(kind) == len(await listed(adapter, kind))


def assert_amounts(event: OrderEvent, *, price: str, saved: str, shipping: str) -> None:
    """An order of two units at this gross price. What the customer pays is what the units and the shipping cost, less what the
    coupon saved. Each amount is rounded once, so the sums may differ by a cent."""
    assert [(item.price, item.quantity) for item in event.lineItems or ()] == [(Decimal(price), Decimal(2))]
    assert event.subtotalPrice is not None
    assert abs(event.subtotalPrice - 2 * Decimal(price)) <= CENT
    [off] = [discount.amount or 0 for discount in event.discountCodes or ()]
    assert abs(off - Decimal(saved)) <= CENT
    assert event.totalPrice is not None
    assert abs(event.totalPrice - (event.subtotalPrice + Decimal(shipping) - off)) <= CENT


def assert_nothing_new(polled: str) -> None:
    """The output of `relay poll`: every list contains entities, and none of them is new."""
    lines = polled.split("\n")
    for kind in EventKind:
        [line] = [line for line in lines if line.startswith(f"{kind}: ")]
        assert line.endswith(" seen, 0 new"), polled
        assert not line.startswith(f"{kind}: 0 seen"), polled
