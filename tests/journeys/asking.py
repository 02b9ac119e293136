"""A process that does nothing but look coupons up: `python -m tests.journeys.asking TOTAL`, eight at a time.

Its settings come from the environment, as every process of the service reads them.
"""

from __future__ import annotations

import asyncio
import sys

from platform_relay import wiring
from platform_relay.settings import Settings


async def ask(total: int) -> None:
    settings = Settings(_env_file=None)
    assert settings.database_url is not None
    async with wiring.services(settings, settings.database_url.get_secret_value(), "asking") as parts:
        store, left = parts.store, iter(range(total))
        assert store is not None

        async def one_by_one() -> None:
            for number in left:
                await store.find_coupon(f"code{number}")

        await asyncio.gather(*(one_by_one() for _ in range(8)))


if __name__ == "__main__":
    asyncio.run(ask(int(sys.argv[1])))
