"""schemathesis over the whole OpenAPI document: what it allows and what it forbids, to every operation.

Besides faults it finds answers that the document does not tell of: another status, media type or shape.
"""

import hashlib
import json
import random
from contextlib import suppress
from typing import Any  # schemathesis' own signatures
from uuid import UUID

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fuzz.cases import Target
from tests.fuzz.client import HANG_SECONDS, SHOWN, Tally
from tests.fuzz.scene import Scene

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@schemathesis.serializer("application/x-ndjson", "text/csv")
def as_it_is(_: schemathesis.SerializationContext, value: object) -> bytes:
    """Texts of lines, or anything in their place."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


def play(on: Scene, seed: int, examples: int) -> Tally:
    """So many examples of each operation, half of them against the schema."""
    tally = Tally()
    schema = schemathesis.openapi.from_dict(on.document)
    with requests.Session() as session:
        session.trust_env = False
        for result in schema.get_all_operations():
            operation: APIOperation[Any, Any, Any, Any] | None = getattr(result, "ok", lambda: None)()
            assert operation is not None, result
            for mode in GenerationMode:
                _operation(operation, mode, on, session, tally, seed, examples // 2)
    return tally


def _operation(
    operation: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    on: Scene,
    session: requests.Session,
    tally: Tally,
    seed: int,
    examples: int,
) -> None:
    rng = random.Random(f"{seed} {operation.label} {mode}")

    @hypothesis.seed(rng.randrange(1 << 32))
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case[Any]) -> None:
        if "webhook_secret" in case.path_parameters and rng.random() < 0.9:
            case.path_parameters["webhook_secret"] = on.target.webhook_secret
        key = on.target.operator_key if rng.random() < 0.9 else "wrong"
        tally.requests += 1
        try:
            answer = case.call(on.url, session, {"Authorization": f"Bearer {key}"}, timeout=HANG_SECONDS)
        except requests.Timeout:
            _found(tally, "hangs", case, on.target, "no answer in time")
            return
        except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL, UnicodeError, ValueError):
            return  # the client library will not send it; the other grammar does
        tally.statuses[answer.status_code] += 1
        if answer.status_code == 503 and "retry-after" in answer.headers:
            return
        try:
            case.validate_response(answer, CHECKS)
        except BaseExceptionGroup as group:
            for error in group.exceptions:
                _deviates(tally, case, on.target, error)
        except AssertionError as error:
            _deviates(tally, case, on.target, error)
        _remember(answer.status_code, answer.content, answer.request.body, operation.path, tally)

    with suppress(hypothesis.errors.Unsatisfiable):  # nothing can be against this operation's schema
        send()


def _deviates(tally: Tally, case: schemathesis.Case[Any], target: Target, error: BaseException) -> None:
    """An answer is not as the document says. Durations are passed over: ours are ISO 8601, and the validator knows only
    the part of it that RFC 3339 names (no `P3Y326D`, no fractions)."""
    report = " ".join(str(error).split())
    if '"format": "duration"' not in report:
        _found(tally, "unhandled", case, target, report[:600])


def _remember(status: int, content: bytes, sent: object, path: str, tally: Tally) -> None:
    """The receipt of an event or a webhook."""
    if (
        status not in (200, 202)
        or path.startswith("/v1/events/batch")
        or "/webhooks/" in path
        or "/events/" not in path
    ):
        return
    receipt = json.loads(content)
    if "kind" in receipt:
        return  # the event read, not reported
    body = sent.encode() if isinstance(sent, str) else sent
    tally.receipts[UUID(receipt["id"])] = hashlib.sha256(body).digest() if isinstance(body, bytes) else None


def _found(tally: Tally, kind: str, case: schemathesis.Case[Any], target: Target, why: str) -> None:
    setattr(tally, kind, getattr(tally, kind) + 1)
    if len(tally.findings) < SHOWN:
        report = case.as_curl_command().replace(target.operator_key, "…").replace(target.webhook_secret, "…")
        tally.findings.append(f"{kind}: schemathesis: {why}\n    {report[:400]}")
