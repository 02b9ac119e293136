"""Calls to a Vendure admin API: GraphQL over HTTP, signed in with an API key or by `login`, and what its errors mean.

A session's token comes in the header `vendure-auth-token` of the login and ends some day; then Vendure says FORBIDDEN,
just as it does to somebody who lacks a permission, and hands out the token of an anonymous session, which is of no use.
The table of answers stands in `vendure.py`.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pydantic import JsonValue

from app.http import Answer, Failure, HttpClient, failure_of
from app.outcomes import Blocked, Reject, Retry, Unknown

Row = dict[str, JsonValue]
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

    async def call(self, document: str, variables: Mapping[str, JsonValue]) -> Answer | Failure:
        """One operation. A session that ended is renewed and the operation, which was not carried out, sent again."""
        if self._login is None:
            return await self._send(document, variables, None)
        token = self._token or await self._renewed(None)
        if not isinstance(token, str):
            return token
        answer = await self._send(document, variables, token)
        if not isinstance(answer, Answer) or code_of(answer) not in FORBIDDEN:
            return answer
        token = await self._renewed(token)
        return await self._send(document, variables, token) if isinstance(token, str) else token

    async def read(self, document: str, variables: Mapping[str, JsonValue] | None = None) -> Row | Failure:
        """The data of a query."""
        answer = await self.call(document, variables or {})
        return data_of(answer) if isinstance(answer, Answer) else answer

    async def rows(self, document: str, variables: Mapping[str, JsonValue], name: str) -> list[Row] | Failure:
        """The items of the list that a query answers under `name`. Unknown when there is no such list."""
        data = await self.read(document, variables)
        if not isinstance(data, dict):
            return data
        listed = data.get(name)
        items = listed.get("items") if isinstance(listed, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            return Unknown(f"Vendure answered without a list of {name}")
        return [item for item in items if isinstance(item, dict)]

    async def _send(self, document: str, variables: Mapping[str, JsonValue], token: str | None) -> Answer | Failure:
        headers = {**self._headers, "authorization": f"Bearer {token}"} if token else self._headers
        body: JsonValue = {
            "operationName": OPERATION.findall(document)[0],
            "query": document,
            "variables": dict(variables),
        }
        answer = await self._http.call("POST", self._url, json=body, headers=headers)
        if not isinstance(answer, Answer):
            return answer
        told = (token, answer.headers.get(SESSION))
        return replace(answer, secrets=(*answer.secrets, *(each for each in told if each)))

    async def _renewed(self, refused: str | None) -> str | Failure:
        """A token other than `refused`: that of another caller who renewed it meanwhile, or a new one."""
        async with self._renewal:
            if self._token is not None and self._token != refused:
                return self._token
            self._token = None
            token = await self._new_token()
            if isinstance(token, str):
                self._token = token
            return token

    async def _new_token(self) -> str | Failure:
        username, password = self._login or ("", "")
        answer = await self._send(LOGIN, {"username": username, "password": password}, None)
        if not isinstance(answer, Answer):
            return answer
        data = data_of(answer)
        if not isinstance(data, dict):
            return data
        result = data.get("login")
        kind = result.get("__typename") if isinstance(result, dict) else None
        if kind != "CurrentUser":
            if kind is None:
                return Unknown("Vendure answered the login with neither yes nor no", answer.evidence())
            why = "Vendure refuses the login; correct VENDURE__USERNAME and VENDURE__PASSWORD"
            return Blocked(why, answer.evidence())
        hint = "Vendure gave no token at the login; its authOptions.tokenMethod has to include 'bearer'"
        return answer.headers.get(SESSION) or Blocked(hint, answer.evidence())


def code_of(answer: Answer) -> str:
    """The code of an answer's first GraphQL error; empty when it has none."""
    errors = _errors(answer)
    extensions = errors[0].get("extensions") if errors else None
    return str(extensions.get("code") or "UNKNOWN") if isinstance(extensions, dict) else "UNKNOWN" if errors else ""


def words(answer: Answer) -> str:
    """Vendure's own words in an answer with errors; empty when it says none."""
    said = "; ".join(str(error.get("message")) for error in _errors(answer))
    value = answer.json() if not said else None
    plain = value.get("message") if isinstance(value, dict) else None
    return answer.without_secrets(said or (plain if isinstance(plain, str) else ""))[:300]


def data_of(answer: Answer, *, write: bool = False) -> Row | Failure:
    """The data of an answer without errors; else what it means. With `write` a doubtful error is Unknown."""
    failed = _failure(answer, write)
    if failed is not None:
        return failed
    value = answer.json()
    if isinstance(value, Unknown):
        return value
    data = value.get("data") if isinstance(value, dict) else None
    return data if isinstance(data, dict) else Unknown("Vendure answered without data", answer.evidence())


def _failure(answer: Answer, write: bool) -> Failure | None:
    code, evidence = code_of(answer), answer.evidence()
    said = f"HTTP {answer.status} {code} {words(answer)}".replace("  ", " ").strip()
    if code in FORBIDDEN or answer.status in (401, 403):
        hint = "the key is wrong or ended, or its role lacks a permission (docs/shops/vendure.md)"
        return Blocked(f"Vendure refuses us: {hint} ({said})", evidence)
    if code in UNFIT:
        return Blocked(f"this Vendure's API is not the one of 3.x that we speak ({said})", evidence)
    if code in OURS:
        return Reject(f"Vendure refuses it: {said}", evidence)
    if (code or answer.status >= 500) and answer.status not in (408, 425, 429):
        return (
            Unknown(f"Vendure failed: {said}", evidence) if write else Retry(f"Vendure failed: {said}", None, evidence)
        )
    if answer.status == 404 or 300 <= answer.status < 400:
        return Blocked(f"there is no Vendure admin API at VENDURE__URL ({said})", evidence)
    failed = failure_of(answer)
    return Reject(f"Vendure refuses it: {said}", evidence) if isinstance(failed, Reject) else failed


def _errors(answer: Answer) -> list[Row]:
    value = answer.json()
    errors = value.get("errors") if isinstance(value, dict) else None
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
