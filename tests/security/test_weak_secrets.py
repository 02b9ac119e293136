"""Keys and secrets that the operator chooses are refused when they could be guessed."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from platform_relay import stores
from platform_relay.core.setting_values import MIN_DIFFERENT, MIN_LENGTH, refuse_weak
from platform_relay.setting_groups import PlatformSettings
from platform_relay.settings import Settings
from simulators.scene import SECRETS

WEAK = ("Tr0ub4dor&3", "operator-key-for-tests1", "abcdefghijk" * 3, "0" * 64, "changeme")
STRONG = "0123456789abcdef01234567"
STORES = {
    "WOOCOMMERCE": ("URL", "CONSUMER_KEY", "CONSUMER_SECRET", "WEBHOOK_SECRET"),
    "SALEOR": ("URL", "TOKEN", "CHANNEL", "WEBHOOK_SECRET"),
}
"""The stores for whose webhooks the operator chooses a secret, with the settings that they need."""


@pytest.mark.parametrize("weak", WEAK)
def test_a_weak_secret_is_refused_with_the_command_that_makes_one(weak: str) -> None:
    check(weak, lambda value: Settings(_env_file=None, store_key=SecretStr(value)))
    check(weak, lambda value: Settings(_env_file=None, operator_key=SecretStr(value)))
    check(weak, lambda value: PlatformSettings(webhook_secret=SecretStr(value)))
    check(weak, lambda value: PlatformSettings(webhook_secret_previous=SecretStr(value)))


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("weak", WEAK)
def test_a_weak_signing_secret_of_a_store_is_refused(store: str, weak: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the store issues may have its form."""
    for name in STORES[store]:
        monkeypatch.setenv(f"{store}__{name}", "https://store.example" if name == "URL" else "issued-1")

    def build(value: str) -> object:
        monkeypatch.setenv(f"{store}__WEBHOOK_SECRET", value)
        return stores.adapter_class(store.lower()).Settings(_env_file=None)

    check(weak, build)


def check(weak: str, build: Callable[[str], object]) -> None:
    with pytest.raises(ValidationError) as refused:
        build(weak)
    text = str(refused.value)
    assert "openssl rand -hex 32" in text or "placeholder" in text
    assert weak == "changeme" or weak not in text
    build(STRONG)


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=60))
def test_the_rule(secret: str) -> None:
    strong = len(secret) >= MIN_LENGTH and len(set(secret)) >= MIN_DIFFERENT
    try:
        refuse_weak(SecretStr(secret))
    except ValueError:
        assert not strong
    else:
        assert strong


@given(st.binary(min_size=32, max_size=32).filter(lambda raw: len(set(raw)) > 24))
def test_what_the_command_prints_is_accepted(raw: bytes) -> None:
    refuse_weak(SecretStr(raw.hex()))


def test_a_process_does_not_start_with_a_weak_key(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "OPERATOR_KEY": "tiny-key-1234", "DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "platform_relay.cli", "web"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "OPERATOR_KEY: is too easy to guess" in " ".join(ended.stderr.split())
    assert "openssl rand -hex 32" in " ".join(ended.stderr.split())
    assert "tiny-key-1234" not in ended.stderr + ended.stdout


def test_the_demo_has_keys_of_its_own() -> None:
    compose = (Path(__file__).parents[2] / "docker-compose.yml").read_text()
    for name in SECRETS:
        [value] = [line.split(": ")[1] for line in compose.splitlines() if line.strip().startswith(f"{name}: ")]
        refuse_weak(SecretStr(value))
