"""The permissions that each store must grant to the relay, by what they are for.

`docs/stores/<store>.md` explains how to grant them; tests compare the pages with this table, and run every adapter against a
store that enforces it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Ability(StrEnum):
    """What a permission is for."""

    COUPONS = "coupons"
    CUSTOMERS = "customers"
    ORDERS = "orders"
    PRODUCTS = "products"
    LOYALTY_SYNC = "loyalty sync"


PERMISSIONS: Final[Mapping[str, Mapping[Ability, tuple[str, ...]]]] = {
    "bigcommerce": {
        Ability.COUPONS: ("Marketing modify", "Information & settings read-only"),
        Ability.CUSTOMERS: ("Customers read-only",),
        Ability.ORDERS: ("Orders read-only",),
        Ability.PRODUCTS: ("Products read-only",),
        Ability.LOYALTY_SYNC: ("Customers modify",),
    },
    "generic_http": {},
    "magento": {
        Ability.COUPONS: ("Magento_SalesRule::quote", "Magento_Backend::store"),
        Ability.CUSTOMERS: ("Magento_Customer::customer",),
        Ability.ORDERS: ("Magento_Sales::actions_view",),
        Ability.PRODUCTS: ("Magento_Catalog::products",),
    },
    "medusa": {
        Ability.COUPONS: ("promotions", "campaigns", "stores"),
        Ability.CUSTOMERS: ("customers",),
        Ability.ORDERS: ("orders", "payments"),
        Ability.PRODUCTS: ("products",),
        Ability.LOYALTY_SYNC: ("customers",),
    },
    "saleor": {
        Ability.COUPONS: ("MANAGE_DISCOUNTS",),
        Ability.CUSTOMERS: ("MANAGE_USERS",),
        Ability.ORDERS: ("MANAGE_ORDERS",),
        Ability.PRODUCTS: ("MANAGE_PRODUCTS",),
        Ability.LOYALTY_SYNC: ("MANAGE_USERS",),
    },
    "shopify": {
        Ability.COUPONS: ("write_discounts",),
        Ability.CUSTOMERS: ("read_customers",),
        Ability.ORDERS: ("read_orders",),
        Ability.PRODUCTS: ("read_products",),
        Ability.LOYALTY_SYNC: ("write_customers",),
    },
    "vendure": {
        Ability.COUPONS: ("ReadPromotion", "CreatePromotion", "DeletePromotion"),
        Ability.CUSTOMERS: ("ReadCustomer",),
        Ability.ORDERS: ("ReadOrder",),
        Ability.PRODUCTS: ("ReadCatalog",),
    },
    "woocommerce": {
        Ability.COUPONS: ("Read/Write",),
        Ability.CUSTOMERS: ("Read/Write",),
        Ability.ORDERS: ("Read/Write",),
        Ability.PRODUCTS: ("Read/Write",),
        Ability.LOYALTY_SYNC: ("Read/Write",),
    },
}
"""By the name of the adapter. Empty: the store has no permissions."""
