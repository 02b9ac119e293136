"""Store adapters: the contract in `base.py`, and one package for each store.

    base.py         the contract: coupon spec, store coupon, and the comparison of both
    native.py       optional abilities: webhooks, lists, single entities
    loyalty_sync.py optional ability: tier and points on the store's customer
    failures.py     failed calls: an exception inside an adapter, an outcome outside
    responses.py    the meaning of an HTTP status that is the same for every store
    parsing.py      functions that read JSON
    settings.py     types of settings that several stores have
    cached.py       a value that is read once and used for some minutes
    woocommerce/    WooCommerce, REST API v3
    magento/        Magento Open Source and Adobe Commerce 2.4, REST
    saleor/         Saleor, GraphQL
    shopify/        Shopify, Admin GraphQL API 2026-07
    bigcommerce/    BigCommerce, V2 coupons
    medusa/         Medusa v2, admin API
    vendure/        Vendure 3, admin GraphQL API
    generic_http.py any store whose merchant runs an endpoint: signed JSON (Standard Webhooks)

Each package has `adapter.py` (settings, adapter class, and the table of responses) and, as needed, `api.py` (one call),
`coupons.py` (coupon spec to the store's format and back), `events.py` (the store's entities to events), `webhooks.py`
(setup of webhooks) and `loyalty_sync.py`.

An adapter consists of two classes: its settings (a subclass of `EnvironmentSettings` with an `env_prefix`), and the adapter
(the methods of `base.StoreAdapter` and the class members of `base.StoreAdapterClass`). There is no base class and no plugin
framework: an adapter is found by its name in `ADAPTERS`, or as `package.module:Class` if it is outside of this project.

    adapter = build("woocommerce", HttpClients(time_limit=15))      # ValueError: a setting is missing or invalid
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Final, cast

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from platform_relay.core.environment_settings import EnvironmentSettings
from platform_relay.core.http import HttpClients
from platform_relay.stores.base import StoreAdapter, StoreAdapterClass

ADAPTERS: Final[Mapping[str, str]] = {
    "bigcommerce": "platform_relay.stores.bigcommerce.adapter:BigCommerce",
    "generic_http": "platform_relay.stores.generic_http:GenericHttp",
    "magento": "platform_relay.stores.magento.adapter:Magento",
    "medusa": "platform_relay.stores.medusa.adapter:Medusa",
    "saleor": "platform_relay.stores.saleor.adapter:Saleor",
    "shopify": "platform_relay.stores.shopify.adapter:Shopify",
    "vendure": "platform_relay.stores.vendure.adapter:Vendure",
    "woocommerce": "platform_relay.stores.woocommerce.adapter:WooCommerce",
}
"""Where the adapters of this project are. A process imports only the one that it uses."""


def adapter_class(name: str) -> StoreAdapterClass:
    """Return the class for a name in ADAPTERS or for `package.module:Class`. Raises ValueError for other names."""
    module_name, colon, class_name = ADAPTERS.get(name, name).partition(":")
    if not colon:
        raise ValueError(f"unknown store {name!r}; known: {', '.join(sorted(ADAPTERS))}, or package.module:Class")
    try:
        chosen = getattr(import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the store adapter {name!r} cannot be loaded: {error}") from error
    members = ("Settings", "KINDS", "CANNOT", "from_environment")
    if missing := [member for member in members if not hasattr(chosen, member)]:
        raise ValueError(f"{name!r} is not a store adapter: it lacks {', '.join(missing)} (docs/adapters.md)")
    return cast(StoreAdapterClass, chosen)


def build(name: str, clients: HttpClients) -> StoreAdapter:
    """Create the adapter. It reads its variables from the environment, and makes its calls through `clients`.

    Raises ValueError if the name is unknown, or if variables are missing or invalid; the text names each of them.
    """
    chosen = adapter_class(name)
    try:
        return chosen.from_environment(clients)
    except ValidationError as error:
        raise ValueError(f"the store {name!r} is not set up: {'; '.join(_problems(error, chosen.Settings))}") from error


def read_settings(name: str) -> EnvironmentSettings:
    """The adapter's variables. Raises ValueError as `build`."""
    chosen = adapter_class(name).Settings
    try:
        return chosen()
    except ValidationError as error:
        raise ValueError(f"the store {name!r} is not set up: {'; '.join(_problems(error, chosen))}") from error


def variables(settings: type[EnvironmentSettings]) -> dict[str, FieldInfo]:
    """The environment variables of a settings class, by name, with their fields (description, whether required)."""
    prefix = settings.model_config.get("env_prefix", "")
    return {f"{prefix}{name}".upper(): field for name, field in settings.model_fields.items()}


def _problems(error: ValidationError, settings: type[EnvironmentSettings]) -> list[str]:
    known = variables(settings)
    problems = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        name = settings.model_config.get("env_prefix", "") + "__".join(str(part) for part in item["loc"]).upper()
        if item["type"] == "missing":
            problems.append(f"{name} is not set ({known[name].description})")
        elif item["type"].startswith("url_"):
            problems.append(f"{name} must be a complete address that begins with https://")
        else:
            problems.append(f"{name} {item['msg'].removeprefix('Value error, ')}".strip())
    return problems
