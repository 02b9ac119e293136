"""The environment of a case: the adapter under test, specs with new codes, and steps that several cases use."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final  # Any: fields of a spec, by name

from platform_relay.conformance.carts import Carts
from platform_relay.conformance.fault_injection import CallLimiter, FaultyNetwork
from platform_relay.conformance.outcome_checks import WITH_REASON, check_outcomes
from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Done, Outcome, Reject, Retry, Unknown
from platform_relay.stores.base import (
    CouponKind,
    CouponSpec,
    Difference,
    StoreAdapter,
    StoreAdapterClass,
    StoreCoupon,
    differences,
)
from platform_relay.stores.native import SetsUpWebhooks, StoreWebhook

MAX_ATTEMPTS: Final = 4
"""The maximum number of attempts to issue a coupon after a fault."""


class Violation(Exception):  # noqa: N818  # a result of a case, not a program error
    """The adapter does not meet the requirement. The text describes what happened."""


class Skipped(Exception):  # noqa: N818  # as above
    """The case could not be run. The text describes what it needs."""


@dataclass(frozen=True, slots=True)
class SandboxData:
    """Data about the sandbox store that the kit cannot find out. Cases that need missing data are skipped.

    `webhook` is a genuine webhook of the store: its headers (with lower-case names) and its raw body. `address` is an address to
    which a webhook of the store can be set up for a moment. `carts` fills carts of the store (`carts.py`). `other_currency` is a
    currency that is not the store's.
    """

    currency: str = "EUR"
    product_ids: tuple[str, ...] = ()
    customer_id: str | None = None
    email: str | None = None
    webhook: tuple[dict[str, str], bytes] | None = field(default=None, repr=False)
    address: str | None = None
    variant_ids: tuple[str, ...] = ()
    carts: Carts | None = None
    other_currency: str | None = None


class Sandbox:
    """One adapter and its store, for one case."""

    def __init__(
        self, adapter: StoreAdapterClass, data: SandboxData, time_limit: float, limiter: CallLimiter | None = None
    ) -> None:
        self.adapter_class = adapter
        self.data = data
        self.network = FaultyNetwork(limiter)
        self._time_limit = time_limit
        self._adapters: list[StoreAdapter] = []
        self._codes: set[str] = set()
        self.webhooks: list[StoreWebhook] = []
        """The webhooks that were created, to be deleted."""
        self.adapter = self.new_adapter()

    def new_adapter(self, time_limit: float | None = None) -> StoreAdapter:
        """A new adapter, as in a new process. Each of its outcomes is checked (`check_outcomes`)."""
        return check_outcomes(self._build(time_limit or self._time_limit))

    def _build(self, time_limit: float) -> StoreAdapter:
        clients = HttpClients(time_limit, self.network, self.network.wrap)
        self._adapters.append(self.adapter_class.from_environment(clients))
        return self._adapters[-1]

    def spec(self, **fields: Any) -> CouponSpec:  # Any: as above
        """A spec for a coupon of 5.00 with a new code and one use, changed by `fields`."""
        defaults = {
            "code": secrets.token_hex(6),  # as the Platform makes them
            "kind": CouponKind.FIXED_AMOUNT,
            "value": Decimal("5.00"),
            "currency": self.data.currency,
        }
        spec = CouponSpec(**{**defaults, **fields})
        self._codes.add(spec.code)
        return spec

    async def aclose(self) -> tuple[str, ...]:
        """Retire all coupons and delete all webhooks that were created, and close the connections. Returns the codes of the
        coupons, and the topics of the webhooks, that may be left in the store."""
        adapter = self._build(self._time_limit)
        left = [code for code in sorted(self._codes) if code.strip() and not await _retired(adapter, code)]
        left += [webhook.topic for webhook in self.webhooks if not await _deleted(adapter, webhook)]
        for adapter in self._adapters:
            await adapter.aclose()
        return tuple(left)

    # ------------------------------------------------------------------------------------------- steps

    async def issue(self, spec: CouponSpec, *, first_try: bool = True) -> str:
        """Issue the coupon and return its store id. Violation if the outcome is not Done."""
        outcome = await self.adapter.issue_coupon(replace(spec, first_try=first_try))
        if not isinstance(outcome, Done):
            raise Violation(f"issue_coupon returned {describe(outcome)} for a spec that the store supports")
        if not outcome.result.get("store_id"):
            raise Violation("Done.result contains no store_id")
        return outcome.result["store_id"]

    async def complete(self, spec: CouponSpec) -> None:
        """Issue the coupon again until it is Done, as the queue does. Then the store must have exactly this coupon."""
        outcome: Outcome | None = None
        for _ in range(MAX_ATTEMPTS):
            outcome = await self.adapter.issue_coupon(replace(spec, first_try=False))
            if not isinstance(outcome, Retry | Unknown):
                break
        if not isinstance(outcome, Done):
            raise Violation(f"the next attempts returned {describe(outcome)}")
        await self.expect_one(spec)

    async def expect_one(self, spec: CouponSpec) -> None:
        """Check that the store has the coupon, that it fits the spec, and that no second one is left after a retirement."""
        coupon = await self.find(spec.code)
        if coupon is None:
            raise Violation("the outcome was Done, but the store does not have the coupon")
        if different := differences(spec, coupon):
            raise Violation(f"the store's coupon differs from the spec: {describe_differences(different)}")
        outcome = await self.adapter.retire_coupon(spec.code)
        if not isinstance(outcome, Done):
            raise Violation(f"retire_coupon returned {describe(outcome)}")
        if await self.is_usable(spec.code):
            raise Violation("after the retirement, the store still has a coupon with this code: it was created twice")

    async def find(self, code: str) -> StoreCoupon | None:
        """Look up the coupon. Violation if the lookup fails."""
        result = await self.adapter.find_coupon(code)
        if result is not None and not isinstance(result, StoreCoupon):
            raise Violation(f"find_coupon returned {describe(result)}")
        return result

    async def is_usable(self, code: str) -> bool:
        coupon = await self.find(code)
        return coupon is not None and coupon.active

    async def calls_of_an_issue(self, *, first_try: bool = True) -> int:
        """The number of calls for a new coupon, without the calls whose results the adapter keeps."""
        await self.adapter.check()
        await self.issue(self.spec(), first_try=first_try)
        self.network.mark()
        await self.issue(self.spec(), first_try=first_try)
        return len(self.network.calls_since_mark)


async def _retired(adapter: StoreAdapter, code: str) -> bool:
    """Retire a coupon, with several attempts. False if it may still be usable; a broken adapter may also raise."""
    for _ in range(MAX_ATTEMPTS):
        try:
            if isinstance(await adapter.retire_coupon(code), Done):
                coupon = await adapter.find_coupon(code)
                return coupon is None or (isinstance(coupon, StoreCoupon) and not coupon.active)
        except Exception:  # noqa: BLE001  # the adapter's: it counts as not retired
            return False
    return False


async def _deleted(adapter: object, webhook: StoreWebhook) -> bool:
    try:
        return isinstance(adapter, SetsUpWebhooks) and isinstance(await adapter.delete_webhook(webhook), Done)
    except Exception:  # noqa: BLE001  # as above
        return False


def describe(outcome: object) -> str:
    """An outcome as text."""
    if isinstance(outcome, WITH_REASON):
        return f"{type(outcome).__name__} ({outcome.reason.code}: {outcome.reason.text})"
    return "None" if outcome is None else type(outcome).__name__


def describe_differences(different: Sequence[Difference]) -> str:
    """Differences as text."""
    return "; ".join(f"{item.field} is {item.actual}, expected {item.expected}" for item in different)


def rejected_fields(rejection: Reject) -> set[str]:
    """The fields of the spec in the facts of a rejection: `field`, and `field` of each of its `differences`."""
    facts = rejection.reason.facts
    different = facts.get("differences")
    rows = different if isinstance(different, list) else []
    return {
        *str(facts.get("field", "")).split(", "),
        *(str(row["field"]) for row in rows if isinstance(row, dict) and "field" in row),
    }


def in_30_days() -> datetime:
    """The time in 30 days, without fractions of a second."""
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() // 1 + 30 * 86_400, UTC)
