"""Magento Open Source and Adobe Commerce 2.4, REST (https://developer.adobe.com/commerce/webapi/rest/).

Observed on Magento Open Source 2.4.7-p3 unless noted otherwise. A coupon consists of two objects from two calls: a cart price
rule (`salesRules`) and the code on it (`coupons`). Names of rules are not unique, so the relay's rule has a name with the code:
after a crash between the calls, the rule is found by its name, and the second call completes the coupon. Responses:

    200 with the rule or coupon        next call, or Done, if it fits the spec; otherwise the rule is deleted, Reject
    200, anything else                 Unknown
    400 "… already exists."            the code is looked up and compared: Done or Reject; the relay's rule is deleted
    400 other                          Reject with the error text, its parameters filled in; the relay's rule is deleted
    401 "The consumer isn't …"         the admin token has expired: log in once (one login at a time) and repeat the call;
                                       a second time: Blocked, a permission is missing
    401 other, 403                     Blocked (a firewall, or a store behind a password)
    404 "No such entity …"             no such entity: Done for a deletion
    404 other, 3xx                     Blocked: the address is wrong
    408, 425, 429                      Retry
    5xx                                Unknown for a creation (it may have been applied), Retry otherwise

Magento accepts 150 %, unknown actions and rules without websites, so these are compared. It returns 500 for a malformed date;
therefore the adapter only sends days.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar, Final, Self
from zoneinfo import ZoneInfo

from pydantic import Field, HttpUrl, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from platform_relay.core.environment_settings import EnvironmentSettings
from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Blocked, Done, Outcome, Reject, Retry
from platform_relay.core.plain_numbers import integer
from platform_relay.core.reasons import ReasonCode
from platform_relay.core.setting_values import refuse_placeholder
from platform_relay.inbox.events import EventKind
from platform_relay.stores.base import (
    CouponKind,
    CouponSpec,
    Difference,
    Ready,
    StoreCoupon,
    check_currency,
    check_spec,
    compare_existing,
    confirm_created,
    created_differently,
    differences,
    items_not_found,
    not_supported,
    reject_and_delete,
    with_cleanup,
)
from platform_relay.stores.cached import Cached
from platform_relay.stores.failures import CallFailed, returns_failures
from platform_relay.stores.magento import events as events
from platform_relay.stores.magento.api import (
    RESPONSES,
    MagentoApi,
    criteria,
    failure,
    is_duplicate,
    is_not_found,
    raise_for_status,
)
from platform_relay.stores.magento.rules import (
    Market,
    align_expiry,
    ambiguous_currency,
    coupon_body,
    parse_coupon,
    rule_body,
    rule_name,
    sku_values,
    unsupported,
)
from platform_relay.stores.native import Page, ParsedEntity
from platform_relay.stores.parsing import Row, objects, value_at
from platform_relay.stores.responses import BODY_CAP
from platform_relay.stores.settings import CaFile, OneCustomer

CREATION: Final = "the creation of the coupon"
LOOKUP: Final = "the coupon lookup"
CONFIGURATION: Final = "the store's configuration"


class MagentoSettings(EnvironmentSettings):
    """The variables `MAGENTO__…`."""

    model_config = SettingsConfigDict(env_prefix="MAGENTO__")

    url: HttpUrl = Field(
        description="The store's base URL, e.g. `https://shop.example`. The relay adds `/rest/V1` to it."
    )
    integration_token: SecretStr | None = Field(
        None, description="Access token of an integration (System → Integrations), instead of a user name and password."
    )
    username: str | None = Field(None, description="Name of an admin user for the relay. Also set MAGENTO__PASSWORD.")
    password: SecretStr | None = Field(None, description="Password of the admin user.")
    website_ids: list[int] = Field(
        [1], min_length=1, description="Ids of the websites on which coupons are valid, as a JSON list."
    )
    customer_group_ids: list[int] = Field(
        [0, 1, 2, 3],
        min_length=1,
        description="Ids of the customer groups that may use coupons, as a JSON list. 0: guests.",
    )
    one_customer: OneCustomer = "refuse"
    ca_file: CaFile = None

    _no_placeholder = field_validator("integration_token", "password")(refuse_placeholder)

    @model_validator(mode="after")
    def _has_credentials(self) -> Self:
        if not self.integration_token and not (self.username and self.password):
            raise ValueError("needs MAGENTO__INTEGRATION_TOKEN, or MAGENTO__USERNAME and MAGENTO__PASSWORD")
        return self


class Magento:
    """Coupons of a Magento store, and native events from its lists."""

    Settings: ClassVar[type[EnvironmentSettings]] = MagentoSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(CouponKind) - {CouponKind.GIFT_CARD}
    CANNOT: ClassVar[Mapping[str, str]] = {
        "email": "Magento cannot restrict a coupon to one customer, only to a customer group",
        "customer_id": "Magento cannot restrict a coupon to one customer, only to a customer group",
        "starts_at": "Magento's rules start on a day, not at a time",
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
            body_cap=BODY_CAP,
            secrets=(secret, token or "", settings.username or ""),
        )
        self._api = MagentoApi(str(settings.url), self._http, login=login, token=token)
        self._market = Cached(self._read_market)

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(MagentoSettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @returns_failures
    async def issue_coupon(self, spec: CouponSpec) -> Outcome:
        """See `base.StoreAdapter`."""
        if self._settings.one_customer == "issue_unrestricted":
            spec = replace(spec, email=None, customer_id=None)
        if rejection := check_spec(spec, Magento, datetime.now(UTC)):
            return rejection
        outcome = await self._issue(spec)
        return await self._remove_remainder(spec, outcome) if isinstance(outcome, Reject) else outcome

    @returns_failures
    async def _issue(self, spec: CouponSpec) -> Outcome:
        if rejection := unsupported(spec):
            return rejection
        market = await self._market.get()
        if rejection := check_currency(spec, market.currencies) or ambiguous_currency(spec, market):
            return rejection
        products = await self._requested_products(spec)
        rule: Row | None = None
        if not spec.first_try:
            if existing := await self._find_existing(spec, market):
                rules = await returns_failures(self._rules_of)(spec.code) if isinstance(existing, Done) else []
                if isinstance(existing, Done) and isinstance(rules, list):
                    await self._delete_rules(rules, kept=str(existing.result["store_id"]))
                return existing
            rule = await self._rule_without_code(spec, market, products)
        rule = rule or await self._create_rule(spec, market, products)
        return await self._add_code(spec, market, rule)

    @returns_failures
    async def find_coupon(self, code: str) -> StoreCoupon | Outcome | None:
        """See `base.StoreAdapter`. Magento ignores the case of a code."""
        return await self._find(code)

    @returns_failures
    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`. Deletes the relay's rules with the code. Of a rule of the merchant, only the code is deleted."""
        row = await self._coupon_row(code)
        rules = await self._rules_of(code)
        paths = [f"salesRules/{rule.get('rule_id')}" for rule in rules]
        if row and row.get("rule_id") not in [rule.get("rule_id") for rule in rules]:
            paths.append(f"coupons/{row.get('coupon_id')}")
        for path in paths:
            await self._delete(path)
        return Done()

    @returns_failures
    async def remove_remainder(self, code: str) -> Outcome:
        """See `base.RemovesRemainders`. Deletes the relay's rules without the code."""
        row, rules = await self._coupon_row(code), await self._rules_of(code)
        failed = await self._delete_rules(rules, kept=str(row.get("rule_id")) if row else None)
        return failed[0] if failed else Done()

    @returns_failures
    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. In Magento, one permission allows both reading and writing of coupons."""
        self._market.clear()
        market = await self._market.get()
        for path in ("salesRules/search", "coupons/search"):
            await self._api.search(path, LOOKUP, criteria(size=1))
        denied = [kind for kind in EventKind if isinstance(await events.read_one_row(self._api, kind), Blocked)]
        lists = f"may not read {', '.join(denied)} (see docs/stores/magento.md)" if denied else "may read all lists"
        zone = f"the currency is {', '.join(sorted(market.currencies))}, the time zone {market.zone.key}"
        return Ready(f"Magento at {self._host}: the account may write coupons and {lists}; {zone}", market.currencies)

    @returns_failures
    async def list_entities(self, kind: EventKind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        """See `native.ListsEntities`. The oldest change comes first. Products that are only variants are left out."""
        return await events.list_entities(self._api, kind, since, cursor, (await self._market.get()).media_url)

    @returns_failures
    async def count(self, kind: EventKind, since: datetime | None = None) -> int | None:
        """See `native.CountsEntities`."""
        return await events.count(self._api, kind, since)

    @returns_failures
    async def fetch(self, kind: EventKind, entity_id: str) -> ParsedEntity | Outcome | None:
        """See `native.FetchesEntities`."""
        return await events.fetch_entity(self._api, kind, entity_id, (await self._market.get()).media_url)

    async def _find(self, code: str) -> StoreCoupon | None:
        row = await self._coupon_row(code)
        if row is None:
            return None
        rule = await self._api.read(f"salesRules/{row.get('rule_id')}", LOOKUP)
        if not isinstance(rule, dict):
            raise CallFailed(Retry(RESPONSES.reason(ReasonCode.COUPON_NOT_VISIBLE, code=code)))
        market = await self._market.get()
        products = await self._products("sku", sku_values(rule) or ())
        coupon = parse_coupon(rule, row, market, products, datetime.now(UTC))
        if coupon is None:
            raise RESPONSES.unreadable(LOOKUP, "it does not contain a rule and a coupon")
        return coupon

    @returns_failures
    async def _find_existing(self, spec: CouponSpec, market: Market) -> Outcome | None:
        coupon = await self._find(spec.code)
        return compare_existing(spec, align_expiry(spec, coupon, market.zone)) if coupon else None

    async def _remove_remainder(self, spec: CouponSpec, rejection: Reject) -> Reject:
        """The rejection, after the deletion of the rules that earlier attempts created, and that have no code."""
        if spec.first_try:
            return rejection
        row = await returns_failures(self._coupon_row)(spec.code)
        rules = await returns_failures(self._rules_of)(spec.code)
        if not isinstance(rules, list) or not (row is None or isinstance(row, dict)):
            return rejection
        failed = await self._delete_rules(rules, kept=str(row.get("rule_id")) if row else None)
        return with_cleanup(rejection, *failed) if failed else rejection

    async def _delete_rules(self, rules: list[Row], *, kept: str | None) -> tuple[Outcome, str] | None:
        """Delete the rules except the one with the id `kept`. Returns a deletion that failed, and the id of its rule."""
        failed = None
        for rule_id in (str(rule.get("rule_id")) for rule in rules):
            if rule_id != kept:
                deletion = await returns_failures(self._delete_rule)(rule_id)
                failed = failed if isinstance(deletion, Done) else (deletion, rule_id)
        return failed

    async def _rule_without_code(self, spec: CouponSpec, market: Market, products: dict[str, str]) -> Row | None:
        """The rule that an earlier attempt created without a code. All others, and those that differ, are deleted."""
        rules = await self._rules_of(spec.code)
        kept = next((rule for rule in rules if not _rule_differences(spec, rule, market, products)), None)
        for rule in rules:
            if rule is not kept:
                await returns_failures(self._delete_rule)(str(rule.get("rule_id")))  # without a code it has no effect
        return kept

    async def _create_rule(self, spec: CouponSpec, market: Market, products: dict[str, str]) -> Row:
        body = rule_body(spec, market, tuple(products), datetime.now(UTC))
        answer = await self._api.call("POST", "salesRules", body={"rule": body})
        raise_for_status(answer, CREATION, wrote=True)
        rule = RESPONSES.json(answer, CREATION)
        if not isinstance(rule, dict) or not isinstance(rule.get("rule_id"), int):
            raise RESPONSES.unreadable(CREATION, "it does not contain the rule", answer)
        if different := _rule_differences(spec, rule, market, products):
            raise CallFailed(
                await reject_and_delete(created_differently(spec, different), self._delete_rule, str(rule["rule_id"]))
            )
        return rule

    async def _add_code(self, spec: CouponSpec, market: Market, rule: Row) -> Outcome:
        """Add the code to the rule. If the result is unknown, the rule is kept, and the next attempt finds it by its name."""
        answer = await self._api.call(
            "POST", "coupons", body={"coupon": coupon_body(spec, integer(str(rule["rule_id"])))}
        )
        failed = failure(answer, CREATION, wrote=True)
        if isinstance(failed, Reject) and is_duplicate(answer):
            return await self._code_taken(spec, market, rule)
        if isinstance(failed, Reject):
            return await reject_and_delete(failed, self._delete_rule, str(rule["rule_id"]))
        if failed:
            return failed
        row = RESPONSES.json(answer, CREATION)
        ids = dict(zip(sku_values(rule) or (), spec.items, strict=False))
        coupon = parse_coupon(rule, row, market, ids, datetime.now(UTC)) if isinstance(row, dict) else None
        if coupon is None or value_at(row, "rule_id") != rule["rule_id"]:
            raise RESPONSES.unreadable(CREATION, "it does not contain the coupon", answer)
        return await confirm_created(spec, align_expiry(spec, coupon, market.zone), self._delete_rule)

    async def _code_taken(self, spec: CouponSpec, market: Market, rule: Row) -> Outcome:
        """The outcome if the code exists: on this rule (an earlier call was applied after all), or on another one."""
        outcome, rule_id = await self._find_existing(spec, market), str(rule["rule_id"])
        if isinstance(outcome, Reject) or (isinstance(outcome, Done) and outcome.result["store_id"] != rule_id):
            await returns_failures(self._delete_rule)(rule_id)
        return outcome or Retry(RESPONSES.reason(ReasonCode.COUPON_NOT_VISIBLE, code=spec.code))

    async def _delete_rule(self, rule_id: str) -> Done:
        return await self._delete(f"salesRules/{rule_id}")

    async def _delete(self, path: str) -> Done:
        answer = await self._api.call("DELETE", path)
        if not is_not_found(answer):
            raise_for_status(answer, "the deletion of the coupon", wrote=True)
        return Done()

    async def _coupon_row(self, code: str) -> Row | None:
        rows = await self._api.search("coupons/search", LOOKUP, criteria(("code", "eq", code), size=10))
        return next((row for row in rows if str(row.get("code")).casefold() == code.casefold()), None)

    async def _rules_of(self, code: str) -> list[Row]:
        name = rule_name(code)
        rules = await self._api.search("salesRules/search", LOOKUP, criteria(("name", "eq", name), size=20))
        return [rule for rule in rules if rule.get("name") == name]

    async def _requested_products(self, spec: CouponSpec) -> dict[str, str]:
        """The ids of the requested products or variants, by SKU. Magento's rules refer to both by SKU."""
        products = await self._products("entity_id", spec.items)
        if missing := set(spec.items) - set(products.values()):
            raise CallFailed(items_not_found(spec, missing))
        if len(products) > 1 and any("," in sku for sku in products):
            field = "variant_ids" if spec.variant_ids else "product_ids"
            problem = "Magento cannot list several products if a SKU contains a comma"
            raise CallFailed(not_supported(spec, field, problem))
        return products

    async def _products(self, field: str, values: tuple[str, ...]) -> dict[str, str]:
        if not values:
            return {}
        condition = "in" if len(values) > 1 else "eq"
        query = criteria((field, condition, ",".join(values)), size=len(values)) | {
            "fields": "items[id,sku],total_count"
        }
        rows = await self._api.search("products", "the product lookup", query)
        return {str(row.get("sku")): str(row.get("id")) for row in rows}

    async def _read_market(self) -> Market:
        stores = objects(await self._api.read("store/storeConfigs", CONFIGURATION))
        matching = [row for row in stores if row.get("website_id") in self._settings.website_ids]
        if not stores:
            raise RESPONSES.unreadable(CONFIGURATION, "it does not contain stores")
        if not matching:
            known = ", ".join(sorted({str(row.get("website_id")) for row in stores}))
            facts = {
                "setting": "MAGENTO__WEBSITE_IDS",
                "problem": f"the store has no website with one of these ids; it has: {known}",
            }
            raise CallFailed(Blocked(RESPONSES.reason(ReasonCode.SETTING_WRONG, **facts)))
        try:
            zone = ZoneInfo(str(matching[0].get("timezone") or "UTC"))
        except (KeyError, ValueError):
            problem = f"the relay does not know its time zone {matching[0].get('timezone')!r}; install tzdata"
            raise CallFailed(Blocked(RESPONSES.reason(ReasonCode.STORE_NOT_READY, problem=problem))) from None
        return Market(
            currency=str(matching[0].get("base_currency_code")),
            currencies=frozenset(str(row.get("base_currency_code")) for row in matching), zone=zone,
            media_url=str(matching[0].get("secure_base_media_url") or matching[0].get("base_media_url") or ""),
            website_ids=tuple(self._settings.website_ids), customer_group_ids=tuple(self._settings.customer_group_ids),
            unrestricted=self._settings.one_customer == "issue_unrestricted",
        )  # fmt: skip


def _rule_differences(
    spec: CouponSpec, rule: Row, market: Market, products: Mapping[str, str]
) -> tuple[Difference, ...]:
    """The differences between a rule and the spec, apart from the code."""
    uses: Row = {
        "code": spec.code, "usage_limit": rule.get("uses_per_coupon"), "usage_per_customer": rule.get("uses_per_customer"),
    }  # fmt: skip
    coupon = parse_coupon(rule, uses, market, products, datetime.now(UTC))
    return (
        differences(spec, align_expiry(spec, coupon, market.zone)) if coupon else (Difference("kind", None, spec.kind),)
    )
