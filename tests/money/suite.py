"""Genuine redemptions under every fault we know, and forgers beside them, on two replicas of the whole service."""

import asyncio
import json
import random
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from platform_relay.audit import integrity
from platform_relay.core.database import create_engine
from tests.faults.rig import OPERATOR_KEY, Process, Rig, rig, server
from tests.helpers import eventually
from tests.money.judge import Tally, judge
from tests.money.plan import CUPS, DEARER, FORGERIES, Forgery, Json, Redemption, forgery, redemptions

SETTINGS = {
    "COUPONS__REQUIRE": "confirmed",
    "COUPONS__RESTRICT_TO_CUSTOMER": "true",
    "COUPONS__ISSUANCE_LIMITS__CUSTOMER_COUNT": "none",
    "COUPONS__ISSUANCE_LIMITS__HOUR_COUNT": "none",
    "COUPONS__ISSUANCE_LIMITS__DAY_COUNT": "none",
}
TOGETHER = 24
PATIENCE = 240.0
"""Seconds in which a killed process, or a database, is back on a busy machine."""
CROWD = 100
"""Webhooks at once about one code, on both replicas."""
COUPONS = "/wp-json/wc/v3/coupons"


@dataclass
class Suite:
    """`genuine` and `forged` webhooks; `seed` decides everything that is drawn."""

    genuine: int
    forged: int
    seed: int
    confirm_within: int = 20
    """Seconds."""
    sent: Counter[str] = field(default_factory=Counter)

    async def run(self) -> Tally:
        rng = random.Random(self.seed)
        customers = max(20, self.genuine // 5)
        plan = redemptions(self.genuine, customers, rng)
        with tempfile.TemporaryDirectory(prefix="money-") as name:
            folder = Path(name)
            folder.chmod(0o711)  # noqa: ASYNC240  # once, at the start
            settings = {**SETTINGS, "COUPONS__CONFIRM_WITHIN": f"PT{self.confirm_within}S"}
            async with (
                server(folder / "postgres") as postgres,
                rig(
                    folder,
                    postgres,
                    **settings,  # type: ignore[arg-type]  # mypy counts the named parameters in
                ) as stack,
            ):
                twin = stack.another("web", "web2")
                helper = stack.another("worker", "worker2")
                twin.start()
                helper.start()
                endpoints = [stack.webhook_url, stack.webhook_url.replace(str(stack.port), twin.environment["PORT"])]
                await _answers(twin)
                self._prepare(stack, plan, customers)
                async with httpx.AsyncClient(timeout=15, trust_env=False) as client:
                    keeper = asyncio.create_task(_keep(stack))
                    try:
                        await self._send(stack, client, endpoints, plan, rng)
                        stack.shop.control("clear")
                        stack.platform.control("clear")
                        await _settled(stack)
                        ours = await _relay_coupons(stack, client)
                        tally = self._judged(stack, plan, ours)
                        tally.words += await _inconsistencies(stack, client)
                    finally:
                        keeper.cancel()
                return tally

    def _prepare(self, stack: Rig, plan: list[Redemption], customers: int) -> None:
        stack.platform.control(
            "customers",
            customers=[
                {"customerId": str(number), "email": f"c{number}@example.com", "points": 10_000_000}
                for number in range(customers)
            ],
        )
        keys = httpx.BasicAuth("ck_simulator_key", "cs_simulator_key")
        for redemption in plan:
            if redemption.case == "taken":
                body = {"code": redemption.code, "amount": "1.23", "discount_type": "fixed_cart"}
                stack.shop.client.post(COUPONS, json=body, auth=keys).raise_for_status()
        stack.shop.config(distort={"amount": "0.00"}, distort_code="0", stale_read=5.0, stale_code="5")
        stack.platform.config(rewards_delay=1.0)
        stack.platform.control("rules", rules=[DEARER, CUPS])

    async def _send(
        self, stack: Rig, client: httpx.AsyncClient, endpoints: list[str], plan: list[Redemption], rng: random.Random
    ) -> None:
        self._break(stack)
        known: list[Json] = []
        turn = asyncio.Semaphore(TOGETHER)
        per = self.forged / max(1, len(plan))
        due = 0.0

        async def one(redemption: Redemption, forgeries: list[str], early: bool, twice: bool) -> None:
            async with turn:
                body = await self._redeem(stack, client, redemption)
                known.append(body)
                other = known[rng.randrange(len(known))]
                fakes = [forgery(kind, body if rng.random() < 0.7 else other, other, rng) for kind in forgeries]
                if early:
                    await asyncio.gather(*(self._forge(client, endpoints, fake, rng) for fake in fakes))
                await asyncio.gather(
                    *(
                        self._post(client, endpoint, "points/redeemed", body)
                        for endpoint in (endpoints if twice else endpoints[:1])
                    )
                )
                if not early:
                    await asyncio.gather(*(self._forge(client, endpoints, fake, rng) for fake in fakes))

        tasks = []
        for number, redemption in enumerate(plan[:-1]):
            due += per
            kinds = [rng.choice(FORGERIES) for _ in range(int(due))]
            due -= len(kinds)
            tasks.append(asyncio.create_task(one(redemption, kinds, rng.random() < 0.3, rng.random() < 0.3)))
            if number and number % 500 == 0:
                sys.stderr.write(f"{number} redeemed, {sum(self.sent.values())} forged\n")
            if len(tasks) % 200 == 0:
                await asyncio.gather(*tasks)
                await self._hiccup(stack, rng)
        await asyncio.gather(*tasks)
        await self._crowd(client, endpoints, await self._redeem(stack, client, plan[-1]), known[0], rng)

    async def _crowd(
        self, client: httpx.AsyncClient, endpoints: list[str], body: Json, other: Json, rng: random.Random
    ) -> None:
        """Forgeries of every kind and the genuine webhook many times, in any order."""
        sent = [forgery(FORGERIES[number % len(FORGERIES)], body, other, rng) for number in range(CROWD * 4 // 5)]
        sends = [self._forge(client, endpoints, fake, rng) for fake in sent]
        sends += [self._post(client, endpoints[n % 2], "points/redeemed", body) for n in range(CROWD - len(sent))]
        rng.shuffle(sends)
        await asyncio.gather(*sends)

    def _break(self, stack: Rig) -> None:
        """Faults by chance, the whole time."""
        shop, platform = stack.shop, stack.platform
        at = {"path": COUPONS, "persistent": True}
        shop.script(**at, method="POST", mode="reset_after", rate=0.03)
        shop.script(**at, method="POST", mode="noise", rate=0.03)
        shop.script(**at, method="POST", status=503, body="<html>busy</html>", rate=0.02)
        shop.script(**at, method="POST", mode="apply_then", status=500, body="<html>oops</html>", rate=0.02)
        shop.script(**at, method="POST", mode="truncated", rate=0.01)
        shop.script(**at, method="GET", mode="noise", rate=0.03)
        shop.script(**at, method="GET", status=503, body="<html>busy</html>", rate=0.02)
        shop.script(**at, method="GET", mode="reset_before", rate=0.01)
        for path in ("/launcher/v1/customer", "/v1/customers"):
            requests = {"path": path, "method": "GET", "persistent": True}
            platform.script(**requests, status=503, body={"message": "busy"}, rate=0.03)
            platform.script(**requests, mode="garbage", rate=0.02)
            platform.script(**requests, mode="reset_after", rate=0.02)

    async def _hiccup(self, stack: Rig, rng: random.Random) -> None:
        """Now and then something larger: an outage, a token that has expired and is renewed, a process killed."""
        match rng.randrange(7):
            case 0:
                stack.shop.outage(seconds=1.0, mode=rng.choice(("503", "reset")))
            case 1:
                stack.platform.outage(seconds=1.0, mode=rng.choice(("503", "reset")))
            case 2:
                stack.shop.config(consumer_secret="cs_of_tomorrow")
                await asyncio.sleep(0.5)  # time: the length of the fault
                stack.shop.config(consumer_secret="cs_simulator_key")
            case 3:
                await stack.server.restart(signal.SIGKILL)
            case 4 | 5:
                victim = rng.choice((stack.web, stack.worker, *stack.more))
                victim.kill()
                victim.start()
            case _:
                pass

    @staticmethod
    async def _redeem(stack: Rig, client: httpx.AsyncClient, redemption: Redemption) -> Json:
        fields = {
            "customerId": str(redemption.customer),
            "ruleId": redemption.rule,
            "points": redemption.points,
            "code": redemption.code,
            "deliver": False,
        }
        answer = await client.post(f"{stack.platform.url}/_sim/redeem", json=fields)
        body: Json = answer.raise_for_status().json()["body"]
        return body

    async def _forge(self, client: httpx.AsyncClient, endpoints: list[str], fake: Forgery, rng: random.Random) -> None:
        self.sent[fake.kind] += 1
        endpoint = rng.choice(endpoints)
        if fake.guessed_secret:
            await self._post(client, f"{endpoint[:-4]}{rng.randrange(10_000):04}", fake.topic, fake.body, expected=404)
        else:
            await self._post(client, endpoint, fake.topic, fake.body)

    @staticmethod
    async def _post(client: httpx.AsyncClient, endpoint: str, topic: str, body: Json, expected: int = 200) -> None:
        """Until it is answered as expected: who is killed, or has no database, answers later."""
        results: list[object] = []

        async def taken() -> bool:
            try:
                headers = {"x-webhook-topic": topic, "x-webhook-id": "hook"}
                results[:] = [(await client.post(endpoint, json=body, headers=headers)).status_code]
            except httpx.TransportError as error:
                results[:] = [error]
            assert results == [expected], results
            return True

        await eventually(taken, PATIENCE)

    def _judged(self, stack: Rig, plan: list[Redemption], ours: dict[str, Json]) -> Tally:
        coupons = stack.shop.state("coupons")
        rows = list(coupons.values()) if isinstance(coupons, dict) else coupons
        flat = [row for item in rows for row in (item if isinstance(item, list) else [item])]
        created = stack.shop.ledger(applied=1, kind="coupon.create")
        tally = judge(plan, flat, created, ours)
        tally.forged = sum(self.sent.values())
        return tally


async def _answers(process: Process) -> None:
    url = f"http://127.0.0.1:{process.environment['PORT']}/readyz"
    async with httpx.AsyncClient(trust_env=False) as client:

        async def ready() -> bool:
            try:
                return (await client.get(url, timeout=2)).status_code == 200
            except httpx.HTTPError:
                return False

        await eventually(ready, 40)


async def _keep(stack: Rig) -> None:
    """Restarts processes that end, as a container's restart policy would."""
    while True:
        for process in (stack.web, stack.worker, *stack.more):
            if not process.running:
                process.start()
        await asyncio.sleep(0.5)  # time: between two looks


async def _settled(stack: Rig, within: float = 600.0) -> None:
    """Until nothing is due to the store any more (what waits for a rule that nobody will put is left)."""
    connection = await stack.server.connect()
    try:

        async def quiet() -> bool:
            left = await connection.fetch(
                "SELECT job.state, job.disposition, job.reason_code, lane.waits_for IS NOT NULL AS parked,"
                " count(*) AS jobs, min(lane.run_at) - now() AS due"
                " FROM job JOIN lane ON lane.destination = job.destination AND lane.key = job.lane"
                " WHERE job.destination = 'store' AND job.open AND coalesce(lane.waits_for, '') NOT LIKE 'reward-rule:%'"
                " GROUP BY 1, 2, 3, 4 ORDER BY jobs DESC LIMIT 5"
            )
            assert not left, [dict(row) for row in left]
            return True

        await eventually(quiet, within)
    finally:
        await connection.close()


async def _inconsistencies(stack: Rig, client: httpx.AsyncClient) -> list[str]:
    """The inconsistencies of the relay's ledger and audit."""
    headers = {"authorization": f"Bearer {OPERATOR_KEY}"}
    ledger = (await client.get(f"{stack.url}/v1/ledger", headers=headers)).raise_for_status().json()
    problems = [] if ledger["balanced"] else [f"the ledger is not balanced: {ledger}"]
    engine = create_engine(stack.database_url, application_name="money")
    verdict = await integrity.verify(engine)
    await engine.dispose()
    return problems if verdict.problem is None else [*problems, f"the audit: {verdict.problem}"]


async def _relay_coupons(stack: Rig, client: httpx.AsyncClient) -> dict[str, Json]:
    """Every coupon of the relay, by code."""
    coupons: dict[str, Json] = {}
    cursor: str | None = None
    while True:
        parameters = {"limit": "200", **({"cursor": cursor} if cursor else {})}
        answer = await client.get(
            f"{stack.url}/v1/coupons", params=parameters, headers={"authorization": f"Bearer {OPERATOR_KEY}"}
        )
        page = answer.raise_for_status().json()
        coupons |= {item["code"]: item for item in page["items"]}
        cursor = page["next_cursor"]
        if cursor is None:
            return coupons


def summary(tally: Tally) -> str:
    """The last line of `make money`."""
    return json.dumps(tally.counts())
