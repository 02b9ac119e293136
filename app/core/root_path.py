"""The path under which a proxy serves the relay, such as `/loyalty` for https://host.example/loyalty/. Pure."""

import re
from typing import Final

OWN: Final = frozenset({"v1", "console", "docs", "redoc", "openapi.json", "healthz", "readyz", "metrics"})
"""First segments of the relay's own paths: a root path that begins with one could be mistaken for one of them."""
_ROOT_PATH: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]{1,100}){1,8}")


def checked_root_path(value: str) -> str:
    """The root path without a slash at its end; "" for the root of a host. Raises ValueError."""
    path = value.strip().rstrip("/")
    if path and not _ROOT_PATH.fullmatch(path):
        raise ValueError("is not a path; write it like /loyalty, with letters, digits and -._~ between the slashes")
    if path and path.split("/")[1] in OWN:
        raise ValueError(f"begins with /{path.split('/')[1]}, which is a path of the relay itself; choose another one")
    return path


def forwarded_prefix(value: str) -> str:
    """The root path in the header X-Forwarded-Prefix; "" when it is not one."""
    try:
        return checked_root_path(value)
    except ValueError:
        return ""


def without_root_path(path: str, root_path: str) -> str:
    """The path of a request within the relay, whether or not the proxy removes the root path."""
    if root_path and path.startswith(root_path) and path[len(root_path) : len(root_path) + 1] in ("", "/"):
        return path[len(root_path) :] or "/"
    return path
