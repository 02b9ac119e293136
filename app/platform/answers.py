"""What the Platform's answer means. Pure, and the only place that knows.

Its errors are JSON with a text `message`. A success without a JSON object behind it (an HTML page of a proxy, an
empty or a cut body) proves nothing: Unknown.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Final

from app.http import Answer, Failure, failure_of, retry_after
from app.outcomes import Blocked, Evidence, Reject, Retry, Unknown
from app.platform import exact
from app.platform.exact import ExactJson
from app.platform.fields import ASSUMED, Fields


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


@dataclass(frozen=True, slots=True)
class Refused:
    """The Platform understood and said no."""

    meaning: Meaning
    text: str
    evidence: Evidence

    def reject(self) -> Reject:
        return Reject(f"the Platform says: {self.text}", self.evidence)


Verdict = Accepted | Refused | Failure

_TEXTS: Final = {
    "text.customerNotFound": Meaning.CUSTOMER_NOT_FOUND,
    "text.orderNotFound": Meaning.ORDER_NOT_FOUND,
    "text.alreadyExists": Meaning.ALREADY_EXISTS,
}
_ENTITY_NOT_FOUND: Final = re.compile(r"\w\W+not found", re.IGNORECASE)


def understand(answer: Answer, fields: Fields = ASSUMED, *, plain_path: bool = True) -> Verdict:
    """A complete answer as a verdict.

    A 404 that names nothing ("Not Found", an HTML page) speaks of the address, not of an entity: Blocked. With an id
    in the path that had to be escaped (`plain_path` false) it may be that id alone, which must not stop the others:
    Retry.
    """
    if 200 <= answer.status < 300:
        return _success(answer)
    if about_channel := _about_channel(answer, fields):
        return about_channel
    text = refusal_text(answer)
    if meaning := _meaning(answer.status, text, fields):
        return Refused(meaning, text or f"HTTP {answer.status}", answer.evidence())
    return _failure(answer, text, plain_path)


def _about_channel(answer: Answer, fields: Fields) -> Blocked | Retry | None:
    status, evidence = answer.status, answer.evidence()
    if fields.is_status("status.keyRefused", status):
        return Blocked(f"HTTP {status}: the Platform refuses our key; set the right one in PLATFORM__API_KEY", evidence)
    if fields.is_status("status.throttled", status):
        return Retry(f"HTTP {status}: throttled", retry_after(answer.headers, datetime.now(UTC)), evidence)
    return None


def _meaning(status: int, text: str, fields: Fields) -> Meaning | None:
    if fields.is_status("status.alreadyExists", status):
        return Meaning.ALREADY_EXISTS
    if not 400 <= status < 500 or status in (408, 425, 429):
        return None
    for key, meaning in _TEXTS.items():
        if fields.is_said(key, text):
            return meaning
    return Meaning.NOT_FOUND if status == 404 and _ENTITY_NOT_FOUND.search(text) else None


def _failure(answer: Answer, text: str, plain_path: bool) -> Failure:
    if answer.status == 404:
        why = "HTTP 404 that names nothing the Platform knows; is PLATFORM__URL right?"
        return Blocked(why, answer.evidence()) if plain_path else Retry(why, evidence=answer.evidence())
    failure = failure_of(answer)
    if isinstance(failure, Reject) and text:
        return Reject(f"the Platform says: {text} (HTTP {answer.status})", answer.evidence())
    return failure or Unknown(f"HTTP {answer.status}", answer.evidence())


def refusal_text(answer: Answer) -> str:
    """The `message` (the Launcher's: `error`) of a refusal, at most 300 characters; empty when there is none."""
    try:
        body = exact.loads(answer.body)
    except ValueError:
        return ""
    said = exact.member(body, "message") or exact.member(body, "error")
    return answer.without_secrets(said)[:300] if isinstance(said, str) else ""


def _success(answer: Answer) -> Accepted | Unknown:
    if answer.status == 204:
        return Accepted({}, answer.evidence())
    try:
        body = exact.loads(answer.body)
    except ValueError:
        what = "an empty body" if not answer.body.strip() else "a body that is not JSON"
        return Unknown(f"HTTP {answer.status} with {what}", answer.evidence())
    if not isinstance(body, dict):
        return Unknown(f"HTTP {answer.status} with JSON that is not an object", answer.evidence())
    return Accepted(body, answer.evidence())
