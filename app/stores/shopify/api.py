"""One call of Shopify's Admin GraphQL API: the token, the cost points, and what an answer means before its data.

The table of answers is at the top of `shopify.py`. Two ways in: an offline access token (`shpat_…`), or the client
credentials of an app of one's own organisation, for which Shopify gives tokens that last 24 hours
(https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/client-credentials-grant).
"""

import asyncio
import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import urlencode

from pydantic import JsonValue

from platform_relay.core.http import Answer, Failure, HttpClient, asked_for_patience, failure_of
from platform_relay.core.outcomes import Blocked, Evidence, Reject, Retry, Unknown
from platform_relay.core.reasons import Reason, ReasonCode
from platform_relay.stores.failing import CallFailed
from platform_relay.stores.responses import Responses
from platform_relay.stores.shopify.documents import VERSION

RESPONSES: Final = Responses("Shopify", "SHOPIFY__URL")
Object = Mapping[str, JsonValue]
EARLY: Final = 300.0
"""Seconds before its end at which a token is renewed."""
WORDS: Final = 300
RENEWAL: Final = "the request for a token"


class ShopifyApi:
    """Calls one store. Either `access_token` or both `client_id` and `client_secret` have to be given.

    Every method raises CallFailed; `request` names the call in the reason ("the coupon look-up").
    """

    def __init__(
        self, url: str, http: HttpClient, *, access_token: str | None, client_id: str | None, client_secret: str | None
    ) -> None:
        self._shop = url.rstrip("/")
        self._fixed = access_token
        self._client = (client_id or "", client_secret or "")
        self._renewed = ""
        self._good_until = 0.0
        self._renewal = asyncio.Lock()
        self._http = http

    async def read(self, request: str, document: str, variables: Object | None = None) -> JsonValue:
        """The `result` of a query."""
        return (await self.data(request, document, variables))["result"]

    async def data(self, request: str, document: str, variables: Object | None = None) -> Object:
        """The `data` of a query."""
        return await self._run(request, document, variables or {}, write=False)

    async def write(self, request: str, document: str, variables: Object) -> JsonValue:
        """The `result` of a mutation; an answer that cannot be trusted is Unknown."""
        return (await self._run(request, document, variables, write=True))["result"]

    async def _run(self, request: str, document: str, variables: Object, *, write: bool) -> Object:
        token = self._fixed or await self._token(refused="")
        answer = await self._post(document, variables, token)
        if answer.status == 401 and self._fixed is None:
            token = await self._token(refused=token)
            answer = await self._post(document, variables, token)
        return data_of(answer, request, write=write)

    async def _post(self, document: str, variables: Object, token: str) -> Answer:
        answer = RESPONSES.received(await self._http.call(
            "POST", f"{self._shop}/admin/api/{VERSION}/graphql.json",
            json={"query": document, "variables": dict(variables)}, headers={"x-shopify-access-token": token},
        ))  # fmt: skip
        return replace(answer, secrets=(*answer.secrets, token))

    async def _token(self, refused: str) -> str:
        """A token other than the one just refused; one renewal at a time, whoever comes meanwhile gets its result."""
        async with self._renewal:
            if self._renewed != refused and time.monotonic() < self._good_until:
                return self._renewed
            client_id, client_secret = self._client
            form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
            answer = await self._http.call(
                "POST", f"{self._shop}/admin/oauth/access_token", content=urlencode(form).encode(),
                headers={"content-type": "application/x-www-form-urlencoded"},
            )  # fmt: skip
            if isinstance(answer, Unknown):  # asking again does no harm
                answer = Retry(answer.reason)
            answer = RESPONSES.received(answer)
            given = answer.json() if answer.status == 200 else None
            token = given.get("access_token") if isinstance(given, dict) else None
            if not isinstance(given, dict) or not isinstance(token, str) or not token:
                raise CallFailed(_no_token(answer))
            lasts = given.get("expires_in")
            self._renewed = token
            self._good_until = time.monotonic() + (lasts - EARLY if isinstance(lasts, int) else EARLY)
            return token


def data_of(answer: Answer, request: str, *, write: bool) -> Object:
    """The `data` of an answer; `write`: it answers a mutation. Raises CallFailed."""
    if failure := _of_status(answer, request, write=write):
        raise CallFailed(failure)
    document = RESPONSES.document(answer, request)
    if isinstance(document, dict) and document.get("errors"):
        raise CallFailed(_of_errors(answer, document, request, write=write))
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict) or "result" not in data:
        raise RESPONSES.unreadable(request, "it has no data", answer)
    return data


def _of_status(answer: Answer, request: str, *, write: bool) -> Failure | None:
    if reason := _of_the_shop(answer):
        return Blocked(reason, answer.evidence())
    if answer.status == 430:  # Shopify takes the calls for an attack
        return Retry(RESPONSES.reason(ReasonCode.RATE_LIMITED, answer), evidence=answer.evidence())
    body = answer.body[:4096].decode("utf-8", "replace") if answer.status < 500 else ""
    response = answer.without_secrets(body)[:WORDS]
    failure = RESPONSES.failure(answer, request, response, wrote=write)
    # Without the body: Shopify repeats the variables in it.
    return replace(failure, evidence=Evidence(answer.status)) if isinstance(failure, Reject) else failure


def _of_the_shop(answer: Answer) -> Reason | None:
    """What is a fact about the whole store (https://shopify.dev/docs/api/usage/response-codes)."""
    match answer.status:
        case 401:
            hint = "Or install the app again, or correct SHOPIFY__CLIENT_SECRET."
            return RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, setting="SHOPIFY__ACCESS_TOKEN", hint=hint)
        case 402:
            problem = "the store is frozen because of an unpaid bill"
            return RESPONSES.reason(ReasonCode.STORE_NOT_READY, answer, problem=problem)
        case 403:
            hint = "Check the permissions of the app, and whether it is still installed."
            return RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, hint=hint)
        case 404:
            hint = f"There is no store, or no API {VERSION}, at this address."
            return RESPONSES.reason(ReasonCode.WRONG_ADDRESS, answer, setting="SHOPIFY__URL", hint=hint)
        case 423:
            return RESPONSES.reason(ReasonCode.STORE_NOT_READY, answer, problem="the store is locked")
    return None


def _of_errors(answer: Answer, document: Object, request: str, *, write: bool) -> Failure:
    """The `errors` beside or instead of `data`, which Shopify sends with HTTP 200."""
    errors = document["errors"]
    rows = [row for row in errors if isinstance(row, dict)] if isinstance(errors, list) else []
    codes = [extensions.get("code") for row in rows if isinstance(extensions := row.get("extensions"), dict)]
    words = "; ".join(str(row.get("message", "")) for row in rows) or json.dumps(errors)
    response = answer.without_secrets(words)[:WORDS]
    evidence = Evidence(answer.status)  # without the body: Shopify repeats the variables in it

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
        return Unknown(failed, evidence) if write else Retry(failed, evidence=evidence)
    return Reject(reason(ReasonCode.REJECTED_BY_DESTINATION), evidence)


def patience(answer: Answer) -> float | None:
    """Seconds for which an answer asks all calls to pause: cost points used up (with HTTP 200), or a 429; else None."""
    document = answer.json() if answer.status == 200 and b'"THROTTLED"' in answer.body else None
    return (until_affordable(document) or 1.0) if isinstance(document, dict) else asked_for_patience(answer)


def until_affordable(document: Object) -> float | None:
    """Seconds until the bucket holds what the refused query asked for; None when the answer does not tell."""
    extensions = document.get("extensions")
    cost = extensions.get("cost") if isinstance(extensions, dict) else None
    bucket = cost.get("throttleStatus") if isinstance(cost, dict) else None
    if not isinstance(cost, dict) or not isinstance(bucket, dict):
        return None
    asked, held, rate = cost.get("requestedQueryCost"), bucket.get("currentlyAvailable"), bucket.get("restoreRate")
    if not (isinstance(asked, int | float) and isinstance(held, int | float) and isinstance(rate, int | float)):
        return None
    return float(max(1, math.ceil((asked - held) / rate))) if rate > 0 else None


def _no_token(answer: Answer) -> Failure:
    if answer.status == 404:
        reason = RESPONSES.reason(ReasonCode.WRONG_ADDRESS, answer, setting="SHOPIFY__URL")
        return Blocked(reason, answer.evidence())
    failure = failure_of(answer)
    if isinstance(failure, Reject | Blocked):
        hint = "The client id or its secret is wrong, or the app is not installed."
        reason = RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, setting="SHOPIFY__CLIENT_ID", hint=hint)
        return Blocked(reason, answer.evidence())
    if failure:
        return RESPONSES.named(failure, request=RENEWAL)
    reason = RESPONSES.reason(ReasonCode.RESPONSE_UNREADABLE, answer, request=RENEWAL, problem="it has no token")
    return Retry(reason, evidence=Evidence(answer.status))
