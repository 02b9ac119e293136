"""The statements over lanes, jobs, attempts and entities: take on, claim, settle, park, wake. `queue.py` runs them.

Three rules hold everywhere:
- whoever changes a job holds its lane's row lock first, lanes always in the order (destination, key);
- a lane is released, and its jobs settled, only by naming the claim under which they were taken;
- all times are the database's: callers pass delays in seconds.

A data-modifying CTE sees the snapshot of the statement's start, so conditions on a lane that was locked in the same
statement look at the locked row (`fenced`), never at the table again.
"""

from typing import Final

from sqlalchemy import text

from platform_relay.core.reasons import ReasonCode

TAKE_ON: Final = """
lanes AS (
    INSERT INTO lane (destination, key, run_at, claim, leased, awaited, priority, waiting, last_seq)
    SELECT destination, lane, now(), 0, false, false, min(priority), count(*), count(*)
    FROM owed GROUP BY destination, lane ORDER BY destination, lane
    ON CONFLICT (destination, key) DO UPDATE SET
        waiting = lane.waiting + excluded.waiting,
        last_seq = lane.last_seq + excluded.waiting,
        run_at = CASE WHEN lane.waiting = 0 THEN excluded.run_at
                      WHEN lane.priority > excluded.priority THEN greatest(lane.run_at, excluded.run_at)
                      ELSE lane.run_at END,
        priority = CASE WHEN lane.waiting = 0 THEN excluded.priority ELSE least(lane.priority, excluded.priority) END
    RETURNING destination, key, last_seq
),
taken AS (
    INSERT INTO job (id, message_id, kind, destination, lane, seq, state, version, after, collapse, params, attempts,
                     uncertain, created_at)
    SELECT owed.id, owed.message_id, owed.kind, owed.destination, owed.lane,
           lanes.last_seq - count(*) OVER same_lane + row_number() OVER (same_lane ORDER BY owed.position),
           'waiting', owed.version, owed.after, owed.collapse, owed.params, 0, false, now()
    FROM owed JOIN lanes ON lanes.destination = owed.destination AND lanes.key = owed.lane
    WINDOW same_lane AS (PARTITION BY owed.destination, owed.lane)
    RETURNING id
)
"""
"""Jobs and their lanes, from a CTE `owed(id, message_id, kind, destination, lane, version, after, collapse, params,
priority, position)`. A lane that already owes something keeps its due time: a new job does not cut a back-off short. One
that becomes more urgent is due from now on: among those of its new priority, claims look no further back (`watermark`)."""

ENQUEUE_COLUMNS: Final = """
    CAST(:job_ids AS uuid[]), CAST(:job_messages AS uuid[]), CAST(:job_kinds AS text[]), CAST(:job_destinations AS text[]),
    CAST(:job_lanes AS text[]), CAST(:job_versions AS timestamptz[]), CAST(:job_afters AS text[]),
    CAST(:job_collapses AS boolean[]), CAST(:job_params AS jsonb[]), CAST(:job_priorities AS smallint[])
) WITH ORDINALITY AS job_input(id, message_id, kind, destination, lane, version, after, collapse, params, priority, position)
"""

ENQUEUE: Final = text(f"WITH owed AS (SELECT * FROM unnest({ENQUEUE_COLUMNS}), {TAKE_ON} SELECT count(*) FROM taken")  # noqa: S608  # constants only

CLAIM: Final = text(f"""
WITH due AS (
    SELECT destination, key, run_at FROM lane
    WHERE destination = :destination AND priority = :priority AND waiting > 0 AND run_at >= :since AND run_at <= now()
      AND (:probing OR EXISTS (SELECT FROM destination WHERE name = :destination AND state = 'open'))
    ORDER BY run_at LIMIT CAST(:limit AS integer)
    FOR UPDATE OF lane SKIP LOCKED
),
claimed AS (
    UPDATE lane SET leased = true, claim = lane.claim + 1,
        run_at = now() + make_interval(secs => :lease)
    FROM due WHERE lane.destination = due.destination AND lane.key = due.key
    RETURNING lane.destination, lane.key, lane.claim, due.run_at
),
head AS (
    SELECT claimed.claim, coalesce(newest.id, first.id) AS id
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
    INSERT INTO attempt (job_id, claim, number, started_at, outcome, reason_code, facts)
    SELECT job.id, head.claim - 1, job.attempts, now(), 'lost', '{ReasonCode.LEASE_LOST}', jsonb_build_object()
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
SELECT now() AS now, asked.state = 'open' AS open, claimed.run_at, claimed.key AS claimed_lane, claimed.claim,
       started.id, started.message_id, started.kind, started.seq, started.attempts, started.uncertain,
       started.params, started.version, started.after, started.collapse,
       coalesce(message.event, message.body) AS body, message.encrypted_with, coalesce(entity.known, false) AS known, entity.digest,
       entity.version AS delivered_version,
       CAST(extract(epoch FROM now() - started.created_at) AS float8) AS age,
       started.after IS NOT NULL
           AND NOT EXISTS (SELECT FROM entity AS other
                           WHERE other.destination = :destination AND other.key = started.after AND other.known)
           AND EXISTS (SELECT FROM lane AS other
                       WHERE other.destination = :destination AND other.key = started.after AND other.waiting > 0) AS must_wait
FROM destination AS asked
LEFT JOIN claimed ON true
LEFT JOIN started ON started.lane = claimed.key
LEFT JOIN message ON message.id = started.message_id
LEFT JOIN entity ON entity.destination = :destination AND entity.key = claimed.key
WHERE asked.name = :destination
""")  # noqa: S608  # constants only
"""Take due lanes, oldest first, and start the first job of each; of jobs that collapse, the newest version.
A lane without a job (its last one was finished between the snapshot and the lock) comes back with id null; where none
is taken, one row tells the time and whether the destination is open. `since`: `watermark.Watermark`.

`open` is asked only together with a lane, here and in SETTLE: with the statistics of a moment when nothing was owed,
Postgres takes the index of open jobs for an empty one, and would read all of it to find one by its id."""

SETTLE: Final = text(f"""
WITH input AS (
    SELECT * FROM unnest(
        CAST(:lanes AS text[]), CAST(:claims AS bigint[]), CAST(:ids AS uuid[]), CAST(:states AS text[]),
        CAST(:dispositions AS text[]), CAST(:codes AS text[]), CAST(:facts AS jsonb[]), CAST(:uncertains AS boolean[]),
        CAST(:given_back AS int[]),
        CAST(:results AS jsonb[]), CAST(:delays AS float8[]), CAST(:digests AS bytea[]), CAST(:versions AS timestamptz[]),
        CAST(:known AS boolean[]), CAST(:seqs AS bigint[]), CAST(:collapses AS boolean[]),
        CAST(:numbers AS int[]), CAST(:durations AS int[]), CAST(:outcomes AS text[]), CAST(:statuses AS int[]),
        CAST(:attempt_codes AS text[]), CAST(:attempt_facts AS jsonb[]), CAST(:excerpts AS text[])
    ) AS t(lane, claim, id, state, disposition, reason_code, facts, uncertain, given_back, result, delay, digest, version,
           known, seq, collapse, number, duration, outcome, status, attempt_code, attempt_facts, excerpt)
),
fenced AS (
    SELECT input.*, input.state <> 'waiting' AS finished, lane.awaited, lane.waiting
    FROM input JOIN lane ON lane.destination = :destination AND lane.key = input.lane AND lane.claim = input.claim AND lane.leased
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
    UPDATE lane SET leased = false, waits_for = NULL, awaited = lane.awaited AND NOT fenced.finished,
        waiting = lane.waiting - CAST(fenced.finished AS int) - coalesce(replaced_count.jobs, 0),
        run_at = now() + make_interval(secs => fenced.delay)
    FROM fenced LEFT JOIN replaced_count ON replaced_count.lane = fenced.lane
    WHERE lane.destination = :destination AND lane.key = fenced.lane
    RETURNING lane.key, lane.waiting
),
tried AS (
    INSERT INTO attempt (job_id, claim, number, started_at, duration_ms, outcome, status, reason_code, facts, excerpt)
    SELECT id, claim, number, now() - make_interval(secs => duration / 1000.0), duration, outcome, status, attempt_code,
           attempt_facts, excerpt
    FROM fenced WHERE outcome IS NOT NULL
    ON CONFLICT DO NOTHING
),
delivered AS (
    INSERT INTO entity (destination, key, known, version, digest)
    SELECT :destination, lane, known, version, digest FROM fenced
    WHERE known OR (state = 'dead' AND version IS NOT NULL)
    ORDER BY lane
    ON CONFLICT (destination, key) DO UPDATE SET known = entity.known OR excluded.known,
        version = greatest(entity.version, excluded.version),
        digest = CASE WHEN excluded.known THEN coalesce(excluded.digest, entity.digest) END
)
SELECT fenced.id, fenced.claim, fenced.awaited AND fenced.finished AS wakes, released.waiting > 0 AND fenced.delay <= 0 AS more
FROM fenced JOIN released ON released.key = fenced.lane
""")  # noqa: S608  # constants only
"""Finish attempts. What is not returned had lost its lease and changed nothing. A version that was skipped, since the far
side has the same, counts as seen: an older one with other content must not follow it."""

PARK: Final = text("""
WITH fenced AS (
    SELECT destination, key FROM lane
    WHERE destination = :destination AND key = :lane AND claim = :claim AND leased FOR UPDATE
),
parked AS (
    UPDATE job SET state = 'waiting', disposition = 'parked', reason_code = :reason_code, facts = CAST(:facts AS jsonb),
        uncertain = :uncertain, attempts = greatest(job.attempts - 1, 0)
    FROM fenced WHERE job.id = :id AND job.state = 'running'
),
tried AS (
    INSERT INTO attempt (job_id, claim, number, started_at, duration_ms, outcome, status, reason_code, facts, excerpt)
    SELECT :id, :claim, :number, now() - make_interval(secs => :duration / 1000.0), CAST(:duration AS int), 'wait',
           CAST(:status AS int), CAST(:reason_code AS text), CAST(:facts AS jsonb), :excerpt
    FROM fenced WHERE CAST(:called AS boolean)
    ON CONFLICT DO NOTHING
)
UPDATE lane SET leased = false, waits_for = CASE WHEN :blocked THEN :key END,
    run_at = now() + make_interval(secs => CASE
        WHEN NOT :blocked THEN 0
        WHEN :certain OR lane.waits_for = :key THEN CAST(:recheck AS float8)
        ELSE least(CAST(:recheck AS float8), 1) END)
FROM fenced WHERE lane.destination = fenced.destination AND lane.key = fenced.key
RETURNING lane.key
""")
"""Let a lane wait for a key. What it waits for may have come while its attempt ran, and then nobody would wake it: unless
`certain`, which a lock on an awaited lane makes, it looks once more after a second. A lane keeps `waits_for` through that
attempt, and whoever wakes the key takes it away: only a lane that still has it may sleep for `recheck` seconds."""

AWAIT: Final = text("""
WITH locked AS (
    SELECT destination, key, waiting FROM lane WHERE destination = :destination AND key = :key FOR UPDATE
)
UPDATE lane SET awaited = true, priority = 0,
    run_at = CASE WHEN lane.priority > 0 THEN greatest(lane.run_at, now()) ELSE lane.run_at END
FROM locked
WHERE lane.destination = locked.destination AND lane.key = locked.key AND locked.waiting > 0
RETURNING lane.waiting
""")

IS_KNOWN: Final = text("SELECT known FROM entity WHERE destination = :destination AND key = :key")

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
    WHERE lane.waits_for IS NOT NULL AND NOT lane.leased AND other.waiting = 0
    ORDER BY lane.destination, lane.key FOR UPDATE OF lane SKIP LOCKED
)
UPDATE lane SET run_at = now(), waits_for = NULL FROM parked
WHERE lane.destination = parked.destination AND lane.key = parked.key
RETURNING lane.destination
""")

RELEASE: Final = text("""
UPDATE lane SET leased = false, waits_for = NULL, run_at = now()
FROM unnest(CAST(:lanes AS text[]), CAST(:claims AS bigint[])) AS held(lane, claim)
WHERE lane.destination = :destination AND lane.key = held.lane AND lane.claim = held.claim AND lane.leased
""")

RENEW: Final = text("""
UPDATE lane SET run_at = now() + make_interval(secs => :lease)
FROM unnest(CAST(:lanes AS text[]), CAST(:claims AS bigint[])) AS held(lane, claim)
WHERE lane.destination = :destination AND lane.key = held.lane AND lane.claim = held.claim AND lane.leased
RETURNING lane.key, lane.claim
""")
