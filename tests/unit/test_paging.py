"""The pages of a list with an offset, while entities are created and deleted between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_relay.core.outcomes import Unknown
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.stores.failures import CallFailed
from platform_relay.stores.paging import Rows, next_rows, with_smaller_pages
from platform_relay.stores.parsing import Row

SIZE = 6
TOO_LARGE = CallFailed(Unknown(because(ReasonCode.RESPONSE_TOO_LARGE, destination="the store", limit=1)))


class Listed:
    """A store's list of ids. It counts the `hidden` ones, but does not show them. More than `most` rows are too large."""

    def __init__(self, ids: set[int], *, hidden: set[int] | None = None, most: int = SIZE, total: bool = False) -> None:
        self.ids, self.hidden, self.most, self.total = ids, hidden or set(), most, total or bool(hidden)
        self.calls = 0

    async def read(self, offset: int, limit: int) -> Rows:
        self.calls += 1
        part = sorted(self.ids)[offset : offset + limit]
        if len(part) > self.most:
            raise TOO_LARGE
        rows: list[Row] = [{"id": number} for number in part if number not in self.hidden]
        return Rows(rows, len(self.ids) if self.total else None)

    def all(self, between: Callable[[], None] = lambda: None) -> list[int]:
        """The ids of all pages. `between` runs after each page that is not the last."""
        return asyncio.run(self._all(between))

    async def _all(self, between: Callable[[], None]) -> list[int]:
        ids: list[int] = []
        cursor: str | None = None
        for _ in range(300):
            page = await next_rows(self.read, cursor, size=SIZE, row_id=lambda row: str(row["id"]))
            ids += [int(str(row["id"])) for row in page.rows]
            cursor = page.next
            if cursor is None:
                return ids
            between()
        pytest.fail("the list has no end")


@given(count=st.integers(0, 40), most=st.integers(1, SIZE), total=st.booleans())
def test_a_list_that_does_not_change_is_read_once(count: int, most: int, total: bool) -> None:
    assert Listed(set(range(count)), most=most, total=total).all() == list(range(count))


@given(data=st.data(), total=st.booleans())
def test_what_stays_is_listed_whatever_is_created_and_deleted(data: st.DataObject, total: bool) -> None:
    store = Listed(set(range(0, 80, 2)), total=total)
    stays = set(store.ids)
    changes = 20

    def change() -> None:
        nonlocal stays, changes
        changes -= 1
        if changes < 0:
            return
        store.ids -= data.draw(st.sets(st.sampled_from(range(80)), max_size=10))
        stays &= store.ids
        store.ids |= data.draw(st.sets(st.sampled_from(range(1, 120, 2)), max_size=3))

    assert stays <= set(store.all(change))


@given(hidden=st.sets(st.integers(0, 60)))
def test_rows_that_the_store_counts_but_does_not_show(hidden: set[int]) -> None:
    store = Listed(set(range(60)), hidden=hidden)
    assert set(store.all()) == set(range(60)) - hidden


def test_a_deleted_row_costs_one_call_more() -> None:
    """The last rows of a page are deleted: the page before is read again, not the complete list."""
    store = Listed(set(range(100)))

    def change() -> None:
        store.ids -= {21, 22, 23}

    assert store.all(change)[-1] == 99
    assert store.calls <= 100 // (SIZE - 3) + 3


async def test_a_row_that_is_too_large_alone() -> None:
    async def read(limit: int) -> int:
        if limit > 2:
            raise TOO_LARGE
        return limit

    assert await with_smaller_pages(100, read) == (1, 1)
    with pytest.raises(CallFailed):
        await with_smaller_pages(100, read, smallest=3)


async def test_other_failures_are_not_repeated() -> None:
    calls = 0

    async def read(_: int) -> None:
        nonlocal calls
        calls += 1
        raise CallFailed(Unknown(because(ReasonCode.SERVER_ERROR, destination="the store")))

    with pytest.raises(CallFailed):
        await with_smaller_pages(100, read)
    assert calls == 1
