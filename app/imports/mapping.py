"""Whose column is which field: a sensible guess from the names that shops' exports use, and rows turned by it. Pure.

A mapping is field -> column; what is not mapped is left out of CSV, and kept as it is in JSON.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, get_args

from pydantic import JsonValue

from platform_relay.inbox.messages import EVENTS, FinancialStatus, Kind

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
_WHOLE: Final = ("birthdayMonth", "birthdayDay")
_TIMES: Final = ("createdAt", "updatedAt")
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
"""An export's words for a state of payment, as the Platform's."""


def fields_of(kind: Kind) -> tuple[str, ...]:
    """The fields that a plain column can fill."""
    return tuple(name for name in EVENTS[kind].model_fields if name in _ALIASES)


def required(kind: Kind) -> tuple[str, ...]:
    return tuple(name for name, field in EVENTS[kind].model_fields.items() if field.is_required())


def guess(kind: Kind, columns: Iterable[str]) -> dict[str, str]:
    """Field -> column, for the columns whose names say it; a column is used once, by the field that comes first."""
    plain = {column: re.sub(r"[^a-z0-9]", "", column.lower()) for column in columns}
    found: dict[str, str] = {}
    singular = str(kind).removesuffix("s")
    for field in fields_of(kind):
        aliases = [alias.format(kind=singular) for alias in _ALIASES[field]]
        if field == "id" and kind is not Kind.ORDER:
            aliases = [alias for alias in aliases if alias not in ("number", "incrementid")]
        choices = [column for alias in aliases for column, name in plain.items() if name == alias]
        free = [column for column in choices if column not in found.values()]
        if free:
            found[field] = free[0]
    return found


def parse_mapping(kind: Kind, told: Iterable[str], columns: Iterable[str] | None) -> dict[str, str]:
    """`field=column` as people write it. Raises ValueError naming what is unknown."""
    known, present = EVENTS[kind].model_fields, None if columns is None else set(columns)
    found: dict[str, str] = {}
    for item in told:
        field, sign, column = item.partition("=")
        if not sign or field not in known:
            raise ValueError(f"{item!r}: write FIELD=COLUMN; fields of {kind} are {', '.join(known)}")
        if present is not None and column and column not in present:
            raise ValueError(f"there is no column {column!r}; there are: {', '.join(sorted(present))}")
        found[field] = column
    return found


def missing(kind: Kind, mapping: Mapping[str, str]) -> list[str]:
    """Required fields that no column fills."""
    return [field for field in required(kind) if not mapping.get(field)]


def event_of(
    kind: Kind, values: Mapping[str, JsonValue], mapping: Mapping[str, str], *, flat: bool
) -> dict[str, JsonValue]:
    """A row as an event. `flat`: all values are text (CSV); else members that are not mapped stay as they are.

    Raises ValueError in words for what cannot be meant.
    """
    used = set(mapping.values())
    event = {} if flat else {name: value for name, value in values.items() if name not in used}
    for field, column in mapping.items():
        value = values.get(column) if column else None
        if isinstance(value, str):
            value = _meant(kind, field, value.strip())
        if value is not None:
            event[field] = value
    return event


def _meant(kind: Kind, field: str, told: str) -> JsonValue:
    meant: JsonValue = told or None
    if field in _WHOLE and told.isascii() and told.isdigit():
        meant = int(told)
    elif field in _TIMES and told:
        meant = _moment(told)
    elif field == "tags":
        meant = [tag.strip() for tag in re.split(r"[;,|]", told) if tag.strip()] or None
    elif field == "financialStatus" and kind is Kind.ORDER:
        meant = _STATUSES.get(re.sub(r"[\s-]+", "_", told.lower().removeprefix("wc-")), told) or None
    elif field == "currency":
        meant = told.upper() or None
    return meant


def _moment(told: str) -> str:
    """A time as ISO 8601 in UTC; one without a zone is taken as UTC."""
    text = re.sub(r"\s+(?=[+-]\d\d:?\d\d$|UTC$|Z$)", "", told).replace("UTC", "+00:00")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return told
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)).isoformat()
