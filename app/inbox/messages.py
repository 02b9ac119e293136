"""Makes the message of an event, with the job that it requires. Pure.

    customers  PUT at the Platform, the newest version wins     lane customer:<id>   collapses
    orders     POST, then PATCH; every version is sent          lane order:<id>      depends on customer:<id or e-mail>
    products   PUT at the Platform, the newest version wins     lane product:<id>    collapses

The Platform's webhooks are read in `platform_relay.platform.webhooks`, which makes the same `Incoming`.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never

from platform_relay.core.outcomes import JobSpec
from platform_relay.inbox.events import KIND_OF, CustomerEvent, OrderEvent, ProductEvent

PLATFORM: Final = "platform"
STORE: Final = "store"

MAYBE_DELIVERED: Final = {"maybe_delivered": "true"}
"""A param of the jobs of a repair: the Platform may already have the entity."""


class JobKind(StrEnum):
    """The kinds of jobs; `wiring.handlers` has the handler of each."""

    FORWARD_CUSTOMER = "forward_customer"
    FORWARD_ORDER = "forward_order"
    FORWARD_PRODUCT = "forward_product"
    USE_REWARD = "use_reward"
    FETCH_ENTITY = "fetch_entity"
    ISSUE_COUPON = "issue_coupon"
    RETIRE_COUPON = "retire_coupon"
    RETURN_POINTS = "return_points"
    SYNC_LOYALTY = "sync_loyalty"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message ready for the inbox.

    `dedupe_key` is unique per source. `version` is the sender's own time of the entity's version. With `strict`, a
    second message with the same key and another body is a conflict; otherwise the first one is kept. `event` is the typed
    event that the body was translated into, None if the body is a typed event.
    """

    source: str
    kind: str
    dedupe_key: str
    body: bytes
    jobs: tuple[JobSpec, ...]
    version: datetime | None = None
    customer_ref: str | None = None
    order_ref: str | None = None
    product_ref: str | None = None
    coupon_ref: str | None = None
    strict: bool = True
    event: bytes | None = None

    @property
    def body_hash(self) -> bytes:
        return hashlib.sha256(self.body).digest()


def incoming(
    event: CustomerEvent | OrderEvent | ProductEvent,
    raw: bytes,
    *,
    message_id: str,
    source: str = STORE,
    idempotency_key: str | None = None,
    dedupe_key: str | None = None,
    event_body: bytes | None = None,
    backfill: bool = False,
) -> Incoming:
    """Make the message of an event, with its job.

    Without an Idempotency-Key, an event with a version (`updatedAt`) is a duplicate if kind, id, version and body are the
    same. An event without a version is always new: a store may correctly send the same body again (A, B, A). A store's
    native webhook has its own `dedupe_key`, and an `event_body`: the event as JSON, translated from the `raw` body.
    """
    kind, customer, order, product, code, depends_on = KIND_OF[type(event)], None, None, None, None, None
    match event:
        case CustomerEvent():
            customer = event.id
            job_kind, lane = JobKind.FORWARD_CUSTOMER, customer_lane(event.id)
        case ProductEvent():
            product = event.id
            job_kind, lane = JobKind.FORWARD_PRODUCT, f"product:{event.id}"
        case OrderEvent():
            customer, order = customer_of(event), event.id
            job_kind, lane = JobKind.FORWARD_ORDER, f"order:{event.id}"
            depends_on = customer_lane(customer) if customer else None
            code = event.discountCodes[0].code if event.discountCodes else None
        case _:
            assert_never(event)
    if dedupe_key is not None:
        key = dedupe_key
    elif idempotency_key is not None:
        key = f"key:{idempotency_key}"
    elif event.updatedAt is not None:
        key = f"{kind}:{event.id}:{event.updatedAt.isoformat()}:{hashlib.sha256(raw).hexdigest()}"
    else:
        key = f"id:{message_id}"
    return Incoming(
        source,
        kind,
        key,
        raw,
        (JobSpec(job_kind, PLATFORM, lane, depends_on=depends_on, collapse=order is None, backfill=backfill),),
        event.updatedAt,
        customer,
        order,
        product,
        code,
        strict=dedupe_key is None,
        event=event_body,
    )


def customer_of(order: OrderEvent) -> str | None:
    """The customer's id at the Platform: the store's id; for a guest the e-mail address in lower case."""
    return order.customerId or (order.email.lower() if order.email else None)


def customer_lane(customer_id: str) -> str:
    return f"customer:{customer_id}"


def coupon_lane(code: str) -> str:
    return f"coupon:{code}"


def redemption_claim_lane(code: str, message_id: str) -> str:
    """The lane of one redemption claim: another claim to the code that waits, such as a forged one, does not delay it."""
    return f"{coupon_lane(code)}#{message_id}"
