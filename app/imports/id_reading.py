"""Reads the ids of a row: of an entity, and of the customer of an order. Pure.

An id that cannot be read rejects its row. To leave out the customer of an order would make it an order of a guest.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from pydantic import JsonValue

from platform_relay.core.exact_json import ExactNumber
from platform_relay.imports.id_values import damage_of, is_placeholder
from platform_relay.inbox.events import EventKind

_GID: Final = re.compile(r"gid://shopify/([A-Za-z]{1,60})/([0-9]{1,20})")
_OF_SHOPIFY: Final = "gid://"
_CUSTOMER: Final = "Customer"
_KINDS: Final[Mapping[EventKind, str]] = {
    EventKind.CUSTOMER: _CUSTOMER,
    EventKind.ORDER: "Order",
    EventKind.PRODUCT: "Product",
}
_PARTS: Final[Mapping[str, Mapping[str, str]]] = {
    "lineItems": {"productId": "Product", "variantId": "ProductVariant"},
    "variants": {"externalVariantId": "ProductVariant"},
}
_EXACT: Final = 2**53
"""JSON numbers with decimal places were floats in the program that wrote them. Larger ones lost digits there."""


def is_no_customer(value: JsonValue | Decimal) -> bool:
    """Whether an order has no customer: WooCommerce and BigCommerce write 0 for a guest, as a number or as a text."""
    identifier = _text_or_number(value)
    return identifier is not None and is_placeholder(str(identifier))


def read_id(
    kind: EventKind,
    field: str,
    value: JsonValue | Decimal,
    column: str,
    *,
    rounded: bool = False,
    dates: bool = True,
) -> str | int:
    """The id in a value of the field's column, as it is; without what Shopify's GraphQL API writes in front of it. `rounded` and
    `dates`: see `damage_of`. Raises ValueError with the end of a sentence that begins with the value."""
    identifier = _text_or_number(value)
    if identifier is None:
        raise ValueError(
            "is not an id, which is a text or a whole number; a program may have changed it: export it as text"
        )
    text = str(identifier)
    if text.casefold() == column.casefold():  # files that were joined have it
        raise ValueError("is the name of the column, so the row is a second header")
    if isinstance(identifier, str) and identifier.startswith(_OF_SHOPIFY):
        return _of_shopify(identifier, _KINDS[kind] if field == "id" else _CUSTOMER)
    if damage := damage_of(text, rounded=rounded, dates=dates):
        raise ValueError(damage)
    return identifier


def with_plain_ids(field: str, value: JsonValue) -> JsonValue:
    """A list of line items or variants with the ids as Shopify's webhooks have them; any other value unchanged."""
    parts = _PARTS.get(field)
    if parts is None or not isinstance(value, list):
        return value
    return [_with_plain_parts(element, parts) if isinstance(element, dict) else element for element in value]


def _with_plain_parts(element: dict[str, JsonValue], parts: Mapping[str, str]) -> dict[str, JsonValue]:
    plain: dict[str, JsonValue] = {}
    for part, shopify_kind in parts.items():
        value = element.get(part)
        match = _GID.fullmatch(value) if isinstance(value, str) else None
        if match is not None and match[1] == shopify_kind:
            plain[part] = match[2]
    return {**element, **plain}


def _text_or_number(value: JsonValue | Decimal) -> str | int | None:
    """A text or a whole number; None for anything else. pandas writes 5.0 for 5 if a row of the column has no value."""
    if isinstance(value, Decimal):
        text = value.text if isinstance(value, ExactNumber) else str(value)
        is_exact = "e" not in text.lower() and value == value.to_integral_value() and abs(value) < _EXACT
        return int(value) if is_exact else None
    return value if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)) else None


def _of_shopify(text: str, expected: str) -> str:
    match = _GID.fullmatch(text)
    if match is None:
        raise ValueError("is an id of Shopify in an unknown form")
    if match[1] != expected:
        raise ValueError(f"is an id of Shopify for another kind ({match[1]}, not {expected})")
    return match[2]
