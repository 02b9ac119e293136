"""An erased customer is in no text of the database: not in another customer's attempts, not behind escapes, umlauts or punycode."""

import base64
import json
import os
import stat
import unicodedata
from pathlib import Path
from typing import Any  # Any: a JSON value

import pytest
import uuid_utils.compat
from sqlalchemy import Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.cli.rejected_rows import RejectedRows
from platform_relay.core.database import create_engine
from platform_relay.core.encryption import KeyRing
from platform_relay.core.models import Base
from platform_relay.forwarding.fetch import store_message
from platform_relay.imports.files import FileRow
from platform_relay.inbox.events import EventKind
from platform_relay.jobs.actions import OperatorActions
from platform_relay.privacy.erase import erase
from platform_relay.privacy.identity import CustomerIdentity
from platform_relay.privacy.receipt import ErasureReceipt
from platform_relay.privacy.spellings import address_spellings
from platform_relay.privacy.sweep import sweep, swept_columns
from platform_relay.stores.native import Unreadable, unreadable_entity
from tests.explain.scene import Scene, answered

EMAIL = "Freund@zqmüller.de"
PUNYCODE = "freund@xn--zqmller-p2a.de"
SPELLED = (
    "freund@zqmüller.de",
    "FREUND@ZQMÜLLER.DE",
    "freund\\u0040zqm\\u00fcller.de",
    "\\u0046reund@zqm\\u00DCller.de",
    unicodedata.normalize("NFD", "freund@zqmüller.de"),
    PUNYCODE,
    "Freund@XN--ZQMLLER-P2A.DE",
    "freund%40xn--zqmller-p2a.de",
    "freund%40zqm%C3%BCller.de",
    "freund&#64;zqm&uuml;ller.de",
    "freund&#x40;xn--zqmller-p2a.de",
    "freund&commat;zqmüller.de",
    "freund=40zqm=C3=BCller.de",
    "freund@zqm=\nüller.de",
    "\\\\u0066reund%2540zqm%25C3%25BCller.de",
)
NO_JSON = [spelled for spelled in SPELLED if "\\\\" not in spelled]
TYPED = (EMAIL, PUNYCODE.upper())
"""How an operator may write the address."""
NO_CUSTOMER = {
    "field", "key_name", "method", "problem", "route",  # of refused requests, which are masked
    "actor", "cancelled_by", "cause", "code", "coupon_ref", "created_by", "currency", "customer_ref", "dedupe_key", "depends_on",
    "destination", "disposition", "encrypted_with", "entity_id", "file_format", "id", "key", "kind", "lane", "mapping", "name",
    "order_ref", "outcome", "owner", "product_ref", "reason_code", "redemption_id", "released_by", "repair", "resent_to", "rule_id",
    "source", "state", "store_id", "subject", "value_source", "verification", "waits_for",
}  # fmt: skip
"""Columns of keys, states and names. Those with the customer's own keys are emptied one by one (privacy.erase)."""


async def erased(engine: AsyncEngine, who: str = EMAIL) -> ErasureReceipt:
    return await erase(engine, OperatorActions(engine), who, "t", patience=5)


async def dump(engine: AsyncEngine) -> str:
    """Everything that the tables hold, in lower case."""
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
    return "\n".join(parts).lower()


def traces(left: str) -> list[str]:
    """The parts of the address that are left. All spellings contain one of them."""
    return [part for part in ("freund", "reund", "ller.de", "zqm") if part in left]


def test_each_spelling_contains_a_trace() -> None:
    assert all(traces(spelled.lower()) for spelled in SPELLED)


@pytest.mark.parametrize("typed", TYPED)
@pytest.mark.parametrize("spelled", SPELLED)
async def test_an_address_in_other_peoples_messages_and_attempts_is_removed(
    engine: AsyncEngine, spelled: str, typed: str
) -> None:
    scene = Scene(engine)
    await scene.customer("77", email=EMAIL, firstName="Z")
    await scene.customer("88", email="other@example.com", firstName="Other")
    await scene.run(answered(422, f'{{"message": "the address belongs to {spelled}"}}'))
    written = spelled.replace("\n", "\\n")
    raw = f'{{"id": "99", "note": "invited by {written}", "{written}": 1, "email": "third@example.com"}}'.encode()
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE message SET body = :raw WHERE customer_ref = '88'"), {"raw": raw})
    await erased(engine, typed)
    left = await dump(engine)
    assert traces(left) == []
    assert "third@example.com" in left


@pytest.mark.parametrize("spelled", NO_JSON)
async def test_another_persons_body_that_is_not_json_is_emptied(engine: AsyncEngine, spelled: str) -> None:
    scene = Scene(engine)
    await scene.customer("88", email="other@example.com")
    await scene.customer("89", email="bystander@example.com")
    body = "UPDATE message SET body = :raw WHERE customer_ref = :ref"
    async with engine.begin() as connection:
        await connection.execute(text(body), {"ref": "88", "raw": f"note=by+{spelled}&id=88".encode()})
        await connection.execute(text(body), {"ref": "89", "raw": b"<a href='?x=1&amp;y=%40'>=40 \\u0040</a>"})
    receipt = await erased(engine)
    left = await dump(engine)
    assert traces(left) == []
    assert (receipt.redacted, "=40 \\u0040</a>" in left) == (1, True)


async def test_a_body_in_latin_1_is_emptied(engine: AsyncEngine) -> None:
    scene = Scene(engine)
    await scene.customer("88", email="other@example.com")
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE message SET body = :raw"), {"raw": f"<a>{EMAIL}".encode("latin-1")})
    assert (await erased(engine)).redacted == 1
    assert traces(await dump(engine)) == []


@pytest.mark.parametrize("kind", EventKind)
@pytest.mark.parametrize(
    "body",
    [
        '{"who": "Canaria", "contact": {"email": "FREUND@zqm\\u00fcller.de"}}',
        '{"who": "Canaria", "email": "freund\\u0040zqm\\u00fcller.de", "cut off',
        f'{{"who": "Canaria", "note": "{PUNYCODE}"}}',
        "<customer><name>Canaria</name><mail>freund&#64;zqmüller.de</mail>",
    ],
)
async def test_a_customer_of_whom_there_is_only_an_unreadable_message_is_erased_by_address(
    engine: AsyncEngine, kind: EventKind, body: str
) -> None:
    problem = unreadable_entity("WooCommerce", kind, "7", "name: Canaria", "name")
    parsed = Unreadable(problem, kind, "7")
    scene = Scene(engine)
    await scene.accept(store_message(parsed, body.encode(), source="woocommerce", message_id="m-1"))
    await scene.customer("88", email="other@example.com", firstName="Other")
    receipt = await erased(engine, TYPED[1])
    left = await dump(engine)
    assert (traces(left), "canaria" in left, "other@example.com" in left) == ([], False, True)
    assert (receipt.messages, receipt.redacted) == (1, 0)


async def test_an_unreadable_message_with_the_address_names_the_customers_id(engine: AsyncEngine) -> None:
    """Then what is stored under the id belongs to the customer as well."""
    problem = unreadable_entity("WooCommerce", EventKind.CUSTOMER, "cust-7", "name: Canaria", "name")
    scene = Scene(engine)
    await scene.accept(
        store_message(
            Unreadable(problem, EventKind.CUSTOMER, "cust-7"),
            f'{{"email": "{PUNYCODE}", "phone": "Canaria"'.encode(), source="woocommerce", message_id="m-1",
        )
    )  # fmt: skip
    await scene.order("1001", customerId="cust-7", email="work@example.com", shippingName="Canaria")
    await scene.customer("88", email="other@example.com", referredBy="cust-7")
    assert (await erased(engine)).messages == 2
    left = await dump(engine)
    assert [word for word in ("canaria", "work@example", "xn--") if word in left] == []
    assert "other@example.com" in left


def planted(column: Any, address: str) -> Any:  # Any: a column, and its value
    value = {"response": f"belongs to {address}", address: [{"deep": address}]}
    return f"belongs to {address}" if isinstance(column.type, Text) or not isinstance(column.type, JSONB) else value


@pytest.mark.parametrize("spelled", SPELLED)
async def test_a_canary_in_every_column_of_text_is_removed(engine: AsyncEngine, spelled: str) -> None:
    """Rows are copies of those of a real life, without their constraints: what matters is the columns."""
    customer = CustomerIdentity.of([], [EMAIL.lower()])
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
            values = {column.name: planted(column, spelled) for column in swept_columns(table)}
            await connection.execute(table.update().values(values))
    changed = await sweep(engine, customer)
    assert (changed["job"], changed["attempt"]) == (1, 1)
    assert traces(await dump(engine)) == []
    assert set((await sweep(engine, customer)).values()) == {0}


@pytest.mark.parametrize(
    ("address", "spellings"),
    [
        ("Jane@Example.com", {"jane@example.com"}),
        (EMAIL, {EMAIL.lower(), PUNYCODE}),
        (PUNYCODE, {EMAIL.lower(), PUNYCODE}),
        ("a@straße.de", {"a@straße.de", "a@xn--strae-oqa.de"}),
        ("müller@example.com", {"müller@example.com"}),
        ("a@under_score.de", {"a@under_score.de"}),
        ("a@", {"a@"}),
        ("a@xn--\x7f.de", {"a@xn--\x7f.de"}),
        ("42", {"42"}),
    ],
)
def test_the_spellings_of_an_address(address: str, spellings: set[str]) -> None:
    assert address_spellings(address) == spellings


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
                await connection.execute(
                    text("SELECT job_id, fencing_token, excerpt FROM attempt WHERE excerpt IS NOT NULL")
                )
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
                "INSERT INTO import_run (id, digest, kind, mapping, name, actor, state, size, position, last_row, rows, accepted,"
                " duplicates, newer, rejected, problems, columns, notes, created_at, heartbeat_at) VALUES (:id, '\\x00',"
                " 'customers', '{}', 'people.csv', 't', 'done', 1, 1, 1, 1, 0, 0, 0, 1, '[]', '[]', '[]', now(), now())"
            ),
            {"id": uuid_utils.compat.uuid7()},
        )
    receipt = await erased(engine)
    assert any("people.csv.rejected.ndjson" in step for step in receipt.next_steps)
