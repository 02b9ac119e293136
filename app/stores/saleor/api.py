"""Saleor's GraphQL endpoint: one call, and what its errors mean.

Errors come with HTTP 200, in three places: top-level `errors` with `extensions.exception.code` ("PermissionDenied", also
for a missing or wrong token), a mutation's own `errors`, and, in a race for one code, the database's IntegrityError.
"""

import re
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from platform_relay.core.http import Answer, HttpClient
from platform_relay.core.outcomes import Blocked, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.failing import CallFailed
from platform_relay.stores.responses import Responses
from platform_relay.stores.saleor.documents import PERMISSIONS

Node = dict[str, JsonValue]
RESPONSES: Final = Responses("Saleor", "SALEOR__URL")
TAKEN: Final = frozenset({"ALREADY_EXISTS", "UNIQUE"})
TOKEN_ERRORS: Final = ("InvalidTokenError", "InvalidSignatureError", "DecodeError", "JSONWebTokenError", "Expired")


class Refusal(CallFailed):
    """Saleor refused a request by `codes` of its own. `taken`: the code exists already (or another unique value does)."""

    def __init__(self, request: str, response: str, codes: frozenset[str], answer: Answer) -> None:
        self.refused = RESPONSES.rejected(request, response, answer)
        super().__init__(self.refused)
        self.codes = codes

    @property
    def taken(self) -> bool:
        return bool(self.codes & TAKEN)


class SaleorApi:
    """Calls with an app's token. `http` knows the token as a secret."""

    def __init__(self, url: str, http: HttpClient, token: str) -> None:
        self.base = re.sub(r"/graphql/?$", "", url).rstrip("/")
        self._http = http
        self._token = token

    async def read(self, document: str, request: str, **variables: JsonValue) -> Node:
        """A query's data. Raises CallFailed."""
        answer = await self._post(document, variables)
        return _data(answer, request, wrote=False)

    async def own_app(self) -> Node:
        """The app that the token belongs to. Raises CallFailed: Blocked when it belongs to none."""
        try:
            app = (await self.read(PERMISSIONS, "the app's permissions")).get("app")
        except CallFailed as failed:
            if failed.outcome.reason.code is not ReasonCode.PERMISSION_MISSING:
                raise
            app = None
        if not isinstance(app, dict):
            raise CallFailed(token_rejected("It belongs to no app of the shop: make an app and set its token"))
        return app

    async def change(self, document: str, field: str, request: str, **variables: JsonValue) -> Node:
        """What the mutation `field` answers. Raises Refusal for its errors, else CallFailed."""
        answer = await self._post(document, variables)
        payload = _data(answer, request, wrote=True).get(field)
        if not isinstance(payload, dict) or not isinstance(payload.get("errors"), list):
            raise RESPONSES.unreadable(request, f"it has no result of {field}", answer)
        errors = [each for each in nodes(payload.get("errors")) if each]
        if not errors:
            return payload
        words = "; ".join(f"{each.get('field') or '-'}: {each.get('message')} ({each.get('code')})" for each in errors)
        codes = frozenset(str(each.get("code")) for each in errors)
        raise Refusal(request, answer.quote(words), codes, answer)

    async def well_known(self, name: str) -> JsonValue:
        """The JSON document of `/.well-known/{name}`. Raises CallFailed."""
        answer = RESPONSES.received(await self._http.call("GET", f"{self.base}/.well-known/{name}"))
        RESPONSES.succeeded(answer, "the store's keys")
        return RESPONSES.document(answer, "the store's keys")

    async def _post(self, document: str, variables: Mapping[str, JsonValue]) -> Answer:
        named = re.search(r"(?:query|mutation) (\w+)", document)
        body: JsonValue = {
            "query": document, "variables": dict(variables), "operationName": named[1] if named else None,
        }  # fmt: skip
        headers = {"authorization": f"Bearer {self._token}"}
        return RESPONSES.received(await self._http.call("POST", f"{self.base}/graphql/", json=body, headers=headers))


def token_rejected(hint: str) -> Blocked:
    return Blocked(RESPONSES.reason(ReasonCode.KEY_REJECTED, setting="SALEOR__TOKEN", hint=hint))


def _data(answer: Answer, request: str, *, wrote: bool) -> Node:
    value = answer.json()
    errors = nodes(value.get("errors")) if isinstance(value, dict) else []
    words = answer.quote("; ".join(str(each.get("message")) for each in errors))
    RESPONSES.succeeded(answer, request, words or _plain_message(answer), wrote=wrote)
    if errors:
        raise _top_level(answer, _exception(errors[0]), words, request, wrote=wrote)
    document = RESPONSES.document(answer, request)
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict):
        raise RESPONSES.unreadable(request, "it has no data", answer)
    return data


def _top_level(answer: Answer, exception: str, words: str, request: str, *, wrote: bool) -> CallFailed:
    evidence = answer.evidence()
    if exception == "PermissionDenied":
        hint = "SALEOR__TOKEN is no token of an active app, or the app lacks a permission (docs/stores/saleor.md)."
        reason = RESPONSES.reason(ReasonCode.PERMISSION_MISSING, answer, response=words, hint=hint)
        return CallFailed(Blocked(reason, evidence))
    if any(each in exception for each in TOKEN_ERRORS):
        reason = RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, response=words, setting="SALEOR__TOKEN")
        return CallFailed(Blocked(reason, evidence))
    if "IntegrityError" in exception + words or "duplicate key" in words:  # PostgreSQL's words, passed on by Saleor
        return Refusal(request, words, frozenset({"UNIQUE"}), answer)
    if exception == "ReadOnlyException":
        reason = RESPONSES.reason(ReasonCode.DESTINATION_UNAVAILABLE, answer, response=words)
        return CallFailed(Retry(reason, evidence=evidence))
    if exception in ("GraphQLError", "QueryCostError", "ValidationError"):
        return CallFailed(RESPONSES.rejected(request, words, answer))
    response = f"{exception} {words}".strip()[:300]
    reason = RESPONSES.reason(ReasonCode.SERVER_ERROR, answer, request=request, response=response)
    return CallFailed(Unknown(reason, evidence) if wrote else Retry(reason, evidence=evidence))


def _exception(error: Node) -> str:
    extensions = error.get("extensions")
    exception = extensions.get("exception") if isinstance(extensions, dict) else None
    return str(exception.get("code")) if isinstance(exception, dict) else ""


def _plain_message(answer: Answer) -> str:
    """The words of a JSON error that is not GraphQL's: a gateway's."""
    value = answer.json()
    return answer.quote(str(value.get("message") or "")) if isinstance(value, dict) else ""


def nodes(value: JsonValue) -> list[Node]:
    """The objects of a list, or of a connection's `edges { node }`."""
    if isinstance(value, dict):
        return nodes([each.get("node") for each in nodes(value.get("edges"))])
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
