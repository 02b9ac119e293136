"""A stage for injected causes: the real inbox, queue, runner and coupons; only the destinations' answers are made up."""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any  # bodies
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.http import HttpResponse
from platform_relay.core.http_messages import Headers
from platform_relay.core.outcomes import Outcome
from platform_relay.coupons.records import CouponRecord
from platform_relay.coupons.transitions import Coupons
from platform_relay.explain.collect import explain
from platform_relay.explain.explanation import Explanation
from platform_relay.explain.records import Key
from platform_relay.inbox.events import EVENTS, EventKind
from platform_relay.inbox.inbox import Inbox, Receipt
from platform_relay.inbox.messages import Incoming, incoming
from platform_relay.jobs.actions import OperatorActions
from platform_relay.platform import webhooks
from platform_relay.platform.outcomes import outcome_of
from platform_relay.platform.redemptions import Redemption
from platform_relay.platform.responses import read_response
from platform_relay.platform.webhooks import redemption_of
from platform_relay.queue.destinations import DestinationStates
from platform_relay.queue.jobs import Job
from platform_relay.queue.queue import Queue
from platform_relay.queue.retry import RetryPolicy
from platform_relay.queue.runner import Runner

CODE = "ab12cd34ef56"
EMAIL = "jane@example.com"
PATIENT = RetryPolicy()
HISTORY = timedelta(days=20_000)
HASTY = RetryPolicy(window=timedelta(seconds=0.1))

Handler = Callable[[Job], Awaitable[Outcome]]


def answered(status: int, message: str | None = None) -> Outcome:
    """What the handlers make of this answer of the Platform."""
    body = json.dumps({"message": message} if message else {}).encode()
    return outcome_of(read_response(HttpResponse(status, Headers({"retry-after": "30"}), body)), b"d")


class Scene:
    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.inbox = Inbox(engine, on_commit=lambda _: None)
        self.coupons = Coupons(engine)
        self.actions = OperatorActions(engine)
        self.destinations = DestinationStates(engine)

    # ------------------------------------------------------------------------------------------- what arrives

    async def order(self, identifier: str = "1001", *, backfill: bool = False, **more: object) -> Receipt:
        body = {"id": identifier, "customerId": "42", "email": EMAIL, "financialStatus": "paid", "currency": "EUR"}
        return await self.event(EventKind.ORDER, {**body, "totalPrice": "45.00", **more}, backfill=backfill)

    async def customer(self, identifier: str = "42", **more: object) -> Receipt:
        return await self.event(EventKind.CUSTOMER, {"id": identifier, "email": EMAIL, **more})

    async def event(self, kind: EventKind, body: Mapping[str, object], *, backfill: bool = False) -> Receipt:
        raw, message_id = json.dumps(body).encode(), uuid_utils.compat.uuid7()
        event = EVENTS[kind].parse(raw)
        return await self.accept(incoming(event, raw, message_id=str(message_id), backfill=backfill), message_id)

    async def accept(self, message: Incoming, message_id: UUID | None = None) -> Receipt:
        return await self.inbox.accept(message, message_id or uuid_utils.compat.uuid7())

    async def redeemed(self, code: str | None = CODE, identifier: str = "p-1", **more: object) -> Receipt:
        body = {
            "id": identifier,
            "customer": {"externalId": "42", "email": EMAIL},
            "points": 500,
            "ruleId": "rule-7",
            "rewardType": "amountdiscount",
            **({"couponCode": code} if code else {}),
            **more,
        }
        message_id = uuid_utils.compat.uuid7()
        raw = json.dumps(body).encode()
        return await self.accept(webhooks.webhook_message("points/redeemed", raw, str(message_id)), message_id)

    async def promised(self) -> tuple[Receipt, Redemption, CouponRecord]:
        """A redemption with its coupon's row."""
        receipt = await self.redeemed()
        [(body,)] = await self.rows("SELECT body FROM message WHERE id = :id", id=receipt.id)
        redemption = redemption_of("points/redeemed", "redeemed", body)
        assert redemption is not None
        return receipt, redemption, await self.coupons.open(redemption, receipt.id)

    # ------------------------------------------------------------------------------------------- what becomes of it

    async def run(
        self, outcome: Outcome | BaseException, destination: str = "platform", policy: RetryPolicy = PATIENT
    ) -> Job:
        """Claim the next job that is due and settle it with what its handler says or raises."""

        async def handler(job: Job) -> Outcome:
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        queue = Queue(self.engine, destination)
        jobs = await queue.claim(1, lease=30) or await queue.claim(1, lease=30, priority=1)
        [job] = jobs
        kinds = ("forward_order", "forward_customer", "forward_product", "use_reward", "issue_coupon", "fetch_entity")
        runner = Runner(
            dict.fromkeys(kinds, handler), policy, time_limit=5, longest_wait=86400 * 30, random=lambda: 0.0
        )
        settlement, _ = await runner.run(job)
        await queue.settle([settlement])
        return job

    async def due(self) -> None:
        """Everything that waits for a time is due now."""
        await self.sql("UPDATE lane SET run_at = now() WHERE NOT leased")

    async def sql(self, statement: str, **parameters: object) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(text(statement), parameters)

    async def rows(self, query: str, **parameters: object) -> list[tuple[Any, ...]]:
        async with self.engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(query), parameters)]

    async def explain(self, by: Key, key: str) -> Explanation:
        async with self.engine.connect() as connection:
            return await explain(connection, by, key, HISTORY)
