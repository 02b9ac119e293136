"""Jobs, counts, destinations, reward rules, coupons and health."""

from collections.abc import Awaitable, Callable
from typing import Any  # JSON answers
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay import wiring
from platform_relay.core.reasons import Reason, ReasonCode, because, columns
from platform_relay.jobs.views import job_texts, message_text

Sql = Callable[..., Awaitable[None]]


@pytest.fixture
def sql(engine: AsyncEngine) -> Sql:
    async def run(statement: str, **parameters: object) -> None:
        async with engine.begin() as connection:
            await connection.execute(text(statement), parameters)

    return run


async def accept(store: httpx.AsyncClient, *ids: int) -> list[dict[str, Any]]:
    """Report customers, and return the job of each."""
    jobs = []
    for number in ids:
        receipt = (await store.post("/v1/events/customers", json={"id": number})).json()
        jobs.append((await store.get(receipt["links"]["self"])).json()["jobs"][0])
    return jobs


KILL = """
WITH dying AS (
    UPDATE job SET state = 'dead', disposition = :disposition, reason_code = :reason_code, facts = CAST(:facts AS jsonb),
        finished_at = now() WHERE id = :id
    RETURNING destination, lane
)
UPDATE lane SET open_jobs = open_jobs - 1 FROM dying WHERE lane.destination = dying.destination AND lane.key = dying.lane
"""


HTTP_422 = because(
    ReasonCode.REJECTED_BY_DESTINATION,
    destination="the Platform",
    request="the customer",
    status=422,
    response="no email",
)
HTTP_503 = because(ReasonCode.SERVER_ERROR, destination="the Platform", request="the customer", status=503, attempts=40)


async def kill(sql: Sql, job: dict[str, Any], disposition: str = "rejected", reason: Reason = HTTP_422) -> None:
    await sql(KILL, id=UUID(job["id"]), disposition=disposition, **columns(reason))


async def test_jobs_are_listed_page_by_page(store: httpx.AsyncClient, sql: Sql) -> None:
    jobs = await accept(store, 1, 2, 3)
    await kill(sql, jobs[0])
    first = (await store.get("/v1/jobs?limit=2")).json()
    second = (await store.get(f"/v1/jobs?limit=2&cursor={first['next_cursor']}")).json()
    assert [job["id"] for job in [*first["items"], *second["items"]]] == [job["id"] for job in reversed(jobs)]
    assert second["next_cursor"] is None
    dead = (await store.get("/v1/jobs?state=dead")).json()["items"]
    assert [(job["id"], job["disposition"], job["reason_code"], job["facts"]) for job in dead] == [
        (jobs[0]["id"], "rejected", "rejected_by_destination", dict(HTTP_422.facts))
    ]
    assert (dead[0]["text"], dead[0]["next_step"]) == (HTTP_422.text, HTTP_422.next_step)
    lane = (await store.get("/v1/jobs?lane=customer:2&kind=forward_customer&state=waiting")).json()["items"]
    assert [job["id"] for job in lane] == [jobs[1]["id"]]


async def test_jobs_are_listed_and_counted_by_reason_code(store: httpx.AsyncClient, sql: Sql) -> None:
    jobs = await accept(store, 1, 2, 3)
    await kill(sql, jobs[0])
    await kill(sql, jobs[1], "exhausted", HTTP_503)
    listed = (await store.get("/v1/jobs?reason_code=server_error")).json()["items"]
    assert [job["id"] for job in listed] == [jobs[1]["id"]]
    assert listed[0]["next_step"] != HTTP_503.next_step, "a job without attempts left is not tried automatically"
    assert (await store.get("/v1/jobs?reason_code=server_error&state=waiting")).json()["items"] == []
    counted = (await store.get("/v1/jobs/counts?reason_code=server_error")).json()["total"]
    assert (counted["received"], counted["dead"]) == (1, 1)
    for path in ("/v1/jobs", "/v1/jobs/counts", "/v1/coupons"):
        refused = await store.get(f"{path}?reason_code=odd")
        assert refused.status_code == 422
        [error] = refused.json()["errors"]
        assert error["field"] == "reason_code"
        assert all(f"'{code}'" in error["message"] for code in ReasonCode)


async def test_the_counts_balance(store: httpx.AsyncClient, sql: Sql) -> None:
    jobs = await accept(store, 1, 2, 3)
    await kill(sql, jobs[0])
    await sql("UPDATE job SET uncertain = true WHERE id = :id", id=UUID(jobs[1]["id"]))
    counts = (await store.get("/v1/jobs/counts")).json()
    total = counts["total"]
    assert (counts["messages"], counts["balanced"]) == (3, True)
    assert (total["received"], total["dead"], total["unknown"], total["waiting"]) == (3, 1, 1, 1)
    assert total["received"] == sum(number for state, number in total.items() if state != "received")
    assert counts["by_kind"] == {"forward_customer": total}
    await sql("UPDATE lane SET open_jobs = open_jobs + 1 WHERE key = 'customer:3'")
    assert (await store.get("/v1/jobs/counts")).json()["balanced"] is False


async def test_one_dead_job_is_retried(store: httpx.AsyncClient, operator: httpx.AsyncClient, sql: Sql) -> None:
    [job] = await accept(store, 1)
    early = await operator.post(f"/v1/jobs/{job['id']}/retry")
    assert (early.status_code, early.json()["type"]) == (409, "urn:platform-relay:problem:wrong-state")
    await kill(sql, job)
    message = (await store.get(f"/v1/events/{job['message_id']}")).json()
    assert message["state"] == "needs_attention"
    retried = await operator.post(f"/v1/jobs/{job['id']}/retry")
    assert (retried.status_code, retried.json()["state"]) == (200, "waiting")
    missing = await operator.post(f"/v1/jobs/{job['message_id']}/retry")
    assert missing.status_code == 404


async def test_dead_jobs_are_counted_and_retried_in_bulk(
    store: httpx.AsyncClient, operator: httpx.AsyncClient, sql: Sql
) -> None:
    jobs = await accept(store, 1, 2, 3)
    for job in jobs[1:]:
        await kill(sql, job, "exhausted", HTTP_503)
    await kill(sql, jobs[0])
    for which, count in (("server_error", 2), ("rejected_by_destination", 1), ("key_rejected", 0)):
        by_code = {"reason_code": which, "dry_run": True}
        assert (await operator.post("/v1/jobs/retry", json=by_code)).json()["jobs"] == count
    exhausted = {"disposition": "exhausted", "reason_code": "server_error"}
    counted = (await operator.post("/v1/jobs/retry", json={**exhausted, "dry_run": True})).json()
    assert (counted["jobs"], counted["dry_run"]) == (2, True)
    past = {**exhausted, "before": "2020-01-01T00:00:00Z"}
    assert (await operator.post("/v1/jobs/retry", json=past)).json()["jobs"] == 0
    assert (await operator.post("/v1/jobs/retry", json={**exhausted, "before": counted["before"]})).json()["jobs"] == 2
    assert (await operator.post("/v1/jobs/retry", json={"ids": [jobs[0]["id"]]})).json()["jobs"] == 1
    assert (await store.get("/v1/jobs/counts")).json()["total"]["waiting"] == 0  # they are uncertain now: asked first
    assert (await store.get("/v1/jobs/counts")).json()["total"]["unknown"] == 3
    refused: list[dict[str, object]] = [
        {"disposition": "odd"},
        {"reason_code": "odd"},
        {"reason": "exhausted"},
        {"colour": "red"},
        {"ids": []},
        {"ids": [jobs[0]["id"]], "kind": "x"},
    ]
    for odd in refused:
        assert (await operator.post("/v1/jobs/retry", json=odd)).status_code == 422, odd
    codes = (await operator.post("/v1/jobs/retry", json={"reason_code": "odd"})).json()["errors"][0]["message"]
    assert all(f"'{code}'" in codes for code in ReasonCode)


async def test_a_job_is_dropped_with_who_and_why(store: httpx.AsyncClient, operator: httpx.AsyncClient) -> None:
    [job] = await accept(store, 1)
    assert (await operator.post(f"/v1/jobs/{job['id']}/drop", json={})).status_code == 422
    dropped = (await operator.post(f"/v1/jobs/{job['id']}/drop", json={"why": "a test order"})).json()
    assert (dropped["state"], dropped["disposition"]) == ("dropped", None)
    assert (dropped["reason_code"], dropped["facts"]) == (
        "operator_dropped",
        {"by": "operator", "comment": "a test order"},
    )
    assert (await operator.post(f"/v1/jobs/{job['id']}/drop", json={"why": "again"})).status_code == 409
    assert (await store.get(f"/v1/events/{job['message_id']}")).json()["state"] == "dropped"


async def test_a_destination_is_paused_and_resumed(
    store: httpx.AsyncClient, operator: httpx.AsyncClient, anonymous: httpx.AsyncClient
) -> None:
    [job] = await accept(store, 1)
    paused = await operator.post("/v1/destinations/platform/pause", json={"why": "maintenance"})
    destination = paused.json()
    assert destination["name"] == "platform"
    assert (destination["state"], destination["waiting"]) == ("paused", 1)
    assert destination["reason_code"] == "operator_paused"
    assert (destination["facts"]["by"], destination["facts"]["comment"]) == ("operator", "maintenance")
    assert "maintenance" in destination["text"]
    assert "paused" in (await store.get(f"/v1/jobs/{job['id']}")).json()["next_step"]
    ready = await anonymous.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert 'relay_destination_open{destination="platform",state="paused"} 0.0' in (await anonymous.get("/metrics")).text
    for _ in range(2):
        resumed = await operator.post("/v1/destinations/platform/resume")
        assert (resumed.json()["name"], resumed.json()["state"]) == ("platform", "open")
    assert (await anonymous.get("/readyz")).json()["status"] == "ready"
    for act in ("pause", "resume"):
        assert (await operator.post(f"/v1/destinations/moon/{act}", json={"why": "?"})).status_code == 404


async def test_reward_rules_are_kept_in_versions(operator: httpx.AsyncClient, store: httpx.AsyncClient) -> None:
    address = "/v1/reward-rules/rule-7"
    assert (await store.get(address)).status_code == 404
    first = await operator.put(address, json={"kind": "fixed_amount", "value": "5.00"})
    second = await operator.put(address, json={"kind": "fixed_amount", "value": "7.50", "currency": "EUR"})
    assert (first.status_code, first.json()["version"], second.json()["version"]) == (200, 1, 2)
    read = (await store.get(address)).json()
    assert (read["id"], read["created_by"], read["definition"]["value"]) == ("rule-7", "operator", "7.50")
    assert [rule["version"] for rule in (await store.get("/v1/reward-rules")).json()["items"]] == [2]
    for odd in ({}, {"kind": "fixed_amount"}, {"kind": "percentage", "value": "101"}, {"kind": "x"}):
        assert (await operator.put(address, json=odd)).status_code == 422, odd
    assert (await operator.put(address, content=b'{"kind":NaN}')).status_code == 422
    assert (await operator.delete(address)).status_code == 204
    assert (await operator.delete(address)).status_code == 404
    assert (await store.get("/v1/reward-rules")).json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("nasty", [b"[" * 5000, b'{"\\ud800": "\\u0000"}', b'{"a": "\\u0000", "b": ' + b"[" * 5000])
async def test_a_hostile_body_is_rejected(operator: httpx.AsyncClient, nasty: bytes) -> None:
    answer = await operator.put("/v1/reward-rules/rule-7", content=nasty)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "body")


async def test_a_new_rule_wakes_jobs_that_wait_for_it(
    operator: httpx.AsyncClient, store: httpx.AsyncClient, sql: Sql
) -> None:
    [job] = await accept(store, 1)
    await sql("UPDATE lane SET waits_for = 'reward-rule:rule-7', run_at = now() + interval '1 hour'")
    reason = because(ReasonCode.NO_VALUE, rule="rule-7")
    await sql(
        "UPDATE job SET disposition = 'parked', reason_code = :reason_code, facts = CAST(:facts AS jsonb)",
        **columns(reason),
    )
    waiting = (await store.get(f"/v1/jobs/{job['id']}")).json()
    assert (waiting["reason_code"], waiting["text"], waiting["next_step"]) == (
        "no_value",
        reason.text,
        reason.next_step,
    )
    assert (await operator.put("/v1/reward-rules/rule-7", json={"kind": "free_shipping"})).json()["woken"] == 1


COUPON = """
INSERT INTO coupon (code, message_id, customer_ref, kind, value, currency, state, reason_code, facts, rule_edited, received_at,
                    created_at, updated_at)
VALUES (:code, :message_id, '42', 'fixed_amount', 5.10, 'EUR', :state, 'no_value', '{"rule": "rule-7"}', false, now(),
        now(), now())
"""


async def test_coupons_are_listed_and_read(store: httpx.AsyncClient, sql: Sql) -> None:
    [job] = await accept(store, 1)
    for code, state in (("a", "active"), ("b", "held"), ("c", "held")):
        await sql(COUPON, code=code, state=state, message_id=UUID(job["message_id"]))
    pages = [(await store.get("/v1/coupons?limit=2")).json()]
    pages.append((await store.get(f"/v1/coupons?limit=2&cursor={pages[0]['next_cursor']}")).json())
    assert [[coupon["code"] for coupon in page["items"]] for page in pages] == [["c", "b"], ["a"]]
    held = (await store.get("/v1/coupons?state=held&customer=42")).json()["items"]
    assert [coupon["code"] for coupon in held] == ["c", "b"]
    assert (held[0]["reason_code"], held[0]["facts"]) == ("no_value", {"rule": "rule-7"})
    assert held[0]["text"] == because(ReasonCode.NO_VALUE, rule="rule-7").text
    await sql(COUPON, code="f", state="refused", message_id=UUID(job["message_id"]))
    refused = (await store.get("/v1/coupons?state=refused")).json()["items"]
    assert [coupon["code"] for coupon in refused] == ["f"]
    by_code = (await store.get("/v1/coupons?reason_code=no_value&state=held")).json()["items"]
    assert [coupon["code"] for coupon in by_code] == ["c", "b"]
    assert (await store.get("/v1/coupons?reason_code=value_zero")).json()["items"] == []
    assert (await store.get("/v1/coupons/a")).json()["value"] == "5.10"
    assert (await store.get("/v1/coupons/A")).status_code == 404


async def test_readiness_reports_the_worker(anonymous: httpx.AsyncClient, parts: wiring.Services) -> None:
    assert (await anonymous.get("/healthz")).json() == {"status": "ok"}
    ready = await anonymous.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert "worker" not in [check["name"] for check in ready.json()["checks"]]
    parts.worker_alive = lambda: True
    assert (await anonymous.get("/readyz")).json()["status"] == "ready"
    parts.worker_alive = lambda: False
    stopped = await anonymous.get("/readyz")
    assert (stopped.status_code, stopped.json()["status"]) == (503, "not ready")


async def test_readiness_leaves_out_destinations_that_nothing_uses(
    anonymous: httpx.AsyncClient, operator: httpx.AsyncClient, parts: wiring.Services
) -> None:
    parts.store = None
    checks = [check["name"] for check in (await anonymous.get("/readyz")).json()["checks"]]
    assert [name for name in checks if name.startswith("destination")] == ["destination platform"]
    await operator.post("/v1/destinations/store/pause", json={"why": "the store moves"})
    checks = [check["name"] for check in (await anonymous.get("/readyz")).json()["checks"]]
    assert "destination store" in checks


async def test_an_unmigrated_database_is_not_ready(anonymous: httpx.AsyncClient, sql: Sql) -> None:
    await sql("DELETE FROM alembic_version")
    ready = await anonymous.get("/readyz")
    assert ready.status_code == 503
    assert "relay migrate" in ready.text


async def test_metrics_count_by_route_and_never_by_path(store: httpx.AsyncClient, sql: Sql) -> None:
    jobs = await accept(store, 1, 2)
    await kill(sql, jobs[0])
    await store.post("/v1/events/customers", content=b"{")
    await store.get("/somewhere/with/a/secret")
    scraped = (await store.get("/metrics")).text
    assert 'relay_messages_total{kind="customers",status="accepted"} 2.0' in scraped
    assert 'relay_messages_total{kind="customers",status="refused"} 1.0' in scraped
    assert 'relay_jobs_waiting{destination="platform"} 1.0' in scraped
    assert 'relay_jobs_dead{destination="platform",reason_code="rejected_by_destination"} 1.0' in scraped
    assert 'relay_jobs_dead{destination="store",reason_code=""} 0.0' in scraped
    assert 'route="/v1/events/customers",status="202"' in scraped
    assert 'route="/v1/events/{message_id}",status="200"' in scraped
    assert "relay_database_up 1.0" in scraped
    assert "secret" not in scraped
    assert jobs[0]["message_id"] not in scraped


def test_every_state_has_a_text_and_a_next_step() -> None:
    for state in ("waiting", "running", "done", "skipped", "superseded", "dead", "dropped"):
        for disposition in (None, "retry", "unknown", "rejected", "exhausted", "new"):
            for reason in (None, HTTP_422, because(ReasonCode.UNSPECIFIED)):
                assert all(job_texts(state, disposition, reason, "open"))
        assert message_text([state])[0] != "stored"
    assert message_text([])[0] == "stored"
    assert message_text(["done", "dead"])[0] == "needs_attention"


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_a_time_outside_of_the_years_1_to_9999_is_rejected(operator: httpx.AsyncClient, moment: str) -> None:
    answers = [
        await operator.post("/v1/jobs/retry", json={"before": moment}),
        await operator.post("/v1/reconciliations", json={"since": moment}),
        await operator.post(
            "/v1/imports",
            params={"kind": "customers", "as_of": moment},
            content=b"id\n1\n",
            headers={"content-type": "text/csv"},
        ),
    ]
    assert [answer.status_code for answer in answers] == [422] * 3
    assert (await operator.post("/v1/jobs/retry", json={"before": "0001-01-01T00:00:00Z"})).json()["jobs"] == 0


async def test_metrics_do_not_read_a_database_that_the_process_waits_for(
    anonymous: httpx.AsyncClient, parts: wiring.Services
) -> None:
    parts.waiting_for = because(ReasonCode.DATABASE_MIGRATING)
    async with parts.engine.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE destination RENAME TO not_yet_there")
    answer = await anonymous.get("/metrics")
    assert answer.status_code == 200
    assert "relay_database_up 0.0" in answer.text
