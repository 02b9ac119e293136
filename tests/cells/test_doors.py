"""The doors and the answers of a relay of three cells."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from app import wiring
from app.cells import place
from app.operations import keys
from app.operations.alerts.raised import Alerts, open_alerts
from app.operations.coupons import reward_rules
from app.operations.coupons.reward_rules import RewardRules
from app.operations.homes import Homes, WrongCellError, copy_shared
from app.platform.rules import RewardRuleDefinition
from app.settings import Settings
from tests.api.served import OPERATOR_KEY, serving
from tests.cells.conftest import calling, customer_in, give_up, hold_coupons, line, settings_of

ORDER = {"financialStatus": "paid", "currency": "EUR", "totalPrice": "10.00"}


async def stored(parts: wiring.Services) -> list[set[str]]:
    """The lanes of each cell."""
    found = []
    for engine in parts.engines:
        async with engine.connect() as connection:
            found.append(set((await connection.execute(text("SELECT key FROM lane"))).scalars()))
    return found


async def test_every_entity_is_stored_in_its_cell_and_found_from_all(
    web: tuple[wiring.Services, str], operator: httpx.AsyncClient
) -> None:
    parts = web[0]
    ids = [str(number) for number in range(30)]
    lines = [line("customers", id=each, email=f"c{each}@example.com") for each in ids]
    lines += [line("orders", id=f"o{each}", customerId=each, **ORDER) for each in ids]
    answer = await operator.post("/v1/events/batch", content="\n".join(lines))
    receipts = [json.loads(each) for each in answer.text.splitlines()]
    assert [receipt["status"] for receipt in receipts] == ["accepted"] * 60
    lanes = {f"customer:{each}" for each in ids} | {f"order:o{each}" for each in ids}
    assert await stored(parts) == [{lane for lane in lanes if place(lane, 3) == cell} for cell in range(3)]

    assert (await operator.get("/v1/counts")).json()["total"]["waiting"] == 60
    for receipt in receipts[:6]:
        assert (await operator.get(f"/v1/events/{receipt['id']}")).json()["id"] == receipt["id"]
    assert (await operator.get(f"/v1/events/{uuid7()}")).status_code == 404
    told = (await operator.get("/v1/explain", params={"customer": ids[0]})).json()
    assert (told["found"], told["cause"]) == (True, "in_turn")
    assert (await operator.get("/readyz")).json()["checks"][:3] == [
        {"name": f"cell {cell}", "ok": True, "says": "reachable and migrated"} for cell in (1, 2, 3)
    ]
    assert 'relay_jobs_waiting{channel="platform"} 60.0' in (await operator.get("/metrics")).text


async def test_pages_of_all_cells_are_one_list(operator: httpx.AsyncClient) -> None:
    lines = [line("customers", id=str(number)) for number in range(25)]
    await operator.post("/v1/events/batch", content="\n".join(lines))
    seen: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = (await operator.get("/v1/jobs", params={"limit": 4, **cursor})).json()
        seen += [job["id"] for job in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert len(seen) == 25
    assert seen == sorted(seen, reverse=True)


async def test_the_same_again_is_a_duplicate_in_its_cell(operator: httpx.AsyncClient) -> None:
    body = {"id": "42", "email": "ada@example.com"}
    first = await operator.post("/v1/events/customers", json=body, headers={"idempotency-key": "k"})
    again = await operator.post("/v1/events/customers", json=body, headers={"idempotency-key": "k"})
    other = await operator.post("/v1/events/customers", json=body | {"name": "Ada"}, headers={"idempotency-key": "k"})
    assert (first.status_code, again.status_code, other.status_code) == (202, 200, 409)
    assert first.json()["id"] == again.json()["id"]


async def test_a_cell_that_is_away_refuses_its_own_entities_only(lacking: Settings) -> None:
    await wiring.migrated(lacking, "")
    here, there = customer_in(1), customer_in(3)
    async with serving(lacking, "") as (parts, url), calling(url) as operator:
        assert (await operator.post("/v1/events/customers", json={"id": here})).status_code == 202
        refused = await operator.post("/v1/events/customers", json={"id": there})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")

        lines = "\n".join(line("customers", id=each, name="Ada") for each in (here, there))
        accepted, problem = (
            json.loads(each) for each in (await operator.post("/v1/events/batch", content=lines)).text.splitlines()
        )
        assert accepted["status"] == "accepted"
        assert (problem["line"], problem["problem"]["type"]) == (2, "urn:platform-relay:problem:database-away")
        only_there = await operator.post("/v1/events/batch", content=line("customers", id=there))
        assert only_there.status_code == 503

        ready = await operator.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        assert {"name": "cell 3", "ok": False, "says": "not reachable"} in ready.json()["checks"]
        assert (await operator.get(f"/v1/events/{accepted['id']}")).status_code == 200
        unknown = await operator.get(f"/v1/events/{uuid7()}")
        assert unknown.status_code == 503  # it could be in the third
        assert "cell 3" in unknown.json()["detail"]
        assert (await operator.get("/v1/counts")).status_code == 503
        told = (await operator.get("/v1/explain", params={"customer": here})).json()
        assert (told["found"], told["notes"]) == (
            True,
            ["Cell 3 cannot be reached; what it holds of this is missing here."],
        )
        assert (await operator.get("/v1/explain", params={"customer": there})).status_code == 503
        operator.headers["origin"] = url
        await operator.post("/console/login", data={"key": OPERATOR_KEY})
        assert "Cell 3 cannot be reached" in (await operator.get("/console/search", params={"q": here})).text
        assert (await operator.get("/console/search", params={"q": there})).status_code == 503
        metrics = (await operator.get("/metrics")).text
        assert "relay_database_up 0.0" in metrics
        assert 'relay_jobs_waiting{channel="platform"} 2.0' in metrics
        assert [len(cell.on_work) for cell in parts.cells] == [0, 0, 0]


async def test_an_operator_acts_in_every_cell(web: tuple[wiring.Services, str], operator: httpx.AsyncClient) -> None:
    parts = web[0]
    paused = await operator.post("/v1/channels/platform/pause", json={"why": "the Platform is moved"})
    assert [channel["state"] for channel in paused.json()] == ["paused", "open"]
    for engine in parts.engines:
        async with engine.connect() as connection:
            state = await connection.execute(text("SELECT state FROM channel WHERE name = 'platform'"))
            assert state.scalar_one() == "paused"
    resumed = await operator.post("/v1/channels/platform/resume")
    assert [channel["state"] for channel in resumed.json()] == ["open", "open"]


async def test_coupons_and_the_ledger_of_all_cells(
    operator: httpx.AsyncClient, web: tuple[wiring.Services, str]
) -> None:
    await hold_coupons(operator, web[0])
    listed = (await operator.get("/v1/coupons", params={"limit": 2})).json()
    rest = (await operator.get("/v1/coupons", params={"limit": 2, "cursor": listed["next_cursor"]})).json()
    assert [coupon["code"] for coupon in listed["items"] + rest["items"]] == ["code-3", "code-2", "code-1"]
    assert rest["next_cursor"] is None
    [euro] = (await operator.get("/v1/coupons/ledger")).json()["currencies"]
    assert (euro["coupons"], euro["redeemed"], euro["held"], euro["counts"]["held"]) == (3, "6", "6", 3)
    approved = await operator.post("/v1/coupons/code-3/approve", json={"why": "seen"})
    assert approved.json()["ruling"]["approve"] is True
    assert (await operator.post("/v1/coupons/code-4/approve", json={"why": "seen"})).status_code == 404


async def test_keys_and_rules_are_read_from_copies_while_the_first_cell_is_away(
    settings: Settings, web: tuple[wiring.Services, str], empty_database_url: str, tmp_path: Path
) -> None:
    first, _, third = web[0].engines
    key = await keys.create(first, "shop", ["events", "read"], "test", None)
    rule = RewardRuleDefinition.model_validate({"kind": "fixed_amount", "value": "5.00", "currency": "EUR"})
    async with first.begin() as connection:
        await reward_rules.put(connection, "rule-7", rule, "test")
    await copy_shared(first, third)
    await copy_shared(first, third)  # again: nothing to do
    nowhere = "postgresql://relay@127.0.0.1:1/relay"
    away = settings_of(tmp_path, (nowhere, "cell_1"), (nowhere, "cell_2"), (empty_database_url, "cell_3"))
    async with serving(away, "") as (parts, url), calling(url, key) as shop:
        answer = await shop.post("/v1/events/customers", json={"id": customer_in(3)})
        assert answer.status_code == 202
        rules = RewardRules(parts.engines[0], parts.engines[2])
        current = (await rules.versions("rule-7", datetime.now(UTC)))[1]
        assert current is not None
        assert current.definition == rule


async def test_a_person_is_handed_out_and_erased_in_every_cell(
    operator: httpx.AsyncClient, web: tuple[wiring.Services, str]
) -> None:
    """The account is in one cell, its orders in others, and a guest order under the address of the account in a third."""
    person = customer_in(1)
    lines = [line("customers", id=person, email="ada@example.com")]
    lines += [line("orders", id=f"o{each}", customerId=person, email="ada@example.com", **ORDER) for each in range(6)]
    lines += [line("orders", id=f"g{each}", email="Ada@example.com", **ORDER) for each in range(6)]
    lines += [line("orders", id="other", customerId="somebody", email="bob@example.com", **ORDER)]
    await operator.post("/v1/events/batch", content="\n".join(lines))
    told = (await operator.post("/v1/customers/export", json={"customer": person})).json()
    assert told["customer"] == sorted([person, "ada@example.com"])
    assert len(told["messages"]) == 13
    receipt = (await operator.post("/v1/customers/erase", json={"customer": person})).json()
    assert (receipt["messages"], receipt["dropped"]) == (13, 13)
    again = (await operator.post("/v1/customers/erase", json={"customer": person})).json()
    assert (again["messages"], again["jobs"]) == (0, 0)
    for engine in web[0].engines:
        async with engine.connect() as connection:
            found = "SELECT count(*) FROM message WHERE position('ada@example' IN lower(encode(body, 'escape'))) > 0"
            assert (await connection.execute(text(found))).scalar_one() == 0
    assert (await operator.get("/v1/explain", params={"order": "other"})).json()["found"] is True


async def test_an_operator_acts_in_the_cells_that_answer(
    web: tuple[wiring.Services, str], operator: httpx.AsyncClient, settings: Settings, empty_database_url: str
) -> None:
    """The first two cells' database is closed; what the third holds is retried, dropped, paused all the same."""
    parts = web[0]
    jobs = [await give_up(operator, parts, 3, begin) for begin in (0, 1000)]
    nowhere = "postgresql://relay@127.0.0.1:1/relay"
    away = settings_of(settings.data_dir, (nowhere, "cell_1"), (nowhere, "cell_2"), (empty_database_url, "cell_3"))
    async with serving(away, "") as (_, url), calling(url) as client:
        assert (await client.post(f"/v1/jobs/{jobs[0]}/retry")).json()["state"] == "waiting"
        assert (await client.post("/v1/jobs/retry", json={"ids": [jobs[1]]})).json()["jobs"] == 1
        assert (await client.post(f"/v1/jobs/{jobs[1]}/drop", json={"why": "a test"})).json()["state"] == "dropped"
        assert (await client.post(f"/v1/jobs/{uuid7()}/retry")).status_code == 503  # it could be in the others
        paused = await client.post("/v1/channels/platform/pause", json={"why": "the Platform is moved"})
        assert (paused.status_code, "The other cells have done it" in paused.json()["detail"]) == (503, True)
    async with parts.engines[2].connect() as connection:
        state = await connection.execute(text("SELECT state FROM channel WHERE name = 'platform'"))
        assert state.scalar_one() == "paused"


async def test_a_lane_is_at_home_where_it_was_first_wanted(web: tuple[wiring.Services, str]) -> None:
    engines = web[0].engines
    assert await Homes(engines, 2).of("coupon:AB12") == 2
    assert await Homes(engines, 3).of("coupon:AB12") == 2
    assert await Homes(engines, 3).of("customer:42") == place("customer:42", 3) + 1


async def test_other_cells_than_the_schemas_were_made_for_are_refused(settings: Settings, tmp_path: Path) -> None:
    await wiring.migrated(settings, "")
    await wiring.migrated(settings, "")
    urls = [(cell.url.get_secret_value(), str(cell.tables)) for cell in settings.cells]
    for wrong in ([urls[1], urls[0], urls[2]], urls[:2], urls[:1]):
        with pytest.raises(WrongCellError, match="never reordered, added or removed"):
            await wiring.migrated(settings_of(tmp_path, *wrong), "")


async def test_a_database_that_was_used_alone_is_not_made_a_cell(
    database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    alone = settings_of(tmp_path, (database_url, "alone"))
    await wiring.migrated(alone, "")
    async with serving(alone, "") as (_, url), calling(url) as operator:
        assert (await operator.post("/v1/events/customers", json={"id": "42"})).status_code == 202
    both = settings_of(tmp_path, (database_url, "alone"), (empty_database_url, "cell_2"))
    with pytest.raises(WrongCellError, match="not made as a cell"):
        await wiring.migrated(both, "")


async def test_an_alert_that_another_cell_raised_about_a_coupon_is_dismissed(
    web: tuple[wiring.Services, str], operator: httpx.AsyncClient
) -> None:
    """The worker of the order's cell raises it; the coupon is at home elsewhere."""
    of_coupon, _, of_order = web[0].engines
    made = """INSERT INTO coupon (code, message_id, rule_edited, state, received_at, created_at, updated_at)
              VALUES ('shared', :message, false, 'used', now(), now(), now())"""
    async with of_coupon.begin() as connection:
        await connection.execute(text(made), {"message": uuid7()})
    await Alerts(of_order).raise_alert("coupon_over_used", "shared", "2 orders used it, 1 may", "compare the orders")
    assert (await operator.post("/v1/coupons/other/dismiss", json={"why": "seen"})).status_code == 404
    assert (await operator.post("/v1/coupons/shared/dismiss", json={"why": "seen"})).json()["code"] == "shared"
    async with of_order.connect() as connection:
        assert await open_alerts(connection) == []
    again = await operator.post("/v1/coupons/shared/dismiss", json={"why": "seen"})
    assert (again.status_code, again.json()["type"].rpartition(":")[2]) == (409, "wrong-state")
