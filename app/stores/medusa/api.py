"""One call of Medusa's admin API, with HTTP Basic and the secret key as user name, and the meaning of its errors.

Medusa describes an error with a text: `{"type": "invalid_data", "message": "…"}`. `type` is the same for a code that exists
and for a wrong field. The table of responses is in `adapter.py`.
"""

from collections.abc import Sequence
from typing import Final, Literal
from urllib.parse import quote, urlencode

from pydantic import JsonValue

from platform_relay.core.http import Failure, HttpClient, HttpResponse
from platform_relay.core.outcomes import Blocked, Retry
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.failures import CallFailed
from platform_relay.stores.parsing import Row, objects, value_at, whole_number
from platform_relay.stores.responses import Responses

Method = Literal["GET", "POST", "DELETE"]
Query = Sequence[tuple[str, str]]
OLDEST: Final = "2.13.2"
"""The first version with all that coupons need: `is_tax_inclusive` (2.8), `limit` and `metadata` of promotions (2.12), and carts
that compare `original_item_total` with rules (2.13.2)."""
RESPONSES: Final = Responses("Medusa", "MEDUSA__URL", "MEDUSA__CA_FILE")


class MedusaApi:
    """Calls one store. `basic` is the secret key in the format of HTTP Basic. Every method raises CallFailed."""

    def __init__(self, url: str, http: HttpClient, basic: str) -> None:
        self._url = url.rstrip("/") + "/admin/"
        self._http = http
        self._headers = {"authorization": f"Basic {basic}"}

    async def call(self, method: Method, path: str, query: Query = (), body: JsonValue = None) -> HttpResponse:
        """Send one request. Returns the response with any status."""
        url = self._url + path + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        return RESPONSES.require(await self._http.call(method, url, json=body, headers=self._headers))

    async def read(self, path: str, name: str, query: Query, request: str) -> list[Row]:
        """Return the objects of the list that the response contains under `name`."""
        answer = await self.call("GET", path, query)
        raise_for_status(answer, request)
        rows = value_at(RESPONSES.json(answer, request), name)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise RESPONSES.unreadable(request, f"it does not contain a list of {name}", answer)
        return objects(rows)

    async def count(self, path: str, query: Query, request: str) -> int:
        """Return the number of rows in a list, of which the response contains a part."""
        answer = await self.call("GET", path, query)
        raise_for_status(answer, request)
        count = whole_number(value_at(RESPONSES.json(answer, request), "count"))
        if count is None:
            raise RESPONSES.unreadable(request, "it does not contain the count", answer)
        return count


def error_text(answer: HttpResponse) -> str:
    """The error text of Medusa; empty if there is none."""
    message = value_at(answer.json(), "message") if answer.status >= 400 else None
    return answer.quote(message) if isinstance(message, str) else ""


def is_duplicate(answer: HttpResponse) -> bool:
    """Whether a code, or the identifier of a campaign, already exists.

    Only the text distinguishes this from a wrong field (Medusa 2.21.2, `throwIfUniqueConstraint` of its database error mapper).
    """
    return answer.status in (400, 422) and "already exists" in error_text(answer)


def is_not_found(answer: HttpResponse) -> bool:
    """Whether a 404 concerns the entity. Any other 404 concerns the address (Express returns a page)."""
    return answer.status == 404 and value_at(answer.json(), "type") == "not_found"


def failure(answer: HttpResponse, request: str, *, wrote: bool = False) -> Failure | None:
    """The failure for a status; None for 2xx. With `wrote`, a 5xx is Unknown: the store may have applied the request."""
    facts: dict[str, JsonValue] = {"response": error_text(answer)}
    match answer.status:
        case 401:
            facts |= {"setting": "MEDUSA__API_KEY", "hint": "It must be a secret key (sk_…) that was not revoked."}
            return Blocked(RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, **facts), answer.evidence())
        case 403:
            facts["hint"] = "The roles in Medusa decide what a key may do."
            reason = RESPONSES.reason(ReasonCode.PERMISSION_MISSING, answer, **facts)
            return Blocked(reason, answer.evidence(), certain=False)
        case 404 if is_not_found(answer):
            return RESPONSES.rejected(request, error_text(answer), answer)
        case 409:  # Medusa is processing another request for the same entity
            reason = RESPONSES.reason(ReasonCode.DESTINATION_UNAVAILABLE, answer, **facts)
            return Retry(reason, evidence=answer.evidence())
    text = error_text(answer)
    if answer.status == 400 and "Unrecognized fields" in text:
        text = f"{text} (the relay needs Medusa {OLDEST} or newer)"
    return RESPONSES.failure(answer, request, text, wrote=wrote)


def raise_for_status(answer: HttpResponse, request: str, *, wrote: bool = False) -> None:
    """Raise CallFailed for every status except 2xx."""
    if failed := failure(answer, request, wrote=wrote):
        raise CallFailed(failed)
