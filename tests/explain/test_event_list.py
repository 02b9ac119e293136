"""The list of events: what a row shows, every filter, and pages that neither repeat nor hide an event."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.outcomes import Done, Wait
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.explain import event_list
from platform_relay.explain.event_list import EventFilter, EventView, list_events, reached, selected_jobs
from platform_relay.inbox.retention import prune_bodies
from platform_relay.jobs.queries import find_message
from tests.explain.scene import CODE, EMAIL, Scene, answered

ALL = EventFilter()


async def every(engine: AsyncEngine, filters: EventFilter = ALL, limit: int = 50) -> list[EventView]:
    """All events that match, page by page."""
    events: list[EventView] = []
    cursor: str | None = None
    while True:
        async with engine.connect() as connection:
            page = await list_events(connection, filters, cursor=cursor, limit=limit)
        events += page.items
        if (cursor := page.next_cursor) is None:
            return events


async def subjects(engine: AsyncEngine, filters: EventFilter, limit: int = 50) -> list[str | None]:
    return [event.subject for event in await every(engine, filters, limit)]


async def a_day(scene: Scene) -> None:
    """A customer delivered, an order rejected, an order that waits after a failure, a redemption; oldest first."""
    await scene.customer()
    await scene.run(Done(digest=b"d"))
    await scene.order("1001")
    await scene.run(answered(422, "currency must be ISO 4217"))
    await scene.order("1002")
    await scene.run(answered(503, "try later"))
    await scene.promised()


async def test_a_row_shows_the_state_and_the_last_response(engine: AsyncEngine) -> None:
    await a_day(Scene(engine))
    redemption, later, rejected, customer = await every(engine)
    assert [each.kind for each in (redemption, later, rejected, customer)] == [
        "points/redeemed", "orders", "orders", "customers",
    ]  # fmt: skip
    assert (customer.subject, customer.state, customer.reason_code) == ("customer:42", "delivered", None)
    assert customer.last_response is not None
    assert (customer.last_response.outcome, customer.last_response.text) == ("done", None)
    assert (rejected.subject, rejected.state, rejected.source) == ("order:1001", "needs_attention", "store")
    assert rejected.reason_code == ReasonCode.REJECTED_BY_DESTINATION
    assert rejected.last_response is not None
    assert (rejected.last_response.status, rejected.last_response.reason_code) == (422, rejected.reason_code)
    assert "currency must be ISO 4217" in rejected.text
    assert (later.state, later.last_response and later.last_response.status) == ("waiting", 503)
    assert (redemption.subject, redemption.source, redemption.last_response) == (f"coupon:{CODE}", "platform", None)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (EventFilter(kind="orders"), ["order:1002", "order:1001"]),
        (EventFilter(source="platform"), [f"coupon:{CODE}"]),
        (EventFilter(state="needs_attention"), ["order:1001"]),
        (EventFilter(state="waiting"), [f"coupon:{CODE}", "order:1002"]),
        (EventFilter(state="delivered"), ["customer:42"]),
        (EventFilter(state="dropped"), []),
        (EventFilter(reason_code=ReasonCode.REJECTED_BY_DESTINATION), ["order:1001"]),
        (EventFilter(reason_code=ReasonCode.REJECTED_BY_DESTINATION, state="waiting"), []),
        (EventFilter(about="1001"), ["order:1001"]),
        (EventFilter(about="#1001"), ["order:1001"]),
        (EventFilter(about=CODE.upper()), [f"coupon:{CODE}"]),
        (EventFilter(about="42"), [f"coupon:{CODE}", "order:1002", "order:1001", "customer:42"]),
        (EventFilter(about=EMAIL.upper()), [f"coupon:{CODE}", "order:1002", "order:1001", "customer:42"]),
        (EventFilter(about=EMAIL, state="waiting", kind="orders"), ["order:1002"]),
        (EventFilter(about="100"), []),
        (EventFilter(until=datetime(2020, 1, 1, tzinfo=UTC)), []),
        (EventFilter(since=datetime(2999, 1, 1, tzinfo=UTC)), []),
        (EventFilter(since=datetime(2020, 1, 1, tzinfo=UTC), kind="customers"), ["customer:42"]),
        (EventFilter(since=datetime(1066, 1, 1, tzinfo=UTC), kind="customers"), ["customer:42"]),
    ],
    ids=str,
)
async def test_a_filter(filters: EventFilter, expected: list[str], engine: AsyncEngine) -> None:
    await a_day(Scene(engine))
    for limit in (50, 1):
        assert await subjects(engine, filters, limit) == expected


async def test_the_event_of_a_held_coupon_is_held(engine: AsyncEngine) -> None:
    scene = Scene(engine)
    await scene.order("1002")
    await scene.run(answered(503, "try later"))
    await scene.promised()
    await scene.run(Wait(because(ReasonCode.NO_VALUE, rule="rule-7"), "reward-rule:rule-7"), "store")
    held, waiting = await every(engine)
    assert (held.state, held.reason_code) == ("held", ReasonCode.NO_VALUE)
    assert waiting.state == "waiting"
    assert await subjects(engine, EventFilter(state="held")) == [f"coupon:{CODE}"]
    assert await subjects(engine, EventFilter(state="waiting")) == ["order:1002"]
    async with engine.connect() as connection:
        message = await find_message(connection, held.id)
    assert message is not None
    assert message.state == "held"


async def test_an_event_is_found_by_its_id_and_by_the_id_of_its_job(engine: AsyncEngine) -> None:
    scene = Scene(engine)
    receipt = await scene.order("1001")
    job = await scene.run(answered(422))
    await scene.order("1002")
    for about in (receipt.id, job.id):
        assert [event.id for event in await every(engine, EventFilter(about=str(about)))] == [receipt.id]


async def test_an_event_is_found_by_a_subject_after_its_body_was_deleted(engine: AsyncEngine) -> None:
    await a_day(Scene(engine))
    assert await prune_bodies(engine, timedelta(0), datetime.now(UTC) + timedelta(days=2)) >= 2
    assert await subjects(engine, EventFilter(about="1001")) == ["order:1001"]


async def test_times_limit_the_receipt_to_the_millisecond(engine: AsyncEngine) -> None:
    scene = Scene(engine)
    first = UUID(int=(1_700_000_000_000 << 80) + 1)
    for number, milliseconds in enumerate((0, 1, 2), 1):
        identifier = UUID(int=first.int + (milliseconds << 80))
        message = await scene.customer(str(number))
        await scene.sql("UPDATE message SET id = :new WHERE id = :id", new=identifier, id=message.id)
    moment = datetime.fromtimestamp(1_700_000_000, UTC)
    second = moment + timedelta(milliseconds=1)
    assert await subjects(engine, EventFilter(since=second)) == ["customer:3", "customer:2"]
    assert await subjects(engine, EventFilter(until=second)) == ["customer:1"]
    assert await subjects(engine, EventFilter(since=second, until=second + timedelta(milliseconds=1))) == ["customer:2"]


@pytest.mark.parametrize("about", [None, "42"])
async def test_a_walk_ends_after_its_time_and_the_next_page_continues(
    about: str | None, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No time at all: each page reads one window."""
    monkeypatch.setattr(event_list, "SECONDS", -1.0)
    scene = Scene(engine)
    await scene.order("oldest")
    for number in range(9):
        await scene.customer(updatedAt=f"2026-01-0{number + 1}T00:00:00Z")
    filters = EventFilter(kind="orders", about=about)
    cursor: str | None = None
    pages = 0
    while True:
        pages += 1
        async with engine.connect() as connection:
            page = await list_events(connection, filters, cursor=cursor, limit=2)
        cursor = page.next_cursor
        assert bool(page.items) == (cursor is None)
        if cursor is None:
            break
        moment = reached(cursor)
        assert moment is not None
        assert abs(datetime.now(UTC) - moment) < timedelta(minutes=5)
    assert pages == 4, "windows of three messages"
    assert [event.subject for event in page.items] == ["order:oldest"]


async def test_many_candidates_are_found_by_walking(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_list, "CANDIDATES", 1)
    await a_day(Scene(engine))
    assert await subjects(engine, EventFilter(state="waiting"), 1) == [f"coupon:{CODE}", "order:1002"]


async def test_the_jobs_of_selected_events(engine: AsyncEngine) -> None:
    scene = Scene(engine)
    await a_day(scene)
    await scene.sql("UPDATE lane SET waits_for = 'reward-rule:rule-7' WHERE destination = 'store'")
    ids = [event.id for event in await every(engine)]
    async with engine.connect() as connection:
        jobs = await selected_jobs(connection, ids)
    assert [(job.kind, job.dead, job.waiting, job.waits_for) for job in jobs] == [
        ("forward_customer", False, False, None),
        ("forward_order", True, False, None),
        ("forward_order", False, True, None),
        ("issue_coupon", False, True, "reward-rule:rule-7"),
    ]
