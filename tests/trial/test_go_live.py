"""The switch: only what is newer is sent, or a chosen window; orders are patched first; redemptions of the trial never."""

import json
from datetime import UTC, datetime

import pytest

from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.events import CustomerEvent, OrderEvent
from platform_relay.platform.webhooks import POINTS_REDEEMED
from platform_relay.trial import go_live
from platform_relay.trial.go_live import NotPossibleError
from platform_relay.trial.mode import OperatingMode
from tests.helpers import eventually
from tests.trial.conftest import Relay, Start
from tests.trial.test_trial import CODE, CUSTOMER, redeemed, trial_of_everything


async def switched(relay: Relay, since: datetime | None = None) -> None:
    await go_live.go_live(relay.engine, since, "ada")
    await go_live.resend(relay.engine)
    for wake in relay.parts.on_work:
        wake("")


def sent(relay: Relay) -> list[tuple[str, str, int]]:
    """Method, path and status of what the Platform received that is no read."""
    return [
        (call["method"], call["path"], call["status"]) for call in relay.platform.ledger() if call["method"] != "GET"
    ]


def customer(number: int, **fields: str) -> CustomerEvent:
    return CustomerEvent.model_validate({"id": str(number), "email": f"c{number}@example.com", **fields})


def order(number: int, **fields: str) -> OrderEvent:
    usual = {"id": str(number), "customerId": "42", "financialStatus": "paid", "currency": "EUR", "totalPrice": "19.98"}
    return OrderEvent.model_validate({**usual, **fields})


async def test_only_what_is_newer_is_sent(start: Start) -> None:
    async with start(mode="shadow") as relay:
        await trial_of_everything(relay)
    async with start(mode="live", work=False) as relay:
        await relay.send(customer(51))  # waits at the switch
        await switched(relay)
    async with start(mode="live") as relay:
        await relay.idle()
        assert sent(relay) == []
        await relay.send(customer(52))
        await relay.idle()
        assert sent(relay) == [("PUT", "/v1/customers/52", 200)]
        assert await relay.rows("SELECT key, exists_remotely FROM entity") == [("customer:52", True)]
        assert (await relay.jobs())["customer:51"][:2] == ("skipped", "shadow")


async def test_a_redemption_of_the_trial_is_never_issued(start: Start) -> None:
    async with start(mode="shadow") as relay:
        body = redeemed(relay.platform)
        await relay.webhook(POINTS_REDEEMED, body)
        await relay.idle()
        early = datetime(2020, 1, 1, tzinfo=UTC)
        with pytest.raises(NotPossibleError, match="the trial began"):
            await go_live.go_live(relay.engine, early, "ada")
        [(began,)] = await relay.rows("SELECT started_at FROM trial")
        assert isinstance(began, datetime)
        await switched(relay, began)
        await relay.idle()
        again = json.dumps({**json.loads(body), "id": "another-event"}).encode()  # the Platform reports it once more
        assert (await relay.webhook(POINTS_REDEEMED, again)).status == "accepted"
        await relay.idle()
        assert [call for call in relay.calls() if call[1].startswith("/wp-json")] == []
        assert await relay.rows("SELECT * FROM coupon") == []
        await relay.webhook(POINTS_REDEEMED, redeemed(relay.platform, "ffffffffffff"))
        await eventually(lambda: relay.shop.state("coupons"), 15)
        await relay.idle()
        assert await relay.rows("SELECT code, state FROM coupon") == [("ffffffffffff", "active")]
        assert CODE not in str(relay.shop.state("coupons"))


async def test_a_chosen_window_is_sent_with_the_newest_of_each_and_orders_are_patched_first(start: Start) -> None:
    async with start(mode="shadow") as relay:
        await relay.send(customer(41))
        await relay.idle()
        [(since,)] = await relay.rows("SELECT clock_timestamp()")
        assert isinstance(since, datetime)
        for event in (CUSTOMER, order(1001), order(1002)):
            await relay.send(event)
        await relay.idle()
        await relay.send(order(1001, financialStatus="refunded"))
        await relay.idle()
        relay.platform.control("customers", customers=[{"customerId": "42", "email": "jane@example.com"}])
        plan = await go_live.preview(relay.engine, since)
        assert plan.resent == {"forward_customer": 1, "forward_order": 2}
        await switched(relay, since)
        await relay.idle()
        calls = sent(relay)
        assert [call for call in calls if "customers" in call[1]] == [("PUT", "/v1/customers/42", 200)]
        assert [call[:2] for call in calls if "1001" in call[1]] == [("PATCH", "/v1/orders/1001")]
        assert sum(call[:2] == ("POST", "/v1/orders") for call in calls) == 2
        assert "refunded" in str(relay.platform.state("orders", "1001"))
        assert await go_live.resend(relay.engine) is None


async def test_a_new_order_is_patched_first_because_the_other_connector_may_have_sent_it(start: Start) -> None:
    async with start(mode="shadow") as relay:
        await switched(relay)
        relay.platform.control("customers", customers=[{"customerId": "42", "email": "jane@example.com"}])
        await relay.send(order(1003))
        await relay.idle()
        assert [call[0] for call in sent(relay)] == ["PATCH", "POST"]
        await relay.send(order(1004, createdAt="2099-01-01T00:00:00Z"))
        await relay.idle()
        assert [call[0] for call in sent(relay)] == ["PATCH", "POST", "POST"]


async def test_a_window_does_not_overwrite_what_arrived_after_the_switch(start: Start) -> None:
    async with start(mode="shadow") as relay:
        [(since,)] = await relay.rows("SELECT clock_timestamp()")
        assert isinstance(since, datetime)
        await relay.send(customer(42, name="Old"))
        await relay.idle()
        await go_live.go_live(relay.engine, since, "ada")
        await relay.send(customer(42, name="New"))
        await relay.idle()
        assert await go_live.resend(relay.engine) == 0
        await relay.idle()
        assert relay.platform.state("customers", "42")["name"] == "New"


async def test_all_replicas_agree_whatever_their_setting_and_there_is_no_way_back(start: Start) -> None:
    async with start(mode="shadow") as first, start(mode="live") as second:
        await first.send(customer(42))
        await first.idle()
        assert second.calls() == []
        assert (await second.parts.mode.read()).runs
        await switched(first)
        await second.send(customer(43))
        await second.idle()
        assert [call[1] for call in sent(second)] == ["/v1/customers/43"]
    with pytest.raises(ValueError, match="MODE is shadow, but this relay has been live"):
        async with start(mode="shadow"):
            pass
    with pytest.raises(NotPossibleError, match="has ended"):
        await go_live.go_live(first.engine, None, "ada")


async def test_a_relay_that_was_live_cannot_begin_a_trial(start: Start) -> None:
    async with start(mode="live") as relay:
        await relay.send(customer(42))
        await relay.idle()
        assert [call[1] for call in sent(relay)] == ["/v1/customers/42"]
        with pytest.raises(NotPossibleError, match="not in a trial"):
            await go_live.go_live(relay.engine, None, "ada")
    with pytest.raises(ValueError, match="MODE is shadow"):
        async with start(mode="shadow"):
            pass


async def test_without_the_record_nothing_is_changed(start: Start) -> None:
    """The database is away: a process that has never seen the record cannot know that it is live."""
    async with start(mode="live", work=False) as relay:
        mode = OperatingMode(relay.engine, "live")
        async with relay.engine.begin() as connection:
            await connection.exec_driver_sql("ALTER TABLE trial RENAME TO away")
        refused = await mode.refusal()
        assert refused is not None
        assert refused.code is ReasonCode.DATABASE_UNAVAILABLE
