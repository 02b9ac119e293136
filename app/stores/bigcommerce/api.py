"""One call of BigCommerce's REST API, and the meaning of its status (table in `adapter.py`)."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Literal

from pydantic import JsonValue

from platform_relay.core import plain_numbers
from platform_relay.core.http import Failure, HttpClient, HttpResponse, plausible_pause, retry_after
from platform_relay.core.outcomes import Blocked, Evidence, Reject, Retry
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.failures import CallFailed
from platform_relay.stores.parsing import Row
from platform_relay.stores.responses import Responses

RESPONSES: Final = Responses("BigCommerce", "BIGCOMMERCE__URL")
Method = Literal["GET", "POST", "PUT", "DELETE"]


class BigCommerceApi:
    """Calls one store. `url` ends with the store's hash; a path starts with the API version.

    Every method raises CallFailed; `request` describes the call in the reason ("the coupon lookup").
    """

    def __init__(self, url: str, http: HttpClient, token: str) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._http = http

    async def call(
        self, method: Method, path: str, query: Mapping[str, str] | None = None, body: JsonValue = None
    ) -> HttpResponse:
        """Send one request. Returns the response with any status."""
        headers = {"x-auth-token": self._token}
        result = await self._http.call(method, self._url + path, json=body, headers=headers, params=query)
        return RESPONSES.require(result)

    async def rows(self, request: str, path: str, query: Mapping[str, str]) -> list[JsonValue]:
        """Return a list of V2. 204 means an empty list."""
        value = await self._read(request, path, query)
        if value is not None and not isinstance(value, list):
            raise RESPONSES.unreadable(request, "it is not a list")
        return value or []

    async def document(
        self, request: str, path: str, query: Mapping[str, str] | None = None, *, single: bool = False
    ) -> Row | None:
        """Return an object; None for 204, and with `single` also for 404."""
        value = await self._read(request, path, query, single=single)
        if value is not None and not isinstance(value, dict):
            raise RESPONSES.unreadable(request, "it is not an object")
        return value

    async def _read(
        self, request: str, path: str, query: Mapping[str, str] | None, *, single: bool = False
    ) -> JsonValue:
        answer = await self.call("GET", path, query)
        if answer.status == 204 or (single and answer.status == 404):
            return None
        raise_for_status(answer, request, single=single)
        value = RESPONSES.json(answer, request)
        if value is None:
            raise RESPONSES.unreadable(request, "it is null", answer)
        return value


def raise_for_status(answer: HttpResponse, request: str, *, single: bool = False) -> None:
    """Raise CallFailed for every status except 2xx."""
    if failed := failure(answer, request, single=single):
        raise CallFailed(failed)


def failure(answer: HttpResponse, request: str, *, single: bool = False, wrote: bool = False) -> Failure | None:
    """The failure for a status; None for 2xx.

    `single`: a 404 concerns one entity, not the address. With `wrote`, a 5xx is Unknown: the store may have applied it.
    """
    response = error_text(answer)
    match answer.status:
        case 401:
            facts = {"setting": "BIGCOMMERCE__ACCESS_TOKEN", "response": response}
            return Blocked(RESPONSES.reason(ReasonCode.KEY_REJECTED, answer, **facts), answer.evidence())
        case 403:
            facts = {
                "hint": "docs/stores/bigcommerce.md lists the scopes that the API account needs.",
                "response": response,
            }
            reason = RESPONSES.reason(ReasonCode.PERMISSION_MISSING, answer, **facts)
            return Blocked(reason, answer.evidence(), certain=False)
        case 404 if single:
            failed: Failure | None = RESPONSES.rejected(request, response, answer)
        case 429:
            seconds = until_reset(answer)
            return Retry(RESPONSES.reason(ReasonCode.RATE_LIMITED, answer, seconds=seconds), seconds, answer.evidence())
        case _:
            failed = RESPONSES.failure(answer, request, response, wrote=wrote)
    return replace(failed, evidence=Evidence(answer.status)) if isinstance(failed, Reject) else failed


def rate_limit_pause(answer: HttpResponse) -> float | None:
    """The seconds for which all calls must pause; None if the status is not 429."""
    return (until_reset(answer) or 0.0) if answer.status == 429 else None


def until_reset(answer: HttpResponse) -> float | None:
    """The seconds in Retry-After, or else in X-Rate-Limit-Time-Reset-Ms; None if both are missing."""
    seconds = retry_after(answer.headers, datetime.now(UTC))
    reset = answer.headers.get("x-rate-limit-time-reset-ms", "")
    if seconds is None and plain_numbers.is_count(reset):
        return plausible_pause(float(reset) / 1000)
    return seconds


def error_text(answer: HttpResponse) -> str:
    """The error text of the store. V2 returns a list with `message` and `details`, V3 an object with `title` and `errors`."""
    value = answer.json()
    rows = value if isinstance(value, list) else [value]
    texts = [
        str(row[name])
        for row in rows
        if isinstance(row, dict)
        for name in ("title", "message", "details", "detail", "errors")
        if row.get(name)
    ]
    return answer.quote(" ".join(texts))
