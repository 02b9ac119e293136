"""Sends the newest hash of the audit log to the chat, at every start of a worker and daily: a copy outside the database."""

from pathlib import Path
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.audit.integrity import note_newest_hash
from platform_relay.core.http import HttpClient, HttpResponse, failure_of

log: Final = structlog.get_logger(__name__)


async def send_newest_hash(engine: AsyncEngine, file: Path, http: HttpClient, url: str) -> None:
    """Note the newest hash in `file` and send it. A failure is logged; the next day sends again."""
    noted = await note_newest_hash(engine, file)
    if noted is None:
        return
    text = f"*Platform Relay: audit log*\nEntry {noted.head.entry} has the hash {noted.head.hash}. Keep this message."
    if noted.missing is not None:
        text += (
            f"\nEntry {noted.missing.entry} with the hash {noted.missing.hash} is missing: entries were removed or changed, or"
            " a backup was restored."
        )
    text += f"\nCheck: relay audit verify --head {(noted.missing or noted.head).hash}"
    response = await http.call("POST", url, json={"text": text})
    failure = failure_of(response) if isinstance(response, HttpResponse) else response
    if failure is not None:
        log.warning("audit_head_not_sent", reason_code=failure.reason.code)
