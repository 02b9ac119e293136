"""Exports everything that is stored about a customer, as JSON."""

import base64
from datetime import UTC, datetime
from typing import Any, Final  # Any: rows

from pydantic import Field
from pydantic_core import to_jsonable_python
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.audit.record import audit
from platform_relay.core import exact_json
from platform_relay.core.database import key_ring_of
from platform_relay.core.encryption import KeyRing
from platform_relay.jobs.views import View
from platform_relay.privacy.identity import CustomerIdentity, identify_customer
from platform_relay.queue.attempts import ATTEMPTS

_MESSAGES: Final = text("""
SELECT id, source, kind, received_at, customer_ref, order_ref, product_ref, coupon_ref, reason_code, facts, encrypted_with, body,
       event FROM message
WHERE customer_ref = ANY(CAST(:refs AS text[]))
   OR order_ref IN (SELECT order_ref FROM message WHERE customer_ref = ANY(CAST(:refs AS text[])) AND order_ref IS NOT NULL)
ORDER BY id
""")
_JOBS: Final = text("""
SELECT id, message_id, kind, destination, lane, state, disposition, reason_code, facts, result, created_at, finished_at FROM job
WHERE message_id = ANY(CAST(:ids AS uuid[])) ORDER BY id
""")
_ATTEMPTS: Final = text(f"""
SELECT * FROM {ATTEMPTS} AS attempt WHERE job_id = ANY(CAST(:jobs AS uuid[])) ORDER BY job_id, fencing_token
""")  # noqa: S608  # constants only
_COUPONS: Final = text("SELECT * FROM coupon WHERE customer_ref = ANY(CAST(:refs AS text[])) ORDER BY created_at")
_ENTITIES: Final = text("""
SELECT destination, key, exists_remotely, version FROM entity
WHERE destination IN ('platform', 'store', 'store_loyalty') AND key = ANY(CAST(:lanes AS text[]))
""")
_ISSUANCE_LIMITS: Final = text("SELECT * FROM issuance_limit WHERE key = ANY(CAST(:refs AS text[]))")
_DIFFERENCES: Final = text("""
SELECT reconciliation_id, cause, detail, version, repair FROM difference
WHERE kind = 'customers' AND entity_id = ANY(CAST(:refs AS text[]))
""")


_BODIES: Final = ("body", "event")


class CustomerExport(View):
    """Bodies are shown as JSON, otherwise as text, otherwise as `base64`. Messages of other customers that only mention this
    customer, such as a referral, are not included."""

    at: datetime
    customer: list[str] = Field(description="The customer's ids and e-mail addresses.")
    messages: list[dict[str, Any]]
    jobs: list[dict[str, Any]] = Field(description="The jobs that these messages led to.")
    attempts: list[dict[str, Any]]
    coupons: list[dict[str, Any]]
    delivered: list[dict[str, Any]] = Field(description="What is stored about deliveries of the customer's own data.")
    issuance_limits: list[dict[str, Any]]
    differences: list[dict[str, Any]] = Field(description="What reconciliations found.")

    def text(self, indent: int = 0) -> bytes:
        """The export as JSON. The numbers of the bodies have their own digits. `indent`: spaces per level."""
        members = self.model_dump(mode="json", exclude={"messages"})
        messages = [
            {name: value if name in _BODIES else to_jsonable_python(value) for name, value in message.items()}
            for message in self.messages
        ]
        return exact_json.dumps(
            {"at": members.pop("at"), "customer": members.pop("customer"), "messages": messages, **members},
            indent=indent,
        )

    @property
    def empty(self) -> bool:
        return not (self.messages or self.coupons or self.delivered or self.issuance_limits or self.differences)


async def export(engine: AsyncEngine, id_or_email: str, by: str) -> CustomerExport:
    """Everything about the customer with this id or e-mail address, from one snapshot.

    The audit entry records that an export was made, not of whom. Raises UnreadableBodyError.
    """
    async with engine.begin() as connection:
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        customer = await identify_customer(connection, id_or_email.strip())
        data = await _collect(connection, customer)
    async with engine.begin() as connection:
        await audit(connection, by, "customer.export", "a customer", {"messages": len(data.messages)})
    return data


async def _collect(connection: AsyncConnection, customer: CustomerIdentity) -> CustomerExport:
    refs, ring = {"refs": list(customer.refs)}, key_ring_of(connection)
    messages = await _rows(connection, _MESSAGES, refs)
    jobs = await _rows(connection, _JOBS, {"ids": [message["id"] for message in messages]})
    attempts = await _rows(connection, _ATTEMPTS, {"jobs": [job["id"] for job in jobs]})
    for attempt in attempts:
        token = attempt.pop("fencing_token")
        if "excerpt" in attempt:
            attempt["excerpt"] = ring.display_text(attempt["job_id"], token, attempt["excerpt"])
    return CustomerExport(
        at=datetime.now(UTC),
        customer=list(customer.refs),
        messages=[_with_readable_bodies(ring, message) for message in messages],
        jobs=jobs,
        attempts=attempts,
        coupons=await _rows(connection, _COUPONS, refs),
        delivered=await _rows(connection, _ENTITIES, {"lanes": [f"customer:{ref}" for ref in customer.refs]}),
        issuance_limits=await _rows(connection, _ISSUANCE_LIMITS, refs),
        differences=await _rows(connection, _DIFFERENCES, refs),
    )


async def _rows(connection: AsyncConnection, statement: TextClause, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows without their empty columns."""
    rows = (await connection.execute(statement, parameters)).mappings()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def _with_readable_bodies(ring: KeyRing, message: dict[str, Any]) -> dict[str, Any]:
    encrypted_with = message.pop("encrypted_with", None)
    for name in _BODIES:
        if name in message:
            message[name] = _readable(ring.decrypt(message["id"], encrypted_with, message[name], name) or b"")
    return message


def _readable(raw: bytes) -> Any:  # Any: JSON
    try:
        value = exact_json.loads(raw)
        exact_json.dumps({"messages": [{"body": value}]}, indent=2)  # as `text` does; ValueError: nested too deeply
    except ValueError:
        pass
    else:
        return value
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}
