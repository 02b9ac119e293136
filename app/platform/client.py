"""One method per endpoint of the Platform and of its public Launcher. `responses` interprets what comes back."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import quote, urlencode

from pydantic import JsonValue

from platform_relay.core.http import Answer, Failure, HttpClient
from platform_relay.core.outcomes import Blocked, Reject, Retry, Unknown
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.platform import exact_json
from platform_relay.platform.exact_json import ExactJson
from platform_relay.platform.fields import Fields
from platform_relay.platform.responses import (
    THE_LAUNCHER,
    Accepted,
    PlatformResponse,
    Rejected,
    RejectionKind,
    error_message,
    read_response,
)
from platform_relay.platform.rules import PlatformRule, platform_rule
from platform_relay.settings import PlatformSettings

MAX_PAGES: Final = 50
NO_KEY: Final = because(
    ReasonCode.SETTING_MISSING, setting="PLATFORM__API_KEY", purpose="every call to the Platform needs it"
)
NO_SHOP_KEY: Final = because(
    ReasonCode.SETTING_MISSING, setting="PLATFORM__SHOP_KEY", purpose="every call to the Platform's Launcher needs it"
)
JsonObject = Mapping[str, ExactJson]


class PlatformClient:
    """Calls for one store. Ids are those of the store and may be any text.

    A method returns a `PlatformResponse` (`Accepted` with the JSON object, `Rejected` with its kind, or a failure), or the
    parsed value where its docstring states it. The caller closes `http`.
    """

    def __init__(self, http: HttpClient, settings: PlatformSettings) -> None:
        self._http = http
        self._url = str(settings.url).rstrip("/")
        self._launcher = str(settings.launcher_url).rstrip("/") + "/launcher/v1"
        self._key = settings.api_key.get_secret_value() if settings.api_key else None
        self._shop_key = settings.shop_key
        self.fields = Fields(settings.fields)

    @property
    def has_launcher(self) -> bool:
        """Whether the Launcher can be called: the shop key is set."""
        return self._shop_key is not None

    async def put_customer(self, customer_id: str, body: Mapping[str, JsonValue]) -> PlatformResponse:
        """PUT /v1/customers/{id}: create or update."""
        return await self._call("the customer's delivery", "PUT", "customers", customer_id, "", body)

    async def get_customer(self, customer_id: str) -> JsonObject | Failure | None:
        """GET /v1/customers/{id}: the customer; None when the Platform has no such customer."""
        request = "the customer look-up"
        response = await self._call(request, "GET", "customers", customer_id, "")
        if isinstance(response, Rejected):
            return None if response.kind is RejectionKind.CUSTOMER_NOT_FOUND else response.reject()
        if not isinstance(response, Accepted):
            return response
        customer = response.body.get("customer")
        return customer if isinstance(customer, dict) else response.lacks("customer", request)

    async def list_customers(self, cursor: str | None) -> tuple[tuple[JsonObject, ...], str | None] | Failure:
        """GET /v1/customers: one page in no reliable order, and the cursor of the next page."""
        path = "/v1/customers" + (f"?{urlencode({'cursor': cursor})}" if cursor else "")
        request = "the list of customers"
        response = await self._send(request, "GET", path)
        if isinstance(response, Rejected):  # a 404 may mean that there are none
            return ((), None) if response.kind is RejectionKind.CUSTOMER_NOT_FOUND else response.reject()
        if not isinstance(response, Accepted):
            return response
        customers, next_cursor = response.body.get("customers"), response.body.get("cursor")
        if not isinstance(customers, list):
            return response.lacks("customers", request)
        return tuple(item for item in customers if isinstance(item, dict)), exact_json.text(next_cursor, 4000)

    async def return_points(self, customer_id: str, points: int, action: str) -> PlatformResponse:
        """POST /v1/customers/{id}/points. Not idempotent. Raises ValueError for less than 1 point."""
        if points < 1:
            raise ValueError("points must be 1 or more")
        body: dict[str, JsonValue] = {"points": points, "action": action}
        return await self._call("the return of points", "POST", "customers", customer_id, "/points", body)

    async def create_order(self, order_id: str, body: Mapping[str, JsonValue]) -> PlatformResponse:
        """POST /v1/orders. Not known to be idempotent: after an Unknown, call `update_order` first.

        A 5xx is Unknown too: the order may have been created before the failure.
        """
        request_body = {self.fields["order.id"]: order_id, **body}
        response = await self._send("the creation of the order", "POST", "/v1/orders", request_body)
        if isinstance(response, Retry) and (response.evidence.status or 0) >= 500:
            return Unknown(response.reason, response.evidence)
        return response

    async def update_order(self, order_id: str, body: Mapping[str, JsonValue]) -> PlatformResponse:
        """PATCH /v1/orders/{id}; Rejected with ORDER_NOT_FOUND when the order never arrived."""
        return await self._call("the order's update", "PATCH", "orders", order_id, "", body)

    async def put_product(self, product_id: str, body: Mapping[str, JsonValue]) -> PlatformResponse:
        """PUT /v1/products/{id}: create or update."""
        return await self._call("the product's delivery", "PUT", "products", product_id, "", body)

    async def put_variants(self, product_id: str, body: Mapping[str, JsonValue]) -> PlatformResponse:
        """POST /v1/products/{id}/variants: the complete list; the Platform deletes variants that are absent."""
        return await self._call(
            "the delivery of the product's variants", "POST", "products", product_id, "/variants", body
        )

    async def use_reward(self, code: str) -> PlatformResponse:
        """POST /v1/rewards/{code}/use. The response to a second use is not documented."""
        return await self._call("the report that the reward was used", "POST", "rewards", code, "/use", {})

    async def _call(
        self,
        request: str,
        method: str,
        collection: str,
        identifier: str,
        rest: str,
        body: Mapping[str, JsonValue] | None = None,
    ) -> PlatformResponse:
        """`request` is a noun phrase for the facts of a failure."""
        if identifier in (".", ".."):
            problem = "this id cannot be part of an address"
            facts = {"entity": collection.removesuffix("s"), "id": identifier, "destination": "the store"}
            return Reject(because(ReasonCode.ENTITY_UNREADABLE, **facts, problem=problem))
        quoted = quote(identifier, safe="")
        return await self._send(request, method, f"/v1/{collection}/{quoted}{rest}", body, plain=quoted == identifier)

    async def _send(
        self, request: str, method: str, path: str, body: Mapping[str, JsonValue] | None = None, *, plain: bool = True
    ) -> PlatformResponse:
        if self._key is None:
            return Blocked(NO_KEY)
        json = dict(body) if body is not None else None
        answer = await self._http.call(method, self._url + path, json=json, headers={"x-api-key": self._key})
        if not isinstance(answer, Answer):
            return answer
        return read_response(answer, self.fields, request=request, plain_path=plain)

    # ------------------------------------------------------------------------------------------- the Launcher

    async def redeem_rules(self) -> tuple[PlatformRule, ...] | Failure:
        """The store's public redeem rules, including inactive ones. Reject without a shop key (`has_launcher`)."""
        request = "the list of redeem rules"
        response = await self._call_launcher(request, "/shop/rules/redeem", {})
        if not isinstance(response, Accepted):
            return response
        rules = response.body.get("rules")
        if not isinstance(rules, list):
            return response.lacks("rules", request)
        return tuple(rule for item in rules if (rule := platform_rule(item, self.fields)))

    async def store_currency(self) -> str | Failure | None:
        """The store's currency (ISO 4217) at the Launcher; None when the Launcher does not name it."""
        response = await self._call_launcher("the store look-up", "/shop", {})
        if not isinstance(response, Accepted):
            return response
        currency = exact_json.text(response.body.get("storeCurrency"), 3)
        return currency.upper() if currency and currency.isascii() and len(currency) == 3 else None

    async def all_rewards(self, customer_id: str, email: str) -> tuple[JsonObject, ...] | Failure:
        """All rewards of a customer, over all pages: `{id, couponCode, pointsSpent, type, …}` each."""
        if self._key is None or self._shop_key is None:
            return Blocked(NO_KEY if self._key is None else NO_SHOP_KEY)
        parameters = {
            "customer_id": customer_id,
            "customer_email": email,
            "digest": launcher_digest(self._shop_key, email, customer_id, self._key),
        }
        request = "the list of the customer's rewards"
        rewards: list[JsonObject] = []
        for _ in range(MAX_PAGES):
            response = await self._call_launcher(request, "/customer/all-rewards", parameters)
            if not isinstance(response, Accepted):
                return response
            items = response.body.get(self.fields["launcher.items"])
            if not isinstance(items, list):
                return response.lacks("rewards", request)
            rewards.extend(item for item in items if isinstance(item, dict))
            token = exact_json.text(response.body.get("nextToken"), 4000)
            if not token:
                return tuple(rewards)
            parameters[self.fields["launcher.nextToken"]] = token
        problem = f"it has more than {MAX_PAGES} pages"
        facts = {"destination": THE_LAUNCHER, "request": request, "problem": problem}
        return Unknown(because(ReasonCode.RESPONSE_UNREADABLE, **facts))

    async def _call_launcher(self, request: str, path: str, parameters: Mapping[str, str]) -> Accepted | Failure:
        if self._shop_key is None:
            return Reject(NO_SHOP_KEY)
        answer = await self._http.call("GET", self._launcher + path, params={"shop": self._shop_key, **parameters})
        if not isinstance(answer, Answer):
            return replace(answer, reason=answer.reason.also(destination=THE_LAUNCHER))
        answer = replace(answer, destination=THE_LAUNCHER)
        if answer.status == 404:
            problem = "the Platform's Launcher knows no store with this key"
            reason = answer.reason(ReasonCode.SETTING_WRONG, setting="PLATFORM__SHOP_KEY", problem=problem)
            return Reject(reason, answer.evidence())
        if 400 <= answer.status < 500 and (text := error_message(answer)) and answer.status not in (408, 425, 429):
            facts = {"request": request, "response": answer.quote(text)}
            return Reject(answer.reason(ReasonCode.REJECTED_BY_DESTINATION, **facts), answer.evidence())
        response = read_response(answer, self.fields, request=request)
        return response.reject() if isinstance(response, Rejected) else response


def launcher_digest(shop_key: str, email: str, customer_id: str, api_key: str) -> str:
    """The hex HMAC-SHA256, keyed with the API key, of shop key + e-mail address in lower case + customer id."""
    return hmac.new(api_key.encode(), f"{shop_key}{email.lower()}{customer_id}".encode(), hashlib.sha256).hexdigest()
