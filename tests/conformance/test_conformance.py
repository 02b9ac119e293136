"""The conformance kit itself: a correct adapter passes, and at least 42 of 44 seeded bugs are found."""

from __future__ import annotations

import hmac
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from platform_relay.cli.program import cli
from platform_relay.conformance import CASES, CaseResult, SandboxData, run
from platform_relay.stores.base import StoreAdapterClass
from simulators.process import Simulator
from tests.conformance.bugs import BUGS, Bug
from tests.contract.doubles import process

HERE = Path(__file__).parent
SAMPLE = (HERE / "sample.py").read_text()
CAUGHT_AT_LEAST = 42
CORNER = "corner-secret-0123456789"
SIGNING = "corner-signing-0123456789"
CHANGED = [f"2026-11-0{day}T08:00:00+00:00" for day in range(1, 6)]
ROWS: dict[str, list[dict[str, Any]]] = {
    "customers": [{"id": f"c{n}", "email": f"c{n}@example.com", "changed_at": at} for n, at in enumerate(CHANGED)],
    "orders": [
        {"id": f"o{n}", "customerId": f"c{n}", "financialStatus": "paid", "totalPrice": "9.90", "currency": "EUR", "changed_at": at}
        for n, at in enumerate(CHANGED)
    ],
    "products": [{"id": f"p{n}", "title": "Mug", "changed_at": at} for n, at in enumerate(CHANGED)],
}  # fmt: skip


@pytest.fixture(scope="module")
def corner() -> Iterator[Simulator]:
    with process.run("corner") as running, pytest.MonkeyPatch.context() as environment:
        environment.setenv("CORNER__URL", running.url)
        environment.setenv("CORNER__SECRET", CORNER)
        environment.setenv("CORNER__WEBHOOK_SECRET", SIGNING)
        running.control("seed", **ROWS)
        yield running


def webhook() -> tuple[dict[str, str], bytes]:
    raw = json.dumps(ROWS["customers"][0]).encode()
    signature = hmac.new(SIGNING.encode(), raw, "sha256").hexdigest()
    return {"x-corner-topic": "customer.changed", "x-corner-signature": signature}, raw


DATA = SandboxData(
    product_ids=("7", "12"), variant_ids=("71",), email="Jane@Example.com", customer_id="4711", webhook=webhook(), address="https://relay.example/in"
)  # fmt: skip


def adapter(source: str) -> StoreAdapterClass:
    """The adapter of a source, as a module of its own."""
    module = ModuleType("tests.conformance.seeded")
    module.__file__ = str(HERE / "sample.py")
    sys.modules[module.__name__] = module  # pydantic looks up the names of annotations there
    exec(compile(source, "sample.py", "exec"), module.__dict__)  # noqa: S102  # our own source, with our own bugs
    return cast(StoreAdapterClass, module.__dict__["Corner"])


def seeded(bug: Bug) -> str:
    source = SAMPLE
    for old, new in bug.changes:
        assert source.count(old) == 1, f"{bug.name}: the text stands {source.count(old)} times in the sample: {old}"
        source = source.replace(old, new)
    return source


async def first_failure(source: str) -> CaseResult | None:
    async for result in run(adapter(source), DATA, time_limit=5):
        if result.result == "fail":
            return result
    return None


async def test_a_clean_adapter_passes_and_every_case_is_tried(corner: Simulator) -> None:
    results = [result async for result in run(adapter(SAMPLE), DATA, time_limit=5)]
    assert [(result.case.name, result.problem) for result in results if result.result != "pass"] == []
    assert len(results) == len(CASES)
    assert corner.state("vouchers") == []  # whatever was made is retired again
    assert all(case.requirement.endswith(".") for case in CASES)


@pytest.mark.timeout(500)  # a run of the kit for each
async def test_seeded_bugs_are_caught(corner: Simulator) -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) == 44
    caught = {bug.name: await first_failure(seeded(bug)) for bug in BUGS}
    table = [
        f"{name}: {f'{found.case.name}: {found.problem}' if found else 'NOT CAUGHT'}" for name, found in caught.items()
    ]
    assert sum(result is not None for result in caught.values()) >= CAUGHT_AT_LEAST, "\n".join(table)


def test_the_command_prints_a_table_and_fails_for_a_broken_adapter(corner: Simulator, tmp_path: Path) -> None:
    headers, raw = webhook()
    captured = tmp_path / "webhook.json"
    captured.write_text(json.dumps({"headers": headers, "body_raw": raw.decode()}))
    well = CliRunner().invoke(cli, ["conformance", "tests.conformance.sample:Corner", "--webhook", str(captured)])
    assert well.exit_code == 0, well.output
    assert "0 failed" in well.output
    assert "--product" in well.output  # what a skipped case needs
    source = seeded(next(bug for bug in BUGS if bug.name == "Done names no coupon"))
    (tmp_path / "broken_shop.py").write_text(source)
    sys.path.insert(0, str(tmp_path))
    broken = CliRunner().invoke(cli, ["conformance", "broken_shop:Corner", "--only", "found"])
    sys.path.remove(str(tmp_path))
    assert broken.exit_code == 1
    assert "Done.result contains no store_id" in broken.output


def test_what_is_no_adapter_is_said_in_words() -> None:
    said = CliRunner().invoke(cli, ["conformance", "tests.conformance.bugs:Bug"])
    assert said.exit_code != 0
    assert "is not a store adapter" in str(said.exception)
