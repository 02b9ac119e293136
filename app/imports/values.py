"""Values of columns as people write them: numbers, currencies, dates and times. Pure."""

from platform_relay.imports.amounts import AmbiguousValueError, DecimalMark, currency_of, decimal_mark_of, parse_number
from platform_relay.imports.dates import DateOrder, date_order_of, parse_date, parse_month_day, parse_time

__all__ = [
    "AmbiguousValueError",
    "DateOrder",
    "DecimalMark",
    "currency_of",
    "date_order_of",
    "decimal_mark_of",
    "parse_date",
    "parse_month_day",
    "parse_number",
    "parse_time",
]
