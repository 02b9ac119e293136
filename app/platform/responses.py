"""The meaning of the Platform's responses. Pure.

Errors are JSON with a text `message`. A success without a JSON object (an HTML page of a proxy, an empty or truncated body)
proves nothing, so it is Unknown.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactJson
from platform_relay.core.http import Failure, HttpResponse, failure_of, firewall_refusal, rate_limited
from platform_relay.core.outcomes import Blocked, Evidence, Reject, Retry, Unknown
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.platform.fields import ASSUMED, Fields

THE_PLATFORM: Final = "the Platform"
THE_LAUNCHER: Final = "the Platform's Launcher"
"""The destinations in the facts of reasons."""


class RejectionKind(Enum):
    """The rejections that handlers act on."""

    CUSTOMER_NOT_FOUND = auto()
    ORDER_NOT_FOUND = auto()
    NOT_FOUND = auto()
    ALREADY_EXISTS = auto()


@dataclass(frozen=True, slots=True)
class Accepted:
    """2xx with a JSON object. `answer` is the response."""

    body: Mapping[str, ExactJson]
    answer: HttpResponse

    @property
    def evidence(self) -> Evidence:
        """That of a success: no more than its status, because an attempt's record keeps only failed responses."""
        return Evidence(self.answer.status)

    def lacks(self, member: str, request: str) -> Unknown:
        """The failure of a response that lacks the requested member."""
        return self.unusable(f"it has no {member}", request)

    def unusable(self, problem: str, request: str) -> Unknown:
        """The failure of a response with a content that cannot be used. `problem` is a clause about the response."""
        return self.answer.unreadable(problem, request)


@dataclass(frozen=True, slots=True)
class Rejected:
    """The Platform read the request and rejected it."""

    kind: RejectionKind
    reason: Reason
    evidence: Evidence

    def reject(self) -> Reject:
        return Reject(self.reason, self.evidence)

    def contradicts(self, entity: str, identifier: str) -> Reason:
        """The reason when the Platform's responses about one entity contradict each other."""
        return because(ReasonCode.RESPONSES_CONTRADICT, **self.reason.facts, entity=entity, id=identifier)


PlatformResponse = Accepted | Rejected | Failure

_TEXTS: Final = {
    "text.customerNotFound": RejectionKind.CUSTOMER_NOT_FOUND,
    "text.orderNotFound": RejectionKind.ORDER_NOT_FOUND,
    "text.alreadyExists": RejectionKind.ALREADY_EXISTS,
}
_ENTITY_NOT_FOUND: Final = re.compile(r"\w\W+not found", re.IGNORECASE)
"""The Platform's `message` of a 404 (developer.influence.io). Its errors have no codes, only these texts."""


def read_response(
    answer: HttpResponse,
    fields: Fields = ASSUMED,
    *,
    request: str | None = None,
    plain_path: bool = True,
    idempotent: bool = False,
) -> PlatformResponse:
    """The meaning of a complete HTTP response. `request` is a noun phrase for the facts ("the customer's update").
    `idempotent`: the request can be repeated without a second effect, so a failure that a 2xx reports is certain.

    A 404 that names nothing ("Not Found", an HTML page) is about the address or, like a 403, about this entity alone: a
    Blocked that is not certain. Where the path contains an id that had to be escaped (`plain_path` False), that id is the
    likely cause: Retry.
    """
    if 200 <= answer.status < 300:
        return _success(answer, fields, request, idempotent=idempotent)
    text = error_message(answer)
    response = answer.quote(text)
    if fields.has_status("status.keyRefused", answer.status):
        reason = answer.reason(ReasonCode.KEY_REJECTED, setting="PLATFORM__API_KEY", response=response)
        return firewall_refusal(answer) or Blocked(reason, answer.evidence(), certain=answer.status != 403)
    if fields.has_status("status.throttled", answer.status):
        return rate_limited(answer)
    if kind := _rejection_kind(answer.status, text, fields):
        reason = answer.reason(ReasonCode.REJECTED_BY_DESTINATION, request=request, response=response)
        return Rejected(kind, reason, answer.evidence())
    if answer.status == 404:
        return _unknown_address(answer, response, plain_path)
    failure = failure_of(answer, request=request) or answer.unreadable("a status without a meaning", request)
    return replace(failure, reason=failure.reason.also(response=response))


def _unknown_address(answer: HttpResponse, response: str, plain_path: bool) -> Blocked | Retry:
    if plain_path:
        reason = answer.reason(ReasonCode.WRONG_ADDRESS, setting="PLATFORM__URL", response=response)
        return Blocked(reason, answer.evidence(), certain=False)
    return Retry(answer.reason(ReasonCode.ENTITY_NOT_FOUND, response=response), evidence=answer.evidence())


def _rejection_kind(status: int, text: str, fields: Fields) -> RejectionKind | None:
    if fields.has_status("status.alreadyExists", status):
        return RejectionKind.ALREADY_EXISTS
    if not 400 <= status < 500 or status in (408, 425, 429):
        return None
    for key, kind in _TEXTS.items():
        if fields.has_text(key, text):
            return kind
    return RejectionKind.NOT_FOUND if status == 404 and _ENTITY_NOT_FOUND.search(text) else None


def error_message(answer: HttpResponse) -> str:
    """The `message` (the Launcher's: `error`) of an error response, at most 300 characters; empty when there is none."""
    try:
        body = answer.parsed()
        message = exact_json.member(body, "message") or exact_json.member(body, "error")
        if message is None and isinstance(errors := exact_json.member(body, "errors"), list | dict | str) and errors:
            message = errors if isinstance(errors, str) else exact_json.dumps(errors).decode()
    except ValueError:  # not JSON, or nested too deeply
        return ""
    return answer.without_secrets(message)[:300] if isinstance(message, str) else ""


def _success(
    answer: HttpResponse, fields: Fields, request: str | None, *, idempotent: bool
) -> Accepted | Rejected | Reject | Unknown:
    if answer.status == 204 or (fields.accepts_empty_success and not answer.body.strip()):
        return Accepted({}, answer)
    try:
        body = answer.parsed()
    except ValueError as error:
        return answer.unreadable(str(error), request)
    if not isinstance(body, dict):
        return answer.unreadable("JSON that is not an object", request)
    if reports_failure(body, fields):
        return _reported_failure(answer, fields, request, idempotent=idempotent)
    return Accepted(body, answer)


def reports_failure(body: Mapping[str, ExactJson], fields: Fields) -> bool:
    """Whether a 2xx contains a failure, by the table: `{"success": false}`, or an `error` that is not empty."""
    return any(body.get(name) is False for name in fields.members("response.failureFlag")) or any(
        body.get(name) for name in fields.members("response.failureText")
    )


def _reported_failure(
    answer: HttpResponse, fields: Fields, request: str | None, *, idempotent: bool
) -> Rejected | Reject | Unknown:
    text = error_message(answer)
    reason = answer.reason(ReasonCode.FAILURE_REPORTED, request=request, response=answer.quote(text))
    if not idempotent:
        return Unknown(reason, answer.evidence())
    kind = next((kind for key, kind in _TEXTS.items() if fields.has_text(key, text)), None)
    return Rejected(kind, reason, answer.evidence()) if kind else Reject(reason, answer.evidence())
