"""Makes the message of an event, with the job that it requires. Pure.

    customers  PUT at the Platform, the newest version wins     lane customer:<id>   collapses
    orders     POST, then PATCH; every version is sent          lane order:<id>      depends on customer:<id or e-mail>
    products   PUT at the Platform, the newest version wins     lane product:<id>    collapses

The Platform's webhooks are read in `platform_relay.platform.webhooks`, which makes the same `Incoming`.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, assert_never
from uuid import UUID

from platform_relay.core.outcomes import JobSpec
from platform_relay.core.reasons import Reason
from platform_relay.inbox.events import (
    KIND_OF,
    CustomerEvent,
    EventKind,
    OrderEvent,
    ProductEvent,
    is_placeholder_address,
)

PLATFORM: Final = "platform"
STORE: Final = "store"
STORE_LOYALTY: Final = "store_loyalty"
"""The loyalty sync. It calls the store too, but with its own circuit breaker, so that its failures never stop coupons."""

MAYBE_DELIVERED: Final = {"maybe_delivered": "true"}
"""A param of the jobs of a repair: the Platform may already have the entity."""

SKIP_WITHOUT_CUSTOMER: Final = {"without_customer": "skip"}
"""A param of the jobs of the store's own orders that name no customer, such as a sale at the till. An order that is sent to the
API without a customer is rejected instead: its sender can correct it."""

OLDEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The version of what a file or a list has without a time of change: older than every event."""


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
class SameTime:
    """Identifies an entity's versions with one time of change. Their dedupe keys are `prefix` and VERSION_DIGITS digits of the
    content's digest.

    Stores change entities without moving that time. So a message is a duplicate only of the newest one that was accepted, and
    another content leads to the job `fetch`, which reads the entity's current state. With `fetch` None, what arrives last is
    the newest. `is_current`: the message is what such a job read.
    """

    prefix: str
    fetch: JobSpec | None
    is_current: bool = False


VERSION_DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message ready for the inbox.

    `dedupe_key` is unique per source. `version` is the sender's own time of the entity's version. With `strict`, a
    second message with the same key and another body is a conflict; otherwise the first one is kept. `event` is the typed
    event that the body was translated into, None if the body is a typed event. `reason`: why the message requires no job, why
    its entity cannot be read, or which of its fields were left out. `same_time`: see SameTime. `version_prefix`: the message
    counts as a version with this SameTime.prefix although it has no `same_time`. A message that only leads to a
    job that fetches its entity (`refetch`) is a duplicate only while that job has not started.
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
    reason: Reason | None = None
    same_time: SameTime | None = None
    refetch: bool = False
    version_prefix: str | None = None

    @property
    def entity_ref(self) -> str | None:
        """The id of the entity that the message is about."""
        return self.order_ref or self.product_ref or self.customer_ref

    @property
    def body_digest(self) -> int:
        """64 bits of the body's digest, which show whether the same key came with another body."""
        return int.from_bytes(hashlib.sha256(self.body).digest()[:8], signed=True)

    @property
    def version_mark(self) -> int | None:
        prefix = self.same_time.prefix if self.same_time else self.version_prefix
        return None if prefix is None else version_mark(self.source, prefix)


def key_digest(source: str, dedupe_key: str) -> UUID:
    """Identifies a dedupe key in `dedupe_digest`. The statement of `models.KEY_DIGEST` computes the same."""
    return UUID(bytes=hashlib.sha256(f"{source}\n{dedupe_key}".encode(errors="surrogatepass")).digest()[:16])


def version_mark(source: str, prefix: str) -> int:
    """64 bits that identify an entity's versions with one time of change (`SameTime.prefix`)."""
    return int.from_bytes(
        hashlib.sha256(f"{source}\n{prefix}".encode(errors="surrogatepass")).digest()[:8], signed=True
    )


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
    same_time: SameTime | None = None,
) -> Incoming:
    """Make the message of an event, with its job.

    Without an Idempotency-Key, an event with a version (`updatedAt`) is a duplicate if kind, id and body, which contains the
    version, are the same. An event without a version is always new: a store may correctly send the same body again (A, B,
    A). A store's native webhook has its own `dedupe_key`, with `same_time`, and an `event_body`: the event as JSON,
    translated from the `raw` body.
    """
    kind, customer, order, product, code, depends_on = KIND_OF[type(event)], None, None, None, None, None
    match event:
        case CustomerEvent():
            customer = event.id
            job_kind = JobKind.FORWARD_CUSTOMER
        case ProductEvent():
            product = event.id
            job_kind = JobKind.FORWARD_PRODUCT
        case OrderEvent():
            customer, order = customer_of(event), event.id
            job_kind = JobKind.FORWARD_ORDER
            depends_on = customer_lane(customer) if customer else None
            code = event.discountCodes[0].code if event.discountCodes else None
        case _:
            assert_never(event)
    if dedupe_key is not None:
        key = dedupe_key
    elif idempotency_key is not None:
        key = f"key:{idempotency_key}"
    elif event.updatedAt is not None:
        key = f"{kind}:{event.id}:{hashlib.sha256(raw).hexdigest()[:VERSION_DIGITS]}"
    else:
        key = f"id:{message_id}"
    lane = entity_lane(kind, event.id)
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
        same_time=same_time,
    )


def customer_of(order: OrderEvent) -> str | None:
    """The customer's id at the Platform: the store's id; for a guest the e-mail address in lower case, unless it identifies
    no customer."""
    if order.customerId or order.email is None or is_placeholder_address(order.email):
        return order.customerId
    return order.email.lower()


def entity_lane(kind: EventKind, entity_id: str) -> str:
    """The lane of an entity at the Platform."""
    return f"{kind.removesuffix('s')}:{entity_id}"


def customer_lane(customer_id: str) -> str:
    return entity_lane(EventKind.CUSTOMER, customer_id)


def coupon_lane(code: str) -> str:
    return f"coupon:{code}"


def redemption_claim_lane(code: str, message_id: str) -> str:
    """The lane of one redemption claim: another claim to the code that waits, such as a forged one, does not delay it."""
    return f"{coupon_lane(code)}#{message_id}"
