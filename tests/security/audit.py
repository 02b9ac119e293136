"""`python -m tests.security.audit`: known weaknesses of what requirements.lock pins, by pip-audit.

Exit code 1 for a weakness. Where the advisory service cannot be reached, or knows nothing of our packages (behind a
mirror), it says so and goes on: a build must not fail for somebody else's outage.
"""

import json
import subprocess
import sys
from typing import Any, Final  # Any: pip-audit's JSON

SECONDS: Final = 60
COMMAND: Final = (
    "pip_audit",
    "--disable-pip",
    "--no-deps",
    "--progress-spinner",
    "off",
    "--format",
    "json",
    "-r",
    "requirements.lock",
)


def verdict(report: dict[str, Any]) -> tuple[int, str]:
    """The exit code and what to say, of pip-audit's report."""
    packages = report["dependencies"]
    audited = [package for package in packages if "vulns" in package]
    weak = [
        f"{package['name']} {package['version']}: {weakness['id']}, mended in {', '.join(weakness['fix_versions']) or 'no version'}"
        for package in audited
        for weakness in package["vulns"]
    ]
    if weak:
        return 1, "\n".join(weak)
    if not audited:
        return 0, "NOT AUDITED: the advisory service knows none of our packages (a mirror stands in between)"
    unknown = f", {len(packages) - len(audited)} unknown to it" if len(audited) < len(packages) else ""
    return 0, f"{len(audited)} packages without a known weakness{unknown}"


def main() -> int:
    try:
        done = subprocess.run(
            [sys.executable, "-m", *COMMAND], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        report = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        sys.stdout.write(f"NOT AUDITED: the advisory service could not be reached ({type(error).__name__})\n")
        return 0
    code, says = verdict(report)
    sys.stdout.write(says + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
