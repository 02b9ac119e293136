"""Translates a store's event into a request body for the Platform. Pure. Every name comes from the table in `fields`.

Unknown fields are forwarded unchanged. A field that is null was removed in the store, and is sent as the table defines it; a
field that is absent is not sent, so the Platform keeps what it has. An e-mail address that identifies no customer counts as
absent. `updatedAt` orders versions in the relay and is not forwarded. Money is a decimal string, or a number (`form.money`), with
the digits it arrived with.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Final, cast

from pydantic import BaseModel, JsonValue

from platform_relay.core import exact_json
from platform_relay.inbox.events import (
    CustomerEvent,
    OrderEvent,
    ProductEvent,
    is_placeholder_address,
    quantity_number,
)
from platform_relay.inbox.messages import customer_of
from platform_relay.platform.fields import Fields

Body = dict[str, JsonValue]
_NAMES: Final = ("name", "firstName", "lastName", "phone")
_PARTS: Final = {"lineItems": "lineItem", "discountCodes": "discountCode"}


NOT_FORWARDED: Final = frozenset({"id", "updatedAt", "variants"})


def customer(event: CustomerEvent, fields: Fields) -> Body:
    """The body of PUT customer. A missing `name` is made from first and last name, because `name` is the only one that the
    Platform certainly reads."""
    body = _body("customer", event, fields)
    if event.name is not None:
        return body
    if parts := [part for part in (event.firstName, event.lastName) if part]:
        if "name" in event.model_fields_set:
            body[fields["customer.name"]] = " ".join(parts)
        body.setdefault(fields["customer.name"], " ".join(parts))
    elif event.firstName is None and event.lastName is None and {"firstName", "lastName"} <= event.model_fields_set:
        return {**fields.body("customer", {"name": None}), **body}
    return body


def customer_of_order(order: OrderEvent, fields: Fields) -> tuple[str, Body] | None:
    """The order's customer: the id at the Platform and the body of PUT customer.

    None when the order names neither a customer nor an e-mail address.
    """
    identifier = customer_of(order)
    if identifier is None:
        return None
    extra = order.model_extra or {}
    known = {name: extra[name] for name in _NAMES if isinstance(extra.get(name), str)}
    if order.email is not None and not is_placeholder_address(order.email):
        known["email"] = order.email
    return identifier, customer(CustomerEvent.model_construct(id=identifier, **known), fields)


def order(event: OrderEvent, fields: Fields) -> Body:
    """The body of PATCH order; POST adds the id. A guest's order has an e-mail address and no customer id."""
    return _body("order", event, fields)


def refund(event: OrderEvent) -> Body | None:
    """The refund as a part of the order's digest; None without a refund. So another partial refund is an update for the
    Platform, even if no field of the request carries the amount."""
    return {"refundedAmount": _plain(event.refundedAmount)} if event.refundedAmount else None


def product(event: ProductEvent, fields: Fields) -> Body:
    """The body of PUT product, without its variants."""
    return _body("product", event, fields)


def variants(event: ProductEvent, fields: Fields) -> Body | None:
    """The body of POST variants; None when the event has no list of variants (an empty list deletes all variants)."""
    if event.variants is None:
        return (fields.body("product", {"variants": None}) if "variants" in event.model_fields_set else {}) or None
    return {fields["product.variants"]: [_body("variant", variant, fields) for variant in event.variants]}


def digest(*bodies: Mapping[str, JsonValue] | bytes | None) -> bytes:
    """A digest of the delivered bodies that does not depend on the order of names. Bytes are a canonical JSON text. None: there is
    no such body."""
    texts = (body if isinstance(body, bytes) else exact_json.canonical(body) for body in bodies if body is not None)
    return hashlib.sha256(b"\n".join(texts)).digest()


def _body(entity: str, model: BaseModel, fields: Fields) -> Body:
    values: Body = {}
    fields_set = model.model_fields_set
    for name in _names(type(model)):
        value = getattr(model, name)
        if value is None:
            if name in fields_set:
                values[name] = None
        elif type(value) is str and name != "email":
            values[name] = value
        elif name in _PARTS:
            values[name] = [_body(_PARTS[name], part, fields) for part in value]
        elif name == "quantity":
            values[name] = cast("JsonValue", quantity_number(value))  # a Decimal instead of a float
        elif name == "email" and is_placeholder_address(value):
            continue
        elif fields.money_is_number and isinstance(value, Decimal):
            values[name] = cast("JsonValue", exact_json.ExactNumber(exact_json.plain(value)))
        else:
            values[name] = _plain(value)
    return fields.body(entity, values, model.model_extra)


@cache
def _names(model: type[BaseModel]) -> tuple[str, ...]:
    """The model's fields that are forwarded. Cached, because asking pydantic each time takes a third of the translation."""
    return tuple(name for name in model.model_fields if name not in NOT_FORWARDED)


def _plain(value: JsonValue | Decimal | datetime) -> JsonValue:
    if isinstance(value, Decimal):
        return exact_json.plain(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value
