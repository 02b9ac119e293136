"""Where commands print: results to `out`, everything else to `err`.

Lines are not wrapped, because commands and addresses in them are copied, or read by programs. Only tables are fitted.
"""

from typing import Final

from rich.console import Console

ACTOR: Final = "cli"
"""Who did it, in the audit."""
out: Final = Console(soft_wrap=True)
err: Final = Console(stderr=True, soft_wrap=True)
