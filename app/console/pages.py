"""What every page of the console shares: who is looking, forms that cannot be forged, templates, refusals in words."""

import hmac
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal  # Any: Starlette's own signatures
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from platform_relay.api.authentication import ALL_SCOPES, Caller, Keys, Scope
from platform_relay.api.dependencies import Services
from platform_relay.api.request_body import read_body
from platform_relay.console.formatting import FILTERS
from platform_relay.console.session import OPERATOR, Session, Sessions, saying
from platform_relay.core.errors import BodyTooLarge, Problem

HERE: Final = Path(__file__).parent
HOME: Final = "/console"
FIELDS: Final = 100
"""A form has at most so many."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
MENU: Final = (
    ("/console", "Now", ()),
    ("/console/search", "Search", ("/console/messages/",)),
    ("/console/stuck", "Dead and held", ("/console/stuck/", "/console/jobs/")),
    ("/console/coupons", "Coupons", ("/console/coupon",)),
    ("/console/rules", "Reward rules", ("/console/rule",)),
    ("/console/keys", "Keys", ()),
    ("/console/audit", "Audit", ()),
)
"""Address, name, and how the addresses of the pages below it begin."""


class Refused(Exception):  # noqa: N818  # as errors.Problem: what a person is told
    """A page that says what is wrong and what to do."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        self.status, self.title, self.detail = status, title, detail
        super().__init__(title)


class SignInFirst(Exception):  # noqa: N818  # as above
    """Nobody is signed in, or not any more."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at a page. `name` is for the audit."""

    name: str
    scopes: frozenset[str]
    session: Session

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes


class Form(dict[str, str]):
    """A form's fields; a missing one is empty, and what people type has no space around it."""

    def __missing__(self, name: str) -> str:
        return ""

    def why(self) -> str:
        """The reason that the audit keeps. Raises Refused when none was given."""
        why = self["why"]
        if not why or len(why) > 500:
            raise Refused(422, "A reason is needed", "Say why in at most 500 characters; the audit keeps it.")
        return why


class Pages:
    """On one process's services."""

    def __init__(self, services: Services, keys: Keys) -> None:
        self.services = services
        self._keys = keys
        self.sessions = Sessions(services.settings.operator_key)
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(FILTERS)

    async def visitor(self, request: Request, scope: Scope = "read") -> Visitor:
        """Who is signed in. Raises SignInFirst; Refused when the key may not do this; DatabaseAway."""
        session = self.sessions.read(request)
        if session is None:
            raise SignInFirst
        if session.who == OPERATOR:
            caller: Caller | None = Caller(OPERATOR, ALL_SCOPES)
        else:
            caller = await self._keys.find(bytes.fromhex(session.who))
        if caller is None:
            raise SignInFirst
        if scope not in caller.scopes:
            raise Refused(403, "Your key may not do this", f"It needs the scope “{scope}”. Sign in with another key.")
        request.state.visitor = Visitor(caller.name, caller.scopes, session)
        return Visitor(caller.name, caller.scopes, session)

    async def form(self, request: Request, scope: Scope = "operate") -> tuple[Visitor, Form]:
        """Who sent a form from one of our own pages, and its fields. Raises as `visitor`, and Refused for a forged one."""
        refuse_foreign(request)
        visitor = await self.visitor(request, scope)
        form = await self.fields(request)
        if not hmac.compare_digest(form["token"].encode(), visitor.session.token.encode()):
            raise Refused(403, "This form has expired", "Go back, reload the page and send it again.")
        return visitor, form

    async def fields(self, request: Request) -> Form:
        raw = await read_body(request, self.services.settings.body_limit * 4)  # percent-encoded, it is longer
        told = raw.decode("utf-8", "replace")
        try:
            fields = parse_qsl(told, max_num_fields=FIELDS)
        except ValueError:
            raise Refused(422, "The form cannot be read", f"It has more than {FIELDS} fields.") from None
        return Form((name, value.strip().replace("\x00", "")) for name, value in fields)

    def show(self, request: Request, page: str, status: int = 200, /, **context: object) -> HTMLResponse:
        """The page `page`.html. What the session had to say is told now, and not again."""
        visitor: Visitor | None = getattr(request.state, "visitor", None)
        here = request.url.path
        told = {"visitor": visitor, "menu": MENU, "here": here, "query": request.query_params}
        response = HTMLResponse(self.render(page, **told, **context), status)
        if visitor is not None and visitor.session.said:
            self.sessions.write(request, response, replace(visitor.session, said=None, failed=False))
        return response

    def render(self, page: str, /, **context: object) -> str:
        return self._templates.get_template(f"{page}.html").render(context)

    def back(self, request: Request, visitor: Visitor, to: str, said: str, *, failed: bool = False) -> Response:
        """After a form: to the page `to`, which tells what was done."""
        response = RedirectResponse(to, 303)
        self.sessions.write(request, response, saying(visitor.session, said, failed=failed))
        return response

    def route_class(self) -> type[APIRoute]:
        """Routes whose refusals are pages, and whose answers carry the content security policy."""
        pages = self

        class PageRoute(APIRoute):
            def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
                handle = super().get_route_handler()

                async def answer(request: Request) -> Response:
                    try:
                        response = await handle(request)
                    except SignInFirst:
                        response = _to_sign_in(request)
                    except Refused as refused:
                        response = pages.refuse(request, refused.status, refused.title, refused.detail)
                    except Problem as problem:
                        words = problem.detail if not isinstance(problem, BodyTooLarge) else "The form is too large."
                        response = pages.refuse(request, problem.status, problem.title, words)
                    except RequestValidationError:
                        words = "Something in the address of this page is not as it should be."
                        response = pages.refuse(request, 404, "There is no such page", words)
                    response.headers["content-security-policy"] = POLICY
                    return response

                return answer

        return PageRoute

    def refuse(self, request: Request, status: int, title: str, detail: str) -> Response:
        """A whole page, or for htmx a part of one."""
        name = "refused_part" if request.headers.get("hx-request") else "refused"
        return self.show(request, name, status, title=title, detail=detail)


def refuse_foreign(request: Request) -> None:
    """Raises Refused for a form that did not come from a page of this very origin."""
    site = request.headers.get("sec-fetch-site")  # browsers send it over https and to this machine only
    origin = urlsplit(request.headers.get("origin") or "").netloc
    if not (site == "same-origin" if site else origin and origin == request.headers.get("host")):
        detail = "The browser says that it comes from another site. Open the console itself and try there."
        raise Refused(403, "This form was not sent from the console", detail)


def query(path: str, **parameters: object) -> str:
    """An address with the parameters that are not None."""
    told: Mapping[str, str] = {name: str(value) for name, value in parameters.items() if value is not None}
    return path + ("?" if told else "") + "&".join(f"{name}={quote(value, safe='')}" for name, value in told.items())


Tone = Literal["good", "bad", "warn", "calm"]


def _to_sign_in(request: Request) -> Response:
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    to = query("/console/login", next=path if request.method == "GET" and path != HOME else None)
    if request.headers.get("hx-request"):
        return Response(status_code=204, headers={"hx-redirect": to})
    return RedirectResponse(to, 303)
