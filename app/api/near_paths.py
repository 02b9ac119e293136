"""Finds the operation that a request with a wrong path was probably meant for.

Only the patterns of paths are returned, such as `/v1/webhooks/platform/{webhook_secret}`: a path can contain a secret.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

SIMILARITY: Final = 0.7
"""Of two words, by difflib (1.0: equal)."""
MAX_LENGTH: Final = 512
MAX_SEGMENTS: Final = 12
"""Longer paths are no near miss, and comparing them would take time."""
_SLASHES: Final = re.compile("/{2,}")


@dataclass(slots=True)
class _Node:
    """A segment of the known paths. `pattern`: a path ends here."""

    literals: "dict[str, _Node]" = field(default_factory=dict)
    parameter: "_Node | None" = None
    pattern: str | None = None
    methods: set[str] = field(default_factory=set)


class KnownPaths:
    """The patterns and methods of all operations."""

    def __init__(self, operations: Iterable[tuple[str, Iterable[str]]]) -> None:
        self._root = _Node()
        for pattern, methods in operations:
            node = self._root
            for segment in pattern.strip("/").split("/"):
                if segment.startswith("{"):
                    node.parameter = node = node.parameter or _Node()
                else:
                    node = node.literals.setdefault(segment, _Node())
            node.pattern = pattern
            node.methods.update(methods)

    def advice(self, path: str, method: str, root_path: str = "") -> str:
        """A sentence that names the right path for a path that no operation has; "" when none is near. `root_path` is the path
        under which the relay is served."""
        if len(path) > MAX_LENGTH or path.count("/") > MAX_SEGMENTS:
            return ""
        clean = without_extra_slashes(path)
        if clean != path and (node := self._find(clean)) is not None and (not node.methods or method in node.methods):
            wrong = "ends with a slash" if path.endswith("/") else "has several slashes in a row"
            return f"The path {wrong}. The right path is `{root_path}{node.pattern}`."
        for candidate, near in _candidates(clean):
            node = self._find(candidate, near=near)
            if node is not None and (not node.methods or method in node.methods):
                hint = "" if near or root_path else " If a proxy serves the relay under a path, set ROOT_PATH to it."
                return f"The nearest path is `{root_path}{node.pattern}`.{hint}"
        return ""

    def _find(self, path: str, *, near: bool = False) -> _Node | None:
        node: _Node | None = self._root
        for segment in path.strip("/").split("/"):
            if node is None or not segment:
                return None
            following = node.literals.get(segment) or node.parameter
            if (
                near
                and segment not in node.literals
                and (alike := get_close_matches(segment.lower(), node.literals, 1, SIMILARITY))
            ):
                following = node.literals[alike[0]]
            node = following
        return node if node is not None and node.pattern is not None else None


def without_extra_slashes(path: str) -> str:
    """The path without doubled slashes and without a slash at its end."""
    return _SLASHES.sub("/", path).rstrip("/") or "/"


def _candidates(path: str) -> Iterator[tuple[str, bool]]:
    """Paths that may have been meant, the most likely first, and whether similar words count as equal."""
    yield path, True
    yield f"/v1{path}", True
    segments = path.strip("/").split("/")
    for first in range(1, len(segments)):  # with other segments before it, such as /api or a prefix of a proxy
        if segments[first] in ("v1", "console", "docs", "healthz", "readyz"):
            yield "/" + "/".join(segments[first:]), False
