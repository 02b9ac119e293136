"""The promises of a store's adapter, tried on a running sandbox shop: `relay conformance my_package.my_shop:Adapter`.

    wire.py      stands between the adapter and the store, and lets calls go wrong
    watched.py   looks at every outcome: each but Done has a reason code and facts that can be stored
    sandbox.py   what a case works with: the adapter, orders with fresh codes, what is counted in the store
    coupons.py   what is promised while the store behaves
    faults.py    what is promised while the store, or the way to it, misbehaves
    answers.py   what is promised about answers that are odd, wrong or talkative
    inbound.py           what is promised of lists, single entities and webhooks, where the store has them

A case is an async function of one argument, the sandbox; its first docstring line is the promise. It returns when the
promise was kept, and raises `Broken` or `Skipped` with the reason. Nothing here knows a shop: a fault is tried at each
call that the adapter makes, whatever that call is. `tests/contract` runs the same cases over every adapter of ours.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from platform_relay.conformance import answers, coupons, faults, inbound
from platform_relay.conformance.sandbox import Broken, Facts, Sandbox, Skipped
from platform_relay.conformance.watched import WithoutReason
from platform_relay.conformance.wire import Fault
from platform_relay.stores.base import CouponKind, StoreAdapterClass

Run = Callable[[Sandbox], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """One promise and how it is tried."""

    name: str
    promise: str
    run: Run


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one case; `why` is empty when the promise was kept."""

    case: Case
    result: Literal["pass", "fail", "skip"]
    why: str = ""


def _case(run: Callable[..., Awaitable[None]], *of: object) -> Case:
    words = (run.__doc__ or "").strip().partition("\n")[0]
    name = " ".join([run.__name__.replace("_", " "), *(f"[{each}]" for each in of)])
    return Case(name, words, partial(run, *of) if of else run)


FIRST: Final = _case(coupons.calls_go_through_the_clients)
"""Without it no fault can be tried: when it is broken, nothing else is."""

CASES: Final[tuple[Case, ...]] = (
    FIRST,
    _case(coupons.check_is_ready),
    _case(coupons.what_was_made_is_found),
    _case(coupons.the_same_order_again_is_the_same_coupon),
    *(_case(coupons.another_order_under_the_code_is_rejected_by_name, field) for field in coupons.OTHER),
    *(_case(coupons.a_kind_is_made_or_rejected_by_name, kind) for kind in CouponKind),
    *(_case(coupons.an_option_is_kept_or_rejected_by_name, option) for option in coupons.OPTIONS),
    *(_case(coupons.nonsense_never_reaches_the_shop, name) for name in coupons.NONSENSE),
    _case(coupons.amounts_are_exact),
    _case(coupons.times_are_moments),
    _case(coupons.a_code_is_found_exactly),
    _case(coupons.a_retired_coupon_cannot_be_used),
    _case(coupons.orders_side_by_side_do_not_mix),
    *(_case(faults.one_coupon_after, fault) for fault in faults.UNTRUSTWORTHY),
    _case(faults.one_coupon_after_a_crash),
    *(_case(faults.a_lookup_without_an_answer_is_not_none, fault) for fault in faults.UNTRUSTWORTHY),
    *(_case(faults.a_coupon_is_not_called_retired_after, fault) for fault in faults.UNTRUSTWORTHY),
    _case(faults.a_stale_lookup_is_not_believed),
    _case(faults.nobody_there_is_retry),
    _case(faults.patience_is_kept),
    _case(faults.a_refused_key_is_blocked, Fault.KEY),
    _case(faults.a_refused_key_is_blocked, Fault.RIGHT),
    _case(faults.a_token_that_ended_is_no_refusal),
    _case(faults.one_renewal_at_a_time),
    _case(faults.a_redirect_is_blocked_and_not_followed),
    _case(faults.the_time_limit_is_kept),
    _case(answers.another_coupon_than_ordered_is_rejected_and_removed),
    *(_case(answers.no_secret_in_an_outcome, status) for status in answers.STATUSES),
    _case(answers.odd_answers_raise_nothing),
    _case(answers.fields_that_are_odd_raise_nothing),
    _case(inbound.lists_are_whole),
    _case(inbound.lists_begin_at_since),
    _case(inbound.a_list_without_an_answer_is_not_the_end),
    _case(inbound.an_entity_is_the_one_of_the_list),
    _case(inbound.what_is_gone_is_none),
    _case(inbound.no_webhook_without_a_signature),
    _case(inbound.a_webhook_is_verified_and_named),
    _case(inbound.webhooks_are_set_up_and_taken_down),
)


async def run(
    adapter: StoreAdapterClass, facts: Facts, cases: Iterable[Case] = CASES, *, time_limit: float = 15.0
) -> AsyncIterator[Verdict]:
    """Each case's verdict, as they come; whatever was made in the store is retired in the end."""
    for case in cases:
        sandbox = Sandbox(adapter, facts, time_limit)
        try:
            verdict = await _tried(case, sandbox)
        finally:
            await sandbox.aclose()
        yield verdict
        if case is FIRST and verdict.result == "fail":
            return


async def _tried(case: Case, sandbox: Sandbox) -> Verdict:
    try:
        await case.run(sandbox)
    except (Broken, WithoutReason) as broken:
        return Verdict(case, "fail", str(broken))
    except Skipped as skipped:
        return Verdict(case, "skip", str(skipped))
    except Exception as error:  # noqa: BLE001  # that it raises is the finding
        return Verdict(case, "fail", f"it raised {type(error).__name__}: {str(error)[:200]}")
    return Verdict(case, "pass")


__all__ = ["CASES", "FIRST", "Broken", "Case", "Facts", "Sandbox", "Skipped", "Verdict", "run"]
