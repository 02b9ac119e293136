"""Calls to a Vendure admin API: GraphQL over HTTP, signed in with an API key or by `login`, and what its errors mean.

A session's token comes in the header `vendure-auth-token` of the login and ends some day; then Vendure says FORBIDDEN,
just as it does to somebody who lacks a permission, and hands out the token of an anonymous session, which is of no use.
The table of responses is in `adapter.py`.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pydantic import JsonValue

from platform_relay.core.http import Answer, Failure, HttpClient
from platform_relay.core.outcomes import Blocked, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.failing import CallFailed
from platform_relay.stores.reading import Row, rows, within
from platform_relay.stores.responses import MAY_PASS, Responses

RESPONSES: Final = Responses("Vendure", "VENDURE__URL")
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
OURS: Final = frozenset({"BAD_USER_INPUT", "USER_INPUT_ERROR", "ENTITY_NOT_FOUND", "ILLEGAL_OPERATION"})
"""Errors about what was sent; the same again would be refused again."""
UNFIT: Final = frozenset({"GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED"})


class VendureApi:
    """The admin API at `url`. Either `api_key`, or `login` (user name and password)."""

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

    async def call(self, document: str, variables: Mapping[str, JsonValue]) -> Answer:
        """One operation. A session that ended is renewed and the operation, which was not carried out, sent again.

        Raises CallFailed when no complete answer came, or no session was given.
        """
        if self._login is None:
            return await self._send(document, variables, None)
        token = self._token or await self._renewed(None)
        answer = await self._send(document, variables, token)
        if code_of(answer) in FORBIDDEN:
            answer = await self._send(document, variables, await self._renewed(token))
        return answer

    async def read(self, document: str, variables: Mapping[str, JsonValue], request: str) -> Row:
        """The data of a query. Raises CallFailed."""
        return data_of(await self.call(document, variables), request)

    async def rows(self, document: str, variables: Mapping[str, JsonValue], name: str, request: str) -> list[Row]:
        """The items of the list that a query answers under `name`. Raises CallFailed when there is no such list."""
        items = within(await self.read(document, variables, request), name, "items")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise RESPONSES.unreadable(request, f"it has no list of {name}")
        return rows(items)

    async def _send(self, document: str, variables: Mapping[str, JsonValue], token: str | None) -> Answer:
        headers = {**self._headers, "authorization": f"Bearer {token}"} if token else self._headers
        body: JsonValue = {
            "operationName": OPERATION.findall(document)[0],
            "query": document,
            "variables": dict(variables),
        }
        answer = RESPONSES.received(await self._http.call("POST", self._url, json=body, headers=headers))
        tokens = (token, answer.headers.get(SESSION))
        return replace(answer, secrets=(*answer.secrets, *(each for each in tokens if each)))

    async def _renewed(self, refused: str | None) -> str:
        """A token other than `refused`: that of another caller who renewed it meanwhile, or a new one."""
        async with self._renewal:
            if self._token is None or self._token == refused:
                self._token = None
                self._token = await self._new_token()
            return self._token

    async def _new_token(self) -> str:
        username, password = self._login or ("", "")
        answer = await self._send(LOGIN, {"username": username, "password": password}, None)
        kind = within(data_of(answer, "the login"), "login", "__typename")
        if kind is None:
            raise RESPONSES.unreadable("the login", "it has no result", answer)
        if kind != "CurrentUser":
            reason = RESPONSES.reason(
                ReasonCode.KEY_REJECTED, answer, setting="VENDURE__USERNAME and VENDURE__PASSWORD"
            )
            raise CallFailed(Blocked(reason, answer.evidence()))
        token: str | None = answer.headers.get(SESSION)
        if not token:
            problem = "it gave no token at the login; its authOptions.tokenMethod has to include 'bearer'"
            reason = RESPONSES.reason(ReasonCode.STORE_NOT_READY, answer, problem=problem)
            raise CallFailed(Blocked(reason, answer.evidence()))
        return token


def code_of(answer: Answer) -> str:
    """The code of an answer's first GraphQL error; empty when it has none."""
    errors = _errors(answer)
    extensions = errors[0].get("extensions") if errors else None
    return str(extensions.get("code") or "UNKNOWN") if isinstance(extensions, dict) else "UNKNOWN" if errors else ""


def words(answer: Answer) -> str:
    """Vendure's own words in an answer with errors; empty when it has none."""
    text = "; ".join(str(error.get("message")) for error in _errors(answer))
    plain = within(_json(answer), "message") if not text else None
    return answer.quote(text or (plain if isinstance(plain, str) else ""))


def data_of(answer: Answer, request: str, *, wrote: bool = False) -> Row:
    """The data of an answer without errors; else raises CallFailed. With `wrote` a doubtful error is Unknown."""
    if failed := _failure(answer, request, wrote=wrote):
        raise CallFailed(failed)
    data = within(RESPONSES.document(answer, request), "data")
    if not isinstance(data, dict):
        raise RESPONSES.unreadable(request, "it has no data", answer)
    return data


def _failure(answer: Answer, request: str, *, wrote: bool) -> Failure | None:
    code, evidence = code_of(answer), answer.evidence()
    response = f"{code} {words(answer)}".strip()[:300]
    if code in FORBIDDEN or answer.status in (401, 403):
        hint = "The key may also be wrong or have ended (docs/stores/vendure.md)."
        reason = RESPONSES.reason(ReasonCode.PERMISSION_MISSING, answer, response=response, hint=hint)
        return Blocked(reason, evidence)
    if code in UNFIT:
        problem = "its admin API is not that of Vendure 3"
        return Blocked(
            RESPONSES.reason(ReasonCode.STORE_NOT_READY, answer, problem=problem, response=response), evidence
        )
    if code in OURS:
        return RESPONSES.rejected(request, response, answer)
    if (code or answer.status >= 500) and answer.status not in MAY_PASS:
        reason = RESPONSES.reason(ReasonCode.SERVER_ERROR, answer, request=request, response=response)
        return Unknown(reason, evidence) if wrote else Retry(reason, evidence=evidence)
    return RESPONSES.failure(answer, request, response, wrote=wrote)


def _json(answer: Answer) -> JsonValue:
    value = answer.json()
    return None if isinstance(value, Unknown) else value


def _errors(answer: Answer) -> list[Row]:
    return rows(within(_json(answer), "errors"))
