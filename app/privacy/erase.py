"""Erases a customer from bodies, attempts, excerpts, references and coupons. Counts and the coupon ledger stay correct.

    identify the customer ─▶ drop jobs, wait for running ones ─▶ messages, jobs, attempts, in chunks ─▶ the rest ─▶ receipt

Jobs are dropped first, so that the customer's data is not sent again. A running job cannot be changed, so its end is awaited.
What arrives during an erasure is not part of it; erase the customer again to remove it. The audit entry records that a
customer was erased, the counts, and by whom; not which customer.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final  # Any: rows
from uuid import UUID, uuid4

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.audit.record import audit
from platform_relay.core.database import key_ring_of
from platform_relay.core.encryption import ENCRYPTED_TEXT, first_email
from platform_relay.core.models import KEY_DIGEST
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.issuance_limits import subject_of
from platform_relay.coupons.transitions import Coupons
from platform_relay.history.export import exports_with
from platform_relay.inbox.messages import JobKind
from platform_relay.jobs.actions import OperatorActions
from platform_relay.privacy.bodies import BODIES, chunks, decrypted
from platform_relay.privacy.identity import ERASED, CustomerIdentity, belongs_to, identify_customer, redacted
from platform_relay.privacy.imported_files import delete_uploads, files_with_rejected_rows
from platform_relay.privacy.receipt import COUNTED, KEPT, ErasureReceipt, next_steps
from platform_relay.privacy.search import find_messages
from platform_relay.privacy.sweep import sweep

PAUSE_SECONDS: Final = 0.25
REPLACEMENT: Final = "erased with the customer"
FACTS: Final = '{"erased": true}'
"""Replaces facts. The reason code, which names no customer, stays."""
WHY: Final = "the customer was erased"
LANES: Final = ("customer:", "loyalty:", "fetch:customers:")
_OPEN_OR_DEAD: Final = text("""
SELECT id, message_id, kind, state = 'running' AS running, params ->> 'reward' AS place FROM job
WHERE message_id = ANY(CAST(:ids AS uuid[])) AND (open OR dead)
""")
_EMPTY: Final = text(f"""
WITH chosen AS (
    SELECT id, {KEY_DIGEST} AS key, kind IN ('customers', 'customers:id', 'customers:unreadable') OR EXISTS (
        SELECT FROM unnest(CAST(:needles AS text[])) AS t(needle) WHERE position(needle IN lower(dedupe_key)) > 0
    ) AS named
    FROM message
    WHERE id = ANY(CAST(:ids AS uuid[])) AND NOT EXISTS (SELECT FROM job WHERE job.message_id = message.id AND job.open)
    ORDER BY id FOR UPDATE
),
forgotten AS (DELETE FROM dedupe_digest USING chosen WHERE dedupe_digest.key = chosen.key AND chosen.named)
UPDATE message SET body = NULL, event = NULL, email_mark = NULL, customer_ref = NULL,
    facts = CASE WHEN facts IS NOT NULL THEN CAST(:facts AS jsonb) END,
    dedupe_key = CASE WHEN chosen.named THEN 'erased:' || message.id ELSE dedupe_key END,
    version_mark = CASE WHEN NOT chosen.named THEN version_mark END
FROM chosen WHERE message.id = chosen.id
RETURNING message.id
""")  # noqa: S608  # constants only
"""A dedupe key may name the customer. Its digests are deleted with it, so the same event would be accepted again."""
_REDACT: Final = text("""
UPDATE message SET body = changed.body, event = changed.event, encrypted_with = :encrypted_with, email_mark = changed.mark,
    customer_ref = CASE WHEN customer_ref = ANY(CAST(:refs AS text[])) THEN NULL ELSE customer_ref END
FROM unnest(CAST(:ids AS uuid[]), CAST(:bodies AS bytea[]), CAST(:events AS bytea[]),
            CAST(:marks AS bytea[])) AS changed(id, body, event, mark)
WHERE message.id = changed.id
""")
_OWNERS: Final = text("""
WITH owned AS (
    SELECT lane.destination, lane.key FROM lane JOIN job ON job.destination = lane.destination AND job.lane = lane.key
    WHERE job.message_id = ANY(CAST(:ids AS uuid[])) AND lane.owner = ANY(CAST(:lanes AS text[]))
    ORDER BY lane.destination, lane.key FOR UPDATE OF lane
)
UPDATE lane SET owner = NULL FROM owned WHERE lane.destination = owned.destination AND lane.key = owned.key
""")
_JOB_FACTS: Final = text("""
UPDATE job SET facts = CASE WHEN facts IS NOT NULL THEN CAST(:facts AS jsonb) END, result = NULL,
    params = CASE WHEN kind IN ('issue_coupon', 'retire_coupon', 'use_reward', 'return_points') THEN params END,
    lane = coalesce((SELECT renamed.new FROM unnest(CAST(:lanes AS text[]), CAST(:renamed AS text[])) AS renamed(old, new)
                     WHERE renamed.old = lane), lane),
    depends_on = CASE WHEN depends_on = ANY(CAST(:lanes AS text[])) THEN NULL ELSE depends_on END
WHERE message_id = ANY(CAST(:ids AS uuid[])) RETURNING id
""")
_ATTEMPTS: Final = text("""
UPDATE attempt SET excerpt = NULL, facts = CASE WHEN facts IS NOT NULL THEN CAST(:facts AS jsonb) END
WHERE job_id = ANY(CAST(:jobs AS uuid[])) AND (excerpt IS NOT NULL OR facts IS NOT NULL) RETURNING job_id
""")
_MENTIONS: Final = (
    text("""
UPDATE attempt SET excerpt = NULL, facts = CASE WHEN attempt.facts IS NOT NULL THEN CAST(:facts AS jsonb) END
FROM job WHERE job.message_id = ANY(CAST(:ids AS uuid[])) AND attempt.job_id = job.id AND EXISTS (
    SELECT FROM unnest(CAST(:needles AS text[])) AS t(needle)
    WHERE position(needle IN lower(concat(attempt.excerpt, attempt.facts))) > 0
       OR starts_with(attempt.excerpt, :encrypted))
"""),
    text("""
UPDATE job SET facts = CAST(:facts AS jsonb) WHERE message_id = ANY(CAST(:ids AS uuid[])) AND EXISTS (
    SELECT FROM unnest(CAST(:needles AS text[])) AS t(needle) WHERE position(needle IN lower(CAST(facts AS text))) > 0)
"""),
)
"""Facts and excerpts of other customers' jobs that name the customer. Encrypted excerpts cannot be searched and are removed."""
_ALERTS: Final = text("""
UPDATE alert SET facts = CAST(:facts AS jsonb), first_facts = NULL,
    resolved_at = CASE WHEN subject = ANY(CAST(:customers AS text[])) THEN coalesce(resolved_at, now()) ELSE resolved_at END,
    subject = CASE WHEN subject = ANY(CAST(:customers AS text[])) THEN 'erased ' || :token ELSE subject END
WHERE subject = ANY(CAST(:subjects AS text[])) OR subject = ANY(CAST(:customers AS text[])) RETURNING id
""")
_JOB_DIFFERENCES: Final = text("""
UPDATE difference SET detail = :replacement WHERE job_id = ANY(CAST(:jobs AS uuid[])) RETURNING entity_id
""")
_LOCK_LANES: Final = text("""
SELECT key FROM lane WHERE key = ANY(CAST(:lanes AS text[])) ORDER BY destination, key FOR UPDATE
""")
_RENAME: Final = text("""
UPDATE lane SET key = renamed.new
FROM unnest(CAST(:lanes AS text[]), CAST(:renamed AS text[])) AS renamed(old, new)
WHERE lane.key = renamed.old AND lane.open_jobs = 0 AND NOT lane.leased
""")
_TRIAL_POSITION: Final = text("UPDATE trial SET resent_to = '' WHERE resent_to = ANY(CAST(:lanes AS text[]))")
"""The window of `relay shadow go-live` then begins again; what was sent before is recognised as delivered."""
_ENTITIES: Final = text(
    "DELETE FROM entity"
    " WHERE destination IN ('platform', 'store', 'store_loyalty') AND key = ANY(CAST(:lanes AS text[])) RETURNING key"
)
_COUPONS: Final = text("""
UPDATE coupon SET customer_ref = NULL, facts = CASE WHEN facts IS NOT NULL THEN CAST(:facts AS jsonb) END,
    decision = CASE WHEN decision ? 'why' THEN jsonb_set(decision, '{why}', to_jsonb(CAST(:replacement AS text))) ELSE decision END
WHERE customer_ref = ANY(CAST(:refs AS text[])) RETURNING code
""")
_NOT_ISSUED: Final = text("""
SELECT code FROM coupon WHERE customer_ref = ANY(CAST(:refs AS text[])) AND state IN ('pending', 'held', 'refused')
""")
_ISSUANCE_LIMITS: Final = text("DELETE FROM issuance_limit WHERE key = ANY(CAST(:refs AS text[]))")
_CUSTOMER_DIFFERENCES: Final = text("""
DELETE FROM difference WHERE kind = 'customers' AND entity_id = ANY(CAST(:refs AS text[])) RETURNING entity_id
""")


class StillRunningError(ValueError):
    """A running job of the customer did not end in time. Erasing the customer again completes the erasure."""


async def erase(
    engine: AsyncEngine, actions: OperatorActions, id_or_email: str, by: str, *, patience: float = 90.0
) -> ErasureReceipt:
    """Erase the customer with this id or e-mail address. Reads every stored body once.

    `patience` is the time in seconds to wait for running jobs. Raises StillRunningError, after which another call completes
    the erasure, and UnreadableBodyError, before anything was changed.
    """
    async with engine.connect() as connection:
        customer = await identify_customer(connection, id_or_email.strip())
    until = time.monotonic() + patience
    messages = await find_messages(engine, customer)
    erasure = _Erasure(engine, actions, messages.customer, by)
    await erasure.drop_jobs(messages.own, messages.mentions, until)
    for ids in chunks(messages.mentions):
        await erasure.redact(ids)
    for ids in chunks(messages.own):
        await erasure.empty(ids)
    return await erasure.finish()


class _Erasure:
    def __init__(self, engine: AsyncEngine, actions: OperatorActions, customer: CustomerIdentity, by: str) -> None:
        self._engine = engine
        self._actions = actions
        self._customer = customer
        self._by = by
        self._id = uuid4()
        self._counts: Counter[str] = Counter()
        self._refs = {"refs": list(customer.refs)}
        in_json = (json.dumps(needle, ensure_ascii=False)[1:-1] for needle in customer.needles)  # as facts contain it
        self._needles = {"needles": sorted({*customer.needles, *in_json})}
        lanes = [(kind, ref) for ref in customer.refs for kind in LANES]
        self._lanes = {
            "lanes": [kind + ref for kind, ref in lanes],
            "renamed": [f"{kind}{ERASED}-{self._id}-{number}" for number, (kind, _) in enumerate(lanes)],
        }

    async def drop_jobs(self, own: Sequence[UUID], mentions: Sequence[UUID], until: float) -> None:
        """Drop waiting and dead jobs, and wait for running ones until a time of the monotonic clock. Raises StillRunningError."""
        while True:
            jobs = [job for ids in chunks(own) for job in await self._jobs(ids)]
            jobs += [job for ids in chunks(mentions) for job in await self._jobs_of_mentions(ids)]
            for ids in chunks([job.id for job in jobs if not job.running]):
                self._counts["dropped"] += await self._actions.drop(ids, self._by, WHY)
            if not any(job.running for job in jobs):
                return
            if time.monotonic() > until:
                raise StillRunningError(
                    "a job of this customer is being sent right now and did not end in time; try again in a minute"
                    " (if no worker is running, start one: it takes over the job)"
                )
            await asyncio.sleep(PAUSE_SECONDS)

    async def _jobs(self, ids: Sequence[UUID]) -> list[Row[Any]]:
        async with self._engine.connect() as connection:
            return list((await connection.execute(_OPEN_OR_DEAD, {"ids": list(ids)})).all())

    async def _jobs_of_mentions(self, ids: Sequence[UUID]) -> list[Row[Any]]:
        """Of a referral, only the job for the customer's own coupon."""
        jobs = [job for job in await self._jobs(ids) if job.kind == JobKind.ISSUE_COUPON]
        async with self._engine.connect() as connection:
            rows = await connection.execute(BODIES, {"ids": [job.message_id for job in jobs]})
            ring = key_ring_of(connection)
            messages = {row.id: (row.kind, ring.decrypt(row.id, row.encrypted_with, row.body)) for row in rows}
        return [
            job
            for job in jobs
            if (message := messages.get(job.message_id)) is not None
            and belongs_to(self._customer, message[0], job.place or "", message[1] or b"")
        ]

    async def redact(self, ids: Sequence[UUID]) -> None:
        """Remove the customer from other customers' bodies and from the facts of their jobs."""
        async with self._engine.begin() as connection:
            await connection.execute(_OWNERS, {"ids": list(ids), "lanes": self._lanes["lanes"]})
            rows = (await connection.execute(BODIES, {"ids": list(ids)})).all()
            if not rows:
                return
            ring = key_ring_of(connection)
            parameters: dict[str, list[object]] = {"ids": [], "bodies": [], "events": [], "marks": []}
            for row in rows:
                before = decrypted(ring, row)
                body, event = after = [self._redacted(column) for column in before]
                self._counts["redacted"] += before != after
                parameters["ids"].append(row.id)
                parameters["bodies"].append(ring.encrypt(row.id, body))
                parameters["events"].append(ring.encrypt(row.id, event, "event"))
                parameters["marks"].append(ring.email_mark(first_email(row.kind, event or body)))
            await connection.execute(_REDACT, {**parameters, "encrypted_with": ring.current, **self._refs})
            mentions = {"ids": list(ids), "facts": FACTS, **self._needles}
            for statement, encrypted in zip(_MENTIONS, ({"encrypted": ENCRYPTED_TEXT}, {}), strict=True):
                await connection.execute(statement, {**mentions, **encrypted})

    def _redacted(self, body: bytes | None) -> bytes | None:
        without = None if body is None else redacted(self._customer, bytes(body))
        return body if without is None else without

    async def empty(self, ids: Sequence[UUID]) -> None:
        """Remove the bodies and references of the customer's own messages, and the facts of their jobs and attempts."""
        async with self._engine.begin() as connection:
            await connection.execute(_OWNERS, {"ids": list(ids), "lanes": self._lanes["lanes"]})
            emptied = (
                (await connection.execute(_EMPTY, {"ids": list(ids), "facts": FACTS, **self._needles})).scalars().all()
            )
            parameters = {"ids": list(emptied), "facts": FACTS, **self._lanes}
            jobs = list((await connection.execute(_JOB_FACTS, parameters)).scalars())
            attempts = await connection.execute(_ATTEMPTS, {"jobs": jobs, "facts": FACTS})
            alerts = await connection.execute(_ALERTS, self._alerts([str(job) for job in jobs], []))
            differences = await connection.execute(_JOB_DIFFERENCES, {"jobs": jobs, "replacement": REPLACEMENT})
            self._counts["messages"] += len(emptied)
            self._counts["jobs"] += len(jobs)
            self._counts["attempts"] += len(attempts.all())
            self._counts["alerts"] += len(alerts.all())
            self._counts["differences"] += len(differences.all())

    def _alerts(self, subjects: Sequence[str], customers: Sequence[str]) -> dict[str, object]:
        return {"subjects": subjects, "customers": customers, "token": str(self._id), "facts": FACTS}

    async def finish(self) -> ErasureReceipt:
        """Retire coupons that are not issued yet; remove the customer from all other tables; write the audit entry."""
        async with self._engine.connect() as connection:
            codes = list((await connection.execute(_NOT_ISSUED, self._refs)).scalars())
        coupons, reason = Coupons(self._engine), because(ReasonCode.OPERATOR_DECIDED, by=self._by, comment=WHY)
        for code in codes:
            self._counts["retired"] += await coupons.retire(code, reason) is not None
        swept = await sweep(self._engine, self._customer)
        self._counts["attempts"] += swept.get("attempt", 0)
        async with self._engine.begin() as connection:
            await connection.execute(_LOCK_LANES, {"lanes": self._lanes["lanes"]})
            await connection.execute(_RENAME, self._lanes)
            await connection.execute(_TRIAL_POSITION, {"lanes": self._lanes["lanes"]})
            entities = await connection.execute(_ENTITIES, {"lanes": self._lanes["lanes"]})
            parameters = {**self._refs, "replacement": REPLACEMENT, "facts": FACTS}
            codes = list((await connection.execute(_COUPONS, parameters)).scalars())
            customers = [subject_of(ref) for ref in self._customer.refs]
            alerts = await connection.execute(_ALERTS, self._alerts(codes, customers))
            differences = await connection.execute(_CUSTOMER_DIFFERENCES, self._refs)
            await connection.execute(_ISSUANCE_LIMITS, self._refs)
            self._counts["coupons"] += len(codes)
            self._counts["entities"] += len(entities.all())
            self._counts["alerts"] += len(alerts.all())
            self._counts["differences"] += len(differences.all())
            counts = {name: self._counts[name] for name in COUNTED}
            await audit(connection, self._by, "customer.erase", str(self._id), counts)
            files = await files_with_rejected_rows(connection)
            exports = await exports_with(connection, self._customer.refs)
        running = await delete_uploads(self._engine)
        steps = next_steps(exports, running, files)
        return ErasureReceipt(
            erasure=self._id, at=datetime.now(UTC), by=self._by, **counts, exports=exports, kept=KEPT, next_steps=steps
        )
