"""WooCommerce's lists and webhooks (REST v3 /orders, /customers, /products, /webhooks)."""

from datetime import UTC, datetime
from typing import Final

from pydantic import JsonValue

from platform_relay.core.http import Answer
from platform_relay.core.outcomes import Blocked, Done, Outcome
from platform_relay.inbox.messages import Kind
from platform_relay.stores.native import Hook, NativeEvent, Page, secret_missing
from platform_relay.stores.woocommerce.api import RESPONSES, WooCommerceApi, exact, succeeded
from platform_relay.stores.woocommerce.events import SIGNED_WITH, TOPICS, event_of

PER_PAGE: Final = 100


class WooCommerceReader:
    """Reads lists and looks after webhooks. `secret` signs the webhooks that are made here; None: none can be made.

    Every method raises CallFailed.
    """

    def __init__(self, api: WooCommerceApi, secret: str | None) -> None:
        self._api = api
        self._secret = secret

    async def list_entities(self, kind: Kind, since: datetime | None, cursor: str | None) -> Page:
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
        request = f"the list of {kind}"
        answer = await self._api.accepted(request, "GET", str(kind), query)
        rows = exact(answer, request)
        if not isinstance(rows, list):
            raise RESPONSES.unreadable(request, "it is not a list", answer)
        events = (event for row in rows if isinstance(event := event_of(kind, row), NativeEvent))
        later = tuple(each for each in events if not (since and each.event.updatedAt and each.event.updatedAt < since))
        page = int(query["page"])
        return Page(later, str(page + 1) if _more(answer, page, len(rows)) else None)

    def wanted_topics(self) -> tuple[str, ...]:
        return TOPICS

    async def list_hooks(self, address: str) -> tuple[Hook, ...]:
        request = "the list of webhooks"
        answer = await self._api.accepted(request, "GET", "webhooks", {"per_page": str(PER_PAGE)})
        rows = RESPONSES.document(answer, request)
        if not isinstance(rows, list):
            raise RESPONSES.unreadable(request, "it is not a list", answer)
        return tuple(
            Hook(str(row["id"]), str(row["topic"]), str(row["delivery_url"]), row.get("status") == "active")
            for row in rows
            if isinstance(row, dict) and row.get("delivery_url") == address
        )

    async def create_hook(self, topic: str, address: str) -> Hook | Outcome:
        if self._secret is None:
            return Blocked(secret_missing(SIGNED_WITH))
        body: JsonValue = {
            "name": f"platform-relay {topic}",
            "topic": topic,
            "delivery_url": address,
            "secret": self._secret,
            "status": "active",
        }
        request = "the creation of the webhook"
        answer = await self._api.accepted(request, "POST", "webhooks", body=body)
        made = RESPONSES.document(answer, request)
        if not isinstance(made, dict) or "id" not in made:
            raise RESPONSES.unreadable(request, "it does not show the webhook", answer)
        return Hook(str(made["id"]), topic, address, enabled=True)

    async def enable_hook(self, hook: Hook) -> Outcome:
        body: JsonValue = {"status": "active"} if self._secret is None else {"status": "active", "secret": self._secret}
        await self._api.accepted("the activation of the webhook", "PUT", f"webhooks/{hook.id}", body=body)
        return Done()

    async def delete_hook(self, hook: Hook) -> Outcome:
        request = "the removal of the webhook"
        answer = await self._api.call("DELETE", f"webhooks/{hook.id}", {"force": "true"})
        if answer.status != 404:  # gone already
            succeeded(answer, request, "DELETE")
        return Done()


def _more(answer: Answer, page: int, rows: int) -> bool:
    """Whether another page follows: as the header says, which a proxy may have taken away; then a full page means so."""
    pages = answer.headers.get("x-wp-totalpages", "")
    return page < int(pages) if pages.isascii() and pages.isdigit() else rows == PER_PAGE
