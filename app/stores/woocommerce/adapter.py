"""WooCommerce, REST API v3 (https://woocommerce.github.io/woocommerce-rest-api-docs/#coupons).

Observed on WooCommerce 9.9.5 unless said otherwise. What an answer means:

    201/200 with the coupon      Done when it is what was ordered; else it is deleted again and Reject
    201/200, anything else       Unknown (a proxy's page, PHP warnings in front of the JSON, an empty or cut body)
    400 …code_already_exists     the code is looked up and compared: Done or Reject
    400 other                    Reject with the store's words and the refused parameters
    401, 403                     Blocked (WooCommerce says 401, not 403, to a read-only key)
    401 nonce already used       the request was delivered twice: Unknown for a write, Retry for a read
    404 …invalid_id              gone: Done for a deletion
    401, 403 to a customer       Reject when it is about this account alone (…cannot_edit, …cannot_view)
    404 other, 3xx               Blocked: the address is wrong
    408, 425, 429                Retry
    5xx                          Unknown for a creation (it may have been applied), else Retry

A look-up tolerates text in front of the JSON (a store that shows PHP warnings does so in every answer), a creation does
not: it becomes Unknown, and the next attempt's look-up settles it.
"""

import html
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar, Final, Self
from urllib.parse import quote

from pydantic import Field, FilePath, HttpUrl, JsonValue, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Done, Evidence, Outcome, Reject, Retry, Unknown
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
    other_currency,
    refusal,
)
from platform_relay.stores.failing import CallFailed, answers_failures
from platform_relay.stores.loyalty_sync import NAMES, Kept, keep_standing, no_such_customer, whole_id
from platform_relay.stores.native import Hook, NativeEvent, Page, Parsed, Refused, secret_missing
from platform_relay.stores.reading import rows
from platform_relay.stores.remembered import Remembered
from platform_relay.stores.woocommerce.api import (
    GONE,
    RESPONSES,
    Method,
    WooCommerceApi,
    basic,
    error_of,
    exact,
    failure,
    shown_in,
    succeeded,
)
from platform_relay.stores.woocommerce.coupons import coupon_body, coupon_found, foreign_product
from platform_relay.stores.woocommerce.events import SIGNED_WITH, event_of, is_no_order, parse
from platform_relay.stores.woocommerce.webhooks import WooCommerceReader

EXISTS: Final = "woocommerce_rest_coupon_code_already_exists"
META: Final = "_platform_relay_"
"""What the keys of a customer's metadata begin with."""
MOST_PER_CODE: Final = 5
"""A race can leave several coupons under one code, of which a look-up shows one; so many are deleted one by one."""
CREATION: Final = "the creation of the coupon"


class WooCommerceSettings(EnvironmentSettings):
    """`WOOCOMMERCE__URL` and so on."""

    model_config = SettingsConfigDict(env_prefix="WOOCOMMERCE__")

    url: HttpUrl = Field(description="The store's home address as WordPress has it, e.g. `https://shop.example`.")
    consumer_key: SecretStr = Field(description="Consumer key (`ck_…`) with the permission Read/Write.")
    consumer_secret: SecretStr = Field(description="Consumer secret (`cs_…`) of the same key.")
    webhook_secret: SecretStr | None = Field(
        None, description="Signs the store's webhooks; make one with `openssl rand -hex 24` before `relay connect`."
    )
    ca_file: FilePath | None = Field(
        None, description="PEM file of the certificate authority, for a store with a certificate of its own making."
    )

    _no_placeholder = field_validator("consumer_key", "consumer_secret", "webhook_secret")(refuse_placeholder)


class WooCommerce:
    """The store's coupons over REST."""

    Settings: ClassVar[type[EnvironmentSettings]] = WooCommerceSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(CouponKind) - {CouponKind.GIFT_CARD}
    CANNOT: ClassVar[Mapping[str, str]] = {
        "starts_at": "WooCommerce coupons are valid at once",
        "customer_id": "WooCommerce restricts a coupon by e-mail address only, and none is known",
    }

    def __init__(self, settings: WooCommerceSettings, clients: HttpClients) -> None:
        key, secret = settings.consumer_key.get_secret_value(), settings.consumer_secret.get_secret_value()
        self._host = settings.url.host or ""
        self._webhook_secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else None
        secrets = (basic(key, secret), secret, key, self._webhook_secret or "")
        self._http = clients.make(settings.url, ca_file=settings.ca_file, secrets=secrets)
        self._api = WooCommerceApi(str(settings.url), self._http, key, secret)
        self._currency = Remembered(self._shop_currency)
        self._reader = WooCommerceReader(self._api, self._webhook_secret)

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(WooCommerceSettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @answers_failures
    async def issue_coupon(self, order: CouponSpec) -> Outcome:
        """See `base.StoreAdapter`."""
        hindrance = (
            refusal(order, WooCommerce, datetime.now(UTC))
            or foreign_product(order)
            or (other_currency(order, {await self._currency.get()}) if order.kind is CouponKind.FIXED_AMOUNT else None)
            or (None if order.first_try else await already_held(self, order))
        )
        return hindrance or await self._create(order)

    @answers_failures
    async def find_coupon(self, code: str) -> CouponFound | None:
        """See `base.StoreAdapter`. A coupon in the trash does not exist: its code can be used again."""
        return await self._find(code)

    @answers_failures
    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`. Deletes for good: a coupon in the trash could be restored."""
        for _ in range(MOST_PER_CODE):
            if (coupon := await self._find(code)) is None:
                return Done()
            await self._delete(coupon.store_id)
        return Retry(RESPONSES.reason(ReasonCode.COUPON_STILL_ACTIVE, code=code, deletions=MOST_PER_CODE))

    @answers_failures
    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. The right to write shows in how an update of coupon 0 is refused."""
        self._currency.forget()
        currency = await self._currency.get()
        answer = await self._api.call("PUT", "coupons/0", body={})
        refused = failure(answer, "the change of a coupon", "PUT")
        if refused is None or isinstance(refused, Reject):
            return Ready(f"WooCommerce at {self._host}: the key may write coupons; the currency is {currency}")
        return refused

    # ------------------------------------------------------------------------------- its own news (stores/native.py)

    async def parse_event(self, headers: Mapping[str, str], raw: bytes) -> Parsed:
        if self._webhook_secret is None:
            return Refused(secret_missing(SIGNED_WITH))
        return parse(headers, raw, self._webhook_secret.encode())

    @answers_failures
    async def fetch(self, kind: Kind, entity_id: str) -> NativeEvent | None:
        request = f"the look-up in {kind}"
        answer = await self._api.call("GET", f"{kind}/{quote(entity_id, safe='')}")
        if answer.status == 404 and error_of(answer)[0].endswith("_invalid_id"):
            return None
        succeeded(answer, request, "GET")
        shown = exact(answer, request)
        if is_no_order(kind, shown):
            return None
        event = event_of(kind, shown)
        if isinstance(event, NativeEvent):
            return event
        raise CallFailed(Unknown(event.reason, answer.evidence()))

    @answers_failures
    async def list_entities(self, kind: Kind, since: datetime | None, cursor: str | None) -> Page:
        return await self._reader.list_entities(kind, since, cursor)

    def wanted_topics(self) -> tuple[str, ...]:
        return self._reader.wanted_topics()

    @answers_failures
    async def list_hooks(self, address: str) -> tuple[Hook, ...]:
        return await self._reader.list_hooks(address)

    @answers_failures
    async def create_hook(self, topic: str, address: str) -> Hook | Outcome:
        return await self._reader.create_hook(topic, address)

    @answers_failures
    async def enable_hook(self, hook: Hook) -> Outcome:
        return await self._reader.enable_hook(hook)

    @answers_failures
    async def delete_hook(self, hook: Hook) -> Outcome:
        return await self._reader.delete_hook(hook)

    # -------------------------------------------------------------------------------- the Platform's (stores/news.py)

    @answers_failures
    async def sync_loyalty(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:  # noqa: ARG002
        """See `news.SyncsLoyalty`. Metadata of other keys stays: WooCommerce changes only the keys it is sent."""

        async def read(customer_id: str) -> Kept:
            return await self._customer("GET", customer_id)

        async def write(customer_id: str, wanted: Mapping[str, str]) -> Kept:
            meta: JsonValue = [{"key": META + name, "value": value} for name, value in wanted.items()]
            return await self._customer("PUT", customer_id, {"meta_data": meta})

        return await keep_standing(RESPONSES, topic, body, own_id=whole_id, read=read, write=write)

    async def _customer(self, method: Method, customer_id: str, body: JsonValue = None) -> Kept:
        """What we keep on a customer, by `news.NAMES`, as the answer shows it."""
        request = "the customer look-up" if method == "GET" else "the change of the customer"
        query = {"context": "edit"} if method == "GET" else None
        answer = await self._api.call(method, f"customers/{customer_id}", query, body)
        code, words = error_of(answer)
        if answer.status == 404 and code.endswith("_invalid_id"):
            raise no_such_customer(RESPONSES, customer_id, answer)
        if code in ("woocommerce_rest_cannot_edit", "woocommerce_rest_cannot_view") and answer.status in (401, 403):
            hint = "The key of a store manager may change customers only, and no administrator's account."
            reason = RESPONSES.reason(ReasonCode.PERMISSION_MISSING, answer, response=words, hint=hint)
            raise CallFailed(Reject(reason, answer.evidence()))
        succeeded(answer, request, method)
        shown = shown_in(answer, request)
        if not isinstance(shown, dict) or "id" not in shown:
            raise RESPONSES.unreadable(request, "it does not show the customer", answer)
        meta = {str(row.get("key")): row.get("value") for row in rows(shown.get("meta_data"))}
        return {name: meta[META + name] for name in NAMES if META + name in meta}

    # ------------------------------------------------------------------------------------------------ calls

    async def _find(self, code: str) -> CouponFound | None:
        request = "the coupon look-up"
        answer = await self._api.accepted(request, "GET", "coupons", {"code": code})
        shown = shown_in(answer, request)
        coupons = [coupon_found(row, datetime.now(UTC)) for row in shown] if isinstance(shown, list) else [None]
        if None in coupons:
            raise RESPONSES.unreadable(request, "it is not a list of coupons", answer)
        wanted = code.casefold()
        return next((each for each in coupons if each and html.unescape(each.code).casefold() == wanted), None)

    async def _create(self, order: CouponSpec) -> Outcome:
        answer = await self._api.call("POST", "coupons", body=coupon_body(order))
        if error_of(answer)[0] == EXISTS:
            unseen = RESPONSES.reason(ReasonCode.COUPON_NOT_VISIBLE, answer, code=order.code)
            return await already_held(self, order) or Retry(unseen, evidence=answer.evidence())
        succeeded(answer, CREATION, "POST", wrote=True)
        made = coupon_found(RESPONSES.document(answer, CREATION), datetime.now(UTC))
        if made is None:
            raise RESPONSES.unreadable(CREATION, "it does not show the coupon", answer)
        return await as_made(order, made, self._delete, Evidence(answer.status))

    async def _delete(self, store_id: str) -> Done:
        request = "the deletion of the coupon"
        answer = await self._api.call("DELETE", f"coupons/{quote(store_id, safe='')}", {"force": "true"})
        if error_of(answer)[0] != GONE:
            succeeded(answer, request, "DELETE")
        return Done()

    async def _shop_currency(self) -> str:
        request = "the look-up of the currency"
        answer = await self._api.accepted(request, "GET", "data/currencies/current")
        shown = shown_in(answer, request)
        code = shown.get("code") if isinstance(shown, dict) else None
        if not isinstance(code, str):
            raise RESPONSES.unreadable(request, "it does not show the currency", answer)
        return code
