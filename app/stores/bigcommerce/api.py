"""One call of BigCommerce's REST API, and what an answer means before its content (table in `bigcommerce.py`)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal

from pydantic import JsonValue

from app.http import Answer, Failure, HttpClient, failure_of, retry_after
from app.outcomes import Blocked, Evidence, Reject, Retry, Unknown

Method = Literal["GET", "POST", "PUT", "DELETE"]
Row = dict[str, JsonValue]
WORDS: Final = 300


class BigCommerceApi:
    """Calls one store. `url` ends with the store's hash; paths begin with the version."""

    def __init__(self, url: str, http: HttpClient, token: str) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._http = http

    async def call(
        self, method: Method, path: str, query: Mapping[str, str] | None = None, body: JsonValue = None
    ) -> Answer | Failure:
        """One request; the answer is not judged yet."""
        headers = {"x-auth-token": self._token}
        return await self._http.call(method, self._url + path, json=body, headers=headers, params=query)

    async def rows(self, path: str, query: Mapping[str, str]) -> list[JsonValue] | Failure:
        """A list of V2: 204 says that it is empty."""
        value = await self._read(path, query)
        if value is None:
            return []
        return (
            value if isinstance(value, list | Retry | Unknown | Reject | Blocked) else Unknown("no list was answered")
        )

    async def document(
        self, path: str, query: Mapping[str, str] | None = None, *, single: bool = False
    ) -> Row | Failure | None:
        """An object; None when there is none (204; with `single` also 404)."""
        value = await self._read(path, query, single=single)
        if value is None or isinstance(value, dict | Retry | Unknown | Reject | Blocked):
            return value
        return Unknown("no object was answered")

    async def _read(self, path: str, query: Mapping[str, str] | None, *, single: bool = False) -> JsonValue | Failure:
        answer = await self.call("GET", path, query)
        if not isinstance(answer, Answer):
            return answer
        if answer.status == 204 or (single and answer.status == 404):
            return None
        failure = self.failure(answer, single=single)
        if failure is not None:
            return failure
        value = answer.json()
        return Unknown("null was answered", answer.evidence()) if value is None else value

    @staticmethod
    def failure(answer: Answer, *, single: bool = False) -> Failure | None:
        """What the status means; `single`: a 404 is about one entity, not about the address."""
        said = f"HTTP {answer.status} {words(answer)}".strip()
        match answer.status:
            case 401:
                return Blocked(f"BigCommerce refuses BIGCOMMERCE__ACCESS_TOKEN ({said})", answer.evidence())
            case 403:
                why = "the API account lacks a scope (docs/shops/bigcommerce.md lists them)"
                return Blocked(f"{why} ({said})", answer.evidence())
            case 404 if not single:
                why = "there is no such store or API at this address; correct BIGCOMMERCE__URL"
                return Blocked(f"{why} ({said})", answer.evidence())
            case 429:
                return Retry("BigCommerce asks for patience", until_reset(answer), answer.evidence())
        failure = failure_of(answer)
        return (
            Reject(f"BigCommerce refuses: {said}", Evidence(answer.status)) if isinstance(failure, Reject) else failure
        )


def patience(answer: Answer) -> float | None:
    """Seconds for which an answer asks all calls to pause; None when it does not."""
    return (until_reset(answer) or 0.0) if answer.status == 429 else None  # as it says


def until_reset(answer: Answer) -> float | None:
    """Seconds: Retry-After, else X-Rate-Limit-Time-Reset-Ms; None when neither tells."""
    asked = retry_after(answer.headers, datetime.now(UTC))
    reset = answer.headers.get("x-rate-limit-time-reset-ms", "")
    return float(reset[:9]) / 1000 if asked is None and reset.isascii() and reset.isdigit() else asked


def words(answer: Answer) -> str:
    """The shop's words: V2 answers a list of `message` and `details`, V3 an object with `title` and `errors`."""
    value = answer.json()
    rows = value if isinstance(value, list) else [value]
    told = [
        str(row[name])
        for row in rows
        if isinstance(row, dict)
        for name in ("title", "message", "details", "detail", "errors")
        if row.get(name)
    ]
    return answer.without_secrets(" ".join(told))[:WORDS]
