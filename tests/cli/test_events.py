"""`relay events`: what a line shows, and --follow prints each event once, in the order of arrival."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.cli.events import followed, print_list, read_events, response_text
from platform_relay.cli.terminal import out, whole_table
from platform_relay.explain.event_list import EventFilter
from tests.explain.scene import Scene, answered


async def test_what_arrives_is_followed(engine: AsyncEngine) -> None:
    scene = Scene(engine)
    await scene.order("1001")
    await scene.order("1002")
    events = followed(engine, EventFilter(kind="orders", since=datetime.now(UTC) - timedelta(minutes=1)))
    async with asyncio.timeout(60):
        first = [(await anext(events)).subject, (await anext(events)).subject]
        await scene.customer()
        await scene.order("1003")
        third = (await anext(events)).subject
    await events.aclose()  # type: ignore[attr-defined]  # an asynchronous generator has it
    assert [*first, third] == ["order:1001", "order:1002", "order:1003"]


async def test_the_newest_are_listed_with_the_last_response(engine: AsyncEngine) -> None:
    scene = Scene(engine)
    await scene.order("1001")
    await scene.run(answered(422, "currency must be ISO 4217"))
    await scene.order("1002")
    events = [event async for event in read_events(engine, EventFilter(), 2)]
    assert [(event.subject, response_text(event)) for event in events] == [
        ("order:1002", ""),
        ("order:1001", "HTTP 422 rejected_by_destination"),
    ]


async def test_in_a_narrow_output_no_id_is_cut_off(engine: AsyncEngine, capsys: pytest.CaptureFixture[str]) -> None:
    scene = Scene(engine)
    await scene.order("100000000000000000000000000000000000000000000001")
    print_list([event async for event in read_events(engine, EventFilter(), 1)])
    [line] = capsys.readouterr().out.splitlines()
    assert "order:100000000000000000000000000000000000000000000001" in line
    assert "waiting" in line


def test_a_table_shows_its_codes_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    table = whole_table("code", "what", "next step", one_line=("code",))
    table.add_row("bf84d231de03bf84d231de03", "No value is known for this rule. " * 5, "Add a reward rule. " * 5)
    out.print(table)
    shown = capsys.readouterr().out
    assert "bf84d231de03bf84d231de03" in shown
    assert "…" not in shown
