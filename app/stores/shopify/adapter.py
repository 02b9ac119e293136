"""Shopify, Admin GraphQL API 2026-07 (https://shopify.dev/docs/api/admin-graphql/2026-07).

Made from the official schema and from answers recorded on a real shop (2026-04); what neither shows is marked (doc).
What an answer means, the first line that fits:

    401, 403                               Blocked; client credentials: one renewal of the token, then Blocked
    402, 404, 423, 3xx                     Blocked: frozen, wrong address, locked, renamed
    408, 425, 429, 430                     Retry after what the shop says
    5xx, no JSON, another shape            Unknown for a mutation, else Retry or Unknown
    other 4xx                              Reject with the shop's words
    200, errors THROTTLED                  Retry when the cost points will suffice (computed from extensions.cost)
    200, errors ACCESS_DENIED              Blocked: names the permission that is missing
    200, errors INTERNAL_SERVER_ERROR      Unknown for a mutation, else Retry (doc)
    200, other errors                      Reject: our request does not fit the schema
    200, userErrors with TAKEN             the code is looked up and compared: Done or Reject
    200, userErrors with INTERNAL_ERROR    Unknown
    200, other userErrors                  Reject with the shop's words
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

from app.http import Failure, HttpClients
from app.messages import Kind
from app.outcomes import Blocked, Done, Outcome, Reject, Retry, Unknown
from app.settings import EnvironmentSettings, refuse_placeholder
from app.stores.base import CouponFound, CouponKind, CouponOrder, Ready, differences, judge, made_otherwise, refusal
from app.stores.native import Hook, NativeEvent, Page, Parsed, Refused
from app.stores.shopify.api import ShopifyApi, patience
from app.stores.shopify.coupons import coupon_found, coupon_input, foreign_ids, gid
from app.stores.shopify.documents import (
    CHECK,
    CREATE_BASIC,
    CREATE_FREE_SHIPPING,
    CURRENCY,
    CUSTOMER_ID,
    DELETE,
    FIND,
)
from app.stores.shopify.events import GETS, LISTS, WANTED, changed_since, event_of_node, page_of, parse_webhook
from app.stores.shopify.hooks import create_hook, delete_hook, list_hooks
from app.stores.shopify.news import take_news

NEEDED: Final = "write_discounts"
USEFUL: Final = ("read_customers", "read_orders", "read_products")
FURTHER_CODES: Final = "further codes"


class ShopifySettings(EnvironmentSettings):
    """`SHOPIFY__URL` and so on."""

    model_config = SettingsConfigDict(env_prefix="SHOPIFY__")

    url: HttpUrl = Field(description="The shop's own address at Shopify, e.g. `https://my-shop.myshopify.com`.")
    access_token: SecretStr | None = Field(None, description="Offline access token (`shpat_…`) of a custom app.")
    client_id: str | None = Field(None, description="Client id of an app of your own, instead of an access token.")
    client_secret: SecretStr | None = Field(
        None, description="The app's client secret: with the client id gets tokens, and verifies the shop's webhooks."
    )
    one_customer: Literal["refuse", "issue_unrestricted"] = Field(
        "refuse",
        description="A coupon for one shopper who has no account in the shop: `refuse` or `issue_unrestricted`.",
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

    async def issue_coupon(self, order: CouponOrder) -> Outcome:
        """See `base.StoreAdapter`."""
        once = replace(order, per_customer_limit=None) if order.per_customer_limit == 1 else order
        if refused := refusal(once, Shopify, datetime.now(UTC)) or _foreign(order):
            return refused
        known = await self._for_a_customer(order)
        if not isinstance(known, CouponOrder):
            return known
        held = await self._other_currency(known) or (None if order.first_try else await self._held(known))
        return held or await self._create(known)

    async def find_coupon(self, code: str) -> CouponFound | Outcome | None:
        """See `base.StoreAdapter`."""
        data = await self._api.read(FIND, {"code": code})
        if not isinstance(data, Mapping):
            return data
        if data["result"] is None:
            return None
        return coupon_found(data["result"], code) or Unknown("Shopify answered the look-up with no readable discount")

    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`. Deletes the discount, unless it has further codes."""
        found = await self.find_coupon(code)
        if not isinstance(found, CouponFound):
            return Done() if found is None else found
        if FURTHER_CODES in found.restrictions:
            return Reject(f"{code} is one of several codes of a discount of the merchant; remove it in the shop")
        return await self._delete(found.store_id)

    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. Reads the permissions that the app was installed with."""
        data = await self._api.read(CHECK)
        if not isinstance(data, Mapping):
            return data
        shop, app = data["result"], data.get("currentAppInstallation")
        scopes = app.get("accessScopes") if isinstance(app, dict) else None
        if not isinstance(shop, dict) or not isinstance(scopes, list):
            return Unknown("Shopify told neither the shop nor the app's permissions")
        held = {str(scope.get("handle")) for scope in scopes if isinstance(scope, dict)}
        if NEEDED not in held:
            return Blocked(f"the app may not write discounts: give it the permission {NEEDED} and install it again")
        lacks = [scope for scope in USEFUL if scope not in held]
        rest = f"; it lacks {', '.join(lacks)} (docs/shops/shopify.md says what for)" if lacks else ""
        return Ready(f"Shopify at {self._host}: the app may write discounts; currency {shop.get('currencyCode')}{rest}")

    async def _for_a_customer(self, order: CouponOrder) -> CouponOrder | Outcome:
        """The order with the shop's id of the shopper: Shopify restricts a discount by account, not by address."""
        if order.customer_id is not None:
            return replace(order, customer_id=gid("Customer", order.customer_id).rpartition("/")[2])
        if order.email is None:
            return order
        data = await self._api.read(CUSTOMER_ID, {"email": order.email})
        if not isinstance(data, Mapping):
            return data
        customer = data["result"]
        if isinstance(customer, dict) and customer.get("legacyResourceId") is not None:
            return replace(order, customer_id=str(customer["legacyResourceId"]))
        if self._refuse:
            return Reject(
                f"coupon {order.code} was not created: email: Shopify restricts a coupon by account, and nobody with "
                "this address has one; SHOPIFY__ONE_CUSTOMER=issue_unrestricted makes it valid for everybody"
            )
        return replace(order, email=None)

    async def _other_currency(self, order: CouponOrder) -> Outcome | None:
        """A shop's currency cannot be changed after its first sale, so it is asked for once."""
        if not order.currency or (order.kind is not CouponKind.FIXED_AMOUNT and not order.minimum_spend):
            return None
        if not self._currency:
            data = await self._api.read(CURRENCY)
            if not isinstance(data, Mapping):
                return data
            shop = data["result"]
            if not isinstance(shop, dict) or not isinstance(shop.get("currencyCode"), str):
                return Unknown("Shopify did not tell the shop's currency")
            self._currency = str(shop["currencyCode"])
        if self._currency == order.currency:
            return None
        return Reject(f"coupon {order.code} is ordered in {order.currency}, the shop sells in {self._currency}")

    async def _held(self, order: CouponOrder) -> Outcome | None:
        found = await self.find_coupon(order.code)
        return judge(order, found) if isinstance(found, CouponFound) else found

    async def _create(self, order: CouponOrder) -> Outcome:
        shipping = order.kind is CouponKind.FREE_SHIPPING
        coupon = coupon_input(order, datetime.now(UTC))
        data = await self._api.write(CREATE_FREE_SHIPPING if shipping else CREATE_BASIC, {"coupon": coupon})
        if not isinstance(data, Mapping):
            return data
        if outcome := of_user_errors(data["result"], order):
            why = f"the shop says that the code {order.code} is taken, and does not show it"
            return outcome if outcome != TAKEN else await self._held(order) or Retry(why)
        result = data["result"]
        found = coupon_found(result.get("codeDiscountNode"), order.code) if isinstance(result, dict) else None
        if found is None:
            return Unknown("Shopify answered the creation without a readable discount")
        told = differences(order, found)
        if not told:
            return Done({"store_id": found.store_id})
        removed = await self._delete(found.store_id)
        return made_otherwise(order, told, removed, found.store_id)

    async def _delete(self, store_id: str) -> Outcome:
        data = await self._api.write(DELETE, {"id": store_id})
        if not isinstance(data, Mapping):
            return data
        errors = user_errors(data["result"])
        gone = not errors or any("does not exist" in message for _, message in errors)
        return Done() if gone else Reject(f"Shopify does not delete {store_id}: {'; '.join(m for _, m in errors)}")

    # ------------------------------------------------------------------------------------------------ native

    async def parse_event(self, headers: Mapping[str, str], raw: bytes) -> Parsed:
        """See `native.ReceivesWebhooks`."""
        if self._secret is None:
            return Refused("SHOPIFY__CLIENT_SECRET is not set, so no webhook of the shop can be verified")
        return parse_webhook(headers, raw, self._secret, self._host)

    async def fetch(self, kind: Kind, entity_id: str) -> NativeEvent | Outcome | None:
        """See `native.FetchesEntities`."""
        document, name = GETS[kind]
        data = await self._api.read(document, {"id": gid(name, entity_id)})
        if not isinstance(data, Mapping):
            return data
        if data["result"] is None:
            return None
        return event_of_node(kind, data["result"]) or Unknown(f"Shopify's {name} {entity_id} cannot be read")

    async def list_entities(self, kind: Kind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        """See `native.ListsEntities`. The oldest change first."""
        data = await self._api.read(LISTS[kind], {"cursor": cursor, "changed": changed_since(since)})
        return page_of(kind, data["result"]) if isinstance(data, Mapping) else data

    def wanted_topics(self) -> tuple[str, ...]:
        """See `native.SetsUpWebhooks`."""
        return WANTED

    async def list_hooks(self, address: str) -> tuple[Hook, ...] | Outcome:
        """See `native.SetsUpWebhooks`. Shopify removes what it gave up on, so all that are there are enabled."""
        return await list_hooks(self._api, address)

    async def create_hook(self, topic: str, address: str) -> Hook | Outcome:
        """See `native.SetsUpWebhooks`. Shopify signs with the app's client secret."""
        if self._secret is None:
            return Reject("SHOPIFY__CLIENT_SECRET is not set: the webhook could not be verified")
        return await create_hook(self._api, topic, address)

    async def enable_hook(self, hook: Hook) -> Outcome:
        """See `native.SetsUpWebhooks`. Sets a removed one up again; what is there is enabled."""
        made = await self.create_hook(hook.topic, hook.address)
        return Done({"id": made.id}) if isinstance(made, Hook) else made

    async def delete_hook(self, hook: Hook) -> Outcome:
        """See `native.SetsUpWebhooks`."""
        return await delete_hook(self._api, hook)

    async def take_news(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:  # noqa: ARG002
        """See `news.TakesNews`."""
        return await take_news(self._api, topic, body)


TAKEN: Final = Reject("the code is taken")


def user_errors(result: JsonValue) -> list[tuple[str, str]]:
    """Code ("" when absent) and words, with the field, of each of a mutation's userErrors."""
    rows = result.get("userErrors") if isinstance(result, dict) else None
    told = []
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict):
            field = row.get("field")
            path = ".".join(str(part) for part in field[1:]) if isinstance(field, list) else ""
            message = str(row.get("message"))
            told.append((str(row.get("code") or ""), f"{path}: {message}" if path else message))
    return told


def of_user_errors(result: JsonValue, order: CouponOrder) -> Failure | None:
    """What a creation's userErrors mean; TAKEN asks for a look-up, None: there are none.

    TAKEN counts only when it is all that is wrong. The words never hold the shopper's id.
    """
    errors = user_errors(result)
    if not errors:
        return None
    words = "; ".join(f"{message} ({code})" if code else message for code, message in errors)
    if order.customer_id:
        words = words.replace(order.customer_id, "***")
    codes = {code for code, _ in errors}
    if codes == {"TAKEN"}:
        return TAKEN
    if "INTERNAL_ERROR" in codes:
        return Unknown(f"Shopify failed inside: {words[:500]}")
    return Reject(f"Shopify refuses the coupon {order.code}: {words[:500]}")


def _foreign(order: CouponOrder) -> Reject | None:
    why = foreign_ids(order)
    return Reject(f"coupon {order.code} was not created: {why}") if why else None
