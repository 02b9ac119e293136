"""Calls to a Medusa v2 admin API: HTTP Basic with the secret key as user name, and what its error responses mean.

Medusa describes its errors by a text: `{"type": "invalid_data", "message": "…"}`; `type` is the same for a code that
exists and for a field that is wrong. The table of responses is in `adapter.py`.
"""

from collections.abc import Sequence
from typing import Final, Literal
from urllib.parse import quote, urlencode

from pydantic import JsonValue

from platform_relay.core.http import Answer, Failure, HttpClient
from platform_relay.core.outcomes import Blocked, Retry
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.failing import CallFailed
from platform_relay.stores.responses import Responses

Method = Literal["GET", "POST", "DELETE"]
Row = dict[str, JsonValue]
Query = Sequence[tuple[str, str]]
RESPONSES: Final = Responses("Medusa", "MEDUSA__URL")


class MedusaApi:
    """The admin API of the store at `url`; `basic` is the secret key as HTTP Basic wants it."""

    def __init__(self, url: str, http: HttpClient, basic: str) -> None:
        self._url = url.rstrip("/") + "/admin/"
        self._http = http
        self._headers = {"authorization": f"Basic {basic}"}

    async def call(self, method: Method, path: str, query: Query = (), body: JsonValue = None) -> Answer:
        """One call, with any status. Raises CallFailed when no complete answer came."""
        url = self._url + path + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        return RESPONSES.received(await self._http.call(method, url, json=body, headers=self._headers))

    async def read(self, path: str, name: str, query: Query, request: str) -> list[Row]:
        """A list's rows, which Medusa answers under `name`. Raises CallFailed when there is no such list of objects."""
        answer = await self.call("GET", path, query)
        succeeded(answer, request)
        value = RESPONSES.document(answer, request)
        rows = value.get(name) if isinstance(value, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise RESPONSES.unreadable(request, f"it has no list of {name}", answer)
        return [row for row in rows if isinstance(row, dict)]


def words(answer: Answer) -> str:
    """Medusa's own words in an error answer; empty when it has none."""
    value = answer.json() if answer.status >= 400 else None
    message = value.get("message") if isinstance(value, dict) else None
    return answer.quote(message) if isinstance(message, str) else ""


def taken(answer: Answer) -> bool:
    """Whether a code, or a campaign's identifier, exists already.

    Only the text tells this from a wrong field (Medusa 2.21.2, `throwIfUniqueConstraint` of its database error mapper).
    """
    return answer.status in (400, 422) and "already exists" in words(answer)


def gone(answer: Answer) -> bool:
    """Whether a 404 is about the thing asked for. Any other 404 is about the address (Express answers a page)."""
    value = answer.json() if answer.status == 404 else None
    return isinstance(value, dict) and value.get("type") == "not_found"


def failure(answer: Answer, request: str, *, wrote: bool = False) -> Failure | None:
    """What an answer's status means; None for 2xx. With `wrote`, a 5xx may have been applied."""
    facts: dict[str, JsonValue] = {"response": words(answer)}
    match answer.status:
        case 401:
            facts |= {"setting": "MEDUSA__API_KEY", "hint": "It has to be a secret key (sk_…) that was not revoked."}
            return Blocked(RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, **facts), answer.evidence())
        case 403:
            facts["hint"] = "Medusa's roles decide what a key may do."
            return Blocked(RESPONSES.reason(ReasonCode.PERMISSION_MISSING, answer, **facts), answer.evidence())
        case 404 if gone(answer):
            return RESPONSES.rejected(request, words(answer), answer)
        case 409:  # busy with another request to the same thing
            reason = RESPONSES.reason(ReasonCode.DESTINATION_UNAVAILABLE, answer, **facts)
            return Retry(reason, evidence=answer.evidence())
    return RESPONSES.failure(answer, request, words(answer), wrote=wrote)


def succeeded(answer: Answer, request: str, *, wrote: bool = False) -> None:
    """Raises CallFailed for every status but 2xx."""
    if failed := failure(answer, request, wrote=wrote):
        raise CallFailed(failed)
