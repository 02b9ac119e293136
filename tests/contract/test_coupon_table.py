"""The table of docs/coupons.md: each kind of reward is ordered from each store, and what comes of it is the table."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from platform_relay.core.currencies import currency_places
from platform_relay.core.outcomes import Done, Outcome, Reject
from platform_relay.core.reasons import ReasonCode
from platform_relay.platform.webhooks import parse_webhook
from platform_relay.stores import ADAPTERS
from platform_relay.stores.base import CouponKind, StoreCoupon, differences
from simulators.process import Simulator
from tests.contract.bench import Bench, order

PAGE = Path(__file__).parents[2] / "docs" / "coupons.md"
BEGIN, END = "<!-- made by tests/contract/test_coupon_table.py -->\n", "<!-- end -->"
DONATION = "points given away"


@dataclass(frozen=True)
class Reward:
    """What is ordered; `currency` is the store's own."""

    fields: dict[str, Any]
    currency: str = "EUR"


REWARDS: dict[str, Reward] = {
    "fixed amount": Reward({"value": Decimal("12.34")}),
    "fixed amount, a currency without cents (500 JPY)": Reward({"value": Decimal(500), "currency": "JPY"}, "JPY"),
    "fixed amount, a currency with three places (5.125 KWD)": Reward({"value": Decimal("5.125"), "currency": "KWD"}, "KWD"),
    "percentage": Reward({"value": Decimal("7.5"), "currency": None}),
    "off certain products": Reward({"product_ids": ("3", "1")}),
    "off certain variants": Reward({"variant_ids": ("31", "12")}),
    "a percentage off certain variants": Reward({"value": Decimal("7.5"), "currency": None, "variant_ids": ("31", "12")}),
    "from a minimum spend": Reward({"minimum_spend": Decimal("30.00")}),
    "free shipping": Reward({"value": None, "currency": None}),
    "free product": Reward({"value": None, "currency": None, "product_ids": ("7",)}),
    "one of several products free": Reward({"value": None, "currency": None, "product_ids": ("7", "12")}),
    "gift card": Reward({"value": Decimal(25)}),
}  # fmt: skip
KIND_OF = {
    "percentage": CouponKind.PERCENTAGE, "a percentage off certain variants": CouponKind.PERCENTAGE,
    "free shipping": CouponKind.FREE_SHIPPING,
    "free product": CouponKind.FREE_PRODUCT, "one of several products free": CouponKind.FREE_PRODUCT,
    "gift card": CouponKind.GIFT_CARD,
}  # fmt: skip


def sell_in(bench: Bench, currency: str) -> None:
    """The store has this currency, and the adapter is told so."""
    if currency == "EUR":
        return
    match bench.name:
        case "generic_http":
            return  # the store's own affair
        case "saleor":
            bench.set("CHANNEL", currency.lower())
        case "medusa":
            bench.simulator.config(currencies=[currency.lower()])
        case "vendure":
            bench.simulator.config(currencies=[currency])
        case _:
            bench.simulator.config(currency=currency)
    bench.adapter = bench.build()


async def ordered(name: str, what: str, simulator: Simulator, environment: pytest.MonkeyPatch) -> Outcome:
    """One coupon, read back where it was made. A store that made another one than ordered has none left."""
    reward, bench = REWARDS[what], Bench(name, simulator, environment)
    try:
        sell_in(bench, reward.currency)
        wanted = replace(order(), kind=KIND_OF.get(what, CouponKind.FIXED_AMOUNT), **reward.fields)
        outcome = await bench.adapter.issue_coupon(wanted)
        if isinstance(outcome, Done):
            found = await bench.adapter.find_coupon(wanted.code)
            assert isinstance(found, StoreCoupon), found
            assert differences(wanted, found) == ()
        else:
            assert isinstance(outcome, Reject), outcome
            assert not await bench.usable()
        return outcome
    finally:
        await bench.aclose()


async def test_the_table_of_kinds_is_what_the_shops_do(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """`WRITE_DOCS=1 pytest tests/contract/test_coupon_table.py` writes it."""
    names = sorted(ADAPTERS)
    outcomes = {(what, name): await ordered(name, what, simulator, monkeypatch) for what in REWARDS for name in names}
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    table = table_of_kinds(names, outcomes)
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(f"{before}{BEGIN}{table}{END}{after}")
    assert f"{BEGIN}{table}{END}" in PAGE.read_text()


def table_of_kinds(names: list[str], outcomes: dict[tuple[str, str], Outcome]) -> str:
    """Yes or the number of the reason, and below it the reasons."""
    reasons: list[str] = []
    lines = ["| | " + " | ".join(f"`{name}`" for name in names) + " |", "|---" * (len(names) + 1) + "|"]
    for what in REWARDS:
        cells = []
        for name in names:
            outcome = outcomes[what, name]
            if isinstance(outcome, Reject):
                reason, facts = outcome.reason, outcome.reason.facts
                text = (
                    f"`{name}`, {what}: {reason.text}"
                    if reason.code is ReasonCode.COUPON_DIFFERS
                    else f"`{facts['field']}`: {facts['problem']}"
                )
                reasons += [] if text in reasons else [text]
                cells.append(f"no ({reasons.index(text) + 1})")
            else:
                cells.append("yes")
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    lines.append(f"| {DONATION} | " + " | ".join("no coupon" for _ in names) + " |")
    return "\n".join([*lines, "", *(f"{number}. {text}" for number, text in enumerate(reasons, 1))]) + "\n"


def test_points_given_away_owe_no_coupon() -> None:
    for kind in ("pointdonation", "pos_pointdonation", "subscriptionPointDonation"):
        body = f'{{"id": "p-1", "points": 5, "rewardType": "{kind}", "couponCode": "ab12"}}'
        webhook = parse_webhook("points/redeemed", body.encode())
        assert webhook is not None
        assert (webhook.redemptions, webhook.lacks_code) == ((), False)


def test_the_currencies_of_the_table_are_those_it_says() -> None:
    assert [currency_places(currency) for currency in ("JPY", "EUR", "KWD")] == [0, 2, 3]
