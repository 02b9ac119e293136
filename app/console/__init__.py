"""The console at /console: HTML pages for operators. One module per page; `pages` holds what they share.

The server renders the pages (templates/); htmx and server-sent events update them. All assets are served from
static/, and no script or style is inline. Operator actions call the same functions and write the same audit records as
the API.
"""

from fastapi import APIRouter
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from platform_relay.api.authentication import Authenticator
from platform_relay.api.dependencies import Services
from platform_relay.console import (
    audit,
    bulk,
    coupons,
    dead_and_held,
    edit,
    events,
    import_uploads,
    imports,
    jobs,
    keys,
    login,
    matching_events,
    now,
    reconciliations,
    refused_requests,
    repairs,
    rules,
    search,
    setup,
    sign_in,
    trial,
)
from platform_relay.console.pages import HERE, Pages


def routes(services: Services, authenticator: Authenticator) -> APIRouter:
    """The router of all console pages."""
    pages = Pages(services, authenticator)
    router = APIRouter()
    for page in (
        now,
        setup,
        events,
        import_uploads,  # its paths are matched before those of an import
        imports,
        search,
        dead_and_held,
        bulk,
        jobs,
        edit,
        coupons,
        rules,
        keys,
        audit,
        refused_requests,
        trial,
        reconciliations,
        repairs,
        matching_events,
    ):
        router.routes.extend(page.routes(pages).routes)
    for page in (login, sign_in):
        router.routes.extend(page.routes(pages, authenticator).routes)
    router.routes.append(Mount("/console/static", StaticFiles(directory=HERE / "static"), name="console"))
    return router
