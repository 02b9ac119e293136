"""The dependencies' audit can fail, and the bill of materials names what is installed."""

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.security.audit import verdict

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"


def test_a_known_weakness_fails_and_an_absent_service_is_told() -> None:
    weak = {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
    well = {"name": "b", "version": "1", "vulns": []}
    unknown = {"name": "c", "skip_reason": "not found"}
    assert verdict({"dependencies": [well, weak]}) == (1, "a 1: CVE-1, mended in 2")
    assert verdict({"dependencies": [well, unknown]})[0] == 0
    assert "1 unknown" in verdict({"dependencies": [well, unknown]})[1]
    assert verdict({"dependencies": [unknown]})[1].startswith("NOT AUDITED")


def test_the_bill_of_materials_names_every_locked_package(tmp_path: Path) -> None:
    bill = tmp_path / "sbom.json"
    command = ["cyclonedx_py", "requirements", "--pyproject", "pyproject.toml", "--output-reproducible", "--of", "JSON"]
    subprocess.run(
        [sys.executable, "-m", *command, "-o", str(bill), str(LOCK)], cwd=ROOT, check=True, capture_output=True
    )
    document = json.loads(bill.read_text())
    locked = dict(re.findall(r"^([a-z0-9][\w.-]*(?:\[\w+\])?)==([\w.+!-]+)", LOCK.read_text(), re.MULTILINE))
    assert len(locked) > 30
    named = {component["name"]: component.get("version") for component in document["components"]}
    for name, version in locked.items():
        assert named[name.partition("[")[0]] == version, name
    assert document["metadata"]["component"]["name"] == "platform-relay"
