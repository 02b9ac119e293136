"""Routes for the endpoints that receive most requests."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any  # Any: FastAPI's own signature

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response


class RawRoute(APIRoute):
    """A route without FastAPI's handling of parameters: its endpoint takes only the Request and returns the Response.

    It is documented like any other route. RequestMiddleware calls the endpoint for a POST to its path, which has no parameters.
    """

    endpoint: Callable[[Request], Awaitable[Response]]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint  # type: ignore[assignment]  # they are coroutines
        return handler
