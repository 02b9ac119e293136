"""A person is removed: from bodies, attempts, excerpts, references, coupons. Counts and the ledger of coupons stay.

    find the person ─▶ drop what waits, wait for what runs ─▶ messages, jobs, attempts, in chunks ─▶ the rest ─▶ receipt

Drop comes first: who asks to be forgotten does not ask to be sent once more. A job that runs right now is waited for, as
nobody may change it; what comes in while this goes on is new, and the same call again takes it too. The audit tells that
somebody was erased, how much, and by whom; not who.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final  # Any: rows
from uuid import UUID, uuid4

from pydantic import Field
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.database import keys_of
from platform_relay.core.encryption import SEALED_TEXT, first_email
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.issuance_limits import subject_of
from platform_relay.coupons.transitions import Coupons
from platform_relay.jobs.actions import Operator, audit
from platform_relay.jobs.views import View
from platform_relay.platform.webhooks import ISSUE_COUPON, REFERRALS
from platform_relay.privacy.person import GONE, Person, belongs_to, find_person, redacted

CHUNK: Final = 500
SCANNED: Final = 5000
"""Bodies looked through by one statement."""
PAUSE_SECONDS: Final = 0.25
WORDS: Final = "erased with the person"
FACTS: Final = '{"erased": true}'
"""In the place of facts: the reason code stays, which names nobody."""
WHY: Final = "the person was erased"
LANES: Final = ("customer:", "news:", "fetch:customers:")
COUNTED: Final = (
    "messages", "redacted", "jobs", "dropped", "attempts", "coupons", "retired", "alerts", "differences", "entities",
)  # fmt: skip

_OWN: Final = text("""
SELECT id, kind FROM message
WHERE customer_ref = ANY(CAST(:refs AS text[]))
   OR order_ref IN (SELECT order_ref FROM message WHERE customer_ref = ANY(CAST(:refs AS text[])) AND order_ref IS NOT NULL)
ORDER BY kind = 'customers', id
""")
"""Accounts last: they tell the person's addresses, should this be ended half-way."""
_SCAN: Final = text("""
WITH chunk AS (
    SELECT id, lower(encode(body, 'escape')) || lower(encode(coalesce(event, ''), 'escape')) AS words FROM message
    WHERE body IS NOT NULL AND encrypted_with IS NULL AND id > :after ORDER BY id LIMIT :chunk
)
SELECT (array_agg(id ORDER BY id DESC))[1] AS last,
       coalesce(array_agg(id) FILTER (WHERE EXISTS (
           SELECT FROM unnest(CAST(:needles AS text[])) AS t(needle) WHERE position(needle IN words) > 0)), '{}') AS found
FROM chunk
""")
_SCAN_SEALED: Final = text("""
SELECT id, encrypted_with, body, event FROM message
WHERE body IS NOT NULL AND encrypted_with IS NOT NULL AND id > :after ORDER BY id LIMIT :chunk
""")
_BODIES: Final = text("""
SELECT id, kind, encrypted_with, body, event FROM message WHERE id = ANY(CAST(:ids AS uuid[])) AND body IS NOT NULL
""")
_OWED: Final = text("""
SELECT id, message_id, kind, state = 'running' AS running, params ->> 'reward' AS place FROM job
WHERE message_id = ANY(CAST(:ids AS uuid[])) AND (open OR dead)
""")
_EMPTY: Final = text("""
UPDATE message SET body = NULL, event = NULL, email_mark = NULL, customer_ref = NULL,
    dedupe_key = CASE WHEN kind IN ('customers', 'customers:id') OR EXISTS (
        SELECT FROM unnest(CAST(:needles AS text[])) AS t(needle) WHERE position(needle IN lower(dedupe_key)) > 0
    ) THEN 'erased:' || id ELSE dedupe_key END
WHERE id = ANY(CAST(:ids AS uuid[])) AND NOT EXISTS (SELECT FROM job WHERE job.message_id = message.id AND job.open)
RETURNING id
""")
_REDACT: Final = text("""
UPDATE message SET body = changed.body, event = changed.event, encrypted_with = :encrypted_with, email_mark = changed.mark,
    customer_ref = CASE WHEN customer_ref = ANY(CAST(:refs AS text[])) THEN NULL ELSE customer_ref END
FROM unnest(CAST(:ids AS uuid[]), CAST(:bodies AS bytea[]), CAST(:events AS bytea[]),
            CAST(:marks AS bytea[])) AS changed(id, body, event, mark)
WHERE message.id = changed.id
""")
_JOB_FACTS: Final = text("""
UPDATE job SET facts = CASE WHEN facts IS NOT NULL THEN CAST(:facts AS jsonb) END, result = NULL,
    params = CASE WHEN kind IN ('issue_coupon', 'retire_coupon', 'use_reward', 'return_points') THEN params END,
    lane = coalesce((SELECT renamed.new FROM unnest(CAST(:lanes AS text[]), CAST(:renamed AS text[])) AS renamed(old, new)
                     WHERE renamed.old = lane), lane),
    after = CASE WHEN after = ANY(CAST(:lanes AS text[])) THEN NULL ELSE after END
WHERE message_id = ANY(CAST(:ids AS uuid[])) RETURNING id
""")
_ATTEMPTS: Final = text("""
UPDATE attempt SET excerpt = NULL, facts = CASE WHEN facts IS NOT NULL THEN CAST(:facts AS jsonb) END
WHERE job_id = ANY(CAST(:jobs AS uuid[])) AND (excerpt IS NOT NULL OR facts IS NOT NULL) RETURNING job_id
""")
_TRACES: Final = (
    text("""
UPDATE attempt SET excerpt = NULL, facts = CASE WHEN attempt.facts IS NOT NULL THEN CAST(:facts AS jsonb) END
FROM job WHERE job.message_id = ANY(CAST(:ids AS uuid[])) AND attempt.job_id = job.id AND EXISTS (
    SELECT FROM unnest(CAST(:needles AS text[])) AS t(needle)
    WHERE position(needle IN lower(concat(attempt.excerpt, attempt.facts))) > 0
       OR starts_with(attempt.excerpt, :sealed))
"""),
    text("""
UPDATE job SET facts = CAST(:facts AS jsonb) WHERE message_id = ANY(CAST(:ids AS uuid[])) AND EXISTS (
    SELECT FROM unnest(CAST(:needles AS text[])) AS t(needle) WHERE position(needle IN lower(CAST(facts AS text))) > 0)
"""),
)
"""Of somebody else's jobs: facts and excerpts that name the person; a sealed excerpt is not searched and goes too."""
_ALERTS: Final = text("""
UPDATE alert SET facts = CAST(:facts AS jsonb),
    resolved_at = CASE WHEN subject = ANY(CAST(:people AS text[])) THEN coalesce(resolved_at, now()) ELSE resolved_at END,
    subject = CASE WHEN subject = ANY(CAST(:people AS text[])) THEN 'erased ' || :token ELSE subject END
WHERE subject = ANY(CAST(:subjects AS text[])) OR subject = ANY(CAST(:people AS text[])) RETURNING id
""")
_DIFFERENCES: Final = text("""
UPDATE difference SET detail = :words WHERE job_id = ANY(CAST(:jobs AS uuid[])) RETURNING entity_id
""")
_LOCK_LANES: Final = text("""
SELECT key FROM lane WHERE key = ANY(CAST(:lanes AS text[])) ORDER BY destination, key FOR UPDATE
""")
_RENAME: Final = text("""
UPDATE lane SET key = renamed.new
FROM unnest(CAST(:lanes AS text[]), CAST(:renamed AS text[])) AS renamed(old, new)
WHERE lane.key = renamed.old AND lane.waiting = 0 AND NOT lane.leased
""")
_ENTITIES: Final = text(
    "DELETE FROM entity WHERE destination IN ('platform', 'store') AND key = ANY(CAST(:lanes AS text[])) RETURNING key"
)
_COUPONS: Final = text("""
UPDATE coupon SET customer_ref = NULL, facts = CASE WHEN facts IS NOT NULL THEN CAST(:facts AS jsonb) END,
    decision = CASE WHEN decision ? 'why' THEN jsonb_set(decision, '{why}', to_jsonb(CAST(:words AS text))) ELSE decision END
WHERE customer_ref = ANY(CAST(:refs AS text[])) RETURNING code
""")
_NOT_MADE: Final = text("""
SELECT code FROM coupon WHERE customer_ref = ANY(CAST(:refs AS text[])) AND state IN ('pending', 'held')
""")
_FUSES: Final = text("DELETE FROM issuance_limit WHERE key = ANY(CAST(:refs AS text[]))")
_NOTED: Final = text("""
DELETE FROM difference WHERE kind = 'customers' AND entity_id = ANY(CAST(:refs AS text[])) RETURNING entity_id
""")


class StillRunningError(ValueError):
    """A job of the person runs and did not end in time; nothing is half-done that the same call again would not end."""


class Receipt(View):
    """What was removed; `erasure` stands in the audit. The same again finds nothing: all zero."""

    erasure: UUID = Field(description="The audit's name for it, and of what stays countable.")
    at: datetime
    by: str
    messages: int = Field(description="Messages whose bodies and references were removed.")
    redacted: int = Field(description="Bodies about somebody else in which the person was named.")
    jobs: int = Field(description="Jobs whose words were removed.")
    dropped: int = Field(description="Of them: waited or were given up, and will never be sent.")
    attempts: int = Field(description="Attempts whose words and excerpts were removed.")
    coupons: int = Field(description="Coupons that name nobody any more; code, value and state stay.")
    retired: int = Field(description="Of them: were not made yet, and never will be.")
    alerts: int
    differences: int
    entities: int = Field(description="What was noted of the customer as delivered.")
    stays: list[str] = Field(description="What is kept, and why.")
    next: list[str] = Field(description="What the relay cannot do.")


STAYS: Final = [
    "that messages and jobs were, with their times and states: the counts stay right",
    "coupons with code, value, points and state: the ledger of money stays right",
    "the audit, whose lines cannot be changed; it names keys, jobs and codes, and what operators wrote as a reason",
]
NEXT: Final = [
    "erase the customer in the store, or its next report brings the person back",
    "erase the customer at the Platform: its API cannot",
    "backups and logs kept elsewhere end by your own retention",
]


async def erase(engine: AsyncEngine, operator: Operator, asked: str, by: str, *, patience: float = 90.0) -> Receipt:
    """Remove the customer with this id or e-mail address everywhere. `patience`: seconds for what runs right now.
    Reads every kept body once. Raises StillRunningError; the same again does the rest. Raises UnreadableBodyError, when
    nothing was changed yet."""
    async with engine.connect() as connection:
        person = await find_person(connection, asked.strip())
    work = _Erasing(engine, operator, person, by, patience)
    own, mentions = await work.traced()
    await work.drop(own, mentions)
    for ids in _chunks(mentions):
        await work.redact(ids)
    for ids in _chunks(own):
        await work.empty(ids)
    return await work.the_rest()


class _Erasing:
    def __init__(self, engine: AsyncEngine, operator: Operator, person: Person, by: str, patience: float) -> None:
        self._engine = engine
        self._operator = operator
        self._person = person
        self._by = by
        self._until = time.monotonic() + patience
        self._token = uuid4()
        self._counts: Counter[str] = Counter()
        self._refs = {"refs": list(person.refs)}
        written = (json.dumps(needle, ensure_ascii=False)[1:-1] for needle in person.needles)  # as it stands in facts
        self._needles = {"needles": sorted({*person.needles, *written})}
        lanes = [(kind, ref) for ref in person.refs for kind in LANES]
        self._lanes = {
            "lanes": [kind + ref for kind, ref in lanes],
            "renamed": [f"{kind}{GONE}-{self._token}-{number}" for number, (kind, _) in enumerate(lanes)],
        }

    async def traced(self) -> tuple[list[UUID], list[UUID]]:
        """Messages that are the person's, and those of others that name the person; a referral is always somebody
        else's too."""
        async with self._engine.connect() as connection:
            rows = (await connection.execute(_OWN, self._refs)).all()
        own = [row.id for row in rows if row.kind not in REFERRALS]
        mentions = {row.id for row in rows if row.kind in REFERRALS}
        after: UUID | None = UUID(int=0)
        while self._person.needles and after is not None:
            async with self._engine.connect() as connection:
                asked = {"after": after, "chunk": SCANNED, "needles": list(self._person.needles)}
                row = (await connection.execute(_SCAN, asked)).one()
            mentions.update(row.found)
            after = row.last
        mentions.update(await self._sealed_mentions())
        return own, sorted(mentions - set(own))

    async def _sealed_mentions(self) -> set[UUID]:
        """As _SCAN finds them in plain bodies: what is sealed is opened here and looked through."""
        found, after = set[UUID](), UUID(int=0)
        while self._person.needles:
            async with self._engine.connect() as connection:
                ring = keys_of(connection)
                rows = (await connection.execute(_SCAN_SEALED, {"after": after, "chunk": CHUNK})).all()
            if not rows:
                break
            for row in rows:
                told = [ring.open(row.id, row.encrypted_with, each) or b"" for each in (row.body, row.event)]
                if self._person.named_in(b" ".join(told).decode("utf-8", "replace")):
                    found.add(row.id)
            after = rows[-1].id
        return found

    async def drop(self, own: Sequence[UUID], mentions: Sequence[UUID]) -> None:
        """What waits or was given up is dropped; what runs is waited for. Raises StillRunningError."""
        while True:
            jobs = [job for ids in _chunks(own) for job in await self._owed(ids)]
            jobs += [job for ids in _chunks(mentions) for job in await self._owed_of_others(ids)]
            for ids in _chunks([job.id for job in jobs if not job.running]):
                self._counts["dropped"] += await self._operator.drop(ids, self._by, WHY)
            if not any(job.running for job in jobs):
                return
            if time.monotonic() > self._until:
                raise StillRunningError(
                    "a job of this person is being sent right now and did not end in time; ask again in a minute"
                    " (if no worker runs, start one: it ends what was begun)"
                )
            await asyncio.sleep(PAUSE_SECONDS)

    async def _owed(self, ids: Sequence[UUID]) -> list[Row[Any]]:
        async with self._engine.connect() as connection:
            return list((await connection.execute(_OWED, {"ids": list(ids)})).all())

    async def _owed_of_others(self, ids: Sequence[UUID]) -> list[Row[Any]]:
        """Of a referral only the person's own coupon."""
        jobs = [job for job in await self._owed(ids) if job.kind == ISSUE_COUPON]
        async with self._engine.connect() as connection:
            rows = await connection.execute(_BODIES, {"ids": [job.message_id for job in jobs]})
            ring = keys_of(connection)
            messages = {row.id: (row.kind, ring.open(row.id, row.encrypted_with, row.body)) for row in rows}
        return [
            job
            for job in jobs
            if (told := messages.get(job.message_id)) is not None
            and belongs_to(self._person, told[0], job.place or "", told[1] or b"")
        ]

    async def redact(self, ids: Sequence[UUID]) -> None:
        """Bodies of others, in which the person is named."""
        async with self._engine.begin() as connection:
            rows = (await connection.execute(_BODIES, {"ids": list(ids)})).all()
            ring = keys_of(connection)
            before = [[ring.open(row.id, row.encrypted_with, each) for each in (row.body, row.event)] for row in rows]
            changed = [(self._without(body), self._without(event)) for body, event in before]
            if changed:
                told = [(row.id, row.kind, body, event) for row, (body, event) in zip(rows, changed, strict=True)]
                columns = {
                    "ids": [message_id for message_id, *_ in told],
                    "bodies": [ring.seal(message_id, body) for message_id, _, body, _ in told],
                    "events": [ring.seal(message_id, event) for message_id, _, _, event in told],
                    "marks": [ring.mark(first_email(kind, event or body)) for _, kind, body, event in told],
                    "encrypted_with": ring.first,
                }
                await connection.execute(_REDACT, {**columns, **self._refs})
                for statement, sealed in zip(_TRACES, ({"sealed": SEALED_TEXT}, {}), strict=True):
                    await connection.execute(statement, {"ids": list(ids), "facts": FACTS, **self._needles, **sealed})
        self._counts["redacted"] += sum(tuple(told) != without for told, without in zip(before, changed, strict=True))

    def _without(self, told: bytes | None) -> bytes | None:
        without = None if told is None else redacted(self._person, bytes(told))
        return told if without is None else without

    async def empty(self, ids: Sequence[UUID]) -> None:
        """The person's own messages, with their jobs and attempts."""
        async with self._engine.begin() as connection:
            emptied = (await connection.execute(_EMPTY, {"ids": list(ids), **self._needles})).scalars().all()
            told = {"ids": list(emptied), "facts": FACTS, **self._lanes}
            jobs = list((await connection.execute(_JOB_FACTS, told)).scalars())
            attempts = await connection.execute(_ATTEMPTS, {"jobs": jobs, "facts": FACTS})
            subjects = {"subjects": [str(job) for job in jobs], "people": [], "token": str(self._token), "facts": FACTS}
            alerts = await connection.execute(_ALERTS, subjects)
            differences = await connection.execute(_DIFFERENCES, {"jobs": jobs, "words": WORDS})
            self._counts["messages"] += len(emptied)
            self._counts["jobs"] += len(jobs)
            self._counts["attempts"] += len(attempts.all())
            self._counts["alerts"] += len(alerts.all())
            self._counts["differences"] += len(differences.all())

    async def the_rest(self) -> Receipt:
        """Coupons, alerts, lanes, what was noted of the customer; and the line of the audit."""
        async with self._engine.connect() as connection:
            pending = list((await connection.execute(_NOT_MADE, self._refs)).scalars())
        coupons, reason = Coupons(self._engine), because(ReasonCode.OPERATOR_DECIDED, by=self._by, comment=WHY)
        for code in pending:
            self._counts["retired"] += await coupons.retire(code, reason) is not None
        async with self._engine.begin() as connection:
            await connection.execute(_LOCK_LANES, {"lanes": self._lanes["lanes"]})
            await connection.execute(_RENAME, self._lanes)
            entities = await connection.execute(_ENTITIES, {"lanes": self._lanes["lanes"]})
            codes = list((await connection.execute(_COUPONS, {**self._refs, "words": WORDS, "facts": FACTS})).scalars())
            people = [subject_of(ref) for ref in self._person.refs]
            subjects = {"subjects": codes, "people": people, "token": str(self._token), "facts": FACTS}
            alerts = await connection.execute(_ALERTS, subjects)
            differences = await connection.execute(_NOTED, self._refs)
            await connection.execute(_FUSES, self._refs)
            self._counts["coupons"] += len(codes)
            self._counts["entities"] += len(entities.all())
            self._counts["alerts"] += len(alerts.all())
            self._counts["differences"] += len(differences.all())
            counted = {name: self._counts[name] for name in COUNTED}
            await audit(connection, self._by, "customer.erase", str(self._token), counted)
        return Receipt(
            erasure=self._token, at=datetime.now(UTC), by=self._by, **counted, stays=list(STAYS), next=list(NEXT)
        )


def _chunks(items: Sequence[UUID]) -> Iterator[list[UUID]]:
    for start in range(0, len(items), CHUNK):
        yield list(items[start : start + CHUNK])
