"""The demo's counting: nothing lost or duplicated in a perfect ledger, and every sabotage of it is counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from simulators.day import Day, Event, Redemption, Worth, a_day
from simulators.feed import Acknowledged
from simulators.report import judge, retried

Json = dict[str, Any]
SEVEN = Worth("fixed_cart", Decimal(7))
TEN = Worth("percent", Decimal(10), Decimal(30))
FORWARDED_OTHERWISE = ("updatedAt", "variants")


@dataclass
class Seen:
    """What was acknowledged, and what the simulators saw of it."""

    acknowledged: Acknowledged
    platform: list[Json]
    coupons: list[Json]

    def judged(self) -> tuple[int, int]:
        """(lost, duplicated)."""
        verdict = judge(self.acknowledged, self.platform, self.coupons)
        return verdict.lost_count, verdict.duplicated_count

    def calls(self, kind: str) -> list[Json]:
        return [entry for entry in self.platform if entry["kind"] == kind]

    def with_versions(self, count: int) -> list[Json]:
        """The calls about the first order of exactly so many versions."""
        orders = [event.entity for event in self.acknowledged.events if event.kind == "orders"]
        entity = next(entity for entity in orders if orders.count(entity) == count)
        return [entry for entry in self.platform if entry["entity"] == entity]


def entry(seq: int, kind: str, entity: str, body: Json) -> Json:
    return {
        "seq": seq, "kind": kind, "entity": entity, "body": body, "applied": True, "applied_seq": seq, "fault": "",
    }  # fmt: skip


def coupon(code: str, kind: str, amount: str, minimum: str = "0.00") -> Json:
    return {"code": code, "discount_type": kind, "amount": amount, "minimum_amount": minimum, "status": "publish"}


def calls_of(event: Event, known: bool) -> list[tuple[str, Json]]:
    body = {name: value for name, value in event.body.items() if name not in FORWARDED_OTHERWISE}
    match event.kind:
        case "customers":
            return [("customer.put", body)]
        case "orders":
            return [("order.patch" if known else "order.post", body)]
        case "products":
            variants = event.body.get("variants")
            return [("product.put", body), *([("variants.post", {"variants": variants})] if variants else [])]


@pytest.fixture
def seen() -> Seen:
    """A day on which all went well."""
    day = a_day(7)
    acknowledged = Acknowledged([*day.imported, *day.events], {"ab12": SEVEN, "cd34": TEN}, {"ab12"})
    platform: list[Json] = []
    known: set[str] = set()
    for event in acknowledged.events:
        for kind, body in calls_of(event, event.entity in known):
            platform.append(entry(len(platform) + 1, kind, event.entity, body))
        known.add(event.entity)
    platform.append(entry(len(platform) + 1, "reward.use", "coupon:ab12", {}))
    coupons = [coupon("AB12", "fixed_cart", "7.00"), coupon("cd34", "percent", "10.00", "30.00")]
    return Seen(acknowledged, platform, coupons)


def test_nothing_is_lost_on_a_day_without_sabotage(seen: Seen) -> None:
    assert seen.judged() == (0, 0)


def test_only_coupons_as_promised_are_active(seen: Seen) -> None:
    assert judge(seen.acknowledged, seen.platform, seen.coupons).coupons_active == 2
    seen.coupons[0]["amount"] = "0.00"
    assert judge(seen.acknowledged, seen.platform, seen.coupons).coupons_active == 1
    seen.coupons.clear()
    assert judge(seen.acknowledged, seen.platform, seen.coupons).coupons_active == 0


def test_a_call_that_was_made_twice_after_a_fault_is_no_duplicate(seen: Seen) -> None:
    patch = seen.calls("order.patch")[-1]
    seen.platform.append({**patch, "seq": 9001, "applied_seq": 9001})
    assert seen.judged() == (0, 0)


@pytest.mark.parametrize("kind", ["customer.put", "order.post", "product.put", "variants.post", "reward.use"])
def test_one_call_too_few_is_one_loss(seen: Seen, kind: str) -> None:
    only = [e for e in seen.calls(kind) if sum(o["entity"] == e["entity"] for o in seen.calls(kind)) == 1]
    if kind == "order.post":
        only = seen.with_versions(1)
    entity = only[0]["entity"]
    removed = [e for e in seen.platform if e["entity"] == entity and e["kind"] == kind]
    seen.platform = [e for e in seen.platform if e not in removed]
    assert seen.judged() == (1, 0)


def test_a_call_that_did_not_take_effect_does_not_count(seen: Seen) -> None:
    seen.with_versions(1)[0].update(applied=False, applied_seq=None, fault="answer")
    assert seen.judged() == (1, 0)


def test_an_order_that_was_never_sent_is_lost_in_all_its_versions(seen: Seen) -> None:
    gone = seen.with_versions(3)
    seen.platform = [e for e in seen.platform if e not in gone]
    lost, duplicated = seen.judged()
    assert lost == 3
    assert duplicated == 0


def test_a_version_in_the_middle_is_missed(seen: Seen) -> None:
    seen.platform.remove(seen.with_versions(3)[1])
    assert seen.judged() == (1, 0)


def test_an_old_version_after_the_newest_is_a_loss(seen: Seen) -> None:
    first, *_ = seen.with_versions(2)
    seen.platform.append({**first, "kind": "order.patch", "seq": 9001, "applied_seq": 9001})
    assert seen.judged() == (1, 0)


def change_coupon(**members: str) -> Callable[[Seen], None]:
    return lambda seen: seen.coupons[1].update(members)


SABOTAGE: dict[str, tuple[Callable[[Seen], Any], tuple[int, int]]] = {
    "another total": (lambda seen: seen.with_versions(1)[0]["body"].update(totalPrice="0.01"), (1, 0)),
    "a customer without e-mail": (lambda seen: seen.calls("customer.put")[-1]["body"].pop("email"), (1, 0)),
    "an order created twice": (lambda seen: seen.platform.append(dict(seen.with_versions(1)[0])), (0, 1)),
    "an order nobody placed": (lambda seen: seen.platform.append(entry(9001, "order.post", "order:none", {})), (0, 1)),
    "a coupon used twice": (lambda seen: seen.platform.append(entry(9001, "reward.use", "coupon:ab12", {})), (0, 1)),
    "a coupon twice": (lambda seen: seen.coupons.append(coupon("ab12", "fixed_cart", "7.00")), (0, 1)),
    "a coupon for nobody": (lambda seen: seen.coupons.append(coupon("ef56", "fixed_cart", "7.00")), (0, 1)),
    "no coupon": (lambda seen: seen.coupons.pop(), (1, 0)),
    "a trashed coupon": (change_coupon(status="trash"), (1, 0)),
    "a coupon of another value": (change_coupon(amount="100.00"), (1, 0)),
    "a coupon of another kind": (change_coupon(discount_type="fixed_cart"), (1, 0)),
    "a coupon without its minimum": (change_coupon(minimum_amount="0.00"), (1, 0)),
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_every_sabotage_is_counted(seen: Seen, name: str) -> None:
    sabotage, expected = SABOTAGE[name]
    sabotage(seen)
    assert seen.judged() == expected


def test_retries_are_failed_calls_that_were_made_again(seen: Seen) -> None:
    first, second = seen.with_versions(1)[0], seen.with_versions(2)[0]
    failed = {**first, "applied": False, "applied_seq": None, "fault": "answer"}
    never_again = {**second, "applied": False, "applied_seq": None, "fault": "answer", "seq": 9001}
    platform = [{**failed, "seq": -1}, {**failed, "seq": 0}, *seen.platform, never_again]
    assert retried(platform) == 2
    assert retried(platform, "customer:") == 0


def test_a_day_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert a_day(3) == a_day(3)
    assert not entities(a_day(3)) & entities(a_day(4))


def test_a_day_holds_what_the_demo_promises() -> None:
    day = a_day()
    events = [*day.imported, *day.events]
    statuses = {event.body["financialStatus"] for event in day.events if event.kind == "orders"}
    assert len({event.entity for event in events if event.kind == "customers"}) == 60
    assert len({event.entity for event in events if event.kind == "products"}) == 20
    assert len({event.entity for event in events if event.kind == "orders"}) == 150
    assert statuses == {"pending", "paid", "refunded", "voided"}
    assert any("customerId" not in event.body for event in day.events if event.kind == "orders")
    assert sum(isinstance(happening, Redemption) for happening in day.happenings) == 3
    assert {event.spends for event in day.events} == {None, "seven"}
    versions = [(event.entity, event.version) for event in events]
    assert len(set(versions)) == len(versions)


def entities(day: Day) -> set[str]:
    return {event.entity for event in (*day.imported, *day.events)}
