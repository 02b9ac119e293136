"""Every list of the API has one shape and one way to page. The OpenAPI document names the lists; each needs rows here."""

import base64
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final  # Any: JSON
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.access.refused_requests import Refused, RefusedRequests
from platform_relay.api.paging import DEFAULT_LIMIT, MAX_LIMIT
from platform_relay.inbox.events import EventKind
from platform_relay.reconcile.differences import Difference
from platform_relay.reconcile.runs import Reconciliations
from platform_relay.setting_groups import StoreSettings
from platform_relay.settings import Settings

ROWS: Final = 4
Numbers = range
Add = Callable[["Seeds", Numbers], Awaitable[None]]


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("WOOCOMMERCE__URL", "http://127.0.0.1:1")
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_KEY", "ck_simulator_key")
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_SECRET", "cs_simulator_key")
    return settings.model_copy(update={"store": StoreSettings(adapter="woocommerce")})


class Seeds:
    """Adds rows to the lists."""

    def __init__(self, store: httpx.AsyncClient, operator: httpx.AsyncClient, engine: AsyncEngine) -> None:
        self.store, self.operator, self.engine = store, operator, engine
        self.reconciliation: UUID | None = None

    async def jobs(self, numbers: Numbers) -> None:
        for number in numbers:
            (await self.store.post("/v1/events/customers", json={"id": number})).raise_for_status()

    async def trial_jobs(self, numbers: Numbers) -> None:
        await self.jobs(numbers)
        async with self.engine.begin() as connection:
            for statement in (
                "INSERT INTO trial (id, started_at) VALUES (1, now() - interval '1 hour') ON CONFLICT DO NOTHING",
                "UPDATE job SET state = 'skipped', reason_code = 'shadow', facts = '{}', finished_at = now()",
            ):
                await connection.execute(text(statement))

    async def coupons(self, numbers: Numbers) -> None:
        """Those of one call have the same time of creation."""
        async with self.engine.begin() as connection:
            for number in numbers:
                await connection.execute(
                    text(
                        "INSERT INTO coupon (code, message_id, customer_ref, state, rule_edited, received_at, created_at,"
                        " updated_at) VALUES (:code, gen_random_uuid(), '42', 'held', false, now(), now(), now())"
                    ),
                    {"code": f"code {number} é:/?"},
                )

    async def destinations(self, numbers: Numbers) -> None:
        async with self.engine.begin() as connection:
            for number in numbers:
                await connection.execute(
                    text(
                        "INSERT INTO destination (name, state, since, failures, next_call_at)"
                        " VALUES (:name, 'open', now(), 0, now())"
                    ),
                    {"name": f"zone-{number}"},
                )

    async def reward_rules(self, numbers: Numbers) -> None:
        for number in numbers:
            for _ in range(2):  # two versions
                answer = await self.operator.put(f"/v1/reward-rules/rule-{number}", json={"kind": "free_shipping"})
                answer.raise_for_status()
        (await self.operator.put("/v1/reward-rules/rule-1a", json={"kind": "free_shipping"})).raise_for_status()
        (await self.operator.delete("/v1/reward-rules/rule-1a")).raise_for_status()

    async def refused_requests(self, numbers: Numbers) -> None:
        refused = RefusedRequests(self.engine)
        for number in numbers:
            refused.note(Refused(datetime.now(UTC), None, "POST", f"/v1/route-{number}", 401, "key-missing"))
        await refused.aclose()

    async def imports(self, numbers: Numbers) -> None:
        headers = {"content-type": "text/csv"}
        for number in numbers:
            file = f"id,email\n{number},a{number}@example.com\n"
            (await self.operator.post("/v1/imports?kind=customers", content=file, headers=headers)).raise_for_status()

    async def reconciliations(self, numbers: Numbers) -> None:
        for _ in numbers:
            (await self.operator.post("/v1/reconciliations", json={})).raise_for_status()

    async def differences(self, numbers: Numbers) -> None:
        runs = Reconciliations(self.engine)
        if self.reconciliation is None:
            self.reconciliation = await runs.request("operator", None)
        found = [Difference(EventKind.ORDER, f"{number}:é", "never_sent", "it is missing") for number in numbers]
        await runs.add_differences(self.reconciliation, found)


LISTS: Final[dict[str, tuple[Add, str]]] = {
    "/v1/refused-requests": (Seeds.refused_requests, "id"),
    "/v1/events": (Seeds.jobs, "id"),
    "/v1/jobs": (Seeds.jobs, "id"),
    "/v1/coupons": (Seeds.coupons, "code"),
    "/v1/destinations": (Seeds.destinations, "name"),
    "/v1/reward-rules": (Seeds.reward_rules, "id"),
    "/v1/imports": (Seeds.imports, "id"),
    "/v1/trial/jobs": (Seeds.trial_jobs, "id"),
    "/v1/reconciliations": (Seeds.reconciliations, "id"),
    "/v1/reconciliations/{reconciliation_id}/differences": (Seeds.differences, "entity_id"),
}
"""How rows are added to each list, and the field that identifies a row."""


@pytest.fixture
def seeds(store: httpx.AsyncClient, operator: httpx.AsyncClient, engine: AsyncEngine) -> Seeds:
    return Seeds(store, operator, engine)


async def address(seeds: Seeds, path: str) -> str:
    """The URL of the list, which has `ROWS` rows or more."""
    add, _ = LISTS[path]
    await add(seeds, range(1, ROWS + 1))
    return path.replace("{reconciliation_id}", str(seeds.reconciliation))


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return document["components"]["schemas"][reference.rpartition("/")[2]] if reference else schema


def success_schemas(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Method, path, operation and schema of every JSON response with a status of 200 to 299."""
    return [
        (method, path, operation, resolved(document, media["application/json"].get("schema", {})))
        for path, item in document["paths"].items()
        for method, operation in item.items()
        for status, response in operation["responses"].items()
        if status.startswith("2") and "application/json" in (media := response.get("content", {}))
    ]


async def test_every_list_has_the_shape_and_the_parameters(anonymous: httpx.AsyncClient) -> None:
    document = (await anonymous.get("/openapi.json")).json()
    schemas = success_schemas(document)
    assert [(method, path) for method, path, _, schema in schemas if schema.get("type") == "array"] == []
    lists = {
        path: (operation, schema)
        for method, path, operation, schema in schemas
        if method == "get" and ("items" in schema.get("properties", {}) or operation["operationId"].startswith("list_"))
    }
    assert sorted(lists) == sorted(LISTS), "add the rows of a new list to LISTS"
    paged = [
        path
        for path, item in document["paths"].items()
        for operation in item.values()
        if {"cursor", "limit"} & {parameter["name"] for parameter in operation.get("parameters", ())}
    ]
    assert sorted(paged) == sorted(LISTS)
    for path, (operation, schema) in lists.items():
        assert (schema["title"].endswith("Page"), sorted(schema["properties"])) == (True, ["items", "next_cursor"]), (
            path
        )
        parameters = {parameter["name"]: parameter for parameter in operation["parameters"]}
        limit = parameters["limit"]["schema"]
        assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, MAX_LIMIT, DEFAULT_LIMIT), path
        assert str(MAX_LIMIT) in parameters["limit"]["description"]
        assert not parameters["cursor"]["required"]


@pytest.mark.parametrize("path", LISTS)
async def test_every_row_comes_once_also_when_rows_are_added(path: str, seeds: Seeds) -> None:
    add, key = LISTS[path]
    url = await address(seeds, path)
    complete = (await seeds.store.get(url)).json()
    assert complete["next_cursor"] is None
    before = [row[key] for row in complete["items"]]
    assert len(before) >= ROWS
    seen: list[str] = []
    cursor: str | None = None
    for turn in range(100):
        page = (await seeds.store.get(url, params={"limit": 1, **({"cursor": cursor} if cursor else {})})).json()
        assert len(page["items"]) == 1
        seen += [row[key] for row in page["items"]]
        if turn in (0, 2):
            await add(seeds, range(10 * (turn + 1), 10 * (turn + 1) + 2))
        if (cursor := page["next_cursor"]) is None:
            break
    assert len(seen) == len(set(seen))
    assert [row for row in seen if row in before] == before


@pytest.mark.parametrize("path", LISTS)
async def test_a_limit_out_of_range_is_rejected_and_named(path: str, seeds: Seeds) -> None:
    url = await address(seeds, path)
    assert (await seeds.store.get(url, params={"limit": MAX_LIMIT})).status_code == 200
    for limit in (MAX_LIMIT + 1, 10**30, 0, -1, "many", "", "1.5"):
        answer = await seeds.store.get(url, params={"limit": limit})
        assert answer.status_code == 422, limit
        problem = answer.json()
        assert [error["field"] for error in problem["errors"]] == ["limit"]
        assert "`limit`" in problem["detail"]
        if limit == MAX_LIMIT + 1:
            assert str(MAX_LIMIT) in problem["detail"]


@pytest.mark.parametrize("path", LISTS)
async def test_a_wrong_or_foreign_cursor_is_rejected_and_named(path: str, seeds: Seeds) -> None:
    url = await address(seeds, path)
    other = await address(seeds, next(other for other in LISTS if other != path))
    foreign = (await seeds.store.get(other, params={"limit": 1})).json()["next_cursor"]
    own = (await seeds.store.get(url, params={"limit": 1})).json()["next_cursor"]
    for cursor, words in (
        (foreign, "is a cursor of another list, not of the "),
        ("", "is not a cursor; use the `next_cursor`"),
        ("01970c5a-1c1b-7e3a-9d52-6f0b5d3c2a12", "is not a cursor"),
        ("é", "is not a cursor"),
        (own[:-5], "is not a cursor"),
        ("W10=", "is not a cursor"),  # []
        ("bnVsbA==", "is not a cursor"),  # null
    ):
        answer = await seeds.store.get(url, params={"cursor": cursor})
        assert answer.status_code == 422, cursor
        problem = answer.json()
        assert [error["field"] for error in problem["errors"]] == ["cursor"]
        assert words in problem["detail"]


async def test_a_cursor_of_another_reconciliation_is_foreign(seeds: Seeds) -> None:
    path = "/v1/reconciliations/{reconciliation_id}/differences"
    first = await address(seeds, path)
    cursor = (await seeds.store.get(first, params={"limit": 1})).json()["next_cursor"]
    seeds.reconciliation = None
    second = await address(seeds, path)
    answer = await seeds.store.get(second, params={"cursor": cursor})
    assert answer.status_code == 422
    assert "is a cursor of another list" in answer.json()["detail"]


@pytest.mark.parametrize(
    "position",
    [
        '["x"]',
        '["0001-01-01T00:00:00+14:00","a"]',
        '["2026-01-01T00:00:00","a"]',
        '["2026-01-01T00:00:00Z","\\u0000"]',
        '["2026-01-01T00:00:00Z","\\ud800"]',
    ],
)
async def test_a_forged_position_is_rejected(position: str, store: httpx.AsyncClient) -> None:
    cursor = base64.urlsafe_b64encode(f'["coupons",{position}]'.encode()).decode()
    answer = await store.get("/v1/coupons", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor")
