"""An ordinary FastAPI route: the relay's model, the relay's key check, nothing stored."""

import os
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from uuid_utils.compat import uuid7

from benchmarks.servers.serving import serve
from platform_relay.api.authentication import Authenticator, Caller
from platform_relay.core.database import create_engine
from platform_relay.core.work import Work
from platform_relay.inbox.events import CustomerEvent
from platform_relay.settings import Settings


class Receipt(BaseModel):
    id: str
    status: str
    links: dict[str, str]


@dataclass
class KeyServices:
    """What the key check needs; the engine stays unused, as the key is a configured one."""

    settings: Settings = field(default_factory=Settings)
    engine: AsyncEngine = field(
        default_factory=lambda: create_engine(os.environ["DATABASE_URL"], application_name="null", pool_size=1)
    )
    work: Work = field(default_factory=Work)


def create_app() -> FastAPI:
    app = FastAPI()
    keys = Authenticator(KeyServices())  # type: ignore[arg-type]  # it reads these members only

    async def caller(request: Request) -> Caller:
        return await keys.require(request, "events")

    @app.post("/v1/events/customers", status_code=202)
    async def customers(event: CustomerEvent, caller: Annotated[Caller, Depends(caller)]) -> Receipt:  # noqa: ARG001  # their arrival is the work
        name = str(uuid7())
        return Receipt(id=name, status="accepted", links={"self": f"/v1/events/{name}"})

    return app


if __name__ == "__main__":
    serve(create_app())
