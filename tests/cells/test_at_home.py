"""What a cell's worker has to do with the other cells: hand over, wait for a customer, do without a cell that is away."""

from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from app import wiring
from app.cells import Waker, place
from app.engine.decide import decide
from app.engine.jobs import Job
from app.engine.queue import Queue, Settlement
from app.handlers.at_home import AfterCustomer, AtHome
from app.messages import CustomerEvent, Incoming, OrderEvent, incoming
from app.operations.asking import explain
from app.operations.homes import AllCoupons, Homes
from app.outcomes import Done, Outcome, Owed, Skip, Wait
from app.platform.webhooks import incoming as webhook
from app.settings import Settings
from app.wiring import Services, retry_policy
from tests.cells.conftest import customer_in
from tests.cells.test_doors import ORDER
from tests.database.engine_room import settle
from tests.helpers import eventually


async def done(_: Job) -> Outcome:
    return Done(digest=b"d")


def at_home(parts: Services, here: int) -> AtHome:
    return AtHome(done, here, Homes(parts.engines, here), {cell.number: cell.inbox for cell in parts.cells})


async def take(
    parts: Services, cell: int, message: Incoming, channel: str = "platform", message_id: UUID | None = None
) -> Job:
    """The message's job, claimed in that cell."""
    await parts.cells[cell - 1].inbox.accept(message, message_id or uuid7())
    [job] = await Queue(parts.engines[cell - 1], channel).claim(1, lease=30)
    return job


async def redeemed(parts: Services, cell: int, code: str, person: str) -> Job:
    """The claim of a webhook, claimed in that cell."""
    message_id = uuid7()
    body = f'{{"id": "r-{person}", "couponCode": "{code}", "customer": {{"externalId": "{person}"}}, "points": 5}}'
    message = webhook("points/redeemed", None, body.encode(), str(message_id))
    return await take(parts, cell, message, "store", message_id)


@pytest.fixture
def parts(web: tuple[Services, str]) -> Services:
    return web[0]


async def test_all_claims_to_a_code_are_judged_in_the_cell_of_the_first(parts: Services) -> None:
    first = await redeemed(parts, 2, "AB12", customer_in(2))
    assert isinstance(await at_home(parts, 2)(first), Done)
    second = await redeemed(parts, 3, "AB12", customer_in(3))
    told = await at_home(parts, 3)(second)
    assert isinstance(told, Skip)
    assert "handed over to cell 2, where coupon:AB12 is at home" in told.why
    assert await at_home(parts, 3)(second) == told  # the worker died before it could settle: nothing is owed twice
    [handed] = await Queue(parts.engines[1], "store").claim(5, lease=30)
    assert handed.lane == f"coupon:AB12#{handed.message_id}"
    assert (handed.kind, handed.body, handed.params) == (second.kind, second.body, second.params)
    assert isinstance(await at_home(parts, 2)(handed), Done)
    otherwise = await redeemed(parts, 1, "aB12", customer_in(1))
    told = await at_home(parts, 1)(otherwise)
    assert isinstance(told, Skip)
    assert "handed over to cell 2" in told.why  # one code, however it is written


async def test_a_customer_that_an_order_brought_along_is_put_in_its_own_cell(parts: Services) -> None:
    person = customer_in(1)
    order = OrderEvent.model_validate({"id": "1001", "customerId": person, **ORDER})
    owed = Owed("relay_customer", "platform", f"customer:{person}", params={"from": "order"}, collapse=True)
    brought = Incoming("store", "orders", "k", order.model_dump_json().encode(), (owed,), order_ref="1001")
    job = await take(parts, 3, brought)
    assert isinstance(await at_home(parts, 3)(job), Skip)
    [put] = await Queue(parts.engines[0], "platform").claim(5, lease=30)
    assert (put.lane, put.kind, put.params, put.body) == (job.lane, "relay_customer", {"from": "order"}, job.body)


async def test_an_order_waits_for_a_first_delivery_that_another_cell_owes_and_is_woken_by_it(parts: Services) -> None:
    person = customer_in(1)
    number = next(str(each) for each in range(1000) if place(f"order:{each}", 3) == 1)
    raw = CustomerEvent(id=person).model_dump_json().encode()
    customer = await take(parts, 1, incoming(CustomerEvent(id=person), raw, message_id="m"))
    event = OrderEvent.model_validate({"id": number, "customerId": person, **ORDER})
    order = await take(parts, 2, incoming(event, b"{}", message_id="o"))
    after = AfterCustomer(done, Homes(parts.engines, 2))
    told = await after(order)
    assert isinstance(told, Wait)
    assert told.key == f"elsewhere:customer:{person}"
    assert isinstance(await after(replace(order, known=True)), Done), "the Platform has the order: no question"
    assert await after(replace(order, known=True, attempt=2)) == told, "its new customer is owed"
    policy = retry_policy(parts.settings)
    await Queue(parts.engines[1], "platform").settle(
        [Settlement(order, decide(told, order, policy, 0.5), "wait", told.why)]
    )
    assert await Queue(parts.engines[1], "platform").claim(1, lease=30) == []

    await settle(parts.engines[0], [customer], decide(Done(digest=b"d"), customer, policy, 0.5))
    Waker([parts.cells[1].operator, parts.cells[2].operator]).delivered(customer.lane)
    [again] = await eventually(lambda: Queue(parts.engines[1], "platform").claim(1, lease=30))
    assert again.attempt == order.attempt  # the wait cost nothing
    assert isinstance(await after(again), Done)


async def test_a_wake_that_comes_before_the_order_waits_costs_it_a_second(parts: Services) -> None:
    """The customer is delivered between the order's look and its going to wait: nobody wakes it then."""
    person = customer_in(1)
    number = next(str(each) for each in range(1000) if place(f"order:{each}", 3) == 1)
    event = CustomerEvent(id=person)
    customer = await take(parts, 1, incoming(event, event.model_dump_json().encode(), message_id="m"))
    bought = OrderEvent.model_validate({"id": number, "customerId": person, **ORDER})
    order = await take(parts, 2, incoming(bought, b"{}", message_id="o"))
    after = AfterCustomer(done, Homes(parts.engines, 2))
    told = await after(order)
    assert isinstance(told, Wait)
    policy = retry_policy(parts.settings)
    await settle(parts.engines[0], [customer], decide(Done(digest=b"d"), customer, policy, 0.5))
    await parts.cells[1].operator.wake([told.key])
    await settle(parts.engines[1], [order], decide(told, order, policy, 0.5), "wait")
    story = await explain(parts.engines, "order", number)
    assert story.cause == "waiting_for_customer"
    [again] = await eventually(lambda: Queue(parts.engines[1], "platform").claim(1, lease=30))
    assert isinstance(await after(again), Done)


async def test_a_shopper_may_use_a_coupon_that_is_at_home_elsewhere(parts: Services) -> None:
    made = """INSERT INTO coupon (code, message_id, rule_edited, state, received_at, created_at, updated_at)
              VALUES ('ab12', :message, false, 'active', now(), now(), now())"""
    async with parts.engines[2].begin() as connection:
        await connection.execute(text(made), {"message": uuid7()})
    coupons = AllCoupons(parts.engines)
    assert [coupon.code for coupon in await coupons.find_all(["AB12", "zz"])] == ["ab12"]
    seen = await coupons.seen_in_order("ab12", "1001", "paid")
    assert seen is not None
    assert seen.orders == {"1001": "paid"}
    assert await coupons.seen_in_order("zz", "1001", "paid") is None


async def test_a_cell_that_is_away_holds_up_what_is_at_home_there_and_nothing_else(lacking: Settings) -> None:
    await wiring.migrated(lacking, "")
    async with wiring.services(lacking, "", "test") as parts:
        asked_there = next(f"c{each}" for each in range(1000) if place(f"coupon:c{each}", 3) == 2)
        asked_here = next(f"c{each}" for each in range(1000) if place(f"coupon:c{each}", 3) == 0)
        held = await redeemed(parts, 1, asked_there, "1")
        told = await at_home(parts, 1)(held)
        assert isinstance(told, Wait)
        assert "cannot be reached" in told.why
        free = await redeemed(parts, 1, asked_here, "2")
        assert isinstance(await at_home(parts, 1)(free), Done)
        gone = customer_in(3)
        event = OrderEvent.model_validate({"id": "1", "customerId": gone, **ORDER})
        order = await take(parts, 2, incoming(event, b"{}", message_id="o"))
        assert isinstance(await AfterCustomer(done, Homes(parts.engines, 2))(order), Done)  # the Platform will say
