"""Alerts go to a chat (ALERT_WEBHOOK_URL, in Slack's format): each once, and again until the chat has accepted it.

A message has the alert's text, how many there are, and the next step. It names no coupon code and no person, and holds
nothing that a destination returned: only the facts of `SHOWN` are used.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, Protocol

import structlog
from pydantic import JsonValue
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.http import Answer, Failure, failure_of
from platform_relay.core.reasons import Reason, stored

log: Final = structlog.get_logger(__name__)

SHOWN: Final = frozenset({"destination", "state", "count", "minutes", "setting"})
LONGEST: Final = 3600.0
"""Seconds between two tries; the first comes after a minute, and each waits twice as long as the one before."""
QUIET: Final = timedelta(minutes=10)
"""Between two messages of one code: what is raised meanwhile goes together in the next."""
MOST: Final = 1000
_CLAIM: Final = text("""
WITH due AS (
    SELECT id FROM alert WHERE notified_at IS NULL AND resolved_at IS NULL AND (next_notify_at IS NULL OR next_notify_at <= now())
      AND code NOT IN (SELECT code FROM alert WHERE notified_at > now() - CAST(:quiet AS interval))
    ORDER BY at LIMIT :most FOR UPDATE SKIP LOCKED
)
UPDATE alert SET notify_attempts = notify_attempts + 1,
    next_notify_at = now() + make_interval(secs => least(:longest, 60 * 2.0 ^ least(notify_attempts, 10)))
FROM due WHERE alert.id = due.id RETURNING alert.id, alert.code, alert.facts
""")
"""Whoever claims an alert is the only one to send it until `next_notify_at`, even when the process ends before it was sent."""
_TOLD: Final = text("UPDATE alert SET notified_at = now() WHERE id = ANY(:ids)")


class Posts(Protocol):
    async def call(self, method: str, url: str, *, json: JsonValue) -> Answer | Failure: ...


def message(code: str, alerts: Sequence[Reason]) -> dict[str, JsonValue]:
    """The message for the alerts of one code. Pure."""
    shown = [Reason(each.code, {name: each.facts[name] for name in SHOWN & each.facts.keys()}) for each in alerts]
    name = code.replace("_", " ").capitalize()
    many = f" ({len(alerts)} of them)" if len(alerts) > 1 else ""
    lines = sorted({f"{reason.text}\nNext step: {reason.next_step}" for reason in shown})
    return {"text": "\n".join([f"*Platform Relay: {name}*{many}", *lines, f"More: {section(code)}"])}


def section(code: str) -> str:
    """The link to the runbook."""
    return f"docs/runbook.md#{code.replace('_', '-')}"


async def tell_alerts(engine: AsyncEngine, http: Posts, url: str) -> int:
    """Send the alerts that are due; how many were sent. Those of one code go together in one message."""
    async with engine.begin() as connection:
        rows = (await connection.execute(_CLAIM, {"most": MOST, "longest": LONGEST, "quiet": QUIET})).all()
    sent = 0
    for code in sorted({row.code for row in rows}):
        ids = [row.id for row in rows if row.code == code]
        reasons = [reason for row in rows if row.code == code and (reason := stored(code, row.facts))]
        answer = await http.call("POST", url, json=message(code, reasons))
        failure = failure_of(answer) if isinstance(answer, Answer) else answer
        if failure is not None:
            log.warning("alert_not_sent", code=code, alerts=len(ids), reason_code=failure.reason.code)
            continue
        async with engine.begin() as connection:
            await connection.execute(_TOLD, {"ids": ids})
        sent += len(ids)
    return sent
