"""A coupon for some variants of a product alone, in every shop: for these and no others, or rejected by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from platform_relay.conformance.coupons import KINDS
from platform_relay.core.outcomes import Done, Reject
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores import ADAPTERS, adapter_class
from platform_relay.stores.base import CouponKind, CouponSpec, Difference, StoreCoupon, differences
from tests.contract.bench import Bench, differences_of, order

WANTED = order(kind=CouponKind.PERCENTAGE, value=Decimal("7.5"), currency=None, variant_ids=("71", "122"))
NONE: dict[str, Any] = {"edges": []}
KEPT: dict[str, Callable[[Bench], Any]] = {
    "generic_http": lambda bench: bench.simulator.state("relay", WANTED.code)["coupon"]["variant_ids"],
    "magento": lambda bench: only(bench, "rules")["action_condition"]["conditions"][0],
    "medusa": lambda bench: only(bench, "promotions")["application_method"]["target_rules"],
    "saleor": lambda bench: {name: only(bench, "vouchers")[name] for name in ("type", "products", "variants")},
    "shopify": lambda bench: only(bench, "coupons")["codeDiscount"]["customerGets"]["items"],
    "vendure": lambda bench: only(bench, "promotions")["actions"],
    "woocommerce": lambda bench: only(bench, "coupons")["product_ids"],
}
"""How the store's own books say what a coupon is for."""
AS_ORDERED: dict[str, Any] = {
    "generic_http": ["71", "122"],
    "magento": {
        "condition_type": "Magento\\SalesRule\\Model\\Rule\\Condition\\Product", "attribute_name": "sku",
        "operator": "()", "value": "SKU-71,SKU-122",
    },
    "medusa": [
        {"attribute": "items.variant.id", "operator": "in", "values": [{"value": "71"}, {"value": "122"}]}
    ],
    "saleor": {
        "type": "SPECIFIC_PRODUCT",
        "products": {**NONE, "pageInfo": {"hasNextPage": False, "endCursor": None}},
        "variants": {
            "edges": [{"node": {"id": "71"}}, {"node": {"id": "122"}}], "pageInfo": {"hasNextPage": False, "endCursor": None},
        },
    },
    "shopify": {
        "__typename": "DiscountProducts", "products": {"nodes": [], "pageInfo": {"hasNextPage": False}},
        "productVariants": {
            "nodes": [{"id": f"gid://shopify/ProductVariant/{each}"} for each in ("71", "122")],
            "pageInfo": {"hasNextPage": False},
        },
    },
    "vendure": [
        {"code": "products_percentage_discount",
         "args": [{"name": "discount", "value": "7.5"}, {"name": "productVariantIds", "value": '["122", "71"]'}]}
    ],
    "woocommerce": [71, 122],
}  # fmt: skip
FORGETFUL: dict[str, dict[str, Any]] = {
    "generic_http": {"variant_ids": []},
    "magento": {"action_condition": None},
    "medusa": {"target_rules": []},
    "saleor": {"variants": NONE},
    "shopify": {"customerGets": {"value": {"percentage": 0.075}, "items": {"all": True}}},
    "vendure": {"productVariantIds": "[]"},
    "woocommerce": {"product_ids": []},
}
"""What a store stores in place of the restriction, with success."""


def only(bench: Bench, kind: str) -> Any:
    (row,) = bench.simulator.state(kind)
    return row


async def read_back(bench: Bench) -> StoreCoupon:
    found = await bench.adapter.find_coupon(WANTED.code)
    assert isinstance(found, StoreCoupon), found
    return found


able = pytest.mark.parametrize("bench", sorted(KEPT), indirect=True)


def test_every_shop_that_can_is_tried() -> None:
    assert set(KEPT) == {name for name in ADAPTERS if "variant_ids" not in adapter_class(name).CANNOT}


async def test_it_is_for_these_alone_or_rejected_by_name(bench: Bench) -> None:
    outcome = await bench.adapter.issue_coupon(WANTED)
    if "variant_ids" in adapter_class(bench.name).CANNOT:
        assert isinstance(outcome, Reject), outcome
        assert outcome.reason.code is ReasonCode.NOT_SUPPORTED_BY_STORE
        assert "variant_ids" in str(outcome.reason.facts["field"])
        assert bench.made() == 0
        return
    assert isinstance(outcome, Done), outcome
    assert KEPT[bench.name](bench) == AS_ORDERED[bench.name]
    assert differences(WANTED, await read_back(bench)) == ()


OTHERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"variant_ids": ("71",)}, {"variant_ids": ("72",)}),
    ({"variant_ids": ("71",)}, {"variant_ids": ("71", "122")}),
    ({"variant_ids": ("71", "122")}, {"variant_ids": ("71",)}),
    ({"variant_ids": ("71",)}, {"product_ids": ("7",)}),
    ({"product_ids": ("7",)}, {"variant_ids": ("71",)}),
    ({"variant_ids": ("71",)}, {}),
    ({}, {"variant_ids": ("71",)}),
]


@able
@pytest.mark.parametrize(("held", "asked"), OTHERS)
async def test_the_code_for_other_items_is_another_coupon(
    bench: Bench, held: dict[str, Any], asked: dict[str, Any]
) -> None:
    plain = replace(WANTED, variant_ids=())
    assert isinstance(await bench.adapter.issue_coupon(replace(plain, **held)), Done)
    outcome = await bench.adapter.issue_coupon(replace(plain, **asked))
    assert isinstance(outcome, Reject), outcome
    assert outcome.reason.code is ReasonCode.CODE_TAKEN
    assert {each["field"] for each in differences_of(outcome)} & {"product_ids", "variant_ids"}
    assert bench.made() == 1
    assert differences(replace(plain, **held), await read_back(bench)) == ()


@able
@pytest.mark.parametrize("first_try", [True, False])
async def test_a_shop_that_forgets_the_variants_makes_no_coupon_for_all(bench: Bench, first_try: bool) -> None:
    bench.simulator.config(distort=FORGETFUL[bench.name])
    outcome = await bench.adapter.issue_coupon(replace(WANTED, first_try=first_try))
    assert isinstance(outcome, Reject), outcome
    assert outcome.reason.code is ReasonCode.COUPON_DIFFERS
    (forgotten,) = (each for each in differences_of(outcome) if each["field"] == "variant_ids")
    assert forgotten["actual"] is None
    assert forgotten["expected"]
    assert not await bench.usable()


@able
@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_is_for_these_alone_or_rejected(bench: Bench, kind: CouponKind) -> None:
    wanted = replace(WANTED, kind=kind, **{"currency": "EUR", **KINDS[kind]})
    outcome = await bench.adapter.issue_coupon(wanted)
    if isinstance(outcome, Done):
        assert differences(wanted, await read_back(bench)) == ()
        assert differences(replace(wanted, variant_ids=()), await read_back(bench)) != ()
    else:
        assert isinstance(outcome, Reject), outcome
        assert outcome.reason.code is ReasonCode.NOT_SUPPORTED_BY_STORE
        assert {"variant_ids", "kind"} & set(str(outcome.reason.facts["field"]).split(", "))
        assert bench.made() == 0


LIMITED_SHIPPING = ("generic_http", "vendure", "woocommerce")
"""Where free shipping for certain items is for carts that hold them."""


@able
@pytest.mark.parametrize("items", [{"product_ids": ("7",)}, {"variant_ids": ("71",)}])
async def test_free_shipping_for_certain_items_is_never_for_all(bench: Bench, items: dict[str, Any]) -> None:
    """Saleor and Shopify keep the products of no such coupon, and Magento looks at a variant's product."""
    wanted = order(kind=CouponKind.FREE_SHIPPING, value=None, currency=None, **items)
    outcome = await bench.adapter.issue_coupon(wanted)
    if bench.name in LIMITED_SHIPPING or (bench.name == "magento" and wanted.product_ids):
        assert isinstance(outcome, Done), outcome
    else:
        assert isinstance(outcome, Reject), outcome
        assert bench.made() == 0


@pytest.mark.parametrize("bench", ["vendure", "magento"], indirect=True)
async def test_a_variant_that_the_shop_has_not_is_named(bench: Bench) -> None:
    bench.simulator.control("seed", products=[{"id": 71, "sku": "MUG"}])
    outcome = await bench.adapter.issue_coupon(replace(WANTED, variant_ids=("71", "1222")))
    assert isinstance(outcome, Reject), outcome
    assert outcome.reason.code is ReasonCode.COUPON_INVALID
    assert outcome.reason.facts["field"] == "variant_ids"
    assert outcome.reason.facts["problem"] == "the store has no variant 1222"
    assert bench.made() == 0


@pytest.mark.parametrize("bench", ["shopify", "woocommerce"], indirect=True)
async def test_an_id_of_another_shop_is_rejected(bench: Bench) -> None:
    outcome = await bench.adapter.issue_coupon(replace(WANTED, variant_ids=("UHJvZHVjdDo3MQ==",)))
    assert isinstance(outcome, Reject), outcome
    assert outcome.reason.code is ReasonCode.COUPON_INVALID
    assert outcome.reason.facts["field"] == "variant_ids"
    assert "UHJvZHVjdDo3MQ==" in str(outcome.reason.facts["problem"])
    assert bench.simulator.ledger() == []


# ---------------------------------------------------------------------------------------------- Vendure's one list


async def vendures(bench: Bench, wanted: CouponSpec, ids: list[str] | None = None) -> tuple[Difference, ...]:
    """The differences of a coupon whose list the merchant has changed to `ids`."""
    assert isinstance(await bench.adapter.issue_coupon(wanted), Done)
    row = only(bench, "promotions")
    if ids is not None:
        row["actions"][0]["args"][1]["value"] = json.dumps(ids)
        bench.simulator.control("seed", promotions=[row])
    return differences(wanted, await read_back(bench))


PRODUCT = replace(WANTED, variant_ids=(), product_ids=("7",))


@pytest.mark.parametrize("bench", ["vendure"], indirect=True)
@pytest.mark.parametrize(
    ("ids", "different"),
    [
        (None, ()),
        (["72", "71"], ()),
        (["71"], (Difference("product_ids", "variant 71", "7"),)),
        (["71", "72", "121"], (Difference("product_ids", "7, variant 121", "7"),)),
        ([], (Difference("product_ids", None, "7"),)),
    ],
)
async def test_a_product_is_all_of_its_variants(
    bench: Bench, ids: list[str] | None, different: tuple[Difference, ...]
) -> None:
    assert await vendures(bench, PRODUCT, ids) == different


@pytest.mark.parametrize("bench", ["vendure"], indirect=True)
async def test_a_variant_that_came_later_is_not_missed(bench: Bench) -> None:
    """The coupon is what was made; an alert for every coupon of the product would tell nothing about it."""
    assert await vendures(bench, PRODUCT) == ()
    bench.simulator.config(added=["73"])
    assert differences(PRODUCT, await read_back(bench)) == ()


@pytest.mark.parametrize("bench", ["vendure"], indirect=True)
async def test_all_variants_may_be_ordered_as_variants(bench: Bench) -> None:
    both = replace(WANTED, variant_ids=("72", "71"))
    assert await vendures(bench, both) == ()
    assert isinstance(await bench.adapter.issue_coupon(both), Done)
    assert bench.made() == 1
