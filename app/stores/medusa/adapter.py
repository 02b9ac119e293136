"""Medusa v2, the admin API's promotions (https://docs.medusajs.com/api/admin#promotions).

Observed on Medusa 2.21.2. What an answer means:

    200 with the promotion       Done when it is what was ordered; else it is deleted again and Reject
    2xx, anything else           Unknown (a proxy's page, an empty or cut body)
    400, 422 "… already exists"  of the code: looked up and compared, Done or Reject
                                 of the campaign: what a deleted coupon left behind is removed, Retry
    400, 422 other, 413 …        Reject with the shop's words (only the text tells one 400 from another)
    401, 403                     Blocked: no secret key, revoked, or without the right
    404 type not_found           gone: Done for a deletion (which Medusa answers with 200 in any case)
    404 other, 3xx               Blocked: the address is wrong
    408, 409, 425, 429           Retry
    5xx                          Unknown for a creation (it may have been applied), else Retry

Codes are unique, also under a race, and case-sensitive, also for the shopper. A promotion that does not apply (wrong
currency, expired, used up) is dropped from the cart without a word, so a wrong one is not noticed by anybody: the
shop's currencies are asked for before an amount is promised. A promotion and its campaign are made in one transaction;
deleted they are in two, the promotion first.
"""

import base64
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar, Final, Self
from urllib.parse import quote

from pydantic import Field, FilePath, HttpUrl, JsonValue, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from app.http import Answer, Failure, HttpClients
from app.messages import Kind
from app.outcomes import Blocked, Done, Evidence, Outcome, Reject, Retry, Unknown
from app.settings import EnvironmentSettings, refuse_placeholder
from app.stores.base import CouponFound, CouponKind, CouponOrder, Ready, differences, judge, made_otherwise, refusal
from app.stores.medusa.api import EXISTS, MedusaApi, failure, gone, words
from app.stores.medusa.coupons import inexpressible, promotion_body, promotion_found
from app.stores.medusa.events import one, page
from app.stores.medusa.news import take_news
from app.stores.native import NativeEvent, Page

CURRENCY_SECONDS: Final = 600.0
"""How long the shop's currencies are believed before they are asked for again."""


class MedusaSettings(EnvironmentSettings):
    """`MEDUSA__URL` and so on."""

    model_config = SettingsConfigDict(env_prefix="MEDUSA__")

    url: HttpUrl = Field(description="Address of the Medusa server, e.g. `https://api.shop.example`.")
    api_key: SecretStr = Field(description="Secret API key (`sk_…`).")
    ca_file: FilePath | None = Field(
        None, description="PEM file of the certificate authority, for a shop with a certificate of its own making."
    )

    _no_placeholder = field_validator("api_key")(refuse_placeholder)


class Medusa:
    """The shop's promotions and lists."""

    Settings: ClassVar[type[EnvironmentSettings]] = MedusaSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(CouponKind) - {CouponKind.GIFT_CARD}
    CANNOT: ClassVar[Mapping[str, str]] = {"combinable": "Medusa combines every promotion with every other"}

    def __init__(self, settings: MedusaSettings, clients: HttpClients) -> None:
        self._host = settings.url.host or ""
        key = settings.api_key.get_secret_value()
        basic = base64.b64encode(f"{key}:".encode()).decode()
        self._http = clients.make(settings.url, ca_file=settings.ca_file, secrets=(basic, key))
        self._api = MedusaApi(str(settings.url), self._http, basic)
        self._currencies: frozenset[str] = frozenset()
        self._currencies_until = 0.0

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(MedusaSettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def issue_coupon(self, order: CouponOrder) -> Outcome:
        """See `base.StoreAdapter`."""
        hindrance = (
            refusal(order, Medusa, datetime.now(UTC))
            or inexpressible(order)
            or await self._other_currency(order)
            or (None if order.first_try else await self._held(order))
        )
        return hindrance or await self._create(order)

    async def find_coupon(self, code: str) -> CouponFound | Outcome | None:
        """See `base.StoreAdapter`."""
        rows = await self._api.read("promotions", "promotions", [("code", code), ("limit", "5")])
        if not isinstance(rows, list):
            return rows
        row = next((each for each in rows if each.get("code") == code), None)
        if row is None:
            return None if not rows else Unknown("Medusa answered the look-up of a code with other codes")
        return promotion_found(row, datetime.now(UTC)) or Unknown("Medusa answered with a promotion that is none")

    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`. Orders that used it keep their discount."""
        found = await self.find_coupon(code)
        if found is None:
            return Done()
        return await self._delete(found.store_id, code) if isinstance(found, CouponFound) else found

    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. The right to write shows in how an empty promotion is refused."""
        self._currencies_until = 0.0
        currencies = await self._shop_currencies()
        if not isinstance(currencies, frozenset):
            return currencies
        answer = await self._api.call("POST", "promotions", body={})
        if not isinstance(answer, Answer):
            return answer
        refused = failure(answer)
        if answer.status == 400 and isinstance(refused, Reject):
            sells = ", ".join(sorted(currencies))
            return Ready(f"Medusa at {self._host}: the key may write promotions; the shop sells in {sells}")
        return refused or Unknown("Medusa accepted a promotion without a code", answer.evidence())

    async def list_entities(self, kind: Kind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        """See `native.ListsEntities`."""
        return await page(self._api, kind, since, cursor)

    async def fetch(self, kind: Kind, entity_id: str) -> NativeEvent | Outcome | None:
        """See `native.FetchesEntities`."""
        return await one(self._api, kind, entity_id)

    async def take_news(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:  # noqa: ARG002
        """See `news.TakesNews`."""
        return await take_news(self._api, topic, body)

    async def _held(self, order: CouponOrder) -> Outcome | None:
        found = await self.find_coupon(order.code)
        return judge(order, found) if isinstance(found, CouponFound) else found

    async def _create(self, order: CouponOrder) -> Outcome:
        answer = await self._api.call("POST", "promotions", body=promotion_body(order))
        if not isinstance(answer, Answer):
            return answer
        if answer.status in (400, 422) and EXISTS in words(answer):
            return await self._held(order) or await self._clear(order.code, answer)
        if answer.status >= 500:
            return Unknown(f"Medusa answered HTTP {answer.status} to the creation", answer.evidence())
        return failure(answer) or await self._judge_echo(order, answer)

    async def _judge_echo(self, order: CouponOrder, answer: Answer) -> Outcome:
        echo = answer.json()
        if isinstance(echo, Unknown):
            return echo
        row = echo.get("promotion") if isinstance(echo, dict) else None
        found = promotion_found(row, datetime.now(UTC)) if isinstance(row, dict) else None
        if found is None:
            return Unknown("Medusa answered the creation without the promotion", answer.evidence())
        told = differences(order, found)
        if not told:
            return Done({"store_id": found.store_id}, evidence=Evidence(answer.status))
        removed = await self._delete(found.store_id, order.code)
        return made_otherwise(order, told, removed, found.store_id)

    async def _delete(self, store_id: str, code: str) -> Outcome:
        answer = await self._api.call("DELETE", f"promotions/{quote(store_id, safe='')}")
        if not isinstance(answer, Answer):
            return answer
        if not gone(answer) and (failed := failure(answer)):
            return failed
        await self._remove_campaign(code)  # if this fails, the next creation under this code does it
        return Done()

    async def _clear(self, code: str, answer: Answer) -> Outcome:
        """Medusa says that something exists, and no coupon does: the campaign of one that was deleted."""
        removed = await self._remove_campaign(code)
        if isinstance(removed, Done):
            return Retry(f"what an earlier coupon {code} left behind was removed", evidence=answer.evidence())
        return removed or Retry(f"the shop says that {code} exists, and does not show it", evidence=answer.evidence())

    async def _remove_campaign(self, code: str) -> Outcome | None:
        """Removes the campaign named after a coupon once it holds no promotion; None when there is none to remove."""
        fields = "id,campaign_identifier,promotions.id"
        rows = await self._api.read("campaigns", "campaigns", [("campaign_identifier", code), ("fields", fields)])
        if not isinstance(rows, list):
            return rows
        found = next((row for row in rows if row.get("campaign_identifier") == code), None)
        if found is None:
            return None
        if found.get("promotions"):
            return Reject(f"coupon {code} was not created: the shop has a campaign of this identifier, with promotions")
        answer = await self._api.call("DELETE", f"campaigns/{quote(str(found.get('id')), safe='')}")
        return answer if not isinstance(answer, Answer) else failure(answer) or Done()

    async def _other_currency(self, order: CouponOrder) -> Outcome | None:
        if order.kind is not CouponKind.FIXED_AMOUNT:
            return None
        currencies = await self._shop_currencies()
        if not isinstance(currencies, frozenset):
            return currencies
        if order.currency in currencies:
            return None
        sells = ", ".join(sorted(currencies))
        return Reject(f"coupon {order.code} is ordered in {order.currency}, the shop sells in {sells}")

    async def _shop_currencies(self) -> frozenset[str] | Failure:
        if time.monotonic() < self._currencies_until:
            return self._currencies
        rows = await self._api.read("stores", "stores", [("fields", "supported_currencies.currency_code")])
        if not isinstance(rows, list):
            return rows
        shown = [each for row in rows for each in (row.get("supported_currencies"),) if isinstance(each, list)]
        codes = (each.get("currency_code") for listed in shown for each in listed if isinstance(each, dict))
        self._currencies = frozenset(str(code).upper() for code in codes if code)
        if not self._currencies:
            return Blocked("the Medusa store has no currency; add one (Settings, Store)")
        self._currencies_until = time.monotonic() + CURRENCY_SECONDS
        return self._currencies
