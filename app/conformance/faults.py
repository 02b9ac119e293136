"""What every adapter promises while the store, or the way to it, misbehaves. A fault is tried at each call there is."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Final

import httpx

from platform_relay.conformance.sandbox import Broken, Sandbox, Skipped, shown
from platform_relay.conformance.wire import RETRY_AFTER, Fault, Killed
from platform_relay.core.outcomes import Blocked, Done, Reject, Retry, Skip, Unknown, Wait
from platform_relay.stores.base import CouponSpec, StoreAdapter

UNTRUSTWORTHY: Final = (
    Fault.LOST, Fault.SLOW, Fault.ERROR, Fault.BAD_GATEWAY, Fault.CUT, Fault.EMPTY, Fault.PAGE, Fault.SHAPE,
)  # fmt: skip
LIMIT: Final = 0.5
"""Seconds, where a call never ends."""
SIDE_BY_SIDE: Final = 5


async def one_coupon_after(fault: Fault, box: Sandbox) -> None:
    """An answer that cannot be trusted is no success and no refusal; given again, the order is one coupon."""
    for number in range(await box.calls_of_an_issue()):
        order = box.order()
        async with box.wire.going_wrong(fault, number):
            outcome = await box.adapter.issue_coupon(replace(order, first_try=True))
        where = f"{fault} at call {number + 1} of a creation"
        found = await box.found(order.code)
        there = found is not None and found.active
        if isinstance(outcome, Reject | Blocked | Skip | Wait):
            raise Broken(f"{where} was answered with {shown(outcome)}")
        if isinstance(outcome, Done) and not there:
            raise Broken(f"{where} was Done, and the store has no such coupon")
        if isinstance(outcome, Retry) and there:
            raise Broken(f"{where} was Retry (nothing happened), and the store has the coupon: it has to be Unknown")
        await _finished(box, order, where)


async def one_coupon_after_a_crash(box: Sandbox) -> None:
    """A process that dies between two calls leaves an order that the next one finishes, once."""
    for number in range(await box.calls_of_an_issue()):
        order = box.order()
        try:
            async with box.wire.going_wrong(Fault.KILLED, number):
                await box.adapter.issue_coupon(replace(order, first_try=True))
        except Killed:
            pass
        else:
            raise Broken(f"the adapter went on after its process died at call {number + 1}")
        box.adapter = box.restarted()
        await _finished(box, order, f"a crash after call {number + 1} of a creation")


async def _finished(box: Sandbox, order: CouponSpec, where: str) -> None:
    try:
        await box.finished(order)
    except Broken as broken:
        raise Broken(f"after {where}: {broken}") from None


async def a_lookup_without_an_answer_is_not_none(fault: Fault, box: Sandbox) -> None:
    """A look-up without a trustworthy answer is neither None nor a coupon, and an order that needs it creates nothing."""
    code = box.order().code
    await box.found(code)
    box.wire.mark()
    await box.found(code)
    for number in range(len(box.wire.since)):
        async with box.wire.going_wrong(fault, number):
            outcome = await box.adapter.find_coupon(code)
        if not isinstance(outcome, Retry | Unknown):
            raise Broken(f"{fault} at call {number + 1} of a look-up was answered with {shown(outcome)}")
    order = box.order()
    async with box.wire.going_wrong(fault):
        again = await box.adapter.issue_coupon(order)
    if not isinstance(again, Retry | Unknown):
        raise Broken(f"{fault} at every call of a second try was answered with {shown(again)}")
    if await box.found(order.code) is not None:
        raise Broken(f"{fault} at the look-up, and the coupon was created all the same")


async def a_coupon_is_not_called_retired_after(fault: Fault, box: Sandbox) -> None:
    """Retiring is Done only when the coupon cannot be used any more, and never a refusal because of a bad answer."""
    order = box.order()
    await box.made(order)
    box.wire.mark()
    await box.adapter.retire_coupon(order.code)
    for number in range(len(box.wire.since)):
        order = box.order()
        await box.made(order)
        async with box.wire.going_wrong(fault, number):
            outcome = await box.adapter.retire_coupon(order.code)
        where = f"{fault} at call {number + 1} of a retirement"
        if not isinstance(outcome, Done | Retry | Unknown):
            raise Broken(f"{where} was answered with {shown(outcome)}")
        if isinstance(outcome, Done) and await box.usable(order.code):
            raise Broken(f"{where} was Done, and the coupon can be used")
        again = await box.adapter.retire_coupon(order.code)
        if not isinstance(again, Done) or await box.usable(order.code):
            raise Broken(f"after {where} the coupon cannot be retired: {shown(again)}")


async def a_stale_lookup_is_not_believed(box: Sandbox) -> None:
    """A look-up that does not show a coupon yet leads to no second coupon and to no refusal."""
    order, known = box.order(), {}
    box.adapter = box.restarted()

    def learn(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        known[_same(request)] = answer
        return answer

    def replay(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        return known.get(_same(request), answer)

    async with box.wire.tampering(answering=learn):
        await box.found(order.code)
    await box.made(order)
    async with box.wire.tampering(answering=replay):
        outcome = await box.adapter.issue_coupon(order)
    if isinstance(outcome, Reject | Blocked):
        raise Broken(f"it was answered with {shown(outcome)}")
    await _finished(box, order, "a stale look-up")


def _same(request: httpx.Request) -> tuple[str, str, bytes]:
    return request.method, str(request.url), request.content


async def nobody_there_is_retry(box: Sandbox) -> None:
    """A store that is not there is Retry, for every call."""
    for name, call in _everything(box):
        async with box.wire.going_wrong(Fault.NOBODY):
            outcome = await call(box.adapter)
        if not isinstance(outcome, Retry):
            raise Broken(f"{name} was answered with {shown(outcome)}")


async def patience_is_kept(box: Sandbox) -> None:
    """A 429 is Retry, after the seconds of its Retry-After, for every call, and creates nothing."""
    for name, call in _everything(box):
        async with box.wire.going_wrong(Fault.PATIENCE):
            outcome = await call(box.adapter)
        if not isinstance(outcome, Retry):
            raise Broken(f"{name} was answered with {shown(outcome)}")
        if outcome.after != RETRY_AFTER:
            raise Broken(f"{name} waits {outcome.after} s, asked for were {RETRY_AFTER:g} s")


async def a_refused_key_is_blocked(fault: Fault, box: Sandbox) -> None:
    """A key that the store refuses is Blocked for every call: a fact about the destination, not about this coupon."""
    for name, call in _everything(box):
        async with box.wire.going_wrong(fault):
            outcome = await call(box.adapter)
        if not isinstance(outcome, Blocked):
            raise Broken(f"{name} was answered with {shown(outcome)}")


async def a_token_that_ended_is_no_refusal(box: Sandbox) -> None:
    """A 401 to one call is a renewal or Blocked, never a refusal; the order comes to its end when the key is good."""
    for number in range(await box.calls_of_an_issue()):
        order = box.order()
        async with box.wire.going_wrong(Fault.KEY, number):
            outcome = await box.adapter.issue_coupon(replace(order, first_try=True))
        where = f"a 401 at call {number + 1} of a creation"
        if not isinstance(outcome, Done | Blocked | Retry):
            raise Broken(f"{where} was answered with {shown(outcome)}")
        await _finished(box, order, where)


async def one_renewal_at_a_time(box: Sandbox) -> None:
    """Calls side by side that all meet the end of a token renew it once."""
    code = box.order().code
    await box.found(code)
    box.wire.mark()
    await box.found(code)
    clean = len(box.wire.since)
    keys = {key for seen in box.wire.since for key in _keys(seen.headers)}
    box.wire.mark()

    def ended(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        return httpx.Response(401, content=b'{"message": "ended"}') if keys & _keys(request.headers.items()) else answer

    async with box.wire.tampering(answering=ended):
        outcomes = await asyncio.gather(*(box.adapter.find_coupon(code) for _ in range(SIDE_BY_SIDE)))
    refused = [outcome for outcome in outcomes if outcome is not None]
    if len(refused) == SIDE_BY_SIDE and all(isinstance(outcome, Blocked) for outcome in refused):
        raise Skipped("the adapter renews nothing")
    if refused:
        raise Broken(f"{SIDE_BY_SIDE} calls met it, and {len(refused)} came to {shown(refused[0])}")
    renewals = len(box.wire.since) - SIDE_BY_SIDE - SIDE_BY_SIDE * clean
    if renewals > 1:
        raise Broken(f"{SIDE_BY_SIDE} calls met it and made {renewals} renewals")


def _keys(headers: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """The headers that may hold a token."""
    return {(name, value) for name, value in headers if name == "authorization" or "token" in name or "key" in name}


async def a_redirect_is_blocked_and_not_followed(box: Sandbox) -> None:
    """A redirect is Blocked and never followed, as it would carry the key elsewhere."""
    for name, call in _everything(box):
        async with box.wire.going_wrong(Fault.REDIRECT):
            outcome = await call(box.adapter)
        if not isinstance(outcome, Blocked):
            raise Broken(f"{name} was answered with {shown(outcome)}")
    if any(seen.url.endswith("/elsewhere") for seen in box.wire.seen):
        raise Broken("it was followed")


async def the_time_limit_is_kept(box: Sandbox) -> None:
    """An answer that never comes is Unknown or Retry when the time is over."""
    adapter = box.restarted(time_limit=LIMIT)
    begun = time.monotonic()
    async with box.wire.going_wrong(Fault.HANGS):
        try:
            async with asyncio.timeout(20 * LIMIT):
                outcome = await adapter.issue_coupon(replace(box.order(), first_try=True))
        except TimeoutError:
            raise Broken(f"no outcome after {time.monotonic() - begun:.1f} s, the limit is {LIMIT} s") from None
    if not isinstance(outcome, Retry | Unknown):
        raise Broken(f"it was answered with {shown(outcome)}")


def _everything(box: Sandbox) -> list[tuple[str, Callable[[StoreAdapter], Awaitable[object]]]]:
    """Every kind of call, for faults that hit them all."""
    order = box.order()
    return [
        ("issue_coupon", lambda adapter: adapter.issue_coupon(replace(order, first_try=True))),
        ("issue_coupon (again)", lambda adapter: adapter.issue_coupon(order)),
        ("find_coupon", lambda adapter: adapter.find_coupon(order.code)),
        ("retire_coupon", lambda adapter: adapter.retire_coupon(order.code)),
        ("check", lambda adapter: adapter.check()),
    ]
