"""Stores how attempts ended, and releases their lanes."""

from typing import Final

from sqlalchemy import text

from platform_relay.core.failed_statements import name_statements
from platform_relay.core.reasons import ReasonCode
from platform_relay.queue.statements.expressions import CLOCK_TOLERANCE

SETTLED_COLUMNS: Final = {
    "lanes": "text",
    "tokens": "bigint",
    "ids": "uuid",
    "states": "text",
    "dispositions": "text",
    "codes": "text",
    "facts": "jsonb",
    "uncertains": "boolean",
    "given_back": "int",
    "results": "jsonb",
    "delays": "float8",
    "digests": "bytea",
    "versions": "timestamptz",
    "exists_remotely": "boolean",
    "replaces": "boolean",
    "as_newests": "boolean",
    "seqs": "bigint",
    "collapses": "boolean",
    "numbers": "int",
    "durations": "int",
    "outcomes": "text",
    "statuses": "int",
    "attempt_codes": "text",
    "attempt_facts": "jsonb",
    "excerpts": "text",
    "failed": "boolean",
}
"""The arrays of SETTLE with the types of their elements. An array with one element has it for all rows; `ids` is complete."""


def _settled_columns() -> str:
    """The arrays with an element for each row."""
    arrays = []
    for name, kind in SETTLED_COLUMNS.items():
        array = f"CAST(:{name} AS {kind}[])"
        rows = "ARRAY[cardinality(CAST(:ids AS uuid[]))]"
        arrays.append(f"CASE WHEN cardinality({array}) = 1 THEN array_fill(({array})[1], {rows}) ELSE {array} END")
    return ", ".join(arrays)


SETTLE: Final = text(f"""
WITH input AS (
    SELECT * FROM unnest({_settled_columns()}
    ) AS t(lane, fencing_token, id, state, disposition, reason_code, facts, uncertain, given_back, result, delay, digest, version,
           exists_remotely, replaces, as_newest, seq, collapse, number, duration, outcome, status, attempt_code, attempt_facts,
           excerpt, failed)
),
fenced AS (
    SELECT input.*, input.state <> 'waiting' AS finished, input.state = 'done' AND input.outcome = 'done' AS in_job,
           held.destination, held.has_dependents, held.open_jobs, held.failed_at
    FROM (SELECT * FROM input WHERE fencing_token = fencing_token + 0 ORDER BY lane) AS input CROSS JOIN LATERAL (
        SELECT destination, has_dependents, open_jobs, failed_at FROM lane
        WHERE lane.destination = :destination AND lane.key = input.lane
            AND lane.fencing_token = input.fencing_token AND lane.leased
        FOR UPDATE
    ) AS held
),
settled AS (
    UPDATE job SET state = fenced.state, disposition = fenced.disposition, reason_code = fenced.reason_code,
        facts = fenced.facts, uncertain = fenced.uncertain, attempts = job.attempts - fenced.given_back, result = fenced.result,
        duration_ms = CASE WHEN fenced.in_job THEN fenced.duration END, status = CASE WHEN fenced.in_job THEN fenced.status END,
        finished_at = CASE WHEN fenced.finished THEN now() END
    FROM fenced WHERE job.id = fenced.id AND job.state = 'running'
    RETURNING job.id
),
replaced AS (
    UPDATE job SET state = 'superseded', disposition = NULL, reason_code = CASE
            WHEN fenced.version > now() + {CLOCK_TOLERANCE} THEN '{ReasonCode.NEWER_VERSION_AHEAD}'
            ELSE '{ReasonCode.NEWER_VERSION}' END,
        facts = jsonb_build_object(), finished_at = now()
    FROM fenced, LATERAL (
        SELECT older.id FROM job AS older
        WHERE fenced.collapse AND fenced.replaces AND fenced.open_jobs > 1
          AND older.destination = :destination AND older.lane = fenced.lane AND older.open
          AND older.id <> fenced.id
          AND CASE WHEN older.version <> fenced.version THEN older.version < fenced.version ELSE older.seq < fenced.seq END
          AND NOT coalesce(older.params ->> 'as_newest' = 'operator' AND older.seq > fenced.seq, false)
        OFFSET 0
    ) AS older
    WHERE job.id = older.id AND job.state IN ('waiting', 'running')
    RETURNING job.lane
),
replaced_count AS (SELECT lane, count(*) AS jobs FROM replaced GROUP BY lane),
settled_lane AS (
    SELECT fenced.destination, fenced.lane, fenced.id, fenced.fencing_token, fenced.delay,
           fenced.has_dependents AND fenced.finished AS wakes,
           fenced.has_dependents AND NOT fenced.finished AS has_dependents,
           fenced.open_jobs - CAST(fenced.finished AS int) - coalesce(replaced_count.jobs, 0) AS open_jobs,
           CASE WHEN fenced.failed THEN now() WHEN NOT fenced.failed THEN NULL ELSE fenced.failed_at END AS failed_at
    FROM fenced FULL JOIN replaced_count ON replaced_count.lane = fenced.lane
),
counted AS (
    SELECT *, CASE WHEN open_jobs > 0 OR failed_at IS NOT NULL OR wakes THEN 'kept' ELSE 'empty' END AS becomes FROM settled_lane
),
released AS (
    UPDATE lane SET leased = false, waits_for = NULL, has_dependents = counted.has_dependents, open_jobs = counted.open_jobs,
        run_at = now() + make_interval(secs => counted.delay), failed_at = counted.failed_at
    FROM counted WHERE lane.destination = counted.destination AND lane.key = counted.lane AND counted.becomes = 'kept'
),
removed AS (
    DELETE FROM lane USING counted
    WHERE lane.destination = counted.destination AND lane.key = counted.lane AND counted.becomes = 'empty'
),
attempted AS (
    INSERT INTO attempt (job_id, fencing_token, number, started_at, duration_ms, outcome, status, reason_code, facts, excerpt)
    SELECT id, fencing_token, number, now() - make_interval(secs => duration / 1000.0), duration, outcome, status, attempt_code,
           attempt_facts, excerpt
    FROM fenced WHERE outcome IS NOT NULL AND NOT in_job
),
delivered AS (
    INSERT INTO entity (destination, key, exists_remotely, version, digest)
    SELECT :destination, lane, exists_remotely, CASE WHEN replaces THEN version END, digest FROM fenced
    WHERE exists_remotely OR (state = 'dead' AND (version IS NOT NULL OR replaces))
    ORDER BY lane
    ON CONFLICT (destination, key) DO UPDATE SET exists_remotely = entity.exists_remotely OR excluded.exists_remotely,
        version = CASE
            WHEN excluded.exists_remotely AND entity.key IN (SELECT lane FROM fenced WHERE as_newest)
            THEN coalesce(excluded.version, CASE WHEN entity.version <= now() THEN entity.version END)
            ELSE greatest(entity.version, excluded.version) END,
        digest = CASE WHEN excluded.exists_remotely THEN coalesce(excluded.digest, entity.digest) END
)
SELECT id, fencing_token, wakes, open_jobs > 0 AND delay <= 0 AS more FROM counted
""")  # noqa: S608  # constants only
"""Settle attempts. An attempt that is not returned has lost its lease and changed nothing.

`replaces`: the destination has this version, or may have it, so no older one may follow. The older versions that wait are
superseded then, and only then: a version that the destination rejected leaves them waiting. A version that was skipped
because the destination has the same counts as delivered. One that was dropped while the statement waited for the lane's lock is
left out: PostgreSQL checks the conditions on `job` itself again, not those of `older`.

A lane without open jobs is removed: a deletion costs a fifth of an update that moves the row in its indexes. It is kept for
`maintenance.IDLE_LANE_SECONDS` when its last call failed, so that a probe prefers other lanes, and once when another lane waits
for it or watches it (WATCH_LANE). Its `open_jobs` is read under the lock, so a job that was enqueued meanwhile counts.

`fencing_token = fencing_token + 0` is always true, but PostgreSQL expects that few rows pass it, and looks lanes up by their keys.

The attempt that succeeded is in the job's row (`attempts.ATTEMPTS`). A claim's token belongs to one attempt, and it is settled
under the lane's lock, once. So its record cannot exist yet, and the insert has no ON CONFLICT, which would cost a second look-up
and a second record of WAL.

The version of an entity only grows, except by a job that is sent `as_newest`: what it delivers is the newest version."""
name_statements({"settle": SETTLE})
