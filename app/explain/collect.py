"""Collects all rows about one order, customer, coupon or message.

A few statements, each with an index and a limit, so that it is as fast with five million messages as with five.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final  # Any: rows
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.core.database import key_ring_of
from platform_relay.core.encryption import KeyRing, decrypted_or_none, event_or_body
from platform_relay.core.models import FIRST_EMAIL, KEY_DIGEST
from platform_relay.core.reasons import stored
from platform_relay.explain.explanation import Explanation, build_explanation
from platform_relay.explain.records import (
    AlertRow,
    AttemptRow,
    AuditRow,
    CouponRow,
    DestinationRow,
    JobRow,
    Key,
    MessageRow,
    Records,
)
from platform_relay.history.limits import received_before_history
from platform_relay.queue.attempts import ATTEMPTS as EVERY_ATTEMPT

MESSAGES: Final = 50
"""At most this many messages are shown, the newest ones."""
BODY: Final = 65_536
"""Bytes. A larger body is not read."""

_MESSAGE: Final = f"""
SELECT id, source, kind, received_at,
       (SELECT first.body_digest FROM dedupe_digest AS first WHERE first.key = {KEY_DIGEST}) AS body_digest,
       body IS NULL AS pruned, customer_ref, order_ref, product_ref, coupon_ref,
       CASE WHEN octet_length(body) <= {BODY} THEN coalesce(event, body) END AS body, encrypted_with,
       event IS NOT NULL AS translated, reason_code, facts
FROM message
"""  # noqa: S608  # constants only
_NEWEST: Final = "ORDER BY id DESC LIMIT :limit"
BY_REF: Final[Mapping[str, TextClause]] = {
    column: text(f"{_MESSAGE} WHERE {column} = :key {_NEWEST}")
    for column in ("order_ref", "customer_ref", "coupon_ref")
}
BY_ID: Final = text(f"{_MESSAGE} WHERE id = ANY(CAST(:ids AS uuid[])) {_NEWEST}")
BY_EMAIL: Final = text(f"""
(SELECT id, customer_ref FROM message
 WHERE kind = 'customers' AND body IS NOT NULL AND {FIRST_EMAIL} = :email AND customer_ref IS NOT NULL
 ORDER BY id DESC LIMIT 1)
UNION ALL
(SELECT newest.* FROM unnest(CAST(:marks AS bytea[])) AS queried(mark) CROSS JOIN LATERAL (
     SELECT id, customer_ref FROM message
     WHERE email_mark = queried.mark AND body IS NOT NULL AND customer_ref IS NOT NULL
     ORDER BY id DESC LIMIT 1
 ) AS newest)
ORDER BY id DESC LIMIT 1
""")  # noqa: S608  # constants only
_JOB: Final = """
SELECT job.*, lane.run_at, lane.leased, lane.lease_until, lane.waits_for, lane.priority
FROM job LEFT JOIN lane ON lane.destination = job.destination AND lane.key = job.lane
"""
JOBS: Final = text(
    f"{_JOB} WHERE job.message_id = ANY(CAST(:ids AS uuid[])) ORDER BY job.destination, job.lane, job.seq"
)
OPEN: Final = text(f"""
SELECT jobs.* FROM (SELECT * FROM unnest(CAST(:destinations AS text[]), CAST(:lanes AS text[]))) AS queried(destination, key)
CROSS JOIN LATERAL (
    {_JOB} WHERE job.destination = queried.destination AND job.lane = queried.key AND job.open ORDER BY job.seq LIMIT 5
) AS jobs
""")  # noqa: S608  # constants only
ATTEMPTS: Final = text(f"""
SELECT job_id, number, started_at, outcome, status, reason_code, facts FROM {EVERY_ATTEMPT} AS attempt
WHERE job_id = ANY(CAST(:ids AS uuid[])) ORDER BY job_id, fencing_token
""")  # noqa: S608  # constants only
DELIVERED: Final = text("""
SELECT key FROM entity WHERE destination = 'platform' AND key = ANY(CAST(:lanes AS text[])) AND exists_remotely LIMIT 1
""")
"""Entities stay when their messages left the history."""
_COUPON: Final = """
SELECT code, message_id, customer_ref, state, reason_code, facts, kind, value, currency, value_source, points, email_changed,
       created_at, updated_at, active_at
FROM coupon
"""
COUPONS: Final = text(f"{_COUPON} WHERE code = ANY(CAST(:codes AS text[]))")
COUPONS_OF: Final = text(f"{_COUPON} WHERE customer_ref = :key ORDER BY created_at DESC LIMIT :limit")
_DESTINATIONS: Final = text("SELECT name, state, reason_code, facts, since, retry_at, now() AS now FROM destination")
_ALERTS: Final = text(
    "SELECT code AS reason_code, facts, subject, at FROM alert WHERE resolved_at IS NULL ORDER BY at DESC LIMIT 200"
)
AUDIT: Final = text("""
SELECT at, actor, action, subject, coalesce(detail ->> 'why', detail ->> 'reason') AS why FROM audit
WHERE subject = ANY(CAST(:subjects AS text[])) ORDER BY at LIMIT 200
""")


async def explain(connection: AsyncConnection, by: Key, key: str, history: timedelta) -> Explanation:
    """Explain the order, customer (by the store's id or an e-mail address), coupon (by its code) or message with this key.
    `history`: how long finished messages are kept."""
    return build_explanation(await collect(connection, by, key.strip(), history))


async def collect(connection: AsyncConnection, by: Key, key: str, history: timedelta) -> Records:
    """All rows about the key. `searched` lists what was searched for."""
    destinations = [dict(row) for row in (await _rows(connection, _DESTINATIONS))]
    now = destinations[0]["now"] if destinations else datetime.now().astimezone()
    empty = Records(
        by,
        key,
        now,
        destinations={
            row["name"]: DestinationRow(**{k: v for k, v in row.items() if k != "now"}) for row in destinations
        },
        alerts=tuple(AlertRow(**row) for row in await _rows(connection, _ALERTS)),
    )
    messages, coupons, searched, spelled = await _find(connection, by, key)
    if not messages and not coupons:
        lanes = [f"{by}:{spelling}" for spelling in spellings(by, key)]
        delivered = bool(await _rows(connection, DELIVERED, lanes=lanes))
        left = received_before_history(UUID(key), now, history) if by == "message" and _is_uuid(key) else None
        return replace(empty, searched=tuple(searched), delivered=delivered, left=left)
    used = {message.coupon_ref for message in messages if message.coupon_ref}
    coupons = await _more_coupons(connection, coupons, used)
    shown = await _with_origins(connection, messages[:MESSAGES], [coupon.message_id for coupon in coupons])
    jobs = await _jobs(connection, shown, by, spelled)
    issued = {job.params["code"] for job in jobs if job.params.get("code")}
    coupons = await _more_coupons(connection, coupons, issued)
    subjects = [*(str(job.id) for job in jobs), *(coupon.code for coupon in coupons)]
    return replace(
        empty,
        key=spelled,
        messages=tuple(shown),
        jobs=tuple(jobs),
        coupons=tuple(coupons),
        audit=tuple(AuditRow(**row) for row in await _rows(connection, AUDIT, subjects=subjects)),
        searched=tuple(searched),
        more=len(messages) > MESSAGES,
    )


async def _find(
    connection: AsyncConnection, by: Key, key: str
) -> tuple[list[MessageRow], list[CouponRow], list[str], str]:
    """Messages (the newest first), coupons, what was searched for, and the spelling with a result."""
    if by == "message":
        ids = [UUID(key)] if _is_uuid(key) else []
        searched = [f"messages with the id {key}" + ("" if ids else ", which is not the id of a message")]
        return await _messages(connection, BY_ID, ids=ids), [], searched, key
    searched = []
    for spelling in spellings(by, key):
        messages = await _messages(connection, BY_REF[f"{by}_ref"], key=spelling)
        searched.append(f"messages about {by} {spelling}")
        coupons: list[CouponRow] = []
        if by == "coupon":
            coupons = [CouponRow(**row) for row in await _rows(connection, COUPONS, codes=[spelling])]
            searched.append(f"coupons with the code {spelling}")
            messages = await _with_origins(connection, messages, [coupon.message_id for coupon in coupons])
        elif by == "customer":
            coupons = [CouponRow(**row) for row in await _rows(connection, COUPONS_OF, key=spelling, limit=MESSAGES)]
            searched.append(f"coupons of customer {spelling}")
        if messages or coupons:
            return messages, coupons, searched, spelling
    if by == "customer" and "@" in key:
        searched.append("customers whose stored bodies contain this e-mail address")
        for row in await _rows(connection, BY_EMAIL, email=key.lower(), marks=key_ring_of(connection).email_marks(key)):
            messages, coupons, more, spelled = await _find(connection, by, row["customer_ref"])
            return messages, coupons, searched + more, spelled
    return [], [], searched, key


async def _more_coupons(connection: AsyncConnection, known: list[CouponRow], codes: set[str]) -> list[CouponRow]:
    missing = sorted(codes - {coupon.code for coupon in known})
    return (
        [*known, *(CouponRow(**row) for row in await _rows(connection, COUPONS, codes=missing))] if missing else known
    )


async def _messages(connection: AsyncConnection, statement: TextClause, **parameters: object) -> list[MessageRow]:
    ring = key_ring_of(connection)
    return [_message(ring, row) for row in await _rows(connection, statement, limit=MESSAGES + 1, **parameters)]


def _message(ring: KeyRing, row: dict[str, Any]) -> MessageRow:  # Any: a row
    encrypted_with, purpose = row.pop("encrypted_with"), event_or_body(translated=row.pop("translated"))
    return MessageRow(
        **{**row, "body": decrypted_or_none(lambda: ring.decrypt(row["id"], encrypted_with, row["body"], purpose))}
    )


async def _with_origins(
    connection: AsyncConnection, messages: list[MessageRow], origins: Sequence[UUID]
) -> list[MessageRow]:
    """The messages and those of the coupons. A referral has two coupons, but its message refers only to the first."""
    missing = sorted(set(origins) - {message.id for message in messages})
    return [*messages, *(await _messages(connection, BY_ID, ids=missing))] if missing else messages


async def _jobs(connection: AsyncConnection, messages: Sequence[MessageRow], by: Key, key: str) -> list[JobRow]:
    rows = await _rows(connection, JOBS, ids=[message.id for message in messages])
    lanes = {(row["destination"], row["waits_for"]) for row in rows if row["waits_for"]}
    lanes |= {(row["destination"], row["lane"]) for row in rows if row["state"] in ("waiting", "running")}
    if by == "coupon":
        rows = [row for row in rows if (row["params"] or {}).get("code", key) == key]
    ordered = sorted(lanes)
    more = await _rows(
        connection, OPEN, destinations=[destination for destination, _ in ordered], lanes=[lane for _, lane in ordered]
    )
    by_id = {row["id"]: row for row in [*rows, *more]}
    attempts: dict[UUID, list[AttemptRow]] = {job_id: [] for job_id in by_id}
    for row in await _rows(connection, ATTEMPTS, ids=list(by_id)):
        attempts[row["job_id"]].append(AttemptRow(**{name: value for name, value in row.items() if name != "job_id"}))
    return [_job(row, attempts[job_id]) for job_id, row in by_id.items()]


_JOB_FIELDS: Final = tuple(name for name in JobRow.__dataclass_fields__ if name != "attempts")


def _job(row: Mapping[str, Any], attempts: Iterable[AttemptRow]) -> JobRow:  # Any: a row
    values = {name: row[name] for name in _JOB_FIELDS}
    values["params"] = values["params"] or {}
    if values["state"] not in ("waiting", "running"):
        values |= {"run_at": None, "lease_until": None, "waits_for": None}
    return JobRow(**values, attempts=tuple(attempts))


async def _rows(
    connection: AsyncConnection, statement: TextClause, **parameters: object
) -> list[dict[str, Any]]:  # Any: rows
    """The rows. The columns `reason_code` and `facts` become `reason`."""
    rows = [dict(row) for row in (await connection.execute(statement, parameters)).mappings()]
    for row in rows:
        if "reason_code" in row:
            row["reason"] = stored(row.pop("reason_code"), row.pop("facts"))
    return rows


def spellings(by: Key, key: str) -> list[str]:
    """The key, and the key as people write it: `#1001`, an e-mail address or a code in another case."""
    ways = [key, key.lstrip("#").strip()]
    if by == "coupon" or "@" in key:
        ways += [key.lower(), key.upper()]
    return [spelling for spelling in dict.fromkeys(ways) if spelling]


def _is_uuid(key: str) -> bool:
    try:
        UUID(key)
    except ValueError:
        return False
    return True
