"""`python -m benchmarks.history [--events N] [--days N] [--step DAYS]`: a database whose history ends, over simulated days.

Each step adds the events of some days by SQL, with their times, and then runs what the worker's periodic tasks run, at the
time of that day: bodies leave after 30 days, rows after HISTORY, digests after DEDUPE. Vacuum follows each step, because
autovacuum starts at two per cent of changed rows, which is less than a step here, but not within seconds. Along the way, the
same worker drains a backlog on this database and on an empty one, and both accept events.

Ends with 1 when the database does not reach a steady size, an event takes too many bytes, accepting or relaying is slower
than TARGET_RATIO of the empty database, or a transaction of the tasks lasts longer than LONGEST.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import asyncpg
import uuid_utils.compat
from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.drain import Relay
from benchmarks.figures import interleaved, ratio
from benchmarks.scale import NORMAL
from benchmarks.stage import Stage, stage
from platform_relay.core.database import create_engine
from platform_relay.core.ids import first_id
from platform_relay.core.outcomes import JobSpec
from platform_relay.history.forget import forget_pages
from platform_relay.history.leave import History
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import Incoming
from platform_relay.inbox.retention import prune_bodies

HISTORY: Final = timedelta(days=30)
DEDUPE: Final = timedelta(days=400)
RETENTION: Final = timedelta(days=2)
"""As small a part of HISTORY as by default (30 of 400 days), because a stored body is not what is measured."""
WITHIN: Final = 900
"""Bytes per event in the history, with indexes, after its body was deleted."""
BEYOND: Final = 140
"""Bytes per event that left it."""
TARGET_RATIO: Final = 0.95
LONGEST: Final = 0.1
"""Seconds of a transaction, and so of a lock, of the tasks."""
STEADY: Final = 1.05
"""The database may be this much larger at the end than at the end of DEDUPE's first round."""
JOBS: Final = 4_000
"""Events of one measurement."""
ROUNDS: Final = 3

FILL: Final = """
SET synchronous_commit = off;
CREATE TEMP TABLE day AS
SELECT n, CAST(lpad(to_hex({start_ms} + n * {span_ms} / {events}), 12, '0') || '7' || right(left(md5('m{day}-' || n), 4), 3)
              || '8' || left(md5('n{day}-' || n), 15) AS uuid) AS id,
       CAST(lpad(to_hex({start_ms} + n * {span_ms} / {events}), 12, '0') || '7' || right(left(md5('j{day}-' || n), 4), 3)
              || '8' || left(md5('k{day}-' || n), 15) AS uuid) AS job,
       to_timestamp(({start_ms} + n * {span_ms} / {events}) / 1000.0) AS at,
       'customers:' || n % {customers} || ':{day}-' || n || md5(n::text) AS key, n % {customers} AS customer
FROM generate_series(CAST(0 AS bigint), {events} - 1) AS n;
INSERT INTO message (id, source, kind, dedupe_key, body, customer_ref, received_at)
SELECT id, 'store', 'customers', key, convert_to(repeat('x', 400), 'UTF8'), CAST(customer AS text), at FROM day ORDER BY n;
INSERT INTO dedupe_digest (key, message_id, body_digest)
SELECT CAST(md5(key) AS uuid), id, hashint8extended(n, 7) FROM day ORDER BY n;
INSERT INTO job (id, message_id, kind, destination, lane, seq, state, version, collapse, attempts, uncertain, created_at,
                 finished_at, duration_ms, status)
SELECT job, id, 'forward_customer', 'platform', 'customer:' || customer, 1, 'done', at, true, 1, false, at, at, 12, 200
FROM day ORDER BY n;
INSERT INTO entity (destination, key, exists_remotely, version, digest)
SELECT DISTINCT 'platform', 'customer:' || customer, true, now(), sha256(int8send(customer)) FROM day
ON CONFLICT DO NOTHING;
DROP TABLE day
"""
"""Each event is the change of one of so many customers, delivered at once."""
REMOVE: Final = """
DELETE FROM attempt WHERE job_id >= '{since}'; DELETE FROM job WHERE id >= '{since}'; DELETE FROM message WHERE id >= '{since}';
DELETE FROM dedupe_digest WHERE message_id >= '{since}'; DELETE FROM lane
"""
"""What a measurement added, so that it is no part of the sizes and of the next measurement."""
TABLES: Final = ("message", "job", "attempt", "dedupe_digest")
SIZES: Final = """
SELECT pg_database_size(current_database()) AS whole, pg_total_relation_size('message') AS message,
       pg_total_relation_size('job') AS job, pg_total_relation_size('attempt') AS attempt,
       pg_total_relation_size('dedupe_digest') AS dedupe_digest, (SELECT count(*) FROM message) AS messages,
       (SELECT count(*) FROM dedupe_digest) AS digests,
       (SELECT coalesce(sum(rows), 0)::bigint FROM history_count WHERE kind = '') AS left
"""


@dataclass
class Longest:
    """The longest transaction of an engine, in seconds."""

    seconds: float = 0.0
    _begun: dict[int, float] = field(default_factory=dict)

    def watch(self, engine: AsyncEngine) -> None:
        event.listen(engine.sync_engine, "begin", self._begin)
        event.listen(engine.sync_engine, "commit", self._commit)

    def _begin(self, connection: Connection) -> None:
        self._begun[id(connection)] = time.monotonic()

    def _commit(self, connection: Connection) -> None:
        self.seconds = max(self.seconds, time.monotonic() - self._begun.pop(id(connection), time.monotonic()))


def main() -> int:
    options = _options()
    with stage(NORMAL) as place, asyncio.Runner() as runner:
        return _run(place, runner, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000_000, help="of all days together")
    parser.add_argument("--days", type=int, default=800, help="simulated days")
    parser.add_argument("--step", type=int, default=5, help="days that are added at once")
    parser.add_argument("--jobs", type=int, default=JOBS, help="events of one measurement of speed")
    return parser.parse_args()


def _run(place: Stage, runner: asyncio.Runner, options: argparse.Namespace) -> int:
    url, empty = place.database(), place.database()
    longest = {name: Longest() for name in ("bodies", "history", "digests")}
    engines = {name: create_engine(url, application_name=name, pool_size=1) for name in longest}
    for name, watched in longest.items():
        watched.watch(engines[name])
    history = History(engines["history"], HISTORY, pause=0)
    begin = datetime.now(UTC) - timedelta(days=options.days)
    measured = {options.days * quarter // 4 // options.step * options.step for quarter in (2, 3, 4)}
    ratios: dict[str, list[float]] = {"accepting": [], "relaying": []}
    sizes: list[tuple[int, asyncpg.Record]] = []
    seconds = 0.0
    for day in range(0, options.days, options.step):
        start, events = begin + timedelta(days=day), options.events * options.step // options.days
        values = {"start_ms": int(start.timestamp() * 1000), "span_ms": options.step * 86_400_000, "day": day}
        place.sql(url, FILL.format(**values, events=events, customers=max(1, options.events // 100)))
        now, started = start + timedelta(days=options.step), time.monotonic()
        pages = place.sql(url, "SELECT pg_relation_size('dedupe_digest') / 8192 AS pages")[0]["pages"]
        runner.run(prune_bodies(engines["bodies"], RETENTION, now))
        runner.run(history.run(now))
        runner.run(forget_pages(engines["digests"], DEDUPE, now, 0, pages))
        seconds += time.monotonic() - started
        for table in TABLES:
            place.sql(url, f"VACUUM {table}")
        sizes.append((day + options.step, place.sql(url, SIZES)[0]))
        if len(sizes) % 10 == 0:
            _print_size(*sizes[-1])
        if day + options.step in measured:
            for name, figure in _compared(place, runner, url, empty, options.jobs).items():
                ratios[name].append(figure)
                print(f"day {day + options.step}: {name} at {figure:.2f} of an empty database", flush=True)
    for engine in engines.values():
        runner.run(engine.dispose())
    print(f"the tasks took {1e6 * seconds / options.events:.0f} µs per event")
    return _report(sizes, ratios, longest)


def _print_size(day: int, row: asyncpg.Record) -> None:
    within, beyond = _per_event(row)
    print(
        f"day {day:>4}: {row['whole'] / 1e6:8.1f} MB, {row['messages']:>10,} messages of {within:4.0f} bytes,"
        f" {row['digests']:>11,} digests of {beyond:4.0f} bytes, {row['left']:>11,} left;"
        + "".join(f" {name} {row[name] / max(1, row['messages']):.0f}" for name in TABLES[:3]),
        flush=True,
    )


def _per_event(row: asyncpg.Record) -> tuple[float, float]:
    """Bytes of an event in the history, with its digest, and of one that left it."""
    beyond = row["dedupe_digest"] / max(1, row["digests"])
    return (row["message"] + row["job"] + row["attempt"]) / max(1, row["messages"]) + beyond, beyond


def _compared(place: Stage, runner: asyncio.Runner, url: str, empty: str, jobs: int) -> dict[str, float]:
    """Accepting and relaying with the history as shares of the same on an empty database."""
    measures = {
        name: {"full": partial(measure, url), "empty": partial(measure, empty)}
        for name, measure in (
            ("accepting", lambda of: runner.run(_accepted(of, jobs))),
            ("relaying", lambda of: Relay(of).drain(place, jobs, 400)),
        )
    }
    results, since = {}, first_id(datetime.now(UTC) - timedelta(seconds=1))
    for name, pair in measures.items():
        figures = interleaved(ROUNDS, pair)
        results[name] = ratio(figures["full"], figures["empty"])
        for database in (url, empty):
            place.sql(database, REMOVE.format(since=since))
            for table in TABLES:
                place.sql(database, f"VACUUM {table}")
    return results


async def _accepted(url: str, count: int) -> float:
    """Events per second that an inbox accepts."""
    engine = create_engine(url, application_name="benchmark", pool_size=2)
    inbox, body = Inbox(engine, on_commit=lambda _: None, time_limit=60), b"x" * 400
    items = []
    for _ in range(count):
        message_id = uuid_utils.compat.uuid7()
        lane = f"customer:a{message_id}"
        spec = JobSpec("forward_customer", "platform", lane, collapse=True)
        items.append((message_id, Incoming("store", "customers", lane, body, (spec,), customer_ref=str(message_id))))
    started = time.monotonic()
    await inbox.accept_many(items)
    rate = count / (time.monotonic() - started)
    await engine.dispose()
    return rate


def _report(
    sizes: Sequence[tuple[int, asyncpg.Record]], ratios: Mapping[str, Sequence[float]], longest: Mapping[str, Longest]
) -> int:
    within, beyond = _per_event(sizes[-1][1])
    steady = [row["whole"] for day, row in sizes if day > DEDUPE.days] or [sizes[-1][1]["whole"]]
    rows = [
        ("bytes of an event in the history", within, WITHIN, within <= WITHIN),
        ("bytes of an event beyond it", beyond, BEYOND, beyond <= BEYOND),
        ("size at the end / after DEDUPE", steady[-1] / steady[0], STEADY, steady[-1] <= STEADY * steady[0]),
    ]
    rows += [
        (f"longest transaction, {name} (s)", one.seconds, LONGEST, one.seconds <= LONGEST)
        for name, one in longest.items()
    ]
    rows += [
        (f"{name} / on an empty database", min(figures), TARGET_RATIO, min(figures) >= TARGET_RATIO)
        for name, figures in ratios.items()
    ]
    for name, value, target, reached in rows:
        print(f"{name:<40} {value:9.3f}   target {target:<7} {'reached' if reached else 'MISSED'}")
    return int(not all(reached for *_, reached in rows))


if __name__ == "__main__":
    sys.exit(main())
