"""The checks of the Platform, its Launcher and the store: whether they can be called, and which setting to correct."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pydantic import HttpUrl

from platform_relay import stores
from platform_relay.checks.check import Check
from platform_relay.checks.tls_probe import uses_tls
from platform_relay.core.egress import Network
from platform_relay.core.environment_settings import EnvironmentSettings
from platform_relay.core.outcomes import Blocked, Outcome, Reject, Retry, Unknown, reason_of
from platform_relay.core.reason_texts.rendering import remedy
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.core.setting_names import SettingNames
from platform_relay.inbox.events import EventKind
from platform_relay.platform.client import LAUNCHER_SETTINGS, PLATFORM_SETTINGS, PlatformClient
from platform_relay.setting_groups import StoreSettings
from platform_relay.settings import Settings
from platform_relay.stores.base import Ready, StoreAdapter
from platform_relay.stores.loyalty_sync import ChecksLoyaltySync, SyncsLoyalty
from platform_relay.stores.native import ListsEntities, Page
from platform_relay.sync.polling import kinds_in_order

PRECISE: Final = frozenset(
    {
        ReasonCode.ADDRESS_INVALID,
        ReasonCode.CERTIFICATE_EXPIRED,
        ReasonCode.CERTIFICATE_UNTRUSTED,
        ReasonCode.CERTIFICATE_WRONG_HOST,
        ReasonCode.EGRESS_DENIED,
        ReasonCode.FIREWALL_REFUSED,
        ReasonCode.KEY_REJECTED,
        ReasonCode.PERMISSION_MISSING,
        ReasonCode.REDIRECTED,
        ReasonCode.SETTING_MISSING,
        ReasonCode.SETTING_WRONG,
        ReasonCode.STORE_NOT_READY,
        ReasonCode.TLS_FAILED,
        ReasonCode.TLS_NOT_OFFERED,
        ReasonCode.TLS_REQUIRED,
        ReasonCode.WRONG_ADDRESS,
    }
)
"""The codes whose next step is an operator's."""
NOT_HTTP: Final = frozenset(
    {
        ReasonCode.CONNECTION_LOST,
        ReasonCode.REJECTED_BY_DESTINATION,
        ReasonCode.RESPONSE_MALFORMED,
        ReasonCode.RESPONSE_UNREADABLE,
        ReasonCode.TIMED_OUT,
    }
)
"""How a call in plain HTTP to a port with TLS can end."""
MOST_PAGES: Final = 5
"""How many pages of a list are read that should have no entities."""
UNREACHABLE: Final = frozenset(
    {
        ReasonCode.CONNECTION_FAILED,
        ReasonCode.CONNECTION_LOST,
        ReasonCode.RESPONSE_MALFORMED,
        ReasonCode.RESPONSE_UNREADABLE,
    }
)


@dataclass(frozen=True, slots=True)
class _Destination:
    """A checked destination: the name of the check, its `url`, its settings, and the names of the settings that authenticate.
    `page` describes how to set it up. `private_networks` may be called, as by the destination's own client."""

    check: str
    url: str
    settings: SettingNames
    credentials: str
    page: str = ""
    private_networks: Sequence[Network] = ()


async def check_platform(settings: Settings, platform: PlatformClient) -> Check:
    if settings.platform.api_key is None:
        return Check(
            "platform",
            False,
            "PLATFORM__API_KEY is not set",
            "copy the key from the Platform's account page and set it",
        )
    customer = await platform.get_customer("relay-check")
    if customer is None or isinstance(customer, Mapping):
        return Check("platform", True, f"{settings.platform.url} accepted the API key")
    url = str(settings.platform.url)
    place = _Destination("platform", url, PLATFORM_SETTINGS, "PLATFORM__API_KEY", "", settings.private_networks)
    return await _failed(place, customer)


async def check_launcher(settings: Settings, platform: PlatformClient) -> Check:
    if not platform.has_launcher:
        return Check(
            "launcher",
            None,
            "PLATFORM__SHOP_KEY is not set: rewards are valued only by the rules in webhooks and your reward rules, and"
            " redemptions cannot be confirmed at the Platform",
            "set PLATFORM__SHOP_KEY, or add a reward rule for each redeem rule: relay rules put RULE-ID ...",
        )
    rules = await platform.redeem_rules()
    if isinstance(rules, tuple):
        return Check("launcher", True, f"{len(rules)} redeem rules")
    url = str(settings.platform.launcher_url)
    place = _Destination("launcher", url, LAUNCHER_SETTINGS, "PLATFORM__SHOP_KEY", "", settings.private_networks)
    return await _failed(place, rules)


async def check_store(
    settings: Settings, platform: PlatformClient, store: StoreAdapter | None
) -> AsyncGenerator[Check]:
    """The store itself; if it is ready, also its currencies and its lists."""
    adapter = settings.store.adapter
    if store is None or adapter is None:
        yield Check(
            "store",
            None,
            "STORE__ADAPTER is not set: coupons of redemptions are held",
            "set STORE__ADAPTER and the store's variables (docs/stores.md)",
        )
        return
    ready = await store.check()
    if not isinstance(ready, Ready):
        yield await _failed(_store(adapter, settings.private_networks), ready)
        return
    yield Check("store", True, f"{adapter}: {ready.detail}")
    if (currency := await check_currency(settings, platform, ready.currencies)) is not None:
        yield currency
    if (lists := await check_lists(settings.store, adapter, store, settings.private_networks)) is not None:
        yield lists


async def check_currency(settings: Settings, platform: PlatformClient, sells_in: Collection[str]) -> Check | None:
    """Whether the store sells in the currency of the rewards; None when one of the two is not known."""
    named = await platform.store_currency() if platform.has_launcher else None
    if isinstance(named, str):
        currency, source, setting = named, "the Platform's Launcher", "the store's currency at the Platform"
    elif settings.coupons.currency:
        currency, source, setting = settings.coupons.currency, "COUPONS__CURRENCY", "COUPONS__CURRENCY"
    else:
        return None
    if not sells_in:
        return None
    store = ", ".join(sorted(sells_in))
    if currency in sells_in:
        return Check("currency", True, f"{source} names {currency}, and the store sells in {store}")
    return Check(
        "currency",
        False,
        f"{source} names {currency}, but the store sells in {store}: coupons with an amount are rejected",
        f"correct {setting}, or the currency of the store",
    )


async def check_lists(
    settings: StoreSettings, adapter: str, store: object, private_networks: Sequence[Network] = ()
) -> Check | None:
    """Whether the store's lists can be read: polling, reconciliation and backfill need them. Reads what changed since now.

    None: the store has no lists, and no feature that is switched on needs them. A warning: only backfill needs them.
    """
    name = "polling" if settings.poll_interval is not None else "lists"
    if not isinstance(store, ListsEntities):
        if settings.poll_interval is None:
            return None
        return Check(
            name,
            False,
            f"STORE__POLL_INTERVAL is set, but {adapter} has no lists that can be read",
            "remove STORE__POLL_INTERVAL; docs/stores.md lists what each store supports",
        )
    now, details, steps = datetime.now(UTC), list[str](), list[str]()
    kinds = kinds_in_order(store)
    for kind in kinds:
        page = await _read_list(store, kind, now)
        if not isinstance(page, Page):
            check = await _failed(_store(adapter, private_networks), page)
            details.append(f"the list of {kind} cannot be read: {check.detail}")
            steps.append(check.next_step)
    if not details:
        return Check(name, True, f"the lists of {', '.join(kinds)} can be read")
    users = {"STORE__POLL_INTERVAL": settings.poll_interval, "STORE__RECONCILE_AT": settings.reconcile_at}
    needed_by = [variable for variable, value in users.items() if value is not None]
    without = {
        "STORE__POLL_INTERVAL": "remove STORE__POLL_INTERVAL",
        "STORE__RECONCILE_AT": "set STORE__RECONCILE_AT=none",
    }
    to_do_without = f" To do without the lists, {' and '.join(without[variable] for variable in needed_by)}."
    next_step = " ".join(dict.fromkeys(steps)) + (to_do_without if needed_by else "")
    return Check(name, False if needed_by else None, "; ".join(details), next_step)


async def _read_list(store: ListsEntities, kind: EventKind, since: datetime) -> Page | Outcome:
    """The last page, or the first failure. A list may consist of several: orders, then orders with changed payments."""
    page = await store.list_entities(kind, since, None)
    for _ in range(MOST_PAGES):
        if not isinstance(page, Page) or page.next is None:
            break
        page = await store.list_entities(kind, since, page.next)
    return page


async def check_loyalty_sync(adapter: str | None, store: object, private_networks: Sequence[Network] = ()) -> Check:
    """Whether the relay may write tier and points to the store (STORE__LOYALTY_SYNC)."""
    name = "loyalty sync"
    if adapter is None or not isinstance(store, SyncsLoyalty):
        return Check(
            name,
            False,
            f"STORE__LOYALTY_SYNC is on, but {adapter or 'no store'} cannot store tier and points; updates are skipped",
            "set STORE__LOYALTY_SYNC=false; docs/stores.md lists the stores that support it",
        )
    outcome = await store.check_loyalty_sync() if isinstance(store, ChecksLoyaltySync) else None
    denied = isinstance(outcome, Reject) and outcome.reason.code is ReasonCode.PERMISSION_MISSING
    if outcome is not None and (denied or isinstance(outcome, Blocked | Retry | Unknown)):
        failed = await _failed(_store(adapter, private_networks), outcome)
        return Check(name, failed.ok, failed.detail, failed.next_step)
    return Check(name, True, f"{adapter} stores the customers' tier and points")


def _store(adapter: str, private_networks: Sequence[Network]) -> _Destination:
    """Each adapter has its address in `URL` and, if it supports one, its certificate authority in `CA_FILE`."""
    settings = stores.adapter_class(adapter).Settings
    names = {name.removeprefix(_prefix(settings)): name for name in stores.variables(settings)}
    url = getattr(settings(), "url", None)
    return _Destination(
        "store",
        str(url) if isinstance(url, HttpUrl) else "",
        SettingNames(names.get("URL", "the store's address"), names.get("CA_FILE")),
        "the store's credentials",
        f"docs/stores/{adapter}.md" if adapter in stores.ADAPTERS else "",
        private_networks,
    )


def _prefix(settings: type[EnvironmentSettings]) -> str:
    return settings.model_config.get("env_prefix", "").upper()


async def _failed(destination: _Destination, outcome: Outcome) -> Check:
    """The result for a destination that returned `outcome`."""
    reason = destination.settings.named(reason_of(outcome))
    if reason.code is ReasonCode.TRIAL_RUNS:
        return Check(destination.check, None, f"it can be read, but not whether the relay may write. {reason.text}")
    if (
        destination.url.startswith("http://")
        and reason.code in NOT_HTTP
        and await uses_tls(destination.url, destination.private_networks)
    ):
        name = reason.facts.get("destination")
        reason = destination.settings.named(because(ReasonCode.TLS_REQUIRED, destination=name))
    return Check(destination.check, False, reason.text, _next_step(destination, reason, outcome))


def _next_step(destination: _Destination, reason: Reason, outcome: Outcome) -> str:
    address, credentials = destination.settings.address, destination.credentials
    if reason.code in PRECISE:
        step = remedy(reason)
        return f"{step} See {destination.page}." if destination.page and destination.page not in step else step
    if isinstance(outcome, Retry) and outcome.evidence.status is not None:
        return f"The destination has a temporary problem. Try again later, then check {address} and {credentials}."
    if reason.code in UNREACHABLE:
        return f"Check {address}, and that the server is running."
    return f"Check {address} and {credentials}."
