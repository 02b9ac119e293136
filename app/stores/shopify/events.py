"""Shopify's webhooks and lists, translated into events. Pure.

The body of a webhook has the format of the old REST API, the rows of a list the format of GraphQL. Both become the same event.
`X-Shopify-Hmac-Sha256` is the base64 HMAC-SHA256 of the raw body; the key is the app's client secret (doc).

The financial status is the same as the Platform's:

    PENDING AUTHORIZED PARTIALLY_PAID PAID PARTIALLY_REFUNDED REFUNDED VOIDED EXPIRED    the same in lower case
    null (nothing to pay, or not known yet)                                             paid if the total is 0,
                                                                                        pending otherwise

Amounts are in the store's currency, not in the customer's. A list of line items or variants that Shopify has truncated is
left out, because the Platform would take it as complete.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Final, cast

from pydantic import JsonValue, ValidationError

from platform_relay.core import exact_json
from platform_relay.inbox.events import EVENTS, EventKind, UnstorableTextError, refuse_unstorable
from platform_relay.stores.native import (
    Ignored,
    NativeEvent,
    Page,
    ParsedWebhook,
    invalid_signature,
    native_event,
    not_relayed,
    unreadable_entity,
    unreadable_webhook,
)
from platform_relay.stores.parsing import (
    Row,
    first_reported,
    format_time,
    objects,
    reported,
    set_fields,
    value_at,
)
from platform_relay.stores.shopify.api import RESPONSES
from platform_relay.stores.shopify.documents import (
    GET_CUSTOMER,
    GET_ORDER,
    GET_PRODUCT,
    LIST_CUSTOMERS,
    LIST_ORDERS,
    LIST_PRODUCTS,
)

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
INVALID_FIELD: Final = "a field is missing or has an unexpected value"
LISTS: Final = {EventKind.CUSTOMER: LIST_CUSTOMERS, EventKind.ORDER: LIST_ORDERS, EventKind.PRODUCT: LIST_PRODUCTS}
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
        refuse_unstorable(raw)
        body = cast("JsonValue", exact_json.loads(raw))  # with Decimals instead of floats
    except (UnstorableTextError, ValueError):
        return unreadable_webhook("Shopify", "its body is not JSON that can be stored")
    if not isinstance(body, dict):
        return unreadable_webhook("Shopify", "its body is not an object")
    gid = body.get("admin_graphql_api_id")
    if isinstance(gid, str) and not gid.startswith(f"gid://shopify/{NAMES[kind]}/"):
        return unreadable_webhook("Shopify", f"its topic is about a {NAMES[kind]}, but its body is not")
    entity_id = str(body["id"]) if "id" in body else None
    return _event(kind, _BODIES[kind], body) or Ignored(unreadable_entity("Shopify", kind, entity_id, INVALID_FIELD))


def event_from_node(kind: EventKind, node: JsonValue) -> NativeEvent | None:
    """Translate a GraphQL Order, Customer or Product; None if it cannot be read."""
    return _event(kind, _NODES[kind], node) if isinstance(node, dict) else None


def page_of(kind: EventKind, connection: JsonValue, request: str) -> Page:
    """Translate a page of a list. Raises CallFailed if a row cannot be read, so that no row is skipped silently."""
    nodes, info = value_at(connection, "nodes"), value_at(connection, "pageInfo")
    if not isinstance(nodes, list) or not isinstance(info, dict):
        raise RESPONSES.unreadable(request, "it is not a list")
    events = [event_from_node(kind, node) for node in nodes]
    if None in events:
        raise RESPONSES.unreadable(request, f"row {events.index(None)}: {INVALID_FIELD}")
    cursor = info.get("endCursor") if info.get("hasNextPage") is True else None
    return Page(tuple(event for event in events if event), None if cursor is None else str(cursor))


def changed_since(since: datetime | None) -> str | None:
    """The search term for entities that changed at or after `since`."""
    return None if since is None else f"updated_at:>='{format_time(since)}'"


def _event(kind: EventKind, translate: Callable[[Row], dict[str, object]], row: Row) -> NativeEvent | None:
    try:
        event = EVENTS[kind].model_validate(set_fields(translate(row)))
    except (AttributeError, InvalidOperation, KeyError, TypeError, ValueError, ValidationError):
        return None
    if event.updatedAt is None:
        return None
    return native_event("shopify", kind, event)


# ----------------------------------------------------------------------------------------------- webhook bodies


def _body_customer(body: Row) -> dict[str, object]:
    tags = body.get("tags")
    return {
        "id": body["id"],
        "email": reported(body, "email"),
        "firstName": reported(body, "first_name"),
        "lastName": reported(body, "last_name"),
        "phone": reported(body, "phone"),
        "tags": [tag.strip() for tag in tags.split(",") if tag.strip()]
        if isinstance(tags, str)
        else reported(body, "tags"),
        "createdAt": body.get("created_at"),
        "updatedAt": body["updated_at"],
    }


def _body_order(body: Row) -> dict[str, object]:
    customer = body.get("customer")
    total = _money(body["total_price"])
    return {
        "id": body["id"],
        "customerId": customer.get("id") if isinstance(customer, dict) else None,
        "email": first_reported(reported(body, "email"), reported(body, "contact_email")),
        "financialStatus": _status(body.get("financial_status"), total),
        "currency": body["currency"],
        "totalPrice": total,
        "subtotalPrice": _money(body.get("subtotal_price")),
        "lineItems": [
            {
                "productId": item.get("product_id"),
                "variantId": item.get("variant_id"),
                "title": item.get("title"),
                "quantity": item.get("quantity"),
                "price": _money(item.get("price")),
            }
            for item in objects(body.get("line_items"))
        ],
        "discountCodes": [
            {"code": used["code"], "amount": _money(used.get("amount"))}
            for used in objects(body.get("discount_codes"))
            if used.get("code")
        ],
        "createdAt": body.get("created_at"),
        "updatedAt": body["updated_at"],
    }


def _body_product(body: Row) -> dict[str, object]:
    variants, gids = objects(body.get("variants")), body.get("variant_gids")
    truncated = isinstance(gids, list) and len(gids) > len(variants)
    return {
        "id": body["id"],
        "title": reported(body, "title"),
        "imageUrl": reported(body, "image", "src"),
        "status": body.get("status"),
        "externalUrlHandle": reported(body, "handle"),
        "variants": None
        if truncated or not isinstance(body.get("variants"), list)
        else [
            {"externalVariantId": row["id"], "title": row.get("title"), "position": row.get("position")}
            for row in variants
        ],
        "updatedAt": body["updated_at"],
    }


# ----------------------------------------------------------------------------------------------- GraphQL nodes


def _node_customer(node: Row) -> dict[str, object]:
    return {
        "id": _id(node),
        "email": reported(node, "defaultEmailAddress", "emailAddress"),
        "firstName": reported(node, "firstName"),
        "lastName": reported(node, "lastName"),
        "phone": reported(node, "defaultPhoneNumber", "phoneNumber"),
        "tags": reported(node, "tags"),
        "createdAt": node.get("createdAt"),
        "updatedAt": node["updatedAt"],
    }


def _node_order(node: Row) -> dict[str, object]:
    total = _store_money(node["totalPriceSet"])
    codes = node.get("discountCodes")
    return {
        "id": _id(node),
        "customerId": _id(node.get("customer")),
        "email": reported(node, "email"),
        "financialStatus": _status(node.get("displayFinancialStatus"), total),
        "currency": node["currencyCode"],
        "totalPrice": total,
        "subtotalPrice": _store_money(node.get("subtotalPriceSet")),
        "lineItems": _complete(
            node.get("lineItems"),
            lambda item: {
                "productId": _id(item.get("product")),
                "variantId": _id(item.get("variant")),
                "title": item.get("title"),
                "quantity": item.get("quantity"),
                "price": _store_money(item.get("originalUnitPriceSet")),
            },
        ),
        "discountCodes": [{"code": code} for code in codes if code] if isinstance(codes, list) else None,
        "createdAt": node.get("createdAt"),
        "updatedAt": node["updatedAt"],
    }


def _node_product(node: Row) -> dict[str, object]:
    return {
        "id": _id(node),
        "title": reported(node, "title"),
        "imageUrl": reported(node, "featuredMedia", "preview", "image", "url"),
        "status": str(node["status"]).lower(),
        "externalUrlHandle": reported(node, "handle"),
        "variants": _complete(
            node.get("variants"),
            lambda row: {"externalVariantId": _id(row), "title": row.get("title"), "position": row.get("position")},
        ),
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


def _status(status: JsonValue, total: str | None) -> str:
    if status is None:
        return "paid" if total is not None and Decimal(total) == 0 else "pending"
    return str(status).lower()


def _money(value: JsonValue) -> str | None:
    """An amount with at least two decimal places, as in webhooks. GraphQL omits trailing zeros."""
    if value is None:
        return None
    amount = Decimal(str(value))
    return exact_json.plain(amount.quantize(Decimal("0.01")) if int(amount.as_tuple().exponent) > -2 else amount)


def _store_money(bag: JsonValue) -> str | None:
    return _money(value_at(bag, "shopMoney", "amount"))


def _id(node: JsonValue) -> str | None:
    gid = value_at(node, "id")
    return None if gid is None else str(gid).rpartition("/")[2]


def _complete(connection: JsonValue, translate: Callable[[Row], object]) -> list[object] | None:
    """All rows of a connection, translated; None if Shopify has truncated it."""
    if value_at(connection, "pageInfo", "hasNextPage") is not False:
        return None
    return [translate(row) for row in objects(value_at(connection, "nodes"))]
