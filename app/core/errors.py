"""The errors of the API: problem documents (RFC 9457) with stable ids.

    Problem
    ├── Unauthenticated          401
    │   ├── KeyMissing           key-missing
    │   └── KeyRefused           key-refused
    ├── SignatureRefused         401  signature-refused
    ├── ScopeMissing             403  scope-missing
    ├── NotFound                 404  not-found
    ├── MethodNotAllowed         405  method-not-allowed
    ├── BodyTooSlow              408  body-too-slow
    ├── Conflict                 409
    │   ├── IdempotencyConflict  idempotency-conflict
    │   └── WrongState           wrong-state
    ├── BodyTooLarge             413  body-too-large
    ├── EncodingRefused          415  encoding-refused
    ├── TooManyWrongKeys         429  too-many-wrong-keys
    ├── HeadersTooLarge          431  headers-too-large
    ├── Invalid                  422
    │   ├── NotJson              not-json
    │   ├── FieldsInvalid        fields-invalid
    │   ├── HeaderInvalid        header-invalid
    │   ├── QueryInvalid         query-invalid
    │   ├── TooManyLines         too-many-lines
    │   └── ImportUndecided      import-undecided
    ├── InternalError            500  internal-error
    ├── TooManyConnections       503  too-many-connections
    └── DatabaseAway             503  database-away

The meaning of an id never changes. docs/errors.md explains each id; a test compares it with this file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final, NotRequired, TypedDict

URN: Final = "urn:platform-relay:problem:"


def as_sentence(error: Exception) -> str:
    """The text of `error` as a sentence: with a capital letter and a full stop."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


@dataclass(frozen=True, slots=True)
class FieldError:
    """An error in one field. `field` is a dotted path, the name of a header or parameter, or `body`."""

    field: str
    message: str


class ProblemDocument(TypedDict):
    """The body of an error response (`application/problem+json`)."""

    type: str
    title: str
    status: int
    detail: str
    errors: NotRequired[list[dict[str, str]]]
    instance: NotRequired[str]
    next_step: str


class Problem(Exception):  # noqa: N818  # the term of RFC 9457
    """Base class of the API's errors. `detail` is what happened and why, `next_step` what the caller can do."""

    id: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]
    next_step: ClassVar[str]
    headers: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def __init__(self, detail: str | None = None, errors: Sequence[FieldError] = ()) -> None:
        self.detail = detail or f"{self.title}."
        self.errors = tuple(errors)
        super().__init__(self.detail)

    def __reduce__(self) -> tuple[type["Problem"], tuple[str, tuple[FieldError, ...]]]:
        """For pickle: a problem may be found in another process (`core.compute`)."""
        return type(self), (self.detail, self.errors)

    def document(self, instance: str | None = None) -> ProblemDocument:
        """The response body. `instance` identifies this occurrence, for example an incident in the log."""
        document = ProblemDocument(
            type=URN + self.id, title=self.title, status=self.status, detail=self.detail, next_step=self.next_step
        )
        if self.errors:
            document["errors"] = [{"field": error.field, "message": error.message} for error in self.errors]
        if instance:
            document["instance"] = instance
        return document


class Unauthenticated(Problem):
    status = 401
    headers = MappingProxyType({"www-authenticate": 'Bearer realm="platform-relay"'})


class KeyMissing(Unauthenticated):
    id = "key-missing"
    title = "No API key was sent"
    next_step = "Send the header `Authorization: Bearer <key>` with the API key from the relay's operator."


class KeyRefused(Unauthenticated):
    id = "key-refused"
    title = "The API key is not valid"
    next_step = (
        "Check that the key is complete. If it was revoked or has expired, ask the relay's operator for a new key."
    )
    headers = MappingProxyType({"www-authenticate": 'Bearer realm="platform-relay", error="invalid_token"'})


class SignatureRefused(Problem):
    id = "signature-refused"
    status = 401
    title = "The webhook's signature is not valid"
    next_step = (
        "Compare the signing secret in the store with the relay's setting. `relay webhooks install` sets up both."
    )


class ScopeMissing(Problem):
    id = "scope-missing"
    status = 403
    title = "The API key lacks a scope"
    next_step = "Use a key with the scope that `detail` names, for example the operator's key."


class NotFound(Problem):
    id = "not-found"
    status = 404
    title = "Not found"
    next_step = "Check the path and the id in it. All operations are listed at /docs."


class WebhookSecretWrong(NotFound):
    """Answered like any other NotFound, so that the response does not show whether the path is right."""


class MethodNotAllowed(Problem):
    id = "method-not-allowed"
    status = 405
    title = "Method not allowed"
    next_step = "Use one of the methods in the Allow header. All operations are listed at /docs."


class BodyTooSlow(Problem):
    id = "body-too-slow"
    status = 408
    title = "The request body did not arrive in time"
    next_step = "Send the request again. Nothing was stored."


class HeadersTooSlow(BodyTooSlow):
    """Answered like BodyTooSlow, because the sender has to do the same."""

    title = "The request did not arrive in time"


class Conflict(Problem):
    status = 409


class IdempotencyConflict(Conflict):
    id = "idempotency-conflict"
    title = "The Idempotency-Key was used with a different body"
    next_step = "For a new event, use a new key. To get the first receipt again, send exactly the first body. Nothing was stored."


class WrongState(Conflict):
    id = "wrong-state"
    title = "Not possible in the current state"
    next_step = "Read the object again and check its state; `detail` names the states that allow this operation."


class BodyTooLarge(Problem):
    id = "body-too-large"
    status = 413
    title = "The request body is too large"
    next_step = (
        "Send a smaller body, or ask the relay's operator to increase the limit (EVENT_LIMIT for an event"
        " or a store's webhook, BODY_LIMIT for anything else). Nothing was stored."
    )


class EncodingRefused(Problem):
    id = "encoding-refused"
    status = 415
    title = "The request body is encoded"
    next_step = "Send the body uncompressed, without a Content-Encoding header."
    headers = MappingProxyType({"accept-encoding": "identity"})


class TooManyWrongKeys(Problem):
    id = "too-many-wrong-keys"
    status = 429
    title = "Too many wrong API keys from this IP address"
    next_step = "Correct the key, wait for the seconds in Retry-After, then send the request again."
    headers = MappingProxyType({"retry-after": "60"})


class HeadersTooLarge(Problem):
    id = "headers-too-large"
    status = 431
    title = "The request's headers are too large"
    next_step = "Send fewer or shorter headers, or a shorter URL. Nothing was stored."


class Invalid(Problem):
    status = 422


class NotJson(Invalid):
    id = "not-json"
    title = "The request body is not valid JSON"
    next_step = "Send one JSON object in UTF-8. Nothing was stored. The same body will be rejected again."


class FieldsInvalid(Invalid):
    id = "fields-invalid"
    title = "Fields of the request body are missing or invalid"
    next_step = "Correct the fields in `errors`. Nothing was stored. The same body will be rejected again."


class HeaderInvalid(Invalid):
    id = "header-invalid"
    title = "A header is invalid"
    next_step = "Correct the header in `errors` and send the request again. Nothing was stored."


class QueryInvalid(Invalid):
    id = "query-invalid"
    title = "Path or query parameters are invalid"
    next_step = "Correct the parameters in `errors`. /docs describes the parameters of each operation."


class TooManyLines(Invalid):
    id = "too-many-lines"
    title = "The batch has too many lines"
    next_step = "Split the batch into smaller ones. Nothing was stored."


class ImportUndecided(Invalid):
    id = "import-undecided"
    title = "The file does not decide how it is to be imported"
    next_step = (
        "Send it again with the parameters in `errors`, or with confirm=true to accept the guess. Nothing was stored."
    )


class InternalError(Problem):
    id = "internal-error"
    status = 500
    title = "Internal error"
    next_step = (
        "Send the request again later. If it fails again, send the incident id in `instance` to the relay's operator."
    )


class TooManyConnections(Problem):
    id = "too-many-connections"
    status = 503
    title = "The relay has too many open connections"
    next_step = "Send the same request again after the seconds in Retry-After. Nothing was stored."
    headers = MappingProxyType({"retry-after": "2"})


class DatabaseAway(Problem):
    """PostgreSQL is unavailable or did not confirm a commit in time. The event may or may not be stored."""

    id = "database-away"
    status = 503
    title = "The relay's database is not available"
    next_step = "Send the same request again after the seconds in Retry-After. With an Idempotency-Key, no event is stored twice."
    headers = MappingProxyType({"retry-after": "2"})


class LargeBodiesBusy(DatabaseAway):
    """Too many large webhooks at once. Answered like DatabaseAway, because the sender has to do the same."""

    title = "The relay is receiving too many large webhooks"
    next_step = "Send the same request again after the seconds in Retry-After. Nothing was stored."


def all_problems() -> list[type[Problem]]:
    """All problems with an id, in the order of the tree."""

    def below(kind: type[Problem]) -> Iterator[type[Problem]]:
        for child in kind.__subclasses__():
            if "id" in vars(child):
                yield child
            yield from below(child)

    return list(below(Problem))
