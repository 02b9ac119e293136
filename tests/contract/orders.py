"""One order in the shape of every store, with prices that include tax and with prices that do not.

    1 × Salt mill     32.50 with tax
    2 × Pepper mill   45.00 with tax each
    code SPRING-10    10 % off the items: 12.25 with tax
    shipping           5.00 with tax

With prices that include tax, the rate is 19 %: the net amounts are rounded, as in a real store. With prices that do not include
tax, it is 25 %: 26.00, 36.00, 9.80 and 4.00 without tax.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from platform_relay.core import exact_json
from platform_relay.inbox.events import EventKind, OrderEvent
from platform_relay.stores.bigcommerce.events import order_event
from platform_relay.stores.magento import events as magento
from platform_relay.stores.medusa import events as medusa
from platform_relay.stores.native import NativeEvent
from platform_relay.stores.saleor import events as saleor
from platform_relay.stores.shopify import events as shopify
from platform_relay.stores.vendure import events as vendure
from platform_relay.stores.woocommerce import events as woocommerce

PAYLOADS = Path(__file__).parent / "payloads"
TIME = "2026-11-23T05:00:00Z"
Json = dict[str, Any]


@dataclass(frozen=True)
class Tax:
    """The amounts of the order: the two lines, their discounts and the shipping, without tax and with it."""

    included: bool
    rate: str
    net: tuple[str, str]
    discount_net: tuple[str, str]
    shipping_net: str
    gross: tuple[str, str] = ("32.50", "90.00")
    discount_gross: tuple[str, str] = ("3.25", "9.00")
    shipping_gross: str = "5.00"

    def shown(self, net: str, gross: str) -> str:
        """The amount as a store shows it that has one kind of prices."""
        return gross if self.included else net

    def of(self, name: str) -> tuple[str, str]:
        """The amounts of both lines, as a store shows them that has one kind of prices."""
        pair: tuple[str, str] = getattr(self, name)
        return pair if self.included else getattr(self, name.replace("gross", "net"))


TAXES = {
    "included": Tax(True, "0.19", ("27.31", "75.63"), ("2.73", "7.56"), "4.20"),
    "excluded": Tax(False, "0.25", ("26.00", "72.00"), ("2.60", "7.20"), "4.00"),
}
QUANTITIES = (1, 2)
TITLES = ("Salt mill", "Pepper mill")
TOTAL = "115.25"


def total(*amounts: str) -> str:
    return str(sum(map(Decimal, amounts)))


def less(amount: str, *others: str) -> str:
    return str(Decimal(amount) - sum(map(Decimal, others)))


def number(amount: str) -> Any:
    """The amount as a number in a JSON body, as the adapters read it."""
    return exact_json.loads(amount.encode())


def shaped(recorded: Json, **changes: Any) -> Json:
    """A recorded entity with other values. It gets no field that was not recorded."""
    assert changes.keys() <= recorded.keys(), changes.keys() - recorded.keys()
    return {**deepcopy(recorded), **changes}


# ------------------------------------------------------------------------------------------------------- the stores


def woocommerce_order(tax: Tax, refunds: tuple[str, ...] = ()) -> Json:
    captured = json.loads((PAYLOADS / "woocommerce" / "order.updated.processing.json").read_text())
    recorded = json.loads(captured["body_raw"])
    line, coupon = recorded["line_items"][0], recorded["coupon_lines"][0]
    lines = [
        shaped(
            line,
            id=position + 1,
            name=TITLES[position],
            quantity=QUANTITIES[position],
            subtotal=tax.net[position],
            subtotal_tax=less(tax.gross[position], tax.net[position]),
            total=less(tax.net[position], tax.discount_net[position]),
            total_tax=less(
                tax.gross[position], tax.net[position], tax.discount_gross[position], f"-{tax.discount_net[position]}"
            ),
            price=float(less(tax.net[position], tax.discount_net[position])) / QUANTITIES[position],
        )
        for position in (0, 1)
    ]
    discount, discount_gross = total(*tax.discount_net), total(*tax.discount_gross)
    return shaped(
        recorded,
        prices_include_tax=tax.included,
        line_items=lines,
        coupon_lines=[shaped(coupon, code="SPRING-10", discount=discount, discount_tax=less(discount_gross, discount))],
        discount_total=discount,
        discount_tax=less(discount_gross, discount),
        shipping_total=tax.shipping_net,
        shipping_tax=less(tax.shipping_gross, tax.shipping_net),
        total=TOTAL,
        refunds=[{"id": 90 + position, "reason": "", "total": f"-{amount}"} for position, amount in enumerate(refunds)],
    )


def woocommerce_event(row: Json) -> NativeEvent:
    raw = json.dumps(row).encode()
    signature = base64.b64encode(hmac.digest(b"secret", raw, "sha256")).decode()
    headers = {"x-wc-webhook-topic": "order.updated", "x-wc-webhook-signature": signature}
    return native(woocommerce.parse_webhook(headers, raw, b"secret"))


def magento_order(tax: Tax, refunds: tuple[str, ...] = ()) -> Json:
    recorded = json.loads((PAYLOADS / "magento" / "GET_orders.json").read_text())["items"][0]
    discounts = tax.of("discount_gross")
    contained = [
        less(gross, net) if tax.included else "0"
        for gross, net in zip(tax.discount_gross, tax.discount_net, strict=True)
    ]
    net, gross = total(*tax.net), total(*tax.gross)
    taxes = less(total(gross, tax.shipping_gross), net, tax.shipping_net, total(*tax.discount_gross))
    lines = [
        shaped(
            recorded["items"][0],
            item_id=position + 1,
            name=TITLES[position],
            qty_ordered=QUANTITIES[position],
            price=number(tax.net[position]) / QUANTITIES[position],
            price_incl_tax=number(tax.gross[position]) / QUANTITIES[position],
            row_total=number(tax.net[position]),
            row_total_incl_tax=number(tax.gross[position]),
            discount_amount=number(discounts[position]),
            discount_tax_compensation_amount=number(contained[position]),
        )
        for position in (0, 1)
    ]
    refunded = {"total_refunded": number(total(*refunds))} if refunds else {}  # not in an order without a refund
    return refunded | shaped(
        recorded,
        items=lines,
        coupon_code="SPRING-10",
        subtotal=number(net),
        subtotal_incl_tax=number(gross),
        shipping_amount=number(tax.shipping_net),
        shipping_incl_tax=number(tax.shipping_gross),
        discount_amount=number(f"-{total(*discounts)}"),
        tax_amount=number(total(taxes, *tax.discount_net)),
        discount_tax_compensation_amount=number(total(*contained)),
        grand_total=number(TOTAL),
    )


def magento_event(row: Json) -> NativeEvent:
    return native(magento.to_event(EventKind.ORDER, row, ""))


def medusa_order(tax: Tax, refunds: tuple[str, ...] = ()) -> Json:
    recorded = json.loads((PAYLOADS / "medusa" / "order.placed.json").read_text())["entity"]
    (line,), (shipping,) = recorded["items"], recorded["shipping_methods"]
    (adjustment,) = line["adjustments"]
    rates = [{"rate": number(tax.rate) * 100}]
    lines = [
        shaped(
            line,
            product_title=TITLES[position],
            quantity=QUANTITIES[position],
            unit_price=number(tax.of("gross")[position]) / QUANTITIES[position],
            is_tax_inclusive=tax.included,
            tax_lines=rates,
            adjustments=[
                shaped(
                    adjustment,
                    code="SPRING-10",
                    amount=number(tax.of("discount_gross")[position]),
                    is_tax_inclusive=tax.included,
                )
            ],
        )
        for position in (0, 1)
    ]
    method = shaped(
        shipping,
        amount=number(tax.shown(tax.shipping_net, tax.shipping_gross)),
        is_tax_inclusive=tax.included,
        tax_lines=rates,
    )
    payment = {"updated_at": TIME, "refunded_amount": number(total("0", *refunds))}
    return shaped(recorded, items=lines, shipping_methods=[method], total=number(TOTAL)) | {
        "payment_status": "captured", "payment_collections": [payment],
    }  # fmt: skip


def medusa_event(row: Json) -> NativeEvent:
    return native(medusa.to_event(EventKind.ORDER, row))


def taxed(net: str, gross: str) -> Json:
    return {"gross": {"amount": number(gross)}, "net": {"amount": number(net)}}


def saleor_order(tax: Tax, refunds: tuple[str, ...] = ()) -> Json:
    discounts = tax.of("discount_gross")
    lines = [
        {
            "productName": TITLES[position], "variantName": "", "productVariantId": "UHJvZHVjdFZhcmlhbnQ6Mw==",
            "quantity": QUANTITIES[position], "discounts": [],
            "undiscountedUnitPrice": taxed(
                str(number(tax.net[position]) / QUANTITIES[position]), str(number(tax.gross[position]) / QUANTITIES[position])
            ),
            "undiscountedTotalPrice": taxed(tax.net[position], tax.gross[position]),
            "variant": {"id": "UHJvZHVjdFZhcmlhbnQ6Mw==", "product": {"id": "UHJvZHVjdDox"}},
        }
        for position in (0, 1)
    ]  # fmt: skip
    net, gross = total(*tax.net), total(*tax.gross)
    return {
        "id": "T3JkZXI6MQ==", "userEmail": "jane@example.com", "user": None, "created": TIME, "updatedAt": TIME,
        "status": "UNFULFILLED", "paymentStatus": "FULLY_CHARGED", "chargeStatus": "FULL", "authorizeStatus": "FULL",
        "voucherCode": "SPRING-10", "total": {"gross": {"amount": number(TOTAL), "currency": "EUR"}},
        "totalCharged": {"amount": number(TOTAL)}, "totalRefunded": {"amount": number(total("0", *refunds))},
        "subtotal": taxed(less(net, *tax.discount_net), less(gross, *tax.discount_gross)),
        "shippingPrice": taxed(tax.shipping_net, tax.shipping_gross),
        "undiscountedTotal": taxed(total(net, tax.shipping_net), total(gross, tax.shipping_gross)),
        "discounts": [{"type": "VOUCHER", "total": {"amount": number(total(*discounts))}}], "lines": lines,
    }  # fmt: skip


def saleor_event(row: Json) -> NativeEvent:
    return native(saleor.to_event(EventKind.ORDER, row, "web"))


def vendure_order(tax: Tax, refunds: tuple[str, ...] = ()) -> Json:
    def cents(amount: str) -> int:
        return int(Decimal(amount) * 100)

    lines = [
        {
            "quantity": QUANTITIES[position], "unitPriceWithTax": cents(tax.gross[position]) // QUANTITIES[position],
            "linePriceWithTax": cents(tax.gross[position]),
            "productVariant": {"id": "1", "productId": "1", "name": "", "product": {"name": TITLES[position]}},
        }
        for position in (0, 1)
    ]  # fmt: skip
    return {
        "id": "23", "code": "JMNU72A5AR5FVTGN", "state": "PaymentSettled", "active": False, "orderPlacedAt": TIME,
        "createdAt": TIME, "updatedAt": TIME, "currencyCode": "EUR", "totalWithTax": cents(TOTAL),
        "customer": {"id": "3", "emailAddress": "jane@example.com", "user": None}, "couponCodes": ["SPRING-10"],
        "discounts": [
            {"adjustmentSource": "PROMOTION:25", "amountWithTax": -cents(amount)} for amount in tax.discount_gross
        ],
        "promotions": [{"id": "25", "couponCode": "SPRING-10"}], "lines": lines,
        "payments": [{
            "amount": cents(TOTAL), "state": "Settled", "updatedAt": TIME,
            "refunds": [{"total": cents(amount), "state": "Settled", "updatedAt": TIME} for amount in refunds],
        }],
    }  # fmt: skip


def vendure_event(row: Json) -> NativeEvent:
    return native(vendure.to_event(EventKind.ORDER, row, 2))


def bigcommerce_order(tax: Tax, refunds: tuple[str, ...] = ()) -> Json:
    """`products` and `coupons` are the answers to two further calls."""
    discount = total(*tax.of("discount_gross"))
    net, gross = total(*tax.net), total(*tax.gross)
    return {
        "id": 250, "customer_id": 0, "status_id": 11, "payment_status": "captured", "default_currency_code": "EUR",
        "billing_address": {"email": "jane@example.com"}, "refunded_amount": total("0.0000", *refunds),
        "subtotal_ex_tax": net, "subtotal_inc_tax": gross, "shipping_cost_ex_tax": tax.shipping_net,
        "shipping_cost_inc_tax": tax.shipping_gross, "handling_cost_ex_tax": "0.0000", "handling_cost_inc_tax": "0.0000",
        "wrapping_cost_ex_tax": "0.0000", "wrapping_cost_inc_tax": "0.0000", "discount_amount": "0.0000",
        "coupon_discount": discount, "total_ex_tax": less(total(net, tax.shipping_net), *tax.discount_net),
        "total_inc_tax": TOTAL, "date_created": "Mon, 23 Nov 2026 05:00:00 +0000",
        "date_modified": "Mon, 23 Nov 2026 05:00:00 +0000",
        "coupons": [{"code": "SPRING-10", "discount": discount}],
        "products": [
            {"product_id": 7, "variant_id": 71, "name": TITLES[position], "quantity": QUANTITIES[position],
             "price_inc_tax": f"{Decimal(tax.gross[position]) / QUANTITIES[position]:.4f}"}
            for position in (0, 1)
        ],
    }  # fmt: skip


def bigcommerce_event(row: Json) -> NativeEvent:
    return native(order_event(row, row["products"], row["coupons"]))


def shopify_order(tax: Tax, refunds: tuple[str, ...] = ()) -> Json:
    """The body of a webhook."""
    discounts = tax.of("discount_gross")
    lines = [
        {
            "id": position, "product_id": 7, "variant_id": 71, "title": TITLES[position], "quantity": QUANTITIES[position],
            "price": str(Decimal(tax.of("gross")[position]) / QUANTITIES[position]),
            "tax_lines": [{"title": "VAT", "rate": float(tax.rate)}],
            "discount_allocations": [{"amount": discounts[position], "discount_application_index": 0}],
        }
        for position in (0, 1)
    ]  # fmt: skip
    shipping = tax.shown(tax.shipping_net, tax.shipping_gross)
    return {
        "id": 62, "admin_graphql_api_id": "gid://shopify/Order/62", "email": "jane@example.com", "currency": "EUR",
        "financial_status": "paid", "taxes_included": tax.included, "total_price": TOTAL, "created_at": TIME,
        "updated_at": TIME, "line_items": lines,
        "discount_codes": [{"code": "SPRING-10", "amount": total(*discounts), "type": "percentage"}],
        "discount_applications": [{"type": "discount_code", "code": "SPRING-10"}],
        "shipping_lines": [
            {"price": shipping, "tax_lines": [{"rate": float(tax.rate)}], "discount_allocations": []}
        ],
        "refunds": [
            {"transactions": [
                {"kind": "refund", "status": "success", "amount": amount, "currency": "EUR"},
                {"kind": "refund", "status": "failure", "amount": amount, "currency": "EUR"},
            ]}
            for amount in refunds
        ],
    }  # fmt: skip


def shopify_event(row: Json, topic: str = "orders/updated") -> NativeEvent:
    raw = json.dumps(row).encode()
    signature = base64.b64encode(hmac.digest(b"secret", raw, "sha256")).decode()
    headers = {"x-shopify-topic": topic, "x-shopify-hmac-sha256": signature}
    return native(shopify.parse_webhook(headers, raw, "secret", "shop.example"))


def shopify_node(tax: Tax, refunds: tuple[str, ...] = ()) -> Json:
    """A row of the list."""

    def bag(amount: str) -> Json:
        return {"shopMoney": {"amount": str(Decimal(amount).normalize())}}  # GraphQL omits trailing zeros

    nodes = [
        {
            "title": TITLES[position], "quantity": QUANTITIES[position], "currentQuantity": QUANTITIES[position],
            "product": {"id": "gid://shopify/Product/7"},
            "variant": {"id": "gid://shopify/ProductVariant/71"},
            "originalUnitPriceSet": bag(str(Decimal(tax.of("gross")[position]) / QUANTITIES[position])),
            "taxLines": [{"rate": float(tax.rate)}],
            "discountAllocations": [{
                "allocatedAmountSet": bag(tax.of("discount_gross")[position]), "discountApplication": {"code": "SPRING-10"},
            }],
        }
        for position in (0, 1)
    ]  # fmt: skip
    all_read = {"hasNextPage": False}
    return {
        "id": "gid://shopify/Order/62", "email": "jane@example.com", "currencyCode": "EUR", "displayFinancialStatus": "PAID",
        "createdAt": TIME, "updatedAt": TIME, "discountCodes": ["SPRING-10"], "customer": None, "test": False,
        "currentTotalPriceSet": bag(TOTAL),
        "taxesIncluded": tax.included, "totalPriceSet": bag(TOTAL), "totalRefundedSet": bag(total("0", *refunds)),
        "lineItems": {"pageInfo": all_read, "nodes": nodes},
        "shippingLines": {
            "pageInfo": all_read, "nodes": [{"taxLines": [{"rate": float(tax.rate)}], "discountAllocations": []}],
        },
    }  # fmt: skip


def shopify_node_event(row: Json) -> NativeEvent:
    return native(shopify.event_from_node(EventKind.ORDER, row))


def generic_order(_: Tax, refunds: tuple[str, ...] = ()) -> Json:
    """The event that the merchant's integration sends."""
    lines = [
        {"productId": "7", "title": TITLES[position], "quantity": QUANTITIES[position], "price": price}
        for position, price in enumerate(("32.50", "45.00"))
    ]
    return {
        "id": "9", "email": "jane@example.com", "financialStatus": "paid", "currency": "EUR", "totalPrice": TOTAL,
        "subtotalPrice": "122.50", "lineItems": lines, "discountCodes": [{"code": "SPRING-10", "amount": "12.25"}],
        "updatedAt": TIME, **({"refundedAmount": total(*refunds)} if refunds else {}),
    }  # fmt: skip


def generic_event(row: Json) -> NativeEvent:
    raw = json.dumps(row).encode()
    return NativeEvent(EventKind.ORDER, OrderEvent.parse(raw), raw.decode())


def native(parsed: object) -> NativeEvent:
    assert isinstance(parsed, NativeEvent), parsed
    return parsed


Build = Callable[..., Json]
STORES: Mapping[str, tuple[Build, Callable[[Json], NativeEvent]]] = {
    "bigcommerce": (bigcommerce_order, bigcommerce_event),
    "generic_http": (generic_order, generic_event),
    "magento": (magento_order, magento_event),
    "medusa": (medusa_order, medusa_event),
    "saleor": (saleor_order, saleor_event),
    "shopify": (shopify_order, shopify_event),
    "shopify list": (shopify_node, shopify_node_event),
    "vendure": (vendure_order, vendure_event),
    "woocommerce": (woocommerce_order, woocommerce_event),
}

AMOUNTS = ("price", "subtotalPrice", "totalPrice", "discountCodes.amount", "refundedAmount")
SOURCES: Mapping[str, tuple[str, str, str, str, str]] = {
    "bigcommerce": (
        "`price_inc_tax`",
        "`subtotal_inc_tax`",
        "`total_inc_tax`",
        "`discount` of the coupon; if `coupon_discount` and `discount_amount` are without tax, plus its share of the tax",
        "`refunded_amount`",
    ),
    "generic_http": ("`price`", "`subtotalPrice`", "`totalPrice`", "`amount`", "`refundedAmount`"),
    "magento": (
        "`price_incl_tax`",
        "`subtotal_incl_tax`, less cancelled units",
        "`grand_total`, less what was cancelled of an order that continues",
        (
            "`discount_amount`, plus the tax that it saved: that of `subtotal_incl_tax` and `shipping_incl_tax`, less "
            "`tax_amount` and `discount_tax_compensation_amount`"
        ),
        "`total_refunded`",
    ),
    "medusa": (
        "`unit_price`, plus `tax_lines` unless `is_tax_inclusive`",
        "price × `quantity` of all `items`",
        "`total`",
        "`amount` of the `adjustments`, plus `tax_lines` unless `is_tax_inclusive`",
        "`refunded_amount` of the `payment_collections`",
    ),
    "saleor": (
        "`undiscountedUnitPrice` `gross`",
        "`undiscountedTotalPrice` `gross` of all `lines`",
        "`total` `gross`",
        "`total` of the `discounts` with the type `VOUCHER`; if the discounts are without tax, plus their share of the tax",
        "`totalRefunded`",
    ),
    "shopify": (
        "`price`, plus `tax_lines` unless `taxes_included`",
        "price × `quantity` of all `line_items`",
        "`total_price`",
        "`discount_allocations` of the code, plus `tax_lines` unless `taxes_included`",
        "`amount` of the successful `refunds`",
    ),
    "vendure": (
        "`unitPriceWithTax`",
        "`linePriceWithTax` of all `lines`",
        "`totalWithTax`",
        "`amountWithTax` of the code's `discounts`",
        "`total` of the settled `refunds`",
    ),
    "woocommerce": (
        "`subtotal` + `subtotal_tax` of the line item, divided by `quantity`",
        "`subtotal` + `subtotal_tax` of all `line_items`",
        "`total`",
        "`discount` + `discount_tax`",
        "`total` of the `refunds`",
    ),
}
"""The store's fields of each amount, as docs/stores.md shows them."""


def names_in(value: object) -> Iterator[str]:
    """Every name and every text value in a JSON document."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from names_in(member)
    elif isinstance(value, list):
        for member in value:
            yield from names_in(member)
    elif isinstance(value, str):
        yield value


def table_of_amounts() -> str:
    lines = ["| store | " + " | ".join(f"`{name}`" for name in AMOUNTS) + " |", "|---" * (len(AMOUNTS) + 1) + "|"]
    lines += [f"| `{store}` | " + " | ".join(SOURCES[store]) + " |" for store in sorted(SOURCES)]
    return "\n".join(lines) + "\n"
