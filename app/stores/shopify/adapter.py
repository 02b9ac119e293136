"""Shopify, Admin GraphQL API 2026-07 (https://shopify.dev/docs/api/admin-graphql/2026-07).

Written from the official schema and from responses recorded on a real store (2026-04). What neither shows is marked (doc).
Responses; the first line that fits applies:

    401, 403                               Blocked; client credentials: the token is renewed once, then Blocked
    402, 404, 423, 3xx                     Blocked: frozen, wrong address, locked, renamed
    408, 425, 429, 430                     Retry, after the time that the store asks for
    5xx, not JSON, another structure       Unknown for a mutation; Retry or Unknown for a query
    other 4xx                              Reject with the error text
    200, errors THROTTLED                  Retry when enough cost points are restored (computed from extensions.cost)
    200, errors ACCESS_DENIED              Blocked; the error text contains the missing permission
    200, errors INTERNAL_SERVER_ERROR      Unknown for a mutation, Retry otherwise (doc)
    200, other errors                      Reject: the request does not fit the schema
    200, userErrors with TAKEN             the code is looked up and compared: Done or Reject
    200, userErrors with INTERNAL_ERROR    Unknown
    200, other userErrors                  Reject with the error text
    200, codeDiscountNode                  Done if it fits the spec; a coupon that differs is deleted, Reject

Shopify accepts a value of 0 (`percentage: 0.0`, `amount: "0.0"`) without an error. A code is unique without case. A discount can
have many codes; one with more than one code belongs to the merchant and is never deleted.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar, Final, Self

from pydantic import Field, HttpUrl, JsonValue, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from platform_relay.core.environment_settings import EnvironmentSettings
from platform_relay.core.http import Failure, HttpClients
from platform_relay.core.outcomes import Blocked, Done, Outcome, Reject, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.core.setting_values import refuse_placeholder
from platform_relay.inbox.events import EventKind
from platform_relay.stores.base import (
    CouponKind,
    CouponSpec,
    Ready,
    StoreCoupon,
    check_currency,
    check_spec,
    confirm_created,
    find_existing,
    has_amount,
    not_supported,
)
from platform_relay.stores.failures import CallFailed, returns_failures
from platform_relay.stores.native import (
    Page,
    ParsedEntity,
    ParsedWebhook,
    StoreWebhook,
    Unverified,
    parse_with,
    secret_missing,
)
from platform_relay.stores.paging import KeyPosition, with_smaller_pages
from platform_relay.stores.parsing import objects, value_at, whole_number
from platform_relay.stores.responses import BODY_CAP
from platform_relay.stores.settings import OneCustomer
from platform_relay.stores.shopify.api import RESPONSES, ShopifyApi, rate_limit_pause, rejected, user_errors
from platform_relay.stores.shopify.coupons import coupon_input, gid, parse_coupon, unsupported
from platform_relay.stores.shopify.documents import (
    CHECK,
    CREATE_BASIC,
    CREATE_FREE_SHIPPING,
    CURRENCY,
    CUSTOMER_ID,
    DELETE,
    FIND,
)
from platform_relay.stores.shopify.events import (
    COUNTS,
    GETS,
    LISTS,
    PAGE,
    TOPICS,
    changed_since,
    event_from_node,
    page_of,
    parse_webhook,
)
from platform_relay.stores.shopify.loyalty_sync import sync_loyalty
from platform_relay.stores.shopify.webhooks import create_webhook, delete_webhook, list_webhooks

NEEDED: Final = "write_discounts"
ALL_ORDERS: Final = "read_all_orders"
"""Without this permission, Shopify lists only the orders of the last 60 days."""
USEFUL: Final = ("read_customers", "read_orders", "read_products")
FURTHER_CODES: Final = "further codes"
SIGNED_WITH: Final = "SHOPIFY__CLIENT_SECRET"
CREATION: Final = "the creation of the coupon"
LOOKUP: Final = "the coupon lookup"
DELETION: Final = "the deletion of the coupon"


class ShopifySettings(EnvironmentSettings):
    """The variables `SHOPIFY__…`."""

    model_config = SettingsConfigDict(env_prefix="SHOPIFY__")

    url: HttpUrl = Field(description="The store's address at Shopify, e.g. `https://my-store.myshopify.com`.")
    access_token: SecretStr | None = Field(None, description="Offline access token (`shpat_…`) of a custom app.")
    client_id: str | None = Field(None, description="Client id of your own app, instead of an access token.")
    client_secret: SecretStr | None = Field(
        None,
        description="Client secret of the app. It verifies the store's webhooks, and, with the client id, gets access tokens.",
    )
    one_customer: OneCustomer = Field(
        "refuse",
        description="What happens to a coupon for one customer who has no account in the store: `refuse` rejects it,"
        " `issue_unrestricted` creates it for everyone who has the code.",
    )

    _no_placeholder = field_validator("access_token", "client_secret")(refuse_placeholder)

    @model_validator(mode="after")
    def _has_credentials(self) -> Self:
        if self.access_token is None and (self.client_id is None or self.client_secret is None):
            raise ValueError("needs SHOPIFY__ACCESS_TOKEN, or SHOPIFY__CLIENT_ID and SHOPIFY__CLIENT_SECRET")
        return self


class Shopify:
    """Coupons, native events, webhooks and the loyalty sync of a Shopify store."""

    Settings: ClassVar[type[EnvironmentSettings]] = ShopifySettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(
        {CouponKind.FIXED_AMOUNT, CouponKind.PERCENTAGE, CouponKind.FREE_SHIPPING}
    )
    CANNOT: ClassVar[Mapping[str, str]] = {
        "per_customer_limit": "Shopify can limit a customer to one use, but not to another number",
    }

    def __init__(self, settings: ShopifySettings, clients: HttpClients) -> None:
        token, secret = settings.access_token, settings.client_secret
        self._host = settings.url.host or ""
        self._secret = secret.get_secret_value() if secret else None
        self._refuse = settings.one_customer == "refuse"
        access = token.get_secret_value() if token else None
        self._http = clients.make(
            settings.url,
            secrets=(access or "", self._secret or ""),
            body_cap=BODY_CAP,
            rate_limit_pause=rate_limit_pause,
        )
        self._api = ShopifyApi(
            str(settings.url), self._http, access_token=access, client_id=settings.client_id, client_secret=self._secret
        )
        self._currency = ""

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(ShopifySettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    # ------------------------------------------------------------------------------------------------ coupons

    @returns_failures
    async def issue_coupon(self, spec: CouponSpec) -> Outcome:
        """See `base.StoreAdapter`."""
        once = replace(spec, per_customer_limit=None) if spec.per_customer_limit == 1 else spec
        if rejection := check_spec(once, Shopify, datetime.now(UTC)) or unsupported(spec):
            return rejection
        known = await self._for_a_customer(spec)
        outcome = (check_currency(known, {await self._currency_code()}) if has_amount(known) else None) or (
            None if spec.first_try else await find_existing(self, known)
        )
        return outcome or await self._create(known)

    @returns_failures
    async def find_coupon(self, code: str) -> StoreCoupon | None:
        """See `base.StoreAdapter`."""
        return await self._find(code)

    @returns_failures
    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`. Deletes the discount. One with more than one code belongs to the merchant and is kept."""
        coupon = await self._find(code)
        if coupon is None:
            return Done()
        if FURTHER_CODES in coupon.restrictions:
            return Reject(RESPONSES.reason(ReasonCode.COUPON_NOT_OURS, code=code, store_id=coupon.store_id))
        return await self._delete(coupon.store_id)

    @returns_failures
    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. Reads the permissions with which the app was installed."""
        granted, currency = await self._scopes()
        if NEEDED not in granted:
            hint = "Then install the app again."
            return Blocked(RESPONSES.reason(ReasonCode.PERMISSION_MISSING, permission=NEEDED, hint=hint))
        missing = [scope for scope in USEFUL if scope not in granted]
        note = f"; it lacks {', '.join(missing)} (see docs/stores/shopify.md)" if missing else ""
        detail = f"Shopify at {self._host}: the app may write discounts; the currency is {currency}{note}"
        return Ready(detail, frozenset({str(currency)} if currency else ()))

    async def _scopes(self) -> tuple[set[str], JsonValue]:
        """The permissions with which the app was installed, and the store's currency."""
        request = "the app's permissions"
        data = await self._api.data(request, CHECK)
        currency, scopes = (
            value_at(data["result"], "currencyCode"),
            value_at(data.get("currentAppInstallation"), "accessScopes"),
        )
        if not isinstance(data["result"], dict) or not isinstance(scopes, list):
            raise RESPONSES.unreadable(request, "it does not contain the store and the app's permissions")
        return {str(scope.get("handle")) for scope in objects(scopes)}, currency

    async def _for_a_customer(self, spec: CouponSpec) -> CouponSpec:
        """The spec with the store's id of the customer. Shopify restricts a discount by account, not by e-mail address."""
        if spec.customer_id is not None:
            return replace(spec, customer_id=gid("Customer", spec.customer_id).rpartition("/")[2])
        if spec.email is None:
            return spec
        customer = await self._api.read("the customer lookup", CUSTOMER_ID, {"email": spec.email})
        if (customer_id := value_at(customer, "legacyResourceId")) is not None:
            return replace(spec, customer_id=str(customer_id))
        if self._refuse:
            problem = (
                "Shopify restricts a coupon by account, and no account has this e-mail address; "
                "SHOPIFY__ONE_CUSTOMER=issue_unrestricted makes it valid for everyone"
            )
            raise CallFailed(not_supported(spec, "email", problem))
        return replace(spec, email=None)

    async def _currency_code(self) -> str:
        """The store's currency. It cannot be changed after the first sale, so it is read once."""
        if not self._currency:
            request = "the currency lookup"
            currency = value_at(await self._api.read(request, CURRENCY), "currencyCode")
            if not isinstance(currency, str):
                raise RESPONSES.unreadable(request, "it does not contain the currency")
            self._currency = currency
        return self._currency

    async def _find(self, code: str) -> StoreCoupon | None:
        node = await self._api.read(LOOKUP, FIND, {"code": code})
        coupon = parse_coupon(node, code)
        if node is not None and coupon is None:
            raise RESPONSES.unreadable(LOOKUP, "it does not contain a readable discount")
        return coupon

    async def _create(self, spec: CouponSpec) -> Outcome:
        document = CREATE_FREE_SHIPPING if spec.kind is CouponKind.FREE_SHIPPING else CREATE_BASIC
        result = await self._api.write(CREATION, document, {"coupon": coupon_input(spec, datetime.now(UTC))})
        if is_taken(result):
            not_visible = RESPONSES.reason(ReasonCode.COUPON_NOT_VISIBLE, code=spec.code)
            return await find_existing(self, spec) or Retry(not_visible)
        if failure := creation_failure(result, spec):
            return failure
        coupon = parse_coupon(value_at(result, "codeDiscountNode"), spec.code)
        if coupon is None:
            raise RESPONSES.unreadable(CREATION, "it does not contain a readable discount")
        return await confirm_created(spec, coupon, self._delete)

    async def _delete(self, store_id: str) -> Done | Reject:
        errors = user_errors(await self._api.write(DELETION, DELETE, {"id": store_id}))
        if not errors or any("does not exist" in message for _, message in errors):  # the error text of Shopify
            return Done()
        return rejected(DELETION, errors)

    # ------------------------------------------------------------------------------------------------ native events and webhooks

    async def parse_event(self, headers: Mapping[str, str], raw: bytes) -> ParsedWebhook:
        """See `native.ReceivesWebhooks`."""
        return await parse_with(self, headers, raw)

    async def webhook_parser(self, headers: Mapping[str, str], raw: bytes) -> Callable[[], ParsedWebhook] | Unverified:
        """See `native.ParsesLargeWebhooks`."""
        if self._secret is None:
            return Unverified(secret_missing(SIGNED_WITH))
        return partial(parse_webhook, headers, raw, self._secret, self._host)

    @returns_failures
    async def fetch(self, kind: EventKind, entity_id: str) -> ParsedEntity | Outcome | None:
        """See `native.FetchesEntities`."""
        document, name = GETS[kind]
        node = await self._api.read(f"the {kind.removesuffix('s')}", document, {"id": gid(name, entity_id)})
        if node is None:
            return None
        return event_from_node(kind, node)

    @returns_failures
    async def list_entities(self, kind: EventKind, since: datetime | None, cursor: str | None) -> Page:
        """See `native.ListsEntities`. The oldest change comes first."""
        request = f"the list of {kind}"
        position = KeyPosition.of(cursor, first="", size=PAGE[kind])
        filters: dict[str, JsonValue] = {"cursor": position.after or None, "changed": changed_since(since)}

        async def read(limit: int) -> JsonValue:
            return await self._api.read(request, LISTS[kind], {"first": limit, **filters})

        connection, size = await with_smaller_pages(position.size, read)
        return page_of(kind, connection, size, request)

    @returns_failures
    async def count(self, kind: EventKind, since: datetime | None = None) -> int | None:
        """See `native.CountsEntities`. None if Shopify gives only a lower bound, and for orders that the app may not list."""
        request = f"the number of {kind}"
        data = await self._api.data(request, COUNTS[kind], {"changed": changed_since(since)})
        number = whole_number(value_at(data["result"], "count"))
        if number is None:
            raise RESPONSES.unreadable(request, "it does not contain the number")
        scopes = objects(value_at(data.get("currentAppInstallation"), "accessScopes"))
        if kind is EventKind.ORDER and not any(scope.get("handle") == ALL_ORDERS for scope in scopes):
            return None
        return number if value_at(data["result"], "precision") == "EXACT" else None

    def webhook_topics(self) -> tuple[str, ...]:
        """See `native.SetsUpWebhooks`."""
        return TOPICS

    @returns_failures
    async def list_webhooks(self, address: str) -> tuple[StoreWebhook, ...]:
        """See `native.SetsUpWebhooks`. Shopify deletes a webhook instead of switching it off, so all of them are enabled."""
        return await list_webhooks(self._api, address)

    @returns_failures
    async def create_webhook(self, topic: str, address: str) -> StoreWebhook | Outcome:
        """See `native.SetsUpWebhooks`. Shopify signs with the app's client secret."""
        if self._secret is None:
            return Reject(secret_missing(SIGNED_WITH))
        return await create_webhook(self._api, topic, address)

    async def enable_webhook(self, webhook: StoreWebhook) -> Outcome:
        """See `native.SetsUpWebhooks`. Creates the webhook again if Shopify has deleted it."""
        created = await self.create_webhook(webhook.topic, webhook.address)
        return Done({"id": created.id}) if isinstance(created, StoreWebhook) else created

    @returns_failures
    async def delete_webhook(self, webhook: StoreWebhook) -> Outcome:
        """See `native.SetsUpWebhooks`."""
        return await delete_webhook(self._api, webhook)

    @returns_failures
    async def sync_loyalty(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:  # noqa: ARG002
        """See `loyalty_sync.SyncsLoyalty`."""
        return await sync_loyalty(self._api, topic, body)

    @returns_failures
    async def check_loyalty_sync(self) -> Outcome:
        """See `loyalty_sync.ChecksLoyaltySync`. Reads the permissions with which the app was installed."""
        permission = "write_customers"
        granted, _ = await self._scopes()
        return (
            Done()
            if permission in granted
            else Blocked(RESPONSES.reason(ReasonCode.PERMISSION_MISSING, permission=permission))
        )


def is_taken(result: JsonValue) -> bool:
    """Whether a creation failed only because the code exists."""
    return {code for code, _ in user_errors(result)} == {"TAKEN"}


def creation_failure(result: JsonValue, spec: CouponSpec) -> Failure | None:
    """The failure for the userErrors of a creation; None without errors. Its text does not contain the customer's id."""
    errors = user_errors(result)
    if not errors:
        return None
    if spec.customer_id:
        errors = [(code, text.replace(spec.customer_id, "***")) for code, text in errors]
    rejection = rejected(CREATION, errors)
    if any(code == "INTERNAL_ERROR" for code, _ in errors):
        return Unknown(RESPONSES.reason(ReasonCode.SERVER_ERROR, **rejection.reason.facts))
    return rejection
