"""What operators do about coupons, with the whole service running in this process against both simulators."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any  # Any: bodies are free-form JSON
from uuid import UUID

import httpx
import pytest
from pydantic import HttpUrl, SecretStr
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from platform_relay import wiring
from platform_relay.alerts.alerts import open_alerts
from platform_relay.alerts.watch import watch_queue
from platform_relay.audit import integrity
from platform_relay.audit.queries import list_audit
from platform_relay.core.models import Audit
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons import drift_check, overdue, reward_rules
from platform_relay.coupons.actions import ActionNotPossibleError, CouponActions, NoSuchCouponError
from platform_relay.coupons.ledger import read_ledger
from platform_relay.coupons.queries import list_coupons
from platform_relay.coupons.records import CouponRecord
from platform_relay.coupons.reward_rules import RewardRuleDefinition, rule_key
from platform_relay.coupons.transitions import Coupons
from platform_relay.inbox.events import OrderEvent
from platform_relay.inbox.messages import incoming as order_message
from platform_relay.platform.rules import RewardKind
from platform_relay.platform.webhooks import webhook_message
from platform_relay.queue.oldest_waiting import OldestWaiting
from platform_relay.setting_groups import CouponSettings, PlatformSettings, RetrySettings, StoreSettings
from platform_relay.settings import Settings
from platform_relay.worker import Worker
from simulators.process import Simulator
from tests.helpers import eventually

CODE = "ab12cd34ef56"
KEYS = httpx.BasicAuth("ck_simulator_key", "cs_simulator_key")


@dataclass
class Relay:
    parts: wiring.Services
    actions: CouponActions
    platform: Simulator
    shop: Simulator

    @property
    def engine(self) -> AsyncEngine:
        return self.parts.engine

    async def redeem(self, code: str = CODE, **given: object) -> UUID:
        """The Platform redeems, and its webhook arrives."""
        fields = {"customerId": "42", "ruleId": "rule-5-off", **given}
        body = self.platform.control("redeem", code=code, deliver=False, **fields)["body"]
        return await self.webhook("points/redeemed", body)

    async def webhook(self, topic: str, body: dict[str, Any]) -> UUID:
        raw = httpx.Request("POST", "http://relay", json=body).content
        message_id = uuid7()
        news = self.parts.settings.store.loyalty_sync
        await self.parts.inbox.accept(webhook_message(topic, raw, str(message_id), loyalty_sync=news), message_id)
        return message_id

    async def order(self, number: str, status: str, code: str = CODE) -> None:
        body = {
            "id": number, "customerId": "42", "email": "jane@example.com", "financialStatus": status,
            "currency": "EUR", "totalPrice": "10.00", "discountCodes": [{"code": code, "amount": "5.00"}],
        }  # fmt: skip
        raw = httpx.Request("POST", "http://relay", json=body).content
        message_id = uuid7()
        message = order_message(OrderEvent.parse(raw), raw, message_id=str(message_id))
        await self.parts.inbox.accept(message, message_id)

    async def state(self, state: str, code: str = CODE) -> CouponRecord:
        """Once the coupon is in that state."""

        async def there() -> CouponRecord | None:
            record = await Coupons(self.engine).find(code)
            return record if record and record.state == state else None

        record = await eventually(there, 30)
        assert record is not None
        return record

    async def alerts(self) -> dict[str, str]:
        async with self.engine.connect() as connection:
            return {alert.reason.code: alert.subject for alert in await open_alerts(connection)}


@pytest.fixture
def adapter() -> str:
    return "woocommerce"


@pytest.fixture
async def relay(
    platform_process: Simulator,
    shop_process: Simulator,
    database_url: str,
    adapter: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Relay]:
    platform_process.reset(config=True)
    shop_process.reset(config=True)
    platform_process.control(
        "customers", customers=[{"customerId": "42", "email": "jane@example.com", "points": 100_000}]
    )
    monkeypatch.setenv("WOOCOMMERCE__URL", shop_process.url)
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_KEY", "ck_simulator_key")
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_SECRET", "cs_simulator_key")
    monkeypatch.setenv("GENERIC_HTTP__URL", shop_process.url + "/relay")
    monkeypatch.setenv("GENERIC_HTTP__SECRET", "whsec_c2ltdWxhdG9yLXNlY3JldC1zaW11bGF0b3Itc2VjcmV0")
    settings = Settings(
        _env_file=None,
        platform=PlatformSettings(
            url=HttpUrl(platform_process.url),
            launcher_url=HttpUrl(platform_process.url),
            api_key=SecretStr("sim-platform-key"),
            shop_key="sim-shop",
            timeout=2,
        ),
        store=StoreSettings(adapter=adapter, timeout=2, loyalty_sync=adapter == "generic_http"),
        coupons=CouponSettings(require="confirmed"),
        retry=RetrySettings(initial_delay=0.1, max_delay=0.5),
        poll_interval=0.05,
    )
    async with wiring.services(settings, database_url, "test") as parts, wiring.clients(parts) as clients:
        worker = Worker(parts, clients)
        task = asyncio.create_task(worker.run())
        coupon_actions = CouponActions(parts.engine, parts.actions, settings.coupons)
        yield Relay(parts, coupon_actions, platform_process, shop_process)
        worker.stop()
        await task


async def test_an_approved_coupon_is_issued(relay: Relay) -> None:
    await relay.redeem(listed=False)
    await relay.state("held")
    with pytest.raises(NoSuchCouponError):
        await relay.actions.approve("other", "ada", "why")
    await relay.actions.approve(CODE, "ada", "she showed it")
    coupon = await relay.state("active")
    assert (coupon.verification, coupon.value) == ("operator", Decimal("5.00"))
    with pytest.raises(ActionNotPossibleError, match="active"):
        await relay.actions.approve(CODE, "ada", "again")


async def test_a_rule_that_is_created_during_the_attempt_is_used(relay: Relay) -> None:
    """The operator's own rules have been read, and the Platform is slow to tell its: nobody waits for the rule yet."""
    relay.platform.control("rules", rules=[{"id": "rule-x", "pointCost": 100, "discountValue": None}])
    relay.platform.control("latency", seconds=0.8)
    await relay.redeem(ruleId="rule-x")
    await eventually(lambda: any(entry["path"].endswith("/shop/rules/redeem") for entry in relay.platform.ledger()))
    definition = RewardRuleDefinition(kind=RewardKind.FIXED_AMOUNT, value=Decimal(9), currency="EUR")
    async with relay.engine.begin() as connection:
        await reward_rules.put(connection, "rule-x", definition, "ada")
    assert await relay.parts.actions.wake([rule_key("rule-x")]) == 0
    relay.platform.control("latency", seconds=0)
    assert (await relay.state("active")).value == Decimal("9.00")


async def test_an_operator_sets_the_value_of_a_held_coupon(relay: Relay) -> None:
    relay.platform.control("rules", rules=[{"id": "rule-x", "pointCost": 100, "discountValue": None}])
    await relay.redeem(ruleId="rule-x")
    await relay.state("held")
    for kind, value in ((None, "5"), (RewardKind.FIXED_AMOUNT, "0"), (RewardKind.FIXED_AMOUNT, "5.001"),
                        (RewardKind.FIXED_AMOUNT, "1001"), (RewardKind.PERCENTAGE, "101"), (RewardKind.FREE_PRODUCT, None),
                        (RewardKind.FREE_SHIPPING, "5")):  # fmt: skip
        with pytest.raises(ActionNotPossibleError):
            await relay.actions.set_value(CODE, kind, value and Decimal(value), "ada", "why")  # type: ignore[arg-type]  # mixed rows
    await relay.actions.set_value(CODE, RewardKind.FIXED_AMOUNT, Decimal("7.5"), "ada", "the rule forgot it")
    coupon = await relay.state("active")
    assert (coupon.value, coupon.currency) == (Decimal("7.50"), "EUR")
    assert [row["amount"] for row in relay.shop.state("coupons", CODE)] == ["7.50"]


async def test_a_coupon_is_retired_and_its_points_are_returned_once(relay: Relay) -> None:
    await relay.redeem()
    await relay.state("active")
    balance = relay.platform.state("customers", "42")["pointBalance"]
    with pytest.raises(ActionNotPossibleError, match="retire it first"):
        await relay.actions.return_points(CODE, "ada", "why")
    await relay.actions.retire(CODE, "ada", "the order was cancelled")
    await relay.state("retired")
    assert relay.shop.state("coupons", CODE) == []
    await relay.actions.return_points(CODE, "ada", "the order was cancelled")
    await relay.state("points_returned")
    with pytest.raises(ActionNotPossibleError, match="already returned"):
        await relay.actions.return_points(CODE, "ada", "again")
    assert relay.platform.state("customers", "42")["pointBalance"] == balance + 500
    async with relay.engine.connect() as connection:
        actions = (await connection.execute(text("SELECT actor, action FROM audit ORDER BY seq"))).all()
        ledger = await read_ledger(connection)
    assert [tuple(row) for row in actions] == [
        ("relay", "coupon.active"),
        ("ada", "coupon.retire"),
        ("relay", "coupon.retired"),
        ("ada", "coupon.return_points"),
        ("relay", "coupon.points_returned"),
    ]
    assert ledger.balanced
    assert [(line.redeemed, line.points_returned) for line in ledger.currencies] == [(Decimal("5.00"), Decimal("5.00"))]


async def test_a_value_that_an_operator_sets_applies_to_the_complete_order(relay: Relay) -> None:
    """What the rule restricts by may be what the store, or nobody, can make of it."""
    relay.platform.control("rules", rules=[{"id": "rule-5-off", "variants": [{"title": "Red"}], "minSpendAmount": 30}])
    await relay.redeem()
    held = await relay.state("held")
    assert held.reason is not None
    assert held.reason.code is ReasonCode.VALUE_UNCERTAIN
    assert held.reason.facts["field"] == "variants"
    await relay.actions.set_value(CODE, RewardKind.FIXED_AMOUNT, Decimal(4), "ada", "any mug will do")
    await relay.state("active")
    [made] = relay.shop.state("coupons", CODE)
    assert (made["amount"], made["product_ids"], made["minimum_amount"]) == ("4.00", [], "0.00")


@pytest.mark.parametrize("fault", [{"mode": "reset_after"}, {"mode": "garbage"}, {"status": 502, "body": "<html>"}])
async def test_points_in_doubt_are_never_sent_twice(relay: Relay, fault: dict[str, Any]) -> None:
    await relay.redeem(listed=False)
    await relay.state("held")
    await relay.actions.retire(CODE, "ada", "not hers")
    await relay.state("retired")
    relay.platform.script(method="POST", path="/v1/customers/42/points", **fault)
    await relay.actions.return_points(CODE, "ada", "not hers", 500)

    async def doubted() -> bool:
        async with relay.engine.connect() as connection:  # the alert is raised before the attempt is settled
            ended = text("SELECT count(*) FROM job WHERE kind = 'return_points' AND state = 'dead'")
            settled = (await connection.execute(ended)).scalar_one() == 1
        return settled and (await relay.alerts()).get("points_in_doubt") == CODE

    await eventually(doubted, 20)

    async def seen() -> bool:
        with pytest.raises(ActionNotPossibleError) as refused:
            await relay.actions.return_points(CODE, "ada", "once more")
        return "unknown whether" in str(refused.value)  # until the job has ended: being returned

    await eventually(seen, 20)
    sent = [entry for entry in relay.platform.ledger() if entry["kind"] == "points.post"]
    assert len(sent) == 1
    assert await relay.actions.dismiss(CODE, "bob", "somebody looks tomorrow") == 1
    assert "points_in_doubt" not in await relay.alerts()
    with pytest.raises(ActionNotPossibleError, match="unknown whether"):
        await relay.actions.return_points(CODE, "ada", "a dismissed alert settles nothing")
    with pytest.raises(ActionNotPossibleError, match="not both"):
        await relay.actions.return_points(CODE, "ada", "looked", again=True, arrived=True)
    await relay.actions.return_points(CODE, "ada", "looked: they are missing", again=True)
    await relay.state("points_returned")
    assert "points_in_doubt" not in await relay.alerts()


async def test_points_that_arrived_count_as_returned_and_are_not_sent_again(relay: Relay) -> None:
    await relay.redeem(listed=False)
    await relay.state("held")
    await relay.actions.set_value(CODE, RewardKind.FIXED_AMOUNT, Decimal(5), "ada", "she asked")
    await relay.state("active")
    await relay.actions.retire(CODE, "ada", "not hers")
    await relay.state("retired")
    with pytest.raises(ActionNotPossibleError, match="never sent"):
        await relay.actions.return_points(CODE, "ada", "looked: they are there", arrived=True)
    relay.platform.script(method="POST", path="/v1/customers/42/points", mode="reset_after")
    await relay.actions.return_points(CODE, "ada", "not hers", 500)

    async def doubted() -> bool:
        async with relay.engine.connect() as connection:
            ended = text("SELECT count(*) FROM job WHERE kind = 'return_points' AND state = 'dead'")
            return int((await connection.execute(ended)).scalar_one()) == 1

    await eventually(doubted, 20)
    assert await ledger_of(relay) == {
        "redeemed": 5,
        "active": 0,
        "used": 0,
        "held": 0,
        "retired": 5,
        "points_returned": 0,
    }
    settled = await relay.actions.return_points(CODE, "ada", "looked: they are there", arrived=True)
    returned = because(ReasonCode.POINTS_RETURNED, points=500, by="ada", comment="looked: they are there")
    assert (settled.state, settled.reason) == ("points_returned", returned)
    assert await ledger_of(relay) == {
        "redeemed": 5,
        "active": 0,
        "used": 0,
        "held": 0,
        "retired": 0,
        "points_returned": 5,
    }
    assert "points_in_doubt" not in await relay.alerts()
    assert len([entry for entry in relay.platform.ledger() if entry["kind"] == "points.post"]) == 1
    async with relay.engine.connect() as connection:
        lines = [(line.actor, line.action) for line in (await list_audit(connection, subject=CODE)).items]
    assert {("ada", "coupon.return_points"), ("ada", "coupon.points_returned")} <= set(lines)
    assert (await integrity.verify(relay.engine)).problem is None


async def ledger_of(relay: Relay) -> dict[str, int]:
    async with relay.engine.connect() as connection:
        ledger = await read_ledger(connection)
    assert ledger.balanced
    [line] = ledger.currencies
    return {
        name: int(getattr(line, name)) for name in ("redeemed", "active", "used", "held", "retired", "points_returned")
    }


async def test_an_order_uses_the_coupon_in_the_relay_and_at_the_platform_and_its_refund_shows(relay: Relay) -> None:
    await relay.redeem()
    await relay.state("active")
    await relay.order("1001", "paid", CODE.upper())
    used = await relay.state("used")
    assert used.orders == {"1001": "paid"}
    assert relay.platform.state("rewards")[CODE]["usedAt"]
    await relay.order("1001", "refunded")

    async def shown() -> bool:
        record = await Coupons(relay.engine).find(CODE)
        return record is not None and record.orders == {"1001": "refunded"}

    await eventually(shown, 20)
    assert await relay.alerts() == {}
    await relay.order("1002", "paid")

    async def seen() -> bool:
        return (await relay.alerts()).get("coupon_overused") == CODE

    await eventually(seen, 20)
    assert await relay.actions.dismiss("other", "ada", "why") == 0
    assert await relay.actions.dismiss(CODE, "ada", "one basket, split by the shop") == 1
    assert await relay.alerts() == {}
    async with relay.engine.connect() as connection:
        [line] = [
            entry for entry in (await list_audit(connection, subject=CODE)).items if entry.action == "coupon.dismiss"
        ]
    assert (line.actor, line.detail) == (
        "ada",
        {"alerts": ["coupon_overused"], "why": "one basket, split by the shop"},
    )
    assert (await integrity.verify(relay.engine)).problem is None
    await relay.order("1002", "partially_refunded")

    async def settled() -> bool:
        async with relay.engine.connect() as connection:
            return not (await connection.execute(text("SELECT count(*) FROM job WHERE open"))).scalar_one()

    await eventually(settled, 20)
    assert await relay.alerts() == {}, "the same orders were looked at"
    await relay.order("1003", "paid")
    await eventually(seen, 20)


async def test_the_drift_check_finds_changes_in_the_store_and_changes_nothing(relay: Relay) -> None:
    codes = [f"{number}b12cd34ef5" for number in range(4)]
    for code in codes:
        await relay.redeem(code)
    made = {code: (await relay.state("active", code)).store_id for code in codes}
    store = relay.parts.store
    assert store is not None
    assert (await drift_check.check_drift(relay.engine, store)).findings == ()
    at = "/wp-json/wc/v3/coupons"
    relay.shop.client.put(f"{at}/{made[codes[0]]}", json={"amount": "50"}, auth=KEYS).raise_for_status()
    relay.shop.client.delete(f"{at}/{made[codes[1]]}", params={"force": "true"}, auth=KEYS).raise_for_status()
    relay.shop.control("use-coupon", code=codes[2])
    relay.shop.control("use-coupon", code=codes[2])
    before = len(relay.shop.ledger(applied=1))
    assert (await drift_check.check_drift(relay.engine, store)).checked == 0, "once an hour"
    await drift_check.make_all_due(relay.engine)
    result = await drift_check.check_drift(relay.engine, store)
    assert sorted((finding.code, finding.kind) for finding in result.findings) == [
        (codes[0], "other_value"), (codes[1], "deleted"), (codes[2], "over_used"),
    ]  # fmt: skip
    assert len(relay.shop.ledger(applied=1)) == before
    assert "coupon_drift" in await relay.alerts()
    relay.shop.outage(True)
    await drift_check.make_all_due(relay.engine)
    assert (await drift_check.check_drift(relay.engine, store)).stopped


async def test_the_deadline_raises_one_alert_which_ends_with_the_coupon(relay: Relay) -> None:
    settings = relay.parts.settings.coupons
    times = settings.deadline, settings.confirm_within
    await relay.redeem(listed=False)
    await relay.state("held")
    async with relay.engine.begin() as connection:
        await connection.execute(text("UPDATE coupon SET received_at = now() - interval '3 min'"))
    assert await overdue.watch_deadline(relay.engine, *times) == 0, "it may be forged"
    async with relay.engine.begin() as connection:
        await connection.execute(text("UPDATE coupon SET received_at = now() - interval '8 min'"))
    await overdue.watch_deadline(relay.engine, *times)
    assert await overdue.watch_deadline(relay.engine, *times) == 0, "one is open already"
    assert await relay.alerts() == {"coupon_overdue": CODE}
    await relay.actions.approve(CODE, "ada", "why")
    await relay.state("active")
    await overdue.watch_deadline(relay.engine, *times)
    assert await relay.alerts() == {}


async def test_refused_redemptions_are_apart_from_held_ones_and_can_be_approved(relay: Relay) -> None:
    await relay.redeem()
    await relay.state("active")
    forged = {"id": "evil", "points": 500, "ruleId": "rule-5-off", "couponCode": "f0", "rewardType": "amountdiscount"}
    await relay.webhook("points/redeemed", {**forged, "customer": None})
    await relay.state("refused", "f0")
    await relay.redeem("9a", listed=False)
    await relay.state("held", "9a")

    async def all_settled() -> bool:
        async with relay.engine.connect() as connection:
            dead: int = (await connection.execute(text("SELECT count(*) FROM job WHERE dead"))).scalar_one()
        return dead == 1

    await eventually(all_settled)
    async with relay.engine.begin() as connection:
        await connection.execute(text("UPDATE coupon SET received_at = now() - interval '1 day'"))
    settings = relay.parts.settings.coupons
    await overdue.watch_deadline(relay.engine, settings.deadline, settings.confirm_within)
    await watch_queue(relay.engine, OldestWaiting())
    assert await relay.alerts() == {"coupon_overdue": "9a"}
    async with relay.engine.connect() as connection:
        ledger = await read_ledger(connection)
        codes = {
            state: [item.code for item in (await list_coupons(connection, state=state)).items]
            for state in ("held", "refused")
        }
    assert codes == {"held": ["9a"], "refused": ["f0"]}
    assert (
        ledger.refused,
        sum(line.coupons for line in ledger.currencies) + sum(line.coupons for line in ledger.kinds),
    ) == (1, 2)
    assert ledger.balanced
    await relay.actions.approve("f0", "ada", "the Platform shows it")
    await relay.state("active", "f0")
    async with relay.engine.connect() as connection:
        assert (await read_ledger(connection)).refused == 0


async def restore(engine: AsyncEngine, lines: list[dict[str, Any]]) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM audit"))
        await connection.execute(insert(Audit), lines)


async def test_a_changed_audit_is_detected(relay: Relay) -> None:
    await relay.redeem()
    await relay.state("active")
    await relay.actions.retire(CODE, "ada", "why")
    await relay.state("retired")
    whole = await integrity.verify(relay.engine)
    assert (whole.entries, whole.problem) == (3, None)
    assert (await integrity.verify(relay.engine, whole.newest_hash)).contains_expected
    assert not (await integrity.verify(relay.engine, "00" * 32)).contains_expected
    async with relay.engine.connect() as connection:
        lines = [dict(row) for row in (await connection.execute(select(Audit.__table__))).mappings()]
    for statement in (
        "UPDATE audit SET detail = jsonb_set(detail, '{value}', '\"9.00\"') WHERE seq = 1",
        "DELETE FROM audit WHERE seq = 2",
        "UPDATE audit SET actor = 'bob' WHERE seq = 3",
        "UPDATE audit SET seq = CASE seq WHEN -2 THEN 3 ELSE 2 END WHERE seq IN (-2, -3)",
        "DELETE FROM audit WHERE seq = 1",
    ):
        async with relay.engine.connect() as connection:
            if "CASE" in statement:  # two lines change places
                await connection.execute(text("UPDATE audit SET seq = -seq WHERE seq IN (2, 3)"))
            await connection.execute(text(statement))
            await connection.commit()
        assert (await integrity.verify(relay.engine)).problem is not None, statement
        await restore(relay.engine, lines)
        assert (await integrity.verify(relay.engine)).problem is None
    # The newest line cut off leaves a integrity that fits; the hash that was noted elsewhere tells.
    async with relay.engine.begin() as connection:
        await connection.execute(text("DELETE FROM audit WHERE seq = 3"))
    assert (await integrity.verify(relay.engine)).problem is None
    assert not (await integrity.verify(relay.engine, whole.newest_hash)).contains_expected


@pytest.mark.parametrize("adapter", ["generic_http"])
async def test_loyalty_data_is_forwarded_signed(relay: Relay) -> None:
    customer = {"id": "u-1", "externalId": "42", "email": "jane@example.com"}
    await relay.webhook("customers/tier_changed", {"customer": customer, "newTier": {"id": "t", "title": "Gold"}})
    await relay.webhook("points/earned", {"id": "e-1", "customer": customer, "points": 5})

    def arrived() -> bool:
        return len([entry for entry in relay.shop.ledger(applied=1) if entry["kind"] == "relay.loyalty"]) == 2

    await eventually(arrived, 20)
    forwarded = [entry["body"] for entry in relay.shop.ledger(applied=1) if entry["kind"] == "relay.loyalty"]
    assert [item["topic"] for item in forwarded] == ["customers/tier_changed", "points/earned"]
    assert forwarded[0]["body"]["newTier"]["title"] == "Gold"


async def test_the_relay_waits_for_a_store_that_shows_coupons_late(relay: Relay) -> None:
    relay.shop.config(stale_read=5.0)
    await relay.redeem()
    await relay.state("active")
    assert [entry["kind"] for entry in relay.shop.ledger(applied=1)].count("coupon.create") == 1
