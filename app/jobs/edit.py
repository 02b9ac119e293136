"""Edit a dead job's event, then retry the job. The body as it arrived is kept."""

import hashlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.audit.record import audit
from platform_relay.core import exact_json
from platform_relay.core.database import key_ring_of
from platform_relay.core.encryption import UnreadableBodyError, event_or_body, first_email
from platform_relay.core.exact_json import ExactJson
from platform_relay.inbox.events import EVENTS, EventKind
from platform_relay.inbox.messages import incoming
from platform_relay.jobs.actions import OperatorActions

_READ: Final = text("""
SELECT job.id, job.message_id, message.kind, job.state, coalesce(event, body) AS event,
       body, encrypted_with, message.event IS NOT NULL AS translated
FROM job JOIN message ON message.id = job.message_id WHERE job.id = :id
""")
_LOCK: Final = text("""
SELECT job.id FROM job JOIN message ON message.id = job.message_id WHERE job.id = :id AND job.dead FOR UPDATE
""")
_STORE: Final = text("""
UPDATE message SET body = :body, event = :event, encrypted_with = :encrypted_with, email_mark = :mark,
    customer_ref = :customer, coupon_ref = :coupon WHERE id = :message
""")
_SET_DEPENDENCY: Final = text("UPDATE job SET depends_on = :depends_on WHERE id = :id")


class NotEditableError(ValueError):
    """The event cannot be edited in this way. The text is the reason."""


@dataclass(frozen=True, slots=True)
class EditableEvent:
    """The event of a dead job. `translated`: it differs from `body`, which is the message as it arrived."""

    job_id: UUID
    message_id: UUID
    kind: EventKind
    event: bytes
    body: bytes
    translated: bool

    @property
    def pretty(self) -> str:
        return exact_json.dumps(exact_json.loads(self.event), indent=2).decode()


async def find_editable(connection: AsyncConnection, job_id: UUID) -> EditableEvent:
    """Raises NotEditableError."""
    row = (await connection.execute(_READ, {"id": job_id})).one_or_none()
    if row is None:
        raise NotEditableError("no job has this id")
    if row.state != "dead":
        raise NotEditableError(f"the job is {row.state}; only dead jobs can be edited")
    if row.kind not in EVENTS:
        raise NotEditableError("only customers, orders and products from a store can be edited")
    if row.event is None:
        raise NotEditableError("its body was deleted after the retention time; send the event again from the store")
    ring = key_ring_of(connection)
    try:
        event = (
            ring.decrypt(row.message_id, row.encrypted_with, row.event, event_or_body(translated=row.translated)) or b""
        )
        body = ring.decrypt(row.message_id, row.encrypted_with, row.body) or b""
    except UnreadableBodyError as error:
        raise NotEditableError(str(error)) from None
    return EditableEvent(row.id, row.message_id, EventKind(row.kind), event, body, row.translated)


async def edit_and_retry(
    engine: AsyncEngine, actions: OperatorActions, job_id: UUID, edited: bytes, by: str, why: str
) -> EditableEvent:
    """Replace the job's event by `edited` and retry the job. The audit entry names the changed fields, never the values.

    Returns the event before the change. Raises NotEditableError; for an invalid event pydantic's ValidationError or
    UnstorableTextError.
    """
    async with engine.begin() as connection:
        await connection.execute(_LOCK, {"id": job_id})
        before = await find_editable(connection, job_id)
        event = EVENTS[before.kind].parse(edited)
        changed = _changed(exact_json.loads(before.event), exact_json.loads(edited))
        if not changed:
            raise NotEditableError("nothing was changed; to send the same event again, retry the job")
        if fixed := changed & {"id", "updatedAt"}:
            raise NotEditableError(f"{', '.join(sorted(fixed))} must stay: it identifies the entity and its version")
        message = incoming(event, edited, message_id=str(before.message_id))
        ring = key_ring_of(connection)
        await connection.execute(
            _STORE,
            {
                "message": before.message_id,
                "body": ring.encrypt(before.message_id, before.body),
                "event": ring.encrypt(before.message_id, edited, "event"),
                "encrypted_with": ring.current,
                "mark": ring.email_mark(first_email(before.kind, edited)),
                "customer": message.customer_ref,
                "coupon": message.coupon_ref,
            },
        )
        await connection.execute(_SET_DEPENDENCY, {"depends_on": message.jobs[0].depends_on, "id": job_id})
        detail = {"fields": sorted(changed), "before": _digest(before.event), "after": _digest(edited), "why": why}
        await audit(connection, by, "job.edit", str(job_id), detail)
    await actions.retry([job_id], by)
    return before


async def set_field(
    engine: AsyncEngine, actions: OperatorActions, job_id: UUID, field: str, value: ExactJson, by: str, why: str
) -> None:
    """Set one top-level member of the event to `value` and retry the job. Raises like `edit_and_retry`."""
    async with engine.connect() as connection:
        event = exact_json.loads((await find_editable(connection, job_id)).event)
    members = event if isinstance(event, dict) else {}
    edited = exact_json.dumps({**members, field: value})
    await edit_and_retry(engine, actions, job_id, edited, by, why)


def _changed(before: ExactJson, after: ExactJson) -> set[str]:
    """The names of the top-level members that differ."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return set()
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def _digest(event: bytes) -> str:
    return hashlib.sha256(event).hexdigest()
