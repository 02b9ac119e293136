"""Many attempts share one time limit: each has the whole of it, and only those that exceed it end."""

import asyncio

import pytest

from platform_relay.core.time_limit import TimeLimit


async def test_an_attempt_that_takes_too_long_ends_and_others_do_not() -> None:
    limit = TimeLimit(0.05)
    never = asyncio.Event()

    async def run(*, slow: bool) -> str:
        try:
            with limit.attempt():
                if slow:
                    await never.wait()
        except TimeoutError:
            return "ended"
        return "done"

    assert await asyncio.gather(*(run(slow=number % 3 == 0) for number in range(9))) == ["ended", "done", "done"] * 3
    assert [*await asyncio.gather(run(slow=True), run(slow=False))] == ["ended", "done"], "the timer starts again"


async def test_each_attempt_has_the_whole_time() -> None:
    """The second begins while the first one's timer runs."""
    limit, clock = TimeLimit(0.2), asyncio.get_running_loop().time
    ended: list[float] = []

    async def run() -> None:
        began = clock()
        with pytest.raises(TimeoutError), limit.attempt():
            await asyncio.Event().wait()
        ended.append(clock() - began)

    first = asyncio.create_task(run())
    with limit.attempt():
        await asyncio.wait({first}, timeout=0.1)
    await asyncio.gather(first, run())
    assert len(ended) == 2
    assert min(ended) >= 0.19


async def test_a_cancellation_from_outside_stays_one() -> None:
    limit = TimeLimit(30.0)
    began = asyncio.Event()

    async def run() -> None:
        with limit.attempt():
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_attempt_is_not_replaced() -> None:
    with pytest.raises(KeyError), TimeLimit(30.0).attempt():
        raise KeyError


async def test_an_attempt_that_is_ended_twice_ends_once() -> None:
    """Its time is over while its clean-up waits for the database, and then its lease is lost."""
    limit = TimeLimit(30.0)

    async def run() -> None:
        with limit.attempt() as attempt:
            attempt.expire()
            try:
                await asyncio.Event().wait()
            finally:
                attempt.expire()

    task = asyncio.create_task(run())
    with pytest.raises(TimeoutError):
        await task
    assert not task.cancelling()
