"""One method per endpoint of the Platform and of its public Launcher. `responses` interprets what comes back."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, urlencode

from pydantic import JsonValue

from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactJson
from platform_relay.core.http import Failure, HttpClient, HttpResponse
from platform_relay.core.outcomes import Blocked, Reject, Retry, Unknown
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.core.setting_names import SettingNames
from platform_relay.platform.fields import Fields
from platform_relay.platform.responses import (
    THE_LAUNCHER,
    THE_PLATFORM,
    Accepted,
    PlatformResponse,
    Rejected,
    RejectionKind,
    error_message,
    read_response,
)
from platform_relay.platform.rules import PlatformRule, platform_rule
from platform_relay.setting_groups import PlatformSettings

LONGEST_READ: Final = 30.0
"""Seconds after which no further page of a customer's reward list is read. An attempt of a job has a time limit."""
LONGEST_TOKEN: Final = 4000
"""The characters of the longest usable name of a next page."""
PLATFORM_SETTINGS: Final = SettingNames("PLATFORM__URL", "PLATFORM__CA_FILE")
LAUNCHER_SETTINGS: Final = SettingNames("PLATFORM__LAUNCHER_URL", "PLATFORM__CA_FILE")
UNKNOWN_STORE: Final = frozenset({"ShopNotFound", "ShopRequired"})
"""The Launcher's error codes for a shop key that it does not know."""
NO_KEY: Final = because(
    ReasonCode.SETTING_MISSING, setting="PLATFORM__API_KEY", purpose="every call to the Platform needs it"
)
NO_SHOP_KEY: Final = because(
    ReasonCode.SETTING_MISSING, setting="PLATFORM__SHOP_KEY", purpose="every call to the Platform's Launcher needs it"
)
JsonObject = Mapping[str, ExactJson]


@dataclass(frozen=True, slots=True)
class IncompleteList:
    """A list of rewards that could not be read to its end, after `pages` pages. `problem` is a clause.

    `setting` is the setting that can be wrong, if there is one.
    """

    pages: int
    problem: str
    setting: str | None = None


class PlatformClient:
    """Calls for one store. Ids are those of the store and may be any text.

    A method returns a `PlatformResponse` (`Accepted` with the JSON object, `Rejected` with its kind, or a failure), or the
    parsed value where its docstring states it. The caller closes `http`. A `body` of bytes is JSON.
    """

    def __init__(self, http: HttpClient, settings: PlatformSettings) -> None:
        self._http = http
        self._url = str(settings.url).rstrip("/")
        self._launcher = str(settings.launcher_url).rstrip("/") + "/launcher/v1"
        self._key = settings.api_key.get_secret_value() if settings.api_key else None
        self._shop_key = settings.shop_key
        self._reward_pages = settings.reward_pages
        self.fields = Fields(settings.fields)

    @property
    def has_launcher(self) -> bool:
        """Whether the Launcher can be called: the shop key is set."""
        return self._shop_key is not None

    async def put_customer(self, customer_id: str, body: bytes) -> PlatformResponse:
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
        customer = exact_json.at_path(dict(response.body), self.fields.path("response.customer"))
        return customer if isinstance(customer, dict) else response.lacks(self.fields["response.customer"], request)

    async def find_customer(self, email: str) -> JsonObject | Failure | None:
        """GET /v1/customers?email=…: the customer with this e-mail address; None when the Platform has none."""
        response = await self._customers("the customer look-up", {"email": email})
        if not isinstance(response, Accepted):
            return response
        address, customers = email.casefold(), _objects(self._rows(response))
        return next(
            (item for item in customers if (exact_json.email(item.get("email")) or "").casefold() == address), None
        )

    async def list_customers(self, cursor: str | None) -> tuple[tuple[JsonObject, ...], str | None] | Failure:
        """GET /v1/customers: one page in no reliable order, and the cursor of the next page."""
        request = "the list of customers"
        response = await self._customers(request, {"cursor": cursor} if cursor else {})
        if response is None:  # of the first page: there are none
            return ((), None) if cursor is None else _lost_page(request)
        if not isinstance(response, Accepted):
            return response
        rows, following = self._rows(response), self._beside_rows(response, "cursor")
        if following is None or following == "":
            return _objects(rows), None
        token = exact_json.text(following, LONGEST_TOKEN)
        if token is None or token == cursor:
            problem = "its next page cannot be named" if token is None else "it names the same next page again"
            return response.unusable(problem, request)
        return _objects(rows), token

    async def _customers(self, request: str, parameters: Mapping[str, str]) -> Accepted | Failure | None:
        """A response with the list of customers; None for a 404 about customers."""
        path = "/v1/customers" + (f"?{urlencode(parameters)}" if parameters else "")
        response = await self._send(request, "GET", path)
        if isinstance(response, Rejected):
            return None if response.kind is RejectionKind.CUSTOMER_NOT_FOUND else response.reject()
        if not isinstance(response, Accepted):
            return response
        return (
            response
            if isinstance(self._rows(response), list)
            else response.lacks(self.fields["response.customers"], request)
        )

    def _rows(self, response: Accepted) -> ExactJson:
        return exact_json.at_path(dict(response.body), self.fields.path("response.customers"))

    def _beside_rows(self, response: Accepted, name: str) -> ExactJson:
        """A member of the object that holds the list of customers, or else of the response."""
        holder = exact_json.at_path(dict(response.body), self.fields.path("response.customers")[:-1])
        beside = exact_json.member(holder, name)
        return response.body.get(name) if beside is None else beside

    async def return_points(self, customer_id: str, points: int, action: str) -> PlatformResponse:
        """POST /v1/customers/{id}/points. Not idempotent. Raises ValueError for less than 1 point."""
        if points < 1:
            raise ValueError("points must be 1 or more")
        body: dict[str, JsonValue] = {"points": points, "action": action}
        return await self._call("the return of points", "POST", "customers", customer_id, "/points", body)

    async def create_order(self, body: bytes) -> PlatformResponse:
        """POST /v1/orders. Not known to be idempotent: after an Unknown, call `update_order` first.

        A 5xx is Unknown too: the order may have been created before the failure.
        """
        response = await self._send("the creation of the order", "POST", "/v1/orders", body)
        if isinstance(response, Retry) and (response.evidence.status or 0) >= 500:
            return Unknown(response.reason, response.evidence)
        return response

    async def update_order(self, order_id: str, body: bytes) -> PlatformResponse:
        """PATCH /v1/orders/{id}; Rejected with ORDER_NOT_FOUND when the order never arrived."""
        return await self._call("the order's update", "PATCH", "orders", order_id, "", body)

    async def put_product(self, product_id: str, body: bytes) -> PlatformResponse:
        """PUT /v1/products/{id}: create or update."""
        return await self._call("the product's delivery", "PUT", "products", product_id, "", body)

    async def put_variants(self, product_id: str, body: bytes) -> PlatformResponse:
        """POST /v1/products/{id}/variants: the complete list; the Platform deletes variants that are absent."""
        request = "the delivery of the product's variants"
        return await self._call(request, "POST", "products", product_id, "/variants", body, idempotent=True)

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
        body: Mapping[str, JsonValue] | bytes | None = None,
        *,
        idempotent: bool = False,
    ) -> PlatformResponse:
        """`request` is a noun phrase for the facts of a failure. `idempotent`: the call is, although it is a POST."""
        if identifier in (".", ".."):
            problem = "this id cannot be part of an address"
            facts = {"entity": collection.removesuffix("s"), "id": identifier, "destination": "the store"}
            return Reject(because(ReasonCode.ENTITY_UNREADABLE, **facts, problem=problem))
        quoted = quote(identifier, safe="")
        path = f"/v1/{collection}/{quoted}{rest}"
        return await self._send(request, method, path, body, plain=quoted == identifier, idempotent=idempotent)

    async def _send(
        self,
        request: str,
        method: str,
        path: str,
        body: Mapping[str, JsonValue] | bytes | None = None,
        *,
        plain: bool = True,
        idempotent: bool = False,
    ) -> PlatformResponse:
        if self._key is None:
            return Blocked(NO_KEY)
        headers = {"x-api-key": self._key}
        if isinstance(body, bytes):
            headers["content-type"] = "application/json"
            answer = await self._http.call(method, self._url + path, content=body, headers=headers)
        else:
            json = dict(body) if body is not None else None
            answer = await self._http.call(method, self._url + path, json=json, headers=headers)
        if not isinstance(answer, HttpResponse):
            return replace(answer, reason=PLATFORM_SETTINGS.named(answer.reason))
        idempotent = idempotent or method in ("PUT", "PATCH")
        response = read_response(answer, self.fields, request=request, plain_path=plain, idempotent=idempotent)
        return (
            replace(response, reason=PLATFORM_SETTINGS.named(response.reason))
            if isinstance(response, Blocked)
            else response
        )

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

    async def find_reward(
        self, customer_id: str, email: str, code: str
    ) -> JsonObject | IncompleteList | Failure | None:
        """The customer's reward with this coupon code: `{id, couponCode, pointsSpent, type, …}`; None when the list, read to
        its end, does not have it. Reading ends as soon as the code is found."""
        if self._key is None or self._shop_key is None:
            return Blocked(NO_KEY if self._key is None else NO_SHOP_KEY)
        parameters = {
            "customer_id": customer_id,
            "customer_email": email,
            "digest": launcher_digest(self._shop_key, email, customer_id, self._key),
        }
        started, tokens = time.monotonic(), set[str]()
        for number in range(1, self._reward_pages + 1):
            page = await self._reward_page(parameters)
            if not isinstance(page, tuple):
                return page
            rewards, next_page = page
            reward = next((item for item in rewards if item.get("couponCode") == code), None)
            if reward is not None or next_page is None or next_page == "":
                return reward
            token = exact_json.text(next_page, LONGEST_TOKEN)
            if token is None or token in tokens:
                problem = "its next page cannot be named" if token is None else "it names the same next page again"
                return IncompleteList(number, problem, "PLATFORM__FIELDS")
            if time.monotonic() - started > LONGEST_READ:
                return IncompleteList(number, f"reading it takes longer than {LONGEST_READ:g} seconds")
            tokens.add(token)
            parameters[self.fields["launcher.nextToken"]] = token
        return IncompleteList(self._reward_pages, "it has more pages", "PLATFORM__REWARD_PAGES")

    async def _reward_page(self, parameters: Mapping[str, str]) -> tuple[tuple[JsonObject, ...], ExactJson] | Failure:
        """One page of a customer's rewards, and the token of the next page as the Launcher wrote it."""
        request = "the list of the customer's rewards"
        response = await self._call_launcher(request, "/customer/all-rewards", parameters)
        if not isinstance(response, Accepted):
            return response
        items = response.body.get(self.fields["launcher.items"])
        if not isinstance(items, list):
            return response.lacks("rewards", request)
        return tuple(item for item in items if isinstance(item, dict)), response.body.get("nextToken")

    async def _call_launcher(self, request: str, path: str, parameters: Mapping[str, str]) -> Accepted | Failure:
        if self._shop_key is None:
            return Reject(NO_SHOP_KEY)
        answer = await self._http.call("GET", self._launcher + path, params={"shop": self._shop_key, **parameters})
        if not isinstance(answer, HttpResponse):
            return replace(answer, reason=LAUNCHER_SETTINGS.named(answer.reason).also(destination=THE_LAUNCHER))
        answer = replace(answer, destination=THE_LAUNCHER)
        if answer.status == 404:
            return Reject(_launcher_not_found(answer), answer.evidence())
        if 400 <= answer.status < 500 and (text := error_message(answer)) and answer.status not in (408, 425, 429):
            facts = {"request": request, "response": answer.quote(text)}
            return Reject(answer.reason(ReasonCode.REJECTED_BY_DESTINATION, **facts), answer.evidence())
        response = read_response(answer, self.fields, request=request)
        if isinstance(response, Blocked):
            return replace(response, reason=LAUNCHER_SETTINGS.named(response.reason))
        return response.reject() if isinstance(response, Rejected) else response


def _objects(rows: ExactJson) -> tuple[JsonObject, ...]:
    return tuple(item for item in rows if isinstance(item, dict)) if isinstance(rows, list) else ()


def _lost_page(request: str) -> Unknown:
    """The failure when the Platform does not find a page that it named itself."""
    problem = "the Platform does not find the next page that it named"
    return Unknown(because(ReasonCode.RESPONSE_UNREADABLE, destination=THE_PLATFORM, request=request, problem=problem))


def _launcher_not_found(answer: HttpResponse) -> Reason:
    """The Launcher answers 404 with its code for an unknown shop key. Every other 404 comes from another server or path."""
    if error_message(answer) in UNKNOWN_STORE:
        problem = "the Platform's Launcher knows no store with this key"
        return answer.reason(ReasonCode.SETTING_WRONG, setting="PLATFORM__SHOP_KEY", problem=problem)
    hint = "If it is right, check PLATFORM__SHOP_KEY"
    response = answer.quote(error_message(answer))
    return answer.reason(ReasonCode.WRONG_ADDRESS, setting=LAUNCHER_SETTINGS.address, response=response, hint=hint)


def launcher_digest(shop_key: str, email: str, customer_id: str, api_key: str) -> str:
    """The hex HMAC-SHA256, keyed with the API key, of shop key + e-mail address in lower case + customer id."""
    return hmac.new(api_key.encode(), f"{shop_key}{email.lower()}{customer_id}".encode(), hashlib.sha256).hexdigest()
