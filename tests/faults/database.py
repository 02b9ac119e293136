"""What can happen to Postgres and to the way there."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg

from tests.faults.rounds import Fault, Stage
from tests.faults.server import ROLE

_TERMINATE: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = $1"
)

_SPOIL: Final = """
CREATE OR REPLACE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF random() < {risk} THEN RAISE EXCEPTION 'a fault made by a test' USING ERRCODE = '{state}'; END IF;
    RETURN coalesce(new, old);
END $$;
"""


def restart(how: signal.Signals) -> Callable[[Stage], Awaitable[None]]:
    async def inflict(on: Stage) -> None:
        await on.rig.server.restart(how)

    return inflict


async def one_backend_killed(on: Stage) -> None:
    """Postgres then throws out everybody and recovers."""
    await on.rig.server.kill_backend()
    await on.rig.server.start()


async def everybody_terminated(on: Stage) -> None:
    connection = await on.rig.server.connect()
    for _ in range(5):
        await connection.execute(_TERMINATE, ROLE)
        await asyncio.sleep(0.3 * on.rng.random())  # time: at any moment of what they do next
    await connection.close()


async def connections_exhausted(on: Stage) -> None:
    """For 4 seconds every connection is closed and no new one is to be had: `too many connections` (53300)."""
    connection = await on.rig.server.connect()
    await connection.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT 0")
    await connection.execute(_TERMINATE, ROLE)
    await asyncio.sleep(4)  # time: the length of the fault
    await connection.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")
    await connection.close()


async def hot_rows_locked(on: Stage) -> None:
    """Somebody's forgotten transaction holds lanes, jobs and destinations for longer than our lock time-out."""
    connection = await on.rig.server.connect()
    await connection.execute("BEGIN")
    for table in ("lane", "job", "destination"):
        await connection.execute(f"SELECT FROM {table} FOR UPDATE SKIP LOCKED")
    await asyncio.sleep(7)  # time: the length of the fault
    connection.terminate()


def statement_errors(state: str, *, at_commit: bool) -> Callable[[Stage], Awaitable[None]]:
    """Postgres itself answers some statements, or some commits, with this SQLSTATE."""

    async def inflict(on: Stage) -> None:
        connection = await on.rig.server.connect()
        tables = ("message", "job", "lane", "attempt", "entity", "coupon")
        timing = "CONSTRAINT TRIGGER fault AFTER" if at_commit else "TRIGGER fault BEFORE"
        deferred = "DEFERRABLE INITIALLY DEFERRED" if at_commit else ""
        await connection.execute(_SPOIL.format(risk=0.02, state=state))
        for table in tables:
            await connection.execute(
                f"CREATE {timing} INSERT OR UPDATE ON {table} {deferred} FOR EACH ROW EXECUTE FUNCTION fault()"
            )
        await asyncio.sleep(4)  # time: the length of the fault
        for table in tables:
            await connection.execute(f"DROP TRIGGER fault ON {table}")
        await connection.close()

    return inflict


async def real_deadlocks(on: Stage) -> None:
    """Somebody takes lanes in the opposite order to ours, again and again; the one who waits longer loses."""
    connection = await on.rig.server.connect()
    await connection.execute("SET deadlock_timeout = '5s'")  # so that it is the service that loses
    deadline = asyncio.get_running_loop().time() + 4
    while asyncio.get_running_loop().time() < deadline:
        try:
            async with connection.transaction():
                rows = await connection.fetch("SELECT key FROM lane WHERE open_jobs > 0 ORDER BY key DESC LIMIT 20")
                for row in rows:
                    await connection.execute("SELECT FROM lane WHERE key = $1 FOR UPDATE", row["key"])
        except asyncpg.DeadlockDetectedError:
            on.notes.append("deadlock: ours lost")
        await asyncio.sleep(0.01)  # time: let the service go on in between
    await connection.close()


async def connection_lost_at_commit(on: Stage) -> None:
    """The proxy cuts before a statement has reached the server, or after it was done and before we know."""
    relay = on.rig.proxy
    assert relay is not None
    relay.risk = 0.02
    await asyncio.sleep(5)  # time: the length of the fault
    relay.risk = 0.0
    on.notes.append(f"{relay.cut_before} cut before, {relay.cut_after} after the server had done it")


def common_faults() -> list[Fault]:
    """Those that a plain server will do for."""
    return [
        Fault("PostgreSQL restarted", restart(signal.SIGINT)),
        Fault("PostgreSQL killed (SIGKILL)", restart(signal.SIGKILL)),
        Fault("one of its processes killed", one_backend_killed),
        Fault("every connection terminated", everybody_terminated),
        Fault("connections exhausted", connections_exhausted),
        Fault("hot rows locked, idle in transaction", hot_rows_locked),
        Fault("serialization failures", statement_errors("40001", at_commit=False)),
        Fault("serialization failures at COMMIT", statement_errors("40001", at_commit=True)),
        Fault("deadlock errors", statement_errors("40P01", at_commit=False)),
        Fault("real deadlocks", real_deadlocks),
    ]
