"""The hot statements keep their plans: on tables that were never analysed, and on ones whose statistics are stale.

A plan that sorts or scans all lanes makes the claim's cost grow with the backlog; it was seen to cost a factor of 25.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.access import refused_requests
from platform_relay.core.ids import first_id
from platform_relay.coupons import codes
from platform_relay.explain import collect, event_list
from platform_relay.inbox import retention, same_time
from platform_relay.queue import oldest_waiting, statements
from platform_relay.reconcile import snapshots
from tests.helpers import eventually

from .engine_room import NOON, accept, claim, order, rows, run

FILL = """
INSERT INTO lane (destination, key, run_at, fencing_token, leased, has_dependents, priority, open_jobs, last_seq)
SELECT 'platform', 'order:' || n, now() - n * interval '1 ms', 0, false, false, 0, (n % 3 <> 0)::int, 1
FROM generate_series(1, 30000) AS n;
INSERT INTO message (id, source, kind, dedupe_key, body, body_hash, received_at)
SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'store', 'orders', n::text, '{}', '\\x00', now()
FROM generate_series(1, 30000) AS n;
INSERT INTO job (id, message_id, kind, destination, lane, seq, state, collapse, attempts, uncertain, created_at)
SELECT ('00000000-0000-7000-8001-' || lpad(n::text, 12, '0'))::uuid,
       ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'forward_order', 'platform', 'order:' || n, 1,
       CASE WHEN n % 3 = 0 THEN 'done' ELSE 'waiting' END, false, 0, false, now()
FROM generate_series(1, 30000) AS n
"""
Node = dict[str, Any]  # as EXPLAIN (FORMAT JSON) prints it
HOT_TABLES = {"lane", "job", "message", "entity"}


async def execute(engine: AsyncEngine, script: str) -> None:
    async with engine.begin() as connection:
        for statement in script.split(";"):
            await connection.execute(text(statement))


async def plan(
    engine: AsyncEngine, statement: TextClause, parameters: Mapping[str, object], setting: TextClause | None = None
) -> Node:
    """The generic plan, the one that a prepared statement ends up with. `setting` is executed first in the transaction."""
    async with engine.connect() as connection:
        if setting is not None:
            await connection.execute(setting)
        await connection.exec_driver_sql("SET plan_cache_mode = force_generic_plan")
        result = await connection.execute(text(f"EXPLAIN (FORMAT JSON) {statement.text}"), parameters)
        [explained] = result.scalar_one()
        found: Node = explained["Plan"]
        return found


def nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("Plans", ()):
        yield from nodes(child)


def scans(node: Node) -> set[tuple[str, str]]:
    return {(each["Node Type"], each["Relation Name"]) for each in nodes(node) if "Relation Name" in each}


QUIET = """
UPDATE job SET state = 'done', finished_at = now(); UPDATE lane SET open_jobs = 0;
ANALYZE lane; ANALYZE job; ANALYZE message; ANALYZE entity;
UPDATE job SET state = 'waiting', finished_at = NULL; UPDATE lane SET open_jobs = 1
"""
"""The statistics of a moment without open jobs, and 30,000 jobs since: Postgres takes the index of open jobs for an
empty one, and reads all of it for each job that is settled. Seen: a settle of seconds, then of more than a lease."""


@pytest.fixture(params=["never analysed", "stale statistics", "fresh statistics", "statistics of a quiet moment"])
async def filled(request: pytest.FixtureRequest, engine: AsyncEngine) -> AsyncEngine:
    await execute(
        engine, "ALTER TABLE lane SET (autovacuum_enabled = false); ALTER TABLE job SET (autovacuum_enabled = false)"
    )
    if request.param == "stale statistics":
        await accept(engine, order("first"))
        await execute(engine, "ANALYZE lane; ANALYZE job; ANALYZE message; ANALYZE entity")
    await execute(engine, FILL)
    if request.param == "fresh statistics":
        await execute(engine, "ANALYZE lane; ANALYZE job; ANALYZE message; ANALYZE entity")
    if request.param == "statistics of a quiet moment":
        await execute(engine, QUIET)
    return engine


def assert_jobs_are_looked_up(explained: Node) -> None:
    """By their lane or their id: a walk over all open jobs costs more the longer the backlog is."""
    reads = [node for node in nodes(explained) if node.get("Relation Name") == "job" and "Scan" in node["Node Type"]]
    assert reads
    for node in reads:
        condition = node.get("Index Cond") or node.get("Recheck Cond", "")
        assert "lane = " in condition or "id = " in condition, node


async def test_the_claim_walks_its_index(filled: AsyncEngine) -> None:
    explained = await plan(
        filled,
        statements.CLAIM,
        {"destination": "platform", "priority": 0, "limit": 64, "lease": 30.0, "since": NOON}
        | {"busy": ["customer:1"], "share": 16},
    )
    assert ("Seq Scan", "job") not in scans(explained), scans(explained)
    assert not {("Seq Scan", table) for table in HOT_TABLES} & scans(explained), scans(explained)
    due = next(node for node in nodes(explained) if node.get("Index Name") == "ix_lane_due")
    assert due["Node Type"] == "Index Scan"
    assert_jobs_are_looked_up(explained)
    assert not [n for n in nodes(explained) if n["Node Type"] == "Sort" and "lane.run_at" in str(n.get("Sort Key"))]


async def test_a_probe_reads_a_few_lanes_of_the_backlog(filled: AsyncEngine) -> None:
    parameters = {"destination": "platform", "lease": 30.0, "probes": 3, "interval": 2.0, "candidates": 50}
    explained = await plan(filled, statements.PROBE, parameters)
    assert not {("Seq Scan", table) for table in HOT_TABLES} & scans(explained), scans(explained)
    assert_jobs_are_looked_up(explained)
    due = [node for node in nodes(explained) if node.get("Index Name") == "ix_lane_due"]
    assert {node.get("Scan Direction") for node in due} == {"Forward", "Backward"}, due
    assert not [n for n in nodes(explained) if n["Node Type"] == "Sort" and "run_at" in str(n.get("Sort Key"))]


async def test_the_settle_looks_up_what_it_names(filled: AsyncEngine) -> None:
    names = {
        "lanes": ["order:1"], "tokens": [1], "ids": [None], "states": ["done"], "dispositions": [None], "codes": [None],
        "facts": [None],
        "uncertains": [False], "given_back": [0], "results": [None], "delays": [0.0], "digests": [None],
        "versions": [None], "exists_remotely": [False], "replaces": [True], "as_newests": [False],
        "seqs": [1], "collapses": [False], "numbers": [1], "durations": [1],
        "outcomes": ["done"], "statuses": [200], "attempt_codes": [None], "attempt_facts": [None], "excerpts": [None],
        "failed": [None],
    }  # fmt: skip
    explained = await plan(filled, statements.SETTLE, {"destination": "platform", **names})
    assert not {("Seq Scan", table) for table in HOT_TABLES} & scans(explained), scans(explained)
    assert_jobs_are_looked_up(explained)


async def test_the_oldest_work_is_found_by_the_lanes_heads(filled: AsyncEngine) -> None:
    explained = await plan(filled, oldest_waiting.FIRST, {"destination": "platform"})
    assert not {("Seq Scan", table) for table in HOT_TABLES} & scans(explained), scans(explained)
    assert_jobs_are_looked_up(explained)


async def test_the_retention_reads_no_young_bodies(filled: AsyncEngine) -> None:
    explained = await plan(filled, retention.PRUNE, {"before": NOON, "newest": first_id(NOON), "chunk": 500})
    assert not {("Seq Scan", table) for table in HOT_TABLES} & scans(explained), scans(explained)
    assert any("id < " in node.get("Index Cond", "") for node in nodes(explained)), list(nodes(explained))


EVENT_FILTERS: Mapping[str, object] = {
    "kind": "orders",
    "source": "store",
    "reason_code": "server_error",
    "state": "dead",
    "window": 4000,
    "limit": 51,
    "since": first_id(NOON),
}
EXPLAINS: dict[str, tuple[TextClause, Mapping[str, object]]] = {
    **{f"by {column}": (statement, {"key": "x", "limit": 51}) for column, statement in collect.BY_REF.items()},
    "by id": (collect.BY_ID, {"ids": [None], "limit": 51}),
    "by e-mail": (collect.BY_EMAIL, {"email": "jane@example.com", "marks": [b"m"]}),
    "a page of events by time": (
        event_list.BY_TIME,
        {**EVENT_FILTERS, "before": first_id(NOON)},
    ),
    "a page of events by ids": (event_list.BY_IDS, {**EVENT_FILTERS, "ids": [None]}),
    "events about one thing": (
        event_list.ABOUT,
        {
            "keys": ["1"],
            "codes": ["ab12"],
            "ids": [None],
            "before": first_id(NOON),
            "since": first_id(NOON),
            "window": 51,
        },
    ),
    "messages of jobs": (event_list.MESSAGES_OF_JOBS, {"ids": [None]}),
    "last attempts of a page of events": (event_list.LAST_ATTEMPTS, {"ids": [None]}),
    "jobs of selected events": (event_list.SELECTED, {"ids": [None]}),
    "refused requests": (refused_requests.LIST, {"before": first_id(NOON), "oldest": first_id(NOON), "limit": 51}),
    "counts of refused requests": (refused_requests.COUNTS, {"oldest": first_id(NOON)}),
    "jobs": (collect.JOBS, {"ids": [None]}),
    "open jobs": (collect.OPEN, {"destinations": ["platform"], "lanes": ["order:1"]}),
    "attempts": (collect.ATTEMPTS, {"ids": [None]}),
    "versions of one time": (
        same_time.NEWEST,
        {
            "sources": ["woocommerce"],
            "prefixes": ["orders:1:t:"],
            "ends": ["orders:1:t;"],
            "kinds": ["orders"],
            "refs": ["1"],
            "job_kinds": ["forward_order"],
            "keys": ["k"],
        },
    ),
    "open fetches": (same_time.FETCHES, {"destinations": ["store"], "lanes": ["fetch:orders:1"]}),
    "coupons": (collect.COUPONS, {"codes": ["ab12"]}),
    "a code's other spelling": (codes.SIMILAR_CODE, {"code": "ab12"}),
    "coupons of a customer": (collect.COUPONS_OF, {"key": "42", "limit": 50}),
    "audit": (collect.AUDIT, {"subjects": ["ab12"]}),
    **{
        f"reconcile {kind}": (statement, {"refs": ["1"], "dedupe_keys": ["k"], "source": "woocommerce"})
        for kind, statement in snapshots.RELAY_SNAPSHOTS.items()
    },
}
KEYS = {
    "message": ("id", "customer_ref", "order_ref", "product_ref", "coupon_ref", "dedupe_key", "left", "email_mark"),
    "refused_request": ("id",),
    "job": ("id", "message_id", "lane"),
    "attempt": ("job_id",),
    "lane": ("key",),
    "entity": ("key",),
    "coupon": ("code", "customer_ref"),
    "audit": ("subject",),
}
"""What every look at a table has to be led by, so that history does not count."""


@pytest.mark.parametrize("name", EXPLAINS)
async def test_a_look_at_one_thing_reads_that_thing(filled: AsyncEngine, name: str) -> None:
    explained = await plan(filled, *EXPLAINS[name])
    looked = [node for node in nodes(explained) if node["Node Type"].endswith("Scan") and "Index Cond" in node]
    assert not {node["Relation Name"] for node in nodes(explained) if "Relation Name" in node} & {
        node["Relation Name"] for node in nodes(explained) if node["Node Type"] == "Seq Scan"
    }, scans(explained)
    reads = [node for node in nodes(explained) if "Relation Name" in node and node["Node Type"] != "Bitmap Heap Scan"]
    for node in reads:
        condition = str(node.get("Index Cond"))
        assert any(key in condition for key in KEYS[node["Relation Name"]]), (node["Relation Name"], node)
    assert looked


@pytest.mark.parametrize("statement", [event_list.MESSAGES_OF_DEAD, event_list.MESSAGES_OF_OPEN], ids=["dead", "open"])
async def test_candidates_are_read_from_a_partial_index(filled: AsyncEngine, statement: TextClause) -> None:
    explained = await plan(filled, statement, {"limit": event_list.CANDIDATES + 1}, event_list.IN_ORDER)
    read = {node.get("Index Name") for node in nodes(explained) if "Relation Name" in node}
    assert read in ({"ix_job_dead"}, {"ix_job_open"}), list(nodes(explained))


async def test_a_window_of_events_reads_no_more_than_the_window(filled: AsyncEngine) -> None:
    """Whatever the filters are: none of the 30,000 messages matches."""
    parameters = {
        **EVENT_FILTERS,
        "kind": None,
        "source": None,
        "state": "dropped",
        "before": UUID(int=(1 << 128) - 1),
        "since": UUID(int=0),
    }
    async with filled.connect() as connection:
        await connection.exec_driver_sql("SET plan_cache_mode = force_generic_plan")
        await connection.execute(event_list.IN_ORDER)
        statement = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {event_list.BY_TIME.text}")
        [explained] = (await connection.execute(statement, parameters)).scalar_one()
    read = {
        node["Relation Name"]: node["Actual Rows"] * node["Actual Loops"]
        for node in nodes(explained["Plan"])
        if "Relation Name" in node
    }
    assert read["message"] <= 4000
    assert read["job"] <= 4000


async def test_a_claim_changes_no_index(engine: AsyncEngine) -> None:
    """Its updates of lane and job are heap-only: a column of an index, or a page without room, would cost entries in six
    indexes for each event."""
    await accept(engine, *(order(str(number)) for number in range(200)))
    assert len(await claim(engine, 200)) == 200
    counted = (
        "SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname IN ('job', 'lane') ORDER BY 1"
    )

    async def counts() -> list[tuple[object, ...]]:
        await run(engine, "SELECT pg_stat_force_next_flush()")
        return await rows(engine, counted)

    async def reported() -> bool:
        return [row[1] for row in await counts()] == [200, 200]

    await eventually(reported, 10)
    assert await counts() == [("job", 200, 200), ("lane", 200, 200)]
