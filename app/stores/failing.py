"""How a store adapter's inside reports a failed call: raised inside, answered as an outcome at the boundary.

    class ExampleApi:
        async def read(self, path: str) -> Answer:
            answer = RESPONSES.received(await self._http.call("GET", path))  # platform_relay.stores.responses
            RESPONSES.succeeded(answer, "the coupon look-up")
            return answer

    class ExampleAdapter:
        @answers_failures
        async def find_coupon(self, code: str) -> CouponFound | None:
            row = await self._api.read(...)  # no check needed: a failure ends this method with its outcome

No `CallFailed` leaves an adapter: every public method that makes calls has `@answers_failures`.
"""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar  # Any: what a coroutine is sent, which is nothing

from platform_relay.core.http import Failure

P = ParamSpec("P")
T = TypeVar("T")


class CallFailed(Exception):  # noqa: N818  # not an error of the program: it carries the outcome of a call
    """A call to the store failed; `outcome` says how. Caught at the adapter's boundary."""

    def __init__(self, outcome: Failure) -> None:
        super().__init__(type(outcome).__name__)
        self.outcome = outcome


def answers_failures(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T | Failure]]:
    """The method, returning the outcome of a call that failed inside of it."""

    @wraps(method)
    async def answering(*args: P.args, **kwargs: P.kwargs) -> T | Failure:
        try:
            return await method(*args, **kwargs)
        except CallFailed as failed:
            return failed.outcome

    return answering
