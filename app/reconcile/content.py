"""What the relay would send of an entity, to compare it with what it delivered. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactJson
from platform_relay.core.outcomes import Reject
from platform_relay.forwarding.prepare import prepare_customer, prepare_order, prepare_product
from platform_relay.inbox.events import EventKind
from platform_relay.platform.fields import Fields


@dataclass(frozen=True, slots=True)
class Content:
    """`digest` is the one that a delivery stores; `bodies` are the JSON texts of the requests."""

    digest: bytes
    bodies: tuple[bytes | None, ...]


def content_of(kind: EventKind, raw: bytes, fields: Fields) -> Content | None:
    """The content of an event as JSON; None if it cannot be read."""
    match kind:
        case EventKind.CUSTOMER:
            customer = prepare_customer(raw, fields)
            return None if isinstance(customer, Reject) else Content(customer.digest, (customer.body,))
        case EventKind.ORDER:
            order = prepare_order(raw, fields)
            return None if isinstance(order, Reject) else Content(order.digest, (order.update,))
        case EventKind.PRODUCT:
            product = prepare_product(raw, fields)
            return None if isinstance(product, Reject) else Content(product.digest, (product.body, product.variants))


def is_part_of(listed: Content, delivered: Content) -> bool:
    """Whether everything in the listed content was delivered. Some lists contain fewer fields than the store's webhooks."""
    return all(
        part is None or (other is not None and _is_part_of(exact_json.loads(part), exact_json.loads(other)))
        for part, other in zip(listed.bodies, delivered.bodies, strict=True)
    )


def _is_part_of(listed: ExactJson, delivered: ExactJson) -> bool:
    if isinstance(listed, dict) and isinstance(delivered, dict):
        return all(name in delivered and _is_part_of(value, delivered[name]) for name, value in listed.items())
    if isinstance(listed, list) and isinstance(delivered, list):
        return len(listed) == len(delivered) and all(map(_is_part_of, listed, delivered))
    return listed == delivered


def changed_fields(listed: Content, delivered: Content) -> tuple[str, ...]:
    """The names of the fields of the listed content that were not delivered as they are. No values."""
    ours, theirs = field_values(listed), field_values(delivered)
    return tuple(name for name, value in ours.items() if name not in theirs or theirs[name] != value)


def field_values(content: Content) -> dict[str, ExactJson]:
    """The fields of the requests by name, such as `totalPrice` or `lineItems[0].price`, in their order."""
    values: dict[str, ExactJson] = {}
    for number, body in enumerate(content.bodies):
        if body is not None:
            values.update(leaves(exact_json.loads(body), "variants" if number else ""))
    return values


def leaves(value: ExactJson, name: str = "") -> Iterator[tuple[str, ExactJson]]:
    """The values inside of a value, each with its path, such as `lineItems[0].price`."""
    match value:
        case dict() if value:
            for member, inner in value.items():
                yield from leaves(inner, f"{name}.{member}" if name else member)
        case list() if value:
            for position, inner in enumerate(value):
                yield from leaves(inner, f"{name}[{position}]")
        case _:
            yield name, value


def unwrapped(values: Mapping[str, ExactJson], member: str | None) -> dict[str, ExactJson]:
    """The fields without the name of the member that contains all of them (`form.customer` of PLATFORM__FIELDS)."""
    beginning = f"{member}."
    return {name.removeprefix(beginning) if member else name: value for name, value in values.items()}
