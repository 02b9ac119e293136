"""What the API, the CLI and the console show of coupons. Reads only."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from pydantic import Field, JsonValue, TypeAdapter
from sqlalchemy import ColumnElement, RowMapping, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.core.database import key_ring_of
from platform_relay.core.encryption import decrypted_or_none
from platform_relay.core.models import Coupon, Message
from platform_relay.core.paging import Cursor, KeyText, Moment, Page
from platform_relay.core.reasons import ReasonCode
from platform_relay.jobs.views import View, reason_fields
from platform_relay.platform.webhooks import parse_webhook


class CouponView(View):
    """The coupon of a redemption or reward. `value` is a decimal string: an amount in `currency` or a percentage, by `kind`."""

    code: str
    state: str
    reason_code: ReasonCode | None = Field(
        None, description="The cause of the state, as a stable code (docs/reason-codes.md)."
    )
    text: str | None = Field(None, description="What happened and why.")
    next_step: str | None = Field(None, description="What happens next, or what you can do.")
    facts: dict[str, JsonValue] | None = Field(None, description="The facts that `text` is rendered from.")
    kind: str | None = None
    value: Decimal | None = None
    currency: str | None = None
    value_source: str | None = None
    rule_id: str | None = None
    rule_version: int | None = None
    rule_edited: bool = Field(
        False, description="The rule was changed after the redemption; its version at that time applies."
    )
    email_changed: bool = Field(
        False,
        description="The customer's e-mail address at the Platform was not the webhook's when the coupon was issued. A coupon"
        " for one customer is for the address at the Platform.",
    )
    verification: str | None = Field(
        None,
        description="The verification level: secret, source, known, confirmed, or operator (approved); `failed`: not genuine.",
    )
    points: int | None = None
    customer: str | None = Field(
        None, description="The customer's name from the webhook, as long as its body is stored."
    )
    orders: dict[str, str] | None = Field(None, description="The orders that used the coupon: id -> financial status.")
    decision: dict[str, JsonValue] | None = Field(
        None, description="What an operator decided, with the operator's name and reason."
    )
    redemption_id: str | None = None
    store_id: str | None = None
    message_id: UUID
    received_at: datetime
    created_at: datetime
    updated_at: datetime
    active_at: datetime | None = None


_CURSOR: Final = Cursor("coupons", TypeAdapter[tuple[datetime, str]](tuple[Moment, KeyText]))


async def find_coupon(connection: AsyncConnection, code: str) -> CouponView | None:
    coupons = await _coupons(connection, [Coupon.code == code], 1)
    return coupons[0] if coupons else None


async def list_coupons(
    connection: AsyncConnection,
    *,
    state: str | None = None,
    customer: str | None = None,
    reason_code: ReasonCode | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[CouponView]:
    """Newest first. `cursor` is the last page's `next_cursor`; `customer` is the store's id of the customer. Raises
    QueryInvalid for a cursor of another list."""
    where: list[ColumnElement[bool]] = []
    if state is not None:
        where.append(Coupon.state == state)
    if customer is not None:
        where.append(Coupon.customer_ref == customer)
    if reason_code is not None:
        where.append(Coupon.reason_code == reason_code)
    if (after := _CURSOR.decode(cursor)) is not None:
        where.append(tuple_(Coupon.created_at, Coupon.code) < tuple_(*after))
    coupons = await _coupons(connection, where, limit + 1)
    return _CURSOR.page(coupons, limit, lambda coupon: (coupon.created_at, coupon.code))


async def _coupons(connection: AsyncConnection, where: Sequence[ColumnElement[bool]], limit: int) -> list[CouponView]:
    newest = (
        select(Coupon.__table__, Message.kind.label("topic"), Message.encrypted_with, Message.body)
        .outerjoin(Message, Message.id == Coupon.message_id)
        .where(*where)
        .order_by(Coupon.created_at.desc(), Coupon.code.desc())
        .limit(limit)
    )
    ring = key_ring_of(connection)

    def customer(row: RowMapping) -> str | None:
        body = decrypted_or_none(lambda: ring.decrypt(row["message_id"], row["encrypted_with"], row["body"]))
        return _customer_name(row["topic"], body, row["customer_ref"])

    rows = (await connection.execute(newest)).mappings()
    return [CouponView(**{**row, **reason_fields(row)}, customer=customer(row)) for row in rows]


def _customer_name(topic: str | None, body: bytes | None, ref: str | None) -> str | None:
    """The name of the coupon's customer in the webhook."""
    webhook = parse_webhook(topic, body) if topic and body else None
    customers = (webhook.customer, webhook.friend) if webhook else ()
    return next((customer.name for customer in customers if customer and customer.ref == ref), None)
