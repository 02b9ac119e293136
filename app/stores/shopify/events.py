"""Shopify's webhooks and lists, as our events. Pure.

A webhook's body has the form of the old REST API, a list's rows that of GraphQL; both become the same event.
`X-Shopify-Hmac-Sha256` is the base64 HMAC-SHA256 of the raw body, keyed by the app's client secret (doc).

Financial status: Shopify's eight are the Platform's eight.

    PENDING AUTHORIZED PARTIALLY_PAID PAID PARTIALLY_REFUNDED REFUNDED VOIDED EXPIRED    the same in lower case
    null (nothing to pay or not known yet)                                              paid when the total is 0,
                                                                                        else pending

Money is the store's, not the customer's currency. A list of line items or variants that Shopify cut is left out: the
Platform would take it for the whole.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from pydantic import JsonValue, ValidationError

from platform_relay.inbox.messages import EVENTS, Kind, UnstorableTextError, refuse_unstorable
from platform_relay.stores.native import (
    Ignored,
    NativeEvent,
    Page,
    Parsed,
    native_event,
    not_relayed,
    unreadable_entity,
    unreadable_webhook,
    wrong_signature,
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

Object = dict[str, JsonValue]
WANTED: Final = (
    "customers/create", "customers/update", "orders/create", "orders/updated", "products/create", "products/update",
)  # fmt: skip
KINDS: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(WANTED[:2], Kind.CUSTOMER),
    **dict.fromkeys(
        ("orders/create", "orders/updated", "orders/paid", "orders/cancelled", "orders/fulfilled",
         "orders/partially_fulfilled"), Kind.ORDER,
    ),
    **dict.fromkeys(WANTED[4:], Kind.PRODUCT),
}  # fmt: skip
NAMES: Final = {Kind.CUSTOMER: "Customer", Kind.ORDER: "Order", Kind.PRODUCT: "Product"}
ODD: Final = "a field is missing or odd"
LISTS: Final = {Kind.CUSTOMER: LIST_CUSTOMERS, Kind.ORDER: LIST_ORDERS, Kind.PRODUCT: LIST_PRODUCTS}
GETS: Final = {
    Kind.CUSTOMER: (GET_CUSTOMER, "Customer"), Kind.ORDER: (GET_ORDER, "Order"), Kind.PRODUCT: (GET_PRODUCT, "Product"),
}  # fmt: skip


def parse_webhook(headers: Mapping[str, str], raw: bytes, secret: str, host: str) -> Parsed:
    """See `native.ReceivesWebhooks`. The signature covers the body alone, so the body has to fit the topic, too."""
    expected = base64.b64encode(hmac.new(secret.encode(), raw, hashlib.sha256).digest())
    given = headers.get("x-shopify-hmac-sha256", "").strip().encode("utf-8", "replace")
    if not hmac.compare_digest(expected, given):
        return wrong_signature("SHOPIFY__CLIENT_SECRET")
    if headers.get("x-shopify-shop-domain", host).lower() != host.lower():
        return not_relayed("the webhook comes from another store that has the same app")
    topic = headers.get("x-shopify-topic", "")
    kind = KINDS.get(topic)
    return not_relayed(f"the topic {topic[:40]!r} is not relayed") if kind is None else _parsed(kind, raw)


def _parsed(kind: Kind, raw: bytes) -> Parsed:
    try:
        refuse_unstorable(raw)
        body = json.loads(raw)
    except (UnstorableTextError, ValueError, RecursionError):
        return unreadable_webhook("Shopify", "its body is not JSON that can be stored")
    if not isinstance(body, dict):
        return unreadable_webhook("Shopify", "its body is not an object")
    own = body.get("admin_graphql_api_id")
    if isinstance(own, str) and not own.startswith(f"gid://shopify/{NAMES[kind]}/"):
        return unreadable_webhook("Shopify", f"its topic is about a {NAMES[kind]}, its body is not")
    entity_id = str(body["id"]) if "id" in body else None
    return _event(kind, _BODIES[kind], body) or Ignored(unreadable_entity("Shopify", kind, entity_id, ODD))


def event_of_node(kind: Kind, node: JsonValue) -> NativeEvent | None:
    """The event of a GraphQL Order, Customer or Product; None when it cannot be read."""
    return _event(kind, _NODES[kind], node) if isinstance(node, dict) else None


def page_of(kind: Kind, connection: JsonValue, request: str) -> Page:
    """A list's page. Raises CallFailed when one of its rows cannot be read, so that none is passed over in silence."""
    nodes = connection.get("nodes") if isinstance(connection, dict) else None
    info = connection.get("pageInfo") if isinstance(connection, dict) else None
    if not isinstance(nodes, list) or not isinstance(info, dict):
        raise RESPONSES.unreadable(request, "it is not a list")
    events = [event_of_node(kind, node) for node in nodes]
    if None in events:
        raise RESPONSES.unreadable(request, f"row {events.index(None)}: {ODD}")
    more = info.get("endCursor") if info.get("hasNextPage") is True else None
    return Page(tuple(event for event in events if event), None if more is None else str(more))


def changed_since(since: datetime | None) -> str | None:
    """Shopify's search term for what changed at or after `since`."""
    return None if since is None else f"updated_at:>='{since.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}'"


def _event(kind: Kind, translate: Callable[[Object], dict[str, object]], given: Object) -> NativeEvent | None:
    try:
        fields = {name: value for name, value in translate(given).items() if value is not None}
        event = EVENTS[kind].model_validate(fields)
    except (AttributeError, InvalidOperation, KeyError, TypeError, ValueError, ValidationError):
        return None
    if event.updatedAt is None:
        return None
    return native_event("shopify", kind, event)


# ----------------------------------------------------------------------------------------------- webhook bodies


def _body_customer(body: Object) -> dict[str, object]:
    tags = body.get("tags")
    return {
        "id": body["id"],
        "email": body.get("email") or None,
        "firstName": body.get("first_name"),
        "lastName": body.get("last_name"),
        "phone": body.get("phone"),
        "tags": [tag.strip() for tag in tags.split(",") if tag.strip()] if isinstance(tags, str) else None,
        "createdAt": body.get("created_at"),
        "updatedAt": body["updated_at"],
    }


def _body_order(body: Object) -> dict[str, object]:
    customer = body.get("customer")
    total = _money(body["total_price"])
    return {
        "id": body["id"],
        "customerId": customer.get("id") if isinstance(customer, dict) else None,
        "email": body.get("email") or body.get("contact_email") or None,
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
            for item in _objects(body.get("line_items"))
        ],
        "discountCodes": [
            {"code": used["code"], "amount": _money(used.get("amount"))}
            for used in _objects(body.get("discount_codes"))
            if used.get("code")
        ],
        "createdAt": body.get("created_at"),
        "updatedAt": body["updated_at"],
    }


def _body_product(body: Object) -> dict[str, object]:
    variants, gids = _objects(body.get("variants")), body.get("variant_gids")
    image = body.get("image")
    cut = isinstance(gids, list) and len(gids) > len(variants)
    return {
        "id": body["id"],
        "title": body.get("title"),
        "imageUrl": image.get("src") if isinstance(image, dict) else None,
        "status": body.get("status"),
        "externalUrlHandle": body.get("handle"),
        "variants": None
        if cut or not isinstance(body.get("variants"), list)
        else [
            {"externalVariantId": each["id"], "title": each.get("title"), "position": each.get("position")}
            for each in variants
        ],
        "updatedAt": body["updated_at"],
    }


# ----------------------------------------------------------------------------------------------- GraphQL nodes


def _node_customer(node: Object) -> dict[str, object]:
    email, phone = node.get("defaultEmailAddress"), node.get("defaultPhoneNumber")
    return {
        "id": _id(node),
        "email": email.get("emailAddress") if isinstance(email, dict) else None,
        "firstName": node.get("firstName"),
        "lastName": node.get("lastName"),
        "phone": phone.get("phoneNumber") if isinstance(phone, dict) else None,
        "tags": node.get("tags"),
        "createdAt": node.get("createdAt"),
        "updatedAt": node["updatedAt"],
    }


def _node_order(node: Object) -> dict[str, object]:
    total = _shop_money(node["totalPriceSet"])
    codes = node.get("discountCodes")
    return {
        "id": _id(node),
        "customerId": _id(node.get("customer")),
        "email": node.get("email") or None,
        "financialStatus": _status(node.get("displayFinancialStatus"), total),
        "currency": node["currencyCode"],
        "totalPrice": total,
        "subtotalPrice": _shop_money(node.get("subtotalPriceSet")),
        "lineItems": _whole(
            node.get("lineItems"),
            lambda item: {
                "productId": _id(item.get("product")),
                "variantId": _id(item.get("variant")),
                "title": item.get("title"),
                "quantity": item.get("quantity"),
                "price": _shop_money(item.get("originalUnitPriceSet")),
            },
        ),
        "discountCodes": [{"code": code} for code in codes if code] if isinstance(codes, list) else None,
        "createdAt": node.get("createdAt"),
        "updatedAt": node["updatedAt"],
    }


def _node_product(node: Object) -> dict[str, object]:
    return {
        "id": _id(node),
        "title": node.get("title"),
        "imageUrl": _in(node, "featuredMedia", "preview", "image", "url"),
        "status": str(node["status"]).lower(),
        "externalUrlHandle": node.get("handle"),
        "variants": _whole(
            node.get("variants"),
            lambda each: {
                "externalVariantId": _id(each),
                "title": each.get("title"),
                "position": each.get("position"),
            },
        ),
        "updatedAt": node["updatedAt"],
    }


_BODIES: Final[Mapping[Kind, Callable[[Object], dict[str, object]]]] = {
    Kind.CUSTOMER: _body_customer, Kind.ORDER: _body_order, Kind.PRODUCT: _body_product,
}  # fmt: skip
_NODES: Final[Mapping[Kind, Callable[[Object], dict[str, object]]]] = {
    Kind.CUSTOMER: _node_customer, Kind.ORDER: _node_order, Kind.PRODUCT: _node_product,
}  # fmt: skip


def _status(shown: JsonValue, total: str | None) -> str:
    if shown is None:
        return "paid" if total is not None and Decimal(total) == 0 else "pending"
    return str(shown).lower()


def _money(value: JsonValue) -> str | None:
    """At least two places, as webhooks write it; GraphQL drops trailing zeros."""
    if value is None:
        return None
    amount = Decimal(str(value))
    return f"{amount.quantize(Decimal('0.01')) if int(amount.as_tuple().exponent) > -2 else amount:f}"


def _shop_money(bag: JsonValue) -> str | None:
    return _money(_in(bag, "shopMoney", "amount"))


def _id(node: JsonValue) -> str | None:
    found = _in(node, "id")
    return None if found is None else str(found).rpartition("/")[2]


def _in(value: JsonValue, *path: str) -> JsonValue:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _objects(value: JsonValue) -> list[dict[str, JsonValue]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _whole(connection: JsonValue, translate: Callable[[Object], object]) -> list[object] | None:
    if _in(connection, "pageInfo", "hasNextPage") is not False:
        return None
    return [translate(each) for each in _objects(_in(connection, "nodes"))]
