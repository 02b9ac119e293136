"""Shopify's exports of customers and orders.

Columns: https://help.shopify.com/en/manual/customers/import-export-customers and
https://help.shopify.com/en/manual/fulfillment/managing-orders/exporting-orders, and headers in public programs that read them.

An order has one row for each line item; the columns of the order are empty in all but the first row. Amounts have a decimal
point, times name their offset. Prices are with tax only in some stores, and the file does not name them: the prices of an order
are with tax if its total is the subtotal plus shipping (and duties), without adding the taxes. Otherwise prices, their sum and
what a code saved are left out, because all of them mean amounts with tax.

`Subtotal` is after discounts, and the event's subtotal is before them: it is the sum of the line items.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from platform_relay.imports.exports.known import NO_FIELD, Export, Values, join_lines, text_of
from platform_relay.imports.exports.order_values import (
    amount_of,
    codes_of,
    discounts,
    line_item,
    refunded_text,
    subtotal_of,
)
from platform_relay.inbox.events import EventKind
from platform_relay.stores.amounts import ZERO

_ITEM: Final = ("Lineitem name", "Lineitem quantity", "Lineitem price")


def _prices_include_tax(order: Values) -> bool:
    """Whether the amounts of an order are with tax, by the sum of its amounts."""
    amounts = {name: amount_of(text_of(order, name)) for name in ("Subtotal", "Shipping", "Taxes", "Duties", "Total")}
    total, taxes = amounts["Total"], amounts["Taxes"]
    if total is None or amounts["Subtotal"] is None or taxes is None:
        return False
    parts: Decimal = amounts["Subtotal"] + (amounts["Shipping"] or ZERO) + (amounts["Duties"] or ZERO)
    return parts == total


def _order(lines: Sequence[Values]) -> Values:
    """One row for all line items of an order."""
    order = lines[0]
    with_tax = _prices_include_tax(order)
    currency = text_of(order, "Currency")
    items = [
        (text_of(line, "Lineitem name"), text_of(line, "Lineitem quantity"), amount_of(text_of(line, "Lineitem price")))
        for line in lines
        if text_of(line, "Lineitem name")
        and amount_of(text_of(line, "Lineitem quantity")) != 0  # 0: removed by an edit
    ]
    saved = amount_of(text_of(order, "Discount Amount"))
    sums = [(amount_of(quantity), price if with_tax else None) for _, quantity, price in items]
    total = amount_of(text_of(order, "Total"))
    return {
        **order,
        "Financial Status": text_of(order, "Financial Status") or ("paid" if total == 0 else "pending"),
        "Subtotal": subtotal_of(sums, currency) if items else "",
        "Refunded Amount": refunded_text(text_of(order, "Refunded Amount")),
        "Lineitem name": [line_item(title, quantity, price if with_tax else None) for title, quantity, price in items]
        or None,
        "Discount Code": discounts(codes_of(text_of(order, "Discount Code")), saved if with_tax else None) or None,
    }


CUSTOMERS: Final = Export(
    name="shopify-customers",
    kind=EventKind.CUSTOMER,
    title="Shopify, customers",
    source="help.shopify.com/en/manual/customers/import-export-customers",
    signature=frozenset({"First Name", "Last Name", "Email", "Accepts Email Marketing", "Tags"}),
    fields={
        "id": ("Customer ID",),
        "email": ("Email",),
        "firstName": ("First Name",),
        "lastName": ("Last Name",),
        "phone": ("Phone",),
        "tags": ("Tags",),
    },
    decimal=".",
    unused={
        "Accepts *": "consent is kept in the store",
        "Default Address *": "addresses are not sent",
        "Company": NO_FIELD,
        "Address*": "addresses are not sent",
        "City": "addresses are not sent",
        "Province*": "addresses are not sent",
        "Country*": "addresses are not sent",
        "Zip": "addresses are not sent",
        "Total Spent": "a sum of orders, which are imported as orders",
        "Total Orders": "a sum of orders, which are imported as orders",
        "Note": NO_FIELD,
        "Tax Exempt": NO_FIELD,
    },
    missing={
        "id": "the column Customer ID is missing, as in Shopify's template for an import: export the customers again",
    },
)

ORDERS: Final = Export(
    name="shopify-orders",
    kind=EventKind.ORDER,
    title="Shopify, orders",
    source="help.shopify.com/en/manual/fulfillment/managing-orders/exporting-orders",
    signature=frozenset({"Name", "Financial Status", "Lineitem quantity", "Lineitem name", "Lineitem price", "Total"}),
    fields={
        "id": ("Id",),
        "email": ("Email",),
        "financialStatus": ("Financial Status",),
        "currency": ("Currency",),
        "totalPrice": ("Total",),
        "subtotalPrice": ("Subtotal",),
        "refundedAmount": ("Refunded Amount",),
        "lineItems": ("Lineitem name",),
        "discountCodes": ("Discount Code",),
        "createdAt": ("Created at",),
    },
    reads=("Name", "Lineitem quantity", "Lineitem price", "Discount Amount", "Shipping", "Taxes", "Duties"),
    join=join_lines("Name", "Id", "Financial Status", _ITEM, _order),
    decimal=".",
    time_zone="UTC",
    notes=(
        "The orders name their customers by e-mail address only, as orders of guests do: import the customers first.",
    ),
    unused={
        "Paid at": "the financial status shows whether the order is paid",
        "Cancelled at": "the financial status shows whether the order counts, as in Shopify's webhooks",
        "Fulfil*": "delivery does not matter for points",
        "Lineitem *": NO_FIELD,
        "Lineitem sku": "a SKU is no id of a product",
        "Lineitem discount": "prices are before discounts",
        "Shipping Method": NO_FIELD,
        "Outstanding Balance": "the financial status shows whether the order is paid",
        "Tax 1 *": "part of the total",
        "Tax 2 *": "part of the total",
        "Tax 3 *": "part of the total",
        "Tax 4 *": "part of the total",
        "Tax 5 *": "part of the total",
        "Billing *": "addresses are not sent",
        "Shipping *": "addresses are not sent",
        "Phone": "an order has no telephone number",
        "Accepts Marketing": "consent is kept in the store",
        "Payment *": NO_FIELD,
        "Next Payment Due At": NO_FIELD,
        "Receipt Number": NO_FIELD,
        "Note*": NO_FIELD,
        "Tags": "tags of the order; the Platform has no field for them",
        "Vendor": NO_FIELD,
        "Risk Level": NO_FIELD,
        "Source": NO_FIELD,
        "Employee": NO_FIELD,
        "Location": NO_FIELD,
        "Device ID": NO_FIELD,
    },
    missing={
        "id": "the column Id is missing, and the Name is not the store's id: export the orders again, with all columns",
        "customerId": "the export has no ids of customers",
    },
)
