"""*Set-up*: the checklist until everything works, and the actions that belong to it. The first page until it is finished."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.api.root_path import root_path_of
from platform_relay.api.setup import reader_of
from platform_relay.console.pages import HOME, PageError, Pages, Visitor
from platform_relay.core.database import map_database_errors, read_connection
from platform_relay.core.errors import DatabaseAway
from platform_relay.core.reasons import Reason
from platform_relay.setup.actions import BackupInFutureError, CannotTestError, SetupActions
from platform_relay.setup.checklist import ChecklistItem, is_complete
from platform_relay.setup.records import is_finished
from platform_relay.setup.test_coupon import AnotherTestError

PATH: Final = "/console/setup"


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    services = pages.services
    actions = SetupActions(services.engine, services.settings, services.store)

    @router.get(PATH)
    async def page(request: Request) -> Response:
        visitor = await pages.visitor(request)
        items = await reader_of(request).read(fresh=bool(visitor.session.notice))
        finished = await _finished(pages)
        checklist = _rendered(pages, request, items, visitor)
        return pages.show(request, "setup", checklist=checklist, finished=finished, complete=is_complete(items))

    @router.get(f"{PATH}/checklist")
    async def part(request: Request) -> Response:
        """The checklist alone, which the page reads again regularly."""
        visitor = await pages.visitor(request)
        return Response(_rendered(pages, request, await reader_of(request).read(), visitor), media_type="text/html")

    @router.post(f"{PATH}/test-coupon")
    async def test_coupon(request: Request) -> Response:
        visitor, _ = await pages.form(request)
        done = "The test coupon was created, read back and removed."
        return await _tried(pages, request, visitor, actions.test_coupon, done)

    @router.post(f"{PATH}/test-alert")
    async def test_alert(request: Request) -> Response:
        visitor, _ = await pages.form(request)
        done = "The chat accepted the test. Check that it arrived."
        return await _tried(pages, request, visitor, actions.test_alert, done)

    @router.post(f"{PATH}/backup")
    async def backup(request: Request) -> Response:
        visitor, form = await pages.form(request)
        try:
            async with map_database_errors():
                await actions.state_backup(_time(form["at"]), visitor.name)
        except BackupInFutureError:
            detail = "Enter when the last backup was made, in UTC."
            raise PageError(422, "The time of the backup is in the future", detail) from None
        return pages.back(request, visitor, PATH, "The time of the backup is stored.")

    @router.post(f"{PATH}/finish")
    async def finish(request: Request) -> Response:
        visitor, _ = await pages.form(request)
        async with map_database_errors():
            await actions.finish(visitor.name)
        return pages.back(request, visitor, HOME, "The set-up is finished. Its page stays in the menu.")

    return router


async def _tried(
    pages: Pages, request: Request, visitor: Visitor, test: Callable[[str], Awaitable[Reason | None]], done: str
) -> Response:
    """Run a test and show its result on the page."""
    try:
        async with map_database_errors():
            failure = await test(visitor.name)
    except AnotherTestError:
        notice = "Another test coupon is not removed yet. Try again in a few minutes."
        return pages.back(request, visitor, PATH, notice, failed=True)
    except CannotTestError as error:
        return pages.back(request, visitor, PATH, str(error), failed=True)
    return pages.back(request, visitor, PATH, done if failure is None else failure.text, failed=failure is not None)


async def first_page(pages: Pages) -> str:
    """Where an operator arrives after signing in."""
    try:
        return HOME if await _finished(pages) else PATH
    except DatabaseAway:
        return HOME


async def _finished(pages: Pages) -> bool:
    async with read_connection(pages.services.engine) as connection:
        return await is_finished(connection)


def _rendered(pages: Pages, request: Request, items: tuple[ChecklistItem, ...], visitor: Visitor) -> str:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    return pages.render("part_setup", root_path_of(request), items=items, visitor=visitor, now=now)


def _time(text: str) -> datetime:
    """A time of the form, in UTC. Raises PageError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise PageError(422, "The time is not valid", "Enter a time like 2026-05-11 03:00.") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at
