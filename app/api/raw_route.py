"""FastAPI's routing and description without its handling of parameters."""

from collections.abc import Callable, Coroutine
from typing import Any  # FastAPI's own signature

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response


class RawRoute(APIRoute):
    """A route whose endpoint takes the Request, and nothing else, and makes the Response itself.

    It is documented like any other. What it leaves out is a quarter of what accepting an event costs.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler
