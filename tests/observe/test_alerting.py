"""Alerts about the work itself, the age of the oldest, and a chat that hears of each alert once."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import JsonValue, SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay import wiring
from platform_relay.alerts import watch
from platform_relay.alerts.alerts import Alerts, open_alerts, raise_alert, resolve_alert
from platform_relay.alerts.chat import message, send_alerts
from platform_relay.alerts.watch import watch_queue
from platform_relay.core.http import HttpClient
from platform_relay.core.outcomes import Reject
from platform_relay.core.reasons import ALERTS, REFUSALS, Reason, ReasonCode, because
from platform_relay.jobs.queries import read_backlog
from platform_relay.periodic_tasks import web_tasks
from platform_relay.queue.last_work import note_work
from platform_relay.queue.oldest_waiting import OldestWaiting
from platform_relay.settings import Settings
from simulators.process import Simulator, run
from tests.explain.scene import HASTY, Scene, answered
from tests.helpers import eventually

CODE, PERSON = "ab12cd34ef56", "ada@example.com"
DEAD = because(ReasonCode.JOBS_DEAD, destination="the Platform", count=3)


@pytest.fixture(scope="module")
def chat() -> Iterator[Simulator]:
    with run("platform") as simulator:
        yield simulator


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient(time_limit=5, connections=2)
    yield client
    await client.aclose()


async def opened(engine: AsyncEngine) -> list[tuple[ReasonCode, str]]:
    async with engine.connect() as connection:
        return [(alert.reason.code, alert.subject) for alert in await open_alerts(connection)]


async def facts(engine: AsyncEngine, code: ReasonCode) -> Mapping[str, JsonValue]:
    async with engine.connect() as connection:
        [alert] = [alert for alert in await open_alerts(connection) if alert.reason.code is code]
        return alert.reason.facts


async def aged(engine: AsyncEngine, minutes: float) -> None:
    """Everything happened so much earlier."""
    columns = {"job": ("created_at",), "destination": ("since",), "alert": ("at", "notified_at", "next_notify_at")}
    async with engine.begin() as connection:
        for table, names in columns.items():
            moved = ", ".join(f"{name} = {name} - CAST(:by AS interval)" for name in names)
            await connection.execute(text(f"UPDATE {table} SET {moved}"), {"by": timedelta(minutes=minutes)})  # noqa: S608


# ----------------------------------------------------------------------------------------------- what is looked at


async def test_the_oldest_work_is_seen_whatever_it_waits_for(engine: AsyncEngine) -> None:
    """Put off after a failure, of a paused destination, behind others: all of it waits; what a person holds does not."""
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
    await scene.actions.pause("platform", "the tests", "test")
    assert await age() > 1800
    await scene.actions.resume("platform", "test")
    await scene.due()
    await scene.run(answered(200))
    await scene.run(answered(200))
    assert await age() == 0
    await scene.order("1003")
    await scene.sql("UPDATE lane SET waits_for = 'somebody' WHERE open_jobs > 0")
    assert await age() == 0


@pytest.mark.parametrize("code", sorted(REFUSALS))
async def test_refused_redemptions_raise_one_alert_and_only_as_a_flood(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, code: ReasonCode
) -> None:
    monkeypatch.setattr(watch, "MANY_REFUSED", 3)
    scene = Scene(engine)
    for number in range(3):
        assert await opened(engine) == []
        await scene.redeemed(code=f"forged{number}", identifier=f"p-{number}")
        await scene.run(Reject(because(code)), "store")
        await watch_queue(engine, OldestWaiting())
    assert await opened(engine) == [(ReasonCode.REDEMPTIONS_REFUSED, "redemptions")]
    assert await facts(engine, ReasonCode.REDEMPTIONS_REFUSED) == {"count": 3, "minutes": 60}
    await scene.redeemed(code="genuine", identifier="p-9")
    await scene.run(Reject(because(ReasonCode.REWARD_LIST_INCOMPLETE)), "store")
    await watch_queue(engine, OldestWaiting())
    assert await facts(engine, ReasonCode.JOBS_DEAD) == {"destination": "the store", "count": 1}
    await scene.sql("UPDATE job SET finished_at = finished_at - interval '61 min'")
    await watch_queue(engine, OldestWaiting())
    assert await opened(engine) == [(ReasonCode.JOBS_DEAD, "store")]


async def test_alerts_about_the_work_come_and_go(engine: AsyncEngine) -> None:
    scene, oldest = Scene(engine), OldestWaiting()
    await scene.order("1001")
    await scene.run(answered(422, "currency"), policy=HASTY)
    await scene.order("1002")
    assert await watch_queue(engine, oldest) == 1
    assert await opened(engine) == [(ReasonCode.JOBS_DEAD, "platform")]
    assert await facts(engine, ReasonCode.JOBS_DEAD) == {"destination": "the Platform", "count": 1}
    await scene.sql("UPDATE destination SET state = 'tripped', since = now() WHERE name = 'platform'")
    await aged(engine, 4)
    assert await watch_queue(engine, oldest) == 0
    await aged(engine, 27)
    assert await watch_queue(engine, OldestWaiting()) == 2
    assert await watch_queue(engine, OldestWaiting()) == 0, "one of a code and subject is open at a time"
    assert {code for code, _ in await opened(engine)} == {
        ReasonCode.JOBS_DEAD,
        ReasonCode.DESTINATION_CLOSED,
        ReasonCode.WORK_WAITING,
    }
    closed = {"destination": "the Platform", "state": "tripped"}
    assert await facts(engine, ReasonCode.DESTINATION_CLOSED) == closed
    assert await facts(engine, ReasonCode.WORK_WAITING) == {"destination": "the Platform", "minutes": 31}
    await scene.sql("UPDATE destination SET state = 'open', since = now()")
    await scene.run(answered(200))
    await scene.sql("UPDATE job SET state = 'dropped' WHERE dead")
    await watch_queue(engine, OldestWaiting())
    assert await opened(engine) == []


async def test_a_pause_is_let_be_for_an_hour(engine: AsyncEngine) -> None:
    scene = Scene(engine)
    await scene.actions.pause("store", "the store is moved", "test")
    for minutes, expected in ((50, []), (11, [(ReasonCode.DESTINATION_CLOSED, "store")])):
        await aged(engine, minutes)
        await watch_queue(engine, OldestWaiting())
        assert await opened(engine) == expected


# ----------------------------------------------------------------------------------------------- who hears of it


async def test_each_alert_is_told_once_though_the_chat_fails_at_first(
    engine: AsyncEngine, http: HttpClient, chat: Simulator
) -> None:
    alerts, url = Alerts(engine), f"{chat.url}/services/chat"
    chat.script(path="/services/chat", times=1, status=503)
    chat.script(path="/services/chat", times=1, mode="reset_before")
    chat.script(path="/services/chat", persistent=True, status=200, body="ok")
    for number in range(3):
        late = because(ReasonCode.COUPON_OVERDUE, code=CODE, state="held", seconds=400, explanation=f"{PERSON} waits")
        await alerts.raise_alert(late, f"{CODE}-{number}")
    await alerts.raise_alert(DEAD, "platform")
    result = [await send_alerts(engine, http, url)]
    assert await send_alerts(engine, http, url) == 0, "not before its time"
    for _ in range(4):
        await aged(engine, 5)
        result.append(await send_alerts(engine, http, url))
    assert sum(result) == 4
    said = [entry["body"]["text"] for entry in chat.ledger() if entry["path"] == "/services/chat"]
    assert len(said) == 4, "two that failed, and one of each code"
    assert message("coupon_overdue", [because(ReasonCode.COUPON_OVERDUE, state="held")] * 3)["text"] in said[-2:]
    assert any("(3 of them)" in text for text in said)
    assert not any(CODE in text or PERSON in text for text in said)

    await alerts.raise_alert(because(ReasonCode.JOBS_DEAD, destination="the store", count=1), "store")
    await aged(engine, -25)  # the last message was just now
    assert await send_alerts(engine, http, url) == 0, "not so soon after another of its code"
    await aged(engine, 60)
    assert await send_alerts(engine, http, url) == 1


async def test_the_alerts_of_a_later_message_are_left_to_others_while_the_chat_is_slow(
    engine: AsyncEngine, http: HttpClient, chat: Simulator
) -> None:
    """Claims end after a minute. If one process claimed all, another would send the last of them as well."""
    url, name = f"{chat.url}/services/chat", because(ReasonCode.DATABASE_FAILED_OVER)
    chat.reset()
    chat.script(path="/services/chat", times=1, status=200, body="ok", delay=3)
    chat.script(path="/services/chat", persistent=True, status=200, body="ok")
    await Alerts(engine).raise_alert(DEAD, "platform")
    await Alerts(engine).raise_alert(name, "database")
    claimed = "SELECT count(*) FROM alert WHERE next_notify_at > now() + interval '30 seconds'"
    sending = [asyncio.create_task(send_alerts(engine, http, url))]
    await eventually(lambda: _is(engine, claimed, 1))
    sending.append(asyncio.create_task(send_alerts(engine, http, url)))
    assert sum(await asyncio.gather(*sending)) == 2
    said = [entry["body"]["text"] for entry in chat.ledger() if entry["path"] == "/services/chat"]
    assert len(said) == 2
    assert len(set(said)) == 2


async def test_a_process_without_a_worker_sends_while_no_worker_works(
    engine: AsyncEngine, database_url: str, chat: Simulator, tmp_path: Path
) -> None:
    """Otherwise nobody would hear that no worker runs."""
    chat.reset()
    chat.script(path="/services/chat", persistent=True, status=200, body="ok")
    settings = Settings(_env_file=None, data_dir=tmp_path, alert_webhook_url=SecretStr(f"{chat.url}/services/chat"))
    missing = because(ReasonCode.NO_WORKER, destination="the Platform", action="claim jobs", seconds=30)
    await Alerts(engine).raise_alert(missing, "platform")
    async with wiring.services(settings, database_url, "web") as parts, wiring.chat_client() as client:
        [send] = web_tasks(parts, client)
        await note_work(engine, claims=["store"], settles=[])
        await send.run_once()
        assert [entry for entry in chat.ledger() if entry["path"] == "/services/chat"] == [], "a worker does it"
        await Scene(engine).sql("UPDATE destination SET claimed_at = claimed_at - interval '30 seconds'")
        await send.run_once()
        [said] = [entry["body"]["text"] for entry in chat.ledger() if entry["path"] == "/services/chat"]
        assert "No worker" in said
        await send.run_once()
    assert len(chat.ledger()) == 1
    without = settings.model_copy(update={"alert_webhook_url": None})
    async with wiring.services(without, database_url, "web") as parts, wiring.chat_client() as client:
        assert web_tasks(parts, client) == []


async def _is(engine: AsyncEngine, query: str, expected: int) -> bool:
    async with engine.connect() as connection:
        return bool((await connection.execute(text(query))).scalar() == expected)


async def test_what_is_over_is_not_told(engine: AsyncEngine, http: HttpClient, chat: Simulator) -> None:
    await Alerts(engine).raise_alert(DEAD, "platform")
    await Scene(engine).sql("UPDATE alert SET resolved_at = now()")
    assert await send_alerts(engine, http, f"{chat.url}/services/chat") == 0


def test_a_chat_message_has_the_alerts_text_and_only_facts_that_name_nobody() -> None:
    reasons = [because(ReasonCode.JOBS_DEAD, destination=name, count=2) for name in ("the Platform", "the store")]
    text = str(message("jobs_dead", reasons)["text"])
    assert text.splitlines() == [
        "*Platform Relay: Jobs dead* (2 of them)",
        reasons[0].text,
        f"Next step: {reasons[0].next_step}",
        reasons[1].text,
        f"Next step: {reasons[1].next_step}",
        "More: docs/runbook.md#jobs-dead",
    ]


@pytest.mark.parametrize("code", sorted(ALERTS))
def test_every_alert_reads_well_without_facts_and_hides_those_that_name_somebody(code: ReasonCode) -> None:
    named = dict.fromkeys(("code", "order", "orders", "order_ids", "response", "problem", "explanation", "job"), PERSON)
    for reason in (because(code), because(code, **named, differences=[PERSON], cause=PERSON)):
        text = str(message(code, [reason])["text"])
        assert PERSON not in text
        _, what, next_step, _ = text.splitlines()
        for sentence in (what, next_step):
            assert sentence.endswith("."), sentence
            assert not any(rest in sentence for rest in ("  ", " .", "[", "{", " ,")), sentence


async def test_a_code_that_is_no_alert_is_refused(engine: AsyncEngine) -> None:
    with pytest.raises(ValueError, match="unchanged"):
        await Alerts(engine).raise_alert(because(ReasonCode.UNCHANGED), "platform")


async def test_an_open_alert_shows_the_present_figure_and_the_first(engine: AsyncEngine) -> None:
    def dead(count: int) -> Reason:
        return because(ReasonCode.JOBS_DEAD, destination="the Platform", count=count)

    async with engine.begin() as connection:
        assert await raise_alert(connection, dead(1), "platform")
        assert [alert.first for alert in await open_alerts(connection)] == [None]
        for count in (1, 7, 3):
            assert not await raise_alert(connection, dead(count), "platform")
        [alert] = await open_alerts(connection)
        assert (alert.reason.facts["count"], alert.first and alert.first.facts["count"]) == (3, 1)
        # An example of many messages stays the first one.
        await resolve_alert(connection, ReasonCode.JOBS_DEAD, "platform")
    alerts = Alerts(engine)
    for count in (4, 5):
        await alerts.raise_if_possible(dead(count), "platform")
    async with engine.connect() as connection:
        [alert] = await open_alerts(connection)
    assert (alert.reason.facts["count"], alert.first) == (4, None)


async def test_an_alert_that_is_raised_once_takes_newer_facts_but_not_the_first_again(engine: AsyncEngine) -> None:
    alerts = Alerts(engine)
    for orders in (2, 3, 2):
        reason = because(ReasonCode.COUPON_OVERUSED, code="ab12", orders=orders, limit=1)
        await alerts.raise_alert(reason, "ab12", again=False)
    async with engine.connect() as connection:
        [alert] = await open_alerts(connection)
    assert (alert.reason.facts["orders"], alert.first and alert.first.facts["orders"]) == (3, 2)


async def test_with_the_same_facts_an_alert_is_not_raised_again_unless_wanted(engine: AsyncEngine) -> None:
    alerts, scene = Alerts(engine), Scene(engine)
    shared = because(ReasonCode.COUPON_OVERUSED, code=CODE, orders=2, limit=1)
    assert await alerts.raise_alert(shared, CODE, again=False)
    await scene.sql("UPDATE alert SET resolved_at = now()")
    assert not await alerts.raise_alert(shared, CODE, again=False)
    assert await alerts.raise_alert(shared.also(orders=3), CODE, again=False), "something new happened"
    await scene.sql("UPDATE alert SET resolved_at = now()")
    assert await alerts.raise_alert(shared, CODE)


async def test_the_oldest_due_lane_may_be_one_that_a_dead_worker_holds(engine: AsyncEngine) -> None:
    """It is due from the end of its lease on, and then it shows that no worker claims."""

    async def due() -> float:
        async with engine.connect() as connection:
            backlogs = (await read_backlog(connection, OldestWaiting())).destinations
            return next(backlog.oldest for backlog in backlogs if backlog.destination == "platform")

    scene = Scene(engine)
    await scene.order("1001")
    await scene.sql(
        "UPDATE lane SET leased = true, run_at = now() - interval '1 hour', lease_until = now() + interval '9 s'"
    )
    assert await due() == 0
    await scene.sql("UPDATE lane SET lease_until = now() - interval '30 s'")
    assert 30 <= await due() < 90
