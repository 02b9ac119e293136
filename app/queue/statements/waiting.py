"""Parks a lane until another lane or an event wakes it, and wakes it."""

from typing import Final

from sqlalchemy import text

from platform_relay.core.failed_statements import name_statements
from platform_relay.queue.statements.expressions import FIRST_SEQ

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
name_statements(
    {
        "park": PARK,
        "lock_dependency": LOCK_DEPENDENCY,
        "lock_lanes": LOCK_LANES,
        "watch_lane": WATCH_LANE,
        "exists_remotely": EXISTS_REMOTELY,
        "wake": WAKE,
        "wake_stranded": WAKE_STRANDED,
    }
)
