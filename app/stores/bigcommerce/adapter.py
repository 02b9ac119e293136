"""BigCommerce, V2 coupons (https://developer.bigcommerce.com/docs/rest-management/marketing/coupons).

Made from the official OpenAPI documents; no running shop was seen, so what they do not say is marked (unproven).
What an answer means:

    201 with the coupon          Done when it is what was ordered; else it is deleted again and Reject
    200, 201, anything else      Unknown (HTML, an empty or a cut body, another shape)
    204 to a look-up             none of this code (unproven; an empty list means the same)
    409; 400, 422 that speak of  the code is looked up: Done or Reject by what the store holds; nothing there: Reject
    code, name or a duplicate    with the store's words (codes AND names are unique, 409 is a name's)
    401, 403                     Blocked; 403 names the missing scope
    404                          gone for a single coupon, else Blocked: the address is wrong
    408, 425, 429                Retry after Retry-After or X-Rate-Limit-Time-Reset-Ms
    5xx                          Unknown for a creation, else Retry
    other 4xx, 3xx               Reject, Blocked

A coupon holds its amount in the store's default currency. It cannot be bound to one customer, cannot start later, has no
setting for being combined, and 100 % on a product would cover any number of pieces, so there is no free product.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import format_datetime, parsedate_to_datetime
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, HttpUrl, JsonValue, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Blocked, Done, Outcome, Reject, Retry
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
    foreign_items,
    has_amount,
    not_supported,
    other_currency,
    refusal,
)
from platform_relay.stores.bigcommerce.api import RESPONSES, BigCommerceApi, failure, patience, succeeded, words
from platform_relay.stores.bigcommerce.events import WANTED, parse_webhook
from platform_relay.stores.bigcommerce.fetch import fetch, list_entities
from platform_relay.stores.bigcommerce.loyalty_sync import Standings
from platform_relay.stores.bigcommerce.webhooks import create_hook, delete_hook, enable_hook, list_hooks
from platform_relay.stores.failing import CallFailed, answers_failures
from platform_relay.stores.native import Hook, NativeEvent, Page, Parsed, Refused, secret_missing
from platform_relay.stores.reading import count, with_cents

SIGNED_WITH: Final = "BIGCOMMERCE__CLIENT_SECRET"
CREATION: Final = "the creation of the coupon"
LOOK_UP: Final = "the coupon look-up"
DELETION: Final = "the deletion of the coupon"
MOST_PER_CODE: Final = 5
NAME_CHARS: Final = 100
DUPLICATE: Final = re.compile(r"\b(code|name|unique|exists?|duplicate)\b", re.IGNORECASE)
"""A refusal in such words may mean that the code is there; which words BigCommerce has for it is not documented."""
TAKEN: Final = re.compile(r"\b(unique|exists?|duplicate|taken)\b", re.IGNORECASE)
"""So much of it that a look-up which does not show the code is stale."""
REFERENCE: Final = re.compile(r" \[([^\[\]]+)\]$")
"""How the name of a coupon of ours ends."""
ALL_PRODUCTS: Final[JsonValue] = {"entity": "categories", "ids": [0]}
TYPES: Final = {
    CouponKind.FIXED_AMOUNT: "per_total_discount",
    CouponKind.PERCENTAGE: "percentage_discount",
    CouponKind.FREE_SHIPPING: "free_shipping",
}


class BigCommerceSettings(EnvironmentSettings):
    """`BIGCOMMERCE__URL` and so on."""

    model_config = SettingsConfigDict(env_prefix="BIGCOMMERCE__")

    url: HttpUrl = Field(
        description="The store's API path without a version, e.g. `https://api.bigcommerce.com/stores/abc123`."
    )
    access_token: SecretStr = Field(description="Access token of an API account (header X-Auth-Token).")
    client_secret: SecretStr | None = Field(
        None, description="Client secret of the same API account; verifies the store's webhooks."
    )
    one_customer: Literal["refuse", "issue_unrestricted"] = Field(
        "refuse",
        description="A coupon for one customer, which BigCommerce cannot make: `refuse` or `issue_unrestricted`.",
    )

    _no_placeholder = field_validator("access_token", "client_secret")(refuse_placeholder)


class BigCommerce:
    """One BigCommerce shop: its coupons, webhooks and lists."""

    Settings: ClassVar[type[EnvironmentSettings]] = BigCommerceSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(TYPES)
    CANNOT: ClassVar[Mapping[str, str]] = {
        "starts_at": "BigCommerce coupons are valid at once",
        "customer_id": "BigCommerce cannot bind a coupon to one customer",
        "email": "BigCommerce cannot bind a coupon to one customer",
        "combinable": "BigCommerce coupons have no setting against being combined",
        "variant_ids": "BigCommerce coupons are for whole products; name these (product_ids) in a rule of yours",
    }

    def __init__(self, settings: BigCommerceSettings, clients: HttpClients) -> None:
        secret = settings.client_secret
        self._secret = secret.get_secret_value() if secret else None
        self._store = (settings.url.path or "").rstrip("/").rpartition("/")[2]
        self._refuse = settings.one_customer == "refuse"
        token = settings.access_token.get_secret_value()
        self._http = clients.make(settings.url, secrets=(token, self._secret or ""), patience=patience)
        self._api = BigCommerceApi(str(settings.url), self._http, token)
        self._standings = Standings(self._api)
        self._currency = ""

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(BigCommerceSettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    # ------------------------------------------------------------------------------------------------ coupons

    @answers_failures
    async def issue_coupon(self, order: CouponSpec) -> Outcome:
        """See `base.StoreAdapter`."""
        if not self._refuse:
            order = replace(order, customer_id=None, email=None)
        hindrance = (
            refusal(replace(order, customer_id=None) if order.email else order, BigCommerce, datetime.now(UTC))
            or _unfit(order)
            or (other_currency(order, {await self._shop_currency()}) if has_amount(order) else None)
            or (None if order.first_try else await already_held(self, order))
        )
        return hindrance or await self._create(order)

    @answers_failures
    async def find_coupon(self, code: str) -> CouponFound | None:
        """See `base.StoreAdapter`."""
        return await self._find(code)

    @answers_failures
    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`."""
        for _ in range(MOST_PER_CODE):
            if (coupon := await self._find(code)) is None:
                return Done()
            await self._delete(coupon.store_id)
        return Retry(RESPONSES.reason(ReasonCode.COUPON_STILL_ACTIVE, code=code, deletions=MOST_PER_CODE))

    @answers_failures
    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. The right to write shows in how an update of coupon 0 is refused."""
        self._currency = ""
        currency = await self._shop_currency()
        answer = await self._api.call("PUT", "/v2/coupons/0", body={})
        refused = failure(answer, "the change of a coupon", single=True)
        if refused is None or isinstance(refused, Reject):
            return Ready(f"BigCommerce store {self._store}: the token may write coupons; the currency is {currency}")
        return refused

    async def _find(self, code: str) -> CouponFound | None:
        rows = await self._api.rows(LOOK_UP, "/v2/coupons", {"code": code})
        coupons = [coupon_found(row, datetime.now(UTC)) for row in rows]
        if None in coupons:
            raise RESPONSES.unreadable(LOOK_UP, "it has a coupon that cannot be read")
        return next((each for each in coupons if each and each.code.casefold() == code.casefold()), None)

    async def _create(self, order: CouponSpec) -> Outcome:
        answer = await self._api.call("POST", "/v2/coupons", body=coupon_body(order))
        failed = failure(answer, CREATION, wrote=True)
        if failed and (answer.status == 409 or (answer.status in (400, 422) and DUPLICATE.search(words(answer)))):
            if answer.status == 409 or TAKEN.search(words(answer)):
                unseen = RESPONSES.reason(ReasonCode.COUPON_NOT_VISIBLE, code=order.code)
                failed = Retry(unseen, evidence=answer.evidence())
            return await already_held(self, order) or failed
        if failed:
            return failed
        made = coupon_found(RESPONSES.document(answer, CREATION), datetime.now(UTC))
        if made is None:
            raise RESPONSES.unreadable(CREATION, "it does not show the coupon", answer)
        return await as_made(order, made, self._delete)

    async def _delete(self, store_id: str) -> Done:
        answer = await self._api.call("DELETE", f"/v2/coupons/{store_id}")
        if answer.status != 404:
            succeeded(answer, DELETION)
        return Done()

    async def _shop_currency(self) -> str:
        if not self._currency:
            request = "the look-up of the currency"
            shop = await self._api.document(request, "/v2/store")
            if shop is None:
                raise CallFailed(Blocked(RESPONSES.reason(ReasonCode.WRONG_ADDRESS, setting="BIGCOMMERCE__URL")))
            if not isinstance(shop.get("currency"), str):
                raise RESPONSES.unreadable(request, "it does not show the currency")
            self._currency = str(shop["currency"])
        return self._currency

    # ------------------------------------------------------------------------------------------------ native

    async def parse_event(self, headers: Mapping[str, str], raw: bytes) -> Parsed:
        """See `native.ReceivesWebhooks`. The body names an entity only: ToFetch."""
        if self._secret is None:
            return Refused(secret_missing(SIGNED_WITH))
        return parse_webhook(headers, raw, self._secret, self._store)

    @answers_failures
    async def fetch(self, kind: Kind, entity_id: str) -> NativeEvent | Outcome | None:
        """See `native.FetchesEntities`."""
        return await fetch(self._api, kind, entity_id)

    @answers_failures
    async def list_entities(self, kind: Kind, since: datetime | None, cursor: str | None) -> Page:
        """See `native.ListsEntities`. The oldest change first."""
        return await list_entities(self._api, kind, since, cursor)

    def wanted_topics(self) -> tuple[str, ...]:
        """See `native.SetsUpWebhooks`."""
        return WANTED

    @answers_failures
    async def list_hooks(self, address: str) -> tuple[Hook, ...]:
        """See `native.SetsUpWebhooks`."""
        return await list_hooks(self._api, address)

    @answers_failures
    async def create_hook(self, topic: str, address: str) -> Hook | Outcome:
        """See `native.SetsUpWebhooks`. BigCommerce signs with the client secret."""
        if self._secret is None:
            return Reject(secret_missing(SIGNED_WITH))
        return await create_hook(self._api, topic, address)

    @answers_failures
    async def enable_hook(self, hook: Hook) -> Outcome:
        """See `native.SetsUpWebhooks`."""
        return await enable_hook(self._api, hook)

    @answers_failures
    async def delete_hook(self, hook: Hook) -> Outcome:
        """See `native.SetsUpWebhooks`."""
        return await delete_hook(self._api, hook)

    @answers_failures
    async def sync_loyalty(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:  # noqa: ARG002
        """See `news.SyncsLoyalty`."""
        return await self._standings.sync_loyalty(topic, body)


def coupon_body(order: CouponSpec) -> dict[str, JsonValue]:
    """`coupon_Base`: amounts as texts, the expiry in RFC 2822, 0 for "no limit"; the name carries the code, as names
    are unique too, and the reference, for want of any other field."""
    value = Decimal(0) if order.kind is CouponKind.FREE_SHIPPING else order.value or Decimal(0)
    products: JsonValue = {"entity": "products", "ids": [int(each) for each in order.product_ids]}
    body: dict[str, JsonValue] = {
        "name": _name(order),
        "code": order.code,
        "type": TYPES[order.kind],
        "amount": f"{value:f}",
        "min_purchase": f"{order.minimum_spend or Decimal(0):f}",
        "enabled": True,
        "applies_to": products if order.product_ids else ALL_PRODUCTS,
        "max_uses": order.usage_limit or 0,
        "max_uses_per_customer": order.per_customer_limit or 0,
    }
    if order.expires_at:
        body["expires"] = format_datetime(order.expires_at.astimezone(UTC).replace(microsecond=0))
    return body


def _name(order: CouponSpec) -> str:
    mark = f" [{order.reference}]" if order.reference else ""
    if len(order.code) + len(mark) > NAME_CHARS:
        mark = ""
    room = NAME_CHARS - len(order.code) - len(mark) - 3
    return (f"{order.title[:room]} ({order.code})" if order.title and room > 0 else order.code) + mark


def coupon_found(row: JsonValue, now: datetime) -> CouponFound | None:
    """A `coupon_Full` in our words; None when it is none."""
    if not isinstance(row, dict) or not isinstance(row.get("id"), int) or not isinstance(row.get("code"), str):
        return None
    try:
        amount, minimum, expires_at = with_cents(row.get("amount")), with_cents(row.get("min_purchase")), _moment(row)
    except (InvalidOperation, ValueError):
        return None
    kind = next((kind for kind, name in TYPES.items() if name == row.get("type")), None)
    restrictions = [name for name in ("restricted_to", "shipping_methods") if row.get(name)]
    products = _products(row.get("applies_to"), restrictions)
    return CouponFound(
        store_id=str(row["id"]),
        code=str(row["code"]),
        kind=kind,
        value=None if kind is CouponKind.FREE_SHIPPING else amount,
        product_ids=products,
        minimum_spend=minimum or None,
        usage_limit=count(row.get("max_uses")) or None,
        per_customer_limit=count(row.get("max_uses_per_customer")) or None,
        used=count(row.get("num_uses")),
        expires_at=expires_at,
        active=row.get("enabled") is True and (expires_at is None or expires_at > now),
        restrictions=tuple(restrictions),
        unreadable=frozenset({"currency", "starts_at", "combinable"}),
        reference=mark[1] if (mark := REFERENCE.search(str(row.get("name")))) else None,
    )


def _products(applies_to: JsonValue, restrictions: list[str]) -> tuple[str, ...]:
    """The product ids; another category than 0, which is all, is a restriction, and so is nothing at all."""
    entity = applies_to.get("entity") if isinstance(applies_to, dict) else None
    ids = applies_to.get("ids") if isinstance(applies_to, dict) else None
    if entity == "products" and isinstance(ids, list):
        return tuple(str(each) for each in ids)
    if entity != "categories" or not isinstance(ids, list) or 0 not in ids:
        restrictions.append("applies_to")
    return ()


def _unfit(order: CouponSpec) -> Reject | None:
    if not re.fullmatch(r"[a-zA-Z0-9_ -]{1,50}", order.code):
        return not_supported(order, "code", "BigCommerce codes are at most 50 letters, digits, blanks, _ and -")
    return foreign_items(order, [each for each in order.product_ids if not (each.isascii() and each.isdigit())])


def _moment(row: Mapping[str, JsonValue]) -> datetime | None:
    expires = row.get("expires")
    return parsedate_to_datetime(str(expires)).astimezone(UTC) if expires else None
