"""The destinations of the checks: the simulators of the Platform and of a WooCommerce store."""

from tests.journeys.conftest import platform, platform_process, shop, shop_process

__all__ = ["platform", "platform_process", "shop", "shop_process"]
