"""What the coupons of each store are worth in a cart that also has other items, and the table of docs/coupons.md about it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from platform_relay.core.outcomes import Done, Outcome, Reject
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores import ADAPTERS
from platform_relay.stores.base import CouponKind, StoreCoupon, differences
from simulators.process import Simulator
from tests.contract.bench import CODE, Bench, order
from tests.contract.doubles.carts import Line, total_of

PAGE = Path(__file__).parents[2] / "docs" / "coupons.md"
BEGIN, END = "<!-- made by tests/contract/test_carts.py -->\n", "<!-- end of the table of carts -->"
MUG, LARGE_MUG = Line("7", "71", Decimal(10), 2), Line("7", "72", Decimal(9))
CUP, FOREIGN = Line("12", "121", Decimal(8)), Line("3", "31", Decimal(20))
CART = (MUG, CUP, FOREIGN)
FIXED, PERCENTAGE, SHIPPING, FREE = (
    CouponKind.FIXED_AMOUNT, CouponKind.PERCENTAGE, CouponKind.FREE_SHIPPING, CouponKind.FREE_PRODUCT,
)  # fmt: skip
VALUES: Mapping[CouponKind, Decimal | None] = {FIXED: Decimal(6), PERCENTAGE: Decimal(50), SHIPPING: None, FREE: None}
RESTRICTIONS: Mapping[str, dict[str, Any]] = {
    "the whole order": {}, "certain products": {"product_ids": ("7", "12")}, "certain variants": {"variant_ids": ("71", "121")},
}  # fmt: skip
ANY_CASE = {
    "bigcommerce": True, "generic_http": False, "magento": True, "medusa": False, "saleor": False, "shopify": True,
    "vendure": True, "woocommerce": True,
}  # fmt: skip
"""Whether the store's customers may enter a code in upper and in lower case."""


async def issued(bench: Bench, **fields: Any) -> Outcome:
    """Done with the coupon as ordered, or a Reject that names a field, and then the store has nothing."""
    wanted = order(first_try=True, **fields)
    bench.simulator.reset()
    outcome = await bench.adapter.issue_coupon(wanted)
    found = await bench.adapter.find_coupon(wanted.code)
    if isinstance(outcome, Done):
        assert isinstance(found, StoreCoupon), found
        assert differences(wanted, found) == ()
        return outcome
    assert isinstance(outcome, Reject), outcome
    assert outcome.reason.facts["field"]
    assert found is None or (isinstance(found, StoreCoupon) and not found.active)
    return outcome


def of(fields: Mapping[str, tuple[str, ...]], lines: tuple[Line, ...]) -> tuple[Line, ...]:
    ids = {item for items in fields.values() for item in items}
    return tuple(line for line in lines if not ids or line.ids & ids)


@pytest.mark.parametrize("restriction", RESTRICTIONS)
@pytest.mark.parametrize("kind", [FIXED, PERCENTAGE, FREE])
async def test_a_coupon_for_certain_items_is_worth_nothing_on_others(
    bench: Bench, kind: CouponKind, restriction: str
) -> None:
    """Never more than these items cost, whatever else is in the cart; nothing in a cart without them."""
    items = RESTRICTIONS[restriction]
    if kind is FREE and not items:
        return
    value = Decimal(50) if kind is FIXED else VALUES[kind]
    items = {name: ids[:1] for name, ids in items.items()} if kind is FREE else items
    if isinstance(await issued(bench, kind=kind, value=value, **items), Reject):
        assert items or kind not in (FIXED, PERCENTAGE)
        return
    most = total_of(of(items, CART))
    assert 0 < bench.cart(CODE, *CART) <= min(most, value or most)
    assert bench.cart(CODE, *of(items, CART)) == bench.cart(CODE, *CART)
    if items:
        assert bench.cart(CODE, FOREIGN) == 0


async def test_the_amount_is_taken_off_once(bench: Bench) -> None:
    """20.00 for a product that costs 7.00, with another one in the cart: 7.00. 6.00 off several units: 6.00."""
    one, other = Line("7", "71", Decimal(7)), Line("3", "31", Decimal(13), 2)
    if isinstance(await issued(bench, value=Decimal("20.00"), product_ids=("7",)), Reject):
        return
    assert bench.cart(CODE, one, other) == 7
    await issued(bench, value=Decimal("6.00"), product_ids=("7",))
    assert bench.cart(CODE, replace(one, quantity=3), other) == 6
    assert bench.cart(CODE, replace(one, quantity=3), replace(one, variant="72"), other) == 6


async def test_a_minimum_spend_counts_in_the_cart(bench: Bench) -> None:
    for kind in (FIXED, PERCENTAGE, SHIPPING):
        outcome = await issued(bench, kind=kind, value=VALUES[kind], minimum_spend=Decimal("30.00"))
        assert isinstance(outcome, Done), outcome
        assert bench.cart(CODE, FOREIGN) == 0
        assert bench.cart(CODE, FOREIGN, CUP, CUP) > 0


async def test_the_code_works_as_the_platform_shows_it(bench: Bench) -> None:
    """Also in upper case where the store's customers may enter it so; then its case is not compared, otherwise it is."""
    assert isinstance(await issued(bench), Done)
    found = await bench.adapter.find_coupon(CODE)
    assert isinstance(found, StoreCoupon)
    assert bench.cart(CODE, FOREIGN) == 5
    assert (bench.cart(CODE.upper(), FOREIGN) == 5) is ANY_CASE[bench.name]
    assert found.any_case is ANY_CASE[bench.name]
    other = replace(found, code=CODE.upper())
    assert [each.field for each in differences(order(), other)] == ([] if ANY_CASE[bench.name] else ["code"])


# -------------------------------------------------------------------------------------------------------- the table


def same(saved: Decimal, *expected: int | str) -> bool:
    return saved in [Decimal(each) for each in expected]


async def meaning(bench: Bench, kind: CouponKind, restriction: str) -> str:  # noqa: PLR0911  # a table of kinds
    """What such a coupon means in the store, as measured in carts."""
    items = RESTRICTIONS[restriction]
    if kind is FREE and not items:
        return "–"
    outcome = await issued(bench, kind=kind, value=VALUES[kind], **items)
    several = True
    if kind is FREE and isinstance(outcome, Reject):
        several = False
        items = {name: ids[:1] for name, ids in items.items()}
        outcome = await issued(bench, kind=kind, value=None, **items)
    if isinstance(outcome, Reject):
        return "rejected"
    saved = bench.cart(CODE, *CART)
    match kind:
        case CouponKind.FREE_SHIPPING:
            whole = same(saved, "4.90")
            with_one = (
                f"{'the whole shipping' if whole else 'the shipping of these items'}, with one of them in the cart"
            )
            return with_one if items else "the whole shipping"
        case CouponKind.PERCENTAGE:
            assert same(saved, 24 if not items else 14)
            return "each unit"
        case CouponKind.FREE_PRODUCT:
            lines = bench.cart(CODE, MUG, LARGE_MUG, FOREIGN)
            unit = {10: "the dearest unit", 8: "the cheapest unit"}.get(int(saved), "another unit")
            unit = unit if several else "one product only: one unit"
            return f"{unit} of each line" if "product_ids" in items and lines == 19 else unit
    assert saved == 6, "an amount is taken off once"
    assert isinstance(await issued(bench, kind=kind, value=Decimal(50), **items), Done)
    most = bench.cart(CODE, *CART)
    if not items:
        assert most == 48
        return "once"
    return {28: "once, off all units together", 10: "once, off the dearest unit", 8: "once, off the cheapest unit"}[
        int(most)
    ]


async def test_the_table_of_carts_is_what_the_stores_do(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """`WRITE_DOCS=1 pytest tests/contract/test_carts.py` writes it."""
    names = sorted(ADAPTERS)
    cells: dict[tuple[CouponKind, str, str], str] = {}
    for name in names:
        bench = Bench(name, simulator, monkeypatch)
        for kind in VALUES:
            for restriction in RESTRICTIONS:
                cells[kind, restriction, name] = await meaning(bench, kind, restriction)
        await bench.aclose()
    lines = ["| | " + " | ".join(f"`{name}`" for name in names) + " |", "|---" * (len(names) + 1) + "|"]
    for kind in VALUES:
        for restriction in RESTRICTIONS:
            row = [cells[kind, restriction, name] for name in names]
            if set(row) != {"–"}:
                lines.append(f"| {kind.replace('_', ' ')}, {restriction} | " + " | ".join(row) + " |")
    table = "\n".join(lines) + "\n"
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(f"{before}{BEGIN}{table}{END}{after}")
    assert f"{BEGIN}{table}{END}" in PAGE.read_text()


def test_every_store_has_a_declared_case() -> None:
    assert set(ANY_CASE) == set(ADAPTERS)


# -------------------------------------------------------------------------------------------- currencies, clocks


def sell_in(bench: Bench, currency: str) -> None:
    """The store's only currency."""
    match bench.name:
        case "saleor":
            bench.set("CHANNEL", currency.lower())
        case "medusa":
            bench.simulator.config(currencies=[currency.lower()])
        case "vendure":
            bench.simulator.config(currencies=[currency])
        case "generic_http":
            bench.simulator.config(distort={"currency": currency})
        case _:
            bench.simulator.config(currency=currency)
    bench.adapter = bench.build()


@pytest.mark.parametrize("first_try", [True, False])
@pytest.mark.parametrize("kind", [FIXED, PERCENTAGE, SHIPPING])
async def test_no_amount_in_another_currency_is_taken_one_to_one(
    bench: Bench, kind: CouponKind, first_try: bool
) -> None:
    """Neither the value nor the minimum spend. The endpoint of a merchant shows its currency in its response."""
    sell_in(bench, "JPY")
    minimum = None if kind is FIXED else Decimal(30)
    wanted = order(kind=kind, value=VALUES[kind], minimum_spend=minimum, first_try=first_try)
    outcome = await bench.adapter.issue_coupon(wanted)
    assert isinstance(outcome, Reject), outcome
    its_own = bench.name == "generic_http"
    assert outcome.reason.code is (ReasonCode.COUPON_DIFFERS if its_own else ReasonCode.CURRENCY_MISMATCH)
    assert not await bench.usable()


@pytest.mark.parametrize("bench", ["magento", "medusa", "vendure"], indirect=True)
@pytest.mark.parametrize("kind", [FIXED, PERCENTAGE, SHIPPING])
async def test_an_amount_counts_in_its_own_currency_only_where_the_store_has_several(
    bench: Bench, kind: CouponKind
) -> None:
    several: dict[str, dict[str, Any]] = {"magento": {"other_currency": "USD"}, "medusa": {"currencies": ["eur", "usd"]},
               "vendure": {"currencies": ["EUR", "USD"]}}  # fmt: skip
    bench.simulator.config(**several[bench.name])
    bench.adapter = bench.build()
    outcome = await issued(bench, kind=kind, value=VALUES[kind], minimum_spend=Decimal(15))
    if isinstance(outcome, Reject):
        assert outcome.reason.facts["field"] == "currency"
        return
    assert bench.cart(CODE, FOREIGN) > 0
    assert bench.cart(CODE, FOREIGN, currency="USD") == 0


@pytest.mark.parametrize("ahead", [3, 300, -300])
async def test_the_clock_of_the_store_is_not_ours(bench: Bench, ahead: int) -> None:
    """A new coupon is valid at once, by the store's clock as by ours, and is not taken for one that starts later."""
    if bench.name in ("saleor", "shopify", "magento"):  # the stores that set a start
        bench.simulator.config(clock_ahead=ahead)
    for first_try in (True, False):
        outcome = await bench.adapter.issue_coupon(order(first_try=first_try))
        assert isinstance(outcome, Done), outcome
        found = await bench.adapter.find_coupon(CODE)
        assert isinstance(found, StoreCoupon)
        assert differences(order(), found) == ()
        assert bench.cart(CODE, FOREIGN, ahead=ahead) == 5


# ------------------------------------------------------------------------------------------------------- leftovers

FIRST_CALL = {"magento": ("POST", "^/rest/V1/salesRules$"), "saleor": ("POST", "^/graphql/CreateVoucher$")}
LAST_CALL = {"magento": ("POST", "^/rest/V1/coupons$"), "saleor": ("POST", "^/graphql/ListVoucher$")}


@pytest.mark.parametrize("calls", [FIRST_CALL, LAST_CALL], ids=["first", "last"])
async def test_a_refusal_after_a_lost_response_leaves_nothing_in_the_store(
    bench: Bench, calls: dict[str, tuple[str, str]]
) -> None:
    """The response to one of the calls of a creation is lost, and the next attempt is refused. As in the issue of a coupon, one
    that carries the redemption's reference is then retired."""
    wanted = order(reference="6f9619ff-8b86-d011-b42d-00cf4fc964ff")
    bench.misbehave(calls.get(bench.name, bench.shop.create), mode="apply_then", status=500, body="")
    await bench.adapter.issue_coupon(replace(wanted, first_try=True))
    refused = await bench.adapter.issue_coupon(replace(wanted, currency="JPY", minimum_spend=Decimal(1)))
    assert isinstance(refused, Reject), refused
    found = await bench.adapter.find_coupon(wanted.code)
    if isinstance(found, StoreCoupon) and found.reference == wanted.reference:
        assert isinstance(await bench.adapter.retire_coupon(wanted.code), Done)
    kind = {"saleor": "vouchers", "magento": "rules", "medusa": "promotions", "vendure": "promotions"}.get(
        bench.name, "coupons"
    )
    assert bench.simulator.state(kind) == []
    assert not await bench.usable()
