"""The SQL of the queue: enqueue, claim, settle, park, wake. `queue.py` runs it.

Three rules hold in all statements:
- A statement that changes a job holds its lane's row lock first. Lanes are locked in the order (destination, key).
- A lane is released, and its jobs are settled, only by naming the fencing token of the claim.
- All times are the database's. Callers pass delays in seconds.

A claim and a renewal change no indexed column of a lane (`lease_until` has no index), so they are heap-only updates: the row
stays in the index of due lanes, and the claims that follow pass over it.

A data-modifying CTE sees the snapshot of the statement's start. Therefore conditions on a lane that the same statement
locks look at the locked row (`fenced`), never at the table again.
"""

from typing import Final

from sqlalchemy import text

from platform_relay.core.failed_statements import name_statements
from platform_relay.core.reasons import ReasonCode

NEW_JOBS: Final = """unnest(
    CAST(:job_ids AS uuid[]), CAST(:job_messages AS uuid[]), CAST(:job_kinds AS text[]), CAST(:job_destinations AS text[]),
    CAST(:job_lanes AS text[]), CAST(:job_versions AS timestamptz[]), CAST(:job_dependencies AS text[]),
    CAST(:job_collapses AS boolean[]), CAST(:job_params AS jsonb[]), CAST(:job_priorities AS smallint[]),
    CAST(:job_owners AS text[])
) WITH ORDINALITY AS input_job(id, message_id, kind, destination, lane, version, depends_on, collapse, params, priority, owner,
                               position)
"""
"""The jobs of `queue.enqueue_parameters` as rows. `position` orders the jobs of a lane."""

FIRST_SEQ: Final = "CAST(extract(epoch FROM now()) * 1000000 AS bigint)"
"""The numbers of a new lane's jobs begin here, in microseconds: behind those of an earlier lane of the same entity."""

CLOCK_TOLERANCE: Final = "interval '5 minutes'"
"""A version that is further ahead of the database's clock than this comes from a wrong clock."""

INSERT_JOBS: Final = f"""
lanes AS (
    INSERT INTO lane (destination, key, run_at, fencing_token, leased, has_dependents, priority, open_jobs, last_seq, owner)
    SELECT destination, lane, now(), 0, false, false, min(priority), count(*), {FIRST_SEQ} + count(*), max(owner)
    FROM new_job GROUP BY destination, lane ORDER BY destination, lane
    ON CONFLICT (destination, key) DO UPDATE SET
        open_jobs = lane.open_jobs + excluded.open_jobs,
        last_seq = lane.last_seq + excluded.open_jobs,
        run_at = CASE WHEN lane.open_jobs = 0 THEN excluded.run_at
                      WHEN lane.priority > excluded.priority THEN greatest(lane.run_at, excluded.run_at)
                      ELSE lane.run_at END,
        priority = CASE WHEN lane.open_jobs = 0 THEN excluded.priority ELSE least(lane.priority, excluded.priority) END,
        owner = coalesce(excluded.owner, lane.owner)
    RETURNING destination, key, last_seq
),
inserted AS (
    INSERT INTO job (id, message_id, kind, destination, lane, seq, state, version, depends_on, collapse, params, attempts,
                     uncertain, created_at)
    SELECT new_job.id, new_job.message_id, new_job.kind, new_job.destination, new_job.lane,
           lanes.last_seq - count(*) OVER same_lane + row_number() OVER (same_lane ORDER BY new_job.position),
           'waiting', new_job.version, new_job.depends_on, new_job.collapse, new_job.params, 0, false, now()
    FROM new_job JOIN lanes ON lanes.destination = new_job.destination AND lanes.key = new_job.lane
    WINDOW same_lane AS (PARTITION BY new_job.destination, new_job.lane)
    RETURNING id
)
"""  # noqa: S608  # constants only
"""Inserts the jobs of a CTE `new_job`, which has the columns of NEW_JOBS, and creates or updates their lanes.

A lane with open jobs keeps its due time: a new job does not shorten a back-off. A lane that becomes more urgent is due
now at the earliest: claims of its new priority do not look at earlier times (`watermark`)."""

FREE: Final = "(NOT lane.leased OR lane.lease_until <= now())"
"""A lane without a holder: it was released, or its lease has ended."""

ENQUEUE: Final = text(f"WITH new_job AS (SELECT * FROM {NEW_JOBS}), {INSERT_JOBS} SELECT count(*) FROM inserted")  # noqa: S608  # constants only

_CLAIM_DUE: Final = f"""
WITH due AS (
    SELECT destination, key, run_at, owner, fencing_token, leased FROM lane
    WHERE destination = :destination AND priority = :priority AND open_jobs > 0 AND run_at >= :since AND run_at <= now()
      AND {FREE} AND (owner IS NULL OR owner <> ALL(CAST(:busy AS text[])))
      AND EXISTS (SELECT FROM destination WHERE name = :destination AND state = 'open')
    ORDER BY run_at LIMIT CAST(:limit AS integer)
    FOR UPDATE OF lane SKIP LOCKED
),
fair AS (
    SELECT destination, key, run_at, fencing_token, leased FROM (
        SELECT *, row_number() OVER (PARTITION BY owner ORDER BY run_at) AS place FROM due
    ) AS numbered
    WHERE owner IS NULL OR place <= :share
),
"""  # noqa: S608  # constants only
_START_DUE: Final = f"""
claimed AS (
    UPDATE lane SET leased = true, fencing_token = nextval('fencing_token'),
        lease_until = now() + make_interval(secs => :lease)
    FROM fair WHERE lane.destination = fair.destination AND lane.key = fair.key
    RETURNING lane.destination, lane.key, lane.owner, lane.fencing_token, lane.failed_at, fair.run_at,
        fair.fencing_token AS token_before, fair.leased AS was_leased, lane.open_jobs
),
head AS (
    SELECT claimed.token_before, claimed.was_leased, coalesce(newest.id, first.id) AS id
    FROM claimed
    CROSS JOIN LATERAL (
        SELECT id, collapse FROM job
        WHERE job.destination = claimed.destination AND job.lane = claimed.key AND job.open
        ORDER BY seq LIMIT 1
    ) AS first
    LEFT JOIN LATERAL (
        SELECT id FROM job
        WHERE first.collapse AND claimed.open_jobs > 1
          AND job.destination = claimed.destination AND job.lane = claimed.key AND job.open
        ORDER BY coalesce(params ->> 'as_newest' = 'operator', false) DESC, version DESC NULLS FIRST, seq DESC LIMIT 1
    ) AS newest ON true
),
lost AS (
    INSERT INTO attempt (job_id, fencing_token, number, started_at, outcome, reason_code, facts)
    SELECT job.id, head.token_before, job.attempts, now(), 'lost', '{ReasonCode.LEASE_LOST}', jsonb_build_object()
    FROM head JOIN job ON job.id = head.id WHERE head.was_leased AND job.state = 'running'
    ON CONFLICT DO NOTHING
),
started AS (
    UPDATE job SET state = 'running', attempts = job.attempts + 1,
        uncertain = job.uncertain OR job.state = 'running', disposition = NULL, reason_code = NULL,
        facts = NULL
    FROM head WHERE job.id = head.id AND job.state IN ('waiting', 'running')
    RETURNING job.*
)
SELECT now() AS now, claimed_from.state = 'open' AS open, claimed.run_at, claimed.key AS claimed_lane, claimed.fencing_token,
       claimed.failed_at IS NOT NULL AS lane_failed, claimed.owner, (SELECT count(*) FROM due) AS due_lanes,
       started.id, started.message_id, started.kind, started.seq, started.attempts, started.uncertain,
       started.params, started.version, started.depends_on, started.collapse,
       coalesce(message.event, message.body) AS body, message.encrypted_with, message.event IS NOT NULL AS translated,
       coalesce(entity.exists_remotely, false) AS exists_remotely,
       CASE WHEN started.attempts = 1 AND NOT started.uncertain
                 AND (claimed.open_jobs = 1 OR NOT EXISTS (SELECT FROM job AS other
                          WHERE other.destination = :destination AND other.lane = claimed.key AND other.open
                            AND (other.attempts > 0 OR other.uncertain))) THEN entity.digest END AS digest,
       entity.version AS delivered_version,
       coalesce(entity.version > now() + {CLOCK_TOLERANCE}, false) AS delivered_ahead,
       CAST(extract(epoch FROM now() - started.created_at) AS float8) AS age,
       started.depends_on IS NOT NULL
           AND NOT coalesce((SELECT other.exists_remotely FROM entity AS other
                             WHERE other.destination = :destination AND other.key = started.depends_on), false)
           AND EXISTS (SELECT FROM lane AS other
                       WHERE other.destination = :destination AND other.key = started.depends_on AND other.open_jobs <> 0
                      ) AS must_wait
FROM destination AS claimed_from
LEFT JOIN (claimed FULL JOIN started ON started.lane = claimed.key) ON true
LEFT JOIN message ON message.id = started.message_id
LEFT JOIN LATERAL (SELECT * FROM entity WHERE destination = :destination AND key = claimed.key OFFSET 0) AS entity ON true
WHERE claimed_from.name = :destination
"""  # noqa: S608  # constants only
"""Claims the lanes of a CTE `fair`, and starts the first job of each. `due_lanes` counts the lanes of the CTE `due`.

A lane with one open job needs no look at others. A job can only be `running` in a lane that was leased before. Each started job
has its claimed lane, so the full join is a left join; but PostgreSQL expects one row of either, and would compare every lane with
every job in a nested loop, which cannot make a full join.

Here and in SETTLE, a lateral sub-select that is not merged (OFFSET, FOR UPDATE) is looked up by its key, row by row. A plan that
was made while the table was empty, and kept, would read all lanes or entities of the destination. For the same reason, a lane with
open jobs that is looked up by its key has `open_jobs <> 0` and not the condition of the index of due lanes."""

CLAIM: Final = text(_CLAIM_DUE + _START_DUE)
"""Claim due lanes, the longest due first, and start the first job of each; of jobs that collapse, the newest version
(a job that an operator sends as the newest comes first).

A lane without a job is returned with a null id: its last job was finished between the snapshot and the lock. If no lane
is claimed, one row returns the time and whether the destination is open. `since`: `watermark.Watermark`. `busy` and `share`:
`fairness.Limits`. `due_lanes` counts also the lanes that were found and left out because of `share`.

`open` is tested only together with a lane, here and in SETTLE. With statistics from a moment without open jobs,
PostgreSQL takes the index of open jobs for an empty one, and would read all of it to find one job by its id."""

PROBE: Final = text(f"""
WITH closed AS (
    SELECT name, coalesce(probe_at <= now(), true) AS probe_due, coalesce(retry_at <= now(), true) AS retry_due
    FROM destination
    WHERE name = :destination AND state IN ('blocked', 'tripped')
      AND (probe_at IS NULL OR retry_at IS NULL OR least(probe_at, retry_at) <= now())
    FOR UPDATE SKIP LOCKED
),
candidate AS (
    SELECT lane.key, lane.failed, of.priority, closed.probe_due, closed.retry_due
    FROM closed CROSS JOIN (VALUES (0), (1)) AS of(priority) CROSS JOIN LATERAL (
        (SELECT key, failed_at IS NOT NULL AS failed FROM lane
         WHERE destination = :destination AND priority = of.priority AND open_jobs > 0 AND run_at <= now() AND {FREE}
         ORDER BY run_at LIMIT CAST(:candidates AS integer))
        UNION
        (SELECT key, failed_at IS NOT NULL AS failed FROM lane
         WHERE destination = :destination AND priority = of.priority AND open_jobs > 0 AND run_at <= now() AND {FREE}
         ORDER BY run_at DESC LIMIT CAST(:candidates AS integer))
    ) AS lane
),
chosen AS (
    SELECT candidate.key, candidate.failed FROM candidate LEFT JOIN LATERAL (
        SELECT collapse FROM job WHERE job.destination = :destination AND job.lane = candidate.key AND job.open
        ORDER BY seq LIMIT 1
    ) AS oldest ON true
    WHERE CASE WHEN failed THEN retry_due AND NOT EXISTS (SELECT FROM candidate WHERE NOT failed) ELSE probe_due END
    ORDER BY priority, random() * CASE WHEN oldest.collapse THEN 1 ELSE 2 END
    LIMIT (SELECT CASE WHEN bool_and(failed) THEN 1 ELSE CAST(:probes AS integer) END FROM candidate)
),
due AS (
    SELECT destination, key, run_at, fencing_token, leased FROM lane
    WHERE destination = :destination AND key IN (SELECT key FROM chosen) AND open_jobs > 0 AND run_at <= now() AND {FREE}
    FOR UPDATE OF lane SKIP LOCKED
),
fair AS (SELECT * FROM due),
moved AS (
    UPDATE destination SET
        probe_at = CASE WHEN round.failed THEN probe_at ELSE now() + make_interval(secs => :interval) END,
        retry_at = CASE WHEN round.failed THEN now() + make_interval(secs => :lease) ELSE retry_at END
    FROM closed, (SELECT bool_or(failed) AS failed FROM chosen) AS round
    WHERE destination.name = closed.name AND EXISTS (SELECT FROM due)
),
{_START_DUE}""")  # noqa: S608  # constants only
"""Claim the probes of a closed destination; one worker at a time. See `circuit_breaker` for which lanes, and how often.

Idempotent calls are chosen twice as often as others. The choice is random, so that lanes that always fail do not come
first again and again."""

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

PARK: Final = text("""
WITH fenced AS (
    SELECT destination, key FROM lane
    WHERE destination = :destination AND key = :lane AND fencing_token = :fencing_token AND leased FOR UPDATE
),
parked AS (
    UPDATE job SET state = 'waiting', disposition = 'parked', reason_code = :reason_code, facts = CAST(:facts AS jsonb),
        uncertain = :uncertain, attempts = greatest(job.attempts - 1, 0)
    FROM fenced WHERE job.id = :id AND job.state = 'running'
),
attempted AS (
    INSERT INTO attempt (job_id, fencing_token, number, started_at, duration_ms, outcome, status, reason_code, facts, excerpt)
    SELECT :id, :fencing_token, :number, now() - make_interval(secs => :duration / 1000.0), CAST(:duration AS int), 'wait',
           CAST(:status AS int), CAST(:reason_code AS text), CAST(:facts AS jsonb), :excerpt
    FROM fenced WHERE CAST(:called AS boolean)
    ON CONFLICT DO NOTHING
)
UPDATE lane SET leased = false, waits_for = CASE WHEN :waits THEN :key END,
    run_at = now() + make_interval(secs => CASE
        WHEN NOT :waits THEN 0
        WHEN :for_lane OR lane.waits_for = :key THEN CAST(:recheck AS float8)
        ELSE least(CAST(:recheck AS float8), 1) END),
    failed_at = CASE WHEN CAST(:failed AS boolean) THEN now() ELSE lane.failed_at END
FROM fenced WHERE lane.destination = fenced.destination AND lane.key = fenced.key
RETURNING lane.key
""")
"""Park a lane until `key` is woken. `waits` false: there is nothing to wait for any more, so the lane is due at once.

A named event can happen while the attempt runs, when the lane cannot be woken yet. Therefore the lane is due again after a
second, once: it keeps `waits_for` through that attempt, `WAKE` clears it, and only a lane that still has it may sleep for
`recheck` seconds. A lane that waits `for_lane` needs no second look: the lock on the other lane (LOCK_DEPENDENCY) makes sure
that no wake-up is lost."""

LOCK_DEPENDENCY: Final = text("""
WITH locked AS (
    SELECT destination, key, open_jobs FROM lane WHERE destination = :destination AND key = :key FOR UPDATE
)
UPDATE lane SET has_dependents = true, priority = 0,
    run_at = CASE WHEN lane.priority > 0 THEN greatest(lane.run_at, now()) ELSE lane.run_at END
FROM locked
WHERE lane.destination = locked.destination AND lane.key = locked.key AND locked.open_jobs > 0
RETURNING lane.open_jobs
""")
"""Lock a lane with open jobs, and note that another lane waits for it. It becomes as urgent as live work."""

_LANE_COLUMNS: Final = "destination, key, run_at, fencing_token, leased, has_dependents, priority, open_jobs, last_seq"

LOCK_LANES: Final = text(f"""
INSERT INTO lane ({_LANE_COLUMNS})
SELECT destination, key, now(), 0, false, false, 0, 0, {FIRST_SEQ}
FROM (SELECT DISTINCT * FROM unnest(CAST(:destinations AS text[]), CAST(:keys AS text[])) AS t(destination, key)) AS named
ORDER BY destination, key
ON CONFLICT (destination, key) DO UPDATE SET key = excluded.key
""")  # noqa: S608  # constants only
"""Locks lanes, and creates those that do not exist: what does not exist cannot be locked, and a job enqueued meanwhile would
come between."""

WATCH_LANE: Final = text(f"""
INSERT INTO lane ({_LANE_COLUMNS}) SELECT :destination, :lane, now(), 0, false, true, 0, 0, {FIRST_SEQ}
ON CONFLICT (destination, key) DO UPDATE SET has_dependents = true
RETURNING last_seq
""")  # constants only
"""The number of a lane's newest job. The lane is kept when its next job is settled. If it was removed in between after all, its
numbers continue further behind, so that any job that was enqueued in between shows."""

EXISTS_REMOTELY: Final = text("SELECT exists_remotely FROM entity WHERE destination = :destination AND key = :key")

WAKE: Final = text("""
WITH parked AS (
    SELECT destination, key FROM lane WHERE waits_for = ANY(CAST(:keys AS text[])) ORDER BY destination, key FOR UPDATE
)
UPDATE lane SET run_at = CASE WHEN lane.leased THEN lane.run_at ELSE now() END, waits_for = NULL FROM parked
WHERE lane.destination = parked.destination AND lane.key = parked.key AND lane.waits_for IS NOT NULL
RETURNING lane.destination
""")

WAKE_STRANDED: Final = text("""
WITH parked AS (
    SELECT lane.destination, lane.key FROM lane
    LEFT JOIN lane AS other ON other.destination = lane.destination AND other.key = lane.waits_for
    WHERE lane.waits_for IS NOT NULL AND NOT lane.leased AND CASE WHEN other.key IS NOT NULL THEN other.open_jobs = 0 ELSE EXISTS (
        SELECT FROM job WHERE job.destination = lane.destination AND job.lane = lane.key AND job.open
            AND job.depends_on = lane.waits_for) END
    ORDER BY lane.destination, lane.key FOR UPDATE OF lane SKIP LOCKED
)
UPDATE lane SET run_at = now(), waits_for = NULL FROM parked
WHERE lane.destination = parked.destination AND lane.key = parked.key
RETURNING lane.destination
""")
"""Lanes that wait for another one which has no open jobs, or is gone. What no lane has as its key is an event, except a lane
that an open job depends on."""

RELEASE: Final = text("""
UPDATE lane SET leased = false, waits_for = NULL, run_at = now()
FROM unnest(CAST(:lanes AS text[]), CAST(:tokens AS bigint[])) AS held(lane, fencing_token)
WHERE lane.destination = :destination AND lane.key = held.lane AND lane.fencing_token = held.fencing_token AND lane.leased
""")

RENEW: Final = text("""
UPDATE lane SET lease_until = now() + make_interval(secs => :lease)
FROM unnest(CAST(:lanes AS text[]), CAST(:tokens AS bigint[])) AS held(lane, fencing_token)
WHERE lane.destination = :destination AND lane.key = held.lane AND lane.fencing_token = held.fencing_token AND lane.leased
RETURNING lane.key, lane.fencing_token
""")

name_statements(
    {
        "enqueue": ENQUEUE,
        "claim": CLAIM,
        "probe": PROBE,
        "settle": SETTLE,
        "park": PARK,
        "lock_dependency": LOCK_DEPENDENCY,
        "lock_lanes": LOCK_LANES,
        "watch_lane": WATCH_LANE,
        "exists_remotely": EXISTS_REMOTELY,
        "wake": WAKE,
        "wake_stranded": WAKE_STRANDED,
        "release": RELEASE,
        "renew": RENEW,
    }
)
