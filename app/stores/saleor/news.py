"""Where a shopper stands, in the private metadata of Saleor's customer: keys `platform_relay_…` by `stores.news.NAMES`.

Private, because a shopper may write his own public metadata (`accountUpdate`): a tier there is whatever he says it is.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from pydantic import JsonValue

from app.http import Failure
from app.outcomes import Blocked, Done, Outcome, Reject, Skip, Unknown
from app.stores.news import NAMES, due, standing
from app.stores.saleor.api import DENIED, Refusal, SaleorApi
from app.stores.saleor.documents import PERMISSIONS, SET_STANDING, STANDING

PREFIX: Final = "platform_relay_"
KEYS: Final[list[JsonValue]] = [PREFIX + name for name in NAMES]


async def take_news(api: SaleorApi, topic: str, body: Mapping[str, JsonValue]) -> Outcome:
    """See `news.TakesNews`. Metadata of other keys stays: Saleor merges what it is sent."""
    told = standing(topic, body)
    if isinstance(told, Skip):
        return told
    if not _is_user(told.customer_id):
        return Skip(f"{told.customer_id[:40]} is no customer's id of Saleor")
    data = await api.read(STANDING, id=told.customer_id, keys=KEYS)
    if not isinstance(data, dict):
        return await _of_this_alone(api, data)
    if "user" not in data:
        return Unknown("Saleor answered without the customer")
    if data["user"] is None:
        return Reject(f"Saleor has no such customer: {told.customer_id}")
    wanted = due(told, _kept(data["user"]), datetime.now(UTC))
    return await _put(api, told.customer_id, wanted) if isinstance(wanted, dict) else wanted


async def _put(api: SaleorApi, customer_id: str, wanted: Mapping[str, str]) -> Outcome:
    made = await api.change(SET_STANDING, "updatePrivateMetadata", id=customer_id, keys=KEYS, input=metadata(wanted))
    if isinstance(made, Refusal):
        return Reject(f"Saleor refuses the customer's metadata: {made.words}")
    if not isinstance(made, dict):
        return await _of_this_alone(api, made)
    kept = _kept(made.get("item"))
    if any(kept.get(name) != value for name, value in wanted.items()):
        return Unknown("Saleor answered the change of the customer without what was changed")
    return Done()


def metadata(wanted: Mapping[str, str]) -> list[JsonValue]:
    """What is sent, as `MetadataInput`."""
    return [{"key": PREFIX + name, "value": value} for name, value in wanted.items()]


def _kept(shown: JsonValue) -> dict[str, JsonValue]:
    """What we keep on a customer, by `news.NAMES`."""
    rows = shown.get("privateMetafields") if isinstance(shown, dict) else None
    return {name: rows[PREFIX + name] for name in NAMES if PREFIX + name in rows} if isinstance(rows, dict) else {}


def _is_user(customer_id: str) -> bool:
    """Saleor's ids are base64 of the kind and a number; it fails inside over what is none."""
    try:
        return base64.b64decode(customer_id, validate=True).startswith(b"User:")
    except (binascii.Error, ValueError):
        return False


async def _of_this_alone(api: SaleorApi, failed: Failure) -> Outcome:
    """A permission that only news needs (staff are changed with MANAGE_STAFF) is no reason to pause the channel, coupons
    and all; a token that is none is. Saleor says the same to both, so it is asked whose token this is."""
    if not (isinstance(failed, Blocked) and failed.why.startswith(DENIED)):
        return failed
    asked = await api.read(PERMISSIONS)
    if not isinstance(asked, dict):
        return asked
    return Reject(failed.why, failed.evidence) if isinstance(asked.get("app"), dict) else failed
