"""`relay import` as its user starts it: mapping shown first, killed with SIGKILL, begun again, bad rows in a file."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from platform_relay.cli.program import cli
from platform_relay.core.database import parse_url
from tests.helpers import eventually_sync

ROWS = 12_000
BAD = 997
"""Every so many-th row has no id."""


def written(folder: Path, count: int) -> Path:
    file = folder / "customers.csv"
    with file.open("w", encoding="utf-8") as out:
        out.write("Customer ID,First Name,Email,Favourite colour,Updated At\n")
        for n in range(1, count + 1):
            number = "" if n % BAD == 0 else n
            out.write(f"{number},Ada,ada{n}@example.com,blue,2026-01-01 10:00:00 +0000\n")
    return file


def sql(url: str, statement: str) -> list[Any]:
    async def run() -> list[Any]:
        address = parse_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        connection = await asyncpg.connect(address)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    return asyncio.run(run())


def imported(file: Path, *more: str) -> Result:
    return CliRunner().invoke(cli, ["import", "customers", str(file), *more])


@pytest.mark.timeout(240)
def test_killed_and_begun_again_each_row_is_there_once(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, ROWS)
    child = subprocess.Popen(
        [sys.executable, "-m", "platform_relay.cli", "import", "customers", str(file)],
        cwd=tmp_path, env={**os.environ, "DATABASE_URL": database_url}, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def half_way() -> bool:
        assert child.poll() is None, "it ended before it was killed"
        return sql(database_url, "SELECT count(*) > 1000 FROM message") == [(True,)]

    try:
        eventually_sync(half_way, 120)
    finally:
        child.kill()
        child.wait()
    [(stored,)] = sql(database_url, "SELECT count(*) FROM message")
    assert 1000 < stored < ROWS - ROWS // BAD
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)
    busy = imported(file)
    assert "another process is importing this file" in str(busy.exception)
    sql(database_url, "UPDATE import_run SET heartbeat_at = now() - interval '1 minute'")
    rejected = file.with_name("customers.csv.rejected.ndjson")
    with rejected.open("a") as lines:  # as if killed between a line and its commit, and within a line
        lines.write(json.dumps({"row": ROWS, "reason": "written before its commit", "values": {}}) + '\n{"row": ')
    done = imported(file)
    assert done.exit_code == 0, done.output
    bad = ROWS // BAD
    counted = sql(database_url, "SELECT count(*), count(DISTINCT customer_ref) FROM message")
    assert counted == [(ROWS - bad,) * 2]
    result = [json.loads(line) for line in rejected.read_text().splitlines()]
    assert [each["row"] for each in result] == [BAD * n for n in range(1, bad + 1)]
    assert all("id:" in each["reason"] and each["values"]["Customer ID"] == "" for each in result)
    assert re.search(rf"{ROWS:,} rows: .*{bad} rejected", done.stdout), done.stdout
    assert re.search(r"[\d,]+ rows +[\d,]+/s +\d:\d\d:\d\d", done.stderr), "the bar tells rows, rate and time left"


def test_the_guess_is_shown_first_and_a_dry_run_stores_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
    file = written(tmp_path, 2000)
    shown = imported(file, "--dry-run").output
    places = [shown.index(word) for word in ("firstName", "Not mapped: Favourite colour", "2,000 rows")]
    assert places == sorted(places)
    assert "1,998 valid, 2 rejected" in shown
    assert f"row {BAD}: id" in shown
    by_hand = imported(file, "--dry-run", "--map", "firstName=Favourite colour", "--map", "email=")
    assert "1,998 valid, 2 rejected" in by_hand.output
    assert "no column" in str(imported(file, "--map", "firstName=Colour").exception)


ORDERS = 'Order #,Status,Currency,Total,Ordered\n1901,completed,EUR,"1,234",\n1902,completed,EUR,5,\n'


def imported_orders(file: Path, *more: str) -> Result:
    return CliRunner().invoke(cli, ["import", "orders", str(file), *more])


def test_without_a_terminal_a_guess_stops_with_the_command_that_confirms_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
    file = tmp_path / "my orders.csv"
    file.write_text(ORDERS)
    stopped = imported_orders(file, "--currency", "EUR")
    text = str(stopped.exception)
    assert "It would be used for id." in text
    assert "Answer with --map 'id=Order #'." in text
    assert "Answer with --decimal , or --decimal .." in text
    command = f"relay import orders '{file}' --currency EUR"
    assert f"{command} --dry-run" in text
    assert f"{command} --yes" in text
    dry = imported_orders(file, "--dry-run")
    assert dry.exit_code == 0
    assert "2 rows: 1 valid, 1 rejected" in dry.output
    assert "Open: Column Total" in dry.output
    refused = subprocess.run(
        [sys.executable, "-m", "platform_relay.cli", "import", "orders", str(file)],
        cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "Nothing was imported" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_unknown_status_is_asked_for_by_its_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
    file = tmp_path / "orders.csv"
    file.write_text("id,Status,Currency,Total\n1,Ist da,EUR,5.00\n2,paid,EUR,5.00\n")
    text = str(imported_orders(file).exception)
    assert "the status 'Ist da' in 1 row" in text
    assert "Answer with --status 'Ist da=authorized' or" in text
    assert "2 rows: 1 valid, 1 rejected" in imported_orders(file, "--dry-run").output
    assert "2 rows: 2 valid, 0 rejected" in imported_orders(file, "--dry-run", "--status", "Ist da=paid").output
    stated = str(imported_orders(file, "--status", "Ist da=paid", "--map", "id=").exception)
    assert "No column for id" in stated
    refused = str(imported_orders(file, "--status", "Ist da=good").exception)
    assert "write WORD=STATUS" in refused


def test_yes_and_stated_choices_import_without_a_question(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "orders.csv"
    file.write_text(ORDERS)
    accepted = imported_orders(file, "--yes")
    assert accepted.exit_code == 0, accepted.output
    assert "2 rows: 1 accepted" in accepted.stdout
    assert accepted.stdout.count("Decimal mark of Total unknown") == 1
    assert "nothing was sent again" not in accepted.stdout
    again = imported_orders(file, "--yes")
    assert again.exit_code == 0, again.output
    assert "This file was imported completely at " in again.stdout
    assert "nothing was sent again" in again.stdout
    stated = imported_orders(file, "--map", "id=Order #", "--decimal", ".")
    assert stated.exit_code == 0, stated.output
    assert "2 rows: 1 accepted, 1 duplicates" in stated.stdout, "another import, with the row that was rejected before"
    assert re.search(r"Total +│ totalPrice +│ 2 +│ 0 +│ 0", stated.stdout), stated.stdout
    assert re.search(r"Ordered +│ \(not used\)", stated.stdout), stated.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_is_asked_and_sees_the_dry_run_first(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(ORDERS.replace("completed", "Ist da"))
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "platform_relay.cli", "import", "orders", str(file)],
        cwd=tmp_path, env={**os.environ, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere", "COLUMNS": "200"},
        stdin=theirs, stdout=theirs, stderr=theirs,
    ) as child:  # fmt: skip
        os.close(theirs)
        seen = ""

        def shown(text: str) -> None:
            nonlocal seen
            while text not in seen:
                seen += os.read(ours, 1024).decode(errors="replace")

        shown("or reject)")
        os.write(ours, b"good\npaid\n")
        shown("write WORD=STATUS")
        shown("Decimal mark")
        os.write(ours, b"point\n.\n")
        shown("not a decimal mark")
        shown("Import the file in this way?")
        os.write(ours, b"n\n")
        assert child.wait(30) == 1
    os.close(ours)
    assert seen.index("2 rows: 2 valid, 0 rejected. Nothing was stored.") < seen.index("Import the file in this way?")
