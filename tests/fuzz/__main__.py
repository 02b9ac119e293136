"""`python -m tests.fuzz`: hundreds of thousands of nasty requests to a real service. `make fuzz` runs it.

Everything follows from `--seed`; `--only N` sends request N of that run alone. The last line is a JSON object; exit code 0
when nothing was unhandled, hung or was lost.
"""

import argparse
import asyncio
import random
import sys

from tests.fuzz.run import run, say


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="replays a run")
    parser.add_argument("--requests", type=int, default=200_000, help="of the grammars (200000)")
    parser.add_argument("--examples", type=int, default=150, help="of schemathesis, for each operation (150)")
    parser.add_argument("--processes", type=int, default=2, help="that send (2)")
    parser.add_argument("--only", type=int, help="the number of one request")
    chosen = parser.parse_args()
    say(f"seed {chosen.seed}")
    line, well = asyncio.run(run(chosen.seed, chosen.requests, chosen.examples, chosen.processes, chosen.only))
    say(line)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
