"""WooCommerce's exports of customers and orders.

WooCommerce itself exports customers and orders from its reports (Analytics). Columns: `get_export_columns` in
plugins/woocommerce/src/Admin/API/Reports/Customers/Controller.php and …/Orders/Controller.php of woocommerce/woocommerce. A
report that fits on one page is written by the browser and has no `N. Revenue (formatted)`; newer versions write `Net Sales`.

 · `Customer` is a name and never an id; no column identifies the customer of an order.
 · `N. Revenue` and `Net sales` are without tax and shipping, and after refunds: not what the customer paid. The formatted column
   is the order's total; after a refund it shows the total before and after.

The columns of the extension "Import Export Suite for WooCommerce":
https://woocommerce.com/document/import-and-export-of-woocommerce-orders/ and …/import-and-export-of-woocommerce-users/. Its line
items are `name:…|product_id:…|sku:…|quantity:…|total:…|sub_total:…`, without tax: prices are used if the order has no tax.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

from pydantic import JsonValue

from platform_relay.core.plain_numbers import is_count
from platform_relay.imports.exports.known import NO_ACCOUNT, NO_FIELD, Export, Values, each_row, text_of
from platform_relay.imports.exports.order_values import amount_of, codes_of, discounts, line_item, subtotal_of, written
from platform_relay.inbox.events import EventKind
from platform_relay.stores.woocommerce.events import NOT_AN_ORDER, financial_status

NET_SALES: Final = (
    "without tax and shipping and after refunds; if it is what your customers pay, map it to totalPrice by hand"
)
FORMATTED: Final = "N. Revenue (formatted)"
LINE_ITEMS: Final = "line_item_1"
_NEXT_PRODUCT: Final = re.compile(r", (?=[0-9]{1,9}× )")
MAX_CELL: Final = 1 << 20
"""Characters of a cell that are parsed."""


def _status(values: Values, column: str, *, paid: str = "", is_refunded: bool = False) -> str:
    """The financial status of an order, as for the store's webhooks. Raises ValueError if it is not an order."""
    status = text_of(values, column).lower().removeprefix("wc-").replace(" ", "-")
    if status in NOT_AN_ORDER:
        raise ValueError(f"is not an order: its status is {status}")
    return financial_status({"status": status, "date_paid_gmt": paid, "refunds": [1] if is_refunded else []})


# ----------------------------------------------------------------------------------------------- Analytics


def _report_order(values: Values) -> Values | str:
    """The row of the orders report with its lists, the status and the total."""
    try:
        status = _status(values, "Status")
    except ValueError as error:
        return str(error)
    products = [part.split("× ", 1) for part in _NEXT_PRODUCT.split(text_of(values, "Product(s)")[:MAX_CELL]) if part]
    items: list[JsonValue] = [line_item(part[1], part[0]) for part in products if len(part) == 2 and is_count(part[0])]
    changed: dict[str, JsonValue] = {
        "Status": status,
        "Product(s)": items if items and len(items) == len(products) else None,
        "Coupon(s)": discounts(codes_of(text_of(values, "Coupon(s)")), None) or None,
    }
    if FORMATTED in values:
        changed[FORMATTED] = _before_refunds(text_of(values, FORMATTED))
    return {**values, **changed}


def _before_refunds(total: str) -> str:
    """The total of an order. After a refund the text has two amounts, each with its currency: before and after it."""
    before, _, after = total.partition(" ")
    symbols = {re.sub(r"[0-9.,'\s-]", "", part) for part in (before, after)}
    return before if len(symbols) == 1 and "" not in symbols else total


ANALYTICS_CUSTOMERS: Final = Export(
    name="woocommerce-analytics-customers",
    kind=EventKind.CUSTOMER,
    title="WooCommerce, customers report (Analytics)",
    source="woocommerce/woocommerce, src/Admin/API/Reports/Customers/Controller.php",
    signature=frozenset({"Name", "Username", "Last Active", "Sign Up", "Email", "Orders", "AOV"}),
    fields={
        "email": ("Email",),
        "name": ("Name",),
        "phone": ("Billing Phone",),
        "createdAt": ("Sign Up",),
    },
    unused={
        "Username": "a login name is not the store's id of the customer",
        "Last Active": NO_FIELD,
        "Orders": "a sum of orders, which are imported as orders",
        "Total Spend": "a sum of orders, which are imported as orders",
        "AOV": "a sum of orders, which are imported as orders",
        "Country / Region": "addresses are not sent",
        "City": "addresses are not sent",
        "Region": "addresses are not sent",
        "Postal Code": "addresses are not sent",
        "Shipping Phone": "the billing phone is used",
        "Role": NO_FIELD,
    },
    missing={"id": NO_ACCOUNT},
)

ANALYTICS_ORDERS: Final = Export(
    name="woocommerce-analytics-orders",
    kind=EventKind.ORDER,
    title="WooCommerce, orders report (Analytics)",
    source="woocommerce/woocommerce, src/Admin/API/Reports/Orders/Controller.php",
    signature=frozenset({"Date", "Order #", "Status", "Customer", "Customer type", "Product(s)", "Items sold"}),
    fields={
        "id": ("Order #",),
        "financialStatus": ("Status",),
        "currency": ("Currency",),
        "totalPrice": (FORMATTED,),
        "lineItems": ("Product(s)",),
        "discountCodes": ("Coupon(s)",),
        "createdAt": ("Date",),
    },
    join=each_row(_report_order),
    notes=(
        "The report has no ids and addresses of customers: the orders have no customer and give no points. A backfill has them.",
        "Order # is the id of the order unless a plugin numbers the orders.",
    ),
    unused={
        "Customer": "it holds a name, never an id",
        "Customer type": NO_FIELD,
        "Items sold": "the sum of the line items",
        "N. Revenue": NET_SALES,
        "Net Sales": NET_SALES,
        "Net sales": NET_SALES,
        "Attribution": NO_FIELD,
        "Origin": NO_FIELD,
    },
    missing={
        "totalPrice": "N. Revenue and Net sales are without tax and shipping and after refunds; if that is what your customers "
        "pay, map it by hand",
        "customerId": "the column Customer holds names",
        "email": "the report has no e-mail addresses",
    },
)


# ----------------------------------------------------------------------------------------------- Import Export Suite


def _parts(cell: str) -> Mapping[str, str]:
    """The parts of a line item. The name may contain the separator: it ends before the product's id."""
    name, sign, rest = cell[:MAX_CELL].removeprefix("name:").partition("|product_id:")
    pairs = (part.partition(":") for part in f"product_id:{rest}".split("|")) if sign else ()
    parts = {"name": name}
    for key, _, value in pairs:
        parts.setdefault(key, value.strip())
    return parts


def _items(values: Values) -> Iterator[Mapping[str, str]]:
    number = 1
    while f"line_item_{number}" in values:
        if cell := text_of(values, f"line_item_{number}"):
            yield _parts(cell)
        number += 1


def _coupons(values: Values, *, with_tax: bool) -> list[JsonValue]:
    """The codes of an order, each `code:…|amount:…`; several are separated by semicolons."""
    used: list[JsonValue] = []
    for cell in text_of(values, "coupon_items")[:MAX_CELL].split(";"):
        code, _, rest = cell.strip().removeprefix("code:").partition("|amount:")
        if code.strip():
            amount = amount_of(rest.partition("|")[0].strip()) if with_tax else None
            used += discounts([code.strip()], amount)
    return used


def _refunded(values: Values) -> Decimal | None:
    """What was paid back, each refund `amount:…|reason:…|date:…`; None if nothing was, or if it cannot be read."""
    cell = text_of(values, "refund_items")
    amounts = [amount_of(part.partition("|")[0].strip()) for part in cell.split("amount:")[1:]]
    total = sum((abs(amount) for amount in amounts if amount is not None), Decimal(0))
    return total if amounts and None not in amounts else None


def _suite_order(values: Values) -> Values | str:
    """The row of an order with its lists, its status and its amounts."""
    paid_back = _refunded(values)
    try:
        status = _status(
            values, "status", paid=text_of(values, "paid_date"), is_refunded=bool(text_of(values, "refund_items"))
        )
    except ValueError as error:
        return str(error)
    taxes = [amount_of(text_of(values, name)) for name in ("tax_total", "shipping_tax_total", "fee_tax_total")]
    without_tax = taxes[0] == 0 and not any(taxes)
    items, sums = [], []
    for parts in _items(values):
        quantity, subtotal = amount_of(parts.get("quantity", "")), amount_of(parts.get("sub_total", ""))
        unit = subtotal / quantity if without_tax and quantity and subtotal is not None else None
        price = unit.quantize(Decimal("0.0001")).normalize() if unit is not None else None
        variant = parts.get("_variation_id", parts.get("variation_id", ""))
        product = parts.get("product_id", "")
        items.append(
            line_item(
                parts["name"],
                parts.get("quantity", ""),
                price,
                product_id="" if product == "0" else product,
                variant_id="" if variant == "0" else variant,
            )
        )
        sums.append((Decimal(1), subtotal if without_tax else None))
    return {
        **values,
        "status": status,
        "customer_id": "" if text_of(values, "customer_id") == "0" else text_of(values, "customer_id"),
        "order_subtotal": subtotal_of(sums, text_of(values, "order_currency")) if items else "",
        LINE_ITEMS: [*items] or None,
        "coupon_items": _coupons(values, with_tax=without_tax) or None,
        "refund_items": text_of(values, "refund_items")
        if paid_back is None
        else written(paid_back)
        if paid_back
        else "",
    }


SUITE_CUSTOMERS: Final = Export(
    name="woocommerce-suite-customers",
    kind=EventKind.CUSTOMER,
    title="WooCommerce, users (Import Export Suite)",
    source="woocommerce.com/document/import-and-export-of-woocommerce-users",
    signature=frozenset({"user_login", "user_email", "user_registered", "display_name"}),
    fields={
        "id": ("customer_id", "ID"),
        "email": ("user_email",),
        "firstName": ("first_name",),
        "lastName": ("last_name",),
        "phone": ("billing_phone",),
        "createdAt": ("user_registered",),
    },
    time_zone="UTC",
    unused={
        "ID": "the same as customer_id",
        "display_name": "first and last name are used",
        "user_login": "a login name is not the store's id of the customer",
        "user_*": NO_FIELD,
        "last_update": "changes with each login, so it is no version of the data",
        "billing_*": "addresses are not sent",
        "shipping_*": "addresses are not sent",
        "*": NO_FIELD,
    },
    missing={"id": NO_ACCOUNT},
)

SUITE_ORDERS: Final = Export(
    name="woocommerce-suite-orders",
    kind=EventKind.ORDER,
    title="WooCommerce, orders (Import Export Suite)",
    source="woocommerce.com/document/import-and-export-of-woocommerce-orders",
    signature=frozenset({"order_id", "order_date", "status", "order_total", "order_currency", "customer_id"}),
    fields={
        "id": ("order_id",),
        "customerId": ("customer_id",),
        "email": ("billing_email", "customer_email"),
        "financialStatus": ("status",),
        "currency": ("order_currency",),
        "totalPrice": ("order_total",),
        "subtotalPrice": ("order_subtotal",),
        "refundedAmount": ("refund_items",),
        "lineItems": (LINE_ITEMS,),
        "discountCodes": ("coupon_items",),
        "createdAt": ("order_date",),
    },
    reads=("line_item_*", "paid_date", "tax_total", "shipping_tax_total", "fee_tax_total"),
    join=each_row(_suite_order),
    decimal=".",
    unused={
        "order_number": "the order_id is the store's id",
        "customer_user": "the same as customer_id",
        "customer_email": "the address in the invoice is used, as in WooCommerce's webhooks",
        "shipping_total": "part of the total",
        "fee_total": "part of the total",
        "cart_discount": "the codes have their amounts",
        "order_discount": "the codes have their amounts",
        "discount_total": "the codes have their amounts",
        "billing_*": "addresses are not sent",
        "shipping_*": "addresses are not sent",
        "Product Item *": "the same as the line items",
        "*": NO_FIELD,
    },
)
