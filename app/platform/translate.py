"""A store's event -> the Platform's body. Pure; every name comes from the table in `fields`.

Fields that we do not know are forwarded as they came; `updatedAt` is ours (it orders versions) and stays here.
Money is a decimal string with the digits it came with.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Final

from pydantic import BaseModel, JsonValue

from platform_relay.inbox.messages import CustomerEvent, OrderEvent, ProductEvent, customer_of
from platform_relay.platform.fields import Fields

Body = dict[str, JsonValue]
_NAMES: Final = ("name", "firstName", "lastName", "phone")
NOT_FORWARDED: Final = frozenset({"id", "updatedAt", "variants"})


def customer(event: CustomerEvent, fields: Fields) -> Body:
    """The body of PUT customer. `name` is made of first and last name where it is missing: the Platform is only
    known for sure to read `name`."""
    body = _body("customer", event, fields)
    if event.name is None and (parts := [part for part in (event.firstName, event.lastName) if part]):
        body.setdefault(fields["customer.name"], " ".join(parts))
    return body


def customer_of_order(order: OrderEvent, fields: Fields) -> tuple[str, Body] | None:
    """The buyer as far as an order tells: its id at the Platform and the body of PUT customer.

    None when the order names neither a customer nor an e-mail.
    """
    identifier = customer_of(order)
    if identifier is None:
        return None
    extra = order.model_extra or {}
    names = {name: extra[name] for name in _NAMES if isinstance(extra.get(name), str)}
    return identifier, customer(CustomerEvent.model_construct(id=identifier, email=order.email, **names), fields)


def order(event: OrderEvent, fields: Fields) -> Body:
    """The body of PATCH order; POST has the id besides. A guest's order has an e-mail and no customer id."""
    return _body("order", event, fields)


def product(event: ProductEvent, fields: Fields) -> Body:
    """The body of PUT product, without its variants."""
    return _body("product", event, fields)


def variants(event: ProductEvent, fields: Fields) -> Body | None:
    """The body of POST variants; None when the event does not tell them (an empty list deletes all of them)."""
    if event.variants is None:
        return None
    return {fields["product.variants"]: [_body("variant", variant, fields) for variant in event.variants]}


def digest(*bodies: Mapping[str, JsonValue] | None) -> bytes:
    """A fingerprint of what is delivered; the order of names does not matter."""
    return hashlib.sha256(_CANONICAL.encode(bodies).encode()).digest()


_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)


_PARTS: Final = {"lineItems": "lineItem", "discountCodes": "discountCode"}


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
    """The model's own fields that are forwarded. Asking pydantic anew for each body takes a third of translating it."""
    return tuple(name for name in model.model_fields if name not in NOT_FORWARDED)


def _plain(value: JsonValue | Decimal | datetime) -> JsonValue:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value
