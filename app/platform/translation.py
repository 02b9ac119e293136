"""Translates a store's event into a request body for the Platform. Pure. Every name comes from the table in `fields`.

Unknown fields are forwarded unchanged. `updatedAt` orders versions in the relay and is not forwarded. Money is a decimal
string with the digits it arrived with.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Final

from pydantic import BaseModel, JsonValue

from platform_relay.inbox.events import CustomerEvent, OrderEvent, ProductEvent
from platform_relay.inbox.messages import customer_of
from platform_relay.platform.fields import Fields

Body = dict[str, JsonValue]
_NAMES: Final = ("name", "firstName", "lastName", "phone")
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)
_PARTS: Final = {"lineItems": "lineItem", "discountCodes": "discountCode"}
NOT_FORWARDED: Final = frozenset({"id", "updatedAt", "variants"})


def customer(event: CustomerEvent, fields: Fields) -> Body:
    """The body of PUT customer. A missing `name` is made from first and last name, because `name` is the only one that the
    Platform certainly reads."""
    body = _body("customer", event, fields)
    if event.name is None and (parts := [part for part in (event.firstName, event.lastName) if part]):
        body.setdefault(fields["customer.name"], " ".join(parts))
    return body


def customer_of_order(order: OrderEvent, fields: Fields) -> tuple[str, Body] | None:
    """The order's customer: the id at the Platform and the body of PUT customer.

    None when the order names neither a customer nor an e-mail address.
    """
    identifier = customer_of(order)
    if identifier is None:
        return None
    extra = order.model_extra or {}
    names = {name: extra[name] for name in _NAMES if isinstance(extra.get(name), str)}
    return identifier, customer(CustomerEvent.model_construct(id=identifier, email=order.email, **names), fields)


def order(event: OrderEvent, fields: Fields) -> Body:
    """The body of PATCH order; POST adds the id. A guest's order has an e-mail address and no customer id."""
    return _body("order", event, fields)


def product(event: ProductEvent, fields: Fields) -> Body:
    """The body of PUT product, without its variants."""
    return _body("product", event, fields)


def variants(event: ProductEvent, fields: Fields) -> Body | None:
    """The body of POST variants; None when the event has no list of variants (an empty list deletes all variants)."""
    if event.variants is None:
        return None
    return {fields["product.variants"]: [_body("variant", variant, fields) for variant in event.variants]}


def digest(*bodies: Mapping[str, JsonValue] | None) -> bytes:
    """A digest of the delivered bodies that does not depend on the order of names."""
    return hashlib.sha256(_CANONICAL.encode(bodies).encode()).digest()


def _body(entity: str, model: BaseModel, fields: Fields) -> Body:
    values: Body = {}
    for name in _names(type(model)):
        value = getattr(model, name)
        if value is None:
            continue
        if name in _PARTS:
            values[name] = [_body(_PARTS[name], part, fields) for part in value]
        else:
            values[name] = _plain(value)
    return fields.body(entity, values, model.model_extra)


@cache
def _names(model: type[BaseModel]) -> tuple[str, ...]:
    """The model's fields that are forwarded. Cached, because asking pydantic each time takes a third of the translation."""
    return tuple(name for name in model.model_fields if name not in NOT_FORWARDED)


def _plain(value: JsonValue | Decimal | datetime) -> JsonValue:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value
