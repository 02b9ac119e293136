"""*Keys*: the API keys, and the sessions of the console. A new key is shown once."""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.access import api_keys, sessions
from platform_relay.console.pages import PageError, Pages
from platform_relay.core.database import map_database_errors
from platform_relay.core.plain_numbers import integer, is_count

SCOPE_DESCRIPTIONS: Final = {
    "events": "report events (a store's backend)",
    "read": "read everything (support); also allows signing in to the console",
    "operate": "retry, drop, pause, decide on coupons",
    "admin": "create and revoke keys",
}


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(prefix="/console/keys", route_class=pages.route_class(), include_in_schema=False)
    engine = pages.services.engine

    async def show_keys(
        request: Request, new: str | None = None, name: str = "", until: datetime | None = None
    ) -> Response:
        async with map_database_errors():
            keys = await api_keys.list_keys(engine)
            async with engine.connect() as connection:
                open_sessions = await sessions.list_sessions(connection)
        return pages.show(
            request,
            "keys",
            keys=keys,
            sessions=open_sessions,
            now=datetime.now(UTC),
            new=new,
            name=name,
            until=until,
            scopes=SCOPE_DESCRIPTIONS,
        )

    @router.get("")
    async def listing(request: Request) -> Response:
        await pages.visitor(request)
        return await show_keys(request)

    @router.post("")
    async def create(request: Request) -> Response:
        """Responds with the page instead of a redirect, because the key is not stored and can be shown only now."""
        visitor, form = await pages.form(request, "admin")
        scopes = [scope for scope in api_keys.SCOPES if form[f"scope_{scope}"]]
        days = form["days"]
        if not form["name"] or len(form["name"]) > 100 or not scopes:
            raise PageError(422, "The key needs a name and a scope", "Enter a name and select at least one scope.")
        if days and not (is_count(days) and 0 < integer(days) <= 3650):
            raise PageError(422, "The number of days is not valid", "Enter a number from 1 to 3650, or leave it empty.")
        lifetime = timedelta(days=integer(days)) if days else None
        async with map_database_errors():
            key = await api_keys.create(engine, form["name"], scopes, visitor.name, lifetime)
        return await show_keys(request, key, form["name"])

    @router.post("/{key_id}/rotate")
    async def rotate(request: Request, key_id: UUID) -> Response:
        """Responds with the page, as `create` does."""
        visitor, _ = await pages.form(request, "admin")
        async with map_database_errors():
            rotated = await api_keys.rotate(engine, key_id, visitor.name)
        if rotated is None:
            raise PageError(404, "No active key has this id", "It may have been revoked already. See the list of keys.")
        return await show_keys(request, rotated.key, rotated.name, rotated.until)

    @router.post("/{key_id}/revoke")
    async def revoke(request: Request, key_id: UUID) -> Response:
        visitor, _ = await pages.form(request, "admin")
        async with map_database_errors():
            revoked = await api_keys.revoke(engine, key_id, visitor.name)
        notice = "The key is revoked. It stops working within seconds." if revoked else "The key was already revoked."
        return pages.back(request, visitor, "/console/keys", notice)

    return router
