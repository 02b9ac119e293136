"""Bodies at rest: with keys nothing of them stands in the tables, and everything that is done with them still is."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import open_alerts
from platform_relay.alerts.platform_drift import PlatformDrift
from platform_relay.checks.configuration import check_bodies, watch_bodies
from platform_relay.core.compute import ComputeProcess
from platform_relay.core.database import create_engine
from platform_relay.core.encryption import KeyRing, UnreadableBodyError, first_email
from platform_relay.core.http import HttpClient
from platform_relay.core.models import FIRST_EMAIL
from platform_relay.core.outcomes import Done, Evidence, JobSpec, Reject, Wait
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.queries import list_coupons
from platform_relay.forwarding.customer import ForwardCustomer
from platform_relay.forwarding.fetch import store_message
from platform_relay.imports.uploads import delete_upload, keep_upload
from platform_relay.inbox.events import EVENTS, EventKind, OrderEvent
from platform_relay.inbox.messages import incoming
from platform_relay.inbox.reencrypt import CHUNK, encrypt_bodies, used_keys
from platform_relay.inbox.retention import prune_bodies
from platform_relay.inbox.stored_customers import Customers
from platform_relay.jobs.edit import NotEditableError, edit_and_retry, find_editable, set_field
from platform_relay.jobs.queries import find_message
from platform_relay.jobs.statistics import OrderTotals, read_business_impact
from platform_relay.platform.webhooks import redemption_of
from platform_relay.privacy.erase import erase
from platform_relay.privacy.export import export
from platform_relay.privacy.receipt import COUNTED
from platform_relay.queue.decide import decide
from platform_relay.queue.queue import Queue
from platform_relay.queue.retry import RetryPolicy
from platform_relay.reconcile.snapshots import ReceivedEvent, RelaySnapshots
from platform_relay.settings import Settings
from platform_relay.stores.native import native_event
from tests.database.engine_room import settle
from tests.explain.scene import Scene, answered
from tests.journeys.handler_jobs import client_of
from tests.reasons import HTTP_400, NO_VALUE

OLD, NEW = b"o" * 32, b"n" * 32
CANARY, EMAIL = "canarina", "canarina@example.com"


@pytest.fixture
async def sealed(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database_url, application_name="tests", body_keys=KeyRing({"old": OLD}))
    yield engine
    await engine.dispose()


@pytest.fixture
async def rotated(database_url: str) -> AsyncIterator[AsyncEngine]:
    """A new key before the old one."""
    engine = create_engine(database_url, application_name="tests", body_keys=KeyRing({"new": NEW, "old": OLD}))
    yield engine
    await engine.dispose()


@pytest.fixture
async def renewed(database_url: str) -> AsyncIterator[AsyncEngine]:
    """The new key alone."""
    engine = create_engine(database_url, application_name="tests", body_keys=KeyRing({"new": NEW}))
    yield engine
    await engine.dispose()


async def sung(engine: AsyncEngine, word: str) -> list[str]:
    """The tables with rows that hold `word`, plain or in hex as Postgres shows bytes: what a dump would show."""
    found = []
    async with engine.connect() as connection:
        tables = await connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        for table in tables.scalars():
            every = await connection.execute(text(f'SELECT lower(CAST(t AS text)) FROM "{table}" AS t'))  # noqa: S608  # our tables
            if any(word in row or word.encode().hex() in row for row in every.scalars()):
                found.append(table)
    return found


async def a_life(scene: Scene) -> None:
    """A customer, two versions of her order, and her redemption; all delivered."""
    await scene.customer(email=EMAIL, firstName=CANARY)
    await scene.run(Done(digest=b"d", evidence=Evidence(200, f'{{"name": "{CANARY}"}}')))
    await scene.order(email=EMAIL, note=CANARY)
    await scene.run(Done(digest=b"d"))
    await scene.redeemed(customer={"externalId": "42", "email": EMAIL, "name": CANARY})
    await scene.run(Wait(NO_VALUE, "reward-rule:7", evidence=Evidence(200, f"for {CANARY}")), "store")
    await scene.due()
    job = await scene.run(Done(), "store")
    redemption = redemption_of("points/redeemed", "redeemed", job.body)
    assert redemption is not None, "the handler got what arrived"
    await scene.coupons.open(redemption, job.message_id)


async def test_no_canary_stands_in_any_table(engine: AsyncEngine, sealed: AsyncEngine) -> None:
    await a_life(Scene(sealed))
    assert await sung(sealed, CANARY) == []
    [(versions,)] = await Scene(sealed).rows("SELECT array_agg(DISTINCT get_byte(body, 0)) FROM message")
    assert versions == [1]
    await Scene(engine).order("plain", email=EMAIL)
    assert await sung(engine, CANARY) == ["message"], "the search finds what is there"


async def test_a_translated_event_is_sealed_beside_its_body(sealed: AsyncEngine) -> None:
    scene = Scene(sealed)
    result = {"id": "7", "email": EMAIL, "firstName": CANARY}
    raw = json.dumps(result).encode()
    message = incoming(EVENTS[EventKind.CUSTOMER].parse(raw), raw, message_id="")
    native = json.dumps({"customer_email": EMAIL}).encode()
    receipt = await scene.accept(replace(message, body=native, event=raw))
    assert await sung(sealed, CANARY) == []
    assert (await scene.explain("customer", EMAIL)).matched, "found by the event's address"
    job = await scene.run(Done(digest=b"d"))
    assert job.body == raw
    [exported] = (await export(sealed, EMAIL, "an operator")).messages
    assert (exported["id"], exported["event"]) == (receipt.id, result)


async def test_an_edit_is_sealed_too(sealed: AsyncEngine) -> None:
    scene = Scene(sealed)
    await scene.order(email="wrong@example.com")
    job = await scene.run(Reject(HTTP_400))
    await set_field(sealed, scene.actions, job.id, "email", EMAIL, "an operator", "mistyped")
    assert json.loads((await scene.run(Done(digest=b"d"))).body)["email"] == EMAIL
    assert await sung(sealed, CANARY) == []
    [(body,)] = await scene.rows("SELECT body FROM message")
    result = KeyRing({"old": OLD}).decrypt(job.message_id, "old", body)
    assert result is not None
    assert b"wrong@example.com" in result, "what arrived is kept"


async def test_it_is_explained_shown_and_handed_out(sealed: AsyncEngine) -> None:
    scene = Scene(sealed)
    await a_life(scene)
    by_email = await scene.explain("customer", EMAIL.upper())
    assert by_email.matched
    assert "paid 45.00 EUR" in (await scene.explain("order", "1001")).model_dump_json()
    result = await export(sealed, EMAIL, "an operator")
    assert result.customer == ["42", EMAIL]
    assert {each["kind"] for each in result.messages} == {"customers", "orders", "points/redeemed"}
    assert all(CANARY in json.dumps(each["body"]) and "encrypted_with" not in each for each in result.messages)
    async with sealed.connect() as connection:
        [coupon] = (await list_coupons(connection)).items
        message = await find_message(connection, coupon.message_id)
    assert coupon.customer == CANARY
    [body] = [each["body"] for each in result.messages if each["id"] == coupon.message_id]
    assert message is not None
    assert message.size == len(json.dumps(body))
    assert {each.get("excerpt") for each in result.attempts} == {f"for {CANARY}", None}
    assert [[each.excerpt for each in job.attempts] for job in message.jobs] == [[f"for {CANARY}", None]]
    newest = await Customers(sealed).newest("42")
    assert newest is not None
    assert json.loads(newest)["email"] == EMAIL


async def test_waiting_orders_are_summed_up(engine: AsyncEngine, sealed: AsyncEngine) -> None:
    await Scene(engine).order("1", totalPrice="1.10")
    await Scene(sealed).order("2", totalPrice="2.20")
    await Scene(sealed).order("3", totalPrice="3.30", currency="USD")
    async with sealed.connect() as connection:
        orders = (await read_business_impact(connection)).orders
    assert orders == [OrderTotals("EUR", 2, Decimal("3.30")), OrderTotals("USD", 1, Decimal("3.30"))]


async def test_translated_events_are_summed_up_and_compared(sealed: AsyncEngine) -> None:
    """The event of a store's own webhook is encrypted as an event, not as a body."""
    raw = b'{"id": "8", "email": "a@b.c", "financialStatus": "paid", "currency": "EUR", "totalPrice": "4.40"}'
    event = native_event("woocommerce", EventKind.ORDER, OrderEvent.parse(raw))
    native = store_message(event, b'{"total": "4.40"}', source="woocommerce", message_id="8")
    await Scene(sealed).accept(native)
    async with sealed.connect() as connection:
        assert (await read_business_impact(connection)).orders == [OrderTotals("EUR", 1, Decimal("4.40"))]
    newest = await RelaySnapshots(sealed, "woocommerce").newest_events(EventKind.ORDER, ["8"])
    assert newest == {"8": ReceivedEvent("woocommerce", native.event)}


async def test_waiting_orders_are_summed_up_where_postgres_does_not_take_one_for_json(engine: AsyncEngine) -> None:
    scene = Scene(engine)
    await scene.order("1", totalPrice="1.10")
    twice = (
        b'{"id": NaN, "id": "2", "email": "a@b.c", "financialStatus": "paid", "currency": "EUR", "totalPrice": "2.20"}'
    )
    await scene.accept(incoming(OrderEvent.parse(twice), twice, message_id="2"))
    async with engine.connect() as connection:
        orders = (await read_business_impact(connection)).orders
    assert orders == [OrderTotals("EUR", 2, Decimal("3.30"))]


@pytest.mark.parametrize("who", ["42", EMAIL])
async def test_a_person_is_erased(sealed: AsyncEngine, who: str) -> None:
    scene = Scene(sealed)
    await a_life(scene)
    friend = {"customer": {"externalId": "43", "email": "bob@example.com"}, "friendEmail": EMAIL}
    other = await scene.event(EventKind.ORDER, {"id": "2", "customerId": "43", "email": "bob@example.com",
        "financialStatus": "paid", "currency": "EUR", "totalPrice": "5", "gift": friend})  # fmt: skip
    await scene.due()
    await scene.run(answered(503, f"no room for {EMAIL}"))
    receipt = await erase(sealed, scene.actions, who, "an operator")
    assert await scene.rows("SELECT count(*) FROM attempt WHERE excerpt IS NOT NULL") == [(0,)]
    assert (receipt.messages, receipt.redacted) == (3, 1)
    [(by, body)] = await scene.rows("SELECT encrypted_with, body FROM message WHERE id = :id", id=other.id)
    left = KeyRing({"old": OLD}).decrypt(other.id, by, body)
    assert left is not None
    assert EMAIL not in left.decode()
    assert b"bob@example.com" in left
    assert await scene.rows("SELECT count(*) FROM message WHERE email_mark IS NOT NULL") == [(0,)]
    assert not (await scene.explain("customer", EMAIL)).matched
    again = await erase(sealed, scene.actions, who, "an operator")
    assert [getattr(again, name) for name in COUNTED] == [0] * len(COUNTED)


async def test_the_mark_ends_with_the_body(sealed: AsyncEngine) -> None:
    scene = Scene(sealed)
    await a_life(scene)
    assert await scene.rows("SELECT count(*) FROM message WHERE email_mark IS NOT NULL") == [(1,)]
    assert await prune_bodies(sealed, timedelta(days=30), datetime.now(UTC) + timedelta(days=31)) == 3
    assert await scene.rows("SELECT count(*) FROM message WHERE email_mark IS NOT NULL") == [(0,)]
    async with sealed.connect() as connection:
        assert await used_keys(connection) == [], "a pruned body keeps no key"


async def test_without_its_key_a_job_is_held_and_goes_on_with_it(engine: AsyncEngine, sealed: AsyncEngine) -> None:
    await Scene(sealed).order()
    scene = Scene(engine)
    await scene.run(Done(digest=b"d"))
    [(state, disposition, code, facts, attempts, waits)] = await scene.rows(
        "SELECT state, disposition, reason_code, facts, attempts, waits_for FROM job JOIN lane ON lane.key = job.lane"
    )
    assert (state, disposition, attempts, waits) == ("waiting", "parked", 0, "settings")
    assert (code, facts) == ("body_key_missing", {"key": "old"})
    result = await scene.explain("order", "1001")
    assert result.cause == "setting_missing"
    assert "BODY_KEYS" in result.text
    plain = await check_bodies(Settings(_env_file=None), engine)
    assert plain.ok is False
    assert plain.detail == because(ReasonCode.BODY_KEY_MISSING, key="old").text
    await scene.due()
    assert json.loads((await Scene(sealed).run(Done(digest=b"d"))).body)["id"] == "1001"
    assert await scene.rows("SELECT state FROM job") == [("done",)]


async def test_an_alert_stands_while_a_key_is_missing(engine: AsyncEngine, sealed: AsyncEngine) -> None:
    await Scene(sealed).order()
    without = Settings(_env_file=None)
    for _ in range(2):
        await watch_bodies(engine, without)
    async with engine.connect() as connection:
        [alert] = await open_alerts(connection)
    assert (alert.reason, alert.subject) == (because(ReasonCode.BODY_KEY_MISSING, key="old"), "BODY_KEYS")
    error_text = f"other:{base64.b64encode(NEW).decode()},old:{base64.b64encode(OLD).decode()}"
    await watch_bodies(engine, Settings(_env_file=None, body_keys=SecretStr(error_text)))
    async with engine.connect() as connection:
        assert await open_alerts(connection) == []


async def test_an_order_says_that_its_customer_cannot_be_read(engine: AsyncEngine, sealed: AsyncEngine) -> None:
    """The Platform has forgotten the customer; the order can be read, what the store sent of her cannot."""
    await Scene(sealed).customer()
    await Scene(sealed).run(Done(digest=b"d"))
    scene = Scene(engine)
    receipt = await scene.order()
    follow_up = JobSpec("forward_customer", "platform", "customer:42", params={"from": "order"}, collapse=True)
    await scene.run(
        Wait(
            because(ReasonCode.WAITING_FOR_CUSTOMER),
            "customer:42",
            follow_ups=(follow_up,),
            evidence=Evidence(404),
            for_lane=True,
        )
    )
    [job] = await Queue(engine, "platform").claim(1, lease=30)
    assert (job.kind, job.message_id) == ("forward_customer", receipt.id)
    http = HttpClient()
    client = client_of(http, "http://127.0.0.1:9")  # which is not called
    handler = ForwardCustomer(client, Customers(engine), ComputeProcess(), PlatformDrift(engine, client.fields))
    result = await handler(job)
    await http.aclose()
    assert isinstance(result, Wait)
    assert result.key == "settings"
    assert result.reason == because(ReasonCode.BODY_KEY_MISSING, key="old")
    transition = decide(result, job, RetryPolicy(), 0.5)
    await settle(engine, [job], transition, "wait")
    story = await scene.explain("order", "1001")
    assert "BODY_KEYS" in story.model_dump_json()
    [(attempts,)] = await scene.rows("SELECT attempts FROM job WHERE kind = 'forward_customer' AND open")
    assert attempts == 0


async def test_without_its_key_nothing_is_erased_handed_out_or_edited_by_halves(
    engine: AsyncEngine, sealed: AsyncEngine
) -> None:
    await a_life(Scene(sealed))
    scene = Scene(engine)
    before = await scene.rows("SELECT * FROM message ORDER BY id")
    with pytest.raises(UnreadableBodyError, match="not in BODY_KEYS"):
        await erase(engine, scene.actions, "42", "an operator")
    with pytest.raises(UnreadableBodyError, match="not in BODY_KEYS"):
        await export(engine, "42", "an operator")
    await Scene(sealed).order("2", email=EMAIL)
    job = await Scene(sealed).run(Reject(HTTP_400))
    async with engine.connect() as connection:
        with pytest.raises(NotEditableError, match="not in BODY_KEYS"):
            await find_editable(connection, job.id)
        assert [each.customer for each in (await list_coupons(connection)).items] == [None]
    with pytest.raises(NotEditableError, match="not in BODY_KEYS"):
        await edit_and_retry(engine, scene.actions, job.id, b"{}", "an operator", "why")
    assert await scene.rows("SELECT * FROM message WHERE order_ref IS DISTINCT FROM '2' ORDER BY id") == before


async def test_an_old_key_can_go(
    engine: AsyncEngine, sealed: AsyncEngine, rotated: AsyncEngine, renewed: AsyncEngine
) -> None:
    await Scene(engine).customer("plain", email="plain@example.com")
    await a_life(Scene(sealed))
    await Scene(rotated).customer("44", email="new@example.com")
    async with rotated.connect() as connection:
        assert await used_keys(connection) == ["new", "old"]
    for who in ("plain@example.com", EMAIL, "new@example.com"):
        assert (await Scene(rotated).explain("customer", who)).matched, who
    await Scene(engine).sql("INSERT INTO attempt (job_id, fencing_token, number, started_at, outcome, excerpt)"
                            " SELECT id, 9, 9, now(), 'done', 'plain words' FROM job WHERE lane = 'customer:44'")  # fmt: skip
    done = await encrypt_bodies(rotated)
    assert (done.messages, done.excerpts, done.refused) == (4, 2, {})
    again = await encrypt_bodies(rotated)
    assert (again.messages, again.excerpts) == (0, 0)
    kept = await Scene(renewed).rows("SELECT job_id, fencing_token, excerpt FROM attempt WHERE excerpt IS NOT NULL")
    ring = KeyRing({"new": NEW})
    assert {ring.decrypt_text(*each) for each in kept} == {f"for {CANARY}", "plain words"}
    assert await sung(engine, "plain words") == []
    async with renewed.connect() as connection:
        assert await used_keys(connection) == ["new"]
    for who in ("plain@example.com", EMAIL, "new@example.com"):
        assert (await Scene(renewed).explain("customer", who)).matched, who
    assert await sung(engine, "plain@example.com") == []
    assert {each["kind"] for each in (await export(renewed, EMAIL, "an operator")).messages} == {
        "customers", "orders", "points/redeemed",
    }  # fmt: skip


async def test_a_file_that_is_kept_needs_its_key(sealed: AsyncEngine, rotated: AsyncEngine) -> None:
    with io.BytesIO(b"id,email\n1,a@example.com\n") as file:
        upload_id = await keep_upload(sealed, file, "customers.csv", "csv", EventKind.CUSTOMER, "an operator")
    async with rotated.connect() as connection:
        assert await used_keys(connection) == ["old"]
    await delete_upload(rotated, upload_id)
    async with rotated.connect() as connection:
        assert await used_keys(connection) == []


async def test_encrypting_goes_on_where_it_was_ended(rotated: AsyncEngine, engine: AsyncEngine) -> None:
    scene = Scene(engine)
    await asyncio.gather(*(scene.order(str(number)) for number in range(CHUNK + 50)))
    await scene.sql(
        f"""CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF (SELECT count(*) FROM message WHERE encrypted_with IS NOT NULL) >= {CHUNK} THEN RAISE 'the end'; END IF;
            RETURN NULL; END $$"""  # noqa: S608  # a number
    )
    await scene.sql("CREATE TRIGGER stop BEFORE UPDATE ON message FOR EACH STATEMENT EXECUTE FUNCTION stop()")
    with pytest.raises(Exception, match="the end"):
        await encrypt_bodies(rotated)
    assert await scene.rows("SELECT count(*) FROM message WHERE encrypted_with = 'new'") == [(CHUNK,)]
    await scene.sql("DROP TRIGGER stop ON message")
    assert (await encrypt_bodies(rotated)).messages == 50


async def test_what_cannot_be_opened_is_named_and_left(sealed: AsyncEngine, renewed: AsyncEngine) -> None:
    first, second = await Scene(sealed).order("1"), await Scene(renewed).order("2")
    done = await encrypt_bodies(renewed)
    assert (done.messages, list(done.refused)) == (0, [first.id])
    assert because(ReasonCode.BODY_KEY_MISSING, key="old").text in done.refused[first.id]
    assert (await check_bodies(Settings(_env_file=None), renewed)).ok is False
    rows = await Scene(renewed).rows("SELECT id, encrypted_with FROM message ORDER BY order_ref")
    assert rows == [(first.id, "old"), (second.id, "new")]


async def test_without_a_key_there_is_nothing_to_encrypt_with(engine: AsyncEngine) -> None:
    with pytest.raises(ValueError, match="BODY_KEYS is not set"):
        await encrypt_bodies(engine)


async def test_an_address_is_found_in_sealed_bodies_as_in_plain_ones(engine: AsyncEngine) -> None:
    """`first_email` reads what the index over plain bodies reads."""
    asked = text("SELECT " + FIRST_EMAIL.replace("coalesce(event, body)", "CAST(:body AS bytea)"))
    seen: list[tuple[bytes, str]] = []

    @given(st.lists(st.sampled_from(['"email"', '"', ":", " ", "A@b.C", "x", "{", "}", ","]), max_size=12))
    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    def collect(parts: list[str]) -> None:
        body = "".join(parts).encode()
        seen.append((body, (first_email("customers", body) or "").lower()))

    await asyncio.to_thread(collect)
    async with engine.connect() as connection:
        for body, expected in seen:
            assert (await connection.execute(asked, {"body": body})).scalar_one() == expected, body
