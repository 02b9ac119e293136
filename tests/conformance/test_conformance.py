"""The conformance kit itself: a correct adapter passes, and at least 64 of 66 seeded bugs are found."""

from __future__ import annotations

import hmac
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from platform_relay.cli.program import cli
from platform_relay.conformance import CASES, CaseResult, SandboxData, run, sample
from platform_relay.stores.base import StoreAdapterClass
from simulators.process import Simulator
from simulators.process import run as run_simulator
from tests.conformance.bugs import BUGS, Bug
from tests.conformance.carts import CornerCarts

SAMPLE = Path(sample.__file__).read_text()
CAUGHT_AT_LEAST = 64
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
    with run_simulator("corner") as running, pytest.MonkeyPatch.context() as environment:
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
    product_ids=("7", "12"), variant_ids=("71",), email="Jane@Example.com", customer_id="4711", webhook=webhook(), address="https://relay.example/in",
    carts=CornerCarts(),
)  # fmt: skip


def adapter(source: str) -> StoreAdapterClass:
    """The adapter of a source, as a module of its own."""
    module = ModuleType("tests.conformance.seeded")
    module.__file__ = sample.__file__
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


@pytest.mark.timeout(900)  # a run of the kit for each
async def test_seeded_bugs_are_caught(corner: Simulator) -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) == 66
    caught = {bug.name: await first_failure(seeded(bug)) for bug in BUGS}
    table = [
        f"{name}: {f'{found.case.name}: {found.problem}' if found else 'NOT CAUGHT'}" for name, found in caught.items()
    ]
    assert sum(result is not None for result in caught.values()) >= CAUGHT_AT_LEAST, "\n".join(table)


def test_the_command_prints_a_table_and_fails_for_a_broken_adapter(corner: Simulator, tmp_path: Path) -> None:
    headers, raw = webhook()
    captured = tmp_path / "webhook.json"
    captured.write_text(json.dumps({"headers": headers, "body_raw": raw.decode()}))
    well = CliRunner().invoke(
        cli, ["conformance", "platform_relay.conformance.sample:Corner", "--webhook", str(captured)]
    )
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


async def results_of(*names: str, source: str = SAMPLE, rate: float | None = None) -> dict[str, CaseResult]:
    cases = [case for case in CASES if case.name.partition(" [")[0] in names]
    assert cases
    return {result.case.name: result async for result in run(adapter(source), DATA, cases, time_limit=5, rate=rate)}


async def test_the_kit_waits_for_a_store_that_limits_the_rate_of_calls(corner: Simulator) -> None:
    corner.script(path="^/vouchers", status=429, body={"error": "slow"}, headers={"retry-after": "1"}, times=2)
    results = await results_of("a created coupon is found")
    assert [result.result for result in results.values()] == ["pass"]


async def test_a_store_that_always_limits_the_rate_is_no_failure_of_the_adapter(
    corner: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform_relay.conformance.fault_injection.SHORTEST_PAUSE", 0.0)
    corner.script(path="^/vouchers", status=429, body={"error": "slow"}, times=None)
    try:
        [result] = (await results_of("a created coupon is found")).values()
    finally:
        corner.control("clear")
    assert result.result == "skip"
    assert "--rate-limit" in result.problem


async def test_the_kit_keeps_the_rate_limit_of_the_store(corner: Simulator) -> None:
    before = len(corner.ledger(body=0))
    started = time.monotonic()
    await results_of("check returns ready", "a created coupon is found", rate=20.0)
    calls = len(corner.ledger(body=0)) - before
    assert calls > 5
    assert time.monotonic() - started >= (calls - 1) / 20


async def test_the_kit_names_what_it_leaves_in_the_store(corner: Simulator) -> None:
    before = {row["code"] for row in corner.state("vouchers")}
    corner.script(method="DELETE", path="^/vouchers", status=403, body={"error": "locked"}, times=None)
    try:
        [result] = (await results_of("check returns ready")).values()
        assert result.left == ()
        [result] = (await results_of("a created coupon is found")).values()
    finally:
        corner.control("clear")
    assert result.left
    assert {row["code"] for row in corner.state("vouchers")} - before <= set(result.left)


NO_ORDERS = (
    "    CANNOT: ClassVar",
    '    NO_LISTS: ClassVar[Mapping[EventKind, str]] = {EventKind.ORDER: "it has no list of orders"}\n    CANNOT: ClassVar',
)
LISTED = '        query = {"page": cursor or "1"'
REJECTED = f'        if kind is EventKind.ORDER:\n            return no_list("it", kind, "it has none")\n{LISTED}'
IMPORTED = ("    invalid_signature,\n", "    invalid_signature,\n    no_list,\n")


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ((NO_ORDERS, (LISTED, REJECTED), IMPORTED), "pass"),
        (((LISTED, REJECTED), IMPORTED), "fail"),
        ((NO_ORDERS,), "fail"),
        (
            (NO_ORDERS, (LISTED, f"        if kind is EventKind.ORDER:\n            return Page((), None)\n{LISTED}")),
            "fail",
        ),
    ],
)
async def test_a_list_that_the_store_does_not_have_is_declared_and_rejected(
    corner: Simulator, changes: tuple[tuple[str, str], ...], result: str
) -> None:
    source = seeded(Bug("lists", changes))
    results = await results_of("missing lists are declared", "lists are complete", source=source)
    assert results["missing lists are declared"].result == result
    if result == "pass":
        assert results["lists are complete"].result == "pass"


async def test_an_empty_list_is_not_a_proof(corner: Simulator) -> None:
    source = seeded(
        Bug("empty", ((LISTED, f"        if kind is EventKind.ORDER:\n            return Page((), None)\n{LISTED}"),))
    )
    result = (await results_of("lists are complete", source=source))["lists are complete"]
    assert result.result == "skip"
    assert "orders" in result.problem


@pytest.mark.parametrize("code", ["NOT_SUPPORTED_BY_STORE", "COUPON_INVALID"])
async def test_a_rejection_that_names_the_field_passes(corner: Simulator, code: str) -> None:
    """The store has minimum spends in general, and the adapter rejects this one."""
    refused = "        if refused := check_spec(spec, Corner, datetime.now(UTC)):\n"
    rejected = (
        "        if spec.minimum_spend:\n            return Reject(RESPONSES.reason(ReasonCode.{code}, code=spec.code,"
        " field={field!r}, problem='no'))\n" + refused
    )
    for field, expected in (("minimum_spend", "pass"), ("value", "fail")):
        source = seeded(Bug("rejects", ((refused, rejected.format(code=code, field=field)),)))
        results = await results_of("an option is kept or rejected", source=source)
        assert results["an option is kept or rejected [minimum_spend]"].result == expected
