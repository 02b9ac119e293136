"""Sends alerts to a chat (ALERT_WEBHOOK_URL, in Slack's format), each once. It retries until the chat accepts the message.

A message contains the alert's text, the number of alerts, and the next step. It contains no coupon code, no customer and no
response of a destination: only the facts in `SHOWN` are used.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog
from pydantic import JsonValue
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.http import HttpClient, HttpResponse, failure_of
from platform_relay.core.reasons import Reason, stored
from platform_relay.queue.last_work import is_any_worker_working

log: Final = structlog.get_logger(__name__)

SHOWN: Final = frozenset({"destination", "state", "count", "minutes", "setting"})
MAX_DELAY: Final = 3600.0
"""Seconds between two attempts. The first delay is a minute, and each is twice as long as the one before."""
QUIET: Final = timedelta(minutes=10)
"""The time between two messages with the same code. Alerts that are raised in between are sent together."""
SILENT: Final = 20.0
"""Seconds without a working worker after which the web processes send."""
MAX_ALERTS: Final = 1000
_DUE: Final = """notified_at IS NULL AND resolved_at IS NULL AND (next_notify_at IS NULL OR next_notify_at <= now())
      AND code NOT IN (SELECT code FROM alert WHERE notified_at > now() - CAST(:quiet AS interval))"""
_CLAIM: Final = text(f"""
WITH due AS (
    SELECT id FROM alert
    WHERE {_DUE} AND code = (SELECT code FROM alert WHERE {_DUE} ORDER BY at LIMIT 1)
    ORDER BY at LIMIT :max_alerts FOR UPDATE SKIP LOCKED
)
UPDATE alert SET notify_attempts = notify_attempts + 1,
    next_notify_at = now() + make_interval(secs => least(:max_delay, 60 * 2.0 ^ least(notify_attempts, 10)))
FROM due WHERE alert.id = due.id RETURNING alert.id, alert.code, alert.facts
""")  # noqa: S608  # constants only
"""Until `next_notify_at` no other process sends a claimed alert, even if this process ends before it sent it. The alerts of one
message are claimed, so that the call (at most `HttpClient.time_limit`) has ended until then."""
_MARK_SENT: Final = text("UPDATE alert SET notified_at = now() WHERE id = ANY(:ids)")


def message(code: str, alerts: Sequence[Reason]) -> dict[str, JsonValue]:
    """The message for the alerts with one code. Pure."""
    shown = [Reason(alert.code, {name: alert.facts[name] for name in SHOWN & alert.facts.keys()}) for alert in alerts]
    title = code.replace("_", " ").capitalize()
    count = f" ({len(alerts)} of them)" if len(alerts) > 1 else ""
    lines = sorted({f"{reason.text}\nNext step: {reason.next_step}" for reason in shown})
    return {"text": "\n".join([f"*Platform Relay: {title}*{count}", *lines, f"More: {section(code)}"])}


def section(code: str) -> str:
    """The link to the section about the code in the runbook."""
    return f"docs/runbook.md#{code.replace('_', '-')}"


async def send_alerts(engine: AsyncEngine, http: HttpClient, url: str) -> int:
    """Send the alerts that are due, those with the same code in one message. Returns how many alerts were sent. Several processes
    may do this at once."""
    sent = 0
    parameters = {"max_alerts": MAX_ALERTS, "max_delay": MAX_DELAY, "quiet": QUIET}
    while True:
        async with engine.begin() as connection:
            rows = (await connection.execute(_CLAIM, parameters)).all()
        if not rows:
            return sent
        code, ids = rows[0].code, [row.id for row in rows]
        reasons = [reason for row in rows if (reason := stored(code, row.facts))]
        response = await http.call("POST", url, json=message(code, reasons))
        failure = failure_of(response) if isinstance(response, HttpResponse) else response
        if failure is not None:
            log.warning("alert_not_sent", code=code, alerts=len(ids), reason_code=failure.reason.code)
            continue
        async with engine.begin() as connection:
            await connection.execute(_MARK_SENT, {"ids": ids})
        sent += len(ids)


async def send_alerts_without_worker(engine: AsyncEngine, http: HttpClient, url: str, *, silent: float = SILENT) -> int:
    """As `send_alerts`, if no worker has worked for `silent` seconds: then no worker reports that."""
    if await is_any_worker_working(engine, silent):
        return 0
    return await send_alerts(engine, http, url)
