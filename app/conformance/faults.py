"""The requirements while the store, or the network, fails. A fault is injected into each call of an operation."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Final

from platform_relay.conformance.fault_injection import RETRY_AFTER, Fault, ProcessKilled
from platform_relay.conformance.sandbox import Sandbox, Skipped, Violation, describe
from platform_relay.core.http_messages import Request, Response
from platform_relay.core.outcomes import Blocked, Done, Reject, Retry, Skip, Unknown, Wait
from platform_relay.stores.base import CouponSpec, StoreAdapter

UNTRUSTWORTHY: Final = (
    Fault.LOST, Fault.TIMEOUT, Fault.ERROR, Fault.BAD_GATEWAY, Fault.TRUNCATED, Fault.EMPTY, Fault.HTML, Fault.OTHER_JSON,
)  # fmt: skip
"""Faults after which the result of a call is unknown."""
TIMEOUT: Final = 0.5
"""Seconds, for a call that never ends."""
CONCURRENT_CALLS: Final = 5


async def one_coupon_after_a_fault(fault: Fault, sandbox: Sandbox) -> None:
    """A response that cannot be trusted is neither Done nor Reject. After the next attempts, there is one coupon."""
    for number in range(await sandbox.calls_of_an_issue()):
        spec = sandbox.spec()
        async with sandbox.network.inject(fault, number):
            outcome = await sandbox.adapter.issue_coupon(replace(spec, first_try=True))
        where = f"{fault} at call {number + 1} of issue_coupon"
        coupon = await sandbox.find(spec.code)
        exists = coupon is not None and coupon.active
        if isinstance(outcome, Reject | Blocked | Skip | Wait):
            raise Violation(f"{where}: {describe(outcome)}")
        if isinstance(outcome, Done) and not exists:
            raise Violation(f"{where}: Done, but the store does not have the coupon")
        if isinstance(outcome, Retry) and exists:
            raise Violation(f"{where}: Retry (nothing happened), but the store has the coupon; it must be Unknown")
        await _complete(sandbox, spec, where)


async def one_coupon_after_a_crash(sandbox: Sandbox) -> None:
    """If the process is killed between two calls, the next attempt completes the coupon, and there is one."""
    for number in range(await sandbox.calls_of_an_issue()):
        spec = sandbox.spec()
        try:
            async with sandbox.network.inject(Fault.KILLED, number):
                await sandbox.adapter.issue_coupon(replace(spec, first_try=True))
        except ProcessKilled:
            pass
        else:
            raise Violation(f"the adapter continued after its process was killed at call {number + 1}")
        sandbox.adapter = sandbox.new_adapter()
        await _complete(sandbox, spec, f"a crash after call {number + 1} of issue_coupon")


async def _complete(sandbox: Sandbox, spec: CouponSpec, where: str) -> None:
    try:
        await sandbox.complete(spec)
    except Violation as violation:
        raise Violation(f"after {where}: {violation}") from None


async def a_failed_lookup_is_not_none(fault: Fault, sandbox: Sandbox) -> None:
    """A lookup without a trustworthy response is neither None nor a coupon, and issue_coupon then creates nothing."""
    code = sandbox.spec().code
    await sandbox.find(code)
    sandbox.network.mark()
    await sandbox.find(code)
    for number in range(len(sandbox.network.calls_since_mark)):
        async with sandbox.network.inject(fault, number):
            outcome = await sandbox.adapter.find_coupon(code)
        if not isinstance(outcome, Retry | Unknown):
            raise Violation(f"{fault} at call {number + 1} of find_coupon: {describe(outcome)}")
    spec = sandbox.spec()
    async with sandbox.network.inject(fault):
        issued = await sandbox.adapter.issue_coupon(spec)
    if not isinstance(issued, Retry | Unknown):
        raise Violation(f"{fault} at every call of a second attempt: {describe(issued)}")
    if await sandbox.find(spec.code) is not None:
        raise Violation(f"{fault} at the lookup, but the coupon was created")


async def a_failed_retirement_is_not_done(fault: Fault, sandbox: Sandbox) -> None:
    """Retiring is Done only if the coupon can no longer be used. A bad response is never a Reject."""
    spec = sandbox.spec()
    await sandbox.issue(spec)
    sandbox.network.mark()
    await sandbox.adapter.retire_coupon(spec.code)
    for number in range(len(sandbox.network.calls_since_mark)):
        spec = sandbox.spec()
        await sandbox.issue(spec)
        async with sandbox.network.inject(fault, number):
            outcome = await sandbox.adapter.retire_coupon(spec.code)
        where = f"{fault} at call {number + 1} of retire_coupon"
        if not isinstance(outcome, Done | Retry | Unknown):
            raise Violation(f"{where}: {describe(outcome)}")
        if isinstance(outcome, Done) and await sandbox.is_usable(spec.code):
            raise Violation(f"{where}: Done, but the coupon can be used")
        outcome = await sandbox.adapter.retire_coupon(spec.code)
        if not isinstance(outcome, Done) or await sandbox.is_usable(spec.code):
            raise Violation(f"after {where}, the coupon cannot be retired: {describe(outcome)}")


async def a_stale_lookup_creates_no_second_coupon(sandbox: Sandbox) -> None:
    """A lookup that does not show a coupon yet leads to no second coupon and to no Reject."""
    spec, responses = sandbox.spec(), {}
    sandbox.adapter = sandbox.new_adapter()

    def record(request: Request, response: Response) -> Response:
        responses[_key(request)] = response
        return response

    def replay(request: Request, response: Response) -> Response:
        return responses.get(_key(request), response)

    async with sandbox.network.rewrite(response=record):
        await sandbox.find(spec.code)
    await sandbox.issue(spec)
    async with sandbox.network.rewrite(response=replay):
        outcome = await sandbox.adapter.issue_coupon(spec)
    if isinstance(outcome, Reject | Blocked):
        raise Violation(f"issue_coupon returned {describe(outcome)}")
    await _complete(sandbox, spec, "a stale lookup")


def _key(request: Request) -> tuple[str, str, bytes]:
    return request.method, str(request.url), request.content


async def an_unreachable_store_is_retry(sandbox: Sandbox) -> None:
    """If the store cannot be reached, every method returns Retry."""
    for name, call in _methods(sandbox):
        async with sandbox.network.inject(Fault.UNREACHABLE):
            outcome = await call(sandbox.adapter)
        if not isinstance(outcome, Retry):
            raise Violation(f"{name} returned {describe(outcome)}")


async def a_429_is_retry_after(sandbox: Sandbox) -> None:
    """For a 429, every method returns Retry with the seconds of Retry-After, and creates nothing."""
    for name, call in _methods(sandbox):
        async with sandbox.network.inject(Fault.RATE_LIMITED):
            outcome = await call(sandbox.adapter)
        if not isinstance(outcome, Retry):
            raise Violation(f"{name} returned {describe(outcome)}")
        if outcome.after != RETRY_AFTER:
            raise Violation(f"{name} waits {outcome.after} s; Retry-After was {RETRY_AFTER:g} s")


async def rejected_credentials_are_blocked(fault: Fault, sandbox: Sandbox) -> None:
    """If the store rejects the credentials, every method returns Blocked: it concerns the store, not this coupon."""
    for name, call in _methods(sandbox):
        async with sandbox.network.inject(fault):
            outcome = await call(sandbox.adapter)
        if not isinstance(outcome, Blocked):
            raise Violation(f"{name} returned {describe(outcome)}")


async def an_expired_token_is_not_a_rejection(sandbox: Sandbox) -> None:
    """A 401 for one call renews the token or is Blocked, never Reject. Then the coupon is completed."""
    for number in range(await sandbox.calls_of_an_issue()):
        spec = sandbox.spec()
        async with sandbox.network.inject(Fault.UNAUTHORIZED, number):
            outcome = await sandbox.adapter.issue_coupon(replace(spec, first_try=True))
        where = f"a 401 at call {number + 1} of issue_coupon"
        if not isinstance(outcome, Done | Blocked | Retry):
            raise Violation(f"{where}: {describe(outcome)}")
        await _complete(sandbox, spec, where)


async def concurrent_calls_renew_the_token_once(sandbox: Sandbox) -> None:
    """Concurrent calls with an expired token renew it once."""
    code = sandbox.spec().code
    await sandbox.find(code)
    sandbox.network.mark()
    await sandbox.find(code)
    calls_of_a_lookup = len(sandbox.network.calls_since_mark)
    tokens = {token for call in sandbox.network.calls_since_mark for token in _token_headers(call.headers)}
    sandbox.network.mark()

    def expire(request: Request, response: Response) -> Response:
        expired = tokens & _token_headers(request.headers.items())
        return Response(401, content=b'{"message": "expired"}') if expired else response

    async with sandbox.network.rewrite(response=expire):
        results = await asyncio.gather(*(sandbox.adapter.find_coupon(code) for _ in range(CONCURRENT_CALLS)))
    failures = [result for result in results if result is not None]
    if len(failures) == CONCURRENT_CALLS and all(isinstance(failure, Blocked) for failure in failures):
        raise Skipped("the adapter renews no token")
    if failures:
        raise Violation(f"of {CONCURRENT_CALLS} concurrent calls, {len(failures)} returned {describe(failures[0])}")
    renewals = len(sandbox.network.calls_since_mark) - CONCURRENT_CALLS - CONCURRENT_CALLS * calls_of_a_lookup
    if renewals > 1:
        raise Violation(f"{CONCURRENT_CALLS} concurrent calls made {renewals} renewals")


def _token_headers(headers: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """The headers that can contain a token."""
    return {(name, value) for name, value in headers if name == "authorization" or "token" in name or "key" in name}


async def a_redirect_is_blocked_and_not_followed(sandbox: Sandbox) -> None:
    """A redirect is Blocked and never followed, because it would send the credentials to another address."""
    for name, call in _methods(sandbox):
        async with sandbox.network.inject(Fault.REDIRECT):
            outcome = await call(sandbox.adapter)
        if not isinstance(outcome, Blocked):
            raise Violation(f"{name} returned {describe(outcome)}")
    if any(call.url.endswith("/elsewhere") for call in sandbox.network.calls):
        raise Violation("it was followed")


async def the_timeout_is_kept(sandbox: Sandbox) -> None:
    """If no response comes, the outcome after the timeout is Unknown or Retry."""
    adapter = sandbox.new_adapter(time_limit=TIMEOUT)
    start = time.monotonic()
    async with sandbox.network.inject(Fault.HANGS):
        try:
            async with asyncio.timeout(20 * TIMEOUT):
                outcome = await adapter.issue_coupon(replace(sandbox.spec(), first_try=True))
        except TimeoutError:
            seconds = time.monotonic() - start
            raise Violation(f"no outcome after {seconds:.1f} s; the timeout is {TIMEOUT} s") from None
    if not isinstance(outcome, Retry | Unknown):
        raise Violation(f"issue_coupon returned {describe(outcome)}")


def _methods(sandbox: Sandbox) -> list[tuple[str, Callable[[StoreAdapter], Awaitable[object]]]]:
    """Every method that makes calls."""
    spec = sandbox.spec()
    return [
        ("issue_coupon", lambda adapter: adapter.issue_coupon(replace(spec, first_try=True))),
        ("issue_coupon (second attempt)", lambda adapter: adapter.issue_coupon(spec)),
        ("find_coupon", lambda adapter: adapter.find_coupon(spec.code)),
        ("retire_coupon", lambda adapter: adapter.retire_coupon(spec.code)),
        ("check", lambda adapter: adapter.check()),
    ]
