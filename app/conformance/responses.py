"""The requirements for unexpected and wrong responses, and for secrets in responses."""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import count
from typing import Final

from pydantic import JsonValue

from platform_relay.conformance.fault_injection import RewriteResponse
from platform_relay.conformance.outcome_checks import WITH_REASON
from platform_relay.conformance.sandbox import Sandbox, Skipped, Violation, describe, rejected_fields
from platform_relay.core.http_messages import Request, Response
from platform_relay.core.logs import secrets_of
from platform_relay.core.outcomes import Done, Reject
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.base import CouponKind, StoreCoupon

STATUSES: Final = (200, 400, 401, 404, 422, 500)
BODIES: Final[tuple[bytes, ...]] = (
    b"null", b"[]", b"{}", b'"text"', b"1", b"1e999", b"[null]", b"[[]]", b'{"data": null}', b'{"data": [null]}',
    b'{"errors": []}', b'{"errors": "x"}', b"[" * 50_000, b"\xff\xfe", b'{"data": {}, "errors": [{}]}',
)  # fmt: skip
UNEXPECTED: Final[tuple[JsonValue, ...]] = (None, {}, [], "x", -1, True)
SAMPLES: Final = 24
"""How many fields of the store's responses get an unexpected value, one at a time. Every run chooses the same fields."""


async def a_coupon_that_differs_is_rejected_and_deleted(sandbox: Sandbox) -> None:
    """If the store creates another coupon than requested, the outcome is Reject with the difference, and no coupon is usable."""
    spec = sandbox.spec(value=Decimal("12.34"))
    changed = []

    def change_amount(request: Request) -> Request:
        body = re.sub(rb"\b12\.34\b", b"11.34", re.sub(rb"\b1234\b", b"1134", request.content))
        if body == request.content:
            return request
        changed.append(request.url)
        return replace(request, content=body)

    async with sandbox.network.rewrite(change_amount):
        outcome = await sandbox.adapter.issue_coupon(replace(spec, first_try=True))
    if not changed:
        raise Skipped("the amount was not found in the requests")
    if await sandbox.find(spec.code) is None and not isinstance(outcome, Reject | Done):
        raise Skipped(f"the store does not accept a request that was changed: {describe(outcome)}")
    if not isinstance(outcome, Reject):
        raise Violation(f"12.34 was requested and 11.34 was created, but issue_coupon returned {describe(outcome)}")
    if outcome.reason.code is not ReasonCode.COUPON_DIFFERS or "value" not in rejected_fields(outcome):
        raise Violation(f"the outcome is not coupon_differs with the value in `differences`: {describe(outcome)}")
    if await sandbox.is_usable(spec.code):
        raise Violation("the wrong coupon can still be used")


async def no_secrets_in_outcomes(status: int, sandbox: Sandbox) -> None:
    """Outcomes contain no credentials and no customer, whatever the store's response repeats, and are not a success."""
    settings = sandbox.adapter_class.Settings()
    secrets = {secret for secret in secrets_of(settings) if secret}
    tokens = set[str]()
    email, customer = "jane.secret@example.com", "customer-4711-secret"
    cannot = sandbox.adapter_class.CANNOT
    spec = sandbox.spec(
        **({} if "email" in cannot else {"email": email}),
        **({} if "customer_id" in cannot else {"customer_id": customer}),
    )

    def repeat_request(request: Request, _: Response) -> Response:
        tokens.update(_tokens(request))
        received = " ".join([*sorted(secrets), *request.headers.values(), request.content.decode(errors="replace")])
        body = {
            "code": "rest_error",
            "message": f"received {received}",
            "errors": [{"message": received}],
            "data": None,
        }
        return Response(status, content=json.dumps(body).encode())

    await sandbox.adapter.check()  # a token is obtained first
    for first_try in (True, False):
        async with sandbox.network.rewrite(response=repeat_request):
            outcomes = [
                await sandbox.adapter.issue_coupon(replace(spec, first_try=first_try)),
                await sandbox.adapter.find_coupon(spec.code),
                await sandbox.adapter.retire_coupon(spec.code),
                await sandbox.adapter.check(),
            ]
        texts = [f"{outcome!r} {_visible_text(outcome)}" for outcome in outcomes]
        if any(secret in text for secret in secrets | tokens for text in texts):
            raise Violation("an outcome contains a credential")
        if any(value in text for value in (email, customer) for text in map(_visible_text, outcomes)):
            raise Violation("the facts or the text of an outcome contain the customer")
        if isinstance(outcomes[0], Done) or outcomes[1] is None:
            raise Violation(f"the outcomes are {describe(outcomes[0])} and {describe(outcomes[1])}")


def _tokens(request: Request) -> set[str]:
    """The tokens in the headers of a request, which the adapter may have obtained at run time."""
    authorization = request.headers.get("authorization", "").partition(" ")
    tokens = {authorization[2]} if authorization[0].casefold() in ("bearer", "basic") else set[str]()
    tokens |= {value for name, value in request.headers.items() if "token" in name}
    return {token for token in tokens if len(token) >= 8}


def _visible_text(outcome: object) -> str:
    """What an operator sees of an outcome, and what is stored of its reason."""
    if isinstance(outcome, WITH_REASON):
        return f"{outcome.reason.text} {outcome.reason.next_step} {outcome.reason.facts}"
    return describe(outcome)


async def unexpected_responses_raise_nothing(sandbox: Sandbox) -> None:
    """No response makes a method raise, and none of these responses is a success or a coupon."""
    for body in BODIES:
        spec = sandbox.spec()
        async with sandbox.network.rewrite(response=lambda *_, body=body: Response(200, content=body)):
            issued = await sandbox.adapter.issue_coupon(spec)
            result = await sandbox.adapter.find_coupon(spec.code)
            await sandbox.adapter.retire_coupon(spec.code)
            await sandbox.adapter.check()
        if isinstance(issued, Done) or isinstance(result, StoreCoupon):
            raise Violation(
                f"with {body[:40]!r} for every call, the outcomes are {describe(issued)} and {describe(result)}"
            )


async def unexpected_fields_raise_nothing(sandbox: Sandbox) -> None:
    """A missing field, or one with another type, in the store's responses makes no method raise."""
    spec = sandbox.spec(kind=CouponKind.PERCENTAGE, value=Decimal("7.5"), minimum_spend=Decimal("30.00"))
    bodies: list[bytes] = []

    def record(_: Request, response: Response) -> Response:
        bodies.append(response.content)
        return response

    async with sandbox.network.rewrite(response=record):
        await sandbox.issue(spec)
        await sandbox.find(spec.code)
    chooser = random.Random(1)  # noqa: S311  # a choice of samples
    variants = [(number, variant) for number, body in enumerate(bodies) for variant in _variants(body)]
    for number, body in chooser.sample(variants, min(SAMPLES, len(variants))):
        fresh = replace(sandbox.spec(), kind=spec.kind, value=spec.value, minimum_spend=spec.minimum_spend)
        async with sandbox.network.rewrite(response=_replace_body(number, body)):
            await sandbox.adapter.issue_coupon(replace(fresh, first_try=True))
        async with sandbox.network.rewrite(response=_replace_body(0, body)):
            await sandbox.adapter.find_coupon(spec.code)


def _replace_body(number: int, body: bytes) -> RewriteResponse:
    """Replaces the body of the response to the call with this number."""
    calls = count()
    return lambda _, response: Response(response.status, content=body) if next(calls) == number else response


def _variants(body: bytes) -> Iterator[bytes]:
    """The body with one of its values replaced by an unexpected one, for every value."""
    try:
        document: JsonValue = json.loads(body)
    except ValueError:
        return
    for path in _paths(document):
        for value in UNEXPECTED:
            yield json.dumps(_with(document, path, value)).encode()


def _paths(value: JsonValue, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for name, item in items:
        yield from _paths(item, (*path, name))


def _with(document: JsonValue, path: tuple[str | int, ...], value: JsonValue) -> JsonValue:
    if not path:
        return value
    name, rest = path[0], path[1:]
    if isinstance(document, dict):
        return {key: _with(item, rest, value) if key == name else item for key, item in document.items()}
    if isinstance(document, list):
        return [_with(item, rest, value) if number == name else item for number, item in enumerate(document)]
    return document
