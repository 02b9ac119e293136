"""The words that stores and people write for the payment status of an order, and the Platform's name for each. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, get_args

from platform_relay.imports.column_names import plain
from platform_relay.imports.id_values import is_formula_error
from platform_relay.inbox.events import FinancialStatus

STATUSES: Final[tuple[FinancialStatus, ...]] = get_args(FinancialStatus)
REJECT: Final = "reject"
"""An answer: orders with the word are rejected."""
_PREFIX: Final = "wc-"
"""WooCommerce's database writes `wc-completed`."""
_WORDS: Final[Mapping[FinancialStatus, str]] = {
    "paid": (
        "completed, complete, processing, in bearbeitung, zrealizowane, "
        "payment accepted, remote payment accepted, payment received, shipped, partially "
        "shipped, awaiting pickup, awaiting shipment, awaiting fulfillment, bezahlt, vollständig bezahlt, abgeschlossen, "
        "payé, payée, paiement accepté, pagado, pagada, pagato, betaald, opłacone, zapłacone, 支払い済み, 支払済み, оплачен, "
        "оплачено"
    ),
    "pending": (
        "on hold, unpaid, failed, pending payment, payment pending, awaiting payment, payment review, payment error, "
        "awaiting bank wire payment, awaiting check payment, manual verification required, unbezahlt, nicht bezahlt, "
        "zahlung ausstehend, in wartestellung, fehlgeschlagen, impayé, impayée, en attente de paiement, pendiente de "
        "pago, niet betaald, nieopłacone, 未払い, не оплачен"
    ),
    "partially_paid": "partial payment, partial paid, teilweise bezahlt, partiellement payé, partiellement payée",
    "refunded": (
        "fully refunded, erstattet, rückerstattet, remboursé, remboursée, reembolsado, reembolsada, rimborsato, "
        "terugbetaald, 返金済み"
    ),
    "partially_refunded": "partial refund, zwrot częściowy, teilweise erstattet, partiellement remboursé, partiellement remboursée",
    "voided": (
        "cancelled, canceled, declined, storniert, annulé, annulée, cancelado, cancelada, annullato, geannuleerd, "
        "anulowane, キャンセル, отменен, отменён"
    ),
}
"""Words with one meaning. Of WooCommerce, BigCommerce and Prestashop; a failed payment can be tried again, so it is pending, as in
the adapters. `Closed` is not among them: it is refunded in Magento, and archived in Shopify."""
_KNOWN: Final[Mapping[str, FinancialStatus]] = {
    plain(word): status for status in STATUSES for word in f"{status}, {_WORDS.get(status, status)}".split(", ")
}
_NO_ORDER: Final = frozenset({"checkoutdraft", "autodraft", "trash", "incomplete"})
"""WooCommerce's drafts and deleted orders, BigCommerce's carts that were not paid: no orders in the adapters either."""
MAX_ASKED: Final = 10
MAX_WORD: Final = 100
"""Characters."""


def word_of(text: str) -> str:
    """What is compared of a status."""
    return plain(text.strip()[:MAX_WORD].lower().removeprefix(_PREFIX))


def read_status(text: str, stated: Mapping[str, str]) -> str:
    """The Platform's status for a word. `stated`: by word, see `parse_statuses`. Raises ValueError if the word is unknown, or if
    orders with it are not imported."""
    word = word_of(text)
    status = stated.get(word)
    if status == REJECT:
        raise ValueError("is a status whose orders are rejected, as it was stated")
    if status is None and word in _NO_ORDER:
        raise ValueError("is the status of something that is no order")
    status = status or _KNOWN.get(word)
    if status is None:
        raise ValueError(
            "is no payment status that is known; state its meaning (--status WORD=STATUS, status=WORD=STATUS)"
        )
    return status


def parse_statuses(items: Iterable[str]) -> dict[str, str]:
    """The statuses by word, of items such as `Bezahlt=paid`. Raises ValueError for another status."""
    stated = {}
    for item in items:
        word, _, status = item.rpartition("=")
        if not is_statement(item):
            raise ValueError(
                f"{item[: 2 * MAX_WORD]!r} is not valid: write WORD=STATUS; the statuses are {', '.join(STATUSES)}, or"
                f" {REJECT} to reject the orders"
            )
        stated[word_of(word)] = status.strip().lower()
    return stated


def is_statement(item: str) -> bool:
    """Whether the text is a word and a status, such as `Bezahlt=paid`."""
    word, _, status = item.rpartition("=")
    return bool(word_of(word)) and "\0" not in item and status.strip().lower() in (*STATUSES, REJECT)


def unknown_words(texts: Iterable[str], stated: Mapping[str, str]) -> list[tuple[str, int]]:
    """The words that mean no status, each as it is first written, with the number of orders; the most frequent ones first."""
    counts: Counter[str] = Counter()
    written: dict[str, str] = {}
    for text in texts:
        word = word_of(text)
        if not word or word in _KNOWN or word in _NO_ORDER or word in stated or is_formula_error(text):
            continue
        counts[word] += 1
        written.setdefault(word, text)
    return [(written[word][:MAX_WORD], count) for word, count in counts.most_common()]
