"""`python -m benchmarks.burst DATABASE_URL EVENTS SERIES live|backfill`: stores that many events of customers at once."""

import asyncio
import sys

from uuid_utils.compat import uuid7

from benchmarks import bodies
from platform_relay.core.database import create_engine
from platform_relay.inbox.events import CustomerEvent
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import incoming

PART = 1000
SIZE = 400
"""Bytes of a body."""


async def store(url: str, events: int, series: int, *, backfill: bool) -> None:
    engine = create_engine(url, application_name="benchmark", pool_size=2)
    inbox = Inbox(engine, on_commit=lambda _: None, time_limit=60)
    for start in range(0, events, PART):
        part = []
        for number in range(start, min(start + PART, events)):
            body, message_id = bodies.customer(SIZE, bodies.entity_id(series, number)), uuid7()
            event = incoming(CustomerEvent.parse(body), body, message_id=str(message_id), backfill=backfill)
            part.append((message_id, event))
        await inbox.accept_many(part)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(store(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), backfill=sys.argv[4] == "backfill"))
