"""`python -m tests.reconcile`: 10,000 differences in 200,000 entities; exit 0 when each is found and none is invented."""

import asyncio
import logging
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import structlog

from platform_relay.core import migrate
from platform_relay.core.database import create_engine
from platform_relay.core.embedded import EmbeddedPostgres
from simulators.process import run
from tests.reconcile.proof import ProofResult, prove
from tests.reconcile.shop import Injured

SEED = int(os.environ.get("RECONCILE_SEED", random.SystemRandom().randrange(1 << 32)))
ENTITIES = int(os.environ.get("RECONCILE_ENTITIES", "200000"))
DIFFERENCES = int(os.environ.get("RECONCILE_DIFFERENCES", "10000"))
SHOP = {"URL": "", "CONSUMER_KEY": "ck_simulator_key", "CONSUMER_SECRET": "cs_simulator_key"}


def main() -> int:
    sys.stderr.write(f"RECONCILE_SEED={SEED}\n")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    folder = Path(tempfile.mkdtemp(prefix="relay-reconcile-"))
    folder.chmod(0o711)  # the server of a root user is somebody else, who must get through
    try:
        server = EmbeddedPostgres.start(folder / "postgres", settings={"synchronous_commit": "off"})
        try:
            with run("shop") as shop, run("platform") as platform:
                os.environ.update({f"WOOCOMMERCE__{name}": value for name, value in {**SHOP, "URL": shop.url}.items()})
                injured = Injured(shop, platform, ENTITIES, DIFFERENCES, SEED)
                result = asyncio.run(_proven(injured, server.url, folder))
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for words in result.wrong[:50]:
        sys.stdout.write(f"{words}\n")
    causes = ", ".join(f"{count:,} {cause}" for cause, count in sorted(result.expected.items()))
    times = ", ".join(f"{name} in {seconds:g} s" for name, seconds in result.seconds.items())
    sys.stdout.write(
        f"{result.entities:,} entities, {result.expected.total():,} differences ({causes}): {len(result.wrong):,} wrong; {times}\n"
    )
    return int(bool(result.wrong))


async def _proven(injured: Injured, url: str, folder: Path) -> ProofResult:
    engine = create_engine(url, application_name="proof", pool_size=1)
    await migrate.upgrade(engine)
    await engine.dispose()
    return await prove(injured, url, folder, 1800)


if __name__ == "__main__":
    sys.exit(main())
