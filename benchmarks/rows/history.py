"""The same worker on a database with a long past and with many blocked lanes, beside an empty one."""

from functools import partial
from typing import Final

from benchmarks.drain import Relay
from benchmarks.figures import interleaved, rates, ratio
from benchmarks.results import Detail, Result, lowest
from benchmarks.stage import Stage

PER_LANE: Final = 10
"""Jobs that wait in each blocked lane."""
IDENTIFIERS: Final = """
uuidv7(interval '-1 day') AS message, uuidv7(interval '-1 day') AS job, n
"""
MESSAGES: Final = """
INSERT INTO message (id, source, kind, dedupe_key, body, customer_ref, received_at)
SELECT message, 'store', 'customers', {prefix} || n, convert_to(repeat('x', 400), 'UTF8'),
       {prefix} || {entity}, now() - interval '1 day'
FROM past ORDER BY n;
"""
PAST: Final = f"""
SET synchronous_commit = off;
CREATE TEMP TABLE past AS SELECT {IDENTIFIERS} FROM generate_series(1, %(delivered)d) AS n;
{MESSAGES.format(prefix="'p'", entity="n")}
INSERT INTO job (id, message_id, kind, destination, lane, seq, state, collapse, attempts, uncertain, created_at, finished_at,
                 duration_ms, status)
SELECT job, message, 'forward_customer', 'platform', 'customer:p' || n, 1, 'done', true, 1, false,
       now() - interval '1 day', now() - interval '1 day', 12, 200
FROM past ORDER BY n;
INSERT INTO entity (destination, key, exists_remotely, version, digest)
SELECT 'platform', 'customer:p' || n, true, now() - interval '1 day', sha256(int8send(n)) FROM past ORDER BY n;
DROP TABLE past;
"""  # noqa: S608  # constants only
"""Delivered: messages, jobs with their attempts, and entities stay; the lanes are gone."""
BLOCKED: Final = f"""
SET synchronous_commit = off;
CREATE TEMP TABLE past AS SELECT {IDENTIFIERS} FROM generate_series(0, %(blocked)d - 1) AS n;
{MESSAGES.format(prefix="'b'", entity=f"n / {PER_LANE}")}
INSERT INTO job (id, message_id, kind, destination, lane, seq, state, collapse, attempts, uncertain, created_at, depends_on)
SELECT job, message, 'forward_order', 'platform', 'order:b' || n / {PER_LANE}, n %% {PER_LANE} + 1, 'waiting', false, 0,
       false, now() - interval '1 day', 'customer:b' || n / {PER_LANE}
FROM past ORDER BY n;
INSERT INTO lane (destination, key, run_at, fencing_token, leased, has_dependents, priority, open_jobs, last_seq, waits_for)
SELECT 'platform', 'order:b' || n / {PER_LANE}, now() + interval '1 day', 1, false, false, 0, count(*), count(*),
       CASE WHEN n / {PER_LANE} %% 2 = 0 THEN 'event:b' || n / {PER_LANE} END
FROM past GROUP BY n / {PER_LANE};
DROP TABLE past;
"""  # noqa: S608  # constants only
"""Half of the lanes wait for an event, half for a late retry. No ANALYZE: the statistics are what vacuum gives."""

SETTLED: Final = ("VACUUM", "CHECKPOINT")
"""A past of days has been vacuumed and written out long ago; one written in a minute keeps autovacuum and the writer at
work for minutes, on the processors that are measured."""


def run(stage: Stage) -> list[Result]:
    scale = stage.scale
    empty, full = Relay(stage.database()), Relay(stage.database())
    stage.sql(full.database_url, PAST % {"delivered": scale.delivered})
    stage.sql(full.database_url, BLOCKED % {"blocked": scale.blocked})
    for statement in SETTLED:
        stage.sql(full.database_url, statement)
    size = scale.sizes[0]
    figures = interleaved(
        scale.rounds,
        {
            "empty": partial(empty.drain, stage, scale.jobs, size),
            "full": partial(full.drain, stage, scale.jobs, size),
        },
    )
    stage.drop(full.database_url)
    shown = rates(figures)
    variant = f"{scale.delivered:,} delivered, {scale.blocked:,} waiting in {scale.blocked // PER_LANE:,} blocked lanes"
    return [lowest("relay_with_history", [Detail(variant, ratio(figures["full"], figures["empty"]), shown)])]
