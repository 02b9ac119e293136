"""Magento's REST API: the token, one call, what its errors say, and its search.

Error messages are templates: `{"message": "%1 already exists.", "parameters": ["Coupon with the same code"]}`, or
`{"message": "The consumer isn't authorized to access %resources.", "parameters": {"resources": "…"}}`.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal
from urllib.parse import quote, urlencode

from pydantic import JsonValue

from platform_relay.core.http import Answer, Failure, HttpClient
from platform_relay.core.outcomes import Blocked, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.failing import CallFailed
from platform_relay.stores.reading import Row, rows
from platform_relay.stores.responses import Responses

Method = Literal["GET", "POST", "PUT", "DELETE"]
API: Final = "/rest/V1"
LOGIN: Final = "the login"
RESPONSES: Final = Responses("Magento", "MAGENTO__URL")
REFUSED: Final = "The consumer isn't authorized"
"""How Magento's own 401 begins, for an expired token and for a missing permission alike."""


class MagentoApi:
    """Calls with a bearer token: an integration's, or an admin's, who is logged in when needed and again on a 401.

    One login at a time: calls that were refused together share the new token. `http` knows the login's secrets.
    """

    def __init__(self, url: str, http: HttpClient, *, login: tuple[str, str] | None, token: str | None) -> None:
        self._api = url.rstrip("/") + API
        self._http = http
        self._login = login
        self._token = token
        self._logging_in = asyncio.Lock()

    async def call(
        self, method: Method, path: str, query: Mapping[str, str] | None = None, body: JsonValue = None
    ) -> Answer:
        """One call, with any status; repeated once with a new token when Magento does not take the token.

        Raises CallFailed when no complete answer came, or no token was given.
        """
        token = await self._valid_token(refused=None)
        answer = await self._send(token, method, path, query, body)
        if self._login and answer.status == 401 and words(answer).startswith(REFUSED):
            token = await self._valid_token(refused=token)
            answer = await self._send(token, method, path, query, body)
        return answer

    async def read(self, path: str, request: str, query: Mapping[str, str] | None = None) -> JsonValue:
        """The JSON of a GET; None when Magento answers that there is no such entity. Raises CallFailed."""
        answer = await self.call("GET", path, query)
        if gone(answer):
            return None
        succeeded(answer, request)
        return RESPONSES.document(answer, request)

    async def search(self, path: str, request: str, query: Mapping[str, str]) -> list[Row]:
        """The items that a search found, as far as they are objects. Raises CallFailed."""
        result = await self.read(path, request, query)
        items = result.get("items") if isinstance(result, dict) else None
        if items is None and isinstance(result, dict) and result.get("total_count") == 0:
            return []  # as Magento writes an empty result when fields are chosen
        if not isinstance(items, list):
            raise RESPONSES.unreadable(request, f"it has no list ({path})")
        return rows(items)

    async def _valid_token(self, refused: str | None) -> str:
        async with self._logging_in:
            if self._login and (self._token is None or self._token == refused):
                self._token = await self._new_token(*self._login)
            if self._token is None:
                setting = "MAGENTO__INTEGRATION_TOKEN"
                raise CallFailed(Blocked(RESPONSES.reason(ReasonCode.SETTING_MISSING, setting=setting)))
            return self._token

    async def _new_token(self, username: str, password: str) -> str:
        """A login changes nothing, so that no answer to it is a Retry."""
        try:
            return await self._logged_in(username, password)
        except CallFailed as failed:
            if isinstance(failed.outcome, Unknown):
                raise CallFailed(Retry(failed.outcome.reason, evidence=failed.outcome.evidence)) from None
            raise

    async def _logged_in(self, username: str, password: str) -> str:
        login: JsonValue = {"username": username, "password": password}
        url = f"{self._api}/integration/admin/token"
        answer = RESPONSES.received(await self._http.call("POST", url, json=login))
        if answer.status in (400, 401, 403):
            hint = "Either one is wrong, or the account is locked or needs a second factor."
            facts = {"setting": "MAGENTO__USERNAME and MAGENTO__PASSWORD", "response": words(answer), "hint": hint}
            raise CallFailed(Blocked(RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, **facts), answer.evidence()))
        succeeded(answer, LOGIN)
        token = RESPONSES.document(answer, LOGIN)
        if not isinstance(token, str) or not token:
            raise RESPONSES.unreadable(LOGIN, "it has no token", answer)
        return token

    async def _send(
        self, token: str, method: Method, path: str, query: Mapping[str, str] | None, body: JsonValue
    ) -> Answer:
        url = f"{self._api}/{path}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        headers = {"authorization": f"Bearer {token}"}
        answer = RESPONSES.received(await self._http.call(method, url, json=body, headers=headers))
        return replace(answer, secrets=(*answer.secrets, token))


def criteria(*filters: tuple[str, str, str], sort: tuple[str, ...] = (), size: int = 100) -> dict[str, str]:
    """`searchCriteria` of filters (field, condition, value) that all hold, sorted ascending, one page of `size`."""
    query = {"searchCriteria[pageSize]": str(size), "searchCriteria[currentPage]": "1"}
    for number, (field, condition, value) in enumerate(filters):
        group = f"searchCriteria[filterGroups][{number}][filters][0]"
        query |= {f"{group}[field]": field, f"{group}[conditionType]": condition, f"{group}[value]": value}
    for number, field in enumerate(sort):
        order = f"searchCriteria[sortOrders][{number}]"
        query |= {f"{order}[field]": field, f"{order}[direction]": "ASC"}
    return query


def words(answer: Answer) -> str:
    """Magento's own words in an error answer, their parameters filled in; "" when the answer is no error of Magento's."""
    value = answer.json() if answer.status >= 400 else None
    if not isinstance(value, dict) or not isinstance(value.get("message"), str):
        return ""
    texts = (_filled(error) for error in (value, *rows(value.get("errors"))))
    return answer.quote(" ".join(filter(None, texts)))


def _filled(error: Row) -> str:
    text, parameters = str(error.get("message") or ""), error.get("parameters")
    named = {str(number): value for number, value in enumerate(parameters, 1)} if isinstance(parameters, list) else {}
    named |= parameters if isinstance(parameters, dict) else {}
    for name in sorted(named, key=len, reverse=True):  # %10 before %1
        text = text.replace(f"%{name}", str(named[name]))
    return text


def gone(answer: Answer) -> bool:
    """Whether a 404 is about the entity and not about the address."""
    return answer.status == 404 and words(answer).startswith("No such entity")


def taken(answer: Answer) -> bool:
    """Whether the code exists already. Only the text tells (Magento 2.4.7, "%1 already exists.")."""
    return "already exists" in words(answer)


def failure(answer: Answer, request: str, *, wrote: bool = False) -> Failure | None:
    """What an answer means that is no success; None for 2xx. With `wrote`, a 5xx may have been applied."""
    response = words(answer)
    if answer.status not in (401, 403):
        return RESPONSES.failure(answer, request, response, wrote=wrote)
    if response.startswith(REFUSED):
        hint = (
            "With an integration token it may also be that the store does not accept it as a bearer token "
            "(docs/stores/magento.md)."
        )
        reason = RESPONSES.reason(ReasonCode.PERMISSION_MISSING, answer, response=response, hint=hint)
    else:
        hint = "The response is not Magento's own: look at what is in front of it (a firewall, a password)."
        reason = RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, response=response, hint=hint)
    return Blocked(reason, answer.evidence())


def succeeded(answer: Answer, request: str, *, wrote: bool = False) -> None:
    """Raises CallFailed for every status but 2xx."""
    if failed := failure(answer, request, wrote=wrote):
        raise CallFailed(failed)
