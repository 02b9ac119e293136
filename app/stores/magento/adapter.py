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
    401 other, 403                     Blocked (a firewall, or a shop behind a password)
    404 "No such entity …"             gone: Done for a deletion
    404 other, 3xx                     Blocked: the address is wrong
    408, 425, 429                      Retry
    5xx                                Unknown for a creation (it may have been applied), else Retry

Accepted by Magento without a word, and therefore compared: 150 %, unknown actions, rules without websites. It answers
500 to a malformed date, which is why dates are never anything but days here.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, FilePath, HttpUrl, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from app.http import Answer, Failure, HttpClients
from app.messages import Kind
from app.outcomes import Blocked, Done, Outcome, Reject, Retry, Unknown
from app.settings import EnvironmentSettings, refuse_placeholder
from app.stores.base import CouponFound, CouponKind, CouponOrder, Ready, judge, refusal
from app.stores.magento import events as events
from app.stores.magento.api import MagentoApi, Row, criteria, failure, gone
from app.stores.magento.rules import (
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
from app.stores.native import NativeEvent, Page

MARKET_SECONDS: Final = 600.0
"""How long the shop's currency and time zone are believed before they are asked for again."""


class MagentoSettings(EnvironmentSettings):
    """`MAGENTO__URL` and so on."""

    model_config = SettingsConfigDict(env_prefix="MAGENTO__")

    url: HttpUrl = Field(description="The shop's base address, e.g. `https://shop.example`; `/rest/V1` is added to it.")
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
        "refuse", description="A coupon for one shopper, which Magento cannot make: `refuse` or `issue_unrestricted`."
    )
    ca_file: FilePath | None = Field(
        None, description="PEM file of the certificate authority, for a shop with a certificate of its own making."
    )

    _no_placeholder = field_validator("integration_token", "password")(refuse_placeholder)

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if not self.integration_token and not (self.username and self.password):
            raise ValueError("needs MAGENTO__INTEGRATION_TOKEN, or MAGENTO__USERNAME and MAGENTO__PASSWORD")
        return self


class Magento:
    """The shop's coupons over REST, and its customers, orders and products by their lists."""

    Settings: ClassVar[type[EnvironmentSettings]] = MagentoSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(CouponKind) - {CouponKind.GIFT_CARD}
    CANNOT: ClassVar[Mapping[str, str]] = {
        "email": "Magento cannot restrict a coupon to one shopper, only to a customer group",
        "customer_id": "Magento cannot restrict a coupon to one shopper, only to a customer group",
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
        self._known: Market | None = None
        self._known_until = 0.0

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(MagentoSettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def issue_coupon(self, order: CouponOrder) -> Outcome:
        """See `base.StoreAdapter`."""
        if self._settings.one_customer == "issue_unrestricted":
            order = replace(order, email=None, customer_id=None)
        if refused := refusal(order, Magento, datetime.now(UTC)) or inexpressible(order):
            return refused
        market = await self._market()
        if not isinstance(market, Market):
            return market
        if order.kind is CouponKind.FIXED_AMOUNT and order.currency and order.currency != market.currency:
            return Reject(f"coupon {order.code} is ordered in {order.currency}, the shop sells in {market.currency}")
        products = await self._ordered_products(order)
        if not isinstance(products, dict):
            return products
        rule: Row | Failure | None = None
        if not order.first_try:
            if held := await self._held(order, market):
                return held
            rule = await self._left_over(order, market, products)
        rule = rule or await self._create_rule(order, market, products)
        return await self._put_code(order, market, rule) if isinstance(rule, dict) else rule

    async def find_coupon(self, code: str) -> CouponFound | Outcome | None:
        """See `base.StoreAdapter`. Magento finds a code in any spelling of upper and lower case."""
        row = await self._coupon_row(code)
        if not isinstance(row, dict):
            return row
        rule = await self._api.read(f"salesRules/{row.get('rule_id')}")
        if not isinstance(rule, dict):
            return rule if isinstance(rule, Failure) else Retry(f"Magento shows the coupon {code} without its rule")
        market = await self._market()
        if not isinstance(market, Market):
            return market
        products = await self._products("sku", sku_values(rule) or ())
        if not isinstance(products, dict):
            return products
        found = coupon_found(rule, row, market, products, datetime.now(UTC))
        return found or Unknown("Magento answered the look-up with no rule and coupon")

    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`. Deletes our rules and with them the code; of a rule not made by us the code only."""
        row = await self._coupon_row(code)
        if isinstance(row, Failure):
            return row
        rules = await self._rules_of(code)
        if isinstance(rules, Failure):
            return rules
        paths = [f"salesRules/{rule.get('rule_id')}" for rule in rules]
        if row and row.get("rule_id") not in [rule.get("rule_id") for rule in rules]:
            paths.append(f"coupons/{row.get('coupon_id')}")
        for path in paths:
            removed = await self._delete(path)
            if not isinstance(removed, Done):
                return removed
        return Done()

    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. Reading and writing of coupons is one permission in Magento."""
        self._known_until = 0.0
        market = await self._market()
        if not isinstance(market, Market):
            return market
        for path in ("salesRules/search", "coupons/search"):
            rows = await self._api.search(path, criteria(size=1))
            if isinstance(rows, Failure):
                return rows
        refused = [kind for kind in Kind if isinstance(await events.probe(self._api, kind), Blocked)]
        lists = f"may not read {', '.join(refused)} (docs/shops/magento.md)" if refused else "may read all lists"
        zone = f"the currency is {market.currency}, the time zone {market.zone.key}"
        return Ready(f"Magento at {self._host}: the account may write coupons and {lists}; {zone}")

    async def list_entities(self, kind: Kind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        """See `native.ListsEntities`. The oldest change first; products that are variants of others are left out."""
        market = await self._market()
        if not isinstance(market, Market):
            return market
        return await events.page(self._api, kind, since, cursor, market.media_url)

    async def fetch(self, kind: Kind, entity_id: str) -> NativeEvent | Outcome | None:
        """See `native.FetchesEntities`."""
        market = await self._market()
        return await events.one(self._api, kind, entity_id, market.media_url) if isinstance(market, Market) else market

    async def _held(self, order: CouponOrder, market: Market) -> Outcome | None:
        found = await self.find_coupon(order.code)
        return judge(order, aligned(order, found, market.zone)) if isinstance(found, CouponFound) else found

    async def _left_over(self, order: CouponOrder, market: Market, products: dict[str, str]) -> Row | Failure | None:
        """The rule that an earlier attempt made and put no code on; surplus ones and others than ordered are deleted."""
        rules = await self._rules_of(order.code)
        if isinstance(rules, Failure):
            return rules
        kept = next((rule for rule in rules if not _unlike(order, rule, market, products)), None)
        for rule in rules:
            if rule is not kept:
                await self._delete(f"salesRules/{rule.get('rule_id')}")  # without a code it does no harm either
        return kept

    async def _create_rule(self, order: CouponOrder, market: Market, products: dict[str, str]) -> Row | Failure:
        rule = await self._post("salesRules", {"rule": rule_body(order, market, tuple(products))})
        if not isinstance(rule, dict):
            return rule
        if not isinstance(rule.get("rule_id"), int):
            return Unknown("Magento answered the creation without the rule")
        if told := _unlike(order, rule, market, products):
            return await self._remove(rule, f"the shop made another rule for {order.code}: {'; '.join(told)}")
        return rule

    async def _put_code(self, order: CouponOrder, market: Market, rule: Row) -> Outcome:
        made = await self._post("coupons", {"coupon": coupon_body(order, int(str(rule["rule_id"])))})
        if isinstance(made, Reject):
            return await self._code_refused(order, market, rule, made)
        if not isinstance(made, dict):
            return made  # the rule stays: the next attempt finds it by its name
        skus = sku_values(rule) or ()
        found = coupon_found(rule, made, market, dict(zip(skus, order.items, strict=False)), datetime.now(UTC))
        if found is None or made.get("rule_id") != rule["rule_id"]:
            return Unknown("Magento answered the creation without the coupon")
        if told := unlike(order, found, market.zone):
            return await self._remove(rule, f"the shop made another coupon than {order.code}: {'; '.join(told)}")
        return Done({"store_id": found.store_id})

    async def _code_refused(self, order: CouponOrder, market: Market, rule: Row, refused: Reject) -> Outcome:
        """The code may exist already: on this rule (an earlier call arrived after all), or on another."""
        if "already exists" not in refused.why:
            return await self._remove(rule, refused.why)
        held = await self._held(order, market)
        if isinstance(held, Reject) or (isinstance(held, Done) and held.result["store_id"] != str(rule["rule_id"])):
            await self._delete(f"salesRules/{rule['rule_id']}")
        return held or Retry(f"the shop says that the code {order.code} exists, and does not show it")

    async def _remove(self, rule: Row, why: str) -> Reject:
        removed = await self._delete(f"salesRules/{rule.get('rule_id')}")
        end = "was deleted again" if isinstance(removed, Done) else "is still there: delete it"
        return Reject(f"{why}. The rule {rule.get('rule_id')} {end}")

    async def _post(self, path: str, body: Row) -> Row | Failure:
        answer = await self._api.call("POST", path, body=body)
        if not isinstance(answer, Answer):
            return answer
        made = failure(answer, "POST") or answer.json()
        if isinstance(made, dict | Failure):
            return made
        return Unknown(f"Magento answered the creation ({path}) without what it made", answer.evidence())

    async def _delete(self, path: str) -> Outcome:
        answer = await self._api.call("DELETE", path)
        if not isinstance(answer, Answer):
            return answer
        return Done() if gone(answer) else failure(answer, "DELETE") or Done()

    async def _coupon_row(self, code: str) -> Row | Failure | None:
        rows = await self._api.search("coupons/search", criteria(("code", "eq", code), size=10))
        if isinstance(rows, Failure):
            return rows
        return next((row for row in rows if str(row.get("code")).casefold() == code.casefold()), None)

    async def _rules_of(self, code: str) -> list[Row] | Failure:
        rules = await self._api.search("salesRules/search", criteria(("name", "eq", rule_name(code)), size=20))
        return rules if isinstance(rules, Failure) else [each for each in rules if each.get("name") == rule_name(code)]

    async def _ordered_products(self, order: CouponOrder) -> dict[str, str] | Failure:
        """The ordered products' or variants' ids by SKU, which is what Magento's rules know both by."""
        products = await self._products("entity_id", order.items)
        if not isinstance(products, dict):
            return products
        if missing := set(order.items) - set(products.values()):
            return Reject(f"coupon {order.code}: the shop has no products of the ids {', '.join(sorted(missing))}")
        if len(products) > 1 and any("," in sku for sku in products):
            return Reject(f"coupon {order.code}: Magento cannot name several products when a SKU holds a comma")
        return products

    async def _products(self, field: str, values: tuple[str, ...]) -> dict[str, str] | Failure:
        if not values:
            return {}
        condition = "in" if len(values) > 1 else "eq"
        query = criteria((field, condition, ",".join(values)), size=len(values)) | {
            "fields": "items[id,sku],total_count"
        }
        rows = await self._api.search("products", query)
        return rows if isinstance(rows, Failure) else {str(row.get("sku")): str(row.get("id")) for row in rows}

    async def _market(self) -> Market | Failure:
        if self._known and time.monotonic() < self._known_until:
            return self._known
        stores = await self._api.read("store/storeConfigs")
        if isinstance(stores, Failure):
            return stores
        rows = [row for row in stores if isinstance(row, dict)] if isinstance(stores, list) else []
        ours = [row for row in rows if row.get("website_id") in self._settings.website_ids]
        if not ours:
            shown = ", ".join(sorted({str(row.get("website_id")) for row in rows})) or "none"
            return (
                Blocked(f"MAGENTO__WEBSITE_IDS names no website of the shop; it has: {shown}")
                if rows
                else Unknown("Magento did not tell its configuration (store/storeConfigs)")
            )
        try:
            zone = ZoneInfo(str(ours[0].get("timezone") or "UTC"))
        except (KeyError, ValueError):
            return Blocked(f"the shop's time zone {ours[0].get('timezone')!r} is not known here; install tzdata")
        self._known = Market(
            currency=str(ours[0].get("base_currency_code")), zone=zone,
            media_url=str(ours[0].get("secure_base_media_url") or ours[0].get("base_media_url") or ""),
            website_ids=tuple(self._settings.website_ids), customer_group_ids=tuple(self._settings.customer_group_ids),
            unrestricted=self._settings.one_customer == "issue_unrestricted",
        )  # fmt: skip
        self._known_until = time.monotonic() + MARKET_SECONDS
        return self._known


def _unlike(order: CouponOrder, rule: Row, market: Market, products: Mapping[str, str]) -> tuple[str, ...]:
    """Where a rule is not what the order needs, its code apart."""
    uses: Row = {
        "code": order.code, "usage_limit": rule.get("uses_per_coupon"), "usage_per_customer": rule.get("uses_per_customer"),
    }  # fmt: skip
    found = coupon_found(rule, uses, market, products, datetime.now(UTC))
    return unlike(order, found, market.zone) if found else ("it is unreadable",)
