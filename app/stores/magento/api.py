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

from app.http import Answer, Failure, HttpClient, failure_of
from app.outcomes import Blocked, Reject, Retry, Unknown

Method = Literal["GET", "POST", "PUT", "DELETE"]
Row = dict[str, JsonValue]
API: Final = "/rest/V1"
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
    ) -> Answer | Failure:
        """One call; repeated once with a new token when Magento does not take the token. Never raises."""
        token = await self._valid_token(refused=None)
        if not isinstance(token, str):
            return token
        answer = await self._send(token, method, path, query, body)
        if isinstance(answer, Answer) and self._login and answer.status == 401 and words(answer).startswith(REFUSED):
            token = await self._valid_token(refused=token)
            return await self._send(token, method, path, query, body) if isinstance(token, str) else token
        return answer

    async def read(self, path: str, query: Mapping[str, str] | None = None) -> JsonValue | Failure:
        """The JSON of a GET; None when Magento says that there is no such entity."""
        answer = await self.call("GET", path, query)
        if not isinstance(answer, Answer):
            return answer
        return None if gone(answer) else failure(answer, "GET") or answer.json()

    async def search(self, path: str, query: Mapping[str, str]) -> list[Row] | Failure:
        """The items that a search found, as far as they are objects."""
        found = await self.read(path, query)
        if isinstance(found, Failure):
            return found
        items = found.get("items") if isinstance(found, dict) else None
        if items is None and isinstance(found, dict) and found.get("total_count") == 0:
            return []  # as Magento writes an empty result when fields are chosen
        if not isinstance(items, list):
            return Unknown(f"Magento answered the search {path} without a list")
        return [item for item in items if isinstance(item, dict)]

    async def _valid_token(self, refused: str | None) -> str | Failure:
        async with self._logging_in:
            if self._login and (self._token is None or self._token == refused):
                token = await self._new_token(*self._login)
                if not isinstance(token, str):
                    return token
                self._token = token
            return self._token or Blocked("neither MAGENTO__INTEGRATION_TOKEN nor MAGENTO__USERNAME is set")

    async def _new_token(self, username: str, password: str) -> str | Failure:
        login: JsonValue = {"username": username, "password": password}
        answer = await self._http.call("POST", f"{self._api}/integration/admin/token", json=login)
        if isinstance(answer, Unknown):
            return Retry(f"logging in at Magento: {answer.why}", evidence=answer.evidence)
        if not isinstance(answer, Answer):
            return answer
        if answer.status in (400, 401, 403):
            hint = "MAGENTO__USERNAME or MAGENTO__PASSWORD is wrong, the account is locked, or it needs a second factor"
            return Blocked(f"Magento refuses the login: {hint} ({words(answer)})", answer.evidence())
        if told := failure(answer, "GET"):
            return told
        token = answer.json()
        if isinstance(token, str) and token:
            return token
        return Retry("Magento answered the login without a token", evidence=answer.evidence())

    async def _send(
        self, token: str, method: Method, path: str, query: Mapping[str, str] | None, body: JsonValue
    ) -> Answer | Failure:
        url = f"{self._api}/{path}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        answer = await self._http.call(method, url, json=body, headers={"authorization": f"Bearer {token}"})
        return replace(answer, secrets=(*answer.secrets, token)) if isinstance(answer, Answer) else answer


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
    """What Magento says went wrong, its parameters filled in; "" when the answer is no error of Magento's."""
    value = answer.json() if answer.status >= 400 else None
    if not isinstance(value, dict) or not isinstance(value.get("message"), str):
        return ""
    details = value.get("errors")
    told = [value, *(details if isinstance(details, list) else [])]
    return answer.without_secrets(" ".join(filter(None, map(_filled, told))))[:300]


def _filled(error: JsonValue) -> str:
    if not isinstance(error, dict):
        return ""
    text, parameters = str(error.get("message") or ""), error.get("parameters")
    named = {str(number): value for number, value in enumerate(parameters, 1)} if isinstance(parameters, list) else {}
    named |= parameters if isinstance(parameters, dict) else {}
    for name in sorted(named, key=len, reverse=True):  # %10 before %1
        text = text.replace(f"%{name}", str(named[name]))
    return text


def gone(answer: Answer) -> bool:
    """Whether a 404 is about the entity and not about the address."""
    return answer.status == 404 and words(answer).startswith("No such entity")


def failure(answer: Answer, method: Method) -> Failure | None:
    """What an answer means that is no success; None for 2xx. A 5xx to a write may have been applied."""
    said = words(answer)
    shown = f"HTTP {answer.status}: {said}" if said else f"HTTP {answer.status}"
    match answer.status:
        case 401 | 403 if said.startswith(REFUSED):
            hint = (
                "the account or integration lacks the permission named here (docs/shops/magento.md), or, with an "
                "integration token, the shop does not take it as a bearer token"
            )
            return Blocked(f"Magento refuses the call: {hint} ({shown})", answer.evidence())
        case 401 | 403:
            return Blocked(f"something in front of Magento refuses our calls ({shown})", answer.evidence())
        case 404:
            return Blocked(f"there is no Magento REST API at MAGENTO__URL ({shown})", answer.evidence())
        case status if status >= 500 and method != "GET":
            return Unknown(f"Magento answered {shown} to a change", answer.evidence())
        case status if said and 400 <= status < 500 and status not in (408, 425, 429):
            return Reject(f"Magento refuses it: {shown}", answer.evidence())
    return failure_of(answer)
