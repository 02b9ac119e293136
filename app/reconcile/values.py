"""Both sides' values of one difference: what the store has now, what the relay sent last, and what the Platform has.

They are read when someone asks, from the store, the stored event and the Platform, and are not kept: so there is nothing to
erase, and a body that was deleted or cannot be decrypted has no values. Coupon codes are masked. The calls are reads.
"""

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactJson
from platform_relay.core.masked_codes import without_codes
from platform_relay.core.outcomes import reason_of
from platform_relay.forwarding.fetch import event_json
from platform_relay.inbox.events import EventKind, OrderEvent
from platform_relay.jobs.views import View
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.fields import NO_FIELDS, Fields
from platform_relay.reconcile.content import content_of, field_values, leaves, unwrapped
from platform_relay.reconcile.snapshots import RelaySnapshots
from platform_relay.stores.native import FetchesEntities, Ignored, NativeEvent, Unreadable

MAX_FIELDS: Final = 200
LONGEST: Final = 200
_ENTITY: Final = {EventKind.CUSTOMER: "customer", EventKind.ORDER: "order", EventKind.PRODUCT: "product"}
_NO_PLATFORM: Final = "The Platform has no look-up for orders and products: what it acknowledged counts."

Status = Literal["read", "missing", "unavailable"]
Values = dict[str, ExactJson]


class FieldValue(View):
    """One field, by the Platform's name. null: this side does not have the field, or could not be read."""

    field: str
    store: str | None
    sent: str | None
    platform: str | None
    differs: bool


class Side(View):
    """Whether one side could be read. `missing`: it does not have the entity."""

    status: Status
    text: str


class DifferenceValues(View):
    """The values of both sides, read now. Coupon codes are masked."""

    kind: EventKind
    entity_id: str
    store: Side = Field(description="The store, as it is now.")
    sent: Side = Field(
        description="The newest event that the relay received. It is what was sent, if its job has ended."
    )
    platform: Side = Field(description="The Platform's customer, as it is now.")
    fields: list[FieldValue] = Field(description="At most 200 fields; those that differ come first.")

    def without_values(self) -> "DifferenceValues":
        """The names of the fields alone."""
        fields = [field.model_copy(update={"store": None, "sent": None, "platform": None}) for field in self.fields]
        return self.model_copy(update={"fields": fields})


class ValueReader:
    """`store` is the store's adapter, `source` its name. `platform` None: the Platform is not asked; then `fields` is used."""

    def __init__(
        self, engine: AsyncEngine, store: object, source: str, platform: PlatformClient | None, fields: Fields
    ) -> None:
        self._snapshots = RelaySnapshots(engine, source)
        self._store = store
        self._platform = platform
        self._fields = fields

    async def read(self, kind: EventKind, entity_id: str) -> DifferenceValues:
        """The values of an entity. What cannot be read is described, and no error."""
        codes: set[str] = set()
        store, store_values = await self._read_store(kind, entity_id, codes)
        sent, sent_values = await self._read_sent(kind, entity_id, codes)
        platform, platform_values = await self._read_platform(kind, entity_id)
        fields = _compared(store_values, sent_values, platform_values, self._fields["customer.email"])
        return DifferenceValues(
            kind=kind,
            entity_id=entity_id,
            store=store,
            sent=sent,
            platform=platform,
            fields=[_masked(field, codes) for field in fields[:MAX_FIELDS]],
        )

    async def _read_store(self, kind: EventKind, entity_id: str, codes: set[str]) -> tuple[Side, Values | None]:
        if not isinstance(self._store, FetchesEntities):
            return Side(status="unavailable", text="The store's adapter cannot read single entities."), None
        fetched = await self._store.fetch(kind, entity_id)
        match fetched:
            case None:
                return Side(status="missing", text="The store does not have it."), None
            case NativeEvent():
                raw = event_json(fetched)
                return Side(status="read", text="Read from the store now."), self._values(kind, raw, codes)
            case Unreadable() | Ignored():
                return Side(status="unavailable", text=fetched.reason.text), None
            case _:
                return Side(status="unavailable", text=reason_of(fetched).text), None

    async def _read_sent(self, kind: EventKind, entity_id: str, codes: set[str]) -> tuple[Side, Values | None]:
        event = (await self._snapshots.newest_events(kind, [entity_id])).get(entity_id)
        if event is None:
            return Side(status="missing", text="The relay has received nothing about it."), None
        if event.body is None:
            text = "The event was deleted after RETENTION or by an erasure, or cannot be decrypted."
            return Side(status="unavailable", text=text), None
        snapshot = f"The newest event that was received, from {event.source}."
        return Side(status="read", text=snapshot), self._values(kind, event.body, codes)

    async def _read_platform(self, kind: EventKind, entity_id: str) -> tuple[Side, Values | None]:
        if kind is not EventKind.CUSTOMER:
            return Side(status="unavailable", text=_NO_PLATFORM), None
        if self._platform is None:
            return Side(status="unavailable", text="PLATFORM__API_KEY is not set."), None
        customer = await self._platform.get_customer(entity_id)
        if customer is None:
            return Side(status="missing", text="The Platform does not have it."), None
        if not isinstance(customer, Mapping):
            return Side(status="unavailable", text=customer.reason.text), None
        return Side(status="read", text="Read from the Platform now."), dict(leaves(dict(customer)))

    def _values(self, kind: EventKind, raw: bytes, codes: set[str]) -> Values | None:
        """What would be sent of an event. Its coupon codes are added to `codes`."""
        if kind is EventKind.ORDER:
            try:
                codes.update(discount.code for discount in OrderEvent.parse(raw).discountCodes or ())
            except ValueError:
                return None
        content = content_of(kind, raw, self._fields)
        member = self._fields[f"form.{_ENTITY[kind]}"]
        return None if content is None else unwrapped(field_values(content), None if member == NO_FIELDS else member)


def _compared(store: Values | None, sent: Values | None, platform: Values | None, email: str) -> list[FieldValue]:
    """One row for each field that the store or the newest event has. Those that differ come first. Pure."""
    rows = []
    for name in dict.fromkeys([*(store or {}), *(sent or {})]):
        is_email = name == email
        sides = [_text(side[name]) if side is not None and name in side else None for side in (store, sent, platform)]
        known = [_comparable(side.get(name), is_email=is_email) for side in (store, sent) if side is not None]
        if platform is not None and name in platform:
            known.append(_comparable(platform[name], is_email=is_email))
        rows.append(
            FieldValue(field=name, store=sides[0], sent=sides[1], platform=sides[2], differs=len(set(known)) > 1)
        )
    return sorted(rows, key=lambda row: not row.differs)


def _comparable(value: ExactJson, *, is_email: bool) -> str:
    """Nothing, null and an empty text are the same."""
    if value in (None, "", [], {}):
        return ""
    text = value if isinstance(value, str) else exact_json.dumps(value).decode()
    return text.casefold() if is_email else text


def _text(value: ExactJson) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else exact_json.dumps(value).decode()
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _masked(field: FieldValue, codes: set[str]) -> FieldValue:
    sides = {name: getattr(field, name) for name in ("store", "sent", "platform")}
    masked = {name: value and without_codes(value, codes) for name, value in sides.items()}
    return field.model_copy(update=masked)
