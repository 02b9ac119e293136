"""What a caller is told when something is refused: problem documents (RFC 9457) with stable ids.

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
    ├── Invalid                  422
    │   ├── NotJson              not-json
    │   ├── FieldsInvalid        fields-invalid
    │   ├── HeaderInvalid        header-invalid
    │   ├── QueryInvalid         query-invalid
    │   └── TooManyLines         too-many-lines
    ├── InternalError            500  internal-error
    └── DatabaseAway             503  database-away

An id never changes its meaning; every one is explained in docs/errors.md, which is tested against this file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final, NotRequired, TypedDict

URN: Final = "urn:platform-relay:problem:"


def as_sentence(error: Exception) -> str:
    """An error's words, which are a part of a sentence elsewhere, as a sentence of their own."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field; `field` is a dotted path, a header's name or `body`."""

    field: str
    message: str


class ProblemDocument(TypedDict):
    """The body of a problem answer (`application/problem+json`)."""

    type: str
    title: str
    status: int
    detail: str
    errors: NotRequired[list[dict[str, str]]]
    instance: NotRequired[str]
    next: str


class Problem(Exception):  # noqa: N818  # the word of RFC 9457
    """Base of everything a caller is told. `detail` says what happened and why, `next` what to do about it."""

    id: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]
    next: ClassVar[str]
    headers: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def __init__(self, detail: str | None = None, errors: Sequence[FieldError] = ()) -> None:
        self.detail = detail or f"{self.title}."
        self.errors = tuple(errors)
        super().__init__(self.detail)

    def document(self, instance: str | None = None) -> ProblemDocument:
        """The answer's body. `instance` names this one occurrence: the message, the incident or the address."""
        document = ProblemDocument(
            type=URN + self.id, title=self.title, status=self.status, detail=self.detail, next=self.next
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
    title = "No key was sent"
    next = "Send the header `Authorization: Bearer <key>` with the key that the relay's operator gave you."


class KeyRefused(Unauthenticated):
    id = "key-refused"
    title = "The key is not valid"
    next = "Check that the key is complete; when it was revoked or has expired, ask the relay's operator for a new one."
    headers = MappingProxyType({"www-authenticate": 'Bearer realm="platform-relay", error="invalid_token"'})


class SignatureRefused(Problem):
    id = "signature-refused"
    status = 401
    title = "The webhook is not signed by the shop"
    next = "Compare the webhook's secret in the store with the relay's setting; `relay connect` sets both up."


class ScopeMissing(Problem):
    id = "scope-missing"
    status = 403
    title = "The key may not do this"
    next = "Use a key that has the scope named in the detail, for example the operator's key."


class NotFound(Problem):
    id = "not-found"
    status = 404
    title = "There is nothing at this address"
    next = "Check the address and the id in it; all addresses are listed at /docs."


class MethodNotAllowed(Problem):
    id = "method-not-allowed"
    status = 405
    title = "This address does not take this method"
    next = "Use one of the methods in the answer's Allow header; all addresses are listed at /docs."


class BodyTooSlow(Problem):
    id = "body-too-slow"
    status = 408
    title = "The body did not arrive in time"
    next = "Send the request again; nothing was stored."


class Conflict(Problem):
    status = 409


class IdempotencyConflict(Conflict):
    id = "idempotency-conflict"
    title = "The Idempotency-Key was used before with another body"
    next = "Use a new key for a new event; send exactly the first body to get its receipt again. Nothing was stored."


class WrongState(Conflict):
    id = "wrong-state"
    title = "Not possible in the present state"
    next = "Read the job again: dead jobs can be retried, waiting and dead ones can be dropped."


class BodyTooLarge(Problem):
    id = "body-too-large"
    status = 413
    title = "The body is too large"
    next = "Send a smaller body, or ask the relay's operator to raise BODY_LIMIT. Nothing was stored."


class EncodingRefused(Problem):
    id = "encoding-refused"
    status = 415
    title = "The body is compressed"
    next = "Send the body as it is, without a Content-Encoding."
    headers = MappingProxyType({"accept-encoding": "identity"})


class TooManyWrongKeys(Problem):
    id = "too-many-wrong-keys"
    status = 429
    title = "Too many wrong keys came from this address"
    next = "Correct the key, wait for Retry-After seconds, then send the request again."
    headers = MappingProxyType({"retry-after": "60"})


class Invalid(Problem):
    status = 422


class NotJson(Invalid):
    id = "not-json"
    title = "The body is not JSON"
    next = "Send one JSON object in UTF-8. Nothing was stored, and the same body will never be accepted."


class FieldsInvalid(Invalid):
    id = "fields-invalid"
    title = "Fields of the body are missing or wrong"
    next = "Correct the fields under `errors`. Nothing was stored, and the same body will never be accepted."


class HeaderInvalid(Invalid):
    id = "header-invalid"
    title = "A header cannot be used"
    next = "Correct the header named under `errors` and send the request again. Nothing was stored."


class QueryInvalid(Invalid):
    id = "query-invalid"
    title = "Parameters of the address are wrong"
    next = "Correct the parameters under `errors`; each operation's parameters are described at /docs."


class TooManyLines(Invalid):
    id = "too-many-lines"
    title = "The batch has too many lines"
    next = "Split the batch and send the parts one after another. Nothing was stored."


class InternalError(Problem):
    id = "internal-error"
    status = 500
    title = "The relay failed"
    next = "Send the request again later; if it keeps failing, give the incident in `instance` to the relay's operator."


class DatabaseAway(Problem):
    """Postgres is away, or did not confirm a commit in time: the event may or may not be stored."""

    id = "database-away"
    status = 503
    title = "The relay's database is not available"
    next = "Send the same request again after Retry-After seconds; with an Idempotency-Key no event counts twice."
    headers = MappingProxyType({"retry-after": "2"})


def all_problems() -> list[type[Problem]]:
    """Every problem that has an id, in the order of the tree."""

    def below(kind: type[Problem]) -> Iterator[type[Problem]]:
        for child in kind.__subclasses__():
            if "id" in vars(child):
                yield child
            yield from below(child)

    return list(below(Problem))
