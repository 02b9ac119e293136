"""A byte order mark, a comment or a warning of PHP around the JSON of every answer, in every adapter."""

from __future__ import annotations

import pytest

from platform_relay.core.outcomes import Blocked, Done, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.events import EventKind
from platform_relay.stores.base import Ready, StoreCoupon
from platform_relay.stores.native import FetchesEntities, ListsEntities, Page, SetsUpWebhooks
from platform_relay.sync.webhooks import WebhookChange, apply
from tests.contract.bench import CODE, Bench, order

WARNING = "<br />\n<b>Warning</b>: Undefined variable in <b>/var/www/x.php</b> on line <b>3</b><br />\n"
COMMENT = "\n<!-- Page supported by a cache plugin 3.6 -->"
AROUND = {
    "bom": ("\ufeff", ""),
    "comment": ("", COMMENT),
    "warning": (WARNING, ""),
    "comment before": ("<!-- a theme -->\n", ""),
    "guard": (")]}',\n", ""),
    "all": (f"\ufeff{WARNING}", COMMENT),
}


AMBIGUOUS = {
    "two values": ('{"id": 7}\n', ""),
    "lines": ("", '\n{"id": 7}\n'),
    "a part": ("", "]"),
    "a page": ("<html><script>", "</script></html>"),
}


def surround(bench: Bench, name: str) -> None:
    if (
        bench.name == "magento"
    ):  # the response to its login is a text, not an object: a login is not read with text around it
        bench.set("INTEGRATION_TOKEN", "integration-token")
        bench.adapter = bench.build()
    before, after = (AROUND | AMBIGUOUS)[name]
    bench.simulator.script(mode="noise", body=before, after=after, persistent=True)


@pytest.mark.parametrize("around", AROUND)
async def test_one_active_coupon(bench: Bench, around: str) -> None:
    """The response to the creation is not trusted (except a byte order mark), and the coupon is found afterwards."""
    surround(bench, around)
    outcome = await bench.adapter.issue_coupon(order(first_try=True))
    assert isinstance(outcome, Done if around == "bom" else Unknown), outcome
    for _ in range(2):  # a half-made coupon is completed first, in stores with two calls
        outcome = await bench.adapter.issue_coupon(order())
    assert isinstance(outcome, Done), outcome
    assert isinstance(await bench.adapter.find_coupon(CODE), StoreCoupon)
    assert bench.made() == 1
    if bench.name != "vendure" or around == "bom":  # its check tries mutations
        assert isinstance(await bench.adapter.check(), Ready)
    for _ in range(2):  # the response to a deletion is not trusted either
        outcome = await bench.adapter.retire_coupon(CODE)
    assert isinstance(outcome, Done), outcome
    assert not await bench.usable()


@pytest.mark.parametrize("around", AROUND)
async def test_lists_and_single_entities(bench: Bench, around: str) -> None:
    surround(bench, around)
    adapter: object = bench.adapter
    if not isinstance(adapter, ListsEntities) or not isinstance(adapter, FetchesEntities):
        pytest.skip("the adapter has no lists")
    for kind in EventKind:
        assert await adapter.list_entities(kind, None, None) == Page((), None)
        assert await adapter.fetch(kind, "123") is None


@pytest.mark.parametrize("around", AMBIGUOUS)
async def test_an_ambiguous_answer_is_reported_and_never_read(bench: Bench, around: str) -> None:
    """Neither as the first value, nor as an empty list, nor as "not found"."""
    surround(bench, around)
    adapter: object = bench.adapter
    results: list[object] = [await bench.adapter.find_coupon(CODE)]
    if isinstance(adapter, ListsEntities) and isinstance(adapter, FetchesEntities):
        for kind in EventKind:
            results += [await adapter.list_entities(kind, None, None), await adapter.fetch(kind, "123")]
    if bench.name == "bigcommerce":  # its 404 of one entity and its 204 of an empty list mean that without a body
        no_orders = Page((), None)
        assert results.count(no_orders) == 1
        results = [result for result in results if result not in (None, no_orders)]
        assert len(results) == 3, results
    for result in results:
        assert isinstance(result, Unknown | Retry | Blocked), result
        # A 404 that cannot be read is that of a wrong address.
        assert result.reason.code is ReasonCode.RESPONSE_UNREADABLE or result.reason.facts["status"] == 404, result
    assert isinstance(await bench.adapter.issue_coupon(order(first_try=True)), Unknown | Retry | Blocked)
    assert bench.made() <= 1


@pytest.mark.parametrize("around", AROUND)
async def test_webhooks_are_installed(bench: Bench, around: str) -> None:
    for name in ("WEBHOOK_SECRET", "CLIENT_SECRET"):
        bench.set(name, "secret-of-the-test-0123456789abcd")
    adapter: object = bench.build()
    if not isinstance(adapter, SetsUpWebhooks):
        pytest.skip("the adapter sets up no webhooks")
    surround(bench, around)
    address, topic = "https://relay.example/in", adapter.webhook_topics()[0]
    assert isinstance(await apply(adapter, address, WebhookChange("create", topic)), Done)
    webhooks = await adapter.list_webhooks(address)
    assert isinstance(webhooks, tuple)
    assert [webhook.topic for webhook in webhooks] == [topic]
