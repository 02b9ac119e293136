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

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, FilePath, HttpUrl, JsonValue, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from app.http import Failure, HttpClients
from app.messages import Kind
from app.outcomes import Blocked, Done, Outcome, Reject, Retry, Unknown
from app.settings import EnvironmentSettings, refuse_placeholder
from app.stores.base import CouponFound, CouponKind, CouponOrder, Ready, differences, judge, refusal
from app.stores.native import Hook, NativeEvent, Page, Parsed
from app.stores.saleor import documents as documents
from app.stores.saleor import events as events
from app.stores.saleor.api import Node, Refusal, SaleorApi, nodes
from app.stores.saleor.hooks import Hooks, KeySet
from app.stores.saleor.news import take_news
from app.stores.saleor.vouchers import (
    Channel,
    half_made,
    inexpressible,
    listing_input,
    metadata,
    unlike_so_far,
    voucher_found,
    voucher_input,
)

CHANNEL_SECONDS: Final = 600.0
"""How long the channel's id and currency are believed before they are asked for again."""
MOST_PAGES: Final = 5
"""A fuzzy search is read through so far."""
NEEDED: Final[Mapping[str, str]] = {
    "MANAGE_USERS": "customers", "MANAGE_ORDERS": "orders", "MANAGE_PRODUCTS": "products",
}  # fmt: skip


class SaleorSettings(EnvironmentSettings):
    """`SALEOR__URL` and so on."""

    model_config = SettingsConfigDict(env_prefix="SALEOR__")

    url: HttpUrl = Field(description="The API's address, e.g. `https://shop.saleor.cloud`; `/graphql/` is added to it.")
    token: SecretStr = Field(description="Token of an app of the shop with the permissions named here.")
    channel: str = Field(description="Slug of the channel that coupons are made for.")
    webhook_secret: SecretStr | None = Field(
        None, description="Secret key of webhooks that are signed by HMAC; empty: by the shop's own key (JWS)."
    )
    one_customer: Literal["refuse", "issue_unrestricted"] = Field(
        "refuse", description="A coupon for one shopper, which Saleor cannot make: `refuse` or `issue_unrestricted`."
    )
    ca_file: FilePath | None = Field(
        None, description="PEM file of the certificate authority, for a shop with a certificate of its own making."
    )

    _no_placeholder = field_validator("token", "webhook_secret")(refuse_placeholder)


class Saleor:
    """The shop's coupons, lists and webhooks over GraphQL."""

    Settings: ClassVar[type[EnvironmentSettings]] = SaleorSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(CouponKind) - {CouponKind.GIFT_CARD}
    CANNOT: ClassVar[Mapping[str, str]] = {
        "email": "Saleor cannot restrict a voucher to one shopper",
        "customer_id": "Saleor cannot restrict a voucher to one shopper",
        "per_customer_limit": "Saleor can limit a shopper to one use, not to another number",
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
        self._known: Channel | None = None
        self._known_until = 0.0

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(SaleorSettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def issue_coupon(self, order: CouponOrder) -> Outcome:
        """See `base.StoreAdapter`."""
        if self._unrestricted:
            order = replace(order, email=None, customer_id=None)
        if refused := refusal(_sayable(order), Saleor, datetime.now(UTC)) or inexpressible(order):
            return refused
        channel = await self._channel()
        if not isinstance(channel, Channel):
            return channel
        if order.kind is CouponKind.FIXED_AMOUNT and order.currency and order.currency != channel.currency:
            return Reject(
                f"coupon {order.code} is ordered in {order.currency}, {channel.slug} sells in {channel.currency}"
            )
        held = None if order.first_try else await self._held(order, channel)
        return held or await self._create(order, channel)

    async def find_coupon(self, code: str) -> CouponFound | Outcome | None:
        """See `base.StoreAdapter`."""
        channel = await self._channel()
        if not isinstance(channel, Channel):
            return channel
        voucher = await self._voucher(code)
        if not isinstance(voucher, dict):
            return voucher
        found = voucher_found(voucher, code, channel, None)
        if found is None:
            return Unknown("Saleor answered the look-up with no voucher")
        return replace(found, unreadable=found.unreadable | {"email", "customer_id"}) if self._unrestricted else found

    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`. Deletes the voucher; of one with more codes only this code."""
        voucher = await self._voucher(code)
        if not isinstance(voucher, dict):
            return Done() if voucher is None else voucher
        codes = nodes(voucher.get("codes"))
        if len(codes) == 1:
            return await self._delete(voucher)
        own = [str(each.get("id")) for each in codes if each.get("code") == code]
        removed = await self._api.change(documents.DELETE_CODES, "voucherCodeBulkDelete", ids=[*own])
        return _done(removed)

    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`."""
        self._known_until = 0.0
        asked = await self._api.read(documents.PERMISSIONS)
        if isinstance(asked, Failure):
            return asked
        app = asked.get("app")
        if not isinstance(app, dict):
            return Blocked("SALEOR__TOKEN belongs to no app of the shop; make an app and set its token")
        granted = {str(each.get("code")) for each in nodes(app.get("permissions"))}
        if app.get("isActive") is False or "MANAGE_DISCOUNTS" not in granted:
            why = "is not active" if app.get("isActive") is False else "lacks the permission MANAGE_DISCOUNTS"
            return Blocked(f"the app {app.get('name')!r} {why}")
        channel = await self._channel()
        if not isinstance(channel, Channel):
            return channel
        lacking = [f"{code} ({what})" for code, what in NEEDED.items() if code not in granted]
        lists = f"it lacks {', '.join(lacking)}" if lacking else "and read customers, orders and products"
        sells = f"the channel {channel.slug} sells in {channel.currency}"
        return Ready(f"Saleor at {self._host}: the app {app.get('name')!r} may write vouchers, {lists}; {sells}")

    async def parse_event(self, headers: Mapping[str, str], raw: bytes) -> Parsed:
        """See `native.ReceivesWebhooks`."""
        refused = await self._keys.refusal(headers, raw, self._secret)
        return refused or events.parsed(headers, raw, self._slug)

    async def list_entities(self, kind: Kind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        """See `native.ListsEntities`. The oldest change first."""
        return await events.page(self._api, kind, since, cursor, self._slug)

    async def fetch(self, kind: Kind, entity_id: str) -> NativeEvent | Outcome | None:
        """See `native.FetchesEntities`."""
        return await events.one(self._api, kind, entity_id, self._slug)

    def wanted_topics(self) -> tuple[str, ...]:
        """See `native.SetsUpWebhooks`. One webhook per kind, for all of the kind's events."""
        return self._hooks.topics

    async def list_hooks(self, address: str) -> tuple[Hook, ...] | Outcome:
        """See `native.SetsUpWebhooks`. Those of our own app."""
        return await self._hooks.listed(address)

    async def create_hook(self, topic: str, address: str) -> Hook | Outcome:
        """See `native.SetsUpWebhooks`."""
        return await self._hooks.create(topic, address)

    async def enable_hook(self, hook: Hook) -> Outcome:
        """See `native.SetsUpWebhooks`."""
        return _done(await self._api.change(documents.ENABLE_HOOK, "webhookUpdate", id=hook.id))

    async def delete_hook(self, hook: Hook) -> Outcome:
        """See `native.SetsUpWebhooks`."""
        return _done(await self._api.change(documents.DELETE_HOOK, "webhookDelete", id=hook.id))

    async def take_news(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:  # noqa: ARG002
        """See `news.TakesNews`."""
        return await take_news(self._api, topic, body)

    async def _held(self, order: CouponOrder, channel: Channel) -> Outcome | None:
        voucher = await self._voucher(order.code)
        if not isinstance(voucher, dict):
            return voucher
        if half_made(order, voucher, channel, _when(order)):
            return await self._put_in_channel(order, channel, voucher)
        found = voucher_found(voucher, order.code, channel, _when(order))
        return judge(order, found) if found else Unknown("Saleor answered the look-up with no voucher")

    async def _create(self, order: CouponOrder, channel: Channel) -> Outcome:
        made = await self._api.change(documents.CREATE_VOUCHER, "voucherCreate", input=voucher_input(order))
        if isinstance(made, Refusal) and made.taken:
            why = f"the shop says that the code {order.code} exists, and does not show it"
            return await self._held(order, channel) or Retry(why)
        if isinstance(made, Refusal):
            return Reject(f"Saleor refuses the coupon {order.code}: {made.words}")
        if not isinstance(made, dict):
            return made
        voucher = made.get("voucher")
        if not isinstance(voucher, dict) or not isinstance(voucher.get("id"), str):
            return Unknown("Saleor answered the creation without the voucher")
        if told := unlike_so_far(order, voucher, channel, _when(order)):
            return await self._remove(voucher, f"the shop made another voucher for {order.code}: {'; '.join(told)}")
        return await self._put_in_channel(order, channel, voucher)

    async def _put_in_channel(self, order: CouponOrder, channel: Channel, voucher: Node) -> Outcome:
        listed = await self._api.change(
            documents.LIST_VOUCHER,
            "voucherChannelListingUpdate",
            id=voucher["id"],
            input=listing_input(order, channel),
            metadata=metadata(order),
        )
        if isinstance(listed, Refusal):
            return await self._remove(voucher, f"Saleor refuses the coupon {order.code}: {listed.words}")
        if not isinstance(listed, dict):
            return listed  # the voucher stays: the next attempt finishes it
        echo = listed.get("voucher")
        found = voucher_found(echo, order.code, channel, _when(order)) if isinstance(echo, dict) else None
        if found is None:
            return Unknown("Saleor answered the listing without the voucher")
        if told := differences(order, found):
            return await self._remove(voucher, f"the shop made another coupon than {order.code}: {'; '.join(told)}")
        return Done({"store_id": found.store_id})

    async def _remove(self, voucher: Node, why: str) -> Reject:
        removed = await self._delete(voucher)
        end = "was deleted again" if isinstance(removed, Done) else "is still there: delete it"
        return Reject(f"{why}. The voucher {voucher.get('id')} {end}")

    async def _delete(self, voucher: Node) -> Outcome:
        return _done(await self._api.change(documents.DELETE_VOUCHER, "voucherDelete", id=voucher["id"]))

    async def _voucher(self, code: str) -> Node | Failure | None:
        """The voucher with exactly this code."""
        after: str | None = None
        for _ in range(MOST_PAGES):
            data = await self._api.read(documents.FIND_VOUCHERS, code=code, after=after)
            if isinstance(data, Failure):
                return data
            page = data.get("vouchers")
            if not isinstance(page, dict) or not isinstance(page.get("edges"), list):
                return Unknown("Saleor answered the look-up without a list of vouchers")
            for voucher in nodes(page):
                if any(each.get("code") == code for each in nodes(voucher.get("codes"))):
                    return voucher
            info = page.get("pageInfo")
            if not isinstance(info, dict) or info.get("hasNextPage") is not True:
                return None
            after = str(info.get("endCursor"))
        return None

    async def _channel(self) -> Channel | Failure:
        if self._known and time.monotonic() < self._known_until:
            return self._known
        data = await self._api.read(documents.CHANNELS)
        if isinstance(data, Failure):
            return data
        rows = nodes(data.get("channels"))
        if not rows:
            return Unknown("Saleor did not tell its channels")
        row = next((each for each in rows if each.get("slug") == self._slug), None)
        if row is None or row.get("isActive") is False:
            known = ", ".join(sorted(str(each.get("slug")) for each in rows if each.get("isActive") is not False))
            return Blocked(f"SALEOR__CHANNEL names no active channel of the shop; it has: {known or 'none'}")
        self._known = Channel(str(row.get("id")), self._slug, str(row.get("currencyCode")))
        self._known_until = time.monotonic() + CHANNEL_SECONDS
        return self._known


def _when(order: CouponOrder) -> datetime:
    """The time at which the voucher has to be valid: from now on, or from when it is ordered to begin."""
    now = datetime.now(UTC)
    return max(now, order.starts_at) if order.starts_at else now


def _sayable(order: CouponOrder) -> CouponOrder:
    """One use per shopper is the one limit that Saleor has; it is taken out before what Saleor has not is looked for."""
    return replace(order, per_customer_limit=None) if order.per_customer_limit == 1 else order


def _done(changed: Node | Refusal | Failure) -> Outcome:
    """A deletion's or an update's outcome; what is not there any more is gone."""
    if isinstance(changed, Refusal):
        return Done() if changed.codes == {"NOT_FOUND"} else Reject(f"Saleor refuses it: {changed.words}")
    return Done() if isinstance(changed, dict) else changed
