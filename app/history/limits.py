"""What is older than the history. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from platform_relay.core.ids import moment_of

SKEW: Final = timedelta(hours=1)
"""Allowance for the clocks of the processes that made the ids, and the database's."""


def end_of_history(now: datetime, history: timedelta) -> datetime:
    """Rows before this time leave: the beginning of a day (UTC), so that they leave, and are exported, by the day."""
    return datetime.combine((now - history).astimezone(UTC).date(), datetime.min.time(), UTC)


def received_before_history(message_id: UUID, now: datetime, history: timedelta) -> datetime | None:
    """When the message (or job) with this id was received, if that is older than the history; otherwise None."""
    moment = moment_of(message_id)
    return moment if moment is not None and moment < end_of_history(now, history) + SKEW else None


def missing_message(message_id: UUID, now: datetime, history: timedelta) -> str:
    """Why there may be no message with this id, as text for an operator."""
    return _left(message_id, now, history) or (
        f"No message has the id {message_id}. Check that the id is complete: it is in the receipt that the relay returned."
    )


def missing_job(job_id: UUID, now: datetime, history: timedelta) -> str:
    """Why there may be no job with this id, as text for an operator."""
    return _left(job_id, now, history) or f"No job has the id {job_id}."


def _left(identifier: UUID, now: datetime, history: timedelta) -> str | None:
    received = received_before_history(identifier, now, history)
    if received is None:
        return None
    return (
        f"The id {identifier} is from {received:%Y-%m-%d %H:%M} UTC, which is older than the history: the relay deletes"
        f" finished messages after {history.days} days (HISTORY). If they were exported, the id is in the exported files."
    )
