"""Sign in with a one-time link (`POST /v1/sign-in-links`). The link opens a page, and its button uses the link: programs that
follow links do not use it up."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from platform_relay.access.sessions import open_session
from platform_relay.access.sign_in_links import use_link
from platform_relay.api.authentication import Authenticator
from platform_relay.api.root_path import outside
from platform_relay.console.login import LOGIN_BYTES, find_operator
from platform_relay.console.pages import PageError, Pages, require_same_origin
from platform_relay.console.session import write_session
from platform_relay.console.setup import first_page
from platform_relay.core.database import map_database_errors


def routes(pages: Pages, keys: Authenticator) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    engine, store_key = pages.services.engine, pages.services.settings.store_key

    @router.get("/console/sign-in")
    async def show_link(request: Request, secret: str = "") -> Response:
        return pages.show(request, "sign_in", secret=secret)

    @router.post("/console/sign-in")
    async def sign_in(request: Request) -> Response:
        require_same_origin(request)
        secret = (await pages.fields(request, LOGIN_BYTES))["secret"]
        async with map_database_errors():
            owner = await use_link(engine, secret)
        operator = await find_operator(keys, owner.key_hash, store_key) if owner else None
        if owner is None or operator is None:
            detail = "It was used before, it has expired, or its key was revoked. Sign in with your key."
            raise PageError(401, "This link does not work any more", detail)
        response = RedirectResponse(outside(request, await first_page(pages)), 303)
        async with map_database_errors():
            write_session(request, response, await open_session(engine, owner.key_hash, operator.name))
        return response

    return router
