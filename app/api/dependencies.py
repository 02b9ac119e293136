"""How an endpoint receives the parts of its process."""

from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import Request

from platform_relay.services import Services as Services


async def services_of(request: Request) -> Services:
    return cast("Services", request.app.state.services)


ServicesDep = Annotated[Services, Depends(services_of)]
