"""A sample adapter: the corner shop (tests/contract/doubles/corner.py), as an outsider would write one.

What an answer means:

    201/200 with the voucher     Done once it is published and is what was ordered; else it is deleted and Reject
    2xx, anything else           Unknown
    409 code_taken               looked up and compared: Done or Reject; one that is not published is finished
    404 no_voucher, not_found    gone: Done for a deletion
    401                          the token has ended: renewed once, one at a time; then Blocked
    403, 404 other, 3xx          Blocked
    408, 425, 429                Retry
    5xx                          Unknown to a write, else Retry
    other 4xx                    Reject with the shop's words
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import ClassVar, Final, Self
from urllib.parse import quote, urlencode

from pydantic import Field, HttpUrl, JsonValue, SecretStr, ValidationError, field_validator
from pydantic_settings import SettingsConfigDict

from app.http import Answer, Failure, HttpClients, failure_of
from app.messages import EVENTS, Kind
from app.outcomes import Blocked, Done, Outcome, Reject, Retry, Unknown
from app.settings import EnvironmentSettings, refuse_placeholder
from app.stores.base import CouponFound, CouponKind, CouponOrder, Ready, differences, judge, refusal
from app.stores.native import Hook, Ignored, NativeEvent, Page, Parsed, Refused

Row = dict[str, JsonValue]
KINDS: Final = {
    CouponKind.FIXED_AMOUNT: "amount", CouponKind.PERCENTAGE: "percent", CouponKind.FREE_SHIPPING: "shipping",
}  # fmt: skip
GONE: Final = ("no_voucher", "not_found", "no_hook")
TOPICS: Final = {"customer.changed": Kind.CUSTOMER, "order.changed": Kind.ORDER, "product.changed": Kind.PRODUCT}


class CornerSettings(EnvironmentSettings):
    """`CORNER__URL` and so on."""

    model_config = SettingsConfigDict(env_prefix="CORNER__")

    url: HttpUrl = Field(description="Address of the corner shop.")
    secret: SecretStr = Field(description="What the shop gives tokens for.")
    webhook_secret: SecretStr = Field(description="Signs the shop's webhooks.")

    _no_placeholder = field_validator("secret", "webhook_secret")(refuse_placeholder)


class Corner:
    """The shop's vouchers, lists and webhooks."""

    Settings: ClassVar[type[EnvironmentSettings]] = CornerSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(KINDS)
    CANNOT: ClassVar[Mapping[str, str]] = {"customer_id": "the corner shop knows shoppers by e-mail address"}

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

    async def issue_coupon(self, order: CouponOrder) -> Outcome:
        if refused := refusal(order, Corner, datetime.now(UTC)):
            return refused
        if not order.first_try and (held := await self._held(order)):
            return held
        answer = await self._call("POST", "vouchers", voucher(order))
        if isinstance(answer, Reject) and "code_taken" in answer.why:
            return await self._held(order) or Retry(f"the shop says that {order.code} is taken, and does not show it")
        if not isinstance(answer, dict):
            return answer or Unknown("the shop answered without the voucher")
        return await self._publish(order, answer)

    async def _held(self, order: CouponOrder) -> Outcome | None:
        row = await self._row(order.code)
        if not isinstance(row, dict):
            return row
        found = coupon({**row, "published": True})
        if found is None:
            return Unknown("the shop shows a voucher that is none")
        if row.get("published") is True or differences(order, found):
            return judge(order, found)
        return await self._publish(order, row)

    async def _publish(self, order: CouponOrder, row: Row) -> Outcome:
        drafted = coupon({**row, "published": True})
        if drafted is None:
            return Unknown("the shop answered without the voucher")
        if told := differences(order, drafted):
            return await self._remove(drafted.store_id, f"the shop made another voucher: {'; '.join(told)}")
        answer = await self._call("POST", f"vouchers/{quote(drafted.store_id, safe='')}/publish", {})
        if not isinstance(answer, dict):
            return answer or Retry("the voucher was deleted meanwhile")
        found = coupon(answer)
        if found is None:
            return Unknown("the shop answered without the voucher")
        if told := differences(order, found):
            return await self._remove(found.store_id, f"the shop published another voucher: {'; '.join(told)}")
        return Done({"store_id": found.store_id})

    async def _remove(self, store_id: str, why: str) -> Reject:
        removed = await self._delete(store_id)
        return Reject(
            f"{why}. It {'was deleted again' if isinstance(removed, Done) else f'is still there: {store_id}'}"
        )

    async def find_coupon(self, code: str) -> CouponFound | Outcome | None:
        row = await self._row(code)
        if not isinstance(row, dict):
            return row
        return coupon(row) or Unknown("the shop shows a voucher that is none")

    async def retire_coupon(self, code: str) -> Outcome:
        row = await self._row(code)
        if row is None:
            return Done()
        return await self._delete(str(row["id"])) if isinstance(row, dict) else row

    async def check(self) -> Ready | Outcome:
        shop = await self._call("GET", "shop")
        if not isinstance(shop, dict):
            return shop or Unknown("the shop told nothing")
        return Ready(f"the corner shop sells in {shop.get('currency')}")

    async def _row(self, code: str) -> Row | Failure | None:
        rows = await self._items(f"vouchers?{urlencode({'code': code}, quote_via=quote)}")
        if not isinstance(rows, list):
            return rows
        return next((row for row in rows if str(row.get("code")).casefold() == code.casefold()), None)

    async def _delete(self, store_id: str) -> Outcome:
        answer = await self._call("DELETE", f"vouchers/{quote(store_id, safe='')}")
        return answer if not isinstance(answer, dict | None) else Done()

    # ------------------------------------------------------------------------------------------------ native

    async def list_entities(self, kind: Kind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        query = {"page": cursor or "1", **({"changed_after": since.astimezone(UTC).isoformat()} if since else {})}
        answer = await self._call("GET", f"{kind}?{urlencode(query)}")
        if not isinstance(answer, dict):
            return answer or Unknown("the shop has no such list")
        rows, following = answer.get("items"), answer.get("next")
        if not isinstance(rows, list):
            return Unknown("the shop answered without a list")
        events = [event(kind, row) for row in rows]
        return Page(tuple(each for each in events if each), str(following) if following else None)

    async def fetch(self, kind: Kind, entity_id: str) -> NativeEvent | Outcome | None:
        row = await self._call("GET", f"{kind}/{quote(entity_id, safe='')}")
        if not isinstance(row, dict):
            return row
        return event(kind, row) or Unknown(f"{kind} {entity_id} cannot be read")

    async def parse_event(self, headers: Mapping[str, str], raw: bytes) -> Parsed:
        signature = hmac.new(self._signing, raw, "sha256").hexdigest()
        if not hmac.compare_digest(headers.get("x-corner-signature", "").encode(), signature.encode()):
            return Refused("the signature does not fit")
        try:
            row = json.loads(raw)
        except (ValueError, RecursionError):
            return Ignored("its body is no JSON")
        kind = TOPICS.get(headers.get("x-corner-topic", ""))
        found = event(kind, row) if kind else None
        return found or Ignored("nothing is relayed for it")

    def wanted_topics(self) -> tuple[str, ...]:
        return tuple(TOPICS)

    async def list_hooks(self, address: str) -> tuple[Hook, ...] | Outcome:
        rows = await self._items("hooks")
        if not isinstance(rows, list):
            return rows
        return tuple(hook(row) for row in rows if row.get("address") == address)

    async def create_hook(self, topic: str, address: str) -> Hook | Outcome:
        known = await self.list_hooks(address)
        if not isinstance(known, tuple):
            return known
        if same := next((each for each in known if each.topic == topic), None):
            return same
        row = await self._call("POST", "hooks", {"topic": topic, "address": address})
        return hook(row) if isinstance(row, dict) else row or Unknown("the shop answered without the hook")

    async def enable_hook(self, hook: Hook) -> Outcome:
        answer = await self._call("PUT", f"hooks/{hook.id}", {})
        return Done() if isinstance(answer, dict) else answer or Reject("the hook is gone")

    async def delete_hook(self, hook: Hook) -> Outcome:
        answer = await self._call("DELETE", f"hooks/{hook.id}")
        return answer if not isinstance(answer, dict | None) else Done()

    # ------------------------------------------------------------------------------------------------ one call

    async def _items(self, path: str) -> list[Row] | Failure:
        answer = await self._call("GET", path)
        rows = answer.get("items") if isinstance(answer, dict) else None
        if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            return [row for row in rows if isinstance(row, dict)]
        return answer if isinstance(answer, Failure) else Unknown("the shop answered without a list")

    async def _call(self, method: str, path: str, body: JsonValue = None) -> Row | Failure | None:
        """An object, None for what is gone or an answer without a body to a deletion, or what went wrong."""
        token = self._token or await self._renewed("")
        if not isinstance(token, str):
            return token
        answer = await self._sent(method, path, body, token)
        if isinstance(answer, Answer) and answer.status == 401:
            token = await self._renewed(token)
            if not isinstance(token, str):
                return token
            answer = await self._sent(method, path, body, token)
        return answered(answer, method) if isinstance(answer, Answer) else answer

    async def _sent(self, method: str, path: str, body: JsonValue, token: str) -> Answer | Failure:
        headers = {"authorization": f"Bearer {token}"}
        return await self._http.call(method, f"{self._url}/{path}", json=body, headers=headers)

    async def _renewed(self, refused: str) -> str | Failure:
        """A token other than the one that was refused; who comes meanwhile gets the same."""
        async with self._renewal:
            if self._token != refused:
                return self._token
            answer = await self._http.call("POST", f"{self._url}/token", json={"secret": self._secret})
            if not isinstance(answer, Answer):
                return Retry(f"no token: {answer.why}") if isinstance(answer, Unknown) else answer
            given = answered(answer, "GET")
            if not isinstance(given, dict):
                return given or Blocked("the shop gives no tokens at this address")
            if not isinstance(given.get("token"), str):
                return Retry("the shop answered without a token")
            self._token = str(given["token"])
            return self._token


def answered(answer: Answer, method: str) -> Row | Failure | None:
    """What an answer means, by the table above."""
    value = answer.json()
    said = value if isinstance(value, dict) and answer.status >= 400 else {}
    error, words = str(said.get("error") or ""), answer.without_secrets(str(said.get("message") or ""))[:200]
    if answer.status == 204 and method == "DELETE":
        return None
    if answer.status == 404:
        return None if error in GONE else Blocked("HTTP 404: correct CORNER__URL", answer.evidence())
    if answer.status >= 500 and method != "GET":
        return Unknown(f"HTTP {answer.status} to a write", answer.evidence())
    failure = failure_of(answer)
    if isinstance(failure, Reject):
        return Reject(f"the shop refuses: {answer.without_secrets(error)} {words}", answer.evidence())
    if failure is not None:
        return failure
    return value if isinstance(value, dict | Unknown) else Unknown(f"HTTP {answer.status} without an object")


def voucher(order: CouponOrder) -> Row:
    """The order in the shop's terms."""
    return {
        "code": order.code,
        "type": KINDS[order.kind],
        "amount": None if order.value is None else f"{order.value:f}",
        "currency": order.currency,
        "minimum": None if order.minimum_spend is None else f"{order.minimum_spend:f}",
        "uses": order.usage_limit,
        "uses_per_customer": order.per_customer_limit,
        "email": order.email,
        "products": list(order.product_ids),
        "variants": list(order.variant_ids),
        "exclusive": not order.combinable,
        "starts_at": written(order.starts_at),
        "ends_at": written(order.expires_at),
        "note": order.reference,
    }


def written(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def ids(value: JsonValue) -> tuple[str, ...]:
    return tuple(str(each) for each in value) if isinstance(value, list) else ()


def coupon(row: Row) -> CouponFound | None:
    """A voucher in our words; None for what is no voucher."""
    kinds = {shop: kind for kind, shop in KINDS.items()}
    try:
        ends_at = moment(row.get("ends_at"))
        return CouponFound(
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
    return None if value is None else Decimal(str(value))


def text(value: JsonValue) -> str | None:
    return None if value is None else str(value)


def count(value: JsonValue) -> int | None:
    return value if isinstance(value, int) else None


def moment(value: JsonValue) -> datetime | None:
    return datetime.fromisoformat(str(value)).astimezone(UTC) if value else None


def event(kind: Kind, row: JsonValue) -> NativeEvent | None:
    """An entity in our words; None for what cannot be read."""
    if not isinstance(row, dict):
        return None
    given = {**row, "updatedAt": row.get("changed_at")}
    try:
        found = EVENTS[kind].model_validate({name: each for name, each in given.items() if name != "changed_at"})
    except ValidationError:
        return None
    if found.updatedAt is None:
        return None
    digest = hashlib.sha256(found.model_dump_json().encode()).hexdigest()[:16]
    return NativeEvent(kind, found, f"corner:{kind}:{found.id}:{found.updatedAt.isoformat()}:{digest}")


def hook(row: Row) -> Hook:
    return Hook(str(row.get("id")), str(row.get("topic")), str(row.get("address")), enabled=row.get("on") is True)
