"""WooCommerce, REST API v3 (https://woocommerce.github.io/woocommerce-rest-api-docs/#coupons).

Observed on WooCommerce 9.9.5 unless noted otherwise. Responses:

    201/200 with the coupon      Done if it fits the spec; a coupon that differs is deleted, Reject
    201/200, anything else       Unknown (a proxy's page, PHP warnings before the JSON, an empty or truncated body)
    400 …code_already_exists     the code is looked up and compared: Done or Reject
    400 other                    Reject with the error text and the rejected parameters
    401, 403                     Blocked (for a read-only key, WooCommerce returns 401, not 403)
    401 nonce already used       the request was delivered twice: Unknown for a write, Retry for a read
    404 …invalid_id              no such coupon or customer: Done for a deletion
    401, 403 about a customer    Reject if only this account is concerned (…cannot_edit, …cannot_view)
    404 other, 3xx               Blocked: the address is wrong
    408, 425, 429                Retry
    5xx                          Unknown for a creation (it may have been applied), Retry otherwise

A lookup accepts text before the JSON, because a store that shows PHP warnings does so in every response. A creation does
not: it becomes Unknown, and the lookup of the next attempt settles it.
"""

import html
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar, Final, Self
from urllib.parse import quote

from pydantic import Field, HttpUrl, JsonValue, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from platform_relay.core.environment_settings import EnvironmentSettings
from platform_relay.core.http import HttpClients, HttpResponse
from platform_relay.core.outcomes import Blocked, Done, Evidence, Outcome, Reject, Retry
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
    confirm_created,
    find_existing,
    has_amount,
)
from platform_relay.stores.cached import Cached
from platform_relay.stores.failures import CallFailed, returns_failures
from platform_relay.stores.loyalty_sync import (
    StoredFields,
    customer_not_found,
    numeric_id,
    stored_fields,
    sync_customer,
)
from platform_relay.stores.native import (
    Ignored,
    Page,
    ParsedEntity,
    ParsedWebhook,
    StoreWebhook,
    Unverified,
    parse_with,
    secret_missing,
)
from platform_relay.stores.parsing import objects, value_at
from platform_relay.stores.responses import BODY_CAP
from platform_relay.stores.settings import OWN_SECRET, CaFile
from platform_relay.stores.woocommerce.api import (
    GONE,
    RESPONSES,
    Method,
    WooCommerceApi,
    basic,
    error_of,
    failure,
    raise_for_status,
)
from platform_relay.stores.woocommerce.coupons import coupon_body, parse_coupon, unsupported
from platform_relay.stores.woocommerce.events import SIGNED_WITH, parse_webhook, to_event
from platform_relay.stores.woocommerce.variations import with_variations
from platform_relay.stores.woocommerce.webhooks import WooCommerceReader

EXISTS: Final = "woocommerce_rest_coupon_code_already_exists"
META: Final = "_platform_relay_"
"""The prefix of the customer's metadata."""
KEY_SEEMS_WRONG: Final = (ReasonCode.KEY_REJECTED, ReasonCode.PERMISSION_MISSING)
MOST_PER_CODE: Final = 5
"""Concurrent creations can leave several coupons with one code, and a lookup returns one of them. At most this many are
deleted, one after another."""
CREATION: Final = "the creation of the coupon"
LOOKUP: Final = "the coupon lookup"
SWITCHED_OFF: Final = "coupons are switched off (WooCommerce, Settings, General: woocommerce_enable_coupons)"


class WooCommerceSettings(EnvironmentSettings):
    """The variables `WOOCOMMERCE__…`."""

    model_config = SettingsConfigDict(env_prefix="WOOCOMMERCE__")

    url: HttpUrl = Field(description="The home address in the settings of WordPress, e.g. `https://shop.example`.")
    consumer_key: SecretStr = Field(
        description="Consumer key (`ck_…`) of a REST API key with the permission Read/Write."
    )
    consumer_secret: SecretStr = Field(description="Consumer secret (`cs_…`) of the same REST API key.")
    webhook_secret: SecretStr | None = Field(
        None,
        description="Secret that signs the store's webhooks. Generate it with `openssl rand -hex 32`.",
        json_schema_extra={OWN_SECRET: "hex"},
    )
    ca_file: CaFile = None

    _no_placeholder = field_validator("consumer_key", "consumer_secret")(refuse_placeholder)
    _not_weak = field_validator("webhook_secret")(refuse_weak)


class WooCommerce:
    """Coupons, native events, webhooks and the loyalty sync of a WooCommerce store."""

    Settings: ClassVar[type[EnvironmentSettings]] = WooCommerceSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(CouponKind) - {CouponKind.GIFT_CARD}
    CANNOT: ClassVar[Mapping[str, str]] = {
        "starts_at": "WooCommerce coupons are valid immediately",
        "customer_id": "WooCommerce restricts a coupon only by e-mail address, and none is known",
    }

    def __init__(self, settings: WooCommerceSettings, clients: HttpClients) -> None:
        key, secret = settings.consumer_key.get_secret_value(), settings.consumer_secret.get_secret_value()
        self._host = settings.url.host or ""
        self._webhook_secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else None
        secrets = (basic(key, secret), secret, key, self._webhook_secret or "")
        self._http = clients.make(settings.url, ca_file=settings.ca_file, secrets=secrets, body_cap=BODY_CAP)
        self._api = WooCommerceApi(str(settings.url), self._http, key, secret)
        self._currency = Cached(self._read_currency)
        self._reader = WooCommerceReader(self._api, self._webhook_secret)

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(WooCommerceSettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @returns_failures
    async def issue_coupon(self, spec: CouponSpec) -> Outcome:
        """See `base.StoreAdapter`."""
        return await self._explained(await self._issue(spec))

    @returns_failures
    async def _issue(self, spec: CouponSpec) -> Outcome:
        outcome = (
            check_spec(spec, WooCommerce, datetime.now(UTC))
            or unsupported(spec)
            or (check_currency(spec, {await self._currency.get()}) if has_amount(spec) else None)
            or (None if spec.first_try else await find_existing(self, spec))
        )
        return outcome or await self._create(spec)

    async def find_coupon(self, code: str) -> StoreCoupon | Outcome | None:
        """See `base.StoreAdapter`. A coupon in the trash counts as deleted: its code can be used again."""
        coupon = await returns_failures(self._find)(code)
        return coupon if coupon is None or isinstance(coupon, StoreCoupon) else await self._explained(coupon)

    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`. Deletes permanently: a coupon in the trash could be restored."""
        return await self._explained(await self._retire(code))

    @returns_failures
    async def _retire(self, code: str) -> Outcome:
        for _ in range(MOST_PER_CODE):
            if (coupon := await self._find(code)) is None:
                return Done()
            await self._delete(coupon.store_id)
        return Retry(RESPONSES.reason(ReasonCode.COUPON_STILL_ACTIVE, code=code, deletions=MOST_PER_CODE))

    @returns_failures
    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. The response to an update of coupon 0 shows whether the key may write. It does not show
        whether the store has coupons at all; a list does."""
        self._currency.clear()
        currency = await self._currency.get()
        listed = failure(await self._api.call("GET", "coupons", {"per_page": "1", "_fields": "id"}), LOOKUP, "GET")
        if listed is not None:
            return await self._explained(listed)
        answer = await self._api.call("PUT", "coupons/0", body={})
        failed = failure(answer, "the change of a coupon", "PUT")
        if failed is None or isinstance(failed, Reject):
            return Ready(
                f"WooCommerce at {self._host}: the key may write coupons; the currency is {currency}",
                frozenset({currency}),
            )
        return failed

    # ---------------------------------------------------------------------- native events and webhooks

    async def parse_event(self, headers: Mapping[str, str], raw: bytes) -> ParsedWebhook:
        return await parse_with(self, headers, raw)

    async def webhook_parser(self, headers: Mapping[str, str], raw: bytes) -> Callable[[], ParsedWebhook] | Unverified:
        if self._webhook_secret is None:
            return Unverified(secret_missing(SIGNED_WITH))
        return partial(parse_webhook, headers, raw, self._webhook_secret.encode())

    @returns_failures
    async def fetch(self, kind: EventKind, entity_id: str) -> ParsedEntity | None:
        request = f"the {kind.removesuffix('s')}"
        answer = await self._api.call("GET", f"{kind}/{quote(entity_id, safe='')}")
        if answer.status == 404 and error_of(answer)[0].endswith("_invalid_id"):
            return None
        raise_for_status(answer, request, "GET")
        row = RESPONSES.json(answer, request)
        if not isinstance(row, dict) or "id" not in row:
            raise RESPONSES.unreadable(request, "it does not contain the entity", answer)
        if kind is EventKind.PRODUCT:
            row = await with_variations(self._api, row)
        event = to_event(kind, row)
        return None if isinstance(event, Ignored) else event

    @returns_failures
    async def list_entities(self, kind: EventKind, since: datetime | None, cursor: str | None) -> Page:
        return await self._reader.list_entities(kind, since, cursor)

    @returns_failures
    async def count(self, kind: EventKind, since: datetime | None = None) -> int | None:
        return await self._reader.count(kind, since)

    def webhook_topics(self) -> tuple[str, ...]:
        return self._reader.webhook_topics()

    @returns_failures
    async def list_webhooks(self, address: str) -> tuple[StoreWebhook, ...]:
        return await self._reader.list_webhooks(address)

    @returns_failures
    async def create_webhook(self, topic: str, address: str) -> StoreWebhook | Outcome:
        return await self._reader.create_webhook(topic, address)

    @returns_failures
    async def enable_webhook(self, webhook: StoreWebhook) -> Outcome:
        return await self._reader.enable_webhook(webhook)

    @returns_failures
    async def delete_webhook(self, webhook: StoreWebhook) -> Outcome:
        return await self._reader.delete_webhook(webhook)

    # --------------------------------------------------------------------------------------- loyalty sync

    @returns_failures
    async def sync_loyalty(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:  # noqa: ARG002
        """See `loyalty_sync.SyncsLoyalty`. WooCommerce changes only the keys that it receives; other metadata is kept."""

        async def read(customer_id: str) -> StoredFields:
            return await self._customer("GET", customer_id)

        async def write(customer_id: str, fields: Mapping[str, str]) -> StoredFields:
            meta: JsonValue = [{"key": META + name, "value": value} for name, value in fields.items()]
            return await self._customer("PUT", customer_id, {"meta_data": meta})

        return await sync_customer(RESPONSES, topic, body, parse_id=numeric_id, read=read, write=write)

    @returns_failures
    async def check_loyalty_sync(self) -> Outcome:
        """See `loyalty_sync.ChecksLoyaltySync`. The response to a change of customer 0 shows whether the key may write."""
        await self._customer("PUT", "0", {})
        return Done()

    async def _customer(self, method: Method, customer_id: str, body: JsonValue = None) -> StoredFields:
        """The stored fields of a customer, as the response shows them."""
        request = "the customer lookup" if method == "GET" else "the change of the customer"
        query = {"context": "edit"} if method == "GET" else None
        answer = await self._api.call(method, f"customers/{customer_id}", query, body)
        code, error_text = error_of(answer)
        if answer.status == 404 and code.endswith("_invalid_id"):
            raise customer_not_found(RESPONSES, customer_id, answer)
        if code in ("woocommerce_rest_cannot_edit", "woocommerce_rest_cannot_view") and answer.status in (401, 403):
            hint = "The key of a shop manager may change customers, but not the account of an administrator."
            reason = RESPONSES.reason(ReasonCode.PERMISSION_MISSING, answer, response=error_text, hint=hint)
            raise CallFailed(Reject(reason, answer.evidence()))
        raise_for_status(answer, request, method)
        customer = RESPONSES.json(answer, request)
        if not isinstance(customer, dict) or "id" not in customer:
            raise RESPONSES.unreadable(request, "it does not contain the customer", answer)
        return stored_fields({row.get("key"): row.get("value") for row in objects(customer.get("meta_data"))}, META)

    # ------------------------------------------------------------------------------------------------ calls

    async def _find(self, code: str) -> StoreCoupon | None:
        answer = await self._api.accepted(LOOKUP, "GET", "coupons", {"code": code})
        rows = RESPONSES.json(answer, LOOKUP)
        coupons = [parse_coupon(row, datetime.now(UTC)) for row in rows] if isinstance(rows, list) else [None]
        if None in coupons:
            raise RESPONSES.unreadable(LOOKUP, "it is not a list of coupons", answer)
        code = code.casefold()
        return next((coupon for coupon in coupons if coupon and html.unescape(coupon.code).casefold() == code), None)

    async def _create(self, spec: CouponSpec) -> Outcome:
        answer = await self._api.call("POST", "coupons", body=coupon_body(spec))
        if error_of(answer)[0] == EXISTS:
            not_visible = RESPONSES.reason(ReasonCode.COUPON_NOT_VISIBLE, answer, code=spec.code)
            return await find_existing(self, spec) or Retry(not_visible, evidence=answer.evidence())
        raise_for_status(answer, CREATION, "POST", wrote=True)
        coupon = parse_coupon(RESPONSES.json(answer, CREATION), datetime.now(UTC))
        if coupon is None:
            raise RESPONSES.unreadable(CREATION, "it does not contain the coupon", answer)
        return await confirm_created(spec, coupon, self._delete, Evidence(answer.status))

    async def _delete(self, store_id: str) -> Done:
        request = "the deletion of the coupon"
        answer = await self._api.call("DELETE", f"coupons/{quote(store_id, safe='')}", {"force": "true"})
        if error_of(answer)[0] != GONE:
            raise_for_status(answer, request, "DELETE")
        return Done()

    async def _explained(self, outcome: Outcome) -> Outcome:
        """The outcome of a call for coupons. If the key seems to be the cause, but coupons are switched off in the store, the
        setting is the cause: WooCommerce then answers as to a key without the permission."""
        if not isinstance(outcome, Blocked) or outcome.reason.code not in KEY_SEEMS_WRONG:
            return outcome
        setting = await returns_failures(self._api.call)("GET", "settings/general/woocommerce_enable_coupons")
        if not isinstance(setting, HttpResponse) or setting.status != 200:
            return outcome
        if value_at(setting.json(), "value") != "no":
            return outcome
        return Blocked(RESPONSES.reason(ReasonCode.STORE_NOT_READY, problem=SWITCHED_OFF), outcome.evidence)

    async def _read_currency(self) -> str:
        request = "the currency lookup"
        answer = await self._api.accepted(request, "GET", "data/currencies/current")
        code = value_at(RESPONSES.json(answer, request), "code")
        if not isinstance(code, str):
            raise RESPONSES.unreadable(request, "it does not contain the currency", answer)
        return code
