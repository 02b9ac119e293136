"""Choosing an adapter by name, what is said when it is not set up, and docs/adapters.md against the code."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, get_args

import pytest

from platform_relay.core.environment_settings import EnvironmentSettings
from platform_relay.core.http import HttpClients
from platform_relay.inbox.events import FinancialStatus
from platform_relay.stores import ADAPTERS, adapter_class, build, variables
from platform_relay.stores.base import CouponKind, StoreAdapterClass
from platform_relay.stores.bigcommerce.adapter import BigCommerce
from platform_relay.stores.generic_http import GenericHttp
from platform_relay.stores.loyalty_sync import SyncsLoyalty
from platform_relay.stores.magento.adapter import Magento
from platform_relay.stores.medusa.adapter import Medusa
from platform_relay.stores.native import ListsEntities, ReceivesWebhooks, SetsUpWebhooks
from platform_relay.stores.saleor.adapter import Saleor
from platform_relay.stores.shopify.adapter import Shopify
from platform_relay.stores.vendure.adapter import Vendure
from platform_relay.stores.woocommerce.adapter import WooCommerce

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- made by tests/contract/test_registry.py -->", "<!-- end -->"
OPTIONS = (
    "minimum_spend", "per_customer_limit", "variant_ids", "email", "customer_id", "combinable", "expires_at", "starts_at",
)  # fmt: skip
ABILITIES = {
    ReceivesWebhooks: "its own webhooks",
    SetsUpWebhooks: "webhooks set up by `relay webhooks install`",
    ListsEntities: "lists: `relay poll`, backfill, reconcile",
    SyncsLoyalty: "loyalty sync: tier and points (`STORE__LOYALTY_SYNC`)",
}
VARIABLES = {
    "GENERIC_HTTP__URL": "https://shop.example/relay",
    "GENERIC_HTTP__SECRET": "whsec_c2ltdWxhdG9yLXNlY3JldC1zaW11bGF0b3Itc2VjcmV0",
}


class NoAdapter:
    """Named by a dotted path, and none."""


async def test_by_name_and_by_path(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    for name in ("generic_http", "platform_relay.stores.generic_http:GenericHttp"):
        adapter = build(name, HttpClients(3))
        assert isinstance(adapter, GenericHttp)
        await adapter.aclose()


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("shopware", f"known: {', '.join(sorted(ADAPTERS))}"),
        ("no.such.module:Shop", "cannot be loaded"),
        ("platform_relay.stores.base:Nothing", "cannot be loaded"),
        (f"{__name__}:NoAdapter", "lacks Settings"),
        ("platform_relay.stores.base:CouponKind", "lacks Settings"),
    ],
)
def test_an_unknown_name(name: str, result: str) -> None:
    with pytest.raises(ValueError, match=re.escape(result)):
        build(name, HttpClients(3))


CLASSES: Final[Mapping[str, StoreAdapterClass]] = {
    "bigcommerce": BigCommerce,
    "generic_http": GenericHttp,
    "magento": Magento,
    "medusa": Medusa,
    "saleor": Saleor,
    "shopify": Shopify,
    "vendure": Vendure,
    "woocommerce": WooCommerce,
}
"""The type checker sees here that each adapter has the members of the contract."""


def test_each_name_leads_to_its_class() -> None:
    assert {name: adapter_class(name) for name in ADAPTERS} == CLASSES


@pytest.mark.parametrize("name", ADAPTERS)
def test_what_is_missing_is_told_in_words(name: str) -> None:
    with pytest.raises(ValueError, match=f"the store '{name}' is not set up") as raised:
        build(name, HttpClients(3))
    for variable, field in variables(adapter_class(name).Settings).items():
        assert (f"{variable} is not set ({field.description})" in str(raised.value)) == field.is_required()


def test_what_is_wrong_is_told_without_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WOOCOMMERCE__URL", "shop.example")
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_KEY", "changeme")
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_SECRET", "s3cr3t")
    with pytest.raises(ValueError, match="is not set up") as raised:
        build("woocommerce", HttpClients(3))
    said = str(raised.value)
    assert "WOOCOMMERCE__URL must be a complete address" in said
    assert "WOOCOMMERCE__CONSUMER_KEY is a placeholder" in said
    assert "WOOCOMMERCE__CONSUMER_SECRET is shorter than 8" in said
    assert "s3cr3t" not in said


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_has_its_page(name: str) -> None:
    chosen = adapter_class(name)
    assert issubclass(chosen.Settings, EnvironmentSettings)
    page = (DOCS / "stores" / f"{name}.md").read_text()
    table = {row[0]: row[1:] for row in re.findall(r"^\| `([A-Z_0-9]+)` \| (yes|no) \| (.+) \|$", page, re.MULTILINE)}
    assert table == {
        variable: ("yes" if field.is_required() else "no", field.description)
        for variable, field in variables(chosen.Settings).items()
    }
    for field, reason in chosen.CANNOT.items():
        assert f"`{field}`: {reason}" in page


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_page_tells_what_a_merchant_has_to_know(name: str) -> None:
    page = (DOCS / "stores" / f"{name}.md").read_text()
    headings = " ".join(re.findall(r"^## (.+)$", page, re.MULTILINE)).lower()
    assert {"permissions", "limits"} <= set(re.findall(r"\w+", headings))
    assert re.search("webhooks|events", headings)
    if all(hasattr(adapter_class(name), method) for method in methods(ListsEntities)):
        table = re.split(r"^\|.*\| financial status \|$", page, flags=re.MULTILINE)[1].partition("\n\n")[0]
        result = set(re.findall(r"`([a-z_]+)`", " ".join(re.findall(r"\|([^|]+)\|$", table, re.MULTILINE))))
        assert result
        assert result <= set(get_args(FinancialStatus))


def test_the_table_of_shops_is_the_codes() -> None:
    """`WRITE_DOCS=1 pytest tests/contract/test_registry.py` writes it."""
    page = DOCS / "stores.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    if os.environ.get("WRITE_DOCS"):
        page.write_text(f"{before}{BEGIN}\n{table_of_shops()}{END}{after}")
    assert f"{BEGIN}\n{table_of_shops()}{END}" in page.read_text()


def table_of_shops() -> str:
    names = sorted(ADAPTERS)
    lines = [
        "| | " + " | ".join(f"[`{name}`](stores/{name}.md)" for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    rows: list[tuple[str, list[bool]]] = [
        *((f"`{kind}`", [kind in adapter_class(name).KINDS for name in names]) for kind in CouponKind),
        *(
            (option.replace("_", " "), [option not in adapter_class(name).CANNOT for name in names])
            for option in OPTIONS
        ),
        *(
            (words, [all(hasattr(adapter_class(name), method) for method in methods(ability)) for name in names])
            for ability, words in ABILITIES.items()
        ),
    ]
    lines += [f"| {what} | " + " | ".join("yes" if can else "no" for can in cans) + " |" for what, cans in rows]
    return "\n".join(lines) + "\n"


def methods(ability: type) -> list[str]:
    return [name for name in vars(ability) if not name.startswith("_") and callable(getattr(ability, name))]
