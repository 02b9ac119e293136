"""What must always hold, each promise broken by hand, and the test that has to notice.

mutmut changes Python only, and only inside functions; most of these promises are kept by SQL. docs/reliability.md has
this list as a table (`table`).
"""

from dataclasses import dataclass
from typing import Final

QUEUE: Final = "app/queue/queue.py"
ENQUEUE: Final = "app/queue/statements/enqueue.py"
CLAIM: Final = "app/queue/statements/claim.py"
SETTLE: Final = "app/queue/statements/settle.py"
WAITING: Final = "app/queue/statements/waiting.py"
LOOP: Final = "app/queue/loop.py"
DECIDE: Final = "app/queue/decide.py"
BREAKER: Final = "app/queue/circuit_breaker.py"
TEST_QUEUE: Final = "tests/database/test_queue.py"
TEST_GUARD: Final = "tests/database/test_destination_guard.py"
TEST_LOOP: Final = "tests/queue/test_loop.py"
TEST_DECIDE: Final = "tests/unit/test_decide.py"
TEST_VERSIONS: Final = "tests/database/test_versions.py"
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
        "acknowledged = committed",
        "a connection in an open transaction returns to the pool",
        "app/core/database_connections.py",
        "driver.terminate()  # the pool opens another when it is next needed",
        "pass",
        "tests/faults/test_interrupted_statements.py::test_a_commit_that_the_server_cancels_leaves_no_open_transaction",
    ),
    Break(
        "acknowledged = committed",
        "a single statement does not check that it is its own transaction",
        "app/core/database.py",
        "require_idle(sync_connection)",
        "pass",
        "tests/faults/test_interrupted_statements.py::test_a_single_statement_in_an_open_transaction_is_not_acknowledged",
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
        CLAIM,
        "attempts = job.attempts + 1,",
        "attempts = job.attempts,",
        f"{TEST_QUEUE}::test_an_attempt_counts_before_the_wire_and_can_be_given_back",
    ),
    Break(
        "claim, call, settle",
        "a claim has no new fencing token",
        CLAIM,
        "SET leased = true, fencing_token = nextval('fencing_token'),",
        "SET leased = true, fencing_token = lane.fencing_token,",
        f"{TEST_QUEUE}::test_settling_names_the_fencing_token",
    ),
    Break(
        "fenced",
        "a lane that comes back repeats its tokens",
        CLAIM,
        "SET leased = true, fencing_token = nextval('fencing_token'),",
        "SET leased = true, fencing_token = lane.fencing_token + 1,",
        f"{TEST_QUEUE}::test_a_token_from_before_its_lane_was_removed_settles_nothing",
    ),
    Break(
        "claim, call, settle",
        "a claim has no lease",
        CLAIM,
        "fencing_token = nextval('fencing_token'),\n        lease_until = now() + make_interval(secs => :lease)",
        "fencing_token = nextval('fencing_token'),\n        lease_until = now()",
        f"{TEST_QUEUE}::test_a_claimed_lane_is_nobody_elses",
    ),
    Break(
        "fenced",
        "settling does not name the fencing token",
        SETTLE,
        "AND lane.fencing_token = input.fencing_token AND lane.leased\n        FOR UPDATE",
        "AND lane.leased\n        FOR UPDATE",
        f"{TEST_QUEUE}::test_settling_names_the_fencing_token",
    ),
    Break(
        "fenced",
        "parking does not name the fencing token",
        WAITING,
        "WHERE destination = :destination AND key = :lane AND fencing_token = :fencing_token AND leased FOR UPDATE",
        "WHERE destination = :destination AND key = :lane AND leased FOR UPDATE",
        f"{TEST_QUEUE}::test_a_stale_park_changes_nothing",
    ),
    Break(
        "fenced",
        "renewing does not name the fencing token",
        CLAIM,
        "lane.fencing_token = held.fencing_token AND lane.leased\nRETURNING lane.key, lane.fencing_token",
        "lane.leased\nRETURNING lane.key, lane.fencing_token",
        f"{TEST_QUEUE}::test_a_renewed_lease_holds_and_a_lost_one_stays_lost",
    ),
    Break(
        "ordered per lane",
        "jobs of a lane run newest first",
        CLAIM,
        "ORDER BY seq LIMIT 1\n    ) AS first",
        "ORDER BY seq DESC LIMIT 1\n    ) AS first",
        f"{TEST_QUEUE}::test_jobs_of_a_lane_run_one_after_another_in_the_order_of_their_commits",
    ),
    Break(
        "ordered per lane",
        "an older version than the last seen is sent",
        DECIDE,
        "and job.version < job.delivered_version",
        "and False",
        f"{TEST_DECIDE}::test_an_older_version_than_the_last_seen_is_superseded",
    ),
    Break(
        "ordered per lane",
        "the last version seen goes backwards",
        SETTLE,
        "ELSE greatest(entity.version, excluded.version) END",
        "ELSE excluded.version END",
        f"{TEST_QUEUE}::test_the_last_version_seen_never_goes_backwards",
    ),
    Break(
        "ordered per lane",
        "a dead job blocks its lane",
        SETTLE,
        "input.state <> 'waiting' AS finished",
        "input.state NOT IN ('waiting', 'dead') AS finished",
        f"{TEST_QUEUE}::test_a_dead_job_does_not_block_its_lane",
    ),
    Break(
        "ordered per lane",
        "a version that died does not count as seen",
        SETTLE,
        "WHERE exists_remotely OR (state = 'dead' AND (version IS NOT NULL OR replaces))",
        "WHERE exists_remotely",
        f"{TEST_QUEUE}::test_a_version_that_died_and_may_have_arrived_still_counts_as_seen",
    ),
    Break(
        "ordered per lane",
        "a rejected version supersedes the older ones that wait",
        SETTLE,
        "WHERE fenced.collapse AND fenced.replaces AND",
        "WHERE fenced.collapse AND",
        f"{TEST_VERSIONS}::test_a_rejected_version_leaves_the_older_ones_waiting_and_they_are_sent",
    ),
    Break(
        "ordered per lane",
        "a rejected version counts as delivered",
        SETTLE,
        "CASE WHEN replaces THEN version END",
        "version",
        f"{TEST_VERSIONS}::test_a_rejected_version_does_not_supersede_a_later_arrival",
    ),
    Break(
        "ordered per lane",
        "a version of the future silences its entity",
        "app/inbox/inbox.py",
        "replace(message, version=None) if is_too_far_ahead(message.version, now) else message",
        "message",
        f"{TEST_VERSIONS}::test_the_inbox_takes_no_version_of_the_future_and_reports_it",
    ),
    Break(
        "ordered per lane",
        "an entity stays silent after a version was sent as the newest",
        SETTLE,
        "WHEN excluded.exists_remotely AND entity.key IN (SELECT lane FROM fenced WHERE as_newest)",
        "WHEN false",
        f"{TEST_VERSIONS}::test_an_operator_sends_a_superseded_version_as_the_newest",
    ),
    Break(
        "ordered per lane",
        "an order does not wait for its customer",
        CLAIM,
        "started.depends_on IS NOT NULL\n           AND NOT coalesce",
        "false\n           AND NOT coalesce",
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
        "tests/queue/test_model.py::test_one_failing_order_delays_no_other",
    ),
    Break(
        "nothing is repeated blindly",
        "a job whose worker died is not marked as uncertain",
        CLAIM,
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
        "return Unknown(self._because(ReasonCode.CONNECTION_LOST, error=error.problem[:QUOTE_CHARS]))",
        "return Retry(self._because(ReasonCode.CONNECTION_LOST, error=error.problem[:QUOTE_CHARS]))",
        "tests/unit/test_http.py::test_reset_is_unknown",
    ),
    Break(
        "nothing is repeated blindly",
        "a POST whose kept-alive connection ended is sent once more",
        "app/core/http_pool.py",
        "if lost.answered or request.method not in _REPEATED:",
        "if lost.answered:",
        "tests/contract/test_http_contract.py::test_a_kept_alive_connection_that_ends_without_a_response",
    ),
    Break(
        "nothing is repeated blindly",
        "a request that was sent, and whose second connection is refused, counts as not sent",
        "app/core/http_pool.py",
        "except NotSentError as error:  # but it was sent the first time",
        "except ZeroDivisionError as error:",
        "tests/contract/test_http_contract.py::test_the_second_connection_that_fails_does_not_undo_the_first_request",
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
        SETTLE,
        " - coalesce(replaced_count.jobs, 0) AS open_jobs,",
        " AS open_jobs,",
        f"{TEST_QUEUE}::test_waiting_versions_collapse_into_the_newest_whatever_their_order_of_arrival",
    ),
    Break(
        "nothing ends silently",
        "a job committed while its lane empties is forgotten",
        ENQUEUE,
        "open_jobs = lane.open_jobs + excluded.open_jobs,\n        last_seq",
        "open_jobs = excluded.open_jobs,\n        last_seq",
        f"{TEST_QUEUE}::test_a_version_that_arrives_while_another_is_sent_is_not_lost",
    ),
    Break(
        "nothing ends silently",
        "a lane is removed although a job came meanwhile",
        SETTLE,
        "CASE WHEN open_jobs > 0 OR failed_at IS NOT NULL OR wakes THEN 'kept'",
        "CASE WHEN failed_at IS NOT NULL OR wakes THEN 'kept'",
        f"{TEST_QUEUE}::test_a_job_that_comes_while_its_lane_is_settled_is_not_lost",
    ),
    Break(
        "nothing ends silently",
        "a superseded job has no reason",
        SETTLE,
        "ELSE '{ReasonCode.NEWER_VERSION}' END,",
        "ELSE NULL END,",
        f"{TEST_QUEUE}::test_what_is_replaced_says_why",
    ),
    Break(
        "dead letters are visible and reversible",
        "a retried dead job is not marked as uncertain",
        "app/jobs/actions.py",
        "uncertain = uncertain OR version IS NULL OR",
        "uncertain = false AND",
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
        CLAIM,
        "AND EXISTS (SELECT FROM destination WHERE name = :destination AND state = 'open')",
        "AND true",
        "tests/database/test_destination_guard.py::test_a_refused_key_closes_the_destination_for_all_and_one_probe_opens_it",
    ),
    Break(
        "blocked concerns the destination",
        "rejected data trips the circuit breaker",
        BREAKER,
        "failed = isinstance(outcome, Retry | Unknown)",
        "failed = not isinstance(outcome, Done)",
        "tests/unit/test_circuit_breaker.py::test_rejected_data_trips_nothing",
    ),
    Break(
        "blocked concerns the destination",
        "an attempt without a call trips the circuit breaker",
        BREAKER,
        "case Retry() | Unknown() if _called(verdict):",
        "case Retry() | Unknown():",
        f"{TEST_GUARD}::test_what_failed_without_a_call_closes_nothing",
    ),
    Break(
        "blocked concerns the destination",
        "a refusal without a cause closes the destination",
        BREAKER,
        "or verdict.certain or self._closed:",
        "or True:",
        f"{TEST_GUARD}::test_a_refusal_without_a_cause_is_the_lanes_own_when_others_succeed",
    ),
    Break(
        "blocked concerns the destination",
        "a call that started before a refusal makes it the lane's own",
        "app/queue/lane_failures.py",
        "failure.status == status and failure.last < self._success_started:",
        "failure.status == status and failure.last < self._success_ended:",
        "tests/unit/test_lane_failures.py::test_a_success_that_started_earlier_decides_nothing",
    ),
    Break(
        "blocked concerns the destination",
        "successes before a closure count after it",
        "app/queue/lane_failures.py",
        "self._success_started = self._success_ended = -math.inf",
        "pass",
        "tests/unit/test_lane_failures.py::test_a_closure_forgets_the_successes_before_it",
    ),
    Break(
        "one entity does not stop the others",
        "a closed destination is probed by lanes that failed",
        CLAIM,
        "retry_due AND NOT EXISTS (SELECT FROM candidate WHERE NOT failed)",
        "retry_due",
        f"{TEST_GUARD}::test_probes_are_lanes_that_have_not_failed_and_only_then_one_that_has",
    ),
    Break(
        "one entity does not stop the others",
        "new lanes are not found behind those that failed",
        CLAIM,
        "ORDER BY run_at DESC LIMIT CAST(:candidates AS integer))",
        "ORDER BY run_at LIMIT CAST(:candidates AS integer))",
        f"{TEST_GUARD}::test_a_new_lane_is_found_behind_any_number_of_lanes_that_failed",
    ),
    Break(
        "one entity does not stop the others",
        "a probe that fails closes a destination that another one has opened",
        BREAKER,
        '        if probe is not None:\n            await self._destinations.probe_failed(self._name, "tripped"',
        "        if probe is not None:\n            self._closed = False\n"
        '            await self._close("tripped", outcome.reason)\n'
        '            await self._destinations.probe_failed(self._name, "tripped"',
        f"{TEST_GUARD}::test_a_probe_that_fails_after_another_has_succeeded_closes_nothing",
    ),
    Break(
        "one entity does not stop the others",
        "lanes do not remember that they failed",
        SETTLE,
        "CASE WHEN fenced.failed THEN now()",
        "CASE WHEN false THEN now()",
        f"{TEST_GUARD}::test_what_settles_marks_lanes_that_fail_and_clears_the_mark",
    ),
    Break(
        "one entity does not stop the others",
        "calls that time out together trip the breaker although later ones succeeded",
        BREAKER,
        "if began >= self._success_started}",
        "if True}",
        "tests/unit/test_circuit_breaker.py::test_calls_that_time_out_together_trip_nothing_when_later_ones_succeeded",
    ),
    Break(
        "PostgreSQL holds all state",
        "without NOTIFY, work is not found",
        LOOP,
        "asyncio.timeout(self._settings.poll_interval if seconds is None else seconds)",
        "asyncio.timeout(None)",
        f"{TEST_LOOP}::test_what_failed_is_tried_again_when_its_time_has_come",
    ),
    Break(
        "PostgreSQL holds all state",
        "lanes that a dead worker should have woken stay parked",
        WAITING,
        "WHERE lane.waits_for IS NOT NULL AND NOT lane.leased AND CASE",
        "WHERE lane.waits_for IS NULL AND NOT lane.leased AND CASE",
        f"{TEST_QUEUE}::test_stranded_waiters_are_found",
    ),
    Break(
        "PostgreSQL holds all state",
        "an event that happens during an attempt does not wake the lane",
        WAITING,
        "WHEN :for_lane OR lane.waits_for = :key THEN",
        "WHEN :for_lane OR :key = :key THEN",
        f"{TEST_QUEUE}::test_what_comes_while_an_attempt_runs_is_not_waited_for_in_vain",
    ),
    Break(
        "PostgreSQL holds all state",
        "a wake-up ends the lease of a running attempt",
        WAITING,
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
        "while (job := self._jobs.get_nowait()) is not None:",
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
    Break(
        "time is not content",
        "a third state of one time of change is taken for a repetition of the first",
        "app/inbox/same_time.py",
        "elif last[1] == message.dedupe_key and not overtaken and not unordered:",
        "elif True:",
        "tests/contract/test_same_time.py::test_a_partial_refund_that_is_deleted_in_woocommerce_is_deleted_at_the_platform",
    ),
    Break(
        "time is not content",
        "versions that two processes accept at once are not read from the store",
        "app/inbox/inbox.py",
        "if checked:",
        "if False:",
        "tests/database/test_same_time.py::test_versions_of_two_inboxes_that_do_not_see_each_other_lead_to_a_fetch",
    ),
    Break(
        "time is not content",
        "a reconciliation compares times only",
        "app/reconcile/differences.py",
        "if store.content is None or relay.digest is None or not relay.exists_remotely:",
        "if True:",
        "tests/reconcile/test_staleness.py::test_a_time_that_moves_without_a_change_is_no_difference_and_a_change_without_it_is_one",
    ),
    Break(
        "nothing ends silently",
        "a reconciliation that could not read a list is complete",
        "app/reconcile/coverage.py",
        "return self.every_kind and not self.failures",
        "return True",
        "tests/reconcile/test_staleness.py::test_what_could_not_be_read_resolves_no_alert_and_is_read_the_next_night",
    ),
)


def table() -> str:
    """For docs/reliability.md."""
    lines = ["| what must always hold | broken by hand | the test that notices |", "|---|---|---|"]
    lines += [f"| {each.promise} | {each.what} | `{each.guard.replace('::', '` `')}` |" for each in BREAKS]
    return "\n".join(lines)
