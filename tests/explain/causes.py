"""The labelled set: causes injected one by one, each with what explain has to name.

Every cause is a function that lets it happen on a `Scene`. It is registered with what is asked, the cause's id and, where
a reason code decides, the code. Wherever possible, reasons come from the code that makes them in production.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from pydantic import ValidationError

from platform_relay.alerts.alerts import Alerts
from platform_relay.core.http import HttpResponse
from platform_relay.core.http_messages import Headers
from platform_relay.core.outcomes import Blocked, Done, Evidence, JobSpec, Reject, Retry, Skip, Unknown, Wait
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons import issuance_limits
from platform_relay.coupons.issuance_limits import Usage
from platform_relay.coupons.records import RedemptionClaim
from platform_relay.coupons.reward_rules import OperatorRule, RewardRuleDefinition, rule_key
from platform_relay.coupons.spec import already_decided
from platform_relay.coupons.valuation_rules import NoValue, RewardValue, find_value
from platform_relay.coupons.verification_rules import list_incomplete
from platform_relay.explain.records import Key
from platform_relay.forwarding.fetch import store_message
from platform_relay.inbox.events import EventKind, OrderEvent
from platform_relay.inbox.messages import PLATFORM, coupon_lane, customer_lane
from platform_relay.inbox.retention import prune_bodies
from platform_relay.platform.client import IncompleteList
from platform_relay.platform.outcomes import unreadable_event
from platform_relay.platform.redemptions import Redemption
from platform_relay.platform.responses import read_response
from platform_relay.platform.rules import RewardKind
from platform_relay.queue.decide import Interrupted
from platform_relay.queue.queue import Queue
from platform_relay.queue.retry import RetryPolicy
from platform_relay.queue.runner import Runner
from platform_relay.queue.states import doubt_key
from platform_relay.setting_groups import CouponSettings, IssuanceLimitSettings
from platform_relay.stores.base import (
    CouponKind,
    CouponSpec,
    Difference,
    StoreCoupon,
    check_spec,
    compare_existing,
    created_differently,
    difference_facts,
    differences,
    with_cleanup,
)
from platform_relay.stores.native import Ignored, ToFetch, Unreadable, not_relayed, unreadable_webhook
from platform_relay.stores.woocommerce.adapter import WooCommerce
from platform_relay.stores.woocommerce.events import to_event
from tests.explain.scene import CODE, EMAIL, HASTY, Scene, answered

THE_PLATFORM: Final = "the Platform"
THE_STORE: Final = "the store"
UNCHANGED: Final = because(ReasonCode.UNCHANGED, destination=THE_PLATFORM)
NOT_REACHED: Final = because(ReasonCode.CONNECTION_FAILED, destination=THE_STORE, error="Connection refused")
Inject = Callable[[Scene], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Injected:
    """`inject` may give the key to ask for; else it is `key`."""

    name: str
    inject: Inject
    by: Key
    key: str
    cause: str
    status: int | None = None
    code: ReasonCode | None = None


CAUSES: Final[list[Injected]] = []


def injected(
    by: Key, key: str, cause: str, code: ReasonCode | None = None, *, status: int | None = None
) -> Callable[[Inject], Inject]:
    def register(inject: Inject) -> Inject:
        CAUSES.append(Injected(inject.__name__, inject, by, key, cause, status, code))
        return inject

    return register


def at(second: int) -> str:
    return (datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(seconds=second)).isoformat()


# ----------------------------------------------------------------------------------------------- orders: refused


def refused(status: int, message: str | None) -> Inject:
    async def inject(scene: Scene) -> None:
        await scene.order()
        await scene.run(answered(status, message))

    return inject


for status, said in (
    (400, "financialStatus is wrong"), (402, "plan too small"), (405, None), (406, None), (410, None),
    (413, "payload too large"), (414, None), (415, "unsupported media type"), (422, "currency must be ISO 4217"),
    (451, None),
):  # fmt: skip
    CAUSES.append(
        Injected(
            f"rejected_{status}",
            refused(status, said),
            "order",
            "1001",
            "rejected",
            status,
            ReasonCode.REJECTED_BY_DESTINATION,
        )
    )


# ----------------------------------------------------------------------------------------------- orders: well


@injected("order", "1001", "delivered")
async def delivered(scene: Scene) -> None:
    await scene.order()
    await scene.run(answered(200))


@injected("order", "#1001", "delivered")
async def asked_as_people_write_it(scene: Scene) -> None:
    await delivered(scene)


@injected("order", "1001", "delivered")
async def body_pruned(scene: Scene) -> None:
    await delivered(scene)
    await prune_bodies(scene.engine, timedelta(0), datetime.now(UTC) + timedelta(seconds=5))


@injected("order", "1001", "not_paid")
async def delivered_before_it_was_paid(scene: Scene) -> None:
    await scene.order(financialStatus="pending")
    await scene.run(answered(200))


@injected("order", "1001", "refunded")
async def refunded(scene: Scene) -> None:
    await scene.order(financialStatus="refunded")
    await scene.run(answered(200))


@injected("order", "1001", "total_zero")
async def order_of_nothing(scene: Scene) -> None:
    await scene.order(totalPrice="0.00")
    await scene.run(answered(200))


@injected("order", "1001", "duplicate")
async def sent_twice(scene: Scene) -> None:
    for outcome in (answered(200), Skip(UNCHANGED)):
        await scene.order()
        await scene.run(outcome)


@injected("customer", "42", "unchanged")
async def unchanged_but_for_what_is_not_sent(scene: Scene) -> None:
    await scene.customer(updatedAt=at(1))
    await scene.run(answered(200))
    await scene.customer(updatedAt=at(2))
    await scene.run(Skip(UNCHANGED))


@injected("message", "", "newer_version")
async def replaced_while_it_waited(scene: Scene) -> str:
    first = await scene.customer(updatedAt=at(1))
    await scene.customer(updatedAt=at(2))
    await scene.run(answered(200))
    return str(first.id)


@injected("customer", "42", "newer_version")
async def an_older_version_came_late(scene: Scene) -> None:
    await scene.customer(updatedAt=at(5))
    await scene.run(answered(200))
    await scene.customer(updatedAt=at(1))
    await scene.run(answered(500))


@injected("customer", "42", "newer_version_ahead", ReasonCode.NEWER_VERSION_AHEAD)
async def a_version_of_the_future_was_delivered(scene: Scene) -> None:
    await scene.customer(updatedAt=at(1))
    await scene.run(answered(200))
    await scene.sql("UPDATE entity SET version = '2062-11-20T10:00:00Z'")
    await scene.customer(updatedAt=at(2))
    await scene.run(answered(500))


# ----------------------------------------------------------------------------------------------- orders: waiting


@injected("order", "1001", "waiting_for_turn")
async def just_accepted(scene: Scene) -> None:
    await scene.order()


@injected("order", "1001", "being_sent")
async def in_flight(scene: Scene) -> None:
    await scene.order()
    await Queue(scene.engine, PLATFORM).claim(1, lease=30)


@injected("order", "1001", "worker_lost")
async def its_worker_died(scene: Scene) -> None:
    await in_flight(scene)
    await scene.sql("UPDATE lane SET lease_until = now() - interval '1 second'")


@injected("order", "1001", "no_worker")
async def nobody_works(scene: Scene) -> None:
    await scene.order()
    await scene.sql("UPDATE lane SET run_at = now() - interval '10 minutes'")


@injected("order", "1001", "waiting_for_live_events")
async def part_of_an_import(scene: Scene) -> None:
    await scene.order(backfill=True)


@injected("order", "1001", "failing", ReasonCode.DESTINATION_UNAVAILABLE, status=503)
async def the_platform_fails(scene: Scene) -> None:
    await scene.order()
    await scene.run(answered(503, "down for maintenance"))


@injected("order", "1001", "unreachable", ReasonCode.CONNECTION_FAILED)
async def the_platform_cannot_be_reached(scene: Scene) -> None:
    await scene.order()
    await scene.run(Retry(because(ReasonCode.CONNECTION_FAILED, destination=THE_PLATFORM, error="Connection refused")))


@injected("order", "1001", "rate_limited", ReasonCode.RATE_LIMITED, status=429)
async def too_many_calls(scene: Scene) -> None:
    await scene.order()
    await scene.run(answered(429, "slow down"))


@injected("order", "1001", "no_response", ReasonCode.TIMED_OUT)
async def the_answer_never_came(scene: Scene) -> None:
    await scene.order()
    await scene.run(Unknown(because(ReasonCode.TIMED_OUT, destination=THE_PLATFORM, seconds=10)))


@injected("order", "1001", "no_response", ReasonCode.CONNECTION_LOST)
async def the_connection_broke(scene: Scene) -> None:
    await scene.order()
    await scene.run(Unknown(because(ReasonCode.CONNECTION_LOST, destination=THE_PLATFORM)))


@injected("order", "1001", "unreadable_response", ReasonCode.RESPONSE_UNREADABLE, status=200)
async def a_page_instead_of_an_answer(scene: Scene) -> None:
    await scene.order()
    page = read_response(HttpResponse(200, Headers(), b"<html>maintenance</html>"))
    assert isinstance(page, Unknown)
    await scene.run(page)


@injected("order", "1001", "internal_error_retrying", ReasonCode.INTERNAL_ERROR)
async def our_own_bug(scene: Scene) -> None:
    await scene.order()
    await scene.run(KeyError("a bug"))


@injected("order", "1001", "refusal_undecided", ReasonCode.REFUSAL_UNDECIDED)
async def refused_without_a_cause(scene: Scene) -> None:
    await scene.order()
    reason = because(ReasonCode.REFUSAL_UNDECIDED, destination=THE_PLATFORM, status=403)
    await scene.run(Wait(reason, doubt_key(PLATFORM)))


@injected("order", "1001", "entity_refused", ReasonCode.ENTITY_REFUSED)
async def refused_alone(scene: Scene) -> None:
    await scene.order()
    await scene.run(
        Retry(because(ReasonCode.ENTITY_REFUSED, destination=THE_PLATFORM, status=403), None, Evidence(403))
    )


@injected("order", "1001", "outage", ReasonCode.SERVER_ERROR)
async def everything_fails(scene: Scene) -> None:
    await scene.order()
    await scene.run(answered(503))
    reason = because(ReasonCode.SERVER_ERROR, destination=THE_PLATFORM, request="the customer", status=503)
    await scene.destinations.close(PLATFORM, "tripped", reason)


@injected("order", "1001", "destination_paused", ReasonCode.OPERATOR_PAUSED)
async def paused_by_an_operator(scene: Scene) -> None:
    await scene.order()
    await scene.actions.pause(PLATFORM, "the store is moved", "anna")


def blocked(status: int) -> Inject:
    async def inject(scene: Scene) -> None:
        await scene.order()
        outcome = answered(status, "Forbidden" if status != 404 else None)
        assert isinstance(outcome, Blocked)
        await scene.run(outcome)
        await scene.destinations.close(PLATFORM, "blocked", outcome.reason)

    return inject


for status, cause in ((401, "key_rejected"), (403, "key_rejected"), (404, "wrong_address")):
    CAUSES.append(Injected(f"blocked_{status}", blocked(status), "order", "1001", cause, status))


def closed_because(code: ReasonCode, **facts: str) -> Inject:
    async def inject(scene: Scene) -> None:
        await scene.order()
        reason = because(code, destination=THE_PLATFORM, **facts)
        await scene.destinations.close(PLATFORM, "blocked", reason)

    return inject


for name, inject, cause, code in (
    ("expired_certificate", closed_because(ReasonCode.TLS_FAILED), "certificate_rejected", ReasonCode.TLS_FAILED),
    ("redirect", closed_because(ReasonCode.REDIRECTED), "wrong_address", ReasonCode.REDIRECTED),
    ("egress", closed_because(ReasonCode.EGRESS_DENIED, host="10.0.0.1"), "wrong_address", ReasonCode.EGRESS_DENIED),
    ("bad_address", closed_because(ReasonCode.ADDRESS_INVALID), "wrong_address", ReasonCode.ADDRESS_INVALID),
    ("no_key", closed_because(ReasonCode.SETTING_MISSING, setting="PLATFORM__API_KEY"), "setting_missing",
     ReasonCode.SETTING_MISSING),
    ("anything_else", closed_because(ReasonCode.SERVER_ERROR), "destination_blocked", ReasonCode.SERVER_ERROR),
):  # fmt: skip
    CAUSES.append(Injected(f"closed_by_{name}", inject, "order", "1001", cause, code=code))


@injected("order", "1001", "behind_earlier_event")
async def an_earlier_version_is_stuck(scene: Scene) -> None:
    await scene.order()
    await scene.run(answered(500))
    await scene.order(financialStatus="refunded")


@injected("order", "1001", "waiting_for_customer")
async def its_customer_comes_first(scene: Scene) -> None:
    await scene.customer()
    await scene.run(answered(503))
    await scene.order()
    await scene.run(answered(200))  # parked before it is called


@injected("order", "1001", "waiting_for_customer")
async def the_platform_did_not_know_the_customer(scene: Scene) -> None:
    await scene.order()
    put = JobSpec("forward_customer", PLATFORM, customer_lane("42"), params={"from": "order"}, collapse=True)
    await scene.run(Wait(because(ReasonCode.WAITING_FOR_CUSTOMER), customer_lane("42"), 300, (put,), for_lane=True))


@injected("order", "1001", "customer_still_unknown", ReasonCode.CUSTOMER_STILL_UNKNOWN)
async def the_platform_forgot_the_customer(scene: Scene) -> None:
    await scene.order()
    await scene.run(Retry(because(ReasonCode.CUSTOMER_STILL_UNKNOWN, response="Customer not found")))


@injected("order", "1001", "retried_by_operator", ReasonCode.OPERATOR_RETRY)
async def retried(scene: Scene) -> None:
    await scene.order()
    job = await scene.run(answered(422, "no"))
    await scene.actions.retry([job.id], "anna")


@injected("order", "1001", "worker_restarted", ReasonCode.SHUTDOWN)
async def given_back(scene: Scene) -> None:
    await scene.order()
    queue = Queue(scene.engine, PLATFORM)
    [job] = await queue.claim(1, lease=30)
    runner = Runner({}, RetryPolicy(), time_limit=1, longest_wait=1e6, random=lambda: 0.0)
    await queue.settle([runner.settlement(job, Interrupted(sent=False), 0.0)])


# ----------------------------------------------------------------------------------------------- orders: given up


@injected("order", "1001", "customer_rejected", ReasonCode.CUSTOMER_REJECTED)
async def its_customer_was_refused(scene: Scene) -> None:
    await the_platform_did_not_know_the_customer(scene)
    await scene.run(answered(422, "email is invalid"))
    await scene.due()
    await scene.run(Reject(because(ReasonCode.CUSTOMER_REJECTED, response="email is invalid")))


@injected("customer", "42", "rejected", ReasonCode.REJECTED_BY_DESTINATION, status=422)
async def a_customer_is_refused(scene: Scene) -> None:
    await scene.customer()
    await scene.run(answered(422, "birthdayMonth must be 1 to 12"))


@injected("order", "1001", "no_customer", ReasonCode.NO_CUSTOMER)
async def nobody_to_credit(scene: Scene) -> None:
    await scene.order(customerId=None, email=None)
    await scene.run(Reject(because(ReasonCode.NO_CUSTOMER, entity="order")))


@injected("order", "1001", "exhausted", ReasonCode.DESTINATION_UNAVAILABLE, status=503)
async def it_failed_for_too_long(scene: Scene) -> None:
    await scene.order()
    await scene.run(answered(503), policy=HASTY)


@injected("order", "1001", "internal_error", ReasonCode.INTERNAL_ERROR)
async def our_own_bug_for_too_long(scene: Scene) -> None:
    await scene.order()
    await scene.run(KeyError("a bug"), policy=HASTY)


@injected("order", "1001", "expired", ReasonCode.EXPIRED)
async def it_waited_for_too_long(scene: Scene) -> None:
    await scene.order()
    await scene.sql("UPDATE job SET created_at = now() - interval '31 days'")
    await scene.run(answered(200))


@injected("order", "1001", "dropped", ReasonCode.OPERATOR_DROPPED)
async def dropped_by_an_operator(scene: Scene) -> None:
    await scene.order()
    job = await scene.run(answered(422, "no"))
    await scene.actions.drop([job.id], "anna", "a test order")


@injected("order", "1001", "unreadable_event", ReasonCode.STORED_EVENT_UNREADABLE)
async def an_old_body_that_is_no_event(scene: Scene) -> None:
    await scene.order()
    try:
        OrderEvent.parse(b"{}")
    except ValidationError as error:
        await scene.run(unreadable_event(error))


# ----------------------------------------------------------------------------------------------- nothing, or little


@injected("order", "4711", "never_received")
async def never_sent(scene: Scene) -> None:
    await scene.order("1001")


@injected("order", "1001", "older_than_history")
async def its_messages_left_the_history(scene: Scene) -> None:
    await scene.order("1001")
    await scene.run(Done({}, b"digest"))
    await scene.sql("DELETE FROM message")
    await scene.sql("DELETE FROM job")


@injected("message", "00000000-0001-7000-8000-000000000001", "older_than_history")
async def its_id_is_older_than_the_history(scene: Scene) -> None:
    await scene.order("1001")


@injected("order", "4711", "store_webhooks_off")
async def the_shops_webhooks_are_off(scene: Scene) -> None:
    reason = because(ReasonCode.STORE_WEBHOOKS_OFF, topics=["order.updated"])
    await Alerts(scene.engine).raise_alert(reason, "store")


@injected("coupon", "nosuchcode", "never_received")
async def a_code_that_nobody_redeemed(scene: Scene) -> None:
    await scene.redeemed()


@injected("message", "01970c5a-1c1b-7e3a-9d52-6f0b5d3c2a11", "never_received")
async def no_such_message(scene: Scene) -> None:
    await scene.order()


@injected("order", "77", "gone_from_store", ReasonCode.GONE_FROM_STORE)
async def deleted_before_it_was_fetched(scene: Scene) -> None:
    parsed = ToFetch(EventKind.ORDER, "77", "orders:77:1")
    await scene.accept(store_message(parsed, b"{}", source="shop", message_id="m"))
    await scene.run(Skip(because(ReasonCode.GONE_FROM_STORE, entity="order")), "store")


@injected("order", "77", "unreachable", ReasonCode.CONNECTION_FAILED)
async def the_shop_is_away(scene: Scene) -> None:
    parsed = ToFetch(EventKind.ORDER, "77", "orders:77:1")
    await scene.accept(store_message(parsed, b"{}", source="shop", message_id="m"))
    await scene.run(Retry(NOT_REACHED), "store")


@injected("message", "", "ignored")
async def news_of_no_use(scene: Scene) -> str:
    receipt = await scene.accept(
        store_message(
            Ignored(because(ReasonCode.NOT_APPLICABLE, explanation="it is a ping")),
            b"ping",
            source="shop",
            message_id="m",
        )
    )
    return str(receipt.id)


@injected("order", "28", "ignored", ReasonCode.NOT_APPLICABLE)
async def a_draft(scene: Scene) -> None:
    parsed = not_relayed("the order's status is checkout-draft", EventKind.ORDER, 28)
    await scene.accept(store_message(parsed, b'{"id": 28}', source="shop", message_id="m"))


@injected("order", "28", "unreadable_entity", ReasonCode.ENTITY_UNREADABLE)
async def an_order_that_cannot_be_read(scene: Scene) -> None:
    parsed = to_event(EventKind.ORDER, {"id": 28, "status": "processing", "currency": "EURO", "total": "5.00"})
    await scene.accept(store_message(parsed, b'{"id": 28}', source="shop", message_id="m"))
    assert isinstance(parsed, Unreadable)
    await scene.run(Reject(parsed.reason))


@injected("order", "29", "no_buyer", ReasonCode.NO_BUYER)
async def a_sale_at_the_till(scene: Scene) -> None:
    await scene.order("29", customerId=None, email=None)
    await scene.run(Skip(because(ReasonCode.NO_BUYER)))


@injected("order", "9035", "shadow", ReasonCode.SHADOW)
async def received_in_the_trial(scene: Scene) -> None:
    await scene.order("9035", customerId=None, email=None)
    await scene.run(Skip(because(ReasonCode.SHADOW, call="PUT customer")))


@injected("order", "30", "webhooks_refused", ReasonCode.STORE_WEBHOOKS_REFUSED)
async def the_owner_of_the_webhooks_is_gone(scene: Scene) -> None:
    reason = because(ReasonCode.STORE_WEBHOOKS_REFUSED, entity="order", response="woocommerce_rest_cannot_view")
    await Alerts(scene.engine).raise_alert(reason, "woocommerce")


@injected("message", "", "webhooks_unreadable", ReasonCode.STORE_WEBHOOKS_UNREADABLE)
async def a_webhook_of_no_entity(scene: Scene) -> str:
    parsed = unreadable_webhook("WooCommerce", "its body is not JSON")
    receipt = await scene.accept(store_message(parsed, b"{", source="shop", message_id="m"))
    return str(receipt.id)


@injected("order", "31", "webhooks_not_accepted", ReasonCode.WEBHOOKS_NOT_ACCEPTED)
async def a_webhook_that_was_refused(scene: Scene) -> None:
    reason = because(ReasonCode.WEBHOOKS_NOT_ACCEPTED, source="woocommerce", error="body-too-large", size=20_000_000)
    await Alerts(scene.engine).raise_alert(reason, "woocommerce")


@injected("customer", EMAIL, "delivered")
async def asked_by_e_mail(scene: Scene) -> None:
    await scene.customer()
    await scene.run(answered(200))


@injected("customer", "GUEST@example.com", "delivered")
async def a_guest_by_e_mail(scene: Scene) -> None:
    await scene.order(customerId=None, email="Guest@example.com")
    await scene.run(answered(200))


@injected("customer", "42", "rejected", ReasonCode.REJECTED_BY_DESTINATION, status=422)
async def one_bad_order_among_good_ones(scene: Scene) -> None:
    for number, outcome in (("1", answered(200)), ("2", answered(422, "no")), ("3", answered(200))):
        await scene.order(number)
        await scene.run(outcome)


# ----------------------------------------------------------------------------------------------- coupons

SETTINGS: Final = CouponSettings(currency="EUR")
ORDERED: Final = CouponSpec(CODE, CouponKind.FIXED_AMOUNT, Decimal("5.00"), "EUR")


async def held(scene: Scene, outcome: Reject | Wait) -> None:
    """As IssueCoupon ends where an operator or a rule is needed."""
    await scene.coupons.hold(CODE, outcome.reason)
    await scene.run(outcome, "store")


async def by_rule(scene: Scene, value: str | None) -> None:
    _, redemption, _ = await scene.promised()
    rule = None
    if value is not None:
        definition = RewardRuleDefinition.model_construct(kind=RewardKind.FIXED_AMOUNT, value=Decimal(value))
        rule = OperatorRule("rule-7", 1, definition)
    found = find_value(redemption, operator_rule=rule, launcher_rules=(), settings=SETTINGS)
    assert isinstance(found, NoValue)
    await held(scene, Wait(found.reason, found.key))


@injected("coupon", CODE, "no_reward_rule", ReasonCode.NO_VALUE)
async def held_for_a_rule(scene: Scene) -> None:
    await by_rule(scene, None)


@injected("coupon", CODE, "value_zero", ReasonCode.VALUE_ZERO)
async def worth_nothing(scene: Scene) -> None:
    await by_rule(scene, "0.001")


@injected("coupon", CODE, "value_above_limit", ReasonCode.VALUE_ABOVE_LIMIT)
async def worth_too_much(scene: Scene) -> None:
    await by_rule(scene, "100000")


@injected("coupon", CODE, "launcher_unavailable", ReasonCode.LAUNCHER_UNAVAILABLE)
async def the_launcher_is_away(scene: Scene) -> None:
    await scene.promised()
    away = because(ReasonCode.LAUNCHER_UNAVAILABLE, problem="HTTP 503")
    await held(scene, Wait(away, rule_key("rule-7"), 30))


@injected("coupon", CODE, "issuance_limit", ReasonCode.ISSUANCE_LIMIT_REACHED)
async def held_by_an_issuance_limit(scene: Scene) -> None:
    await scene.promised()
    usage = Usage(20, Decimal(0), 20, Decimal(0), 20, Decimal(0))
    exceeded = issuance_limits.exceeded(usage, Decimal(5), IssuanceLimitSettings())
    assert exceeded is not None
    await held(scene, Wait(exceeded[1], issuance_limits.WAIT_KEY, 600))


@injected("coupon", CODE, "confirmation_pending", ReasonCode.CONFIRMATION_PENDING)
async def being_confirmed(scene: Scene) -> None:
    await scene.promised()
    explanation = "the Platform does not list the code among this customer's rewards"
    await held(scene, Wait(because(ReasonCode.CONFIRMATION_PENDING, explanation=explanation), f"confirm:{CODE}", 5))


TOO_LONG: Final = list_incomplete(IncompleteList(200, "it has more pages")).reason


@injected("coupon", CODE, "reward_list_incomplete", ReasonCode.REWARD_LIST_INCOMPLETE)
async def the_list_of_rewards_is_too_long(scene: Scene) -> None:
    await scene.promised()
    await held(scene, Wait(TOO_LONG, f"confirm:{CODE}", 5))


@injected("coupon", CODE, "reward_list_incomplete", ReasonCode.REWARD_LIST_INCOMPLETE)
async def the_list_of_rewards_stayed_too_long(scene: Scene) -> None:
    await scene.promised()
    await held(scene, Reject(TOO_LONG))


@injected("coupon", CODE, "cannot_confirm", ReasonCode.SETTING_MISSING)
async def no_shop_key_to_confirm_with(scene: Scene) -> None:
    await scene.promised()
    await held(scene, Wait(because(ReasonCode.SETTING_MISSING, setting="PLATFORM__SHOP_KEY"), "settings", 600))


@injected("coupon", CODE, "no_store", ReasonCode.NO_STORE)
async def no_shop_is_configured(scene: Scene) -> None:
    await scene.promised()
    await held(scene, Wait(because(ReasonCode.NO_STORE), "settings", 60))


@injected("coupon", CODE, "not_genuine", ReasonCode.NOT_GENUINE)
async def forged(scene: Scene) -> None:
    explanation = "the Platform does not list the code among this customer's rewards"
    receipt, redemption, _ = await scene.promised()
    reason = because(ReasonCode.NOT_GENUINE, explanation=explanation)
    await scene.coupons.hold_claim(RedemptionClaim(redemption, receipt.id), reason, rejected=True)
    await scene.run(Reject(reason), "store")


@injected("coupon", CODE, "code_taken", ReasonCode.CODE_TAKEN)
async def code_taken(scene: Scene) -> None:
    await scene.promised()
    verdict = compare_existing(ORDERED, StoreCoupon("9", CODE, CouponKind.PERCENTAGE, Decimal(50), usage_limit=1))
    assert isinstance(verdict, Reject)
    await held(scene, verdict)


@injected("coupon", CODE, "coupon_differs", ReasonCode.COUPON_DIFFERS)
async def coupon_edited(scene: Scene) -> None:
    await scene.promised()
    different = differences(ORDERED, StoreCoupon("9", CODE, CouponKind.FIXED_AMOUNT, Decimal(0), "EUR", usage_limit=1))
    await held(scene, with_cleanup(created_differently(ORDERED, different), Done(), "9"))


@injected("message", "", "code_of_another_redemption", ReasonCode.CODE_OF_ANOTHER_REDEMPTION)
async def a_code_promised_twice(scene: Scene) -> str:
    await issued(scene)
    second = await scene.redeemed(identifier="p-2")
    coupon = await scene.coupons.find(CODE)
    assert coupon is not None
    verdict = already_decided(coupon, Redemption(CODE, "p-2", "amountdiscount", "rule-7"), second.id)
    assert isinstance(verdict, Reject)
    await scene.run(verdict, "store")
    return str(second.id)


@injected("coupon", CODE, "not_supported_by_store", ReasonCode.NOT_SUPPORTED_BY_STORE)
async def the_shop_has_no_such_coupons(scene: Scene) -> None:
    await scene.promised()
    order = CouponSpec(CODE, CouponKind.GIFT_CARD, Decimal(5), "EUR")
    verdict = check_spec(order, WooCommerce, datetime.now(UTC))
    assert isinstance(verdict, Reject)
    await held(scene, verdict)


@injected("coupon", CODE, "rejected_by_store", ReasonCode.REJECTED_BY_DESTINATION, status=400)
async def the_shop_refuses(scene: Scene) -> None:
    await scene.promised()
    facts = {"destination": THE_STORE, "response": "invalid parameter amount"}
    await held(scene, Reject(because(ReasonCode.REJECTED_BY_DESTINATION, status=400, **facts), Evidence(400)))


@injected("message", "", "no_coupon_code", ReasonCode.NO_COUPON_CODE)
async def a_redemption_without_a_code(scene: Scene) -> str:
    receipt = await scene.redeemed(code=None)
    await scene.run(Reject(because(ReasonCode.NO_COUPON_CODE)), "store")
    return str(receipt.id)


@injected("coupon", CODE, "unreachable", ReasonCode.CONNECTION_FAILED)
async def shop_away(scene: Scene) -> None:
    await scene.promised()
    await scene.run(Retry(NOT_REACHED), "store")


@injected("coupon", CODE, "coupon_not_visible", ReasonCode.COUPON_NOT_VISIBLE)
async def the_shop_does_not_show_it_yet(scene: Scene) -> None:
    await scene.promised()
    await scene.run(Retry(because(ReasonCode.COUPON_NOT_VISIBLE, destination=THE_STORE, code=CODE), 2.0), "store")


@injected("coupon", CODE, "key_rejected", ReasonCode.KEY_REJECTED)
async def the_shop_refuses_our_key(scene: Scene) -> None:
    await scene.promised()
    reason = because(ReasonCode.KEY_REJECTED, destination=THE_STORE, status=401)
    await scene.destinations.close("store", "blocked", reason)


async def issued(scene: Scene) -> None:
    receipt, redemption, _ = await scene.promised()
    claim = RedemptionClaim(redemption, receipt.id)
    valued = RewardValue(
        RewardKind.FIXED_AMOUNT, Decimal("5.00"), "EUR", "rule", "the operator's rule rule-7", "rule-7", 1
    )
    await scene.coupons.admit(claim, valued)
    await scene.coupons.activate(CODE, "9")
    await scene.run(Done({"code": CODE, "store_id": "9"}), "store")


@injected("coupon", CODE.upper(), "coupon_active")
async def in_the_shop(scene: Scene) -> None:
    await issued(scene)


@injected("coupon", CODE, "coupon_changed", ReasonCode.COUPON_DRIFT)
async def edited_in_the_shop_afterwards(scene: Scene) -> None:
    await issued(scene)
    changed = difference_facts([Difference("value", "50.00", "5.00")])
    await Alerts(scene.engine).raise_alert(because(ReasonCode.COUPON_DRIFT, code=CODE, differences=changed), CODE)


@injected("coupon", CODE, "coupon_used", ReasonCode.COUPON_USED)
async def used(scene: Scene) -> None:
    await issued(scene)
    await scene.order(discountCodes=[{"code": CODE}])
    follow_up = JobSpec("use_reward", PLATFORM, coupon_lane(CODE), params={"code": CODE, "order": "1001"})
    await scene.run(Done(digest=b"d", follow_ups=(follow_up,)))
    await scene.coupons.use(CODE, "1001")
    await scene.run(answered(200))


@injected("coupon", CODE, "coupon_retired", ReasonCode.COUPON_RETIRED)
async def made_unusable(scene: Scene) -> None:
    await issued(scene)
    await scene.coupons.retire(CODE, because(ReasonCode.COUPON_RETIRED, by="anna", comment="redeemed by mistake"))


@injected("order", "1001", "delivered")
async def an_order_whose_coupon_is_dead(scene: Scene) -> None:
    await code_taken(scene)
    await scene.order(discountCodes=[{"code": CODE}])
    await scene.run(answered(200))
