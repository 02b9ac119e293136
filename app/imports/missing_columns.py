"""Why a file cannot be imported: it has no column for a required field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from platform_relay.imports.conversion import AMOUNTS
from platform_relay.imports.files import FileFormat
from platform_relay.imports.id_values import looks_like_id
from platform_relay.imports.mapping import Column, guess_mapping, missing_fields
from platform_relay.imports.questions import Parameter
from platform_relay.imports.sample import Sample
from platform_relay.imports.summary import shown_text
from platform_relay.inbox.events import EventKind

COLUMNS_NAMED: Final = 40
KINDS_OF_VALUES: Final[Mapping[str, str]] = {
    "id": "ids",
    "customerId": "ids",
    "email": "e-mail addresses",
    "birthdayDay": "days of the month",
    "birthday": "dates",
    "currency": "currencies",
    **dict.fromkeys(AMOUNTS, "amounts"),
}
"""What the values of a field are called."""
_ONE_COLUMN: Final[Mapping[FileFormat, str]] = {
    "csv": " The file has one column only: save it with a comma, a semicolon, a tab or a pipe between the values.",
    "xlsx": " The sheet has one column only. Another sheet can be named (--sheet, sheet=).",
}


@dataclass(frozen=True, slots=True)
class MissingColumns:
    """`message`: which fields have no column, and why. `parameter`: what can supply them."""

    message: str
    parameter: Parameter


def find_missing_columns(
    kind: EventKind,
    names: Sequence[str],
    mapping: Mapping[str, str],
    refused: Mapping[str, str],
    documented: Mapping[str, str],
    hints: Sequence[str],
    *,
    has_currency: bool,
) -> MissingColumns | None:
    """The required fields without a column; None if there are none. `refused`: see `Guess`. `documented`: why a known export
    lacks a field."""
    lacking = [name for name in missing_fields(kind, mapping) if name != "currency" or not has_currency]
    if not lacking:
        return None
    reasons = [
        f" The values of {shown_text(refused[name])} do not look like {KINDS_OF_VALUES[name]}; if they are, map the column by hand."
        for name in lacking
        if name in refused and name in KINDS_OF_VALUES
    ]
    parameter: Parameter = "currency" if lacking == ["currency"] else "map"
    reasons += [f" For {name}: {documented[name]}." for name in lacking if name in documented]
    if "id" in lacking:
        reasons += hints
    columns = f"{', '.join(map(shown_text, names[:COLUMNS_NAMED]))}{' …' if len(names) > COLUMNS_NAMED else ''}"
    return MissingColumns(
        f"no column for {', '.join(lacking)}.{''.join(reasons)} The columns are {columns}.", parameter
    )


def hints_for(kind: EventKind, file_format: FileFormat, sample: Sample) -> list[str]:
    """What can help someone whose file has no column of ids, as sentences with a space before each."""
    hints = []
    if sample.broken > sample.sound:
        hints.append(
            " Most rows have another number of fields than the first one, which must have the names of the columns: delete the"
            " lines above it, such as a title."
        )
    elif len(sample.cells) == 1:
        hints.append(_ONE_COLUMN[file_format])
    first = [Column(cells[0]) for cells in sample.cells.values() if cells]
    if len(guess_mapping(kind, first).mapping) > 1:
        hints.append(" The row under the first one looks like the names of the columns: delete the lines above it.")
    else:
        possible = [
            name for name, texts in sample.values.items() if texts and all(map(looks_like_id, texts)) and _differ(texts)
        ]
        if possible:
            hints.append(f" Values that look like ids are in {', '.join(map(shown_text, possible[:3]))}.")
    return hints


def _differ(texts: Sequence[str]) -> bool:
    return len(set(texts)) == len(texts)
