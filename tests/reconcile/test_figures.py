"""The figures of a reconciliation on the command line and in the console."""

from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner, Result

from platform_relay.cli.program import cli
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.events import EventKind
from platform_relay.reconcile.coverage import Coverage, StoreCount
from platform_relay.reconcile.differences import Difference
from platform_relay.reconcile.runs import Reconciliations
from platform_relay.settings import Settings
from simulators.process import Simulator
from tests.api.served import OPERATOR_KEY, serving
from tests.reconcile.shop import LONG_AGO, entity


@pytest.fixture
def command(
    shop: Simulator, platform: Simulator, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "DATABASE_URL": database_url,
        "STORE__ADAPTER": "woocommerce",
        "PLATFORM__URL": platform.url,
        "PLATFORM__LAUNCHER_URL": platform.url,
        "PLATFORM__API_KEY": "sim-platform-key",
    }.items():
        monkeypatch.setenv(name, value)
    shop.control("seed", products=[entity(EventKind.PRODUCT, 7, LONG_AGO)])


def reconcile(*words: str) -> Result:
    return CliRunner().invoke(cli, ["reconcile", *words])


def test_the_command_fails_if_not_everything_could_be_compared(command: None, shop: Simulator) -> None:
    assert reconcile("orders").exit_code == 0
    shop.script(path="/wp-json/wc/v3/orders", persistent=True, status=401, body={"code": "x", "message": "no"})
    failed = reconcile("orders")
    assert failed.exit_code == 1, failed.output
    assert "could not be read to its end" in " ".join(failed.output.split())


def test_in_a_narrow_terminal_each_reconciliation_is_listed_on_one_line(command: None) -> None:
    assert reconcile("orders").exit_code == 0
    listed = CliRunner().invoke(cli, ["reconciliations", "list"], env={"COLUMNS": "80"})
    assert listed.exit_code == 0, listed.output
    assert "  done  0 differences  orders, by " in " ".join(listed.output.split("\n"))
    assert "│" not in listed.output


async def test_the_console_shows_the_figures_of_the_last_comparison(
    engine: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    books = Reconciliations(engine)
    view = await books.claim(await books.request("t", None))
    assert view is not None
    await books.add_differences(view.id, [Difference(EventKind.ORDER, "1", "stale", "another content")])
    coverage = Coverage(
        store_counts={"orders": StoreCount(1205, 1204)},
        unreadable={"orders": 2},
        failures={"orders": because(ReasonCode.LIST_INCOMPLETE, kind="orders", count=1204, listed=1203)},
    )
    await books.finish(view.id, {"orders": 1201}, ["Not all orders could be compared"], None, coverage)
    settings = Settings(_env_file=None, data_dir=tmp_path, operator_key=SecretStr(OPERATOR_KEY))
    async with (
        serving(settings, database_url) as (_, url),
        httpx.AsyncClient(base_url=url, headers={"origin": url}, timeout=20) as console,
    ):
        await console.post("/console/login", data={"key": OPERATOR_KEY})
        page = " ".join((await console.get("/console")).text.split())
    assert "The last comparison found 1 difference<" in page
    for figure in ("1,201", "the store counts 1,204", "2 could not be read", "Not all orders could be compared"):
        assert figure in page, figure
