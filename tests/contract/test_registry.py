"""Choosing an adapter by name, what is said when it is not set up, and docs/adapters.md against the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.settings import EnvironmentSettings
from app.stores import ADAPTERS, adapter_class, build, variables
from app.stores.base import CouponKind
from app.stores.generic_http import GenericHttp

GUIDE = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text()
VARIABLES = {
    "GENERIC_HTTP__URL": "https://shop.example/relay",
    "GENERIC_HTTP__SECRET": "whsec_c2ltdWxhdG9yLXNlY3JldC1zaW11bGF0b3Itc2VjcmV0",
}


class NoAdapter:
    """Named by a dotted path, and none."""


async def test_by_name_and_by_path(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    for name in ("generic_http", "app.stores.generic_http:GenericHttp"):
        adapter = build(name, time_limit=3)
        assert isinstance(adapter, GenericHttp)
        await adapter.aclose()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("shopware", "known: generic_http, woocommerce"),
        ("no.such.module:Shop", "cannot be loaded"),
        ("app.stores.base:Nothing", "cannot be loaded"),
        (f"{__name__}:NoAdapter", "lacks Settings"),
        ("app.stores.base:CouponKind", "lacks Settings"),
    ],
)
def test_an_unknown_name(name: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        build(name, time_limit=3)


@pytest.mark.parametrize("name", ADAPTERS)
def test_what_is_missing_is_told_in_words(name: str) -> None:
    with pytest.raises(ValueError, match=f"the shop '{name}' is not set up") as raised:
        build(name, time_limit=3)
    for variable, field in variables(ADAPTERS[name].Settings).items():
        assert (f"{variable} is not set ({field.description})" in str(raised.value)) == field.is_required()


def test_what_is_wrong_is_told_without_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WOOCOMMERCE__URL", "shop.example")
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_KEY", "changeme")
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_SECRET", "s3cr3t")
    with pytest.raises(ValueError, match="is not set up") as raised:
        build("woocommerce", time_limit=3)
    said = str(raised.value)
    assert "WOOCOMMERCE__URL Input should be a valid URL" in said
    assert "WOOCOMMERCE__CONSUMER_KEY is a placeholder" in said
    assert "WOOCOMMERCE__CONSUMER_SECRET is shorter than 8" in said
    assert "s3cr3t" not in said


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_has_its_page(name: str) -> None:
    chosen = adapter_class(name)
    assert issubclass(chosen.Settings, EnvironmentSettings)
    page = GUIDE.partition(f"\n## `{name}`")[2].partition("\n## ")[0]
    assert page, f"docs/adapters.md has no section on {name}"
    table = {row[0]: row[1:] for row in re.findall(r"^\| `([A-Z_0-9]+)` \| (yes|no) \| (.+) \|$", page, re.MULTILINE)}
    assert table == {
        variable: ("yes" if field.is_required() else "no", field.description)
        for variable, field in variables(chosen.Settings).items()
    }
    for field, reason in chosen.CANNOT.items():
        assert f"`{field}`: {reason}" in page


def test_the_table_of_kinds_is_the_codes() -> None:
    header, _, *rows = re.findall(r"^\|.+\|$", GUIDE.partition("\n## Kinds\n")[2].partition("\n## ")[0], re.MULTILINE)
    shops = re.findall(r"`(\w+)`", header)
    told = {
        cells[0]: dict(zip(shops, (cell == "yes" for cell in cells[1:]), strict=True))
        for cells in ([cell.strip(" `") for cell in row.strip("|").split("|")] for row in rows)
    }
    assert told == {
        str(kind): {name: kind in adapter.KINDS for name, adapter in ADAPTERS.items()} for kind in CouponKind
    }
