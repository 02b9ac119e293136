"""The console at /console: pages for the people who run the relay. One file per page; `pages` is what they share.

Rendered by the server (templates/), renewed by htmx and server-sent events, with nothing from elsewhere
(static/vendor/) and nothing inline. Every act goes the way of the API's: the same operations, the same audit.
"""

from fastapi import APIRouter
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from app.api.authentication import Keys
from app.api.services import Services
from app.console import audit, bulk, coupons, edit, jobs, keys, login, now, rules, search, stuck
from app.console.pages import HERE, Pages


def routes(services: Services, known: Keys) -> APIRouter:
    """A door like those of `app.api`."""
    pages = Pages(services, known)
    router = APIRouter()
    for page in (now, search, stuck, bulk, jobs, edit, coupons, rules, keys, audit):
        router.routes.extend(page.routes(pages).routes)
    router.routes.extend(login.routes(pages, known).routes)
    router.routes.append(Mount("/console/static", StaticFiles(directory=HERE / "static"), name="console"))
    return router
