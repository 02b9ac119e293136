"""The state of a database server: whether it accepts writes, and which history it has.

PostgreSQL numbers its histories: each promotion of a standby, and each end of a recovery from a backup, begins a new timeline with
a higher number (PostgreSQL manual, "Timelines"). The name of the current WAL file begins with it, in hexadecimal. Any role may
read it; `pg_control_checkpoint()` has it only after the next checkpoint.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import asyncpg

if TYPE_CHECKING:
    Driver = asyncpg.Connection[asyncpg.Record]

TIMELINE: Final = "CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END"
"""The timeline of a primary, in hexadecimal; null for a standby."""
SYSTEM: Final = "(SELECT system_identifier FROM pg_control_system())"
"""The id of the cluster."""
_BASIC: Final = """pg_backend_pid() AS pid, pg_is_in_recovery() AS standby,
    current_setting('default_transaction_read_only') = 'on' AS read_only, pg_postmaster_start_time() AS started_at"""
_STATE: Final = f"SELECT {_BASIC}, {SYSTEM} AS system, {TIMELINE} AS timeline"
_STATE_WITHOUT_HISTORY: Final = f"SELECT {_BASIC}, NULL AS system, NULL AS timeline"
NOT_SUPPORTED: Final = ("42501", "42883", "0A000")
"""Insufficient privilege, undefined function, feature not supported: a service that is compatible with PostgreSQL."""


@dataclass(frozen=True, slots=True)
class History:
    """The history of a primary. `system`: the id that initdb gave to the cluster; its standbys have the same."""

    system: int
    timeline: int

    def is_older_than(self, other: "History") -> bool:
        """Whether `other` continues the same cluster on a later timeline."""
        return self.system == other.system and self.timeline < other.timeline


@dataclass(frozen=True, slots=True)
class ServerState:
    """`history` None: a standby, or a server that does not report it. `pid`: of the server process of the connection.
    `started_at`: when the server was started."""

    pid: int
    standby: bool
    read_only: bool
    started_at: datetime | None
    history: History | None

    @property
    def writable(self) -> bool:
        return not (self.standby or self.read_only)


async def read_state(connection: "Driver") -> ServerState:
    """Ask the server. In a transaction, because a pooler may change the server between two round trips of one statement."""
    try:
        async with connection.transaction():
            row = await connection.fetchrow(_STATE)
    except asyncpg.PostgresError as error:
        if error.sqlstate not in NOT_SUPPORTED:
            raise
        async with connection.transaction():
            row = await connection.fetchrow(_STATE_WITHOUT_HISTORY)
    if row is None:
        raise ConnectionError("the database answered without a row")
    history = None
    if row["system"] is not None and row["timeline"] is not None:
        history = History(row["system"], timeline_number(row["timeline"]))
    return ServerState(row["pid"], row["standby"], row["read_only"], row["started_at"], history)


def timeline_number(text: str) -> int:
    """The number of a timeline from TIMELINE."""
    return int(text, 16)


def newest(states: Iterable[ServerState], known: History | None = None) -> ServerState | None:
    """The server to work with, of those that answered, in the order of the URL: one that accepts writes, and of several
    that do, the one with the latest timeline. After a failover the old primary may accept writes as well; a server that is older
    than `known` is left out. One of the known cluster is taken before those of others. None: none accepts writes."""
    writable = [
        state
        for state in states
        if state.writable and not (state.history and known and state.history.is_older_than(known))
    ]
    same = [state for state in writable if state.history and known and state.history.system == known.system]
    best: ServerState | None = None
    for state in same or writable:
        history = state.history
        if best is None or (best.history and history and best.history.is_older_than(history)):
            best = state
    return best
