"""`relay check` names the setting that has to be corrected. The simulators run behind real TLS with certificates of the test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from pydantic import HttpUrl
from typer.testing import CliRunner

from platform_relay import stores
from platform_relay.checks.check import Check
from platform_relay.checks.destinations import check_launcher, check_platform, check_store
from platform_relay.cli.program import cli
from platform_relay.core.http import HttpClient, HttpClients
from platform_relay.platform.client import PlatformClient
from platform_relay.setting_groups import CouponSettings, PlatformSettings, StoreSettings
from platform_relay.settings import Settings
from simulators.process import Simulator
from tests.contract.tls import Authority, Certificate, front

DESTINATIONS: Final = ("platform", "launcher", "store")
PREFIX: Final = {"platform": "PLATFORM__", "launcher": "PLATFORM__LAUNCHER_", "store": "WOOCOMMERCE__"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def store_settings(shop: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WOOCOMMERCE__URL", shop.url)
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_KEY", "ck_simulator_key")
    monkeypatch.setenv("WOOCOMMERCE__CONSUMER_SECRET", "cs_simulator_key")


def settings_of(platform: str, launcher: str, **more: object) -> Settings:
    keys = {"api_key": "sim-platform-key", "shop_key": "sim-shop"}
    values = {"url": HttpUrl(platform), "launcher_url": HttpUrl(launcher), **keys, **more}
    return Settings(
        _env_file=None,
        platform=PlatformSettings.model_validate(values),
        store=StoreSettings(adapter="woocommerce"),
    )


@asynccontextmanager
async def platform_client(settings: Settings) -> AsyncIterator[PlatformClient]:
    ca_file = settings.platform.ca_file
    http = HttpClient(destination="the Platform", time_limit=5, ca_file=str(ca_file) if ca_file else None)
    try:
        yield PlatformClient(http, settings.platform)
    finally:
        await http.aclose()


async def store_checks(settings: Settings) -> dict[str, Check]:
    """The checks of the store, by name."""
    store = stores.build("woocommerce", HttpClients(5.0))
    try:
        async with platform_client(settings) as client:
            return {check.name: check async for check in check_store(settings, client, store)}
    finally:
        await store.aclose()


async def checked(
    destination: str, url: str, platform: Simulator, monkeypatch: pytest.MonkeyPatch, **more: object
) -> Check:
    """The check of one destination at `url`."""
    settings = settings_of(
        url if destination == "platform" else platform.url, url if destination == "launcher" else platform.url, **more
    )
    if destination == "store":
        monkeypatch.setenv("WOOCOMMERCE__URL", url)
        return (await store_checks(settings))["store"]
    async with platform_client(settings) as client:
        check = check_platform if destination == "platform" else check_launcher
        return await check(settings, client)


@pytest.fixture(params=DESTINATIONS)
def destination(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def plain(destination: str, platform: Simulator, shop: Simulator) -> str:
    """The simulator of the destination, without TLS."""
    return shop.url if destination == "store" else platform.url


def ca_setting(destination: str) -> str:
    return "WOOCOMMERCE__CA_FILE" if destination == "store" else "PLATFORM__CA_FILE"


async def test_an_unknown_authority_needs_the_ca_file(
    destination: str, plain: str, platform: Simulator, shop: Simulator, authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shop.config(require_tls=False)  # TLS ends before the simulator
    async with front(authority.issue(), plain) as url:
        failed = await checked(destination, url, platform, monkeypatch)
        assert failed.ok is False
        assert "not signed by a certificate authority" in failed.detail
        assert f"({ca_setting(destination)})" in failed.next_step
        if destination == "store":
            monkeypatch.setenv("WOOCOMMERCE__CA_FILE", str(authority.path))
        trusted = await checked(destination, url, platform, monkeypatch, ca_file=authority.path)
        assert trusted.ok, trusted


async def test_a_self_signed_certificate_needs_the_ca_file(
    destination: str, plain: str, platform: Simulator, authority: Authority, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    key = tmp_path / "authority.key"
    key.write_bytes(authority.private_key_pem())
    async with front(Certificate(authority.path, key), plain) as url:
        failed = await checked(destination, url, platform, monkeypatch)
    assert failed.ok is False
    assert f"({ca_setting(destination)})" in failed.next_step


@pytest.mark.parametrize("problem", ["wrong host", "expired"])
async def test_a_wrong_host_and_an_expired_certificate_have_their_own_next_steps(
    problem: str, destination: str, plain: str, platform: Simulator, authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if destination == "store":
        monkeypatch.setenv("WOOCOMMERCE__CA_FILE", str(authority.path))
    certificate = authority.issue(expired=True) if problem == "expired" else authority.issue(host="shop.example")
    async with front(certificate, plain) as url:
        failed = await checked(destination, url, platform, monkeypatch, ca_file=authority.path)
    assert failed.ok is False
    if problem == "expired":
        assert "has expired" in failed.detail
        assert "Renew the certificate" in failed.next_step
    else:
        assert "for another host name than 127.0.0.1" in failed.detail
        assert f"({PREFIX[destination]}URL)" in failed.next_step


async def test_https_to_a_port_without_tls(
    destination: str, plain: str, platform: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = plain.replace("http://", "https://")
    failed = await checked(destination, url, platform, monkeypatch)
    assert failed.ok is False
    assert "does not use TLS at this port" in failed.detail
    assert f"({PREFIX[destination]}URL)" in failed.next_step
    assert "http://" in failed.next_step


@pytest.mark.parametrize("trusted", [True, False])
async def test_http_to_a_port_with_tls(
    trusted: bool, destination: str, plain: str, platform: Simulator, authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async with front(authority.issue(host="127.0.0.1" if trusted else "shop.example"), plain) as url:
        failed = await checked(destination, url.replace("https://", "http://"), platform, monkeypatch)
    assert failed.ok is False
    assert "uses TLS at this port" in failed.detail
    assert f"({PREFIX[destination]}URL)" in failed.next_step
    assert "https://" in failed.next_step


@pytest.mark.parametrize(
    ("response", "setting"),
    [
        ({"error": "ShopRequired"}, "PLATFORM__SHOP_KEY"),
        ({"message": "Not Found"}, "PLATFORM__LAUNCHER_URL"),
        ("<html>404</html>", "PLATFORM__LAUNCHER_URL"),
    ],
)
async def test_a_404_of_the_launcher_is_about_the_store_key_only_with_its_own_code(
    response: object, setting: str, platform: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.script(path="/launcher", status=404, body=response)
    failed = await checked("launcher", platform.url, platform, monkeypatch)
    assert failed.ok is False
    assert failed.next_step.startswith(f"Correct {setting}")


async def test_an_unknown_store_key_is_the_setting(platform: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = await checked("launcher", platform.url, platform, monkeypatch, shop_key="another-store")
    assert failed.next_step.startswith("Correct PLATFORM__SHOP_KEY")


@pytest.mark.parametrize(
    ("launcher", "configured", "ok", "words"),
    [
        ("EUR", None, True, "the Platform's Launcher names EUR"),
        ("GBP", None, False, "the Platform's Launcher names GBP, but the store sells in EUR"),
        ("GBP", "EUR", False, "the Platform's Launcher names GBP"),
        (None, "USD", False, "COUPONS__CURRENCY names USD, but the store sells in EUR"),
        (None, "EUR", True, "COUPONS__CURRENCY names EUR"),
        (None, None, None, ""),
    ],
)
async def test_the_currencies_of_launcher_and_store_are_compared(
    launcher: str | None, configured: str | None, ok: bool | None, words: str, platform: Simulator
) -> None:
    settings = settings_of(platform.url, platform.url)
    if launcher is None:
        settings = settings.model_copy(update={"platform": settings.platform.model_copy(update={"shop_key": None})})
    else:
        platform.config(store_currency=launcher)
    settings = settings.model_copy(update={"coupons": CouponSettings(currency=configured)})
    check = (await store_checks(settings)).get("currency")
    assert (check.ok if check else None) is ok
    if check is not None:
        assert words in check.detail
        assert bool(check.next_step) is not check.ok


@pytest.mark.parametrize("kind", ["customers", "products", "orders"])
async def test_polling_needs_every_list(kind: str, platform: Simulator, shop: Simulator) -> None:
    settings = settings_of(platform.url, platform.url)
    assert "polling" not in await store_checks(settings)
    settings = settings.model_copy(update={"store": StoreSettings(adapter="woocommerce", poll_interval=60)})
    assert (await store_checks(settings))["polling"].ok
    forbidden = {"code": "woocommerce_rest_cannot_view", "message": "Sorry, you cannot list resources."}
    shop.script(path=f"^/wp-json/wc/v3/{kind}$", method="GET", status=401, body=forbidden, persistent=True)
    check = (await store_checks(settings))["polling"]
    assert check.ok is False
    assert f"the list of {kind} cannot be read" in check.detail
    assert "STORE__POLL_INTERVAL" in check.next_step


def test_a_database_that_is_not_migrated_is_its_own_problem(
    empty_database_url: str, platform: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = {
        "DATABASE_URL": empty_database_url, "PLATFORM__URL": platform.url, "PLATFORM__LAUNCHER_URL": platform.url,
        "PLATFORM__API_KEY": "sim-platform-key", "PLATFORM__SHOP_KEY": "sim-shop", "STORE__ADAPTER": "woocommerce",
        "PLATFORM__RATE_LIMIT": "10/s",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["check"])
    lines = {
        line.split()[1]: line.split()[0] for line in result.output.splitlines() if line[:4] in ("ok  ", "FAIL", "note")
    }
    assert result.exit_code == 1
    assert (lines["database"], lines["platform"], lines["launcher"], lines["store"]) == ("FAIL", "ok", "ok", "ok")
    assert "relay migrate" in " ".join(result.output.split())
