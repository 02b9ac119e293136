"""Alert rules, runbook and dashboard belong together, and name only what the service really tells."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Final  # Any: YAML and JSON

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from platform_relay.alerts.chat import section
from platform_relay.core.metrics import Backlog, Metrics, QueueGauges, QueueSnapshot
from platform_relay.core.reasons import ALERTS, DISMISSED_BY_HAND, ReasonCode, because
from platform_relay.core.work import PATIENCE, Failure, Operation, Work
from platform_relay.core.work_metrics import WorkGauges

ROOT: Final = Path(__file__).parents[2]
PROMETHEUS: Final = ROOT / "deploy" / "prometheus"
RULES: Final[list[dict[str, Any]]] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD: Final = json.loads((ROOT / "deploy" / "grafana" / "platform-relay.json").read_text())
RUNBOOK: Final = (ROOT / "docs" / "runbook.md").read_text()
SECTIONS: Final = {
    f"docs/runbook.md#{title.lower().replace(' ', '-')}" for title in re.findall("^## (.+)$", RUNBOOK, re.MULTILINE)
}


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
)
def test_the_rules_do_what_they_say(arguments: tuple[str, ...]) -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("there is no promtool here: apt-get install prometheus")
    ended = subprocess.run([promtool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_each_relay_has_alerts_of_its_own() -> None:
    """`relay` is a label of the target. A `max` without it would hide the second of two stores behind the first."""
    for rule in RULES:
        for function, rest in re.findall(r"\b(min|max|sum|group)\b(.{0,20})", rule["expr"]):
            assert rest.startswith(" by (relay"), f"{function} in {rule['expr']}"
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            asked = re.findall(r"relay_\w+(?:\{relay=~\"\$relay\")?", target["expr"])
            assert all("{" in each for each in asked), target["expr"]


def test_every_rule_is_tested_to_fire() -> None:
    tests = (PROMETHEUS / "alerts_test.yml").read_text()
    assert {rule["alert"] for rule in RULES} == set(re.findall(r'alertname="(\w+)"', tests))


def test_every_alert_names_cause_first_action_and_a_section_of_the_runbook() -> None:
    for rule in RULES:
        result = rule["annotations"]
        assert result["description"].endswith("."), rule["alert"]
        assert result["first_action"].endswith((".", "?")), rule["alert"]
        assert result["runbook"] in SECTIONS, rule["alert"]
    assert {rule["annotations"]["runbook"] for rule in RULES} == SECTIONS


def test_every_alert_has_a_rule_and_a_section_with_its_own_texts() -> None:
    annotations = {rule["annotations"]["runbook"]: rule["annotations"] for rule in RULES}
    expressions = {rule["annotations"]["runbook"]: rule["expr"] for rule in RULES}
    for code in ALERTS:
        link, reason = section(code), because(code)
        assert (annotations[link]["description"], annotations[link]["first_action"]) == (reason.text, reason.next_step)
        if "relay_alerts_open" in expressions[link]:
            assert f'relay_alerts_open{{code="{code}"}}' in expressions[link]


def test_what_is_dismissed_by_hand_is_an_alert() -> None:
    assert DISMISSED_BY_HAND < ALERTS


async def test_rules_and_dashboard_ask_for_nothing_that_is_not_there() -> None:
    there = await exposed()
    queries = [rule["expr"] for rule in RULES]
    queries += [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    assert len(queries) > 25
    for query in queries:
        named = re.findall(r"relay_\w+", query)
        assert named, query
        for name in named:
            assert name in there, f"{name} in {query}"
            for label in re.findall(name + r"\{(\w+)[=!~]", query) + grouped_by(query):
                assert label in there[name] | {"le", "relay"}, f"{label} of {name} in {query}"


def grouped_by(query: str) -> list[str]:
    return [label for group in re.findall(r"by \(([^)]+)\)", query) for label in group.split(", ")]


async def exposed() -> dict[str, set[str]]:
    """Every sample that the service tells when something happens, with its labels."""
    metrics = Metrics(CollectorRegistry())
    work = Work(metrics.work_failed)
    WorkGauges(metrics.registry, work)
    with work.record(Operation.CLAIM, "platform").attempt():
        pass
    for seconds in (PATIENCE + 1, 0):
        work.accept.failed(time.monotonic() - seconds, Failure("accept", "42501", "ProgrammingError"))
    metrics.message("orders", "accepted")
    metrics.request("/v1/events/orders", "POST", 202, 0.01)
    metrics.attempt("forward_order", "platform", "retry", 0.01, ReasonCode.SERVER_ERROR)
    metrics.settled("forward_order", "done")
    metrics.connection_limit("total")

    async def look() -> QueueSnapshot:
        return QueueSnapshot([Backlog("platform", 1, 2.0, 3.0, {"server_error": 4}, "open")], {"coupon_overdue": 1})

    text = (await QueueGauges(metrics.registry, look).exposition()).decode()
    return {
        sample.name: set(sample.labels) for family in text_string_to_metric_families(text) for sample in family.samples
    }
