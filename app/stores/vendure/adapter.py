"""Vendure 3, the admin API's promotions (https://docs.vendure.io/reference/graphql-api/admin/mutations#createpromotion).

Observed on Vendure 3.7.3. Answers are HTTP 200 with errors inside. What they mean:

    createPromotion: Promotion        Done when it is what was ordered; else it is deleted again and Reject
    createPromotion: any ErrorResult  Reject with the store's words
    FORBIDDEN, 401, 403               the session ended: signed in again, once; else Blocked: a permission is missing
    ENTITY_NOT_FOUND                  gone: Done for a deletion
    BAD_USER_INPUT, USER_INPUT_ERROR  Reject with the store's words
    GRAPHQL_VALIDATION_FAILED (400)   Blocked: another version's API
    any other error, 5xx              Unknown for a creation (it may have been applied), else Retry
    data of another shape, no JSON    Unknown
    404, 3xx                          Blocked: the address is wrong
    408, 425, 429                     Retry
    other 4xx                         Reject

**Vendure lets any number of promotions have one code, and their discounts add up.** Therefore the code is looked up
before every creation, whatever the order says of earlier attempts, and again after it; of several promotions that are
what was ordered, all but the oldest are deleted. Vendure compares codes with case, its customers enter them without: a
look-up asks for the code as it is and in capital and small letters. A deletion is a soft one, and frees the code.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, FilePath, HttpUrl, JsonValue, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Done, Evidence, Outcome, Reject
from platform_relay.inbox.messages import Kind
from platform_relay.settings import EnvironmentSettings, refuse_placeholder
from platform_relay.stores.base import (
    CouponFound,
    CouponKind,
    CouponSpec,
    Ready,
    as_made,
    differences,
    judge,
    no_such_items,
    other_currency,
    refusal,
    undone,
)
from platform_relay.stores.failing import CallFailed, answers_failures
from platform_relay.stores.native import NativeEvent, Page
from platform_relay.stores.reading import Row, within
from platform_relay.stores.remembered import Remembered
from platform_relay.stores.vendure.api import GONE, RESPONSES, VendureApi, code_of, data_of
from platform_relay.stores.vendure.coupons import (
    Market,
    Variant,
    inexpressible,
    market_found,
    promotion_found,
    promotion_input,
    variant_found,
    variant_ids,
)
from platform_relay.stores.vendure.events import one, page

CREATION: Final = "the creation of the coupon"
LOOK_UP: Final = "the coupon look-up"
DELETION: Final = "the deletion of the coupon"
NOBODY: Final = "0"
"""An id that no promotion has."""
FIELDS: Final = """
    id createdAt enabled couponCode description startsAt endsAt usageLimit perCustomerUsageLimit
    conditions { code args { name value } } actions { code args { name value } }"""
MARKET: Final = """
query Market {
  activeChannel { code defaultCurrencyCode availableCurrencyCodes defaultLanguageCode }
  globalSettings { serverConfig { moneyStrategyPrecision } }
}"""
FIND: Final = f"""
query Promotions($codes: [String!]!) {{
  promotions(options: {{ filter: {{ couponCode: {{ in: $codes }} }}, sort: {{ createdAt: ASC, id: ASC }}, take: 100 }}) {{
    items {{ {FIELDS} }}
  }}
}}"""
VARIANTS: Final = """
query Variants($options: ProductVariantListOptions) {
  productVariants(options: $options) { items { id productId createdAt } }
}"""
CREATE: Final = f"""
mutation CreatePromotion($input: CreatePromotionInput!) {{
  createPromotion(input: $input) {{
    __typename
    ... on Promotion {{ {FIELDS} }}
    ... on ErrorResult {{ errorCode message }}
  }}
}}"""
DELETE: Final = """
mutation DeletePromotion($id: ID!) { deletePromotion(id: $id) { result message } }"""
ONE_CUSTOMER: Final = "Vendure has no condition for one customer, only for groups; see VENDURE__ONE_CUSTOMER"


class VendureSettings(EnvironmentSettings):
    """`VENDURE__URL` and so on."""

    model_config = SettingsConfigDict(env_prefix="VENDURE__")

    url: HttpUrl = Field(description="Address of the admin API, e.g. `https://shop.example/admin-api`.")
    api_key: SecretStr | None = Field(
        None, description="API key; needs `authOptions.tokenMethod` with `api-key`. Or else a user name and password."
    )
    username: str | None = Field(None, description="An administrator's user name, in place of an API key.")
    password: SecretStr | None = Field(None, description="The administrator's password.")
    channel_token: SecretStr | None = Field(
        None, description="Token of the channel that sells; empty: the default channel."
    )
    one_customer: Literal["refuse", "issue_unrestricted"] = Field(
        "refuse", description="A coupon for one customer, which Vendure cannot make: `refuse` or `issue_unrestricted`."
    )
    ca_file: FilePath | None = Field(
        None, description="PEM file of the certificate authority, for a store with a certificate of its own making."
    )

    _no_placeholder = field_validator("api_key", "password", "channel_token")(refuse_placeholder)

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if not self.api_key and not (self.username and self.password):
            raise ValueError("needs VENDURE__API_KEY, or VENDURE__USERNAME and VENDURE__PASSWORD")
        return self


class Vendure:
    """The channel's promotions and lists."""

    Settings: ClassVar[type[EnvironmentSettings]] = VendureSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(CouponKind) - {CouponKind.GIFT_CARD}
    CANNOT: ClassVar[Mapping[str, str]] = {
        "customer_id": ONE_CUSTOMER,
        "email": ONE_CUSTOMER,
        "combinable": "Vendure combines every promotion with every other",
    }

    def __init__(self, settings: VendureSettings, clients: HttpClients) -> None:
        key, password, channel = (
            secret.get_secret_value() if secret else None
            for secret in (settings.api_key, settings.password, settings.channel_token)
        )
        login = (settings.username or "", password) if password and not key else None
        self._host = settings.url.host or ""
        self._unrestricted = settings.one_customer == "issue_unrestricted"
        self._http = clients.make(
            settings.url,
            ca_file=settings.ca_file,
            body_cap=8 << 20,
            secrets=(key or "", password or "", channel or "", settings.username or ""),
        )
        self._api = VendureApi(str(settings.url), self._http, api_key=key, login=login, channel_token=channel)
        self._market = Remembered(self._channel_market)

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(VendureSettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @answers_failures
    async def issue_coupon(self, order: CouponSpec) -> Outcome:
        """See `base.StoreAdapter`."""
        asked = replace(order, customer_id=None, email=None) if self._unrestricted else order
        if refused := refusal(asked, Vendure, datetime.now(UTC)):
            return refused
        market = await self._market.get()
        if refused := other_currency(asked, [market.currency]) or inexpressible(asked, market):
            return refused
        return await self._held(asked, market) or await self._create(asked, market)

    @answers_failures
    async def find_coupon(self, code: str) -> CouponFound | Outcome | None:
        """See `base.StoreAdapter`. A second active promotion of the code shows among the restrictions."""
        promotions = await self._promotions(code, await self._market.get())
        if not promotions:
            return None
        first = min(promotions, key=lambda each: (not each.active, each.code != code))
        others = (each.store_id for each in promotions if each is not first and each.active)
        return replace(
            first,
            restrictions=(
                *first.restrictions,
                *(f"a twin, promotion {each}, whose discount adds up" for each in others),
            ),
            unreadable=first.unreadable | ({"customer_id", "email"} if self._unrestricted else frozenset()),
        )

    @answers_failures
    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`. Deletes every promotion of exactly this code. Orders keep their discount."""
        promotions = await self._rows(code)
        for store_id in (str(row.get("id")) for row in promotions if row.get("couponCode") == code):
            await self._delete(store_id)
        return Done()

    @answers_failures
    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. The permissions show in how impossible calls are refused."""
        self._market.forget()
        market = await self._market.get()
        await self._rows(NOBODY)
        nothing: Row = {"enabled": False, "conditions": [], "actions": [], "translations": []}
        try:
            await self._create_promotion(nothing)
        except CallFailed as failed:
            if not isinstance(failed.outcome, Reject):
                raise
        else:
            raise RESPONSES.unreadable(CREATION, "it accepted a promotion without conditions and code")
        await self._delete(NOBODY)
        sells = f"the channel {market.name} sells in {market.currency}"
        return Ready(f"Vendure at {self._host}: we may write promotions; {sells}")

    @answers_failures
    async def list_entities(self, kind: Kind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        """See `native.ListsEntities`."""
        return await page(self._api, kind, since, cursor, (await self._market.get()).digits)

    @answers_failures
    async def fetch(self, kind: Kind, entity_id: str) -> NativeEvent | Outcome | None:
        """See `native.FetchesEntities`."""
        return await one(self._api, kind, entity_id, (await self._market.get()).digits)

    @answers_failures
    async def _held(self, order: CouponSpec, market: Market) -> Outcome | None:
        """What the store holds under the code, with surplus twins deleted; None when it holds nothing."""
        promotions = await self._promotions(order.code, market)
        if not promotions:
            return None
        as_ordered = [each for each in promotions if each.code == order.code and not differences(order, each)]
        others = [each for each in promotions if each not in as_ordered]
        if not as_ordered or any(each.active for each in others):
            return judge(order, next((each for each in others if each.active), others[0]))
        for twin in as_ordered[1:]:
            await self._delete(twin.store_id)
        return Done({"store_id": as_ordered[0].store_id})

    async def _create(self, order: CouponSpec, market: Market) -> Outcome:
        variants = await self._variants_of(order)
        promotion = await self._create_promotion(promotion_input(order, market, tuple(variants)))
        found = promotion_found(promotion, market, variants, datetime.now(UTC))
        if found is None:
            raise RESPONSES.unreadable(CREATION, "it has no promotion")
        made = await as_made(order, found, self._delete, Evidence(200))
        if isinstance(made, Reject):
            return made
        held = await self._held(order, market)  # somebody else may have made one meanwhile
        if isinstance(held, Reject):
            return await undone(held, self._delete, found.store_id)
        return held if isinstance(held, Done) else made  # a failed look-up is repeated by the caller's read-back

    async def _delete(self, store_id: str) -> Done:
        answer = await self._api.call(DELETE, {"id": store_id})
        if code_of(answer) == GONE:
            return Done()
        if within(data_of(answer, DELETION), "deletePromotion", "result") != "DELETED":
            raise CallFailed(RESPONSES.rejected(DELETION, "", answer))
        return Done()

    async def _create_promotion(self, promotion: Row) -> Row:
        """The promotion that was made. Raises CallFailed: Reject for an error result, Unknown for a doubtful answer."""
        answer = await self._api.call(CREATE, {"input": promotion})
        result = data_of(answer, CREATION, wrote=True).get("createPromotion")
        if not isinstance(result, dict):
            raise RESPONSES.unreadable(CREATION, "it has no result of createPromotion", answer)
        if code := result.get("errorCode"):
            response = answer.quote(f"{code} {result.get('message')}")
            raise CallFailed(RESPONSES.rejected(CREATION, response, answer))
        return result

    async def _rows(self, code: str) -> list[Row]:
        """All promotions that a customer who enters the code would get, the oldest first."""
        codes: list[JsonValue] = list(dict.fromkeys((code, code.upper(), code.lower())))
        return await self._api.rows(FIND, {"codes": codes}, "promotions", LOOK_UP)

    async def _promotions(self, code: str, market: Market) -> list[CouponFound]:
        rows = await self._rows(code)
        named = frozenset[str]().union(*(variant_ids(row) for row in rows))
        variants = await self._variants("id", named)
        known = await self._variants("productId", frozenset(each.product_id for each in variants.values()))
        read = (promotion_found(row, market, known, datetime.now(UTC)) for row in rows)
        promotions = [each for each in read if each is not None]
        if len(promotions) < len(rows):
            raise RESPONSES.unreadable(LOOK_UP, "it has a promotion that is none")
        return promotions

    async def _variants_of(self, order: CouponSpec) -> dict[str, Variant]:
        """The ordered variants, or those of the ordered products. Raises CallFailed for what the store has not."""
        variants = await self._variants("id" if order.variant_ids else "productId", frozenset(order.items))
        there = set(variants) if order.variant_ids else {each.product_id for each in variants.values()}
        if missing := set(order.items) - there:
            raise CallFailed(no_such_items(order, missing))
        return variants

    async def _variants(self, field: str, ids: frozenset[str]) -> dict[str, Variant]:
        """The variants whose `field` is one of `ids`."""
        if not ids:
            return {}
        chosen: JsonValue = {"filter": {field: {"in": [*sorted(ids)]}}, "take": 1000}
        rows = await self._api.rows(VARIANTS, {"options": chosen}, "productVariants", "the variant look-up")
        return {str(row.get("id")): variant_found(row) for row in rows}

    async def _channel_market(self) -> Market:
        market = market_found(await self._api.read(MARKET, {}, "the channel"))
        if market is None:
            raise RESPONSES.unreadable("the channel", "it has no currency")
        return market
