"""An erased customer is in no text of the database: not in another customer's attempts, not behind JSON escapes or umlauts."""

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any  # Any: a JSON value

import pytest
import uuid_utils.compat
from sqlalchemy import Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.cli.imports import RejectedRows
from platform_relay.core.database import create_engine
from platform_relay.core.encryption import KeyRing
from platform_relay.core.models import Base
from platform_relay.imports.files import FileRow
from platform_relay.jobs.actions import OperatorActions
from platform_relay.privacy.erase import ErasureReceipt, erase
from platform_relay.privacy.identity import CustomerIdentity
from platform_relay.privacy.sweep import decoded, sweep, swept_columns
from tests.explain.scene import Scene, answered

EMAIL = "Freund@zqmüller.de"
SPELLED = (
    "freund@zqmüller.de",
    "FREUND@ZQMÜLLER.DE",
    "freund\\u0040zqm\\u00fcller.de",
    "\\u0046reund@zqm\\u00DCller.de",
)
NO_CUSTOMER = {
    "actor", "cause", "code", "coupon_ref", "created_by", "currency", "customer_ref", "dedupe_key", "depends_on",
    "destination", "disposition", "encrypted_with", "entity_id", "id", "key", "kind", "lane", "mapping", "name",
    "order_ref", "outcome", "owner", "product_ref", "reason_code", "redemption_id", "released_by", "repair", "rule_id",
    "source", "state", "store_id", "subject", "value_source", "verification", "waits_for",
}  # fmt: skip
"""Columns of keys, states and names. Those with the customer's own keys are emptied one by one (privacy.erase)."""


async def erased(engine: AsyncEngine, who: str = EMAIL) -> ErasureReceipt:
    return await erase(engine, OperatorActions(engine), who, "t", patience=5)


async def dump(engine: AsyncEngine) -> str:
    """Everything that the tables hold, decoded."""
    parts = []
    async with engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            for column in table.columns:
                shown = (
                    f"convert_from({column.name}, 'UTF8')"
                    if column.name in ("body", "event")
                    else f"CAST({column.name} AS text)"
                )
                rows = await connection.execute(text(f"SELECT {shown} FROM {table.name}"))  # noqa: S608  # our own names
                parts += [str(value) for (value,) in rows if value is not None]
    return decoded("\n".join(parts))


@pytest.mark.parametrize("spelled", SPELLED)
async def test_an_address_in_other_peoples_messages_and_attempts_is_removed(engine: AsyncEngine, spelled: str) -> None:
    scene = Scene(engine)
    await scene.customer("77", email=EMAIL, firstName="Z")
    await scene.customer("88", email="other@example.com", firstName="Other")
    await scene.run(answered(422, f'{{"message": "the address belongs to {spelled}"}}'))
    raw = f'{{"id": "99", "note": "invited by {spelled}", "email": "third@example.com"}}'.encode()
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE message SET body = :raw WHERE customer_ref = '88'"), {"raw": raw})
    await erased(engine)
    left = await dump(engine)
    assert "zqmüller" not in left
    assert "third@example.com" in left


def planted(column: Any, address: str) -> Any:  # Any: a column, and its value
    value = {"response": f"belongs to {address}", address: [{"deep": address}]}
    return f"belongs to {address}" if isinstance(column.type, Text) or not isinstance(column.type, JSONB) else value


async def test_a_canary_in_every_column_of_text_is_removed(engine: AsyncEngine) -> None:
    """Rows are copies of those of a real life, without their constraints: what matters is the columns."""
    customer = CustomerIdentity((EMAIL.lower(),), (EMAIL.lower(),))
    columns = 0
    for table in Base.metadata.sorted_tables:
        swept = swept_columns(table)
        others = {
            column.name for column in table.columns
            if (isinstance(column.type, Text | JSONB) or column.type.python_type is str) and column not in swept
        }  # fmt: skip
        assert table.name == "audit" or others <= NO_CUSTOMER, (table.name, others - NO_CUSTOMER)
        columns += len(swept)
    assert columns > 15
    scene = Scene(engine)
    await scene.customer("88", email="other@example.com")
    await scene.run(answered(422, "no"))
    async with engine.begin() as connection:
        for name in ("job", "attempt"):
            table = Base.metadata.tables[name]
            values = {column.name: planted(column, SPELLED[0]) for column in swept_columns(table)}
            await connection.execute(table.update().values(values))
    changed = await sweep(engine, customer)
    assert (changed["job"], changed["attempt"]) == (1, 1)
    assert "zqmüller" not in await dump(engine)
    assert set((await sweep(engine, customer)).values()) == {0}


async def test_encrypted_excerpts_are_searched_as_well(database_url: str) -> None:
    ring = KeyRing.parse(f"a:{base64.b64encode(os.urandom(32)).decode()}")
    engine = create_engine(database_url, application_name="test", body_keys=ring)
    try:
        scene = Scene(engine)
        await scene.customer("88", email="other@example.com")
        await scene.run(answered(422, f"belongs to {EMAIL}"))
        await scene.customer("89", email="another@example.com")
        await scene.run(answered(422, "belongs to nobody"))
        await erased(engine)
        async with engine.connect() as connection:
            rows = (
                await connection.execute(text("SELECT job_id, excerpt FROM attempt WHERE excerpt IS NOT NULL"))
            ).all()
        assert ["nobody" in ring.decrypt_text(*row) for row in rows] == [True]
    finally:
        await engine.dispose()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_the_file_of_rejected_rows_has_the_mode_of_its_source(tmp_path: Path, mode: int) -> None:
    source = tmp_path / "people.csv"
    source.write_text("id\n")
    source.chmod(mode)
    rejected = RejectedRows(source)
    rejected.write(FileRow(1, 3, {"email": EMAIL}), "wrong")
    rejected.close()
    assert stat.S_IMODE(rejected.path.stat().st_mode) == mode
    assert json.loads(rejected.path.read_text())["values"] == {"email": EMAIL}


async def test_the_receipt_names_the_files_of_rejected_rows(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO import_run (id, digest, kind, mapping, name, actor, state, size, position, rows, accepted,"
                " duplicates, newer, rejected, problems, created_at, heartbeat_at) VALUES (:id, '\\x00', 'customers', '{}',"
                " 'people.csv', 't', 'done', 1, 1, 1, 0, 0, 0, 1, '[]', now(), now())"
            ),
            {"id": uuid_utils.compat.uuid7()},
        )
    receipt = await erased(engine)
    assert any("people.csv.rejected.ndjson" in step for step in receipt.next_steps)
