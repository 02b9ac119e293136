"""One call of WooCommerce's REST API, and what an answer means before its content (table in `adapter.py`)."""

import base64
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Literal
from urllib.parse import quote, urlencode

from oauthlib.oauth1 import SIGNATURE_HMAC_SHA256, Client
from pydantic import JsonValue

from platform_relay.core.http import Answer, Failure, HttpClient
from platform_relay.core.outcomes import Blocked, Reject, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.failing import CallFailed
from platform_relay.stores.responses import Responses

Method = Literal["GET", "POST", "PUT", "DELETE"]
RESPONSES: Final = Responses("WooCommerce", "WOOCOMMERCE__URL")
API: Final = "/wp-json/wc/v3"
GONE: Final = "woocommerce_rest_shop_coupon_invalid_id"
NONCE_USED: Final = "nonce has already been used"
"""WordPress's words (OAuth 1.0a) for a signed request that arrives twice; its code is that of any wrong key."""
READ_ONLY: Final = "write permission"
"""WooCommerce's words to a read-only key (WC_REST_Authentication::check_permissions); the code is that of a wrong key."""

HINTS: Final[Mapping[str, str]] = {
    "woocommerce_rest_authentication_error": (
        "The consumer secret is wrong, the key is read-only, or, over plain http, the signature does not fit: then "
        "WOOCOMMERCE__URL has to be the store's home address letter for letter, and this machine's clock right."
    ),
    "woocommerce_rest_cannot_view": "The consumer key is unknown, or its user is not a store manager.",
}
OTHER_HINT: Final = "A firewall or a plugin of the store may reject the calls."


def basic(key: str, secret: str) -> str:
    """The credentials as HTTP Basic sends them."""
    return base64.b64encode(f"{key}:{secret}".encode()).decode()


class WooCommerceApi:
    """Calls one store. HTTP Basic over https; over plain http OAuth 1.0a, one-legged, HMAC-SHA256.

    Every method raises CallFailed; `request` names the call in the reason ("the coupon look-up").
    """

    def __init__(self, url: str, http: HttpClient, key: str, secret: str) -> None:
        self._api = url.rstrip("/") + API
        self._basic = f"Basic {basic(key, secret)}" if url.startswith("https:") else None
        self._signer = Client(key, client_secret=secret, signature_method=SIGNATURE_HMAC_SHA256)
        self._http = http

    async def call(
        self, method: Method, path: str, query: Mapping[str, str] | None = None, body: JsonValue = None
    ) -> Answer:
        """One request; the answer is not judged yet."""
        url = f"{self._api}/{path}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        authorization = self._basic or self._signer.sign(url, method)[1]["Authorization"]
        return RESPONSES.received(
            await self._http.call(method, url, json=body, headers={"authorization": authorization})
        )

    async def accepted(
        self, request: str, method: Method, path: str, query: Mapping[str, str] | None = None, body: JsonValue = None
    ) -> Answer:
        """One request; the answer is 2xx."""
        answer = await self.call(method, path, query, body)
        succeeded(answer, request, method)
        return answer


def succeeded(answer: Answer, request: str, method: Method, *, wrote: bool = False) -> None:
    """Raises CallFailed for every status but 2xx. With `wrote`, a 5xx is Unknown: it may have been applied."""
    if failed := failure(answer, request, method, wrote=wrote):
        raise CallFailed(failed)


def failure(answer: Answer, request: str, method: Method, *, wrote: bool = False) -> Failure | None:
    """What a status means; None for 2xx."""
    code, words = error_of(answer)
    response = f"{code}: {words}"[:300] if code else ""
    match answer.status:
        case 401 if NONCE_USED in words:
            twice = RESPONSES.reason(ReasonCode.CONNECTION_LOST, answer, error="the signed request was delivered twice")
            return Retry(twice) if method == "GET" else Unknown(twice, answer.evidence())
        case 401 | 403 if method != "GET" and (code.startswith("woocommerce_rest_cannot_") or READ_ONLY in words):
            facts = {"permission": "Read/Write", "hint": "The key is read-only; make one with this permission."}
            reason = RESPONSES.reason(ReasonCode.PERMISSION_MISSING, answer, response=response, **facts)
        case 401 | 403:
            facts = {"setting": "WOOCOMMERCE__CONSUMER_KEY", "hint": HINTS.get(code, OTHER_HINT)}
            reason = RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, response=response, **facts)
        case 404 if code != GONE:
            hint = "WooCommerce may be inactive, or the permalinks are set to Plain."
            facts = {"setting": "WOOCOMMERCE__URL", "hint": hint}
            reason = RESPONSES.reason(ReasonCode.WRONG_ADDRESS, answer, response=response, **facts)
        case 404:
            refused = RESPONSES.reason(ReasonCode.REJECTED_BY_DESTINATION, answer, request=request, response=response)
            return Reject(refused, answer.evidence())
        case _:
            return RESPONSES.failure(answer, request, response, wrote=wrote)
    return Blocked(reason, answer.evidence())


def error_of(answer: Answer) -> tuple[str, str]:
    """WordPress's error code and words ("" for both when the answer is no such error), refused parameters included."""
    value = _tolerant(answer)
    if answer.status < 400 or not isinstance(value, dict) or not isinstance(value.get("code"), str):
        return "", ""
    data = value.get("data")
    refused = data.get("params") if isinstance(data, dict) else None
    words = str(value.get("message") or "")
    if isinstance(refused, dict):
        words += " " + " ".join(str(text) for text in refused.values())
    return str(value["code"]), answer.without_secrets(words)[:300]


def shown_in(answer: Answer, request: str) -> JsonValue:
    """The answer to a read as JSON, also with text in front of its first bracket; never with text behind it."""
    value = _tolerant(answer)
    return RESPONSES.document(answer, request) if isinstance(value, Unknown) else value


def exact(answer: Answer, request: str) -> object:
    """The body as JSON with money as Decimal."""
    try:
        shown: object = json.loads(answer.body, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise RESPONSES.unreadable(request, "it is not JSON", answer) from None
    return shown


def _tolerant(answer: Answer) -> JsonValue | Unknown:
    value = answer.json()
    start = re.search(rb"[\[{]", answer.body)
    if isinstance(value, Unknown) and start and start.start() > 0:
        try:
            rest: JsonValue = json.loads(answer.body[start.start() :])
        except (ValueError, RecursionError):
            return value
        return rest
    return value
