"""Medusa v2, the admin API's promotions (https://docs.medusajs.com/api/admin#promotions).

Observed on Medusa 2.21.2. What an answer means:

    200 with the promotion       Done when it is what was ordered; else it is deleted again and Reject
    2xx, anything else           Unknown (a proxy's page, an empty or cut body)
    400, 422 "… already exists"  of the code: looked up and compared, Done or Reject
                                 of the campaign: what a deleted coupon left behind is removed, Retry
    400, 422 other, 413 …        Reject with the store's words (only the text tells one 400 from another)
    401, 403                     Blocked: no secret key, revoked, or without the right
    404 type not_found           gone: Done for a deletion (which Medusa answers with 200 in any case)
    404 other, 3xx               Blocked: the address is wrong
    408, 409, 425, 429           Retry
    5xx                          Unknown for a creation (it may have been applied), else Retry

Codes are unique, also under a race, and case-sensitive, also for the customer. A promotion that does not apply (wrong
currency, expired, used up) is dropped from the cart without a word, so a wrong one is not noticed by anybody: the
store's currencies are asked for before an amount is promised. A promotion and its campaign are made in one transaction;
deleted they are in two, the promotion first.
"""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar, Final, Self
from urllib.parse import quote

from pydantic import Field, FilePath, HttpUrl, JsonValue, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from platform_relay.core.http import Answer, HttpClients
from platform_relay.core.outcomes import Blocked, Done, Evidence, Outcome, Reject, Retry
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
    has_amount,
    other_currency,
    refusal,
)
from platform_relay.stores.failing import CallFailed, answers_failures
from platform_relay.stores.medusa.api import RESPONSES, MedusaApi, Row, failure, gone, succeeded, taken
from platform_relay.stores.medusa.coupons import inexpressible, promotion_body, promotion_found
from platform_relay.stores.medusa.events import one, page
from platform_relay.stores.medusa.loyalty_sync import sync_loyalty
from platform_relay.stores.native import NativeEvent, Page
from platform_relay.stores.reading import rows
from platform_relay.stores.remembered import Remembered

CREATION: Final = "the creation of the coupon"
LOOK_UP: Final = "the coupon look-up"


class MedusaSettings(EnvironmentSettings):
    """`MEDUSA__URL` and so on."""

    model_config = SettingsConfigDict(env_prefix="MEDUSA__")

    url: HttpUrl = Field(description="Address of the Medusa server, e.g. `https://api.shop.example`.")
    api_key: SecretStr = Field(description="Secret API key (`sk_…`).")
    ca_file: FilePath | None = Field(
        None, description="PEM file of the certificate authority, for a store with a certificate of its own making."
    )

    _no_placeholder = field_validator("api_key")(refuse_placeholder)


class Medusa:
    """The store's promotions and lists."""

    Settings: ClassVar[type[EnvironmentSettings]] = MedusaSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(CouponKind) - {CouponKind.GIFT_CARD}
    CANNOT: ClassVar[Mapping[str, str]] = {"combinable": "Medusa combines every promotion with every other"}

    def __init__(self, settings: MedusaSettings, clients: HttpClients) -> None:
        self._host = settings.url.host or ""
        key = settings.api_key.get_secret_value()
        basic = base64.b64encode(f"{key}:".encode()).decode()
        self._http = clients.make(settings.url, ca_file=settings.ca_file, secrets=(basic, key))
        self._api = MedusaApi(str(settings.url), self._http, basic)
        self._currencies = Remembered(self._shop_currencies)

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(MedusaSettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @answers_failures
    async def issue_coupon(self, order: CouponSpec) -> Outcome:
        """See `base.StoreAdapter`."""
        if refused := refusal(order, Medusa, datetime.now(UTC)) or inexpressible(order):
            return refused
        if has_amount(order) and (refused := other_currency(order, await self._currencies.get())):
            return refused
        held = None if order.first_try else await already_held(self, order)
        return held or await self._create(order)

    @answers_failures
    async def find_coupon(self, code: str) -> CouponFound | Outcome | None:
        """See `base.StoreAdapter`."""
        return await self._found(code)

    @answers_failures
    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`. Orders that used it keep their discount."""
        found = await self._found(code)
        return await self._delete(found.store_id, code) if found else Done()

    @answers_failures
    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. The right to write shows in how an empty promotion is refused."""
        self._currencies.forget()
        currencies = await self._currencies.get()
        answer = await self._api.call("POST", "promotions", body={})
        refused = failure(answer, CREATION)
        if answer.status == 400 and isinstance(refused, Reject):
            sells = ", ".join(sorted(currencies))
            return Ready(f"Medusa at {self._host}: the key may write promotions; the store sells in {sells}")
        return refused or RESPONSES.unreadable(CREATION, "it accepted a promotion without a code", answer).outcome

    @answers_failures
    async def list_entities(self, kind: Kind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        """See `native.ListsEntities`."""
        return await page(self._api, kind, since, cursor)

    @answers_failures
    async def fetch(self, kind: Kind, entity_id: str) -> NativeEvent | Outcome | None:
        """See `native.FetchesEntities`."""
        return await one(self._api, kind, entity_id)

    @answers_failures
    async def sync_loyalty(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:  # noqa: ARG002
        """See `news.SyncsLoyalty`."""
        return await sync_loyalty(self._api, topic, body)

    async def _found(self, code: str) -> CouponFound | None:
        rows = await self._api.read("promotions", "promotions", [("code", code), ("limit", "5")], LOOK_UP)
        if not rows:
            return None
        row = next((each for each in rows if each.get("code") == code), None)
        if row is None:
            raise RESPONSES.unreadable(LOOK_UP, "it has only other codes")
        return _promotion(row, LOOK_UP)

    async def _create(self, order: CouponSpec) -> Outcome:
        answer = await self._api.call("POST", "promotions", body=promotion_body(order))
        if taken(answer):
            return await already_held(self, order) or await self._clear(order.code, answer)
        succeeded(answer, CREATION, wrote=True)
        echo = RESPONSES.document(answer, CREATION)
        row = echo.get("promotion") if isinstance(echo, dict) else None
        found = _promotion(row if isinstance(row, dict) else {}, CREATION, answer)
        remove = partial(self._delete, code=order.code)
        return await as_made(order, found, remove, Evidence(answer.status))

    async def _delete(self, store_id: str, code: str) -> Done:
        answer = await self._api.call("DELETE", f"promotions/{quote(store_id, safe='')}")
        if not gone(answer):
            succeeded(answer, "the deletion of the coupon")
        await self._remove_campaign(code)  # if this fails, the next creation under this code does it
        return Done()

    async def _clear(self, code: str, answer: Answer) -> Outcome:
        """Medusa knows the code, and no coupon has it: it is of the campaign of one that was deleted."""
        removed = await self._remove_campaign(code)
        if isinstance(removed, Done):
            return Retry(RESPONSES.reason(ReasonCode.COUPON_CLEANED_UP, code=code), evidence=answer.evidence())
        return removed or Retry(RESPONSES.reason(ReasonCode.COUPON_NOT_VISIBLE, code=code), evidence=answer.evidence())

    @answers_failures
    async def _remove_campaign(self, code: str) -> Outcome | None:
        """Removes the campaign named after a coupon once it holds no promotion; None when there is none to remove."""
        query = [("campaign_identifier", code), ("fields", "id,campaign_identifier,promotions.id")]
        rows = await self._api.read("campaigns", "campaigns", query, "the campaign look-up")
        campaign = next((row for row in rows if row.get("campaign_identifier") == code), None)
        if campaign is None:
            return None
        if campaign.get("promotions"):
            problem = "a campaign with this identifier has promotions of its own"
            return Reject(RESPONSES.reason(ReasonCode.CODE_TAKEN, code=code, problem=problem))
        answer = await self._api.call("DELETE", f"campaigns/{quote(str(campaign.get('id')), safe='')}")
        return failure(answer, "the deletion of the campaign") or Done()

    async def _shop_currencies(self) -> frozenset[str]:
        query = [("fields", "supported_currencies.currency_code")]
        stores = await self._api.read("stores", "stores", query, "the store's currencies")
        codes = (each.get("currency_code") for store in stores for each in rows(store.get("supported_currencies")))
        currencies = frozenset(str(code).upper() for code in codes if code)
        if not currencies:
            problem = "its store has no currency; add one (Settings, Store)"
            raise CallFailed(Blocked(RESPONSES.reason(ReasonCode.STORE_NOT_READY, problem=problem)))
        return currencies


def _promotion(row: Row, request: str, answer: Answer | None = None) -> CouponFound:
    found = promotion_found(row, datetime.now(UTC))
    if found is None:
        raise RESPONSES.unreadable(request, "it has no promotion", answer)
    return found
