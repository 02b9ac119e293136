"""Reads WooCommerce's lists and sets up its webhooks (REST v3 /orders, /customers, /products, /webhooks)."""

from datetime import UTC, datetime
from typing import Final

from pydantic import JsonValue

from platform_relay.core.http import HttpResponse
from platform_relay.core.outcomes import Blocked, Done, Outcome
from platform_relay.inbox.events import EventKind
from platform_relay.stores.native import NativeEvent, Page, StoreWebhook, secret_missing
from platform_relay.stores.woocommerce.api import RESPONSES, WooCommerceApi, exact_json, raise_for_status
from platform_relay.stores.woocommerce.events import SIGNED_WITH, TOPICS, to_event

PER_PAGE: Final = 100


class WooCommerceReader:
    """Reads lists and sets up webhooks. `secret` signs the webhooks; without it none can be created.

    Every method raises CallFailed.
    """

    def __init__(self, api: WooCommerceApi, secret: str | None) -> None:
        self._api = api
        self._secret = secret

    async def list_entities(self, kind: EventKind, since: datetime | None, cursor: str | None) -> Page:
        """Return a page. `/customers` has no filter `modified_after` (see its schema), so all customers are read, by id."""
        query = {"per_page": str(PER_PAGE), "page": cursor or "1", "order": "asc"}
        if kind is EventKind.CUSTOMER:
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
        rows = exact_json(answer, request)
        if not isinstance(rows, list):
            raise RESPONSES.unreadable(request, "it is not a list", answer)
        events = (event for row in rows if isinstance(event := to_event(kind, row), NativeEvent))
        changed = tuple(
            item for item in events if not (since and item.event.updatedAt and item.event.updatedAt < since)
        )
        page = int(query["page"])
        return Page(changed, str(page + 1) if _has_next_page(answer, page, len(rows)) else None)

    def webhook_topics(self) -> tuple[str, ...]:
        return TOPICS

    async def list_webhooks(self, address: str) -> tuple[StoreWebhook, ...]:
        request = "the list of webhooks"
        answer = await self._api.accepted(request, "GET", "webhooks", {"per_page": str(PER_PAGE)})
        rows = RESPONSES.json(answer, request)
        if not isinstance(rows, list):
            raise RESPONSES.unreadable(request, "it is not a list", answer)
        return tuple(
            StoreWebhook(str(row["id"]), str(row["topic"]), str(row["delivery_url"]), row.get("status") == "active")
            for row in rows
            if isinstance(row, dict) and row.get("delivery_url") == address
        )

    async def create_webhook(self, topic: str, address: str) -> StoreWebhook | Outcome:
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
        row = RESPONSES.json(answer, request)
        if not isinstance(row, dict) or "id" not in row:
            raise RESPONSES.unreadable(request, "it does not contain the webhook", answer)
        return StoreWebhook(str(row["id"]), topic, address, enabled=True)

    async def enable_webhook(self, webhook: StoreWebhook) -> Outcome:
        body: JsonValue = {"status": "active"} if self._secret is None else {"status": "active", "secret": self._secret}
        await self._api.accepted("the activation of the webhook", "PUT", f"webhooks/{webhook.id}", body=body)
        return Done()

    async def delete_webhook(self, webhook: StoreWebhook) -> Outcome:
        request = "the removal of the webhook"
        answer = await self._api.call("DELETE", f"webhooks/{webhook.id}", {"force": "true"})
        if answer.status != 404:  # already deleted
            raise_for_status(answer, request, "DELETE")
        return Done()


def _has_next_page(answer: HttpResponse, page: int, rows: int) -> bool:
    """Whether another page follows. If a proxy has removed the header, a full page means that another one follows."""
    pages = answer.headers.get("x-wp-totalpages", "")
    return page < int(pages) if pages.isascii() and pages.isdigit() else rows == PER_PAGE
