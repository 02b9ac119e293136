"""One call of Vendure's admin API: GraphQL with an API key or a login, and the meaning of its errors.

The token of a session is in the header `vendure-auth-token` of the response to the login. When the session has ended, Vendure
returns FORBIDDEN, as for a missing permission, and the token of an anonymous session, which is not used.
The table of responses is in `adapter.py`.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from platform_relay.core.http import Failure, HttpClient, HttpResponse
from platform_relay.core.outcomes import Blocked, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.failures import CallFailed
from platform_relay.stores.parsing import Row, errors_in, objects, value_at
from platform_relay.stores.responses import NAMELESS, RETRYABLE, Responses

RESPONSES: Final = Responses("Vendure", "VENDURE__URL", "VENDURE__CA_FILE")
SESSION: Final = "vendure-auth-token"
OPERATION: Final = re.compile(r"(?:query|mutation) (\w+)")
LOGIN: Final = """
mutation Login($username: String!, $password: String!) {
  login(username: $username, password: $password, rememberMe: true) {
    __typename
    ... on ErrorResult { errorCode message }
  }
}"""
FORBIDDEN: Final = frozenset({"FORBIDDEN", "UNAUTHORIZED"})
GONE: Final = "ENTITY_NOT_FOUND"
REJECTIONS: Final = frozenset({"BAD_USER_INPUT", "USER_INPUT_ERROR", "ENTITY_NOT_FOUND", "ILLEGAL_OPERATION"})
"""Errors that the request has caused. The same request would be rejected again."""
WRONG_VERSION: Final = frozenset({"GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED"})


class VendureApi:
    """Calls one store, with `api_key` or with `login` (user name and password). Every method raises CallFailed."""

    def __init__(
        self,
        url: str,
        http: HttpClient,
        *,
        api_key: str | None,
        login: tuple[str, str] | None,
        channel_token: str | None,
    ) -> None:
        self._url = url.rstrip("/")
        self._http = http
        self._login = login
        self._headers = {"vendure-token": channel_token} if channel_token else {}
        if api_key:
            self._headers["vendure-api-key"] = api_key
        self._token: str | None = None
        self._renewal = asyncio.Lock()

    async def call(self, document: str, variables: Mapping[str, JsonValue]) -> HttpResponse:
        """Send one operation. Returns the response with any status. If the session has ended, logs in and sends it again."""
        if self._login is None:
            return await self._send(document, variables, None)
        token = self._token or await self._new_session(None)
        answer = await self._send(document, variables, token)
        if code_of(answer) in FORBIDDEN:
            answer = await self._send(document, variables, await self._new_session(token))
        return answer

    async def read(self, document: str, variables: Mapping[str, JsonValue], request: str) -> Row:
        """Return the data of a query."""
        return data_of(await self.call(document, variables), request)

    async def rows(self, document: str, variables: Mapping[str, JsonValue], name: str, request: str) -> list[Row]:
        """Return the items of the list that the response contains under `name`."""
        items = value_at(await self.read(document, variables, request), name, "items")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise RESPONSES.unreadable(request, f"it does not contain a list of {name}")
        return objects(items)

    async def _send(self, document: str, variables: Mapping[str, JsonValue], token: str | None) -> HttpResponse:
        headers = {**self._headers, "authorization": f"Bearer {token}"} if token else self._headers
        body: JsonValue = {
            "operationName": OPERATION.findall(document)[0],
            "query": document,
            "variables": dict(variables),
        }
        reads = document is LOGIN or document.lstrip().startswith("query")
        answer = RESPONSES.require(await self._http.call("POST", self._url, json=body, headers=headers, reads=reads))
        return answer.hiding(token or "", answer.headers.get(SESSION, ""))

    async def _new_session(self, refused: str | None) -> str:
        """Return a token other than the refused one. Only one login runs at a time; waiting calls use its token."""
        async with self._renewal:
            if self._token is None or self._token == refused:
                self._token = None
                self._token = await self._new_token()
            return self._token

    async def _new_token(self) -> str:
        username, password = self._login or ("", "")
        answer = await self._send(LOGIN, {"username": username, "password": password}, None)
        kind = value_at(data_of(answer, "the login"), "login", "__typename")
        if kind is None:
            raise RESPONSES.unreadable("the login", "it does not contain a result", answer)
        if kind != "CurrentUser":
            reason = RESPONSES.reason(
                ReasonCode.KEY_REJECTED, answer, setting="VENDURE__USERNAME and VENDURE__PASSWORD"
            )
            raise CallFailed(Blocked(reason, answer.evidence()))
        token: str | None = answer.headers.get(SESSION)
        if not token:
            problem = "it returned no token after the login; its authOptions.tokenMethod must include 'bearer'"
            reason = RESPONSES.reason(ReasonCode.STORE_NOT_READY, answer, problem=problem)
            raise CallFailed(Blocked(reason, answer.evidence()))
        return token


def code_of(answer: HttpResponse) -> str:
    """The code of the first GraphQL error; empty if there is none."""
    errors = _errors(answer)
    extensions = errors[0].get("extensions") if errors else None
    return str(extensions.get("code") or "UNKNOWN") if isinstance(extensions, dict) else "UNKNOWN" if errors else ""


def error_text(answer: HttpResponse) -> str:
    """The error text of Vendure; empty if there is none."""
    text = "; ".join(str(error.get("message")) for error in _errors(answer))
    plain = value_at(answer.json(), "message") if not text else None
    return answer.quote(text or (plain if isinstance(plain, str) else ""))


def data_of(answer: HttpResponse, request: str, *, wrote: bool = False) -> Row:
    """Return the data of a response. Raises CallFailed for errors; with `wrote`, an unclear error is Unknown."""
    if failed := _failure(answer, request, wrote=wrote):
        raise CallFailed(failed)
    data = value_at(RESPONSES.json(answer, request), "data")
    if not isinstance(data, dict):
        raise RESPONSES.unreadable(request, "it does not contain data", answer)
    return data


def _failure(answer: HttpResponse, request: str, *, wrote: bool) -> Failure | None:
    code, evidence = code_of(answer), answer.evidence()
    response = f"{code} {error_text(answer)}".strip()[:300]
    if code in FORBIDDEN or answer.status in (401, 403):
        hint = "The key may also be wrong or expired (see docs/stores/vendure.md)."
        reason = RESPONSES.reason(ReasonCode.PERMISSION_MISSING, answer, response=response, hint=hint)
        return Blocked(reason, evidence, certain=code in FORBIDDEN or answer.status not in NAMELESS)
    if code in WRONG_VERSION:
        problem = "its admin API is not the one of Vendure 3"
        return Blocked(
            RESPONSES.reason(ReasonCode.STORE_NOT_READY, answer, problem=problem, response=response), evidence
        )
    if code in REJECTIONS:
        return RESPONSES.rejected(request, response, answer)
    if (code or answer.status >= 500) and answer.status not in RETRYABLE:
        reason = RESPONSES.reason(ReasonCode.SERVER_ERROR, answer, request=request, response=response)
        return Unknown(reason, evidence) if wrote else Retry(reason, evidence=evidence)
    return RESPONSES.failure(answer, request, response, wrote=wrote)


def _errors(answer: HttpResponse) -> list[Row]:
    return errors_in(answer.json())
