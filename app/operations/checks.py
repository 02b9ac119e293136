"""`relay check`: what is misconfigured, in words, with what to do next."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from app import migrate
from app.operations.alerts.raised import raise_alert, resolve_alert
from app.operations.bodies import used_keys
from app.outcomes import Done, Outcome, Retry
from app.platform.client import PlatformClient
from app.settings import Settings
from app.stores.base import Ready, StoreAdapter
from app.stores.news import TakesNews

CANNOT_CONFIRM: Final = "cannot_confirm"
SUBJECT: Final = "redemptions"
BODY_KEY_MISSING: Final = "body_key_missing"


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
    """Every check, in the order in which one would mend them. Calls the Platform and the shop, changes nothing."""
    yield await check_database(engine)
    yield check_keys(settings)
    yield await check_bodies(settings, engine)
    yield check_door(settings)
    yield await check_platform(settings, platform)
    yield await check_launcher(platform)
    yield check_proof(settings)
    yield await check_store(settings, store)
    if settings.store.news:
        yield check_news(settings, store)


async def check_database(engine: AsyncEngine) -> Check:
    try:
        misfit = await migrate.misfit(engine)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        cause = getattr(error, "orig", None) or error
        return Check("database", False, f"cannot be reached: {cause}", "check DATABASE_URL, and that PostgreSQL runs")
    if misfit is not None:
        return Check("database", False, misfit, "run: relay migrate, of the newest release that is in use")
    return Check("database", True, "reachable and migrated")


def check_keys(settings: Settings) -> Check:
    if settings.store_key is None and settings.operator_key is None:
        return Check(
            "keys",
            None,
            "neither STORE_KEY nor OPERATOR_KEY is set",
            "set them (openssl rand -hex 24), or make keys with: relay keys create NAME --scope events",
        )
    return Check("keys", True, "set")


async def check_bodies(settings: Settings, engine: AsyncEngine) -> Check:
    """Whether bodies are encrypted at rest, and all of them can be read."""
    try:
        async with engine.connect() as connection:
            used = await used_keys(connection)
    except (SQLAlchemyError, OSError, TimeoutError):
        return Check("bodies", None, "cannot be looked at", "fix the database connection first")
    ring = settings.ring
    if (unreadable := _unreadable(settings, used)) is not None:
        return unreadable
    if ring.first is None:
        return Check("bodies", True, "stored as they arrive (BODY_KEYS is not set)")
    old = sorted(set(used) - {ring.first})
    more = f"; some are still under {', '.join(old)}" if old else ""
    return Check("bodies", True, f"encrypted under {ring.first}{more}")


def _unreadable(settings: Settings, used: Sequence[str]) -> Check | None:
    """None where every key that is in use is there."""
    missing = sorted(set(used) - set(settings.ring.names))
    if not missing:
        return None
    return Check(
        "bodies",
        False,
        f"bodies are encrypted under {', '.join(missing)}, which BODY_KEYS does not have: their jobs are held",
        "put the key back into BODY_KEYS, after the first, and restart (docs/operations.md)",
    )


async def watch_bodies(engine: AsyncEngine, settings: Settings) -> None:
    """An alert while a key of kept bodies is missing here: their jobs are held, and nothing else would say so."""
    async with engine.begin() as connection:
        unreadable = _unreadable(settings, await used_keys(connection))
        if unreadable is None:
            await resolve_alert(connection, BODY_KEY_MISSING, "BODY_KEYS")
        else:
            await raise_alert(connection, BODY_KEY_MISSING, "BODY_KEYS", unreadable.detail, unreadable.next_step)


def check_door(settings: Settings) -> Check:
    if settings.platform.door_secret is None:
        return Check(
            "webhooks",
            False,
            "PLATFORM__DOOR_SECRET is not set, so the Platform's webhooks are refused",
            "set it (openssl rand -hex 24) and give the Platform the address https://YOUR-HOST/v1/webhooks/platform/SECRET",
        )
    return Check("webhooks", True, "POST /v1/webhooks/platform/<door secret>")


async def check_platform(settings: Settings, platform: PlatformClient) -> Check:
    if settings.platform.api_key is None:
        return Check(
            "platform", False, "PLATFORM__API_KEY is not set", "take it from the Platform's account page and set it"
        )
    answer = await platform.get_customer("relay-check")
    if answer is None or isinstance(answer, Mapping):
        return Check("platform", True, f"{settings.platform.url} takes our key")
    return _failed("platform", answer, "PLATFORM__URL and PLATFORM__API_KEY")


async def check_launcher(platform: PlatformClient) -> Check:
    if not platform.has_launcher:
        return Check(
            "launcher",
            None,
            "PLATFORM__SHOP_KEY is not set: rewards are valued by embedded and operator's rules only, and redemptions"
            " cannot be confirmed at the Platform",
            "set PLATFORM__SHOP_KEY, or say what each rule is worth: relay rules put RULE-ID ...",
        )
    rules = await platform.redeem_rules()
    if isinstance(rules, tuple):
        return Check("launcher", True, f"{len(rules)} redeem rules")
    return _failed("launcher", rules, "PLATFORM__SHOP_KEY")


def check_proof(settings: Settings) -> Check:
    """Whether the proof that redemptions need can be had at all."""
    coupons, platform = settings.coupons, settings.platform
    above = coupons.confirm_above
    asks_back = platform.shop_key is not None and platform.api_key is not None
    if (cannot := _cannot_confirm(settings)) is not None:
        return cannot
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
            f"{rest} are made for whoever knows the webhook address (COUPONS__REQUIRE=door)",
            "set COUPONS__REQUIRE=confirmed"
            if asks_back
            else "set PLATFORM__SHOP_KEY, then COUPONS__REQUIRE=confirmed",
        )
    return Check("proof", True, f"every redemption needs: {coupons.require}")


def _cannot_confirm(settings: Settings) -> Check | None:
    """None where the Platform can be asked back, or never has to be."""
    coupons, platform = settings.coupons, settings.platform
    above = coupons.confirm_above
    missing = [
        name
        for name, value in (("PLATFORM__SHOP_KEY", platform.shop_key), ("PLATFORM__API_KEY", platform.api_key))
        if value is None
    ]
    if not missing or (coupons.require != "confirmed" and above is None):
        return None
    every = coupons.require == "confirmed"
    which = "every redemption is held" if every else f"redemptions worth more than {above} are held"
    return Check(
        "proof",
        False if every else None,
        f"redemptions cannot be confirmed at the Platform without {missing[0]}: {which} until a person approves it",
        f"set {missing[0]}, or ask for less with COUPONS__REQUIRE and COUPONS__CONFIRM_ABOVE (docs/coupons.md)",
    )


async def watch_proof(engine: AsyncEngine, settings: Settings) -> None:
    """An alert while redemptions cannot be confirmed: who looks at the console has not read what `relay check` says."""
    cannot = _cannot_confirm(settings)
    async with engine.begin() as connection:
        if cannot is None:
            await resolve_alert(connection, CANNOT_CONFIRM, SUBJECT)
        else:
            await raise_alert(connection, CANNOT_CONFIRM, SUBJECT, cannot.detail, cannot.next_step)


async def check_store(settings: Settings, store: StoreAdapter | None) -> Check:
    if store is None:
        return Check(
            "store",
            None,
            "STORE__ADAPTER is not set: redeemed coupons wait",
            "set STORE__ADAPTER and the shop's variables (docs/adapters.md)",
        )
    ready = await store.check()
    if isinstance(ready, Ready):
        return Check("store", True, f"{settings.store.adapter}: {ready.detail}")
    return _failed("store", ready, "the shop's variables (docs/adapters.md)")


def check_news(settings: Settings, store: object) -> Check:
    """Whether the shop can keep the news that it was asked to keep."""
    if isinstance(store, TakesNews):
        return Check("news", True, f"{settings.store.adapter} is told the shopper's tier and points")
    return Check(
        "news",
        False,
        f"STORE__NEWS is on, and {settings.store.adapter or 'no shop'} takes no news of the Platform: all of it is skipped",
        "set STORE__NEWS=false; docs/shops.md says which shops take news, and why the others do not",
    )


def _failed(name: str, outcome: Outcome, named: str) -> Check:
    """What a far side that could not be asked says, and what to do: `named` are the settings that speak of it."""
    why = "" if isinstance(outcome, Done) else outcome.why
    if isinstance(outcome, Retry) and outcome.evidence.status is not None:
        return Check(name, False, why, f"it is there and cannot answer now: try again later, and then check {named}")
    return Check(name, False, why, f"check {named}")
