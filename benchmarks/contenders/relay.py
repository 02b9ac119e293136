"""The relay itself: `prepare` goes through its inbox; its worker is `relay worker`. Both seal bodies where BODY_KEYS is set."""

import os

from uuid_utils.compat import uuid7

from benchmarks.contenders.task import Task, main
from platform_relay.core.database import create_engine
from platform_relay.core.encryption import NO_KEYS, KeyRing
from platform_relay.inbox.events import CustomerEvent
from platform_relay.inbox.inbox import Inbox
from platform_relay.inbox.messages import incoming

PART = 2000


async def prepare(task: Task) -> None:
    keys = os.environ.get("BODY_KEYS")
    ring = KeyRing.parse(keys) if keys else NO_KEYS
    engine = create_engine(task.database_url, application_name="benchmark", pool_size=2, body_keys=ring)
    inbox = Inbox(engine, on_commit=lambda _: None, time_limit=60)
    part = []
    for _, body in task.events():
        message_id = uuid7()
        part.append((message_id, incoming(CustomerEvent.parse(body), body, message_id=str(message_id))))
        if len(part) == PART:
            await inbox.accept_many(part)
            part = []
    await inbox.accept_many(part)
    await engine.dispose()


if __name__ == "__main__":
    main(prepare=prepare)
