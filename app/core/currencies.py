"""Decimal places of currencies (ISO 4217, list one)."""

from typing import Final

_PLACES: Final = {
    0: frozenset({"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV",
                  "XAF", "XOF", "XPF"}),
    3: frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}),
    4: frozenset({"CLF", "UYW"}),
}  # fmt: skip


def currency_places(currency: str | None) -> int:
    """The number of decimal places of a currency; 2 when it is unknown."""
    return next((places for places, currencies in _PLACES.items() if currency in currencies), 2)
