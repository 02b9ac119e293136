"""Edit and continue: a dead job's event is corrected and the job tried again. What arrived is kept as it was."""

import hashlib
import json
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pydantic import JsonValue
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core.database import keys_of
from platform_relay.core.encryption import UnreadableBodyError, first_email
from platform_relay.inbox.messages import EVENTS, Kind, incoming
from platform_relay.jobs.actions import Operator, audit

_READ: Final = text("""
SELECT job.id, job.message_id, job.kind AS job_kind, message.kind, job.state, coalesce(event, body) AS told,
       body, encrypted_with, event IS NOT NULL AS translated
FROM job JOIN message ON message.id = job.message_id WHERE job.id = :id
""")
_LOCK: Final = text("""
SELECT job.id FROM job JOIN message ON message.id = job.message_id WHERE job.id = :id AND job.dead FOR UPDATE
""")
_STORE: Final = text("""
UPDATE message SET body = :body, event = :event, encrypted_with = :encrypted_with, email_mark = :mark,
    customer_ref = :customer, coupon_ref = :coupon WHERE id = :message
""")
_FOLLOW: Final = text("UPDATE job SET after = :after WHERE id = :id")


class NotEditableError(ValueError):
    """The event cannot be edited, or not like this; the text says why."""


@dataclass(frozen=True, slots=True)
class Editable:
    """A dead job's event as it is sent. `translated`: it is not the body as it arrived, which is kept beside it."""

    job_id: UUID
    message_id: UUID
    kind: Kind
    told: bytes
    body: bytes
    translated: bool

    @property
    def pretty(self) -> str:
        return json.dumps(json.loads(self.told), indent=2, ensure_ascii=False)


async def find_editable(connection: AsyncConnection, job_id: UUID) -> Editable:
    """Raises NotEditableError."""
    row = (await connection.execute(_READ, {"id": job_id})).one_or_none()
    if row is None:
        raise NotEditableError("no job has this id")
    if row.state != "dead":
        raise NotEditableError(f"the job is {row.state}; only what was given up can be edited")
    if row.kind not in EVENTS:
        raise NotEditableError("only customers, orders and products that a store sent can be edited")
    if row.told is None:
        raise NotEditableError("its body was pruned after the retention time; send the event again from the store")
    ring = keys_of(connection)
    try:
        told, body = (ring.open(row.message_id, row.encrypted_with, each) or b"" for each in (row.told, row.body))
    except UnreadableBodyError as error:
        raise NotEditableError(str(error)) from None
    return Editable(row.id, row.message_id, Kind(row.kind), told, body, row.translated)


async def edit_and_retry(
    engine: AsyncEngine, operator: Operator, job_id: UUID, edited: bytes, by: str, why: str
) -> Editable:
    """The job is tried again with `edited` as its event. The audit names what was changed, never the values.

    Raises NotEditableError, and of `edited`: pydantic's ValidationError, UnstorableTextError.
    """
    async with engine.begin() as connection:
        await connection.execute(_LOCK, {"id": job_id})
        before = await find_editable(connection, job_id)
        event = EVENTS[before.kind].parse(edited)
        changed = _changed(json.loads(before.told), json.loads(edited))
        if not changed:
            raise NotEditableError("nothing was changed; to try the same again, retry the job")
        if fixed := changed & {"id", "updatedAt"}:
            raise NotEditableError(f"{', '.join(sorted(fixed))} says which version of what this is, and has to stay")
        message = incoming(event, edited, message_id=str(before.message_id))
        ring = keys_of(connection)
        stored = {
            "message": before.message_id,
            "body": ring.seal(before.message_id, before.body),
            "event": ring.seal(before.message_id, edited),
            "encrypted_with": ring.first,
            "mark": ring.mark(first_email(before.kind, edited)),
            "customer": message.customer_ref,
            "coupon": message.coupon_ref,
        }
        await connection.execute(_STORE, stored)
        await connection.execute(_FOLLOW, {"after": message.jobs[0].after, "id": job_id})
        told = {"fields": sorted(changed), "before": _digest(before.told), "after": _digest(edited), "why": why}
        await audit(connection, by, "job.edit", str(job_id), told)
    await operator.retry([job_id], by)
    return before


async def set_field(
    engine: AsyncEngine, operator: Operator, job_id: UUID, field: str, value: JsonValue, by: str, why: str
) -> None:
    """`edit_and_retry` with one top member of the event set to `value`. Raises as that does."""
    async with engine.connect() as connection:
        told = json.loads((await find_editable(connection, job_id)).told)
    edited = json.dumps({**told, field: value}, ensure_ascii=False).encode()
    await edit_and_retry(engine, operator, job_id, edited, by, why)


def _changed(before: JsonValue, after: JsonValue) -> set[str]:
    """The names of the top members that differ."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return set()
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def _digest(told: bytes) -> str:
    return hashlib.sha256(told).hexdigest()
