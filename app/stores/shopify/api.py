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

from app.http import Answer, Failure, HttpClient, asked_for_patience, failure_of
from app.outcomes import Blocked, Evidence, Reject, Retry, Unknown
from app.stores.shopify.documents import VERSION

Object = Mapping[str, JsonValue]
EARLY: Final = 300.0
"""Seconds before its end at which a token is renewed."""
WORDS: Final = 300
LACKS: Final = "the app lacks a permission"
"""How a Blocked begins that is about one permission, not about the whole shop."""


class ShopifyApi:
    """Calls one shop. Either `access_token` or both `client_id` and `client_secret` have to be given."""

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

    async def read(self, document: str, variables: Object | None = None) -> Object | Failure:
        """The `data` of a query."""
        return await self._run(document, variables or {}, write=False)

    async def write(self, document: str, variables: Object) -> Object | Failure:
        """The `data` of a mutation; an answer that cannot be trusted is Unknown."""
        return await self._run(document, variables, write=True)

    async def _run(self, document: str, variables: Object, *, write: bool) -> Object | Failure:
        token = self._fixed or await self._token(refused="")
        if not isinstance(token, str):
            return token
        answer = await self._post(document, variables, token)
        if isinstance(answer, Answer) and answer.status == 401 and self._fixed is None:
            token = await self._token(refused=token)
            if not isinstance(token, str):
                return token
            answer = await self._post(document, variables, token)
        return data_of(answer, write=write) if isinstance(answer, Answer) else answer

    async def _post(self, document: str, variables: Object, token: str) -> Answer | Failure:
        answer = await self._http.call(
            "POST", f"{self._shop}/admin/api/{VERSION}/graphql.json",
            json={"query": document, "variables": dict(variables)}, headers={"x-shopify-access-token": token},
        )  # fmt: skip
        return replace(answer, secrets=(*answer.secrets, token)) if isinstance(answer, Answer) else answer

    async def _token(self, refused: str) -> str | Failure:
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
            if not isinstance(answer, Answer):
                return Retry(f"no new token: {answer.why}") if isinstance(answer, Unknown) else answer
            given = answer.json() if answer.status == 200 else None
            token = given.get("access_token") if isinstance(given, dict) else None
            if not isinstance(given, dict) or not isinstance(token, str) or not token:
                return _no_token(answer)
            lasts = given.get("expires_in")
            self._renewed = token
            self._good_until = time.monotonic() + (lasts - EARLY if isinstance(lasts, int) else EARLY)
            return token


_CHANNEL: Final[Mapping[int, str]] = {
    401: "Shopify refuses our token; install the app again, or correct SHOPIFY__ACCESS_TOKEN or SHOPIFY__CLIENT_SECRET",
    402: "Shopify has frozen this shop for an unpaid bill",
    403: "Shopify refuses our app; look at its permissions, and whether it is still installed",
    404: f"there is no shop, or no API {VERSION}, at this address; correct SHOPIFY__URL",
    423: "Shopify has locked this shop",
}
"""What is a fact about the channel (https://shopify.dev/docs/api/usage/response-codes)."""


def data_of(answer: Answer, *, write: bool) -> Object | Failure:
    """The `data` of an answer, or what it means instead; `write`: it answers a mutation."""
    if failure := _of_status(answer, write=write):
        return failure
    document = answer.json()
    if isinstance(document, Unknown):
        return document
    if isinstance(document, dict) and document.get("errors"):
        return _of_errors(answer, document, write=write)
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict) or "result" not in data:
        return Unknown(f"HTTP {answer.status} without data", answer.evidence())
    return data


def _of_status(answer: Answer, *, write: bool) -> Failure | None:
    if answer.status in _CHANNEL:
        return Blocked(f"HTTP {answer.status}: {_CHANNEL[answer.status]}", answer.evidence())
    if answer.status == 430:
        return Retry("HTTP 430: Shopify takes us for an attacker", evidence=answer.evidence())
    if answer.status >= 500 and write:
        return Unknown(f"Shopify answered HTTP {answer.status} to the mutation", answer.evidence())
    failure = failure_of(answer)
    if isinstance(failure, Reject):
        said = answer.without_secrets(answer.body[:4096].decode("utf-8", "replace"))
        return Reject(f"Shopify refuses the request: HTTP {answer.status} {said[:WORDS]}", Evidence(answer.status))
    return failure


def _of_errors(answer: Answer, document: Object, *, write: bool) -> Failure:
    """The `errors` beside or instead of `data`, which Shopify sends with HTTP 200."""
    errors = document["errors"]
    rows = [row for row in errors if isinstance(row, dict)] if isinstance(errors, list) else []
    codes = [extensions.get("code") for row in rows if isinstance(extensions := row.get("extensions"), dict)]
    words = "; ".join(str(row.get("message", "")) for row in rows) or json.dumps(errors)
    said = answer.without_secrets(words)[:WORDS]
    evidence = Evidence(answer.status)  # without the body: Shopify repeats the variables in it
    if "THROTTLED" in codes:
        return Retry("Shopify's cost points are used up", until_affordable(document), evidence)
    if "ACCESS_DENIED" in codes:
        return Blocked(f"{LACKS}: {said}", evidence)
    if "SHOP_INACTIVE" in codes:
        return Blocked(f"the shop is inactive: {said}", evidence)
    if "INTERNAL_SERVER_ERROR" in codes or "TIMEOUT" in codes or not codes:
        failed = f"Shopify failed inside: {said}"
        return Unknown(failed, evidence) if write else Retry(failed, evidence=evidence)
    return Reject(f"Shopify refuses the request: {said}", evidence)


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
    failure = failure_of(answer)
    if answer.status == 404:
        return Blocked("HTTP 404: there is no shop at this address; correct SHOPIFY__URL", answer.evidence())
    if isinstance(failure, Reject | Blocked):
        why = "Shopify gives no token: SHOPIFY__CLIENT_ID or its secret is wrong, or the app is not installed"
        return Blocked(f"HTTP {answer.status}: {why}", answer.evidence())
    return failure or Retry(f"HTTP {answer.status}: Shopify's answer holds no token", evidence=Evidence(answer.status))
