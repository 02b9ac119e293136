"""An imported file that takes long to read: another process reads it, so the one that serves requests stays free."""

import json
from pathlib import Path

import httpx
import pytest

from platform_relay import wiring
from platform_relay.imports.files import FileFormat
from platform_relay.imports.rows import BATCH, ImportPlan, MappedRow, NotTheFormat, next_batch, read_messages
from platform_relay.inbox.events import EventKind
from tests.helpers import eventually

ROWS = [{"id": str(number), "email": f"p{number}@example.com"} for number in range(2 * BATCH + 7)]


@pytest.mark.parametrize("file_format", ["csv", "ndjson", "json"])
def test_batches_are_the_rows_of_the_file(tmp_path: Path, file_format: FileFormat) -> None:
    file = tmp_path / "file"
    if file_format == "json":
        file.write_text(json.dumps(ROWS))
    elif file_format == "csv":
        file.write_text("id,email\n" + "".join(f"{row['id']},{row['email']}\n" for row in ROWS))
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    plan = ImportPlan("x", file_format, EventKind.CUSTOMER, {"id": "id", "email": "email"})
    read: list[MappedRow] = []
    after = number = 0
    while True:
        batch = next_batch(plan, str(file), after, number)
        assert not isinstance(batch, NotTheFormat)
        if not batch.rows:
            break
        read += batch.rows
        assert batch.tally.fields["email"].read == len(batch.rows)
        after, number = batch.rows[-1][0].end, batch.rows[-1][0].number
    with file.open("rb") as opened:
        assert read == list(read_messages(plan, opened))
    assert len(read) == len(ROWS)


def test_a_batch_of_long_rows_ends_early(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("".join(json.dumps({"id": str(number), "x": "a" * 900_000}) + "\n" for number in range(10)))
    batch = next_batch(ImportPlan("x", "ndjson", EventKind.CUSTOMER, {"id": "id"}), str(file), 0, 0)
    assert not isinstance(batch, NotTheFormat)
    assert 1 < len(batch.rows) < 8


async def test_an_uploaded_file_is_read_by_a_process_of_its_own(
    operator: httpx.AsyncClient, parts: wiring.Services
) -> None:
    rows = "".join(f"{number},2026-05-11{' ' * 60_000}x\n" for number in range(1, 11))
    response = await operator.post(
        "/v1/imports?kind=customers&time_zone=UTC",
        content=f"id,updatedAt\n{rows}",
        headers={"content-type": "text/csv"},
    )
    assert response.status_code == 202, response.text
    assert (parts.import_compute.pid is None, parts.compute.pid is None) == (False, True)

    async def done() -> bool:
        return bool((await operator.get(f"/v1/imports/{response.json()['id']}")).json()["state"] == "done")

    await eventually(done, within=20)
    run = (await operator.get(f"/v1/imports/{response.json()['id']}")).json()
    assert (run["rows"], run["rejected"]) == (10, 0)
    assert [(column["field"], column["read"], column["unreadable"]) for column in run["columns"]] == [
        ("id", 10, 0),
        ("updatedAt", 0, 10),
    ]
