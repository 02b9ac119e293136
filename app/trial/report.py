"""What would have been sent in the trial, compared with what the Platform has (customers) and the store has (coupons).

All calls are reads. Values of customers are not shown: a difference names the field.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, cast  # Any: rows
from uuid import UUID

from pydantic import Field
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.core import exact_json
from platform_relay.core.database import key_ring_of
from platform_relay.core.encryption import UnreadableBodyError, event_or_body
from platform_relay.core.ids import first_id
from platform_relay.core.outcomes import Reject, reason_of
from platform_relay.core.reasons import stored
from platform_relay.coupons.drift_check import PERSONAL
from platform_relay.coupons.spec import read_stored_spec
from platform_relay.forwarding.prepare import PreparedCustomer
from platform_relay.inbox.messages import JobKind
from platform_relay.jobs.views import View
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.fields import Fields
from platform_relay.stores.base import StoreAdapter, StoreCoupon, differences
from platform_relay.trial.rehearsal import preparation

AT_ONCE: Final = 4
"""Look-ups at the same time."""

_COUNTS: Final = text("""
SELECT kind, facts ->> 'call' AS call, facts -> 'cause' ->> 'code' AS cause, count(*) AS jobs
FROM job WHERE state = 'skipped' AND reason_code = 'shadow' AND id >= :first GROUP BY 1, 2, 3 ORDER BY 1, 4 DESC, 3
""")
_ITEMS: Final = text("""
SELECT job.id, job.message_id, job.kind, job.lane, job.params, job.facts, job.created_at,
       coalesce(message.event, message.body) AS body, message.encrypted_with, message.event IS NOT NULL AS translated,
       NOT EXISTS (SELECT FROM job AS newer WHERE newer.destination = job.destination AND newer.lane = job.lane
                     AND newer.id > job.id AND newer.id = ANY(CAST(:same AS uuid[]))) AS newest
FROM job LEFT JOIN message ON message.id = job.message_id WHERE job.id = ANY(CAST(:same AS uuid[])) ORDER BY job.id DESC
""")
_NEWEST: Final = text("""
SELECT id FROM job WHERE state = 'skipped' AND reason_code = 'shadow' AND id >= :first
  AND (CAST(:before AS uuid) IS NULL OR id < CAST(:before AS uuid))
  AND (NOT CAST(:comparable AS boolean) OR kind IN ('forward_customer', 'issue_coupon'))
ORDER BY id DESC LIMIT :limit
""")
_TRIAL: Final = text("SELECT started_at, live_at FROM trial")

Result = Literal["same", "differs", "missing", "unexpected", "as expected", "not comparable", "not compared", "failed"]


class CountView(View):
    """Jobs of one kind with one result."""

    kind: str
    call: str | None = Field(None, description="What a live relay would have called; null: nothing.")
    cause: str | None = Field(None, description="Why it would not have sent them: a reason code.")
    jobs: int


class ComparisonView(View):
    """`missing`: the destination does not have it. `unexpected`: the store has a coupon that the relay would not have created."""

    result: Result
    fields: list[str] = Field([], description="The names of the fields that differ.")
    detail: str | None = None


class TrialJobView(View):
    """A job of the trial, with what a live relay would have done."""

    id: UUID
    message_id: UUID
    at: datetime
    kind: str
    lane: str
    call: str | None = None
    text: str = Field(description="Why the job ended, and why a live relay would not have sent it.")
    cause: str | None = None
    comparison: ComparisonView


class TrialCounts(View):
    """`started_at` null: this relay never was in a trial. `live_at` null: it is now."""

    started_at: datetime | None = None
    live_at: datetime | None = None
    since: datetime = Field(description="Older jobs are not counted.")
    counts: list[CountView]


class TrialReport(TrialCounts):
    """The counts, and the newest jobs."""

    compared: dict[str, int] = Field(description="How many of `items` have which result.")
    items: list[TrialJobView]
    older: UUID | None = Field(None, description="The id before which older jobs follow; null: there are none.")


_NOT_COMPARED: Final = ComparisonView(result="not compared")
_NO_TIME: Final = ComparisonView(result="not compared", detail="the Platform or the store was too slow")


class Reporter:
    """`platform` None: nothing is compared. `store` is None while no store is configured."""

    def __init__(self, engine: AsyncEngine, platform: PlatformClient | None, store: StoreAdapter | None) -> None:
        self._engine = engine
        self._platform = platform
        self._store = store

    async def report(
        self, since: timedelta, limit: int, *, before: UUID | None = None, comparable: bool = False
    ) -> TrialReport:
        """The counts since then, and the newest `limit` jobs. `comparable`: only those that can be compared."""
        counts = await self.counts(since)
        items, more = await self.jobs(since, limit, before=before, comparable=comparable)
        results = [item.comparison.result for item in items]
        return TrialReport(
            **dict(counts),
            compared={result: results.count(result) for result in sorted(set(results))},
            items=items,
            older=items[-1].id if more else None,
        )

    async def counts(self, since: timedelta) -> TrialCounts:
        """The state of the trial, and what would have been sent since then."""
        async with self._engine.connect() as connection:
            trial = (await connection.execute(_TRIAL)).one_or_none()
            start = await _ago(connection, since)
            counts = (await connection.execute(_COUNTS, {"first": first_id(start)})).all()
        return TrialCounts(
            started_at=trial.started_at if trial else None,
            live_at=trial.live_at if trial else None,
            since=start,
            counts=[CountView(kind=row.kind, call=row.call, cause=row.cause, jobs=row.jobs) for row in counts],
        )

    async def jobs(
        self,
        since: timedelta,
        limit: int,
        *,
        before: UUID | None = None,
        comparable: bool = False,
        deadline: float | None = None,
    ) -> tuple[list[TrialJobView], bool]:
        """The newest `limit` jobs since then, and whether there are older ones. `comparable` as above. What is not read at
        `deadline`, a time of the event loop, is not compared."""
        async with self._engine.connect() as connection:
            first = first_id(await _ago(connection, since))
            parameters = {"first": first, "before": before, "comparable": comparable, "limit": limit + 1}
            ids = list((await connection.execute(_NEWEST, parameters)).scalars())
            rows = (await connection.execute(_ITEMS, {"same": ids[:limit]})).all()
            bodies = {row.id: _body(connection, row) for row in rows}
        at_once = asyncio.Semaphore(AT_ONCE)

        async def compared(row: Row[Any]) -> ComparisonView:  # Any: a row's columns
            try:
                async with asyncio.timeout_at(deadline), at_once:
                    return await self._compare(row, bodies[row.id])
            except TimeoutError:
                return _NO_TIME

        comparisons = await asyncio.gather(*(compared(row) for row in rows))
        return [_item(row, one) for row, one in zip(rows, comparisons, strict=True)], len(ids) > limit

    async def _compare(self, row: Row[Any], body: bytes | None) -> ComparisonView:  # Any: as above
        if self._platform is None:
            return _NOT_COMPARED
        match row.kind:
            case JobKind.FORWARD_CUSTOMER if "call" in row.facts:
                if not row.newest:
                    return ComparisonView(result="not comparable", detail="a newer version was received")
                return await self._compare_customer(self._platform, row, body)
            case JobKind.ISSUE_COUPON if "code" in row.facts:
                return await self._compare_coupon(row.facts)
            case JobKind.FORWARD_ORDER | JobKind.FORWARD_PRODUCT:
                return ComparisonView(
                    result="not comparable", detail="the Platform has no look-up for orders and products"
                )
            case _:
                return ComparisonView(result="not comparable")

    async def _compare_customer(
        self, platform: PlatformClient, row: Row[Any], body: bytes | None
    ) -> ComparisonView:  # Any: as above
        if body is None:
            return ComparisonView(result="not comparable", detail="its body cannot be read, or was deleted")
        from_order = (row.params or {}).get("from") == "order"
        prepared = preparation(row.kind, body, platform.fields, from_order=from_order)()
        if isinstance(prepared, Reject) or not isinstance(prepared, PreparedCustomer):
            return ComparisonView(result="not comparable", detail="its body cannot be read, or was deleted")
        answer = await platform.get_customer(prepared.id)
        if answer is None:
            return ComparisonView(result="missing", detail="the Platform does not have this customer")
        if not isinstance(answer, Mapping):
            return ComparisonView(result="failed", detail=answer.reason.text)
        return compare_customer(exact_json.loads(prepared.body), answer, platform.fields)

    async def _compare_coupon(self, facts: Mapping[str, Any]) -> ComparisonView:  # Any: JSON
        if self._store is None:
            return ComparisonView(result="not comparable", detail="no store is configured")
        code = str(facts["code"])
        coupon = await self._store.find_coupon(code)
        if coupon is not None and not isinstance(coupon, StoreCoupon):
            return ComparisonView(result="failed", detail=reason_of(coupon).text)
        return compare_coupon(code, facts.get("spec"), coupon)


def compare_customer(ours: object, theirs: Mapping[str, object], fields: Fields) -> ComparisonView:
    """Compare the body of PUT customer with the Platform's customer. E-mail addresses are compared without case. Fields that
    the Platform does not return are not compared, and named. Pure."""
    if not isinstance(ours, dict):
        return ComparisonView(result="not comparable")
    email = fields["customer.email"]
    differ, absent = [], []
    for name, value in sorted(ours.items()):
        if name not in theirs:
            absent.extend([name] if value is not None else [])
        elif _normal(value, is_email=name == email) != _normal(theirs[name], is_email=name == email):
            differ.append(name)
    detail = f"the Platform returns no {', '.join(absent)}" if absent else None
    if len(absent) == sum(value is not None for value in ours.values()):
        return ComparisonView(result="not comparable", detail=detail)
    return ComparisonView(result="differs" if differ else "same", fields=differ, detail=detail)


def compare_coupon(code: str, spec: str | None, coupon: StoreCoupon | None) -> ComparisonView:
    """Compare the coupon that would have been created with the store's. `spec` None: none would have been created. Pure."""
    if spec is None:
        return ComparisonView(result="as expected" if coupon is None else "unexpected")
    if coupon is None:
        return ComparisonView(result="missing", detail="the store does not have this coupon")
    issued = cast("Mapping[str, Any]", exact_json.loads(spec.encode()))  # Any: JSON
    comparable = replace(coupon, unreadable=coupon.unreadable | PERSONAL, active=True)
    different = differences(read_stored_spec(code, issued), comparable)
    detail = "; ".join(f"{item.field}: the store has {item.actual}, the relay {item.expected}" for item in different)
    return ComparisonView(
        result="differs" if different else "same", fields=[item.field for item in different], detail=detail or None
    )


async def _ago(connection: AsyncConnection, span: timedelta) -> datetime:
    """The database's time, less the span."""
    now: datetime = (await connection.execute(text("SELECT now()"))).scalar_one()
    return now - span


def _normal(value: object, *, is_email: bool) -> object:
    if is_email and isinstance(value, str):
        return value.casefold()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return sorted(map(str, value))
    return value or None


def _body(connection: AsyncConnection, row: Row[Any]) -> bytes | None:  # Any: as above
    """The stored event; None if it was deleted or cannot be decrypted."""
    try:
        ring = key_ring_of(connection)
        return ring.decrypt(row.message_id, row.encrypted_with, row.body, event_or_body(translated=row.translated))
    except UnreadableBodyError:
        return None


def _item(row: Row[Any], comparison: ComparisonView) -> TrialJobView:  # Any: as above
    reason = stored("shadow", row.facts)
    cause = row.facts.get("cause") or {}
    return TrialJobView(
        id=row.id,
        message_id=row.message_id,
        at=row.created_at,
        kind=row.kind,
        lane=row.lane.split("#")[0],
        call=row.facts.get("call"),
        text=reason.text if reason else "",
        cause=cause.get("code"),
        comparison=comparison,
    )
