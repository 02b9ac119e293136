"""Which texts can be ids, and which were ids before a spreadsheet damaged them. Pure.

A wrong id invents a customer or merges two, so that nothing is guessed from a name alone, and a damaged id is refused.
"""

import re
from collections.abc import Iterable
from typing import Final

_TOKEN: Final = re.compile(r"[^\s@,;|<>\"]{1,255}")
_DIGIT: Final = re.compile(r"[0-9]")
_NOT_AN_ID: Final = (
    re.compile(r"\+[0-9()./-]+"),  # a telephone number
    re.compile(r"(?<![0-9€$£¥-])[€$£¥-]?[0-9]*[.][0-9]+[€$£¥]?"),  # an amount; with a comma it is no token
    re.compile(r"[0-9]{1,4}[-./][0-9]{1,2}[-./][0-9]{1,4}(T.*)?"),  # a date or a time
    re.compile(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?"),
)
_EXPONENT: Final = re.compile(r"-?[0-9]([.,][0-9]+)?E\+[0-9]{2,3}", re.IGNORECASE)
_FORMULA_ERROR: Final = re.compile(r"#[A-ZÄÖÜÉ/0]{2,12}[!?]|#N/A|#NV|#N/D|#{2,}")
_DAY_OR_YEAR: Final = re.compile(
    r"([0-9]{1,2}(?:-|\. ?))?"
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|Mrz|Mär|Mai|Okt|Dez|Ene|Abr|Ago|Dic|Gen|Mag|Giu|Lug|Set|Ott|Mrt|Mei"
    r"|janv|févr|mars|avr|mai|juin|juil|août|sept|oct|nov|déc)\.?"
    r"([- ][0-9]{2})?"
)
"""What Excel makes of `MAR4` and `4-3`: `Mar-04` or `4-Mar`, in other languages `04. Mrz`."""
_WHOLE_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:]{1,8})?")
"""What it is in a workbook."""
_PLACEHOLDERS: Final = frozenset(
    {"null", "(null)", "<null>", "\\n", "none", "nan", "undefined", "n/a", "na", "nil", "0", "-1"}
)
"""WooCommerce writes 0 for a guest, MySQL writes `\\N`."""
_TOTALS: Final = re.compile(
    r"((grand |sub-?)?totals?|sum|count|average|summe|gesamt(summe)?|zwischensumme|anzahl|somme|total g[eé]n[eé]ral|sous-total"
    r"|moyenne|totale|totaal|suma)[ :]*",
    re.IGNORECASE,
)
_DECIMALS: Final = re.compile(r"(?<![0-9])[0-9]+[.,]0+")
_GROUPS: Final = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+")
_EXPORT_AGAIN: Final = "export the file again and do not save it with a spreadsheet"
_DAMAGES: Final = (
    (_EXPONENT, f"is a long number that a spreadsheet shortened, so the id is lost; {_EXPORT_AGAIN}"),
    (_FORMULA_ERROR, f"is the error of a spreadsheet's formula, not an id; {_EXPORT_AGAIN}"),
    (_DECIMALS, "is an id that a program wrote as an amount, so it may not be that of the store; export it as text"),
    (_GROUPS, "is an id that a program wrote as an amount, so it may not be that of the store; export it as text"),
    (_TOTALS, "is the label of a row of totals, not an id"),
)
EXACT_DIGITS: Final = 15
"""A spreadsheet keeps so many digits of a number and replaces the others by zeros."""
_MANY_ZEROS: Final = 4
"""Ids that end with so many zeros in total after their 15th digit are rounded; other ids have them once in 10,000 times."""


def looks_like_id(text: str) -> bool:
    """Whether the text is one token with a digit, and no address, amount, date or telephone number."""
    return is_token(text) and bool(_DIGIT.search(text)) and not any(form.fullmatch(text) for form in _NOT_AN_ID)


def is_token(text: str) -> bool:
    """Whether the text has no spaces and none of the characters that separate values or belong to an address."""
    return _TOKEN.fullmatch(text) is not None


def is_placeholder(text: str) -> bool:
    """Whether the text means no value, such as `NULL`. As an id it would merge all rows that have it."""
    return text.lower() in _PLACEHOLDERS or not any(character.isalnum() for character in text)


def is_formula_error(text: str) -> bool:
    """Whether the text is what a spreadsheet shows for a formula without a result: `#NAME?`, `#N/A`, `#####`."""
    return _FORMULA_ERROR.fullmatch(text) is not None


def is_shortened_number(text: str) -> bool:
    """Whether the text is a long number as a spreadsheet shows it: `4.91512E+12`."""
    return _EXPONENT.fullmatch(text) is not None


def damage_of(text: str, *, rounded: bool = False, dates: bool = True) -> str | None:
    """Why the text cannot be an id although it is in a column of ids, as the end of a sentence that begins with the text;
    None if it can. `rounded`: `are_rounded` is true for the ids of the column. `dates`: a date is damage, as a spreadsheet
    makes one of `3-4`; in JSON it is an id such as `Set-10`."""
    for form, damage in _DAMAGES:
        if form.fullmatch(text):
            return damage
    if dates and _is_date(text):
        return f"is an id that a spreadsheet changed into a date; {_EXPORT_AGAIN}"
    if rounded and _zeros(text):
        return f"is a number that a spreadsheet rounded to {EXACT_DIGITS} digits, so the id is lost; {_EXPORT_AGAIN}"
    if is_placeholder(text):
        return "means no value, so that it cannot be an id"
    return None


def _is_date(text: str) -> bool:
    match = _DAY_OR_YEAR.fullmatch(text)
    return _WHOLE_DATE.fullmatch(text) is not None or (match is not None and (match[1] is None) != (match[2] is None))


def are_rounded(ids: Iterable[str]) -> bool:
    """Whether a spreadsheet rounded the long numbers among the ids: all have only zeros after their 15th digit."""
    long = {text for text in ids if text.isascii() and text.isdecimal() and len(text) > EXACT_DIGITS}
    zeros = [_zeros(text) for text in long]
    return bool(zeros) and all(zeros) and sum(zeros) >= _MANY_ZEROS


def _zeros(text: str) -> int:
    """The number of zeros after the 15th digit of a number that has nothing else there; otherwise 0."""
    rest = text[EXACT_DIGITS:]
    return len(rest) if text.isascii() and text.isdecimal() and not rest.strip("0") else 0
