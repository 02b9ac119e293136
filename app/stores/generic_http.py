"""Any store: signed JSON requests to an endpoint that the merchant implements.

Every call is a POST with a JSON object, signed according to Standard Webhooks (https://www.standardwebhooks.com): the headers
`webhook-id`, `webhook-timestamp` and `webhook-signature` prove who sent this body and when. The signature covers only the
body. Therefore every call is a POST, and `type` in the body names the operation: a signed lookup cannot be replayed as a
retirement, or for another code.

    POST {url}/coupons          {"type": "coupon.issue", "code": "AB12", "kind": "fixed_amount", "value": "5.00", …}
                                201 created · 200 it already exists with these values · 409 it exists with other values
    POST {url}/coupons/lookup   {"type": "coupon.lookup", "code": "AB12"}
                                200 · 404 {"message": "no such coupon"}
    POST {url}/coupons/retire   {"type": "coupon.retire", "code": "AB12"}
                                200 it can no longer be used · 404 {"message": "no such coupon"}

    POST {url}/loyalty          {"type": "loyalty.sync", "topic": "points/earned", "id": "…", "body": {…the Platform's webhook}}
                                2xx stored · 404 {"message": "no such customer"}
                                404 {"message": "no loyalty sync"}: this webhook is not supported, and skipped
                                (only with STORE__LOYALTY_SYNC)

200, 201 and 409 contain the coupon as the store has it, with the names and formats of the request:
`{"coupon": {…}, "state": "active" | "retired"}`; `coupon` also contains `id` (the store's id) and `used` (a count), if
known. 422 `{"message": …}` rejects an option that the store cannot express. 401: the signature is wrong. A call is repeated
after a lost response; calls with the same `code` are the same call.

Amounts and percentages are decimal strings, times are RFC 3339 in UTC, and a value that is not set is null. Responses:

    2xx with a coupon            Done if it fits the spec; a new coupon that differs is retired, Reject
    2xx, anything else           Unknown
    409 with a coupon            compared with the spec: Done or Reject
    404 with a message above     no such coupon: Done for a retirement; no such customer: Reject; no loyalty sync: Skip
    404 other, 401, 403, 3xx     Blocked (at /loyalty also 405 and 501). The loyalty sync is a destination of its own, so
                                 its Blocked does not stop coupons
    408, 425, 429                Retry
    5xx                          Unknown for a creation, Retry otherwise
    other 4xx                    Reject with the message
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import ClassVar, Final, Self
from uuid import uuid4

from pydantic import Field, HttpUrl, JsonValue, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from platform_relay.core import exact_json, plain_numbers
from platform_relay.core.environment_settings import EnvironmentSettings
from platform_relay.core.http import HttpClients, HttpResponse
from platform_relay.core.outcomes import Blocked, Done, Outcome, Reject, Skip, Unknown
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.stores.base import (
    CouponKind,
    CouponSpec,
    Ready,
    StoreCoupon,
    check_spec,
    compare_existing,
    confirm_created,
    find_existing,
)
from platform_relay.stores.failures import CallFailed, returns_failures
from platform_relay.stores.parsing import format_time, parse_time, value_at, whole_number
from platform_relay.stores.responses import NAMELESS, Responses
from platform_relay.stores.settings import OWN_SECRET, CaFile

RESPONSES: Final = Responses("the store's endpoint", "GENERIC_HTTP__URL", "GENERIC_HTTP__CA_FILE")
CREATION: Final = "the creation of the coupon"
LOOKUP: Final = "the coupon lookup"
LOOKUP_PATH: Final = "/coupons/lookup"
RETIREMENT: Final = "the retirement of the coupon"
LOYALTY_SYNC: Final = "the loyalty sync"
NO_COUPON: Final = "no such coupon"
NO_LOYALTY_SYNC: Final = "no loyalty sync"
CHECK_TOPIC: Final = "relay/check"
NO_CUSTOMER: Final = "no such customer"
NO_SUCH_PATH: Final = (404, 405, 501)
"""How web servers answer a POST to a path that the merchant has not implemented."""
PROBE: Final = "relay-check"
"""The code that `check` looks up. No coupon has it."""


class GenericHttpSettings(EnvironmentSettings):
    """The variables `GENERIC_HTTP__…`."""

    model_config = SettingsConfigDict(env_prefix="GENERIC_HTTP__")

    url: HttpUrl = Field(description="Base URL of the merchant's endpoint. The relay adds `/coupons` to it.")
    secret: SecretStr = Field(
        description="The shared signing secret: `whsec_`, followed by at least 24 bytes in base64.",
        json_schema_extra={OWN_SECRET: "whsec"},
    )
    ca_file: CaFile = None

    @field_validator("secret")
    @classmethod
    def _is_signing_secret(cls, secret: SecretStr) -> SecretStr:
        value = secret.get_secret_value()
        try:
            Webhook(value)
        except (ValueError, EmptyWebhookSecretError):
            value = ""
        if not value.startswith("whsec_") or len(value) < len("whsec_") + 32:
            raise ValueError("is not a signing secret; generate one with: echo whsec_$(openssl rand -base64 32)")
        return secret


class GenericHttp:
    """Creates coupons through the merchant's endpoint."""

    Settings: ClassVar[type[EnvironmentSettings]] = GenericHttpSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(CouponKind)
    CANNOT: ClassVar[Mapping[str, str]] = {}

    def __init__(self, settings: GenericHttpSettings, clients: HttpClients) -> None:
        secret = settings.secret.get_secret_value()
        self._host = settings.url.host or ""
        self._url = str(settings.url).rstrip("/")
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

    @returns_failures
    async def issue_coupon(self, spec: CouponSpec) -> Outcome:
        """See `base.StoreAdapter`."""
        outcome = check_spec(spec, GenericHttp, datetime.now(UTC)) or (
            None if spec.first_try else await find_existing(self, spec)
        )
        return outcome or await self._create(spec)

    async def _create(self, spec: CouponSpec) -> Outcome:
        async def retire(_: str) -> Outcome:
            return await self.retire_coupon(spec.code)

        answer = await self._call("/coupons", coupon_body(spec))
        if answer.status != 409:
            _raise_for_status(answer, CREATION, wrote=True)
        coupon = _coupon(answer, CREATION)
        return await confirm_created(spec, coupon, retire) if answer.status == 201 else compare_existing(spec, coupon)

    @returns_failures
    async def find_coupon(self, code: str) -> StoreCoupon | None:
        """See `base.StoreAdapter`."""
        answer = await self._call(LOOKUP_PATH, {"type": "coupon.lookup", "code": code})
        if _message(answer) == NO_COUPON:
            return None
        _raise_for_status(answer, LOOKUP)
        return _coupon(answer, LOOKUP)

    @returns_failures
    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`."""
        answer = await self._call("/coupons/retire", {"type": "coupon.retire", "code": code})
        if _message(answer) == NO_COUPON:
            return Done()
        _raise_for_status(answer, RETIREMENT)
        try:
            active = _coupon(answer, RETIREMENT).active
        except CallFailed as unreadable:  # the coupon that the endpoint has now decides
            stored = await self.find_coupon(code)
            if stored is not None and not isinstance(stored, StoreCoupon):
                return unreadable.outcome
            active = stored is not None and stored.active
        if active:
            return Unknown(RESPONSES.reason(ReasonCode.COUPON_STILL_ACTIVE, answer, code=code), answer.evidence())
        return Done()

    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. Looks up a code that does not exist. The same secret permits reading and writing."""
        result = await self.find_coupon(PROBE)
        if result is None or isinstance(result, StoreCoupon):
            return Ready(f"the endpoint at {self._host} responds and accepts the relay's signature")
        return result

    @returns_failures
    async def sync_loyalty(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
        """See `loyalty_sync.SyncsLoyalty`. The header `webhook-id` contains the message's id, the same at every attempt."""
        content: dict[str, JsonValue] = {"type": "loyalty.sync", "topic": topic, "id": message_id, "body": dict(body)}
        answer = await self._call("/loyalty", content, f"msg_{message_id}")
        if _message(answer) == NO_LOYALTY_SYNC:
            explanation = "the store's endpoint does not support the loyalty sync"
            return Skip(because(ReasonCode.NOT_APPLICABLE, explanation=explanation))
        if _message(answer) == NO_CUSTOMER:
            reason = RESPONSES.reason(ReasonCode.ENTITY_NOT_FOUND, answer, entity="customer")
            return Reject(reason, answer.evidence())
        if answer.status in NO_SUCH_PATH:
            problem = f"it is on, but the store's endpoint has no path /loyalty (HTTP {answer.status})"
            setting = "STORE__LOYALTY_SYNC"
            return Blocked(because(ReasonCode.SETTING_WRONG, setting=setting, problem=problem), answer.evidence())
        _raise_for_status(answer, LOYALTY_SYNC)
        return Done(evidence=answer.evidence())

    async def check_loyalty_sync(self) -> Outcome:
        """See `loyalty_sync.ChecksLoyaltySync`. Sends the topic `relay/check`, which the endpoint must accept and ignore."""
        return await self.sync_loyalty("relay-check", CHECK_TOPIC, {})

    async def _call(self, path: str, body: Mapping[str, JsonValue], message_id: str | None = None) -> HttpResponse:
        text = exact_json.dumps(body).decode()
        message_id, now = message_id or f"msg_{uuid4().hex}", datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(message_id, now, text),
        }
        return RESPONSES.require(
            await self._http.call(
                "POST", self._url + path, content=text.encode(), headers=headers, reads=path == LOOKUP_PATH
            )
        )


def coupon_body(spec: CouponSpec) -> dict[str, JsonValue]:
    """The body of a creation."""
    return {
        "type": "coupon.issue",
        "code": spec.code,
        "kind": spec.kind.value,
        "value": None if spec.value is None else f"{spec.value:f}",
        "currency": spec.currency,
        "title": spec.title,
        "product_ids": list(spec.product_ids),
        "variant_ids": list(spec.variant_ids),
        "minimum_spend": None if spec.minimum_spend is None else f"{spec.minimum_spend:f}",
        "usage_limit": spec.usage_limit,
        "per_customer_limit": spec.per_customer_limit,
        "customer_id": spec.customer_id,
        "email": spec.email,
        "combinable": spec.combinable,
        "starts_at": format_time(spec.starts_at),
        "expires_at": format_time(spec.expires_at),
        "reference": spec.reference,
    }


def _message(answer: HttpResponse) -> str | None:
    """The message of a 404 that belongs to the protocol ("no such coupon"). Any other 404 means a wrong URL."""
    message = value_at(answer.json(), "message") if answer.status == 404 else None
    return message if isinstance(message, str) else None


def _raise_for_status(answer: HttpResponse, request: str, *, wrote: bool = False) -> None:
    """Raise CallFailed for every status except 2xx."""
    message = value_at(answer.json(), "message") if 400 <= answer.status < 500 else None
    response = answer.quote(message) if isinstance(message, str) else ""
    if answer.status in (401, 403):
        facts = {"setting": "GENERIC_HTTP__SECRET", "hint": "Also compare the clocks of both machines."}
        reason = RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, response=response, **facts)
        raise CallFailed(Blocked(reason, answer.evidence(), certain=answer.status not in NAMELESS))
    RESPONSES.raise_for_status(answer, request, response, wrote=wrote)


def _coupon(answer: HttpResponse, request: str) -> StoreCoupon:
    """The coupon in a response. Raises CallFailed if there is none."""
    value = RESPONSES.json(answer, request)
    row = value_at(value, "coupon")
    coupon = parse_coupon(row, active=value_at(value, "state") == "active") if isinstance(row, dict) else None
    if coupon is None:
        raise RESPONSES.unreadable(request, "it does not contain a readable coupon", answer)
    return coupon


def parse_coupon(row: Mapping[str, JsonValue], active: bool) -> StoreCoupon | None:
    """Translate a coupon of the protocol; None if a value does not have the format of the protocol."""
    code, kind = row.get("code"), row.get("kind")
    if not isinstance(code, str):
        return None
    try:
        expires_at = parse_time(row.get("expires_at"))
        return StoreCoupon(
            store_id=str(row.get("id") or code),
            code=code,
            kind=next((known for known in CouponKind if known == kind), None),
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
            starts_at=parse_time(row.get("starts_at")),
            expires_at=expires_at,
            active=active and (expires_at is None or expires_at > datetime.now(UTC)),
            reference=_text(row.get("reference")),
        )
    except (InvalidOperation, ValueError):
        return None


def _ids(value: JsonValue) -> tuple[str, ...]:
    return tuple(str(item_id) for item_id in value) if isinstance(value, list) else ()


def _decimal(value: JsonValue) -> Decimal | None:
    if value is None:
        return None
    return plain_numbers.amount(value)


def _text(value: JsonValue) -> str | None:
    return None if value is None else str(value)


def _count(value: JsonValue) -> int | None:
    number = whole_number(value)
    if number is None and value is not None:
        raise ValueError("not a count")
    return number
