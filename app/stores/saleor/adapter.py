"""Saleor, GraphQL API (https://docs.saleor.io/api-usage/overview).

Observed on Saleor 3.23.28. A coupon takes two calls: `voucherCreate` creates the voucher and its code, and
`voucherChannelListingUpdate` sets its value in a channel. Until then the voucher exists but never applies ("Promo code is
invalid"). Therefore a voucher without a listing that fits the spec otherwise is completed. Responses:

    data without errors                    next call, or Done, if it fits the spec; otherwise deleted, Reject
    errors ALREADY_EXISTS or UNIQUE, or    the code is looked up and compared: completed, Done or Reject
    a top-level IntegrityError (a race)
    other errors of a mutation             Reject with the error text; a voucher that was just created is deleted
    PermissionDenied, token errors         Blocked, although the status is 200
    GraphQLError, HTTP 400                 Reject
    other top-level errors                 Unknown for a mutation, Retry otherwise (ReadOnlyException: Retry)
    401, 403, 404, 3xx                     Blocked
    408, 425, 429                          Retry
    5xx                                    Unknown for a mutation, Retry otherwise
    not JSON, no data                      Unknown

Saleor's search is fuzzy and ignores case. The adapter compares codes exactly, because `SPRING` and `spring` are two codes.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar, Final, Self

from pydantic import Field, HttpUrl, JsonValue, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from platform_relay.core.environment_settings import EnvironmentSettings
from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Blocked, Done, Outcome, Reject, Retry
from platform_relay.core.reasons import ReasonCode
from platform_relay.core.setting_values import refuse_placeholder, refuse_weak
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
    created_differently,
    reject_and_delete,
)
from platform_relay.stores.cached import Cached
from platform_relay.stores.failures import CallFailed, returns_failures
from platform_relay.stores.native import Page, ParsedEntity, ParsedWebhook, StoreWebhook, Unverified, parse_with
from platform_relay.stores.parsing import value_at
from platform_relay.stores.responses import BODY_CAP
from platform_relay.stores.saleor import documents as documents
from platform_relay.stores.saleor import events as events
from platform_relay.stores.saleor.api import RESPONSES, MutationRejected, Node, SaleorApi, nodes, token_rejected
from platform_relay.stores.saleor.loyalty_sync import sync_loyalty
from platform_relay.stores.saleor.vouchers import (
    Channel,
    differences_before_listing,
    is_remainder,
    lacks_only_listing,
    listing_input,
    metadata,
    parse_voucher,
    unsupported,
    voucher_input,
)
from platform_relay.stores.saleor.webhooks import KeySet, SaleorWebhooks
from platform_relay.stores.settings import CaFile, OneCustomer

CREATION: Final = "the creation of the coupon"
LISTING: Final = "the value of the coupon"
LOOKUP: Final = "the coupon lookup"
DELETION: Final = "the deletion of the coupon"
MOST_PAGES: Final = 5
"""How many pages of a fuzzy search are read."""
FOR_EVENTS: Final[Mapping[str, str]] = {
    "MANAGE_USERS": "customers", "MANAGE_ORDERS": "orders", "MANAGE_PRODUCTS": "products",
}  # fmt: skip


class SaleorSettings(EnvironmentSettings):
    """The variables `SALEOR__…`."""

    model_config = SettingsConfigDict(env_prefix="SALEOR__")

    url: HttpUrl = Field(
        description="The API's base URL, e.g. `https://example.saleor.cloud`. The relay adds `/graphql/` to it."
    )
    token: SecretStr = Field(description="Token of an app of the store, with the permissions in docs/stores/saleor.md.")
    channel: str = Field(description="Slug of the channel in which coupons are valid.")
    webhook_secret: SecretStr | None = Field(
        None,
        description="Secret key of the webhooks, which signs them with HMAC. Empty: the store's own key signs them (JWS).",
    )
    one_customer: OneCustomer = "refuse"
    ca_file: CaFile = None

    _no_placeholder = field_validator("token")(refuse_placeholder)
    _not_weak = field_validator("webhook_secret")(refuse_weak)


class Saleor:
    """Coupons, native events, webhooks and the loyalty sync of a Saleor store."""

    Settings: ClassVar[type[EnvironmentSettings]] = SaleorSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(CouponKind) - {CouponKind.GIFT_CARD}
    CANNOT: ClassVar[Mapping[str, str]] = {
        "email": "Saleor cannot restrict a voucher to one customer",
        "customer_id": "Saleor cannot restrict a voucher to one customer",
        "per_customer_limit": "Saleor can limit a customer to one use, but not to another number",
    }

    def __init__(self, settings: SaleorSettings, clients: HttpClients) -> None:
        token = settings.token.get_secret_value()
        secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else ""
        self._host = settings.url.host or ""
        self._slug = settings.channel
        self._http = clients.make(settings.url, ca_file=settings.ca_file, body_cap=BODY_CAP, secrets=(token, secret))
        self._api = SaleorApi(str(settings.url), self._http, token)
        self._webhooks = SaleorWebhooks(self._api, secret)
        self._keys = KeySet(self._api)
        self._secret = secret
        self._unrestricted = settings.one_customer == "issue_unrestricted"
        self._channel = Cached(self._read_channel)

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(SaleorSettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @returns_failures
    async def issue_coupon(self, spec: CouponSpec) -> Outcome:
        """See `base.StoreAdapter`."""
        if self._unrestricted:
            spec = replace(spec, email=None, customer_id=None)
        if rejection := check_spec(_without_supported_limit(spec), Saleor, datetime.now(UTC)):
            return rejection
        outcome = await self._issue(spec)
        return await self._remove_remainder(spec, outcome) if isinstance(outcome, Reject) else outcome

    @returns_failures
    async def _issue(self, spec: CouponSpec) -> Outcome:
        if rejection := unsupported(spec):
            return rejection
        channel = await self._channel.get()
        if rejection := check_currency(spec, [channel.currency]):
            return rejection
        existing = None if spec.first_try else await self._find_existing(spec, channel)
        return existing or await self._create(spec, channel)

    async def _remove_remainder(self, spec: CouponSpec, rejection: Reject) -> Reject:
        """The rejection, after the deletion of a voucher that an earlier attempt created and did not complete."""
        if spec.first_try or spec.reference is None:
            return rejection
        voucher = await returns_failures(self._voucher)(spec.code)
        if not isinstance(voucher, dict) or not is_remainder(voucher, spec.reference):
            return rejection
        return await reject_and_delete(rejection, self._delete, str(voucher.get("id")))

    @returns_failures
    async def find_coupon(self, code: str) -> StoreCoupon | Outcome | None:
        """See `base.StoreAdapter`."""
        channel = await self._channel.get()
        voucher = await self._voucher(code)
        if voucher is None:
            return None
        coupon = _coupon(voucher, code, channel, None, LOOKUP)
        return (
            replace(coupon, unreadable=coupon.unreadable | {"email", "customer_id"}) if self._unrestricted else coupon
        )

    @returns_failures
    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`. Deletes the voucher, or only the code if the voucher has more codes."""
        voucher = await self._voucher(code)
        if voucher is None:
            return Done()
        codes = nodes(voucher.get("codes"))
        if len(codes) == 1:
            return await self._delete(str(voucher.get("id")))
        ids: list[JsonValue] = [str(row.get("id")) for row in codes if row.get("code") == code]
        return await _done(self._api.change(documents.DELETE_CODES, "voucherCodeBulkDelete", DELETION, ids=ids))

    @returns_failures
    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`."""
        self._channel.clear()
        app = await self._api.own_app()
        if app.get("isActive") is False:
            return token_rejected(f"Its app {app.get('name')!r} is not active.")
        granted = {str(row.get("code")) for row in nodes(app.get("permissions"))}
        if "MANAGE_DISCOUNTS" not in granted:
            return Blocked(RESPONSES.reason(ReasonCode.PERMISSION_MISSING, permission="MANAGE_DISCOUNTS"))
        channel = await self._channel.get()
        missing = [f"{code} ({entities})" for code, entities in FOR_EVENTS.items() if code not in granted]
        lists = f"but lacks {', '.join(missing)}" if missing else "and read customers, orders and products"
        sells = f"the channel {channel.slug} sells in {channel.currency}"
        detail = f"Saleor at {self._host}: the app {app.get('name')!r} may write vouchers {lists}; {sells}"
        return Ready(detail, frozenset({channel.currency}))

    async def parse_event(self, headers: Mapping[str, str], raw: bytes) -> ParsedWebhook:
        """See `native.ReceivesWebhooks`."""
        return await parse_with(self, headers, raw)

    async def webhook_parser(self, headers: Mapping[str, str], raw: bytes) -> Callable[[], ParsedWebhook] | Unverified:
        """See `native.ParsesLargeWebhooks`."""
        unverified = await self._keys.verify(headers, raw, self._secret)
        return unverified or partial(events.parse_webhook, headers, raw, self._slug)

    @returns_failures
    async def list_entities(self, kind: EventKind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        """See `native.ListsEntities`. The oldest change comes first."""
        return await events.list_entities(self._api, kind, since, cursor, self._slug)

    @returns_failures
    async def count(self, kind: EventKind, since: datetime | None = None) -> int | None:
        """See `native.CountsEntities`."""
        return await events.count(self._api, kind, since)

    @returns_failures
    async def fetch(self, kind: EventKind, entity_id: str) -> ParsedEntity | Outcome | None:
        """See `native.FetchesEntities`."""
        return await events.fetch_entity(self._api, kind, entity_id, self._slug)

    def webhook_topics(self) -> tuple[str, ...]:
        """See `native.SetsUpWebhooks`. One webhook for each kind of entity, with all of its events."""
        return self._webhooks.topics

    @returns_failures
    async def list_webhooks(self, address: str) -> tuple[StoreWebhook, ...] | Outcome:
        """See `native.SetsUpWebhooks`. Returns only webhooks of the relay's own app."""
        return await self._webhooks.list_webhooks(address)

    @returns_failures
    async def create_webhook(self, topic: str, address: str) -> StoreWebhook | Outcome:
        """See `native.SetsUpWebhooks`."""
        return await self._webhooks.create_webhook(topic, address)

    @returns_failures
    async def enable_webhook(self, webhook: StoreWebhook) -> Outcome:
        """See `native.SetsUpWebhooks`."""
        return await _done(
            self._api.change(documents.ENABLE_WEBHOOK, "webhookUpdate", "the activation of the webhook", id=webhook.id)
        )

    @returns_failures
    async def delete_webhook(self, webhook: StoreWebhook) -> Outcome:
        """See `native.SetsUpWebhooks`."""
        return await _done(
            self._api.change(documents.DELETE_WEBHOOK, "webhookDelete", "the removal of the webhook", id=webhook.id)
        )

    @returns_failures
    async def sync_loyalty(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:  # noqa: ARG002
        """See `loyalty_sync.SyncsLoyalty`."""
        return await sync_loyalty(self._api, topic, body)

    @returns_failures
    async def check_loyalty_sync(self) -> Outcome:
        """See `loyalty_sync.ChecksLoyaltySync`."""
        permission = "MANAGE_USERS"
        granted = {str(row.get("code")) for row in nodes((await self._api.own_app()).get("permissions"))}
        if permission in granted:
            return Done()
        return Blocked(RESPONSES.reason(ReasonCode.PERMISSION_MISSING, permission=permission))

    async def _find_existing(self, spec: CouponSpec, channel: Channel) -> Outcome | None:
        voucher = await self._voucher(spec.code)
        if voucher is None:
            return None
        if lacks_only_listing(spec, voucher, channel, _valid_at(spec)):
            return await self._add_listing(spec, channel, voucher)
        if is_remainder(voucher, spec.reference):  # of an attempt with other values
            await self._delete(str(voucher.get("id")))
            return None
        return compare_existing(spec, _coupon(voucher, spec.code, channel, _valid_at(spec), LOOKUP))

    async def _create(self, spec: CouponSpec, channel: Channel) -> Outcome:
        try:
            created = await self._api.change(
                documents.CREATE_VOUCHER, "voucherCreate", CREATION, input=voucher_input(spec, datetime.now(UTC))
            )
        except MutationRejected as failed:
            if not failed.is_duplicate:
                raise
            not_visible = RESPONSES.reason(ReasonCode.COUPON_NOT_VISIBLE, code=spec.code)
            return await self._find_existing(spec, channel) or Retry(not_visible)
        voucher = created.get("voucher")
        if not isinstance(voucher, dict) or not isinstance(voucher.get("id"), str):
            raise RESPONSES.unreadable(CREATION, "it does not contain the voucher")
        if different := differences_before_listing(spec, voucher, channel, _valid_at(spec)):
            return await reject_and_delete(created_differently(spec, different), self._delete, str(voucher["id"]))
        return await self._add_listing(spec, channel, voucher)

    async def _add_listing(self, spec: CouponSpec, channel: Channel, voucher: Node) -> Outcome:
        """The second call. If its result is unknown, the voucher is kept, and the next attempt completes it."""
        try:
            listed = await self._api.change(
                documents.LIST_VOUCHER,
                "voucherChannelListingUpdate",
                LISTING,
                id=voucher["id"],
                input=listing_input(spec, channel),
                metadata=metadata(spec),
            )
        except MutationRejected as failed:
            return await reject_and_delete(failed.rejection, self._delete, str(voucher["id"]))
        except CallFailed as failed:
            if not isinstance(failed.outcome, Reject):
                raise
            return await reject_and_delete(failed.outcome, self._delete, str(voucher["id"]))
        updated = listed.get("voucher")
        coupon = _coupon(updated if isinstance(updated, dict) else {}, spec.code, channel, _valid_at(spec), LISTING)
        return await confirm_created(spec, coupon, self._delete)

    async def _delete(self, store_id: str) -> Done:
        return await _done(self._api.change(documents.DELETE_VOUCHER, "voucherDelete", DELETION, id=store_id))

    async def _voucher(self, code: str) -> Node | None:
        """Return the voucher with exactly this code; None if there is none."""
        after: str | None = None
        for _ in range(MOST_PAGES):
            data = await self._api.read(documents.FIND_VOUCHERS, LOOKUP, code=code, after=after)
            page = data.get("vouchers")
            if not isinstance(page, dict) or not isinstance(page.get("edges"), list):
                raise RESPONSES.unreadable(LOOKUP, "it does not contain a list of vouchers")
            for voucher in nodes(page):
                if any(row.get("code") == code for row in nodes(voucher.get("codes"))):
                    return voucher
            if value_at(page, "pageInfo", "hasNextPage") is not True:
                return None
            after = str(value_at(page, "pageInfo", "endCursor"))
        return None

    async def _read_channel(self) -> Channel:
        data = await self._api.read(documents.CHANNELS, "the channels")
        rows = nodes(data.get("channels"))
        if not rows:
            raise RESPONSES.unreadable("the channels", "it does not contain channels")
        row = next((channel for channel in rows if channel.get("slug") == self._slug), None)
        if row is None or row.get("isActive") is False:
            known = ", ".join(
                sorted(str(channel.get("slug")) for channel in rows if channel.get("isActive") is not False)
            )
            problem = f"the store has no active channel with this slug; it has: {known or 'none'}"
            raise CallFailed(
                Blocked(RESPONSES.reason(ReasonCode.SETTING_WRONG, setting="SALEOR__CHANNEL", problem=problem))
            )
        return Channel(str(row.get("id")), self._slug, str(row.get("currencyCode")))


def _coupon(voucher: Node, code: str, channel: Channel, at: datetime | None, request: str) -> StoreCoupon:
    coupon = parse_voucher(voucher, code, channel, at)
    if coupon is None:
        raise RESPONSES.unreadable(request, "it does not contain the voucher")
    return coupon


def _valid_at(spec: CouponSpec) -> datetime:
    """The time at which the voucher must be valid: now, or its start if that is later."""
    now = datetime.now(UTC)
    return max(now, spec.starts_at) if spec.starts_at else now


def _without_supported_limit(spec: CouponSpec) -> CouponSpec:
    """The spec without a limit of one use per customer, the only limit per customer that Saleor supports."""
    return replace(spec, per_customer_limit=None) if spec.per_customer_limit == 1 else spec


async def _done(change: Awaitable[Node]) -> Done:
    """Done for a deletion or an update. Done also if the object no longer exists."""
    try:
        await change
    except MutationRejected as failed:
        if failed.codes != {"NOT_FOUND"}:
            raise
    return Done()
