"""Vendure 3, the admin API's promotions (https://docs.vendure.io/reference/graphql-api/admin/mutations#createpromotion).

Observed on Vendure 3.7.3. Answers are HTTP 200 with errors inside. What they mean:

    createPromotion: Promotion        Done when it is what was ordered; else it is deleted again and Reject
    createPromotion: any ErrorResult  Reject with the shop's words
    FORBIDDEN, 401, 403               the session ended: signed in again, once; else Blocked: a permission is missing
    ENTITY_NOT_FOUND                  gone: Done for a deletion
    BAD_USER_INPUT, USER_INPUT_ERROR  Reject with the shop's words
    GRAPHQL_VALIDATION_FAILED (400)   Blocked: another version's API
    any other error, 5xx              Unknown for a creation (it may have been applied), else Retry
    data of another shape, no JSON    Unknown
    404, 3xx                          Blocked: the address is wrong
    408, 425, 429                     Retry
    other 4xx                         Reject

**Vendure lets any number of promotions have one code, and their discounts add up.** Therefore the code is looked up
before every creation, whatever the order says of earlier attempts, and again after it; of several promotions that are
what was ordered, all but the oldest are deleted. Vendure compares codes with case, its shoppers enter them without: a
look-up asks for the code as it is and in capital and small letters. A deletion is a soft one, and frees the code.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, FilePath, HttpUrl, JsonValue, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from app.http import Answer, Failure, HttpClients
from app.messages import Kind
from app.outcomes import Done, Evidence, Outcome, Reject, Unknown
from app.settings import EnvironmentSettings, refuse_placeholder
from app.stores.base import CouponFound, CouponKind, CouponOrder, Ready, differences, judge, made_otherwise, refusal
from app.stores.native import NativeEvent, Page
from app.stores.vendure.api import GONE, Row, VendureApi, code_of, data_of
from app.stores.vendure.coupons import (
    Market,
    Variant,
    inexpressible,
    market_found,
    promotion_found,
    promotion_input,
    variant_found,
    variant_ids,
)
from app.stores.vendure.events import one, page

MARKET_SECONDS: Final = 600.0
"""How long the channel's currency and language are believed before they are asked for again."""
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
        "refuse", description="A coupon for one shopper, which Vendure cannot make: `refuse` or `issue_unrestricted`."
    )
    ca_file: FilePath | None = Field(
        None, description="PEM file of the certificate authority, for a shop with a certificate of its own making."
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
        self._market: Market | None = None
        self._market_until = 0.0

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(VendureSettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def issue_coupon(self, order: CouponOrder) -> Outcome:
        """See `base.StoreAdapter`."""
        asked = replace(order, customer_id=None, email=None) if self._unrestricted else order
        if refused := refusal(asked, Vendure, datetime.now(UTC)):
            return refused
        market = await self._known_market()
        if not isinstance(market, Market):
            return market
        if refused := inexpressible(asked, market):
            return refused
        return await self._held(asked, market) or await self._create(asked, market)

    async def find_coupon(self, code: str) -> CouponFound | Outcome | None:
        """See `base.StoreAdapter`. A second active promotion of the code shows among the restrictions."""
        market = await self._known_market()
        if not isinstance(market, Market):
            return market
        found = await self._promotions(code, market)
        if not isinstance(found, list):
            return found
        if not found:
            return None
        first = min(found, key=lambda each: (not each.active, each.code != code))
        others = (each.store_id for each in found if each is not first and each.active)
        return replace(
            first,
            restrictions=(
                *first.restrictions,
                *(f"a twin, promotion {each}, whose discount adds up" for each in others),
            ),
            unreadable=first.unreadable | ({"customer_id", "email"} if self._unrestricted else frozenset()),
        )

    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`. Deletes every promotion of exactly this code. Orders keep their discount."""
        rows = await self._rows(code)
        if not isinstance(rows, list):
            return rows
        for store_id in (str(row.get("id")) for row in rows if row.get("couponCode") == code):
            removed = await self._delete(store_id)
            if not isinstance(removed, Done):
                return removed
        return Done()

    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. The permissions show in how impossible calls are refused."""
        self._market_until = 0.0
        market = await self._known_market()
        if not isinstance(market, Market):
            return market
        found = await self._rows(NOBODY)
        if not isinstance(found, list):
            return found
        nothing: Row = {"enabled": False, "conditions": [], "actions": [], "translations": []}
        refused = await self._write(CREATE, {"input": nothing}, "createPromotion")
        if isinstance(refused, dict) and "errorCode" not in refused:
            return Unknown("Vendure accepted a promotion without conditions and code")
        if not isinstance(refused, dict | Reject):
            return refused
        removed = await self._delete(NOBODY)
        if not isinstance(removed, Done):
            return removed
        sells = f"the channel {market.name} sells in {market.currency}"
        return Ready(f"Vendure at {self._host}: we may write promotions; {sells}")

    async def list_entities(self, kind: Kind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        """See `native.ListsEntities`."""
        market = await self._known_market()
        return await page(self._api, kind, since, cursor, market.digits) if isinstance(market, Market) else market

    async def fetch(self, kind: Kind, entity_id: str) -> NativeEvent | Outcome | None:
        """See `native.FetchesEntities`."""
        market = await self._known_market()
        return await one(self._api, kind, entity_id, market.digits) if isinstance(market, Market) else market

    async def _held(self, order: CouponOrder, market: Market) -> Outcome | None:
        """What the shop holds under the code, with surplus twins deleted; None when it holds nothing."""
        found = await self._promotions(order.code, market)
        if not isinstance(found, list):
            return found
        if not found:
            return None
        as_ordered = [each for each in found if each.code == order.code and not differences(order, each)]
        others = [each for each in found if each not in as_ordered]
        if not as_ordered or any(each.active for each in others):
            return judge(order, next((each for each in others if each.active), others[0]))
        for twin in as_ordered[1:]:
            removed = await self._delete(twin.store_id)
            if not isinstance(removed, Done):
                return removed
        return Done({"store_id": as_ordered[0].store_id})

    async def _create(self, order: CouponOrder, market: Market) -> Outcome:
        variants = await self._variants_of(order)
        if not isinstance(variants, dict):
            return variants
        made = await self._write(CREATE, {"input": promotion_input(order, market, tuple(variants))}, "createPromotion")
        if not isinstance(made, dict):
            return made
        if code := made.get("errorCode"):
            return Reject(f"Vendure refuses the coupon: {code} {made.get('message')}"[:300])
        found = promotion_found(made, market, variants, datetime.now(UTC))
        return await self._proven(order, market, found) if found else Unknown("Vendure answered without the promotion")

    async def _proven(self, order: CouponOrder, market: Market, found: CouponFound) -> Outcome:
        """What was just made: is it what was ordered, and alone?"""
        if told := differences(order, found):
            return made_otherwise(order, told, await self._delete(found.store_id), found.store_id)
        alone = await self._held(order, market)  # somebody else may have made one meanwhile
        if isinstance(alone, Reject):
            removed = await self._delete(found.store_id)
            end = "was deleted again" if isinstance(removed, Done) else f"is still there: delete {found.store_id}"
            return Reject(f"{alone.why}. Ours {end}", alone.evidence)
        done = Done({"store_id": found.store_id}, evidence=Evidence(200))
        return alone if isinstance(alone, Done) else done  # a failed look-up is repeated by the caller's read-back

    async def _delete(self, store_id: str) -> Outcome:
        answer = await self._api.call(DELETE, {"id": store_id})
        if not isinstance(answer, Answer):
            return answer
        if code_of(answer) == GONE:
            return Done()
        data = data_of(answer)
        if not isinstance(data, dict):
            return data
        result = data.get("deletePromotion")
        if isinstance(result, dict) and result.get("result") == "DELETED":
            return Done()
        return Reject(f"Vendure did not delete the promotion {store_id}", answer.evidence())

    async def _write(self, document: str, variables: Mapping[str, JsonValue], name: str) -> Row | Failure:
        """What a mutation answers under `name`; a doubtful answer is Unknown."""
        answer = await self._api.call(document, variables)
        if not isinstance(answer, Answer):
            return answer
        data = data_of(answer, write=True)
        if not isinstance(data, dict):
            return data
        result = data.get(name)
        return result if isinstance(result, dict) else Unknown(f"Vendure answered without {name}", answer.evidence())

    async def _rows(self, code: str) -> list[Row] | Failure:
        """All promotions that a shopper who enters the code would get, the oldest first."""
        codes: list[JsonValue] = list(dict.fromkeys((code, code.upper(), code.lower())))
        return await self._api.rows(FIND, {"codes": codes}, "promotions")

    async def _promotions(self, code: str, market: Market) -> list[CouponFound] | Failure:
        rows = await self._rows(code)
        if not isinstance(rows, list):
            return rows
        named = frozenset[str]().union(*(variant_ids(row) for row in rows))
        variants = await self._variants("id", named)
        if not isinstance(variants, dict):
            return variants
        known = await self._variants("productId", frozenset(each.product_id for each in variants.values()))
        if not isinstance(known, dict):
            return known
        found = [promotion_found(row, market, known, datetime.now(UTC)) for row in rows]
        read = [each for each in found if each is not None]
        return read if len(read) == len(rows) else Unknown("Vendure answered the look-up with what is no promotion")

    async def _variants_of(self, order: CouponOrder) -> dict[str, Variant] | Failure:
        """The ordered variants, or those of the ordered products. Reject for what the shop has not."""
        field, what = ("id", "variant") if order.variant_ids else ("productId", "product")
        variants = await self._variants(field, frozenset(order.items))
        if not isinstance(variants, dict):
            return variants
        there = set(variants) if order.variant_ids else {each.product_id for each in variants.values()}
        if missing := set(order.items) - there:
            unknown = ", ".join(sorted(missing))
            return Reject(f"coupon {order.code} was not created: {what}_ids: the shop has no {what} {unknown}")
        return variants

    async def _variants(self, field: str, ids: frozenset[str]) -> dict[str, Variant] | Failure:
        """The variants whose `field` is one of `ids`."""
        if not ids:
            return {}
        chosen: JsonValue = {"filter": {field: {"in": [*sorted(ids)]}}, "take": 1000}
        rows = await self._api.rows(VARIANTS, {"options": chosen}, "productVariants")
        return {str(row.get("id")): variant_found(row) for row in rows} if isinstance(rows, list) else rows

    async def _known_market(self) -> Market | Failure:
        if self._market is not None and time.monotonic() < self._market_until:
            return self._market
        data = await self._api.read(MARKET)
        if not isinstance(data, dict):
            return data
        market = market_found(data)
        if market is None:
            return Unknown("Vendure did not tell the channel's currency")
        self._market, self._market_until = market, time.monotonic() + MARKET_SECONDS
        return market
