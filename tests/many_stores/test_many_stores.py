"""Three relays on one PostgreSQL through PgBouncer. `make many-stores` runs twenty and measures them."""

from pathlib import Path

import pytest

from tests.faults.pooler import Missing
from tests.many_stores.move import move
from tests.many_stores.run import play


async def test_what_one_store_sends_is_seen_by_its_own_relay_alone(tmp_path: Path) -> None:
    try:
        report = await play(tmp_path, stores=3, idle_seconds=0)
    except Missing as missing:
        pytest.skip(str(missing))
    assert report.findings == []
    assert report.connections < 60, "PgBouncer keeps them few"


async def test_a_store_moves_to_another_server_while_jobs_wait(tmp_path: Path) -> None:
    moved = await move(tmp_path, events=50, waiting=30)
    assert (moved.posted, moved.posted_twice) == (30, 0)
