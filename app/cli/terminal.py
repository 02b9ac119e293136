"""Where commands print: results to `out`, everything else to `err`; JSON with `print_json`.

No printed text is read as markup, and its control characters are replaced, because it may come from a store, a customer or
the Platform. Colour comes from `mark` only. Lines are not wrapped, because commands and addresses in them are copied, or
read by programs. Only tables are fitted.
"""

from collections.abc import Collection
from typing import Any, Final  # Any: the options of rich

from rich import prompt
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from platform_relay.core.visible_text import visible_json, visible_lines

ACTOR: Final = "cli"
"""Who did it, in the audit."""


class Terminal(Console):
    """A console that shows every text as it is. `render_str` gets the texts of tables, too."""

    def render_str(self, text: str, **options: Any) -> Text:
        """The text without markup, emoji codes and control characters."""
        return super().render_str(visible_lines(text), **{**options, "markup": False, "emoji": False})


out: Final = Terminal(soft_wrap=True, highlight=False)
err: Final = Terminal(stderr=True, soft_wrap=True, highlight=False)


def whole_table(*names: str, one_line: Collection[str] = ()) -> Table:
    """A table whose values are never cut off, because ids and codes are copied. The columns in `one_line` stay on one line as
    long as the others leave them room."""
    return Table(*(Column(name, overflow="fold", no_wrap=name in one_line) for name in names))


class Prompt(prompt.Prompt):
    """A question. Its messages have no markup, which `Terminal` would print as it is."""

    validate_error_message = "Please enter a valid value."
    illegal_choice_message = "Please enter one of the choices."


class Confirm(prompt.Confirm):
    """A question for yes or no, without markup as `Prompt`."""

    validate_error_message = "Please enter y or n."


def mark(text: str, style: str) -> Text:
    """A text with a style of rich, such as "green"."""
    return Text(visible_lines(text), style)


def print_json(text: str) -> None:
    """Print a JSON text to standard output. Its control characters become escapes, so that programs read the same values."""
    print(visible_json(text))
