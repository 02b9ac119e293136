"""The console at /console: pages for the people who run the relay. One file per page; `pages` is what they share.

Rendered by the server (templates/), renewed by htmx and server-sent events, with nothing from elsewhere
(static/vendor/) and nothing inline. Every act goes the way of the API's: the same operations, the same audit.
"""

from fastapi import APIRouter
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from platform_relay.api.authentication import Keys
from platform_relay.api.dependencies import Services
from platform_relay.console import audit, bulk, coupons, dead_and_held, edit, jobs, keys, login, now, rules, search
from platform_relay.console.pages import HERE, Pages


def routes(services: Services, known: Keys) -> APIRouter:
    """A endpoint like those of `platform_relay.api`."""
    pages = Pages(services, known)
    router = APIRouter()
    for page in (now, search, dead_and_held, bulk, jobs, edit, coupons, rules, keys, audit):
        router.routes.extend(page.routes(pages).routes)
    router.routes.extend(login.routes(pages, known).routes)
    router.routes.append(Mount("/console/static", StaticFiles(directory=HERE / "static"), name="console"))
    return router
