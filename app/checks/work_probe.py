"""Tries accept, claim and settle with a job of no destination, and rolls it back. The transaction itself is committed.

The statements are those of real work: what makes them fail (a missing privilege, a lock, a trigger, a full disk, a
read-only server) makes the probe fail too. No row stays. The commit writes to the WAL like any other, so it also waits for
a standby with synchronous replication. It costs some milliseconds, and is made only after a failure.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import uuid_utils.compat
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.access.api_keys import find_valid_key
from platform_relay.core.failed_statements import name_statements, observe_failure
from platform_relay.core.one_transaction import OneTransaction
from platform_relay.core.outcomes import JobSpec
from platform_relay.core.work import Failure, Operation, WorkRecord
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import Incoming
from platform_relay.queue.queue import Queue, Settlement
from platform_relay.queue.states import done

SECONDS: Final = 4.0
"""The time limit of a probe. It waits two seconds for a lock, so that the failure has a SQLSTATE."""
ACCEPT_SECONDS: Final = 3.0
"""Less than SECONDS: the inbox executes its statement in a task of its own, which has to end before the transaction."""
_LOCK_LIMIT: Final = text("SELECT set_config('lock_timeout', '2000', true)")
_OPEN: Final = text("""
INSERT INTO destination (name, state, since, failures, next_call_at) VALUES (:name, 'open', now(), 0, now())
""")
name_statements({"lock_limit": _LOCK_LIMIT, "open_destination": _OPEN})


async def probe(engine: AsyncEngine, records: Sequence[WorkRecord]) -> None:
    """Probe for the records, of accept and settle, and record the result. Never raises for an error of the database."""
    started, reached = time.monotonic(), Operation.ACCEPT
    failure: Failure | None = None
    with observe_failure() as failed:
        try:
            async with asyncio.timeout(SECONDS), engine.begin() as connection:
                await connection.execute(_LOCK_LIMIT)
                savepoint = await connection.begin_nested()
                try:
                    if any(record.operation is Operation.ACCEPT for record in records):
                        await find_valid_key(connection, b"")  # no event is accepted without a look-up of its key
                    one = OneTransaction(connection)
                    await _accept(one, name := f"probe-{uuid_utils.compat.uuid7()}", accept_only=_only_accept(records))
                    reached = Operation.SETTLE
                    if not _only_accept(records):
                        await _settle(one, name)
                except Exception as error:  # noqa: BLE001  # whatever it is, the operation fails
                    failure = Failure(failed.name, failed.sqlstate, type(error).__name__)
                await savepoint.rollback()
        except Exception as error:  # noqa: BLE001
            reached, failure = Operation.ACCEPT, failure or Failure(failed.name, failed.sqlstate, type(error).__name__)
    for record in records:
        if failure is not None and (reached is Operation.ACCEPT or record.operation is Operation.SETTLE):
            record.probe_failed(started, failure)
        else:
            record.probed()


def _only_accept(records: Sequence[WorkRecord]) -> bool:
    return all(record.operation is Operation.ACCEPT for record in records)


async def _accept(one: OneTransaction, destination: str, *, accept_only: bool) -> None:
    if not accept_only:  # an inbox needs no row of the destination
        await one.connection.execute(_OPEN, {"name": destination})
    inbox = Inbox(one, on_commit=lambda _: None, time_limit=ACCEPT_SECONDS)
    job = JobSpec("probe", destination, "probe")
    await inbox.accept(Incoming("probe", "probe", destination, b"{}", (job,)), uuid_utils.compat.uuid7())


async def _settle(one: OneTransaction, destination: str) -> None:
    queue = Queue(one, destination)
    jobs = await queue.claim(1, lease=SECONDS)
    settled = await queue.settle([Settlement(job, done({}, None, ()), "done") for job in jobs])
    if len(jobs) != 1 or settled.lost:
        raise RuntimeError("the probe's job was not claimed and settled")
