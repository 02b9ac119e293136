"""One call of Saleor's GraphQL API, and the meaning of its errors.

Errors have HTTP 200 and are in three places: top-level `errors` with `extensions.exception.code` ("PermissionDenied", also for a
missing or wrong token), the `errors` of a mutation, and, in a race for one code, an IntegrityError of the database.
"""

import re
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from platform_relay.core.http import HttpClient, HttpResponse
from platform_relay.core.outcomes import Blocked, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.failures import CallFailed
from platform_relay.stores.parsing import Row, errors_in, objects, value_at
from platform_relay.stores.responses import Responses
from platform_relay.stores.saleor.documents import PERMISSIONS

Node = Row
RESPONSES: Final = Responses("Saleor", "SALEOR__URL", "SALEOR__CA_FILE")
TAKEN: Final = frozenset({"ALREADY_EXISTS", "UNIQUE"})
INVALID_ID: Final = "Invalid ID"
"""The start of the text for an id that Saleor cannot decode (3.23, `from_global_id_or_error`); it has no code of its own."""
TOKEN_ERRORS: Final = ("InvalidTokenError", "InvalidSignatureError", "DecodeError", "JSONWebTokenError", "Expired")


class UnknownId(CallFailed):
    """The text is no id of Saleor, or the id of another kind of entity: Saleor has no such entity."""


class MutationRejected(CallFailed):
    """Saleor rejected a request with error `codes`. `is_duplicate`: the code, or another unique value, already exists."""

    def __init__(self, request: str, response: str, codes: frozenset[str], answer: HttpResponse) -> None:
        self.rejection = RESPONSES.rejected(request, response, answer)
        super().__init__(self.rejection)
        self.codes = codes

    @property
    def is_duplicate(self) -> bool:
        return bool(self.codes & TAKEN)


class SaleorApi:
    """Calls one store with the token of an app. Every method raises CallFailed."""

    def __init__(self, url: str, http: HttpClient, token: str) -> None:
        self.base = re.sub(r"/graphql/?$", "", url).rstrip("/")
        self._http = http
        self._token = token

    async def read(self, document: str, request: str, **variables: JsonValue) -> Node:
        """Return the data of a query."""
        answer = await self._post(document, variables)
        return _data(answer, request, wrote=False)

    async def own_app(self) -> Node:
        """Return the app of the token. Blocked if the token belongs to no app."""
        try:
            app = (await self.read(PERMISSIONS, "the app's permissions")).get("app")
        except CallFailed as failed:
            if failed.outcome.reason.code is not ReasonCode.PERMISSION_MISSING:
                raise
            app = None
        if not isinstance(app, dict):
            raise CallFailed(token_rejected("It belongs to no app of the store. Create an app and set its token."))
        return app

    async def change(self, document: str, field: str, request: str, **variables: JsonValue) -> Node:
        """Return the result of the mutation `field`. Raises MutationRejected for its errors."""
        answer = await self._post(document, variables)
        payload = _data(answer, request, wrote=True).get(field)
        if not isinstance(payload, dict) or not isinstance(payload.get("errors"), list):
            raise RESPONSES.unreadable(request, f"it does not contain the result of {field}", answer)
        errors = [error for error in nodes(payload.get("errors")) if error]
        if not errors:
            return payload
        text = "; ".join(f"{row.get('field') or '-'}: {row.get('message')} ({row.get('code')})" for row in errors)
        codes = frozenset(str(row.get("code")) for row in errors)
        raise MutationRejected(request, answer.quote(text), codes, answer)

    async def well_known(self, name: str) -> JsonValue:
        """Return the JSON document at `/.well-known/{name}`."""
        answer = RESPONSES.require(await self._http.call("GET", f"{self.base}/.well-known/{name}"))
        RESPONSES.raise_for_status(answer, "the store's public keys")
        return RESPONSES.json(answer, "the store's public keys")

    async def _post(self, document: str, variables: Mapping[str, JsonValue]) -> HttpResponse:
        operation = re.search(r"(?:query|mutation) (\w+)", document)
        body: JsonValue = {
            "query": document, "variables": dict(variables), "operationName": operation[1] if operation else None,
        }  # fmt: skip
        headers = {"authorization": f"Bearer {self._token}"}
        reads = document.lstrip().startswith("query")
        url = f"{self.base}/graphql/"
        return RESPONSES.require(await self._http.call("POST", url, json=body, headers=headers, reads=reads))


def token_rejected(hint: str) -> Blocked:
    """Blocked because of the token."""
    return Blocked(RESPONSES.reason(ReasonCode.KEY_REJECTED, setting="SALEOR__TOKEN", hint=hint))


def _data(answer: HttpResponse, request: str, *, wrote: bool) -> Node:
    value = answer.json()
    errors = errors_in(value)
    text = answer.quote("; ".join(str(error.get("message")) for error in errors))
    RESPONSES.raise_for_status(answer, request, text or _plain_message(answer), wrote=wrote)
    if errors:
        raise _call_failed(answer, _exception(errors[0]), text, request, wrote=wrote)
    document = RESPONSES.json(answer, request)
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict):
        raise RESPONSES.unreadable(request, "it does not contain data", answer)
    return data


def _call_failed(answer: HttpResponse, exception: str, text: str, request: str, *, wrote: bool) -> CallFailed:
    evidence = answer.evidence()
    if exception == "PermissionDenied":
        hint = "SALEOR__TOKEN is not the token of an active app, or the app lacks a permission (docs/stores/saleor.md)."
        reason = RESPONSES.reason(ReasonCode.PERMISSION_MISSING, answer, response=text, hint=hint)
        return CallFailed(Blocked(reason, evidence))
    if any(name in exception for name in TOKEN_ERRORS):
        reason = RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, response=text, setting="SALEOR__TOKEN")
        return CallFailed(Blocked(reason, evidence))
    if (
        "IntegrityError" in exception + text or "duplicate key" in text
    ):  # the error text of PostgreSQL, in Saleor's response
        return MutationRejected(request, text, frozenset({"UNIQUE"}), answer)
    if exception == "ReadOnlyException":
        reason = RESPONSES.reason(ReasonCode.DESTINATION_UNAVAILABLE, answer, response=text)
        return CallFailed(Retry(reason, evidence=evidence))
    if exception in ("GraphQLError", "QueryCostError", "ValidationError"):
        unknown_id = exception == "GraphQLError" and text.startswith(INVALID_ID)
        return (UnknownId if unknown_id else CallFailed)(RESPONSES.rejected(request, text, answer))
    response = f"{exception} {text}".strip()[:300]
    reason = RESPONSES.reason(ReasonCode.SERVER_ERROR, answer, request=request, response=response)
    return CallFailed(Unknown(reason, evidence) if wrote else Retry(reason, evidence=evidence))


def _exception(error: Node) -> str:
    exception = value_at(error, "extensions", "exception")
    return str(exception.get("code")) if isinstance(exception, dict) else ""


def _plain_message(answer: HttpResponse) -> str:
    """The text of a JSON error that does not come from GraphQL, but from a gateway."""
    value = answer.json()
    return answer.quote(str(value.get("message") or "")) if isinstance(value, dict) else ""


def nodes(value: JsonValue) -> list[Node]:
    """Return the objects of a list, or of a connection with `edges { node }`."""
    if isinstance(value, dict):
        return nodes([edge.get("node") for edge in objects(value.get("edges"))])
    return objects(value)
