"""The permissions that the pages name are those that the stores require, and `relay check` fails when one is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from platform_relay.checks.check import Check
from platform_relay.checks.destinations import check_loyalty_sync, check_store
from platform_relay.core.http import HttpClient
from platform_relay.core.outcomes import Blocked, Done, Reject, reason_of
from platform_relay.core.reasons import ReasonCode
from platform_relay.inbox.events import EventKind
from platform_relay.platform.client import PlatformClient
from platform_relay.setting_groups import PlatformSettings, StoreSettings
from platform_relay.settings import Settings
from platform_relay.stores.loyalty_sync import SyncsLoyalty
from platform_relay.stores.native import ListsEntities, Page
from platform_relay.stores.permissions import PERMISSIONS, Ability
from tests.contract.bench import SHOPS, Bench, order

PAGES = Path(__file__).parents[2] / "docs" / "stores"
LISTED = (Ability.CUSTOMERS, Ability.ORDERS, Ability.PRODUCTS)
WITH_PERMISSIONS = sorted(name for name in SHOPS if PERMISSIONS[name] and name != "woocommerce")
"""WooCommerce's keys have one permission; what its users may do depends on their role."""
NEEDED = [(name, permission) for name in WITH_PERMISSIONS
          for permission in sorted({each for needed in PERMISSIONS[name].values() for each in needed})]  # fmt: skip
ALL = {name: sorted({each for needed in PERMISSIONS[name].values() for each in needed}) for name in PERMISSIONS}
FIREWALL = "<!DOCTYPE html><html><head><title>Attention  Required! | Cloudflare</title></head><body>…</body></html>"


@asynccontextmanager
async def no_platform() -> AsyncIterator[PlatformClient]:
    http = HttpClient(time_limit=1)
    try:
        yield PlatformClient(http, PlatformSettings())
    finally:
        await http.aclose()


async def checks(bench: Bench, **store: object) -> dict[str, Check]:
    """The checks of the store, by name, with everything switched on."""
    values = {"adapter": bench.name, "loyalty_sync": True, "poll_interval": 60, **store}
    settings = Settings(_env_file=None, store=StoreSettings.model_validate(values))
    async with no_platform() as platform:
        results = [check async for check in check_store(settings, platform, bench.adapter)]
    return {check.name: check for check in (*results, await check_loyalty_sync(bench.name, bench.adapter))}


def grant(bench: Bench, permissions: list[str]) -> None:
    bench.simulator.config(**{"scopes" if bench.name == "shopify" else "permissions": permissions})


def test_every_store_has_its_permissions_in_the_table() -> None:
    assert PERMISSIONS.keys() == SHOPS.keys()


@pytest.mark.parametrize("name", sorted(PERMISSIONS))
def test_every_permission_is_on_the_page_of_its_store(name: str) -> None:
    page = " ".join((PAGES / f"{name}.md").read_text().partition("## Permissions")[2].partition("\n## ")[0].split())
    text = page.replace("*", "").replace("`", "")
    for permission in ALL[name]:
        subject, _, level = permission.rpartition(" ")
        assert permission in text or (subject and subject in text and level in text), f"{name}.md lacks {permission}"


@pytest.mark.parametrize("bench", WITH_PERMISSIONS, indirect=True)
async def test_the_permissions_of_the_table_are_enough(bench: Bench) -> None:
    grant(bench, ALL[bench.name])
    results = await checks(bench)
    loyalty = results.pop("loyalty sync")
    assert [check for check in results.values() if not check.ok] == []
    assert loyalty.ok is (Ability.LOYALTY_SYNC in PERMISSIONS[bench.name])
    assert isinstance(await bench.adapter.issue_coupon(order(first_try=True)), Done)
    assert isinstance(await bench.adapter.retire_coupon(order().code), Done)


@pytest.mark.parametrize(("bench", "missing"), NEEDED, indirect=["bench"])
async def test_check_fails_without_each_permission_and_names_it_or_repeats_the_store(
    bench: Bench, missing: str
) -> None:
    """Campaigns of Medusa are needed only by coupons with a time or a limit, which `check` does not create."""
    if missing == "campaigns":
        pytest.skip("not needed by the coupons that check tries")
    including = {missing, missing.replace("read-only", "modify"), missing.replace("read_", "write_")}
    grant(bench, [permission for permission in ALL[bench.name] if permission not in including])
    abilities = {ability for ability, needed in PERMISSIONS[bench.name].items() if missing in needed}
    results = await checks(bench)
    failed = [check for check in results.values() if check.ok is False]
    names = {check.name for check in failed}
    assert failed, f"without {missing}, every check passes"
    if Ability.COUPONS in abilities:
        assert "store" in names
    elif abilities & set(LISTED):
        assert "polling" in names
        assert all(ability in results["polling"].detail for ability in abilities & set(LISTED))
    if Ability.LOYALTY_SYNC in abilities:
        assert "loyalty sync" in names
    for check in failed:
        if check.name != "loyalty sync" or Ability.LOYALTY_SYNC in abilities:
            assert f"docs/stores/{bench.name}.md" in check.next_step, check


@pytest.mark.parametrize("bench", [name for name in WITH_PERMISSIONS if name != "generic_http"], indirect=True)
async def test_a_forbidden_list_fails_for_reconciliation_too_and_only_warns_when_nothing_needs_it(bench: Bench) -> None:
    customers = PERMISSIONS[bench.name][Ability.CUSTOMERS]
    grant(
        bench,
        [
            permission
            for permission in ALL[bench.name]
            if permission not in customers and permission not in ("Customers modify", "write_customers")
        ],
    )
    store: object = bench.adapter
    assert isinstance(store, ListsEntities)
    for settings, ok, words in (
        ({"poll_interval": None, "reconcile_at": "03:00"}, False, "STORE__RECONCILE_AT=none"),
        ({"poll_interval": None, "reconcile_at": None}, None, ""),
    ):
        check = (await checks(bench, **settings))["lists"]
        assert check.ok is ok
        assert words in check.next_step
        assert "the list of customers cannot be read" in check.detail
        assert "the list of orders" not in check.detail


@pytest.mark.parametrize("bench", ["woocommerce"], indirect=True)
@pytest.mark.parametrize("kind", list(EventKind))
async def test_a_user_of_woocommerce_who_may_not_read_a_list(bench: Bench, kind: EventKind) -> None:
    denied = {"code": "woocommerce_rest_cannot_view", "message": "Sorry, you cannot list resources."}
    bench.simulator.script(method="GET", path=f"^/wp-json/wc/v3/{kind}$", status=403, body=denied, times=None)
    check = (await checks(bench))["polling"]
    assert check.ok is False
    assert "Sorry, you cannot list resources." in check.detail


async def test_a_page_of_a_firewall_is_not_a_rejected_key(bench: Bench) -> None:
    bench.simulator.script(status=403, body=FIREWALL, headers={"content-type": "text/html"}, times=None)
    store: object = bench.adapter
    outcomes: list[object] = [
        await bench.adapter.check(),
        await bench.adapter.find_coupon(order().code),
        await bench.adapter.issue_coupon(order(first_try=True)),
    ]
    if isinstance(store, ListsEntities):
        page = await store.list_entities(EventKind.ORDER, None, None)
        assert not isinstance(page, Page)
        outcomes.append(page)
    if isinstance(store, SyncsLoyalty):
        outcomes.append(await store.check_loyalty_sync())  # type: ignore[attr-defined]  # all of them have it
    for outcome in outcomes:
        assert isinstance(outcome, Blocked), outcome
        assert outcome.reason.code is ReasonCode.FIREWALL_REFUSED
        assert outcome.reason.facts["response"] == "Attention Required! | Cloudflare"
        assert not outcome.certain
    check = (await checks(bench))["store"]
    assert "firewall" in check.detail
    assert "credentials are not the cause" in check.next_step


async def test_check_repeats_the_words_of_the_store_without_secrets(bench: Bench) -> None:
    """The store's own format of an error is in the tests of each adapter; these are plain ones that all of them read."""
    words = f"Blocked because of plan limits, jane@example.com, {bench.secrets[0]}"
    saleor = {"message": words, "extensions": {"exception": {"code": "InvalidTokenError"}}}
    bodies = {
        "bigcommerce": {"status": 401, "title": words},
        "saleor": {"errors": [saleor]},
        "shopify": {"errors": words},
        "vendure": {"errors": [{"message": words, "extensions": {"code": "FORBIDDEN"}}]},
        "woocommerce": {"code": "woocommerce_rest_authentication_error", "message": words},
    }
    body = bodies.get(bench.name, {"message": words})
    bench.simulator.script(status=401, body=body, times=None)
    check = (await checks(bench))["store"]
    assert check.ok is False
    assert "Blocked because of plan limits" in check.detail, check
    assert bench.secrets[0] not in check.detail
    assert "jane@example.com" not in check.detail


@pytest.mark.parametrize(
    "bench", [name for name in sorted(SHOPS) if Ability.LOYALTY_SYNC in PERMISSIONS[name]], indirect=True
)
async def test_the_check_of_the_loyalty_sync_changes_no_customer(bench: Bench) -> None:
    store: object = bench.adapter
    assert isinstance(store, SyncsLoyalty)
    outcome = await store.check_loyalty_sync()  # type: ignore[attr-defined]  # all of them have it
    assert isinstance(outcome, Done | Reject), outcome
    assert isinstance(outcome, Done) or reason_of(outcome).code is not ReasonCode.PERMISSION_MISSING
    kinds = bench.simulator.summary()["kinds"]
    assert not kinds.get("customer.update", {}).get("applied")
