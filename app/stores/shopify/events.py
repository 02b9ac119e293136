"""Shopify's webhooks and lists, translated into events. Pure.

The body of a webhook has the format of the old REST API, the rows of a list the format of GraphQL. Both become the same event.
`X-Shopify-Hmac-Sha256` is the base64 HMAC-SHA256 of the raw body; the key is the app's client secret (doc).

The financial status is the same as the Platform's:

    PENDING AUTHORIZED PARTIALLY_PAID PAID PARTIALLY_REFUNDED REFUNDED VOIDED EXPIRED    the same in lower case
    null (nothing to pay, or not known yet)                                             paid if the total is 0,
                                                                                        pending otherwise

Amounts are in the store's currency, not in the customer's (`shopify.amounts`). An order that was edited has its current lines and
total. Test orders are ignored. A list of line items or variants that Shopify has truncated is left out, because the Platform
would take it as complete.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, cast

from pydantic import JsonValue

from platform_relay.core.exact_json import webhook_json
from platform_relay.inbox.events import EventKind
from platform_relay.stores.amounts import in_currency, money, number, refunded
from platform_relay.stores.native import (
    Ignored,
    NativeEvent,
    Page,
    ParsedEntity,
    ParsedWebhook,
    Unreadable,
    invalid_signature,
    not_relayed,
    unreadable_webhook,
)
from platform_relay.stores.paging import KeyPosition
from platform_relay.stores.parsing import (
    Row,
    first_reported,
    format_time,
    names,
    objects,
    reported,
    set_fields,
    value_at,
)
from platform_relay.stores.shopify.amounts import body_lines, body_refunds, node_lines, saved_by, subtotal
from platform_relay.stores.shopify.api import RESPONSES
from platform_relay.stores.shopify.documents import (
    COUNT_CUSTOMERS,
    COUNT_ORDERS,
    COUNT_PRODUCTS,
    GET_CUSTOMER,
    GET_ORDER,
    GET_PRODUCT,
    LIST_CUSTOMERS,
    LIST_ORDERS,
    LIST_PRODUCTS,
)
from platform_relay.stores.text import plain_text
from platform_relay.stores.translation import translate

TOPICS: Final = (
    "customers/create", "customers/update", "orders/create", "orders/updated", "products/create", "products/update",
)  # fmt: skip
KINDS: Final[Mapping[str, EventKind]] = {
    **dict.fromkeys(TOPICS[:2], EventKind.CUSTOMER),
    **dict.fromkeys(
        (
            "orders/create",
            "orders/updated",
            "orders/paid",
            "orders/cancelled",
            "orders/fulfilled",
            "orders/partially_fulfilled",
        ),
        EventKind.ORDER,
    ),
    **dict.fromkeys(TOPICS[4:], EventKind.PRODUCT),
}
NAMES: Final = {EventKind.CUSTOMER: "Customer", EventKind.ORDER: "Order", EventKind.PRODUCT: "Product"}
ENDED: Final = ("refunded", "voided")
LISTS: Final = {EventKind.CUSTOMER: LIST_CUSTOMERS, EventKind.ORDER: LIST_ORDERS, EventKind.PRODUCT: LIST_PRODUCTS}
PAGE: Final = {EventKind.CUSTOMER: 50, EventKind.ORDER: 2, EventKind.PRODUCT: 5}
COUNTS: Final = {
    EventKind.CUSTOMER: COUNT_CUSTOMERS,
    EventKind.ORDER: COUNT_ORDERS,
    EventKind.PRODUCT: COUNT_PRODUCTS,
}
GETS: Final = {
    EventKind.CUSTOMER: (GET_CUSTOMER, "Customer"),
    EventKind.ORDER: (GET_ORDER, "Order"),
    EventKind.PRODUCT: (GET_PRODUCT, "Product"),
}


def parse_webhook(headers: Mapping[str, str], raw: bytes, secret: str, host: str) -> ParsedWebhook:
    """See `native.ReceivesWebhooks`. The signature covers only the body, so the body must also fit the topic."""
    expected = base64.b64encode(hmac.new(secret.encode(), raw, hashlib.sha256).digest())
    signature = headers.get("x-shopify-hmac-sha256", "").strip().encode("utf-8", "replace")
    if not hmac.compare_digest(expected, signature):
        return invalid_signature("SHOPIFY__CLIENT_SECRET")
    if headers.get("x-shopify-shop-domain", host).lower() != host.lower():
        return not_relayed("the webhook comes from another store with the same app")
    topic = headers.get("x-shopify-topic", "")
    kind = KINDS.get(topic)
    return not_relayed(f"the topic {topic[:40]!r} is not relayed") if kind is None else _parsed(kind, raw)


def _parsed(kind: EventKind, raw: bytes) -> ParsedWebhook:
    try:
        body = cast("JsonValue", webhook_json(raw))  # with Decimals instead of floats
    except ValueError:
        return unreadable_webhook("Shopify", "its body is not JSON")
    if not isinstance(body, dict):
        return unreadable_webhook("Shopify", "its body is not an object")
    gid = body.get("admin_graphql_api_id")
    if isinstance(gid, str) and not gid.startswith(f"gid://shopify/{NAMES[kind]}/"):
        return unreadable_webhook("Shopify", f"its topic is about a {NAMES[kind]}, but its body is not")
    if kind is EventKind.ORDER and body.get("test") is True:
        return _test_order(body.get("id"))
    return _event(kind, _BODIES[kind], body, body.get("id"))


def _test_order(entity_id: JsonValue) -> Ignored:
    return not_relayed("it is a test order", EventKind.ORDER, entity_id)


def event_from_node(kind: EventKind, node: JsonValue) -> ParsedEntity:
    """Translate a GraphQL Order, Customer or Product."""
    row = node if isinstance(node, dict) else {}
    if kind is EventKind.ORDER and row.get("test") is True:
        return _test_order(_id(row))
    return _event(kind, _NODES[kind], row, _id(row))


def page_of(kind: EventKind, connection: JsonValue, size: int, request: str) -> Page:
    """Translate a page of a list. Raises CallFailed if the response is not a list.

    Shopify's own cursor is a key (the time of change and the id of the last entity), so changes between pages do no harm.
    """
    nodes, info = value_at(connection, "nodes"), value_at(connection, "pageInfo")
    if not isinstance(nodes, list) or not isinstance(info, dict):
        raise RESPONSES.unreadable(request, "it is not a list")
    cursor = info.get("endCursor") if info.get("hasNextPage") is True else None
    next_cursor = None if cursor is None else KeyPosition(str(cursor), size).cursor()
    return Page.of((event_from_node(kind, node) for node in nodes), next_cursor)


def changed_since(since: datetime | None) -> str | None:
    """The search term for entities that changed at or after `since`."""
    return None if since is None else f"updated_at:>='{format_time(since)}'"


def _event(
    kind: EventKind, fields: Callable[[Row], dict[str, object]], row: Row, entity_id: JsonValue
) -> NativeEvent | Unreadable:
    return translate("shopify", "Shopify", kind, row, lambda: fields(row), entity_id=entity_id, required=("updatedAt",))


# ----------------------------------------------------------------------------------------------- webhook bodies


def _body_customer(body: Row) -> dict[str, object]:
    tags = body.get("tags")
    return {
        "id": body["id"],
        "email": reported(body, "email"),
        **names(body, "first_name", "last_name", body.get("default_address")),
        "phone": reported(body, "phone"),
        "tags": [tag.strip() for tag in tags.split(",") if tag.strip()]
        if isinstance(tags, str)
        else reported(body, "tags"),
        "createdAt": body.get("created_at"),
        "updatedAt": body["updated_at"],
    }


def _body_order(body: Row) -> dict[str, object]:
    customer, currency = body.get("customer"), str(body["currency"])
    total = money(_current(body, "total_price"), currency)
    rows = [{**item, "quantity": _current(item, "quantity", body)} for item in objects(body.get("line_items"))]
    items = [item for item in rows if item["quantity"] != 0]
    lines = body_lines(body, items)
    discounted = [*lines, *body_lines(body, objects(body.get("shipping_lines")))]
    return {
        "id": body["id"],
        "customerId": customer.get("id") if isinstance(customer, dict) else None,
        "email": first_reported(reported(body, "email"), reported(body, "contact_email")),
        "financialStatus": _status(body.get("financial_status"), total),
        "currency": currency,
        "totalPrice": total,
        "subtotalPrice": subtotal(lines, currency),
        "refundedAmount": refunded(body_refunds(body), currency),
        "lineItems": [
            {
                "productId": item.get("product_id"),
                "variantId": item.get("variant_id"),
                "title": plain_text(item.get("title")),
                "quantity": item["quantity"],
                "price": in_currency(line.price, currency),
            }
            for item, line in zip(items, lines, strict=True)
        ],
        "discountCodes": [
            {
                "code": used.get("code"),
                "amount": saved_by(str(used.get("code")), discounted, currency) or money(used.get("amount"), currency),
            }
            for used in objects(body.get("discount_codes"))
            if used.get("code") != ""
        ],
        "createdAt": body.get("created_at"),
        "updatedAt": body["updated_at"],
    }


def _current(row: Row, name: str, order: Row | None = None) -> JsonValue:
    """The value of an order, or of its line, after the merchant edited the order. A refund also reduces the current values, to
    0 if everything is refunded: a refunded or voided order keeps its original values."""
    ended = str((order or row).get("financial_status")).lower() in ENDED
    return row.get(name) if ended or row.get(f"current_{name}") is None else row[f"current_{name}"]


def _body_product(body: Row) -> dict[str, object]:
    variants, gids = objects(body.get("variants")), body.get("variant_gids")
    truncated = isinstance(gids, list) and len(gids) > len(variants)
    return {
        "id": body["id"],
        "title": plain_text(reported(body, "title")),
        "imageUrl": reported(body, "image", "src"),
        "status": body.get("status"),
        "externalUrlHandle": reported(body, "handle"),
        "variants": None
        if truncated or not isinstance(body.get("variants"), list)
        else [
            {"externalVariantId": row["id"], "title": plain_text(row.get("title")), "position": row.get("position")}
            for row in variants
        ],
        "updatedAt": body["updated_at"],
    }


# ----------------------------------------------------------------------------------------------- GraphQL nodes


def _node_customer(node: Row) -> dict[str, object]:
    return {
        "id": _id(node),
        "email": reported(node, "defaultEmailAddress", "emailAddress"),
        **names(node, "firstName", "lastName", node.get("defaultAddress")),
        "phone": reported(node, "defaultPhoneNumber", "phoneNumber"),
        "tags": reported(node, "tags"),
        "createdAt": node.get("createdAt"),
        "updatedAt": node["updatedAt"],
    }


def _node_order(node: Row) -> dict[str, object]:
    currency, codes = str(node["currencyCode"]), node.get("discountCodes")
    total = money(_shop_amount(_current_node(node, node, "totalPriceSet")), currency)
    rows, shipping = _complete(node.get("lineItems")), _complete(node.get("shippingLines"))
    items = [{**item, "quantity": _current_node(node, item, "quantity")} for item in rows or ()]
    items = [item for item in items if item["quantity"] != 0]
    lines = node_lines(node, items)
    discounted = [] if rows is None or shipping is None else [*lines, *node_lines(node, shipping)]
    return {
        "id": _id(node),
        "customerId": _id(node.get("customer")),
        "email": reported(node, "email"),
        "financialStatus": _status(node.get("displayFinancialStatus"), total),
        "currency": currency,
        "totalPrice": total,
        "subtotalPrice": None if rows is None else subtotal(lines, currency),
        "refundedAmount": refunded(number(_shop_amount(node.get("totalRefundedSet"))), currency),
        "lineItems": None
        if rows is None
        else [
            {
                "productId": _id(item.get("product")),
                "variantId": _id(item.get("variant")),
                "title": plain_text(item.get("title")),
                "quantity": item["quantity"],
                "price": in_currency(line.price, currency),
            }
            for item, line in zip(items, lines, strict=True)
        ],
        "discountCodes": [
            set_fields({"code": code, "amount": saved_by(str(code), discounted, currency)}) for code in codes if code
        ]
        if isinstance(codes, list)
        else None,
        "createdAt": node.get("createdAt"),
        "updatedAt": node["updatedAt"],
    }


def _current_node(order: Row, row: Row, name: str) -> JsonValue:
    """As `_current`, of GraphQL."""
    current = f"current{name[0].upper()}{name[1:]}"
    ended = str(order.get("displayFinancialStatus")).lower() in ENDED
    return row.get(name) if ended or row.get(current) is None else row[current]


def _node_product(node: Row) -> dict[str, object]:
    variants = _complete(node.get("variants"))
    return {
        "id": _id(node),
        "title": plain_text(reported(node, "title")),
        "imageUrl": reported(node, "featuredMedia", "preview", "image", "url"),
        "status": str(node["status"]).lower(),
        "externalUrlHandle": reported(node, "handle"),
        "variants": None
        if variants is None
        else [
            {"externalVariantId": _id(row), "title": plain_text(row.get("title")), "position": row.get("position")}
            for row in variants
        ],
        "updatedAt": node["updatedAt"],
    }


_BODIES: Final[Mapping[EventKind, Callable[[Row], dict[str, object]]]] = {
    EventKind.CUSTOMER: _body_customer,
    EventKind.ORDER: _body_order,
    EventKind.PRODUCT: _body_product,
}
_NODES: Final[Mapping[EventKind, Callable[[Row], dict[str, object]]]] = {
    EventKind.CUSTOMER: _node_customer,
    EventKind.ORDER: _node_order,
    EventKind.PRODUCT: _node_product,
}


def _status(status: JsonValue, total: Decimal | None) -> str:
    if status is None:
        return "paid" if total == 0 else "pending"
    return str(status).lower()


def _shop_amount(bag: JsonValue) -> JsonValue:
    return value_at(bag, "shopMoney", "amount")


def _id(node: JsonValue) -> str | None:
    gid = value_at(node, "id")
    return None if gid is None else str(gid).rpartition("/")[2]


def _complete(connection: JsonValue) -> list[Row] | None:
    """All rows of a connection; None if Shopify has truncated it."""
    if value_at(connection, "pageInfo", "hasNextPage") is not False:
        return None
    return objects(value_at(connection, "nodes"))
