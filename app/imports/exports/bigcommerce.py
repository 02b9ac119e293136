"""BigCommerce's exports of customers and orders, by its built-in templates.

Columns: https://support.bigcommerce.com/s/article/Importing-Exporting-Customers and …/Export-Templates, and headers in public
programs that read them. The text of `Product Details` is
`Product ID: 1, Product Qty: 2, Product SKU: A, Product Name: Cup, Product Weight: …, …, Product Unit Price: …|Product ID: …`; the
unit price is not used, because it does not show whether it is with tax.
"""

import re
from collections.abc import Sequence
from typing import Final

from pydantic import JsonValue

from platform_relay.imports.exports.known import NO_ACCOUNT, NO_FIELD, Export, Values, each_row, text_of
from platform_relay.imports.exports.order_values import line_item, refunded_text
from platform_relay.inbox.events import EventKind
from platform_relay.stores.bigcommerce.events import INCOMPLETE, financial_status

STATUSES: Final[Sequence[str]] = (
    "incomplete", "pending", "shipped", "partially shipped", "refunded", "cancelled", "declined", "awaiting payment",
    "awaiting pickup", "awaiting shipment", "completed", "awaiting fulfillment", "manual verification required", "disputed",
    "partially refunded",
)  # fmt: skip
"""The names of BigCommerce's order statuses; the place is the status's number."""
_NEXT_PRODUCT: Final = re.compile(r"\|(?=Product ID: )")
_PRODUCT: Final = re.compile(r"Product ID: ([0-9]{1,19}), Product Qty: ([0-9]{1,9}), Product SKU: ")
MAX_CELL: Final = 1 << 20
"""Characters of a cell that are parsed."""


def _item(text: str) -> dict[str, JsonValue] | None:
    """A line item of the product details; None if the text has another form."""
    begin = _PRODUCT.match(text)
    _, sign, name = text.partition(", Product Name: ")
    name, end, _ = name.partition(", Product Weight: ")
    if begin is None or not sign or not end:
        return None
    product = "" if begin[1] == "0" else begin[1]
    return line_item(name, begin[2], product_id=product)


def _order(values: Values) -> Values | str:
    status = text_of(values, "Order Status").lower()
    number = STATUSES.index(status) if status in STATUSES else None
    if number == INCOMPLETE:
        return "is not an order yet: its status is Incomplete"
    details = [_item(part) for part in _NEXT_PRODUCT.split(text_of(values, "Product Details")[:MAX_CELL]) if part]
    customer, time = text_of(values, "Customer ID"), text_of(values, "Order Time")
    items: list[JsonValue] = [item for item in details if item is not None]
    changed: dict[str, JsonValue] = {
        "Order Status": status if number is None else financial_status({"status_id": number}),
        "Customer ID": "" if customer == "0" else customer,
        "Product Details": items if items and len(items) == len(details) else None,
        "Refund Amount": refunded_text(text_of(values, "Refund Amount")),
        "Order Date": f"{text_of(values, 'Order Date')} {time}".strip(),
    }
    return {**values, **{column: value for column, value in changed.items() if column in values}}


CUSTOMERS: Final = Export(
    name="bigcommerce-customers",
    kind=EventKind.CUSTOMER,
    title="BigCommerce, customers",
    source="support.bigcommerce.com/s/article/Importing-Exporting-Customers",
    signature=frozenset({"First Name", "Last Name", "Store Credit", "Customer Group"}),
    fields={
        "id": ("Customer ID",),
        "email": ("Email", "Email Address"),
        "firstName": ("First Name",),
        "lastName": ("Last Name",),
        "phone": ("Phone",),
        "createdAt": ("Date Joined",),
    },
    unused={
        "Customer Name": "first and last name are used",
        "Company": NO_FIELD,
        "Notes": NO_FIELD,
        "Store Credit": NO_FIELD,
        "Customer Group": NO_FIELD,
        "Address*": "addresses are not sent",
        "City": "addresses are not sent",
        "State*": "addresses are not sent",
        "Zip": "addresses are not sent",
        "Country": "addresses are not sent",
        "Building Type": "addresses are not sent",
        "*": NO_FIELD,
    },
    missing={"id": f"{NO_ACCOUNT}; BigCommerce's template Default has the column Customer ID"},
)

ORDERS: Final = Export(
    name="bigcommerce-orders",
    kind=EventKind.ORDER,
    title="BigCommerce, orders",
    source="support.bigcommerce.com/s/article/Export-Templates",
    signature=frozenset({"Order ID", "Order Status", "Order Date", "Subtotal (inc tax)", "Order Total (inc tax)"}),
    fields={
        "id": ("Order ID",),
        "customerId": ("Customer ID",),
        "email": ("Billing Email", "Customer Email"),
        "financialStatus": ("Order Status",),
        "currency": ("Order Currency Code",),
        "totalPrice": ("Order Total (inc tax)",),
        "subtotalPrice": ("Subtotal (inc tax)",),
        "refundedAmount": ("Refund Amount",),
        "lineItems": ("Product Details",),
        "createdAt": ("Order Date",),
    },
    reads=("Order Time",),
    join=each_row(_order),
    decimal=".",
    notes=("The file does not show what a coupon code saved in a documented form: codes are not imported.",),
    unused={
        "Customer Name": "it is a name, never an id",
        "Customer Email": "the address in the invoice is used, as in BigCommerce's webhooks",
        "Coupon *": "its form is not documented publicly",
        "Subtotal (ex tax)": "amounts with tax are used",
        "Order Total (ex tax)": "amounts with tax are used",
        "Tax *": "part of the total",
        "Shipping Cost *": "part of the total",
        "Handling Cost *": "part of the total",
        "Billing *": "addresses are not sent",
        "Shipping *": "addresses are not sent",
        "*": NO_FIELD,
    },
)
