"""The hot statements keep their plans: on tables that were never analysed, and on ones whose statistics are stale.

A plan that sorts or scans all lanes makes the claim's cost grow with the backlog; it was seen to cost a factor of 25.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.access import refused_requests
from platform_relay.core.chunks import IN_ORDER
from platform_relay.core.ids import first_id
from platform_relay.coupons import codes
from platform_relay.explain import collect, event_list
from platform_relay.history import export, forget, leave
from platform_relay.inbox import inbox, retention, same_time
from platform_relay.jobs import statistics
from platform_relay.queue import attempts, due, oldest_waiting
from platform_relay.queue.statements.claim import CLAIM, PROBE
from platform_relay.queue.statements.settle import SETTLE
from platform_relay.reconcile import difference_list, repairs, snapshots
from tests.helpers import eventually

from .engine_room import NOON, accept, claim, order, rows, run

FILL = """
INSERT INTO lane (destination, key, run_at, fencing_token, leased, has_dependents, priority, open_jobs, last_seq)
SELECT 'platform', 'order:' || n, now() - n * interval '1 ms', 0, false, false, 0, (n % 3 <> 0)::int, 1
FROM generate_series(1, 30000) AS n;
INSERT INTO message (id, source, kind, dedupe_key, body, received_at)
SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'store', 'orders', n::text, '{}', now()
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


def assert_keys_are_looked_up(explained: Node) -> None:
    """Lanes and entities, one by one: a plan that reads all of a destination's is kept when the tables grow."""
    for node in nodes(explained):
        if node.get("Relation Name") in ("lane", "entity") and node["Node Type"].endswith("Scan"):
            condition = node.get("Index Cond") or node.get("Recheck Cond", "")
            assert "key = " in condition or "run_at" in condition, node


CLAIMED: Mapping[str, object] = {"destination": "platform", "priority": 0, "limit": 64, "lease": 30.0, "since": NOON}
FEW: Mapping[str, object] = {"busy": ["customer:1"], "share": 16}
SETTLED: Mapping[str, object] = {
    "destination": "platform",
    "lanes": ["order:1"], "tokens": [1], "ids": [None], "states": ["done"], "dispositions": [None], "codes": [None],
    "facts": [None],
    "uncertains": [False], "given_back": [0], "results": [None], "delays": [0.0], "digests": [None],
    "versions": [None], "exists_remotely": [False], "replaces": [True], "as_newests": [False],
    "seqs": [1], "collapses": [False], "numbers": [1], "durations": [1],
    "outcomes": ["done"], "statuses": [200], "attempt_codes": [None], "attempt_facts": [None], "excerpts": [None],
    "failed": [None],
}  # fmt: skip


@pytest.mark.parametrize("lanes", [0, 40, 2000])
async def test_plans_that_are_made_on_small_tables_read_no_more_when_they_grow(engine: AsyncEngine, lanes: int) -> None:
    for start in range(0, lanes, 500):
        await accept(engine, *(order(str(number)) for number in range(start, min(start + 500, lanes))))
    for statement, parameters in ((CLAIM, {**CLAIMED, **FEW}), (SETTLE, SETTLED)):
        explained = await plan(engine, statement, parameters)
        assert_keys_are_looked_up(explained)
        assert_jobs_are_looked_up(explained)


async def test_the_claim_walks_its_index(filled: AsyncEngine) -> None:
    explained = await plan(filled, CLAIM, {**CLAIMED, **FEW})
    assert ("Seq Scan", "job") not in scans(explained), scans(explained)
    assert not {("Seq Scan", table) for table in HOT_TABLES} & scans(explained), scans(explained)
    due = next(node for node in nodes(explained) if node.get("Index Name") == "ix_lane_due")
    assert due["Node Type"] == "Index Scan"
    assert_jobs_are_looked_up(explained)
    assert_keys_are_looked_up(explained)
    assert not [n for n in nodes(explained) if n["Node Type"] == "Sort" and "lane.run_at" in str(n.get("Sort Key"))]


async def test_the_look_for_due_work_reads_the_first_lane_of_each_priority(filled: AsyncEngine) -> None:
    explained = await plan(filled, due.DUE, {"destinations": ["platform", "store"]})
    lanes = [node for node in nodes(explained) if node.get("Relation Name") == "lane"]
    assert [node.get("Index Name") for node in lanes] == ["ix_lane_due"]
    assert lanes[0]["Node Type"] == "Index Scan"
    assert not [node for node in nodes(explained) if node["Node Type"] == "Sort"]


async def test_a_probe_reads_a_few_lanes_of_the_backlog(filled: AsyncEngine) -> None:
    parameters = {"destination": "platform", "lease": 30.0, "probes": 3, "interval": 2.0, "candidates": 50}
    explained = await plan(filled, PROBE, parameters)
    assert not {("Seq Scan", table) for table in HOT_TABLES} & scans(explained), scans(explained)
    assert_jobs_are_looked_up(explained)
    due = [node for node in nodes(explained) if node.get("Index Name") == "ix_lane_due"]
    assert {node.get("Scan Direction") for node in due} == {"Forward", "Backward"}, due
    assert not [n for n in nodes(explained) if n["Node Type"] == "Sort" and "run_at" in str(n.get("Sort Key"))]


async def test_the_settle_looks_up_what_it_names(filled: AsyncEngine) -> None:
    explained = await plan(filled, SETTLE, SETTLED)
    assert not {("Seq Scan", table) for table in HOT_TABLES} & scans(explained), scans(explained)
    assert_jobs_are_looked_up(explained)
    assert_keys_are_looked_up(explained)


async def test_the_oldest_work_is_found_by_the_lanes_heads(filled: AsyncEngine) -> None:
    explained = await plan(filled, oldest_waiting.FIRST, {"destination": "platform"})
    assert not {("Seq Scan", table) for table in HOT_TABLES} & scans(explained), scans(explained)
    assert_jobs_are_looked_up(explained)


LAST_MINUTES: dict[str, tuple[TextClause, Mapping[str, object]]] = {
    "the last hour": (statistics.MINUTES, {"since": NOON, "until": NOON + timedelta(minutes=10)}),
    "the last minute": (statistics.DESTINATIONS, {}),
}


@pytest.mark.parametrize("name", LAST_MINUTES)
async def test_the_last_minutes_are_found_by_their_ends(filled: AsyncEngine, name: str) -> None:
    explained = await plan(filled, *LAST_MINUTES[name])
    assert not {("Seq Scan", table) for table in HOT_TABLES} & scans(explained), scans(explained)
    assert any(node.get("Index Name") == "ix_job_finished_at" for node in nodes(explained)), list(nodes(explained))


WALK: Mapping[str, object] = {"after": UUID(int=0), "before": NOON, "newest": first_id(NOON)}


async def test_the_retention_reads_no_young_bodies(filled: AsyncEngine) -> None:
    explained = await plan(filled, retention.OLD, {**WALK, "chunk": 500})
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
DIFFERENCES = {"id": UUID(int=1), "cause": None, "kind": None, "entity_id": None}
AFTER = {"after_kind": "orders", "after_id": "1", "limit": 26}
EXPLAINS: dict[str, tuple[TextClause, Mapping[str, object]]] = {
    **{f"by {column}": (statement, {"key": "x", "limit": 51}) for column, statement in collect.BY_REF.items()},
    "by id": (collect.BY_ID, {"ids": [UUID(int=1)], "limit": 51}),
    "by e-mail": (collect.BY_EMAIL, {"email": "jane@example.com", "marks": [b"m"]}),
    "a page of events by time": (
        event_list.BY_TIME,
        {**EVENT_FILTERS, "before": first_id(NOON)},
    ),
    "a page of events by ids": (event_list.BY_IDS, {**EVENT_FILTERS, "ids": [UUID(int=1)]}),
    "events about one thing": (
        event_list.ABOUT,
        {
            "keys": ["1"],
            "codes": ["ab12"],
            "ids": [UUID(int=1)],
            "before": first_id(NOON),
            "since": first_id(NOON),
            "window": 51,
        },
    ),
    "messages of jobs": (event_list.MESSAGES_OF_JOBS, {"ids": [UUID(int=1)]}),
    "last attempts of a page of events": (event_list.LAST_ATTEMPTS, {"ids": [UUID(int=1)]}),
    "jobs of selected events": (event_list.SELECTED, {"ids": [UUID(int=1)], "before": None}),
    "refused requests": (refused_requests.LIST, {"before": first_id(NOON), "oldest": first_id(NOON), "limit": 51}),
    "counts of refused requests": (refused_requests.COUNTS, {"oldest": first_id(NOON)}),
    "jobs": (collect.JOBS, {"ids": [UUID(int=1)]}),
    "open jobs": (collect.OPEN, {"destinations": ["platform"], "lanes": ["order:1"]}),
    "attempts": (collect.ATTEMPTS, {"ids": [UUID(int=1)]}),
    "versions of one time": (
        same_time.NEWEST,
        {
            "sources": ["woocommerce"],
            "prefixes": ["orders:1:t:"],
            "marks": [1],
            "kinds": ["orders"],
            "refs": ["1"],
            "job_kinds": ["forward_order"],
            "keys": ["k"],
        },
    ),
    "first receipts": (inbox.FIRST, {"key_digests": [UUID(int=1)]}),
    "open fetches": (same_time.FETCHES, {"destinations": ["store"], "lanes": ["fetch:orders:1"]}),
    "delivered before the history": (collect.DELIVERED, {"lanes": ["order:1"]}),
    "old messages": (leave.OLD, {"after": UUID(int=0), "newest": first_id(NOON), "before": NOON, "chunk": 500}),
    "locks of old messages": (leave.LOCK_MESSAGES, {"ids": [UUID(int=1)]}),
    "locks of old jobs": (leave.LOCK_JOBS, {"ids": [UUID(int=1)], "before": NOON}),
    "locks of old attempts": (attempts.BUSY, {"jobs": [UUID(int=1)]}),
    "whole messages": (leave.WHOLE, {"ids": [UUID(int=1)], "locked": [UUID(int=1)]}),
    "what leaves": (leave.DELETE, {"ids": [UUID(int=1)], "locked": [UUID(int=1)]}),
    "an export": (export.EXPORTED, {"ids": [UUID(int=1)]}),
    "coupons": (collect.COUPONS, {"codes": ["ab12"]}),
    "a code's other spelling": (codes.SIMILAR_CODE, {"code": "ab12"}),
    "coupons of a customer": (collect.COUPONS_OF, {"key": "42", "limit": 50}),
    "audit": (collect.AUDIT, {"subjects": ["ab12"]}),
    **{
        f"reconcile {kind}": (statement, {"refs": ["1"], "digests": [UUID(int=1)]})
        for kind, statement in snapshots.RELAY_SNAPSHOTS.items()
    },
    "a page of differences": (difference_list.LIST, {**DIFFERENCES, **AFTER, "repaired": None}),
    "differences by cause": (difference_list.GROUPS, DIFFERENCES),
    "open differences": (repairs.OPEN, {**DIFFERENCES, **AFTER}),
    "the preview of a repair": (repairs.FOUND, DIFFERENCES),
}
KEYS = {
    "message": ("id", "customer_ref", "order_ref", "product_ref", "coupon_ref", "version_mark", "left", "email_mark"),
    "dedupe_digest": ("key",),
    "refused_request": ("id",),
    "job": ("id", "message_id", "lane"),
    "attempt": ("job_id",),
    "lane": ("key",),
    "entity": ("key",),
    "coupon": ("code", "customer_ref"),
    "audit": ("subject",),
    "difference": ("reconciliation_id",),
    "history_count": ("kind",),
}
"""What every look at a table has to be led by, so that history does not count."""


@pytest.mark.parametrize("name", EXPLAINS)
async def test_a_look_at_one_thing_reads_that_thing(filled: AsyncEngine, name: str) -> None:
    explained = await plan(filled, *EXPLAINS[name])
    looked = [node for node in nodes(explained) if node["Node Type"].endswith("Scan") and "Index Cond" in node]
    assert not {node["Relation Name"] for node in nodes(explained) if "Relation Name" in node} & {
        node["Relation Name"] for node in nodes(explained) if node["Node Type"] == "Seq Scan"
    }, scans(explained)
    no_reads = ("Bitmap Heap Scan", "ModifyTable")
    reads = [node for node in nodes(explained) if "Relation Name" in node and node["Node Type"] not in no_reads]
    for node in reads:
        condition = str(node.get("Index Cond"))
        assert any(key in condition for key in KEYS[node["Relation Name"]]), (
            node["Relation Name"],
            node.get("Index Name"),
            condition,
            node.get("Filter"),
        )
    assert looked


async def test_old_digests_are_read_by_the_page(filled: AsyncEngine) -> None:
    explained = await plan(filled, forget.FORGET, {"first": "(0,0)", "last": "(64,0)", "newest": first_id(NOON)})
    assert ("Tid Range Scan", "dedupe_digest") in scans(explained), scans(explained)
    assert not [scan for scan in scans(explained) if scan[0] == "Seq Scan"]


def read_rows(explained: Node) -> dict[str, int]:
    """How many rows the executed plan read of each table."""
    read: dict[str, int] = {}
    for node in nodes(explained):
        if "Relation Name" in node and node["Node Type"].endswith("Scan"):
            rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            read[node["Relation Name"]] = read.get(node["Relation Name"], 0) + int(rows * node["Actual Loops"])
    return read


async def test_a_chunk_that_leaves_reads_only_its_rows(filled: AsyncEngine) -> None:
    """Each statement is executed on 200 of 30,000 messages, in the order of a run."""
    ids = [UUID(f"00000000-0000-7000-8000-{number:012}") for number in range(3, 603, 3)]
    jobs = [UUID(f"00000000-0000-7000-8001-{number:012}") for number in range(3, 603, 3)]
    late = NOON + timedelta(days=36_500)
    await execute(
        filled,
        "INSERT INTO attempt (job_id, fencing_token, number, started_at, outcome, excerpt)"
        " SELECT id, 1, 1, now(), 'retry', 'what it answered' FROM job",
    )
    for name, statement, parameters in (
        ("bodies", retention.OLD, {**WALK, "before": late, "newest": first_id(late), "chunk": 200}),
        ("jobs of bodies", retention.JOBS, {"ids": ids}),
        ("excerpts", retention.PRUNE_EXCERPTS, {"jobs": jobs}),
        ("pruned", retention.PRUNE, {"ids": ids}),
        ("old", leave.OLD, {**WALK, "before": late, "newest": first_id(late), "chunk": 200}),
        ("messages", leave.LOCK_MESSAGES, {"ids": ids}),
        ("jobs", leave.LOCK_JOBS, {"ids": ids, "before": late}),
        ("attempts", attempts.BUSY, {"jobs": jobs}),
        ("whole", leave.WHOLE, {"ids": ids, "locked": jobs}),
        ("export", export.EXPORTED, {"ids": ids}),
        ("delete", leave.DELETE, {"ids": ids, "locked": jobs}),
    ):
        async with filled.connect() as connection:
            await connection.exec_driver_sql("SET plan_cache_mode = force_generic_plan")
            await connection.execute(IN_ORDER)
            analyzed = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.text}")
            [explained] = (await connection.execute(analyzed, parameters)).scalar_one()
            await connection.rollback()
        read = read_rows(explained["Plan"])
        assert read, name
        assert all(count <= 1200 for count in read.values()), (name, read)


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
