"""Texts about the relay itself: its configuration, its database and its queue."""

from collections.abc import Mapping
from typing import Final

from platform_relay.core.reason_texts.text import NO_ACTION, PAUSED, RETRY, TRIED_AGAIN, ReasonText
from platform_relay.core.reasons import ReasonCode

_CONNECTS: Final = "The relay connects automatically."
RELAY: Final[Mapping[ReasonCode, ReasonText]] = {
    # ------------------------------------------------------------------ the configuration
    ReasonCode.SETTING_MISSING: ReasonText(
        "A setting is missing[: {setting}][ ({purpose})].", "Set the missing setting[ {setting}] and restart the relay."
    ),
    ReasonCode.SETTING_WRONG: ReasonText(
        "The setting {setting} is wrong[: {problem}].", "Correct {setting} and restart the relay."
    ),
    ReasonCode.NO_STORE: ReasonText(
        "No store is configured to create coupons in.", "Set STORE__ADAPTER (docs/stores.md) and restart the relay."
    ),
    ReasonCode.BODY_KEY_MISSING: ReasonText(
        "Stored bodies are encrypted with a key that is not in BODY_KEYS[: {key}]. Jobs that need them are held.",
        "Put the key back into BODY_KEYS, after the first, and restart the relay.",
    ),
    ReasonCode.BODY_NOT_ENCRYPTED: ReasonText(
        "A body was stored without encryption after the first encrypted one[ ({message})]: a process ran"
        " without BODY_KEYS, or somebody changed the row.",
        "Check that every process has BODY_KEYS, and who can write to the database. Then run relay bodies reencrypt.",
    ),
    ReasonCode.BODY_KEY_WRONG: ReasonText(
        "The body cannot be decrypted with the key {key}: the key has another value than when the body was stored,"
        " or the stored row was changed.",
        "Put the right key into BODY_KEYS and restart the relay, or restore the row from a backup.",
    ),
    ReasonCode.STORE_NOT_READY: ReasonText(
        "{destination} is not ready for the relay: {problem}[ (HTTP {status})][: {response}].",
        PAUSED + "Correct the configuration of the store.",
    ),
    # ------------------------------------------------------------------ the relay's database
    ReasonCode.DATABASE_UNREACHABLE: ReasonText(
        "The relay's database cannot be reached[ at {address}][: {error}].",
        "Check that PostgreSQL is running and that DATABASE_URL is right. " + _CONNECTS,
    ),
    ReasonCode.DATABASE_HOST_UNKNOWN: ReasonText(
        "The host name of the relay's database cannot be resolved[: {address}].",
        "Check the host in DATABASE_URL. If the database is still being started, no action is needed. " + _CONNECTS,
    ),
    ReasonCode.DATABASE_NOT_ACCEPTING: ReasonText(
        "The relay's database does not accept connections at the moment[: {error}].",
        "If it is starting or stopping, no action is needed; otherwise look at the log of PostgreSQL. " + _CONNECTS,
    ),
    ReasonCode.DATABASE_READ_ONLY: ReasonText(
        "The relay's database accepts no writes: the server is a standby or read-only.",
        "Finish the failover, or let DATABASE_URL name the primary. With several hosts (`?host=a,b`) the relay finds the"
        " primary automatically.",
    ),
    ReasonCode.DATABASE_FAILED_OVER: ReasonText(
        "The relay's database continues on another server, or from a backup, and its last commits may be missing[: events that"
        " were acknowledged, and records of deliveries, from {since} to {until} (UTC)].",
        "Run relay reconcile --repair from the start of that time, and ask the Platform to send its webhooks of that time again."
        " Waiting jobs ask the destination before they send. This alert ends after 7 days.",
    ),
    ReasonCode.DATABASE_MIGRATING: ReasonText(
        "The process is starting: it migrates the database, or waits for another process that does.", NO_ACTION
    ),
    ReasonCode.DATABASE_NOT_MIGRATED: ReasonText(
        "The tables do not fit this release: {misfit}.", "Run relay migrate with the newest release that is in use."
    ),
    ReasonCode.DATABASE_LOGIN_REJECTED: ReasonText(
        "The relay's database[ at {address}] rejected the login[: {error}].",
        "Correct the user and the password in DATABASE_URL, or allow the login in pg_hba.conf.",
    ),
    ReasonCode.DATABASE_NOT_FOUND: ReasonText(
        "The relay's database does not exist[ at {address}][: {error}].",
        "Correct the database name in DATABASE_URL, or create the database.",
    ),
    ReasonCode.DATABASE_PERMISSION_MISSING: ReasonText(
        "The relay's database user lacks a permission[: {error}].",
        "Grant it. The user must own the schema DATABASE_SCHEMA, or be allowed to create it.",
    ),
    ReasonCode.DATABASE_TLS_FAILED: ReasonText(
        "The relay's database[ at {address}] could not be reached with TLS[: {error}].",
        "Correct sslmode and sslrootcert in DATABASE_URL, or the certificate of PostgreSQL.",
    ),
    ReasonCode.WORK_FAILING: ReasonText(
        "The relay cannot store its work in the database[: a process cannot {action}][ for {destination}]"
        "[. The statement {statement} fails][ with SQLSTATE {sqlstate}].",
        "Look for the error in PostgreSQL's log, and correct its cause. 42501 is a missing privilege: GRANT it to the relay's"
        " user. Other usual causes are a full disk, a trigger or a lock (docs/runbook.md). The relay tries again automatically.",
    ),
    ReasonCode.NO_WORKER: ReasonText(
        "No worker processes the due jobs[ for {destination}][: none could {action} for {seconds} seconds].",
        "Check that a worker is running, and start one if not. If one is running, look for work_failing in its log.",
    ),
    # ------------------------------------------------------------------ the queue
    ReasonCode.NEWER_VERSION: ReasonText(
        "A newer version of the same entity[ ({newer})] replaced this one.", NO_ACTION
    ),
    ReasonCode.NEWER_VERSION_AHEAD: ReasonText(
        "A version of the same entity with a time in the future[ ({newer})] was delivered, so this one counts as older.",
        "The clock of the store was wrong. Send this version as the newest, or run relay reconcile --repair.",
    ),
    ReasonCode.UNCHANGED: ReasonText("{destination} already has exactly this content.", NO_ACTION),
    ReasonCode.EXPIRED: ReasonText(
        "The job was not delivered within {days} days. After this time its body is deleted.",
        "Send the event again from the store, or run relay backfill.",
    ),
    ReasonCode.LEASE_LOST: ReasonText(
        "The worker stopped, or lost its lease, during an attempt.", "Another worker takes over within seconds."
    ),
    ReasonCode.ATTEMPTS_LOST: ReasonText(
        "The worker stopped, or lost its lease, during each of the {attempts} attempts.",
        "Look for crashes and for a lack of memory in the worker's log. Then retry the job.",
    ),
    ReasonCode.JOB_INVALID: ReasonText(
        "The job cannot be run[: {problem}].", "Report the error with the job's id, then drop the job."
    ),
    ReasonCode.INTERNAL_ERROR: ReasonText(
        "The attempt failed because of an internal error of the relay[: {error}].",
        TRIED_AGAIN + " Report the error with the job's id.",
    ),
    ReasonCode.DATABASE_UNAVAILABLE: ReasonText(
        "The relay's database was unavailable or too slow during the attempt.", TRIED_AGAIN
    ),
    ReasonCode.SHUTDOWN: ReasonText("The worker was stopped before the attempt finished.", TRIED_AGAIN),
    ReasonCode.WAITING_FOR_LANE: ReasonText(
        "The job waits for the first delivery of {lane}.", "It continues automatically."
    ),
    ReasonCode.OPERATOR_RETRY: ReasonText("The job was retried[ by {by}].", TRIED_AGAIN),
    ReasonCode.OPERATOR_DROPPED: ReasonText("The job was dropped[ by {by}][: {comment}].", "It will not be sent."),
    ReasonCode.OPERATOR_PAUSED: ReasonText(
        "Calls to {destination} were paused[ by {by}][: {comment}].",
        "Calls continue when an operator resumes them.",
    ),
    ReasonCode.NO_HANDLER: ReasonText(
        "This release has no handler for jobs of the kind {kind}.", "Run the release that stored the job. " + RETRY
    ),
    ReasonCode.STORED_EVENT_UNREADABLE: ReasonText(
        "The stored event cannot be read[: {problem}].", "Send the event again from the store, or run relay backfill."
    ),
    ReasonCode.EVENT_TOO_LARGE: ReasonText(
        "The event is too large to be forwarded: its {field} has {count} elements; at most {maximum} are allowed.",
        "Shorten it in the store, which sends it again, or edit the event and retry the job, or drop the job.",
    ),
    # ------------------------------------------------------------------ rows written before reason codes existed
    ReasonCode.UNSPECIFIED: ReasonText("[{text}]", NO_ACTION),
}
