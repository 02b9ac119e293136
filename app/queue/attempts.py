"""Where attempts are read from: the one that succeeded is in its job's row, all others are in `attempt`.

Most jobs need one attempt. A row of its own for it, with its index entry, was an eighth of what an event costs PostgreSQL, and
repeated what is in the job's row: its number is the job's `attempts`, its end `finished_at`.
"""

from typing import Final

from sqlalchemy import text

ATTEMPTS: Final = """(
    SELECT job_id, fencing_token, number, started_at, duration_ms, outcome, status, reason_code, facts, excerpt FROM attempt
    UNION ALL
    SELECT id, 9223372036854775807, attempts, finished_at - make_interval(secs => duration_ms / 1000.0), duration_ms, 'done',
           status, NULL, NULL, NULL
    FROM job WHERE duration_ms IS NOT NULL
)"""
"""All attempts, as rows of the table `attempt`, to be read by `job_id`. The one that succeeded is the last of its job, so it has
the highest possible fencing token."""

BUSY: Final = text("""
WITH locked AS (
    SELECT job_id, fencing_token FROM attempt WHERE job_id = ANY(CAST(:jobs AS uuid[]))
    ORDER BY job_id, fencing_token FOR UPDATE SKIP LOCKED
)
SELECT DISTINCT job_id FROM attempt
WHERE job_id = ANY(CAST(:jobs AS uuid[])) AND (job_id, fencing_token) NOT IN (SELECT job_id, fencing_token FROM locked)
""")
"""Locks the attempts of the jobs. Returns the jobs with an attempt that somebody else has locked: an erasure, or a new key."""
