"""Backups as docs/operations.md shows them, restored, with what came after them driven again: nothing lost, nothing doubled."""

import json
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

import pytest
from uuid_utils.compat import uuid7

from platform_relay.core import migrate
from platform_relay.core.database import create_engine
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.inbox import Inbox
from platform_relay.jobs.backup import mark_restored
from platform_relay.platform.webhooks import webhook_message
from simulators.process import Simulator, run
from tests.database.engine_room import rows
from tests.faults.server import ROLE, PostgresServer
from tests.helpers import eventually
from tests.reconcile.proof import Relay, relay
from tests.reconcile.shop import LONG_AGO, Injured, entity
from tests.reconcile.test_reconcile import taken_in

SEED: Final = int(os.environ.get("RECONCILE_SEED", random.SystemRandom().randrange(1 << 32)))
REDEEMED: Final = {
    "id": "redemption-1",
    "customer": {"externalId": "r1", "email": "r1@example.com"},
    "points": 500,
    "couponCode": "5b1f9c2ad0e7",
    "rewardType": "fixedamountdiscount",
    "ruleId": "rule-5-off",
    "redeemRule": {"id": "rule-5-off", "pointCost": 500, "discountValue": "5.00"},
}


OPEN: Final = range(2_900_001, 2_900_004)
"""Orders."""


class Way(Protocol):
    """How a backup is made and restored."""

    async def begin(self) -> None:
        """Before anything happens."""

    async def copy(self) -> None:
        """The moment that will be gone back to."""

    async def restore(self) -> str:
        """The address of the restored database."""

    def end(self) -> None: ...


class Dump:
    """`pg_dump` of the database, restored into a new one."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._file = server.folder / "relay.dump"

    async def begin(self) -> None: ...

    async def copy(self) -> None:
        self._server.run("pg_dump", "--format=custom", f"--file={self._file}", f"--dbname={self._server.url()}")

    async def restore(self) -> str:
        connection = await self._server.connect(database="postgres")
        await connection.execute(f"DROP DATABASE {ROLE} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {ROLE} OWNER {ROLE}")
        await connection.close()
        self._server.run("pg_restore", f"--dbname={self._server.url()}", "--exit-on-error", str(self._file))
        return self._server.url()

    def end(self) -> None: ...


class PointInTime:
    """`pg_basebackup` and the archived log, restored to a moment after the copy."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._restored = PostgresServer(server.folder / "restored")
        self._moment: datetime | None = None

    async def begin(self) -> None:
        server = self._server
        at = ("-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres")
        server.run("pg_basebackup", *at, "-D", str(self._restored.data), "--checkpoint=fast", "--no-sync")

    async def copy(self) -> None:
        connection = await self._server.connect()
        self._moment = await connection.fetchval("SELECT clock_timestamp()")
        await connection.close()

    async def restore(self) -> str:
        connection = await self._server.connect()
        await connection.execute("SELECT pg_switch_wal()")
        await connection.close()
        self._server.stop()
        archive = self._server.folder / "archive"
        with (self._restored.data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"restore_command = 'cp {archive}/%f %p'\n")
            settings.write(f"recovery_target_time = '{self._moment}'\nrecovery_target_action = 'promote'\n")
        (self._restored.data / "recovery.signal").touch()
        await self._restored.start()
        connection = await self._restored.connect()
        await eventually(lambda: connection.fetchval("SELECT NOT pg_is_in_recovery()"), 60)
        await connection.close()
        return self._restored.url()

    def end(self) -> None:
        self._restored.end()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[PostgresServer]:
    archive = tmp_path / "postgres" / "archive"
    settings = {"archive_mode": "on", "archive_command": f"mkdir -p {archive} && cp %p {archive}/%f"}
    server = PostgresServer(tmp_path / "postgres", settings)
    try:
        await server.create()
        yield server
    finally:
        server.end()


@pytest.fixture
def destinations(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Simulator, Simulator]]:
    with run("shop") as shop, run("platform", "--set", "second_order_post=duplicate") as platform:
        monkeypatch.setenv("WOOCOMMERCE__URL", shop.url)
        monkeypatch.setenv("WOOCOMMERCE__CONSUMER_KEY", "ck_simulator_key")
        monkeypatch.setenv("WOOCOMMERCE__CONSUMER_SECRET", "cs_simulator_key")
        monkeypatch.setenv("COUPONS__CURRENCY", "EUR")
        yield shop, platform


async def redeemed(inbox: Inbox) -> None:
    """The Platform's webhook of a redemption; it may be sent again."""
    message_id = uuid7()
    await inbox.accept(webhook_message("points/redeemed", json.dumps(REDEEMED).encode(), str(message_id)), message_id)


@pytest.mark.parametrize("way", [Dump, PointInTime])
async def test_what_came_after_the_copy_is_driven_again_and_nothing_twice(
    way: type[Dump] | type[PointInTime],
    server: PostgresServer,
    destinations: tuple[Simulator, Simulator],
    tmp_path: Path,
) -> None:
    sys.stderr.write(f"RECONCILE_SEED={SEED}\n")
    shop, platform = destinations
    engine = create_engine(server.url(), application_name="tests", pool_size=1)
    await migrate.upgrade(engine)
    await engine.dispose()
    backup: Way = way(server)
    injured = Injured(shop, platform, 60, 6, SEED)
    injured.open()
    platform.control("clear")
    await backup.begin()
    try:
        async with relay(server.url(), tmp_path, platform) as here:
            await taken_in(here)
            await here.drained(60)
            platform.outage()
            injured.seed_shop(EventKind.ORDER, (entity(EventKind.ORDER, number, LONG_AGO, "", 1) for number in OPEN))
            await taken_in(here)
            await backup.copy()  # it has these orders to send; they are delivered afterwards
            platform.outage(on=False)
            await here.drained(60)

            begun = datetime.now(UTC) - timedelta(seconds=10)  # the changes must be past when they are compared
            changed = [injured.take(kind) for kind in EventKind for _ in range(3)]
            injured.change(changed[:5], begun + timedelta(seconds=1))
            injured.change([injured.new(kind) for kind in EventKind], begun + timedelta(seconds=1))
            await taken_in(here)
            await redeemed(here.parts.inbox)
            await here.drained(60)  # all this is delivered, and will be forgotten
            platform.outage()
            injured.change(changed[5:], begun + timedelta(seconds=1))
            await taken_in(here)  # this is acknowledged only, and will be forgotten
        platform.outage(on=False)

        url = await backup.restore()
        engine = create_engine(url, application_name="tests", pool_size=1)
        await mark_restored(engine, "test")
        doubted = "SELECT count(*) FILTER (WHERE NOT uncertain), count(*) >= :open FROM job WHERE state IN ('waiting', 'running')"
        assert await rows(engine, doubted, open=len(OPEN)) == [(0, True)]
        assert await mark_restored(engine, "test") == 0
        await engine.dispose()
        async with relay(url, tmp_path, platform) as restored:
            await restored.drained(60)
            await set_right(restored, begun, 12)
            assert injured.unlike() == []
            assert (await restored.reconciled(begun, timedelta(0))).difference_count == 0
            await redeemed(restored.parts.inbox)
            await restored.drained(60)
    finally:
        backup.end()
    posted = Counter(entry["entity"] for entry in platform.ledger(applied=1) if entry["kind"] == "order.post")
    assert {entity: times for entity, times in posted.items() if times > 1} == {}
    made = [entry for entry in shop.ledger(applied=1) if str(entry["kind"]).startswith("coupon.")]
    assert [entry["kind"] for entry in made] == ["coupon.create"]


async def set_right(restored: Relay, since: datetime, differences: int) -> None:
    view = await restored.reconciled(since, timedelta(0))
    assert view.difference_count == differences
    await restored.repaired(view)
    await restored.drained(60)
