"""Claims lanes, renews their leases, and releases them.

A claim and a renewal change no indexed column of a lane (`lease_until` has no index), so they are heap-only updates: the row
stays in the index of due lanes, and the claims that follow pass over it.
"""

from typing import Final

from sqlalchemy import text

from platform_relay.core.failed_statements import name_statements
from platform_relay.core.reasons import ReasonCode
from platform_relay.queue.statements.expressions import CLOCK_TOLERANCE, FREE

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
name_statements({"claim": CLAIM, "probe": PROBE, "release": RELEASE, "renew": RENEW})
