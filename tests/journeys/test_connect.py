"""`relay webhooks install` as a merchant types it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from platform_relay.cli.program import cli
from platform_relay.stores.woocommerce.events import TOPICS
from simulators.process import Simulator
from tests.contract.doubles import process

ADDRESS = "https://relay.example"
TARGET = f"{ADDRESS}/v1/store-webhooks/woocommerce"


@pytest.fixture
def shop(shop_process: Simulator, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Simulator:
    shop_process.reset(config=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("STORE__ADAPTER", "woocommerce")
    monkeypatch.setenv("WOOCOMMERCE__URL", shop_process.url)
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_KEY", "ck_simulator_key")
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_SECRET", "cs_simulator_key")
    monkeypatch.setenv("WOOCOMMERCE__WEBHOOK_SECRET", "webhook-secret-of-the-test")
    return shop_process


def connect(*words: str) -> Result:
    return CliRunner().invoke(cli, ["webhooks", "install", *words])


def acts(result: Result) -> list[str]:
    """What was done, one word a webhook."""
    assert result.exit_code == 0, result.output
    report = " ".join(result.output.split()).replace("would ", "")
    return [report.split(f" {topic} ->")[0].rsplit(" ", 1)[-1] for topic in TOPICS if f" {topic} ->" in report]


def webhooks(shop: Simulator) -> list[tuple[str, str]]:
    return sorted((webhook["topic"], webhook["delivery_url"]) for webhook in shop.state("webhooks").values())


def test_it_shows_then_does_then_has_nothing_left_to_do_and_takes_down(shop: Simulator) -> None:
    words = ("woocommerce", "--address", ADDRESS)
    assert acts(connect(*words, "--dry-run")) == ["create"] * len(TOPICS)
    assert webhooks(shop) == []
    assert acts(connect(*words)) == ["create"] * len(TOPICS)
    assert webhooks(shop) == [(topic, TARGET) for topic in sorted(TOPICS)]
    assert acts(connect(*words)) == ["keep"] * len(TOPICS)
    assert acts(connect(*words, "--remove", "--dry-run")) == ["delete"] * len(TOPICS)
    assert acts(connect(*words, "--remove")) == ["delete"] * len(TOPICS)
    assert webhooks(shop) == []
    assert acts(connect(*words, "--remove")) == []


def test_what_is_wrong_with_the_credentials_is_said_in_words(shop: Simulator) -> None:
    shop.config(read_only=True)
    refused = connect("woocommerce", "--address", ADDRESS)
    assert refused.exit_code == 1
    words = " ".join(refused.output.split())
    assert "Grant the permission Read/Write. The key is read-only" in words
    assert webhooks(shop) == []


def test_it_needs_to_know_where_it_is_reached(shop: Simulator) -> None:
    assert "PUBLIC_URL" in str(connect("woocommerce").exception)


def test_a_shop_without_webhooks_gets_the_piece_to_paste(shop: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    piece = Path(__file__).parents[2] / "integrations" / "medusa" / "relay.ts"
    with process.run("medusa") as medusa:
        monkeypatch.setenv("STORE__ADAPTER", "medusa")
        monkeypatch.setenv("MEDUSA__URL", medusa.url)
        monkeypatch.setenv("MEDUSA__API_KEY", "sk_0123456789abcdef")
        result = connect("medusa")
    assert result.exit_code == 0, result.output
    assert piece.read_text() in result.stdout
    assert "STORE__POLL_INTERVAL" in result.stderr
