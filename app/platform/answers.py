"""What the Platform's responses mean. Pure, and the only place that knows.

Its errors are JSON with a text `message`. A success without a JSON object behind it (an HTML page of a proxy, an
empty or a cut body) proves nothing: Unknown.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from pydantic import JsonValue

from platform_relay.core.http import Answer, Failure, failure_of, throttled
from platform_relay.core.outcomes import Blocked, Evidence, Reject, Retry, Unknown
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.platform import exact
from platform_relay.platform.exact import ExactJson
from platform_relay.platform.fields import ASSUMED, Fields

THE_PLATFORM: Final = "the Platform"
THE_LAUNCHER: Final = "the Platform's Launcher"
"""The destinations in the facts of reasons."""


class Meaning(Enum):
    """What a refusal is about, where somebody can act on it."""

    CUSTOMER_NOT_FOUND = auto()
    ORDER_NOT_FOUND = auto()
    NOT_FOUND = auto()
    ALREADY_EXISTS = auto()


@dataclass(frozen=True, slots=True)
class Accepted:
    """2xx with a JSON object."""

    body: Mapping[str, ExactJson]
    evidence: Evidence
    destination: str = THE_PLATFORM

    def without(self, missing: str, request: str) -> Unknown:
        """The outcome of a response that lacks what was asked for."""
        facts: dict[str, JsonValue] = {"destination": self.destination, "status": self.evidence.status}
        problem = f"it has no {missing}"
        return Unknown(
            because(ReasonCode.RESPONSE_UNREADABLE, **facts, request=request, problem=problem), self.evidence
        )


@dataclass(frozen=True, slots=True)
class Refused:
    """The Platform read the request and refused it."""

    meaning: Meaning
    reason: Reason
    evidence: Evidence

    def reject(self) -> Reject:
        return Reject(self.reason, self.evidence)

    def contradicts(self, entity: str, identifier: str) -> Reason:
        """The reason when the Platform's responses about one entity cannot all be true."""
        return because(ReasonCode.RESPONSES_CONTRADICT, **self.reason.facts, entity=entity, id=identifier)


Verdict = Accepted | Refused | Failure

_TEXTS: Final = {
    "text.customerNotFound": Meaning.CUSTOMER_NOT_FOUND,
    "text.orderNotFound": Meaning.ORDER_NOT_FOUND,
    "text.alreadyExists": Meaning.ALREADY_EXISTS,
}
_ENTITY_NOT_FOUND: Final = re.compile(r"\w\W+not found", re.IGNORECASE)
"""The Platform's own `message` of a 404 (developer.influence.io): its errors have no codes, only these texts."""


def understand(
    answer: Answer, fields: Fields = ASSUMED, *, request: str | None = None, plain_path: bool = True
) -> Verdict:
    """A complete answer as a verdict. `request` is a noun phrase for the facts ("the customer's update").

    A 404 that names nothing ("Not Found", an HTML page) is about the address, not about an entity: Blocked. With an id
    in the path that had to be escaped (`plain_path` false) that id alone may be the cause, which must not stop the
    others: Retry.
    """
    if 200 <= answer.status < 300:
        return _success(answer, request)
    text = refusal_text(answer)
    response = answer.quote(text)
    if fields.is_status("status.keyRefused", answer.status):
        reason = answer.reason(ReasonCode.KEY_REJECTED, setting="PLATFORM__API_KEY", response=response)
        return Blocked(reason, answer.evidence())
    if fields.is_status("status.throttled", answer.status):
        return throttled(answer)
    if meaning := _meaning(answer.status, text, fields):
        reason = answer.reason(ReasonCode.REJECTED_BY_DESTINATION, request=request, response=response)
        return Refused(meaning, reason, answer.evidence())
    if answer.status == 404:
        return _unknown_address(answer, response, plain_path)
    failure = failure_of(answer, request=request) or answer.unreadable("a status without a meaning", request)
    return replace(failure, reason=failure.reason.also(response=response))


def _unknown_address(answer: Answer, response: str, plain_path: bool) -> Blocked | Retry:
    if plain_path:
        reason = answer.reason(ReasonCode.WRONG_ADDRESS, setting="PLATFORM__URL", response=response)
        return Blocked(reason, answer.evidence())
    return Retry(answer.reason(ReasonCode.ENTITY_NOT_FOUND, response=response), evidence=answer.evidence())


def _meaning(status: int, text: str, fields: Fields) -> Meaning | None:
    if fields.is_status("status.alreadyExists", status):
        return Meaning.ALREADY_EXISTS
    if not 400 <= status < 500 or status in (408, 425, 429):
        return None
    for key, meaning in _TEXTS.items():
        if fields.is_said(key, text):
            return meaning
    return Meaning.NOT_FOUND if status == 404 and _ENTITY_NOT_FOUND.search(text) else None


def refusal_text(answer: Answer) -> str:
    """The `message` (the Launcher's: `error`) of a refusal, at most 300 characters; empty when there is none."""
    try:
        body = exact.loads(answer.body)
    except ValueError:
        return ""
    message = exact.member(body, "message") or exact.member(body, "error")
    return answer.without_secrets(message)[:300] if isinstance(message, str) else ""


def _success(answer: Answer, request: str | None) -> Accepted | Unknown:
    if answer.status == 204:
        return Accepted({}, answer.evidence(), answer.destination)
    try:
        body = exact.loads(answer.body)
    except ValueError:
        return answer.unreadable("an empty body" if not answer.body.strip() else "a body that is not JSON", request)
    if not isinstance(body, dict):
        return answer.unreadable("JSON that is not an object", request)
    return Accepted(body, answer.evidence(), answer.destination)
