"""One call of Magento's REST API: the token, the meaning of errors, and the search.

Error messages are templates: `{"message": "%1 already exists.", "parameters": ["Coupon with the same code"]}`, or
`{"message": "The consumer isn't authorized to access %resources.", "parameters": {"resources": "…"}}`.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import quote, urlencode

from pydantic import JsonValue

from platform_relay.core.http import Failure, HttpClient, HttpResponse
from platform_relay.core.outcomes import Blocked, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.failures import CallFailed
from platform_relay.stores.parsing import Row, objects, value_at
from platform_relay.stores.responses import NAMELESS, Responses

Method = Literal["GET", "POST", "PUT", "DELETE"]
API: Final = "/rest/V1"
LOGIN: Final = "the login"
RESPONSES: Final = Responses("Magento", "MAGENTO__URL", "MAGENTO__CA_FILE")
REFUSED: Final = "The consumer isn't authorized"
"""The start of the text of Magento's 401, both for an expired token and for a missing permission."""


class MagentoApi:
    """Calls one store with a bearer token: that of an integration, or that of an admin user, who is logged in when needed.

    Only one login runs at a time; waiting calls use the new token. Every method raises CallFailed.
    """

    def __init__(self, url: str, http: HttpClient, *, login: tuple[str, str] | None, token: str | None) -> None:
        self._api = url.rstrip("/") + API
        self._http = http
        self._login = login
        self._token = token
        self._logging_in = asyncio.Lock()

    async def call(
        self, method: Method, path: str, query: Mapping[str, str] | None = None, body: JsonValue = None
    ) -> HttpResponse:
        """Send one request. Returns the response with any status. If Magento rejects the token, repeats it with a new one."""
        token = await self._valid_token(refused=None)
        answer = await self._send(token, method, path, query, body)
        if self._login and answer.status == 401 and error_text(answer).startswith(REFUSED):
            token = await self._valid_token(refused=token)
            answer = await self._send(token, method, path, query, body)
        return answer

    async def read(self, path: str, request: str, query: Mapping[str, str] | None = None) -> JsonValue:
        """Return the JSON body of a GET; None if the entity does not exist."""
        answer = await self.call("GET", path, query)
        if is_not_found(answer):
            return None
        raise_for_status(answer, request)
        return RESPONSES.json(answer, request)

    async def search(self, path: str, request: str, query: Mapping[str, str]) -> list[Row]:
        """Return the objects that a search finds."""
        result = await self.read(path, request, query)
        items = value_at(result, "items")
        if items is None and value_at(result, "total_count") == 0:
            return []  # Magento omits the items of an empty result if `fields` is set
        if not isinstance(items, list):
            raise RESPONSES.unreadable(request, f"it does not contain a list ({path})")
        return objects(items)

    async def _valid_token(self, refused: str | None) -> str:
        async with self._logging_in:
            if self._login and (self._token is None or self._token == refused):
                self._token = await self._new_token(*self._login)
            if self._token is None:
                setting = "MAGENTO__INTEGRATION_TOKEN"
                raise CallFailed(Blocked(RESPONSES.reason(ReasonCode.SETTING_MISSING, setting=setting)))
            return self._token

    async def _new_token(self, username: str, password: str) -> str:
        """Log in. A login changes nothing, so an unknown result is a Retry."""
        try:
            return await self._log_in(username, password)
        except CallFailed as failed:
            if isinstance(failed.outcome, Unknown):
                raise CallFailed(Retry(failed.outcome.reason, evidence=failed.outcome.evidence)) from None
            raise

    async def _log_in(self, username: str, password: str) -> str:
        login: JsonValue = {"username": username, "password": password}
        url = f"{self._api}/integration/admin/token"
        answer = RESPONSES.require(await self._http.call("POST", url, json=login, reads=True))
        if answer.status in (400, 401, 403):
            hint = "One of them is wrong, or the account is locked, or it needs a second factor."
            facts = {"setting": "MAGENTO__USERNAME and MAGENTO__PASSWORD", "response": error_text(answer), "hint": hint}
            raise CallFailed(Blocked(RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, **facts), answer.evidence()))
        raise_for_status(answer, LOGIN)
        token = RESPONSES.json(answer, LOGIN)
        if not isinstance(token, str) or not token:
            raise RESPONSES.unreadable(LOGIN, "it does not contain a token", answer)
        return token

    async def _send(
        self, token: str, method: Method, path: str, query: Mapping[str, str] | None, body: JsonValue
    ) -> HttpResponse:
        url = f"{self._api}/{path}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        headers = {"authorization": f"Bearer {token}"}
        answer = RESPONSES.require(await self._http.call(method, url, json=body, headers=headers))
        return answer.hiding(token)


def criteria(*filters: tuple[str, str, str], sort: tuple[str, ...] = (), size: int = 100) -> dict[str, str]:
    """`searchCriteria` with filters (field, condition, value) that must all match, in ascending order, with one page of `size`."""
    query = {"searchCriteria[pageSize]": str(size), "searchCriteria[currentPage]": "1"}
    for number, (field, condition, value) in enumerate(filters):
        group = f"searchCriteria[filterGroups][{number}][filters][0]"
        query |= {f"{group}[field]": field, f"{group}[conditionType]": condition, f"{group}[value]": value}
    for number, field in enumerate(sort):
        order = f"searchCriteria[sortOrders][{number}]"
        query |= {f"{order}[field]": field, f"{order}[direction]": "ASC"}
    return query


def error_text(answer: HttpResponse) -> str:
    """The error text of Magento, with its parameters filled in; "" if the response is not an error of Magento."""
    value = answer.json() if answer.status >= 400 else None
    if not isinstance(value, dict) or not isinstance(value.get("message"), str):
        return ""
    texts = (_fill(error) for error in (value, *objects(value.get("errors"))))
    return answer.quote(" ".join(filter(None, texts)))


def _fill(error: Row) -> str:
    text, parameters = str(error.get("message") or ""), error.get("parameters")
    named = {str(number): value for number, value in enumerate(parameters, 1)} if isinstance(parameters, list) else {}
    named |= parameters if isinstance(parameters, dict) else {}
    for name in sorted(named, key=len, reverse=True):  # %10 before %1
        text = text.replace(f"%{name}", str(named[name]))
    return text


def is_not_found(answer: HttpResponse) -> bool:
    """Whether a 404 concerns the entity, not the address."""
    return answer.status == 404 and error_text(answer).startswith("No such entity")


def is_duplicate(answer: HttpResponse) -> bool:
    """Whether the code already exists. Only the text shows it (Magento 2.4.7, "%1 already exists.")."""
    return "already exists" in error_text(answer)


def failure(answer: HttpResponse, request: str, *, wrote: bool = False) -> Failure | None:
    """The failure for a status; None for 2xx. With `wrote`, a 5xx is Unknown: the store may have applied the request."""
    response = error_text(answer)
    if answer.status not in (401, 403):
        return RESPONSES.failure(answer, request, response, wrote=wrote)
    if response.startswith(REFUSED):
        hint = (
            "With an integration token, the store may also be configured not to accept it as a bearer token "
            "(see docs/stores/magento.md)."
        )
        reason = RESPONSES.reason(ReasonCode.PERMISSION_MISSING, answer, response=response, hint=hint)
    else:
        hint = "The response does not come from Magento. Check what is in front of it (a firewall, a password)."
        reason = RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, response=response, hint=hint)
    return Blocked(reason, answer.evidence(), certain=answer.status not in NAMELESS or response.startswith(REFUSED))


def raise_for_status(answer: HttpResponse, request: str, *, wrote: bool = False) -> None:
    """Raise CallFailed for every status except 2xx."""
    if failed := failure(answer, request, wrote=wrote):
        raise CallFailed(failed)
