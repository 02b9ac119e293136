"""The checks of `relay check`: whether the configuration works, and the next step if not. Two of them also raise alerts.

The checks of the destinations are in `destinations`.
"""

import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import raise_alert, resolve_alert
from platform_relay.checks import destinations
from platform_relay.checks.check import Check
from platform_relay.checks.database import database_problem
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.reencrypt import plain_after_encryption, used_keys
from platform_relay.platform.client import PlatformClient
from platform_relay.settings import Settings
from platform_relay.stores.base import StoreAdapter
from platform_relay.trial.mode import OperatingMode

REDEMPTIONS: Final = "redemptions"
BODY_KEYS: Final = "BODY_KEYS"
"""The subjects of the alerts."""
HISTORY_EXPORT: Final = "HISTORY_EXPORT"


async def check_all(
    settings: Settings, engine: AsyncEngine, platform: PlatformClient, store: StoreAdapter | None
) -> AsyncIterator[Check]:
    """Run every check, in the order in which an operator fixes problems. Calls the Platform and the store; changes nothing.

    The clients must work without the database: a database that is missing or not migrated is its own problem.
    """
    database = await check_database(engine)
    yield database
    yield check_keys(settings)
    if (env_file := check_env_file()) is not None:
        yield env_file
    if (export := check_history_export(settings.history_export)) is not None:
        yield export
    if database.ok:
        yield await check_bodies(settings, engine)
        if (mode := await check_mode(settings, engine)) is not None:
            yield mode
    yield check_webhook_secret(settings)
    yield await destinations.check_platform(settings, platform)
    yield await destinations.check_launcher(settings, platform)
    yield check_verification(settings)
    async for check in destinations.check_store(settings, platform, store):
        yield check
    if settings.store.loyalty_sync:
        yield await destinations.check_loyalty_sync(settings.store.adapter, store, settings.private_networks)


async def check_database(engine: AsyncEngine) -> Check:
    if (reason := await database_problem(engine)) is not None:
        return Check("database", False, reason.text, reason.next_step)
    return Check("database", True, "reachable, migrated, and accepts writes")


async def check_mode(settings: Settings, engine: AsyncEngine) -> Check | None:
    """Whether the relay is in its trial; None if it is live."""
    trial = await OperatingMode(engine, settings.mode).read()
    if trial.runs:
        step = "to end it, remove MODE from all processes, restart them, and run relay shadow go-live"
        since = f"since {trial.started_at:%Y-%m-%d %H:%M} UTC" if trial.started_at else "from its first start on"
        return Check("mode", None, f"the relay is in its trial {since}: it changes nothing (docs/trial.md)", step)
    if settings.mode == "shadow":
        problem = f"MODE is shadow, but the relay has been live since {trial.live_at:%Y-%m-%d %H:%M} UTC"
        return Check("mode", False, problem, "remove MODE, or use another database for a trial")
    return None


def check_keys(settings: Settings) -> Check:
    if settings.store_key is None and settings.operator_key is None:
        return Check(
            "keys",
            None,
            "neither STORE_KEY nor OPERATOR_KEY is set",
            "set them (openssl rand -hex 32), or create keys: relay keys create NAME --scope events",
        )
    return Check("keys", True, "set")


def check_env_file(file: Path = Path(".env")) -> Check | None:
    """A warning if other users of the machine can read the file of the settings; None if there is no such file."""
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return None
    if mode & 0o077:
        return Check(
            ".env",
            None,
            f"its mode is {mode:04o}: other users of this machine have access to the keys in it",
            f"chmod 600 {file}",
        )
    return Check(".env", True, "only its owner has access")


def check_history_export(folder: Path | None) -> Check | None:
    """Whether this user can write to the folder, or create it; None if the history is not exported. Creates nothing."""
    if folder is None:
        return None
    folder = folder.absolute()
    there = next(part for part in (folder, *folder.parents) if os.path.exists(part))  # no PermissionError
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return Check(HISTORY_EXPORT, True, f"{folder} can be written")
    problem = f"{there} is not a folder" if not there.is_dir() else f"this user cannot write to the folder {there}"
    return Check(
        HISTORY_EXPORT,
        False,
        f"{problem}, so no message can be exported or deleted, and the database grows",
        f"correct HISTORY_EXPORT (it is {folder}), or let the user of the workers write to it; mount it in every worker",
    )


async def check_bodies(settings: Settings, engine: AsyncEngine) -> Check:
    """Whether bodies are encrypted at rest, and the relay has all keys."""
    try:
        async with engine.connect() as connection:
            used = await used_keys(connection)
    except (SQLAlchemyError, OSError, TimeoutError):
        return Check("bodies", None, "cannot be checked", "fix the database connection first")
    ring = settings.key_ring
    if missing := sorted(set(used) - set(ring.names)):
        reason = because(ReasonCode.BODY_KEY_MISSING, key=", ".join(missing))
        return Check("bodies", False, reason.text, f"{reason.next_step} See docs/operations.md.")
    if ring.current is None:
        return Check("bodies", True, "stored without encryption (BODY_KEYS is not set)")
    old = sorted(set(used) - {ring.current})
    older = f"; some are still encrypted with {', '.join(old)}" if old else ""
    return Check("bodies", True, f"encrypted with {ring.current}{older}")


async def watch_bodies(engine: AsyncEngine, settings: Settings) -> None:
    """Keep an alert open while a key of stored bodies is missing. Jobs with these bodies are held."""
    async with engine.begin() as connection:
        missing = sorted(set(await used_keys(connection)) - set(settings.key_ring.names))
        if missing:
            await raise_alert(connection, because(ReasonCode.BODY_KEY_MISSING, key=", ".join(missing)), BODY_KEYS)
        else:
            await resolve_alert(connection, ReasonCode.BODY_KEY_MISSING, BODY_KEYS)


async def watch_plain_bodies(engine: AsyncEngine) -> None:
    """Keep an alert open while a body is not encrypted that is younger than the first use of a key."""
    plain = await plain_after_encryption(engine)
    async with engine.begin() as connection:
        if plain is not None:
            await raise_alert(connection, because(ReasonCode.BODY_NOT_ENCRYPTED, message=str(plain)), BODY_KEYS)
        else:
            await resolve_alert(connection, ReasonCode.BODY_NOT_ENCRYPTED, BODY_KEYS)


def check_webhook_secret(settings: Settings) -> Check:
    if settings.platform.webhook_secret is None:
        return Check(
            "webhooks",
            False,
            "PLATFORM__WEBHOOK_SECRET is not set, so the Platform's webhooks are rejected",
            "set it (openssl rand -hex 32) and enter https://YOUR-HOST/v1/webhooks/platform/SECRET at the Platform",
        )
    return Check("webhooks", True, "POST /v1/webhooks/platform/<webhook secret>")


def check_verification(settings: Settings) -> Check:
    """Whether redemptions can be verified as the settings require."""
    coupons, platform = settings.coupons, settings.platform
    above = coupons.confirm_above
    can_confirm = platform.shop_key is not None and platform.api_key is not None
    if (missing := _missing_to_confirm(settings)) is not None:
        all_held = coupons.require == "confirmed"
        which = "every redemption is held" if all_held else f"redemptions worth more than {above} are held"
        return Check(
            "verification",
            False if all_held else None,
            f"redemptions cannot be confirmed at the Platform without {missing}: {which} until an operator approves it",
            f"set {missing}, or require less with COUPONS__REQUIRE and COUPONS__CONFIRM_ABOVE (docs/coupons.md)",
        )
    if coupons.require == "source" and not platform.allowed_networks:
        return Check(
            "verification",
            False,
            "COUPONS__REQUIRE is source, and PLATFORM__ALLOWED_NETWORKS is empty: every redemption is held",
            "set PLATFORM__ALLOWED_NETWORKS to the networks that the Platform posts from",
        )
    if coupons.require == "secret":
        which = "all coupons" if above is None else f"coupons worth up to {above}"
        return Check(
            "verification",
            None,
            f"{which} are created for anyone who knows the webhook address (COUPONS__REQUIRE=secret)",
            "set COUPONS__REQUIRE=confirmed"
            if can_confirm
            else "set PLATFORM__SHOP_KEY, then COUPONS__REQUIRE=confirmed",
        )
    return Check("verification", True, f"every redemption needs: {coupons.require}")


def _missing_to_confirm(settings: Settings) -> str | None:
    """The missing setting because of which redemptions cannot be confirmed; None if they can be, or need not be."""
    if settings.coupons.require != "confirmed" and settings.coupons.confirm_above is None:
        return None
    keys = {"PLATFORM__SHOP_KEY": settings.platform.shop_key, "PLATFORM__API_KEY": settings.platform.api_key}
    return next((name for name, value in keys.items() if value is None), None)


async def watch_verification(engine: AsyncEngine, settings: Settings) -> None:
    """Keep an alert open while redemptions cannot be confirmed, for operators who see only the console."""
    missing = _missing_to_confirm(settings)
    async with engine.begin() as connection:
        if missing is None:
            await resolve_alert(connection, ReasonCode.SETTING_MISSING, REDEMPTIONS)
        else:
            purpose = "without it, redemptions cannot be confirmed at the Platform and are held"
            await raise_alert(
                connection, because(ReasonCode.SETTING_MISSING, setting=missing, purpose=purpose), REDEMPTIONS
            )
