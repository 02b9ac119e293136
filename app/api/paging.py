"""The query parameters of every list: `cursor` and `limit`."""

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Query

from platform_relay.core.plain_numbers import PLAIN

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
LONGEST_CURSOR: Final = 4000


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The requested page: at most `limit` items after `cursor`, or from the beginning."""

    cursor: str | None
    limit: int


async def page_request(
    cursor: Annotated[
        str | None, Query(max_length=LONGEST_CURSOR, description="The `next_cursor` of the previous page.")
    ] = None,
    limit: Annotated[
        int, Query(ge=1, le=MAX_LIMIT, description=f"The number of items per page, at most {MAX_LIMIT}."), PLAIN
    ] = DEFAULT_LIMIT,
) -> PageRequest:
    return PageRequest(cursor, limit)


PageDep = Annotated[PageRequest, Depends(page_request)]
