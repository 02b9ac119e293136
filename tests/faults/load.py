"""Customers, orders and redemptions as a store makes them, sent until they are acknowledged.

Every event carries `v`, which counts the versions of its entity: what the destination applied can be compared with what
was acknowledged, without asking the service. Entities are numbered from 1 and never used twice.
"""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx

from simulators.process import SimulatorError
from tests.faults.rig import STORE_KEY, WEBHOOK_SECRET, Rig
from tests.helpers import eventually

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BATCH = 500
CONNECTIONS = 40
JSON = {"content-type": "application/json"}
STATES = ("pending", "paid", "refunded")


@dataclass
class Acknowledged:
    """What the service answered 2xx to: versions per entity in the order of their acknowledgement, redeemed codes, and
    those that an order used."""

    versions: dict[str, list[int]] = field(default_factory=dict)
    codes: set[str] = field(default_factory=set)
    spent: set[str] = field(default_factory=set)
    times: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    """When, per entity and per `coupon CODE`."""

    def __len__(self) -> int:
        return sum(len(each) for each in self.versions.values()) + len(self.codes)


class Shop:
    """Sends events; each entity's versions one after another, entities side by side."""

    def __init__(self, rig: Rig, rng: random.Random) -> None:
        self._rig = rig
        self._rng = rng
        self._client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {STORE_KEY}"},
            timeout=10,
            trust_env=False,
            limits=httpx.Limits(max_connections=CONNECTIONS),
        )
        self._numbers = count(1)
        self._sending: list[asyncio.Task[None]] = []
        self.acknowledged = Acknowledged()
        self.patience = 90.0
        """Seconds for which an event is sent again and again."""

    async def aclose(self) -> None:
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._client.aclose()

    def forget(self) -> None:
        """A new page: what was acknowledged before is judged already."""
        self.acknowledged = Acknowledged()

    def shopper(self, versions: int = 3) -> None:
        """One more shopper, in the background: an account, an order of it, and a redemption."""
        number = next(self._numbers)
        self._begin(self.customer(number, versions))
        self._begin(self.order(number, number, versions))
        self._begin(self.redeem(number))

    def full_shopper(self) -> None:
        """As `shopper`, and all else that the journeys know: a product, and an order that spends the coupon."""
        self.shopper()
        number = next(self._numbers)
        self._begin(self.product(number))
        self._begin(self.spend(number))

    async def shoppers(self, many: int, gap: float) -> None:
        """`many` shoppers, one every `gap` seconds on average."""
        for _ in range(many):
            self.shopper()
            await asyncio.sleep(gap * 2 * self._rng.random())  # time: a load's own pace

    async def buyers(self, many: int, gap: float) -> None:
        """`many` shoppers who have an account and order at once, one every `gap` seconds."""
        for _ in range(many):
            number = next(self._numbers)
            self._begin(self.customer(number, 1))
            self._begin(self.order(number, number, 1))
            await asyncio.sleep(gap)  # time: a load's own pace

    async def crowd(self, many: int, *, failing: int = 0) -> dict[int, float]:
        """`many` new customers at once, every `failing`-th of them with that word; when each of the others was
        acknowledged, by the event loop's clock (that of the simulators' ledgers)."""
        numbers = [next(self._numbers) for _ in range(many)]
        bad = {number for place, number in enumerate(numbers) if failing and place % failing == 0}
        at: dict[int, float] = {}

        connections = asyncio.Semaphore(CONNECTIONS)  # more would wait in the client's pool until its time limit

        async def one(number: int) -> None:
            async with connections:
                await self.customer(number, 1, name="failing" if number in bad else "well")
            at[number] = asyncio.get_running_loop().time()

        await asyncio.gather(*(one(number) for number in numbers))
        return {number: moment for number, moment in at.items() if number not in bad}

    async def live_one(self) -> int:
        """One new customer, acknowledged; its number."""
        number = next(self._numbers)
        await self.customer(number, 1)
        return number

    async def imported(self, many: int) -> None:
        """`many` customers as a backfill, in batches."""
        for _ in range(0, many, BATCH):
            numbers = [next(self._numbers) for _ in range(BATCH)]
            lines = [json.dumps({"type": "customers", "event": person(number, 1)}) for number in numbers]
            await self._until_acknowledged("/v1/events/batch?backfill=true", "\n".join(lines).encode(), {})
            for number in numbers:
                self.acknowledged.versions[f"customer:{number}"] = [1]

    async def sent(self) -> None:
        """Wait until everything begun is acknowledged."""
        sending, self._sending = self._sending, []
        await asyncio.gather(*sending)

    async def canary(self) -> tuple[str, str]:
        """One customer and one redemption, acknowledged on return; the customer's lane and the code."""
        number = next(self._numbers)
        await asyncio.gather(self.customer(number, 1), self.redeem(number))
        return f"customer:{number}", code_of(number)

    async def customer(self, number: int, versions: int = 3, **more: str) -> None:
        for version in range(1, versions + 1):
            await self._send("customers", f"customer:{number}", version, {**person(number, version), **more})

    async def product(self, number: int, versions: int = 2) -> None:
        for version in range(1, versions + 1):
            variants = [{"externalVariantId": f"{number}-1", "title": "small"}]
            body = {"id": number, "title": "Tea", "v": version, "variants": variants, "updatedAt": at(version)}
            await self._send("products", f"product:{number}", version, body)

    async def spend(self, number: int) -> None:
        """A redemption, and an order with its coupon as soon as that is in the store."""
        await self.redeem(number)

        def made() -> bool:
            with suppress(SimulatorError):  # it answers 404 until it is there
                return bool(self._rig.shop.state("coupons", code_of(number)))
            return False

        await eventually(lambda: asyncio.to_thread(made), self.patience)
        await self.customer(number, 1)
        await self.order(number, number, 1, discountCodes=[{"code": code_of(number), "amount": "5.00"}])
        self.acknowledged.spent.add(code_of(number))

    async def order(self, number: int, customer: int, versions: int = 3, **more: object) -> None:
        for version in range(1, versions + 1):
            body = {
                "id": number,
                "customerId": customer,
                "email": f"c{customer}@example.com",
                "financialStatus": STATES[min(version, len(STATES)) - 1],
                "currency": "EUR",
                "totalPrice": "10.00",
                "v": version,
                "updatedAt": at(version),
                **more,
            }
            await self._send("orders", f"order:{number}", version, body)

    async def redeem(self, number: int) -> None:
        """Make the Platform grant a reward, and post its webhook until the service has taken it."""
        await asyncio.to_thread(self._grant, number)
        body = {
            "id": f"redemption-{number}",
            "customer": {"externalId": f"r{number}", "email": f"r{number}@example.com"},
            "points": 500,
            "couponCode": code_of(number),
            "rewardType": "fixedamountdiscount",
            "ruleId": "rule-5-off",
            "redeemRule": {"id": "rule-5-off", "pointCost": 500, "discountValue": "5.00"},
        }
        headers = {"x-webhook-topic": "points/redeemed", "x-webhook-id": "subscription-1"}
        await self._until_acknowledged(f"/v1/webhooks/platform/{WEBHOOK_SECRET}", body, headers)
        self.acknowledged.codes.add(code_of(number))
        self.acknowledged.times[f"coupon {code_of(number)}"].append(datetime.now(UTC))

    def _grant(self, number: int) -> None:
        person = {"customerId": f"r{number}", "email": f"r{number}@example.com", "points": 1000}
        self._rig.platform.control("customers", customers=[person])
        self._rig.platform.control(
            "redeem", customerId=f"r{number}", ruleId="rule-5-off", code=code_of(number), points=500, deliver=False
        )

    def _begin(self, sending: Coroutine[Any, Any, None]) -> None:
        self._sending.append(asyncio.create_task(sending))

    async def _send(self, kind: str, entity: str, version: int, body: dict[str, object]) -> None:
        headers = {"idempotency-key": f"{entity}:{version}"}
        await self._until_acknowledged(f"/v1/events/{kind}", body, headers)
        self.acknowledged.versions.setdefault(entity, []).append(version)
        self.acknowledged.times[entity].append(datetime.now(UTC))

    async def _until_acknowledged(self, url: str, body: dict[str, object] | bytes, headers: dict[str, str]) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        deadline = asyncio.get_running_loop().time() + self.patience
        while True:
            try:
                answer = await self._client.post(
                    self._rng.choice(self._rig.urls) + url, content=content, headers=headers | JSON
                )
            except httpx.HTTPError as error:
                said = repr(error)
            else:
                said = f"{answer.status_code} {answer.text[:300]}"
                if answer.is_success:
                    return
                assert answer.status_code >= 500, f"{url} refuses {content!r}: {said}"
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"{url} does not take {content!r} within {self.patience:g} s; last: {said}")
            await asyncio.sleep(0.05 + 0.1 * self._rng.random())  # time: a client's own pause between tries


def person(number: int, version: int) -> dict[str, object]:
    return {"id": number, "email": f"c{number}@example.com", "v": version, "updatedAt": at(version)}


def at(version: int) -> str:
    return (NOON + timedelta(seconds=version)).isoformat()


def code_of(number: int) -> str:
    return f"{number:012x}"
