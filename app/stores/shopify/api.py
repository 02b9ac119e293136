"""One call of Shopify's Admin GraphQL API: the token, the cost points, and the meaning of status and errors.

The table of responses is in `adapter.py`. Two kinds of credentials: an offline access token (`shpat_…`), or the client
credentials of the merchant's own app, for which Shopify returns tokens that are valid for 24 hours
(https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/client-credentials-grant).
"""

import asyncio
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final
from urllib.parse import urlencode

from pydantic import JsonValue

from platform_relay.core import plain_numbers
from platform_relay.core.http import (
    Failure,
    HttpClient,
    HttpResponse,
    failure_of,
    pause_of_429,
    plausible_pause,
    quoted,
)
from platform_relay.core.outcomes import Blocked, Evidence, Reject, Retry, Unknown
from platform_relay.core.reasons import Reason, ReasonCode
from platform_relay.stores.failures import CallFailed
from platform_relay.stores.parsing import objects, value_at
from platform_relay.stores.responses import NAMELESS, Responses
from platform_relay.stores.shopify.documents import VERSION

RESPONSES: Final = Responses("Shopify", "SHOPIFY__URL")
Object = Mapping[str, JsonValue]
EARLY: Final = 300.0
"""A token is renewed this many seconds before it expires."""
RENEWAL: Final = "the request for a token"


class ShopifyApi:
    """Calls one store. Needs `access_token`, or both `client_id` and `client_secret`.

    Every method raises CallFailed; `request` describes the call in the reason ("the coupon lookup").
    """

    def __init__(
        self, url: str, http: HttpClient, *, access_token: str | None, client_id: str | None, client_secret: str | None
    ) -> None:
        self._url = url.rstrip("/")
        self._fixed = access_token
        self._client = (client_id or "", client_secret or "")
        self._renewed = ""
        self._good_until = 0.0
        self._renewal = asyncio.Lock()
        self._http = http

    async def read(self, request: str, document: str, variables: Object | None = None) -> JsonValue:
        """Return the `result` of a query."""
        return (await self.data(request, document, variables))["result"]

    async def data(self, request: str, document: str, variables: Object | None = None) -> Object:
        """Return the `data` of a query."""
        return await self._run(request, document, variables or {}, wrote=False)

    async def write(self, request: str, document: str, variables: Object) -> JsonValue:
        """Return the `result` of a mutation. A response that cannot be trusted is Unknown."""
        return (await self._run(request, document, variables, wrote=True))["result"]

    async def _run(self, request: str, document: str, variables: Object, *, wrote: bool) -> Object:
        token = self._fixed or await self._token(refused="")
        answer = await self._post(document, variables, token)
        if answer.status == 401 and self._fixed is None:
            token = await self._token(refused=token)
            answer = await self._post(document, variables, token)
        return data_of(answer, request, wrote=wrote)

    async def _post(self, document: str, variables: Object, token: str) -> HttpResponse:
        answer = RESPONSES.require(await self._http.call(
            "POST", f"{self._url}/admin/api/{VERSION}/graphql.json",
            json={"query": document, "variables": dict(variables)}, headers={"x-shopify-access-token": token},
            reads=document.lstrip().startswith("query"),
        ))  # fmt: skip
        return answer.hiding(token)

    async def _token(self, refused: str) -> str:
        """Return a token other than the refused one. Only one renewal runs at a time; waiting calls use its result."""
        async with self._renewal:
            if self._renewed != refused and time.monotonic() < self._good_until:
                return self._renewed
            client_id, client_secret = self._client
            form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
            answer = await self._http.call(
                "POST", f"{self._url}/admin/oauth/access_token", content=urlencode(form).encode(),
                headers={"content-type": "application/x-www-form-urlencoded"}, reads=True,
            )  # fmt: skip
            if isinstance(answer, Unknown):  # another request for a token does no harm
                answer = Retry(answer.reason)
            answer = RESPONSES.require(answer)
            body = answer.json() if answer.status == 200 else None
            token, seconds = value_at(body, "access_token"), value_at(body, "expires_in")
            if not isinstance(token, str) or not token:
                raise CallFailed(_token_failure(answer))
            self._renewed = token
            self._good_until = time.monotonic() + (seconds - EARLY if isinstance(seconds, int) else EARLY)
            return token


def data_of(answer: HttpResponse, request: str, *, wrote: bool) -> Object:
    """Return the `data` of a response; `wrote`: it is the response to a mutation. Raises CallFailed."""
    if failure := _status_failure(answer, request, wrote=wrote):
        raise CallFailed(failure)
    document = RESPONSES.json(answer, request)
    if isinstance(document, dict) and document.get("errors"):
        raise CallFailed(_errors_failure(answer, document, request, wrote=wrote))
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict) or "result" not in data:
        raise RESPONSES.unreadable(request, "it does not contain data", answer)
    return data


def _status_failure(answer: HttpResponse, request: str, *, wrote: bool) -> Failure | None:
    if reason := _store_failure(answer):
        return Blocked(reason, answer.evidence(), certain=answer.status not in NAMELESS)
    if answer.status == 430:  # Shopify has classified the calls as an attack
        return Retry(RESPONSES.reason(ReasonCode.RATE_LIMITED, answer), evidence=answer.evidence())
    body = answer.body[:4096].decode("utf-8", "replace") if answer.status < 500 else ""
    response = answer.quote(body)
    failure = RESPONSES.failure(answer, request, response, wrote=wrote)
    # The evidence does not include the body, because Shopify repeats the variables in it.
    return replace(failure, evidence=Evidence(answer.status)) if isinstance(failure, Reject) else failure


def _store_failure(answer: HttpResponse) -> Reason | None:
    """The reason for a status that concerns the whole store (https://shopify.dev/docs/api/usage/response-codes)."""
    match answer.status:
        case 401:
            hint = "Or install the app again, or correct SHOPIFY__CLIENT_SECRET."
            facts = {"setting": "SHOPIFY__ACCESS_TOKEN", "response": _error_text(answer), "hint": hint}
            return RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, **facts)
        case 402:
            problem = "the store is frozen because of an unpaid bill"
            return RESPONSES.reason(ReasonCode.STORE_NOT_READY, answer, problem=problem)
        case 403:
            hint = "Check the permissions of the app, and whether it is still installed."
            return RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, response=_error_text(answer), hint=hint)
        case 404:
            hint = f"There is no store, or no API {VERSION}, at this address."
            return RESPONSES.reason(ReasonCode.WRONG_ADDRESS, answer, setting="SHOPIFY__URL", hint=hint)
        case 423:
            return RESPONSES.reason(ReasonCode.STORE_NOT_READY, answer, problem="the store is locked")
    return None


def _error_text(answer: HttpResponse) -> str:
    """The text of an error that is not GraphQL's: `{"errors": "[API] Invalid API key or access token"}`."""
    text = value_at(answer.json(), "errors")
    return answer.quote(text) if isinstance(text, str) else ""


def _errors_failure(answer: HttpResponse, document: Object, request: str, *, wrote: bool) -> Failure:
    """The failure for `errors`, which Shopify returns with HTTP 200, with or without `data`."""
    errors = document["errors"]
    listed = objects(errors)
    codes = [value_at(row, "extensions", "code") for row in listed if isinstance(row.get("extensions"), dict)]
    text = "; ".join(str(row.get("message", "")) for row in listed) or json.dumps(errors)
    response = answer.quote(text)
    evidence = Evidence(answer.status)  # without the body, because Shopify repeats the variables in it

    def reason(code: ReasonCode, **facts: JsonValue) -> Reason:
        return RESPONSES.reason(code, answer, **{"request": request, "response": response, **facts})

    if "THROTTLED" in codes:
        seconds = until_affordable(document)
        return Retry(reason(ReasonCode.RATE_LIMITED, seconds=seconds and int(seconds)), seconds, evidence)
    if "ACCESS_DENIED" in codes:
        return Blocked(reason(ReasonCode.PERMISSION_MISSING), evidence)
    if "SHOP_INACTIVE" in codes:
        return Blocked(reason(ReasonCode.STORE_NOT_READY, problem="the store is inactive"), evidence)
    if "INTERNAL_SERVER_ERROR" in codes or "TIMEOUT" in codes or not codes:
        failed = reason(ReasonCode.SERVER_ERROR)
        return Unknown(failed, evidence) if wrote else Retry(failed, evidence=evidence)
    return Reject(reason(ReasonCode.REJECTED_BY_DESTINATION), evidence)


def user_errors(result: JsonValue) -> list[tuple[str, str]]:
    """The code ("" if missing) and the text with the field, for each of a mutation's userErrors."""
    errors = []
    for row in objects(value_at(result, "userErrors")):
        field = row.get("field")
        path = ".".join(str(part) for part in field[1:]) if isinstance(field, list) else ""
        message = str(row.get("message"))
        errors.append((str(row.get("code") or ""), f"{path}: {message}" if path else message))
    return errors


def rejected(request: str, errors: Sequence[tuple[str, str]]) -> Reject:
    """Reject because of a mutation's userErrors."""
    text = quoted("; ".join(f"{message} ({code})" if code else message for code, message in errors))
    return Reject(RESPONSES.reason(ReasonCode.REJECTED_BY_DESTINATION, request=request, response=text))


def rate_limit_pause(answer: HttpResponse) -> float | None:
    """The seconds for which all calls must pause: the cost points are used up (HTTP 200), or a 429; None otherwise."""
    document = answer.json() if answer.status == 200 and b'"THROTTLED"' in answer.body else None
    return (until_affordable(document) or 1.0) if isinstance(document, dict) else pause_of_429(answer)


def until_affordable(document: Object) -> float | None:
    """The seconds until there are enough cost points for the rejected query; None if the response does not contain them."""
    cost = value_at(dict(document), "extensions", "cost")
    needed, bucket = value_at(cost, "requestedQueryCost"), value_at(cost, "throttleStatus")
    available, rate = value_at(bucket, "currentlyAvailable"), value_at(bucket, "restoreRate")
    numbers = [plain_numbers.amount(value) for value in (needed, available, rate) if isinstance(value, int | Decimal)]
    if len(numbers) != 3 or numbers[2] <= 0:
        return None
    return plausible_pause(math.ceil(max(Decimal(1), (numbers[0] - numbers[1]) / numbers[2])))


def _token_failure(answer: HttpResponse) -> Failure:
    if answer.status == 404:
        reason = RESPONSES.reason(ReasonCode.WRONG_ADDRESS, answer, setting="SHOPIFY__URL")
        return Blocked(reason, answer.evidence())
    failure = failure_of(answer)
    if isinstance(failure, Reject | Blocked):
        hint = "The client id or its secret is wrong, or the app is not installed."
        reason = RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, setting="SHOPIFY__CLIENT_ID", hint=hint)
        return Blocked(reason, answer.evidence())
    if failure:
        return RESPONSES.with_destination(failure, request=RENEWAL)
    reason = RESPONSES.reason(
        ReasonCode.RESPONSE_UNREADABLE, answer, request=RENEWAL, problem="it does not contain a token"
    )
    return Retry(reason, evidence=Evidence(answer.status))
