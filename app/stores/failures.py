"""Failed calls inside an adapter: an exception inside, an outcome outside.

    class ExampleApi:
        async def read(self, path: str) -> HttpResponse:
            answer = RESPONSES.require(await self._http.call("GET", path))  # platform_relay.stores.responses
            RESPONSES.raise_for_status(answer, "the coupon lookup")
            return answer

    class ExampleAdapter:
        @returns_failures
        async def find_coupon(self, code: str) -> StoreCoupon | None:
            row = await self._api.read(...)  # no check needed: if the call fails, this method returns its outcome

`CallFailed` never leaves an adapter: every public method that makes calls has `@returns_failures`.
"""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar  # Any: the type that is sent into a coroutine, which is not used

from platform_relay.core.http import Failure

P = ParamSpec("P")
T = TypeVar("T")


class CallFailed(Exception):  # noqa: N818  # not a program error: it carries the outcome of a call
    """A call to the store failed, with this `outcome`. Caught in the adapter's public methods."""

    def __init__(self, outcome: Failure) -> None:
        super().__init__(type(outcome).__name__)
        self.outcome = outcome


def returns_failures(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T | Failure]]:
    """Decorator: the method returns the outcome of a `CallFailed` that is raised inside it."""

    @wraps(method)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> T | Failure:
        try:
            return await method(*args, **kwargs)
        except CallFailed as failed:
            return failed.outcome

    return wrapper
