"""Alerts go to a chat (ALERT_WEBHOOK_URL, as Slack takes them): each once, again and again until it is taken.

What is sent says what kind of thing happened, how often, and what to do: no code, no person, no text of a far side.
"""

from datetime import timedelta
from typing import Final, Protocol

import structlog
from pydantic import JsonValue
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.http import Answer, Failure, failure_of
from app.operations.alerts.kinds import ALERTS, section

log: Final = structlog.get_logger(__name__)

LONGEST: Final = 3600.0
"""Seconds between two tries; the first comes after a minute, and each waits twice as long as the one before."""
QUIET: Final = timedelta(minutes=10)
"""Between two messages of one kind: what is raised meanwhile goes together in the next."""
MOST: Final = 1000
_CLAIM: Final = text("""
WITH due AS (
    SELECT id FROM alert WHERE told_at IS NULL AND resolved_at IS NULL AND (tell_at IS NULL OR tell_at <= now())
      AND kind NOT IN (SELECT kind FROM alert WHERE told_at > now() - CAST(:quiet AS interval))
    ORDER BY at LIMIT :most FOR UPDATE SKIP LOCKED
)
UPDATE alert SET tells = tells + 1, tell_at = now() + make_interval(secs => least(:longest, 60 * 2.0 ^ least(tells, 10)))
FROM due WHERE alert.id = due.id RETURNING alert.id, alert.kind
""")
"""Whoever claims is the only one to tell until `tell_at`, even when he dies of it."""
_TOLD: Final = text("UPDATE alert SET told_at = now() WHERE id = ANY(:ids)")


class Posts(Protocol):
    async def call(self, method: str, url: str, *, json: JsonValue) -> Answer | Failure: ...


def message(kind: str, count: int) -> dict[str, JsonValue]:
    """What is posted. Pure."""
    name = kind.replace("_", " ").capitalize()
    many = f" ({count} of them)" if count > 1 else ""
    meaning = ALERTS.get(kind)
    says = f"{meaning.says}\nFirst: {meaning.first}" if meaning else "Look at the console's page Now."
    return {"text": f"*Platform Relay: {name}*{many}\n{says}\nMore: {section(kind)}"}


async def tell_alerts(engine: AsyncEngine, http: Posts, url: str) -> int:
    """One look: how many alerts were told. Those of one kind go together in one message."""
    async with engine.begin() as connection:
        rows = (await connection.execute(_CLAIM, {"most": MOST, "longest": LONGEST, "quiet": QUIET})).all()
    told = 0
    for kind in sorted({row.kind for row in rows}):
        ids = [row.id for row in rows if row.kind == kind]
        answer = await http.call("POST", url, json=message(kind, len(ids)))
        failure = failure_of(answer) if isinstance(answer, Answer) else answer
        if failure is not None:
            log.warning("alert_not_told", kind=kind, alerts=len(ids), why=failure.why)
            continue
        async with engine.begin() as connection:
            await connection.execute(_TOLD, {"ids": ids})
        told += len(ids)
    return told
