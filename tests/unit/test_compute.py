"""The process for large inputs."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from functools import partial

import pytest

from platform_relay.core.compute import LARGE, ComputeError, ComputeProcess, pausing
from platform_relay.core.errors import FieldError, FieldsInvalid
from tests.helpers import eventually


@pytest.fixture
async def compute() -> AsyncIterator[ComputeProcess]:
    process = ComputeProcess()
    yield process
    await process.aclose()


async def test_a_large_input_is_processed_in_another_process_and_a_small_one_here(compute: ComputeProcess) -> None:
    assert await compute.run_if_large(LARGE, os.getpid) == os.getpid()
    assert await compute.run_if_large(LARGE + 1, os.getpid) == compute.pid != os.getpid()
    text = "x" * (16 << 20)
    results = await asyncio.gather(*(compute.run(partial(str.replace, text, "x", letter)) for letter in "ab"))
    assert [(len(result), result[0]) for result in results] == [(len(text), "a"), (len(text), "b")]


async def test_an_error_and_a_print_do_not_harm_the_process(compute: ComputeProcess) -> None:
    first = await compute.run(os.getpid)
    with pytest.raises(ComputeError, match=r"^ValueError$"):  # without its text, which may hold a customer's data
        await compute.run(partial(int, "jane@example.com"))
    await compute.run(partial(print, "printed"))
    assert await compute.run(os.getpid) == first


async def test_a_process_that_ended_is_replaced(compute: ComputeProcess) -> None:
    first = await compute.run(os.getpid)
    with pytest.raises(ComputeError, match="ended"):
        await compute.run(partial(os.kill, first, signal.SIGKILL))
    assert await compute.run(os.getpid) != first


async def test_a_call_that_was_cancelled_leaves_no_result_for_the_next_one(compute: ComputeProcess) -> None:
    await compute.run(os.getpid)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await compute.run(partial(time.sleep, 60))
    assert await compute.run(partial(abs, -1)) == 1


async def test_an_idle_process_ends() -> None:
    compute = ComputeProcess(idle_seconds=0.01)
    pid = await compute.run(os.getpid)
    await eventually(lambda: compute.pid is None)
    assert await compute.run(os.getpid) != pid
    await compute.aclose()


async def test_a_call_at_the_end_of_the_idle_time_succeeds() -> None:
    compute = ComputeProcess(idle_seconds=0.05)
    calls: list[asyncio.Task[int]] = []

    def call() -> None:
        calls.append(asyncio.create_task(compute.run(os.getpid)))

    await compute.run(os.getpid)
    loop = asyncio.get_running_loop()
    loop.call_later(0.01, time.sleep, 0.1)  # so that the loop makes the call and ends the idle time in one iteration
    loop.call_later(0.02, call)
    await eventually(lambda: calls)
    assert await calls[0] > 0
    await compute.aclose()


async def test_a_signal_to_the_group_does_not_end_the_process(compute: ComputeProcess) -> None:
    pid = await compute.run(os.getpid)
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(pid, number)
    assert await compute.run(os.getpid) == pid


async def test_a_call_that_takes_too_long_is_ended() -> None:
    compute = ComputeProcess(time_limit=0.01)
    with pytest.raises(ComputeError, match="more than"):
        await compute.run(partial(time.sleep, 60))
    assert compute.pid is None


async def test_a_problem_can_be_a_result(compute: ComputeProcess) -> None:
    problem = FieldsInvalid("wrong", [FieldError("tags", "has too many")])
    result = await compute.run(partial(FieldsInvalid, problem.detail, problem.errors))
    assert result.document() == problem.document()


async def test_work_is_done_in_pieces() -> None:
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    def items() -> list[float]:
        return [0.02] * 5

    task = asyncio.create_task(other())
    async for seconds in pausing(items()):
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass
    task.cancel()
    assert others >= 4
