"""The table `setup_record`: the test coupon, the test alert, the stated backup, and the end of the set-up.

A test coupon is recorded before it is created, so that it is removed even if the process ends in between. Of two operators
who press at once, one gets the lease, and no second test coupon exists until the first is certainly gone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic import JsonValue, TypeAdapter
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.core.reasons import Reason, columns, stored
from platform_relay.setup.facts import CouponTest, SentAlert, StatedBackup

TEST_COUPON: Final = "test_coupon"
TEST_ALERT: Final = "test_alert"
BACKUP: Final = "backup"
FINISHED: Final = "finished"
LEASE: Final = timedelta(minutes=2)
"""How long one process may work on a test coupon. `test_coupon.SECONDS` is shorter."""

_PUT: Final = text("""
INSERT INTO setup_record (name, at, actor, facts)
VALUES (:name, coalesce(CAST(:at AS timestamptz), now()), :actor, CAST(:facts AS jsonb))
ON CONFLICT (name) DO UPDATE SET at = excluded.at, actor = excluded.actor, facts = excluded.facts
""")
_ALL: Final = text("SELECT name, at, actor, leased_until, facts FROM setup_record")
_FINISHED: Final = text("SELECT EXISTS (SELECT FROM setup_record WHERE name = 'finished')")
_BEGIN: Final = text("""
INSERT INTO setup_record (name, at, actor, leased_until, facts)
VALUES ('test_coupon', now(), :actor, now() + CAST(:lease AS interval), CAST(:facts AS jsonb))
ON CONFLICT (name) DO UPDATE
SET at = excluded.at, actor = excluded.actor, leased_until = excluded.leased_until, facts = excluded.facts
WHERE setup_record.leased_until IS NULL
RETURNING at
""")
_CLAIM: Final = text("""
UPDATE setup_record SET leased_until = now() + CAST(:lease AS interval)
WHERE name = 'test_coupon' AND leased_until <= now() AND facts ->> 'adapter' = :adapter
RETURNING facts, actor, at <= now() - CAST(:settled AS interval) AS settled
""")
_END: Final = text("""
UPDATE setup_record SET facts = CAST(:facts AS jsonb), leased_until = CASE WHEN :gone THEN NULL ELSE now() END
WHERE name = 'test_coupon' AND leased_until IS NOT NULL AND facts ->> 'code' = :code
""")
_FACTS: Final = TypeAdapter(dict[str, JsonValue])
_FIELDS: Final = TypeAdapter(dict[str, str])


@dataclass(frozen=True, slots=True)
class OpenTest:
    """A test coupon that may be in the store. `certain`: whether its creation can no longer arrive there later."""

    code: str
    actor: str
    read_back: Mapping[str, str]
    failure: Reason | None
    certain: bool


@dataclass(frozen=True, slots=True)
class SetupRecords:
    """The newest record of each kind; None where there is none. `finished`: *Set-up* is no longer the first page."""

    test_coupon: CouponTest | None = None
    test_alert: SentAlert | None = None
    backup: StatedBackup | None = None
    finished: bool = False


async def read_records(connection: AsyncConnection) -> SetupRecords:
    rows = {row["name"]: row for row in (await connection.execute(_ALL)).mappings()}
    coupon, alert, backup = rows.get(TEST_COUPON), rows.get(TEST_ALERT), rows.get(BACKUP)
    return SetupRecords(
        _test_coupon(coupon) if coupon else None,
        SentAlert(alert["at"], alert["actor"], _failure(alert["facts"])) if alert else None,
        StatedBackup(backup["at"], backup["actor"]) if backup else None,
        FINISHED in rows,
    )


async def is_finished(connection: AsyncConnection) -> bool:
    """Whether *Set-up* is no longer the first page."""
    return bool((await connection.execute(_FINISHED)).scalar())


async def put_record(
    connection: AsyncConnection, name: str, actor: str, *, at: datetime | None = None, failure: Reason | None = None
) -> None:
    """Replace a record other than that of the test coupon. `at` None: now."""
    facts = json.dumps(_of_reason(failure))
    await connection.execute(_PUT, {"name": name, "at": at, "actor": actor, "facts": facts})


async def begin_test(connection: AsyncConnection, code: str, adapter: str, actor: str) -> bool:
    """Record that the store may soon have this test coupon; False while it may still have the one before."""
    parameters = {"actor": actor, "lease": LEASE, "facts": json.dumps({"code": code, "adapter": adapter})}
    return (await connection.execute(_BEGIN, parameters)).first() is not None


async def claim_test(connection: AsyncConnection, adapter: str, settled: timedelta) -> OpenTest | None:
    """The test coupon that a process has left in the store of `adapter`, for this process alone; None if there is none.

    A request that was sent longer ago than `settled` no longer arrives.
    """
    parameters = {"lease": LEASE, "adapter": adapter, "settled": settled}
    row = (await connection.execute(_CLAIM, parameters)).one_or_none()
    if row is None:
        return None
    facts = _FACTS.validate_python(row.facts)
    certain = row.settled or facts.get("certain") is True
    return OpenTest(str(facts["code"]), row.actor, _read_back(facts), _failure(facts), certain)


async def end_test(connection: AsyncConnection, adapter: str, test: OpenTest, *, gone: bool) -> None:
    """Store the result. With `gone`, the store certainly has no such coupon; without, the worker removes it later."""
    facts = {"code": test.code, "adapter": adapter, "certain": test.certain, "read_back": dict(test.read_back)}
    facts |= _of_reason(test.failure)
    await connection.execute(_END, {"facts": json.dumps(facts), "gone": gone, "code": test.code})


def _test_coupon(row: RowMapping) -> CouponTest:
    facts = _FACTS.validate_python(row["facts"])
    return CouponTest(
        str(facts["code"]),
        row["at"],
        row["actor"],
        row["leased_until"] is not None,
        _read_back(facts),
        _failure(facts),
    )


def _read_back(facts: Mapping[str, JsonValue]) -> Mapping[str, str]:
    return _FIELDS.validate_python(facts.get("read_back") or {})


def _of_reason(reason: Reason | None) -> dict[str, object]:
    return {f"failure_{name}": value for name, value in columns(reason).items()} if reason else {}


def _failure(facts: Mapping[str, JsonValue]) -> Reason | None:
    code, values = facts.get("failure_reason_code"), facts.get("failure_facts")
    known = _FACTS.validate_json(values) if isinstance(values, str) else {}
    return stored(code, known) if isinstance(code, str) else None
