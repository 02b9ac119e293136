"""Values that are no ids of customers, although stores and integrations send them as such. Pure.

As an id, each would make one customer of all guests, with the name and the address of the first one.
"""

from typing import Final

NO_ACCOUNT: Final = ("0", 0)
"""What stores (WooCommerce, BigCommerce, and others) write as the customer's id of a guest's order."""
NO_VALUE: Final = frozenset({"null", "none", "nil", "nan", "undefined"})
"""What programs write for a missing value."""


def customer_id(value: object) -> object:
    """The id of a customer as it is. Raises ValueError for what is no customer's id."""
    if _is_no_account(value):
        raise ValueError(
            "0 is not the id of a customer: stores write it for guests; send only customers with an account"
        )
    return _refuse_no_value(value, "")


def customer_of_order(value: object) -> object:
    """The id of an order's customer as it is; None for a guest. Raises ValueError for a word for a missing value: an integration
    that writes it may also lose the ids of customers who have one."""
    return None if _is_no_account(value) else _refuse_no_value(value, "; leave it out for guest orders")


def _is_no_account(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value in NO_ACCOUNT


def _refuse_no_value(value: object, instead: str) -> object:
    if isinstance(value, str) and value.lower() in NO_VALUE:
        raise ValueError(f"{value} is a program's word for a missing value, not the id of a customer{instead}")
    return value
