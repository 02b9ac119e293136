"""The manifests of deploy/kubernetes are what Kubernetes accepts: built by kustomize, and validated offline against its schemas.

Those of the base are read without kustomize, so that most of this is tested on a machine without kubectl too.
"""

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final  # Any: YAML

import kubernetes_validate
import pytest
import yaml
from prometheus_client import CollectorRegistry

from platform_relay.core.metrics import Backlog, QueueGauges, QueueSnapshot
from platform_relay.settings import Settings

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "kubernetes"
BASE: Final = FOLDER / "base"
VERSION: Final = "1.32"
OF_OTHERS: Final = {
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
    "Kustomization": "kustomize.config.k8s.io/v1beta1",
    "Component": "kustomize.config.k8s.io/v1alpha1",
    "Cluster": "postgresql.cnpg.io/v1",
    "Database": "postgresql.cnpg.io/v1",
    "Pooler": "postgresql.cnpg.io/v1",
    "ScheduledBackup": "postgresql.cnpg.io/v1",
    "ObjectStore": "barmancloud.cnpg.io/v1",
}
"""Kinds that are not Kubernetes' own, and their versions. Schemas of these are not at hand."""


def documents() -> list[tuple[str, dict[str, Any]]]:
    """Those of the base."""
    return [
        (f"{path.name}:{document['kind']}/{document.get('metadata', {}).get('name', '')}", document)
        for path in sorted(BASE.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ]


def validate(document: dict[str, Any]) -> None:
    if document["kind"] in OF_OTHERS:
        assert document["apiVersion"] == OF_OTHERS[document["kind"]]
    else:
        kubernetes_validate.validate(document, VERSION, strict=True)


@pytest.mark.parametrize(("name", "document"), documents(), ids=[name for name, _ in documents()])
def test_a_manifest_is_valid(name: str, document: dict[str, Any]) -> None:
    validate(document)


@pytest.mark.parametrize("listing", sorted(FOLDER.rglob("kustomization.yaml")), ids=lambda path: path.parent.name)
def test_every_manifest_is_applied(listing: Path) -> None:
    content = yaml.safe_load(listing.read_text())
    listed = {*content.get("resources", []), *(patch.get("path") for patch in content.get("patches", []))}
    there = {path.name for path in listing.parent.glob("*.yaml") if path.name != "kustomization.yaml"}
    assert there == {name for name in listed if name is not None and "/" not in name}


# ----------------------------------------------------------------------------------------------- as kustomize builds them


Documents = dict[tuple[str, str], dict[str, Any]]
"""By kind and name."""


def build(folder: Path) -> Documents:
    command = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
    if shutil.which(command[0]) is None:
        pytest.skip("neither kubectl nor kustomize is installed here")
    ended = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    built = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(ended.stdout)}
    for document in built.values():
        validate(document)
    return built


def settings_in(container: dict[str, Any], built: Documents) -> dict[str, object]:
    """What the container gets: from its ConfigMap, its Secret and its own list."""
    found: dict[str, object] = {}
    for source in container["envFrom"]:
        [(reference, value)] = source.items()
        kind = {"configMapRef": "ConfigMap", "secretRef": "Secret"}[reference]
        found |= built[kind, value["name"]]["data"]
    return found | {each["name"]: each.get("value", each.get("valueFrom")) for each in container.get("env", [])}


def containers(built: Documents) -> dict[str, dict[str, Any]]:
    return {
        name: document["spec"]["template"]["spec"]["containers"][0]
        for (kind, name), document in built.items()
        if kind in ("Deployment", "Job")
    }


def known(setting: str) -> bool:
    group, _, _ = setting.lower().partition("__")
    return group in Settings.model_fields or group == "woocommerce"


def test_a_store_has_a_namespace_and_settings_of_its_own() -> None:
    built = build(FOLDER / "stores" / "example")
    assert [name for kind, name in built if kind == "Namespace"] == ["relay-example"]
    inside = {document["metadata"].get("namespace") for (kind, _), document in built.items() if kind != "Namespace"}
    assert inside == {"relay-example"}
    assert set(containers(built)) == {"web", "worker", "migrate"}
    for container in containers(built).values():
        settings = settings_in(container, built)
        assert (settings["DATABASE_SCHEMA"], settings["PORT"]) == ("example", "8080")
        assert {"DATABASE_URL", "DATABASE_LISTEN_URL", "PLATFORM__API_KEY"} <= set(settings)
        assert [name for name in settings if not known(name)] == []


def test_two_stores_have_nothing_in_common(tmp_path: Path) -> None:
    """As README and comments say: copy the folder, change the namespace and the two files."""
    shutil.copytree(FOLDER, tmp_path / "kubernetes")
    stores = tmp_path / "kubernetes" / "stores"
    shutil.copytree(stores / "example", stores / "second")
    for name in ("kustomization.yaml", "settings.env"):
        file = stores / "second" / name
        file.write_text(
            file.read_text().replace("relay-example", "relay-second").replace("SCHEMA=example", "SCHEMA=second")
        )
    first, second = build(stores / "example"), build(stores / "second")
    places = [{(kind, document["metadata"].get("namespace"), name) for (kind, name), document in built.items()}
              for built in (first, second)]  # fmt: skip
    assert places[0] & places[1] == set()
    schemas = [settings_in(containers(built)["web"], built)["DATABASE_SCHEMA"] for built in (first, second)]
    assert schemas == ["example", "second"]


def test_the_component_gives_the_relay_the_address_of_the_primary(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "kubernetes")
    store = tmp_path / "kubernetes" / "stores" / "example"
    listing = store / "kustomization.yaml"
    text = listing.read_text()
    assert "# components:\n#   - ../../components/cloudnative-pg\n" in text
    listing.write_text(text.replace("# components:", "components:").replace("#   - ../..", "  - ../.."))
    built = build(store)
    for container in containers(built).values():
        url = settings_in(container, built)["DATABASE_URL"]
        assert url == {"secretKeyRef": {"name": "postgres-app", "key": "uri"}}
        assert {"name": "DATABASE_SYNCHRONOUS_REPLICATION", "value": "true"} in container["env"]
        assert len({each["name"] for each in container["env"]}) == len(container["env"])
    check_cluster(built)


def check_cluster(built: Documents) -> None:
    """Three instances on three machines; a commit is on two of them; backups; metrics."""
    cluster = built["Cluster", "postgres"]["spec"]
    assert cluster["instances"] == 3
    assert cluster["affinity"]["podAntiAffinityType"] == "required"
    assert cluster["postgresql"]["synchronous"] == {
        "method": "any",
        "number": 1,
        "dataDurability": "required",
        "failoverQuorum": True,
    }
    [plugin] = cluster["plugins"]
    backup = built["ScheduledBackup", "postgres"]["spec"]
    assert backup["cluster"]["name"] == "postgres"
    assert backup["pluginConfiguration"]["name"] == plugin["name"]
    assert plugin["isWALArchiver"]
    assert ("ObjectStore", plugin["parameters"]["barmanObjectName"]) in built
    monitor = built["PodMonitor", "postgres"]["spec"]
    assert monitor["selector"]["matchLabels"] == {"cnpg.io/cluster": "postgres"}


def test_one_postgresql_for_many_stores() -> None:
    """Each role has a schema; connections of all together are fewer than the server admits."""
    built = build(FOLDER / "postgres")
    check_cluster(built)
    cluster, pooler = built["Cluster", "postgres"]["spec"], built["Pooler", "pooler"]["spec"]
    database = built["Database", "relay"]["spec"]
    assert database["name"] == cluster["bootstrap"]["initdb"]["database"]
    assert [role["name"] for role in cluster["managed"]["roles"]] == [each["owner"] for each in database["schemas"]]
    assert all(each["name"] == each["owner"] for each in database["schemas"])
    assert pooler["pgbouncer"]["poolMode"] == "transaction"
    assert pooler["cluster"]["name"] == database["cluster"]["name"] == "postgres"
    of_poolers = pooler["instances"] * int(pooler["pgbouncer"]["parameters"]["max_db_connections"])
    listening = 20 * 4  # twenty stores with four workers
    assert of_poolers + listening < int(cluster["postgresql"]["parameters"]["max_connections"])


def test_the_addresses_of_the_example_are_those_of_the_shared_postgresql() -> None:
    lines = (FOLDER / "stores" / "example" / "secret.env").read_text().splitlines()
    hosts = {line.split("=")[0]: line.split("@")[1].split(":")[0] for line in lines if line.startswith("DATABASE")}
    assert hosts == {"DATABASE_URL": "pooler.relay-postgres", "DATABASE_LISTEN_URL": "postgres-rw.relay-postgres"}


# ----------------------------------------------------------------------------------------------- the base


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {document["metadata"]["name"]: document for _, document in documents() if document["kind"] == kind}


def pods() -> dict[str, dict[str, Any]]:
    """Pod templates of what runs for good, and of the job."""
    return {name: each["spec"]["template"] for kind in ("Deployment", "Job") for name, each in of_kind(kind).items()}


def test_what_selects_something_selects_something_that_is_there() -> None:
    """A misspelt label selects nothing, without an error."""
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
    """The port stands in four places: the worker's setting, its pod, its monitor and its network policy."""
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
    assert f"find {beat}.ready " in worker["readinessProbe"]["exec"]["command"][-1]
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
