"""`relay events`: everything that was received, newest first; or, with --follow, as it arrives."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, get_args
from uuid import UUID

import typer
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.cli.context import database_engine, run
from platform_relay.cli.numbers import WHOLE, whole
from platform_relay.cli.terminal import mark, out, print_json, whole_table
from platform_relay.core.reasons import ReasonCode
from platform_relay.explain.event_list import EventFilter, EventView, list_events
from platform_relay.jobs.statistics import database_time
from platform_relay.jobs.views import MessageState

POLL_SECONDS: Final = 1.0
OVERLAP: Final = timedelta(seconds=30)
"""Messages are committed at most this long after their ids were made, so older ones cannot appear any more."""
PAGE: Final = 200
TABLE_WIDTH: Final = 120
"""In a narrower terminal, and where the output is no terminal, there is one line per event: a table would be unreadable."""
TONES: Final = {
    "delivered": "green",
    "skipped": "green",
    "needs_attention": "red",
    "held": "yellow",
    "waiting": "yellow",
}


def events(
    kind: Annotated[str | None, typer.Option(help="Only this kind or topic, such as orders.")] = None,
    state: Annotated[
        MessageState | None,
        typer.Option(metavar="STATE", help=f"Only events in this state: {', '.join(get_args(MessageState))}."),
    ] = None,
    reason_code: Annotated[
        ReasonCode | None,
        typer.Option(metavar="CODE", help="Only events with this reason code (docs/reason-codes.md)."),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only from this sender: store, platform, or the adapter.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            help="Only events received at this time (UTC) or later.",
            formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"],
        ),
    ] = None,
    about: Annotated[str | None, typer.Option(help="An exact id, an e-mail address, or the code of a coupon.")] = None,
    limit: Annotated[int, typer.Option(parser=whole(1, 1000), metavar=WHOLE, help="How many, the newest first.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print events as they arrive, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per event.")] = False,
) -> None:
    """List what was received, newest first, with its state and the last response. --follow prints what arrives."""
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    filters = EventFilter(kind, state, reason_code, source, since, None, about)

    async def work() -> None:
        async with database_engine() as engine:
            if follow:
                async for event in followed(engine, filters):
                    _print_line(event, as_json=as_json)
                return
            newest = [event async for event in read_events(engine, filters, limit)]
            if as_json:
                for event in newest:
                    print_json(event.model_dump_json())
            else:
                print_list(newest)

    try:
        run(work())
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


async def read_events(engine: AsyncEngine, filters: EventFilter, limit: int | None = None) -> AsyncIterator[EventView]:
    """The newest `limit` events that match, or all, page by page."""
    cursor, count = None, 0
    while limit is None or count < limit:
        async with engine.connect() as connection:
            size = PAGE if limit is None else min(PAGE, limit - count)
            page = await list_events(connection, filters, cursor=cursor, limit=size)
        for event in page.items:
            count += 1
            yield event
        if (cursor := page.next_cursor) is None:
            return


async def followed(engine: AsyncEngine, filters: EventFilter) -> AsyncIterator[EventView]:
    """Every event that is received from now on, or from `since` on, once: when it first matches within OVERLAP of its receipt."""
    now = await _now(engine)
    since = filters.since or now - OVERLAP
    printed: dict[UUID, datetime] = {}
    if filters.since is None:
        printed = {event.id: event.received_at async for event in read_events(engine, EventFilter(since=since))}
    while True:
        read = [event async for event in read_events(engine, replace(filters, since=since))]
        for event in reversed(read):
            if event.id not in printed:
                printed[event.id] = event.received_at
                yield event
        printed = {name: moment for name, moment in printed.items() if moment >= now - 2 * OVERLAP}
        await asyncio.sleep(POLL_SECONDS)
        now = await _now(engine)
        since = max(since, now - OVERLAP)


async def _now(engine: AsyncEngine) -> datetime:
    async with engine.connect() as connection:
        return await database_time(connection)


def print_list(events: Sequence[EventView]) -> None:
    """Print events as a table, or line by line where a table would be too narrow to read."""
    if out.width >= TABLE_WIDTH:
        out.print(_table(events))
        return
    for event in events:
        _print_line(event, as_json=False, date=True)


def _print_line(event: EventView, *, as_json: bool, date: bool = False) -> None:
    if as_json:
        print_json(event.model_dump_json())
    else:
        about = f"{event.source} {event.kind} {event.subject or ''}".strip()
        received = f"{event.received_at:%Y-%m-%d %H:%M:%S}" if date else f"{event.received_at:%H:%M:%S}"
        out.print(f"{received}  {about}  ", mark(event.state, TONES.get(event.state, "")), f" {event.text}")


def _table(events: Iterable[EventView]) -> Table:
    fixed = ("received", "source", "kind", "subject", "state")
    table = whole_table(*fixed, "last response", "what", one_line=fixed)
    for event in events:
        state = mark(event.state, TONES.get(event.state, ""))
        received = f"{event.received_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(received, event.source, event.kind, event.subject or "", state, response_text(event), event.text)
    return table


def response_text(event: EventView) -> str:
    """`HTTP 503 server_error`; the outcome of an attempt without a status and a reason."""
    last = event.last_response
    if last is None:
        return ""
    parts = [f"HTTP {last.status}" if last.status else "", last.reason_code or ""]
    return " ".join(part for part in parts if part) or last.outcome
