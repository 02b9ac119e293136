"""BigCommerce, V2 coupons (https://developer.bigcommerce.com/docs/rest-management/marketing/coupons).

Written from the official OpenAPI documents and not tried on a real store. What the documents do not describe is marked
(not verified).
Responses:

    201 with the coupon          Done if it fits the spec; a coupon that differs is deleted, Reject
    200, 201, anything else      Unknown (HTML, an empty or truncated body, another structure)
    204 to a lookup              no coupon with this code (not verified; an empty list means the same)
    409; 400, 422 that mention   the code is looked up and compared: Done or Reject; without a coupon: Reject with the
    code, name or a duplicate    error text (codes AND names are unique; 409 is for names)
    401, 403                     Blocked; for 403, the scope is missing
    404                          a single coupon does not exist; otherwise Blocked: the address is wrong
    408, 425, 429                Retry after Retry-After or X-Rate-Limit-Time-Reset-Ms
    5xx                          Unknown for a creation, Retry otherwise
    other 4xx, 3xx               Reject, Blocked

The amount of a coupon is in the store's default currency; with another one, the customer gets no discount. A fixed amount is
off the order's total: that it leaves out products for which the coupon is not is not documented, so it is not restricted to
products. A coupon cannot be restricted to one customer, cannot start later,
and has no setting for combination. 100 % on a product would cover any number of units, so there is no free product.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import format_datetime, parsedate_to_datetime
from functools import partial
from typing import ClassVar, Final, Self

from pydantic import Field, HttpUrl, JsonValue, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from platform_relay.core.environment_settings import EnvironmentSettings
from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Blocked, Done, Outcome, Reject, Retry
from platform_relay.core.plain_numbers import integer, is_count
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
    invalid_items,
    not_supported,
)
from platform_relay.stores.bigcommerce.api import (
    RESPONSES,
    BigCommerceApi,
    error_text,
    failure,
    raise_for_status,
    rate_limit_pause,
)
from platform_relay.stores.bigcommerce.events import TOPICS, parse_webhook
from platform_relay.stores.bigcommerce.fetch import count, fetch, list_entities
from platform_relay.stores.bigcommerce.loyalty_sync import CustomerAttributes
from platform_relay.stores.bigcommerce.webhooks import create_webhook, delete_webhook, enable_webhook, list_webhooks
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
from platform_relay.stores.parsing import amount_with_cents, value_at, whole_number
from platform_relay.stores.responses import BODY_CAP
from platform_relay.stores.settings import OneCustomer

SIGNED_WITH: Final = "BIGCOMMERCE__CLIENT_SECRET"
CREATION: Final = "the creation of the coupon"
LOOKUP: Final = "the coupon lookup"
DELETION: Final = "the deletion of the coupon"
MOST_PER_CODE: Final = 5
NAME_CHARS: Final = 100
DUPLICATE: Final = re.compile(r"\b(code|name|unique|exists?|duplicate)\b", re.IGNORECASE)
"""An error text with one of these words may mean that the code exists. BigCommerce does not document the text."""
TAKEN: Final = re.compile(r"\b(unique|exists?|duplicate|taken)\b", re.IGNORECASE)
"""With one of these words the code exists, even if the lookup does not show it yet."""
REFERENCE: Final = re.compile(r" \[([^\[\]]+)\]$")
"""The end of the name of a coupon that the relay created: the reference."""
ALL_PRODUCTS: Final[JsonValue] = {"entity": "categories", "ids": [0]}
TYPES: Final = {
    CouponKind.FIXED_AMOUNT: "per_total_discount",
    CouponKind.PERCENTAGE: "percentage_discount",
    CouponKind.FREE_SHIPPING: "free_shipping",
}


class BigCommerceSettings(EnvironmentSettings):
    """The variables `BIGCOMMERCE__…`."""

    model_config = SettingsConfigDict(env_prefix="BIGCOMMERCE__")

    url: HttpUrl = Field(
        description="The store's API path without a version, e.g. `https://api.bigcommerce.com/stores/abc123`."
    )
    access_token: SecretStr = Field(description="Access token of an API account, sent in the header X-Auth-Token.")
    client_secret: SecretStr | None = Field(
        None, description="Client secret of the same API account. It verifies the store's webhooks."
    )
    one_customer: OneCustomer = "refuse"

    _no_placeholder = field_validator("access_token", "client_secret")(refuse_placeholder)


class BigCommerce:
    """Coupons, native events, webhooks and the loyalty sync of a BigCommerce store."""

    Settings: ClassVar[type[EnvironmentSettings]] = BigCommerceSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(TYPES)
    CANNOT: ClassVar[Mapping[str, str]] = {
        "starts_at": "BigCommerce coupons are valid immediately",
        "customer_id": "BigCommerce cannot restrict a coupon to one customer",
        "email": "BigCommerce cannot restrict a coupon to one customer",
        "combinable": "BigCommerce coupons have no setting that prevents combination",
        "variant_ids": "BigCommerce coupons are for products; name the products in a reward rule (product_ids)",
    }

    def __init__(self, settings: BigCommerceSettings, clients: HttpClients) -> None:
        secret = settings.client_secret
        self._secret = secret.get_secret_value() if secret else None
        self._store_hash = (settings.url.path or "").rstrip("/").rpartition("/")[2]
        self._refuse = settings.one_customer == "refuse"
        token = settings.access_token.get_secret_value()
        secrets = (token, self._secret or "")
        self._http = clients.make(settings.url, secrets=secrets, body_cap=BODY_CAP, rate_limit_pause=rate_limit_pause)
        self._api = BigCommerceApi(str(settings.url), self._http, token)
        self._customer_attributes = CustomerAttributes(self._api)
        self._currency = ""

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(BigCommerceSettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    # ------------------------------------------------------------------------------------------------ coupons

    @returns_failures
    async def issue_coupon(self, spec: CouponSpec) -> Outcome:
        """See `base.StoreAdapter`."""
        if not self._refuse:
            spec = replace(spec, customer_id=None, email=None)
        outcome = (
            check_spec(replace(spec, customer_id=None) if spec.email else spec, BigCommerce, datetime.now(UTC))
            or unsupported(spec)
            or (check_currency(spec, {await self._currency_code()}) if has_amount(spec) else None)
            or (None if spec.first_try else await find_existing(self, spec))
        )
        return outcome or await self._create(spec)

    @returns_failures
    async def find_coupon(self, code: str) -> StoreCoupon | None:
        """See `base.StoreAdapter`."""
        return await self._find(code)

    @returns_failures
    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`."""
        for _ in range(MOST_PER_CODE):
            if (coupon := await self._find(code)) is None:
                return Done()
            await self._delete(coupon.store_id)
        return Retry(RESPONSES.reason(ReasonCode.COUPON_STILL_ACTIVE, code=code, deletions=MOST_PER_CODE))

    @returns_failures
    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. The response to an update of coupon 0 shows whether the token may write."""
        self._currency = ""
        currency = await self._currency_code()
        answer = await self._api.call("PUT", "/v2/coupons/0", body={})
        failed = failure(answer, "the change of a coupon", single=True)
        if failed is None or isinstance(failed, Reject):
            return Ready(
                f"BigCommerce store {self._store_hash}: the token may write coupons; the currency is {currency}",
                frozenset({currency}),
            )
        return failed

    async def _find(self, code: str) -> StoreCoupon | None:
        rows = await self._api.rows(LOOKUP, "/v2/coupons", {"code": code})
        coupons = [parse_coupon(row, datetime.now(UTC)) for row in rows]
        if None in coupons:
            raise RESPONSES.unreadable(LOOKUP, "it contains a coupon that cannot be read")
        return next((coupon for coupon in coupons if coupon and coupon.code.casefold() == code.casefold()), None)

    async def _create(self, spec: CouponSpec) -> Outcome:
        answer = await self._api.call("POST", "/v2/coupons", body=coupon_body(spec))
        failed = failure(answer, CREATION, wrote=True)
        if failed and (answer.status == 409 or (answer.status in (400, 422) and DUPLICATE.search(error_text(answer)))):
            if answer.status == 409 or TAKEN.search(error_text(answer)):
                not_visible = RESPONSES.reason(ReasonCode.COUPON_NOT_VISIBLE, code=spec.code)
                failed = Retry(not_visible, evidence=answer.evidence())
            return await find_existing(self, spec) or failed
        if failed:
            return failed
        coupon = parse_coupon(RESPONSES.json(answer, CREATION), datetime.now(UTC))
        if coupon is None:
            raise RESPONSES.unreadable(CREATION, "it does not contain the coupon", answer)
        return await confirm_created(spec, coupon, self._delete)

    async def _delete(self, store_id: str) -> Done:
        answer = await self._api.call("DELETE", f"/v2/coupons/{store_id}")
        if answer.status != 404:
            raise_for_status(answer, DELETION)
        return Done()

    async def _currency_code(self) -> str:
        if not self._currency:
            request = "the currency lookup"
            store = await self._api.document(request, "/v2/store")
            if store is None:
                raise CallFailed(Blocked(RESPONSES.reason(ReasonCode.WRONG_ADDRESS, setting="BIGCOMMERCE__URL")))
            if not isinstance(store.get("currency"), str):
                raise RESPONSES.unreadable(request, "it does not contain the currency")
            self._currency = str(store["currency"])
        return self._currency

    # ------------------------------------------------------------------------------------------------ native events and webhooks

    async def parse_event(self, headers: Mapping[str, str], raw: bytes) -> ParsedWebhook:
        """See `native.ReceivesWebhooks`. The body contains only the id of an entity, so the result is ToFetch."""
        return await parse_with(self, headers, raw)

    async def webhook_parser(self, headers: Mapping[str, str], raw: bytes) -> Callable[[], ParsedWebhook] | Unverified:
        """See `native.ParsesLargeWebhooks`."""
        if self._secret is None:
            return Unverified(secret_missing(SIGNED_WITH))
        return partial(parse_webhook, headers, raw, self._secret, self._store_hash)

    @returns_failures
    async def fetch(self, kind: EventKind, entity_id: str) -> ParsedEntity | Outcome | None:
        """See `native.FetchesEntities`."""
        return await fetch(self._api, kind, entity_id)

    @returns_failures
    async def list_entities(self, kind: EventKind, since: datetime | None, cursor: str | None) -> Page:
        """See `native.ListsEntities`."""
        return await list_entities(self._api, kind, since, cursor)

    @returns_failures
    async def count(self, kind: EventKind, since: datetime | None = None) -> int | None:
        """See `native.CountsEntities`."""
        return await count(self._api, kind, since)

    def webhook_topics(self) -> tuple[str, ...]:
        """See `native.SetsUpWebhooks`."""
        return TOPICS

    @returns_failures
    async def list_webhooks(self, address: str) -> tuple[StoreWebhook, ...]:
        """See `native.SetsUpWebhooks`."""
        return await list_webhooks(self._api, address)

    @returns_failures
    async def create_webhook(self, topic: str, address: str) -> StoreWebhook | Outcome:
        """See `native.SetsUpWebhooks`. BigCommerce signs with the client secret."""
        if self._secret is None:
            return Reject(secret_missing(SIGNED_WITH))
        return await create_webhook(self._api, topic, address)

    @returns_failures
    async def enable_webhook(self, webhook: StoreWebhook) -> Outcome:
        """See `native.SetsUpWebhooks`."""
        return await enable_webhook(self._api, webhook)

    @returns_failures
    async def delete_webhook(self, webhook: StoreWebhook) -> Outcome:
        """See `native.SetsUpWebhooks`."""
        return await delete_webhook(self._api, webhook)

    @returns_failures
    async def sync_loyalty(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:  # noqa: ARG002
        """See `loyalty_sync.SyncsLoyalty`."""
        return await self._customer_attributes.sync_loyalty(topic, body)

    @returns_failures
    async def check_loyalty_sync(self) -> Outcome:
        """See `loyalty_sync.ChecksLoyaltySync`."""
        return await self._customer_attributes.check_permission()


def coupon_body(spec: CouponSpec) -> dict[str, JsonValue]:
    """The body of a creation (`coupon_Base`): amounts are strings, the expiry is in RFC 2822, and 0 means no limit.

    The name contains the code, because names are unique too, and the reference, because there is no other field for it.
    """
    value = Decimal(0) if spec.kind is CouponKind.FREE_SHIPPING else spec.value or Decimal(0)
    products: JsonValue = {"entity": "products", "ids": [integer(item_id) for item_id in spec.product_ids]}
    body: dict[str, JsonValue] = {
        "name": _name(spec),
        "code": spec.code,
        "type": TYPES[spec.kind],
        "amount": f"{value:f}",
        "min_purchase": f"{spec.minimum_spend or Decimal(0):f}",
        "enabled": True,
        "applies_to": products if spec.product_ids else ALL_PRODUCTS,
        "max_uses": spec.usage_limit or 0,
        "max_uses_per_customer": spec.per_customer_limit or 0,
    }
    if spec.expires_at:
        body["expires"] = format_datetime(spec.expires_at.astimezone(UTC).replace(microsecond=0))
    return body


def _name(spec: CouponSpec) -> str:
    suffix = f" [{spec.reference}]" if spec.reference else ""
    if len(spec.code) + len(suffix) > NAME_CHARS:
        suffix = ""
    room = NAME_CHARS - len(spec.code) - len(suffix) - 3
    return (f"{spec.title[:room]} ({spec.code})" if spec.title and room > 0 else spec.code) + suffix


def parse_coupon(row: JsonValue, now: datetime) -> StoreCoupon | None:
    """Translate a `coupon_Full`; None if the value is not one."""
    if not isinstance(row, dict) or not isinstance(row.get("id"), int) or not isinstance(row.get("code"), str):
        return None
    try:
        amount, minimum, expires_at = (
            amount_with_cents(row.get("amount")),
            amount_with_cents(row.get("min_purchase")),
            _expiry(row),
        )
    except (InvalidOperation, ValueError):
        return None
    kind = next((kind for kind, name in TYPES.items() if name == row.get("type")), None)
    restrictions = [name for name in ("restricted_to", "shipping_methods") if row.get(name)]
    products = _products(row.get("applies_to"), restrictions)
    return StoreCoupon(
        store_id=str(row["id"]),
        code=str(row["code"]),
        kind=kind,
        value=None if kind is CouponKind.FREE_SHIPPING else amount,
        product_ids=products,
        minimum_spend=minimum or None,
        usage_limit=whole_number(row.get("max_uses")) or None,
        per_customer_limit=whole_number(row.get("max_uses_per_customer")) or None,
        used=whole_number(row.get("num_uses")),
        expires_at=expires_at,
        active=row.get("enabled") is True and (expires_at is None or expires_at > now),
        restrictions=tuple(restrictions),
        unreadable=frozenset({"currency", "starts_at", "combinable"}),
        reference=match[1] if (match := REFERENCE.search(str(row.get("name")))) else None,
        any_case=True,
    )


def _products(applies_to: JsonValue, restrictions: list[str]) -> tuple[str, ...]:
    """The product ids. Any other value than category 0, which means all products, is added to the restrictions."""
    entity, ids = value_at(applies_to, "entity"), value_at(applies_to, "ids")
    if entity == "products" and isinstance(ids, list):
        return tuple(str(item_id) for item_id in ids)
    if entity != "categories" or not isinstance(ids, list) or 0 not in ids:
        restrictions.append("applies_to")
    return ()


def unsupported(spec: CouponSpec) -> Reject | None:
    """Reject for a code, product ids or a kind for certain products that BigCommerce does not support."""
    if not re.fullmatch(r"[a-zA-Z0-9_ -]{1,50}", spec.code):
        return not_supported(
            spec, "code", "BigCommerce codes have at most 50 characters: letters, digits, spaces, _ and -"
        )
    if spec.product_ids and spec.kind is not CouponKind.PERCENTAGE:
        problem = f"BigCommerce does not document that a {spec.kind} coupon leaves other products out; use a percentage"
        return not_supported(spec, "product_ids", problem)
    return invalid_items(spec, [item_id for item_id in spec.product_ids if not is_count(item_id)])


def _expiry(row: Mapping[str, JsonValue]) -> datetime | None:
    expires = row.get("expires")
    return parsedate_to_datetime(str(expires)).astimezone(UTC) if expires else None
