"""A store's morning on the real programs: `relay serve` between a simulated Platform and a simulated shop.

1001 …     delivered                        3001 …  rejected by the Platform, in one failure group
SPRING5    active      MUGLOVER   held: its rule has no value
TEAPOT10   used in 1020                     OOPS50  retired
"""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final  # Any: JSON

import asyncpg
import httpx

from platform_relay.core.database import parse_url
from platform_relay.core.reasons import Reason
from simulators.process import Simulator, run
from tests.helpers import eventually, free_port

STORE_KEY: Final = "store-key-of-the-browser-suite"
OPERATOR_KEY: Final = "operator-key-of-the-browser-suite"
WEBHOOK_SECRET: Final = "webhook-secret-of-the-browser-suite"
UNKNOWN_RULE: Final = "rule-birthday"
PEOPLE: Final = (
    ("Ada", "Almeida"), ("Ben", "Fischer"), ("Carla", "Costa"), ("Daan", "Jansen"), ("Elif", "Kaya"),
    ("Greta", "Haas"), ("Hugo", "Garcia"), ("Ines", "Lopez"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stage:
    url: str
    database_url: str
    platform: Simulator
    shop: Simulator
    client: httpx.AsyncClient

    # ------------------------------------------------------------------------------------------- what arrives

    async def send(self, kind: str, events: Iterable[dict[str, object]]) -> None:
        lines = "\n".join(json.dumps({"type": kind, "event": event}) for event in events)
        headers = {"authorization": f"Bearer {STORE_KEY}", "content-type": "application/x-ndjson"}
        response = await self.client.post("/v1/events/batch", content=lines, headers=headers)
        assert response.status_code == 200, response.text
        refused = [line for line in response.text.splitlines() if '"accepted"' not in line]
        assert not refused, refused

    async def delivered(self, customer: int) -> None:
        """Returns when the Platform has received the customer: only then it can redeem for it."""
        await eventually(lambda: self.platform.state("customers", str(customer)), 30)

    async def redeem(self, code: str, customer: int, rule: str, **more: object) -> None:
        """Waits for the delivery of the customer. The Platform's webhook has been stored when this returns."""
        await self.delivered(customer)
        fields = {"customerId": str(customer), "ruleId": rule, "code": code, "allow_overdraft": True, **more}
        self.platform.control("redeem", url=f"{self.url}/v1/webhooks/platform/{WEBHOOK_SECRET}", **fields)

    async def refused(self, first: int, many: int, currency: str) -> None:
        """Sends orders in a currency that the Platform rejects until `accept`. They form one failure group."""
        response = {"message": f"currency {currency} is not enabled for this shop"}
        rule = {"contains": f'"{currency}"', "status": 422, "body": response, "persistent": True}
        self.platform.script(path="/v1/orders", **rule)
        buyers = range(101, 125)
        numbers = range(first, first + many)
        await self.send(
            "orders", [order(number, buyers[number % len(buyers)], currency=currency) for number in numbers]
        )
        await self.idle()

    def accept(self, currency: str) -> None:
        """The Platform accepts the currency from now on."""
        for rule in self.platform.inspect("script")["rules"]:
            if rule.get("contains") == f'"{currency}"':
                self.platform.control("clear", ids=[rule["id"]])

    # ------------------------------------------------------------------------------------------- the outcome

    async def api(self, method: str, path: str, **request: Any) -> Any:  # Any: JSON
        headers = {"authorization": f"Bearer {OPERATOR_KEY}"}
        response = await self.client.request(method, path, headers=headers, **request)
        assert response.is_success, response.text
        return response.json()

    async def coupon(self, code: str, state: str) -> None:
        """Returns when the coupon is in that state."""

        async def there() -> bool:
            headers = {"authorization": f"Bearer {OPERATOR_KEY}"}
            response = await self.client.get(f"/v1/coupons/{code}", headers=headers)
            assert response.is_success, response.text
            assert response.json()["state"] == state, response.text
            return True

        await eventually(there, 20)

    async def alert(self, reason: Reason, subject: str) -> None:
        """An alert that no operator has looked at."""
        await self.sql(
            "INSERT INTO alert (id, at, code, subject, facts)"
            " VALUES (gen_random_uuid(), now(), $1, $2, CAST($3 AS jsonb)) RETURNING id",
            reason.code.value, subject, json.dumps(dict(reason.facts)),
        )  # fmt: skip

    async def idle(self, dead: int | None = None) -> None:
        """Returns when nothing is on its way (what is held may be)."""

        async def quiet() -> bool:
            unfinished = await self.sql(
                "SELECT job.lane, job.reason_code, job.facts FROM job"
                " JOIN lane ON lane.destination = job.destination AND lane.key = job.lane WHERE job.open AND lane.waits_for IS NULL"
            )
            assert unfinished == [], unfinished
            if dead is not None:
                assert await self.sql("SELECT count(*) FROM job WHERE dead") == [(dead,)]

            return True

        await eventually(quiet, 30)

    async def sql(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:  # Any: rows
        address = parse_url(self.database_url).set(drivername="postgresql")
        connection = await asyncpg.connect(address.render_as_string(hide_password=False))
        try:
            return [tuple(row) for row in await connection.fetch(statement, *parameters)]
        finally:
            await connection.close()


def person(number: int) -> dict[str, object]:
    first, last = PEOPLE[number % len(PEOPLE)]
    email = f"{first}.{last}.{number}@example.com".lower()
    return {"id": str(number), "email": email, "firstName": first, "lastName": last}


def order(number: int, customer: int, total: str = "45.00", **more: object) -> dict[str, object]:
    buyer = person(customer)
    fields = {"id": str(number), "customerId": buyer["id"], "email": buyer["email"], "financialStatus": "paid"}
    return {**fields, "currency": "EUR", "totalPrice": total, "updatedAt": datetime.now(UTC).isoformat(), **more}


@asynccontextmanager
async def staged(folder: Path, database_url: str, **more: str) -> AsyncIterator[Stage]:
    """The programs, running, and nothing has happened yet. `more`: further settings of the relay."""
    with run("platform") as platform, run("shop") as shop, _relay(folder, database_url, platform, shop, more) as url:
        async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:

            async def ready() -> bool:
                try:
                    return (await client.get("/readyz")).is_success
                except httpx.HTTPError:
                    return False

            await eventually(ready, 60)
            yield Stage(url, database_url, platform, shop, client)


@contextmanager
def _relay(
    folder: Path, database_url: str, platform: Simulator, shop: Simulator, more: Mapping[str, str]
) -> Iterator[str]:
    port = free_port()
    known, sells = platform.inspect("config"), shop.inspect("config")
    settings = {
        "DATABASE_URL": database_url,
        "PORT": str(port),
        "STORE_KEY": STORE_KEY,
        "OPERATOR_KEY": OPERATOR_KEY,
        "PLATFORM__URL": platform.url,
        "PLATFORM__API_KEY": known["api_key"],
        "PLATFORM__LAUNCHER_URL": platform.url,
        "PLATFORM__SHOP_KEY": known["shop_key"],
        "PLATFORM__WEBHOOK_SECRET": WEBHOOK_SECRET,
        "STORE__ADAPTER": "woocommerce",
        "WOOCOMMERCE__URL": shop.url,
        "WOOCOMMERCE__CONSUMER_KEY": sells["consumer_key"],
        "WOOCOMMERCE__CONSUMER_SECRET": sells["consumer_secret"],
        "RETRY__INITIAL_DELAY": "0.2",
        "RETRY__MAX_DELAY": "1",
        "COUPONS__CURRENCY": "EUR",
        "COUPONS__ISSUANCE_LIMITS__CUSTOMER_COUNT": "3",
        **more,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    with (folder / "relay.log").open("wb") as log:  # in the folder, where no .env is
        process = subprocess.Popen(
            [sys.executable, "-m", "platform_relay.cli", "serve"], cwd=folder, env={**os.environ, **settings},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


async def play_morning(stage: Stage) -> None:
    """What every console shows: see the head of this file."""
    await stage.send("customers", [person(number) for number in range(101, 125)])
    await stage.send(
        "orders", [order(number, 101 + number % 24, f"{19 + number % 60}.90") for number in range(1001, 1061)]
    )
    await stage.refused(3001, 8, "USD")
    await stage.redeem("SPRING5", 101, "rule-5-off")
    await stage.redeem("TEAPOT10", 102, "rule-per-100", points=1000)
    await stage.redeem("OOPS15", 103, "rule-per-100", points=1500)
    stage.platform.control("rules", rules=[{"id": UNKNOWN_RULE, "title": "Birthday surprise", "pointCost": 150,
                                            "discountValue": None, "templateName": "amountdiscount"}])  # fmt: skip
    await stage.redeem("MUGLOVER", 104, UNKNOWN_RULE)
    await stage.coupon("SPRING5", "active")
    await stage.coupon("TEAPOT10", "active")
    await stage.coupon("OOPS15", "active")
    await stage.coupon("MUGLOVER", "held")
    spent = [{"code": "TEAPOT10", "amount": "10.00"}]
    await stage.send("orders", [order(1070, 102, "39.90", discountCodes=spent)])
    await stage.api("POST", "/v1/coupons/OOPS15/retire", json={"why": "Redeemed by mistake, she told us on the phone."})
    await stage.coupon("OOPS15", "retired")
    await stage.idle()
