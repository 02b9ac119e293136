"""What a coupon of each store is worth in a cart: pure functions over the coupon as the store's double holds it.

Each follows the store's own calculation: WC_Discounts (WooCommerce 9.9), the CartFixed and ByPercent calculators (Magento 2.4),
vouchers with `applyOncePerOrder` (Saleor 3.23), `appliesOnEachItem` (Shopify), the allocations of a promotion (Medusa 2.21),
the order and line actions (Vendure 3.7), and the documented meaning of the fields (BigCommerce, the relay's own protocol).
A store whose calculation is not documented takes the amount off everything, so that no adapter relies on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from simulators.call import Json

ZERO = Decimal(0)


@dataclass(frozen=True)
class Line:
    """So many units of one variant at a price."""

    product: str
    variant: str
    price: Decimal
    quantity: int = 1

    @property
    def total(self) -> Decimal:
        return self.price * self.quantity

    @property
    def ids(self) -> set[str]:
        return {self.product, self.variant}


@dataclass(frozen=True)
class Cart:
    """A cart at a moment of the store's clock, in a currency, with what the shipping costs. All prices include the tax."""

    lines: tuple[Line, ...]
    at: datetime
    currency: str = "EUR"
    shipping: Decimal = Decimal("4.90")
    tax: Decimal = Decimal("0.20")

    @property
    def total(self) -> Decimal:
        return sum((line.total for line in self.lines), ZERO)

    def of(self, ids: Collection[str]) -> tuple[Line, ...]:
        """The lines of these products or variants; all lines if there are none."""
        return tuple(line for line in self.lines if not ids or line.ids & set(ids))

    def has_one_of(self, ids: Collection[str]) -> bool:
        return bool(self.of(ids))


def total_of(lines: Sequence[Line]) -> Decimal:
    return sum((line.total for line in lines), ZERO)


def one_unit(amount: Decimal, lines: Sequence[Line], *, dearest: bool) -> Decimal:
    """The amount off one unit, and not more than its price."""
    prices = [line.price for line in lines]
    return min(amount, max(prices) if dearest else min(prices)) if prices else ZERO


def discount(store: str, rows: Sequence[Json], code: str, cart: Cart) -> Decimal:
    """What the code takes off the cart, shipping included; 0 if the store does not accept it. `rows`: all that the double holds."""
    return CALCULATIONS[store](rows, code, cart)


def woocommerce(rows: Sequence[Json], code: str, cart: Cart) -> Decimal:
    row = next((row for row in rows if row["code"].casefold() == code.casefold()), None)
    if row is None or row["status"] != "publish":
        return ZERO
    ids = [str(item) for item in row["product_ids"]]
    if Decimal(row["minimum_amount"]) > cart.total or not cart.has_one_of(ids):
        return ZERO
    amount, items = Decimal(row["amount"]), row["limit_usage_to_x_items"]
    off = cart.shipping if row["free_shipping"] else ZERO
    match row["discount_type"]:
        case "fixed_cart":
            return min(amount, cart.total) + off
        case "fixed_product" | "percent" as kind:
            left, saved = items, off
            for line in sorted(cart.of(ids), key=lambda line: -line.price):
                units = line.quantity if items is None else min(left, line.quantity)
                left = None if items is None else left - units
                saved += units * (line.price * amount / 100 if kind == "percent" else min(amount, line.price))
            return saved
    raise AssertionError(row)


def generic_http(rows: Sequence[Json], code: str, cart: Cart) -> Decimal:
    """The relay's protocol: an amount is taken off once, and not more than the items for which the coupon is."""
    row = next((row["coupon"] for row in rows if row["coupon"]["code"] == code and row["state"] == "active"), None)
    if row is None:
        return ZERO
    lines = cart.of([*row["product_ids"], *row["variant_ids"]])
    amounts = row["kind"] == "fixed_amount" or row["minimum_spend"]
    if Decimal(row["minimum_spend"] or 0) > cart.total or (amounts and row["currency"] != cart.currency):
        return ZERO
    match row["kind"]:
        case "fixed_amount":
            return min(Decimal(row["value"]), total_of(lines))
        case "percentage":
            return total_of(lines) * Decimal(row["value"]) / 100
        case "free_shipping":
            return cart.shipping if lines else ZERO
        case "free_product":
            return one_unit(cart.total, lines, dearest=False)
    raise AssertionError(row)


def magento(rows: Sequence[Json], code: str, cart: Cart) -> Decimal:
    """`rows` are the rules with their coupons. An action condition is on SKUs; the double's SKU has the id in it."""
    rule = next((row for row in rows if row["code"].casefold() == code.casefold() and row["is_active"]), None)
    if rule is None or (rule.get("from_date") and date.fromisoformat(rule["from_date"]) > cart.at.date()):
        return ZERO
    conditions = rule["condition"].get("conditions") or []
    if any(Decimal(each["value"]) > cart.total for each in conditions):
        return ZERO
    skus = [each["value"] for each in rule["action_condition"].get("conditions") or []]
    lines = cart.of([sku.removeprefix("SKU-") for value in skus for sku in value.split(",")])
    amount = Decimal(str(rule["discount_amount"]))
    if rule["simple_free_shipping"] != "0":
        return cart.shipping * Decimal(len(lines)) / len(cart.lines)  # only these items are shipped free
    if rule["simple_action"] == "cart_fixed":
        return min(amount, total_of(lines))
    left = rule["discount_qty"] or None
    return (
        sum(((line.price * (min(left, line.quantity) if left else line.quantity)) for line in lines), ZERO)
        * amount
        / 100
    )


def saleor(rows: Sequence[Json], code: str, cart: Cart) -> Decimal:  # noqa: PLR0911  # a table of types
    def nodes(value: Json) -> list[Json]:
        return [edge["node"] for edge in value["edges"]]

    row = next((row for row in rows if any(each["code"] == code for each in nodes(row["codes"]))), None)
    listing = (
        next((each for each in row["channelListings"] if each["currency"] == cart.currency), None) if row else None
    )
    if row is None or listing is None or datetime.fromisoformat(row["startDate"]) > cart.at:
        return ZERO
    least = (listing["minSpent"] or {}).get("amount") or 0
    if Decimal(str(least)) > cart.total:
        return ZERO
    lines = cart.of([each["id"] for name in ("products", "variants") for each in nodes(row[name])])
    value, percent = Decimal(str(listing["discountValue"])), row["discountValueType"] == "PERCENTAGE"
    if row["type"] == "SHIPPING":
        return cart.shipping * value / 100
    if row["type"] == "ENTIRE_ORDER":
        return cart.total * value / 100 if percent else min(value, cart.total)
    if row["applyOncePerOrder"]:
        cheapest = one_unit(cart.total, lines, dearest=False)
        return cheapest * value / 100 if percent else min(value, cheapest)
    if percent:
        return total_of(lines) * value / 100
    return sum((min(value, line.price) * line.quantity for line in lines), ZERO)


def shopify(rows: Sequence[Json], code: str, cart: Cart) -> Decimal:
    found = (row["codeDiscount"] for row in rows)
    row = next((row for row in found if row["codes"]["nodes"][0]["code"].casefold() == code.casefold()), None)
    if row is None or datetime.fromisoformat(row["startsAt"]) > cart.at:
        return ZERO
    gets = row.get("customerGets")
    chosen = gets["items"] if gets else {}
    ids = [each["id"].rpartition("/")[2] for name in ("products", "productVariants")
           for each in chosen.get(name, {}).get("nodes", [])]  # fmt: skip
    lines, least = cart.of(ids), row["minimumRequirement"]
    if least and Decimal(least["greaterThanOrEqualToSubtotal"]["amount"]) > total_of(lines):
        return ZERO
    if gets is None:
        return cart.shipping
    value = gets["value"]
    if value["__typename"] == "DiscountPercentage":
        return total_of(lines) * Decimal(str(value["percentage"]))
    amount = Decimal(value["amount"]["amount"])
    if value["appliesOnEachItem"]:
        return sum((min(amount, line.price) * line.quantity for line in lines), ZERO)
    return min(amount, total_of(lines))


def bigcommerce(rows: Sequence[Json], code: str, cart: Cart) -> Decimal:
    row = next((row for row in rows if row["code"].casefold() == code.casefold() and row["enabled"]), None)
    if row is None or Decimal(row["min_purchase"]) > cart.total:
        return ZERO
    applies = row["applies_to"]
    lines = cart.of([str(item) for item in applies["ids"]] if applies["entity"] == "products" else ())
    amount = Decimal(row["amount"])
    match row["type"]:
        case "percentage_discount":
            return total_of(lines) * amount / 100
        case "per_total_discount":
            return min(amount, cart.total)
        case "free_shipping":
            return cart.shipping
    raise AssertionError(row)


def medusa(rows: Sequence[Json], code: str, cart: Cart) -> Decimal:
    row = next((row for row in rows if row["code"] == code and row["status"] == "active"), None)
    if row is None:
        return ZERO
    method, campaign = row["application_method"], row["campaign"] or {}
    starts = campaign.get("starts_at")
    if method["currency_code"] not in (None, cart.currency.lower()) or (
        starts and datetime.fromisoformat(starts) > cart.at
    ):
        return ZERO
    for rule in row["rules"]:
        if rule["attribute"] == "original_item_total" and Decimal(rule["values"][0]["value"]) > cart.total:
            return ZERO
    ids = [each["value"] for rule in method["target_rules"] for each in rule["values"]]
    lines, value = cart.of(ids), Decimal(str(method["value"]))
    if method["target_type"] == "shipping_methods":
        return cart.shipping * value / 100
    if method["allocation"] == "once":
        return one_unit(cart.total, lines, dearest=False) * value / 100
    tax = ZERO if row["is_tax_inclusive"] else cart.tax  # of a fixed amount
    return min(value * (1 + tax), total_of(lines)) if method["type"] == "fixed" else total_of(lines) * value / 100


def vendure(rows: Sequence[Json], code: str, cart: Cart) -> Decimal:
    """All promotions of a code add up."""
    return sum((_vendure(row, cart) for row in rows if row["couponCode"].casefold() == code.casefold()), ZERO)


def _vendure(row: Json, cart: Cart) -> Decimal:  # noqa: C901, PLR0911  # a table of operations
    def arguments(operation: Json) -> dict[str, str]:
        return {pair["name"]: pair["value"] for pair in operation["args"]}

    if not row["enabled"] or (row["startsAt"] and datetime.fromisoformat(row["startsAt"]) > cart.at):
        return ZERO
    ids: list[str] = []
    for condition in row["conditions"]:
        given = arguments(condition)
        if condition["code"] == "minimum_order_amount" and Decimal(given["amount"]) / 100 > cart.total:
            return ZERO
        ids += json.loads(given.get("productVariantIds") or given.get("variantIdsX") or "[]")
    if not cart.has_one_of(ids):
        return ZERO
    action, given = row["actions"][0]["code"], arguments(row["actions"][0])
    match action:
        case "order_fixed_discount":
            return min(Decimal(given["discount"]) / 100, cart.total)
        case "order_percentage_discount":
            return cart.total * Decimal(given["discount"]) / 100
        case "products_percentage_discount":
            return total_of(cart.of(json.loads(given["productVariantIds"]))) * Decimal(given["discount"]) / 100
        case "free_shipping":
            return cart.shipping
        case "buy_x_get_y_free":
            return one_unit(cart.total, cart.of(ids), dearest=False)
    raise AssertionError(row)


CALCULATIONS: Mapping[str, Callable[[Sequence[Json], str, Cart], Decimal]] = {
    "woocommerce": woocommerce, "generic_http": generic_http, "magento": magento, "saleor": saleor,
    "shopify": shopify, "bigcommerce": bigcommerce, "medusa": medusa, "vendure": vendure,
}  # fmt: skip
KINDS = {
    "saleor": "vouchers",
    "medusa": "promotions",
    "vendure": "promotions",
    "generic_http": "relay",
    "magento": "rules",
}
"""What the double's state calls its coupons; otherwise `coupons`."""
ZONES = {"magento": ZoneInfo("Europe/Berlin")}


def rows_of(store: str, state: Callable[[str], Any]) -> list[Json]:
    """The coupons that the double holds. Magento's rules get the codes of their coupons; a rule without one never applies."""
    rows = state(KINDS.get(store, "coupons"))
    rows = list(rows.values()) if isinstance(rows, dict) else rows
    if store != "magento":
        return rows
    codes = {coupon["rule_id"]: coupon["code"] for coupon in state("coupons")}
    return [{**rule, "code": codes[rule["rule_id"]]} for rule in rows if rule["rule_id"] in codes]


def moment(store: str, now: datetime, ahead: float) -> datetime:
    """The time by the store's clock, which is so many seconds ahead of the relay's."""
    return (now + timedelta(seconds=ahead)).astimezone(ZONES.get(store))
