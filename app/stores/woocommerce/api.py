"""One call of WooCommerce's REST API, and the meaning of its status (table in `adapter.py`)."""

import base64
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import quote, urlencode

from oauthlib.oauth1 import SIGNATURE_HMAC_SHA256, Client
from pydantic import JsonValue

from platform_relay.core.http import Failure, HttpClient, HttpResponse
from platform_relay.core.outcomes import Blocked, Retry, Unknown
from platform_relay.core.plain_numbers import integer, is_count
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.failures import CallFailed
from platform_relay.stores.parsing import value_at
from platform_relay.stores.responses import NAMELESS, Responses

Method = Literal["GET", "POST", "PUT", "DELETE"]
RESPONSES: Final = Responses("WooCommerce", "WOOCOMMERCE__URL", "WOOCOMMERCE__CA_FILE")
API: Final = "/wp-json/wc/v3"
GONE: Final = "woocommerce_rest_shop_coupon_invalid_id"
NO_ROUTE: Final = "rest_no_route"
"""WordPress's error code for an address without an API: WooCommerce is inactive."""
NONCE_USED: Final = "nonce has already been used"
"""WordPress's error text (OAuth 1.0a) for a signed request that arrives twice. The error code is the one of a wrong key."""
READ_ONLY: Final = "write permission"
"""WooCommerce's error text for a read-only key (WC_REST_Authentication::check_permissions). The error code is the one of a
wrong key."""

HINTS: Final[Mapping[str, str]] = {
    "woocommerce_rest_authentication_error": (
        "The consumer secret is wrong or the key is read-only. Over plain http, the signature may be wrong: then "
        "WOOCOMMERCE__URL must be exactly the store's home address, and the clock of this machine must be right."
    ),
    "woocommerce_rest_cannot_view": "The consumer key is unknown, or its user is not a shop manager.",
}
OTHER_HINT: Final = "A firewall or a plugin of the store may reject the calls."


def basic(key: str, secret: str) -> str:
    """The credentials in the format of HTTP Basic."""
    return base64.b64encode(f"{key}:{secret}".encode()).decode()


class WooCommerceApi:
    """Calls one store, with HTTP Basic over https, and with OAuth 1.0a (one-legged, HMAC-SHA256) over plain http.

    Every method raises CallFailed; `request` describes the call in the reason ("the coupon lookup").
    """

    def __init__(self, url: str, http: HttpClient, key: str, secret: str) -> None:
        self._api = url.rstrip("/") + API
        self._basic = f"Basic {basic(key, secret)}" if url.startswith("https:") else None
        self._signer = Client(key, client_secret=secret, signature_method=SIGNATURE_HMAC_SHA256)
        self._http = http

    async def call(
        self, method: Method, path: str, query: Mapping[str, str] | None = None, body: JsonValue = None
    ) -> HttpResponse:
        """Send one request. Returns the response with any status."""
        url = f"{self._api}/{path}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        authorization = self._basic or self._signer.sign(url, method)[1]["Authorization"]
        return RESPONSES.require(
            await self._http.call(method, url, json=body, headers={"authorization": authorization})
        )

    async def accepted(
        self, request: str, method: Method, path: str, query: Mapping[str, str] | None = None, body: JsonValue = None
    ) -> HttpResponse:
        """Send one request. Returns a 2xx response."""
        answer = await self.call(method, path, query, body)
        raise_for_status(answer, request, method)
        return answer


def raise_for_status(answer: HttpResponse, request: str, method: Method, *, wrote: bool = False) -> None:
    """Raise CallFailed for every status except 2xx. With `wrote`, a 5xx is Unknown: the store may have applied it."""
    if failed := failure(answer, request, method, wrote=wrote):
        raise CallFailed(failed)


def failure(answer: HttpResponse, request: str, method: Method, *, wrote: bool = False) -> Failure | None:
    """The failure for a status; None for 2xx."""
    code, text = error_of(answer)
    response = f"{code}: {text}"[:300] if code else ""
    match answer.status:
        case 401 if NONCE_USED in text:
            twice = RESPONSES.reason(ReasonCode.CONNECTION_LOST, answer, error="the signed request was delivered twice")
            return Retry(twice) if method == "GET" else Unknown(twice, answer.evidence())
        case 401 | 403 if method != "GET" and (code.startswith("woocommerce_rest_cannot_") or READ_ONLY in text):
            facts = {"permission": "Read/Write", "hint": "The key is read-only. Create a key with this permission."}
            reason = RESPONSES.reason(ReasonCode.PERMISSION_MISSING, answer, response=response, **facts)
        case 401 | 403:
            facts = {"setting": "WOOCOMMERCE__CONSUMER_KEY", "hint": HINTS.get(code, OTHER_HINT)}
            reason = RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, response=response, **facts)
        case 404 if code != GONE:
            hint = "WooCommerce may be inactive, or the permalinks are set to Plain."
            facts = {"setting": "WOOCOMMERCE__URL", "hint": hint}
            reason = RESPONSES.reason(ReasonCode.WRONG_ADDRESS, answer, response=response, **facts)
        case 404:
            return RESPONSES.rejected(request, response, answer)
        case _:
            return RESPONSES.failure(answer, request, response, wrote=wrote)
    named = code in HINTS or code == NO_ROUTE or reason.code is ReasonCode.PERMISSION_MISSING
    return Blocked(reason, answer.evidence(), certain=named or answer.status not in NAMELESS)


def error_of(answer: HttpResponse) -> tuple[str, str]:
    """The error code and text of WordPress, including the rejected parameters. Both are empty if the body is not an error."""
    value = answer.json()
    if answer.status < 400 or not isinstance(value, dict) or not isinstance(value.get("code"), str):
        return "", ""
    text, parameters = str(value.get("message") or ""), value_at(value, "data", "params")
    if isinstance(parameters, dict):
        text += " " + " ".join(str(problem) for problem in parameters.values())
    return str(value["code"]), answer.quote(text)


def total_of(answer: HttpResponse) -> int | None:
    """The number of rows in the complete list; None if a proxy has removed the header."""
    total = answer.headers.get("x-wp-total", "")
    return integer(total) if is_count(total) else None
