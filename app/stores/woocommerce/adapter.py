"""WooCommerce, REST API v3 (https://woocommerce.github.io/woocommerce-rest-api-docs/#coupons).

Observed on WooCommerce 9.9.5 unless said otherwise. What an answer means:

    201/200 with the coupon      Done when it is what was ordered; else it is deleted again and Reject
    201/200, anything else       Unknown (a proxy's page, PHP warnings in front of the JSON, an empty or cut body)
    400 …code_already_exists     the code is looked up and compared: Done or Reject
    400 other                    Reject with the shop's words and the refused parameters
    401, 403                     Blocked (WooCommerce says 401, not 403, to a read-only key)
    401 nonce already used       the request was delivered twice: Unknown for a write, Retry for a read
    404 …invalid_id              gone: Done for a deletion
    401, 403 to a customer       Reject when it is about this account alone (…cannot_edit, …cannot_view)
    404 other, 3xx               Blocked: the address is wrong
    408, 425, 429                Retry
    5xx                          Unknown for a creation (it may have been applied), else Retry

A look-up tolerates text in front of the JSON (a shop that shows PHP warnings does so in every answer), a creation does
not: it becomes Unknown, and the next attempt's look-up settles it.
"""

import base64
import html
import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar, Final, Literal, Self
from urllib.parse import quote, urlencode

from oauthlib.oauth1 import SIGNATURE_HMAC_SHA256, Client
from pydantic import Field, FilePath, HttpUrl, JsonValue, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from app.http import Answer, Failure, HttpClients, failure_of
from app.messages import Kind
from app.outcomes import Blocked, Done, Evidence, Outcome, Reject, Retry, Skip, Unknown
from app.settings import EnvironmentSettings, refuse_placeholder
from app.stores.base import CouponFound, CouponKind, CouponOrder, Ready, differences, judge, made_otherwise, refusal
from app.stores.native import Hook, NativeEvent, Page, Parsed, Refused
from app.stores.news import NAMES, due, standing
from app.stores.woocommerce.coupons import coupon_body, coupon_found, foreign_product
from app.stores.woocommerce.events import event_of, is_no_order, parse
from app.stores.woocommerce.hooks import WooCommerceReader, exact

Method = Literal["GET", "POST", "PUT", "DELETE"]
API: Final = "/wp-json/wc/v3"
EXISTS: Final = "woocommerce_rest_coupon_code_already_exists"
GONE: Final = "woocommerce_rest_shop_coupon_invalid_id"
META: Final = "_platform_relay_"
"""What the keys of a customer's metadata begin with."""
CURRENCY_SECONDS: Final = 600.0
"""How long the shop's currency is believed before it is asked for again."""
MOST_PER_CODE: Final = 5
"""A race can leave several coupons under one code, of which a look-up shows one; so many are deleted one by one."""

HINTS: Final[Mapping[str, str]] = {
    "woocommerce_rest_authentication_error": (
        "the consumer secret is wrong, the key is read-only, or, over plain http, the signature does not fit: then "
        "WOOCOMMERCE__URL has to be the shop's home address letter for letter, and this machine's clock right"
    ),
    "woocommerce_rest_cannot_view": "the consumer key is unknown, or its user is no shop manager",
}
READ_ONLY: Final = "the key is read-only; make one with the permission Read/Write"


class WooCommerceSettings(EnvironmentSettings):
    """`WOOCOMMERCE__URL` and so on."""

    model_config = SettingsConfigDict(env_prefix="WOOCOMMERCE__")

    url: HttpUrl = Field(description="The shop's home address as WordPress has it, e.g. `https://shop.example`.")
    consumer_key: SecretStr = Field(description="Consumer key (`ck_…`) with the permission Read/Write.")
    consumer_secret: SecretStr = Field(description="Consumer secret (`cs_…`) of the same key.")
    webhook_secret: SecretStr | None = Field(
        None, description="Signs the shop's webhooks; make one with `openssl rand -hex 24` before `relay connect`."
    )
    ca_file: FilePath | None = Field(
        None, description="PEM file of the certificate authority, for a shop with a certificate of its own making."
    )

    _no_placeholder = field_validator("consumer_key", "consumer_secret", "webhook_secret")(refuse_placeholder)


class WooCommerce:
    """The shop's coupons over REST. HTTP Basic over https; over plain http OAuth 1.0a, one-legged, HMAC-SHA256."""

    Settings: ClassVar[type[EnvironmentSettings]] = WooCommerceSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(CouponKind) - {CouponKind.GIFT_CARD}
    CANNOT: ClassVar[Mapping[str, str]] = {
        "starts_at": "WooCommerce coupons are valid at once",
        "customer_id": "WooCommerce restricts a coupon by e-mail address only, and none is known",
    }

    def __init__(self, settings: WooCommerceSettings, clients: HttpClients) -> None:
        key, secret = settings.consumer_key.get_secret_value(), settings.consumer_secret.get_secret_value()
        basic = base64.b64encode(f"{key}:{secret}".encode()).decode()
        self._host = settings.url.host or ""
        self._api = str(settings.url).rstrip("/") + API
        self._basic = f"Basic {basic}" if settings.url.scheme == "https" else None
        self._signer = Client(key, client_secret=secret, signature_method=SIGNATURE_HMAC_SHA256)
        self._webhook_secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else None
        self._http = clients.make(
            settings.url, ca_file=settings.ca_file, secrets=(basic, secret, key, self._webhook_secret or "")
        )
        self._currency = ""
        self._currency_until = 0.0
        self._reader = WooCommerceReader(self._ask, self._webhook_secret)

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(WooCommerceSettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def issue_coupon(self, order: CouponOrder) -> Outcome:
        """See `base.StoreAdapter`."""
        hindrance = (
            refusal(order, WooCommerce, datetime.now(UTC))
            or foreign_product(order)
            or await self._other_currency(order)
            or (None if order.first_try else await self._held(order))
        )
        return hindrance or await self._create(order)

    async def find_coupon(self, code: str) -> CouponFound | Outcome | None:
        """See `base.StoreAdapter`. A coupon in the trash does not exist: its code can be used again."""
        answer = await self._call("GET", "coupons", {"code": code})
        if not isinstance(answer, Answer):
            return answer
        if failure := _failure(answer, "GET"):
            return failure
        rows = _document(answer)
        if isinstance(rows, Unknown):
            return rows
        found = [coupon_found(row, datetime.now(UTC)) for row in rows] if isinstance(rows, list) else [None]
        if None in found:
            return Unknown("WooCommerce answered the look-up with no list of coupons", answer.evidence())
        wanted = code.casefold()
        return next((each for each in found if each and html.unescape(each.code).casefold() == wanted), None)

    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`. Deletes for good: a coupon in the trash could be restored."""
        for _ in range(MOST_PER_CODE):
            found = await self.find_coupon(code)
            if found is None:
                return Done()
            if not isinstance(found, CouponFound):
                return found
            removed = await self._delete(found.store_id)
            if not isinstance(removed, Done):
                return removed
        return Retry(f"the shop still shows a coupon {code} after {MOST_PER_CODE} deletions")

    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. The right to write shows in how an update of coupon 0 is refused."""
        self._currency_until = 0.0
        currency = await self._shop_currency()
        if not isinstance(currency, str):
            return currency
        answer = await self._call("PUT", "coupons/0", body={})
        if not isinstance(answer, Answer):
            return answer
        failure = _failure(answer, "PUT")
        if failure is None or isinstance(failure, Reject) or _error(answer)[0] == GONE:
            return Ready(f"WooCommerce at {self._host}: the key may write coupons; the currency is {currency}")
        return failure

    # ------------------------------------------------------------------------------- its own news (stores/native.py)

    async def parse_event(self, headers: Mapping[str, str], raw: bytes) -> Parsed:
        if self._webhook_secret is None:
            return Refused("WOOCOMMERCE__WEBHOOK_SECRET is not set, so no webhook of the shop can be verified")
        return parse(headers, raw, self._webhook_secret.encode())

    async def fetch(self, kind: Kind, entity_id: str) -> NativeEvent | Outcome | None:
        answer = await self._call("GET", f"{kind}/{quote(entity_id, safe='')}")
        if not isinstance(answer, Answer):
            return answer
        if answer.status == 404 and _error(answer)[0].endswith("_invalid_id"):
            return None
        if failure := _failure(answer, "GET"):
            return failure
        shown = exact(answer)
        if isinstance(shown, Unknown):
            return shown
        if is_no_order(kind, shown):
            return None
        found = event_of(kind, shown)
        return found if isinstance(found, NativeEvent) else Unknown(found.why, answer.evidence())

    async def list_entities(self, kind: Kind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        return await self._reader.list_entities(kind, since, cursor)

    def wanted_topics(self) -> tuple[str, ...]:
        return self._reader.wanted_topics()

    async def list_hooks(self, address: str) -> tuple[Hook, ...] | Outcome:
        return await self._reader.list_hooks(address)

    async def create_hook(self, topic: str, address: str) -> Hook | Outcome:
        return await self._reader.create_hook(topic, address)

    async def enable_hook(self, hook: Hook) -> Outcome:
        return await self._reader.enable_hook(hook)

    async def delete_hook(self, hook: Hook) -> Outcome:
        return await self._reader.delete_hook(hook)

    # -------------------------------------------------------------------------------- the Platform's (stores/news.py)

    async def take_news(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:  # noqa: ARG002
        """See `news.TakesNews`. Metadata of other keys stays: WooCommerce changes only the keys it is sent."""
        told = standing(topic, body)
        if isinstance(told, Skip):
            return told
        if not told.customer_id.isdecimal() or int(told.customer_id) == 0:
            return Skip(f"{told.customer_id[:40]} is no customer's id of WooCommerce")
        path = f"customers/{int(told.customer_id)}"
        held = await self._customer("GET", path)
        wanted = due(told, held, datetime.now(UTC)) if isinstance(held, dict) else held
        if not isinstance(wanted, dict):
            return wanted
        rows: JsonValue = [{"key": META + name, "value": value} for name, value in wanted.items()]
        kept = await self._customer("PUT", path, {"meta_data": rows})
        if not isinstance(kept, dict):
            return kept
        if any(str(kept.get(name)) != value for name, value in wanted.items()):
            return Unknown("WooCommerce answered the change of the customer without what was changed")
        return Done()

    async def _customer(self, method: Method, path: str, body: JsonValue = None) -> dict[str, JsonValue] | Outcome:
        """What we keep on a customer, by `news.NAMES`, as the answer shows it."""
        answer = await self._call(method, path, {"context": "edit"} if method == "GET" else None, body)
        if not isinstance(answer, Answer):
            return answer
        code, words = _error(answer)
        if answer.status == 404 and code.endswith("_invalid_id"):
            return Reject(f"WooCommerce has no such customer: {path}", answer.evidence())
        if code in ("woocommerce_rest_cannot_edit", "woocommerce_rest_cannot_view") and answer.status in (401, 403):
            why = "a shop manager's key may change customers only, no administrator's account"
            return Reject(f"WooCommerce lets our key not change {path}: {why} ({words})", answer.evidence())
        if failure := _failure(answer, method):
            return failure
        shown = _document(answer)
        if not isinstance(shown, dict) or "id" not in shown:
            return Unknown("WooCommerce answered without the customer", answer.evidence())
        rows = shown.get("meta_data")
        meta = (
            {row.get("key"): row.get("value") for row in rows if isinstance(row, dict)}
            if isinstance(rows, list)
            else {}
        )
        return {name: meta[META + name] for name in NAMES if META + name in meta}

    async def _ask(
        self, method: Method, path: str, query: Mapping[str, str] | None, body: JsonValue
    ) -> Answer | Failure:
        answer = await self._call(method, path, query, body)
        if not isinstance(answer, Answer):
            return answer
        return _failure(answer, method) or answer

    async def _held(self, order: CouponOrder) -> Outcome | None:
        found = await self.find_coupon(order.code)
        return judge(order, found) if isinstance(found, CouponFound) else found

    async def _create(self, order: CouponOrder) -> Outcome:
        answer = await self._call("POST", "coupons", body=coupon_body(order))
        if not isinstance(answer, Answer):
            return answer
        if _error(answer)[0] == EXISTS:
            why = f"the shop says that the code {order.code} exists, and does not show it"
            return await self._held(order) or Retry(why, evidence=answer.evidence())
        if answer.status >= 500:
            return Unknown(f"WooCommerce answered HTTP {answer.status} to the creation", answer.evidence())
        return _failure(answer, "POST") or await self._judge_echo(order, answer)

    async def _judge_echo(self, order: CouponOrder, answer: Answer) -> Outcome:
        echo = answer.json()
        if isinstance(echo, Unknown):
            return echo
        found = coupon_found(echo, datetime.now(UTC))
        if found is None:
            return Unknown("WooCommerce answered the creation without the coupon", answer.evidence())
        told = differences(order, found)
        if not told:
            return Done({"store_id": found.store_id}, evidence=Evidence(answer.status))
        removed = await self._delete(found.store_id)
        return made_otherwise(order, told, removed, found.store_id)

    async def _delete(self, store_id: str) -> Outcome:
        answer = await self._call("DELETE", f"coupons/{quote(store_id, safe='')}", {"force": "true"})
        if not isinstance(answer, Answer):
            return answer
        return Done() if _error(answer)[0] == GONE else _failure(answer, "DELETE") or Done()

    async def _other_currency(self, order: CouponOrder) -> Outcome | None:
        if order.kind is not CouponKind.FIXED_AMOUNT or not order.currency:
            return None
        currency = await self._shop_currency()
        if not isinstance(currency, str):
            return currency
        if currency == order.currency:
            return None
        return Reject(f"coupon {order.code} is ordered in {order.currency}, the shop sells in {currency}")

    async def _shop_currency(self) -> str | Failure:
        if time.monotonic() < self._currency_until:
            return self._currency
        answer = await self._call("GET", "data/currencies/current")
        if not isinstance(answer, Answer):
            return answer
        if failure := _failure(answer, "GET"):
            return failure
        shown = _document(answer)
        code = shown.get("code") if isinstance(shown, dict) else None
        if not isinstance(code, str):
            return Unknown("WooCommerce did not tell the shop's currency", answer.evidence())
        self._currency, self._currency_until = code, time.monotonic() + CURRENCY_SECONDS
        return code

    async def _call(
        self, method: Method, path: str, query: Mapping[str, str] | None = None, body: JsonValue = None
    ) -> Answer | Failure:
        url = f"{self._api}/{path}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        authorization = self._basic or self._signer.sign(url, method)[1]["Authorization"]
        return await self._http.call(method, url, json=body, headers={"authorization": authorization})


def _document(answer: Answer) -> JsonValue | Unknown:
    """The answer to a read as JSON, also with text in front of its first bracket; never with text behind it."""
    value = answer.json()
    start = re.search(rb"[\[{]", answer.body)
    if isinstance(value, Unknown) and start and start.start() > 0:
        try:
            rest: JsonValue = json.loads(answer.body[start.start() :])
        except (ValueError, RecursionError):
            return value
        return rest
    return value


def _error(answer: Answer) -> tuple[str, str]:
    """WordPress's error code and words ("" for both when the answer is no such error), refused parameters included."""
    value = _document(answer)
    if answer.status < 400 or not isinstance(value, dict) or not isinstance(value.get("code"), str):
        return "", ""
    data = value.get("data")
    refused = data.get("params") if isinstance(data, dict) else None
    words = str(value.get("message") or "")
    if isinstance(refused, dict):
        words += " " + " ".join(str(text) for text in refused.values())
    return str(value["code"]), answer.without_secrets(words)[:300]


def _failure(answer: Answer, method: Method) -> Failure | None:
    code, words = _error(answer)
    said = f"HTTP {answer.status} {code}: {words}" if code else f"HTTP {answer.status}"
    match answer.status:
        case 401 if "nonce has already been used" in words:
            why = "the signed request was delivered twice"
            return Retry(why) if method == "GET" else Unknown(why, answer.evidence())
        case 401 | 403:
            denied = method != "GET" and (code.startswith("woocommerce_rest_cannot_") or "write permission" in words)
            hint = READ_ONLY if denied else HINTS.get(code, "a firewall or plugin of the shop refuses our calls")
            return Blocked(f"WooCommerce refuses our key: {hint} ({said})", answer.evidence())
        case 404 if code != GONE:
            hint = "WOOCOMMERCE__URL is wrong, WooCommerce is not active, or the permalinks are set to Plain"
            return Blocked(f"there is no WooCommerce API at this address: {hint} ({said})", answer.evidence())
        case status if code and 400 <= status < 500 and status not in (404, 408, 425, 429):
            return Reject(f"WooCommerce refuses it: {said}", answer.evidence())
    return failure_of(answer)
