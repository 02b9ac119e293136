"""The conformance kit: tests an adapter on a sandbox store, with `relay conformance my_package.my_store:Adapter`.

    fault_injection.py  is between the adapter and the store, and makes calls fail
    outcome_checks.py   checks every outcome: all except Done have a reason code, and facts that can be stored
    sandbox.py          the adapter under test, specs with new codes, and steps that several cases use
    coupons.py          the requirements while the store works
    carts.py            the hook with which an author lets the kit check discounts in real carts
    cart_cases.py       the requirements for these discounts
    integrity.py        the requirements that only show on the wire, or with a second process
    wire.py             what is read and changed in the JSON of calls
    faults.py           the requirements while the store, or the network, fails
    responses.py        the requirements for unexpected and wrong responses, and for secrets in responses
    native_events.py    the requirements for lists, single entities and webhooks, if the store has them

A case is an async function with one argument, the sandbox. The first line of its docstring is the requirement. The case returns if
the requirement is met, and raises `Violation` or `Skipped` with the reason. The kit does not know any store: it injects a
fault into each call of an operation, whatever that call is. `tests/contract` runs the same cases over the adapters of this project.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

from platform_relay.conformance import cart_cases, coupons, faults, integrity, native_events, responses
from platform_relay.conformance.carts import Carts, Item, load_carts
from platform_relay.conformance.fault_injection import CallLimiter, Fault
from platform_relay.conformance.outcome_checks import InvalidReason
from platform_relay.conformance.sandbox import Sandbox, SandboxData, Skipped, Violation
from platform_relay.stores.base import CouponKind, StoreAdapterClass

Run = Callable[[Sandbox], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """One requirement, and the function that tests it."""

    name: str
    requirement: str
    run: Run


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The result of one case. `problem` is empty if the case passed. `left`: the codes of coupons, and the topics of webhooks,
    that the case created and that may still be in the store."""

    case: Case
    result: Literal["pass", "fail", "skip"]
    problem: str = ""
    left: tuple[str, ...] = ()


def _case(run: Callable[..., Awaitable[None]], *parameters: object) -> Case:
    requirement = (run.__doc__ or "").strip().partition("\n")[0]
    name = " ".join([run.__name__.replace("_", " "), *(f"[{parameter}]" for parameter in parameters)])
    return Case(name, requirement, partial(run, *parameters) if parameters else run)


MAX_RUNS: Final = 5
"""How often a case is run while the store answers 429."""
FIRST: Final = _case(coupons.all_calls_use_the_given_clients)
"""Faults can only be injected if this case passes. If it fails, the other cases are not run."""

CASES: Final[tuple[Case, ...]] = (
    FIRST,
    _case(coupons.check_returns_ready),
    _case(coupons.a_created_coupon_is_found),
    _case(coupons.the_same_spec_twice_gives_one_coupon),
    *(_case(coupons.a_code_with_other_values_is_rejected, field) for field in coupons.OTHER_VALUES),
    *(_case(coupons.a_kind_is_created_or_rejected, kind) for kind in CouponKind),
    *(_case(coupons.an_option_is_kept_or_rejected, option) for option in coupons.OPTIONS),
    *(_case(coupons.an_invalid_spec_never_reaches_the_store, name) for name in coupons.INVALID),
    _case(coupons.amounts_are_exact),
    _case(coupons.time_zones_do_not_matter),
    _case(coupons.a_lookup_finds_only_its_code),
    _case(coupons.a_retired_coupon_cannot_be_used),
    _case(coupons.concurrent_coupons_do_not_mix),
    *(_case(cart_cases.a_cart_gets_the_discount, name) for name in cart_cases.CASES),
    *(_case(integrity.an_altered_number_is_noticed, field) for field in integrity.ALTERED),
    *(_case(integrity.an_amount_is_exact_or_rejected, name) for name in integrity.PRECISE),
    _case(integrity.another_currency_is_kept_or_rejected),
    _case(integrity.a_coupon_of_the_merchant_is_kept),
    _case(integrity.similar_codes_are_kept),
    _case(integrity.changes_of_another_process_are_seen),
    _case(integrity.a_lost_response_creates_no_second_coupon),
    _case(integrity.a_session_is_kept),
    *(_case(faults.one_coupon_after_a_fault, fault) for fault in faults.UNTRUSTWORTHY),
    _case(faults.one_coupon_after_a_crash),
    *(_case(faults.a_failed_lookup_is_not_none, fault) for fault in faults.UNTRUSTWORTHY),
    *(_case(faults.a_failed_retirement_is_not_done, fault) for fault in faults.UNTRUSTWORTHY),
    _case(faults.a_stale_lookup_creates_no_second_coupon),
    _case(faults.an_unreachable_store_is_retry),
    _case(faults.a_429_is_retry_after),
    _case(faults.rejected_credentials_are_blocked, Fault.UNAUTHORIZED),
    _case(faults.rejected_credentials_are_blocked, Fault.FORBIDDEN),
    _case(faults.an_expired_token_is_not_a_rejection),
    _case(faults.concurrent_calls_renew_the_token_once),
    _case(faults.a_redirect_is_blocked_and_not_followed),
    _case(faults.the_timeout_is_kept),
    _case(responses.a_coupon_that_differs_is_rejected_and_deleted),
    *(_case(responses.no_secrets_in_outcomes, status) for status in responses.STATUSES),
    _case(responses.unexpected_responses_raise_nothing),
    _case(responses.unexpected_fields_raise_nothing),
    _case(native_events.missing_lists_are_declared),
    _case(native_events.lists_are_complete),
    _case(native_events.lists_start_at_since),
    _case(native_events.counts_are_those_of_the_lists),
    _case(native_events.a_failed_page_does_not_end_a_list),
    _case(native_events.fetch_returns_the_listed_entity),
    _case(native_events.an_unknown_entity_is_none),
    _case(native_events.unsigned_webhooks_are_not_accepted),
    _case(native_events.a_webhook_is_verified_and_identified),
    _case(native_events.webhooks_are_created_and_deleted),
)


async def run(
    adapter: StoreAdapterClass,
    data: SandboxData,
    cases: Iterable[Case] = CASES,
    *,
    time_limit: float = 15.0,
    rate: float | None = None,
) -> AsyncIterator[CaseResult]:
    """Run the cases and yield their results. `rate`: calls per second that the store allows; None: no limit.

    After each case, every coupon that it created is retired. If the store answers 429 to a call of a case, the kit waits as
    long as the store asks for, and runs the case again.
    """
    limiter, left = CallLimiter(rate), tuple[str, ...]()
    for case in cases:
        for _ in range(MAX_RUNS):
            sandbox = Sandbox(adapter, data, time_limit, limiter)
            try:
                result = await _run_case(case, sandbox)
            finally:
                left = await sandbox.aclose()
            if result.result == "pass" or not sandbox.network.rate_limited:
                break
        else:
            result = CaseResult(case, "skip", "the store answered 429 in every run; give the kit its --rate-limit")
        yield replace(result, left=left)
        if case is FIRST and result.result == "fail":
            return


async def _run_case(case: Case, sandbox: Sandbox) -> CaseResult:
    try:
        await case.run(sandbox)
    except (Violation, InvalidReason) as violation:
        return CaseResult(case, "fail", str(violation))
    except Skipped as skipped:
        return CaseResult(case, "skip", str(skipped))
    except Exception as error:  # noqa: BLE001  # an exception is a violation
        return CaseResult(case, "fail", f"it raised {type(error).__name__}: {str(error)[:200]}")
    return CaseResult(case, "pass")


__all__ = [
    "CASES", "FIRST", "Carts", "Case", "CaseResult", "Item", "Sandbox", "SandboxData", "Skipped", "Violation", "load_carts", "run",
]  # fmt: skip
