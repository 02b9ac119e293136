"""`python -m tests.mutation`: are the engine's tests worth something? `make mutation` runs it.

First every invariant's guard is broken by hand (`breaks.py`): its test must fail. Then mutmut changes the engine's Python
code in every way it knows and runs the tests that come by. Exit code 0 when no break went unnoticed and at least LEAST of
the mutants were killed. Both go on where they were stopped: what mutmut found is kept in `mutants/`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from platform_relay.core.embedded import EmbeddedPostgres
from tests.conftest import TEST_SERVER
from tests.mutation.breaks import BREAKS, Break

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "reliability.md"
BEGIN: Final = "<!-- results of mutmut -->"
END: Final = "<!-- end of what it found -->"
MUTMUT: Final = str(Path(sys.executable).parent / "mutmut")
LEAST: Final = 85.0
"""Per cent."""
PATIENCE: Final = 300.0
"""Seconds for the test of one break."""
KILLED: Final = frozenset({"killed", "timeout", "segfault", "caught by type check"})


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--only", choices=("breaks", "mutants"), help="one of the two parts")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at once (2)")
    parser.add_argument("--write-docs", action="store_true", help="put the score into docs/reliability.md")
    parser.add_argument("names", nargs="*", help="mutants (patterns) to run again, or words of breaks")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="relay-mutation-"))
    folder.chmod(0o711)
    server = EmbeddedPostgres.start(folder / "postgres", settings=TEST_SERVER)
    environment = {**os.environ, "TEST_DATABASE_URL": server.url}
    good = True
    try:
        if chosen.only != "mutants":
            good &= _break_all(folder, environment, chosen.names)
        if chosen.only != "breaks":
            subprocess.run(
                [MUTMUT, "run", "--max-children", str(chosen.jobs), *chosen.names],
                cwd=ROOT,
                env=environment,
                check=False,
            )
            good &= _tell(write=chosen.write_docs)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if good else 1


def _break_all(folder: Path, environment: dict[str, str], words: list[str]) -> bool:
    """True when all tests pass as the code is, and each break makes its own fail."""
    copy = folder / "broken"
    shutil.copytree(
        ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(".*", "mutants", "node_modules", "__pycache__")
    )
    chosen = [each for each in BREAKS if not words or any(word in str(each) for word in words)]
    if not _pass({each.guard for each in chosen}, copy, environment):
        say("FAIL  the tests do not pass as the code is")
        return False
    unnoticed = 0
    for each in chosen:
        verdict = _judge(each, copy, environment)
        unnoticed += verdict != "noticed"
        say(f"{'ok  ' if verdict == 'noticed' else 'FAIL'}  {each.promise}: {each.what}  [{verdict}]")
    say(json.dumps({"breaks": len(chosen), "unnoticed": unnoticed}))
    return not unnoticed


def _judge(each: Break, copy: Path, environment: dict[str, str]) -> str:
    file = copy / each.file
    whole = file.read_text()
    if whole.count(each.old) != 1:
        return f"the text to be broken stands {whole.count(each.old)} times in {each.file}"
    file.write_text(whole.replace(each.old, each.new))
    try:
        return "not noticed" if _pass({each.guard}, copy, environment) else "noticed"
    finally:
        file.write_text(whole)


def _pass(guards: set[str], copy: Path, environment: dict[str, str]) -> bool:
    # -m puts the working directory first on the path, before the installed project
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-m",
        "",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        *sorted(guards),
    ]
    patience = PATIENCE * (1 + len(guards) // 8)
    try:
        ran = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired:
        return False
    if ran.returncode not in (0, 1):
        result = ran.stdout.decode()[-2000:] + ran.stderr.decode()[-500:]
        raise RuntimeError(f"pytest could not run {', '.join(guards)}:\n{result}")
    return ran.returncode == 0


def _tell(*, write: bool) -> bool:
    """The score of what was tried so far; true when that was all, and enough were killed."""
    result = subprocess.run([MUTMUT, "results", "--all", "true"], cwd=ROOT, capture_output=True, text=True, check=True)
    verdicts = [line.strip().rpartition(": ") for line in result.stdout.splitlines() if line.startswith("    ")]
    modules: dict[str, Counter[str]] = {}
    for name, _, verdict in verdicts:
        modules.setdefault(".".join(name.split(".")[:3]), Counter())[verdict] += 1
        if verdict not in KILLED:
            say(f"{verdict}: {name}")
    lines = ["| module | mutants | tried | killed |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {' | '.join(map(str, _counts(counts)))} |" for name, counts in sorted(modules.items())]
    mutants, tried, killed = _counts(sum(modules.values(), Counter()))
    score = 100 * killed / tried if tried else 0.0
    last = json.dumps({"mutants": mutants, "tried": tried, "killed": killed, "score": round(score, 1)})
    say("\n".join([*lines, "", last]))
    if write:
        before, begin, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text("\n".join([before + begin, *lines, "", f"    {last}", END + rest.partition(END)[2]]))
    return score >= LEAST and tried == mutants


def _counts(verdicts: "Counter[str]") -> tuple[int, int, int]:
    """Mutants, those that were tried, those that were killed."""
    mutants = verdicts.total()
    return mutants, mutants - verdicts["not checked"], sum(verdicts[each] for each in KILLED)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
