"""The stores that coupons are made in.

    base.py         the contract: what is ordered, what a store holds, how the two are compared
    failing.py      how a failed call is raised inside of an adapter, and returned as an outcome
    responses.py    what an HTTP status means in every store
    remembered.py   what is asked for once and used for some minutes
    native.py       what a store may do besides: its own webhooks, lists, single entities
    news.py         the Platform's news to the store
    conformance/    the promises of all of them, tried on a running shop: `relay conformance`
    woocommerce/    WooCommerce, REST API v3
    magento/        Magento Open Source and Adobe Commerce 2.4, REST
    saleor/         Saleor, GraphQL
    shopify/        Shopify, Admin GraphQL API 2026-07
    bigcommerce/    BigCommerce, V2 coupons
    medusa/         Medusa v2, admin API
    vendure/        Vendure 3, admin GraphQL API
    generic_http.py any store whose merchant runs an endpoint of his own: signed JSON (Standard Webhooks)

Within a store's folder: adapter.py (its settings and its class, and the table "what an answer means"), then as needed
api.py (one call), coupons.py (an order into the store's terms and back), events.py (the store's entities into ours),
hooks.py (its webhooks set up).

An adapter is a subclass of `EnvironmentSettings` with an `env_prefix`, and a class with the methods of
`base.StoreAdapter` and the class members of `base.StoreAdapterClass`. There is no base class and no plugin framework:
a name in `ADAPTERS`, or `package.module:Class` for an adapter that lives outside of this project.

    adapter = build("woocommerce", HttpClients(time_limit=15))      # ValueError: in words, what is missing or wrong
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Final, cast

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from platform_relay.core.http import HttpClients
from platform_relay.settings import EnvironmentSettings
from platform_relay.stores.base import StoreAdapter, StoreAdapterClass
from platform_relay.stores.bigcommerce.adapter import BigCommerce
from platform_relay.stores.generic_http import GenericHttp
from platform_relay.stores.magento.adapter import Magento
from platform_relay.stores.medusa.adapter import Medusa
from platform_relay.stores.saleor.adapter import Saleor
from platform_relay.stores.shopify.adapter import Shopify
from platform_relay.stores.vendure.adapter import Vendure
from platform_relay.stores.woocommerce.adapter import WooCommerce

ADAPTERS: Final[Mapping[str, StoreAdapterClass]] = {
    "bigcommerce": BigCommerce,
    "generic_http": GenericHttp,
    "magento": Magento,
    "medusa": Medusa,
    "saleor": Saleor,
    "shopify": Shopify,
    "vendure": Vendure,
    "woocommerce": WooCommerce,
}


def adapter_class(name: str) -> StoreAdapterClass:
    """The class for a name of ADAPTERS or a dotted `package.module:Class`. Raises ValueError for anything else."""
    if name in ADAPTERS:
        return ADAPTERS[name]
    module_name, colon, class_name = name.partition(":")
    if not colon:
        raise ValueError(f"unknown shop {name!r}; known: {', '.join(sorted(ADAPTERS))}, or package.module:Class")
    try:
        found = getattr(import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the store adapter {name!r} cannot be loaded: {error}") from error
    if missing := [each for each in ("Settings", "KINDS", "CANNOT", "from_environment") if not hasattr(found, each)]:
        raise ValueError(f"{name!r} is no store adapter: it lacks {', '.join(missing)} (docs/adapters.md)")
    return cast(StoreAdapterClass, found)


def build(name: str, clients: HttpClients) -> StoreAdapter:
    """The store's adapter with its variables read from the environment, its calls going through `clients`.

    Raises ValueError when the name is unknown or variables are missing or wrong; its text names each of them.
    """
    chosen = adapter_class(name)
    try:
        return chosen.from_environment(clients)
    except ValidationError as error:
        raise ValueError(f"the store {name!r} is not set up: {'; '.join(_in_words(error, chosen.Settings))}") from error


def variables(settings: type[EnvironmentSettings]) -> dict[str, FieldInfo]:
    """The environment variables of a settings class by name, each with its field (description, whether required)."""
    prefix = settings.model_config.get("env_prefix", "")
    return {f"{prefix}{name}".upper(): field for name, field in settings.model_fields.items()}


def _in_words(error: ValidationError, settings: type[EnvironmentSettings]) -> list[str]:
    known = variables(settings)
    told = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        name = settings.model_config.get("env_prefix", "") + "__".join(str(part) for part in item["loc"]).upper()
        if item["type"] == "missing":
            told.append(f"{name} is not set ({known[name].description})")
        else:
            told.append(f"{name} {item['msg'].removeprefix('Value error, ')}".strip())
    return told
