"""Shopify, Admin GraphQL API 2026-07 (https://shopify.dev/docs/api/admin-graphql/2026-07).

Made from the official schema and from answers recorded on a real store (2026-04); what neither shows is marked (doc).
What an answer means, the first line that fits:

    401, 403                               Blocked; client credentials: one renewal of the token, then Blocked
    402, 404, 423, 3xx                     Blocked: frozen, wrong address, locked, renamed
    408, 425, 429, 430                     Retry after what the store says
    5xx, no JSON, another shape            Unknown for a mutation, else Retry or Unknown
    other 4xx                              Reject with the store's words
    200, errors THROTTLED                  Retry when the cost points will suffice (computed from extensions.cost)
    200, errors ACCESS_DENIED              Blocked: names the permission that is missing
    200, errors INTERNAL_SERVER_ERROR      Unknown for a mutation, else Retry (doc)
    200, other errors                      Reject: our request does not fit the schema
    200, userErrors with TAKEN             the code is looked up and compared: Done or Reject
    200, userErrors with INTERNAL_ERROR    Unknown
    200, other userErrors                  Reject with the store's words
    200, codeDiscountNode                  Done when it is what was ordered; else it is deleted again and Reject

Shopify takes a value of 0 (`percentage: 0.0`, `amount: "0.0"`) without a word. A code is unique in any case, and a
discount may have many codes: one with further codes is the merchant's and is never deleted.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, HttpUrl, JsonValue, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from platform_relay.core.http import Failure, HttpClients
from platform_relay.core.outcomes import Blocked, Done, Outcome, Reject, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.messages import Kind
from platform_relay.settings import EnvironmentSettings, refuse_placeholder
from platform_relay.stores.base import (
    CouponFound,
    CouponKind,
    CouponSpec,
    Ready,
    already_held,
    as_made,
    has_amount,
    not_supported,
    other_currency,
    refusal,
)
from platform_relay.stores.failing import CallFailed, answers_failures
from platform_relay.stores.native import Hook, NativeEvent, Page, Parsed, Refused, secret_missing, unreadable_entity
from platform_relay.stores.reading import rows
from platform_relay.stores.shopify.api import RESPONSES, WORDS, ShopifyApi, patience
from platform_relay.stores.shopify.coupons import coupon_found, coupon_input, gid, inexpressible
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
    GETS,
    LISTS,
    WANTED,
    changed_since,
    event_of_node,
    page_of,
    parse_webhook,
)
from platform_relay.stores.shopify.loyalty_sync import sync_loyalty
from platform_relay.stores.shopify.webhooks import create_hook, delete_hook, list_hooks

NEEDED: Final = "write_discounts"
USEFUL: Final = ("read_customers", "read_orders", "read_products")
FURTHER_CODES: Final = "further codes"
SIGNED_WITH: Final = "SHOPIFY__CLIENT_SECRET"
CREATION: Final = "the creation of the coupon"
LOOK_UP: Final = "the coupon look-up"
DELETION: Final = "the deletion of the coupon"


class ShopifySettings(EnvironmentSettings):
    """`SHOPIFY__URL` and so on."""

    model_config = SettingsConfigDict(env_prefix="SHOPIFY__")

    url: HttpUrl = Field(description="The store's own address at Shopify, e.g. `https://my-shop.myshopify.com`.")
    access_token: SecretStr | None = Field(None, description="Offline access token (`shpat_…`) of a custom app.")
    client_id: str | None = Field(None, description="Client id of an app of your own, instead of an access token.")
    client_secret: SecretStr | None = Field(
        None, description="The app's client secret: with the client id gets tokens, and verifies the store's webhooks."
    )
    one_customer: Literal["refuse", "issue_unrestricted"] = Field(
        "refuse",
        description="A coupon for one customer who has no account in the shop: `refuse` or `issue_unrestricted`.",
    )

    _no_placeholder = field_validator("access_token", "client_secret")(refuse_placeholder)

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.access_token is None and (self.client_id is None or self.client_secret is None):
            raise ValueError("needs SHOPIFY__ACCESS_TOKEN, or SHOPIFY__CLIENT_ID and SHOPIFY__CLIENT_SECRET")
        return self


class Shopify:
    """One Shopify shop: its coupons, webhooks and lists."""

    Settings: ClassVar[type[EnvironmentSettings]] = ShopifySettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(
        {CouponKind.FIXED_AMOUNT, CouponKind.PERCENTAGE, CouponKind.FREE_SHIPPING}
    )
    CANNOT: ClassVar[Mapping[str, str]] = {
        "per_customer_limit": "Shopify knows once per customer (1) and no other count",
    }

    def __init__(self, settings: ShopifySettings, clients: HttpClients) -> None:
        token, secret = settings.access_token, settings.client_secret
        self._host = settings.url.host or ""
        self._secret = secret.get_secret_value() if secret else None
        self._refuse = settings.one_customer == "refuse"
        access = token.get_secret_value() if token else None
        self._http = clients.make(settings.url, secrets=(access or "", self._secret or ""), patience=patience)
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

    @answers_failures
    async def issue_coupon(self, order: CouponSpec) -> Outcome:
        """See `base.StoreAdapter`."""
        once = replace(order, per_customer_limit=None) if order.per_customer_limit == 1 else order
        if refused := refusal(once, Shopify, datetime.now(UTC)) or inexpressible(order):
            return refused
        known = await self._for_a_customer(order)
        hindrance = (other_currency(known, {await self._shop_currency()}) if has_amount(known) else None) or (
            None if order.first_try else await already_held(self, known)
        )
        return hindrance or await self._create(known)

    @answers_failures
    async def find_coupon(self, code: str) -> CouponFound | None:
        """See `base.StoreAdapter`."""
        return await self._find(code)

    @answers_failures
    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`. Deletes the discount, unless it has further codes, which makes it the merchant's."""
        found = await self._find(code)
        if found is None:
            return Done()
        if FURTHER_CODES in found.restrictions:
            return Reject(RESPONSES.reason(ReasonCode.COUPON_NOT_OURS, code=code, store_id=found.store_id))
        return await self._delete(found.store_id)

    @answers_failures
    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. Reads the permissions that the app was installed with."""
        request = "the look-up of the app's permissions"
        data = await self._api.data(request, CHECK)
        shop, app = data["result"], data.get("currentAppInstallation")
        scopes = app.get("accessScopes") if isinstance(app, dict) else None
        if not isinstance(shop, dict) or not isinstance(scopes, list):
            raise RESPONSES.unreadable(request, "it does not show the store and the app's permissions")
        held = {str(scope.get("handle")) for scope in scopes if isinstance(scope, dict)}
        if NEEDED not in held:
            hint = "Then install the app again."
            return Blocked(RESPONSES.reason(ReasonCode.PERMISSION_MISSING, permission=NEEDED, hint=hint))
        lacks = [scope for scope in USEFUL if scope not in held]
        rest = f"; it lacks {', '.join(lacks)} (docs/stores/shopify.md says what for)" if lacks else ""
        return Ready(f"Shopify at {self._host}: the app may write discounts; currency {shop.get('currencyCode')}{rest}")

    async def _for_a_customer(self, order: CouponSpec) -> CouponSpec:
        """The order with the store's id of the customer: Shopify restricts a discount by account, not by address."""
        if order.customer_id is not None:
            return replace(order, customer_id=gid("Customer", order.customer_id).rpartition("/")[2])
        if order.email is None:
            return order
        customer = await self._api.read("the customer look-up", CUSTOMER_ID, {"email": order.email})
        if isinstance(customer, dict) and customer.get("legacyResourceId") is not None:
            return replace(order, customer_id=str(customer["legacyResourceId"]))
        if self._refuse:
            problem = (
                "Shopify restricts a coupon by account, and nobody with this address has one; "
                "SHOPIFY__ONE_CUSTOMER=issue_unrestricted makes it valid for everybody"
            )
            raise CallFailed(not_supported(order, "email", problem))
        return replace(order, email=None)

    async def _shop_currency(self) -> str:
        """A store's currency cannot be changed after its first sale, so it is asked for once."""
        if not self._currency:
            request = "the look-up of the currency"
            shop = await self._api.read(request, CURRENCY)
            if not isinstance(shop, dict) or not isinstance(shop.get("currencyCode"), str):
                raise RESPONSES.unreadable(request, "it does not show the currency")
            self._currency = str(shop["currencyCode"])
        return self._currency

    async def _find(self, code: str) -> CouponFound | None:
        node = await self._api.read(LOOK_UP, FIND, {"code": code})
        found = coupon_found(node, code)
        if node is not None and found is None:
            raise RESPONSES.unreadable(LOOK_UP, "it has no readable discount")
        return found

    async def _create(self, order: CouponSpec) -> Outcome:
        document = CREATE_FREE_SHIPPING if order.kind is CouponKind.FREE_SHIPPING else CREATE_BASIC
        result = await self._api.write(CREATION, document, {"coupon": coupon_input(order, datetime.now(UTC))})
        if is_taken(result):
            unseen = RESPONSES.reason(ReasonCode.COUPON_NOT_VISIBLE, code=order.code)
            return await already_held(self, order) or Retry(unseen)
        if failure := of_user_errors(result, order):
            return failure
        made = coupon_found(result.get("codeDiscountNode"), order.code) if isinstance(result, dict) else None
        if made is None:
            raise RESPONSES.unreadable(CREATION, "it has no readable discount")
        return await as_made(order, made, self._delete)

    async def _delete(self, store_id: str) -> Done | Reject:
        errors = user_errors(await self._api.write(DELETION, DELETE, {"id": store_id}))
        if not errors or any("does not exist" in message for _, message in errors):  # Shopify's words
            return Done()
        response = "; ".join(message for _, message in errors)[:WORDS]
        return Reject(RESPONSES.reason(ReasonCode.REJECTED_BY_DESTINATION, request=DELETION, response=response))

    # ------------------------------------------------------------------------------------------------ native

    async def parse_event(self, headers: Mapping[str, str], raw: bytes) -> Parsed:
        """See `native.ReceivesWebhooks`."""
        if self._secret is None:
            return Refused(secret_missing(SIGNED_WITH))
        return parse_webhook(headers, raw, self._secret, self._host)

    @answers_failures
    async def fetch(self, kind: Kind, entity_id: str) -> NativeEvent | Outcome | None:
        """See `native.FetchesEntities`."""
        document, name = GETS[kind]
        node = await self._api.read(f"the look-up in {kind}", document, {"id": gid(name, entity_id)})
        if node is None:
            return None
        return event_of_node(kind, node) or Unknown(unreadable_entity("Shopify", kind, entity_id))

    @answers_failures
    async def list_entities(self, kind: Kind, since: datetime | None, cursor: str | None) -> Page:
        """See `native.ListsEntities`. The oldest change first."""
        request = f"the list of {kind}"
        variables: dict[str, JsonValue] = {"cursor": cursor, "changed": changed_since(since)}
        return page_of(kind, await self._api.read(request, LISTS[kind], variables), request)

    def wanted_topics(self) -> tuple[str, ...]:
        """See `native.SetsUpWebhooks`."""
        return WANTED

    @answers_failures
    async def list_hooks(self, address: str) -> tuple[Hook, ...]:
        """See `native.SetsUpWebhooks`. Shopify removes what it gave up on, so all that are there are enabled."""
        return await list_hooks(self._api, address)

    @answers_failures
    async def create_hook(self, topic: str, address: str) -> Hook | Outcome:
        """See `native.SetsUpWebhooks`. Shopify signs with the app's client secret."""
        if self._secret is None:
            return Reject(secret_missing(SIGNED_WITH))
        return await create_hook(self._api, topic, address)

    async def enable_hook(self, hook: Hook) -> Outcome:
        """See `native.SetsUpWebhooks`. Sets a removed one up again; what is there is enabled."""
        made = await self.create_hook(hook.topic, hook.address)
        return Done({"id": made.id}) if isinstance(made, Hook) else made

    @answers_failures
    async def delete_hook(self, hook: Hook) -> Outcome:
        """See `native.SetsUpWebhooks`."""
        return await delete_hook(self._api, hook)

    @answers_failures
    async def sync_loyalty(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:  # noqa: ARG002
        """See `news.SyncsLoyalty`."""
        return await sync_loyalty(self._api, topic, body)


def user_errors(result: JsonValue) -> list[tuple[str, str]]:
    """Code ("" when absent) and words, with the field, of each of a mutation's userErrors."""
    errors = []
    for row in rows(result.get("userErrors") if isinstance(result, dict) else None):
        field = row.get("field")
        path = ".".join(str(part) for part in field[1:]) if isinstance(field, list) else ""
        message = str(row.get("message"))
        errors.append((str(row.get("code") or ""), f"{path}: {message}" if path else message))
    return errors


def is_taken(result: JsonValue) -> bool:
    """Whether a creation failed because the code exists, and for no other reason."""
    return {code for code, _ in user_errors(result)} == {"TAKEN"}


def of_user_errors(result: JsonValue, order: CouponSpec) -> Failure | None:
    """What a creation's userErrors mean; None: there are none. The words never hold the customer's id."""
    errors = user_errors(result)
    if not errors:
        return None
    words = "; ".join(f"{message} ({code})" if code else message for code, message in errors)
    if order.customer_id:
        words = words.replace(order.customer_id, "***")
    facts = {"request": CREATION, "response": words[:WORDS]}
    if any(code == "INTERNAL_ERROR" for code, _ in errors):
        return Unknown(RESPONSES.reason(ReasonCode.SERVER_ERROR, **facts))
    return Reject(RESPONSES.reason(ReasonCode.REJECTED_BY_DESTINATION, **facts))
