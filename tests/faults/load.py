"""Customers, orders and redemptions as a shop makes them, sent until they are acknowledged.

Every event carries `v`, which counts the versions of its entity: what the far side applied can be compared with what
was acknowledged, without asking the service.
"""

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx

from tests.faults.rig import STORE_KEY, Rig

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class Acknowledged:
    """What the service answered 2xx to: versions per entity in the order of their acknowledgement, redeemed codes."""

    versions: dict[str, list[int]] = field(default_factory=dict)
    codes: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return sum(len(each) for each in self.versions.values()) + len(self.codes)


class Shop:
    """Sends events; each entity's versions one after another, entities side by side."""

    def __init__(self, rig: Rig, dice: random.Random) -> None:
        self._rig = rig
        self._dice = dice
        self._client = httpx.AsyncClient(
            base_url=rig.url,
            headers={"authorization": f"Bearer {STORE_KEY}"},
            timeout=10,
            trust_env=False,
            limits=httpx.Limits(max_connections=40),
        )
        self.acknowledged = Acknowledged()

    async def aclose(self) -> None:
        await self._client.aclose()

    async def customer(self, number: int, versions: int = 3) -> None:
        for version in range(1, versions + 1):
            body = {"id": number, "email": f"c{number}@example.com", "v": version, "updatedAt": at(version)}
            await self._send("customers", f"customer:{number}", version, body)

    async def order(self, number: int, customer: int, versions: int = 3) -> None:
        states = ["pending", "paid", "refunded"]
        for version in range(1, versions + 1):
            body = {
                "id": number,
                "customerId": customer,
                "email": f"c{customer}@example.com",
                "financialStatus": states[min(version, len(states)) - 1],
                "currency": "EUR",
                "totalPrice": "10.00",
                "v": version,
                "updatedAt": at(version),
            }
            await self._send("orders", f"order:{number}", version, body)

    async def redeem(self, code: str, customer: int) -> None:
        """Make the Platform redeem points and post its webhook until the service has taken it."""
        body = {
            "id": f"redemption-{code}",
            "customer": {"externalId": str(customer), "email": f"c{customer}@example.com"},
            "points": 500,
            "couponCode": code,
            "rewardType": "fixedamountdiscount",
            "ruleId": "rule-5",
            "redeemRule": {"id": "rule-5", "pointCost": 500, "discountValue": "5.00"},
        }
        headers = {"x-webhook-topic": "points/redeemed", "x-webhook-id": "subscription-1"}
        await self._until_acknowledged(self._rig.door, body, headers)
        self.acknowledged.codes.add(code)

    async def _send(self, kind: str, entity: str, version: int, body: dict[str, object]) -> None:
        headers = {"idempotency-key": f"{entity}:{version}"}
        await self._until_acknowledged(f"/v1/events/{kind}", body, headers)
        self.acknowledged.versions.setdefault(entity, []).append(version)

    async def _until_acknowledged(self, url: str, body: dict[str, object], headers: dict[str, str]) -> None:
        while True:
            try:
                answer = await self._client.post(url, json=body, headers=headers)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.is_success:
                return
            if answer is not None and answer.status_code < 500:
                raise AssertionError(f"{url}: {answer.status_code} {answer.text}")
            await asyncio.sleep(0.05 + 0.1 * self._dice.random())  # a client's own pause between tries


def at(version: int) -> str:
    return (NOON + timedelta(seconds=version)).isoformat()
