"""Reads what the relay has received and delivered of the entities that the store lists: one statement for each page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final  # Any: rows

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import key_ring_of, read_connection
from platform_relay.core.encryption import UnreadableBodyError, event_or_body
from platform_relay.core.ids import moment_of
from platform_relay.core.reasons import stored
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.messages import key_digest
from platform_relay.queue.statements.expressions import CLOCK_TOLERANCE
from platform_relay.reconcile.differences import JOB, LANE, RelaySnapshot, StoreSnapshot

_COLUMN: Final = {EventKind.CUSTOMER: "customer_ref", EventKind.ORDER: "order_ref", EventKind.PRODUCT: "product_ref"}
_VERSION: Final = (
    f"""CASE WHEN job.version <= now() + {CLOCK_TOLERANCE} THEN job.version ELSE message.received_at END"""
)
"""The version of a job. One without a version, or with a time in the future, is as old as its message."""
RELAY_SNAPSHOTS: Final = {  # each look-up is LATERAL with a LIMIT, so that it uses the key whatever the statistics are
    kind: text(f"""
SELECT requested.ref, newest.version, newest.received_at, newest.state, newest.reason_code, newest.facts, newest.job_id,
       coalesce(entity.exists_remotely, false) AS exists_remotely, coalesce(fetching.open_jobs > 0, false) AS fetching,
       fetch_job.job_id AS failed_fetch, fetch_job.reason_code AS fetch_reason_code, fetch_job.facts AS fetch_facts,
       identical.id AS identical_id, entity.digest, entity.version AS delivered_version
FROM unnest(CAST(:refs AS text[]), CAST(:digests AS uuid[])) AS requested(ref, digest)
LEFT JOIN LATERAL (
    SELECT {_VERSION} AS version, message.received_at, job.state, job.reason_code, job.facts, job.id AS job_id
    FROM message JOIN job ON job.message_id = message.id AND job.kind = '{JOB[kind]}'
    WHERE message.{_COLUMN[kind]} = requested.ref AND message.kind = '{kind}'
    ORDER BY {_VERSION} DESC, job.seq DESC LIMIT 1
) AS newest ON true
LEFT JOIN LATERAL (
    SELECT message.received_at, job.state, job.reason_code, job.facts, job.id AS job_id
    FROM message JOIN job ON job.message_id = message.id AND job.kind = 'fetch_entity'
    WHERE message.{_COLUMN[kind]} = requested.ref AND message.kind IN ('{kind}', '{kind}:id') ORDER BY message.id DESC LIMIT 1
) AS fetch_job ON fetch_job.state = 'dead' AND fetch_job.received_at > coalesce(newest.received_at, '-infinity')
LEFT JOIN LATERAL (
    SELECT exists_remotely, digest, version FROM entity
    WHERE destination = 'platform' AND key = '{LANE[kind]}' || requested.ref LIMIT 1
) AS entity ON true
LEFT JOIN LATERAL (
    SELECT open_jobs FROM lane WHERE destination = 'store' AND key = 'fetch:{kind}:' || requested.ref LIMIT 1
) AS fetching ON true
LEFT JOIN LATERAL (
    SELECT message_id AS id FROM dedupe_digest WHERE key = requested.digest LIMIT 1
) AS identical ON true
""")  # noqa: S608  # constants only
    for kind in EventKind
}
_RECEIVING_SINCE: Final = text("""
SELECT received_at FROM message WHERE kind = :kind AND source = ANY(CAST(:sources AS text[])) ORDER BY id LIMIT 1
""")
_DELIVERED: Final = {
    kind: text(f"""
SELECT key FROM entity
WHERE destination = 'platform' AND key > :after AND starts_with(key, '{LANE[kind]}') AND exists_remotely
  AND NOT EXISTS (SELECT FROM message WHERE {_COLUMN[kind]} = substr(entity.key, {len(LANE[kind]) + 1})
                  AND received_at > :started)
ORDER BY key LIMIT 1000
""")  # noqa: S608  # constants only
    for kind in EventKind
}
_NEWEST_EVENTS: Final = {
    kind: text(f"""
SELECT requested.ref, newest.id, newest.source, newest.encrypted_with, newest.body, newest.translated
FROM unnest(CAST(:refs AS text[])) AS requested(ref)
CROSS JOIN LATERAL (
    SELECT message.id, message.source, message.encrypted_with, coalesce(message.event, message.body) AS body,
           message.event IS NOT NULL AS translated
    FROM message JOIN job ON job.message_id = message.id AND job.kind = '{JOB[kind]}'
    WHERE message.{_COLUMN[kind]} = requested.ref AND message.kind = '{kind}'
    ORDER BY {_VERSION} DESC, job.seq DESC LIMIT 1
) AS newest
""")  # noqa: S608  # constants only
    for kind in EventKind
}


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """The newest event of an entity, and who sent it. `body` is None if it was deleted or cannot be decrypted."""

    source: str
    body: bytes | None


class RelaySnapshots:
    """`source` is the name of the store's adapter."""

    def __init__(self, engine: AsyncEngine, source: str) -> None:
        self._engine = engine
        self._source = source

    async def read(self, kind: EventKind, entities: Sequence[StoreSnapshot]) -> dict[str, RelaySnapshot]:
        """By the entities' ids."""
        if not entities:
            return {}
        parameters = {
            "refs": [entity.id for entity in entities],
            "digests": [key_digest(self._source, entity.dedupe_key) for entity in entities],
        }
        async with read_connection(self._engine) as connection:
            rows = await connection.execute(RELAY_SNAPSHOTS[kind], parameters)
            return {row.ref: _relay_snapshot(row) for row in rows}

    async def newest_events(self, kind: EventKind, ids: Sequence[str]) -> Mapping[str, ReceivedEvent]:
        """The newest event that was received of each entity, by id."""
        events: dict[str, ReceivedEvent] = {}
        async with read_connection(self._engine) as connection:
            ring = key_ring_of(connection)
            for row in await connection.execute(_NEWEST_EVENTS[kind], {"refs": list(ids)}):
                try:
                    purpose = event_or_body(translated=row.translated)
                    body = ring.decrypt(row.id, row.encrypted_with, row.body, purpose)
                except UnreadableBodyError:
                    body = None
                events[row.ref] = ReceivedEvent(row.source, body)
        return events

    async def delivered(self, kind: EventKind, after: str, started: datetime) -> list[str]:
        """The next 1,000 lanes whose entity the Platform has, without those that changed since `started`."""
        async with read_connection(self._engine) as connection:
            rows = await connection.execute(_DELIVERED[kind], {"after": after, "started": started})
            return list(rows.scalars())

    async def receiving_since(self, kind: EventKind) -> datetime | None:
        """The time of the first event of this kind; None if there is none."""
        parameters = {"kind": str(kind), "sources": ["store", self._source]}
        async with read_connection(self._engine) as connection:
            received_at: datetime | None = (await connection.execute(_RECEIVING_SINCE, parameters)).scalar()
            return received_at


def _relay_snapshot(row: Row[Any]) -> RelaySnapshot:
    version, state = row.version, row.state
    if version is None and (row.exists_remotely or row.identical_id is not None):  # its messages left the history
        version = row.delivered_version or (moment_of(row.identical_id) if row.identical_id is not None else None)
        state = "done" if row.exists_remotely else None
    return RelaySnapshot(
        version=version,
        received_at=row.received_at,
        state=state,
        reason=stored(row.reason_code, row.facts),
        job_id=row.job_id,
        exists_remotely=row.exists_remotely,
        fetching=row.fetching,
        failed_fetch=row.failed_fetch,
        failed_fetch_reason=stored(row.fetch_reason_code, row.fetch_facts),
        identical=row.identical_id is not None,
        digest=row.digest,
    )
