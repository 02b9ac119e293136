"""Plays a `Day` against a running relay, over HTTP only, as the stores, the Platform and the operator would.

What the relay acknowledged is written down in `Acknowledged`: that, and nothing else, must be delivered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote

import httpx

from .call import Json
from .day import Day, Event, Happening, NewRule, Outage, Redemption, Referral, Worth

PATIENCE: Final = 60.0
"""Seconds that one thing may take to come about before the day goes on without it."""
LOOK: Final = 0.1
T = TypeVar("T")


class FeedError(RuntimeError):
    """The relay or a simulator does not answer as documented; the text says what was asked and what came."""


class Say(Protocol):
    """Tells the viewer, in a line."""

    def __call__(self, line: str, /) -> None: ...


@dataclass
class Acknowledged:
    """What the relay answered 2xx for. `coupons` maps codes to what they have to be worth, `spent` are codes of them
    that an acknowledged order used, `webhooks` counts webhooks. `problems` says in words what went otherwise."""

    events: list[Event] = field(default_factory=list)
    coupons: dict[str, Worth] = field(default_factory=dict)
    spent: set[str] = field(default_factory=set)
    webhooks: int = 0
    recognised: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def messages(self) -> int:
        """Events and webhooks; one that was sent twice counts once."""
        return len(self.events) + self.webhooks


class Control:
    """A simulator's control routes."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def do(self, route: str, **fields: Any) -> Any:
        """POST /_sim/{route}. Raises FeedError when refused or away."""
        return await self._call("POST", route, json=fields)

    async def see(self, route: str, **parameters: Any) -> Any:
        """GET /_sim/{route}. Raises FeedError when refused or away."""
        return await self._call("GET", route, params=parameters)

    async def _call(self, method: str, route: str, **request: Any) -> Any:
        what = f"{method} {self._client.base_url}/_sim/{route}"
        try:
            answer = await self._client.request(method, f"/_sim/{route}", **request)
        except httpx.TransportError as error:
            raise FeedError(f"{what}: {type(error).__name__} {error}") from error
        if answer.is_error:
            raise FeedError(f"{what}: {answer.status_code} {answer.text[:300]}")
        return answer.json()


class Relay:
    """The relay's public API, with a key for the store and one for the operator."""

    def __init__(self, client: httpx.AsyncClient, store_key: str, operator_key: str) -> None:
        self._client = client
        self._store = {"authorization": f"Bearer {store_key}"}
        self._operator = {"authorization": f"Bearer {operator_key}"}

    async def post(self, event: Event) -> httpx.Response:
        """Report one event; tried again while the relay is away (503, 429, no connection), as a store should.

        Raises FeedError when that takes longer than PATIENCE.
        """
        headers = {**self._store, "idempotency-key": f"{event.entity}:{event.version}"}
        return await self._persistently("POST", f"/v1/events/{event.kind}", json=event.body, headers=headers)

    async def post_batch(self, events: tuple[Event, ...]) -> list[Json]:
        """Report many in one request; a receipt or a problem for each."""
        lines = "\n".join(json.dumps({"type": event.kind, "event": event.body}) for event in events)
        headers = {**self._store, "content-type": "application/x-ndjson"}
        answer = await self._persistently("POST", "/v1/events/batch", content=lines, headers=headers)
        if answer.status_code != 200:
            raise FeedError(f"POST /v1/events/batch: {answer.status_code} {answer.text[:300]}")
        return [json.loads(line) for line in answer.text.splitlines() if line]

    async def put_rule(self, rule: str, definition: Json) -> None:
        """The operator says what a rule is worth."""
        path = f"/v1/reward-rules/{quote(rule, safe='')}"
        answer = await self._persistently("PUT", path, json=definition, headers=self._operator)
        if answer.is_error:
            raise FeedError(f"PUT {path}: {answer.status_code} {answer.text[:300]}")

    async def counts(self) -> Json:
        """GET /v1/jobs/counts: the relay's own books."""
        return await self._read("/v1/jobs/counts")

    async def coupon(self, code: str) -> Json | None:
        """What the relay knows of a coupon."""
        items = (await self._read("/v1/coupons"))["items"]
        return next((item for item in items if item["code"] == code), None)

    async def _read(self, path: str) -> Json:
        answer = await self._persistently("GET", path, headers=self._operator)
        if answer.is_error:
            raise FeedError(f"GET {path}: {answer.status_code} {answer.text[:300]}")
        read: Json = answer.json()
        return read

    async def _persistently(self, method: str, path: str, **request: Any) -> httpx.Response:
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + PATIENCE, 0.1
        while True:
            try:
                answer = await self._client.request(method, path, **request)
                if answer.status_code not in (429, 502, 503, 504):
                    return answer
                came = f"{answer.status_code} {answer.text[:300]}"
            except httpx.TransportError as error:
                came = f"{type(error).__name__} {error}"
            if loop.time() > deadline:
                raise FeedError(f"{method} {path}: for {PATIENCE:.0f} s nothing but {came}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)


class Feed:
    """One playing of one day."""

    def __init__(self, day: Day, relay: Relay, platform: Control, shop: Control, say: Say) -> None:
        self.day, self.relay, self.platform, self.shop = day, relay, platform, shop
        self.acknowledged = Acknowledged()
        self._say = say
        loop = asyncio.get_running_loop()
        names = [one.name for one in day.happenings if isinstance(one, Redemption)]
        self._codes: dict[str, asyncio.Future[str]] = {name: loop.create_future() for name in names}
        self._started = loop.time()

    async def play(self) -> None:
        """The whole day. Raises FeedError when not even the import is taken."""
        await self.platform.do("rules", rules=list(self.day.platform_rules))
        await self._import()
        self._started = asyncio.get_running_loop().time()
        chains: dict[str, list[Event]] = defaultdict(list)
        for event in self.day.events:
            chains[event.entity].append(event)
        async with asyncio.TaskGroup() as group:
            for events in chains.values():
                group.create_task(self._noting(self._report(events)))
            for happening in self.day.happenings:
                group.create_task(self._noting(self._happen(happening)))

    async def _noting(self, part: Coroutine[None, None, None]) -> None:
        """One part that goes wrong does not end the day, but is reported at the end."""
        try:
            await part
        except (FeedError, TimeoutError) as error:
            self.acknowledged.problems.append(str(error) or "a coupon that was never redeemed cannot be spent")

    # -- the stores --------------------------------------------------------------------------------------------------

    async def _import(self) -> None:
        receipts = await self.relay.post_batch(self.day.imported)
        for event, receipt in zip(self.day.imported, receipts, strict=True):
            if receipt.get("status") in ("accepted", "duplicate"):
                self.acknowledged.events.append(event)
            else:
                self.acknowledged.problems.append(f"{event.entity}: {json.dumps(receipt)[:300]}")
        self._say(f"imported {len(receipts)} customers and products of before, in one batch")

    async def _report(self, events: list[Event]) -> None:
        """One entity's versions, each after the last was acknowledged."""
        for event in events:
            await self._until(event.at)
            if event.spends is not None:
                await self._post(await self._spending(event, event.spends, first=event is events[0]))
            else:
                await self._post(event)

    async def _spending(self, event: Event, redemption: str, first: bool) -> Event:
        """The event with the coupon's code in it, once the coupon works; with its `first` version it is used."""
        code = await asyncio.wait_for(asyncio.shield(self._codes[redemption]), PATIENCE)
        if first:
            await self._coupon_in_shop(code)
            await self.shop.do("use-coupon", code=code, used_by=event.body["email"])
            self._say(f"order {event.body['id']} uses the coupon {code}")
        used = [{**event.body["discountCodes"][0], "code": code}]
        return replace(event, body={**event.body, "discountCodes": used})

    async def _post(self, event: Event) -> None:
        answer = await self.relay.post(event)
        if not answer.is_success:
            self.acknowledged.problems.append(f"{event.entity}: {answer.status_code} {answer.text[:300]}")
            return
        self.acknowledged.events.append(event)
        if event.kind == "orders" and event.spends:
            self.acknowledged.spent.add(event.body["discountCodes"][0]["code"])
        if event.twice:
            again = await self.relay.post(event)
            if again.status_code != 200 or again.json()["id"] != answer.json()["id"]:
                text = f"{event.entity}: reported again, and not recognised: {again.status_code} {again.text[:300]}"
                self.acknowledged.problems.append(text)
            self.acknowledged.recognised += 1

    # -- the Platform, the operator ---------------------------------------------------------------------------------

    async def _happen(self, happening: Happening) -> None:
        await self._until(happening.at)
        match happening:
            case Redemption():
                await self._redeem(happening)
            case Referral():
                await self._refer(happening)
            case Outage():
                await self._outage(happening)
            case NewRule():
                await self._teach(happening)

    async def _redeem(self, redemption: Redemption) -> None:
        identifier, who = redemption.customer["id"], redemption.customer["firstName"]

        async def has_points() -> bool:
            known = await self.platform.see("state", kind="customers", id=identifier)
            return bool(known and known["pointBalance"] >= redemption.points)

        await eventually(has_points, f"{redemption.points} points for {who} at the Platform")
        sent = await self.platform.do("redeem", customerId=identifier, ruleId=redemption.rule, points=redemption.points)
        code = sent["code"]
        self._codes[redemption.name].set_result(code)
        self._say(f"{who} gives {redemption.points} points for the coupon {code} ({redemption.rule})")
        self._webhook(sent["deliveries"], {code: redemption.worth})
        await self._follow({code: who})

    async def _refer(self, referral: Referral) -> None:
        identifier, who = referral.customer["id"], referral.customer["firstName"]

        async def is_known() -> bool:
            return bool(await self.platform.see("state", kind="customers", id=identifier))

        await eventually(is_known, f"{who} to be known at the Platform")
        sent = await self.platform.do(
            "referral", customerId=identifier, friendEmail=referral.friend,
            discountAmount=float(referral.worth.amount),
        )  # fmt: skip
        self._say(f"{who} invites {referral.friend}: two coupons, {' and '.join(sent['codes'])}")
        self._webhook(sent["deliveries"], dict.fromkeys(sent["codes"], referral.worth))
        await self._follow(dict(zip(sent["codes"], (who, "the friend"), strict=True)))

    def _webhook(self, deliveries: list[Json], coupons: dict[str, Worth]) -> None:
        if deliveries and deliveries[0]["delivered"]:
            self.acknowledged.coupons.update(coupons)
        else:
            self.acknowledged.problems.append(f"webhook about {', '.join(coupons)}: {json.dumps(deliveries)[:300]}")

    async def _follow(self, coupons: dict[str, str]) -> None:
        for code, who in coupons.items():
            coupon = await self._coupon_in_shop(code)
            unit = " %" if coupon["discount_type"] == "percent" else " EUR"
            self._say(f"coupon {code} of {who} works in the shop: {coupon['amount']}{unit}")

    async def _coupon_in_shop(self, code: str) -> Json:
        async def rows() -> list[Json]:
            found: list[Json] = await self.shop.see("state", kind="coupons", id=code)
            return found

        return (await eventually(rows, f"the coupon {code} in the shop"))[0]

    async def _outage(self, outage: Outage) -> None:
        before = len(self.acknowledged.events)
        await self.platform.do("outage", seconds=outage.seconds)
        self._say(f"the Platform goes away for {outage.seconds:g} s")
        await self._until(outage.at + outage.seconds)
        accepted = len(self.acknowledged.events) - before
        self._say(f"the Platform is back; {accepted} events were accepted meanwhile, and wait")

    async def _teach(self, new: NewRule) -> None:
        waiting = next(r for r in self.day.happenings if isinstance(r, Redemption) and r.rule == new.rule)
        code = await asyncio.wait_for(asyncio.shield(self._codes[waiting.name]), PATIENCE)
        held = await self.relay.coupon(code)
        if held is not None:
            self._say(f"coupon {code} is {held['state']}: {held.get('text')}")
        await self.relay.put_rule(new.rule, new.definition)
        self._say(f"the operator says what {new.rule} is worth: {new.definition['value']} {new.definition['currency']}")

    async def _until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, self._started + at - asyncio.get_running_loop().time()))


async def eventually(condition: Callable[[], Awaitable[T]], what: str) -> T:
    """The first true value of `condition`. Raises FeedError, naming `what`, after PATIENCE seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while not (value := await condition()):  # noqa: ASYNC110  # another process sets no event
                await asyncio.sleep(LOOK)
            return value
    raise FeedError(f"waited {PATIENCE:.0f} s for {what}")
