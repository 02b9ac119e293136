"""Calls to a Medusa v2 admin API: HTTP Basic with the secret key as user name, and what its error answers mean.

Medusa tells its errors by a text: `{"type": "invalid_data", "message": "…"}`; `type` is the same for a code that exists
and for a field that is wrong. The table of answers stands in `medusa.py`.
"""

from collections.abc import Sequence
from typing import Final, Literal
from urllib.parse import quote, urlencode

from pydantic import JsonValue

from app.http import Answer, Failure, HttpClient, failure_of
from app.outcomes import Blocked, Reject, Retry, Unknown

Method = Literal["GET", "POST", "DELETE"]
Row = dict[str, JsonValue]
Query = Sequence[tuple[str, str]]
EXISTS: Final = "already exists"
"""How Medusa says that a code, or a campaign's identifier, is taken."""


class MedusaApi:
    """The admin API of the shop at `url`; `basic` is the secret key as HTTP Basic wants it."""

    def __init__(self, url: str, http: HttpClient, basic: str) -> None:
        self._url = url.rstrip("/") + "/admin/"
        self._http = http
        self._headers = {"authorization": f"Basic {basic}"}

    async def call(self, method: Method, path: str, query: Query = (), body: JsonValue = None) -> Answer | Failure:
        """One call; the answer's status is not looked at."""
        url = self._url + path + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        return await self._http.call(method, url, json=body, headers=self._headers)

    async def read(self, path: str, name: str, query: Query = ()) -> list[Row] | Failure:
        """A list's rows, which Medusa answers under `name`. Unknown when there is no such list of objects."""
        answer = await self.call("GET", path, query)
        if not isinstance(answer, Answer):
            return answer
        if failed := failure(answer):
            return failed
        value = answer.json()
        if isinstance(value, Unknown):
            return value
        rows = value.get(name) if isinstance(value, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            return Unknown(f"Medusa answered without a list of {name}", answer.evidence())
        return [row for row in rows if isinstance(row, dict)]


def words(answer: Answer) -> str:
    """Medusa's own words in an error answer; empty when it says none."""
    value = answer.json() if answer.status >= 400 else None
    said = value.get("message") if isinstance(value, dict) else None
    return answer.without_secrets(said)[:300] if isinstance(said, str) else ""


def gone(answer: Answer) -> bool:
    """Whether a 404 is about the thing asked for. Any other 404 is about the address (Express answers a page)."""
    value = answer.json() if answer.status == 404 else None
    return isinstance(value, dict) and value.get("type") == "not_found"


def failure(answer: Answer) -> Failure | None:
    """What an answer's status means; None for 2xx. A 5xx is Retry: after a creation the caller has to say Unknown."""
    said = f"HTTP {answer.status} {words(answer)}".strip()
    match answer.status:
        case 401:
            hint = "MEDUSA__API_KEY has to be a secret key (sk_…) that was not revoked (Settings, Secret API Keys)"
            return Blocked(f"Medusa refuses our key: {hint} ({said})", answer.evidence())
        case 403:
            return Blocked(f"Medusa's roles do not let our key do this ({said})", answer.evidence())
        case 404 if not gone(answer):
            return Blocked(f"there is no Medusa v2 admin API at MEDUSA__URL ({said})", answer.evidence())
        case 409:
            return Retry(f"Medusa was busy with another request to the same thing ({said})", evidence=answer.evidence())
        case status if 400 <= status < 500 and status not in (404, 408, 425, 429):
            return Reject(f"Medusa refuses it: {said}", answer.evidence())
    return failure_of(answer)
