"""What a running import needs."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.compute import ComputeProcess
from platform_relay.inbox.inbox import Inbox


@pytest.fixture
def inbox(engine: AsyncEngine) -> Inbox:
    return Inbox(engine, on_commit=lambda _: None)


@pytest.fixture
async def compute() -> AsyncIterator[ComputeProcess]:
    process = ComputeProcess()
    yield process
    await process.aclose()
