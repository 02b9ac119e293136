"""*Keys*: who may use the API. A new key is shown once."""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.access import api_keys
from platform_relay.console.pages import Pages, Refused
from platform_relay.jobs.queries import when_away

MEANING: Final = {
    "events": "report events (a store's backend)",
    "read": "look at everything (support; also signs in here)",
    "operate": "retry, drop, pause, decide about coupons",
    "admin": "make and revoke keys",
}


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(prefix="/console/keys", route_class=pages.route_class(), include_in_schema=False)
    engine = pages.services.engine

    async def shown(
        request: Request, new: str | None = None, name: str = "", until: datetime | None = None
    ) -> Response:
        async with when_away():
            known = await api_keys.list_keys(engine)
        told = {"new": new, "name": name, "until": until, "meaning": MEANING}
        return pages.show(request, "keys", keys=known, now=datetime.now(UTC), **told)

    @router.get("")
    async def listing(request: Request) -> Response:
        await pages.visitor(request)
        return await shown(request)

    @router.post("")
    async def create(request: Request) -> Response:
        """Answers with the page itself, not with another address: the key is not kept anywhere to be shown there."""
        visitor, form = await pages.form(request, "admin")
        scopes = [scope for scope in api_keys.SCOPES if form[f"scope_{scope}"]]
        days = form["days"]
        if not form["name"] or len(form["name"]) > 100 or not scopes:
            raise Refused(422, "The key needs a name and a scope", "Say whose key it is, and what it may do.")
        if days and not (days.isdecimal() and 0 < int(days) <= 3650):
            raise Refused(422, "The key's days are not a number", "Say how many days it lasts, from 1 to 3650.")
        lifetime = timedelta(days=int(days)) if days else None
        async with when_away():
            key = await api_keys.create(engine, form["name"], scopes, visitor.name, lifetime)
        return await shown(request, key, form["name"])

    @router.post("/{key_id}/rotate")
    async def rotate(request: Request, key_id: UUID) -> Response:
        """Answers as `create` does."""
        visitor, _ = await pages.form(request, "admin")
        async with when_away():
            rotated = await api_keys.rotate(engine, key_id, visitor.name)
        if rotated is None:
            raise Refused(
                404, "There is no such key in use", "It may have been revoked already; see the list of api_keys."
            )
        return await shown(request, rotated.key, rotated.name, rotated.until)

    @router.post("/{key_id}/revoke")
    async def revoke(request: Request, key_id: UUID) -> Response:
        visitor, _ = await pages.form(request, "admin")
        async with when_away():
            revoked = await api_keys.revoke(engine, key_id, visitor.name)
        said = "The key is revoked; within seconds nobody can use it." if revoked else "It was revoked before."
        return pages.back(request, visitor, "/console/keys", said)

    return router
