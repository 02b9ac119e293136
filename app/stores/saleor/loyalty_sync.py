"""Where a customer stands, in the private metadata of Saleor's customer: keys `platform_relay_…` by `stores.news.NAMES`.

Private, because customers may write their own public metadata (`accountUpdate`), and with it any tier.
"""

import base64
import binascii
from collections.abc import Mapping
from functools import partial
from typing import Final

from pydantic import JsonValue

from platform_relay.core.outcomes import Outcome
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.failing import CallFailed
from platform_relay.stores.loyalty_sync import NAMES, Kept, keep_standing, no_such_customer, of_customers_alone
from platform_relay.stores.saleor.api import RESPONSES, SaleorApi
from platform_relay.stores.saleor.documents import SET_STANDING, STANDING

PREFIX: Final = "platform_relay_"
KEYS: Final[list[JsonValue]] = [PREFIX + name for name in NAMES]


async def sync_loyalty(api: SaleorApi, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
    """See `news.SyncsLoyalty`. Metadata of other keys stays: Saleor merges what it is sent."""
    read, write = partial(_read, api), partial(_write, api)
    try:
        return await keep_standing(RESPONSES, topic, body, own_id=_own_id, read=read, write=write)
    except CallFailed as failed:
        if failed.outcome.reason.code is ReasonCode.PERMISSION_MISSING:
            # A permission may be missing for this customer alone (staff are changed with MANAGE_STAFF). Saleor answers
            # a token that is none in the same way, and that concerns all calls.
            await api.own_app()
        raise of_customers_alone(failed) from None


async def _read(api: SaleorApi, customer_id: str) -> Kept:
    request = "the customer look-up"
    data = await api.read(STANDING, request, id=customer_id, keys=KEYS)
    if "user" not in data:
        raise RESPONSES.unreadable(request, "it has no customer")
    if data["user"] is None:
        raise no_such_customer(RESPONSES, customer_id)
    return _kept(data["user"])


async def _write(api: SaleorApi, customer_id: str, wanted: Mapping[str, str]) -> Kept:
    variables: dict[str, JsonValue] = {"id": customer_id, "keys": KEYS, "input": metadata(wanted)}
    made = await api.change(SET_STANDING, "updatePrivateMetadata", "the change of the customer", **variables)
    return _kept(made.get("item"))


def metadata(wanted: Mapping[str, str]) -> list[JsonValue]:
    """What is sent, as `MetadataInput`."""
    return [{"key": PREFIX + name, "value": value} for name, value in wanted.items()]


def _kept(shown: JsonValue) -> Kept:
    rows = shown.get("privateMetafields") if isinstance(shown, dict) else None
    return {name: rows[PREFIX + name] for name in NAMES if PREFIX + name in rows} if isinstance(rows, dict) else {}


def _own_id(customer_id: str) -> str | None:
    """Saleor's ids are base64 of the kind and a number; it fails inside over what is none."""
    try:
        return customer_id if base64.b64decode(customer_id, validate=True).startswith(b"User:") else None
    except (binascii.Error, ValueError):
        return None
