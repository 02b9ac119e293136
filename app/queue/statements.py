"""The SQL of the queue: enqueue, claim, settle, park, wake. `queue.py` runs it.

Three rules hold in all statements:
- A statement that changes a job holds its lane's row lock first. Lanes are locked in the order (destination, key).
- A lane is released, and its jobs are settled, only by naming the fencing token of the claim.
- All times are the database's. Callers pass delays in seconds.

A data-modifying CTE sees the snapshot of the statement's start. Therefore conditions on a lane that the same statement
locks look at the locked row (`fenced`), never at the table again.
"""

from typing import Final

from sqlalchemy import text

from platform_relay.core.reasons import ReasonCode

NEW_JOBS: Final = """unnest(
    CAST(:job_ids AS uuid[]), CAST(:job_messages AS uuid[]), CAST(:job_kinds AS text[]), CAST(:job_destinations AS text[]),
    CAST(:job_lanes AS text[]), CAST(:job_versions AS timestamptz[]), CAST(:job_dependencies AS text[]),
    CAST(:job_collapses AS boolean[]), CAST(:job_params AS jsonb[]), CAST(:job_priorities AS smallint[])
) WITH ORDINALITY AS input_job(id, message_id, kind, destination, lane, version, depends_on, collapse, params, priority, position)
"""
"""The jobs of `queue.enqueue_parameters` as rows. `position` orders the jobs of a lane."""

INSERT_JOBS: Final = """
lanes AS (
    INSERT INTO lane (destination, key, run_at, fencing_token, leased, has_dependents, priority, open_jobs, last_seq)
    SELECT destination, lane, now(), 0, false, false, min(priority), count(*), count(*)
    FROM new_job GROUP BY destination, lane ORDER BY destination, lane
    ON CONFLICT (destination, key) DO UPDATE SET
        open_jobs = lane.open_jobs + excluded.open_jobs,
        last_seq = lane.last_seq + excluded.open_jobs,
        run_at = CASE WHEN lane.open_jobs = 0 THEN excluded.run_at
                      WHEN lane.priority > excluded.priority THEN greatest(lane.run_at, excluded.run_at)
                      ELSE lane.run_at END,
        priority = CASE WHEN lane.open_jobs = 0 THEN excluded.priority ELSE least(lane.priority, excluded.priority) END
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
"""
"""Inserts the jobs of a CTE `new_job`, which has the columns of NEW_JOBS, and creates or updates their lanes.

A lane with open jobs keeps its due time: a new job does not shorten a back-off. A lane that becomes more urgent is due
now at the earliest: claims of its new priority do not look at earlier times (`watermark`)."""

ENQUEUE: Final = text(f"WITH new_job AS (SELECT * FROM {NEW_JOBS}), {INSERT_JOBS} SELECT count(*) FROM inserted")  # noqa: S608  # constants only

CLAIM: Final = text(f"""
WITH due AS (
    SELECT destination, key, run_at FROM lane
    WHERE destination = :destination AND priority = :priority AND open_jobs > 0 AND run_at >= :since AND run_at <= now()
      AND (:probing OR EXISTS (SELECT FROM destination WHERE name = :destination AND state = 'open'))
    ORDER BY run_at LIMIT CAST(:limit AS integer)
    FOR UPDATE OF lane SKIP LOCKED
),
claimed AS (
    UPDATE lane SET leased = true, fencing_token = lane.fencing_token + 1,
        run_at = now() + make_interval(secs => :lease)
    FROM due WHERE lane.destination = due.destination AND lane.key = due.key
    RETURNING lane.destination, lane.key, lane.fencing_token, due.run_at
),
head AS (
    SELECT claimed.fencing_token, coalesce(newest.id, first.id) AS id
    FROM claimed
    CROSS JOIN LATERAL (
        SELECT id, collapse FROM job
        WHERE job.destination = claimed.destination AND job.lane = claimed.key AND job.open
        ORDER BY seq LIMIT 1
    ) AS first
    LEFT JOIN LATERAL (
        SELECT id FROM job
        WHERE first.collapse AND job.destination = claimed.destination AND job.lane = claimed.key AND job.open
        ORDER BY version DESC NULLS FIRST, seq DESC LIMIT 1
    ) AS newest ON true
),
lost AS (
    INSERT INTO attempt (job_id, fencing_token, number, started_at, outcome, reason_code, facts)
    SELECT job.id, head.fencing_token - 1, job.attempts, now(), 'lost', '{ReasonCode.LEASE_LOST}', jsonb_build_object()
    FROM head JOIN job ON job.id = head.id WHERE job.state = 'running'
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
       started.id, started.message_id, started.kind, started.seq, started.attempts, started.uncertain,
       started.params, started.version, started.depends_on, started.collapse,
       coalesce(message.event, message.body) AS body, message.encrypted_with,
       coalesce(entity.exists_remotely, false) AS exists_remotely, entity.digest,
       entity.version AS delivered_version,
       CAST(extract(epoch FROM now() - started.created_at) AS float8) AS age,
       started.depends_on IS NOT NULL
           AND NOT EXISTS (SELECT FROM entity AS other
                           WHERE other.destination = :destination AND other.key = started.depends_on AND other.exists_remotely)
           AND EXISTS (SELECT FROM lane AS other
                       WHERE other.destination = :destination AND other.key = started.depends_on AND other.open_jobs > 0
                      ) AS must_wait
FROM destination AS claimed_from
LEFT JOIN claimed ON true
LEFT JOIN started ON started.lane = claimed.key
LEFT JOIN message ON message.id = started.message_id
LEFT JOIN entity ON entity.destination = :destination AND entity.key = claimed.key
WHERE claimed_from.name = :destination
""")  # noqa: S608  # constants only
"""Claim due lanes, the longest due first, and start the first job of each; of jobs that collapse, the newest version.

A lane without a job is returned with a null id: its last job was finished between the snapshot and the lock. If no lane
is claimed, one row returns the time and whether the destination is open. `since`: `watermark.Watermark`.

`open` is tested only together with a lane, here and in SETTLE. With statistics from a moment without open jobs,
PostgreSQL takes the index of open jobs for an empty one, and would read all of it to find one job by its id."""

SETTLE: Final = text(f"""
WITH input AS (
    SELECT * FROM unnest(
        CAST(:lanes AS text[]), CAST(:tokens AS bigint[]), CAST(:ids AS uuid[]), CAST(:states AS text[]),
        CAST(:dispositions AS text[]), CAST(:codes AS text[]), CAST(:facts AS jsonb[]), CAST(:uncertains AS boolean[]),
        CAST(:given_back AS int[]),
        CAST(:results AS jsonb[]), CAST(:delays AS float8[]), CAST(:digests AS bytea[]), CAST(:versions AS timestamptz[]),
        CAST(:exists_remotely AS boolean[]), CAST(:seqs AS bigint[]), CAST(:collapses AS boolean[]),
        CAST(:numbers AS int[]), CAST(:durations AS int[]), CAST(:outcomes AS text[]), CAST(:statuses AS int[]),
        CAST(:attempt_codes AS text[]), CAST(:attempt_facts AS jsonb[]), CAST(:excerpts AS text[])
    ) AS t(lane, fencing_token, id, state, disposition, reason_code, facts, uncertain, given_back, result, delay, digest, version,
           exists_remotely, seq, collapse, number, duration, outcome, status, attempt_code, attempt_facts, excerpt)
),
fenced AS (
    SELECT input.*, input.state <> 'waiting' AS finished, lane.has_dependents, lane.open_jobs
    FROM input JOIN lane ON lane.destination = :destination AND lane.key = input.lane
        AND lane.fencing_token = input.fencing_token AND lane.leased
    ORDER BY lane.destination, lane.key
    FOR UPDATE OF lane
),
settled AS (
    UPDATE job SET state = fenced.state, disposition = fenced.disposition, reason_code = fenced.reason_code,
        facts = fenced.facts, uncertain = fenced.uncertain, attempts = job.attempts - fenced.given_back, result = fenced.result,
        finished_at = CASE WHEN fenced.finished THEN now() END
    FROM fenced WHERE job.id = fenced.id AND job.state = 'running'
    RETURNING job.id
),
replaced AS (
    UPDATE job SET state = 'superseded', disposition = NULL, reason_code = '{ReasonCode.NEWER_VERSION}',
        facts = jsonb_build_object(), finished_at = now()
    FROM fenced, LATERAL (
        SELECT older.id FROM job AS older
        WHERE fenced.collapse AND older.destination = :destination AND older.lane = fenced.lane AND older.open
          AND older.id <> fenced.id AND (older.seq < fenced.seq OR older.version < fenced.version)
        OFFSET 0
    ) AS older
    WHERE job.id = older.id
    RETURNING job.lane
),
replaced_count AS (SELECT lane, count(*) AS jobs FROM replaced GROUP BY lane),
released AS (
    UPDATE lane SET leased = false, waits_for = NULL, has_dependents = lane.has_dependents AND NOT fenced.finished,
        open_jobs = lane.open_jobs - CAST(fenced.finished AS int) - coalesce(replaced_count.jobs, 0),
        run_at = now() + make_interval(secs => fenced.delay)
    FROM fenced LEFT JOIN replaced_count ON replaced_count.lane = fenced.lane
    WHERE lane.destination = :destination AND lane.key = fenced.lane
    RETURNING lane.key, lane.open_jobs
),
attempted AS (
    INSERT INTO attempt (job_id, fencing_token, number, started_at, duration_ms, outcome, status, reason_code, facts, excerpt)
    SELECT id, fencing_token, number, now() - make_interval(secs => duration / 1000.0), duration, outcome, status, attempt_code,
           attempt_facts, excerpt
    FROM fenced WHERE outcome IS NOT NULL
    ON CONFLICT DO NOTHING
),
delivered AS (
    INSERT INTO entity (destination, key, exists_remotely, version, digest)
    SELECT :destination, lane, exists_remotely, version, digest FROM fenced
    WHERE exists_remotely OR (state = 'dead' AND version IS NOT NULL)
    ORDER BY lane
    ON CONFLICT (destination, key) DO UPDATE SET exists_remotely = entity.exists_remotely OR excluded.exists_remotely,
        version = greatest(entity.version, excluded.version),
        digest = CASE WHEN excluded.exists_remotely THEN coalesce(excluded.digest, entity.digest) END
)
SELECT fenced.id, fenced.fencing_token, fenced.has_dependents AND fenced.finished AS wakes,
       released.open_jobs > 0 AND fenced.delay <= 0 AS more
FROM fenced JOIN released ON released.key = fenced.lane
""")  # noqa: S608  # constants only
"""Settle attempts. An attempt that is not returned has lost its lease and changed nothing.

A version that was skipped because the destination has the same counts as delivered: an older version with other content
must not follow it."""

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
        ELSE least(CAST(:recheck AS float8), 1) END)
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
    JOIN lane AS other ON other.destination = lane.destination AND other.key = lane.waits_for
    WHERE lane.waits_for IS NOT NULL AND NOT lane.leased AND other.open_jobs = 0
    ORDER BY lane.destination, lane.key FOR UPDATE OF lane SKIP LOCKED
)
UPDATE lane SET run_at = now(), waits_for = NULL FROM parked
WHERE lane.destination = parked.destination AND lane.key = parked.key
RETURNING lane.destination
""")

RELEASE: Final = text("""
UPDATE lane SET leased = false, waits_for = NULL, run_at = now()
FROM unnest(CAST(:lanes AS text[]), CAST(:tokens AS bigint[])) AS held(lane, fencing_token)
WHERE lane.destination = :destination AND lane.key = held.lane AND lane.fencing_token = held.fencing_token AND lane.leased
""")

RENEW: Final = text("""
UPDATE lane SET run_at = now() + make_interval(secs => :lease)
FROM unnest(CAST(:lanes AS text[]), CAST(:tokens AS bigint[])) AS held(lane, fencing_token)
WHERE lane.destination = :destination AND lane.key = held.lane AND lane.fencing_token = held.fencing_token AND lane.leased
RETURNING lane.key, lane.fencing_token
""")
