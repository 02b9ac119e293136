"""`relay check`: what is misconfigured, and the next step. Two of the checks also raise alerts."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import raise_alert, resolve_alert
from platform_relay.core import migrate
from platform_relay.core.outcomes import Outcome, Retry, reason_of
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.reencrypt import used_keys
from platform_relay.platform.client import PlatformClient
from platform_relay.settings import Settings
from platform_relay.stores.base import Ready, StoreAdapter
from platform_relay.stores.loyalty_sync import SyncsLoyalty

REDEMPTIONS: Final = "redemptions"
BODY_KEYS: Final = "BODY_KEYS"
"""The subjects of the alerts."""


@dataclass(frozen=True, slots=True)
class Check:
    """`ok` None: a warning. `next_step` is empty when nothing needs doing."""

    name: str
    ok: bool | None
    detail: str
    next_step: str = ""


async def check_all(
    settings: Settings, engine: AsyncEngine, platform: PlatformClient, store: StoreAdapter | None
) -> AsyncIterator[Check]:
    """Every check, in the order in which one would fix them. Calls the Platform and the store, changes nothing."""
    yield await check_database(engine)
    yield check_keys(settings)
    yield await check_bodies(settings, engine)
    yield check_webhook_secret(settings)
    yield await check_platform(settings, platform)
    yield await check_launcher(platform)
    yield check_proof(settings)
    yield await check_store(settings, store)
    if settings.store.news:
        yield check_loyalty_sync(settings, store)


async def check_database(engine: AsyncEngine) -> Check:
    try:
        misfit = await migrate.misfit(engine)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        cause = getattr(error, "orig", None) or error
        return Check(
            "database", False, f"cannot be reached: {cause}", "check DATABASE_URL, and that PostgreSQL is running"
        )
    if misfit is not None:
        return Check("database", False, misfit, "run relay migrate of the newest release that is in use")
    return Check("database", True, "reachable and migrated")


def check_keys(settings: Settings) -> Check:
    if settings.store_key is None and settings.operator_key is None:
        return Check(
            "keys",
            None,
            "neither STORE_KEY nor OPERATOR_KEY is set",
            "set them (openssl rand -hex 24), or create keys: relay keys create NAME --scope events",
        )
    return Check("keys", True, "set")


async def check_bodies(settings: Settings, engine: AsyncEngine) -> Check:
    """Whether bodies are encrypted at rest, and all of them can be read."""
    try:
        async with engine.connect() as connection:
            used = await used_keys(connection)
    except (SQLAlchemyError, OSError, TimeoutError):
        return Check("bodies", None, "cannot be checked", "fix the database connection first")
    ring = settings.ring
    if missing := sorted(set(used) - set(ring.names)):
        reason = because(ReasonCode.BODY_KEY_MISSING, key=", ".join(missing))
        return Check("bodies", False, reason.text, f"{reason.next_step} See docs/operations.md.")
    if ring.first is None:
        return Check("bodies", True, "stored as they arrive (BODY_KEYS is not set)")
    old = sorted(set(used) - {ring.first})
    more = f"; some are still encrypted with {', '.join(old)}" if old else ""
    return Check("bodies", True, f"encrypted with {ring.first}{more}")


async def watch_bodies(engine: AsyncEngine, settings: Settings) -> None:
    """Keep an alert open while a key of stored bodies is missing, because their jobs are held."""
    async with engine.begin() as connection:
        missing = sorted(set(await used_keys(connection)) - set(settings.ring.names))
        if missing:
            await raise_alert(connection, because(ReasonCode.BODY_KEY_MISSING, key=", ".join(missing)), BODY_KEYS)
        else:
            await resolve_alert(connection, ReasonCode.BODY_KEY_MISSING, BODY_KEYS)


def check_webhook_secret(settings: Settings) -> Check:
    if settings.platform.webhook_secret is None:
        return Check(
            "webhooks",
            False,
            "PLATFORM__WEBHOOK_SECRET is not set, so the Platform's webhooks are rejected",
            "set it (openssl rand -hex 24) and give the Platform the address https://YOUR-HOST/v1/webhooks/platform/SECRET",
        )
    return Check("webhooks", True, "POST /v1/webhooks/platform/<webhook secret>")


async def check_platform(settings: Settings, platform: PlatformClient) -> Check:
    if settings.platform.api_key is None:
        return Check(
            "platform", False, "PLATFORM__API_KEY is not set", "copy it from the Platform's account page and set it"
        )
    answer = await platform.get_customer("relay-check")
    if answer is None or isinstance(answer, Mapping):
        return Check("platform", True, f"{settings.platform.url} accepted the API key")
    return _failed("platform", answer, "PLATFORM__URL and PLATFORM__API_KEY")


async def check_launcher(platform: PlatformClient) -> Check:
    if not platform.has_launcher:
        return Check(
            "launcher",
            None,
            "PLATFORM__SHOP_KEY is not set: rewards are valued only by embedded rules and your own reward rules, and"
            " redemptions cannot be confirmed at the Platform",
            "set PLATFORM__SHOP_KEY, or add a reward rule for each rule: relay rules put RULE-ID ...",
        )
    rules = await platform.redeem_rules()
    if isinstance(rules, tuple):
        return Check("launcher", True, f"{len(rules)} redeem rules")
    return _failed("launcher", rules, "PLATFORM__SHOP_KEY")


def check_proof(settings: Settings) -> Check:
    """Whether redemptions can be verified as the settings require."""
    coupons, platform = settings.coupons, settings.platform
    above = coupons.confirm_above
    asks_back = platform.shop_key is not None and platform.api_key is not None
    if (missing := _missing_to_confirm(settings)) is not None:
        every = coupons.require == "confirmed"
        which = "every redemption is held" if every else f"redemptions worth more than {above} are held"
        return Check(
            "proof",
            False if every else None,
            f"redemptions cannot be confirmed at the Platform without {missing}: {which} until an operator approves it",
            f"set {missing}, or require less with COUPONS__REQUIRE and COUPONS__CONFIRM_ABOVE (docs/coupons.md)",
        )
    if coupons.require == "source" and not platform.allowed_networks:
        return Check(
            "proof",
            False,
            "COUPONS__REQUIRE is source, and PLATFORM__ALLOWED_NETWORKS is empty: every redemption is held",
            "set PLATFORM__ALLOWED_NETWORKS to the networks that the Platform posts from",
        )
    if coupons.require == "door":
        rest = "all coupons" if above is None else f"coupons worth up to {above}"
        return Check(
            "proof",
            None,
            f"{rest} are created for anybody who knows the webhook address (COUPONS__REQUIRE=door)",
            "set COUPONS__REQUIRE=confirmed"
            if asks_back
            else "set PLATFORM__SHOP_KEY, then COUPONS__REQUIRE=confirmed",
        )
    return Check("proof", True, f"every redemption needs: {coupons.require}")


def _missing_to_confirm(settings: Settings) -> str | None:
    """The setting without which redemptions cannot be confirmed; None where there is none, or none is needed."""
    if settings.coupons.require != "confirmed" and settings.coupons.confirm_above is None:
        return None
    keys = {"PLATFORM__SHOP_KEY": settings.platform.shop_key, "PLATFORM__API_KEY": settings.platform.api_key}
    return next((name for name, value in keys.items() if value is None), None)


async def watch_proof(engine: AsyncEngine, settings: Settings) -> None:
    """Keep an alert open while redemptions cannot be confirmed, for operators who look at the console only."""
    missing = _missing_to_confirm(settings)
    async with engine.begin() as connection:
        if missing is None:
            await resolve_alert(connection, ReasonCode.SETTING_MISSING, REDEMPTIONS)
        else:
            purpose = "without it, redemptions cannot be confirmed at the Platform and are held"
            await raise_alert(
                connection, because(ReasonCode.SETTING_MISSING, setting=missing, purpose=purpose), REDEMPTIONS
            )


async def check_store(settings: Settings, store: StoreAdapter | None) -> Check:
    if store is None:
        return Check(
            "store",
            None,
            "STORE__ADAPTER is not set: coupons of redemptions are held",
            "set STORE__ADAPTER and the store's variables (docs/adapters.md)",
        )
    ready = await store.check()
    if isinstance(ready, Ready):
        return Check("store", True, f"{settings.store.adapter}: {ready.detail}")
    return _failed("store", ready, "the store's variables (docs/adapters.md)")


def check_loyalty_sync(settings: Settings, store: object) -> Check:
    """Whether the store can keep customers' tier and points."""
    if isinstance(store, SyncsLoyalty):
        return Check("news", True, f"{settings.store.adapter} gets the customers' tier and points")
    return Check(
        "news",
        False,
        f"STORE__LOYALTY_SYNC is on, but {settings.store.adapter or 'no store'} cannot keep tier and points: they are skipped",
        "set STORE__LOYALTY_SYNC=false; docs/stores.md lists the stores that can keep them",
    )


def _failed(name: str, outcome: Outcome, settings: str) -> Check:
    """A destination that could not be checked; `settings` are those that concern it."""
    reason = reason_of(outcome)
    if isinstance(outcome, Retry) and outcome.evidence.status is not None:
        next_step = f"it can be reached but has a problem now: try again later, then check {settings}"
        return Check(name, False, reason.text, next_step)
    return Check(name, False, reason.text, f"check {settings}")
