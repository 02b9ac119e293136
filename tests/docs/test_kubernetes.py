"""The manifests of deploy/kubernetes are what Kubernetes takes: validated offline against its own schemas."""

import asyncio
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from prometheus_client import CollectorRegistry

from platform_relay.core.metrics import Backlog, QueueGauges, QueueSnapshot
from platform_relay.settings import Settings

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
VERSION = "1.32"
OF_OTHERS = ("ServiceMonitor", "PodMonitor", "Kustomization")  # no kinds of Kubernetes itself


def documents() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{path.name}:{document['kind']}/{document.get('metadata', {}).get('name', '')}", document)
        for path in sorted(FOLDER.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ]


@pytest.mark.parametrize(("name", "document"), documents(), ids=[name for name, _ in documents()])
def test_a_manifest_is_valid(name: str, document: dict[str, Any]) -> None:
    if document["kind"] not in OF_OTHERS:
        kubernetes_validate.validate(document, VERSION, strict=True)


def test_every_manifest_is_applied() -> None:
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {document["metadata"]["name"]: document for _, document in documents() if document["kind"] == kind}


def pods() -> dict[str, dict[str, Any]]:
    """Pod templates of what runs for good, and of the job."""
    return {name: each["spec"]["template"] for kind in ("Deployment", "Job") for name, each in of_kind(kind).items()}


def test_what_selects_something_selects_something_that_is_there() -> None:
    """A label that is written otherwise selects nothing, and nobody says so."""
    labels = {name: pod["metadata"]["labels"] for name, pod in pods().items()}
    for name, deployment in of_kind("Deployment").items():
        assert deployment["spec"]["selector"]["matchLabels"] == labels[name]
    for name, budget in of_kind("PodDisruptionBudget").items():
        assert budget["spec"]["selector"]["matchLabels"] == labels[name]
    assert set(of_kind("PodDisruptionBudget")) == set(of_kind("Deployment")) == {"web", "worker"}
    [scaler] = of_kind("HorizontalPodAutoscaler").values()
    assert scaler["spec"]["scaleTargetRef"]["name"] in of_kind("Deployment")
    assert scaler["spec"]["minReplicas"] >= 2
    [monitor], [service] = of_kind("ServiceMonitor").values(), of_kind("Service").values()
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert [endpoint["port"] for endpoint in monitor["spec"]["endpoints"]] == [
        port["name"] for port in service["spec"]["ports"]
    ]
    assert service["spec"]["selector"] == labels["web"]


def test_the_workers_metrics_are_scraped_where_they_are_served() -> None:
    """The port is written in four places: what the worker is told, its pod, who scrapes it, who may reach it."""
    worker = pods()["worker"]
    [container] = worker["spec"]["containers"]
    [result] = [int(each["value"]) for each in container["env"] if each["name"] == "METRICS_PORT"]
    [port] = container["ports"]
    [monitor], policy = of_kind("PodMonitor").values(), of_kind("NetworkPolicy")["worker"]
    assert port["containerPort"] == result
    assert monitor["spec"]["selector"]["matchLabels"] == worker["metadata"]["labels"]
    assert [each["port"] for each in monitor["spec"]["podMetricsEndpoints"]] == [port["name"]]
    assert policy["spec"]["podSelector"]["matchLabels"] == worker["metadata"]["labels"]
    [ingress] = policy["spec"]["ingress"]
    assert ingress["ports"] == [{"protocol": "TCP", "port": result}]


def test_only_the_ingress_controller_and_monitoring_are_admitted() -> None:
    admitted = {}
    for name, policy in of_kind("NetworkPolicy").items():
        for rule in policy["spec"].get("ingress", []):
            admitted[name] = [
                list(peer["namespaceSelector"]["matchLabels"].items()) for peer in rule["from"] if len(peer) == 1
            ]
            assert len(rule["from"]) == len(admitted[name])
    label = "kubernetes.io/metadata.name"
    assert admitted == {
        "web": [[(label, "ingress-nginx")], [(label, "monitoring")]],
        "worker": [[(label, "monitoring")]],
    }
    assert "Ingress" in of_kind("NetworkPolicy")["relay"]["spec"]["policyTypes"]


def test_nothing_reaches_a_pod_but_what_the_policies_say() -> None:
    policies = of_kind("NetworkPolicy")
    [wanted] = policies["relay"]["spec"]["podSelector"]["matchExpressions"]
    assert sorted(wanted["values"]) == sorted(pod["metadata"]["labels"][wanted["key"]] for pod in pods().values())
    assert policies["relay"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policies["relay"]["spec"]
    assert {port["port"] for rule in policies["relay"]["spec"]["egress"] for port in rule["ports"]} == {53, 443, 5432}


def test_the_autoscaler_goes_by_a_metric_that_there_is() -> None:
    [scaler] = of_kind("HorizontalPodAutoscaler").values()
    [metric] = scaler["spec"]["metrics"]
    registry = CollectorRegistry()

    async def read() -> QueueSnapshot:
        return QueueSnapshot([Backlog("platform", waiting=1, oldest=2.0, oldest_waiting=3.0, dead={}, state="open")])

    text = asyncio.run(QueueGauges(registry, read).exposition()).decode()
    assert f'{metric["external"]["metric"]["name"]}{{destination="platform"}} 2.0' in text


def test_a_worker_is_known_to_live_by_the_file_that_it_touches() -> None:
    [worker] = pods()["worker"]["spec"]["containers"]
    [beat] = [each["value"] for each in worker["env"] if each["name"] == "HEARTBEAT_FILE"]
    assert f"find {beat} " in worker["livenessProbe"]["exec"]["command"][-1]
    assert any(beat.startswith(mount["mountPath"]) for mount in worker["volumeMounts"])
    assert "heartbeat_file" in Settings.model_fields


def test_no_container_has_rights_it_does_not_need() -> None:
    pods = [
        document["spec"]["template"]["spec"] for _, document in documents() if document["kind"] in ("Deployment", "Job")
    ]
    assert len(pods) == 3
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        [container] = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"] == "512Mi"
