"""Makes the Platform's request bodies of a stored event. Pure. Large events are prepared in another process (`core.compute`)."""

from dataclasses import dataclass
from datetime import datetime

from platform_relay.core import exact_json
from platform_relay.core.outcomes import Reject
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.events import CustomerEvent, OrderEvent, ProductEvent
from platform_relay.inbox.messages import customer_of
from platform_relay.platform import translation
from platform_relay.platform.fields import Fields
from platform_relay.platform.outcomes import unreadable_event


@dataclass(frozen=True, slots=True)
class PreparedCustomer:
    """`body` is the JSON text of the request, `digest` that of its content."""

    id: str
    body: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class PreparedProduct:
    """As PreparedCustomer; `variants` is the body of the second request, None if there is none."""

    id: str
    body: bytes
    variants: bytes | None
    digest: bytes


@dataclass(frozen=True, slots=True)
class PreparedOrder:
    """As PreparedCustomer, with the bodies of POST (`create`) and PATCH (`update`). `customer` is the customer's id at the
    Platform, `codes` are the discount codes."""

    id: str
    create: bytes
    update: bytes
    digest: bytes
    financial_status: str
    customer: str | None
    codes: tuple[str, ...]
    created_at: datetime | None


def prepare_customer(raw: bytes, fields: Fields) -> PreparedCustomer | Reject:
    try:
        event = CustomerEvent.parse(raw)
    except ValueError as error:
        return unreadable_event(error)
    return _prepared_customer(event.id, translation.customer(event, fields), fields)


def prepare_customer_of_order(raw: bytes, fields: Fields) -> PreparedCustomer | Reject:
    """The customer as the order has it."""
    try:
        customer = translation.customer_of_order(OrderEvent.parse(raw), fields)
    except ValueError as error:
        return unreadable_event(error)
    return (
        _prepared_customer(*customer, fields) if customer else Reject(because(ReasonCode.NO_CUSTOMER, entity="order"))
    )


def _prepared_customer(customer_id: str, body: translation.Body, fields: Fields) -> PreparedCustomer:
    text = exact_json.canonical(fields.wrapped("customer", body))
    return PreparedCustomer(customer_id, text, translation.digest(text))


def prepare_product(raw: bytes, fields: Fields) -> PreparedProduct | Reject:
    try:
        event = ProductEvent.parse(raw)
    except ValueError as error:
        return unreadable_event(error)
    body, variants = translation.product(event, fields), translation.variants(event, fields)
    first = exact_json.canonical(fields.wrapped("product", body))
    second = None if variants is None else exact_json.canonical(variants)
    return PreparedProduct(event.id, first, second, translation.digest(first, second))


def prepare_order(raw: bytes, fields: Fields) -> PreparedOrder | Reject:
    try:
        event = OrderEvent.parse(raw)
    except ValueError as error:
        return unreadable_event(error)
    body, refund = translation.order(event, fields), translation.refund(event)
    update = exact_json.canonical(fields.wrapped("order", body))
    return PreparedOrder(
        event.id,
        exact_json.canonical(fields.wrapped("order", {**body, fields["order.id"]: event.id})),
        update,
        translation.digest(update, refund),
        event.financialStatus,
        customer_of(event),
        tuple(discount.code for discount in event.discountCodes or ()),
        event.createdAt,
    )
