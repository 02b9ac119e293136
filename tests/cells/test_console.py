"""The console's pages over three cells: one list of piles, one decision for all, one audit."""

import json
import re
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest

from app import wiring
from app.operations.overview import Overview, list_lines
from tests.api.served import OPERATOR_KEY
from tests.cells.conftest import calling, give_up

PILE = {"state": "dead", "channel": "platform", "kind": "relay_customer", "reason": "rejected"}
CAUSE = "the tier is unknown"


class Console:
    """A signed-in operator without a browser."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def read(self, path: str, **asked: str) -> str:
        answer = await self.client.get(f"/console{path}", params=asked)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def send(self, page: str, path: str, **fields: str) -> httpx.Response:
        """A form of that page."""
        answer = await self.client.post(f"/console{path}", data=fields | {"token": _field(page, "token")})
        assert answer.status_code in (200, 303), answer.text
        return answer


def _field(page: str, name: str) -> str:
    found = re.search(f'name="{name}" value="([^"]*)"', page)
    assert found, page
    return found[1]


@pytest.fixture
async def console(web: tuple[wiring.Services, str]) -> AsyncIterator[Console]:
    async with calling(web[1]) as client:
        client.headers["origin"] = web[1]
        await client.post("/console/login", data={"key": OPERATOR_KEY})
        yield Console(client)


async def _states(operator: httpx.AsyncClient, jobs: Mapping[int, str]) -> list[str]:
    return [(await operator.get(f"/v1/jobs/{job}")).json()["state"] for job in jobs.values()]


async def test_a_pile_is_that_of_all_cells_and_so_is_what_is_done_about_it(
    console: Console, operator: httpx.AsyncClient, web: tuple[wiring.Services, str]
) -> None:
    jobs = {cell: await give_up(operator, web[0], cell) for cell in (1, 2, 3)}
    assert "<strong>3 jobs</strong> in 1 pile" in await console.read("/stuck")
    pile = await console.read("/stuck/pile", cause=CAUSE, **PILE)
    assert [f"/console/jobs/{job}" in pile for job in jobs.values()] == [True, True, True]
    progress = {name: _field(pile, name) for name in ("total", "done", "before", "cursor")}
    edit = {"act": "edit", "field": "name", "value": "Ada", "why": "it was missing"}
    edited = await console.send(pile, "/stuck/bulk", cause=CAUSE, **PILE, **progress, **edit)
    assert "<strong>3</strong> of 3 jobs" in edited.text
    assert await _states(operator, jobs) == ["waiting"] * 3
    audit = await console.read("/audit")
    assert [audit.count(action) for action in ("job.edit", "job.retry")] == [3, 3]
    assert [f'<td class="number">{cell}</td>' in audit for cell in (1, 2, 3)] == [True, True, True]


async def test_one_job_of_the_last_cell_is_edited_and_dropped(
    console: Console, operator: httpx.AsyncClient, web: tuple[wiring.Services, str]
) -> None:
    job = await give_up(operator, web[0], 3)
    page = await console.read(f"/jobs/{job}/edit")
    customer = (await operator.get(f"/v1/jobs/{job}")).json()["lane"].removeprefix("customer:")
    event = json.dumps({"id": customer, "name": "Ada"})
    await console.send(page, f"/jobs/{job}/edit", event=event, why="the name was missing")
    await console.send(page, f"/jobs/{job}/drop", why="a test")
    assert await _states(operator, {3: job}) == ["dropped"]
    assert [action in await console.read(f"/jobs/{job}") for action in ("job.edit", "job.drop")] == [True, True]


async def test_now_is_the_sum_of_all_cells(
    console: Console, operator: httpx.AsyncClient, web: tuple[wiring.Services, str]
) -> None:
    for cell in (1, 2, 3):
        await give_up(operator, web[0], cell)
    await web[0].cells[1].operator.pause("platform", "a look", "ada")
    present = await Overview(web[0].engines).read()
    platform = next(channel for channel in present.channels if channel.name == "platform")
    assert (platform.dead, platform.state, platform.reason) == (3, "paused", "cell 2: paused by ada: a look")
    now = await console.read("")
    assert "Cell 2: paused by ada: a look." in now
    await console.send(now, "/channels/platform/resume")
    resumed = await Overview(web[0].engines).read()
    assert {channel.state for channel in resumed.channels} == {"open"}


async def test_the_audit_of_all_cells_is_read_page_by_page(web: tuple[wiring.Services, str]) -> None:
    for turn in range(4):
        for cell in web[0].cells[: 3 if turn % 2 else 2]:
            await cell.operator.pause("platform", f"turn {turn}", "ada")
    seen: list[tuple[int, int]] = []
    more: tuple[int | None, ...] | None = ()
    while more is not None:
        page = await list_lines(web[0].engines, None, more, 3)
        seen += [(cell, line.seq) for cell, line in page.lines]
        assert page.lines == sorted(page.lines, key=lambda each: each[1].at, reverse=True)
        more = None if page.more is None else tuple(page.more)
    assert len(seen) == len(set(seen)) == 10
    assert {cell: max(seq for at, seq in seen if at == cell) for cell in (1, 2, 3)} == {1: 4, 2: 4, 3: 2}


async def test_an_address_of_the_audit_that_makes_no_sense(console: Console) -> None:
    answer = await console.client.get("/console/audit", params={"before": "first"})
    assert answer.status_code == 404
