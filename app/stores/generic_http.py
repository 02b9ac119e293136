"""Any shop: signed JSON to an endpoint that the merchant writes.

Every call is a POST of a JSON object, signed by Standard Webhooks (https://www.standardwebhooks.com): the headers
`webhook-id`, `webhook-timestamp` and `webhook-signature` prove who sent exactly this body and when. POST throughout,
and `type` in the body, because the signature covers the body alone: a signed look-up can never pass for a removal, nor
one for another code.

    POST {url}/coupons          {"type": "coupon.issue", "code": "AB12", "kind": "fixed_amount", "value": "5.00", …}
                                201 made · 200 held already with these values · 409 held with other values
    POST {url}/coupons/lookup   {"type": "coupon.lookup", "code": "AB12"}
                                200 · 404 {"message": "no such coupon"}
    POST {url}/coupons/retire   {"type": "coupon.retire", "code": "AB12"}
                                200 it cannot be used any more · 404 {"message": "no such coupon"}

    POST {url}/news             {"type": "news", "topic": "points/earned", "id": "…", "body": {…as the Platform sent it}}
                                2xx taken · 404 {"message": "no news"}: this endpoint wants none (with STORE__LOYALTY_SYNC only)

200, 201 and 409 carry the coupon as the store holds it, under the names and in the forms in which it was sent:
`{"coupon": {…}, "state": "active" | "retired"}`, in `coupon` also `id` (the store's own) and `used` (a count) where
known. 422 `{"message": …}` refuses what the store cannot express. 401: the signature does not fit. Calls come again
after a lost answer; `code` is what makes them the same call.

Amounts and percentages are decimal texts, times RFC 3339 in UTC, what does not apply is null.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import ClassVar, Final, Self
from uuid import uuid4

from pydantic import Field, FilePath, HttpUrl, JsonValue, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict
from standardwebhooks import Webhook

from platform_relay.core.http import Answer, HttpClients
from platform_relay.core.outcomes import Blocked, Done, Outcome, Skip, Unknown
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.settings import EnvironmentSettings, refuse_placeholder
from platform_relay.stores.base import (
    CouponFound,
    CouponKind,
    CouponSpec,
    Ready,
    already_held,
    as_made,
    judge,
    refusal,
)
from platform_relay.stores.failing import CallFailed, answers_failures
from platform_relay.stores.responses import Responses

RESPONSES: Final = Responses("the store's endpoint", "GENERIC_HTTP__URL")
CREATION: Final = "the creation of the coupon"
LOOK_UP: Final = "the coupon look-up"
RETIREMENT: Final = "the retirement of the coupon"
NONE_SUCH: Final = "no such coupon"
NO_NEWS: Final = "no news"
PROBE: Final = "relay-check"
"""The code that `check` looks up."""


class GenericHttpSettings(EnvironmentSettings):
    """`GENERIC_HTTP__URL` and so on."""

    model_config = SettingsConfigDict(env_prefix="GENERIC_HTTP__")

    url: HttpUrl = Field(description="Base address of the merchant's endpoint; `/coupons` is added to it.")
    secret: SecretStr = Field(description="The shared signing secret: `whsec_` and at least 24 bytes in base64.")
    ca_file: FilePath | None = Field(
        None, description="PEM file of the certificate authority, for an endpoint with a certificate of its own making."
    )

    _no_placeholder = field_validator("secret")(refuse_placeholder)

    @field_validator("secret")
    @classmethod
    def _is_signing_secret(cls, secret: SecretStr) -> SecretStr:
        value = secret.get_secret_value()
        try:
            Webhook(value)
        except (ValueError, RuntimeError):
            value = ""
        if not value.startswith("whsec_") or len(value) < len("whsec_") + 32:
            raise ValueError("is no signing secret; make one with: echo whsec_$(openssl rand -base64 32)")
        return secret


class GenericHttp:
    """The merchant's endpoint."""

    Settings: ClassVar[type[EnvironmentSettings]] = GenericHttpSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(CouponKind)
    CANNOT: ClassVar[Mapping[str, str]] = {}

    def __init__(self, settings: GenericHttpSettings, clients: HttpClients) -> None:
        secret = settings.secret.get_secret_value()
        self._host = settings.url.host or ""
        self._url = str(settings.url).rstrip("/") + "/coupons"
        self._signer = Webhook(secret)
        self._http = clients.make(
            settings.url, ca_file=settings.ca_file, secrets=(secret, secret.removeprefix("whsec_"))
        )

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(GenericHttpSettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @answers_failures
    async def issue_coupon(self, order: CouponSpec) -> Outcome:
        """See `base.StoreAdapter`."""
        hindrance = refusal(order, GenericHttp, datetime.now(UTC)) or (
            None if order.first_try else await already_held(self, order)
        )
        return hindrance or await self._create(order)

    async def _create(self, order: CouponSpec) -> Outcome:
        async def remove(_: str) -> Outcome:
            return await self.retire_coupon(order.code)

        answer = await self._call("", coupon_body(order))
        if answer.status != 409:
            _succeeded(answer, CREATION, wrote=True)
        found = _found(answer, CREATION)
        return await as_made(order, found, remove) if answer.status == 201 else judge(order, found)

    @answers_failures
    async def find_coupon(self, code: str) -> CouponFound | None:
        """See `base.StoreAdapter`."""
        answer = await self._call("/lookup", {"type": "coupon.lookup", "code": code})
        if _message(answer) == NONE_SUCH:
            return None
        _succeeded(answer, LOOK_UP)
        return _found(answer, LOOK_UP)

    @answers_failures
    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`."""
        answer = await self._call("/retire", {"type": "coupon.retire", "code": code})
        if _message(answer) == NONE_SUCH:
            return Done()
        _succeeded(answer, RETIREMENT)
        if _found(answer, RETIREMENT).active:
            return Unknown(RESPONSES.reason(ReasonCode.COUPON_STILL_ACTIVE, answer, code=code), answer.evidence())
        return Done()

    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. Looks a code up that nobody has; whoever may look up may write, too."""
        found = await self.find_coupon(PROBE)
        if found is None or isinstance(found, CouponFound):
            return Ready(f"the endpoint at {self._host} answers and accepts our signature")
        return found

    @answers_failures
    async def sync_loyalty(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
        """See `news.SyncsLoyalty`. The `webhook-id` header is the message's, the same at every try."""
        news: dict[str, JsonValue] = {"type": "news", "topic": topic, "id": message_id, "body": dict(body)}
        answer = await self._call("/news", news, self._url.removesuffix("/coupons"), f"msg_{message_id}")
        if _message(answer) == NO_NEWS:
            return Skip(because(ReasonCode.NOT_APPLICABLE, explanation="the store's endpoint wants no news"))
        _succeeded(answer, "the news")
        return Done(evidence=answer.evidence())

    async def _call(
        self, path: str, body: Mapping[str, JsonValue], base: str | None = None, message: str | None = None
    ) -> Answer:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        message, now = message or f"msg_{uuid4().hex}", datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": message,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(message, now, text),
        }
        url = (base or self._url) + path
        return RESPONSES.received(await self._http.call("POST", url, content=text.encode(), headers=headers))


def coupon_body(order: CouponSpec) -> dict[str, JsonValue]:
    """The order as it is sent."""
    return {
        "type": "coupon.issue",
        "code": order.code,
        "kind": order.kind.value,
        "value": None if order.value is None else f"{order.value:f}",
        "currency": order.currency,
        "title": order.title,
        "product_ids": list(order.product_ids),
        "variant_ids": list(order.variant_ids),
        "minimum_spend": None if order.minimum_spend is None else f"{order.minimum_spend:f}",
        "usage_limit": order.usage_limit,
        "per_customer_limit": order.per_customer_limit,
        "customer_id": order.customer_id,
        "email": order.email,
        "combinable": order.combinable,
        "starts_at": _written(order.starts_at),
        "expires_at": _written(order.expires_at),
        "reference": order.reference,
    }


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _message(answer: Answer) -> str | None:
    """The protocol's word in a 404 ("no such coupon"); None for any other answer. Another 404 is a wrong address."""
    value = answer.json() if answer.status == 404 else None
    message = value.get("message") if isinstance(value, dict) else None
    return message if isinstance(message, str) else None


def _succeeded(answer: Answer, request: str, *, wrote: bool = False) -> None:
    """Raises CallFailed for every status but 2xx."""
    if answer.status in (401, 403):
        facts = {"setting": "GENERIC_HTTP__SECRET", "hint": "Compare the clocks of both machines, too."}
        raise CallFailed(Blocked(RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, **facts), answer.evidence()))
    value = answer.json() if 400 <= answer.status < 500 else None
    words = value.get("message") if isinstance(value, dict) else None
    response = answer.without_secrets(words)[:300] if isinstance(words, str) else ""
    RESPONSES.succeeded(answer, request, response, wrote=wrote)


def _found(answer: Answer, request: str) -> CouponFound:
    """The coupon that an answer shows. Raises CallFailed."""
    value = RESPONSES.document(answer, request)
    row, state = (value.get("coupon"), value.get("state")) if isinstance(value, dict) else (None, None)
    found = coupon_found(row, active=state == "active") if isinstance(row, dict) else None
    if found is None:
        raise RESPONSES.unreadable(request, "it does not show a readable coupon", answer)
    return found


def coupon_found(row: Mapping[str, JsonValue], active: bool) -> CouponFound | None:
    """A coupon of the protocol in our words; None when its forms are not the protocol's."""
    code, kind = row.get("code"), row.get("kind")
    if not isinstance(code, str):
        return None
    try:
        expires_at = _moment(row.get("expires_at"))
        return CouponFound(
            store_id=str(row.get("id") or code),
            code=code,
            kind=next((each for each in CouponKind if each == kind), None),
            value=_decimal(row.get("value")),
            currency=_text(row.get("currency")),
            product_ids=_ids(row.get("product_ids")),
            variant_ids=_ids(row.get("variant_ids")),
            minimum_spend=_decimal(row.get("minimum_spend")),
            usage_limit=_count(row.get("usage_limit")),
            per_customer_limit=_count(row.get("per_customer_limit")),
            used=_count(row.get("used")),
            email=_text(row.get("email")),
            customer_id=_text(row.get("customer_id")),
            combinable=row.get("combinable") is not False,
            starts_at=_moment(row.get("starts_at")),
            expires_at=expires_at,
            active=active and (expires_at is None or expires_at > datetime.now(UTC)),
            reference=_text(row.get("reference")),
        )
    except (InvalidOperation, ValueError):
        return None


def _ids(value: JsonValue) -> tuple[str, ...]:
    return tuple(str(each) for each in value) if isinstance(value, list) else ()


def _decimal(value: JsonValue) -> Decimal | None:
    if value is None:
        return None
    number = Decimal(str(value))
    if not number.is_finite():
        raise ValueError("not a number")
    return number


def _moment(value: JsonValue) -> datetime | None:
    if value is None:
        return None
    moment = datetime.fromisoformat(str(value))
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment


def _text(value: JsonValue) -> str | None:
    return None if value is None else str(value)


def _count(value: JsonValue) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError("not a count")
