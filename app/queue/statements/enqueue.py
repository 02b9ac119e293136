"""Stores jobs, and creates or updates their lanes."""

from typing import Final

from sqlalchemy import text

from platform_relay.core.failed_statements import name_statements
from platform_relay.queue.statements.expressions import FIRST_SEQ

NEW_JOBS: Final = """unnest(
    CAST(:job_ids AS uuid[]), CAST(:job_messages AS uuid[]), CAST(:job_kinds AS text[]), CAST(:job_destinations AS text[]),
    CAST(:job_lanes AS text[]), CAST(:job_versions AS timestamptz[]), CAST(:job_dependencies AS text[]),
    CAST(:job_collapses AS boolean[]), CAST(:job_params AS jsonb[]), CAST(:job_priorities AS smallint[]),
    CAST(:job_owners AS text[])
) WITH ORDINALITY AS input_job(id, message_id, kind, destination, lane, version, depends_on, collapse, params, priority, owner,
                               position)
"""
"""The jobs of `queue.enqueue_parameters` as rows. `position` orders the jobs of a lane."""

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

ENQUEUE: Final = text(f"WITH new_job AS (SELECT * FROM {NEW_JOBS}), {INSERT_JOBS} SELECT count(*) FROM inserted")  # noqa: S608  # constants only
name_statements({"enqueue": ENQUEUE})
