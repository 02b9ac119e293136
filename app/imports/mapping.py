"""Maps columns to fields: guesses a mapping from the names in stores' exports, and converts rows to events. Pure.

A mapping is field -> column. Columns that are not mapped are left out of CSV rows, and kept unchanged in JSON rows.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, get_args

from pydantic import JsonValue

from platform_relay.core.plain_numbers import integer, is_count
from platform_relay.inbox.events import EVENTS, EventKind, FinancialStatus

_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("id", "externalid", "{kind}id", "entityid", "userid", "{kind}number", "number", "incrementid", "sku"),
    "email": ("email", "emailaddress", "mail", "customeremail", "billingemail", "useremail"),
    "name": ("name", "fullname", "displayname", "customername"),
    "firstName": ("firstname", "givenname", "forename", "billingfirstname"),
    "lastName": ("lastname", "surname", "familyname", "billinglastname"),
    "phone": ("phone", "telephone", "phonenumber", "billingphone", "mobile"),
    "birthdayMonth": ("birthdaymonth", "birthmonth"),
    "birthdayDay": ("birthdayday", "birthday"),
    "tags": ("tags", "customertags", "groups"),
    "createdAt": ("createdat", "created", "datecreated", "datecreatedgmt", "dateregistered", "registered", "orderdate"),
    "updatedAt": ("updatedat", "updated", "modified", "datemodified", "datemodifiedgmt", "lastmodified", "changedat"),
    "customerId": ("customerid", "customer", "userid", "buyerid", "customeruser"),
    "financialStatus": ("financialstatus", "paymentstatus", "status", "orderstatus"),
    "currency": ("currency", "currencycode", "ordercurrency"),
    "totalPrice": ("totalprice", "total", "ordertotal", "grandtotal", "amount"),
    "subtotalPrice": ("subtotalprice", "subtotal", "ordersubtotal"),
    "title": ("title", "name", "productname", "producttitle"),
    "imageUrl": ("imageurl", "image", "imagesrc", "images", "thumbnail"),
    "status": ("status", "state", "published"),
    "externalUrlHandle": ("externalurlhandle", "handle", "slug", "urlkey", "permalink"),
}
_INTEGERS: Final = ("birthdayMonth", "birthdayDay")
_TIMES: Final = ("createdAt", "updatedAt")
MAX_TIME: Final = 64
"""Characters of a time."""
_ZONE: Final = re.compile(r"[+-][0-9]{2}:?[0-9]{2}|UTC|Z")
_STATUSES: Final[Mapping[str, str]] = {
    **{status: status for status in get_args(FinancialStatus)},
    "completed": "paid",
    "complete": "paid",
    "processing": "paid",
    "on_hold": "pending",
    "unpaid": "pending",
    "failed": "voided",
    "cancelled": "voided",
    "canceled": "voided",
}
"""Payment states in exports, and the Platform's name for each."""


def mappable_fields(kind: EventKind) -> tuple[str, ...]:
    """The fields that a column can fill."""
    return tuple(name for name in EVENTS[kind].model_fields if name in _ALIASES)


def required_fields(kind: EventKind) -> tuple[str, ...]:
    return tuple(name for name, field in EVENTS[kind].model_fields.items() if field.is_required())


def guess_mapping(kind: EventKind, columns: Iterable[str]) -> dict[str, str]:
    """A mapping by the names of the columns. Each column is used once, for the first field that it fits."""
    plain = {column: re.sub(r"[^a-z0-9]", "", column.lower()) for column in columns}
    mapping: dict[str, str] = {}
    singular = str(kind).removesuffix("s")
    for field in mappable_fields(kind):
        aliases = [alias.format(kind=singular) for alias in _ALIASES[field]]
        if field == "id" and kind is not EventKind.ORDER:
            aliases = [alias for alias in aliases if alias not in ("number", "incrementid")]
        choices = [column for alias in aliases for column, name in plain.items() if name == alias]
        free = [column for column in choices if column not in mapping.values()]
        if free:
            mapping[field] = free[0]
    return mapping


def parse_mapping(kind: EventKind, items: Iterable[str], columns: Iterable[str] | None) -> dict[str, str]:
    """The mapping in items such as `field=column`. Raises ValueError for an unknown field or column."""
    known, present = EVENTS[kind].model_fields, None if columns is None else set(columns)
    mapping: dict[str, str] = {}
    for item in items:
        field, sign, column = item.partition("=")
        if not sign or field not in known:
            raise ValueError(f"{item!r} is not valid: write FIELD=COLUMN; fields of {kind} are {', '.join(known)}")
        if present is not None and column and column not in present:
            raise ValueError(f"there is no column {column!r}; the columns are {', '.join(sorted(present))}")
        mapping[field] = column
    return mapping


def missing_fields(kind: EventKind, mapping: Mapping[str, str]) -> list[str]:
    """Required fields without a column."""
    return [field for field in required_fields(kind) if not mapping.get(field)]


def event_of(
    kind: EventKind, values: Mapping[str, JsonValue], mapping: Mapping[str, str], *, flat: bool
) -> dict[str, JsonValue]:
    """The event of a row. `flat`: all values are text (CSV), and an empty cell is an absent field. Otherwise members that are
    not mapped stay unchanged, except those with the name of a mapped field; null or an empty text is null: the field is
    removed."""
    used = {*mapping.values(), *mapping}
    event = {} if flat else {name: value for name, value in values.items() if name not in used}
    for field, column in mapping.items():
        if not column or column not in values:
            continue
        value = values[column]
        if isinstance(value, str):
            value = _converted(kind, field, value.strip())
        if value is not None or not flat:
            event[field] = value
    return event


def _converted(kind: EventKind, field: str, text: str) -> JsonValue:
    """The value of a field; a text that cannot be converted stays as it is, and the event's model rejects it."""
    value: JsonValue = text or None
    if field in _INTEGERS and is_count(text):
        value = integer(text)
    elif field in _TIMES and text:
        value = _utc(text)
    elif field == "tags":
        value = [tag.strip() for tag in re.split(r"[;,|]", text) if tag.strip()] or None
    elif field == "financialStatus" and kind is EventKind.ORDER:
        value = _STATUSES.get(re.sub(r"[\s-]+", "_", text.lower().removeprefix("wc-")), text) or None
    elif field == "currency":
        value = text.upper() or None
    return value


def _utc(text: str) -> str:
    """A time as ISO 8601 in UTC. A time without a zone counts as UTC."""
    if len(text) > MAX_TIME:
        return text
    parts = text.rsplit(None, 1)
    spaced_zone = len(parts) == 2 and _ZONE.fullmatch(parts[1])  # 2026-05-11 16:20:00 +0200
    written = ("".join(parts) if spaced_zone else text).replace("UTC", "+00:00")
    try:
        moment = datetime.fromisoformat(written)
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)).isoformat()
    except (ValueError, OverflowError):
        return text
