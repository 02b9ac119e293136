"""A sample adapter: the corner store of the simulators, as an author outside of this project would write one.

What an answer means:

    201/200 with the voucher     Done once it is published and is what was ordered; else it is deleted and Reject
    2xx, anything else           Unknown
    409 code_taken               looked up and compared: Done or Reject; one that is not published is finished
    404 no_voucher, not_found    gone: Done for a deletion
    401                          the token has ended: renewed once, one at a time; then Blocked
    403, 404 other, 3xx          Blocked
    408, 425, 429                Retry
    5xx                          Unknown to a write, else Retry
    other 4xx                    Reject with the store's words
"""

import asyncio
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import ClassVar, Final, Self, cast
from urllib.parse import quote, urlencode

from pydantic import Field, HttpUrl, JsonValue, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from platform_relay.core import exact_json
from platform_relay.core.environment_settings import EnvironmentSettings
from platform_relay.core.http import HttpClients, HttpResponse
from platform_relay.core.outcomes import Done, Outcome, Reject, Retry
from platform_relay.core.plain_numbers import amount
from platform_relay.core.reasons import ReasonCode
from platform_relay.core.setting_values import refuse_placeholder
from platform_relay.inbox.events import EventKind
from platform_relay.stores.base import (
    CouponKind,
    CouponSpec,
    Ready,
    StoreCoupon,
    check_spec,
    compare_existing,
    confirm_created,
    differences,
)
from platform_relay.stores.failures import CallFailed, returns_failures
from platform_relay.stores.native import (
    Page,
    ParsedEntity,
    ParsedWebhook,
    StoreWebhook,
    invalid_signature,
    not_relayed,
    unreadable_webhook,
)
from platform_relay.stores.responses import Responses
from platform_relay.stores.translation import translate

Row = dict[str, JsonValue]
KINDS: Final = {
    CouponKind.FIXED_AMOUNT: "amount", CouponKind.PERCENTAGE: "percent", CouponKind.FREE_SHIPPING: "shipping",
}  # fmt: skip
RESPONSES: Final = Responses("the corner store", "CORNER__URL")
CREATION: Final = "the creation of the coupon"
LOOKUP: Final = "the coupon lookup"
GONE: Final = ("no_voucher", "not_found", "no_webhook")
TOPICS: Final = {
    "customer.changed": EventKind.CUSTOMER,
    "order.changed": EventKind.ORDER,
    "product.changed": EventKind.PRODUCT,
}


class Taken(CallFailed):
    """The store has a voucher of this code already."""


class CornerSettings(EnvironmentSettings):
    """`CORNER__URL` and so on."""

    model_config = SettingsConfigDict(env_prefix="CORNER__")

    url: HttpUrl = Field(description="Address of the corner store.")
    secret: SecretStr = Field(description="What the store gives tokens for.")
    webhook_secret: SecretStr = Field(description="Signs the store's webhooks.")

    _no_placeholder = field_validator("secret", "webhook_secret")(refuse_placeholder)


class Corner:
    """The store's vouchers, lists and webhooks."""

    Settings: ClassVar[type[EnvironmentSettings]] = CornerSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(KINDS)
    CANNOT: ClassVar[Mapping[str, str]] = {"customer_id": "the corner store knows customers by e-mail address"}

    def __init__(self, settings: CornerSettings, clients: HttpClients) -> None:
        self._url = str(settings.url).rstrip("/")
        self._secret = settings.secret.get_secret_value()
        self._signing = settings.webhook_secret.get_secret_value().encode()
        self._http = clients.make(settings.url, secrets=(self._secret, settings.webhook_secret.get_secret_value()))
        self._token = ""
        self._renewal = asyncio.Lock()

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        return cls(CornerSettings(), clients)

    async def aclose(self) -> None:
        await self._http.aclose()

    # ------------------------------------------------------------------------------------------------ coupons

    @returns_failures
    async def issue_coupon(self, spec: CouponSpec) -> Outcome:
        if refused := check_spec(spec, Corner, datetime.now(UTC)):
            return refused
        if not spec.first_try and (held := await self._held(spec)):
            return held
        try:
            row = await self._object("POST", "vouchers", CREATION, voucher(spec))
        except Taken:
            return await self._held(spec) or Retry(RESPONSES.reason(ReasonCode.COUPON_NOT_VISIBLE, code=spec.code))
        return await self._publish(spec, row)

    async def _held(self, spec: CouponSpec) -> Outcome | None:
        row = await self._row(spec.code)
        if row is None:
            return None
        existing = read({**row, "published": True}, LOOKUP)
        if row.get("published") is True or differences(spec, existing):
            return compare_existing(spec, existing)
        return await self._publish(spec, row)

    async def _publish(self, spec: CouponSpec, row: Row) -> Outcome:
        """The second call. A draft that is not as ordered is deleted, and so is a voucher that changes on the way."""
        draft = read({**row, "published": True}, CREATION)
        drafted = await confirm_created(spec, draft, self._delete)
        if isinstance(drafted, Reject):
            return drafted
        request = "the publication of the coupon"
        row = await self._object("POST", f"vouchers/{quote(draft.store_id, safe='')}/publish", request, {})
        published = read(row, request)
        return await confirm_created(spec, published, self._delete)

    @returns_failures
    async def find_coupon(self, code: str) -> StoreCoupon | None:
        row = await self._row(code)
        return read(row, LOOKUP) if row else None

    @returns_failures
    async def retire_coupon(self, code: str) -> Outcome:
        row = await self._row(code)
        return await self._delete(str(row["id"])) if row else Done()

    @returns_failures
    async def check(self) -> Ready | Outcome:
        store = await self._object("GET", "store", "the store")
        return Ready(f"the corner store sells in {store.get('currency')}")

    async def _row(self, code: str) -> Row | None:
        rows = await self._items(f"vouchers?{urlencode({'code': code}, quote_via=quote)}", LOOKUP)
        return next((row for row in rows if row.get("code") == code), None)

    async def _delete(self, store_id: str) -> Done:
        await self._call("DELETE", f"vouchers/{quote(store_id, safe='')}", "the deletion of the coupon")
        return Done()

    # ------------------------------------------------------------------------------------------------ native

    @returns_failures
    async def list_entities(self, kind: EventKind, since: datetime | None, cursor: str | None) -> Page:
        query = {"page": cursor or "1", **({"changed_after": since.astimezone(UTC).isoformat()} if since else {})}
        answer = await self._object("GET", f"{kind}?{urlencode(query)}", f"the list of {kind}")
        rows, following = answer.get("items"), answer.get("next")
        if not isinstance(rows, list):
            raise RESPONSES.unreadable(f"the list of {kind}", "it has no list")
        return Page.of((event(kind, row) for row in rows), str(following) if following else None)

    @returns_failures
    async def count(self, kind: EventKind, since: datetime | None = None) -> int | None:
        query = {"changed_after": since.astimezone(UTC).isoformat()} if since else {}
        answer = await self._object("GET", f"{kind}?{urlencode(query)}", f"the number of {kind}")
        total = answer.get("total")
        return total if isinstance(total, int) else None

    @returns_failures
    async def fetch(self, kind: EventKind, entity_id: str) -> ParsedEntity | None:
        row = await self._call("GET", f"{kind}/{quote(entity_id, safe='')}", f"the lookup in {kind}")
        if row is None:
            return None
        return event(kind, row)

    async def parse_event(self, headers: Mapping[str, str], raw: bytes) -> ParsedWebhook:
        signature = hmac.new(self._signing, raw, "sha256").hexdigest()
        if not hmac.compare_digest(headers.get("x-corner-signature", "").encode(), signature.encode()):
            return invalid_signature("CORNER__WEBHOOK_SECRET")
        try:
            row = cast("JsonValue", exact_json.loads(raw))
        except ValueError:
            return unreadable_webhook("the corner store", "its body is not JSON")
        kind = TOPICS.get(headers.get("x-corner-topic", ""))
        return event(kind, row) if kind else not_relayed("it is about no customer, order or product")

    def webhook_topics(self) -> tuple[str, ...]:
        return tuple(TOPICS)

    @returns_failures
    async def list_webhooks(self, address: str) -> tuple[StoreWebhook, ...]:
        rows = await self._items("webhooks", "the list of webhooks")
        return tuple(webhook(row) for row in rows if row.get("address") == address)

    @returns_failures
    async def create_webhook(self, topic: str, address: str) -> StoreWebhook:
        rows = await self._items("webhooks", "the list of webhooks")
        known = (webhook(row) for row in rows if row.get("address") == address)
        if same := next((hook for hook in known if hook.topic == topic), None):
            return same
        return webhook(await self._object("POST", "webhooks", "the webhook", {"topic": topic, "address": address}))

    @returns_failures
    async def enable_webhook(self, webhook: StoreWebhook) -> Outcome:
        await self._object("PUT", f"webhooks/{webhook.id}", "the webhook", {})
        return Done()

    @returns_failures
    async def delete_webhook(self, webhook: StoreWebhook) -> Outcome:
        await self._call("DELETE", f"webhooks/{webhook.id}", "the webhook")
        return Done()

    # ------------------------------------------------------------------------------------------------ one call

    async def _items(self, path: str, request: str) -> list[Row]:
        answer = await self._object("GET", path, request)
        rows = answer.get("items")
        if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            return [row for row in rows if isinstance(row, dict)]
        raise RESPONSES.unreadable(request, "it has no list")

    async def _object(self, method: str, path: str, request: str, body: JsonValue = None) -> Row:
        """An object. Raises CallFailed, also for what is gone."""
        row = await self._call(method, path, request, body)
        if row is None:
            raise RESPONSES.unreadable(request, "what it is about is gone")
        return row

    async def _call(self, method: str, path: str, request: str, body: JsonValue = None) -> Row | None:
        """An object, or None for what is gone and for an answer without a body to a deletion. Raises CallFailed."""
        token = self._token or await self._renewed("")
        answer = await self._sent(method, path, body, token)
        if answer.status == 401:
            token = await self._renewed(token)
            answer = await self._sent(method, path, body, token)
        return answered(answer, method, request)

    async def _sent(self, method: str, path: str, body: JsonValue, token: str) -> HttpResponse:
        headers = {"authorization": f"Bearer {token}"}
        answer = await self._http.call(method, f"{self._url}/{path}", json=body, headers=headers)
        return RESPONSES.require(answer).hiding(token)

    async def _renewed(self, refused: str) -> str:
        """A token other than the one that was refused; who comes meanwhile gets the same."""
        async with self._renewal:
            if self._token != refused:
                return self._token
            answer = await self._http.call("POST", f"{self._url}/token", json={"secret": self._secret})
            given = answered(RESPONSES.require(answer), "GET", "the login")
            if given is None or not isinstance(given.get("token"), str):
                raise RESPONSES.unreadable("the login", "it has no token")
            self._token = str(given["token"])
            return self._token


def answered(answer: HttpResponse, method: str, request: str) -> Row | None:
    """What an answer means, by the table above."""
    value = answer.json()
    shown = value if isinstance(value, dict) and answer.status >= 400 else {}
    error, words = str(shown.get("error") or ""), answer.quote(str(shown.get("message") or ""))
    if (answer.status == 204 and method == "DELETE") or (answer.status == 404 and error in GONE):
        return None
    if answer.status == 409 and error == "code_taken":
        raise Taken(RESPONSES.rejected(request, words, answer))
    RESPONSES.raise_for_status(answer, request, words, wrote=method != "GET")
    document = RESPONSES.json(answer, request)
    if not isinstance(document, dict):
        raise RESPONSES.unreadable(request, "it has no object", answer)
    return document


def read(row: Row, request: str) -> StoreCoupon:
    """A voucher in our words. Raises CallFailed for what is no voucher."""
    result = coupon(row)
    if result is None:
        raise RESPONSES.unreadable(request, "it has no voucher")
    return result


def voucher(spec: CouponSpec) -> Row:
    """The order in the store's terms."""
    return {
        "code": spec.code,
        "type": KINDS[spec.kind],
        "amount": None if spec.value is None else f"{spec.value:f}",
        "currency": spec.currency,
        "minimum": None if spec.minimum_spend is None else f"{spec.minimum_spend:f}",
        "uses": spec.usage_limit,
        "uses_per_customer": spec.per_customer_limit,
        "email": spec.email,
        "products": list(spec.product_ids),
        "variants": list(spec.variant_ids),
        "exclusive": not spec.combinable,
        "starts_at": written(spec.starts_at),
        "ends_at": written(spec.expires_at),
        "note": spec.reference,
    }


def written(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def ids(value: JsonValue) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def coupon(row: Row) -> StoreCoupon | None:
    """A voucher in our words; None for what is no voucher."""
    kinds = {name: kind for kind, name in KINDS.items()}
    try:
        ends_at = moment(row.get("ends_at"))
        return StoreCoupon(
            store_id=str(row["id"]),
            code=str(row["code"]),
            kind=kinds.get(str(row.get("type"))),
            value=number(row.get("amount")),
            currency=text(row.get("currency")),
            product_ids=ids(row.get("products")),
            variant_ids=ids(row.get("variants")),
            minimum_spend=number(row.get("minimum")),
            usage_limit=count(row.get("uses")),
            per_customer_limit=count(row.get("uses_per_customer")),
            used=count(row.get("used")),
            email=text(row.get("email")),
            combinable=row.get("exclusive") is not True,
            starts_at=moment(row.get("starts_at")),
            expires_at=ends_at,
            active=row.get("published") is True and (ends_at is None or ends_at > datetime.now(UTC)),
            unreadable=frozenset({"customer_id"}),
        )
    except (InvalidOperation, KeyError, TypeError, ValueError):
        return None


def number(value: JsonValue) -> Decimal | None:
    return None if value is None else amount(value)


def text(value: JsonValue) -> str | None:
    return None if value is None else str(value)


def count(value: JsonValue) -> int | None:
    return value if isinstance(value, int) else None


def moment(value: JsonValue) -> datetime | None:
    return datetime.fromisoformat(str(value)).astimezone(UTC) if value else None


def event(kind: EventKind, entity: JsonValue) -> ParsedEntity:
    """An entity in our words."""
    row = entity if isinstance(entity, dict) else {}
    given = {**row, "updatedAt": row.get("changed_at")}
    fields = {name: value for name, value in given.items() if name != "changed_at"}
    return translate(
        "corner", "the corner store", kind, row, lambda: fields, entity_id=row.get("id"), required=("updatedAt",)
    )


def webhook(row: Row) -> StoreWebhook:
    return StoreWebhook(
        str(row.get("id")), str(row.get("topic")), str(row.get("address")), enabled=row.get("on") is True
    )
