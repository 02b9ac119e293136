"""What a case works with: the adapter on its wire, orders with fresh codes, and what can be known of the store."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final  # Any: an order's fields by name

from platform_relay.conformance.watched import WITH_REASON, watched
from platform_relay.conformance.wire import Wire
from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Done, Outcome, Reject, Retry, Unknown
from platform_relay.stores.base import (
    CouponFound,
    CouponKind,
    CouponSpec,
    Difference,
    StoreAdapter,
    StoreAdapterClass,
    differences,
)

LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
TRIES: Final = 4
"""How often an order is given again until the store and the adapter are done with it."""


class Broken(Exception):  # noqa: N818  # it is a finding, said in words
    """The promise was not kept; the text says how."""


class Skipped(Exception):  # noqa: N818  # as above
    """The promise could not be tried; the text says what is needed."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What only whoever runs the sandbox store knows. Empty: what needs it is skipped.

    `webhook` is a genuine webhook of the shop: its headers (lower-case names) and raw body. `address` is where the store
    may be told to send webhooks, for a moment.
    """

    currency: str = "EUR"
    product_ids: tuple[str, ...] = ()
    customer_id: str | None = None
    email: str | None = None
    webhook: tuple[dict[str, str], bytes] | None = field(default=None, repr=False)
    address: str | None = None
    variant_ids: tuple[str, ...] = ()


class Sandbox:
    """One adapter and its store, for one case."""

    def __init__(self, adapter: StoreAdapterClass, facts: Facts, time_limit: float) -> None:
        self.adapter_class = adapter
        self.facts = facts
        self.wire = Wire()
        self._time_limit = time_limit
        self._built: list[StoreAdapter] = []
        self._ordered: set[str] = set()
        self.adapter = self.restarted()

    def restarted(self, time_limit: float | None = None) -> StoreAdapter:
        """The adapter as a new process has it; each of its outcomes is looked at (`watched`)."""
        return watched(self._new(time_limit or self._time_limit))

    def _new(self, time_limit: float) -> StoreAdapter:
        clients = HttpClients(time_limit, self.wire, self.wire.through)
        self._built.append(self.adapter_class.from_environment(clients))
        return self._built[-1]

    def order(self, **fields: Any) -> CouponSpec:  # Any: as above
        """A coupon of 5.00 under a fresh code for one use, changed by `fields`."""
        code = "CT" + "".join(secrets.choice(LETTERS) for _ in range(10))
        usual = {
            "code": code,
            "kind": CouponKind.FIXED_AMOUNT,
            "value": Decimal("5.00"),
            "currency": self.facts.currency,
        }
        made = CouponSpec(**{**usual, **fields})
        self._ordered.add(made.code)
        return made

    async def aclose(self) -> None:
        """Retire what was made, and close the connections."""
        tidy = self._new(self._time_limit)
        for code in sorted(self._ordered):
            if code.strip():
                await tidy.retire_coupon(code)
        for adapter in self._built:
            await adapter.aclose()

    # ------------------------------------------------------------------------------------------- steps

    async def made(self, order: CouponSpec, *, first_try: bool = True) -> str:
        """Issue it; the store's id. Broken when it is not Done."""
        outcome = await self.adapter.issue_coupon(replace(order, first_try=first_try))
        if not isinstance(outcome, Done):
            raise Broken(f"an order that the store can make was answered with {shown(outcome)}")
        if not outcome.result.get("store_id"):
            raise Broken("Done.result holds no store_id")
        return outcome.result["store_id"]

    async def finished(self, order: CouponSpec) -> None:
        """Give an order again until it is Done, as the engine does; then the store holds exactly what was ordered."""
        outcome: Outcome | None = None
        for _ in range(TRIES):
            outcome = await self.adapter.issue_coupon(replace(order, first_try=False))
            if not isinstance(outcome, Retry | Unknown):
                break
        if not isinstance(outcome, Done):
            raise Broken(f"given again, the order was answered with {shown(outcome)}")
        await self.holds_one(order)

    async def holds_one(self, order: CouponSpec) -> None:
        """The store holds the coupon as ordered, and once: when it is retired, none is left."""
        found = await self.found(order.code)
        if found is None:
            raise Broken("the outcome was Done, and the store has no such coupon")
        if wrong := differences(order, found):
            raise Broken(f"the store's coupon is not what was ordered: {named(wrong)}")
        retired = await self.adapter.retire_coupon(order.code)
        if not isinstance(retired, Done):
            raise Broken(f"retire_coupon was answered with {shown(retired)}")
        if await self.usable(order.code):
            raise Broken("after one coupon of the code was retired the store shows another: it was made twice")

    async def found(self, code: str) -> CouponFound | None:
        """The coupon, or None. Broken when the look-up of a store that behaves fails."""
        found = await self.adapter.find_coupon(code)
        if found is not None and not isinstance(found, CouponFound):
            raise Broken(f"find_coupon was answered with {shown(found)}")
        return found

    async def usable(self, code: str) -> bool:
        found = await self.found(code)
        return found is not None and found.active

    async def calls_of_an_issue(self, *, first_try: bool = True) -> int:
        """How many calls a new coupon takes, with what is asked once known already."""
        await self.adapter.check()
        order = self.order()
        await self.made(order, first_try=first_try)
        self.wire.mark()
        await self.made(self.order(), first_try=first_try)
        return len(self.wire.since)


def shown(outcome: object) -> str:
    """An outcome for a person."""
    if isinstance(outcome, WITH_REASON):
        return f"{type(outcome).__name__} ({outcome.reason.code}: {outcome.reason.text})"
    return "None" if outcome is None else type(outcome).__name__


def named(different: Sequence[Difference]) -> str:
    """Differences for a person."""
    return "; ".join(f"{each.field} is {each.actual}, ordered {each.expected}" for each in different)


def fields_of(outcome: Reject) -> set[str]:
    """The fields of the order that a refusal names by its facts: `field`, and `field` of each of its `differences`."""
    facts = outcome.reason.facts
    different = facts.get("differences")
    rows = different if isinstance(different, list) else []
    return {
        *str(facts.get("field", "")).split(", "),
        *(str(row["field"]) for row in rows if isinstance(row, dict) and "field" in row),
    }


def soon() -> datetime:
    """In 30 days, to the second."""
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() // 1 + 30 * 86_400, UTC)
