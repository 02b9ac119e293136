"""Verification of redemptions, against the simulators and a real database."""

import asyncio
from decimal import Decimal
from typing import Any  # what a simulator's ledger holds

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import Alerts, open_alerts
from platform_relay.core.http import HttpClient
from platform_relay.core.outcomes import Done, Reject, Retry, Skip, Wait
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons import issuance_limits, reward_rules
from platform_relay.coupons.ledger import read_ledger
from platform_relay.coupons.return_points import ReturnPoints
from platform_relay.coupons.reward_rules import RewardRuleDefinition
from platform_relay.coupons.transitions import Coupons
from platform_relay.platform.client import PlatformClient
from platform_relay.stores.woocommerce.adapter import WooCommerce
from simulators.process import Simulator
from tests.journeys.handler_jobs import client_of, job, store_message
from tests.journeys.test_issue_coupon import CODE, REDEEMED, coupon, give, handler, put_rule

JANE = {"customerId": "42", "email": "jane@example.com", "points": 100_000}
EVE = {"customerId": "43", "email": "eve@example.com", "points": 0}
COUPON_RETIRED = because(ReasonCode.COUPON_RETIRED, by="ada")
DEARER = {"id": "rule-9-off", "title": "9 off", "pointCost": 500, "discountValue": 9}


@pytest.fixture
def platform(platform: Simulator) -> Simulator:
    """Knows two customers and one more rule."""
    platform.control("customers", customers=[JANE, EVE])
    platform.control("rules", rules=[DEARER])
    return platform


def redeemed(platform: Simulator, rule: str = "rule-5-off", **given: object) -> dict[str, Any]:
    """A redemption that the Platform knows; the body of its webhook."""
    body: dict[str, Any] = platform.control("redeem", customerId="42", ruleId=rule, code=CODE, deliver=False, **given)[
        "body"
    ]
    return body


async def test_a_redemption_that_the_platform_lists_is_confirmed(
    platform: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine
) -> None:
    issue = handler(store, client, engine, require="confirmed")
    assert isinstance(await give(issue, engine, redeemed(platform)), Done)
    assert (await coupon(engine)).verification == "confirmed"


async def test_a_code_that_is_not_listed_is_checked_again_and_then_rejected(
    platform: Simulator, shop: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine
) -> None:
    issue = handler(store, client, engine, require="confirmed")
    body = redeemed(platform, listed=False)
    waits = await give(issue, engine, body)
    assert isinstance(waits, Wait)
    assert (waits.key, waits.recheck) == (f"confirm:{CODE}", 1.0)
    assert waits.reason.code is ReasonCode.CONFIRMATION_PENDING
    assert (await coupon(engine)).state == "held"
    waits = await give(issue, engine, body, unlisted_for=40)
    assert isinstance(waits, Wait)
    assert waits.recheck == pytest.approx(40, abs=5), "it backs off"
    refused = await give(issue, engine, body, unlisted_for=400, message_id=(await coupon(engine)).message_id)
    assert isinstance(refused, Reject)
    assert refused.reason.code is ReasonCode.NOT_GENUINE
    seconds = refused.reason.facts["seconds"]
    assert refused.reason.facts == {**waits.reason.facts, "seconds": seconds}
    assert seconds == pytest.approx(400, abs=5)
    row = await coupon(engine)
    assert (row.state, row.reason) == ("refused", refused.reason)
    assert shop.ledger() == []


async def test_a_code_that_is_listed_late_gets_its_coupon(
    platform: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine
) -> None:
    issue = handler(store, client, engine, require="confirmed")
    platform.config(rewards_delay=60)
    body = redeemed(platform)
    assert isinstance(await give(issue, engine, body), Wait)
    platform.reset()
    platform.config(rewards_delay=0)
    platform.control("customers", customers=[JANE])
    redeemed(platform)
    assert isinstance(await give(issue, engine, body), Done)


@pytest.mark.parametrize(
    ("altered", "code", "fact"),
    [
        ({"points": 5000, "redeemRule": {"pointCost": 5000}}, ReasonCode.NOT_GENUINE, ("points", "5000", "500")),
        (
            {"redeemRule": {"pointCost": 500, "discountValue": "50.00"}},
            ReasonCode.NOT_GENUINE,
            ("value", "50.00", "5.00"),
        ),
        ({"ruleId": "rule-old"}, None, "is not active"),
        (
            {"customer": {"externalId": "43", "email": "eve@example.com"}},
            ReasonCode.CONFIRMATION_PENDING,
            "does not list the code",
        ),
        (
            {"customer": {"externalId": "43", "email": "jane@example.com"}},
            ReasonCode.CONFIRMATION_PENDING,
            "does not list the code",
        ),
        (
            {"customer": {"email": "nobody@example.com"}},
            ReasonCode.CONFIRMATION_PENDING,
            "does not know the customer",
        ),
        (
            {"customer": {"externalId": "99", "email": "jane@example.com"}},
            ReasonCode.CONFIRMATION_PENDING,
            "does not know the customer",
        ),
        ({"customer": None}, ReasonCode.NOT_GENUINE, "names no customer"),
        ({"ruleId": "rule-9-off"}, ReasonCode.NOT_GENUINE, ("rule", "rule-9-off", "rule-5-off")),
        (
            {"redeemRule": {"pointCost": 500, "discountValue": "5.00", "minSpendAmount": "999"}},
            ReasonCode.NOT_GENUINE,
            ("minimum_spend", "999.00", None),
        ),
    ],
)
@pytest.mark.parametrize("rule_told", [True, False])
async def test_altered_webhooks_create_no_coupon_and_do_not_block_the_genuine_one(
    platform: Simulator,
    shop: Simulator,
    store: WooCommerce,
    client: PlatformClient,
    engine: AsyncEngine,
    altered: dict[str, Any],
    code: ReasonCode | None,
    fact: str | tuple[str, str, str | None],
    rule_told: bool,
) -> None:
    issue = handler(store, client, engine, require="confirmed")
    genuine = redeemed(platform)
    if rule_told:
        await put_rule(engine, "rule-5-off", kind="fixed_amount", value="5", point_cost=500)
    outcome = await give(issue, engine, {**genuine, **altered})
    assert isinstance(outcome, Reject | Wait)
    facts = outcome.reason.facts
    if code is not None:
        assert outcome.reason.code is code
    if isinstance(fact, tuple):
        assert facts["differences"] == [dict(zip(("field", "actual", "expected"), fact, strict=True))]
    else:
        assert fact in str(facts["explanation"])
    assert "eve" not in repr(facts)
    assert shop.state("coupons", CODE) == []
    assert isinstance(await give(issue, engine, genuine), Done)
    assert [made["amount"] for made in shop.state("coupons", CODE)] == ["5.00"]


async def test_a_stolen_code_goes_to_the_customer_who_redeemed_it(
    platform: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine
) -> None:
    issue = handler(store, client, engine, require="confirmed")
    genuine = redeemed(platform)
    stolen = {**genuine, "id": "evil", "customer": {"externalId": "43", "email": "eve@example.com"}}
    assert isinstance(await give(issue, engine, stolen), Wait)
    assert isinstance(await give(issue, engine, genuine), Done)
    row = await coupon(engine)
    assert (row.redemption_id, row.customer_ref, row.state) == (genuine["id"], "42", "active")
    assert isinstance(await give(issue, engine, stolen), Reject)
    assert (await coupon(engine)).state == "active"


async def test_known_checks_the_customer_and_the_rule(
    platform: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine
) -> None:
    issue = handler(store, client, engine, require="known")
    stranger = {**REDEEMED, "customer": {"externalId": "99", "email": "x@example.com"}}
    waits = await give(issue, engine, stranger)
    assert isinstance(waits, Wait)
    assert waits.reason.code is ReasonCode.CONFIRMATION_PENDING
    assert waits.reason.facts == {"explanation": "the Platform does not know the customer"}
    assert isinstance(await give(issue, engine, {**REDEEMED, "id": "p-9", "couponCode": "aa11"}), Done)
    assert (await coupon(engine, "aa11")).verification == "known"


async def test_without_a_store_key_redemptions_that_need_confirmation_are_held(
    platform: Simulator, store: WooCommerce, engine: AsyncEngine
) -> None:
    http = HttpClient(time_limit=2.0)
    client = client_of(http, platform.url)
    await put_rule(engine, "rule-5-off", kind="fixed_amount", value="25", currency="EUR")
    issue = handler(store, client, engine, confirm_above="20")
    waits = await give(issue, engine)
    assert isinstance(waits, Wait)
    assert waits.reason.code is ReasonCode.SETTING_MISSING
    assert waits.reason.facts["setting"] == "PLATFORM__SHOP_KEY"
    small = {**REDEEMED, "id": "p-2", "couponCode": "bb22", "ruleId": "rule-small"}
    await put_rule(engine, "rule-small", kind="fixed_amount", value="19.99", currency="EUR")
    assert isinstance(await give(issue, engine, small), Done)
    await http.aclose()


async def test_a_referral_value_needs_a_rule(
    platform: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine
) -> None:
    issue = handler(store, client, engine, require="confirmed")
    made = platform.control(
        "referral",
        customerId="42",
        friendEmail="friend@example.com",
        codes=["aaa", "bbb"],
        discountAmount="7.50",
        deliver=False,
    )["body"]
    waits = await give(issue, engine, made, topic="referrals/started")
    assert isinstance(waits, Wait)
    assert waits.key == "reward-rule:referral-customer"
    for rule in ("referral-customer", "referral-friend"):
        await put_rule(engine, rule, kind="fixed_amount", value="7.50")
    for number in (0, 1):
        assert isinstance(await give(issue, engine, made, topic="referrals/started", number=number), Done)
    forged = {
        **made,
        "customerReward": {**made["customerReward"], "id": "w-9", "couponCode": "ccc", "discountAmount": 99},
    }
    assert isinstance(await give(issue, engine, forged, topic="referrals/started"), Reject)


async def test_the_rule_at_the_time_of_the_redemption_counts_and_a_later_edit_is_flagged(
    platform: Simulator, shop: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine
) -> None:
    await put_rule(engine, "rule-5-off", kind="fixed_amount", value="6")
    issue = handler(store, client, engine)
    shop.outage(True)
    message = await store_message(engine, "points/redeemed")
    assert not isinstance(await give(issue, engine, message_id=message), Done)
    await put_rule(engine, "rule-5-off", kind="fixed_amount", value="60")
    shop.outage(False)
    assert isinstance(await give(issue, engine, message_id=message, attempt=2, uncertain=True), Done)
    row = await coupon(engine)
    assert (str(row.value), row.rule_version, row.rule_edited) == ("6.00", 1, True)


async def test_an_issuance_limit_holds_coupons_until_it_is_released(
    platform: Simulator, shop: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine
) -> None:
    issue = handler(store, client, engine, issuance_limits={"customer_count": 2})
    bodies = [{**REDEEMED, "id": f"p-{n}", "couponCode": f"c{n}"} for n in range(5)]
    for body in bodies[:2]:
        assert isinstance(await give(issue, engine, body), Done)
    for body in bodies[2:4]:
        waits = await give(issue, engine, body)
        assert isinstance(waits, Wait)
        assert waits.key == issuance_limits.WAIT_KEY
        assert waits.reason.code is ReasonCode.ISSUANCE_LIMIT_REACHED
        assert waits.reason.facts == {
            "setting": "COUPONS__ISSUANCE_LIMITS__CUSTOMER_COUNT",
            "total": "3",
            "measure": "coupons",
            "scope": "one customer",
            "hours": 24,
            "limit": "2",
        }
    held = await coupon(engine, "c2")
    assert (held.state, held.kind, held.value, held.currency) == ("held", "fixed_amount", Decimal("5.00"), "EUR")
    async with engine.connect() as connection:
        ledger = await read_ledger(connection)
    assert [(line.redeemed, line.active, line.held) for line in ledger.currencies] == [
        (Decimal("20.00"), Decimal("10.00"), Decimal("10.00"))
    ]
    assert ledger.kinds == [], "every coupon has a value"
    other = {**bodies[4], "customer": {"externalId": "43", "email": "bob@example.com"}}
    assert isinstance(await give(issue, engine, other), Done), "another customer's coupons go on"
    async with engine.connect() as connection:
        [alert] = await open_alerts(connection)
    assert (alert.reason, alert.subject) == (held.reason, "customer 42")
    async with engine.begin() as connection:
        assert await issuance_limits.release(connection, "ada", "all genuine") == 1
        assert await open_alerts(connection) == [], "a limit that is reached again is another alert"
    for body in bodies[2:4]:
        assert isinstance(await give(issue, engine, body), Done)
    assert len(shop.state("coupons")) == 5


async def test_a_rule_that_is_created_later_gives_the_value(
    store: WooCommerce, client: PlatformClient, engine: AsyncEngine
) -> None:
    issue = handler(store, client, engine)
    async with engine.begin() as connection:
        off = RewardRuleDefinition.model_validate({"kind": "fixed_amount", "value": "5", "active": False})
        await reward_rules.put(connection, "rule-new", off, "operator")
    body = {**REDEEMED, "ruleId": "rule-new"}
    message = await store_message(engine, "points/redeemed")
    assert isinstance(await give(issue, engine, body, message_id=message), Wait)
    await put_rule(engine, "rule-new", kind="fixed_amount", value="7.50")
    assert isinstance(await give(issue, engine, body, message_id=message), Done)
    assert (await coupon(engine)).rule_version == 2
    assert (await Coupons(engine).find_all([CODE]))[0].rule_edited


async def test_a_webhook_with_a_percentage_keeps_the_minimum_spend_of_its_rule(
    platform: Simulator, shop: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine
) -> None:
    body = redeemed(platform, "rule-10-percent")
    body["redeemRule"] = {"pointCost": 800, "discountValue": 10}
    assert isinstance(await give(handler(store, client, engine, require="confirmed"), engine, body), Done)
    assert [(made["amount"], made["minimum_amount"]) for made in shop.state("coupons", CODE)] == [("10.00", "30.00")]


async def test_the_coupon_shows_the_claim_that_is_not_rejected(
    platform: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine
) -> None:
    """While the genuine redemption waits, an operator who looks at the code does not read of the forger's."""
    issue = handler(store, client, engine, require="confirmed")
    platform.config(rewards_delay=60)
    genuine = redeemed(platform)
    refused = await give(issue, engine, {**genuine, "id": "evil", "points": 5000})
    assert isinstance(refused, Reject)
    row = await coupon(engine)
    assert (row.redemption_id, row.reason, row.verification) == ("evil", refused.reason, "failed")
    waits = await give(issue, engine, genuine)
    assert isinstance(waits, Wait)
    row = await coupon(engine)
    assert (row.redemption_id, row.reason, row.verification) == (genuine["id"], waits.reason, None)
    assert isinstance(await give(issue, engine, {**genuine, "id": "evil too", "points": 5000}), Reject)
    assert (await coupon(engine)).reason == waits.reason


async def test_of_two_verified_claims_one_gets_the_code(
    platform: Simulator, shop: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine
) -> None:
    """At a low level, two altered copies may both pass. The first admitted claim gets the code."""
    await put_rule(engine, "rule-one", kind="fixed_amount", value="1")
    await put_rule(engine, "rule-two", kind="fixed_amount", value="2")
    issue = handler(store, client, engine)
    bodies = [{**REDEEMED, "id": f"p-{rule}", "ruleId": rule} for rule in ("rule-one", "rule-two")] * 4
    outcomes = await asyncio.gather(*(give(issue, engine, body) for body in bodies))
    assert sum(isinstance(outcome, Done) for outcome in outcomes) == 1
    assert all(isinstance(outcome, Done | Reject | Skip | Retry) for outcome in outcomes)
    assert not any(outcome.called for outcome in outcomes if isinstance(outcome, Retry)), (
        "lost before the store was called"
    )
    [made] = shop.state("coupons", CODE)
    assert Decimal(made["amount"]) == (await coupon(engine)).value
    assert [entry["kind"] for entry in shop.ledger(applied=1)].count("coupon.create") == 1


async def test_points_are_not_sent_again_after_an_interrupted_attempt(
    platform: Simulator, store: WooCommerce, client: PlatformClient, engine: AsyncEngine
) -> None:
    """A worker that dies during the call leaves the job uncertain, and the Platform adds points at every request."""
    coupons = Coupons(engine)
    assert isinstance(await give(handler(store, client, engine), engine), Done)
    assert await coupons.retire(CODE, COUPON_RETIRED)
    award = ReturnPoints(client, coupons, Alerts(engine))
    params = {"code": CODE, "points": "500"}
    doubted = await award(job("return_points", b"", params=params, attempt=2, uncertain=True))
    assert isinstance(doubted, Reject)
    assert doubted.reason.code is ReasonCode.POINTS_IN_DOUBT
    assert doubted.reason.facts.items() >= {"code": CODE, "points": 500}.items()
    async with engine.connect() as connection:
        assert [(alert.reason, alert.subject) for alert in await open_alerts(connection)] == [(doubted.reason, CODE)]
    assert isinstance(await award(job("return_points", b"", params=params)), Done)
    again = await award(job("return_points", b"", params=params))
    assert isinstance(again, Reject)
    assert again.reason.code is ReasonCode.POINTS_NOT_RETURNABLE, "returned already"
    assert [entry["kind"] for entry in platform.ledger(applied=1)].count("points.post") == 1
