"""Vendure 3, promotions of the admin API (https://docs.vendure.io/reference/graphql-api/admin/mutations#createpromotion).

Observed on Vendure 3.7.3. Responses have HTTP 200, and contain errors:

    createPromotion: Promotion        Done if it fits the spec; a promotion that differs is deleted, Reject
    createPromotion: any ErrorResult  Reject with the error text
    FORBIDDEN, 401, 403               the session has ended: a new login, once; then Blocked: a permission is missing
    ENTITY_NOT_FOUND                  no such promotion: Done for a deletion
    BAD_USER_INPUT, USER_INPUT_ERROR  Reject with the error text
    GRAPHQL_VALIDATION_FAILED (400)   Blocked: the API of another version
    any other error, 5xx              Unknown for a creation (it may have been applied), Retry otherwise
    another structure, not JSON       Unknown
    404, 3xx                          Blocked: the address is wrong
    408, 425, 429                     Retry
    other 4xx                         Reject

**Vendure allows any number of promotions with one code, and their discounts add up.** Therefore the adapter looks up the code
before every creation, whatever `first_try` is, and again after it. Of several promotions that fit the spec, all but the oldest
are deleted. Vendure compares codes with case, but its customers enter them without: a lookup asks for the code as it is, in
upper case and in lower case. A deletion is soft, and the code can be used again.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar, Final, Self

from pydantic import Field, HttpUrl, JsonValue, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from platform_relay.core.environment_settings import EnvironmentSettings
from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Done, Evidence, Outcome, Reject
from platform_relay.core.setting_values import refuse_placeholder
from platform_relay.inbox.events import EventKind
from platform_relay.stores.base import (
    CouponKind,
    CouponSpec,
    Ready,
    StoreCoupon,
    check_currency,
    check_spec,
    compare_existing,
    confirm_created,
    differences,
    items_not_found,
    reject_and_delete,
)
from platform_relay.stores.cached import Cached
from platform_relay.stores.failures import CallFailed, returns_failures
from platform_relay.stores.native import Page, ParsedEntity
from platform_relay.stores.parsing import Row, value_at
from platform_relay.stores.responses import BODY_CAP
from platform_relay.stores.settings import CaFile, OneCustomer
from platform_relay.stores.vendure.api import GONE, RESPONSES, VendureApi, code_of, data_of
from platform_relay.stores.vendure.coupons import (
    Market,
    Variant,
    parse_market,
    parse_promotion,
    parse_variant,
    promotion_input,
    unsupported,
    variant_ids,
)
from platform_relay.stores.vendure.events import count, fetch_entity, list_entities

CREATION: Final = "the creation of the coupon"
LOOKUP: Final = "the coupon lookup"
DELETION: Final = "the deletion of the coupon"
NO_PROMOTION: Final = "0"
"""An id and a code that no promotion has."""
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
    """The variables `VENDURE__…`."""

    model_config = SettingsConfigDict(env_prefix="VENDURE__")

    url: HttpUrl = Field(description="URL of the admin API, e.g. `https://shop.example/admin-api`.")
    api_key: SecretStr | None = Field(
        None, description="API key; `authOptions.tokenMethod` must include `api-key`. Or set a user name and password."
    )
    username: str | None = Field(None, description="User name of an administrator, instead of an API key.")
    password: SecretStr | None = Field(None, description="Password of the administrator.")
    channel_token: SecretStr | None = Field(
        None, description="Token of the channel in which coupons are valid. Empty: the default channel."
    )
    one_customer: OneCustomer = "refuse"
    ca_file: CaFile = None

    _no_placeholder = field_validator("api_key", "password", "channel_token")(refuse_placeholder)

    @model_validator(mode="after")
    def _has_credentials(self) -> Self:
        if not self.api_key and not (self.username and self.password):
            raise ValueError("needs VENDURE__API_KEY, or VENDURE__USERNAME and VENDURE__PASSWORD")
        return self


class Vendure:
    """Coupons and native events of a channel of a Vendure store."""

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
            body_cap=BODY_CAP,
            secrets=(key or "", password or "", channel or "", settings.username or ""),
        )
        self._api = VendureApi(str(settings.url), self._http, api_key=key, login=login, channel_token=channel)
        self._market = Cached(self._read_market)

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(VendureSettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @returns_failures
    async def issue_coupon(self, spec: CouponSpec) -> Outcome:
        """See `base.StoreAdapter`."""
        if self._unrestricted:
            spec = replace(spec, customer_id=None, email=None)
        if rejection := check_spec(spec, Vendure, datetime.now(UTC)):
            return rejection
        market = await self._market.get()
        if rejection := check_currency(spec, [market.currency]) or unsupported(spec, market):
            return rejection
        return await self._find_existing(spec, market) or await self._create(spec, market)

    @returns_failures
    async def find_coupon(self, code: str) -> StoreCoupon | Outcome | None:
        """See `base.StoreAdapter`. A second active promotion with the code is added to the restrictions."""
        promotions = await self._promotions(code, await self._market.get())
        if not promotions:
            return None
        first = min(promotions, key=lambda promotion: (not promotion.active, promotion.code != code))
        others = (promotion.store_id for promotion in promotions if promotion is not first and promotion.active)
        return replace(
            first,
            restrictions=(
                *first.restrictions,
                *(f"a duplicate, promotion {store_id}, whose discount adds up" for store_id in others),
            ),
            unreadable=first.unreadable | ({"customer_id", "email"} if self._unrestricted else frozenset()),
        )

    @returns_failures
    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`. Deletes every promotion with exactly this code. Orders keep their discount."""
        promotions = await self._rows(code)
        for store_id in (str(row.get("id")) for row in promotions if row.get("couponCode") == code):
            await self._delete(store_id)
        return Done()

    @returns_failures
    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. The responses to impossible calls show the permissions."""
        self._market.clear()
        market = await self._market.get()
        await self._rows(NO_PROMOTION)
        empty: Row = {"enabled": False, "conditions": [], "actions": [], "translations": []}
        try:
            await self._create_promotion(empty)
        except CallFailed as failed:
            if not isinstance(failed.outcome, Reject):
                raise
        else:
            raise RESPONSES.unreadable(CREATION, "it accepted a promotion without conditions and code")
        await self._delete(NO_PROMOTION)
        sells = f"the channel {market.name} sells in {market.currency}"
        return Ready(
            f"Vendure at {self._host}: the account may write promotions; {sells}", frozenset({market.currency})
        )

    @returns_failures
    async def list_entities(self, kind: EventKind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        """See `native.ListsEntities`."""
        return await list_entities(self._api, kind, since, cursor, (await self._market.get()).digits)

    @returns_failures
    async def count(self, kind: EventKind, since: datetime | None = None) -> int | None:
        """See `native.CountsEntities`."""
        return await count(self._api, kind, since)

    @returns_failures
    async def fetch(self, kind: EventKind, entity_id: str) -> ParsedEntity | Outcome | None:
        """See `native.FetchesEntities`."""
        return await fetch_entity(self._api, kind, entity_id, (await self._market.get()).digits)

    @returns_failures
    async def _find_existing(self, spec: CouponSpec, market: Market) -> Outcome | None:
        """The outcome for the promotions with the code, with duplicates deleted; None if there are none."""
        promotions = await self._promotions(spec.code, market)
        if not promotions:
            return None
        fitting = [coupon for coupon in promotions if coupon.code == spec.code and not differences(spec, coupon)]
        others = [coupon for coupon in promotions if coupon not in fitting]
        if not fitting or any(coupon.active for coupon in others):
            return compare_existing(spec, next((coupon for coupon in others if coupon.active), others[0]))
        for duplicate in fitting[1:]:
            await self._delete(duplicate.store_id)
        return Done({"store_id": fitting[0].store_id})

    async def _create(self, spec: CouponSpec, market: Market) -> Outcome:
        variants = await self._variants_of(spec)
        promotion = await self._create_promotion(promotion_input(spec, market, tuple(variants)))
        coupon = parse_promotion(promotion, market, variants, datetime.now(UTC))
        if coupon is None:
            raise RESPONSES.unreadable(CREATION, "it does not contain the promotion")
        created = await confirm_created(spec, coupon, self._delete, Evidence(200))
        if isinstance(created, Reject):
            return created
        existing = await self._find_existing(spec, market)  # another client may have created one meanwhile
        if isinstance(existing, Reject):
            return await reject_and_delete(existing, self._delete, coupon.store_id)
        return (
            existing if isinstance(existing, Done) else created
        )  # if the lookup failed, the relay reads the coupon again

    async def _delete(self, store_id: str) -> Done:
        answer = await self._api.call(DELETE, {"id": store_id})
        if code_of(answer) == GONE:
            return Done()
        if value_at(data_of(answer, DELETION), "deletePromotion", "result") != "DELETED":
            raise CallFailed(RESPONSES.rejected(DELETION, "", answer))
        return Done()

    async def _create_promotion(self, promotion: Row) -> Row:
        """Create a promotion and return it. Raises CallFailed: Reject for an error result, Unknown for an unclear response."""
        answer = await self._api.call(CREATE, {"input": promotion})
        result = data_of(answer, CREATION, wrote=True).get("createPromotion")
        if not isinstance(result, dict):
            raise RESPONSES.unreadable(CREATION, "it does not contain the result of createPromotion", answer)
        if code := result.get("errorCode"):
            response = answer.quote(f"{code} {result.get('message')}")
            raise CallFailed(RESPONSES.rejected(CREATION, response, answer))
        return result

    async def _rows(self, code: str) -> list[Row]:
        """Return all promotions that apply to a customer who enters the code, the oldest first."""
        codes: list[JsonValue] = list(dict.fromkeys((code, code.upper(), code.lower())))
        return await self._api.rows(FIND, {"codes": codes}, "promotions", LOOKUP)

    async def _promotions(self, code: str, market: Market) -> list[StoreCoupon]:
        rows = await self._rows(code)
        used = frozenset[str]().union(*(variant_ids(row) for row in rows))
        variants = await self._variants("id", used)
        known = await self._variants("productId", frozenset(variant.product_id for variant in variants.values()))
        parsed = (parse_promotion(row, market, known, datetime.now(UTC)) for row in rows)
        promotions = [promotion for promotion in parsed if promotion is not None]
        if len(promotions) < len(rows):
            raise RESPONSES.unreadable(LOOKUP, "it contains a promotion that cannot be read")
        return promotions

    async def _variants_of(self, spec: CouponSpec) -> dict[str, Variant]:
        """The requested variants, or those of the requested products. Raises CallFailed if one does not exist."""
        variants = await self._variants("id" if spec.variant_ids else "productId", frozenset(spec.items))
        existing = set(variants) if spec.variant_ids else {variant.product_id for variant in variants.values()}
        if missing := set(spec.items) - existing:
            raise CallFailed(items_not_found(spec, missing))
        return variants

    async def _variants(self, field: str, ids: frozenset[str]) -> dict[str, Variant]:
        """Return the variants whose `field` is one of `ids`."""
        if not ids:
            return {}
        options: JsonValue = {"filter": {field: {"in": [*sorted(ids)]}}, "take": 1000}
        rows = await self._api.rows(VARIANTS, {"options": options}, "productVariants", "the variant lookup")
        return {str(row.get("id")): parse_variant(row) for row in rows}

    async def _read_market(self) -> Market:
        market = parse_market(await self._api.read(MARKET, {}, "the channel"))
        if market is None:
            raise RESPONSES.unreadable("the channel", "it does not contain a currency")
        return market
