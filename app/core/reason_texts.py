"""The text of each reason code: what happened and why, and the next step.

A template names facts as `{fact}`. A part in square brackets is left out when one of its facts is missing. Outside of
brackets a missing fact is shown by its default (`DEFAULTS`), or left empty.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from platform_relay.core.reasons import Reason, ReasonCode
from platform_relay.core.visible_text import visible


@dataclass(frozen=True, slots=True)
class ReasonText:
    """`text`: what happened and why. `next_step`: what happens next, or what to do."""

    text: str
    next_step: str


DEFAULTS: Final[Mapping[str, str]] = {
    "destination": "the destination",
    "request": "the request",
    "entity": "entity",
    "code": "",
    "lane": "another entity",
}

TRIED_AGAIN: Final = "The relay tries again automatically."
REPEATED_SAFELY: Final = (
    "The request may have arrived. The relay repeats it in a way that cannot create anything twice."
)
NO_ACTION: Final = "No action needed."
_PAUSED: Final = "The relay does not call {destination} until this is corrected. No attempts are used up. "
_RETRY: Final = "Then retry the job."
_CONNECTS: Final = "The relay connects automatically."

TEXTS: Final[Mapping[ReasonCode, ReasonText]] = {
    # ------------------------------------------------------------------ the call to a destination
    ReasonCode.CONNECTION_FAILED: ReasonText("Could not connect to {destination}[: {error}].", TRIED_AGAIN),
    ReasonCode.CONNECTION_LOST: ReasonText(
        "The connection to {destination} broke after the request was sent[: {error}].", REPEATED_SAFELY
    ),
    ReasonCode.TIMED_OUT: ReasonText(
        "{destination} did not send a complete response within {seconds} seconds.", REPEATED_SAFELY
    ),
    ReasonCode.TLS_FAILED: ReasonText(
        "No TLS connection to {destination} could be made[: {error}].",
        _PAUSED + "Check the certificate and the TLS version of the server at the configured address[ ({setting})].",
    ),
    ReasonCode.TLS_NOT_OFFERED: ReasonText(
        "The configured address of {destination} begins with https://, but the server does not use TLS at this port.",
        _PAUSED + "Correct the port in the configured address[ ({setting})]. If the server has no TLS, use http://.",
    ),
    ReasonCode.TLS_REQUIRED: ReasonText(
        "The configured address of {destination} begins with http://, but the server uses TLS at this port.",
        "Use https:// in the configured address[ ({setting})].",
    ),
    ReasonCode.CERTIFICATE_UNTRUSTED: ReasonText(
        "The TLS certificate of {destination} is not signed by a certificate authority that the relay trusts[: {error}].",
        _PAUSED
        + "Set the CA file of this destination[ ({setting})] to the certificate of the authority that signed it.",
    ),
    ReasonCode.CERTIFICATE_WRONG_HOST: ReasonText(
        "The TLS certificate of {destination} is for another host name than {host}[: {error}].",
        _PAUSED
        + "Use a host name of the certificate in the configured address[ ({setting})], or install a certificate for {host}.",
    ),
    ReasonCode.CERTIFICATE_EXPIRED: ReasonText(
        "The TLS certificate of {destination} has expired or is not valid yet[: {error}].",
        _PAUSED + "Renew the certificate. If it is valid, correct the clock of the relay's machine.",
    ),
    ReasonCode.EGRESS_DENIED: ReasonText(
        "The egress policy does not allow calls to {host}[: {error}].",
        _PAUSED + "Correct the configured address[ ({setting})], or allow the network in PRIVATE_NETWORKS.",
    ),
    ReasonCode.ADDRESS_INVALID: ReasonText(
        "The configured address or key of {destination} cannot be used in an HTTP request[: {error}].",
        _PAUSED + "Correct the address[ ({setting})] and the key in the settings.",
    ),
    ReasonCode.WRONG_ADDRESS: ReasonText(
        "There is no API of {destination} at the configured address[ (HTTP {status})][: {response}].",
        _PAUSED + "Correct [{setting}, ]the configured address.[ {hint}.]",
    ),
    ReasonCode.REDIRECTED: ReasonText(
        "{destination} returned a redirect[ (HTTP {status})], which the relay never follows.",
        _PAUSED + "Configure the final address[ in {setting}].",
    ),
    ReasonCode.KEY_REJECTED: ReasonText(
        "{destination} rejected the relay's credentials[ (HTTP {status})][: {response}].",
        _PAUSED + "Set valid credentials[ in {setting}].[ {hint}.]",
    ),
    ReasonCode.PERMISSION_MISSING: ReasonText(
        "The relay's credentials for {destination} lack a permission[ (HTTP {status})][: {response}].",
        "Grant the permission[ {permission}].[ {hint}.] Waiting jobs then continue automatically; retry dead ones.",
    ),
    ReasonCode.FIREWALL_REFUSED: ReasonText(
        "A firewall or proxy in front of {destination} refused the request[ (HTTP {status})][: {response}].",
        "The relay's credentials are not the cause. Let the firewall (of the hosting provider, a CDN, a security plugin) accept"
        " the relay's requests to the API.",
    ),
    ReasonCode.RATE_LIMITED: ReasonText(
        "{destination} limits the rate of calls[ (HTTP {status})][; next call in {seconds} seconds].",
        TRIED_AGAIN,
    ),
    ReasonCode.SERVER_ERROR: ReasonText(
        "{destination} failed to process {request}[ (HTTP {status})][: {response}].", TRIED_AGAIN
    ),
    ReasonCode.RESPONSE_UNREADABLE: ReasonText(
        "{destination} returned a response to {request} that the relay cannot read[ (HTTP {status})][: {problem}].",
        REPEATED_SAFELY + " If this persists, check for a maintenance page, a proxy, a cache or a plugin that changes "
        "the responses of {destination}.",
    ),
    ReasonCode.RESPONSE_TOO_LARGE: ReasonText(
        "{destination} returned a response of more than {limit} bytes[ (HTTP {status})].", REPEATED_SAFELY
    ),
    ReasonCode.RESPONSE_MALFORMED: ReasonText(
        "{destination} returned a response to {request} that breaks the rules of HTTP[: {problem}].",
        REPEATED_SAFELY + " If this persists, correct the server, or the proxy in front of {destination}.",
    ),
    ReasonCode.FAILURE_REPORTED: ReasonText(
        "{destination} answered {request} with a success[ (HTTP {status})], but its response reports a failure[: {response}].",
        "After a creation, the relay first asks {destination} whether it arrived. Otherwise correct the cause, then retry the"
        " job. If such a response is a success, change response.failureFlag or response.failureText in PLATFORM__FIELDS.",
    ),
    ReasonCode.REJECTED_BY_DESTINATION: ReasonText(
        "{destination} rejected {request}[ (HTTP {status})][: {response}].[ {cleanup}.]",
        "Correct the cause. " + _RETRY,
    ),
    ReasonCode.REFUSAL_UNDECIDED: ReasonText(
        "{destination} refused this call without naming a cause[ (HTTP {status})][: {response}]. It is not known yet whether"
        " this concerns only this entity.",
        "The job waits and uses up no attempt. It continues automatically when calls for other entities show which it is. If"
        " nothing has been delivered yet, run relay check: the key or the address may be wrong.",
    ),
    ReasonCode.ENTITY_REFUSED: ReasonText(
        "{destination} refuses the calls for this entity[ (HTTP {status})][: {response}], and accepts those for others.",
        "The relay tries again automatically. If it continues, look for what is special about this entity: a firewall in front"
        " of {destination} can refuse single requests.",
    ),
    ReasonCode.DESTINATION_UNAVAILABLE: ReasonText(
        "{destination} is temporarily unavailable[ (HTTP {status})][: {response}].", TRIED_AGAIN
    ),
    ReasonCode.RESPONSES_CONTRADICT: ReasonText(
        "{destination} returned contradictory responses about the {entity}[ {id}][ (HTTP {status})][: {response}].",
        TRIED_AGAIN,
    ),
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
        "A stored body is not encrypted, although it is younger than the first encrypted one[ ({message})]: a process ran"
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
        _PAUSED + "Correct the configuration of the store.",
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
        "Grant it. The user must own the schema DATABASE_SCHEMA, or may create it.",
    ),
    ReasonCode.DATABASE_TLS_FAILED: ReasonText(
        "The relay's database[ at {address}] could not be reached with TLS[: {error}].",
        "Correct sslmode and sslrootcert in DATABASE_URL, or the certificate of PostgreSQL.",
    ),
    ReasonCode.WORK_FAILING: ReasonText(
        "The database does not let the relay work[: a process cannot {action}][ for {destination}]"
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
        "This release has no handler for jobs of the kind {kind}.", "Run the release that stored the job. " + _RETRY
    ),
    ReasonCode.STORED_EVENT_UNREADABLE: ReasonText(
        "The stored event cannot be read[: {problem}].", "Send the event again from the store, or run relay backfill."
    ),
    ReasonCode.EVENT_TOO_LARGE: ReasonText(
        "The event is too large to be forwarded: its {field} has {count} elements; at most {maximum} are allowed.",
        "Shorten it in the store, which sends it again, or edit the event and retry the job, or drop the job.",
    ),
    # ------------------------------------------------------------------ customers, orders, products
    ReasonCode.WAITING_FOR_CUSTOMER: ReasonText(
        "The Platform does not have the order's customer yet.",
        "The order is sent as soon as the customer is delivered.",
    ),
    ReasonCode.CUSTOMER_STILL_UNKNOWN: ReasonText(
        "The customer was delivered, but the Platform does not have it yet[: {response}].", TRIED_AGAIN
    ),
    ReasonCode.CUSTOMER_REJECTED: ReasonText(
        "The Platform does not have the order's customer, and rejected it[: {cause}].",
        "Correct the customer in the store and send it again. " + _RETRY,
    ),
    ReasonCode.NO_CUSTOMER: ReasonText(
        "The {entity} names neither a customer nor an e-mail address[, which {setting} requires][: {response}].",
        "Send it again with a customer or an e-mail address.",
    ),
    ReasonCode.ENTITY_NOT_FOUND: ReasonText(
        "{destination} has no such {entity}[: {response}].", "Check the id. " + _RETRY
    ),
    ReasonCode.SHADOW: ReasonText(
        "This was received in the trial, so nothing was sent.[ A live relay would have made the call: {call}.][ A live relay would"
        " not have sent it either: {cause}.]",
        "No action needed. `relay shadow report` compares it with the Platform and the store.",
    ),
    ReasonCode.TRIAL_RUNS: ReasonText(
        "The relay is in its trial (MODE=shadow), in which it changes nothing at {destination}. The call was not made.",
        "To end the trial, remove MODE from all processes, restart them, and run `relay shadow go-live`.",
    ),
    ReasonCode.NO_BUYER: ReasonText(
        "The order names no customer and no e-mail address that identifies one, so it earns points for no customer.",
        NO_ACTION,
    ),
    ReasonCode.ENTITY_UNREADABLE: ReasonText(
        "The {entity}[ {id}] from {destination} cannot be read[: {problem}].",
        "Correct the {entity} in the store. The store then sends it again, and this job can be dropped.",
    ),
    ReasonCode.FIELDS_LEFT_OUT: ReasonText(
        "Fields that cannot be read were left out[: {fields}].[ Texts that are too long were cut: {cut}.]", NO_ACTION
    ),
    ReasonCode.GONE_FROM_STORE: ReasonText("The store no longer has this {entity}.", NO_ACTION),
    ReasonCode.NOT_APPLICABLE: ReasonText("There was nothing to send[: {explanation}].", NO_ACTION),
    ReasonCode.SIGNATURE_WRONG: ReasonText(
        "The signature of the webhook does not match its body[ and {setting}][: {problem}].",
        "No action needed if the store did not send it.[ Otherwise set {setting} to the store's signing secret.]",
    ),
    # ------------------------------------------------------------------ redemptions: value and verification
    ReasonCode.NO_COUPON_CODE: ReasonText(
        "The webhook contains no usable coupon code.", "Check at the Platform what was redeemed, then drop the job."
    ),
    ReasonCode.NO_VALUE: ReasonText(
        "No value is known for [rule {rule}][{what}].",
        "Add a reward rule (console, relay rules put), or set the value of this coupon. It then continues automatically.",
    ),
    ReasonCode.VALUE_ZERO: ReasonText(
        "The coupon's value would be zero[: {value}][ ({source})].",
        "Correct the rule's value. The coupon is then created automatically.",
    ),
    ReasonCode.VALUE_ABOVE_LIMIT: ReasonText(
        "The value {value} is above the limit of {limit}[ ({source})].",
        "Raise COUPONS__MAX_VALUE, add a reward rule, or decide the coupon's value.",
    ),
    ReasonCode.VALUE_UNCERTAIN: ReasonText(
        "The coupon's value is not certain[: {explanation}].[ {cause}.]",
        "Add a reward rule, or decide the coupon's value.[ Or name the members that hold the ids in PLATFORM__FIELDS:"
        " {members}.]",
    ),
    ReasonCode.LAUNCHER_UNAVAILABLE: ReasonText("The Platform's Launcher could not be read[: {problem}].", TRIED_AGAIN),
    ReasonCode.NOT_GENUINE: ReasonText(
        "The redemption could not be verified[: {explanation}][: {differences}][ according to {source}]."
        "[ The relay checked at the Platform for {seconds} seconds.]",
        "No coupon is created. If the Platform shows that the customer redeemed the points, approve the coupon.",
    ),
    ReasonCode.REWARD_LIST_INCOMPLETE: ReasonText(
        "The Platform's list of the customer's rewards could not be read to its end[: {problem}]. The code is not in the"
        " part that was read[ (pages: {pages})].",
        "Look at the Platform whether the customer redeemed the points, then approve or retire the coupon."
        "[ Or correct {setting}, and retry the job.]",
    ),
    ReasonCode.CONFIRMATION_PENDING: ReasonText(
        "The redemption is not verified yet[: {explanation}].", "The relay checks again at the Platform automatically."
    ),
    ReasonCode.CONFIRMATION_UNAVAILABLE: ReasonText(
        "The redemption could not be confirmed at the Platform[: {problem}].", TRIED_AGAIN
    ),
    ReasonCode.SOURCE_NOT_ALLOWED: ReasonText(
        "The webhook did not come from one of PLATFORM__ALLOWED_NETWORKS.",
        "No coupon is created. If the redemption is genuine, correct the setting and approve the coupon.",
    ),
    ReasonCode.ISSUANCE_LIMIT_REACHED: ReasonText(
        "An issuance limit was reached[: {explanation}][: with this coupon it would be {total} {measure} for {scope}"
        " within {hours} hours, and {limit} is allowed ({setting})].",
        "Check the issued coupons, then release the limit. Held coupons continue automatically.",
    ),
    ReasonCode.CODE_OF_ANOTHER_REDEMPTION: ReasonText(
        "The code {code} belongs to another redemption[ ({redemption})][ of {owner}].",
        "No coupon is created for this redemption.",
    ),
    ReasonCode.SAME_REDEMPTION: ReasonText("Message {message} already handles the same redemption.", NO_ACTION),
    ReasonCode.SIMILAR_CODE: ReasonText(
        "The code {code} differs from the issued code {other} only in upper and lower case.",
        "Some stores treat both as the same code. Find out which redemption is genuine, retire the other coupon, and approve"
        " the genuine one.",
    ),
    ReasonCode.OPERATOR_DECIDED: ReasonText(
        "It was decided[ by {by}] not to issue the coupon[: {comment}].", NO_ACTION
    ),
    # ------------------------------------------------------------------ coupons in the store
    ReasonCode.COUPON_INVALID: ReasonText(
        "Coupon {code} was not created: {problem}.", "Correct the reward or its rule. " + _RETRY
    ),
    ReasonCode.NOT_SUPPORTED_BY_STORE: ReasonText(
        "Coupon {code} was not created, because {destination} cannot express [{field}][: {problem}].",
        "Change the reward at the Platform, or add a reward rule. " + _RETRY,
    ),
    ReasonCode.CURRENCY_MISMATCH: ReasonText(
        "Coupon {code} is in {ordered}, but {destination} sells in {currency}.",
        "Correct the currency of the reward rule or of the store. " + _RETRY,
    ),
    ReasonCode.CODE_TAKEN: ReasonText(
        "{destination} already has another coupon with the code {code}[: {differences}][: {problem}].[ {cleanup}.]",
        "No second coupon is created. Remove or rename the other coupon in the store. " + _RETRY,
    ),
    ReasonCode.COUPON_DIFFERS: ReasonText(
        "The coupon {code} in the store differs from the requested one: {differences}.[ {cleanup}.]"
        "[ Removing it failed: {failure}.]",
        "It does not count as issued. Find out what changes coupons in the store. " + _RETRY,
    ),
    ReasonCode.COUPON_NOT_VISIBLE: ReasonText(
        "{destination} reports that coupon {code} exists, but does not return it yet.", TRIED_AGAIN
    ),
    ReasonCode.COUPON_STATE_CHANGED: ReasonText("The coupon's state changed during the attempt.", TRIED_AGAIN),
    ReasonCode.COUPON_ALREADY_FINAL: ReasonText("The coupon is already {state}.", NO_ACTION),
    ReasonCode.COUPON_USED: ReasonText("The coupon was used[ in order {order}].", NO_ACTION),
    ReasonCode.COUPON_RETIRED: ReasonText("The coupon was retired[ by {by}][: {comment}].[ {remark}.]", NO_ACTION),
    ReasonCode.RETIRED_TOO_LATE: ReasonText(
        "The coupon was used before it was retired.", "Decide whether the customer keeps the discount."
    ),
    ReasonCode.COUPON_NOT_ISSUED: ReasonText("The coupon was never created in the store.", NO_ACTION),
    ReasonCode.COUPON_NOT_OURS: ReasonText(
        "The store's coupon[ {store_id}] with this code was not created by the relay, so it was left unchanged.",
        "Remove it in the store if it must not be usable.",
    ),
    ReasonCode.COUPON_CLEANED_UP: ReasonText("An incomplete earlier coupon {code} was removed.", TRIED_AGAIN),
    ReasonCode.COUPON_STILL_ACTIVE: ReasonText(
        "{destination} still has the coupon {code} after it was deleted[ {deletions} times].", TRIED_AGAIN
    ),
    ReasonCode.REWARD_ALREADY_USED: ReasonText("The Platform has already recorded the use of the reward.", NO_ACTION),
    ReasonCode.POINTS_NOT_RETURNABLE: ReasonText("There is no retired coupon whose points can be returned.", NO_ACTION),
    ReasonCode.POINTS_IN_DOUBT: ReasonText(
        "It is not known whether the points[ ({points})] of a coupon[, {code},] were returned[: {problem}].",
        "Check the customer's points at the Platform, then decide in the console.",
    ),
    ReasonCode.POINTS_RETURNED: ReasonText(
        "{points} points were returned[, as {by} confirmed][: {comment}].", NO_ACTION
    ),
    # ------------------------------------------------------------------ alerts
    ReasonCode.DESTINATION_CLOSED: ReasonText(
        "Calls to {destination} have not been possible for some minutes[: the destination is {state}].",
        "Open the console. Its page Now shows the cause.",
    ),
    ReasonCode.JOBS_DEAD: ReasonText(
        "Jobs for {destination} are dead-lettered[: {count}].",
        "Open the console's page Dead and held. Jobs with the same cause can be retried together.",
    ),
    ReasonCode.WORK_WAITING: ReasonText(
        "The oldest job for {destination} has been waiting for too long[: {minutes} minutes].",
        "Check that a worker is running, then look at the console's page Now.",
    ),
    ReasonCode.COUPON_OVERDUE: ReasonText(
        "A redemption has not become a usable coupon in time[: {explanation}][: it has been {state} for {seconds} seconds]"
        "[: its job {job} is {job_state}].[ {cause}.]",
        "Open the console's page Coupons. It shows the reason of each coupon.",
    ),
    ReasonCode.REDEMPTIONS_REFUSED: ReasonText(
        "Many redemptions were refused as not genuine[: {count} within {minutes} minutes].",
        "Open the console's page Coupons with the state refused. If they are forged, change PLATFORM__WEBHOOK_SECRET. If"
        " the Platform shows that customers redeemed them, approve them.",
    ),
    ReasonCode.COUPON_OVERUSED: ReasonText(
        "A coupon[, {code},] was used in more orders than allowed[ ({orders} orders, limit {limit})]."
        "[ The coupon is {state}.][ Orders: {order_ids}.]",
        "Check the coupon in the store, and retire it if it is shared. Then dismiss the alert.",
    ),
    ReasonCode.COUPON_DRIFT: ReasonText(
        "A coupon[, {code},] in the store was changed after it was created[: {differences}].",
        "Find out who changed it in the store. Correct it there, or retire it.",
    ),
    ReasonCode.RECONCILIATION_DIFFERENCES: ReasonText(
        "A reconciliation found differences between the store, the relay and the Platform[: {counts}].",
        "Read the newest reconciliation (GET /v1/reconciliations), then repair it.",
    ),
    ReasonCode.RECONCILIATION_FAILED: ReasonText(
        "A reconciliation could not be completed[: {problem}].", "Run relay check, then reconcile again."
    ),
    ReasonCode.RECONCILIATION_INCOMPLETE: ReasonText(
        "A reconciliation could not compare everything, so it does not show that nothing is missing[: {failures}].",
        "Run relay check. When it succeeds, reconcile again: a complete reconciliation resolves this alert.",
    ),
    ReasonCode.LIST_INCOMPLETE: ReasonText(
        "The list of {kind} is not complete[: the store counts {count}, and the list contained {listed}]"
        "[; {unreadable} of them could not be read][: {problem}].",
        "Reconcile again. If it happens again, read docs/reconcile.md#figures.",
    ),
    ReasonCode.HISTORY_NOT_EXPORTED: ReasonText(
        "Old messages stay in the database, because they cannot be exported (HISTORY_EXPORT)[ to {folder}][: {error}].",
        "Make the folder writable for the relay, with enough space, on every worker. The relay tries again every hour. This alert"
        " is resolved when it succeeds.",
    ),
    ReasonCode.BACKGROUND_READ_FAILING: ReasonText(
        "The relay cannot read from the store in the background[: {read} fails].[ {cause}.]",
        "Run relay check and correct the cause. The relay tries again at growing intervals, at most five minutes apart. This alert"
        " is resolved when a read succeeds.",
    ),
    ReasonCode.STORE_WEBHOOKS_OFF: ReasonText(
        "The store has switched off webhooks to the relay[: {topics}].[ They are on again. The changes of the last {days} days"
        " are read from the store's lists.][ They could not be switched on: {failures}.]",
        "Check that the store can reach the relay at PUBLIC_URL. If webhooks stay off, run relay webhooks install, then"
        " relay backfill for what was missed.",
    ),
    ReasonCode.STORE_WEBHOOKS_REFUSED: ReasonText(
        "The store sends an error in its webhooks instead of the {entity}[: {response}]. The WordPress user who owns the"
        "[ webhook {webhook} and the other] webhooks was deleted, or may no longer read the store's data.",
        "Run relay webhooks install --remove, then relay webhooks install: the user of the relay's API key then owns the"
        " webhooks. Then run relay backfill for what was missed.",
    ),
    ReasonCode.STORE_WEBHOOKS_UNREADABLE: ReasonText(
        "The store sends webhooks that cannot be read[: {problem}].",
        "Check whether a plugin or a proxy changes the bodies of the store's webhooks. Then run relay backfill for what was"
        " missed.",
    ),
    ReasonCode.WEBHOOKS_NOT_ACCEPTED: ReasonText(
        "The relay refused a webhook[ of {source}][ with {size} bytes], and its sender does not show that[: {problem}].",
        "No action needed if the store or the Platform did not send it. Otherwise correct the cause: set the signing secret that"
        " the sender uses, or raise EVENT_LIMIT. Then run relay backfill for what was missed.",
    ),
    ReasonCode.FUTURE_VERSION: ReasonText(
        "The store reported a time of change that is more than a day in the future[ ({entity}, {version})]. The relay accepted"
        " the event without this time.",
        "Correct the clock of the store. Until then, its events are sent in the order in which they arrive.",
    ),
    ReasonCode.PLATFORM_FIELD_DIFFERS: ReasonText(
        "The Platform does not keep a field of customers as the relay sends it[: its responses do not contain {ignored}]"
        "[: its responses contain another value of {changed}].",
        "Run relay platform verify. If the Platform uses another name, set the entry[ {entry}] of PLATFORM__FIELDS; - leaves the"
        " field out.",
    ),
    ReasonCode.PLATFORM_RESPONSE_CHANGED: ReasonText(
        "The Platform's response to a customer has a new shape[: {problem}].",
        "Run relay platform verify. If the customer moved inside of the response, set the entry response.customer of"
        " PLATFORM__FIELDS.",
    ),
    ReasonCode.UNSPECIFIED: ReasonText("[{text}]", NO_ACTION),
}

_PART: Final = re.compile(r"\[([^\[\]]*)\]")
_FACT: Final = re.compile(r"\{(\w+)\}")


def render(template: str, facts: Mapping[str, JsonValue]) -> str:
    """The template with its facts, beginning with a capital letter. Never raises."""

    def part(match: re.Match[str]) -> str:
        names = _FACT.findall(match[1])
        return _filled(match[1], facts) if all(name in facts for name in names) else ""

    # Parts are filled before the rest, so that brackets and braces in a fact are never read as a template.
    pieces = []
    end = 0
    for match in _PART.finditer(template):
        pieces += [_filled(template[end : match.start()], facts), part(match)]
        end = match.end()
    text = visible("".join([*pieces, _filled(template[end:], facts)])).strip()
    return text[:1].upper() + text[1:]


def _filled(template: str, facts: Mapping[str, JsonValue]) -> str:
    return _FACT.sub(
        lambda match: shown(facts[match[1]]) if match[1] in facts else DEFAULTS.get(match[1], ""), template
    )


def remedy(reason: Reason) -> str:
    """The next step without the sentence about paused calls: for a check, which an operator starts and repeats."""
    return render(TEXTS[reason.code].next_step.removeprefix(_PAUSED), reason.facts)


def shown(fact: JsonValue) -> str:
    """A fact as text: lists are joined, a difference reads `value is 0.00 (expected 5.00)`, a reason reads as its text."""
    match fact:
        case list():
            return "; ".join(shown(item) for item in fact)
        case {"field": field, "actual": actual, "expected": expected}:
            return f"{field} is {_value(actual)} (expected {_value(expected)})"
        case {"code": str(code), "facts": dict(facts)} if code in TEXTS:
            return Reason(ReasonCode(code), facts).text.rstrip(".")
        case dict():
            return ", ".join(f"{name}: {shown(value)}" for name, value in fact.items())
        case None:
            return ""
        case _:
            return visible(str(fact)).rstrip(".")


def _value(value: JsonValue) -> str:
    return "not set" if value in (None, "", []) else shown(value)
