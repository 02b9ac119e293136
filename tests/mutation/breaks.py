"""What must always hold, each promise broken by hand, and the test that has to notice.

mutmut changes Python only, and only inside functions; most of these promises are kept by SQL. docs/reliability.md has
this list as a table (`table`).
"""

from dataclasses import dataclass
from typing import Final

QUEUE: Final = "app/queue/queue.py"
STATEMENTS: Final = "app/queue/statements.py"
LOOP: Final = "app/queue/loop.py"
DECIDE: Final = "app/queue/decide.py"
TEST_QUEUE: Final = "tests/database/test_queue.py"
TEST_LOOP: Final = "tests/queue/test_loop.py"
TEST_DECIDE: Final = "tests/unit/test_decide.py"
TEST_INBOX: Final = "tests/database/test_inbox.py"


@dataclass(frozen=True)
class Break:
    """`old` stands once in `file`; with `new` in its place `guard` (a pytest node) must fail."""

    promise: str
    what: str
    file: str
    old: str
    new: str
    guard: str


BREAKS: Final[tuple[Break, ...]] = (
    Break(
        "acknowledged = committed",
        "the receipt is given before the commit",
        "app/inbox/inbox.py",
        "receipts = await self._write(items)",
        'receipts = {each: Receipt(each, "accepted") for each, _ in items}',
        f"{TEST_INBOX}::test_a_receipt_means_that_message_job_and_lane_are_committed",
    ),
    Break(
        "acknowledged = committed",
        "an unavailable database is not answered with 503",
        "app/inbox/inbox.py",
        "if is_unavailable(error):",
        "if False:",
        f"{TEST_INBOX}::test_postgres_away_is_said_and_never_hangs",
    ),
    Break(
        "claim, call, settle",
        "a transaction is open during the call",
        LOOP,
        "settlement, verdict = await self._runner.run(job)",
        "async with self._queue._engine.begin() as c:\n"
        '                    await c.exec_driver_sql("SELECT 1")\n'
        "                    settlement, verdict = await self._runner.run(job)",
        f"{TEST_LOOP}::test_no_transaction_is_open_during_a_call",
    ),
    Break(
        "claim, call, settle",
        "the attempt is not counted before the call",
        STATEMENTS,
        "attempts = job.attempts + 1,",
        "attempts = job.attempts,",
        f"{TEST_QUEUE}::test_an_attempt_counts_before_the_wire_and_can_be_given_back",
    ),
    Break(
        "claim, call, settle",
        "a claim has no new fencing token",
        STATEMENTS,
        "SET leased = true, fencing_token = lane.fencing_token + 1,",
        "SET leased = true, fencing_token = lane.fencing_token,",
        f"{TEST_QUEUE}::test_settling_names_the_fencing_token",
    ),
    Break(
        "claim, call, settle",
        "a claim has no lease",
        STATEMENTS,
        "fencing_token = lane.fencing_token + 1,\n        run_at = now() + make_interval(secs => :lease)",
        "fencing_token = lane.fencing_token + 1,\n        run_at = now()",
        f"{TEST_QUEUE}::test_a_claimed_lane_is_nobody_elses",
    ),
    Break(
        "fenced",
        "settling does not name the fencing token",
        STATEMENTS,
        "AND lane.fencing_token = input.fencing_token AND lane.leased\n    ORDER BY",
        "AND lane.leased\n    ORDER BY",
        f"{TEST_QUEUE}::test_settling_names_the_fencing_token",
    ),
    Break(
        "fenced",
        "parking does not name the fencing token",
        STATEMENTS,
        "WHERE destination = :destination AND key = :lane AND fencing_token = :fencing_token AND leased FOR UPDATE",
        "WHERE destination = :destination AND key = :lane AND leased FOR UPDATE",
        f"{TEST_QUEUE}::test_a_stale_park_changes_nothing",
    ),
    Break(
        "fenced",
        "renewing does not name the fencing token",
        STATEMENTS,
        "lane.fencing_token = held.fencing_token AND lane.leased\nRETURNING lane.key, lane.fencing_token",
        "lane.leased\nRETURNING lane.key, lane.fencing_token",
        f"{TEST_QUEUE}::test_a_renewed_lease_holds_and_a_lost_one_stays_lost",
    ),
    Break(
        "ordered per lane",
        "jobs of a lane run newest first",
        STATEMENTS,
        "ORDER BY seq LIMIT 1\n    ) AS first",
        "ORDER BY seq DESC LIMIT 1\n    ) AS first",
        f"{TEST_QUEUE}::test_jobs_of_a_lane_run_one_after_another_in_the_order_of_their_commits",
    ),
    Break(
        "ordered per lane",
        "an older version than the last seen is sent",
        DECIDE,
        "job.version < job.delivered_version:",
        "False:",
        f"{TEST_DECIDE}::test_an_older_version_than_the_last_seen_is_superseded",
    ),
    Break(
        "ordered per lane",
        "the last version seen goes backwards",
        STATEMENTS,
        "version = greatest(entity.version, excluded.version)",
        "version = excluded.version",
        f"{TEST_QUEUE}::test_the_last_version_seen_never_goes_backwards",
    ),
    Break(
        "ordered per lane",
        "a dead job blocks its lane",
        STATEMENTS,
        "input.state <> 'waiting' AS finished",
        "input.state NOT IN ('waiting', 'dead') AS finished",
        f"{TEST_QUEUE}::test_a_dead_job_does_not_block_its_lane",
    ),
    Break(
        "ordered per lane",
        "a version that died does not count as seen",
        STATEMENTS,
        "WHERE exists_remotely OR (state = 'dead' AND version IS NOT NULL)",
        "WHERE exists_remotely",
        f"{TEST_QUEUE}::test_a_version_that_died_still_counts_as_seen",
    ),
    Break(
        "ordered per lane",
        "an order does not wait for its customer",
        STATEMENTS,
        "started.depends_on IS NOT NULL\n           AND NOT EXISTS",
        "false\n           AND NOT EXISTS",
        f"{TEST_QUEUE}::test_an_order_waits_for_its_customer_and_is_woken_by_the_delivery",
    ),
    Break(
        "ordered per lane",
        "an order that waits is not woken by the delivery",
        QUEUE,
        "woken = len(await wake(self._engine, wakes)) if wakes else 0",
        "woken = 0",
        f"{TEST_LOOP}::test_an_order_is_woken_by_its_customers_delivery_and_not_by_polling",
    ),
    Break(
        "ordered per lane",
        "orders collapse",
        "app/inbox/messages.py",
        "collapse=order is None",
        "collapse=True",
        "tests/queue/test_model.py::test_an_outage_costs_few_customers_calls_and_every_orders_own",
    ),
    Break(
        "ordered per lane",
        "one failing entity delays the others: its lane is its customer's",
        "app/inbox/messages.py",
        "(JobSpec(job_kind, PLATFORM, lane, depends_on=depends_on,",
        "(JobSpec(job_kind, PLATFORM, depends_on or lane,",
        "tests/queue/test_model.py::test_one_poison_order_delays_no_other",
    ),
    Break(
        "nothing is repeated blindly",
        "a job whose worker died is not marked as uncertain",
        STATEMENTS,
        "uncertain = job.uncertain OR job.state = 'running',",
        "uncertain = job.uncertain,",
        f"{TEST_QUEUE}::test_settling_names_the_fencing_token",
    ),
    Break(
        "nothing is repeated blindly",
        "after an unknown outcome, an order is posted again without a PATCH first",
        "app/forwarding/order.py",
        "update_first = job.exists_remotely or job.uncertain or MAYBE_DELIVERED",
        "update_first = job.exists_remotely or MAYBE_DELIVERED",
        "tests/journeys/test_handlers.py::test_an_order_of_unknown_fate_is_probed_before_it_is_posted_again",
    ),
    Break(
        "nothing is repeated blindly",
        "an unknown outcome does not mark the job as uncertain",
        DECIDE,
        'return Again(delay, verdict.reason, True, "unknown")',
        'return Again(delay, verdict.reason, False, "unknown")',
        f"{TEST_DECIDE}::test_what_an_answer_means_decides_what_happens",
    ),
    Break(
        "nothing is repeated blindly",
        "a broken connection counts as one that was never made",
        "app/core/http.py",
        "return Unknown(self._because(ReasonCode.CONNECTION_LOST, error=type(error).__name__))",
        "return Retry(self._because(ReasonCode.CONNECTION_LOST, error=type(error).__name__))",
        "tests/unit/test_http.py::test_reset_is_unknown",
    ),
    Break(
        "one redemption, at most one coupon",
        "the coupon in the store is not compared",
        "app/coupons/issue.py",
        "different = differences(spec, coupon)\n        if not different:\n            await self._coupons.activate",
        "different = ()\n        if not different:\n            await self._coupons.activate",
        "tests/journeys/test_issue_coupon.py::test_a_coupon_that_reads_back_differently_is_retired_and_held",
    ),
    Break(
        "one redemption, at most one coupon",
        "a coupon is created for a code of another redemption",
        "app/coupons/spec.py",
        "if others and first != redemption.id:",
        "if False:",
        "tests/journeys/test_issue_coupon.py::test_a_code_of_another_redemption_or_customer_is_rejected",
    ),
    Break(
        "nothing ends silently",
        "collapsed versions are not subtracted from the lane's count",
        STATEMENTS,
        " - coalesce(replaced_count.jobs, 0),",
        ",",
        f"{TEST_QUEUE}::test_waiting_versions_collapse_into_the_newest_whatever_their_order_of_arrival",
    ),
    Break(
        "nothing ends silently",
        "a job committed while its lane empties is forgotten",
        STATEMENTS,
        "open_jobs = lane.open_jobs + excluded.open_jobs,\n        last_seq",
        "open_jobs = excluded.open_jobs,\n        last_seq",
        f"{TEST_QUEUE}::test_a_version_that_arrives_while_another_is_sent_is_not_lost",
    ),
    Break(
        "nothing ends silently",
        "a superseded job has no reason",
        STATEMENTS,
        "SET state = 'superseded', disposition = NULL, reason_code = '{ReasonCode.NEWER_VERSION}',",
        "SET state = 'superseded', disposition = NULL,",
        f"{TEST_QUEUE}::test_what_is_replaced_says_why",
    ),
    Break(
        "dead letters are visible and reversible",
        "a retried dead job is not marked as uncertain",
        "app/jobs/actions.py",
        "attempts = 0, uncertain = true,",
        "attempts = 0, uncertain = false,",
        "tests/jobs/test_actions.py::test_a_dead_job_can_be_retried_and_starts_anew",
    ),
    Break(
        "blocked concerns the destination",
        "a refused key counts against the job",
        DECIDE,
        'return GiveBack(BLOCKED_DELAY, verdict.reason, job.uncertain, "blocked")',
        'return dead("rejected", verdict.reason)',
        f"{TEST_DECIDE}::test_what_an_answer_means_decides_what_happens",
    ),
    Break(
        "blocked concerns the destination",
        "a closed destination is claimed from",
        STATEMENTS,
        "AND (:probing OR EXISTS (SELECT FROM destination WHERE name = :destination AND state = 'open'))",
        "AND (:probing OR true)",
        "tests/database/test_destination_guard.py::test_a_refused_key_closes_the_destination_for_all_and_one_probe_opens_it",
    ),
    Break(
        "blocked concerns the destination",
        "rejected data trips the circuit breaker",
        "app/queue/circuit_breaker.py",
        "failed = isinstance(outcome, Retry | Unknown)",
        "failed = not isinstance(outcome, Done)",
        "tests/unit/test_circuit_breaker.py::test_rejected_data_trips_nothing",
    ),
    Break(
        "PostgreSQL holds all state",
        "without NOTIFY, work is not found",
        LOOP,
        "async with asyncio.timeout(self._settings.poll_interval):\n                await self._wake.wait()",
        "async with asyncio.timeout(None):\n                await self._wake.wait()",
        f"{TEST_LOOP}::test_what_failed_is_tried_again_when_its_time_has_come",
    ),
    Break(
        "PostgreSQL holds all state",
        "lanes that a dead worker should have woken stay parked",
        STATEMENTS,
        "WHERE lane.waits_for IS NOT NULL AND NOT lane.leased AND other.open_jobs = 0",
        "WHERE lane.waits_for IS NULL AND NOT lane.leased AND other.open_jobs = 0",
        f"{TEST_QUEUE}::test_stranded_waiters_are_found",
    ),
    Break(
        "PostgreSQL holds all state",
        "an event that happens during an attempt does not wake the lane",
        STATEMENTS,
        "WHEN :for_lane OR lane.waits_for = :key THEN",
        "WHEN :for_lane OR :key = :key THEN",
        f"{TEST_QUEUE}::test_what_comes_while_an_attempt_runs_is_not_waited_for_in_vain",
    ),
    Break(
        "PostgreSQL holds all state",
        "a wake-up ends the lease of a running attempt",
        STATEMENTS,
        "SET run_at = CASE WHEN lane.leased THEN lane.run_at ELSE now() END, waits_for = NULL FROM parked",
        "SET run_at = now(), waits_for = NULL FROM parked",
        f"{TEST_QUEUE}::test_what_comes_while_an_attempt_runs_is_not_waited_for_in_vain",
    ),
    Break(
        "shutdown is not a failure",
        "shutdown does not wait for settles in progress",
        LOOP,
        "async with self._settling:",
        "if True:",
        f"{TEST_LOOP}::test_the_end_waits_for_what_is_being_written",
    ),
    Break(
        "shutdown is not a failure",
        "lanes that were not started stay claimed",
        LOOP,
        "while not self._jobs.empty():",
        "while False:",
        f"{TEST_LOOP}::test_at_the_end_what_runs_is_finished_and_nothing_new_begun",
    ),
    Break(
        "secrets and personal data",
        "a secret that the destination echoes is kept",
        "app/core/http.py",
        'text = text.replace(secret, "***")',
        "text = str(text)",
        "tests/unit/test_http.py::test_evidence_is_short_storable_and_without_secrets",
    ),
)


def table() -> str:
    """For docs/reliability.md."""
    lines = ["| what must always hold | broken by hand | the test that notices |", "|---|---|---|"]
    lines += [f"| {each.promise} | {each.what} | `{each.guard.replace('::', '` `')}` |" for each in BREAKS]
    return "\n".join(lines)
