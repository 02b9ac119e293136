"""A relay of three cells: two schemas of one database, and a schema of another."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from app import wiring
from app.settings import CellSettings, PlatformSettings, Settings
from tests.api.served import DOOR_SECRET, OPERATOR_KEY, STORE_KEY, serving
from tests.helpers import free_port


def settings_of(folder: Path, *cells: tuple[str, str]) -> Settings:
    """Of cells given as (URL, schema)."""
    return Settings(
        _env_file=None,
        data_dir=folder,
        cells=tuple(CellSettings.model_validate({"url": url, "schema": schema}) for url, schema in cells),
        store_key=SecretStr(STORE_KEY),
        operator_key=SecretStr(OPERATOR_KEY),
        platform=PlatformSettings(door_secret=SecretStr(DOOR_SECRET)),
    )


@pytest.fixture
def settings(tmp_path: Path, database_url: str, empty_database_url: str) -> Settings:
    return settings_of(tmp_path, (database_url, "cell_1"), (database_url, "cell_2"), (empty_database_url, "cell_3"))


@pytest.fixture
def lacking(tmp_path: Path, database_url: str) -> Settings:
    """The third cell's server is away."""
    nowhere = f"postgresql://relay@127.0.0.1:{free_port()}/relay"
    return settings_of(tmp_path, (database_url, "cell_1"), (database_url, "cell_2"), (nowhere, "cell_3"))


@pytest.fixture
async def web(settings: Settings) -> AsyncIterator[tuple[wiring.Services, str]]:
    await wiring.migrated(settings, "")
    async with serving(settings, "") as running:
        yield running


def line(kind: str, **event: object) -> str:
    """One of a batch."""
    return json.dumps({"type": kind, "event": event})
