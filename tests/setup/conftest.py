"""The destinations of the set-up: the simulators of the Platform and of a WooCommerce store."""

from tests.journeys.conftest import client, http, platform, platform_process, shop, shop_process, store

__all__ = ["client", "http", "platform", "platform_process", "shop", "shop_process", "store"]
