"""Medusa v2, promotions of the admin API (https://docs.medusajs.com/api/admin#promotions).

Observed on Medusa 2.21.2. Responses:

    200 with the promotion       Done if it fits the spec; a promotion that differs is deleted, Reject
    2xx, anything else           Unknown (a proxy's page, an empty or truncated body)
    400, 422 "… already exists"  of the code: looked up and compared, Done or Reject
                                 of the campaign: the campaign of a deleted coupon is removed, Retry
    400, 422 other, 413 …        Reject with the error text (only the text distinguishes one 400 from another); for fields that
                                 an older Medusa does not know also with the oldest version that does
    401, 403                     Blocked: not a secret key, revoked, or without the permission
    404 type not_found           no such promotion: Done for a deletion (Medusa also returns 200 for it)
    404 other, 3xx               Blocked: the address is wrong
    408, 409, 425, 429           Retry
    5xx                          Unknown for a creation (it may have been applied), Retry otherwise

Codes are unique, also in a race, and case-sensitive, also for customers. Medusa silently removes a promotion that does not
apply (wrong currency, expired, used up) from the cart, so a wrong one would not be noticed. Therefore the store's currencies
are read before a coupon with an amount is created. A promotion and its campaign are created in one transaction, but
deleted in two, the promotion first.
"""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar, Final, Self
from urllib.parse import quote

from pydantic import Field, HttpUrl, JsonValue, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from platform_relay.core.environment_settings import EnvironmentSettings
from platform_relay.core.http import HttpClients, HttpResponse
from platform_relay.core.outcomes import Blocked, Done, Evidence, Outcome, Reject, Retry
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
)
from platform_relay.stores.cached import Cached
from platform_relay.stores.failures import CallFailed, returns_failures
from platform_relay.stores.medusa.api import (
    RESPONSES,
    MedusaApi,
    failure,
    is_duplicate,
    is_not_found,
    raise_for_status,
)
from platform_relay.stores.medusa.coupons import parse_promotion, promotion_body, unsupported
from platform_relay.stores.medusa.events import count, fetch_entity, list_entities
from platform_relay.stores.medusa.loyalty_sync import check_permission, sync_loyalty
from platform_relay.stores.native import Page, ParsedEntity
from platform_relay.stores.parsing import Row, objects, value_at
from platform_relay.stores.responses import BODY_CAP
from platform_relay.stores.settings import CaFile

CREATION: Final = "the creation of the coupon"
LOOKUP: Final = "the coupon lookup"


class MedusaSettings(EnvironmentSettings):
    """The variables `MEDUSA__…`."""

    model_config = SettingsConfigDict(env_prefix="MEDUSA__")

    url: HttpUrl = Field(description="Base URL of the Medusa server, e.g. `https://api.shop.example`.")
    api_key: SecretStr = Field(description="Secret API key (`sk_…`).")
    ca_file: CaFile = None

    _no_placeholder = field_validator("api_key")(refuse_placeholder)


class Medusa:
    """Coupons, native events and the loyalty sync of a Medusa store."""

    Settings: ClassVar[type[EnvironmentSettings]] = MedusaSettings
    KINDS: ClassVar[frozenset[CouponKind]] = frozenset(CouponKind) - {CouponKind.GIFT_CARD}
    CANNOT: ClassVar[Mapping[str, str]] = {"combinable": "Medusa combines every promotion with every other"}

    def __init__(self, settings: MedusaSettings, clients: HttpClients) -> None:
        self._host = settings.url.host or ""
        key = settings.api_key.get_secret_value()
        basic = base64.b64encode(f"{key}:".encode()).decode()
        self._http = clients.make(settings.url, ca_file=settings.ca_file, body_cap=BODY_CAP, secrets=(basic, key))
        self._api = MedusaApi(str(settings.url), self._http, basic)
        self._currencies = Cached(self._read_currencies)

    @classmethod
    def from_environment(cls, clients: HttpClients) -> Self:
        """See `base.StoreAdapterClass`."""
        return cls(MedusaSettings(), clients)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @returns_failures
    async def issue_coupon(self, spec: CouponSpec) -> Outcome:
        """See `base.StoreAdapter`."""
        outcome = (
            check_spec(spec, Medusa, datetime.now(UTC))
            or unsupported(spec)
            or (check_currency(spec, await self._currencies.get()) if has_amount(spec) else None)
            or (None if spec.first_try else await find_existing(self, spec))
        )
        return outcome or await self._create(spec)

    @returns_failures
    async def find_coupon(self, code: str) -> StoreCoupon | Outcome | None:
        """See `base.StoreAdapter`."""
        return await self._find(code)

    @returns_failures
    async def retire_coupon(self, code: str) -> Outcome:
        """See `base.StoreAdapter`. Orders that used the coupon keep their discount."""
        coupon = await self._find(code)
        return await self._delete(coupon.store_id, code) if coupon else Done()

    @returns_failures
    async def check(self) -> Ready | Outcome:
        """See `base.StoreAdapter`. The response to an empty promotion shows whether the key may write."""
        self._currencies.clear()
        currencies = await self._currencies.get()
        answer = await self._api.call("POST", "promotions", body={})
        failed = failure(answer, CREATION)
        if answer.status == 400 and isinstance(failed, Reject):
            sells = ", ".join(sorted(currencies))
            return Ready(
                f"Medusa at {self._host}: the key may write promotions; the store sells in {sells}",
                frozenset(currencies),
            )
        return failed or RESPONSES.unreadable(CREATION, "it accepted a promotion without a code", answer).outcome

    @returns_failures
    async def list_entities(self, kind: EventKind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        """See `native.ListsEntities`."""
        return await list_entities(self._api, kind, since, cursor)

    @returns_failures
    async def count(self, kind: EventKind, since: datetime | None = None) -> int | None:
        """See `native.CountsEntities`."""
        return await count(self._api, kind, since)

    @returns_failures
    async def fetch(self, kind: EventKind, entity_id: str) -> ParsedEntity | Outcome | None:
        """See `native.FetchesEntities`."""
        return await fetch_entity(self._api, kind, entity_id)

    @returns_failures
    async def sync_loyalty(self, message_id: str, topic: str, body: Mapping[str, JsonValue]) -> Outcome:  # noqa: ARG002
        """See `loyalty_sync.SyncsLoyalty`."""
        return await sync_loyalty(self._api, topic, body)

    @returns_failures
    async def check_loyalty_sync(self) -> Outcome:
        """See `loyalty_sync.ChecksLoyaltySync`. Changes a customer who does not exist."""
        return await check_permission(self._api)

    async def _find(self, code: str) -> StoreCoupon | None:
        rows = await self._api.read("promotions", "promotions", [("code", code), ("limit", "5")], LOOKUP)
        if not rows:
            return None
        row = next((row for row in rows if row.get("code") == code), None)
        if row is None:
            raise RESPONSES.unreadable(LOOKUP, "it contains only other codes")
        return _promotion(row, LOOKUP)

    async def _create(self, spec: CouponSpec) -> Outcome:
        answer = await self._api.call("POST", "promotions", body=promotion_body(spec))
        if is_duplicate(answer):
            return await find_existing(self, spec) or await self._remove_remains(spec.code, answer)
        raise_for_status(answer, CREATION, wrote=True)
        row = value_at(RESPONSES.json(answer, CREATION), "promotion")
        coupon = _promotion(row if isinstance(row, dict) else {}, CREATION, answer)
        delete = partial(self._delete, code=spec.code)
        return await confirm_created(spec, coupon, delete, Evidence(answer.status))

    async def _delete(self, store_id: str, code: str) -> Done:
        answer = await self._api.call("DELETE", f"promotions/{quote(store_id, safe='')}")
        if not is_not_found(answer):
            raise_for_status(answer, "the deletion of the coupon")
        await self._remove_campaign(code)  # if this fails, the next creation with this code does it
        return Done()

    async def _remove_remains(self, code: str, answer: HttpResponse) -> Outcome:
        """Medusa has the code, but no coupon with it: it belongs to the campaign of a deleted coupon."""
        removed = await self._remove_campaign(code)
        if isinstance(removed, Done):
            return Retry(RESPONSES.reason(ReasonCode.COUPON_CLEANED_UP, code=code), evidence=answer.evidence())
        return removed or Retry(RESPONSES.reason(ReasonCode.COUPON_NOT_VISIBLE, code=code), evidence=answer.evidence())

    @returns_failures
    async def _remove_campaign(self, code: str) -> Outcome | None:
        """Remove the campaign of a coupon if it has no promotions. None: there is no such campaign."""
        query = [("campaign_identifier", code), ("fields", "id,campaign_identifier,promotions.id")]
        rows = await self._api.read("campaigns", "campaigns", query, "the campaign lookup")
        campaign = next((row for row in rows if row.get("campaign_identifier") == code), None)
        if campaign is None:
            return None
        if campaign.get("promotions"):
            problem = "a campaign with this identifier has other promotions"
            return Reject(RESPONSES.reason(ReasonCode.CODE_TAKEN, code=code, problem=problem))
        answer = await self._api.call("DELETE", f"campaigns/{quote(str(campaign.get('id')), safe='')}")
        return failure(answer, "the deletion of the campaign") or Done()

    async def _read_currencies(self) -> frozenset[str]:
        query = [("fields", "supported_currencies.currency_code")]
        stores = await self._api.read("stores", "stores", query, "the store's currencies")
        codes = (row.get("currency_code") for store in stores for row in objects(store.get("supported_currencies")))
        currencies = frozenset(str(code).upper() for code in codes if code)
        if not currencies:
            problem = "its store has no currency; add one under Settings, Store"
            raise CallFailed(Blocked(RESPONSES.reason(ReasonCode.STORE_NOT_READY, problem=problem)))
        return currencies


def _promotion(row: Row, request: str, answer: HttpResponse | None = None) -> StoreCoupon:
    coupon = parse_promotion(row, datetime.now(UTC))
    if coupon is None:
        raise RESPONSES.unreadable(request, "it does not contain the promotion", answer)
    return coupon
