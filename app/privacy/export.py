"""Everything that is held about a person, as JSON: for whoever asks what is known of them."""

import base64
import json
from datetime import UTC, datetime
from typing import Any, Final  # Any: rows

from pydantic import Field
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.database import keys_of
from platform_relay.core.encryption import KeyRing
from platform_relay.jobs.actions import audit
from platform_relay.jobs.views import View
from platform_relay.privacy.person import Person, find_person

_MESSAGES: Final = text("""
SELECT id, source, kind, received_at, customer_ref, order_ref, product_ref, coupon_ref, encrypted_with, body, event FROM message
WHERE customer_ref = ANY(CAST(:refs AS text[]))
   OR order_ref IN (SELECT order_ref FROM message WHERE customer_ref = ANY(CAST(:refs AS text[])) AND order_ref IS NOT NULL)
ORDER BY id
""")
_JOBS: Final = text("""
SELECT id, message_id, kind, destination, lane, state, disposition, reason_code, facts, result, created_at, finished_at FROM job
WHERE message_id = ANY(CAST(:ids AS uuid[])) ORDER BY id
""")
_ATTEMPTS: Final = text("""
SELECT job_id, number, started_at, duration_ms, outcome, status, reason_code, facts, excerpt FROM attempt
WHERE job_id = ANY(CAST(:jobs AS uuid[])) ORDER BY job_id, claim
""")
_COUPONS: Final = text("SELECT * FROM coupon WHERE customer_ref = ANY(CAST(:refs AS text[])) ORDER BY created_at")
_ENTITIES: Final = text("""
SELECT destination, key, known, version FROM entity
WHERE destination IN ('platform', 'store') AND key = ANY(CAST(:lanes AS text[]))
""")
_FUSES: Final = text("SELECT * FROM issuance_limit WHERE key = ANY(CAST(:refs AS text[]))")
_DIFFERENCES: Final = text("""
SELECT reconciliation_id, cause, detail, version, repair FROM difference
WHERE kind = 'customers' AND entity_id = ANY(CAST(:refs AS text[]))
""")


class Export(View):
    """Bodies are JSON where they are, else text, else `base64`. Where the person stands only in somebody else's message (a
    referral), that is not part of it: it is about the other."""

    at: datetime
    customer: list[str] = Field(description="What the person is known by: ids and e-mail addresses.")
    messages: list[dict[str, Any]]
    jobs: list[dict[str, Any]] = Field(description="What was owed because of them.")
    attempts: list[dict[str, Any]]
    coupons: list[dict[str, Any]]
    delivered: list[dict[str, Any]] = Field(description="What is noted of the customer as delivered.")
    fuses: list[dict[str, Any]]
    differences: list[dict[str, Any]]

    @property
    def empty(self) -> bool:
        return not (self.messages or self.coupons or self.delivered or self.fuses or self.differences)


async def export(engine: AsyncEngine, asked: str, by: str) -> Export:
    """All of the customer with this id or e-mail address, from one moment. The audit tells that an
    export was made. Raises UnreadableBodyError."""
    async with engine.begin() as connection:
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        person = await find_person(connection, asked.strip())
        told = await _collected(connection, person)
    async with engine.begin() as connection:
        await audit(connection, by, "customer.export", "a customer", {"messages": len(told.messages)})
    return told


async def _collected(connection: AsyncConnection, person: Person) -> Export:
    refs, ring = {"refs": list(person.refs)}, keys_of(connection)
    messages = await _rows(connection, _MESSAGES, refs)
    jobs = await _rows(connection, _JOBS, {"ids": [each["id"] for each in messages]})
    return Export(
        at=datetime.now(UTC),
        customer=list(person.refs),
        messages=[_readable(ring, row) for row in messages],
        jobs=jobs,
        attempts=[
            each | ({"excerpt": ring.shown_text(each["job_id"], each["excerpt"])} if "excerpt" in each else {})
            for each in await _rows(connection, _ATTEMPTS, {"jobs": [each["id"] for each in jobs]})
        ],
        coupons=await _rows(connection, _COUPONS, refs),
        delivered=await _rows(connection, _ENTITIES, {"lanes": [f"customer:{ref}" for ref in person.refs]}),
        fuses=await _rows(connection, _FUSES, refs),
        differences=await _rows(connection, _DIFFERENCES, refs),
    )


async def _rows(connection: AsyncConnection, statement: Any, asked: dict[str, Any]) -> list[dict[str, Any]]:
    return [_set(row) for row in (await connection.execute(statement, asked)).mappings()]


def _set(row: RowMapping) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def _readable(ring: KeyRing, row: dict[str, Any]) -> dict[str, Any]:
    encrypted_with = row.pop("encrypted_with", None)
    row |= {name: ring.open(row["id"], encrypted_with, row[name]) for name in ("body", "event") if name in row}
    return {name: _told(value) if isinstance(value, bytes | memoryview) else value for name, value in row.items()}


def _told(raw: bytes | memoryview) -> Any:  # Any: JSON
    raw = bytes(raw)
    try:
        return json.loads(raw)
    except ValueError:
        pass
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}
