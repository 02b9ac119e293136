"""A relay of three cells: two schemas of one database, and a schema of another."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app import wiring
from app.cells import place
from app.engine.decide import decide
from app.engine.queue import Queue
from app.outcomes import Reject
from app.settings import CellSettings, PlatformSettings, Settings
from tests.api.served import DOOR_SECRET, OPERATOR_KEY, STORE_KEY, serving
from tests.database.engine_room import settle
from tests.helpers import free_port


def settings_of(folder: Path, *cells: tuple[str, str]) -> Settings:
    """Of cells given as (URL, schema)."""
    return Settings(
        _env_file=None,
        data_dir=folder,
        cells=tuple(CellSettings.model_validate({"url": url, "schema": schema}) for url, schema in cells),
        store_key=SecretStr(STORE_KEY),
        operator_key=SecretStr(OPERATOR_KEY),
        platform=PlatformSettings(door_secret=SecretStr(DOOR_SECRET)),
    )


@pytest.fixture
def settings(tmp_path: Path, database_url: str, empty_database_url: str) -> Settings:
    return settings_of(tmp_path, (database_url, "cell_1"), (database_url, "cell_2"), (empty_database_url, "cell_3"))


@pytest.fixture
def lacking(tmp_path: Path, database_url: str) -> Settings:
    """The third cell's server is away."""
    nowhere = f"postgresql://relay@127.0.0.1:{free_port()}/relay"
    return settings_of(tmp_path, (database_url, "cell_1"), (database_url, "cell_2"), (nowhere, "cell_3"))


@pytest.fixture
async def web(settings: Settings) -> AsyncIterator[tuple[wiring.Services, str]]:
    await wiring.migrated(settings, "")
    async with serving(settings, "") as running:
        yield running


@pytest.fixture
async def operator(web: tuple[wiring.Services, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(web[1]) as client:
        yield client


def calling(url: str, key: str = OPERATOR_KEY) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=20)


def customer_in(cell: int, begin: int = 0) -> str:
    """The first id from `begin` whose customer goes to that cell, from 1."""
    return next(str(number) for number in range(begin, begin + 1000) if place(f"customer:{number}", 3) == cell - 1)


async def hold_coupons(operator: httpx.AsyncClient, parts: wiring.Services) -> None:
    """In each cell a held coupon: `code-1` worth 1 EUR, and so on."""
    for cell, engine in enumerate(parts.engines, 1):
        code, person = f"code-{cell}", customer_in(cell)
        body = {"id": f"r-{cell}", "couponCode": code, "customer": {"externalId": person}, "points": 100}
        answer = await operator.post(
            f"/v1/webhooks/platform/{DOOR_SECRET}", json=body, headers={"x-webhook-topic": "points/redeemed"}
        )
        async with engine.begin() as connection:
            made = """INSERT INTO coupon (code, message_id, customer_ref, kind, value, currency, rule_edited, state,
                          received_at, created_at, updated_at)
                      VALUES (:code, :message, :person, 'fixed_amount', :value, 'EUR', false, 'held', now(), now(), now())"""
            await connection.execute(
                text(made), {"code": code, "message": answer.json()["id"], "person": person, "value": cell}
            )


async def give_up(operator: httpx.AsyncClient, parts: wiring.Services, cell: int, begin: int = 0) -> str:
    """A customer of that cell, whom the Platform refused; the job's id."""
    engine = parts.engines[cell - 1]
    answer = await operator.post("/v1/events/customers", json={"id": customer_in(cell, begin)})
    assert answer.status_code == 202, answer.text
    [job] = await Queue(engine, "platform").claim(1, lease=30)
    await settle(engine, [job], decide(Reject("the tier is unknown"), job, wiring.retry_policy(parts.settings), 0.5))
    return str(job.id)


def line(kind: str, **event: object) -> str:
    """One of a batch."""
    return json.dumps({"type": kind, "event": event})
