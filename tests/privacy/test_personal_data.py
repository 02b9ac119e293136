"""A person is erased everywhere and handed out whole; counts, ledger and integrity stay; nobody else loses anything."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import uuid_utils.compat
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import Alerts
from platform_relay.audit import integrity
from platform_relay.core.outcomes import Done, Evidence, Reject
from platform_relay.core.reasons import ReasonCode, because, columns
from platform_relay.coupons import issuance_limits
from platform_relay.coupons.ledger import read_ledger
from platform_relay.forwarding.fetch import store_message
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.retention import prune_bodies
from platform_relay.platform import webhooks
from platform_relay.platform.webhooks import redemption_of
from platform_relay.privacy.erase import StillRunningError, erase
from platform_relay.privacy.export import export
from platform_relay.privacy.identity import CustomerIdentity, redacted
from platform_relay.privacy.receipt import COUNTED, ErasureReceipt
from platform_relay.reconcile.coverage import Coverage
from platform_relay.reconcile.differences import Difference
from platform_relay.reconcile.runs import Reconciliations
from platform_relay.setting_groups import IssuanceLimitSettings
from platform_relay.stores.native import Ignored, ToFetch, Unreadable, not_relayed, unreadable_entity
from tests.database.engine_room import broken_counts
from tests.explain.scene import Scene, answered
from tests.reasons import HTTP_400

ID, EMAIL, NAME, PHONE = "cust-canary-881", "Canary.Jane@Example.com", "Canaria", "+49-30-5550199"
CANARIES = (ID, EMAIL.lower(), NAME.lower(), PHONE)
OTHER, OTHERS_EMAIL = "cust-bystander-77", "bystander@example.com"
CODE, PENDING, FRIENDS, OTHERS = "ca0000000001", "ca0000000002", "ca0000000003", "bb0000000001"


async def a_life(scene: Scene) -> None:
    """Everything that a person may leave in the tables, delivered, given up and waiting; and a bystander."""
    person = {"email": EMAIL, "firstName": NAME, "phone": PHONE}
    for version, ends in ((1, Done(digest=b"d")), (2, answered(422, f"{NAME}: {EMAIL} is no address of {PHONE}"))):
        await scene.customer(ID, **person, updatedAt=f"2026-01-0{version}T00:00:00Z")
        await scene.run(ends)
    await scene.customer(OTHER, email=OTHERS_EMAIL, firstName="Bystander")
    await scene.run(Done(digest=b"d"))
    order: dict[str, Any] = {"customerId": ID, "email": EMAIL, "shippingName": NAME}
    await scene.order("ord-1", **order)
    await scene.run(Done(digest=b"d"))
    await scene.order("ord-2", **order)
    blocked = because(ReasonCode.REJECTED_BY_DESTINATION, destination="the Platform", response=f"{NAME} is blocked")
    await scene.run(Reject(blocked, Evidence(422, f"<p>{EMAIL}</p>")))
    await scene.event(
        EventKind.ORDER,
        {"id": "ord-guest", "email": EMAIL, "financialStatus": "paid", "currency": "EUR", "totalPrice": "5", "n": NAME},
    )
    await scene.run(answered(503, f"no room for {EMAIL}"))
    webhook = {"externalId": ID, "email": EMAIL, "name": NAME}
    await scene.redeemed(CODE, "p-1", customer=webhook)
    await scene.redeemed(PENDING, "p-2", customer=webhook)
    for code in (CODE, PENDING):
        await coupon_of(scene, code)
    await scene.coupons.activate(CODE, "shop-1")
    await scene.run(Done(), "store")
    referral = {
        "id": "r-1",
        "customer": {"externalId": OTHER, "email": OTHERS_EMAIL, "name": "Bystander"},
        "friendCustomer": webhook,
        "friendEmail": EMAIL,
        "customerReward": {"id": "w-1", "couponCode": OTHERS, "discountType": "amountdiscount", "discountAmount": 5},
        "friendReward": {"id": "w-2", "couponCode": FRIENDS, "discountType": "amountdiscount", "discountAmount": 5},
    }
    await arrives(scene, "referrals/completed", referral)
    await scene.sql(
        """UPDATE job SET state = 'waiting', disposition = 'retry', reason_code = :reason_code,
               facts = CAST(:facts AS jsonb) WHERE split_part(lane, '#', 1) = :lane""",
        **columns(because(ReasonCode.SERVER_ERROR, response=f"unknown address {EMAIL}")),
        lane=f"coupon:{OTHERS}",
    )
    await scene.sql(
        """INSERT INTO attempt (job_id, fencing_token, number, started_at, outcome, reason_code, facts, excerpt)
           SELECT id, 1, 1, now(), 'retry', reason_code, facts, facts ->> 'response' FROM job
           WHERE split_part(lane, '#', 1) = :lane""",
        lane=f"coupon:{OTHERS}",
    )
    await arrives(scene, "customers/updated", {**webhook, "id": "u-1", "phone": PHONE}, news=True)
    raw = json.dumps({"id": ID, "who": NAME}).encode()
    unreadable = unreadable_entity("WooCommerce", EventKind.CUSTOMER, ID, f"id: {ID}", "id")
    for parsed in (
        ToFetch(EventKind.CUSTOMER, ID, f"fetch:{ID}"),
        Ignored(because(ReasonCode.NOT_APPLICABLE)),
        not_relayed(f"customer {ID} is a guest", EventKind.CUSTOMER, ID),
        Unreadable(unreadable, EventKind.CUSTOMER, ID),
    ):
        body = raw if isinstance(parsed, ToFetch) else f"<customer>{EMAIL} {NAME}".encode()
        await scene.accept(store_message(parsed, body, source="woocommerce", message_id=""))
    async with scene.engine.begin() as connection:
        limits = IssuanceLimitSettings(customer_count=1)
        for code in (CODE, PENDING):
            await issuance_limits.check_limits(connection, code, ID, Decimal(5), limits)
            await connection.execute(
                text("UPDATE coupon SET admitted_at = now(), value = 5, kind = 'fixed_amount', currency = 'EUR'")
            )
        await issuance_limits.release(connection, "an operator", "looked at it", ID)
    await Alerts(scene.engine).raise_alert(because(ReasonCode.ISSUANCE_LIMIT_REACHED), issuance_limits.subject_of(ID))
    drift = because(ReasonCode.COUPON_DRIFT, code=CODE, findings=[f"restricted to {EMAIL}"])
    await Alerts(scene.engine).raise_alert(drift, CODE)
    books = Reconciliations(scene.engine)
    asked = await books.request("t", None)
    await books.claim(asked)
    await books.add_differences(asked, [Difference(EventKind.CUSTOMER, ID, "stale", "the Platform does not have it")])
    await books.finish(asked, {"customers": 2}, [], None, Coverage())


async def arrives(scene: Scene, topic: str, body: dict[str, Any], *, news: bool = False) -> None:
    message_id = uuid_utils.compat.uuid7()
    raw = json.dumps(body).encode()
    await scene.accept(webhooks.webhook_message(topic, raw, str(message_id), loyalty_sync=news), message_id)


async def coupon_of(scene: Scene, code: str) -> None:
    [(message_id, body)] = await scene.rows("SELECT id, body FROM message WHERE coupon_ref = :code", code=code)
    redemption = redemption_of("points/redeemed", "redeemed", body)
    assert redemption is not None
    await scene.coupons.open(redemption, message_id)


async def traces(engine: AsyncEngine, words: tuple[str, ...]) -> dict[str, list[str]]:
    """Where each word stands: every column of every table, as a dump would show it."""
    found: dict[str, list[str]] = {word: [] for word in words}
    async with engine.connect() as connection:
        columns = (
            await connection.execute(
                text("SELECT table_name, column_name, data_type FROM information_schema.columns"
                     " WHERE table_schema = 'public' ORDER BY 1, 2")
            )
        ).all()  # fmt: skip
        assert len(columns) > 100
        for table, column, kind in columns:
            shown = f"encode({column}, 'escape')" if kind == "bytea" else f"CAST({column} AS text)"
            every = text(f"SELECT {shown} FROM {table} WHERE {column} IS NOT NULL")  # noqa: S608  # the catalogue's names
            for (value,) in await connection.execute(every):
                for word in words:
                    if word in value.lower():
                        found[word].append(f"{table}.{column}: {value[:200]}")
    return found


async def erased(engine: AsyncEngine, who: str = ID, patience: float = 5.0) -> ErasureReceipt:
    return await erase(engine, Scene(engine).actions, who, "an operator", patience=patience)


async def counted(scene: Scene) -> list[tuple[Any, ...]]:
    return await scene.rows(
        """SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM job), (SELECT count(*) FROM attempt),
                  (SELECT count(*) FROM coupon), (SELECT count(*) FROM audit) > 0"""
    )


@pytest.mark.parametrize("who", [ID, EMAIL])
async def test_nothing_of_the_person_is_left_and_everything_still_counts(engine: AsyncEngine, who: str) -> None:
    scene = Scene(engine)
    await a_life(scene)
    before = await traces(engine, CANARIES)
    assert all(len(places) >= 2 for places in before.values()), before
    counts = await counted(scene)
    async with engine.connect() as connection:
        ledger = await read_ledger(connection)
    assert [(each.currency, each.redeemed) for each in ledger.currencies] == [("EUR", Decimal(10))]
    receipt = await erased(engine, who)
    assert {word: places for word, places in (await traces(engine, CANARIES)).items() if places} == {}
    assert (await traces(engine, (OTHER, OTHERS_EMAIL)))[OTHERS_EMAIL], "the bystander lost something"
    assert await counted(scene) == counts
    assert await broken_counts(engine) == []
    async with engine.connect() as connection:
        after = await read_ledger(connection)
    assert [(each.currency, each.redeemed, each.coupons) for each in after.currencies] == [
        (each.currency, each.redeemed, each.coupons) for each in ledger.currencies
    ]
    assert (await integrity.verify(engine)).problem is None
    assert receipt.messages >= 10
    assert (receipt.redacted, receipt.coupons, receipt.retired, receipt.entities) == (1, 2, 1, 1)
    assert await scene.rows("SELECT count(*) FROM job WHERE state = 'dropped'") == [(receipt.dropped,)]
    assert receipt.dropped >= 5
    [line] = await scene.rows("SELECT subject, detail FROM audit WHERE action = 'customer.erase'")
    assert line == (str(receipt.erasure), {name: getattr(receipt, name) for name in COUNTED})
    again = await erased(engine, who)
    assert [getattr(again, name) for name in COUNTED] == [0] * len(COUNTED)


async def test_digests_that_were_made_of_the_persons_keys_go_with_them(engine: AsyncEngine) -> None:
    scene = Scene(engine)
    await a_life(scene)
    await scene.sql("UPDATE message SET version_mark = 1")
    await erased(engine)
    left = "SELECT dedupe_key LIKE 'erased:%', version_mark IS NULL FROM message GROUP BY 1, 2 ORDER BY 1"
    assert await scene.rows(left) == [(False, False), (True, True)]
    [(digests, others)] = await scene.rows(
        "SELECT (SELECT count(*) FROM dedupe_digest), count(*) FROM message WHERE dedupe_key NOT LIKE 'erased:%'"
    )
    assert digests == others


async def test_the_others_coupon_of_a_referral_is_still_made(engine: AsyncEngine) -> None:
    scene = Scene(engine)
    await a_life(scene)
    await erased(engine)
    lanes = dict(
        await scene.rows(
            "SELECT split_part(lane, '#', 1), state FROM job WHERE split_part(lane, '#', 1) IN (:a, :b)",
            a=f"coupon:{OTHERS}",
            b=f"coupon:{FRIENDS}",
        )
    )
    assert lanes == {f"coupon:{OTHERS}": "waiting", f"coupon:{FRIENDS}": "dropped"}
    [(body,)] = await scene.rows("SELECT body FROM message WHERE kind = 'referrals/completed'")
    redemption = redemption_of("referrals/completed", "customer", bytes(body)) or redemption_of(
        "referrals/completed", "customerReward", bytes(body)
    )
    assert redemption is not None
    assert (redemption.code, redemption.customer_ref) == (OTHERS, OTHER)


async def test_what_runs_is_waited_for(engine: AsyncEngine) -> None:
    scene = Scene(engine)
    await scene.customer(ID, email=EMAIL)
    await scene.sql("UPDATE job SET state = 'running'")
    with pytest.raises(StillRunningError, match="right now"):
        await erased(engine, patience=0.3)
    assert (await traces(engine, (EMAIL.lower(),)))[EMAIL.lower()], "half-done"
    await scene.sql("UPDATE job SET state = 'waiting'")
    assert (await erased(engine)).dropped == 1
    assert (await traces(engine, (EMAIL.lower(), ID))) == {EMAIL.lower(): [], ID: []}


async def test_everything_is_handed_out(engine: AsyncEngine) -> None:
    scene = Scene(engine)
    await a_life(scene)
    result = await export(engine, ID, "an operator")
    assert result.customer == sorted((ID, EMAIL.lower()))
    kinds = {each["kind"] for each in result.messages}
    own = {
        "customers",
        "orders",
        "points/redeemed",
        "customers/updated",
        "customers:id",
        "customers:unreadable",
        "ignored",
    }
    assert kinds == own
    [unreadable] = [message for message in result.messages if message["kind"] == "customers:unreadable"]
    assert (unreadable["reason_code"], unreadable["facts"]["problem"]) == (ReasonCode.ENTITY_UNREADABLE, f"id: {ID}")
    assert {each["code"] for each in result.coupons} == {CODE, PENDING}
    assert result.jobs
    assert result.attempts
    assert result.issuance_limits
    assert result.differences
    raw = result.model_dump_json().lower()
    assert all(word in raw for word in CANARIES)
    assert OTHERS_EMAIL not in raw
    assert (await traces(engine, (ID,)))[ID]
    assert [line for line in (await traces(engine, CANARIES))[ID] if line.startswith("audit.")] == []
    await erased(engine)
    assert (await export(engine, ID, "an operator")).empty
    assert (await export(engine, "nobody", "an operator")).empty


async def test_bodies_end_with_the_retention(engine: AsyncEngine) -> None:
    scene = Scene(engine)
    await scene.customer(ID, email=EMAIL)
    await scene.run(Reject(HTTP_400, Evidence(422, EMAIL)))
    await scene.customer(OTHER, email=EMAIL)
    later = datetime.now(UTC) + timedelta(days=31)
    assert await prune_bodies(engine, timedelta(days=32), later) == 0
    assert await prune_bodies(engine, timedelta(days=30), later) == 1
    kept = await scene.rows("SELECT customer_ref, body IS NULL FROM message ORDER BY id")
    assert kept == [(ID, True), (OTHER, False)], "what still waits is kept"
    assert await scene.rows("SELECT count(*) FROM attempt WHERE excerpt IS NOT NULL") == [(0,)]


def test_a_body_of_another_loses_the_person_alone() -> None:
    person = CustomerIdentity((ID, EMAIL.lower()), (EMAIL.lower(),))
    body = {
        "customer": {"externalId": OTHER, "email": OTHERS_EMAIL},
        "friendCustomer": {"externalId": ID, "name": NAME},
        "friendEmail": f" {EMAIL} ",
        "lines": [{"customerId": ID, "price": "1.10"}],
    }
    result = redacted(person, json.dumps(body).encode())
    assert result is not None
    assert json.loads(result) == {
        "customer": body["customer"],
        "friendCustomer": {"erased": True},
        "friendEmail": "erased",
        "lines": [{"customerId": "erased", "price": "1.10"}],
    }
    assert redacted(person, b'{"id": 1}') is None
    odd = redacted(person, b'{"note": "half of a pair: \\ud800", "friendEmail": "' + EMAIL.encode() + b'"}')
    assert odd is not None
    assert (EMAIL.encode() in odd, b"\\ud800" in odd) == (False, True)
    assert redacted(person, b"<a>no JSON</a>") is None
    assert redacted(person, f"<a>{EMAIL}".encode()) == b""


def test_a_body_that_is_nested_too_deeply_is_emptied_when_it_names_the_person() -> None:
    """How deep is too deep depends on the version of Python; a body that can be written again loses the person alone."""
    person = CustomerIdentity((ID, EMAIL.lower()), (EMAIL.lower(),))
    deep = b"[" * 400 + b"1.5" + b"]" * 400
    for name, value in ((b"email", EMAIL.encode()), (b"externalId", ID.encode())):
        without = redacted(person, b'{"' + name + b'": "' + value + b'", "x": ' + deep + b"}")
        assert without == b"" or (without is not None and value not in without and deep in without)
    assert redacted(person, b'{"email": "somebody@else.example", "x": ' + deep + b"}") is None


async def test_an_export_has_the_digits_of_numbers_and_any_body(engine: AsyncEngine) -> None:
    scene = Scene(engine)
    await scene.customer(ID, email=EMAIL)
    for body in (
        b'{"spent": 1e2, "price": 1.10, "half": "\\ud800"}',
        b'{"x": ' + b"[" * 400 + b"1.5" + b"]" * 400 + b"}",
    ):
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE message SET body = :body"), {"body": body})
        written = json.loads((await export(engine, ID, "an operator")).text(), parse_float=str)
        [message] = written["messages"]
        whole = isinstance(message["body"], dict)  # on 3.11, the second one is too deep for that
        assert message["body"] == (json.loads(body, parse_float=str) if whole else body.decode())
        assert whole or b"price" not in body
