"""How long a running import may be silent. Apart, because a worker looks for silent imports without the readers of files."""

from typing import Final

SILENT_SECONDS: Final = 30.0
"""An import without a heartbeat for this long was killed and can be resumed."""
BEAT_SECONDS: Final = 10.0
