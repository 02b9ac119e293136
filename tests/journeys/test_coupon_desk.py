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
from platform_relay.audit import integrity
from platform_relay.audit.queries import list_audit
from platform_relay.core.models import Audit
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons import drift_check, overdue, reward_rules
from platform_relay.coupons.actions import Correction, CouponActions, ImpossibleError, NoSuchCouponError
from platform_relay.coupons.ledger import read_ledger
from platform_relay.coupons.transitions import CouponRecord, Coupons
from platform_relay.inbox.messages import OrderEvent
from platform_relay.inbox.messages import incoming as order_message
from platform_relay.platform.rewards import rule_key
from platform_relay.platform.rules import RewardKind, RewardRuleDefinition
from platform_relay.platform.webhooks import incoming
from platform_relay.settings import CouponSettings, PlatformSettings, RetrySettings, Settings, StoreSettings
from platform_relay.worker import Worker
from simulators.process import Simulator
from tests.helpers import eventually

CODE = "ab12cd34ef56"
KEYS = httpx.BasicAuth("ck_simulator_key", "cs_simulator_key")


@dataclass
class Relay:
    parts: wiring.Services
    desk: CouponActions
    platform: Simulator
    shop: Simulator

    @property
    def engine(self) -> AsyncEngine:
        return self.parts.engine

    async def redeem(self, code: str = CODE, **given: object) -> UUID:
        """The Platform redeems, and its webhook arrives."""
        asked = {"customerId": "42", "ruleId": "rule-5-off", **given}
        body = self.platform.control("redeem", code=code, deliver=False, **asked)["body"]
        return await self.webhook("points/redeemed", body)

    async def webhook(self, topic: str, body: dict[str, Any]) -> UUID:
        raw = httpx.Request("POST", "http://relay", json=body).content
        message_id = uuid7()
        news = self.parts.settings.store.news
        await self.parts.inbox.accept(incoming(topic, None, raw, str(message_id), news=news), message_id)
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
            found = await Coupons(self.engine).find(code)
            return found if found and found.state == state else None

        found = await eventually(there, 30)
        assert found is not None
        return found

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
            time_limit=2,
        ),
        store=StoreSettings(adapter=adapter, time_limit=2, news=adapter == "generic_http"),
        coupons=CouponSettings(require="confirmed"),
        retry=RetrySettings(first=0.1, longest=0.5),
        poll=0.05,
    )
    async with wiring.services(settings, database_url, "test") as parts, wiring.destinations(parts) as far:
        worker = Worker(parts, far)
        task = asyncio.create_task(worker.run())
        desk = CouponActions(parts.engine, parts.operator, settings.coupons)
        yield Relay(parts, desk, platform_process, shop_process)
        worker.stop()
        await task


async def test_a_held_coupon_is_approved_and_made(relay: Relay) -> None:
    await relay.redeem(listed=False)
    await relay.state("held")
    with pytest.raises(NoSuchCouponError):
        await relay.desk.approve("other", "ada", "why")
    await relay.desk.approve(CODE, "ada", "she showed it")
    made = await relay.state("active")
    assert (made.proof, made.value) == ("operator", Decimal("5.00"))
    with pytest.raises(ImpossibleError, match="active"):
        await relay.desk.approve(CODE, "ada", "again")


async def test_a_rule_that_comes_while_its_redemption_is_looked_at_is_not_slept_through(relay: Relay) -> None:
    """The operator's own rules have been read, and the Platform is slow to tell its: nobody waits for the rule yet."""
    relay.platform.control("rules", rules=[{"id": "rule-x", "pointCost": 100, "discountValue": None}])
    relay.platform.control("latency", seconds=0.8)
    await relay.redeem(ruleId="rule-x")
    await eventually(lambda: any(each["path"].endswith("/shop/rules/redeem") for each in relay.platform.ledger()))
    definition = RewardRuleDefinition(kind=RewardKind.FIXED_AMOUNT, value=Decimal(9), currency="EUR")
    async with relay.engine.begin() as connection:
        await reward_rules.put(connection, "rule-x", definition, "ada")
    assert await relay.parts.operator.wake([rule_key("rule-x")]) == 0
    relay.platform.control("latency", seconds=0)
    assert (await relay.state("active")).value == Decimal("9.00")


async def test_a_held_coupon_without_a_value_is_given_one(relay: Relay) -> None:
    relay.platform.control("rules", rules=[{"id": "rule-x", "pointCost": 100, "discountValue": None}])
    await relay.redeem(ruleId="rule-x")
    await relay.state("held")
    for kind, value in ((None, "5"), (RewardKind.FIXED_AMOUNT, "0"), (RewardKind.FIXED_AMOUNT, "5.001"),
                        (RewardKind.FIXED_AMOUNT, "1001"), (RewardKind.PERCENTAGE, "101"), (RewardKind.FREE_PRODUCT, None),
                        (RewardKind.FREE_SHIPPING, "5")):  # fmt: skip
        with pytest.raises(ImpossibleError):
            await relay.desk.correct(CODE, Correction(kind, value and Decimal(value)), "ada", "why")  # type: ignore[arg-type]  # mixed rows
    await relay.desk.correct(CODE, Correction(RewardKind.FIXED_AMOUNT, Decimal("7.5")), "ada", "the rule forgot it")
    made = await relay.state("active")
    assert (made.value, made.currency) == (Decimal("7.50"), "EUR")
    assert [row["amount"] for row in relay.shop.state("coupons", CODE)] == ["7.50"]


async def test_a_coupon_is_retired_and_its_points_go_back_once(relay: Relay) -> None:
    await relay.redeem()
    await relay.state("active")
    balance = relay.platform.state("customers", "42")["pointBalance"]
    with pytest.raises(ImpossibleError, match="retire it first"):
        await relay.desk.return_points(CODE, "ada", "why")
    await relay.desk.retire(CODE, "ada", "the order was cancelled")
    await relay.state("retired")
    assert relay.shop.state("coupons", CODE) == []
    await relay.desk.return_points(CODE, "ada", "the order was cancelled")
    await relay.state("given_back")
    with pytest.raises(ImpossibleError, match="given back already"):
        await relay.desk.return_points(CODE, "ada", "again")
    assert relay.platform.state("customers", "42")["pointBalance"] == balance + 500
    async with relay.engine.connect() as connection:
        actions = (await connection.execute(text("SELECT actor, action FROM audit ORDER BY seq"))).all()
        ledger = await read_ledger(connection)
    assert [tuple(row) for row in actions] == [
        ("relay", "coupon.active"),
        ("ada", "coupon.retire"),
        ("relay", "coupon.retired"),
        ("ada", "coupon.return_points"),
        ("relay", "coupon.given_back"),
    ]
    assert ledger.balanced
    assert [(line.redeemed, line.given_back) for line in ledger.currencies] == [(Decimal("5.00"), Decimal("5.00"))]


async def test_a_value_that_a_person_says_is_for_the_whole_order(relay: Relay) -> None:
    """What the rule restricts by may be what the store, or nobody, can make of it."""
    relay.platform.control("rules", rules=[{"id": "rule-5-off", "variants": [{"title": "Red"}], "minSpendAmount": 30}])
    await relay.redeem()
    held = await relay.state("held")
    assert held.reason is not None
    assert held.reason.code is ReasonCode.VALUE_UNCERTAIN
    assert held.reason.facts["field"] == "variants"
    await relay.desk.correct(CODE, Correction(RewardKind.FIXED_AMOUNT, Decimal(4)), "ada", "any mug will do")
    await relay.state("active")
    [made] = relay.shop.state("coupons", CODE)
    assert (made["amount"], made["product_ids"], made["minimum_amount"]) == ("4.00", [], "0.00")


@pytest.mark.parametrize("fault", [{"mode": "reset_after"}, {"mode": "garbage"}, {"status": 502, "body": "<html>"}])
async def test_points_in_doubt_are_never_sent_twice(relay: Relay, fault: dict[str, Any]) -> None:
    await relay.redeem(listed=False)
    await relay.state("held")
    await relay.desk.retire(CODE, "ada", "not hers")
    await relay.state("retired")
    relay.platform.script(method="POST", path="/v1/customers/42/points", **fault)
    await relay.desk.return_points(CODE, "ada", "not hers", 500)

    async def doubted() -> bool:
        async with relay.engine.connect() as connection:  # the alert is raised before the attempt is settled
            ended = text("SELECT count(*) FROM job WHERE kind = 'return_points' AND state = 'dead'")
            settled = (await connection.execute(ended)).scalar_one() == 1
        return settled and (await relay.alerts()).get("points_in_doubt") == CODE

    await eventually(doubted, 20)

    async def told() -> bool:
        with pytest.raises(ImpossibleError) as refused:
            await relay.desk.return_points(CODE, "ada", "once more")
        return "in doubt" in str(refused.value)  # until the job has ended: on their way

    await eventually(told, 20)
    asked = [entry for entry in relay.platform.ledger() if entry["kind"] == "points.post"]
    assert len(asked) == 1
    assert await relay.desk.dismiss(CODE, "bob", "somebody looks tomorrow") == 1
    assert "points_in_doubt" not in await relay.alerts()
    with pytest.raises(ImpossibleError, match="in doubt"):
        await relay.desk.return_points(CODE, "ada", "a dismissed alert settles nothing")
    with pytest.raises(ImpossibleError, match="not both"):
        await relay.desk.return_points(CODE, "ada", "looked", again=True, arrived=True)
    await relay.desk.return_points(CODE, "ada", "looked: they are missing", again=True)
    await relay.state("given_back")
    assert "points_in_doubt" not in await relay.alerts()


async def test_points_that_arrived_after_all_are_given_back_in_the_ledger_and_not_sent_again(relay: Relay) -> None:
    await relay.redeem(listed=False)
    await relay.state("held")
    await relay.desk.correct(CODE, Correction(RewardKind.FIXED_AMOUNT, Decimal(5)), "ada", "she asked")
    await relay.state("active")
    await relay.desk.retire(CODE, "ada", "not hers")
    await relay.state("retired")
    with pytest.raises(ImpossibleError, match="nobody has tried"):
        await relay.desk.return_points(CODE, "ada", "looked: they are there", arrived=True)
    relay.platform.script(method="POST", path="/v1/customers/42/points", mode="reset_after")
    await relay.desk.return_points(CODE, "ada", "not hers", 500)

    async def doubted() -> bool:
        async with relay.engine.connect() as connection:
            ended = text("SELECT count(*) FROM job WHERE kind = 'return_points' AND state = 'dead'")
            return int((await connection.execute(ended)).scalar_one()) == 1

    await eventually(doubted, 20)
    assert await ledger_of(relay) == {"redeemed": 5, "active": 0, "used": 0, "held": 0, "retired": 5, "given_back": 0}
    settled = await relay.desk.return_points(CODE, "ada", "looked: they are there", arrived=True)
    returned = because(ReasonCode.POINTS_RETURNED, points=500, by="ada", comment="looked: they are there")
    assert (settled.state, settled.reason) == ("given_back", returned)
    assert await ledger_of(relay) == {"redeemed": 5, "active": 0, "used": 0, "held": 0, "retired": 0, "given_back": 5}
    assert "points_in_doubt" not in await relay.alerts()
    assert len([entry for entry in relay.platform.ledger() if entry["kind"] == "points.post"]) == 1
    async with relay.engine.connect() as connection:
        lines = [(each.actor, each.action) for each in await list_audit(connection, subject=CODE)]
    assert {("ada", "coupon.return_points"), ("ada", "coupon.given_back")} <= set(lines)
    assert (await integrity.verify(relay.engine)).broken is None


async def ledger_of(relay: Relay) -> dict[str, int]:
    async with relay.engine.connect() as connection:
        ledger = await read_ledger(connection)
    assert ledger.balanced
    [line] = ledger.currencies
    return {name: int(getattr(line, name)) for name in ("redeemed", "active", "used", "held", "retired", "given_back")}


async def test_an_order_uses_the_coupon_here_and_there_and_its_refund_shows(relay: Relay) -> None:
    await relay.redeem()
    await relay.state("active")
    await relay.order("1001", "paid", CODE.upper())
    used = await relay.state("used")
    assert used.orders == {"1001": "paid"}
    assert relay.platform.state("rewards")[CODE]["usedAt"]
    await relay.order("1001", "refunded")

    async def shown() -> bool:
        found = await Coupons(relay.engine).find(CODE)
        return found is not None and found.orders == {"1001": "refunded"}

    await eventually(shown, 20)
    assert await relay.alerts() == {}
    await relay.order("1002", "paid")

    async def told() -> bool:
        return (await relay.alerts()).get("coupon_overused") == CODE

    await eventually(told, 20)
    assert await relay.desk.dismiss("other", "ada", "why") == 0
    assert await relay.desk.dismiss(CODE, "ada", "one basket, split by the shop") == 1
    assert await relay.alerts() == {}
    async with relay.engine.connect() as connection:
        [line] = [each for each in await list_audit(connection, subject=CODE) if each.action == "coupon.dismiss"]
    assert (line.actor, line.detail) == (
        "ada",
        {"alerts": ["coupon_overused"], "why": "one basket, split by the shop"},
    )
    assert (await integrity.verify(relay.engine)).broken is None
    await relay.order("1002", "partially_refunded")

    async def settled() -> bool:
        async with relay.engine.connect() as connection:
            return not (await connection.execute(text("SELECT count(*) FROM job WHERE open"))).scalar_one()

    await eventually(settled, 20)
    assert await relay.alerts() == {}, "the same orders were looked at"
    await relay.order("1003", "paid")
    await eventually(told, 20)


async def test_the_patrol_finds_what_was_changed_in_the_shop_and_changes_nothing(relay: Relay) -> None:
    codes = [f"{number}b12cd34ef5" for number in range(4)]
    for code in codes:
        await relay.redeem(code)
    made = {code: (await relay.state("active", code)).store_id for code in codes}
    store = relay.parts.store
    assert store is not None
    assert (await drift_check.tour(relay.engine, store)).findings == ()
    at = "/wp-json/wc/v3/coupons"
    relay.shop.client.put(f"{at}/{made[codes[0]]}", json={"amount": "50"}, auth=KEYS).raise_for_status()
    relay.shop.client.delete(f"{at}/{made[codes[1]]}", params={"force": "true"}, auth=KEYS).raise_for_status()
    relay.shop.control("use-coupon", code=codes[2])
    relay.shop.control("use-coupon", code=codes[2])
    before = len(relay.shop.ledger(applied=1))
    assert (await drift_check.tour(relay.engine, store)).looked_at == 0, "once an hour"
    await drift_check.forget(relay.engine)
    tour = await drift_check.tour(relay.engine, store)
    assert sorted((each.code, each.kind) for each in tour.findings) == [
        (codes[0], "other_value"), (codes[1], "deleted"), (codes[2], "over_used"),
    ]  # fmt: skip
    assert len(relay.shop.ledger(applied=1)) == before
    assert "coupon_drift" in await relay.alerts()
    relay.shop.outage(True)
    await drift_check.forget(relay.engine)
    assert (await drift_check.tour(relay.engine, store)).stopped


async def test_the_deadline_raises_one_alert_which_ends_with_the_coupon(relay: Relay) -> None:
    await relay.redeem(listed=False)
    await relay.state("held")
    async with relay.engine.begin() as connection:
        await connection.execute(text("UPDATE coupon SET received_at = now() - interval '3 min'"))
    deadline = relay.parts.settings.coupons.deadline
    await overdue.watch_deadline(relay.engine, deadline)
    assert await overdue.watch_deadline(relay.engine, deadline) == 0, "one is open already"
    assert await relay.alerts() == {"coupon_overdue": CODE}
    await relay.desk.approve(CODE, "ada", "why")
    await relay.state("active")
    await overdue.watch_deadline(relay.engine, deadline)
    assert await relay.alerts() == {}


async def restore(engine: AsyncEngine, lines: list[dict[str, Any]]) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM audit"))
        await connection.execute(insert(Audit), lines)


async def test_the_audit_tells_when_it_was_changed(relay: Relay) -> None:
    await relay.redeem()
    await relay.state("active")
    await relay.desk.retire(CODE, "ada", "why")
    await relay.state("retired")
    whole = await integrity.verify(relay.engine)
    assert (whole.lines, whole.broken) == (3, None)
    assert (await integrity.verify(relay.engine, whole.head)).noted
    assert not (await integrity.verify(relay.engine, "00" * 32)).noted
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
        assert (await integrity.verify(relay.engine)).broken is not None, statement
        await restore(relay.engine, lines)
        assert (await integrity.verify(relay.engine)).broken is None
    # The newest line cut off leaves a integrity that fits; the hash that was noted elsewhere tells.
    async with relay.engine.begin() as connection:
        await connection.execute(text("DELETE FROM audit WHERE seq = 3"))
    assert (await integrity.verify(relay.engine)).broken is None
    assert not (await integrity.verify(relay.engine, whole.head)).noted


@pytest.mark.parametrize("adapter", ["generic_http"])
async def test_news_are_forwarded_signed(relay: Relay) -> None:
    customer = {"id": "u-1", "externalId": "42", "email": "jane@example.com"}
    await relay.webhook("customers/tier_changed", {"customer": customer, "newTier": {"id": "t", "title": "Gold"}})
    await relay.webhook("points/earned", {"id": "e-1", "customer": customer, "points": 5})

    def arrived() -> bool:
        return len([entry for entry in relay.shop.ledger(applied=1) if entry["kind"] == "relay.news"]) == 2

    await eventually(arrived, 20)
    news = [entry["body"] for entry in relay.shop.ledger(applied=1) if entry["kind"] == "relay.news"]
    assert [item["topic"] for item in news] == ["customers/tier_changed", "points/earned"]
    assert news[0]["body"]["newTier"]["title"] == "Gold"


async def test_a_shop_that_shows_its_coupons_late_is_waited_for(relay: Relay) -> None:
    relay.shop.config(stale_read=5.0)
    await relay.redeem()
    await relay.state("active")
    assert [entry["kind"] for entry in relay.shop.ledger(applied=1)].count("coupon.create") == 1
