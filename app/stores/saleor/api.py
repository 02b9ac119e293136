"""Saleor's GraphQL endpoint: one call, and what its errors say.

Errors come with HTTP 200, in three places: top-level `errors` with `extensions.exception.code` ("PermissionDenied", also
for a missing or wrong token), a mutation's own `errors`, and, in a race for one code, the database's IntegrityError.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from app.http import Answer, Failure, HttpClient, failure_of
from app.outcomes import Blocked, Reject, Retry, Unknown

Node = dict[str, JsonValue]
TAKEN: Final = frozenset({"ALREADY_EXISTS", "UNIQUE"})
DENIED: Final = "Saleor refuses the call"
"""How a Blocked begins that is about the token or about one permission: Saleor has the same words for both."""
TOKEN_ERRORS: Final = ("InvalidTokenError", "InvalidSignatureError", "DecodeError", "JSONWebTokenError", "Expired")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A mutation's own errors. `taken`: the code exists already (or another unique value does)."""

    words: str
    codes: frozenset[str]

    @property
    def taken(self) -> bool:
        return bool(self.codes & TAKEN)


class SaleorApi:
    """Calls with an app's token. `http` knows the token as a secret."""

    def __init__(self, url: str, http: HttpClient, token: str) -> None:
        self.base = re.sub(r"/graphql/?$", "", url).rstrip("/")
        self._http = http
        self._token = token

    async def read(self, document: str, **variables: JsonValue) -> Node | Failure:
        """A query's data."""
        data = await self._ask(document, variables, wrote=False)
        if isinstance(data, Refusal):
            return Reject(f"Saleor refuses the question: {data.words}")
        return data

    async def change(self, document: str, field: str, **variables: JsonValue) -> Node | Refusal | Failure:
        """What the mutation `field` answers, or its errors."""
        data = await self._ask(document, variables, wrote=True)
        if not isinstance(data, dict):
            return data
        payload = data.get(field)
        if not isinstance(payload, dict) or not isinstance(payload.get("errors"), list):
            return Unknown(f"Saleor answered {field} without its result")
        errors = [each for each in nodes(payload.get("errors")) if each]
        if not errors:
            return payload
        words = "; ".join(f"{each.get('field') or '-'}: {each.get('message')} ({each.get('code')})" for each in errors)
        return Refusal(words[:300], frozenset(str(each.get("code")) for each in errors))

    async def well_known(self, name: str) -> JsonValue | Failure:
        """The JSON document of `/.well-known/{name}`."""
        answer = await self._http.call("GET", f"{self.base}/.well-known/{name}")
        if not isinstance(answer, Answer):
            return answer
        return failure_of(answer) or answer.json()

    async def _ask(self, document: str, variables: Mapping[str, JsonValue], wrote: bool) -> Node | Refusal | Failure:
        named = re.search(r"(?:query|mutation) (\w+)", document)
        body: JsonValue = {
            "query": document, "variables": dict(variables), "operationName": named[1] if named else None,
        }  # fmt: skip
        headers = {"authorization": f"Bearer {self._token}"}
        answer = await self._http.call("POST", f"{self.base}/graphql/", json=body, headers=headers)
        return _data(answer, wrote) if isinstance(answer, Answer) else answer


def _data(answer: Answer, wrote: bool) -> Node | Refusal | Failure:
    value = answer.json()
    errors = nodes(value.get("errors")) if isinstance(value, dict) else []
    words = answer.without_secrets("; ".join(str(each.get("message")) for each in errors))[:300]
    if answer.status >= 300:
        return _status(answer, words, wrote)
    if errors:
        return _top_level(answer, _exception(errors[0]), words, wrote)
    data = value.get("data") if isinstance(value, dict) else None
    if isinstance(data, dict):
        return data
    return value if isinstance(value, Unknown) else Unknown("Saleor answered without data", answer.evidence())


def _status(answer: Answer, words: str, wrote: bool) -> Failure:
    shown = f"HTTP {answer.status}: {words or _plain_message(answer)}".rstrip(": ")
    match answer.status:
        case 401 | 403:
            return Blocked(f"something in front of Saleor, or Saleor, refuses our calls ({shown})", answer.evidence())
        case 404:
            return Blocked(f"there is no Saleor API at SALEOR__URL ({shown})", answer.evidence())
        case status if status >= 500 and wrote:
            return Unknown(f"Saleor answered {shown} to a change", answer.evidence())
        case status if 400 <= status < 500 and status not in (408, 425, 429):
            return Reject(f"Saleor refuses it: {shown}", answer.evidence())
    return failure_of(answer) or Unknown(shown, answer.evidence())


def _top_level(answer: Answer, exception: str, words: str, wrote: bool) -> Refusal | Failure:
    if exception == "PermissionDenied":
        hint = "SALEOR__TOKEN is no token of an active app, or the app lacks a permission"
        return Blocked(f"{DENIED}: {hint} (docs/shops/saleor.md; {words})", answer.evidence())
    if any(each in exception for each in TOKEN_ERRORS):
        return Blocked(f"Saleor does not take SALEOR__TOKEN; set a new one ({words})", answer.evidence())
    if "IntegrityError" in exception + words or "duplicate key" in words:
        return Refusal(words, frozenset({"UNIQUE"}))
    if exception == "ReadOnlyException":
        return Retry(f"Saleor is read-only for now ({words})", evidence=answer.evidence())
    if exception in ("GraphQLError", "QueryCostError", "ValidationError"):
        return Reject(f"Saleor refuses it: {words}", answer.evidence())
    shown = f"Saleor failed inside: {exception} {words}"
    return Unknown(shown, answer.evidence()) if wrote else Retry(shown, evidence=answer.evidence())


def _exception(error: Node) -> str:
    extensions = error.get("extensions")
    exception = extensions.get("exception") if isinstance(extensions, dict) else None
    return str(exception.get("code")) if isinstance(exception, dict) else ""


def _plain_message(answer: Answer) -> str:
    """The words of a JSON error that is not GraphQL's: a gateway's."""
    value = answer.json()
    return answer.without_secrets(str(value.get("message") or ""))[:300] if isinstance(value, dict) else ""


def nodes(value: JsonValue) -> list[Node]:
    """The objects of a list, or of a connection's `edges { node }`."""
    if isinstance(value, dict):
        return nodes([each.get("node") for each in nodes(value.get("edges"))])
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
