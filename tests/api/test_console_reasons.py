"""The console shows the rendered text and next step of each reason, and filters by reason code. Without a browser."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from html import unescape

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app import wiring
from platform_relay.core.reasons import Reason, ReasonCode, because, columns
from tests.api.served import OPERATOR_KEY

REJECTED = because(
    ReasonCode.REJECTED_BY_DESTINATION, destination="the Platform", request="customer 1", status=422, response="no <b>"
)
FAILED = because(ReasonCode.SERVER_ERROR, destination="the Platform", request="the customer", status=503, attempts=40)
Kill = Callable[[str, str, Reason], Awaitable[str]]
_KILL = """
WITH dying AS (
    UPDATE job SET state = 'dead', disposition = :disposition, reason_code = :reason_code, facts = CAST(:facts AS jsonb),
        finished_at = now() WHERE lane = :lane RETURNING id, destination, lane
), released AS (
    UPDATE lane SET open_jobs = open_jobs - 1 FROM dying WHERE lane.destination = dying.destination AND lane.key = dying.lane
), tried AS (
    INSERT INTO attempt (job_id, fencing_token, number, started_at, outcome, status, reason_code, facts)
    SELECT id, 1, 1, now(), 'reject', 422, :reason_code, CAST(:facts AS jsonb) FROM dying
)
SELECT CAST(id AS text) FROM dying
"""


@pytest.fixture
async def console(web: tuple[wiring.Services, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=web[1], headers={"origin": web[1]}, timeout=20) as client:
        await client.post("/console/login", data={"key": OPERATOR_KEY})
        yield client


@pytest.fixture
def kill(store: httpx.AsyncClient, engine: AsyncEngine) -> Kill:
    """A customer whose job is dead for this reason; the job's id."""

    async def customer(identifier: str, disposition: str, reason: Reason) -> str:
        assert (await store.post("/v1/events/customers", json={"id": identifier})).status_code == 202
        parameters = {"lane": f"customer:{identifier}", "disposition": disposition, **columns(reason)}
        async with engine.begin() as connection:
            return str((await connection.execute(text(_KILL), parameters)).scalar_one())

    return customer


async def read(console: httpx.AsyncClient, path: str) -> str:
    response = await console.get(path)
    assert response.status_code == 200, response.text
    return response.text


async def test_a_dead_job_shows_its_reason_and_the_next_step(console: httpx.AsyncClient, kill: Kill) -> None:
    job = await kill("1", "rejected", REJECTED)
    page = await read(console, f"/console/jobs/{job}")
    assert unescape(page).count(REJECTED.text) == 2, "of the job and of its attempt"
    assert "no <b>" not in page, "a destination's words are escaped"
    assert REJECTED.next_step in unescape(page)
    assert "/console/dead-and-held?reason_code=rejected_by_destination" in page


async def test_failure_groups_are_filtered_by_reason_code_and_show_an_example(
    console: httpx.AsyncClient, kill: Kill
) -> None:
    for number in ("1", "2"):
        await kill(number, "rejected", REJECTED)
    await kill("3", "exhausted", FAILED)
    everything = unescape(await read(console, "/console/dead-and-held"))
    assert REJECTED.text in everything
    assert FAILED.text in everything
    filtered = unescape(await read(console, "/console/dead-and-held?reason_code=server_error"))
    assert FAILED.text in filtered
    assert REJECTED.text not in filtered
    assert '<option value="server_error" selected>' in filtered
    assert "No job is dead-lettered for this reason." in await read(
        console, "/console/dead-and-held?reason_code=unchanged"
    )
    assert (await console.get("/console/dead-and-held?reason_code=odd")).status_code == 404
    [path] = re.findall(r'href="(/console/dead-and-held/group[^"]*)"', filtered)
    group = unescape(await read(console, path))
    assert FAILED.text in group
    assert "1 job</strong> in this group" in group


async def test_coupons_are_filtered_by_reason_code(
    console: httpx.AsyncClient, store: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    message = (await store.post("/v1/events/customers", json={"id": "42"})).json()["id"]
    insert = text(
        "INSERT INTO coupon (code, message_id, state, reason_code, facts, rule_edited, received_at, created_at, updated_at)"
        " VALUES (:code, CAST(:message AS uuid), 'held', :reason_code, CAST(:facts AS jsonb), false, now(), now(), now())"
    )
    reasons = {"AA": because(ReasonCode.NO_VALUE, rule="rule-7"), "BB": because(ReasonCode.SIMILAR_CODE, other="bb")}
    async with engine.begin() as connection:
        for code, reason in reasons.items():
            await connection.execute(insert, {"code": code, "message": message, **columns(reason)})
    page = unescape(await read(console, "/console/coupons?reason_code=no_value"))
    assert reasons["AA"].text in page
    assert reasons["BB"].text not in page
    coupon = unescape(await read(console, "/console/coupon?code=AA"))
    assert reasons["AA"].text in coupon
    assert reasons["AA"].next_step in coupon


async def test_a_paused_channel_shows_who_paused_it_and_why(
    console: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    await operator.post("/v1/destinations/platform/pause", json={"why": "the store moves"})
    assert "Calls to the Platform were paused by operator: the store moves." in await read(console, "/console")
