"""HTTP load, from a process of its own (generator.py)."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Final

from benchmarks.stage import ROOT, STORE_KEY, StageError

EVENT: Final = "/v1/events/customers"
BATCH: Final = "/v1/events/batch"


@dataclass(frozen=True, slots=True)
class Load:
    """`lines` > 0: batches of that many events each. `rate` (requests per second) 0: as fast as it goes."""

    url: str
    series: int
    connections: int
    seconds: float
    size: int
    lines: int = 0
    rate: float = 0.0
    wrong: bool = False
    """Events that are refused with 422; `Answers` then counts these."""

    def run(self) -> "Answers":
        """Raises StageError when the generator fails or anything but 2xx (422 for `wrong`) came back."""
        result = {**asdict(self), "path": BATCH if self.lines else EVENT, "key": STORE_KEY}
        command = [sys.executable, "-m", "benchmarks.generator", json.dumps(result)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StageError(f"the load generator failed: {done.stderr[-500:]}")
        answers = Answers(**json.loads(done.stdout))
        if answers.refused or not answers.events:
            raise StageError(f"{answers.refused} requests were refused, {answers.events} events taken ({self.url})")
        return answers


@dataclass(frozen=True, slots=True)
class Answers:
    """`events` acknowledged in `seconds`; latencies in milliseconds; `cpu`: the generator's own share of a core."""

    events: int
    seconds: float
    refused: int
    p50: float
    p99: float
    cpu: float

    @property
    def per_second(self) -> float:
        return self.events / self.seconds
