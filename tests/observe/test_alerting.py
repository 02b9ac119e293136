"""Alerts about the work itself, the age of the oldest, and a chat that hears of each alert once."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.http import HttpClient
from app.operations.alerts.raised import Alerts, open_alerts
from app.operations.alerts.watch import watch_work
from app.operations.alerts.webhook import message, tell_alerts
from app.operations.oldest import OldestWaiting
from simulators.process import Simulator, run
from tests.explain.scene import HASTY, Scene, answered

CODE, PERSON = "ab12cd34ef56", "ada@example.com"


@pytest.fixture(scope="module")
def chat() -> Iterator[Simulator]:
    with run("platform") as simulator:
        yield simulator


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient(time_limit=5, connections=2)
    yield client
    await client.aclose()


async def kinds(engine: AsyncEngine) -> list[tuple[str, str]]:
    async with engine.connect() as connection:
        return [(alert.kind, alert.subject) for alert in await open_alerts(connection)]


async def aged(engine: AsyncEngine, minutes: float) -> None:
    """Everything happened so much earlier."""
    columns = {"job": ("created_at",), "channel": ("since",), "alert": ("at", "told_at", "tell_at")}
    async with engine.begin() as connection:
        for table, names in columns.items():
            moved = ", ".join(f"{name} = {name} - CAST(:by AS interval)" for name in names)
            await connection.execute(text(f"UPDATE {table} SET {moved}"), {"by": timedelta(minutes=minutes)})  # noqa: S608


# ----------------------------------------------------------------------------------------------- what is looked at


async def test_the_oldest_work_is_seen_whatever_it_waits_for(engine: AsyncEngine) -> None:
    """Put off after a failure, of a paused channel, behind others: all of it waits; what a person holds does not."""
    scene, oldest = Scene(engine), OldestWaiting()

    async def age() -> float:
        async with engine.connect() as connection:
            return (await oldest.read(connection))["platform"]

    assert await age() == 0
    await scene.order("1001")
    await scene.run(answered(503))  # put off: nothing is due
    assert 0 < await age() < 60
    await scene.order("1002")
    await aged(engine, 30)
    for _ in range(2):  # the second look goes on where the first one ended
        assert 1800 < await age() < 1860
    await scene.operator.pause("platform", "the tests", "test")
    assert await age() > 1800
    await scene.operator.resume("platform", "test")
    await scene.due()
    await scene.run(answered(200))
    await scene.run(answered(200))
    assert await age() == 0
    await scene.order("1003")
    await scene.sql("UPDATE lane SET waits_for = 'somebody' WHERE waiting > 0")
    assert await age() == 0


async def test_alerts_about_the_work_come_and_go(engine: AsyncEngine) -> None:
    scene, oldest = Scene(engine), OldestWaiting()
    await scene.order("1001")
    await scene.run(answered(422, "currency"), policy=HASTY)
    await scene.order("1002")
    assert await watch_work(engine, oldest) == 1
    assert await kinds(engine) == [("jobs_dead", "platform")]
    await scene.sql("UPDATE channel SET state = 'tripped', since = now() WHERE name = 'platform'")
    await aged(engine, 4)
    assert await watch_work(engine, oldest) == 0
    await aged(engine, 27)
    assert await watch_work(engine, OldestWaiting()) == 2
    assert await watch_work(engine, OldestWaiting()) == 0, "one of a kind and subject is open at a time"
    assert {kind for kind, _ in await kinds(engine)} == {"jobs_dead", "channel_closed", "work_waits"}
    await scene.sql("UPDATE channel SET state = 'open', since = now()")
    await scene.run(answered(200))
    await scene.sql("UPDATE job SET state = 'dropped' WHERE dead")
    await watch_work(engine, OldestWaiting())
    assert await kinds(engine) == []


async def test_a_pause_is_let_be_for_an_hour(engine: AsyncEngine) -> None:
    scene = Scene(engine)
    await scene.operator.pause("store", "the shop is moved", "test")
    for minutes, expected in ((50, []), (11, [("channel_closed", "store")])):
        await aged(engine, minutes)
        await watch_work(engine, OldestWaiting())
        assert await kinds(engine) == expected


# ----------------------------------------------------------------------------------------------- who hears of it


async def test_each_alert_is_told_once_though_the_chat_fails_at_first(
    engine: AsyncEngine, http: HttpClient, chat: Simulator
) -> None:
    alerts, url = Alerts(engine), f"{chat.url}/services/chat"
    chat.script(path="/services/chat", times=1, status=503)
    chat.script(path="/services/chat", times=1, mode="reset_before")
    chat.script(path="/services/chat", persistent=True, status=200, body="ok")
    for number in range(3):
        await alerts.raise_alert(
            "coupon_late", f"{CODE}-{number}", f"held: {PERSON} is not confirmed", f"look at {CODE}"
        )
    await alerts.raise_alert("jobs_dead", "platform", "3 jobs were given up", "look")
    told = [await tell_alerts(engine, http, url)]
    assert await tell_alerts(engine, http, url) == 0, "not before its time"
    for _ in range(4):
        await aged(engine, 5)
        told.append(await tell_alerts(engine, http, url))
    assert sum(told) == 4
    said = [entry["body"]["text"] for entry in chat.ledger() if entry["path"] == "/services/chat"]
    assert len(said) == 4, "two that failed, and one of each kind"
    assert said[-1] == message("coupon_late", 3)["text"] or said[-2] == message("coupon_late", 3)["text"]
    assert not any(CODE in text or PERSON in text for text in said)

    await alerts.raise_alert("jobs_dead", "store", "1 job was given up", "look")
    await aged(engine, -25)  # the last message was just now
    assert await tell_alerts(engine, http, url) == 0, "not so soon after another of its kind"
    await aged(engine, 60)
    assert await tell_alerts(engine, http, url) == 1


async def test_what_is_over_is_not_told(engine: AsyncEngine, http: HttpClient, chat: Simulator) -> None:
    await Alerts(engine).raise_alert("jobs_dead", "platform", "3 jobs were given up", "look")
    await Scene(engine).sql("UPDATE alert SET resolved_at = now()")
    assert await tell_alerts(engine, http, f"{chat.url}/services/chat") == 0
