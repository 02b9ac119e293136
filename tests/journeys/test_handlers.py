"""The handlers of the Platform's journey against the Platform simulator: what they call, and what they answer."""

from dataclasses import replace
from typing import Any  # what a simulator's ledger holds

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import Alerts
from platform_relay.alerts.platform_drift import PlatformDrift
from platform_relay.core.compute import ComputeProcess
from platform_relay.core.http import HttpClient
from platform_relay.core.outcomes import Blocked, Done, Reject, Retry, Skip, Unknown, Wait
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.transitions import Coupons
from platform_relay.coupons.use_reward import UseReward
from platform_relay.forwarding.customer import ForwardCustomer
from platform_relay.forwarding.order import ForwardOrder
from platform_relay.forwarding.product import ForwardProduct
from platform_relay.forwarding.unreadable import UNREADABLE, RejectUnreadable
from platform_relay.inbox.events import OrderEvent
from platform_relay.inbox.stored_customers import Customers
from platform_relay.platform import translation
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.fields import ASSUMED, Fields
from platform_relay.platform.launcher import LauncherCache, LauncherFacts
from platform_relay.platform.redemptions import Redemption
from simulators.process import Simulator
from tests.journeys.handler_jobs import client_of, job, store_job, store_message
from tests.unit.test_decide import JOB

CUSTOMER = {"id": "42", "email": "jane@example.com", "name": "Jane Doe"}
ORDER = {
    "id": "1001",
    "customerId": "42",
    "email": "jane@example.com",
    "financialStatus": "paid",
    "currency": "EUR",
    "totalPrice": "19.98",
}


@pytest.fixture
def forward_order(client: PlatformClient, engine: AsyncEngine) -> ForwardOrder:
    return ForwardOrder(client, Coupons(engine), Customers(engine), Alerts(engine), ComputeProcess())


@pytest.fixture
def forward_customer(client: PlatformClient, engine: AsyncEngine) -> ForwardCustomer:
    return ForwardCustomer(client, Customers(engine), ComputeProcess(), PlatformDrift(engine, Fields()))


def seed(platform: Simulator) -> None:
    platform.control("customers", customers=[{"customerId": "42", "email": "jane@example.com", "points": 5000}])


def calls(platform: Simulator) -> list[tuple[str, bool]]:
    return [(entry["kind"], entry["applied"]) for entry in platform.ledger()]


# -------------------------------------------------------------------------------- customers


async def test_a_customer_is_put_and_an_equal_body_is_not_sent_again(
    platform: Simulator, forward_customer: ForwardCustomer
) -> None:
    done = await forward_customer(job("forward_customer", CUSTOMER))
    assert isinstance(done, Done)
    assert platform.state("customers", "42")["name"] == "Jane Doe"
    again = await forward_customer(
        job(
            "forward_customer",
            {**CUSTOMER, "updatedAt": "2025-01-01T00:00:00Z"},
            exists_remotely=True,
            delivered_digest=done.digest,
        )
    )
    assert isinstance(again, Skip)
    assert calls(platform) == [("customer.put", True)]


@pytest.mark.parametrize("identifier", ["a/b", "a b?c=d#e", "%41", "ä", "jane@example.com", "+", "a;b", "..x"])
async def test_any_id_reaches_the_platform_as_it_is(
    platform: Simulator, forward_customer: ForwardCustomer, identifier: str
) -> None:
    assert isinstance(await forward_customer(job("forward_customer", {"id": identifier})), Done)
    assert list(platform.state("customers")) == [identifier]


@pytest.mark.parametrize("identifier", [".", ".."])
async def test_an_id_that_no_address_can_hold_is_rejected(forward_customer: ForwardCustomer, identifier: str) -> None:
    outcome = await forward_customer(job("forward_customer", {"id": identifier}))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.ENTITY_UNREADABLE
    assert outcome.reason.facts.items() >= {"entity": "customer", "id": identifier}.items()


@pytest.mark.parametrize(
    ("rule", "expected", "code"),
    [
        ({"status": 401, "body": {"message": "Unauthorized"}}, Blocked, ReasonCode.KEY_REJECTED),
        ({"status": 403, "body": {"message": "Forbidden"}}, Blocked, ReasonCode.KEY_REJECTED),
        ({"status": 404, "body": "<html>"}, Blocked, ReasonCode.WRONG_ADDRESS),
        ({"mode": "redirect"}, Blocked, ReasonCode.REDIRECTED),
        (
            {"status": 429, "headers": {"retry-after": "9"}, "body": {"message": "slow down"}},
            Retry,
            ReasonCode.RATE_LIMITED,
        ),
        ({"status": 503, "body": "<html>"}, Retry, ReasonCode.DESTINATION_UNAVAILABLE),
        ({"status": 400, "body": {"message": "email is invalid"}}, Reject, ReasonCode.REJECTED_BY_DESTINATION),
        ({"mode": "garbage"}, Unknown, ReasonCode.RESPONSE_UNREADABLE),
        ({"mode": "empty"}, Unknown, ReasonCode.RESPONSE_UNREADABLE),
        ({"mode": "truncated"}, Unknown, ReasonCode.CONNECTION_LOST),
        ({"mode": "not_http"}, Unknown, ReasonCode.RESPONSE_MALFORMED),
        # `times`: on a kept-alive connection, a PUT is sent once more
        ({"mode": "reset_after", "times": 2}, Unknown, ReasonCode.CONNECTION_LOST),
        ({"mode": "gzip_bomb"}, Unknown, ReasonCode.RESPONSE_TOO_LARGE),
        ({"mode": "apply_then", "delay": 3}, Unknown, ReasonCode.TIMED_OUT),
    ],
)
async def test_what_the_platforms_answers_mean(
    platform: Simulator,
    forward_customer: ForwardCustomer,
    rule: dict[str, Any],
    expected: type[Blocked | Retry | Reject | Unknown],
    code: ReasonCode,
) -> None:
    platform.script(path="/v1/customers", **rule)
    outcome = await forward_customer(job("forward_customer", CUSTOMER))
    assert isinstance(outcome, expected)
    assert outcome.reason.code is code
    assert outcome.reason.facts["destination"] == "the Platform"
    assert outcome.reason.facts.get("status") == outcome.evidence.status
    assert "sim-platform-key" not in repr(outcome)
    if isinstance(outcome, Retry) and "headers" in rule:
        assert outcome.after == 9.0


async def test_without_a_key_nothing_is_called(platform: Simulator, http: HttpClient, engine: AsyncEngine) -> None:
    drift = PlatformDrift(engine, Fields())
    handler = ForwardCustomer(client_of(http, platform.url, api_key=None), Customers(engine), ComputeProcess(), drift)
    outcome = await handler(job("forward_customer", CUSTOMER))
    assert isinstance(outcome, Blocked)
    assert outcome.reason.code is ReasonCode.SETTING_MISSING
    assert outcome.reason.facts["setting"] == "PLATFORM__API_KEY"
    wrong_client = client_of(http, platform.url, api_key=SecretStr("wrong-key-here"))
    wrong = ForwardCustomer(wrong_client, Customers(engine), ComputeProcess(), drift)
    assert isinstance(await wrong(job("forward_customer", CUSTOMER)), Blocked)
    assert calls(platform) == [("customer.put", False)]


# -------------------------------------------------------------------------------- products


async def test_a_product_is_put_before_its_variants(platform: Simulator, client: PlatformClient) -> None:
    handler = ForwardProduct(client, ComputeProcess())
    body = {"id": "7", "title": "Mug", "variants": [{"externalVariantId": "71"}]}
    done = await handler(job("forward_product", body))
    assert isinstance(done, Done)
    assert calls(platform) == [("product.put", True), ("variants.post", True)]
    assert isinstance(
        await handler(job("forward_product", body, exists_remotely=True, delivered_digest=done.digest)), Skip
    )
    fewer = await handler(
        job("forward_product", {**body, "variants": []}, exists_remotely=True, delivered_digest=done.digest)
    )
    assert isinstance(fewer, Done)
    assert platform.state("products", "7")["variants"] == {}


async def test_a_product_that_is_unknown_when_its_variants_come_is_sent_again(
    platform: Simulator, client: PlatformClient
) -> None:
    platform.script(path="^/v1/products/7/variants$", status=404, body={"message": "Product not found"})
    body = {"id": "7", "variants": [{"externalVariantId": "71"}]}
    outcome = await ForwardProduct(client, ComputeProcess())(job("forward_product", body))
    assert isinstance(outcome, Retry)
    assert outcome.reason.code is ReasonCode.RESPONSES_CONTRADICT
    assert outcome.reason.facts.items() >= {"entity": "product", "id": "7", "response": "Product not found"}.items()


async def test_variants_that_a_success_reports_as_failed_are_rejected(
    platform: Simulator, client: PlatformClient
) -> None:
    """The call sends the complete list, so it can be repeated: its failure is certain."""
    platform.script(path="^/v1/products/7/variants$", status=200, body={"errors": ["the price is not a number"]})
    body = {"id": "7", "variants": [{"externalVariantId": "71"}]}
    outcome = await ForwardProduct(client, ComputeProcess())(job("forward_product", body))
    assert isinstance(outcome, Reject)
    assert outcome.partly_delivered
    assert outcome.reason.code is ReasonCode.FAILURE_REPORTED


async def test_a_product_whose_variants_got_lost_is_not_done(platform: Simulator, client: PlatformClient) -> None:
    platform.script(path="^/variants$|/7/variants$", mode="reset_after")
    body = {"id": "7", "variants": [{"externalVariantId": "71"}]}
    assert isinstance(await ForwardProduct(client, ComputeProcess())(job("forward_product", body)), Unknown)


# -------------------------------------------------------------------------------- orders


async def test_an_order_is_posted_once_and_patched_ever_after(platform: Simulator, forward_order: ForwardOrder) -> None:
    seed(platform)
    done = await forward_order(job("forward_order", ORDER))
    assert isinstance(done, Done)
    refunded = {**ORDER, "financialStatus": "refunded"}
    assert isinstance(
        await forward_order(job("forward_order", refunded, exists_remotely=True, delivered_digest=done.digest)), Done
    )
    assert isinstance(
        await forward_order(job("forward_order", ORDER, exists_remotely=True, delivered_digest=done.digest)), Skip
    )
    assert calls(platform) == [("order.post", True), ("order.patch", True)]
    assert platform.state("orders", "1001")[0]["order"]["financialStatus"] == "refunded"


@pytest.mark.parametrize("name", ["-", "refundTotal"])
async def test_a_second_partial_refund_is_sent(
    platform: Simulator, http: HttpClient, engine: AsyncEngine, name: str
) -> None:
    """Also while no field of the request carries the amount (`-`)."""
    seed(platform)
    client = client_of(http, platform.url, fields={"order.refundedAmount": name})
    handler = ForwardOrder(client, Coupons(engine), Customers(engine), Alerts(engine), ComputeProcess())
    digest = None
    for amount in ("3.00", "5.00"):
        refunded = {**ORDER, "financialStatus": "partially_refunded", "refundedAmount": amount}
        sent = job("forward_order", refunded, exists_remotely=digest is not None, delivered_digest=digest)
        done = await handler(sent)
        assert isinstance(done, Done)
        digest = done.digest
        order = platform.state("orders", "1001")[0]["order"]
        assert order.get("refundTotal") == (None if name == "-" else amount)
        assert "-" not in order
        again = job("forward_order", refunded, exists_remotely=True, delivered_digest=digest)
        assert isinstance(await handler(again), Skip)
    assert calls(platform) == [("order.post", True), ("order.patch", True)]


@pytest.mark.parametrize("second_post", ["conflict", "duplicate", "upsert"])
@pytest.mark.parametrize(
    ("mode", "after"),
    [("reset_after", ["order.patch"]), ("reset_before", ["order.patch", "order.post"])],
)
async def test_an_order_of_unknown_fate_is_probed_before_it_is_posted_again(
    platform: Simulator, forward_order: ForwardOrder, second_post: str, mode: str, after: list[str]
) -> None:
    seed(platform)
    platform.config(second_order_post=second_post)
    platform.script(path="/v1/orders", method="POST", mode=mode)
    assert isinstance(await forward_order(job("forward_order", ORDER)), Unknown)
    assert isinstance(await forward_order(job("forward_order", ORDER, attempt=2, uncertain=True)), Done)
    assert [kind for kind, _ in calls(platform)] == ["order.post", *after]
    assert len(platform.state("orders", "1001")) == 1


async def test_an_order_is_not_created_while_a_call_from_before_a_failover_may_still_arrive(
    platform: Simulator, client: PlatformClient, engine: AsyncEngine
) -> None:
    seed(platform)
    seconds = [7.5]
    handler = ForwardOrder(
        client,
        Coupons(engine),
        Customers(engine),
        Alerts(engine),
        ComputeProcess(),
        lambda _: True,
        lambda: seconds[0],
    )
    waiting = await handler(job("forward_order", ORDER))
    assert isinstance(waiting, Wait)
    assert (waiting.reason.code, waiting.recheck) == (ReasonCode.EARLIER_CALL_MAY_ARRIVE, 7.5)
    assert calls(platform) == [("order.patch", False)]
    seconds[0] = 0.0
    assert isinstance(await handler(job("forward_order", ORDER)), Done)
    assert calls(platform)[1:] == [("order.patch", False), ("order.post", True)]


async def test_an_order_that_is_there_already_is_patched(platform: Simulator, forward_order: ForwardOrder) -> None:
    seed(platform)
    assert isinstance(await forward_order(job("forward_order", ORDER)), Done)
    assert isinstance(await forward_order(job("forward_order", {**ORDER, "totalPrice": "20.00"})), Done)
    assert [kind for kind, _ in calls(platform)] == ["order.post", "order.post", "order.patch"]
    assert platform.state("orders", "1001")[0]["order"]["totalPrice"] == "20.00"


async def test_an_order_that_the_platform_forgot_is_posted(platform: Simulator, forward_order: ForwardOrder) -> None:
    seed(platform)
    assert isinstance(await forward_order(job("forward_order", ORDER, exists_remotely=True)), Done)
    assert [kind for kind, _ in calls(platform)] == ["order.patch", "order.post"]


async def test_a_platform_that_contradicts_itself_is_asked_again_later(
    platform: Simulator, forward_order: ForwardOrder
) -> None:
    platform.script(path="/v1/orders", method="POST", status=409, body={"message": "Order already exists"})
    outcome = await forward_order(job("forward_order", ORDER))
    assert isinstance(outcome, Retry)
    assert outcome.reason.code is ReasonCode.RESPONSES_CONTRADICT
    assert outcome.reason.facts.items() >= {"entity": "order", "id": "1001"}.items()


# -------------------------------------------------------------------------------- the customer is missing


async def test_an_order_of_an_unknown_customer_owes_the_customer_and_waits(
    platform: Simulator, forward_order: ForwardOrder, forward_customer: ForwardCustomer, engine: AsyncEngine
) -> None:
    message = await store_message(engine, "orders")
    waits = await forward_order(job("forward_order", ORDER, message_id=message))
    assert isinstance(waits, Wait)
    assert waits.key == "customer:42"
    assert waits.reason == because(ReasonCode.WAITING_FOR_CUSTOMER)
    (follow_up,) = waits.follow_ups
    assert (follow_up.kind, follow_up.destination, follow_up.lane, follow_up.collapse) == (
        "forward_customer",
        "platform",
        "customer:42",
        True,
    )
    assert isinstance(await forward_customer(job("forward_customer", ORDER, params=follow_up.params)), Done)
    assert platform.state("customers", "42")["email"] == "jane@example.com"
    assert isinstance(await forward_order(job("forward_order", ORDER, message_id=message)), Done)


async def test_a_guests_order_owes_a_customer_by_mail(
    platform: Simulator, forward_order: ForwardOrder, forward_customer: ForwardCustomer
) -> None:
    guest = {**ORDER, "customerId": None, "email": "Guest@example.com", "firstName": "Gus"}
    waits = await forward_order(job("forward_order", guest))
    assert isinstance(waits, Wait)
    assert waits.key == "customer:guest@example.com"
    assert "guest@" not in repr(waits.reason).lower()
    assert isinstance(await forward_customer(job("forward_customer", guest, params=waits.follow_ups[0].params)), Done)
    assert platform.state("customers", "guest@example.com")["name"] == "Gus"
    assert isinstance(await forward_order(job("forward_order", guest)), Done)


async def test_what_the_store_sent_of_the_customer_goes_before_what_the_order_tells(
    platform: Simulator, forward_customer: ForwardCustomer, engine: AsyncEngine
) -> None:
    held = await store_message(engine, "customers", b'{"id": "42", "email": "j@example.com", "phone": "1"}', "42")
    await store_job(engine, held, "forward_customer", "superseded")
    assert isinstance(await forward_customer(job("forward_customer", ORDER, params={"from": "order"})), Done)
    assert platform.state("customers", "42")["phone"] == "1"


@pytest.mark.parametrize(
    ("state", "expected", "code"),
    [
        ("waiting", Wait, ReasonCode.WAITING_FOR_CUSTOMER),
        ("running", Wait, ReasonCode.WAITING_FOR_CUSTOMER),
        ("dead", Reject, ReasonCode.CUSTOMER_REJECTED),
        ("dropped", Reject, ReasonCode.CUSTOMER_REJECTED),
        ("done", Retry, ReasonCode.CUSTOMER_STILL_UNKNOWN),
        ("superseded", Retry, ReasonCode.CUSTOMER_STILL_UNKNOWN),
        ("skipped", Retry, ReasonCode.CUSTOMER_STILL_UNKNOWN),
    ],
)
async def test_an_order_whose_customer_was_owed_once_never_goes_in_circles(
    forward_order: ForwardOrder,
    engine: AsyncEngine,
    state: str,
    expected: type[Wait | Reject | Retry],
    code: ReasonCode,
) -> None:
    message = await store_message(engine, "orders")
    cause = because(ReasonCode.REJECTED_BY_DESTINATION, response="email is invalid")
    await store_job(engine, message, "forward_customer", state, reason=cause)
    outcome = await forward_order(job("forward_order", ORDER, message_id=message))
    assert isinstance(outcome, expected)
    assert outcome.reason.code is code
    if isinstance(outcome, Wait):
        assert outcome.follow_ups == ()
    if isinstance(outcome, Reject):
        assert outcome.reason.facts["cause"] == cause.as_fact()
        assert "email is invalid" in outcome.reason.text


async def test_an_order_of_nobody_is_rejected(forward_order: ForwardOrder) -> None:
    anonymous = {**ORDER, "customerId": None, "email": None}
    outcome = await forward_order(job("forward_order", anonymous))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.NO_CUSTOMER
    assert outcome.reason.facts["entity"] == "order"


# -------------------------------------------------------------------------------- our coupons in orders


async def test_an_order_with_one_of_our_codes_owes_its_use(
    platform: Simulator, forward_order: ForwardOrder, client: PlatformClient, engine: AsyncEngine
) -> None:
    seed(platform)
    platform.control("redeem", customerId="42", ruleId="rule-5-off", code="ab12", deliver=False)
    coupons = Coupons(engine)
    await coupons.open(
        Redemption("ab12", "p-1", "amountdiscount", "r1"), await store_message(engine, "points/redeemed")
    )
    order = {**ORDER, "discountCodes": [{"code": "AB12", "amount": "5"}, {"code": "SUMMER"}]}
    done = await forward_order(job("forward_order", order))
    assert isinstance(done, Done)
    (follow_up,) = done.follow_ups
    assert (follow_up.kind, follow_up.destination, follow_up.lane) == ("use_reward", "platform", "coupon:ab12")

    use = UseReward(client, coupons)
    used = await use(job("use_reward", order, params=follow_up.params))
    assert isinstance(used, Done)
    assert used.digest is not None
    coupon = await coupons.find("ab12")
    assert coupon is not None
    assert (coupon.state, coupon.reason) == ("used", because(ReasonCode.COUPON_USED, order="1001"))
    again = await use(job("use_reward", order, params=follow_up.params, exists_remotely=True))
    assert isinstance(again, Skip)
    assert again.reason.code is ReasonCode.REWARD_ALREADY_USED
    paid_again = await forward_order(job("forward_order", {**order, "totalPrice": "1.00"}, exists_remotely=True))
    assert isinstance(paid_again, Done)
    assert paid_again.follow_ups == ()


async def test_an_order_that_was_never_paid_uses_nothing(
    platform: Simulator, forward_order: ForwardOrder, engine: AsyncEngine
) -> None:
    seed(platform)
    message = await store_message(engine, "points/redeemed")
    await Coupons(engine).open(Redemption("ab12", "p-1", "amountdiscount", "r1"), message)
    done = await forward_order(
        job("forward_order", {**ORDER, "financialStatus": "voided", "discountCodes": [{"code": "ab12"}]})
    )
    assert isinstance(done, Done)
    assert done.follow_ups == ()


@pytest.mark.parametrize("second_use", ["conflict", "not_found", "accept"])
async def test_a_use_whose_answer_was_lost_is_done_the_second_time(
    platform: Simulator, client: PlatformClient, engine: AsyncEngine, second_use: str
) -> None:
    seed(platform)
    platform.config(second_reward_use=second_use)
    platform.control("redeem", customerId="42", ruleId="rule-5-off", code="ab12", deliver=False)
    platform.script(path="/v1/rewards", mode="reset_after")
    use = UseReward(client, Coupons(engine))
    params = {"code": "ab12", "order": "1001"}
    assert isinstance(await use(job("use_reward", ORDER, params=params)), Unknown)
    assert isinstance(await use(job("use_reward", ORDER, params=params, attempt=2, uncertain=True)), Done)


async def test_the_use_of_an_unknown_code_is_rejected(client: PlatformClient, engine: AsyncEngine) -> None:
    use = UseReward(client, Coupons(engine))
    assert isinstance(await use(job("use_reward", ORDER, params={"code": "zzz", "order": "1001"})), Reject)


# -------------------------------------------------------------------------------- the client and the Launcher


async def test_the_launchers_rules_and_currency_are_cached_for_a_minute(
    platform: Simulator, client: PlatformClient
) -> None:
    now = [0.0]
    launcher = LauncherCache(client, lambda: now[0])
    facts = await launcher.facts()
    assert isinstance(facts, LauncherFacts)
    assert facts.currency == "EUR"
    assert {rule.id for rule in facts.rules} >= {"rule-5-off", "rule-per-100", "rule-old"}
    await launcher.facts()
    assert len(calls(platform)) == 2
    now[0] = 61.0
    await launcher.facts()
    assert len(calls(platform)) == 4


async def test_a_launcher_that_fails_is_asked_again_soon(platform: Simulator, client: PlatformClient) -> None:
    now = [0.0]
    launcher = LauncherCache(client, lambda: now[0])
    platform.script(path="/launcher", status=503, body="")
    assert isinstance(await launcher.facts(), Retry)
    assert isinstance(await launcher.facts(), Retry)
    now[0] = 6.0
    assert isinstance(await launcher.facts(), LauncherFacts)


async def test_a_wrong_store_key_is_named(platform: Simulator, http: HttpClient) -> None:
    outcome = await client_of(http, platform.url, shop_key="other").redeem_rules()
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.SETTING_WRONG
    assert outcome.reason.facts["setting"] == "PLATFORM__SHOP_KEY"


async def test_rewards_come_page_by_page_and_only_with_the_right_digest(
    platform: Simulator, client: PlatformClient, http: HttpClient
) -> None:
    seed(platform)
    platform.config(rewards_page_size=2)
    codes = ("aa", "bb", "cc", "dd", "ee")
    for code in codes:
        platform.control("redeem", customerId="42", ruleId="rule-5-off", code=code, deliver=False)
    for code in codes:
        reward = await client.find_reward("42", "Jane@example.com", code)
        assert isinstance(reward, dict)
        assert reward["couponCode"] == code
    assert await client.find_reward("42", "Jane@example.com", "ff") is None
    other = client_of(http, platform.url, shop_key="sim-shop", api_key=SecretStr("another-key"))
    refused = await other.find_reward("42", "jane@example.com", "aa")
    assert isinstance(refused, Reject)
    assert refused.reason.code is ReasonCode.REJECTED_BY_DESTINATION
    assert refused.reason.facts["destination"] == "the Platform's Launcher"
    assert "DigestMismatch" in str(refused.reason.facts["response"])


async def test_a_customer_is_found_by_the_email_address(platform: Simulator, client: PlatformClient) -> None:
    seed(platform)
    customer = await client.find_customer("JANE@example.com")
    assert isinstance(customer, dict)
    assert customer["externalId"] == "42"
    for none_is_404 in (False, True):
        platform.config(customers_none_is_404=none_is_404)
        assert await client.find_customer("nobody@example.com") is None


async def test_points_are_awarded_and_customers_read(platform: Simulator, client: PlatformClient) -> None:
    seed(platform)
    assert not isinstance(await client.return_points("42", 7, "given back"), Reject)
    customer = await client.get_customer("42")
    assert isinstance(customer, dict)
    assert customer["pointBalance"] == 5007
    assert await client.get_customer("nobody") is None
    with pytest.raises(ValueError, match="1 or more"):
        await client.return_points("42", 0, "nothing")


async def test_renamed_fields_reach_the_platform_renamed(
    platform: Simulator, http: HttpClient, engine: AsyncEngine
) -> None:
    seed(platform)
    client = client_of(http, platform.url, fields={"order.subtotalPrice": "net"})
    handler = ForwardOrder(client, Coupons(engine), Customers(engine), Alerts(engine), ComputeProcess())
    assert isinstance(await handler(job("forward_order", {**ORDER, "subtotalPrice": "15.10"})), Done)
    assert platform.state("orders", "1001")[0]["order"]["net"] == "15.10"


async def test_a_stored_body_that_is_no_event_is_rejected(forward_order: ForwardOrder, client: PlatformClient) -> None:
    for outcome in (
        await forward_order(job("forward_order", {"id": "1"})),
        await ForwardProduct(client, ComputeProcess())(job("forward_product", b"")),
    ):
        assert isinstance(outcome, Reject)
        assert outcome.reason.code is ReasonCode.STORED_EVENT_UNREADABLE
        assert outcome.reason.facts["problem"]


async def test_the_digest_of_an_order_is_that_of_its_patch(platform: Simulator, forward_order: ForwardOrder) -> None:
    seed(platform)
    done = await forward_order(job("forward_order", ORDER))
    assert isinstance(done, Done)
    event = OrderEvent.model_validate(ORDER)
    assert done.digest == translation.digest(translation.order(event, ASSUMED))


@pytest.mark.parametrize(
    ("param", "shown"),
    [
        (
            '{"destination": "WooCommerce", "entity": "order", "id": "7"}',
            "The order 7 from WooCommerce cannot be read.",
        ),
        ("erased", "The entity from the store cannot be read."),
    ],
)
async def test_an_entity_that_cannot_be_read_is_rejected_also_when_an_erasure_replaced_its_facts(
    param: str, shown: str
) -> None:
    async def forward(_: object) -> Done:
        raise AssertionError("it is not sent")

    result = await RejectUnreadable(forward)(replace(JOB, params={UNREADABLE: param}))
    assert isinstance(result, Reject)
    assert (result.reason.code, result.reason.text) == (ReasonCode.ENTITY_UNREADABLE, shown)
