"""Shared parts of all console pages: the signed-in visitor, CSRF-protected forms, templates and error pages."""

import hmac
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final  # Any: Starlette's own signatures
from urllib.parse import parse_qsl, quote

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from platform_relay.api.authentication import Authenticator, Scope
from platform_relay.api.dependencies import Services
from platform_relay.api.request_body import read_body
from platform_relay.api.root_path import outside, root_path_of
from platform_relay.console.formatting import FILTERS, finalized
from platform_relay.console.session import Notice, Session, clear_notice, read_session, write_notice
from platform_relay.core.database import map_database_errors
from platform_relay.core.errors import BodyTooLarge, Problem
from platform_relay.trial.mode import Trial

HERE: Final = Path(__file__).parent
HOME: Final = "/console"
MAX_FIELDS: Final = 100
"""The maximum number of fields in a form."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
MENU: Final = (
    ("/console", "Now", ()),
    ("/console/events", "Events", ()),
    ("/console/search", "Search", ("/console/messages/",)),
    ("/console/dead-and-held", "Dead and held", ("/console/dead-and-held/", "/console/jobs/")),
    ("/console/coupons", "Coupons", ("/console/coupon",)),
    ("/console/reconciliations", "Reconciliation", ("/console/reconciliations/",)),
    ("/console/rules", "Reward rules", ("/console/rule",)),
    ("/console/imports", "Imports", ("/console/imports/",)),
    ("/console/refused-requests", "Refused requests", ()),
    ("/console/keys", "Keys", ()),
    ("/console/audit", "Audit", ()),
    ("/console/setup", "Set-up", ()),
)
"""Path, name, and the path prefixes of the pages below it."""
GROUPS: Final = {
    "Data": ("/console/search", "/console/import", "/console/reconcil", "/console/refused-requests"),
    "Settings": ("/console/rules", "/console/keys", "/console/audit", "/console/setup", "/console/trial"),
}
"""The groups of the menu, by the beginning of their pages' paths. All other pages are on the menu itself."""
TRIAL_PAGE: Final = ("/console/trial", "Trial", ())
"""The menu's entry of a relay that is, or was, in a trial."""


class PageError(Exception):
    """The request is rejected with a page that explains what is wrong and what to do."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        self.status, self.title, self.detail = status, title, detail
        super().__init__(title)


class SignInRequiredError(Exception):
    """The visitor is not signed in, or the session has ended."""


@dataclass(frozen=True, slots=True)
class MenuLink:
    """A page of the menu. `current`: "page" if it is shown, "true" if a page below it is shown, else None."""

    path: str
    name: str
    current: str | None


@dataclass(frozen=True, slots=True)
class MenuGroup:
    """Pages that the menu shows on request. `current`: one of them, or a page below one, is shown."""

    name: str
    links: tuple[MenuLink, ...]

    @property
    def current(self) -> bool:
        return any(link.current for link in self.links)


def grouped_menu(pages: Iterable[tuple[str, str, tuple[str, ...]]], shown: str) -> list[MenuLink | MenuGroup]:
    """The menu for the page at the path `shown`: the pages of no group, then the groups that have pages. Pure."""
    links: list[MenuLink] = []
    groups: dict[str, list[MenuLink]] = {name: [] for name in GROUPS}
    for path, name, below in pages:
        link = MenuLink(path, name, "page" if shown == path else "true" if shown.startswith(below) else None)
        group = next((group for group, starts in GROUPS.items() if path.startswith(starts)), None)
        (links if group is None else groups[group]).append(link)
    return [*links, *(MenuGroup(name, tuple(members)) for name, members in groups.items() if members)]


@dataclass(frozen=True, slots=True)
class Visitor:
    """The signed-in user. `name` is written to the audit."""

    name: str
    scopes: frozenset[str]
    session: Session

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes


class Form(dict[str, str]):
    """The fields of a form, stripped of surrounding whitespace. A missing field is empty."""

    def __missing__(self, name: str) -> str:
        return ""

    def why(self) -> str:
        """The reason for the audit. Raises PageError when it is missing or too long."""
        why = self["why"]
        if not why or len(why) > 500:
            raise PageError(
                422, "A reason is needed", "Enter a reason of at most 500 characters. It is stored in the audit."
            )
        return why


class Pages:
    """Renders pages and checks requests, with the services of one process."""

    def __init__(self, services: Services, keys: Authenticator) -> None:
        self.services = services
        self._keys = keys
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            finalize=finalized,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(FILTERS)

    async def visitor(self, request: Request, scope: Scope = "read") -> Visitor:
        """The signed-in visitor. Raises SignInRequiredError, DatabaseAway, and PageError when the key does not have the scope."""
        session = await read_session(self.services.engine, request)
        async with map_database_errors():
            request.state.trial = await self.services.mode.read()
        if session is None:
            raise SignInRequiredError
        caller = await self._keys.find(session.key_hash)
        if caller is None:
            raise SignInRequiredError
        if scope not in caller.scopes:
            raise PageError(
                403, "Your key does not allow this", f"It needs the scope “{scope}”. Sign in with another key."
            )
        request.state.visitor = Visitor(caller.name, caller.scopes, session)
        return Visitor(caller.name, caller.scopes, session)

    async def form(self, request: Request, scope: Scope = "operate") -> tuple[Visitor, Form]:
        """The visitor and the fields of a form of the console. Raises as `visitor`, and PageError if the form is forged."""
        require_same_origin(request)
        visitor = await self.visitor(request, scope)
        form = await self.fields(request)
        if not hmac.compare_digest(form["token"].encode(), visitor.session.token.encode()):
            raise PageError(403, "This form has expired", "Go back, reload the page and send it again.")
        return visitor, form

    async def fields(self, request: Request, limit: int | None = None) -> Form:
        """The fields of a form of at most `limit` bytes. None: four times BODY_LIMIT, as percent-encoding makes it longer."""
        raw = await read_body(request, self.services.settings.body_limit * 4 if limit is None else limit)
        try:
            fields = parse_qsl(raw.decode("utf-8", "replace"), max_num_fields=MAX_FIELDS)
        except ValueError:
            raise PageError(422, "The form cannot be read", f"It has more than {MAX_FIELDS} fields.") from None
        return Form((name, value.strip().replace("\x00", "")) for name, value in fields)

    def show(self, request: Request, page: str, status: int = 200, /, **context: object) -> HTMLResponse:
        """Renders the template `page`.html. The notice of the session is shown and then cleared."""
        visitor: Visitor | None = getattr(request.state, "visitor", None)
        trial: Trial | None = getattr(request.state, "trial", None)
        menu = (*MENU, TRIAL_PAGE) if trial and trial.started_at else MENU
        own = {"visitor": visitor, "menu": grouped_menu(menu, request.url.path), "trial": trial}
        html = self.render(page, root_path_of(request), **own, **context)
        response = HTMLResponse(html, status)
        if visitor is not None and visitor.session.notice:
            clear_notice(request, response)
        return response

    def render(self, page: str, root: str, /, **context: object) -> str:
        """The template `page`.html. `root` is the path under which the relay is served."""
        return self._templates.get_template(f"{page}.html").render(context, root=root)

    def back(self, request: Request, visitor: Visitor, to: str, notice: str, *, failed: bool = False) -> Response:
        """Redirects to the page `to` after a form, which shows the notice."""
        response = RedirectResponse(outside(request, to), 303)
        write_notice(request, response, visitor.session, Notice(notice, failed))
        return response

    def route_class(self) -> type[APIRoute]:
        """The route class of the console: errors are pages, and every response has the Content-Security-Policy header."""
        pages = self

        class PageRoute(APIRoute):
            def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
                handle = super().get_route_handler()

                async def respond(request: Request) -> Response:
                    try:
                        response = await handle(request)
                    except SignInRequiredError:
                        response = _to_sign_in(request)
                    except PageError as error:
                        response = pages.show_error(request, error.status, error.title, error.detail)
                    except Problem as problem:
                        detail = problem.detail if not isinstance(problem, BodyTooLarge) else "The form is too large."
                        response = pages.show_error(request, problem.status, problem.title, detail)
                    except RequestValidationError as error:
                        names = ", ".join(dict.fromkeys(str(one["loc"][-1]) for one in error.errors()))
                        detail = f"This address has a value that is not valid: {names}. Open the page from the menu."
                        response = pages.show_error(request, 404, "Page not found", detail)
                    response.headers["content-security-policy"] = POLICY
                    return response

                return respond

        return PageRoute

    def show_error(self, request: Request, status: int, title: str, detail: str) -> Response:
        """An error page, or for a request of htmx a part of a page."""
        name = "error_part" if request.headers.get("hx-request") else "error"
        return self.show(request, name, status, title=title, detail=detail)


def require_same_origin(request: Request) -> None:
    """Raises PageError for a form that was not sent from this origin."""
    site = request.headers.get("sec-fetch-site")  # browsers send it only over https and to localhost
    scheme, _, origin = request.headers.get("origin", "").partition("://")
    same = scheme in ("http", "https") and origin != "" and origin == request.headers.get("host")
    if not (site == "same-origin" if site else same):
        detail = "The form was sent from another site. Open the console and send it from there."
        raise PageError(403, "This form was not sent from the console", detail)


def build_url(path: str, **parameters: object) -> str:
    """The path with a query of the parameters that are not None."""
    pairs = [f"{name}={quote(str(value), safe='')}" for name, value in parameters.items() if value is not None]
    return path + ("?" if pairs else "") + "&".join(pairs)


def _to_sign_in(request: Request) -> Response:
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    to = outside(request, build_url("/console/login", next=path if request.method == "GET" and path != HOME else None))
    if request.headers.get("hx-request"):
        return Response(status_code=204, headers={"hx-redirect": to})
    return RedirectResponse(to, 303)
