"""Exports of stores and loyalty programmes that are recognised by the names of their columns, and mapped completely. Pure."""

from collections.abc import Sequence
from typing import Final

from platform_relay.imports.exports import bigcommerce, influence, magento, shopify, smile, woocommerce, yotpo
from platform_relay.imports.exports.known import Export, KnownExport

EXPORTS: Final[tuple[Export, ...]] = (
    shopify.CUSTOMERS,
    shopify.ORDERS,
    woocommerce.ANALYTICS_CUSTOMERS,
    woocommerce.ANALYTICS_ORDERS,
    woocommerce.SUITE_CUSTOMERS,
    woocommerce.SUITE_ORDERS,
    magento.CUSTOMERS,
    magento.CUSTOMERS_MAIN_FILE,
    magento.ORDERS,
    bigcommerce.CUSTOMERS,
    bigcommerce.ORDERS,
    smile.CUSTOMERS,
    yotpo.CUSTOMERS,
    influence.POINTS_FILE,
    influence.TIERS,
)
LEFT_OUT: Final = {
    "LoyaltyLion": "The merchant chooses and renames the columns of each export, so that no header identifies it "
    "(help.loyaltylion.com/articles/5367139-export). Its merchant id is the store's id of the customer: `--map id=COLUMN`.",
    "Influence.io, customers": "The columns of its customer export are not documented publicly "
    "(support.influence.io/en/articles/9184911-customers). Only its files of points and tiers are.",
}
"""Systems whose exports are not recognised, and why."""

__all__ = ["EXPORTS", "LEFT_OUT", "KnownExport", "known_export", "recognise"]


def recognise(columns: Sequence[str]) -> KnownExport | None:
    """The known export that has these columns; of several the one that is identified by most columns. None if there is none.

    A file of an export without ids that got a column of ids from somewhere is none: its ids are found by their values.
    """
    present = frozenset(columns)
    fitting = [export for export in EXPORTS if export.signature <= present and not export.may_hide_ids(columns)]
    if not fitting or len(present) != len(columns):
        return None
    return max(fitting, key=lambda export: len(export.signature)).of(columns)


def known_export(name: str, columns: Sequence[str]) -> KnownExport:
    """The export with this name, for a file with these columns. Raises LookupError for an unknown name."""
    for export in EXPORTS:
        if export.name == name:
            return export.of(columns)
    raise LookupError(name)
