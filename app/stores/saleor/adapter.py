"""Saleor, GraphQL API (https://docs.saleor.io/api-usage/overview).

Observed on Saleor 3.23.28. A coupon is made by two calls: `voucherCreate` makes the voucher and its code,
`voucherChannelListingUpdate` says what it is worth in a channel. Until then the voucher exists and never applies ("Promo
code is invalid"), so a voucher found without any listing, and otherwise as ordered, is finished. What an answer means:

    data without errors                    goes on, or Done, when it is what was ordered; else deleted again: Reject
    errors ALREADY_EXISTS or UNIQUE, or    the code is looked up and compared: finished, Done or Reject
    a top-level IntegrityError (a race)
    a mutation's other errors              Reject with Saleor's words; a voucher just made is deleted again
    PermissionDenied, token errors         Blocked: HTTP 200 all the same
    GraphQLError, HTTP 400                 Reject
    other top-level errors                 Unknown for a change, else Retry (ReadOnlyException: Retry)
    401, 403, 404, 3xx                     Blocked
    408, 425, 429                          Retry
    5xx                                    Unknown for a change, else Retry
    no JSON, no data                       Unknown

The look-up is a fuzzy search in any case; codes are compared exactly here, as `SPRING` and `spring` are two in Saleor.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, FilePath, HttpUrl, JsonValue, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Blocked, Done, Outcome, Retry
from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.messages import Kind
from platform_relay.settings import EnvironmentSettings, refuse_placeholder
from platform_relay.stores.base import (
    CouponFound,
    CouponKind,
    CouponSpec,
    Ready,
    as_made,
    judge,
    not_as_ordered,
    other_currency,
    refusal,
    undone,
)
from platform_relay.stores.failing import CallFailed, answers_failures
from platform_relay.stores.native import Hook, NativeEvent, Page, Parsed
from platform_relay.stores.remembered import Remembered
from platform_relay.stores.saleor import documents as documents
from platform_relay.stores.saleor import events as events
from platform_relay.stores.saleor.api import RESPONSES, Node, Refusal, SaleorApi, nodes, token_rejected
from platform_relay.stores.saleor.loyalty_sync import sync_loyalty
from platform_relay.stores.saleor.vouchers import (
    Channel,
    half_made,
    inexpressible,
    listing_input,
    metadata,
    unlike_so_far,
    voucher_found,
    voucher_input,
)
from platform_relay.stores.saleor.webhooks import Hooks, KeySet

CREATION: Final = "the creation of the coupon"
LISTING: Final = "the value of the coupon"
LOOK_UP: Final = "the coupon look-up"
DELETION: Final = "the deletion of the coupon"
MOST_PAGES: Final = 5
"""A fuzzy search is read through so far."""
NEEDED: Final[Mapping[str, str]] = {
    "MANAGE_USERS": "customers", "MANAGE_ORDERS": "orders", "MANAGE_PRODUCTS": "products",
}  # fmt: skip


class SaleorSettings(EnvironmentSettings):
    """`SALEOR__URL` and so on."""

    model_config = SettingsConfigDict(env_prefix="SALEOR__")

    url: HttpUrl = Field(description="The API's address, e.g. `https://shop.saleor.cloud`; `/graphql/` is added to it.")
    token: SecretStr = Field(description="Token of an app of the store with the permissions named here.")
    channel: str = Field(description="Slug of the channel that coupons are made for.")
    webhook_secret: SecretStr | None = Field(
        None, description="Secret key of webhooks that are signed by HMAC; empty: by the store's own key (JWS)."
    )
    one_customer: Literal["refuse", "issue_unrestricted"] = Field(
        "refuse", description="A coupon for one customer, which Saleor cannot make: `refuse` or `issue_unrestricted`."
    )
    ca_file: FilePath | None = Field(
        None, description="PEM file of the certificate authority, for a store with a certificate of its own making."
    )

    _no_placeholder = field_validator("token", "webhook_secret")(refuse_placeholder)


class Saleor:
    """The store's coupons, lists and webhooks over GraphQL."""

    Settings: ClassVar[type[EnvironmentSettings]] = SaleorSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(CouponKind) - {CouponKind.GIFT_CARD}
    CANNOT: ClassVar[Mapping[str, str]] = {
        "email": "Saleor cannot restrict a voucher to one customer",
        "customer_id": "Saleor cannot restrict a voucher to one customer",
        "per_customer_limit": "Saleor can limit a customer to one use, not to another number",
    }

    def __init__(self, settings: SaleorSettings, clients: HttpClients) -> None:
        token = settings.token.get_secret_value()
        secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else ""
        self._host = settings.url.host or ""
        self._slug = settings.channel
        self._http = clients.make(settings.url, ca_file=settings.ca_file, body_cap=4 << 20, secrets=(token, secret))
        self._api = SaleorApi(str(settings.url), self._http, token)
        self._hooks = Hooks(self._api, secret)
        self._keys = KeySet(self._api)
        self._secret = secret
        self._unrestricted = settings.one_customer == "issue_unrestricted"
        self._channel = Remembered(self._shop_channel)

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(SaleorSettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @answers_failures
    async def issue_coupon(self, order: CouponSpec) -> Outcome:
        """See `base.StoreAdapter`."""
        if self._unrestricted:
            order = replace(order, email=None, customer_id=None)
        if refused := refusal(_sayable(order), Saleor, datetime.now(UTC)) or inexpressible(order):
            return refused
        channel = await self._channel.get()
        if refused := other_currency(order, [channel.currency]):
            return refused
        held = None if order.first_try else await self._held(order, channel)
        return held or await self._create(order, channel)

    @answers_failures
    async def find_coupon(self, code: str) -> CouponFound | Outcome | None:
        """See `base.StoreAdapter`."""
        channel = await self._channel.get()
        voucher = await self._voucher(code)
        if voucher is None:
            return None
        found = _read(voucher, code, channel, None, LOOK_UP)
        return replace(found, unreadable=found.unreadable | {"email", "customer_id"}) if self._unrestricted else found

    @answers_failures
    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`. Deletes the voucher; of one with more codes only this code."""
        voucher = await self._voucher(code)
        if voucher is None:
            return Done()
        codes = nodes(voucher.get("codes"))
        if len(codes) == 1:
            return await self._delete(str(voucher.get("id")))
        own: list[JsonValue] = [str(each.get("id")) for each in codes if each.get("code") == code]
        return await _done(self._api.change(documents.DELETE_CODES, "voucherCodeBulkDelete", DELETION, ids=own))

    @answers_failures
    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`."""
        self._channel.forget()
        app = await self._api.own_app()
        if app.get("isActive") is False:
            return token_rejected(f"Its app {app.get('name')!r} is not active")
        granted = {str(each.get("code")) for each in nodes(app.get("permissions"))}
        if "MANAGE_DISCOUNTS" not in granted:
            return Blocked(RESPONSES.reason(ReasonCode.PERMISSION_MISSING, permission="MANAGE_DISCOUNTS"))
        channel = await self._channel.get()
        lacking = [f"{code} ({what})" for code, what in NEEDED.items() if code not in granted]
        lists = f"it lacks {', '.join(lacking)}" if lacking else "and read customers, orders and products"
        sells = f"the channel {channel.slug} sells in {channel.currency}"
        return Ready(f"Saleor at {self._host}: the app {app.get('name')!r} may write vouchers, {lists}; {sells}")

    async def parse_event(self, headers: Mapping[str, str], raw: bytes) -> Parsed:
        """See `native.ReceivesWebhooks`."""
        refused = await self._keys.refusal(headers, raw, self._secret)
        return refused or events.parsed(headers, raw, self._slug)

    @answers_failures
    async def list_entities(self, kind: Kind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        """See `native.ListsEntities`. The oldest change first."""
        return await events.page(self._api, kind, since, cursor, self._slug)

    @answers_failures
    async def fetch(self, kind: Kind, entity_id: str) -> NativeEvent | Outcome | None:
        """See `native.FetchesEntities`."""
        return await events.one(self._api, kind, entity_id, self._slug)

    def wanted_topics(self) -> tuple[str, ...]:
        """See `native.SetsUpWebhooks`. One webhook per kind, for all of the kind's events."""
        return self._hooks.topics

    @answers_failures
    async def list_hooks(self, address: str) -> tuple[Hook, ...] | Outcome:
        """See `native.SetsUpWebhooks`. Those of our own app."""
        return await self._hooks.listed(address)

    @answers_failures
    async def create_hook(self, topic: str, address: str) -> Hook | Outcome:
        """See `native.SetsUpWebhooks`."""
        return await self._hooks.create(topic, address)

    @answers_failures
    async def enable_hook(self, hook: Hook) -> Outcome:
        """See `native.SetsUpWebhooks`."""
        return await _done(self._api.change(documents.ENABLE_HOOK, "webhookUpdate", "the webhook", id=hook.id))

    @answers_failures
    async def delete_hook(self, hook: Hook) -> Outcome:
        """See `native.SetsUpWebhooks`."""
        return await _done(self._api.change(documents.DELETE_HOOK, "webhookDelete", "the webhook", id=hook.id))

    @answers_failures
    async def sync_loyalty(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:  # noqa: ARG002
        """See `news.SyncsLoyalty`."""
        return await sync_loyalty(self._api, topic, body)

    async def _held(self, order: CouponSpec, channel: Channel) -> Outcome | None:
        voucher = await self._voucher(order.code)
        if voucher is None:
            return None
        if half_made(order, voucher, channel, _when(order)):
            return await self._put_in_channel(order, channel, voucher)
        return judge(order, _read(voucher, order.code, channel, _when(order), LOOK_UP))

    async def _create(self, order: CouponSpec, channel: Channel) -> Outcome:
        try:
            made = await self._api.change(
                documents.CREATE_VOUCHER, "voucherCreate", CREATION, input=voucher_input(order)
            )
        except Refusal as failed:
            if not failed.taken:
                raise
            not_visible = RESPONSES.reason(ReasonCode.COUPON_NOT_VISIBLE, code=order.code)
            return await self._held(order, channel) or Retry(not_visible)
        voucher = made.get("voucher")
        if not isinstance(voucher, dict) or not isinstance(voucher.get("id"), str):
            raise RESPONSES.unreadable(CREATION, "it has no voucher")
        if different := unlike_so_far(order, voucher, channel, _when(order)):
            return await undone(not_as_ordered(order, different), self._delete, str(voucher["id"]))
        return await self._put_in_channel(order, channel, voucher)

    async def _put_in_channel(self, order: CouponSpec, channel: Channel, voucher: Node) -> Outcome:
        """The second call. When its result is not known the voucher stays, and the next attempt finishes it."""
        try:
            listed = await self._api.change(
                documents.LIST_VOUCHER,
                "voucherChannelListingUpdate",
                LISTING,
                id=voucher["id"],
                input=listing_input(order, channel),
                metadata=metadata(order),
            )
        except Refusal as failed:
            return await undone(failed.refused, self._delete, str(voucher["id"]))
        echo = listed.get("voucher")
        found = _read(echo if isinstance(echo, dict) else {}, order.code, channel, _when(order), LISTING)
        return await as_made(order, found, self._delete)

    async def _delete(self, store_id: str) -> Done:
        return await _done(self._api.change(documents.DELETE_VOUCHER, "voucherDelete", DELETION, id=store_id))

    async def _voucher(self, code: str) -> Node | None:
        """The voucher with exactly this code."""
        after: str | None = None
        for _ in range(MOST_PAGES):
            data = await self._api.read(documents.FIND_VOUCHERS, LOOK_UP, code=code, after=after)
            page = data.get("vouchers")
            if not isinstance(page, dict) or not isinstance(page.get("edges"), list):
                raise RESPONSES.unreadable(LOOK_UP, "it has no list of vouchers")
            for voucher in nodes(page):
                if any(each.get("code") == code for each in nodes(voucher.get("codes"))):
                    return voucher
            info = page.get("pageInfo")
            if not isinstance(info, dict) or info.get("hasNextPage") is not True:
                return None
            after = str(info.get("endCursor"))
        return None

    async def _shop_channel(self) -> Channel:
        data = await self._api.read(documents.CHANNELS, "the channels")
        rows = nodes(data.get("channels"))
        if not rows:
            raise RESPONSES.unreadable("the channels", "it has no channels")
        row = next((each for each in rows if each.get("slug") == self._slug), None)
        if row is None or row.get("isActive") is False:
            known = ", ".join(sorted(str(each.get("slug")) for each in rows if each.get("isActive") is not False))
            problem = f"it names no active channel of the store, which has: {known or 'none'}"
            raise CallFailed(
                Blocked(RESPONSES.reason(ReasonCode.SETTING_WRONG, setting="SALEOR__CHANNEL", problem=problem))
            )
        return Channel(str(row.get("id")), self._slug, str(row.get("currencyCode")))


def _read(voucher: Node, code: str, channel: Channel, at: datetime | None, request: str) -> CouponFound:
    found = voucher_found(voucher, code, channel, at)
    if found is None:
        raise RESPONSES.unreadable(request, "it has no voucher")
    return found


def _when(order: CouponSpec) -> datetime:
    """The time at which the voucher has to be valid: from now on, or from when it is ordered to begin."""
    now = datetime.now(UTC)
    return max(now, order.starts_at) if order.starts_at else now


def _sayable(order: CouponSpec) -> CouponSpec:
    """One use per customer is the one limit that Saleor has; it is taken out before what Saleor has not is looked for."""
    return replace(order, per_customer_limit=None) if order.per_customer_limit == 1 else order


async def _done(change: Awaitable[Node]) -> Done:
    """Done for a deletion or an update; what is not there any more is gone."""
    try:
        await change
    except Refusal as failed:
        if failed.codes != {"NOT_FOUND"}:
            raise
    return Done()
