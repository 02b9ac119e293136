"""WooCommerce's lists and webhooks (REST v3 /orders, /customers, /products, /webhooks)."""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal

from pydantic import JsonValue

from app.http import Answer, Failure
from app.messages import Kind
from app.outcomes import Blocked, Done, Outcome, Unknown
from app.stores.native import Hook, NativeEvent, Page
from app.stores.woocommerce.events import TOPICS, event_of

Ask = Callable[
    [Literal["GET", "POST", "PUT", "DELETE"], str, Mapping[str, str] | None, JsonValue], Awaitable[Answer | Failure]
]
"""`(method, path, query, body)`; an answer that is not 2xx comes back as its failure."""

PER_PAGE: Final = 100


class WooCommerceReader:
    """Reads lists and looks after webhooks. `secret` signs the webhooks that are made here; None: none can be made."""

    def __init__(self, ask: Ask, secret: str | None) -> None:
        self._ask = ask
        self._secret = secret

    async def list_entities(self, kind: Kind, since: datetime | None, cursor: str | None) -> Page | Outcome:
        """`/customers` knows no `modified_after` (observed in its schema): all are read, newest registrations last."""
        query = {"per_page": str(PER_PAGE), "page": cursor or "1", "order": "asc"}
        if kind is Kind.CUSTOMER:
            query["orderby"] = "id"
        else:
            query["orderby"] = "modified"
            if since is not None:
                query |= {
                    "modified_after": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
                    "dates_are_gmt": "true",
                }
        answer = await self._ask("GET", str(kind), query, None)
        if not isinstance(answer, Answer):
            return answer
        rows = exact(answer)
        if not isinstance(rows, list):
            return Unknown(f"WooCommerce's list of {kind} is no list", answer.evidence())
        events = (event for row in rows if isinstance(event := event_of(kind, row), NativeEvent))
        later = tuple(each for each in events if not (since and each.event.updatedAt and each.event.updatedAt < since))
        page = int(query["page"])
        return Page(later, str(page + 1) if _more(answer, page, len(rows)) else None)

    def wanted_topics(self) -> tuple[str, ...]:
        return TOPICS

    async def list_hooks(self, address: str) -> tuple[Hook, ...] | Outcome:
        answer = await self._ask("GET", "webhooks", {"per_page": str(PER_PAGE)}, None)
        if not isinstance(answer, Answer):
            return answer
        rows = answer.json()
        if not isinstance(rows, list):
            return Unknown("WooCommerce's list of webhooks is no list", answer.evidence())
        return tuple(
            Hook(str(row["id"]), str(row["topic"]), str(row["delivery_url"]), row.get("status") == "active")
            for row in rows
            if isinstance(row, dict) and row.get("delivery_url") == address
        )

    async def create_hook(self, topic: str, address: str) -> Hook | Outcome:
        if self._secret is None:
            return Blocked("set WOOCOMMERCE__WEBHOOK_SECRET first (openssl rand -hex 24): it signs the webhooks")
        body: JsonValue = {
            "name": f"platform-relay {topic}",
            "topic": topic,
            "delivery_url": address,
            "secret": self._secret,
            "status": "active",
        }
        answer = await self._ask("POST", "webhooks", None, body)
        if not isinstance(answer, Answer):
            return answer
        made = answer.json()
        if not isinstance(made, dict) or "id" not in made:
            return Unknown("WooCommerce did not show the webhook it made", answer.evidence())
        return Hook(str(made["id"]), topic, address, enabled=True)

    async def enable_hook(self, hook: Hook) -> Outcome:
        body: JsonValue = {"status": "active"} if self._secret is None else {"status": "active", "secret": self._secret}
        answer = await self._ask("PUT", f"webhooks/{hook.id}", None, body)
        return Done() if isinstance(answer, Answer) else answer

    async def delete_hook(self, hook: Hook) -> Outcome:
        answer = await self._ask("DELETE", f"webhooks/{hook.id}", {"force": "true"}, None)
        if isinstance(answer, Answer) or answer.evidence.status == 404:  # gone already
            return Done()
        return answer


def exact(answer: Answer) -> object:
    """The body as JSON with money as Decimal, or Unknown when it is none."""
    try:
        shown: object = json.loads(answer.body, parse_float=Decimal)
    except (ValueError, RecursionError):
        return Unknown("WooCommerce answered with what is no JSON", answer.evidence())
    return shown


def _more(answer: Answer, page: int, rows: int) -> bool:
    """Whether another page follows: as the header says, which a proxy may have taken away; then a full page means so."""
    pages = answer.headers.get("x-wp-totalpages", "")
    return page < int(pages) if pages.isascii() and pages.isdigit() else rows == PER_PAGE
