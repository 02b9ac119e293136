"""What a file does not decide, as questions.

A question about customers or about a required amount waits for an answer or a confirmation; another one has a safe effect that the
summary states.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from platform_relay.core.visible_text import visible
from platform_relay.imports.choices import Choices
from platform_relay.imports.files import FileFacts
from platform_relay.imports.id_values import damage_of, looks_like_id
from platform_relay.imports.mapping import Doubt
from platform_relay.imports.sample import Sample
from platform_relay.imports.statuses import MAX_ASKED, REJECT, STATUSES, parse_statuses, unknown_words
from platform_relay.imports.summary import shown_text
from platform_relay.inbox.events import EventKind

Parameter = Literal["map", "encoding", "decimal", "date_order", "time_zone", "currency", "status"]


@dataclass(frozen=True, slots=True)
class Question:
    """What the file does not decide. `parameter` takes one of `answers`. `effect`: what happens without an answer. `waits`: the
    import does not start without an answer or a confirmation. `note`: the effect, as the summary states it."""

    parameter: Parameter
    text: str
    answers: tuple[str, ...]
    effect: str
    waits: bool
    note: str = ""

    @property
    def sentence(self) -> str:
        return f"{self.text} {self.effect}"


def uncertain_encoding(facts: FileFacts) -> Question:
    """In which encoding the text is."""
    return Question(
        "encoding",
        f"The file does not show how its text is encoded. It would be read with {facts.summary}.",
        (facts.encoding or "UTF-8",),
        "In a wrong encoding, letters such as é and ü become others.",
        waits=True,
    )


def doubtful_column(name: str, column: str, doubt: Doubt, values: Sequence[str]) -> Question:
    """Whether a column with these values has the ids of the field `name`."""
    others = [
        repr(shown_text(text)) for text in dict.fromkeys(values) if not looks_like_id(text) and damage_of(text) is None
    ]
    reasons: Mapping[Doubt, str] = {
        "name": f"The name of column {shown_text(column)} does not show that it holds the ids of your store.",
        "values": f"Not all values of column {shown_text(column)} look like ids: {', '.join(others[:3])}.",
        "addresses": f"The ids in column {shown_text(column)} are e-mail addresses.",
    }
    what = "the customer of each order" if name == "customerId" else "what each row is about"
    return Question(
        "map",
        f"{reasons[doubt]} It would be used for {name}.",
        (f"{name}={column}",),
        f"A wrong column would invent or merge entities, because {name} identifies {what}.",
        waits=True,
    )


def unknown_statuses(
    kind: EventKind, mapping: Mapping[str, str], sample: Sample, stated: Choices
) -> Iterator[Question]:
    """One question for each of the most frequent words of orders that are no payment status."""
    column = mapping.get("financialStatus", "") if kind is EventKind.ORDER else ""
    words = unknown_words(sample.values.get(column, ()), parse_statuses(stated.statuses))
    for at, (word, count) in enumerate(words[:MAX_ASKED]):
        yield Question(
            "status",
            f"Column {shown_text(column)} has the status {visible(word)!r} in {count:,} {'row' if count == 1 else 'rows'}, and its"
            " meaning is not known.",
            tuple(f"{word}={answer}" for answer in (*STATUSES, REJECT)),
            "Without an answer these orders are rejected.",
            waits=True,
            note=f"Column {shown_text(column)} has statuses that are not known ({len(words):,}): their orders are rejected."
            if not at
            else "",
        )


def open_decimal(name: str, column: str, *, waits: bool) -> Question:
    """Which decimal mark the amounts of a column have."""
    effect = "rows are rejected" if waits else "amounts are left out"
    return Question(
        "decimal",
        f"Column {shown_text(column)} ({name}) has amounts such as 1,234, and none that shows whether the decimal mark is a comma"
        " or a point.",
        (",", "."),
        f"Without an answer these {effect}.",
        waits=waits,
        note=f"Decimal mark of {shown_text(column)} unknown: {effect} where an amount can be 1.234 or 1234.",
    )


def open_date_order(name: str, column: str) -> Question:
    """Whether the day or the month is first in the dates of a column."""
    return Question(
        "date_order",
        f"Column {shown_text(column)} ({name}) has dates such as 4/3/2000, and none that shows whether the day or the month is"
        " first.",
        ("dmy", "mdy"),
        "Without an answer these dates are left out.",
        waits=False,
        note=f"Order of dates in {shown_text(column)} unknown: dates such as 4/3/2000 are left out.",
    )


def open_zone(columns: Sequence[str], *, waits: bool) -> Question:
    """In which time zone the times of these columns are. `waits`: one of the columns is the version of the rows, which decides
    whether a row is newer than what the store sent."""
    shown = ", ".join(shown_text(column) for column in columns)
    later = " A version that is hours too late would hide changes that the store sends." if waits else ""
    return Question(
        "time_zone",
        f"Times without a time zone are in {shown}.",
        ("Europe/Berlin", "UTC"),
        f"Without an answer they count as UTC.{later}",
        waits=waits,
        note=f"Times without a time zone in {shown} count as UTC.",
    )
