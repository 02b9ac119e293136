"""Magento Open Source and Adobe Commerce 2.4, REST (https://developer.adobe.com/commerce/webapi/rest/).

Observed on Magento Open Source 2.4.7-p3 unless said otherwise. A coupon is two things made by two calls: a cart price
rule (`salesRules`) and the code on it (`coupons`). Rule names are not unique, so the rule's name carries our code: after
a crash between the calls the rule is found by its name and the second call finishes the coupon. What an answer means:

    200 with the rule or coupon        goes on, or Done, when it is what was ordered; else the rule is deleted: Reject
    200, anything else                 Unknown
    400 "… already exists."            the code is looked up and compared: Done or Reject, and our rule is deleted
    400 other                          Reject with Magento's words, their parameters filled in; our rule is deleted
    401 "The consumer isn't …"         the admin token has expired: log in once, one login at a time, and repeat;
                                       again: Blocked, a permission is missing
    401 other, 403                     Blocked (a firewall, or a store behind a password)
    404 "No such entity …"             gone: Done for a deletion
    404 other, 3xx                     Blocked: the address is wrong
    408, 425, 429                      Retry
    5xx                                Unknown for a creation (it may have been applied), else Retry

Accepted by Magento without a word, and therefore compared: 150 %, unknown actions, rules without websites. It answers
500 to a malformed date, which is why dates are never anything but days here.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, FilePath, HttpUrl, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Blocked, Done, Outcome, Reject, Retry
from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.messages import Kind
from platform_relay.settings import EnvironmentSettings, refuse_placeholder
from platform_relay.stores.base import (
    CouponFound,
    CouponKind,
    CouponSpec,
    Difference,
    Ready,
    as_made,
    judge,
    no_such_items,
    not_as_ordered,
    not_supported,
    other_currency,
    refusal,
    undone,
)
from platform_relay.stores.failing import CallFailed, answers_failures
from platform_relay.stores.magento import events as events
from platform_relay.stores.magento.api import RESPONSES, MagentoApi, criteria, failure, gone, succeeded, taken
from platform_relay.stores.magento.rules import (
    Market,
    aligned,
    coupon_body,
    coupon_found,
    inexpressible,
    rule_body,
    rule_name,
    sku_values,
    unlike,
)
from platform_relay.stores.native import NativeEvent, Page
from platform_relay.stores.reading import Row, rows
from platform_relay.stores.remembered import Remembered

CREATION: Final = "the creation of the coupon"
LOOK_UP: Final = "the coupon look-up"
CONFIGURATION: Final = "the store's configuration"


class MagentoSettings(EnvironmentSettings):
    """`MAGENTO__URL` and so on."""

    model_config = SettingsConfigDict(env_prefix="MAGENTO__")

    url: HttpUrl = Field(
        description="The store's base address, e.g. `https://shop.example`; `/rest/V1` is added to it."
    )
    integration_token: SecretStr | None = Field(
        None, description="Access token of an integration (System → Integrations); instead of a user name and password."
    )
    username: str | None = Field(None, description="Admin user made for the relay; needs MAGENTO__PASSWORD too.")
    password: SecretStr | None = Field(None, description="Password of that admin user.")
    website_ids: list[int] = Field([1], min_length=1, description="Websites that coupons are valid on, a JSON list.")
    customer_group_ids: list[int] = Field(
        [0, 1, 2, 3], min_length=1, description="Customer groups that may use coupons, a JSON list; 0 are the guests."
    )
    one_customer: Literal["refuse", "issue_unrestricted"] = Field(
        "refuse", description="A coupon for one customer, which Magento cannot make: `refuse` or `issue_unrestricted`."
    )
    ca_file: FilePath | None = Field(
        None, description="PEM file of the certificate authority, for a store with a certificate of its own making."
    )

    _no_placeholder = field_validator("integration_token", "password")(refuse_placeholder)

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if not self.integration_token and not (self.username and self.password):
            raise ValueError("needs MAGENTO__INTEGRATION_TOKEN, or MAGENTO__USERNAME and MAGENTO__PASSWORD")
        return self


class Magento:
    """The store's coupons over REST, and its customers, orders and products by their lists."""

    Settings: ClassVar[type[EnvironmentSettings]] = MagentoSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(CouponKind) - {CouponKind.GIFT_CARD}
    CANNOT: ClassVar[Mapping[str, str]] = {
        "email": "Magento cannot restrict a coupon to one customer, only to a customer group",
        "customer_id": "Magento cannot restrict a coupon to one customer, only to a customer group",
        "starts_at": "Magento's rules begin with a day, not at a time",
    }

    def __init__(self, settings: MagentoSettings, clients: HttpClients) -> None:
        secret = settings.password.get_secret_value() if settings.password else ""
        token = settings.integration_token.get_secret_value() if settings.integration_token else None
        login = None if token or not settings.username else (settings.username, secret)
        self._host = settings.url.host or ""
        self._settings = settings
        self._http = clients.make(
            settings.url,
            ca_file=settings.ca_file,
            body_cap=8 << 20,
            secrets=(secret, token or "", settings.username or ""),
        )
        self._api = MagentoApi(str(settings.url), self._http, login=login, token=token)
        self._market = Remembered(self._shop_market)

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(MagentoSettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @answers_failures
    async def issue_coupon(self, order: CouponSpec) -> Outcome:
        """See `base.StoreAdapter`."""
        if self._settings.one_customer == "issue_unrestricted":
            order = replace(order, email=None, customer_id=None)
        if refused := refusal(order, Magento, datetime.now(UTC)) or inexpressible(order):
            return refused
        market = await self._market.get()
        if refused := other_currency(order, [market.currency]):
            return refused
        products = await self._ordered_products(order)
        rule: Row | None = None
        if not order.first_try:
            if held := await self._held(order, market):
                return held
            rule = await self._left_over(order, market, products)
        rule = rule or await self._create_rule(order, market, products)
        return await self._put_code(order, market, rule)

    @answers_failures
    async def find_coupon(self, code: str) -> CouponFound | Outcome | None:
        """See `base.StoreAdapter`. Magento finds a code in any spelling of upper and lower case."""
        return await self._found(code)

    @answers_failures
    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`. Deletes our rules and with them the code; of a rule not made by us the code only."""
        row = await self._coupon_row(code)
        rules = await self._rules_of(code)
        paths = [f"salesRules/{rule.get('rule_id')}" for rule in rules]
        if row and row.get("rule_id") not in [rule.get("rule_id") for rule in rules]:
            paths.append(f"coupons/{row.get('coupon_id')}")
        for path in paths:
            await self._delete(path)
        return Done()

    @answers_failures
    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. Reading and writing of coupons is one permission in Magento."""
        self._market.forget()
        market = await self._market.get()
        for path in ("salesRules/search", "coupons/search"):
            await self._api.search(path, LOOK_UP, criteria(size=1))
        refused = [kind for kind in Kind if isinstance(await events.probe(self._api, kind), Blocked)]
        lists = f"may not read {', '.join(refused)} (docs/stores/magento.md)" if refused else "may read all lists"
        zone = f"the currency is {market.currency}, the time zone {market.zone.key}"
        return Ready(f"Magento at {self._host}: the account may write coupons and {lists}; {zone}")

    @answers_failures
    async def list_entities(self, kind: Kind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        """See `native.ListsEntities`. The oldest change first; products that are variants of others are left out."""
        return await events.page(self._api, kind, since, cursor, (await self._market.get()).media_url)

    @answers_failures
    async def fetch(self, kind: Kind, entity_id: str) -> NativeEvent | Outcome | None:
        """See `native.FetchesEntities`."""
        return await events.one(self._api, kind, entity_id, (await self._market.get()).media_url)

    async def _found(self, code: str) -> CouponFound | None:
        row = await self._coupon_row(code)
        if row is None:
            return None
        rule = await self._api.read(f"salesRules/{row.get('rule_id')}", LOOK_UP)
        if not isinstance(rule, dict):
            raise CallFailed(Retry(RESPONSES.reason(ReasonCode.COUPON_NOT_VISIBLE, code=code)))
        market = await self._market.get()
        products = await self._products("sku", sku_values(rule) or ())
        found = coupon_found(rule, row, market, products, datetime.now(UTC))
        if found is None:
            raise RESPONSES.unreadable(LOOK_UP, "it has no rule and coupon")
        return found

    @answers_failures
    async def _held(self, order: CouponSpec, market: Market) -> Outcome | None:
        found = await self._found(order.code)
        return judge(order, aligned(order, found, market.zone)) if found else None

    async def _left_over(self, order: CouponSpec, market: Market, products: dict[str, str]) -> Row | None:
        """The rule that an earlier attempt made and put no code on; surplus ones and others than ordered are deleted."""
        rules = await self._rules_of(order.code)
        kept = next((rule for rule in rules if not _unlike(order, rule, market, products)), None)
        for rule in rules:
            if rule is not kept:
                await answers_failures(self._delete_rule)(str(rule.get("rule_id")))  # without a code it does no harm
        return kept

    async def _create_rule(self, order: CouponSpec, market: Market, products: dict[str, str]) -> Row:
        answer = await self._api.call("POST", "salesRules", body={"rule": rule_body(order, market, tuple(products))})
        succeeded(answer, CREATION, wrote=True)
        rule = RESPONSES.document(answer, CREATION)
        if not isinstance(rule, dict) or not isinstance(rule.get("rule_id"), int):
            raise RESPONSES.unreadable(CREATION, "it has no rule", answer)
        if different := _unlike(order, rule, market, products):
            raise CallFailed(await undone(not_as_ordered(order, different), self._delete_rule, str(rule["rule_id"])))
        return rule

    async def _put_code(self, order: CouponSpec, market: Market, rule: Row) -> Outcome:
        """When the result is not known the rule stays: the next attempt finds it by its name."""
        answer = await self._api.call("POST", "coupons", body={"coupon": coupon_body(order, int(str(rule["rule_id"])))})
        refused = failure(answer, CREATION, wrote=True)
        if isinstance(refused, Reject) and taken(answer):
            return await self._code_taken(order, market, rule)
        if isinstance(refused, Reject):
            return await undone(refused, self._delete_rule, str(rule["rule_id"]))
        if refused:
            return refused
        made = RESPONSES.document(answer, CREATION)
        ids = dict(zip(sku_values(rule) or (), order.items, strict=False))
        found = coupon_found(rule, made, market, ids, datetime.now(UTC)) if isinstance(made, dict) else None
        if found is None or not isinstance(made, dict) or made.get("rule_id") != rule["rule_id"]:
            raise RESPONSES.unreadable(CREATION, "it has no coupon", answer)
        return await as_made(order, aligned(order, found, market.zone), self._delete_rule)

    async def _code_taken(self, order: CouponSpec, market: Market, rule: Row) -> Outcome:
        """The code exists: on this rule (an earlier call arrived after all), or on another."""
        held = await self._held(order, market)
        if isinstance(held, Reject) or (isinstance(held, Done) and held.result["store_id"] != str(rule["rule_id"])):
            await answers_failures(self._delete_rule)(str(rule["rule_id"]))
        return held or Retry(RESPONSES.reason(ReasonCode.COUPON_NOT_VISIBLE, code=order.code))

    async def _delete_rule(self, rule_id: str) -> Done:
        return await self._delete(f"salesRules/{rule_id}")

    async def _delete(self, path: str) -> Done:
        answer = await self._api.call("DELETE", path)
        if not gone(answer):
            succeeded(answer, "the deletion of the coupon", wrote=True)
        return Done()

    async def _coupon_row(self, code: str) -> Row | None:
        rows = await self._api.search("coupons/search", LOOK_UP, criteria(("code", "eq", code), size=10))
        return next((row for row in rows if str(row.get("code")).casefold() == code.casefold()), None)

    async def _rules_of(self, code: str) -> list[Row]:
        name = rule_name(code)
        rules = await self._api.search("salesRules/search", LOOK_UP, criteria(("name", "eq", name), size=20))
        return [rule for rule in rules if rule.get("name") == name]

    async def _ordered_products(self, order: CouponSpec) -> dict[str, str]:
        """The ordered products' or variants' ids by SKU, which is what Magento's rules know both by."""
        products = await self._products("entity_id", order.items)
        if missing := set(order.items) - set(products.values()):
            raise CallFailed(no_such_items(order, missing))
        if len(products) > 1 and any("," in sku for sku in products):
            field = "variant_ids" if order.variant_ids else "product_ids"
            problem = "Magento cannot name several products when a SKU contains a comma"
            raise CallFailed(not_supported(order, field, problem))
        return products

    async def _products(self, field: str, values: tuple[str, ...]) -> dict[str, str]:
        if not values:
            return {}
        condition = "in" if len(values) > 1 else "eq"
        query = criteria((field, condition, ",".join(values)), size=len(values)) | {
            "fields": "items[id,sku],total_count"
        }
        rows = await self._api.search("products", "the product look-up", query)
        return {str(row.get("sku")): str(row.get("id")) for row in rows}

    async def _shop_market(self) -> Market:
        stores = rows(await self._api.read("store/storeConfigs", CONFIGURATION))
        ours = [row for row in stores if row.get("website_id") in self._settings.website_ids]
        if not stores:
            raise RESPONSES.unreadable(CONFIGURATION, "it has no stores")
        if not ours:
            shown = ", ".join(sorted({str(row.get("website_id")) for row in stores}))
            facts = {
                "setting": "MAGENTO__WEBSITE_IDS",
                "problem": f"it names no website of the store, which has: {shown}",
            }
            raise CallFailed(Blocked(RESPONSES.reason(ReasonCode.SETTING_WRONG, **facts)))
        try:
            zone = ZoneInfo(str(ours[0].get("timezone") or "UTC"))
        except (KeyError, ValueError):
            problem = f"its time zone {ours[0].get('timezone')!r} is not known to the relay; install tzdata"
            raise CallFailed(Blocked(RESPONSES.reason(ReasonCode.STORE_NOT_READY, problem=problem))) from None
        return Market(
            currency=str(ours[0].get("base_currency_code")), zone=zone,
            media_url=str(ours[0].get("secure_base_media_url") or ours[0].get("base_media_url") or ""),
            website_ids=tuple(self._settings.website_ids), customer_group_ids=tuple(self._settings.customer_group_ids),
            unrestricted=self._settings.one_customer == "issue_unrestricted",
        )  # fmt: skip


def _unlike(order: CouponSpec, rule: Row, market: Market, products: Mapping[str, str]) -> tuple[Difference, ...]:
    """Where a rule is not what the order needs, its code apart."""
    uses: Row = {
        "code": order.code, "usage_limit": rule.get("uses_per_coupon"), "usage_per_customer": rule.get("uses_per_customer"),
    }  # fmt: skip
    found = coupon_found(rule, uses, market, products, datetime.now(UTC))
    return unlike(order, found, market.zone) if found else (Difference("kind", None, order.kind),)
