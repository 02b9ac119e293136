"""`relay platform verify` against real simulators of Platforms that behave differently."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any  # Any: the JSON of the result

import pytest
from typer.testing import CliRunner

from platform_relay.cli.program import cli
from platform_relay.platform.fields import Fields
from platform_relay.platform.verify.assumptions import CONTRACT
from platform_relay.platform.verify.calls import plan
from platform_relay.platform.verify.samples import Samples
from simulators.process import Simulator, run

KEY = "sim-platform-key"
SETTINGS = re.compile(r"^  (PLATFORM__\w+)=(.+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def platform_process() -> Iterator[Simulator]:
    with run("platform") as simulator:
        yield simulator


@pytest.fixture
def platform(platform_process: Simulator) -> Simulator:
    platform_process.reset(config=True)
    return platform_process


def verify(folder: Path, platform: Simulator) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "platform_relay.cli", "platform", "verify"],
        env=settings(platform),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def settings(platform: Simulator) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "COLUMNS": "400",
        "PLATFORM__URL": platform.url,
        "PLATFORM__LAUNCHER_URL": platform.url,
        "PLATFORM__API_KEY": KEY,
        "PLATFORM__SHOP_KEY": "sim-shop",
    }


def result(folder: Path, platform: Simulator, **environment: str) -> tuple[int, Any, dict[str, str]]:
    """Exit code, the JSON file, and the settings to paste, of the command in this process."""
    file = folder / "result.json"
    done = CliRunner().invoke(
        cli,
        ["platform", "verify", "--yes", "--wait", "0.3", "--out", str(file)],
        env={**settings(platform), **environment},
    )
    assert isinstance(done.exception, SystemExit | None), done.output
    return done.exit_code, json.loads(file.read_text()), dict(SETTINGS.findall(done.stdout))


def refuted(document: Any) -> dict[str, str]:
    """The refuted assumptions, with their findings."""
    return {row["id"]: row["finding"] for row in document["assumptions"] if row["result"] == "refuted"}


DIALECTS: dict[str, dict[str, str]] = {
    "plain": {},
    "other_names": {
        "customer.phone": "phoneNumber",
        "customer.firstName": "first_name",
        "customer.lastName": "last_name",
        "customer.createdAt": "registeredAt",
        "order.id": "orderId",
        "order.customerId": "customerExternalId",
        "order.financialStatus": "paymentStatus",
        "order.totalPrice": "total",
        "order.lineItems": "items",
        "lineItem.productId": "externalProductId",
        "lineItem.price": "unitPrice",
    },
    "number_money": {"form.money": "number"},
    "unknown_customer_400": {"text.customerNotFound": "Customer not found|No such customer"},
    "wrapped": {
        "form.customer": "customer",
        "response.customer": "data.customer",
        "response.customers": "data.customers",
        "form.order": "order",
        "form.product": "product",
    },
    "strict_names": {
        "customer.phone": "phone_number",
        "customer.tags": "-",
        "order.createdAt": "orderedAt",
        "status.keyRefused": "401,403,418",
    },
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_is_identified_and_its_settings_confirm_the_contract(
    tmp_path: Path, platform: Simulator, dialect: str
) -> None:
    platform.config(dialect=dialect)
    expected = DIALECTS[dialect]
    code, document, pasted = result(tmp_path, platform)
    assert code == (1 if expected else 0)
    assert set(refuted(document)) == set(expected)
    assert json.loads(pasted.get("PLATFORM__FIELDS", "{}")) == expected
    if not expected:
        return
    platform.reset()
    code, document, pasted = result(tmp_path, platform, **pasted)
    assert (code, refuted(document), pasted) == (0, {}, {})
    sent_once = {row["step"] for row in document["calls"]}
    assert {"customer.names", "order.names", "order.id"}.isdisjoint(sent_once)


@pytest.mark.parametrize(("dialect", "effect"), [("upsert", "(upsert)"), ("duplicate", "(duplicate)")])
def test_what_a_second_post_does_is_identified(tmp_path: Path, platform: Simulator, dialect: str, effect: str) -> None:
    platform.config(dialect=dialect)
    code, document, pasted = result(tmp_path, platform)
    findings = refuted(document)
    assert (code, set(findings), pasted) == (1, {"status.alreadyExists"}, {})
    assert effect in findings["status.alreadyExists"]


def test_the_result_has_every_assumption_and_no_test_data(tmp_path: Path, platform: Simulator) -> None:
    _, document, _ = result(tmp_path, platform)
    assert [row["id"] for row in document["assumptions"]] == [item.id for item in CONTRACT]
    text = (tmp_path / "result.json").read_text()
    customer = platform.state("customers", "relay-verify-customer")
    for value in (KEY, "sim-shop", "relay-verify", customer["email"], customer["id"], "@"):
        assert value not in text
    assert (tmp_path / "result.json").stat().st_mode & 0o777 == 0o600


def test_a_dry_run_shows_every_call_and_makes_none(platform: Simulator) -> None:
    done = CliRunner().invoke(cli, ["platform", "verify", "--dry-run"], env=settings(platform))
    assert done.exit_code == 0, done.output
    assert platform.ledger() == []
    assert platform.url in done.stdout
    assert "sim-shop" in done.stdout
    assert "two orders" in done.stdout
    assert KEY not in done.stdout


def test_the_calls_are_those_of_the_preview(tmp_path: Path, platform: Simulator) -> None:
    result(tmp_path, platform)
    entries = platform.ledger()
    created = next(entry for entry in entries if entry["kind"] == "order.post")
    mark = created["body"]["id"].split("-")[2]
    calls = plan(Samples(mark, "USD"), Fields(), has_launcher=True)
    shown = [(call.method, call.path.split("?")[0], call.body or None) for call in calls if not call.condition]
    sent = [(entry["method"], entry["path"], entry["body"] or None) for entry in entries]
    assert without_repeated_reads(sent) == without_repeated_reads(shown)


def without_repeated_reads(calls: list[Any]) -> list[Any]:
    """The calls, without a GET that follows the same GET: points are read until they change."""
    pairs = zip(calls, [None, *calls], strict=False)
    return [call for call, before in pairs if call != before or call[0] != "GET"]


def test_without_a_terminal_it_stops_with_what_to_do(tmp_path: Path, platform: Simulator) -> None:
    done = verify(tmp_path, platform)
    assert done.returncode == 2
    assert "--dry-run" in done.stderr
    assert "--yes" in done.stderr
    assert platform.ledger() == []


@pytest.mark.parametrize(("answer", "calls"), [("no", False), ("yes", True)])
def test_on_a_terminal_it_asks_first(tmp_path: Path, platform: Simulator, answer: str, calls: bool) -> None:
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "platform_relay.cli", "platform", "verify", "--wait", "0"],
        env=settings(platform),
        cwd=tmp_path,
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(terminal)
    os.write(controller, f"{answer}\n".encode())
    output, errors = process.communicate(timeout=60)
    os.close(controller)
    assert "yes" in output, errors
    assert bool(platform.ledger()) is calls
    assert ("Nothing was called." in output) is not calls


def test_in_a_trial_it_calls_nothing(tmp_path: Path, platform: Simulator) -> None:
    done = CliRunner().invoke(
        cli,
        ["platform", "verify", "--yes", "--out", str(tmp_path / "x.json")],
        env={**settings(platform), "MODE": "shadow"},
    )
    assert isinstance(done.exception, ValueError)
    assert "MODE is shadow" in str(done.exception)
    assert platform.inspect("ledger")["entries"] == []


def test_a_wrong_key_ends_it_before_anything_is_created(tmp_path: Path, platform: Simulator) -> None:
    code, document, _ = result(tmp_path, platform, PLATFORM__API_KEY="another-key-0123456789")
    assert (code, document["assumptions"]) == (1, [])
    assert [entry["method"] for entry in platform.ledger()] == ["GET"]


def test_rate_limits_are_respected_and_reported(tmp_path: Path, platform: Simulator) -> None:
    platform.script(
        path="/v1/customers", method="PUT", status=429, headers={"retry-after": "1"}, body={"message": "slow"}
    )
    platform.script(
        path="/v1/products",
        mode="apply_then",
        headers={"ratelimit-policy": "90;w=60", "content-type": "application/json"},
    )
    code, document, pasted = result(tmp_path, platform)
    assert (code, set(refuted(document)), pasted) == (1, {"rate_limit"}, {"PLATFORM__RATE_LIMIT": "90/min"})
    assert next(row for row in document["assumptions"] if row["id"] == "status.throttled")["result"] == "confirmed"


@pytest.mark.parametrize(
    "fault", [{"mode": "reset_after"}, {"mode": "apply_then", "status": 500, "body": {"message": "oops"}}]
)
def test_an_order_that_may_have_arrived_is_not_sent_again(
    tmp_path: Path, platform: Simulator, fault: dict[str, Any]
) -> None:
    platform.script(path="^/v1/orders$", **fault)
    code, document, pasted = result(tmp_path, platform)
    assert platform.summary()["kinds"]["order.post"]["received"] == 1
    assert (code, refuted(document), pasted) == (0, {}, {})
    results = {row["id"]: row["result"] for row in document["assumptions"]}
    assert (results["order.totalPrice"], results["customer.email"]) == ("undecidable", "confirmed")
