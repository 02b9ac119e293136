"""One method per endpoint of the Platform, and of its public Launcher. Decides nothing: `answers` does."""

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
from platform_relay.platform import exact
from platform_relay.platform.answers import THE_LAUNCHER, Accepted, Meaning, Refused, Verdict, refusal_text, understand
from platform_relay.platform.exact import ExactJson
from platform_relay.platform.fields import Fields
from platform_relay.platform.rules import PlatformRule, platform_rule
from platform_relay.settings import PlatformSettings

MOST_PAGES: Final = 50
NO_KEY: Final = because(
    ReasonCode.SETTING_MISSING, setting="PLATFORM__API_KEY", purpose="every call to the Platform needs it"
)
NO_SHOP_KEY: Final = because(
    ReasonCode.SETTING_MISSING, setting="PLATFORM__SHOP_KEY", purpose="every call to the Platform's Launcher needs it"
)
JsonObject = Mapping[str, ExactJson]


class PlatformClient:
    """Calls for one store. Ids are the store's own and may be any text.

    Every method gives a `Verdict` (`Accepted` with the JSON object, `Refused` with its meaning, or the failure), or
    the parsed value where it says so. `http` belongs to the caller.
    """

    def __init__(self, http: HttpClient, settings: PlatformSettings) -> None:
        self._http = http
        self._url = str(settings.url).rstrip("/")
        self._launcher = str(settings.launcher_url).rstrip("/") + "/launcher/v1"
        self._key = settings.api_key.get_secret_value() if settings.api_key else None
        self._shop = settings.shop_key
        self.fields = Fields(settings.fields)

    @property
    def has_launcher(self) -> bool:
        """Whether the Launcher can be asked at all: its store key is set."""
        return self._shop is not None

    async def put_customer(self, customer_id: str, body: Mapping[str, JsonValue]) -> Verdict:
        """PUT /v1/customers/{id}: create or update."""
        return await self._call("the customer's delivery", "PUT", "customers", customer_id, "", body)

    async def get_customer(self, customer_id: str) -> JsonObject | Failure | None:
        """GET /v1/customers/{id}: the customer, None when the Platform knows none."""
        request = "the customer look-up"
        verdict = await self._call(request, "GET", "customers", customer_id, "")
        if isinstance(verdict, Refused):
            return None if verdict.meaning is Meaning.CUSTOMER_NOT_FOUND else verdict.reject()
        if not isinstance(verdict, Accepted):
            return verdict
        customer = verdict.body.get("customer")
        return customer if isinstance(customer, dict) else verdict.without("customer", request)

    async def list_customers(self, cursor: str | None) -> tuple[tuple[JsonObject, ...], str | None] | Failure:
        """GET /v1/customers: one page, in no order that could be relied on, and the cursor of the next one."""
        path = "/v1/customers" + (f"?{urlencode({'cursor': cursor})}" if cursor else "")
        request = "the list of customers"
        verdict = await self._send(request, "GET", path)
        if isinstance(verdict, Refused):  # a 404 may mean that there is none
            return ((), None) if verdict.meaning is Meaning.CUSTOMER_NOT_FOUND else verdict.reject()
        if not isinstance(verdict, Accepted):
            return verdict
        customers, following = verdict.body.get("customers"), verdict.body.get("cursor")
        if not isinstance(customers, list):
            return verdict.without("customers", request)
        return tuple(each for each in customers if isinstance(each, dict)), exact.text(following, 4000)

    async def return_points(self, customer_id: str, points: int, action: str) -> Verdict:
        """POST /v1/customers/{id}/points. Not idempotent. Raises ValueError for less than 1 point."""
        if points < 1:
            raise ValueError("points must be 1 or more")
        body: dict[str, JsonValue] = {"points": points, "action": action}
        return await self._call("the return of points", "POST", "customers", customer_id, "/points", body)

    async def create_order(self, order_id: str, body: Mapping[str, JsonValue]) -> Verdict:
        """POST /v1/orders. Not known to be idempotent: probe with `update_order` after an Unknown.

        A 5xx is Unknown too: the order may have been created before something failed.
        """
        sent = {self.fields["order.id"]: order_id, **body}
        verdict = await self._send("the creation of the order", "POST", "/v1/orders", sent)
        if isinstance(verdict, Retry) and (verdict.evidence.status or 0) >= 500:
            return Unknown(verdict.reason, verdict.evidence)
        return verdict

    async def update_order(self, order_id: str, body: Mapping[str, JsonValue]) -> Verdict:
        """PATCH /v1/orders/{id}; Refused with ORDER_NOT_FOUND when it never arrived."""
        return await self._call("the order's update", "PATCH", "orders", order_id, "", body)

    async def put_product(self, product_id: str, body: Mapping[str, JsonValue]) -> Verdict:
        """PUT /v1/products/{id}: create or update."""
        return await self._call("the product's delivery", "PUT", "products", product_id, "", body)

    async def put_variants(self, product_id: str, body: Mapping[str, JsonValue]) -> Verdict:
        """POST /v1/products/{id}/variants: the whole list; absent ones are deleted there."""
        return await self._call(
            "the delivery of the product's variants", "POST", "products", product_id, "/variants", body
        )

    async def use_reward(self, code: str) -> Verdict:
        """POST /v1/rewards/{code}/use. What a second use answers is not published."""
        return await self._call("the report that the reward was used", "POST", "rewards", code, "/use", {})

    async def _call(
        self,
        request: str,
        method: str,
        collection: str,
        identifier: str,
        rest: str,
        body: Mapping[str, JsonValue] | None = None,
    ) -> Verdict:
        """`request` is a noun phrase for the facts of a failure."""
        if identifier in (".", ".."):
            problem = "this id cannot be part of an address"
            facts = {"entity": collection.removesuffix("s"), "id": identifier, "destination": "the store"}
            return Reject(because(ReasonCode.ENTITY_UNREADABLE, **facts, problem=problem))
        quoted = quote(identifier, safe="")
        return await self._send(request, method, f"/v1/{collection}/{quoted}{rest}", body, plain=quoted == identifier)

    async def _send(
        self, request: str, method: str, path: str, body: Mapping[str, JsonValue] | None = None, *, plain: bool = True
    ) -> Verdict:
        if self._key is None:
            return Blocked(NO_KEY)
        sent = dict(body) if body is not None else None
        answer = await self._http.call(method, self._url + path, json=sent, headers={"x-api-key": self._key})
        if not isinstance(answer, Answer):
            return answer
        return understand(answer, self.fields, request=request, plain_path=plain)

    # ------------------------------------------------------------------------------------------- the Launcher

    async def redeem_rules(self) -> tuple[PlatformRule, ...] | Failure:
        """The store's public redeem rules, inactive ones too. Reject without a store key (`has_launcher`)."""
        request = "the list of redeem rules"
        answer = await self._ask(request, "/shop/rules/redeem", {})
        if not isinstance(answer, Accepted):
            return answer
        rules = answer.body.get("rules")
        if not isinstance(rules, list):
            return answer.without("rules", request)
        return tuple(rule for item in rules if (rule := platform_rule(item, self.fields)))

    async def shop_currency(self) -> str | Failure | None:
        """The store's currency (ISO 4217) by the Launcher; None when it does not name it."""
        answer = await self._ask("the store look-up", "/shop", {})
        if not isinstance(answer, Accepted):
            return answer
        currency = exact.text(answer.body.get("storeCurrency"), 3)
        return currency.upper() if currency and currency.isascii() and len(currency) == 3 else None

    async def all_rewards(self, customer_id: str, email: str) -> tuple[JsonObject, ...] | Failure:
        """Everything that a customer has been given, over all pages: `{id, couponCode, pointsSpent, type, …}` each."""
        if self._key is None or self._shop is None:
            return Blocked(NO_KEY if self._key is None else NO_SHOP_KEY)
        asked = {
            "customer_id": customer_id,
            "customer_email": email,
            "digest": launcher_digest(self._shop, email, customer_id, self._key),
        }
        request = "the list of the customer's rewards"
        rewards: list[JsonObject] = []
        for _ in range(MOST_PAGES):
            answer = await self._ask(request, "/customer/all-rewards", asked)
            if not isinstance(answer, Accepted):
                return answer
            items = answer.body.get(self.fields["launcher.items"])
            if not isinstance(items, list):
                return answer.without("rewards", request)
            rewards.extend(item for item in items if isinstance(item, dict))
            token = exact.text(answer.body.get("nextToken"), 4000)
            if not token:
                return tuple(rewards)
            asked[self.fields["launcher.nextToken"]] = token
        problem = f"it has more than {MOST_PAGES} pages"
        facts = {"destination": THE_LAUNCHER, "request": request, "problem": problem}
        return Unknown(because(ReasonCode.RESPONSE_UNREADABLE, **facts))

    async def _ask(self, request: str, path: str, parameters: Mapping[str, str]) -> Accepted | Failure:
        if self._shop is None:
            return Reject(NO_SHOP_KEY)
        answer = await self._http.call("GET", self._launcher + path, params={"shop": self._shop, **parameters})
        if not isinstance(answer, Answer):
            return replace(answer, reason=answer.reason.also(destination=THE_LAUNCHER))
        answer = replace(answer, destination=THE_LAUNCHER)
        if answer.status == 404:
            problem = "the Platform's Launcher knows no store with this key"
            reason = answer.reason(ReasonCode.SETTING_WRONG, setting="PLATFORM__SHOP_KEY", problem=problem)
            return Reject(reason, answer.evidence())
        if 400 <= answer.status < 500 and (text := refusal_text(answer)) and answer.status not in (408, 425, 429):
            response = answer.quote(text)
            reason = answer.reason(ReasonCode.REJECTED_BY_DESTINATION, request=request, response=response)
            return Reject(reason, answer.evidence())
        verdict = understand(answer, self.fields, request=request)
        return verdict.reject() if isinstance(verdict, Refused) else verdict


def launcher_digest(shop_key: str, email: str, customer_id: str, api_key: str) -> str:
    """Proof of holding the Platform's key: hex HMAC-SHA256 by it of store key, e-mail in lower case, customer id."""
    return hmac.new(api_key.encode(), f"{shop_key}{email.lower()}{customer_id}".encode(), hashlib.sha256).hexdigest()
