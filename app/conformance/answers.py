"""What every adapter promises about answers that are odd, wrong or talkative."""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import count
from typing import Final

import httpx
from pydantic import JsonValue

from platform_relay.conformance.sandbox import Broken, Sandbox, Skipped, fields_of, shown
from platform_relay.conformance.watched import WITH_REASON
from platform_relay.conformance.wire import Answering
from platform_relay.core.outcomes import Done, Reject
from platform_relay.core.reasons import ReasonCode
from platform_relay.core.telemetry import secrets_of
from platform_relay.stores.base import CouponFound, CouponKind

STATUSES: Final = (200, 400, 401, 404, 422, 500)
BODIES: Final[tuple[bytes, ...]] = (
    b"null", b"[]", b"{}", b'"text"', b"1", b"1e999", b"[null]", b"[[]]", b'{"data": null}', b'{"data": [null]}',
    b'{"errors": []}', b'{"errors": "x"}', b"[" * 50_000, b"\xff\xfe", b'{"data": {}, "errors": [{}]}',
)  # fmt: skip
ODD: Final[tuple[JsonValue, ...]] = (None, {}, [], "x", -1, True)
SAMPLES: Final = 24
"""So many fields of the store's own answers are made odd, one at a time; which ones, the same each time."""


async def another_coupon_than_ordered_is_rejected_and_removed(box: Sandbox) -> None:
    """A store that makes another coupon than was ordered: Reject naming the difference, and nothing usable is left."""
    order = box.order(value=Decimal("12.34"))
    changed = []

    def other(request: httpx.Request) -> httpx.Request:
        body = re.sub(rb"\b12\.34\b", b"11.34", re.sub(rb"\b1234\b", b"1134", request.content))
        if body == request.content:
            return request
        changed.append(request.url)
        headers = [pair for pair in request.headers.multi_items() if pair[0] != "content-length"]
        return httpx.Request(request.method, request.url, headers=headers, content=body, extensions=request.extensions)

    async with box.wire.tampering(other):
        outcome = await box.adapter.issue_coupon(replace(order, first_try=True))
    if not changed:
        raise Skipped("the amount was not recognised in what is sent")
    if await box.found(order.code) is None and not isinstance(outcome, Reject | Done):
        raise Skipped(f"the store does not take a request that was changed on its way: {shown(outcome)}")
    if not isinstance(outcome, Reject):
        raise Broken(f"12.34 was ordered, 11.34 was made, and the outcome is {shown(outcome)}")
    if outcome.reason.code is not ReasonCode.COUPON_DIFFERS or "value" not in fields_of(outcome):
        raise Broken(f"the outcome is not coupon_differs, naming the value in `differences`: {shown(outcome)}")
    if await box.usable(order.code):
        raise Broken("the wrong coupon is still usable")


async def no_secret_in_an_outcome(status: int, box: Sandbox) -> None:
    """Credentials never appear in an outcome, nor a customer in its reason, whatever the store repeats; it is no success."""
    settings = box.adapter_class.Settings()
    secrets = {secret for secret in secrets_of(settings) if secret}
    email, customer = "jane.secret@example.com", "customer-4711-secret"
    cannot = box.adapter_class.CANNOT
    order = box.order(
        **({} if "email" in cannot else {"email": email}),
        **({} if "customer_id" in cannot else {"customer_id": customer}),
    )

    def talkative(request: httpx.Request, _: httpx.Response) -> httpx.Response:
        heard = " ".join([*sorted(secrets), *request.headers.values(), request.content.decode(errors="replace")])
        body = {"code": "rest_error", "message": f"you said {heard}", "errors": [{"message": heard}], "data": None}
        return httpx.Response(status, content=json.dumps(body).encode())

    for first_try in (True, False):
        async with box.wire.tampering(answering=talkative):
            outcomes = [
                await box.adapter.issue_coupon(replace(order, first_try=first_try)),
                await box.adapter.find_coupon(order.code),
                await box.adapter.retire_coupon(order.code),
                await box.adapter.check(),
            ]
        texts = [f"{outcome!r} {_words(outcome)}" for outcome in outcomes]
        if any(secret in text for secret in secrets for text in texts):
            raise Broken("a credential is in an outcome")
        if any(word in text for word in (email, customer) for text in map(_words, outcomes)):
            raise Broken("the customer is named in an outcome's facts or text")
        if isinstance(outcomes[0], Done) or outcomes[1] is None:
            raise Broken(f"it was answered with {shown(outcomes[0])} and {shown(outcomes[1])}")


def _words(outcome: object) -> str:
    """What people see of an outcome, and what is stored of its reason."""
    if isinstance(outcome, WITH_REASON):
        return f"{outcome.reason.text} {outcome.reason.next_step} {outcome.reason.facts}"
    return shown(outcome)


async def odd_answers_raise_nothing(box: Sandbox) -> None:
    """No answer makes a method raise, and none of these is a success or a coupon."""
    for body in BODIES:
        order = box.order()
        async with box.wire.tampering(answering=lambda *_, body=body: _answer(200, body)):
            issued = await box.adapter.issue_coupon(order)
            found = await box.adapter.find_coupon(order.code)
            await box.adapter.retire_coupon(order.code)
            await box.adapter.check()
        if isinstance(issued, Done) or isinstance(found, CouponFound):
            raise Broken(f"{body[:40]!r} to every call was answered with {shown(issued)} and {shown(found)}")


async def fields_that_are_odd_raise_nothing(box: Sandbox) -> None:
    """A field of the store's answers that is missing or of another type raises nothing."""
    order = box.order(kind=CouponKind.PERCENTAGE, value=Decimal("7.5"), currency=None, minimum_spend=Decimal("30.00"))
    answers: list[bytes] = []

    def learn(_: httpx.Request, answer: httpx.Response) -> httpx.Response:
        answers.append(answer.content)
        return answer

    async with box.wire.tampering(answering=learn):
        await box.made(order)
        await box.found(order.code)
    dice = random.Random(1)  # noqa: S311  # a choice of samples
    odd = [(number, each) for number, body in enumerate(answers) for each in _made_odd(body)]
    for number, body in dice.sample(odd, min(SAMPLES, len(odd))):
        fresh = replace(
            box.order(), kind=order.kind, value=order.value, currency=None, minimum_spend=order.minimum_spend
        )
        async with box.wire.tampering(answering=_odd_at(number, body)):
            await box.adapter.issue_coupon(replace(fresh, first_try=True))
        async with box.wire.tampering(answering=_odd_at(0, body)):
            await box.adapter.find_coupon(order.code)


def _odd_at(number: int, body: bytes) -> Answering:
    """Lets the call of this number have another answer."""
    calls = count()
    return lambda _, answer: _answer(answer.status_code, body) if next(calls) == number else answer


def _answer(status: int, body: bytes) -> httpx.Response:
    return httpx.Response(status, content=body)


def _made_odd(body: bytes) -> Iterator[bytes]:
    """The answer with one of its values made odd, each in turn."""
    try:
        document: JsonValue = json.loads(body)
    except ValueError:
        return
    for path in _paths(document):
        for value in ODD:
            yield json.dumps(_with(document, path, value)).encode()


def _paths(value: JsonValue, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for name, each in items:
        yield from _paths(each, (*path, name))


def _with(document: JsonValue, path: tuple[str | int, ...], value: JsonValue) -> JsonValue:
    if not path:
        return value
    name, rest = path[0], path[1:]
    if isinstance(document, dict):
        return {key: _with(each, rest, value) if key == name else each for key, each in document.items()}
    if isinstance(document, list):
        return [_with(each, rest, value) if number == name else each for number, each in enumerate(document)]
    return document
