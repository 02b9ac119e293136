"""Serves the relay under a path (ROOT_PATH, or X-Forwarded-Prefix of a trusted proxy).

Inside, every request has its path without the prefix, so that routes, logs and metrics are the same everywhere. Whatever a client
follows, such as a link, a redirect or a cookie's path, gets the prefix back with `outside`.
"""

from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.types import Scope

from platform_relay.api.client_ip import Network, is_within, parse_address
from platform_relay.core.root_path import forwarded_prefix, without_root_path

_PREFIX: Final = "relay.root_path"
"""In the scope of a request: the path under which it was sent; absent for the root of a host."""
_HEADER: Final = b"x-forwarded-prefix"


def enter_root_path(scope: Scope, root_path: str, proxies: Sequence[Network]) -> None:
    """Take the root path off the path of a request. ROOT_PATH takes precedence over the header."""
    prefix = root_path or _of_header(scope, proxies)
    if prefix:
        scope[_PREFIX] = prefix
        scope["path"] = without_root_path(scope["path"], prefix)


def outside(request: Request, path: str) -> str:
    """The relay's `path` as the client sees it."""
    return root_path_of(request) + path


def root_path_of(request: Request) -> str:
    """The path under which the request was sent; "" for the root of a host."""
    prefix: str = request.scope.get(_PREFIX, "")
    return prefix


def _of_header(scope: Scope, proxies: Sequence[Network]) -> str:
    values = [value for name, value in scope["headers"] if name == _HEADER]
    client = scope.get("client")
    if len(values) != 1 or not is_within(parse_address(client[0] if client else None), proxies):
        return ""
    return forwarded_prefix(values[0].decode("latin-1"))
