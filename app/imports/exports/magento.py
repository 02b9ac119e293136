"""Magento's exports of customers and orders.

Columns: the grids of Customers and Orders as Magento\\Ui\\Model\\Export\\ConvertToCsv writes them
(app/code/Magento/Customer/view/adminhtml/ui_component/customer_listing.xml, app/code/Magento/Sales/…/sales_order_grid.xml), and
"Customers Main File" of System > Export (experienceleague.adobe.com, Customer Data Import and Export).

The ID in the grid of orders is the number that customers see (increment_id). The relay knows an order by its entity_id, as
Magento's API sends it. So the grid's ID would make a second order of each purchase, and it fills no field.
"""

from collections.abc import Mapping
from typing import Final

from platform_relay.imports.exports.known import NO_ACCOUNT, NO_FIELD, Export, Values, each_row, text_of
from platform_relay.inbox.events import EventKind

STATUSES: Final[Mapping[str, str]] = {"closed": "refunded", "suspected fraud": "pending"}
"""Statuses of Magento with another meaning elsewhere, or none. `Closed` is an order that was paid back."""


def _order(values: Values) -> Values:
    status = text_of(values, "Status")
    return {**values, "Status": STATUSES.get(status.lower(), status)}


CUSTOMERS: Final = Export(
    name="magento-customers",
    kind=EventKind.CUSTOMER,
    title="Magento, grid of customers",
    source="magento/magento2, Customer/view/adminhtml/ui_component/customer_listing.xml",
    signature=frozenset({"ID", "Name", "Email", "Group", "Customer Since", "Web Site"}),
    fields={
        "id": ("ID",),
        "email": ("Email",),
        "name": ("Name",),
        "phone": ("Phone",),
        "birthday": ("Date of Birth",),
        "createdAt": ("Customer Since",),
    },
    unused={
        "Group": NO_FIELD,
        "ZIP": "addresses are not sent",
        "Country": "addresses are not sent",
        "State/Province": "addresses are not sent",
        "City": "addresses are not sent",
        "Street Address": "addresses are not sent",
        "Billing *": "addresses are not sent",
        "Shipping Address": "addresses are not sent",
        "Web Site": NO_FIELD,
        "Confirmed email": NO_FIELD,
        "Account *": NO_FIELD,
        "Tax VAT Number": NO_FIELD,
        "VAT Number": NO_FIELD,
        "Gender": NO_FIELD,
        "Fax": NO_FIELD,
        "Company": NO_FIELD,
    },
)

CUSTOMERS_MAIN_FILE: Final = Export(
    name="magento-customers-main-file",
    kind=EventKind.CUSTOMER,
    title="Magento, Customers Main File",
    source="experienceleague.adobe.com, Customer Data Import and Export",
    signature=frozenset({"email", "_website", "_store", "firstname", "lastname", "group_id"}),
    fields={
        "email": ("email",),
        "firstName": ("firstname",),
        "lastName": ("lastname",),
        "birthday": ("dob",),
        "createdAt": ("created_at",),
        "updatedAt": ("updated_at",),
    },
    time_zone="UTC",
    unused={
        "*": NO_FIELD,
        "group_id": NO_FIELD,
        "store_id": NO_FIELD,
        "website_id": NO_FIELD,
        "password_hash": "secrets are never sent",
        "password": "secrets are never sent",
    },
    missing={"id": f"{NO_ACCOUNT}; the grid of customers has the ids"},
)

ORDERS: Final = Export(
    name="magento-orders",
    kind=EventKind.ORDER,
    title="Magento, grid of orders",
    source="magento/magento2, Sales/view/adminhtml/ui_component/sales_order_grid.xml",
    signature=frozenset(
        {"ID", "Purchase Point", "Purchase Date", "Grand Total (Base)", "Grand Total (Purchased)", "Status"}
    ),
    fields={
        "email": ("Customer Email",),
        "financialStatus": ("Status",),
        "totalPrice": ("Grand Total (Purchased)",),
        "refundedAmount": ("Total Refunded",),
        "createdAt": ("Purchase Date",),
    },
    join=each_row(_order),
    notes=("The grid has no line items and no discount codes. A backfill reads the same orders with them.",),
    unused={
        "ID": "it is the order's number; the relay knows an order by its entity_id, and would take it for a second order",
        "Purchase Point": NO_FIELD,
        "Grand Total (Base)": "the total in the store's base currency; the customer paid Grand Total (Purchased)",
        "Subtotal": "without tax; the event's subtotal is with tax",
        "Shipping and Handling": "part of the total",
        "Bill-to Name": NO_FIELD,
        "Ship-to Name": NO_FIELD,
        "Billing Address": "addresses are not sent",
        "Shipping *": "addresses are not sent",
        "Customer Group": NO_FIELD,
        "Customer Name": "it is a name, never an id",
        "Payment Method": NO_FIELD,
        "*": NO_FIELD,
    },
    missing={
        "id": "the column ID is the order's number, and not the id (entity_id) that Magento's API sends: with it, each order would "
        "count twice. Run a backfill instead; if no order came from Magento's API, map id=ID by hand",
        "currency": "the grid does not name it",
        "customerId": "the grid has no ids of customers",
    },
)
