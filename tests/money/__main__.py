"""`python -m tests.money`: 5,000 genuine redemptions under faults beside 5,000 forged webhooks; exit 0 when clean."""

import asyncio
import os
import random
import sys
import time

from tests.money.suite import Suite, summary

SEED = int(os.environ.get("MONEY_SEED", random.SystemRandom().randrange(1 << 32)))
GENUINE = int(os.environ.get("MONEY_GENUINE", "5000"))
FORGED = int(os.environ.get("MONEY_FORGED", "5000"))


def main() -> int:
    sys.stderr.write(f"MONEY_SEED={SEED}\n")
    started = time.monotonic()
    suite = Suite(GENUINE, FORGED, SEED)
    tally = asyncio.run(suite.run())
    for words in tally.words[:50]:
        sys.stdout.write(f"{words}\n")
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(suite.sent.items()))
    sys.stdout.write(f"forged: {kinds}; {time.monotonic() - started:.0f} s\n{summary(tally)}\n")
    return 0 if tally.clean else 1


if __name__ == "__main__":
    sys.exit(main())
